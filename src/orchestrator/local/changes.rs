//! Who waits for items, and how they hear that there may be some.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the commits after which there may be something new to take.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Counted>);

#[derive(Default)]
struct Counted {
    count: AtomicU64,
    /// Wakes those who wait in the order in which they came, so that a simulation is the same each time.
    happened: Notify,
    waiting: AtomicUsize,
}

impl Changes {
    /// Somebody waits, until this is dropped.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        Waiting::new(&self.0.waiting)
    }

    pub(super) fn happened(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.happened.notify_waiters();
    }

    pub(super) fn seen(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    pub(super) fn somebody_waits(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits for a change after `seen`.
    pub(super) async fn after(&self, seen: u64) {
        let happened = self.0.happened.notified();
        tokio::pin!(happened);
        happened.as_mut().enable(); // before the look: a change between the two is not missed
        if self.seen() == seen {
            happened.await;
        }
    }
}

/// Counts itself among those who wait.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
