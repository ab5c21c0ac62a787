//! The follow-ups of transactions that run here: they are collected, and nothing is added.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::model::{QueueDefinition, QueueId, QueueKey};
use crate::orchestrator::store::Store;
use crate::orchestrator::{
    ClaimRequest, Decorator, FollowUp, FollowUps, Orchestrator, Report, ReportAndClaimAnswer, Result,
};

/// What transactions have given, with successes that were recorded.
#[derive(Debug, Default)]
pub(super) struct CollectedFollowUps(Mutex<Vec<FollowUp>>);

impl CollectedFollowUps {
    /// Reports and claims without the follow-ups, and keeps those of recorded successes. A report is refused if one of its
    /// follow-ups would be refused by every queue.
    pub(super) async fn report_and_claim(
        &self,
        orchestrator: &dyn Orchestrator,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let (mut sent, mut of_sent, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (at, mut report) in reports.into_iter().enumerate() {
            let follow_ups = std::mem::take(&mut report.follow_ups);
            match check(&report, &follow_ups) {
                Ok(()) => {
                    sent.push(report);
                    of_sent.push(follow_ups);
                }
                Err(error) => refused.push((at, error)),
            }
        }
        let mut answer = orchestrator.report_and_claim(sent, request).await;
        for (follow_ups, _) in of_sent.iter().zip(&answer.reports).filter(|(_, answered)| answered.is_ok()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(follow_ups);
        }
        for (at, error) in refused {
            answer.reports.insert(at, Err(error)); // answers are in the order of the reports
        }
        answer
    }

    pub(super) fn take(&self) -> Vec<FollowUp> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a queue without schemas and unique references would take the follow-ups.
fn check(report: &Report, follow_ups: &FollowUps) -> Result<()> {
    follow_ups.validate(&report.result)?;
    for (at, FollowUp { queue, item, .. }) in follow_ups.iter().enumerate() {
        let key = QueueKey::from_bytes([0; 16]);
        let any = QueueDefinition::new(QueueId(0), key, queue.clone(), jiff::Timestamp::UNIX_EPOCH);
        item.validate(&any).map_err(|refusal| follow_ups.refused(at, refusal.into()))?;
    }
    Ok(())
}

/// A store that adds no follow-ups.
#[derive(Debug)]
pub(super) struct WithoutFollowUps {
    pub(super) store: Store,
    pub(super) collected: CollectedFollowUps,
}

#[async_trait]
impl Decorator for WithoutFollowUps {
    fn inner(&self) -> &dyn Orchestrator {
        &self.store
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        self.collected.report_and_claim(&self.store, reports, request).await
    }
}
