//! The clock of a store, with a guard for what depends on age.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::figures::PendingFigures;
use super::webhooks::KnownSubscriptions;
use performer_core::model::clock::Clock;
use performer_core::model::clock_guard::{ClockGuard, Judgement};

/// A clock, and what this process knows about whether it can be believed. All writers of a store share it, and with it what they
/// have counted and not written yet.
#[derive(Debug)]
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    guard: Mutex<ClockGuard>,
    figures: PendingFigures,
    subscriptions: KnownSubscriptions,
}

impl StoreClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let guard = Mutex::new(ClockGuard::new(clock.now(), clock.elapsed()));
        Self {
            clock,
            guard,
            figures: PendingFigures::default(),
            subscriptions: KnownSubscriptions::default(),
        }
    }

    /// What was counted and is not written yet.
    pub(crate) fn figures(&self) -> &PendingFigures {
        &self.figures
    }

    /// Which webhooks have subscribed to what.
    pub(crate) fn subscriptions(&self) -> &KnownSubscriptions {
        &self.subscriptions
    }

    /// The operator declares the time of day to be right.
    pub(super) fn trust(&self) {
        self.guard().trust();
    }

    /// Records the time of a transaction.
    pub(super) fn observe(&self, now: Timestamp, elapsed: Duration) {
        self.guard().observe(now, elapsed);
    }

    /// Judges the time of a transaction; `kept` is the time that the store kept last.
    pub(super) fn judge(&self, now: Timestamp, kept: Option<Timestamp>) -> Judgement {
        self.guard().judge(now, self.elapsed(), kept)
    }

    /// Whether it was reported, since the last jump, that something is held back because of the clock. Reports it from
    /// now on.
    pub(super) fn was_reported(&self) -> bool {
        self.guard().was_reported()
    }

    fn guard(&self) -> MutexGuard<'_, ClockGuard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn both(&self) -> (Timestamp, Duration) {
        self.clock.both()
    }
}
