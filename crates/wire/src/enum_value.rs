//! Enumerations in JSON (orchestrator-api 12.2): case-insensitive names or numbers. Unknown values are kept as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of an enumeration, or the text of an unknown value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnumValue<E> {
    Known(E),
    Unknown(String),
}

impl<E: Copy> EnumValue<E> {
    /// The value, if this version knows it.
    pub fn known(&self) -> Option<E> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }
}

impl<E> From<E> for EnumValue<E> {
    fn from(value: E) -> Self {
        Self::Known(value)
    }
}

impl<E: fmt::Display> fmt::Display for EnumValue<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl<E: fmt::Display> Serialize for EnumValue<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, E: FromStr> Deserialize<'de> for EnumValue<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber<E>(std::marker::PhantomData<E>);
        impl<E: FromStr> serde::de::Visitor<'_> for NameOrNumber<E> {
            type Value = EnumValue<E>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a number")
            }
            fn visit_str<R: serde::de::Error>(self, text: &str) -> Result<EnumValue<E>, R> {
                Ok(text.parse().map_or_else(|_| EnumValue::Unknown(text.to_owned()), EnumValue::Known))
            }
            fn visit_i64<R: serde::de::Error>(self, number: i64) -> Result<EnumValue<E>, R> {
                self.visit_str(&number.to_string())
            }
            fn visit_u64<R: serde::de::Error>(self, number: u64) -> Result<EnumValue<E>, R> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(NameOrNumber(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip;
    use performer_core::model::status::Status;

    #[test]
    fn names_numbers_and_unknown_values_are_kept() {
        for json in ["\"InProgress\"", "\"inprogress\"", "\"1\"", "1"] {
            assert_eq!(round_trip::<EnumValue<Status>>(json).known(), Some(Status::InProgress), "{json}");
        }
        for (json, text) in [("\"Paused\"", "Paused"), ("17", "17"), ("-1", "-1")] {
            let value = round_trip::<EnumValue<Status>>(json);
            assert_eq!((value.known(), value.to_string().as_str()), (None, text));
        }
        assert!(serde_json::from_str::<EnumValue<Status>>("true").is_err());
    }
}
