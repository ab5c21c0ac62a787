//! A back end under test, its clock, and short methods for frequent calls.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use performer::model::{
    Claim, ClaimedItem, Clock, ItemFilter, ItemId, ItemVersion, JobKey, ManualClock, NewQueueDefinition,
    NewQueueItem, Page, QueueItem, QueuePolicy, Status, TransactionResult,
};
use performer::orchestrator::{Administration, Report, Result, Swept};

use crate::requests::{QUEUE, named, new_job, take};

/// A back end under test: empty, and with a clock that stands still until the check advances it.
///
/// The methods panic where the back end refuses a call, unless they return its [`Result`].
#[derive(Debug)]
pub struct Fixture {
    /// The back end.
    pub orchestrator: Arc<dyn Administration>,
    /// The clock by which the back end decides.
    pub clock: Arc<ManualClock>,
    kept: Vec<Box<dyn Any + Send>>,
}

impl Fixture {
    /// A fixture over a back end and the clock that it was made with, which should show [`start_of_time`].
    pub fn new(orchestrator: Arc<dyn Administration>, clock: Arc<ManualClock>) -> Self {
        Self { orchestrator, clock, kept: Vec::new() }
    }

    /// Keeps a value until the end of the check, such as the folder or the server of the back end. Values are dropped after the
    /// back end, in the order in which they were added.
    #[must_use]
    pub fn keeping(mut self, value: impl Any + Send) -> Self {
        self.kept.push(Box::new(value));
        self
    }

    /// Adds [`QUEUE`] with this policy.
    pub async fn with_queue(self, policy: QueuePolicy) -> Self {
        self.orchestrator.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
        self
    }

    /// The time that the clock shows.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time in so many seconds.
    pub fn after(&self, seconds: u64) -> Timestamp {
        self.now() + Duration::from_secs(seconds)
    }

    /// Lets so many seconds pass.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Lets so many seconds pass, and sweeps every second: see [`sweep_for`].
    pub async fn sweep_for(&self, seconds: u64) -> Swept {
        sweep_for(&*self.orchestrator, &self.clock, seconds).await
    }

    /// Starts a [`new_job`].
    pub async fn job(&self) -> JobKey {
        self.orchestrator.start_job(new_job()).await.unwrap()
    }

    /// Adds an item to [`QUEUE`].
    pub async fn add(&self, item: NewQueueItem) -> QueueItem {
        self.orchestrator.add_queue_item(QUEUE, item).await.unwrap()
    }

    /// Adds the item of this name: see [`named`].
    pub async fn add_named(&self, reference: &str) -> QueueItem {
        self.add(named(reference)).await
    }

    /// Claims up to `count` items.
    pub async fn take_many(&self, job: JobKey, count: usize) -> Vec<ClaimedItem> {
        let answer = self.orchestrator.report_and_claim(Vec::new(), Some(take(job, count))).await;
        answer.claimed.unwrap().items
    }

    /// Claims the next item, if there is one.
    pub async fn try_take(&self, job: JobKey) -> Option<ClaimedItem> {
        self.take_many(job, 1).await.pop()
    }

    /// Claims the next item.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn take(&self, job: JobKey) -> ClaimedItem {
        self.try_take(job).await.expect("an item can be taken")
    }

    /// Claims all items, one by one, and returns their references in the order of the claims.
    pub async fn take_all(&self, job: JobKey) -> Vec<String> {
        let mut references = Vec::new();
        while let Some(claimed) = self.try_take(job).await {
            references.push(claimed.item.reference.clone().unwrap_or_default());
        }
        references
    }

    /// Reports a result.
    ///
    /// # Errors
    ///
    /// Those of the back end.
    pub async fn report(&self, claim: Claim, result: TransactionResult) -> Result<Status> {
        let report = Report::new(claim, result);
        self.orchestrator.report_and_claim(vec![report], None).await.reports.pop().unwrap()
    }

    /// Reads an item.
    pub async fn item(&self, id: ItemId) -> QueueItem {
        self.orchestrator.get_queue_item(id).await.unwrap()
    }

    /// All items that match a filter, read page by page.
    pub async fn list(&self, filter: ItemFilter) -> Vec<QueueItem> {
        let mut items = Vec::new();
        loop {
            let page = Page::default().skip(items.len());
            let found = self.orchestrator.list_queue_items(filter.clone(), page).await.unwrap();
            items.extend(found.items);
            if items.len() as u64 >= found.count {
                return items;
            }
        }
    }

    /// The current version of an item.
    pub async fn version(&self, id: ItemId) -> ItemVersion {
        self.item(id).await.version()
    }

    /// Claims the next item, reports this result, and returns the item as it is then.
    pub async fn perform(&self, job: JobKey, result: TransactionResult) -> QueueItem {
        let claimed = self.take(job).await;
        self.report(claimed.claim, result).await.unwrap();
        self.item(claimed.item.id).await
    }

    /// Checks that the statistics of [`QUEUE`] equal a recount of its items (lifecycle I18).
    ///
    /// # Panics
    ///
    /// If they do not.
    pub async fn check_statistics(&self) {
        let counted = self.orchestrator.queue_statistics(QUEUE).await.unwrap();
        let items = self.list(ItemFilter::default().queue(QUEUE)).await;
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

/// When the checks begin: 2026-03-01T08:00:00Z.
pub fn start_of_time() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().unwrap()
}

/// Sweeps, then advances the clock by so many seconds and sweeps after each. Returns the sum of the sweeps.
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
