//! Floor 3: the performer. Takes items, hands them to a [`Transaction`], reports what became of them.
//!
//! | file | what it does |
//! |---|---|
//! | `transaction.rs` | the trait that users implement |
//! | `item.rs`, `progress.rs` | the item as a transaction sees it, and its live handle |
//! | `robot.rs` | one robot: open, take, process, report, reopen, close |
//! | `guard.rs` | user code, run so that its panics stay with it |
//! | `report.rs` | what a transaction returned becomes what is reported |
//! | `supply.rs`, `ahead.rs` | where items come from and reports go: directly, or through a buffer |
//! | `job.rs` | what the robots of a job share: the circuit breaker, the count, what errors mean |
//! | `heart.rs`, `watch.rs` | beats, sweeps, and an eye on the robots |
//! | `stop.rs` | stop and kill |
//! | `event.rs`, `summary.rs` | what happens, and what happened |

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::guard::log;
use self::heart::Heart;
use self::job::{OnEvent, RunningJob};
use self::robot::Robot;
use self::supply::{Direct, Supply};
use crate::model::job::{DEFAULT_LEASE, JobEnd, JobState, MAX_ROBOTS, NewJob};
use crate::model::selection::MAX_TAKE;
use crate::orchestrator::{ErrorKind, Orchestrator, OrchestratorError};

mod ahead;
mod event;
mod guard;
mod heart;
mod item;
mod job;
mod progress;
mod report;
mod robot;
mod stop;
mod summary;
mod supply;
mod transaction;
mod watch;

pub use event::{Ending, PerformerEvent};
pub use item::TransactionItem;
pub use stop::StopHandle;
pub use summary::JobSummary;
pub use transaction::Transaction;

/// How long robots have to end after a kill, before they count as stuck.
const AFTER_A_KILL: Duration = Duration::from_secs(1);

/// How long the last results may take to be recorded when the store is slow: twice as long as a store waits for
/// another process, for the call that is under way and for the last one.
const FOR_THE_LAST_RESULTS: Duration = Duration::from_secs(25);

/// A program that processes a queue: a queue, how to make one robot's processor, and settings.
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
pub struct Performer<T> {
    queue: String,
    make: Arc<dyn Fn() -> T + Send + Sync>,
    settings: Settings,
    stop: StopHandle,
    on_event: Option<OnEvent>,
}

#[derive(Clone, Debug)]
struct Settings {
    robots: u32,
    claim_ahead: usize,
    max_consecutive_exceptions: u32,
    time_limit: Option<Duration>,
    grace_period: Duration,
    poll_interval: Duration,
    lease: Duration,
    answer_signals: bool,
    single_threaded: bool,
    seed: Option<u64>,
    until_empty: bool,
}

impl<T> std::fmt::Debug for Performer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { queue, settings, .. } = self;
        f.debug_struct("Performer").field("queue", queue).field("settings", settings).finish_non_exhaustive()
    }
}

/// Why a performer did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerformerError {
    /// It did not start: a setting is wrong, the queue is not there, the Orchestrator is out of reach.
    #[error("the performer did not start: {}", .0.with_causes())]
    NotStarted(OrchestratorError),
    /// It ended Faulted: it could not go on.
    #[error("the job is Faulted: {}", .0.fault.as_deref().unwrap_or("no reason was given"))]
    Faulted(Box<JobSummary>),
}

impl<T: Transaction> Performer<T> {
    /// A performer for a queue. `make` is called once for each robot, and again for a robot whose
    /// transaction panicked.
    pub fn new(queue: impl Into<String>, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let settings = Settings {
            robots: 1,
            claim_ahead: 0,
            max_consecutive_exceptions: 0,
            time_limit: None,
            grace_period: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            lease: DEFAULT_LEASE,
            answer_signals: true,
            single_threaded: false,
            seed: None,
            until_empty: false,
        };
        let stop = StopHandle::default();
        Self { queue: queue.into(), make: Arc::new(make), settings, stop, on_event: None }
    }

    /// How many robots work side by side, each with a processor of its own: 1 to 10,000. Default: 1.
    #[must_use]
    pub fn robots(mut self, robots: u32) -> Self {
        self.settings.robots = robots;
        self
    }

    /// How many items to take before a robot is free for them, up to 100,000. Default: 0, a robot takes an item when it is
    /// free, as REFramework does.
    ///
    /// More is faster where the work of one item is short: items wait in a buffer of this size, taken in
    /// the queue's order, and reports are recorded in batches behind the robots' backs, at most this many at a
    /// time. What a stop leaves in the buffer goes back without using a retry. When the process dies, what
    /// is in the buffer is Abandoned with what the robots held.
    #[must_use]
    pub fn claim_ahead(mut self, items: usize) -> Self {
        self.settings.claim_ahead = items;
        self
    }

    /// After how many ApplicationExceptions in a row, counted over all robots, the performer stops and ends
    /// Faulted. A success or a BusinessException starts the count anew. Default: 0, never.
    #[must_use]
    pub fn max_consecutive_exceptions(mut self, exceptions: u32) -> Self {
        self.settings.max_consecutive_exceptions = exceptions;
        self
    }

    /// How long one transaction may take. One that takes longer is dropped where it awaits, and is an
    /// ApplicationException. Default: no limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = Some(limit);
        self
    }

    /// How long transactions may go on after a stop, before they are interrupted and given back. Default: 30
    /// seconds.
    #[must_use]
    pub fn grace_period(mut self, period: Duration) -> Self {
        self.settings.grace_period = period;
        self
    }

    /// How long an idle robot waits before it looks again although nobody woke it. Default: 1 second. Over HTTP that is
    /// the first wait; the next ones are longer and longer, up to 30 seconds.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval;
        self
    }

    /// How long the job holds its items without a beat, 1 second to 24 hours; it beats three times as often. When the process
    /// dies, its items are Abandoned after this time at the latest. Default: 30 seconds. The real Orchestrator knows no
    /// leases: there it takes about 24 hours, and a third of the lease is how often a stop from there is asked for.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Whether SIGINT and SIGTERM stop the performer (and a second one interrupts it). Default: true; tokio's
    /// runtime must be built with `enable_all` then. Once a performer has answered signals, they no longer end
    /// the process by themselves: that is how tokio's signals work.
    #[must_use]
    pub fn answer_signals(mut self, answer: bool) -> Self {
        self.settings.answer_signals = answer;
        self
    }

    /// Calls a function for everything that happens. It is called on the robots' threads: be quick.
    #[must_use]
    pub fn on_event(mut self, on_event: impl Fn(&PerformerEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(on_event));
        self
    }

    /// Runs everything on the caller's runtime, beats included. For tests that control time: a transaction
    /// that blocks the runtime's thread then costs the job its lease.
    #[doc(hidden)]
    #[must_use]
    pub fn single_threaded(mut self) -> Self {
        self.settings.single_threaded = true;
        self
    }

    /// Where its randomness (the jitter of delays) begins. For simulations, which must be the same each time.
    #[doc(hidden)]
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Stops the performer from elsewhere in the program.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Processes the queue until somebody asks to stop.
    ///
    /// Dropping the future is as good as pulling the plug: the job does not end, and what it held is
    /// Abandoned after its lease. Use [`stop_handle`](Self::stop_handle).
    ///
    /// # Errors
    ///
    /// [`PerformerError::NotStarted`] when a setting is wrong or the queue is not there;
    /// [`PerformerError::Faulted`] when it could not go on, and when transactions ignored the kill.
    pub async fn run(self, orchestrator: Arc<dyn Orchestrator>) -> Result<JobSummary, PerformerError> {
        self.run_job(orchestrator).await
    }

    /// Processes the queue until it has nothing to hand out and none of this performer's robots is at work.
    /// Items that wait for a later time are left where they are.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_until_empty(
        mut self,
        orchestrator: Arc<dyn Orchestrator>,
    ) -> Result<JobSummary, PerformerError> {
        self.settings.until_empty = true;
        self.run_job(orchestrator).await
    }

    async fn run_job(self, orchestrator: Arc<dyn Orchestrator>) -> Result<JobSummary, PerformerError> {
        let started = tokio::time::Instant::now();
        self.settings.validate().map_err(PerformerError::NotStarted)?;
        let about = NewJob {
            queue: self.queue.clone(),
            machine: gethostname::gethostname().to_string_lossy().into_owned(),
            process_id: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            robots: self.settings.robots,
            lease: self.settings.lease,
        };
        let key = orchestrator.start_job(about.clone()).await.map_err(PerformerError::NotStarted)?;
        let Self { queue, make, settings, stop, on_event } = self;
        let job = Arc::new(RunningJob::new(orchestrator, queue.into(), settings, stop, key, on_event));
        log!(info, queue = %job.queue, job = %key, robots = job.settings.robots, "the job started");
        job.emit(&PerformerEvent::JobStarted { job: key });

        let ended = CancellationToken::new();
        let stop_the_heart = ended.clone().drop_guard();
        let (stopped, heart_stopped) = oneshot::channel();
        let mut heart_stopped = Some(heart_stopped);
        let heart = Heart { job: job.clone(), about, ended, stopped };
        if let Err(error) = heart.start() {
            job.fault(format!("the heart of the job could not be started: {error}"));
        } else {
            // What a process left behind that was killed here a moment ago is taken up at once.
            match job.orchestrator.sweep().await {
                Ok(swept) => job.swept(&swept),
                Err(error) => log!(warn, %error, "nothing can be swept now"),
            }
            supervise(&job, crew(&job, &make), &mut heart_stopped).await;
        }
        drop(stop_the_heart);
        // The heart lets go of the store before this returns, or soon after if the store keeps it waiting.
        if let Some(stopped) = heart_stopped {
            let _ = tokio::time::timeout(AFTER_A_KILL, stopped).await;
        }
        end(&job, started.elapsed()).await
    }
}

impl Settings {
    fn validate(&self) -> Result<(), OrchestratorError> {
        let wrong = if self.robots == 0 {
            "a performer needs at least one robot"
        } else if self.robots > MAX_ROBOTS {
            "a performer has at most 10,000 robots"
        } else if self.claim_ahead > MAX_TAKE {
            "at most 100,000 items can be taken ahead"
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

/// The robots of a job, and what feeds them, each a task.
fn crew<T: Transaction>(job: &Arc<RunningJob>, make: &Arc<dyn Fn() -> T + Send + Sync>) -> JoinSet<()> {
    let mut crew = JoinSet::new();
    let ahead = (job.settings.claim_ahead > 0).then(|| ahead::buffer(job.clone(), job.settings.claim_ahead));
    let (ahead, feeder) = ahead.unzip();
    let door = Arc::new(Mutex::new(()));
    for number in 1..=job.settings.robots {
        let supply = match &ahead {
            Some(ahead) => Supply::Ahead(ahead.clone()),
            None => Supply::Direct(Direct::new(job.clone(), number, door.clone())),
        };
        match Robot::new(job.clone(), number, make.clone(), supply) {
            Ok(robot) => drop(crew.spawn(robot.run())),
            Err(panic) => job.fault(format!("robot {number} could not be made: panicked: {panic}")),
        }
    }
    if let Some(feeder) = feeder {
        crew.spawn(feeder.run());
    }
    crew
}

/// Waits for the robots; after a stop no longer than the grace period, and for what they reported a while longer.
async fn supervise(
    job: &RunningJob,
    mut crew: JoinSet<()>,
    heart_stopped: &mut Option<oneshot::Receiver<()>>,
) {
    let signals = async {
        if job.settings.answer_signals {
            stop::answer_signals(&job.stop).await;
        }
        std::future::pending::<()>().await;
    };
    let no_heart = async {
        // Once it has stopped it is not waited for again.
        if let Some(stopped) = heart_stopped.as_mut() {
            let _ = stopped.await;
            *heart_stopped = None;
            job.fault("the heart of the job stopped beating".to_owned());
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = join_all(job, &mut crew) => return,
        () = overrun(job) => {}
        () = signals => {}
        () = no_heart => {}
    }
    report_stuck(job, "the transaction ignores the kill; its item is left to be abandoned");
    // Robots whose code does not let go of them are not waited for any longer; what the others reported is.
    let _ = tokio::time::timeout(FOR_THE_LAST_RESULTS, async {
        while crew.len() > stuck_robots(job) {
            tokio::select! {
                biased;
                _ = crew.join_next() => {}
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    })
    .await;
    match stuck_robots(job) {
        0 if crew.is_empty() => {}
        0 => job.fault("the last results could not be recorded in time".to_owned()),
        stuck => job.fault(format!("{stuck} robots ignored the kill")),
    }
    crew.abort_all();
}

async fn join_all(job: &RunningJob, crew: &mut JoinSet<()>) {
    while let Some(ended) = crew.join_next().await {
        if let Err(error) = ended {
            job.fault(format!("a robot ended by a panic outside the transaction: {error}"));
        }
    }
}

/// Robots that user code holds, after a kill.
fn stuck_robots(job: &RunningJob) -> usize {
    job.watches.iter().filter(|watch| watch.is_busy()).count()
}

/// Returns when the robots have had all the time there is.
async fn overrun(job: &RunningJob) {
    job.stop.stop_requested().await;
    job.emit(&PerformerEvent::StopRequested);
    let grace_period_is_over = tokio::select! {
        biased;
        () = job.stop.kill_requested() => false,
        () = tokio::time::sleep(job.settings.grace_period) => true,
    };
    if grace_period_is_over {
        report_stuck(job, "the transaction did not end within the grace period; it is interrupted");
        job.stop.kill();
    }
    tokio::time::sleep(AFTER_A_KILL).await;
}

fn report_stuck(job: &RunningJob, what: &'static str) {
    for (robot, watch) in (1..).zip(&job.watches) {
        if let Some(item) = watch.item() {
            log!(error, %item, robot, "{what}");
            job.emit(&PerformerEvent::TransactionStuck { item, robot });
        }
    }
}

/// Ends the job in the store, and sums up.
async fn end(job: &RunningJob, duration: Duration) -> Result<JobSummary, PerformerError> {
    let state = if job.fault_reason().is_some() {
        JobState::Faulted
    } else if job.stop.is_stop_requested() {
        JobState::Stopped
    } else {
        JobState::Successful
    };
    let info = job.fault_reason().map(str::to_owned);
    let figures = Some(job.summary().figures());
    let end = JobEnd { state, info: info.clone(), figures };
    match job.orchestrator.end_job(job.key(), end).await {
        Ok(swept) => job.summary().abandoned += swept.abandoned,
        Err(error) => log!(warn, %error, "the end of the job is not recorded; its lease will end it"),
    }
    let summary = {
        let mut summary = job.summary();
        summary.state = state;
        summary.fault = info;
        summary.duration = duration;
        summary.clone()
    };
    log!(info, queue = %job.queue, job = %summary.job, %summary, "the job ended");
    job.emit(&PerformerEvent::JobEnded { state });
    if state == JobState::Faulted { Err(PerformerError::Faulted(Box::new(summary))) } else { Ok(summary) }
}
