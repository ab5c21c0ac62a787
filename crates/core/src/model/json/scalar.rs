//! One value of a flat object, with all digits of a number.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{JsonKind, repaired_text};

/// A value as it was written, in a row of a file or on a command line. [`NewQueueItem::new`](crate::model::item::NewQueueItem::new)
/// accepts an object of names and `Scalar`s, and keeps its digits.
#[derive(Clone, Debug)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number, with its digits.
    Number(Box<RawValue>),
    /// A string.
    Text(String),
    /// An array or an object, which content cannot contain: it is refused with its name.
    Nested(Box<RawValue>),
}

impl Scalar {
    /// Parses a JSON value, with U+FFFD for each half of a surrogate pair.
    ///
    /// # Errors
    ///
    /// If it is no JSON.
    pub fn read(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&repaired_text(json))
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A text without quotes, anything else as JSON.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Number(json) | Self::Nested(json) => f.write_str(json.get()),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Number(json) | Self::Nested(json) => json.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(match JsonKind::of(raw.get()) {
            JsonKind::Null => Self::Null,
            JsonKind::Boolean => Self::Boolean(raw.get() == "true"),
            JsonKind::Number => Self::Number(raw.to_owned()),
            JsonKind::Text => Self::Text(serde_json::from_str(raw.get()).map_err(D::Error::custom)?),
            JsonKind::Array | JsonKind::Object => Self::Nested(raw.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::content::SpecificContent;

    #[test]
    fn a_value_is_shown_and_written_as_it_was() {
        for (json, shown) in [
            ("100000000000000000000000000001", "100000000000000000000000000001"),
            ("1.50", "1.50"),
            ("-0", "-0"),
            ("1E400", "1E400"),
            ("true", "true"),
            ("null", "null"),
            (r#""a\"b""#, "a\"b"),
            (r#"[1e400]"#, "[1e400]"),
        ] {
            let value = Scalar::read(json).unwrap();
            assert_eq!(
                (value.to_string().as_str(), serde_json::to_string(&value).unwrap().as_str()),
                (shown, json)
            );
        }
        assert_eq!(Scalar::read(r#""cut \ud83d""#).unwrap().to_string(), "cut \u{fffd}");
        for bad in ["NaN", "007", "1.", "x", "", "1 2"] {
            assert!(Scalar::read(bad).is_err(), "{bad}");
        }
        let row = BTreeMap::from([("a", Scalar::read("1.50").unwrap()), ("b", "007".into())]);
        assert_eq!(SpecificContent::of(&row).unwrap().as_json(), r#"{"a":1.50,"b":"007"}"#);
    }
}
