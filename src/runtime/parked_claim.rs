//! The claim of a prefetcher that waits for an item of an empty queue.

use std::pin::Pin;
use std::sync::Arc;

use super::job::RunningJob;
use crate::model::JobKey;
use crate::orchestrator::{ClaimedItems, ReportAndClaimAnswer, Result};

/// A claim that waits for an item.
pub(super) struct ParkedClaim {
    job: JobKey,
    wanted: usize,
    answer: Pin<Box<dyn Future<Output = ReportAndClaimAnswer> + Send>>,
}

impl ParkedClaim {
    /// A claim of so many items. It is made when its answer is waited for.
    pub(super) fn start(job: &Arc<RunningJob>, wanted: usize) -> Self {
        let request = job.waiting_claim_request(None, wanted);
        let (orchestrator, job) = (job.orchestrator.clone(), request.job);
        let answer = Box::pin(async move { orchestrator.report_and_claim(Vec::new(), Some(request)).await });
        Self { job, wanted, answer }
    }

    /// Ends its wait. Returns how many items it wanted, and its answer.
    pub(super) async fn give_up(self, job: &RunningJob) -> (usize, Result<ClaimedItems>) {
        let answer = job.give_up(self.job, self.answer).await;
        (self.wanted, answer.map_or_else(|| Ok(ClaimedItems::default()), |answer| answer.claimed))
    }
}

/// Waits for the answer to the claim, which is over then: how many items it wanted, and what it has. Without a claim it
/// never ends.
pub(super) async fn answered(parked: &mut Option<ParkedClaim>) -> (usize, Result<ClaimedItems>) {
    let Some(waiting) = parked else { return std::future::pending().await };
    let claimed = waiting.answer.as_mut().await.claimed;
    (parked.take().map_or(0, |waited| waited.wanted), claimed)
}
