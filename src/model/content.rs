//! SpecificContent and Output: flat JSON objects, bounded in size.
//!
//! Contract section 4.3: the values are scalars, and a key holds none of `: . , @ " #`. The embedded
//! stores keep to it too, so that an item that goes in here also goes in there: only the URL changes.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::code::ErrorCode;
use super::refusal::Refusal;

/// The largest content, in UTF-16 code units of its JSON text (contract section 3).
pub const CONTENT_LIMIT: usize = 256_000;

/// The largest output, in UTF-16 code units of its JSON text (contract section 3).
pub const OUTPUT_LIMIT: usize = 51_200;

/// The data of an item: a flat JSON object.
#[derive(Clone, PartialEq, Eq)]
pub struct SpecificContent(Arc<str>);

impl SpecificContent {
    /// Checks and keeps a value.
    ///
    /// # Errors
    ///
    /// Code 1009 when the value is no object, a member is no scalar or a key has a forbidden character;
    /// code 1865 when it is larger than [`CONTENT_LIMIT`].
    pub fn new(value: &Value) -> Result<Self, Refusal> {
        let text = flat_text(value, "SpecificContent")?;
        if let Some(units) = units_over(&text, CONTENT_LIMIT) {
            let message = format!("SpecificContent has {units} code units, the limit is {CONTENT_LIMIT}");
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_CONTENT_SIZE_EXCEEDED, message));
        }
        Ok(Self(text.into()))
    }

    /// Checks and keeps anything that is written as JSON.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); code 1009 also when it cannot be written as JSON.
    pub fn of(content: &impl Serialize) -> Result<Self, Refusal> {
        let value = serde_json::to_value(content).map_err(|error| {
            let message = format!("the content cannot be written as JSON: {error}");
            Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
        })?;
        Self::new(&value)
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "uipath"))] // the back ends that keep text
    pub(crate) fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The content without members, as an item has it whose content was purged.
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The content as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// The content as the type of a transaction.
    ///
    /// # Errors
    ///
    /// When the content does not fit the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl fmt::Debug for SpecificContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a successful transaction leaves with its item: a flat JSON object.
#[derive(Clone, PartialEq, Eq)]
pub struct Output(Arc<str>);

impl Output {
    /// Checks and keeps a value.
    ///
    /// # Errors
    ///
    /// Code 1009 when the value is no object, a member is no scalar or a key has a forbidden character;
    /// code 1868 when it is larger than [`OUTPUT_LIMIT`].
    pub fn new(value: &Value) -> Result<Self, Refusal> {
        let text = flat_text(value, "Output")?;
        if let Some(units) = units_over(&text, OUTPUT_LIMIT) {
            let message = format!("Output has {units} code units, the limit is {OUTPUT_LIMIT}");
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_OUTPUT_DATA_SIZE_EXCEEDED, message));
        }
        Ok(Self(text.into()))
    }

    /// Keeps whatever a transaction returned, without ever refusing it: the work is done, and an output
    /// that cannot be stored must not make it happen again.
    ///
    /// `null` is no output. A value that is no object becomes the member `Output` of one; members that
    /// are no scalars become their JSON text; forbidden characters in keys become `_`. What cannot be
    /// stored even so is replaced by a member `OutputOmitted` that says why; the second part of the
    /// answer is then that reason.
    pub fn of(returned: &impl Serialize) -> (Option<Self>, Option<String>) {
        let value = match serde_json::to_value(returned) {
            Ok(Value::Null) => return (None, None),
            Ok(value) => value,
            Err(error) => return Self::omitted(format!("the output cannot be written as JSON: {error}")),
        };
        match Self::new(&flattened(value)) {
            Ok(output) => (Some(output), None),
            Err(refusal) => Self::omitted(refusal.to_string()),
        }
    }

    fn omitted(reason: String) -> (Option<Self>, Option<String>) {
        let text = serde_json::json!({ "OutputOmitted": reason }).to_string();
        (Some(Self(text.into())), Some(reason))
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "uipath"))] // the back ends that keep text
    pub(crate) fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The output as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The largest analytics, in UTF-16 code units of their JSON text (contract section 3).
pub const ANALYTICS_LIMIT: usize = 5_120;

/// What a transaction leaves for those who count: a flat JSON object.
#[derive(Clone, PartialEq, Eq)]
pub struct Analytics(Arc<str>);

impl Analytics {
    /// Checks and keeps a value.
    ///
    /// # Errors
    ///
    /// Code 1009 when the value is no object, a member is no scalar or a key has a forbidden character;
    /// code 1869 when it is larger than [`ANALYTICS_LIMIT`].
    pub fn new(value: &Value) -> Result<Self, Refusal> {
        let text = flat_text(value, "Analytics")?;
        if let Some(units) = units_over(&text, ANALYTICS_LIMIT) {
            let message = format!("Analytics have {units} code units, the limit is {ANALYTICS_LIMIT}");
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_ANALYTICS_DATA_SIZE_EXCEEDED, message));
        }
        Ok(Self(text.into()))
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))] // the back ends that keep text
    pub(crate) fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Analytics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The JSON text of a flat object.
fn flat_text(value: &Value, what: &str) -> Result<String, Refusal> {
    let invalid = |message: String| Refusal::new(ErrorCode::INVALID_ARGUMENT, message);
    let Value::Object(members) = value else {
        return Err(invalid(format!("{what} must be a JSON object, not {}", kind_of(value))));
    };
    for (key, member) in members {
        if let Some(forbidden) = key.chars().find(|c| FORBIDDEN_IN_KEYS.contains(c)) {
            return Err(invalid(format!("{what}: the key {key:?} contains {forbidden:?}")));
        }
        if member.is_object() || member.is_array() {
            let kind = kind_of(member);
            return Err(invalid(format!(
                "{what}: the value of {key:?} is {kind}; values are texts, numbers, booleans or null (write nested data as a text)"
            )));
        }
    }
    serde_json::to_string(value)
        .map_err(|error| invalid(format!("{what} cannot be written as JSON: {error}")))
}

const FORBIDDEN_IN_KEYS: [char; 6] = [':', '.', ',', '@', '"', '#'];

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn flattened(value: Value) -> Value {
    let Value::Object(members) = value else {
        return serde_json::json!({ "Output": scalar(value) });
    };
    let scalars =
        members.into_iter().map(|(key, member)| (key.replace(FORBIDDEN_IN_KEYS, "_"), scalar(member)));
    Value::Object(scalars.collect())
}

fn scalar(value: Value) -> Value {
    if value.is_object() || value.is_array() { Value::String(value.to_string()) } else { value }
}

/// The number of UTF-16 code units, if it is over the limit. A text has at least as many bytes as units.
pub(crate) fn units_over(text: &str, limit: usize) -> Option<usize> {
    if text.len() <= limit {
        return None;
    }
    let units = text.encode_utf16().count();
    (units > limit).then_some(units)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_is_a_flat_object() {
        let content = SpecificContent::new(&json!({"amount": 10.5, "name": "Ä", "paid": true, "x": null}));
        assert_eq!(content.unwrap().to_value()["name"], "Ä");
        for (value, part) in [
            (json!([1]), "must be a JSON object, not an array"),
            (json!(null), "must be a JSON object, not null"),
            (json!(true), "must be a JSON object, not a boolean"),
            (json!(7), "must be a JSON object, not a number"),
            (json!("x"), "must be a JSON object, not a text"),
            (json!({"a": {"b": 1}}), "the value of \"a\" is an object"),
            (json!({"a": [1]}), "the value of \"a\" is an array"),
            (json!({"a.b": 1}), "the key \"a.b\" contains '.'"),
        ] {
            let refusal = SpecificContent::new(&value).unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT);
            assert!(refusal.to_string().contains(part), "{refusal}");
        }
    }

    #[test]
    fn content_that_cannot_be_written_is_refused() {
        let unwritable = std::collections::HashMap::from([((1, 2), "a key that is no text")]);
        let refusal = SpecificContent::of(&unwritable).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT);
        assert!(refusal.to_string().contains("cannot be written as JSON"), "{refusal}");
    }

    #[test]
    fn the_limit_of_content_counts_utf_16_code_units() {
        let of_units = |units: usize| json!({"t": "ü".repeat(units - r#"{"t":""}"#.len())});
        assert!(SpecificContent::new(&of_units(CONTENT_LIMIT)).is_ok());
        let refusal = SpecificContent::new(&of_units(CONTENT_LIMIT + 1)).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::QUEUE_ITEM_CONTENT_SIZE_EXCEEDED);
        assert_eq!(refusal.to_string(), "SpecificContent has 256001 code units, the limit is 256000");
    }

    #[test]
    fn an_output_is_never_refused() {
        let kept = |value: Value| Output::of(&value).0.unwrap().to_value();
        assert_eq!(Output::of(&()), (None, None));
        assert_eq!(kept(json!({"a": 1})), json!({"a": 1}));
        assert_eq!(kept(json!("done")), json!({"Output": "done"}));
        assert_eq!(kept(json!({"a.b": [1, 2]})), json!({"a_b": "[1,2]"}));

        let (output, reason) = Output::of(&json!({"t": "x".repeat(OUTPUT_LIMIT)}));
        assert!(reason.unwrap().contains("the limit is 51200"));
        assert!(output.unwrap().as_json().contains("OutputOmitted"));

        let unwritable = std::collections::HashMap::from([((1, 2), "a key that is no text")]);
        assert!(Output::of(&unwritable).1.unwrap().contains("cannot be written as JSON"));
    }
}
