//! Removes the rows of deleted queues, in chunks; and ended jobs.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::super::removal::{MAX_IDS_SCANNED, Removal};
use super::columns::micros;
use super::{Sqlite, prepared, row_count, write};
use performer_core::model::key::{ItemId, JobKey, JobNumber, QueueId};
use performer_core::orchestrator::Result;

impl Removal for Sqlite {
    fn schedule_removal(&mut self, queue: QueueId) -> Result<()> {
        const SQL: &str = "INSERT INTO queue_removal (queue_id, after) VALUES (?1, 0)";
        self.run(|c| prepared(c, SQL)?.execute([queue.0]).map(drop))
    }

    fn has_removals(&mut self) -> Result<bool> {
        self.run(|c| prepared(c, "SELECT 1 FROM queue_removal")?.exists([]))
    }

    fn remove_chunk(&mut self, limit: usize) -> Result<bool> {
        // First what is found by its queue: where items wait, and what is known of the queue and its items.
        const READY: &str = "DELETE FROM item_ready WHERE (queue_id, rank, due_date, item_id) IN \
             (SELECT queue_id, rank, due_date, item_id FROM item_ready WHERE queue_id = ?1 LIMIT ?2)";
        const DEFERRED: &str = "DELETE FROM item_deferred WHERE (queue_id, defer_date, item_id) IN \
             (SELECT queue_id, defer_date, item_id FROM item_deferred WHERE queue_id = ?1 LIMIT ?2)";
        const FIGURES: &str = "DELETE FROM figure WHERE (queue_id, minutes, at, outcome, bucket) IN \
             (SELECT queue_id, minutes, at, outcome, bucket FROM figure WHERE queue_id = ?1 LIMIT ?2)";
        const LEVELS: &str = "DELETE FROM level WHERE (queue_id, minutes, at) IN \
             (SELECT queue_id, minutes, at FROM level WHERE queue_id = ?1 LIMIT ?2)";
        const BEHIND: &str = "DELETE FROM item_grouped WHERE item_id IN \
             (SELECT item_id FROM item_grouped WHERE queue_id = ?1 AND place IS NULL LIMIT ?2)";
        const SLOTS: &str = "DELETE FROM item_grouped WHERE item_id IN \
             (SELECT item_id FROM item_grouped WHERE queue_id = ?1 AND place IS NOT NULL LIMIT ?2)";
        const REVIEW: &str = "DELETE FROM item_review WHERE (queue_id, status, item_id) IN \
             (SELECT queue_id, status, item_id FROM item_review WHERE queue_id = ?1 LIMIT ?2)";
        const ITEMS: &str =
            "SELECT id FROM item WHERE id >= ?1 AND id < ?2 AND queue_id = ?3 ORDER BY id LIMIT ?4";
        self.insert_pending_ready()?;
        let limit = row_count(limit);
        self.run(|c| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let sql = "SELECT queue_id, after FROM queue_removal ORDER BY queue_id LIMIT 1";
            let Some((queue, after)) = prepared(c, sql)?.query_row([], read).optional()? else {
                return Ok(false);
            };
            for places in [READY, DEFERRED, BEHIND, SLOTS, REVIEW, FIGURES, LEVELS] {
                if prepared(c, places)?.execute([queue, limit])? > 0 {
                    return Ok(true);
                }
            }
            let sql = "SELECT min(id) FROM item WHERE id > ?1";
            let Some(first): Option<i64> = prepared(c, sql)?.query_row([after], |row| row.get(0))? else {
                // No item was added meanwhile: a deleted queue gets none.
                for sql in [
                    "DELETE FROM queue_removal WHERE queue_id = ?1",
                    "DELETE FROM queue_statistics WHERE queue_id = ?1",
                    "DELETE FROM queue_starts WHERE queue_id = ?1",
                    "DELETE FROM reason WHERE queue_id = ?1",
                    "DELETE FROM item_review WHERE queue_id = ?1",
                ] {
                    prepared(c, sql)?.execute([queue])?;
                }
                return prepared(c, "SELECT 1 FROM queue_removal")?.exists([]);
            };
            let end = first.saturating_add(MAX_IDS_SCANNED);
            let found: Vec<i64> = prepared(c, ITEMS)?
                .query_map([first, end, queue, limit], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for id in &found {
                write::remove_item(c, ItemId(*id))?;
            }
            let last = found.last().copied().filter(|_| row_count(found.len()) == limit);
            let sql = "UPDATE queue_removal SET after = ?2 WHERE queue_id = ?1";
            prepared(c, sql)?.execute(params![queue, last.unwrap_or(end - 1)])?;
            Ok(true)
        })
    }

    fn ended_jobs(
        &mut self,
        before: Timestamp,
        after: JobNumber,
        limit: usize,
    ) -> Result<Vec<(JobKey, bool)>> {
        const SQL: &str = "WITH ended AS MATERIALIZED (SELECT number, key FROM job \
             WHERE number > ?1 AND end_time < ?2 ORDER BY number LIMIT ?3), \
             named AS MATERIALIZED (SELECT DISTINCT holder FROM item_state WHERE holder IN (SELECT number FROM ended)) \
             SELECT key, number IN (SELECT holder FROM named) FROM ended ORDER BY number";
        self.run(|c| {
            let read = |row: &rusqlite::Row<'_>| Ok((JobKey::from_bytes(row.get(0)?), row.get(1)?));
            let values = params![after.0, micros(before), row_count(limit)];
            prepared(c, SQL)?.query_map(values, read)?.collect()
        })
    }

    fn remove_jobs(&mut self, jobs: &[JobKey]) -> Result<u64> {
        self.run(|c| {
            let mut remove = prepared(c, "DELETE FROM job WHERE number = ?1 AND end_time IS NOT NULL")?;
            let removed: rusqlite::Result<Vec<usize>> =
                jobs.iter().map(|job| remove.execute([job.number().0])).collect();
            Ok(removed?.into_iter().sum::<usize>() as u64)
        })
    }
}
