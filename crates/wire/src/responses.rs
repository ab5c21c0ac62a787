//! Responses that only the server writes (orchestrator-api 4.2, 5.1, 6 and 10 to 12): the members of version 20 of the API,
//! with explicit nulls.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ApiTime;
use super::item::{ProcessingExceptionDto, RowVersion};
use super::queue::{RetentionAction, RetentionType};
use performer_core::model::code::ErrorCode;
use performer_core::model::history::ItemEvent;
use performer_core::model::item::QueueItem;
use performer_core::model::key::{FolderId, ItemId, ItemKey, JobKey};
use performer_core::model::limits::QueueLimits;
use performer_core::model::queue::{QueueDefinition, QueuePolicy, Tag};
use performer_core::model::result::Outcome;
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::review::Comment;
use performer_core::model::statistics::{Ended, QueueStatistics};

mod access;
mod administration;
mod facts;
mod job;
mod log;
mod object;
#[cfg(test)]
mod tests;

pub use job::{JobView, job};
pub use log::log_line;
pub use object::JsonObject;

pub use access::{
    FolderView, RobotView, RoleName, RoleView, TenantView, UserView, accessible_folders, folder,
    folders_navigated, permissions_of, robot, role, simple_folder, simple_user, user, user_of_folder,
    version,
};
pub use administration::{
    FolderInTree, PermissionView, folder_context, folder_in_tree, permission, roles_of_user,
    user_with_workspace, value_of,
};
pub use facts::{
    AuditActor, activity_settings, audit_details, audit_log, count, dictionary, execution_settings,
    languages, named_values, no_license_needed, setting, tenant,
};

/// The value of `@odata.context`.
pub fn context(base: &str, of: &str) -> String {
    format!("{base}/odata/$metadata#{of}")
}

/// A collection.
#[derive(Serialize)]
pub struct CollectionResponse<T> {
    #[serde(rename = "@odata.context")]
    pub context: String,
    #[serde(rename = "@odata.count", skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    pub value: Vec<T>,
}

/// An entity or the response of an action, as an object with its `@odata.context`.
pub fn with_context(context: &str, object: &impl Serialize) -> JsonObject {
    JsonObject::of(object).unwrap_or_default().beginning_with("@odata.context", &context)
}

/// The body of an error response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody<'a> {
    pub message: &'a str,
    pub error_code: u16,
    pub trace_id: &'a str,
    pub resource_ids: Option<Vec<i64>>,
    /// Only the lease protocol has claims.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub claim_lost: bool,
}

/// The error response of a token endpoint (OAuth).
pub fn token_error(error: &str, description: &str) -> Value {
    json!({ "error": error, "error_description": description })
}

/// The response of a token endpoint.
pub fn token_response(token: &str, seconds: u64, scope: &str) -> Value {
    json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer", "scope": scope })
}

/// The response to the older login by user name.
pub fn authenticate_response(token: &str) -> Value {
    json!({
        "result": token, "targetUrl": null, "success": true, "error": null, "unAuthorizedRequest": false, "__abp": true,
    })
}

/// JSON text that is written unchanged.
fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

/// Serializes a value by its `Display`.
struct AsText<T>(T);

impl<T: fmt::Display> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The JSON text of a map in the vendor's wrapper.
struct DynamicProperties<'a>(&'a str);

impl fmt::Display for DynamicProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"DynamicProperties\":{}}}", self.0)
    }
}

/// An item.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ItemResponse<'a> {
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    queue_definition_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_definition: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    robot: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewer_user: Option<Value>,
    output_data: Option<AsText<DynamicProperties<'a>>>,
    analytics_data: Option<AsText<DynamicProperties<'a>>>,
    status: &'static str,
    review_status: &'static str,
    reviewer_user_id: Option<i64>,
    key: AsText<ItemKey>,
    unique_key: AsText<ItemKey>,
    reference: Option<&'a str>,
    #[serde(rename = "PerformerGroup", skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    processing_exception_type: Option<&'static str>,
    due_date: Option<ApiTime>,
    risk_sla_date: Option<ApiTime>,
    priority: &'static str,
    defer_date: Option<ApiTime>,
    start_processing: Option<ApiTime>,
    end_processing: Option<ApiTime>,
    seconds_in_previous_attempts: u32,
    ancestor_id: Option<i64>,
    ancestor_unique_key: Option<String>,
    retry_number: u32,
    manual_ancestor_id: Option<i64>,
    manual_ancestor_unique_key: Option<String>,
    manual_retry_number: u32,
    specific_data: AsText<DynamicProperties<'a>>,
    creation_time: ApiTime,
    progress: Option<&'a str>,
    row_version: RowVersion,
    robot_id: Option<i64>,
    creator_job_key: Option<AsText<JobKey>>,
    executor_job_key: Option<AsText<JobKey>>,
    parent_operation_id: Option<&'a str>,
    operation_id: Option<&'a str>,
    encrypted: bool,
    has_video_recorded: bool,
    organization_unit_id: i64,
    organization_unit_fully_qualified_name: Option<&'a str>,
    id: i64,
    processing_exception: Option<ProcessingExceptionDto>,
    error: Option<()>,
    specific_content: Option<&'a RawValue>,
    output: Option<&'a RawValue>,
    analytics: Option<&'a RawValue>,
}

/// The members of an item's response that do not come from the item.
#[derive(Default)]
pub struct ItemContext<'a> {
    /// The `@odata.context` of a single item.
    pub context: Option<String>,
    pub folder: Option<FolderId>,
    /// The full name of the folder, in lists.
    pub folder_name: Option<&'a str>,
    /// Expanded entities; null where there is none.
    pub queue: Option<Value>,
    pub robot: Option<Value>,
    pub reviewer: Option<Value>,
    /// The unique keys of the attempts before this one.
    pub ancestor: Option<String>,
    pub manual_ancestor: Option<String>,
}

impl<'a> ItemResponse<'a> {
    pub fn new(item: &'a QueueItem, item_context: ItemContext<'a>) -> Self {
        let content = item.specific_content.as_json();
        let output = item.output.as_ref().map(|output| output.as_json());
        let analytics = item.analytics.as_ref().map(|analytics| analytics.as_json());
        Self {
            context: item_context.context,
            queue_definition_id: item.queue_id.0,
            queue_definition: item_context.queue,
            robot: item_context.robot,
            reviewer_user: item_context.reviewer,
            output_data: output.map(|output| AsText(DynamicProperties(output))),
            analytics_data: analytics.map(|analytics| AsText(DynamicProperties(analytics))),
            status: item.status.name(),
            review_status: item.review_status.name(),
            reviewer_user_id: item.reviewer_user_id,
            key: AsText(item.key),
            unique_key: AsText(item.unique_key),
            reference: item.reference.as_deref(),
            group: item.group.as_deref(),
            processing_exception_type: item.exception_type().map(|kind| kind.name()),
            due_date: item.due_date.map(ApiTime),
            risk_sla_date: item.risk_sla_date.map(ApiTime),
            priority: item.priority.name(),
            defer_date: item.defer_date.map(ApiTime),
            start_processing: item.start_processing.map(ApiTime),
            end_processing: item.end_processing.map(ApiTime),
            seconds_in_previous_attempts: item.seconds_in_previous_attempts,
            ancestor_id: item.ancestor_id.map(|id| id.0),
            ancestor_unique_key: item_context.ancestor,
            retry_number: item.retry_number,
            manual_ancestor_id: item.manual_ancestor_id.map(|id| id.0),
            manual_ancestor_unique_key: item_context.manual_ancestor,
            manual_retry_number: item.manual_retry_number,
            specific_data: AsText(DynamicProperties(content)),
            creation_time: ApiTime(item.creation_time),
            progress: item.progress.as_deref(),
            row_version: RowVersion(item.row_version),
            robot_id: item.robot_id,
            creator_job_key: item.creator_job.map(AsText),
            executor_job_key: item.executor_job.map(AsText),
            parent_operation_id: item.parent_operation_id.as_deref(),
            operation_id: item.operation_id.as_deref(),
            encrypted: false,
            has_video_recorded: false,
            organization_unit_id: item_context.folder.map_or(0, |folder| folder.0),
            organization_unit_fully_qualified_name: item_context.folder_name,
            id: item.id.0,
            processing_exception: item.processing_exception.as_ref().map(Into::into),
            error: None,
            specific_content: raw(content),
            output: output.and_then(raw),
            analytics: analytics.and_then(raw),
        }
    }
}

/// A queue.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueResponse<'a> {
    key: String,
    name: &'a str,
    description: Option<&'a str>,
    max_number_of_retries: u32,
    accept_automatically_retry: bool,
    retry_abandoned_items: bool,
    enforce_unique_reference: bool,
    encrypted: bool,
    specific_data_json_schema: Option<&'a str>,
    output_data_json_schema: Option<&'a str>,
    analytics_data_json_schema: Option<&'a str>,
    creation_time: ApiTime,
    process_schedule_id: Option<i64>,
    sla_in_minutes: u32,
    risk_sla_in_minutes: u32,
    release_id: Option<i64>,
    is_process_in_current_folder: Option<bool>,
    folders_count: usize,
    organization_unit_id: i64,
    organization_unit_fully_qualified_name: Option<&'a str>,
    tags: &'a [Tag],
    id: i64,
    /// Only if it differs from the vendor's fixed time.
    #[serde(rename = "PerformerAbandonAfterSeconds", skip_serializing_if = "Option::is_none")]
    abandon_after: Option<u64>,
    /// Only if there is one.
    #[serde(rename = "PerformerRetryDelay", skip_serializing_if = "Option::is_none")]
    retry_delay: Option<RetryDelay>,
    /// Only if there are any.
    #[serde(rename = "PerformerLimits", skip_serializing_if = "Option::is_none")]
    limits: Option<&'a QueueLimits>,
}

impl<'a> QueueResponse<'a> {
    pub fn new(queue: &'a QueueDefinition, folder: FolderId, folder_name: Option<&'a str>) -> Self {
        Self {
            key: queue.key.to_string(),
            name: &queue.name,
            description: queue.description.as_deref(),
            max_number_of_retries: queue.policy.max_number_of_retries,
            accept_automatically_retry: queue.policy.accept_automatically_retry,
            retry_abandoned_items: queue.policy.retry_abandoned_items,
            enforce_unique_reference: queue.policy.enforce_unique_reference,
            encrypted: false,
            specific_data_json_schema: queue.schemas.specific_data.as_deref(),
            output_data_json_schema: queue.schemas.output_data.as_deref(),
            analytics_data_json_schema: queue.schemas.analytics_data.as_deref(),
            creation_time: ApiTime(queue.creation_time),
            process_schedule_id: None,
            sla_in_minutes: queue.notes.sla_in_minutes,
            risk_sla_in_minutes: queue.notes.risk_sla_in_minutes,
            release_id: queue.notes.release_id,
            is_process_in_current_folder: None,
            folders_count: queue.folders.len(),
            organization_unit_id: folder.0,
            organization_unit_fully_qualified_name: folder_name,
            tags: &queue.notes.tags,
            id: queue.id.0,
            abandon_after: Some(queue.policy.abandon_after)
                .filter(|time| *time != QueuePolicy::default().abandon_after)
                .map(|time| time.as_secs()),
            retry_delay: Some(queue.policy.retry_delay).filter(|delay| *delay != RetryDelay::None),
            limits: Some(&queue.limits).filter(|limits| !limits.is_none()),
        }
    }
}

/// The retention of a queue.
pub fn retention(queue: &QueueDefinition, kind: RetentionType) -> Value {
    let period = match kind {
        RetentionType::Final => queue.policy.retention_days,
        RetentionType::Stale => queue.policy.stale_retention_days,
    };
    json!({
        "QueueDefinitionId": queue.id.0, "Action": RetentionAction::Delete.name(), "Period": period, "BucketId": null,
        "Type": kind.name(),
    })
}

/// A queue with its retention, for GetQueue and related operations (not in the vendor's document of version 20).
pub fn queue_with_retention(queue: &QueueDefinition, folder: FolderId) -> Value {
    let mut object = json!(QueueResponse::new(queue, folder, None));
    object["RetentionAction"] = RetentionAction::Delete.name().into();
    object["RetentionPeriod"] = queue.policy.retention_days.into();
    object["RetentionBucketId"] = Value::Null;
    object["StaleRetentionAction"] = RetentionAction::Delete.name().into();
    object["StaleRetentionPeriod"] = queue.policy.stale_retention_days.into();
    object["StaleRetentionBucketId"] = Value::Null;
    object
}

/// The response to a bulk operation on items.
pub fn bulk(failed: &[ItemId], message: Option<&str>) -> Value {
    let ids: Vec<i64> = failed.iter().map(|id| id.0).collect();
    json!({ "Success": ids.is_empty(), "Message": message, "FailedItems": ids })
}

/// A comment.
pub fn comment(comment: &Comment) -> Value {
    json!({
        "Text": comment.text, "QueueItemId": comment.item_id.0, "CreationTime": ApiTime(comment.creation_time),
        "UserId": comment.author.user_id, "UserName": comment.author.user_name, "Id": comment.id,
    })
}

/// The names that belong to an event.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventNames<'a> {
    /// Who did it.
    pub user: Option<&'a str>,
    /// The application that the user stands for.
    pub client: Option<&'a str>,
    pub reviewer_id: Option<i64>,
    pub reviewer: Option<&'a str>,
}

/// An event of an item's history. Its id is derived from the item's id and the position of the event, see [`MAX_EVENTS`].
pub fn event(event: &ItemEvent, place: usize, names: &EventNames<'_>) -> Value {
    json!({
        "QueueItemId": event.item_id.0, "Timestamp": ApiTime(event.timestamp), "Action": event.action.name(),
        "Data": null, "UserId": event.user_id, "UserName": names.user, "Status": event.status.name(),
        "ReviewStatus": event.review_status.name(), "ReviewerUserId": names.reviewer_id, "ReviewerUserName": names.reviewer,
        "ExternalClientId": names.client, "Id": event_id(event.item_id, place),
    })
}

/// The maximum number of events of one item with distinct ids.
pub const MAX_EVENTS: i64 = 1_000;

fn event_id(item: ItemId, place: usize) -> i64 {
    let place = i64::try_from(place).unwrap_or(MAX_EVENTS).min(MAX_EVENTS - 1);
    item.0.saturating_mul(MAX_EVENTS).saturating_add(place)
}

/// The processing status of a queue.
pub fn processing_status(queue: &QueueDefinition, statistics: &QueueStatistics, ended: &[Ended]) -> Value {
    let sums = AttemptTotals::of(ended.iter().filter(|ended| ended.queue == queue.id));
    let (count, took) = sums.all();
    json!({
        "ItemsToProcess": statistics.new, "ItemsInProgress": statistics.in_progress,
        "QueueDefinitionId": queue.id.0, "QueueDefinitionKey": queue.key.to_string(),
        "QueueDefinitionName": queue.name, "QueueDefinitionDescription": queue.description,
        "QueueDefinitionAcceptAutomaticallyRetry": queue.policy.accept_automatically_retry,
        "QueueDefinitionRetryAbandonedItems": queue.policy.retry_abandoned_items,
        "QueueDefinitionMaxNumberOfRetries": queue.policy.max_number_of_retries,
        "QueueDefinitionEnforceUniqueReference": queue.policy.enforce_unique_reference,
        "ProcessingMeanTime": if count > 0 { seconds(took / count) } else { 0.0 },
        "SuccessfulTransactionsNo": sums.successful.0, "ApplicationExceptionsNo": sums.application.0,
        "BusinessExceptionsNo": sums.business.0,
        "SuccessfulTransactionsProcessingTime": seconds(sums.successful.1),
        "ApplicationExceptionsProcessingTime": seconds(sums.application.1),
        "BusinessExceptionsProcessingTime": seconds(sums.business.1),
        "TotalNumberOfTransactions": count, "LastProcessed": sums.last.map(ApiTime),
        "ReleaseName": null, "ReleaseId": queue.notes.release_id, "IsProcessInCurrentFolder": null,
        "SpecificDataJsonSchemaExists": queue.schemas.specific_data.is_some(),
        "OutputDataJsonSchemaExists": queue.schemas.output_data.is_some(),
        "AnalyticsDataJsonSchemaExists": queue.schemas.analytics_data.is_some(),
        "ProcessScheduleId": null, "QueueFoldersCount": queue.folders.len(), "Tags": queue.notes.tags, "Id": queue.id.0,
    })
}

/// The outcomes of the attempts in one interval.
pub fn processing_record(
    queue: &QueueDefinition,
    statistics: &QueueStatistics,
    ended: &[&Ended],
    at: ApiTime,
    report: &str,
) -> Value {
    let sums = AttemptTotals::of(ended.iter().copied());
    json!({
        "QueueDefinitionId": queue.id.0, "UiQueueMetadata": null, "ProcessingTime": at, "ReportType": report,
        "NumberOfRemainingTransactions": statistics.new, "NumberOfInProgressTransactions": statistics.in_progress,
        "NumberOfApplicationExceptions": sums.application.0, "NumberOfBusinessExceptions": sums.business.0,
        "NumberOfSuccessfulTransactions": sums.successful.0, "NumberOfRetriedItems": statistics.retried,
        "ApplicationExceptionsProcessingTime": seconds(sums.application.1),
        "BusinessExceptionsProcessingTime": seconds(sums.business.1),
        "SuccessfulTransactionsProcessingTime": seconds(sums.successful.1),
        "TotalNumberOfTransactions": sums.all().0, "TenantId": 1, "Id": queue.id.0,
    })
}

/// Counts and microseconds of attempts by outcome. Abandoned attempts are not counted.
#[derive(Default)]
struct AttemptTotals {
    successful: (i64, i64),
    business: (i64, i64),
    application: (i64, i64),
    last: Option<jiff::Timestamp>,
}

impl AttemptTotals {
    fn of<'a>(all: impl Iterator<Item = &'a Ended>) -> Self {
        let mut sums = Self::default();
        for ended in all {
            let sum = match ended.outcome {
                Outcome::Successful => &mut sums.successful,
                Outcome::BusinessException => &mut sums.business,
                Outcome::ApplicationException | Outcome::Unspecified => &mut sums.application,
                Outcome::Abandoned => continue,
            };
            sum.0 += ended.count;
            sum.1 += ended.took;
            sums.last = sums.last.max(Some(ended.last));
        }
        sums
    }

    fn all(&self) -> (i64, i64) {
        let Self { successful, business, application, .. } = self;
        (successful.0 + business.0 + application.0, successful.1 + business.1 + application.1)
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of years are exact")]
fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1e6
}

/// The name of a code, for failed items of a bulk add.
pub fn code_name(code: ErrorCode) -> String {
    match code.name() {
        "" => code.to_string(),
        name => name.to_owned(),
    }
}
