//! Dates, times of day and durations of spreadsheets, as ISO 8601.
//!
//! A spreadsheet has no time zones. A whole number of days is a date (`2026-09-01`), a number with a fraction a date with a time of
//! day (`2026-09-01T14:30:00`), one below 1 a time of day (`14:30:00`). Times are rounded to milliseconds, which is what a
//! spreadsheet can show.

use jiff::civil::{Date, DateTime, Time, date as civil_date};
use jiff::{SignedDuration, Span};

use super::super::numbers;

const MILLISECONDS_A_DAY: i64 = 86_400_000;

/// The text of a serial date: a number of days since the beginning of 1900, or of 1904.
///
/// # Errors
///
/// The number, if it is no date: below 0, after the year 9999, or 1900-02-29, which spreadsheets count and no calendar has.
pub(super) fn date(serial: f64, is_1904: bool) -> Result<String, String> {
    let wrong = || numbers::text_of(serial);
    if !(0.0..2_958_466.0).contains(&serial) {
        return Err(wrong());
    }
    let milliseconds = rounded(serial).ok_or_else(wrong)?;
    let (days, rest) = (milliseconds / MILLISECONDS_A_DAY, milliseconds % MILLISECONDS_A_DAY);
    if days == 0 {
        return Ok(time_of_day(rest));
    }
    let epoch = match days {
        _ if is_1904 => civil_date(1904, 1, 1),
        60 => return Err(wrong()),
        // Days before the one that is counted and did not exist.
        1..60 => civil_date(1899, 12, 31),
        _ => civil_date(1899, 12, 30),
    };
    let date = epoch.checked_add(Span::new().days(days)).map_err(|_| wrong())?;
    Ok(if rest == 0 { date.to_string() } else { format!("{date}T{}", time_of_day(rest)) })
}

/// The text of a duration in days, such as `PT36H30M`.
///
/// # Errors
///
/// The number, if it is no duration.
pub(super) fn duration(days: f64) -> Result<String, String> {
    let milliseconds = rounded(days).ok_or_else(|| numbers::text_of(days))?;
    Ok(SignedDuration::from_millis(milliseconds).to_string())
}

/// The text of a date that a file has as ISO 8601, with or without a time of day.
///
/// # Errors
///
/// The text, if it is no date.
pub(super) fn iso_date(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Ok(date) = text.parse::<Date>()
        && !text.contains([':', 'T'])
    {
        return Ok(date.to_string());
    }
    if let Ok(time) = text.trim_start_matches('T').parse::<Time>()
        && !text.contains('-')
    {
        return Ok(time.to_string());
    }
    let moment: DateTime = text.trim_end_matches('Z').parse().map_err(|_| text.to_owned())?;
    let is_midnight = moment.time() == Time::midnight();
    Ok(if is_midnight { moment.date().to_string() } else { moment.to_string() })
}

/// The text of a time that OpenDocument has as a duration, such as `PT14H30M00S`: a time of day, unless its format or its length
/// shows that it is a duration.
///
/// # Errors
///
/// The text, if it is no time.
pub(super) fn iso_time(text: &str, is_duration: bool) -> Result<String, String> {
    let wrong = |_| text.to_owned();
    let duration: SignedDuration = text.trim().parse().map_err(wrong)?;
    let milliseconds = i64::try_from(duration.as_millis()).map_err(|_| text.to_owned())?;
    let is_time_of_day = !is_duration && (0..MILLISECONDS_A_DAY).contains(&milliseconds);
    Ok(if is_time_of_day {
        time_of_day(milliseconds)
    } else {
        SignedDuration::from_millis(milliseconds).to_string()
    })
}

/// A number of days in milliseconds.
fn rounded(days: f64) -> Option<i64> {
    let milliseconds = (days * 86_400_000.0).round();
    // Up to here every integer is a float.
    (milliseconds.abs() < 9e15).then_some(milliseconds as i64)
}

/// The text of milliseconds after midnight.
fn time_of_day(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    let time = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if rest == 0 { time } else { format!("{time}.{rest:03}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_dates_are_dates_times_or_both() {
        for (serial, expected) in [
            (46_266.0, "2026-09-01"),
            (46_266.604_166_666_664, "2026-09-01T14:30:00"),
            (46_266.604_166_7, "2026-09-01T14:30:00.003"),
            (0.604_166_666_666_666_6, "14:30:00"),
            (46_265.999_999_999_9, "2026-09-01"),
            (0.0, "00:00:00"),
            (1.0, "1900-01-01"),
            (59.0, "1900-02-28"),
            (61.0, "1900-03-01"),
            (2_958_465.0, "9999-12-31"),
        ] {
            assert_eq!(date(serial, false).as_deref(), Ok(expected), "{serial}");
        }
        assert_eq!(date(44_804.0, true).as_deref(), Ok("2026-09-01"));
        assert_eq!(date(60.0, true).as_deref(), Ok("1904-03-01"));
        for (serial, shown) in
            [(60.0, "60"), (60.5, "60.5"), (-1.0, "-1"), (2_958_466.0, "2958466"), (f64::NAN, "NaN")]
        {
            assert_eq!(date(serial, false), Err(shown.to_owned()));
        }
    }

    #[test]
    fn durations_are_those_of_iso_8601() {
        assert_eq!(duration(1.520_833_333_333_333_3).as_deref(), Ok("PT36H30M"));
        assert_eq!(duration(0.0).as_deref(), Ok("PT0S"));
        assert_eq!(duration(-0.5).as_deref(), Ok("-PT12H"));
        assert!(duration(1e300).is_err());
    }

    #[test]
    fn the_texts_of_opendocument_are_read() {
        assert_eq!(iso_date("2026-09-01").as_deref(), Ok("2026-09-01"));
        assert_eq!(iso_date("2026-09-01T14:30:00").as_deref(), Ok("2026-09-01T14:30:00"));
        assert_eq!(iso_date("2026-09-01T00:00:00").as_deref(), Ok("2026-09-01"));
        assert_eq!(iso_date("2026-09-01T14:30:00.500000000").as_deref(), Ok("2026-09-01T14:30:00.5"));
        assert_eq!(iso_date("2026-02-30"), Err("2026-02-30".to_owned()));
        assert_eq!(iso_time("PT14H30M00S", false).as_deref(), Ok("14:30:00"));
        assert_eq!(iso_time("PT14H30M00S", true).as_deref(), Ok("PT14H30M"));
        assert_eq!(iso_time("PT36H30M00S", false).as_deref(), Ok("PT36H30M"));
        assert!(iso_time("soon", false).is_err());
    }
}
