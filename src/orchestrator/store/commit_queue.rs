//! Where callers leave their operations for a store on threads of its own, and how they hear of the answers.
//!
//! The store takes along everything that waits. Where it has several writers, one alone does it for as long as there is
//! little to do: two transactions of half as much cost more than one. Another one is woken when enough waits for a transaction
//! of its own, or when somebody has waited for a while. Then each takes its share at the most of all that waits or is under
//! way. What only one transaction does at a time (taking from a queue with limits) only one writer does.
//!
//! Of the robots that report and take, the store wakes one, which tells the others: waking a task from another thread costs
//! the store as much as a statement, waking it from a task beside it next to nothing. Should that one not come to it at once
//! (its thread is blocked, nobody polls it), the store tells the others after all. Everybody else, the heart of a job above
//! all, hears from the store itself.
//!
//! Any caller may go away at any time. Answers travel as values whose `Drop` tells those who have not been told, and
//! undoes what nobody heard: items go back into the queue, jobs end. So does what was done, perhaps, in a commit of which
//! nobody knows what became of it. What is to be undone comes first in the next commit, before a job may take the same
//! items again, and is tried until a commit succeeds.

#[cfg(test)]
mod tests;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::Result;
use super::group_commit::Message;
use super::compensation::{Compensation, compensations_for};
use super::backend::{Answer, Request, Operation, Requests};

/// After so long somebody who waits is helped by another writer, if there is one: what the first is at takes a while.
const HELP_DELAY: Duration = Duration::from_millis(25);

/// Where no other process writes, this part of what is enough is.
const ALONE_DIVISOR: usize = 4;

pub(super) struct CommitQueue(Mutex<QueueState>);

struct QueueState {
    calls: Vec<QueuedCall>,
    /// How much work that is.
    queued_work: usize,
    /// What is to be undone.
    compensations: Vec<Compensation>,
    /// Some of that has not been tried yet.
    has_new_compensations: bool,
    writers: Vec<WriterState>,
    /// So much work is worth a transaction beside another one, and beside those of other processes.
    threshold: usize,
    /// Somebody has waited for a while.
    help_wanted: bool,
    conditions: CommitConditions,
}

/// What a writer knows that has committed.
#[derive(Clone, Copy, Default)]
pub(super) struct CommitConditions {
    /// What is asked for now only one transaction does at a time: another writer would wait for it.
    pub(super) serialized: bool,
    /// Other processes write at the same time.
    pub(super) other_writers: bool,
}

/// A thread of the store that writes.
struct WriterState {
    /// None: it is to end, or has ended.
    sender: Option<Sender<Message>>,
    /// It waits for work.
    is_idle: bool,
    /// It has committed, and is about to look whether there is more.
    polls_soon: bool,
    /// It keeps something for whoever comes next.
    keeps_transaction: bool,
    /// It cannot reach the store.
    is_unreachable: bool,
    /// How much work its transaction has.
    work_in_progress: usize,
}

/// One caller's operations, and where it waits.
struct QueuedCall {
    operations: Requests,
    caller: Caller,
}

/// Who waits for so many answers.
struct Caller {
    count: usize,
    /// How much work its operations are: one for each item.
    work: usize,
    reply: oneshot::Sender<Delivery>,
    /// A robot: it may hear from another one.
    is_robot: bool,
}

/// What a caller is told.
enum Delivery {
    Own(CallAnswers),
    /// Its answers, and those that it tells the others.
    WithForwarding(CallAnswers, ForwardHandle),
}

/// What becomes one transaction, and who waits for it.
pub(super) struct PendingBatch {
    pub(super) operations: Vec<Request>,
    pub(super) callers: Callers,
    pub(super) compensations: Vec<Compensation>,
}

/// Callers in the order of their operations.
pub(super) struct Callers(Vec<Caller>);

/// What one caller tells the others; until it does, the store can do so.
#[derive(Clone)]
pub(super) struct ForwardHandle(Arc<Mutex<Option<Forwarding>>>);

/// The answers of a commit to the callers that one of them tells. Dropped, wherever that happens, they are told.
struct Forwarding {
    answers: std::vec::IntoIter<Result<Answer>>,
    callers: std::vec::IntoIter<Caller>,
    commit_queue: Arc<CommitQueue>,
}

/// The answers to one caller. What is never heard is undone.
struct CallAnswers {
    undelivered: Vec<Result<Answer>>,
    commit_queue: Arc<CommitQueue>,
}

impl CommitQueue {
    pub(super) fn new(writers: Vec<Sender<Message>>, threshold: usize) -> Arc<Self> {
        let writer = |sender| WriterState {
            sender: Some(sender),
            is_idle: false,
            polls_soon: false,
            keeps_transaction: false,
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

    /// Lets go of the store's writers, which end when they have answered everything.
    pub(super) fn close(&self) {
        self.state().writers.iter_mut().for_each(|writer| writer.sender = None);
    }

    /// One of the store's writers has ended, however it did: when it was the last, nobody waits for an answer any longer.
    pub(super) fn ended(&self, writer: usize) {
        let mut state = self.state();
        let ended = &mut state.writers[writer];
        (ended.sender, ended.is_idle, ended.polls_soon, ended.work_in_progress) = (None, false, false, 0);
        if state.is_open() {
            state.wake();
        } else {
            state.calls.clear();
            state.queued_work = 0;
        }
    }

    pub(super) fn send_to_first_writer(&self, message: Message) {
        if let Some(first) = self.state().writers.first() {
            first.send(message);
        }
    }

    /// One of the writers has nothing to do, and waits. False: it has. `keeps`: it keeps something for whoever comes next.
    pub(super) fn go_idle(&self, writer: usize, keeps_transaction: bool) -> bool {
        let mut state = self.state();
        let idle_now = !state.has_work() || state.is_left_to_others(writer);
        let writer = &mut state.writers[writer];
        (writer.is_idle, writer.polls_soon, writer.keeps_transaction, writer.work_in_progress) = (idle_now, false, keeps_transaction, 0);
        idle_now
    }

    /// One of the writers cannot reach the store, and the others share what comes; or it can again.
    pub(super) fn set_unreachable(&self, writer: usize, is_unreachable: bool) {
        let mut state = self.state();
        let writer = &mut state.writers[writer];
        (writer.is_unreachable, writer.polls_soon, writer.work_in_progress) = (is_unreachable, false, 0);
        state.wake();
    }

    /// A writer has committed, and will look whether there is more.
    pub(super) fn committed(&self, writer: usize, conditions: CommitConditions) {
        let mut state = self.state();
        state.writers[writer].polls_soon = true;
        state.conditions = conditions;
    }

    /// Operations that belong together: one commit. `None`: the store's threads have ended.
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
        Some(match delivered.ok()? {
            Delivery::Own(answers) => answers.accept(),
            Delivery::WithForwarding(answers, rest) => {
                rest.deliver();
                answers.accept()
            }
        })
    }

    /// What waits, about so much work; and everything that is owed.
    pub(super) fn begin(&self, writer: usize, max_work: usize) -> PendingBatch {
        let mut state = self.state();
        let begins = &mut state.writers[writer];
        (begins.is_idle, begins.polls_soon, begins.work_in_progress) = (false, false, 0);
        if state.is_left_to_others(writer) {
            return PendingBatch { operations: Vec::new(), callers: Callers(Vec::new()), compensations: Vec::new() };
        }
        state.has_new_compensations = false;
        let compensations = std::mem::take(&mut state.compensations);
        let begun = PendingBatch { compensations, ..state.take_batch(writer, max_work) };
        state.wake(); // what is left is another one's share
        begun
    }

    /// What has come in the meantime: about so much work.
    pub(super) fn join(&self, writer: usize, max_work: usize) -> PendingBatch {
        self.state().take_batch(writer, max_work)
    }

    /// Whether something is to be undone.
    pub(super) fn has_compensations(&self) -> bool {
        !self.state().compensations.is_empty()
    }

    /// Undoes this with the next commit. Answers whether there is anybody for whom that would be made.
    pub(super) fn add_compensations(&self, compensations: Vec<Compensation>) -> bool {
        let mut state = self.state();
        state.compensations.extend(compensations);
        !state.calls.is_empty()
    }

    /// Tells the callers. What one of the robots is to tell the others is answered.
    pub(super) fn answer(self: &Arc<Self>, callers: Callers, answers: Vec<Result<Answer>>) -> Option<ForwardHandle> {
        let mut answers = answers.into_iter();
        let (mut rest, mut robots) = (Vec::with_capacity(answers.len()), Vec::with_capacity(callers.0.len()));
        for caller in callers.0 {
            let own = answers.by_ref().take(caller.count);
            if caller.is_robot {
                rest.extend(own);
                robots.push(caller);
            } else {
                let answers = CallAnswers { undelivered: own.collect(), commit_queue: self.clone() };
                drop(caller.reply.send(Delivery::Own(answers))); // what comes back is undone
            }
        }
        let mut others =
            Forwarding { answers: rest.into_iter(), callers: robots.into_iter(), commit_queue: self.clone() };
        while let Some((reply, own)) = others.next() {
            if others.callers.len() == 0 {
                drop(reply.send(Delivery::Own(own)));
                return None;
            }
            let rest = ForwardHandle(Arc::new(Mutex::new(Some(others))));
            match reply.send(Delivery::WithForwarding(own, rest.clone())) {
                Ok(()) => return Some(rest),
                Err(undelivered) => drop(undelivered), // it is gone; the next one
            }
            others = rest.take()?;
        }
        None
    }

    fn undo(&self, undelivered: impl Iterator<Item = Result<Answer>>) {
        let mut state = self.state();
        let had_none = state.compensations.is_empty();
        state.compensations.extend(undelivered.filter_map(Result::ok).flat_map(compensations_for));
        if had_none && !state.compensations.is_empty() {
            state.has_new_compensations = true;
            state.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Whether anybody answers.
    fn is_open(&self) -> bool {
        self.writers.iter().any(|writer| writer.sender.is_some())
    }

    fn push(&mut self, operations: Requests, reply: oneshot::Sender<Delivery>) {
        // Callers over HTTP are many too, and no heart waits among those who add and settle.
        let is_of_robot = |asked: &Request| match asked.operation {
            Operation::Report(_) | Operation::Claim(_) => true,
            Operation::Add { .. } | Operation::ReportUnclaimed(_) => asked.scope.user.is_some(),
            _ => false,
        };
        let is_robot = operations.iter().all(is_of_robot);
        let work = operations.iter().map(|asked| asked.operation.work()).sum::<usize>().max(1);
        let caller = Caller { count: operations.len(), work, reply, is_robot };
        self.queued_work += caller.work;
        self.calls.push(QueuedCall { operations, caller });
        self.wake();
    }

    fn has_work(&self) -> bool {
        !self.calls.is_empty() || self.has_new_compensations
    }

    /// Whether what waits is left to a writer that is at something else.
    fn is_left_to_others(&self, writer: usize) -> bool {
        let mut others = self.writers.iter().enumerate().filter(|(number, _)| *number != writer);
        others.any(|(_, other)| other.work_in_progress > 0) && !self.is_worth_another_writer()
    }

    /// Whether what waits is worth a transaction beside another one.
    fn is_worth_another_writer(&self) -> bool {
        self.help_wanted || !self.conditions.serialized && self.queued_work >= self.threshold()
    }

    /// So much work is worth a transaction beside another one: less of it where nobody else has the database at work.
    fn threshold(&self) -> usize {
        if self.conditions.other_writers { self.threshold } else { self.threshold.div_ceil(ALONE_DIVISOR) }
    }

    /// Somebody has waited for a while.
    fn request_help(&mut self) {
        self.help_wanted = !self.calls.is_empty();
        if self.help_wanted {
            self.wake();
        }
    }

    /// Wakes a writer, if one is idle and should do what waits. Whichever is done with something else looks by itself, and if
    /// it is about to, that will do.
    fn wake(&mut self) {
        let is_up = |writer: &WriterState| writer.is_available() && !writer.is_idle;
        let polls_soon = self.writers.iter().any(|writer| writer.polls_soon);
        if !self.has_work() || polls_soon || self.writers.iter().any(is_up) && !self.is_worth_another_writer() {
            return;
        }
        let keeping = self.writers.iter().position(|writer| writer.is_idle && writer.keeps_transaction);
        let idle = keeping.or_else(|| self.writers.iter().position(|writer| writer.is_idle));
        if let Some(idle) = idle {
            self.writers[idle].is_idle = false;
            self.writers[idle].send(Message::Work);
        }
    }

    /// What waits: at most about so much work, and a writer's share.
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

    /// How much work one transaction has at the most, so that all writers have the same to do.
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
            let _ = sender.send(message); // a thread that has ended is about to say so
        }
    }
}

impl Callers {
    /// Others have joined, behind these.
    pub(super) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

impl ForwardHandle {
    /// Tells those who have not been told.
    pub(super) fn deliver(&self) {
        drop(self.take()); // not while it is locked
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take(&self) -> Option<Forwarding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Forwarding {
    /// The next caller, and the answers to it.
    fn next(&mut self) -> Option<(oneshot::Sender<Delivery>, CallAnswers)> {
        let Caller { count, reply, .. } = self.callers.next()?;
        let undelivered = self.answers.by_ref().take(count).collect();
        Some((reply, CallAnswers { undelivered, commit_queue: self.commit_queue.clone() }))
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
        self.commit_queue.undo(self.undelivered.drain(..));
    }
}
