//! Group commit, written once for every store.
//!
//! Everything that waits becomes one batch, and so does what comes until it is committed: one durable transaction,
//! however many robots report and claim in it. Nothing waits for a timer: when the store is idle, a single call commits at once.
//!
//! A store that touches a disk works on threads of its own: one that writes, or several where several transactions can
//! write at the same time, and some that read (`readers.rs`). A store in memory is called in place; so is any store in a
//! simulation, where a thread of its own could not be controlled.

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use smallvec::smallvec;

use super::super::{ErrorKind, OrchestratorError, Result, Seen};
use super::changes::{Changes, Wakes};
use super::clock::StoreClock;
use super::inbox::{Batched, Inbox, Rest, Surroundings};
use super::owed::{self, Owed};
use super::readers::Readers;
use super::store::{Answer, Asked, Effects, Operations, Query, Store, Within};
use crate::model::clock::Clock;
use crate::model::key::QueueId;

/// The most operations in one transaction, a take of many items counted as that many; what is left over is the next batch.
const MOST_OPERATIONS: usize = 4_096;

/// How often an idle store is asked whether another process has changed it, while somebody waits.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(25);

/// How soon it is tried again to undo what is owed, when nobody else asks for anything.
const UNDO_AGAIN: Duration = Duration::from_millis(500);

/// How long a robot has to tell the others what they were answered, before the store does so itself.
const TELL_AFTER: Duration = Duration::from_millis(1);

/// A store, and the way to it.
pub(crate) struct Batch {
    way: Way,
    changes: Changes,
}

enum Way {
    InPlace { place: Mutex<Place>, clock: Arc<StoreClock> },
    Threads(Threads),
}

struct Place {
    store: Box<dyn Store>,
    owed: Vec<Owed>,
    in_doubt: Vec<InDoubt>,
}

/// What a commit did, perhaps, of which nobody knows.
type InDoubt = Vec<Owed>;

/// The threads of a store. Dropping this ends them and waits for it, so that the file is closed (its
/// write-ahead log put away) when the last user of the store is gone.
struct Threads {
    inbox: Arc<Inbox>,
    readers: Readers,
    /// The store tells by itself what other processes do, and is not asked.
    tells: bool,
    writing: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The readers first: two connections that close at once each see the other, and neither puts the log
        // away. The writers last, because only one that may write can.
        self.readers.close();
        self.inbox.close();
        self.writing.drain(..).for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    let _ = thread.join(); // its panics have been answered as errors
}

pub(super) enum Message {
    /// Something is in the inbox.
    Work,
    /// Somebody waits for changes: look for those of other processes from now on.
    SomebodyWaits,
}

/// What a store calls, on any thread, when another process has changed it.
pub(crate) type Changed = Box<dyn Fn(Wakes) + Send + Sync>;

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl Batch {
    /// A store that is called in place.
    pub(crate) fn in_place(store: Box<dyn Store>, clock: Arc<StoreClock>) -> Self {
        let changes = Changes::new(&*clock);
        let place = Mutex::new(Place { store, owed: Vec::new(), in_doubt: Vec::new() });
        Self { way: Way::InPlace { place, clock }, changes }
    }

    /// A store on threads, some that write and those that read. They end when this is dropped. Of the writers the first does
    /// what it can, and another one begins beside it when `enough` operations wait.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(dead_code, reason = "memory is called in place")
    )]
    pub(crate) fn on_threads(
        mut writers: Vec<Box<dyn Store>>,
        readers: Vec<Box<dyn Store>>,
        clock: &Arc<StoreClock>,
        enough: usize,
    ) -> std::io::Result<Self> {
        let changes = Changes::new(&**clock);
        let (commits, messages): (Vec<_>, Vec<_>) = writers.iter().map(|_| channel()).unzip();
        let inbox = Inbox::new(commits, enough);
        let others = changes.clone();
        let tells = writers
            .first_mut()
            .is_some_and(|first| first.tell(Box::new(move |wakes| others.happened(&wakes))));
        let readers = Readers::start(readers, &(clock.clone() as Arc<dyn Clock>))?;
        let mut threads = Threads { inbox: inbox.clone(), readers, tells, writing: Vec::new() };
        for (number, (store, messages)) in writers.into_iter().zip(messages).enumerate() {
            let writer = Writer {
                number,
                inbox: inbox.clone(),
                untold: None,
                in_doubt: Vec::new(),
                is_away: false,
                store,
                clock: clock.clone(),
                changes: changes.clone(),
                looks: number == 0 && !tells,
                looked_elsewhere: Duration::ZERO,
            };
            let thread = std::thread::Builder::new().name("performer-store".to_owned());
            threads.writing.push(thread.spawn(move || writer.run(&messages))?);
        }
        Ok(Self { way: Way::Threads(threads), changes })
    }

    /// How many transactions can write at the same time.
    pub(crate) fn writers(&self) -> usize {
        match &self.way {
            Way::InPlace { .. } => 1,
            Way::Threads(threads) => threads.writing.len(),
        }
    }

    /// One operation.
    pub(crate) async fn one(&self, asked: Asked) -> Result<Answer> {
        let mut answers = self.all(smallvec![asked]).await;
        answers.pop().unwrap_or_else(|| Err(stopped()))
    }

    /// Operations that belong together: one commit.
    pub(crate) async fn all(&self, operations: Operations) -> Vec<Result<Answer>> {
        let count = operations.len();
        match &self.way {
            Way::InPlace { place, clock } => {
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                let Place { store, owed, in_doubt } = &mut *place;
                let store = &mut **store;
                owed.extend(look_back(store, in_doubt));
                let (operations, clock) = (operations.into_vec(), &**clock);
                let (answers, wakes) = commit(store, owed, in_doubt, operations, &mut Vec::new, clock);
                self.changes.happened(&wakes);
                answers
            }
            Way::Threads(Threads { inbox, .. }) => {
                let answered = inbox.all(operations).await;
                answered.unwrap_or_else(|| (0..count).map(|_| Err(stopped())).collect())
            }
        }
    }

    /// Answers a query. `limit`: how long it may take on a thread, where it may have to look at more than it answers.
    pub(crate) async fn read(&self, within: Within, query: Query, limit: Option<Duration>) -> Result<Answer> {
        match &self.way {
            Way::InPlace { place, .. } => {
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                unless_panicking(|| place.store.read(within, query)).unwrap_or_else(Err)
            }
            Way::Threads(Threads { readers, .. }) => readers.answer(within, query, limit).await,
        }
    }

    /// What the store has seen so far. Asked before a take, so that nothing can happen in between unseen.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.changes.seen())
    }

    /// Waits for a change of a queue after `seen`, at most `at_most`.
    pub(crate) async fn wait(&self, queue: QueueId, seen: Seen, at_most: Duration) {
        let waiting = self.changes.waiting(queue);
        if let Way::Threads(Threads { inbox, tells: false, .. }) = &self.way {
            inbox.tell_the_first(Message::SomebodyWaits);
        }
        let _ = tokio::time::timeout(at_most, waiting.after(seen.0)).await;
    }
}

struct Writer {
    /// Which of the writers it is.
    number: usize,
    inbox: Arc<Inbox>,
    /// What a robot was asked to tell the others, last.
    untold: Option<Rest>,
    /// In the order of the commits.
    in_doubt: Vec<InDoubt>,
    /// It cannot reach the store, and leaves what comes to the others.
    is_away: bool,
    store: Box<dyn Store>,
    clock: Arc<StoreClock>,
    changes: Changes,
    /// It looks what other processes do, because the store does not tell.
    looks: bool,
    looked_elsewhere: Duration,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox.ended(self.number);
    }
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while self.wait_for_work(messages) {
            while self.commit() {}
        }
        while self.commit() {} // what was left unheard
    }

    /// Waits until there is something in the inbox; in between, while somebody waits for items, a look at what other
    /// processes did. False: the store is being closed.
    fn wait_for_work(&mut self, messages: &Receiver<Message>) -> bool {
        loop {
            let kept = self.store.kept();
            if !self.is_away && !self.inbox.rests(self.number, kept.is_some()) {
                return true;
            }
            let untold = self.untold.as_ref().is_some_and(|rest| !rest.is_told());
            let message = if untold {
                messages.recv_timeout(TELL_AFTER)
            } else if let Some(kept) = kept {
                messages.recv_timeout(kept)
            } else if self.is_away || self.inbox.owes() || !self.in_doubt.is_empty() {
                match messages.recv_timeout(UNDO_AGAIN) {
                    Err(RecvTimeoutError::Timeout) => return true,
                    message => message,
                }
            } else if self.looks() {
                messages.recv_timeout(LOOK_ELSEWHERE)
            } else {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match message {
                Ok(Message::Work) => return true,
                Ok(Message::SomebodyWaits) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) if untold => {
                    if let Some(rest) = self.untold.take() {
                        rest.tell();
                    }
                }
                Err(RecvTimeoutError::Timeout) if kept.is_some() => {
                    let wakes = self.store.rest();
                    self.changes.happened(&wakes);
                }
                Err(RecvTimeoutError::Timeout) => self.look_elsewhere(),
            }
        }
    }

    /// Whether to look what other processes did.
    fn looks(&self) -> bool {
        self.looks && self.changes.somebody_waits()
    }

    fn look_elsewhere(&mut self) {
        self.looked_elsewhere = self.clock.elapsed();
        if self.store.changed_elsewhere() {
            self.changes.happened(&Wakes::any());
        }
    }

    /// Everything that is in the inbox, or its share of that, in one transaction. Answers whether there may be more.
    fn commit(&mut self) -> bool {
        if self.number > 0 || !self.in_doubt.is_empty() {
            self.inbox.set_away(self.number, true); // it may take a while, and the others do not wait for it
            // The first one answers, whatever the answer is.
            self.is_away = self.number > 0 && !self.store.is_reachable();
            if self.is_away {
                return false;
            }
            self.inbox.owe(look_back(&mut *self.store, &mut self.in_doubt));
            self.inbox.set_away(self.number, false);
        }
        let Batched { operations, mut callers, mut owed } = self.inbox.begin(self.number, MOST_OPERATIONS);
        if operations.is_empty() && owed.is_empty() {
            return false;
        }
        let mut room = MOST_OPERATIONS.saturating_sub(operations.len());
        let mut more = || {
            let joining = self.inbox.join(self.number, room);
            room = room.saturating_sub(joining.operations.len());
            callers.join(joining.callers);
            joining.operations
        };
        let (store, in_doubt, clock) = (&mut *self.store, &mut self.in_doubt, &*self.clock);
        let (answers, mut wakes) = commit(store, &mut owed, in_doubt, operations, &mut more, clock);
        let surroundings = Surroundings {
            one_at_a_time: self.store.is_one_at_a_time(),
            among_others: self.store.is_among_others(),
        };
        self.inbox.committed(self.number, surroundings);
        wakes.extend(self.store.has_let_go());
        self.changes.happened(&wakes);
        let worth_another = owed.is_empty() && self.in_doubt.is_empty() || self.inbox.owe(owed);
        let rest = self.inbox.answer(callers, answers);
        // Those of the commit before have been told long ago, nearly always.
        if let Some(before) = std::mem::replace(&mut self.untold, rest) {
            before.tell();
        }
        self.store.get_ready();
        // A store that is never idle is never waited for; somebody may wait for items of another queue.
        if self.looks() && self.clock.elapsed() >= self.looked_elsewhere + LOOK_ELSEWHERE {
            self.look_elsewhere();
        }
        worth_another
    }
}

/// What is to be undone of a commit of which nobody knew: nothing, if it was not made. Another writer may have given the same
/// items to the same job since, and what it gave is not to be told from what this one would have given.
fn look_back(store: &mut dyn Store, in_doubt: &mut Vec<InDoubt>) -> Vec<Owed> {
    let mut made = Vec::new();
    while !in_doubt.is_empty()
        && let Ok(Ok(was_made)) = unless_panicking(|| store.was_made())
    {
        let first = in_doubt.remove(0);
        made.extend(first.into_iter().filter(|_| was_made));
    }
    made
}

/// Commits, and undoes first what is `owed`; what could not be undone is owed still, and what nobody knows of is in doubt.
/// Answers each operation, and of which queues there may be something new to take.
fn commit(
    store: &mut dyn Store,
    owed: &mut Vec<Owed>,
    in_doubt: &mut Vec<InDoubt>,
    mut operations: Vec<Asked>,
    more: &mut dyn FnMut() -> Vec<Asked>,
    clock: &StoreClock,
) -> (Vec<Result<Answer>>, Wakes) {
    operations.splice(0..0, owed.iter().map(|owed| owed.asked()));
    let mut count = operations.len();
    let mut counted = || {
        let joining = more();
        count += joining.len();
        joining
    };
    let mut effects = Effects::default();
    let answers = unless_panicking(|| store.commit(operations, &mut counted, clock, &mut effects));
    if answers.is_err() {
        store.abort(); // at once: an open transaction would lock out every other process
    }
    let mut answers =
        answers.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect::<Vec<_>>());
    if !owed.is_empty() {
        let mut undone = answers.drain(..owed.len());
        owed.retain(|_| undone.next().is_some_and(|answer| answer.is_err_and(|error| may_pass(&error))));
    }
    let in_doubt_now = effects.in_doubt.into_iter();
    in_doubt
        .extend(in_doubt_now.map(|answers| answers.into_iter().flat_map(owed::undone).collect::<InDoubt>()));
    (answers, effects.wakes)
}

/// Whether nothing was decided: of what is refused nothing is left to undo.
fn may_pass(error: &OrchestratorError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown)
}

/// A violated assertion is an error of this batch, not the end of the user's program. Its transaction is
/// never committed.
pub(super) fn unless_panicking<T>(act: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = crate::exception::panic_text(&*panic);
        OrchestratorError::new(ErrorKind::Other, format!("an invariant of the store is violated: {text}"))
    })
}

pub(super) fn stopped() -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unknown, "the store's thread ended before it answered")
}
