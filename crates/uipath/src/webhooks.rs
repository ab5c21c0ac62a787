//! Webhooks of performer's own server. A UiPath Orchestrator does not say how the sending goes, so it has none here.

use async_trait::async_trait;
use secrecy::SecretString;
use serde::Deserialize;

use super::call::{Call, CallError};
use super::{Inner, Uipath};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::queue::folded;
use performer_core::model::webhook::{
    Delivery, DeliveryId, DeliveryState, Webhook, WebhookSecret, WebhookSettings, validate_secret,
};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result, WebhookAdministration};
use performer_wire::webhook::{
    DeliveriesRequest, DeliveriesResponse, RetryRequest, RetryResponse, WebhookDto, WebhookStatesRequest,
    WebhookStatesResponse,
};

const PATH: &str = "/odata/Webhooks";

fn own(operation: &'static str, body: &impl serde::Serialize) -> Call {
    Call::post(operation, format!("/api/Performer/{operation}"), body)
}

/// What is read of a test that was accepted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accepted {
    event_id: String,
}

impl Inner {
    async fn webhooks(&self) -> Result<Vec<Webhook>> {
        let call = own("WebhookStates", &WebhookStatesRequest {}).repeatable();
        Ok(self.http.json::<WebhookStatesResponse>(call).await?.webhooks)
    }

    async fn webhook(&self, name: &str) -> Result<Webhook> {
        let wanted = folded(name);
        let found = self.webhooks().await?.into_iter().find(|one| folded(&one.settings.name) == wanted);
        found.ok_or_else(|| {
            Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("webhook {name:?} does not exist")).into()
        })
    }

    async fn put_webhook(
        &self,
        there: &Webhook,
        settings: &WebhookSettings,
        secret: WebhookSecret,
    ) -> Result<Webhook> {
        let secret = match secret {
            WebhookSecret::Keep => None,
            WebhookSecret::Remove => Some(SecretString::from("")),
            WebhookSecret::Set(secret) => Some(secret),
        };
        let body = WebhookDto::of(settings, secret);
        self.http.done(Call::put("PutWebhook", format!("{PATH}({})", there.id), &body)).await?;
        self.webhook(&settings.name).await
    }
}

#[async_trait]
impl WebhookAdministration for Uipath {
    async fn list_webhooks(&self) -> Result<Vec<Webhook>> {
        self.inner.webhooks().await
    }

    async fn get_webhook(&self, name: &str) -> Result<Webhook> {
        self.inner.webhook(name).await
    }

    async fn add_webhook(&self, settings: WebhookSettings, secret: Option<SecretString>) -> Result<Webhook> {
        settings.validate()?;
        secret.as_ref().map_or(Ok(()), validate_secret)?;
        let body = WebhookDto::of(&settings, secret.clone());
        match self.inner.http.done(Call::post("PostWebhook", PATH, &body)).await {
            Ok(()) => self.inner.webhook(&settings.name).await,
            // Whether its secret is the one of this call cannot be seen: it is written again.
            Err(CallError { error, maybe_executed: true }) => {
                let there = self.inner.webhook(&settings.name).await.map_err(|_| error)?;
                let secret = secret.map_or(WebhookSecret::Remove, WebhookSecret::Set);
                self.inner.put_webhook(&there, &settings, secret).await
            }
            Err(failed) => Err(failed.error),
        }
    }

    async fn update_webhook(
        &self,
        name: &str,
        settings: WebhookSettings,
        secret: WebhookSecret,
    ) -> Result<Webhook> {
        settings.validate()?;
        if let WebhookSecret::Set(secret) = &secret {
            validate_secret(secret)?;
        }
        let there = self.inner.webhook(name).await?;
        self.inner.put_webhook(&there, &settings, secret).await
    }

    async fn remove_webhook(&self, name: &str) -> Result<()> {
        let id = self.inner.webhook(name).await?.id;
        match self.inner.http.done(Call::delete("DeleteWebhook", format!("{PATH}({id})"))).await {
            Ok(()) => Ok(()),
            Err(CallError { error, maybe_executed: true }) if error.is_not_found() => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    async fn send_test(&self, name: &str) -> Result<String> {
        let id = self.inner.webhook(name).await?.id;
        let path = format!("{PATH}({id})/UiPath.Server.Configuration.OData.Ping");
        let call = Call::post("PingWebhook", path, &serde_json::json!({}));
        Ok(self.inner.http.json::<Accepted>(call).await?.event_id)
    }

    async fn list_deliveries(
        &self,
        name: &str,
        state: Option<DeliveryState>,
        after: DeliveryId,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let webhook = self.inner.webhook(name).await?.id.0;
        let dead = state == Some(DeliveryState::Dead);
        let body = DeliveriesRequest { webhook, dead, after: after.0, top: Some(limit) };
        let found: DeliveriesResponse =
            self.inner.http.json(own("WebhookDeliveries", &body).repeatable()).await?;
        let read = found.deliveries.into_iter().map(|delivery| {
            delivery
                .into_delivery()
                .map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))
        });
        // Only what waits is asked for by nobody but a program.
        let mut read = read.collect::<Result<Vec<_>>>()?;
        read.retain(|delivery| state.is_none_or(|state| delivery.state == state));
        Ok(read)
    }

    async fn retry_deliveries(&self, name: &str, which: Option<Vec<DeliveryId>>) -> Result<u64> {
        let webhook = self.inner.webhook(name).await?.id.0;
        let deliveries = which.map(|ids| ids.into_iter().map(|DeliveryId(id)| id).collect());
        let call = own("RetryWebhook", &RetryRequest { webhook, deliveries });
        Ok(self.inner.http.json::<RetryResponse>(call).await?.count)
    }
}
