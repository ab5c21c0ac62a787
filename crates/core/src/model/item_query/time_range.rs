//! A range of times as people write it.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan as _};

use super::super::code::ErrorCode;
use super::super::refusal::Refusal;

const FORMS: &str =
    "24h, 7d, today, yesterday, 2026-11-01, 2026-11-01.., ..2026-11-30 or 2026-11-01T08:00..2026-11-01T12:00";

/// A range of times, which may be relative to the present.
///
/// `24h` is the time from 24 hours ago on (units: `s`, `m`, `h`, `d`, `w`); `2026-11-01`, `today` and `yesterday` are one day;
/// `A..B`, `A..` and `..B` are a range between two of these, or from or until one. A range ends at the end of a day that it
/// ends with, and right before any other time. Days are those of UTC; a time without an offset is UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRange {
    from: Option<Bound>,
    until: Option<Bound>,
    /// One time alone stands for itself (a day), or for everything since then (a duration).
    is_single: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bound {
    Now,
    Today,
    Yesterday,
    /// Seconds before the present, and how they were written.
    Ago(i64, String),
    Day(Date),
    Time(Timestamp, String),
}

impl TimeRange {
    /// The first time of the range, and the first one behind it, if `now` is the present.
    pub fn at(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        let until = match (&self.from, &self.until) {
            (Some(from), None) if self.is_single => from.end(now),
            (_, until) => until.as_ref().and_then(|until| until.end(now)),
        };
        // What is relative to the present and ends nowhere goes on.
        let until = until.filter(|_| !(self.is_single && matches!(self.from, Some(Bound::Ago(..)))));
        (self.from.as_ref().map(|from| from.start(now)), until)
    }
}

impl Bound {
    fn start(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::Today => midnight(day_of(now)),
            Self::Yesterday => midnight(day_of(now).yesterday().unwrap_or(Date::MIN)),
            Self::Ago(seconds, _) => {
                now.checked_sub(SignedDuration::from_secs(*seconds)).unwrap_or(Timestamp::MIN)
            }
            Self::Day(day) => midnight(*day),
            Self::Time(at, _) => *at,
        }
    }

    /// The first time behind it. `None`: no time is.
    fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let day: Span = 24.hours();
        match self {
            Self::Today | Self::Yesterday | Self::Day(_) => self.start(now).checked_add(day).ok(),
            Self::Now | Self::Ago(..) | Self::Time(..) => Some(self.start(now)),
        }
    }
}

fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

fn midnight(day: Date) -> Timestamp {
    TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).unwrap_or(Timestamp::MAX)
}

impl FromStr for TimeRange {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let bound = |part: &str| -> Result<Option<Bound>, Refusal> {
            let part = part.trim();
            if part.is_empty() { Ok(None) } else { part.parse().map(Some) }
        };
        let (from, until, is_single) = match text.split_once("..") {
            Some((from, until)) => (bound(from)?, bound(until)?, false),
            None => (bound(text)?, None, true),
        };
        if from.is_none() && until.is_none() {
            return Err(wrong(text));
        }
        Ok(Self { from, until, is_single })
    }
}

impl FromStr for Bound {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "now" => return Ok(Self::Now),
            "today" => return Ok(Self::Today),
            "yesterday" => return Ok(Self::Yesterday),
            _ => {}
        }
        if let Some(seconds) = duration(text) {
            return Ok(Self::Ago(seconds, text.to_owned()));
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::Time(at, text.to_owned()));
        }
        // A date that has a time of day behind it is parsed as a date too.
        if let Some(day) = text.parse().ok().filter(|_| text.len() == "2026-11-01".len()) {
            return Ok(Self::Day(day));
        }
        let time = text.parse::<DateTime>().ok().and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
        time.map(|at| Self::Time(at, text.to_owned())).ok_or_else(|| wrong(text))
    }
}

/// The seconds of a duration such as `24h`.
fn duration(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(seconds)
}

fn wrong(text: &str) -> Refusal {
    Refusal::new(
        ErrorCode::INVALID_REQUEST,
        format!("{text:?} is not a time or a range of times; write it as {FORMS}"),
    )
}

/// As it was written.
impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(from) = &self.from {
            write!(f, "{from}")?;
        }
        if !self.is_single {
            f.write_str("..")?;
        }
        if let Some(until) = &self.until {
            write!(f, "{until}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Today => f.write_str("today"),
            Self::Yesterday => f.write_str("yesterday"),
            Self::Ago(_, text) | Self::Time(_, text) => f.write_str(text),
            Self::Day(day) => write!(f, "{day}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_what_they_say() {
        let now: Timestamp = "2026-11-30T06:15:00Z".parse().unwrap();
        for (text, from, before) in [
            ("24h", "2026-11-29T06:15:00Z", ""),
            ("2w", "2026-11-16T06:15:00Z", ""),
            ("today", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("yesterday", "2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ("2026-11-01..", "2026-11-01T00:00:00Z", ""),
            ("..2026-11-01", "", "2026-11-02T00:00:00Z"),
            ("2026-11-01..2026-11-03", "2026-11-01T00:00:00Z", "2026-11-04T00:00:00Z"),
            ("7d..24h", "2026-11-23T06:15:00Z", "2026-11-29T06:15:00Z"),
            ("24h..now", "2026-11-29T06:15:00Z", "2026-11-30T06:15:00Z"),
            ("2026-11-01T08:00..2026-11-01T10:00:00+01:00", "2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z"),
        ] {
            let range: TimeRange = text.parse().unwrap();
            let time = |text: &str| (!text.is_empty()).then(|| text.parse::<Timestamp>().unwrap());
            assert_eq!(range.at(now), (time(from), time(before)), "{text}");
            assert_eq!(range.to_string(), text);
            assert_eq!(text.parse(), Ok(range));
        }
        for text in ["", "..", "soon", "24", "h", "-3h", "01.11.2026", "2026-13-01", "99999999999999999999d"]
        {
            assert!(text.parse::<TimeRange>().is_err(), "{text}");
        }
        let far: TimeRange = "9999999999999d".parse().unwrap();
        assert_eq!(far.at(now).0, Some(Timestamp::MIN));
    }
}
