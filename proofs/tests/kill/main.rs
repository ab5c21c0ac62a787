//! Kills real processes on real files.
//!
//! `cargo test -p performer-proofs --all-features --test kill` ends a process at every named crash point (at the first, second and tenth
//! pass), and kills some 500 more at random times, one to three of them on one file. After each kill the observers'
//! checks K1 to K12 must hold when the queue is drained. `PERFORMER_KILLS=50000` kills that many; `PERFORMER_KILL_SEED`
//! starts at the seed of a printed failure.
//!
//! On PostgreSQL 200 more processes are killed; and under the load of several, the server itself is stopped and
//! restarted, and its standby takes over.
//!
//! And in the middle of an operation on many items, of a replacement of the key of secrets, and of the delivery of events to webhooks.
//!
//! And a rolling update: instances are stopped by SIGTERM, one after the other, while new ones take their places.
//!
//! The program that is killed is this one: see `victim.rs`.

#![expect(
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "a test has no outside, and real processes take real time"
)]

mod crash_points;
mod database_outage;
mod key_rotation;
mod operations;
mod random_kills;
mod recovery;
mod rolling_update;
mod victim;
mod webhooks;
mod world;

type Test = (&'static str, fn());

/// Two lists that run at the same time: one waits while the other computes.
const CONCURRENT: [&[Test]; 2] = [
    &[
        ("a_process_can_end_at_any_crash_point", crash_points::at_every_crash_point),
        ("no_group_is_stuck_after_a_crash", crash_points::while_groups_are_settled),
        ("a_process_can_be_killed_at_any_time", random_kills::at_random_times),
        ("a_truncated_ledger_is_detected", random_kills::negative_control),
        ("an_operation_goes_on_after_its_process_was_killed", operations::on_a_file),
        ("a_replacement_of_the_key_of_secrets_goes_on", key_rotation::at_every_crash_point),
        ("no_event_is_lost_when_a_server_ends_beside_a_delivery", webhooks::at_every_crash_point),
    ],
    &[
        ("on_postgres_a_process_can_be_killed_at_any_time", random_kills::on_postgres),
        ("on_postgres_no_group_is_stuck_after_a_crash", crash_points::while_groups_are_settled_on_postgres),
        ("on_postgres_an_operation_goes_on_after_its_process_was_killed", operations::on_postgres),
        ("the_database_can_stop_at_any_time", database_outage::immediate_stops),
        ("a_rolling_update_finishes_what_runs", rolling_update::what_runs_is_finished),
        (
            "a_rolling_update_gives_back_what_takes_too_long",
            rolling_update::what_takes_too_long_is_given_back,
        ),
    ],
];

/// Tests that run alone, because they measure time.
const EXCLUSIVE: &[Test] = &[
    (
        "items_of_a_killed_process_are_released_within_two_seconds_by_its_lock_file",
        recovery::by_the_lock_file,
    ),
    ("items_of_a_killed_process_are_released_within_its_lease_and_a_second", recovery::by_the_lease),
    ("nothing_is_abandoned_while_its_process_beats", recovery::no_false_abandonment),
    (
        "on_postgres_items_of_a_killed_process_are_released_within_its_lease_and_a_second",
        recovery::by_the_lease_on_postgres,
    ),
    ("a_standby_can_take_over_at_any_time", database_outage::failovers),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "victim") {
        return victim::main(&arguments[1..]);
    }
    if arguments.iter().any(|word| word == "--list") {
        CONCURRENT.into_iter().flatten().chain(EXCLUSIVE).for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let run = |tests: &[Test]| -> Vec<&'static str> {
        let is_wanted =
            |(name, _): &&Test| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
        tests.iter().filter(is_wanted).filter(|test| !passes(test)).map(|(name, _)| *name).collect()
    };
    let mut failed = std::thread::scope(|scope| {
        let beside = CONCURRENT.map(|tests| scope.spawn(|| run(tests)));
        beside.into_iter().flat_map(|running| running.join().unwrap()).collect::<Vec<_>>()
    });
    failed.extend(run(EXCLUSIVE));
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn passes((name, test): &Test) -> bool {
    let started = std::time::Instant::now();
    let passed = std::panic::catch_unwind(test).is_ok();
    println!("test {name} ... {} ({:.1?})", if passed { "ok" } else { "FAILED" }, started.elapsed());
    passed
}
