//! The statements on robot logs that nobody waits for. Each database adds lines in its own way.

use jiff::Timestamp;

use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Dialect, Engine, Values, one_of};
use performer_core::model::key::{FolderId, ItemId};
use performer_core::model::log::{LogFilter, LogLevel, LogRecord};
use performer_core::orchestrator::Result;

/// The conditions of a filter but for where its page begins. Jobs are found by the numbers that are parts of their keys.
fn conditions<D: Dialect>(filter: &LogFilter, values: &mut Values) -> String {
    let mut all = vec![one_of("level", filter.levels.iter().map(|level| level.number()))];
    if let Some(folders) = &filter.folders {
        let folders: Vec<i64> = folders.iter().map(|folder| folder.0).collect();
        all.push(D::among("folder_id", &values.bind::<D>(folders)));
    }
    if let Some(from) = filter.from {
        all.push(format!("time >= {}", values.bind::<D>(Bound::Time(from))));
    }
    if let Some(before) = filter.before {
        all.push(format!("time < {}", values.bind::<D>(Bound::Time(before))));
    }
    // One job as one value, so that its index is walked by time.
    match filter.jobs.as_deref() {
        None => {}
        Some([job]) => all.push(format!("job = {}", values.bind::<D>(job.number().0))),
        Some(jobs) => {
            let jobs: Vec<i64> = jobs.iter().map(|job| job.number().0).collect();
            all.push(D::among("job", &values.bind::<D>(jobs)));
        }
    }
    if let Some(item) = filter.item {
        all.push(format!("item_id = {}", values.bind::<D>(item.0)));
    }
    if let Some(process) = &filter.process {
        all.push(format!("process = {}", values.bind_text::<D>(process)));
    }
    all.join(" AND ")
}

pub(crate) fn lines<E: Engine>(engine: &mut E, filter: &LogFilter) -> Result<Vec<LogRecord>> {
    let mut values = Values::default();
    let mut conditions = conditions::<E>(filter, &mut values);
    let (direction, comparison) = if filter.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some((time, id)) = filter.after {
        let (time, id) = (values.bind::<E>(Bound::Time(time)), values.bind::<E>(id));
        conditions.push_str(&format!(" AND (time, id) {comparison} ({time}, {id})"));
    }
    let sql = format!(
        "SELECT id, time, level, folder_id, entry, item_id FROM log WHERE {conditions} \
         ORDER BY time {direction}, id {direction} LIMIT {}",
        filter.limit
    );
    engine.read_list(("log", 0), &sql, &values, |row| {
        let level = LogLevel::from_number(row.number(2)?)
            .map_err(|error| UnreadableRow::error(error, "the store"))?;
        let record =
            LogRecord::new(row.number(0)?, row.time(1)?, level, FolderId(row.number(3)?), row.text(4)?);
        Ok(record.about(row.number_or_none(5)?.map(ItemId)))
    })
}

pub(crate) fn count<E: Engine>(engine: &mut E, filter: &LogFilter) -> Result<u64> {
    let mut values = Values::default();
    let conditions = conditions::<E>(filter, &mut values);
    let count = engine.read_number(&format!("SELECT count(*) FROM log WHERE {conditions}"), &values)?;
    Ok(count.unwrap_or(0).unsigned_abs())
}

/// Numbers are consecutive but for transactions that were undone, so the last one says about how many lines there are.
pub(crate) fn remove<E: Engine>(
    engine: &mut E,
    before: Timestamp,
    max_lines: u64,
    limit: usize,
) -> Result<u64> {
    let mut values = Values::default();
    let before = values.bind::<E>(Bound::Time(before));
    let sql = format!("SELECT id FROM log WHERE time < {before} ORDER BY time LIMIT {limit}");
    let mut ids: Vec<i64> = engine.read(&sql, &values, |row| row.number(0))?;
    if ids.len() < limit {
        let mut values = Values::default();
        let most = values.bind::<E>(i64::try_from(max_lines).unwrap_or(i64::MAX));
        let sql = format!(
            "SELECT id FROM log WHERE id <= (SELECT max(id) FROM log) - {most} ORDER BY id LIMIT {}",
            limit - ids.len()
        );
        ids.extend(engine.read(&sql, &values, |row| row.number(0))?);
        ids.sort_unstable();
        ids.dedup();
    }
    let removed = ids.len() as u64;
    if removed > 0 {
        let mut values = Values::default();
        let ids = values.bind::<E>(ids);
        engine.execute(&format!("DELETE FROM log WHERE {}", E::among("id", &ids)), &values)?;
    }
    Ok(removed)
}
