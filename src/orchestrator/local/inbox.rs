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
use super::batch::Message;
use super::owed::{Owed, undone};
use super::store::{Answer, Asked, Operation, Operations};

/// After so long somebody who waits is helped by another writer, if there is one: what the first is at takes a while.
const HELPED_AFTER: Duration = Duration::from_millis(25);

/// Where no other process writes, this part of what is enough is.
const ALONE: usize = 4;

pub(super) struct Inbox(Mutex<State>);

struct State {
    waiting: Vec<Waiting>,
    /// How much work that is.
    work_waiting: usize,
    /// What is to be undone.
    owed: Vec<Owed>,
    /// Some of that has not been tried yet.
    owes_more: bool,
    writers: Vec<Writer>,
    /// So much work is worth a transaction beside another one, and beside those of other processes.
    enough: usize,
    /// Somebody has waited for a while.
    help: bool,
    surroundings: Surroundings,
}

/// What a writer knows that has committed.
#[derive(Clone, Copy, Default)]
pub(super) struct Surroundings {
    /// What is asked for now only one transaction does at a time: another writer would wait for it.
    pub(super) one_at_a_time: bool,
    /// Other processes write at the same time.
    pub(super) among_others: bool,
}

/// A thread of the store that writes.
struct Writer {
    /// None: it is to end, or has ended.
    way: Option<Sender<Message>>,
    /// It waits for work.
    is_idle: bool,
    /// It has committed, and is about to look whether there is more.
    looks_soon: bool,
    /// It keeps something for whoever comes next.
    keeps: bool,
    /// It cannot reach the store.
    is_away: bool,
    /// How much work its transaction has.
    under_way: usize,
}

/// One caller's operations, and where it waits.
struct Waiting {
    operations: Operations,
    caller: Caller,
}

/// Who waits for so many answers.
struct Caller {
    count: usize,
    /// How much work its operations are: one for each item.
    work: usize,
    reply: oneshot::Sender<Told>,
    /// A robot: it may hear from another one.
    is_robot: bool,
}

/// What a caller is told.
enum Told {
    Own(Answers),
    /// Its answers, and those that it tells the others.
    AndOthers(Answers, Rest),
}

/// What becomes one transaction, and who waits for it.
pub(super) struct Batched {
    pub(super) operations: Vec<Asked>,
    pub(super) callers: Callers,
    pub(super) owed: Vec<Owed>,
}

/// Callers in the order of their operations.
pub(super) struct Callers(Vec<Caller>);

/// What one caller tells the others; until it does, the store can do so.
#[derive(Clone)]
pub(super) struct Rest(Arc<Mutex<Option<Others>>>);

/// The answers of a commit to the callers that one of them tells. Dropped, wherever that happens, they are told.
struct Others {
    answers: std::vec::IntoIter<Result<Answer>>,
    callers: std::vec::IntoIter<Caller>,
    inbox: Arc<Inbox>,
}

/// The answers to one caller. What is never heard is undone.
struct Answers {
    unheard: Vec<Result<Answer>>,
    inbox: Arc<Inbox>,
}

impl Inbox {
    pub(super) fn new(writers: Vec<Sender<Message>>, enough: usize) -> Arc<Self> {
        let writer = |way| Writer {
            way: Some(way),
            is_idle: false,
            looks_soon: false,
            keeps: false,
            is_away: false,
            under_way: 0,
        };
        let writers = writers.into_iter().map(writer).collect();
        let state = State {
            waiting: Vec::new(),
            work_waiting: 0,
            owed: Vec::new(),
            owes_more: false,
            writers,
            enough,
            help: false,
            surroundings: Surroundings::default(),
        };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Lets go of the store's writers, which end when they have answered everything.
    pub(super) fn close(&self) {
        self.state().writers.iter_mut().for_each(|writer| writer.way = None);
    }

    /// One of the store's writers has ended, however it did: when it was the last, nobody waits for an answer any longer.
    pub(super) fn ended(&self, writer: usize) {
        let mut state = self.state();
        let ended = &mut state.writers[writer];
        (ended.way, ended.is_idle, ended.looks_soon, ended.under_way) = (None, false, false, 0);
        if state.is_open() {
            state.wake();
        } else {
            state.waiting.clear();
            state.work_waiting = 0;
        }
    }

    pub(super) fn tell_the_first(&self, message: Message) {
        if let Some(first) = self.state().writers.first() {
            first.send(message);
        }
    }

    /// One of the writers has nothing to do, and waits. False: it has. `keeps`: it keeps something for whoever comes next.
    pub(super) fn rests(&self, writer: usize, keeps: bool) -> bool {
        let mut state = self.state();
        let rests = !state.has_work() || state.has_to_wait(writer);
        let writer = &mut state.writers[writer];
        (writer.is_idle, writer.looks_soon, writer.keeps, writer.under_way) = (rests, false, keeps, 0);
        rests
    }

    /// One of the writers cannot reach the store, and the others share what comes; or it can again.
    pub(super) fn set_away(&self, writer: usize, is_away: bool) {
        let mut state = self.state();
        let writer = &mut state.writers[writer];
        (writer.is_away, writer.looks_soon, writer.under_way) = (is_away, false, 0);
        state.wake();
    }

    /// A writer has committed, and will look whether there is more.
    pub(super) fn committed(&self, writer: usize, surroundings: Surroundings) {
        let mut state = self.state();
        state.writers[writer].looks_soon = true;
        state.surroundings = surroundings;
    }

    /// Operations that belong together: one commit. `None`: the store's threads have ended.
    pub(super) async fn all(&self, operations: Operations) -> Option<Vec<Result<Answer>>> {
        let (reply, mut told) = oneshot::channel();
        let may_be_helped = {
            let mut state = self.state();
            if !state.is_open() {
                return None;
            }
            state.push(operations, reply);
            state.writers.len() > 1
        };
        let told = if !may_be_helped {
            told.await
        } else if let Ok(told) = tokio::time::timeout(HELPED_AFTER, &mut told).await {
            told
        } else {
            self.state().help();
            told.await
        };
        Some(match told.ok()? {
            Told::Own(answers) => answers.heard(),
            Told::AndOthers(answers, rest) => {
                rest.tell();
                answers.heard()
            }
        })
    }

    /// What waits, about so much work; and everything that is owed.
    pub(super) fn begin(&self, writer: usize, most: usize) -> Batched {
        let mut state = self.state();
        let begins = &mut state.writers[writer];
        (begins.is_idle, begins.looks_soon, begins.under_way) = (false, false, 0);
        if state.has_to_wait(writer) {
            return Batched { operations: Vec::new(), callers: Callers(Vec::new()), owed: Vec::new() };
        }
        state.owes_more = false;
        let owed = std::mem::take(&mut state.owed);
        let begun = Batched { owed, ..state.take(writer, most) };
        state.wake(); // what is left is another one's share
        begun
    }

    /// What has come in the meantime: about so much work.
    pub(super) fn join(&self, writer: usize, most: usize) -> Batched {
        self.state().take(writer, most)
    }

    /// Whether something is to be undone.
    pub(super) fn owes(&self) -> bool {
        !self.state().owed.is_empty()
    }

    /// Undoes this with the next commit. Answers whether there is anybody for whom that would be made.
    pub(super) fn owe(&self, owed: Vec<Owed>) -> bool {
        let mut state = self.state();
        state.owed.extend(owed);
        !state.waiting.is_empty()
    }

    /// Tells the callers. What one of the robots is to tell the others is answered.
    pub(super) fn answer(self: &Arc<Self>, callers: Callers, answers: Vec<Result<Answer>>) -> Option<Rest> {
        let mut answers = answers.into_iter();
        let (mut rest, mut robots) = (Vec::with_capacity(answers.len()), Vec::with_capacity(callers.0.len()));
        for caller in callers.0 {
            let own = answers.by_ref().take(caller.count);
            if caller.is_robot {
                rest.extend(own);
                robots.push(caller);
            } else {
                let answers = Answers { unheard: own.collect(), inbox: self.clone() };
                drop(caller.reply.send(Told::Own(answers))); // what comes back is undone
            }
        }
        let mut others =
            Others { answers: rest.into_iter(), callers: robots.into_iter(), inbox: self.clone() };
        while let Some((reply, own)) = others.next() {
            if others.callers.len() == 0 {
                drop(reply.send(Told::Own(own)));
                return None;
            }
            let rest = Rest(Arc::new(Mutex::new(Some(others))));
            match reply.send(Told::AndOthers(own, rest.clone())) {
                Ok(()) => return Some(rest),
                Err(unheard) => drop(unheard), // it is gone; the next one
            }
            others = rest.take()?;
        }
        None
    }

    fn undo(&self, unheard: impl Iterator<Item = Result<Answer>>) {
        let mut state = self.state();
        let owed_nothing = state.owed.is_empty();
        state.owed.extend(unheard.filter_map(Result::ok).flat_map(undone));
        if owed_nothing && !state.owed.is_empty() {
            state.owes_more = true;
            state.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether anybody answers.
    fn is_open(&self) -> bool {
        self.writers.iter().any(|writer| writer.way.is_some())
    }

    fn push(&mut self, operations: Operations, reply: oneshot::Sender<Told>) {
        // Callers over HTTP are many too, and no heart waits among those who add and settle.
        let of_a_robot = |asked: &Asked| match asked.operation {
            Operation::Report(_) | Operation::Take(_) => true,
            Operation::Add { .. } | Operation::Settle(_) => asked.within.user.is_some(),
            _ => false,
        };
        let is_robot = operations.iter().all(of_a_robot);
        let work = operations.iter().map(|asked| asked.operation.work()).sum::<usize>().max(1);
        let caller = Caller { count: operations.len(), work, reply, is_robot };
        self.work_waiting += caller.work;
        self.waiting.push(Waiting { operations, caller });
        self.wake();
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.owes_more
    }

    /// Whether what waits is left to a writer that is at something else.
    fn has_to_wait(&self, writer: usize) -> bool {
        let mut others = self.writers.iter().enumerate().filter(|(number, _)| *number != writer);
        others.any(|(_, other)| other.under_way > 0) && !self.is_worth_another()
    }

    /// Whether what waits is worth a transaction beside another one.
    fn is_worth_another(&self) -> bool {
        self.help || !self.surroundings.one_at_a_time && self.work_waiting >= self.enough()
    }

    /// So much work is worth a transaction beside another one: less of it where nobody else has the database at work.
    fn enough(&self) -> usize {
        if self.surroundings.among_others { self.enough } else { self.enough.div_ceil(ALONE) }
    }

    /// Somebody has waited for a while.
    fn help(&mut self) {
        self.help = !self.waiting.is_empty();
        if self.help {
            self.wake();
        }
    }

    /// Wakes a writer, if one is idle and should do what waits. Whichever is done with something else looks by itself, and if
    /// it is about to, that will do.
    fn wake(&mut self) {
        let is_up = |writer: &Writer| writer.is_here() && !writer.is_idle;
        let looks_soon = self.writers.iter().any(|writer| writer.looks_soon);
        if !self.has_work() || looks_soon || self.writers.iter().any(is_up) && !self.is_worth_another() {
            return;
        }
        let keeping = self.writers.iter().position(|writer| writer.is_idle && writer.keeps);
        let idle = keeping.or_else(|| self.writers.iter().position(|writer| writer.is_idle));
        if let Some(idle) = idle {
            self.writers[idle].is_idle = false;
            self.writers[idle].send(Message::Work);
        }
    }

    /// What waits: at most about so much work, and a writer's share.
    fn take(&mut self, writer: usize, most: usize) -> Batched {
        let room = most.min(self.share().saturating_sub(self.writers[writer].under_way));
        let (mut count, mut work) = (0, 0);
        let fitting = self.waiting.iter().take_while(|Waiting { caller, .. }| {
            let fits = work < room;
            count += if fits { caller.count } else { 0 };
            work += if fits { caller.work } else { 0 };
            fits
        });
        let fitting = fitting.count();
        self.work_waiting -= work;
        self.help &= fitting < self.waiting.len();
        self.writers[writer].under_way += work;
        let (mut operations, mut callers) = (Vec::with_capacity(count), Vec::with_capacity(fitting));
        for Waiting { operations: own, caller } in self.waiting.drain(..fitting) {
            callers.push(caller);
            operations.extend(own);
        }
        Batched { operations, callers: Callers(callers), owed: Vec::new() }
    }

    /// How much work one transaction has at the most, so that all writers have the same to do.
    fn share(&self) -> usize {
        let here = self.writers.iter().filter(|writer| writer.is_here()).count();
        let under_way: usize = self.writers.iter().map(|writer| writer.under_way).sum();
        let all = self.work_waiting + under_way;
        let most = if self.surroundings.one_at_a_time { 1 } else { all / self.enough() };
        all.div_ceil(here.min(most).max(1))
    }
}

impl Writer {
    /// Whether it can take a share.
    fn is_here(&self) -> bool {
        self.way.is_some() && !self.is_away
    }

    fn send(&self, message: Message) {
        if let Some(way) = &self.way {
            let _ = way.send(message); // a thread that has ended is about to say so
        }
    }
}

impl Callers {
    /// Others have joined, behind these.
    pub(super) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

impl Rest {
    /// Tells those who have not been told.
    pub(super) fn tell(&self) {
        drop(self.take()); // not while it is locked
    }

    pub(super) fn is_told(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take(&self) -> Option<Others> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Others {
    /// The next caller, and the answers to it.
    fn next(&mut self) -> Option<(oneshot::Sender<Told>, Answers)> {
        let Caller { count, reply, .. } = self.callers.next()?;
        let unheard = self.answers.by_ref().take(count).collect();
        Some((reply, Answers { unheard, inbox: self.inbox.clone() }))
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        while let Some((reply, answers)) = self.next() {
            drop(reply.send(Told::Own(answers))); // what comes back is undone
        }
    }
}

impl Answers {
    fn heard(mut self) -> Vec<Result<Answer>> {
        std::mem::take(&mut self.unheard)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.inbox.undo(self.unheard.drain(..));
    }
}
