//! The bodies of new and edited queues (orchestrator-api 6).

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::enum_value::EnumValue;
use super::super::queue::RetentionAction;
use super::super::transaction::known_value;
use super::super::{json, lease_protocol};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition, QueueNotes, QueuePolicy, Tag};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::schema::Schemas;

/// The body of a new or edited queue. Most members are parsed later, so that an error can name the member. Where null removes
/// a value, null and an absent member are distinguished.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueRequest {
    pub id: Option<i64>,
    name: String,
    description: Option<String>,
    max_number_of_retries: Option<u32>,
    accept_automatically_retry: Option<bool>,
    retry_abandoned_items: Option<bool>,
    enforce_unique_reference: Option<bool>,
    encrypted: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    specific_data_json_schema: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    output_data_json_schema: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    analytics_data_json_schema: Option<Value>,
    sla_in_minutes: Option<Value>,
    risk_sla_in_minutes: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    release_id: Option<Value>,
    tags: Option<Box<RawValue>>,
    retention_action: Option<Value>,
    retention_period: Option<Value>,
    stale_retention_action: Option<Value>,
    stale_retention_period: Option<Value>,
    performer_abandon_after_seconds: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    performer_retry_delay: Option<Value>,
}

/// `Some(null)` for null; an absent member is `None`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl QueueRequest {
    /// The new definition. Absent members keep the value of the existing queue, or get the default.
    ///
    /// # Errors
    ///
    /// Code 1009 for a value of the wrong type, 1019 for an unsupported feature, 1855 for a value that cannot be changed.
    pub fn into_new(self, existing: Option<&QueueDefinition>) -> Result<NewQueueDefinition, Refusal> {
        let default = QueuePolicy::default();
        let before = existing.map_or(&default, |queue| &queue.policy);
        self.check_encryption()?;
        let schemas = self.schemas(existing)?;
        let notes = self.notes(existing)?;
        let abandon_after = match &self.performer_abandon_after_seconds {
            None => before.abandon_after,
            Some(value) => {
                let seconds = value.as_u64().ok_or_else(|| invalid(lease_protocol::ABANDON_AFTER))?;
                std::time::Duration::from_secs(seconds)
            }
        };
        let retry_delay = match &self.performer_retry_delay {
            None => before.retry_delay,
            Some(Value::Null) => RetryDelay::None,
            Some(value) => {
                RetryDelay::deserialize(value).map_err(|_| invalid(lease_protocol::RETRY_DELAY))?
            }
        };
        let policy = before
            .clone()
            .retry_delay(retry_delay)
            .abandon_after(abandon_after)
            .accept_automatically_retry(
                self.accept_automatically_retry.unwrap_or(before.accept_automatically_retry),
            )
            .max_number_of_retries(self.max_number_of_retries.unwrap_or(before.max_number_of_retries))
            .retry_abandoned_items(self.retry_abandoned_items.unwrap_or(before.retry_abandoned_items))
            .enforce_unique_reference(
                self.enforce_unique_reference.unwrap_or(before.enforce_unique_reference),
            );
        let description = self.description.filter(|text| !text.is_empty());
        let mut queue = NewQueueDefinition::new(self.name).policy(policy).schemas(schemas).notes(notes);
        queue.description = description;
        Ok(queue)
    }

    fn check_encryption(&self) -> Result<(), Refusal> {
        match self.encrypted.as_ref().map(Value::as_bool) {
            None | Some(Some(false)) => Ok(()),
            Some(Some(true)) => {
                let message = "queues are not encrypted here: leave Encrypted out, or use an encrypted disk";
                Err(Refusal::new(ErrorCode::FEATURE_DISABLED, message))
            }
            Some(None) => Err(invalid("Encrypted")),
        }
    }

    fn schemas(&self, existing: Option<&QueueDefinition>) -> Result<Schemas, Refusal> {
        let schema = |name: &str, wanted: &Option<Value>, existing: Option<&Arc<str>>| match wanted {
            None => Ok(existing.cloned()),
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(Arc::from(text.as_str()))),
            Some(_) => Err(invalid(name)),
        };
        let schemas = existing.map(|queue| queue.schemas.clone()).unwrap_or_default();
        Ok(Schemas {
            specific_data: schema(
                "SpecificDataJsonSchema",
                &self.specific_data_json_schema,
                schemas.specific_data.as_ref(),
            )?,
            output_data: schema(
                "OutputDataJsonSchema",
                &self.output_data_json_schema,
                schemas.output_data.as_ref(),
            )?,
            analytics_data: schema(
                "AnalyticsDataJsonSchema",
                &self.analytics_data_json_schema,
                schemas.analytics_data.as_ref(),
            )?,
        })
    }

    fn notes(&self, existing: Option<&QueueDefinition>) -> Result<QueueNotes, Refusal> {
        let number = |name: &str, wanted: &Option<Value>, before: u32| {
            wanted.as_ref().map_or(Ok(before), |value| {
                value.as_u64().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| invalid(name))
            })
        };
        let notes = existing.map(|queue| queue.notes.clone()).unwrap_or_default();
        let tags: Vec<Tag> = match &self.tags {
            None => notes.tags,
            Some(tags) => json::request(tags.get().as_bytes()).map_err(|_| invalid("Tags"))?,
        };
        let release_id = match &self.release_id {
            None => notes.release_id,
            Some(Value::Null) => None,
            Some(value) => Some(value.as_i64().ok_or_else(|| invalid("ReleaseId"))?),
        };
        let risk_sla = number("RiskSlaInMinutes", &self.risk_sla_in_minutes, notes.risk_sla_in_minutes)?;
        Ok(QueueNotes::default()
            .sla_in_minutes(number("SlaInMinutes", &self.sla_in_minutes, notes.sla_in_minutes)?)
            .risk_sla_in_minutes(risk_sla)
            .release_id(release_id)
            .tags(tags))
    }

    /// Applies the retention members of CreateQueue and EditQueue to a policy.
    ///
    /// # Errors
    ///
    /// Code 1009 for an invalid retention; 1002 for Archive, because there are no buckets.
    pub fn retention_into(&self, policy: &mut QueuePolicy, is_required: bool) -> Result<(), Refusal> {
        let stale = (&self.stale_retention_action, &self.stale_retention_period);
        for ((action, period), days, is_required) in [
            ((&self.retention_action, &self.retention_period), &mut policy.retention_days, is_required),
            (stale, &mut policy.stale_retention_days, false),
        ] {
            let action: Option<EnumValue<RetentionAction>> = action
                .as_ref()
                .map(|value| serde_json::from_value(value.clone()).map_err(|_| invalid("Action")))
                .transpose()?;
            match (period, is_required) {
                (Some(period), _) => *days = days_of(action.as_ref(), period.as_i64())?,
                (None, true) => return Err(invalid("Period")),
                (None, false) => {}
            }
        }
        Ok(())
    }
}

/// The number of days after which items are removed.
///
/// # Errors
///
/// Code 1009 for an invalid period or action; 1002 for Archive, because there are no buckets.
pub fn days_of(action: Option<&EnumValue<RetentionAction>>, period: Option<i64>) -> Result<u32, Refusal> {
    match action.map(|action| known_value("Action", action)).transpose()? {
        Some(RetentionAction::Delete) | None => {}
        Some(RetentionAction::Archive) => {
            return Err(Refusal::new(ErrorCode::ITEM_NOT_FOUND, "Bucket does not exist"));
        }
        Some(RetentionAction::None) => return Err(invalid("Action")),
    }
    let days = period.and_then(|days| u32::try_from(days).ok());
    days.filter(|days| (1..=performer_core::model::queue::MAX_RETENTION_DAYS).contains(days))
        .ok_or_else(|| invalid("Period"))
}

fn invalid(name: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("Invalid argument '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_keep_their_values() {
        let read = |json: &str| json::request::<QueueRequest>(json.as_bytes()).unwrap();
        let new = read(
            r#"{"Name":"Q","MaxNumberOfRetries":3,"SlaInMinutes":5,"ReleaseId":1,"Tags":[{"Name":"t"}]}"#,
        );
        let new = new.into_new(None).unwrap();
        assert_eq!(
            (new.policy.max_number_of_retries, new.notes.sla_in_minutes, new.notes.tags.len()),
            (3, 5, 1)
        );
        for (json, code) in [
            (r#"{"Name":"Q","Encrypted":true}"#, 1019),
            (r#"{"Name":"Q","SlaInMinutes":-1}"#, 1009),
            (r#"{"Name":"Q","Tags":[1]}"#, 1009),
            (r#"{"Name":"Q","PerformerRetryDelay":"30s"}"#, 1009),
            (r#"{"Name":"Q","PerformerRetryDelay":{"kind":"sometimes"}}"#, 1009),
            (r#"{"Name":"Q","PerformerRetryDelay":{"kind":"fixed","milliseconds":-1}}"#, 1009),
            (r#"{"Name":"Q","SpecificDataJsonSchema":{}}"#, 1009),
        ] {
            assert_eq!(read(json).into_new(None).unwrap_err().code().number(), code, "{json}");
        }
        let mut policy = QueuePolicy::default();
        let create = |json: &str, policy: &mut QueuePolicy| read(json).retention_into(policy, true);
        assert!(create(r#"{"Name":"Q"}"#, &mut policy).unwrap_err().to_string().contains("'Period'"));
        create(
            r#"{"Name":"Q","RetentionAction":"Delete","RetentionPeriod":7,"StaleRetentionPeriod":9}"#,
            &mut policy,
        )
        .unwrap();
        assert_eq!((policy.retention_days, policy.stale_retention_days), (7, 9));
        let archive = create(r#"{"Name":"Q","RetentionAction":"Archive","RetentionPeriod":7}"#, &mut policy);
        assert_eq!(archive.unwrap_err().code(), ErrorCode::ITEM_NOT_FOUND);
        assert!(create(r#"{"Name":"Q","RetentionPeriod":181}"#, &mut policy).is_err());
    }

    #[test]
    fn a_retry_delay_is_kept_changed_or_removed() {
        let read = |json: &str| json::request::<QueueRequest>(json.as_bytes()).unwrap();
        let mut queue = QueueDefinition::new(
            performer_core::model::key::QueueId(1),
            performer_core::model::key::QueueKey::from_bytes([0; 16]),
            "Q".to_owned(),
            jiff::Timestamp::UNIX_EPOCH,
        );
        queue.policy = queue.policy.retry_delay(std::time::Duration::from_secs(30));
        for (json, delay) in [
            (r#"{"Name":"Q"}"#, "30s"),
            (r#"{"Name":"Q","PerformerRetryDelay":null}"#, "none"),
            (r#"{"Name":"Q","PerformerRetryDelay":{"kind":"none"}}"#, "none"),
            (r#"{"name":"Q","performerretrydelay":{"kind":"fixed","milliseconds":5}}"#, "5ms"),
            (
                r#"{"Name":"Q","PerformerRetryDelay":{"kind":"exponential","firstMilliseconds":1000,
                    "capMilliseconds":60000,"jitterPercent":10}}"#,
                "1s..1m~10%",
            ),
        ] {
            let new = read(json).into_new(Some(&queue)).unwrap();
            assert_eq!(new.policy.retry_delay.to_string(), delay, "{json}");
        }
    }

    #[test]
    fn names_in_tags_are_case_insensitive() {
        let body =
            br#"{"name":"Q","maxNumberOfRetries":3,"slaInMinutes":5,"TAGS":[{"name":"t","displayname":"T"}],
            "specificDataJsonSchema":"{}","retentionPeriod":7}"#;
        let read: QueueRequest = json::request(body).unwrap();
        let mut new = read.clone().into_new(None).unwrap();
        read.retention_into(&mut new.policy, true).unwrap();
        assert_eq!((new.policy.max_number_of_retries, new.policy.retention_days), (3, 7));
        assert_eq!((new.notes.sla_in_minutes, new.notes.tags[0].name.as_str()), (5, "t"));
        assert_eq!(new.schemas.specific_data.as_deref(), Some("{}"));
    }
}
