//! The type that the JSON schema of a queue gives to a member of the content.

use serde_json::Value;

/// The maximum depth to which references in a schema are followed.
const MAX_DEPTH: usize = 16;

/// The types that a schema allows for a member; none if it does not restrict them.
pub(crate) fn member_types<'a>(schema: &'a Value, name: &str) -> Vec<&'a str> {
    property(schema, schema, name, MAX_DEPTH)
        .map_or_else(Vec::new, |property| types(schema, property, MAX_DEPTH))
}

/// The schema of a member.
fn property<'a>(root: &'a Value, schema: &'a Value, name: &str, steps: usize) -> Option<&'a Value> {
    let steps = steps.checked_sub(1)?;
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) {
        return Some(property);
    }
    let parts = schema.get("allOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let target = referenced(root, schema);
    target.into_iter().chain(parts).find_map(|part| property(root, part, name, steps))
}

/// The types that a schema allows; none if it does not restrict them.
fn types<'a>(root: &'a Value, schema: &'a Value, steps: usize) -> Vec<&'a str> {
    let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
    let of_value = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let list = |name: &str| schema.get(name).and_then(Value::as_array);
    match schema.get("type") {
        Some(Value::String(name)) => return vec![name],
        Some(Value::Array(names)) => return names.iter().filter_map(Value::as_str).collect(),
        _ => {}
    }
    if let Some(target) = referenced(root, schema) {
        return types(root, target, steps);
    }
    if let Some(values) = list("enum") {
        return values.iter().map(of_value).collect();
    }
    if let Some(value) = schema.get("const") {
        return vec![of_value(value)];
    }
    if let Some(parts) = list("anyOf").or_else(|| list("oneOf")) {
        let each: Vec<Vec<&str>> = parts.iter().map(|part| types(root, part, steps)).collect();
        return if each.iter().any(Vec::is_empty) { Vec::new() } else { each.concat() };
    }
    let parts = list("allOf").map_or(&[][..], Vec::as_slice);
    parts.iter().map(|part| types(root, part, steps)).find(|types| !types.is_empty()).unwrap_or_default()
}

/// The target of a schema's `$ref`.
fn referenced<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}
