//! What people do with webhooks.

use async_trait::async_trait;
use secrecy::SecretString;

use super::Result;
use crate::model::webhook::{Delivery, DeliveryId, DeliveryState, Webhook, WebhookSecret, WebhookSettings};

/// Adds, lists and changes webhooks, and what was not delivered to them. Secrets are written and never read.
///
/// A back end that has webhooks says so with [`QueueAdministration::webhooks`](super::QueueAdministration::webhooks). A webhook is found by
/// its name, which is case-insensitive.
#[async_trait]
pub trait WebhookAdministration: std::fmt::Debug + Send + Sync {
    /// Lists the webhooks, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable; Unauthorized without the permission.
    async fn list_webhooks(&self) -> Result<Vec<Webhook>>;

    /// Finds a webhook.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Unauthorized.
    async fn get_webhook(&self, name: &str) -> Result<Webhook>;

    /// Adds a webhook.
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 for settings that are not allowed; Conflict with code 1001 if the name is used; Other with code 1800 if there
    /// is no key to encrypt the secret with; Unauthorized.
    async fn add_webhook(&self, settings: WebhookSettings, secret: Option<SecretString>) -> Result<Webhook>;

    /// Replaces the settings of a webhook.
    ///
    /// # Errors
    ///
    /// As [`add_webhook`](Self::add_webhook); NotFound with code 1002.
    async fn update_webhook(
        &self,
        name: &str,
        settings: WebhookSettings,
        secret: WebhookSecret,
    ) -> Result<Webhook>;

    /// Deletes a webhook, with what was not delivered to it.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Unauthorized.
    async fn remove_webhook(&self, name: &str) -> Result<()>;

    /// Has a test sent to a webhook, whatever it has subscribed to, behind what waits for it. Returns the key of the event.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Invalid with code 1009 if it is disabled; Unauthorized.
    async fn send_test(&self, name: &str) -> Result<String>;

    /// Lists what was not delivered to a webhook, by number, from behind a number on; at most
    /// [`MAX_DELIVERIES_LISTED`](crate::model::webhook::MAX_DELIVERIES_LISTED).
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Unauthorized.
    async fn list_deliveries(
        &self,
        name: &str,
        state: Option<DeliveryState>,
        after: DeliveryId,
        limit: usize,
    ) -> Result<Vec<Delivery>>;

    /// Has dead letters of a webhook sent again, in their places, and returns how many; `None`: all, up to
    /// [`MAX_DELIVERIES_LISTED`](crate::model::webhook::MAX_DELIVERIES_LISTED) with one call.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002 for a webhook, or a delivery that is none of its dead letters; Unauthorized.
    async fn retry_deliveries(&self, name: &str, which: Option<Vec<DeliveryId>>) -> Result<u64>;
}
