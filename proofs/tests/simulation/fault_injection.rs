//! Fault injection between a process and its store: delays, failing calls, lost answers, and frozen processes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use performer::model::{Claim, ClaimedItem, NewJob};
use performer::orchestrator::{
    BulkAdded, ClaimRequest, Decorator, Report, ReportAndClaimAnswer, Result, Swept,
};
use performer::{
    CommitType, ErrorKind, JobEnd, JobKey, JobState, NewQueueItem, Orchestrator, OrchestratorError,
    QueueItem, Status,
};
use tokio::time::Instant;

/// A bug that a store could have, as a negative control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreBug {
    /// Adds are acknowledged before they are written, and some are never written.
    AcknowledgesTooEarly,
    /// An item is handed out a second time while a robot processes it.
    HandsOutTwice,
    /// Reports are acknowledged and forgotten.
    ForgetsReports,
    /// Follow-ups are added by a call of their own, before the report.
    AddsFollowUpsApart,
}

impl StoreBug {
    pub const ALL: &[Self] =
        &[Self::AcknowledgesTooEarly, Self::HandsOutTwice, Self::ForgetsReports, Self::AddsFollowUpsApart];
}

/// The faults shared by all processes of a world.
#[derive(Debug)]
pub struct SharedFaults {
    pub random: fastrand::Rng,
    /// The number of faults per thousand calls.
    pub failures: u32,
    pub lost: u32,
    pub longest_delay: Duration,
    pub calm: bool,
    pub lost_answers: u64,
}

#[derive(Debug)]
pub struct FaultInjector {
    pub inner: Arc<dyn Orchestrator>,
    pub faults: Arc<Mutex<SharedFaults>>,
    pub frozen_until: Mutex<Instant>,
    pub wrong: Option<StoreBug>,
    pub handed_out: Mutex<Vec<ClaimedItem>>,
    pub side_by_side: usize,
}

/// The fault of one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallFate {
    Fine,
    /// The call is not executed.
    Fails,
    /// The call is executed, and its answer is lost.
    AnswerLost,
}

impl FaultInjector {
    /// Delays or fails the request.
    async fn there(&self) -> CallFate {
        let frozen_until = *self.frozen_until.lock().unwrap();
        tokio::time::sleep_until(frozen_until).await;
        let (delay, fate) = {
            let mut faults = self.faults.lock().unwrap();
            if faults.calm {
                return CallFate::Fine;
            }
            let longest = faults.longest_delay.as_micros() as u64;
            let delay = Duration::from_micros(faults.random.u64(0..=longest));
            let (failures, lost) = (faults.failures, faults.lost);
            let fate = match faults.random.u32(0..1_000) {
                dice if dice < failures => CallFate::Fails,
                dice if dice < failures + lost => CallFate::AnswerLost,
                _ => CallFate::Fine,
            };
            faults.lost_answers += u64::from(fate == CallFate::AnswerLost);
            (delay, fate)
        };
        tokio::time::sleep(delay).await;
        fate
    }

    /// Delays or loses the answer.
    async fn back(&self) {
        let delay = {
            let mut faults = self.faults.lock().unwrap();
            let longest = if faults.calm { 0 } else { faults.longest_delay.as_micros() as u64 };
            Duration::from_micros(faults.random.u64(0..=longest))
        };
        tokio::time::sleep(delay).await;
        let frozen_until = *self.frozen_until.lock().unwrap();
        tokio::time::sleep_until(frozen_until).await;
    }

    fn is_wrong(&self, wrong: StoreBug) -> bool {
        self.wrong == Some(wrong) && self.faults.lock().unwrap().random.u8(0..4) == 0
    }
}

fn failed() -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unavailable, "an injected fault")
}

fn lost() -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unknown, "the answer was lost")
}

/// A call with the faults of its request and its answer.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        let fate = $self.there().await;
        if fate == CallFate::Fails {
            return Err(failed());
        }
        let answer = $call.await;
        $self.back().await;
        if fate == CallFate::AnswerLost { Err(lost()) } else { answer }
    }};
}

#[async_trait]
impl Decorator for FaultInjector {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.inner
    }

    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        // (A job that nobody knows of holds nothing: its lost answer is of no interest.)
        self.there().await;
        self.inner.start_job(job).await
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        call!(self, self.inner.beat(job))
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        call!(self, self.inner.end_job(job, end))
    }

    async fn sweep(&self) -> Result<Swept> {
        call!(self, self.inner.sweep())
    }

    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem> {
        if self.is_wrong(StoreBug::AcknowledgesTooEarly) {
            // As it will be written, in a queue that nobody looks at.
            return self.inner.add_queue_item("Elsewhere", item).await;
        }
        call!(self, self.inner.add_queue_item(queue, item))
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        call!(self, self.inner.bulk_add_queue_items(queue, commit_type, items))
    }

    async fn report_and_claim(
        &self,
        mut reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        if self.wrong == Some(StoreBug::AddsFollowUpsApart) {
            for report in &mut reports {
                for follow_up in std::mem::take(&mut report.follow_ups).iter() {
                    self.inner.add_queue_item(&follow_up.queue, follow_up.item.clone()).await.unwrap();
                }
            }
        }
        let fate = self.there().await;
        let count = reports.len();
        let none = |error: OrchestratorError| {
            ReportAndClaimAnswer::new((0..count).map(|_| Err(error.clone())).collect(), Err(error))
        };
        if fate == CallFate::Fails {
            return none(failed());
        }
        if fate == CallFate::AnswerLost {
            // The reports are recorded. A take whose answer is lost is what a crash makes of it.
            self.inner.report_and_claim(reports, None).await;
            self.back().await;
            return none(lost());
        }
        let forgotten = !reports.is_empty() && self.is_wrong(StoreBug::ForgetsReports);
        let twice = take.is_some() && self.is_wrong(StoreBug::HandsOutTwice);
        let take = take.map(|take| if twice { take.wait(Duration::ZERO) } else { take });
        let told = if forgotten { Vec::new() } else { reports };
        let mut answer = self.inner.report_and_claim(told, take).await;
        if forgotten {
            answer.reports = (0..count).map(|_| Ok(Status::Successful)).collect();
        }
        if let Ok(taken) = &mut answer.claimed {
            let mut before = self.handed_out.lock().unwrap();
            if let Some(again) = before.last().filter(|_| twice && taken.items.is_empty()) {
                taken.items.push(again.clone());
            }
            before.extend(taken.items.iter().cloned());
        }
        self.back().await;
        answer
    }

    fn max_concurrent_calls(&self) -> usize {
        self.side_by_side
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        call!(self, self.inner.set_transaction_progress(claim, progress))
    }
}
