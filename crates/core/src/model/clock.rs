//! Time, injected. This file is the only reader of the time of day.
//!
//! A store decides by one clock ("one clock a store": choices 19). The time on a performer's machine decides nothing.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::stored_time::{after, stored};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day, in whole microseconds. Never earlier than an earlier answer of the same clock.
    fn now(&self) -> Timestamp;

    /// The time since some fixed instant, on a clock that cannot be set. A sweeper measures with it for how long it
    /// has not seen a beat of a job, whatever happens to the time of day.
    fn elapsed(&self) -> Duration;

    /// Both, [`now`](Self::now) and [`elapsed`](Self::elapsed), of one moment.
    fn both(&self) -> (Timestamp, Duration) {
        (self.now(), self.elapsed())
    }
}

/// How far the time of day may be ahead of the expected time and be believed at once.
const SMALL_JUMP: Duration = Duration::from_secs(10);

/// How long the time of day must stay further ahead than that before it is believed.
const JUMP_BELIEVED_AFTER: Duration = Duration::from_secs(60);

/// The pace of the monotone clock is divided by this while the reported time is ahead of the time of day.
const SLOWDOWN: u32 = 2;

/// Turns readings of the time of day, which may jump, into a time that never goes back.
///
/// * A reading up to 10 seconds ahead of the time expected by the monotone clock is followed at once.
/// * A reading further ahead is followed after it has lasted for 60 seconds; until then the reported time continues at
///   the pace of the monotone clock. So a time of day that is wrong for a moment is never reported.
/// * While the reported time is ahead of the readings (the time of day was set back), it continues at half the pace of
///   the monotone clock until they agree: 40 minutes are made up for in 80 minutes. For a time that is far ahead that
///   takes long; a new process takes the time of day as it is.
///
/// So after any jumps it equals the time of day once that has been right for 60 seconds, and for twice as long as the
/// reported time was ahead of it.
#[derive(Clone, Copy, Debug)]
pub struct SteadyTime {
    reported: Timestamp,
    at: Duration,
    jump: Option<Jump>,
}

/// The time of day is further ahead than expected.
#[derive(Clone, Copy, Debug)]
struct Jump {
    ahead: Duration,
    since: Duration,
}

impl SteadyTime {
    /// The first reading, at this time of the monotone clock.
    pub fn new(read: Timestamp, elapsed: Duration) -> Self {
        Self { reported: read, at: elapsed, jump: None }
    }

    /// The time to report for another reading, at this time of the monotone clock.
    pub fn tell(&mut self, read: Timestamp, elapsed: Duration) -> Timestamp {
        let passed = elapsed.saturating_sub(self.at);
        self.at = self.at.max(elapsed);
        let expected = after(self.reported, passed);
        let ahead = Duration::try_from(read.duration_since(expected)).unwrap_or_default();
        self.reported = if read <= expected {
            self.jump = None;
            read.max(after(self.reported, passed / SLOWDOWN))
        } else if ahead <= SMALL_JUMP || self.has_lasted(ahead, elapsed) {
            self.jump = None;
            read
        } else {
            expected
        };
        self.reported
    }

    fn has_lasted(&mut self, ahead: Duration, elapsed: Duration) -> bool {
        let jump = self.jump.filter(|jump| jump.ahead.abs_diff(ahead) <= SMALL_JUMP);
        let Jump { since, .. } = *self.jump.insert(jump.unwrap_or(Jump { ahead, since: elapsed }));
        elapsed.saturating_sub(since) >= JUMP_BELIEVED_AFTER
    }
}

/// The machine's clock: its time of day, made steady by [`SteadyTime`].
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    time: Mutex<SteadyTime>,
}

impl SystemClock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    pub fn new() -> Self {
        Self { started: Instant::now(), time: Mutex::new(SteadyTime::new(Timestamp::now(), Duration::ZERO)) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.both().0
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    fn both(&self) -> (Timestamp, Duration) {
        let mut time = self.time.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let elapsed = self.elapsed();
        (stored(time.tell(Timestamp::now(), elapsed)), elapsed)
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
        Self(Mutex::new((stored(now), Duration::ZERO)))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.0 += by;
        state.1 += by;
    }

    /// Sets the time of day, as an administrator would: no time passes.
    pub fn set(&self, now: Timestamp) {
        self.state().0 = stored(now);
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

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

    /// A time of day that is set, and a monotone clock.
    struct Machine {
        time: SteadyTime,
        elapsed: Duration,
        /// How far the time of day is ahead of the true time.
        ahead: SignedDuration,
    }

    impl Machine {
        fn started(ahead: SignedDuration) -> Self {
            let time = SteadyTime::new(start() + ahead, Duration::ZERO);
            Self { time, elapsed: Duration::ZERO, ahead }
        }

        fn after(&mut self, passed: Duration) -> Timestamp {
            self.elapsed += passed;
            self.time.tell(start() + self.elapsed + self.ahead, self.elapsed)
        }

        fn reported_ahead(&mut self) -> SignedDuration {
            let reported = self.after(Duration::ZERO);
            reported.duration_since(start() + self.elapsed)
        }
    }

    fn start() -> Timestamp {
        "2026-03-01T08:00:00Z".parse().unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_momentary_wrong_time_is_never_reported() {
        let mut machine = Machine::started(SignedDuration::ZERO);
        machine.after(MINUTE);
        machine.ahead = SignedDuration::from_mins(40);
        for _ in 0..59 {
            machine.after(SECOND);
            assert_eq!(machine.reported_ahead(), SignedDuration::ZERO);
        }
        machine.ahead = SignedDuration::ZERO;
        machine.after(SECOND);
        assert_eq!(machine.reported_ahead(), SignedDuration::ZERO);
        machine.ahead = SignedDuration::from_hours(8); // a machine that was suspended
        machine.after(SECOND);
        assert_eq!(machine.reported_ahead(), SignedDuration::ZERO);
        machine.after(MINUTE);
        assert_eq!(machine.reported_ahead(), SignedDuration::from_hours(8));
    }

    #[test]
    fn a_start_at_a_wrong_time_is_made_up_for() {
        let mut machine = Machine::started(SignedDuration::from_mins(40));
        machine.after(SECOND);
        machine.ahead = SignedDuration::ZERO;
        for minute in 1..=80 {
            machine.after(MINUTE);
            let left = SignedDuration::from_mins(40) - SignedDuration::from_secs(30) * minute;
            assert_eq!(machine.reported_ahead(), left, "after {minute} minutes");
        }
    }

    #[test]
    fn a_small_step_is_followed_at_once() {
        let mut machine = Machine::started(SignedDuration::ZERO);
        machine.ahead = SignedDuration::from_secs(10);
        machine.after(SECOND);
        assert_eq!(machine.reported_ahead(), SignedDuration::from_secs(10));
        assert_eq!(machine.time.tell(Timestamp::MAX, Duration::MAX), Timestamp::MAX, "and nothing overflows");
    }

    proptest::proptest! {
        /// The reported time never goes back, and agrees with the time of day after that has been right for a minute
        /// and for twice as long as the reported time was ahead.
        #[test]
        fn the_reported_time_never_goes_back_and_converges(
            steps in proptest::collection::vec((0_u64..200_000, -4_000_000_i64..4_000_000), 0..60),
            pause in 1_u64..60_000,
        ) {
            let mut machine = Machine::started(SignedDuration::ZERO);
            let mut last = start();
            for (passed, ahead) in steps {
                machine.ahead = SignedDuration::from_millis(ahead);
                let reported = machine.after(Duration::from_millis(passed));
                proptest::prop_assert!(reported >= last, "{reported} comes after {last}");
                last = reported;
            }
            machine.ahead = SignedDuration::ZERO;
            let ahead = Duration::try_from(machine.reported_ahead()).unwrap_or_default();
            let until = machine.elapsed + MINUTE + ahead * SLOWDOWN + SECOND;
            while machine.elapsed < until {
                let reported = machine.after(Duration::from_millis(pause));
                proptest::prop_assert!(reported >= last, "{reported} comes after {last}");
                last = reported;
            }
            proptest::prop_assert_eq!(machine.reported_ahead(), SignedDuration::ZERO);
        }
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
