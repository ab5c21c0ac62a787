//! How previews and operations are kept and removed, and how many there may be.

use performer::model::operation::{Act, MAX_PREVIEWS, OperationState, Plan};
use performer::orchestrator::store::OperationItems;
use performer::{ErrorKind, ItemFilter};

use crate::{World, on_every_store, retry};

on_every_store!(
    a_preview_is_kept_for_ten_minutes,
    an_operation_is_kept_for_thirty_days,
    one_user_has_a_limited_number_of_previews,
    writers_at_the_same_time_make_no_more_previews,
    a_preview_of_many_items_is_kept_in_parts,
    operations_are_listed_with_their_items,
);

const DAY: u64 = 86_400;

async fn removed(world: &World) -> u64 {
    world.store.remove_operations(async || {}).await.unwrap()
}

async fn a_preview_is_kept_for_ten_minutes(world: World) {
    world.fail(3).await;
    let preview = world.preview(retry()).await;
    assert_eq!((preview.state, preview.total, preview.kept), (OperationState::Preview, 3, 3));
    assert_eq!((world.run().await, world.waiting().await), (0, 0), "nothing is done");
    world.advance(600);
    assert_eq!(removed(&world).await, 0);
    world.advance(1);
    let error = world.store.start_operation(preview.id, None).await.unwrap_err();
    assert!(error.to_string().contains("ten minutes ago"), "{error}");
    assert_eq!(removed(&world).await, 1);
    assert!(world.store.operation(preview.id, None).await.unwrap_err().is_not_found());
    assert!(world.store.start_operation(preview.id, None).await.unwrap_err().is_not_found());
    assert!(world.preview(retry()).await.id > preview.id, "its number is not used again");
}

async fn an_operation_is_kept_for_thirty_days(world: World) {
    world.fail(3).await;
    let done = world.begin(Plan::new(Act::PutInReview)).await;
    world.run().await;
    let stopped = world.begin(Plan::new(Act::Verify)).await;
    world.store.stop_operation(stopped.id, None, crate::ann()).await.unwrap();
    let running = world.begin(retry().pace(1)).await;
    world.run().await;
    world.advance(30 * DAY);
    assert_eq!(removed(&world).await, 0);
    world.advance(1);
    assert_eq!(removed(&world).await, 2);
    for id in [done.id, stopped.id] {
        assert!(world.store.operation(id, None).await.unwrap_err().is_not_found());
    }
    assert_eq!(world.operation(running.id).await.state, OperationState::Running);
}

async fn one_user_has_a_limited_number_of_previews(world: World) {
    world.fail(1).await;
    let mut last = None;
    for _ in 0..MAX_PREVIEWS {
        last = Some(world.preview(retry()).await.id);
    }
    let which = || OperationItems::Matching(Box::default());
    let error = world.previewed(retry(), which()).await.unwrap_err();
    assert_eq!((error.kind(), error.code().unwrap().number()), (ErrorKind::Conflict, 1302));
    world.start(last.unwrap()).await;
    world.previewed(retry(), which()).await.unwrap();
    world.advance(601);
    world.previewed(retry(), which()).await.unwrap();
    for plan in [Plan::new(Act::Comment), retry().pace(0)] {
        assert!(world.previewed(plan, which()).await.unwrap_err().is_invalid());
    }
    let nowhere = OperationItems::Matching(Box::new(ItemFilter::default().queue("Nowhere")));
    assert!(world.previewed(retry(), nowhere).await.unwrap_err().is_not_found());
}

async fn writers_at_the_same_time_make_no_more_previews(world: World) {
    world.fail(1).await;
    let stores = [world.store.clone(), world.again().await, world.again().await];
    let mut making = tokio::task::JoinSet::new();
    for number in 0..3 * MAX_PREVIEWS {
        let store = stores[number % stores.len()].clone();
        making.spawn(async move {
            let by = performer::model::Person { user_id: Some(7), user_name: None };
            let folders = std::sync::Arc::new([performer::model::FolderId::SHARED]);
            let which = OperationItems::Matching(Box::default());
            store.preview_operation(folders, (retry(), by), which, None).await.is_ok()
        });
    }
    assert_eq!(making.join_all().await.into_iter().filter(|made| *made).count(), MAX_PREVIEWS);
}

async fn a_preview_of_many_items_is_kept_in_parts(world: World) {
    const MANY: usize = 5_001; // one more than a commit keeps
    for _ in 0..3 {
        world.add(MANY / 3).await;
    }
    let preview = world.preview_of(Plan::new(Act::Delete), ItemFilter::default()).await;
    assert_eq!((preview.state, preview.total, preview.kept), (OperationState::Preview, 5_001, 5_001));
    let last = world.store.operation_items((preview.id, None), false, 4_999, 10).await.unwrap();
    assert_eq!(last.iter().map(|item| item.place).collect::<Vec<_>>(), [4_999, 5_000]);
    world.advance(601);
    assert_eq!(removed(&world).await, 1);
}

async fn operations_are_listed_with_their_items(world: World) {
    let failed = world.fail(5).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, world.preview(retry()).await.id);
    }
    let listed = async |before, limit| {
        let found = world.store.list_operations(None, before, limit).await.unwrap();
        found.operations.into_iter().map(|operation| operation.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 10).await, ids);
    assert_eq!(listed(None, 2).await, ids[..2]);
    assert_eq!(listed(Some(ids[1]), 2).await, ids[2..]);
    for limit in [0, 1_001] {
        assert!(world.store.list_operations(None, None, limit).await.unwrap_err().is_invalid());
        let items = world.store.operation_items((ids[0], None), false, 0, limit).await;
        assert!(items.unwrap_err().is_invalid());
    }
    let items = world.store.operation_items((ids[0], None), false, 2, 2).await.unwrap();
    let shown: Vec<_> = items.iter().map(|item| (item.place, item.item.id)).collect();
    assert_eq!(shown, [(2, failed[2]), (3, failed[3])]);
    let missing = performer::model::operation::OperationId(99);
    assert!(world.store.operation_items((missing, None), false, 0, 1).await.unwrap_err().is_not_found());
    assert!(world.store.step_operation(missing, 1).await.unwrap_err().is_not_found());
    // The same preview, read by another process.
    let other = world.again().await;
    assert_eq!(other.operation(ids[0], None).await.unwrap(), world.operation(ids[0]).await);
}
