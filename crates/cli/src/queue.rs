//! `performer queue`: creates, shows, edits, pauses and limits queues; their schemas are in `queue_schema.rs`, why
//! nothing is handed out in `queue_why.rs`, and what is removed in `queue_removal.rs`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::queue_removal::{Delete, Retention};
use super::queue_schema::Schema;
use super::queue_why::Why;
use performer_core::model::FieldEdit;
use performer_core::model::limits::{LimitsEdit, MaxStarts, QueueLimits};
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::orchestrator::ErrorKind;

/// Create, show, edit, pause, limit and delete queues, and show why nothing is handed out
#[derive(Subcommand)]
pub(super) enum Queue {
    Create(Create),
    List(List),
    Show(Show),
    Why(Why),
    Edit(Edit),
    Pause(Pause),
    Resume(Resume),
    Limit(Limit),
    Schema(Schema),
    Retention(Retention),
    Delete(Delete),
}

/// Create a queue
#[derive(Args)]
pub(super) struct Create {
    /// The name of the queue, at most 50 characters
    name: String,
    /// A description of the queue
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The number of retries after an ApplicationException, 0 to 50
    #[arg(long, default_value_t = 1, value_name = "N")]
    max_retries: u32,
    /// Retry abandoned items too
    #[arg(long)]
    retry_abandoned: bool,
    /// How long an automatic retry waits: 30s, or 10s..10m for one that doubles with each retry (see --help); or none
    ///
    /// A delay that grows is shortened by up to 25 percent, differently for each item, so that items that failed
    /// together are not retried together; 10s..10m~50% sets another percentage. A delay that the exception of an
    /// attempt asks for is used instead, and a retry by hand does not wait. At most 24h. Not in a UiPath Orchestrator.
    #[arg(long, default_value = "none", value_name = "DELAY")]
    retry_delay: RetryDelay,
    /// Accept each reference only once; this cannot be changed later
    #[arg(long)]
    unique_reference: bool,
    /// How long an item may be InProgress before it is abandoned, such as 24h or 90m
    #[arg(long, default_value = "24h", value_name = "TIME")]
    abandon_after: String,
    /// The number of days after which finished items are removed, 1 to 180
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    retention: u32,
    /// The number of days after which unfinished items are removed, 1 to 180
    #[arg(long, default_value_t = 180, value_name = "DAYS")]
    stale_retention: u32,
    /// The maximum number of items in progress, over all performers
    #[arg(long, value_name = "N")]
    max_in_progress: Option<u32>,
    /// The maximum number of items started in any time window, over all performers, such as 100/1m
    #[arg(long, value_name = "N/TIME")]
    max_starts: Option<String>,
    /// The maximum number of items of one group in progress; 1: one at a time, in order
    #[arg(long, value_name = "N")]
    per_group: Option<u32>,
    /// Let the groups of items take turns
    #[arg(long)]
    fair: bool,
    /// Succeed if the queue exists already
    #[arg(long)]
    if_missing: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

/// List the queues with their numbers of items
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer queue list\n  \
performer queue list -o csv > queues.csv")]
pub(super) struct List {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show the settings and statistics of a queue
#[derive(Args)]
pub(super) struct Show {
    /// The name of the queue
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Change settings of a queue
#[derive(Args)]
#[command(after_help = "\
Settings that are not given are not changed. All of them are written back as they were read just before: do not change them elsewhere\n\
at the same time. A setting applies to what happens from then on:\n\n  \
performer queue edit Invoices --max-retries 5 --retry-delay 10s..10m\n  \
performer queue edit Invoices --retry-delay none")]
pub(super) struct Edit {
    /// The name of the queue
    name: String,
    /// A description of the queue; an empty one removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The number of retries after an ApplicationException, 0 to 50
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// Whether abandoned items are retried too
    #[arg(long, value_name = "true|false")]
    retry_abandoned: Option<bool>,
    /// How long an automatic retry waits: 30s, or 10s..10m for one that doubles with each retry (see --help); or none
    ///
    /// A delay that grows is shortened by up to 25 percent, differently for each item, so that items that failed
    /// together are not retried together; 10s..10m~50% sets another percentage. A delay that the exception of an
    /// attempt asks for is used instead, and a retry by hand does not wait. At most 24h. Not in a UiPath Orchestrator.
    #[arg(long, value_name = "DELAY")]
    retry_delay: Option<RetryDelay>,
    /// How long an item may be InProgress before it is abandoned, such as 24h or 90m
    #[arg(long, value_name = "TIME")]
    abandon_after: Option<String>,
    /// The number of days after which finished items are removed, 1 to 180
    #[arg(long, value_name = "DAYS")]
    retention: Option<u32>,
    /// The number of days after which unfinished items are removed, 1 to 180
    #[arg(long, value_name = "DAYS")]
    stale_retention: Option<u32>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Stop handing out items of a queue until it is resumed; items in progress are not affected
#[derive(Args)]
pub(super) struct Pause {
    /// The name of the queue
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Resume a paused queue
#[derive(Args)]
pub(super) struct Resume {
    /// The name of the queue
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Limit the items handed out, over all performers
#[derive(Args)]
#[command(after_help = "\
Limits that are not given are not changed; `none` removes a limit:
  performer queue limit Invoices --max-in-progress 5
  performer queue limit Invoices --max-starts 100/1m --max-in-progress none

Groups are those of `performer item add --group`; with --fair they take turns:
  performer queue limit Invoices --per-group 1 --fair")]
pub(super) struct Limit {
    /// The name of the queue
    name: String,
    /// The maximum number of items in progress, including those claimed ahead; or none
    #[arg(long, value_name = "N")]
    max_in_progress: Option<String>,
    /// The maximum number of items started in any time window of 1s to 24h, such as 100/1m; or none
    #[arg(long, value_name = "N/TIME")]
    max_starts: Option<String>,
    /// The maximum number of items of one group in progress, 1: one at a time, in order; or none
    #[arg(long, value_name = "N")]
    per_group: Option<String>,
    /// Whether the groups of items take turns, so that one with many items does not hold up the others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    fair: Option<bool>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Queue {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Edit(edit) => edit.run().await,
            Self::Pause(Pause { name, global }) => pause(&name, &global, true).await,
            Self::Resume(Resume { name, global }) => pause(&name, &global, false).await,
            Self::Limit(limit) => limit.run().await,
            Self::Schema(schema) => schema.run().await,
            Self::Why(why) => why.run().await,
            Self::Retention(retention) => retention.run().await,
            Self::Delete(delete) => delete.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let policy = QueuePolicy::default()
            .accept_automatically_retry(self.max_retries > 0)
            .max_number_of_retries(self.max_retries)
            .retry_abandoned_items(self.retry_abandoned)
            .retry_delay(self.retry_delay)
            .enforce_unique_reference(self.unique_reference)
            .abandon_after(duration(&self.abandon_after)?)
            .retention_days(self.retention)
            .stale_retention_days(self.stale_retention);
        let mut new = NewQueueDefinition::new(&self.name);
        new.description = self.description;
        // Parsed first, so that an invalid argument creates no queue.
        let max_starts = self.max_starts.as_deref().map(max_starts).transpose()?;
        let limits = LimitsEdit::default()
            .max_in_progress(self.max_in_progress.map_or(FieldEdit::Keep, FieldEdit::Set))
            .max_starts(max_starts.map_or(FieldEdit::Keep, FieldEdit::Set))
            .max_in_progress_per_group(self.per_group.map_or(FieldEdit::Keep, FieldEdit::Set))
            .fair(self.fair.then_some(true));
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
        if output::is_json() {
            output::json(&to_json(&queue))?;
        } else {
            output::line(format!("queue {:?} has the id {}", queue.name, queue.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Edit {
    async fn run(self) -> CommandResult {
        let numbers = [self.max_retries, self.retention, self.stale_retention];
        let is_given = self.description.is_some()
            || self.retry_abandoned.is_some()
            || self.retry_delay.is_some()
            || self.abandon_after.is_some();
        if !is_given && numbers.iter().all(Option::is_none) {
            return Err(CliError::usage(
                "no setting was given (`performer queue show` shows them, `performer queue edit --help` lists those that can be changed)",
            ));
        }
        let abandon_after = self.abandon_after.as_deref().map(duration).transpose()?;
        let orchestrator = self.global.connect().await?;
        let mut settings = orchestrator.get_queue(&self.name).await?.settings();
        if let Some(description) = self.description {
            settings.description = Some(description).filter(|text| !text.is_empty());
        }
        let policy = &mut settings.policy;
        if let Some(retries) = self.max_retries {
            (policy.accept_automatically_retry, policy.max_number_of_retries) = (retries > 0, retries);
        }
        policy.retry_abandoned_items = self.retry_abandoned.unwrap_or(policy.retry_abandoned_items);
        policy.retry_delay = self.retry_delay.unwrap_or(policy.retry_delay);
        policy.abandon_after = abandon_after.unwrap_or(policy.abandon_after);
        policy.retention_days = self.retention.unwrap_or(policy.retention_days);
        policy.stale_retention_days = self.stale_retention.unwrap_or(policy.stale_retention_days);
        let queue = orchestrator.update_queue(&self.name, settings).await?;
        if output::is_json() {
            output::json(&to_json(&queue))?;
            return Ok(ExitCode::SUCCESS);
        }
        output::list(&settings_of(&queue))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn pause(name: &str, global: &GlobalArgs, paused: bool) -> CommandResult {
    let edit = LimitsEdit::default().paused(paused);
    edit_limits(global, name, edit).await
}

impl Limit {
    async fn run(self) -> CommandResult {
        let count = |text: &str| {
            let wrong =
                || CliError::usage(format!("{text:?} is not a number of items; use a number, or none"));
            text.parse().map_err(|_| wrong())
        };
        let edit = LimitsEdit::default()
            .max_in_progress(or_none(self.max_in_progress.as_deref(), count)?)
            .max_starts(or_none(self.max_starts.as_deref(), max_starts)?)
            .max_in_progress_per_group(or_none(self.per_group.as_deref(), count)?)
            .fair(self.fair);
        if edit == LimitsEdit::default() {
            return Err(CliError::usage(
                "no limit was given; use --max-in-progress, --max-starts, --per-group or --fair (`performer queue show` shows them)",
            ));
        }
        edit_limits(&self.global, &self.name, edit).await
    }
}

/// Changes the limits of a queue and prints them.
async fn edit_limits(global: &GlobalArgs, name: &str, edit: LimitsEdit) -> CommandResult {
    let queue = global.connect().await?.edit_queue_limits(name, edit).await?;
    if output::is_json() {
        output::json(&to_json(&queue))?;
    } else {
        output::line(format!("queue {:?}: {}", queue.name, describe_limits(&queue.limits)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The change of a limit: absent for none, the word `none` to remove it, or a value.
fn or_none<T>(
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, CliError>,
) -> Result<FieldEdit<T>, CliError> {
    match text {
        None => Ok(FieldEdit::Keep),
        Some(text) if text.eq_ignore_ascii_case("none") => Ok(FieldEdit::Clear),
        Some(text) => read(text).map(FieldEdit::Set),
    }
}

/// Parses a number of items per time, such as 100/1m.
fn max_starts(text: &str) -> Result<MaxStarts, CliError> {
    let wrong = || CliError::usage(format!("{text:?} is not a number of items per time, such as 100/1m"));
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let count = count.trim().parse().map_err(|_| wrong())?;
    Ok(MaxStarts { count, per: duration(per.trim())? })
}

/// Describes the limits in one line.
pub(super) fn describe_limits(limits: &QueueLimits) -> String {
    let mut parts = vec![if limits.paused { "paused" } else { "running" }.to_owned()];
    parts.extend(limits.max_in_progress.map(|most| format!("at most {most} in progress")));
    parts.extend(limits.max_starts.map(|MaxStarts { count, per }| {
        format!("at most {count} started per {:#}", jiff::SignedDuration::try_from(per).unwrap_or_default())
    }));
    parts.extend(
        limits.max_in_progress_per_group.map(|most| format!("at most {most} of a group in progress")),
    );
    parts.extend(limits.fair.then(|| "groups take turns".to_owned()));
    if parts.len() == 1 {
        parts.push("no limits".to_owned());
    }
    parts.join(", ")
}

/// Parses a duration with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, CliError> {
    let wrong = || CliError::usage(format!("{text:?} is not a duration, such as 24h, 90m or 45s"));
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    signed.try_into().map_err(|_| wrong())
}

/// A queue with the names of the API, and of performer's own server where the API has none.
fn to_json(queue: &QueueDefinition) -> Value {
    let (policy, limits) = (&queue.policy, &queue.limits);
    json!({
        "Id": queue.id, "Key": queue.key, "Name": queue.name, "Description": queue.description,
        "MaxNumberOfRetries": policy.max_number_of_retries,
        "AcceptAutomaticallyRetry": policy.accept_automatically_retry,
        "RetryAbandonedItems": policy.retry_abandoned_items,
        "EnforceUniqueReference": policy.enforce_unique_reference,
        "PerformerRetryDelay": retry_delay_to_json(policy.retry_delay),
        "RetentionPeriod": policy.retention_days, "StaleRetentionPeriod": policy.stale_retention_days,
        "CreationTime": queue.creation_time,
        "PerformerAbandonAfterSeconds": policy.abandon_after.as_secs(),
        "PerformerLimits": {
            "Paused": limits.paused, "MaxInProgress": limits.max_in_progress,
            "MaxStarts": limits.max_starts.map(|most| json!({ "Count": most.count, "PerSeconds": most.per.as_secs_f64() })),
            "MaxInProgressPerGroup": limits.max_in_progress_per_group, "Fair": limits.fair,
        },
    })
}

/// Null for no delay.
fn retry_delay_to_json(delay: RetryDelay) -> Value {
    match delay {
        RetryDelay::Fixed(delay) => json!({ "Kind": "Fixed", "Seconds": delay.as_secs_f64() }),
        RetryDelay::Exponential(delay) => json!({
            "Kind": "Exponential", "FirstSeconds": delay.first.as_secs_f64(), "CapSeconds": delay.cap.as_secs_f64(),
            "JitterPercent": delay.jitter_percent,
        }),
        _ => Value::Null,
    }
}

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let queues = orchestrator.list_queues().await?;
        if !format.has_columns() {
            format.print(&queues.iter().map(to_json).collect::<Vec<_>>(), &[], |_| Vec::new())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = Vec::new();
        for queue in &queues {
            let figures = orchestrator.queue_statistics(&queue.name).await?;
            rows.push(vec![
                queue.name.clone(),
                if queue.limits.paused { "paused" } else { "running" }.to_owned(),
                figures.new.to_string(),
                figures.in_progress.to_string(),
                figures.total().to_string(),
                queue.policy.max_number_of_retries.to_string(),
                queue.description.clone().unwrap_or_default(),
            ]);
        }
        let columns = [
            Column::plain("QUEUE"),
            Column::status("STATE"),
            Column::plain("NEW"),
            Column::plain("IN PROGRESS"),
            Column::plain("ALL"),
            Column::plain("RETRIES"),
            Column::text("DESCRIPTION"),
        ];
        format.print_columns(&columns, &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let queue = orchestrator.get_queue(&self.name).await?;
        let figures = orchestrator.queue_statistics(&queue.name).await?;
        if output::is_json() {
            let mut value = to_json(&queue);
            value["Statistics"] = json!(figures);
            output::json(&value)?;
            return Ok(ExitCode::SUCCESS);
        }
        output::list(&settings_of(&queue))?;
        output::line("")?;
        super::stats::table(&[(queue.name, figures)])?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The settings of a queue, with their names for people.
fn settings_of(queue: &QueueDefinition) -> Vec<(&'static str, String)> {
    let policy = &queue.policy;
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    vec![
        ("Name", queue.name.clone()),
        ("Id", queue.id.to_string()),
        ("Key", queue.key.to_string()),
        ("Description", queue.description.clone().unwrap_or_default()),
        ("Created", queue.creation_time.to_string()),
        ("Retries automatically", yes(policy.accept_automatically_retry)),
        ("Maximum retries", policy.max_number_of_retries.to_string()),
        ("Retries abandoned items", yes(policy.retry_abandoned_items)),
        ("Retry delay", policy.retry_delay.to_string()),
        ("Unique references", yes(policy.enforce_unique_reference)),
        (
            "Abandons after",
            format!("{:#}", jiff::SignedDuration::try_from(policy.abandon_after).unwrap_or_default()),
        ),
        (
            "Retention",
            format!("{} days, unfinished items {} days", policy.retention_days, policy.stale_retention_days),
        ),
        ("Limits", describe_limits(&queue.limits)),
    ]
}
