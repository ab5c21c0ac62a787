//! What a rolling update does to items in progress: a new instance is started, then an old one is stopped by SIGTERM, and so on.
//!
//! An instance that is stopped finishes what runs. What takes longer than its grace period is interrupted and given back, and
//! another instance runs it again. Either way nothing is lost, no retry is used, nothing is Abandoned, and nothing succeeds twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use performer::{ItemId, Status};

use super::recovery::{filled, wait_until};
use super::world::{Process, World};
use performer_proofs::observers::checker::{Evidence, check};
use performer_proofs::observers::ledger::{self, Record, RunEnd};

/// How many instances run before and after each step.
const INSTANCES: usize = 2;
/// How many instances are replaced.
const REPLACED: usize = 4;
/// Longer than any transaction here.
const LONG: usize = 30_000;

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

/// Starts an instance, and waits until it is in the middle of an item.
fn start(world: &mut World, grace_period: usize) -> Process {
    let process = world.spawn("serve", grace_period, None);
    wait_until("its first item", || running(world).get(&process.name).is_some_and(|runs| *runs > 0));
    process
}

/// Replaces instances one after the other while they work, then stops all. Each of them has to end in order.
fn update(mut world: World, grace_period: usize) -> Evidence {
    let mut instances: VecDeque<Process> = (0..INSTANCES).map(|_| start(&mut world, grace_period)).collect();
    let stop = |world: &mut World, process: Process| {
        world.terminate(&process);
        let name = process.name.clone();
        let status = world.wait_for_end(process);
        assert!(status.success(), "{name}: {status}");
        assert_eq!(running(world).get(&name), Some(&0), "{name} left nothing running");
    };
    for _ in 0..REPLACED {
        let new = start(&mut world, grace_period);
        instances.push_back(new);
        let old = instances.pop_front().unwrap();
        wait_until("the middle of an item", || running(&world)[&old.name] > 0);
        stop(&mut world, old);
    }
    for process in instances {
        stop(&mut world, process);
    }
    world.evidence(Vec::new())
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
    const ITEMS: usize = 800;
    let on = |world: World| {
        let evidence = update(filled(world, "sleep", 40, ITEMS), LONG);
        check_all(&evidence, ITEMS);
        for (item, ends) in ends(&evidence) {
            assert_eq!(ends, [RunEnd::Successful], "item {item} runs once");
        }
    };
    on(World::new());
    let schema = performer_proofs::postgres::Schema::new();
    on(World::on(&schema.url, Duration::from_secs(30)));
}

pub fn what_takes_too_long_is_given_back() {
    const ITEMS: usize = 60;
    let evidence = update(filled(World::new(), "sleep", 500, ITEMS), 50);
    check_all(&evidence, ITEMS);
    let mut interrupted = 0;
    for (item, ends) in ends(&evidence) {
        let (last, before) = ends.split_last().unwrap();
        assert_eq!(*last, RunEnd::Successful, "item {item}");
        assert!(before.iter().all(|end| *end == RunEnd::Interrupted), "item {item}: {before:?}");
        interrupted += before.len();
    }
    assert!(interrupted >= REPLACED, "each instance was in the middle of something: {interrupted}");
}
