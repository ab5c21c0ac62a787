//! A server of our own, in this process, over a store with the test's clock; on a port that the system chooses. The test
//! fails if it panics.

use std::sync::{Arc, Mutex};

use performer::model::clock::ManualClock;
use performer::model::user::UserType;
use performer::orchestrator::local::Local;
use performer::orchestrator::uipath::{Uipath, UipathBuilder};
use performer::server::{AccessAdmin, Roles, Server, ServerBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const CLIENT: &str = "first-client";
pub const SECRET: &str = "canary-of-the-first-client";

/// A server that runs until this is dropped.
pub struct Served {
    pub url: String,
    pub store: Local,
    pub keeper: AccessAdmin,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Served {
    pub async fn start(store: Local) -> Self {
        Self::start_as(store, |server| server).await
    }

    pub async fn start_as(store: Local, as_this: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::start_on(store, "127.0.0.1:0", as_this).await
    }

    pub async fn start_on(
        store: Local,
        address: &str,
        as_this: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let builder = Server::builder(store.clone()).first_client(CLIENT, SECRET).without_maintenance();
        let server = as_this(builder).open().await.unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            server.serve(listener, async { drop(stopped.await) }).await.unwrap();
        });
        let keeper = AccessAdmin::open(&store).await.unwrap();
        Self { url, store, keeper, stop: Mutex::new(Some(stop)), running: Mutex::new(Some(running)) }
    }

    /// A client of this server, in the folder Shared.
    pub fn client(&self) -> UipathBuilder {
        Uipath::builder(&self.url)
            .client_credentials(CLIENT, SECRET)
            .scope("OrchestratorApiUserAccess")
            .folder_path("Shared")
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.end().await;
    }

    /// The same where others hold it too.
    pub async fn end(&self) {
        drop(self.stop.lock().unwrap().take());
        let running = self.running.lock().unwrap().take();
        running.unwrap().await.unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.lock().unwrap().take());
    }
}

/// Users up to this number, who may review.
pub async fn reviewers(served: &Served, up_to: i64) {
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    while served.keeper.directory().users().map(|user| user.id).max().unwrap_or(0) < up_to {
        let name = format!("reviewer-{}", served.keeper.directory().users().count());
        served.keeper.add_user(&name, UserType::User, None, &roles).await.unwrap();
    }
}

/// A store in memory with this clock.
pub fn memory(clock: Arc<ManualClock>) -> Local {
    Local::memory_with_clock(clock)
}
