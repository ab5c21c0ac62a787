//! Kills one to three processes on one store at random times.

use std::time::Duration;

use super::victim::{self, runtime};
use super::world::{Process, World};
use performer_proofs::observers::checker::check;
use performer_proofs::observers::ledger::Record;

/// The default number of kills.
fn kills() -> usize {
    let asked = std::env::var("PERFORMER_KILLS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(330)
}

const ITEMS: usize = 60;

/// The plan of a round.
struct Plan {
    kills: usize,
    /// The longest time between two kills, in microseconds.
    most: u64,
}

const SQLITE: Plan = Plan { kills: 15, most: 40_000 };

fn world() -> World {
    prepared(World::new())
}

fn prepared(world: World) -> World {
    let runtime = runtime();
    let store = world.connect(&runtime);
    runtime.block_on(victim::create_queues(&*store));
    drop(store);
    world
}

pub fn at_random_times() {
    let first = std::env::var("PERFORMER_KILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut killed, mut items) = (0, 0);
    for seed in first.. {
        if killed >= kills() {
            break;
        }
        let mut world = world();
        killed += round(&mut world, seed, &SQLITE);
        items += world.check(&format!("PERFORMER_KILL_SEED={seed}"));
    }
    println!("{killed} processes killed over {items} items, 0 lost, 0 doubled");
}

/// On PostgreSQL a process has to connect first, and only its lease shows that it has ended.
pub fn on_postgres() {
    const PLAN: Plan = Plan { kills: 52, most: 130_000 };
    const LEASE: Duration = Duration::from_millis(1_500);
    let asked = std::env::var("PERFORMER_KILLS").ok().and_then(|text| text.parse().ok());
    let (mut killed, mut items) = (0, 0);
    for seed in 1.. {
        if killed >= asked.unwrap_or(208) {
            break;
        }
        let schema = performer_proofs::postgres::Schema::new();
        // In every other round the calls of a process are written in parallel transactions, however few there are.
        let url = if seed % 2 == 0 { schema.url.clone() } else { format!("{}&batch=1", schema.url) };
        let mut world = prepared(World::on(&url, LEASE));
        killed += round(&mut world, seed, &PLAN);
        items += world.check(&format!("seed {seed}"));
    }
    println!("{killed} processes killed over {items} items on PostgreSQL, 0 lost, 0 doubled");
}

/// Keeps one to three processes running and kills one after the other. (How far a process is at a certain time depends
/// on the machine: the seed fixes the plan, not the outcome.)
fn round(world: &mut World, seed: u64, plan: &Plan) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let most = random.usize(1..=3);
    let mut running: Vec<Process> = Vec::new();
    let mut killed = 0;
    while killed < plan.kills {
        while running.len() < most {
            running.push(world.spawn("work", ITEMS, None));
        }
        std::thread::sleep(Duration::from_micros(random.u64(1_000..plan.most)));
        let mut process = running.swap_remove(random.usize(..running.len()));
        if process.has_ended() {
            assert!(world.wait_for_end(process).success());
            continue;
        }
        world.kill(process);
        killed += 1;
    }
    for process in running {
        assert!(world.wait_for_end(process).success());
    }
    killed
}

/// Evidence without one acknowledged item, or with one run that never ends, must be rejected after real kills too.
pub fn negative_control() {
    let mut world = world();
    round(&mut world, 1, &SQLITE);
    let evidence = world.evidence(Vec::new());
    assert_eq!(check(&evidence), Vec::<String>::new());
    let mut lost = evidence.clone();
    let gone = lost.store.items.pop().unwrap().key;
    lost.store.items.retain(|item| item.key != gone);
    assert!(!check(&lost).is_empty());
    let mut never_died = evidence.clone();
    never_died.records.retain(|record| !matches!(record, Record::Died { .. } | Record::Ended { .. }));
    assert!(!check(&never_died).is_empty());
    let mut unheard = evidence;
    unheard.records.retain(|record| !matches!(record, Record::Started { .. }));
    assert!(!check(&unheard).is_empty());
}
