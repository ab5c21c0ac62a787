//! Statements on the counters of queues.

use rusqlite::{Connection, params};

use super::prepared;
use performer_core::model::key::QueueId;
use performer_core::model::statistics::QueueStatistics;

type SqlResult<T> = rusqlite::Result<T>;

/// Each queue has one row.
pub(super) fn insert_statistics(connection: &Connection, queue: QueueId) -> SqlResult<()> {
    prepared(connection, "INSERT INTO queue_statistics (queue_id) VALUES (?1)")?.execute([queue.0]).map(drop)
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
