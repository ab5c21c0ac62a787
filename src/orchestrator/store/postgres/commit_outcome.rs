//! What became of a commit whose connection was lost before it was answered.
//!
//! Each connection counts its commits in a row of its own, in the transaction that is committed. Once the server is done with
//! that transaction, the row tells whether it was made, on whichever server has the database by then.

use std::time::Duration;

use tokio::time::Instant;

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::connection::{StartTime, CommitId, ServerProcess};
use super::session::Session;
use super::{Postgres, columns, error};
use crate::backoff::{BackoffPolicy, Delays};

/// How long it is asked what became of a commit, before nobody knows. As long as a statement may take: a database that is
/// started anew, or whose standby takes over, is back before.
const RESOLVE_LIMIT: Duration = Duration::from_secs(60);

/// The same for a commit of which nobody knew then, before the next transaction begins: its caller is not kept waiting.
const RESOLVE_EARLIER_LIMIT: Duration = Duration::from_secs(5);

/// How long a server may take to notice that a connection is gone.
const NOTICE_LIMIT: Duration = Duration::from_millis(500);

/// How long a connection that is gone is remembered: much longer than anybody asks what became of its last commit.
const REMEMBERED: &str = "1 day";

/// How long a process of the server that was told to end is waited for, and how long until it is looked again.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const ENDING: Duration = Duration::from_millis(2);

/// Counts a commit, as part of a statement that writes, or by itself.
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

/// A transaction that has no number has written nothing, and nothing is written for it.
pub(super) const COUNT: &str = count!(
    "SELECT $1::uuid, $2::bigint, clock_timestamp() WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
);

/// What a connection was called before its last commit is of no use any more.
pub(super) const FORGET: &str = "DELETE FROM connection WHERE key = $1";

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitOutcome {
    Committed,
    RolledBack,
    /// The server is not done with it.
    Open,
}

impl Postgres {
    /// The connection was lost while a commit was under way: what became of it. There is nothing that this connection could
    /// do meanwhile: it waits for the database.
    pub(super) fn resolve_commit(&mut self, commit: CommitId, lost: OrchestratorError) -> Result<()> {
        match wait_for_outcome(&mut self.session, &commit, RESOLVE_LIMIT) {
            Ok(CommitOutcome::Committed) => return Ok(()),
            Ok(CommitOutcome::RolledBack) => return Err(lost),
            Ok(CommitOutcome::Open) | Err(_) => self.unresolved_commit = Some(commit),
        }
        let message =
            format!("the connection to {} was lost while a commit was under way", self.session.address());
        Err(OrchestratorError::new(ErrorKind::Unknown, message).because(lost))
    }

    /// What a commit did of which nobody knew is done, or undone, before anything else is.
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

/// Waits until the server is done with a transaction whose connection is gone. One that it holds on to is ended.
fn wait_for_outcome(session: &mut Session, commit: &CommitId, limit: Duration) -> Result<CommitOutcome> {
    let began = Instant::now();
    let mut delays = Delays::new(BackoffPolicy::CONNECTION, fastrand::Rng::new());
    loop {
        let outcome = outcome(session, commit);
        match outcome {
            Ok(CommitOutcome::Committed | CommitOutcome::RolledBack) => {
                // What was begun behind it may be open still, and keeps others waiting.
                if let Some(behind) = &commit.behind {
                    let _ = end(session, behind);
                }
                return outcome;
            }
            _ if began.elapsed() >= limit => return outcome,
            Ok(CommitOutcome::Open) if began.elapsed() >= NOTICE_LIMIT => {
                let _ = end(session, &commit.server_process); // it is told again
            }
            // It is about to notice; or it cannot be reached.
            Ok(CommitOutcome::Open) | Err(_) => {}
        }
        session.pause(delays.next());
    }
}

fn outcome(session: &mut Session, CommitId { server_process, key, number, .. }: &CommitId) -> Result<CommitOutcome> {
    session.connect()?;
    // Asked first, and by itself: what it has committed when it is over, the next statement sees.
    if !session.query_once(&format!("SELECT 1 {}", activity_of(server_process)), &[])?.is_empty() {
        return Ok(CommitOutcome::Open);
    }
    let made =
        format!("SELECT commits FROM {}.connection WHERE key = '{key}'", session.address().quoted_schema());
    let commits = session.query_once(&made, &[])?;
    let commits = commits.first().map_or(Ok(0), |row| columns::get::<i64>(row, 0))?;
    Ok(if commits >= *number { CommitOutcome::Committed } else { CommitOutcome::RolledBack })
}

/// Ends a transaction that the server holds on to although its connection is gone. What its COMMIT would have done is undone,
/// unless it is done by now. Not one that waits for a standby: it would be done here and not there.
pub(super) fn end(session: &mut Session, server_process: &ServerProcess) -> Result<()> {
    let here = activity_of(server_process);
    let end = format!("SELECT pg_terminate_backend(pid) {here} AND wait_event IS DISTINCT FROM 'SyncRep'");
    if session.query_once(&end, &[])?.is_empty() {
        return Ok(());
    }
    // It has been told, and holds its locks until it has heard: a claim would pass over what it was about to take.
    let is_there = format!("SELECT 1 {here}");
    let mut waited = Duration::ZERO;
    while waited < ENDS_WITHIN && !session.query_once(&is_there, &[])?.is_empty() {
        session.pause(ENDING);
        waited += ENDING;
    }
    Ok(())
}

/// What the server is doing there. (Without values to bind: it is asked outside of a transaction.)
fn activity_of(ServerProcess { process, began }: &ServerProcess) -> String {
    let began = match began {
        StartTime::Transaction(at) => format!("xact_start = '{at}'"),
        StartTime::Connection(at) => format!("backend_start = '{at}'"),
    };
    format!("FROM pg_stat_get_activity({process}) WHERE {began}")
}

/// Removes what is remembered of connections that were gone long ago.
pub(super) fn forget_old(session: &mut Session) -> Result<()> {
    let schema = session.address().quoted_schema();
    let connections = format!("{schema}.connection");
    // By the time that was kept, which is not ahead: else a clock that is would make those old that are in doubt now.
    let old = format!("last < (SELECT at FROM {schema}.kept_time) - interval '{REMEMBERED}'");
    session.batch(&format!(
        "DELETE FROM {connections} WHERE key IN \
         (SELECT key FROM {connections} WHERE {old} LIMIT 1000 FOR UPDATE SKIP LOCKED)"
    ))
}
