//! What joins a transaction after it has begun: requests that arrive meanwhile, and claims that wait for an item.

use super::backend::Request;
use super::delivery::Caller;
use super::notifier::{Notifier, Settled, WakeSet};
use super::parked_claims::FoundNothing;
use performer_core::model::key::QueueId;

/// What joins a transaction.
pub(crate) trait Arrivals {
    /// Requests that have arrived, of at most about `most` units of work.
    fn more(&mut self, most: usize) -> Vec<Request>;

    /// How many units of work have arrived and have not joined.
    fn waiting(&self) -> usize {
        0
    }

    /// Whether any claim waits for an item of a queue.
    fn has_parked(&self, _queue: QueueId) -> bool {
        false
    }

    /// Takes claims that wait for an item of a queue, in their order, some at a time. They are answered last, in this
    /// order. Nothing arrives after the first of them.
    fn parked(&mut self, _queue: QueueId) -> Vec<Request> {
        Vec::new()
    }

    /// The transaction was not made, and is repeated without the claims that were taken: they wait again.
    fn park_again(&mut self) {}
}

/// The most claims that are taken out at a time: as many as a performer has robots, in most cases.
const SERVED_AT_ONCE: usize = 64;

/// The claims that a transaction takes out.
pub(crate) struct ServedClaims<'a> {
    notifier: &'a Notifier,
    /// The number of the last change when the transaction began.
    pub(crate) seen: u64,
    served: Vec<(QueueId, Caller)>,
    settled: Settled,
}

impl<'a> ServedClaims<'a> {
    pub(crate) fn new(notifier: &'a Notifier) -> Self {
        Self { notifier, seen: notifier.seen(), served: Vec::new(), settled: Settled::default() }
    }

    /// The callers of the claims, in the order in which they were taken, and what became of claims that wait again.
    pub(crate) fn finish(self) -> (Vec<Caller>, Settled) {
        (self.served.into_iter().map(|(_, caller)| caller).collect(), self.settled)
    }
}

impl Arrivals for ServedClaims<'_> {
    fn more(&mut self, _most: usize) -> Vec<Request> {
        Vec::new()
    }

    fn has_parked(&self, queue: QueueId) -> bool {
        self.notifier.has_parked(queue)
    }

    fn parked(&mut self, queue: QueueId) -> Vec<Request> {
        let taken = self.notifier.take_parked(queue, SERVED_AT_ONCE);
        let requests = taken.iter().filter_map(Caller::waiting_request).collect();
        self.served.extend(taken.into_iter().map(|caller| (queue, caller)));
        requests
    }

    fn park_again(&mut self) {
        let nothing = |(queue, caller)| FoundNothing { caller, queue, withheld: None };
        let again = self.served.drain(..).map(nothing).collect();
        self.settled.extend(self.notifier.settle(&WakeSet::default(), self.seen, again));
    }
}

/// Nothing arrives.
pub(crate) struct NoArrivals;

impl Arrivals for NoArrivals {
    fn more(&mut self, _most: usize) -> Vec<Request> {
        Vec::new()
    }
}

/// Counts what arrives.
pub(crate) struct CountedArrivals<'a> {
    pub(crate) arrivals: &'a mut dyn Arrivals,
    pub(crate) count: usize,
    parked: usize,
}

impl<'a> CountedArrivals<'a> {
    /// Beside `count` requests with which the transaction begins.
    pub(crate) fn new(arrivals: &'a mut dyn Arrivals, count: usize) -> Self {
        Self { arrivals, count, parked: 0 }
    }
}

impl Arrivals for CountedArrivals<'_> {
    fn more(&mut self, most: usize) -> Vec<Request> {
        let joining = self.arrivals.more(most);
        self.count += joining.len();
        joining
    }

    fn waiting(&self) -> usize {
        self.arrivals.waiting()
    }

    fn has_parked(&self, queue: QueueId) -> bool {
        self.arrivals.has_parked(queue)
    }

    fn parked(&mut self, queue: QueueId) -> Vec<Request> {
        let parked = self.arrivals.parked(queue);
        self.count += parked.len();
        self.parked += parked.len();
        parked
    }

    fn park_again(&mut self) {
        self.count -= std::mem::take(&mut self.parked);
        self.arrivals.park_again();
    }
}
