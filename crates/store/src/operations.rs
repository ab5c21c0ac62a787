//! Acts on many items at once: what a store keeps of an operation, and how it is run.
//!
//! What an operation is, and when its next step is due, says [`performer_core::model::operation`]. Each step is one commit, in which
//! the items and the operation change together: a process that ends in the middle leaves no half of it, and any other process over the
//! store goes on. A step names the version of the operation that its process has read. If another process was faster, the operation
//! has another version, and nothing is done.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Store;
use super::backend::{Operation, Query, Scope, expect_answer};
use super::rows::ItemRow;
use super::scoped_queues::Reach;
use super::unreadable_rows::is_unreadable;
use performer_core::model::Refusal;
use performer_core::model::clock::Clock as _;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::ItemFilter;
use performer_core::model::key::{FolderId, ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::operation::{
    Act, ItemOperation, MAX_ITEMS, OperationId, OperationItem, OperationList, Plan, Selected,
};
use performer_core::model::review::{ItemVersion, Person};
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// How many items one commit keeps, or removes.
const KEPT_AT_ONCE: usize = 5_000;

/// Which items an operation acts on.
#[derive(Clone, Debug)]
pub enum OperationItems {
    /// These, as the caller has seen them.
    These(Vec<ItemVersion>),
    /// Those that match, in the order of the filter; ids decide, the newest first.
    Matching(Box<ItemFilter>),
    /// The copies that another operation made.
    CopiesOf(OperationId),
}

/// What to do with an operation.
#[derive(Clone, Debug)]
pub(crate) enum Steering {
    Start,
    Stop(Person),
    Resume,
}

/// Which items of an operation are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListOperationItems {
    pub(crate) operation: OperationId,
    /// From this place on.
    pub(crate) from: u64,
    pub(crate) refused_only: bool,
    pub(crate) limit: usize,
}

/// An operation in a list.
#[derive(Clone, Debug)]
pub(crate) enum ListedOperation {
    Read(Box<ItemOperation>),
    /// A newer program has written it.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(dead_code, reason = "memory holds no rows")
    )]
    Unreadable(OperationId),
}

impl ListedOperation {
    pub(crate) fn id(&self) -> OperationId {
        match self {
            Self::Read(operation) => operation.id,
            Self::Unreadable(id) => *id,
        }
    }
}

/// An item as the rules see it, and the group of its failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) id: ItemId,
    pub(crate) queue: QueueId,
    pub(crate) state: ItemState,
    pub(crate) reason: Option<i64>,
}

/// What a back end does about operations, inside the one transaction that is open.
pub(crate) trait OperationRows {
    /// Inserts an operation. Returns its number.
    fn insert_operation(&mut self, operation: &ItemOperation) -> Result<OperationId>;
    fn operation(&mut self, id: OperationId) -> Result<Option<ItemOperation>>;
    /// An operation that is to change. No other transaction changes it until this one ends.
    fn operation_to_change(&mut self, id: OperationId) -> Result<Option<ItemOperation>>;
    fn write_operation(&mut self, operation: &ItemOperation) -> Result<()>;
    /// Keeps others from making operations until the transaction ends. A back end with one transaction at a time has no need of it.
    fn lock_operations(&mut self) -> Result<()> {
        Ok(())
    }
    /// Operations with smaller numbers, the newest first.
    fn operations(&mut self, before: Option<OperationId>, limit: usize) -> Result<Vec<ListedOperation>>;
    /// Operations whose next step is due, with their versions.
    fn due_operations(&mut self, now: Timestamp) -> Result<Vec<(OperationId, u64)>>;
    /// An operation that need not be kept any more, and until when it was kept.
    fn superfluous_operation(&mut self, now: Timestamp) -> Result<Option<(OperationId, Timestamp)>>;
    /// Removes about `limit` items of an operation, and the operation if it has no more. Returns whether it is gone.
    fn remove_operation(&mut self, id: OperationId, limit: usize) -> Result<bool>;
    /// Items of an operation, by place.
    fn operation_items(&mut self, ask: &ListOperationItems) -> Result<Vec<OperationItem>>;
    /// The copies that an operation made, in the order of their originals.
    fn operation_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>>;
    /// The last attempts of the chains of those copies, in the same order; a copy that was removed stands for itself.
    fn last_attempts_of_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>>;
    /// How many of the copies that an operation made have each status.
    fn count_copies(&mut self, id: OperationId) -> Result<Vec<(Status, u64)>>;
}

/// What a back end does with many items at once, in its own way, inside the one transaction that is open.
pub(crate) trait BulkRows {
    /// Inserts items of an operation, from a place on.
    fn insert_operation_items(&mut self, id: OperationId, from: u64, items: &[ItemVersion]) -> Result<()>;
    /// Writes what became of items of an operation.
    fn write_operation_items(&mut self, id: OperationId, items: &[OperationItem]) -> Result<()>;
    /// Items as they stand, in any order. No item is locked, and one that does not exist or cannot be read is left out.
    fn standings(&mut self, ids: &[ItemId]) -> Result<Vec<Standing>>;
    /// The rows of items that are about to change, as [`row`](super::rows::Rows::row) reads them. Some or all may be left out, and are
    /// read one by one: where that costs nothing, all are.
    fn rows_to_change(&mut self, _ids: &[ItemId]) -> Result<HashMap<ItemId, ItemRow>> {
        Ok(HashMap::new())
    }
}

impl Store {
    /// Selects the items of an operation, and keeps their ids and row versions. Nothing is done with them before it is
    /// [started](Self::start_operation), within ten minutes.
    ///
    /// `folders`: those in which the caller may do this; items of others are not found. `filter`: the filter of the items as
    /// people write it.
    ///
    /// # Errors
    ///
    /// Invalid if no item or more than 100,000 items match, or the plan is out of its ranges; NotFound for a queue that does not exist;
    /// Conflict with code 1302 if the user has ten previews already.
    pub async fn preview_operation(
        &self,
        folders: Arc<[FolderId]>,
        (plan, by): (Plan, Person),
        which: OperationItems,
        filter: Option<String>,
    ) -> Result<ItemOperation> {
        plan.validate()?;
        let now = self.clock.now();
        let query = Query::Select { folders, plan: Box::new(plan.clone()), which, now };
        let selected: Selected = *expect_answer!(self.read(query).await, Selected)?;
        check_count(selected.items.len())?;
        let operation = ItemOperation::new(plan, &by, filter, &selected, now);
        let mut chunks = selected.items.chunks(KEPT_AT_ONCE);
        let first: Arc<[ItemVersion]> = chunks.next().unwrap_or_default().into();
        let create = Operation::PrepareActs { operation: Box::new(operation), items: first };
        let mut kept: Box<ItemOperation> = expect_answer!(self.one(create).await, Operation)?;
        for chunk in chunks {
            let keep = Operation::KeepItems { id: kept.id, from: kept.kept, items: chunk.into() };
            kept = expect_answer!(self.one(keep).await, Operation)?;
        }
        Ok(*kept)
    }

    /// An operation. `reach`: the folders that the caller may see; an operation with items in others is not found.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn operation(&self, id: OperationId, reach: Reach) -> Result<ItemOperation> {
        expect_answer!(self.read(Query::Operation { id, reach }).await, Operation).map(|operation| *operation)
    }

    /// Operations within reach, the newest first, at most `limit` with numbers before `before`. Those that this program cannot read
    /// are named, whatever the reach: their folders are not known.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn list_operations(
        &self,
        reach: Reach,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<OperationList> {
        expect_answer!(self.read(Query::Operations { reach, before, limit }).await, Operations)
    }

    /// Items of an operation in their order, from a place on; only those that were refused, if asked. At most `limit`, and at most
    /// [`OPERATION_PAGE_LIMIT`](performer_core::model::operation::OPERATION_PAGE_LIMIT).
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn operation_items(
        &self,
        (operation, reach): (OperationId, Reach),
        refused_only: bool,
        from: u64,
        limit: usize,
    ) -> Result<Vec<OperationItem>> {
        let ask = ListOperationItems { operation, from, refused_only, limit };
        expect_answer!(self.read(Query::OperationItems { ask, reach }).await, OperationItems)
    }

    /// How many of the copies that an operation made have each status now. A copy that was retried counts as Retried, and not as
    /// what became of its own copy; one that was removed is not counted.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn count_copies(&self, id: OperationId, reach: Reach) -> Result<Vec<(Status, u64)>> {
        expect_answer!(self.read(Query::CountCopies(id, reach)).await, CountedCopies)
    }

    /// Starts an operation. `reach`: the folders in which the caller may do this.
    ///
    /// # Errors
    ///
    /// NotFound; Unauthorized with code 1017 if it has items in a folder out of reach; Conflict with code 1302 if it was started or is
    /// older than ten minutes.
    pub async fn start_operation(&self, id: OperationId, reach: Reach) -> Result<ItemOperation> {
        self.steer(id, reach, Steering::Start).await
    }

    /// Stops an operation: the chunk that is being applied is the last one.
    ///
    /// # Errors
    ///
    /// As [`start_operation`](Self::start_operation), with code 1302 if it is not running.
    pub async fn stop_operation(&self, id: OperationId, reach: Reach, by: Person) -> Result<ItemOperation> {
        self.steer(id, reach, Steering::Stop(by)).await
    }

    /// Lets an operation go on that was stopped, or that holds because of its canary.
    ///
    /// # Errors
    ///
    /// As [`start_operation`](Self::start_operation), with code 1302 if it is neither stopped nor holding.
    pub async fn resume_operation(&self, id: OperationId, reach: Reach) -> Result<ItemOperation> {
        self.steer(id, reach, Steering::Resume).await
    }

    async fn steer(&self, id: OperationId, reach: Reach, steering: Steering) -> Result<ItemOperation> {
        let operation = Operation::SteerActs { id, reach, steering };
        expect_answer!(self.one(operation).await, Operation).map(|operation| *operation)
    }

    /// Takes the copies of a retry back: those that are still New are deleted, by another operation, which is started and returned. The
    /// originals stay retried.
    ///
    /// # Errors
    ///
    /// As [`start_operation`](Self::start_operation), with code 1302 if it is no retry, is running, or was taken back already;
    /// Invalid if it made no copies.
    pub async fn take_operation_back(
        &self,
        id: OperationId,
        reach: Reach,
        by: Person,
    ) -> Result<ItemOperation> {
        let operation = self.operation(id, reach.clone()).await?;
        operation.may_be_taken_back()?;
        let folders: Arc<[FolderId]> = operation.folders.into();
        let plan = Plan::new(Act::TakeBack { of: id });
        let preview = self.preview_operation(folders, (plan, by), OperationItems::CopiesOf(id), None).await?;
        self.start_operation(preview.id, reach).await
    }

    /// The operations whose next step is due, with their versions, for [`step_operation`](Self::step_operation).
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn due_operations(&self) -> Result<Vec<(OperationId, u64)>> {
        expect_answer!(self.read(Query::DueOperations(self.clock.now())).await, DueOperations)
    }

    /// Does the next step of an operation, if it has this version and the step is due, and returns the operation. Any process may do
    /// it.
    ///
    /// # Errors
    ///
    /// NotFound; Unavailable if the store is unavailable.
    pub async fn step_operation(&self, id: OperationId, version: u64) -> Result<ItemOperation> {
        // The audit names the user who started the operation, not the caller of this step.
        let request = Self { scope: Scope::SHARED, ..self.clone() };
        expect_answer!(request.one(Operation::StepActs { id, version }).await, Operation)
            .map(|operation| *operation)
    }

    /// Does one step of each operation that is due, and returns how many steps were done. A server calls it again until there are none,
    /// and then once a second; so does a program without a server that wants operations to go on.
    ///
    /// An operation whose step fails is reported in the log, and tried again with the next call.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn step_due_operations(&self) -> Result<u64> {
        let mut steps = 0;
        for (operation, version) in self.due_operations().await? {
            match self.step_operation(operation, version).await {
                // One that waits for its canary is due again, and unchanged.
                Ok(after) => steps += u64::from(after.version != version),
                // It is done by the newer program that has written it; lists name it.
                Err(error) if is_unreadable(&error) => {}
                Err(error) => tracing::warn!(%operation, %error, "a step of an operation failed"),
            }
        }
        Ok(steps)
    }

    /// Removes previews that were not started within ten minutes, and operations that ended 30 days ago. Returns how many.
    /// `pause` is awaited between the chunks. A server does this by itself.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    #[doc(hidden)]
    pub async fn remove_operations(&self, pause: impl AsyncFn()) -> Result<u64> {
        let mut removed = 0;
        loop {
            let operation = Operation::RemoveActs { limit: KEPT_AT_ONCE };
            match expect_answer!(self.one(operation).await, OperationRemoval)? {
                OperationRemoval::None => return Ok(removed),
                OperationRemoval::Part => {}
                OperationRemoval::Whole => removed += 1,
            }
            pause().await;
        }
    }
}

/// What a chunk of the removal of operations did.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OperationRemoval {
    /// There is nothing to remove.
    None,
    /// Items of an operation were removed.
    Part,
    /// The rest of an operation was removed.
    Whole,
}

fn check_count(count: usize) -> std::result::Result<(), Refusal> {
    let message = match count {
        0 => "no item matches".to_owned(),
        count if count > MAX_ITEMS => {
            format!("more than {MAX_ITEMS} items match; an operation has at most so many: ask for less")
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(ErrorCode::INVALID_REQUEST, message))
}
