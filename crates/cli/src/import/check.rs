//! Checks every row of a file before anything is added and, on request, whether the queue has its reference.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use indicatif::ProgressBar;

use super::super::output::{self, CliError};
use super::rows::{Content, Layout};
use super::source::Source;
use performer_core::model::item::{ItemFilter, Page, ReferenceFilter};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::status::Status;
use performer_core::orchestrator::{Administration, OrchestratorError};

/// The maximum number of refused rows that are reported individually.
const MAX_REPORTED: u64 = 20;

/// The number of references looked up concurrently.
const CONCURRENT_LOOKUPS: usize = 16;

/// Reports and counts the refused rows.
pub(super) struct RefusedRows<'a> {
    bar: &'a ProgressBar,
    count: u64,
}

impl<'a> RefusedRows<'a> {
    pub(super) fn new(bar: &'a ProgressBar) -> Self {
        Self { bar, count: 0 }
    }

    /// Reports why a row is refused, for the first ones, and counts it. Line 0 stands for an unknown line.
    pub(super) fn report(&mut self, line: u64, why: &str) {
        self.count += 1;
        if self.count <= MAX_REPORTED {
            let line = if line == 0 { "a row".to_owned() } else { format!("line {line}") };
            self.bar.suspend(|| output::remark(format!("{line}: {why}")));
        } else if self.count == MAX_REPORTED + 1 {
            self.bar.suspend(|| output::remark("further refused rows are only counted"));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bar(&self) -> &'a ProgressBar {
        self.bar
    }
}

/// The result of the check of a file.
#[derive(Debug, Default)]
pub(super) struct CheckedFile {
    /// The number of rows, including empty ones.
    pub(super) rows: u64,
    /// The number of rows that can be added.
    pub(super) valid: u64,
    /// The number of empty rows.
    pub(super) empty: u64,
    /// The indices of the refused rows, counted from 0.
    pub(super) refused: HashSet<u64>,
    /// The digest of the file.
    pub(super) digest: String,
}

/// Checks every row of a file. `lookup_in`: where to look up its references.
///
/// # Errors
///
/// When the file cannot be read to its end.
pub(super) async fn check(
    source: &Source,
    layout: &Layout,
    queue: &QueueDefinition,
    lookup_in: Option<&dyn Administration>,
    refused: &mut RefusedRows<'_>,
) -> Result<CheckedFile, CliError> {
    let mut rows = layout.rows(source, refused.bar)?;
    let mut checked = CheckedFile::default();
    let is_unique = queue.policy.enforce_unique_reference;
    // The line of each reference, if references must be unique.
    let mut references: HashMap<Box<str>, u64> = HashMap::new();
    let mut lookups: Vec<(u64, u64, String)> = Vec::new();
    let mut row = 0_u64;
    while let Some(next) = rows.next()? {
        let item = match next.content {
            Content::Empty => {
                checked.empty += 1;
                None
            }
            content => Some(validated(content, queue).map(|reference| reference.filter(|_| is_unique))),
        };
        let item = item.map(|item| {
            let Some(reference) = item? else { return Ok(()) };
            match references.entry(reference.as_str().into()) {
                Entry::Occupied(before) => {
                    Err(format!("the reference {reference:?} is in line {} already", before.get()))
                }
                Entry::Vacant(free) => {
                    free.insert(next.line);
                    if lookup_in.is_some() {
                        lookups.push((row, next.line, reference));
                    }
                    Ok(())
                }
            }
        });
        match item {
            None => {}
            Some(Ok(())) => checked.valid += 1,
            Some(Err(why)) => {
                checked.refused.insert(row);
                refused.report(next.line, &why);
            }
        }
        if let Some(orchestrator) = lookup_in
            && lookups.len() == CONCURRENT_LOOKUPS
        {
            look_up(orchestrator, queue, &mut lookups, &mut checked, refused).await?;
        }
        row += 1;
    }
    if let Some(orchestrator) = lookup_in {
        look_up(orchestrator, queue, &mut lookups, &mut checked, refused).await?;
    }
    checked.rows = row;
    checked.digest = rows.digest();
    Ok(checked)
}

/// The reference of a row that is a valid item.
fn validated(content: Content, queue: &QueueDefinition) -> Result<Option<String>, String> {
    match content {
        Content::Empty => Ok(None),
        Content::Invalid(why) => Err(why),
        Content::Item(item) => {
            item.validate(queue).map_err(|refusal| refusal.to_string())?;
            Ok(item.reference)
        }
    }
}

/// Looks up references in the queue, and refuses the rows whose references exist.
async fn look_up(
    orchestrator: &dyn Administration,
    queue: &QueueDefinition,
    lookups: &mut Vec<(u64, u64, String)>,
    checked: &mut CheckedFile,
    refused: &mut RefusedRows<'_>,
) -> Result<(), CliError> {
    let status: Vec<Status> =
        Status::ALL.iter().copied().filter(|status| status.counts_for_reference()).collect();
    let has = |reference: String| {
        let filter = ItemFilter::default()
            .queue(queue.name.clone())
            .status(status.clone())
            .reference(ReferenceFilter::Equals(reference));
        async move {
            let page = orchestrator.list_queue_items(filter, Page::first(1)).await?;
            Ok::<bool, OrchestratorError>(!page.items.is_empty())
        }
    };
    let answers = join_all(lookups.iter().map(|(.., reference)| has(reference.clone()))).await;
    for ((row, line, reference), answer) in lookups.drain(..).zip(answers) {
        if answer? {
            checked.refused.insert(row);
            checked.valid -= 1;
            refused.report(line, &format!("the queue has the reference {reference:?} already"));
        }
    }
    Ok(())
}
