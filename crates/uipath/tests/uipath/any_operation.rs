//! Calls of any operation: what is sent, what is repeated, and how errors are told.

use performer::orchestrator::ErrorKind;
use performer::orchestrator::uipath::Uipath;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client;
use performer_proofs::scripted_orchestrator::world::{FOLDER, World};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

const ADD: &str = "/odata/Queues/UiPathODataSvc.AddQueueItem";

async fn connected() -> (ScriptedOrchestrator, Uipath) {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = client(&server).connect().await.unwrap();
    (server, orchestrator)
}

fn item() -> Value {
    json!({"itemData": {"Name": "Invoices", "Reference": "r", "SpecificContent": {"a": 1}}})
}

#[derive(Debug, Deserialize)]
struct Queues {
    value: Vec<Queue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Queue {
    name: String,
}

#[tokio::test]
async fn a_read_has_the_token_the_folder_and_an_encoded_query() {
    let (server, orchestrator) = connected().await;
    let query = [("$filter", "Name eq 'Invoices'"), ("$top", "5")];
    let queues: Queues = orchestrator.get("/odata/QueueDefinitions", &query).await.unwrap();
    assert_eq!(queues.value[0].name, "Invoices");
    let seen = server.seen_of("GetQueueDefinitions").pop().unwrap();
    assert!(seen.header("authorization").unwrap().starts_with("Bearer "));
    assert!(seen.headers.keys().any(|name| name.as_str().starts_with("x-uipath-folderpath")), "{FOLDER}");
    assert_eq!(seen.query, query.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn only_reads_are_repeated_after_they_may_have_been_executed() {
    for fault in [
        Fault::DoneButAnswered(502, String::new()),
        Fault::BreaksOff { done: true },
        Fault::Truncated { done: true },
        Fault::SignInPage { done: true },
    ] {
        let (server, orchestrator) = connected().await;
        let before = server.seen_of("GetQueueDefinitions").len();
        server.fault("GetQueueDefinitions", Occurrence::Call(before), fault.clone());
        orchestrator.get::<Queues>("/odata/QueueDefinitions", &[]).await.unwrap();
        assert_eq!(server.seen_of("GetQueueDefinitions").len(), before + 2, "{fault:?}");
        server.fault("AddQueueItem", Occurrence::Call(0), fault.clone());
        let error = orchestrator.post::<Value>(ADD, &item()).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{fault:?}: {error}");
        assert_eq!((server.seen_of("AddQueueItem").len(), server.world().items.len()), (1, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_is_repeated_if_it_was_certainly_not_executed() {
    for fault in [Fault::error(429, 0), Fault::error(401, 0)] {
        let (server, orchestrator) = connected().await;
        server.fault("AddQueueItem", Occurrence::Call(0), fault.clone());
        let added: Value = orchestrator.post(ADD, &item()).await.unwrap();
        assert_eq!(added["Reference"], "r");
        assert_eq!((server.seen_of("AddQueueItem").len(), server.world().items.len()), (2, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn errors_name_the_operation_and_never_a_key() {
    let (server, orchestrator) = connected().await;
    let failed = orchestrator.get::<Value>("/odata/Libraries('secret')", &[]).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::NotFound);
    assert!(failed.to_string().starts_with("GET /odata/Libraries: 127.0.0.1"), "{failed}");
    let before = server.seen().len();
    let failed = orchestrator.get::<Value>("/odata/../x", &[]).await.unwrap_err();
    assert_eq!((failed.kind(), server.seen().len()), (ErrorKind::Invalid, before), "{failed}");
    // An answer of another type is no reason to ask again, and quotes nothing.
    let failed = orchestrator.post::<Queues>(ADD, &item()).await.unwrap_err();
    assert_eq!((failed.kind(), server.world().items.len()), (ErrorKind::Other, 1), "{failed}");
    assert!(!failed.to_string().contains("Invoices"), "{failed}");
}

#[tokio::test]
async fn an_answer_without_a_body_is_null() {
    let (server, orchestrator) = connected().await;
    let id = server.world().add("r", json!({}));
    let path = format!("/odata/QueueItems({id})");
    orchestrator.put::<()>(&path, &json!({"Name": "Invoices", "SpecificContent": {}})).await.unwrap();
    let stop = "/odata/Jobs(77)/UiPath.Server.Configuration.OData.StopJob";
    let nothing: Option<Value> = orchestrator.post(stop, &json!({"strategy": "SoftStop"})).await.unwrap();
    assert_eq!(nothing, None);
}
