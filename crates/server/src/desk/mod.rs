//! The desk: pages for the people who look after failed work, beside the API and over the same store.
//!
//! A page is a template in `templates/`, filled by a file of this folder. It reads and acts as the handlers of the API do, in the scope
//! of the folders in which the user has the permissions, and decides nothing about items itself. Every page is whole without
//! JavaScript, and nothing in it is inline, so that the content security policy can forbid whatever an item may bring.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs`, `routes.rs` | handles one request; the table of all routes with the permissions that each needs |
//! | `call.rs`, `refresh.rs`, `reply.rs` | one request with its user, folders and form; how often its page is loaded again; its answer, with the headers of every answer |
//! | `session.rs`, `same_origin.rs`, `login.rs` | sessions in cookies; where a form may come from; sign in, sign out |
//! | `assets.rs`, `frame.rs` | style sheet, script and icon; what all pages have around them |
//! | `source.rs` | where a page reads and acts: the store of this server, or an Orchestrator elsewhere |
//! | `html.rs`, `chart.rs`, `members.rs` | texts, times and numbers as they are shown; charts; the members of JSON objects and their differences |
//! | `live.rs`, `events.rs` | what streams of events share: the store is read once for all of them; the stream of one tab |
//! | `start.rs`, `queues.rs`, `queue.rs`, `idle.rs` | the first page; queues; why nothing is handed out |
//! | `items.rs`, `export.rs`, `item.rs`, `timeline.rs` | the list of items, and as a file; one item, and what happened to it |
//! | `views.rs` | saved views of the list of items |
//! | `logs.rs` | what was logged about an item, or by a job |
//! | `personal.rs` | what the page of an item says of its masked fields, and the page that reveals them |
//! | `reasons.rs`, `jobs.rs`, `health.rs`, `review.rs` | groups of failures; jobs; the server; items to be reviewed, one after the other |
//! | `audit.rs`, `deadlines.rs` | what people changed; whether what waits will be done in time |
//! | `access.rs`, `access_parts.rs`, `access_acts.rs` | users, roles, folders, applications, tokens and sessions; the rows of these pages; and what people change of them |
//! | `alerts.rs` | what somebody should look at |
//! | `asset_pages.rs`, `webhooks.rs` | named values for transactions; addresses that are told what happens |
//! | `asset_pages.rs` | named values for transactions |
//! | `task_pages.rs` | what people are asked, and their answers |
//! | `operations.rs`, `operation_acts.rs` | acts on many items at once, and what people do with them |
//! | `acts.rs`, `item_acts.rs` | what people do with queues and jobs, and with items |

mod access;
mod access_acts;
mod access_parts;
mod acts;
mod alerts;
mod asset_pages;
mod assets;
mod audit;
mod call;
mod chart;
mod deadlines;
mod events;
mod export;
mod frame;
mod health;
mod html;
mod idle;
mod item;
mod item_acts;
mod items;
mod jobs;
mod live;
mod login;
mod logs;
mod members;
mod operation_acts;
mod operations;
mod personal;
mod queue;
mod queues;
mod reasons;
mod refresh;
mod reply;
mod review;
mod routes;
mod same_origin;
mod session;
mod source;
mod start;
mod task_pages;
mod timeline;
mod views;
mod webhooks;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode};

use self::call::DeskCall;
pub(super) use self::live::Live;
use self::reply::Reply;
pub(super) use self::reply::{add_headers, error_page};
use self::routes::DeskRoute;
use self::session::Counts;
pub(super) use self::session::Sessions;
pub(super) use self::source::RemoteQueues;
use super::api_error::ApiError;
use super::handler::{AccessLogFields, MAX_LOGIN_BODY};
use super::memory_budget::BudgetOwner;
use super::proxies::ClientAddress;
use super::request_body::RequestBody;
use super::{Inner, request_head};
use crate::permission::Scopes;
use performer_core::model::key::FolderId;

/// Whether a server has pages for people, and what they can do there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeskMode {
    /// No pages.
    Off,
    /// Pages that change nothing.
    ReadOnly,
    /// All pages, with what the permissions of the user allow.
    #[default]
    On,
}

impl FromStr for DeskMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "read-only" => Ok(Self::ReadOnly),
            "on" => Ok(Self::On),
            _ => Err(format!("{text:?} is not on, read-only or off")),
        }
    }
}

/// The path of the first page; all others are below it.
const ROOT: &str = "/desk";

/// Leads to the first page.
pub(super) fn to_start(head: &Parts) -> Response<Bytes> {
    Reply::see_other(ROOT).into_response(&head.headers)
}

/// The path of a link that signs a user in, once.
///
/// # Errors
///
/// 503 if the store is unavailable.
pub(super) async fn link(server: &Inner, user: i64) -> Result<String, ApiError> {
    let token = server.access.issue(None, user, None, None, Scopes::of_desk_link(), LINK_LIFETIME).await?;
    Ok(html::address(routes::OPEN, &[("key", &token)]))
}

/// How long a link can be used.
const LINK_LIFETIME: Duration = Duration::from_secs(300);

/// Pages about users and roles. A desk of one person has none: what was changed there would be lost with its process.
const ACCESS: &str = "/desk/access";

/// Whether a request belongs to the desk.
pub(super) fn owns(server: &Inner, path: &str) -> bool {
    let is_below = path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_missing = server.operator.is_some() && path.starts_with(ACCESS)
        || server.remote.is_some() && !source::is_remote_page(path) && assets::find(path).is_none();
    is_below && server.config.desk != DeskMode::Off && !is_missing
}

/// All routes as method, path and permissions, for tests that walk through them.
pub(super) fn all_routes() -> Vec<(String, String, String)> {
    let all = routes::ROUTES.iter();
    all.map(|route| (route.method.to_string(), route.path.to_owned(), route.needs.to_string())).collect()
}

/// Handles a request.
///
/// # Errors
///
/// What the page of an error says: 404, 403 with the permission that is missing, 503.
pub(super) async fn handle(
    server: &Arc<Inner>,
    head: &Parts,
    body: &mut RequestBody,
    client: ClientAddress,
    log: &mut AccessLogFields,
) -> Result<Response<Bytes>, ApiError> {
    let path = head.uri.path();
    if let Some(reply) = assets::find(path) {
        log.operation = "DeskAsset";
        return Ok(reply.into_response(&head.headers));
    }
    let (route, parameters) = routes::find(&head.method, path)?;
    log.operation = route.name;
    check_mode(server, route)?;
    let base = request_head::base(server, client, &head.headers, &head.uri, "");
    if route.method == Method::POST {
        same_origin::check(&head.headers, &base)?;
    }
    let is_secure = base.starts_with("https:");
    let (refresh, query) = refresh::split(request_head::query(&head.uri)?)?;
    // What a page asks for by itself is no use by its reader.
    let is_by_itself = route.path == frame::EVENTS || refresh.is_some();
    let counts = if is_by_itself { Counts::AsNoUse } else { Counts::AsUse };
    let caller = server.desk_sessions.caller(server, &head.headers, is_secure, counts).await?;
    log.user = caller.as_ref().map(|caller| caller.user.id);
    let folder = named_folder(&query)?;
    let mut call = DeskCall {
        server: server.clone(),
        route,
        parameters,
        caller,
        folder,
        folders: Arc::default(),
        refresh,
        query,
        form: Vec::new(),
        headers: head.headers.clone(),
        address: head.uri.path_and_query().map_or(ROOT, |address| address.as_str()).to_owned(),
        from: client.address,
        is_secure,
    };
    if let Some(refused) = call.authorize()? {
        return Ok(refused.into_response(&head.headers));
    }
    let limit = server.config.request_limit;
    let owner = log.user.map_or_else(|| BudgetOwner::of_network(client.address), BudgetOwner::User);
    let mut reservation = server.memory.reservation(owner);
    if !reservation.grow(if route.makes_file() { export::MEMORY } else { PAGE_MEMORY }) {
        return Err(ApiError::unavailable());
    }
    let largest = if call.caller.is_some() { server.config.max_body } else { MAX_LOGIN_BODY };
    let body = body.read(largest, limit, &mut reservation).await?;
    call.form = form(&head.headers, &body)?;
    // Reading the body may take long, and the caller may have lost the permission in the meantime.
    if call.caller.as_ref().is_some_and(|caller| !Arc::ptr_eq(&caller.directory, &server.access.directory()))
    {
        call.caller = server.desk_sessions.caller(server, &head.headers, is_secure, counts).await?;
        if let Some(refused) = call.authorize()? {
            return Ok(refused.into_response(&head.headers));
        }
    }
    let _permit = match call.caller {
        Some(_) => Some(server.requests.try_acquire().map_err(|_| ApiError::unavailable())?),
        None => None,
    };
    let result = tokio::time::timeout(limit, (route.handler)(&call)).await;
    let too_long =
        |_| if route.method == Method::POST { ApiError::outcome_unknown() } else { ApiError::unavailable() };
    Ok(result.map_err(too_long)??.into_response(&head.headers))
}

/// The memory that a page is expected to need, in bytes; with its rows, and compressed.
const PAGE_MEMORY: usize = 512 * 1024;

/// Refuses what changes something in a desk that only shows.
fn check_mode(server: &Inner, route: &DeskRoute) -> Result<(), ApiError> {
    if server.config.desk == DeskMode::ReadOnly && route.changes_work() {
        let message = "This desk is read-only: the server was started with --desk read-only.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, 0, message));
    }
    Ok(())
}

/// The folder that the address names.
fn named_folder(query: &[(String, String)]) -> Result<Option<FolderId>, ApiError> {
    let named = query.iter().find(|(name, value)| name == "folder" && !value.is_empty());
    let read = |text: &str| {
        let wrong = || ApiError::invalid(format!("folder: {text:?} is not the number of a folder."));
        text.parse().map(FolderId).map_err(|_| wrong())
    };
    named.map(|(_, value)| read(value)).transpose()
}

/// The fields of a form.
fn form(headers: &HeaderMap, body: &Bytes) -> Result<Vec<(String, String)>, ApiError> {
    /// A page of items has fewer rows, and each row is one field.
    const MAX_FIELDS: usize = 1_000;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        let message = "The body must be a form: application/x-www-form-urlencoded.";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 0, message));
    }
    // Browsers send the lines of a text area with CRLF, whatever was in it.
    let lines = |(name, value): (String, String)| (name, value.replace("\r\n", "\n"));
    let fields: Vec<(String, String)> =
        form_urlencoded::parse(body).into_owned().map(lines).take(MAX_FIELDS + 1).collect();
    if fields.len() > MAX_FIELDS {
        return Err(ApiError::invalid("The form has too many fields."));
    }
    Ok(fields)
}
