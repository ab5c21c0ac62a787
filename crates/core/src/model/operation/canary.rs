//! A canary: a few items are retried first, and the rest only if those succeed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::code::ErrorCode;
use super::super::refusal::Refusal;
use super::super::status::Status;

/// How many items are retried first, and how long they have. The rest is retried if at least four of five of them are Successful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Canary {
    /// How many items are retried first.
    pub first: u64,
    /// How many seconds they have to become Successful.
    pub within_seconds: u64,
}

/// The times that a canary may have.
const MOST_SECONDS: u64 = 7 * 86_400;

impl Canary {
    /// Five items, and ten minutes.
    pub const FIVE: Self = Self { first: 5, within_seconds: 600 };

    /// So many items, and so much time, in whole seconds.
    pub fn new(first: u64, within: Duration) -> Self {
        Self { first, within_seconds: within.as_secs() }
    }

    /// The time that they have.
    pub fn within(self) -> Duration {
        Duration::from_secs(self.within_seconds)
    }

    pub(super) fn validate(self, most: u64) -> Result<(), Refusal> {
        if !(1..=most).contains(&self.first) {
            let message = format!("a canary has between 1 and {most} items, and not {}", self.first);
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        if !(1..=MOST_SECONDS).contains(&self.within_seconds) {
            let message =
                format!("a canary has between a second and a week, and not {} seconds", self.within_seconds);
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        Ok(())
    }
}

/// What became of a copy: of its last attempt, because a copy may be retried too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    /// It has not ended.
    Open,
    /// It was Successful.
    Successful,
    /// It ended in any other way, or is gone.
    Other,
}

impl CopyEnd {
    /// Of the status of the last attempt; `None` if that is gone.
    pub fn of(status: Option<Status>) -> Self {
        match status {
            Some(Status::New | Status::InProgress | Status::Retried) => Self::Open,
            Some(Status::Successful) => Self::Successful,
            _ => Self::Other,
        }
    }
}

/// What the ends of the copies mean for the rest, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    Good(String),
    Bad(String),
}

/// Decides about the rest as soon as that is certain, and in any case when the time is over.
pub(super) fn verdict(ends: &[CopyEnd], is_time_over: bool) -> Verdict {
    let all = ends.len();
    let count = |wanted: CopyEnd| ends.iter().filter(|end| **end == wanted).count();
    let (successful, other) = (count(CopyEnd::Successful), count(CopyEnd::Other));
    let needed = (all * 4).div_ceil(5).max(1);
    if successful >= needed {
        return Verdict::Good(format!("{successful} of the first {all} items were Successful"));
    }
    if other > all.saturating_sub(needed) {
        return Verdict::Bad(format!(
            "{other} of the first {all} items were not Successful; {needed} of them had to be"
        ));
    }
    if is_time_over {
        return Verdict::Bad(format!(
            "only {successful} of the first {all} items were Successful in time; {needed} of them had to be"
        ));
    }
    Verdict::Open
}
