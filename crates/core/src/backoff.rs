//! Delays between retries; the only use of the `backoff` crate.
//!
//! The crate computes the growth only. Cap and jitter are applied here, because the crate applies its jitter after its cap (60
//! seconds become 90) and its random numbers cannot be seeded.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// How delays grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The first delay.
    pub first: Duration,
    /// The maximum delay, including jitter.
    pub cap: Duration,
}

impl BackoffPolicy {
    /// For the calls of a performer to its store: 50 ms, doubling up to 10 s.
    pub const STORE: Self = Self { first: Duration::from_millis(50), cap: Duration::from_secs(10) };

    /// For connections to a database that is starting or failing over: 50 ms, doubling up to 1 s. Longer delays would be noticed
    /// when it is back; shorter ones from many processes would slow down its recovery.
    pub const CONNECTION: Self = Self { first: Duration::from_millis(50), cap: Duration::from_secs(1) };
}

/// A sequence of growing delays. Jitter changes each by up to a quarter, so that many robots do not retry at the same instant.
#[derive(Debug)]
pub struct Delays {
    policy: BackoffPolicy,
    growth: ExponentialBackoff,
    random: fastrand::Rng,
}

impl Delays {
    pub fn new(policy: BackoffPolicy, random: fastrand::Rng) -> Self {
        let growth = ExponentialBackoffBuilder::new()
            .with_initial_interval(policy.first)
            .with_max_interval(policy.cap)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        Self { policy, growth, random }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.growth.next_backoff().unwrap_or(self.policy.cap);
        delay.mul_f64(0.75 + 0.5 * self.random.f64()).min(self.policy.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(seed: u64) -> Vec<Duration> {
        let mut delays = Delays::new(BackoffPolicy::STORE, fastrand::Rng::with_seed(seed));
        (0..20).map(|_| delays.next_delay()).collect()
    }

    #[test]
    fn delays_grow_to_the_cap_and_never_pass_it() {
        let delays = delays(1);
        assert!(delays[0] >= Duration::from_micros(37_500) && delays[0] <= Duration::from_micros(62_500));
        assert!(delays[4] > delays[0] * 4);
        assert!(delays.iter().all(|delay| *delay <= BackoffPolicy::STORE.cap));
        assert!(delays[19] >= BackoffPolicy::STORE.cap * 3 / 4);
    }

    #[test]
    fn a_seed_gives_the_same_delays_again() {
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }
}
