//! Acts on many items: how long a preview takes, and until all are retried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use performer::ReviewStatus;
use performer::model::operation::{Act, ItemOperation, OperationState, Plan};
use performer::model::{FolderId, ItemFilter, PAGE_LIMIT, Page, Person, Status};
use performer::orchestrator::ItemAdministration as _;
use performer::orchestrator::store::{OperationItems, Store};
use performer_benches::{Bar, Bench, Unit, print_line};
use tokio::runtime::Runtime;

use crate::store::QUEUE;

/// How many rows a person selects, and how long their preview, and their retry, may take.
const ROWS: usize = 500;
const PREVIEW_OF_ROWS: Duration = Duration::from_millis(300);
const RETRY_OF_ROWS: Duration = Duration::from_secs(1);
/// All items of the queue that failed or wait, and how long their preview may take.
const ALL: u64 = 100_000;
const PREVIEW_OF_ALL: Duration = Duration::from_secs(3);
/// How often each is done; the slowest time counts.
const ROUNDS: usize = 5;

pub(crate) fn figures(bench: &Bench, runtime: &Runtime, engine: &str, store: &Store) {
    let rounds = |name: &str, bar: Duration, count: usize, round: &dyn Fn() -> Duration| {
        let name = format!("{engine}.desk.{name}");
        if bench.wants(&name) {
            let slowest = (0..count).map(|_| round()).max().unwrap_or_default();
            print_line(&name, Unit::Time, Bar::AtMost(1.0), slowest.as_secs_f64(), bar.as_secs_f64());
        }
    };
    rounds("preview.500", PREVIEW_OF_ROWS, ROUNDS, &|| {
        runtime.block_on(async { preview_of_rows(store).await.0 })
    });
    rounds("preview.100000", PREVIEW_OF_ALL, 2, &|| runtime.block_on(preview_of_all(store)));
    rounds("retry.500", RETRY_OF_ROWS, ROUNDS, &|| runtime.block_on(retry_of_rows(store)));
}

/// A preview, each by another user, because one has a limited number of them.
async fn preview(store: &Store, act: Act, which: OperationItems) -> (Duration, ItemOperation) {
    let by = Person { user_id: Some(fastrand::i64(1..)), user_name: Some("bench".to_owned()) };
    let folders = Arc::new([FolderId::SHARED]);
    let began = Instant::now();
    let made = store.preview_operation(folders, (Plan::new(act), by), which, None).await.expect("a preview");
    (began.elapsed(), made)
}

async fn preview_of_rows(store: &Store) -> (Duration, ItemOperation) {
    let failed =
        ItemFilter::default().queue(QUEUE).status([Status::Failed]).review_status([ReviewStatus::None]);
    let (mut rows, mut after) = (Vec::with_capacity(ROWS), None);
    while rows.len() < ROWS {
        let page = Page::first(PAGE_LIMIT).descending(true).count_limit(0).after(after);
        let page = store.list_queue_items(failed.clone(), page).await.expect("items");
        after = page.next(&failed);
        assert!(after.is_some(), "{} items failed", rows.len());
        rows.extend(page.items.iter().map(performer::QueueItem::version));
    }
    preview(store, Act::Retry, OperationItems::These(rows)).await
}

async fn preview_of_all(store: &Store) -> Duration {
    let all = ItemFilter::default().queue(QUEUE).status([Status::Failed, Status::New]);
    let (took, made) = preview(store, Act::Delete, OperationItems::Matching(Box::new(all))).await;
    assert!(made.total.abs_diff(ALL) < ALL / 20, "{} items", made.total);
    took
}

async fn retry_of_rows(store: &Store) -> Duration {
    let (_, made) = preview_of_rows(store).await;
    let began = Instant::now();
    let mut operation = store.start_operation(made.id, None).await.expect("a start");
    while operation.state == OperationState::Running {
        operation = store.step_operation(operation.id, operation.version).await.expect("a step");
    }
    assert_eq!((operation.state, operation.done), (OperationState::Done, ROWS as u64));
    began.elapsed()
}
