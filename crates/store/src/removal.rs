//! Removes what is no longer needed, in chunks: each is a transaction of its own, so that others wait for one chunk
//! only.
//!
//! A queue that is deleted is hidden with that commit, and so are its items. What is left to remove is a list in the
//! store, which any process works on, and continues after a restart.

use jiff::Timestamp;

use super::backend::{Operation, Query};
use super::{Store, expect_answer};
use performer_core::model::clock::Clock as _;
use performer_core::model::key::{ItemId, JobKey, JobNumber, QueueId};
use performer_core::model::review::{FailedItems, ItemVersion};
use performer_core::orchestrator::Result;

/// About how many rows a chunk removes. An item may have several.
pub(crate) const CHUNK_ROWS: usize = 500;

/// The most item ids that a chunk scans for items to remove.
pub(crate) const MAX_IDS_SCANNED: i64 = 20_000;

/// How many chunks a sweep removes: the next sweep comes soon, and beats wait for this one.
pub(super) const CHUNKS_PER_SWEEP: usize = 4;

/// What a back end does about deleted queues and ended jobs, inside the one transaction that is open.
pub(crate) trait Removal {
    /// Schedules the removal of everything in a deleted queue.
    fn schedule_removal(&mut self, queue: QueueId) -> Result<()>;

    /// Whether anything is to be removed.
    fn has_removals(&mut self) -> Result<bool>;

    /// Removes about `limit` rows, or scans [`MAX_IDS_SCANNED`] ids. Returns whether there may be more to remove.
    fn remove_chunk(&mut self, limit: usize) -> Result<bool>;

    /// At most `limit` jobs that ended before a time, in the order of their numbers, from behind `after` on; and
    /// whether an item names each of them as the one that claimed it.
    fn ended_jobs(
        &mut self,
        before: Timestamp,
        after: JobNumber,
        limit: usize,
    ) -> Result<Vec<(JobKey, bool)>>;

    /// Removes jobs that have ended. Returns how many there were.
    fn remove_jobs(&mut self, jobs: &[JobKey]) -> Result<u64>;
}

/// How many jobs are checked together: finding those that items name takes a scan of all items.
const JOBS_PER_SCAN: usize = 10_000;

/// A chunk of the removal of items past their retention.
#[derive(Debug)]
pub(crate) struct RetentionProgress {
    pub(crate) removed: usize,
    /// Where the next chunk begins. `None`: all queues have been scanned.
    pub(crate) next: Option<(QueueId, ItemId)>,
}

/// What was removed because it ended long ago.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedEnded {
    pub jobs: u64,
    pub tokens: u64,
}

impl Store {
    /// Whether rows of deleted queues are left.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn has_removals(&self) -> Result<bool> {
        Ok(expect_answer!(self.read(Query::LiveJobs).await, LiveJobs)?.has_removals)
    }

    /// Removes rows of deleted queues, at most so many chunks. Returns whether more are left.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn remove_deleted(&self, chunks: usize) -> Result<bool> {
        for _ in 0..chunks {
            let operation = Operation::RemoveDeleted { limit: CHUNK_ROWS };
            if !expect_answer!(self.one(operation).await, MoreIsLeft)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes about `limit` items that are past their queue's retention. Returns how many.
    pub async fn remove_expired(&self, limit: usize) -> Result<u64> {
        let (mut removed, mut after) = (0, None);
        loop {
            let operation = Operation::ApplyRetention { limit: limit.saturating_sub(removed), after };
            let chunk = expect_answer!(self.one(operation).await, RetentionProgress)?;
            removed += chunk.removed;
            after = chunk.next;
            if after.is_none() || removed >= limit {
                return Ok(removed as u64);
            }
        }
    }

    /// Removes jobs and tokens that ended longer ago than [`KeptFor`](performer_core::model::kept_for::KeptFor) says, but no job that an
    /// item names as the one that claimed it, in chunks of `limit`. `pause` is awaited between the chunks. A server does this by
    /// itself.
    #[doc(hidden)]
    pub async fn remove_ended(&self, limit: usize, pause: impl AsyncFn()) -> Result<RemovedEnded> {
        let (mut removed, mut after) = (RemovedEnded::default(), JobNumber(i64::MIN));
        loop {
            // Found by a reader thread. What it finds stays true: a job that has ended claims no more items.
            let query = Query::EndedJobs { now: self.clock.now(), after, limit: JOBS_PER_SCAN };
            let ended = expect_answer!(self.read(query).await, EndedJobs)?;
            let Some((last, _)) = ended.last() else { break };
            after = last.number();
            let unused: Vec<JobKey> =
                ended.iter().filter(|(_, is_named)| !is_named).map(|(job, _)| *job).collect();
            for jobs in unused.chunks(limit.max(1)) {
                let operation = Operation::RemoveJobs(jobs.to_vec());
                removed.jobs += expect_answer!(self.one(operation).await, Removed)?;
                pause().await;
            }
            if ended.len() < JOBS_PER_SCAN {
                break;
            }
        }
        loop {
            let operation = Operation::RemoveEndedTokens { limit };
            let tokens = expect_answer!(self.one(operation).await, Removed)?;
            removed.tokens += tokens;
            if tokens < limit as u64 {
                return Ok(removed);
            }
            pause().await;
        }
    }

    /// Applies an operation to many items, in chunks, so that others get their turn in between.
    pub(super) async fn in_chunks(
        &self,
        items: Vec<ItemVersion>,
        operation: impl Fn(Vec<ItemVersion>) -> Operation + Send + Sync,
    ) -> Result<FailedItems> {
        let mut failed = FailedItems::default();
        for chunk in items.chunks(CHUNK_ROWS) {
            let FailedItems(refused) = expect_answer!(self.one(operation(chunk.to_vec())).await, Failed)?;
            failed.0.extend(refused);
        }
        Ok(failed)
    }
}
