//! The statements that write items.

use rusqlite::{Connection, params};

use super::super::rows::{Copy, NewRow, Written};
use super::columns::micros;
use super::prepared;
use crate::model::content::Output;
use crate::model::exception::ProcessingException;
use crate::model::key::ItemId;
use crate::model::lifecycle::ItemState;
use crate::model::selection::{is_deferred, rank};
use crate::model::status::Status;

/// Content up to this size stands in the item's row; larger content in its own table.
const CONTENT_IN_ROW: usize = 1_000;

type Sql<T> = rusqlite::Result<T>;

/// The content, if it is small enough for the item's row.
pub(super) fn in_row(content: &str) -> Option<&str> {
    (content.len() <= CONTENT_IN_ROW).then_some(content)
}

pub(super) fn write_large_content(connection: &Connection, id: ItemId, content: &str) -> Sql<()> {
    if in_row(content).is_none() {
        const SQL: &str = "INSERT INTO item_content (item_id, content) VALUES (?1, ?2)";
        prepared(connection, SQL)?.execute(params![id.0, content])?;
    }
    Ok(())
}

pub(super) fn insert_item(connection: &Connection, id: ItemId, row: &NewRow<'_>) -> Sql<()> {
    const SQL: &str = "INSERT INTO item (queue_id, status, deferred, rank, review_status, superseded, holds_reference, \
         retry_number, manual_retry_number, priority, due_date, defer_date, risk_sla_date, creation_time, \
         seconds_in_previous_attempts, token, row_version, unique_key, reference, content, progress, id) \
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, 0, 0, ?6, ?7, ?8, ?9, ?10, 0, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    let state = row.state;
    let content = row.content.as_json();
    prepared(connection, SQL)?.execute(params![
        row.queue.0,
        state.status.number(),
        is_deferred(state, row.now),
        rank(state.priority, state.due_date),
        state.holds_reference,
        state.priority.number(),
        state.due_date.map(micros),
        state.defer_date.map(micros),
        row.risk_sla_date.map(micros),
        micros(state.creation_time),
        state.token,
        state.row_version,
        row.unique_key.to_bytes(),
        row.reference,
        in_row(content),
        row.progress,
        id.0,
    ])?;
    write_large_content(connection, id, content)
}

pub(super) fn insert_copy(connection: &Connection, id: ItemId, copy: &Copy<'_>) -> Sql<()> {
    const SQL: &str = "INSERT INTO item (queue_id, status, deferred, rank, review_status, superseded, holds_reference, \
         retry_number, manual_retry_number, priority, due_date, defer_date, risk_sla_date, creation_time, \
         seconds_in_previous_attempts, token, row_version, unique_key, chain_key, root_id, ancestor_id, \
         manual_ancestor_id, reference, content, id) \
         SELECT queue_id, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, risk_sla_date, ?11, ?12, ?13, ?14, ?15, \
         coalesce(chain_key, unique_key), coalesce(root_id, id), iif(?16, NULL, id), iif(?16, id, manual_ancestor_id), \
         reference, content, ?17 FROM item WHERE id = ?1";
    let state = copy.state;
    prepared(connection, SQL)?.execute(params![
        copy.original.0,
        state.status.number(),
        is_deferred(state, copy.now),
        rank(state.priority, state.due_date),
        state.holds_reference,
        state.retry_number,
        state.manual_retry_number,
        state.priority.number(),
        state.due_date.map(micros),
        state.defer_date.map(micros),
        micros(state.creation_time),
        state.seconds_in_previous_attempts,
        state.token,
        state.row_version,
        copy.unique_key.to_bytes(),
        copy.by_hand,
        id.0,
    ])?;
    let large =
        "INSERT INTO item_content (item_id, content) SELECT ?2, content FROM item_content WHERE item_id = ?1";
    prepared(connection, large)?.execute([copy.original.0, id.0]).map(drop)
}

/// Writes the columns that this kind of change touches, and no index that it does not.
pub(super) fn write(
    connection: &Connection,
    id: ItemId,
    before: &ItemState,
    written: &Written<'_>,
) -> Sql<bool> {
    let state = written.state;
    let holder = state.holder.map(|holder| holder.job.0);
    let rows = match (before.status, state.status) {
        (Status::New, Status::InProgress) => {
            const TAKE: &str = "UPDATE item SET status = 1, deferred = 0, start_processing = ?2, holder = ?3, \
                                robot = ?4, token = ?5, row_version = ?6 WHERE id = ?1 AND row_version = ?7";
            prepared(connection, TAKE)?.execute(params![
                id.0,
                state.start_processing.map(micros),
                holder,
                written.taken_by.and_then(|(_, robot)| robot),
                state.token,
                state.row_version,
                before.row_version,
            ])?
        }
        (Status::InProgress, Status::Successful | Status::Failed | Status::Retried | Status::Abandoned) => {
            const END: &str = "UPDATE item SET status = ?2, outcome = ?3, superseded = ?4, holds_reference = ?5, \
                               end_processing = ?6, row_version = ?7, output = ?8, progress = coalesce(?9, progress) \
                               WHERE id = ?1 AND row_version = ?10";
            let rows = prepared(connection, END)?.execute(params![
                id.0,
                state.status.number(),
                state.outcome.map(|outcome| outcome.number()),
                state.superseded,
                state.holds_reference,
                state.end_processing.map(micros),
                state.row_version,
                written.output.map(Output::as_json),
                written.progress,
                before.row_version,
            ])?;
            if let Some(exception) = written.exception.filter(|_| rows > 0) {
                write_exception(connection, id, exception)?;
            }
            rows
        }
        _ => write_all(connection, id, before, written)?,
    };
    Ok(rows > 0)
}

fn write_all(connection: &Connection, id: ItemId, before: &ItemState, written: &Written<'_>) -> Sql<usize> {
    const ALL: &str = "UPDATE item SET status = ?2, deferred = ?3, rank = ?4, review_status = ?5, superseded = ?6, \
         holds_reference = ?7, priority = ?8, due_date = ?9, defer_date = ?10, start_processing = ?11, \
         reviewer_user_id = ?12, holder = ?13, token = ?14, row_version = ?15, progress = coalesce(?16, progress) \
         WHERE id = ?1 AND row_version = ?17";
    let state = written.state;
    prepared(connection, ALL)?.execute(params![
        id.0,
        state.status.number(),
        is_deferred(state, written.now),
        rank(state.priority, state.due_date),
        state.review_status.number(),
        state.superseded,
        state.holds_reference,
        state.priority.number(),
        state.due_date.map(micros),
        state.defer_date.map(micros),
        state.start_processing.map(micros),
        state.reviewer_user_id,
        state.holder.map(|holder| holder.job.0),
        state.token,
        state.row_version,
        written.progress,
        before.row_version,
    ])
}

fn write_exception(connection: &Connection, id: ItemId, exception: &ProcessingException) -> Sql<()> {
    const SQL: &str = "INSERT INTO item_exception (item_id, exception_type, reason, details, image_path, creation_time) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    prepared(connection, SQL)?
        .execute(params![
            id.0,
            exception.exception_type.number(),
            exception.reason,
            exception.details,
            exception.associated_image_file_path,
            micros(exception.creation_time),
        ])
        .map(drop)
}
