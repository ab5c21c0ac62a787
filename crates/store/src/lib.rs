//! The stores: everything that is the same for memory, SQLite and PostgreSQL. Batching, leases and sweeps are written
//! here once. Over 500 lines, because the ways to open a store are described in one place.
//!
//! | file | what is in it |
//! |---|---|
//! | `administration.rs` | the trait `Administration` for a store |
//! | `assets.rs`, `encryption/` | assets, and how what is secret in them is encrypted |
//! | `alerts.rs` | what somebody should look at |
//! | `buckets.rs`, `files/` | storage buckets, and the storage of their files |
//! | `webhooks.rs` | webhooks, and what is to be delivered to them |
//! | `audit.rs` | the audit: what people changed |
//! | `open.rs` | opens the store at a URL |
//! | `group_commit.rs` | commits: the requests that wait become one transaction; the threads that write |
//! | `inspection.rs` | looks at a store from outside: what it is, whether it is sound, and a copy of it |
//! | `insight.rs` | operations, the audit and what is due, as the trait has them |
//! | `in_place.rs` | a back end that is called directly |
//! | `arrivals.rs` | what joins a transaction after it has begun |
//! | `comments.rs` | the comments of an item, which a back end answers in pages |
//! | `commit_queue.rs` | the queue of requests that wait for a writer |
//! | `delivery.rs` | the delivery of answers |
//! | `compensation.rs` | what to undo when a caller went away before it received its answer |
//! | `notifier.rs` | wakes callers that wait for items of a queue |
//! | `waiting_claim.rs` | a claim that waits for an item, as its caller sees it |
//! | `parked_claims.rs` | claims that found nothing and wait for an item |
//! | `queries.rs` | queries, and the answers to operations and queries |
//! | `readers.rs` | the threads that read, and how callers share them |
//! | `backend.rs` | the trait `Backend`: operations, queries and answers |
//! | `writer_hooks.rs` | what a writer thread asks of its back end besides commits |
//! | `apply.rs` | applies operations by the rules of [`model::lifecycle`](performer_core::model::lifecycle) |
//! | `rows.rs` | the trait `Rows`: what `apply.rs` reads and writes, row by row |
//! | `tokens.rs` | access tokens of a server |
//! | `document.rs` | the document in which a server keeps its folders, users and roles |
//! | `operations.rs` | acts on many items at once |
//! | `removal.rs` | removes what is no longer needed, in chunks |
//! | `deadlines.rs` | items that are ready and have a DueDate |
//! | `figures.rs` | figures by minute, counted in memory |
//! | `sql/` | where a database looks for the items of a list |
//! | `reasons.rs` | groups of failures |
//! | `views.rs` | saved views |
//! | `sweep.rs` | what a sweep reads |
//! | `clock.rs` | the store's clock, with a guard for what depends on age |
//! | `unreadable_rows.rs` | rows that do not match the schema |
//! | `scope.rs`, `scoped_queues.rs`, `scoped_items.rs` | a store limited to a folder and a user, for the server |
//! | `simulation.rs` | stores with deterministic keys, for simulations |
//! | `memory.rs`, `sqlite/`, `postgres/` | the three back ends |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::apply::MAX_OVERDUE_PER_SWEEP;
use self::backend::{Answer, ClaimedBatch, Operation, Query, Request, Requests, Scope, expect_answer};
use self::clock::StoreClock;
use self::group_commit::GroupCommit;
use self::removal::CHUNKS_PER_SWEEP;
use self::sweep::LiveJobs;
use async_trait::async_trait;
use performer_core::model::asset::{AssetReader, RobotAsset};
use performer_core::model::audit::{ActSource, Actor};
use performer_core::model::clock::{Clock, SystemClock};
use performer_core::model::item::{ClaimedItem, NewQueueItem, QueueItem};
use performer_core::model::job::{JobEnd, JobState, NewJob};
use performer_core::model::key::{Claim, ItemKey, JobKey};
use performer_core::model::log::LogLine;
use performer_core::model::schema::Schemas;
use performer_core::model::sweep::{SweepHistory, SweepPlan};
use performer_core::model::task::TaskAnswer;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use performer_core::orchestrator::{BoxFuture, ErrorKind, OrchestratorError};
use performer_core::orchestrator::{
    BulkAdded, ClaimRequest, ClaimedItems, CommitType, Orchestrator, QueueAdministration, Report,
    ReportAndClaimAnswer, Result, Seen, Swept,
};

mod administration;
mod alerts;
mod apply;
mod arrivals;
mod assets;
mod audit;
mod backend;
mod buckets;
mod clock;
mod comments;
mod commit_queue;
mod compensation;
mod deadlines;
mod delivery;
mod document;
mod encryption;
mod figures;
#[cfg(feature = "files")]
mod files;
mod fleet;
mod group_commit;
mod groups;
mod in_place;
mod insight;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod inspection;
mod jobs;
mod logs;
mod memory;
mod notifier;
mod open;
mod operations;
mod parked_claims;
#[cfg(feature = "postgres")]
mod postgres;
mod queries;
mod readers;
mod reasons;
mod removal;
mod rows;
mod scope;
mod scoped_items;
mod scoped_queues;
mod simulation;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod sweep;
mod tasks;
mod tokens;
mod unreadable_rows;
mod views;
mod waiting_claim;
mod webhooks;
mod writer_hooks;

pub use assets::{AssetSelector, KeyRotation};
pub use buckets::{BucketSelector, FileAct};
pub use comments::{CommentsOn, MAX_COMMENTS_LISTED};
pub use document::{DocumentChange, DocumentOutcome};
pub use encryption::EncryptionKeys;
#[cfg(feature = "files")]
pub use files::{
    AddressUse, FileStorage, FileWriter, OpenFile, STORAGE_VARIABLE, StorageAddress, StoredFile,
};
pub use jobs::JobFilter;
pub use operations::OperationItems;
#[cfg(feature = "postgres")]
pub use postgres::tokio_postgres;
pub use removal::RemovedEnded;
pub use scoped_items::{UnclaimedReport, UnleasedCaller};
pub use scoped_queues::{QueueSelector, Reach};
pub use tasks::{Assign, TaskQueryFilter};
pub use tokens::{MAX_LOGIN_TOKENS, MAX_NAMED_TOKENS, Token, TokensOf};
pub use webhooks::{FailedDelivery, WebhookSelector, WebhookTurn};

/// How long to wait before a queue that was not found is looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An Orchestrator over a store of its own: in memory, in a SQLite file or in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Store {
    group_commit: Arc<GroupCommit>,
    clock: Arc<StoreClock>,
    sweeps: Arc<Mutex<SweepHistory>>,
    scope: Scope,
    /// Time limit of a list query. `None`: no limit, as for callers that opened the store themselves.
    list_limit: Option<Duration>,
    /// Who makes changes through it, for the audit.
    actor: Arc<Actor>,
    /// The keys for what is secret in assets.
    encryption: Arc<encryption::Encryption>,
    /// The storage of files.
    #[cfg(feature = "files")]
    files: Arc<files::FileSource>,
    /// The address of a store in a database, for transactions of the caller.
    #[cfg(feature = "postgres")]
    database: Option<postgres::Database>,
}

/// The folder for files beside a SQLite file.
#[cfg(all(feature = "sqlite", feature = "files"))]
fn folder_beside(path: &std::path::Path) -> std::path::PathBuf {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".buckets");
    folder.into()
}

impl Store {
    /// Queues in the memory of this process. Nothing outlives the process: for tests, and for work that may be lost.
    pub fn memory() -> Self {
        Self::memory_with_clock(Arc::new(SystemClock::new()))
    }

    /// As [`memory`](Self::memory), with the caller's clock.
    pub fn memory_with_clock(clock: Arc<dyn Clock>) -> Self {
        let store = Self::in_place(Box::new(memory::Memory::new()), clock);
        #[cfg(feature = "files")]
        let store = store.with_files(FileStorage::memory());
        store
    }

    /// Queues in a SQLite file, which is created if it does not exist. Several processes may use one file.
    ///
    /// Durable: an acknowledged change is on disk (`synchronous=FULL`, write-ahead log).
    ///
    /// # Errors
    ///
    /// Other, with a message that names the file, if the file is not performer's, is damaged, was written by a newer
    /// version or cannot be written. Such a file is not changed.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(path: impl Into<std::path::PathBuf>) -> Result<Self> {
        Self::sqlite_with_clock(path, Arc::new(SystemClock::new())).await
    }

    /// As [`sqlite`](Self::sqlite), with the caller's clock.
    ///
    /// # Errors
    ///
    /// As [`sqlite`](Self::sqlite).
    #[cfg(feature = "sqlite")]
    pub async fn sqlite_with_clock(
        path: impl Into<std::path::PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::open_file(path.into(), clock).await
    }

    #[cfg(feature = "sqlite")]
    #[inline(never)]
    fn open_file(path: std::path::PathBuf, clock: Arc<dyn Clock>) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let now = clock.now();
            let encryption = Arc::new(encryption::Encryption::beside(&path));
            #[cfg(feature = "files")]
            let files = Arc::new(files::FileSource::of_environment(Some(folder_beside(&path))));
            let (writer, readers) = Self::opened(move || sqlite::open(&path, now)).await?;
            let store = Self::on_threads(vec![writer], readers, clock, usize::MAX)?;
            Ok(Self {
                encryption,
                #[cfg(feature = "files")]
                files,
                ..store
            })
        })
    }

    /// Queues in a PostgreSQL database (13 or later), for performers on many machines. The schema is created, or
    /// migrated to the newest version.
    ///
    /// The URL is libpq's: `postgres://user@host:5432/database?sslmode=verify-full`. Options of our own:
    ///
    /// * `schema`: the schema of the tables (default `performer`);
    /// * `writers`: how many transactions write at the same time (default 2; 1 to 16);
    /// * `batch`: how many operations have to wait before a transaction is begun beside another one (default 128; 1 to
    ///   4096).
    ///
    /// Without a password in the URL, `PGPASSWORD` is used, or the file that `PGPASSFILE` names (default `~/.pgpass`).
    /// The database's clock decides, and its settings say how durable a commit is.
    ///
    /// # Errors
    ///
    /// Invalid for a URL that cannot be parsed; Unauthorized if the database refuses the user or the password;
    /// Unavailable if the database cannot be reached or is a standby; Unsupported if it is too old; Other if its schema
    /// is newer than this program.
    #[cfg(feature = "postgres")]
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::open_postgres_with(url, Arc::new(SystemClock::new()), true).await
    }

    /// As [`postgres`](Self::postgres), with the caller's clock instead of the database's. For tests.
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
    #[inline(never)]
    fn open_postgres_with(url: &str, clock: Arc<dyn Clock>, keeps_time: bool) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let (url, database) = (url.to_owned(), postgres::Database::new(url, keeps_time)?);
            let threshold = database.worth_another_writer();
            let (writers, readers) = Self::opened(move || postgres::open(&url, keeps_time)).await?;
            let encryption = Arc::new(encryption::Encryption::of_environment());
            let store = Self::on_threads(writers, readers, clock, threshold)?;
            Ok(Self { database: Some(database), encryption, ..store })
        })
    }

    /// Opens a store on a thread of its own: opening may block, and must not block the runtime.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    async fn opened<S: Send + 'static>(open: impl FnOnce() -> Result<S> + Send + 'static) -> Result<S> {
        let (answer, opened) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || drop(answer.send(open())));
        let gone = "the thread that opened the store ended";
        opened.await.map_err(|_| OrchestratorError::new(ErrorKind::Other, gone))?
    }

    /// A store with threads that write and threads that read.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn on_threads<B: backend::Backend + 'static>(
        writers: Vec<B>,
        readers: Vec<B>,
        clock: Arc<dyn Clock>,
        threshold: usize,
    ) -> Result<Self> {
        let clock = Arc::new(StoreClock::new(clock));
        let boxed = |stores: Vec<B>| {
            stores.into_iter().map(|store| -> Box<dyn backend::Backend> { Box::new(store) }).collect()
        };
        let group_commit = GroupCommit::on_threads(boxed(writers), boxed(readers), &clock, threshold);
        let group_commit = group_commit.map_err(|error| {
            let message = "cannot start the threads of the store";
            OrchestratorError::new(ErrorKind::Unavailable, message).with_source(error)
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
            actor: Arc::new(Actor::new(ActSource::Program)),
            encryption: Arc::new(encryption::Encryption::of_process()),
            #[cfg(feature = "files")]
            files: Arc::new(files::FileSource::of_environment(None)),
            #[cfg(feature = "postgres")]
            database: None,
        }
    }

    /// Declares the time of day to be right: what is past its retention is removed at once, also in the first minutes
    /// of this process and if the last time kept in the store is long ago
    /// ([`model::clock_guard`](performer_core::model::clock_guard)). Holds until the time of day moves away from the monotone
    /// clock.
    pub fn trust_clock(&self) {
        self.clock.trust();
    }

    /// How many claims of this store are parked until there is an item for them. For tests.
    #[doc(hidden)]
    pub fn parked_claims(&self) -> usize {
        self.group_commit.parked_claims()
    }

    fn request(&self, operation: Operation) -> Request {
        let actor = operation.is_audited().then(|| self.actor.clone());
        Request { scope: self.scope, actor, operation }
    }

    async fn one(&self, operation: Operation) -> Result<Answer> {
        self.group_commit.one(self.request(operation)).await
    }

    /// A claim that waits for an item. `None`: too many wait.
    async fn claim_waiting(&self, request: ClaimRequest, seen: Seen) -> Option<Result<ClaimedItems>> {
        let ClaimRequest { job, wait, look_every, .. } = request;
        let request = self.request(Operation::Claim(request.into()));
        let answer = self.group_commit.claim_waiting(request, job, wait, look_every).await?;
        Some(claimed_items(answer, seen).map(|mut claimed| {
            claimed.waited = true;
            claimed
        }))
    }

    async fn read(&self, query: Query) -> Result<Answer> {
        self.group_commit.read(self.scope, query, self.list_limit).await
    }
}

fn named(name: &str) -> QueueSelector {
    QueueSelector::Name(name.to_owned())
}

/// Claimed items, from the answer to a claim that was made after `seen`.
fn claimed_items(answer: Result<Answer>, seen: Seen) -> Result<ClaimedItems> {
    let took: ClaimedBatch = expect_answer!(answer, ClaimedBatch)?;
    let mut claimed = ClaimedItems::new(took.items.into_vec());
    claimed.seen = seen;
    claimed.withheld = took.withheld;
    Ok(claimed)
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
            // No commit came since they were due.
            if self.clock.figures().are_due(self.clock.elapsed())
                && let Err(error) = self.one(Operation::WriteFigures).await
            {
                tracing::debug!(%error, "figures are written with another commit or sweep");
            }
            return Ok(Swept::default()); // only read so far: nobody's write was delayed
        }
        let SweepPlan { suspects, overdue } = sweep;
        let operation = Operation::Sweep { suspects, overdue, planned: self.clock.elapsed() };
        let answer = self.one(operation).await;
        let has_more =
            matches!(&answer, Ok(Answer::Swept(swept)) if swept.abandoned >= MAX_OVERDUE_PER_SWEEP);
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

    async fn add_and_start_transaction(
        &self,
        request: ClaimRequest,
        item: NewQueueItem,
    ) -> Result<ClaimedItem> {
        let (request, item) = (request.into(), Box::new(item));
        expect_answer!(self.one(Operation::AddAndStart { claim: request, item }).await, Claimed)
    }

    async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        self.read_asset_as(name, AssetReader::default().user(self.scope.user)).await
    }

    async fn queue_schemas(&self, queue: &str) -> Result<Schemas> {
        Ok(QueueAdministration::get_queue(self, queue).await?.schemas)
    }

    fn max_concurrent_calls(&self) -> usize {
        self.group_commit.writers()
    }

    fn supports_follow_ups(&self) -> bool {
        true
    }

    fn supports_asking(&self) -> bool {
        true
    }

    async fn read_answer(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        self.answer_for(item).await
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let seen = self.group_commit.seen();
        let (request, refused) = match request.map(ClaimRequest::validated).transpose() {
            Ok(request) => (request, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(waiting) =
            request.as_ref().filter(|request| reports.is_empty() && !request.wait.is_zero())
            && let Some(claimed) = self.claim_waiting(waiting.clone(), seen).await
        {
            return ReportAndClaimAnswer::new(Vec::new(), claimed);
        }
        let claims = request.is_some();
        let mut operations: Requests =
            reports.into_iter().map(|report| self.request(Operation::Report(report))).collect();
        operations.extend(request.map(|request| self.request(Operation::Claim(request.into()))));
        let mut answers = self.group_commit.all(operations).await;
        let taken = if claims { answers.pop() } else { None };
        let taken = match (taken, refused) {
            (Some(answer), _) => claimed_items(answer, seen),
            (None, refused) => refused.map_or_else(|| Ok(ClaimedItems::default()), Err),
        };
        let reports = answers.into_iter().map(|answer| expect_answer!(answer, Status)).collect();
        ReportAndClaimAnswer::new(reports, taken)
    }

    fn give_up_claims(&self, job: JobKey) {
        self.group_commit.give_up_claims(job);
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        done(self.one(Operation::Progress { claim, progress }).await)
    }

    async fn submit_logs(&self, mut lines: Vec<LogLine>) -> Result<()> {
        for line in &mut lines {
            line.folder = self.scope.folder;
            if let Some(job) = line.job {
                line.entry = line.entry_of_job(job);
            }
        }
        self.add_log_lines(lines).await
    }

    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        match self.read(Query::Queue(named(queue))).await {
            Ok(Answer::Queue(queue)) => self.group_commit.wait(queue.id, seen, at_most).await,
            // The queue does not exist, or the store cannot be reached: the next claim reports it.
            _ => tokio::time::sleep(at_most.min(LOOK_AGAIN)).await,
        }
    }
}
