//! What is looked at before anything is added: every row of the file, and, if it is asked for, the references of the queue.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use indicatif::ProgressBar;

use super::super::output::{self, Problem};
use super::rows::{Content, Layout};
use super::source::Source;
use crate::model::item::{ItemFilter, Page, ReferenceFilter};
use crate::model::queue::QueueDefinition;
use crate::model::status::Status;
use crate::orchestrator::{Administration, OrchestratorError};

/// How many refused rows are told one by one.
const MOST_TOLD: u64 = 20;

/// How many references are looked for at the same time.
const AT_ONCE: usize = 16;

/// The rows that were refused, and why.
pub(super) struct Refused<'a> {
    bar: &'a ProgressBar,
    count: u64,
}

impl<'a> Refused<'a> {
    pub(super) fn new(bar: &'a ProgressBar) -> Self {
        Self { bar, count: 0 }
    }

    /// Tells why a row is refused, for the first ones. Line 0 is one that is not known.
    pub(super) fn tell(&mut self, line: u64, why: &str) {
        self.count += 1;
        if self.count <= MOST_TOLD {
            let line = if line == 0 { "a row".to_owned() } else { format!("line {line}") };
            self.bar.suspend(|| output::remark(format!("{line}: {why}")));
        } else if self.count == MOST_TOLD + 1 {
            self.bar.suspend(|| output::remark("more rows are refused; they are counted"));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bar(&self) -> &'a ProgressBar {
        self.bar
    }
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// How many rows there are, those without anything in them included.
    pub(super) rows: u64,
    /// How many of them can be added.
    pub(super) good: u64,
    /// How many have nothing in them.
    pub(super) empty: u64,
    /// The rows that are not added, counted from 0.
    pub(super) refused: HashSet<u64>,
    /// The digest of the file.
    pub(super) digest: String,
}

/// Looks at every row of a file.
///
/// # Errors
///
/// When the file cannot be read to its end.
pub(super) async fn check(
    source: &Source,
    layout: &Layout,
    queue: &QueueDefinition,
    asked: Option<&dyn Administration>,
    refused: &mut Refused<'_>,
) -> Result<Checked, Problem> {
    let mut rows = layout.rows(source, refused.bar)?;
    let mut checked = Checked::default();
    let is_unique = queue.policy.enforce_unique_reference;
    // The line of each reference, where each may be there once.
    let mut references: HashMap<Box<str>, u64> = HashMap::new();
    let mut to_ask: Vec<(u64, u64, String)> = Vec::new();
    let mut row = 0_u64;
    while let Some(next) = rows.next()? {
        let item = match next.content {
            Content::Empty => {
                checked.empty += 1;
                None
            }
            Content::Wrong(why) => Some(Err(why)),
            Content::Item(item) => {
                let fits = item.validate(queue).map(|_| ()).map_err(|refusal| refusal.to_string());
                Some(fits.map(|()| item.reference.filter(|_| is_unique)))
            }
        };
        let item = item.map(|item| {
            let Some(reference) = item? else { return Ok(()) };
            match references.entry(reference.as_str().into()) {
                Entry::Occupied(before) => {
                    Err(format!("the reference {reference:?} is in line {} already", before.get()))
                }
                Entry::Vacant(free) => {
                    free.insert(next.line);
                    if asked.is_some() {
                        to_ask.push((row, next.line, reference));
                    }
                    Ok(())
                }
            }
        });
        match item {
            None => {}
            Some(Ok(())) => checked.good += 1,
            Some(Err(why)) => {
                checked.refused.insert(row);
                refused.tell(next.line, &why);
            }
        }
        if let Some(orchestrator) = asked
            && to_ask.len() == AT_ONCE
        {
            ask(orchestrator, queue, &mut to_ask, &mut checked, refused).await?;
        }
        row += 1;
    }
    if let Some(orchestrator) = asked {
        ask(orchestrator, queue, &mut to_ask, &mut checked, refused).await?;
    }
    checked.rows = row;
    checked.digest = rows.digest();
    Ok(checked)
}

/// Looks for references in the queue.
async fn ask(
    orchestrator: &dyn Administration,
    queue: &QueueDefinition,
    to_ask: &mut Vec<(u64, u64, String)>,
    checked: &mut Checked,
    refused: &mut Refused<'_>,
) -> Result<(), Problem> {
    let status: Vec<Status> =
        Status::ALL.iter().copied().filter(|status| status.counts_for_reference()).collect();
    let has = |reference: String| {
        let filter = ItemFilter {
            queue: Some(queue.name.clone()),
            status: status.clone(),
            reference: Some(ReferenceFilter::Equals(reference)),
            ..ItemFilter::default()
        };
        async move {
            let page = orchestrator.list_queue_items(filter, Page { top: 1, ..Page::default() }).await?;
            Ok::<bool, OrchestratorError>(!page.items.is_empty())
        }
    };
    let answers = join_all(to_ask.iter().map(|(.., reference)| has(reference.clone()))).await;
    for ((row, line, reference), answer) in to_ask.drain(..).zip(answers) {
        if answer? {
            checked.refused.insert(row);
            checked.good -= 1;
            refused.tell(line, &format!("the queue has the reference {reference:?} already"));
        }
    }
    Ok(())
}
