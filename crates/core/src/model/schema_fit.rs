//! Whether whatever one schema allows is accepted by another one: the schema of a queue, and that of a program's type.
//!
//! Comparing two schemas in general is out of reach. So values that the first schema allows are made from it and given to the
//! second: what is found is always true, and has an example. Where no such value is made (a pattern, a condition), nothing is
//! found. Nor is a member that the second schema knows and the first one does not name: a queue's schema that says nothing of
//! a new optional member must not keep a program from starting.

use std::sync::Arc;

use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Number, Value, json};

use super::exception::bounded;
use super::json::repaired_text;
use super::refusal::Refusal;
use super::schema::{SchemaOf, compiled};

/// The most examples of one member.
const MOST_EXAMPLES: usize = 64;
/// The most references and alternatives that are followed one after the other.
const MAX_DEPTH: usize = 8;
/// The longest text of an example in a sentence, in UTF-16 code units.
const SHOWN: usize = 80;
/// The name of a member that no schema names.
const UNNAMED: &str = "anotherMember";

/// Lists what `allowing` allows and `accepting` refuses, one sentence for each member and rule: empty if nothing is found. Both
/// are schemas of flat objects, of this kind of data.
///
/// # Errors
///
/// Code 1858 if one of them cannot be used as a schema, as in
/// [`validate_definitions`](super::schema::Schemas::validate_definitions).
///
/// ```
/// use performer::model::SchemaOf;
/// use performer::model::schema_fit::misfits;
///
/// let queue = r#"{"properties":{"amount":{"type":"number"}}}"#.into();
/// let program = r#"{"properties":{"amount":{"type":"integer"}},"required":["amount"]}"#.into();
/// assert_eq!(
///     misfits(SchemaOf::SpecificData, &queue, &program).unwrap(),
///     ["\"amount\" may be 0.5: it is not of type \"integer\"", "\"amount\" may be absent"]
/// );
/// ```
pub fn misfits(what: SchemaOf, allowing: &Arc<str>, accepting: &Arc<str>) -> Result<Vec<String>, Refusal> {
    let (allows, accepts) = (compiled(what, allowing)?, compiled(what, accepting)?);
    let root: Value = serde_json::from_str(&repaired_text(allowing)).unwrap_or_default();
    let mut search =
        Search { allows, accepts, without_example: Vec::new(), rules: Vec::new(), sentences: Vec::new() };
    for alternative in alternatives(&root) {
        search.compare(&root, alternative);
    }
    Ok(search.sentences)
}

struct Search {
    allows: Arc<Validator>,
    accepts: Arc<Validator>,
    /// The members that no example was made for: they are absent, whether they are required or not.
    without_example: Vec<String>,
    /// The members and rules that have a sentence.
    rules: Vec<(String, String)>,
    sentences: Vec<String>,
}

impl Search {
    /// Makes an object with all members of a schema, and others that differ from it in one member each.
    fn compare(&mut self, root: &Value, schema: &Value) {
        let mut members: Vec<(&String, Vec<Value>)> = Vec::new();
        self.without_example.clear();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let mut examples = Vec::new();
            values(root, member, 0, &mut examples);
            examples.retain(|example| self.may_be(name, example));
            match examples.is_empty() {
                true => self.without_example.push(name.clone()),
                false => members.push((name, examples)),
            }
        }
        let all = members.iter().map(|(name, examples)| ((*name).clone(), examples[0].clone()));
        let mut object = Value::Object(all.collect());
        self.try_object(&object);
        for (name, examples) in &members {
            for example in &examples[1..] {
                object[name.as_str()] = example.clone();
                self.try_object(&object);
            }
            if let Some(members) = object.as_object_mut() {
                members.remove(*name);
            }
            self.try_object(&object);
            object[name.as_str()] = examples[0].clone();
        }
        object[UNNAMED] = json!("text");
        self.try_object(&object);
    }

    /// Whether a member may have this value, whatever else there has to be in the object.
    fn may_be(&self, name: &str, value: &Value) -> bool {
        let object = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
        self.allows.iter_errors(&object).all(|error| error.instance_path().as_str().is_empty())
    }

    fn try_object(&mut self, object: &Value) {
        let is_without_example = |error: &ValidationError<'_>| match error.kind() {
            ValidationErrorKind::Required { property } => {
                self.without_example.iter().any(|name| property == name)
            }
            _ => false,
        };
        if !self.allows.iter_errors(object).all(|error| is_without_example(&error)) {
            return;
        }
        let errors: Vec<_> = self
            .accepts
            .iter_errors(object)
            .filter(|error| !is_without_example(error))
            .map(|error| (error.schema_path().to_string(), sentence(&error)))
            .collect();
        for (path, (member, sentence)) in errors {
            let rule = (member, path);
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
            let member = error.instance_path().as_str().trim_start_matches('/').to_owned();
            let example = bounded(error.instance().to_string(), SHOWN);
            let sentence = format!("{member:?} may be {example}: {}", error.masked_with("it"));
            (member, sentence)
        }
    }
}

/// The schemas of the objects that a schema allows: its own, or those of its alternatives.
fn alternatives(root: &Value) -> Vec<&Value> {
    let schema = resolve(root, root, 0);
    let parts = ["oneOf", "anyOf"].iter().filter_map(|of| schema[of].as_array()).flatten();
    let mut all: Vec<&Value> = parts.take(MOST_EXAMPLES).map(|part| resolve(root, part, 0)).collect();
    all.push(schema);
    all
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
    if into.len() >= MOST_EXAMPLES {
        return;
    }
    let schema = resolve(root, schema, depth);
    if let Some(constant) = schema.get("const") {
        return into.push(constant.clone());
    }
    if let Some(names) = schema["enum"].as_array() {
        return into.extend(names.iter().take(MOST_EXAMPLES).cloned());
    }
    let parts = ["anyOf", "oneOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten();
    let before = into.len();
    for part in parts.filter(|_| depth < MAX_DEPTH) {
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

/// A text of each format that has one. Whether a schema checks formats depends on its version.
const FORMATTED: [(&str, &str); 10] = [
    ("date", "2026-09-01"),
    ("date-time", "2026-09-01T12:00:00Z"),
    ("duration", "PT1H"),
    ("email", "somebody@example.com"),
    ("hostname", "example.com"),
    ("ipv4", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("time", "12:00:00Z"),
    ("uri", "https://example.com/"),
    ("uuid", "0192e6a0-0000-7000-8000-000000000000"),
];

fn texts(schema: &Value, into: &mut Vec<Value>) {
    const LONGEST: u64 = 10_000;
    if let Some(format) = schema["format"].as_str() {
        let known = FORMATTED.iter().find(|(name, _)| *name == format);
        return into.extend(known.map(|(_, text)| json!(text)));
    }
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
    into.extend(schema["multipleOf"].as_i64().map(Value::from));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(allowing: &Value, accepting: &Value) -> Vec<String> {
        let text = |schema: &Value| schema.to_string().into();
        misfits(SchemaOf::SpecificData, &text(allowing), &text(accepting)).unwrap()
    }

    #[track_caller]
    fn check(allowing: &Value, accepting: &Value, expected: &[&str]) {
        assert_eq!(found(allowing, accepting), expected);
    }

    fn of(member: &Value) -> Value {
        json!({ "properties": { "a": member }, "required": ["a"], "additionalProperties": false })
    }

    #[test]
    fn what_a_type_does_not_accept_is_named_with_an_example() {
        let text = of(&json!({ "type": "string" }));
        check(&text, &text, &[]);
        check(&of(&json!({ "type": "number" })), &text, &["\"a\" may be 0.5: it is not of type \"string\""]);
        let optional = json!({ "properties": { "a": { "type": "string" } } });
        check(&optional, &text, &["\"a\" may be absent", "there may be members that are not accepted"]);
        check(&text, &optional, &[]);
        let nullable = of(&json!({ "type": ["string", "null"] }));
        check(&nullable, &text, &["\"a\" may be null: it is not of type \"string\""]);
    }

    #[test]
    fn bounds_and_enumerations_are_compared() {
        let unsigned = of(&json!({ "type": "integer", "minimum": 0 }));
        let any = of(&json!({ "type": "integer" }));
        check(&any, &unsigned, &["\"a\" may be -1: it is less than the minimum of 0"]);
        let small = of(&json!({ "type": "integer", "minimum": 1, "maximum": 9 }));
        check(&small, &unsigned, &[]);
        check(
            &unsigned,
            &small,
            &[
                "\"a\" may be 0: it is less than the minimum of 1",
                "\"a\" may be 1000000: it is greater than the maximum of 9",
            ],
        );
        let (some, more) = (of(&json!({ "enum": ["A", "B"] })), of(&json!({ "enum": ["A", "B", "C"] })));
        check(&some, &more, &[]);
        check(&more, &some, &["\"a\" may be \"C\": it is not one of \"A\" or \"B\""]);
        let short = of(&json!({ "type": "string", "maxLength": 4 }));
        let long = found(&of(&json!({ "type": "string" })), &short);
        assert!(long.len() == 1 && long[0].contains("longer than 4"), "{long:?}");
        assert!(long[0].len() < 200, "the example is shortened: {long:?}");
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
    fn what_cannot_be_used_is_an_error() {
        for text in ["", "[]", r#"{"type":"nonsense"}"#, r#"{"$ref":"http://127.0.0.1:1/x"}"#] {
            for (a, b) in [(text, "{}"), ("{}", text)] {
                let refusal = misfits(SchemaOf::OutputData, &a.into(), &b.into()).unwrap_err();
                assert_eq!(refusal.code().number(), 1858, "{text}");
            }
        }
    }

    /// A member whose values cannot be guessed hides nothing of the others.
    #[test]
    fn a_member_without_an_example_is_left_out() {
        let allowing = json!({
            "properties": { "a": { "type": "string", "pattern": "^[0-9]{7}$" }, "b": { "type": "number" } },
            "required": ["a", "b"],
            "additionalProperties": false,
        });
        let accepting = json!({ "properties": { "b": { "type": "integer" } }, "required": ["a", "b"] });
        check(&allowing, &accepting, &["\"b\" may be 0.5: it is not of type \"integer\""]);
    }

    #[test]
    fn formats_have_valid_examples() {
        for (format, _) in FORMATTED {
            let allowing = of(&json!({ "type": "string", "format": format }));
            let mut accepting = allowing.clone();
            accepting["$schema"] = json!("http://json-schema.org/draft-07/schema#"); // it checks formats
            check(&allowing, &accepting, &[]);
            let number = of(&json!({ "type": "number" }));
            assert_eq!(found(&allowing, &number).len(), 1, "{format}");
        }
        check(&of(&json!({ "type": "string", "format": "of ours" })), &of(&json!({ "type": "number" })), &[]);
    }

    #[test]
    fn alternatives_are_compared() {
        let alternative = |kind: &str| json!({ "type": "object", "properties": { "kind": { "const": kind }, "n": { "type": "number" } }, "required": ["kind"] });
        let tagged = json!({ "oneOf": [alternative("A"), alternative("B")] });
        let strict = json!({ "properties": { "kind": { "enum": ["A"] } } });
        check(&tagged, &strict, &["\"kind\" may be \"B\": it is not one of \"A\""]);
        check(&tagged, &tagged, &[]);
    }

    #[test]
    fn many_members_and_deep_alternatives_take_no_time() {
        let members: Map<String, Value> = (0..300).map(|n| (format!("m{n}"), json!({}))).collect();
        let wide = json!({ "properties": members });
        check(&wide, &wide, &[]);
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
            prop_assert_eq!(found(&schema, &schema), [""; 0]);
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
                prop_assert!(!found(&allowing, &accepting).is_empty(), "{} is allowed by {} and refused by {}", object, allowing, accepting);
            }
        }
    }
}
