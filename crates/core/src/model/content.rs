//! SpecificContent and Output: flat JSON objects, limited in size.
//!
//! By orchestrator-api 4.3 the values are scalars, and a key contains none of `: . , @ " #`. The embedded stores
//! enforce that too, so that an item that is accepted here is also accepted there: only the URL changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::code::ErrorCode;
use super::json::{self, JsonKind, Members, WrittenJson};
use super::refusal::Refusal;

/// The largest content, in UTF-16 code units of its JSON text (orchestrator-api 3).
pub const CONTENT_LIMIT: usize = 256_000;

/// The largest output, in UTF-16 code units of its JSON text (orchestrator-api 3).
pub const OUTPUT_LIMIT: usize = 51_200;

/// The data of an item: a flat JSON object. It is kept as JSON text, so its numbers have all the digits they were written
/// with, and zeros at the end of them.
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
        Self::of(value)
    }

    /// Checks and keeps anything that is written as JSON.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); code 1009 also when it cannot be written as JSON, and for a float that is NaN or infinite:
    /// JSON has no number for those.
    pub fn of(content: &impl Serialize) -> Result<Self, Refusal> {
        Self::of_written(json::written(content))
    }

    #[inline(never)] // it does not depend on the type
    fn of_written(written: Result<WrittenJson, String>) -> Result<Self, Refusal> {
        let written =
            written.map_err(|error| invalid(format!("the content cannot be written as JSON: {error}")))?;
        match written.unwritable.first() {
            Some(unwritable) => Err(invalid(format!("SpecificContent: {unwritable}"))),
            None => Self::from_json(&written.json),
        }
    }

    /// Checks and keeps a JSON text. Numbers keep all their digits; half a surrogate pair becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); code 1009 also for a text that is no JSON, and for two members with one name.
    pub fn from_json(json: &str) -> Result<Self, Refusal> {
        let text = flat_text(json, "SpecificContent")?;
        if let Some(units) = units_over(&text, CONTENT_LIMIT) {
            let message = format!("SpecificContent has {units} code units, the limit is {CONTENT_LIMIT}");
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_CONTENT_SIZE_EXCEEDED, message));
        }
        Ok(Self(text.into()))
    }

    /// Content that was checked when it was added, as a store kept it. It is not checked again.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The content of an item whose content was purged: without members.
    pub fn empty() -> Self {
        // Shared: every item that is read begins with it, until its own content is set.
        static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| "{}".into());
        Self(EMPTY.clone())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The content as a JSON value. A number with more digits than a `Value` holds is a text of its digits there;
    /// [`as_json`](Self::as_json) has it as it was written.
    pub fn to_value(&self) -> Value {
        json::to_value(&self.0)
    }

    /// The content as the type of a transaction. A float gets the nearest number. Other types get all digits: `i128`,
    /// `u128` and `serde_json::value::RawValue` hold those that 64 bits do not.
    ///
    /// # Errors
    ///
    /// When the content does not fit the type, or a number has digits that the type would lose: `Value` does, and so do
    /// types that are untagged, internally tagged or flattened.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        json::parse(&self.0)
    }
}

impl fmt::Debug for SpecificContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a successful transaction stores with its item: a flat JSON object.
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
        Self::from_json(&value.to_string())
    }

    /// Checks and keeps a JSON text. Numbers keep all their digits; half a surrogate pair becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); code 1009 also for a text that is no JSON, and for two members with one name.
    pub fn from_json(json: &str) -> Result<Self, Refusal> {
        let text = flat_text(json, "Output")?;
        if let Some(units) = units_over(&text, OUTPUT_LIMIT) {
            let message = format!("Output has {units} code units, the limit is {OUTPUT_LIMIT}");
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_OUTPUT_DATA_SIZE_EXCEEDED, message));
        }
        Ok(Self(text.into()))
    }

    /// Stores whatever a transaction returned, and never refuses it: the work is done, and an output that cannot be
    /// stored must not cause it to be repeated.
    ///
    /// `null` is no output. A value that is no object becomes the member `Output` of one; members that are no scalars
    /// become their JSON text; forbidden characters in keys become `_`. A member with a float that is NaN or infinite
    /// is left out. What still cannot be stored is left out as a whole. If anything was left out, a member
    /// `OutputOmitted` says why; the second part of the result is that reason.
    pub fn of(returned: &impl Serialize) -> (Option<Self>, Option<String>) {
        Self::of_written(json::written(returned))
    }

    #[inline(never)] // it does not depend on the type
    fn of_written(written: Result<WrittenJson, String>) -> (Option<Self>, Option<String>) {
        let written = match written {
            Ok(written) => written,
            Err(error) => return Self::omitted(format!("the output cannot be written as JSON: {error}")),
        };
        let reason = written.unwritable.first().map(ToString::to_string);
        if written.json == "null" && reason.is_none() {
            return (None, None);
        }
        let flattened = match flattened(&written, reason.as_deref()) {
            Ok(flattened) => flattened,
            Err(error) => return Self::omitted(format!("the output cannot be written as JSON: {error}")),
        };
        match Self::from_json(&flattened) {
            Ok(output) => (Some(output), reason),
            Err(refusal) => Self::omitted(refusal.to_string()),
        }
    }

    fn omitted(reason: String) -> (Option<Self>, Option<String>) {
        let text = serde_json::json!({ OMITTED: reason }).to_string();
        (Some(Self(text.into())), Some(reason))
    }

    /// Output that was checked when it was reported, as a store kept it. It is not checked again.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The output as a JSON value. A number with more digits than a `Value` holds is a text of its digits there.
    pub fn to_value(&self) -> Value {
        json::to_value(&self.0)
    }

    /// The output as a type; digits are kept as those of [`SpecificContent::parse`] are.
    ///
    /// # Errors
    ///
    /// As [`SpecificContent::parse`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        json::parse(&self.0)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The largest analytics, in UTF-16 code units of their JSON text (orchestrator-api 3).
pub const ANALYTICS_LIMIT: usize = 5_120;

/// Data for analytics that a transaction stores with its item: a flat JSON object.
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
        Self::from_json(&value.to_string())
    }

    /// Checks and keeps a JSON text. Numbers keep all their digits; half a surrogate pair becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); code 1009 also for a text that is no JSON, and for two members with one name.
    pub fn from_json(json: &str) -> Result<Self, Refusal> {
        let text = flat_text(json, "Analytics")?;
        if let Some(units) = units_over(&text, ANALYTICS_LIMIT) {
            let message = format!("Analytics have {units} code units, the limit is {ANALYTICS_LIMIT}");
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_ANALYTICS_DATA_SIZE_EXCEEDED, message));
        }
        Ok(Self(text.into()))
    }

    /// Analytics that were checked when they were reported, as a store kept them. They are not checked again.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
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

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
}

/// Writes its JSON text unchanged, so that numbers keep their digits; null for a stored text that is damaged.
macro_rules! serialize_as_written {
    ($($name:ident),+) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde_json::from_str::<&RawValue>(&self.0).ok().serialize(serializer)
            }
        }
    )+ };
}

serialize_as_written!(SpecificContent, Output, Analytics);

/// The JSON text of a flat object, as we write it.
fn flat_text(json: &str, what: &str) -> Result<String, Refusal> {
    let text = json::repaired_text(json);
    let kind = JsonKind::of(&text);
    if kind != JsonKind::Object && serde_json::from_str::<&RawValue>(&text).is_ok() {
        return Err(invalid(format!("{what} must be a JSON object, not {kind}")));
    }
    let members = Members::read(&text).map_err(|error| {
        let error = json::syntax_error(&error, text.as_bytes());
        invalid(format!("{what} is no JSON: {error}"))
    })?;
    if let Some(name) = members.twice() {
        return Err(invalid(format!("{what} has two members {name:?}")));
    }
    for (key, member) in members.iter() {
        if let Some(forbidden) = key.chars().find(|c| FORBIDDEN_IN_KEYS.contains(c)) {
            return Err(invalid(format!("{what}: the key {key:?} contains {forbidden:?}")));
        }
        let kind = JsonKind::of(member.get());
        if !kind.is_scalar() {
            return Err(invalid(format!(
                "{what}: the value of {key:?} is {kind}; values are texts, numbers, booleans or null (write nested data as a text)"
            )));
        }
    }
    Ok(members.to_json())
}

const FORBIDDEN_IN_KEYS: [char; 6] = [':', '.', ',', '@', '"', '#'];

/// The member that says why a part of an output is missing.
const OMITTED: &str = "OutputOmitted";

/// An output as a flat object; with a reason if members were left out that JSON has no number for.
fn flattened(written: &WrittenJson, reason: Option<&str>) -> Result<String, serde_json::Error> {
    let mut flat = BTreeMap::new();
    if JsonKind::of(&written.json) == JsonKind::Object {
        // Text from the user's type may contain raw JSON.
        let json = json::repaired_text(&written.json);
        for (name, value) in Members::read(&json)?.iter() {
            if !written.unwritable.iter().any(|left_out| left_out.member.as_deref() == Some(name)) {
                flat.insert(name.replace(FORBIDDEN_IN_KEYS, "_"), scalar(value.get()));
            }
        }
    } else if reason.is_none() {
        flat.insert("Output".to_owned(), scalar(&written.json));
    }
    if let Some(reason) = reason {
        flat.insert(OMITTED.to_owned(), Value::from(reason).to_string());
    }
    let mut json = String::with_capacity(written.json.len() + 16);
    for (name, value) in &flat {
        json.push(if json.is_empty() { '{' } else { ',' });
        json::push_text(&mut json, name);
        json.push(':');
        json.push_str(value);
    }
    json.push_str(if json.is_empty() { "{}" } else { "}" });
    Ok(json)
}

/// A scalar unchanged, anything else as its JSON text.
fn scalar(json: &str) -> String {
    if JsonKind::of(json).is_scalar() { json.to_owned() } else { Value::from(json).to_string() }
}

/// The number of UTF-16 code units, if it is over the limit. A text has at least as many bytes as units.
pub fn units_over(text: &str, limit: usize) -> Option<usize> {
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

    #[test]
    fn numbers_keep_their_digits() {
        let json = r#"{"amount":1234567890123456.78,"e":1E5,"h":1e400,"iban":100000000000000000000000000001,"x":1.50,"z":-0}"#;
        assert_eq!(SpecificContent::from_json(json).unwrap().as_json(), json);
        assert_eq!(Output::from_json(json).unwrap().as_json(), json);
        assert_eq!(Analytics::from_json(json).unwrap().as_json(), json);
        #[derive(Serialize)]
        struct Wide {
            iban: u128,
            rate: f32,
        }
        let wide = Wide { iban: 100_000_000_000_000_000_000_000_000_001, rate: 0.1 };
        let json = r#"{"iban":100000000000000000000000000001,"rate":0.1}"#;
        assert_eq!(SpecificContent::of(&wide).unwrap().as_json(), json);
        assert_eq!(Output::of(&wide).0.unwrap().as_json(), json);
        let raw = RawValue::from_string(r#"{"x": 1e400}"#.to_owned()).unwrap();
        assert_eq!(SpecificContent::of(&raw).unwrap().as_json(), r#"{"x":1e400}"#);
        assert_eq!(Output::of(&json!({"n": [1, 1.5]})).0.unwrap().as_json(), r#"{"n":"[1,1.5]"}"#);
    }

    #[test]
    fn what_json_has_no_number_for_is_never_null() {
        #[derive(Serialize)]
        struct Row {
            rate: f64,
            id: u8,
        }
        for (rate, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "infinity"), (f64::NEG_INFINITY, "-infinity")]
        {
            let refusal = SpecificContent::of(&Row { rate, id: 7 }).unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT);
            assert!(refusal.to_string().contains(&format!("the value of \"rate\" is {name}")), "{refusal}");
            let (output, reason) = Output::of(&Row { rate, id: 7 });
            let output = output.unwrap().to_value();
            assert_eq!((&output["id"], output.get("rate")), (&json!(7), None));
            assert_eq!(output["OutputOmitted"].as_str(), reason.as_deref());
            assert!(reason.unwrap().contains(&format!("the value of \"rate\" is {name}")));
        }
        let (output, reason) = Output::of(&[1.0, f64::NAN]);
        assert_eq!(output.unwrap().to_value(), json!({ "OutputOmitted": reason }));
    }

    #[test]
    fn a_text_that_was_cut_is_kept_and_a_name_that_comes_twice_is_refused() {
        let cut = r#"{"cut \ud83d":"a\udc00b","whole":"\ud83d\ude00"}"#;
        let kept = SpecificContent::from_json(cut).unwrap();
        assert_eq!(kept.as_json(), "{\"cut \u{fffd}\":\"a\u{fffd}b\",\"whole\":\"😀\"}");
        assert_eq!(kept.parse::<Value>().unwrap()["cut \u{fffd}"], "a\u{fffd}b");
        for (json, part) in [
            (r#"{"a":1,"b":2,"a":3}"#, "SpecificContent has two members \"a\""),
            (
                r#"{"b":1,"a":NaN}"#,
                "SpecificContent is no JSON: expected value at line 1 column 12, near \"a\"",
            ),
            (r#"{"a":1"#, "SpecificContent is no JSON"),
            ("[1]", "must be a JSON object, not an array"),
            ("1e400", "must be a JSON object, not a number"),
        ] {
            let refusal = SpecificContent::from_json(json).unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT);
            assert!(refusal.to_string().contains(part), "{refusal}");
        }
    }
}
