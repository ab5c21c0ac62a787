//! Webhooks in memory, and what is to be delivered to them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::encryption::SealedSecret;
use super::super::webhooks::{ListDeliveries, WebhookRows};
use super::Memory;
use performer_core::model::webhook::{Delivery, DeliveryId, DeliveryState, Webhook, WebhookEvent, WebhookId};
use performer_core::orchestrator::Result;

/// All webhooks, their secrets and their deliveries.
#[derive(Default)]
pub(super) struct StoredWebhooks {
    all: BTreeMap<WebhookId, Webhook>,
    secrets: BTreeMap<WebhookId, SealedSecret>,
    deliveries: BTreeMap<DeliveryId, (Delivery, String)>,
    last: i64,
    last_delivery: i64,
}

impl WebhookRows for Memory {
    fn lock_webhooks(&mut self) -> Result<()> {
        Ok(())
    }

    fn lock_deliveries(&mut self) -> Result<()> {
        Ok(())
    }

    fn insert_webhook(&mut self, webhook: &Webhook) -> Result<WebhookId> {
        self.webhooks.last += 1;
        let mut webhook = webhook.clone();
        webhook.id = WebhookId(self.webhooks.last);
        self.webhooks.all.insert(webhook.id, webhook);
        Ok(WebhookId(self.webhooks.last))
    }

    fn write_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        self.webhooks.all.insert(webhook.id, webhook.clone());
        Ok(())
    }

    fn delete_webhook(&mut self, id: WebhookId) -> Result<()> {
        self.webhooks.all.remove(&id);
        self.webhooks.secrets.remove(&id);
        self.webhooks.deliveries.retain(|_, (delivery, _)| delivery.webhook != id);
        Ok(())
    }

    fn webhook_to_change(&mut self, id: WebhookId) -> Result<Option<Webhook>> {
        Ok(self.webhooks.all.get(&id).cloned())
    }

    fn webhooks(&mut self) -> Result<Vec<Webhook>> {
        Ok(self.webhooks.all.values().cloned().collect())
    }

    fn webhooks_with_deliveries(&mut self) -> Result<Vec<WebhookId>> {
        let waits = |id: &WebhookId| {
            self.webhooks
                .deliveries
                .values()
                .any(|(delivery, _)| delivery.webhook == *id && delivery.state == DeliveryState::Waiting)
        };
        Ok(self.webhooks.all.keys().copied().filter(waits).collect())
    }

    fn webhook_secret(&mut self, id: WebhookId) -> Result<Option<SealedSecret>> {
        Ok(self.webhooks.secrets.get(&id).cloned())
    }

    fn write_webhook_secret(&mut self, id: WebhookId, secret: Option<&SealedSecret>) -> Result<()> {
        match secret {
            Some(secret) => self.webhooks.secrets.insert(id, secret.clone()),
            None => self.webhooks.secrets.remove(&id),
        };
        Ok(())
    }

    fn insert_delivery(&mut self, webhook: WebhookId, event: &WebhookEvent, document: &str) -> Result<()> {
        if !self.webhooks.all.contains_key(&webhook) {
            return Ok(()); // it was deleted by this transaction
        }
        self.webhooks.last_delivery += 1;
        let id = DeliveryId(self.webhooks.last_delivery);
        let delivery = Delivery::stored((id, webhook), event.event_id.clone(), event.kind, event.time);
        self.webhooks.deliveries.insert(id, (delivery, document.to_owned()));
        Ok(())
    }

    fn next_deliveries(&mut self, webhook: WebhookId, limit: usize) -> Result<Vec<(Delivery, String)>> {
        let waits = |(delivery, _): &&(Delivery, String)| {
            delivery.webhook == webhook && delivery.state == DeliveryState::Waiting
        };
        Ok(self.webhooks.deliveries.values().filter(waits).take(limit).cloned().collect())
    }

    fn deliveries(&mut self, ask: &ListDeliveries) -> Result<Vec<Delivery>> {
        let all = self.webhooks.deliveries.values().map(|(delivery, _)| delivery);
        let matching = all.filter(|delivery| {
            delivery.webhook == ask.webhook
                && delivery.id > ask.after
                && ask.state.is_none_or(|state| delivery.state == state)
        });
        Ok(matching.take(ask.limit).cloned().collect())
    }

    fn delivery(&mut self, id: DeliveryId) -> Result<Option<Delivery>> {
        Ok(self.webhooks.deliveries.get(&id).map(|(delivery, _)| delivery.clone()))
    }

    fn write_delivery(&mut self, delivery: &Delivery) -> Result<()> {
        if let Some((stored, _)) = self.webhooks.deliveries.get_mut(&delivery.id) {
            stored.clone_from(delivery);
        }
        Ok(())
    }

    fn delete_deliveries(&mut self, ids: &[DeliveryId]) -> Result<()> {
        self.webhooks.deliveries.retain(|id, _| !ids.contains(id));
        Ok(())
    }

    fn superfluous_deliveries(&mut self, before: Timestamp, limit: usize) -> Result<Vec<DeliveryId>> {
        let is_old = |(delivery, _): &&(Delivery, String)| {
            delivery.state == DeliveryState::Dead && delivery.since < before
        };
        let old = self.webhooks.deliveries.values().filter(is_old);
        Ok(old.take(limit).map(|(delivery, _)| delivery.id).collect())
    }
}
