//! Wakes callers that wait for items of a queue, and keeps claims that wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::delivery::Caller;
use super::parked_claims::{FoundNothing, ParkedClaims, Ticket};
use performer_core::model::clock::Clock;
use performer_core::model::key::{JobKey, QueueId};

/// The most queues whose last change is remembered. A forgotten queue counts as changed: a wait may end early, never
/// late.
const MAX_REMEMBERED: usize = 10_000;

/// The queues of which items may have become claimable.
#[derive(Clone, Debug, Default)]
pub(crate) struct WakeSet {
    any: bool,
    queues: SmallVec<[QueueId; 2]>,
}

impl WakeSet {
    /// It is not known which queues.
    pub(crate) fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// One queue.
    #[cfg_attr(
        not(any(feature = "postgres", test)),
        expect(dead_code, reason = "for what other processes tell")
    )]
    pub(crate) fn of(queue: QueueId) -> Self {
        let mut wakes = Self::default();
        wakes.add(queue);
        wakes
    }

    /// Adds a queue.
    pub(crate) fn add(&mut self, queue: QueueId) {
        // It is nearly always the last one again.
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

    /// Removes a queue.
    pub(crate) fn remove(&mut self, queue: QueueId) {
        self.queues.retain(|known| *known != queue);
    }

    /// The queues that are known.
    pub(crate) fn queues(&self) -> &[QueueId] {
        &self.queues
    }
}

/// Counts the commits after which items may have become claimable, by queue.
#[derive(Clone)]
pub(crate) struct Notifier(Arc<NotifierInner>);

struct NotifierInner {
    state: Mutex<ChangeLog>,
    waiting: AtomicUsize,
    /// How many of those that wait are claims.
    tickets: AtomicUsize,
}

struct ChangeLog {
    /// The number of the last change.
    count: u64,
    /// The number of the last change whose queue was not known.
    any: u64,
    queues: BTreeMap<QueueId, QueueChanges>,
    parked: ParkedClaims,
}

/// What becomes of claims after a commit.
#[derive(Default)]
#[must_use = "callers wait for it"]
pub(crate) struct Settled {
    /// Something has changed: these ask again.
    pub(super) ask_again: Vec<Caller>,
    /// These have waited long enough, and are answered with no items.
    pub(super) expired: Vec<FoundNothing>,
}

impl Settled {
    pub(super) fn extend(&mut self, others: Self) {
        self.ask_again.extend(others.ask_again);
        self.expired.extend(others.expired);
    }
}

#[derive(Default)]
struct QueueChanges {
    /// The number of its last change.
    changed: u64,
    waiting: usize,
    /// Wakes waiters in the order in which they arrived, so that a simulation is deterministic.
    wakeup: Arc<Notify>,
}

impl Notifier {
    /// Changes are numbered from the present time in microseconds: a number from another process, or from before a
    /// restart, is not taken for one of this process.
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let count = u64::try_from(clock.now().as_microsecond()).unwrap_or(1);
        let state = Mutex::new(ChangeLog {
            count,
            any: count,
            queues: BTreeMap::new(),
            parked: ParkedClaims::default(),
        });
        Self(Arc::new(NotifierInner { state, waiting: AtomicUsize::new(0), tickets: AtomicUsize::new(0) }))
    }

    /// Wakes those who wait for items of these queues. Returns the parked claims on them, which ask again.
    #[must_use = "callers wait for it"]
    pub(super) fn notify(&self, wakes: &WakeSet) -> Vec<Caller> {
        self.settle(wakes, 0, Vec::new()).ask_again
    }

    /// Parks claims that found nothing in a transaction which began after the change `seen`, and wakes those who wait for
    /// items of the queues that it changed. The parked claims knew of its changes, and are not woken by them.
    pub(super) fn settle(&self, wakes: &WakeSet, seen: u64, found_nothing: Vec<FoundNothing>) -> Settled {
        let mut settled = Settled::default();
        if wakes.is_none() && found_nothing.is_empty() {
            return settled;
        }
        let mut woken: SmallVec<[Arc<Notify>; 2]> = SmallVec::new();
        let mut state = self.state();
        if !wakes.is_none() {
            settled.ask_again = state.take_parked(wakes); // they were parked while the transaction was in progress
        }
        for claim in found_nothing {
            if state.has_changed(claim.queue, seen) {
                settled.ask_again.push(claim.caller);
            } else {
                settled.expired.extend(state.parked.park(claim));
            }
        }
        if !wakes.is_none() {
            state.change(wakes, &mut woken);
        }
        drop(state);
        woken.iter().for_each(|wakeup| wakeup.notify_waiters());
        settled
    }

    /// The number of the last change, for [`Waiter::wait_for_change`].
    pub(super) fn seen(&self) -> u64 {
        self.state().count
    }

    /// Whether any caller waits, for whatever queue.
    pub(super) fn has_waiters(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// A ticket for a claim of a job that waits for an item, until the value is dropped. `None`: too many wait.
    pub(super) fn ticket(&self, job: JobKey) -> Option<HeldTicket<'_>> {
        let (ticket, look_earlier) = self.state().parked.register(job)?;
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.tickets.fetch_add(1, Ordering::Relaxed);
        Some(HeldTicket { notifier: self, ticket, look_earlier })
    }

    /// Whether a claim is parked at a queue.
    pub(super) fn has_parked(&self, queue: QueueId) -> bool {
        self.0.tickets.load(Ordering::Relaxed) > 0 && self.state().parked.has_parked(queue)
    }

    /// Takes out at most `count` of the claims that are parked at a queue, in their order.
    pub(super) fn take_parked(&self, queue: QueueId, count: usize) -> Vec<Caller> {
        self.state().parked.take(queue, count)
    }

    /// The claims of a job do not wait any longer. Returns those that were parked, to be answered with no items.
    pub(super) fn give_up(&self, job: JobKey) -> Vec<FoundNothing> {
        self.state().parked.give_up(job)
    }

    /// The store is closed, and nobody serves parked claims any more.
    pub(super) fn close(&self) {
        self.state().parked.clear();
    }

    /// Calls `act` with the parked claims.
    pub(super) fn with_parked<T>(&self, act: impl FnOnce(&mut ParkedClaims) -> T) -> T {
        act(&mut self.state().parked)
    }

    /// Registers a caller that waits for items of a queue, until the value is dropped.
    pub(super) fn waiter(&self, queue: QueueId) -> Waiter<'_> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let waited_for = state.queues.entry(queue).or_default();
        waited_for.waiting += 1;
        let wakeup = waited_for.wakeup.clone();
        drop(state);
        Waiter { notifier: self, queue, wakeup }
    }

    fn state(&self) -> MutexGuard<'_, ChangeLog> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeLog {
    /// Counts a change of these queues. `woken`: whom to notify.
    fn change(&mut self, wakes: &WakeSet, woken: &mut SmallVec<[Arc<Notify>; 2]>) {
        self.count += 1;
        if wakes.any {
            self.any = self.count;
            let waited_for = self.queues.values().filter(|queue| queue.waiting > 0);
            woken.extend(waited_for.map(|queue| queue.wakeup.clone()));
        }
        let count = self.count;
        for id in &wakes.queues {
            let queue = self.queues.entry(*id).or_default();
            queue.changed = count;
            if queue.waiting > 0 && !wakes.any {
                woken.push(queue.wakeup.clone());
            }
        }
        self.forget_oldest();
    }

    fn take_parked(&mut self, wakes: &WakeSet) -> Vec<Caller> {
        let queues = if wakes.any { self.parked.queues() } else { wakes.queues.to_vec() };
        queues.into_iter().flat_map(|queue| self.parked.take(queue, usize::MAX)).collect()
    }

    fn has_changed(&self, queue: QueueId, seen: u64) -> bool {
        let changed = self.queues.get(&queue).map_or(0, |queue| queue.changed).max(self.any);
        changed > seen || seen > self.count
    }

    fn forget_oldest(&mut self) {
        if self.queues.len() > MAX_REMEMBERED {
            let forgotten = self.queues.values().filter(|queue| queue.waiting == 0);
            self.any = forgotten.map(|queue| queue.changed).max().unwrap_or(0).max(self.any);
            self.queues.retain(|_, queue| queue.waiting > 0);
        }
    }
}

/// The ticket of a claim that waits for an item. Dropping it takes the claim out.
pub(super) struct HeldTicket<'a> {
    notifier: &'a Notifier,
    pub(super) ticket: Ticket,
    /// Notified when the claim is to look again earlier.
    pub(super) look_earlier: Arc<Notify>,
}

impl Drop for HeldTicket<'_> {
    fn drop(&mut self) {
        self.notifier.state().parked.forget(self.ticket);
        self.notifier.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.notifier.0.tickets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A registered wait for items of a queue.
pub(super) struct Waiter<'a> {
    notifier: &'a Notifier,
    queue: QueueId,
    wakeup: Arc<Notify>,
}

impl Waiter<'_> {
    /// Waits for a change of the queue after `seen`.
    pub(super) async fn wait_for_change(&self, seen: u64) {
        let wakeup = self.wakeup.notified();
        tokio::pin!(wakeup);
        wakeup.as_mut().enable(); // before the check: a change between the two is not missed
        let has_changed = self.notifier.state().has_changed(self.queue, seen);
        if !has_changed {
            wakeup.await;
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.notifier.state().queues.get_mut(&self.queue) {
            queue.waiting -= 1;
        }
        self.notifier.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use performer_core::model::clock::ManualClock;

    const ONE: QueueId = QueueId(1);
    const OTHER: QueueId = QueueId(2);

    fn notifier() -> Notifier {
        Notifier::new(&ManualClock::new(Timestamp::UNIX_EPOCH))
    }

    /// Whether a wait would end at once.
    fn ends(waiting: &Waiter<'_>, seen: u64) -> bool {
        let mut after = poll_once(waiting.wait_for_change(seen));
        after()
    }

    /// A function that polls a future once each time it is called.
    fn poll_once<'f>(future: impl Future<Output = ()> + 'f) -> impl FnMut() -> bool + 'f {
        let mut future = Box::pin(future);
        move || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            future.as_mut().poll(&mut context).is_ready()
        }
    }

    #[test]
    fn a_change_wakes_only_those_who_wait_for_its_queue() {
        let notifier = notifier();
        let seen = notifier.seen();
        let (one, other) = (notifier.waiter(ONE), notifier.waiter(OTHER));
        let (mut of_one, mut of_other) =
            (poll_once(one.wait_for_change(seen)), poll_once(other.wait_for_change(seen)));
        assert!(!of_one() && !of_other());
        let _ = notifier.notify(&WakeSet::default());
        assert!(!of_one(), "nothing has changed");
        let _ = notifier.notify(&WakeSet::of(ONE));
        assert!(of_one() && !of_other());
        let _ = notifier.notify(&WakeSet::any());
        assert!(of_other(), "it is not known of which queue it was");
    }

    #[test]
    fn a_change_before_the_wait_ends_it() {
        let notifier = notifier();
        let seen = notifier.seen();
        let _ = notifier.notify(&WakeSet::of(ONE));
        assert!(ends(&notifier.waiter(ONE), seen) && !ends(&notifier.waiter(OTHER), seen));
        assert!(!ends(&notifier.waiter(ONE), notifier.seen()));
        assert!(ends(&notifier.waiter(ONE), notifier.seen() + 1), "that was seen in another process");
        assert!(ends(&notifier.waiter(ONE), 0), "or in one that ran before");
    }

    /// With however many queues: a forgotten queue counts as changed.
    #[test]
    fn a_forgotten_change_is_not_lost() {
        let notifier = notifier();
        let seen = notifier.seen();
        let _ = notifier.notify(&WakeSet::of(ONE));
        let waiting = notifier.waiter(OTHER);
        let after_one = notifier.seen();
        for id in 3..i64::try_from(MAX_REMEMBERED).unwrap() + 10 {
            let _ = notifier.notify(&WakeSet::of(QueueId(id)));
        }
        assert!(notifier.state().queues.len() < 20);
        assert!(ends(&notifier.waiter(ONE), seen));
        assert!(!ends(&waiting, notifier.seen()) && ends(&waiting, after_one));
        let _ = notifier.notify(&WakeSet::of(OTHER));
        assert!(ends(&waiting, notifier.seen() - 1), "a queue that a caller waits for is never forgotten");
        drop(waiting);
        assert!(!notifier.has_waiters());
    }
}
