//! Users, roles and robots, as far as queues need them.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::{access, secret, strict};
use crate::directory::{Change, User};
use crate::permission::{Action, Area, Permission};
use performer_core::model::code::ErrorCode;
use performer_core::model::user::UserType;
use performer_wire::odata::entity_set;
use performer_wire::requests::{AssignRolesRequest, RoleRequest, UserRequest};
use performer_wire::responses;
use performer_wire::transaction::known_value;

type HandlerResult = Result<ApiResponse, ApiError>;

const USERS: &str = "Users";
const ROLES: &str = "Roles";

/// The maximum number of roles of a user, and of permissions in the body of a role.
const MAX_ROLES: usize = 1_000;

pub(super) async fn list(call: &Call) -> HandlerResult {
    let directory = call.directory()?;
    call.page(
        &entity_set::USERS,
        directory.users().map(|user| responses::user(&directory.user_view(user))).collect(),
    )
}

/// The caller itself, or any user with Users.View.
pub(super) async fn get(call: &Call) -> HandlerResult {
    let (caller, id) = (call.caller()?, call.id()?);
    if id != caller.user.id {
        call.require(None, Permission(Area::Users, Action::View))?;
    }
    let user = caller.directory.user(id);
    let user = user.ok_or_else(|| ApiError::not_found(format!("User {id} does not exist.")))?;
    call.entity(USERS, responses::user(&caller.directory.user_view(user)))
}

pub(super) async fn current(call: &Call) -> HandlerResult {
    let caller = call.caller()?;
    call.entity(USERS, responses::user(&caller.directory.user_view(&caller.user)))
}

pub(super) async fn current_permissions(call: &Call) -> HandlerResult {
    let caller = call.caller()?;
    let mut permissions = caller.directory.permissions(&caller.user, None);
    for folder in caller.directory.folders() {
        permissions.extend(caller.directory.permissions(&caller.user, Some(folder.id)));
    }
    let permissions: Vec<String> = permissions.iter().map(ToString::to_string).collect();
    let body = responses::permissions_of(caller.user.id, &permissions);
    let kind = "UiPath.Server.Configuration.OData.UserPermissionsCollection";
    ApiResponse::ok(&responses::with_context(&call.context(kind), &body))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let body: UserRequest = call.body(&strict::UNCHECKED)?;
    let name = body.user_name.as_deref().unwrap_or_default();
    let kind = body.user_type.as_ref().map_or(Ok(UserType::User), |kind| known_value("Type", kind))?;
    let mut user = access::new_user(name, kind)?;
    user.tenant_roles = roles_named(call, body.roles_list.as_deref().unwrap_or_default())?;
    if let Some(password) = body.password {
        check_may_set_password(call, kind)?;
        user.password = Some(secret::hash_on_thread(password).await?);
    }
    (user.name, user.surname, user.email_address) = (body.name, body.surname, body.email_address);
    let id = call.server.access.change(call.actor(), Change::AddUser(Box::new(user))).await?;
    let directory = call.server.access.directory();
    let user = directory.user(id).ok_or_else(|| ApiError::internal("the new user is missing"))?;
    call.created(USERS, id, responses::user(&directory.user_view(user)))
}

fn roles_named(call: &Call, names: &[String]) -> Result<BTreeSet<i64>, ApiError> {
    let directory = call.directory()?;
    Call::check_length("RolesList", names.len(), MAX_ROLES)?;
    let mut roles = BTreeSet::new();
    for name in names {
        let role = directory.role_named(name).ok_or_else(|| ApiError::not_found("A role does not exist."))?;
        roles.insert(role.id);
    }
    call.caller()?.check_may_grant(None, &roles)?;
    Ok(roles)
}

/// Refuses to set a password unless the caller has all scopes: a login with a password grants all scopes.
fn check_may_set_password(call: &Call, of: UserType) -> Result<(), ApiError> {
    if !of.has_password() {
        let message = format!("A user of the type {of} has no password.");
        return Err(ApiError::invalid_argument(message));
    }
    if call.caller()?.scopes.are_all() { Ok(()) } else { Err(ApiError::forbidden()) }
}

/// Refuses a change of the user name or type, which cannot be changed.
fn check_unchangeable(body: &UserRequest, existing: &User) -> Result<(), ApiError> {
    if body.user_name.as_ref().is_some_and(|name| *name != existing.user_name) {
        let code = ErrorCode::CANNOT_UPDATE_USERNAME;
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code.number(), code.text()));
    }
    let kind = body.user_type.as_ref().map(|kind| known_value("Type", kind)).transpose()?;
    if kind.is_some_and(|kind| kind != existing.user_type) {
        let code = ErrorCode::FIELD_NOT_EDITABLE;
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code.number(), "'Type' is not editable."));
    }
    Ok(())
}

pub(super) async fn edit(call: &Call) -> HandlerResult {
    let (id, body) = (call.id()?, call.body::<UserRequest>(&strict::UNCHECKED)?);
    call.caller()?.check_outranks(id)?;
    let existing = call.directory()?.user(id);
    let existing = existing.ok_or_else(|| ApiError::not_found(format!("User {id} does not exist.")))?;
    check_unchangeable(&body, existing)?;
    let mut changes = vec![Change::EditUser {
        id,
        name: body.name,
        surname: body.surname,
        email_address: body.email_address,
        is_active: body.is_active.unwrap_or(existing.is_active),
    }];
    if let Some(password) = body.password {
        check_may_set_password(call, existing.user_type)?;
        changes.push(Change::SetPassword { user: id, password: secret::hash_on_thread(password).await? });
    }
    if let Some(names) = &body.roles_list {
        let roles = roles_named(call, names)?;
        changes.push(Change::Assign { user: id, folder: None, roles });
    }
    call.server.access.change_all(call.actor(), changes).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    let id = call.id()?;
    call.caller()?.check_outranks(id)?;
    if id == call.caller()?.user.id {
        return Err(ApiError::new(StatusCode::CONFLICT, 1013, "Users cannot delete themselves."));
    }
    call.server.access.change(call.actor(), Change::RemoveUser(id)).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn assign_roles(call: &Call) -> HandlerResult {
    let body: AssignRolesRequest = call.body(&strict::UNCHECKED)?;
    let user = call.id()?;
    call.caller()?.check_outranks(user)?;
    Call::check_length("roleIds", body.role_ids.len(), MAX_ROLES)?;
    let roles = body.role_ids.into_iter().collect();
    call.caller()?.check_may_grant(None, &roles)?;
    call.server.access.change(call.actor(), Change::Assign { user, folder: None, roles }).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

// Roles

pub(super) async fn list_roles(call: &Call) -> HandlerResult {
    call.page(
        &entity_set::ROLES,
        call.directory()?.roles().map(|role| responses::role(&role.view())).collect(),
    )
}

pub(super) async fn get_role(call: &Call) -> HandlerResult {
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

pub(super) async fn create_role(call: &Call) -> HandlerResult {
    let body: RoleRequest = call.body(&strict::UNCHECKED)?;
    let permissions = permissions(&body)?;
    check_has_permissions(call, &permissions)?;
    let id =
        call.server.access.change(call.actor(), Change::AddRole { name: body.name, permissions }).await?;
    let directory = call.server.access.directory();
    let role = directory.role(id).ok_or_else(|| ApiError::internal("the new role is missing"))?;
    call.created(ROLES, id, responses::role(&role.view()))
}

pub(super) async fn edit_role(call: &Call) -> HandlerResult {
    let body: RoleRequest = call.body(&strict::UNCHECKED)?;
    let (id, permissions) = (call.id()?, permissions(&body)?);
    check_has_permissions(call, &permissions)?;
    check_outranks_role(call, id)?;
    call.server.access.change(call.actor(), Change::EditRole { id, name: body.name, permissions }).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete_role(call: &Call) -> HandlerResult {
    let id = call.id()?;
    check_outranks_role(call, id)?;
    call.server.access.change(call.actor(), Change::RemoveRole(id)).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

// Robots

pub(super) async fn list_robots(call: &Call) -> HandlerResult {
    let directory = call.directory()?;
    let robots: Vec<Value> =
        directory.robots().map(|robot| responses::robot(&directory.robot_view(robot))).collect();
    call.page(&entity_set::ROBOTS, robots)
}

pub(super) async fn get_robot(call: &Call) -> HandlerResult {
    let (directory, id) = (call.directory()?, call.id()?);
    let robot =
        directory.robot(id).ok_or_else(|| ApiError::not_found(format!("Robot {id} does not exist.")))?;
    call.entity("Robots", responses::robot(&directory.robot_view(robot)))
}
