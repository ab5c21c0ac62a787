//! The state of one queue in this process: when to poll it, and which claims were not answered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant as Moment;

use super::timing::Timing;
use performer_core::backoff::{BackoffPolicy, Delays};
use performer_core::model::key::QueueId;
use performer_wire::ApiTime;
use performer_wire::item::{ItemOwner, QueueItemDto};

/// The cached part of a queue's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueInfo {
    pub(super) id: QueueId,
    pub(super) enforce_unique_reference: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    state: Mutex<QueueState>,
    /// Notified when an item may have been added to the queue.
    pub(super) changed: Notify,
    /// Held by the one robot of the process that polls the queue while it is empty.
    pub(super) poller: tokio::sync::Mutex<()>,
    /// Held for reading by claims in flight, for writing by a recovery while it evaluates its search.
    pub(super) claiming: tokio::sync::RwLock<()>,
    /// Held by the one task that runs a recovery.
    pub(super) recovering: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) info: Option<QueueInfo>,
    /// Claims whose answers were lost.
    pub(super) unanswered_claims: Vec<UnansweredClaim>,
    /// Recovered items, which the next claims receive.
    pub(super) recovered: VecDeque<QueueItemDto>,
    /// Attempts of others, even if they look like own ones: the items, and when they were started.
    pub(super) foreign_attempts: HashMap<i64, Option<ApiTime>>,
    /// The number of consecutive empty answers.
    pub(super) consecutive_empty: u32,
    /// The warning about the robot trap was logged.
    pub(super) trap_warned: bool,
    /// Incremented when this process adds an item to the queue.
    pub(super) changes: u64,
    /// When to run the next recovery after one that failed.
    recovery_not_before: Option<Moment>,
    /// When the earliest of the claims was sent whose recovery was given up.
    first_dropped_sent: Option<Moment>,
    next_poll: Option<Moment>,
    delays: Option<Delays>,
}

/// A claim whose answer was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnansweredClaim {
    sent: Moment,
    since: Moment,
    attempts: usize,
}

impl Queue {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::default(),
            changed: Notify::new(),
            poller: tokio::sync::Mutex::default(),
            claiming: tokio::sync::RwLock::default(),
            recovering: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that this process has added items to the queue, and wakes the robots.
    pub(super) fn items_added(&self) {
        let mut state = self.state();
        state.changes += 1;
        state.reset_polling();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Drops the cached definition, and wakes the robots.
    pub(super) fn definition_changed(&self) {
        let mut state = self.state();
        state.info = None;
        state.changes += 1;
        drop(state);
        self.changed.notify_waiters();
    }
}

impl QueueState {
    /// Records a claim whose answer was lost.
    pub(super) fn record_unanswered(&mut self, sent: Moment) {
        self.unanswered_claims.push(UnansweredClaim { sent, since: Moment::now(), attempts: 0 });
    }

    /// When the earliest unanswered claim was sent.
    pub(super) fn earliest_unanswered(&self) -> Option<Moment> {
        self.unanswered_claims.iter().map(|unanswered| unanswered.sent).min()
    }

    /// Records attempts of others.
    pub(super) fn record_foreign<'a>(&mut self, items: impl IntoIterator<Item = &'a ItemOwner>) {
        self.foreign_attempts.extend(items.into_iter().map(|item| (item.id, item.start_processing)));
    }

    /// Whether an attempt is foreign, or recovered already.
    pub(super) fn knows(&self, item: &ItemOwner) -> bool {
        let of_others = self.foreign_attempts.get(&item.id).is_some_and(|start| {
            start.zip(item.start_processing).is_none_or(|(then, now)| then.is_close_to(now))
        });
        of_others || self.recovered.iter().any(|found| found.id == item.id)
    }

    /// Removes the unanswered claim that a recovered item belongs to: the last one sent before the item was started.
    /// `server_time` converts an instant to the server's time.
    pub(super) fn resolve_unanswered(
        &mut self,
        start: Option<ApiTime>,
        server_time: impl Fn(Moment) -> Option<jiff::Timestamp>,
    ) {
        let fits = |unanswered: &&(usize, UnansweredClaim)| {
            start.zip(server_time(unanswered.1.sent)).is_none_or(|(start, sent)| start.0 >= sent)
        };
        let all: Vec<(usize, UnansweredClaim)> = self.unanswered_claims.iter().copied().enumerate().collect();
        let latest = all.iter().filter(fits).max_by_key(|(_, unanswered)| unanswered.sent);
        let earliest = || all.iter().min_by_key(|(_, unanswered)| unanswered.sent);
        if let Some((at, _)) = latest.or_else(earliest) {
            self.unanswered_claims.remove(*at);
        }
    }

    /// Whether a recovery is due.
    pub(super) fn is_recovery_due(&self, timing: &Timing) -> bool {
        let now = Moment::now();
        self.recovery_not_before.is_none_or(|at| now >= at)
            && self.unanswered_claims.iter().any(|unanswered| unanswered.is_due(timing, now))
    }

    /// Delays the next recovery after one that failed.
    pub(super) fn delay_recovery(&mut self, timing: &Timing) {
        self.recovery_not_before = Some(Moment::now() + timing.retry.cap);
    }

    /// While own items cannot be recognised: drops the unanswered claims that are twice as old as the last recovery delay, and
    /// returns their number.
    pub(super) fn expire_unanswered(&mut self, timing: &Timing) -> usize {
        self.delay_recovery(timing);
        let now = Moment::now();
        let longest = timing.recovery_delays[timing.recovery_delays.len() - 1] * 2;
        self.drop_unanswered(|unanswered| now.duration_since(unanswered.since) >= longest)
    }

    /// When the earliest of the claims was sent whose recovery was given up.
    pub(super) fn earliest_dropped(&self) -> Option<Moment> {
        self.first_dropped_sent
    }

    fn drop_unanswered(&mut self, is_over: impl Fn(&UnansweredClaim) -> bool) -> usize {
        let before = self.unanswered_claims.len();
        let sent = self
            .unanswered_claims
            .iter()
            .filter(|unanswered| is_over(unanswered))
            .map(|unanswered| unanswered.sent);
        self.first_dropped_sent = sent.chain(self.first_dropped_sent).min();
        self.unanswered_claims.retain(|unanswered| !is_over(unanswered));
        before - self.unanswered_claims.len()
    }

    /// Records a recovery. Drops the unanswered claims for which it was the last attempt, and returns their number.
    pub(super) fn recovery_attempted(&mut self, timing: &Timing) -> usize {
        let now = Moment::now();
        for unanswered in &mut self.unanswered_claims {
            while unanswered.is_due(timing, now) {
                unanswered.attempts += 1;
            }
        }
        self.drop_unanswered(|unanswered| unanswered.attempts >= timing.recovery_delays.len())
    }

    /// Records an empty answer, after which the next poll comes later.
    pub(super) fn record_empty(&mut self) {
        self.consecutive_empty = self.consecutive_empty.saturating_add(1);
        if self.next_poll.is_some_and(|at| at <= Moment::now()) {
            self.next_poll = None;
        }
    }

    /// Resets the polling delays, because the queue had or has received an item.
    pub(super) fn reset_polling(&mut self) {
        self.consecutive_empty = 0;
        self.delays = None;
        self.next_poll = None;
    }

    /// When to poll next: first after `first`, then at growing intervals up to `longest`.
    pub(super) fn next_poll(
        &mut self,
        first: Duration,
        longest: Duration,
        random: &mut fastrand::Rng,
    ) -> Moment {
        *self.next_poll.get_or_insert_with(|| {
            let policy = BackoffPolicy { first, cap: longest.max(first) };
            let delays = self.delays.get_or_insert_with(|| Delays::new(policy, random.fork()));
            Moment::now() + delays.next_delay()
        })
    }

    /// Records that the waiting robot polls now.
    pub(super) fn poll_started(&mut self) {
        self.next_poll = None;
    }
}

impl UnansweredClaim {
    fn is_due(&self, timing: &Timing, now: Moment) -> bool {
        timing.recovery_delays.get(self.attempts).is_some_and(|after| now >= self.since + *after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polling_slows_down_while_the_queue_is_empty_and_is_reset() {
        let queue = Queue::new("Q");
        let mut random = fastrand::Rng::with_seed(1);
        let mut wait = || {
            let mut state = queue.state();
            state.record_empty();
            state.poll_started();
            state.next_poll(Duration::from_secs(1), Duration::from_secs(30), &mut random) - Moment::now()
        };
        let waits: Vec<Duration> = (0..10).map(|_| wait()).collect();
        assert!(waits[0] <= Duration::from_millis(1_250), "{waits:?}");
        assert!(waits[9] >= Duration::from_secs(22) && waits[9] <= Duration::from_secs(30), "{waits:?}");
        queue.items_added();
        assert!(wait() <= Duration::from_millis(1_250));
        let same = queue.state().next_poll(Duration::from_secs(1), Duration::from_secs(30), &mut random);
        assert_eq!(
            queue.state().next_poll(Duration::from_secs(1), Duration::from_secs(30), &mut random),
            same
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_unanswered_claim_is_recovered_five_times_and_dropped() {
        let (queue, timing) = (Queue::new("Q"), Timing::default());
        queue.state().record_unanswered(Moment::now());
        let mut attempts = Vec::new();
        for second in 0..200 {
            if queue.state().is_recovery_due(&timing) {
                attempts.push((second, queue.state().recovery_attempted(&timing)));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(attempts, [(0, 0), (2, 0), (10, 0), (30, 0), (60, 1)]);
        assert!(queue.state().unanswered_claims.is_empty());
    }
}
