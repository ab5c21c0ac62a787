//! `performer stats`: the number of items by status.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use performer_core::model::statistics::QueueStatistics;

/// Show the number of items by queue and status
#[derive(Args)]
pub(super) struct Stats {
    /// Show only this queue
    queue: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Stats {
    pub(super) async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let names = match self.queue {
            Some(name) => vec![orchestrator.get_queue(&name).await?.name],
            None => orchestrator.list_queues().await?.into_iter().map(|queue| queue.name).collect(),
        };
        let mut rows = Vec::new();
        for name in names {
            let figures = orchestrator.queue_statistics(&name).await?;
            rows.push((name, figures));
        }
        if self.global.json {
            let all: BTreeMap<_, _> = rows.iter().map(|(name, figures)| (name, figures)).collect();
            output::json(&all)?;
        } else {
            table(&rows)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn table(rows: &[(String, QueueStatistics)]) -> Result<(), CliError> {
    let heads = [
        "QUEUE",
        "NEW",
        "IN PROGRESS",
        "SUCCESSFUL",
        "BUSINESS EXC.",
        "APPLICATION EXC.",
        "RETRIED",
        "ABANDONED",
        "DELETED",
        "ALL",
    ];
    let cells = |(name, figures): &(String, QueueStatistics)| {
        let numbers = [
            figures.new,
            figures.in_progress,
            figures.successful,
            figures.business_exceptions,
            figures.application_exceptions,
            figures.retried,
            figures.abandoned,
            figures.deleted,
            figures.total(),
        ];
        std::iter::once(name.clone()).chain(numbers.iter().map(i64::to_string)).collect()
    };
    output::table(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}
