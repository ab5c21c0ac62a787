//! The watchdog of a robot: which item it processes, and whether user code blocks its thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::ItemId;

/// The watchdog of one robot. Robots write theirs several times an item: no two share a cache line (of two lines,
/// which processors fetch together).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Watchdog {
    item: Mutex<Option<ItemId>>,
    /// The tick (counted from 1) during which user code was entered; 0 while no user code is running.
    entered: AtomicU64,
    tick: AtomicU64,
}

/// A transaction that does not yield its thread for this many ticks is logged.
const TICKS_UNTIL_BLOCKED: u64 = 40;

impl Watchdog {
    pub(super) fn start_item(&self, item: ItemId) {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner) = Some(item);
    }

    pub(super) fn end_item(&self) {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The item that the robot processes.
    pub(super) fn item(&self) -> Option<ItemId> {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether user code is being polled: a transaction, or the opening or closing of applications.
    pub(super) fn is_running_user_code(&self) -> bool {
        self.entered.load(Ordering::Relaxed) > 0
    }

    pub(super) fn enter_user_code(&self) {
        self.entered.store(self.tick.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(super) fn leave_user_code(&self) {
        self.entered.store(0, Ordering::Relaxed);
    }

    /// Records a tick of the heartbeat. Returns the item if its transaction has just reached the limit for blocking its
    /// thread; each time it blocks is returned once.
    pub(super) fn tick(&self) -> Option<ItemId> {
        let tick = self.tick.fetch_add(1, Ordering::Relaxed) + 1;
        let entered = self.entered.load(Ordering::Relaxed);
        let blocked = entered > 0 && tick + 1 - entered == TICKS_UNTIL_BLOCKED;
        if blocked { self.item() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocking_transaction_is_reported_once() {
        let watchdog = Watchdog::default();
        watchdog.start_item(ItemId(7));
        watchdog.enter_user_code();
        let reported: Vec<_> = (0..99).filter_map(|_| watchdog.tick()).collect();
        assert_eq!(reported, [ItemId(7)]);
        watchdog.leave_user_code();
        assert!((0..99).all(|_| watchdog.tick().is_none()));
        watchdog.enter_user_code();
        assert_eq!((0..99).filter_map(|_| watchdog.tick()).count(), 1);
    }
}
