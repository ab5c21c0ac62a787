//! Numbers in cells, if they can be represented without losing a digit.

use std::borrow::Cow;

use serde_json::Number;

/// Parses a number in JSON syntax without an exponent. 007, +1, .5 and 1e5 are refused, because they are more often
/// identifiers.
pub(crate) fn parse_plain(cell: &str) -> Option<Number> {
    let (_, digits, fraction, exponent) = parts(cell)?;
    let is_padded = digits.len() > 1 && digits.starts_with('0');
    let is_plain = !digits.is_empty() && !is_padded && fraction != Some("") && exponent.is_none();
    (is_plain && !cell.starts_with('+')).then(|| exact(cell))?
}

/// Parses a number in a column of numbers: also with a plus sign, leading zeros, an exponent, or no digit on one side of the
/// point.
///
/// # Errors
///
/// A message for a text that is not a number, and for one that would lose digits.
pub(crate) fn parse_any(cell: &str) -> Result<Number, String> {
    parse_shown(cell, cell)
}

/// As [`parse_any`], for a number that was written in another way, which the message shows.
pub(crate) fn parse_shown(number: &str, shown: &str) -> Result<Number, String> {
    parts(number).ok_or_else(|| format!("{shown:?} is not a number"))?;
    exact(number).ok_or_else(|| format!("{shown:?} would lose digits as a number"))
}

/// The characters that may stand between groups of three digits where the decimal mark is a comma.
const GROUPING: [char; 5] = ['.', ' ', '\u{a0}', '\u{202f}', '\''];

/// A number with a decimal comma as one with a decimal point: `1.234,5` as `1234.5`. Whatever is no such number, as `1.5` is, is
/// returned with its comma or in quotation marks, so that it is not taken for a number.
pub(crate) fn with_decimal_point(cell: &str) -> Cow<'_, str> {
    let (whole, fraction) =
        cell.split_once(',').map_or((cell, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_fraction = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'e' | b'E' | b'+' | b'-'))
    };
    if fraction.is_some_and(|fraction| !is_fraction(fraction)) {
        return Cow::Borrowed(cell);
    }
    let whole = match whole.find(GROUPING) {
        None => Cow::Borrowed(whole),
        Some(at) => {
            let mark = whole[at..].chars().next().unwrap_or('.');
            let mut groups = whole.trim_start_matches(['+', '-']).split(mark);
            let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
            let first = groups.next().unwrap_or_default();
            let fits = (1..=3).contains(&first.len()) && is_digits(first) && !first.starts_with('0');
            if !fits || !groups.all(|group| group.len() == 3 && is_digits(group)) {
                return Cow::Owned(format!("\"{cell}\""));
            }
            Cow::Owned(whole.replace(mark, ""))
        }
    };
    match fraction {
        Some(fraction) => Cow::Owned(format!("{whole}.{fraction}")),
        None => whole,
    }
}

/// The shortest text of a number of a spreadsheet that identifies it, an integer without a point.
pub(crate) fn text_of(number: f64) -> String {
    if number.abs() < 1e19 { (number + 0.0).to_string() } else { format!("{number:e}") }
}

/// Splits a number into its sign, the digits before and after the point, and the exponent.
fn parts(text: &str) -> Option<(&str, &str, Option<&str>, Option<&str>)> {
    let sign_of = |text: &str| usize::from(text.starts_with(['+', '-']));
    let (sign, rest) = text.split_at(sign_of(text));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (digits, fraction) = match mantissa.split_once('.') {
        Some((digits, fraction)) => (digits, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !digits.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    let exponent_fits =
        exponent.is_none_or(|text| text.len() > sign_of(text) && all_digits(&text[sign_of(text)..]));
    (has_digits && all_digits(digits) && fraction.is_none_or(all_digits) && exponent_fits)
        .then_some((sign, digits, fraction, exponent))
}

/// The JSON number with exactly this value, if there is one.
fn exact(text: &str) -> Option<Number> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    if !text.contains(['.', 'e', 'E']) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    // The exponent format prints the fewest digits that identify the number.
    let kept = significant(&format!("{number:e}"))? == significant(text)?;
    if kept { Number::from_f64(number) } else { None }
}

/// The significant digits, and the power of ten of the last one.
fn significant(text: &str) -> Option<(String, i64)> {
    let (_, digits, fraction, exponent) = parts(text)?;
    let fraction = fraction.unwrap_or_default();
    let all = format!("{digits}{fraction}");
    let kept = all.trim_end_matches('0');
    let significant = kept.trim_start_matches('0').to_owned();
    if significant.is_empty() {
        return Some((significant, 0));
    }
    let exponent: i64 = exponent.map_or(Ok(0), str::parse).ok()?;
    let places = i64::try_from(fraction.len()).ok()? - i64::try_from(all.len() - kept.len()).ok()?;
    Some((significant, exponent.checked_sub(places)?))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_plain_number_keeps_its_value() {
        for (cell, expected) in [
            ("12", Value::from(12)),
            ("0", Value::from(0)),
            ("-1.5", Value::from(-1.5)),
            ("20.40", Value::from(20.4)),
            ("0.001", Value::from(0.001)),
            ("100.00", Value::from(100.0)),
            ("22.200000000000003", Value::from(22.200_000_000_000_003)),
            ("18446744073709551615", Value::from(u64::MAX)),
            ("-9223372036854775808", Value::from(i64::MIN)),
        ] {
            assert_eq!(parse_plain(cell).map(Value::Number), Some(expected), "{cell}");
        }
    }

    #[test]
    fn identifiers_and_inexact_numbers_are_refused() {
        for cell in [
            "",
            "007",
            "00",
            "+1",
            ".5",
            "5.",
            "1e5",
            "1E5",
            "-",
            ".",
            "1,5",
            "1.000,00",
            "1 000",
            "12a",
            "0x10",
            "inf",
            "NaN",
            "true",
            "18446744073709551616",
            "100000000000000000000000000001",
            "1234567890123456.78",
            "0.1234567890123456789",
            "1.2.3",
            "１２",
        ] {
            assert_eq!(parse_plain(cell), None, "{cell}");
        }
    }

    #[test]
    fn a_column_of_numbers_accepts_more_formats() {
        for (cell, expected) in [
            ("007", Value::from(7)),
            ("+1", Value::from(1)),
            (".5", Value::from(0.5)),
            ("5.", Value::from(5.0)),
            ("1.5e-7", Value::from(1.5e-7)),
            ("1E5", Value::from(1e5)),
        ] {
            assert_eq!(parse_any(cell).map(Value::Number), Ok(expected), "{cell}");
        }
        for cell in ["n/a", "1,5", "NaN", "e5", "1e", "--1"] {
            assert!(parse_any(cell).unwrap_err().contains("is not a number"), "{cell}");
        }
        for cell in ["100000000000000000000000000001", "1234567890123456.78", "1e999", "1e-999"] {
            assert!(parse_any(cell).unwrap_err().contains("would lose digits"), "{cell}");
        }
    }

    #[test]
    fn a_comma_is_the_decimal_mark_on_request() {
        for (cell, expected) in [
            ("1,5", "1.5"),
            ("-0,25", "-0.25"),
            ("12", "12"),
            ("1.234", "1234"),
            ("1.234.567,89", "1234567.89"),
            ("1 234,5", "1234.5"),
            ("1\u{202f}234", "1234"),
            ("1'234,5", "1234.5"),
            ("-1.234,5", "-1234.5"),
        ] {
            assert_eq!(with_decimal_point(cell), expected, "{cell}");
            assert!(parse_plain(&with_decimal_point(cell)).is_some(), "{cell}");
        }
        for cell in [
            "1.5",
            "12.34",
            "1,234,567",
            "1.234 567",
            "0.123",
            "1234.567",
            "1,5 EUR",
            "1.2345",
            "n/a",
            "1.234,56.7",
        ] {
            assert_eq!(parse_plain(&with_decimal_point(cell)), None, "{cell}");
            assert!(parse_any(&with_decimal_point(cell)).is_err(), "{cell}");
        }
    }

    #[test]
    fn a_number_of_a_sheet_has_its_shortest_digits() {
        for (number, expected) in [
            (20.4, "20.4"),
            (20.0, "20"),
            (-0.0, "0"),
            (22.200_000_000_000_003, "22.200000000000003"),
            (1e15, "1000000000000000"),
            (1e300, "1e300"),
            (0.000_001, "0.000001"),
        ] {
            assert_eq!(text_of(number), expected);
            assert_eq!(parse_any(expected).unwrap().as_f64(), Some(number));
        }
    }
}
