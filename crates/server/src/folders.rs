//! Folders, and the roles of users in them.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use uuid::Uuid;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::{secret, strict};
use crate::directory::{Change, Folder, Role, User};
use crate::permission::{Action, Area, Permission};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_wire::odata::entity_set;
use performer_wire::requests::{AssignUsersRequest, FolderRequest, RemoveUserRequest};
use performer_wire::responses::{self, RoleName};

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Folders";

/// The maximum number of users × folders in one call.
const MAX_ASSIGNMENTS: usize = 1_000;

/// Whether the caller may see a folder: all folders with Units.View, otherwise those where it has a role.
fn can_see(call: &Call, folder: FolderId) -> Result<bool, ApiError> {
    let caller = call.caller()?;
    Ok(caller.may(None, Permission(Area::Units, Action::View))
        || caller.may(Some(folder), Permission(Area::SubFolders, Action::View))
        || caller.is_assigned(folder))
}

/// Refuses a caller who has the permission neither for all folders nor for this one.
fn require(call: &Call, folder: Option<FolderId>, action: Action) -> Result<(), ApiError> {
    let caller = call.caller()?;
    let everywhere = caller.may(None, Permission(Area::Units, action));
    let here = folder.is_some_and(|folder| caller.may(Some(folder), Permission(Area::SubFolders, action)));
    if everywhere || here { Ok(()) } else { Err(ApiError::forbidden()) }
}

fn visible_folder(call: &Call, id: FolderId) -> Result<&Folder, ApiError> {
    let folder = call.directory()?.folder(id);
    match folder {
        Some(folder) if can_see(call, id)? => Ok(folder),
        _ => Err(ApiError::not_found(format!("Folder {id} does not exist."))),
    }
}

fn visible_folders(call: &Call) -> Result<Vec<&Folder>, ApiError> {
    let mut visible = Vec::new();
    for folder in call.directory()?.folders() {
        if can_see(call, folder.id)? {
            visible.push(folder);
        }
    }
    Ok(visible)
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let directory = call.directory()?;
    call.page(
        &entity_set::FOLDERS,
        visible_folders(call)?
            .into_iter()
            .map(|folder| responses::folder(&directory.folder_view(folder)))
            .collect(),
    )
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let folder = visible_folder(call, FolderId(call.id()?))?;
    call.entity(ENTITY, responses::folder(&call.directory()?.folder_view(folder)))
}

pub(super) async fn get_by_key(call: &Call) -> HandlerResult {
    let key: Uuid = call.argument_as("identifier")?;
    let found = visible_folders(call)?.into_iter().find(|folder| folder.key == key);
    let folder = found.ok_or_else(|| ApiError::not_found("The folder does not exist."))?;
    call.entity(ENTITY, responses::folder(&call.directory()?.folder_view(folder)))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let body: FolderRequest = call.body(&strict::FOLDER)?;
    let parent = body.parent_id.map(FolderId);
    if let Some(parent) = parent {
        visible_folder(call, parent)?;
    }
    require(call, parent, Action::Create)?;
    let change = Change::AddFolder {
        key: secret::new_key()?,
        name: body.display_name,
        description: body.description,
        parent,
    };
    let id = call.server.access.change(call.actor(), change).await?;
    let directory = call.server.access.directory();
    let folder =
        directory.folder(FolderId(id)).ok_or_else(|| ApiError::internal("the new folder is missing"))?;
    call.created(ENTITY, id, responses::folder(&directory.folder_view(folder)))
}

pub(super) async fn edit(call: &Call) -> HandlerResult {
    let body: FolderRequest = call.body(&strict::FOLDER)?;
    let Folder { id, parent, .. } = *visible_folder(call, FolderId(call.id()?))?;
    require(call, Some(id), Action::Edit)?;
    if body.parent_id.is_some_and(|wanted| parent != Some(FolderId(wanted))) {
        let code = ErrorCode::FIELD_NOT_EDITABLE.number();
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code, "'ParentId' is not editable."));
    }
    let change = Change::EditFolder { id, name: body.display_name, description: body.description };
    call.server.access.change(call.actor(), change).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    let id = visible_folder(call, FolderId(call.id()?))?.id;
    require(call, Some(id), Action::Delete)?;
    call.server.access.change(call.actor(), Change::RemoveFolder(id)).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn assign_users(call: &Call) -> HandlerResult {
    let body: AssignUsersRequest = call.body(&strict::UNCHECKED)?;
    let folders = &body.assignments.roles_per_folder;
    let users = &body.assignments.user_ids;
    Call::check_length("UserIds", users.len(), MAX_ASSIGNMENTS)?;
    Call::check_length("RolesPerFolder", folders.len(), MAX_ASSIGNMENTS)?;
    for folder in folders {
        Call::check_length("RoleIds", folder.role_ids.len(), MAX_ASSIGNMENTS)?;
    }
    if folders.len().saturating_mul(users.len()) > MAX_ASSIGNMENTS {
        return Err(ApiError::invalid_argument(format!(
            "There are more than {MAX_ASSIGNMENTS} assignments."
        )));
    }
    let mut changes = Vec::new();
    for folder in folders {
        let (id, roles) = (FolderId(folder.folder_id), folder.role_ids.iter().copied().collect());
        visible_folder(call, id)?;
        require(call, Some(id), Action::Edit)?;
        call.caller()?.check_may_grant(Some(id), &roles)?;
        for user in users {
            call.caller()?.check_outranks_in(id, *user)?;
            changes.push(Change::Assign { user: *user, folder: Some(id), roles: roles.clone() });
        }
    }
    call.server.access.change_all(call.actor(), changes).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn remove_user(call: &Call) -> HandlerResult {
    let body: RemoveUserRequest = call.body(&strict::UNCHECKED)?;
    let id = visible_folder(call, FolderId(call.id()?))?.id;
    require(call, Some(id), Action::Edit)?;
    call.caller()?.check_outranks_in(id, body.user_id)?;
    let change = Change::Assign { user: body.user_id, folder: Some(id), roles: BTreeSet::new() };
    call.server.access.change(call.actor(), change).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// The users with roles in a folder.
pub(super) async fn users(call: &Call) -> HandlerResult {
    let id = visible_folder(call, FolderId(call.argument_as("key")?))?.id;
    require(call, Some(id), Action::View)?;
    let directory = call.directory()?;
    let inherited: bool =
        call.optional_argument("includeInherited").unwrap_or("true").eq_ignore_ascii_case("true");
    let shown = |user: &User| {
        let own = user.folder_roles.get(&id.0);
        if own.is_none() && !(inherited && directory.is_assigned(user, id)) {
            return None;
        }
        let roles = own.into_iter().flatten().filter_map(|role| directory.role(*role));
        let roles: Vec<RoleName<'_>> = roles.map(Role::as_name).collect();
        Some(responses::user_of_folder(id, &directory.user_view(user), &roles, own.is_none()))
    };
    call.page(&entity_set::USERS_OF_FOLDERS, directory.users().filter_map(shown).collect())
}

/// The folders of the caller, in the older style of pages (`/api`): `skip`, `take` and `searchText`.
pub(super) async fn of_current_user(call: &Call) -> HandlerResult {
    let directory = call.directory()?;
    let wanted = call.optional_argument("searchText").unwrap_or_default().to_lowercase();
    let number = |name: &str, default: usize| match call.optional_argument(name) {
        None | Some("") => Ok(default),
        Some(_) => call.argument_as(name),
    };
    let (skip, take) = (number("skip", 0)?, number("take", 100)?.min(1_000));
    let found: Vec<&Folder> = visible_folders(call)?
        .into_iter()
        .filter(|folder| folder.name.to_lowercase().contains(&wanted))
        .collect();
    let page = found.iter().skip(skip).take(take).map(|folder| directory.folder_view(folder));
    ApiResponse::ok(&responses::folders_navigated(page, found.len()))
}
