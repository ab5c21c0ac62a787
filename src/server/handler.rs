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
use super::authorization::{authenticate, authorize};
use super::request_body::RequestBody;
use super::call::{ApiResponse, Call};
use super::cors::CorsRequest;
use super::api_error::ApiError;
use super::request_head;
use super::login::{self, TokenGrant};
use super::rate_limit::RateLimitStatus;
use super::listener::Peer;
use super::proxies::ClientAddress;
use super::response::{TraceId, build_response, error_response, json_response};
use super::memory_budget::{BudgetOwner, Reservation};
use super::router::{Route, RequestPath};
use super::routes::METRICS;
use crate::wire::responses::token_error;

/// The largest body of somebody who is not known yet, in bytes.
const MAX_LOGIN_BODY: usize = 16 * 1024;

/// How much memory a call takes beside its body and its answer, in bytes.
const CALL_OVERHEAD: usize = 1024;

/// An answer of so few bytes is sent even when its caller has no memory left.
const SMALL_RESPONSE: usize = 4 * 1024;

/// What is answered however many requests are under way: it is light, or it is there to wait.
const UNLIMITED_OPERATIONS: [&str; 4] = ["Status", "Version", "Beat", "Wait"];

/// Where anybody may ask whether the server is well.
const HEALTH_PATH: &str = "/api/Status/Get";

/// A response that is not to be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct DropConnection;

/// A response to a request whose body was not read to its end: the connection cannot be used again.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnreadBody;

/// A request on a connection beside those that there may be: only whether the server is well is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverflowConnection;

/// One request, from its head to its answer.
pub(super) async fn handle(server: &Arc<Inner>, peer: Peer, request: Request) -> Response<Bytes> {
    let started = server.elapsed();
    let trace = TraceId::new();
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head, body);
    let (method, version) = (head.method.clone(), head.version);
    let path = head.uri.path().to_owned();
    let Peer(peer) = peer;
    let client = server.proxies.client_address(peer, &head.headers);
    let from = client.address;
    let cors = CorsRequest::of(&server.config.origins, &head);
    let is_preflight = cors.as_ref().is_some_and(CorsRequest::is_allowed_preflight);
    let mut log_fields = AccessLogFields { operation: "none", user: None };
    let result = dispatch(server, head, &mut body, client, is_preflight, &mut log_fields);
    let result = AssertUnwindSafe(result).catch_unwind().await;
    let result =
        result.unwrap_or_else(|panic| Err(ApiError::internal(crate::exception::panic_text(&*panic))));
    let (mut response, cause) = match result {
        Ok(response) => (response, None),
        Err(mut failure) => {
            let cause = failure.cause.take();
            (error_response(&failure, &trace), cause)
        }
    };
    trace.add_headers(response.headers_mut(), !server.config.is_strict());
    if let Some(cors) = cors {
        cors.add_headers(response.headers_mut());
    }
    if method == Method::HEAD {
        strip_body(&mut response);
    }
    let took = server.elapsed().saturating_sub(started);
    let status = response.status().as_u16();
    server.metrics.record_request(log_fields.operation, status, took);
    let (operation, user, trace) = (log_fields.operation, log_fields.user, trace.id.as_str());
    // A panic of what writes the log does not cost the answer.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
        if let Some(cause) = cause {
            tracing::error!(%method, path, status, operation, trace, cause, "a request failed");
        }
        tracing::info!(target: "performer::server::access", %method, path, status, operation, user, %from, took_us = took.as_micros(), trace);
    }));
    // HTTP/2 ends the stream alone.
    if !body.discard_rest().await && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.extensions_mut().insert(UnreadBody);
    }
    response
}

/// What the log tells about a request.
struct AccessLogFields {
    operation: &'static str,
    user: Option<i64>,
}

/// What HEAD is answered: what GET is, and its length instead of its body.
fn strip_body(response: &mut Response<Bytes>) {
    let length = std::mem::take(response.body_mut()).len();
    if response.status() != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

async fn dispatch(
    server: &Arc<Inner>,
    head: Parts,
    body: &mut RequestBody,
    client: ClientAddress,
    is_preflight: bool,
    log_fields: &mut AccessLogFields,
) -> Result<Response<Bytes>, ApiError> {
    let _counted = server.metrics.in_flight();
    request_head::check(&head)?;
    if is_preflight {
        log_fields.operation = "Preflight";
        return Ok(build_response(StatusCode::NO_CONTENT, "", Bytes::new()));
    }
    let path = head.uri.path();
    let is_overflow = head.extensions.get::<OverflowConnection>().is_some();
    if is_overflow && !path.eq_ignore_ascii_case(HEALTH_PATH) {
        return Err(ApiError::unavailable());
    }
    if login::is_token_endpoint(path) {
        log_fields.operation = "Token";
        return log_in(server, &head, body, client.address).await;
    }
    if path == "/metrics" {
        log_fields.operation = "Metrics";
        if !request_head::is_read_only(&head.method) {
            return Err(wrong_method("Metrics are asked for by GET.", "GET, HEAD"));
        }
        let caller = authenticate(server, &head.headers).await?;
        let (scope, permission) = METRICS;
        if !caller.scopes.cover(scope, false) || !caller.may(None, permission) {
            return Err(ApiError::forbidden());
        }
        let answer = ApiResponse {
            status: StatusCode::OK,
            body: Some(server.metrics.text().into_bytes().into()),
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            location: None,
        };
        return into_response(answer, &server.memory.reservation(BudgetOwner::User(caller.user.id)), true);
    }
    let target = RequestPath::parse(path).ok_or_else(ApiError::no_route)?;
    let route = server.routes.find(&head.method, &target)?;
    log_fields.operation = route.name;
    call_route(server, route, target, head, body, client, log_fields).await
}

/// Logs in.
async fn log_in(
    server: &Arc<Inner>,
    head: &Parts,
    body: &mut RequestBody,
    from: IpAddr,
) -> Result<Response<Bytes>, ApiError> {
    if head.method != Method::POST {
        return Err(wrong_method("Tokens are asked for by POST.", "POST"));
    }
    let mut reservation = server.memory.reservation(BudgetOwner::of_network(from));
    let body = body.read(MAX_LOGIN_BODY, server.config.request_limit, &mut reservation).await?;
    match login::issue_token(server, from, &head.headers, &body).await? {
        TokenGrant::Issued(body) => json_response(StatusCode::OK, &body),
        TokenGrant::Refused(error, why) => json_response(StatusCode::BAD_REQUEST, &token_error(error, why)),
    }
}

fn wrong_method(message: &str, allow: &str) -> ApiError {
    let mut failure = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 0, message);
    failure.allow = Some(allow.to_owned());
    failure
}

/// A call of a route.
async fn call_route(
    server: &Arc<Inner>,
    route: &'static Route,
    target: RequestPath,
    head: Parts,
    body: &mut RequestBody,
    client: ClientAddress,
    log_fields: &mut AccessLogFields,
) -> Result<Response<Bytes>, ApiError> {
    let from = client.address;
    let limit = server.config.request_limit;
    // Who calls is known before anything is kept for them.
    let (mut caller, mut folders) = authorize(server, route, &head.headers).await?;
    log_fields.user = caller.as_ref().map(|caller| caller.user.id);
    let owner = log_fields.user.map_or_else(|| BudgetOwner::of_network(from), BudgetOwner::User);
    let is_light = UNLIMITED_OPERATIONS.contains(&route.name);
    let mut reservation = reserve_memory(server, owner, is_light, &head)?;
    let largest = match (&caller, route.name) {
        _ if is_light => SMALL_RESPONSE,
        (None, _) => MAX_LOGIN_BODY,
        (Some(_), "BulkAddQueueItems" | "Exchange") => server.config.max_bulk_body,
        _ => server.config.max_body,
    };
    let body = body.read(largest, limit, &mut reservation).await?;
    // A body may take its time, and in the meantime the caller may have lost what it is asking by.
    if caller.as_ref().is_some_and(|caller| !Arc::ptr_eq(&caller.directory, &server.access.directory())) {
        (caller, folders) = authorize(server, route, &head.headers).await?;
    }
    let _permit = request_permit(server, caller.as_ref(), is_light)?;
    let rate_limit = server.rate_limit.as_ref().and_then(|limit| limit.count(route.name, server.elapsed()));
    if let Some(RateLimitStatus::RetryAfter(seconds)) = rate_limit {
        return Err(ApiError::too_many_requests(seconds));
    }
    let faults = server.faults.for_call(route.name);
    if faults.delay > Duration::ZERO {
        tokio::time::sleep(faults.delay).await;
    }
    if let Some(status) = faults.status {
        return Err(injected_error(status));
    }
    let is_read_only = request_head::is_read_only(&head.method);
    let call = Call {
        server: server.clone(),
        caller,
        folders,
        key: target.key,
        arguments: target.arguments,
        query: request_head::query(&head.uri)?,
        base: request_head::base(server, client, &head.headers, &head.uri, &target.prefix),
        headers: head.headers,
        body,
        from,
        owner,
    };
    let result = tokio::time::timeout(limit, (route.handler)(&call)).await;
    let too_long = |_| if is_read_only { ApiError::unavailable() } else { ApiError::outcome_unknown() };
    let answer = result.map_err(too_long)??;
    if let Some(status) = faults.replaced_status {
        return Err(injected_error(status));
    }
    let mut response = into_response(answer, &reservation, is_read_only)?;
    if let Some(RateLimitStatus::Remaining(left)) = rate_limit {
        let left = HeaderValue::from(left);
        response.headers_mut().insert(HeaderName::from_static("x-ratelimit-remaining"), left);
    }
    if faults.drop_response {
        response.extensions_mut().insert(DropConnection);
    }
    Ok(response)
}

/// Memory for a call and its head. What is light is answered whatever else the caller holds.
fn reserve_memory(server: &Arc<Inner>, owner: BudgetOwner, is_light: bool, head: &Parts) -> Result<Reservation, ApiError> {
    let mut reservation = server.memory.reservation(owner);
    if is_light {
        return Ok(reservation.without_limit());
    }
    if reservation.grow(CALL_OVERHEAD + request_head::size(head)) { Ok(reservation) } else { Err(ApiError::unavailable()) }
}

/// A place among the requests that are under way. A login counts where it costs something: see `password_limit.rs` and
/// `login.rs`.
fn request_permit<'a>(
    server: &'a Inner,
    caller: Option<&Caller>,
    is_light: bool,
) -> Result<Option<tokio::sync::SemaphorePermit<'a>>, ApiError> {
    if is_light || caller.is_none() {
        return Ok(None);
    }
    server.requests.try_acquire().map(Some).map_err(|_| ApiError::unavailable())
}

/// The answer of a route as it is sent. What was only read can be read again, so that is refused when there is no memory
/// for it until it is sent, unless it is little; what was done is told in any case.
fn into_response(answer: ApiResponse, reservation: &Reservation, is_read_only: bool) -> Result<Response<Bytes>, ApiError> {
    let needs_memory = |bytes: usize| is_read_only && bytes > SMALL_RESPONSE;
    let body = match answer.body {
        None => Bytes::new(),
        Some(body) if needs_memory(body.untracked_bytes()) && !reservation.can_grow(body.untracked_bytes()) => {
            return Err(ApiError::unavailable());
        }
        Some(body) => body.tracked(reservation.sibling()),
    };
    let mut response = build_response(answer.status, answer.content_type, body);
    if let Some(location) = answer.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A failure that somebody asked for.
fn injected_error(status: u16) -> ApiError {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut failure = ApiError::new(status, 0, "This fault was asked for when the server was started.");
    if matches!(status.as_u16(), 429 | 503) {
        failure.retry_after = Some(1);
    }
    failure
}
