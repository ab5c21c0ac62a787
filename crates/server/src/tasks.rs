//! Tasks: what people are asked. A transaction asks by the lease protocol; here people and other programs make tasks, see them,
//! and complete them. Over 500 lines, because it is the whole of four resources that belong together.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, MAX_ROWS};
use super::shared_resources::{Sharing, accessible_folders, folders_of_list, folders_with, reach};
use super::strict;
use crate::directory::{Directory, User};
use crate::permission::{Action, Area, Permission};
use performer_core::model::key::{FolderId, TaskKey};
use performer_core::model::task::{CatalogId, Task, TaskActivity, TaskCatalog, TaskData, TaskEdit, TaskId};
use performer_core::orchestrator::{Orchestrator as _, OrchestratorError, TaskAdministration as _};
use performer_store::{Assign, Store, TaskQueryFilter};
use performer_wire::odata::{Expression, Literal, Paging, entity_set};
use performer_wire::responses;
use performer_wire::task::{
    AnswerRequest, AnswerResponse, AssignTasksRequest, CreateTaskRequest, EditTaskRequest,
    SaveAndReassignRequest, SaveTaskTagsRequest, ShareCatalogsRequest, TaskAssignmentDto, TaskCatalogRequest,
    TaskContext, TaskDataRequest, TaskErrorDto, TaskIdsRequest, TaskNoteRequest, TaskUser, activity_response,
    catalog_response, note_response, task_data_response, task_response, task_user,
};

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Tasks";
const CATALOGS: &str = "TaskCatalogs";

/// How many tasks are read from the store at once.
const AT_ONCE: usize = 1_000;
/// About how many bytes a task without its data is.
const TASK_BYTES: usize = 4 * 1024;
/// The most tasks of one call.
const MAX_AT_ONCE: usize = 1_000;

pub(super) const VIEW: Permission = Permission(Area::Tasks, Action::View);
pub(super) const CREATE: Permission = Permission(Area::Tasks, Action::Create);
pub(super) const EDIT: Permission = Permission(Area::Tasks, Action::Edit);
pub(super) const DELETE: Permission = Permission(Area::Tasks, Action::Delete);
pub(super) const CATALOGS_VIEW: Permission = Permission(Area::TaskCatalogs, Action::View);
pub(super) const CATALOGS_CREATE: Permission = Permission(Area::TaskCatalogs, Action::Create);
pub(super) const CATALOGS_EDIT: Permission = Permission(Area::TaskCatalogs, Action::Edit);
pub(super) const CATALOGS_DELETE: Permission = Permission(Area::TaskCatalogs, Action::Delete);

/// Whether a user can do tasks of a folder.
pub(super) fn may_do_tasks(directory: &Directory, user: &User, folder: FolderId) -> bool {
    user.is_active && [VIEW, EDIT].into_iter().all(|needed| directory.allows(user, Some(folder), needed))
}

fn user_response(user: &User) -> Value {
    task_user(&TaskUser {
        id: user.id,
        user_name: &user.user_name,
        name: user.name.as_deref(),
        surname: user.surname.as_deref(),
        email_address: user.email_address.as_deref(),
    })
}

/// Gives what the server knows around tasks to a function.
fn with_context<T>(
    call: &Call,
    catalogs: &[TaskCatalog],
    make: impl FnOnce(&TaskContext<'_>) -> T,
) -> Result<T, ApiError> {
    let directory = call.directory()?;
    let users = |id: i64| directory.user(id).map(user_response);
    let folder_name = |folder: FolderId| Some(directory.full_name(folder));
    Ok(make(&TaskContext { users: &users, catalogs, folder_name: &folder_name }))
}

async fn catalogs_of(call: &Call, folders: Arc<[FolderId]>) -> Result<Vec<TaskCatalog>, ApiError> {
    Ok(call.store_for_caller().task_catalogs(folders).await?)
}

// Lists

pub(super) async fn list(call: &Call) -> HandlerResult {
    list_in(call, able_in(call, &[VIEW])?).await
}

/// The folders of the call in which the caller has all of these permissions: the one that it names, or any. Clients name no folder where they
/// assign, delete or look at a task by its number.
///
/// # Errors
///
/// 403 without them in the folder that the caller names.
fn able_in(call: &Call, permissions: &[Permission]) -> Result<Arc<[FolderId]>, ApiError> {
    if let Ok(folder) = call.folder() {
        permissions.iter().try_for_each(|permission| call.require(Some(folder), *permission))?;
    }
    let caller = call.caller()?;
    let is_able =
        |folder: &FolderId| permissions.iter().all(|permission| caller.may(Some(*folder), *permission));
    Ok(call.all_folders().iter().copied().filter(is_able).collect())
}

/// The folder that has a task; the first one if none has it, where it is not found.
///
/// # Errors
///
/// 403 if there is no folder.
async fn folder_with(call: &Call, folders: &Arc<[FolderId]>, id: TaskId) -> Result<FolderId, ApiError> {
    let mut filter = TaskQueryFilter::in_folders(folders.clone(), 1);
    filter.ids = Some(vec![id]);
    let found = call.store_for_caller().tasks_in_folders(filter).await?;
    let folder = found.first().map(|task| task.folder).or(folders.first().copied());
    folder.ok_or_else(ApiError::forbidden)
}

/// The store of the folder, for a caller who has these permissions in it.
fn store_for(call: &Call, permissions: &[Permission]) -> Result<Store, ApiError> {
    let folder = call.folder()?;
    permissions.iter().try_for_each(|permission| call.require(Some(folder), *permission))?;
    Ok(call.store_in(folder))
}

/// Of all folders where the caller may see tasks, those that it may do something about.
pub(super) async fn across_folders(call: &Call) -> HandlerResult {
    check_event(call)?;
    list_in(call, folders_with(call, VIEW)?.into()).await
}

/// Of all folders where the caller may see and edit tasks.
pub(super) async fn across_folders_for_admin(call: &Call) -> HandlerResult {
    check_event(call)?;
    let mut folders = folders_with(call, VIEW)?;
    let caller = call.caller()?;
    folders.retain(|folder| caller.may(Some(*folder), EDIT));
    list_in(call, folders.into()).await
}

/// Nothing is forwarded here, so no task ever was.
fn check_event(call: &Call) -> Result<(), ApiError> {
    match call.optional_argument("event").filter(|event| !event.is_empty()) {
        None => Ok(()),
        Some(_) => Err(ApiError::invalid_argument("Invalid argument 'event': tasks are not forwarded here.")),
    }
}

async fn list_in(call: &Call, folders: Arc<[FolderId]>) -> HandlerResult {
    let options = call.options()?;
    let mut paging = Paging::new(&options, &entity_set::TASKS, MAX_ROWS)?;
    let mut filter = TaskQueryFilter::in_folders(folders.clone(), AT_ONCE);
    if let Some(expression) = paging.filter() {
        filter.ids = ids(expression);
        filter.operation = operation(expression);
    }
    let (store, catalogs) = (call.store_for_caller(), catalogs_of(call, folders).await?);
    let mut memory = call.reserve_memory(AT_ONCE * TASK_BYTES)?;
    while !paging.is_complete() {
        let tasks = store.tasks_in_folders(filter.clone()).await?;
        let rows = with_context(call, &catalogs, |context| {
            tasks.iter().map(|task| task_response(task, context)).collect::<Vec<_>>()
        })?;
        rows.into_iter().try_for_each(|row| paging.add(row))?;
        let held = (AT_ONCE + paging.kept()) * TASK_BYTES;
        if !memory.grow(held.saturating_sub(memory.bytes())) {
            return Err(ApiError::unavailable());
        }
        match tasks.last() {
            Some(last) if tasks.len() == AT_ONCE => filter.before = Some(last.id),
            _ => break,
        }
    }
    let (rows, count) = paging.finish()?;
    call.collection(ENTITY, rows, count)
}

/// The numbers of tasks of which a filter asks for one. `None`: it has to be asked of all tasks.
fn ids(expression: &Expression) -> Option<Vec<TaskId>> {
    let number = |literal: &Literal| match literal {
        Literal::Number(number) => Some(TaskId(*number)),
        _ => None,
    };
    expression.one_of("Id")?.iter().map(number).collect()
}

/// The operation whose tasks a filter asks for.
fn operation(expression: &Expression) -> Option<String> {
    match expression.one_of("ParentOperationId")? {
        [Literal::Text(text)] => Some(text.clone()),
        _ => None,
    }
}

// One task

async fn context_of(call: &Call, task: &Task) -> Result<Vec<TaskCatalog>, ApiError> {
    match task.catalog {
        Some(_) => catalogs_of(call, Arc::new([task.folder])).await,
        None => Ok(Vec::new()),
    }
}

async fn as_entity(call: &Call, task: &Task) -> HandlerResult {
    let catalogs = context_of(call, task).await?;
    call.entity(ENTITY, with_context(call, &catalogs, |context| task_response(task, context))?)
}

async fn with_data(call: &Call, task: &Task, data: &TaskData) -> Result<Value, ApiError> {
    let catalogs = context_of(call, task).await?;
    with_context(call, &catalogs, |context| task_data_response(task, data, context))
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let (id, folders) = (TaskId(call.id()?), able_in(call, &[VIEW])?);
    let folder = folder_with(call, &folders, id).await?;
    let (task, _) = call.store_in(folder).find_task(id).await?;
    as_entity(call, &task).await
}

pub(super) async fn get_by_key(call: &Call) -> HandlerResult {
    let key = key(call, "identifier")?;
    let mut missing = ApiError::forbidden();
    for folder in able_in(call, &[VIEW])?.iter() {
        match call.store_in(*folder).find_task_keyed(key).await {
            Ok((task, _)) => return as_entity(call, &task).await,
            Err(error) if error.is_not_found() => missing = error.into(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(missing)
}

fn key(call: &Call, name: &str) -> Result<TaskKey, ApiError> {
    call.argument_as(name)
}

pub(super) async fn data_by_id(call: &Call) -> HandlerResult {
    let (task, data) = call.store()?.find_task(TaskId(call.argument_as("taskId")?)).await?;
    ApiResponse::ok(&with_data(call, &task, &data).await?)
}

pub(super) async fn data_by_key(call: &Call) -> HandlerResult {
    let (task, data) = call.store()?.find_task_keyed(key(call, "taskKey")?).await?;
    ApiResponse::ok(&with_data(call, &task, &data).await?)
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let new = call.body::<CreateTaskRequest>(&strict::CREATE_TASK)?.into_task()?;
    let data = new.data.clone();
    let task = call.store()?.create_task(new).await?;
    let location = Some(format!("{}/odata/{ENTITY}({})", call.base, task.id));
    Ok(ApiResponse {
        location,
        ..ApiResponse::json(StatusCode::CREATED, &with_data(call, &task, &data).await?)?
    })
}

pub(super) async fn complete(call: &Call) -> HandlerResult {
    let mut body: TaskDataRequest = call.body(&strict::COMPLETE_TASK)?;
    let data = body.take_data()?;
    call.store()?.complete_task(TaskId(body.task_id), body.action.as_deref(), data).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn save_data(call: &Call) -> HandlerResult {
    let mut body: TaskDataRequest = call.body(&strict::SAVE_TASK_DATA)?;
    let missing = || ApiError::invalid_argument("Invalid argument 'data': it is a JSON object.");
    let data = body.take_data()?.ok_or_else(missing)?;
    call.store()?.save_task_data(TaskId(body.task_id), data).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn save_tags(call: &Call) -> HandlerResult {
    let body: SaveTaskTagsRequest = call.body(&strict::SAVE_TASK_TAGS)?;
    let id = TaskId(body.task_id);
    let edit = TaskEdit { labels: Some(body.labels()), ..TaskEdit::default() };
    call.store()?.edit_task(id, edit, None).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn save_and_reassign(call: &Call) -> HandlerResult {
    let body: SaveAndReassignRequest = call.body(&strict::SAVE_AND_REASSIGN)?;
    let (to, data, note) = body.into_parts()?;
    let user = assignee(call, &to, call.folder()?)?;
    call.store()?.assign_task_to(TaskId(to.task_id), user, Assign::Anyway, data, note).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn edit_metadata(call: &Call) -> HandlerResult {
    let store = store_for(call, &[VIEW, EDIT])?;
    let body: EditTaskRequest = call.body(&strict::EDIT_TASK)?;
    let catalog = match (body.unset_task_catalog, body.task_catalog_id.filter(|id| *id != 0)) {
        (Some(true), _) => Some(None),
        (_, Some(id)) => Some(Some(CatalogId(id))),
        _ => None,
    };
    let edit =
        TaskEdit { title: body.title.clone(), priority: body.priority()?, catalog, ..TaskEdit::default() };
    let note = body.note_text.filter(|note| !note.is_empty());
    store.edit_task(TaskId(body.task_id), edit, note).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

// Many tasks: what is wrong with one does not prevent the others

/// The user to whom a task of the folder is to be given. One that cannot do it is as unknown as one that does not exist.
fn assignee(call: &Call, to: &TaskAssignmentDto, folder: FolderId) -> Result<i64, ApiError> {
    to.check_criteria()?;
    let directory = call.directory()?;
    let name = to.user_name_or_email.as_deref().unwrap_or_default().trim();
    let by_email = || {
        let has_it =
            |user: &&User| user.email_address.as_deref().is_some_and(|one| one.eq_ignore_ascii_case(name));
        directory.users().find(has_it)
    };
    let found = match to.user_id.filter(|id| *id != 0) {
        Some(id) => directory.user(id),
        None if name.is_empty() => {
            return Err(ApiError::invalid_argument(
                "Invalid argument 'UserId': a task is assigned to a user.",
            ));
        }
        None => directory.user_named(name).or_else(by_email),
    };
    let found = found.filter(|user| may_do_tasks(directory, user, folder));
    let missing = || ApiError::not_found("The user does not exist, or may not do tasks in this folder.");
    found.map(|user| user.id).ok_or_else(missing)
}

fn task_error(to: &TaskAssignmentDto, error: &ApiError) -> TaskErrorDto {
    TaskErrorDto {
        task_id: to.task_id,
        user_id: to.user_id,
        error_code: i32::from(error.code),
        error_message: error.message.clone(),
        user_name_or_email: to.user_name_or_email.clone(),
    }
}

fn errors(call: &Call, errors: Vec<TaskErrorDto>) -> HandlerResult {
    let context = "Collection(UiPath.Server.Configuration.OData.TaskOperationErrorResponse)";
    call.collection(context, errors, None)
}

async fn assign_all(call: &Call, how: Assign) -> HandlerResult {
    let folders = able_in(call, &[VIEW, EDIT])?;
    let body: AssignTasksRequest = call.body(&strict::ASSIGN_TASKS)?;
    Call::check_length("taskAssignments", body.task_assignments.len(), MAX_AT_ONCE)?;
    let mut failed = Vec::new();
    for to in body.task_assignments {
        let folder = folder_with(call, &folders, TaskId(to.task_id)).await?;
        let assigned = match assignee(call, &to, folder) {
            Ok(user) => call.store_in(folder).assign_task_to(TaskId(to.task_id), user, how, None, None).await,
            Err(error) => {
                failed.push(task_error(&to, &error));
                continue;
            }
        };
        if let Err(error) = assigned {
            failed.push(task_error(&to, &left(error)?));
        }
    }
    errors(call, failed)
}

/// The reason why one task was left, unless the call as a whole has failed.
fn left(error: OrchestratorError) -> Result<ApiError, ApiError> {
    let is_refusal = error.code().is_some() && !error.is_temporary();
    let error = ApiError::from(error);
    if is_refusal { Ok(error) } else { Err(error) }
}

pub(super) async fn assign(call: &Call) -> HandlerResult {
    assign_all(call, Assign::First).await
}

pub(super) async fn reassign(call: &Call) -> HandlerResult {
    assign_all(call, Assign::Again).await
}

pub(super) async fn unassign(call: &Call) -> HandlerResult {
    each(call, &strict::UNASSIGN_TASKS, false).await
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    each(call, &strict::DELETE_TASKS, true).await
}

async fn each(call: &Call, shape: &strict::BodyShape, deletes: bool) -> HandlerResult {
    let folders = able_in(call, &[VIEW, if deletes { DELETE } else { EDIT }])?;
    let body: TaskIdsRequest = call.body(shape)?;
    Call::check_length("taskIds", body.task_ids.len(), MAX_AT_ONCE)?;
    let mut failed = Vec::new();
    for id in body.task_ids {
        let id = TaskId(id);
        let store = call.store_in(folder_with(call, &folders, id).await?);
        let done = if deletes { store.delete_task(id).await } else { store.unassign_task(id).await };
        if let Err(error) = done {
            let about = TaskAssignmentDto { task_id: id.0, ..TaskAssignmentDto::default() };
            failed.push(task_error(&about, &left(error)?));
        }
    }
    errors(call, failed)
}

/// The users who can do tasks of a folder.
pub(super) async fn users(call: &Call) -> HandlerResult {
    let folder = FolderId(call.argument_as("organizationUnitId")?);
    let caller = call.caller()?;
    if !caller.is_assigned(folder) || caller.directory.folder(folder).is_none() {
        return Err(ApiError::no_such_folder());
    }
    call.require(Some(folder), VIEW)?;
    call.require(Some(folder), EDIT)?;
    let may = caller.directory.users().filter(|user| may_do_tasks(&caller.directory, user, folder));
    call.page(&entity_set::TASK_USERS, may.map(user_response).collect())
}

/// What the caller may do with tasks of the folder.
pub(super) async fn permissions(call: &Call) -> HandlerResult {
    let (caller, folder) = (call.caller()?, call.folder()?);
    let granted = Permission::all().filter(|permission| {
        matches!(permission.0, Area::Tasks | Area::TaskCatalogs) && caller.may(Some(folder), *permission)
    });
    let rows = granted.map(|permission| {
        json!({
            "Name": permission.to_string(), "IsGranted": true, "RoleId": 0, "Scope": "Folder",
            "Id": permission.view().id,
        })
    });
    call.page(&entity_set::PERMISSIONS, rows.collect())
}

// Notes and activities

async fn activities_of(call: &Call, id: TaskId) -> Result<(Task, Vec<TaskActivity>), ApiError> {
    let store = call.store()?;
    let (task, _) = store.find_task(id).await?;
    let activities = store.task_activities(id).await?;
    Ok((task, activities))
}

pub(super) async fn create_note(call: &Call) -> HandlerResult {
    let body: TaskNoteRequest = call.body(&strict::TASK_NOTE)?;
    let (id, store) = (TaskId(body.task_id), call.store()?);
    let (task, _) = store.find_task(id).await?;
    let note = store.note_on_task(id, body.text).await?;
    let response = with_context(call, &[], |context| note_response(&note, &task, context))?;
    call.created("TaskNotes", note.id, response)
}

pub(super) async fn notes(call: &Call) -> HandlerResult {
    let (task, activities) = activities_of(call, TaskId(call.argument_as("taskId")?)).await?;
    let rows = with_context(call, &[], |context| {
        let notes = activities.iter().filter(|activity| activity.note.is_some());
        notes.map(|note| note_response(note, &task, context)).collect()
    })?;
    call.page(&entity_set::TASK_NOTES, rows)
}

pub(super) async fn activities(call: &Call) -> HandlerResult {
    let (task, activities) = activities_of(call, TaskId(call.argument_as("taskId")?)).await?;
    let rows = with_context(call, &[], |context| {
        activities.iter().map(|activity| activity_response(activity, &task, context)).collect()
    })?;
    call.page(&entity_set::TASK_ACTIVITIES, rows)
}

// Catalogs

fn catalog_rows(catalogs: &[TaskCatalog]) -> Vec<Value> {
    catalogs.iter().map(catalog_response).collect()
}

pub(super) async fn list_catalogs(call: &Call) -> HandlerResult {
    let catalogs = catalogs_of(call, call.all_folders()).await?;
    call.page(&entity_set::TASK_CATALOGS, catalog_rows(&catalogs))
}

/// The catalogs of the folders where the caller has all permissions that it names.
pub(super) async fn catalogs_with_permissions(call: &Call) -> HandlerResult {
    let mut folders = folders_of_list(call, CATALOGS_VIEW)?.to_vec();
    let named = call.query.iter().filter(|(name, _)| name.eq_ignore_ascii_case("mandatoryPermissions"));
    for (_, name) in named {
        let permission: Permission = name.parse()?;
        let caller = call.caller()?;
        folders.retain(|folder| caller.may(Some(*folder), permission));
    }
    let catalogs = catalogs_of(call, folders.into()).await?;
    call.page(&entity_set::TASK_CATALOGS, catalog_rows(&catalogs))
}

pub(super) async fn get_catalog(call: &Call) -> HandlerResult {
    let catalog = call.store()?.task_catalog(CatalogId(call.id()?)).await?;
    call.entity(CATALOGS, catalog_response(&catalog))
}

pub(super) async fn create_catalog(call: &Call) -> HandlerResult {
    let settings = call.body::<TaskCatalogRequest>(&strict::TASK_CATALOG)?.into_settings()?;
    let catalog = call.store()?.create_task_catalog(settings).await?;
    call.created(CATALOGS, catalog.id.0, catalog_response(&catalog))
}

pub(super) async fn update_catalog(call: &Call) -> HandlerResult {
    let settings = call.body::<TaskCatalogRequest>(&strict::TASK_CATALOG)?.into_settings()?;
    call.store()?.update_task_catalog(CatalogId(call.id()?), settings, reach(call, CATALOGS_EDIT)?).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete_catalog(call: &Call) -> HandlerResult {
    call.store()?.delete_task_catalog(CatalogId(call.id()?), reach(call, CATALOGS_DELETE)?).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// A catalog in any folder where the caller has a permission.
async fn find_catalog(
    call: &Call,
    id: CatalogId,
    permission: Permission,
) -> Result<(TaskCatalog, FolderId), ApiError> {
    let folders = folders_with(call, permission)?;
    let found = catalogs_of(call, folders.clone().into()).await?.into_iter().find(|one| one.id == id);
    let catalog = found.ok_or_else(|| ApiError::not_found(format!("Task catalog {id} does not exist.")))?;
    let folder = catalog.folders.iter().find(|folder| folders.contains(folder)).copied();
    folder.map(|folder| (catalog, folder)).ok_or_else(ApiError::no_such_folder)
}

pub(super) async fn folders_for_catalog(call: &Call) -> HandlerResult {
    let (catalog, _) = find_catalog(call, CatalogId(call.argument_as("id")?), CATALOGS_VIEW).await?;
    accessible_folders(call, &catalog.folders)
}

pub(super) async fn catalog_details(call: &Call) -> HandlerResult {
    let id = CatalogId(call.argument_as("taskCatalogId")?);
    let (catalog, folder) = find_catalog(call, id, CATALOGS_VIEW).await?;
    let tasks = call.store_in(folder).task_catalog_size(id).await?;
    let body = json!({
        "AssociatedTasksCount": tasks, "IsEncrypted": false, "TotalFolderCount": catalog.folders.len(),
        "Key": catalog.key.to_string(),
    });
    let context = call.context("UiPath.Server.Configuration.OData.TaskCatalogExtendedDetailsDto");
    ApiResponse::ok(&responses::with_context(&context, &body))
}

/// Needs the permission to edit the catalog where it is, and to create catalogs in the new folders.
pub(super) async fn share_catalogs(call: &Call) -> HandlerResult {
    let body: ShareCatalogsRequest = call.body(&strict::SHARE_CATALOGS)?;
    let sharing = Sharing::new(body.to_add_folder_ids, body.to_remove_folder_ids);
    let count = body.task_catalog_ids.len();
    sharing.check(call, ("TaskCatalogIds", count), [CATALOGS_CREATE, CATALOGS_EDIT])?;
    let mut catalogs = Vec::new();
    for id in body.task_catalog_ids {
        catalogs.push(find_catalog(call, CatalogId(id), CATALOGS_EDIT).await?);
    }
    for (catalog, folder) in catalogs {
        let (add, remove) = (sharing.add.clone(), sharing.remove.clone());
        call.store_in(folder).share_task_catalog(catalog.id, add, remove).await?;
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

// Performer's own protocol

/// The answer to what an item asked, for the robot that has it now.
pub(super) async fn answer(call: &Call) -> HandlerResult {
    let body: AnswerRequest = call.own_body()?;
    let answer = call.store()?.read_answer(body.item()).await?;
    ApiResponse::ok(&AnswerResponse { answer: answer.map(Into::into) })
}
