//! Adding items, starting transactions, and their results (orchestrator-api 7 to 9).

use axum::http::StatusCode;
use uuid::Uuid;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::strict;
use performer_core::model::item::{NewQueueItem, QueueItem, ReferenceFilter, validate_reference};
use performer_core::model::key::ItemId;
use performer_core::model::user::UserType;
use performer_core::orchestrator::{CommitType, Orchestrator};
use performer_store::{UnclaimedReport, UnleasedCaller};
use performer_wire::responses::{self, ItemContext, ItemResponse};
use performer_wire::transaction::{
    AddQueueItemRequest, BulkAddQueueItemsRequest, BulkAddResponse, CommitTypeName, FailedQueueItemDto,
    QueueItemDataDto, ReferenceFilterOption, SetTransactionProgressRequest, SetTransactionResultRequest,
    StartTransactionRequest, TransactionDataDto, known_value,
};

type HandlerResult = Result<ApiResponse, ApiError>;

/// The maximum number of items in one bulk add.
const MAX_AT_ONCE: usize = 15_000;

fn item_response(call: &Call, of: &str, item: &QueueItem, status: StatusCode) -> HandlerResult {
    let context = Some(call.context(&format!("{of}/$entity")));
    let item_context = ItemContext { context, folder: Some(call.folder()?), ..ItemContext::default() };
    ApiResponse::json(status, &ItemResponse::new(item, item_context))
}

pub(super) async fn add(call: &Call) -> HandlerResult {
    let body: AddQueueItemRequest = call.body(&strict::ADD_ITEM)?;
    let queue = required_name(body.item_data.name.as_deref(), "Name")?.to_owned();
    let item = call.new_item(body.item_data)?;
    let added = call.store()?.add_queue_item(&queue, item).await?;
    let location = Some(format!("{}/odata/QueueItems({})", call.base, added.id));
    Ok(ApiResponse { location, ..item_response(call, "QueueItems", &added, StatusCode::CREATED)? })
}

fn required_name<'a>(name: Option<&'a str>, what: &str) -> Result<&'a str, ApiError> {
    name.filter(|name| !name.trim().is_empty())
        .ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, 1014, format!("Parameter {what} is missing.")))
}

pub(super) async fn bulk_add(call: &Call) -> HandlerResult {
    let body: BulkAddQueueItemsRequest = call.body(&strict::BULK_ADD)?;
    let queue = required_name(Some(&body.queue_name), "queueName")?;
    let commit_type = match known_value("commitType", &body.commit_type)? {
        CommitTypeName::AllOrNothing => CommitType::AllOrNothing,
        CommitTypeName::StopOnFirstFailure => CommitType::StopOnFirstFailure,
        CommitTypeName::ProcessAllIndependently => CommitType::ProcessAllIndependently,
    };
    if body.queue_items.len() > MAX_AT_ONCE {
        let message = format!("There are {} items, the limit is {MAX_AT_ONCE}.", body.queue_items.len());
        return Err(ApiError::invalid_argument(message));
    }
    let items: Result<Vec<NewQueueItem>, _> =
        body.queue_items.into_iter().map(|data| call.new_item(data)).collect();
    let added = call.store()?.bulk_add_queue_items(queue, commit_type, items?).await?;
    let failed = added.failed.iter().map(|failed| FailedQueueItemDto {
        ordinal: Some(failed.ordinal),
        error_code: Some(responses::code_name(failed.refusal.code())),
        error_message: Some(failed.refusal.to_string()),
    });
    let failed: Vec<_> = failed.collect();
    let message = (!failed.is_empty())
        .then(|| format!("{} items were added, {} were refused.", added.added, failed.len()));
    let body = BulkAddResponse { success: Some(failed.is_empty()), message, failed_items: Some(failed) };
    let kind = "UiPath.Server.Configuration.OData.BulkOperationResponseDto_1OfFailedQueueItemDto";
    ApiResponse::ok(&responses::with_context(&call.context(kind), &body))
}

/// Starts the next item of the queue, or, with content, a new item.
pub(super) async fn start(call: &Call) -> HandlerResult {
    let body: StartTransactionRequest = call.body(&strict::START_TRANSACTION)?;
    let data = body.transaction_data;
    let queue = required_name(Some(&data.name), "Name")?.to_owned();
    let claimant = claimant(call, data.robot_identifier.as_deref())?;
    let creates = data.specific_content.as_ref().is_some_and(|content| !content.is_empty());
    let store = call.store()?;
    let started = if creates {
        Some(store.add_and_start_unleased(&queue, new_item(call, data)?, claimant).await?)
    } else {
        let reference = reference_filter(&data)?;
        if !call.server.serves_any_caller() && !is_robot(call)? {
            return Ok(ApiResponse::empty(StatusCode::NO_CONTENT));
        }
        store.claim_unleased(&queue, reference, claimant).await?
    };
    let Some(started) = started else { return Ok(ApiResponse::empty(StatusCode::NO_CONTENT)) };
    if call.server.faults.abandons_item() {
        store.abandon_item(started.item.id).await?;
    }
    item_response(call, "Queues", &started.item, StatusCode::OK)
}

fn new_item(call: &Call, data: TransactionDataDto) -> Result<NewQueueItem, ApiError> {
    let data = QueueItemDataDto {
        name: None,
        priority: None,
        specific_content: data.specific_content,
        defer_date: data.defer_date,
        due_date: data.due_date,
        risk_sla_date: None,
        reference: data.reference,
        progress: None,
        source: None,
        parent_operation_id: data.parent_operation_id,
        group: None,
    };
    call.new_item(data)
}

/// The filter by reference; without an option the whole reference must match.
fn reference_filter(data: &TransactionDataDto) -> Result<Option<ReferenceFilter>, ApiError> {
    let Some(reference) = data.reference.clone().filter(|reference| !reference.is_empty()) else {
        return Ok(None);
    };
    validate_reference(&reference)?;
    let option = data.reference_filter_option.as_ref();
    let option = option.map(|option| known_value("ReferenceFilterOption", option)).transpose()?;
    Ok(Some(match option.unwrap_or(ReferenceFilterOption::Equals) {
        ReferenceFilterOption::Equals => ReferenceFilter::Equals(reference),
        ReferenceFilterOption::StartsWith => ReferenceFilter::StartsWith(reference),
    }))
}

fn is_robot(call: &Call) -> Result<bool, ApiError> {
    Ok(matches!(call.caller()?.user.user_type, UserType::Robot | UserType::DirectoryRobot))
}

/// The claimant of an item: the robot with the given key, or else the robot of the caller.
fn claimant(call: &Call, robot: Option<&str>) -> Result<UnleasedCaller, ApiError> {
    let caller = call.caller()?;
    let robot = match robot.map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => {
            let key = Uuid::parse_str(key).map_err(|_| {
                ApiError::invalid_argument("Invalid argument 'RobotIdentifier': it is the GUID of a robot.")
            })?;
            caller.directory.robot_with_key(key)
        }
        None => caller.directory.robots().find(|robot| robot.user == caller.user.id),
    };
    Ok(UnleasedCaller { robot_id: robot.map(|robot| robot.id), job: call.job_key() })
}

pub(super) async fn set_result(call: &Call) -> HandlerResult {
    let body: SetTransactionResultRequest = call.body(&strict::SET_RESULT)?;
    let data = body.transaction_result;
    let reported = data.parsed(call.server.now())?;
    let report = UnclaimedReport {
        item: ItemId(call.id()?),
        stated: reported.stated,
        output: reported.output,
        analytics: reported.analytics,
        progress: data.progress,
        operation_id: data.operation_id,
    };
    call.store()?.report_unclaimed(report).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn set_progress(call: &Call) -> HandlerResult {
    let body: SetTransactionProgressRequest = call.body(&strict::PROGRESS)?;
    call.store()?.set_progress_unclaimed(ItemId(call.id()?), body.progress).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}
