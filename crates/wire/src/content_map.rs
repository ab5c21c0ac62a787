//! SpecificContent, Output and Analytics: open maps of scalars (orchestrator-api 4.3).

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::ApiTime;
use performer_core::model::json::{self, JsonKind, Members};

/// An open map as JSON text, so that numbers keep all their digits. Annotations (`"When@odata.type": "#String"`) are dropped
/// when it is read. When it is written, texts that a server might treat as dates get one, so that the server does not
/// rewrite them.
#[derive(Clone, Debug)]
pub struct ContentMap(Box<str>);

/// The maximum nesting that is accepted. Maps of an Orchestrator have none.
const MAX_DEPTH: usize = 100;

impl ContentMap {
    /// Parses a JSON object; an empty map for anything else.
    pub fn of_json(text: &str) -> Self {
        if Members::read(text).is_ok() { Self(text.into()) } else { Self::default() }
    }

    /// The JSON text as received.
    #[cfg(any(test, feature = "server"))]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Whether the map has no members.
    pub fn is_empty(&self) -> bool {
        self.members().is_none_or(|members| members.iter().next().is_none())
    }

    fn members(&self) -> Option<Members<'_>> {
        Members::read(&self.0).ok()
    }

    /// The normalised JSON text, with original dates where a server rewrote them. Servers also return the original content as
    /// a text, `{"DynamicProperties":{…}}`.
    pub fn with_texts_of(&self, original: Option<&str>) -> String {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Original<'a> {
            #[serde(borrow)]
            dynamic_properties: Members<'a>,
        }
        let original = original.map(json::repaired_text);
        let kept = original.as_deref().and_then(|text| serde_json::from_str::<Original<'_>>(text).ok());
        let Some(mut members) = self.members() else { return "{}".to_owned() };
        if let Some(kept) = &kept {
            members.replace(|name, value| {
                let text = json::text_of(value.get())?;
                let original = kept.dynamic_properties.get(name)?;
                (ApiTime::looks_like_date(&text) && JsonKind::of(original.get()) == JsonKind::Text)
                    .then_some(original)
            });
        }
        members.to_json()
    }
}

impl Default for ContentMap {
    fn default() -> Self {
        Self("{}".into())
    }
}

/// Compares members regardless of their order, escapes and number formats.
impl PartialEq for ContentMap {
    fn eq(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (self.members(), other.members()) else { return false };
        let is_same = |((name, value), (other_name, other)): ((&str, &RawValue), (&str, &RawValue))| {
            let (value, other) = (value.get(), other.get());
            name == other_name
                && match (JsonKind::of(value), JsonKind::of(other)) {
                    (JsonKind::Number, JsonKind::Number) => json::is_same_number(value, other),
                    (JsonKind::Text, JsonKind::Text) => json::text_of(value) == json::text_of(other),
                    _ => value == other,
                }
        };
        ours.iter().count() == theirs.iter().count() && ours.iter().zip(theirs.iter()).all(is_same)
    }
}

impl Serialize for ContentMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = Members::read(&self.0).map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in members.iter() {
            if json::text_of(value.get()).is_some_and(|text| ApiTime::looks_like_date(&text)) {
                map.serialize_entry(&format!("{key}@odata.type"), "#String")?;
            }
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ContentMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let kind = JsonKind::of(raw.get());
        if kind != JsonKind::Object {
            return Err(D::Error::custom(format!("invalid type: {kind}, expected an object")));
        }
        if json::depth(raw.get()) > MAX_DEPTH {
            return Err(D::Error::custom(format!("an object is nested more than {MAX_DEPTH} times")));
        }
        if !raw.get().contains("@odata.") {
            return Ok(Self(raw.get().into()));
        }
        let mut members = Members::read(raw.get()).map_err(D::Error::custom)?;
        members.retain(|name| !name.contains("@odata."));
        Ok(Self(members.to_json().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip;

    #[test]
    fn a_text_that_looks_like_a_date_is_preserved() {
        let map: ContentMap = round_trip(
            r##"{"When@odata.type":"#String","When":"2019-12-06T17:00:05.000Z","n":1.50,"b":null}"##,
        );
        assert_eq!(map.as_json(), r#"{"When":"2019-12-06T17:00:05.000Z","b":null,"n":1.50}"#);
        let written = serde_json::to_string(&map).unwrap();
        assert_eq!(
            written,
            r##"{"When@odata.type":"#String","When":"2019-12-06T17:00:05.000Z","b":null,"n":1.50}"##
        );
    }

    #[test]
    fn numbers_keep_their_digits() {
        let json =
            r#"{"a":1234567890123456.78,"b":100000000000000000000000000001,"c":1E400,"d":-0,"e":1.50}"#;
        let map: ContentMap = round_trip(json);
        assert_eq!((map.as_json(), serde_json::to_string(&map).unwrap().as_str()), (json, json));
        assert_eq!(map.with_texts_of(None), json);
        assert_eq!(ContentMap::of_json(json), map);
    }

    #[test]
    fn the_original_text_wins_over_a_rewritten_date() {
        let rewritten = ContentMap::of_json(r#"{"When":"2019-12-06T17:00:05Z","a":"x","n":1}"#);
        let original =
            r#"{"DynamicProperties":{"When":"2019-12-06T17:00:05.000Z","a":"y","n":2,"cut":"\ud83d"}}"#;
        assert_eq!(
            rewritten.with_texts_of(Some(original)),
            r#"{"When":"2019-12-06T17:00:05.000Z","a":"x","n":1}"#
        );
        for nothing in [None, Some("no JSON"), Some("{}"), Some(r#"{"DynamicProperties":7}"#)] {
            assert_eq!(rewritten.with_texts_of(nothing), rewritten.as_json());
        }
    }

    #[test]
    fn other_types_are_an_empty_map() {
        for text in ["[1]", "{", "", "7", "{}"] {
            assert!(ContentMap::of_json(text).is_empty(), "{text}");
        }
        assert!(!ContentMap::of_json(r#"{"a":null}"#).is_empty());
    }

    #[test]
    fn equal_members_are_equal_in_every_notation() {
        let map = |json: &str| ContentMap::of_json(json);
        assert_eq!(map(r#"{"a":"\u00e9","b":1.50}"#), map(r#"{ "b": 1.5, "a": "é" }"#));
        for other in [r#"{"a":1}"#, r#"{"a":"1","b":2}"#, r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"b":true}"#] {
            assert_ne!(map(r#"{"a":1,"b":2}"#), map(other), "{other}");
        }
    }
}
