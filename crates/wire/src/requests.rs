//! Request bodies that only the server parses (orchestrator-api 6, 9 to 11).

use serde::Deserialize;
use serde_json::Value;

use super::enum_value::EnumValue;
use super::item::{ProcessingExceptionDto, RowVersion};
use super::queue::{RetentionAction, RetentionType};
use super::transaction::{TransactionResultDto, known_value};
use performer_core::model::Refusal;
use performer_core::model::content::{Analytics, Output};
use performer_core::model::exception::{ExceptionType, ProcessingException, validate_exception_text};
use performer_core::model::key::ItemId;
use performer_core::model::result::StatedResult;
use performer_core::model::review::ItemVersion;
use performer_core::model::stored_time::stored;

mod log;
mod queue;

pub use log::{SubmittedLine, submitted_line};
pub use queue::{QueueRequest, days_of};

/// Whether a body has the member SpecificContent, even with the value null.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContentPresence {
    #[serde(default, deserialize_with = "is_present")]
    pub specific_content: bool,
}

fn is_present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The body of a bulk operation on items.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkRequest {
    pub status: Option<Value>,
    pub user_id: Option<i64>,
    queue_items: Vec<VersionedItemRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionedItemRequest {
    id: i64,
    row_version: Option<Value>,
}

impl BulkRequest {
    /// The items. A missing or invalid version never matches the current one.
    pub fn items(&self) -> Vec<ItemVersion> {
        let version = |item: &VersionedItemRequest| {
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

/// The body of a new or edited comment.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CommentRequest {
    pub text: String,
    pub queue_item_id: Option<i64>,
}

/// The body of ShareToFolders: queues to add to folders and to remove from others.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShareRequest {
    pub queue_ids: Vec<i64>,
    pub to_add_folder_ids: Option<Vec<i64>>,
    pub to_remove_folder_ids: Option<Vec<i64>>,
}

/// The body of a change of a queue's retention.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RetentionRequest {
    pub action: Option<EnumValue<RetentionAction>>,
    pub period: Option<i64>,
    #[serde(rename = "Type")]
    pub retention_type: Option<EnumValue<RetentionType>>,
}

/// The body of a new or edited folder.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FolderRequest {
    pub display_name: String,
    pub description: Option<String>,
    pub parent_id: Option<i64>,
}

/// The body of AssignUsers: roles of users in folders.
#[derive(Deserialize)]
pub struct AssignUsersRequest {
    pub assignments: Assignments,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Assignments {
    pub user_ids: Vec<i64>,
    pub roles_per_folder: Vec<RolesPerFolder>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RolesPerFolder {
    pub folder_id: i64,
    pub role_ids: Vec<i64>,
}

/// The body of RemoveUserFromFolder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoveUserRequest {
    pub user_id: i64,
}

/// The body of a new or edited user. No Debug: it may contain a password.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserRequest {
    pub user_name: Option<String>,
    pub name: Option<String>,
    pub surname: Option<String>,
    pub email_address: Option<String>,
    pub password: Option<String>,
    pub is_active: Option<bool>,
    #[serde(rename = "Type")]
    pub user_type: Option<EnumValue<performer_core::model::user::UserType>>,
    pub roles_list: Option<Vec<String>>,
}

/// The body of AssignRoles: the roles of a user in the tenant.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignRolesRequest {
    pub role_ids: Vec<i64>,
}

/// The body of a new or edited role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoleRequest {
    pub name: String,
    pub permissions: Option<Vec<PermissionRequest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PermissionRequest {
    pub name: String,
    pub is_granted: Option<bool>,
}

/// The body of the older login by user name. No Debug: it contains a password.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginRequest {
    pub username_or_email_address: String,
    pub password: String,
}

/// A parsed result of a transaction.
pub struct ParsedResult {
    pub stated: StatedResult,
    pub output: Option<Output>,
    pub analytics: Option<Analytics>,
}

impl TransactionResultDto {
    /// Parses the result. `now` is the time of an exception without one. The store decides by its own clock whether a
    /// DeferDate is in the future.
    ///
    /// # Errors
    ///
    /// 1009 and 1868 to 1870 for invalid output, analytics and exceptions.
    pub fn parsed(&self, now: jiff::Timestamp) -> Result<ParsedResult, Refusal> {
        let output = self.output.as_ref().map(|map| Output::from_json(map.as_json())).transpose()?;
        let analytics = self.analytics.as_ref().map(|map| Analytics::from_json(map.as_json())).transpose()?;
        let stated = match &self.processing_exception {
            // The exception of a success is dropped, but it means that the success is not a postponement.
            Some(_) if self.is_successful => StatedResult { is_successful: true, ..StatedResult::default() },
            exception => StatedResult {
                is_successful: self.is_successful,
                exception: exception.as_ref().map(|dto| exception_of(dto, now)).transpose()?,
                defer_date: self.defer_date.map(|at| stored(at.0)),
                due_date: self.due_date.map(|at| stored(at.0)),
            },
        };
        Ok(ParsedResult { stated, output, analytics })
    }
}

fn exception_of(dto: &ProcessingExceptionDto, now: jiff::Timestamp) -> Result<ProcessingException, Refusal> {
    let kind = dto.exception_type.as_ref();
    let kind = kind.map_or(Ok(ExceptionType::ApplicationException), |kind| {
        known_value("ProcessingException.Type", kind)
    })?;
    let texts = [&dto.reason, &dto.details, &dto.associated_image_file_path];
    texts.into_iter().flatten().try_for_each(|text| validate_exception_text(text))?;
    let at = dto.creation_time.map_or(now, |at| stored(at.0));
    Ok(ProcessingException::new(kind, dto.reason.clone().unwrap_or_default(), at)
        .details(dto.details.clone())
        .image(dto.associated_image_file_path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_a_version_matches_no_version() {
        let body: BulkRequest = serde_json::from_str(
            r#"{"queueItems":[{"Id":1,"RowVersion":"AAAAAAAAKZc="},{"Id":2},{"Id":3,"RowVersion":"?"},{"Id":4,"RowVersion":7}]}"#,
        )
        .unwrap();
        let versions: Vec<u64> = body.items().iter().map(|item| item.row_version).collect();
        assert_eq!(versions, [0x2997, u64::MAX, u64::MAX, u64::MAX]);
    }

    #[test]
    fn every_form_of_a_result_is_parsed() {
        let now = "2026-09-01T00:00:00Z".parse().unwrap();
        let read = |json: &str| {
            serde_json::from_str::<TransactionResultDto>(json).unwrap().parsed(now).map(|read| read.stated)
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
}
