//! The statements that write items.

use rusqlite::{Connection, Statement, params};

use super::super::rows::{NewRow, RetryCopy, StateUpdate};
use super::columns::micros;
use super::write_many::write_claim;
use super::{prepared, ready_items};
use performer_core::model::content::{Analytics, Output};
use performer_core::model::exception::ProcessingException;
use performer_core::model::key::{ItemId, JobKey, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::status::Status;

/// Content up to this size is stored in the item's row; larger content in a table of its own.
const CONTENT_IN_ROW: usize = 1_000;

type SqlResult<T> = rusqlite::Result<T>;

/// The content, if it is small enough for the item's row.
pub(super) fn in_row(content: &str) -> Option<&str> {
    (content.len() <= CONTENT_IN_ROW).then_some(content)
}

pub(super) fn write_large_content(connection: &Connection, id: ItemId, content: &str) -> SqlResult<()> {
    if in_row(content).is_none() {
        const SQL: &str = "INSERT INTO item_content (item_id, content) VALUES (?1, ?2)";
        prepared(connection, SQL)?.execute(params![id.0, content])?;
    }
    Ok(())
}

pub(super) fn insert_item(connection: &Connection, id: ItemId, row: &NewRow<'_>) -> SqlResult<()> {
    const SQL: &str = "INSERT INTO item (id, queue_id, priority, due_date, defer_date, risk_sla_date, creation_time, \
                       holds_reference, unique_key, reference, content, creator_job, parent_operation_id, source, \
                       created_by, group_name) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    let state = row.state;
    let content = row.content.as_json();
    prepared(connection, SQL)?.execute(params![
        id.0,
        row.queue.0,
        state.priority.number(),
        state.due_date.map(micros),
        state.defer_date.map(micros),
        row.risk_sla_date.map(micros),
        micros(state.creation_time),
        state.holds_reference,
        row.unique_key.to_bytes(),
        row.reference,
        in_row(content),
        row.origin.creator_job.map(JobKey::to_bytes),
        row.origin.parent_operation_id,
        row.origin.source.map(|source| source.number()),
        row.created_by,
        row.group,
    ])?;
    write_large_content(connection, id, content)?;
    if row.progress.is_some() {
        let written = StateUpdate { progress: row.progress, ..StateUpdate::state(state, row.now) };
        write_all(connection, id, row.queue, state, &written)?;
    }
    Ok(())
}

pub(super) fn insert_copy(connection: &Connection, id: ItemId, copy: &RetryCopy<'_>) -> SqlResult<()> {
    const ITEM: &str = "INSERT INTO item (id, queue_id, root_id, priority, due_date, defer_date, risk_sla_date, \
         creation_time, holds_reference, unique_key, reference, content, creator_job, parent_operation_id, source, \
         created_by, group_name) \
         SELECT ?2, queue_id, coalesce(root_id, id), ?3, ?4, ?5, risk_sla_date, ?6, ?7, ?8, reference, content, \
         creator_job, parent_operation_id, source, ?9, group_name FROM item WHERE id = ?1";
    const COPY: &str = "INSERT INTO item_copy (item_id, chain_key, ancestor_id, manual_ancestor_id, retry_number, \
         manual_retry_number, seconds_in_previous_attempts) \
         SELECT ?2, coalesce(chain_key, unique_key), iif(?3, NULL, id), iif(?3, id, manual_ancestor_id), ?4, ?5, ?6 \
         FROM item LEFT JOIN item_copy ON item_copy.item_id = item.id WHERE id = ?1";
    const LARGE: &str =
        "INSERT INTO item_content (item_id, content) SELECT ?2, content FROM item_content WHERE item_id = ?1";
    let (state, original) = (copy.state, copy.original.0);
    prepared(connection, ITEM)?.execute(params![
        original,
        id.0,
        state.priority.number(),
        state.due_date.map(micros),
        state.defer_date.map(micros),
        micros(state.creation_time),
        state.holds_reference,
        copy.unique_key.to_bytes(),
        copy.created_by,
    ])?;
    prepared(connection, COPY)?.execute(params![
        original,
        id.0,
        copy.by_hand,
        state.retry_number,
        state.manual_retry_number,
        state.seconds_in_previous_attempts,
    ])?;
    prepared(connection, LARGE)?.execute([original, id.0])?;
    ready_items::insert_waiting(connection, copy.queue, id, state, copy.now, false)
}

/// Writes the columns that this kind of change touches, and no other table or index.
pub(super) fn write(
    connection: &Connection,
    id: ItemId,
    queue: QueueId,
    before: &ItemState,
    written: &StateUpdate<'_>,
) -> SqlResult<bool> {
    let state = written.state;
    let rows = match (before.status, state.status) {
        (Status::New, Status::InProgress) => {
            write_claim(connection, queue, id, (before, state), written.taken_by)?
        }
        (Status::InProgress, Status::Successful | Status::Failed | Status::Retried | Status::Abandoned) => {
            let rows = end(&mut *prepared(connection, END)?, id, before, written)?;
            if let Some(exception) = written.exception.filter(|_| rows > 0) {
                write_exception(connection, id, exception)?;
            }
            rows
        }
        _ => write_all(connection, id, queue, before, written)?,
    };
    if rows == 0 {
        return Ok(false);
    }
    ready_items::remove_waiting(connection, queue, id, before)?;
    ready_items::insert_waiting(connection, queue, id, state, written.now, true)?;
    let dates_stay = (state.priority, state.due_date, state.defer_date)
        == (before.priority, before.due_date, before.defer_date);
    if !dates_stay || state.holds_reference != before.holds_reference {
        write_item(connection, id, state)?;
    }
    Ok(true)
}

pub(super) const END: &str = "UPDATE item_state SET status = ?2, outcome = ?3, superseded = ?4, end_processing = ?5, \
                       row_version = ?6, output = ?7, progress = coalesce(?8, progress), analytics = ?10, operation_id = ?11, \
                       ended_by = ?12 \
                       WHERE item_id = ?1 AND row_version = ?9 AND status = 1";

pub(super) fn end(
    statement: &mut Statement<'_>,
    id: ItemId,
    before: &ItemState,
    written: &StateUpdate<'_>,
) -> SqlResult<usize> {
    let state = written.state;
    statement.execute(params![
        id.0,
        state.status.number(),
        state.outcome.map(|outcome| outcome.number()),
        state.superseded,
        state.end_processing.map(micros),
        state.row_version,
        written.output.map(Output::as_json),
        written.progress,
        before.row_version,
        written.analytics.map(Analytics::as_json),
        written.operation_id,
        written.ended_by,
    ])
}

/// Writes the whole state of an item. An item that was never touched has no row yet.
fn write_all(
    connection: &Connection,
    id: ItemId,
    queue: QueueId,
    before: &ItemState,
    written: &StateUpdate<'_>,
) -> SqlResult<usize> {
    const INSERT: &str = "INSERT OR IGNORE INTO item_state (item_id, queue_id, status, review_status, superseded, token, \
                          row_version) VALUES (?1, ?2, 0, 0, 0, 0, 1)";
    const ALL: &str = "UPDATE item_state SET status = ?2, review_status = ?3, superseded = ?4, start_processing = ?5, \
         reviewer_user_id = ?6, holder = ?7, token = ?8, row_version = ?9, progress = coalesce(?10, progress), \
         taken_by = iif(?2 = 0, NULL, taken_by) \
         WHERE item_id = ?1 AND row_version = ?11 AND status = ?12";
    let state = written.state;
    if before.status == Status::New {
        prepared(connection, INSERT)?.execute([id.0, queue.0])?;
    }
    prepared(connection, ALL)?.execute(params![
        id.0,
        state.status.number(),
        state.review_status.number(),
        state.superseded,
        state.start_processing.map(micros),
        state.reviewer_user_id,
        state.holder.map(|holder| holder.job.0),
        state.token,
        state.row_version,
        written.progress,
        before.row_version,
        before.status.number(),
    ])
}

fn write_item(connection: &Connection, id: ItemId, state: &ItemState) -> SqlResult<()> {
    const SQL: &str =
        "UPDATE item SET priority = ?2, due_date = ?3, defer_date = ?4, holds_reference = ?5 WHERE id = ?1";
    prepared(connection, SQL)?
        .execute(params![
            id.0,
            state.priority.number(),
            state.due_date.map(micros),
            state.defer_date.map(micros),
            state.holds_reference,
        ])
        .map(drop)
}

pub(super) fn write_exception(
    connection: &Connection,
    id: ItemId,
    exception: &ProcessingException,
) -> SqlResult<()> {
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
