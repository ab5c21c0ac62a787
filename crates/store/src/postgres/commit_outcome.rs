//! The outcome of a commit whose connection was lost before it was answered.
//!
//! Each connection counts its commits in a row of its own, in the transaction that is committed. After the server has
//! ended that transaction, the row shows whether it was made, on whichever server has the database by then.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{CommitId, ServerProcess, StartTime};
use super::session::Session;
use super::{Postgres, columns, error};
use performer_core::backoff::{BackoffPolicy, Delays};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// How long to ask for the outcome before it counts as unknown. As long as a statement may take: a database that
/// restarts, or whose standby takes over, is back before.
const RESOLVE_LIMIT: Duration = Duration::from_secs(60);

/// How long to ask for the outcome of an earlier commit before the next transaction begins, for which a caller waits.
const RESOLVE_EARLIER_LIMIT: Duration = Duration::from_secs(5);

/// How long a server may take to notice that a connection is gone.
const NOTICE_LIMIT: Duration = Duration::from_millis(500);

/// How long the counter of a lost connection is kept: much longer than anybody asks for the outcome of its last commit.
const REMEMBERED: &str = "1 day";

/// How long to wait for a server process that was told to end, and between checks.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const ENDING: Duration = Duration::from_millis(2);

/// Counts a commit, in a statement that writes, or alone.
macro_rules! count {
    ($row:literal) => {
        concat!(
            "INSERT INTO connection (key, commits, last) ",
            $row,
            " ON CONFLICT (key) DO UPDATE SET commits = excluded.commits, last = excluded.last"
        )
    };
}
pub(super) use count;

/// A transaction without a number has written nothing, and needs no count.
pub(super) const COUNT: &str = count!(
    "SELECT $1::uuid, $2::bigint, clock_timestamp() WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
);

/// Removes the row under an earlier key of the connection.
pub(super) const FORGET: &str = "DELETE FROM connection WHERE key = $1";

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitOutcome {
    Committed,
    RolledBack,
    /// The server has not ended the transaction.
    Open,
}

impl Postgres {
    /// Finds the outcome of a commit during which the connection was lost. This writer cannot do anything else
    /// meanwhile: it waits for the database.
    pub(super) fn resolve_commit(&mut self, commit: CommitId, lost: OrchestratorError) -> Result<()> {
        match wait_for_outcome(&mut self.session, &commit, RESOLVE_LIMIT) {
            Ok(CommitOutcome::Committed) => return Ok(()),
            Ok(CommitOutcome::RolledBack) => return Err(lost),
            Ok(CommitOutcome::Open) | Err(_) => self.unresolved_commit = Some(commit),
        }
        let message =
            format!("the connection to {} was lost while a commit was under way", self.session.address());
        Err(OrchestratorError::new(ErrorKind::Unknown, message).with_source(lost))
    }

    /// Finds the outcome of an earlier commit before anything else is done.
    pub(super) fn resolve_earlier_commit(&mut self) -> Result<()> {
        let Some(commit) = &self.unresolved_commit else { return Ok(()) };
        let outcome = wait_for_outcome(&mut self.session, commit, RESOLVE_EARLIER_LIMIT)?;
        if outcome == CommitOutcome::Open {
            return Err(error::too_slow(self.session.address(), "to end a transaction"));
        }
        self.unresolved_commit = None;
        self.resolved_commits.push_back(outcome == CommitOutcome::Committed);
        Ok(())
    }
}

/// Waits until the server has ended a transaction whose connection was lost. If that takes long, ends it.
fn wait_for_outcome(session: &mut Session, commit: &CommitId, limit: Duration) -> Result<CommitOutcome> {
    let began = Instant::now();
    let mut delays = Delays::new(BackoffPolicy::CONNECTION, fastrand::Rng::new());
    loop {
        let outcome = outcome(session, commit);
        match outcome {
            Ok(CommitOutcome::Committed | CommitOutcome::RolledBack) => return outcome,
            _ if began.elapsed() >= limit => return outcome,
            Ok(CommitOutcome::Open) if began.elapsed() >= NOTICE_LIMIT => {
                let _ = end(session, &commit.server_process); // repeated in the next round
            }
            // The server is about to notice, or cannot be reached.
            Ok(CommitOutcome::Open) | Err(_) => {}
        }
        session.pause(delays.next_delay());
    }
}

fn outcome(
    session: &mut Session,
    CommitId { server_process, key, number }: &CommitId,
) -> Result<CommitOutcome> {
    session.connect()?;
    // Asked first, in a statement of its own: if the transaction is over, the next statement sees what it committed.
    if !session.query_once(&format!("SELECT 1 {}", activity_of(server_process)), &[])?.is_empty() {
        return Ok(CommitOutcome::Open);
    }
    let made =
        format!("SELECT commits FROM {}.connection WHERE key = '{key}'", session.address().quoted_schema());
    let commits = session.query_once(&made, &[])?;
    let commits = commits.first().map_or(Ok(0), |row| columns::get::<i64>(row, 0))?;
    Ok(if commits >= *number { CommitOutcome::Committed } else { CommitOutcome::RolledBack })
}

/// Ends a transaction that the server keeps open although its connection was lost. Its COMMIT is undone, unless it has
/// been made by now. Not if it waits for a standby: then it would be made here and not there.
pub(super) fn end(session: &mut Session, server_process: &ServerProcess) -> Result<()> {
    let here = activity_of(server_process);
    let end = format!("SELECT pg_terminate_backend(pid) {here} AND wait_event IS DISTINCT FROM 'SyncRep'");
    if session.query_once(&end, &[])?.is_empty() {
        return Ok(());
    }
    // It holds its locks until it has noticed: meanwhile a claim would skip the items it locked.
    let is_there = format!("SELECT 1 {here}");
    let mut waited = Duration::ZERO;
    while waited < ENDS_WITHIN && !session.query_once(&is_there, &[])?.is_empty() {
        session.pause(ENDING);
        waited += ENDING;
    }
    Ok(())
}

/// The activity of a server process. (Without values to bind: it is asked outside a transaction.)
fn activity_of(ServerProcess { process, began }: &ServerProcess) -> String {
    let began = match began {
        StartTime::Transaction(at) => format!("xact_start = '{at}'"),
        StartTime::Connection(at) => format!("backend_start = '{at}'"),
    };
    format!("FROM pg_stat_get_activity({process}) WHERE {began}")
}

/// Removes the counters of connections that were lost long ago.
pub(super) fn forget_old(session: &mut Session) -> Result<()> {
    let schema = session.address().quoted_schema();
    let connections = format!("{schema}.connection");
    // By the kept time, which is not ahead: a clock that is ahead would make counters look old whose commits are in
    // doubt now.
    let old = format!("last < (SELECT at FROM {schema}.kept_time) - interval '{REMEMBERED}'");
    session.batch(&format!(
        "DELETE FROM {connections} WHERE key IN \
         (SELECT key FROM {connections} WHERE {old} LIMIT 1000 FOR UPDATE SKIP LOCKED)"
    ))
}
