//! Handles one request: routing, authentication, body, limits, injected faults, response, metrics and access log.

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
use super::api_error::ApiError;
use super::authorization::{authenticate, authorize};
use super::bucket_content;
use super::call::{ApiResponse, COUNT_CONTENT_TYPE, Call};
use super::cors::CorsRequest;
use super::desk;
use super::fault_injection::CallFaults;
use super::listener::Peer;
use super::login::{self, TokenGrant};
use super::memory_budget::{BudgetOwner, Reservation};
use super::metrics::queue_depths;
use super::operator;
use super::proxies::ClientAddress;
use super::rate_limit::RateLimitStatus;
use super::request_body::RequestBody;
use super::request_head;
use super::response::{StreamedBody, TraceId, build_response, error_response, json_response};
use super::router::{RequestPath, Route};
use super::routes::METRICS;
use performer_wire::responses::token_error;

/// The maximum body of a caller who is not authenticated, in bytes.
pub(super) const MAX_LOGIN_BODY: usize = 16 * 1024;

/// The memory of a call besides its body and response, in bytes.
const CALL_OVERHEAD: usize = 1024;

/// Responses up to this size, in bytes, are sent even if the caller's share of memory is used up.
const SMALL_RESPONSE: usize = 4 * 1024;

/// Operations that do not count as concurrent requests: they are cheap, or they only wait.
const UNLIMITED_OPERATIONS: [&str; 4] = ["Status", "Version", "Beat", "Wait"];

/// The health check, which needs no token.
const HEALTH_PATH: &str = "/api/Status/Get";

/// Marks a response that an injected fault drops: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct DropConnection;

/// Marks a response to a request whose body was not read to its end: the connection cannot be reused.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnreadBody;

/// Marks a request on a connection over the limit: only the health check is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverflowConnection;

/// Handles a request and returns its response.
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
    let is_desk = desk::owns(server, &path);
    // Pages of other origins may call the API, but not the desk.
    let cors = CorsRequest::of(&server.config.origins, &head).filter(|_| !is_desk);
    let is_preflight = cors.as_ref().is_some_and(CorsRequest::is_allowed_preflight);
    let mut log_fields = AccessLogFields { operation: "none", user: None };
    let result = dispatch(server, head, &mut body, client, is_preflight, &mut log_fields);
    let result = AssertUnwindSafe(result).catch_unwind().await;
    let result = result
        .unwrap_or_else(|panic| Err(ApiError::internal(performer_core::exception::panic_text(&*panic))));
    let (mut response, cause) = match result {
        Ok(response) => (response, None),
        Err(mut failure) => {
            let cause = failure.cause.take();
            let page = if is_desk { desk::error_page } else { error_response };
            (page(&failure, &trace), cause)
        }
    };
    if is_desk {
        desk::add_headers(response.headers_mut(), &trace);
    } else {
        trace.add_headers(response.headers_mut(), !server.config.is_strict());
    }
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
    // A panic in the log writer must not lose the response.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
        if let Some(cause) = cause {
            tracing::error!(%method, path, status, operation, trace, cause, "a request failed");
        }
        tracing::info!(target: "performer::server::access", %method, path, status, operation, user, %from, took_us = took.as_micros(), trace);
    }));
    // With HTTP/2 only the stream ends.
    if !body.discard_rest().await && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.extensions_mut().insert(UnreadBody);
    }
    response
}

/// The fields of the access log that are found out while a request is handled.
pub(super) struct AccessLogFields {
    pub(super) operation: &'static str,
    pub(super) user: Option<i64>,
}

/// Turns the response to GET into the one to HEAD: the length instead of the body.
fn strip_body(response: &mut Response<Bytes>) {
    if response.extensions_mut().remove::<StreamedBody>().is_some() {
        return; // its length is not known
    }
    let length = std::mem::take(response.body_mut()).len();
    if response.status() != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Serves the token endpoint, the metrics, and all routes.
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
    if server.operator.is_some() {
        operator::check_host(&head)?;
        if path == "/" {
            return Ok(desk::to_start(&head));
        }
        if !desk::owns(server, path) {
            return Err(ApiError::no_route());
        }
    }
    let is_overflow = head.extensions.get::<OverflowConnection>().is_some();
    if is_overflow && !path.eq_ignore_ascii_case(HEALTH_PATH) {
        return Err(ApiError::unavailable());
    }
    if login::is_token_endpoint(path) {
        log_fields.operation = "Token";
        return log_in(server, &head, body, client.address).await;
    }
    if desk::owns(server, path) {
        log_fields.operation = "Desk";
        return desk::handle(server, &head, body, client, log_fields).await;
    }
    if path == "/metrics" {
        log_fields.operation = "Metrics";
        if !request_head::is_read_only(&head.method) {
            return Err(wrong_method("The metrics support GET and HEAD only.", "GET, HEAD"));
        }
        let caller = authenticate(server, &head.headers).await?;
        let (scope, permission) = METRICS;
        if !caller.scopes.cover(scope, false) || !caller.may(None, permission) {
            return Err(ApiError::forbidden());
        }
        let depths = queue_depths(server).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to read the depths of the queues for the metrics");
            Vec::new()
        });
        let answer = ApiResponse {
            status: StatusCode::OK,
            body: Some(server.metrics.text(&depths).into_bytes().into()),
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            location: None,
        };
        return into_response(answer, &server.memory.reservation(BudgetOwner::User(caller.user.id)), true);
    }
    let target = RequestPath::parse(path).ok_or_else(ApiError::no_route)?;
    if bucket_content::owns(&target) {
        log_fields.operation = "BucketFile";
        return bucket_content::handle(server, &target, &head, body, client.address).await;
    }
    if head.method == Method::OPTIONS {
        log_fields.operation = "Options";
        let mut response = build_response(StatusCode::NO_CONTENT, "", Bytes::new());
        if let Ok(allow) = HeaderValue::from_str(&server.routes.allowed(&target)?) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        return Ok(response);
    }
    let route = server.routes.find(&head.method, &target)?;
    log_fields.operation = route.name;
    call_route(server, route, target, head, body, client, log_fields).await
}

/// Serves the token endpoint.
async fn log_in(
    server: &Arc<Inner>,
    head: &Parts,
    body: &mut RequestBody,
    from: IpAddr,
) -> Result<Response<Bytes>, ApiError> {
    if head.method != Method::POST {
        return Err(wrong_method("The token endpoint supports POST only.", "POST"));
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

/// Calls a route: authorization, body, limits, injected faults, and the handler of the route.
async fn call_route(
    server: &Arc<Inner>,
    route: &'static Route,
    path: RequestPath,
    head: Parts,
    body: &mut RequestBody,
    client: ClientAddress,
    log_fields: &mut AccessLogFields,
) -> Result<Response<Bytes>, ApiError> {
    let from = client.address;
    let limit = server.config.request_limit;
    // The caller is authenticated before memory is reserved for it.
    let (mut caller, mut folders) = authorize(server, route, &head.headers).await?;
    log_fields.user = caller.as_ref().map(|caller| caller.user.id);
    let owner = log_fields.user.map_or_else(|| BudgetOwner::of_network(from), BudgetOwner::User);
    let is_light = is_light(route);
    let mut reservation = reserve_memory(server, owner, is_light, &head)?;
    let body = body.read(max_body(server, route, caller.as_ref()), limit, &mut reservation).await?;
    // Reading the body may take long, and the caller may have lost the permission in the meantime.
    if caller.as_ref().is_some_and(|caller| !Arc::ptr_eq(&caller.directory, &server.access.directory())) {
        (caller, folders) = authorize(server, route, &head.headers).await?;
    }
    let _permit = request_permit(server, caller.as_ref(), is_light)?;
    let rate_limit = check_rate_limit(server, route)?;
    let faults = inject_faults(server, route).await?;
    let is_read_only = request_head::is_read_only(&head.method);
    let call = Call {
        server: server.clone(),
        caller,
        folders,
        key: path.key,
        counts: path.counts,
        arguments: path.arguments,
        query: request_head::query(&head.uri)?,
        base: request_head::base(server, client, &head.headers, &head.uri, &path.prefix),
        headers: head.headers,
        body,
        from,
        owner,
    };
    let answer = run_handler(route, &call, limit, is_read_only).await?;
    if call.counts && answer.content_type != COUNT_CONTENT_TYPE {
        return Err(ApiError::no_route()); // it is not a list
    }
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

/// The maximum body of a call, in bytes.
fn max_body(server: &Inner, route: &Route, caller: Option<&Caller>) -> usize {
    match (caller, route.name) {
        _ if is_light(route) => SMALL_RESPONSE,
        (None, _) => MAX_LOGIN_BODY,
        (Some(_), "BulkAddQueueItems" | "Exchange") => server.config.max_bulk_body,
        _ => server.config.max_body,
    }
}

/// Counts a call against the rate limit, and refuses it over the limit.
fn check_rate_limit(server: &Inner, route: &Route) -> Result<Option<RateLimitStatus>, ApiError> {
    let status = server.rate_limit.as_ref().and_then(|limit| limit.count(route.name, server.elapsed()));
    match status {
        Some(RateLimitStatus::RetryAfter(seconds)) => Err(ApiError::too_many_requests(seconds)),
        status => Ok(status),
    }
}

/// Draws the faults of a call, and injects those that come before it is executed.
async fn inject_faults(server: &Inner, route: &Route) -> Result<CallFaults, ApiError> {
    let faults = server.faults.for_call(route.name);
    if faults.delay > Duration::ZERO {
        tokio::time::sleep(faults.delay).await;
    }
    faults.status.map_or(Ok(faults), |status| Err(injected_error(status)))
}

/// Runs the handler of a route within the time limit.
async fn run_handler(
    route: &Route,
    call: &Call,
    limit: Duration,
    is_read_only: bool,
) -> Result<ApiResponse, ApiError> {
    let result = tokio::time::timeout(limit, (route.handler)(call)).await;
    let too_long = |_| if is_read_only { ApiError::unavailable() } else { ApiError::outcome_unknown() };
    result.map_err(too_long)?
}

fn is_light(route: &Route) -> bool {
    UNLIMITED_OPERATIONS.contains(&route.name)
}

/// Reserves memory for a call and its head. Cheap operations are not limited by the caller's share.
fn reserve_memory(
    server: &Arc<Inner>,
    owner: BudgetOwner,
    is_light: bool,
    head: &Parts,
) -> Result<Reservation, ApiError> {
    let mut reservation = server.memory.reservation(owner);
    if is_light {
        return Ok(reservation.without_limit());
    }
    if reservation.grow(CALL_OVERHEAD + request_head::size(head)) {
        Ok(reservation)
    } else {
        Err(ApiError::unavailable())
    }
}

/// A permit for a concurrent request. Logins have limits of their own, see `password_limit.rs` and `login.rs`.
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

/// The HTTP response to a call. The response to a read is refused without memory for it, unless it is small, because the
/// caller can repeat the read; the response to a change is always sent.
fn into_response(
    answer: ApiResponse,
    reservation: &Reservation,
    is_read_only: bool,
) -> Result<Response<Bytes>, ApiError> {
    let needs_memory = |bytes: usize| is_read_only && bytes > SMALL_RESPONSE;
    let body = match answer.body {
        None => Bytes::new(),
        Some(body)
            if needs_memory(body.untracked_bytes()) && !reservation.can_grow(body.untracked_bytes()) =>
        {
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

/// The error of an injected fault.
fn injected_error(status: u16) -> ApiError {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut failure = ApiError::new(status, 0, "This fault was injected by an option of the server.");
    if matches!(status.as_u16(), 429 | 503) {
        failure.retry_after = Some(1);
    }
    failure
}
