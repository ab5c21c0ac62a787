//! Background tasks of a server that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::{Clock, SystemClock};
use performer::orchestrator::store::Store;
use performer::server::Server;
use serde_json::Value;
use tokio::sync::Notify;

use crate::Api;
use performer_proofs::test_server::{CLIENT, SECRET, TestServer};

/// A clock whose `elapsed` panics once when armed. Without calls only background tasks use it.
#[derive(Debug, Default)]
struct PanickingClock {
    clock: SystemClock,
    is_armed: AtomicBool,
    failed: Notify,
}

impl Clock for PanickingClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        if self.is_armed.swap(false, Ordering::Relaxed) {
            self.failed.notify_one();
            panic!("the clock fails on purpose");
        }
        self.clock.elapsed()
    }
}

#[tokio::test]
async fn a_panicking_task_is_reported_and_restarted() {
    let clock = Arc::new(PanickingClock::default());
    let store = Store::memory_with_clock(clock.clone());
    let upkeep = |_| Server::builder(store.clone()).first_client(CLIENT, SECRET);
    let api = Api::on(TestServer::start_as(store.clone(), upkeep).await).await;
    let status = async || api.send(api.request("GET", "/api/Status/Get")).await;
    assert_eq!(status().await.status, 200);
    clock.is_armed.store(true, Ordering::Relaxed);
    clock.failed.notified().await;
    let down = status().await;
    assert_eq!(down.status, 503, "{}", down.text);
    let message = down.body["message"].as_str().unwrap();
    let task = ["sweep", "directory"].into_iter().find(|task| message.contains(task));
    let task = task.unwrap_or_else(|| panic!("{message}"));
    let again =
        tokio::time::timeout(Duration::from_secs(20), async { while status().await.status != 200 {} });
    again.await.expect("the task is restarted");
    let metrics = api.call_as(&api.token, None, "GET", "/metrics", &Value::Null).await;
    let restarts = format!("performer_background_restarts_total{{task=\"{task}\"}} 1");
    assert!(metrics.text.contains(&restarts), "{}", metrics.text);
}
