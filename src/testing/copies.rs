//! A queue in memory that hands out copies of items that are recorded elsewhere.

use std::collections::HashMap;

use async_trait::async_trait;

use super::follow_ups::CollectedFollowUps;
use super::test_run;
use crate::model::{
    Claim, ItemFilter, ItemId, NewAsset, NewQueueDefinition, NewQueueItem, PAGE_LIMIT, Page, QueueItem,
    QueuePolicy,
};
use crate::orchestrator::store::Store;
use crate::orchestrator::{
    ClaimRequest, Decorator, FollowUp, ItemAdministration as _, Orchestrator, QueueAdministration as _,
    Report, ReportAndClaimAnswer, Result,
};

/// A transaction sees a copy as the recorded item, with its id, keys and retry numbers, and so do events and logs. The store in memory
/// knows the copy by an id of its own; reports are translated to it.
#[derive(Debug)]
pub(super) struct Copies {
    store: Store,
    queue: String,
    /// The recorded items by the ids of their copies.
    recorded: HashMap<ItemId, QueueItem>,
    /// The ids of the copies by those of the recorded items.
    copies: HashMap<ItemId, ItemId>,
    follow_ups: CollectedFollowUps,
}

impl Copies {
    /// An empty queue with this name. A copy is attempted once.
    pub(super) async fn new(queue: &str) -> Result<Self> {
        let store = Store::memory();
        let policy = QueuePolicy::default().max_number_of_retries(0);
        store.create_queue(NewQueueDefinition::new(queue).policy(policy)).await?;
        Ok(Self {
            store,
            queue: queue.to_owned(),
            recorded: HashMap::new(),
            copies: HashMap::new(),
            follow_ups: CollectedFollowUps::default(),
        })
    }

    /// What the transactions have given to be added with their successes.
    pub(super) fn follow_ups(&self) -> Vec<FollowUp> {
        self.follow_ups.take()
    }

    /// Adds a copy, which is eligible at once. The reference and the DeferDate are only shown: so a reference that occurs twice and a
    /// date in the future do not matter here.
    pub(super) async fn add(&mut self, recorded: QueueItem) -> Result<()> {
        let mut copy =
            NewQueueItem::from_json(recorded.specific_content.as_json()).priority(recorded.priority);
        copy.due_date = recorded.due_date.map(Into::into);
        let added = self.store.add_queue_item(&self.queue, copy).await?;
        self.copies.insert(recorded.id, added.id);
        self.recorded.insert(added.id, recorded);
        Ok(())
    }

    /// Adds assets for the transactions.
    pub(super) async fn add_assets(&self, assets: Vec<NewAsset>) -> Result<()> {
        test_run::add_assets(&self.store, assets).await
    }

    /// The recorded items, in the order in which they were added, each with its copy as it is now.
    pub(super) async fn pairs(&self) -> Result<Vec<(QueueItem, QueueItem)>> {
        let mut pairs = Vec::with_capacity(self.recorded.len());
        for skip in (0..self.recorded.len()).step_by(PAGE_LIMIT) {
            let page = Page::default().skip(skip);
            for mut copy in self.store.list_queue_items(ItemFilter::default(), page).await?.items {
                if let Some(recorded) = self.recorded.get(&copy.id) {
                    show_as(recorded, &mut copy);
                    pairs.push((recorded.clone(), copy));
                }
            }
        }
        Ok(pairs)
    }

    fn claim_on_copy(&self, claim: Claim) -> Claim {
        Claim { item: self.copies.get(&claim.item).copied().unwrap_or(claim.item), ..claim }
    }
}

/// Gives a copy what the recorded item is known by, and leaves it what belongs to the attempt.
fn show_as(recorded: &QueueItem, copy: &mut QueueItem) {
    copy.id = recorded.id;
    copy.unique_key = recorded.unique_key;
    copy.key = recorded.key;
    copy.queue_id = recorded.queue_id;
    copy.reference.clone_from(&recorded.reference);
    copy.group.clone_from(&recorded.group);
    copy.specific_content = recorded.specific_content.clone();
    copy.risk_sla_date = recorded.risk_sla_date;
    copy.creation_time = recorded.creation_time;
    copy.seconds_in_previous_attempts = recorded.seconds_in_previous_attempts;
    copy.retry_number = recorded.retry_number;
    copy.ancestor_id = recorded.ancestor_id;
    copy.manual_retry_number = recorded.manual_retry_number;
    copy.manual_ancestor_id = recorded.manual_ancestor_id;
    copy.creator_job = recorded.creator_job;
    copy.parent_operation_id.clone_from(&recorded.parent_operation_id);
}

#[async_trait]
impl Decorator for Copies {
    fn inner(&self) -> &dyn Orchestrator {
        &self.store
    }

    async fn report_and_claim(
        &self,
        mut reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        for report in &mut reports {
            report.claim = self.claim_on_copy(report.claim);
        }
        let mut answer = self.follow_ups.report_and_claim(&self.store, reports, request).await;
        for claimed in answer.claimed.iter_mut().flat_map(|claimed| &mut claimed.items) {
            if let Some(recorded) = self.recorded.get(&claimed.item.id) {
                show_as(recorded, &mut claimed.item);
                claimed.item.defer_date = recorded.defer_date;
                claimed.claim.item = recorded.id;
            }
        }
        answer
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        self.store.set_transaction_progress(self.claim_on_copy(claim), progress).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ItemKey, NewJob, QueueId, SpecificContent, Status, TransactionResult};

    fn recorded(content: String) -> QueueItem {
        let (key, time) = (ItemKey::from_bytes([7; 16]), jiff::Timestamp::UNIX_EPOCH);
        QueueItem::new(ItemId(900), key, QueueId(1), SpecificContent::from_stored(content), time)
    }

    #[tokio::test]
    async fn a_claim_on_a_recorded_item_is_one_on_its_copy() {
        let mut copies = Copies::new("Invoices").await.unwrap();
        copies.add(recorded("{}".to_owned())).await.unwrap();
        let job = Orchestrator::start_job(&copies, NewJob::new("Invoices")).await.unwrap();
        let request = Some(ClaimRequest::new("Invoices", job, 1));
        let answer = Orchestrator::report_and_claim(&copies, Vec::new(), request).await;
        let claim = answer.claimed.unwrap().items[0].claim;
        assert_eq!(claim.item, ItemId(900));
        Orchestrator::set_transaction_progress(&copies, claim, "half".to_owned()).await.unwrap();
        let report = Report::new(claim, TransactionResult::Successful { output: None });
        let answer = Orchestrator::report_and_claim(&copies, vec![report], None).await;
        assert_eq!(answer.reports[0].as_ref().unwrap(), &Status::Successful);
        let (_, copy) = copies.pairs().await.unwrap().remove(0);
        assert_eq!((copy.id, copy.progress.as_deref()), (ItemId(900), Some("half")));
    }

    /// Another Orchestrator may have accepted what the stores refuse.
    #[tokio::test]
    async fn content_that_a_store_refuses_is_an_error() {
        let mut copies = Copies::new("Invoices").await.unwrap();
        for (content, reason) in [
            (r#"{"lines":[1,2]}"#.to_owned(), "the value of \"lines\" is an array"),
            (format!("{{\"text\":\"{}\"}}", "x".repeat(300_000)), "the limit is 256000"),
        ] {
            let error = copies.add(recorded(content)).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert_eq!(copies.pairs().await.unwrap(), []);
    }
}
