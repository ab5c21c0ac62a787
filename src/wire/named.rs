//! Enumerations on the wire (orchestrator-api 12.2): names in any case, or numbers; what is newer than this version
//! is kept as it came.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of an enumeration, or something that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named<E> {
    Known(E),
    Unknown(String),
}

impl<E: Copy> Named<E> {
    /// The value, if this version knows it.
    pub(crate) fn known(&self) -> Option<E> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }
}

impl<E> From<E> for Named<E> {
    fn from(value: E) -> Self {
        Self::Known(value)
    }
}

impl<E: fmt::Display> fmt::Display for Named<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl<E: fmt::Display> Serialize for Named<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, E: FromStr> Deserialize<'de> for Named<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber<E>(std::marker::PhantomData<E>);
        impl<E: FromStr> serde::de::Visitor<'_> for NameOrNumber<E> {
            type Value = Named<E>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a number")
            }
            fn visit_str<R: serde::de::Error>(self, text: &str) -> Result<Named<E>, R> {
                Ok(text.parse().map_or_else(|_| Named::Unknown(text.to_owned()), Named::Known))
            }
            fn visit_i64<R: serde::de::Error>(self, number: i64) -> Result<Named<E>, R> {
                self.visit_str(&number.to_string())
            }
            fn visit_u64<R: serde::de::Error>(self, number: u64) -> Result<Named<E>, R> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(NameOrNumber(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::Status;
    use crate::wire::round_trip;

    #[test]
    fn names_numbers_and_what_is_newer_survive() {
        for json in ["\"InProgress\"", "\"inprogress\"", "\"1\"", "1"] {
            assert_eq!(round_trip::<Named<Status>>(json).known(), Some(Status::InProgress), "{json}");
        }
        for (json, text) in [("\"Paused\"", "Paused"), ("17", "17"), ("-1", "-1")] {
            let value = round_trip::<Named<Status>>(json);
            assert_eq!((value.known(), value.to_string().as_str()), (None, text));
        }
        assert!(serde_json::from_str::<Named<Status>>("true").is_err());
    }
}
