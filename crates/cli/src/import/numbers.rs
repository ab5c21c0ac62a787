//! Numbers in cells of CSV, if they can be represented without losing a digit.

use serde_json::Number;

/// Parses a number in JSON syntax without an exponent. 007, +1, .5 and 1e5 are refused, because they are more often
/// identifiers.
pub(super) fn parse_plain(cell: &str) -> Option<Number> {
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
pub(super) fn parse_any(cell: &str) -> Result<Number, String> {
    parts(cell).ok_or_else(|| format!("{cell:?} is not a number"))?;
    exact(cell).ok_or_else(|| format!("{cell:?} would lose digits as a number"))
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
}
