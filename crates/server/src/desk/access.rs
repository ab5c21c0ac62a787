//! Access: who the reader is and what it may do, its sessions and tokens; and for those who may see them users, roles, folders,
//! applications and robots.

use askama::Template;

use super::DeskMode;
use super::access_parts::{
    ROWS, RightsRow, RoleChoice, TokensPart, by_area, rights, role_choices, role_names,
};
use super::call::DeskCall;
use super::frame::Frame;
use super::html::{self, Html};
use super::items::Choice;
use super::reply::Reply;
use super::routes::{
    FOLDER_EDIT, FOLDER_VIEW, FOLDERS_CREATE, ROBOTS_CREATE, ROBOTS_VIEW, ROLES_VIEW, USERS_CREATE,
    USERS_DELETE, USERS_EDIT, USERS_VIEW,
};
use crate::api_error::ApiError;
use crate::directory::{AUTOMATION, Directory, Folder, User};
use crate::permission::{Action, Area, Permission, Scopes};
use performer_core::model::key::FolderId;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    frame: Frame,
    name: String,
    rights: Vec<RightsRow>,
    own: TokensPart,
    /// Whether this desk changes something.
    is_on: bool,
    all_scopes: String,
    users: Option<UsersPart>,
    folders: Vec<FolderRow>,
    may_add_folder: bool,
    roles: Option<Vec<RoleRow>>,
    role_choices: Vec<RoleChoice>,
    places: Vec<Choice>,
    applications: Option<Vec<ApplicationRow>>,
    may_add_user: bool,
    may_remove: bool,
    robots: Option<Vec<RobotRow>>,
    may_add_robot: bool,
}

struct UsersPart {
    rows: Vec<UserRow>,
    count: usize,
    /// The text that the names have.
    wanted: String,
}

struct UserRow {
    href: String,
    name: String,
    kind: &'static str,
    is_active: bool,
    roles: String,
    folders: usize,
}

struct FolderRow {
    name: String,
    href: Option<String>,
    description: String,
    users: usize,
}

struct RoleRow {
    name: String,
    is_static: bool,
    rights: Vec<String>,
    users: usize,
}

struct ApplicationRow {
    id: String,
    name: String,
    scopes: String,
    user: String,
    href: String,
    roles: String,
}

struct RobotRow {
    name: String,
    key: String,
    user: String,
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, directory) = (call.caller()?, call.directory()?);
    let (may, is_on) = (|permission| caller.may(None, permission), call.server.config.desk == DeskMode::On);
    let may_change = |permission| is_on && may(permission);
    let (may_see_users, wanted) = (may(USERS_VIEW), call.query_value("user").trim());
    Reply::page(&AccessPage {
        frame: call.frame("/desk/access"),
        name: html::line(&caller.user.user_name, 60),
        rights: rights(directory, &caller.user, |folder| caller.may(Some(folder), FOLDER_VIEW)),
        own: TokensPart::of(call, caller.user.id).await?,
        is_on,
        all_scopes: Scopes::all().to_string(),
        users: may_see_users.then(|| users(directory, wanted)),
        folders: folders(call, directory),
        may_add_folder: may_change(FOLDERS_CREATE),
        roles: may(ROLES_VIEW).then(|| roles(directory)),
        role_choices: role_choices(directory, |id| {
            directory.role_named(AUTOMATION).is_some_and(|role| role.id == id)
        }),
        places: places(directory),
        applications: may_see_users.then(|| applications(directory)),
        may_add_user: may_change(USERS_CREATE),
        may_remove: may_change(USERS_DELETE),
        robots: may(ROBOTS_VIEW).then(|| robots(directory)),
        may_add_robot: may_change(ROBOTS_CREATE),
    })
}

fn users(directory: &Directory, wanted: &str) -> UsersPart {
    let lower = wanted.to_lowercase();
    let found: Vec<&User> =
        directory.users().filter(|user| user.user_name.to_lowercase().contains(&lower)).collect();
    let row = |user: &&User| UserRow {
        href: format!("/desk/access/users/{}", user.id),
        name: html::line(&user.user_name, 80),
        kind: user.user_type.name(),
        is_active: user.is_active,
        roles: role_names(directory, &user.tenant_roles),
        folders: user.folder_roles.len(),
    };
    UsersPart {
        count: found.len(),
        rows: found.iter().take(ROWS).map(row).collect(),
        wanted: wanted.to_owned(),
    }
}

/// The folders that the reader may know of, as in the API: all with Units.View, and those where it has a role.
fn folders(call: &DeskCall, directory: &Directory) -> Vec<FolderRow> {
    let Some(caller) = &call.caller else { return Vec::new() };
    let sees_all = caller.may(None, Permission(Area::Units, Action::View));
    let is_seen = |folder: &&Folder| {
        sees_all || caller.may(Some(folder.id), FOLDER_VIEW) || caller.is_assigned(folder.id)
    };
    let row = |folder: &Folder| FolderRow {
        name: html::line(&directory.full_name(folder.id), 120),
        href: caller.may(Some(folder.id), FOLDER_VIEW).then(|| format!("/desk/access/folders/{}", folder.id)),
        description: html::line(folder.description.as_deref().unwrap_or_default(), 120),
        users: directory.users().filter(|user| user.folder_roles.contains_key(&folder.id.0)).count(),
    };
    directory.folders().filter(is_seen).take(ROWS).map(row).collect()
}

fn roles(directory: &Directory) -> Vec<RoleRow> {
    let has = |user: &User, id: i64| {
        user.tenant_roles.contains(&id) || user.folder_roles.values().any(|roles| roles.contains(&id))
    };
    let row = |role: &crate::directory::Role| RoleRow {
        name: html::line(&role.name, 60),
        is_static: role.is_static,
        rights: by_area(role.permissions.iter().copied()),
        users: directory.users().filter(|user| has(user, role.id)).count(),
    };
    directory.roles().take(ROWS).map(row).collect()
}

fn applications(directory: &Directory) -> Vec<ApplicationRow> {
    let row = |client: &crate::directory::Client| {
        let user = directory.user(client.user);
        ApplicationRow {
            id: client.id.clone(),
            name: html::line(&client.name, 80),
            scopes: client.scopes.to_string(),
            user: user.map(|user| html::line(&user.user_name, 80)).unwrap_or_default(),
            href: format!("/desk/access/users/{}", client.user),
            roles: user.map(|user| role_names(directory, &user.tenant_roles)).unwrap_or_default(),
        }
    };
    directory.clients().take(ROWS).map(row).collect()
}

fn robots(directory: &Directory) -> Vec<RobotRow> {
    let row = |robot: &crate::directory::Robot| RobotRow {
        name: html::line(&robot.name, 80),
        key: robot.key.to_string(),
        user: directory.user(robot.user).map(|user| html::line(&user.user_name, 80)).unwrap_or_default(),
    };
    directory.robots().take(ROWS).map(row).collect()
}

/// Where roles can be given: in the tenant, or in a folder.
fn places(directory: &Directory) -> Vec<Choice> {
    let tenant = Choice { value: String::new(), text: "The whole tenant".to_owned(), is_chosen: true };
    let folder = |folder: &Folder| Choice {
        value: folder.id.to_string(),
        text: html::line(&directory.full_name(folder.id), 120),
        is_chosen: false,
    };
    std::iter::once(tenant).chain(directory.folders().take(ROWS).map(folder)).collect()
}

#[derive(Template)]
#[template(path = "access_user.html")]
struct UserPage {
    frame: Frame,
    id: i64,
    name: String,
    facts: Vec<(&'static str, String)>,
    created: Html,
    is_active: bool,
    has_password: bool,
    is_application: bool,
    is_self: bool,
    rights: Vec<RightsRow>,
    role_choices: Vec<RoleChoice>,
    tokens: TokensPart,
    revoke_path: String,
    may_edit: bool,
    may_remove: bool,
}

/// The user that the path names.
///
/// # Errors
///
/// 404.
pub(super) fn user_of_path(call: &DeskCall) -> Result<&User, ApiError> {
    let id = call.number(0)?;
    let missing = || ApiError::not_found(format!("There is no user with the number {id}."));
    call.directory()?.user(id).ok_or_else(missing)
}

pub(super) async fn user(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, directory, user) = (call.caller()?, call.directory()?, user_of_path(call)?);
    let is_on = call.server.config.desk == DeskMode::On;
    // Who has more permissions than the reader is not the reader's to change.
    let outranks = caller.check_outranks(user.id).is_ok();
    let text = |text: &Option<String>| html::line(text.as_deref().unwrap_or("–"), 120);
    Reply::page(&UserPage {
        frame: call.frame("/desk/access"),
        id: user.id,
        name: html::line(&user.user_name, 80),
        facts: vec![
            ("Number", user.id.to_string()),
            ("Type", user.user_type.to_string()),
            ("Name", text(&user.name)),
            ("Surname", text(&user.surname)),
            ("E-mail", text(&user.email_address)),
        ],
        created: html::time(user.creation_time),
        is_active: user.is_active,
        has_password: user.user_type.has_password(),
        is_application: directory.clients().any(|client| client.user == user.id),
        is_self: user.id == caller.user.id,
        rights: rights(directory, user, |folder| caller.may(Some(folder), FOLDER_VIEW)),
        role_choices: role_choices(directory, |role| user.tenant_roles.contains(&role)),
        tokens: TokensPart::of(call, user.id).await?,
        revoke_path: format!("/desk/access/users/{}/revoke", user.id),
        may_edit: is_on && outranks && caller.may(None, USERS_EDIT),
        may_remove: is_on && outranks && caller.may(None, USERS_DELETE),
    })
}

#[derive(Template)]
#[template(path = "access_folder.html")]
struct FolderPage {
    frame: Frame,
    id: i64,
    name: String,
    description: String,
    members: Vec<MemberRow>,
    /// Users whose roles in the tenant or in a folder above hold here too.
    inherited: Vec<MemberRow>,
    more: bool,
    role_choices: Vec<RoleChoice>,
    may_edit: bool,
}

struct MemberRow {
    name: String,
    /// The name as a form sends it.
    user_name: String,
    href: Option<String>,
    roles: String,
    choices: Vec<RoleChoice>,
}

/// The folder that the path names.
///
/// # Errors
///
/// 404, or 403 for a folder that the caller may see but not do this in.
pub(super) fn folder_of_path(call: &DeskCall) -> Result<FolderId, ApiError> {
    let id = FolderId(call.number(0)?);
    let is_seen = call.directory()?.folder(id).is_some() && call.caller()?.is_assigned(id);
    match (is_seen, call.folders.contains(&id)) {
        (_, true) => Ok(id),
        (true, false) => Err(call.forbidden_in(Some(id))),
        (false, false) => Err(ApiError::not_found(format!("There is no folder with the number {id}."))),
    }
}

pub(super) async fn folder(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, directory, id) = (call.caller()?, call.directory()?, folder_of_path(call)?);
    let sees_users = caller.may(None, USERS_VIEW);
    let row = |user: &User, roles: String| MemberRow {
        name: html::line(&user.user_name, 80),
        user_name: user.user_name.clone(),
        href: sees_users.then(|| format!("/desk/access/users/{}", user.id)),
        roles,
        choices: role_choices(directory, |role| {
            user.folder_roles.get(&id.0).is_some_and(|roles| roles.contains(&role))
        }),
    };
    let all = || directory.users().filter(|user| directory.is_assigned(user, id));
    let (own, others): (Vec<&User>, Vec<&User>) =
        all().partition(|user| user.folder_roles.contains_key(&id.0));
    let members = own
        .iter()
        .take(ROWS)
        .map(|user| row(user, role_names(directory, user.folder_roles.get(&id.0).into_iter().flatten())));
    let inherited = others.iter().take(ROWS).map(|user| row(user, role_names(directory, &user.tenant_roles)));
    Reply::page(&FolderPage {
        frame: call.frame("/desk/access"),
        id: id.0,
        name: html::line(&directory.full_name(id), 120),
        description: directory
            .folder(id)
            .and_then(|folder| folder.description.as_deref())
            .map(|text| html::line(text, 500))
            .unwrap_or_default(),
        members: members.collect(),
        inherited: inherited.collect(),
        more: own.len() > ROWS || others.len() > ROWS,
        role_choices: role_choices(directory, |_| false),
        may_edit: call.may(id, &[FOLDER_EDIT]),
    })
}
