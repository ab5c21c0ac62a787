//! Folders, and the roles of users in them.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use uuid::Uuid;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::{secret, strict};
use crate::directory::{Change, Folder, Role, User};
use crate::permission::{Action, Area, Permission};
use performer_core::model::FieldEdit;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_wire::odata::entity_set;
use performer_wire::requests::{
    AssignUsersRequest, FolderPatchRequest, FolderRequest, RemoveUserByKeyRequest, RemoveUserRequest,
};
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

pub(super) fn visible_folders(call: &Call) -> Result<Vec<&Folder>, ApiError> {
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

/// The folder whose key is an argument.
fn visible_by_key<'a>(call: &'a Call, argument: &str) -> Result<&'a Folder, ApiError> {
    let key: Uuid = call.argument_as(argument)?;
    let found = visible_folders(call)?.into_iter().find(|folder| folder.key == key);
    found.ok_or_else(|| ApiError::not_found("The folder does not exist."))
}

pub(super) async fn get_by_key(call: &Call) -> HandlerResult {
    let folder = visible_by_key(call, "identifier")?;
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
    let description = FieldEdit::to(body.description);
    let change = Change::EditFolder { id, name: Some(body.display_name), description };
    call.server.access.change(call.actor(), change).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

/// Changes the name or the description of the folder with the key in the query.
pub(super) async fn patch(call: &Call) -> HandlerResult {
    let FolderPatchRequest { name, description } = call.body(&strict::UNCHECKED)?;
    let id = visible_by_key(call, "key")?.id;
    require(call, Some(id), Action::Edit)?;
    call.server.access.change(call.actor(), Change::EditFolder { id, name, description }).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

/// Moves a folder with all that is in it: into another one or, without `targetParentId`, to the top.
pub(super) async fn move_to(call: &Call) -> HandlerResult {
    let id = visible_folder(call, FolderId(call.id()?))?.id;
    let parent = match call.optional_argument("targetParentId") {
        None | Some("") => None,
        Some(_) => Some(visible_folder(call, FolderId(call.argument_as("targetParentId")?))?.id),
    };
    require(call, Some(id), Action::Delete)?;
    require(call, parent, Action::Create)?;
    require(call, parent, Action::Edit)?;
    // The roles that users have in the new parents hold in the folder from now on, as if the caller granted them.
    let directory = call.directory()?;
    let above: BTreeSet<i64> = parent.into_iter().flat_map(|parent| directory.path_of(parent)).collect();
    let inherited = directory.users().flat_map(|user| &user.folder_roles);
    let inherited = inherited.filter(|(folder, _)| above.contains(folder)).flat_map(|(_, roles)| roles);
    call.caller()?.check_may_grant(Some(id), &inherited.copied().collect())?;
    call.server.access.change(call.actor(), Change::MoveFolder { id, parent }).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    remove(call, visible_folder(call, FolderId(call.id()?))?.id).await
}

pub(super) async fn delete_by_key(call: &Call) -> HandlerResult {
    remove(call, visible_by_key(call, "key")?.id).await
}

async fn remove(call: &Call, id: FolderId) -> HandlerResult {
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
    let RemoveUserRequest { user_id } = call.body(&strict::UNCHECKED)?;
    let id = visible_folder(call, FolderId(call.id()?))?.id;
    remove_from(call, id, user_id).await
}

pub(super) async fn remove_user_by_key(call: &Call) -> HandlerResult {
    let RemoveUserByKeyRequest { user_key } = call.body(&strict::UNCHECKED)?;
    let id = visible_folder(call, FolderId(call.id()?))?.id;
    require(call, Some(id), Action::Edit)?;
    let user = call.directory()?.users().find(|user| user.key == user_key).map(|user| user.id);
    remove_from(call, id, user.ok_or_else(|| ApiError::not_found("The user does not exist."))?).await
}

async fn remove_from(call: &Call, id: FolderId, user: i64) -> HandlerResult {
    require(call, Some(id), Action::Edit)?;
    call.caller()?.check_outranks_in(id, user)?;
    let change = Change::Assign { user, folder: Some(id), roles: BTreeSet::new() };
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
