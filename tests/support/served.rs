//! A server in the process of the test, and requests to it of a client that is not performer's.

use std::sync::Arc;

use performer::orchestrator::Observed;
use performer::orchestrator::store::Store;
use performer::orchestrator::uipath::Uipath;
use performer::prelude::*;
use performer::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub const CLIENT: &str = "first-client";
pub const SECRET: &str = "a secret of the test";

/// A server in this process, until this value is dropped.
pub struct Served {
    address: String,
    _stop: oneshot::Sender<()>,
}

impl Served {
    pub async fn start() -> Self {
        let store = Store::open("memory:").await.unwrap();
        let server = Server::builder(store).first_client(CLIENT, SECRET).without_maintenance();
        let server = server.open().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await.unwrap() });
        Self { address, _stop: stop }
    }

    /// What `connect` makes of its URL, without settings from the environment.
    pub async fn client(&self) -> Arc<dyn Administration> {
        let client = Uipath::builder(&format!("http://{}", self.address))
            .client_credentials(CLIENT, SECRET)
            .scope("OrchestratorApiUserAccess")
            .folder_path("Shared");
        Arc::new(Observed::new(client.connect().await.unwrap()))
    }

    /// A request of a client that knows nothing of performer; its answer, from the first brace on.
    pub async fn post(&self, path: &str, headers: &[&str], body: &str) -> serde_json::Value {
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        let length = format!("content-length: {}", body.len());
        for header in headers.iter().chain([&length.as_str()]) {
            request.push_str(header);
            request.push_str("\r\n");
        }
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}
