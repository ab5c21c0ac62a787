//! What a writer asks of its store besides commits, and what a commit does besides answering.

use std::time::Duration;

use super::super::Result;
use super::group_commit::ChangeCallback;
use super::notifier::WakeSet;
use super::readers::QueryDeadline;
use super::backend::Answer;

/// What a commit does besides answering.
#[derive(Default)]
pub(crate) struct CommitEffects {
    /// Of which queues there may be something new to take.
    pub(crate) wakes: WakeSet,
    /// For each transaction of which it is not known whether it was committed: what would have been answered.
    pub(crate) in_doubt: Vec<Vec<Answer>>,
}

/// What a writer asks of its store besides commits.
pub(crate) trait WriterHooks: Send {
    /// Whether the first commit of which nobody knew, and of which this was not asked yet, may have been made. Asked before
    /// anything else is done.
    ///
    /// # Errors
    ///
    /// It is not known yet.
    fn was_committed(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// Of which queues others may take something now that was kept from them, since this was asked last.
    fn take_released(&mut self) -> WakeSet {
        WakeSet::default()
    }

    /// Whether the last commit did what only one transaction does at a time: another one would have waited for it.
    fn is_serialized(&self) -> bool {
        false
    }

    /// Whether other processes write at the same time, as far as is known.
    fn has_other_writers(&self) -> bool {
        false
    }

    /// Whether transactions can be begun now.
    fn is_reachable(&mut self) -> bool {
        true
    }

    /// Everybody has been answered, and works on that: what can be done before anybody comes again, and does not take long.
    fn prepare_next(&mut self) {}

    /// How long the store keeps something open for whoever comes next, if it does. When nobody came it wants to
    /// [`close_kept`](Self::close_kept).
    fn keep_open_for(&self) -> Option<Duration> {
        None
    }

    /// Nobody came for a while. Answers of which queues others may take something now that they were not given before.
    fn close_kept(&mut self) -> WakeSet {
        WakeSet::default()
    }

    /// The next query need not be answered any more when this is over: then it fails as Unavailable.
    fn set_query_deadline(&mut self, _patience: QueryDeadline) {}

    /// Calls this whenever another process has changed the store. False: it does not, and wants to be asked.
    fn on_external_change(&mut self, _callback: ChangeCallback) -> bool {
        false
    }

    /// Whether another process has changed the store since this was asked last.
    fn has_external_change(&mut self) -> bool;
}
