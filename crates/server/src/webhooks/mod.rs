//! Webhooks (orchestrator-api 17): the routes. `delivery.rs` sends what is kept for them, `receiver.rs` makes the requests, and
//! `addresses.rs` says to which addresses.

pub(super) mod addresses;
pub(super) mod delivery;
pub(super) mod receiver;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::strict;
use crate::directory::Directory;
use performer_core::model::key::FolderId;
use performer_core::model::webhook::{
    DeliveryId, DeliveryState, MAX_DELIVERIES_LISTED, Webhook, WebhookEvent, WebhookId, WebhookSecret,
};
use performer_store::WebhookSelector;
use performer_wire::odata::entity_set;
use performer_wire::responses;
use performer_wire::webhook::{
    DeliveriesRequest, DeliveriesResponse, DeliveryDto, EventNames, RetryRequest, RetryResponse, WebhookDto,
    WebhookStatesRequest, WebhookStatesResponse, event_body, event_types, webhook_response,
};
use secrecy::ExposeSecret as _;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Webhooks";

/// The keys of folders and users that the bodies of events have.
pub(super) struct Names<'a>(pub(super) &'a Directory);

impl EventNames for Names<'_> {
    fn folder_key(&self, folder: i64) -> Option<String> {
        self.0.folder(FolderId(folder)).map(|folder| folder.key.to_string())
    }

    fn user_key(&self, user: i64) -> Option<String> {
        self.0.user(user).map(|user| user.key.to_string())
    }
}

fn id(call: &Call) -> Result<WebhookId, ApiError> {
    Ok(WebhookId(call.id()?))
}

async fn by_id(call: &Call) -> Result<Webhook, ApiError> {
    Ok(call.store_for_caller().webhook(WebhookSelector::Id(id(call)?)).await?)
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let webhooks = call.store_for_caller().webhooks().await?;
    call.page(&entity_set::WEBHOOKS, webhooks.iter().map(webhook_response).collect())
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    call.entity(ENTITY, webhook_response(&by_id(call).await?))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let body = call.body::<WebhookDto>(&strict::WEBHOOK)?;
    let settings = body.settings()?;
    receiver::check_url(&settings.url)?;
    let secret = body.secret.filter(|secret| !secret.expose_secret().is_empty());
    let webhook = call.store_for_caller().create_webhook(settings, secret).await?;
    call.created(ENTITY, webhook.id.0, webhook_response(&webhook))
}

pub(super) async fn update(call: &Call) -> HandlerResult {
    let body = call.body::<WebhookDto>(&strict::WEBHOOK)?;
    let settings = body.settings()?;
    replace(call, settings, body).await
}

/// Changes the members that the body has.
pub(super) async fn patch(call: &Call) -> HandlerResult {
    let body = call.body::<WebhookDto>(&strict::WEBHOOK)?;
    let settings = body.changed(by_id(call).await?.settings)?;
    replace(call, settings, body).await
}

async fn replace(
    call: &Call,
    settings: performer_core::model::webhook::WebhookSettings,
    body: WebhookDto,
) -> HandlerResult {
    receiver::check_url(&settings.url)?;
    let secret = match body.secret {
        None => WebhookSecret::Keep,
        Some(secret) if secret.expose_secret().is_empty() => WebhookSecret::Remove,
        Some(secret) => WebhookSecret::Set(secret),
    };
    let webhook = call.store_for_caller().replace_webhook(id(call)?, settings, secret).await?;
    call.entity(ENTITY, webhook_response(&webhook))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    call.store_for_caller().delete_webhook(id(call)?).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// An event that is kept to be delivered.
fn accepted(call: &Call, kind: &str, event: &WebhookEvent) -> HandlerResult {
    call.server.webhooks_changed.notify_one();
    let body = event_body(event, &Names(call.directory()?));
    let context = call.context(&format!("UiPath.Server.Configuration.OData.{kind}"));
    ApiResponse::json(StatusCode::ACCEPTED, &responses::with_context(&context, &body))
}

pub(super) async fn ping(call: &Call) -> HandlerResult {
    let event = call.store_for_caller().ping_webhook(id(call)?).await?;
    accepted(call, "PingEventDto", &event)
}

pub(super) async fn trigger(call: &Call) -> HandlerResult {
    let data = call.body::<Map<String, Value>>(&strict::UNCHECKED)?;
    let event = call.store_for_caller().trigger_webhooks(data).await?;
    accepted(call, "CustomEventDto", &event)
}

pub(super) async fn types(call: &Call) -> HandlerResult {
    call.page(&entity_set::WEBHOOK_EVENT_TYPES, event_types())
}

// Our own: what was not delivered.

/// All webhooks, with how the sending goes.
pub(super) async fn states(call: &Call) -> HandlerResult {
    let WebhookStatesRequest {} = call.own_body_or_default()?;
    let webhooks = call.store_for_caller().webhooks().await?;
    ApiResponse::ok(&WebhookStatesResponse { webhooks })
}

pub(super) async fn deliveries(call: &Call) -> HandlerResult {
    let DeliveriesRequest { webhook, dead, after, top } = call.own_body()?;
    let state = dead.then_some(DeliveryState::Dead);
    let limit = top.unwrap_or(MAX_DELIVERIES_LISTED);
    Call::check_length("top", limit, MAX_DELIVERIES_LISTED)?;
    let store = call.store_for_caller();
    let found = store.webhook_deliveries(WebhookId(webhook), state, DeliveryId(after), limit).await?;
    ApiResponse::ok(&DeliveriesResponse { deliveries: found.iter().map(DeliveryDto::from).collect() })
}

pub(super) async fn retry(call: &Call) -> HandlerResult {
    let RetryRequest { webhook, deliveries } = call.own_body()?;
    if let Some(deliveries) = &deliveries {
        Call::check_length("deliveries", deliveries.len(), MAX_DELIVERIES_LISTED)?;
    }
    let which = deliveries.map(|ids| ids.into_iter().map(DeliveryId).collect());
    let count = call.store_for_caller().retry_webhook_deliveries(WebhookId(webhook), which).await?;
    call.server.webhooks_changed.notify_one();
    ApiResponse::ok(&RetryResponse { count })
}
