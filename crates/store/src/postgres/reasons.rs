//! The statements on groups of failures.

use std::collections::HashMap;

use super::super::reasons::{Failure, Reasons};
use super::super::sql;
use super::Postgres;
use super::bulk_write::{CountedFailure, CountedOpen};
use super::columns::{get, text};
use super::session::Session;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::reason::{MAX_REASONS, Reason, ReasonFilter};
use performer_core::orchestrator::{OrchestratorError, Result};

/// How many rows a group may have for its counts, of each kind of transaction.
const SHARDS: i64 = 64;

/// The most groups whose numbers are remembered.
const MOST_REMEMBERED: usize = 4_096;

/// What a connection knows about groups.
pub(super) struct KnownReasons {
    /// The row in which it counts. Two connections that share one wait for each other.
    number: i64,
    /// The numbers of groups that there are; from this transaction on, those that it has made too.
    ids: HashMap<(i64, u8, String), i64>,
}

impl KnownReasons {
    pub(super) fn new() -> Self {
        Self { number: fastrand::i64(0..SHARDS), ids: HashMap::new() }
    }

    /// The transaction was undone, and what it has made is not there.
    pub(super) fn forget(&mut self) {
        self.ids.clear();
    }

    /// In the caller's transaction, which may stay open for a while, another row.
    fn number_for(&self, session: &Session) -> i64 {
        if session.is_callers() { fastrand::i64(-SHARDS..0) } else { self.number }
    }
}

/// The number of a group, which is made if there is none. `None`: the queue has enough of them.
fn find_or_make(session: &mut Session, failure: &Failure) -> Result<Option<i64>> {
    const FIND: &str =
        "SELECT id FROM reason WHERE queue_id = $1 AND exception_type = $2 AND fingerprint = $3";
    const COUNT: &str = "SELECT count(*) FROM reason WHERE queue_id = $1";
    // Waits for another transaction that makes the same one; then it is there, and found by another look.
    const MAKE: &str = "INSERT INTO reason (queue_id, exception_type, fingerprint, sample, first_seen) \
                        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let (queue, kind) = (failure.queue.0, i16::from(failure.exception_type.number()));
    let (print, sample) = (text(&failure.fingerprint), text(&failure.sample));
    let find = |session: &mut Session| -> Result<Option<i64>> {
        session.query_opt(FIND, &[&queue, &kind, &print])?.map(|row| get(&row, 0)).transpose()
    };
    if let Some(found) = find(session)? {
        return Ok(Some(found));
    }
    let there: i64 = session.query_opt(COUNT, &[&queue])?.map_or(Ok(0), |row| get(&row, 0))?;
    if there.unsigned_abs() >= MAX_REASONS && !failure.fingerprint.is_empty() {
        return Ok(None);
    }
    session.execute(MAKE, &[&queue, &kind, &print, &sample, &failure.at])?;
    let missing = || OrchestratorError::not_found("the group of a reason was removed while it was made");
    find(session)?.ok_or_else(missing).map(Some)
}

impl Reasons for Postgres {
    fn count_failure(&mut self, failure: &Failure) -> Result<()> {
        let key = (failure.queue.0, failure.exception_type.number(), failure.fingerprint.clone());
        let reason = match self.reasons.ids.get(&key) {
            Some(id) => *id,
            None => match find_or_make(&mut self.session, failure)? {
                Some(id) => {
                    if self.reasons.ids.len() >= MOST_REMEMBERED {
                        self.reasons.ids.clear();
                    }
                    self.reasons.ids.insert(key, id);
                    id
                }
                None => return self.count_failure(&failure.among_others()),
            },
        };
        let number = self.reasons.number_for(&self.session);
        let Failure { item, at, is_open, .. } = *failure;
        let counted = CountedFailure { item, reason, number, at, is_open };
        self.session.collect(|collected| collected.failure(counted))
    }

    fn count_open(&mut self, item: ItemId, by: i64) -> Result<()> {
        let counted = CountedOpen { item, number: self.reasons.number_for(&self.session), by };
        self.session.collect(|collected| collected.open(counted))
    }

    fn lock_reason(&mut self, id: i64) -> Result<()> {
        self.session.enqueue("SELECT 1 FROM reason WHERE id = $1 FOR UPDATE", &[&id])
    }

    fn write_reason(&mut self, reason: &Reason) -> Result<()> {
        sql::reasons::write(self, reason)
    }

    fn reasons(&mut self, queues: &[QueueId], filter: &ReasonFilter) -> Result<Vec<Reason>> {
        sql::reasons::reasons(self, queues, filter)
    }
}
