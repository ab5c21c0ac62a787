//! A scripted Orchestrator over real HTTP, with the answers of docs/reference/orchestrator-api.md and scripted faults.
//!
//! Operations have the vendor's names. A script assigns a fault to the n-th call of an operation, before or after its
//! execution, so that a lost answer after an executed call is reproducible.
#![allow(
    clippy::allow_attributes,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "shared by tests and benches, each of which uses its part; JSON is passed as it is written"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};

pub mod world;

pub use world::World;

/// The fault of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// An answer with this status, headers and body, without execution.
    Refused(u16, Vec<(&'static str, String)>, String),
    /// An answer of failure after execution.
    DoneButAnswered(u16, String),
    /// No answer at all, until the client gives up.
    Hangs { done: bool },
    /// The connection ends in the middle of the answer.
    BreaksOff { done: bool },
    /// Half of the JSON.
    Truncated { done: bool },
    /// A web page of a proxy, with status 200.
    SignInPage { done: bool },
    /// An answer that never ends.
    Huge { done: bool },
    /// Executed after a delay.
    Slow,
}

impl Fault {
    pub fn error(status: u16, code: u16) -> Self {
        let body = json!({"message": format!("code {code}"), "errorCode": code, "traceId": "00-scripted", "resourceIds": null});
        Self::Refused(status, Vec::new(), body.to_string())
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Refused(..) => false,
            Self::DoneButAnswered(..) | Self::Slow => true,
            Self::Hangs { done } | Self::BreaksOff { done } | Self::Truncated { done } => *done,
            Self::SignInPage { done } | Self::Huge { done } => *done,
        }
    }
}

/// The calls of an operation that have a fault, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Occurrence {
    Call(usize),
    Always,
}

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    pub operation: &'static str,
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub raw_query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: tokio::time::Instant,
}

impl RecordedRequest {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Default)]
struct Script {
    faults: Vec<(&'static str, Occurrence, Fault)>,
    counts: HashMap<&'static str, usize>,
    seen: Vec<RecordedRequest>,
    fired: usize,
    versions: Option<&'static str>,
    announces_leases: bool,
    replaced: Vec<(&'static str, &'static str)>,
    cut: Option<(&'static str, &'static [u8])>,
}

/// A server that runs until this value is dropped.
pub struct ScriptedOrchestrator {
    pub url: String,
    shared: Arc<Shared>,
    server: tokio::task::AbortHandle,
}

struct Shared {
    world: Mutex<World>,
    script: Mutex<Script>,
}

impl Drop for ScriptedOrchestrator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ScriptedOrchestrator {
    pub async fn start(world: World) -> Self {
        let script = Mutex::new(Script { versions: Some("15.0, 20.0"), ..Script::default() });
        let shared = Arc::new(Shared { world: Mutex::new(world), script });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle();
        Self { url, shared, server }
    }

    /// Adds a fault to the script.
    pub fn fault(&self, operation: &'static str, at: Occurrence, fault: Fault) {
        self.shared.script.lock().unwrap().faults.push((operation, at, fault));
    }

    /// Sets the header `api-supported-versions`.
    pub fn versions(&self, versions: Option<&'static str>) {
        self.shared.script.lock().unwrap().versions = versions;
    }

    /// Announces the lease protocol, as a performer server does.
    pub fn announce_leases(&self) {
        self.shared.script.lock().unwrap().announces_leases = true;
    }

    /// Replaces a text in every answer, for values that the `Value`s of the world cannot represent.
    pub fn replace(&self, text: &'static str, with: &'static str) {
        self.shared.script.lock().unwrap().replaced.push((text, with));
    }

    /// Replaces a text by bytes, which may be invalid UTF-8, in every answer without a fault.
    pub fn cut_bytes(&self, text: &'static str, bytes: &'static [u8]) {
        self.shared.script.lock().unwrap().cut = Some((text, bytes));
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap()
    }

    /// The number of calls that had a fault.
    pub fn fired(&self) -> usize {
        self.shared.script.lock().unwrap().fired
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<RecordedRequest> {
        self.shared.script.lock().unwrap().seen.clone()
    }

    /// The requests of one operation.
    pub fn seen_of(&self, operation: &str) -> Vec<RecordedRequest> {
        self.seen().into_iter().filter(|seen| seen.operation == operation).collect()
    }
}

/// Records a request, and finds its fault in the script. Also returns the API versions to announce.
fn record(shared: &Shared, seen: &RecordedRequest) -> (Option<Fault>, Option<&'static str>) {
    let mut script = shared.script.lock().unwrap();
    script.seen.push(seen.clone());
    let count = script.counts.entry(seen.operation).or_default();
    let call = *count;
    *count += 1;
    let planned = script.faults.iter().find(|(name, at, _)| {
        (*name == seen.operation || *name == "*")
            && (*at == Occurrence::Always || *at == Occurrence::Call(call))
    });
    let planned = planned.map(|(.., fault)| fault.clone());
    script.fired += usize::from(planned.is_some());
    (planned, script.versions)
}

/// The answer to a request with a fault.
async fn faulty(fault: Fault, answered: world::Answer) -> Response {
    match fault {
        Fault::Slow => {
            tokio::time::sleep(Duration::from_millis(60)).await;
            plain(answered)
        }
        Fault::Refused(status, headers, body) => {
            let mut response = plain(world::Answer { status, body });
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Fault::DoneButAnswered(status, body) => plain(world::Answer { status, body }),
        Fault::Hangs { .. } => std::future::pending().await,
        Fault::BreaksOff { .. } => {
            let half = answered.body[..answered.body.len() / 2].to_owned();
            let pieces: [Result<Bytes, std::io::Error>; 2] =
                [Ok(half.into()), Err(std::io::Error::other("the cable was pulled"))];
            Response::new(Body::from_stream(stream::iter(pieces)))
        }
        Fault::Truncated { .. } => {
            let text = if answered.body.is_empty() {
                "{\"Id\": 1"
            } else {
                &answered.body[..answered.body.len() / 2]
            };
            let text = if text.is_empty() { "{" } else { text };
            plain(world::Answer { status: 200, body: text.to_owned() })
        }
        Fault::SignInPage { .. } => {
            let mut response =
                plain(world::Answer { status: 200, body: "<html><title>Sign in</title></html>".to_owned() });
            response.headers_mut().insert("content-type", "text/html".parse().unwrap());
            response
        }
        Fault::Huge { .. } => {
            let endless =
                stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64 * 1024])));
            Response::new(Body::from_stream(endless))
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap_or_default();
    let path = percent_decoded(parts.uri.path());
    let raw_query = parts.uri.query().unwrap_or_default().to_owned();
    let query: Vec<(String, String)> = raw_query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (percent_decoded(name), percent_decoded(value)))
        .collect();
    let operation = world::operation(&parts.method, &path);
    let seen = RecordedRequest {
        operation,
        method: parts.method,
        path,
        query,
        raw_query,
        headers: parts.headers,
        body,
        at: tokio::time::Instant::now(),
    };
    let (fault, versions) = record(&shared, &seen);
    let mut answered = if fault.as_ref().is_none_or(Fault::is_done) {
        shared.world.lock().unwrap().answer(&seen)
    } else {
        world::Answer::empty(200)
    };
    for (text, with) in shared.script.lock().unwrap().replaced.iter() {
        answered.body = answered.body.replace(text, with);
    }
    let mut response = match fault {
        None => {
            let cut = shared.script.lock().unwrap().cut;
            let body = cut.map(|(text, bytes)| {
                let parts: Vec<&[u8]> = answered.body.split(text).map(str::as_bytes).collect();
                parts.join(bytes)
            });
            let mut response = plain(answered);
            if let Some(body) = body {
                *response.body_mut() = Body::from(body);
            }
            response
        }
        Some(fault) => faulty(fault, answered).await,
    };
    if let Some(versions) = versions {
        response.headers_mut().insert("api-supported-versions", versions.parse().unwrap());
    }
    if shared.script.lock().unwrap().announces_leases {
        response.headers_mut().insert("performer-leases", "1".parse().unwrap());
    }
    response
}

fn plain(answer: world::Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    let json = "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";
    response.headers_mut().insert("content-type", json.parse().unwrap());
    response.headers_mut().insert("odata-version", "4.0".parse().unwrap());
    response
}

pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind.get(..2)) {
            (b'%', Some(hex)) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
                rest = &behind[2..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}
