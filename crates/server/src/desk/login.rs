//! Sign in, sign out, and the theme.

use askama::Template;
use axum::http::StatusCode;

use super::ROOT;
use super::call::{DeskCall, checked_address};
use super::frame::{Frame, THEME_COOKIE, theme_of};
use super::reply::Reply;
use super::same_origin;
use crate::api_error::ApiError;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame,
    /// Where to go afterwards.
    next: String,
    user: &'a str,
    problem: Option<&'a str>,
    /// Whether this is the desk of one person, who signs in by a link.
    is_own: bool,
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    if call.caller.is_some() {
        return Ok(Reply::see_other(ROOT));
    }
    show(call, call.query_value("next"), None)
}

fn show(call: &DeskCall, next: &str, problem: Option<&str>) -> Result<Reply, ApiError> {
    let next = checked_address(next).unwrap_or_else(|| ROOT.to_owned());
    let (frame, user) = (Frame::of(call, ""), call.field("user"));
    let is_own = call.server.operator.is_some();
    Reply::page(&LoginPage { frame, next, user, problem, is_own })
}

/// Signs a user in by name and password, or an application that may do whatever its user may by its id and secret.
pub(super) async fn sign_in(call: &DeskCall) -> Result<Reply, ApiError> {
    if call.server.operator.is_some() {
        return Err(ApiError::no_route());
    }
    let (name, password) = (call.field("user").trim(), call.field("password"));
    let access = &call.server.access;
    access.refresh().await?;
    let user = if access.directory().client(name).is_some() {
        let client = access.authenticate_client(call.from, name, password).await?;
        client.filter(|(_, scopes)| scopes.are_all()).map(|(user, _)| user)
    } else {
        access.authenticate_user(call.from, name, password).await?
    };
    let Some(user) = user else {
        let problem =
            "No user has this name and password, and no application with all scopes has this id and secret.";
        return Ok(show(call, call.field("next"), Some(problem))?.with_status(StatusCode::FORBIDDEN));
    };
    let _permit = call.server.logins.try_acquire().map_err(|_| ApiError::unavailable())?;
    let cookie = call.server.desk_sessions.begin(&call.server, &call.headers, user, call.is_secure).await?;
    let next = checked_address(call.field("next")).unwrap_or_else(|| ROOT.to_owned());
    Ok(Reply::see_other(&next).cookie(&cookie))
}

/// Signs in whoever has a link: of the command `performer desk`, which may have asked a server for it.
pub(super) async fn open(call: &DeskCall) -> Result<Reply, ApiError> {
    same_origin::check_link(&call.headers)?;
    let user = call.server.access.redeem_link(call.query_value("key")).await?;
    let Some(user) = user else {
        let problem = "This link was used already, or is older than five minutes.";
        return Ok(show(call, "", Some(problem))?.with_status(StatusCode::FORBIDDEN));
    };
    let cookie = call.server.desk_sessions.begin(&call.server, &call.headers, user, call.is_secure).await?;
    Ok(Reply::see_other(ROOT).cookie(&cookie))
}

pub(super) async fn sign_out(call: &DeskCall) -> Result<Reply, ApiError> {
    let cookie = call.server.desk_sessions.end_of(&call.server, &call.headers, call.is_secure).await?;
    Ok(Reply::see_other("/desk/login").cookie(&cookie))
}

/// Remembers a theme.
pub(super) async fn theme(call: &DeskCall) -> Result<Reply, ApiError> {
    let theme = theme_of(call.field("theme"));
    let secure = if call.is_secure { "; Secure" } else { "" };
    let life = if theme.is_empty() { 0 } else { 31_536_000 };
    let cookie =
        format!("{THEME_COOKIE}={theme}; Path=/desk; HttpOnly; SameSite=Lax; Max-Age={life}{secure}");
    Ok(Reply::see_other(&call.back()).cookie(&cookie))
}
