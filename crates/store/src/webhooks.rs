//! Webhooks: what a store keeps of them, and of what is to be delivered. What a webhook is says [`performer_core::model::webhook`].
//! Over 500 lines, because the life of a delivery is to be read in one place.
//!
//!
//! An event is written once for each webhook that has subscribed to it, in the transaction of the change (`apply/webhooks.rs`). A server
//! takes the turn of a webhook for some seconds, sends what it got, and says what became of it. The turn is a guarded write, so several
//! servers over one store do not send the same at the same time; if one of them ends in the middle, its turn ends by itself, and
//! another one sends what was not said to be delivered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Store;
use super::assets::{MOST_KEYS, is_stale_key};
use super::backend::{Answer, Operation, Query, expect_answer};
use super::encryption::{KeyId, SealedSecret};
use performer_core::model::Refusal;
use performer_core::model::clock::Clock as _;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{KeyMaker, WebhookKey};
use performer_core::model::webhook::{
    CUSTOM_DATA_LIMIT, Delivery, DeliveryId, DeliveryState, EventType, MAX_DELIVERIES_LISTED, Verdict,
    Webhook, WebhookEvent, WebhookId, WebhookSecret, WebhookSettings, validate_secret,
};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result, WebhookAdministration};

/// How many deliveries a server gets with a turn.
pub(crate) const TAKEN_AT_ONCE: usize = 20;

/// How many dead letters one commit removes.
const REMOVED_AT_ONCE: usize = 200;

/// How soon a webhook that another process has made, changed or deleted holds in this one.
const SUBSCRIPTIONS_HOLD: Duration = Duration::from_secs(1);

/// A webhook of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookSelector {
    /// By its name, ignoring case.
    Name(String),
    /// By its number.
    Id(WebhookId),
}

/// As [`WebhookSecret`], with the secret as it is stored.
#[derive(Clone, Debug)]
pub(crate) enum SealedChange {
    Keep,
    Remove,
    Set(SealedSecret),
}

/// A try that failed.
#[derive(Clone, Debug)]
pub struct FailedDelivery {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// What follows from the answer.
    pub verdict: Verdict,
    /// What happened, for people.
    pub error: String,
}

/// A change of webhooks, or of what is to be delivered.
#[derive(Clone, Debug)]
pub(crate) enum WebhookOperation {
    Create {
        key: WebhookKey,
        settings: WebhookSettings,
        secret: SealedChange,
    },
    Replace {
        id: WebhookId,
        settings: WebhookSettings,
        secret: SealedChange,
    },
    Delete(WebhookId),
    Ping(WebhookId),
    Trigger(Map<String, Value>),
    /// Takes the turn of a webhook that has this version.
    Take {
        id: WebhookId,
        version: u64,
        turn: Duration,
    },
    /// Says what became of the deliveries of a turn.
    Settle {
        id: WebhookId,
        version: u64,
        delivered: Vec<DeliveryId>,
        failed: Option<FailedDelivery>,
    },
    /// Sends dead letters again; `None`: all of the webhook, as many as one call may.
    Retry {
        id: WebhookId,
        which: Option<Vec<DeliveryId>>,
    },
    /// Removes old dead letters, and deliveries of webhooks that are gone.
    Remove {
        limit: usize,
    },
    /// Replaces a secret by the same one under another key, if it is still what it was.
    Reseal {
        id: WebhookId,
        was: SealedSecret,
        by: SealedSecret,
    },
}

impl WebhookOperation {
    /// Whether it is a change that people make, or should know of.
    pub(crate) fn is_audited(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Replace { .. } | Self::Delete(_) | Self::Retry { .. } => true,
            Self::Settle { failed, .. } => {
                failed.as_ref().is_some_and(|failed| failed.verdict == Verdict::Gone)
            }
            _ => false,
        }
    }
}

/// Which deliveries of a webhook are listed, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListDeliveries {
    pub(crate) webhook: WebhookId,
    pub(crate) state: Option<DeliveryState>,
    pub(crate) after: DeliveryId,
    pub(crate) limit: usize,
}

/// A question about webhooks.
#[derive(Debug)]
pub(crate) enum WebhookQuery {
    One(WebhookSelector),
    All,
    /// Those to which something may be sent at a time.
    Due(Timestamp),
    Deliveries(ListDeliveries),
    Secrets,
}

/// The answer to either.
#[derive(Debug)]
pub(crate) enum WebhookAnswer {
    One(Box<Webhook>),
    Many(Vec<Webhook>),
    Event(Box<WebhookEvent>),
    Turn(Option<Box<SealedTurn>>),
    Deliveries(Vec<Delivery>),
    Secrets(Vec<(Webhook, SealedSecret)>),
    Count(u64),
    Done,
}

/// What a turn is about, with the secret as it is stored.
#[derive(Debug)]
pub(crate) struct SealedTurn {
    pub(crate) webhook: Webhook,
    pub(crate) secret: Option<SealedSecret>,
    pub(crate) deliveries: Vec<(Delivery, String)>,
}

/// The turn of a server to send to a webhook.
#[derive(Debug)]
pub struct WebhookTurn {
    /// The webhook, as it is since the turn was taken.
    pub webhook: Webhook,
    /// What its requests are signed with.
    pub secret: Option<SecretString>,
    /// What is to be sent, in this order.
    pub deliveries: Vec<(Delivery, WebhookEvent)>,
}

/// What a back end does about webhooks, inside the one transaction that is open.
pub(crate) trait WebhookRows {
    /// Keeps other transactions from making or changing webhooks until this one ends, if several can write.
    fn lock_webhooks(&mut self) -> Result<()>;
    /// Keeps other transactions from adding deliveries until this one ends, so that their numbers are in the order of the commits.
    fn lock_deliveries(&mut self) -> Result<()>;
    fn insert_webhook(&mut self, webhook: &Webhook) -> Result<WebhookId>;
    fn write_webhook(&mut self, webhook: &Webhook) -> Result<()>;
    /// Removes a webhook with its secret and its deliveries.
    fn delete_webhook(&mut self, id: WebhookId) -> Result<()>;
    /// A webhook that is to change. No other transaction changes it until this one ends.
    fn webhook_to_change(&mut self, id: WebhookId) -> Result<Option<Webhook>>;
    /// All, by number. One that cannot be read is left out.
    fn webhooks(&mut self) -> Result<Vec<Webhook>>;
    /// Those for which something waits.
    fn webhooks_with_deliveries(&mut self) -> Result<Vec<WebhookId>>;
    fn webhook_secret(&mut self, id: WebhookId) -> Result<Option<SealedSecret>>;
    fn write_webhook_secret(&mut self, id: WebhookId, secret: Option<&SealedSecret>) -> Result<()>;
    /// Adds a delivery that waits; `document` is the event as JSON.
    fn insert_delivery(&mut self, webhook: WebhookId, event: &WebhookEvent, document: &str) -> Result<()>;
    /// The first deliveries that wait, with their documents.
    fn next_deliveries(&mut self, webhook: WebhookId, limit: usize) -> Result<Vec<(Delivery, String)>>;
    fn deliveries(&mut self, ask: &ListDeliveries) -> Result<Vec<Delivery>>;
    fn delivery(&mut self, id: DeliveryId) -> Result<Option<Delivery>>;
    /// Writes what became of a delivery.
    fn write_delivery(&mut self, delivery: &Delivery) -> Result<()>;
    fn delete_deliveries(&mut self, ids: &[DeliveryId]) -> Result<()>;
    /// Dead letters from before a time, and deliveries of webhooks that are gone.
    fn superfluous_deliveries(&mut self, before: Timestamp, limit: usize) -> Result<Vec<DeliveryId>>;
}

/// Which webhooks have subscribed to what.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Vec<(WebhookId, WebhookSettings)>);

impl Subscriptions {
    pub(crate) fn of(webhooks: Vec<Webhook>) -> Self {
        let enabled = webhooks.into_iter().filter(|webhook| webhook.settings.enabled);
        Self(enabled.map(|webhook| (webhook.id, webhook.settings)).collect())
    }

    /// Whether there is no webhook that could want to know of anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any webhook wants to know of this.
    pub(crate) fn wants(&self, kind: EventType) -> bool {
        self.0.iter().any(|(_, settings)| settings.wants(kind))
    }

    /// The webhooks that want to know of this.
    pub(crate) fn to(&self, kind: EventType) -> impl Iterator<Item = WebhookId> {
        self.0.iter().filter(move |(_, settings)| settings.wants(kind)).map(|(id, _)| *id)
    }
}

/// The subscriptions as all writers of this process know them, and since when by the monotone clock.
#[derive(Debug, Default)]
pub(crate) struct KnownSubscriptions(Mutex<Option<(Duration, Arc<Subscriptions>)>>);

impl KnownSubscriptions {
    /// `None`: they have to be read again, because another process may have changed them.
    pub(crate) fn get(&self, elapsed: Duration) -> Option<Arc<Subscriptions>> {
        let known = self.known();
        let (since, subscriptions) = known.as_ref()?;
        (elapsed < *since + SUBSCRIPTIONS_HOLD).then(|| subscriptions.clone())
    }

    pub(crate) fn keep(&self, elapsed: Duration, subscriptions: Arc<Subscriptions>) {
        *self.known() = Some((elapsed, subscriptions));
    }

    /// This process has changed them.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    fn known(&self) -> MutexGuard<'_, Option<(Duration, Arc<Subscriptions>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place that the secret of a webhook is bound to.
fn place(webhook: WebhookKey) -> String {
    format!("webhook {webhook}")
}

impl Store {
    /// All webhooks, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>> {
        self.many_webhooks(WebhookQuery::All).await
    }

    /// A webhook.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn webhook(&self, which: WebhookSelector) -> Result<Webhook> {
        one(self.ask_webhooks(WebhookQuery::One(which)).await?)
    }

    /// Makes a webhook. Programs that have the store open tell it what happens within a second.
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 for settings that are not allowed; Conflict with code 1001 if the name is used; as for assets if the secret
    /// cannot be encrypted.
    pub async fn create_webhook(
        &self,
        settings: WebhookSettings,
        secret: Option<SecretString>,
    ) -> Result<Webhook> {
        settings.validate()?;
        let key = KeyMaker::new().webhook(self.clock.now());
        let secret = secret.map_or(WebhookSecret::Keep, WebhookSecret::Set);
        self.change_webhook(key, secret, |secret| WebhookOperation::Create {
            key,
            settings: settings.clone(),
            secret,
        })
        .await
    }

    /// Replaces the settings of a webhook.
    ///
    /// # Errors
    ///
    /// As [`create_webhook`](Self::create_webhook); NotFound with code 1002.
    pub async fn replace_webhook(
        &self,
        id: WebhookId,
        settings: WebhookSettings,
        secret: WebhookSecret,
    ) -> Result<Webhook> {
        settings.validate()?;
        let key = self.webhook(WebhookSelector::Id(id)).await?.key;
        self.change_webhook(key, secret, |secret| WebhookOperation::Replace {
            id,
            settings: settings.clone(),
            secret,
        })
        .await
    }

    /// Deletes a webhook, with what was not delivered to it.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<()> {
        self.do_to_webhooks(WebhookOperation::Delete(id)).await.map(drop)
    }

    /// Has a test sent to a webhook, whatever it has subscribed to, behind what waits for it.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Invalid with code 1009 if it is disabled.
    pub async fn ping_webhook(&self, id: WebhookId) -> Result<WebhookEvent> {
        event(self.do_to_webhooks(WebhookOperation::Ping(id)).await?)
    }

    /// Raises an event of the type `custom` with the caller's data.
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 for more than [`CUSTOM_DATA_LIMIT`] bytes.
    pub async fn trigger_webhooks(&self, data: Map<String, Value>) -> Result<WebhookEvent> {
        let length = Value::from(data.clone()).to_string().len();
        if length > CUSTOM_DATA_LIMIT {
            let message =
                format!("the data of the event have {length} bytes; at most {CUSTOM_DATA_LIMIT} are sent");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        event(self.do_to_webhooks(WebhookOperation::Trigger(data)).await?)
    }

    /// What was not delivered to a webhook, by number, from behind a number on; at most [`MAX_DELIVERIES_LISTED`].
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn webhook_deliveries(
        &self,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        after: DeliveryId,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let limit = limit.min(MAX_DELIVERIES_LISTED);
        let ask = ListDeliveries { webhook, state, after, limit };
        match self.ask_webhooks(WebhookQuery::Deliveries(ask)).await? {
            WebhookAnswer::Deliveries(deliveries) => Ok(deliveries),
            other => Err(unexpected(&other)),
        }
    }

    /// Has dead letters of a webhook sent again, in their places, and returns how many; `None`: all, up to
    /// [`MAX_DELIVERIES_LISTED`] with one call.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002 for a webhook, or a delivery that is none of its dead letters.
    pub async fn retry_webhook_deliveries(
        &self,
        id: WebhookId,
        which: Option<Vec<DeliveryId>>,
    ) -> Result<u64> {
        count(self.do_to_webhooks(WebhookOperation::Retry { id, which }).await?)
    }

    /// The webhooks to which something may be sent now.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    #[doc(hidden)]
    pub async fn due_webhooks(&self) -> Result<Vec<Webhook>> {
        self.many_webhooks(WebhookQuery::Due(self.clock.now())).await
    }

    /// Takes the turn of a webhook that has this version, for a time. `None`: another server was faster, or there is nothing to send.
    ///
    /// # Errors
    ///
    /// NotFound; Other if its secret cannot be decrypted; Unavailable if the store is unavailable.
    #[doc(hidden)]
    pub async fn take_webhook_turn(
        &self,
        id: WebhookId,
        version: u64,
        turn: Duration,
    ) -> Result<Option<WebhookTurn>> {
        let answer = self.do_to_webhooks(WebhookOperation::Take { id, version, turn }).await?;
        let WebhookAnswer::Turn(taken) = answer else { return Err(unexpected(&answer)) };
        let Some(taken) = taken else { return Ok(None) };
        let SealedTurn { webhook, secret, deliveries } = *taken;
        let open = |sealed| self.encryption.open(&place(webhook.key), &sealed);
        let secret = secret.map(open).transpose()?;
        let read = |(delivery, document): (Delivery, String)| match serde_json::from_str(&document) {
            Ok(event) => Ok((delivery, event)),
            Err(error) => {
                let message = format!("delivery {} cannot be read", delivery.id);
                Err(OrchestratorError::new(ErrorKind::Other, message).with_source(error))
            }
        };
        let deliveries = deliveries.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Some(WebhookTurn { webhook, secret, deliveries }))
    }

    /// Ends a turn: says what was delivered, and what failed.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    #[doc(hidden)]
    pub async fn settle_webhook_turn(
        &self,
        id: WebhookId,
        version: u64,
        delivered: Vec<DeliveryId>,
        failed: Option<FailedDelivery>,
    ) -> Result<()> {
        self.do_to_webhooks(WebhookOperation::Settle { id, version, delivered, failed }).await.map(drop)
    }

    /// Removes dead letters after seven days. Returns how many. `pause` is awaited between the chunks. A server does this by itself.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    #[doc(hidden)]
    pub async fn remove_old_deliveries(&self, pause: impl AsyncFn()) -> Result<u64> {
        let mut removed = 0;
        loop {
            let chunk =
                count(self.do_to_webhooks(WebhookOperation::Remove { limit: REMOVED_AT_ONCE }).await?)?;
            removed += chunk;
            if chunk == 0 {
                return Ok(removed);
            }
            pause().await;
        }
    }

    /// Encrypts the secrets of webhooks that are encrypted with other keys. Returns how many were, and which could not be.
    pub(crate) async fn encrypt_webhooks_anew(&self, new: &KeyId) -> Result<(u64, Vec<(String, String)>)> {
        let (mut encrypted, mut left) = (0, Vec::new());
        for (webhook, was) in self.secrets_of_webhooks().await? {
            if was.key == *new {
                continue;
            }
            let place = place(webhook.key);
            let opened = self.encryption.open(&place, &was);
            match opened.and_then(|secret| self.encryption.seal(Some(new), &place, &secret)) {
                Ok(by) => {
                    self.do_to_webhooks(WebhookOperation::Reseal { id: webhook.id, was, by }).await?;
                    encrypted += 1;
                }
                Err(error) => left.push((format!("webhook {}", webhook.id), error.to_string())),
            }
        }
        Ok((encrypted, left))
    }

    /// The secrets of all webhooks as they are stored.
    pub(crate) async fn secrets_of_webhooks(&self) -> Result<Vec<(Webhook, SealedSecret)>> {
        match self.ask_webhooks(WebhookQuery::Secrets).await? {
            WebhookAnswer::Secrets(secrets) => Ok(secrets),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a change with a secret, again if the key that secrets are encrypted with was replaced meanwhile.
    async fn change_webhook(
        &self,
        key: WebhookKey,
        secret: WebhookSecret,
        change: impl Fn(SealedChange) -> WebhookOperation + Send + Sync,
    ) -> Result<Webhook> {
        if let WebhookSecret::Set(secret) = &secret {
            validate_secret(secret)?;
        }
        let mut tries = 0;
        loop {
            let sealed = match &secret {
                WebhookSecret::Keep => SealedChange::Keep,
                WebhookSecret::Remove => SealedChange::Remove,
                WebhookSecret::Set(secret) => {
                    let current = self.current_key().await?;
                    SealedChange::Set(self.encryption.seal(current.as_ref(), &place(key), secret)?)
                }
            };
            tries += 1;
            match self.do_to_webhooks(change(sealed)).await {
                Err(error) if is_stale_key(&error) && tries < MOST_KEYS => {}
                changed => return one(changed?),
            }
        }
    }

    async fn many_webhooks(&self, query: WebhookQuery) -> Result<Vec<Webhook>> {
        match self.ask_webhooks(query).await? {
            WebhookAnswer::Many(webhooks) => Ok(webhooks),
            other => Err(unexpected(&other)),
        }
    }

    async fn do_to_webhooks(&self, operation: WebhookOperation) -> Result<WebhookAnswer> {
        expect_answer!(self.one(Operation::Webhooks(Box::new(operation))).await, Webhook)
    }

    async fn ask_webhooks(&self, query: WebhookQuery) -> Result<WebhookAnswer> {
        expect_answer!(self.read(Query::Webhooks(query)).await, Webhook)
    }
}

#[async_trait]
impl WebhookAdministration for Store {
    async fn list_webhooks(&self) -> Result<Vec<Webhook>> {
        self.webhooks().await
    }

    async fn get_webhook(&self, name: &str) -> Result<Webhook> {
        self.webhook(WebhookSelector::Name(name.to_owned())).await
    }

    async fn add_webhook(&self, settings: WebhookSettings, secret: Option<SecretString>) -> Result<Webhook> {
        self.create_webhook(settings, secret).await
    }

    async fn update_webhook(
        &self,
        name: &str,
        settings: WebhookSettings,
        secret: WebhookSecret,
    ) -> Result<Webhook> {
        let id = self.get_webhook(name).await?.id;
        self.replace_webhook(id, settings, secret).await
    }

    async fn remove_webhook(&self, name: &str) -> Result<()> {
        self.delete_webhook(self.get_webhook(name).await?.id).await
    }

    async fn send_test(&self, name: &str) -> Result<String> {
        Ok(self.ping_webhook(self.get_webhook(name).await?.id).await?.event_id)
    }

    async fn list_deliveries(
        &self,
        name: &str,
        state: Option<DeliveryState>,
        after: DeliveryId,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        self.webhook_deliveries(self.get_webhook(name).await?.id, state, after, limit).await
    }

    async fn retry_deliveries(&self, name: &str, which: Option<Vec<DeliveryId>>) -> Result<u64> {
        self.retry_webhook_deliveries(self.get_webhook(name).await?.id, which).await
    }
}

fn one(answer: WebhookAnswer) -> Result<Webhook> {
    match answer {
        WebhookAnswer::One(webhook) => Ok(*webhook),
        other => Err(unexpected(&other)),
    }
}

fn event(answer: WebhookAnswer) -> Result<WebhookEvent> {
    match answer {
        WebhookAnswer::Event(event) => Ok(*event),
        other => Err(unexpected(&other)),
    }
}

fn count(answer: WebhookAnswer) -> Result<u64> {
    match answer {
        WebhookAnswer::Count(count) => Ok(count),
        other => Err(unexpected(&other)),
    }
}

/// Each question has one kind of answer; another one is a bug of this crate.
fn unexpected(answer: &WebhookAnswer) -> OrchestratorError {
    let message = format!("the store answered {answer:?} to a question about webhooks");
    OrchestratorError::new(ErrorKind::Other, message)
}

impl From<WebhookAnswer> for Answer {
    fn from(answer: WebhookAnswer) -> Self {
        Self::Webhook(answer)
    }
}
