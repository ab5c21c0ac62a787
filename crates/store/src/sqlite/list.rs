//! Statements that find items without a list: by key, by age, and how attempts ended.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::columns::{micros, numbered, time};
use super::prepared;
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::result::Outcome;
use performer_core::model::statistics::Ended;

type SqlResult<T> = rusqlite::Result<T>;

/// How attempts ended since a time, by queue, minute and outcome.
pub(super) fn ended_since(
    connection: &Connection,
    queue: Option<QueueId>,
    since: Timestamp,
) -> SqlResult<Vec<Ended>> {
    const SQL: &str = "SELECT queue_id, end_processing / 60000000, outcome, count(*), \
         sum(end_processing - coalesce(start_processing, end_processing)), max(end_processing) FROM item_state \
         WHERE outcome IS NOT NULL AND end_processing >= ?1 AND (?2 IS NULL OR queue_id = ?2) GROUP BY 1, 2, 3";
    let read = |row: &SqlRow<'_>| {
        Ok(Ended {
            queue: QueueId(row.get(0)?),
            minute: row.get(1)?,
            outcome: numbered!(row, 2, Outcome)?,
            count: row.get(3)?,
            took: row.get(4)?,
            last: time(row, 5)?,
        })
    };
    prepared(connection, SQL)?.query_map(params![micros(since), queue.map(|queue| queue.0)], read)?.collect()
}

/// The item with a unique key. Keys rise with ids, so no index is needed.
pub(super) fn with_key(connection: &Connection, key: ItemKey) -> SqlResult<Option<ItemId>> {
    let id = first_id(connection, "unique_key", 0, |row| {
        row.get(1).map(|bytes| ItemKey::from_bytes(bytes) >= key)
    })?;
    // The first item from there on: the one with this very id may have been removed.
    let sql = "SELECT id, unique_key FROM item WHERE id >= ?1 ORDER BY id LIMIT 1";
    let read = |row: &SqlRow<'_>| Ok((ItemId(row.get(0)?), ItemKey::from_bytes(row.get(1)?)));
    let found = prepared(connection, sql)?.query_row([id], read).optional()?;
    Ok(found.filter(|(_, found)| *found == key).map(|(id, _)| id))
}

/// First attempts that were created before a time, by id, for retention.
///
/// Ids and creation times rise together, so the scan ends at the first id that is too young, however many items came
/// later.
pub(super) fn roots_created_before(
    connection: &Connection,
    queue: QueueId,
    before: Timestamp,
    after: ItemId,
    limit: i64,
) -> SqlResult<Vec<ItemId>> {
    const ROOTS: &str = "SELECT id FROM item WHERE id > ?1 AND id < ?2 AND queue_id = ?3 AND root_id IS NULL \
                         AND creation_time < ?4 ORDER BY id LIMIT ?5";
    let is_young = |row: &SqlRow<'_>| row.get(1).map(|created: i64| created >= micros(before));
    let young = first_id(connection, "creation_time", after.0, is_young)?;
    let values = params![after.0, young, queue.0, micros(before), limit];
    prepared(connection, ROOTS)?.query_map(values, |row| row.get(0).map(ItemId))?.collect()
}

/// The first id after `after` whose row is late enough in a column that rises with the id, found by bisection. One more
/// than the last id if there is none.
fn first_id(
    connection: &Connection,
    column: &'static str,
    after: i64,
    is_late: impl Fn(&SqlRow<'_>) -> SqlResult<bool>,
) -> SqlResult<i64> {
    let last: Option<i64> =
        prepared(connection, "SELECT max(id) FROM item")?.query_row([], |row| row.get(0))?;
    let next = format!("SELECT id, {column} FROM item WHERE id >= ?1 ORDER BY id LIMIT 1");
    let mut next = prepared(connection, &next)?;
    let (mut early, mut late) = (after, last.unwrap_or(0).max(after) + 1); // none up to `early` is, each from `late` on is
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match next.query_row([middle], |row| Ok((row.get::<_, i64>(0)?, is_late(row)?))).optional()? {
            Some((id, false)) => early = id,
            _ => late = middle,
        }
    }
    Ok(late)
}
