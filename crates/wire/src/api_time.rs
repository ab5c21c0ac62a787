//! Dates (orchestrator-api 4.3): written in UTC with at most seven fractional digits; read with any offset. No offset means
//! UTC.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use performer_core::model::stored_time::StoredTime;

/// A time in the format of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiTime(pub Timestamp);

impl ApiTime {
    /// Parses the formats of servers: `2026-09-01T00:00:00Z`, with an offset, without a zone, with up to nine fractional digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Some(Self(timestamp));
        }
        // Without a zone, or outside the range of Timestamp, as the end of the year 9999 is.
        let civil: DateTime = text.parse().or_else(|_| text.trim_end_matches(['Z', 'z']).parse()).ok()?;
        let far = if civil.year() > 0 { StoredTime::LAST } else { StoredTime::FIRST };
        Some(Self(civil.to_zoned(jiff::tz::TimeZone::UTC).map_or(far.timestamp(), |zoned| zoned.timestamp())))
    }

    /// Whether a server may treat this text in an open map as a date (orchestrator-api 4.3).
    pub fn looks_like_date(text: &str) -> bool {
        let bytes = text.as_bytes();
        bytes.len() >= 16
            && bytes[..4].iter().all(u8::is_ascii_digit)
            && (bytes[4], bytes[7], bytes[13]) == (b'-', b'-', b':')
            && matches!(bytes[10], b'T' | b't' | b' ')
    }

    /// Whether two values may record the same time. Lists have at most milliseconds, other responses more digits, and
    /// databases round differently.
    pub fn is_close_to(self, other: Self) -> bool {
        self.0.duration_since(other.0).abs() <= jiff::SignedDuration::from_millis(50)
    }
}

impl From<StoredTime> for ApiTime {
    fn from(at: StoredTime) -> Self {
        Self(at.timestamp())
    }
}

impl From<Timestamp> for ApiTime {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl fmt::Display for ApiTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Servers accept only the years 1 to 9999.
        let at = self.0.max(StoredTime::FIRST.timestamp());
        let hundred_nanoseconds = at.as_nanosecond().div_euclid(100) * 100;
        let whole = Timestamp::from_nanosecond(hundred_nanoseconds).unwrap_or(at);
        whole.fmt(f)
    }
}

impl Serialize for ApiTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a date")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_parsed_in_many_formats() {
        let noon = ApiTime::parse("2026-09-01T12:00:00Z").unwrap();
        for text in [
            "2026-09-01T12:00:00.0000000Z",
            "2026-09-01T14:00:00+02:00",
            "2026-09-01T12:00:00",
            "2026-09-01T12:00:00.000",
            "2026-09-01 12:00:00",
            "2026-09-01t12:00:00z",
        ] {
            assert_eq!(ApiTime::parse(text), Some(noon), "{text}");
        }
        assert_eq!(noon.to_string(), "2026-09-01T12:00:00Z");
        assert_eq!(ApiTime::parse("9999-12-31T23:59:59.9999999Z"), Some(StoredTime::LAST.into()));
        assert_eq!(ApiTime(Timestamp::MIN).to_string(), "0001-01-01T00:00:00Z");
        assert!(ApiTime::parse("0001-01-01T00:00:00Z").is_some());
        for text in ["", "tomorrow", "12:00", "2026-13-01T00:00:00Z"] {
            assert_eq!(ApiTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn dates_have_at_most_seven_fractional_digits() {
        let instant = ApiTime::parse("2026-09-01T12:00:00.1234567Z").unwrap();
        assert_eq!(instant.to_string(), "2026-09-01T12:00:00.1234567Z");
        let finer = ApiTime::parse("2026-09-01T12:00:00.123456789Z").unwrap();
        assert_eq!(finer.to_string(), instant.to_string());
        assert!(instant.is_close_to(ApiTime::parse("2026-09-01T12:00:00.123Z").unwrap()));
        assert!(
            instant.is_close_to(ApiTime::parse("2026-09-01T12:00:00.127Z").unwrap()),
            "a third of a hundredth"
        );
        assert!(!instant.is_close_to(ApiTime::parse("2026-09-01T12:00:00.223Z").unwrap()));
    }

    #[test]
    fn texts_that_look_like_dates_are_recognised() {
        assert!(ApiTime::looks_like_date("2019-12-06T17:00:05.000Z"));
        assert!(ApiTime::looks_like_date("2019-12-06T17:00"));
        for text in ["2019-12-06", "17:00:05", "INV-2019-12-06T17:00", "", "Überweisung 2019-12"] {
            assert!(!ApiTime::looks_like_date(text), "{text}");
        }
    }
}
