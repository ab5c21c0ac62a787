//! Real processes on a real file, really killed.
//!
//! `cargo test --all-features --test kill` ends a process at every named crash point (at the first, second and tenth
//! time it comes by), and kills some 500 more at random instants, one to three of them on one file. Whatever is killed,
//! the observers' checks K1 to K12 must hold when the queue is drained afterwards. `PERFORMER_KILLS=50000` kills so many;
//! `PERFORMER_KILL_SEED` begins where a failure was printed.
//!
//! On PostgreSQL 200 processes more are killed; and under the load of several, the server itself is: it is stopped at once
//! and started again, and its standby takes over.
//!
//! The program that is killed is this one: see `victim.rs`.

#![expect(
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "a test has no outside, and real processes take real time"
)]

#[cfg(feature = "postgres")]
#[path = "../support/cluster.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]
mod cluster;
#[path = "../support/observers/mod.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]
mod observers;
#[cfg(feature = "postgres")]
mod outage;
mod points;
#[cfg(feature = "postgres")]
#[path = "../support/postgres.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]
mod postgres;
mod random;
mod recovery;
mod victim;
mod world;

type Test = (&'static str, fn());

/// Two rows that go on beside each other: the one waits while the other computes.
const BESIDE_EACH_OTHER: [&[Test]; 2] = [
    &[
        ("a_process_may_end_at_any_crash_point", points::at_every_point),
        ("a_process_may_be_killed_at_any_instant", random::at_random_instants),
        ("a_ledger_that_loses_its_end_is_found_out", random::negative_control),
    ],
    &[
        #[cfg(feature = "postgres")]
        ("on_postgres_a_process_may_be_killed_at_any_instant", random::on_postgres),
        #[cfg(feature = "postgres")]
        ("the_database_may_stop_at_any_instant", outage::immediate_stops),
    ],
];

/// Those that have the machine to themselves, because they say how long something takes.
const ALONE: &[Test] = &[
    ("what_a_killed_process_held_is_free_within_two_seconds_by_its_lock_file", recovery::by_the_lock_file),
    ("what_a_killed_process_held_is_free_within_its_lease_and_a_second", recovery::by_the_lease),
    ("nothing_is_abandoned_while_its_process_lives_and_beats", recovery::no_false_abandonment),
    #[cfg(feature = "postgres")]
    (
        "on_postgres_what_a_killed_process_held_is_free_within_its_lease_and_a_second",
        recovery::by_the_lease_on_postgres,
    ),
    #[cfg(feature = "postgres")]
    ("a_standby_may_take_over_at_any_instant", outage::failovers),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "victim") {
        return victim::main(&arguments[1..]);
    }
    if arguments.iter().any(|word| word == "--list") {
        BESIDE_EACH_OTHER.into_iter().flatten().chain(ALONE).for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let run = |tests: &[Test]| -> Vec<&'static str> {
        let is_wanted =
            |(name, _): &&Test| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
        tests.iter().filter(is_wanted).filter(|test| !passes(test)).map(|(name, _)| *name).collect()
    };
    let mut failed = std::thread::scope(|scope| {
        let beside = BESIDE_EACH_OTHER.map(|tests| scope.spawn(|| run(tests)));
        beside.into_iter().flat_map(|running| running.join().unwrap()).collect::<Vec<_>>()
    });
    failed.extend(run(ALONE));
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn passes((name, test): &Test) -> bool {
    let started = std::time::Instant::now();
    let passed = std::panic::catch_unwind(test).is_ok();
    println!("test {name} ... {} ({:.1?})", if passed { "ok" } else { "FAILED" }, started.elapsed());
    passed
}
