//! Statements on jobs, and the kept time.

use std::sync::LazyLock;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::jobs::JobFilter;
use super::super::sql::{self, dialect::Values};
use super::Postgres;
use super::columns::{bytes, get, numbered, text, unreadable, uuid};
use super::dialect::parameter;
use super::queues::{self, as_json, duration, micros_of, small};
use super::session::{BoundQuery, Session};
use performer_core::model::job::{Job, JobOwner, JobState, NewJob};
use performer_core::model::key::{FolderId, JobId, JobKey};
use performer_core::orchestrator::Result;

const JOB: &str = "SELECT key, queue, machine, process_id, version, robots, lease, state, start_time, held_until, \
                   end_time, info, folder_id, figures, owner, id FROM job";

pub(super) fn read_job(row: &Row) -> Result<Job> {
    read_job_at(row, 0)
}

/// A job, from the columns that begin at `first`.
fn read_job_at(row: &Row, first: usize) -> Result<Job> {
    let at = |column: usize| first + column;
    let mut job = Job::new(
        JobKey::from_bytes(bytes(get(row, at(0))?)),
        NewJob::new(get::<String>(row, at(1))?)
            .machine(get::<String>(row, at(2))?)
            .process_id(small(get(row, at(3))?))
            .version(get::<String>(row, at(4))?)
            .robots(small(get(row, at(5))?))
            .lease(duration(row, at(6))?),
        get(row, at(8))?,
    );
    job.state = numbered!(row, at(7), JobState)?;
    job.held_until = get(row, at(9))?;
    job.end_time = get(row, at(10))?;
    job.info = get(row, at(11))?;
    job.folder = FolderId(get(row, at(12))?);
    job.owner = JobOwner::read(get(row, at(14))?);
    job.id = JobId(get(row, at(15))?);
    job.figures =
        get::<Option<&str>>(row, at(13))?.map(serde_json::from_str).transpose().map_err(unreadable)?;
    Ok(job)
}

pub(super) fn insert_job(session: &mut Session, job: &Job) -> Result<()> {
    const SQL: &str = "INSERT INTO job (number, key, queue, machine, process_id, version, robots, lease, state, \
                       start_time, held_until, folder_id, owner) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let about = &job.about;
    session
        .execute(
            SQL,
            &[
                &job.key.number().0,
                &uuid(job.key.to_bytes()),
                &text(&about.queue),
                &text(&about.machine),
                &i64::from(about.process_id),
                &text(&about.version),
                &i64::from(about.robots),
                &micros_of(about.lease),
                &i16::from(job.state.number()),
                &job.start_time,
                &job.held_until,
                &job.folder.0,
                &job.owner.stored(),
            ],
        )
        .map(drop)
}

pub(super) fn write_job(session: &mut Session, job: &Job) -> Result<()> {
    const SQL: &str = "UPDATE job SET state = $2, held_until = $3, end_time = $4, info = $5, figures = $6 \
                       WHERE number = $1";
    let (number, state) = (job.key.number().0, i16::from(job.state.number()));
    let info = job.info.as_deref().map(text);
    let figures = job.figures.as_ref().map(as_json).transpose()?;
    session.enqueue(SQL, &[&number, &state, &job.held_until, &job.end_time, &info, &figures])
}

/// The name of a job's lock. Claims for the job share it; whoever ends the job owns it.
pub(super) fn lock_of(key: JobKey) -> String {
    format!("job/{}", key.number().0)
}

/// The query for a job, by number and key: the number is only a part of the key.
pub(super) fn job_query(key: JobKey) -> BoundQuery {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("{JOB} WHERE number = $1 AND key = $2"));
    BoundQuery {
        sql: SQL.as_str().into(),
        values: vec![Box::new(key.number().0), Box::new(uuid(key.to_bytes()))],
    }
}

/// The query for a queue and a job at once, to save a statement. Without the queue no row is returned; without the job
/// its columns are null.
pub(super) fn queue_and_job_query(folder: FolderId, name: &str, key: JobKey) -> BoundQuery {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let queue = &*queues::QUEUE_NAMED;
        format!(
            "SELECT * FROM ({queue}) AS queue LEFT JOIN ({JOB} WHERE number = $3 AND key = $4) AS job ON true"
        )
    });
    let mut values = queues::queue_named_query(folder, name).values;
    values.extend(job_query(key).values);
    BoundQuery { sql: SQL.as_str().into(), values }
}

/// The job in the answer to [`queue_and_job_query`].
pub(super) fn job_behind_queue(row: &Row) -> Result<Option<Job>> {
    let is_there = get::<Option<Uuid>>(row, queues::QUEUE_COLUMNS)?.is_some();
    is_there.then(|| read_job_at(row, queues::QUEUE_COLUMNS)).transpose()
}

/// A job. `lock`: nobody else changes it until the transaction ends.
pub(super) fn job(session: &mut Session, key: JobKey, lock: bool) -> Result<Option<Job>> {
    let BoundQuery { sql, values } = job_query(key);
    let query = BoundQuery { sql: if lock { format!("{sql} FOR UPDATE").into() } else { sql }, values };
    let row = session.query_opt(&query.sql, &query.bound())?;
    row.as_ref().map(read_job).transpose()
}

/// In the same order for everybody.
pub(super) fn live_jobs(session: &mut Session) -> Result<Vec<Job>> {
    let sql = format!("{JOB} WHERE end_time IS NULL ORDER BY number");
    session.query(&sql, &[])?.iter().map(read_job).collect()
}

pub(super) fn jobs(session: &mut Session, folder: Option<FolderId>, limit: i64) -> Result<Vec<Job>> {
    let sql = format!(
        "{JOB} WHERE $2::bigint IS NULL OR folder_id = $2 ORDER BY start_time DESC, key DESC LIMIT $1"
    );
    session.query(&sql, &[&limit, &folder.map(|folder| folder.0)])?.iter().map(read_job).collect()
}

pub(super) fn listed_jobs(session: &mut Session, filter: &JobFilter) -> Result<Vec<Job>> {
    let mut values = Values::default();
    let which = sql::jobs::which::<Postgres>(filter, &mut values);
    let values: Vec<_> = values.all().iter().map(parameter).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
    session.query_once(&format!("{JOB} {which}"), &values)?.iter().map(read_job).collect()
}

// Time

pub(super) fn kept_time(session: &mut Session) -> Result<Option<Timestamp>> {
    session.query_opt("SELECT at FROM kept_time", &[])?.map(|row| get(&row, 0)).transpose()
}

pub(super) fn keep_time(session: &mut Session, believed: Timestamp) -> Result<()> {
    const SQL: &str =
        "INSERT INTO kept_time (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    session.execute(SQL, &[&believed]).map(drop)
}
