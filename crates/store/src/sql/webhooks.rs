//! The statements on webhooks, and on what is to be delivered to them.
//!
//! A webhook is a document, which the model reads and writes as a whole. Its secret stands beside it, encrypted. The document of a
//! delivery is the event.

use jiff::Timestamp;

use super::super::encryption::{KeyId, SealedSecret};
use super::super::unreadable_rows::UnreadableRow;
use super::super::webhooks::{ListDeliveries, WebhookRows};
use super::dialect::{Bound, Engine, Row, Values};
use performer_core::model::webhook::{Delivery, DeliveryId, DeliveryState, Webhook, WebhookEvent, WebhookId};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The columns of a delivery, in the order in which [`read_delivery`] reads them.
const DELIVERY: &str = "id, webhook_id, event_id, event_type, created, state, since, tries, error";

/// The table, and the column with the number of a delivery.
const DELIVERIES: (&str, usize) = ("webhook_delivery", 0);

fn document(webhook: &Webhook) -> Result<String> {
    serde_json::to_string(webhook).map_err(|error| OrchestratorError::invalid(error.to_string()))
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> OrchestratorError {
    UnreadableRow::error(error, "the store")
}

fn read_webhook(row: &dyn Row) -> Result<Webhook> {
    let mut webhook: Webhook = serde_json::from_str(&row.text(1)?).map_err(unreadable)?;
    webhook.id = WebhookId(row.number(0)?);
    Ok(webhook)
}

fn read_delivery(row: &dyn Row) -> Result<Delivery> {
    let state = DeliveryState::from_number(row.number(5)?).map_err(unreadable)?;
    let (id, webhook) = (DeliveryId(row.number(0)?), WebhookId(row.number(1)?));
    let event_type = row.text(3)?.parse().map_err(unreadable)?;
    let mut delivery = Delivery::stored((id, webhook), row.text(2)?, event_type, row.time(4)?);
    (delivery.state, delivery.since) = (state, row.time(6)?);
    delivery.tries = u32::try_from(row.number(7)?).map_err(unreadable)?;
    delivery.error = row.text_or_none(8)?;
    Ok(delivery)
}

fn one<E: Engine>(engine: &mut E, which: &str, values: &Values) -> Result<Option<Delivery>> {
    Ok(engine.read(&format!("SELECT {DELIVERY} FROM webhook_delivery {which}"), values, read_delivery)?.pop())
}

impl<E: Engine> WebhookRows for E {
    fn lock_webhooks(&mut self) -> Result<()> {
        self.lock_until_end("webhooks")
    }

    fn lock_deliveries(&mut self) -> Result<()> {
        self.lock_until_end("webhook deliveries")
    }

    fn insert_webhook(&mut self, webhook: &Webhook) -> Result<WebhookId> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&document(webhook)?);
        let sql = format!("INSERT INTO webhook (document) VALUES ({document}) RETURNING id");
        let missing = || OrchestratorError::new(ErrorKind::Other, "a new webhook got no number");
        self.read_number(&sql, &values)?.map(WebhookId).ok_or_else(missing)
    }

    fn write_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&document(webhook)?);
        let id = values.bind::<E>(webhook.id.0);
        self.execute(&format!("UPDATE webhook SET document = {document} WHERE id = {id}"), &values)
    }

    fn delete_webhook(&mut self, id: WebhookId) -> Result<()> {
        for place in ["webhook_delivery WHERE webhook_id", "webhook WHERE id"] {
            let mut values = Values::default();
            let id = values.bind::<E>(id.0);
            self.execute(&format!("DELETE FROM {place} = {id}"), &values)?;
        }
        Ok(())
    }

    fn webhook_to_change(&mut self, id: WebhookId) -> Result<Option<Webhook>> {
        let mut values = Values::default();
        let id = values.bind::<E>(id.0);
        let sql = format!("SELECT id, document FROM webhook WHERE id = {id}{}", E::FOR_UPDATE);
        Ok(self.read(&sql, &values, read_webhook)?.pop())
    }

    fn webhooks(&mut self) -> Result<Vec<Webhook>> {
        let sql = "SELECT id, document FROM webhook ORDER BY id";
        self.read_list(("webhook", 0), sql, &Values::default(), read_webhook)
    }

    fn webhooks_with_deliveries(&mut self) -> Result<Vec<WebhookId>> {
        let waiting = DeliveryState::Waiting.number();
        let sql = format!(
            "SELECT id FROM webhook WHERE EXISTS (SELECT 1 FROM webhook_delivery \
             WHERE webhook_id = webhook.id AND state = {waiting})"
        );
        self.read(&sql, &Values::default(), |row| Ok(WebhookId(row.number(0)?)))
    }

    fn webhook_secret(&mut self, id: WebhookId) -> Result<Option<SealedSecret>> {
        let mut values = Values::default();
        let id = values.bind::<E>(id.0);
        let sql = format!("SELECT key_id, sealed FROM webhook WHERE id = {id} AND sealed IS NOT NULL");
        let found = self
            .read(&sql, &values, |row| Ok(SealedSecret { key: KeyId(row.text(0)?), text: row.text(1)? }))?;
        Ok(found.into_iter().next())
    }

    fn write_webhook_secret(&mut self, id: WebhookId, secret: Option<&SealedSecret>) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(id.0);
        let [key, sealed] = match secret {
            Some(secret) => [&secret.key.0, &secret.text].map(|text| values.bind_text::<E>(text)),
            None => ["NULL", "NULL"].map(str::to_owned),
        };
        let sql = format!("UPDATE webhook SET key_id = {key}, sealed = {sealed} WHERE id = {id}");
        self.execute(&sql, &values)
    }

    fn insert_delivery(&mut self, webhook: WebhookId, event: &WebhookEvent, document: &str) -> Result<()> {
        let mut values = Values::default();
        let webhook = values.bind::<E>(webhook.0);
        let [event_id, kind, document] =
            [&event.event_id, event.kind.name(), document].map(|text| values.bind_text::<E>(text));
        let time = values.bind::<E>(Bound::Time(event.time));
        let sql = format!(
            "INSERT INTO webhook_delivery (webhook_id, event_id, event_type, created, state, since, tries, document) \
             VALUES ({webhook}, {event_id}, {kind}, {time}, {}, {time}, 0, {document})",
            DeliveryState::Waiting.number()
        );
        self.execute(&sql, &values)
    }

    fn next_deliveries(&mut self, webhook: WebhookId, limit: usize) -> Result<Vec<(Delivery, String)>> {
        let mut values = Values::default();
        let webhook = values.bind::<E>(webhook.0);
        let sql = format!(
            "SELECT {DELIVERY}, document FROM webhook_delivery \
             WHERE webhook_id = {webhook} AND state = {} ORDER BY id LIMIT {limit}",
            DeliveryState::Waiting.number()
        );
        self.read_list(DELIVERIES, &sql, &values, |row| {
            let document = row.text(9)?;
            serde_json::from_str::<WebhookEvent>(&document).map_err(unreadable)?;
            Ok((read_delivery(row)?, document))
        })
    }

    fn deliveries(&mut self, ask: &ListDeliveries) -> Result<Vec<Delivery>> {
        let mut values = Values::default();
        let [webhook, after] = [ask.webhook.0, ask.after.0].map(|number| values.bind::<E>(number));
        let state = ask.state.map_or_else(String::new, |state| format!(" AND state = {}", state.number()));
        let sql = format!(
            "SELECT {DELIVERY} FROM webhook_delivery WHERE webhook_id = {webhook} AND id > {after}{state} \
             ORDER BY id LIMIT {}",
            ask.limit
        );
        self.read_list(DELIVERIES, &sql, &values, read_delivery)
    }

    fn delivery(&mut self, id: DeliveryId) -> Result<Option<Delivery>> {
        let mut values = Values::default();
        let id = values.bind::<E>(id.0);
        one(self, &format!("WHERE id = {id}"), &values)
    }

    fn write_delivery(&mut self, delivery: &Delivery) -> Result<()> {
        let mut values = Values::default();
        let [id, tries] = [delivery.id.0, delivery.tries.into()].map(|number| values.bind::<E>(number));
        let since = values.bind::<E>(Bound::Time(delivery.since));
        let error = match &delivery.error {
            Some(error) => values.bind_text::<E>(error),
            None => "NULL".to_owned(),
        };
        let sql = format!(
            "UPDATE webhook_delivery SET state = {}, since = {since}, tries = {tries}, error = {error} \
             WHERE id = {id}",
            delivery.state.number()
        );
        self.execute(&sql, &values)
    }

    fn delete_deliveries(&mut self, ids: &[DeliveryId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut values = Values::default();
        let ids = values.bind::<E>(ids.iter().map(|id| id.0).collect::<Vec<_>>());
        let sql = format!("DELETE FROM webhook_delivery WHERE {}", E::among("id", &ids));
        self.execute(&sql, &values)
    }

    fn superfluous_deliveries(&mut self, before: Timestamp, limit: usize) -> Result<Vec<DeliveryId>> {
        let mut values = Values::default();
        let before = values.bind::<E>(Bound::Time(before));
        let sql = format!(
            "SELECT id FROM webhook_delivery WHERE state = {} AND since < {before} \
             OR NOT EXISTS (SELECT 1 FROM webhook WHERE webhook.id = webhook_delivery.webhook_id) LIMIT {limit}",
            DeliveryState::Dead.number()
        );
        self.read(&sql, &values, |row| Ok(DeliveryId(row.number(0)?)))
    }
}
