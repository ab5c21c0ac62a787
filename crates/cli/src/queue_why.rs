//! `performer queue why`: why nothing of a queue is handed out.

use std::process::ExitCode;

use clap::Args;
use performer_core::model::claim_blockers::ClaimBlocker;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::job::{Job, MAX_JOBS_LISTED};
use performer_core::model::queue::QueueDefinition;
use performer_core::orchestrator::{Administration, ErrorKind, OrchestratorError, read_claim_blockers};
use serde::Serialize;

use super::GlobalArgs;
use super::output::{CliError, Column, CommandResult, ListOutput, remark, time_or_empty};

/// Show why nothing of a queue is handed out: paused, limits, postponed items, no performer
#[derive(Args)]
#[command(after_help = "\
A reason that is certain holds every claim back as long as it lasts; the others may. Without a reason, a claim gets an item.\n\n\
Examples:\n  \
performer queue why Invoices\n  \
performer queue why Invoices --json\n  \
performer queue why -o csv")]
pub(super) struct Why {
    /// The name of the queue [default: all queues]
    name: Option<String>,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// A reason, and the queue that it is about.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "QueueDefinitionName")]
    queue: String,
    #[serde(flatten)]
    blocker: ClaimBlocker,
}

const COLUMNS: [Column; 5] = [
    Column::plain("QUEUE"),
    Column::plain("REASON"),
    Column::plain("CERTAIN"),
    Column::plain("UNTIL"),
    Column::text("MESSAGE"),
];

impl Why {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let queues = match &self.name {
            Some(name) => vec![orchestrator.get_queue(name).await?],
            None => orchestrator.list_queues().await?,
        };
        let jobs = jobs(&*orchestrator).await?;
        let (mut rows, mut free) = (Vec::new(), Vec::new());
        for queue in queues {
            let found = with_jobs(&*orchestrator, &queue, jobs.as_deref()).await?;
            if !found.iter().any(ClaimBlocker::is_certain) {
                free.push(queue.name.clone());
            }
            rows.extend(found.into_iter().map(|blocker| Row { queue: queue.name.clone(), blocker }));
        }
        format.print(&rows, &COLUMNS, |Row { queue, blocker }| {
            vec![
                queue.clone(),
                blocker.name().to_owned(),
                if blocker.is_certain() { "yes" } else { "no" }.to_owned(),
                time_or_empty(blocker.until()),
                blocker.to_string(),
            ]
        })?;
        for queue in free.iter().filter(|_| format.has_columns()) {
            remark(format!("queue {queue:?}: a robot that asks now is handed an item"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What holds claims on a queue back.
pub(super) async fn of_queue(
    orchestrator: &dyn Administration,
    queue: &QueueDefinition,
) -> Result<Vec<ClaimBlocker>, CliError> {
    with_jobs(orchestrator, queue, jobs(orchestrator).await?.as_deref()).await
}

async fn with_jobs(
    orchestrator: &dyn Administration,
    queue: &QueueDefinition,
    jobs: Option<&[Job]>,
) -> Result<Vec<ClaimBlocker>, CliError> {
    let statistics = orchestrator.queue_statistics(&queue.name).await?;
    let now = SystemClock::new().now();
    Ok(read_claim_blockers(orchestrator, queue, &statistics, jobs, now).await?)
}

/// The jobs of all queues, if they are known here and may be seen.
pub(super) async fn jobs(orchestrator: &dyn Administration) -> Result<Option<Vec<Job>>, CliError> {
    let is_hidden =
        |error: &OrchestratorError| matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Unauthorized);
    match orchestrator.list_jobs(MAX_JOBS_LISTED).await {
        Ok(jobs) => Ok(Some(jobs)),
        Err(error) if is_hidden(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
