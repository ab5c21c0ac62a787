//! Statements on queues.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::columns::{bytes, get, text, unreadable, uuid};
use super::session::{BoundQuery, OwnedValue, Session};
use performer_core::model::key::{FolderId, QueueId, QueueKey};
use performer_core::model::queue::{QueueDefinition, QueuePolicy, folded};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::schema::Schemas;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

const QUEUE: &str = "SELECT id, key, name, description, accept_automatically_retry, max_number_of_retries, \
     retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, stale_retention_days, \
     creation_time, specific_data_schema, output_data_schema, analytics_data_schema, notes, home_folder_id, \
     array(SELECT folder_id FROM queue_folder WHERE queue_id = queue.id), limits, retry_delay FROM queue WHERE NOT deleted";

/// How many columns that has.
pub(super) const QUEUE_COLUMNS: usize = 20;

fn read_queue(row: &Row) -> Result<QueueDefinition> {
    let schema = |at| -> Result<Option<Arc<str>>> { Ok(get::<Option<&str>>(row, at)?.map(Arc::from)) };
    let mut queue = QueueDefinition::new(
        QueueId(get(row, 0)?),
        QueueKey::from_bytes(bytes(get(row, 1)?)),
        get(row, 2)?,
        get(row, 11)?,
    );
    queue.description = get(row, 3)?;
    queue.policy = QueuePolicy::default()
        .accept_automatically_retry(get(row, 4)?)
        .max_number_of_retries(small(get::<i32>(row, 5)?.into()))
        .retry_abandoned_items(get(row, 6)?)
        .enforce_unique_reference(get(row, 7)?)
        .abandon_after(duration(row, 8)?)
        .retention_days(small(get::<i32>(row, 9)?.into()))
        .stale_retention_days(small(get::<i32>(row, 10)?.into()))
        .retry_delay(json::<RetryDelay>(row, 19)?);
    queue.schemas =
        Schemas { specific_data: schema(12)?, output_data: schema(13)?, analytics_data: schema(14)? };
    queue.notes = json(row, 15)?;
    queue.limits = json(row, 18)?;
    queue.folders = folders(row)?;
    Ok(queue)
}

/// NULL stands for the default value.
pub(super) fn json<T: DeserializeOwned + Default>(row: &Row, at: usize) -> Result<T> {
    let json: Option<&str> = get(row, at)?;
    json.map_or_else(|| Ok(T::default()), serde_json::from_str).map_err(unreadable)
}

/// The folders of a queue, its first one first.
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

/// The row that an INSERT returns.
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

/// The query of [`queue_named`].
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
    let sql = format!("{}{}", query.sql, kept_in_caller_transaction(session));
    one_queue(session.query_opt(&sql, &query.bound())?)
}

pub(super) fn queue(session: &mut Session, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
    let sql = format!("{QUEUE} AND id = $1{}", kept_in_caller_transaction(session));
    one_queue(session.query_opt(&sql, &[&id.0])?)
}

/// The caller's transaction does not share the lock of all queues. It locks the row of the queue, in a way that only a change of
/// its rules about groups does not go with: that is refused until the transaction ends.
fn kept_in_caller_transaction(session: &Session) -> &'static str {
    if session.is_callers() { " FOR KEY SHARE OF queue" } else { "" }
}

/// Locks the row of a queue whose rules about groups are changed. Fails if a caller's transaction has it.
pub(super) fn lock_rules(session: &mut Session, id: QueueId) -> Result<()> {
    session.execute("SELECT 1 FROM queue WHERE id = $1 FOR UPDATE NOWAIT", &[&id.0]).map(drop)
}

pub(super) fn queues(session: &mut Session) -> Result<Vec<QueueDefinition>> {
    // By bytes, as every store sorts, whatever the database's collation.
    let sql = format!("{QUEUE} ORDER BY folded_name COLLATE \"C\"");
    session.query(&sql, &[])?.iter().map(read_queue).collect()
}

pub(super) fn insert_queue(session: &mut Session, queue: &QueueDefinition) -> Result<QueueId> {
    const SQL: &str = "INSERT INTO queue (name, folded_name, description, accept_automatically_retry, \
         max_number_of_retries, retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, \
         stale_retention_days, key, creation_time, specific_data_schema, output_data_schema, analytics_data_schema, \
         notes, home_folder_id, limits, retry_delay) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) RETURNING id";
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
            &unless_default(&policy.retry_delay)?,
        ],
    )?;
    let id = QueueId(get(&returned(row)?, 0)?);
    let mut stored = queue.clone();
    stored.id = id;
    write_folders(session, &stored, &queue.folders)?;
    Ok(id)
}

/// As JSON, in which NUL is escaped; `None` for the default value.
fn unless_default<T: Serialize + Default + PartialEq>(value: &T) -> Result<Option<String>> {
    if *value == T::default() { Ok(None) } else { as_json(value).map(Some) }
}

pub(super) fn as_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        OrchestratorError::new(ErrorKind::Other, "a value cannot be written").with_source(error)
    })
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
         analytics_data_schema = $13, notes = $14, limits = $15, retry_delay = $16 WHERE id = $1";
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
            &unless_default(&policy.retry_delay)?,
        ],
    )?;
    write_folders(session, queue, &queue.folders)
}
