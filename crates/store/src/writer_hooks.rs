//! What a writer thread asks of its back end besides commits, and what a commit does besides answering.

use std::time::Duration;

use super::backend::Answer;
use super::group_commit::ChangeCallback;
use super::notifier::WakeSet;
use super::readers::QueryDeadline;
use performer_core::orchestrator::Result;

/// What a commit does besides answering.
#[derive(Default)]
pub(crate) struct CommitEffects {
    /// The queues of which items may have become claimable.
    pub(crate) wakes: WakeSet,
    /// For each transaction whose outcome is unknown: what it would have answered.
    pub(crate) in_doubt: Vec<Vec<Answer>>,
}

/// What a writer thread asks of its back end besides commits.
pub(crate) trait WriterHooks: Send {
    /// Whether the oldest commit with unknown outcome was, or may have been, made. Each is asked for once, before
    /// anything else is done.
    ///
    /// # Errors
    ///
    /// It is not known yet.
    fn was_committed(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// The queues whose items have become claimable because they are no longer kept for a robot, since the last call.
    fn take_released(&mut self) -> WakeSet {
        WakeSet::default()
    }

    /// Whether the last commit did work that only one transaction can do at a time, so that another one would have
    /// blocked.
    fn is_serialized(&self) -> bool {
        false
    }

    /// Whether other processes write at the same time, as far as is known.
    fn has_other_writers(&self) -> bool {
        false
    }

    /// Whether a transaction can be begun now.
    fn is_reachable(&mut self) -> bool {
        true
    }

    /// Called after all callers were answered: short work that prepares the next commit.
    fn prepare_next(&mut self) {}

    /// How long a transaction is kept open for the next call, if one is. If no call arrives in this time,
    /// [`close_kept`](Self::close_kept) is called.
    fn keep_open_for(&self) -> Option<Duration> {
        None
    }

    /// No call arrived. Returns the queues of which items have become claimable by that.
    fn close_kept(&mut self) -> WakeSet {
        WakeSet::default()
    }

    /// Sets the deadline of the next query, which then fails as Unavailable.
    fn set_query_deadline(&mut self, _patience: QueryDeadline) {}

    /// Sets the function to call whenever another process has changed the store. False: the back end does not report
    /// changes and has to be polled.
    fn on_external_change(&mut self, _callback: ChangeCallback) -> bool {
        false
    }

    /// Whether another process has changed the store since the last call.
    fn has_external_change(&mut self) -> bool;
}
