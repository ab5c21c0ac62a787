//! Statements on jobs, what they hold, the recent starts of queues with limits, and the kept time.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::super::jobs::JobFilter;
use super::super::sql::{self, dialect::Values};
use super::columns::{self, micros, numbered, time, time_or_none};
use super::queues::{as_json, duration, json, micros_of};
use super::{Sqlite, prepared};
use performer_core::model::job::{Job, JobFigures, JobOwner, JobState, NewJob};
use performer_core::model::key::{FolderId, ItemId, JobId, JobKey, JobNumber, QueueId};
use performer_core::model::limits::Starts;
use performer_core::model::robot::Held;

type SqlResult<T> = rusqlite::Result<T>;

const JOB: &str = "SELECT key, queue, machine, process_id, version, robots, lease, state, start_time, held_until, \
                   end_time, info, folder_id, figures, owner, id FROM job";

fn read_job(row: &SqlRow<'_>) -> SqlResult<Job> {
    let mut job = Job::new(
        JobKey::from_bytes(row.get(0)?),
        NewJob::new(row.get::<_, String>(1)?)
            .machine(row.get::<_, String>(2)?)
            .process_id(row.get(3)?)
            .version(row.get::<_, String>(4)?)
            .robots(row.get(5)?)
            .lease(duration(row, 6)?),
        time(row, 8)?,
    );
    job.state = numbered!(row, 7, JobState)?;
    job.held_until = time(row, 9)?;
    job.end_time = time_or_none(row, 10)?;
    job.info = row.get(11)?;
    job.folder = FolderId(row.get(12)?);
    job.owner = JobOwner::read(row.get(14)?);
    job.id = JobId(row.get(15)?);
    job.figures = figures(row)?;
    Ok(job)
}

fn figures(row: &SqlRow<'_>) -> SqlResult<Option<JobFigures>> {
    let text: Option<String> = row.get(13)?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|error| columns::unreadable(13, Type::Text, error))
    };
    text.map(read).transpose()
}

pub(super) fn insert_job(connection: &Connection, job: &Job) -> SqlResult<()> {
    const SQL: &str = "INSERT INTO job (number, key, queue, machine, process_id, version, robots, lease, state, \
                       start_time, held_until, folder_id, owner, id) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    const NEXT_ID: &str = "UPDATE last_job SET id = id + 1 RETURNING id";
    let id: i64 = prepared(connection, NEXT_ID)?.query_row([], |row| row.get(0))?;
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
            job.folder.0,
            job.owner.stored(),
            id,
        ])
        .map(drop)
}

pub(super) fn write_job(connection: &Connection, job: &Job) -> SqlResult<()> {
    const SQL: &str = "UPDATE job SET state = ?2, held_until = ?3, end_time = ?4, info = ?5, figures = ?6 \
                       WHERE number = ?1";
    let number = job.key.number().0;
    let (held_until, end_time) = (micros(job.held_until), job.end_time.map(micros));
    let figures = job.figures.as_ref().map(as_json).transpose()?;
    prepared(connection, SQL)?
        .execute(params![number, job.state.number(), held_until, end_time, job.info, figures])
        .map(drop)
}

pub(super) fn job(connection: &Connection, key: JobKey) -> SqlResult<Option<Job>> {
    // By number and key: the number is only a part of the key.
    let sql = format!("{JOB} WHERE number = ?1 AND key = ?2");
    let values = params![key.number().0, key.to_bytes()];
    prepared(connection, &sql)?.query_row(values, read_job).optional()
}

pub(super) fn live_jobs(connection: &Connection) -> SqlResult<Vec<Job>> {
    prepared(connection, &format!("{JOB} WHERE end_time IS NULL"))?.query_map([], read_job)?.collect()
}

pub(super) fn jobs(connection: &Connection, folder: Option<FolderId>, limit: i64) -> SqlResult<Vec<Job>> {
    let sql = format!("{JOB} WHERE ?2 IS NULL OR folder_id = ?2 ORDER BY start_time DESC, key DESC LIMIT ?1");
    let values = params![limit, folder.map(|folder| folder.0)];
    prepared(connection, &sql)?.query_map(values, read_job)?.collect()
}

pub(super) fn listed_jobs(connection: &Connection, filter: &JobFilter) -> SqlResult<Vec<Job>> {
    let mut values = Values::default();
    let which = sql::jobs::which::<Sqlite>(filter, &mut values);
    let mut statement = connection.prepare(&format!("{JOB} {which}"))?;
    statement.query_map(params_from_iter(values.all()), read_job)?.collect()
}

/// The items that a job holds, the oldest first.
pub(super) fn held_items(connection: &Connection, job: JobNumber) -> SqlResult<Vec<Held>> {
    const SQL: &str = "SELECT item.id, item.reference, item_state.robot, item_state.start_processing FROM item_state \
                       JOIN item ON item.id = item_state.item_id \
                       JOIN queue ON queue.id = item.queue_id AND queue.deleted = 0 \
                       WHERE item_state.holder = ?1 AND item_state.status = 1 ORDER BY item.id";
    let read = |row: &SqlRow<'_>| {
        Ok(Held {
            item: ItemId(row.get(0)?),
            reference: row.get(1)?,
            robot: row.get(2)?,
            since: time_or_none(row, 3)?,
        })
    };
    prepared(connection, SQL)?.query_map([job.0], read)?.collect()
}

// Limits

pub(super) fn starts(connection: &Connection, queue: QueueId) -> SqlResult<Starts> {
    const SQL: &str = "SELECT starts FROM queue_starts WHERE queue_id = ?1";
    let starts = prepared(connection, SQL)?.query_row([queue.0], |row| json(row, 0)).optional()?;
    Ok(starts.unwrap_or_default())
}

pub(super) fn write_starts(connection: &Connection, queue: QueueId, starts: &Starts) -> SqlResult<()> {
    const SQL: &str = "INSERT INTO queue_starts (queue_id, starts) VALUES (?1, ?2) \
                       ON CONFLICT (queue_id) DO UPDATE SET starts = excluded.starts";
    prepared(connection, SQL)?.execute(params![queue.0, as_json(starts)?]).map(drop)
}

// Time

pub(super) fn kept_time(connection: &Connection) -> SqlResult<Option<Timestamp>> {
    prepared(connection, "SELECT at FROM kept_time")?.query_row([], |row| time(row, 0)).optional()
}

pub(super) fn keep_time(connection: &Connection, believed: Timestamp) -> SqlResult<()> {
    const SQL: &str =
        "INSERT INTO kept_time (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    prepared(connection, SQL)?.execute([micros(believed)]).map(drop)
}
