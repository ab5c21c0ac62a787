//! Users and robots. Roles are in `roles.rs`.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::roles::MAX_ROLES;
use super::{access, jobs, secret, strict};
use crate::directory::{Change, User, UserEdit};
use crate::permission::{Action, Area, Permission};
use performer_core::model::FieldEdit;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::JobOwner;
use performer_core::model::user::UserType;
use performer_wire::EnumValue;
use performer_wire::odata::entity_set;
use performer_wire::requests::{AssignRolesRequest, ToggleRoleRequest, UserPatchRequest, UserRequest};
use performer_wire::responses;
use performer_wire::transaction::known_value;

type HandlerResult = Result<ApiResponse, ApiError>;

const USERS: &str = "Users";

/// The most users that one call asks about.
const MAX_USERS: usize = 1_000;

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

/// The caller, with its personal workspace: there is none.
pub(super) async fn current_extended(call: &Call) -> HandlerResult {
    let caller = call.caller()?;
    call.entity(USERS, responses::user_with_workspace(&caller.directory.user_view(&caller.user)))
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
fn check_unchangeable(
    name: Option<&String>,
    kind: Option<&EnumValue<UserType>>,
    existing: &User,
) -> Result<(), ApiError> {
    if name.is_some_and(|name| *name != existing.user_name) {
        let code = ErrorCode::CANNOT_UPDATE_USERNAME;
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code.number(), code.text()));
    }
    let kind = kind.map(|kind| known_value("Type", kind)).transpose()?;
    if kind.is_some_and(|kind| kind != existing.user_type) {
        return Err(not_editable("Type"));
    }
    Ok(())
}

fn not_editable(field: &str) -> ApiError {
    let code = ErrorCode::FIELD_NOT_EDITABLE;
    ApiError::new(StatusCode::BAD_REQUEST, code.number(), format!("'{field}' is not editable."))
}

fn existing(call: &Call, id: i64) -> Result<&User, ApiError> {
    let user = call.directory()?.user(id);
    user.ok_or_else(|| ApiError::not_found(format!("User {id} does not exist.")))
}

pub(super) async fn edit(call: &Call) -> HandlerResult {
    let (id, body) = (call.id()?, call.body::<UserRequest>(&strict::UNCHECKED)?);
    call.caller()?.check_outranks(id)?;
    let existing = existing(call, id)?;
    check_unchangeable(body.user_name.as_ref(), body.user_type.as_ref(), existing)?;
    let edit = UserEdit {
        name: FieldEdit::to(body.name),
        surname: FieldEdit::to(body.surname),
        email_address: FieldEdit::to(body.email_address),
        is_active: body.is_active,
    };
    let mut changes = vec![Change::EditUser { id, edit }];
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

/// Changes what the body names. Callers may change their own names without Users.Edit.
pub(super) async fn patch(call: &Call) -> HandlerResult {
    let (id, body) = (call.id()?, call.body::<UserPatchRequest>(&strict::UNCHECKED)?);
    let is_own_name = id == call.caller()?.user.id && body.password.is_none() && body.is_active.is_none();
    if !is_own_name {
        call.require(None, Permission(Area::Users, Action::Edit))?;
    }
    call.caller()?.check_outranks(id)?;
    let existing = existing(call, id)?;
    check_unchangeable(body.user_name.as_ref(), body.user_type.as_ref(), existing)?;
    check_same_roles(call, &body, existing)?;
    let UserPatchRequest { name, surname, email_address, is_active, password, .. } = body;
    let edit = UserEdit { name, surname, email_address, is_active };
    let mut changes = vec![Change::EditUser { id, edit }];
    if let Some(password) = password {
        check_may_set_password(call, existing.user_type)?;
        changes.push(Change::SetPassword { user: id, password: secret::hash_on_thread(password).await? });
    }
    call.server.access.change_all(call.actor(), changes).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

/// Refuses a body with other roles than the user has. A client may send a user back as it was read.
fn check_same_roles(call: &Call, body: &UserPatchRequest, existing: &User) -> Result<(), ApiError> {
    let directory = call.directory()?;
    let named = |name: &String| directory.role_named(name).map(|role| role.id);
    let list = body.roles_list.as_ref().map(|names| names.iter().map(named).collect::<BTreeSet<_>>());
    if list.is_some_and(|list| list != existing.tenant_roles.iter().copied().map(Some).collect()) {
        return Err(not_editable("RolesList"));
    }
    let roles = body.user_roles.as_ref().map(|roles| roles.iter().map(|role| role.role_id).collect());
    if roles.is_some_and(|roles: BTreeSet<i64>| roles != existing.tenant_roles) {
        return Err(not_editable("UserRoles"));
    }
    Ok(())
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

pub(super) async fn toggle_role(call: &Call) -> HandlerResult {
    let ToggleRoleRequest { role, toggle } = call.body(&strict::UNCHECKED)?;
    let user = call.id()?;
    call.caller()?.check_outranks(user)?;
    let found = call.directory()?.role_named(&role).map(|role| role.id);
    let role = found.ok_or_else(|| ApiError::not_found("The role does not exist."))?;
    call.caller()?.check_may_grant(None, &[role].into())?;
    call.server.access.change(call.actor(), Change::SetRole { user, role, has: toggle }).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

/// Whether users are busy: whether a job runs that they started.
pub(super) async fn validate(call: &Call) -> HandlerResult {
    let asked = call.argument("userIds")?;
    let asked = asked.trim_start_matches('[').trim_end_matches(']').split(',').map(str::trim);
    let ids: Result<BTreeSet<i64>, _> = asked.filter(|id| !id.is_empty()).map(str::parse).collect();
    let ids = ids.map_err(|_| ApiError::invalid_argument("Invalid argument 'userIds'."))?;
    Call::check_length("userIds", ids.len(), MAX_USERS)?;
    ids.iter().try_for_each(|id| existing(call, *id).map(drop))?;
    let mut busy = BTreeSet::new();
    let folders = call.directory()?.folders().map(|folder| folder.id).collect();
    jobs::each_job(call, folders, |job| {
        if let (JobOwner::User(user), None) = (job.owner, job.end_time) {
            busy.insert(user);
        }
    })
    .await?;
    let value: serde_json::Map<String, Value> =
        ids.iter().map(|id| (id.to_string(), busy.contains(id).into())).collect();
    let context = call.context("Collection(System.Collections.Generic.KeyValuePair_2OfInt64_Boolean)");
    ApiResponse::ok(&responses::with_context(&context, &responses::value_of(&value)))
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
