//! What a shadow run has found.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use performer_core::model::exception::bounded;
use serde::Serialize;

use super::difference::{Difference, DifferenceKind, Ignored, differences};
use super::table::{cell, cell_or_dash, write_rows};
use crate::model::{ItemId, JobState, QueueItem, Status};
use crate::runtime::{JobSummary, SOME_FAILED};

/// The most items whose differences a report lists.
const MOST_ITEMS: usize = 1_000;
/// The most differences that a report lists of an item.
const MOST_DIFFERENCES: usize = 20;
/// The most code units of a text in a report.
const MOST_UNITS: usize = 1_000;
/// The most rows of a table for people.
const MOST_ROWS: usize = 50;

/// What a [shadow run](crate::Performer::shadow) has found.
///
/// It is displayed as a table for people, in which long texts are shortened and long lists end with a count. It serializes with names
/// in the form of the Orchestrator's API.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
#[must_use = "items may have ended differently"]
pub struct ShadowReport {
    /// The name of the queue.
    pub queue: String,
    /// How many items were compared.
    pub compared: u64,
    /// How many of them ended here as they are recorded.
    pub equal: u64,
    /// How many of them ended differently.
    pub different: u64,
    /// How many items have a difference of each kind; an item may have several.
    pub by_kind: BTreeMap<DifferenceKind, u64>,
    /// The items that ended differently, in the order in which they were added: the first 1,000.
    pub items: Vec<ShadowedItem>,
    /// The items of the sample that could not be compared.
    pub not_compared: Vec<NotCompared>,
    /// The summary of the run here.
    pub summary: JobSummary,
}

/// An item that ended differently.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ShadowedItem {
    /// The item in its Orchestrator.
    pub id: ItemId,
    /// Its reference.
    pub reference: Option<String>,
    /// In what it is different: the first 20 differences, with texts of at most 1,000 code units.
    /// [`replay`](crate::testing::replay) has all of it.
    pub differences: Vec<Difference>,
    /// How many more differences there are.
    pub more_differences: u64,
}

/// An item of the sample that could not be compared.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct NotCompared {
    /// The item in its Orchestrator.
    pub id: ItemId,
    /// Its reference.
    pub reference: Option<String>,
    /// Why it could not be compared.
    pub reason: String,
}

impl NotCompared {
    pub(super) fn new(id: ItemId, reference: Option<String>, reason: String) -> Self {
        Self { id, reference, reason: bounded(reason, MOST_UNITS) }
    }
}

impl ShadowReport {
    pub(super) fn new(
        queue: String,
        pairs: Vec<(QueueItem, QueueItem)>,
        not_compared: Vec<NotCompared>,
        ignored: &Ignored,
        summary: JobSummary,
    ) -> Self {
        let (by_kind, items) = (BTreeMap::new(), Vec::new());
        let mut report =
            Self { queue, compared: 0, equal: 0, different: 0, by_kind, items, not_compared, summary };
        for (recorded, here) in pairs {
            match not_ended(&here, &report.summary) {
                Some(reason) => {
                    report.not_compared.push(NotCompared::new(recorded.id, recorded.reference, reason));
                }
                None => report.count(differences(&recorded, &here, ignored), recorded),
            }
        }
        report
    }

    fn count(&mut self, found: Vec<Difference>, recorded: QueueItem) {
        self.compared += 1;
        if found.is_empty() {
            self.equal += 1;
            return;
        }
        self.different += 1;
        let mut kinds: Vec<_> = found.iter().map(|difference| difference.kind).collect();
        kinds.dedup(); // they are sorted
        for kind in kinds {
            *self.by_kind.entry(kind).or_default() += 1;
        }
        if self.items.len() < MOST_ITEMS {
            let more_differences = found.len().saturating_sub(MOST_DIFFERENCES) as u64;
            let listed = found.into_iter().take(MOST_DIFFERENCES);
            let differences = listed.map(|difference| difference.bounded(MOST_UNITS)).collect();
            let QueueItem { id, reference, .. } = recorded;
            self.items.push(ShadowedItem { id, reference, differences, more_differences });
        }
    }

    /// Whether items ended differently, or could not be compared.
    pub fn has_differences(&self) -> bool {
        self.different > 0 || !self.not_compared.is_empty()
    }

    /// The exit code of a program that made this run: 1 if the run was Faulted, otherwise 3 if it
    /// [has differences](Self::has_differences), otherwise 0. Items that failed here as they are recorded are no differences.
    pub fn exit_code(&self) -> ExitCode {
        match self.summary.state {
            JobState::Faulted => ExitCode::FAILURE,
            _ if self.has_differences() => ExitCode::from(SOME_FAILED),
            _ => ExitCode::SUCCESS,
        }
    }
}

/// Why a copy has no outcome that can be compared. One that was postponed has one.
fn not_ended(here: &QueueItem, summary: &JobSummary) -> Option<String> {
    match (here.status, &here.defer_date, &summary.fault) {
        (Status::Successful | Status::Failed, _, _) | (Status::New, Some(_), _) => None,
        (Status::New, None, Some(fault)) => Some(format!("the performer faulted: {fault}")),
        (Status::New, None, None) => {
            Some("the performer was stopped before its transaction ended".to_owned())
        }
        _ => Some("its transaction ignored the kill".to_owned()),
    }
}

impl fmt::Display for ShadowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, equal, different, .. } = self;
        write!(f, "queue {}: {compared} compared, {equal} equal, {different} different", cell(&self.queue))?;
        if !self.not_compared.is_empty() {
            write!(f, ", {} not compared", self.not_compared.len())?;
        }
        for (at, (kind, items)) in self.by_kind.iter().enumerate() {
            write!(f, "{}{items} {kind}", if at == 0 { " (" } else { ", " })?;
        }
        if !self.by_kind.is_empty() {
            f.write_str(")")?;
        }
        if let Some(fault) = &self.summary.fault {
            write!(f, "; Faulted: {}", cell(fault))?;
        }
        let shown = self.items.iter().flat_map(|item| item.differences.iter().map(move |d| (item, d)));
        let mut rows: Vec<_> =
            shown.take(MOST_ROWS).map(|(item, difference)| row(item, difference)).collect();
        if !rows.is_empty() {
            let shown = rows.len() as u64;
            rows.insert(0, ["item", "reference", "difference", "recorded", "here"].map(str::to_owned));
            write_rows(f, &rows)?;
            let listed = self.items.iter().map(|item| item.differences.len() as u64 + item.more_differences);
            let more = listed.sum::<u64>() - shown;
            if more > 0 {
                write!(f, "\n… and {more} more differences")?;
            }
            match self.different - self.items.len() as u64 {
                0 => {}
                items => write!(f, "\n… and {items} more items")?,
            }
        }
        let reasons: Vec<_> = self.not_compared.iter().take(MOST_ROWS).map(not_compared_row).collect();
        if !reasons.is_empty() {
            f.write_str("\nnot compared:")?;
            write_rows(f, &reasons)?;
            let more = self.not_compared.len() - reasons.len();
            if more > 0 {
                write!(f, "\n… and {more} more items")?;
            }
        }
        Ok(())
    }
}

fn row(item: &ShadowedItem, difference: &Difference) -> [String; 5] {
    let what = match &difference.field {
        Some(field) => format!("{}: {field}", difference.kind),
        None => difference.kind.to_string(),
    };
    [
        item.id.to_string(),
        cell_or_dash(item.reference.as_deref()),
        cell(&what),
        cell_or_dash(difference.recorded.as_deref()),
        cell_or_dash(difference.here.as_deref()),
    ]
}

fn not_compared_row(item: &NotCompared) -> [String; 3] {
    [item.id.to_string(), cell_or_dash(item.reference.as_deref()), cell(&item.reason)]
}
