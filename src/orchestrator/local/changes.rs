//! Callers that wait for items of a queue, and how they are woken when there may be some.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::model::clock::Clock;
use crate::model::key::QueueId;

/// The most queues whose last change is remembered. What is forgotten counts as changed: a wait may end early, never late.
const MOST_REMEMBERED: usize = 10_000;

/// Of which queues there may be something new to take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes {
    any: bool,
    queues: SmallVec<[QueueId; 2]>,
}

impl Wakes {
    /// Perhaps of any queue: it is not known of which.
    pub(crate) fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Of one queue.
    #[cfg_attr(
        not(any(feature = "postgres", test)),
        expect(dead_code, reason = "for what other processes tell")
    )]
    pub(crate) fn of(queue: QueueId) -> Self {
        let mut wakes = Self::default();
        wakes.add(queue);
        wakes
    }

    /// Of this queue too.
    pub(crate) fn add(&mut self, queue: QueueId) {
        // Nearly always it is the last one again.
        if !self.queues.iter().rev().any(|known| *known == queue) {
            self.queues.push(queue);
        }
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.any |= others.any;
        others.queues.into_iter().for_each(|queue| self.add(queue));
    }

    pub(crate) fn is_none(&self) -> bool {
        !self.any && self.queues.is_empty()
    }

    /// The queues that are known.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "for what other processes are told"))]
    pub(crate) fn queues(&self) -> &[QueueId] {
        &self.queues
    }
}

/// Counts the commits after which there may be something new to take, and knows of which queue.
#[derive(Clone)]
pub(super) struct Changes(Arc<Counted>);

struct Counted {
    state: Mutex<State>,
    waiting: AtomicUsize,
}

struct State {
    /// The number of the last change.
    count: u64,
    /// The number of the last change whose queue was not known.
    any: u64,
    queues: BTreeMap<QueueId, Queue>,
}

#[derive(Default)]
struct Queue {
    /// The number of its last change.
    changed: u64,
    waiting: usize,
    /// Wakes those who wait in the order in which they came, so that a simulation is the same each time.
    happened: Arc<Notify>,
}

impl Changes {
    /// Changes are counted from the present on, in microseconds: what another process has seen, or this one before it was
    /// started anew, is not taken for something that was seen here.
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let count = u64::try_from(clock.now().as_microsecond()).unwrap_or(1);
        let state = Mutex::new(State { count, any: count, queues: BTreeMap::new() });
        Self(Arc::new(Counted { state, waiting: AtomicUsize::new(0) }))
    }

    /// Wakes those who wait for items of these queues.
    pub(super) fn happened(&self, wakes: &Wakes) {
        if wakes.is_none() {
            return;
        }
        let mut state = self.state();
        state.count += 1;
        let mut woken: SmallVec<[Arc<Notify>; 2]> = SmallVec::new();
        if wakes.any {
            state.any = state.count;
            let waited_for = state.queues.values().filter(|queue| queue.waiting > 0);
            woken.extend(waited_for.map(|queue| queue.happened.clone()));
        }
        let count = state.count;
        for id in &wakes.queues {
            let queue = state.queues.entry(*id).or_default();
            queue.changed = count;
            if queue.waiting > 0 && !wakes.any {
                woken.push(queue.happened.clone());
            }
        }
        state.forget();
        drop(state);
        woken.iter().for_each(|happened| happened.notify_waiters());
    }

    /// The number of the last change, for [`after`](Self::after).
    pub(super) fn seen(&self) -> u64 {
        self.state().count
    }

    /// Whether a caller waits, for whatever queue.
    pub(super) fn somebody_waits(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// A caller waits for items of a queue, until this is dropped.
    pub(super) fn waiting(&self, queue: QueueId) -> Waiting<'_> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let waited_for = state.queues.entry(queue).or_default();
        waited_for.waiting += 1;
        let happened = waited_for.happened.clone();
        drop(state);
        Waiting { changes: self, queue, happened }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_changed(&self, queue: QueueId, seen: u64) -> bool {
        let changed = self.queues.get(&queue).map_or(0, |queue| queue.changed).max(self.any);
        changed > seen || seen > self.count
    }

    fn forget(&mut self) {
        if self.queues.len() > MOST_REMEMBERED {
            let forgotten = self.queues.values().filter(|queue| queue.waiting == 0);
            self.any = forgotten.map(|queue| queue.changed).max().unwrap_or(0).max(self.any);
            self.queues.retain(|_, queue| queue.waiting > 0);
        }
    }
}

/// Waits for items of a queue.
pub(super) struct Waiting<'a> {
    changes: &'a Changes,
    queue: QueueId,
    happened: Arc<Notify>,
}

impl Waiting<'_> {
    /// Until a change of the queue after `seen`.
    pub(super) async fn after(&self, seen: u64) {
        let happened = self.happened.notified();
        tokio::pin!(happened);
        happened.as_mut().enable(); // before the look: a change between the two is not missed
        let has_changed = self.changes.state().has_changed(self.queue, seen);
        if !has_changed {
            happened.await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.changes.state().queues.get_mut(&self.queue) {
            queue.waiting -= 1;
        }
        self.changes.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::clock::ManualClock;

    const ONE: QueueId = QueueId(1);
    const OTHER: QueueId = QueueId(2);

    fn changes() -> Changes {
        Changes::new(&ManualClock::new(Timestamp::UNIX_EPOCH))
    }

    /// Whether a wait would end at once.
    fn ends(waiting: &Waiting<'_>, seen: u64) -> bool {
        let mut after = tokio_test(waiting.after(seen));
        after()
    }

    /// Polls a future once each time this is called.
    fn tokio_test<'f>(future: impl Future<Output = ()> + 'f) -> impl FnMut() -> bool + 'f {
        let mut future = Box::pin(future);
        move || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            future.as_mut().poll(&mut context).is_ready()
        }
    }

    #[test]
    fn a_change_wakes_those_who_wait_for_its_queue_and_no_others() {
        let changes = changes();
        let seen = changes.seen();
        let (one, other) = (changes.waiting(ONE), changes.waiting(OTHER));
        let (mut of_one, mut of_other) = (tokio_test(one.after(seen)), tokio_test(other.after(seen)));
        assert!(!of_one() && !of_other());
        changes.happened(&Wakes::default());
        assert!(!of_one(), "nothing has changed");
        changes.happened(&Wakes::of(ONE));
        assert!(of_one() && !of_other());
        changes.happened(&Wakes::any());
        assert!(of_other(), "it is not known of which queue it was");
    }

    #[test]
    fn what_happened_before_the_wait_is_seen() {
        let changes = changes();
        let seen = changes.seen();
        changes.happened(&Wakes::of(ONE));
        assert!(ends(&changes.waiting(ONE), seen) && !ends(&changes.waiting(OTHER), seen));
        assert!(!ends(&changes.waiting(ONE), changes.seen()));
        assert!(ends(&changes.waiting(ONE), changes.seen() + 1), "that was seen in another process");
        assert!(ends(&changes.waiting(ONE), 0), "or in one that ran before");
    }

    /// However many queues there are: what is forgotten counts as changed.
    #[test]
    fn no_change_is_lost_when_it_is_forgotten() {
        let changes = changes();
        let seen = changes.seen();
        changes.happened(&Wakes::of(ONE));
        let waiting = changes.waiting(OTHER);
        let after_one = changes.seen();
        for id in 3..i64::try_from(MOST_REMEMBERED).unwrap() + 10 {
            changes.happened(&Wakes::of(QueueId(id)));
        }
        assert!(changes.state().queues.len() < 20);
        assert!(ends(&changes.waiting(ONE), seen));
        assert!(!ends(&waiting, changes.seen()) && ends(&waiting, after_one));
        changes.happened(&Wakes::of(OTHER));
        assert!(ends(&waiting, changes.seen() - 1), "a queue that a caller waits for is never forgotten");
        drop(waiting);
        assert!(!changes.somebody_waits());
    }
}
