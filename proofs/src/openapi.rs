//! The vendor's OpenAPI document, with its defects corrected.
#![allow(clippy::allow_attributes, unreachable_pub, reason = "a module of several tests")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The vendor's document, if it is available.
pub fn document() -> Option<Value> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/orchestrator-openapi.json");
    let file = std::env::var_os("ORCHESTRATOR_OPENAPI").map_or(beside, PathBuf::from);
    let text = std::fs::read_to_string(&file).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// Corrects the defects of the document: maps contain scalars, optional members may be null, and unknown members of a request
/// are errors.
pub fn with_defects_fixed(mut document: Value) -> Value {
    fn open_maps(value: &mut Value) {
        match value {
            Value::Object(map) => {
                if map.get("additionalProperties") == Some(&json!({"type": "object"})) {
                    map.insert("additionalProperties".to_owned(), json!({}));
                }
                map.values_mut().for_each(open_maps);
            }
            Value::Array(values) => values.iter_mut().for_each(open_maps),
            _ => {}
        }
    }
    open_maps(&mut document);
    for (name, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
        let required = schema["required"].clone();
        let is_required =
            |key: &str| required.as_array().is_some_and(|keys| keys.iter().any(|required| required == key));
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for (key, property) in properties {
                if !is_required(key) {
                    *property = json!({"anyOf": [property.clone(), {"type": "null"}]});
                }
            }
        }
        let strict = name.ends_with("Request")
            || [
                "QueueItemDataDto",
                "TransactionDataDto",
                "TransactionResultDto",
                "ProcessingExceptionDto",
                "LongVersionedEntity",
                "QueueDefinitionDto",
                "QueueRetentionSettingDto",
                "QueueItemCommentDto",
            ]
            .contains(&name.as_str());
        if strict {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
}

/// The path template of the document that matches a path.
pub fn path_template<'a>(document: &'a Value, path: &str) -> Option<(&'a String, &'a Value)> {
    let shape = |path: &str| -> String {
        let mut shape = String::new();
        let mut depth = 0;
        for character in path.chars() {
            match character {
                '(' => {
                    depth += 1;
                    shape.push('(');
                }
                ')' => {
                    depth -= 1;
                    shape.push(')');
                }
                _ if depth == 0 => shape.push(character),
                _ => {}
            }
        }
        // Outside of `/odata` a key is a segment: `{id}` in the document, a number in a path.
        let is_key = |segment: &str| {
            segment.starts_with('{')
                || !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
        };
        let segments = shape.split('/').map(|segment| if is_key(segment) { "{}" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    };
    document["paths"].as_object().unwrap().iter().find(|(known, _)| shape(known) == shape(path))
}

/// The violations of a schema of the document by a value.
pub fn violations(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let whole = json!({"allOf": [schema], "components": document["components"]});
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4).should_validate_formats(true);
    let validator = options.build(&whole).unwrap();
    validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect()
}
