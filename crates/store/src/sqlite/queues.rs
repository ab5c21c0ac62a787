//! Statements on queues and their counters.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::columns::{micros, time, unreadable};
use super::prepared;
use performer_core::model::key::{FolderId, QueueId, QueueKey};
use performer_core::model::queue::{QueueDefinition, QueuePolicy, folded};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::schema::Schemas;
use performer_core::model::statistics::QueueStatistics;

type SqlResult<T> = rusqlite::Result<T>;

const QUEUE: &str = "SELECT id, key, name, description, accept_automatically_retry, max_number_of_retries, \
     retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, stale_retention_days, \
     creation_time, specific_data_schema, output_data_schema, analytics_data_schema, notes, home_folder_id, \
     (SELECT group_concat(folder_id) FROM queue_folder WHERE queue_id = queue.id), limits, retry_delay FROM queue WHERE deleted = 0";

fn read_queue(row: &SqlRow<'_>) -> SqlResult<QueueDefinition> {
    let mut queue = QueueDefinition::new(
        QueueId(row.get(0)?),
        QueueKey::from_bytes(row.get(1)?),
        row.get(2)?,
        time(row, 11)?,
    );
    queue.description = row.get(3)?;
    queue.policy = QueuePolicy::default()
        .accept_automatically_retry(row.get(4)?)
        .max_number_of_retries(row.get(5)?)
        .retry_abandoned_items(row.get(6)?)
        .enforce_unique_reference(row.get(7)?)
        .abandon_after(duration(row, 8)?)
        .retention_days(row.get(9)?)
        .stale_retention_days(row.get(10)?)
        .retry_delay(json::<RetryDelay>(row, 19)?);
    queue.schemas =
        Schemas { specific_data: row.get(12)?, output_data: row.get(13)?, analytics_data: row.get(14)? };
    queue.notes = json(row, 15)?;
    queue.limits = json(row, 18)?;
    queue.folders = folders(row)?;
    Ok(queue)
}

/// NULL stands for the default value.
pub(super) fn json<T: DeserializeOwned + Default>(row: &SqlRow<'_>, at: usize) -> SqlResult<T> {
    let text: Option<String> = row.get(at)?;
    text.map_or_else(|| Ok(T::default()), |text| serde_json::from_str(&text))
        .map_err(|error| unreadable(at, Type::Text, error))
}

/// The folders of a queue, its first one first.
fn folders(row: &SqlRow<'_>) -> SqlResult<Vec<FolderId>> {
    let home: i64 = row.get(16)?;
    let text: Option<String> = row.get(17)?;
    let ids = text.as_deref().unwrap_or_default().split(',').filter(|id| !id.is_empty()).map(str::parse);
    let ids: Result<Vec<i64>, _> = ids.collect();
    let mut ids = ids.map_err(|error| unreadable(17, Type::Text, error))?;
    ids.sort_by_key(|id| (*id != home, *id));
    Ok(ids.into_iter().map(FolderId).collect())
}

pub(super) fn duration(row: &SqlRow<'_>, at: usize) -> SqlResult<Duration> {
    let micros: i64 = row.get(at)?;
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

pub(super) fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn queue_named(
    connection: &Connection,
    folder: FolderId,
    name: &str,
) -> SqlResult<Option<Arc<QueueDefinition>>> {
    let sql = format!(
        "{QUEUE} AND id = (SELECT queue_id FROM queue_folder WHERE folder_id = ?1 AND queue_folder.folded_name = ?2)"
    );
    let values = params![folder.0, folded(name)];
    prepared(connection, &sql)?.query_row(values, |row| read_queue(row).map(Arc::new)).optional()
}

pub(super) fn queue(connection: &Connection, id: QueueId) -> SqlResult<Option<Arc<QueueDefinition>>> {
    let sql = format!("{QUEUE} AND id = ?1");
    prepared(connection, &sql)?.query_row([id.0], |row| read_queue(row).map(Arc::new)).optional()
}

pub(super) fn queues(connection: &Connection) -> SqlResult<Vec<QueueDefinition>> {
    let sql = format!("{QUEUE} ORDER BY folded_name");
    prepared(connection, &sql)?.query_map([], read_queue)?.collect()
}

pub(super) fn insert_queue(connection: &Connection, queue: &QueueDefinition) -> SqlResult<QueueId> {
    const SQL: &str = "INSERT INTO queue (name, folded_name, description, accept_automatically_retry, \
         max_number_of_retries, retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, \
         stale_retention_days, key, creation_time, specific_data_schema, output_data_schema, analytics_data_schema, \
         notes, home_folder_id, limits, retry_delay) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    let policy = &queue.policy;
    prepared(connection, SQL)?.execute(params![
        queue.name,
        folded(&queue.name),
        queue.description,
        policy.accept_automatically_retry,
        policy.max_number_of_retries,
        policy.retry_abandoned_items,
        policy.enforce_unique_reference,
        micros_of(policy.abandon_after),
        policy.retention_days,
        policy.stale_retention_days,
        queue.key.to_bytes(),
        micros(queue.creation_time),
        queue.schemas.specific_data,
        queue.schemas.output_data,
        queue.schemas.analytics_data,
        unless_default(&queue.notes)?,
        queue.folders.first().map_or(FolderId::SHARED.0, |folder| folder.0),
        unless_default(&queue.limits)?,
        unless_default(&policy.retry_delay)?,
    ])?;
    let id = QueueId(connection.last_insert_rowid());
    prepared(connection, "INSERT INTO queue_statistics (queue_id) VALUES (?1)")?.execute([id.0])?;
    let mut stored = queue.clone();
    stored.id = id;
    write_folders(connection, &stored, &queue.folders)?;
    Ok(id)
}

/// As JSON; `None` for the default value.
fn unless_default<T: Serialize + Default + PartialEq>(value: &T) -> SqlResult<Option<String>> {
    if *value == T::default() {
        return Ok(None);
    }
    as_json(value).map(Some)
}

pub(super) fn as_json(value: &impl Serialize) -> SqlResult<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(super) fn write_folders(
    connection: &Connection,
    queue: &QueueDefinition,
    folders: &[FolderId],
) -> SqlResult<()> {
    const SQL: &str = "INSERT INTO queue_folder (folder_id, folded_name, queue_id) VALUES (?1, ?2, ?3)";
    prepared(connection, "DELETE FROM queue_folder WHERE queue_id = ?1")?.execute([queue.id.0])?;
    for folder in folders {
        prepared(connection, SQL)?.execute(params![folder.0, folded(&queue.name), queue.id.0])?;
    }
    Ok(())
}

pub(super) fn update_queue(connection: &Connection, queue: &QueueDefinition) -> SqlResult<()> {
    const SQL: &str = "UPDATE queue SET name = ?2, folded_name = ?3, description = ?4, \
         accept_automatically_retry = ?5, max_number_of_retries = ?6, retry_abandoned_items = ?7, abandon_after = ?8, \
         retention_days = ?9, stale_retention_days = ?10, specific_data_schema = ?11, output_data_schema = ?12, \
         analytics_data_schema = ?13, notes = ?14, limits = ?15, retry_delay = ?16 WHERE id = ?1";
    let policy = &queue.policy;
    prepared(connection, SQL)?.execute(params![
        queue.id.0,
        queue.name,
        folded(&queue.name),
        queue.description,
        policy.accept_automatically_retry,
        policy.max_number_of_retries,
        policy.retry_abandoned_items,
        micros_of(policy.abandon_after),
        policy.retention_days,
        policy.stale_retention_days,
        queue.schemas.specific_data,
        queue.schemas.output_data,
        queue.schemas.analytics_data,
        unless_default(&queue.notes)?,
        unless_default(&queue.limits)?,
        unless_default(&policy.retry_delay)?,
    ])?;
    write_folders(connection, queue, &queue.folders)
}

pub(super) fn statistics(connection: &Connection, queue: QueueId) -> SqlResult<QueueStatistics> {
    const SQL: &str = "SELECT new, in_progress, successful, business_exceptions, application_exceptions, retried, \
                       abandoned, deleted FROM queue_statistics WHERE queue_id = ?1";
    prepared(connection, SQL)?.query_row([queue.0], |row| {
        let mut statistics = QueueStatistics::default();
        statistics.new = row.get(0)?;
        statistics.in_progress = row.get(1)?;
        statistics.successful = row.get(2)?;
        statistics.business_exceptions = row.get(3)?;
        statistics.application_exceptions = row.get(4)?;
        statistics.retried = row.get(5)?;
        statistics.abandoned = row.get(6)?;
        statistics.deleted = row.get(7)?;
        Ok(statistics)
    })
}

pub(super) fn add_statistics(
    connection: &Connection,
    queue: QueueId,
    delta: &QueueStatistics,
) -> SqlResult<()> {
    const SQL: &str = "UPDATE queue_statistics SET new = new + ?2, in_progress = in_progress + ?3, \
         successful = successful + ?4, business_exceptions = business_exceptions + ?5, \
         application_exceptions = application_exceptions + ?6, retried = retried + ?7, abandoned = abandoned + ?8, \
         deleted = deleted + ?9 WHERE queue_id = ?1";
    prepared(connection, SQL)?
        .execute(params![
            queue.0,
            delta.new,
            delta.in_progress,
            delta.successful,
            delta.business_exceptions,
            delta.application_exceptions,
            delta.retried,
            delta.abandoned,
            delta.deleted,
        ])
        .map(drop)
}
