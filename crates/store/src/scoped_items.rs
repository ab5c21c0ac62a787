//! Items in the scope of a folder and a user, for the server.

use std::sync::Arc;

use super::backend::{ClaimOperation, Claimant, NewComment, Operation, Query, expect_answer};
use super::{Store, done};
use performer_core::model::content::{Analytics, Output};
use performer_core::model::item::{ClaimedItem, ItemFilter, NewQueueItem, Page, QueueItem, ReferenceFilter};
use performer_core::model::job::{Job, JobOwner};
use performer_core::model::key::{Claim, FolderId, ItemId, ItemKey, JobKey};
use performer_core::model::result::StatedResult;
use performer_core::model::review::{FailedItems, ItemVersion, Person};
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::{OrchestratorError, Result};

/// A caller that claims items without a lease, as the Orchestrator's API has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnleasedCaller {
    /// The number of its robot.
    pub robot_id: Option<i64>,
    /// The job that it names as its own.
    pub job: Option<JobKey>,
}

impl UnleasedCaller {
    fn claim(self, queue: &str, reference: Option<ReferenceFilter>) -> ClaimOperation {
        let Self { robot_id, job: executor } = self;
        let claimant = Claimant { job: JobKey::CALLER, user: None, robot: None, robot_id, executor };
        ClaimOperation { queue: queue.into(), count: 1, reference, claimant }
    }
}

/// The result that a caller reports without a claim (orchestrator-api 9.1).
#[derive(Clone, Debug)]
pub struct UnclaimedReport {
    /// The item.
    pub item: ItemId,
    /// What the caller says of the attempt.
    pub stated: StatedResult,
    /// Stored whatever the outcome.
    pub output: Option<Output>,
    /// Stored whatever the outcome.
    pub analytics: Option<Analytics>,
    /// The last progress text.
    pub progress: Option<String>,
    /// The operation id that the caller gave.
    pub operation_id: Option<String>,
}

impl Store {
    /// Claims the next item of a queue for a caller without a lease. `None`: there is none to claim.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1302 if the queue is paused or has reached a limit.
    pub async fn claim_unleased(
        &self,
        queue: &str,
        reference: Option<ReferenceFilter>,
        caller: UnleasedCaller,
    ) -> Result<Option<ClaimedItem>> {
        let operation = Operation::Claim(caller.claim(queue, reference));
        let claimed = expect_answer!(self.one(operation).await, ClaimedBatch)?;
        Ok(claimed.items.into_iter().next())
    }

    /// Adds an item and claims it at once for a caller without a lease.
    ///
    /// # Errors
    ///
    /// As [`add_and_start_transaction`](performer_core::orchestrator::Orchestrator::add_and_start_transaction).
    pub async fn add_and_start_unleased(
        &self,
        queue: &str,
        item: NewQueueItem,
        caller: UnleasedCaller,
    ) -> Result<ClaimedItem> {
        let (claim, item) = (caller.claim(queue, None), Box::new(item));
        expect_answer!(self.one(Operation::AddAndStart { claim, item }).await, Claimed)
    }

    /// Records a result that is reported without a claim.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict if the item is not InProgress; Invalid.
    pub async fn report_unclaimed(&self, report: UnclaimedReport) -> Result<()> {
        done(self.one(Operation::ReportUnclaimed(Box::new(report))).await)
    }

    /// Sets the progress of an item without a claim.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict if the item is not InProgress; Invalid if the text is too long.
    pub async fn set_progress_unclaimed(&self, id: ItemId, progress: String) -> Result<()> {
        done(self.one(Operation::ProgressOf { id, progress }).await)
    }

    /// Abandons an item, as if the job that holds it were lost.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict if the item is not InProgress.
    pub async fn abandon_item(&self, id: ItemId) -> Result<()> {
        done(self.one(Operation::Abandon(id)).await)
    }

    /// Deletes an item, whatever its row version.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict if the item cannot be deleted.
    pub async fn delete_queue_item(&self, id: ItemId) -> Result<()> {
        done(self.one(Operation::DeleteOne(id)).await)
    }

    /// Removes the content of an item that has ended (lifecycle T24), if the item is as the caller has seen it.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1020 if the item has changed, and 1867 if it has not ended.
    pub async fn purge_content_of(&self, item: ItemVersion) -> Result<()> {
        let operation = Operation::Purge { id: item.id, row_version: Some(item.row_version) };
        done(self.one(operation).await)
    }

    /// The item with a unique key.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn item_with_key(&self, key: ItemKey) -> Result<QueueItem> {
        expect_answer!(self.read(Query::ItemKeyed(key)).await, Item).map(|item: Box<QueueItem>| *item)
    }

    /// The unique keys of attempts. Those that do not exist are left out.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn keys_of_items(&self, ids: Vec<ItemId>) -> Result<Vec<(ItemId, ItemKey)>> {
        expect_answer!(self.read(Query::KeysOf(ids)).await, Keys)
    }

    /// A page of the items of the queues in any of these folders and, unless the page's
    /// [`count_limit`](Page::count_limit) is 0, how many match, up to that limit.
    ///
    /// # Errors
    ///
    /// Invalid for a page over 100 items, or if it takes longer than the limit of lists.
    pub async fn items_in_folders(
        &self,
        folders: Arc<[FolderId]>,
        filter: ItemFilter,
        page: Page,
    ) -> Result<(Vec<QueueItem>, Option<u64>)> {
        let filter = Box::new(filter);
        expect_answer!(self.read(Query::ItemsOf { folders, filter, page }).await, Page)
    }

    /// Those of these items whose queues are in any of these folders, each with the first such folder.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn items_with_ids(
        &self,
        folders: Arc<[FolderId]>,
        ids: Vec<ItemId>,
    ) -> Result<Vec<(FolderId, QueueItem)>> {
        expect_answer!(self.read(Query::ItemsWith { folders, ids }).await, ItemsWith)
    }

    /// Sets the review status of items, and adds a comment to those that are not refused, in the same transactions.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable; then some of the items may be done. Refusals, that of the comment too, are in the
    /// answer.
    pub async fn review_items(
        &self,
        to: ReviewStatus,
        items: Vec<ItemVersion>,
        comment: Option<(Person, String)>,
    ) -> Result<FailedItems> {
        let comment = comment.map(|(author, text)| Box::new(NewComment { author, text }));
        self.in_chunks(items, |items| Operation::Review { to, items, comment: comment.clone() }).await
    }

    /// A job, whether it has ended or not.
    ///
    /// # Errors
    ///
    /// NotFound, also for a job of another folder than the store's scope.
    pub async fn job(&self, key: JobKey) -> Result<Job> {
        let found = expect_answer!(self.read(Query::Job(key)).await, Jobs)?;
        let missing = || OrchestratorError::not_found(format!("job {key} does not exist"));
        found.into_iter().next().ok_or_else(missing)
    }

    /// Who started a job; `None` if the job does not exist.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn owner_of_job(&self, job: JobKey) -> Result<Option<JobOwner>> {
        expect_answer!(self.read(Query::OwnerOf(job)).await, Owner)
    }

    /// The claims that a job holds, if the user started it.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn claims_of_job(&self, job: JobKey) -> Result<Vec<Claim>> {
        expect_answer!(self.read(Query::Held(job)).await, Claims)
    }
}
