//! Users, roles and robots, as far as queues need them.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::call::{Answer, Call};
use super::failure::Failure;
use super::folders::{check_roles, check_roles_of_user};
use super::{access, secret, strict};
use crate::model::code::ErrorCode;
use crate::model::directory::{Change, User};
use crate::model::key::FolderId;
use crate::model::permission::{Action, Area, Permission};
use crate::model::user::UserType;
use crate::wire::asked::{AssignRolesRequest, RoleRequest, UserRequest};
use crate::wire::odata::set;
use crate::wire::served;
use crate::wire::transaction::known;

type Reply = Result<Answer, Failure>;

const USERS: &str = "Users";
const ROLES: &str = "Roles";

/// The most roles of one user, and the most permissions in the body of one role.
const MOST_ROLES: usize = 1_000;

pub(super) async fn list(call: &Call) -> Reply {
    let directory = call.directory()?;
    call.page(&set::USERS, directory.users().map(|user| served::user(directory, user)).collect())
}

/// Oneself, or anybody for whoever may see users.
pub(super) async fn get(call: &Call) -> Reply {
    let (caller, id) = (call.caller()?, call.id()?);
    if id != caller.user.id {
        call.needs(None, Permission(Area::Users, Action::View))?;
    }
    let user = caller.directory.user(id);
    let user = user.ok_or_else(|| Failure::not_found(format!("User {id} does not exist.")))?;
    call.entity(USERS, served::user(&caller.directory, user))
}

pub(super) async fn current(call: &Call) -> Reply {
    let caller = call.caller()?;
    call.entity(USERS, served::user(&caller.directory, &caller.user))
}

pub(super) async fn current_permissions(call: &Call) -> Reply {
    let caller = call.caller()?;
    let mut permissions = caller.directory.permissions(&caller.user, None);
    for folder in caller.directory.folders() {
        permissions.extend(caller.directory.permissions(&caller.user, Some(folder.id)));
    }
    let body = served::permissions_of(&caller.user, &permissions);
    let kind = "UiPath.Server.Configuration.OData.UserPermissionsCollection";
    Answer::ok(&served::with_context(&call.context(kind), &body))
}

pub(super) async fn create(call: &Call) -> Reply {
    let body: UserRequest = call.body(&strict::ANYTHING)?;
    let name = body.user_name.as_deref().unwrap_or_default();
    let kind = body.user_type.as_ref().map_or(Ok(UserType::User), |kind| known("Type", kind))?;
    let mut user = access::new_user(name, kind)?;
    user.tenant_roles = roles_named(call, body.roles_list.as_deref().unwrap_or_default())?;
    if let Some(password) = body.password {
        may_set_passwords(call, kind)?;
        user.password = Some(hashed(password).await?);
    }
    (user.name, user.surname, user.email_address) = (body.name, body.surname, body.email_address);
    let id = call.server.access.change(Change::AddUser(Box::new(user))).await?;
    let directory = call.server.access.directory();
    let user = directory.user(id).ok_or_else(|| Failure::internal("a new user is not there"))?;
    call.made(USERS, id, served::user(&directory, user))
}

fn roles_named(call: &Call, names: &[String]) -> Result<BTreeSet<i64>, Failure> {
    let directory = call.directory()?;
    Call::at_most("RolesList", names.len(), MOST_ROLES)?;
    let mut roles = BTreeSet::new();
    for name in names {
        let role = directory.role_named(name).ok_or_else(|| Failure::not_found("A role does not exist."))?;
        roles.insert(role.id);
    }
    check_roles(call, None, &roles)?;
    Ok(roles)
}

async fn hashed(password: String) -> Result<String, Failure> {
    let hashed = tokio::task::spawn_blocking(move || secret::kept_slowly(&password));
    hashed.await.map_err(|_| Failure::internal("a password could not be hashed"))?
}

/// Nobody takes power over a user who may do more than they, in the tenant or in a folder.
fn outranks(call: &Call, id: i64) -> Result<(), Failure> {
    let directory = call.directory()?;
    let user = directory.user(id).ok_or_else(|| Failure::not_found(format!("User {id} does not exist.")))?;
    check_roles_of_user(call, None, &user.tenant_roles)?;
    let mut in_folders = user.folder_roles.iter();
    in_folders.try_for_each(|(folder, roles)| check_roles_of_user(call, Some(FolderId(*folder)), roles))
}

/// Whoever logs in as a user may use every scope, so a password is set by those alone who may.
fn may_set_passwords(call: &Call, of: UserType) -> Result<(), Failure> {
    if !of.has_password() {
        let message = format!("A user of the type {of} has no password.");
        return Err(Failure::argument(message));
    }
    if call.caller()?.scopes.are_all() { Ok(()) } else { Err(Failure::forbidden()) }
}

/// What a user is called and is does not change; a change that is not made is refused, and not passed over.
fn check_fixed(body: &UserRequest, there: &User) -> Result<(), Failure> {
    if body.user_name.as_ref().is_some_and(|name| *name != there.user_name) {
        let code = ErrorCode::CANNOT_UPDATE_USERNAME;
        return Err(Failure::new(StatusCode::BAD_REQUEST, code.number(), code.text()));
    }
    let kind = body.user_type.as_ref().map(|kind| known("Type", kind)).transpose()?;
    if kind.is_some_and(|kind| kind != there.user_type) {
        let code = ErrorCode::FIELD_NOT_EDITABLE;
        return Err(Failure::new(StatusCode::BAD_REQUEST, code.number(), "'Type' is not editable."));
    }
    Ok(())
}

pub(super) async fn edit(call: &Call) -> Reply {
    let (id, body) = (call.id()?, call.body::<UserRequest>(&strict::ANYTHING)?);
    outranks(call, id)?;
    let there = call.directory()?.user(id);
    let there = there.ok_or_else(|| Failure::not_found(format!("User {id} does not exist.")))?;
    check_fixed(&body, there)?;
    let mut changes = vec![Change::EditUser {
        id,
        name: body.name,
        surname: body.surname,
        email_address: body.email_address,
        is_active: body.is_active.unwrap_or(there.is_active),
    }];
    if let Some(password) = body.password {
        may_set_passwords(call, there.user_type)?;
        changes.push(Change::SetPassword { user: id, password: hashed(password).await? });
    }
    if let Some(names) = &body.roles_list {
        let roles = roles_named(call, names)?;
        changes.push(Change::Assign { user: id, folder: None, roles });
    }
    call.server.access.change_all(changes).await?;
    Ok(Answer::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> Reply {
    let id = call.id()?;
    outranks(call, id)?;
    if id == call.caller()?.user.id {
        return Err(Failure::new(StatusCode::CONFLICT, 1013, "Nobody deletes themselves."));
    }
    call.server.access.change(Change::RemoveUser(id)).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn assign_roles(call: &Call) -> Reply {
    let body: AssignRolesRequest = call.body(&strict::ANYTHING)?;
    let user = call.id()?;
    outranks(call, user)?;
    Call::at_most("roleIds", body.role_ids.len(), MOST_ROLES)?;
    let roles = body.role_ids.into_iter().collect();
    check_roles(call, None, &roles)?;
    call.server.access.change(Change::Assign { user, folder: None, roles }).await?;
    Ok(Answer::empty(StatusCode::OK))
}

// Roles

pub(super) async fn list_roles(call: &Call) -> Reply {
    call.page(&set::ROLES, call.directory()?.roles().map(served::role).collect())
}

pub(super) async fn get_role(call: &Call) -> Reply {
    let id = call.id()?;
    let role = call.directory()?.role(id);
    call.entity(
        ROLES,
        served::role(role.ok_or_else(|| Failure::not_found(format!("Role {id} does not exist.")))?),
    )
}

fn permissions(body: &RoleRequest) -> Result<BTreeSet<Permission>, Failure> {
    Call::at_most("Permissions", body.permissions.as_ref().map_or(0, Vec::len), MOST_ROLES)?;
    let granted = body.permissions.iter().flatten().filter(|given| given.is_granted.unwrap_or(true));
    Ok(granted.map(|given| given.name.parse()).collect::<Result<_, _>>()?)
}

/// Nobody makes a role that may do more than they.
fn has_all(call: &Call, permissions: &BTreeSet<Permission>) -> Result<(), Failure> {
    let caller = call.caller()?;
    let own = caller.directory.permissions(&caller.user, None);
    if permissions.is_subset(&own) { Ok(()) } else { Err(Failure::forbidden()) }
}

/// Nobody takes from others what they do not have.
fn outranks_role(call: &Call, id: i64) -> Result<(), Failure> {
    let role = call.directory()?.role(id);
    let role = role.ok_or_else(|| Failure::not_found(format!("Role {id} does not exist.")))?;
    has_all(call, &role.permissions)
}

pub(super) async fn create_role(call: &Call) -> Reply {
    let body: RoleRequest = call.body(&strict::ANYTHING)?;
    let permissions = permissions(&body)?;
    has_all(call, &permissions)?;
    let id = call.server.access.change(Change::AddRole { name: body.name, permissions }).await?;
    let directory = call.server.access.directory();
    let role = directory.role(id).ok_or_else(|| Failure::internal("a new role is not there"))?;
    call.made(ROLES, id, served::role(role))
}

pub(super) async fn edit_role(call: &Call) -> Reply {
    let body: RoleRequest = call.body(&strict::ANYTHING)?;
    let (id, permissions) = (call.id()?, permissions(&body)?);
    has_all(call, &permissions)?;
    outranks_role(call, id)?;
    call.server.access.change(Change::EditRole { id, name: body.name, permissions }).await?;
    Ok(Answer::empty(StatusCode::OK))
}

pub(super) async fn delete_role(call: &Call) -> Reply {
    let id = call.id()?;
    outranks_role(call, id)?;
    call.server.access.change(Change::RemoveRole(id)).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

// Robots

pub(super) async fn list_robots(call: &Call) -> Reply {
    let directory = call.directory()?;
    let robots: Vec<Value> = directory.robots().map(|robot| served::robot(robot, directory)).collect();
    call.page(&set::ROBOTS, robots)
}

pub(super) async fn get_robot(call: &Call) -> Reply {
    let (directory, id) = (call.directory()?, call.id()?);
    let robot =
        directory.robot(id).ok_or_else(|| Failure::not_found(format!("Robot {id} does not exist.")))?;
    call.entity("Robots", served::robot(robot, directory))
}
