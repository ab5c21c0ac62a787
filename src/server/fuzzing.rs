//! What the fuzz targets in `fuzz/` reach: the server's door, without a connection. Only compiled for them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Runtime;

use super::listen::Peer;
use super::{Inner, Server, door};
use crate::model::permission::Scopes;
use crate::orchestrator::store::Store;
use crate::orchestrator::{Administration as _, Orchestrator as _};
use crate::{NewQueueDefinition, NewQueueItem};

/// A server over a store, with a queue in it, an item, and a caller who may do everything.
pub struct Door {
    runtime: Runtime,
    server: Arc<Inner>,
    token: String,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// # Panics
    ///
    /// When the server cannot be made.
    pub fn new(open: impl AsyncFnOnce() -> Store) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (server, token) = runtime.block_on(async {
            let store = open().await;
            store.create_queue(NewQueueDefinition::new("Q")).await.expect("a queue");
            let item = NewQueueItem::new(serde_json::json!({"a": 1})).reference("r");
            store.add_queue_item("Q", item).await.expect("an item");
            let server =
                Server::builder(store).first_client("fuzz", "a secret of the fuzzer").without_upkeep();
            let inner = server.open().await.expect("a server").inner;
            inner.stopping.send_replace(true); // whoever waits is answered at once
            let user = inner.access.directory().client("fuzz").expect("the first client").user;
            let day = Duration::from_secs(86_400);
            let token = inner.access.issue(user, None, None, Scopes::all(), day).await;
            (inner, token.ok().expect("a token"))
        });
        Self { runtime, server, token }
    }

    /// The status that a body is answered with; `None` for a route that there is not, or that takes none.
    pub fn ask(&mut self, route: &str, body: &[u8]) -> Option<u16> {
        let mut routes = Server::routes().into_iter();
        let (_, method, path, _) = routes.find(|(name, method, ..)| name == route && method != "GET")?;
        Some(self.answered(&method, &path, body.to_vec()))
    }

    /// The status that a list with this `$filter` is answered with.
    pub fn filter(&mut self, filter: &str) -> u16 {
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
        self.answered("GET", &format!("/odata/QueueItems?$top=10&$filter={filter}"), Vec::new())
    }

    fn answered(&mut self, method: &str, uri: &str, body: Vec<u8>) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-uipath-folderpath", "Shared")
            .body(Body::from(body))
            .expect("a request");
        let here = Peer([127, 0, 0, 1].into());
        self.runtime.block_on(door::answer(&self.server, here, request)).status().as_u16()
    }
}
