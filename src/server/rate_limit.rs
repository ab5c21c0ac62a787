//! The rate limits of the cloud, imitated (orchestrator-api 3): 100 reads a minute, told by `Retry-After` and
//! `X-RateLimit-Remaining`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Over how long calls are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// From so few calls on the header says that there is none left.
const REPORTED_AS_ZERO: usize = 10;

/// The calls of the last minute, by operation.
#[derive(Debug)]
pub(super) struct RateLimit {
    max: usize,
    calls: Mutex<HashMap<&'static str, VecDeque<Duration>>>,
}

/// What a call is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateLimitStatus {
    /// How many calls are left.
    Remaining(usize),
    /// Seconds to wait.
    RetryAfter(u64),
}

impl RateLimit {
    pub(super) fn new(max: usize) -> Self {
        Self { max, calls: Mutex::default() }
    }

    /// Counts a call, if it is of an operation that is limited.
    pub(super) fn count(&self, operation: &'static str, now: Duration) -> Option<RateLimitStatus> {
        if operation != "GetQueueItems" {
            return None;
        }
        let mut all = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = all.entry(operation).or_default();
        while calls.front().is_some_and(|at| *at + WINDOW <= now) {
            calls.pop_front();
        }
        if calls.len() >= self.max {
            let first = calls.front().copied().unwrap_or(now);
            let wait = (first + WINDOW).saturating_sub(now);
            return Some(RateLimitStatus::RetryAfter(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        calls.push_back(now);
        let left = self.max - calls.len();
        Some(RateLimitStatus::Remaining(if left < REPORTED_AS_ZERO { 0 } else { left }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_limit_has_a_rolling_window() {
        let limit = RateLimit::new(20);
        let at = Duration::from_millis;
        assert_eq!(limit.count("AddQueueItem", at(0)), None);
        let told: Vec<_> = (0..20).map(|n| limit.count("GetQueueItems", at(n * 100)).unwrap()).collect();
        assert_eq!(told[0], RateLimitStatus::Remaining(19));
        assert_eq!(
            (told[9], told[10], told[19]),
            (RateLimitStatus::Remaining(10), RateLimitStatus::Remaining(0), RateLimitStatus::Remaining(0))
        );
        assert_eq!(limit.count("GetQueueItems", at(2_000)), Some(RateLimitStatus::RetryAfter(58)));
        assert_eq!(limit.count("GetQueueItems", at(59_999)), Some(RateLimitStatus::RetryAfter(1)));
        assert_eq!(limit.count("GetQueueItems", at(60_000)), Some(RateLimitStatus::Remaining(0)));
        assert_eq!(
            limit.count("GetQueueItems", at(60_001)),
            Some(RateLimitStatus::RetryAfter(1)),
            "only the first one is over"
        );
    }
}
