//! The metrics of a performer, through the `metrics` facade: what its transactions do, and how long its store takes.

use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use metrics::{Counter, Gauge, Histogram, SharedString, Unit};
use tokio::time::Instant;

use super::event::{PerformerEvent, TransactionOutcome};
use crate::model::{Claim, ClaimedItem, JobEnd, JobKey, JobState, NewJob};
use crate::orchestrator::{
    ClaimRequest, Decorator, Orchestrator, Report, ReportAndClaimAnswer, Result, Swept,
};

const STARTED: &str = "performer_transactions_started_total";
const ENDED: &str = "performer_transactions_ended_total";
const DURATION: &str = "performer_transaction_duration_seconds";
const HELD: &str = "performer_items_held";
const WAITING: &str = "performer_item_waiting_seconds";
const CALLS: &str = "performer_call_duration_seconds";

/// Tells the recorder what each metric is, once.
fn describe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        metrics::describe_counter!(STARTED, Unit::Count, "Transactions that a robot has started.");
        metrics::describe_counter!(ENDED, Unit::Count, "Claimed items whose outcome is known, by outcome. given_back includes items that were not started.");
        metrics::describe_histogram!(DURATION, Unit::Seconds, "How long transactions took, by outcome.");
        metrics::describe_gauge!(HELD, Unit::Count, "Items that are claimed and not reported yet.");
        metrics::describe_histogram!(
            WAITING,
            Unit::Seconds,
            "How long items waited: from their creation or DeferDate until they were claimed."
        );
        metrics::describe_histogram!(
            CALLS,
            Unit::Seconds,
            "How long the store took to answer, by operation and result (ok or error)."
        );
    });
}

/// The metrics of the transactions of one performer. The recorder is asked for them once, when it starts.
pub(super) struct TransactionMetrics {
    started: Counter,
    successful: OutcomeMetrics,
    business_exception: OutcomeMetrics,
    application_exception: OutcomeMetrics,
    retried: OutcomeMetrics,
    postponed: OutcomeMetrics,
    given_back: OutcomeMetrics,
    claim_lost: OutcomeMetrics,
    not_recorded: OutcomeMetrics,
}

/// The metrics of one outcome.
struct OutcomeMetrics {
    ended: Counter,
    durations: Histogram,
}

impl TransactionMetrics {
    pub(super) fn new(queue: &str) -> Self {
        describe();
        let queue = SharedString::from(queue.to_owned());
        let of = |outcome: &'static str| OutcomeMetrics {
            ended: metrics::counter!(ENDED, "queue" => queue.clone(), "outcome" => outcome),
            durations: metrics::histogram!(DURATION, "queue" => queue.clone(), "outcome" => outcome),
        };
        Self {
            started: metrics::counter!(STARTED, "queue" => queue.clone()),
            successful: of("successful"),
            business_exception: of("business_exception"),
            application_exception: of("application_exception"),
            retried: of("retried"),
            postponed: of("postponed"),
            given_back: of("given_back"),
            claim_lost: of("claim_lost"),
            not_recorded: of("not_recorded"),
        }
    }

    pub(super) fn record(&self, event: &PerformerEvent) {
        match event {
            PerformerEvent::TransactionStarted { .. } => self.started.increment(1),
            PerformerEvent::TransactionEnded { outcome, duration, .. } => {
                let OutcomeMetrics { ended, durations } = self.of(*outcome);
                ended.increment(1);
                // An item that was given back from the buffer was not started.
                if *outcome != TransactionOutcome::GivenBack || !duration.is_zero() {
                    durations.record(*duration);
                }
            }
            _ => {}
        }
    }

    fn of(&self, outcome: TransactionOutcome) -> &OutcomeMetrics {
        match outcome {
            TransactionOutcome::Successful => &self.successful,
            TransactionOutcome::BusinessException => &self.business_exception,
            TransactionOutcome::ApplicationException => &self.application_exception,
            TransactionOutcome::Retried => &self.retried,
            TransactionOutcome::Postponed => &self.postponed,
            TransactionOutcome::GivenBack => &self.given_back,
            TransactionOutcome::ClaimLost => &self.claim_lost,
            TransactionOutcome::NotRecorded => &self.not_recorded,
        }
    }
}

/// The Orchestrator of a performer, whose calls are measured.
#[derive(Debug)]
pub(super) struct Measured {
    inner: Arc<dyn Orchestrator>,
    queue: SharedString,
    held: HeldItems,
    waiting: Histogram,
}

/// The gauge of the items that this performer holds; those that it still holds at its end are taken off.
struct HeldItems {
    gauge: Gauge,
    count: std::sync::atomic::AtomicI64,
}

impl std::fmt::Debug for HeldItems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeldItems").field(&self.count).finish()
    }
}

impl HeldItems {
    #[expect(clippy::cast_precision_loss, reason = "a number of items in memory")]
    fn add(&self, items: i64) {
        self.count.fetch_add(items, std::sync::atomic::Ordering::Relaxed);
        self.gauge.increment(items as f64);
    }
}

impl Drop for HeldItems {
    fn drop(&mut self) {
        let left = *self.count.get_mut();
        self.add(-left);
    }
}

impl Measured {
    pub(super) fn new(inner: Arc<dyn Orchestrator>, queue: &str) -> Self {
        describe();
        let queue = SharedString::from(queue.to_owned());
        let gauge = metrics::gauge!(HELD, "queue" => queue.clone());
        let held = HeldItems { gauge, count: 0.into() };
        let waiting = metrics::histogram!(WAITING, "queue" => queue.clone());
        Self { inner, queue, held, waiting }
    }

    fn claimed(&self, items: &[ClaimedItem]) {
        self.held.add(i64::try_from(items.len()).unwrap_or(i64::MAX));
        for ClaimedItem { item, .. } in items {
            let eligible = item.defer_date.map_or(item.creation_time, |defer| defer.max(item.creation_time));
            let waited = item.start_processing.map(|claimed| claimed.duration_since(eligible));
            let waited = waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default();
            self.waiting.record(waited);
        }
    }

    /// Measures one call.
    async fn measured<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let started = Instant::now();
        let answer = call.await;
        self.record_call(operation, started, answer.is_ok());
        answer
    }

    fn record_call(&self, operation: &'static str, started: Instant, is_ok: bool) {
        let (queue, result) = (self.queue.clone(), if is_ok { "ok" } else { "error" });
        metrics::histogram!(CALLS, "queue" => queue, "operation" => operation, "result" => result)
            .record(started.elapsed());
    }
}

/// [`wait_for_items`](Orchestrator::wait_for_items) is not measured, nor a claim that waits for an item: they take as long as there is
/// nothing to do.
#[async_trait]
impl Decorator for Measured {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.inner
    }

    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        self.measured("start_job", self.inner.start_job(job)).await
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        self.measured("beat", self.inner.beat(job)).await
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        self.measured("end_job", self.inner.end_job(job, end)).await
    }

    async fn sweep(&self) -> Result<Swept> {
        self.measured("sweep", self.inner.sweep()).await
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let started = Instant::now();
        let answer = self.inner.report_and_claim(reports, request).await;
        let is_ok = answer.claimed.is_ok() && answer.reports.iter().all(Result::is_ok);
        let waited = answer.claimed.as_ref().is_ok_and(|claimed| claimed.waited);
        if !waited {
            self.record_call("report_and_claim", started, is_ok);
        }
        // A report that failed for another reason is sent again.
        let done = |report: &&Result<_>| report.as_ref().map_or_else(|error| error.is_claim_lost(), |_| true);
        let done = answer.reports.iter().filter(done).count();
        self.held.add(-i64::try_from(done).unwrap_or(i64::MAX));
        if let Ok(claimed) = &answer.claimed {
            self.claimed(&claimed.items);
        }
        answer
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        self.measured("set_transaction_progress", self.inner.set_transaction_progress(claim, progress)).await
    }
}
