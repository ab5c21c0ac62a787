#![doc = include_str!("../README.md")]

#[cfg(feature = "checks")]
mod checks;
mod fixture;
mod requests;
mod results;
#[cfg(feature = "checks")]
mod suite;

pub use fixture::{Fixture, start_of_time, sweep_for};
pub use requests::{QUEUE, named, new_job, retrying, take, unique};
pub use results::{application, business, failed, ok, ok_with, postponed};
#[cfg(feature = "checks")]
pub use suite::{CHECKS, Check, check};
