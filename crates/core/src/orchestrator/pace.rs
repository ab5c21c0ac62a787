//! Reads how fast the items of a queue end, and what a retry would mean for queues.

use std::time::Duration;

use jiff::Timestamp;

use super::{ErrorKind, QueueAdministration, Result};
use crate::model::deadlines::{PACE_MINUTES, Pace};
use crate::model::figures::FiguresFilter;
use crate::model::operation::QueueLoad;
use crate::model::queue::QueueDefinition;

/// How fast the items of a queue end, by `robots`. `None` if the queue is paused, or nothing has ended within [`PACE_MINUTES`].
///
/// # Errors
///
/// Those of [`QueueAdministration::queue_figures`].
pub async fn read_pace(
    queues: &(impl QueueAdministration + ?Sized),
    queue: &QueueDefinition,
    robots: u32,
    now: Timestamp,
) -> Result<Option<Pace>> {
    if queue.limits.paused {
        return Ok(None);
    }
    let minute = Duration::from_secs(60);
    let since = now.checked_sub(minute * PACE_MINUTES).unwrap_or(now);
    let until = now.checked_add(minute).unwrap_or(now);
    let figures = queues.queue_figures(FiguresFilter::new(since, until).queues([&*queue.name])).await?;
    Ok(Pace::of(&figures, queue.id, robots, now))
}

/// What copies would mean for a queue. An Orchestrator that has no figures shows no pace.
///
/// # Errors
///
/// Those of [`QueueAdministration::queue_statistics`].
pub async fn read_queue_load(
    queues: &(impl QueueAdministration + ?Sized),
    queue: &QueueDefinition,
    copies: u64,
    now: Timestamp,
) -> Result<QueueLoad> {
    let statistics = queues.queue_statistics(&queue.name).await?;
    let robots = u32::try_from(statistics.in_progress).unwrap_or(1);
    let pace = match read_pace(queues, queue, robots, now).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        read => read?,
    };
    Ok(QueueLoad::new(queue, &statistics, copies, pace))
}
