//! How tables show times.

use clap::ValueEnum;
use jiff::Timestamp;

/// How tables show times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeStyle {
    /// Such as 5m ago, or in 2h
    Relative,
    /// In UTC, such as 2026-11-30T07:00:00Z
    #[default]
    Iso,
    /// The seconds since 1970
    Unix,
}

/// A time of a table.
pub(super) fn shown(style: TimeStyle, at: Timestamp, now: Timestamp) -> String {
    match style {
        TimeStyle::Relative => relative(at, now),
        TimeStyle::Iso => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        TimeStyle::Unix => at.as_second().to_string(),
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How long ago a time is, or in how long it is, in its largest unit.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let length = match seconds.abs() {
        0 => return "now".to_owned(),
        short @ ..MINUTE => format!("{short}s"),
        minutes @ ..HOUR => format!("{}m", minutes / MINUTE),
        hours @ ..DAY => format!("{}h", hours / HOUR),
        days => format!("{}d", days / DAY),
    };
    if seconds < 0 { format!("{length} ago") } else { format!("in {length}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_three_styles() {
        let now: Timestamp = "2026-11-30T07:00:00.5Z".parse().unwrap();
        for (at, iso, expected) in [
            ("2026-11-30T07:00:00.9Z", "2026-11-30T07:00:00Z", "now"),
            ("2026-11-30T06:59:01Z", "2026-11-30T06:59:01Z", "59s ago"),
            ("2026-11-30T06:00:01Z", "2026-11-30T06:00:01Z", "59m ago"),
            ("2026-11-29T07:00:01Z", "2026-11-29T07:00:01Z", "23h ago"),
            ("2026-11-23T07:00:00Z", "2026-11-23T07:00:00Z", "7d ago"),
            ("2026-11-30T09:30:00Z", "2026-11-30T09:30:00Z", "in 2h"),
        ] {
            let at = at.parse().unwrap();
            assert_eq!(shown(TimeStyle::Relative, at, now), expected);
            assert_eq!(shown(TimeStyle::Iso, at, now), iso);
            assert_eq!(shown(TimeStyle::Unix, at, now), at.as_second().to_string());
        }
    }
}
