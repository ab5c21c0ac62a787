//! Groups of failures: what a back end keeps of them. What a group is, and which items are open in it, says
//! [`performer_core::model::reason`].
//!
//! Only attempts that fail pay for them, and whoever reviews, deletes or removes an item that failed.

use jiff::Timestamp;

use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::fingerprint::fingerprint;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::reason::{Reason, ReasonFilter, is_open, sample};
use performer_core::orchestrator::Result;

/// An attempt that failed, and whose exception is written.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) item: ItemId,
    pub(crate) queue: QueueId,
    pub(crate) exception_type: ExceptionType,
    pub(crate) fingerprint: String,
    pub(crate) sample: String,
    pub(crate) at: Timestamp,
    pub(crate) is_open: bool,
}

impl Failure {
    pub(crate) fn of(
        item: ItemId,
        queue: QueueId,
        state: &ItemState,
        exception: &ProcessingException,
        now: Timestamp,
    ) -> Self {
        Self {
            item,
            queue,
            exception_type: exception.exception_type,
            fingerprint: fingerprint(&exception.reason),
            sample: sample(&exception.reason),
            at: state.end_processing.unwrap_or(now),
            is_open: is_open(state),
        }
    }

    /// This failure, counted in the group of all failures that have no group of their own.
    pub(crate) fn among_others(&self) -> Self {
        Self { fingerprint: String::new(), sample: self.sample.clone(), ..*self }
    }
}

/// What a back end does about groups of failures, inside the one transaction that is open.
pub(crate) trait Reasons {
    /// Counts a failure in its group, and notes the group at the item. A group that there is not is made, unless the queue has
    /// [`MAX_REASONS`](performer_core::model::reason::MAX_REASONS).
    fn count_failure(&mut self, failure: &Failure) -> Result<()>;

    /// Counts an item that failed before as open, or as not open any more: `by` is 1 or -1. An item without a group is in none.
    fn count_open(&mut self, item: ItemId, by: i64) -> Result<()>;

    /// No other transaction writes the note or the owner of a group until this one ends.
    fn lock_reason(&mut self, _id: i64) -> Result<()> {
        Ok(())
    }

    /// Writes the note and the owner of a group.
    fn write_reason(&mut self, reason: &Reason) -> Result<()>;

    /// Groups of these queues. The names in the filter are those of these queues already.
    fn reasons(&mut self, queues: &[QueueId], filter: &ReasonFilter) -> Result<Vec<Reason>>;
}
