//! A buffer of items claimed ahead, whose reports are recorded in batches.
//!
//! One task, the prefetcher, calls the Orchestrator for all robots of the job: each of its calls records all reports that
//! are queued and refills the buffer. So a robot waits neither for its report nor for its next item, and one commit covers
//! many of both. Where the Orchestrator handles several calls concurrently, the prefetcher makes as many, and each claims
//! a part of the buffer. The cost: when the process dies, the items in the buffer and those whose reports were in flight
//! are Abandoned. `claim_ahead` limits the number of each.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::Span;

use super::catch_panic::log;
use super::event::TransactionOutcome;
use super::item_source::ReceivedItem;
use super::job::{ErrorAction, FinishedTransaction, RetryDelays, RunningJob};
use super::parked_claim::{ParkedClaim, answered};
use crate::model::{Status, TransactionResult};
use crate::orchestrator::{ClaimedItems, Report, ReportAndClaimAnswer, Result, Seen};

/// A robot's access to the buffer.
#[derive(Clone)]
pub(super) struct PrefetchHandle {
    job: Arc<RunningJob>,
    buffer: Arc<Buffer>,
    reports: mpsc::UnboundedSender<QueuedReport>,
}

/// A report to be recorded. Its permit limits the number of reports in flight.
struct QueuedReport {
    finished: FinishedTransaction,
    permit: Option<OwnedSemaphorePermit>,
}

struct Buffer {
    items: Mutex<VecDeque<ReceivedItem>>,
    /// As many permits as items; closed when no more items will follow.
    available: Semaphore,
    /// Notified when an item was removed from the buffer.
    consumed: Notify,
    report_permits: Arc<Semaphore>,
}

impl Buffer {
    fn items(&self) -> std::sync::MutexGuard<'_, VecDeque<ReceivedItem>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates the buffer of a job, and the prefetcher that must run next to its robots.
pub(super) fn buffer(job: Arc<RunningJob>, size: usize) -> (PrefetchHandle, Prefetcher) {
    let buffer = Arc::new(Buffer {
        items: Mutex::default(),
        available: Semaphore::new(0),
        consumed: Notify::new(),
        report_permits: Arc::new(Semaphore::new(size)),
    });
    let (reports, queued) = mpsc::unbounded_channel();
    let handle = PrefetchHandle { job: job.clone(), buffer: buffer.clone(), reports };
    let max_calls = job.orchestrator.max_concurrent_calls().max(1);
    let waits = !job.settings.until_empty; // an answer has to show that the queue is empty
    let prefetcher = Prefetcher {
        job,
        buffer,
        size,
        max_calls,
        calls: CallsInFlight::default(),
        parked: None,
        waits,
        started_calls: 0,
        requested_items: 0,
        queued,
        pending: Vec::new(),
        one_at_a_time: false,
        empty_at: None,
        poll_after: Duration::ZERO,
        unrecorded: 0,
        outage_logged: false,
    };
    (handle, prefetcher)
}

impl PrefetchHandle {
    pub(super) async fn claim(&mut self) -> Option<ReceivedItem> {
        loop {
            self.buffer.available.acquire().await.ok()?.forget();
            if self.job.stop.is_stop_requested() {
                return None; // the prefetcher gives back the items in the buffer
            }
            let Some(received) = self.buffer.items().pop_front() else { continue };
            self.buffer.consumed.notify_one();
            if received.claimed.claim.job() == self.job.key() {
                return Some(received);
            }
            // Claimed before the job lost its lease: another robot may process it already.
            self.report(unstarted(&received)).await;
        }
    }

    pub(super) async fn report(&mut self, finished: FinishedTransaction) {
        let permit = self.buffer.report_permits.clone().acquire_owned().await.ok();
        // The prefetcher outlives the robots. If it has panicked, the job is Faulted and the item will be Abandoned.
        let _ = self.reports.send(QueuedReport { finished, permit });
    }
}

/// The report on an item that no robot has started to process.
fn unstarted(received: &ReceivedItem) -> FinishedTransaction {
    FinishedTransaction {
        report: Report::new(received.claimed.claim, TransactionResult::GivenBack),
        fallback: None,
        remark: None,
        span: Span::none(),
        duration: Duration::ZERO,
    }
}

/// Releases the robots that wait for items, even if the prefetcher panics.
impl Drop for Prefetcher {
    fn drop(&mut self) {
        self.buffer.available.close();
    }
}

pub(super) struct Prefetcher {
    job: Arc<RunningJob>,
    buffer: Arc<Buffer>,
    size: usize,
    max_calls: usize,
    calls: CallsInFlight,
    /// The claim that waits for an item of an empty queue, beside those calls.
    parked: Option<ParkedClaim>,
    /// A claim waits for an item: the back end supports it, as far as is known.
    waits: bool,
    /// The number of calls started so far.
    started_calls: u64,
    /// The number of items that the calls in flight are to claim.
    requested_items: usize,
    queued: mpsc::UnboundedReceiver<QueuedReport>,
    pending: Vec<QueuedReport>,
    /// Set when the last claim found nothing: only a call without others in flight can show that the queue is empty.
    one_at_a_time: bool,
    /// The store's change counter when the queue was found empty; `None` while it may have items.
    empty_at: Option<Seen>,
    /// How long to wait for a change of an empty queue before polling it.
    poll_after: Duration,
    /// The number of claimed items whose reports are not recorded yet.
    unrecorded: usize,
    outage_logged: bool,
}

/// The maximum number of reports in one call.
const MAX_REPORTS: usize = 4_096;

/// The calls in flight.
#[derive(Default)]
struct CallsInFlight(Vec<Pin<Box<dyn Future<Output = CompletedCall> + Send>>>);

/// A call that has ended.
struct CompletedCall {
    queued: Vec<QueuedReport>,
    wanted: usize,
    answer: ReportAndClaimAnswer,
    /// The performer had been killed before the call was made: its failed reports are not retried.
    last_attempt: bool,
    /// The number of this call, if no other was in flight when it was made.
    only_call: Option<u64>,
}

impl CallsInFlight {
    /// Waits for the next call to complete. Calls are polled in the order in which they were started.
    async fn next(&mut self) -> CompletedCall {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// Returns a completed call, if there is one. This also polls new calls for the first time, which sends them.
    async fn try_next(&mut self) -> Option<CompletedCall> {
        let poll_once = |context: &mut Context<'_>| match self.poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => Poll::Ready(None),
        };
        std::future::poll_fn(poll_once).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<CompletedCall> {
        let mut ended = None;
        for (at, call) in self.0.iter_mut().enumerate() {
            if let Poll::Ready(answer) = call.as_mut().poll(context) {
                ended = Some((at, answer));
                break;
            }
        }
        let Some((at, answer)) = ended else { return Poll::Pending };
        drop(self.0.remove(at));
        Poll::Ready(answer)
    }
}

/// The reports of a completed call, each with its answer.
#[derive(Default)]
struct ReportAnswers {
    reports: Vec<(QueuedReport, Result<Status>)>,
    last_attempt: bool,
}

impl Prefetcher {
    pub(super) async fn run(mut self) {
        let mut retry_delays = self.job.retry_delays();
        // Processed while the next calls are in flight, so that neither the store nor the robots wait for it.
        let mut answers = ReportAnswers::default();
        loop {
            self.receive();
            if self.should_end() {
                if let Some(parked) = self.parked.take() {
                    let (wanted, claimed) = parked.give_up(&self.job).await;
                    self.finish_parked(wanted, claimed);
                }
                self.give_back();
                let nothing_left = self.pending.is_empty()
                    && self.queued.is_empty()
                    && self.calls.0.is_empty()
                    && answers.reports.is_empty();
                if nothing_left && self.no_more_reports() {
                    return;
                }
            }
            while self.start_call() {}
            let is_idle = self.calls.0.is_empty();
            let ended = if !answers.reports.is_empty() {
                self.calls.try_next().await
            } else if is_idle {
                self.wait().await;
                continue;
            } else {
                let Some(ended) = self.wait_for_call().await else { continue };
                Some(ended)
            };
            let call_ended = ended.is_some();
            let mut done = self.resolve_reports(std::mem::take(&mut answers));
            if let Some(ended) = ended {
                done &= self.finish_call(ended, &mut answers);
            }
            if !done {
                // The calls in flight may bring items that robots wait for.
                while !self.calls.0.is_empty() {
                    let ended = self.calls.next().await;
                    self.resolve_reports(std::mem::take(&mut answers));
                    self.finish_call(ended, &mut answers);
                }
                self.pause(&mut retry_delays).await;
            } else if call_ended || is_idle {
                retry_delays.reset(&self.job);
            }
        }
    }

    /// Receives the reports that robots have sent.
    fn receive(&mut self) {
        while self.pending.len() < MAX_REPORTS
            && let Ok(queued) = self.queued.try_recv()
        {
            self.pending.push(queued);
        }
    }

    fn should_end(&self) -> bool {
        self.job.stop.is_stop_requested() || self.job.drained.is_cancelled()
    }

    /// Whether every robot has ended or, after a kill, all that are left run user code that ignores it.
    fn no_more_reports(&self) -> bool {
        let stuck = self.job.watchdogs.iter().filter(|watchdog| watchdog.is_running_user_code()).count();
        self.queued.is_closed()
            || self.job.stop.is_kill_requested() && self.queued.sender_strong_count() <= stuck
    }

    /// The number of items that one call claims. One chunk more than there are calls fits into the buffer, so that robots
    /// have work while all calls are in flight.
    fn chunk_size(&self) -> usize {
        self.size.div_ceil(self.max_calls + 1)
    }

    /// The number of items that the next call claims: a chunk, if the buffer has room for it. An empty queue is tried again
    /// only with a report, which may add a retry copy, or after a change.
    fn wanted(&self) -> usize {
        let free = self.size.saturating_sub(self.buffer.items().len() + self.requested_items);
        let may_have_items = self.empty_at.is_none() || !self.pending.is_empty();
        if free >= self.chunk_size() && may_have_items && !self.should_end() { self.chunk_size() } else { 0 }
    }

    /// Starts a call with the pending reports and the wanted items, and returns whether it did. While other calls are in
    /// flight, it waits until there is enough for a whole chunk.
    fn start_call(&mut self) -> bool {
        let is_first = self.calls.0.is_empty();
        if self.calls.0.len() >= self.max_calls || !is_first && self.one_at_a_time {
            return false;
        }
        let wanted = self.wanted();
        let has_enough =
            if is_first { !self.pending.is_empty() } else { self.pending.len() >= self.chunk_size() };
        if wanted == 0 && !has_enough {
            return false;
        }
        let now = self.pending.len().min(MAX_REPORTS);
        let later = self.pending.split_off(now);
        let queued = std::mem::replace(&mut self.pending, later);
        let reports: Vec<Report> = queued.iter().map(|queued| queued.finished.report.clone()).collect();
        let take = (wanted > 0).then(|| self.job.claim_request(None, wanted));
        self.started_calls += 1;
        self.requested_items += wanted;
        let only_call = is_first.then_some(self.started_calls);
        let (orchestrator, last_attempt) = (self.job.orchestrator.clone(), self.job.stop.is_kill_requested());
        self.calls.0.push(Box::pin(async move {
            let answer = orchestrator.report_and_claim(reports, take).await;
            CompletedCall { queued, wanted, answer, last_attempt, only_call }
        }));
        true
    }

    /// Starts a claim that waits for an item, if none does and the buffer has room.
    fn park(&mut self) {
        let free = self.size.saturating_sub(self.buffer.items().len() + self.requested_items);
        let wanted = self.chunk_size();
        if self.parked.is_none() && free >= wanted {
            self.requested_items += wanted;
            self.parked = Some(ParkedClaim::start(&self.job, wanted));
        }
    }

    /// Handles the answer to the claim that has waited for an item.
    fn finish_parked(&mut self, wanted: usize, claimed: Result<ClaimedItems>) {
        self.requested_items -= wanted;
        match claimed {
            Ok(claimed) if claimed.items.is_empty() => {
                self.waits &= claimed.waited;
                self.empty_at = Some(claimed.seen);
            }
            // The next call meets the same error, and is repeated after a delay.
            Err(_) => self.empty_at = None,
            claimed => {
                self.fill(claimed, &mut ReportAnswers::default(), false);
            }
        }
    }

    /// Waits until a call has completed, or until another one may be started.
    async fn wait_for_call(&mut self) -> Option<CompletedCall> {
        let ending = self.should_end();
        let may_start = self.calls.0.len() < self.max_calls && !self.one_at_a_time;
        tokio::select! {
            biased;
            ended = self.calls.next() => Some(ended),
            (wanted, claimed) = answered(&mut self.parked) => {
                self.finish_parked(wanted, claimed);
                None
            }
            Some(queued) = self.queued.recv(), if may_start => {
                self.pending.push(queued);
                None
            }
            () = self.job.stop.stop_requested(), if may_start && !ending => None,
            () = self.buffer.consumed.notified(), if may_start && !ending => None,
        }
    }

    /// Handles a completed call: puts its items into the buffer at once, and leaves its answers to reports for later. Returns
    /// false if the claim is to be retried.
    fn finish_call(&mut self, ended: CompletedCall, answers: &mut ReportAnswers) -> bool {
        let CompletedCall { queued, wanted, answer, last_attempt, only_call } = ended;
        self.requested_items -= wanted;
        let release = |(queued, answer): (QueuedReport, Result<Status>)| {
            let permit = queued.permit.filter(|_| answer.is_err());
            (QueuedReport { permit, ..queued }, answer)
        };
        *answers = ReportAnswers {
            reports: queued.into_iter().zip(answer.reports).map(release).collect(),
            last_attempt,
        };
        wanted == 0 || self.fill(answer.claimed, answers, only_call == Some(self.started_calls))
    }

    /// Handles the answers to reports. Returns false if some reports are to be retried.
    fn resolve_reports(&mut self, answers: ReportAnswers) -> bool {
        let ReportAnswers { reports, last_attempt } = answers;
        let mut all_recorded = true;
        for (mut queued, answer) in reports {
            let replaced = queued.finished.fallback.is_some();
            let outcome = self.job.resolve_report(&mut queued.finished, answer);
            let replaced = replaced && queued.finished.fallback.is_none(); // the fallback is not reported yet
            match outcome.or((last_attempt && !replaced).then_some(TransactionOutcome::NotRecorded)) {
                Some(outcome) => {
                    self.unrecorded = self.unrecorded.saturating_sub(1);
                    self.job.transaction_ended(&queued.finished, outcome);
                }
                None => {
                    all_recorded = false;
                    self.pending.push(queued);
                }
            }
        }
        all_recorded
    }

    /// Puts claimed items into the buffer. `only_call`: no other call was in flight that could have added a retry copy.
    fn fill(&mut self, claimed: Result<ClaimedItems>, answers: &mut ReportAnswers, only_call: bool) -> bool {
        match claimed {
            Ok(ClaimedItems { items, seen, withheld, .. }) => {
                self.outage_logged = false;
                self.one_at_a_time = items.is_empty();
                self.empty_at = (items.is_empty() && only_call).then_some(seen);
                let poll_interval = self.job.settings.poll_interval;
                self.poll_after = withheld.map_or(poll_interval, |time| time.min(poll_interval));
                let count = items.len();
                self.unrecorded += count;
                self.buffer.items().extend(items.into_iter().map(ReceivedItem::now));
                self.buffer.available.add_permits(count);
                if count > 0 || !only_call || withheld.is_some() || !self.job.settings.until_empty {
                    return true;
                }
                // The reports of this call were recorded before its claim, so nothing can add a retry copy any more.
                let all_recorded = self.resolve_reports(std::mem::take(answers));
                if self.unrecorded == 0 {
                    self.job.drained.cancel();
                }
                all_recorded
            }
            Err(error) => {
                if let ErrorAction::Retry = self.job.claim_failed(&error)
                    && !std::mem::replace(&mut self.outage_logged, true)
                {
                    log!(warn, queue = %self.job.queue, %error, "items cannot be claimed; retrying");
                }
                false
            }
        }
    }

    /// Closes the buffer and gives back the items in it.
    fn give_back(&mut self) {
        self.buffer.available.close();
        let items: Vec<_> = self.buffer.items().drain(..).collect();
        let given_back = items.iter().map(|item| QueuedReport { finished: unstarted(item), permit: None });
        self.pending.extend(given_back);
    }

    async fn wait(&mut self) {
        let (job, seen) = (self.job.clone(), self.empty_at);
        let (ending, killed) = (self.should_end(), self.job.stop.is_kill_requested());
        if self.waits && seen.is_some() && !ending {
            self.park();
        }
        let polls = seen.is_some() && !ending && self.parked.is_none();
        tokio::select! {
            biased;
            (wanted, claimed) = answered(&mut self.parked) => self.finish_parked(wanted, claimed),
            queued = self.queued.recv() => match queued {
                Some(queued) => self.pending.push(queued),
                // Every robot has ended.
                None => job.drained.cancel(),
            },
            () = job.stop.stop_requested(), if !ending => {}
            () = job.stop.kill_requested(), if !killed => {}
            () = tokio::time::sleep(Duration::from_millis(100)), if killed => {}
            () = self.buffer.consumed.notified(), if !ending && seen.is_none() => {}
            () = job.orchestrator.wait_for_items(&job.queue, seen.unwrap_or_default(), self.poll_after),
                if polls => self.empty_at = None,
        }
    }

    async fn pause(&mut self, retry_delays: &mut RetryDelays) {
        let stopping = self.job.stop.is_stop_requested();
        tokio::select! {
            biased;
            () = self.job.stop.kill_requested() => {}
            () = self.job.stop.stop_requested(), if !stopping => {}
            () = retry_delays.wait(&self.job) => {}
        }
    }
}
