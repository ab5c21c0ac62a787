//! Acts on many items at once, on every store.

mod acts;
mod keeping;
mod round_trips;
mod running;

use std::sync::Arc;
use std::time::Duration;

use performer::model::operation::{Act, ItemOperation, ItemResult, OperationId, OperationItem, Plan};
use performer::model::{FolderId, JobKey, ManualClock, Person};
use performer::orchestrator::store::{OperationItems, Store};
use performer::orchestrator::{
    CommitType, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
};
use performer::{ItemFilter, ItemId, NewQueueDefinition, QueueItem, QueuePolicy, Status};
use performer_proofs::{QUEUE, business, named, new_job, ok, start_of_time, take};

/// A store with its clock, and a way to open it again, as another process does.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    place: Place,
}

enum Place {
    Memory,
    File(tempfile::TempDir),
    Database(performer_proofs::postgres::Schema),
}

impl World {
    pub(crate) async fn memory() -> Self {
        Self::on(Place::Memory).await
    }

    pub(crate) async fn sqlite() -> Self {
        Self::on(Place::File(tempfile::tempdir().unwrap())).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::on(Place::Database(performer_proofs::postgres::Schema::new())).await
    }

    async fn on(place: Place) -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let store = match &place {
            Place::Memory => Store::memory_with_clock(clock.clone()),
            _ => Self::open(&place, &clock).await,
        };
        let policy = QueuePolicy::default().max_number_of_retries(0);
        store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
        Self { store, clock, place }
    }

    async fn open(place: &Place, clock: &Arc<ManualClock>) -> Store {
        match place {
            Place::Memory => unreachable!("a store in memory is in one process"),
            Place::File(folder) => {
                Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap()
            }
            Place::Database(schema) => Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(),
        }
    }

    /// The URL of the database.
    pub(crate) fn url(&self) -> &str {
        match &self.place {
            Place::Database(schema) => &schema.url,
            _ => unreachable!("only a database has one"),
        }
    }

    /// The store, opened once more.
    pub(crate) async fn again(&self) -> Store {
        match &self.place {
            Place::Memory => self.store.clone(),
            place => Self::open(place, &self.clock).await,
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Adds items.
    pub(crate) async fn add(&self, count: usize) {
        let items = (0..count).map(|number| named(&format!("{number:04}"))).collect();
        let added = self.store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
        assert_eq!(added.added, count as u64);
    }

    /// Claims up to so many items.
    pub(crate) async fn claim(&self, job: JobKey, count: usize) -> Vec<performer::model::ClaimedItem> {
        self.store.report_and_claim(Vec::new(), Some(take(job, count))).await.claimed.unwrap().items
    }

    /// Ends up to so many of the waiting items as `result` says. Returns them.
    pub(crate) async fn process(
        &self,
        count: usize,
        result: impl Fn() -> performer::model::TransactionResult,
    ) -> Vec<ItemId> {
        let job = self.store.start_job(new_job()).await.unwrap();
        let claimed = self.claim(job, count).await;
        let ids = claimed.iter().map(|claimed| claimed.item.id).collect();
        let reports = claimed.iter().map(|claimed| Report::new(claimed.claim, result())).collect();
        let answer = self.store.report_and_claim(reports, None).await;
        assert!(answer.reports.iter().all(Result::is_ok));
        ids
    }

    /// Adds items that fail.
    pub(crate) async fn fail(&self, count: usize) -> Vec<ItemId> {
        self.add(count).await;
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.extend(self.process(500, || business("the total is wrong")).await);
        }
        ids
    }

    /// Lets the waiting items succeed.
    pub(crate) async fn succeed(&self, count: usize) -> Vec<ItemId> {
        self.process(count, ok).await
    }

    pub(crate) async fn item(&self, id: ItemId) -> QueueItem {
        self.store.get_queue_item(id).await.unwrap()
    }

    pub(crate) async fn statuses(&self, ids: &[ItemId]) -> Vec<Status> {
        let mut statuses = Vec::new();
        for id in ids {
            statuses.push(self.item(*id).await.status);
        }
        statuses
    }

    /// How many items are New.
    pub(crate) async fn waiting(&self) -> i64 {
        self.store.queue_statistics(QUEUE).await.unwrap().new
    }

    /// A preview of all failed items, the oldest first.
    pub(crate) async fn preview(&self, plan: Plan) -> ItemOperation {
        let order =
            performer::model::query::Order { field: performer::model::query::Field::Id, descending: false };
        self.preview_of(plan, ItemFilter::default().status([Status::Failed]).order([order])).await
    }

    pub(crate) async fn preview_of(&self, plan: Plan, filter: ItemFilter) -> ItemOperation {
        let which = OperationItems::Matching(Box::new(filter));
        self.previewed(plan, which).await.unwrap()
    }

    pub(crate) async fn previewed(
        &self,
        plan: Plan,
        which: OperationItems,
    ) -> performer::orchestrator::Result<ItemOperation> {
        let folders = Arc::new([FolderId::SHARED]);
        self.store.preview_operation(folders, (plan, ann()), which, Some("status=Failed".to_owned())).await
    }

    pub(crate) async fn start(&self, id: OperationId) -> ItemOperation {
        self.store.start_operation(id, None).await.unwrap()
    }

    /// Previews and starts an act on all failed items.
    pub(crate) async fn begin(&self, plan: Plan) -> ItemOperation {
        let preview = self.preview(plan).await;
        self.start(preview.id).await
    }

    pub(crate) async fn operation(&self, id: OperationId) -> ItemOperation {
        self.store.operation(id, None).await.unwrap()
    }

    /// Does what is due now. Returns how many steps that were.
    pub(crate) async fn run(&self) -> usize {
        run(&self.store).await
    }

    pub(crate) async fn items_of(&self, id: OperationId) -> Vec<OperationItem> {
        self.store.operation_items((id, None), false, 0, 1_000).await.unwrap()
    }

    /// The copies that an operation made.
    pub(crate) async fn copies(&self, id: OperationId) -> Vec<ItemId> {
        let items = self.items_of(id).await;
        items
            .iter()
            .filter_map(|item| match item.result {
                ItemResult::Done { copy } => copy,
                _ => None,
            })
            .collect()
    }

    /// The codes with which an operation refused items.
    pub(crate) async fn codes(&self, id: OperationId) -> Vec<(ItemId, u16)> {
        let refused = self.store.operation_items((id, None), true, 0, 1_000).await.unwrap();
        refused
            .iter()
            .map(|item| match &item.result {
                ItemResult::Refused(refusal) => (item.item.id, refusal.code().number()),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

pub(crate) async fn run(store: &Store) -> usize {
    let mut steps = 0;
    loop {
        match store.step_due_operations().await.unwrap() {
            0 => return steps,
            done => steps += usize::try_from(done).unwrap(),
        }
    }
}

pub(crate) fn ann() -> Person {
    Person { user_id: Some(7), user_name: Some("Ann".to_owned()) }
}

pub(crate) fn retry() -> Plan {
    Plan::new(Act::Retry)
}

macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::World::memory().await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::World::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::World::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_every_store;
