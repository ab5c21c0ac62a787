//! Files of buckets: who gets the token of the API, and what a storage answers.

use futures_util::{StreamExt as _, stream};
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{BucketAdministration as _, ErrorKind, FileStream, OrchestratorError};
use serde_json::{Value, json};

use crate::client;
use performer_proofs::scripted_orchestrator::world::World;
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

/// What the Orchestrator and the storage do not know by a name, they answer as they are told.
const OTHER: &str = "unknown";

fn answers(server: &ScriptedOrchestrator, call: usize, body: &Value) {
    server.fault(OTHER, Occurrence::Call(call), Fault::DoneButAnswered(200, body.to_string()));
}

/// An Orchestrator that says where a file is, and its storage.
async fn with_address(
    uri: &str,
    requires_auth: bool,
) -> (ScriptedOrchestrator, ScriptedOrchestrator, Uipath) {
    let [server, storage] =
        [ScriptedOrchestrator::start(World::new()).await, ScriptedOrchestrator::start(World::new()).await];
    let bucket =
        json!({"value": [{"Id": 5, "Name": "Files", "Identifier": "6f1c0000-0000-4000-8000-000000000001"}]});
    let uri = uri.replace("{storage}", &storage.url).replace("{own}", &server.url);
    let headers = json!({"Keys": ["x-ms-blob-type"], "Values": ["BlockBlob"]});
    let access = json!({"Uri": uri, "Verb": "PUT", "RequiresAuth": requires_auth, "Headers": headers});
    answers(&server, 0, &bucket);
    answers(&server, 1, &access);
    let orchestrator = client(&server).connect().await.unwrap();
    (server, storage, orchestrator)
}

fn content(text: &'static str) -> FileStream {
    Box::pin(stream::iter([Ok(text.into())]))
}

#[tokio::test]
async fn the_token_stays_with_the_orchestrator() {
    let (server, storage, orchestrator) = with_address("{storage}/blob?sig=secret", false).await;
    storage.fault(OTHER, Occurrence::Always, Fault::DoneButAnswered(201, String::new()));
    orchestrator.write_bucket_file("Files", "a b.pdf", Some(5), content("hello")).await.unwrap();
    let sent = storage.seen().pop().unwrap();
    assert_eq!((sent.method.as_str(), &sent.body[..]), ("PUT", &b"hello"[..]));
    assert_eq!(sent.header("authorization"), None);
    assert!(!sent.headers.keys().any(|name| name.as_str().starts_with("x-uipath")), "{:?}", sent.headers);
    assert_eq!(sent.header("x-ms-blob-type"), Some("BlockBlob"));
    assert_eq!(
        (sent.header("content-type"), sent.header("content-length")),
        (Some("application/pdf"), Some("5"))
    );
    let asked = server.seen_of(OTHER).pop().unwrap();
    assert!(asked.header("authorization").is_some());
    assert_eq!(asked.query[0], ("path".to_owned(), "/a b.pdf".to_owned()));

    // Whatever an answer says, another host does not get it.
    let (_server, storage, orchestrator) = with_address("{storage}/blob", true).await;
    let refused = orchestrator.write_bucket_file("Files", "a", Some(5), content("hello")).await.unwrap_err();
    assert!(refused.to_string().contains("token"), "{refused}");
    assert!(storage.seen().is_empty());

    let (server, _storage, orchestrator) = with_address("{own}/blob", true).await;
    server.fault(OTHER, Occurrence::Call(2), Fault::DoneButAnswered(200, "hello".to_owned()));
    let mut read = orchestrator.read_bucket_file("Files", "a").await.unwrap();
    assert_eq!(&read.next().await.unwrap().unwrap()[..], b"hello");
    assert!(server.seen_of(OTHER).pop().unwrap().header("authorization").is_some());
}

#[tokio::test]
async fn what_a_storage_refuses_is_told_without_its_address() {
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (403, ErrorKind::Unauthorized),
        (401, ErrorKind::Unauthorized),
        (409, ErrorKind::Conflict),
        (503, ErrorKind::Unavailable),
        (400, ErrorKind::Invalid),
    ] {
        let (server, storage, orchestrator) = with_address("{storage}/blob?sig=secret", false).await;
        storage.fault(OTHER, Occurrence::Always, Fault::Refused(status, Vec::new(), "no".to_owned()));
        let refused = orchestrator.read_bucket_file("Files", "a").await.err().unwrap();
        assert_eq!(refused.kind(), kind, "{status}: {refused}");
        assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
        assert_eq!(server.seen_of("Token").len(), 1, "it is no problem of the token");
    }
    let (_server, storage, orchestrator) = with_address("{storage}/blob?sig=secret", false).await;
    drop(storage);
    let refused = orchestrator.read_bucket_file("Files", "a").await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}

#[tokio::test]
async fn an_error_of_what_is_sent_is_the_callers_own() {
    let (_server, storage, orchestrator) = with_address("{storage}/blob", false).await;
    storage.fault(OTHER, Occurrence::Always, Fault::DoneButAnswered(201, String::new()));
    let broken = stream::iter([Ok("hello".into()), Err(OrchestratorError::invalid("the disk is broken"))]);
    let refused = orchestrator.write_bucket_file("Files", "a", None, Box::pin(broken)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::Invalid, "the disk is broken".to_owned()));
}

#[tokio::test]
async fn a_path_that_leads_out_is_not_sent() {
    let (server, _storage, orchestrator) = with_address("{storage}/blob", false).await;
    for path in ["../a", "%2e%2e/a", "a\\b", "//a"] {
        assert_eq!(
            orchestrator.read_bucket_file("Files", path).await.err().unwrap().kind(),
            ErrorKind::Invalid
        );
        assert_eq!(
            orchestrator.delete_bucket_file("Files", path).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    assert!(server.seen_of(OTHER).is_empty());
}
