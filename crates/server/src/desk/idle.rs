//! Why nothing of a queue is handed out: what stands in the way, as far as the store knows.

use super::call::{DeskCall, FolderQueue};
use super::html;
use super::routes::JOBS_VIEW;
use crate::api_error::ApiError;
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::job::{Job, JobState, MAX_JOBS_LISTED};
use performer_core::model::query::{Field, Order};
use performer_core::model::selection::is_due_by;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;
use performer_core::orchestrator::{FleetAdministration as _, ItemAdministration as _};

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) text: String,
    /// Whether nothing is handed out as long as this is so.
    pub(super) is_blocking: bool,
}

fn blocking(text: impl Into<String>) -> Cause {
    Cause { text: text.into(), is_blocking: true }
}

fn remark(text: impl Into<String>) -> Cause {
    Cause { text: text.into(), is_blocking: false }
}

/// What stands in the way, and what might; at least one answer.
pub(super) async fn causes(
    call: &DeskCall,
    queue: &FolderQueue,
    statistics: &QueueStatistics,
) -> Result<Vec<Cause>, ApiError> {
    let mut causes = by_limits(queue, statistics);
    causes.extend(by_items(call, queue, statistics).await?);
    if call.caller()?.may(Some(queue.folder), JOBS_VIEW) {
        let jobs = call.store(queue.folder).list_jobs(MAX_JOBS_LISTED).await?;
        causes.extend(by_jobs(&jobs, &queue.queue.name, call));
    }
    if !causes.iter().any(|cause| cause.is_blocking) {
        causes.insert(0, remark("No cause was found: a robot that asks now is handed an item, unless one of these limits holds it back."));
    }
    Ok(causes)
}

fn by_limits(queue: &FolderQueue, statistics: &QueueStatistics) -> Vec<Cause> {
    let (limits, mut causes) = (&queue.queue.limits, Vec::new());
    if limits.paused {
        causes.push(blocking("The queue is paused: it hands out nothing until it is resumed."));
    }
    if let Some(most) = limits.max_in_progress
        && statistics.in_progress >= i64::from(most)
    {
        let now = html::number(statistics.in_progress);
        causes.push(blocking(format!("{now} items are InProgress, and the limit of the queue is {most}.")));
    }
    if let Some(starts) = limits.max_starts {
        let (count, per) = (starts.count, html::duration(starts.per));
        causes.push(remark(format!("At most {count} items are started within {per}; more have to wait.")));
    }
    if let Some(most) = limits.max_in_progress_per_group {
        causes.push(remark(format!(
            "At most {most} items of one group are InProgress; others of the group wait."
        )));
    }
    causes
}

async fn by_items(
    call: &DeskCall,
    queue: &FolderQueue,
    statistics: &QueueStatistics,
) -> Result<Option<Cause>, ApiError> {
    if statistics.new == 0 {
        return Ok(Some(blocking("No item is New.")));
    }
    let (store, now) = (call.store(queue.folder), call.now());
    let new = ItemFilter::default().queue(&*queue.queue.name).status([Status::New]);
    let due = new.clone().condition(is_due_by(now));
    if !store.list_queue_items(due, Page::first(1).count_limit(0)).await?.items.is_empty() {
        return Ok(None);
    }
    let earliest = new.order([Order { field: Field::DeferDate, descending: false }]);
    let earliest = store.list_queue_items(earliest, Page::first(1).count_limit(0)).await?;
    let at = earliest.items.first().and_then(|item| item.defer_date);
    Ok(at.map(|at| {
        let at = at.strftime("%Y-%m-%d %H:%M:%S UTC");
        blocking(format!(
            "All {} items that are New are postponed; the first until {at}.",
            html::number(statistics.new)
        ))
    }))
}

fn by_jobs(jobs: &[Job], queue: &str, call: &DeskCall) -> Option<Cause> {
    let of_queue = |job: &&Job| job.about.queue.to_lowercase() == queue.to_lowercase();
    let alive: Vec<&Job> = jobs
        .iter()
        .filter(of_queue)
        .filter(|job| !job.state.is_final() && !job.is_lost(call.now()))
        .collect();
    if alive.iter().any(|job| job.state == JobState::Running) {
        return None;
    }
    Some(if alive.is_empty() {
        remark(
            "No performer is running on this queue. (Robots that claim with the vendor's API have no job here: they may be at work.)",
        )
    } else {
        remark("All performers on this queue were asked to stop.")
    })
}
