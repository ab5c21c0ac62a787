//! How many items of a queue are in which state: a sum over rows.
//!
//! Each connection has a row of its own for each queue, because a row is locked until the commit is on disk, and with
//! one row for all only one commit could happen at a time. Each commit updates its row; beside a transaction with an
//! old snapshot all versions are kept, and each update has to skip them. So a connection replaces its row from time to
//! time. A table of its own lists the rows, for the sum.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::columns::get;
use super::commit_outcome;
use super::session::Session;
use performer_core::model::key::QueueId;
use performer_core::model::statistics::QueueStatistics;
use performer_core::orchestrator::Result;

/// Rows of a queue are merged if there are more than this.
const MANY: usize = 16;

/// The sum over all rows of a queue. Each is looked up by its number: `OFFSET 0` keeps the planner from beginning with the rows.
pub(super) const SUM: &str = "SELECT coalesce(sum(new), 0)::bigint, coalesce(sum(in_progress), 0)::bigint, \
     coalesce(sum(successful), 0)::bigint, coalesce(sum(business_exceptions), 0)::bigint, \
     coalesce(sum(application_exceptions), 0)::bigint, coalesce(sum(retried), 0)::bigint, \
     coalesce(sum(abandoned), 0)::bigint, coalesce(sum(deleted), 0)::bigint \
     FROM queue_shard CROSS JOIN LATERAL (SELECT * FROM queue_statistics \
     WHERE queue_statistics.queue_id = queue_shard.queue_id AND queue_statistics.number = queue_shard.number OFFSET 0) AS row \
     WHERE queue_shard.queue_id = $1";

pub(super) fn statistics(session: &mut Session, queue: QueueId) -> Result<QueueStatistics> {
    read(session.query_opt(SUM, &[&queue.0])?.as_ref())
}

pub(super) fn read(row: Option<&Row>) -> Result<QueueStatistics> {
    let Some(row) = row else { return Ok(QueueStatistics::default()) };
    let mut statistics = QueueStatistics::default();
    statistics.new = get(row, 0)?;
    statistics.in_progress = get(row, 1)?;
    statistics.successful = get(row, 2)?;
    statistics.business_exceptions = get(row, 3)?;
    statistics.application_exceptions = get(row, 4)?;
    statistics.retried = get(row, 5)?;
    statistics.abandoned = get(row, 6)?;
    statistics.deleted = get(row, 7)?;
    Ok(statistics)
}

/// Adds to a row, or inserts it; after the statement `$with`.
macro_rules! add {
    ($with:expr) => {
        concat!(
            $with,
            " changed AS (UPDATE queue_statistics SET new = new + $3, in_progress = in_progress + $4, \
             successful = successful + $5, business_exceptions = business_exceptions + $6, \
             application_exceptions = application_exceptions + $7, retried = retried + $8, abandoned = abandoned + $9, \
             deleted = deleted + $10 WHERE queue_id = $1 AND number = $2 RETURNING 1), \
             made AS (INSERT INTO queue_statistics (queue_id, number, new, in_progress, successful, business_exceptions, \
             application_exceptions, retried, abandoned, deleted) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 \
             WHERE NOT EXISTS (SELECT 1 FROM changed) RETURNING queue_id, number) \
             INSERT INTO queue_shard (queue_id, number) SELECT queue_id, number FROM made"
        )
    };
}

/// Adds to the counters of a queue. The same statement counts the commit if nothing has done so, to save a statement.
pub(super) fn add_statistics(session: &mut Session, queue: QueueId, delta: &QueueStatistics) -> Result<()> {
    const ADD: &str = add!("WITH");
    const ADD_AND_COUNT: &str = add!(concat!(
        "WITH counted AS (",
        commit_outcome::count!("VALUES ($11::uuid, $12::bigint, clock_timestamp())"),
        "),"
    ));
    const MOVE: &str = "WITH moved AS (UPDATE queue_statistics SET number = $3 WHERE queue_id = $1 AND number = $2 \
         RETURNING queue_id, number), gone AS (DELETE FROM queue_shard WHERE queue_id = $1 AND number = $2) \
         INSERT INTO queue_shard (queue_id, number) SELECT queue_id, number FROM moved";
    // In the caller's transaction, which may stay open for a while, a row of its own.
    let shard = if session.is_callers() {
        shard_apart(session, queue)?
    } else {
        let (before, shard) = session.shard(queue.0);
        if let Some(before) = before {
            session.enqueue(MOVE, &[&queue.0, &before, &shard])?;
        }
        shard
    };
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![
        &queue.0,
        &shard,
        &delta.new,
        &delta.in_progress,
        &delta.successful,
        &delta.business_exceptions,
        &delta.application_exceptions,
        &delta.retried,
        &delta.abandoned,
        &delta.deleted,
    ];
    let Some((key, number)) = session.uncounted_commit() else {
        return session.enqueue(ADD, &values);
    };
    values.extend([&key as &(dyn ToSql + Sync), &number]);
    session.enqueue(ADD_AND_COUNT, &values)
}

/// A row that nobody else has locked, or a new one. There are as many as were ever in use at once.
fn shard_apart(session: &mut Session, queue: QueueId) -> Result<i64> {
    const FREE: &str = "SELECT number FROM queue_statistics WHERE queue_id = $1 AND number < 0 ORDER BY number LIMIT 1 \
                        FOR UPDATE SKIP LOCKED";
    let free = session.query_opt(FREE, &[&queue.0])?;
    free.map_or_else(|| Ok(fastrand::i64(..0)), |row| get(&row, 0))
}

/// Merges the rows of connections that have probably ended: those that nobody has locked, if there are many. A
/// connection whose row was merged inserts a new one.
pub(super) fn add_up(session: &mut Session) -> Result<()> {
    let schema = session.address().quoted_schema();
    let (rows, shards) = (format!("{schema}.queue_statistics"), format!("{schema}.queue_shard"));
    let shard = fastrand::i64(0..);
    session.batch(&format!(
        "WITH gone AS (DELETE FROM {rows} WHERE (queue_id, number) IN (SELECT queue_id, number FROM {rows} WHERE number >= 0 \
         AND queue_id IN (SELECT queue_id FROM {rows} GROUP BY queue_id HAVING count(*) > {MANY}) FOR UPDATE SKIP LOCKED) \
         RETURNING *), unlisted AS (DELETE FROM {shards} USING gone \
         WHERE {shards}.queue_id = gone.queue_id AND {shards}.number = gone.number), \
         sum AS (INSERT INTO {rows} (queue_id, number, new, in_progress, successful, business_exceptions, \
         application_exceptions, retried, abandoned, deleted) \
         SELECT queue_id, {shard}, sum(new), sum(in_progress), sum(successful), sum(business_exceptions), \
         sum(application_exceptions), sum(retried), sum(abandoned), sum(deleted) FROM gone GROUP BY queue_id \
         RETURNING queue_id, number) INSERT INTO {shards} (queue_id, number) SELECT queue_id, number FROM sum"
    ))
}
