//! An Orchestrator that records the calls to another one in a ledger.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use performer::model::clock::Clock;
use performer::model::item::ClaimedItem;
use performer::model::job::NewJob;
use performer::model::key::Claim;
use performer::model::selection::SelectionKey;
use performer::orchestrator::{BulkAdded, ClaimRequest, Report, ReportAndClaimAnswer, Result, Seen, Swept};
use performer::{
    Administration, CommitType, ItemFilter, ItemId, JobEnd, JobKey, JobState, NewQueueItem, Orchestrator,
    Page, QueueItem, Status,
};

use super::ledger::{Ledger, Record};

/// Records claims that are out of order. Only for a store that is called in place, because nothing may happen between reading
/// the eligible items and the claim.
#[derive(Debug)]
pub struct Recorder {
    pub store: Arc<dyn Administration>,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
}

impl Recorder {
    /// The eligible items, in the order of the model.
    async fn eligible(&self, queue: &str) -> Vec<(SelectionKey, ItemId)> {
        let now = self.clock.now();
        let mut waiting = Vec::new();
        let filter =
            ItemFilter { queue: Some(queue.to_owned()), status: vec![Status::New], ..ItemFilter::default() };
        loop {
            let page = Page { skip: waiting.len(), ..Page::default() };
            let Ok(found) = self.store.list_queue_items(filter.clone(), page).await else {
                return Vec::new();
            };
            if found.items.is_empty() {
                break;
            }
            waiting.extend(found.items);
        }
        let ready = waiting.iter().filter(|item| item.defer_date.is_none_or(|date| date <= now));
        let mut keys: Vec<_> =
            ready.map(|item| (SelectionKey::new(item.priority, item.due_date, item.id), item.id)).collect();
        keys.sort();
        keys
    }
}

#[async_trait]
impl Orchestrator for Recorder {
    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        self.store.start_job(job).await
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        self.store.beat(job).await
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        self.store.end_job(job, end).await
    }

    async fn sweep(&self) -> Result<Swept> {
        self.store.sweep().await
    }

    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem> {
        self.store.add_queue_item(queue, item).await
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        self.store.bulk_add_queue_items(queue, commit_type, items).await
    }

    async fn add_and_start_transaction(&self, take: ClaimRequest, item: NewQueueItem) -> Result<ClaimedItem> {
        self.store.add_and_start_transaction(take, item).await
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let Some(take) = take else { return self.store.report_and_claim(reports, None).await };
        // Reports come first, and may make copies; then the take, alone, so that what it had before it can be seen.
        let reports = self.store.report_and_claim(reports, None).await.reports;
        let eligible = self.eligible(&take.queue).await;
        let taken = self.store.report_and_claim(Vec::new(), Some(take)).await.claimed;
        if let Ok(taken) = &taken {
            for (at, item) in taken.items.iter().enumerate() {
                let place = eligible.iter().position(|(_, id)| *id == item.item.id);
                if place != Some(at) {
                    let ahead =
                        eligible[..place.unwrap_or(eligible.len())].iter().map(|(_, id)| *id).collect();
                    self.ledger.write(Record::OutOfOrder { item: item.item.id, ahead });
                }
            }
        }
        ReportAndClaimAnswer { reports, claimed: taken }
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        self.store.set_transaction_progress(claim, progress).await
    }

    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        self.store.wait_for_items(queue, seen, at_most).await;
    }
}
