//! Removes the rows of deleted queues, in chunks; and ended jobs.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::removal::{MAX_IDS_SCANNED, Removal};
use super::Postgres;
use super::columns::{bytes, date, get};
use performer_core::model::key::{JobKey, JobNumber, QueueId};
use performer_core::orchestrator::Result;

impl Removal for Postgres {
    fn schedule_removal(&mut self, queue: QueueId) -> Result<()> {
        const SQL: &str = "INSERT INTO queue_removal (queue_id, after) VALUES ($1, 0)";
        self.session.enqueue(SQL, &[&queue.0])
    }

    fn has_removals(&mut self) -> Result<bool> {
        Ok(self.session.query_opt("SELECT 1 FROM queue_removal LIMIT 1", &[])?.is_some())
    }

    fn remove_chunk(&mut self, limit: usize) -> Result<bool> {
        // Skips a queue that another process works on.
        const NEXT: &str =
            "SELECT queue_id, after FROM queue_removal ORDER BY queue_id LIMIT 1 FOR UPDATE SKIP LOCKED";
        // First what is found by its queue: where items wait, and what is known of the queue and its items.
        const READY: &str = "DELETE FROM item_ready WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM item_ready WHERE queue_id = $1 LIMIT $2))";
        const DEFERRED: &str = "DELETE FROM item_deferred WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM item_deferred WHERE queue_id = $1 LIMIT $2))";
        const BEHIND: &str = "DELETE FROM item_grouped WHERE item_id = ANY (ARRAY(\
             SELECT item_id FROM item_grouped WHERE queue_id = $1 AND place IS NULL LIMIT $2))";
        const SLOTS: &str = "DELETE FROM item_grouped WHERE item_id = ANY (ARRAY(\
             SELECT item_id FROM item_grouped WHERE queue_id = $1 AND place IS NOT NULL LIMIT $2))";
        const REVIEW: &str = "DELETE FROM item_review WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM item_review WHERE queue_id = $1 LIMIT $2))";
        const FIGURES: &str = "DELETE FROM figure WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM figure WHERE queue_id = $1 LIMIT $2))";
        const LEVELS: &str = "DELETE FROM level WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM level WHERE queue_id = $1 LIMIT $2))";
        const FIRST: &str = "SELECT id FROM item WHERE id > $1 ORDER BY id LIMIT 1";
        const ITEMS: &str =
            "SELECT id FROM item WHERE id >= $1 AND id < $2 AND queue_id = $3 ORDER BY id LIMIT $4";
        const REMOVE: &str = "WITH state AS (DELETE FROM item_state WHERE item_id = ANY ($1)), \
             copy AS (DELETE FROM item_copy WHERE item_id = ANY ($1)), \
             exception AS (DELETE FROM item_exception WHERE item_id = ANY ($1)), \
             event AS (DELETE FROM item_event WHERE item_id = ANY ($1)), \
             comment AS (DELETE FROM item_comment WHERE item_id = ANY ($1)) \
             DELETE FROM item WHERE id = ANY ($1::bigint[])";
        const DONE: &str = "WITH statistics AS (DELETE FROM queue_statistics WHERE queue_id = $1), \
             shard AS (DELETE FROM queue_shard WHERE queue_id = $1), \
             starts AS (DELETE FROM queue_starts WHERE queue_id = $1), \
             counts AS (DELETE FROM reason_count WHERE reason_id IN (SELECT id FROM reason WHERE queue_id = $1)), \
             reasons AS (DELETE FROM reason WHERE queue_id = $1), \
             review AS (DELETE FROM item_review WHERE queue_id = $1) \
             DELETE FROM queue_removal WHERE queue_id = $1";
        self.flush_bulk_insert()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let Some(next) = self.session.query_opt(NEXT, &[])? else { return Ok(false) };
        let (queue, after): (i64, i64) = (get(&next, 0)?, get(&next, 1)?);
        for places in [READY, DEFERRED, BEHIND, SLOTS, REVIEW, FIGURES, LEVELS] {
            if self.session.execute(places, &[&queue, &limit])? > 0 {
                return Ok(true);
            }
        }
        let Some(first) = self.session.query_opt(FIRST, &[&after])? else {
            // No item was added meanwhile: a deleted queue gets none. (What a caller's own transaction added while the
            // queue was deleted may come later. It cannot be found, and no caller waits for it.)
            self.session.execute(DONE, &[&queue])?;
            return self.has_removals();
        };
        let first: i64 = get(&first, 0)?;
        let end = first.saturating_add(MAX_IDS_SCANNED);
        let rows = self.session.query(ITEMS, &[&first, &end, &queue, &limit])?;
        let found: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
        if !found.is_empty() {
            self.session.enqueue(REMOVE, &[&found])?;
        }
        let is_full = i64::try_from(found.len()).is_ok_and(|count| count == limit);
        let last = found.last().copied().filter(|_| is_full).unwrap_or(end - 1);
        self.session.execute("UPDATE queue_removal SET after = $2 WHERE queue_id = $1", &[&queue, &last])?;
        Ok(true)
    }

    fn ended_jobs(
        &mut self,
        before: Timestamp,
        after: JobNumber,
        limit: usize,
    ) -> Result<Vec<(JobKey, bool)>> {
        const SQL: &str = "WITH ended AS MATERIALIZED (SELECT number, key FROM job \
             WHERE number > $1 AND end_time < $2 ORDER BY number LIMIT $3), \
             named AS MATERIALIZED (SELECT DISTINCT holder FROM item_state WHERE holder IN (SELECT number FROM ended)) \
             SELECT key, number IN (SELECT holder FROM named) FROM ended ORDER BY number";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row| Ok((JobKey::from_bytes(bytes(get(row, 0)?)), get(row, 1)?));
        self.session.query(SQL, &[&after.0, &date(before), &limit])?.iter().map(read).collect()
    }

    fn remove_jobs(&mut self, jobs: &[JobKey]) -> Result<u64> {
        const SQL: &str = "DELETE FROM job WHERE number = ANY ($1::bigint[]) AND end_time IS NOT NULL";
        self.loaded.forget_jobs();
        let numbers: Vec<i64> = jobs.iter().map(|job| job.number().0).collect();
        self.session.execute(SQL, &[&numbers])
    }
}
