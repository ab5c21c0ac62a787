//! Throughput and latency: each figure beside the limit it is measured against, in the same run.
//!
//! `cargo bench -p performer-benches --bench drain [-- NAME…]` prints lines of `name  ours  limit  ratio`. Ours and limit alternate, and
//! each is the median of its rounds. Absolute figures depend on the machine; the ratio is what counts.
//! `docs/performance.md` explains each figure, its bar, and what was measured.

#![expect(
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a bench reads the machine's clock and opens its own files"
)]

mod dependent;
mod figures;
mod limits;
mod logs;
mod postgres;

use performer_benches::{Bench, print_heading};

fn main() {
    // `cargo bench` passes flags of its own; the others are names of figures.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if names.first().is_some_and(|name| name == "adding-process") {
        return figures::add_from_another_process(&names[1..]);
    }
    if names.first().is_some_and(|name| name == "tuned-process") {
        return dependent::tuned();
    }
    if names.first().is_some_and(|name| name == "resident-memory-process") {
        return figures::resident();
    }
    if names.first().is_some_and(|name| name == "draining-process") {
        return postgres::one_of_many(&names[1..]);
    }
    let bench = Bench::new(names);
    print_heading();
    figures::drains(&bench);
    dependent::all(&bench);
    figures::limited(&bench);
    logs::all(&bench);
    figures::groups(&bench);
    figures::single_calls(&bench);
    figures::adds(&bench);
    figures::latencies(&bench);
    figures::memory(&bench);
    figures::big_content(&bench);
    figures::full_files(&bench);
    postgres::all(&bench);
}
