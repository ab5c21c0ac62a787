//! Whether whatever one schema allows is accepted by another one: the schema of a queue, and that of a program's type.
//!
//! Comparing two schemas in general is out of reach. So values that the first schema allows are made from it and given to the
//! second: what is found is always true, and has an example. Where no such value is made (a pattern, a condition), nothing is
//! found. Nor is a member that the second schema knows and the first one does not name: a queue's schema that says nothing of
//! a new optional member must not keep a program from starting.

use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Number, Value, json};

/// The most examples of one member, and of one enumeration.
const MOST_EXAMPLES: usize = 64;
/// The most references that are followed one after the other.
const MAX_DEPTH: usize = 8;
/// The name of a member that no schema names.
const UNNAMED: &str = "anotherMember";

/// Lists what `allowing` allows and `accepting` refuses, one sentence for each member and rule: empty if nothing is found. Both
/// are schemas of flat objects. A text that is no schema allows and refuses nothing.
///
/// ```
/// # #[cfg(feature = "json-schema")] {
/// use performer_core::model::schema_fit::misfits;
///
/// let queue = r#"{"properties":{"amount":{"type":"number"}}}"#;
/// let program = r#"{"properties":{"amount":{"type":"integer"}},"required":["amount"]}"#;
/// assert_eq!(
///     misfits(queue, program),
///     ["\"amount\" may be absent", "\"amount\" may be 0.5: 0.5 is not of type \"integer\""]
/// );
/// # }
/// ```
pub fn misfits(allowing: &str, accepting: &str) -> Vec<String> {
    let parse = |schema: &str| serde_json::from_str::<Value>(schema).ok();
    let Some((allowing, accepting)) = parse(allowing).zip(parse(accepting)) else { return Vec::new() };
    let options = || jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
    let (Ok(allows), Ok(accepts)) = (options().build(&allowing), options().build(&accepting)) else {
        return Vec::new();
    };
    let mut found = Misfits { accepts, rules: Vec::new(), sentences: Vec::new() };
    for object in examples(&allowing, &allows).into_iter().filter(|object| allows.is_valid(object)) {
        found.add(&object);
    }
    found.sentences
}

struct Misfits {
    accepts: Validator,
    /// The members and rules that have a sentence.
    rules: Vec<(String, String)>,
    sentences: Vec<String>,
}

impl Misfits {
    fn add(&mut self, object: &Value) {
        let errors: Vec<_> = self.accepts.iter_errors(object).map(ValidationError::to_owned).collect();
        for error in errors {
            let (member, sentence) = sentence(&error);
            let rule = (member, error.schema_path().to_string());
            if !self.rules.contains(&rule) {
                self.rules.push(rule);
                self.sentences.push(sentence);
            }
        }
    }
}

/// The member of an error, and what is wrong with it.
fn sentence(error: &ValidationError<'_>) -> (String, String) {
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let member = property.as_str().unwrap_or_default().to_owned();
            let sentence = format!("{member:?} may be absent");
            (member, sentence)
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let is_unnamed = unexpected.iter().all(|member| member == UNNAMED);
            let sentence = match is_unnamed {
                true => "there may be members that are not accepted".to_owned(),
                false => format!("there may be {}, which is not accepted", unexpected.join(" and ")),
            };
            (unexpected.join(" "), sentence)
        }
        _ => {
            let member = error.instance_path().to_string().trim_start_matches('/').to_owned();
            let sentence = format!("{member:?} may be {}: {error}", error.instance());
            (member, sentence)
        }
    }
}

/// Objects that the schema may allow: one with all members that can have a value, and others that differ from it in one member
/// each.
fn examples(schema: &Value, allows: &Validator) -> Vec<Value> {
    let resolved = resolve(schema, schema, 0);
    let members: Vec<(String, Vec<Value>)> = properties(resolved)
        .into_iter()
        .map(|(name, member)| {
            let mut examples = Vec::new();
            values(schema, member, 0, &mut examples);
            examples.truncate(MOST_EXAMPLES);
            examples.retain(|example| is_allowed(allows, name, example));
            (name.clone(), examples)
        })
        .collect();
    let first = |(name, examples): &(String, Vec<Value>)| Some((name.clone(), examples.first()?.clone()));
    let all: Map<String, Value> = members.iter().filter_map(first).collect();
    let mut objects = vec![Value::Object(all.clone())];
    for (name, examples) in &members {
        let mut without = all.clone();
        without.remove(name);
        objects.push(without.into());
        for example in examples {
            let mut other = all.clone();
            other.insert(name.clone(), example.clone());
            objects.push(other.into());
        }
    }
    let mut more = all;
    more.insert(UNNAMED.to_owned(), json!("text"));
    objects.push(more.into());
    objects
}

/// Whether a member may have this value, whatever else there has to be in the object.
fn is_allowed(allows: &Validator, name: &str, value: &Value) -> bool {
    let object = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    allows.iter_errors(&object).all(|error| error.instance_path().to_string().is_empty())
}

fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten().collect()
}

/// The schema that a reference within `root` leads to, or the schema itself.
fn resolve<'a>(root: &'a Value, schema: &'a Value, depth: usize) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|to| root.pointer(to.strip_prefix('#')?));
    match target {
        Some(target) if depth < MAX_DEPTH => resolve(root, target, depth + 1),
        _ => schema,
    }
}

/// Values that the schema of a member may allow.
fn values(root: &Value, schema: &Value, depth: usize, into: &mut Vec<Value>) {
    let schema = resolve(root, schema, depth);
    if let Some(constant) = schema.get("const") {
        return into.push(constant.clone());
    }
    if let Some(names) = schema["enum"].as_array() {
        return into.extend(names.iter().take(MOST_EXAMPLES).cloned());
    }
    let parts = ["anyOf", "oneOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten();
    let before = into.len();
    for part in parts.take(MOST_EXAMPLES).filter(|_| depth < MAX_DEPTH) {
        values(root, part, depth + 1, into);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ if into.len() > before => return,
        _ => vec!["string", "integer", "number", "boolean", "null"],
    };
    for kind in types {
        match kind {
            "string" => texts(schema, into),
            "integer" => integers(schema, into),
            "number" => {
                into.push(json!(0.5));
                integers(schema, into);
                let bounds = ["minimum", "maximum"].iter().filter_map(|bound| schema[bound].as_f64());
                into.extend(bounds.filter_map(|bound| Number::from_f64(bound + 0.25)).map(Value::Number));
            }
            "boolean" => into.extend([json!(true), json!(false)]),
            "null" => into.push(Value::Null),
            _ => {}
        }
    }
}

fn texts(schema: &Value, into: &mut Vec<Value>) {
    const LONGEST: u64 = 10_000;
    let shortest = schema["minLength"].as_u64().unwrap_or(0).min(LONGEST);
    let longest = schema["maxLength"].as_u64().unwrap_or(1_000).clamp(shortest, LONGEST);
    for length in [4_u64.clamp(shortest, longest), shortest, longest] {
        into.push(
            "text".chars().cycle().take(usize::try_from(length).unwrap_or(0)).collect::<String>().into(),
        );
    }
}

fn integers(schema: &Value, into: &mut Vec<Value>) {
    let bound = |name: &str| schema[name].as_i64();
    let lowest = bound("minimum").or_else(|| bound("exclusiveMinimum")?.checked_add(1));
    let highest = bound("maximum").or_else(|| bound("exclusiveMaximum")?.checked_sub(1));
    into.extend(lowest.into_iter().chain(highest).map(Value::from));
    into.extend([1, 0, -1, 1_000_000, i64::MAX, i64::MIN].map(Value::from));
    let factor = schema["multipleOf"].as_i64();
    into.extend(factor.map(Value::from));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(allowing: &Value, accepting: &Value, expected: &[&str]) {
        assert_eq!(misfits(&allowing.to_string(), &accepting.to_string()), expected);
    }

    fn of(member: &Value) -> Value {
        json!({ "properties": { "a": member }, "required": ["a"], "additionalProperties": false })
    }

    #[test]
    fn what_a_type_does_not_accept_is_named_with_an_example() {
        let text = of(&json!({ "type": "string" }));
        check(&text, &text, &[]);
        check(&of(&json!({ "type": "number" })), &text, &["\"a\" may be 0.5: 0.5 is not of type \"string\""]);
        let optional = json!({ "properties": { "a": { "type": "string" } } });
        check(&optional, &text, &["\"a\" may be absent", "there may be members that are not accepted"]);
        check(&text, &optional, &[]);
        let nullable = of(&json!({ "type": ["string", "null"] }));
        check(&nullable, &text, &["\"a\" may be null: null is not of type \"string\""]);
    }

    #[test]
    fn bounds_and_enumerations_are_compared() {
        let unsigned = of(&json!({ "type": "integer", "minimum": 0 }));
        let any = of(&json!({ "type": "integer" }));
        check(&any, &unsigned, &["\"a\" may be -1: -1 is less than the minimum of 0"]);
        let small = of(&json!({ "type": "integer", "minimum": 1, "maximum": 9 }));
        check(&small, &unsigned, &[]);
        check(
            &unsigned,
            &small,
            &[
                "\"a\" may be 0: 0 is less than the minimum of 1",
                "\"a\" may be 1000000: 1000000 is greater than the maximum of 9",
            ],
        );
        let (some, more) = (of(&json!({ "enum": ["A", "B"] })), of(&json!({ "enum": ["A", "B", "C"] })));
        check(&some, &more, &[]);
        check(&more, &some, &["\"a\" may be \"C\": \"C\" is not one of \"A\" or \"B\""]);
        let short = of(&json!({ "type": "string", "maxLength": 4 }));
        let long = misfits(&of(&json!({ "type": "string" })).to_string(), &short.to_string());
        assert!(long.len() == 1 && long[0].contains("longer than 4"), "{long:?}");
    }

    #[test]
    fn references_are_followed_and_members_that_are_not_known_are_named() {
        let referring = json!({
            "$defs": { "amount": { "type": "number" } },
            "properties": { "a": { "$ref": "#/$defs/amount" }, "b": { "anyOf": [{ "type": "string" }, { "type": "null" }] } },
            "additionalProperties": false,
        });
        let strict = json!({
            "properties": { "a": { "type": "number" } },
            "additionalProperties": false,
        });
        check(&referring, &strict, &["there may be b, which is not accepted"]);
        let endless = json!({ "$defs": { "x": { "$ref": "#/$defs/x" } }, "properties": { "a": { "$ref": "#/$defs/x" } } });
        check(&endless, &endless, &[]);
    }

    #[test]
    fn what_is_no_schema_finds_nothing() {
        for text in ["", "[]", r#"{"type":"nonsense"}"#, r#"{"$ref":"http://127.0.0.1:1/x"}"#] {
            assert_eq!(misfits(text, text), [""; 0], "{text}");
        }
        assert_eq!(misfits(r#"{"properties":5,"required":"a","type":7}"#, "{}"), [""; 0]);
    }

    fn member() -> impl Strategy<Value = Value> {
        let bound = -3_i64..4;
        let types = prop::sample::subsequence(vec!["string", "integer", "number", "boolean", "null"], 0..4);
        (types, prop::option::of(bound.clone()), prop::option::of(bound), prop::option::of(0_u64..6))
            .prop_map(|(types, minimum, maximum, longest)| {
                let mut schema = Map::new();
                if !types.is_empty() {
                    schema.insert("type".to_owned(), types.into());
                }
                let bounds = [("minimum", minimum.map(Value::from)), ("maximum", maximum.map(Value::from))];
                let limits = bounds.into_iter().chain([("maxLength", longest.map(Value::from))]);
                schema.extend(limits.filter_map(|(name, value)| Some((name.to_owned(), value?))));
                schema.into()
            })
    }

    fn schema() -> impl Strategy<Value = Value> {
        let members = prop::collection::btree_map("[abc]", (member(), any::<bool>()), 0..3);
        (members, any::<bool>()).prop_map(|(members, additional)| {
            let required: Vec<&String> =
                members.iter().filter(|(_, (_, required))| *required).map(|(name, _)| name).collect();
            let properties: Map<String, Value> =
                members.iter().map(|(name, (member, _))| (name.clone(), member.clone())).collect();
            json!({ "properties": properties, "required": required, "additionalProperties": additional })
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        let value = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-5_i64..6).prop_map(Value::from),
            (-5.0..5.0).prop_map(Value::from),
            "[xy]{0,7}".prop_map(Value::from),
        ];
        prop::collection::btree_map("[abcd]", value, 0..4).prop_map(|members| json!(members))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_schema_fits_itself(schema in schema()) {
            prop_assert_eq!(misfits(&schema.to_string(), &schema.to_string()), [""; 0]);
        }

        /// For these schemas the examples are good enough: if one object shows that two do not fit, a misfit is found.
        #[test]
        fn a_misfit_that_an_object_shows_is_found(allowing in schema(), accepting in schema(), objects in prop::collection::vec(object(), 40)) {
            let (allows, accepts) = (jsonschema::validator_for(&allowing).unwrap(), jsonschema::validator_for(&accepting).unwrap());
            let named = |schema: &Value, member: &str| schema["properties"].get(member).is_some();
            let is_told = |member: &str| named(&allowing, member) || !named(&accepting, member);
            let is_told = |object: &&Value| object.as_object().unwrap().keys().all(|member| is_told(member));
            let is_misfit = |object: &&Value| allows.is_valid(object) && !accepts.is_valid(object);
            let shown = objects.iter().filter(is_told).find(is_misfit);
            if let Some(object) = shown {
                let found = misfits(&allowing.to_string(), &accepting.to_string());
                prop_assert!(!found.is_empty(), "{} is allowed by {} and refused by {}", object, allowing, accepting);
            }
        }
    }
}
