//! Access to the request handler without a connection, for the fuzz targets in `fuzz/`. Compiled only for them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
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
            let inner = server.open().await.expect("a server").inner;
            inner.stopping.send_replace(true); // calls that wait return at once
            let user = inner.access.directory().client("fuzz").expect("the first client").user;
            let day = Duration::from_secs(86_400);
            let token = inner.access.issue(user, None, None, Scopes::all(), day).await;
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
        let here = Peer([127, 0, 0, 1].into());
        self.runtime.block_on(handler::handle(&self.server, here, request)).status().as_u16()
    }
}
