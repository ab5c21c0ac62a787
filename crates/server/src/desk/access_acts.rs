//! What people change of access: users, roles, folders, applications, robots, tokens and sessions. The directory refuses what its rules
//! forbid, and the audit records each change in its transaction. A secret is on the page that answers the form, and nowhere else.

use std::collections::BTreeSet;
use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;

use super::access::{folder_of_path, user_of_path};
use super::access_parts::{good_tokens, handle_of, is_session};
use super::call::{DeskCall, forbidden};
use super::frame::{Frame, note_cookie};
use super::html;
use super::reply::Reply;
use super::routes::FOLDER_EDIT;
use super::session::digest_of_request;
use crate::access::new_user;
use crate::api_error::ApiError;
use crate::directory::{Change, NewUser};
use crate::permission::Scopes;
use crate::secret;
use performer_core::model::audit::{ActSource, Actor};
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;
use performer_store::TokensOf;

/// The longest life of a personal access token, in days.
const MAX_DAYS: u64 = 3_650;
/// The longest name of a token, in characters.
const MAX_NAME: usize = 256;

fn actor(call: &DeskCall) -> Result<Option<Actor>, ApiError> {
    Ok(Some(call.caller()?.actor(ActSource::Desk, call.from)))
}

/// Makes a change. Returns the number of what was made or changed.
async fn change(call: &DeskCall, change: Change) -> Result<i64, ApiError> {
    call.server.access.change(actor(call)?, change).await
}

fn done(address: &str, note: &str) -> Reply {
    Reply::see_other(address).cookie(&note_cookie(note, 0))
}

fn user_address(id: i64) -> String {
    format!("/desk/access/users/{id}")
}

/// What the rules on ranks refuse, with what is missing.
fn named(checked: Result<(), ApiError>) -> Result<(), ApiError> {
    checked.map_err(|failure| match failure.status {
        StatusCode::FORBIDDEN => {
            forbidden("of each role in question: you cannot give, change or take more than you have")
        }
        _ => failure,
    })
}

/// The roles that the form has chosen.
fn roles(call: &DeskCall) -> Result<BTreeSet<i64>, ApiError> {
    let wrong = |text: &str| ApiError::invalid(format!("role: {text:?} is not the number of a role."));
    call.fields("role").map(|text| text.parse().map_err(|_| wrong(text))).collect()
}

/// The folder of the form; `None` for the tenant.
fn place(call: &DeskCall) -> Result<Option<FolderId>, ApiError> {
    let text = call.field("place");
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::invalid(format!("place: {text:?} is not the number of a folder."));
    let id = text.parse().map(FolderId).map_err(|_| wrong())?;
    let missing = || ApiError::not_found(format!("There is no folder with the number {id}."));
    call.directory()?.folder(id).map(|folder| Some(folder.id)).ok_or_else(missing)
}

/// A new user with the roles of the form.
fn user_with_roles(call: &DeskCall, name: &str, kind: UserType) -> Result<NewUser, ApiError> {
    let (caller, place, roles) = (call.caller()?, place(call)?, roles(call)?);
    named(caller.check_may_grant(place, &roles))?;
    let mut user = new_user(name, kind)?;
    match place {
        None => user.tenant_roles = roles,
        Some(folder) if !caller.may(Some(folder), FOLDER_EDIT) => {
            return Err(forbidden(&format!(
                "{FOLDER_EDIT} in the folder {}",
                caller.directory.full_name(folder)
            )));
        }
        Some(folder) if !roles.is_empty() => drop(user.folder_roles.insert(folder.0, roles)),
        Some(_) => {}
    }
    Ok(user)
}

pub(super) async fn add_user(call: &DeskCall) -> Result<Reply, ApiError> {
    let mut user = user_with_roles(call, call.field("name").trim(), UserType::User)?;
    let password = call.field("password");
    if !password.is_empty() {
        user.password = Some(secret::hash_on_thread(password.to_owned()).await?);
    }
    let id = change(call, Change::AddUser(Box::new(user))).await?;
    Ok(done(&user_address(id), "user-added"))
}

/// Sets the roles of a user in the tenant.
pub(super) async fn set_roles(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, user, roles) = (call.caller()?, user_of_path(call)?.id, roles(call)?);
    named(caller.check_outranks(user))?;
    named(caller.check_may_grant(None, &roles))?;
    change(call, Change::Assign { user, folder: None, roles }).await?;
    Ok(done(&user_address(user), "roles-set"))
}

/// Sets the roles of a user in a folder; without any, it has none there.
pub(super) async fn set_roles_in_folder(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, folder, name) = (call.caller()?, folder_of_path(call)?, call.field("user").trim());
    let user = caller.directory.user_named(name);
    let user = user.ok_or_else(|| ApiError::not_found(format!("There is no user {name:?}.")))?.id;
    let roles = roles(call)?;
    named(caller.check_outranks_in(folder, user))?;
    named(caller.check_may_grant(Some(folder), &roles))?;
    change(call, Change::Assign { user, folder: Some(folder), roles }).await?;
    Ok(done(&format!("/desk/access/folders/{folder}"), "roles-set"))
}

/// Enables a user, or disables it: it can do nothing, and keeps its roles.
pub(super) async fn set_active(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, user) = (call.caller()?, user_of_path(call)?);
    let (is_active, note) = match call.field("active") {
        "yes" => (true, "user-enabled"),
        "no" => (false, "user-disabled"),
        other => return Err(ApiError::invalid(format!("active: {other:?} is not yes or no."))),
    };
    check_is_another(call, user.id, "disable")?;
    named(caller.check_outranks(user.id))?;
    let edit = Change::EditUser {
        id: user.id,
        name: user.name.clone(),
        surname: user.surname.clone(),
        email_address: user.email_address.clone(),
        is_active,
    };
    change(call, edit).await?;
    Ok(done(&user_address(user.id), note))
}

fn check_is_another(call: &DeskCall, user: i64, act: &str) -> Result<(), ApiError> {
    if user != call.caller()?.user.id {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::CONFLICT, 1013, format!("You cannot {act} yourself.")))
}

/// Sets the password of a user. Its sessions and logins end.
pub(super) async fn set_password(call: &DeskCall) -> Result<Reply, ApiError> {
    let user = user_of_path(call)?;
    named(call.caller()?.check_outranks(user.id))?;
    if !user.user_type.has_password() {
        return Err(ApiError::invalid(format!("A user of the type {} has no password.", user.user_type)));
    }
    let password = secret::hash_on_thread(call.field("password").to_owned()).await?;
    change(call, Change::SetPassword { user: user.id, password }).await?;
    Ok(done(&user_address(user.id), "password-set"))
}

/// Removes a user, whose name the form repeats.
pub(super) async fn remove_user(call: &DeskCall) -> Result<Reply, ApiError> {
    let user = user_of_path(call)?;
    check_is_another(call, user.id, "remove")?;
    named(call.caller()?.check_outranks(user.id))?;
    if call.field("name").trim() != user.user_name {
        return Err(ApiError::invalid("Type the name of the user to remove it; nothing was done."));
    }
    change(call, Change::RemoveUser(user.id)).await?;
    Ok(done("/desk/access", "user-removed"))
}

/// Revokes a personal access token of a user by its name, one of its sessions, or all its logins and sessions.
pub(super) async fn revoke(call: &DeskCall) -> Result<Reply, ApiError> {
    let user = user_of_path(call)?.id;
    named(call.caller()?.check_outranks(user))?;
    let of = match (call.field("token"), call.field("session"), call.field("all")) {
        ("", "", "logins") => TokensOf::Logins(user),
        ("", "", "all") => TokensOf::User(user),
        ("", handle, "") if !handle.is_empty() => session(call, user, handle).await?,
        (name, "", "") if !name.is_empty() => TokensOf::Named(user, name.to_owned()),
        _ => return Err(ApiError::invalid("The form names no token and no session.")),
    };
    call.server.access.revoke(actor(call)?, of).await?;
    Ok(done(&user_address(user), "revoked"))
}

/// The session of a user that a form names.
async fn session(call: &DeskCall, user: i64, handle: &str) -> Result<TokensOf, ApiError> {
    let all = good_tokens(call, user).await?.into_iter().filter(|(_, token)| is_session(token));
    let found = all.map(|(digest, _)| digest).find(|digest| handle_of(digest) == handle);
    let missing = || ApiError::not_found("This session has ended already.");
    found.map(|digest| TokensOf::One(user, digest)).ok_or_else(missing)
}

/// Ends a session of the caller, or all but this one.
pub(super) async fn end_session(call: &DeskCall) -> Result<Reply, ApiError> {
    let (user, handle) = (call.caller()?.user.id, call.field("session"));
    if handle != "others" {
        let of = session(call, user, handle).await?;
        call.server.access.revoke(actor(call)?, of).await?;
        return Ok(done("/desk/access", "session-ended"));
    }
    let own = digest_of_request(&call.server, &call.headers, call.is_secure);
    let sessions = good_tokens(call, user).await?.into_iter().filter(|(_, token)| is_session(token));
    for (digest, _) in sessions.filter(|(digest, _)| own.as_ref() != Some(digest)) {
        call.server.access.revoke(actor(call)?, TokensOf::One(user, digest)).await?;
    }
    Ok(done("/desk/access", "session-ended"))
}

/// A secret, which is shown once.
#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    frame: Frame,
    title: &'static str,
    /// What there is to copy, each with its label.
    texts: Vec<(&'static str, String)>,
    advice: &'static str,
}

/// Makes a personal access token of the caller.
pub(super) async fn add_token(call: &DeskCall) -> Result<Reply, ApiError> {
    let (name, days) = (call.field("name").trim(), call.field("days").trim());
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!("name: a token has a name of 1 to {MAX_NAME} characters.")));
    }
    let wrong = || ApiError::invalid(format!("days: {days:?} is not a number of days from 1 to {MAX_DAYS}."));
    let life: u64 = days.parse().map_err(|_| wrong())?;
    if !(1..=MAX_DAYS).contains(&life) {
        return Err(wrong());
    }
    let (scopes, life) = (Scopes::parse(call.field("scopes"))?, Duration::from_secs(life * 86_400));
    let (user, access) = (call.caller()?.user.id, &call.server.access);
    let token = access.issue(actor(call)?, user, None, Some(name.to_owned()), scopes, life).await?;
    Reply::page(&SecretPage {
        frame: call.frame("/desk/access"),
        title: "Your new token",
        texts: vec![("Token", token)],
        advice: "A program sends it as Authorization: Bearer TOKEN. Whoever has it may do what you may, within its scopes.",
    })
}

pub(super) async fn revoke_own_token(call: &DeskCall) -> Result<Reply, ApiError> {
    let (user, name) = (call.caller()?.user.id, call.field("token"));
    if name.is_empty() {
        return Err(ApiError::invalid("The form names no token."));
    }
    call.server.access.revoke(actor(call)?, TokensOf::Named(user, name.to_owned())).await?;
    Ok(done("/desk/access", "revoked"))
}

pub(super) async fn add_folder(call: &DeskCall) -> Result<Reply, ApiError> {
    let description = Some(call.field("description").trim().to_owned()).filter(|text| !text.is_empty());
    let (name, parent) = (call.field("name").trim().to_owned(), place(call)?);
    change(call, Change::AddFolder { key: secret::new_key()?, name, description, parent }).await?;
    Ok(done("/desk/access", "folder-added"))
}

/// Adds an application, and shows its secret.
pub(super) async fn add_application(call: &DeskCall) -> Result<Reply, ApiError> {
    let name = call.field("name").trim();
    let user = user_with_roles(call, name, UserType::DirectoryExternalApplication)?;
    let (id, text) = (secret::new_key()?.to_string(), secret::new_secret()?);
    let add = Change::AddClient {
        id: id.clone(),
        name: name.to_owned(),
        secret: secret::hash_generated(&text),
        scopes: Scopes::parse(call.field("scopes"))?,
        user: Box::new(user),
    };
    change(call, add).await?;
    Reply::page(&SecretPage {
        frame: call.frame("/desk/access"),
        title: "The new application",
        texts: vec![("Client id", id), ("Client secret", text)],
        advice: "A program gets its tokens with both, as with a confidential application of the vendor.",
    })
}

/// Removes an application, whose tokens are worth nothing then.
pub(super) async fn remove_application(call: &DeskCall) -> Result<Reply, ApiError> {
    let (caller, id) = (call.caller()?, call.field("id"));
    let client = caller.directory.client(id);
    let missing = || ApiError::not_found(format!("There is no application {}.", html::line(id, 60)));
    let user = client.ok_or_else(missing)?.user;
    check_is_another(call, user, "remove")?;
    named(caller.check_outranks(user))?;
    change(call, Change::RemoveClient(id.to_owned())).await?;
    Ok(done("/desk/access", "application-removed"))
}

pub(super) async fn add_robot(call: &DeskCall) -> Result<Reply, ApiError> {
    let name = call.field("user").trim();
    let user = call.directory()?.user_named(name);
    let user = user.ok_or_else(|| ApiError::not_found(format!("There is no user {name:?}.")))?.id;
    let add = Change::AddRobot { key: secret::new_key()?, name: call.field("name").trim().to_owned(), user };
    change(call, add).await?;
    Ok(done("/desk/access", "robot-added"))
}
