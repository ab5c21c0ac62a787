//! Random walks: whatever people, robots, sweepers and the clock do, each store gives the same answers as the model and
//! shows the same items, field by field.
//!
//! `cargo test -p performer-proofs --release --test walks` runs 2,000 walks of 100 steps over each store; `PERFORMER_WALKS=100000` that
//! many. A walk that fails is shrunk to the shortest that does, and printed.

#![expect(unreachable_pub, reason = "a test has no outside")]

mod model;
mod system;

use performer::orchestrator::store::Store;
use performer_proofs::tables::{Checked, damage_of_file, damage_of_schema};
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use self::model::Model;
use self::system::{StoreUnderTest, System};

const STEPS: usize = 100;

/// The default number of walks. Without optimisation only a few, to see that they work.
fn walks() -> u32 {
    let asked = std::env::var("PERFORMER_WALKS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 60 } else { 2_000 })
}

fn walk<S: StoreUnderTest>(walks: u32) {
    let config =
        Config { cases: walks, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() };
    let steps = Model::sequential_strategy(STEPS);
    let walked = TestRunner::new(config.clone()).run(&steps, |(model, steps, seen)| {
        System::<S>::test_sequential(config.clone(), model, steps, seen);
        Ok(())
    });
    if let Err(error) = walked {
        panic!("{error}");
    }
}

/// Queues in memory.
#[derive(Debug)]
struct MemoryStore;

impl StoreUnderTest for MemoryStore {
    fn open(clock: std::sync::Arc<performer::model::ManualClock>) -> (Store, Option<Box<dyn std::any::Any>>) {
        (Store::simulated_memory(clock, 1), None)
    }
}

#[test]
fn memory_behaves_like_the_model() {
    walk::<MemoryStore>(walks());
}

/// Queues in a file.
#[derive(Debug)]
struct SqliteStore;

impl StoreUnderTest for SqliteStore {
    fn open(clock: std::sync::Arc<performer::model::ManualClock>) -> (Store, Option<Box<dyn std::any::Any>>) {
        let folder = system::quick_folder();
        let store = Store::simulated_sqlite(&folder.path().join("queue.db"), clock, 1).unwrap();
        let checked = Checked::new(folder, |folder| damage_of_file(&folder.path().join("queue.db")));
        (store, Some(Box::new(checked)))
    }
}

#[test]
fn sqlite_behaves_like_the_model() {
    walk::<SqliteStore>(walks());
}

/// Queues in a schema of a database.
#[derive(Debug)]
struct PostgresStore;

impl StoreUnderTest for PostgresStore {
    fn open(clock: std::sync::Arc<performer::model::ManualClock>) -> (Store, Option<Box<dyn std::any::Any>>) {
        let schema = performer_proofs::postgres::Schema::new();
        let store = Store::simulated_postgres(&schema.url, clock, 1).unwrap();
        (store, Some(Box::new(Checked::new(schema, damage_of_schema))))
    }
}

/// A step takes a hundred times as long there.
#[test]
fn postgres_behaves_like_the_model() {
    walk::<PostgresStore>((walks() / 20).max(10));
}

/// The negative control: a store that does not void the claim of a postponed item is detected.
#[test]
fn a_store_that_breaks_a_rule_is_detected() {
    for bug in system::InjectedBug::ALL {
        let config =
            Config { cases: 3_000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let steps = Model::sequential_strategy(STEPS);
        let mut quiet = TestRunner::new(config);
        let walked = quiet.run(&steps, |(model, steps, _)| {
            let agrees =
                std::panic::catch_unwind(|| System::<MemoryStore>::walk_with_bug(*bug, &model, steps));
            proptest::prop_assert!(agrees.is_ok());
            Ok(())
        });
        assert!(walked.is_err(), "{bug:?} was not detected");
    }
}
