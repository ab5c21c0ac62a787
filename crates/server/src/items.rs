//! Reading, editing, deleting and reviewing items (orchestrator-api 10).

use std::collections::HashMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, FolderSelection};
use super::{queues, strict};
use crate::directory::User;
use crate::permission::{Action, Area, Permission};
use performer_core::model::FieldEdit;
use performer_core::model::code::ErrorCode;
use performer_core::model::content::SpecificContent;
use performer_core::model::item::{ItemEdit, ItemFilter, PAGE_LIMIT, Page, QueueItem};
use performer_core::model::key::{FolderId, ItemId, ItemKey, QueueId};
use performer_core::model::query;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::review::FailedItems;
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::{ItemAdministration as _, ReviewAdministration as _};
use performer_wire::ContentMap;
use performer_wire::insight_protocol::REFUSED_OPTION;
use performer_wire::odata::{self, QueryOptions, entity_set};
use performer_wire::requests::{BulkRequest, ContentPresence};
use performer_wire::responses::{self, ItemContext, ItemResponse, JsonObject, QueueResponse};
use performer_wire::review_protocol::REASON_OPTION;
use performer_wire::transaction::{QueueItemDataDto, known_value};

type HandlerResult = Result<ApiResponse, ApiError>;

pub(super) const ENTITY: &str = "QueueItems";

const EXPANDABLE: [&str; 3] = ["Robot", "ReviewerUser", "QueueDefinition"];

pub(super) async fn list(call: &Call) -> HandlerResult {
    let options = call.options()?;
    options.expands_only(&EXPANDABLE)?;
    let filter = item_filter(call, &options).await?;
    // What `$count=true` asks for is the exact number.
    let counted = if options.count { u64::MAX } else { 0 };
    let page = Page::first(options.page_size(PAGE_LIMIT)?).skip(options.skip).count_limit(counted);
    let store = call.store_for_caller();
    let page = store.items_in_folders(call.all_folders(), filter, page);
    let page = tokio::time::timeout(call.server.config.query_limit(), page).await;
    let (items, count) = page.map_err(|_| ApiError::unavailable())??;
    let rows = item_rows(call, &options, &items, true).await?;
    if options.select.is_empty() {
        return call.collection(ENTITY, rows, count);
    }
    let mut selected = Vec::with_capacity(rows.len());
    for item in &rows {
        selected.push(options.selected_of(object(item)?)?);
    }
    call.collection(ENTITY, selected, count)
}

/// The number in a query option of performer's own.
fn own_option(call: &Call, option: &str, what: &str) -> Result<Option<i64>, ApiError> {
    let given = call.query.iter().find(|(name, _)| name.eq_ignore_ascii_case(option));
    let wrong = |_| ApiError::invalid(format!("{option} is not the number of {what}."));
    given.map(|(_, number)| number.parse().map_err(wrong)).transpose()
}

/// The filter and order of a list of items.
async fn item_filter(call: &Call, options: &QueryOptions) -> Result<ItemFilter, ApiError> {
    let mut filter = ItemFilter::default().order(odata::order(&options.order)?);
    filter.reason = own_option(call, REASON_OPTION, "a group of failures")?;
    filter.refused_by = own_option(call, REFUSED_OPTION, "an operation")?;
    if let Some(expression) = &options.filter {
        // The names of queues are needed only for filters.
        let queues =
            queues::in_call_folders(call).await?.into_iter().map(|queue| (queue.id, queue.name)).collect();
        filter.condition = Some(odata::condition(expression, &call.referenced_names(queues)?)?);
    }
    Ok(filter)
}

/// The rows of items, with the expanded entities and the keys of earlier attempts.
async fn item_rows<'a>(
    call: &'a Call,
    options: &QueryOptions,
    items: &'a [QueueItem],
    with_folder_names: bool,
) -> Result<Vec<ItemResponse<'a>>, ApiError> {
    let directory = call.directory()?;
    let ancestors = items.iter().flat_map(|item| [item.ancestor_id, item.manual_ancestor_id]).flatten();
    let ancestors: Vec<ItemId> = ancestors.collect();
    let keys: HashMap<ItemId, ItemKey> = if ancestors.is_empty() {
        HashMap::new()
    } else {
        call.store_for_caller().keys_of_items(ancestors).await?.into_iter().collect()
    };
    let needs_queues =
        options.expands("QueueDefinition") || matches!(call.folders, FolderSelection::Several(_));
    let queues: HashMap<QueueId, QueueDefinition> = if needs_queues {
        queues::in_call_folders(call).await?.into_iter().map(|queue| (queue.id, queue)).collect()
    } else {
        HashMap::new()
    };
    let show = |item: &'a QueueItem| {
        let queue = queues.get(&item.queue_id);
        let folder = match &call.folders {
            FolderSelection::One(folder) => *folder,
            _ => queue.map_or(FolderId::SHARED, |queue| queues::display_folder(call, queue)),
        };
        let key = |id: Option<ItemId>| id.and_then(|id| keys.get(&id)).map(ToString::to_string);
        let expanded =
            |name: &str, value: Option<Value>| options.expands(name).then(|| value.unwrap_or_default());
        let robot = item.robot_id.and_then(|id| directory.robot(id));
        let reviewer = item.reviewer_user_id.and_then(|id| directory.user(id));
        ItemResponse::new(
            item,
            ItemContext {
                context: None,
                folder: Some(folder),
                folder_name: if with_folder_names {
                    call.server.folder_name(directory, folder)
                } else {
                    None
                },
                queue: expanded(
                    "QueueDefinition",
                    queue.map(|queue| json!(QueueResponse::new(queue, folder, None))),
                ),
                robot: expanded("Robot", robot.map(|robot| responses::robot(&directory.robot_view(robot)))),
                reviewer: expanded(
                    "ReviewerUser",
                    reviewer.map(|user| responses::simple_user(&directory.user_view(user))),
                ),
                ancestor: key(item.ancestor_id),
                manual_ancestor: key(item.manual_ancestor_id),
            },
        )
    };
    Ok(items.iter().map(show).collect())
}

/// An item as a JSON object, with its content as it is stored.
fn object(item: &ItemResponse<'_>) -> Result<JsonObject, ApiError> {
    JsonObject::of(item).map_err(|error| ApiError::internal(error.to_string()))
}

async fn single_item(call: &Call, item: QueueItem) -> HandlerResult {
    let options = call.options()?;
    options.expands_only(&EXPANDABLE)?;
    let items = [item];
    let rows = item_rows(call, &options, &items, false).await?;
    call.entity(ENTITY, &rows[0])
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let item = call.store()?.get_queue_item(ItemId(call.id()?)).await?;
    single_item(call, item).await
}

/// PUT: edits an item that waits; or removes the content of an item that has ended.
pub(super) async fn edit(call: &Call) -> HandlerResult {
    let id = ItemId(call.id()?);
    let body: QueueItemDataDto = call.body(&strict::EDIT_ITEM)?;
    let store = call.store()?;
    let item = store.get_queue_item(id).await?;
    let content = body.specific_content;
    // Only an explicit empty content removes it; an absent member does not.
    let presence: ContentPresence = call.body(&strict::EDIT_ITEM)?;
    let is_blank = presence.specific_content && content.as_ref().is_none_or(ContentMap::is_empty);
    if item.status.is_purgeable() && is_blank {
        store.purge_content(id).await?;
        return Ok(ApiResponse::empty(StatusCode::OK));
    }
    let mut edit = ItemEdit::default()
        .priority(body.priority.map(|priority| known_value("Priority", &priority)).transpose()?)
        .due_date(FieldEdit::to(body.due_date.map(|at| at.0)))
        .defer_date(FieldEdit::to(body.defer_date.map(|at| at.0)))
        .specific_content(content.map(|content| SpecificContent::from_json(content.as_json())).transpose()?);
    edit.progress = body.progress;
    store.edit_queue_item(id, edit).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    call.store()?.delete_queue_item(ItemId(call.id()?)).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// The last attempt of an item's chain of retries.
pub(super) async fn last_retry(call: &Call) -> HandlerResult {
    last_attempt(call, ItemId(call.id()?)).await
}

pub(super) async fn last_retry_by_key(call: &Call) -> HandlerResult {
    let key: ItemKey = call.argument_as("key")?;
    let item = call.store()?.item_with_key(key).await?;
    last_attempt(call, item.id).await
}

async fn last_attempt(call: &Call, id: ItemId) -> HandlerResult {
    let chain = call.store()?.processing_history(id).await?;
    let last = chain.into_iter().max_by_key(|item| item.id);
    single_item(call, last.ok_or_else(|| ApiError::not_found(format!("Item {id} does not exist.")))?).await
}

pub(super) async fn history(call: &Call) -> HandlerResult {
    let options = call.options()?;
    options.expands_only(&EXPANDABLE)?;
    let (filter, top) = (item_filter(call, &options).await?, options.page_size(PAGE_LIMIT)?);
    let mut chain = call.store()?.processing_history(ItemId(call.id()?)).await?;
    chain.retain(|item| filter.condition.as_ref().is_none_or(|condition| condition.holds(item)));
    chain.sort_by(|a, b| query::compare(&filter.order, a, b));
    let count = options.count.then_some(chain.len() as u64);
    let page: Vec<QueueItem> = chain.into_iter().skip(options.skip).take(top).collect();
    let rows = item_rows(call, &options, &page, false).await?;
    let selected: Result<Vec<JsonObject>, ApiError> =
        rows.iter().map(|item| Ok(options.selected_of(object(item)?)?)).collect();
    call.collection(ENTITY, selected?, count)
}

pub(super) async fn delete_bulk(call: &Call) -> HandlerResult {
    let body: BulkRequest = call.body(&strict::BULK_ITEMS)?;
    let failed = call.store()?.delete_queue_items(item_versions(&body)?).await?;
    bulk_response(call, &failed)
}

pub(super) async fn set_review_status(call: &Call) -> HandlerResult {
    let body: BulkRequest = call.body(&strict::BULK_ITEMS)?;
    let missing = || ApiError::new(StatusCode::BAD_REQUEST, 1014, "Parameter status is missing.");
    let status = body.status.clone().ok_or_else(missing)?;
    let status: ReviewStatus = serde_json::from_value(status).map_err(|_| {
        ApiError::invalid_argument("Invalid argument 'status': it is None, InReview, Verified or Retried.")
    })?;
    let failed = call.store()?.set_review_status(status, item_versions(&body)?).await?;
    bulk_response(call, &failed)
}

pub(super) async fn set_reviewer(call: &Call) -> HandlerResult {
    let body: BulkRequest = call.body(&strict::BULK_ITEMS)?;
    let folder = call.folder()?;
    if let Some(user) = body.user_id
        && !call.directory()?.user(user).is_some_and(|user| may_review(call, user, folder))
    {
        let code = ErrorCode::REVIEWER_NOT_AVAILABLE.number();
        let message = format!("User {user} may not review the transactions of this folder.");
        return Err(ApiError::new(StatusCode::CONFLICT, code, message));
    }
    let failed = call.store()?.set_reviewer(body.user_id, item_versions(&body)?).await?;
    bulk_response(call, &failed)
}

pub(super) async fn unset_reviewer(call: &Call) -> HandlerResult {
    let body: BulkRequest = call.body(&strict::BULK_ITEMS)?;
    let failed = call.store()?.set_reviewer(None, item_versions(&body)?).await?;
    bulk_response(call, &failed)
}

/// The maximum number of items in one bulk operation.
const MAX_AT_ONCE: usize = 15_000;

fn item_versions(body: &BulkRequest) -> Result<Vec<performer_core::model::review::ItemVersion>, ApiError> {
    let items = body.items();
    if items.len() > MAX_AT_ONCE {
        let message = format!("There are {} items, the limit is {MAX_AT_ONCE}.", items.len());
        return Err(ApiError::invalid_argument(message));
    }
    Ok(items)
}

fn bulk_response(call: &Call, failed: &FailedItems) -> HandlerResult {
    let ids: Vec<ItemId> = failed.iter().map(|(id, _)| *id).collect();
    let message = failed.first().map(|(id, refusal)| format!("Item {id}: {refusal}"));
    let kind = "UiPath.Server.Configuration.OData.BulkOperationResponseDto_1OfInt64";
    ApiResponse::ok(&responses::with_context(&call.context(kind), &responses::bulk(&ids, message.as_deref())))
}

/// Whether a user may review items in a folder (orchestrator-api 13.6).
fn may_review(call: &Call, user: &User, folder: FolderId) -> bool {
    call.directory().is_ok_and(|directory| {
        [Action::View, Action::Edit]
            .iter()
            .all(|action| directory.allows(user, Some(folder), Permission(Area::Transactions, *action)))
    })
}

pub(super) async fn reviewers(call: &Call) -> HandlerResult {
    let (directory, folder) = (call.directory()?, call.folder()?);
    let may = directory.users().filter(|user| may_review(call, user, folder));
    call.page(
        &entity_set::REVIEWERS,
        may.map(|user| responses::simple_user(&directory.user_view(user))).collect(),
    )
}
