//! The real UiPath Orchestrator, over HTTP (orchestrator-api 1 to 13, 15 and 22).
//!
//! | file | what it does |
//! |---|---|
//! | `builder.rs`, `address.rs` | where it is, which folder, who calls |
//! | `auth.rs` | tokens: got once for many callers, renewed before they expire |
//! | `call.rs`, `request.rs`, `tls.rs`, `pace.rs` | one call: sent, repeated where that is safe, ended in time |
//! | `answer.rs` | what an answer that is no success means |
//! | `book.rs` | the claims this process holds: the fence is here |
//! | `queue.rs` | one queue: when to look at it again, what may have got lost |
//! | `take.rs`, `lost.rs`, `ours.rs` | taking items, and finding those whose answer was lost; what is ours |
//! | `report.rs` | reporting, and settling reports whose answer was lost |
//! | `add.rs` | adding items |
//! | `administration.rs`, `people.rs`, `definitions.rs` | reviews, comments, histories; queues |
//! | `leased.rs` | performer's own server: it knows leases and claims |
//! | `logs.rs` | robot logs (feature `robot-logs`) |
//!
//! What it promises is less than what a store promises. The Orchestrator knows no leases: when this process dies, its
//! items stay InProgress until the Orchestrator abandons them, after about 24 hours.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::add::as_definition;
use self::book::Book;
use self::ours::Ours;
use self::queue::Queue;
use self::request::Http;
use super::{
    BulkAdded, CommitType, ErrorKind, Orchestrator, OrchestratorError, Report, ReportedAndTaken, Result,
    Seen, Swept, Take, Taken,
};
use crate::model::clock::{Clock, SystemClock};
use crate::model::item::{ClaimedItem, NewQueueItem, QueueItem};
use crate::model::job::{JobEnd, JobState, NewJob};
use crate::model::key::{Claim, JobKey, KeyMaker};
use crate::model::queue::folded;
use crate::model::result::TransactionResult;
use crate::model::status::Status;

mod add;
mod address;
mod administration;
mod answer;
mod auth;
mod book;
mod builder;
mod call;
mod definitions;
mod leased;
#[cfg(feature = "robot-logs")]
mod logs;
mod lost;
mod ours;
mod pace;
mod people;
mod queue;
mod report;
mod request;
mod take;
mod tls;
mod unreadable;

pub use builder::UipathBuilder;
#[cfg(feature = "robot-logs")]
pub use logs::{LogShipping, RobotLogs};

/// The real Orchestrator.
///
/// ```no_run
/// # async fn example() -> Result<(), performer::OrchestratorError> {
/// use performer::orchestrator::uipath::Uipath;
///
/// let orchestrator = Uipath::builder("https://cloud.uipath.com/acme/Prod/orchestrator_")
///     .client_credentials("5b1c…", "the secret of the application")
///     .folder_path("Shared/Finance")
///     .robot_key("b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11")
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
///
/// [`connect`](crate::connect) does the same from a URL and the environment.
#[derive(Clone, Debug)]
pub struct Uipath {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    /// In whose name items are taken.
    robot_key: Option<String>,
    /// The Orchestrator's job that this program runs in, and its number once it is known.
    job_key: Option<uuid::Uuid>,
    job_id: AtomicI64,
    /// Whether the job's state may be read at all.
    job_is_hidden: AtomicBool,
    /// How often that was refused.
    job_refusals: AtomicU32,
    /// What all clients of this process share that take items in one name.
    shared: Arc<Shared>,
    postponing_works: AtomicBool,
    /// What is known of claims, where the server knows leases.
    leases: leased::Leases,
    keys: Mutex<KeyMaker>,
    random: Mutex<fastrand::Rng>,
    clock: SystemClock,
}

/// The claims and queues of one robot in one folder. Two clients of a process that take in the same name must know of
/// each other's items.
#[derive(Default)]
struct Shared {
    book: Mutex<Book>,
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    /// What items that are handed to us carry, once one was.
    ours: Mutex<Ours>,
    /// The robot's number tells nothing: others use the robot too.
    robot_is_shared: AtomicBool,
    /// What time it was at the server at some moment here.
    server_clock: Mutex<Option<ours::ServerClock>>,
}

impl Shared {
    /// What there is for this name already.
    fn of(name: String) -> Arc<Self> {
        static ALL: Mutex<Vec<(String, Weak<Shared>)>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, shared)| shared.strong_count() > 0);
        if let Some(shared) =
            all.iter().find(|(known, _)| *known == name).and_then(|(_, shared)| shared.upgrade())
        {
            return shared;
        }
        let shared = Arc::new(Self::default());
        all.push((name, Arc::downgrade(&shared)));
        shared
    }
}

/// Where it is and who calls; neither keys nor the content of items.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("address", &self.http.address)
            .field("identity", &self.http.identity)
            .field("is_robot", &self.robot_key.is_some())
            .field("is_job", &self.job_key.is_some())
            .finish_non_exhaustive()
    }
}

/// How long a job waits for calls that are under way when it ends, and as long again for what it gives back.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// How many reports of one call are under way at once.
const REPORTS_AT_ONCE: usize = 32;

impl Uipath {
    /// How to get to an Orchestrator.
    ///
    /// | URL | what it is |
    /// |---|---|
    /// | `https://cloud.uipath.com/acme/Prod/orchestrator_` | Automation Cloud; Automation Suite with its own host |
    /// | `https://orchestrator.example.com` | a standalone installation |
    ///
    /// Options behind it: `?folder=Shared/Finance`, `folder_id=`, `folder_key=`, `tenant=`, `scope=`, `robot_key=`.
    pub fn builder(url: &str) -> UipathBuilder {
        UipathBuilder::new(url)
    }

    /// The server's version of its API, as it told it (20 is the cloud of September 2025).
    pub fn api_version(&self) -> Option<u32> {
        self.inner.http.version()
    }
}

impl Inner {
    fn new(
        http: Http,
        robot_key: Option<String>,
        job_key: Option<uuid::Uuid>,
        robot_is_shared: bool,
        shared: Arc<Shared>,
    ) -> Self {
        shared.robot_is_shared.fetch_or(robot_is_shared, Ordering::Relaxed);
        Self {
            http,
            robot_key,
            job_key,
            job_id: AtomicI64::new(0),
            job_is_hidden: AtomicBool::new(false),
            job_refusals: AtomicU32::new(0),
            shared,
            postponing_works: AtomicBool::new(false),
            leases: leased::Leases::default(),
            keys: Mutex::new(KeyMaker::new()),
            random: Mutex::new(fastrand::Rng::new()),
            clock: SystemClock::default(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The queue of this name, whether the server has it or not.
    fn queue(&self, name: &str) -> Arc<Queue> {
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(folded(name)).or_insert_with(|| Arc::new(Queue::new(name))).clone()
    }

    /// The queue a job takes from.
    fn queue_of(&self, job: JobKey, name: &str) -> Result<Arc<Queue>> {
        let of_job = self.book().job(job)?;
        Ok(if of_job.name == name { of_job } else { self.queue(name) })
    }

    /// What is remembered of a queue's definition is asked for anew.
    fn forget_queue(&self, name: &str) {
        self.queue(name).state().about = None;
    }

    /// Something was done by which any queue may have got an item.
    fn something_may_have_come(&self) {
        let queues: Vec<Arc<Queue>> =
            self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for queue in queues {
            queue.something_came();
        }
    }

    fn postponing_works(&self) -> bool {
        self.postponing_works.load(Ordering::Relaxed)
    }

    fn postponing_has_worked(&self) {
        self.postponing_works.store(true, Ordering::Relaxed);
    }

    /// Gives back what was found and never handed to a robot, when the last job of a queue ends.
    async fn give_back_what_was_found(self: &Arc<Self>, job: JobKey, queue: &Arc<Queue>) {
        loop {
            let Some(item) = queue.state().found.pop_front() else { return };
            let id = item.id;
            let given_back = match item.into_item() {
                Ok(item) => {
                    let claim = self.book().hold(&item, job, queue.clone());
                    let report = Report { claim, result: TransactionResult::GivenBack, progress: None };
                    self.report(&report).await.map(drop)
                }
                Err(error) => Err(OrchestratorError::new(ErrorKind::Other, error.to_string())),
            };
            if let Err(error) = given_back {
                tracing::error!(item = id, %error, "an item that no robot was told of could not be given back");
            }
        }
    }
}

#[async_trait]
impl Orchestrator for Uipath {
    /// Looks whether the queue is there and whether this caller is handed items at all; otherwise a job is this
    /// process's own affair. The lease is ours alone: the Orchestrator has none.
    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        job.validate()?;
        let inner = &self.inner;
        if inner.is_leased() {
            return inner.start_leased_job(job).await;
        }
        let queue = inner.queue(&job.queue);
        queue.state().about = None;
        inner.about(&queue).await?;
        inner.own_job(false).await?;
        inner.note_what_others_hold(&queue).await?;
        inner.find_out_whether_items_are_handed_out(&queue).await?;
        let key = inner.keys.lock().unwrap_or_else(PoisonError::into_inner).job(inner.now());
        inner.book().start_job(key, queue);
        Ok(key)
    }

    /// Asks for the state of the Orchestrator's job, where this program runs in one.
    async fn beat(&self, job: JobKey) -> Result<JobState> {
        if self.inner.is_leased() {
            return self.inner.leased_beat(job).await;
        }
        self.inner.book().job(job)?;
        let state = self.inner.own_job(true).await?.and_then(|job| job.state?.known());
        Ok(match state {
            Some(JobState::Stopping) => JobState::Stopping,
            // Somebody ended it: whoever goes on works for nobody.
            Some(state) if state == JobState::Terminating || state.is_final() => JobState::Terminating,
            _ => JobState::Running,
        })
    }

    /// Its items that are still InProgress stay so until the Orchestrator abandons them; they are counted.
    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        let inner = &self.inner;
        if inner.is_leased() {
            return inner.end_leased_job(job, end).await;
        }
        let JobEnd { state, info, .. } = end;
        let queue = inner.book().job(job)?;
        tracing::debug!(%job, %state, info, "the job ends");
        // Takes that nobody waits for any more may still bring something; what is not found in time is told below.
        let _ = tokio::time::timeout(LAST_CALLS, inner.look_for_the_last_time(&queue)).await;
        let (left, is_last) = inner.book().end_job(job);
        if is_last {
            let given_back =
                tokio::time::timeout(LAST_CALLS, inner.give_back_what_was_found(job, &queue)).await;
            let (found, lost) = {
                let state = queue.state();
                (state.found.len(), state.suspicions.len())
            };
            if given_back.is_err() || found + lost > 0 {
                tracing::error!(
                    found,
                    lost,
                    "items that no robot was told of may stay InProgress until the Orchestrator abandons them: the answers \
                     that handed them out were lost, and there was no time to settle it"
                );
            }
        }
        if !left.is_empty() {
            tracing::error!(items = ?left, "these items stay InProgress until the Orchestrator abandons them, after about 24 hours");
        }
        Ok(Swept { jobs: Vec::new(), abandoned: left.len() as u64 })
    }

    /// The Orchestrator sweeps by itself: what is InProgress for about 24 hours is abandoned there.
    async fn sweep(&self) -> Result<Swept> {
        if self.inner.is_leased() {
            return self.inner.leased_sweep().await;
        }
        Ok(Swept::default())
    }

    async fn add_queue_item(&self, queue: &str, item: NewQueueItem) -> Result<QueueItem> {
        self.inner.add(&self.inner.queue(queue), item).await
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        self.inner.add_many(&self.inner.queue(queue), commit_type, &items).await
    }

    async fn add_and_start_transaction(&self, take: Take, item: NewQueueItem) -> Result<ClaimedItem> {
        if self.inner.is_leased() {
            let queue = self.inner.queue(&take.queue);
            let definition = as_definition(&queue, self.inner.about(&queue).await?);
            let content = item.validate(&definition)?.as_json().to_owned();
            return self.inner.add_and_start_leased(take, &item, &content).await;
        }
        let queue = self.inner.queue_of(take.job, &take.queue)?;
        let definition = as_definition(&queue, self.inner.about(&queue).await?);
        self.inner.create_and_start(&take, &item, &definition).await
    }

    /// One call for each report, then one for each item: the API has no batches.
    async fn report_and_take(&self, reports: Vec<Report>, take: Option<Take>) -> ReportedAndTaken {
        if self.inner.is_leased() {
            return self.inner.exchange(reports, take).await;
        }
        let reports = match &reports[..] {
            [] => Vec::new(),
            [report] => vec![self.inner.report(report).await],
            _ => self.report_many(reports).await,
        };
        let taken = match take {
            Some(take) => self.inner.take(&take).await,
            None => Ok(Taken::default()),
        };
        ReportedAndTaken { reports, taken }
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        if self.inner.is_leased() {
            return self.inner.leased_progress(claim, progress).await;
        }
        self.inner.progress(claim, progress).await
    }

    /// One of all waiting robots of this process looks, after `at_most` at first, then less and less often, up to the
    /// longest poll (30 seconds); the others are woken by what it finds. Limits are per tenant.
    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        if self.inner.is_leased() {
            return self.inner.leased_wait(queue, seen, at_most).await;
        }
        let queue = self.inner.queue(queue);
        let changed = queue.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if queue.state().changes != seen.0 {
            return;
        }
        let my_turn = async {
            let _poller = queue.poller.lock().await;
            loop {
                let longest = self.inner.http.pace.longest_poll;
                let at = {
                    let mut random = self.inner.random.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.state().next_look(at_most, longest, &mut random)
                };
                if at <= tokio::time::Instant::now() {
                    queue.state().look_is_taken();
                    return;
                }
                tokio::time::sleep_until(at).await;
            }
        };
        tokio::select! {
            biased;
            () = changed => {}
            () = my_turn => {}
        }
    }
}

impl Uipath {
    async fn report_many(&self, reports: Vec<Report>) -> Vec<Result<Status>> {
        let nobody_answered = || Err(OrchestratorError::new(ErrorKind::Unknown, "the report was broken off"));
        let mut answers: Vec<Result<Status>> = reports.iter().map(|_| nobody_answered()).collect();
        let mut reports = reports.into_iter().enumerate();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < REPORTS_AT_ONCE
                && let Some((place, report)) = reports.next()
            {
                let inner = self.inner.clone();
                under_way.spawn(async move { (place, inner.report(&report).await) });
            }
            match under_way.join_next().await {
                Some(Ok((place, answer))) => answers[place] = answer,
                Some(Err(_)) => {}
                None => return answers,
            }
        }
    }
}
