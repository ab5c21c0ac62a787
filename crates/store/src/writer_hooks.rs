//! What a writer thread asks of its back end besides commits, and what a commit does besides answering.

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
