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
        metrics::describe_counter!(ENDED, Unit::Count, "Transactions whose outcome is known, by outcome.");
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
    ended: Vec<(TransactionOutcome, Counter, Histogram)>,
}

impl TransactionMetrics {
    pub(super) fn new(queue: &str) -> Self {
        describe();
        let queue = SharedString::from(queue.to_owned());
        let of = |(outcome, name): (TransactionOutcome, &'static str)| {
            let ended = metrics::counter!(ENDED, "queue" => queue.clone(), "outcome" => name);
            (outcome, ended, metrics::histogram!(DURATION, "queue" => queue.clone(), "outcome" => name))
        };
        Self {
            started: metrics::counter!(STARTED, "queue" => queue.clone()),
            ended: OUTCOMES.into_iter().map(of).collect(),
        }
    }

    pub(super) fn record(&self, event: &PerformerEvent) {
        match event {
            PerformerEvent::TransactionStarted { .. } => self.started.increment(1),
            PerformerEvent::TransactionEnded { outcome, duration, .. } => {
                let of_outcome = self.ended.iter().find(|(known, ..)| known == outcome);
                if let Some((_, ended, durations)) = of_outcome {
                    ended.increment(1);
                    durations.record(*duration);
                }
            }
            _ => {}
        }
    }
}

/// The outcomes, and their names as labels.
const OUTCOMES: [(TransactionOutcome, &str); 8] = [
    (TransactionOutcome::Successful, "successful"),
    (TransactionOutcome::BusinessException, "business_exception"),
    (TransactionOutcome::ApplicationException, "application_exception"),
    (TransactionOutcome::Retried, "retried"),
    (TransactionOutcome::Postponed, "postponed"),
    (TransactionOutcome::GivenBack, "given_back"),
    (TransactionOutcome::ClaimLost, "claim_lost"),
    (TransactionOutcome::NotRecorded, "not_recorded"),
];

/// The Orchestrator of a performer, whose calls are measured.
#[derive(Debug)]
pub(super) struct Measured {
    inner: Arc<dyn Orchestrator>,
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
        let gauge = metrics::gauge!(HELD, "queue" => queue.to_owned());
        let held = HeldItems { gauge, count: 0.into() };
        Self { inner, held, waiting: metrics::histogram!(WAITING, "queue" => queue.to_owned()) }
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
}

/// Measures one call.
async fn measured<T>(operation: &'static str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let started = Instant::now();
    let answer = call.await;
    record_call(operation, started, answer.is_ok());
    answer
}

fn record_call(operation: &'static str, started: Instant, is_ok: bool) {
    let result = if is_ok { "ok" } else { "error" };
    metrics::histogram!(CALLS, "operation" => operation, "result" => result).record(started.elapsed());
}

/// [`wait_for_items`](Orchestrator::wait_for_items) is not measured: it takes as long as there is nothing to do.
#[async_trait]
impl Decorator for Measured {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.inner
    }

    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        measured("start_job", self.inner.start_job(job)).await
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        measured("beat", self.inner.beat(job)).await
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        measured("end_job", self.inner.end_job(job, end)).await
    }

    async fn sweep(&self) -> Result<Swept> {
        measured("sweep", self.inner.sweep()).await
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let started = Instant::now();
        let answer = self.inner.report_and_claim(reports, request).await;
        let is_ok = answer.claimed.is_ok() && answer.reports.iter().all(Result::is_ok);
        record_call("report_and_claim", started, is_ok);
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
        measured("set_transaction_progress", self.inner.set_transaction_progress(claim, progress)).await
    }
}
