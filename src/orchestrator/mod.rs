//! Floor 2: the place where queues live and items are handed out, and its back ends.
//!
//! [`Orchestrator`] is what a performer needs; [`Administration`] adds what people need. [`connect`]
//! chooses the back end by a URL and puts [`Observed`] around it, so that every call of every back end
//! has one span and one event. T1 to T24 are the transitions of `docs/reference/lifecycle.md`.

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

mod error;
mod observed;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "uipath"))]
pub(crate) mod private_file;
pub mod store;
#[cfg(feature = "uipath")]
pub mod uipath;

pub use error::{ErrorKind, OrchestratorError};
pub use observed::Observed;

/// The answer to a call.
pub type Result<T, E = OrchestratorError> = std::result::Result<T, E>;

/// What a performer needs: items to take, a place to report to, and a lease that holds what it took.
///
/// A performer registers a job, beats while it lives, claims items in the job's name and reports on
/// each with the claim it was given. A claim that is no longer valid changes nothing
/// ([`ErrorKind::ClaimLost`]); the same report twice is fine.
#[async_trait]
pub trait Orchestrator: std::fmt::Debug + Send + Sync + 'static {
    /// Registers one run of a performer.
    ///
    /// # Errors
    ///
    /// NotFound when the queue does not exist; Invalid when the lease is not between 1 second and 24 hours, or the robots
    /// are not between 1 and 10,000.
    async fn start_job(&self, job: NewJob) -> Result<JobKey>;

    /// T13: moves the job's lease on. Answers what somebody wants of the job: Running, Stopping or
    /// Terminating.
    ///
    /// # Errors
    ///
    /// ClaimLost when the job has ended, for instance because it did not beat: its items are gone.
    async fn beat(&self, job: JobKey) -> Result<JobState>;

    /// Ends the job. Its items that are still InProgress are abandoned in the same transaction.
    ///
    /// # Errors
    ///
    /// ClaimLost when the job has ended already.
    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept>;

    /// T14 and T15: ends jobs that are gone and abandons what nobody works on any more. Anybody may call
    /// this at any time; a performer does every second.
    ///
    /// # Errors
    ///
    /// Unavailable when the store is.
    async fn sweep(&self) -> Result<Swept>;

    /// T1: adds one item.
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for an item that breaks a limit; Conflict with code 1016
    /// for a reference that the queue has.
    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem>;

    /// T1: adds many items (orchestrator-api 7.2).
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue. Items that cannot be added are no error of the call: see
    /// [`BulkAdded`].
    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded>;

    /// T2: adds an item and takes it at once.
    ///
    /// # Errors
    ///
    /// As [`add_queue_item`](Self::add_queue_item); ClaimLost when the job has ended; Conflict with code 1302 when the queue
    /// is paused or a limit of it is reached.
    async fn add_and_start_transaction(&self, take: Take, item: NewQueueItem) -> Result<ClaimedItem>;

    /// T4 to T12, and T3: reports on items and takes the next ones, in one durable commit where the back
    /// end can.
    ///
    /// The answers stand in the order of the reports. A report that fails does not keep the others from
    /// being recorded, nor the items from being taken.
    async fn report_and_take(&self, reports: Vec<Report>, take: Option<Take>) -> ReportedAndTaken;

    /// How many calls of [`report_and_take`](Self::report_and_take) it works on at the same time (default: 1). A performer that
    /// takes ahead makes as many.
    fn calls_side_by_side(&self) -> usize {
        1
    }

    /// T10: shows how far a transaction is.
    ///
    /// # Errors
    ///
    /// ClaimLost when the claim is no longer valid; Invalid when the text is too long.
    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()>;

    /// Waits until there may be something new to take, about `at_most`. `seen` is what the last take that came back empty
    /// said. A hint: it may wake for nothing. A back end that must not be asked often waits longer from time to time (the
    /// real Orchestrator: up to 30 seconds).
    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration);
}

/// What people need: queues to define, items to look at and to decide about.
#[async_trait]
pub trait Administration: Orchestrator {
    /// Makes a queue.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 when the name is taken; Invalid when a setting is outside its range.
    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition>;

    /// Gives the queue of this name new settings.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1001 or 1855; Invalid.
    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition>;

    /// Deletes a queue. From then on nothing of it is handed out or found, and claims on its items are lost. That takes the
    /// same time whatever the queue holds: a store of our own removes what it held in pieces, with each [`sweep`](Orchestrator::sweep).
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn delete_queue(&self, name: &str) -> Result<()>;

    /// Pauses or resumes a queue, or changes the limits that hold over the whole fleet. They hold from this moment on,
    /// for every performer: what is InProgress goes on.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid for a limit of 0 or a window that is too short or too long; Unsupported where the Orchestrator has
    /// no such limits.
    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition>;

    /// The queue of this name, whatever the case of its letters.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_queue(&self, name: &str) -> Result<QueueDefinition>;

    /// All queues, by name.
    ///
    /// # Errors
    ///
    /// Unavailable when the store is.
    async fn list_queues(&self) -> Result<Vec<QueueDefinition>>;

    /// How many items of a queue are in which state.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics>;

    /// One item.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem>;

    /// A page of the items that pass a filter, by id.
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for a page over 100 items.
    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage>;

    /// T16: gives an item that waits new values.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict when the item does not wait any more.
    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem>;

    /// T17: deletes items. Those that are refused are answered; the others are deleted.
    ///
    /// # Errors
    ///
    /// Unavailable when the store is. Items that are refused are no error of the call.
    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// All attempts of the retry chain an item belongs to, the first one first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>>;

    /// What happened to all attempts of the retry chain an item belongs to.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>>;

    /// T18 to T21: reviews items. `Retried` is the manual retry: it makes a copy that carries on. Items
    /// that are refused are answered; the others are done.
    ///
    /// # Errors
    ///
    /// Unavailable when the store is. Items that are refused are no error of the call.
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// T22: sets or clears who reviews items. Those that are refused are answered; the others are done.
    ///
    /// # Errors
    ///
    /// Unavailable when the store is. Items that are refused are no error of the call.
    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// Writes a comment on an item.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid when the text is empty or over 512 code units.
    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment>;

    /// Changes a comment; with `None` deletes it.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1007 when somebody else wrote it.
    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()>;

    /// The comments on all attempts of the retry chain an item belongs to, the oldest first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>>;

    /// T24: blanks the content of an item that is Successful, Retried or Deleted.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict in any other state.
    async fn purge_content(&self, id: ItemId) -> Result<()>;

    /// T23: removes at most `limit` items (and the rest of their chains) that are past their queue's
    /// retention. Answers how many were removed; 0 when nothing is left to do.
    ///
    /// Nothing is removed by a clock that may be ahead: what is past its retention is judged by the time that the store
    /// kept last and by what has passed in this process, until the time of day has agreed with the monotone clock for
    /// ten minutes, or for an hour after a jump or a long stop ([`model::clock_guard`](crate::model::clock_guard)).
    ///
    /// # Errors
    ///
    /// Unavailable when the store is.
    async fn apply_retention(&self, limit: usize) -> Result<u64>;

    /// All jobs, the newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// Unavailable when the store is; Invalid for a limit over 10,000.
    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>>;

    /// The robots of all jobs that have not ended, by job; at most 10,000
    /// ([`MAX_ROBOTS_LISTED`](crate::model::robot::MAX_ROBOTS_LISTED)).
    ///
    /// # Errors
    ///
    /// Unavailable when the store is; Unsupported where the Orchestrator does not know them.
    async fn list_robots(&self) -> Result<Vec<Robot>>;

    /// Asks a job to stop; its next beat tells it.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1658 or 1659 when it has ended, and with 1658 for a soft stop of a job that is
    /// being terminated.
    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()>;
}

/// What a bulk add does when an item cannot be added (orchestrator-api 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitType {
    /// Adds nothing at all.
    AllOrNothing,
    /// Keeps what came before it, and adds nothing after it.
    StopOnFirstFailure,
    /// Adds every other item.
    ProcessAllIndependently,
}

/// The answer to a bulk add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "items may have been refused although the call succeeded"]
pub struct BulkAdded {
    /// How many items were added.
    pub added: u64,
    /// The items that could not be added.
    pub failed: Vec<FailedItem>,
}

/// An item that a bulk add refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedItem {
    /// Its place in the call, counted from 1; 0 where the Orchestrator does not say which one it was.
    pub ordinal: usize,
    /// Why.
    pub refusal: Refusal,
}

/// Which items to take, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// The queue.
    pub queue: Arc<str>,
    /// The job that will hold them.
    pub job: JobKey,
    /// The robot of that job, counted from 1; `None` when the items are taken ahead for all of them.
    pub robot: Option<u32>,
    /// How many at most, up to [`MAX_TAKE`](crate::model::selection::MAX_TAKE).
    pub count: usize,
    /// Only items with such a reference.
    pub reference: Option<ReferenceFilter>,
}

impl Take {
    /// A take that is refused is not begun: a store would look for as many items as it names.
    ///
    /// # Errors
    ///
    /// Invalid for too many items.
    pub(crate) fn checked(self) -> Result<Self> {
        validate_count(self.count)?;
        Ok(self)
    }
}

/// A report on one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The right to report.
    pub claim: Claim,
    /// How it ended.
    pub result: TransactionResult,
    /// The last progress text, if it has not been sent yet.
    pub progress: Option<String>,
}

/// The answer to [`Orchestrator::report_and_take`].
#[derive(Debug)]
pub struct ReportedAndTaken {
    /// For each report the Status the item has now, or why the report was not recorded.
    pub reports: Vec<Result<Status>>,
    /// What was taken; nothing when nothing was asked for.
    pub taken: Result<Taken>,
}

/// Items taken, in the order in which they are to be processed.
#[derive(Debug, Default)]
pub struct Taken {
    /// The items.
    pub items: Vec<ClaimedItem>,
    /// What the store had seen when it looked; for [`Orchestrator::wait_for_items`].
    pub seen: Seen,
    /// More waits, and is held back by a limit of the queue, or because it is paused. When to look again at the latest: a
    /// queue like this is not empty.
    pub withheld: Option<Duration>,
}

/// A moment in the life of a store: what it had seen when it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub(crate) u64);

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that were gone.
    pub jobs: Vec<JobKey>,
    /// Items that were abandoned, those that are retried included.
    pub abandoned: u64,
}

/// Connects to the Orchestrator at a URL.
///
/// | URL | back end |
/// |---|---|
/// | `sqlite:invoices.db`, `sqlite:///var/lib/robots.db` | a file; it is made when it is not there (feature `sqlite`, on by default) |
/// | `memory:` | this process; gone when it ends |
/// | `https://cloud.uipath.com/acme/Prod/orchestrator_`, `https://orchestrator.example.com` | a UiPath Orchestrator (feature `uipath`, on by default); [what it takes from the environment](uipath::UipathBuilder::environment) |
/// | `uipath:` | the one in whose job this program runs: `UIPATH_URL` |
///
/// # Errors
///
/// Invalid for a URL that cannot be read, Unsupported for a scheme that this build does not have; for a
/// file those of opening it.
pub async fn connect(url: &str) -> Result<Arc<dyn Administration>> {
    let (scheme, rest) = split(url)?;
    match scheme.to_ascii_lowercase().as_str() {
        "memory" | "sqlite" | "postgres" | "postgresql" => {
            Ok(Arc::new(Observed::new(store::Store::open(url).await?)))
        }
        "http" | "https" => connect_uipath(url).await,
        "uipath" if rest.is_empty() => {
            let url = std::env::var("UIPATH_URL");
            connect_uipath(&url.map_err(|_| invalid("uipath: needs UIPATH_URL, which a job has".to_owned()))?)
                .await
        }
        // The rest of the URL is not repeated: it may hold a secret.
        scheme => Err(invalid(format!(
            "unknown scheme {scheme:?}; known are sqlite:, postgres:, memory:, https: and uipath:"
        ))),
    }
}

#[cfg(feature = "uipath")]
async fn connect_uipath(url: &str) -> Result<Arc<dyn Administration>> {
    Ok(Arc::new(Observed::new(uipath::Uipath::builder(url).environment()?.connect().await?)))
}

#[cfg(not(feature = "uipath"))]
async fn connect_uipath(_url: &str) -> Result<Arc<dyn Administration>> {
    let message = "performer was built without its feature \"uipath\"; build it with --features uipath";
    Err(OrchestratorError::new(ErrorKind::Unsupported, message))
}

/// The scheme of a URL, and what is behind the colon.
fn split(url: &str) -> Result<(&str, &str)> {
    url.split_once(':').ok_or_else(|| {
        invalid(format!(
            "{url:?} is not a URL: write a scheme and a colon first, as in sqlite:invoices.db or memory:"
        ))
    })
}

fn invalid(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Invalid, message)
}
