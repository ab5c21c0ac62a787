//! JSON schemas of queues: what content, output and analytics have to look like (contract sections 6 and 13.7).
//!
//! They are enforced by the feature `json-schema`; without it a queue with a schema is refused where it is made, and
//! items are refused where it was made by a program that has the feature: nothing is taken unchecked.

use std::sync::Arc;

use super::code::ErrorCode;
use super::enumeration::enumeration;
use super::refusal::Refusal;

enumeration! {
    /// What a schema is about. The numbers are ours.
    pub SchemaOf {
        /// SpecificContent, when an item is added.
        SpecificData = 0,
        /// Output, when there is a result.
        OutputData = 1,
        /// Analytics, when there is a result.
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
    /// The schema of this kind of data, if there is one.
    pub fn of(&self, what: SchemaOf) -> Option<&Arc<str>> {
        match what {
            SchemaOf::SpecificData => self.specific_data.as_ref(),
            SchemaOf::OutputData => self.output_data.as_ref(),
            SchemaOf::AnalyticsData => self.analytics_data.as_ref(),
        }
    }

    /// Checks that each schema is one.
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
    /// Code 1857 when it does not fit; as [`validate_definitions`](Self::validate_definitions).
    pub fn validate(&self, what: SchemaOf, json: &str) -> Result<(), Refusal> {
        self.of(what).map_or(Ok(()), |schema| check(what, schema, json))
    }
}

#[cfg(feature = "json-schema")]
fn check(what: SchemaOf, schema: &Arc<str>, json: &str) -> Result<(), Refusal> {
    let validator = compiled(what, schema)?;
    let value = serde_json::from_str(json).unwrap_or(serde_json::Value::Null);
    let broken: Vec<String> = validator
        .iter_errors(&value)
        .take(3)
        .map(|error| format!("{} ({})", error, error.instance_path()))
        .collect();
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

/// A schema, compiled once; the last ones are kept.
#[cfg(feature = "json-schema")]
fn compiled(what: SchemaOf, schema: &Arc<str>) -> Result<Arc<jsonschema::Validator>, Refusal> {
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
    let value: serde_json::Value =
        serde_json::from_str(schema).map_err(|error| refused(error.to_string()))?;
    if !value.is_object() {
        return Err(refused("it is no JSON object".to_owned()));
    }
    // The engine of patterns that takes linear time: a schema is data of a caller.
    let options = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
    let validator = Arc::new(options.build(&value).map_err(|error| refused(error.to_string()))?);
    let mut kept = kept();
    if kept.len() >= MOST_KEPT {
        kept.remove(0);
    }
    kept.push((schema.clone(), validator.clone()));
    Ok(validator)
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
