//! JSON schemas of queues, for content, output and analytics (orchestrator-api 6 and 13.7).
//!
//! They are enforced by the feature `json-schema`. Without it, a queue with a schema cannot be created, and a queue
//! that was created with the feature accepts no items: nothing is accepted unchecked.

use std::sync::Arc;

use super::code::ErrorCode;
use super::refusal::Refusal;
use crate::enumeration;

enumeration! {
    /// What a schema applies to. The numbers are ours.
    pub SchemaOf {
        /// SpecificContent, when an item is added.
        SpecificData = 0,
        /// Output, when a result is reported.
        OutputData = 1,
        /// Analytics, when a result is reported.
        AnalyticsData = 2,
    }
}

/// The largest schema, in bytes.
pub const SCHEMA_LIMIT: usize = 256_000;

/// The schemas of a queue, as JSON texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas {
    /// Of SpecificContent.
    pub specific_data: Option<Arc<str>>,
    /// Of Output.
    pub output_data: Option<Arc<str>>,
    /// Of Analytics.
    pub analytics_data: Option<Arc<str>>,
}

impl Schemas {
    /// The schemas of these types: what `C` can be deserialized from, and what `O` serializes to, with the bounds of its integers. A
    /// type that is no JSON object, such as `()`, a number or an enumeration of names, has none: as output it is stored in another
    /// form.
    #[cfg(feature = "schema")]
    pub fn of_types<C: schemars::JsonSchema, O: schemars::JsonSchema>() -> Self {
        use super::schema_of_type::{accepted_by, produced_by};

        Self { specific_data: accepted_by::<C>(), output_data: produced_by::<O>(), analytics_data: None }
    }

    /// The schema of this kind of data, if there is one.
    pub fn of(&self, what: SchemaOf) -> Option<&Arc<str>> {
        match what {
            SchemaOf::SpecificData => self.specific_data.as_ref(),
            SchemaOf::OutputData => self.output_data.as_ref(),
            SchemaOf::AnalyticsData => self.analytics_data.as_ref(),
        }
    }

    /// Checks that each schema is valid.
    ///
    /// # Errors
    ///
    /// Code 1858 for a text that is no schema, 1019 without the feature `json-schema`.
    pub fn validate_definitions(&self) -> Result<(), Refusal> {
        for what in SchemaOf::ALL {
            if let Some(schema) = self.of(*what) {
                compiled(*what, schema)?;
            }
        }
        Ok(())
    }

    /// Checks data, given as JSON text, against the schema of its kind.
    ///
    /// # Errors
    ///
    /// Code 1857 if it does not match; otherwise as [`validate_definitions`](Self::validate_definitions).
    pub fn validate(&self, what: SchemaOf, json: &str) -> Result<(), Refusal> {
        self.of(what).map_or(Ok(()), |schema| check(what, schema, json))
    }
}

#[cfg(feature = "json-schema")]
fn check(what: SchemaOf, schema: &Arc<str>, json: &str) -> Result<(), Refusal> {
    let validator = compiled(what, schema)?;
    // A copy for the check: the stored text keeps its digits.
    let value = super::json::rounded(json).map_err(|member| {
        let message =
            format!("the number in {member:?} is too large to be checked against the queue's schema {what}");
        Refusal::new(ErrorCode::QUEUE_ITEM_SCHEMA_VIOLATION, message)
    })?;
    // A refusal is read by people and stands in logs.
    let hides_values = super::personal::has_personal_fields(schema);
    let shown = |error: jsonschema::ValidationError<'_>| {
        let path = error.instance_path();
        if hides_values { format!("{} ({path})", error.masked()) } else { format!("{error} ({path})") }
    };
    let broken: Vec<String> = validator.iter_errors(&value).take(3).map(shown).collect();
    if broken.is_empty() {
        return Ok(());
    }
    let message = format!("the data does not fit the queue's schema {what}: {}", broken.join("; "));
    Err(Refusal::new(ErrorCode::QUEUE_ITEM_SCHEMA_VIOLATION, message))
}

#[cfg(not(feature = "json-schema"))]
fn check(what: SchemaOf, schema: &Arc<str>, _json: &str) -> Result<(), Refusal> {
    compiled(what, schema)
}

/// A compiled schema; the ones used last are cached.
#[cfg(feature = "json-schema")]
pub(super) fn compiled(what: SchemaOf, schema: &Arc<str>) -> Result<Arc<jsonschema::Validator>, Refusal> {
    use std::sync::{Mutex, PoisonError};

    const MOST_KEPT: usize = 100;
    static KEPT: Mutex<Vec<(Arc<str>, Arc<jsonschema::Validator>)>> = Mutex::new(Vec::new());

    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, validator)) = kept().iter().find(|(known, _)| known == schema) {
        return Ok(validator.clone());
    }
    let refused = |why: String| {
        let message = format!("the schema {what} cannot be used: {why}");
        Refusal::new(ErrorCode::new(1858), message)
    };
    if schema.len() > SCHEMA_LIMIT {
        return Err(refused(format!("it has {} bytes, the limit is {SCHEMA_LIMIT}", schema.len())));
    }
    let value: serde_json::Value = serde_json::from_str(&super::json::repaired_text(schema))
        .map_err(|error| refused(error.to_string()))?;
    if !value.is_object() {
        return Err(refused("it is no JSON object".to_owned()));
    }
    if !cost::is_affordable(&value) {
        return Err(refused("its references lead to too many steps, or out of it".to_owned()));
    }
    // An engine that matches patterns in linear time: a schema is untrusted.
    let options = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
    let validator = Arc::new(options.build(&value).map_err(|error| refused(error.to_string()))?);
    let mut kept = kept();
    if kept.len() >= MOST_KEPT {
        kept.remove(0);
    }
    kept.push((schema.clone(), validator.clone()));
    Ok(validator)
}

/// The cost of a check. A schema is untrusted, and is checked where everybody waits.
#[cfg(feature = "json-schema")]
mod cost {
    use std::collections::HashMap;

    use serde_json::Value;

    /// The most subschemas that are evaluated for one value, including references.
    const MOST: u64 = 20_000;

    pub(super) fn is_affordable(schema: &Value) -> bool {
        let mut anchors = HashMap::new();
        find_anchors(schema, &mut anchors);
        let mut walk = Walk { root: schema, anchors, known: HashMap::new() };
        walk.of(schema).is_some_and(|cost| cost <= MOST)
    }

    fn find_anchors<'a>(value: &'a Value, anchors: &mut HashMap<&'a str, &'a Value>) {
        let parts: Vec<&Value> = match value {
            Value::Object(members) => {
                for name in ["$anchor", "$dynamicAnchor"] {
                    if let Some(anchor) = members.get(name).and_then(Value::as_str) {
                        anchors.insert(anchor, value);
                    }
                }
                members.values().collect()
            }
            Value::Array(elements) => elements.iter().collect(),
            _ => return,
        };
        parts.into_iter().for_each(|part| find_anchors(part, anchors));
    }

    struct Walk<'a> {
        root: &'a Value,
        anchors: HashMap<&'a str, &'a Value>,
        /// By address. `None`: it is being counted, which is a cycle, and as deep as the data only.
        known: HashMap<*const Value, Option<u64>>,
    }

    impl<'a> Walk<'a> {
        /// How many subschemas there are, each counted as often as it is reached. `None`: a reference out of the
        /// schema.
        fn of(&mut self, value: &'a Value) -> Option<u64> {
            if let Some(known) = self.known.get(&std::ptr::from_ref(value)) {
                return Some(known.unwrap_or(1));
            }
            self.known.insert(value, None);
            let mut cost = 1_u64;
            match value {
                Value::Object(members) => {
                    for (name, part) in members {
                        cost = cost.saturating_add(self.of(part)?);
                        if let ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) =
                            (name.as_str(), part)
                        {
                            let target = self.target(to)?;
                            cost = cost.saturating_add(self.of(target)?);
                        }
                    }
                }
                Value::Array(elements) => {
                    for element in elements {
                        cost = cost.saturating_add(self.of(element)?);
                    }
                }
                _ => {}
            }
            self.known.insert(value, Some(cost));
            Some(cost)
        }

        fn target(&self, reference: &str) -> Option<&'a Value> {
            let inside = reference.strip_prefix('#')?;
            if inside.is_empty() || inside.starts_with('/') {
                let pointer = percent_encoding::percent_decode_str(inside).decode_utf8().ok()?;
                return self.root.pointer(&pointer);
            }
            self.anchors.get(inside).copied()
        }
    }
}

#[cfg(not(feature = "json-schema"))]
fn compiled(what: SchemaOf, _schema: &Arc<str>) -> Result<(), Refusal> {
    let message = format!(
        "the queue has a schema {what}; performer was built without its feature \"json-schema\" and cannot check it"
    );
    Err(Refusal::new(ErrorCode::FEATURE_DISABLED, message))
}

#[cfg(all(test, feature = "json-schema"))]
mod tests {
    use super::*;

    fn with(schema: &str) -> Schemas {
        Schemas { specific_data: Some(schema.into()), ..Schemas::default() }
    }

    #[test]
    fn data_is_checked_against_the_schema_of_its_kind() {
        let schemas =
            with(r#"{"type":"object","required":["amount"],"properties":{"amount":{"type":"number"}}}"#);
        assert_eq!(schemas.validate_definitions(), Ok(()));
        assert_eq!(schemas.validate(SchemaOf::SpecificData, r#"{"amount":1.5}"#), Ok(()));
        assert_eq!(schemas.validate(SchemaOf::OutputData, "{}"), Ok(()), "there is no schema of the output");
        for (json, part) in [("{}", "amount"), (r#"{"amount":"x"}"#, "not of type")] {
            let refusal = schemas.validate(SchemaOf::SpecificData, json).unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::QUEUE_ITEM_SCHEMA_VIOLATION);
            assert!(refusal.to_string().contains(part), "{refusal}");
        }
        for json in [r#"{"amount":100000000000000000000000000001}"#, r#"{"amount":1234567890123456.78}"#] {
            assert_eq!(schemas.validate(SchemaOf::SpecificData, json), Ok(()));
        }
        let personal = with(r#"{"properties":{"iban":{"x-personal":true,"pattern":"^DE"}}}"#);
        let refusal = personal.validate(SchemaOf::SpecificData, r#"{"iban":"AT611904"}"#).unwrap_err();
        assert!(refusal.to_string().contains("/iban") && !refusal.to_string().contains("AT61"), "{refusal}");
        let huge = schemas.validate(SchemaOf::SpecificData, r#"{"amount":1e400}"#).unwrap_err();
        assert!(huge.to_string().contains("\"amount\" is too large"), "{huge}");
    }

    #[test]
    fn a_schema_that_would_take_for_ever_is_refused() {
        let doubling = |levels: usize| {
            let defs: Vec<String> = (1..=levels)
                .map(|n| {
                    format!(
                        r##""a{n}":{{"allOf":[{{"$ref":"#/$defs/a{}"}},{{"$ref":"#/$defs/a{}"}}]}}"##,
                        n - 1,
                        n - 1
                    )
                })
                .collect();
            format!(r##"{{"$defs":{{"a0":{{}},{}}},"$ref":"#/$defs/a{levels}"}}"##, defs.join(","))
        };
        assert_eq!(with(&doubling(5)).validate_definitions(), Ok(()));
        assert_eq!(with(&doubling(40)).validate_definitions().unwrap_err().code().number(), 1858);
        // Cycles, names and percent signs are allowed.
        for schema in [
            r##"{"properties":{"next":{"$ref":"#"}}}"##,
            r##"{"$defs":{"x":{"$anchor":"here","type":"object"}},"$ref":"#here"}"##,
            r##"{"$defs":{"a b":{"type":"object"}},"$ref":"#/$defs/a%20b"}"##,
        ] {
            assert_eq!(with(schema).validate_definitions(), Ok(()), "{schema}");
            assert_eq!(with(schema).validate(SchemaOf::SpecificData, r#"{"next":{}}"#), Ok(()), "{schema}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_and_nothing_is_fetched() {
        for schema in [
            "{",
            "[]",
            r#"{"type":"nonsense"}"#,
            r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
        ] {
            let refusal = with(schema).validate_definitions().unwrap_err();
            assert_eq!(refusal.code().number(), 1858, "{schema}: {refusal}");
        }
        let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(SCHEMA_LIMIT));
        assert!(with(&large).validate_definitions().is_err());
    }
}
