//! What lies between a process and its store: delays, calls that fail, answers that are lost, and now and then a process
//! that is frozen for a while.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use performer::model::item::ClaimedItem;
use performer::model::job::NewJob;
use performer::model::key::Claim;
use performer::orchestrator::{BulkAdded, ClaimRequest, Report, ReportAndClaimAnswer, Result, Seen, Swept};
use performer::{
    CommitType, ErrorKind, JobEnd, JobKey, JobState, NewQueueItem, Orchestrator, OrchestratorError,
    QueueItem, Status,
};
use tokio::time::Instant;

/// A mistake that a store could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Adds are acknowledged before they are written, and some never are.
    AcknowledgesTooEarly,
    /// An item is handed out a second time while somebody works on it.
    HandsOutTwice,
    /// Reports are acknowledged and forgotten.
    ForgetsReports,
}

impl Wrong {
    pub const ALL: &[Self] = &[Self::AcknowledgesTooEarly, Self::HandsOutTwice, Self::ForgetsReports];
}

/// What all processes of a world have in common.
#[derive(Debug)]
pub struct Sky {
    pub random: fastrand::Rng,
    /// Faults in a thousand calls.
    pub failures: u32,
    pub lost: u32,
    pub longest_delay: Duration,
    pub calm: bool,
    pub lost_answers: u64,
}

#[derive(Debug)]
pub struct Weather {
    pub inner: Arc<dyn Orchestrator>,
    pub sky: Arc<Mutex<Sky>>,
    pub frozen_until: Mutex<Instant>,
    pub wrong: Option<Wrong>,
    pub handed_out: Mutex<Vec<ClaimedItem>>,
    pub side_by_side: usize,
}

/// What happens to one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// Nothing is done.
    Fails,
    /// It is done, and nobody hears of it.
    AnswerLost,
}

impl Weather {
    /// The way there.
    async fn there(&self) -> Fate {
        let frozen_until = *self.frozen_until.lock().unwrap();
        tokio::time::sleep_until(frozen_until).await;
        let (delay, fate) = {
            let mut sky = self.sky.lock().unwrap();
            if sky.calm {
                return Fate::Fine;
            }
            let longest = sky.longest_delay.as_micros() as u64;
            let delay = Duration::from_micros(sky.random.u64(0..=longest));
            let (failures, lost) = (sky.failures, sky.lost);
            let fate = match sky.random.u32(0..1_000) {
                dice if dice < failures => Fate::Fails,
                dice if dice < failures + lost => Fate::AnswerLost,
                _ => Fate::Fine,
            };
            sky.lost_answers += u64::from(fate == Fate::AnswerLost);
            (delay, fate)
        };
        tokio::time::sleep(delay).await;
        fate
    }

    /// The way back: what was done may be known only later, or never.
    async fn back(&self) {
        let delay = {
            let mut sky = self.sky.lock().unwrap();
            let longest = if sky.calm { 0 } else { sky.longest_delay.as_micros() as u64 };
            Duration::from_micros(sky.random.u64(0..=longest))
        };
        tokio::time::sleep(delay).await;
        let frozen_until = *self.frozen_until.lock().unwrap();
        tokio::time::sleep_until(frozen_until).await;
    }

    fn is_wrong(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong) && self.sky.lock().unwrap().random.u8(0..4) == 0
    }
}

fn failed() -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unavailable, "the weather")
}

fn lost() -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unknown, "the answer was lost")
}

/// A call with its ways there and back.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        let fate = $self.there().await;
        if fate == Fate::Fails {
            return Err(failed());
        }
        let answer = $call.await;
        $self.back().await;
        if fate == Fate::AnswerLost { Err(lost()) } else { answer }
    }};
}

#[async_trait]
impl Orchestrator for Weather {
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
        if self.is_wrong(Wrong::AcknowledgesTooEarly) {
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

    async fn add_and_start_transaction(&self, take: ClaimRequest, item: NewQueueItem) -> Result<ClaimedItem> {
        self.inner.add_and_start_transaction(take, item).await
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let fate = self.there().await;
        let count = reports.len();
        let none = |error: OrchestratorError| ReportAndClaimAnswer {
            reports: (0..count).map(|_| Err(error.clone())).collect(),
            claimed: Err(error),
        };
        if fate == Fate::Fails {
            return none(failed());
        }
        if fate == Fate::AnswerLost {
            // The reports are recorded. A take whose answer is lost is what a crash makes of it.
            self.inner.report_and_claim(reports, None).await;
            self.back().await;
            return none(lost());
        }
        let forgotten = !reports.is_empty() && self.is_wrong(Wrong::ForgetsReports);
        let twice = take.is_some() && self.is_wrong(Wrong::HandsOutTwice);
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

    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        self.inner.wait_for_items(queue, seen, at_most).await;
    }
}
