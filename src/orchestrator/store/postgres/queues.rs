//! The statements of the quiet path: queues and comments.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::columns::{bytes, get, text, unreadable, uuid};
use super::session::{BoundQuery, OwnedValue, Session};
use crate::model::key::{FolderId, ItemId, QueueId, QueueKey};
use crate::model::queue::{QueueDefinition, QueuePolicy, folded};
use crate::model::review::{Comment, Person};
use crate::model::schema::Schemas;

// Queues

const QUEUE: &str = "SELECT id, key, name, description, accept_automatically_retry, max_number_of_retries, \
     retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, stale_retention_days, \
     creation_time, specific_data_schema, output_data_schema, analytics_data_schema, notes, home_folder_id, \
     array(SELECT folder_id FROM queue_folder WHERE queue_id = queue.id), limits FROM queue WHERE NOT deleted";

/// So many columns that has.
pub(super) const QUEUE_COLUMNS: usize = 19;

fn read_queue(row: &Row) -> Result<QueueDefinition> {
    let schema = |at| -> Result<Option<Arc<str>>> { Ok(get::<Option<&str>>(row, at)?.map(Arc::from)) };
    Ok(QueueDefinition {
        id: QueueId(get(row, 0)?),
        key: QueueKey::from_bytes(bytes(get(row, 1)?)),
        name: get(row, 2)?,
        description: get(row, 3)?,
        policy: QueuePolicy {
            accept_automatically_retry: get(row, 4)?,
            max_number_of_retries: small(get::<i32>(row, 5)?.into()),
            retry_abandoned_items: get(row, 6)?,
            enforce_unique_reference: get(row, 7)?,
            abandon_after: duration(row, 8)?,
            retention_days: small(get::<i32>(row, 9)?.into()),
            stale_retention_days: small(get::<i32>(row, 10)?.into()),
        },
        creation_time: get(row, 11)?,
        schemas: Schemas {
            specific_data: schema(12)?,
            output_data: schema(13)?,
            analytics_data: schema(14)?,
        },
        notes: json(row, 15)?,
        limits: json(row, 18)?,
        folders: folders(row)?,
    })
}

/// Nothing is what there is by default.
pub(super) fn json<T: DeserializeOwned + Default>(row: &Row, at: usize) -> Result<T> {
    let json: Option<&str> = get(row, at)?;
    json.map_or_else(|| Ok(T::default()), serde_json::from_str).map_err(unreadable)
}

/// The folders of a queue, where it was made first.
fn folders(row: &Row) -> Result<Vec<FolderId>> {
    let home: i64 = get(row, 16)?;
    let mut ids: Vec<i64> = get(row, 17)?;
    ids.sort_by_key(|id| (*id != home, *id));
    Ok(ids.into_iter().map(FolderId).collect())
}

pub(super) fn duration(row: &Row, at: usize) -> Result<Duration> {
    let micros: i64 = get(row, at)?;
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

pub(super) fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The row that an INSERT answers with.
fn returned(row: Option<Row>) -> Result<Row> {
    row.ok_or_else(|| OrchestratorError::new(ErrorKind::Other, "the database did not say what it inserted"))
}

pub(super) fn one_queue(row: Option<Row>) -> Result<Option<Arc<QueueDefinition>>> {
    row.map(|row| read_queue(&row).map(Arc::new)).transpose()
}

pub(super) static QUEUE_NAMED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{QUEUE} AND id = (SELECT queue_id FROM queue_folder WHERE folder_id = $1 AND queue_folder.folded_name = $2)"
    )
});

/// The question that [`queue_named`] asks.
pub(super) fn queue_named_query(folder: FolderId, name: &str) -> BoundQuery {
    let values: Vec<OwnedValue> = vec![Box::new(folder.0), Box::new(text(&folded(name)).into_owned())];
    BoundQuery { sql: QUEUE_NAMED.as_str().into(), values }
}

pub(super) fn queue_named(
    session: &mut Session,
    folder: FolderId,
    name: &str,
) -> Result<Option<Arc<QueueDefinition>>> {
    let query = queue_named_query(folder, name);
    one_queue(session.query_opt(&query.sql, &query.bound())?)
}

pub(super) fn queue(session: &mut Session, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
    one_queue(session.query_opt(&format!("{QUEUE} AND id = $1"), &[&id.0])?)
}

pub(super) fn queues(session: &mut Session) -> Result<Vec<QueueDefinition>> {
    // By bytes, as every store sorts, whatever the database's language.
    let sql = format!("{QUEUE} ORDER BY folded_name COLLATE \"C\"");
    session.query(&sql, &[])?.iter().map(read_queue).collect()
}

pub(super) fn insert_queue(session: &mut Session, queue: &QueueDefinition) -> Result<QueueId> {
    const SQL: &str = "INSERT INTO queue (name, folded_name, description, accept_automatically_retry, \
         max_number_of_retries, retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, \
         stale_retention_days, key, creation_time, specific_data_schema, output_data_schema, analytics_data_schema, \
         notes, home_folder_id, limits) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) RETURNING id";
    let policy = &queue.policy;
    let row = session.query_opt(
        SQL,
        &[
            &text(&queue.name),
            &text(&folded(&queue.name)),
            &queue.description.as_deref().map(text),
            &policy.accept_automatically_retry,
            &integer(policy.max_number_of_retries),
            &policy.retry_abandoned_items,
            &policy.enforce_unique_reference,
            &micros_of(policy.abandon_after),
            &integer(policy.retention_days),
            &integer(policy.stale_retention_days),
            &uuid(queue.key.to_bytes()),
            &queue.creation_time,
            &queue.schemas.specific_data.as_deref().map(text),
            &queue.schemas.output_data.as_deref().map(text),
            &queue.schemas.analytics_data.as_deref().map(text),
            &unless_default(&queue.notes)?,
            &queue.folders.first().map_or(FolderId::SHARED.0, |folder| folder.0),
            &unless_default(&queue.limits)?,
        ],
    )?;
    let id = QueueId(get(&returned(row)?, 0)?);
    write_folders(session, &QueueDefinition { id, ..queue.clone() }, &queue.folders)?;
    Ok(id)
}

/// As JSON, which writes NUL in other characters; nothing where it is what there is by default.
fn unless_default<T: Serialize + Default + PartialEq>(value: &T) -> Result<Option<String>> {
    if *value == T::default() { Ok(None) } else { as_json(value).map(Some) }
}

pub(super) fn as_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| OrchestratorError::new(ErrorKind::Other, "a value cannot be written").because(error))
}

pub(super) fn write_folders(
    session: &mut Session,
    queue: &QueueDefinition,
    folders: &[FolderId],
) -> Result<()> {
    const SQL: &str = "INSERT INTO queue_folder (folder_id, folded_name, queue_id) \
                       SELECT folder_id, $2::text, $3::bigint FROM unnest($1::bigint[]) AS folders (folder_id)";
    session.execute("DELETE FROM queue_folder WHERE queue_id = $1", &[&queue.id.0])?;
    let folders: Vec<i64> = folders.iter().map(|folder| folder.0).collect();
    session.execute(SQL, &[&folders, &text(&folded(&queue.name)), &queue.id.0]).map(drop)
}

pub(super) fn update_queue(session: &mut Session, queue: &QueueDefinition) -> Result<()> {
    const SQL: &str = "UPDATE queue SET name = $2, folded_name = $3, description = $4, \
         accept_automatically_retry = $5, max_number_of_retries = $6, retry_abandoned_items = $7, abandon_after = $8, \
         retention_days = $9, stale_retention_days = $10, specific_data_schema = $11, output_data_schema = $12, \
         analytics_data_schema = $13, notes = $14, limits = $15 WHERE id = $1";
    let policy = &queue.policy;
    session.execute(
        SQL,
        &[
            &queue.id.0,
            &text(&queue.name),
            &text(&folded(&queue.name)),
            &queue.description.as_deref().map(text),
            &policy.accept_automatically_retry,
            &integer(policy.max_number_of_retries),
            &policy.retry_abandoned_items,
            &micros_of(policy.abandon_after),
            &integer(policy.retention_days),
            &integer(policy.stale_retention_days),
            &queue.schemas.specific_data.as_deref().map(text),
            &queue.schemas.output_data.as_deref().map(text),
            &queue.schemas.analytics_data.as_deref().map(text),
            &unless_default(&queue.notes)?,
            &unless_default(&queue.limits)?,
        ],
    )?;
    write_folders(session, queue, &queue.folders)
}

// Removing

/// Everything of an item, but for the place where it waits. One statement, because each is a way to the database and back.
pub(super) fn remove_item(session: &mut Session, id: ItemId) -> Result<()> {
    const SQL: &str = "WITH state AS (DELETE FROM item_state WHERE item_id = $1), \
         copy AS (DELETE FROM item_copy WHERE item_id = $1), \
         exception AS (DELETE FROM item_exception WHERE item_id = $1), \
         event AS (DELETE FROM item_event WHERE item_id = $1), \
         comment AS (DELETE FROM item_comment WHERE item_id = $1) \
         DELETE FROM item WHERE id = $1";
    session.execute(SQL, &[&id.0]).map(drop)
}

// Comments

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &Row) -> Result<Comment> {
    Ok(Comment {
        id: get(row, 0)?,
        item_id: ItemId(get(row, 1)?),
        text: get(row, 2)?,
        author: Person { user_id: get(row, 3)?, user_name: get(row, 4)? },
        creation_time: get(row, 5)?,
    })
}

pub(super) fn insert_comment(
    session: &mut Session,
    item_id: ItemId,
    author: &Person,
    words: &str,
    now: Timestamp,
) -> Result<Comment> {
    const SQL: &str = "INSERT INTO item_comment (item_id, text, user_id, user_name, creation_time) \
                       VALUES ($1, $2, $3, $4, $5) RETURNING id";
    // Answered as it is kept.
    let words = text(words).into_owned();
    let user_name = author.user_name.as_deref().map(|name| text(name).into_owned());
    let row = session.query_opt(SQL, &[&item_id.0, &words, &author.user_id, &user_name, &now])?;
    let id = get(&returned(row)?, 0)?;
    let author = Person { user_id: author.user_id, user_name };
    Ok(Comment { id, item_id, text: words, author, creation_time: now })
}

pub(super) fn comment(session: &mut Session, id: i64) -> Result<Option<Comment>> {
    let row = session.query_opt(&format!("{COMMENT} WHERE id = $1"), &[&id])?;
    row.as_ref().map(read_comment).transpose()
}

pub(super) fn comments_on(session: &mut Session, id: ItemId) -> Result<Vec<Comment>> {
    let sql = format!("{COMMENT} WHERE item_id = $1 ORDER BY id");
    session.query(&sql, &[&id.0])?.iter().map(read_comment).collect()
}

pub(super) fn all_comments(session: &mut Session) -> Result<Vec<Comment>> {
    session.query(&format!("{COMMENT} ORDER BY id"), &[])?.iter().map(read_comment).collect()
}

pub(super) fn write_comment(session: &mut Session, id: i64, words: Option<&str>) -> Result<()> {
    match words {
        Some(words) => {
            session.execute("UPDATE item_comment SET text = $2 WHERE id = $1", &[&id, &text(words)])
        }
        None => session.execute("DELETE FROM item_comment WHERE id = $1", &[&id]),
    }
    .map(drop)
}
