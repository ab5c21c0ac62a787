//! Bodies that only a server reads: what is written by people and their tools (contract sections 6, 9 to 11).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::item::{ProcessingExceptionDto, RowVersion};
use super::leased;
use super::named::Named;
use super::queue::{QueueDefinitionDto, RetentionAction, RetentionType};
use super::transaction::{TransactionResultDto, known};
use crate::model::Refusal;
use crate::model::clock::whole_microseconds;
use crate::model::code::ErrorCode;
use crate::model::content::{Analytics, Output};
use crate::model::exception::{ExceptionType, ProcessingException, validate_exception_text};
use crate::model::key::ItemId;
use crate::model::queue::{NewQueueDefinition, QueueDefinition, QueueNotes, QueuePolicy, Tag};
use crate::model::result::StatedResult;
use crate::model::review::ItemVersion;
use crate::model::schema::Schemas;

/// The items of a bulk operation, and what is to be done to them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkRequest {
    pub(crate) status: Option<Value>,
    pub(crate) user_id: Option<i64>,
    queue_items: Vec<VersionedRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionedRequest {
    id: i64,
    row_version: Option<Value>,
}

impl BulkRequest {
    /// The items. One without a version, or with one that is none, was never seen as it is.
    pub(crate) fn items(&self) -> Vec<ItemVersion> {
        let version = |item: &VersionedRequest| {
            let version =
                item.row_version.clone().and_then(|text| serde_json::from_value::<RowVersion>(text).ok());
            version.map_or(u64::MAX, |version| version.0)
        };
        self.queue_items
            .iter()
            .map(|item| ItemVersion { id: ItemId(item.id), row_version: version(item) })
            .collect()
    }
}

/// A comment.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CommentRequest {
    pub(crate) text: String,
    pub(crate) queue_item_id: Option<i64>,
}

/// Queues that are put into folders and taken out of others.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShareRequest {
    pub(crate) queue_ids: Vec<i64>,
    pub(crate) to_add_folder_ids: Option<Vec<i64>>,
    pub(crate) to_remove_folder_ids: Option<Vec<i64>>,
}

/// The retention of a queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RetentionRequest {
    pub(crate) action: Option<Named<RetentionAction>>,
    pub(crate) period: Option<i64>,
    #[serde(rename = "Type")]
    pub(crate) retention_type: Option<Named<RetentionType>>,
}

/// A folder.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FolderRequest {
    pub(crate) display_name: String,
    pub(crate) description: Option<String>,
    pub(crate) parent_id: Option<i64>,
}

/// Users who are given roles in folders.
#[derive(Deserialize)]
pub(crate) struct AssignUsersRequest {
    pub(crate) assignments: Assignments,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Assignments {
    pub(crate) user_ids: Vec<i64>,
    pub(crate) roles_per_folder: Vec<RolesPerFolder>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RolesPerFolder {
    pub(crate) folder_id: i64,
    pub(crate) role_ids: Vec<i64>,
}

/// A user who is taken out of a folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemoveUserRequest {
    pub(crate) user_id: i64,
}

/// A user. No Debug: it may have a password in it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UserRequest {
    pub(crate) user_name: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) surname: Option<String>,
    pub(crate) email_address: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) is_active: Option<bool>,
    #[serde(rename = "Type")]
    pub(crate) user_type: Option<Named<crate::model::user::UserType>>,
    pub(crate) roles_list: Option<Vec<String>>,
}

/// The roles that a user is given in the tenant.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssignRolesRequest {
    pub(crate) role_ids: Vec<i64>,
}

/// A role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RoleRequest {
    pub(crate) name: String,
    pub(crate) permissions: Option<Vec<PermissionRequest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PermissionRequest {
    pub(crate) name: String,
    pub(crate) is_granted: Option<bool>,
}

/// Who logs in the old way. No Debug: it has a password in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginRequest {
    pub(crate) username_or_email_address: String,
    pub(crate) password: String,
}

impl QueueDefinitionDto {
    /// The queue that somebody wants. What is not said is as it is on the queue, or as it is by default.
    ///
    /// # Errors
    ///
    /// Code 1009 for a value of the wrong kind, 1019 for what is not there, 1855 for what cannot change.
    pub(crate) fn into_new(self, there: Option<&QueueDefinition>) -> Result<NewQueueDefinition, Refusal> {
        let default = QueuePolicy::default();
        let before = there.map_or(&default, |queue| &queue.policy);
        let field = |name: &str| self.other.get(name).filter(|value| !value.is_null());
        let wrong =
            |name: &str| Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("Invalid argument '{name}'"));
        if let Some(encrypted) = field("Encrypted") {
            match encrypted.as_bool() {
                Some(false) => {}
                Some(true) => {
                    let message =
                        "queues are not encrypted here: leave Encrypted out, or use an encrypted disk";
                    return Err(Refusal::new(ErrorCode::FEATURE_DISABLED, message));
                }
                None => return Err(wrong("Encrypted")),
            }
        }
        let schema = |name: &str, there: Option<&Arc<str>>| match self.other.get(name) {
            None => Ok(there.cloned()),
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(Arc::from(text.as_str()))),
            Some(_) => Err(wrong(name)),
        };
        let schemas = there.map(|queue| queue.schemas.clone()).unwrap_or_default();
        let schemas = Schemas {
            specific_data: schema("SpecificDataJsonSchema", schemas.specific_data.as_ref())?,
            output_data: schema("OutputDataJsonSchema", schemas.output_data.as_ref())?,
            analytics_data: schema("AnalyticsDataJsonSchema", schemas.analytics_data.as_ref())?,
        };
        let number = |name: &str, before: u32| {
            field(name).map_or(Ok(before), |value| {
                value.as_u64().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| wrong(name))
            })
        };
        let notes = there.map(|queue| queue.notes.clone()).unwrap_or_default();
        let tags: Vec<Tag> = match field("Tags") {
            None => notes.tags,
            Some(tags) => serde_json::from_value(tags.clone()).map_err(|_| wrong("Tags"))?,
        };
        let release_id = match self.other.get("ReleaseId") {
            None => notes.release_id,
            Some(Value::Null) => None,
            Some(value) => Some(value.as_i64().ok_or_else(|| wrong("ReleaseId"))?),
        };
        let notes = QueueNotes {
            sla_in_minutes: number("SlaInMinutes", notes.sla_in_minutes)?,
            risk_sla_in_minutes: number("RiskSlaInMinutes", notes.risk_sla_in_minutes)?,
            release_id,
            tags,
        };
        let abandon_after = match field(leased::ABANDON_AFTER) {
            None => before.abandon_after,
            Some(value) => {
                let seconds = value.as_u64().ok_or_else(|| wrong(leased::ABANDON_AFTER))?;
                std::time::Duration::from_secs(seconds)
            }
        };
        let policy = QueuePolicy {
            abandon_after,
            accept_automatically_retry: self
                .accept_automatically_retry
                .unwrap_or(before.accept_automatically_retry),
            max_number_of_retries: self.max_number_of_retries.unwrap_or(before.max_number_of_retries),
            retry_abandoned_items: self.retry_abandoned_items.unwrap_or(before.retry_abandoned_items),
            enforce_unique_reference: self
                .enforce_unique_reference
                .unwrap_or(before.enforce_unique_reference),
            ..before.clone()
        };
        let description = self.description.filter(|text| !text.is_empty());
        Ok(NewQueueDefinition { name: self.name, description, policy, schemas, notes })
    }

    /// The retention that CreateQueue and EditQueue say besides.
    ///
    /// # Errors
    ///
    /// Code 1009 for one that there is not; 1002 for an archive: there is no bucket.
    pub(crate) fn retention_into(&self, policy: &mut QueuePolicy, is_needed: bool) -> Result<(), Refusal> {
        for (action, period, days, is_needed) in [
            ("RetentionAction", "RetentionPeriod", &mut policy.retention_days, is_needed),
            ("StaleRetentionAction", "StaleRetentionPeriod", &mut policy.stale_retention_days, false),
        ] {
            let field = |name: &str| self.other.get(name).filter(|value| !value.is_null()).cloned();
            let action: Option<Named<RetentionAction>> = field(action)
                .map(|value| serde_json::from_value(value).map_err(|_| no_such_retention("Action")))
                .transpose()?;
            match (field(period), is_needed) {
                (Some(period), _) => *days = days_of(action.as_ref(), period.as_i64())?,
                (None, true) => return Err(no_such_retention("Period")),
                (None, false) => {}
            }
        }
        Ok(())
    }
}

/// After how many days items go.
///
/// # Errors
///
/// Code 1009 for a period or an action that there is not; 1002 for an archive: there is no bucket.
pub(crate) fn days_of(action: Option<&Named<RetentionAction>>, period: Option<i64>) -> Result<u32, Refusal> {
    match action.map(|action| known("Action", action)).transpose()? {
        Some(RetentionAction::Delete) | None => {}
        Some(RetentionAction::Archive) => {
            return Err(Refusal::new(ErrorCode::ITEM_NOT_FOUND, "Bucket does not exist"));
        }
        Some(RetentionAction::None) => return Err(no_such_retention("Action")),
    }
    let days = period.and_then(|days| u32::try_from(days).ok());
    days.filter(|days| (1..=crate::model::queue::MAX_RETENTION_DAYS).contains(days))
        .ok_or_else(|| no_such_retention("Period"))
}

fn no_such_retention(what: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("Invalid argument '{what}'"))
}

/// A result as a caller states it, and what the transaction left.
pub(crate) struct Reported {
    pub(crate) stated: StatedResult,
    pub(crate) output: Option<Output>,
    pub(crate) analytics: Option<Analytics>,
}

impl TransactionResultDto {
    /// What is reported. `now` is when an exception happened whose time is not said; what a DeferDate means is for the
    /// store to decide, by its own clock.
    ///
    /// # Errors
    ///
    /// 1009 and 1868 to 1870 for output, analytics and exceptions that are not taken.
    pub(crate) fn reported(&self, now: jiff::Timestamp) -> Result<Reported, Refusal> {
        let output =
            self.output.as_ref().map(|map| Output::new(&Value::Object(map.0.clone()))).transpose()?;
        let analytics =
            self.analytics.as_ref().map(|map| Analytics::new(&Value::Object(map.0.clone()))).transpose()?;
        let stated = match &self.processing_exception {
            // An exception of a success is not kept; but a success with one is never a postponement.
            Some(_) if self.is_successful => StatedResult { is_successful: true, ..StatedResult::default() },
            exception => StatedResult {
                is_successful: self.is_successful,
                exception: exception.as_ref().map(|dto| exception_of(dto, now)).transpose()?,
                defer_date: self.defer_date.map(|at| whole_microseconds(at.0)),
                due_date: self.due_date.map(|at| whole_microseconds(at.0)),
            },
        };
        Ok(Reported { stated, output, analytics })
    }
}

fn exception_of(dto: &ProcessingExceptionDto, now: jiff::Timestamp) -> Result<ProcessingException, Refusal> {
    let kind = dto.exception_type.as_ref();
    let kind =
        kind.map_or(Ok(ExceptionType::ApplicationException), |kind| known("ProcessingException.Type", kind))?;
    let texts = [&dto.reason, &dto.details, &dto.associated_image_file_path];
    texts.into_iter().flatten().try_for_each(|text| validate_exception_text(text))?;
    let at = dto.creation_time.map_or(now, |at| whole_microseconds(at.0));
    Ok(ProcessingException::new(kind, dto.reason.clone().unwrap_or_default(), at)
        .details(dto.details.clone())
        .image(dto.associated_image_file_path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_a_version_was_never_seen() {
        let body: BulkRequest = serde_json::from_str(
            r#"{"queueItems":[{"Id":1,"RowVersion":"AAAAAAAAKZc="},{"Id":2},{"Id":3,"RowVersion":"?"},{"Id":4,"RowVersion":7}]}"#,
        )
        .unwrap();
        let versions: Vec<u64> = body.items().iter().map(|item| item.row_version).collect();
        assert_eq!(versions, [0x2997, u64::MAX, u64::MAX, u64::MAX]);
    }

    #[test]
    fn every_form_of_a_result_is_read() {
        let now = "2026-09-01T00:00:00Z".parse().unwrap();
        let read = |json: &str| {
            serde_json::from_str::<TransactionResultDto>(json).unwrap().reported(now).map(|read| read.stated)
        };
        let (defer_date, due_date) = (Some(now), "2027-01-01T00:00:00Z".parse().ok());
        assert_eq!(
            read(
                r#"{"IsSuccessful":true,"DeferDate":"2026-09-01T00:00:00Z","DueDate":"2027-01-01T00:00:00Z"}"#
            ),
            Ok(StatedResult { is_successful: true, exception: None, defer_date, due_date })
        );
        // No field of the document is required.
        assert_eq!(read("{}"), Ok(StatedResult::default()));
        assert_eq!(
            read(r#"{"DeferDate":"2026-09-01T00:00:00.0000009Z"}"#),
            Ok(StatedResult { defer_date, ..StatedResult::default() })
        );
        assert_eq!(
            read(
                r#"{"IsSuccessful":true,"DeferDate":"2027-01-01T00:00:00Z","ProcessingException":{"Type":"Other"}}"#
            ),
            Ok(StatedResult { is_successful: true, ..StatedResult::default() })
        );
        let failed = read(r#"{"IsSuccessful":false,"ProcessingException":{"Reason":"r"}}"#).unwrap();
        assert_eq!(failed.exception.unwrap().exception_type, ExceptionType::ApplicationException);
        assert!(read(r#"{"IsSuccessful":false,"ProcessingException":{"Type":"Other"}}"#).is_err());
        let long = format!(
            r#"{{"IsSuccessful":false,"ProcessingException":{{"Reason":"{}"}}}}"#,
            "x".repeat(102_401)
        );
        assert_eq!(read(&long).unwrap_err().code().number(), 1870);
        assert!(read(r#"{"IsSuccessful":true,"Output":{"a":[1]}}"#).is_err());
    }

    #[test]
    fn a_queue_keeps_what_is_not_said() {
        let read = |json: &str| serde_json::from_str::<QueueDefinitionDto>(json).unwrap();
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
}
