//! How long previews and acts take: `cargo test --workspace --all-features --test operations -- --ignored --nocapture --test-threads 1`.

use tokio::time::Instant;

use performer::model::operation::{MAX_ITEMS, OperationState};
use performer::model::query::{Field, Order};
use performer::{ItemFilter, ReviewStatus, Status};

use crate::{World, retry};

async fn measure(store: &str, world: World) {
    world.fail(500).await;
    let began = Instant::now();
    let preview = world.preview(retry()).await;
    println!("{store}: preview of 500: {:?}", began.elapsed());
    world.start(preview.id).await;
    let began = Instant::now();
    world.run().await;
    println!("{store}: 500 retried: {:?}", began.elapsed());
    let done = world.operation(preview.id).await;
    assert_eq!((done.state, done.done), (OperationState::Done, 500));
    world.succeed(500).await;
    for _ in 0..MAX_ITEMS / 4_000 {
        world.fail(4_000).await;
    }
    let order = Order { field: Field::Id, descending: false };
    let filter =
        ItemFilter::default().status([Status::Failed]).review_status([ReviewStatus::None]).order([order]);
    let began = Instant::now();
    let preview = world.preview_of(retry(), filter).await;
    println!("{store}: preview of {}: {:?}", preview.total, began.elapsed());
    assert_eq!(preview.total, MAX_ITEMS as u64);
    let mut now = world.start(preview.id).await;
    let began = Instant::now();
    for _ in 0..20 {
        now = world.store.step_operation(now.id, now.version).await.unwrap();
    }
    println!("{store}: {} of them retried: {:?}", now.done, began.elapsed());
}

#[tokio::test]
#[ignore = "measures, and takes minutes"]
async fn on_sqlite() {
    measure("sqlite", World::sqlite().await).await;
}

#[tokio::test]
#[ignore = "measures, and takes minutes"]
async fn on_postgres() {
    measure("postgres", World::postgres().await).await;
}
