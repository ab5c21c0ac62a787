//! Roles, who has them, and the permissions that they can have.

use std::collections::BTreeSet;

use axum::http::StatusCode;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::strict;
use crate::directory::{Change, Role};
use crate::permission::{Action, Area, Permission};
use performer_wire::odata::entity_set;
use performer_wire::requests::{RoleRequest, SetUsersRequest};
use performer_wire::responses;

type HandlerResult = Result<ApiResponse, ApiError>;

const ROLES: &str = "Roles";

/// The maximum number of roles of a user, and of permissions in the body of a role.
pub(super) const MAX_ROLES: usize = 1_000;
/// The most users that one call gives a role, and the most that it takes it from.
const MAX_USERS: usize = 1_000;

pub(super) async fn list(call: &Call) -> HandlerResult {
    call.page(
        &entity_set::ROLES,
        call.directory()?.roles().map(|role| responses::role(&role.view())).collect(),
    )
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let id = call.id()?;
    let role = call.directory()?.role(id);
    call.entity(
        ROLES,
        responses::role(
            &role.ok_or_else(|| ApiError::not_found(format!("Role {id} does not exist.")))?.view(),
        ),
    )
}

fn permissions(body: &RoleRequest) -> Result<BTreeSet<Permission>, ApiError> {
    Call::check_length("Permissions", body.permissions.as_ref().map_or(0, Vec::len), MAX_ROLES)?;
    let granted = body.permissions.iter().flatten().filter(|given| given.is_granted.unwrap_or(true));
    Ok(granted.map(|given| given.name.parse()).collect::<Result<_, _>>()?)
}

/// Refuses permissions that the caller does not have itself.
fn check_has_permissions(call: &Call, permissions: &BTreeSet<Permission>) -> Result<(), ApiError> {
    let caller = call.caller()?;
    let own = caller.directory.permissions(&caller.user, None);
    if permissions.is_subset(&own) { Ok(()) } else { Err(ApiError::forbidden()) }
}

/// Refuses a change of a role with more permissions than the caller has.
fn check_outranks_role(call: &Call, id: i64) -> Result<(), ApiError> {
    let role = call.directory()?.role(id);
    let role = role.ok_or_else(|| ApiError::not_found(format!("Role {id} does not exist.")))?;
    check_has_permissions(call, &role.permissions)
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let body: RoleRequest = call.body(&strict::UNCHECKED)?;
    let permissions = permissions(&body)?;
    check_has_permissions(call, &permissions)?;
    let id =
        call.server.access.change(call.actor(), Change::AddRole { name: body.name, permissions }).await?;
    let directory = call.server.access.directory();
    let role = directory.role(id).ok_or_else(|| ApiError::internal("the new role is missing"))?;
    call.created(ROLES, id, responses::role(&role.view()))
}

pub(super) async fn edit(call: &Call) -> HandlerResult {
    let body: RoleRequest = call.body(&strict::UNCHECKED)?;
    let (id, permissions) = (call.id()?, permissions(&body)?);
    check_has_permissions(call, &permissions)?;
    check_outranks_role(call, id)?;
    call.server.access.change(call.actor(), Change::EditRole { id, name: body.name, permissions }).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    let id = call.id()?;
    check_outranks_role(call, id)?;
    call.server.access.change(call.actor(), Change::RemoveRole(id)).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// The role with the number in the argument `key`.
fn named_role(call: &Call) -> Result<&Role, ApiError> {
    let id: i64 = call.argument_as("key")?;
    let role = call.directory()?.role(id);
    role.ok_or_else(|| ApiError::not_found(format!("Role {id} does not exist.")))
}

/// Gives a role in the tenant to some users, and takes it from others.
pub(super) async fn set_users(call: &Call) -> HandlerResult {
    let body: SetUsersRequest = call.body(&strict::UNCHECKED)?;
    let role = call.id()?;
    Call::check_length("addedUserIds", body.added_user_ids.len(), MAX_USERS)?;
    Call::check_length("removedUserIds", body.removed_user_ids.len(), MAX_USERS)?;
    call.caller()?.check_may_grant(None, &[role].into())?;
    let added = body.added_user_ids.into_iter().map(|user| (user, true));
    let mut changes = Vec::new();
    for (user, has) in added.chain(body.removed_user_ids.into_iter().map(|user| (user, false))) {
        call.caller()?.check_outranks(user)?;
        changes.push(Change::SetRole { user, role, has });
    }
    call.server.access.change_all(call.actor(), changes).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// All users, those with the role in the tenant first.
pub(super) async fn users(call: &Call) -> HandlerResult {
    let (directory, role) = (call.directory()?, named_role(call)?.id);
    let (with, without): (Vec<_>, Vec<_>) =
        directory.users().partition(|user| user.tenant_roles.contains(&role));
    let users = with.into_iter().chain(without);
    call.page(&entity_set::USERS, users.map(|user| responses::user(&directory.user_view(user))).collect())
}

/// The numbers of the users with the role in the tenant.
pub(super) async fn user_ids(call: &Call) -> HandlerResult {
    let may = |area| call.require(None, Permission(area, Action::View));
    may(Area::Roles).or_else(|_| may(Area::Users))?;
    let role = named_role(call)?.id;
    let users = call.directory()?.users().filter(|user| user.tenant_roles.contains(&role));
    call.numbers(users.map(|user| user.id).collect())
}

/// Every permission that a role can have.
pub(super) async fn list_permissions(call: &Call) -> HandlerResult {
    call.page(
        &entity_set::PERMISSIONS,
        Permission::all().map(|one| responses::permission(&one.view())).collect(),
    )
}
