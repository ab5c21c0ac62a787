//! Changes of webhooks, questions about them, and what is kept to be delivered to them.
//! Over 500 lines, because what is collected, written and read again of an event is to be compared.
//!
//!
//! What happens is collected while a batch is applied, if a webhook has subscribed to it, and written at its end, so that the lock that
//! keeps the numbers of deliveries in the order of the commits is held only for the commit.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::backend::{Answer, Scope};
use super::super::rows::Rows;
use super::super::webhooks::{
    FailedDelivery, SealedChange, SealedTurn, Subscriptions, TAKEN_AT_ONCE, WebhookAnswer, WebhookOperation,
    WebhookQuery, WebhookSelector,
};
use super::{Applied, Apply, ApplyError};
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::item::QueueItem;
use performer_core::model::job::{Job, JobState};
use performer_core::model::key::{ItemId, QueueId, WebhookKey};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::personal::PersonalFields;
use performer_core::model::queue::{QueueDefinition, folded};
use performer_core::model::result::Outcome;
use performer_core::model::status::Status;
use performer_core::model::stored_time::{after, stored};
use performer_core::model::webhook::{
    DEAD_LETTER_KEPT, Delivery, DeliveryId, DeliveryState, EventType, MAX_WEBHOOKS, Verdict, Webhook,
    WebhookEvent, WebhookId, WebhookSettings, custom_event, item_value, items_event, job_event, ping_event,
    queue_event, webhook_changes,
};
use performer_core::orchestrator::{OrchestratorError, Result};

/// The most items of one event, and the most bytes of their contents unless it is about one.
const ITEMS_OF_EVENT: usize = 100;
const CONTENTS_OF_EVENT: usize = 1_000_000;

/// What happened in a batch that webhooks have subscribed to.
#[derive(Debug, Default)]
pub(super) struct PendingEvents {
    subscriptions: Arc<Subscriptions>,
    events: Vec<PendingEvent>,
    /// Webhooks were changed: what this process knows of subscriptions is to be read again.
    pub(super) webhooks_changed: bool,
}

impl PendingEvents {
    pub(super) fn new(subscriptions: Arc<Subscriptions>) -> Self {
        Self { subscriptions, ..Self::default() }
    }
}

#[derive(Debug)]
struct PendingEvent {
    kind: EventType,
    scope: Scope,
    about: About,
}

#[derive(Debug)]
enum About {
    /// An item as it was then; `None`: as it is when the transaction ends.
    Item(QueueId, ItemId, Option<Box<QueueItem>>),
    Queue(Box<QueueDefinition>),
    Job(Box<Job>),
    /// An event for one webhook, or for all that want it.
    Made(Box<WebhookEvent>, Option<WebhookId>),
}

/// What a change of an item is to webhooks.
fn kind_of(before: &ItemState, after: &ItemState) -> Option<EventType> {
    if before.status == Status::InProgress && after.status.is_final() && after.status != Status::Deleted {
        return Some(match after.outcome {
            Some(Outcome::Successful) => EventType::ItemCompleted,
            Some(Outcome::Abandoned) => EventType::ItemAbandoned,
            _ => EventType::ItemFailed,
        });
    }
    match (before.status, after.status) {
        (Status::Deleted, _) => None,
        (_, Status::Deleted) => Some(EventType::ItemDeleted),
        (Status::InProgress, Status::InProgress) => None, // progress
        (Status::InProgress, Status::New) if after.defer_date != before.defer_date => {
            Some(EventType::ItemDeferred)
        }
        (Status::InProgress, Status::New) => None,
        (_, Status::InProgress) => Some(EventType::ItemStarted),
        _ if before.review_status != after.review_status => Some(EventType::ItemReviewed),
        _ if (before.priority, before.due_date, before.defer_date)
            != (after.priority, after.due_date, after.defer_date) =>
        {
            Some(EventType::ItemUpdated)
        }
        _ => None,
    }
}

impl<R: Rows> Apply<'_, R> {
    // What happens

    /// Whether a webhook wants to know of this: asked before anything is done for it.
    pub(super) fn is_told(&self, kind: EventType) -> bool {
        self.events.subscriptions.wants(kind)
    }

    /// What happened to an item, as it is when the transaction ends.
    pub(super) fn tell_item(&mut self, kind: EventType, queue: QueueId, id: ItemId) {
        if self.is_told(kind) {
            self.tell(kind, About::Item(queue, id, None));
        }
    }

    /// What happened to an item, as it is now.
    pub(super) fn tell_item_now(&mut self, kind: EventType, item: &QueueItem) {
        if self.is_told(kind) {
            self.tell(kind, About::Item(item.queue_id, item.id, Some(Box::new(item.clone()))));
        }
    }

    /// An event that is told to all that want it.
    pub(super) fn tell_made(&mut self, event: WebhookEvent) {
        self.tell(event.kind, About::Made(Box::new(event), None));
    }

    /// The change of an item.
    pub(super) fn tell_change(&mut self, queue: QueueId, id: ItemId, before: &ItemState, after: &ItemState) {
        if !self.events.subscriptions.is_empty()
            && let Some(kind) = kind_of(before, after)
        {
            self.tell_item(kind, queue, id);
        }
    }

    /// What happened to a queue.
    pub(super) fn tell_queue(&mut self, kind: EventType, queue: &QueueDefinition) {
        if self.is_told(kind) {
            self.tell(kind, About::Queue(Box::new(queue.clone())));
        }
    }

    /// What state a job has now.
    pub(super) fn tell_job(&mut self, job: &Job) {
        let kind = match job.state {
            JobState::Running => EventType::JobStarted,
            JobState::Stopping => EventType::JobStopping,
            JobState::Terminating => EventType::JobTerminating,
            JobState::Faulted => EventType::JobFaulted,
            JobState::Successful => EventType::JobCompleted,
            JobState::Stopped => EventType::JobStopped,
            JobState::Pending | JobState::Suspended | JobState::Resumed => return,
        };
        if self.is_told(kind) {
            self.tell(kind, About::Job(Box::new(job.clone())));
        }
    }

    fn tell(&mut self, kind: EventType, about: About) {
        self.events.events.push(PendingEvent { kind, scope: self.scope, about });
    }

    /// Writes what is to be delivered because of this batch.
    pub(super) fn write_events(&mut self) -> Result<()> {
        if self.events.events.is_empty() {
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.events.events).into_iter().peekable();
        let mut ready = Vec::new();
        while let Some(PendingEvent { kind, scope, about }) = events.next() {
            match about {
                About::Made(event, only) => ready.push((*event, only)),
                About::Queue(queue) => {
                    let event = queue_event(kind, self.event_id(), stored(self.now), &queue);
                    ready.push((event.by(scope.folder, scope.user), None));
                }
                About::Job(job) => {
                    let event = job_event(kind, self.event_id(), stored(self.now), &job);
                    ready.push((event.by(job.folder, scope.user), None));
                }
                About::Item(queue, id, item) => {
                    let mut items = vec![(id, item)];
                    let is_alike = |other: &PendingEvent| {
                        other.kind == kind
                            && other.scope.user == scope.user
                            && matches!(&other.about, About::Item(of, ..) if *of == queue)
                    };
                    while kind.is_about_many_items() && items.len() < ITEMS_OF_EVENT {
                        let Some(PendingEvent { about: About::Item(_, id, item), .. }) =
                            events.next_if(is_alike)
                        else {
                            break;
                        };
                        items.push((id, item));
                    }
                    self.make_item_events(kind, scope, queue, items, &mut ready)?;
                }
            }
        }
        self.rows.lock_deliveries()?;
        for (event, only) in ready {
            let document = serde_json::to_string(&event)
                .map_err(|error| OrchestratorError::invalid(error.to_string()))?;
            let subscriptions = self.events.subscriptions.clone();
            let all = subscriptions.to(event.kind).filter(|_| only.is_none());
            for webhook in all.chain(only) {
                self.rows.insert_delivery(webhook, &event, &document)?;
            }
        }
        crash_point!("webhooks.after_write");
        Ok(())
    }

    /// The events about items of a queue, one for each folder that it is in. Personal fields are masked: who receives them is not
    /// known here.
    fn make_item_events(
        &mut self,
        kind: EventType,
        scope: Scope,
        queue: QueueId,
        items: Vec<(ItemId, Option<Box<QueueItem>>)>,
        ready: &mut Vec<(WebhookEvent, Option<WebhookId>)>,
    ) -> Result<()> {
        // Everything of a deleted queue is gone; that it was deleted is an event of its own.
        let Some(queue) = self.rows.queue(queue)? else { return Ok(()) };
        let personal = PersonalFields::of(&queue.schemas);
        let (mut events, mut values, mut bytes) = (Vec::new(), Vec::with_capacity(items.len()), 0);
        for (id, item) in items {
            let item = match item {
                Some(item) => Some(*item),
                None => self.item_to_tell(id)?,
            };
            if let Some(mut item) = item {
                personal.mask_item(&mut item);
                bytes += item.specific_content.as_json().len();
                if bytes > CONTENTS_OF_EVENT && !values.is_empty() {
                    events.push(std::mem::take(&mut values));
                    bytes = item.specific_content.as_json().len();
                }
                values.push(item_value(&item));
            }
        }
        events.extend(Some(values).filter(|values| !values.is_empty()));
        for values in events {
            for folder in &queue.folders {
                let event = items_event(kind, self.event_id(), stored(self.now), &queue, &values);
                ready.push((event.by(*folder, scope.user), None));
            }
        }
        Ok(())
    }

    /// An item that cannot be read is left out: nobody's result fails because of a webhook.
    fn item_to_tell(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        let read = self.rows.item(id).map_err(ApplyError::Failed);
        match self.unless_unreadable(id, read) {
            Ok(item) => Ok(item.flatten()),
            Err(ApplyError::Refused(error) | ApplyError::Failed(error)) => Err(error),
        }
    }

    pub(super) fn event_id(&mut self) -> String {
        let now = self.now;
        self.rows.keys().event(now)
    }

    // Webhooks

    pub(super) fn change_webhooks(&mut self, operation: WebhookOperation) -> Applied {
        let answer = match operation {
            WebhookOperation::Create { key, settings, secret } => {
                self.create_webhook(key, settings, &secret)?
            }
            WebhookOperation::Replace { id, settings, secret } => {
                self.replace_webhook(id, settings, &secret)?
            }
            WebhookOperation::Delete(id) => self.delete_webhook(id)?,
            WebhookOperation::Ping(id) => self.ping_webhook(id)?,
            WebhookOperation::Trigger(data) => {
                let event = custom_event(self.event_id(), stored(self.now), data);
                let event = event.by(None, self.scope.user);
                self.tell(EventType::Custom, About::Made(Box::new(event.clone()), None));
                WebhookAnswer::Event(Box::new(event))
            }
            WebhookOperation::Take { id, version, turn } => self.take_turn(id, version, turn)?,
            WebhookOperation::Settle { id, version, delivered, failed } => {
                self.settle_turn(id, version, &delivered, failed)?
            }
            WebhookOperation::Retry { id, which } => self.retry_deliveries(id, which)?,
            WebhookOperation::Remove { limit } => self.remove_deliveries(limit)?,
            WebhookOperation::Reseal { id, was, by } => {
                self.rows.lock_assets()?;
                if self.rows.webhook_secret(id)?.as_ref() == Some(&was) {
                    self.rows.write_webhook_secret(id, Some(&by))?;
                }
                WebhookAnswer::Done
            }
        };
        Ok(answer.into())
    }

    fn create_webhook(
        &mut self,
        key: WebhookKey,
        settings: WebhookSettings,
        secret: &SealedChange,
    ) -> Applied<WebhookAnswer> {
        self.rows.lock_webhooks()?;
        self.check_webhook_name(&settings.name, None)?;
        self.check_secret(secret)?;
        let mut webhook = Webhook::new(key, settings, stored(self.now));
        webhook.has_secret = matches!(secret, SealedChange::Set(_));
        webhook.id = self.rows.insert_webhook(&webhook)?;
        self.write_secret_of(webhook.id, secret)?;
        self.note_webhook(Act::WebhookCreated, None, Some(&webhook), webhook.has_secret);
        Ok(WebhookAnswer::One(Box::new(webhook)))
    }

    fn replace_webhook(
        &mut self,
        id: WebhookId,
        settings: WebhookSettings,
        secret: &SealedChange,
    ) -> Applied<WebhookAnswer> {
        self.rows.lock_webhooks()?;
        let before = self.webhook_to_change(id)?;
        self.check_webhook_name(&settings.name, Some(id))?;
        self.check_secret(secret)?;
        let mut webhook = before.clone();
        if settings.enabled && !before.settings.enabled || settings.url != before.settings.url {
            webhook.hurry();
        }
        webhook.settings = settings;
        webhook.has_secret = match secret {
            SealedChange::Keep => before.has_secret,
            SealedChange::Remove => false,
            SealedChange::Set(_) => true,
        };
        self.rows.write_webhook(&webhook)?;
        self.write_secret_of(id, secret)?;
        let secret_changed =
            matches!(secret, SealedChange::Set(_)) || before.has_secret != webhook.has_secret;
        self.note_webhook(Act::WebhookEdited, Some(&before), Some(&webhook), secret_changed);
        Ok(WebhookAnswer::One(Box::new(webhook)))
    }

    fn delete_webhook(&mut self, id: WebhookId) -> Applied<WebhookAnswer> {
        self.rows.lock_webhooks()?;
        let webhook = self.webhook_to_change(id)?;
        self.rows.delete_webhook(id)?;
        self.note_webhook(Act::WebhookDeleted, Some(&webhook), None, false);
        Ok(WebhookAnswer::Done)
    }

    fn ping_webhook(&mut self, id: WebhookId) -> Applied<WebhookAnswer> {
        let webhook = self.webhook_to_change(id)?;
        if !webhook.settings.enabled {
            let message = format!("webhook {:?} is disabled: nothing is sent to it", webhook.settings.name);
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let event = ping_event(self.event_id(), stored(self.now)).by(None, self.scope.user);
        self.tell(EventType::Ping, About::Made(Box::new(event.clone()), Some(id)));
        Ok(WebhookAnswer::Event(Box::new(event)))
    }

    fn webhook_to_change(&mut self, id: WebhookId) -> Applied<Webhook> {
        self.rows.webhook_to_change(id)?.ok_or_else(|| ApplyError::Refused(no_webhook(id)))
    }

    fn check_webhook_name(&mut self, name: &str, except: Option<WebhookId>) -> Applied<()> {
        let webhooks = self.rows.webhooks()?;
        if except.is_none() && webhooks.len() >= MAX_WEBHOOKS {
            let message = format!("the store has {MAX_WEBHOOKS} webhooks already; delete some first");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let folded_name = folded(name);
        let is_taken =
            |other: &&Webhook| Some(other.id) != except && folded(&other.settings.name) == folded_name;
        if webhooks.iter().any(|other| is_taken(&other)) {
            let message = format!("the name {name:?} is already used");
            return Err(Refusal::new(ErrorCode::NAME_ALREADY_USED, message).into());
        }
        Ok(())
    }

    /// Refuses a secret under another key than the one that is used now.
    fn check_secret(&mut self, secret: &SealedChange) -> Applied<()> {
        match secret {
            SealedChange::Set(sealed) => {
                self.rows.lock_assets()?; // of all secrets
                self.check_key(&sealed.key)
            }
            SealedChange::Keep | SealedChange::Remove => Ok(()),
        }
    }

    fn write_secret_of(&mut self, id: WebhookId, secret: &SealedChange) -> Result<()> {
        match secret {
            SealedChange::Keep => Ok(()),
            SealedChange::Remove => self.rows.write_webhook_secret(id, None),
            SealedChange::Set(sealed) => self.rows.write_webhook_secret(id, Some(sealed)),
        }
    }

    fn note_webhook(
        &mut self,
        act: Act,
        before: Option<&Webhook>,
        after: Option<&Webhook>,
        secret_changed: bool,
    ) {
        self.events.webhooks_changed = true;
        let [old, new] = [before, after].map(|webhook| webhook.map(|webhook| &webhook.settings));
        let changes = webhook_changes(old, new, secret_changed);
        if let Some(settings) = old.or(new)
            && !changes.is_empty()
        {
            self.note_act(act, format!("webhook {}", settings.name), Vec::new(), changes);
        }
    }

    // Deliveries

    fn take_turn(&mut self, id: WebhookId, version: u64, turn: Duration) -> Applied<WebhookAnswer> {
        let mut webhook = self.webhook_to_change(id)?;
        let now = stored(self.now);
        if webhook.progress.version != version || !webhook.may_send(now) {
            return Ok(WebhookAnswer::Turn(None));
        }
        let mut deliveries = Vec::new();
        while deliveries.is_empty() {
            let found = self.rows.next_deliveries(id, TAKEN_AT_ONCE)?;
            if found.is_empty() {
                return Ok(WebhookAnswer::Turn(None));
            }
            for (mut delivery, document) in found {
                if Delivery::is_given_up(delivery.tries, delivery.since, now) {
                    (delivery.state, delivery.since) = (DeliveryState::Dead, now);
                    self.rows.write_delivery(&delivery)?;
                } else {
                    deliveries.push((delivery, document));
                }
            }
        }
        webhook.take(stored(after(now, turn)));
        self.rows.write_webhook(&webhook)?;
        let secret = self.rows.webhook_secret(id)?;
        Ok(WebhookAnswer::Turn(Some(Box::new(SealedTurn { webhook, secret, deliveries }))))
    }

    fn settle_turn(
        &mut self,
        id: WebhookId,
        version: u64,
        delivered: &[DeliveryId],
        failed: Option<FailedDelivery>,
    ) -> Applied<WebhookAnswer> {
        // Whoever has the turn now: it was delivered.
        self.rows.delete_deliveries(delivered)?;
        let Some(mut webhook) = self.rows.webhook_to_change(id)? else { return Ok(WebhookAnswer::Done) };
        if webhook.progress.version != version {
            return Ok(WebhookAnswer::Done);
        }
        let now = stored(self.now);
        webhook.record_delivered(delivered.len() as u64, now);
        if let Some(FailedDelivery { delivery, verdict, error }) = failed {
            if let Some(mut delivery) = self.rows.delivery(delivery)? {
                delivery.record_failure(verdict, &error, now);
                self.rows.write_delivery(&delivery)?;
            }
            let before = webhook.clone();
            webhook.record_failure(verdict, &error, now);
            if verdict == Verdict::Gone {
                self.note_webhook(Act::WebhookEdited, Some(&before), Some(&webhook), false);
            }
        }
        self.rows.write_webhook(&webhook)?;
        Ok(WebhookAnswer::Done)
    }

    fn retry_deliveries(&mut self, id: WebhookId, which: Option<Vec<DeliveryId>>) -> Applied<WebhookAnswer> {
        let mut webhook = self.webhook_to_change(id)?;
        let dead = match which {
            None => self.rows.deliveries(&dead_letters(id))?,
            Some(ids) => {
                let mut found = Vec::with_capacity(ids.len());
                for asked in ids {
                    let delivery = self.rows.delivery(asked)?;
                    let is_dead =
                        |found: &Delivery| found.webhook == id && found.state == DeliveryState::Dead;
                    let missing = || {
                        let message = format!("delivery {asked} is no dead letter of webhook {id}");
                        ApplyError::Refused(OrchestratorError::not_found(message))
                    };
                    found.push(delivery.filter(is_dead).ok_or_else(missing)?);
                }
                found
            }
        };
        let count = dead.len() as u64;
        for mut delivery in dead {
            delivery.revive(stored(self.now));
            self.rows.write_delivery(&delivery)?;
        }
        if count > 0 {
            webhook.hurry();
            self.rows.write_webhook(&webhook)?;
            let change = FieldChange::new("Deliveries", None, Value::from(count));
            let subject = format!("webhook {}", webhook.settings.name);
            self.note_act(Act::WebhookRetried, subject, Vec::new(), vec![change]);
        }
        Ok(WebhookAnswer::Count(count))
    }

    /// Removes old dead letters, by a time that can be believed.
    fn remove_deliveries(&mut self, limit: usize) -> Applied<WebhookAnswer> {
        let Some(now) = self.judge_clock()?.believed() else { return Ok(WebhookAnswer::Count(0)) };
        let before = now.checked_sub(DEAD_LETTER_KEPT).unwrap_or(now);
        let old = self.rows.superfluous_deliveries(before, limit)?;
        self.rows.delete_deliveries(&old)?;
        Ok(WebhookAnswer::Count(old.len() as u64))
    }
}

fn dead_letters(webhook: WebhookId) -> super::super::webhooks::ListDeliveries {
    super::super::webhooks::ListDeliveries {
        webhook,
        state: Some(DeliveryState::Dead),
        after: DeliveryId(0),
        limit: performer_core::model::webhook::MAX_DELIVERIES_LISTED,
    }
}

fn no_webhook(id: WebhookId) -> OrchestratorError {
    OrchestratorError::not_found(format!("webhook {id} does not exist"))
}

pub(super) fn answer<R: Rows>(rows: &mut R, query: WebhookQuery) -> Result<Answer> {
    let answer = match query {
        WebhookQuery::One(which) => {
            let mut webhooks = rows.webhooks()?.into_iter();
            let found = match &which {
                WebhookSelector::Id(id) => webhooks.find(|webhook| webhook.id == *id),
                WebhookSelector::Name(name) => {
                    let name = folded(name);
                    webhooks.find(|webhook| folded(&webhook.settings.name) == name)
                }
            };
            let found = found.ok_or_else(|| match which {
                WebhookSelector::Id(id) => no_webhook(id),
                WebhookSelector::Name(name) => {
                    OrchestratorError::not_found(format!("webhook {name:?} does not exist"))
                }
            })?;
            WebhookAnswer::One(Box::new(found))
        }
        WebhookQuery::All => {
            let mut webhooks = rows.webhooks()?;
            webhooks.sort_by_cached_key(|webhook| (folded(&webhook.settings.name), webhook.id));
            WebhookAnswer::Many(webhooks)
        }
        WebhookQuery::Due(now) => {
            let waiting = rows.webhooks_with_deliveries()?;
            if waiting.is_empty() {
                return Ok(WebhookAnswer::Many(Vec::new()).into());
            }
            let mut webhooks = rows.webhooks()?;
            webhooks.retain(|webhook| waiting.contains(&webhook.id) && webhook.may_send(now));
            WebhookAnswer::Many(webhooks)
        }
        WebhookQuery::Deliveries(ask) => {
            if !rows.webhooks()?.iter().any(|webhook| webhook.id == ask.webhook) {
                return Err(no_webhook(ask.webhook));
            }
            WebhookAnswer::Deliveries(rows.deliveries(&ask)?)
        }
        WebhookQuery::Secrets => {
            let mut secrets = Vec::new();
            for webhook in rows.webhooks()? {
                let secret = rows.webhook_secret(webhook.id)?;
                secrets.extend(secret.map(|secret| (webhook, secret)));
            }
            WebhookAnswer::Secrets(secrets)
        }
    };
    Ok(answer.into())
}
