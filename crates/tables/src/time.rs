//! Parses times in arguments and files.

use jiff::Timestamp;

use performer_wire::ApiTime;

/// The accepted formats, for messages.
pub(crate) const FORMS: &str = "2026-09-01, 2026/09/01 or 2026 09 01, alone or with a time of day, as in 2026-09-01 14:30 or 2026-09-01T14:30:00+02:00";

/// Parses a time.
///
/// The formats are those of RFC 3339 and of the Orchestrator's item upload: year, month and day separated by `-`, `/` or a
/// space; alone (which means midnight), or followed by hours and minutes, seconds, and an offset. Without an offset a time is
/// UTC. A time after the last one that can be stored becomes that one, as over HTTP.
///
/// # Errors
///
/// A message for a text in another format, such as the ambiguous 01.09.2026 and 09/01/2026, and for a day that does not exist.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is not a time; write it as {FORMS}");
    if let Some(ApiTime(timestamp)) = ApiTime::parse(text) {
        return Ok(timestamp);
    }
    let (date, rest) = date(text).ok_or_else(wrong)?;
    let time = rest.trim_start_matches([' ', 'T', 't']).replace(' ', "");
    // The upload format allows an hour with one digit.
    let zero = if time.find(':') == Some(1) { "0" } else { "" };
    let whole = if time.is_empty() { date } else { format!("{date}T{zero}{time}") };
    ApiTime::parse(&whole).map(|ApiTime(timestamp)| timestamp).ok_or_else(wrong)
}

/// The date at the beginning of a text in ISO 8601 format, and the rest of the text.
fn date(text: &str) -> Option<(String, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (year, rest) = text.split_at_checked(4).filter(|(year, _)| digits(year) == 4)?;
    let separator = rest.chars().next().filter(|c| matches!(c, '-' | '/' | ' '))?;
    let rest = &rest[1..];
    let (month, rest) = rest.split_at_checked(digits(rest))?;
    let rest = rest.strip_prefix(separator)?;
    let (day, rest) = rest.split_at_checked(digits(rest))?;
    let ends = rest.is_empty() || rest.starts_with([' ', 'T', 't']);
    let fits = |part: &str| (1..=2).contains(&part.len());
    (ends && fits(month) && fits(day)).then(|| (format!("{year}-{month:0>2}-{day:0>2}"), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_formats_of_the_upload_are_accepted() {
        let midnight: Timestamp = "2026-09-01T00:00:00Z".parse().unwrap();
        let minutes: Timestamp = "2026-09-01T14:30:00Z".parse().unwrap();
        let seconds: Timestamp = "2026-09-01T14:30:05Z".parse().unwrap();
        for date in ["2026-09-01", "2026/09/01", "2026 09 01", "2026/9/1"] {
            assert_eq!(parse(date), Ok(midnight), "{date}");
            assert_eq!(parse(&format!(" {date} 14:30 ")), Ok(minutes), "{date}");
            assert_eq!(parse(&format!("{date} 14:30:05")), Ok(seconds), "{date}");
            assert_eq!(parse(&format!("{date}T14:30:05.000")), Ok(seconds), "{date}");
            assert_eq!(parse(&format!("{date} 16:30:05 +02:00")), Ok(seconds), "{date}");
            assert_eq!(parse(&format!("{date}T14:30:05Z")), Ok(seconds), "{date}");
        }
        assert_eq!(parse("2026-09-01 9:05"), Ok("2026-09-01T09:05:00Z".parse().unwrap()));
        assert_eq!(parse("2026-09-01T14:30Z"), Ok(minutes));
    }

    #[test]
    fn ambiguous_and_invalid_times_are_refused() {
        for text in [
            "",
            "tomorrow",
            "14:30",
            "01.09.2026",
            "09/01/2026",
            "2026-13-01",
            "2026-02-30",
            "2026-09/01",
            "2026-09-01 25:00",
            "2026-09-01 14:30 PM",
            "2026-09-01 14:30:00 +99:00",
            "46266.5",
        ] {
            assert!(parse(text).unwrap_err().contains("is not a time; write it as"), "{text}");
        }
    }

    #[test]
    fn the_last_day_becomes_the_last_time_that_can_be_stored() {
        use performer_core::model::stored_time::StoredTime;
        for text in
            ["9999-12-31", "9999/12/31 23:59:59", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999Z"]
        {
            assert_eq!(parse(text), Ok(StoredTime::LAST.timestamp()), "{text}");
        }
    }
}
