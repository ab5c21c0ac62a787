//! Access to the request handler without a connection, for the fuzz targets in `fuzz/`. Compiled only for them, and for the
//! test that sends their seeds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, Uri, Version, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Runtime;

use super::listener::Peer;
use super::{Inner, Server, handler};
use crate::permission::Scopes;
use performer_core::model::item::NewQueueItem;
use performer_core::model::key::FolderId;
use performer_core::model::queue::NewQueueDefinition;
use performer_core::orchestrator::{Orchestrator as _, QueueAdministration as _};
use performer_store::Store;

/// Stands for the token of the server in a head.
const TOKEN: &str = "Bearer TOKEN";

/// A server over a store with a queue and an item, and a token with all permissions.
pub struct FuzzServer {
    runtime: Runtime,
    server: Arc<Inner>,
    token: String,
}

impl fmt::Debug for FuzzServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuzzServer").finish_non_exhaustive()
    }
}

impl FuzzServer {
    /// # Panics
    ///
    /// If the server cannot be opened.
    pub fn new(open: impl AsyncFnOnce() -> Store) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (server, token) = runtime.block_on(async {
            let store = open().await;
            store.create_queue(NewQueueDefinition::new("Q")).await.expect("a queue");
            let item = NewQueueItem::new(serde_json::json!({"a": 1})).reference("r");
            store.add_queue_item("Q", item).await.expect("an item");
            let server =
                Server::builder(store).first_client("fuzz", "a secret of the fuzzer").without_maintenance();
            // So that the headers of proxies and of browsers are read.
            let server =
                server.behind_proxy(true).cors_origin("https://app.example.com".parse().expect("an origin"));
            let inner = server.open().await.expect("a server").inner;
            inner.stopping.send_replace(true); // calls that wait return at once
            let user = inner.access.directory().client("fuzz").expect("the first client").user;
            let day = Duration::from_secs(86_400);
            let token = inner.access.issue(None, user, None, None, Scopes::all(), day).await;
            (inner, token.expect("a token"))
        });
        Self { runtime, server, token }
    }

    /// The status of the response to a body; `None` for a route that does not exist or takes no body.
    pub fn post(&mut self, route: &str, body: &[u8]) -> Option<u16> {
        let mut routes = Server::routes().into_iter();
        let (_, method, path, _) = routes.find(|(name, method, ..)| name == route && method != "GET")?;
        Some(self.status_of(&method, &path, body.to_vec()))
    }

    /// The status of the response to a list with this `$filter`.
    pub fn filter(&mut self, filter: &str) -> u16 {
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
        self.status_of("GET", &format!("/odata/QueueItems?$top=10&$filter={filter}"), Vec::new())
    }

    /// The status of the response to a request with any head. It has the form of HTTP/1.1: a line with the method, the URI and
    /// the version, which may be another one; the headers; and, after an empty line, the body. `Bearer TOKEN` stands for a
    /// token with all permissions. `None` if the text is no head, so that no request would come of it.
    pub fn head(&mut self, text: &[u8]) -> Option<u16> {
        let mut rest = text;
        let mut next_line = || {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = &rest[..end];
            rest = &rest[end + 1..];
            Some(line.strip_suffix(b"\r").unwrap_or(line))
        };
        let mut first = next_line()?.split(|byte| *byte == b' ');
        let (method, uri, version) = (first.next()?, first.next()?, first.next()?);
        let version = match version {
            b"HTTP/1.0" => Version::HTTP_10,
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/2" => Version::HTTP_2,
            _ => return None,
        };
        let mut request = Request::builder()
            .method(Method::from_bytes(method).ok()?)
            .uri(Uri::try_from(uri).ok()?)
            .version(version);
        loop {
            let line = next_line()?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) =
                (HeaderName::from_bytes(&line[..colon]).ok()?, line[colon + 1..].trim_ascii());
            let token = format!("Bearer {}", self.token);
            let value = if value == TOKEN.as_bytes() { token.as_bytes() } else { value };
            request = request.header(name, HeaderValue::from_bytes(value).ok()?);
        }
        let request = request.body(Body::from(rest.to_vec())).ok()?;
        Some(self.status(request))
    }

    fn status_of(&mut self, method: &str, uri: &str, body: Vec<u8>) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            // By its number: a body may give the folder another name.
            .header("x-uipath-organizationunitid", FolderId::SHARED.0)
            .body(Body::from(body))
            .expect("a request");
        self.status(request)
    }

    fn status(&mut self, request: Request) -> u16 {
        let here = Peer([127, 0, 0, 1].into());
        self.runtime.block_on(handler::handle(&self.server, here, request)).status().as_u16()
    }
}

/// Whether a status may be the response to any head: 501 is for transfer codings, which may follow in any version of HTTP.
pub fn is_expected_of_a_head(status: u16) -> bool {
    (200..500).contains(&status) || status == 501
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds of a target: their names, and their bytes.
    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut seeds: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
            .collect();
        seeds.sort();
        seeds
    }

    /// A name begins with the status of the response.
    #[test]
    fn every_seed_of_heads_is_answered_as_its_name_says() {
        let mut server = FuzzServer::new(async || Store::memory());
        let seeds = seeds("heads");
        assert!(seeds.len() > 20, "{}", seeds.len());
        for (name, head) in seeds {
            let status = server.head(&head).unwrap_or_else(|| panic!("{name} is no head"));
            assert!(name.starts_with(&format!("{status}-")), "{name}: {status}");
            assert!(is_expected_of_a_head(status), "{name}: {status}");
        }
    }

    #[test]
    fn what_is_no_head_is_no_request() {
        let mut server = FuzzServer::new(async || Store::memory());
        for text in [
            "",
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/3\n\n",
            "GET / HTTP/1.1\nhost\n\n",
        ] {
            assert_eq!(server.head(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn every_seed_of_the_other_targets_is_read_by_its_target() {
        let mut server = FuzzServer::new(async || Store::memory());
        for (name, seed) in seeds("bodies") {
            let end = seed.iter().position(|byte| *byte == b'\n').unwrap();
            let status = server.post(std::str::from_utf8(&seed[..end]).unwrap(), &seed[end + 1..]);
            assert!(status.is_some_and(|status| (200..500).contains(&status)), "{name}: {status:?}");
        }
        for (name, seed) in seeds("filter") {
            let status = server.filter(std::str::from_utf8(&seed).unwrap());
            assert!(matches!(status, 200 | 400 | 414), "{name}: {status}");
        }
    }
}
