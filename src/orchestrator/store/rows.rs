//! A store seen row by row: what [`apply`](super::apply) needs to apply the rules.
//!
//! For stores where one more statement costs a microsecond (memory, SQLite). No method here knows a rule;
//! each reads or writes what it is told.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::{OrchestratorError, Result};
use super::removal::Removal;
use super::backend::{Request, Claimant, WriterHooks};
use super::tokens::Tokens;
use super::unreadable_rows::SkippedItems;
use crate::model::clock::Clock;
use crate::model::content::{Analytics, Output, SpecificContent};
use crate::model::exception::ProcessingException;
use crate::model::history::{Actors, Recorded};
use crate::model::item::{ItemFilter, Origin, Page, QueueItem, ReferenceFilter};
use crate::model::job::Job;
use crate::model::key::{FolderId, ItemId, ItemKey, JobKey, JobNumber, KeyMaker, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::limits::Starts;
use crate::model::queue::QueueDefinition;
use crate::model::review::{Comment, Person};
use crate::model::robot::Held;
use crate::model::statistics::{Ended, QueueStatistics};

/// Rows, inside the one transaction that is open at a time.
pub(crate) trait Rows: WriterHooks + Removal + Tokens {
    /// Whether others write at the same time, and may be in the way so that a transaction is undone through no fault of its own.
    const CAN_CONFLICT: bool = false;
    /// Whether a transaction failed because others were in its way; if so, waits a little for them. `tries`: how often it was
    /// tried before.
    fn wait_after_conflict(&mut self, _failed: &OrchestratorError, _tries: u32) -> bool {
        false
    }
    /// Opens the transaction; nobody else writes until it ends. `operations`: what it will do first. Where each question is
    /// a way to a server and back, what these need is asked for now.
    fn begin(&mut self, operations: &[Request], clock: &dyn Clock) -> Result<()>;
    /// The time of the open transaction: the caller's, unless the store has a clock of its own.
    fn now(&self, clock: &dyn Clock) -> Timestamp {
        clock.now()
    }
    /// The transaction leaves something to take of a queue although it added nothing: other processes are to hear of it.
    fn note_claimable(&mut self, _queue: QueueId) {}
    /// Makes the transaction durable.
    fn commit(&mut self) -> Result<()>;
    /// Undoes the transaction. Never fails: what cannot be undone is reopened.
    fn rollback(&mut self);
    /// Items whose rows could not be read.
    fn skipped_items(&mut self) -> &mut SkippedItems;
    /// Undoes a transaction that a panic left open.
    fn abort(&mut self) {
        self.rollback();
    }
    /// Opens a transaction that only reads, from one consistent state.
    fn begin_reading(&mut self) -> Result<()>;
    /// The time in a transaction that only reads: the caller's, unless the store has a clock of its own.
    fn reading_at(&mut self, now: Timestamp) -> Result<Timestamp> {
        Ok(now)
    }
    /// The time that was kept last because it was believed. None: a store that does not outlive its process keeps none.
    fn kept_time(&mut self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
    /// Keeps a time that is believed.
    fn keep_time(&mut self, _believed: Timestamp) -> Result<()> {
        Ok(())
    }
    /// Makes the keys of queues and jobs.
    fn keys(&mut self) -> &mut KeyMaker;
    /// Makes the key of the next item that will be inserted: greater than that of every item before it.
    fn next_item_key(&mut self, now: Timestamp) -> Result<ItemKey>;

    /// The transaction is about to change queues: where others write at the same time, they have to wait.
    fn lock_queues(&mut self) -> Result<()> {
        Ok(())
    }
    fn queue_named(&mut self, folder: FolderId, name: &str) -> Result<Option<Arc<QueueDefinition>>>;
    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>>;
    /// All queues, by name.
    fn queues(&mut self) -> Result<Vec<QueueDefinition>>;
    /// Puts a queue into these folders and no others.
    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()>;
    /// Inserts a queue; its id is given by the store.
    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId>;
    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()>;
    /// The queue cannot be found any more, nor anything in it. What it held stays until it is removed in pieces.
    fn delete_queue(&mut self, id: QueueId) -> Result<()>;
    fn statistics(&mut self, queue: QueueId) -> Result<QueueStatistics>;
    /// The starts of a queue with limits. Nobody else starts anything of it until the transaction ends.
    fn starts(&mut self, queue: QueueId) -> Result<Starts>;
    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()>;
    fn add_statistics(&mut self, queue: QueueId, delta: &QueueStatistics) -> Result<()>;

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId>;
    /// Inserts the retry copy of an item, behind everything that waits.
    fn insert_copy(&mut self, copy: &RetryCopy<'_>) -> Result<ItemId>;
    fn row(&mut self, id: ItemId) -> Result<Option<ItemRow>>;
    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>>;
    /// The first `count` items of a queue that may be handed out now, in the order of the model.
    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>>;
    /// The row as this process left it when it took the item, if it remembers: what it is, unless somebody
    /// else has changed it since. Only for a guarded write, which finds out.
    fn cached_row(&mut self, id: ItemId) -> Option<ItemRow>;
    /// Writes what changed of an item's state, if the row is still at the version of `before`. False: it is not,
    /// and nothing was written.
    fn write(&mut self, id: ItemId, before: &ItemRow, after: &StateUpdate<'_>) -> Result<bool>;
    /// Writes the takes of items, all from one answer of [`next_items`](Self::next_items) and in its order.
    fn write_claimed(&mut self, queue: QueueId, claimed: &[ClaimedRow], now: Timestamp) -> Result<()> {
        for ClaimedRow { id, before, after, claimant } in taken {
            let before = ItemRow { queue, state: *before, actors: Actors::default() };
            let written = StateUpdate { taken_by: Some(*claimant), ..StateUpdate::state(after, now) };
            assert!(self.write(*id, &before, &written)?, "item {id} was read in this transaction");
        }
        Ok(())
    }
    /// What will be asked for when the next ends are written: both can go together. `limited`: before it the
    /// [`starts`](Self::starts) of the queue are read, and perhaps fewer are asked for.
    fn announce_claim(&mut self, _next: &NextItems<'_>, _limited: bool) {}
    /// Writes the ends of attempts, and the exceptions that they are told with; each is guarded as in
    /// [`write`](Self::write).
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
    /// All rows of the retry chain an item belongs to, by id.
    fn chain(&mut self, id: ItemId) -> Result<Vec<ItemId>>;
    /// What a job holds, of queues that were deleted too.
    fn held_by(&mut self, job: JobNumber) -> Result<Vec<ItemId>>;
    /// What a job holds of queues that there are, with what people want to know of it; the oldest first.
    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>>;
    fn in_progress_since_before(&mut self, before: Timestamp) -> Result<Vec<ItemId>>;
    /// The item with this key of its own.
    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>>;
    /// Items of these queues, and how many there are in all if that is asked for.
    fn list(&mut self, ask: &ListRequest<'_>) -> Result<(Vec<QueueItem>, Option<u64>)>;
    /// How attempts ended since a time, by minute.
    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>>;
    /// The directory, if there is one of another version than this.
    fn directory(&mut self, known: u64) -> Result<Option<(u64, String)>>;
    fn write_directory(&mut self, version: u64, text: &str) -> Result<()>;
    /// First attempts of a queue created before a time, the oldest first: where retention looks.
    fn roots_created_before(
        &mut self,
        queue: QueueId,
        before: Timestamp,
        after: ItemId,
        limit: usize,
    ) -> Result<Vec<ItemId>>;
    fn remove_item(&mut self, id: ItemId) -> Result<()>;

    fn insert_comment(&mut self, id: ItemId, author: &Person, text: &str, now: Timestamp) -> Result<Comment>;
    fn comment(&mut self, comment: i64) -> Result<Option<Comment>>;
    fn write_comment(&mut self, comment: i64, text: Option<&str>) -> Result<()>;
    fn comments_on(&mut self, id: ItemId) -> Result<Vec<Comment>>;
    fn all_comments(&mut self) -> Result<Vec<Comment>>;

    /// A job of this process is seen to be gone when the process is; one of a caller over HTTP is not.
    fn insert_job(&mut self, job: &Job, of_this_process: bool) -> Result<()>;
    /// A job as it is until the transaction ends, unless this one changes it.
    fn job(&mut self, key: JobKey) -> Result<Option<Job>>;
    /// A job for which items are taken: nobody else ends it until the transaction ends.
    fn claiming_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.job(key)
    }
    /// A job that is to end: whoever takes items for it has done so, or finds it ended.
    fn ending_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.job(key)
    }
    fn write_job(&mut self, job: &Job) -> Result<()>;
    fn live_jobs(&mut self) -> Result<Vec<Job>>;
    /// Those of one folder, or all; the latest first.
    fn jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>>;
    /// Whether the process of a job is known to be gone. False when nobody can tell.
    fn process_is_gone(&mut self, job: JobKey) -> bool;
}

/// The part of an item's row that the rules look at, and who did what it remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemRow {
    pub(crate) queue: QueueId,
    pub(crate) state: ItemState,
    pub(crate) actors: Actors,
}

impl ItemRow {
    /// As it is once a change is written, but for the end of an attempt: nobody asks who ended it without reading it.
    pub(crate) fn after(&self, written: &StateUpdate<'_>) -> Self {
        let taken_by = written.taken_by.map_or(self.actors.taken_by, |claimant| claimant.user);
        Self { queue: self.queue, state: *written.state, actors: Actors { taken_by, ..self.actors } }
    }
}

/// Which items may be handed out.
#[derive(Debug)]
pub(crate) struct NextItems<'a> {
    pub(crate) queue: QueueId,
    pub(crate) reference: Option<&'a ReferenceFilter>,
    pub(crate) count: usize,
    pub(crate) now: Timestamp,
}

/// Which items to list.
#[derive(Debug)]
pub(crate) struct ListRequest<'a> {
    pub(crate) queues: &'a [QueueId],
    pub(crate) filter: &'a ItemFilter,
    pub(crate) page: Page,
    pub(crate) count: bool,
}

/// A new item as it is inserted.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) queue: QueueId,
    pub(crate) unique_key: ItemKey,
    pub(crate) state: &'a ItemState,
    pub(crate) reference: Option<&'a str>,
    pub(crate) content: &'a SpecificContent,
    pub(crate) risk_sla_date: Option<Timestamp>,
    pub(crate) progress: Option<&'a str>,
    pub(crate) origin: &'a Origin,
    pub(crate) created_by: Option<i64>,
    /// The store's time: whether the item is deferred.
    pub(crate) now: Timestamp,
}

/// A retry copy as it is inserted; everything not named here is the original's.
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

/// An item that is taken.
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
    /// The user who ended the attempt, where it ends.
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
