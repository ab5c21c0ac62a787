//! What a rolling update does to items in progress: a new instance is started, then an old one is stopped by SIGTERM, and so on.
//!
//! An instance that is stopped finishes what runs. What takes longer than its grace period is interrupted and given back, and
//! another instance runs it again. Either way nothing is lost, no retry is used, nothing is Abandoned, and nothing succeeds twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use performer::{Administration, CommitType, ItemId, NewQueueDefinition, Status};

use super::recovery::wait_until;
use super::victim::{self, QUEUE, runtime};
use super::world::{Process, World};
use performer_proofs::observers::checker::{Evidence, check};
use performer_proofs::observers::ledger::{self, CallOutcome, Record, RunEnd};

/// How many instances run before and after each step.
const INSTANCES: usize = 2;
/// How many instances are replaced.
const REPLACED: usize = 6;
/// Longer than any transaction here.
const LONG: usize = 30_000;

/// Adds items as they are needed, so that there is work however long the instances take to start.
struct Feed {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Administration>,
    /// How long an item takes, in milliseconds.
    milliseconds: u64,
    added: usize,
}

impl Feed {
    const AT_LEAST: usize = 16;

    fn new(world: &World, milliseconds: u64) -> Self {
        let runtime = runtime();
        let store = world.connect(&runtime);
        let queue = NewQueueDefinition::new(QUEUE).policy(victim::policy());
        runtime.block_on(store.create_queue(queue)).unwrap();
        Self { runtime, store, milliseconds, added: 0 }
    }

    /// Adds items if few wait.
    fn fill(&mut self, world: &World) {
        let waiting = self.runtime.block_on(self.store.queue_statistics(QUEUE)).unwrap().new;
        if waiting >= Self::AT_LEAST as i64 {
            return;
        }
        let references: Vec<String> =
            (0..Self::AT_LEAST).map(|number| format!("r-{}", self.added + number)).collect();
        let items = references.iter().map(|reference| victim::item(reference, "sleep", self.milliseconds));
        let adding = self.store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items.collect());
        assert_eq!(self.runtime.block_on(adding).unwrap().added, references.len() as u64);
        self.added += references.len();
        for reference in references {
            world.ledger.write(Record::Added { reference, told: CallOutcome::Yes });
        }
    }
}

/// The runs of each process that have begun and not ended, as far as the ledger is written.
fn running(world: &World) -> BTreeMap<String, usize> {
    let mut running: BTreeMap<String, usize> = BTreeMap::new();
    for record in ledger::read_so_far(&world.path().join("ledger")) {
        match record {
            Record::Started { process, .. } => *running.entry(process).or_default() += 1,
            Record::Ended { process, .. } => *running.entry(process).or_default() -= 1,
            _ => {}
        }
    }
    running
}

/// Waits until a process is in the middle of an item.
fn wait_for_an_item(world: &World, feed: &mut Feed, process: &Process) {
    wait_until("the middle of an item", || {
        feed.fill(world);
        running(world).get(&process.name).is_some_and(|runs| *runs > 0)
    });
}

/// Replaces instances one after the other while they work, then stops all. Each of them has to end in order.
fn update(mut world: World, milliseconds: u64, grace_period: usize) -> (Evidence, usize) {
    let mut feed = Feed::new(&world, milliseconds);
    let mut instances: VecDeque<Process> = VecDeque::new();
    for _ in 0..INSTANCES + REPLACED {
        let new = world.spawn("serve", grace_period, None);
        wait_for_an_item(&world, &mut feed, &new);
        instances.push_back(new);
        if instances.len() > INSTANCES {
            let old = instances.pop_front().unwrap();
            wait_for_an_item(&world, &mut feed, &old);
            stop(&mut world, old);
        }
    }
    for process in instances {
        stop(&mut world, process);
    }
    (world.evidence(Vec::new()), feed.added)
}

/// Stops an instance by SIGTERM. It ends with success, and leaves nothing in progress.
fn stop(world: &mut World, process: Process) {
    world.terminate(&process);
    let name = process.name.clone();
    let status = world.wait_for_end(process);
    assert!(status.success(), "{name}: {status}");
    assert_eq!(running(world).get(&name), Some(&0), "{name} left nothing running");
}

/// How the runs of each item ended.
fn ends(evidence: &Evidence) -> BTreeMap<ItemId, Vec<RunEnd>> {
    let mut items: BTreeMap<(&str, u64), ItemId> = BTreeMap::new();
    let mut ends: BTreeMap<ItemId, Vec<RunEnd>> = BTreeMap::new();
    for record in &evidence.records {
        match record {
            Record::Started { process, run, item, .. } => drop(items.insert((process, *run), *item)),
            Record::Ended { process, run, end } => {
                ends.entry(items[&(process.as_str(), *run)]).or_default().push(*end);
            }
            _ => {}
        }
    }
    ends
}

/// Nothing is lost or done twice, and no attempt is used up.
fn check_all(evidence: &Evidence, items: usize) {
    assert_eq!(check(evidence), Vec::<String>::new());
    assert_eq!(evidence.store.items.len(), items, "there are no retries");
    for item in &evidence.store.items {
        assert_eq!(item.status, Status::Successful, "item {}", item.id);
    }
    assert_eq!(evidence.store.statistics.abandoned, 0);
}

pub fn what_runs_is_finished() {
    let on = |world: World| {
        let (evidence, items) = update(world, 40, LONG);
        check_all(&evidence, items);
        for (item, ends) in ends(&evidence) {
            assert_eq!(ends, [RunEnd::Successful], "item {item} runs once");
        }
    };
    on(World::new());
    let schema = performer_proofs::postgres::Schema::new();
    on(World::on(&schema.url, Duration::from_secs(30)));
}

pub fn what_takes_too_long_is_given_back() {
    let (evidence, items) = update(World::new(), 500, 50);
    check_all(&evidence, items);
    let mut interrupted = 0;
    for (item, ends) in ends(&evidence) {
        let (last, before) = ends.split_last().unwrap();
        assert_eq!(*last, RunEnd::Successful, "item {item}");
        assert!(before.iter().all(|end| *end == RunEnd::Interrupted), "item {item}: {before:?}");
        interrupted += before.len();
    }
    assert!(interrupted >= REPLACED, "each instance was in the middle of something: {interrupted}");
}
