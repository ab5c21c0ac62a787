//! `performer queue`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Place;
use super::output::{self, Done, Problem};
use crate::model::limits::{LimitsEdit, MaxStarts, QueueLimits};
use crate::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use crate::orchestrator::ErrorKind;

/// Makes queues, shows them, pauses and limits them
#[derive(Subcommand)]
pub(super) enum Queue {
    Create(Create),
    List(List),
    Show(Show),
    Pause(Pause),
    Resume(Resume),
    Limit(Limit),
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
    /// The most items in progress at once, over all performers
    #[arg(long, value_name = "N")]
    max_in_progress: Option<u32>,
    /// The most items started in any window, over all performers, as in 100/1m
    #[arg(long, value_name = "N/TIME")]
    max_starts: Option<String>,
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

/// Hands nothing more out until the queue is resumed; what is in progress goes on
#[derive(Args)]
pub(super) struct Pause {
    /// The name of the queue
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Hands items out again
#[derive(Args)]
pub(super) struct Resume {
    /// The name of the queue
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Limits what is handed out, over all performers together
#[derive(Args)]
#[command(after_help = "\
What is not said stays as it is; `none` lifts a limit:
  performer queue limit Invoices --max-in-progress 5
  performer queue limit Invoices --max-starts 100/1m --max-in-progress none")]
pub(super) struct Limit {
    /// The name of the queue
    name: String,
    /// The most items in progress at once, those taken ahead included; or none
    #[arg(long, value_name = "N")]
    max_in_progress: Option<String>,
    /// The most items started in any window of this length, 1s to 24h, as in 100/1m; or none
    #[arg(long, value_name = "N/TIME")]
    max_starts: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl Queue {
    pub(super) async fn run(self) -> Done {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Pause(Pause { name, place }) => pause(&name, &place, true).await,
            Self::Resume(Resume { name, place }) => pause(&name, &place, false).await,
            Self::Limit(limit) => limit.run().await,
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
        // Read first: what cannot be read makes no queue.
        let max_starts = self.max_starts.as_deref().map(max_starts).transpose()?;
        let limits = LimitsEdit {
            paused: None,
            max_in_progress: self.max_in_progress.map(Some),
            max_starts: max_starts.map(Some),
        };
        QueueLimits::default().edited(&limits)?;
        let queue = match orchestrator.create_queue(new.policy(policy)).await {
            Err(error) if self.if_missing && error.kind() == ErrorKind::Conflict => {
                orchestrator.get_queue(&self.name).await?
            }
            Ok(_) if limits != LimitsEdit::default() => {
                orchestrator.edit_queue_limits(&self.name, limits).await?
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

async fn pause(name: &str, place: &Place, paused: bool) -> Done {
    let edit = LimitsEdit { paused: Some(paused), ..LimitsEdit::default() };
    limited(place, name, edit).await
}

impl Limit {
    async fn run(self) -> Done {
        let count = |text: &str| {
            let wrong = || Problem::usage(format!("{text:?} is no number of items; write one, or none"));
            text.parse().map_err(|_| wrong())
        };
        let edit = LimitsEdit {
            paused: None,
            max_in_progress: self.max_in_progress.as_deref().map(|text| or_none(text, count)).transpose()?,
            max_starts: self.max_starts.as_deref().map(|text| or_none(text, max_starts)).transpose()?,
        };
        if edit == LimitsEdit::default() {
            return Err(Problem::usage(
                "say --max-in-progress or --max-starts; `performer queue show` shows them",
            ));
        }
        limited(&self.place, &self.name, edit).await
    }
}

/// Changes the limits, and tells what they are now.
async fn limited(place: &Place, name: &str, edit: LimitsEdit) -> Done {
    let queue = place.connect().await?.edit_queue_limits(name, edit).await?;
    if place.json {
        output::json(&shown(&queue))?;
    } else {
        output::line(format!("queue {:?}: {}", queue.name, told(&queue.limits)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn or_none<T>(text: &str, read: impl FnOnce(&str) -> Result<T, Problem>) -> Result<Option<T>, Problem> {
    if text.eq_ignore_ascii_case("none") { Ok(None) } else { read(text).map(Some) }
}

/// So many per time, as in 100/1m.
fn max_starts(text: &str) -> Result<MaxStarts, Problem> {
    let wrong = || Problem::usage(format!("{text:?} is no number of items per time; write it as in 100/1m"));
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let count = count.trim().parse().map_err(|_| wrong())?;
    Ok(MaxStarts { count, per: duration(per.trim())? })
}

/// The limits in a sentence.
fn told(limits: &QueueLimits) -> String {
    let mut parts = vec![if limits.paused { "paused" } else { "running" }.to_owned()];
    parts.extend(limits.max_in_progress.map(|most| format!("at most {most} in progress")));
    parts.extend(limits.max_starts.map(|MaxStarts { count, per }| {
        format!("at most {count} started per {:#}", jiff::SignedDuration::try_from(per).unwrap_or_default())
    }));
    if parts.len() == 1 {
        parts.push("no limits".to_owned());
    }
    parts.join(", ")
}

/// A time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
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
        "paused": queue.limits.paused, "maxInProgress": queue.limits.max_in_progress,
        "maxStarts": queue.limits.max_starts.map(|most| json!({ "count": most.count, "perSeconds": most.per.as_secs_f64() })),
    })
}

impl List {
    async fn run(self) -> Done {
        let orchestrator = self.place.connect().await?;
        let queues = orchestrator.list_queues().await?;
        if self.place.json {
            output::json(&queues.iter().map(shown).collect::<Vec<_>>())?;
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
            ("Handed out", told(&queue.limits)),
        ])?;
        output::line("")?;
        super::stats::table(&[(queue.name, figures)])?;
        Ok(ExitCode::SUCCESS)
    }
}
