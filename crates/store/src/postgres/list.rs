//! Statements that find items without a list: by key, by age, and how attempts ended.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::columns::{date, get, numbered, uuid};
use super::session::Session;
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::result::Outcome;
use performer_core::model::statistics::Ended;
use performer_core::orchestrator::Result;

/// How attempts ended since a time, by queue, minute and outcome.
pub(super) fn ended_since(
    session: &mut Session,
    queue: Option<QueueId>,
    since: Timestamp,
) -> Result<Vec<Ended>> {
    const SQL: &str = "SELECT queue_id, floor(extract(epoch FROM end_processing) / 60)::bigint, outcome, count(*), \
         (sum(extract(epoch FROM end_processing - coalesce(start_processing, end_processing))) * 1000000)::bigint, \
         max(end_processing) FROM item_state WHERE outcome IS NOT NULL AND end_processing >= $1 \
         AND ($2::bigint IS NULL OR queue_id = $2) GROUP BY 1, 2, 3";
    let rows = session.query(SQL, &[&date(since), &queue.map(|queue| queue.0)])?;
    let read = |row: &Row| -> Result<Ended> {
        Ok(Ended {
            queue: QueueId(get(row, 0)?),
            minute: get(row, 1)?,
            outcome: numbered!(row, 2, Outcome)?,
            count: get(row, 3)?,
            took: get(row, 4)?,
            last: get(row, 5)?,
        })
    };
    rows.iter().map(read).collect()
}

/// The item with a unique key.
pub(super) fn with_key(session: &mut Session, key: ItemKey) -> Result<Option<ItemId>> {
    let row = session.query_opt("SELECT id FROM item WHERE unique_key = $1", &[&uuid(key.to_bytes())])?;
    row.map(|row| get(&row, 0).map(ItemId)).transpose()
}

/// First attempts that were created before a time, by id, for retention.
pub(super) fn roots_created_before(
    session: &mut Session,
    queue: QueueId,
    before: Timestamp,
    after: ItemId,
    limit: i64,
) -> Result<Vec<ItemId>> {
    const ROOTS: &str = "SELECT id FROM item WHERE id > $1 AND queue_id = $2 AND root_id IS NULL \
                         AND creation_time < $3 ORDER BY id LIMIT $4";
    // Planned each time: only with the actual time the planner knows that hardly any row is so old, and that a scan of
    // all ids would be wrong.
    let rows = session.query_once(ROOTS, &[&after.0, &queue.0, &date(before), &limit])?;
    rows.iter().map(|row| get(row, 0).map(ItemId)).collect()
}
