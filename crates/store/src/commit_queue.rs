//! The queue of requests that wait for a writer thread.
//!
//! A writer takes everything that waits as one batch. If there are several writers, only one works while there is
//! little to do: two transactions of half the size cost more than one. Another writer is woken when enough work waits
//! for a transaction of its own, or when a caller has waited for a while. Then each takes at most its share of all work
//! that waits or is in progress. Work that transactions can only do one after the other (claims on a queue with limits)
//! is left to one writer.
//!
//! What a caller did not hear of because it went away is undone (`delivery.rs`). The same holds for a commit whose outcome
//! is unknown. Compensations come first in the next commit, before the same job can claim the same items again, and are
//! repeated until a commit succeeds.

#[cfg(test)]
mod tests;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::smallvec;
use tokio::sync::oneshot;

use super::backend::{Answer, Operation, Request, Requests};
use super::compensation::{Compensation, compensations_for};
use super::delivery::{Caller, Callers, Delivery, ForwardHandle, Undo};
use super::group_commit::Message;
use performer_core::orchestrator::Result;

/// How long a caller waits before another writer is woken to help: the first one is probably busy for a while.
pub(super) const HELP_DELAY: Duration = Duration::from_millis(25);

/// If no other process writes, the threshold for another transaction is divided by this.
const ALONE_DIVISOR: usize = 4;

pub(super) struct CommitQueue(Mutex<QueueState>);

struct QueueState {
    calls: Vec<QueuedCall>,
    /// Work units of `calls`.
    queued_work: usize,
    /// What to undo with the next commit.
    compensations: Vec<Compensation>,
    /// Some of it has not been tried yet.
    has_new_compensations: bool,
    writers: Vec<WriterState>,
    /// How much work is worth another transaction, if other processes write too.
    threshold: usize,
    /// A caller has waited for [`HELP_DELAY`].
    help_wanted: bool,
    conditions: CommitConditions,
}

/// What a writer knows after a commit.
#[derive(Clone, Copy, Default)]
pub(super) struct CommitConditions {
    /// The work at hand can only be done by one transaction at a time: another writer would block.
    pub(super) serialized: bool,
    /// Other processes write at the same time.
    pub(super) other_writers: bool,
}

/// A writer thread, as the queue sees it.
struct WriterState {
    /// `None`: it is told to end, or has ended.
    sender: Option<Sender<Message>>,
    /// It waits for a message.
    is_idle: bool,
    /// It has committed and will call [`begin`](CommitQueue::begin) soon.
    polls_soon: bool,
    /// It cannot reach the database.
    is_unreachable: bool,
    /// Work units of its transaction.
    work_in_progress: usize,
}

/// The requests of one call.
struct QueuedCall {
    operations: Requests,
    caller: Caller,
}

/// The next batch: its operations, and what to undo first.
pub(super) struct PendingBatch {
    pub(super) operations: Vec<Request>,
    pub(super) callers: Callers,
    pub(super) compensations: Vec<Compensation>,
}

impl CommitQueue {
    pub(super) fn new(writers: Vec<Sender<Message>>, threshold: usize) -> Arc<Self> {
        let writer = |sender| WriterState {
            sender: Some(sender),
            is_idle: false,
            polls_soon: false,
            is_unreachable: false,
            work_in_progress: 0,
        };
        let writers = writers.into_iter().map(writer).collect();
        let state = QueueState {
            calls: Vec::new(),
            queued_work: 0,
            compensations: Vec::new(),
            has_new_compensations: false,
            writers,
            threshold,
            help_wanted: false,
            conditions: CommitConditions::default(),
        };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Tells the writers to end when they have answered everything.
    pub(super) fn close(&self) {
        self.state().writers.iter_mut().for_each(|writer| writer.sender = None);
    }

    /// A writer has ended, for whatever reason. After the last one all waiting calls fail. Returns whether it was the last.
    pub(super) fn ended(&self, writer: usize) -> bool {
        let mut state = self.state();
        let ended = &mut state.writers[writer];
        (ended.sender, ended.is_idle, ended.polls_soon, ended.work_in_progress) = (None, false, false, 0);
        if state.is_open() {
            state.wake();
        } else {
            state.calls.clear();
            state.queued_work = 0;
        }
        !state.is_open()
    }

    pub(super) fn send_to_first_writer(&self, message: Message) {
        if let Some(first) = self.state().writers.first() {
            first.send(message);
        }
    }

    /// A writer has nothing to do and is about to wait. False: it has work.
    pub(super) fn go_idle(&self, writer: usize) -> bool {
        let mut state = self.state();
        let idle_now = !state.has_work() || state.is_left_to_others(writer);
        let writer = &mut state.writers[writer];
        (writer.is_idle, writer.polls_soon, writer.work_in_progress) = (idle_now, false, 0);
        idle_now
    }

    /// Whether a writer can reach the database. If not, the others take over its share.
    pub(super) fn set_unreachable(&self, writer: usize, is_unreachable: bool) {
        let mut state = self.state();
        let writer = &mut state.writers[writer];
        (writer.is_unreachable, writer.polls_soon, writer.work_in_progress) = (is_unreachable, false, 0);
        state.wake();
    }

    /// A writer has committed and will look for more work.
    pub(super) fn committed(&self, writer: usize, conditions: CommitConditions) {
        let mut state = self.state();
        state.writers[writer].polls_soon = true;
        state.conditions = conditions;
    }

    /// Applies requests in one commit. `None`: the writers have ended.
    pub(super) async fn all(&self, operations: Requests) -> Option<Vec<Result<Answer>>> {
        let (reply, mut delivered) = oneshot::channel();
        let has_helpers = {
            let mut state = self.state();
            if !state.is_open() {
                return None;
            }
            state.push(operations, reply);
            state.writers.len() > 1
        };
        let delivered = if !has_helpers {
            delivered.await
        } else if let Ok(delivered) = tokio::time::timeout(HELP_DELAY, &mut delivered).await {
            delivered
        } else {
            self.state().request_help();
            delivered.await
        };
        Some(delivered.ok()?.accept())
    }

    /// Asks for claims that wait for an item. Their callers are told if the writers have ended.
    pub(super) fn ask(&self, callers: Vec<Caller>) {
        let mut state = self.state();
        for caller in callers.into_iter().filter(|_| state.is_open()).collect::<Vec<_>>() {
            if let Some(request) = caller.waiting_request() {
                state.push_call(smallvec![request], caller);
            }
        }
    }

    /// A caller has waited for [`HELP_DELAY`].
    pub(super) fn request_help(&self) {
        let mut state = self.state();
        if state.writers.len() > 1 {
            state.request_help();
        }
    }

    /// The next batch of at most about `max_work` units, with all compensations.
    pub(super) fn begin(&self, writer: usize, max_work: usize) -> PendingBatch {
        let mut state = self.state();
        let begins = &mut state.writers[writer];
        (begins.is_idle, begins.polls_soon, begins.work_in_progress) = (false, false, 0);
        if state.is_left_to_others(writer) {
            return PendingBatch {
                operations: Vec::new(),
                callers: Callers::default(),
                compensations: Vec::new(),
            };
        }
        state.has_new_compensations = false;
        let compensations = std::mem::take(&mut state.compensations);
        let begun = PendingBatch { compensations, ..state.take_batch(writer, max_work) };
        state.wake(); // the rest is left to other writers
        begun
    }

    /// Requests that have arrived since [`begin`](Self::begin), of at most about `max_work` units.
    pub(super) fn join(&self, writer: usize, max_work: usize) -> PendingBatch {
        self.state().take_batch(writer, max_work)
    }

    /// Work units of the requests that wait.
    pub(super) fn queued_work(&self) -> usize {
        self.state().queued_work
    }

    /// Whether there are compensations.
    pub(super) fn has_compensations(&self) -> bool {
        !self.state().compensations.is_empty()
    }

    /// Adds compensations to the next commit. Returns whether callers wait, for whom a commit is made anyway.
    pub(super) fn add_compensations(&self, compensations: Vec<Compensation>) -> bool {
        let mut state = self.state();
        state.compensations.extend(compensations);
        !state.calls.is_empty()
    }

    /// Delivers the answers. Returns the handle of those that a robot was asked to forward.
    pub(super) fn answer(
        self: &Arc<Self>,
        callers: Callers,
        answers: Vec<Result<Answer>>,
    ) -> Option<ForwardHandle> {
        let undo: Arc<dyn Undo> = self.clone();
        callers.deliver(answers, &undo)
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Undo for CommitQueue {
    fn undo(self: Arc<Self>, undelivered: &mut dyn Iterator<Item = Answer>) {
        let mut state = self.state();
        let had_none = state.compensations.is_empty();
        state.compensations.extend(undelivered.flat_map(compensations_for));
        if had_none && !state.compensations.is_empty() {
            state.has_new_compensations = true;
            state.wake();
        }
    }
}

impl QueueState {
    /// Whether any writer is left.
    fn is_open(&self) -> bool {
        self.writers.iter().any(|writer| writer.sender.is_some())
    }

    fn push(&mut self, operations: Requests, reply: oneshot::Sender<Delivery>) {
        // Calls over HTTP are numerous too, and none of those that add and report is a heartbeat.
        let is_of_robot = |asked: &Request| match asked.operation {
            Operation::Report(_) | Operation::Claim(_) => true,
            Operation::Add { .. } | Operation::ReportUnclaimed(_) => asked.scope.user.is_some(),
            _ => false,
        };
        let is_robot = operations.iter().all(is_of_robot);
        let work = operations.iter().map(|asked| asked.operation.work()).sum::<usize>().max(1);
        let caller = Caller::new(operations.len(), work, reply, is_robot);
        self.push_call(operations, caller);
    }

    fn push_call(&mut self, operations: Requests, caller: Caller) {
        self.queued_work += caller.work;
        self.calls.push(QueuedCall { operations, caller });
        self.wake();
    }

    fn has_work(&self) -> bool {
        !self.calls.is_empty() || self.has_new_compensations
    }

    /// Whether the waiting work is left to a writer that is busy.
    fn is_left_to_others(&self, writer: usize) -> bool {
        let mut others = self.writers.iter().enumerate().filter(|(number, _)| *number != writer);
        others.any(|(_, other)| other.work_in_progress > 0) && !self.is_worth_another_writer()
    }

    /// Whether the waiting work is worth another transaction.
    fn is_worth_another_writer(&self) -> bool {
        self.help_wanted || !self.conditions.serialized && self.queued_work >= self.threshold()
    }

    /// How much work is worth another transaction: less if no other process uses the database.
    fn threshold(&self) -> usize {
        if self.conditions.other_writers { self.threshold } else { self.threshold.div_ceil(ALONE_DIVISOR) }
    }

    /// A caller has waited for a while.
    fn request_help(&mut self) {
        self.help_wanted = !self.calls.is_empty();
        if self.help_wanted {
            self.wake();
        }
    }

    /// Wakes an idle writer if there is work for it. A writer that is busy looks for more work by itself; if one is
    /// about to look, none is woken.
    fn wake(&mut self) {
        let is_up = |writer: &WriterState| writer.is_available() && !writer.is_idle;
        let polls_soon = self.writers.iter().any(|writer| writer.polls_soon);
        if !self.has_work() || polls_soon || self.writers.iter().any(is_up) && !self.is_worth_another_writer()
        {
            return;
        }
        let idle = self.writers.iter().position(|writer| writer.is_idle);
        if let Some(idle) = idle {
            self.writers[idle].is_idle = false;
            self.writers[idle].send(Message::Work);
        }
    }

    /// The next calls: of at most about `max_work` units, and at most the writer's share.
    fn take_batch(&mut self, writer: usize, max_work: usize) -> PendingBatch {
        let room = max_work.min(self.share().saturating_sub(self.writers[writer].work_in_progress));
        let (mut count, mut work) = (0, 0);
        let fitting = self.calls.iter().take_while(|QueuedCall { caller, .. }| {
            let fits = work < room;
            count += if fits { caller.count } else { 0 };
            work += if fits { caller.work } else { 0 };
            fits
        });
        let fitting = fitting.count();
        self.queued_work -= work;
        self.help_wanted &= fitting < self.calls.len();
        self.writers[writer].work_in_progress += work;
        let (mut operations, mut callers) = (Vec::with_capacity(count), Vec::with_capacity(fitting));
        for QueuedCall { operations: own, caller } in self.calls.drain(..fitting) {
            callers.push(caller);
            operations.extend(own);
        }
        PendingBatch { operations, callers: Callers(callers), compensations: Vec::new() }
    }

    /// The most work of one transaction, so that all writers get the same.
    fn share(&self) -> usize {
        let available = self.writers.iter().filter(|writer| writer.is_available()).count();
        let work_in_progress: usize = self.writers.iter().map(|writer| writer.work_in_progress).sum();
        let all = self.queued_work + work_in_progress;
        let max_writers = if self.conditions.serialized { 1 } else { all / self.threshold() };
        all.div_ceil(available.min(max_writers).max(1))
    }
}

impl WriterState {
    /// Whether it can take a share.
    fn is_available(&self) -> bool {
        self.sender.is_some() && !self.is_unreachable
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(message); // a thread that has ended reports that itself
        }
    }
}
