//! Where callers leave their operations for a store on a thread of its own, and how they hear of the answers.
//!
//! The store takes along everything that waits, and tells one of the callers; that one tells the others. So the
//! store's thread wakes one task a commit, however many robots report in it: waking a task from another thread costs
//! as much as a statement, waking it from a task beside it next to nothing.
//!
//! Any caller may go away at any time. Answers travel as values whose `Drop` tells those who have not been told, and
//! undoes what nobody heard.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::{Report, Result};
use super::batch::Message;
use super::store::{Answer, Operation, Operations};
use crate::model::job::JobState;
use crate::model::result::TransactionResult;

pub(super) struct Inbox(Mutex<State>);

struct State {
    waiting: Vec<Waiting>,
    /// None: the store is being closed.
    writer: Option<Sender<Message>>,
}

/// One caller's operations, and where it waits.
struct Waiting {
    operations: Operations,
    reply: oneshot::Sender<Told>,
}

/// What a caller is told.
enum Told {
    Own(Answers),
    /// The answers of a whole commit: it finds its own, and tells the others.
    Everybodys(Answered),
}

/// What becomes one transaction, and who waits for it.
pub(super) struct Batched {
    pub(super) operations: Vec<Operation>,
    pub(super) callers: Callers,
}

/// Callers in the order of their operations, of which each has so many.
pub(super) struct Callers(Vec<(usize, oneshot::Sender<Told>)>);

/// The answers of a commit. Dropped, wherever that happens, they are told to each caller.
struct Answered {
    /// How many of the answers are for the caller that is told.
    own: usize,
    answers: std::vec::IntoIter<Result<Answer>>,
    others: std::vec::IntoIter<(usize, oneshot::Sender<Told>)>,
    inbox: Arc<Inbox>,
}

/// The answers to one caller. What is never heard is undone.
struct Answers {
    unheard: Vec<Result<Answer>>,
    inbox: Arc<Inbox>,
}

impl Inbox {
    pub(super) fn new(writer: Sender<Message>) -> Arc<Self> {
        let state = State { waiting: Vec::new(), writer: Some(writer) };
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
            state.push(Waiting { operations, reply });
        }
        match told.await.ok()? {
            Told::Own(answers) => Some(answers.heard()),
            Told::Everybodys(mut answered) => Some(answered.own().heard()), // and the others are told
        }
    }

    /// Takes along what waits: about so many operations.
    pub(super) fn take(&self, most: usize) -> Batched {
        let mut state = self.state();
        let mut count = 0;
        let fitting = state.waiting.iter().take_while(|waiting| {
            let fits = count < most;
            count += waiting.operations.len();
            fits
        });
        let fitting = fitting.count();
        let mut operations = Vec::with_capacity(count);
        let mut callers = Vec::with_capacity(fitting);
        for Waiting { operations: own, reply } in state.waiting.drain(..fitting) {
            callers.push((own.len(), reply));
            operations.extend(own);
        }
        Batched { operations, callers: Callers(callers) }
    }

    /// Tells the callers: the first one who is still there is told everything.
    pub(super) fn answer(self: &Arc<Self>, callers: Callers, answers: Vec<Result<Answer>>) {
        let (mut answers, mut others) = (answers.into_iter(), callers.0.into_iter());
        while let Some((own, reply)) = others.next() {
            let told = Told::Everybodys(Answered { own, answers, others, inbox: self.clone() });
            let Err(Told::Everybodys(mut unheard)) = reply.send(told) else { return };
            drop(unheard.own());
            (answers, others) = (std::mem::take(&mut unheard.answers), std::mem::take(&mut unheard.others));
        }
    }

    fn undo(&self, unheard: impl Iterator<Item = Result<Answer>>) {
        let operations: Operations = unheard.filter_map(undone).flatten().collect();
        if !operations.is_empty() {
            let (reply, _nobody) = oneshot::channel();
            self.state().push(Waiting { operations, reply });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
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

impl Answered {
    /// The answers to the caller that is told.
    fn own(&mut self) -> Answers {
        let own = std::mem::take(&mut self.own);
        self.answers(own)
    }

    fn answers(&mut self, count: usize) -> Answers {
        Answers { unheard: self.answers.by_ref().take(count).collect(), inbox: self.inbox.clone() }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        drop(self.own());
        while let Some((count, reply)) = self.others.next() {
            drop(reply.send(Told::Own(self.answers(count)))); // what comes back is undone
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
fn undone(unheard: Result<Answer>) -> Option<Vec<Operation>> {
    let claims: Vec<_> = match unheard {
        Ok(Answer::Job(job)) => {
            let info = Some("whoever started it went away".to_owned());
            return Some(vec![Operation::EndJob { job, state: JobState::Stopped, info }]);
        }
        Ok(Answer::Taken(items)) => items.into_iter().map(|item| item.claim).collect(),
        Ok(Answer::Claimed(item)) => vec![item.claim],
        _ => return None,
    };
    let give_back =
        |claim| Operation::Report(Report { claim, result: TransactionResult::GivenBack, progress: None });
    Some(claims.into_iter().map(give_back).collect())
}
