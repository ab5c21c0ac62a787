//! The running job: the state that its robots share.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tracing::Span;

use super::assets::AssetCache;
use super::catch_panic::{self, log};
use super::event::{PerformerEvent, TransactionOutcome};
use super::performer::Settings;
use super::stop::{Cancellation, StopHandle};
use super::summary::JobSummary;
use super::transaction_span;
use super::watchdog::Watchdog;
use crate::model::{JobKey, NewTask, Outcome, Status, TransactionResult};
use crate::orchestrator::{
    ClaimRequest, ErrorKind, FollowUps, Orchestrator, OrchestratorError, Report, Result, Swept,
};
use performer_core::backoff::{BackoffPolicy, Delays};
use performer_core::outcome;

/// How long a claim waits for an item before it is made anew, or as long as between two polls if that is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How soon the end of a wait is requested again.
const GIVE_UP_AGAIN: Duration = Duration::from_millis(20);

/// How long after a kill an answer is waited for.
const LAST_ANSWER: Duration = Duration::from_secs(1);

pub(super) type OnEvent = Arc<dyn Fn(&PerformerEvent) + Send + Sync>;

pub(super) struct RunningJob {
    pub(super) orchestrator: Arc<dyn Orchestrator>,
    /// What its transactions have read.
    pub(super) assets: Arc<AssetCache>,
    pub(super) queue: Arc<str>,
    pub(super) settings: Settings,
    pub(super) stop: StopHandle,
    /// Cancelled when the performer runs until the queue is empty, and it is.
    pub(super) drained: Cancellation,
    /// One per robot.
    pub(super) watchdogs: Vec<Watchdog>,
    /// The number of robots that claim, process or report. While it is not zero, a retry copy may be added to the queue.
    pub(super) active: AtomicUsize,
    /// The number of times that a robot became active.
    pub(super) activations: AtomicUsize,
    pub(super) became_idle: Notify,
    /// Notified when a call shows that the job has lost its lease.
    pub(super) lease_lost: Notify,
    /// Notified when the Orchestrator answers again after an outage, to end all retry delays.
    recovered: watch::Sender<()>,
    key: Mutex<JobKey>,
    fault: OnceLock<String>,
    summary: Mutex<JobSummary>,
    consecutive_exceptions: AtomicU32,
    on_event: Option<OnEvent>,
    #[cfg(feature = "metrics")]
    metrics: super::metrics::TransactionMetrics,
    random: Mutex<fastrand::Rng>,
}

/// A transaction that has ended and whose report is not recorded yet.
#[derive(Debug)]
pub(super) struct FinishedTransaction {
    pub(super) report: Report,
    pub(super) fallback: Option<Fallback>,
    pub(super) remark: Option<String>,
    pub(super) span: Span,
    pub(super) duration: Duration,
}

/// What is reported if the report is refused as invalid.
#[derive(Debug)]
pub(super) enum Fallback {
    /// This result: the time to which an item was to be postponed may have passed.
    Result(TransactionResult),
    /// An ApplicationException with the reason of the refusal: a follow-up may be one that cannot be added.
    WithoutFollowUps { ended_at: Timestamp },
    /// An ApplicationException with the reason of the refusal: the task by which a person is asked cannot be made.
    WithoutTask { ended_at: Timestamp },
}

/// The growing delays between retries of a failing call. They end early when the Orchestrator answers again, so that no
/// robot keeps waiting after a long outage.
pub(super) struct RetryDelays {
    delays: Delays,
    recovered: watch::Receiver<()>,
}

impl RetryDelays {
    /// Resets the delays after a successful call.
    pub(super) fn reset(&mut self, job: &RunningJob) {
        self.delays = job.delays();
    }

    /// Waits for the next delay.
    pub(super) async fn wait(&mut self, job: &RunningJob) {
        let delay = self.delays.next_delay();
        tokio::select! {
            biased;
            Ok(()) = self.recovered.changed() => self.reset(job),
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// How to handle the error of a call.
pub(super) enum ErrorAction {
    /// Retry after a delay.
    Retry,
    /// The job has faulted.
    Fault,
}

impl RunningJob {
    pub(super) fn new(
        orchestrator: Arc<dyn Orchestrator>,
        queue: Arc<str>,
        settings: Settings,
        stop: StopHandle,
        key: JobKey,
        on_event: Option<OnEvent>,
    ) -> Self {
        let random = settings.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        #[cfg(feature = "metrics")]
        let metrics = super::metrics::TransactionMetrics::new(&queue);
        let watchdogs = (0..settings.robots).map(|_| Watchdog::default()).collect();
        let assets = Arc::new(AssetCache::new(orchestrator.clone()));
        Self {
            orchestrator,
            assets,
            queue,
            settings,
            stop,
            drained: Cancellation::default(),
            watchdogs,
            active: AtomicUsize::new(0),
            activations: AtomicUsize::new(0),
            became_idle: Notify::new(),
            lease_lost: Notify::new(),
            recovered: watch::Sender::new(()),
            key: Mutex::new(key),
            fault: OnceLock::new(),
            summary: Mutex::new(JobSummary::new(key)),
            consecutive_exceptions: AtomicU32::new(0),
            on_event,
            #[cfg(feature = "metrics")]
            metrics,
            random: Mutex::new(random),
        }
    }

    pub(super) fn key(&self) -> JobKey {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the key of the new registration after the lease was lost.
    pub(super) fn replace_key(&self, key: JobKey) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        self.summary().job = key;
    }

    pub(super) fn summary(&self) -> MutexGuard<'_, JobSummary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn emit(&self, event: &PerformerEvent) {
        #[cfg(feature = "metrics")]
        self.metrics.record(event);
        if let Some(on_event) = &self.on_event
            && let Err(panic) = catch_panic::call(|| on_event(event))
        {
            log!(warn, panic, "the on_event function panicked");
        }
    }

    pub(super) fn claim_request(&self, robot: Option<u32>, count: usize) -> ClaimRequest {
        ClaimRequest::new(self.queue.clone(), self.key(), count).robot(robot)
    }

    /// A claim that waits for an item.
    pub(super) fn waiting_claim_request(&self, robot: Option<u32>, count: usize) -> ClaimRequest {
        let look_every = self.settings.poll_interval;
        self.claim_request(robot, count).wait(look_every.max(LONGEST_WAIT)).look_every(look_every)
    }

    /// Waits for the answer to a claim of the job `key` that may wait for an item, until a stop is requested. `None`: see
    /// [`give_up`](Self::give_up).
    pub(super) async fn until_stopped<T>(&self, key: JobKey, claim: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(claim);
        tokio::select! {
            biased;
            answer = &mut claim => Some(answer),
            () = self.stop.stop_requested() => self.give_up(key, claim).await,
        }
    }

    /// Ends the wait of a claim of the job `key`. It is not dropped, because it may have been given an item already, unless the
    /// performer is killed and it is not answered then (`None`).
    pub(super) async fn give_up<T>(&self, key: JobKey, claim: impl Future<Output = T>) -> Option<T> {
        let too_late = async {
            self.stop.kill_requested().await;
            tokio::time::sleep(LAST_ANSWER).await;
        };
        tokio::pin!(claim, too_late);
        loop {
            // Repeatedly: the claim may not have arrived yet.
            self.orchestrator.give_up_claims(key);
            tokio::select! {
                biased;
                answer = &mut claim => return Some(answer),
                () = &mut too_late => return None,
                () = tokio::time::sleep(GIVE_UP_AGAIN) => {}
            }
        }
    }

    fn delays(&self) -> Delays {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
        Delays::new(BackoffPolicy::STORE, random)
    }

    pub(super) fn retry_delays(&self) -> RetryDelays {
        RetryDelays { delays: self.delays(), recovered: self.recovered.subscribe() }
    }

    /// The Orchestrator answers again after an outage.
    pub(super) fn notify_recovered(&self) {
        self.recovered.send_replace(());
    }

    /// Stops the performer and ends the job as Faulted after the running transactions. The first reason is kept.
    pub(super) fn fault(&self, reason: String) {
        if self.fault.set(reason).is_ok() {
            log!(error, queue = %self.queue, job = %self.key(), reason = self.fault_reason(), fatal = true, "the job faulted");
        }
        self.stop.stop();
    }

    pub(super) fn fault_reason(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// The circuit breaker: counts consecutive ApplicationExceptions over all robots of the job. A success or a
    /// BusinessException resets the count.
    pub(super) fn count_outcome(&self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::ApplicationException) => {
                let count = self.consecutive_exceptions.fetch_add(1, Ordering::Relaxed) + 1;
                let limit = self.settings.max_consecutive_exceptions;
                if limit > 0 && count >= limit {
                    self.fault(format!("{count} application exceptions in a row"));
                }
            }
            Some(_) => self.consecutive_exceptions.store(0, Ordering::Relaxed),
            None => {}
        }
    }

    /// Checks the follow-ups of a report before it is made.
    ///
    /// # Errors
    ///
    /// Why nothing of them can be added.
    pub(super) fn check_follow_ups(&self, report: &Report) -> std::result::Result<(), String> {
        if report.follow_ups.is_empty() {
            return Ok(());
        }
        if !self.orchestrator.supports_follow_ups() {
            return Err("this back end does not add follow-up items".to_owned());
        }
        report.follow_ups.validate(&report.result).map_err(|refusal| refusal.to_string())
    }

    /// Checks the task by which a person is asked, before it is sent.
    pub(super) fn check_ask(&self, task: &NewTask) -> Result<(), String> {
        if !self.orchestrator.supports_asking() {
            return Err("this back end has no tasks".to_owned());
        }
        task.validate().map_err(|refusal| refusal.to_string())
    }

    /// The outcome of a transaction, from the answer to its report. `None`: retry the report after a delay.
    pub(super) fn resolve_report(
        &self,
        finished: &mut FinishedTransaction,
        answer: Result<Status>,
    ) -> Option<TransactionOutcome> {
        let _entered = finished.span.enter();
        let result = &finished.report.result;
        let outcome = match answer {
            Ok(status) => outcome_of(result, status),
            Err(error) if error.is_claim_lost() => {
                log!(warn, %error, "the claim was lost; the result changed nothing");
                TransactionOutcome::ClaimLost
            }
            Err(error) => match (error.kind(), finished.fallback.take()) {
                (ErrorKind::Invalid, Some(fallback)) => {
                    finished.report.result = match fallback {
                        Fallback::Result(fallback) => {
                            log!(warn, %error, "the item could not be postponed");
                            fallback
                        }
                        Fallback::WithoutFollowUps { ended_at } => {
                            log!(warn, %error, "the success and its follow-up items were refused");
                            outcome::success_refused(&error.to_string(), ended_at).result
                        }
                        Fallback::WithoutTask { ended_at } => {
                            log!(warn, %error, "the task was refused, so nobody is asked");
                            outcome::ask_refused(&error.to_string(), ended_at).result
                        }
                    };
                    finished.report.follow_ups = FollowUps::default();
                    finished.report.ask = None;
                    self.count_outcome(finished.report.result.outcome());
                    return None;
                }
                // Reports are idempotent: the claim fences them.
                (ErrorKind::Unavailable | ErrorKind::Unknown, fallback) => {
                    finished.fallback = fallback;
                    log!(debug, %error, "the report failed; retrying");
                    return None;
                }
                _ => {
                    self.fault(format!("a result could not be recorded: {}", error.with_causes()));
                    TransactionOutcome::NotRecorded
                }
            },
        };
        if !finished.report.follow_ups.is_empty() {
            self.count_outcome(finished.report.result.outcome());
        }
        self.log_outcome(finished, outcome);
        Some(outcome)
    }

    /// Counts the outcome of a transaction and emits its event.
    pub(super) fn transaction_ended(&self, finished: &FinishedTransaction, outcome: TransactionOutcome) {
        transaction_span::outcome_known(finished, outcome);
        self.summary().count(outcome, finished.duration);
        let (item, duration) = (finished.report.claim.item(), finished.duration);
        self.emit(&PerformerEvent::TransactionEnded { item, outcome, duration });
    }

    /// Logs the outcome of a transaction. Business exceptions are expected, so they are logged at INFO.
    fn log_outcome(&self, finished: &FinishedTransaction, outcome: TransactionOutcome) {
        let (reason, details) = match &finished.report.result {
            TransactionResult::Failed { exception: Some(exception), .. } => {
                (Some(exception.reason.as_str()), exception.details.as_deref())
            }
            _ => (None, None),
        };
        if let Some(remark) = &finished.remark {
            log!(warn, remark, "the output was not stored");
        }
        match outcome {
            TransactionOutcome::Successful => log!(debug, "successful"),
            TransactionOutcome::BusinessException => log!(info, reason, details, "business exception"),
            TransactionOutcome::ApplicationException => {
                log!(error, reason, details, "application exception, no retry left");
            }
            TransactionOutcome::Retried => {
                log!(warn, reason, details, "application exception, will be retried");
            }
            TransactionOutcome::Postponed => log!(info, "postponed"),
            TransactionOutcome::GivenBack => log!(info, "given back"),
            TransactionOutcome::ClaimLost | TransactionOutcome::NotRecorded => {} // logged by the caller
        }
    }

    /// Records the result of a sweep by this performer.
    pub(super) fn record_sweep(&self, swept: &Swept) {
        if swept.abandoned > 0 || !swept.jobs.is_empty() {
            self.summary().abandoned_of_others += swept.abandoned;
            log!(warn, jobs = ?swept.jobs, abandoned = swept.abandoned, "swept disconnected jobs; their items are abandoned");
        }
    }

    /// Handles the error of a claim.
    pub(super) fn claim_failed(&self, error: &OrchestratorError) -> ErrorAction {
        match error.kind() {
            ErrorKind::ClaimLost => {
                self.lease_lost.notify_one();
                ErrorAction::Retry
            }
            ErrorKind::Unavailable | ErrorKind::Unknown => ErrorAction::Retry,
            _ => {
                self.fault(format!("queue {:?} cannot be read: {}", self.queue, error.with_causes()));
                ErrorAction::Fault
            }
        }
    }
}

fn outcome_of(result: &TransactionResult, status: Status) -> TransactionOutcome {
    match result {
        TransactionResult::Postponed { .. } => TransactionOutcome::Postponed,
        TransactionResult::GivenBack => TransactionOutcome::GivenBack,
        TransactionResult::Successful { .. } => TransactionOutcome::Successful,
        TransactionResult::Failed { .. } if status == Status::Retried => TransactionOutcome::Retried,
        TransactionResult::Failed { .. } if result.outcome() == Some(Outcome::BusinessException) => {
            TransactionOutcome::BusinessException
        }
        TransactionResult::Failed { .. } => TransactionOutcome::ApplicationException,
    }
}
