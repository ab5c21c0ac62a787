//! Queue definitions, their retention, and their processing status (orchestrator-api 6 and 11).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ApiTime, EnumValue, Unreadable, lease_protocol};
use performer_core::enumeration;
use performer_core::model::key::{QueueId, QueueKey};
use performer_core::model::limits::QueueLimits;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition, QueueNotes, QueuePolicy, Tag};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::schema::Schemas;

/// A queue. Unknown members are kept, so that an edited queue is written back with only the intended changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueDefinitionDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<uuid::Uuid>,
    pub name: String,
    pub description: Option<String>,
    pub max_number_of_retries: Option<u32>,
    pub accept_automatically_retry: Option<bool>,
    /// Since version 18 of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_abandoned_items: Option<bool>,
    pub enforce_unique_reference: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<ApiTime>,
    /// All other members: schemas, SLA, the process of the queue, tags.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The first version of the API that knows RetryAbandonedItems (orchestrator-api 6).
pub const RETRY_ABANDONED_ITEMS_SINCE: u32 = 18;

const SPECIFIC_DATA: &str = "SpecificDataJsonSchema";
const OUTPUT_DATA: &str = "OutputDataJsonSchema";
const ANALYTICS_DATA: &str = "AnalyticsDataJsonSchema";
const SLA: &str = "SlaInMinutes";
const RISK_SLA: &str = "RiskSlaInMinutes";
const RELEASE: &str = "ReleaseId";
const TAGS: &str = "Tags";

/// Members that were introduced by version 14 of the API (orchestrator-api 6).
const SINCE_14: [&str; 4] = [TAGS, "Encrypted", "IsProcessInCurrentFolder", "FoldersCount"];

impl QueueDefinitionDto {
    /// Applies new settings, and leaves out members that a server of this version does not know: it would refuse the whole
    /// body (orchestrator-api 4.3).
    pub fn with_settings(mut self, queue: &NewQueueDefinition, server: Option<u32>, is_ours: bool) -> Self {
        self.name.clone_from(&queue.name);
        if description_of(&self.description) != description_of(&queue.description) {
            self.description.clone_from(&queue.description);
        }
        self.max_number_of_retries = Some(queue.policy.max_number_of_retries);
        self.accept_automatically_retry = Some(queue.policy.accept_automatically_retry);
        self.enforce_unique_reference = Some(queue.policy.enforce_unique_reference);
        // A member that reads as what is wanted stays as the server wrote it, or left out: what cannot be read here is not lost, a new
        // queue goes to servers that do not know the member, and a queue that was made is recognised after a lost answer.
        let NewQueueDefinition { policy, schemas, notes, .. } = queue;
        let (there, there_notes) = (schemas_in(&self.other), notes_in(&self.other));
        let (abandon_after, retry_delay) = (abandon_after_in(&self.other), retry_delay_in(&self.other));
        let mut set = |name: &str, is_said: bool, value: Value| {
            if !is_said {
                self.other.insert(name.to_owned(), value);
            }
        };
        for (name, wanted, there) in [
            (SPECIFIC_DATA, &schemas.specific_data, there.specific_data),
            (OUTPUT_DATA, &schemas.output_data, there.output_data),
            (ANALYTICS_DATA, &schemas.analytics_data, there.analytics_data),
        ] {
            set(name, there == *wanted, wanted.as_deref().into());
        }
        let there = there_notes;
        set(SLA, there.sla_in_minutes == notes.sla_in_minutes, notes.sla_in_minutes.into());
        set(
            RISK_SLA,
            there.risk_sla_in_minutes == notes.risk_sla_in_minutes,
            notes.risk_sla_in_minutes.into(),
        );
        set(RELEASE, there.release_id == notes.release_id, notes.release_id.into());
        if is_ours {
            let seconds = policy.abandon_after.as_secs();
            set(lease_protocol::ABANDON_AFTER, abandon_after.as_secs() == seconds, seconds.into());
            let delay = serde_json::to_value(policy.retry_delay).unwrap_or_default();
            set(
                lease_protocol::RETRY_DELAY,
                retry_delay.is_ok_and(|there| there == policy.retry_delay),
                delay,
            );
        }
        set(TAGS, there.tags == notes.tags, serde_json::to_value(&notes.tags).unwrap_or_default());
        let knows = |since: u32| server.is_none_or(|version| version >= since);
        self.retry_abandoned_items =
            knows(RETRY_ABANDONED_ITEMS_SINCE).then_some(queue.policy.retry_abandoned_items);
        self.other.retain(|key, _| {
            !key.contains("@odata.")
                && key != lease_protocol::LIMITS
                && (knows(14) || !SINCE_14.contains(&key.as_str()))
        });
        self
    }

    /// Converts the queue. The retry settings are required: a missing number must not be read as zero.
    pub fn into_definition(self, retention: Retention) -> Result<QueueDefinition, Unreadable> {
        let missing = |what: &str| Unreadable(format!("queue {:?} has no {what}", self.name));
        let retries = self.accept_automatically_retry.ok_or_else(|| missing("AcceptAutomaticallyRetry"))?;
        let retry_delay = retry_delay_in(&self.other);
        let retry_delay = retry_delay
            .map_err(|error| Unreadable(format!("the retry delay of queue {:?}: {error}", self.name)))?;
        let policy = QueuePolicy::default()
            .abandon_after(abandon_after_in(&self.other))
            .retry_delay(retry_delay)
            .accept_automatically_retry(retries)
            .max_number_of_retries(self.max_number_of_retries.ok_or_else(|| missing("MaxNumberOfRetries"))?)
            // Servers without the setting do not retry abandoned items.
            .retry_abandoned_items(self.retry_abandoned_items.unwrap_or(false))
            .enforce_unique_reference(self.enforce_unique_reference.unwrap_or(false))
            .retention_days(retention.final_days)
            .stale_retention_days(retention.stale_days);
        let key = self.key.ok_or_else(|| missing("Key"))?;
        let limits = self.other.get(lease_protocol::LIMITS).cloned().map(serde_json::from_value).transpose();
        let limits =
            limits.map_err(|error| Unreadable(format!("the limits of queue {:?}: {error}", self.name)))?;
        let limits: QueueLimits = limits.unwrap_or_default();
        let (schemas, notes) = (schemas_in(&self.other), notes_in(&self.other));
        let mut queue = QueueDefinition::new(
            QueueId(self.id.ok_or_else(|| missing("Id"))?),
            QueueKey::from_bytes(key.into_bytes()),
            self.name,
            self.creation_time.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0),
        );
        queue.policy = policy;
        queue.schemas = schemas;
        queue.notes = notes;
        queue.limits = limits;
        queue.description = description_of(&self.description).cloned();
        Ok(queue)
    }
}

/// An empty description is none.
fn description_of(description: &Option<String>) -> Option<&String> {
    description.as_ref().filter(|text| !text.is_empty())
}

/// The vendor's fixed time, if the server names none.
fn abandon_after_in(members: &Map<String, Value>) -> Duration {
    let seconds = members.get(lease_protocol::ABANDON_AFTER).and_then(Value::as_u64);
    seconds.map_or(QueuePolicy::default().abandon_after, Duration::from_secs)
}

fn retry_delay_in(members: &Map<String, Value>) -> serde_json::Result<RetryDelay> {
    match members.get(lease_protocol::RETRY_DELAY) {
        None | Some(Value::Null) => Ok(RetryDelay::None),
        Some(delay) => RetryDelay::deserialize(delay),
    }
}

fn schemas_in(members: &Map<String, Value>) -> Schemas {
    let schema = |name: &str| members.get(name).and_then(Value::as_str).map(Into::into);
    Schemas {
        specific_data: schema(SPECIFIC_DATA),
        output_data: schema(OUTPUT_DATA),
        analytics_data: schema(ANALYTICS_DATA),
    }
}

/// The notes of people. What cannot be read is left out: it stops nobody from working on the queue.
fn notes_in(members: &Map<String, Value>) -> QueueNotes {
    let number = |name: &str| members.get(name).and_then(Value::as_i64);
    let minutes =
        |name: &str| number(name).and_then(|minutes| u32::try_from(minutes).ok()).unwrap_or_default();
    let tags = members.get(TAGS).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let tags: Vec<Tag> = tags.iter().filter_map(|tag| Tag::deserialize(tag).ok()).collect();
    QueueNotes::default()
        .sla_in_minutes(minutes(SLA))
        .risk_sla_in_minutes(minutes(RISK_SLA))
        .release_id(number(RELEASE))
        .tags(tags)
}

/// The numbers of days after which items are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub final_days: u32,
    pub stale_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        let policy = QueuePolicy::default();
        Self { final_days: policy.retention_days, stale_days: policy.stale_retention_days }
    }
}

enumeration! {
    /// What happens to items past their retention. The numbers are not the vendor's.
    pub RetentionAction {
        /// Items are removed.
        Delete = 0,
        /// Items are moved into a bucket.
        Archive = 1,
        /// Items are kept.
        None = 2,
    }
}

enumeration! {
    /// Which items a retention applies to. The numbers are not the vendor's.
    pub RetentionType {
        /// Items that have ended.
        Final = 0,
        /// Items that were never finished.
        Stale = 1,
    }
}

/// The retention of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueRetentionDto {
    pub queue_definition_id: i64,
    pub action: Option<EnumValue<RetentionAction>>,
    pub period: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_id: Option<i64>,
    #[serde(rename = "Type")]
    pub retention_type: Option<EnumValue<RetentionType>>,
}

/// The processing status of a queue, which may be some minutes old (orchestrator-api 11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueProcessingStatusDto {
    pub queue_definition_id: Option<i64>,
    pub queue_definition_name: Option<String>,
    pub items_to_process: Option<i64>,
    pub items_in_progress: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip;

    const QUEUE: &str = r##"{"@odata.context":"c","Id":7,"Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11","Name":"Invoices",
        "Description":null,"MaxNumberOfRetries":3,"AcceptAutomaticallyRetry":true,"RetryAbandonedItems":true,
        "EnforceUniqueReference":true,"CreationTime":"2026-08-20T09:59:00.13Z","SlaInMinutes":60,"Tags":[{"Name":"a"}],
        "Encrypted":false,"Tags@odata.type":"#Collection"}"##;

    #[test]
    fn an_edited_queue_keeps_unknown_members() {
        let queue: QueueDefinitionDto = round_trip(QUEUE);
        let settings = queue.clone().into_definition(Retention::default()).unwrap().settings();
        let mut settings = settings.description("paid");
        settings.policy.max_number_of_retries = 5;
        let new = serde_json::to_value(queue.clone().with_settings(&settings, Some(20), false)).unwrap();
        assert_eq!((&new["MaxNumberOfRetries"], &new["SlaInMinutes"]), (&Value::from(5), &Value::from(60)));
        assert_eq!((&new["Description"], &new["Tags"][0]["Name"]), (&Value::from("paid"), &Value::from("a")));
        assert!(new.as_object().unwrap().keys().all(|key| !key.contains('@')));
        settings.notes = QueueNotes::default();
        let bare = serde_json::to_value(queue.clone().with_settings(&settings, Some(20), false)).unwrap();
        assert_eq!((&bare["SlaInMinutes"], &bare["Tags"]), (&Value::from(0), &Value::Array(Vec::new())));
        assert!(bare.get("RiskSlaInMinutes").is_none(), "the server may not know it");

        let keys = |version| {
            let dto = queue.clone().with_settings(&settings, version, false);
            let keys: Vec<String> =
                serde_json::to_value(dto).unwrap().as_object().unwrap().keys().cloned().collect();
            keys
        };
        assert!(keys(None).contains(&"RetryAbandonedItems".to_owned()));
        assert!(!keys(Some(17)).contains(&"RetryAbandonedItems".to_owned()));
        assert!(
            keys(Some(14)).contains(&"Tags".to_owned()) && !keys(Some(13)).contains(&"Encrypted".to_owned())
        );
    }

    /// An update changes what it is meant to change, also where a server has values of another form or out of range.
    #[test]
    fn members_that_say_the_same_stay_as_they_were() {
        let mut queue: QueueDefinitionDto = round_trip(QUEUE);
        queue.other.retain(|name, _| !name.contains('@'));
        for (tags, description, other) in [
            (
                0,
                Some(String::new()),
                r#"{"SlaInMinutes":null,"RiskSlaInMinutes":null,"ReleaseId":null,"Tags":null,"OutputDataJsonSchema":null}"#,
            ),
            (
                1,
                None,
                r#"{"SlaInMinutes":5000000000,"RiskSlaInMinutes":"60","Tags":[{"Name":"a","Of":1},{"Name":null}],
                    "OutputDataJsonSchema":{"type":"object"}}"#,
            ),
        ] {
            let mut queue = queue.clone();
            queue.description = description;
            queue.other.extend(serde_json::from_str::<Map<String, Value>>(other).unwrap());
            let settings = queue.clone().into_definition(Retention::default()).unwrap().settings();
            assert_eq!(settings.notes.tags.len(), tags, "one that cannot be read does not hide the others");
            assert_eq!(queue.clone().with_settings(&settings, Some(20), false), queue, "nothing changes");
            let notes = settings.notes.clone().sla_in_minutes(30).release_id(7).tags([]);
            let mut settings = settings.description("paid").notes(notes);
            settings.schemas.output_data = Some("{}".into());
            let new = queue.with_settings(&settings, Some(20), false);
            let again = new.clone().into_definition(Retention::default()).unwrap().settings();
            assert_eq!(again, settings, "all changes are there");
        }
    }

    /// A new queue says no more than it has to: the server may not know the members.
    #[test]
    fn a_new_queue_has_the_members_that_are_set() {
        let tag = Tag { name: "a".to_owned(), ..Tag::default() };
        let queue = NewQueueDefinition::new("Invoices").notes(QueueNotes::default().tags([tag]));
        let new = QueueDefinitionDto::default().with_settings(&queue, Some(20), false);
        assert_eq!(new.other.keys().collect::<Vec<_>>(), ["Tags"]);
        let again = new.clone().with_settings(&queue, Some(20), false);
        assert_eq!(again, new);
    }

    /// Settings that only our server has are sent to it alone, and only where they change something.
    #[test]
    fn settings_of_our_server_are_sent_where_they_differ() {
        let queue: QueueDefinitionDto = round_trip(QUEUE);
        let policy = queue.clone().into_definition(Retention::default()).unwrap().policy;
        let wanted = |policy: QueuePolicy| NewQueueDefinition::new("Invoices").policy(policy);
        let sent = |queue: &QueueDefinitionDto, policy: &QueuePolicy, is_ours| {
            queue.clone().with_settings(&wanted(policy.clone()), None, is_ours)
        };
        let ours =
            |dto: &QueueDefinitionDto| dto.other.keys().filter(|name| name.starts_with("Performer")).count();
        assert_eq!(ours(&sent(&queue, &policy, true)), 0, "defaults");

        let set = policy.clone().retry_delay(Duration::from_secs(30)).abandon_after(Duration::from_secs(60));
        assert_eq!(ours(&sent(&queue, &set, false)), 0, "the vendor would refuse the body");
        let there = sent(&queue, &set, true);
        assert_eq!(
            there.other["PerformerRetryDelay"],
            serde_json::json!({"kind": "fixed", "milliseconds": 30_000})
        );
        assert_eq!(there.other["PerformerAbandonAfterSeconds"], 60);
        assert_eq!(there.clone().into_definition(Retention::default()).unwrap().policy, set);
        assert_eq!(sent(&there, &set, true), there, "nothing changes");
        let removed = sent(&there, &policy, true);
        assert_eq!(removed.other["PerformerRetryDelay"], serde_json::json!({"kind": "none"}));
        assert_eq!(removed.into_definition(Retention::default()).unwrap().policy, policy);

        let mut unreadable = there;
        unreadable.other.insert("PerformerRetryDelay".to_owned(), "later".into());
        let error = unreadable.into_definition(Retention::default()).unwrap_err();
        assert!(error.to_string().contains("the retry delay of queue \"Invoices\""), "{error}");
    }

    #[test]
    fn a_missing_number_of_retries_is_an_error() {
        let queue: QueueDefinitionDto = round_trip(QUEUE);
        let definition = queue.clone().into_definition(Retention::default()).unwrap();
        assert_eq!((definition.id, definition.policy.max_number_of_retries), (QueueId(7), 3));
        let without = QueueDefinitionDto { max_number_of_retries: None, ..queue };
        let error = without.into_definition(Retention::default()).unwrap_err();
        assert_eq!(error.to_string(), "queue \"Invoices\" has no MaxNumberOfRetries");
    }

    #[test]
    fn retention_and_status_are_parsed() {
        let retention: QueueRetentionDto = round_trip(
            r#"{"QueueDefinitionId":7,"Action":"Delete","Period":30,"BucketId":null,"Type":"Final"}"#,
        );
        assert_eq!(retention.retention_type, Some(RetentionType::Final.into()));
        let status: QueueProcessingStatusDto = round_trip(
            r#"{"QueueDefinitionId":7,"QueueDefinitionName":"Q","ItemsToProcess":3,"ItemsInProgress":0}"#,
        );
        assert_eq!(status.items_to_process, Some(3));
    }
}
