//! One queue as this process knows it: when to look at it again, and what may have got lost on the way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant as Moment;

use super::pace::Pace;
use crate::backoff::{BackoffPolicy, Delays};
use crate::model::key::QueueId;
use crate::wire::ApiTime;
use crate::wire::item::{ItemOwner, QueueItemDto};

/// What is asked of a queue's definition again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) id: QueueId,
    pub(super) enforce_unique_reference: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    state: Mutex<State>,
    /// Something may have come into the queue.
    pub(super) changed: Notify,
    /// Whoever looks at the queue while it is empty: one of all robots of the process.
    pub(super) poller: tokio::sync::Mutex<()>,
    /// Held for reading by takes that are under way, for writing by whoever judges what got lost.
    pub(super) taking: tokio::sync::RwLock<()>,
    /// Whoever looks for what got lost.
    pub(super) looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) about: Option<About>,
    /// Takes whose answer was lost.
    pub(super) suspicions: Vec<Suspicion>,
    /// Items that are ours and that nobody was told of: the next takes get them.
    pub(super) found: VecDeque<QueueItemDto>,
    /// Attempts that are not ours, whatever they say of themselves: items, and when they were started.
    pub(super) foreign: HashMap<i64, Option<ApiTime>>,
    /// How often in a row the queue was empty.
    pub(super) empty_in_a_row: u32,
    /// The trap was explained.
    pub(super) warned: bool,
    /// Rises when this process puts something into the queue.
    pub(super) changes: u64,
    /// When to look for lost items again after a look that failed.
    look_not_before: Option<Moment>,
    /// When the first of the takes was sent that are not looked for any more.
    dropped_since: Option<Moment>,
    next_look: Option<Moment>,
    delays: Option<Delays>,
}

/// A take whose answer was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    sent: Moment,
    since: Moment,
    looks: usize,
}

impl Queue {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::default(),
            changed: Notify::new(),
            poller: tokio::sync::Mutex::default(),
            taking: tokio::sync::RwLock::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was put into the queue from here.
    pub(super) fn something_came(&self) {
        let mut state = self.state();
        state.changes += 1;
        state.is_not_empty();
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    /// An answer was lost: it may have been an item.
    pub(super) fn suspect(&mut self, sent: Moment) {
        self.suspicions.push(Suspicion { sent, since: Moment::now(), looks: 0 });
    }

    /// When the first of the takes was sent whose answer was lost.
    pub(super) fn earliest_suspicion(&self) -> Option<Moment> {
        self.suspicions.iter().map(|suspicion| suspicion.sent).min()
    }

    /// Notes attempts that are not ours.
    pub(super) fn leave_to_others<'a>(&mut self, items: impl IntoIterator<Item = &'a ItemOwner>) {
        self.foreign.extend(items.into_iter().map(|item| (item.id, item.start_processing)));
    }

    /// Whether an attempt is somebody else's, or waits here for its robot.
    pub(super) fn knows(&self, item: &ItemOwner) -> bool {
        let of_others = self.foreign.get(&item.id).is_some_and(|start| {
            start.zip(item.start_processing).is_none_or(|(then, now)| then.is_close_to(now))
        });
        of_others || self.found.iter().any(|found| found.id == item.id)
    }

    /// An item was found that got lost: of the takes that may have brought it, the last one that was sent before it was
    /// started. `server_time` tells when that was by the server's clock.
    pub(super) fn explain(
        &mut self,
        start: Option<ApiTime>,
        server_time: impl Fn(Moment) -> Option<jiff::Timestamp>,
    ) {
        let fits = |suspicion: &&(usize, Suspicion)| {
            start.zip(server_time(suspicion.1.sent)).is_none_or(|(start, sent)| start.0 >= sent)
        };
        let all: Vec<(usize, Suspicion)> = self.suspicions.iter().copied().enumerate().collect();
        let latest = all.iter().filter(fits).max_by_key(|(_, suspicion)| suspicion.sent);
        let earliest = || all.iter().min_by_key(|(_, suspicion)| suspicion.sent);
        if let Some((at, _)) = latest.or_else(earliest) {
            self.suspicions.remove(*at);
        }
    }

    /// Whether it is time to look for what got lost.
    pub(super) fn is_look_due(&self, pace: &Pace) -> bool {
        let now = Moment::now();
        self.look_not_before.is_none_or(|at| now >= at)
            && self.suspicions.iter().any(|suspicion| suspicion.is_due(pace, now))
    }

    /// A look could not be taken; the next one is tried after a while, and nothing is forgotten until then.
    pub(super) fn could_not_look(&mut self, pace: &Pace) {
        self.look_not_before = Some(Moment::now() + pace.retry.cap);
    }

    /// It cannot be told which items are ours: suspicions for which there was twice the time are dropped; answers how many.
    pub(super) fn cannot_tell(&mut self, pace: &Pace) -> usize {
        self.could_not_look(pace);
        let now = Moment::now();
        let longest = pace.looks[pace.looks.len() - 1] * 2;
        self.drop_suspicions(|suspicion| now.duration_since(suspicion.since) >= longest)
    }

    /// When the first of the takes was sent that are not looked for any more.
    pub(super) fn earliest_dropped(&self) -> Option<Moment> {
        self.dropped_since
    }

    fn drop_suspicions(&mut self, is_over: impl Fn(&Suspicion) -> bool) -> usize {
        let before = self.suspicions.len();
        let sent =
            self.suspicions.iter().filter(|suspicion| is_over(suspicion)).map(|suspicion| suspicion.sent);
        self.dropped_since = sent.chain(self.dropped_since).min();
        self.suspicions.retain(|suspicion| !is_over(suspicion));
        before - self.suspicions.len()
    }

    /// A look has been taken. Suspicions that have been looked into for the last time are dropped; answers how many.
    pub(super) fn looked(&mut self, pace: &Pace) -> usize {
        let now = Moment::now();
        for suspicion in &mut self.suspicions {
            while suspicion.is_due(pace, now) {
                suspicion.looks += 1;
            }
        }
        self.drop_suspicions(|suspicion| suspicion.looks >= pace.looks.len())
    }

    /// The queue had nothing: the next look is later than the one before.
    pub(super) fn is_empty_again(&mut self) {
        self.empty_in_a_row = self.empty_in_a_row.saturating_add(1);
        if self.next_look.is_some_and(|at| at <= Moment::now()) {
            self.next_look = None;
        }
    }

    /// The queue had something, or got something.
    pub(super) fn is_not_empty(&mut self) {
        self.empty_in_a_row = 0;
        self.delays = None;
        self.next_look = None;
    }

    /// When to look again: first after `first`, then later and later.
    pub(super) fn next_look(
        &mut self,
        first: Duration,
        longest: Duration,
        random: &mut fastrand::Rng,
    ) -> Moment {
        *self.next_look.get_or_insert_with(|| {
            let policy = BackoffPolicy { first, cap: longest.max(first) };
            let delays = self.delays.get_or_insert_with(|| Delays::new(policy, random.fork()));
            Moment::now() + delays.next()
        })
    }

    /// Whoever waited looks now; the others wait for what it finds.
    pub(super) fn look_is_taken(&mut self) {
        self.next_look = None;
    }
}

impl Suspicion {
    fn is_due(&self, pace: &Pace, now: Moment) -> bool {
        pace.looks.get(self.looks).is_some_and(|after| now >= self.since + *after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_at_an_empty_queue_become_rare_and_start_anew() {
        let queue = Queue::new("Q");
        let mut random = fastrand::Rng::with_seed(1);
        let mut wait = || {
            let mut state = queue.state();
            state.is_empty_again();
            state.look_is_taken();
            state.next_look(Duration::from_secs(1), Duration::from_secs(30), &mut random) - Moment::now()
        };
        let waits: Vec<Duration> = (0..10).map(|_| wait()).collect();
        assert!(waits[0] <= Duration::from_millis(1_250), "{waits:?}");
        assert!(waits[9] >= Duration::from_secs(22) && waits[9] <= Duration::from_secs(30), "{waits:?}");
        queue.something_came();
        assert!(wait() <= Duration::from_millis(1_250));
        let same = queue.state().next_look(Duration::from_secs(1), Duration::from_secs(30), &mut random);
        assert_eq!(
            queue.state().next_look(Duration::from_secs(1), Duration::from_secs(30), &mut random),
            same
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspicion_is_looked_into_five_times_and_dropped() {
        let (queue, pace) = (Queue::new("Q"), Pace::default());
        queue.state().suspect(Moment::now());
        let mut looks = Vec::new();
        for second in 0..200 {
            if queue.state().is_look_due(&pace) {
                looks.push((second, queue.state().looked(&pace)));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(looks, [(0, 0), (2, 0), (10, 0), (30, 0), (60, 1)]);
        assert!(queue.state().suspicions.is_empty());
    }
}
