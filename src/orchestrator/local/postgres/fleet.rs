//! The statements of the fleet: jobs, and what of a queue was started lately.

use std::sync::LazyLock;

use tokio_postgres::Row;

use super::super::super::Result;
use super::columns::{bytes, get, numbered, text, unreadable, uuid};
use super::counters;
use super::people::{as_json, duration, json, micros_of, small};
use super::session::{Question, Session};
use crate::model::job::{Job, JobState, NewJob};
use crate::model::key::{FolderId, JobKey, QueueId};
use crate::model::limits::Starts;
use crate::model::statistics::QueueStatistics;

const JOB: &str = "SELECT key, queue, machine, process_id, version, robots, lease, state, start_time, held_until, \
                   end_time, info, folder_id, figures FROM job";

pub(super) fn read_job(row: &Row) -> Result<Job> {
    Ok(Job {
        key: JobKey::from_bytes(bytes(get(row, 0)?)),
        about: NewJob {
            queue: get(row, 1)?,
            machine: get(row, 2)?,
            process_id: small(get(row, 3)?),
            version: get(row, 4)?,
            robots: small(get(row, 5)?),
            lease: duration(row, 6)?,
        },
        state: numbered!(row, 7, JobState)?,
        start_time: get(row, 8)?,
        held_until: get(row, 9)?,
        end_time: get(row, 10)?,
        info: get(row, 11)?,
        folder: FolderId(get(row, 12)?),
        figures: get::<Option<&str>>(row, 13)?.map(serde_json::from_str).transpose().map_err(unreadable)?,
    })
}

pub(super) fn insert_job(session: &mut Session, job: &Job) -> Result<()> {
    const SQL: &str = "INSERT INTO job (number, key, queue, machine, process_id, version, robots, lease, state, \
                       start_time, held_until, folder_id) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
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
    session.later(SQL, &[&number, &state, &job.held_until, &job.end_time, &info, &figures])
}

/// What the lock of a job is called. Who takes items for it shares the lock, who ends it has it alone.
pub(super) fn lock_of(key: JobKey) -> String {
    format!("job/{}", key.number().0)
}

/// The question for a job, by number and by key: the number is only a part of the key.
pub(super) fn ask_job(key: JobKey) -> Question {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("{JOB} WHERE number = $1 AND key = $2"));
    Question {
        sql: SQL.as_str().into(),
        values: vec![Box::new(key.number().0), Box::new(uuid(key.to_bytes()))],
    }
}

/// A job; `lock`: nobody else changes it until the transaction ends.
pub(super) fn job(session: &mut Session, key: JobKey, lock: bool) -> Result<Option<Job>> {
    let Question { sql, values } = ask_job(key);
    let question = Question { sql: if lock { format!("{sql} FOR UPDATE").into() } else { sql }, values };
    let row = session.query_opt(&question.sql, &question.bound())?;
    row.as_ref().map(read_job).transpose()
}

/// In an order that is the same for everybody.
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

// Limits

/// Nobody else has them until the transaction ends: they are read when the lock `name` is held. With them the counters of the
/// queue, which are asked for next.
pub(super) fn starts(session: &mut Session, queue: QueueId, name: &str) -> Result<(Starts, QueueStatistics)> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    const SQL: &str = "SELECT starts FROM queue_starts WHERE queue_id = $1 ORDER BY number DESC LIMIT 1";
    let answers = session.together(&[(LOCK, &[&name]), (SQL, &[&queue.0]), (counters::SUM, &[&queue.0])])?;
    let first = |at: usize| answers.get(at).and_then(|rows| rows.first());
    let starts = first(1).map_or_else(|| Ok(Starts::default()), |row| json(row, 0))?;
    Ok((starts, counters::read(first(2))?))
}

pub(super) fn write_starts(session: &mut Session, queue: QueueId, starts: &Starts) -> Result<()> {
    const SQL: &str = "WITH last AS MATERIALIZED (SELECT number FROM queue_starts WHERE queue_id = $1 \
         ORDER BY number DESC LIMIT 1), gone AS (DELETE FROM queue_starts WHERE queue_id = $1 \
         AND number = (SELECT number FROM last)) \
         INSERT INTO queue_starts (queue_id, number, starts) \
         SELECT $1, coalesce((SELECT number FROM last), 0) + 1, $2";
    session.later(SQL, &[&queue.0, &as_json(starts)?])
}
