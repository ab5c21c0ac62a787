//! What happens while a performer runs, for progress bars and counters of the user's own.

use std::time::Duration;

use crate::model::job::JobState;
use crate::model::key::{ItemId, JobKey};

/// Something that happened. Given to the function set with
/// [`Performer::on_event`](super::Performer::on_event), on the thread on which it happened: be quick.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PerformerEvent {
    /// The job is registered and the robots start.
    JobStarted {
        /// Its identity.
        job: JobKey,
    },
    /// A robot begins with an item.
    TransactionStarted {
        /// The item.
        item: ItemId,
        /// The robot, counted from 1.
        robot: u32,
    },
    /// What became of an item is recorded. (One that is given back from the buffer of `claim_ahead` was never started.)
    TransactionEnded {
        /// The item.
        item: ItemId,
        /// What became of it.
        ending: Ending,
        /// How long it was processed.
        duration: Duration,
    },
    /// Somebody asked the performer to stop.
    StopRequested,
    /// The grace period is over and this transaction has not ended; or it was interrupted and goes on
    /// nevertheless.
    TransactionStuck {
        /// The item.
        item: ItemId,
        /// The robot, counted from 1.
        robot: u32,
    },
    /// The job has ended.
    JobEnded {
        /// How.
        state: JobState,
    },
}

/// What became of one run of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The item is Successful.
    Successful,
    /// The item is Failed: the data was wrong.
    BusinessException,
    /// The item is Failed: the world was wrong, and no retry was left.
    ApplicationException,
    /// The world was wrong, and a copy of the item waits to be retried.
    Retried,
    /// The item waits for a later time.
    Postponed,
    /// The item is back in the queue, as if it had never been taken.
    GivenBack,
    /// The item was no longer this performer's; what it reported changed nothing.
    ClaimLost,
    /// The result could not be recorded; the item is Abandoned when the job ends.
    NotRecorded,
}
