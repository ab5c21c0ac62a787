//! What is of no use any more, removed in pieces: each is a transaction of its own, so that others wait for one piece and not
//! for the whole.
//!
//! A queue that is deleted cannot be found from that commit on, nor anything in it. What it held is a list of removals in the
//! store, which any process goes on with, and after a restart too.

use std::time::Duration;

use jiff::Timestamp;

use super::super::Result;
use super::backend::{Operation, Query};
use super::{Store, expect_answer};
use crate::model::clock::Clock as _;
use crate::model::key::{ItemId, JobKey, JobNumber, QueueId};
use crate::model::review::{FailedItems, ItemVersion};

/// About how many rows a piece removes. Of one item there may be several.
pub(crate) const CHUNK_ROWS: usize = 500;

/// How many ids of items a piece looks at on its way to those that it removes.
pub(crate) const MAX_IDS_SCANNED: i64 = 20_000;

/// How many pieces a sweep removes: it comes again soon, and beats wait for it.
pub(super) const CHUNKS_PER_SWEEP: usize = 4;

/// What a store does about queues that were deleted, inside the one transaction that is open at a time.
pub(crate) trait Removal {
    /// A queue was deleted: what it held is to be removed.
    fn schedule_removal(&mut self, queue: QueueId) -> Result<()>;

    /// Whether anything is to be removed.
    fn has_removals(&mut self) -> Result<bool>;

    /// Removes about `limit` rows, or looks at [`MAX_IDS_SCANNED`] ids. Answers whether more may have to be removed.
    fn remove_chunk(&mut self, limit: usize) -> Result<bool>;

    /// Jobs that ended before a time, so many at the most, in the order of their numbers, from behind one on; and whether an
    /// item names each of them as the one that took it.
    fn ended_jobs(
        &mut self,
        before: Timestamp,
        after: JobNumber,
        limit: usize,
    ) -> Result<Vec<(JobKey, bool)>>;

    /// Removes jobs that have ended.
    fn remove_jobs(&mut self, jobs: &[JobKey]) -> Result<u64>;
}

/// For how long a job is kept that has ended; longer while an item names it as the one that took it.
pub(crate) const JOB_RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// For how long a token is kept that has ended. It is of no use any more; but a clock that is wrong for a while destroys none.
pub(crate) const TOKEN_RETENTION: Duration = Duration::from_secs(86_400);

/// So many jobs are looked at together: to know which of them items name takes a walk along all items.
const JOBS_PER_SCAN: usize = 10_000;

/// A piece of the removal of items past their retention.
#[derive(Debug)]
pub(crate) struct RetentionProgress {
    pub(crate) removed: usize,
    /// Where the next piece begins. None: everything has been looked at.
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
    /// Whether anything is left of queues that were deleted.
    #[cfg(feature = "server")]
    pub(crate) async fn has_removals(&self) -> Result<bool> {
        Ok(expect_answer!(self.read(Query::LiveJobs).await, LiveJobs)?.has_removals)
    }

    /// Removes what is left of queues that were deleted, at most so many pieces of it. Answers whether more is left.
    pub(crate) async fn remove_deleted(&self, chunks: usize) -> Result<bool> {
        for _ in 0..chunks {
            let operation = Operation::RemoveDeleted { limit: CHUNK_ROWS };
            if !expect_answer!(self.one(operation).await, MoreIsLeft)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes items that are past their queue's retention, about `limit` of them. Answers how many there were.
    pub(crate) async fn remove_expired(&self, limit: usize) -> Result<u64> {
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

    /// Removes jobs that ended 30 days ago, and that no item names as the one that took it, and tokens that ended a day ago; in
    /// pieces of `limit`. `go_on` is asked between the pieces. A server does so by itself.
    #[doc(hidden)]
    pub async fn remove_ended(&self, limit: usize, pause: impl AsyncFn()) -> Result<RemovedEnded> {
        let (mut removed, mut after) = (RemovedEnded::default(), JobNumber(i64::MIN));
        loop {
            // Looked for by a thread that reads. What it finds stays so: a job that has ended takes no more items.
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

    /// Does something to each of many items, so many at a time. Others have their turn in between.
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
