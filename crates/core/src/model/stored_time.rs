//! The instants that a store can keep.
//!
//! Callers give any time: `DateTime.MaxValue`, the year 1, a delay of `Duration::MAX`. A store keeps whole microseconds
//! within bounds that every store can write, read back and sort by. Every stored time passes through [`StoredTime`], so
//! a time that was accepted can always be read.

use std::time::Duration;

use jiff::Timestamp;

/// An instant that every store can keep: whole microseconds, from [`FIRST`](Self::FIRST) to [`LAST`](Self::LAST).
///
/// Converting a [`Timestamp`] never fails: an earlier or later time becomes the first or last instant, and digits below
/// the microsecond are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredTime(Timestamp);

/// Microseconds in a second.
const MICROS: i64 = 1_000_000;

impl StoredTime {
    /// 0001-01-01T00:00:00Z: the first instant that the Orchestrator's API can write.
    pub const FIRST: Self = Self(Timestamp::constant(-62_135_596_800, 0));
    /// 9999-12-30T22:00:00.999999Z: the last whole microsecond of a [`Timestamp`].
    pub const LAST: Self = Self(Timestamp::constant(253_402_207_200, 999_999_000));

    /// The instant.
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Microseconds since the Unix epoch, as stores write them.
    pub fn micros(self) -> i64 {
        self.0.as_microsecond()
    }

    /// The instant so many microseconds after the Unix epoch; `None` if it is out of range.
    pub fn from_micros(micros: i64) -> Option<Self> {
        // Not `Timestamp::from_microsecond`: it refuses the last second.
        let (second, rest) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
        let nanosecond = i32::try_from(rest * 1_000).ok()?;
        Timestamp::new(second, nanosecond).ok().map(Self)
    }
}

impl From<Timestamp> for StoredTime {
    fn from(at: Timestamp) -> Self {
        let at = at.clamp(Self::FIRST.0, Self::LAST.0);
        Self::from_micros(at.as_microsecond()).unwrap_or(Self::FIRST)
    }
}

impl From<StoredTime> for Timestamp {
    fn from(at: StoredTime) -> Self {
        at.0
    }
}

/// A time as a store keeps it.
pub fn stored(at: Timestamp) -> Timestamp {
    StoredTime::from(at).timestamp()
}

/// The time so long after `at`; [`StoredTime::LAST`] if it is out of range. Not rounded: [`stored`] is what a store keeps
/// of it.
pub fn after(at: Timestamp, delay: Duration) -> Timestamp {
    at.checked_add(delay).unwrap_or(StoredTime::LAST.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_becomes_readable() {
        let far = [Timestamp::MIN, Timestamp::MAX, StoredTime::FIRST.0, StoredTime::LAST.0];
        let near = [0, 1, -1, 999, 1_000, 1_001, -1_001, 1_800_000_000_123_456_789];
        let near = near.map(|nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap());
        for at in far.into_iter().chain(near) {
            let stored = StoredTime::from(at);
            assert_eq!(StoredTime::from_micros(stored.micros()), Some(stored), "{at}");
            assert_eq!(StoredTime::from(stored.timestamp()), stored, "{at}: keeping twice changes nothing");
            assert!((StoredTime::FIRST..=StoredTime::LAST).contains(&stored), "{at}");
        }
        assert_eq!(StoredTime::LAST.timestamp().to_string(), "9999-12-30T22:00:00.999999Z");
        assert_eq!(StoredTime::FIRST.timestamp().to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn numbers_that_are_no_time_are_known() {
        assert_eq!(StoredTime::from_micros(i64::MAX), None);
        assert_eq!(StoredTime::from_micros(i64::MIN), None);
        let before = Timestamp::MIN.as_microsecond();
        assert!(StoredTime::from_micros(before).is_some(), "older files may hold it");
    }

    #[test]
    fn a_delay_may_be_longer_than_the_calendar() {
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::MAX), StoredTime::LAST.0);
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::from_secs(1)).as_second(), 1);
        // A clock that is read more often than once a microsecond goes on too.
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::from_nanos(1)).as_nanosecond(), 1);
        assert_eq!(after(Timestamp::MAX, Duration::ZERO), Timestamp::MAX, "never back");
    }
}
