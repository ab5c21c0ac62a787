//! The trait `Rows`: what [`apply`](super::apply) reads and writes to apply the rules, row by row.
//!
//! All three back ends implement it. In memory and in SQLite a statement costs microseconds; PostgreSQL loads what a
//! transaction needs when it begins, and sends what it writes with the commit. No method knows a rule: each reads or writes
//! what it is told.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::alerts::AlertRows;
use super::assets::AssetRows;
use super::audit::AuditRows;
use super::backend::{Claimant, Request, WriterHooks};
use super::buckets::BucketRows;
use super::comments::Comments;
use super::deadlines::DueRows;
use super::figures::FigureRows;
use super::fleet::FleetRows;
use super::groups::GroupRows;
use super::jobs::JobFilter;
use super::logs::LogRows;
use super::operations::{BulkRows, OperationRows};
use super::reasons::Reasons;
use super::removal::Removal;
use super::tasks::TaskRows;
use super::tokens::Tokens;
use super::unreadable_rows::SkippedRows;
use super::views::ViewRows;
use super::webhooks::WebhookRows;
use performer_core::model::clock::Clock;
use performer_core::model::content::{Analytics, Output, SpecificContent};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use performer_core::model::exception::ExceptionType;
use performer_core::model::exception::ProcessingException;
use performer_core::model::groups::GroupRules;
use performer_core::model::history::{Actors, Recorded};
use performer_core::model::item::{ItemFilter, Origin, Page, QueueItem, ReferenceFilter};
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, ItemId, ItemKey, JobKey, JobNumber, KeyMaker, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::limits::Starts;
use performer_core::model::queue::QueueDefinition;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use performer_core::model::result::Outcome;
use performer_core::model::robot::Held;
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::orchestrator::{OrchestratorError, Result};

/// How many items the claims of a transaction wanted, and when they came.
#[derive(Debug, Default)]
pub(crate) struct ClaimLoad {
    /// Of those with which it began.
    pub(crate) begun_with: Option<usize>,
    /// Of all.
    pub(crate) wanted: usize,
    /// Units of work that came meanwhile and are left for the next transaction; a claim comes with a report in most cases.
    pub(crate) left: usize,
}

impl ClaimLoad {
    /// How many items were wanted by claims that came after the beginning.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only a back end over a network asks"))]
    pub(crate) fn came_later(&self) -> usize {
        self.wanted.saturating_sub(self.begun_with.unwrap_or_default()) + self.left / 2
    }
}

/// Rows, inside the one transaction that is open.
pub(crate) trait Rows:
    WriterHooks
    + FigureRows
    + Removal
    + Reasons
    + Tokens
    + GroupRows
    + Comments
    + AuditRows
    + DueRows
    + OperationRows
    + ViewRows
    + AssetRows
    + BucketRows
    + BulkRows
    + LogRows
    + WebhookRows
    + AlertRows
    + FleetRows
    + TaskRows
{
    /// Whether other transactions write at the same time, so that one can fail because of a conflict.
    const CAN_CONFLICT: bool = false;
    /// Whether [`now`](Self::now) may be the time of another clock than the caller's.
    const HAS_OWN_CLOCK: bool = true;
    /// Whether a transaction has the operations of one call, and nothing of it can be undone: so it is not repeated in
    /// parts if it fails.
    const ONE_CALL_FOR_GOOD: bool = false;
    /// Whether a transaction failed because of a conflict; if so, waits a little. `tries`: how often it was tried
    /// before.
    fn wait_after_conflict(&mut self, _failed: &OrchestratorError, _tries: u32) -> bool {
        false
    }
    /// Begins a transaction. Nobody else changes what it reads until it ends. `operations`: what it will apply first; a
    /// back end over a network loads what they need in the same round trip.
    fn begin(&mut self, operations: &[Request], clock: &dyn Clock) -> Result<()>;
    /// How much more work may join the open transaction, which claims `wanted` items so far.
    fn may_join(&self, _wanted: usize) -> usize {
        usize::MAX
    }
    /// How many claims came to the open transaction, and when: a back end over a network chooses by it when the next one searches
    /// for items.
    fn note_claim_load(&mut self, _load: &ClaimLoad) {}
    /// The time of the open transaction: the caller's, unless the back end has a clock of its own.
    fn now(&self, clock: &dyn Clock) -> Timestamp {
        clock.now()
    }
    /// That time, and the time of the monotone clock.
    fn now_and_elapsed(&self, clock: &dyn Clock) -> (Timestamp, Duration) {
        if Self::HAS_OWN_CLOCK { (self.now(clock), clock.elapsed()) } else { clock.both() }
    }
    /// The transaction makes items of a queue claimable without adding any: other processes are notified.
    fn note_claimable(&mut self, _queue: QueueId) {}

    /// The transaction leaves nothing of a queue that could be claimed: others need not be told.
    fn note_none_left(&mut self, _queue: QueueId) {}
    /// Makes the transaction durable.
    fn commit(&mut self) -> Result<()>;
    /// Undoes the transaction. Never fails: a connection that cannot undo is reopened.
    fn rollback(&mut self);
    /// Rows that were passed over because they cannot be read.
    fn skipped_rows(&mut self) -> &mut SkippedRows;
    /// Undoes a transaction that a panic left open.
    fn abort(&mut self) {
        self.rollback();
    }
    /// Begins a read-only transaction on one consistent state.
    fn begin_reading(&mut self) -> Result<()>;
    /// The time in a read-only transaction: the caller's, unless the back end has a clock of its own.
    fn reading_at(&mut self, now: Timestamp) -> Result<Timestamp> {
        Ok(now)
    }
    /// The last time that was believed and kept. `None` for a store that does not outlive its process.
    fn kept_time(&mut self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
    /// Keeps a time that is believed.
    fn keep_time(&mut self, _believed: Timestamp) -> Result<()> {
        Ok(())
    }
    /// Makes the keys of queues and jobs.
    fn keys(&mut self) -> &mut KeyMaker;
    /// Makes the key of the next item to insert: greater than that of every item before it.
    fn next_item_key(&mut self, now: Timestamp) -> Result<ItemKey>;

    /// Announces that the transaction changes queues: other writers have to wait for it.
    fn lock_queues(&mut self) -> Result<()> {
        Ok(())
    }
    fn queue_named(&mut self, folder: FolderId, name: &str) -> Result<Option<Arc<QueueDefinition>>>;
    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>>;
    /// All queues, by name.
    fn queues(&mut self) -> Result<Vec<QueueDefinition>>;
    /// Puts a queue into these folders and no others.
    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()>;
    /// Inserts a queue and returns the id that the store gave it.
    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId>;
    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()>;
    /// Hides a queue and all its items. Its rows are removed later, in chunks.
    fn delete_queue(&mut self, id: QueueId) -> Result<()>;
    fn statistics(&mut self, queue: QueueId) -> Result<QueueStatistics>;
    /// The recent starts of a queue with limits. No other transaction starts items of it until this one ends. `next`: what
    /// [`next_items`](Self::next_items) is asked for afterwards, or for fewer of them; both can share a round trip.
    fn starts(&mut self, queue: QueueId, next: Option<&NextItems<'_>>) -> Result<Starts>;
    /// As that, while others may start items.
    fn recent_starts(&mut self, queue: QueueId) -> Result<Starts>;
    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()>;
    fn add_statistics(&mut self, queue: QueueId, delta: &QueueStatistics) -> Result<()>;

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId>;
    /// Inserts the retry copy of an item, behind everything that waits.
    fn insert_copy(&mut self, copy: &RetryCopy<'_>) -> Result<ItemId>;
    fn row(&mut self, id: ItemId) -> Result<Option<ItemRow>>;
    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>>;
    /// The first `count` items of a queue that may be claimed now, in the order of the model.
    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>>;
    /// The row as this process wrote it when it claimed the item, if it is cached. Another process may have changed it
    /// since: only for a guarded write, which detects that.
    fn cached_row(&mut self, id: ItemId) -> Option<ItemRow>;
    /// Writes the new state of an item if its row is still at the version of `before`. False: it is not, and nothing
    /// was written. (Always true, at once, if the row was read in this transaction: nobody else can have changed it.)
    fn write(&mut self, id: ItemId, before: &ItemRow, after: &StateUpdate<'_>) -> Result<bool>;
    /// Writes claims of items, all from one answer of [`next_items`](Self::next_items) and in its order.
    fn write_claimed(&mut self, queue: QueueId, claimed: &[ClaimedRow], now: Timestamp) -> Result<()> {
        for ClaimedRow { id, before, after, claimant } in claimed {
            let before = ItemRow { queue, state: *before, actors: Actors::default() };
            let written = StateUpdate { taken_by: Some(*claimant), ..StateUpdate::state(after, now) };
            assert!(self.write(*id, &before, &written)?, "item {id} was read in this transaction");
        }
        Ok(())
    }
    /// Writes the ends of attempts, with their exceptions; each guarded as in [`write`](Self::write). A back end over a
    /// network need not wait for the answer: if a row has changed, the transaction fails as after a conflict, and is repeated
    /// with the rows read.
    fn write_ended(&mut self, ended: &[(ItemId, QueueId, &ItemState, StateUpdate<'_>)]) -> Result<Vec<bool>> {
        let rows = ended.iter().map(|(id, queue, before, written)| {
            (*id, ItemRow { queue: *queue, state: **before, actors: Actors::default() }, written)
        });
        rows.map(|(id, before, written)| self.write(id, &before, written)).collect()
    }
    fn set_content(&mut self, id: ItemId, content: &SpecificContent) -> Result<()>;
    fn record(&mut self, id: ItemId, event: &Recorded) -> Result<()>;
    fn recorded(&mut self, id: ItemId) -> Result<Vec<Recorded>>;
    fn holds_reference(&mut self, queue: QueueId, reference: &str) -> Result<bool>;
    /// All rows of the retry chain of an item, by id.
    fn chain(&mut self, id: ItemId) -> Result<Vec<ItemId>>;
    /// The items that a job holds, those of deleted queues included.
    fn held_by(&mut self, job: JobNumber) -> Result<Vec<ItemId>>;
    /// The items that a job holds, without those of deleted queues, with what people want to see; the oldest first.
    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>>;
    fn in_progress_since_before(&mut self, before: Timestamp) -> Result<Vec<ItemId>>;
    /// The item with this unique key.
    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>>;
    /// A page of items, and how many match in all if that was asked for: any number over the page's limit stands for more.
    fn list(&mut self, ask: &ListRequest<'_>) -> Result<(Vec<QueueItem>, Option<u64>)>;
    /// The ids of a page, however large it is.
    fn list_ids(&mut self, ask: &ListRequest<'_>) -> Result<Vec<ItemId>> {
        Ok(self.list(ask)?.0.iter().map(|item| item.id).collect())
    }
    /// How attempts ended since a time, by minute.
    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>>;
    /// The document of a server and its version, if the version is not `known`.
    fn document(&mut self, known: u64) -> Result<Option<(u64, String)>>;
    fn write_document(&mut self, version: u64, text: &str) -> Result<()>;
    /// First attempts of a queue created before a time, the oldest first, for retention.
    fn roots_created_before(
        &mut self,
        queue: QueueId,
        before: Timestamp,
        after: ItemId,
        limit: usize,
    ) -> Result<Vec<ItemId>>;
    fn remove_item(&mut self, id: ItemId) -> Result<()>;

    /// Inserts a job. `of_this_process`: its lock file shows when the process has ended; not so for a job of a caller
    /// over HTTP.
    fn insert_job(&mut self, job: &Job, of_this_process: bool) -> Result<()>;
    /// A job. Nobody else changes it until the transaction ends.
    fn job(&mut self, key: JobKey) -> Result<Option<Job>>;
    /// A job that claims items. Nobody else ends it until the transaction ends.
    fn claiming_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.job(key)
    }
    /// Asks something about a job that claims items.
    fn ask_claiming_job<T>(&mut self, key: JobKey, ask: impl FnOnce(Option<&Job>) -> T) -> Result<T> {
        self.claiming_job(key).map(|job| ask(job.as_ref()))
    }
    /// A job that is to end. A concurrent claim for it is either committed before or finds it ended.
    fn ending_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.job(key)
    }
    fn write_job(&mut self, job: &Job) -> Result<()>;
    fn live_jobs(&mut self) -> Result<Vec<Job>>;
    /// The jobs of one folder, or all; the latest first.
    fn jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>>;
    /// Jobs by number, at least those that match; not more than the limit of the filter.
    fn listed_jobs(&mut self, filter: &JobFilter) -> Result<Vec<Job>>;
    /// Whether the process of a job is known to have ended. False if that cannot be known.
    fn process_is_gone(&mut self, job: JobKey) -> bool;
}

/// The part of an item's row that the rules need, and who acted on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemRow {
    pub(crate) queue: QueueId,
    pub(crate) state: ItemState,
    pub(crate) actors: Actors,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl ItemRow {
    /// The row after an update, for a cache of claimed rows. It has no `ended_by`: an ended item leaves the cache.
    pub(crate) fn after(&self, written: &StateUpdate<'_>) -> Self {
        let taken_by = written.taken_by.map_or(self.actors.taken_by, |claimant| claimant.user);
        Self { queue: self.queue, state: *written.state, actors: Actors { taken_by, ..self.actors } }
    }
}

/// Which items may be claimed.
#[derive(Debug)]
pub(crate) struct NextItems<'a> {
    pub(crate) queue: QueueId,
    pub(crate) reference: Option<&'a ReferenceFilter>,
    pub(crate) count: usize,
    pub(crate) now: Timestamp,
    /// The rules of the queue about groups: then only some of the items that wait are ready.
    pub(crate) groups: Option<GroupRules>,
}

/// Which items to list.
#[derive(Debug)]
pub(crate) struct ListRequest<'a> {
    pub(crate) queues: &'a [QueueId],
    pub(crate) filter: &'a ItemFilter,
    /// Its cursor is a part of the filter's condition already.
    pub(crate) page: &'a Page,
    /// Whether to count, up to the limit of the page.
    pub(crate) count: bool,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl ListRequest<'_> {
    /// How many rows to count at most, as a LIMIT: one more than the limit of the page shows that there are more.
    pub(crate) fn rows_counted(&self) -> i64 {
        i64::try_from(self.page.count_limit).unwrap_or(i64::MAX).saturating_add(1)
    }
}

/// The outcome of attempts that failed by such an exception.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) const fn outcome_of(exception: ExceptionType) -> Outcome {
    match exception {
        ExceptionType::BusinessException => Outcome::BusinessException,
        ExceptionType::ApplicationException => Outcome::ApplicationException,
    }
}

/// A new item to insert.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) queue: QueueId,
    pub(crate) unique_key: ItemKey,
    pub(crate) state: &'a ItemState,
    pub(crate) reference: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    /// The group in which it waits; it becomes ready when the groups are settled. `None`: it is ready at once.
    pub(crate) behind: Option<&'a str>,
    pub(crate) content: &'a SpecificContent,
    pub(crate) risk_sla_date: Option<Timestamp>,
    pub(crate) progress: Option<&'a str>,
    pub(crate) origin: &'a Origin,
    pub(crate) created_by: Option<i64>,
    /// The store's time: decides whether the item is deferred.
    pub(crate) now: Timestamp,
}

/// A retry copy to insert; everything not named here is copied from the original.
#[derive(Debug)]
pub(crate) struct RetryCopy<'a> {
    pub(crate) original: ItemId,
    pub(crate) queue: QueueId,
    pub(crate) unique_key: ItemKey,
    pub(crate) state: &'a ItemState,
    pub(crate) by_hand: bool,
    pub(crate) created_by: Option<i64>,
    pub(crate) now: Timestamp,
}

/// A claimed item.
#[derive(Debug)]
pub(crate) struct ClaimedRow {
    pub(crate) id: ItemId,
    pub(crate) before: ItemState,
    pub(crate) after: ItemState,
    pub(crate) claimant: Claimant,
}

/// What is written with a change of state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateUpdate<'a> {
    pub(crate) state: &'a ItemState,
    pub(crate) now: Timestamp,
    pub(crate) taken_by: Option<Claimant>,
    /// The user who ended the attempt, if it ends.
    pub(crate) ended_by: Option<i64>,
    pub(crate) output: Option<&'a Output>,
    pub(crate) analytics: Option<&'a Analytics>,
    pub(crate) operation_id: Option<&'a str>,
    pub(crate) exception: Option<&'a ProcessingException>,
    pub(crate) progress: Option<&'a str>,
}

impl<'a> StateUpdate<'a> {
    /// Only the state.
    pub(crate) fn state(state: &'a ItemState, now: Timestamp) -> Self {
        Self {
            state,
            now,
            taken_by: None,
            ended_by: None,
            output: None,
            analytics: None,
            operation_id: None,
            exception: None,
            progress: None,
        }
    }
}
