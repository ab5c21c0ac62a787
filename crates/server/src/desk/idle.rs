//! Why nothing of a queue is handed out, for the page of the queue.

use super::call::{DeskCall, FolderQueue};
use super::html;
use super::routes::JOBS_VIEW;
use crate::api_error::ApiError;
use performer_core::model::claim_blockers::ClaimBlocker;
use performer_core::model::job::MAX_JOBS_LISTED;
use performer_core::model::statistics::QueueStatistics;
use performer_core::orchestrator::read_claim_blockers;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) text: String,
    /// Whether nothing is handed out as long as this is so.
    pub(super) is_blocking: bool,
}

/// What stands in the way, and what might; at least one answer.
pub(super) async fn causes(
    call: &DeskCall,
    queue: &FolderQueue,
    statistics: &QueueStatistics,
) -> Result<Vec<Cause>, ApiError> {
    let store = call.store(queue.folder);
    let jobs = if call.caller()?.may(Some(queue.folder), JOBS_VIEW) {
        Some(call.jobs_in(queue.folder, MAX_JOBS_LISTED).await?)
    } else {
        None
    };
    let blockers = read_claim_blockers(&store, &queue.queue, statistics, jobs.as_deref(), call.now()).await?;
    let cause =
        |blocker: &ClaimBlocker| Cause { text: blocker.to_string(), is_blocking: blocker.is_certain() };
    let mut causes: Vec<Cause> = blockers.iter().map(cause).collect();
    if !causes.iter().any(|cause| cause.is_blocking) {
        let text = "No cause was found: a robot that asks now is handed an item.".to_owned();
        causes.insert(0, Cause { text, is_blocking: false });
    }
    Ok(causes)
}

/// What is said if the store could not answer: the rest of the page is shown all the same.
pub(super) fn unknown(failure: &ApiError) -> Cause {
    Cause { text: format!("This is not known: {}", html::line(&failure.message, 300)), is_blocking: false }
}
