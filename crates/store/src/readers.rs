//! The threads that read, and how callers share them.
//!
//! Queries wait in lanes by their cost: a quick query never waits behind a list, nor a page found by an index behind a
//! search. Within a lane callers take turns, and a caller has one query in progress: however many searches one caller
//! starts, the next turn is another caller's. A search of a caller over HTTP has a time limit.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::assets::AssetQuery;
use super::backend::{Answer, Backend, Query, Scope};
use super::buckets::BucketQuery;
use super::comments::CommentsOn;
use super::group_commit::{catch_panic, thread_ended};
use super::tasks::TaskQuery;
use performer_core::model::clock::Clock;
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::query::{Field, Order};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// What a query costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Found at once: a login, a beat, one item.
    Quick,
    /// A page that an index finds.
    ListRequest,
    /// May scan more than it returns.
    Search,
}

/// The lane of each reader thread. Two search, so that one long search does not block all other callers.
pub(super) const LANES: [Lane; 4] = [Lane::Quick, Lane::ListRequest, Lane::Search, Lane::Search];

/// The most rows that may be skipped before a page that counts as found by an index.
const MAX_SKIPPED: usize = 10_000;

impl Lane {
    pub(super) fn of(query: &Query) -> Self {
        match query {
            Query::Items(filter, page) | Query::ItemsOf { filter, page, .. } => Self::of_list(filter, page),
            // Whether any comment there is is on an item of these folders is known when it is looked at.
            Query::CommentsOf { on: CommentsOn::Any, .. }
            | Query::Ended { .. }
            | Query::EndedJobs { .. }
            | Query::Select { .. }
            | Query::Log(_) => Self::Search,
            // By time it is found by reading what is newer.
            Query::Audit(filter) if filter.from.is_some() || filter.to.is_some() => Self::Search,
            Query::Audit(_)
            | Query::DueWork { .. }
            | Query::AuditFrom(_)
            | Query::Queues
            | Query::QueuesOf(_)
            | Query::StatisticsOf(_)
            | Query::ItemsWith { .. }
            | Query::Reasons(_)
            | Query::Figures(_)
            | Query::KeysOf(_)
            | Query::History(_)
            | Query::Events(_)
            | Query::CommentsOf { .. }
            | Query::Jobs { .. }
            | Query::JobsOf(_)
            | Query::Robots { .. }
            | Query::Operations { .. }
            | Query::CountCopies(..)
            | Query::OperationItems { .. }
            | Query::TokensOf(_)
            | Query::Views(_)
            | Query::Assets(AssetQuery::Of(_) | AssetQuery::UnderOtherKeys { .. })
            | Query::Webhooks(_)
            | Query::Alerts(_)
            | Query::Buckets(BucketQuery::Of(_))
            | Query::Fleet(_)
            | Query::Tasks(TaskQuery::List(_) | TaskQuery::Activities(_))
            | Query::NamedTokens => Self::ListRequest,
            Query::Queue(_)
            | Query::Statistics(_)
            | Query::Item(_)
            | Query::ItemKeyed(_)
            | Query::Comment(_)
            | Query::Document { .. }
            | Query::Token(_)
            | Query::LiveJobs
            | Query::Job(_)
            | Query::Held(_)
            | Query::Operation { .. }
            | Query::DueOperations(_)
            | Query::StartLimitUntil { .. }
            | Query::Assets(_)
            | Query::Buckets(_)
            | Query::Tasks(_)
            | Query::OwnerOf(_) => Self::Quick,
        }
    }

    fn of_list(filter: &ItemFilter, page: &Page) -> Self {
        let is_by_id = matches!(filter.order[..], [] | [Order { field: Field::Id, .. }, ..]);
        let is_plain = filter.priority.is_none()
            && filter.exception_type.is_none()
            && filter.review_status.is_empty()
            && (filter.created_from.is_none() && filter.created_before.is_none());
        let is_found = filter.condition.as_ref().is_none_or(|condition| {
            let (_, _, rest) = condition.clone().split();
            rest.is_none_or(|rest| matches!(rest.split_reference(), (Some(_), None)))
        });
        if is_by_id && is_plain && is_found && page.skip <= MAX_SKIPPED {
            Self::ListRequest
        } else {
            Self::Search
        }
    }
}

/// How long a query may run: until its caller has gone away, or its time is up.
#[derive(Clone, Debug)]
pub(crate) struct QueryDeadline {
    gone: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
    limit: Option<Duration>,
    /// By the monotone clock.
    until: Option<Duration>,
}

impl QueryDeadline {
    fn new(gone: Arc<AtomicBool>, clock: Arc<dyn Clock>, limit: Option<Duration>) -> Self {
        let until = limit.map(|limit| clock.elapsed().saturating_add(limit));
        Self { gone, clock, limit, until }
    }

    /// How long the query may take in all.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "for a database that measures by itself")
    )]
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Whether to stop.
    #[cfg_attr(
        not(any(feature = "sqlite", test)),
        expect(dead_code, reason = "for a store that looks in this process")
    )]
    pub(crate) fn is_over(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.has_run_out()
    }

    fn has_run_out(&self) -> bool {
        self.until.is_some_and(|until| self.clock.elapsed() >= until)
    }

    /// The answer; if it failed because the time was up, an error that says what to do.
    fn explain(&self, answer: Result<Answer>) -> Result<Answer> {
        match (answer, self.limit) {
            (Err(error), Some(limit)) if error.kind() == ErrorKind::Unavailable && self.has_run_out() => {
                Err(too_costly(limit).with_source(error))
            }
            (answer, _) => answer,
        }
    }
}

/// The error for a query that reached its time limit. Repeating it is useless, so the caller has to ask for less.
fn too_costly(limit: Duration) -> OrchestratorError {
    let message = format!(
        "the list was not found within {limit:?}; ask for less of it: name the queue, a Status or a whole Reference, skip \
         fewer rows, leave out $count"
    );
    OrchestratorError::new(ErrorKind::Invalid, message)
}

/// Marks the query when its caller goes away.
struct CallerGuard(Arc<AtomicBool>);

impl Drop for CallerGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct ReadCall {
    scope: Scope,
    query: Query,
    limit: Option<Duration>,
    reply: oneshot::Sender<Result<Answer>>,
    gone: Arc<AtomicBool>,
}

/// The reader threads, until this is dropped.
pub(super) struct Readers {
    quick: Arc<LaneQueue>,
    list: Arc<LaneQueue>,
    search: Arc<LaneQueue>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each back end, in the lanes of [`LANES`]. Of several threads in one lane the first does all
    /// work that it can do alone.
    pub(super) fn start(stores: Vec<Box<dyn Backend>>, clock: &Arc<dyn Clock>) -> std::io::Result<Self> {
        let (quick, list, search) = Default::default();
        let mut readers = Self { quick, list, search, threads: Vec::with_capacity(stores.len()) };
        for (at, (store, lane)) in stores.into_iter().zip(LANES).enumerate() {
            let before = LANES[..at].iter().filter(|other| **other == lane).count();
            let (queue, clock) = (readers.lane(lane).clone(), clock.clone());
            let thread = std::thread::Builder::new().name("performer-reader".to_owned());
            readers.threads.push(thread.spawn(move || read_all(store, &queue, before, &clock))?);
        }
        Ok(readers)
    }

    fn lane(&self, lane: Lane) -> &Arc<LaneQueue> {
        match lane {
            Lane::Quick => &self.quick,
            Lane::ListRequest => &self.list,
            Lane::Search => &self.search,
        }
    }

    /// Answers a query. `limit`: its time limit, if it may scan more than it returns.
    pub(super) async fn answer(&self, scope: Scope, query: Query, limit: Option<Duration>) -> Result<Answer> {
        let lane = Lane::of(&query);
        let is_list = matches!(query, Query::Items(..) | Query::ItemsOf { .. });
        let limit = limit.filter(|_| is_list || lane == Lane::Search);
        let (reply, answer) = oneshot::channel();
        let gone = Arc::<AtomicBool>::default();
        let _caller_guard = CallerGuard(gone.clone());
        self.lane(lane).push(ReadCall { scope, query, limit, reply, gone });
        answer.await.unwrap_or_else(|_| Err(thread_ended()))
    }

    /// Ends the threads, and waits for them.
    pub(super) fn close(&mut self) {
        for queue in [&self.quick, &self.list, &self.search] {
            queue.turns().closed = true;
            queue.changed.notify_all();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has been answered as an error
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Answers the queries of a lane. `before`: how many other threads of the lane have to be busy first.
fn read_all(mut store: Box<dyn Backend>, queue: &LaneQueue, before: usize, clock: &Arc<dyn Clock>) {
    while let Some(call) = queue.next(before) {
        let ReadCall { scope, query, limit, reply, gone } = call;
        let deadline = QueryDeadline::new(gone, clock.clone(), limit);
        let answer = catch_panic(|| {
            store.set_query_deadline(deadline.clone());
            store.read(scope, query)
        });
        queue.finished(scope.user);
        let _ = reply.send(deadline.explain(answer.unwrap_or_else(Err))); // the caller may have gone away
    }
}

/// The queries of a lane that wait for a thread.
#[derive(Default)]
struct LaneQueue {
    turns: Mutex<TurnQueue>,
    changed: Condvar,
}

/// Callers in the order of their turns.
#[derive(Default)]
struct TurnQueue {
    callers: VecDeque<(Option<i64>, VecDeque<ReadCall>)>,
    /// The callers of the queries in progress.
    under_way: Vec<Option<i64>>,
    closed: bool,
}

impl LaneQueue {
    fn push(&self, call: ReadCall) {
        self.turns().push(call);
        self.changed.notify_all();
    }

    /// The next query, for a thread that waits until `before` others are busy. `None`: the lane is closed.
    fn next(&self, before: usize) -> Option<ReadCall> {
        let mut turns = self.turns();
        while !turns.closed {
            if turns.under_way.len() >= before
                && let Some(next) = turns.next()
            {
                drop(turns);
                self.changed.notify_all(); // another thread may have waited for this one to become busy
                return Some(next);
            }
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn finished(&self, user: Option<i64>) {
        let mut turns = self.turns();
        if let Some(at) = turns.under_way.iter().position(|at_work| *at_work == user) {
            turns.under_way.swap_remove(at);
        }
        drop(turns);
        self.changed.notify_all();
    }

    fn turns(&self) -> MutexGuard<'_, TurnQueue> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnQueue {
    fn push(&mut self, call: ReadCall) {
        let user = call.scope.user;
        match self.callers.iter_mut().find(|(caller, _)| *caller == user) {
            Some((_, calls)) => calls.push_back(call),
            None => self.callers.push_back((user, [call].into())),
        }
    }

    /// The next query of the first caller that has none in progress; that caller's next turn is the last.
    fn next(&mut self) -> Option<ReadCall> {
        for (_, calls) in &mut self.callers {
            calls.retain(|call| !call.reply.is_closed()); // its caller has gone away
        }
        self.callers.retain(|(_, calls)| !calls.is_empty());
        let at = self.callers.iter().position(|(user, _)| !self.under_way.contains(user))?;
        let (user, mut calls) = self.callers.remove(at)?;
        let next = calls.pop_front()?;
        if !calls.is_empty() {
            self.callers.push_back((user, calls));
        }
        self.under_way.push(user);
        Some(next)
    }
}
