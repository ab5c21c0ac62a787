//! The answer to a request of the desk, and the headers of every answer.

use std::ops::Range;

use askama::Template;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use flate2::Compression;
use futures_util::Stream;

use super::assets::compressed;
use super::frame::Frame;
use super::html;
use crate::api_error::ApiError;
use crate::response::{StreamedBody, TraceId};
use performer_core::model::code::ErrorCode;

/// What a page may load and where it may send forms: only what this server has, and nothing that is written within a page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Bodies of these sizes, in bytes, are compressed: smaller ones are not worth it, and larger ones would hold up other requests.
const WORTH_COMPRESSING: Range<usize> = 1_024..1_048_576;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    compressed: Option<Bytes>,
    /// Whether a browser may keep it for ever.
    is_immutable: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    streamed: Option<StreamedBody>,
}

impl Reply {
    fn new(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        Self {
            status,
            content_type,
            body,
            compressed: None,
            is_immutable: false,
            headers: Vec::new(),
            streamed: None,
        }
    }

    /// A page.
    pub(super) fn page(page: &impl Template) -> Result<Self, ApiError> {
        let text = page.render().map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Self::new(StatusCode::OK, "text/html; charset=utf-8", text.into()))
    }

    /// A file to be saved under a name.
    pub(super) fn download(content_type: &'static str, name: &str, body: Vec<u8>) -> Self {
        let reply = Self::new(StatusCode::OK, content_type, body.into());
        reply.header(header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))
    }

    /// A JSON document.
    pub(super) fn json(body: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, "application/json; charset=utf-8", body.into())
    }

    pub(super) fn asset(content_type: &'static str, body: Bytes, compressed: Option<Bytes>) -> Self {
        let reply = Self::new(StatusCode::OK, content_type, body);
        Self { compressed, is_immutable: true, ..reply }
    }

    /// Events, as they happen.
    pub(super) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let reply = Self::new(StatusCode::OK, "text/event-stream; charset=utf-8", Bytes::new());
        let reply = Self { streamed: Some(StreamedBody::new(events)), ..reply };
        // A proxy that collects what it passes on would hold them back.
        reply.header(HeaderName::from_static("x-accel-buffering"), "no")
    }

    /// Sends the browser to another page: after a form, or to sign in.
    pub(super) fn see_other(address: &str) -> Self {
        Self::new(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new())
            .header(header::LOCATION, address)
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    pub(super) fn cookie(self, cookie: &str) -> Self {
        self.header(header::SET_COOKIE, cookie)
    }

    /// The response, compressed if the browser accepts that.
    pub(super) fn into_response(self, request: &HeaderMap) -> Response<Bytes> {
        let is_text =
            self.content_type.starts_with("text/") || self.content_type.starts_with("application/json");
        let may_compress = accepts_gzip(request) && is_text && WORTH_COMPRESSING.contains(&self.body.len());
        let compressed = match self.compressed {
            Some(compressed) if accepts_gzip(request) => Some(compressed),
            None if may_compress => compressed(&self.body, Compression::fast()).map(Bytes::from),
            _ => None,
        };
        let is_compressed = compressed.is_some();
        let mut response = Response::new(compressed.unwrap_or(self.body));
        *response.status_mut() = self.status;
        if let Some(streamed) = self.streamed {
            response.extensions_mut().insert(streamed);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, cookie"));
        if is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if self.is_immutable {
            let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
            headers.insert(header::CACHE_CONTROL, for_ever);
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let accepted =
        request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && !parts.any(|part| part == "q=0")
    })
}

/// Adds the headers of every answer of the desk.
pub(in super::super) fn add_headers(headers: &mut HeaderMap, trace: &TraceId) {
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&trace.id) {
        headers.insert(HeaderName::from_static("x-correlation-id"), id);
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    title: &'a str,
    message: String,
    advice: &'a str,
    /// The number of the request in the log of the server.
    trace: Option<&'a str>,
}

/// The page of an error: what happened, and what to do next.
pub(in super::super) fn error_page(failure: &ApiError, trace: &TraceId) -> Response<Bytes> {
    let status = failure.status.as_u16();
    let (title, advice) = match status {
        404 => (
            "There is nothing here",
            "The item may have been removed by its retention, or belong to a folder that you cannot see.",
        ),
        401 => ("You are signed out", "Sign in, and repeat it."),
        403 => ("You may not do this", "The first page shows what you may see."),
        409 if failure.code == ErrorCode::OPTIMISTIC_CONCURRENCY.number() => {
            ("It has changed in the meantime", "Open it again to see how it stands now.")
        }
        409 => ("This was refused", "Open it again to see what can be done with it."),
        429 => ("Too many attempts", "Wait a moment, and try again."),
        503 => ("The server is busy or cannot reach its store", "Try again in a moment."),
        504 => ("It took too long", "It may or may not have been done: open the page again to see."),
        500..=599 => (
            "Something went wrong in the server",
            "The cause is in the log of the server, under the number below.",
        ),
        _ => ("This request cannot be answered", "Go back and correct it."),
    };
    let page = ErrorPage {
        frame: Frame::anonymous(),
        status,
        title,
        message: html::visible(&failure.message),
        advice,
        trace: (status >= 500).then_some(trace.id.as_str()),
    };
    let reply = Reply::page(&page).unwrap_or_else(|_| {
        let text = format!("{status}: {}", failure.message);
        Reply::new(failure.status, "text/plain; charset=utf-8", text.into())
    });
    let mut reply = reply.with_status(failure.status);
    reply = failure
        .retry_after
        .into_iter()
        .fold(reply, |reply, seconds| reply.header(header::RETRY_AFTER, &seconds.to_string()));
    reply = failure.allow.iter().fold(reply, |reply, allow| reply.header(header::ALLOW, allow));
    reply.into_response(&HeaderMap::new())
}
