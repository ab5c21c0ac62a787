//! Shared support of the tests: back ends with a manual clock, and short functions for frequent calls.
#![allow(
    clippy::allow_attributes,
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of this"
)]

#[cfg(all(unix, feature = "postgres"))]
pub mod cluster;
#[cfg(feature = "postgres")]
pub mod cutting_proxy;
pub mod observers;
#[cfg(all(unix, feature = "postgres"))]
pub mod pgbouncer;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod scripted;
#[cfg(feature = "server")]
pub mod test_server;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use performer::model::clock::{Clock, ManualClock};
use performer::model::item::ClaimedItem;
use performer::model::job::NewJob;
use performer::model::key::Claim;
use performer::model::result::TransactionResult;
use performer::model::review::ItemVersion;
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Report, Result, Swept};
use performer::{
    Administration, ExceptionType, ItemFilter, ItemId, JobKey, NewQueueDefinition, NewQueueItem,
    Orchestrator, Output, Page, ProcessingException, QueueItem, QueuePolicy, Status,
};
use serde_json::json;

pub const QUEUE: &str = "Invoices";

/// A back end under test. Its time stands still until the test advances it.
pub struct Fixture {
    pub orchestrator: Arc<dyn Administration>,
    pub clock: Arc<ManualClock>,
    pub folder: Option<tempfile::TempDir>,
    #[cfg(feature = "postgres")]
    pub schema: Option<postgres::Schema>,
    #[cfg(feature = "server")]
    pub served: Option<test_server::TestServer>,
}

pub fn start_of_time() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().unwrap()
}

impl Fixture {
    pub async fn memory() -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        Self::over(Arc::new(Store::memory_with_clock(clock.clone())), clock, None)
    }

    #[cfg(feature = "sqlite")]
    pub async fn sqlite() -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap();
        Self::over(Arc::new(store), clock, Some(folder))
    }

    #[cfg(feature = "postgres")]
    pub async fn postgres() -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let schema = postgres::Schema::new();
        // Calls are written side by side however few there are.
        let url = format!("{}&batch=1", schema.url);
        let store = Store::postgres_with_clock(&url, clock.clone()).await.unwrap();
        Self { schema: Some(schema), ..Self::over(Arc::new(store), clock, None) }
    }

    /// The HTTP client with performer's own server over a SQLite file.
    #[cfg(feature = "server")]
    pub async fn http() -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap();
        let served = test_server::TestServer::start(store).await;
        test_server::reviewers(&served, 7).await;
        let client = served.client().connect().await.unwrap();
        Self { served: Some(served), ..Self::over(Arc::new(client), clock, Some(folder)) }
    }

    fn over(
        orchestrator: Arc<dyn Administration>,
        clock: Arc<ManualClock>,
        folder: Option<tempfile::TempDir>,
    ) -> Self {
        Self {
            orchestrator,
            clock,
            folder,
            #[cfg(feature = "postgres")]
            schema: None,
            #[cfg(feature = "server")]
            served: None,
        }
    }

    /// Adds the queue with this policy.
    pub async fn with_queue(self, policy: QueuePolicy) -> Self {
        self.orchestrator.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
        self
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn after(&self, seconds: u64) -> Timestamp {
        self.now() + Duration::from_secs(seconds)
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Advances the time, and sweeps every second.
    pub async fn sweep_for(&self, seconds: u64) -> Swept {
        sweep_for(&*self.orchestrator, &self.clock, seconds).await
    }

    pub async fn job(&self) -> JobKey {
        self.orchestrator.start_job(new_job()).await.unwrap()
    }

    pub async fn add(&self, item: NewQueueItem) -> QueueItem {
        self.orchestrator.add_queue_item(QUEUE, item).await.unwrap()
    }

    pub async fn add_named(&self, reference: &str) -> QueueItem {
        self.add(named(reference)).await
    }

    pub async fn take_many(&self, job: JobKey, count: usize) -> Vec<ClaimedItem> {
        let answer = self.orchestrator.report_and_claim(Vec::new(), Some(take(job, count))).await;
        answer.claimed.unwrap().items
    }

    pub async fn try_take(&self, job: JobKey) -> Option<ClaimedItem> {
        self.take_many(job, 1).await.pop()
    }

    pub async fn take(&self, job: JobKey) -> ClaimedItem {
        self.try_take(job).await.expect("an item can be taken")
    }

    /// Claims all items, and returns their references in the order of the claims.
    pub async fn take_all(&self, job: JobKey) -> Vec<String> {
        let mut references = Vec::new();
        while let Some(claimed) = self.try_take(job).await {
            references.push(claimed.item.reference.clone().unwrap_or_default());
        }
        references
    }

    pub async fn report(&self, claim: Claim, result: TransactionResult) -> Result<Status> {
        let report = Report { claim, result, progress: None };
        self.orchestrator.report_and_claim(vec![report], None).await.reports.pop().unwrap()
    }

    pub async fn item(&self, id: ItemId) -> QueueItem {
        self.orchestrator.get_queue_item(id).await.unwrap()
    }

    /// All items that match a filter, read page by page.
    pub async fn list(&self, filter: ItemFilter) -> Vec<QueueItem> {
        let mut items = Vec::new();
        loop {
            let page = Page { skip: items.len(), ..Page::default() };
            let found = self.orchestrator.list_queue_items(filter.clone(), page).await.unwrap();
            items.extend(found.items);
            if items.len() as u64 >= found.count {
                return items;
            }
        }
    }

    pub async fn version(&self, id: ItemId) -> ItemVersion {
        self.item(id).await.version()
    }

    /// Claims the next item and reports this result.
    pub async fn perform(&self, job: JobKey, result: TransactionResult) -> QueueItem {
        let claimed = self.take(job).await;
        self.report(claimed.claim, result).await.unwrap();
        self.item(claimed.item.id).await
    }

    /// Checks that the counters equal a recount of the rows (lifecycle I18).
    pub async fn check_statistics(&self) {
        let counted = self.orchestrator.queue_statistics(QUEUE).await.unwrap();
        let items = self.list(ItemFilter { queue: Some(QUEUE.to_owned()), ..ItemFilter::default() }).await;
        for status in Status::ALL {
            let found = items.iter().filter(|item| item.status == *status).count();
            assert_eq!(
                counted.with_status(*status),
                i64::try_from(found).unwrap(),
                "{status} in {counted:?}"
            );
        }
        assert_eq!(counted.total(), i64::try_from(items.len()).unwrap());
    }
}

/// Advances the time and sweeps every second. Returns the sum of the sweeps.
pub async fn sweep_for(orchestrator: &dyn Administration, clock: &ManualClock, seconds: u64) -> Swept {
    let mut all = orchestrator.sweep().await.unwrap();
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        let swept = orchestrator.sweep().await.unwrap();
        all.jobs.extend(swept.jobs);
        all.abandoned += swept.abandoned;
    }
    all
}

pub fn new_job() -> NewJob {
    NewJob {
        queue: QUEUE.to_owned(),
        machine: "test".to_owned(),
        process_id: 1,
        version: "0".to_owned(),
        robots: 1,
        lease: Duration::from_secs(30),
    }
}

pub fn take(job: JobKey, count: usize) -> ClaimRequest {
    ClaimRequest { queue: QUEUE.into(), job, robot: Some(1), count, reference: None }
}

pub fn named(reference: &str) -> NewQueueItem {
    NewQueueItem::new(json!({ "name": reference })).reference(reference)
}

pub fn ok() -> TransactionResult {
    TransactionResult::Successful { output: None }
}

pub fn ok_with(output: &serde_json::Value) -> TransactionResult {
    TransactionResult::Successful { output: Some(Output::new(output).unwrap()) }
}

pub fn failed(exception_type: ExceptionType, reason: &str) -> TransactionResult {
    let exception = ProcessingException::new(exception_type, reason, start_of_time());
    TransactionResult::Failed { exception: Some(exception), defer_date: None }
}

pub fn application(reason: &str) -> TransactionResult {
    failed(ExceptionType::ApplicationException, reason)
}

pub fn business(reason: &str) -> TransactionResult {
    failed(ExceptionType::BusinessException, reason)
}

pub fn postponed(defer_date: Timestamp) -> TransactionResult {
    TransactionResult::Postponed { defer_date, due_date: None }
}

/// Checks, for any store, that ended jobs are removed after 30 days unless an item refers to them. Removes all of them.
pub async fn jobs_that_ended_are_removed(store: &Store, clock: &ManualClock) {
    const DAY: u64 = 86_400;
    let days = |days: u64| clock.advance(Duration::from_secs(days * DAY));
    let (removed, limit) = (async |limit| store.remove_ended(limit, async || {}).await.unwrap().jobs, 2);
    let listed = async || {
        let jobs = store.list_jobs(100).await.unwrap();
        jobs.into_iter().map(|job| job.key).collect::<Vec<_>>()
    };
    let policy = QueuePolicy { retention_days: 100, ..QueuePolicy::default() };
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    let item = store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let took = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(took, 1))).await.claimed.unwrap().items;
    let report = Report { claim: taken[0].claim, result: ok(), progress: None };
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    let mut unused = Vec::new();
    for _ in 0..5 {
        unused.push(store.start_job(new_job()).await.unwrap());
    }
    let lives = store.start_job(new_job()).await.unwrap();
    for job in unused.iter().chain([&took]) {
        store.end_job(*job, performer::JobState::Successful.into()).await.unwrap();
    }
    days(29);
    assert_eq!(removed(limit).await, 0, "not before 30 days");
    days(2);
    store.beat(lives).await.unwrap();
    let late = store.start_job(new_job()).await.unwrap();
    store.end_job(late, performer::JobState::Successful.into()).await.unwrap();
    assert_eq!(removed(limit).await, 5);
    let left = listed().await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!([took, lives, late].iter().all(|job| left.contains(job)), "{left:?}");
    let shown = store.get_queue_item(item.id).await.unwrap();
    assert_eq!(shown.executor_job, Some(took), "an item names it");
    days(100);
    assert_eq!(store.apply_retention(10).await.unwrap(), 1);
    assert_eq!(removed(limit).await, 2, "and when the item is gone, the job goes");
    assert_eq!(listed().await, [lives]);
}
