//! The performer: the settings of a run, and its start.

use std::sync::Arc;
use std::time::Duration;

use super::erased::{AnyTransaction, Factory};
use super::event::PerformerEvent;
use super::job::OnEvent;
use super::stop::StopHandle;
use super::summary::JobSummary;
use super::supervisor;
use super::transaction::Transaction;
use crate::model::{DEFAULT_LEASE, MAX_ROBOTS, MAX_TAKE};
use crate::orchestrator::{ErrorKind, Orchestrator, OrchestratorError};

/// Processes a queue: the name of the queue, a function that makes each robot's [`Transaction`], and settings.
///
/// ```
/// # use performer::prelude::*;
/// # #[derive(Default)] struct PostInvoices;
/// # #[async_trait] impl Transaction for PostInvoices {
/// #     type Content = serde_json::Value; type Output = ();
/// #     async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> { Ok(()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let orchestrator = connect("memory:").await?;
/// orchestrator.create_queue(NewQueueDefinition::new("Invoices")).await?;
/// orchestrator.add_queue_item("Invoices", NewQueueItem::new(serde_json::json!({"amount": 12}))).await?;
///
/// let summary = Performer::new("Invoices", PostInvoices::default)
///     .robots(8)
///     .run_until_empty(orchestrator)
///     .await?;
/// assert_eq!(summary.successful, 1);
/// # Ok(()) }
/// ```
pub struct Performer {
    pub(super) queue: String,
    pub(super) make: Factory,
    pub(super) settings: Settings,
    pub(super) stop: StopHandle,
    pub(super) on_event: Option<OnEvent>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) robots: u32,
    pub(super) claim_ahead: usize,
    pub(super) max_consecutive_exceptions: u32,
    pub(super) time_limit: Option<Duration>,
    pub(super) grace_period: Duration,
    pub(super) poll_interval: Duration,
    pub(super) lease: Duration,
    pub(super) handle_signals: bool,
    pub(super) single_threaded: bool,
    pub(super) seed: Option<u64>,
    pub(super) until_empty: bool,
    #[cfg(feature = "schema")]
    pub(super) schema_check: Option<super::schema_check::SchemaCheck>,
}

impl std::fmt::Debug for Performer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { queue, settings, .. } = self;
        f.debug_struct("Performer").field("queue", queue).field("settings", settings).finish_non_exhaustive()
    }
}

/// Why a performer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerformerError {
    /// It did not start: a setting is invalid, the queue does not exist, or the Orchestrator cannot be reached.
    #[error("the performer did not start: {}", .0.with_causes())]
    NotStarted(OrchestratorError),
    /// The job ended Faulted: the performer could not continue.
    #[error("the job is Faulted: {}", .0.fault.as_deref().unwrap_or("no reason was given"))]
    Faulted(Box<JobSummary>),
    /// It panicked outside a transaction, which is a fault of this library or of a back end. Its job is left to its lease. Only
    /// [`run_all`](super::run_all) returns it; other runs pass the panic on.
    #[error("the performer panicked: {0}")]
    Panicked(String),
}

impl Performer {
    /// Creates a performer for a queue. `make` is called once for each robot, and again for a robot whose
    /// transaction panicked.
    pub fn new<T: Transaction>(
        queue: impl Into<String>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::erased(queue.into(), Arc::new(move || -> Box<dyn AnyTransaction> { Box::new(make()) }))
    }

    fn erased(queue: String, make: Factory) -> Self {
        let settings = Settings {
            robots: 1,
            claim_ahead: 0,
            max_consecutive_exceptions: 0,
            time_limit: None,
            grace_period: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            lease: DEFAULT_LEASE,
            handle_signals: true,
            single_threaded: false,
            seed: None,
            until_empty: false,
            #[cfg(feature = "schema")]
            schema_check: None,
        };
        let stop = StopHandle::default();
        Self { queue, make, settings, stop, on_event: None }
    }

    /// The number of robots that work concurrently, each with its own [`Transaction`] value: 1 to 10,000. Default: 1.
    #[must_use]
    pub fn robots(mut self, robots: u32) -> Self {
        self.settings.robots = robots;
        self
    }

    /// The number of items to claim before a robot is free for them, up to 100,000. Default: 0, which means that a robot
    /// claims an item when it is free, as REFramework does.
    ///
    /// A larger value is faster where the work of one item is short: claimed items wait in a buffer of this size, in
    /// the queue's order, and reports are recorded in batches in the background, at most this many at a time. A stop
    /// gives the items in the buffer back without using a retry. When the process dies, the items in the buffer
    /// are Abandoned together with those the robots held.
    #[must_use]
    pub fn claim_ahead(mut self, items: usize) -> Self {
        self.settings.claim_ahead = items;
        self
    }

    /// The number of consecutive ApplicationExceptions, counted over all robots, after which the performer stops and
    /// ends Faulted. A success or a BusinessException resets the count. Default: 0, which means never.
    #[must_use]
    pub fn max_consecutive_exceptions(mut self, exceptions: u32) -> Self {
        self.settings.max_consecutive_exceptions = exceptions;
        self
    }

    /// The time limit for one transaction. The future of a transaction that exceeds it is dropped at its next await
    /// point, and the item fails with an ApplicationException. Default: no limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = Some(limit);
        self
    }

    /// How long transactions may continue after a stop before they are interrupted and their items given back.
    /// Default: 30 seconds.
    #[must_use]
    pub fn grace_period(mut self, period: Duration) -> Self {
        self.settings.grace_period = period;
        self
    }

    /// How long an idle robot waits for a notification before it polls the queue. Default: 1 second. Over HTTP this is
    /// the first interval; the next ones grow up to 30 seconds.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval;
        self
    }

    /// How long the job holds its items without a heartbeat, 1 second to 24 hours. A heartbeat is sent three times per
    /// lease. When the process dies, its items are Abandoned after this time at the latest. Default: 30 seconds. The real
    /// Orchestrator has no leases: it abandons items after about 24 hours, and the performer asks it every third of a
    /// lease whether the job is to stop.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Whether SIGINT and SIGTERM stop the performer (a second signal interrupts it). Default: true, which requires a
    /// tokio runtime built with `enable_all`. Once tokio has installed its handlers for these signals, they no longer
    /// end the process by themselves, even after the performer has ended.
    #[must_use]
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.settings.handle_signals = handle;
        self
    }

    /// Calls a function for every event. It runs on the threads of the robots, so it must return quickly.
    #[must_use]
    pub fn on_event(mut self, on_event: impl Fn(&PerformerEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(on_event));
        self
    }

    /// Calls one more function for every event, before the one that the user has set.
    pub(crate) fn also_on_event(mut self, also: impl Fn(&PerformerEvent) + Send + Sync + 'static) -> Self {
        let users = self.on_event.take();
        self.on_event(move |event| {
            also(event);
            if let Some(users) = &users {
                users(event);
            }
        })
    }

    /// The name of its queue.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    /// This performer for another queue.
    pub(crate) fn for_queue(mut self, queue: String) -> Self {
        self.queue = queue;
        self
    }

    /// Runs everything on the caller's runtime, including the heartbeat. For tests that control time: a transaction
    /// that blocks the runtime's thread then loses the job's lease.
    #[doc(hidden)]
    #[must_use]
    pub fn single_threaded(mut self) -> Self {
        self.settings.single_threaded = true;
        self
    }

    /// The seed of its random numbers (the jitter of delays). For simulations, which must be reproducible.
    #[doc(hidden)]
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// A handle that stops this performer from elsewhere in the program.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Processes the queue until a stop is requested.
    ///
    /// Do not drop the future to stop the performer: like a crash, that leaves the job registered, and its items are
    /// Abandoned when the lease expires. Use [`stop_handle`](Self::stop_handle).
    ///
    /// # Errors
    ///
    /// [`PerformerError::NotStarted`] when a setting is invalid or the queue does not exist;
    /// [`PerformerError::Faulted`] when the performer could not continue, or when transactions ignored a kill.
    pub async fn run(self, orchestrator: Arc<dyn Orchestrator>) -> Result<JobSummary, PerformerError> {
        supervisor::run(self, orchestrator).await
    }

    /// Processes the queue until no item is eligible and all robots of this performer are idle. Deferred items stay in
    /// the queue.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_until_empty(
        mut self,
        orchestrator: Arc<dyn Orchestrator>,
    ) -> Result<JobSummary, PerformerError> {
        self.settings.until_empty = true;
        supervisor::run(self, orchestrator).await
    }
}

impl Settings {
    pub(super) fn validate(&self) -> Result<(), OrchestratorError> {
        let wrong = if self.robots == 0 {
            "a performer needs at least one robot"
        } else if self.robots > MAX_ROBOTS {
            "a performer has at most 10,000 robots"
        } else if self.claim_ahead > MAX_TAKE {
            "at most 100,000 items can be claimed ahead"
        } else if self.poll_interval.is_zero() {
            "the poll interval must not be zero"
        } else if self.time_limit.is_some_and(|limit| limit.is_zero()) {
            "the time limit must not be zero"
        } else {
            return Ok(());
        };
        Err(OrchestratorError::new(ErrorKind::Invalid, wrong))
    }
}
