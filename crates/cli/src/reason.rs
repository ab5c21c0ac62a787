//! `performer reason`: groups of failures with the same reason.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use performer_core::model::reason::{REASON_PAGE_LIMIT, Reason, ReasonFilter, ReasonOrder};

use super::GlobalArgs;
use super::output::{self, Column, CommandResult, ListOutput};
use super::up_to;

/// List groups of failures with the same reason
#[derive(Subcommand)]
pub(super) enum Reasons {
    List(List),
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

const COLUMNS: [Column; 7] = [
    Column::plain("REASON"),
    Column::plain("OPEN"),
    Column::plain("TOTAL"),
    Column::text("QUEUE"),
    Column::plain("TYPE"),
    Column::plain("LAST SEEN"),
    Column::text("EXAMPLE"),
];

impl Reasons {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
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
                text(reason),
            ]
        })?;
        if reasons.is_empty() && !self.all && format.has_columns() {
            output::remark("no failure waits for a review; --all lists the others");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(reason: &Reason) -> String {
    if reason.fingerprint.is_empty() {
        return "(reasons without a common form)".to_owned();
    }
    reason.sample.clone()
}
