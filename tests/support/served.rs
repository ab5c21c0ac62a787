//! A server of our own, in this process, over a store with the test's clock; on a port that the system chooses. The test
//! fails if it panics.

use std::sync::Arc;

use performer::model::clock::ManualClock;
use performer::model::user::UserType;
use performer::orchestrator::local::Local;
use performer::orchestrator::uipath::{Uipath, UipathBuilder};
use performer::server::{Keeper, Roles, Server, ServerBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const CLIENT: &str = "first-client";
pub const SECRET: &str = "canary-of-the-first-client";

/// A server that runs until this is dropped.
pub struct Served {
    pub url: String,
    pub store: Local,
    pub keeper: Keeper,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl Served {
    pub async fn start(store: Local) -> Self {
        Self::start_as(store, |server| server).await
    }

    pub async fn start_as(store: Local, as_this: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let builder = Server::builder(store.clone()).first_client(CLIENT, SECRET).without_upkeep();
        let server = as_this(builder).open().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            server.serve(listener, async { drop(stopped.await) }).await.unwrap();
        });
        let keeper = Keeper::open(&store).await.unwrap();
        Self { url, store, keeper, stop: Some(stop), running: Some(running) }
    }

    /// A client of this server, in the folder Shared.
    pub fn client(&self) -> UipathBuilder {
        Uipath::builder(&self.url)
            .client_credentials(CLIENT, SECRET)
            .scope("OrchestratorApiUserAccess")
            .folder_path("Shared")
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
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
