//! One request: read, judged, answered, logged.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use futures_util::FutureExt as _;

use super::Inner;
use super::access::Caller;
use super::authorize::{authenticated, judged};
use super::body::Incoming;
use super::call::{Answer, Call};
use super::cors::Page;
use super::failure::Failure;
use super::head;
use super::identity::{self, Granted};
use super::limits::Told;
use super::listen::Peer;
use super::proxies::Origin;
use super::respond::{Trace, error, json, respond};
use super::room::{Held, Owner};
use super::route::{Route, Target};
use super::routes::METRICS;
use crate::wire::served::token_error;

/// The largest body of somebody who is not known yet, in bytes.
const LARGEST_LOGIN: usize = 16 * 1024;

/// How much memory a call takes beside its body and its answer, in bytes.
const CALL: usize = 1024;

/// An answer of so few bytes is sent even when its caller has no memory left.
const LITTLE: usize = 4 * 1024;

/// What is answered however many requests are under way: it is light, or it is there to wait.
const UNCOUNTED: [&str; 4] = ["Status", "Version", "Beat", "Wait"];

/// Where anybody may ask whether the server is well.
const HEALTH: &str = "/api/Status/Get";

/// A response that is not to be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost;

/// A response to a request whose body was not read to its end: the connection cannot be used again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread;

/// A request on a connection beside those that there may be: only whether the server is well is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spare;

/// One request, from its head to its answer.
pub(super) async fn answer(server: &Arc<Inner>, peer: Peer, request: Request) -> Response<Bytes> {
    let began = server.elapsed();
    let trace = Trace::new();
    let (head, body) = request.into_parts();
    let mut body = Incoming::new(&head, body);
    let (method, version) = (head.method.clone(), head.version);
    let path = head.uri.path().to_owned();
    let Peer(peer) = peer;
    let origin = server.proxies.origin(peer, &head.headers);
    let from = origin.address;
    let page = Page::of(&server.config.origins, &head);
    let is_preflight = page.as_ref().is_some_and(Page::is_allowed_preflight);
    let mut seen = Seen { operation: "none", user: None };
    let answered = handled(server, head, &mut body, origin, is_preflight, &mut seen);
    let answered = AssertUnwindSafe(answered).catch_unwind().await;
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
    if let Some(page) = page {
        page.put(response.headers_mut());
    }
    if method == Method::HEAD {
        without_body(&mut response);
    }
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
    // HTTP/2 ends the stream alone.
    if !body.finish().await && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.extensions_mut().insert(Unread);
    }
    response
}

/// What the log tells about a request.
struct Seen {
    operation: &'static str,
    user: Option<i64>,
}

/// What HEAD is answered: what GET is, and its length instead of its body.
fn without_body(response: &mut Response<Bytes>) {
    let length = std::mem::take(response.body_mut()).len();
    if response.status() != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

async fn handled(
    server: &Arc<Inner>,
    head: Parts,
    body: &mut Incoming,
    origin: Origin,
    is_preflight: bool,
    seen: &mut Seen,
) -> Result<Response<Bytes>, Failure> {
    let _counted = server.metrics.in_flight();
    head::check(&head)?;
    if is_preflight {
        seen.operation = "Preflight";
        return Ok(respond(StatusCode::NO_CONTENT, "", Bytes::new()));
    }
    let path = head.uri.path();
    let is_spare = head.extensions.get::<Spare>().is_some();
    if is_spare && !path.eq_ignore_ascii_case(HEALTH) {
        return Err(Failure::unavailable());
    }
    if identity::is_token_endpoint(path) {
        seen.operation = "Token";
        return token(server, &head, body, origin.address).await;
    }
    if path == "/metrics" {
        seen.operation = "Metrics";
        if !head::is_read(&head.method) {
            return Err(wrong_method("Metrics are asked for by GET.", "GET, HEAD"));
        }
        let caller = authenticated(server, &head.headers).await?;
        let (scope, permission) = METRICS;
        if !caller.scopes.cover(scope, false) || !caller.may(None, permission) {
            return Err(Failure::forbidden());
        }
        let answer = Answer {
            status: StatusCode::OK,
            body: Some(server.metrics.text().into_bytes().into()),
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            location: None,
        };
        return told_of(answer, &server.room.account(Owner::User(caller.user.id)), true);
    }
    let target = Target::read(path).ok_or_else(Failure::no_route)?;
    let route = server.routes.find(&head.method, &target)?;
    seen.operation = route.name;
    routed(server, route, target, head, body, origin, seen).await
}

/// Logs in.
async fn token(
    server: &Arc<Inner>,
    head: &Parts,
    body: &mut Incoming,
    from: IpAddr,
) -> Result<Response<Bytes>, Failure> {
    if head.method != Method::POST {
        return Err(wrong_method("Tokens are asked for by POST.", "POST"));
    }
    let mut held = server.room.account(Owner::of_network(from));
    let body = body.read(LARGEST_LOGIN, server.config.request_limit, &mut held).await?;
    match identity::token(server, from, &head.headers, &body).await? {
        Granted::Token(body) => json(StatusCode::OK, &body),
        Granted::Refused(error, why) => json(StatusCode::BAD_REQUEST, &token_error(error, why)),
    }
}

fn wrong_method(message: &str, allow: &str) -> Failure {
    let mut failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, 0, message);
    failure.allow = Some(allow.to_owned());
    failure
}

/// A call of a route.
async fn routed(
    server: &Arc<Inner>,
    route: &'static Route,
    target: Target,
    head: Parts,
    body: &mut Incoming,
    origin: Origin,
    seen: &mut Seen,
) -> Result<Response<Bytes>, Failure> {
    let from = origin.address;
    let limit = server.config.request_limit;
    // Who calls is known before anything is kept for them.
    let (mut caller, mut folders) = judged(server, route, &head.headers).await?;
    seen.user = caller.as_ref().map(|caller| caller.user.id);
    let owner = seen.user.map_or_else(|| Owner::of_network(from), Owner::User);
    let is_light = UNCOUNTED.contains(&route.name);
    let mut held = memory_for(server, owner, is_light, &head)?;
    let largest = match (&caller, route.name) {
        _ if is_light => LITTLE,
        (None, _) => LARGEST_LOGIN,
        (Some(_), "BulkAddQueueItems" | "Exchange") => server.config.largest_bulk,
        _ => server.config.largest_body,
    };
    let body = body.read(largest, limit, &mut held).await?;
    // A body may take its time, and in the meantime the caller may have lost what it is asking by.
    if caller.as_ref().is_some_and(|caller| !Arc::ptr_eq(&caller.directory, &server.access.directory())) {
        (caller, folders) = judged(server, route, &head.headers).await?;
    }
    let _slot = slot(server, caller.as_ref(), is_light)?;
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
    let is_read = head::is_read(&head.method);
    let call = Call {
        server: server.clone(),
        caller,
        folders,
        key: target.key,
        arguments: target.arguments,
        query: head::query(&head.uri)?,
        base: head::base(server, origin, &head.headers, &head.uri, &target.prefix),
        headers: head.headers,
        body,
        from,
        owner,
    };
    let answered = tokio::time::timeout(limit, (route.handler)(&call)).await;
    let too_long = |_| if is_read { Failure::unavailable() } else { Failure::in_doubt() };
    let answer = answered.map_err(too_long)??;
    if let Some(status) = forecast.instead {
        return Err(on_purpose(status));
    }
    let mut response = told_of(answer, &held, is_read)?;
    if let Some(Told::Remaining(left)) = told {
        let left = HeaderValue::from(left);
        response.headers_mut().insert(HeaderName::from_static("x-ratelimit-remaining"), left);
    }
    if forecast.lost {
        response.extensions_mut().insert(Lost);
    }
    Ok(response)
}

/// Memory for a call and its head. What is light is answered whatever else the caller holds.
fn memory_for(server: &Arc<Inner>, owner: Owner, is_light: bool, head: &Parts) -> Result<Held, Failure> {
    let mut held = server.room.account(owner);
    if is_light {
        return Ok(held.beyond_the_share());
    }
    if held.grow(CALL + head::size(head)) { Ok(held) } else { Err(Failure::unavailable()) }
}

/// A place among the requests that are under way. A login counts where it costs something: see `passwords.rs` and
/// `identity.rs`.
fn slot<'a>(
    server: &'a Inner,
    caller: Option<&Caller>,
    is_light: bool,
) -> Result<Option<tokio::sync::SemaphorePermit<'a>>, Failure> {
    if is_light || caller.is_none() {
        return Ok(None);
    }
    server.requests.try_acquire().map(Some).map_err(|_| Failure::unavailable())
}

/// The answer of a route as it is sent. What was only read can be read again, so that is refused when there is no memory
/// for it until it is sent, unless it is little; what was done is told in any case.
fn told_of(answer: Answer, held: &Held, is_read: bool) -> Result<Response<Bytes>, Failure> {
    let needs_memory = |bytes: usize| is_read && bytes > LITTLE;
    let body = match answer.body {
        None => Bytes::new(),
        Some(body) if needs_memory(body.uncounted()) && !held.could_grow(body.uncounted()) => {
            return Err(Failure::unavailable());
        }
        Some(body) => body.counted(held.another()),
    };
    let mut response = respond(answer.status, answer.content_type, body);
    if let Some(location) = answer.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
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
