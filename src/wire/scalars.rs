//! SpecificContent, Output and Analytics: open maps of scalars (contract section 4.3).

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::Instant;

/// An open map. Annotations (`"When@odata.type": "#String"`) are dropped when it is read; when it is written, texts
/// that a server might take for dates get one, so that they come back as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scalars(pub(crate) Map<String, Value>);

impl Scalars {
    /// The map that a JSON text holds; empty for anything else.
    pub(crate) fn of_json(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Self(map),
            _ => Self::default(),
        }
    }

    /// The same content where dates were not rewritten: servers keep it as a text too, `{"DynamicProperties":{…}}`.
    pub(crate) fn with_texts_of(mut self, original: Option<&str>) -> Self {
        let Some(Ok(Value::Object(wrapper))) = original.map(serde_json::from_str) else { return self };
        let Some(Value::Object(kept)) = wrapper.get("DynamicProperties") else { return self };
        for (key, value) in &mut self.0 {
            if let (Value::String(text), Some(Value::String(original))) = (&*value, kept.get(key))
                && Instant::looks_like_one(text)
            {
                *value = Value::String(original.clone());
            }
        }
        self
    }
}

impl Serialize for Scalars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.0 {
            if value.as_str().is_some_and(Instant::looks_like_one) {
                map.serialize_entry(&format!("{key}@odata.type"), "#String")?;
            }
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        map.retain(|key, _| !key.contains("@odata."));
        Ok(Self(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::round_trip;

    #[test]
    fn a_text_that_looks_like_a_date_comes_back_as_it_was() {
        let map: Scalars = round_trip(
            r##"{"When@odata.type":"#String","When":"2019-12-06T17:00:05.000Z","n":1.50,"b":null}"##,
        );
        assert_eq!(map.0.len(), 3);
        let written = serde_json::to_string(&map).unwrap();
        assert!(
            written.contains(r##""When@odata.type":"#String","When":"2019-12-06T17:00:05.000Z""##),
            "{written}"
        );
    }

    #[test]
    fn the_original_text_wins_over_a_rewritten_date() {
        let rewritten = || Scalars::of_json(r#"{"When":"2019-12-06T17:00:05Z","a":"x","n":1}"#);
        let original = r#"{"DynamicProperties":{"When":"2019-12-06T17:00:05.000Z","a":"y","n":2}}"#;
        let kept = rewritten().with_texts_of(Some(original));
        assert_eq!(kept.0["When"], "2019-12-06T17:00:05.000Z");
        assert_eq!((&kept.0["a"], &kept.0["n"]), (&Value::from("x"), &Value::from(1)));
        for nothing in [None, Some("no JSON"), Some("{}"), Some(r#"{"DynamicProperties":7}"#)] {
            assert_eq!(rewritten().with_texts_of(nothing), rewritten());
        }
    }

    #[test]
    fn anything_but_a_map_is_empty() {
        assert_eq!(Scalars::of_json("[1]"), Scalars::default());
        assert_eq!(Scalars::of_json("{"), Scalars::default());
    }
}
