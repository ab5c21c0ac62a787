//! The types of events, and what is kept of an event: a document with the names of the Orchestrator's API, as far as it has them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::super::item::QueueItem;
use super::super::job::Job;
use super::super::key::FolderId;
use super::super::queue::QueueDefinition;
use super::super::task::Task;

macro_rules! event_types {
    ($( $(#[$meta:meta])* $variant:ident = $name:literal, )+) => {
        /// What a webhook can subscribe to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum EventType { $( $(#[$meta])* $variant, )+ }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Its documented name.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }
        }
    };
}

event_types! {
    /// Items were added.
    ItemAdded = "queueItem.added",
    /// An item was claimed.
    ItemStarted = "queueItem.transactionStarted",
    /// An attempt ended well.
    ItemCompleted = "queueItem.transactionCompleted",
    /// An attempt failed.
    ItemFailed = "queueItem.transactionFailed",
    /// The robots of items disappeared.
    ItemAbandoned = "queueItem.transactionAbandoned",
    /// A retry made copies of items; the event is about the copies.
    ItemRetried = "queueItem.retried",
    /// A transaction postponed its item.
    ItemDeferred = "queueItem.deferred",
    /// Items were edited.
    ItemUpdated = "queueItem.updated",
    /// The review status of items changed.
    ItemReviewed = "queueItem.reviewStatusChanged",
    /// Items were deleted.
    ItemDeleted = "queueItem.deleted",
    /// A queue was created.
    QueueCreated = "queue.created",
    /// A queue was changed.
    QueueUpdated = "queue.updated",
    /// A queue was deleted.
    QueueDeleted = "queue.deleted",
    /// A job started.
    JobStarted = "job.started",
    /// A job ended well.
    JobCompleted = "job.completed",
    /// A job ended by an error, or disappeared.
    JobFaulted = "job.faulted",
    /// A job ended because somebody asked for it.
    JobStopped = "job.stopped",
    /// A job was asked to stop.
    JobStopping = "job.stopping",
    /// A job was asked to end at once.
    JobTerminating = "job.terminating",
    /// A task was made.
    TaskCreated = "task.created",
    /// A task was given to a user, or taken from one.
    TaskAssignmentChanged = "task.assignmentChanged",
    /// The data of a task was saved.
    TaskSaved = "task.saved",
    /// The settings of a task were changed.
    TaskUpdated = "task.updated",
    /// A task was completed.
    TaskCompleted = "task.completed",
    /// A task was deleted.
    TaskDeleted = "task.deleted",
    /// Somebody triggered an event with data of their own.
    Custom = "custom",
    /// Somebody asked for a test of one webhook.
    Ping = "ping",
}

impl EventType {
    /// The group in which it is listed.
    pub const fn group(self) -> &'static str {
        match self {
            Self::ItemAdded
            | Self::ItemStarted
            | Self::ItemCompleted
            | Self::ItemFailed
            | Self::ItemAbandoned
            | Self::ItemRetried
            | Self::ItemDeferred
            | Self::ItemUpdated
            | Self::ItemReviewed
            | Self::ItemDeleted => "queueItem",
            Self::QueueCreated | Self::QueueUpdated | Self::QueueDeleted => "queue",
            Self::JobStarted
            | Self::JobCompleted
            | Self::JobFaulted
            | Self::JobStopped
            | Self::JobStopping
            | Self::JobTerminating => "job",
            Self::TaskCreated
            | Self::TaskAssignmentChanged
            | Self::TaskSaved
            | Self::TaskUpdated
            | Self::TaskCompleted
            | Self::TaskDeleted => "task",
            Self::Custom => "custom",
            Self::Ping => "ping",
        }
    }

    /// The types that a webhook can subscribe to: all but the test, which is always sent.
    pub fn subscribable() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| *kind != Self::Ping)
    }

    /// Whether its document has a list of items, so that one event may be about many.
    pub const fn is_about_many_items(self) -> bool {
        matches!(
            self,
            Self::ItemAdded
                | Self::ItemAbandoned
                | Self::ItemRetried
                | Self::ItemUpdated
                | Self::ItemReviewed
                | Self::ItemDeleted
        )
    }
}

/// A name of a type of events that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the type of an event that a webhook can subscribe to")]
pub struct UnknownEventType(String);

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    /// Ignores case: the vendor's own pages disagree about it.
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        let found = Self::ALL.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| UnknownEventType(text.to_owned()))
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Something that happened, as it is kept for each webhook that has subscribed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct WebhookEvent {
    /// Its key, the same for all webhooks.
    pub event_id: String,
    /// Its type.
    #[serde(rename = "Type")]
    pub kind: EventType,
    /// When it happened, by the store's clock.
    pub time: Timestamp,
    /// The folder in which it happened.
    pub folder: Option<FolderId>,
    /// The user who did it, if there are users.
    #[serde(default)]
    pub user: Option<i64>,
    /// What it is about.
    pub about: Map<String, Value>,
}

impl WebhookEvent {
    fn new(kind: EventType, event_id: String, time: Timestamp, about: Map<String, Value>) -> Self {
        Self { event_id, kind, time, folder: None, user: None, about }
    }

    /// The folder in which it happened, and who did it. Default: none.
    #[must_use]
    pub fn by(mut self, folder: impl Into<Option<FolderId>>, user: Option<i64>) -> Self {
        (self.folder, self.user) = (folder.into(), user);
        self
    }
}

fn object(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn queue_value(queue: &QueueDefinition) -> Value {
    json!({
        "Id": queue.id,
        "Key": queue.key,
        "Name": queue.name,
        "Description": queue.description,
        "MaxNumberOfRetries": queue.policy.max_number_of_retries,
        "AcceptAutomaticallyRetry": queue.policy.accept_automatically_retry,
        "RetryAbandonedItems": queue.policy.retry_abandoned_items,
        "EnforceUniqueReference": queue.policy.enforce_unique_reference,
    })
}

/// What happened to items of a queue; one of them where the type is about one ([`EventType::is_about_many_items`]).
pub fn items_event(
    kind: EventType,
    event_id: String,
    time: Timestamp,
    queue: &QueueDefinition,
    items: &[Value],
) -> WebhookEvent {
    let items = match (kind.is_about_many_items(), items) {
        (false, [one, ..]) => ("QueueItem", one.clone()),
        (_, items) => ("QueueItems", items.into()),
    };
    WebhookEvent::new(kind, event_id, time, object([("Queue", queue_value(queue)), items]))
}

/// An item as it is kept in the document of an event.
pub fn item_value(item: &QueueItem) -> Value {
    serde_json::to_value(item).unwrap_or_default()
}

/// What happened to a queue.
pub fn queue_event(
    kind: EventType,
    event_id: String,
    time: Timestamp,
    queue: &QueueDefinition,
) -> WebhookEvent {
    let folders: Vec<i64> = queue.folders.iter().map(|folder| folder.0).collect();
    let about = object([("Queues", json!([queue_value(queue)])), ("Folders", json!(folders))]);
    WebhookEvent::new(kind, event_id, time, about)
}

/// What happened to a job.
pub fn job_event(kind: EventType, event_id: String, time: Timestamp, job: &Job) -> WebhookEvent {
    let job = json!({
        "Key": job.key,
        "State": job.state.name(),
        "StartTime": job.start_time.to_string(),
        "EndTime": job.end_time.map(|at| at.to_string()),
        "Info": job.info,
        "HostMachineName": job.about.machine,
        "QueueDefinitionName": job.about.queue,
    });
    WebhookEvent::new(kind, event_id, time, object([("Job", job)]))
}

/// What happened to a task. `catalog`: the name of its catalog; `before`: the user who had it.
pub fn task_event(
    kind: EventType,
    event_id: String,
    time: Timestamp,
    task: &Task,
    catalog: Option<&str>,
    before: Option<i64>,
) -> WebhookEvent {
    let mut members = object([
        ("Id", json!(task.id)),
        ("Key", json!(task.key)),
        ("Title", json!(task.title)),
        ("Type", json!("ExternalTask")),
        ("Priority", json!(task.priority.name())),
        ("Status", json!(task.status.name())),
        ("CreationTime", json!(task.created)),
        ("OrganizationUnitId", json!(task.folder)),
    ]);
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    };
    add("TaskCatalogName", json!(catalog));
    add("AssignedToUserId", json!(task.assigned_to));
    match kind {
        EventType::TaskCreated => {
            add("ParentOperationId", json!(task.parent_operation));
            add("Tags", json!(task.labels));
        }
        EventType::TaskAssignmentChanged => add("AssignedToUserIdOldValue", json!(before)),
        EventType::TaskCompleted | EventType::TaskDeleted => {
            add("Action", json!(task.action));
            add("ExternalTag", json!(task.external_tag));
        }
        _ => {}
    }
    if kind == EventType::TaskDeleted {
        members.insert("DeletionTime".to_owned(), json!(task.deleted));
        if let Some(deleter) = task.deleter {
            members.insert("DeleterUserId".to_owned(), json!(deleter));
        }
    }
    let tasks = Value::Array(vec![Value::Object(members)]);
    WebhookEvent::new(kind, event_id, time, object([("Tasks", tasks)]))
}

/// A test of a webhook.
pub fn ping_event(event_id: String, time: Timestamp) -> WebhookEvent {
    WebhookEvent::new(EventType::Ping, event_id, time, Map::new())
}

/// An event with somebody's own data.
pub fn custom_event(event_id: String, time: Timestamp, data: Map<String, Value>) -> WebhookEvent {
    WebhookEvent::new(EventType::Custom, event_id, time, object([("EventData", Value::Object(data))]))
}
