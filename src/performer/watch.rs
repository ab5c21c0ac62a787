//! What can be seen of a robot from outside: what it works on, and whether it lets go of its thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::key::ItemId;

/// One robot, watched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    item: Mutex<Option<ItemId>>,
    /// The tick (counted from 1) at which the user's code was entered; 0 while it is not running.
    entered: AtomicU64,
    tick: AtomicU64,
}

/// After how many ticks without letting go of its thread a transaction is named in the log.
const TICKS_UNTIL_BLOCKED: u64 = 40;

impl Watch {
    pub(super) fn begins(&self, item: ItemId) {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner) = Some(item);
    }

    pub(super) fn ends(&self) {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the robot works on.
    pub(super) fn item(&self) -> Option<ItemId> {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether user code holds the robot's thread: a transaction, or applications that are opened or closed.
    pub(super) fn is_busy(&self) -> bool {
        self.entered.load(Ordering::Relaxed) > 0
    }

    pub(super) fn enter(&self) {
        self.entered.store(self.tick.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.entered.store(0, Ordering::Relaxed);
    }

    /// A tick of the heart has passed. Answers the item whose transaction has just been found to block its
    /// thread; each time it does so is told once.
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
    fn a_transaction_that_does_not_let_go_is_named_once() {
        let watch = Watch::default();
        watch.begins(ItemId(7));
        watch.enter();
        let named: Vec<_> = (0..99).filter_map(|_| watch.tick()).collect();
        assert_eq!(named, [ItemId(7)]);
        watch.leave();
        assert!((0..99).all(|_| watch.tick().is_none()));
        watch.enter();
        assert_eq!((0..99).filter_map(|_| watch.tick()).count(), 1);
    }
}
