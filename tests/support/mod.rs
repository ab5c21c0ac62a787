//! What the tests of the runtime share.
#![allow(
    clippy::allow_attributes,
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test file uses its part of this"
)]

pub mod scripted;
#[cfg(all(feature = "server", feature = "uipath"))]
pub mod served;

pub use performer_conformance::{QUEUE, named, new_job, ok, start_of_time, sweep_for, take};
