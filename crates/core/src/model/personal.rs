//! Personal fields: what the schemas of a queue mark with `"x-personal": true`, masked wherever people look at items.
//!
//! Which fields are personal follows from the schema and the data alone. A mark holds for the value that its schema applies to, with
//! all that is in it. It is found through `properties`, `items`, `$ref` and the other keywords that apply a schema to a value or to a part of it.
//! In doubt a value is masked: every `patternProperties` counts as matching, every branch of `anyOf` or `if` as the one that applies,
//! and what a reference out of the schema leads to as marked. A schema that cannot be read and may have a mark masks everything.

mod values;

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

pub use self::values::PersonalValues;
use super::code::ErrorCode;
use super::content::{Analytics, Output, SpecificContent, units_over};
use super::item::QueueItem;
use super::json::{JsonKind, Members, push_text, repaired_text};
use super::refusal::Refusal;
use super::schema::{SchemaOf, Schemas};

/// The keyword of a schema that marks a value as personal.
pub const PERSONAL: &str = "x-personal";

/// What stands in the place of a personal value, as a text.
pub const MASK: &str = "***";

/// The longest reason of a reveal, in UTF-16 code units.
pub const REVEAL_REASON_LIMIT: usize = 512;

/// Checks why somebody wants to see the personal fields of an item.
///
/// # Errors
///
/// Code 1009 without a reason, and for one that is longer than [`REVEAL_REASON_LIMIT`].
pub fn validate_reveal_reason(reason: &str) -> Result<(), Refusal> {
    let message = if reason.trim().is_empty() {
        "a reason is needed to reveal personal fields".to_owned()
    } else if let Some(units) = units_over(reason, REVEAL_REASON_LIMIT) {
        format!("the reason has {units} code units, the limit is {REVEAL_REASON_LIMIT}")
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message))
}

/// The personal fields of the items of a queue.
#[derive(Clone, Debug, Default)]
pub struct PersonalFields {
    specific_data: Marks,
    output_data: Marks,
    analytics_data: Marks,
}

/// What a schema marks.
#[derive(Clone, Debug, Default)]
enum Marks {
    #[default]
    Nothing,
    /// It may have marks, and cannot be read.
    Everything,
    Schema(Value),
}

impl Marks {
    fn of(schema: Option<&str>) -> Self {
        // A name in JSON may be written with escapes.
        let Some(text) = schema.filter(|text| text.contains(PERSONAL) || text.contains('\\')) else {
            return Self::Nothing;
        };
        match serde_json::from_str::<Value>(&repaired_text(text)) {
            Err(_) => Self::Everything,
            Ok(schema) if has_mark(&schema) => Self::Schema(schema),
            Ok(_) => Self::Nothing,
        }
    }
}

/// Whether a schema marks anything.
#[cfg(feature = "json-schema")]
pub(super) fn has_personal_fields(schema: &str) -> bool {
    !matches!(Marks::of(Some(schema)), Marks::Nothing)
}

/// Whether the keyword is anywhere in a schema.
fn has_mark(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key(PERSONAL) || members.values().any(has_mark),
        Value::Array(elements) => elements.iter().any(has_mark),
        _ => false,
    }
}

impl PersonalFields {
    /// What the schemas of a queue mark.
    pub fn of(schemas: &Schemas) -> Self {
        let marks = |what| Marks::of(schemas.of(what).map(AsRef::as_ref));
        Self {
            specific_data: marks(SchemaOf::SpecificData),
            output_data: marks(SchemaOf::OutputData),
            analytics_data: marks(SchemaOf::AnalyticsData),
        }
    }

    /// Whether nothing is marked.
    pub fn is_empty(&self) -> bool {
        SchemaOf::ALL.iter().all(|what| matches!(self.marks(*what), Marks::Nothing))
    }

    fn marks(&self, what: SchemaOf) -> &Marks {
        match what {
            SchemaOf::SpecificData => &self.specific_data,
            SchemaOf::OutputData => &self.output_data,
            SchemaOf::AnalyticsData => &self.analytics_data,
        }
    }

    /// The data with [`MASK`] in the place of each personal value, and the names of the fields that have one: as in `Customer.Name`,
    /// and `Customers[].Name` for elements of arrays.
    pub fn mask<'a>(&self, what: SchemaOf, json: &'a str) -> (Cow<'a, str>, Vec<String>) {
        self.mask_noting(what, json, &mut PersonalValues::default())
    }

    /// As that, and notes the values that it masks.
    fn mask_noting<'a>(
        &self,
        what: SchemaOf,
        json: &'a str,
        values: &mut PersonalValues,
    ) -> (Cow<'a, str>, Vec<String>) {
        let (schema, root) = match self.marks(what) {
            Marks::Nothing => return (Cow::Borrowed(json), Vec::new()),
            Marks::Everything => (None, &Value::Null),
            Marks::Schema(schema) => (Some(schema), schema),
        };
        let mut masking = Masking { root, fields: Vec::new(), values };
        let applied = schema.and_then(|schema| masking.applied([schema]));
        let masked = masking.members(applied.as_deref(), json);
        if masking.fields.is_empty() {
            return (Cow::Borrowed(json), Vec::new());
        }
        (Cow::Owned(masked), masking.fields)
    }

    /// The values of the personal fields of an item.
    pub fn values(&self, item: &QueueItem) -> PersonalValues {
        let mut values = PersonalValues::default();
        if !self.is_empty() {
            let parts = [
                (SchemaOf::SpecificData, Some(item.specific_content.as_json())),
                (SchemaOf::OutputData, item.output.as_ref().map(Output::as_json)),
                (SchemaOf::AnalyticsData, item.analytics.as_ref().map(Analytics::as_json)),
            ];
            for (what, json) in parts {
                json.map(|json| self.mask_noting(what, json, &mut values));
            }
            values.sort();
        }
        values
    }

    /// Masks the personal fields of an item, and their values where its exception and its progress repeat them. Returns the names of
    /// the fields, such as `SpecificContent.Iban`.
    pub fn mask_item(&self, item: &mut QueueItem) -> Vec<String> {
        let values = self.values(item);
        if let Some(exception) = &mut item.processing_exception {
            values.mask(&mut exception.reason);
            if let Some(details) = &mut exception.details {
                values.mask(details);
            }
        }
        if let Some(progress) = &mut item.progress {
            values.mask(progress);
        }
        let mut names = Vec::new();
        let mut masked = |what: SchemaOf, part: &str, json: &str| {
            let (json, fields) = self.mask(what, json);
            let is_masked = !fields.is_empty();
            names.extend(fields.into_iter().map(|field| format!("{part}.{field}")));
            is_masked.then(|| json.into_owned())
        };
        let content = masked(SchemaOf::SpecificData, "SpecificContent", item.specific_content.as_json());
        if let Some(json) = content {
            item.specific_content = SpecificContent::from_stored(json);
        }
        if let Some(output) = &mut item.output
            && let Some(json) = masked(SchemaOf::OutputData, "Output", output.as_json())
        {
            *output = Output::from_stored(json);
        }
        if let Some(analytics) = &mut item.analytics
            && let Some(json) = masked(SchemaOf::AnalyticsData, "Analytics", analytics.as_json())
        {
            *analytics = Analytics::from_stored(json);
        }
        names
    }

    /// The names of the personal fields that an item has, whether it is masked or not.
    pub fn names(&self, item: &QueueItem) -> Vec<String> {
        if self.is_empty() { Vec::new() } else { self.mask_item(&mut item.clone()) }
    }

    /// SpecificContent that was edited with masks in it: each mask in the place of a personal value is replaced by the value that the
    /// original has there.
    ///
    /// # Errors
    ///
    /// Code 1009 for a mask in the place of a personal value that the original does not have; otherwise as
    /// [`SpecificContent::from_json`].
    pub fn restore(&self, original: &SpecificContent, edited: &str) -> Result<SpecificContent, Refusal> {
        let edited = SpecificContent::from_json(edited)?;
        let (masked, fields) = self.mask(SchemaOf::SpecificData, original.as_json());
        if fields.is_empty() && self.mask(SchemaOf::SpecificData, edited.as_json()).1.is_empty() {
            return Ok(edited);
        }
        let (was, shown, now) = (members(original.as_json())?, members(&masked)?, members(edited.as_json())?);
        let mask = format!("\"{MASK}\"");
        let mut json = String::from("{");
        for (name, value) in now.iter() {
            if json.len() > 1 {
                json.push(',');
            }
            push_text(&mut json, name);
            json.push(':');
            let is_as_shown = shown.get(name).is_some_and(|shown| shown.get() == value.get());
            match was.get(name).filter(|_| is_as_shown) {
                Some(was) => json.push_str(was.get()),
                None if value.get() == mask && self.is_personal(name) => {
                    let message =
                        format!("{name:?} has the mask {MASK} and no value before that it stands for");
                    return Err(invalid(&message));
                }
                None => json.push_str(value.get()),
            }
        }
        json.push('}');
        SpecificContent::from_json(&json)
    }

    /// Whether a member of SpecificContent of this name is personal.
    fn is_personal(&self, name: &str) -> bool {
        let mut json = String::from("{");
        push_text(&mut json, name);
        json.push_str(":0}");
        !self.mask(SchemaOf::SpecificData, &json).1.is_empty()
    }
}

fn members(json: &str) -> Result<Members<'_>, Refusal> {
    Members::read(json).map_err(|error| invalid(&error.to_string()))
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message.to_owned())
}

/// The most names of fields that are told.
const MOST_NAMES: usize = 100;

struct Masking<'a, 'v> {
    root: &'a Value,
    fields: Vec<String>,
    values: &'v mut PersonalValues,
}

impl<'a> Masking<'a, '_> {
    /// The schemas that apply to a value to which these do: themselves, and those that they refer to or combine. `None`: one of them
    /// marks the value.
    fn applied(&self, schemas: impl IntoIterator<Item = &'a Value>) -> Option<Vec<&'a Value>> {
        const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
        const COMBINED: [&str; 6] = ["allOf", "anyOf", "oneOf", "if", "then", "else"];
        const BY_MEMBER: [&str; 2] = ["dependentSchemas", "dependencies"];
        let mut waiting: Vec<&Value> = schemas.into_iter().collect();
        let (mut applied, mut seen) = (Vec::new(), HashSet::new());
        while let Some(schema) = waiting.pop() {
            if !seen.insert(std::ptr::from_ref(schema)) {
                continue;
            }
            let Some(keywords) = schema.as_object() else { continue };
            // Only `false` takes a mark back: somebody who writes "true" or 1 means it.
            if keywords.get(PERSONAL).is_some_and(|mark| *mark != Value::Bool(false)) {
                return None;
            }
            applied.push(schema);
            for reference in REFERENCES.iter().filter_map(|keyword| keywords.get(*keyword)) {
                waiting.push(self.target(reference)?);
            }
            for combined in COMBINED.iter().filter_map(|keyword| keywords.get(*keyword)) {
                match combined {
                    Value::Array(all) => waiting.extend(all),
                    one => waiting.push(one),
                }
            }
            let by_member = BY_MEMBER.iter().filter_map(|keyword| keywords.get(*keyword)?.as_object());
            waiting.extend(by_member.flat_map(serde_json::Map::values));
        }
        Some(applied)
    }

    /// What a reference within the schema leads to.
    fn target(&self, reference: &Value) -> Option<&'a Value> {
        let inside = reference.as_str()?.strip_prefix('#')?;
        if inside.is_empty() || inside.starts_with('/') {
            return self.root.pointer(&percent_decoded(inside)?);
        }
        anchored(self.root, inside)
    }

    /// The schemas of a member.
    fn of_member(applied: &[&'a Value], name: &str) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for schema in applied {
            let named = schema.get("properties").and_then(|properties| properties.get(name));
            found.extend(named);
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            found.extend(patterns.into_iter().flat_map(serde_json::Map::values));
            if named.is_none() {
                let others = ["additionalProperties", "unevaluatedProperties"];
                found.extend(others.iter().filter_map(|keyword| schema.get(*keyword)));
            }
        }
        found
    }

    /// The schemas of an element.
    fn of_element(applied: &[&'a Value], at: usize) -> Vec<&'a Value> {
        const ALL: [&str; 5] = ["items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"];
        let keywords =
            applied.iter().flat_map(|schema| ALL.iter().filter_map(|keyword| schema.get(*keyword)));
        let of_element = keywords.filter_map(|keyword| match keyword {
            Value::Array(by_place) => by_place.get(at),
            one => Some(one),
        });
        of_element.collect()
    }

    fn note(&mut self, path: &str) {
        if self.fields.len() < MOST_NAMES && !self.fields.iter().any(|known| known == path) {
            self.fields.push(path.to_owned());
        }
    }

    /// The object with masks. `applied`: `None` if all its members are personal. What is no object is one value.
    fn members(&mut self, applied: Option<&[&'a Value]>, json: &str) -> String {
        let mut masked = String::with_capacity(json.len());
        match Members::read(json) {
            Ok(members) => self.object(applied, &members, "", &mut masked),
            Err(_) => self.hide("", json, &mut masked),
        }
        masked
    }

    fn hide(&mut self, path: &str, value: &str, masked: &mut String) {
        // What is no JSON is one text.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        self.values.note(&value);
        self.note(path);
        push_text(masked, MASK);
    }

    fn object(
        &mut self,
        applied: Option<&[&'a Value]>,
        members: &Members<'_>,
        path: &str,
        masked: &mut String,
    ) {
        masked.push('{');
        for (at, (name, value)) in members.iter().enumerate() {
            if at > 0 {
                masked.push(',');
            }
            push_text(masked, name);
            masked.push(':');
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let of_member = applied.and_then(|applied| self.applied(Self::of_member(applied, name)));
            self.value(of_member.as_deref(), value, &path, masked);
        }
        masked.push('}');
    }

    /// A value with masks. `applied`: `None` if it is personal.
    fn value(&mut self, applied: Option<&[&'a Value]>, value: &RawValue, path: &str, masked: &mut String) {
        let Some(applied) = applied else { return self.hide(path, value.get(), masked) };
        match JsonKind::of(value.get()) {
            JsonKind::Object => match Members::read(value.get()) {
                Ok(members) => self.object(Some(applied), &members, path, masked),
                Err(_) => self.hide(path, value.get(), masked),
            },
            JsonKind::Array => match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
                Ok(elements) => self.array(applied, &elements, &format!("{path}[]"), masked),
                Err(_) => self.hide(path, value.get(), masked),
            },
            _ => masked.push_str(value.get()),
        }
    }

    fn array(&mut self, applied: &[&'a Value], elements: &[&RawValue], path: &str, masked: &mut String) {
        masked.push('[');
        for (at, element) in elements.iter().enumerate() {
            if at > 0 {
                masked.push(',');
            }
            let of_element = self.applied(Self::of_element(applied, at));
            self.value(of_element.as_deref(), element, path, masked);
        }
        masked.push(']');
    }
}

/// A part of a URI with `%XX` replaced by the characters that it stands for.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// The schema with an anchor.
fn anchored<'a>(schema: &'a Value, anchor: &str) -> Option<&'a Value> {
    let is_it = |keyword| schema.get(keyword).and_then(Value::as_str) == Some(anchor);
    if is_it("$anchor") || is_it("$dynamicAnchor") {
        return Some(schema);
    }
    match schema {
        Value::Object(members) => members.values().find_map(|part| anchored(part, anchor)),
        Value::Array(elements) => elements.iter().find_map(|part| anchored(part, anchor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
