//! The running job: what its robots share.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::Settings;
use super::event::{Ending, PerformerEvent};
use super::guard::{self, log};
use super::stop::StopHandle;
use super::summary::JobSummary;
use super::watch::Watch;
use crate::backoff::{BackoffPolicy, Delays};
use crate::model::key::JobKey;
use crate::model::result::{Outcome, TransactionResult};
use crate::model::status::Status;
use crate::orchestrator::{ErrorKind, Orchestrator, OrchestratorError, Report, Result, Swept, Take};

pub(super) type OnEvent = Arc<dyn Fn(&PerformerEvent) + Send + Sync>;

pub(super) struct RunningJob {
    pub(super) orchestrator: Arc<dyn Orchestrator>,
    pub(super) queue: Arc<str>,
    pub(super) settings: Settings,
    pub(super) stop: StopHandle,
    /// The queue has nothing more, and that is what the performer runs for.
    pub(super) drained: CancellationToken,
    /// One a robot.
    pub(super) watches: Vec<Watch>,
    /// Robots that take, process or report. While there are any, the queue may get a retry copy.
    pub(super) active: AtomicUsize,
    /// How often a robot became active.
    pub(super) activations: AtomicUsize,
    pub(super) became_idle: Notify,
    /// Somebody saw that the job has lost its lease.
    pub(super) lease_lost: Notify,
    /// Sent to when the Orchestrator answers again after it did not: nobody waits longer then.
    answers_again: watch::Sender<()>,
    key: Mutex<JobKey>,
    fault: OnceLock<String>,
    summary: Mutex<JobSummary>,
    consecutive: AtomicU32,
    on_event: Option<OnEvent>,
    random: Mutex<fastrand::Rng>,
}

/// A transaction that has ended, until its report is recorded.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) report: Report,
    pub(super) instead: Option<TransactionResult>,
    pub(super) remark: Option<String>,
    pub(super) span: Span,
    pub(super) duration: Duration,
}

/// The pauses between calls that fail. They grow, and end when it is known that the Orchestrator answers again: after a
/// long outage nobody sleeps on.
pub(super) struct Pauses {
    delays: Delays,
    answers_again: watch::Receiver<()>,
}

impl Pauses {
    /// A call succeeded: the next pause is short.
    pub(super) fn start_anew(&mut self, job: &RunningJob) {
        self.delays = job.delays();
    }

    pub(super) async fn pause(&mut self, job: &RunningJob) {
        let delay = self.delays.next();
        tokio::select! {
            biased;
            Ok(()) = self.answers_again.changed() => self.start_anew(job),
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// What is to be done about an error of a call.
pub(super) enum Verdict {
    /// Ask again after a while.
    Again,
    /// The performer cannot go on.
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
        let watches = (0..settings.robots).map(|_| Watch::default()).collect();
        Self {
            orchestrator,
            queue,
            settings,
            stop,
            drained: CancellationToken::new(),
            watches,
            active: AtomicUsize::new(0),
            activations: AtomicUsize::new(0),
            became_idle: Notify::new(),
            lease_lost: Notify::new(),
            answers_again: watch::Sender::new(()),
            key: Mutex::new(key),
            fault: OnceLock::new(),
            summary: Mutex::new(JobSummary::new(key)),
            consecutive: AtomicU32::new(0),
            on_event,
            random: Mutex::new(random),
        }
    }

    pub(super) fn key(&self) -> JobKey {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job was registered again, after its lease was lost.
    pub(super) fn renew(&self, key: JobKey) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        self.summary().job = key;
    }

    pub(super) fn summary(&self) -> MutexGuard<'_, JobSummary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn emit(&self, event: &PerformerEvent) {
        if let Some(on_event) = &self.on_event
            && let Err(panic) = guard::call(|| on_event(event))
        {
            log!(warn, panic, "the function for events panicked");
        }
    }

    pub(super) fn take(&self, robot: Option<u32>, count: usize) -> Take {
        Take { queue: self.queue.clone(), job: self.key(), robot, count, reference: None }
    }

    fn delays(&self) -> Delays {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
        Delays::new(BackoffPolicy::STORE, random)
    }

    pub(super) fn pauses(&self) -> Pauses {
        Pauses { delays: self.delays(), answers_again: self.answers_again.subscribe() }
    }

    /// The Orchestrator answers again after it did not.
    pub(super) fn answers_again(&self) {
        self.answers_again.send_replace(());
    }

    /// The performer cannot go on: it finishes what runs and ends Faulted. The first reason is kept.
    pub(super) fn fault(&self, reason: String) {
        if self.fault.set(reason).is_ok() {
            log!(error, queue = %self.queue, job = %self.key(), reason = self.fault_reason(), fatal = true, "faulted");
        }
        self.stop.stop();
    }

    pub(super) fn fault_reason(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// The circuit breaker: counts ApplicationExceptions in a row, over all robots of the job. A success or a
    /// BusinessException starts the count anew.
    pub(super) fn outcome(&self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::ApplicationException) => {
                let in_a_row = self.consecutive.fetch_add(1, Ordering::Relaxed) + 1;
                let limit = self.settings.max_consecutive_exceptions;
                if limit > 0 && in_a_row >= limit {
                    self.fault(format!("{in_a_row} application exceptions in a row"));
                }
            }
            Some(_) => self.consecutive.store(0, Ordering::Relaxed),
            None => {}
        }
    }

    /// What the answer to a report means. `None`: report again after a while.
    pub(super) fn settle(&self, finished: &mut Finished, answer: Result<Status>) -> Option<Ending> {
        let _entered = finished.span.enter();
        let result = &finished.report.result;
        let ending = match answer {
            Ok(status) => ending_of(result, status),
            Err(error) if error.is_claim_lost() => {
                log!(warn, %error, "the claim was lost; the result changed nothing");
                Ending::ClaimLost
            }
            Err(error) => match (error.kind(), finished.instead.take()) {
                (ErrorKind::Invalid, Some(instead)) => {
                    log!(warn, %error, "the item could not be postponed");
                    finished.report.result = instead;
                    return None;
                }
                // The fenced report may be repeated: recorded twice is recorded once.
                (ErrorKind::Unavailable | ErrorKind::Unknown, instead) => {
                    finished.instead = instead;
                    log!(debug, %error, "the result is not recorded yet");
                    return None;
                }
                _ => {
                    self.fault(format!("a result could not be recorded: {}", error.with_causes()));
                    Ending::NotRecorded
                }
            },
        };
        self.log(finished, ending);
        Some(ending)
    }

    /// Tells everybody what became of a transaction.
    pub(super) fn ended(&self, finished: &Finished, ending: Ending) {
        self.summary().count(ending, finished.duration);
        let (item, duration) = (finished.report.claim.item(), finished.duration);
        self.emit(&PerformerEvent::TransactionEnded { item, ending, duration });
    }

    /// Each failure is logged here, once. That the data of an item is wrong is nothing to shout about.
    fn log(&self, finished: &Finished, ending: Ending) {
        let (reason, details) = match &finished.report.result {
            TransactionResult::Failed { exception: Some(exception), .. } => {
                (Some(exception.reason.as_str()), exception.details.as_deref())
            }
            _ => (None, None),
        };
        if let Some(remark) = &finished.remark {
            log!(warn, remark, "the output was not stored");
        }
        match ending {
            Ending::Successful => log!(debug, "successful"),
            Ending::BusinessException => log!(info, reason, details, "business exception"),
            Ending::ApplicationException => {
                log!(error, reason, details, "application exception, no retry left");
            }
            Ending::Retried => log!(warn, reason, details, "application exception, will be retried"),
            Ending::Postponed => log!(info, "postponed"),
            Ending::GivenBack => log!(info, "given back"),
            Ending::ClaimLost | Ending::NotRecorded => {} // logged where it was seen
        }
    }

    /// What a sweep of this performer found.
    pub(super) fn swept(&self, swept: &Swept) {
        if swept.abandoned > 0 || !swept.jobs.is_empty() {
            self.summary().abandoned_of_others += swept.abandoned;
            log!(warn, jobs = ?swept.jobs, abandoned = swept.abandoned, "jobs are gone; what they held is abandoned");
        }
    }

    /// What an error of a take, or of any other call of the loop, means.
    pub(super) fn take_failed(&self, error: &OrchestratorError) -> Verdict {
        match error.kind() {
            ErrorKind::ClaimLost => {
                self.lease_lost.notify_one();
                Verdict::Again
            }
            ErrorKind::Unavailable | ErrorKind::Unknown => Verdict::Again,
            _ => {
                self.fault(format!("queue {:?} cannot be read: {}", self.queue, error.with_causes()));
                Verdict::Fault
            }
        }
    }
}

fn ending_of(result: &TransactionResult, status: Status) -> Ending {
    match result {
        TransactionResult::Postponed { .. } => Ending::Postponed,
        TransactionResult::GivenBack => Ending::GivenBack,
        TransactionResult::Successful { .. } => Ending::Successful,
        TransactionResult::Failed { .. } if status == Status::Retried => Ending::Retried,
        TransactionResult::Failed { .. } if result.outcome() == Some(Outcome::BusinessException) => {
            Ending::BusinessException
        }
        TransactionResult::Failed { .. } => Ending::ApplicationException,
    }
}
