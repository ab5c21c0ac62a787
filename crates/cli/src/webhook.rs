//! `performer webhook`: addresses that are told what happens in a store. The secret is written and never shown, and never an argument: it is
//! typed, piped, or read from a file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgAction, Args, Subcommand};
use performer_core::model::webhook::{
    Delivery, DeliveryId, DeliveryState, EventType, MAX_DELIVERIES_LISTED, Webhook, WebhookSecret,
    WebhookSettings,
};
use performer_core::orchestrator::{Administration, WebhookAdministration};
use performer_wire::webhook::{DeliveryDto, webhook_response};
use serde_json::{Value, json};

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::secret_input::read_secret;
use super::up_to;

/// List, add, change, test and delete webhooks, addresses that are told what happens; show and send again what was not delivered
///
/// --url is a store (sqlite: with a file, or postgres:) or a server of performer. A server over the store (performer serve) sends the
/// events.
#[derive(Subcommand)]
pub(super) enum Webhooks {
    List(List),
    Add(Add),
    Edit(Edit),
    Delete(Delete),
    Ping(Ping),
    Deliveries(Deliveries),
    Retry(Retry),
}

/// List the webhooks, and how the sending goes
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer webhook list --url sqlite:orchestrator.db\n  \
performer webhook list --url sqlite:orchestrator.db --json")]
pub(super) struct List {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Add a webhook
#[derive(Args)]
#[command(after_help = "\
With --secret the secret is asked for on a terminal, read from stdin otherwise, or from the file of --from; requests are signed with it.\n\n\
Examples:\n  \
performer webhook add Alerts --to https://hooks.example.com/performer --event queueItem.transactionFailed\n  \
performer webhook add All --to https://hooks.example.com/performer --secret --from /run/secrets/webhook")]
pub(super) struct Add {
    /// The name of the webhook
    name: String,
    /// Where events are sent to, such as https://hooks.example.com/performer
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Change a webhook; what is not named stays
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer webhook edit Alerts --enabled false\n  \
performer webhook edit Alerts --event queueItem.transactionFailed --event queueItem.transactionAbandoned\n  \
cat secret.txt | performer webhook edit Alerts --secret")]
pub(super) struct Edit {
    /// The name of the webhook
    name: String,
    /// The new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Where events are sent to
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Remove the secret: requests are not signed any more
    #[arg(long, conflicts_with = "secret")]
    no_secret: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    global: GlobalArgs,
}

/// What can be set of a webhook.
#[derive(Args)]
struct Settings {
    /// A type of events to subscribe to; can be repeated
    #[arg(long, value_name = "TYPE", conflicts_with = "all_events")]
    event: Vec<EventType>,
    /// Subscribe to all types of events, which is the default of a new webhook
    #[arg(long)]
    all_events: bool,
    /// What the webhook is for; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether events are kept for it and sent
    #[arg(long, value_name = "true|false", action = ArgAction::Set)]
    enabled: Option<bool>,
    /// Allow a URL of http, and certificates that are not valid
    #[arg(long, value_name = "true|false", action = ArgAction::Set)]
    allow_insecure_ssl: Option<bool>,
    /// Set the secret that requests are signed with, which is read
    #[arg(long)]
    secret: bool,
    /// The file with the secret; - for stdin
    #[arg(long, value_name = "FILE", requires = "secret")]
    from: Option<PathBuf>,
}

/// Delete a webhook, with what was not delivered to it
#[derive(Args)]
pub(super) struct Delete {
    /// The name of the webhook
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Have a test sent to a webhook, behind what waits for it
#[derive(Args)]
pub(super) struct Ping {
    /// The name of the webhook
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// List what was not delivered to a webhook: what waits, and dead letters
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer webhook deliveries Alerts --url sqlite:orchestrator.db\n  \
performer webhook deliveries Alerts --dead --output csv")]
pub(super) struct Deliveries {
    /// The name of the webhook
    name: String,
    /// Only dead letters, which were given up
    #[arg(long)]
    dead: bool,
    /// The maximum number of deliveries
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = up_to(MAX_DELIVERIES_LISTED))]
    top: usize,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Have dead letters of a webhook sent again: all of them, or these
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer webhook retry Alerts\n  \
performer webhook retry Alerts --delivery 17 --delivery 18")]
pub(super) struct Retry {
    /// The name of the webhook
    name: String,
    /// The number of a dead letter; can be repeated
    #[arg(long, value_name = "ID")]
    delivery: Vec<i64>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Webhooks {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Add(add) => add.run().await,
            Self::Edit(edit) => edit.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Ping(ping) => ping.run().await,
            Self::Deliveries(deliveries) => deliveries.run().await,
            Self::Retry(retry) => retry.run().await,
        }
    }
}

/// The webhooks of a back end, which it has to have.
fn of_back_end(orchestrator: &Arc<dyn Administration>) -> Result<&dyn WebhookAdministration, CliError> {
    orchestrator
        .webhooks()
        .ok_or_else(|| CliError::failed("this back end has no webhooks that performer manages"))
}

/// A webhook with how the sending goes, which the API does not show.
fn as_json(webhook: &Webhook) -> Value {
    let mut object = webhook_response(webhook);
    let progress = &webhook.progress;
    object["IsSigned"] = webhook.has_secret.into();
    object["Delivered"] = progress.delivered.into();
    object["LastDelivered"] = json!(progress.last_delivered.map(|at| at.to_string()));
    object["Failures"] = progress.failures.into();
    object["LastFailed"] = json!(progress.last_failed.map(|at| at.to_string()));
    object["LastError"] = progress.last_error.as_deref().into();
    object
}

const COLUMNS: [Column; 7] = [
    Column::plain("ID"),
    Column::text("NAME"),
    Column::text("URL"),
    Column::plain("ENABLED"),
    Column::plain("DELIVERED"),
    Column::plain("FAILURES"),
    Column::text("LAST ERROR"),
];

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let webhooks = of_back_end(&orchestrator)?.list_webhooks().await?;
        format.print_as(&webhooks, as_json, &COLUMNS, |webhook: &Webhook| {
            vec![
                webhook.id.to_string(),
                webhook.settings.name.clone(),
                webhook.settings.url.clone(),
                webhook.settings.enabled.to_string(),
                webhook.progress.delivered.to_string(),
                webhook.progress.failures.to_string(),
                webhook.progress.last_error.clone().unwrap_or_default(),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Settings {
    fn apply(&self, settings: &mut WebhookSettings) {
        if self.all_events {
            (settings.subscribe_to_all_events, settings.events) = (true, BTreeSet::new());
        } else if !self.event.is_empty() {
            settings.subscribe_to_all_events = false;
            settings.events = self.event.iter().copied().collect();
        }
        if let Some(description) = &self.description {
            settings.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        settings.enabled = self.enabled.unwrap_or(settings.enabled);
        settings.allow_insecure_ssl = self.allow_insecure_ssl.unwrap_or(settings.allow_insecure_ssl);
    }

    fn read_secret(&self) -> Result<Option<performer::secrecy::SecretString>, CliError> {
        self.secret.then(|| read_secret("secret", self.from.as_deref())).transpose()
    }
}

fn tell(webhook: &Webhook, what: &str) -> CommandResult {
    if output::is_json() {
        output::json(&as_json(webhook))?;
    } else {
        output::line(format!("webhook {:?} was {what}", webhook.settings.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Add {
    async fn run(self) -> CommandResult {
        let mut settings = WebhookSettings::new(self.name, self.to);
        self.settings.apply(&mut settings);
        settings.validate()?;
        let orchestrator = self.global.connect().await?;
        let webhooks = of_back_end(&orchestrator)?;
        let secret = self.settings.read_secret()?;
        tell(&webhooks.add_webhook(settings, secret).await?, "added")
    }
}

impl Edit {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let webhooks = of_back_end(&orchestrator)?;
        let mut settings = webhooks.get_webhook(&self.name).await?.settings;
        if let Some(name) = self.rename {
            settings.name = name;
        }
        if let Some(url) = self.to {
            settings.url = url;
        }
        self.settings.apply(&mut settings);
        settings.validate()?;
        let secret = match (self.settings.read_secret()?, self.no_secret) {
            (Some(secret), _) => WebhookSecret::Set(secret),
            (None, true) => WebhookSecret::Remove,
            (None, false) => WebhookSecret::Keep,
        };
        tell(&webhooks.update_webhook(&self.name, settings, secret).await?, "changed")
    }
}

impl Delete {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let webhooks = of_back_end(&orchestrator)?;
        let webhook = webhooks.get_webhook(&self.name).await?;
        webhooks.remove_webhook(&self.name).await?;
        tell(&webhook, "deleted")
    }
}

impl Ping {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let event = of_back_end(&orchestrator)?.send_test(&self.name).await?;
        if output::is_json() {
            output::json(&json!({"EventId": event, "Type": EventType::Ping.name()}))?;
        } else {
            output::line(format!("test {event} waits for webhook {:?}", self.name))?;
            output::remark(
                "a server over the store sends it; performer webhook deliveries shows it until then",
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

const DELIVERY_COLUMNS: [Column; 6] = [
    Column::plain("ID"),
    Column::plain("EVENT"),
    Column::plain("CREATED"),
    Column::plain("STATE"),
    Column::plain("TRIES"),
    Column::text("ERROR"),
];

impl Deliveries {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let state = self.dead.then_some(DeliveryState::Dead);
        let found =
            of_back_end(&orchestrator)?.list_deliveries(&self.name, state, DeliveryId(0), self.top).await?;
        format.print_as(&found, DeliveryDto::from, &DELIVERY_COLUMNS, |delivery: &Delivery| {
            vec![
                delivery.id.to_string(),
                delivery.event_type.to_string(),
                output::time(delivery.created),
                delivery.state.to_string(),
                delivery.tries.to_string(),
                delivery.error.clone().unwrap_or_default(),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Retry {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let which = Some(self.delivery.iter().copied().map(DeliveryId).collect::<Vec<_>>());
        let which = which.filter(|ids| !ids.is_empty());
        let count = of_back_end(&orchestrator)?.retry_deliveries(&self.name, which).await?;
        if output::is_json() {
            output::json(&json!({ "Count": count }))?;
        } else {
            output::line(format!("{count} dead letters are sent again"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
