//! Compares an item that ran here with the recorded one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use performer_core::model::exception::bounded;
use performer_core::model::json::is_same_number;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{Output, QueueItem, Status};

/// One difference between an item that ran here and the recorded one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Difference {
    /// What is different.
    pub kind: DifferenceKind,
    /// The field of the output, if the difference is in one.
    pub field: Option<String>,
    /// What is recorded. A value of the output is JSON text.
    pub recorded: Option<String>,
    /// What there was here.
    pub here: Option<String>,
}

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// The item ended in another way: another status, or another type of exception. Reason and output are not compared then.
    Outcome,
    /// It failed in the same way with another reason.
    Reason,
    /// The recorded output has a field that the output here does not have.
    OutputMissing,
    /// The output here has a field that the recorded one does not have.
    OutputAdded,
    /// A field of the output has another value.
    OutputChanged,
}

impl DifferenceKind {
    /// The name in sentences, such as "output changed".
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Reason => "reason",
            Self::OutputMissing => "output missing",
            Self::OutputAdded => "output added",
            Self::OutputChanged => "output changed",
        }
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Difference {
    fn new(kind: DifferenceKind, recorded: Option<String>, here: Option<String>) -> Self {
        Self { kind, field: None, recorded, here }
    }

    fn in_field(field: &str, recorded: Option<&Value>, here: Option<&Value>) -> Self {
        let kind = match (recorded, here) {
            (Some(_), None) => DifferenceKind::OutputMissing,
            (None, _) => DifferenceKind::OutputAdded,
            _ => DifferenceKind::OutputChanged,
        };
        let text = |value: Option<&Value>| value.map(|value| value.get().to_owned());
        Self { field: Some(field.to_owned()), ..Self::new(kind, text(recorded), text(here)) }
    }

    /// The difference with texts that are cut at a number of code units, and say so at their ends.
    pub(super) fn bounded(mut self, limit: usize) -> Self {
        self.recorded = self.recorded.map(|text| bounded(text, limit));
        self.here = self.here.map(|text| bounded(text, limit));
        self
    }
}

/// What is not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    pub(super) fields: BTreeSet<String>,
    pub(super) reasons: bool,
}

/// The differences between a recorded item and its copy that ran here, in the order of the kinds and of the fields' names.
pub(super) fn differences(recorded: &QueueItem, here: &QueueItem, ignored: &Ignored) -> Vec<Difference> {
    if recorded.outcome.is_none() || recorded.outcome != here.outcome {
        let outcomes = (with_reason(outcome(recorded), recorded), with_reason(outcome_here(here), here));
        return vec![Difference::new(DifferenceKind::Outcome, Some(outcomes.0), Some(outcomes.1))];
    }
    let mut found = Vec::new();
    let reasons = (reason(recorded), reason(here));
    if !ignored.reasons && reasons.0 != reasons.1 {
        let text = |reason: Option<&str>| reason.map(str::to_owned);
        found.push(Difference::new(DifferenceKind::Reason, text(reasons.0), text(reasons.1)));
    }
    if here.status == Status::Successful {
        let fields = beside(recorded, here);
        let fields = fields.iter().filter(|(field, values)| {
            !ignored.fields.contains(*field) && !is_same(values.0.as_deref(), values.1.as_deref())
        });
        found.extend(fields.map(|(field, (recorded, here))| {
            Difference::in_field(field, recorded.as_deref(), here.as_deref())
        }));
    }
    found.sort_by_key(|difference| difference.kind);
    found
}

/// A value of an output.
type Value = RawValue;

/// The fields of the recorded output and of that here, each with its two values.
pub(super) fn beside(
    recorded: &QueueItem,
    here: &QueueItem,
) -> BTreeMap<String, (Option<Box<Value>>, Option<Box<Value>>)> {
    let mut fields: BTreeMap<_, (Option<_>, Option<_>)> = BTreeMap::new();
    for (field, value) in of_output(recorded.output.as_ref()) {
        fields.entry(field).or_default().0 = Some(value);
    }
    for (field, value) in of_output(here.output.as_ref()) {
        fields.entry(field).or_default().1 = Some(value);
    }
    fields
}

/// The fields of an output, with values as they are written. An output is a flat object, which the stores and the client see to.
fn of_output(output: Option<&Output>) -> BTreeMap<String, Box<Value>> {
    output.and_then(|output| serde_json::from_str(output.as_json()).ok()).unwrap_or_default()
}

/// Whether two values are equal: numbers digit by digit (1.50 is 1.5), texts by their characters, however they are escaped.
fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none() && b.is_none() };
    let (a, b) = (a.get(), b.get());
    let text = |json: &str| serde_json::from_str::<String>(json).ok();
    a == b || is_same_number(a, b) || text(a).is_some_and(|a| text(b).is_some_and(|b| a == b))
}

fn reason(item: &QueueItem) -> Option<&str> {
    item.processing_exception.as_ref().map(|exception| exception.reason.as_str())
}

/// How an item ended, such as "Failed, BusinessException".
pub(super) fn outcome(item: &QueueItem) -> String {
    match item.exception_type() {
        Some(exception_type) => format!("{}, {exception_type}", item.status),
        None => item.status.to_string(),
    }
}

/// How a copy ended: the performer has stopped, so one that is New went back into the queue.
pub(super) fn outcome_here(here: &QueueItem) -> String {
    match (here.status, here.defer_date) {
        (Status::New, Some(_)) => "Postponed".to_owned(),
        (Status::New, None) => "Given back".to_owned(),
        _ => outcome(here),
    }
}

fn with_reason(outcome: String, item: &QueueItem) -> String {
    match reason(item) {
        Some(reason) => format!("{outcome}: {reason}"),
        None => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<Value> {
        Value::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn values_are_equal_as_numbers_and_as_texts() {
        for (a, b, same) in [
            ("1.50", "15e-1", true),
            ("1234567890123456789012", "1234567890123456789013", false),
            ("\"\\u00e4\"", "\"ä\"", true),
            ("\"1\"", "1", false),
            ("null", "null", true),
            ("true", "false", false),
        ] {
            assert_eq!(is_same(Some(&raw(a)), Some(&raw(b))), same, "{a} {b}");
        }
        assert!(!is_same(Some(&raw("null")), None), "a field that is null is not one that is missing");
    }
}
