//! `performer log` and `performer job logs`: what programs logged.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::item_query::TimeRange;
use performer_core::model::key::{ItemId, JobKey};
use performer_core::model::log::{LogFilter, LogLevel, LogRecord, MAX_LINES_LISTED};
use performer_core::orchestrator::Administration;
use performer_wire::responses::log_line;
use serde_json::Value;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::up_to;

/// List what performers and robots logged
#[derive(Subcommand)]
pub(super) enum Logs {
    List(List),
}

/// List lines of logs in the order in which they were written; of many, the newest
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer log list --level warn --when 24h\n  \
performer log list --process invoices --top 1000 --output jsonl")]
pub(super) struct List {
    /// Only lines of this level or a more severe one: trace, debug, info, warn, error or fatal
    #[arg(long, value_name = "LEVEL")]
    level: Option<LogLevel>,
    /// Only lines of the process with this name
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// Only lines about this item; over a store alone
    #[arg(long, value_name = "ID")]
    item: Option<i64>,
    /// Only lines written in this time: 24h, today, 2026-11-01, 2026-11-01..2026-11-08
    #[arg(long, value_name = "TIME")]
    when: Option<TimeRange>,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    global: GlobalArgs,
}

/// How many lines are shown, and how.
#[derive(Args)]
pub(super) struct Shown {
    /// The maximum number of lines
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = up_to(MAX_LINES_LISTED))]
    top: usize,
    #[command(flatten)]
    output: ListOutput,
}

impl Logs {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
        }
    }
}

impl List {
    async fn run(self) -> CommandResult {
        let mut filter = LogFilter::default();
        (filter.process, filter.item) = (self.process, self.item.map(ItemId));
        if let Some(least) = self.level {
            filter.levels = LogLevel::ALL.iter().copied().filter(|level| *level >= least).collect();
        }
        if let Some(when) = self.when {
            (filter.from, filter.before) = when.at(SystemClock::new().now());
        }
        let orchestrator = self.global.connect().await?;
        show(&*orchestrator, filter, &self.shown).await
    }
}

/// Shows what a job logged.
pub(super) async fn of_job(orchestrator: &dyn Administration, job: JobKey, shown: &Shown) -> CommandResult {
    let mut filter = LogFilter::default();
    filter.jobs = Some(vec![job]);
    show(orchestrator, filter, shown).await
}

const COLUMNS: [Column; 5] = [
    Column::plain("TIME"),
    Column::plain("LEVEL"),
    Column::text("PROCESS"),
    Column::text("ROBOT"),
    Column::text("MESSAGE"),
];

/// Shows the newest lines, the oldest of them first.
async fn show(orchestrator: &dyn Administration, mut filter: LogFilter, shown: &Shown) -> CommandResult {
    let format = shown.output.format()?;
    (filter.descending, filter.limit) = (true, shown.top);
    let refused = |error| CliError::with_scope(error, "OR.Monitoring.Read");
    let mut lines = orchestrator.list_log_lines(filter).await.map_err(refused)?;
    lines.reverse();
    if format.has_columns() {
        let row = |line: &LogRecord| {
            let members = log_line(line);
            let text = |name: &str| members[name].as_str().unwrap_or_default().to_owned();
            let level = line.level.to_string();
            vec![output::time(line.time), level, text("ProcessName"), text("RobotName"), text("Message")]
        };
        format.print_columns(&COLUMNS, &lines.iter().map(row).collect::<Vec<_>>())?;
        if lines.is_empty() {
            output::remark("no line matches");
        }
    } else {
        let rows: Vec<Value> = lines.iter().map(log_line).collect();
        format.print(&rows, &[], |_| Vec::new())?;
    }
    Ok(ExitCode::SUCCESS)
}
