//! `performer item`: adds, lists and shows items, and does with them what people do.
//!
//! | file | what it contains |
//! |---|---|
//! | `list.rs`, `export.rs` | `performer item list` and `export` |
//! | `edit.rs`, `history.rs` | `performer item edit`, `correct`, `history` and `diff` |
//! | `masked.rs` | masks in the place of personal fields |
//! | `act.rs` | acts on items that are named or selected by filters: the preview, the question, the refusals |
//! | `canary.rs` | on a UiPath Orchestrator: retries a few items first, and the rest only if those succeed |
//! | `retry.rs` | `performer item retry`: at once, or as an operation |

mod act;
mod canary;
mod edit;
mod export;
mod history;
mod list;
mod masked;
mod retry;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use self::act::{Assign, Comment, Delete, Purge, Review};
use self::edit::{Correct, Edit};
use self::export::Export;
use self::history::{Diff, History};
use self::list::List;
use self::masked::Masks;
use self::retry::Retry;
use super::GlobalArgs;
use super::import::Import;
use super::output::{self, CliError, Column, CommandResult};
use performer_core::model::item::{NewQueueItem, Priority, QueueItem};
use performer_core::model::json::Scalar;
use performer_core::model::key::ItemId;
use performer_tables::time;

/// Add, import, export, list, show, edit and correct items; retry, review, comment and delete them
#[derive(Subcommand)]
pub(super) enum Item {
    Add(Add),
    Import(Box<Import>),
    Export(Box<Export>),
    List(Box<List>),
    Show(Show),
    History(History),
    Diff(Diff),
    Edit(Edit),
    Correct(Correct),
    Retry(Box<Retry>),
    Review(Box<Review>),
    Assign(Box<Assign>),
    Comment(Box<Comment>),
    Delete(Box<Delete>),
    Purge(Box<Purge>),
}

/// Add an item to a queue
#[derive(Args)]
#[command(after_help = "\
The content is a JSON object, or pairs of names and values; a value is parsed as JSON if it is valid JSON:\n  \
  performer item add Invoices --reference INV-17 --content '{\"amount\": 10.5, \"customer\": \"ACME\"}'\n  \
  performer item add Invoices --reference INV-17 amount=10.5 customer=ACME")]
pub(super) struct Add {
    /// The name of the queue
    queue: String,
    /// A member of the content
    #[arg(value_name = "NAME=VALUE", conflicts_with = "content")]
    pairs: Vec<String>,
    /// The content, as a JSON object
    #[arg(long, value_name = "JSON")]
    content: Option<String>,
    /// The reference of the item
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// The group of the item, such as a customer; see `performer queue limit --per-group`
    #[arg(long, value_name = "TEXT")]
    group: Option<String>,
    /// The priority: High, Normal or Low
    #[arg(long, default_value = "Normal", value_name = "PRIORITY")]
    priority: Priority,
    /// The time before which the item should be handed out, such as 2026-09-01, 2026/09/01 14:30 or
    /// 2026-09-01T14:30:00+02:00; UTC if it has no offset
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    due: Option<Timestamp>,
    /// The time before which the item is not handed out
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    defer: Option<Timestamp>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show an item and all attempts of its retry chain
///
/// Fields that the schema of the queue marks with "x-personal" are masked, here and in item list, diff and edit. An export has them, since an
/// import reads it.
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer item show 17\n  \
performer item show 17 --json\n  \
performer item show 17 --reveal 'the customer asked on the phone'")]
pub(super) struct Show {
    /// The id of the item
    id: i64,
    /// Show the personal fields of the item, for this reason; the audit records it
    #[arg(long, value_name = "REASON")]
    reveal: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Item {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::Add(add) => add.run().await,
            Self::Import(import) => import.run().await,
            Self::Export(export) => export.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::History(history) => history.run().await,
            Self::Diff(diff) => diff.run().await,
            Self::Edit(edit) => edit.run().await,
            Self::Correct(correct) => correct.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Review(review) => review.run().await,
            Self::Assign(assign) => assign.run().await,
            Self::Comment(comment) => comment.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Purge(purge) => purge.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> CommandResult {
        let item = match &self.content {
            Some(text) => NewQueueItem::from_json(text),
            None => NewQueueItem::new(pairs(&self.pairs)?),
        };
        let mut item = item.priority(self.priority);
        if let Some(reference) = self.reference {
            item = item.reference(reference);
        }
        if let Some(group) = self.group {
            item = item.group(group);
        }
        if let Some(due) = self.due {
            item = item.due_date(due);
        }
        if let Some(defer) = self.defer {
            item = item.defer_date(defer);
        }
        let added = self.global.connect().await?.add_queue_item(&self.queue, item).await?;
        if output::is_json() {
            output::json(&added)?;
        } else {
            output::line(format!("item {} was added", added.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn pairs(pairs: &[String]) -> Result<BTreeMap<&str, Scalar>, CliError> {
    let mut members = BTreeMap::new();
    for pair in pairs {
        let wrong = || CliError::usage(format!("{pair:?} is not of the form name=value"));
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
        let value = match Scalar::read(value) {
            Ok(value) if !matches!(value, Scalar::Nested(_)) => value,
            _ => Scalar::from(value),
        };
        if members.insert(name, value).is_some() {
            return Err(CliError::usage(format!("{name:?} is given twice")));
        }
    }
    Ok(members)
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let mut chain = orchestrator.processing_history(ItemId(self.id)).await?;
        let masks = Masks::of(&*orchestrator).await?;
        let mut masked = Vec::new();
        for item in &mut chain {
            let names = masks.mask(item)?;
            if item.id.0 == self.id {
                masked = names;
            }
        }
        if let Some(reason) = self.reveal {
            let revealed = orchestrator.reveal_personal_fields(ItemId(self.id), reason).await?;
            masked.clear();
            chain.iter_mut().filter(|item| item.id == revealed.id).for_each(|item| *item = revealed.clone());
        }
        if output::is_json() {
            output::json(&chain)?;
            return Ok(ExitCode::SUCCESS);
        }
        let wanted = chain.iter().find(|item| item.id.0 == self.id);
        let item = wanted.ok_or_else(|| CliError::failed(format!("item {} does not exist", self.id)))?;
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let exception = item.processing_exception.as_ref();
        output::list(&[
            ("Item", item.id.to_string()),
            ("Key", item.key.to_string()),
            ("Status", item.status.to_string()),
            ("Review", item.review_status.to_string()),
            ("Priority", item.priority.to_string()),
            ("Reference", item.reference.clone().unwrap_or_default()),
            ("Group", item.group.clone().unwrap_or_default()),
            ("Content", item.specific_content.as_json().to_owned()),
            ("Output", item.output.as_ref().map(|output| output.as_json().to_owned()).unwrap_or_default()),
            ("Progress", item.progress.clone().unwrap_or_default()),
            ("Exception", exception.map(|exception| exception.reason.clone()).unwrap_or_default()),
            ("Due", time(item.due_date)),
            ("Deferred until", time(item.defer_date)),
            ("Created", item.creation_time.to_string()),
            ("Started", time(item.start_processing)),
            ("Ended", time(item.end_processing)),
        ])?;
        if let Some(details) = exception.and_then(|exception| exception.details.as_deref()) {
            output::line("Details")?;
            details.lines().try_for_each(|text| output::line(format!("  {}", output::printable(text))))?;
        }
        if !masked.is_empty() {
            output::remark(format!(
                "masked: {}; --reveal REASON shows them, and the audit records it",
                masked.join(", ")
            ));
        }
        if chain.len() > 1 {
            output::line("\nAttempts")?;
            let row = |item: &QueueItem| {
                vec![
                    item.id.to_string(),
                    item.status.to_string(),
                    item.retry_number.to_string(),
                    output::time_or_empty(item.end_processing),
                ]
            };
            let columns = [
                Column::plain("ITEM"),
                Column::status("STATUS"),
                Column::plain("RETRY"),
                Column::plain("ENDED"),
            ];
            output::table(&columns, &chain.iter().map(row).collect::<Vec<_>>())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
