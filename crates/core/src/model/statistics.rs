//! How many items of a queue are in which state.

use jiff::Timestamp;
use serde::Serialize;

use super::key::QueueId;
use super::lifecycle::ItemState;
use super::result::Outcome;
use super::status::Status;

/// The items of one queue, counted by state. The store updates it with every change, so that reading it costs the same
/// however many items there are.
///
/// It serializes with the names of the Orchestrator's API (those of its QueueProcessingRecords), and abandoned and deleted items
/// with names in the same form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct QueueStatistics {
    /// Waiting, postponed ones included.
    #[serde(rename = "NumberOfRemainingTransactions")]
    pub new: i64,
    /// Claimed by a robot.
    #[serde(rename = "NumberOfInProgressTransactions")]
    pub in_progress: i64,
    /// Ended with success.
    #[serde(rename = "NumberOfSuccessfulTransactions")]
    pub successful: i64,
    /// Failed by a BusinessException.
    #[serde(rename = "NumberOfBusinessExceptions")]
    pub business_exceptions: i64,
    /// Failed by an ApplicationException with no retry left, or without an exception.
    #[serde(rename = "NumberOfApplicationExceptions")]
    pub application_exceptions: i64,
    /// Failed or abandoned, and replaced by a retry copy.
    #[serde(rename = "NumberOfRetriedItems")]
    pub retried: i64,
    /// Their robot disappeared, and no copy replaces them.
    #[serde(rename = "NumberOfAbandonedItems")]
    pub abandoned: i64,
    /// Deleted by somebody.
    #[serde(rename = "NumberOfDeletedItems")]
    pub deleted: i64,
}

/// What is left to do in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueBacklog {
    /// The queue.
    pub queue: QueueId,
    /// Items that wait, postponed ones included.
    pub new: i64,
    /// Items that a robot has claimed.
    pub in_progress: i64,
}

impl QueueBacklog {
    /// The backlog of a queue.
    pub fn new(queue: QueueId, new: i64, in_progress: i64) -> Self {
        Self { queue, new, in_progress }
    }
}

/// Attempts of one queue that ended within one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The queue.
    pub queue: QueueId,
    /// The minute, counted from 1970.
    pub minute: i64,
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: i64,
    /// Their total processing time, in microseconds.
    pub took: i64,
    /// When the last one ended.
    pub last: Timestamp,
}

impl QueueStatistics {
    /// All items of the queue.
    pub fn total(&self) -> i64 {
        let Self { new, in_progress, successful, business_exceptions, .. } = self;
        let Self { application_exceptions, retried, abandoned, deleted, .. } = self;
        new + in_progress
            + successful
            + business_exceptions
            + application_exceptions
            + retried
            + abandoned
            + deleted
    }

    /// The items with this status.
    pub fn with_status(&self, status: Status) -> i64 {
        match status {
            Status::New => self.new,
            Status::InProgress => self.in_progress,
            Status::Failed => self.business_exceptions + self.application_exceptions,
            Status::Successful => self.successful,
            Status::Abandoned => self.abandoned,
            Status::Retried => self.retried,
            Status::Deleted => self.deleted,
        }
    }

    /// Counts `by` more items in this state.
    pub fn count(&mut self, state: &ItemState, by: i64) {
        *self.counter(state.status, state.outcome) += by;
    }

    /// Counts an item that moved from one state to another.
    pub fn moved(&mut self, before: &ItemState, after: &ItemState) {
        self.count(before, -1);
        self.count(after, 1);
    }

    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.new += other.new;
        self.in_progress += other.in_progress;
        self.successful += other.successful;
        self.business_exceptions += other.business_exceptions;
        self.application_exceptions += other.application_exceptions;
        self.retried += other.retried;
        self.abandoned += other.abandoned;
        self.deleted += other.deleted;
    }

    fn counter(&mut self, status: Status, outcome: Option<Outcome>) -> &mut i64 {
        match status {
            Status::New => &mut self.new,
            Status::InProgress => &mut self.in_progress,
            Status::Failed if outcome == Some(Outcome::BusinessException) => &mut self.business_exceptions,
            Status::Failed => &mut self.application_exceptions,
            Status::Successful => &mut self.successful,
            Status::Abandoned => &mut self.abandoned,
            Status::Retried => &mut self.retried,
            Status::Deleted => &mut self.deleted,
        }
    }
}
