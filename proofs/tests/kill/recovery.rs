//! How soon the items of a dead process are released, and that none of a live process are.

use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::Outcome;
use performer::{ItemFilter, NewQueueDefinition, Page, QueueItem, Status};

use super::victim::{self, QUEUE, runtime};
use super::world::World;
use performer_proofs::observers::checker::check;
use performer_proofs::observers::ledger::{CallOutcome, Record};

const LEASE: Duration = Duration::from_millis(1_000);

/// A store with items that are slow to process.
fn filled(mut world: World, what: &str, milliseconds: u64, items: usize) -> World {
    world.lease = LEASE;
    let runtime = runtime();
    let store = world.connect(&runtime);
    runtime.block_on(async {
        store.create_queue(NewQueueDefinition::new(QUEUE).policy(victim::policy())).await.unwrap();
        for number in 0..items {
            let reference = format!("r-{number}");
            store.add_queue_item(QUEUE, victim::item(&reference, what, milliseconds)).await.unwrap();
            world.ledger.write(Record::Added { reference, told: CallOutcome::Yes });
        }
    });
    world
}

fn items(world: &World) -> Vec<QueueItem> {
    let runtime = runtime();
    let store = world.connect(&runtime);
    let filter = ItemFilter::default().queue(QUEUE);
    runtime.block_on(store.list_queue_items(filter, Page::default())).unwrap().items
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not happen");
}

/// Kills a process that holds items while another one can notice. Returns when it was killed, and when the last of its
/// items was abandoned. `prepare` is called before the kill.
fn recovery(world: World, prepare: impl Fn(&World)) -> (Timestamp, Timestamp) {
    let mut world = filled(world, "sleep", 60_000, 3);
    let victim = world.spawn("perform", 0, None);
    wait_until("the first take", || items(&world).iter().all(|item| item.status == Status::InProgress));
    let other = world.spawn("perform", 0, None);
    // Until the other process has a job too, and has swept for a while.
    std::thread::sleep(LEASE + LEASE / 2);
    prepare(&world);
    let killed = world.kill(victim);
    let abandoned = |world: &World| {
        let items = items(world);
        let lost: Vec<_> =
            items.into_iter().filter(|item| item.outcome == Some(Outcome::Abandoned)).collect();
        (lost.len() == 3).then(|| lost.iter().filter_map(|item| item.end_processing).max().unwrap())
    };
    wait_until("the recovery", || abandoned(&world).is_some());
    let last = abandoned(&world).unwrap();
    world.kill(other);
    (killed, last)
}

fn recovered_within(limit: Duration, times: usize, recovery: impl Fn() -> (Timestamp, Timestamp)) {
    let mut worst = Duration::ZERO;
    for _ in 0..times {
        let (killed, last) = recovery();
        let took = Duration::try_from(last.duration_since(killed)).unwrap_or_default();
        worst = worst.max(took);
    }
    assert!(worst <= limit, "it took {worst:?}, {limit:?} are allowed");
    println!("recovered after at most {worst:.1?} of {limit:?}");
}

pub fn by_the_lock_file() {
    recovered_within(Duration::from_secs(2), 5, || recovery(World::new(), |_| {}));
}

pub fn by_the_lease() {
    // As on a file system without locks: only the lease decides. Its beats end with the process.
    let without_locks = |world: &World| {
        std::fs::remove_dir_all(world.path().join("queue.db-jobs")).unwrap();
    };
    recovered_within(LEASE + Duration::from_secs(1), 5, || recovery(World::new(), without_locks));
}

pub fn by_the_lease_on_postgres() {
    recovered_within(LEASE + Duration::from_secs(1), 3, || {
        let schema = performer_proofs::postgres::Schema::new();
        recovery(World::on(&schema.url, LEASE), |_| {})
    });
}

/// Handlers that block their threads, or keep every processor busy, for three leases.
pub fn no_false_abandonment() {
    for what in ["block", "burn"] {
        let mut world = filled(World::new(), what, 3_000, 8);
        let (first, second) = (world.spawn("perform", 0, None), world.spawn("perform", 0, None));
        wait_until("the end of all items", || items(&world).iter().all(|item| item.status.is_final()));
        for process in [first, second] {
            world.kill(process);
        }
        let evidence = world.evidence(Vec::new());
        assert_eq!(check(&evidence), Vec::<String>::new());
        let abandoned = evidence.store.items.iter().filter(|item| item.outcome == Some(Outcome::Abandoned));
        assert_eq!(abandoned.count(), 0, "{what}");
        assert_eq!(evidence.store.items.len(), 8, "each ran once");
    }
}
