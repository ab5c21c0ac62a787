//! Webhooks: addresses that are told what happens. A secret is written here and never shown.

use std::collections::BTreeSet;

use askama::Template;
use secrecy::SecretString;

use super::call::DeskCall;
use super::frame::{Frame, note_cookie};
use super::html::{self, Html};
use super::reply::Reply;
use super::routes::{WEBHOOKS_CREATE, WEBHOOKS_DELETE, WEBHOOKS_EDIT};
use crate::api_error::ApiError;
use crate::webhooks::receiver::check_url;
use performer_core::model::webhook::{
    Delivery, DeliveryId, DeliveryState, EventType, Webhook, WebhookId, WebhookSecret, WebhookSettings,
};
use performer_store::WebhookSelector;

/// The most deliveries of a page.
const ROWS: usize = 100;

/// A webhook as a row.
struct WebhookRow {
    href: String,
    name: String,
    url: String,
    state: Html,
    delivered: u64,
    failures: u32,
    error: String,
}

/// A type of events as a box of the form.
struct EventBox {
    name: &'static str,
    is_checked: bool,
}

/// What the form of a webhook shows.
struct Form {
    name: String,
    url: String,
    description: String,
    is_enabled: bool,
    is_insecure: bool,
    is_for_all: bool,
    events: Vec<EventBox>,
}

impl Form {
    fn of(settings: &WebhookSettings) -> Self {
        let is_checked = |kind: EventType| settings.events.contains(&kind);
        Self {
            name: settings.name.clone(),
            url: settings.url.clone(),
            description: settings.description.clone().unwrap_or_default(),
            is_enabled: settings.enabled,
            is_insecure: settings.allow_insecure_ssl,
            is_for_all: settings.subscribe_to_all_events,
            events: EventType::subscribable()
                .map(|kind| EventBox { name: kind.name(), is_checked: is_checked(kind) })
                .collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    rows: Vec<WebhookRow>,
    may_add: bool,
    form: Form,
}

/// What was not delivered, as a row.
struct DeliveryRow {
    id: i64,
    event: &'static str,
    created: Html,
    state: &'static str,
    is_dead: bool,
    tries: u32,
    error: String,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    frame: Frame,
    id: i64,
    name: String,
    url: String,
    description: String,
    state: Html,
    is_signed: bool,
    events: String,
    created: Html,
    delivered: u64,
    last_delivered: Html,
    failures: u32,
    last_failed: Html,
    error: String,
    due: Html,
    deliveries: Vec<DeliveryRow>,
    has_dead: bool,
    only_dead: bool,
    next: Option<String>,
    may_ping: bool,
    may_edit: bool,
    may_delete: bool,
    form: Form,
}

/// Whether events are sent to a webhook, and whether that goes well.
fn state(webhook: &Webhook) -> Html {
    let (class, shape, word) = if !webhook.settings.enabled {
        ("abandoned", "◇", "Disabled")
    } else if webhook.progress.failures > 0 {
        ("failed", "✗", "Failing")
    } else {
        ("good", "✓", "Enabled")
    };
    Html::of(format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{shape}</span> {word}</span>"))
}

fn error(webhook: &Webhook) -> String {
    let error = webhook.progress.last_error.as_deref().filter(|_| webhook.progress.failures > 0);
    error.map(|error| html::line(error, 300)).unwrap_or_default()
}

pub(super) async fn list(call: &DeskCall) -> Result<Reply, ApiError> {
    let webhooks = call.store_of_tenant().webhooks().await?;
    let row = |webhook: &Webhook| WebhookRow {
        href: format!("/desk/webhooks/{}", webhook.id),
        name: html::line(&webhook.settings.name, 100),
        url: html::line(&webhook.settings.url, 100),
        state: state(webhook),
        delivered: webhook.progress.delivered,
        failures: webhook.progress.failures,
        error: error(webhook),
    };
    Reply::page(&WebhooksPage {
        frame: call.frame("/desk/webhooks"),
        rows: webhooks.iter().map(row).collect(),
        may_add: call.may_in_tenant(WEBHOOKS_CREATE),
        form: Form::of(&WebhookSettings::new("", "")),
    })
}

async fn find(call: &DeskCall) -> Result<Webhook, ApiError> {
    let id = WebhookId(call.number(0)?);
    match call.store_of_tenant().webhook(WebhookSelector::Id(id)).await {
        Err(error) if error.is_not_found() => {
            Err(ApiError::not_found(format!("There is no webhook with the number {id}.")))
        }
        found => Ok(found?),
    }
}

fn delivery_row(delivery: &Delivery) -> DeliveryRow {
    DeliveryRow {
        id: delivery.id.0,
        event: delivery.event_type.name(),
        created: html::time(delivery.created),
        state: delivery.state.name(),
        is_dead: delivery.state == DeliveryState::Dead,
        tries: delivery.tries,
        error: delivery.error.as_deref().map(|error| html::line(error, 300)).unwrap_or_default(),
    }
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let webhook = find(call).await?;
    let only_dead = call.query_value("dead") == "1";
    let after = call.query_value("after").parse().unwrap_or(0);
    let dead = Some(DeliveryState::Dead);
    let (store, id) = (call.store_of_tenant(), webhook.id);
    let wanted = dead.filter(|_| only_dead);
    let deliveries = store.webhook_deliveries(id, wanted, DeliveryId(after), ROWS).await?;
    let has_dead = !store.webhook_deliveries(id, dead, DeliveryId(0), 1).await?.is_empty();
    let path = format!("/desk/webhooks/{id}");
    let next = deliveries.last().filter(|_| deliveries.len() == ROWS).map(|last| {
        let after = last.id.to_string();
        let mut query = vec![("after", &*after)];
        query.extend(only_dead.then_some(("dead", "1")));
        html::address(&path, &query)
    });
    let settings = &webhook.settings;
    let events: Vec<&str> = settings.events.iter().map(|kind| kind.name()).collect();
    Reply::page(&WebhookPage {
        frame: call.frame("/desk/webhooks"),
        id: id.0,
        name: html::visible(&settings.name),
        url: html::visible(&settings.url),
        description: settings.description.as_deref().map(html::visible).unwrap_or_default(),
        state: state(&webhook),
        is_signed: webhook.has_secret,
        events: if settings.subscribe_to_all_events { "all".to_owned() } else { events.join(", ") },
        created: html::time(webhook.created),
        delivered: webhook.progress.delivered,
        last_delivered: html::optional_time(webhook.progress.last_delivered),
        failures: webhook.progress.failures,
        last_failed: html::optional_time(webhook.progress.last_failed),
        error: error(&webhook),
        due: html::optional_time(webhook.progress.due),
        deliveries: deliveries.iter().map(delivery_row).collect(),
        has_dead,
        only_dead,
        next,
        may_ping: settings.enabled && call.is_writable(),
        may_edit: call.may_in_tenant(WEBHOOKS_EDIT),
        may_delete: call.may_in_tenant(WEBHOOKS_DELETE),
        form: Form::of(settings),
    })
}

/// The settings of the form.
fn settings(call: &DeskCall) -> Result<WebhookSettings, ApiError> {
    let mut settings = WebhookSettings::new(call.field("name").trim(), call.field("url").trim());
    settings.description = Some(call.field("description").trim().to_owned()).filter(|text| !text.is_empty());
    settings.enabled = call.field("enabled") == "on";
    settings.allow_insecure_ssl = call.field("insecure") == "on";
    let read = |name: &str| {
        let wrong = |_| ApiError::invalid(format!("event: {name:?} is not a type of events."));
        name.parse::<EventType>().map_err(wrong)
    };
    settings.events = call.fields("event").map(read).collect::<Result<BTreeSet<_>, _>>()?;
    settings.subscribe_to_all_events = call.field("all") == "on";
    if settings.subscribe_to_all_events {
        settings.events.clear();
    }
    settings.validate()?;
    check_url(&settings.url)?;
    Ok(settings)
}

fn secret(call: &DeskCall) -> Option<SecretString> {
    Some(call.field("secret")).filter(|text| !text.is_empty()).map(SecretString::from)
}

pub(super) async fn create(call: &DeskCall) -> Result<Reply, ApiError> {
    let webhook = call.store_of_tenant().create_webhook(settings(call)?, secret(call)).await?;
    let path = format!("/desk/webhooks/{}", webhook.id);
    Ok(Reply::see_other(&path).cookie(&note_cookie("webhook-added", 0)))
}

fn back_to(id: WebhookId, note: &str) -> Reply {
    Reply::see_other(&format!("/desk/webhooks/{id}")).cookie(&note_cookie(note, 0))
}

pub(super) async fn edit(call: &DeskCall) -> Result<Reply, ApiError> {
    let id = find(call).await?.id;
    let secret = match (secret(call), call.field("unsigned") == "on") {
        (_, true) => WebhookSecret::Remove,
        (Some(secret), false) => WebhookSecret::Set(secret),
        (None, false) => WebhookSecret::Keep,
    };
    call.store_of_tenant().replace_webhook(id, settings(call)?, secret).await?;
    call.server.webhooks_changed.notify_one();
    Ok(back_to(id, "webhook-changed"))
}

pub(super) async fn delete(call: &DeskCall) -> Result<Reply, ApiError> {
    call.store_of_tenant().delete_webhook(find(call).await?.id).await?;
    Ok(Reply::see_other("/desk/webhooks").cookie(&note_cookie("webhook-deleted", 0)))
}

pub(super) async fn ping(call: &DeskCall) -> Result<Reply, ApiError> {
    let id = find(call).await?.id;
    call.store_of_tenant().ping_webhook(id).await?;
    call.server.webhooks_changed.notify_one();
    Ok(back_to(id, "webhook-pinged"))
}

/// Sends dead letters again: the named ones, or all.
pub(super) async fn retry(call: &DeskCall) -> Result<Reply, ApiError> {
    let id = find(call).await?.id;
    let wrong = |text: &str| ApiError::invalid(format!("delivery: {text:?} is not a number."));
    let named = call.fields("delivery").map(|text| text.parse().map(DeliveryId).map_err(|_| wrong(text)));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let which = Some(named).filter(|named| !named.is_empty());
    call.store_of_tenant().retry_webhook_deliveries(id, which).await?;
    call.server.webhooks_changed.notify_one();
    Ok(back_to(id, "webhook-retried"))
}
