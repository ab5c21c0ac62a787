//! Where callers leave their operations for a store on a thread of its own, and how they hear of the answers.
//!
//! The store takes along everything that waits. Of the robots that report and take, it wakes one, which tells the others:
//! waking a task from another thread costs the store as much as a statement, waking it from a task beside it next to
//! nothing. Should that one not come to it at once (its thread is blocked, nobody polls it), the store tells the others
//! after all. Everybody else, the heart of a job above all, hears from the store itself.
//!
//! Any caller may go away at any time. Answers travel as values whose `Drop` tells those who have not been told, and
//! undoes what nobody heard: items go back into the queue, jobs end. So does what was done, perhaps, in a commit of which
//! nobody knows what became of it. What is to be undone comes first in the next commit, before a job may take the same
//! items again, and is tried until a commit succeeds.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::{Report, Result};
use super::batch::Message;
use super::store::{Answer, Asked, Operation, Operations, Within};
use crate::model::job::{JobEnd, JobState};
use crate::model::key::{Claim, JobKey};
use crate::model::result::TransactionResult;

pub(super) struct Inbox(Mutex<State>);

struct State {
    waiting: Vec<Waiting>,
    /// What is to be undone.
    owed: Vec<Owed>,
    /// None: the store is being closed.
    writer: Option<Sender<Message>>,
}

/// One caller's operations, and where it waits.
struct Waiting {
    operations: Operations,
    caller: Caller,
}

/// Who waits for so many answers.
struct Caller {
    count: usize,
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

/// What is to be undone, because nobody knows that it was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owed {
    GiveBack(Claim),
    EndJob(JobKey),
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
    pub(super) fn new(writer: Sender<Message>) -> Arc<Self> {
        let state = State { waiting: Vec::new(), owed: Vec::new(), writer: Some(writer) };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Lets go of the store's thread, which ends when it has answered everything.
    pub(super) fn close(&self) {
        self.state().writer = None;
    }

    /// The store's thread has ended, however it did: nobody waits for it any longer.
    pub(super) fn ended(&self) {
        let mut state = self.state();
        state.writer = None;
        state.waiting.clear();
    }

    pub(super) fn send(&self, message: Message) {
        self.state().send(message);
    }

    /// Operations that belong together: one commit. `None`: the store's thread has ended.
    pub(super) async fn all(&self, operations: Operations) -> Option<Vec<Result<Answer>>> {
        let (reply, told) = oneshot::channel();
        {
            let mut state = self.state();
            state.writer.as_ref()?;
            state.push(operations, reply);
        }
        Some(match told.await.ok()? {
            Told::Own(answers) => answers.heard(),
            Told::AndOthers(answers, rest) => {
                rest.tell();
                answers.heard()
            }
        })
    }

    /// What waits, about so many operations; and everything that is owed.
    pub(super) fn begin(&self, most: usize) -> Batched {
        let owed = std::mem::take(&mut self.state().owed);
        Batched { owed, ..self.join(most) }
    }

    /// What has come in the meantime: about so many operations.
    pub(super) fn join(&self, most: usize) -> Batched {
        let mut state = self.state();
        let mut count = 0;
        let fitting = state.waiting.iter().take_while(|waiting| {
            let fits = count < most;
            count += waiting.caller.count;
            fits
        });
        let fitting = fitting.count();
        let mut operations = Vec::with_capacity(count);
        let mut callers = Vec::with_capacity(fitting);
        for Waiting { operations: own, caller } in state.waiting.drain(..fitting) {
            callers.push(caller);
            operations.extend(own);
        }
        Batched { operations, callers: Callers(callers), owed: Vec::new() }
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
            state.send(Message::Work);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, operations: Operations, reply: oneshot::Sender<Told>) {
        // Callers over HTTP are many too, and no heart waits among those who add and settle.
        let of_a_robot = |asked: &Asked| match asked.operation {
            Operation::Report(_) | Operation::Take(_) => true,
            Operation::Add { .. } | Operation::Settle(_) => asked.within.user.is_some(),
            _ => false,
        };
        let is_robot = operations.iter().all(of_a_robot);
        let caller = Caller { count: operations.len(), reply, is_robot };
        self.waiting.push(Waiting { operations, caller });
        if self.waiting.len() == 1 {
            self.send(Message::Work);
        }
    }

    fn send(&self, message: Message) {
        if let Some(writer) = &self.writer {
            let _ = writer.send(message); // a thread that has ended is about to say so
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

/// Items taken for a caller who went away in the meantime go back into the queue, and a job that nobody
/// knows of ends.
pub(super) fn undone(unheard: Answer) -> Vec<Owed> {
    match unheard {
        Answer::Job(job) => vec![Owed::EndJob(job)],
        Answer::Taken(took) => took.items.into_iter().map(|item| Owed::GiveBack(item.claim)).collect(),
        Answer::Claimed(item) => vec![Owed::GiveBack(item.claim)],
        _ => Vec::new(),
    }
}

impl Owed {
    pub(super) fn asked(self) -> Asked {
        let operation = match self {
            Self::GiveBack(claim) => {
                Operation::Report(Report { claim, result: TransactionResult::GivenBack, progress: None })
            }
            Self::EndJob(job) => {
                let info = Some("whoever started it went away".to_owned());
                Operation::EndJob { job, end: JobEnd { info, ..JobState::Stopped.into() } }
            }
        };
        Asked { within: Within::SHARED, operation }
    }
}
