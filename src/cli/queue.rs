//! `performer queue`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Place;
use super::output::{self, Done, Problem};
use crate::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use crate::orchestrator::ErrorKind;

/// Makes queues and shows them
#[derive(Subcommand)]
pub(super) enum Queue {
    Create(Create),
    List(List),
    Show(Show),
}

/// Makes a queue
#[derive(Args)]
pub(super) struct Create {
    /// Its name, at most 50 characters
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How often an item is retried after an ApplicationException, 0 to 50
    #[arg(long, default_value_t = 1, value_name = "N")]
    max_retries: u32,
    /// Abandoned items are retried too
    #[arg(long)]
    retry_abandoned: bool,
    /// Each reference may be in the queue once; this cannot be changed later
    #[arg(long)]
    unique_reference: bool,
    /// After how long InProgress an item is abandoned, as in 24h or 90m
    #[arg(long, default_value = "24h", value_name = "TIME")]
    abandon_after: String,
    /// After how many days items that ended are removed, 1 to 180
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    retention: u32,
    /// After how many days items that never ended are removed, 1 to 180
    #[arg(long, default_value_t = 180, value_name = "DAYS")]
    stale_retention: u32,
    /// It is no failure if the queue is there already
    #[arg(long)]
    if_missing: bool,
    #[command(flatten)]
    place: Place,
}

/// Lists queues, and how many items wait in each
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
}

/// Shows a queue: its settings and its figures
#[derive(Args)]
pub(super) struct Show {
    /// The name of the queue
    name: String,
    #[command(flatten)]
    place: Place,
}

impl Queue {
    pub(super) async fn run(self) -> Done {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Done {
        let orchestrator = self.place.connect().await?;
        let policy = QueuePolicy {
            accept_automatically_retry: self.max_retries > 0,
            max_number_of_retries: self.max_retries,
            retry_abandoned_items: self.retry_abandoned,
            enforce_unique_reference: self.unique_reference,
            abandon_after: duration(&self.abandon_after)?,
            retention_days: self.retention,
            stale_retention_days: self.stale_retention,
        };
        let new = NewQueueDefinition { description: self.description, ..NewQueueDefinition::new(&self.name) };
        let queue = match orchestrator.create_queue(new.policy(policy)).await {
            Err(error) if self.if_missing && error.kind() == ErrorKind::Conflict => {
                orchestrator.get_queue(&self.name).await?
            }
            made => made?,
        };
        if self.place.json {
            output::json(&shown(&queue))?;
        } else {
            output::line(format!("queue {:?} has the number {}", queue.name, queue.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A time with its unit.
fn duration(text: &str) -> Result<Duration, Problem> {
    let wrong = || Problem::usage(format!("{text:?} is no length of time; write it as in 24h, 90m or 45s"));
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    signed.try_into().map_err(|_| wrong())
}

fn shown(queue: &QueueDefinition) -> Value {
    let policy = &queue.policy;
    json!({
        "id": queue.id.0, "key": queue.key.to_string(), "name": queue.name, "description": queue.description,
        "maxNumberOfRetries": policy.max_number_of_retries,
        "acceptAutomaticallyRetry": policy.accept_automatically_retry,
        "retryAbandonedItems": policy.retry_abandoned_items,
        "enforceUniqueReference": policy.enforce_unique_reference,
        "abandonAfterSeconds": policy.abandon_after.as_secs(), "retentionDays": policy.retention_days,
        "staleRetentionDays": policy.stale_retention_days, "creationTime": queue.creation_time.to_string(),
    })
}

impl List {
    async fn run(self) -> Done {
        let orchestrator = self.place.connect().await?;
        let queues = orchestrator.list_queues().await?;
        if self.place.json {
            output::json(&queues.iter().map(shown).collect())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = Vec::new();
        for queue in &queues {
            let figures = orchestrator.queue_statistics(&queue.name).await?;
            rows.push(vec![
                queue.name.clone(),
                figures.new.to_string(),
                figures.in_progress.to_string(),
                figures.total().to_string(),
                queue.policy.max_number_of_retries.to_string(),
                queue.description.clone().unwrap_or_default(),
            ]);
        }
        output::table(&["QUEUE", "NEW", "IN PROGRESS", "ALL", "RETRIES", "DESCRIPTION"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> Done {
        let orchestrator = self.place.connect().await?;
        let queue = orchestrator.get_queue(&self.name).await?;
        let figures = orchestrator.queue_statistics(&queue.name).await?;
        if self.place.json {
            let mut value = shown(&queue);
            value["statistics"] = super::stats::shown(&figures);
            output::json(&value)?;
            return Ok(ExitCode::SUCCESS);
        }
        let policy = &queue.policy;
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        output::list(&[
            ("Name", queue.name.clone()),
            ("Number", queue.id.to_string()),
            ("Key", queue.key.to_string()),
            ("Description", queue.description.clone().unwrap_or_default()),
            ("Made", queue.creation_time.to_string()),
            ("Retries automatically", yes(policy.accept_automatically_retry)),
            ("Maximum of retries", policy.max_number_of_retries.to_string()),
            ("Retries abandoned items", yes(policy.retry_abandoned_items)),
            ("Unique references", yes(policy.enforce_unique_reference)),
            (
                "Abandons after",
                format!("{:#}", jiff::SignedDuration::try_from(policy.abandon_after).unwrap_or_default()),
            ),
            (
                "Retention",
                format!(
                    "{} days, unfinished items {} days",
                    policy.retention_days, policy.stale_retention_days
                ),
            ),
        ])?;
        output::line("")?;
        super::stats::table(&[(queue.name, figures)])?;
        Ok(ExitCode::SUCCESS)
    }
}
