//! The interface to the queues, which every back end implements.
//!
//! [`Orchestrator`] has the operations of a performer; [`Administration`] adds those of people. [`Observed`] traces every call
//! of a back end. T1 to T25 are the transitions of `docs/reference/lifecycle.md`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::Refusal;
use crate::model::asset::RobotAsset;
use crate::model::item::{ClaimedItem, NewQueueItem, QueueItem, ReferenceFilter};
use crate::model::job::{JobEnd, JobState, NewJob};
use crate::model::key::{Claim, ItemKey, JobKey};
use crate::model::log::LogLine;
use crate::model::result::TransactionResult;
use crate::model::schema::Schemas;
use crate::model::selection::validate_count;
use crate::model::status::Status;
use crate::model::task::{NewTask, TaskAnswer};

mod administration;
mod assets;
mod buckets;
mod claim_facts;
mod decorator;
mod error;
mod follow_up;
mod insight;
mod observed;
mod pace;
mod processes;
mod tasks;
mod webhooks;

pub use administration::{
    Administration, FleetAdministration, ItemAdministration, QueueAdministration, ReviewAdministration,
};
pub use assets::AssetAdministration;
pub use buckets::{BucketAdministration, BucketFiles, FileStream};
pub use claim_facts::read_claim_blockers;
pub use decorator::Decorator;
#[doc(hidden)]
pub use error::kind_for_code;
pub use error::{ErrorKind, OrchestratorError};
pub use follow_up::{FOLLOW_UPS_SIZE_LIMIT, FollowUp, FollowUps, MAX_FOLLOW_UPS};
pub use insight::Insight;
pub use observed::Observed;
pub use pace::{read_pace, read_queue_load};
pub use processes::ProcessAdministration;
pub use tasks::{TaskAdministration, TaskFilter};
pub use webhooks::WebhookAdministration;

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

    /// The JSON schemas of a queue, which a performer compares with its types when it starts, if it is asked to.
    ///
    /// # Errors
    ///
    /// NotFound if the queue does not exist. Unsupported by default: a performer that is asked to compare then does not start.
    async fn queue_schemas(&self, queue: &str) -> Result<Schemas> {
        let message = format!("this back end does not tell the schemas of queue {queue:?}");
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    /// T13: renews the job's lease. Returns the state that is requested of the job: Running, Stopping or Terminating.
    ///
    /// # Errors
    ///
    /// ClaimLost if the job has ended, for instance because its lease had expired: its claims are lost. NotFound if there is no
    /// such job.
    async fn beat(&self, job: JobKey) -> Result<JobState>;

    /// Ends the job, and abandons its items that are still InProgress in the same transaction.
    ///
    /// # Errors
    ///
    /// ClaimLost if the job has ended already; NotFound if there is no such job; Invalid for a state that is not final.
    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept>;

    /// T14 and T15: ends jobs whose leases have expired, and abandons their items and those InProgress for too long. It may be
    /// called at any time by anyone; a performer calls it several times per second.
    ///
    /// A lease that is over by the time of day is not enough, because the clock may have been set, and all processes may have
    /// been suspended together: [`model::sweep`](crate::model::sweep) has the rule. Items that are InProgress for too long are found at
    /// least once a minute, by a clock that can be believed ([`model::clock_guard`](crate::model::clock_guard)).
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
    /// NotFound for an unknown queue. Items that cannot be added are not an error of the call: see [`BulkAdded`]. With
    /// [`AllOrNothing`](CommitType::AllOrNothing) all of them are returned, duplicates within the call among them.
    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded>;

    /// T2: adds an item and claims it in the same call. The count of the request and the DeferDate of the item are ignored.
    ///
    /// # Errors
    ///
    /// As [`add_queue_item`](Self::add_queue_item); ClaimLost if the job has ended; Conflict with code 1302 if the queue is
    /// paused or has reached a limit.
    async fn add_and_start_transaction(
        &self,
        request: ClaimRequest,
        item: NewQueueItem,
    ) -> Result<ClaimedItem>;

    /// T4 to T12, and T3: reports on items and claims the next ones, in one durable commit if the back end supports that.
    ///
    /// The answers have the order of the reports. A failed report prevents neither the other reports nor the claim.
    ///
    /// A claim without reports may wait for an item: see [`ClaimRequest::wait`].
    ///
    /// # Errors
    ///
    /// Of a report: ClaimLost if its claim is no longer valid, or its item was removed; Invalid for a text or an output that is too
    /// long or does not match the queue's schema, for a DeferDate in the past, and for a follow-up item that cannot be added, which
    /// the message names ([`FollowUps::refused`]).
    ///
    /// Of the claim: NotFound for an unknown queue; Invalid for too many items; NotFound or ClaimLost for a job that does not exist
    /// or has ended, if there is an item to hand out (an empty queue answers with no items).
    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer;

    /// The number of calls of [`report_and_claim`](Self::report_and_claim) that the back end handles concurrently; a performer
    /// that claims ahead makes as many. Default: 1.
    fn max_concurrent_calls(&self) -> usize {
        1
    }

    /// Ends the wait of this job's claims that wait for an item ([`ClaimRequest::wait`]): they are answered with no items, or with
    /// those that they have been given already. A claim that arrives later waits again. Default: does nothing, for a back end
    /// whose claims do not wait. One that hands claims on to another back end hands this on too, as [`Decorator`] does; otherwise
    /// an idle performer stops only after its grace period.
    fn give_up_claims(&self, _job: JobKey) {}

    /// Whether [`report_and_claim`](Self::report_and_claim) adds the [follow-up items](Report::follow_ups) of a success. Default:
    /// false, and a performer then reports a transaction that has some as an ApplicationException.
    ///
    /// A back end that says true adds them in the commit that records the success, and at no other time; a repeat of a report that
    /// was recorded adds nothing. If one of them cannot be added, the report is refused as a whole ([`FollowUps::refused`]). (The
    /// client of a UiPath Orchestrator promises less: it adds them before it reports.)
    fn supports_follow_ups(&self) -> bool {
        false
    }

    /// T10: sets the progress text of an item.
    ///
    /// # Errors
    ///
    /// ClaimLost if the claim is no longer valid; NotFound or ClaimLost if the item was removed; Invalid if the text is too long.
    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()>;

    /// Adds lines to the robot logs, in the folder of this caller. A line without a job is one of the job that this program runs in, if
    /// the Orchestrator knows it.
    ///
    /// # Errors
    ///
    /// Invalid for more than 10,000 lines, or an entry longer than 64 KiB; Unavailable; Unsupported if the Orchestrator keeps no
    /// logs, which is the default.
    async fn submit_logs(&self, lines: Vec<LogLine>) -> Result<()> {
        let _ = lines;
        Err(OrchestratorError::new(ErrorKind::Unsupported, "the Orchestrator keeps no robot logs"))
    }

    /// Reads the value of an asset that is meant for this caller, with its secret part. The name is case-insensitive.
    ///
    /// A performer's transactions read assets through a cache; each call here asks the back end.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504 for an unknown asset, and with code 1503 if it has no value for this caller; Other with code 1021 or 1800
    /// for a secret that cannot be decrypted. Unsupported by default, for a back end without assets.
    async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        let message = format!("this back end has no assets, and so none of the name {name:?}");
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    /// Whether [`report_and_claim`](Self::report_and_claim) makes the [task](Report::ask) of a postponement. Default: false, and a
    /// performer then reports a transaction that asks as an ApplicationException.
    ///
    /// A back end that says true makes the task in the commit that postpones the item, and lets the item be claimed in the commit that
    /// ends the task. (The client of a UiPath Orchestrator promises less: it makes the task first, and looks at it now and then.)
    fn supports_asking(&self) -> bool {
        false
    }

    /// The end of the last task by which an item asked, whatever attempt of it. `None`: it asked for none, or the task has no end yet.
    ///
    /// # Errors
    ///
    /// Unavailable; Unsupported by default, for a back end without tasks.
    async fn read_answer(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        let message = format!("this back end has no tasks, and so no answer for the item {item}");
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    /// Waits until there may be a new item to claim, for about `at_most`. `seen` is from the last claim that returned no item.
    /// It may return without a new item. A back end with rate limits waits longer than `at_most` (the real Orchestrator: up to 30
    /// seconds).
    ///
    /// A wait ends when an item of the queue may have become claimable since `seen`: one was added, given back, edited or copied
    /// for a retry, or the queue was renamed, deleted or created again, or its limits have changed. A DeferDate that comes may end it too.
    /// For a queue that does not exist it returns within `at_most`; the next claim reports that.
    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration);
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
#[non_exhaustive]
pub struct BulkAdded {
    /// The number of items added.
    pub added: u64,
    /// The items that could not be added.
    pub failed: Vec<FailedItem>,
}

impl BulkAdded {
    /// The number of items added, and those that were refused.
    pub fn new(added: u64, failed: Vec<FailedItem>) -> Self {
        Self { added, failed }
    }
}

/// An item that a bulk add refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedItem {
    /// Its position in the call, counted from 1; 0 if the Orchestrator does not say which item it was.
    pub ordinal: usize,
    /// Why it was refused.
    pub refusal: Refusal,
}

impl FailedItem {
    /// The item at this position of the call, counted from 1, and why it was refused.
    pub fn new(ordinal: usize, refusal: Refusal) -> Self {
        Self { ordinal, refusal }
    }
}

/// A request to claim items.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// How long to wait for an item if there is none; zero, the default: not at all.
    pub wait: Duration,
    /// How often to look again meanwhile; default 1 s.
    pub look_every: Duration,
}

/// The default of [`ClaimRequest::look_every`].
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl ClaimRequest {
    /// Claims at most `count` items of a queue for a job: ahead, for all of its robots, unless [`robot`](Self::robot) is set.
    pub fn new(queue: impl Into<Arc<str>>, job: JobKey, count: usize) -> Self {
        Self {
            queue: queue.into(),
            job,
            robot: None,
            count,
            reference: None,
            wait: Duration::ZERO,
            look_every: LOOK_EVERY,
        }
    }

    /// Claims for this robot of the job, counted from 1.
    #[must_use]
    pub fn robot(mut self, robot: impl Into<Option<u32>>) -> Self {
        self.robot = robot.into();
        self
    }

    /// Claims only items whose reference matches.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<Option<ReferenceFilter>>) -> Self {
        self.reference = reference.into();
        self
    }

    /// Waits for an item if there is none, for at most `at_most`: the claim stays with the back end, and a commit of this process
    /// that leaves an item for it (an add, a retry copy, the end of an attempt where a limit is reached) serves it in the
    /// same transaction, after the claims that were there before it.
    ///
    /// The answer says whether the claim has waited ([`ClaimedItems::waited`]). It is answered at once by a back end that does not
    /// support this, or has too many claims that wait, and with a call that has reports. If the future is dropped, nothing waits any
    /// more, and what the claim has been given is given back; [`Orchestrator::give_up_claims`] ends the wait otherwise.
    #[must_use]
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = at_most;
        self
    }

    /// How often a claim that waits looks for an item, which finds what no commit of this process tells: a DeferDate that has
    /// come. One claim of a queue looks for all of them. Default 1 s.
    #[must_use]
    pub fn look_every(mut self, interval: Duration) -> Self {
        self.look_every = interval;
        self
    }

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
#[non_exhaustive]
pub struct Report {
    /// The claim on the item.
    pub claim: Claim,
    /// The result of the attempt.
    pub result: TransactionResult,
    /// The last progress text, if it was not sent yet.
    pub progress: Option<String>,
    /// Items that are added with a success, in the same commit: all of them, or none if it is not recorded.
    pub follow_ups: FollowUps,
    /// A task that is made with a postponement, in the same commit, and for whose end the item waits until the DeferDate.
    pub ask: Option<Arc<NewTask>>,
}

impl Report {
    /// A report of this result, for the attempt that the claim is on.
    pub fn new(claim: Claim, result: TransactionResult) -> Self {
        Self { claim, result, progress: None, follow_ups: FollowUps::default(), ask: None }
    }

    /// Sets the last progress text, which is stored before the result.
    #[must_use]
    pub fn progress(mut self, progress: impl Into<String>) -> Self {
        self.progress = Some(progress.into());
        self
    }

    /// Sets the items that are added with the success, in this order; at most [`MAX_FOLLOW_UPS`], with at most
    /// [`FOLLOW_UPS_SIZE_LIMIT`] bytes of text. Only a Successful report may have some. Where an item names no creator job, it is the
    /// job of the claim.
    #[must_use]
    pub fn follow_ups(mut self, items: Vec<FollowUp>) -> Self {
        self.follow_ups = FollowUps::of_claim(items, self.claim);
        self
    }
}

/// The result of [`Orchestrator::report_and_claim`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ReportAndClaimAnswer {
    /// For each report the new status of the item, or why the report was not recorded.
    pub reports: Vec<Result<Status>>,
    /// The claimed items; empty if no claim was requested.
    pub claimed: Result<ClaimedItems>,
}

impl ReportAndClaimAnswer {
    /// The answers in the order of the reports, and the claimed items.
    pub fn new(reports: Vec<Result<Status>>, claimed: Result<ClaimedItems>) -> Self {
        Self { reports, claimed }
    }
}

/// The result of a claim.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClaimedItems {
    /// The items, in the order in which they are to be processed.
    pub items: Vec<ClaimedItem>,
    /// The state of the store at the claim, for [`Orchestrator::wait_for_items`].
    pub seen: Seen,
    /// Set if eligible items were withheld because the queue is paused or has reached a limit: the maximum time until the next
    /// attempt. Such a queue is not empty.
    pub withheld: Option<Duration>,
    /// Whether the claim has waited, or would have ([`ClaimRequest::wait`]). If not, [`Orchestrator::wait_for_items`] does.
    pub waited: bool,
}

impl ClaimedItems {
    /// These items, in the order in which they are to be processed.
    pub fn new(items: Vec<ClaimedItem>) -> Self {
        Self { items, ..Self::default() }
    }
}

/// A position in the changes of a store, at which a claim returned no item. It rises over the whole life of a store, not of a
/// queue: a queue may be deleted and created again with the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub u64);

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// The jobs that were ended because their leases had expired.
    pub jobs: Vec<JobKey>,
    /// The number of items that were abandoned, including those that are retried.
    pub abandoned: u64,
}

impl Swept {
    /// The jobs that were ended, and how many items were abandoned.
    pub fn new(jobs: Vec<JobKey>, abandoned: u64) -> Self {
        Self { jobs, abandoned }
    }
}

/// Splits a URL at its first colon, into its scheme and the rest.
#[doc(hidden)]
pub fn split_url(url: &str) -> Result<(&str, &str)> {
    url.split_once(':').ok_or_else(|| {
        let example = "it must start with a scheme, such as sqlite:invoices.db or memory:";
        OrchestratorError::invalid(format!("{url:?} is not a URL; {example}"))
    })
}
