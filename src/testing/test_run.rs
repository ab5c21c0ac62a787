//! A transaction on a queue in memory, and what can be seen of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::follow_ups::{CollectedFollowUps, WithoutFollowUps};
use super::replay::{self, ReplayError, Replayed};
use crate::model::{
    ExceptionType, ItemFilter, ItemId, NewAsset, NewQueueDefinition, NewQueueItem, Page, QueueItem,
    QueuePolicy, Status,
};
use crate::orchestrator::store::Store;
use crate::orchestrator::{
    Administration, AssetAdministration as _, BoxFuture, FollowUp, ItemAdministration as _, Orchestrator,
    OrchestratorError, QueueAdministration as _,
};
use crate::runtime::{JobSummary, Performer, PerformerError, PerformerEvent, StopHandle, TransactionOutcome};

/// Runs a performer on one item, over a queue in memory: the settings of the performer apply, and it can be stopped in the middle of
/// the transaction. Signals do not stop it.
///
/// Where tokio's time is paused (`#[tokio::test(start_paused = true)]`, which needs tokio's feature `test-util`), a time limit of an
/// hour takes no time:
///
/// ```
/// use std::time::Duration;
///
/// use performer::prelude::*;
/// use performer::testing::TestRun;
///
/// const HOUR: Duration = Duration::from_secs(3_600);
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let performer = Performer::from_fn("Reports", async |_: serde_json::Value, _| {
///     tokio::time::sleep(2 * HOUR).await;
///     Ok(())
/// });
/// let item = NewQueueItem::new(serde_json::json!({}));
/// let tested = TestRun::new(performer.time_limit(HOUR)).run(item).await;
/// assert_eq!(tested.reason(), Some("did not end within its time limit of 3600s"));
/// assert_eq!((tested.opened(), tested.closed()), (2, 2)); // reopened after the failure
/// # });
/// ```
#[derive(Debug)]
#[must_use = "nothing runs until `run` or `replay` is called"]
pub struct TestRun {
    performer: Performer,
    policy: QueuePolicy,
    stops: Stops,
    assets: Vec<NewAsset>,
}

/// When the performer is stopped and killed, counted from the start of the first transaction.
#[derive(Clone, Copy, Debug, Default)]
struct Stops {
    stop_after: Option<Duration>,
    kill_after: Option<Duration>,
}

impl TestRun {
    /// A run of this performer on a queue with the default policy but without retries.
    pub fn new(performer: Performer) -> Self {
        let policy = QueuePolicy::default().max_number_of_retries(0);
        Self { performer, policy, stops: Stops::default(), assets: Vec::new() }
    }

    /// The policy of the queue of [`run`](Self::run); for instance to test a retry. Default: the default policy without retries.
    pub fn policy(mut self, policy: QueuePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// An asset that the transaction reads, also in a [`replay`](Self::replay): those of the Orchestrator are not read here. Default:
    /// none.
    ///
    /// ```
    /// use performer::model::{AssetValue, NewAsset, NewValue, ValueOf};
    /// use performer::prelude::*;
    /// use performer::testing::TestRun;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let performer = Performer::from_fn("Invoices", async |_: serde_json::Value, item| {
    ///     Ok(serde_json::json!({ "Limit": item.asset::<i32>("Threshold").await? + 1 }))
    /// });
    /// let threshold = NewValue::plain(ValueOf::Everybody, AssetValue::Integer(5));
    /// let run = TestRun::new(performer).asset(NewAsset::global("Threshold", threshold));
    /// let tested = run.run(NewQueueItem::new(serde_json::json!({}))).await;
    /// assert_eq!(tested.output::<serde_json::Value>()["Limit"], 6);
    /// # }
    /// ```
    pub fn asset(mut self, asset: NewAsset) -> Self {
        self.assets.push(asset);
        self
    }

    /// Stops the performer when the first transaction has run for this time. The transaction sees it by
    /// [`is_stop_requested`](crate::TransactionItem::is_stop_requested), and is interrupted after the performer's
    /// [grace period](Performer::grace_period). Default: never.
    pub fn stop_after(mut self, time: Duration) -> Self {
        self.stops.stop_after = Some(time);
        self
    }

    /// Kills the performer when the first transaction has run for this time: it is interrupted, and its item given back. Default:
    /// never.
    pub fn kill_after(mut self, time: Duration) -> Self {
        self.stops.kill_after = Some(time);
        self
    }

    /// Adds an item to a queue in memory, with the name of the performer's queue, and runs the performer until no item is eligible.
    ///
    /// # Panics
    ///
    /// If the policy, a setting of the performer or an asset is invalid, or the item cannot be added.
    pub async fn run(self, item: NewQueueItem) -> Tested {
        self.run_boxed(item).await
    }

    #[inline(never)]
    fn run_boxed(self, item: NewQueueItem) -> BoxFuture<'static, Tested> {
        Box::pin(self.run_one(item))
    }

    async fn run_one(self, item: NewQueueItem) -> Tested {
        let Self { performer, policy, stops, assets } = self;
        let store = Store::memory();
        let queue = NewQueueDefinition::new(performer.queue()).policy(policy);
        store.create_queue(queue).await.expect("the policy is valid");
        store.add_queue_item(performer.queue(), item).await.expect("the item can be added");
        add_assets(&store, assets).await.expect("the assets are valid");
        let collected = CollectedFollowUps::default();
        let orchestrator = Arc::new(WithoutFollowUps { store, collected });
        let (summary, events) = match run_observed(performer, stops, orchestrator.clone()).await {
            Ok(ended) => ended,
            Err(error) => panic!("{error}"),
        };
        let page = orchestrator.store.list_queue_items(ItemFilter::default(), Page::default()).await;
        let attempts = page.expect("a queue in memory can be read").items;
        Tested { attempts, summary, events, follow_ups: orchestrator.collected.take() }
    }

    /// Runs the performer on a copy of an item of an Orchestrator, as [`replay`](super::replay) does. The copy is attempted once,
    /// whatever the [`policy`](Self::policy), in a queue with the name of the item's queue.
    ///
    /// # Errors
    ///
    /// As [`replay`](super::replay).
    pub async fn replay(
        self,
        orchestrator: &dyn Administration,
        id: ItemId,
    ) -> Result<Replayed, ReplayError> {
        replay::run(self, orchestrator, id).await
    }

    /// Takes the assets that the transaction is to read.
    pub(super) fn take_assets(&mut self) -> Vec<NewAsset> {
        std::mem::take(&mut self.assets)
    }

    /// Runs the performer over an Orchestrator until its queue is empty, and returns its events too.
    pub(super) async fn over(
        self,
        queue: String,
        orchestrator: Arc<dyn Orchestrator>,
    ) -> Result<(JobSummary, Vec<PerformerEvent>), PerformerError> {
        run_observed(self.performer.for_queue(queue), self.stops, orchestrator).await
    }
}

/// Adds the assets of a test to its store.
pub(super) async fn add_assets(store: &Store, assets: Vec<NewAsset>) -> Result<(), OrchestratorError> {
    for asset in assets {
        store.create_asset(asset).await?;
    }
    Ok(())
}

async fn run_observed(
    performer: Performer,
    stops: Stops,
    orchestrator: Arc<dyn Orchestrator>,
) -> Result<(JobSummary, Vec<PerformerEvent>), PerformerError> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let started = Arc::new(Notify::new());
    let (seen, start) = (events.clone(), started.clone());
    let performer = performer.handle_signals(false).also_on_event(move |event| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        if matches!(event, PerformerEvent::TransactionStarted { .. }) {
            start.notify_one();
        }
    });
    let stop = performer.stop_handle();
    let ended = tokio::select! {
        biased;
        ended = performer.run_until_empty(orchestrator) => ended,
        () = stops.request(&started, &stop) => unreachable!("it never returns"),
    };
    let summary = summary_of(ended)?;
    let events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((summary, events))
}

/// The summary of a run that started, Faulted or not.
pub(super) fn summary_of(ended: Result<JobSummary, PerformerError>) -> Result<JobSummary, PerformerError> {
    match ended {
        Err(PerformerError::Faulted(summary)) => Ok(*summary),
        ended => ended,
    }
}

impl Stops {
    /// Requests the stop and the kill at their times. Never returns.
    async fn request(self, started: &Notify, handle: &StopHandle) {
        started.notified().await;
        let stop = async {
            sleep(self.stop_after).await;
            handle.stop();
        };
        let kill = async {
            sleep(self.kill_after).await;
            handle.kill();
        };
        tokio::join!(stop, kill);
        std::future::pending::<()>().await;
    }
}

/// Sleeps for a time; for ever without one.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The result of a tested transaction.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tested {
    /// All attempts, oldest first; more than one if the item was retried.
    pub attempts: Vec<QueueItem>,
    /// The summary of the performer's run.
    pub summary: JobSummary,
    /// What happened, in order: applications that were opened and closed, starts and ends of transactions, stops.
    pub events: Vec<PerformerEvent>,
    /// What the transaction [also adds](crate::TransactionItem::also_add) with its success, in order. It is added to no queue here,
    /// and the queues need not exist; what no queue would take is refused as in production.
    pub follow_ups: Vec<FollowUp>,
}

impl Tested {
    /// The last attempt.
    ///
    /// # Panics
    ///
    /// Never: the item was added.
    pub fn item(&self) -> &QueueItem {
        self.attempts.last().expect("the item was added")
    }

    /// The status of the last attempt: Successful, Failed, or New if it was postponed, given back or never started.
    pub fn status(&self) -> Status {
        self.item().status
    }

    /// The outcome of the last transaction, which tells postponed from given back. `None` if none was started, for instance because
    /// the applications could not be opened ([`JobSummary::fault`] says why).
    pub fn outcome(&self) -> Option<TransactionOutcome> {
        self.events.iter().rev().find_map(|event| match event {
            PerformerEvent::TransactionEnded { outcome, .. } => Some(*outcome),
            _ => None,
        })
    }

    /// Why the last attempt failed.
    pub fn reason(&self) -> Option<&str> {
        self.item().processing_exception.as_ref().map(|exception| exception.reason.as_str())
    }

    /// The kind of exception by which the last attempt failed.
    pub fn exception_type(&self) -> Option<ExceptionType> {
        self.item().exception_type()
    }

    /// The output of the last attempt.
    ///
    /// # Panics
    ///
    /// If there is none, or it cannot be deserialized into the type.
    pub fn output<O: DeserializeOwned>(&self) -> O {
        let output = self.item().output.as_ref().expect("the item has an output");
        output.parse().expect("the output fits the type")
    }

    /// The last progress text of the last attempt.
    pub fn progress(&self) -> Option<&str> {
        self.item().progress.as_deref()
    }

    /// The time to which the transaction postponed its item. `None` if it did not.
    pub fn postponed_until(&self) -> Option<Timestamp> {
        let postponed = self.outcome() == Some(TransactionOutcome::Postponed);
        self.item().defer_date.filter(|_| postponed)
    }

    /// How often the applications were opened without an error, counted over all robots.
    pub fn opened(&self) -> usize {
        let opened = |event: &&PerformerEvent| matches!(event, PerformerEvent::ApplicationsOpened { .. });
        self.events.iter().filter(opened).count()
    }

    /// How often the applications were closed, with or without an error, counted over all robots.
    /// [`PerformerEvent::ApplicationsClosed`] in `events` has the errors.
    pub fn closed(&self) -> usize {
        let closed = |event: &&PerformerEvent| matches!(event, PerformerEvent::ApplicationsClosed { .. });
        self.events.iter().filter(closed).count()
    }
}
