//! The rules over a store: batching, leases and sweeping are written here once, for every store.
//!
//! | file | what it does |
//! |---|---|
//! | `batch.rs` | group commit: what waits becomes one transaction |
//! | `changes.rs` | who waits for items, and how they hear that there may be some |
//! | `clock.rs` | the store's clock, and whether it may be believed before something is destroyed because of its age |
//! | `inbox.rs` | callers hand their operations over together |
//! | `readers.rs` | the threads that read, and how callers share them |
//! | `owed.rs` | what is to be undone, because nobody heard of it |
//! | `store.rs` | the trait of a store: operations, queries, answers |
//! | `apply.rs` | operations, applied by the rules of [`model::lifecycle`](crate::model::lifecycle) |
//! | `rows.rs` | what `apply.rs` needs of a store that is asked row by row |
//! | `removal.rs` | what is of no use any more, removed in pieces |
//! | `memory.rs`, `sqlite/`, `postgres/` | such stores |
//! | `served.rs` | a store as callers of a server see it |
//! | `simulated.rs` | stores for simulations |
//! | `sweep.rs` | which jobs seem to be gone |
//! | `tokens.rs` | tokens, one row each |
//! | `unreadable.rs` | rows that do not hold what the schema says |
//! | `upkeep.rs` | what a writer asks of its store besides commits |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::apply::MAX_OVERDUE_PER_SWEEP;
use self::group_commit::GroupCommit;
use self::clock::StoreClock;
use self::removal::CHUNKS_PER_SWEEP;
use self::backend::{Answer, Request, Operation, Requests, Query, ClaimedBatch, QueueSelector, Scope};
use self::sweep::{LiveJobs, SweepPlan, SweepHistory};
use super::{
    Administration, BulkAdded, CommitType, Orchestrator, Report, ReportedAndTaken, Result, Seen, Swept, Take,
    Taken,
};
use crate::model::clock::{Clock, SystemClock};
use crate::model::history::ItemEvent;
use crate::model::item::{ClaimedItem, ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, QueueItem};
use crate::model::job::{Job, JobEnd, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, ItemId, JobKey};
use crate::model::limits::LimitsEdit;
use crate::model::queue::{NewQueueDefinition, QueueDefinition};
use crate::model::review::{Comment, FailedItems, ItemVersion, Person};
use crate::model::robot::Robot;
use crate::model::statistics::QueueStatistics;
use crate::model::status::ReviewStatus;
use async_trait::async_trait;

mod apply;
mod group_commit;
mod notifier;
mod clock;
mod commit_queue;
mod memory;
mod compensation;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
pub use postgres::tokio_postgres;
mod readers;
mod removal;
#[doc(hidden)]
pub use removal::RemovedEnded;
mod rows;
#[cfg(feature = "server")]
mod scope;
mod simulation;
#[cfg(feature = "sqlite")]
mod sqlite;
pub(crate) mod backend;
pub(crate) use backend::expect_answer;
mod sweep;
mod tokens;
mod unreadable_rows;
mod writer_hooks;

/// When to look again for a queue that was not found.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An Orchestrator on this machine: the rules over a store of its own.
#[derive(Clone, Debug)]
pub struct Store {
    group_commit: Arc<GroupCommit>,
    clock: Arc<StoreClock>,
    sweeps: Arc<Mutex<SweepHistory>>,
    scope: Scope,
    /// How long a list may be looked for; no limit for those who open the store itself.
    list_limit: Option<Duration>,
    /// Of a store in a database: where transactions of others may be.
    #[cfg(feature = "postgres")]
    database: Option<postgres::Database>,
}

impl Store {
    /// Queues in the memory of this process, for tests and for work that may be lost.
    pub fn memory() -> Self {
        Self::memory_with_clock(Arc::new(SystemClock::new()))
    }

    /// The store at a URL: `sqlite:` and a path, `postgres://…`, or `memory:`.
    ///
    /// # Errors
    ///
    /// Invalid for a URL that is none of these; as [`sqlite`](Self::sqlite).
    pub async fn open(url: &str) -> Result<Self> {
        let (scheme, rest) = super::split(url)?;
        match scheme.to_ascii_lowercase().as_str() {
            "memory" if rest.is_empty() => Ok(Self::memory()),
            "memory" => Err(super::invalid(format!("memory: takes nothing behind the colon, not {rest:?}"))),
            "sqlite" => Self::open_sqlite(rest).await,
            "postgres" | "postgresql" => Self::open_postgres(url).await,
            scheme => {
                let known = "sqlite:, postgres: and memory:";
                Err(super::invalid(format!("{scheme}: is no store; stores are {known}")))
            }
        }
    }

    #[cfg(feature = "sqlite")]
    async fn open_sqlite(rest: &str) -> Result<Self> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() {
            return Err(super::invalid(
                "sqlite: needs the path of a file, as in sqlite:invoices.db".to_owned(),
            ));
        }
        if path == ":memory:" {
            return Err(super::invalid("sqlite::memory: is not a file; use memory: instead".to_owned()));
        }
        if let Some((_, query)) = path.split_once('?') {
            return Err(super::invalid(format!(
                "unknown option {query:?}: sqlite: takes a path and no options"
            )));
        }
        Self::sqlite(path).await
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres(url: &str) -> Result<Self> {
        Self::postgres(url).await
    }

    #[cfg(not(feature = "postgres"))]
    async fn open_postgres(_url: &str) -> Result<Self> {
        let message =
            "performer was built without its feature \"postgres\"; build it with --features postgres";
        Err(super::OrchestratorError::new(super::ErrorKind::Unsupported, message))
    }

    #[cfg(not(feature = "sqlite"))]
    async fn open_sqlite(_rest: &str) -> Result<Self> {
        let message = "performer was built without its feature \"sqlite\"; build it with --features sqlite";
        Err(super::OrchestratorError::new(super::ErrorKind::Unsupported, message))
    }

    /// The same, with a clock of the caller's.
    pub fn memory_with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::in_place(Box::new(memory::Memory::new()), clock)
    }

    /// Queues in a SQLite file; it is made when it is not there. Several processes may use one file.
    ///
    /// Durable: what was acknowledged is on disk (`synchronous=FULL`, write-ahead log).
    ///
    /// # Errors
    ///
    /// Other, with a sentence that names the file, when it is not a file of performer's, is damaged, was
    /// written by a newer version or cannot be written. Such a file is not touched.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(path: impl Into<std::path::PathBuf>) -> Result<Self> {
        Self::sqlite_with_clock(path, Arc::new(SystemClock::new())).await
    }

    /// The same, with a clock of the caller's.
    ///
    /// # Errors
    ///
    /// As [`sqlite`](Self::sqlite).
    #[cfg(feature = "sqlite")]
    pub async fn sqlite_with_clock(
        path: impl Into<std::path::PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let path = path.into();
        let now = clock.now();
        let (writer, readers) = Self::opened(move || sqlite::open(&path, now)).await?;
        Self::on_threads(vec![writer], readers, clock, usize::MAX)
    }

    /// Queues in a PostgreSQL database (13 or later), for performers on many machines. The schema is made when it is not
    /// there, or brought up to date.
    ///
    /// The URL is libpq's: `postgres://user@host:5432/database?sslmode=verify-full`; `?schema=` names the
    /// schema of the tables (default: `performer`), `?writers=` how many transactions are written at the same time (default: 2;
    /// 1 to 16), `?batch=` how many operations have to wait before one is begun beside another (default: 128). Without a password there, `PGPASSWORD` is used, or the file that `PGPASSFILE` names (`~/.pgpass`). The database's clock decides, its settings say how durable a commit is.
    ///
    /// # Errors
    ///
    /// Invalid for a URL that cannot be read; Unauthorized for a user or password that the database refuses; Unavailable
    /// when it cannot be reached or is a standby; Unsupported when it is too old; Other when its schema is newer than
    /// this program.
    #[cfg(feature = "postgres")]
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::open_postgres_with(url, Arc::new(SystemClock::new()), true).await
    }

    /// The same, with a clock of the caller's that decides instead of the database's. For tests.
    ///
    /// # Errors
    ///
    /// As [`postgres`](Self::postgres).
    #[doc(hidden)]
    #[cfg(feature = "postgres")]
    pub async fn postgres_with_clock(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_postgres_with(url, clock, false).await
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres_with(url: &str, clock: Arc<dyn Clock>, keeps_time: bool) -> Result<Self> {
        let (url, database) = (url.to_owned(), postgres::Database::new(url, keeps_time)?);
        let threshold = database.worth_another_writer();
        let (writers, readers) = Self::opened(move || postgres::open(&url, keeps_time)).await?;
        Ok(Self { database: Some(database), ..Self::on_threads(writers, readers, clock, threshold)? })
    }

    /// Opens a store. That may wait for others; a thread of its own keeps the runtime free.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    async fn opened<S: Send + 'static>(open: impl FnOnce() -> Result<S> + Send + 'static) -> Result<S> {
        let (answer, opened) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || drop(answer.send(open())));
        let gone = "the thread that opened the store ended";
        opened.await.map_err(|_| super::OrchestratorError::new(super::ErrorKind::Other, gone))?
    }

    /// A store on threads of its own.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn on_threads<B: backend::Backend + 'static>(
        writers: Vec<S>,
        readers: Vec<S>,
        clock: Arc<dyn Clock>,
        threshold: usize,
    ) -> Result<Self> {
        let clock = Arc::new(StoreClock::new(clock));
        let boxed = |stores: Vec<S>| {
            stores.into_iter().map(|store| -> Box<dyn Backend> { Box::new(store) }).collect()
        };
        let group_commit = GroupCommit::on_threads(boxed(writers), boxed(readers), &clock, threshold);
        let group_commit = group_commit.map_err(|error| {
            let message = "cannot start the threads of the store";
            super::OrchestratorError::new(super::ErrorKind::Unavailable, message).because(error)
        })?;
        Ok(Self::new(group_commit, clock))
    }

    fn sweeps(&self) -> MutexGuard<'_, SweepHistory> {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(group_commit: GroupCommit, clock: Arc<StoreClock>) -> Self {
        Self {
            group_commit: Arc::new(group_commit),
            clock,
            sweeps: Arc::default(),
            scope: Scope::SHARED,
            list_limit: None,
            #[cfg(feature = "postgres")]
            database: None,
        }
    }

    /// The operator says that the time of day is right: what is past its retention is removed at once, also in the first
    /// minutes of this process and when the store kept a time long ago ([`model::clock_guard`](crate::model::clock_guard)).
    /// It holds until the time of day moves away from the monotone clock.
    pub fn trust_clock(&self) {
        self.clock.trust();
    }

    fn request(&self, operation: Operation) -> Request {
        Request { scope: self.scope, operation }
    }

    pub(crate) async fn one(&self, operation: Operation) -> Result<Answer> {
        self.group_commit.one(self.request(operation)).await
    }

    pub(crate) async fn read(&self, query: Query) -> Result<Answer> {
        self.group_commit.read(self.scope, query, self.list_limit).await
    }
}

fn named(name: &str) -> QueueSelector {
    QueueSelector::Name(name.to_owned())
}

fn done(answer: Result<Answer>) -> Result<()> {
    answer.map(drop)
}

#[async_trait]
impl Orchestrator for Store {
    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        expect_answer!(self.one(Operation::StartJob(job)).await, Job)
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        expect_answer!(self.one(Operation::Beat(job)).await, JobState)
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        expect_answer!(self.one(Operation::EndJob { job, end }).await, Swept)
    }

    async fn sweep(&self) -> Result<Swept> {
        let began = self.clock.elapsed();
        let (jobs, has_removals) = match expect_answer!(self.read(Query::LiveJobs).await, LiveJobs) {
            Ok(LiveJobs { jobs, has_removals }) => (Ok(jobs), has_removals),
            Err(error) => (Err(error), false),
        };
        let sweep = self.sweeps().plan(jobs, began)?;
        if has_removals && let Err(error) = self.remove_deleted(CHUNKS_PER_SWEEP).await {
            tracing::debug!(%error, "what is left of deleted queues is removed with another sweep");
        }
        let (suspects, overdue) = (!sweep.suspects.is_empty(), sweep.overdue);
        if !suspects && !overdue {
            return Ok(Swept::default()); // a look, and nobody's write is disturbed
        }
        let SweepPlan { suspects, overdue } = sweep;
        let operation = Operation::Sweep { suspects, overdue, planned: self.clock.elapsed() };
        let answer = self.one(operation).await;
        let has_more = matches!(&answer, Ok(Answer::Swept(swept)) if swept.abandoned >= MAX_OVERDUE_PER_SWEEP);
        self.sweeps().record(answer.is_ok(), overdue && !has_more, began);
        expect_answer!(answer, Swept)
    }

    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem> {
        let operation = Operation::Add { queue: queue.to_owned(), item };
        expect_answer!(self.one(operation).await, Item).map(|item: Box<QueueItem>| *item)
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        let operation = Operation::BulkAdd { queue: queue.to_owned(), commit_type, items: Arc::new(items) };
        expect_answer!(self.one(operation).await, BulkAdded)
    }

    async fn add_and_start_transaction(&self, take: Take, item: NewQueueItem) -> Result<ClaimedItem> {
        let (take, item) = (take.into(), Box::new(item));
        expect_answer!(self.one(Operation::AddAndStart { claim: take, item }).await, Claimed)
    }

    fn calls_side_by_side(&self) -> usize {
        self.group_commit.writers()
    }

    async fn report_and_take(&self, reports: Vec<Report>, take: Option<Take>) -> ReportedAndTaken {
        let seen = self.group_commit.seen();
        let (take, refused) = match take.map(Take::checked).transpose() {
            Ok(take) => (take, None),
            Err(error) => (None, Some(error)),
        };
        let taking = take.is_some();
        let mut operations: Requests =
            reports.into_iter().map(|report| self.request(Operation::Report(report))).collect();
        operations.extend(take.map(|take| self.request(Operation::Claim(take.into()))));
        let mut answers = self.group_commit.all(operations).await;
        let taken = if taking { answers.pop() } else { None };
        let took = |answer: Result<Answer>| -> Result<Taken> {
            let took: ClaimedBatch = expect_answer!(answer, ClaimedBatch)?;
            Ok(Taken { items: took.items.into_vec(), seen, withheld: took.withheld })
        };
        let taken = match (taken, refused) {
            (Some(answer), _) => took(answer),
            (None, refused) => refused.map_or_else(|| Ok(Taken::default()), Err),
        };
        let reports = answers.into_iter().map(|answer| expect_answer!(answer, Status)).collect();
        ReportedAndTaken { reports, taken }
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        done(self.one(Operation::Progress { claim, progress }).await)
    }

    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        match self.read(Query::Queue(named(queue))).await {
            Ok(Answer::Queue(queue)) => self.group_commit.wait(queue.id, seen, at_most).await,
            // It is not there, or the store is out of reach: the next take says so.
            _ => tokio::time::sleep(at_most.min(LOOK_AGAIN)).await,
        }
    }
}

#[async_trait]
impl Administration for Store {
    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        expect_answer!(self.one(Operation::CreateQueue(Box::new(queue))).await, Queue)
    }

    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        let (which, queue) = (named(name), Box::new(queue));
        expect_answer!(self.one(Operation::UpdateQueue { which, queue, reach: None }).await, Queue)
    }

    async fn delete_queue(&self, name: &str) -> Result<()> {
        done(self.one(Operation::DeleteQueue { which: named(name), reach: None }).await)
    }

    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition> {
        expect_answer!(self.one(Operation::EditLimits { which: named(name), edit, reach: None }).await, Queue)
    }

    async fn get_queue(&self, name: &str) -> Result<QueueDefinition> {
        expect_answer!(self.read(Query::Queue(named(name))).await, Queue)
    }

    async fn list_queues(&self) -> Result<Vec<QueueDefinition>> {
        expect_answer!(self.read(Query::Queues).await, Queues)
    }

    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics> {
        expect_answer!(self.read(Query::Statistics(named(queue))).await, Statistics)
    }

    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem> {
        expect_answer!(self.read(Query::Item(id)).await, Item).map(|item: Box<QueueItem>| *item)
    }

    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage> {
        expect_answer!(self.read(Query::Items(Box::new(filter), page)).await, Items)
    }

    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem> {
        expect_answer!(self.one(Operation::Edit { id, edit }).await, Item).map(|item: Box<QueueItem>| *item)
    }

    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.in_chunks(items, Operation::Delete).await
    }

    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        expect_answer!(self.read(Query::History(id)).await, History)
    }

    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        expect_answer!(self.read(Query::Events(id)).await, Events)
    }

    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.in_chunks(items, |items| Operation::Review { to, items }).await
    }

    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.in_chunks(items, |items| Operation::SetReviewer { reviewer, items }).await
    }

    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment> {
        expect_answer!(self.one(Operation::AddComment { id, author, text }).await, Comment)
    }

    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()> {
        done(self.one(Operation::EditComment { comment, author, text }).await)
    }

    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        expect_answer!(self.read(Query::Comments(id)).await, Comments)
    }

    async fn purge_content(&self, id: ItemId) -> Result<()> {
        done(self.one(Operation::Purge(id)).await)
    }

    async fn apply_retention(&self, limit: usize) -> Result<u64> {
        let removed = self.remove_expired(limit).await?;
        if removed > 0 {
            tracing::info!(items = removed, "items past their retention were removed");
        }
        Ok(removed)
    }

    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        expect_answer!(self.read(Query::Jobs { limit }).await, Jobs)
    }

    async fn list_robots(&self) -> Result<Vec<Robot>> {
        expect_answer!(self.read(Query::Robots { now: self.clock.now() }).await, Robots)
    }

    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        done(self.one(Operation::StopJob { job, strategy }).await)
    }
}
