//! Queues with limits: their recent starts, and how many items to search for.
//!
//! Only one transaction at a time claims items of such a queue: it takes a lock, reads the recent starts, and then
//! knows how many items it may claim: three round trips. If ends of attempts are written before, all of that is sent
//! with them, and items are searched before the number is known: as many as are wanted or, if that was too many the
//! last time, twice as many as were allowed then. The rest stays where it is: nobody else searches this queue
//! meanwhile.

use tokio_postgres::Row;

use super::super::rows::NextItems;
use super::super::sql::columns::{as_json, json};
use super::ready_items::{ClaimQuery, PrefetchedItems};
use super::session::{BoundQuery, Session};
use super::{Postgres, counters};
use performer_core::model::key::QueueId;
use performer_core::model::limits::Starts;
use performer_core::orchestrator::Result;

pub(super) fn read_starts(row: &Row) -> Result<Starts> {
    json(row, 0)
}

/// The recent starts of a queue.
pub(super) const LAST: &str =
    "SELECT starts FROM queue_starts WHERE queue_id = $1 ORDER BY number DESC LIMIT 1";

impl Postgres {
    /// The queries for the recent starts of a queue, which nobody else changes until the transaction ends; and for its
    /// counters, which are needed next.
    pub(super) fn starts_query(&mut self, queue: QueueId) -> [BoundQuery; 3] {
        const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        self.serialized = true;
        let name = self.lock_name(&format!("starts/{}", queue.0));
        [
            BoundQuery { sql: LOCK.into(), values: vec![Box::new(name)] },
            BoundQuery { sql: LAST.into(), values: vec![Box::new(queue.0)] },
            BoundQuery { sql: counters::SUM.into(), values: vec![Box::new(queue.0)] },
        ]
    }

    /// The recent starts of a queue, and in the same round trip the items that will be searched next: `next` has as many as are
    /// wanted, and how many are allowed is not known yet.
    pub(super) fn starts_and_items(&mut self, queue: QueueId, next: &NextItems<'_>) -> Result<Starts> {
        let wanted = ClaimQuery::of(next);
        let allowed = self.cursors.entry(queue.0).or_default().allowed;
        let count = allowed.map_or(wanted.count, |allowed| wanted.count.min(allowed.saturating_mul(2)));
        self.wanted = Some(wanted);
        let ask = ClaimQuery { count, ..wanted };
        let (plan, walk) = self.claim(ask, Some(next.now));
        let queries: Vec<_> = self.starts_query(queue).into_iter().chain(walk).collect();
        self.flush_bulk_insert()?;
        let mut answers = self.session.ask(&queries)?;
        let walked = answers.split_off(answers.len().saturating_sub(plan.queries));
        let starts = self.see_starts(queue, &answers)?;
        let items = self.claimed(&plan, walked)?;
        self.prefetched_items = Some(PrefetchedItems { ask, limited: true, items });
        Ok(starts)
    }

    /// Uses the results of these queries.
    pub(super) fn see_starts(&mut self, queue: QueueId, answers: &[Vec<Row>]) -> Result<Starts> {
        let first = |at: usize| answers.get(at).and_then(|rows| rows.first());
        self.counted = Some((queue, counters::read(first(2))?));
        first(1).map_or_else(|| Ok(Starts::default()), read_starts)
    }

    /// Records how many items the limits allowed, if fewer than were wanted.
    pub(super) fn record_allowed(&mut self, next: &NextItems<'_>) {
        let asked = ClaimQuery::of(next);
        if let Some(wanted) = self.wanted.filter(|wanted| wanted.queue == asked.queue) {
            let allowed = (asked.count < wanted.count).then_some(asked.count);
            self.cursors.entry(asked.queue).or_default().allowed = allowed;
        }
    }
}

pub(super) fn write_starts(session: &mut Session, queue: QueueId, starts: &Starts) -> Result<()> {
    const SQL: &str = "WITH last AS MATERIALIZED (SELECT number FROM queue_starts WHERE queue_id = $1 \
         ORDER BY number DESC LIMIT 1), gone AS (DELETE FROM queue_starts WHERE queue_id = $1 \
         AND number = (SELECT number FROM last)) \
         INSERT INTO queue_starts (queue_id, number, starts) \
         SELECT $1, coalesce((SELECT number FROM last), 0) + 1, $2";
    session.enqueue(SQL, &[&queue.0, &as_json(starts)?])
}
