//! The span that a caller is in goes with its requests, and with the items that it adds.

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, SpanContext, TraceContextExt as _, TraceFlags, TraceState};
use performer::orchestrator::Observed;
use performer::prelude::*;
use performer_proofs::scripted_orchestrator::ScriptedOrchestrator;
use performer_proofs::scripted_orchestrator::world::World;
use serde_json::json;

use crate::client;

fn item(reference: &str) -> NewQueueItem {
    NewQueueItem::new(json!({"a": 1})).reference(reference)
}

/// The header and the member of the body, of each request that added an item.
fn added(server: &ScriptedOrchestrator) -> Vec<(Option<String>, Option<String>)> {
    let seen = server.seen_of("AddQueueItem").into_iter();
    let both = seen.map(|seen| {
        let in_body = seen.json()["itemData"]["ParentOperationId"].as_str().map(str::to_owned);
        (seen.header("traceparent").map(str::to_owned), in_body)
    });
    both.collect()
}

#[tokio::test]
async fn requests_and_items_name_the_span_of_their_caller() {
    let traceparent = format!("00-{:032x}-{:016x}-01", 17, 4);
    let span = SpanContext::new(17.into(), 4.into(), TraceFlags::SAMPLED, false, TraceState::default());
    let context = Context::new().with_remote_span_context(span);
    for (versions, in_body) in [("15.0, 20.0", true), ("11.0", false)] {
        let server = ScriptedOrchestrator::start(World::new()).await;
        server.versions(Some(versions));
        let orchestrator = client(&server).connect().with_context(context.clone()).await.unwrap();
        let orchestrator = Observed::new(orchestrator);
        orchestrator.get_queue("Invoices").with_context(context.clone()).await.unwrap();
        orchestrator.add_queue_item("Invoices", item("INV-1")).await.unwrap();
        orchestrator.add_queue_item("Invoices", item("INV-2")).with_context(context.clone()).await.unwrap();
        let mut given = item("INV-3");
        given.origin.parent_operation_id = Some("of the caller".to_owned());
        orchestrator.add_queue_item("Invoices", given).with_context(context.clone()).await.unwrap();

        let header = Some(traceparent.clone());
        let body = |text: &str| in_body.then(|| text.to_owned());
        let expected = [(None, None), (header.clone(), body(&traceparent)), (header, body("of the caller"))];
        assert_eq!(added(&server), expected, "{versions}");
        let seen = server.seen();
        let headers = |operation: &str| {
            let of_it = seen.iter().filter(|seen| seen.operation == operation);
            of_it.map(|seen| seen.header("traceparent")).collect::<Vec<_>>()
        };
        assert_eq!(headers("Token"), [None], "an identity server is somebody else");
        let reads = headers("GetQueueRetention");
        assert!(!reads.is_empty() && reads.iter().all(|read| *read == Some(&traceparent)), "{reads:?}");
    }
}
