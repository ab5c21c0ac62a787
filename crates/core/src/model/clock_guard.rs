//! Whether the clock can be believed before something is removed because of its age.
//!
//! A clock that is ahead makes everything old. So the age of whatever is removed or abandoned because of it is judged
//! by a [`ClockGuard`], which compares three clocks: the time of day, the monotone clock of this process, and the last
//! time of day that a store kept because it was believed.
//!
//! * The time that was believed last, plus what has passed since by the monotone clock, is believed. It is never ahead.
//! * A time of day that is further ahead than that, or that moved away from the monotone clock, is believed after both
//!   have agreed for an hour; for a process that has just started and is at most an hour ahead of the kept time, ten
//!   minutes are enough.
//! * The age of what happened while both agreed is believed at once: they agree on how long ago it was.
//!
//! Times are those of the clock that decides for the store: in PostgreSQL the clock of the database.

use std::time::Duration;

use jiff::Timestamp;

use super::stored_time::after;

/// How long a process must have run before its time of day is believed, if it is little ahead of the kept time.
pub const BELIEVED_AFTER: Duration = Duration::from_secs(10 * 60);

/// How long the time of day and the monotone clock must have agreed before a time of day is believed that is far ahead
/// of the kept time, or if there is no kept time.
pub const FAR_AHEAD_BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Further ahead of the kept time than this is far ahead.
const FAR_AHEAD: Duration = Duration::from_secs(60 * 60);

/// How far the time of day may move away from the monotone clock: this, plus a hundredth of the time that passed.
const TOLERANCE: Duration = Duration::from_secs(60);

/// The period over which both are compared: a clock at another pace moves further than the tolerance in this time.
const COMPARISON_PERIOD: Duration = Duration::from_secs(10 * 60);

/// How often a believed time is kept in the store.
const KEEP_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Judges the time of day of one store in one process.
#[derive(Clone, Copy, Debug)]
pub struct ClockGuard {
    /// An earlier reading: the time of day, and the monotone clock.
    seen: (Timestamp, Duration),
    /// Since when both agree.
    agree_since: (Timestamp, Duration),
    /// A time that was believed, and when that was by the monotone clock.
    believed: Option<(Timestamp, Duration)>,
    /// The operator declared the time of day to be right.
    is_trusted: bool,
    is_reported: bool,
    /// The clock that decides was not read yet: for a database it is not the clock with which the guard began.
    is_fresh: bool,
}

impl ClockGuard {
    /// A guard that begins to observe. `elapsed` is the time of the monotone clock.
    pub fn new(now: Timestamp, elapsed: Duration) -> Self {
        let seen = (now, elapsed);
        Self {
            seen,
            agree_since: seen,
            believed: None,
            is_trusted: false,
            is_reported: false,
            is_fresh: true,
        }
    }

    /// Declares the time of day to be right: it is believed until it moves away from the monotone clock.
    pub fn trust(&mut self) {
        self.is_trusted = true;
    }

    /// Records both clocks. The more often this is called, the sooner a jump is detected.
    pub fn observe(&mut self, now: Timestamp, elapsed: Duration) {
        if std::mem::take(&mut self.is_fresh) {
            (self.seen, self.agree_since) = ((now, elapsed), (now, elapsed));
            return;
        }
        let (seen, at) = self.seen;
        let passed = elapsed.saturating_sub(at);
        let moved = now.duration_since(after(seen, passed)).unsigned_abs();
        if moved > TOLERANCE + passed / 100 {
            (self.seen, self.agree_since) = ((now, elapsed), (now, elapsed));
            (self.is_trusted, self.is_reported) = (false, false);
        } else if passed >= COMPARISON_PERIOD {
            self.seen = (now, elapsed);
        }
    }

    /// Judges the time of day. `kept` is the time that the store kept last, if it has one.
    pub fn judge(&mut self, now: Timestamp, elapsed: Duration, kept: Option<Timestamp>) -> Judgement {
        self.observe(now, elapsed);
        let by_then = |(believed, at): (Timestamp, Duration)| after(believed, elapsed.saturating_sub(at));
        // It was believed before this process read it: at least the time since then has passed.
        let kept_here = kept.map(|kept| (kept, elapsed));
        self.believed = self.believed.into_iter().chain(kept_here).max_by_key(|believed| by_then(*believed));
        let expected = self.believed.map(by_then);
        let is_near = expected.is_some_and(|expected| now <= after(expected, FAR_AHEAD));
        let needed = if is_near { BELIEVED_AFTER } else { FAR_AHEAD_BELIEVED_AFTER };
        let agreed_for = elapsed.saturating_sub(self.agree_since.1);
        if self.is_trusted || agreed_for >= needed {
            self.believed = Some((now, elapsed));
            let is_due = |kept: Timestamp| now.duration_since(kept).unsigned_abs() >= KEEP_INTERVAL;
            let keep = kept.is_none_or(is_due).then_some(now);
            return Judgement { now, believed: Some(now), agree_since: self.agree_since.0, keep, wait: None };
        }
        let believed = expected.map(|expected| expected.min(now));
        let wait = Some(needed.saturating_sub(agreed_for));
        Judgement { now, believed, agree_since: self.agree_since.0, keep: None, wait }
    }

    /// Whether it was reported that something is held back because of the clock. Counts as reported from now on.
    pub fn was_reported(&mut self) -> bool {
        std::mem::replace(&mut self.is_reported, true)
    }
}

/// The judgement of a guard on the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    now: Timestamp,
    believed: Option<Timestamp>,
    agree_since: Timestamp,
    /// The believed time that the store is to keep.
    pub keep: Option<Timestamp>,
    /// How long the time of day must continue to agree with the monotone clock before it is believed; `None`: it is
    /// believed.
    pub wait: Option<Duration>,
}

impl Judgement {
    /// The time by which to judge any age: the time of day if it is believed, else an earlier one. `None` if no time is
    /// known that is not ahead, so that nothing is old.
    pub fn believed(&self) -> Option<Timestamp> {
        self.believed
    }

    /// The time by which to judge the age of what happened at a time.
    pub fn believed_for(&self, since: Timestamp) -> Option<Timestamp> {
        if since >= self.agree_since { Some(self.now) } else { self.believed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::{Clock, ManualClock};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn start() -> Timestamp {
        "2026-03-01T08:00:00Z".parse().unwrap()
    }

    /// A process on a store that keeps a time.
    struct Process {
        clock: ManualClock,
        guard: ClockGuard,
        kept: Option<Timestamp>,
    }

    impl Process {
        fn started(now: Timestamp, kept: Option<Timestamp>) -> Self {
            let clock = ManualClock::new(now);
            Self { guard: ClockGuard::new(now, clock.elapsed()), clock, kept }
        }

        fn judge(&mut self) -> Judgement {
            let judgement = self.guard.judge(self.clock.now(), self.clock.elapsed(), self.kept);
            self.kept = judgement.keep.or(self.kept);
            judgement
        }

        /// Lets time pass, and judges each minute.
        fn run(&mut self, time: Duration) -> Judgement {
            self.judge();
            for _ in 0..time.as_secs() / 60 {
                self.clock.advance(MINUTE);
                self.judge();
            }
            self.judge()
        }

        fn set_ahead(&self, by: Duration) {
            self.clock.set(self.clock.now() + by);
        }
    }

    #[test]
    fn nothing_is_old_in_the_first_hour_on_a_store_that_kept_no_time() {
        let mut process = Process::started(start(), None);
        assert_eq!(process.judge().believed(), None);
        assert_eq!(process.run(59 * MINUTE).believed(), None);
        let judgement = process.run(MINUTE);
        assert_eq!((judgement.believed(), judgement.wait), (Some(start() + HOUR), None));
        assert_eq!(process.kept, Some(start() + HOUR));
    }

    #[test]
    fn after_a_restart_the_kept_time_is_believed_at_once_and_the_clock_after_ten_minutes() {
        let mut process = Process::started(start() + 30 * MINUTE, Some(start()));
        assert_eq!(process.judge().believed(), Some(start()), "it is not earlier than that");
        assert_eq!(process.run(9 * MINUTE).believed(), Some(start() + 9 * MINUTE));
        assert_eq!(process.run(MINUTE).believed(), Some(start() + 40 * MINUTE));
    }

    #[test]
    fn a_process_that_starts_200_days_ahead_removes_nothing_and_forgets_that_time() {
        let mut process = Process::started(start() + 200 * DAY, Some(start()));
        let judgement = process.judge();
        assert_eq!((judgement.believed(), judgement.wait), (Some(start()), Some(HOUR)));
        process.run(50 * MINUTE);
        process.clock.set(start() + 50 * MINUTE);
        let right = start() + 170 * MINUTE;
        assert_eq!(process.run(2 * HOUR).believed(), Some(right));
        assert!(process.kept.is_some_and(|kept| right - KEEP_INTERVAL <= kept && kept <= right));
    }

    #[test]
    fn a_long_stop_is_believed_after_an_hour() {
        let mut process = Process::started(start() + 200 * DAY, Some(start()));
        assert_eq!(process.run(59 * MINUTE).believed(), Some(start() + 59 * MINUTE));
        assert_eq!(process.run(MINUTE).believed(), Some(start() + 200 * DAY + HOUR));
    }

    #[test]
    fn a_jump_of_a_process_that_runs_changes_no_age() {
        let mut process = Process::started(start(), None);
        process.run(2 * HOUR);
        process.set_ahead(200 * DAY);
        assert_eq!(process.judge().believed(), Some(start() + 2 * HOUR));
        assert_eq!(process.run(30 * MINUTE).believed(), Some(start() + 150 * MINUTE));
        assert_eq!(process.kept, Some(start() + 2 * HOUR));
        process.clock.set(start() + 150 * MINUTE);
        assert_eq!(process.judge().believed(), Some(start() + 150 * MINUTE));
        process.set_ahead(200 * DAY); // and another jump, which lasts
        assert_eq!(process.run(HOUR).believed(), Some(start() + 200 * DAY + 210 * MINUTE));
    }

    #[test]
    fn a_time_that_is_set_back_is_earlier_for_all() {
        let mut process = Process::started(start(), None);
        process.run(2 * HOUR);
        process.clock.set(start());
        assert_eq!(process.judge().believed(), Some(start()));
        process.run(HOUR);
        assert_eq!(process.kept, Some(start() + HOUR), "the kept time is mended");
    }

    #[test]
    fn a_clock_at_another_pace_is_not_believed() {
        let mut process = Process::started(start(), None);
        for _ in 0..500 {
            process.clock.advance(MINUTE);
            process.clock.set(process.clock.now() - MINUTE / 2); // as a clock that makes up for a jump
            assert_eq!(process.judge().believed(), None);
        }
    }

    #[test]
    fn the_age_is_known_of_what_happened_while_the_clocks_agreed() {
        let mut process = Process::started(start(), None);
        process.run(5 * MINUTE);
        let judgement = process.judge();
        assert_eq!(judgement.believed_for(start()), Some(start() + 5 * MINUTE));
        assert_eq!(judgement.believed_for(start() - MINUTE), None);
        process.set_ahead(DAY);
        assert_eq!(process.judge().believed_for(start()), None);
    }

    #[test]
    fn an_operator_is_believed_until_the_clock_jumps() {
        let mut process = Process::started(start() + 200 * DAY, Some(start()));
        process.guard.trust();
        assert_eq!(process.judge().believed(), Some(start() + 200 * DAY));
        assert_eq!(process.kept, Some(start() + 200 * DAY));
        process.set_ahead(DAY);
        assert_eq!(process.judge().believed(), Some(start() + 200 * DAY));
    }

    #[test]
    fn holding_back_is_reported_once_for_each_jump() {
        let mut process = Process::started(start(), None);
        process.judge();
        assert!(!process.guard.was_reported() && process.guard.was_reported());
        process.set_ahead(DAY);
        process.judge();
        assert!(!process.guard.was_reported() && process.guard.was_reported());
    }

    #[test]
    fn trust_stays_if_another_clock_decides_than_at_the_start() {
        let mut guard = ClockGuard::new(start(), Duration::ZERO);
        guard.trust();
        let of_the_database = start() + HOUR;
        assert_eq!(guard.judge(of_the_database, MINUTE, None).believed(), Some(of_the_database));
    }

    proptest::proptest! {
        /// Whatever the time of day does for less than an hour at a time, no time is believed that is ahead of the true
        /// one by more than the kept time was when it was believed.
        #[test]
        fn no_wrong_time_is_believed(steps in proptest::collection::vec((0_u64..55, -400_i64..400), 0..40)) {
            let mut process = Process::started(start(), None);
            process.run(2 * HOUR);
            let mut truth = process.clock.now();
            for (minutes, days) in steps {
                let wrong = truth + jiff::SignedDuration::from_hours(24 * days + 2);
                process.clock.set(wrong);
                let judgement = process.run(Duration::from_secs(60 * minutes));
                truth += Duration::from_secs(60 * minutes);
                proptest::prop_assert!(judgement.believed().is_none_or(|believed| believed <= truth));
                // Right for a while, or not.
                process.clock.set(truth);
                let judgement = process.judge();
                proptest::prop_assert!(judgement.believed().is_none_or(|believed| believed <= truth));
            }
        }
    }
}
