//! Imitates the rate limits of the cloud (orchestrator-api 3): a number of lists of items, and of jobs, per minute, reported by
//! `Retry-After` and `X-RateLimit-Remaining`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The time over which calls are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The operations that the cloud limits, each by itself.
const LIMITED: [&str; 2] = ["GetQueueItems", "GetJobs"];

/// With fewer remaining calls than this the header says 0, as the cloud does.
const REPORTED_AS_ZERO: usize = 10;

/// The calls of the last minute, by operation.
#[derive(Debug)]
pub(super) struct RateLimit {
    max: usize,
    calls: Mutex<HashMap<&'static str, VecDeque<Duration>>>,
}

/// The result of counting a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateLimitStatus {
    /// The call is allowed, and this many calls remain.
    Remaining(usize),
    /// The call is refused for this many seconds.
    RetryAfter(u64),
}

impl RateLimit {
    pub(super) fn new(max: usize) -> Self {
        Self { max, calls: Mutex::default() }
    }

    /// Counts a call; `None` for an operation without a limit.
    pub(super) fn count(&self, operation: &'static str, now: Duration) -> Option<RateLimitStatus> {
        if !LIMITED.contains(&operation) {
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
        let results: Vec<_> = (0..20).map(|n| limit.count("GetQueueItems", at(n * 100)).unwrap()).collect();
        assert_eq!(results[0], RateLimitStatus::Remaining(19));
        assert_eq!(
            (results[9], results[10], results[19]),
            (RateLimitStatus::Remaining(10), RateLimitStatus::Remaining(0), RateLimitStatus::Remaining(0))
        );
        assert_eq!(limit.count("GetQueueItems", at(2_000)), Some(RateLimitStatus::RetryAfter(58)));
        assert_eq!(limit.count("GetQueueItems", at(59_999)), Some(RateLimitStatus::RetryAfter(1)));
        assert_eq!(limit.count("GetQueueItems", at(60_000)), Some(RateLimitStatus::Remaining(0)));
        assert_eq!(
            limit.count("GetQueueItems", at(60_001)),
            Some(RateLimitStatus::RetryAfter(1)),
            "only the first call has expired"
        );
    }
}
