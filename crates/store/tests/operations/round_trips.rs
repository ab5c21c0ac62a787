//! Over a network an act on many items takes as many round trips as an act on a few.

use performer::model::operation::{Act, Plan};
use performer::orchestrator::store::{OperationItems, Store};
use performer::orchestrator::{ItemAdministration as _, ReviewAdministration as _};
use performer::{ItemFilter, ItemId, ItemVersion, Page, ReviewStatus, Status};
use performer_proofs::cutting_proxy::Proxy;

use crate::{World, retry};

const ITEMS: usize = 100;

/// A transaction begins, reads the operation, its items, their rows and their queue, locks the rows, draws ids, and looks at the audit;
/// it ends with a commit.
const MOST: usize = 10;

/// A database that is reached through a proxy.
struct Remote {
    world: World,
    proxy: Proxy,
    store: Store,
}

impl Remote {
    async fn open() -> Self {
        let world = World::postgres().await;
        let proxy = Proxy::counting_round_trips(world.url());
        let store = Store::postgres_with_clock(&proxy.url(), world.clock.clone()).await.unwrap();
        Self { world, proxy, store }
    }

    async fn versions(&self, ids: &[ItemId]) -> Vec<ItemVersion> {
        let mut versions = Vec::new();
        for id in ids {
            versions.push(self.world.item(*id).await.version());
        }
        versions
    }

    /// How many round trips an act on the items takes, once its statements are prepared on each connection.
    async fn count(
        &self,
        items: impl AsyncFn(&World) -> Vec<ItemId>,
        act: impl AsyncFn(&Store, Vec<ItemVersion>),
    ) -> usize {
        let mut round_trips = 0;
        for _ in 0..2 {
            let versions = self.versions(&items(&self.world).await).await;
            self.proxy.round_trips();
            act(&self.store, versions).await;
            round_trips = self.proxy.round_trips();
        }
        round_trips
    }
}

/// Items that wait.
async fn new_items(world: &World) -> Vec<ItemId> {
    world.add(ITEMS).await;
    let page = world.store.list_queue_items(ItemFilter::default().status([Status::New]), Page::first(ITEMS));
    page.await.unwrap().items.iter().map(|item| item.id).collect()
}

#[tokio::test]
async fn a_chunk_of_an_operation_takes_a_few_round_trips() {
    let remote = Remote::open().await;
    for plan in [
        retry(),
        retry().comment("as agreed".to_owned()),
        Plan::new(Act::Verify),
        Plan::new(Act::Assign { reviewer: Some(7), not_in: Vec::new() }),
        Plan::new(Act::Purge),
        Plan::new(Act::Delete),
    ] {
        let mut round_trips = 0;
        for _ in 0..2 {
            let mut items = match plan.act {
                Act::Delete => new_items(&remote.world).await,
                Act::Purge => {
                    remote.world.add(ITEMS).await;
                    remote.world.succeed(ITEMS).await
                }
                _ => remote.world.fail(ITEMS).await,
            };
            items.truncate(ITEMS); // the copies of those before have failed too
            let these = OperationItems::These(remote.versions(&items).await);
            let preview = remote.world.previewed(plan.clone(), these).await.unwrap();
            let started = remote.world.start(preview.id).await;
            remote.proxy.round_trips();
            let after = remote.store.step_operation(started.id, started.version).await.unwrap();
            round_trips = remote.proxy.round_trips();
            assert_eq!((after.done, after.refused), (ITEMS as u64, 0), "{}", plan.act);
        }
        assert!(round_trips <= MOST, "{}: {round_trips} round trips", plan.act);
    }
}

#[tokio::test]
async fn an_act_on_named_items_takes_a_few_round_trips() {
    let remote = Remote::open().await;
    let failed = async |world: &World| world.fail(ITEMS).await;
    let retried = remote.count(failed, async |store, items| {
        let refused = store.set_review_status(ReviewStatus::Retried, items).await.unwrap();
        assert!(refused.is_empty());
    });
    let assigned = remote.count(failed, async |store, items| {
        assert!(store.set_reviewer(Some(7), items).await.unwrap().is_empty());
    });
    let deleted = remote.count(failed, async |store, items| {
        assert!(store.delete_queue_items(items).await.unwrap().is_empty());
    });
    for (act, round_trips) in
        [("retried", retried.await), ("assigned", assigned.await), ("deleted", deleted.await)]
    {
        assert!(round_trips <= MOST, "{act}: {round_trips} round trips");
    }
}
