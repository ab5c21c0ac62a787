//! The interface to the queues, which every back end implements.
//!
//! [`Orchestrator`] has the operations of a performer; [`Administration`] adds those of people. [`Observed`] traces every call
//! of a back end. T1 to T24 are the transitions of `docs/reference/lifecycle.md`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::Refusal;
use crate::model::history::ItemEvent;
use crate::model::item::{
    ClaimedItem, ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, QueueItem, ReferenceFilter,
};
use crate::model::job::{Job, JobEnd, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, ItemId, JobKey};
use crate::model::limits::LimitsEdit;
use crate::model::queue::{NewQueueDefinition, QueueDefinition};
use crate::model::result::TransactionResult;
use crate::model::review::{Comment, FailedItems, ItemVersion, Person};
use crate::model::robot::Robot;
use crate::model::selection::validate_count;
use crate::model::statistics::QueueStatistics;
use crate::model::status::{ReviewStatus, Status};

mod decorator;
mod error;
mod observed;

pub use decorator::Decorator;
#[doc(hidden)]
pub use error::kind_for_code;
pub use error::{ErrorKind, OrchestratorError};
pub use observed::Observed;

/// The future of a public async function, made by a function that is not generic: so it is compiled in the crate that has it,
/// while the user's crate compiles an async function that awaits it.
#[doc(hidden)]
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a call.
pub type Result<T, E = OrchestratorError> = std::result::Result<T, E>;

/// The operations of a performer: claim items, report results, and renew the lease on the claims.
///
/// A performer registers a job, sends heartbeats while it runs, claims items for the job and reports on each with its claim. A
/// report with a claim that is no longer valid changes nothing ([`ErrorKind::ClaimLost`]). Reports are idempotent.
#[async_trait]
pub trait Orchestrator: std::fmt::Debug + Send + Sync + 'static {
    /// Registers one run of a performer.
    ///
    /// # Errors
    ///
    /// NotFound if the queue does not exist; Invalid if the lease is not between 1 second and 24 hours, or the number of robots
    /// is not between 1 and 10,000.
    async fn start_job(&self, job: NewJob) -> Result<JobKey>;

    /// T13: renews the job's lease. Returns the state that is requested of the job: Running, Stopping or Terminating.
    ///
    /// # Errors
    ///
    /// ClaimLost if the job has ended, for instance because its lease had expired: its claims are lost.
    async fn beat(&self, job: JobKey) -> Result<JobState>;

    /// Ends the job, and abandons its items that are still InProgress in the same transaction.
    ///
    /// # Errors
    ///
    /// ClaimLost if the job has ended already.
    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept>;

    /// T14 and T15: ends jobs whose leases have expired, and abandons their items and those InProgress for too long. It may be
    /// called at any time by anyone; a performer calls it several times per second.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn sweep(&self) -> Result<Swept>;

    /// T1: adds one item.
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for an item that exceeds a limit; Conflict with code 1016 for a duplicate
    /// reference.
    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem>;

    /// T1: adds many items (orchestrator-api 7.2).
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue. Items that cannot be added are not an error of the call: see [`BulkAdded`].
    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded>;

    /// T2: adds an item and claims it in the same call.
    ///
    /// # Errors
    ///
    /// As [`add_queue_item`](Self::add_queue_item); ClaimLost if the job has ended; Conflict with code 1302 if the queue is
    /// paused or has reached a limit.
    async fn add_and_start_transaction(&self, take: ClaimRequest, item: NewQueueItem) -> Result<ClaimedItem>;

    /// T4 to T12, and T3: reports on items and claims the next ones, in one durable commit if the back end supports that.
    ///
    /// The answers have the order of the reports. A failed report prevents neither the other reports nor the claim.
    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer;

    /// The number of calls of [`report_and_claim`](Self::report_and_claim) that the back end handles concurrently; a performer
    /// that claims ahead makes as many. Default: 1.
    fn max_concurrent_calls(&self) -> usize {
        1
    }

    /// T10: sets the progress text of an item.
    ///
    /// # Errors
    ///
    /// ClaimLost if the claim is no longer valid; Invalid if the text is too long.
    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()>;

    /// Waits until there may be a new item to claim, for about `at_most`. `seen` is from the last claim that returned no item.
    /// It may return without a new item. A back end with rate limits waits longer than `at_most` (the real Orchestrator: up to 30
    /// seconds).
    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration);
}

/// The operations of people: define queues, inspect and review items, and manage jobs.
#[async_trait]
pub trait Administration: Orchestrator {
    /// Creates a queue.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 if the name is already used; Invalid if a setting is out of range.
    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition>;

    /// Changes the settings of a queue.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1001 or 1855; Invalid.
    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition>;

    /// Deletes a queue. Afterwards its items are neither handed out nor found, and claims on them are lost. The duration does
    /// not depend on the number of items: a store removes them in batches, in later [`sweep`](Orchestrator::sweep)s.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn delete_queue(&self, name: &str) -> Result<()>;

    /// Pauses or resumes a queue, or changes its limits, which apply over all performers. The change applies at once; items
    /// InProgress are not affected.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid for a limit of 0 or a window that is too short or too long; Unsupported if the Orchestrator has no such
    /// limits.
    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition>;

    /// Finds a queue by its name, which is case-insensitive.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_queue(&self, name: &str) -> Result<QueueDefinition>;

    /// Lists all queues in the order of their names.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_queues(&self) -> Result<Vec<QueueDefinition>>;

    /// Counts the items of a queue by status.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics>;

    /// Reads an item.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem>;

    /// Lists a page of the items that match a filter, in the order of their ids.
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for a page over 100 items.
    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage>;

    /// T16: changes the values of an item that is New.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict if the item is no longer New.
    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem>;

    /// T17: deletes items. Returns those that are refused; the others are deleted.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable. Refused items are not an error of the call.
    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// Lists all attempts of the retry chain of an item, oldest first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>>;

    /// Lists the events of all attempts of the retry chain of an item.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>>;

    /// T18 to T21: sets the review status of items. `Retried` is the manual retry, which adds a copy of the item. Returns the
    /// items that are refused; the others are changed.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable. Refused items are not an error of the call.
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// T22: sets or clears the reviewer of items. Returns the items that are refused; the others are changed.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable. Refused items are not an error of the call.
    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// Adds a comment to an item.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid if the text is empty or longer than 512 code units.
    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment>;

    /// Changes a comment, or deletes it if `text` is `None`.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1007 if another person wrote it.
    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()>;

    /// Lists the comments on all attempts of the retry chain of an item, oldest first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>>;

    /// T24: removes the content of an item that is Successful, Retried or Deleted.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict for any other status.
    async fn purge_content(&self, id: ItemId) -> Result<()>;

    /// T23: removes at most `limit` items (and the rest of their chains) that are past their queue's retention. Returns the number
    /// of removed items; 0 if nothing is left to do.
    ///
    /// A clock that may be ahead removes nothing: until the time of day has agreed with the monotonic clock for ten minutes, or
    /// for an hour after a jump or a long stop, the current time is the last one that the store has kept plus the time elapsed
    /// in this process ([`model::clock_guard`](crate::model::clock_guard)).
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn apply_retention(&self, limit: usize) -> Result<u64>;

    /// Lists at most `limit` jobs, newest first.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable; Invalid for a limit over 10,000.
    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>>;

    /// Lists the robots of all running jobs, by job; at most 10,000
    /// ([`MAX_ROBOTS_LISTED`](crate::model::robot::MAX_ROBOTS_LISTED)).
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable; Unsupported if the Orchestrator does not know them.
    async fn list_robots(&self) -> Result<Vec<Robot>>;

    /// Requests a job to stop; the answer to its next heartbeat contains the request.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1658 or 1659 if it has ended, and with 1658 for a soft stop of a job that is being
    /// terminated.
    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()>;
}

/// How a bulk add handles an item that cannot be added (orchestrator-api 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitType {
    /// Adds no item at all.
    AllOrNothing,
    /// Adds the items before it, and none after it.
    StopOnFirstFailure,
    /// Adds all other items.
    ProcessAllIndependently,
}

/// The result of a bulk add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "items may have been refused although the call succeeded"]
pub struct BulkAdded {
    /// The number of items added.
    pub added: u64,
    /// The items that could not be added.
    pub failed: Vec<FailedItem>,
}

/// An item that a bulk add refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedItem {
    /// Its position in the call, counted from 1; 0 if the Orchestrator does not say which item it was.
    pub ordinal: usize,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// A request to claim items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The queue.
    pub queue: Arc<str>,
    /// The job that will hold the claims.
    pub job: JobKey,
    /// The robot of that job, counted from 1; `None` if the items are claimed ahead for all robots.
    pub robot: Option<u32>,
    /// The maximum number of items, up to [`MAX_TAKE`](crate::model::selection::MAX_TAKE).
    pub count: usize,
    /// Claims only items whose reference matches.
    pub reference: Option<ReferenceFilter>,
}

impl ClaimRequest {
    /// Checks the number of items, before a store searches for that many.
    ///
    /// # Errors
    ///
    /// Invalid for too many items.
    pub fn validated(self) -> Result<Self> {
        validate_count(self.count)?;
        Ok(self)
    }
}

/// A report on one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The claim on the item.
    pub claim: Claim,
    /// The result of the attempt.
    pub result: TransactionResult,
    /// The last progress text, if it was not sent yet.
    pub progress: Option<String>,
}

/// The result of [`Orchestrator::report_and_claim`].
#[derive(Debug)]
pub struct ReportAndClaimAnswer {
    /// For each report the new status of the item, or why the report was not recorded.
    pub reports: Vec<Result<Status>>,
    /// The claimed items; empty if no claim was requested.
    pub claimed: Result<ClaimedItems>,
}

/// The result of a claim.
#[derive(Debug, Default)]
pub struct ClaimedItems {
    /// The items, in the order in which they are to be processed.
    pub items: Vec<ClaimedItem>,
    /// The state of the store at the claim, for [`Orchestrator::wait_for_items`].
    pub seen: Seen,
    /// Set if eligible items were withheld because the queue is paused or has reached a limit: the maximum time until the next
    /// attempt. Such a queue is not empty.
    pub withheld: Option<Duration>,
}

/// A position in the changes of a store, at which a claim returned no item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub u64);

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The jobs that were ended because their leases had expired.
    pub jobs: Vec<JobKey>,
    /// The number of items that were abandoned, including those that are retried.
    pub abandoned: u64,
}

/// Splits a URL at its first colon, into its scheme and the rest.
#[doc(hidden)]
pub fn split_url(url: &str) -> Result<(&str, &str)> {
    url.split_once(':').ok_or_else(|| {
        let example = "it must start with a scheme, such as sqlite:invoices.db or memory:";
        OrchestratorError::invalid(format!("{url:?} is not a URL; {example}"))
    })
}
