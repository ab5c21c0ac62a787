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
        let fields = output_fields(recorded, here);
        let compared = fields.iter().filter(|(name, _)| !ignored.fields.contains(*name));
        found.extend(compared.filter_map(|(name, field)| field.difference(name)));
    }
    found.sort_by_key(|difference| difference.kind);
    found
}

/// A field of an output, with its values as they are written.
#[derive(Debug, Default)]
pub(super) struct OutputField {
    recorded: Option<Box<RawValue>>,
    here: Option<Box<RawValue>>,
}

impl OutputField {
    /// The recorded value as JSON text.
    pub(super) fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref().map(RawValue::get)
    }

    /// The value here as JSON text.
    pub(super) fn here(&self) -> Option<&str> {
        self.here.as_deref().map(RawValue::get)
    }

    fn difference(&self, name: &str) -> Option<Difference> {
        let kind = match (self.recorded(), self.here()) {
            (Some(recorded), Some(here)) if is_same(recorded, here) => return None,
            (Some(_), Some(_)) => DifferenceKind::OutputChanged,
            (Some(_), None) => DifferenceKind::OutputMissing,
            (None, _) => DifferenceKind::OutputAdded,
        };
        let text = |value: Option<&str>| value.map(str::to_owned);
        let difference = Difference::new(kind, text(self.recorded()), text(self.here()));
        Some(Difference { field: Some(name.to_owned()), ..difference })
    }
}

/// The fields of the recorded output and of that here, by their names.
pub(super) fn output_fields(recorded: &QueueItem, here: &QueueItem) -> BTreeMap<String, OutputField> {
    let mut fields: BTreeMap<_, OutputField> = BTreeMap::new();
    for (name, value) in members(recorded.output.as_ref()) {
        fields.entry(name).or_default().recorded = Some(value);
    }
    for (name, value) in members(here.output.as_ref()) {
        fields.entry(name).or_default().here = Some(value);
    }
    fields
}

/// The members of an output. It is a flat object, which the stores and the client see to.
fn members(output: Option<&Output>) -> BTreeMap<String, Box<RawValue>> {
    output.and_then(|output| serde_json::from_str(output.as_json()).ok()).unwrap_or_default()
}

/// Whether two JSON texts are the same value: numbers digit by digit (1.50 is 1.5), texts by their characters, however they are
/// escaped.
fn is_same(a: &str, b: &str) -> bool {
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
            assert_eq!(is_same(a, b), same, "{a} {b}");
        }
    }
}
