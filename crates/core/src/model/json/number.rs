//! Numbers as texts: which of them fit into 64 bits, and which two are equal.

/// A number as `serde_json::Value` holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

/// The number of a JSON text, if 64 bits hold all its digits. Zeros at the end of decimals do not count: 1.50 is 1.5.
pub(super) fn exact(text: &str) -> Option<Number> {
    if is_whole(text) {
        if let Ok(number) = text.parse() {
            return Some(Number::Signed(number));
        }
        if let Ok(number) = text.parse() {
            return Some(Number::Unsigned(number));
        }
    }
    let float = float(text)?;
    (is_plain(text) || is_same(&format!("{float:e}"), text)).then_some(Number::Float(float))
}

/// The nearest number that fits into 64 bits; `None` for one that is too large.
#[cfg(any(test, feature = "json-schema"))]
pub(super) fn nearest(text: &str) -> Option<Number> {
    exact(text).or_else(|| float(text).map(Number::Float))
}

/// The nearest float. `str::parse` rounds correctly; the parser of `serde_json` may be off by one in the last place.
pub(super) fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// Minus zero is a float: integers have no such value.
fn is_whole(text: &str) -> bool {
    text != "-0" && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// Up to fifteen digits without an exponent: every parser reads them correctly into 64 bits.
fn is_plain(text: &str) -> bool {
    text.len() <= 15 && !text.bytes().any(|byte| matches!(byte, b'e' | b'E'))
}

/// Whether every number of a JSON text satisfies a predicate.
fn all(json: &str, passes: impl Fn(&str) -> bool) -> bool {
    let mut rest = json.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = match first {
            b'"' => super::rest_after_text(behind),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = behind.iter().position(|byte| !is_part(byte)).unwrap_or(behind.len());
                let start = json.len() - rest.len();
                if !json.get(start..=start + end).is_some_and(&passes) {
                    return false;
                }
                &behind[end..]
            }
            _ => behind,
        };
    }
    true
}

/// Whether all numbers of a JSON text are so short that they need no closer check.
pub(super) fn are_plain(json: &str) -> bool {
    seem_plain(json.as_bytes()) || all(json, is_plain)
}

/// As [`are_plain`], without looking for the numbers: false also if a text has something in it that looks like a long
/// number. Most content is settled by these two passes, which the compiler makes of instructions for many bytes.
fn seem_plain(json: &[u8]) -> bool {
    // Sixteen characters of a number in a row fill one of these blocks, wherever they begin.
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if json.as_chunks::<8>().0.iter().any(|block| block.iter().all(is_part)) {
        return false;
    }
    // No early end: that would be a branch for each byte.
    let is_exponent = |digit: u8, e: u8| digit.is_ascii_digit() & (e | 0x20 == b'e');
    let behind = json.get(1..).unwrap_or_default();
    !json.iter().zip(behind).fold(false, |found, (digit, e)| found | is_exponent(*digit, *e))
}

/// Whether 64 bits hold all digits of all numbers of a JSON text.
pub(super) fn are_exact(json: &str) -> bool {
    all(json, |number| exact(number).is_some())
}

/// Whether two JSON numbers are equal, digit by digit: 1.50 and 15e-1 are.
pub fn is_same(a: &str, b: &str) -> bool {
    a == b || decimal(a).zip(decimal(b)).is_some_and(|(a, b)| a == b)
}

/// Its sign, its digits without zeros on either side, and the power of ten of the last digit.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let digits = significant.trim_end_matches('0');
    if digits.is_empty() {
        return Some((negative, String::new(), 0));
    }
    let zeros = i64::try_from(significant.len() - digits.len()).ok()?;
    let decimals = i64::try_from(fraction.len()).ok()?;
    let exponent: i64 = exponent.parse().ok()?;
    Some((negative, digits.to_owned(), exponent.checked_add(zeros)?.checked_sub(decimals)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_64_bits_hold_is_exact() {
        for (text, number) in [
            ("0", Number::Signed(0)),
            ("-7", Number::Signed(-7)),
            ("18446744073709551615", Number::Unsigned(u64::MAX)),
            ("1.50", Number::Float(1.5)),
            ("20.45", Number::Float(20.45)),
            ("1E5", Number::Float(1e5)),
            ("0.30000000000000004", Number::Float(0.1 + 0.2)),
            ("100000000000000000000", Number::Float(1e20)),
            ("1.7976931348623157e308", Number::Float(f64::MAX)),
            ("5e-324", Number::Float(5e-324)),
            ("0e99999999999999999999", Number::Float(0.0)),
        ] {
            assert_eq!(exact(text), Some(number), "{text}");
        }
        assert!(matches!(exact("-0"), Some(Number::Float(zero)) if zero.is_sign_negative()));
        for text in [
            "100000000000000000000000000001",
            "1234567890123456.78",
            "18446744073709551616.5",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            "0.1000000000000000055511151231257827",
        ] {
            assert_eq!(exact(text), None, "{text}");
        }
        assert_eq!(nearest("1234567890123456.78"), Some(Number::Float(1_234_567_890_123_456.8)));
        assert_eq!(nearest("1e400"), None);
    }

    #[test]
    fn what_seems_plain_is_plain() {
        assert!(seem_plain(br#"{"a":1.5,"t":"123456-e","b":[null,-2],"c":""}"#) && seem_plain(b""));
        for place in 0..9 {
            let spaces = " ".repeat(place);
            assert!(!seem_plain(format!(r#"{{{spaces}"a":1234567890123456}}"#).as_bytes()), "{place}");
            assert!(seem_plain(format!(r#"{{{spaces}"a":1234567}}"#).as_bytes()), "{place}");
            for exponent in ["1e5", "1E-5", "1.5e+5"] {
                assert!(!seem_plain(format!(r#"{{{spaces}"a":{exponent}}}"#).as_bytes()), "{place}");
            }
        }
        // A text that only looks like a number is settled by the closer look.
        let text = r#"{"t":"1e5 12345678901234567890"}"#;
        assert!(!seem_plain(text.as_bytes()) && are_plain(text));
    }

    #[test]
    fn numbers_are_found_outside_texts() {
        assert!(are_plain(r#"{"a":1.5,"t":"123456789012345678901\"2e3","b":[null,-2]}"#));
        assert!(!are_plain(r#"{"a":1e5}"#) && are_exact(r#"{"a":1e5}"#));
        assert!(!are_exact(r#"{"a":{"b":[1e400]}}"#));
    }

    #[test]
    fn the_same_number_has_many_forms() {
        for (a, b) in [
            ("1.50", "15e-1"),
            ("1E5", "100000"),
            ("0", "0.00"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(is_same(a, b), "{a} {b}");
        }
        for (a, b) in
            [("0", "-0"), ("1", "2"), ("1e400", "1e401"), ("100000000000000000000000000001", "1e29")]
        {
            assert!(!is_same(a, b), "{a} {b}");
        }
    }
}
