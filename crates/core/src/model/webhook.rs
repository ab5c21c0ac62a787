//! Webhooks: addresses that are told what happens in a store (orchestrator-api 17).
//!
//! What happens is an event. For each webhook that has subscribed to its type a store keeps a delivery, written in the transaction of the
//! change. A server sends the deliveries of one webhook one after another, in their order; one that fails is sent again later
//! ([`delay_after`]), and is a dead letter in the end ([`Delivery::is_given_up`]).
//!
//! The secret of a webhook is no part of it here: it travels beside it, as a [`SecretString`], and a store keeps it encrypted.

mod event;
mod verdict;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

pub use self::event::{
    EventType, UnknownEventType, WebhookEvent, custom_event, item_value, items_event, job_event, ping_event,
    queue_event, task_event,
};
pub use self::verdict::{Verdict, verdict_of};
use super::audit::FieldChange;
use super::code::ErrorCode;
use super::key::WebhookKey;
use super::refusal::Refusal;
use crate::enumeration;

/// The longest name, in UTF-16 code units.
pub const NAME_LIMIT: usize = 128;
/// The longest URL, in UTF-16 code units.
pub const URL_LIMIT: usize = 2_000;
/// The longest description, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 256;
/// The longest secret, in UTF-16 code units.
pub const SECRET_LIMIT: usize = 100;
/// The most webhooks of a store: each event is kept once for each of them. The limit is ours.
pub const MAX_WEBHOOKS: usize = 50;
/// The most bytes of the data of a custom event. The limit is ours.
pub const CUSTOM_DATA_LIMIT: usize = 1_000_000;

/// The most deliveries of one list, or of one call that sends them again.
pub const MAX_DELIVERIES_LISTED: usize = 1_000;

/// How often a delivery is sent before it is a dead letter.
pub const MAX_TRIES: u32 = 15;
/// A delivery that is older is sent no more, and is a dead letter.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a dead letter is kept.
pub const DEAD_LETTER_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long to wait after the first failure; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// The longest description of a failure that is kept, in characters.
const ERROR_LIMIT: usize = 500;

/// The number of a webhook. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WebhookId(pub i64);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a delivery. Never used again; deliveries are sent in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What people set of a webhook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct WebhookSettings {
    /// Its name, unique, ignoring case.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Where events are sent to.
    pub url: String,
    /// Whether events are kept for it, and sent.
    pub enabled: bool,
    /// Whether the URL may be one of `http`, and whether the certificate of one of `https` is not checked.
    pub allow_insecure_ssl: bool,
    /// Whether it has subscribed to all types of events.
    pub subscribe_to_all_events: bool,
    /// The types it has subscribed to otherwise.
    #[serde(default)]
    pub events: BTreeSet<EventType>,
}

impl WebhookSettings {
    /// An enabled webhook that has subscribed to all events, and checks certificates.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            url: url.into(),
            enabled: true,
            allow_insecure_ssl: false,
            subscribe_to_all_events: true,
            events: BTreeSet::new(),
        }
    }

    /// Checks everything but whether the name is free.
    ///
    /// # Errors
    ///
    /// Code 1009 for what is missing, too long, or not a URL that events can be sent to.
    pub fn validate(&self) -> Result<(), Refusal> {
        check_length("the name of a webhook", &self.name, 1, NAME_LIMIT)?;
        if self.name.trim().is_empty() {
            return Err(invalid("the name of a webhook is empty"));
        }
        check_length(
            "the description of a webhook",
            self.description.as_deref().unwrap_or_default(),
            0,
            DESCRIPTION_LIMIT,
        )?;
        check_length("the URL of a webhook", &self.url, 1, URL_LIMIT)?;
        self.check_url()
    }

    /// Checks what can be checked without resolving a name; the server that sends parses it as a whole.
    fn check_url(&self) -> Result<(), Refusal> {
        let no_url = || invalid("the URL of a webhook is not of the form https://host/path");
        let (scheme, rest) = self.url.split_once("://").ok_or_else(no_url)?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" => {}
            "http" if self.allow_insecure_ssl => {}
            "http" => {
                return Err(invalid(
                    "the URL of a webhook is one of http, which only a webhook with AllowInsecureSsl may have",
                ));
            }
            _ => return Err(no_url()),
        }
        let host = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            let message = "the URL of a webhook has a user name or a password in it; a secret signs its requests instead";
            return Err(invalid(message));
        }
        if host.is_empty() || self.url.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return Err(no_url());
        }
        Ok(())
    }

    /// Whether events of a type are kept for it.
    pub fn wants(&self, kind: EventType) -> bool {
        self.enabled && (self.subscribe_to_all_events || self.events.contains(&kind))
    }
}

/// Checks the secret of a webhook.
///
/// # Errors
///
/// Code 1009 if it is empty or too long.
pub fn validate_secret(secret: &SecretString) -> Result<(), Refusal> {
    check_length("the secret of a webhook", secret.expose_secret(), 1, SECRET_LIMIT)
}

/// What a change does to the secret of a webhook.
#[derive(Clone, Debug)]
pub enum WebhookSecret {
    /// It stays as it is.
    Keep,
    /// It is removed: requests are not signed any more.
    Remove,
    /// It is set.
    Set(SecretString),
}

/// How the sending to a webhook goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Progress {
    /// Rises with everything that a server does for it. A server that has an older one has lost its turn.
    pub version: u64,
    /// A server has its turn until this time.
    #[serde(default)]
    pub turn_until: Option<Timestamp>,
    /// Nothing is sent before this time, because tries have failed.
    #[serde(default)]
    pub due: Option<Timestamp>,
    /// How many tries have failed since the last one that did not.
    #[serde(default)]
    pub failures: u32,
    /// How many events were delivered.
    #[serde(default)]
    pub delivered: u64,
    /// When the last one was.
    #[serde(default)]
    pub last_delivered: Option<Timestamp>,
    /// When a try failed last.
    #[serde(default)]
    pub last_failed: Option<Timestamp>,
    /// Why it did.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// A webhook as reads show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Webhook {
    /// Its number.
    pub id: WebhookId,
    /// Its key.
    pub key: WebhookKey,
    /// What people set.
    #[serde(flatten)]
    pub settings: WebhookSettings,
    /// Whether its requests are signed.
    pub has_secret: bool,
    /// When it was made.
    pub created: Timestamp,
    /// How the sending goes.
    pub progress: Progress,
}

impl Webhook {
    /// A new webhook.
    pub fn new(key: WebhookKey, settings: WebhookSettings, now: Timestamp) -> Self {
        Self {
            id: WebhookId(0),
            key,
            settings,
            has_secret: false,
            created: now,
            progress: Progress::default(),
        }
    }

    /// Whether something may be sent to it now.
    pub fn may_send(&self, now: Timestamp) -> bool {
        let is_over = |at: Option<Timestamp>| at.is_none_or(|at| at <= now);
        self.settings.enabled && is_over(self.progress.turn_until) && is_over(self.progress.due)
    }

    /// A server has its turn, until a time.
    pub fn take(&mut self, until: Timestamp) {
        self.progress.version += 1;
        self.progress.turn_until = Some(until);
    }

    /// Ends a turn in which so many events were delivered.
    pub fn record_delivered(&mut self, count: u64, now: Timestamp) {
        let progress = &mut self.progress;
        progress.version += 1;
        progress.turn_until = None;
        if count > 0 {
            (progress.due, progress.failures) = (None, 0);
            progress.delivered += count;
            progress.last_delivered = Some(now);
        }
    }

    /// Ends a turn with a failure, behind what was delivered in it.
    pub fn record_failure(&mut self, verdict: Verdict, error: &str, now: Timestamp) {
        let progress = &mut self.progress;
        progress.version += 1;
        progress.failures = progress.failures.saturating_add(1);
        progress.last_failed = Some(now);
        progress.last_error = Some(shortened(error));
        progress.due = match verdict {
            // The receiver answers, and the next one may be to its liking.
            Verdict::Refused => None,
            _ => Some(super::stored_time::after(now, delay_after(progress.failures))),
        };
        if verdict == Verdict::Gone {
            self.settings.enabled = false;
        }
    }

    /// The next try is made at once, or when the turn of a server that is sending is over.
    pub fn hurry(&mut self) {
        (self.progress.due, self.progress.failures) = (None, 0);
    }
}

/// How long to wait after this many failures in a row.
pub fn delay_after(failures: u32) -> Duration {
    let doubled = 2u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(doubled).min(LONGEST_DELAY)
}

enumeration! {
    /// What becomes of a delivery. The numbers are ours.
    pub DeliveryState {
        /// It is sent when its turn comes.
        Waiting = 0,
        /// It is a dead letter: it was given up, and is sent again only if somebody asks for it.
        Dead = 1,
    }
}

/// An event that is kept for one webhook until it is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The key of the event, the same for all webhooks: a receiver knows by it what it has received before.
    pub event_id: String,
    /// The type of the event.
    pub event_type: EventType,
    /// When it happened.
    pub created: Timestamp,
    /// What becomes of it.
    pub state: DeliveryState,
    /// Since when it waits, or is a dead letter.
    pub since: Timestamp,
    /// How often it was sent.
    pub tries: u32,
    /// Why the last try failed.
    pub error: Option<String>,
}

impl Delivery {
    /// A delivery that waits since its event, and was not sent yet.
    pub fn stored(
        (id, webhook): (DeliveryId, WebhookId),
        event_id: String,
        event_type: EventType,
        created: Timestamp,
    ) -> Self {
        let state = DeliveryState::Waiting;
        Self { id, webhook, event_id, event_type, created, state, since: created, tries: 0, error: None }
    }

    /// A try failed.
    pub fn record_failure(&mut self, verdict: Verdict, error: &str, now: Timestamp) {
        self.tries = self.tries.saturating_add(1);
        self.error = Some(shortened(error));
        let is_dead = match verdict {
            Verdict::Refused => true,
            Verdict::Again => Self::is_given_up(self.tries, self.since, now),
            // It is sent when the webhook is enabled again.
            Verdict::Delivered | Verdict::Gone => false,
        };
        if is_dead {
            (self.state, self.since) = (DeliveryState::Dead, now);
        }
    }

    /// A dead letter is sent again, as if it had never been sent.
    pub fn revive(&mut self, now: Timestamp) {
        (self.state, self.since, self.tries) = (DeliveryState::Waiting, now, 0);
    }

    /// Whether it is given up, after this many tries.
    pub fn is_given_up(tries: u32, since: Timestamp, now: Timestamp) -> bool {
        tries >= MAX_TRIES || now >= super::stored_time::after(since, MAX_AGE)
    }
}

/// A description of a failure as it is kept.
pub fn shortened(error: &str) -> String {
    error.chars().filter(|letter| *letter != '\0').take(ERROR_LIMIT).collect()
}

/// What differs between two states of a webhook. `secret_changed`: whether its secret was set or removed, which is not kept.
pub fn webhook_changes(
    before: Option<&WebhookSettings>,
    after: Option<&WebhookSettings>,
    secret_changed: bool,
) -> Vec<FieldChange> {
    let fields = |settings: Option<&WebhookSettings>| match settings.map(serde_json::to_value) {
        Some(Ok(serde_json::Value::Object(fields))) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes: Vec<FieldChange> = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| FieldChange::new(name, before.get(name).cloned(), after.get(name).cloned()))
        .collect();
    if secret_changed {
        changes.push(FieldChange::without_values("Secret"));
    }
    changes
}

fn check_length(what: &str, text: &str, least: usize, most: usize) -> Result<(), Refusal> {
    let length = text.encode_utf16().count();
    if (least..=most).contains(&length) {
        return Ok(());
    }
    Err(invalid(format!("{what} has {length} characters; it should be {least} to {most}")))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
}

#[cfg(test)]
mod tests;
