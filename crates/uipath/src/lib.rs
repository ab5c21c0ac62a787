//! The client for a UiPath Orchestrator, over HTTP (orchestrator-api 1 to 13, 15 and 22).
//! Over 500 lines, because the documentation of the client's whole interface is here.
//!
//!
//! | file | what it contains |
//! |---|---|
//! | `builder.rs`, `address.rs` | settings: the address, the folder, the credentials |
//! | `auth.rs` | access tokens: shared by all calls, renewed before they expire |
//! | `call.rs`, `request.rs`, `tls.rs`, `timing.rs` | one call: its request, its retries where they are safe, its time limits |
//! | `answer.rs` | errors from answers that are no success |
//! | `claim_registry.rs` | the claims that this process holds, which fence its reports |
//! | `queue.rs` | the state of one queue: when to poll it, which claims were not answered |
//! | `claim.rs`, `recovery.rs`, `ownership.rs` | claiming items; recovering items whose answers were lost; recognising own items |
//! | `report.rs` | reporting results; finding out whether a report whose answer was lost was recorded |
//! | `unreadable.rs` | items that were handed out by an answer that cannot be read |
//! | `add.rs`, `follow_up.rs` | adding items; those that are added before a success is reported |
//! | `caller.rs` | who the caller is and what it may do; what the connection is like |
//! | `any_operation.rs` | calls of any operation, for what there is no method |
//! | `administration.rs`, `items.rs`, `definitions.rs` | administration: items, reviews and comments; queues |
//! | `lease_protocol.rs` | the protocol of performer's own server, which has leases and claims |
//! | `review_protocol.rs` | groups of failures, and corrected retries, on performer's own server |
//! | `insight_protocol.rs` | operations, the audit, what is due, and figures, on performer's own server |
//!
//! The guarantees are weaker than those of a store. The Orchestrator has no leases: when this process dies, its items stay
//! InProgress until the Orchestrator abandons them, after about 24 hours.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::add::as_definition;
use self::call::Call;
use self::claim_registry::ClaimRegistry;
use self::ownership::OwnIdentity;
use self::queue::Queue;
use self::request::Http;
use performer_core::model::asset::RobotAsset;
use performer_core::model::clock::{Clock, SystemClock};
use performer_core::model::item::{ClaimedItem, NewQueueItem, QueueItem};
use performer_core::model::job::{JobEnd, JobState, NewJob};
use performer_core::model::key::{Claim, ItemKey, JobKey, KeyMaker};
use performer_core::model::log::{LogLine, validate_lines};
use performer_core::model::queue::folded;
use performer_core::model::result::TransactionResult;
use performer_core::model::schema::Schemas;
use performer_core::model::status::Status;
use performer_core::model::task::TaskAnswer;
use performer_core::orchestrator::{
    BulkAdded, ClaimRequest, ClaimedItems, CommitType, ErrorKind, Orchestrator, OrchestratorError, Report,
    ReportAndClaimAnswer, Result, Seen, Swept,
};

mod add;
mod address;
mod administration;
mod alerts;
mod answer;
mod any_operation;
mod assets;
mod auth;
mod buckets;
mod builder;
mod call;
mod caller;
mod claim;
mod claim_registry;
mod definitions;
mod follow_up;
mod insight_protocol;
mod items;
mod lease_protocol;
mod logs;
mod ownership;
mod processes;
mod queue;
mod rate_limit;
mod recovery;
mod report;
mod request;
mod review_protocol;
mod tasks;
mod timing;
mod tls;
mod unreadable;
mod webhooks;

pub use builder::UipathBuilder;
pub use caller::{Caller, ConnectionProbe};

/// A client for a UiPath Orchestrator.
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
/// `performer::connect` makes one from a URL and the environment.
#[derive(Clone, Debug)]
pub struct Uipath {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    /// The key of the robot that claims items.
    robot_key: Option<String>,
    /// The key of the Orchestrator's job that this program runs in, and the job's id once it is known.
    job_key: Option<uuid::Uuid>,
    job_id: AtomicI64,
    /// Whether the state of that job cannot be read.
    job_is_hidden: AtomicBool,
    /// The number of refusals to read it.
    job_refusals: AtomicU32,
    /// The state shared by all clients of this process that claim items with the same identity.
    shared: Arc<Shared>,
    postponing_works: AtomicBool,
    /// The claims, if the server has the lease protocol.
    leases: lease_protocol::LeaseTracker,
    keys: Mutex<KeyMaker>,
    random: Mutex<fastrand::Rng>,
    clock: SystemClock,
}

/// The claims and queues of one robot in one folder. Clients of one process with the same identity must share them, to
/// recognise each other's items.
#[derive(Default)]
struct Shared {
    registry: Mutex<ClaimRegistry>,
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    /// The robot and job that own items carry; learned from the first item that is claimed.
    own_identity: Mutex<OwnIdentity>,
    /// Whether other processes use the same robot, so that its id does not identify own items.
    robot_is_shared: AtomicBool,
    /// The server's clock, relative to the monotonic clock of this process.
    server_clock: Mutex<Option<ownership::ServerClock>>,
}

impl Shared {
    /// Returns the shared state of an identity, and creates it if no client uses it yet.
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

/// Shows the address and the caller, but neither keys nor the content of items.
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

/// How long the end of a job waits for the recovery of lost items, and as long again to give recovered items back.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of concurrent requests for the reports of one call.
const CONCURRENT_REPORTS: usize = 32;

impl Uipath {
    /// Starts the configuration of a client for the Orchestrator at a URL.
    ///
    /// | URL | installation |
    /// |---|---|
    /// | `https://cloud.uipath.com/acme/Prod/orchestrator_` | Automation Cloud; Automation Suite with its own host |
    /// | `https://orchestrator.example.com` | a standalone installation |
    ///
    /// Query options: `?folder=Shared/Finance`, `folder_id=`, `folder_key=`, `tenant=`, `scope=`, `robot_key=`.
    pub fn builder(url: &str) -> UipathBuilder {
        UipathBuilder::new(url)
    }

    /// The API version that the server has announced (20 is the cloud of September 2025); `None` before the first answer.
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
            leases: lease_protocol::LeaseTracker::default(),
            keys: Mutex::new(KeyMaker::new()),
            random: Mutex::new(fastrand::Rng::new()),
            clock: SystemClock::default(),
        }
    }

    fn registry(&self) -> MutexGuard<'_, ClaimRegistry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The state of the queue with this name, which may not exist on the server.
    fn queue(&self, name: &str) -> Arc<Queue> {
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(folded(name)).or_insert_with(|| Arc::new(Queue::new(name))).clone()
    }

    /// The state of the queue that a job claims from.
    fn queue_of(&self, job: JobKey, name: &str) -> Result<Arc<Queue>> {
        let of_job = self.registry().job(job)?;
        Ok(if of_job.name == name { of_job } else { self.queue(name) })
    }

    /// Drops the cached definition of a queue that was changed or deleted, and wakes the robots that wait for its items.
    fn forget_queue(&self, name: &str) {
        self.queue(name).definition_changed();
    }

    /// Wakes the waiting robots of all queues, after a call that may have added an item to any of them.
    fn notify_all_queues(&self) {
        let queues: Vec<Arc<Queue>> =
            self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for queue in queues {
            queue.items_added();
        }
    }

    fn postponing_works(&self) -> bool {
        self.postponing_works.load(Ordering::Relaxed)
    }

    fn confirm_postponing(&self) {
        self.postponing_works.store(true, Ordering::Relaxed);
    }

    /// Gives back the recovered items that no robot has received, when the last job of a queue ends.
    async fn give_back_recovered(self: &Arc<Self>, job: JobKey, queue: &Arc<Queue>) {
        loop {
            let Some(item) = queue.state().recovered.pop_front() else { return };
            let id = item.id;
            let given_back = match item.into_item() {
                Ok(item) => {
                    let claim = self.registry().hold(&item, job, queue.clone());
                    let report = Report::new(claim, TransactionResult::GivenBack);
                    self.report(&report).await.map(drop)
                }
                Err(error) => Err(OrchestratorError::new(ErrorKind::Other, error.to_string())),
            };
            if let Err(error) = given_back {
                tracing::error!(item = id, %error, "a recovered item could not be given back");
            }
        }
    }
}

#[async_trait]
impl Orchestrator for Uipath {
    /// Checks that the queue exists and that this caller is handed items. The job itself is known to this process only, and
    /// its lease has no effect: the Orchestrator has no leases.
    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        job.validate()?;
        let inner = &self.inner;
        if inner.supports_leases() {
            return inner.start_leased_job(job).await;
        }
        let queue = inner.queue(&job.queue);
        queue.state().info = None;
        inner.queue_info(&queue).await?;
        inner.own_job(false).await?;
        inner.record_foreign_attempts(&queue).await?;
        inner.check_items_are_handed_out(&queue).await?;
        let key = inner.keys.lock().unwrap_or_else(PoisonError::into_inner).job(inner.now());
        inner.registry().start_job(key, queue);
        Ok(key)
    }

    async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        self.inner.read_asset(name).await
    }

    async fn queue_schemas(&self, queue: &str) -> Result<Schemas> {
        Ok(self.inner.read_queue(queue).await?.schemas)
    }

    /// Asks for the state of the Orchestrator's job, where this program runs in one.
    async fn beat(&self, job: JobKey) -> Result<JobState> {
        if self.inner.supports_leases() {
            return self.inner.leased_beat(job).await;
        }
        self.inner.registry().job(job)?;
        let state = self.inner.own_job(true).await?.and_then(|job| job.state?.known());
        Ok(match state {
            Some(JobState::Stopping) => JobState::Stopping,
            // The job has ended in the Orchestrator, so the work must be interrupted.
            Some(state) if state == JobState::Terminating || state.is_final() => JobState::Terminating,
            _ => JobState::Running,
        })
    }

    /// Items that are still InProgress stay so until the Orchestrator abandons them; they are counted as abandoned.
    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        let inner = &self.inner;
        if inner.supports_leases() {
            return inner.end_leased_job(job, end).await;
        }
        let queue = inner.registry().job(job)?;
        end.validate()?;
        let JobEnd { state, info, .. } = end;
        tracing::debug!(%job, %state, info, "the job is ending");
        // Claims whose callers are gone may still have been executed. Items not recovered in time are logged below.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, inner.recover_before_end(&queue)).await;
        let (left, is_last) = inner.registry().end_job(job);
        if is_last {
            let given_back =
                tokio::time::timeout(SHUTDOWN_TIMEOUT, inner.give_back_recovered(job, &queue)).await;
            let (found, lost) = {
                let state = queue.state();
                (state.recovered.len(), state.unanswered_claims.len())
            };
            if given_back.is_err() || found + lost > 0 {
                tracing::error!(
                    found,
                    lost,
                    "items may stay InProgress until the Orchestrator abandons them: the answers to their claims were lost, \
                     and they could not be recovered in time"
                );
            }
        }
        if !left.is_empty() {
            tracing::error!(items = ?left, "these items stay InProgress until the Orchestrator abandons them, after about 24 hours");
        }
        Ok(Swept::new(Vec::new(), left.len() as u64))
    }

    /// Does nothing without the lease protocol: the Orchestrator itself abandons items after about 24 hours InProgress.
    async fn sweep(&self) -> Result<Swept> {
        if self.inner.supports_leases() {
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

    async fn add_and_start_transaction(
        &self,
        request: ClaimRequest,
        item: NewQueueItem,
    ) -> Result<ClaimedItem> {
        if self.inner.supports_leases() {
            let queue = self.inner.queue(&request.queue);
            let definition = as_definition(&queue, self.inner.queue_info(&queue).await?);
            let content = item.validate(&definition)?.as_json().to_owned();
            return self.inner.add_and_start_leased(request, &item, &content).await;
        }
        let queue = self.inner.queue_of(request.job, &request.queue)?;
        let definition = as_definition(&queue, self.inner.queue_info(&queue).await?);
        self.inner.check_groups(std::slice::from_ref(&item))?;
        self.inner.create_and_start(&request, &item, &definition).await
    }

    /// Makes one request for each report, then one for each item, because the API has no batches.
    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        if self.inner.supports_leases() {
            return self.inner.exchange(reports, request).await;
        }
        let reports = match &reports[..] {
            [] => Vec::new(),
            [report] => vec![self.inner.report(report).await],
            _ => self.report_many(reports).await,
        };
        let taken = match request {
            Some(request) => self.inner.claim(&request).await,
            None => Ok(ClaimedItems::default()),
        };
        ReportAndClaimAnswer::new(reports, taken)
    }

    /// Our own server adds them with the success. A UiPath Orchestrator has no such call: the client adds them before it reports.
    fn supports_follow_ups(&self) -> bool {
        !self.inner.supports_leases() || self.inner.leases_have_follow_ups()
    }

    /// Our own server makes the task with the postponement. A UiPath Orchestrator has no such call: the client makes it before it reports.
    fn supports_asking(&self) -> bool {
        !self.inner.supports_leases() || self.inner.leases_have_asking()
    }

    async fn read_answer(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        self.inner.read_answer(item).await
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        if self.inner.supports_leases() {
            return self.inner.leased_progress(claim, progress).await;
        }
        self.inner.progress(claim, progress).await
    }

    /// By SubmitLogs (scope `OR.Monitoring`, permission Logs.Create). A line is one of the Orchestrator's job that this program runs in;
    /// performer's own server knows the jobs of performers too.
    async fn submit_logs(&self, lines: Vec<LogLine>) -> Result<()> {
        validate_lines(&lines)?;
        let entry = |line: LogLine| match (self.inner.job_key, line.job) {
            (Some(job), _) => line.entry_of_job(job),
            (None, Some(job)) if self.inner.supports_leases() => line.entry_of_job(job),
            _ => line.entry,
        };
        let entries: Vec<String> = lines.into_iter().map(entry).collect();
        // A duplicate line is better than a lost one.
        let call = Call::post("SubmitLogs", "/api/Logs/SubmitLogs", &entries).repeatable();
        Ok(self.inner.http.done(call).await?)
    }

    /// One of the waiting robots of this process polls the queue: first after `at_most`, then at growing intervals up to the
    /// longest poll (30 seconds). It wakes the others when it claims an item. Rate limits are per tenant, so the robots must
    /// not all poll.
    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        if self.inner.supports_leases() {
            return self.inner.leased_wait(queue, seen, at_most).await;
        }
        let queue = self.inner.queue(queue);
        let changed = queue.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if queue.state().changes != seen.0 {
            return;
        }
        let poll_is_due = async {
            let _poller = queue.poller.lock().await;
            loop {
                let longest = self.inner.http.timing.longest_poll;
                let at = {
                    let mut random = self.inner.random.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.state().next_poll(at_most, longest, &mut random)
                };
                if at <= tokio::time::Instant::now() {
                    queue.state().poll_started();
                    return;
                }
                tokio::time::sleep_until(at).await;
            }
        };
        tokio::select! {
            biased;
            () = changed => {}
            () = poll_is_due => {}
        }
    }
}

impl Uipath {
    async fn report_many(&self, reports: Vec<Report>) -> Vec<Result<Status>> {
        let aborted = || Err(OrchestratorError::new(ErrorKind::Unknown, "the report was aborted"));
        let mut answers: Vec<Result<Status>> = reports.iter().map(|_| aborted()).collect();
        let mut reports = reports.into_iter().enumerate();
        let mut in_flight = JoinSet::new();
        loop {
            while in_flight.len() < CONCURRENT_REPORTS
                && let Some((place, report)) = reports.next()
            {
                let inner = self.inner.clone();
                in_flight.spawn(async move { (place, inner.report(&report).await) });
            }
            match in_flight.join_next().await {
                Some(Ok((place, answer))) => answers[place] = answer,
                Some(Err(_)) => {}
                None => return answers,
            }
        }
    }
}
