//! JSON objects whose values are kept as text, so that numbers keep their digits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON object with its members in their written order.
#[derive(Debug, Default)]
pub struct JsonObject(Vec<(String, Box<RawValue>)>);

impl JsonObject {
    /// Converts a value to an object.
    ///
    /// # Errors
    ///
    /// If it does not serialize as an object.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&serde_json::to_string(value)?)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Keeps only these members, in this order.
    pub fn with_only(mut self, names: &[String]) -> Self {
        let place = |member: &(String, _)| names.iter().position(|name| *name == member.0);
        self.0.retain(|member| place(member).is_some());
        self.0.sort_by_key(place);
        self
    }

    /// Inserts a member before all others.
    pub(super) fn beginning_with(mut self, name: &str, value: &impl Serialize) -> Self {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.0.insert(0, (name.to_owned(), value));
        }
        self
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = JsonObject;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut members = Vec::with_capacity(48);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonObject(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_digits() {
        let json = r#"{"b":1.50,"a":{"iban":100000000000000000000000000001},"c":1e400}"#;
        let object = || JsonObject::of(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&object()).unwrap(), json);
        let names = ["c".to_owned(), "b".to_owned()];
        let reduced = object().with_only(&names).beginning_with("@odata.context", &"x");
        assert_eq!(serde_json::to_string(&reduced).unwrap(), r#"{"@odata.context":"x","c":1e400,"b":1.50}"#);
        assert!(JsonObject::of(&[1]).is_err());
    }
}
