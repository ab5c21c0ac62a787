//! One request: read, judged, answered, logged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::Inner;
use super::access::Caller;
use super::call::{Answer, Call, Folders, JSON};
use super::failure::Failure;
use super::identity::{self, Granted};
use super::limits::Told;
use super::listen::Peer;
use super::proxies::Origin;
use super::route::{Needs, Place, Route, Target};
use super::routes::METRICS;
use super::status::API_VERSION;
use crate::model::key::FolderId;
use crate::model::permission::Permission;
use crate::wire::served::{ErrorBody, token_error};
use crate::wire::{folder_path, leased};

/// The longest address, in bytes.
const LONGEST_URI: usize = 16 * 1024;

/// The largest body of somebody who is not known yet, in bytes.
const LARGEST_LOGIN: usize = 16 * 1024;

/// What the room for bodies is counted in, in bytes.
pub(super) const BLOCK: usize = 64 * 1024;

/// How many headers an answer has room for, so that it does not grow step by step.
const MOST_HEADERS: usize = 12;

/// What is answered however many requests are under way: it is light, or it is there to wait.
const UNCOUNTED: [&str; 4] = ["Status", "Version", "Beat", "Wait"];

/// A response that is not to be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost;

/// One request, from its head to its answer.
pub(super) async fn answer(server: &Arc<Inner>, peer: Peer, request: Request) -> Response {
    let began = server.elapsed();
    let trace = Trace::new();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let Peer(peer) = peer;
    let origin = server.proxies.origin(peer, request.headers());
    let from = origin.address;
    let mut seen = Seen { operation: "none", user: None };
    let answered = AssertUnwindSafe(handled(server, request, origin, &mut seen)).catch_unwind().await;
    let answered =
        answered.unwrap_or_else(|panic| Err(Failure::internal(crate::exception::panic_text(&*panic))));
    let (mut response, cause) = match answered {
        Ok(response) => (response, None),
        Err(mut failure) => {
            let cause = failure.cause.take();
            (error(&failure, &trace), cause)
        }
    };
    trace.put(response.headers_mut(), !server.config.is_strict());
    let took = server.elapsed().saturating_sub(began);
    let status = response.status().as_u16();
    server.metrics.answered(seen.operation, status, took);
    let (operation, user, trace) = (seen.operation, seen.user, trace.id.as_str());
    // A panic of what writes the log does not cost the answer.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
        if let Some(cause) = cause {
            tracing::error!(%method, path, status, operation, trace, cause, "a request failed");
        }
        tracing::info!(target: "performer::server::access", %method, path, status, operation, user, %from, took_us = took.as_micros(), trace);
    }));
    response
}

/// What the log tells about a request.
struct Seen {
    operation: &'static str,
    user: Option<i64>,
}

/// The name of a request, for its caller and for the log (W3C trace context).
struct Trace {
    id: String,
}

impl Trace {
    fn new() -> Self {
        let random: u128 = fastrand::u128(1..);
        Self { id: format!("00-{random:032x}-{:016x}-00", fastrand::u64(1..)) }
    }

    fn put(&self, headers: &mut HeaderMap, knows_leases: bool) {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"));
        let versions = HeaderValue::from_static(API_VERSION);
        headers.insert(HeaderName::from_static("api-supported-versions"), versions);
        // In strict mode a performer is a robot like any other client.
        if knows_leases {
            headers
                .insert(HeaderName::from_static(leased::HEADER), HeaderValue::from_static(leased::VERSION));
        }
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(HeaderName::from_static("x-correlation-id"), id);
        }
    }
}

async fn handled(
    server: &Arc<Inner>,
    request: Request,
    origin: Origin,
    seen: &mut Seen,
) -> Result<Response, Failure> {
    let from = origin.address;
    let _counted = server.metrics.in_flight();
    let limit = server.config.request_limit;
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > LONGEST_URI) {
        let message = "The address is too long.";
        return Err(Failure::new(StatusCode::URI_TOO_LONG, 0, message));
    }
    let too_late = |_| Failure::new(StatusCode::REQUEST_TIMEOUT, 0, "The request took too long to come.");
    if identity::is_token_endpoint(path) {
        seen.operation = "Token";
        let only_post = || {
            let mut failure =
                Failure::new(StatusCode::METHOD_NOT_ALLOWED, 0, "Tokens are asked for by POST.");
            failure.allow = Some("POST".to_owned());
            failure
        };
        if head.method != Method::POST {
            return Err(only_post());
        }
        let body = tokio::time::timeout(limit, read(body, LARGEST_LOGIN)).await.map_err(too_late)??;
        return match identity::token(server, from, &head.headers, &body).await? {
            Granted::Token(body) => json(StatusCode::OK, &body),
            Granted::Refused(error, why) => json(StatusCode::BAD_REQUEST, &token_error(error, why)),
        };
    }
    if path == "/metrics" {
        seen.operation = "Metrics";
        let caller = authenticated(server, &head.headers).await?;
        let (scope, permission) = METRICS;
        if !caller.scopes.cover(scope, false) || !caller.may(None, permission) {
            return Err(Failure::forbidden());
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return Ok(respond(StatusCode::OK, kind, server.metrics.text().into_bytes()));
    }
    let target = Target::read(path).ok_or_else(Failure::no_route)?;
    let route = server.routes.find(&head.method, &target)?;
    seen.operation = route.name;
    // Who calls is known before anything is kept for them.
    let (mut caller, mut folders) = judged(server, route, &head.headers).await?;
    seen.user = caller.as_ref().map(|caller| caller.user.id);
    let largest = match (&caller, route.name) {
        (None, _) => LARGEST_LOGIN,
        (Some(_), "BulkAddQueueItems" | "Exchange") => server.config.largest_bulk,
        _ => server.config.largest_body,
    };
    let _room = room_for(server, &head.headers, largest)?;
    let body = tokio::time::timeout(limit, read(body, largest)).await.map_err(too_late)??;
    // A body may take its time, and in the meantime the caller may have lost what it is asking by.
    if caller.as_ref().is_some_and(|caller| !Arc::ptr_eq(&caller.directory, &server.access.directory())) {
        (caller, folders) = judged(server, route, &head.headers).await?;
    }
    let _slot = match (&caller, UNCOUNTED.contains(&route.name)) {
        (_, true) => None,
        (Some(_), _) => Some(server.requests.try_acquire().map_err(|_| Failure::unavailable())?),
        // A login counts where it costs something: see `passwords.rs` and `identity.rs`.
        (None, _) => None,
    };
    let told = server.rate_limit.as_ref().and_then(|limit| limit.count(route.name, server.elapsed()));
    if let Some(Told::Wait(seconds)) = told {
        return Err(Failure::too_many(seconds));
    }
    let forecast = server.weather.forecast(route.name);
    if forecast.delay > Duration::ZERO {
        tokio::time::sleep(forecast.delay).await;
    }
    if let Some(status) = forecast.refused {
        return Err(on_purpose(status));
    }
    let is_read = head.method == Method::GET;
    let call = Call {
        server: server.clone(),
        caller,
        folders,
        key: target.key,
        arguments: target.arguments,
        query: query(&head.uri)?,
        base: base(server, origin, &head.headers, &head.uri, &target.prefix),
        headers: head.headers,
        body,
        from,
    };
    let answered = tokio::time::timeout(limit, (route.handler)(&call)).await;
    let too_long = |_| if is_read { Failure::unavailable() } else { Failure::in_doubt() };
    let answer = answered.map_err(too_long)??;
    if let Some(status) = forecast.instead {
        return Err(on_purpose(status));
    }
    let mut response = respond(answer.status, answer.content_type, answer.body.unwrap_or_default());
    if let Some(location) = answer.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(Told::Remaining(left)) = told {
        let left = HeaderValue::from(left);
        response.headers_mut().insert(HeaderName::from_static("x-ratelimit-remaining"), left);
    }
    if forecast.lost {
        response.extensions_mut().insert(Lost);
    }
    Ok(response)
}

/// Room for the body of a request, as long as it is under way.
fn room_for<'a>(
    server: &'a Inner,
    headers: &HeaderMap,
    largest: usize,
) -> Result<SemaphorePermit<'a>, Failure> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    // Without a length it may be anything up to the largest; without a body there is neither.
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let bytes = length.unwrap_or(if chunked { largest } else { 0 }).min(largest);
    let blocks = u32::try_from(bytes / BLOCK).unwrap_or(u32::MAX);
    server.bodies.try_acquire_many(blocks).map_err(|_| Failure::unavailable())
}

/// A failure that somebody asked for.
fn on_purpose(status: u16) -> Failure {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut failure = Failure::new(status, 0, "This fault was asked for when the server was started.");
    if matches!(status.as_u16(), 429 | 503) {
        failure.retry_after = Some(1);
    }
    failure
}

/// Who calls, and where: refused unless the route's needs are met.
async fn judged(
    server: &Inner,
    route: &Route,
    headers: &HeaderMap,
) -> Result<(Option<Caller>, Folders), Failure> {
    let Needs::Token { area, write, place, permissions } = route.needs else {
        return Ok((None, Folders::None));
    };
    let caller = authenticated(server, headers).await?;
    // What needs no more than somebody's token is there for every scope.
    if area != "Default" && !caller.scopes.cover(area, write) {
        return Err(Failure::forbidden());
    }
    let may = |folder: Option<FolderId>| {
        permissions.iter().all(|permission: &Permission| caller.may(folder, *permission))
    };
    let named = if place == Place::Tenant { None } else { folder(&caller, headers)? };
    let folders = match (place, named) {
        (Place::Tenant, _) => {
            if !may(None) {
                return Err(Failure::forbidden());
            }
            Folders::None
        }
        (_, Some(folder)) => {
            if !caller.is_assigned(folder) {
                return Err(Failure::no_such_folder());
            }
            if !may(Some(folder)) {
                return Err(Failure::forbidden());
            }
            Folders::One(folder)
        }
        (Place::Folder, None) => return Err(Failure::no_folder_given()),
        (Place::AnyFolder, None) => {
            let all = caller.directory.folders().map(|folder| folder.id);
            let all: Vec<FolderId> = all.filter(|folder| may(Some(*folder))).collect();
            if all.is_empty() {
                return Err(Failure::forbidden());
            }
            Folders::Several(all.into())
        }
    };
    Ok((Some(caller), folders))
}

async fn authenticated(server: &Inner, headers: &HeaderMap) -> Result<Caller, Failure> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else { return Err(Failure::not_authenticated()) };
    server.access.caller(token.trim()).await?.ok_or_else(Failure::not_authenticated)
}

/// The folder that the headers name (contract section 2). Several names must mean the same folder.
fn folder(caller: &Caller, headers: &HeaderMap) -> Result<Option<FolderId>, Failure> {
    let text = |name: &str| match headers.get(name) {
        None => Ok::<_, Failure>(None),
        Some(value) => {
            let value = value.to_str().map_err(|_| Failure::no_such_folder())?.trim();
            Ok(Some(value).filter(|value| !value.is_empty()))
        }
    };
    let directory = &caller.directory;
    let mut found: Vec<Option<FolderId>> = Vec::new();
    if let Some(id) = text("x-uipath-organizationunitid")? {
        found.push(id.parse().ok().map(FolderId).filter(|id| directory.folder(*id).is_some()));
    }
    if let Some(key) = text("x-uipath-folderkey")? {
        let key = uuid::Uuid::parse_str(key).ok();
        found.push(directory.folders().find(|folder| Some(folder.key) == key).map(|folder| folder.id));
    }
    if let Some(path) = text("x-uipath-folderpath")? {
        found.push(directory.folder_named(path).map(|folder| folder.id));
    }
    if let Some(encoded) = text("x-uipath-folderpath-encoded")? {
        let path = folder_path::decode(encoded);
        // There is no current folder for a relative path to begin at; from the root of a tree means from the top.
        let path = path.as_deref().map(|path| path.strip_prefix('/').unwrap_or(path));
        found.push(path.and_then(|path| directory.folder_named(path)).map(|folder| folder.id));
    }
    match found.split_first() {
        None => Ok(None),
        Some((Some(first), rest)) if rest.iter().all(|other| *other == Some(*first)) => Ok(Some(*first)),
        Some(_) => Err(Failure::no_such_folder()),
    }
}

async fn read(body: Body, largest: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, largest).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message = format!("The body is larger than {largest} bytes.");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, 0, message))
        }
        Err(_) => Err(Failure::invalid("The body could not be read.")),
    }
}

/// The pairs of the query, decoded.
fn query(uri: &Uri) -> Result<Vec<(String, String)>, Failure> {
    const MOST: usize = 100;
    let text = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(text.as_bytes()).into_owned().take(MOST + 1).collect();
    if pairs.len() > MOST {
        return Err(Failure::invalid("The query has too many parts."));
    }
    Ok(pairs)
}

/// The address of the API as the caller sees it.
fn base(server: &Inner, origin: Origin, headers: &HeaderMap, uri: &Uri, prefix: &str) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = |name: &str| text(name).filter(|_| origin.through_proxy);
    let is_host = |host: &&str| {
        !host.is_empty()
            && host.len() <= 255
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_'))
    };
    // HTTP/2 has no header for it.
    let own = uri.authority().map(|authority| authority.as_str()).or_else(|| text("host"));
    let host = forwarded("x-forwarded-host").or(own).filter(is_host).unwrap_or("localhost");
    let https =
        server.config.tls.is_some() || forwarded("x-forwarded-proto").is_some_and(|proto| proto == "https");
    format!("{}://{host}{prefix}", if https { "https" } else { "http" })
}

fn error(failure: &Failure, trace: &Trace) -> Response {
    let body = ErrorBody {
        message: &failure.message,
        error_code: failure.code,
        trace_id: &trace.id,
        resource_ids: None,
        claim_lost: failure.claim_lost,
    };
    let answer = Answer::json(failure.status, &body).ok().and_then(|answer| answer.body).unwrap_or_default();
    let kind = "application/json; charset=utf-8";
    let mut response = respond(failure.status, kind, answer);
    let headers = response.headers_mut();
    if let Some(seconds) = failure.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = failure.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(header::ALLOW, allow);
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if failure.status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from_static("0"));
    }
    response
}

fn json(status: StatusCode, body: &Value) -> Result<Response, Failure> {
    let answer = Answer::json(status, body)?;
    Ok(respond(status, JSON, answer.body.unwrap_or_default()))
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response {
    let is_empty = body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().reserve(MOST_HEADERS);
    if !is_empty {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
