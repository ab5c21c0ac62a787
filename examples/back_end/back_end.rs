//! [`SimpleBackEnd`]: queues in the memory of one process, behind one mutex.
//!
//! The back end stores values and finds them again. Every decision is made by the rules of [`performer::model`]: what an event
//! does to an item (`lifecycle`), which item is next (`selection`), what its history is (`history`). The test
//! `crates/conformance/tests/back_end_of_others.rs` runs the conformance suite on it.
//!
//! | file | what is in it |
//! |---|---|
//! | `back_end.rs` | the traits |
//! | `state.rs` | all that is stored, and how an event changes an item |
//! | `queues.rs` | queues, their statistics and their retention |
//! | `items.rs` | an item: how it is stored and shown |
//! | `claims.rs` | items are added, claimed and reported on |
//! | `people.rs` | items are listed, edited, reviewed and commented on |
//! | `jobs.rs` | jobs, leases and robots |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use performer::model::lifecycle::Event;
use performer::model::review::validate_comment;
use performer::model::{
    Claim, ClaimedItem, Clock, Comment, ErrorCode, FailedItems, ItemEdit, ItemEvent, ItemFilter, ItemId,
    ItemPage, ItemVersion, Job, JobEnd, JobKey, JobState, LimitsEdit, NewJob, NewQueueDefinition,
    NewQueueItem, Page, Person, QueueDefinition, QueueItem, QueueStatistics, Refusal, ReviewStatus, Robot,
    Schemas, StopStrategy,
};
use performer::orchestrator::{
    BulkAdded, ClaimRequest, ClaimedItems, CommitType, FleetAdministration, Insight, ItemAdministration,
    Orchestrator, QueueAdministration, Report, ReportAndClaimAnswer, Result, ReviewAdministration, Seen,
    Swept,
};
use performer::prelude::async_trait;

use state::State;

mod claims;
mod items;
mod jobs;
mod people;
mod queues;
mod state;

/// Queues in the memory of one process. They end with it.
///
/// Limits of queues and groups of items are not supported: such calls are refused as Unsupported.
#[derive(Debug)]
pub(crate) struct SimpleBackEnd {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl SimpleBackEnd {
    /// A back end without queues, which decides by this clock.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::new(State::new(clock.now(), clock.elapsed()));
        Self { clock, state }
    }

    /// Begins a call: no other call changes anything until it ends, and all of it happens at one time.
    fn begin(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock is read inside the lock, so a later call never has an earlier time.
        state.set_time(self.clock.now(), self.clock.elapsed());
        state
    }
}

/// The refusal of what this back end does not support. Its code makes the error one of the kind Unsupported.
fn unsupported(what: &str) -> Refusal {
    Refusal::new(ErrorCode::FEATURE_DISABLED, format!("this back end does not support {what}"))
}

#[async_trait]
impl Orchestrator for SimpleBackEnd {
    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        Ok(self.begin().start_job(job)?)
    }

    async fn queue_schemas(&self, queue: &str) -> Result<Schemas> {
        Ok(QueueAdministration::get_queue(self, queue).await?.schemas)
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        Ok(self.begin().beat(job)?)
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        Ok(self.begin().end_job(job, end)?)
    }

    async fn sweep(&self) -> Result<Swept> {
        Ok(self.begin().sweep()?)
    }

    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem> {
        let mut state = self.begin();
        let queue = state.queue_named(queue)?;
        let id = state.add(queue, &item)?;
        Ok(state.item(id)?.shown(id))
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        let mut state = self.begin();
        let queue = state.queue_named(queue)?;
        Ok(state.add_many(queue, commit_type, &items))
    }

    async fn add_and_start_transaction(&self, take: ClaimRequest, item: NewQueueItem) -> Result<ClaimedItem> {
        Ok(self.begin().add_and_claim(&take, item)?)
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let mut state = self.begin();
        let reports = reports.iter().map(|report| Ok(state.report(report)?)).collect();
        let claimed = match take {
            Some(take) => take.validated().and_then(|take| Ok(state.claim(&take)?)),
            None => Ok(ClaimedItems::default()),
        };
        ReportAndClaimAnswer::new(reports, claimed)
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        Ok(self.begin().set_progress(claim, progress)?)
    }

    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        let waiting = self.begin().changes_of(queue);
        // The next claim tells the caller that there is no such queue.
        let Ok((mut changes, next)) = waiting else { return };
        let changed = changes.wait_for(|change| *change > seen.0);
        // It ends with an error if the queue is deleted meanwhile, or if the time is over: the caller claims again.
        let _ = tokio::time::timeout(next.map_or(at_most, |next| next.min(at_most)), changed).await;
    }
}

#[async_trait]
impl QueueAdministration for SimpleBackEnd {
    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        Ok(self.begin().create_queue(queue)?)
    }

    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        Ok(self.begin().update_queue(name, queue)?)
    }

    async fn delete_queue(&self, name: &str) -> Result<()> {
        Ok(self.begin().delete_queue(name)?)
    }

    async fn edit_queue_limits(&self, name: &str, _edit: LimitsEdit) -> Result<QueueDefinition> {
        self.begin().queue_named(name)?;
        Err(unsupported("limits of queues").into())
    }

    async fn get_queue(&self, name: &str) -> Result<QueueDefinition> {
        Ok(self.begin().definition(name)?)
    }

    async fn list_queues(&self) -> Result<Vec<QueueDefinition>> {
        Ok(self.begin().definitions())
    }

    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics> {
        Ok(self.begin().statistics(queue)?)
    }

    async fn apply_retention(&self, limit: usize) -> Result<u64> {
        Ok(self.begin().apply_retention(limit)?)
    }
}

#[async_trait]
impl ItemAdministration for SimpleBackEnd {
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem> {
        Ok(self.begin().item(id)?.shown(id))
    }

    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage> {
        Ok(self.begin().list(&filter, &page)?)
    }

    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem> {
        Ok(self.begin().edit(id, edit)?)
    }

    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems> {
        let delete = |row_version| Event::Delete { row_version: Some(row_version) };
        Ok(self.begin().apply_to_each(&items, delete))
    }

    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        Ok(self.begin().attempts(id)?)
    }

    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        Ok(self.begin().events(id)?)
    }

    async fn purge_content(&self, id: ItemId) -> Result<()> {
        Ok(self.begin().purge(id)?)
    }
}

#[async_trait]
impl ReviewAdministration for SimpleBackEnd {
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems> {
        Ok(self.begin().apply_to_each(&items, |row_version| Event::Review { to, row_version }))
    }

    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems> {
        // There are no users here whose rights could be checked.
        let set = |row_version| Event::SetReviewer { reviewer, permitted: true, row_version };
        Ok(self.begin().apply_to_each(&items, set))
    }

    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment> {
        validate_comment(&text)?;
        Ok(self.begin().add_comment(id, author, text)?)
    }

    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()> {
        text.as_deref().map_or(Ok(()), validate_comment)?;
        Ok(self.begin().edit_comment(comment, &author, text)?)
    }

    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        Ok(self.begin().comments(id)?)
    }
}

#[async_trait]
impl FleetAdministration for SimpleBackEnd {
    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        Ok(self.begin().list_jobs(limit)?)
    }

    async fn list_robots(&self) -> Result<Vec<Robot>> {
        Ok(self.begin().list_robots())
    }

    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        Ok(self.begin().stop_job(job, strategy)?)
    }
}

/// It keeps no operations and no audit, and does not say what is due.
impl Insight for SimpleBackEnd {}
