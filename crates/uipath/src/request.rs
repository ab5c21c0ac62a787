//! One call: its request, its retries where they are safe, and its time limits.
//!
//! A call that was certainly not executed is retried (no connection, 429, 401 with a new token). A read is retried after every
//! temporary failure. A write that may have been executed (408, 5xx, a time-out, a broken or unreadable answer) is never
//! retried here: the caller must find out what happened.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::address::Address;
use super::answer;
use super::auth::Identity;
use super::call::{Call, CallError, not_executed};
use super::rate_limit::RateLimits;
use super::timing::Timing;
use super::tls;
use performer_core::backoff::Delays;
use performer_core::model::clock::{Clock, SystemClock};
use performer_core::model::item::PAGE_LIMIT;
use performer_core::orchestrator::{BoxFuture, ErrorKind, OrchestratorError, Result};
use performer_core::trace_context;
use performer_wire::error_response::ErrorResponse;
use performer_wire::{Collection, json, lease_protocol};

/// The state that all calls share.
#[derive(Debug)]
pub(super) struct Http {
    /// For most calls. By itself it adds nothing to a request.
    pub(super) client: Client,
    /// Without a connection pool: for calls from a heartbeat thread, whose runtime ends before others do, and for tokens, which
    /// are fetched from any runtime.
    unpooled: Client,
    pub(super) address: Address,
    pub(super) identity: Identity,
    pub(super) timing: Timing,
    /// The headers for folder, tenant and job.
    headers: HeaderMap,
    /// These headers with the folder of the own job.
    headers_of_job: HeaderMap,
    rate_limits: RateLimits,
    /// The API version of the server; 0 while it is not known.
    version: AtomicU32,
    /// Whether the server is performer's own and has the lease protocol.
    leases: AtomicBool,
    random: Mutex<fastrand::Rng>,
    clock: SystemClock,
}

/// An HTTP request.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// A request for a token, whose answer must not be quoted in any message.
    pub(super) is_secret: bool,
}

/// An answer with a status of success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, if it can be read.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        json::response(&self.body).ok()
    }

    /// Accepts an empty body or any JSON. A web page is not accepted, whatever its status, because it comes from another server.
    pub(super) fn nothing(&self) -> Option<()> {
        let empty = self.body.iter().all(u8::is_ascii_whitespace);
        (empty || self.json::<serde::de::IgnoredAny>().is_some()).then_some(())
    }
}

/// The error of one request.
enum RequestError {
    /// It was not sent, or the connection failed.
    NotSent(OrchestratorError),
    /// The server refused it.
    Refused { error: OrchestratorError, status: StatusCode, wait: Option<Duration> },
    /// It was sent, and its outcome is not known.
    OutcomeUnknown(OrchestratorError),
}

impl Http {
    pub(super) fn new(
        address: Address,
        identity: Identity,
        timing: Timing,
        headers: HeaderMap,
        headers_of_job: HeaderMap,
    ) -> Result<Self> {
        let tls = tls::configuration(&address)?;
        let is_plain = address.base.starts_with("http:");
        let builder = || {
            let builder = Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .user_agent(concat!("performer/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(timing.connect)
                .pool_idle_timeout(Duration::from_secs(30))
                .tcp_nodelay(true);
            // Unencrypted requests, most of them to this machine, must not go through a proxy.
            if is_plain { builder.no_proxy() } else { builder }
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| {
                OrchestratorError::new(ErrorKind::Other, "the HTTP client cannot be made")
                    .with_source(error.without_url())
            })
        };
        Ok(Self {
            client: build(builder())?,
            unpooled: build(builder().pool_max_idle_per_host(0))?,
            address,
            identity,
            timing,
            headers,
            headers_of_job,
            rate_limits: RateLimits::default(),
            version: AtomicU32::new(0),
            leases: AtomicBool::new(false),
            random: Mutex::new(fastrand::Rng::new()),
            clock: SystemClock::default(),
        })
    }

    /// The API version of the server, once it has announced it.
    pub(super) fn version(&self) -> Option<u32> {
        Some(self.version.load(Ordering::Relaxed)).filter(|version| *version > 0)
    }

    /// Whether the server accepts `OperationId` and `ParentOperationId`. When they were introduced is not documented; the version
    /// of 2020 (11) does not have them, that of 2025 (20) does.
    pub(super) fn supports_operation_ids(&self) -> bool {
        self.version().is_none_or(|version| version >= 16)
    }

    /// Whether the server is performer's own and has the lease protocol.
    pub(super) fn supports_leases(&self) -> bool {
        self.leases.load(Ordering::Relaxed)
    }

    /// The growing delays between retries.
    pub(super) fn delays(&self) -> Delays {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
        Delays::new(self.timing.retry, random)
    }

    /// Makes a call whose answer is JSON.
    pub(super) async fn json<T: DeserializeOwned + Send>(&self, call: Call) -> Result<T, CallError> {
        self.call(call, Answer::json).await
    }

    /// Makes a call whose answer has no content.
    pub(super) async fn done(&self, call: Call) -> Result<(), CallError> {
        self.call(call, Answer::nothing).await
    }

    /// Reads all rows of a list, page by page. At most `most` pages, because a server that ignores `$skip` would never end.
    pub(super) async fn rows<T: DeserializeOwned + Send>(
        &self,
        call: Call,
        most: usize,
    ) -> Result<Vec<T>, CallError> {
        let mut rows = Vec::new();
        for page in 0..most {
            let page: Collection<T> = self.json(paged(&call, page)).await?;
            let is_last = page.value.len() < PAGE_LIMIT;
            rows.extend(page.value);
            if is_last {
                break;
            }
        }
        Ok(rows)
    }

    /// Reads all rows of a list as text, for lists in which some rows may be unreadable.
    pub(super) async fn row_texts(&self, call: Call, most: usize) -> Result<Vec<Box<str>>, CallError> {
        let mut rows = Vec::new();
        for page in 0..most {
            let page = self.call(paged(&call, page), |answer| json::rows(&answer.body)).await?;
            let is_last = page.len() < PAGE_LIMIT;
            rows.extend(page);
            if is_last {
                break;
            }
        }
        Ok(rows)
    }

    /// Makes a call. `read` decodes its answer, or returns `None` if it cannot.
    pub(super) async fn call<T: Send>(
        &self,
        call: Call,
        read: impl Fn(&Answer) -> Option<T> + Send + Sync,
    ) -> Result<T, CallError> {
        let mut value = None;
        let mut accept = |answer: &Answer| {
            value = read(answer);
            value.is_some()
        };
        let operation = call.operation.clone();
        self.send(call, &mut accept).await?;
        value.ok_or_else(|| CallError {
            error: outcome_unknown(unavailable(format!("{operation}: the answer was not decoded"))),
            maybe_executed: true,
        })
    }

    /// Makes a call until `accept` could decode its answer. It is neither generic nor part of the future of its caller, so that it
    /// is compiled once and not for every type of an answer.
    #[inline(never)]
    fn send<'a>(
        &'a self,
        call: Call,
        accept: &'a mut (dyn FnMut(&Answer) -> bool + Send),
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.send_until_accepted(call, accept))
    }

    async fn send_until_accepted(
        &self,
        call: Call,
        accept: &mut (dyn FnMut(&Answer) -> bool + Send),
    ) -> Result<(), CallError> {
        let deadline = self.deadline(&call);
        let mut delays = None;
        let mut attempts = 0;
        let mut renewed = false;
        let mut any_maybe_executed = false;
        loop {
            self.rate_limits
                .wait(&call.operation, &self.address.host, deadline)
                .await
                .map_err(not_executed)?;
            let authorization = self.identity.authorization(self).await.map_err(not_executed)?;
            if call.until.is_some_and(|until| Instant::now() >= until) {
                let message = format!("{}: no token was obtained in time", call.operation);
                return Err(not_executed(unavailable(message)));
            }
            let outgoing = self.outgoing(&call, authorization.header);
            let client = if call.on_heartbeat_thread { &self.unpooled } else { &self.client };
            attempts += 1;
            let answer = self.exchange(client, &call.operation, outgoing, deadline).await;
            let failure = match answer {
                Ok(answer) if accept(&answer) => return Ok(()),
                Ok(answer) => RequestError::OutcomeUnknown(self.unreadable(&call.operation, &answer, false)),
                Err(failure) => failure,
            };
            let (error, maybe_executed, wait) = match failure {
                RequestError::NotSent(error) => (error, false, None),
                RequestError::OutcomeUnknown(error) => (error, true, None),
                RequestError::Refused { status: StatusCode::UNAUTHORIZED, error, .. } => {
                    if renewed {
                        return Err(not_executed(error));
                    }
                    renewed = true;
                    self.identity.renew(self, authorization.generation).await.map_err(not_executed)?;
                    continue;
                }
                RequestError::Refused { status, error, wait } => {
                    if status == StatusCode::TOO_MANY_REQUESTS {
                        self.rate_limits.block(&call.operation, wait);
                    }
                    if !error.is_temporary() {
                        return Err(CallError { error, maybe_executed: any_maybe_executed });
                    }
                    (error, may_have_been_executed(status), wait)
                }
            };
            if maybe_executed && !call.may_repeat {
                return Err(CallError { error: outcome_unknown(error), maybe_executed });
            }
            any_maybe_executed |= maybe_executed;
            let wait = wait.unwrap_or_else(|| delays.get_or_insert_with(|| self.delays()).next_delay());
            if attempts >= self.timing.attempts || Instant::now() + wait >= deadline {
                let error = error.with_retry_after(Some(wait));
                return Err(CallError { error, maybe_executed: any_maybe_executed });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// When a call and all its retries must have ended.
    fn deadline(&self, call: &Call) -> Instant {
        let deadline = Instant::now() + self.timing.total;
        call.until.map_or(deadline, |until| until.min(deadline))
    }

    /// The request for a call.
    fn outgoing(&self, call: &Call, authorization: HeaderValue) -> Outgoing {
        let mut headers = if call.about_own_job { &self.headers_of_job } else { &self.headers }.clone();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(author) = &call.author {
            headers.insert(HeaderName::from_static(lease_protocol::AUTHOR_HEADER), author.clone());
        }
        if let Some(parent) = trace_context::current().and_then(|parent| parent.to_string().parse().ok()) {
            headers.insert(HeaderName::from_static(trace_context::HEADER), parent);
        }
        if call.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let url = format!("{}{}", self.address.base, call.path);
        Outgoing { method: call.method.clone(), url, headers, body: call.body.clone(), is_secret: false }
    }

    /// Sends a request without a token, and retries it after every temporary failure.
    pub(super) async fn exchange_repeatedly<T>(
        &self,
        operation: &'static str,
        outgoing: Outgoing,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timing.total;
        let mut delays = self.delays();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (error, wait) =
                match self.exchange(&self.unpooled, operation, outgoing.clone(), deadline).await {
                    Ok(answer) => match read(&answer) {
                        Some(read) => return Ok(read),
                        None => (self.unreadable(operation, &answer, true), None),
                    },
                    Err(RequestError::NotSent(error) | RequestError::OutcomeUnknown(error)) => (error, None),
                    Err(RequestError::Refused { error, wait, .. }) if error.is_temporary() => (error, wait),
                    Err(RequestError::Refused { error, .. }) => return Err(error),
                };
            let wait = wait.unwrap_or_else(|| delays.next_delay());
            if attempts >= self.timing.attempts || Instant::now() + wait >= deadline {
                return Err(error.with_retry_after(Some(wait)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends one request and reads its whole answer.
    async fn exchange(
        &self,
        client: &Client,
        operation: &str,
        outgoing: Outgoing,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        let (host, is_secret) = (&self.address.host, outgoing.is_secret);
        let mut request = client.request(outgoing.method, outgoing.url).headers(outgoing.headers);
        if let Some(body) = outgoing.body {
            request = request.body(body);
        }
        let until = deadline.min(Instant::now() + self.timing.request);
        let exchange = async {
            let mut response = request.send().await.map_err(|error| broken(operation, host, error))?;
            if !is_secret {
                self.note_version(response.headers());
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            let mut body = Vec::with_capacity(announced.unwrap_or(0).min(64 * 1024));
            while let Some(chunk) = response.chunk().await.map_err(|error| broken(operation, host, error))? {
                let largest = self.timing.max_answer_bytes;
                if body.len() + chunk.len() > largest {
                    let message = format!("{operation}: {host} answered with more than {largest} bytes");
                    return Err(RequestError::OutcomeUnknown(unavailable(message)));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((status, headers, body))
        };
        let answered = tokio::time::timeout_at(until, exchange).await;
        let (status, headers, body) = answered.unwrap_or_else(|_| {
            Err(RequestError::OutcomeUnknown(unavailable(format!(
                "{operation}: {host} did not answer in time"
            ))))
        })?;
        if status.is_success() {
            return Ok(Answer { status, body });
        }
        let mut failure = ErrorResponse::read(&body);
        if status.is_redirection() {
            let to = headers.get(reqwest::header::LOCATION).and_then(|to| to.to_str().ok());
            let to = to
                .and_then(|to| reqwest::Url::parse(to).ok())
                .and_then(|to| to.host_str().map(str::to_owned));
            failure.message = format!(
                "a redirection to {}, which is not followed: use the address behind it",
                to.as_deref().unwrap_or("elsewhere")
            );
        }
        let wait = answer::retry_after(&headers, &failure, self.clock.now(), &self.timing);
        let error = answer::error(operation, host, status, &failure, wait);
        Err(RequestError::Refused { error, status, wait })
    }

    /// The error for an answer that cannot be decoded. Only the title of a web page is quoted.
    fn unreadable(&self, operation: &str, answer: &Answer, is_secret: bool) -> OrchestratorError {
        let said = if is_secret { String::new() } else { ErrorResponse::read(&answer.body).message };
        let said = if said.starts_with("a web page") { said } else { "nothing that can be read".to_owned() };
        let said: String = said.chars().take(120).collect();
        unavailable(format!(
            "{operation}: {} answered {} with {said}",
            self.address.host,
            answer.status.as_u16()
        ))
    }

    fn note_version(&self, headers: &HeaderMap) {
        if let Some(version) =
            headers.get("api-supported-versions").and_then(|value| newest(value.to_str().ok()?))
        {
            self.version.store(version, Ordering::Relaxed);
        }
        if headers.get(lease_protocol::HEADER).is_some_and(|value| value == lease_protocol::VERSION) {
            self.leases.store(true, Ordering::Relaxed);
        }
    }
}

/// The call for one page of a list.
fn paged(call: &Call, page: usize) -> Call {
    let skip = (page * PAGE_LIMIT).to_string();
    call.clone().query("$top", PAGE_LIMIT.to_string()).query("$skip", skip)
}

/// Whether a request with this status may have been executed nevertheless.
fn may_have_been_executed(status: StatusCode) -> bool {
    status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

/// The error of a write that may have been executed.
fn outcome_unknown(error: OrchestratorError) -> OrchestratorError {
    error.reworded(ErrorKind::Unknown, |message| format!("{message}; whether it was executed is not known"))
}

pub(super) fn unavailable(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unavailable, message)
}

/// The error for a broken request or answer, without the URL.
fn broken(operation: &str, host: &str, error: reqwest::Error) -> RequestError {
    let error = error.without_url();
    let (not_sent, wrong) = (error.is_connect(), error.is_builder());
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(deeper) = cause {
        text = deeper.to_string();
        cause = deeper.source();
    }
    if wrong {
        return RequestError::NotSent(OrchestratorError::new(
            ErrorKind::Invalid,
            format!("{operation}: {text}"),
        ));
    }
    let action = if not_sent { "cannot be reached" } else { "broke off" };
    let failed = unavailable(format!("{operation}: {host} {action}: {text}")).with_source(error);
    if not_sent { RequestError::NotSent(failed) } else { RequestError::OutcomeUnknown(failed) }
}

/// The newest of the versions in `11.0, 20.0`.
fn newest(versions: &str) -> Option<u32> {
    versions.split(',').filter_map(|version| version.trim().split('.').next()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts() {
        assert_eq!(newest("15.0, 20.0"), Some(20));
        assert_eq!(newest("11.0"), Some(11));
        assert_eq!(newest("latest"), None);
    }

    #[test]
    fn a_web_page_is_not_a_confirmation() {
        let nothing = |body: &str| Answer { status: StatusCode::OK, body: body.into() }.nothing().is_some();
        assert!(nothing("") && nothing(" \n") && nothing("{}") && nothing("null"));
        assert!(!nothing("<html>Sign in</html>") && !nothing("OK") && !nothing("{\"a\":"));
    }
}
