//! One item: its public form, with its exception and its job.

use rusqlite::{Connection, OptionalExtension};

use super::columns::{self, item_columns, item_joins, numbered, time};
use super::prepared;
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::item::QueueItem;
use performer_core::model::key::{ItemId, JobKey};
use rusqlite::types::Type;

type SqlResult<T> = rusqlite::Result<T>;

pub(super) fn item(connection: &Connection, id: ItemId) -> SqlResult<Option<QueueItem>> {
    const SQL: &str = concat!(
        "SELECT ",
        item_columns!(),
        " FROM item",
        item_joins!("item.id"),
        " WHERE item.id = ?1 AND EXISTS (SELECT 1 FROM queue WHERE queue.id = item.queue_id AND queue.deleted = 0)"
    );
    let found = prepared(connection, SQL)?.query_row([id.0], columns::item).optional()?;
    let Some((state, mut item)) = found else { return Ok(None) };
    if state.outcome.is_some() {
        item.processing_exception = exception(connection, id)?;
    }
    if let Some(holder) = state.holder.filter(|holder| holder.job != JobKey::CALLER.number()) {
        let job = prepared(connection, "SELECT key FROM job WHERE number = ?1")?
            .query_row([holder.job.0], |row| row.get(0).map(JobKey::from_bytes));
        item.executor_job = job.optional()?;
    }
    Ok(Some(*item))
}

fn exception(connection: &Connection, id: ItemId) -> SqlResult<Option<ProcessingException>> {
    const SQL: &str = "SELECT exception_type, reason, details, image_path, creation_time FROM item_exception WHERE item_id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let kind = numbered!(row, 0, ExceptionType)?;
        let record = ProcessingException::new(kind, row.get::<_, String>(1)?, time(row, 4)?);
        Ok(record.details(row.get(2)?).image(row.get(3)?))
    };
    prepared(connection, SQL)?.query_row([id.0], read).optional()
}
