//! The statements of the quiet path: queues, jobs, comments and lists.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::columns::{micros, numbered, time, time_or_none};
use super::{prepared, query};
use crate::model::item::{ItemFilter, Page, ReferenceFilter};
use crate::model::job::{Job, JobState, NewJob};
use crate::model::key::{ItemId, ItemKey, JobKey, QueueId, QueueKey};
use crate::model::queue::{QueueDefinition, QueuePolicy, folded};
use crate::model::review::{Comment, Person};
use crate::model::statistics::QueueStatistics;
use crate::model::status::Status;

type Sql<T> = rusqlite::Result<T>;

// Queues

const QUEUE: &str = "SELECT id, key, name, description, accept_automatically_retry, max_number_of_retries, \
     retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, stale_retention_days, \
     creation_time FROM queue WHERE deleted = 0";

fn read_queue(row: &SqlRow<'_>) -> Sql<QueueDefinition> {
    Ok(QueueDefinition {
        id: QueueId(row.get(0)?),
        key: QueueKey::from_bytes(row.get(1)?),
        name: row.get(2)?,
        description: row.get(3)?,
        policy: QueuePolicy {
            accept_automatically_retry: row.get(4)?,
            max_number_of_retries: row.get(5)?,
            retry_abandoned_items: row.get(6)?,
            enforce_unique_reference: row.get(7)?,
            abandon_after: duration(row, 8)?,
            retention_days: row.get(9)?,
            stale_retention_days: row.get(10)?,
        },
        creation_time: time(row, 11)?,
    })
}

fn duration(row: &SqlRow<'_>, at: usize) -> Sql<Duration> {
    let micros: i64 = row.get(at)?;
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn queue_named(connection: &Connection, name: &str) -> Sql<Option<Arc<QueueDefinition>>> {
    let sql = format!("{QUEUE} AND folded_name = ?1");
    prepared(connection, &sql)?.query_row([folded(name)], |row| read_queue(row).map(Arc::new)).optional()
}

pub(super) fn queue(connection: &Connection, id: QueueId) -> Sql<Option<Arc<QueueDefinition>>> {
    let sql = format!("{QUEUE} AND id = ?1");
    prepared(connection, &sql)?.query_row([id.0], |row| read_queue(row).map(Arc::new)).optional()
}

pub(super) fn queues(connection: &Connection) -> Sql<Vec<QueueDefinition>> {
    let sql = format!("{QUEUE} ORDER BY folded_name");
    prepared(connection, &sql)?.query_map([], read_queue)?.collect()
}

pub(super) fn insert_queue(connection: &Connection, queue: &QueueDefinition) -> Sql<QueueId> {
    const SQL: &str = "INSERT INTO queue (name, folded_name, description, accept_automatically_retry, \
         max_number_of_retries, retry_abandoned_items, enforce_unique_reference, abandon_after, retention_days, \
         stale_retention_days, key, creation_time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
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
    ])?;
    let id = connection.last_insert_rowid();
    prepared(connection, "INSERT INTO queue_statistics (queue_id) VALUES (?1)")?.execute([id])?;
    Ok(QueueId(id))
}

pub(super) fn update_queue(connection: &Connection, queue: &QueueDefinition) -> Sql<()> {
    const SQL: &str = "UPDATE queue SET name = ?2, folded_name = ?3, description = ?4, \
         accept_automatically_retry = ?5, max_number_of_retries = ?6, retry_abandoned_items = ?7, abandon_after = ?8, \
         retention_days = ?9, stale_retention_days = ?10 WHERE id = ?1";
    let policy = &queue.policy;
    prepared(connection, SQL)?
        .execute(params![
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
        ])
        .map(drop)
}

pub(super) fn statistics(connection: &Connection, queue: QueueId) -> Sql<QueueStatistics> {
    const SQL: &str = "SELECT new, in_progress, successful, business_exceptions, application_exceptions, retried, \
                       abandoned, deleted FROM queue_statistics WHERE queue_id = ?1";
    prepared(connection, SQL)?.query_row([queue.0], |row| {
        Ok(QueueStatistics {
            new: row.get(0)?,
            in_progress: row.get(1)?,
            successful: row.get(2)?,
            business_exceptions: row.get(3)?,
            application_exceptions: row.get(4)?,
            retried: row.get(5)?,
            abandoned: row.get(6)?,
            deleted: row.get(7)?,
        })
    })
}

pub(super) fn add_statistics(connection: &Connection, queue: QueueId, delta: &QueueStatistics) -> Sql<()> {
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

// Lists

/// The ids of a page, and how many items pass the filter in all. Values are bound, never written into the
/// statement.
pub(super) fn list(
    connection: &Connection,
    queue: Option<QueueId>,
    filter: &ItemFilter,
    page: Page,
) -> Sql<(Vec<ItemId>, u64)> {
    let mut conditions = vec!["item.queue_id IN (SELECT id FROM queue WHERE deleted = 0)".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &str, value: Value| {
        values.push(value);
        conditions.push(text.replace('?', &format!("?{}", values.len())));
    };
    if let Some(queue) = queue {
        condition("item.queue_id = ?", queue.0.into());
    }
    if let Some(priority) = filter.priority {
        condition("item.priority = ?", i64::from(priority.number()).into());
    }
    if let Some(exception_type) = filter.exception_type {
        let text = "item.id IN (SELECT item_id FROM item_exception WHERE exception_type = ?)";
        condition(text, i64::from(exception_type.number()).into());
    }
    if let Some(key) = filter.key {
        // The key of a chain is the unique key of its first attempt.
        let first = with_key(connection, key)?.map_or(0, |id| id.0);
        condition("(item.id = ? AND item.root_id IS NULL OR item.root_id = ?)", first.into());
    }
    if let Some(from) = filter.created_from {
        condition("item.creation_time >= ?", micros(from).into());
    }
    if let Some(before) = filter.created_before {
        condition("item.creation_time < ?", micros(before).into());
    }
    match &filter.reference {
        Some(ReferenceFilter::Equals(text)) => condition("item.reference = ?", text.clone().into()),
        Some(ReferenceFilter::StartsWith(text)) => {
            condition("substr(item.reference, 1, length(?)) = ?", text.clone().into());
        }
        None => {}
    }
    let attention =
        !filter.status.is_empty() && filter.status.iter().all(|status| ATTENTION.contains(status));
    if let Some(condition) = &filter.condition {
        conditions.push(query::condition(condition, &mut values));
    }
    let copies = if filter.condition.is_some() || !filter.order.is_empty() { query::COPIES } else { "" };
    let from = if attention {
        // Said in the words of the index, or SQLite does not see that it has them.
        conditions.push("(item_state.status = 2 OR item_state.status > 3)".to_owned());
        if let Some(queue) = queue {
            conditions.push(format!("item_state.queue_id = {}", queue.0));
        }
        "item_state CROSS JOIN item ON item.id = item_state.item_id"
    } else {
        "item LEFT JOIN item_state ON item_state.item_id = item.id"
    };
    one_of(
        "coalesce(item_state.status, 0)",
        filter.status.iter().map(|status| status.number()),
        &mut conditions,
    );
    let review_status = filter.review_status.iter().map(|status| status.number());
    one_of("coalesce(item_state.review_status, 0)", review_status, &mut conditions);
    let matching = conditions.join(" AND ");
    let count = format!("SELECT count(*) FROM {from}{copies} WHERE {matching}");
    let count: i64 = prepared(connection, &count)?.query_row(params_from_iter(&values), |row| row.get(0))?;
    let order = query::order(&filter.order, page.descending);
    let (top, skip) = (page.top, page.skip.min(i64::MAX.unsigned_abs() as usize));
    let ids = format!(
        "SELECT item.id FROM {from}{copies} WHERE {matching} ORDER BY {order} LIMIT {top} OFFSET {skip}"
    );
    let ids = connection
        .prepare(&ids)?
        .query_map(params_from_iter(&values), |row| row.get(0).map(ItemId))?
        .collect();
    Ok((Sql::<Vec<ItemId>>::from(ids)?, count.unsigned_abs()))
}

/// The states of items that people look for: those of the index `item_attention`.
const ATTENTION: [Status; 4] = [Status::Failed, Status::Abandoned, Status::Retried, Status::Deleted];

/// A condition on an enumeration; its numbers are ours, not the caller's.
fn one_of(column: &str, numbers: impl Iterator<Item = u8>, conditions: &mut Vec<String>) {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    if !numbers.is_empty() {
        conditions.push(format!("{column} IN ({})", numbers.join(", ")));
    }
}

/// The item with a unique key. Keys rise with ids: no index is kept for them.
fn with_key(connection: &Connection, key: ItemKey) -> Sql<Option<ItemId>> {
    let id = first_id(connection, "unique_key", 0, |row| {
        row.get(1).map(|bytes| ItemKey::from_bytes(bytes) >= key)
    })?;
    // The first one from there on: the one with this very id may have been removed.
    let sql = "SELECT id, unique_key FROM item WHERE id >= ?1 ORDER BY id LIMIT 1";
    let read = |row: &SqlRow<'_>| Ok((ItemId(row.get(0)?), ItemKey::from_bytes(row.get(1)?)));
    let found = prepared(connection, sql)?.query_row([id], read).optional()?;
    Ok(found.filter(|(_, found)| *found == key).map(|(id, _)| id))
}

/// Where retention looks: first attempts, by id, that were created before a time.
///
/// Ids and creation times rise together. So the walk ends at the first id that is too young, however many items
/// came later.
pub(super) fn roots_created_before(
    connection: &Connection,
    queue: QueueId,
    before: Timestamp,
    after: ItemId,
    limit: i64,
) -> Sql<Vec<ItemId>> {
    const ROOTS: &str = "SELECT id FROM item WHERE id > ?1 AND id < ?2 AND queue_id = ?3 AND root_id IS NULL \
                         AND creation_time < ?4 ORDER BY id LIMIT ?5";
    let is_young = |row: &SqlRow<'_>| row.get(1).map(|created: i64| created >= micros(before));
    let young = first_id(connection, "creation_time", after.0, is_young)?;
    let values = params![after.0, young, queue.0, micros(before), limit];
    prepared(connection, ROOTS)?.query_map(values, |row| row.get(0).map(ItemId))?.collect()
}

/// The first id after `after` whose row is late enough in a column that rises with the id, found by halving. One more
/// than the last id, when there is none.
fn first_id(
    connection: &Connection,
    column: &'static str,
    after: i64,
    is_late: impl Fn(&SqlRow<'_>) -> Sql<bool>,
) -> Sql<i64> {
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

pub(super) fn remove_item(connection: &Connection, id: ItemId) -> Sql<()> {
    for sql in [
        "DELETE FROM item_state WHERE item_id = ?1",
        "DELETE FROM item_copy WHERE item_id = ?1",
        "DELETE FROM item_content WHERE item_id = ?1",
        "DELETE FROM item_exception WHERE item_id = ?1",
        "DELETE FROM item_event WHERE item_id = ?1",
        "DELETE FROM item_comment WHERE item_id = ?1",
        "DELETE FROM item WHERE id = ?1",
    ] {
        prepared(connection, sql)?.execute([id.0])?;
    }
    Ok(())
}

// Comments

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &SqlRow<'_>) -> Sql<Comment> {
    Ok(Comment {
        id: row.get(0)?,
        item_id: ItemId(row.get(1)?),
        text: row.get(2)?,
        author: Person { user_id: row.get(3)?, user_name: row.get(4)? },
        creation_time: time(row, 5)?,
    })
}

pub(super) fn insert_comment(
    connection: &Connection,
    item_id: ItemId,
    author: &Person,
    text: &str,
    now: Timestamp,
) -> Sql<Comment> {
    const SQL: &str = "INSERT INTO item_comment (item_id, text, user_id, user_name, creation_time) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
    prepared(connection, SQL)?.execute(params![
        item_id.0,
        text,
        author.user_id,
        author.user_name,
        micros(now)
    ])?;
    let id = connection.last_insert_rowid();
    Ok(Comment { id, item_id, text: text.to_owned(), author: author.clone(), creation_time: now })
}

pub(super) fn comment(connection: &Connection, id: i64) -> Sql<Option<Comment>> {
    prepared(connection, &format!("{COMMENT} WHERE id = ?1"))?.query_row([id], read_comment).optional()
}

pub(super) fn comments_on(connection: &Connection, id: ItemId) -> Sql<Vec<Comment>> {
    let sql = format!("{COMMENT} WHERE item_id = ?1 ORDER BY id");
    prepared(connection, &sql)?.query_map([id.0], read_comment)?.collect()
}

pub(super) fn write_comment(connection: &Connection, id: i64, text: Option<&str>) -> Sql<()> {
    match text {
        Some(text) => prepared(connection, "UPDATE item_comment SET text = ?2 WHERE id = ?1")?
            .execute(params![id, text]),
        None => prepared(connection, "DELETE FROM item_comment WHERE id = ?1")?.execute([id]),
    }
    .map(drop)
}

// Jobs

const JOB: &str = "SELECT key, queue, machine, process_id, version, robots, lease, state, start_time, held_until, \
                   end_time, info FROM job";

fn read_job(row: &SqlRow<'_>) -> Sql<Job> {
    Ok(Job {
        key: JobKey::from_bytes(row.get(0)?),
        about: NewJob {
            queue: row.get(1)?,
            machine: row.get(2)?,
            process_id: row.get(3)?,
            version: row.get(4)?,
            robots: row.get(5)?,
            lease: duration(row, 6)?,
        },
        state: numbered!(row, 7, JobState)?,
        start_time: time(row, 8)?,
        held_until: time(row, 9)?,
        end_time: time_or_none(row, 10)?,
        info: row.get(11)?,
    })
}

pub(super) fn insert_job(connection: &Connection, job: &Job) -> Sql<()> {
    const SQL: &str = "INSERT INTO job (number, key, queue, machine, process_id, version, robots, lease, state, \
                       start_time, held_until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let about = &job.about;
    prepared(connection, SQL)?
        .execute(params![
            job.key.number().0,
            job.key.to_bytes(),
            about.queue,
            about.machine,
            about.process_id,
            about.version,
            about.robots,
            micros_of(about.lease),
            job.state.number(),
            micros(job.start_time),
            micros(job.held_until),
        ])
        .map(drop)
}

pub(super) fn write_job(connection: &Connection, job: &Job) -> Sql<()> {
    const SQL: &str =
        "UPDATE job SET state = ?2, held_until = ?3, end_time = ?4, info = ?5 WHERE number = ?1";
    let number = job.key.number().0;
    let (held_until, end_time) = (micros(job.held_until), job.end_time.map(micros));
    prepared(connection, SQL)?
        .execute(params![number, job.state.number(), held_until, end_time, job.info])
        .map(drop)
}

pub(super) fn job(connection: &Connection, key: JobKey) -> Sql<Option<Job>> {
    // By number and by key: the number is only a part of the key.
    let sql = format!("{JOB} WHERE number = ?1 AND key = ?2");
    let values = params![key.number().0, key.to_bytes()];
    prepared(connection, &sql)?.query_row(values, read_job).optional()
}

pub(super) fn live_jobs(connection: &Connection) -> Sql<Vec<Job>> {
    prepared(connection, &format!("{JOB} WHERE end_time IS NULL"))?.query_map([], read_job)?.collect()
}

pub(super) fn jobs(connection: &Connection, limit: i64) -> Sql<Vec<Job>> {
    let sql = format!("{JOB} ORDER BY start_time DESC, key DESC LIMIT ?1");
    prepared(connection, &sql)?.query_map([limit], read_job)?.collect()
}
