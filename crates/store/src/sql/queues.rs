//! Statements on queues.

use std::sync::Arc;

use super::columns::{Columns, duration, json, micros_of, small, unless_default, unreadable};
use super::dialect::{Bound, Dialect, Engine, Row, Values};
use performer_core::model::key::{FolderId, QueueId, QueueKey};
use performer_core::model::queue::{QueueDefinition, QueuePolicy, folded};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::schema::Schemas;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// Queues that are not deleted, in the columns that [`read`] reads. A macro, so that it is concatenated at compile time: each claim looks
/// a queue up. `$folders`: the numbers of the folders of a queue as one text, with commas.
macro_rules! select_queue {
    ($folders:literal) => {
        concat!(
            "SELECT id, key, name, description, accept_automatically_retry, max_number_of_retries, \
             retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, stale_retention_days, \
             creation_time, specific_data_schema, output_data_schema, analytics_data_schema, notes, home_folder_id, ",
            $folders,
            ", limits, retry_delay FROM queue WHERE NOT deleted"
        )
    };
}
pub(crate) use select_queue;

/// How many columns that has.
#[cfg(feature = "postgres")]
pub(crate) const COLUMNS: usize = 20;

pub(crate) fn read(row: &dyn Row) -> Result<QueueDefinition> {
    let schema = |at| -> Result<Option<Arc<str>>> { Ok(row.text_or_none(at)?.map(Arc::from)) };
    let (id, key) = (QueueId(row.number(0)?), QueueKey::from_bytes(row.key(1)?));
    let mut queue = QueueDefinition::new(id, key, row.text(2)?, row.time(11)?);
    queue.description = row.text_or_none(3)?;
    queue.policy = QueuePolicy::default()
        .accept_automatically_retry(row.flag(4)?)
        .max_number_of_retries(small(row, 5)?)
        .retry_abandoned_items(row.flag(6)?)
        .enforce_unique_reference(row.flag(7)?)
        .abandon_after(duration(row, 8)?)
        .retention_days(small(row, 9)?)
        .stale_retention_days(small(row, 10)?)
        .retry_delay(json::<RetryDelay>(row, 19)?);
    queue.schemas =
        Schemas { specific_data: schema(12)?, output_data: schema(13)?, analytics_data: schema(14)? };
    queue.notes = json(row, 15)?;
    queue.limits = json(row, 18)?;
    queue.folders = folders(row)?;
    Ok(queue)
}

/// The folders of a queue, its first one first.
fn folders(row: &dyn Row) -> Result<Vec<FolderId>> {
    let (home, ids) = (row.number(16)?, row.text_or_none(17)?.unwrap_or_default());
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::parse);
    let mut ids: Vec<i64> = ids.collect::<std::result::Result<_, _>>().map_err(unreadable)?;
    ids.sort_by_key(|id| (*id != home, *id));
    Ok(ids.into_iter().map(FolderId).collect())
}

/// The query for the queue with a name in a folder; both are placeholders.
pub(crate) fn named_query<D: Dialect>(folder: &str, folded_name: &str) -> String {
    format!(
        "{} AND id = (SELECT queue_id FROM queue_folder \
         WHERE folder_id = {folder} AND queue_folder.folded_name = {folded_name})",
        D::QUEUE
    )
}

/// `lock`: behind the query.
pub(crate) fn named<E: Engine>(
    engine: &mut E,
    folder: FolderId,
    name: &str,
    lock: &str,
) -> Result<Option<Arc<QueueDefinition>>> {
    let mut values = Values::default();
    let (folder, name) = (values.bind::<E>(folder.0), values.bind_text::<E>(&folded(name)));
    let sql = named_query::<E>(&folder, &name) + lock;
    Ok(engine.read_prepared(&sql, &values, read)?.pop().map(Arc::new))
}

/// `lock`: behind the query.
pub(crate) fn one<E: Engine>(
    engine: &mut E,
    id: QueueId,
    lock: &str,
) -> Result<Option<Arc<QueueDefinition>>> {
    let mut values = Values::default();
    let sql = format!("{} AND id = {}{lock}", E::QUEUE, values.bind::<E>(id.0));
    Ok(engine.read_prepared(&sql, &values, read)?.pop().map(Arc::new))
}

/// By name, in the order of its bytes.
pub(crate) fn all<E: Engine>(engine: &mut E) -> Result<Vec<QueueDefinition>> {
    let sql = format!("{} ORDER BY folded_name{}", E::QUEUE, E::BY_BYTES);
    engine.read_list(("queue", 0), &sql, &Values::default(), read)
}

pub(crate) fn insert<E: Engine>(engine: &mut E, queue: &QueueDefinition) -> Result<QueueId> {
    let columns = changeable::<E>(queue)?
        .set("key", Bound::Key(queue.key.to_bytes()))
        .set("creation_time", queue.creation_time)
        .set("enforce_unique_reference", queue.policy.enforce_unique_reference)
        .set("home_folder_id", queue.folders.first().unwrap_or(&FolderId::SHARED).0);
    let sql = format!("INSERT INTO queue {} RETURNING id", columns.insertion());
    let missing = || OrchestratorError::new(ErrorKind::Other, "a new queue got no number");
    let id = engine.read_number(&sql, &columns.values)?.map(QueueId).ok_or_else(missing)?;
    write_folders(engine, id, &queue.name, &queue.folders)?;
    Ok(id)
}

pub(crate) fn update<E: Engine>(engine: &mut E, queue: &QueueDefinition) -> Result<()> {
    let mut columns = changeable::<E>(queue)?;
    let id = columns.values.bind::<E>(queue.id.0);
    let sql = format!("UPDATE queue SET {} WHERE id = {id}", columns.assignments());
    engine.execute(&sql, &columns.values)?;
    write_folders(engine, queue.id, &queue.name, &queue.folders)
}

/// The columns that an update changes.
fn changeable<D: Dialect>(queue: &QueueDefinition) -> Result<Columns<D>> {
    let QueueDefinition { policy, schemas, .. } = queue;
    let integer = |number: u32| i64::from(number).min(i64::from(i32::MAX));
    let columns = Columns::new()
        .text("name", &queue.name)
        .text("folded_name", &folded(&queue.name))
        .text_or_null("description", queue.description.as_deref())
        .set("accept_automatically_retry", policy.accept_automatically_retry)
        .set("max_number_of_retries", integer(policy.max_number_of_retries))
        .set("retry_abandoned_items", policy.retry_abandoned_items)
        .set("abandon_after", micros_of(policy.abandon_after))
        .set("retention_days", integer(policy.retention_days))
        .set("stale_retention_days", integer(policy.stale_retention_days))
        .text_or_null("specific_data_schema", schemas.specific_data.as_deref())
        .text_or_null("output_data_schema", schemas.output_data.as_deref())
        .text_or_null("analytics_data_schema", schemas.analytics_data.as_deref())
        .text_or_null("notes", unless_default(&queue.notes)?.as_deref())
        .text_or_null("limits", unless_default(&queue.limits)?.as_deref())
        .text_or_null("retry_delay", unless_default(&policy.retry_delay)?.as_deref());
    Ok(columns)
}

pub(crate) fn write_folders<E: Engine>(
    engine: &mut E,
    queue: QueueId,
    name: &str,
    folders: &[FolderId],
) -> Result<()> {
    leave_folders(engine, queue)?;
    for folder in folders {
        let columns = Columns::<E>::new()
            .set("folder_id", folder.0)
            .text("folded_name", &folded(name))
            .set("queue_id", queue.0);
        engine.execute(&format!("INSERT INTO queue_folder {}", columns.insertion()), &columns.values)?;
    }
    Ok(())
}

fn leave_folders<E: Engine>(engine: &mut E, queue: QueueId) -> Result<()> {
    let mut values = Values::default();
    let sql = format!("DELETE FROM queue_folder WHERE queue_id = {}", values.bind::<E>(queue.0));
    engine.execute(&sql, &values)
}

/// Hides a queue, whose name is free then.
pub(crate) fn delete<E: Engine>(engine: &mut E, queue: QueueId) -> Result<()> {
    let mut values = Values::default();
    let sql = format!("UPDATE queue SET deleted = true WHERE id = {}", values.bind::<E>(queue.0));
    engine.execute(&sql, &values)?;
    leave_folders(engine, queue)
}
