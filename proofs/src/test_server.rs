//! performer's server in the process of the test, over a store with the test's clock, on a port chosen by the system. The test
//! fails if it panics.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::model::{ManualClock, UserType};
use performer::orchestrator::store::Store;
use performer::orchestrator::uipath::{Uipath, UipathBuilder};
use performer_server::{AccessAdmin, Roles, Server, ServerBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const CLIENT: &str = "first-client";
pub const SECRET: &str = "canary-of-the-first-client";

/// A server that runs until this value is dropped.
pub struct TestServer {
    pub url: String,
    pub store: Store,
    pub access_admin: AccessAdmin,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl TestServer {
    pub async fn start(store: Store) -> Self {
        Self::start_as(store, |server| server).await
    }

    pub async fn start_as(store: Store, as_this: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::start_on(store, "127.0.0.1:0", as_this).await
    }

    pub async fn start_on(
        store: Store,
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
        let access_admin = AccessAdmin::open(&store).await.unwrap();
        Self { url, store, access_admin, stop: Mutex::new(Some(stop)), running: Mutex::new(Some(running)) }
    }

    /// A client of this server, in the folder Shared.
    pub fn client(&self) -> UipathBuilder {
        Uipath::builder(&self.url)
            .client_credentials(CLIENT, SECRET)
            .scope("OrchestratorApiUserAccess")
            .folder_path("Shared")
    }

    /// Shuts it down gracefully.
    pub async fn stop(self) {
        self.end().await;
    }

    /// Shuts it down gracefully while it is borrowed elsewhere.
    pub async fn end(&self) {
        drop(self.stop.lock().unwrap().take());
        let running = self.running.lock().unwrap().take();
        running.unwrap().await.unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.lock().unwrap().take());
    }
}

/// Adds reviewers with ids up to this one.
pub async fn reviewers(served: &TestServer, up_to: i64) {
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    while served.access_admin.directory().users().map(|user| user.id).max().unwrap_or(0) < up_to {
        let name = format!("reviewer-{}", served.access_admin.directory().users().count());
        served.access_admin.add_user(&name, UserType::User, None, &roles).await.unwrap();
    }
}

/// The key of a robot, and the token of its user, who has all permissions for ten years.
pub struct Robot {
    pub key: String,
    pub token: String,
}

/// Adds a robot.
pub async fn robot(served: &TestServer) -> Robot {
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let access = &served.access_admin;
    access.add_user("robot", UserType::Robot, None, &roles).await.unwrap();
    let key = access.add_robot("R1", "robot").await.unwrap().to_string();
    let life = Duration::from_secs(3_650 * 86_400);
    let token = access.add_token("robot", "test", "OrchestratorApiUserAccess", life).await.unwrap();
    Robot { key, token }
}

/// A memory store with this clock.
pub fn memory(clock: Arc<ManualClock>) -> Store {
    Store::memory_with_clock(clock)
}
