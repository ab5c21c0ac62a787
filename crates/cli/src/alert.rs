//! `performer alert`: what somebody should look at.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use performer_core::model::alert::{Alert, AlertFilter, MAX_ALERTS_LISTED, MAX_ALERTS_MARKED};
use performer_core::model::key::AlertKey;
use performer_core::orchestrator::OrchestratorError;
use performer_wire::alert::AlertDto;
use serde_json::json;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::up_to;

/// List alerts and mark them as read: faulted jobs, robots that are gone, items that failed for the last time, and missed SLAs
///
/// Each user of a server has read an alert or not; so has the command over a store. An application needs the scope OR.Monitoring in
/// UIPATH_SCOPE, and its user the permission Alerts.View.
#[derive(Subcommand)]
pub(super) enum Alerts {
    List(List),
    Read(Read),
}

/// List alerts, the newest first
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer alert list --unread\n  \
performer alert list --top 500 --output jsonl")]
pub(super) struct List {
    /// Only alerts that are not read
    #[arg(long)]
    unread: bool,
    /// The maximum number of alerts
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = up_to(MAX_ALERTS_LISTED))]
    top: usize,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Mark alerts as read, and say how many are not
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer alert read 0192f0c1-6b3e-7d52-9c1e-3f6c1d2a4b5c\n  \
performer alert read --all")]
pub(super) struct Read {
    /// The keys of the alerts
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<AlertKey>,
    /// All alerts, up to the newest 10,000
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

const COLUMNS: [Column; 6] = [
    Column::plain("KEY"),
    Column::plain("TIME"),
    Column::plain("SEVERITY"),
    Column::plain("COMPONENT"),
    Column::plain("READ"),
    Column::text("MESSAGE"),
];

impl Alerts {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Read(read) => read.run().await,
        }
    }
}

fn refused(error: OrchestratorError) -> CliError {
    CliError::with_scope(error, "OR.Monitoring")
}

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let mut filter = AlertFilter::default();
        (filter.unread, filter.limit) = (self.unread, self.top);
        let alerts = orchestrator.list_alerts(filter).await.map_err(refused)?;
        if format.has_columns() {
            let row = |alert: &Alert| {
                vec![
                    alert.key.to_string(),
                    output::time(alert.time),
                    alert.severity.to_string(),
                    alert.content.component.clone(),
                    alert.is_read.to_string(),
                    alert.message().to_owned(),
                ]
            };
            format.print_columns(&COLUMNS, &alerts.iter().map(row).collect::<Vec<_>>())?;
            if alerts.is_empty() {
                output::remark(if self.unread { "every alert is read" } else { "there is no alert" });
            }
        } else {
            let rows: Vec<AlertDto> = alerts.iter().map(AlertDto::from).collect();
            format.print(&rows, &[], |_| Vec::new())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Read {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let keys = if self.all {
            let mut filter = AlertFilter::default();
            (filter.unread, filter.limit) = (true, MAX_ALERTS_LISTED);
            let unread = orchestrator.list_alerts(filter).await.map_err(refused)?;
            unread.into_iter().map(|alert| alert.key).collect()
        } else {
            self.keys
        };
        let mut unread = 0;
        let mut chunks = keys.chunks(MAX_ALERTS_MARKED);
        // Without any, it still says how many are unread.
        let first = chunks.next().unwrap_or_default();
        for chunk in std::iter::once(first).chain(chunks) {
            unread = orchestrator.mark_alerts_read(chunk.to_vec()).await.map_err(refused)?;
        }
        if output::is_json() {
            output::json(&json!({ "Unread": unread }))?;
        } else {
            output::line(format!("{unread} alerts are not read"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
