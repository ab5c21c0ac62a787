//! `performer queue delete` and `performer queue retention`: what is removed, at once or because of its age.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::lifecycle::is_expired_by;
use performer_core::model::list::COUNT_LIMIT;
use performer_core::model::queue::QueueDefinition;
use performer_core::orchestrator::Administration;
use serde::Serialize;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};

/// Delete a queue with all its items
#[derive(Args)]
#[command(after_help = "\
The name of the queue has to be typed once more, or --yes given. Its items are then neither handed out nor found, and what robots report on\n\
them is refused; a store removes them in later sweeps. A queue whose items are kept for a time is paused instead.\n\n\
Examples:\n  \
performer queue delete Invoices\n  \
performer queue delete Invoices --yes --json\n  \
performer queue pause Invoices")]
pub(super) struct Delete {
    /// The name of the queue
    name: String,
    /// Do not ask for the name; required if stdin is not a terminal
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show how long items are kept and how many are past that, or remove those now
#[derive(Args)]
#[command(after_help = "\
Performers and servers remove items that are past the retention of their queue by themselves. An item is removed only with all attempts of\n\
its chain. `performer queue edit --retention 90 --stale-retention 180` changes how long they are kept.\n\n\
Examples:\n  \
performer queue retention\n  \
performer queue retention Invoices --json\n  \
performer queue retention --apply 100000\n  \
performer queue edit Invoices --retention 90")]
pub(super) struct Retention {
    /// The name of the queue [default: all queues]
    #[arg(conflicts_with = "apply")]
    name: Option<String>,
    /// Remove at most so many items that are past the retention of their queues
    #[arg(long, value_name = "N", value_parser = super::up_to(10_000_000))]
    apply: Option<usize>,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Delete {
    pub(super) async fn run(self) -> CommandResult {
        if !self.yes && !std::io::stdin().is_terminal() {
            let message = "the name cannot be asked for, because stdin is not a terminal: use --yes";
            return Err(CliError::usage(message));
        }
        let orchestrator = self.global.connect().await?;
        let queue = orchestrator.get_queue(&self.name).await?;
        let statistics = orchestrator.queue_statistics(&queue.name).await?;
        if !self.yes {
            let name = &queue.name;
            let (all, new, busy) = (statistics.total(), statistics.new, statistics.in_progress);
            let mut stderr = std::io::stderr();
            write!(
                stderr,
                "queue {name:?} has {all} items; {new} are New, and {busy} are InProgress. Type its name to delete it: "
            )?;
            stderr.flush()?;
            let mut typed = String::new();
            std::io::stdin().lock().read_line(&mut typed)?;
            if typed.trim() != *name {
                output::remark("that is not its name; nothing was deleted");
                return Ok(ExitCode::FAILURE);
            }
        }
        orchestrator.delete_queue(&queue.name).await?;
        if output::is_json() {
            output::json(&serde_json::json!({ "Deleted": queue.name, "Items": statistics.total() }))?;
        } else {
            output::line(format!("queue {:?} was deleted, with {} items", queue.name, statistics.total()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How long the items of a queue are kept, and how many are past that.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(rename = "QueueDefinitionName")]
    queue: String,
    retention_period: u32,
    stale_retention_period: u32,
    /// How many items are past their retention, as far as they were counted.
    expired: u64,
    is_count_exact: bool,
}

const COLUMNS: [Column; 4] = [
    Column::plain("QUEUE"),
    Column::plain("FINAL, DAYS"),
    Column::plain("UNFINISHED, DAYS"),
    Column::plain("PAST RETENTION"),
];

impl Retention {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        if let Some(limit) = self.apply {
            return apply(&*orchestrator, limit).await;
        }
        let queues = match &self.name {
            Some(name) => vec![orchestrator.get_queue(name).await?],
            None => orchestrator.list_queues().await?,
        };
        let mut kept = Vec::new();
        for queue in queues {
            kept.push(kept_of(&*orchestrator, &queue).await?);
        }
        format.print(&kept, &COLUMNS, |kept| {
            let more = if kept.is_count_exact { "" } else { "+" };
            vec![
                kept.queue.clone(),
                kept.retention_period.to_string(),
                kept.stale_retention_period.to_string(),
                format!("{}{more}", kept.expired),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn kept_of(orchestrator: &dyn Administration, queue: &QueueDefinition) -> Result<Kept, CliError> {
    let (expired, is_count_exact) = expired_at(orchestrator, queue, SystemClock::new().now()).await?;
    Ok(Kept {
        queue: queue.name.clone(),
        retention_period: queue.policy.retention_days,
        stale_retention_period: queue.policy.stale_retention_days,
        expired,
        is_count_exact,
    })
}

/// How many items of a queue are past its retention at a time, and whether all were counted.
pub(super) async fn expired_at(
    orchestrator: &dyn Administration,
    queue: &QueueDefinition,
    at: Timestamp,
) -> Result<(u64, bool), CliError> {
    let expired = is_expired_by(&queue.policy, at);
    let filter = ItemFilter::default().queue(&*queue.name).condition(expired);
    let page = orchestrator.list_queue_items(filter, Page::first(1).count_limit(COUNT_LIMIT)).await?;
    Ok((page.count, page.is_count_exact))
}

/// How many items one call removes.
const CHUNK: usize = 1_000;

async fn apply(orchestrator: &dyn Administration, limit: usize) -> CommandResult {
    let mut removed = 0;
    while removed < limit {
        let chunk = CHUNK.min(limit - removed);
        let more = usize::try_from(orchestrator.apply_retention(chunk).await?).unwrap_or(usize::MAX);
        if more == 0 {
            break;
        }
        removed += more;
    }
    if output::is_json() {
        output::json(&serde_json::json!({ "Removed": removed }))?;
    } else {
        output::line(format!("{removed} items were removed"))?;
    }
    if removed == 0 {
        output::remark(
            "a clock that may be ahead removes nothing: the time of day has to agree with the monotonic clock for ten minutes",
        );
    }
    Ok(ExitCode::SUCCESS)
}
