//! Whole worlds in one thread and in virtual time: performers, a store, people, crashes, delays, lost answers,
//! suspended processes and clocks that jump, all from one seed. When the faults have ended, the observers' checks must
//! hold.
//!
//! `cargo test -p performer-proofs --test simulation` runs 500 worlds, `PERFORMER_WORLDS=50000` that many. A world that fails is printed
//! with the command that runs it again: the same seed makes the same world.

#![expect(unreachable_pub, reason = "a test has no outside")]

mod fault_injection;
mod world;

use fault_injection::StoreBug;
use world::{Kind, Outcome, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn kind(seed: u64) -> Kind {
    if seed.is_multiple_of(2) { Kind::Sqlite } else { Kind::Memory }
}

fn must_hold(seed: u64) -> Outcome {
    let outcome = run(seed, kind(seed), None);
    assert!(
        outcome.violations.is_empty(),
        "world {seed}: {:#?}\nrun it again with\n    PERFORMER_WORLD={seed} cargo test -p performer-proofs --test simulation one_world -- --nocapture",
        outcome.violations
    );
    outcome
}

/// The worlds of this run, or the requested one.
#[test]
fn all_checks_hold_in_every_simulated_world() {
    if let Some(seed) = number("PERFORMER_WORLD") {
        let outcome = run(seed, kind(seed), None);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        must_hold(seed);
        return;
    }
    let worlds = number("PERFORMER_WORLDS").unwrap_or(500);
    let mut all = world::Count::default();
    for seed in 1..=worlds {
        all.add(&must_hold(seed).count);
    }
    println!("{worlds} worlds: {all:?}");
    // A world without any fault proves nothing.
    assert!(
        all.crashes > worlds && all.lost_answers > worlds && all.claims_lost > 0 && all.jumps > 0,
        "{all:?}"
    );
}

/// Two runs of one seed give the same world, line by line.
#[test]
fn a_seed_determines_its_world() {
    for seed in [1, 2, 7, 8, 33, 34] {
        let first = run(seed, kind(seed), None).trace;
        for _ in 0..2 {
            let again = run(seed, kind(seed), None).trace;
            assert_eq!(first, again, "world {seed}");
        }
    }
}

/// The negative controls: a store with an injected bug is detected, and the world that detects it does so ten times out
/// of ten.
#[test]
fn an_injected_bug_is_found_reproducibly() {
    for wrong in StoreBug::ALL {
        let fails = |seed: &u64| !run(*seed, kind(*seed), Some(*wrong)).violations.is_empty();
        let seed = (1..=60).find(fails).unwrap_or_else(|| panic!("{wrong:?} was not found out"));
        let violations = run(seed, kind(seed), Some(*wrong)).violations;
        for _ in 0..10 {
            assert_eq!(
                run(seed, kind(seed), Some(*wrong)).violations,
                violations,
                "{wrong:?} in world {seed}"
            );
        }
    }
}
