//! Checks every row of a file before anything is added and, on request, whether the queue has its reference.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use indicatif::ProgressBar;

use super::super::output::{self, CliError};
use performer_core::model::item::{ItemFilter, Page, ReferenceFilter};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::status::Status;
use performer_core::orchestrator::{Administration, OrchestratorError};
use performer_tables::TableError;
use performer_tables::import::{Content, Layout, RawRow, RefusedFile, Source};

/// The maximum number of refused rows that are reported individually.
const MAX_REPORTED: u64 = 20;

/// The number of references looked up concurrently.
const CONCURRENT_LOOKUPS: usize = 16;

/// Reports and counts the refused rows, and writes them to a file on request.
pub(super) struct RefusedRows<'a> {
    bar: &'a ProgressBar,
    file: Option<RefusedFile>,
    count: u64,
}

impl<'a> RefusedRows<'a> {
    pub(super) fn new(bar: &'a ProgressBar, file: Option<RefusedFile>) -> Self {
        Self { bar, file, count: 0 }
    }

    /// Reports why a row is refused, for the first ones, and counts it. `row`: its line and what is
    /// written there, as far as they are known.
    ///
    /// # Errors
    ///
    /// When the file of refused rows cannot be written.
    pub(super) fn report(
        &mut self,
        row: Option<(u64, Option<&RawRow>)>,
        why: &str,
    ) -> Result<(), TableError> {
        self.count += 1;
        if self.count <= MAX_REPORTED {
            let line = row.map_or_else(|| "a row".to_owned(), |(line, _)| format!("line {line}"));
            self.bar.suspend(|| output::warning(format!("{line}: {why}")));
        } else if self.count == MAX_REPORTED + 1 {
            self.bar.suspend(|| output::warning("further refused rows are only counted"));
        }
        match (&mut self.file, row) {
            (Some(file), Some((line, Some(row)))) => file.write(line, why, row),
            _ => Ok(()),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether what is written of a row is needed after it was checked.
    pub(super) fn keeps_rows(&self) -> bool {
        self.file.is_some()
    }

    /// Ends the file of refused rows.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn finish(&mut self) -> Result<(), TableError> {
        match self.file.take() {
            Some(file) => file.finish().map(drop),
            None => Ok(()),
        }
    }
}

/// A row whose reference is to be looked up.
struct Lookup {
    row: u64,
    line: u64,
    raw: RawRow,
    reference: String,
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
    let mut rows = layout.rows(source)?;
    let mut checked = CheckedFile::default();
    let is_unique = queue.policy.enforce_unique_reference;
    // The line of each reference, if references must be unique.
    let mut references: HashMap<Box<str>, u64> = HashMap::new();
    let mut lookups: Vec<Lookup> = Vec::new();
    let mut row = 0_u64;
    while let Some(next) = rows.next_row().map_err(TableError::from)? {
        let (line, raw) = (next.line, next.raw);
        let mut lookup = None;
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
                    free.insert(line);
                    lookup = lookup_in.is_some().then_some(reference);
                    Ok(())
                }
            }
        });
        match item {
            None => {}
            Some(Ok(())) => checked.valid += 1,
            Some(Err(why)) => {
                checked.refused.insert(row);
                refused.report(Some((line, Some(&raw))), &why)?;
            }
        }
        lookups.extend(lookup.map(|reference| Lookup { row, line, raw, reference }));
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
    lookups: &mut Vec<Lookup>,
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
    let answers = join_all(lookups.iter().map(|lookup| has(lookup.reference.clone()))).await;
    for (Lookup { row, line, raw, reference }, answer) in lookups.drain(..).zip(answers) {
        if answer? {
            checked.refused.insert(row);
            checked.valid -= 1;
            let why = format!("the queue has the reference {reference:?} already");
            refused.report(Some((line, Some(&raw))), &why)?;
        }
    }
    Ok(())
}
