//! Time, injected. This file is the only reader of the time of day.
//!
//! A store decides by one clock ("one clock a store": reliability rules); what a performer's machine
//! believes about the time decides nothing.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day, in whole microseconds. Never earlier than an earlier answer of the same clock.
    fn now(&self) -> Timestamp;

    /// The time since some fixed instant, on a clock that nobody can set. By it a sweeper knows for how long it
    /// has not heard of a job, whatever happens to the time of day.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
///
/// When somebody sets the time of day back, `now` goes on at the pace of the monotone clock until the
/// time of day has caught up; when somebody sets it forward, `now` follows.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    anchor: Mutex<(Timestamp, Instant)>,
}

impl SystemClock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    pub fn new() -> Self {
        let started = Instant::now();
        Self { started, anchor: Mutex::new((whole_microseconds(Timestamp::now()), started)) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    fn now(&self) -> Timestamp {
        let (read, instant) = (whole_microseconds(Timestamp::now()), Instant::now());
        let mut anchor = self.anchor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let expected = whole_microseconds(anchor.0 + instant.saturating_duration_since(anchor.1));
        let now = read.max(expected);
        *anchor = (now, instant);
        now
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.started)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new((whole_microseconds(now), Duration::ZERO)))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.0 += by;
        state.1 += by;
    }

    /// Sets the time of day, as an administrator would: no time passes.
    pub fn set(&self, now: Timestamp) {
        self.state().0 = whole_microseconds(now);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state().0
    }

    fn elapsed(&self) -> Duration {
        self.state().1
    }
}

/// Stores keep microseconds: what is read back equals what was answered.
pub(crate) fn whole_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::default();
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn the_system_clock_goes_on_when_the_time_of_day_is_set_back() {
        let clock = SystemClock::new();
        let hour = Duration::from_secs(3_600);
        // As if the time of day had been an hour later when it was read last.
        let ahead = clock.now() + hour;
        clock.anchor.lock().unwrap().0 = ahead;
        let (first, second) = (clock.now(), clock.now());
        assert!(first >= ahead && second >= first);
        assert!(second < ahead + hour, "it advances at the pace of the monotone clock");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().as_second(), 5);
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!((clock.now().as_second(), clock.elapsed().as_secs()), (0, 5));
    }
}
