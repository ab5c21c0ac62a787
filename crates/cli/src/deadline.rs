//! `performer deadline`: whether the items that wait will be done by their DueDate.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::deadlines::{Forecast, forecast};
use performer_core::model::queue::QueueDefinition;
use performer_core::orchestrator::{Administration, read_pace};
use serde::Serialize;

use super::GlobalArgs;
use super::output::{self, Column, CommandResult, ListOutput};

/// Forecast whether items will be done by their due dates
#[derive(Subcommand)]
pub(super) enum Deadlines {
    List(List),
}

/// List the queues that have items with a due date: how many will be late at the pace of the last 15 minutes
///
/// Items that are postponed, or wait behind others of their group, are not counted.
#[derive(Args)]
#[command(after_help = "\
MORE ROBOTS would do the items in time that are not overdue yet. With --check the exit code is 1 if items are overdue or will be late:\n\n  \
performer deadline list\n  \
performer deadline list --queue Invoices --check --quiet")]
pub(super) struct List {
    /// Only this queue; can be repeated
    #[arg(long, value_name = "NAME")]
    queue: Vec<String>,
    /// Exit with 1 if items are overdue or will be late
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

const COLUMNS: [Column; 8] = [
    Column::text("QUEUE"),
    Column::plain("WAITING"),
    Column::plain("OVERDUE"),
    Column::plain("LATE"),
    Column::plain("NEXT DUE"),
    Column::plain("DONE"),
    Column::plain("PER MINUTE"),
    Column::plain("MORE ROBOTS"),
];

/// The forecast of a queue.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QueueForecast {
    name: String,
    #[serde(flatten)]
    forecast: Forecast,
    /// Absent without a pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_minute: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    robots: Option<u32>,
}

impl Deadlines {
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
        let mut queues = Vec::new();
        for name in &self.queue {
            queues.push(orchestrator.get_queue(name).await?);
        }
        if self.queue.is_empty() {
            queues = orchestrator.list_queues().await?;
        }
        let mut all = Vec::new();
        for queue in &queues {
            all.extend(forecast_of(&*orchestrator, queue, SystemClock::new().now()).await?);
        }
        format.print(&all, &COLUMNS, cells)?;
        if all.is_empty() && format.has_columns() {
            output::remark("no item that could be handed out now has a due date");
        }
        let is_bad = |queue: &QueueForecast| queue.forecast.overdue > 0 || queue.forecast.late > 0;
        Ok(if self.check && all.iter().any(is_bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The forecast of a queue; `None` if nothing in it is due.
async fn forecast_of(
    orchestrator: &dyn Administration,
    queue: &QueueDefinition,
    now: Timestamp,
) -> Result<Option<QueueForecast>, output::CliError> {
    let work = orchestrator.due_work(&queue.name).await?;
    if work.items.is_empty() {
        return Ok(None);
    }
    let pace = read_pace(orchestrator, queue, work.robots, now).await?;
    Ok(Some(QueueForecast {
        name: queue.name.clone(),
        forecast: forecast(&work.items, pace, now),
        per_minute: pace.map(|pace| pace.per_minute),
        robots: pace.map(|pace| pace.robots),
    }))
}

fn cells(queue: &QueueForecast) -> Vec<String> {
    let Forecast { waiting, overdue, late, next_due, done, more_robots, .. } = queue.forecast;
    vec![
        queue.name.clone(),
        waiting.to_string(),
        overdue.to_string(),
        late.to_string(),
        output::time_or_empty(next_due),
        output::time_or_empty(done),
        queue.per_minute.map(|pace| format!("{pace:.1}")).unwrap_or_default(),
        more_robots.map(|more| more.to_string()).unwrap_or_default(),
    ]
}
