//! The statements on figures that are the same in both databases. Those that write them, and those that read what ended, are said
//! by each for itself: a commit a second writes them, and a page reads thousands of rows.

use super::super::figures::{MAX_FIGURES_REMOVED, add_level};
use super::dialect::{Engine, Values};
use performer_core::model::figures::{Figures, Resolution};
use performer_core::model::key::QueueId;
use performer_core::orchestrator::Result;

/// Adds the levels of a queue that begin between two minutes.
pub(crate) fn add_levels<E: Engine>(
    engine: &mut E,
    figures: &mut Figures,
    queue: QueueId,
    resolution: Resolution,
    minutes: (i64, i64),
) -> Result<()> {
    let mut values = Values::default();
    let [of, length, from, to] =
        [queue.0, resolution.minutes(), minutes.0, minutes.1].map(|number| values.bind::<E>(number));
    let sql = format!(
        "SELECT at, new, in_progress, oldest FROM level \
         WHERE queue_id = {of} AND minutes = {length} AND at >= {from} AND at < {to} ORDER BY at"
    );
    let levels = engine.read_prepared(&sql, &values, |row| {
        Ok((row.number(0)?, (row.number(1)?, row.number(2)?), row.time_or_none(3)?))
    })?;
    for (at, waiting, oldest) in levels {
        add_level(figures, queue, at, waiting, oldest);
    }
    Ok(())
}

/// Removes figures and levels of a queue from before a minute, a limited number.
pub(crate) fn remove<E: Engine>(
    engine: &mut E,
    queue: QueueId,
    resolution: Resolution,
    before: i64,
) -> Result<()> {
    for (table, key) in
        [("figure", "queue_id, minutes, at, outcome, bucket"), ("level", "queue_id, minutes, at")]
    {
        let mut values = Values::default();
        let [of, length, before] =
            [queue.0, resolution.minutes(), before].map(|number| values.bind::<E>(number));
        let condition = format!("queue_id = {of} AND minutes = {length} AND at < {before}");
        engine.execute(&E::delete_some(table, key, &condition, MAX_FIGURES_REMOVED), &values)?;
    }
    Ok(())
}
