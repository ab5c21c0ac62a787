//! The time limits and delays of the client.

use std::time::Duration;

use performer_core::backoff::BackoffPolicy;

/// The time limits and delays of a client. Every wait is limited.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    /// The time limit for a connection.
    pub(super) connect: Duration,
    /// The time limit for one request and its whole answer.
    pub(super) request: Duration,
    /// The time limit for a call with all its retries and waits.
    pub(super) total: Duration,
    /// The delays between retries.
    pub(super) retry: BackoffPolicy,
    /// The maximum number of requests for one call; the vendor's clients make five.
    pub(super) attempts: u32,
    /// The maximum for `Retry-After` (orchestrator-api 3).
    pub(super) max_retry_after: Duration,
    /// The longest interval between two polls of an empty queue.
    pub(super) longest_poll: Duration,
    /// When to search for a lost item, counted from the loss of its answer.
    pub(super) recovery_delays: [Duration; 5],
    /// How far in the future the DeferDate of an item lies that is given back. If the date has passed when the server reads
    /// it, the item becomes Successful; so this is longer than a call normally takes.
    pub(super) postpone_margin: Duration,
    /// The largest accepted answer, in bytes: a page of 100 items with the largest content, which it contains twice.
    pub(super) max_answer_bytes: usize,
    /// The factor by which tests shorten delays; 1 otherwise.
    pub(super) speedup: u32,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            request: seconds(30),
            total: seconds(90),
            retry: BackoffPolicy { first: Duration::from_millis(500), cap: seconds(10) },
            attempts: 5,
            max_retry_after: seconds(120),
            longest_poll: seconds(30),
            recovery_delays: [seconds(0), seconds(2), seconds(10), seconds(30), seconds(60)],
            postpone_margin: seconds(10),
            max_answer_bytes: 128 * 1024 * 1024,
            speedup: 1,
        }
    }
}

impl Timing {
    /// Divides all delays by a factor. Time limits stay, because how long a call takes on a loaded machine does not shrink.
    pub(super) fn sped_up(mut self, times: u32) -> Self {
        for duration in
            [&mut self.retry.first, &mut self.retry.cap, &mut self.max_retry_after, &mut self.longest_poll]
        {
            *duration /= times;
        }
        self.max_answer_bytes /= times as usize;
        self.recovery_delays = self.recovery_delays.map(|look| look / times);
        self.postpone_margin =
            (self.postpone_margin / times).max(Duration::from_secs(1)).min(self.postpone_margin);
        self.speedup = times;
        self
    }

    /// The delay that a server asked for, limited to the maximum.
    pub(super) fn bounded_retry_after(&self, seconds: f64) -> Duration {
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, 1e9) } else { 0.0 };
        (Duration::from_secs_f64(seconds) / self.speedup).min(self.max_retry_after)
    }
}
