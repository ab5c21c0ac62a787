//! How long everything may take, and how long to wait in between.

use std::time::Duration;

use crate::backoff::BackoffPolicy;

/// The time limits and delays of a client. Every wait has an end.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// To reach the server.
    pub(super) connect: Duration,
    /// For one request and its whole answer.
    pub(super) request: Duration,
    /// For a call with all its repetitions and waits.
    pub(super) total: Duration,
    /// Between repetitions.
    pub(super) retry: BackoffPolicy,
    /// The most requests for one call. Vendor clients make five.
    pub(super) attempts: u32,
    /// What `Retry-After` may ask for (orchestrator-api 3).
    pub(super) longest_retry_after: Duration,
    /// The longest wait between two looks at an empty queue.
    pub(super) longest_poll: Duration,
    /// When to look for an item whose answer was lost, from then on.
    pub(super) looks: [Duration; 5],
    /// How far ahead of the server's time a date lies until which an item is put back. A date that has passed when the
    /// server reads it makes the item Successful, so it is longer than a call nearly ever takes.
    pub(super) ahead: Duration,
    /// The largest answer that is read, in bytes: a page of 100 items of the largest content, written twice.
    pub(super) largest_answer: usize,
    /// How many of its seconds a second of the server is; tests hurry.
    pub(super) hurry: u32,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            request: seconds(30),
            total: seconds(90),
            retry: BackoffPolicy { first: Duration::from_millis(500), cap: seconds(10) },
            attempts: 5,
            longest_retry_after: seconds(120),
            longest_poll: seconds(30),
            looks: [seconds(0), seconds(2), seconds(10), seconds(30), seconds(60)],
            ahead: seconds(10),
            largest_answer: 128 * 1024 * 1024,
            hurry: 1,
        }
    }
}

impl Pace {
    /// Everything, this many times as fast.
    pub(super) fn hurried(mut self, times: u32) -> Self {
        for duration in [
            &mut self.connect,
            &mut self.request,
            &mut self.total,
            &mut self.retry.first,
            &mut self.retry.cap,
            &mut self.longest_retry_after,
            &mut self.longest_poll,
        ] {
            *duration /= times;
        }
        self.largest_answer /= times as usize;
        self.looks = self.looks.map(|look| look / times);
        // What a loaded machine takes for a call does not hurry.
        self.ahead = (self.ahead / times).max(Duration::from_millis(300)).min(self.ahead);
        self.hurry = times;
        self
    }

    /// What a server asked for, within bounds.
    pub(super) fn asked_for(&self, seconds: f64) -> Duration {
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, 1e9) } else { 0.0 };
        (Duration::from_secs_f64(seconds) / self.hurry).min(self.longest_retry_after)
    }
}
