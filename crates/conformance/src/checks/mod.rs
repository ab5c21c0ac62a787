//! The checks, by topic. Each is a function of a fixture of its own, and panics if the back end does something else.
//!
//! A check is part of the suite once `every_check!` in `src/suite.rs` lists it; the compiler warns about one that is not
//! listed. T1 to T24 are the transitions of `docs/reference/lifecycle.md`.

use performer::model::JobKey;
use performer::orchestrator::{ClaimRequest, ClaimedItems};

use crate::Fixture;

pub(crate) mod adding;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod blockers;
pub(crate) mod buckets;
pub(crate) mod claiming;
pub(crate) mod claims;
pub(crate) mod clocks;
pub(crate) mod editing;
pub(crate) mod figures;
pub(crate) mod filters;
pub(crate) mod follow_ups;
pub(crate) mod groups;
pub(crate) mod history;
pub(crate) mod leases;
pub(crate) mod limits;
pub(crate) mod lists;
pub(crate) mod logs;
pub(crate) mod operations;
pub(crate) mod parked;
pub(crate) mod processes;
pub(crate) mod queues;
pub(crate) mod reasons;
pub(crate) mod reporting;
pub(crate) mod retention;
pub(crate) mod reviews;
pub(crate) mod stored_values;
pub(crate) mod tasks;
pub(crate) mod waiting;

/// The seconds of a day.
const DAY: u64 = 86_400;

/// A job that was never started.
fn some_job() -> JobKey {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

/// The whole answer of a claim.
async fn look(f: &Fixture, take: ClaimRequest) -> ClaimedItems {
    f.orchestrator.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap()
}
