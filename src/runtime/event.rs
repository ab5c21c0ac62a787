//! Events during a run, for progress bars and metrics.

use std::time::Duration;

use crate::model::{ItemId, JobKey, JobState};

/// An event during a run. It is passed to the function set with [`Performer::on_event`](super::Performer::on_event), on the
/// thread on which it happened, so the function must return quickly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PerformerEvent {
    /// The job is registered and the robots start.
    JobStarted {
        /// Its identity.
        job: JobKey,
    },
    /// A robot has opened its applications: at its start, or again after an ApplicationException. An opening that fails ends the job
    /// as Faulted.
    ApplicationsOpened {
        /// The robot, counted from 1.
        robot: u32,
    },
    /// A robot starts to process an item.
    TransactionStarted {
        /// The item.
        item: ItemId,
        /// The robot, counted from 1.
        robot: u32,
    },
    /// The outcome of an item is recorded. (Items given back from the buffer of `claim_ahead` were never started.)
    TransactionEnded {
        /// The item.
        item: ItemId,
        /// Its outcome.
        outcome: TransactionOutcome,
        /// How long it was processed; zero if it was not started.
        duration: Duration,
    },
    /// A robot has closed its applications. A closing that a kill interrupted has no event.
    ApplicationsClosed {
        /// The robot, counted from 1.
        robot: u32,
        /// Why they could not be closed, if that failed.
        error: Option<String>,
    },
    /// A stop of the performer was requested.
    StopRequested,
    /// This transaction did not end within the grace period, or did not end after it was interrupted.
    TransactionStuck {
        /// The item.
        item: ItemId,
        /// The robot, counted from 1.
        robot: u32,
    },
    /// The job has ended.
    JobEnded {
        /// Its final state.
        state: JobState,
    },
}

/// The outcome of one attempt at an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// The item is Successful.
    Successful,
    /// The item is Failed: its data was wrong.
    BusinessException,
    /// The item is Failed: an application or the environment failed, and no retry was left.
    ApplicationException,
    /// An application or the environment failed, and a copy of the item was added for the retry.
    Retried,
    /// The item is deferred to a later time.
    Postponed,
    /// The item is back in the queue, as if it had never been claimed.
    GivenBack,
    /// The claim on the item was no longer valid; the report changed nothing.
    ClaimLost,
    /// The result could not be recorded; the item becomes Abandoned when the job ends.
    NotRecorded,
}
