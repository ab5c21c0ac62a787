//! Robot logs: they are sent in batches, and logging never waits.

use std::sync::Arc;
use std::time::Duration;

use performer::model::LogLevel;
use performer::robot_logs::robot_logs;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::client;
use performer_proofs::scripted_orchestrator::world::{JOB_KEY, World};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

#[tokio::test]
async fn lines_are_sent_with_their_level_and_the_fields_of_their_spans() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = client(&server).job_key(JOB_KEY).connect().await.unwrap();
    let (layer, shipping) = robot_logs(Arc::new(orchestrator), "PostInvoices");
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("transaction", item = 17, reference = "INV-1", level = "mine");
        let _entered = span.enter();
        tracing::info!(robot = 2_u64, share = 0.5, "began");
        tracing::warn!("careful");
        tracing::error!(paid = false, "broke");
        tracing::error!(fatal = true, reason = ?Some("x"), "faulted");
        tracing::debug!("too fine");
        tracing::info!(target: "hyper::client", "of the shipping itself");
    });
    assert_eq!(shipping.finish().await, 0);
    let logs = server.world().logs.clone();
    let column =
        |name: &str| -> Vec<serde_json::Value> { logs.iter().map(|line| line[name].clone()).collect() };
    assert_eq!(column("message"), ["began", "careful", "broke", "faulted"]);
    assert_eq!(column("level"), ["Information", "Warning", "Error", "Critical"]);
    let first = &logs[0];
    assert_eq!(
        (&first["item"], &first["reference"], &first["robot"]),
        (&json!(17), &json!("INV-1"), &json!(2))
    );
    assert_eq!((&first["processName"], &first["jobId"]), (&json!("PostInvoices"), &json!(JOB_KEY)));
    assert_eq!((&first["share"], &first["level_"]), (&json!(0.5), &json!("mine")));
    assert!(first["timeStamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(server.seen_of("SubmitLogs").len(), 1, "in one batch");
}

#[tokio::test]
async fn lines_that_are_not_accepted_are_dropped_and_counted() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = client(&server).connect().await.unwrap();
    server.fault("SubmitLogs", Occurrence::Always, Fault::Refused(408, vec![], String::new()));
    let (layer, shipping) = robot_logs(Arc::new(orchestrator), "P");
    let subscriber = tracing_subscriber::registry().with(layer.lowest_level(LogLevel::Error));
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..500 {
            tracing::error!(number, "broke");
            tracing::warn!("left out");
        }
    });
    assert_eq!(shipping.finish().await, 500);
    assert!(server.world().logs.is_empty());
}

/// A burst larger than the buffer: the program goes on at once, and what did not fit is counted.
#[tokio::test]
async fn logging_does_not_wait() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = client(&server).connect().await.unwrap();
    server.fault("SubmitLogs", Occurrence::Call(0), Fault::Slow);
    let (layer, shipping) = robot_logs(Arc::new(orchestrator), "P");
    let subscriber = tracing_subscriber::registry().with(layer);
    // Nothing is awaited here, so nothing can be shipped meanwhile.
    tracing::subscriber::with_default(subscriber, || {
        (0..10_700).for_each(|number| tracing::info!(number, "line"));
    });
    assert_eq!(shipping.dropped(), 700);
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), shipping.finish()).await.unwrap(), 700);
    assert_eq!(server.world().logs.len(), 10_000);
    let numbers = server.world().logs.iter().map(|line| line["number"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(numbers.is_sorted(), "in their order");
}
