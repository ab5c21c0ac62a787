//! Delivers answers to callers.
//!
//! Of the robots that report and claim, the writer wakes only one, which forwards the answers to the others: waking a
//! task from another thread costs the writer as much as a statement, waking it from a task beside it costs very little.
//! If that robot is not polled soon (its thread is blocked), the writer delivers the answers after all. All other
//! callers, above all heartbeats, are answered by the writer itself.
//!
//! A caller may go away at any time. Answers travel as values whose `Drop` forwards what was not forwarded and undoes
//! what was not delivered: items are given back, jobs end.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::backend::{Answer, ClaimedBatch, Request};
use super::parked_claims::{FoundNothing, WaitingClaim};
use performer_core::orchestrator::Result;

/// Undoes what was not delivered.
pub(crate) trait Undo: Send + Sync {
    /// Undoes what these answers say.
    fn undo(self: Arc<Self>, undelivered: &mut dyn Iterator<Item = Answer>);
}

/// Where the answers of a call go.
pub(crate) struct Caller {
    pub(super) count: usize,
    /// Work units of its requests: one for each item.
    pub(super) work: usize,
    reply: oneshot::Sender<Delivery>,
    /// A robot: another robot may forward the answers to it.
    is_robot: bool,
    /// Its only request is a claim that waits for an item.
    pub(super) waiting: Option<Box<WaitingClaim>>,
}

/// What a caller receives.
pub(crate) enum Delivery {
    Own(CallAnswers),
    /// Its own answers, and those it has to forward to other callers.
    WithForwarding(CallAnswers, ForwardHandle),
}

/// Callers in the order of their operations.
#[derive(Default)]
pub(crate) struct Callers(pub(super) Vec<Caller>);

/// The answers that one caller has to forward; until it does, the writer can deliver them instead.
#[derive(Clone)]
pub(crate) struct ForwardHandle(Arc<Mutex<Option<Forwarding>>>);

/// Answers of a commit to callers, delivered when this is dropped.
struct Forwarding {
    answers: std::vec::IntoIter<Result<Answer>>,
    callers: std::vec::IntoIter<Caller>,
    undo: Arc<dyn Undo>,
}

/// The answers to one caller. Dropped before it accepted them, they are undone.
pub(crate) struct CallAnswers {
    undelivered: Vec<Result<Answer>>,
    undo: Arc<dyn Undo>,
}

impl Caller {
    /// A caller with `count` requests.
    pub(super) fn new(count: usize, work: usize, reply: oneshot::Sender<Delivery>, is_robot: bool) -> Self {
        Self { count, work, reply, is_robot, waiting: None }
    }

    /// A caller whose claim waits for an item.
    pub(super) fn waiting(claim: WaitingClaim, reply: oneshot::Sender<Delivery>) -> Self {
        let work = claim.request.operation.work();
        Self { waiting: Some(Box::new(claim)), ..Self::new(1, work, reply, true) }
    }

    /// The request of a claim that waits.
    pub(super) fn waiting_request(&self) -> Option<Request> {
        self.waiting.as_ref().map(|waiting| waiting.request.clone())
    }

    /// Whether the caller has gone away.
    pub(super) fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

impl Callers {
    /// Appends callers that have joined.
    pub(super) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Takes out the callers that wait for an item and are answered with none.
    pub(super) fn take_waiting(&mut self, answers: &mut Vec<Result<Answer>>) -> Vec<FoundNothing> {
        if self.0.iter().all(|caller| caller.waiting.is_none()) {
            return Vec::new();
        }
        let mut waiting = Vec::new();
        let (callers, all) = (std::mem::take(&mut self.0), std::mem::take(answers));
        let mut all = all.into_iter();
        for caller in callers {
            let own = answers.len();
            answers.extend(all.by_ref().take(caller.count));
            let nothing = match (&caller.waiting, answers.last()) {
                (Some(_), Some(Ok(Answer::ClaimedBatch(batch)))) if batch.items.is_empty() => {
                    batch.queue.map(|queue| (queue, batch.withheld))
                }
                _ => None,
            };
            match nothing {
                Some((queue, withheld)) => {
                    answers.truncate(own);
                    waiting.push(FoundNothing { caller, queue, withheld });
                }
                None => self.0.push(caller),
            }
        }
        answers.extend(all);
        waiting
    }

    /// Appends callers that have waited long enough: they are answered with no items.
    pub(super) fn join_empty(&mut self, expired: Vec<FoundNothing>, answers: &mut Vec<Result<Answer>>) {
        for FoundNothing { caller, queue, withheld } in expired {
            self.0.push(caller);
            let nothing = ClaimedBatch { queue: Some(queue), withheld, ..ClaimedBatch::default() };
            answers.push(Ok(Answer::ClaimedBatch(nothing)));
        }
    }

    /// Delivers the answers. Returns the handle of those that a robot was asked to forward.
    pub(super) fn deliver(self, answers: Vec<Result<Answer>>, undo: &Arc<dyn Undo>) -> Option<ForwardHandle> {
        let mut answers = answers.into_iter();
        let (mut rest, mut robots) = (Vec::with_capacity(answers.len()), Vec::with_capacity(self.0.len()));
        for caller in self.0 {
            let own = answers.by_ref().take(caller.count);
            if caller.is_robot {
                rest.extend(own);
                robots.push(caller);
            } else {
                let answers = CallAnswers { undelivered: own.collect(), undo: undo.clone() };
                drop(caller.reply.send(Delivery::Own(answers))); // what comes back is undone
            }
        }
        let mut others =
            Forwarding { answers: rest.into_iter(), callers: robots.into_iter(), undo: undo.clone() };
        while let Some((reply, own)) = others.next() {
            if others.callers.len() == 0 {
                drop(reply.send(Delivery::Own(own)));
                return None;
            }
            let rest = ForwardHandle(Arc::new(Mutex::new(Some(others))));
            match reply.send(Delivery::WithForwarding(own, rest.clone())) {
                Ok(()) => return Some(rest),
                Err(undelivered) => drop(undelivered), // the caller has gone away; try the next one
            }
            others = rest.take()?;
        }
        None
    }
}

impl Delivery {
    /// The caller's own answers. Forwards the others.
    pub(super) fn accept(self) -> Vec<Result<Answer>> {
        match self {
            Self::Own(answers) => answers.accept(),
            Self::WithForwarding(answers, rest) => {
                rest.deliver();
                answers.accept()
            }
        }
    }
}

impl ForwardHandle {
    /// Delivers the answers that have not been delivered.
    pub(super) fn deliver(&self) {
        drop(self.take()); // dropped after the lock is released
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take(&self) -> Option<Forwarding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Forwarding {
    /// The next caller, and its answers.
    fn next(&mut self) -> Option<(oneshot::Sender<Delivery>, CallAnswers)> {
        let Caller { count, reply, .. } = self.callers.next()?;
        let undelivered = self.answers.by_ref().take(count).collect();
        Some((reply, CallAnswers { undelivered, undo: self.undo.clone() }))
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        while let Some((reply, answers)) = self.next() {
            drop(reply.send(Delivery::Own(answers))); // what comes back is undone
        }
    }
}

impl CallAnswers {
    fn accept(mut self) -> Vec<Result<Answer>> {
        std::mem::take(&mut self.undelivered)
    }
}

impl Drop for CallAnswers {
    fn drop(&mut self) {
        if !self.undelivered.is_empty() {
            self.undo.clone().undo(&mut self.undelivered.drain(..).filter_map(Result::ok));
        }
    }
}
