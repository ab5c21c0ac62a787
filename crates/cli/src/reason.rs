//! `performer reason`: groups of failures with the same reason.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use performer_core::model::FieldEdit;
use performer_core::model::reason::{REASON_PAGE_LIMIT, Reason, ReasonEdit, ReasonFilter, ReasonOrder};
use performer_core::orchestrator::Administration;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::up_to;

/// List groups of failures with the same reason, and note what is known about them
#[derive(Subcommand)]
pub(super) enum Reasons {
    List(List),
    Show(Show),
    Note(Note),
    Assign(Assign),
}

/// List groups of failures: their reasons without numbers, ids, dates and quoted parts
#[derive(Args)]
#[command(after_help = "\
OPEN counts the items that are Failed and neither verified nor retried. The number of a group selects its items:\n\n  \
performer reason list --queue Invoices\n  \
performer item list --reason 9 --status Failed\n  \
performer item retry --reason 9 --status Failed --review None,InReview --canary 5")]
pub(super) struct List {
    /// Only groups of this queue; can be repeated
    #[arg(long, value_name = "NAME")]
    queue: Vec<String>,
    /// Groups without open items too
    #[arg(long)]
    all: bool,
    /// The last seen first [default: those with the most open items first]
    #[arg(long)]
    recent: bool,
    /// The maximum number of groups
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = up_to(REASON_PAGE_LIMIT))]
    top: usize,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show a group of failures, with its note and its owner
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer reason show 9\n  \
performer reason show 9 --json")]
pub(super) struct Show {
    /// The number of the group
    id: i64,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Note what is known about a group of failures
#[derive(Args)]
#[command(after_help = "\
The note replaces the one before, and is shown in lists and in the desk.\n\n\
Examples:\n  \
performer reason note 9 'known: SAP is down on Sundays'\n  \
performer reason note 9 none")]
pub(super) struct Note {
    /// The number of the group
    id: i64,
    /// The note, at most 512 characters; none removes it
    text: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Set or clear the owner of a group of failures
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer reason assign 9 17\n  \
performer reason assign 9 none")]
pub(super) struct Assign {
    /// The number of the group
    id: i64,
    /// The id of the user, or none
    #[arg(value_name = "USER|none")]
    to: String,
    #[command(flatten)]
    global: GlobalArgs,
}

const COLUMNS: [Column; 9] = [
    Column::plain("REASON"),
    Column::plain("OPEN"),
    Column::plain("TOTAL"),
    Column::text("QUEUE"),
    Column::plain("TYPE"),
    Column::plain("LAST SEEN"),
    Column::plain("OWNER"),
    Column::text("EXAMPLE"),
    Column::text("NOTE"),
];

impl Reasons {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Note(note) => note.run().await,
            Self::Assign(assign) => assign.run().await,
        }
    }
}

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let order = if self.recent { ReasonOrder::LastSeen } else { ReasonOrder::MostOpen };
        let mut filter = ReasonFilter::default().queues(self.queue);
        (filter.order, filter.open_only, filter.top) = (order, !self.all, self.top);
        let reasons = orchestrator.list_reasons(filter).await?;
        let queues = if format.has_columns() { orchestrator.list_queues().await? } else { Vec::new() };
        format.print(&reasons, &COLUMNS, |reason| {
            let queue = queues.iter().find(|queue| queue.id == reason.queue);
            vec![
                reason.id.to_string(),
                reason.open.to_string(),
                reason.total.to_string(),
                queue.map(|queue| queue.name.clone()).unwrap_or_default(),
                reason.exception_type.to_string().trim_end_matches("Exception").to_owned(),
                output::time(reason.last_seen),
                reason.owner.map(|owner| owner.to_string()).unwrap_or_default(),
                text(reason),
                reason.note.clone().unwrap_or_default(),
            ]
        })?;
        if reasons.is_empty() && !self.all && format.has_columns() {
            output::remark("no failure waits for a review; --all lists the others");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let filter = ReasonFilter::default().id(self.id).top(1);
        let found = orchestrator.list_reasons(filter).await?.pop();
        let missing = || CliError::not_found(format!("reason {} does not exist", self.id));
        print(&*orchestrator, &found.ok_or_else(missing)?).await
    }
}

impl Note {
    async fn run(self) -> CommandResult {
        let is_none = self.text.eq_ignore_ascii_case("none");
        let note = if is_none { FieldEdit::Clear } else { FieldEdit::Set(self.text) };
        let orchestrator = self.global.connect().await?;
        let reason = orchestrator.edit_reason(self.id, ReasonEdit::default().note(note)).await?;
        print(&*orchestrator, &reason).await
    }
}

impl Assign {
    async fn run(self) -> CommandResult {
        let owner = match &*self.to {
            "none" => FieldEdit::Clear,
            id => FieldEdit::Set(id.parse().map_err(|_| {
                CliError::usage(format!("{id:?} is not the id of a user, which is a whole number, or none"))
            })?),
        };
        let orchestrator = self.global.connect().await?;
        let reason = orchestrator.edit_reason(self.id, ReasonEdit::default().owner(owner)).await?;
        print(&*orchestrator, &reason).await
    }
}

async fn print(orchestrator: &dyn Administration, reason: &Reason) -> CommandResult {
    if output::is_json() {
        output::json(reason)?;
        return Ok(ExitCode::SUCCESS);
    }
    let queues = orchestrator.list_queues().await?;
    let queue = queues.into_iter().find(|queue| queue.id == reason.queue).map(|queue| queue.name);
    output::list(&[
        ("Reason", reason.id.to_string()),
        ("Queue", queue.unwrap_or_default()),
        ("Type", reason.exception_type.to_string()),
        ("Open", reason.open.to_string()),
        ("Total", reason.total.to_string()),
        ("First seen", output::time(reason.first_seen)),
        ("Last seen", output::time(reason.last_seen)),
        ("Owner", reason.owner.map(|owner| owner.to_string()).unwrap_or_default()),
        ("Note", reason.note.clone().unwrap_or_default()),
        ("Form", reason.fingerprint.clone()),
        ("Example", text(reason)),
    ])?;
    Ok(ExitCode::SUCCESS)
}

fn text(reason: &Reason) -> String {
    if reason.fingerprint.is_empty() {
        return "(reasons without a common form)".to_owned();
    }
    reason.sample.clone()
}
