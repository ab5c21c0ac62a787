//! The model checker: every order in which two robots, a sweeper, a person, a lossy network and crashes can act on an
//! item, exhaustively, with the real rules (`model::lifecycle`) deciding each step.
//!
//! Invariants I1 to I20 are those of `docs/reference/lifecycle.md`; each mutant has one bug that real queues have, and
//! must be detected. Run with `--release`: millions of states take a minute then, and half an hour without.

#![expect(unreachable_pub, reason = "the parts of a test")]

mod mutant;
mod world;

use mutant::Mutant;
use stateright::{Checker, HasDiscoveries, Model};
use world::{Limits, Robots};

const EVERYTHING: Limits = Limits {
    items: 1,
    adds: 0,
    retries: 1,
    manual: 1,
    postpones: 1,
    duplicates: 1,
    crashes: 1,
    deletes: 1,
    retry_abandoned: false,
    unsafe_clock: false,
};

/// Explores all states. Returns the number of distinct states and the names of the violated invariants.
fn explore(limits: Limits, mutant: Option<Mutant>) -> (usize, Vec<&'static str>) {
    let model = Robots { limits, mutant };
    let checker = model.checker().threads(2);
    let checker = if mutant.is_some() { checker.finish_when(HasDiscoveries::AnyFailures) } else { checker };
    let checker = checker.spawn_bfs().join();
    let violated = checker.discoveries().into_iter().map(|(name, path)| {
        println!("{name} is violated after {} steps", path.into_actions().len());
        name
    });
    let violated = violated.collect();
    (checker.unique_state_count(), violated)
}

fn holds(name: &str, limits: Limits, at_least: usize) {
    if at_least > 50_000 && cfg!(debug_assertions) {
        println!("left out: {name} has {at_least} states and more; run it with --release");
        return;
    }
    let (states, violated) = explore(limits, None);
    println!("{name}: {states} states, no violation");
    assert_eq!(violated, Vec::<&str>::new(), "{name}");
    assert!(states >= at_least, "{name}: only {states} states; the model lost something");
}

#[test]
fn invariants_hold_with_retries_manual_retries_duplicates_and_crashes() {
    let limits = Limits { retries: 1, manual: 1, duplicates: 1, crashes: 1, deletes: 1, ..Limits::default() };
    holds("retries, manual, duplicates, crashes, deletes", limits, 900_000);
}

#[test]
fn invariants_hold_with_all_events() {
    holds("everything at once", EVERYTHING, 7_000_000);
}

#[test]
fn invariants_hold_on_a_network_that_fails_twice() {
    let limits = Limits { retries: 1, postpones: 1, duplicates: 2, crashes: 1, ..Limits::default() };
    holds("retries, postpones, two faults of the network, crashes", limits, 100_000);
}

#[test]
fn invariants_hold_with_postponements() {
    let limits = Limits { retries: 1, postpones: 1, duplicates: 1, crashes: 1, ..Limits::default() };
    holds("retries, postpones, duplicates, crashes", limits, 30_000);
}

#[test]
fn invariants_hold_with_postponements_and_manual_retries_on_a_reliable_network() {
    let limits = Limits { retries: 1, manual: 1, postpones: 1, deletes: 1, ..Limits::default() };
    holds("retries, manual, postpones, deletes", limits, 20_000);
}

#[test]
fn invariants_hold_if_abandoned_items_are_retried() {
    let limits = Limits { retries: 1, retry_abandoned: true, duplicates: 1, crashes: 1, ..Limits::default() };
    holds("retried when abandoned", limits, 7_000);
}

#[test]
fn invariants_hold_for_two_items_in_order() {
    let limits = Limits { items: 2, retries: 1, crashes: 1, ..Limits::default() };
    holds("two items", limits, 70_000);
}

#[test]
fn invariants_hold_while_items_are_added() {
    let limits = Limits { adds: 1, retries: 1, crashes: 1, ..Limits::default() };
    holds("an item is added", limits, 50_000);
}

#[test]
fn invariants_hold_if_leases_end_although_jobs_beat() {
    // Safety never depends on time: with a sweeper that ends leases at will, all invariants but I20 hold.
    let limits = Limits { retries: 1, duplicates: 1, unsafe_clock: true, ..Limits::default() };
    holds("unsafe clock", limits, 5_000);
}

#[test]
fn every_mutant_is_detected() {
    for mutant in Mutant::ALL {
        let limits = match mutant {
            Mutant::AddAcknowledgedBeforeCommit => Limits { adds: 1, ..EVERYTHING },
            Mutant::OrderIgnoresDueDate => Limits { items: 2, ..Limits::default() },
            Mutant::SupersededIsRetried => Limits { manual: 2, ..Limits::default() },
            _ => EVERYTHING,
        };
        let (states, violated) = explore(limits, Some(mutant));
        println!("{mutant:?}: {violated:?} within {states} states");
        let detected_by = mutant.detected_by();
        assert!(
            violated.iter().any(|name| detected_by.contains(name)),
            "{mutant:?} got {violated:?}, not {detected_by:?}"
        );
    }
}
