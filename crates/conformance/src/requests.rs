//! Short functions for what is asked of a back end: queues, jobs, items and claims.

use std::time::Duration;

use performer::model::{JobKey, NewJob, NewQueueItem, QueuePolicy};
use performer::orchestrator::ClaimRequest;
use serde_json::json;

/// The queue of the checks.
pub const QUEUE: &str = "Invoices";

/// The default policy with this number of automatic retries.
pub fn retrying(max_number_of_retries: u32) -> QueuePolicy {
    QueuePolicy::default().max_number_of_retries(max_number_of_retries)
}

/// The default policy with unique references.
pub fn unique() -> QueuePolicy {
    QueuePolicy::default().enforce_unique_reference(true)
}

/// A job of one robot for [`QUEUE`], with a lease of 30 seconds.
pub fn new_job() -> NewJob {
    NewJob::new(QUEUE).machine("test").process_id(1).version("0").robots(1).lease(Duration::from_secs(30))
}

/// A claim on up to `count` items of [`QUEUE`] for robot 1 of a job.
pub fn take(job: JobKey, count: usize) -> ClaimRequest {
    ClaimRequest::new(QUEUE, job, count).robot(1)
}

/// A new item with this reference, which is also its content.
pub fn named(reference: &str) -> NewQueueItem {
    NewQueueItem::new(json!({ "name": reference })).reference(reference)
}
