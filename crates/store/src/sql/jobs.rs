//! Statements on jobs, and the kept time.

use jiff::Timestamp;

use super::super::jobs::JobFilter;
use super::columns::{Columns, as_json, duration, json, micros_of, small, unreadable};
use super::dialect::{Bound, Dialect, Engine, Row, Values};
use performer_core::model::job::{Job, JobOwner, JobState, NewJob};
use performer_core::model::key::{FolderId, JobId, JobKey};
use performer_core::orchestrator::Result;

pub(crate) const JOB: &str = "SELECT key, queue, machine, process_id, version, robots, lease, state, start_time, held_until, \
                              end_time, info, folder_id, figures, owner, id, run FROM job";

/// The table, and the column with the number of a job.
const LIST: (&str, usize) = ("job", 15);

pub(crate) fn read(row: &dyn Row) -> Result<Job> {
    read_from(row, 0)
}

/// A job, from the columns that begin at `first`.
pub(crate) fn read_from(row: &dyn Row, first: usize) -> Result<Job> {
    let at = |column: usize| first + column;
    let about = NewJob::new(row.text(at(1))?)
        .machine(row.text(at(2))?)
        .process_id(small(row, at(3))?)
        .version(row.text(at(4))?)
        .robots(small(row, at(5))?)
        .lease(duration(row, at(6))?);
    let mut job = Job::new(JobKey::from_bytes(row.key(at(0))?), about, row.time(at(8))?);
    job.state = JobState::from_number(row.number(at(7))?).map_err(unreadable)?;
    job.held_until = row.time(at(9))?;
    job.end_time = row.time_or_none(at(10))?;
    job.info = row.text_or_none(at(11))?;
    job.folder = FolderId(row.number(at(12))?);
    job.figures = json(row, at(13))?;
    job.owner = JobOwner::read(row.number_or_none(at(14))?);
    job.id = JobId(row.number(at(15))?);
    job.run = json(row, at(16))?;
    Ok(job)
}

/// `id`: its number, unless the database counts by itself.
pub(crate) fn insert<E: Engine>(engine: &mut E, job: &Job, id: Option<i64>) -> Result<()> {
    let about = &job.about;
    let mut columns = Columns::<E>::new()
        .set("number", job.key.number().0)
        .set("key", Bound::Key(job.key.to_bytes()))
        .text("queue", &about.queue)
        .text("machine", &about.machine)
        .set("process_id", i64::from(about.process_id))
        .text("version", &about.version)
        .set("robots", i64::from(about.robots))
        .set("lease", micros_of(about.lease))
        .set("state", i64::from(job.state.number()))
        .set("start_time", job.start_time)
        .set("held_until", job.held_until)
        .set("folder_id", job.folder.0)
        .set_or_null("owner", job.owner.stored());
    let run = job.run.as_ref().map(as_json).transpose()?;
    columns = columns.text_or_null("run", run.as_deref());
    if let Some(id) = id {
        columns = columns.set("id", id);
    }
    engine.execute(&format!("INSERT INTO job {}", columns.insertion()), &columns.values)
}

pub(crate) fn write<E: Engine>(engine: &mut E, job: &Job) -> Result<()> {
    let figures = job.figures.as_ref().map(as_json).transpose()?;
    let mut columns = Columns::<E>::new()
        .set("state", i64::from(job.state.number()))
        .set("held_until", job.held_until)
        .set_or_null("end_time", job.end_time)
        .text_or_null("info", job.info.as_deref())
        .text_or_null("figures", figures.as_deref());
    if let Some(run) = &job.run {
        // An agent has taken it.
        columns = columns
            .text("run", &as_json(run)?)
            .text("machine", &job.about.machine)
            .text("version", &job.about.version)
            .set("lease", micros_of(job.about.lease))
            .set("start_time", job.start_time)
            .set_or_null("owner", job.owner.stored());
    }
    let number = columns.values.bind::<E>(job.key.number().0);
    let sql = format!("UPDATE job SET {} WHERE number = {number}", columns.assignments());
    engine.execute(&sql, &columns.values)
}

/// By number and key: the number is only a part of the key. `lock`: behind the query.
pub(crate) fn one<E: Engine>(engine: &mut E, key: JobKey, lock: &str) -> Result<Option<Job>> {
    let mut values = Values::default();
    let number = values.bind::<E>(key.number().0);
    let key = values.bind::<E>(Bound::Key(key.to_bytes()));
    let sql = format!("{JOB} WHERE number = {number} AND key = {key}{lock}");
    Ok(engine.read_prepared(&sql, &values, read)?.pop())
}

/// In the same order for everybody, because whoever ends jobs locks them.
pub(crate) fn live<E: Engine>(engine: &mut E) -> Result<Vec<Job>> {
    // One that is Pending waits for a machine: nobody beats for it.
    let pending = JobState::Pending.number();
    let sql = format!("{JOB} WHERE end_time IS NULL AND state <> {pending} ORDER BY number");
    engine.read_list(LIST, &sql, &Values::default(), read)
}

/// The latest first.
pub(crate) fn list<E: Engine>(engine: &mut E, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
    let mut values = Values::default();
    let condition = match folder {
        Some(folder) => format!("folder_id = {}", values.bind::<E>(folder.0)),
        None => "true".to_owned(),
    };
    let sql = format!("{JOB} WHERE {condition} ORDER BY start_time DESC, key DESC LIMIT {limit}");
    engine.read_list(LIST, &sql, &values, read)
}

/// What stands behind the table. Keys are looked up by the numbers that are parts of them, so further jobs may be found.
fn which<D: Dialect>(filter: &JobFilter, values: &mut Values) -> String {
    let mut among = |column: &str, numbers: Vec<i64>| D::among(column, &values.bind::<D>(numbers));
    let mut conditions = vec![among("folder_id", filter.folders.iter().map(|folder| folder.0).collect())];
    if let Some(ids) = &filter.ids {
        conditions.push(among("id", ids.iter().map(|id| id.0).collect()));
    }
    if let Some(keys) = &filter.keys {
        conditions.push(among("number", keys.iter().map(|key| key.number().0).collect()));
    }
    conditions.push(format!("id > {}", values.bind::<D>(filter.after.0)));
    format!("WHERE {} ORDER BY id LIMIT {}", conditions.join(" AND "), filter.limit)
}

pub(crate) fn listed<E: Engine>(engine: &mut E, filter: &JobFilter) -> Result<Vec<Job>> {
    let mut values = Values::default();
    let which = which::<E>(filter, &mut values);
    engine.read_list(LIST, &format!("{JOB} {which}"), &values, read)
}

pub(crate) fn kept_time<E: Engine>(engine: &mut E) -> Result<Option<Timestamp>> {
    Ok(engine.read_prepared("SELECT at FROM kept_time", &Values::default(), |row| row.time(0))?.pop())
}

pub(crate) fn keep_time<E: Engine>(engine: &mut E, believed: Timestamp) -> Result<()> {
    let mut values = Values::default();
    let at = values.bind::<E>(believed);
    let sql = format!(
        "INSERT INTO kept_time (id, at) VALUES (1, {at}) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
    );
    engine.execute(&sql, &values)
}
