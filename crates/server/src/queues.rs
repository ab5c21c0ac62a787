//! Queue definitions (orchestrator-api 6).

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, FolderSelection};
use super::shared_resources::{Sharing, accessible_folders, find_in_any_folder, folders_of_list, reach};
use super::strict;
use crate::permission::{Action, Area, Permission};
use performer_core::model::key::{FolderId, QueueId};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::schema::SchemaOf;
use performer_core::orchestrator::QueueAdministration as _;
use performer_store::{QueueSelector, Store};
use performer_wire::odata::entity_set;
use performer_wire::requests::{QueueRequest, ShareRequest};
use performer_wire::responses::{self, QueueResponse};

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "QueueDefinitions";

/// The queues of the call's folders.
pub(super) async fn in_call_folders(call: &Call) -> Result<Vec<QueueDefinition>, ApiError> {
    let folders = call.all_folders();
    Ok(call.store_for_caller().queues_in_folders(folders).await?)
}

/// A queue of the folder by its id.
pub(super) async fn by_id(call: &Call, id: i64) -> Result<QueueDefinition, ApiError> {
    find(call, QueueSelector::Id(QueueId(id))).await
}

async fn find(call: &Call, which: QueueSelector) -> Result<QueueDefinition, ApiError> {
    Ok(call.store()?.find_queue(which).await?)
}

/// The folder that a queue is shown with: the call's, or the first of the call's folders that contains it.
pub(super) fn display_folder(call: &Call, queue: &QueueDefinition) -> FolderId {
    match &call.folders {
        FolderSelection::One(folder) => *folder,
        _ => {
            let folders = call.all_folders();
            let found =
                queue.folders.iter().find(|folder| folders.contains(folder)).or(queue.folders.first());
            found.copied().unwrap_or(FolderId::SHARED)
        }
    }
}

fn list_rows(call: &Call, queues: &[QueueDefinition]) -> Result<Vec<Value>, ApiError> {
    let directory = call.directory()?;
    let show = |queue: &QueueDefinition| {
        let folder = display_folder(call, queue);
        json!(QueueResponse::new(queue, folder, Some(&directory.full_name(folder))))
    };
    Ok(queues.iter().map(show).collect())
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let queues = in_call_folders(call).await?;
    call.page(&entity_set::QUEUES, list_rows(call, &queues)?)
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let queue = by_id(call, call.id()?).await?;
    call.entity(ENTITY, json!(QueueResponse::new(&queue, call.folder()?, None)))
}

pub(super) async fn get_by_key(call: &Call) -> HandlerResult {
    let queue = find(call, QueueSelector::Key(call.argument_as("identifier")?)).await?;
    call.entity(ENTITY, json!(QueueResponse::new(&queue, call.folder()?, None)))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let queue = call.store()?.create_queue(body.into_new(None)?).await?;
    call.created(ENTITY, queue.id.0, QueueResponse::new(&queue, call.folder()?, None))
}

pub(super) async fn update(call: &Call) -> HandlerResult {
    change(call, call.id()?).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

async fn change(call: &Call, id: i64) -> Result<(), ApiError> {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let existing = by_id(call, id).await?;
    let mut new = body.clone().into_new(Some(&existing))?;
    body.retention_into(&mut new.policy, false)?;
    let (which, reach) = (QueueSelector::Id(existing.id), reach(call, EDIT)?);
    call.store()?.update_queue_within(which, new, reach).await?;
    Ok(())
}

/// A queue is deleted from all its folders, so the permission is needed in each.
pub(super) async fn delete(call: &Call) -> HandlerResult {
    let which = QueueSelector::Id(QueueId(call.id()?));
    let reach = reach(call, Permission(Area::Queues, Action::Delete))?;
    call.store()?.delete_queue_within(which, reach).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// CreateQueue: creates a queue with its retention.
pub(super) async fn create_with_retention(call: &Call) -> HandlerResult {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let mut new = body.clone().into_new(None)?;
    body.retention_into(&mut new.policy, true)?;
    let queue = call.store()?.create_queue(new).await?;
    call.created(ENTITY, queue.id.0, responses::queue_with_retention(&queue, call.folder()?))
}

/// EditQueue: the id is in the body.
pub(super) async fn edit_with_retention(call: &Call) -> HandlerResult {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let id = body.id.ok_or_else(|| ApiError::invalid_argument("Invalid argument 'Id'."))?;
    change(call, id).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn get_with_retention(call: &Call) -> HandlerResult {
    let queue = by_id(call, call.argument_as("id")?).await?;
    call.entity(ENTITY, responses::queue_with_retention(&queue, call.folder()?))
}

pub(super) async fn list_with_retention(call: &Call) -> HandlerResult {
    let queues = in_call_folders(call).await?;
    let rows = queues
        .iter()
        .map(|queue| responses::queue_with_retention(queue, display_folder(call, queue)))
        .collect();
    call.page(&entity_set::QUEUES_WITH_RETENTION, rows)
}

pub(super) async fn schema(call: &Call) -> HandlerResult {
    let queue = by_id(call, call.id()?).await?;
    let kind: SchemaOf = call.argument_as("jsonSchemaType")?;
    let schema = queue.schemas.of(kind).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, 1861, format!("The queue has no schema {kind}."))
    })?;
    Ok(ApiResponse {
        status: StatusCode::OK,
        body: Some(schema.as_bytes().to_vec().into()),
        content_type: "application/octet-stream",
        location: None,
    })
}

const VIEW: Permission = Permission(Area::Queues, Action::View);
pub(super) const EDIT: Permission = Permission(Area::Queues, Action::Edit);

/// A queue in any folder where the caller has a permission.
async fn find_anywhere(
    call: &Call,
    id: i64,
    permission: Permission,
) -> Result<(QueueDefinition, FolderId), ApiError> {
    let find = |store: Store| async move { store.find_queue(QueueSelector::Id(QueueId(id))).await };
    find_in_any_folder(call, ("Queue", id), permission, find).await
}

pub(super) async fn folders_for_queue(call: &Call) -> HandlerResult {
    let (queue, _) = find_anywhere(call, call.argument_as("id")?, VIEW).await?;
    accessible_folders(call, &queue.folders)
}

pub(super) async fn across_folders(call: &Call) -> HandlerResult {
    let folders = folders_of_list(call, VIEW)?;
    let queues = call.store_for_caller().queues_in_folders(folders.clone()).await?;
    let directory = call.directory()?;
    let show = |queue: &QueueDefinition| {
        let found = queue.folders.iter().find(|folder| folders.contains(folder)).copied();
        let folder = found.unwrap_or(FolderId::SHARED);
        json!(QueueResponse::new(queue, folder, Some(&directory.full_name(folder))))
    };
    call.page(&entity_set::QUEUES, queues.iter().map(show).collect())
}

/// Needs the permission to edit the queue where it is, and to create queues in the new folders.
pub(super) async fn share(call: &Call) -> HandlerResult {
    const CREATE: Permission = Permission(Area::Queues, Action::Create);
    let body: ShareRequest = call.body(&strict::SHARE)?;
    let sharing = Sharing::new(body.to_add_folder_ids, body.to_remove_folder_ids);
    sharing.check(call, ("QueueIds", body.queue_ids.len()), [CREATE, EDIT])?;
    let mut queues = Vec::new();
    for id in body.queue_ids {
        queues.push(find_anywhere(call, id, EDIT).await?);
    }
    for (queue, folder) in queues {
        let (add, remove) = (sharing.add.clone(), sharing.remove.clone());
        call.store_in(folder).share_queue(queue.id, add, remove).await?;
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}
