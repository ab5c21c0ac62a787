//! A back end that is called directly, on the caller's task.

use std::sync::{Arc, Mutex, PoisonError};

use super::arrivals::ServedClaims;
use super::backend::{Answer, Backend, Query, Request, Scope};
use super::clock::StoreClock;
use super::compensation::{Compensation, compensations_for};
use super::delivery::{Caller, Callers, Undo};
use super::group_commit::{InDoubt, catch_panic, commit, resolve_in_doubt};
use super::notifier::Notifier;
use performer_core::orchestrator::Result;

/// A back end, and what is to be undone in it.
pub(super) struct InPlace {
    state: Mutex<InPlaceState>,
    clock: Arc<StoreClock>,
    notifier: Notifier,
}

struct InPlaceState {
    store: Box<dyn Backend>,
    compensations: Vec<Compensation>,
    in_doubt: Vec<InDoubt>,
}

impl InPlace {
    pub(super) fn new(store: Box<dyn Backend>, clock: Arc<StoreClock>, notifier: Notifier) -> Arc<Self> {
        let state = Mutex::new(InPlaceState { store, compensations: Vec::new(), in_doubt: Vec::new() });
        Arc::new(Self { state, clock, notifier })
    }

    /// Applies requests in one commit.
    pub(super) fn all(self: &Arc<Self>, operations: Vec<Request>) -> Vec<Result<Answer>> {
        self.commit(operations, Vec::new())
    }

    /// Asks for claims that wait for an item.
    pub(super) fn ask(self: &Arc<Self>, asking: Vec<Caller>) {
        let _ = self.commit(Vec::new(), asking);
    }

    /// Applies requests and claims that wait; then those of the claims that have to ask again. Returns the answers to the
    /// requests.
    fn commit(
        self: &Arc<Self>,
        mut operations: Vec<Request>,
        mut asking: Vec<Caller>,
    ) -> Vec<Result<Answer>> {
        let mut own = None;
        let mut delivered = Vec::new();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let InPlaceState { store, compensations, in_doubt } = &mut *state;
            loop {
                let store = &mut **store;
                compensations.extend(resolve_in_doubt(store, in_doubt));
                let count = operations.len();
                operations.extend(asking.iter().filter_map(Caller::waiting_request));
                let mut arrivals = ServedClaims::new(&self.notifier);
                let seen = arrivals.seen;
                let (mut answers, wakes) =
                    commit(store, compensations, in_doubt, operations, &mut arrivals, &self.clock);
                let (served, mut settled) = arrivals.finish();
                let mut callers = Callers(asking);
                callers.join(Callers(served));
                let of_callers = answers.split_off(count.min(answers.len()));
                own.get_or_insert(answers);
                let mut answers = of_callers;
                let found_nothing = callers.take_waiting(&mut answers);
                settled.extend(self.notifier.settle(&wakes, seen, found_nothing));
                callers.join_empty(settled.expired, &mut answers);
                delivered.push((callers, answers));
                if settled.ask_again.is_empty() {
                    break;
                }
                (operations, asking) = (Vec::new(), settled.ask_again);
            }
        }
        let undo: Arc<dyn Undo> = self.clone();
        for (callers, answers) in delivered {
            if let Some(rest) = callers.deliver(answers, &undo) {
                rest.deliver();
            }
        }
        own.unwrap_or_default()
    }

    /// Answers a query.
    pub(super) fn read(&self, scope: Scope, query: Query) -> Result<Answer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        catch_panic(|| state.store.read(scope, query)).unwrap_or_else(Err)
    }
}

impl Undo for InPlace {
    fn undo(self: Arc<Self>, undelivered: &mut dyn Iterator<Item = Answer>) {
        let compensations: Vec<_> = undelivered.flat_map(compensations_for).collect();
        if !compensations.is_empty() {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).compensations.extend(compensations);
            self.all(Vec::new());
        }
    }
}
