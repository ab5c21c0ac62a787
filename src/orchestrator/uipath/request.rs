//! One call: sent, repeated where that is safe, and ended in time.
//!
//! Which calls may be repeated after what is the heart of it: whatever was certainly not executed may be sent again
//! (no connection, 429, 401 with a new token); a read may be sent again after anything; a write that may have been
//! executed (408, 5xx, a time-out, a broken or unreadable answer) is never sent again from here: the caller settles it
//! by looking.

use std::collections::HashMap;
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

use super::super::{ErrorKind, OrchestratorError, Result};
use super::address::Address;
use super::answer;
use super::auth::Identity;
use super::call::Call;
use super::pace::Pace;
use super::tls;
use crate::backoff::Delays;
use crate::model::clock::{Clock, SystemClock};
use crate::model::item::PAGE_LIMIT;
use crate::wire::error_response::ErrorResponse;
use crate::wire::{Collection, json, lease_protocol};

/// Everything that calls share.
#[derive(Debug)]
pub(super) struct Http {
    /// For the calls of robots and people.
    client: Client,
    /// Keeps no connections: for calls from the thread of a performer's heart, whose runtime ends before others do,
    /// and for tokens, which anybody may have to get.
    unpooled: Client,
    pub(super) address: Address,
    pub(super) identity: Identity,
    pub(super) pace: Pace,
    /// Folder, tenant, job.
    headers: HeaderMap,
    /// The same, in the folder of the job we run in.
    headers_of_job: HeaderMap,
    /// Until when an operation is to be left alone: limits are counted for each (orchestrator-api 3).
    quiet_until: Mutex<HashMap<&'static str, Instant>>,
    /// The server's version of the API; 0 while it is not known.
    version: AtomicU32,
    /// The server is performer's own: it knows leases.
    leases: AtomicBool,
    random: Mutex<fastrand::Rng>,
    clock: SystemClock,
}

/// A request as it goes out.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// A request for a token goes to somebody else, and its answer is quoted nowhere.
    pub(super) is_secret: bool,
}

/// A success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What it says, if that can be read.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        json::response(&self.body).ok()
    }

    /// An answer that says nothing: empty, or JSON that nobody needs. A web page is no such answer, whatever its
    /// status: somebody else answered.
    pub(super) fn nothing(&self) -> Option<()> {
        let empty = self.body.iter().all(u8::is_ascii_whitespace);
        (empty || self.json::<serde::de::IgnoredAny>().is_some()).then_some(())
    }
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: OrchestratorError,
    /// Whether it may have been executed all the same.
    pub(super) doubtful: bool,
}

impl From<Failed> for OrchestratorError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// What can go wrong with one request.
enum Trouble {
    /// It did not leave this machine, or reached nobody.
    NotSent(OrchestratorError),
    /// The server said no.
    Refused { error: OrchestratorError, status: StatusCode, wait: Option<Duration> },
    /// It was sent, and nobody knows what became of it.
    Doubtful(OrchestratorError),
}

impl Http {
    pub(super) fn new(
        address: Address,
        identity: Identity,
        pace: Pace,
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
                .connect_timeout(pace.connect)
                .pool_idle_timeout(Duration::from_secs(30))
                .tcp_nodelay(true);
            // What does not leave the machine, or is sent in the clear on purpose, goes to no proxy.
            if is_plain { builder.no_proxy() } else { builder }
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| {
                OrchestratorError::new(ErrorKind::Other, "the HTTP client cannot be made")
                    .because(error.without_url())
            })
        };
        Ok(Self {
            client: build(builder())?,
            unpooled: build(builder().pool_max_idle_per_host(0))?,
            address,
            identity,
            pace,
            headers,
            headers_of_job,
            quiet_until: Mutex::default(),
            version: AtomicU32::new(0),
            leases: AtomicBool::new(false),
            random: Mutex::new(fastrand::Rng::new()),
            clock: SystemClock::default(),
        })
    }

    /// The server's version of the API, where it has told it.
    pub(super) fn version(&self) -> Option<u32> {
        Some(self.version.load(Ordering::Relaxed)).filter(|version| *version > 0)
    }

    /// Whether the server is sent an `OperationId` and a `ParentOperationId`. When they came is not documented; the version
    /// of 2020 (11) does not have them, that of 2025 (20) has.
    pub(super) fn knows_operations(&self) -> bool {
        self.version().is_none_or(|version| version >= 16)
    }

    /// Whether the server is performer's own, and knows leases.
    pub(super) fn knows_leases(&self) -> bool {
        self.leases.load(Ordering::Relaxed)
    }

    /// Growing delays between repetitions.
    pub(super) fn delays(&self) -> Delays {
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
        Delays::new(self.pace.retry, random)
    }

    /// A call whose answer is JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Failed> {
        self.call(call, Answer::json).await
    }

    /// A call whose answer says nothing.
    pub(super) async fn done(&self, call: Call) -> Result<(), Failed> {
        self.call(call, Answer::nothing).await
    }

    /// Every row of a list, page by page. `most` pages at most: a server that passes over `$skip` would have no end.
    pub(super) async fn rows<T: DeserializeOwned>(&self, call: Call, most: usize) -> Result<Vec<T>, Failed> {
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

    /// Every row of a list as text, for a list of which some rows may not be readable.
    pub(super) async fn row_texts(&self, call: Call, most: usize) -> Result<Vec<Box<str>>, Failed> {
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

    /// A call. `read` makes something of its answer, or cannot.
    pub(super) async fn call<T>(&self, call: Call, read: impl Fn(&Answer) -> Option<T>) -> Result<T, Failed> {
        let deadline = Instant::now() + self.pace.total;
        let deadline = call.until.map_or(deadline, |until| until.min(deadline));
        let url = format!("{}{}", self.address.base, call.path);
        let mut delays = None;
        let mut attempts = 0;
        let mut renewed = false;
        let mut was_doubtful = false;
        loop {
            self.wait_until_it_may_be_sent(call.what, deadline).await?;
            let authorization = self.identity.authorization(self).await.map_err(not_executed)?;
            if call.until.is_some_and(|until| Instant::now() >= until) {
                let message = format!("{}: there was no token in time", call.what);
                return Err(not_executed(OrchestratorError::new(ErrorKind::Unavailable, message)));
            }
            let mut headers = if call.of_the_job { &self.headers_of_job } else { &self.headers }.clone();
            headers.insert(AUTHORIZATION, authorization.header);
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(author) = &call.author {
                headers.insert(HeaderName::from_static(lease_protocol::AUTHOR_HEADER), author.clone());
            }
            if call.body.is_some() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            let (method, body) = (call.method.clone(), call.body.clone());
            let outgoing = Outgoing { method, url: &url, headers, body, is_secret: false };
            let client = if call.by_the_heart { &self.unpooled } else { &self.client };
            attempts += 1;
            let trouble = match self.exchange(client, call.what, outgoing, deadline).await {
                Ok(answer) => match read(&answer) {
                    Some(read) => return Ok(read),
                    None => Trouble::Doubtful(self.unreadable(call.what, &answer, false)),
                },
                Err(trouble) => trouble,
            };
            let (error, doubtful, wait) = match trouble {
                Trouble::NotSent(error) => (error, false, None),
                Trouble::Doubtful(error) => (error, true, None),
                Trouble::Refused { status: StatusCode::UNAUTHORIZED, error, .. } => {
                    if renewed {
                        return Err(not_executed(error));
                    }
                    renewed = true;
                    self.identity.renew(self, authorization.generation).await.map_err(not_executed)?;
                    continue;
                }
                Trouble::Refused { status, error, wait } => {
                    if status == StatusCode::TOO_MANY_REQUESTS {
                        self.leave_alone(call.what, wait);
                    }
                    if !error.is_temporary() {
                        return Err(Failed { error, doubtful: was_doubtful });
                    }
                    (error, may_have_been_executed(status), wait)
                }
            };
            if doubtful && !call.may_repeat {
                let error = error.in_words(ErrorKind::Unknown, |message| {
                    format!("{message}; whether it was executed is not known")
                });
                return Err(Failed { error, doubtful });
            }
            was_doubtful |= doubtful;
            let wait = wait.unwrap_or_else(|| delays.get_or_insert_with(|| self.delays()).next());
            if attempts >= self.pace.attempts || Instant::now() + wait >= deadline {
                return Err(Failed { error: error.retry_in(Some(wait)), doubtful: was_doubtful });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// A request that carries no token, repeated after anything that may pass.
    pub(super) async fn exchange_repeatedly<T>(
        &self,
        what: &'static str,
        outgoing: Outgoing<'_>,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + self.pace.total;
        let mut delays = self.delays();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let again = Outgoing {
                method: outgoing.method.clone(),
                url: outgoing.url,
                headers: outgoing.headers.clone(),
                body: outgoing.body.clone(),
                is_secret: outgoing.is_secret,
            };
            let (error, wait) = match self.exchange(&self.unpooled, what, again, deadline).await {
                Ok(answer) => match read(&answer) {
                    Some(read) => return Ok(read),
                    None => (self.unreadable(what, &answer, true), None),
                },
                Err(Trouble::NotSent(error) | Trouble::Doubtful(error)) => (error, None),
                Err(Trouble::Refused { error, wait, .. }) if error.is_temporary() => (error, wait),
                Err(Trouble::Refused { error, .. }) => return Err(error),
            };
            let wait = wait.unwrap_or_else(|| delays.next());
            if attempts >= self.pace.attempts || Instant::now() + wait >= deadline {
                return Err(error.retry_in(Some(wait)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One request and its answer, whole.
    async fn exchange(
        &self,
        client: &Client,
        what: &'static str,
        outgoing: Outgoing<'_>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let (host, is_secret) = (&self.address.host, outgoing.is_secret);
        let mut request = client.request(outgoing.method, outgoing.url).headers(outgoing.headers);
        if let Some(body) = outgoing.body {
            request = request.body(body);
        }
        let until = deadline.min(Instant::now() + self.pace.request);
        let exchange = async {
            let mut response = request.send().await.map_err(|error| broken(what, host, error))?;
            if !is_secret {
                self.note_version(response.headers());
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            let mut body = Vec::with_capacity(announced.unwrap_or(0).min(64 * 1024));
            while let Some(chunk) = response.chunk().await.map_err(|error| broken(what, host, error))? {
                let largest = self.pace.largest_answer;
                if body.len() + chunk.len() > largest {
                    let message = format!("{what}: {host} answered with more than {largest} bytes");
                    return Err(Trouble::Doubtful(unavailable(message)));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((status, headers, body))
        };
        let answered = tokio::time::timeout_at(until, exchange).await;
        let (status, headers, body) = answered.unwrap_or_else(|_| {
            Err(Trouble::Doubtful(unavailable(format!("{what}: {host} did not answer in time"))))
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
        let wait = answer::retry_after(&headers, &failure, self.clock.now(), &self.pace);
        let error = answer::error(what, host, status, &failure, wait);
        Err(Trouble::Refused { error, status, wait })
    }

    /// An answer nobody can use. Of what it says only the title of a web page is repeated.
    fn unreadable(&self, what: &str, answer: &Answer, is_secret: bool) -> OrchestratorError {
        let said = if is_secret { String::new() } else { ErrorResponse::read(&answer.body).message };
        let said = if said.starts_with("a web page") { said } else { "nothing that can be read".to_owned() };
        let said: String = said.chars().take(120).collect();
        unavailable(format!("{what}: {} answered {} with {said}", self.address.host, answer.status.as_u16()))
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

    /// The server asked for a pause: nothing of this kind is sent before it is over.
    fn leave_alone(&self, what: &'static str, wait: Option<Duration>) {
        let until = Instant::now() + wait.unwrap_or_default();
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = quiet.entry(what).or_insert(until);
        *entry = until.max(*entry);
    }

    async fn wait_until_it_may_be_sent(&self, what: &'static str, deadline: Instant) -> Result<(), Failed> {
        loop {
            let until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner).get(what).copied();
            let Some(until) = until.filter(|until| *until > Instant::now()) else { return Ok(()) };
            if until >= deadline {
                let wait = until.duration_since(Instant::now());
                let message = format!("{what}: {} wants to be left alone for {wait:.0?}", self.address.host);
                return Err(not_executed(unavailable(message).retry_in(Some(wait))));
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// The call for one page of a list.
fn paged(call: &Call, page: usize) -> Call {
    let skip = (page * PAGE_LIMIT).to_string();
    call.clone().query("$top", PAGE_LIMIT.to_string()).query("$skip", skip)
}

/// Whether a request that was answered like this may have been executed all the same.
fn may_have_been_executed(status: StatusCode) -> bool {
    status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

fn not_executed(error: OrchestratorError) -> Failed {
    Failed { error, doubtful: false }
}

fn unavailable(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unavailable, message)
}

/// A request or an answer that broke on its way. The cause without the URL.
fn broken(what: &str, host: &str, error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let (not_sent, wrong) = (error.is_connect(), error.is_builder());
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(deeper) = cause {
        text = deeper.to_string();
        cause = deeper.source();
    }
    if wrong {
        return Trouble::NotSent(OrchestratorError::new(ErrorKind::Invalid, format!("{what}: {text}")));
    }
    let action = if not_sent { "cannot be reached" } else { "broke off" };
    let failed = unavailable(format!("{what}: {host} {action}: {text}")).because(error);
    if not_sent { Trouble::NotSent(failed) } else { Trouble::Doubtful(failed) }
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
    fn a_web_page_is_no_confirmation() {
        let nothing = |body: &str| Answer { status: StatusCode::OK, body: body.into() }.nothing().is_some();
        assert!(nothing("") && nothing(" \n") && nothing("{}") && nothing("null"));
        assert!(!nothing("<html>Sign in</html>") && !nothing("OK") && !nothing("{\"a\":"));
    }
}
