//! Background tasks of a server: one that panics, and the daily check of the certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::{Clock, ManualClock, SystemClock};
use performer::orchestrator::store::Store;
use performer::server::Server;
use serde_json::Value;
use tokio::sync::Notify;

use crate::Api;
use performer_proofs::captured_log::CapturedLog;
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

/// A certificate that was good for long when it was loaded, on a server that is not restarted. The clock of the server and
/// tokio's time go on by days.
#[tokio::test(start_paused = true)]
async fn an_expiring_certificate_is_warned_about_every_day() {
    const DAY: Duration = Duration::from_secs(86_400);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 3, 1));
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(file("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();
    let log = CapturedLog::start(tracing::Level::WARN);
    let clock = Arc::new(ManualClock::new("2026-01-02T00:00:00Z".parse().unwrap()));
    let store = Store::memory_with_clock(clock.clone());
    let server = Server::builder(store).first_client(CLIENT, SECRET).without_maintenance();
    let server = server.tls(file("cert.pem"), file("key.pem")).open().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = tokio::spawn(server.serve(listener, std::future::pending()));
    let warnings = || (log.count("expires soon"), log.count("has expired"));
    let mut seen = Vec::new();
    for day in 1..=62 {
        clock.advance(DAY);
        tokio::time::advance(DAY).await;
        tokio::time::sleep(Duration::from_millis(1)).await; // until every task has run
        let now = warnings();
        if seen.last().is_none_or(|(_, last)| *last != now) {
            seen.push((day, now));
        }
    }
    assert_eq!(seen.first(), Some(&(1, (0, 0))), "{}", log.text());
    let first = |is: &dyn Fn((usize, usize)) -> bool| seen.iter().find(|(_, now)| is(*now)).unwrap().0;
    assert!((28..=30).contains(&first(&|(soon, _)| soon > 0)), "thirty days before: {seen:?}");
    assert!((58..=59).contains(&first(&|(_, expired)| expired > 0)), "{seen:?}");
    let (soon, expired) = warnings();
    assert!((28..=31).contains(&soon) && (3..=5).contains(&expired), "once a day: {soon} and {expired}");
    served.abort();
}
