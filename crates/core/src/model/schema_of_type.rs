//! The JSON schema of a Rust type, as the schema of a queue.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Number, Value};

/// The schema of what a type can be deserialized from; `None` if that is no object.
pub(super) fn accepted_by<T: JsonSchema>() -> Option<Arc<str>> {
    of_type::<T>(SchemaSettings::for_deserialize)
}

/// The schema of what a type serializes to; `None` if that is no object.
pub(super) fn produced_by<T: JsonSchema>() -> Option<Arc<str>> {
    of_type::<T>(SchemaSettings::for_serialize)
}

fn of_type<T: JsonSchema>(direction: impl FnOnce(SchemaSettings) -> SchemaSettings) -> Option<Arc<str>> {
    let settings = direction(SchemaSettings::draft2020_12()).with_transform(RecursiveTransform(add_bounds));
    let schema = settings.into_generator().into_root_schema_for::<T>();
    is_object(schema.as_value(), schema.as_value()).then(|| schema.as_value().to_string().into())
}

/// Adds the bounds of an integer type, which the generator tells by `format` alone, if at all.
fn add_bounds(schema: &mut Schema) {
    let (low, high): (Number, Number) = match schema.get("format").and_then(Value::as_str) {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        Some("uint8") => (0.into(), u8::MAX.into()),
        Some("uint16") => (0.into(), u16::MAX.into()),
        Some("uint32") => (0.into(), u32::MAX.into()),
        Some("uint64" | "uint") => (0.into(), u64::MAX.into()),
        _ => return,
    };
    for (name, bound) in [("minimum", low), ("maximum", high)] {
        if schema.get(name).is_none() {
            schema.insert(name.to_owned(), bound.into());
        }
    }
}

/// Whether a schema allows objects alone: its own type, or that of what it refers to, or of all its alternatives.
fn is_object(root: &Value, schema: &Value) -> bool {
    if let Some(target) = schema["$ref"].as_str().and_then(|to| root.pointer(to.strip_prefix('#')?)) {
        return !std::ptr::eq(target, schema) && !target["$ref"].is_string() && is_object(root, target);
    }
    let parts = ["oneOf", "anyOf"].iter().find_map(|of| schema[of].as_array());
    match parts {
        Some(parts) => !parts.is_empty() && parts.iter().all(|part| is_object(root, part)),
        None => schema["type"] == "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[schemars(crate = "schemars")]
    #[expect(dead_code, reason = "its schema is what is tested")]
    struct Invoice {
        small: i8,
        large: u64,
        #[schemars(range(min = 5))]
        bounded: u32,
        exact: i128,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema is what is tested")]
    struct Wrapped(Invoice);

    #[derive(JsonSchema)]
    #[schemars(tag = "kind")]
    #[expect(dead_code, reason = "its schema is what is tested")]
    enum Document {
        Invoice(Invoice),
        Note { text: String },
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema is what is tested")]
    enum Colour {
        Red,
        Green,
    }

    fn read(schema: Option<Arc<str>>) -> Value {
        serde_json::from_str(&schema.unwrap()).unwrap()
    }

    #[test]
    fn integers_have_the_bounds_of_their_types() {
        let schema = read(accepted_by::<Invoice>());
        let bounds = |member: &str| {
            let member = &schema["properties"][member];
            (member["minimum"].to_string(), member["maximum"].to_string())
        };
        assert_eq!(bounds("small"), ("-128".to_owned(), "127".to_owned()));
        assert_eq!(bounds("large"), ("0".to_owned(), u64::MAX.to_string()));
        assert_eq!(bounds("bounded"), ("5".to_owned(), u32::MAX.to_string()));
        assert_eq!(bounds("exact"), ("null".to_owned(), "null".to_owned()));
    }

    #[test]
    fn what_is_an_object_has_a_schema() {
        assert!(produced_by::<Wrapped>().is_some(), "a struct around a struct");
        assert!(read(produced_by::<Document>())["oneOf"].is_array());
        assert!(produced_by::<Colour>().is_none() && produced_by::<Option<Invoice>>().is_none());
        assert!(produced_by::<()>().is_none() && produced_by::<Vec<Invoice>>().is_none());
    }
}
