//! A change of a value that may be absent.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A change of a value that may be absent.
///
/// A value becomes the change that sets it: methods that take an `impl Into<FieldEdit<T>>` take a `T`, or [`FieldEdit::Clear`].
///
/// As JSON a field that is kept is left out, and one that is cleared is null: such a field needs
/// `#[serde(default, skip_serializing_if = "FieldEdit::is_keep")]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FieldEdit<T> {
    /// Keeps the value, or its absence.
    #[default]
    Keep,
    /// Removes the value.
    Clear,
    /// Sets the value.
    Set(T),
}

impl<T> FieldEdit<T> {
    /// The change that leads to this value, or to its absence.
    pub fn to(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }

    /// Whether nothing changes.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The value after the change.
    pub fn applied_to(self, value: Option<T>) -> Option<T> {
        match self {
            Self::Keep => value,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T> From<T> for FieldEdit<T> {
    fn from(value: T) -> Self {
        Self::Set(value)
    }
}

impl<T: Serialize> Serialize for FieldEdit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldEdit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Edit {
        #[serde(default, skip_serializing_if = "FieldEdit::is_keep")]
        most: FieldEdit<u32>,
    }

    #[test]
    fn an_absent_field_is_kept_and_null_clears_it() {
        for (json, most, after) in [
            ("{}", FieldEdit::Keep, Some(3)),
            (r#"{"most":null}"#, FieldEdit::Clear, None),
            (r#"{"most":7}"#, FieldEdit::Set(7), Some(7)),
        ] {
            let edit: Edit = serde_json::from_str(json).unwrap();
            assert_eq!(edit, Edit { most });
            assert_eq!(serde_json::to_string(&edit).unwrap(), json);
            assert_eq!(edit.most.applied_to(Some(3)), after);
        }
    }
}
