//! Acts on many items, the audit, what is due, and figures: what the vendor's API does not have (`wire/insight_protocol.rs`).

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::desk::{self, DeskMode};
use super::operation_rights::{self, OperationRights};
use crate::permission::Permission;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::FolderId;
use performer_core::model::operation::{Act, ItemOperation, MAX_ITEMS, OperationId};
use performer_core::model::review::Person;
use performer_core::orchestrator::{Insight as _, QueueAdministration as _};
use performer_store::{OperationItems, QueueSelector, Store};
use performer_wire::insight_protocol::{
    AuditLineDto, AuditLinesRequest, AuditRequest, DeskLinkRequest, DeskLinkResponse, DueWorkRequest,
    DueWorkResponse, FiguresRequest, FiguresResponse, OperationItemDto, OperationItemsRequest,
    OperationReference, OperationsRequest, PrepareOperationRequest, operation_response,
};
use performer_wire::lease_protocol::EmptyRequest;

type HandlerResult = Result<ApiResponse, ApiError>;

/// What the caller may do in the folders of the call.
fn rights(call: &Call) -> Result<OperationRights<impl Fn(FolderId, &[Permission]) -> bool>, ApiError> {
    let caller = call.caller()?;
    let may = move |folder: FolderId, needed: &[Permission]| {
        needed.iter().all(|permission| caller.may(Some(folder), *permission))
    };
    Ok(OperationRights { folders: call.all_folders(), may })
}

fn person(call: &Call) -> Result<Person, ApiError> {
    let user = &call.caller()?.user;
    Ok(Person { user_id: Some(user.id), user_name: Some(user.user_name.clone()) })
}

fn answer(operation: ItemOperation) -> HandlerResult {
    ApiResponse::ok(&operation_response(operation))
}

pub(super) async fn prepare_operation(call: &Call) -> HandlerResult {
    let body: PrepareOperationRequest = call.own_body()?;
    Call::check_length("items", body.items.len(), MAX_ITEMS)?;
    let (mut plan, items, filter) = body.into_parts();
    plan.validate()?;
    let filter = filter.map(|filter| checked(&filter)).transpose()?;
    let folders = rights(call)?.to_make(&plan.act)?;
    operation_rights::note_reviewer(&mut plan.act, call.directory()?, &folders);
    let (store, which) = (call.store_for_caller(), OperationItems::These(items));
    answer(store.preview_operation(folders, (plan, person(call)?), which, filter).await?)
}

/// A filter of items in the one form that the desk links to.
fn checked(filter: &str) -> Result<String, ApiError> {
    let pairs: Vec<_> = form_urlencoded::parse(filter.as_bytes()).into_owned().collect();
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(ItemQuery::parse(pairs)?.from_beginning().to_string())
}

/// The operation that a body names, if the caller may look at the items of all its folders; and the store in which it is steered, whose
/// folder the audit names.
async fn find(call: &Call, id: OperationId) -> Result<(ItemOperation, Store), ApiError> {
    let operation = call.store_for_caller().operation(id, Some(call.all_folders())).await?;
    let store = operation.folders.first().map(|folder| call.store_in(*folder));
    Ok((operation, store.unwrap_or_else(|| call.store_for_caller())))
}

pub(super) async fn operation(call: &Call) -> HandlerResult {
    let OperationReference { operation } = call.own_body()?;
    answer(find(call, operation).await?.0)
}

pub(super) async fn operations(call: &Call) -> HandlerResult {
    let OperationsRequest { before, top } = call.own_body()?;
    let store = call.store_for_caller();
    let mut found = store.list_operations(Some(call.all_folders()), before, top).await?;
    found.operations = found.operations.into_iter().map(operation_response).collect();
    ApiResponse::ok(&found)
}

pub(super) async fn operation_items(call: &Call) -> HandlerResult {
    let OperationItemsRequest { operation, refused_only, from, top } = call.own_body()?;
    let ask = (operation, Some(call.all_folders()));
    let items = call.store_for_caller().operation_items(ask, refused_only, from, top).await?;
    ApiResponse::ok(&items.into_iter().map(OperationItemDto::from).collect::<Vec<_>>())
}

pub(super) async fn start_operation(call: &Call) -> HandlerResult {
    let OperationReference { operation } = call.own_body()?;
    let (operation, store) = find(call, operation).await?;
    let reach = rights(call)?.to_steer(&operation.folders, &operation.plan.act)?;
    let started = store.start_operation(operation.id, Some(reach)).await?;
    call.server.operations_changed.notify_one();
    answer(started)
}

pub(super) async fn stop_operation(call: &Call) -> HandlerResult {
    let OperationReference { operation } = call.own_body()?;
    let (operation, store) = find(call, operation).await?;
    let reach = rights(call)?.to_steer(&operation.folders, &operation.plan.act)?;
    answer(store.stop_operation(operation.id, Some(reach), person(call)?).await?)
}

pub(super) async fn resume_operation(call: &Call) -> HandlerResult {
    let OperationReference { operation } = call.own_body()?;
    let (operation, store) = find(call, operation).await?;
    let reach = rights(call)?.to_steer(&operation.folders, &operation.plan.act)?;
    let resumed = store.resume_operation(operation.id, Some(reach)).await?;
    call.server.operations_changed.notify_one();
    answer(resumed)
}

pub(super) async fn take_operation_back(call: &Call) -> HandlerResult {
    let OperationReference { operation } = call.own_body()?;
    let (operation, store) = find(call, operation).await?;
    let act = Act::TakeBack { of: operation.id };
    let reach = rights(call)?.to_steer(&operation.folders, &act)?;
    let back = store.take_operation_back(operation.id, Some(reach), person(call)?).await?;
    call.server.operations_changed.notify_one();
    answer(back)
}

pub(super) async fn audit(call: &Call) -> HandlerResult {
    let body: AuditRequest = call.own_body()?;
    let records = call.store_for_caller().audit(body.into()).await?;
    ApiResponse::ok(&records.into_iter().map(AuditLineDto::from).collect::<Vec<_>>())
}

pub(super) async fn audit_lines(call: &Call) -> HandlerResult {
    let AuditLinesRequest { after } = call.own_body()?;
    let lines = call.store_for_caller().audit_lines(after).await?;
    ApiResponse::ok(&lines.into_iter().map(AuditLineDto::from).collect::<Vec<_>>())
}

pub(super) async fn views(call: &Call) -> HandlerResult {
    let EmptyRequest {} = call.own_body_or_default()?;
    ApiResponse::ok(&call.store()?.list_views().await?)
}

pub(super) async fn due_work(call: &Call) -> HandlerResult {
    let DueWorkRequest { queue } = call.own_body()?;
    let work = call.store()?.due_work(QueueSelector::Name(queue)).await?;
    ApiResponse::ok(&DueWorkResponse::from(work))
}

pub(super) async fn figures(call: &Call) -> HandlerResult {
    let body: FiguresRequest = call.own_body()?;
    let figures = call.store()?.queue_figures(body.into()).await?;
    ApiResponse::ok(&FiguresResponse::from(figures))
}

/// A link to the desk for a caller who may do there whatever they may do here.
pub(super) async fn desk_link(call: &Call) -> HandlerResult {
    let DeskLinkRequest {} = call.own_body_or_default()?;
    let caller = call.caller()?;
    if !caller.scopes.are_all() {
        return Err(ApiError::forbidden());
    }
    if call.server.config.desk == DeskMode::Off {
        return Err(ApiError::not_found("This server has no desk: it was started with --desk off."));
    }
    ApiResponse::ok(&DeskLinkResponse { path: desk::link(&call.server, caller.user.id).await? })
}
