//! Removes the rows of deleted queues, in chunks; and ended jobs.

use jiff::Timestamp;

use super::super::removal::{MAX_IDS_SCANNED, Removal};
use super::columns::Columns;
use super::dialect::{Bound, Engine, Values};
use super::items;
use performer_core::model::key::{ItemId, JobKey, JobNumber, QueueId};
use performer_core::orchestrator::Result;

/// What is found by its queue, with the key of each table: where items wait, and what is known of the queue and its items.
const BY_QUEUE: [(&str, &str, &str); 7] = [
    ("item_ready", "queue_id, rank, due_date, item_id", ""),
    ("item_deferred", "queue_id, defer_date, item_id", ""),
    ("item_grouped", "item_id", " AND place IS NULL"),
    ("item_grouped", "item_id", " AND place IS NOT NULL"),
    ("item_review", "queue_id, status, item_id", ""),
    ("figure", "queue_id, minutes, at, outcome, bucket", ""),
    ("level", "queue_id, minutes, at", ""),
];

impl<E: Engine> Removal for E {
    fn schedule_removal(&mut self, queue: QueueId) -> Result<()> {
        let columns = Columns::<E>::new().set("queue_id", queue.0).set("after", 0);
        self.execute(&format!("INSERT INTO queue_removal {}", columns.insertion()), &columns.values)
    }

    fn has_removals(&mut self) -> Result<bool> {
        let sql = "SELECT queue_id FROM queue_removal LIMIT 1";
        Ok(!self.read_prepared(sql, &Values::default(), |row| row.number(0))?.is_empty())
    }

    fn remove_chunk(&mut self, limit: usize) -> Result<bool> {
        self.write_added()?;
        // Not a queue that another process works on.
        let sql = format!(
            "SELECT queue_id, after FROM queue_removal ORDER BY queue_id LIMIT 1{}",
            E::FOR_UPDATE_SKIP_LOCKED
        );
        let next =
            self.read_prepared(&sql, &Values::default(), |row| Ok((row.number(0)?, row.number(1)?)))?;
        let Some((queue, after)) = next.into_iter().next() else { return Ok(false) };
        for (table, key, which) in BY_QUEUE {
            let mut values = Values::default();
            let condition = format!("queue_id = {}{which}", values.bind::<E>(queue));
            if self.change(&E::delete_some(table, key, &condition, limit), &values)? > 0 {
                return Ok(true);
            }
        }
        let mut values = Values::default();
        let sql = format!("SELECT id FROM item WHERE id > {} ORDER BY id LIMIT 1", values.bind::<E>(after));
        let Some(first) = self.read_prepared(&sql, &values, |row| row.number(0))?.pop() else {
            // No item was added meanwhile: a deleted queue gets none. (What a caller's own transaction added to PostgreSQL while
            // the queue was deleted may come later. It cannot be found, and no caller waits for it.)
            forget_queue(self, queue)?;
            return self.has_removals();
        };
        let end = first.saturating_add(MAX_IDS_SCANNED);
        let mut values = Values::default();
        let [from, to, of] = [first, end, queue].map(|number| values.bind::<E>(number));
        let sql = format!(
            "SELECT id FROM item WHERE id >= {from} AND id < {to} AND queue_id = {of} ORDER BY id LIMIT {limit}"
        );
        let found = self.read_prepared(&sql, &values, |row| row.number(0).map(ItemId))?;
        items::remove(self, &found)?;
        let last = found.last().filter(|_| found.len() == limit).map_or(end - 1, |last| last.0);
        let mut columns = Columns::<E>::new().set("after", last);
        let of = columns.values.bind::<E>(queue);
        let sql = format!("UPDATE queue_removal SET {} WHERE queue_id = {of}", columns.assignments());
        self.execute(&sql, &columns.values)?;
        Ok(true)
    }

    fn ended_jobs(
        &mut self,
        before: Timestamp,
        after: JobNumber,
        limit: usize,
    ) -> Result<Vec<(JobKey, bool)>> {
        let mut values = Values::default();
        let (after, before) = (values.bind::<E>(after.0), values.bind::<E>(before));
        let sql = format!(
            "WITH ended AS MATERIALIZED (SELECT number, key FROM job \
             WHERE number > {after} AND end_time < {before} ORDER BY number LIMIT {limit}), \
             named AS MATERIALIZED (SELECT DISTINCT holder FROM item_state WHERE holder IN (SELECT number FROM ended)) \
             SELECT key, number IN (SELECT holder FROM named) FROM ended ORDER BY number"
        );
        self.read_prepared(&sql, &values, |row| Ok((JobKey::from_bytes(row.key(0)?), row.flag(1)?)))
    }

    fn remove_jobs(&mut self, jobs: &[JobKey]) -> Result<u64> {
        let mut values = Values::default();
        let numbers: Vec<i64> = jobs.iter().map(|job| job.number().0).collect();
        let these = E::among("number", &values.bind::<E>(Bound::Numbers(numbers)));
        self.change(&format!("DELETE FROM job WHERE {these} AND end_time IS NOT NULL"), &values)
    }
}

/// Removes what is left of a queue that has no items any more.
fn forget_queue<E: Engine>(engine: &mut E, queue: i64) -> Result<()> {
    let mut values = Values::default();
    let of = values.bind::<E>(queue);
    for sql in E::delete_counters(&of) {
        engine.execute(&sql, &values)?;
    }
    for table in ["queue_statistics", "queue_starts", "reason", "item_review", "queue_removal"] {
        engine.execute(&format!("DELETE FROM {table} WHERE queue_id = {of}"), &values)?;
    }
    Ok(())
}
