//! Personal values, masked where a text repeats them.

use serde_json::Value;

use super::MASK;
use crate::model::json::push_text;

/// The values of the personal fields of an item, which are masked where a text repeats them.
#[derive(Clone, Debug, Default)]
pub struct PersonalValues(Vec<String>);

/// A shorter value is masked only where it is a word of its own: as a part of other words it says nothing.
const SHORTEST_PART: usize = 4;

impl PersonalValues {
    /// Notes the texts and numbers in a value.
    pub(super) fn note(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.0.push(text.trim().to_owned()),
            Value::Number(number) => self.0.push(number.to_string()),
            Value::Array(elements) => elements.iter().for_each(|element| self.note(element)),
            Value::Object(members) => members.values().for_each(|member| self.note(member)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// The longest first: a value may have another in it.
    pub(super) fn sort(&mut self) {
        self.0.retain(|value| !value.is_empty() && value != MASK);
        self.0.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        self.0.dedup();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts [`MASK`] in the place of every value in a text.
    pub fn mask(&self, text: &mut String) {
        for value in &self.0 {
            if text.contains(value.as_str()) {
                *text = masked_text(text, value);
            }
        }
    }

    /// As that, in the text of a JSON document, where a value may be written with escapes.
    pub fn mask_json(&self, json: &mut String) {
        self.mask(json);
        for value in &self.0 {
            let mut escaped = String::new();
            push_text(&mut escaped, value);
            let escaped = escaped.trim_matches('"');
            if escaped != value && !escaped.is_empty() && json.contains(escaped) {
                *json = json.replace(escaped, MASK);
            }
        }
    }
}

fn masked_text(text: &str, value: &str) -> String {
    let is_short = value.chars().count() < SHORTEST_PART;
    let is_in_word = |neighbour: Option<char>| is_short && neighbour.is_some_and(char::is_alphanumeric);
    let (mut masked, mut copied) = (String::with_capacity(text.len()), 0);
    for (at, found) in text.match_indices(value) {
        let end = at + found.len();
        if is_in_word(text[..at].chars().next_back()) || is_in_word(text[end..].chars().next()) {
            continue;
        }
        masked.push_str(&text[copied..at]);
        masked.push_str(MASK);
        copied = end;
    }
    masked.push_str(&text[copied..]);
    masked
}
