//! An Orchestrator that records the calls to another one in a ledger.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use performer::model::ClaimedItem;
use performer::model::{Clock, selection::SelectionKey};
use performer::orchestrator::{ClaimRequest, ClaimedItems, Decorator, Report, ReportAndClaimAnswer, Result};
use performer::{Administration, ItemFilter, ItemId, Orchestrator, Page, Status};

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
        let filter = ItemFilter::default().queue(queue).status([Status::New]);
        loop {
            let page = Page::default().skip(waiting.len());
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

    /// A claim that has found nothing, and waits. What the commit that serves it could hand out is known only in part: items
    /// that are older than the claimed one, were never deferred and never touched.
    async fn wait_for_item(&self, take: ClaimRequest) -> Result<ClaimedItems> {
        let queue = take.queue.clone();
        let taken = self.store.report_and_claim(Vec::new(), Some(take)).await.claimed?;
        for ClaimedItem { item: claimed, .. } in &taken.items {
            let place = SelectionKey::new(claimed.priority, claimed.due_date, claimed.id);
            let filter = ItemFilter::default().queue(&*queue).status([Status::New]);
            let Ok(waiting) = self.store.list_queue_items(filter, Page::default()).await else { continue };
            let untouched = waiting
                .items
                .iter()
                .filter(|item| item.id < claimed.id && item.row_version == 1 && item.defer_date.is_none());
            let before =
                untouched.filter(|item| SelectionKey::new(item.priority, item.due_date, item.id) < place);
            let ahead: Vec<_> = before.map(|item| item.id).collect();
            if !ahead.is_empty() {
                self.ledger.write(Record::OutOfOrder { item: claimed.id, ahead });
            }
        }
        Ok(taken)
    }
}

#[async_trait]
impl Decorator for Recorder {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.store
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
        let at_once = take.clone().wait(Duration::ZERO);
        let taken = self.store.report_and_claim(Vec::new(), Some(at_once)).await.claimed;
        if let Ok(taken) = &taken {
            for (at, item) in taken.items.iter().enumerate() {
                let place = eligible.iter().position(|(_, id)| *id == item.item.id);
                if place != Some(at) {
                    let ahead =
                        eligible[..place.unwrap_or(eligible.len())].iter().map(|(_, id)| *id).collect();
                    self.ledger.write(Record::OutOfOrder { item: item.item.id, ahead });
                }
            }
            if taken.items.is_empty() && !take.wait.is_zero() && reports.is_empty() {
                return ReportAndClaimAnswer::new(reports, self.wait_for_item(take).await);
            }
        }
        ReportAndClaimAnswer::new(reports, taken)
    }
}
