//! What an answer looks like: its headers, errors in the one shape, and the name by which the log knows it.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::call::JSON_CONTENT_TYPE;
use super::api_error::ApiError;
use super::status::API_VERSION;
use crate::wire::lease_protocol;
use crate::wire::responses::ErrorBody;

/// How many headers an answer has room for, so that it does not grow step by step.
const HEADER_CAPACITY: usize = 12;

/// The name of a request, for its caller and for the log (W3C trace context).
pub(super) struct TraceId {
    pub(super) id: String,
}

impl TraceId {
    pub(super) fn new() -> Self {
        let random: u128 = fastrand::u128(1..);
        Self { id: format!("00-{random:032x}-{:016x}-00", fastrand::u64(1..)) }
    }

    pub(super) fn add_headers(&self, headers: &mut HeaderMap, advertise_leases: bool) {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"));
        let versions = HeaderValue::from_static(API_VERSION);
        headers.insert(HeaderName::from_static("api-supported-versions"), versions);
        // In strict mode a performer is a robot like any other client.
        if advertise_leases {
            headers
                .insert(HeaderName::from_static(lease_protocol::HEADER), HeaderValue::from_static(lease_protocol::VERSION));
        }
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(HeaderName::from_static("x-correlation-id"), id);
        }
    }
}

/// An error in the one shape of the API.
pub(super) fn error_response(failure: &ApiError, trace: &TraceId) -> Response<Bytes> {
    let body = ErrorBody {
        message: &failure.message,
        error_code: failure.code,
        trace_id: &trace.id,
        resource_ids: None,
        claim_lost: failure.claim_lost,
    };
    let json = serde_json::to_vec(&body).unwrap_or_default();
    let kind = "application/json; charset=utf-8";
    let mut response = build_response(failure.status, kind, json.into());
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

/// An answer that no route makes: what logs in, and what went wrong with that.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Result<Response<Bytes>, ApiError> {
    let body = serde_json::to_vec(body).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(build_response(status, JSON_CONTENT_TYPE, body.into()))
}

/// A status with a body.
pub(super) fn build_response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let is_empty = body.is_empty();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().reserve(HEADER_CAPACITY);
    if !is_empty {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
