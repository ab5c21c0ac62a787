//! Group commit, written once for all back ends.
//!
//! The requests that wait become one batch, together with those that arrive until it is committed: one durable
//! transaction for the reports and claims of many robots. There is no timer: a single call on an idle store is
//! committed at once.
//!
//! A back end that uses a disk or a network runs on threads: one that writes, or several if several transactions can
//! write at the same time, and some that read (`readers.rs`). A store in memory is called directly on the caller's
//! task; so is any store in a simulation, which could not control threads.

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use smallvec::smallvec;

use super::arrivals::{Arrivals, CountedArrivals, ServedClaims};
use super::backend::{Answer, Backend, CommitEffects, Query, Request, Requests, Scope};
use super::clock::StoreClock;
use super::commit_queue::{CommitConditions, CommitQueue, PendingBatch};
use super::compensation::{self, Compensation};
use super::delivery::{Callers, ForwardHandle};
use super::in_place::InPlace;
use super::notifier::{Notifier, WakeSet};
use super::readers::Readers;
use performer_core::model::clock::Clock;
use performer_core::model::key::QueueId;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result, Seen};

/// The most operations of one transaction; a claim of many items counts as many. The rest is left for the next batch.
const MAX_OPERATIONS: usize = 4_096;

/// How often an idle store looks for changes of other processes while a caller waits for items.
const EXTERNAL_POLL_INTERVAL: Duration = Duration::from_millis(25);

/// How long to wait before compensations are repeated if there are no other requests.
const COMPENSATION_RETRY: Duration = Duration::from_millis(500);

/// How long a robot has to forward the answers to others before the writer delivers them itself.
const FORWARD_TIMEOUT: Duration = Duration::from_millis(1);

/// A back end, and how it is called.
pub(crate) struct GroupCommit {
    pub(super) execution: Execution,
    pub(super) notifier: Notifier,
}

pub(super) enum Execution {
    InPlace(Arc<InPlace>),
    Threads(Threads),
}

/// The compensations of a commit whose outcome is unknown.
pub(super) type InDoubt = Vec<Compensation>;

/// The threads of a store. Dropping this ends them and waits for them, so that the file is closed (and its write-ahead
/// log removed) when the last user of the store is gone.
pub(super) struct Threads {
    pub(super) commit_queue: Arc<CommitQueue>,
    readers: Readers,
    /// The back end reports changes of other processes, so that nobody has to poll.
    reports_changes: bool,
    writing: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Readers first: of two connections that close at once each sees the other, and neither removes the log.
        // Writers last: only a connection that may write can remove it.
        self.readers.close();
        self.commit_queue.close();
        self.writing.drain(..).for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    let _ = thread.join(); // a panic has been answered as an error
}

pub(super) enum Message {
    /// Requests wait in the commit queue.
    Work,
    /// A caller waits for items: poll for changes of other processes from now on.
    WaiterAdded,
}

/// Called by a back end, on any thread, when another process has changed the store.
pub(crate) type ChangeCallback = Box<dyn Fn(WakeSet) + Send + Sync>;

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl GroupCommit {
    /// A back end that is called directly.
    pub(crate) fn in_place(store: Box<dyn Backend>, clock: Arc<StoreClock>) -> Self {
        let notifier = Notifier::new(&*clock);
        let in_place = InPlace::new(store, clock, notifier.clone());
        Self { execution: Execution::InPlace(in_place), notifier }
    }

    /// A back end on threads, with writers and readers. Dropping the value ends them. The first writer does all work
    /// until `threshold` work units wait; then another one begins.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(dead_code, reason = "memory is called in place")
    )]
    pub(crate) fn on_threads(
        mut writers: Vec<Box<dyn Backend>>,
        readers: Vec<Box<dyn Backend>>,
        clock: &Arc<StoreClock>,
        threshold: usize,
    ) -> std::io::Result<Self> {
        let notifier = Notifier::new(&**clock);
        let (commits, messages): (Vec<_>, Vec<_>) = writers.iter().map(|_| channel()).unzip();
        let commit_queue = CommitQueue::new(commits, threshold);
        let (others, asked) = (notifier.clone(), commit_queue.clone());
        let reports_changes = writers.first_mut().is_some_and(|first| {
            first.on_external_change(Box::new(move |wakes| asked.ask(others.notify(&wakes))))
        });
        let readers = Readers::start(readers, &(clock.clone() as Arc<dyn Clock>))?;
        let mut threads =
            Threads { commit_queue: commit_queue.clone(), readers, reports_changes, writing: Vec::new() };
        for (number, (store, messages)) in writers.into_iter().zip(messages).enumerate() {
            let writer = Writer {
                number,
                commit_queue: commit_queue.clone(),
                forwarding: None,
                in_doubt: Vec::new(),
                is_unreachable: false,
                store,
                clock: clock.clone(),
                notifier: notifier.clone(),
                polls: number == 0 && !reports_changes,
                last_poll: Duration::ZERO,
            };
            let thread = std::thread::Builder::new().name("performer-store".to_owned());
            threads.writing.push(thread.spawn(move || writer.run(&messages))?);
        }
        Ok(Self { execution: Execution::Threads(threads), notifier })
    }

    /// How many transactions can write at the same time.
    pub(crate) fn writers(&self) -> usize {
        match &self.execution {
            Execution::InPlace(_) => 1,
            Execution::Threads(threads) => threads.writing.len(),
        }
    }

    /// Applies one request.
    pub(crate) async fn one(&self, asked: Request) -> Result<Answer> {
        let mut answers = self.all(smallvec![asked]).await;
        answers.pop().unwrap_or_else(|| Err(thread_ended()))
    }

    /// Applies requests in one commit.
    pub(crate) async fn all(&self, operations: Requests) -> Vec<Result<Answer>> {
        let count = operations.len();
        match &self.execution {
            Execution::InPlace(in_place) => in_place.all(operations.into_vec()),
            Execution::Threads(Threads { commit_queue, .. }) => {
                let answered = commit_queue.all(operations).await;
                answered.unwrap_or_else(|| (0..count).map(|_| Err(thread_ended())).collect())
            }
        }
    }

    /// Answers a query. `limit`: its time limit on a thread, if it may scan more than it returns.
    pub(crate) async fn read(&self, scope: Scope, query: Query, limit: Option<Duration>) -> Result<Answer> {
        match &self.execution {
            Execution::InPlace(in_place) => in_place.read(scope, query),
            Execution::Threads(Threads { readers, .. }) => readers.answer(scope, query, limit).await,
        }
    }

    /// The number of the last change. To be read before a claim, so that no change in between is missed.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.notifier.seen())
    }

    /// Waits for a change of a queue after `seen`, for at most `at_most`.
    pub(crate) async fn wait(&self, queue: QueueId, seen: Seen, at_most: Duration) {
        let waiting = self.notifier.waiter(queue);
        if let Execution::Threads(Threads { commit_queue, reports_changes: false, .. }) = &self.execution {
            commit_queue.send_to_first_writer(Message::WaiterAdded);
        }
        let _ = tokio::time::timeout(at_most, waiting.wait_for_change(seen.0)).await;
    }
}

struct Writer {
    /// Index of this writer.
    number: usize,
    commit_queue: Arc<CommitQueue>,
    /// The answers that a robot was asked to forward after the last commit.
    forwarding: Option<ForwardHandle>,
    /// Commits whose outcome is unknown, in their order.
    in_doubt: Vec<InDoubt>,
    /// It cannot reach the database, and leaves the work to the others.
    is_unreachable: bool,
    store: Box<dyn Backend>,
    clock: Arc<StoreClock>,
    notifier: Notifier,
    /// It polls for changes of other processes.
    polls: bool,
    last_poll: Duration,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.commit_queue.ended(self.number) {
            self.notifier.close();
        }
    }
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while self.wait_for_work(messages) {
            while self.commit() {}
        }
        while self.commit() {} // undoes what was not delivered
    }

    /// Waits for a message; meanwhile polls for changes of other processes if a caller waits for items. False: the
    /// store is being closed.
    fn wait_for_work(&mut self, messages: &Receiver<Message>) -> bool {
        loop {
            if !self.is_unreachable && !self.commit_queue.go_idle(self.number) {
                return true;
            }
            let forwarding = self.forwarding.as_ref().is_some_and(|rest| !rest.is_delivered());
            let message = if forwarding {
                messages.recv_timeout(FORWARD_TIMEOUT)
            } else if self.is_unreachable
                || self.commit_queue.has_compensations()
                || !self.in_doubt.is_empty()
            {
                match messages.recv_timeout(COMPENSATION_RETRY) {
                    Err(RecvTimeoutError::Timeout) => return true,
                    message => message,
                }
            } else if self.should_poll() {
                messages.recv_timeout(EXTERNAL_POLL_INTERVAL)
            } else {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match message {
                Ok(Message::Work) => return true,
                Ok(Message::WaiterAdded) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) if forwarding => {
                    if let Some(rest) = self.forwarding.take() {
                        rest.deliver();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.poll_other_processes(),
            }
        }
    }

    /// Whether to poll for changes of other processes.
    fn should_poll(&self) -> bool {
        self.polls && self.notifier.has_waiters()
    }

    fn poll_other_processes(&mut self) {
        self.last_poll = self.clock.elapsed();
        if self.store.has_external_change() {
            self.notify(&WakeSet::any());
        }
    }

    fn notify(&self, wakes: &WakeSet) {
        self.commit_queue.ask(self.notifier.notify(wakes));
    }

    /// Commits the next batch. Returns whether there may be more work.
    fn commit(&mut self) -> bool {
        if self.number > 0 || !self.in_doubt.is_empty() {
            self.commit_queue.set_unreachable(self.number, true); // connecting may take long, and the others do not wait for it
            // The first writer answers in any case, if need be with the error.
            self.is_unreachable = self.number > 0 && !self.store.is_reachable();
            if self.is_unreachable {
                return false;
            }
            self.commit_queue.add_compensations(resolve_in_doubt(&mut *self.store, &mut self.in_doubt));
            self.commit_queue.set_unreachable(self.number, false);
        }
        let mut arrivals = Joining {
            commit_queue: &self.commit_queue,
            writer: self.number,
            room: MAX_OPERATIONS,
            callers: Callers::default(),
            served: ServedClaims::new(&self.notifier),
        };
        let PendingBatch { operations, callers, mut compensations } =
            self.commit_queue.begin(self.number, MAX_OPERATIONS);
        if operations.is_empty() && compensations.is_empty() {
            return false;
        }
        arrivals.callers = callers;
        arrivals.room -= operations.len().min(MAX_OPERATIONS);
        let (store, in_doubt, clock) = (&mut *self.store, &mut self.in_doubt, &*self.clock);
        let (mut answers, wakes) =
            commit(store, &mut compensations, in_doubt, operations, &mut arrivals, clock);
        let Joining { mut callers, served, .. } = arrivals;
        let seen = served.seen;
        let (served, mut settled) = served.finish();
        callers.join(Callers(served));
        let conditions = CommitConditions {
            serialized: self.store.is_serialized(),
            other_writers: self.store.has_other_writers(),
        };
        self.commit_queue.committed(self.number, conditions);
        let found_nothing = callers.take_waiting(&mut answers);
        settled.extend(self.notifier.settle(&wakes, seen, found_nothing));
        callers.join_empty(settled.expired, &mut answers);
        self.commit_queue.ask(settled.ask_again);
        let worth_another = compensations.is_empty() && self.in_doubt.is_empty()
            || self.commit_queue.add_compensations(compensations);
        let rest = self.commit_queue.answer(callers, answers);
        // The answers of the commit before have nearly always been forwarded by now.
        if let Some(before) = std::mem::replace(&mut self.forwarding, rest) {
            before.deliver();
        }
        // A busy store never waits for messages, but a caller may wait for items of another queue.
        if self.should_poll() && self.clock.elapsed() >= self.last_poll + EXTERNAL_POLL_INTERVAL {
            self.poll_other_processes();
        }
        worth_another
    }
}

/// What joins a transaction of a writer.
struct Joining<'a> {
    commit_queue: &'a CommitQueue,
    writer: usize,
    /// How many more operations it takes.
    room: usize,
    callers: Callers,
    served: ServedClaims<'a>,
}

impl Arrivals for Joining<'_> {
    fn more(&mut self, most: usize) -> Vec<Request> {
        let joining = self.commit_queue.join(self.writer, self.room.min(most));
        self.room = self.room.saturating_sub(joining.operations.len());
        self.callers.join(joining.callers);
        joining.operations
    }

    fn waiting(&self) -> usize {
        self.commit_queue.queued_work()
    }

    fn has_parked(&self, queue: QueueId) -> bool {
        self.served.has_parked(queue)
    }

    fn parked(&mut self, queue: QueueId) -> Vec<Request> {
        self.served.parked(queue)
    }

    fn park_again(&mut self) {
        self.served.park_again();
    }
}

/// The compensations of commits whose outcome is known by now: none if a commit was not made. In that case another
/// writer may have given the same items to the same job, and the two claims cannot be told apart.
pub(super) fn resolve_in_doubt(store: &mut dyn Backend, in_doubt: &mut Vec<InDoubt>) -> Vec<Compensation> {
    let mut made = Vec::new();
    while !in_doubt.is_empty()
        && let Ok(Ok(was_committed)) = catch_panic(|| store.was_committed())
    {
        let first = in_doubt.remove(0);
        made.extend(first.into_iter().filter(|_| was_committed));
    }
    made
}

/// Commits, with the `compensations` first. Those that failed for a transient reason stay; those of a commit whose
/// outcome is unknown go to `in_doubt`. Returns the answers, and the queues of which items may have become claimable.
pub(super) fn commit(
    store: &mut dyn Backend,
    compensations: &mut Vec<Compensation>,
    in_doubt: &mut Vec<InDoubt>,
    mut operations: Vec<Request>,
    arrivals: &mut dyn Arrivals,
    clock: &StoreClock,
) -> (Vec<Result<Answer>>, WakeSet) {
    operations.splice(0..0, compensations.iter().map(|compensations| compensations.request()));
    let mut counted = CountedArrivals::new(arrivals, operations.len());
    let mut effects = CommitEffects::default();
    let answers = catch_panic(|| store.commit(operations, &mut counted, clock, &mut effects));
    if answers.is_err() {
        store.abort(); // at once: an open transaction would lock out every other process
    }
    let mut answers =
        answers.unwrap_or_else(|error| (0..counted.count).map(|_| Err(error.clone())).collect::<Vec<_>>());
    if !compensations.is_empty() {
        let mut undone = answers.drain(..compensations.len());
        compensations
            .retain(|_| undone.next().is_some_and(|answer| answer.is_err_and(|error| is_transient(&error))));
    }
    let in_doubt_now = effects.in_doubt.into_iter();
    in_doubt.extend(
        in_doubt_now.map(|answers| {
            answers.into_iter().flat_map(compensation::compensations_for).collect::<InDoubt>()
        }),
    );
    (answers, effects.wakes)
}

/// Whether the error leaves the request undecided. What is refused needs no compensation.
fn is_transient(error: &OrchestratorError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown)
}

/// Calls `act`. A violated assertion becomes an error of this batch and does not end the user's program; its
/// transaction is never committed.
pub(super) fn catch_panic<T>(act: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = performer_core::exception::panic_text(&*panic);
        OrchestratorError::new(ErrorKind::Other, format!("an invariant of the store is violated: {text}"))
    })
}

pub(super) fn thread_ended() -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unknown, "the store's thread ended before it answered")
}
