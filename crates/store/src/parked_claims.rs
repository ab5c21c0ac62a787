//! Claims that found nothing and wait for an item: parked by queue, in the order in which they came.
//!
//! A claim that waits has a ticket from its call to its answer. While it is parked, a transaction of this process that
//! leaves something for it takes it out and serves it (`apply/parked.rs`), and parks it again if it found nothing. The
//! list is kept under the lock of the [`Notifier`](super::notifier::Notifier): a claim is parked only if nothing has changed in its queue since
//! it was asked; otherwise it asks again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::backend::Request;
use super::delivery::Caller;
use performer_core::model::key::{JobKey, QueueId};

/// The most claims of a store that wait. Those beyond are answered at once, and their callers wait without a claim.
const MAX_WAITING: usize = 4_096;

/// The most queues of which it is remembered when a claim looked last.
const MAX_LOOKS: usize = 1_000;

/// The ticket of a claim that waits. The older one is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A claim that waits for an item.
pub(crate) struct WaitingClaim {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
}

/// A claim that waits and has found nothing.
pub(crate) struct FoundNothing {
    pub(super) caller: Caller,
    pub(super) queue: QueueId,
    /// More items wait, but a limit of the queue withholds them: when to look again.
    pub(super) withheld: Option<Duration>,
}

/// What a claim that waits does when it is time to look again.
pub(crate) enum Look {
    /// It asks.
    Ask(Caller),
    /// Another claim of its queue has looked, or it is being asked: it looks at this time.
    Later(Instant),
}

/// What a caller does at its time limit.
pub(crate) enum Expired {
    /// It was parked, and is not any more.
    Nothing(Option<Duration>),
    /// It is being asked, and will be answered.
    Asking,
}

#[derive(Default)]
pub(crate) struct ParkedClaims {
    last_ticket: u64,
    tickets: BTreeMap<Ticket, TicketState>,
    parked: BTreeMap<(QueueId, Ticket), Caller>,
    /// When a claim looked last, by queue.
    looked: BTreeMap<QueueId, Instant>,
}

struct TicketState {
    job: JobKey,
    /// Where it is parked, if it is.
    queue: Option<QueueId>,
    /// What it found last was withheld.
    withheld: Option<Duration>,
    /// Nobody waits any longer: it is not parked again.
    expired: bool,
    /// Notified when it is to look again earlier.
    look_earlier: Arc<Notify>,
}

impl ParkedClaims {
    /// A ticket for a claim of a job; and what is notified when it is to look again earlier. `None`: there are too many.
    pub(super) fn register(&mut self, job: JobKey) -> Option<(Ticket, Arc<Notify>)> {
        if self.tickets.len() >= MAX_WAITING {
            return None;
        }
        self.last_ticket += 1;
        let (ticket, look_earlier) = (Ticket(self.last_ticket), Arc::<Notify>::default());
        let state = TicketState {
            job,
            queue: None,
            withheld: None,
            expired: false,
            look_earlier: look_earlier.clone(),
        };
        self.tickets.insert(ticket, state);
        Some((ticket, look_earlier))
    }

    /// The caller has its answer, or has gone away.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        let queue = self.tickets.remove(&ticket).and_then(|state| state.queue);
        if let Some(queue) = queue {
            self.parked.remove(&(queue, ticket));
        }
    }

    /// Parks a claim. Returns it if nobody waits any longer, so that it is answered.
    pub(super) fn park(&mut self, claim: FoundNothing) -> Option<FoundNothing> {
        let FoundNothing { caller, queue, withheld } = claim;
        let ticket = caller.waiting.as_ref()?.ticket;
        let state = self.tickets.get_mut(&ticket)?; // if not, the caller has gone away
        state.withheld = withheld;
        if state.expired {
            return Some(FoundNothing { caller, queue, withheld });
        }
        state.queue = Some(queue);
        if withheld.is_some() {
            state.look_earlier.notify_one();
        }
        self.parked.insert((queue, ticket), caller);
        None
    }

    /// Whether any claim is parked at a queue.
    pub(super) fn has_parked(&self, queue: QueueId) -> bool {
        self.parked.range(of(queue)).next().is_some()
    }

    /// The queues at which claims are parked.
    pub(super) fn queues(&self) -> Vec<QueueId> {
        let mut queues: Vec<_> = self.parked.keys().map(|(queue, _)| *queue).collect();
        queues.dedup();
        queues
    }

    /// Takes out at most `count` claims of a queue whose callers are still there, in their order.
    pub(super) fn take(&mut self, queue: QueueId, count: usize) -> Vec<Caller> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(key) = self.parked.range(of(queue)).next().map(|(key, _)| *key)
        {
            let caller = self.take_out(key);
            taken.extend(caller.filter(|caller| !caller.is_gone()));
        }
        taken
    }

    fn take_out(&mut self, key: (QueueId, Ticket)) -> Option<Caller> {
        if let Some(state) = self.tickets.get_mut(&key.1) {
            state.queue = None;
        }
        self.parked.remove(&key)
    }

    /// It may be time for a claim to look again, which it does every so often: one claim of its queue looks for all of
    /// them.
    pub(super) fn look(&mut self, ticket: Ticket, every: Duration, now: Instant) -> Look {
        let Some(TicketState { queue: Some(queue), withheld, .. }) = self.tickets.get(&ticket) else {
            return Look::Later(now + every); // it is being asked
        };
        let (queue, every) = (*queue, withheld.map_or(every, |withheld| withheld.min(every)));
        if let Some(next) = self.looked.get(&queue).map(|last| *last + every).filter(|next| *next > now) {
            return Look::Later(next);
        }
        if self.looked.len() >= MAX_LOOKS {
            self.looked.clear(); // some queues are looked at once more
        }
        self.looked.insert(queue, now);
        self.take_out((queue, ticket)).map_or(Look::Later(now + every), Look::Ask)
    }

    /// When a limit that withholds items may allow one.
    pub(super) fn withheld(&self, ticket: Ticket) -> Option<Duration> {
        self.tickets.get(&ticket)?.withheld
    }

    /// A caller has waited long enough.
    pub(super) fn expire(&mut self, ticket: Ticket) -> Expired {
        let Some(state) = self.tickets.get_mut(&ticket) else { return Expired::Asking };
        state.expired = true;
        let withheld = state.withheld;
        match state.queue {
            Some(queue) => {
                self.take_out((queue, ticket));
                Expired::Nothing(withheld)
            }
            None => Expired::Asking,
        }
    }

    /// The claims of a job do not wait any longer. Returns those that were parked, to be answered.
    pub(super) fn give_up(&mut self, job: JobKey) -> Vec<FoundNothing> {
        let mut parked = Vec::new();
        for (ticket, state) in self.tickets.iter_mut().filter(|(_, state)| state.job == job) {
            state.expired = true;
            if let Some(queue) = state.queue.take()
                && let Some(caller) = self.parked.remove(&(queue, *ticket))
            {
                parked.push(FoundNothing { caller, queue, withheld: state.withheld });
            }
        }
        parked
    }

    /// The store is closed: all callers are told.
    pub(super) fn clear(&mut self) {
        self.parked.clear();
    }

    /// How many claims are parked.
    pub(super) fn count(&self) -> usize {
        self.parked.len()
    }
}

fn of(queue: QueueId) -> std::ops::RangeInclusive<(QueueId, Ticket)> {
    (queue, Ticket(0))..=(queue, Ticket(u64::MAX))
}
