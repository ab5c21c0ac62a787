//! Builds HTTP responses: common headers, the body of errors, the trace id, and bodies that are sent piece by piece.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use futures_util::Stream;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::JSON_CONTENT_TYPE;
use super::status::API_VERSION;
use performer_wire::lease_protocol;
use performer_wire::responses::ErrorBody;

/// The pieces of a body.
type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A body that is sent piece by piece. It is an extension of a response, whose own body is empty.
#[derive(Clone)]
pub(super) struct StreamedBody(Arc<Mutex<Option<Pieces>>>);

impl StreamedBody {
    pub(super) fn new(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(pieces)))))
    }

    /// The pieces; `None` if they were taken before.
    pub(super) fn take(&self) -> Option<Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedBody").finish_non_exhaustive()
    }
}

/// The initial capacity for headers, so that the map does not grow repeatedly.
const HEADER_CAPACITY: usize = 12;

/// The id of a request, for the caller and the log (W3C trace context).
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
        // In strict mode performers use the vendor's API only.
        if advertise_leases {
            headers.insert(
                HeaderName::from_static(lease_protocol::HEADER),
                HeaderValue::from_static(lease_protocol::VERSION),
            );
        }
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(HeaderName::from_static("x-correlation-id"), id);
        }
    }
}

/// An error response in the format of the API.
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

/// A JSON response of the token endpoint.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Result<Response<Bytes>, ApiError> {
    let body = serde_json::to_vec(body).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(build_response(status, JSON_CONTENT_TYPE, body.into()))
}

/// A response with a status and a body.
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
