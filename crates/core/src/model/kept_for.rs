//! For how long what has ended is kept before it is removed. (Items have a retention of their queue's: lifecycle T23,
//! [`is_expired`](super::lifecycle::is_expired).)

use std::time::Duration;

use jiff::Timestamp;

use super::stored_time::{self, StoredTime};

/// For how long something is kept that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFor(Duration);

impl KeptFor {
    /// 30 days for a job; longer while an item names it as the one that took it.
    pub const ENDED_JOB: Self = Self(Duration::from_secs(30 * 86_400));

    /// 30 days for an operation on many items, with what became of each.
    pub const ENDED_OPERATION: Self = Self(Duration::from_secs(30 * 86_400));

    /// A day for a token. It is of no use any more; but a clock that is wrong for a while destroys none.
    pub const ENDED_TOKEN: Self = Self(Duration::from_secs(86_400));

    /// What ended before this time has been kept for long enough at `now`. A caller that removes it passes a time that is
    /// [believed](super::clock_guard::Judgement::believed).
    pub fn begin(self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.0).unwrap_or(StoredTime::FIRST.timestamp())
    }

    /// Until when something is kept that ended at this time.
    pub fn end(self, ended: Timestamp) -> Timestamp {
        stored_time::after(ended, self.0)
    }

    /// Whether what ended at this time has been kept for long enough at `now`.
    pub fn is_over(self, ended: Timestamp, now: Timestamp) -> bool {
        ended < self.begin(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_kept_for_its_time_and_no_longer() {
        let ended: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
        for (kept, days) in
            [(KeptFor::ENDED_JOB, 30), (KeptFor::ENDED_OPERATION, 30), (KeptFor::ENDED_TOKEN, 1)]
        {
            let last = ended + Duration::from_secs(days * 86_400);
            assert!(!kept.is_over(ended, ended) && !kept.is_over(ended, last), "{kept:?}");
            assert!(kept.is_over(ended, last + Duration::from_micros(1)), "{kept:?}");
            assert_eq!(kept.end(ended), last, "{kept:?}");
        }
    }

    #[test]
    fn nothing_is_old_where_the_calendar_begins() {
        let first = StoredTime::FIRST.timestamp();
        for now in [Timestamp::MIN, first, first + Duration::from_secs(3_600)] {
            assert!(!KeptFor::ENDED_JOB.is_over(first, now), "{now}");
        }
    }
}
