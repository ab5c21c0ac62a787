//! How a robot claims items and reports their results: with its own calls to the Orchestrator, or through the shared buffer
//! of items claimed ahead (`prefetch.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::catch_panic::log;
use super::event::TransactionOutcome;
use super::job::{ErrorAction, FinishedTransaction, RunningJob};
use super::prefetch::PrefetchHandle;
use crate::model::ClaimedItem;
use crate::orchestrator::{ClaimedItems, Result, Seen};

/// A claimed item and the instant at which this process received it, from which the store's time is extrapolated.
#[derive(Debug)]
pub(super) struct ReceivedItem {
    pub(super) claimed: ClaimedItem,
    pub(super) received_at: Instant,
}

impl ReceivedItem {
    pub(super) fn now(claimed: ClaimedItem) -> Self {
        Self { claimed, received_at: Instant::now() }
    }
}

/// The source of one robot's items.
pub(super) enum ItemSource {
    Direct(DirectSource),
    Prefetched(PrefetchHandle),
}

impl ItemSource {
    /// Waits for the next item. `None` if the robot is to end.
    pub(super) async fn claim(&mut self) -> Option<ReceivedItem> {
        match self {
            Self::Direct(direct) => direct.claim().await.map(ReceivedItem::now),
            Self::Prefetched(buffer) => buffer.claim().await,
        }
    }

    /// Reports a result.
    pub(super) async fn report(&mut self, finished: FinishedTransaction) {
        match self {
            Self::Direct(direct) => direct.report(finished).await,
            Self::Prefetched(buffer) => buffer.report(finished).await,
        }
    }

    /// Reports a result, and claims the next item if one is available without waiting.
    pub(super) async fn report_and_claim(&mut self, finished: FinishedTransaction) -> Option<ReceivedItem> {
        match self {
            Self::Direct(direct) => direct.report_and_claim(finished).await.map(ReceivedItem::now),
            Self::Prefetched(buffer) => {
                buffer.report(finished).await;
                None
            }
        }
    }
}

/// Claims an item when the robot is free: as REFramework does, and the default.
pub(super) struct DirectSource {
    job: Arc<RunningJob>,
    robot: u32,
    /// Held by the one idle robot of the job that polls the queue; the others wait for the lock.
    poll_lock: Arc<Mutex<()>>,
    /// The robot's claims wait for an item. Not if the performer runs until the queue is empty, which an answer has to show,
    /// nor if the back end does not support it: then the robot polls.
    waits: bool,
    active: bool,
}

/// How a robot that polled goes on.
enum Polled {
    Claimed(ClaimedItem),
    /// Its claims can wait again, now that the Orchestrator answers.
    Wait,
    End,
}

impl DirectSource {
    pub(super) fn new(job: Arc<RunningJob>, robot: u32, poll_lock: Arc<Mutex<()>>) -> Self {
        let waits = !job.settings.until_empty;
        Self { job, robot, poll_lock, waits, active: false }
    }

    async fn claim(&mut self) -> Option<ClaimedItem> {
        loop {
            if self.should_end() {
                return None;
            }
            self.set_active(true);
            if let Ok(ClaimedItems { items, waited, .. }) = self.claim_or_wait().await {
                if let Some(item) = items.into_iter().next() {
                    return Some(item);
                }
                self.waits &= waited;
                if self.waits {
                    continue;
                }
            }
            self.set_active(false);
            let poll_lock = self.poll_lock.clone();
            let _poller = tokio::select! {
                biased;
                () = self.job.stop.stop_requested() => return None,
                () = self.job.drained.cancelled() => return None,
                guard = poll_lock.lock() => guard,
            };
            match self.poll_until_claimed().await {
                Polled::Claimed(item) => return Some(item),
                Polled::Wait => {}
                Polled::End => return None,
            }
        }
    }

    /// Claims an item; where claims wait, waits for one.
    async fn claim_or_wait(&self) -> Result<ClaimedItems> {
        if !self.waits {
            return self.try_claim().await;
        }
        let request = self.job.waiting_claim_request(Some(self.robot), 1);
        let claim = self.job.orchestrator.report_and_claim(Vec::new(), Some(request.clone()));
        let answer = self.job.until_stopped(request.job, claim).await;
        answer.map_or_else(|| Ok(ClaimedItems::default()), |answer| answer.claimed)
    }

    /// Polls until it has claimed an item, or its claims can wait. The caller holds the poll lock.
    async fn poll_until_claimed(&mut self) -> Polled {
        let mut retry_delays = self.job.retry_delays();
        let mut outage_logged = false;
        loop {
            if self.should_end() {
                return Polled::End;
            }
            // Registered before the claim, so that a robot that becomes idle between the two is not missed.
            let job = self.job.clone();
            let became_idle = job.became_idle.notified();
            let activations = job.activations.load(Ordering::SeqCst);
            let none_active = || job.active.load(Ordering::SeqCst) == 0;
            let none_was_active = none_active();
            let (seen, withheld) = match self.try_claim().await {
                Ok(ClaimedItems { items, seen, withheld, .. }) => {
                    if let Some(item) = items.into_iter().next() {
                        self.set_active(true);
                        return Polled::Claimed(item);
                    }
                    // No robot was active before or during the claim, so none can have added a retry copy after it.
                    let all_idle = none_was_active
                        && none_active()
                        && job.activations.load(Ordering::SeqCst) == activations;
                    if all_idle && job.settings.until_empty && withheld.is_none() {
                        job.drained.cancel();
                        return Polled::End;
                    }
                    if outage_logged {
                        log!(info, queue = %job.queue, "the Orchestrator answers again");
                        outage_logged = false;
                    }
                    if self.waits {
                        return Polled::Wait;
                    }
                    retry_delays.reset(&job);
                    (seen, withheld)
                }
                Err(error) => {
                    if let ErrorAction::Fault = job.claim_failed(&error) {
                        return Polled::End;
                    }
                    if !std::mem::replace(&mut outage_logged, true) {
                        log!(warn, queue = %job.queue, %error, "items cannot be claimed; retrying");
                    }
                    tokio::select! {
                        biased;
                        () = job.stop.stop_requested() => return Polled::End,
                        () = retry_delays.wait(&job) => continue,
                    }
                }
            };
            self.wait_for_change(seen, withheld, became_idle).await;
        }
    }

    async fn wait_for_change(
        &self,
        seen: Seen,
        withheld: Option<Duration>,
        became_idle: impl Future<Output = ()>,
    ) {
        let job = &self.job;
        let at_most =
            withheld.map_or(job.settings.poll_interval, |time| time.min(job.settings.poll_interval));
        tokio::select! {
            biased;
            () = job.stop.stop_requested() => {}
            () = became_idle, if job.settings.until_empty => {}
            () = job.orchestrator.wait_for_items(&job.queue, seen, at_most) => {}
        }
    }

    async fn try_claim(&self) -> Result<ClaimedItems> {
        self.job
            .orchestrator
            .report_and_claim(Vec::new(), Some(self.job.claim_request(Some(self.robot), 1)))
            .await
            .claimed
    }

    async fn report(&mut self, finished: FinishedTransaction) {
        self.record(finished).await;
        self.set_active(false);
    }

    async fn report_and_claim(&mut self, mut finished: FinishedTransaction) -> Option<ClaimedItem> {
        if self.should_end() {
            self.report(finished).await;
            return None;
        }
        let take = self.job.claim_request(Some(self.robot), 1);
        let mut answer =
            self.job.orchestrator.report_and_claim(vec![finished.report.clone()], Some(take)).await;
        match answer.reports.pop().and_then(|answer| self.job.resolve_report(&mut finished, answer)) {
            Some(outcome) => self.job.transaction_ended(&finished, outcome),
            None => self.record(finished).await,
        }
        let item = answer.claimed.ok().and_then(|claimed| claimed.items.into_iter().next());
        if item.is_none() {
            self.set_active(false); // an error is handled by the next claim, which will fail as well
        }
        item
    }

    /// Repeats the report until it is recorded, or known to be impossible.
    async fn record(&self, mut finished: FinishedTransaction) {
        let job = &self.job;
        let mut retry_delays = self.job.retry_delays();
        loop {
            let last_attempt = job.stop.is_kill_requested();
            let mut answer = job.orchestrator.report_and_claim(vec![finished.report.clone()], None).await;
            let replaced = finished.fallback.is_some();
            let outcome = answer.reports.pop().and_then(|answer| job.resolve_report(&mut finished, answer));
            let replaced = replaced && finished.fallback.is_none(); // the fallback is not reported yet
            if let Some(outcome) =
                outcome.or((last_attempt && !replaced).then_some(TransactionOutcome::NotRecorded))
            {
                return job.transaction_ended(&finished, outcome);
            }
            tokio::select! {
                biased;
                () = job.stop.kill_requested() => {}
                () = retry_delays.wait(job) => {}
            }
        }
    }

    fn should_end(&self) -> bool {
        self.job.stop.is_stop_requested() || self.job.drained.is_cancelled()
    }

    fn set_active(&mut self, active: bool) {
        if std::mem::replace(&mut self.active, active) == active {
            return;
        }
        if active {
            self.job.activations.fetch_add(1, Ordering::SeqCst);
            self.job.active.fetch_add(1, Ordering::SeqCst);
        } else {
            self.job.active.fetch_sub(1, Ordering::SeqCst);
            self.job.became_idle.notify_waiters();
        }
    }
}

impl Drop for DirectSource {
    fn drop(&mut self) {
        self.set_active(false);
    }
}
