//! Webhooks (orchestrator-api 17): the bodies of new and edited ones, what reads return, and what is sent to them. No Debug here: bodies
//! contain secrets.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{ApiTime, Unreadable};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::webhook::{
    Delivery, DeliveryId, DeliveryState, EventType, Webhook, WebhookEvent, WebhookId, WebhookSettings,
};

/// A type of events in a body.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubscriptionDto {
    #[serde(default)]
    pub event_type: Option<String>,
}

/// A webhook as a body has it: in a change of some members the others are absent.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WebhookDto {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe_to_all_events: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_insecure_ssl: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<SubscriptionDto>>,
    /// Absent: it stays. Empty: it is removed.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed",
        deserialize_with = "secret"
    )]
    pub secret: Option<SecretString>,
}

/// The secret goes over the wire to where it is kept.
fn exposed<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(SecretString::expose_secret).serialize(serializer)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

impl WebhookDto {
    /// The body of a webhook with these settings. Without a secret it keeps the one that it has.
    pub fn of(settings: &WebhookSettings, secret: Option<SecretString>) -> Self {
        let subscribed = |kind: &EventType| SubscriptionDto { event_type: Some(kind.name().to_owned()) };
        Self {
            name: Some(settings.name.clone()),
            description: Some(settings.description.clone().unwrap_or_default()),
            url: Some(settings.url.clone()),
            enabled: Some(settings.enabled),
            subscribe_to_all_events: Some(settings.subscribe_to_all_events),
            allow_insecure_ssl: Some(settings.allow_insecure_ssl),
            events: Some(settings.events.iter().map(subscribed).collect()),
            secret,
        }
    }

    /// The settings of a new webhook.
    ///
    /// # Errors
    ///
    /// Code 1009 for a required member that is missing, or a type of events that is not known.
    pub fn settings(&self) -> Result<WebhookSettings, Refusal> {
        let (Some(name), Some(url)) = (&self.name, &self.url) else {
            return Err(missing(if self.name.is_none() { "Name" } else { "Url" }));
        };
        let flags = [
            ("Enabled", self.enabled),
            ("SubscribeToAllEvents", self.subscribe_to_all_events),
            ("AllowInsecureSsl", self.allow_insecure_ssl),
        ];
        if let Some((name, _)) = flags.iter().find(|(_, flag)| flag.is_none()) {
            return Err(missing(name));
        }
        let mut settings = WebhookSettings::new(name, url);
        settings.events.clear();
        self.changed(settings)
    }

    /// The settings of a webhook with the members that this body has.
    ///
    /// # Errors
    ///
    /// Code 1009 for a type of events that is not known.
    pub fn changed(&self, mut settings: WebhookSettings) -> Result<WebhookSettings, Refusal> {
        if let Some(name) = &self.name {
            settings.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            settings.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        if let Some(url) = &self.url {
            settings.url.clone_from(url);
        }
        settings.enabled = self.enabled.unwrap_or(settings.enabled);
        settings.subscribe_to_all_events =
            self.subscribe_to_all_events.unwrap_or(settings.subscribe_to_all_events);
        settings.allow_insecure_ssl = self.allow_insecure_ssl.unwrap_or(settings.allow_insecure_ssl);
        if let Some(events) = &self.events {
            settings.events = events.iter().map(event_type).collect::<Result<_, _>>()?;
        }
        Ok(settings)
    }
}

fn event_type(subscription: &SubscriptionDto) -> Result<EventType, Refusal> {
    let name = subscription.event_type.as_deref().ok_or_else(|| missing("EventType"))?;
    let known: EventType =
        name.parse().map_err(|error: performer_core::model::webhook::UnknownEventType| {
            Refusal::new(ErrorCode::INVALID_ARGUMENT, error.to_string())
        })?;
    Ok(known)
}

fn missing(name: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("{name} is required"))
}

/// A webhook as reads show it: without its secret.
pub fn webhook_response(webhook: &Webhook) -> Value {
    let settings = &webhook.settings;
    let events: Vec<Value> = settings.events.iter().map(|kind| json!({ "EventType": kind.name() })).collect();
    json!({
        "Key": webhook.key.to_string(),
        "Name": settings.name,
        "Description": settings.description.as_deref().unwrap_or_default(),
        "Url": settings.url,
        "Enabled": settings.enabled,
        "SubscribeToAllEvents": settings.subscribe_to_all_events,
        "AllowInsecureSsl": settings.allow_insecure_ssl,
        "Events": events,
        "Id": webhook.id.0,
    })
}

/// The types that a webhook can subscribe to.
pub fn event_types() -> Vec<Value> {
    EventType::subscribable().map(|kind| json!({"Name": kind.name(), "Group": kind.group()})).collect()
}

/// Which deliveries are listed: a call of our own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveriesRequest {
    pub webhook: i64,
    #[serde(default)]
    pub dead: bool,
    #[serde(default)]
    pub after: i64,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveriesResponse {
    pub deliveries: Vec<DeliveryDto>,
}

/// Which dead letters are sent again; without numbers, all of the webhook.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryRequest {
    pub webhook: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Vec<i64>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RetryResponse {
    pub count: u64,
}

/// Asks for all webhooks.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct WebhookStatesRequest {}

/// All webhooks with how the sending goes, which the vendor's routes do not show.
#[derive(Debug, Serialize, Deserialize)]
pub struct WebhookStatesResponse {
    pub webhooks: Vec<Webhook>,
}

/// A delivery, in lists of our own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeliveryDto {
    pub id: i64,
    pub webhook_id: i64,
    pub event_id: String,
    pub event_type: String,
    pub creation_time: ApiTime,
    pub state: String,
    pub is_dead_letter: bool,
    pub since: ApiTime,
    pub tries: u32,
    pub error: Option<String>,
}

impl From<&Delivery> for DeliveryDto {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.0,
            webhook_id: delivery.webhook.0,
            event_id: delivery.event_id.clone(),
            event_type: delivery.event_type.name().to_owned(),
            creation_time: ApiTime(delivery.created),
            state: delivery.state.name().to_owned(),
            is_dead_letter: delivery.state == DeliveryState::Dead,
            since: ApiTime(delivery.since),
            tries: delivery.tries,
            error: delivery.error.clone(),
        }
    }
}

impl DeliveryDto {
    /// The delivery.
    ///
    /// # Errors
    ///
    /// A type of events or a state that is not known.
    pub fn into_delivery(self) -> Result<Delivery, Unreadable> {
        let unknown = |what: &str| {
            Unreadable(format!("delivery {} has {what}, which this version does not know", self.id))
        };
        let event_type = self.event_type.parse().map_err(|_| unknown(&self.event_type))?;
        let state = self.state.parse().map_err(|_| unknown(&self.state))?;
        let ids = (DeliveryId(self.id), WebhookId(self.webhook_id));
        let mut delivery = Delivery::stored(ids, self.event_id, event_type, self.creation_time.0);
        (delivery.state, delivery.since) = (state, self.since.0);
        (delivery.tries, delivery.error) = (self.tries, self.error);
        Ok(delivery)
    }
}

/// What a server knows of folders and users, for the bodies of events.
pub trait EventNames {
    /// The key of a folder.
    fn folder_key(&self, folder: i64) -> Option<String>;
    /// The key of a user.
    fn user_key(&self, user: i64) -> Option<String>;
}

/// The members of an item in the body of an event.
const ITEM_MEMBERS: &[&str] = &[
    "Id",
    "Key",
    "Reference",
    "QueueDefinitionId",
    "Status",
    "ReviewStatus",
    "DueDate",
    "Priority",
    "CreationTime",
    "DeferDate",
    "StartProcessing",
    "EndProcessing",
    "CreatorJobKey",
    "ExecutorJobKey",
    "RiskSlaDate",
    "SecondsInPreviousAttempts",
    "AncestorId",
    "RetryNumber",
    "ManualAncestorId",
    "ManualRetryNumber",
    "UniqueKey",
    "Progress",
    "ReviewerUserId",
    "SpecificContent",
    "Output",
    "ParentOperationId",
    "OperationId",
];

/// The body of an event: the members that all have, and what it is about. Members without a value are absent.
pub fn event_body(event: &WebhookEvent, names: &impl EventNames) -> Value {
    let at = json!(ApiTime(event.time));
    let mut body = Map::new();
    body.insert("Type".to_owned(), event.kind.name().into());
    body.insert("EventId".to_owned(), event.event_id.as_str().into());
    body.insert("Timestamp".to_owned(), at.clone());
    body.insert("EventTime".to_owned(), at);
    body.insert("TenantId".to_owned(), 1.into());
    if let Some(folder) = event.folder {
        body.insert("OrganizationUnitId".to_owned(), folder.0.into());
        insert_some(&mut body, "OrganizationUnitKey", names.folder_key(folder.0));
    }
    if let Some(user) = event.user {
        body.insert("UserId".to_owned(), user.into());
        insert_some(&mut body, "UserKey", names.user_key(user));
    }
    for (name, value) in &event.about {
        match (name.as_str(), value) {
            ("QueueItem", item) => {
                body.insert(name.clone(), item_of(item));
            }
            ("QueueItems", Value::Array(items)) => {
                body.insert(name.clone(), items.iter().map(item_of).collect());
            }
            ("Folders", Value::Array(folders)) => {
                let keys = folders.iter().filter_map(|folder| names.folder_key(folder.as_i64()?));
                body.insert("FolderKeys".to_owned(), keys.collect());
            }
            ("Queue", queue) => {
                body.insert(name.clone(), without_nulls(queue));
            }
            ("Queues", Value::Array(queues)) => {
                body.insert(name.clone(), queues.iter().map(without_nulls).collect());
            }
            ("Job", job) => {
                let job = job_of(job);
                if event.kind == EventType::JobStopped {
                    body.insert("Jobs".to_owned(), json!([job]));
                } else {
                    body.insert(name.clone(), job);
                }
            }
            _ => {
                body.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(body)
}

fn insert_some(body: &mut Map<String, Value>, name: &str, value: Option<String>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

fn without_nulls(value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn item_of(item: &Value) -> Value {
    let mut members: Map<String, Value> = ITEM_MEMBERS
        .iter()
        .filter_map(|name| {
            Some(((*name).to_owned(), item.get(name).filter(|value| !value.is_null())?.clone()))
        })
        .collect();
    if let Some(exception) = item.get("ProcessingException").filter(|value| value.is_object()) {
        let mut exception = without_nulls(exception);
        if let Some(members) = exception.as_object_mut()
            && let Some(at) = members.remove("CreationTime")
        {
            members.insert("Timestamp".to_owned(), at);
        }
        members.insert("ProcessingException".to_owned(), exception);
    }
    Value::Object(members)
}

/// A job: what the document names, and where it runs.
fn job_of(job: &Value) -> Value {
    let mut members: Map<String, Value> = ["Key", "State", "StartTime", "EndTime", "Info"]
        .iter()
        .filter_map(|name| {
            Some(((*name).to_owned(), job.get(name).filter(|value| !value.is_null())?.clone()))
        })
        .collect();
    if let Some(machine) = job.get("HostMachineName").filter(|name| name.as_str() != Some("")) {
        members.insert("Machine".to_owned(), json!({ "Name": machine }));
    }
    Value::Object(members)
}
