//! Kills a process in the middle of an operation on many items. What it leaves is a whole number of chunks, and another process goes
//! on: no item is retried twice, and none is left out.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use performer::model::operation::{Act, CHUNK, ItemResult, OperationId, OperationState, Plan};
use performer::model::{FolderId, Person};
use performer::orchestrator::store::{OperationItems, Store};
use performer::orchestrator::{CommitType, Report};
use performer::prelude::*;
use performer::{ItemFilter, ItemId, Page, ReviewStatus};
use performer_proofs::postgres::Schema;

use super::victim::{self, QUEUE, open_store, runtime};
use super::world::World;

/// Two chunks, and a part of a third one.
const ITEMS: usize = 2 * CHUNK + 50;

const ABORTED: Option<i32> = Some(6);

/// Where the process ends by itself: before, within and behind each chunk and its commit.
const POINTS: [&str; 9] = [
    "operation.before=1",
    "operation.between_items=1",
    "operation.between_items=199",
    "operation.after_write=1",
    "commit.before_commit=2",
    "operation.after_commit=1",
    "operation.between_items=333",
    "operation.before_copy=401",
    "operation.after_commit=3",
];

/// How many processes are killed at other times, and the longest time that they have, in milliseconds.
const KILLS: u64 = 8;
const LONGEST: u64 = 60;

pub fn on_a_file() {
    kills(World::new);
}

pub fn on_postgres() {
    let mut schemas = Vec::new();
    kills(|| {
        let schema = Schema::new();
        let world = World::on(&schema.url, Duration::from_secs(30));
        schemas.push(schema);
        world
    });
}

fn kills(mut new_world: impl FnMut() -> World) {
    let runtime = runtime();
    let mut ended = [0, 0, 0, 0];
    for case in POINTS {
        let mut world = new_world();
        let id = runtime.block_on(prepare(&world));
        let process = world.spawn("operate", 0, Some(case));
        assert_eq!(world.wait_for_end(process).signal(), ABORTED, "{case}: it never came by");
        ended[runtime.block_on(check(&world, id, case))] += 1;
    }
    for kill in 0..KILLS {
        let mut world = new_world();
        let id = runtime.block_on(prepare(&world));
        let process = world.spawn("operate", 0, None);
        std::thread::sleep(Duration::from_millis(1 + kill * LONGEST / KILLS));
        world.kill(process);
        ended[runtime.block_on(check(&world, id, &format!("kill {kill}")))] += 1;
    }
    println!("{} processes ended within an operation, after {ended:?} chunks", ended.iter().sum::<usize>());
}

/// Makes a store with failed items, and starts an operation that retries them.
async fn prepare(world: &World) -> OperationId {
    let store = open_store(&world.store()).await.unwrap();
    let policy = QueuePolicy::default().max_number_of_retries(0);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    let items = (0..ITEMS).map(|number| victim::item(&number.to_string(), "business", 0)).collect();
    let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(added.added, ITEMS as u64);
    let job = store.start_job(victim::new_job()).await.unwrap();
    let claimed = store.report_and_claim(Vec::new(), Some(victim::take(job, ITEMS))).await.claimed.unwrap();
    let reports =
        claimed.items.iter().map(|item| Report::new(item.claim, performer_proofs::business("wrong")));
    let answer = store.report_and_claim(reports.collect(), None).await;
    assert!(answer.reports.len() == ITEMS && answer.reports.iter().all(Result::is_ok));
    let which = OperationItems::Matching(Box::new(ItemFilter::default().status([Status::Failed])));
    let by = (Plan::new(Act::Retry), Person::default());
    let preview = store.preview_operation(Arc::new([FolderId::SHARED]), by, which, None).await.unwrap();
    store.start_operation(preview.id, None).await.unwrap().id
}

/// Does the steps of all operations, until none is due: the program that is killed.
pub async fn operate(store: &Store) {
    while store.step_due_operations().await.unwrap() > 0 {}
}

/// Checks what the process left, goes on, and checks the end. Returns how many chunks were there.
async fn check(world: &World, id: OperationId, case: &str) -> usize {
    let store = open_store(&world.store()).await.unwrap();
    let left = store.operation(id, None).await.unwrap();
    let done = usize::try_from(left.done).unwrap();
    assert!(done.is_multiple_of(CHUNK) || done == ITEMS, "{case}: {done} are done");
    agree(&store, id, done, case).await;
    operate(&store).await;
    let end = store.operation(id, None).await.unwrap();
    assert_eq!((end.state, end.refused), (OperationState::Done, 0), "{case}");
    agree(&store, id, ITEMS, case).await;
    done.div_ceil(CHUNK)
}

/// Checks that the operation, its items, and the copies that there are agree.
async fn agree(store: &Store, id: OperationId, done: usize, case: &str) {
    let items = store.operation_items((id, None), false, 0, 1_000).await.unwrap();
    let copies: Vec<ItemId> = items
        .iter()
        .filter_map(|item| match item.result {
            ItemResult::Done { copy } => copy,
            _ => None,
        })
        .collect();
    assert_eq!((items.len(), copies.len()), (ITEMS, done), "{case}");
    let statistics = store.queue_statistics(QUEUE).await.unwrap();
    assert_eq!(statistics.new, i64::try_from(done).unwrap(), "{case}: a copy of each, and no other");
    let retried = ItemFilter::default().review_status([ReviewStatus::Retried]);
    let retried = store.list_queue_items(retried, Page::first(1)).await.unwrap();
    assert_eq!(retried.count, done as u64, "{case}: the originals");
    // A chain takes several queries: some of each chunk will do, because the numbers agree.
    for (item, copy) in items.iter().zip(&copies).step_by(7) {
        let chain = store.processing_history(item.item.id).await.unwrap();
        assert_eq!(chain.iter().map(|item| item.id).collect::<Vec<_>>(), [item.item.id, *copy], "{case}");
    }
}
