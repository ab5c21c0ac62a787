//! What a writer asks of its store besides commits, and what a commit does besides answering.

use std::time::Duration;

use super::super::Result;
use super::batch::Changed;
use super::changes::Wakes;
use super::readers::Patience;
use super::store::Answer;

/// What a commit does besides answering.
#[derive(Default)]
pub(crate) struct Effects {
    /// Of which queues there may be something new to take.
    pub(crate) wakes: Wakes,
    /// For each transaction of which it is not known whether it was committed: what would have been answered.
    pub(crate) in_doubt: Vec<Vec<Answer>>,
}

/// What a writer asks of its store besides commits.
pub(crate) trait Upkeep: Send {
    /// Whether the first commit of which nobody knew, and of which this was not asked yet, may have been made. Asked before
    /// anything else is done.
    ///
    /// # Errors
    ///
    /// It is not known yet.
    fn was_made(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// Of which queues others may take something now that was kept from them, since this was asked last.
    fn has_let_go(&mut self) -> Wakes {
        Wakes::default()
    }

    /// Whether the last commit did what only one transaction does at a time: another one would have waited for it.
    fn is_one_at_a_time(&self) -> bool {
        false
    }

    /// Whether other processes write at the same time, as far as is known.
    fn is_among_others(&self) -> bool {
        false
    }

    /// Whether transactions can be begun now.
    fn is_reachable(&mut self) -> bool {
        true
    }

    /// Everybody has been answered, and works on that: what can be done before anybody comes again, and does not take long.
    fn get_ready(&mut self) {}

    /// How long the store keeps something open for whoever comes next, if it does. When nobody came it wants to
    /// [`rest`](Self::rest).
    fn kept(&self) -> Option<Duration> {
        None
    }

    /// Nobody came for a while. Answers of which queues others may take something now that they were not given before.
    fn rest(&mut self) -> Wakes {
        Wakes::default()
    }

    /// The next query need not be answered any more when this is over: then it fails as Unavailable.
    fn look_until(&mut self, _patience: Patience) {}

    /// Calls this whenever another process has changed the store. False: it does not, and wants to be asked.
    fn tell(&mut self, _changed: Changed) -> bool {
        false
    }

    /// Whether another process has changed the store since this was asked last.
    fn changed_elsewhere(&mut self) -> bool;
}
