//! JSON text: escapes without a character, the members of an object, and numbers with all their digits.
//!
//! SpecificContent, Output and Analytics are stored as JSON text. A number in them stays as it was written: JSON does
//! not limit digits, while `serde_json::Value` holds a number in 64 bits. So content is processed as text here, and
//! becomes a `Value` only if no digit is lost.

mod number;
mod read;
mod scalar;
mod write;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use number::is_same as is_same_number;
#[cfg(feature = "json-schema")]
pub(crate) use read::rounded;
pub(crate) use read::{parse, to_value};
pub use scalar::Scalar;
pub(crate) use write::{WrittenJson, written};

/// The text with U+FFFD for each escape that is half a surrogate pair, as in a text that was truncated within an emoji.
/// Such an escape is no character, and no JSON parser of Rust accepts it. The length stays the same: both forms have
/// six bytes.
pub fn repaired(json: &[u8]) -> Cow<'_, [u8]> {
    let mut repaired = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match code_unit(json, at) {
            Some(0xD800..=0xDBFF) if matches!(code_unit(json, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                repaired.to_mut()[at + 2..at + 6].copy_from_slice(b"fffd");
                6
            }
            Some(_) => 6,
            None => 2, // the byte after the backslash belongs to it
        };
        at = at.min(json.len());
    }
    repaired
}

/// As [`repaired`], for a string.
pub fn repaired_text(json: &str) -> Cow<'_, str> {
    match repaired(json.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(json),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The UTF-16 code unit of an escape `\uXXXX`.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

/// The members of a JSON object in the order of their names, with their values as they were written.
#[derive(Debug)]
pub struct Members<'a> {
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
    twice: Option<String>,
}

impl<'a> Members<'a> {
    /// Parses an object. Of members with one name the last one counts; see `twice`.
    ///
    /// # Errors
    ///
    /// If the text is no JSON object.
    pub fn read(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// A name that more than one member has.
    pub(crate) fn twice(&self) -> Option<&str> {
        self.twice.as_deref()
    }

    /// The members, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.list.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The value of a member, as it was written.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let at = self.list.binary_search_by(|(known, _)| known.as_ref().cmp(name)).ok()?;
        Some(self.list[at].1)
    }

    /// Leaves out the members with other names.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.list.retain(|(name, _)| keep(name));
    }

    /// Replaces the values of existing members.
    pub fn replace(&mut self, other: impl Fn(&str, &'a RawValue) -> Option<&'a RawValue>) {
        for (name, value) in &mut self.list {
            *value = other(name, value).unwrap_or(value);
        }
    }

    /// The object in our form: no spaces between members, and no unnecessary escapes.
    pub fn to_json(&self) -> String {
        let size: usize = self.list.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum();
        let mut json = String::with_capacity(size + 2);
        json.push('{');
        for (name, value) in self.iter() {
            if json.len() > 1 {
                json.push(',');
            }
            push_text(&mut json, name);
            json.push(':');
            push_value(&mut json, value);
        }
        json.push('}');
        json
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some((Name(name), value)) = map.next_entry()? {
                    list.push((name, value));
                }
                Ok(list)
            }
        }
        let mut list = deserializer.deserialize_map(Reader)?;
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = list.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0.to_string());
        if twice.is_some() {
            list.dedup_by(|later, first| {
                let same = later.0 == first.0;
                if same {
                    first.1 = later.1;
                }
                same
            });
        }
        Ok(Self { list, twice })
    }
}

/// What a JSON value is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl JsonKind {
    /// The kind of a value; for a text that is no JSON, what it begins like.
    pub fn of(json: &str) -> Self {
        match json.trim_start().as_bytes().first() {
            Some(b'n') | None => Self::Null,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') => Self::Text,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            Some(_) => Self::Number,
        }
    }

    pub(crate) fn is_scalar(self) -> bool {
        !matches!(self, Self::Array | Self::Object)
    }
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// Appends a text in quotes.
pub(crate) fn push_text(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        json.push_str(&serde_json::Value::from(text).to_string());
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

/// Appends a value: a text with the necessary escapes, anything else as it was written.
pub(crate) fn push_value(json: &mut String, value: &RawValue) {
    let value = value.get();
    match text_of(value).filter(|_| value.contains('\\')) {
        Some(text) => push_text(json, &text),
        None => json.push_str(value),
    }
}

/// The text that a JSON value is, if it is one.
pub fn text_of(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(&repaired_text(value)).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The deepest nesting of objects and arrays.
pub fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = json.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = match first {
            b'"' => rest_after_text(behind),
            _ => behind,
        };
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The error of a parser about a text that is no JSON, with the member it was near: NaN and numbers that JSON has no
/// form for are found by their names.
pub fn syntax_error(error: &serde_json::Error, json: &[u8]) -> String {
    const LONGEST: usize = 60;
    let near = if error.is_syntax() { member_before(json, error.line(), error.column()) } else { None };
    match near {
        Some(name) => format!("{error}, near {:?}", name.chars().take(LONGEST).collect::<String>()),
        None => error.to_string(),
    }
}

/// The name of the last member before a position, which is counted from 1 as in the errors of `serde_json`.
fn member_before(json: &[u8], line: usize, column: usize) -> Option<String> {
    let lines = json.split_inclusive(|byte| *byte == b'\n').take(line.checked_sub(1)?);
    let end = lines.map(<[u8]>::len).sum::<usize>() + column;
    let (mut last, mut rest) = (None, &json[..end.min(json.len())]);
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        let text = &rest[at..];
        rest = rest_after_text(&text[1..]);
        if rest.trim_ascii_start().starts_with(b":") {
            last = Some(&text[..text.len() - rest.len()]);
        }
    }
    serde_json::from_slice(last?).ok()
}

/// The rest after a text whose first quote was consumed.
pub fn rest_after_text(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [] => return rest,
            [b'"', behind @ ..] => return behind,
            [b'\\', _, behind @ ..] | [_, behind @ ..] => behind,
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        for (cut, whole) in [
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\uDE00 low""#, "\u{fffd} low"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83d\ude00\ude00""#, "😀\u{fffd}"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
        ] {
            let repaired = repaired(cut.as_bytes());
            assert_eq!(serde_json::from_slice::<String>(&repaired).unwrap(), whole, "{cut}");
            assert_eq!(repaired.len(), cut.len());
        }
        for kept in
            [r#""plain""#, r#""\ud83d\ude00""#, r#""\ud8"#, r#""\u"#, "\\", r#""\uzzzz""#, r#""\u+d83""#]
        {
            assert!(matches!(repaired(kept.as_bytes()), Cow::Borrowed(_)), "{kept}");
        }
    }

    #[test]
    fn members_are_in_order_and_keep_their_text() {
        let members = Members::read(r#"{ "b" : 1.50, "a\u0020x":"\u00e9\n", "c": [ 1 ] }"#).unwrap();
        assert_eq!(members.to_json(), r#"{"a x":"é\n","b":1.50,"c":[ 1 ]}"#);
        assert_eq!((members.iter().nth(1).unwrap().1.get(), members.twice()), ("1.50", None));
        let twice = Members::read(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!((twice.twice(), twice.to_json().as_str()), (Some("a"), r#"{"a":3,"b":2}"#));
        for bad in ["[1]", "{", "7", r#"{"a":NaN}"#, "{} {}"] {
            assert!(Members::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_is_found_by_its_member() {
        let error = |json: &str| {
            let error = serde_json::from_str::<Value>(json).unwrap_err();
            syntax_error(&error, json.as_bytes())
        };
        for json in [
            r#"{"b":1,"rate":NaN}"#,
            r#"{"b":"\"x\":","rate":-Infinity,"c":1}"#,
            "{\n\"b\":1,\n\"ra\\u0074e\" : 007}",
            r#"{"a":{"rate":1.}}"#,
        ] {
            assert!(error(json).ends_with(", near \"rate\""), "{json}: {}", error(json));
        }
        assert!(!error("NaN").contains("near") && !error("").contains("near"));
        let wrong = serde_json::from_str::<u8>("\"x\"").unwrap_err();
        assert_eq!(syntax_error(&wrong, b"\"x\""), wrong.to_string());
    }

    #[test]
    fn depth_counts_brackets_outside_texts() {
        for (json, expected) in [("1", 0), ("{}", 1), (r#"{"a":[{"b":"[[{\"["}]}"#, 3), (r#""\"#, 0)] {
            assert_eq!(depth(json), expected, "{json}");
        }
    }
}
