//! What jobs hold, their numbers, and the recent starts of queues with limits.

use rusqlite::{Connection, Row as SqlRow, params};

use super::super::sql::columns::{as_json, json};
use super::super::sql::dialect::{Engine as _, Values};
use super::columns::time_or_none;
use super::{Sqlite, prepared};
use performer_core::model::key::{ItemId, JobNumber, QueueId};
use performer_core::model::limits::Starts;
use performer_core::model::robot::Held;
use performer_core::orchestrator::Result;

/// The items that a job holds, the oldest first.
pub(super) fn held_items(connection: &Connection, job: JobNumber) -> rusqlite::Result<Vec<Held>> {
    const SQL: &str = "SELECT item.id, item.reference, item_state.robot, item_state.start_processing FROM item_state \
                       JOIN item ON item.id = item_state.item_id \
                       JOIN queue ON queue.id = item.queue_id AND queue.deleted = 0 \
                       WHERE item_state.holder = ?1 AND item_state.status = 1 ORDER BY item.id";
    let read = |row: &SqlRow<'_>| {
        Ok(Held {
            item: ItemId(row.get(0)?),
            reference: row.get(1)?,
            robot: row.get(2)?,
            since: time_or_none(row, 3)?,
        })
    };
    prepared(connection, SQL)?.query_map([job.0], read)?.collect()
}

impl Sqlite {
    pub(super) fn next_job_id(&mut self) -> Result<i64> {
        const SQL: &str = "UPDATE last_job SET id = id + 1 RETURNING id";
        self.run(|c| prepared(c, SQL)?.query_row([], |row| row.get(0)))
    }

    pub(super) fn read_recent_starts(&mut self, queue: QueueId) -> Result<Starts> {
        let mut values = Values::default();
        let sql =
            format!("SELECT starts FROM queue_starts WHERE queue_id = {}", values.bind::<Self>(queue.0));
        let starts = self.read_prepared(&sql, &values, |row| json(row, 0))?;
        Ok(starts.into_iter().next().unwrap_or_default())
    }

    pub(super) fn write_recent_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()> {
        const SQL: &str = "INSERT INTO queue_starts (queue_id, starts) VALUES (?1, ?2) \
                           ON CONFLICT (queue_id) DO UPDATE SET starts = excluded.starts";
        let starts = as_json(starts)?;
        self.run(|c| prepared(c, SQL)?.execute(params![queue.0, starts]).map(drop))
    }
}
