//! Answers that are hard to read: texts truncated within a character, numbers with many digits, and unreadable items.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use performer::model::{ItemEdit, ItemFilter, Output, Page};
use performer::prelude::*;
use performer::{JobState, NewQueueItem, SpecificContent};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{client, connected, drain};
use performer_proofs::scripted_orchestrator::world::World;
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

/// Half of a surrogate pair, as it stands in JSON.
const HALF: &str = r"\ud83d";
const DIGITS: &str = r#"{"amount":1234567890123456.78,"e":1E5,"huge":1e400,"iban":100000000000000000000000000001,"x":1.50,"z":-0}"#;

/// Leaves the content behind as it is, also as the output.
struct Raw(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Transaction for Raw {
    type Content = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(
        &mut self,
        content: Box<RawValue>,
        _: &TransactionItem,
    ) -> Result<Box<RawValue>, Exception> {
        self.0.lock().unwrap().push(content.get().to_owned());
        Ok(content)
    }
}

async fn drain_raw(server: &ScriptedOrchestrator) -> (performer::JobSummary, Vec<String>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let of_robots = seen.clone();
    let summary = Performer::new("Invoices", move || Raw(of_robots.clone()))
        .poll_interval(std::time::Duration::from_millis(20))
        .handle_signals(false)
        .run_until_empty(connected(server).await)
        .await
        .unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (summary, seen)
}

#[tokio::test]
async fn texts_truncated_within_a_character_are_read() {
    let mut world = World::new();
    let id = world.add("refHALF", json!({"text": "cut HALF", "HALF": "HALFHALF", "low": "LOW!"}));
    world.add_queue(json!({"Name": "Other", "Description": "HALF", "MaxNumberOfRetries": 1,
        "AcceptAutomaticallyRetry": true}));
    let server = ScriptedOrchestrator::start(world).await;
    server.replace("HALF", HALF);
    server.replace("LOW", r"\udc00");
    let (summary, seen) = drain_raw(&server).await;
    assert_eq!((summary.state, summary.successful), (JobState::Successful, 1));
    let content: Value = serde_json::from_str(&seen[0]).unwrap();
    assert_eq!(content, json!({"text": "cut \u{fffd}", "\u{fffd}": "\u{fffd}\u{fffd}", "low": "\u{fffd}!"}));
    let orchestrator = connected(&server).await;
    let page = orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap();
    assert_eq!(page.items[0].reference.as_deref(), Some("ref\u{fffd}"));
    orchestrator.list_queues().await.unwrap();
    server
        .world()
        .comments
        .push(json!({"Id": 1, "QueueItemId": id, "Text": "HALF"}).as_object().unwrap().clone());
    assert_eq!(orchestrator.comments(page.items[0].id).await.unwrap()[0].text, "\u{fffd}");
    // An error that says so is an error like others.
    let said = r#"{"message":"cut HALF","errorCode":1009,"traceId":"00-x"}"#.replace("HALF", HALF);
    server.fault("AddQueueItem", Occurrence::Call(0), Fault::Refused(400, Vec::new(), said));
    let error =
        orchestrator.add_queue_item("Invoices", NewQueueItem::new(json!({"a": 1}))).await.unwrap_err();
    assert!(error.to_string().contains("cut \u{fffd}") && error.code().is_some(), "{error}");
}

#[tokio::test]
async fn invalid_utf8_is_read() {
    let mut world = World::new();
    world.add("a", json!({"text": "cut HALF"}));
    let server = ScriptedOrchestrator::start(world).await;
    server.replace("HALF", "BYTES");
    server.cut_bytes("BYTES", b"\xf0\x9f\x98");
    let (summary, seen) = drain_raw(&server).await;
    assert_eq!((summary.successful, seen[0].as_str()), (1, "{\"text\":\"cut \u{fffd}\"}"));
}

#[tokio::test]
async fn numbers_keep_their_digits_in_both_directions() {
    let mut world = World::new();
    world.add("a", json!("DIGITS"));
    let server = ScriptedOrchestrator::start(world).await;
    server.replace("\"DIGITS\"", DIGITS);
    let (summary, seen) = drain_raw(&server).await;
    assert_eq!((summary.successful, seen), (1, vec![DIGITS.to_owned()]));
    let sent = |operation: &str, member: &str| {
        let seen = server.seen_of(operation);
        let body = String::from_utf8(seen.last().unwrap().body.to_vec()).unwrap();
        assert!(body.contains(&format!("\"{member}\":{DIGITS}")), "{body}");
    };
    sent("SetTransactionResult", "Output");
    let orchestrator = connected(&server).await;
    let page = orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap();
    assert_eq!(page.items[0].specific_content.as_json(), DIGITS);
    // What the scripted server makes of it is not looked at: it knows 64 bits.
    server.fault("AddQueueItem", Occurrence::Always, Fault::error(400, 1009));
    server.fault("BulkAddQueueItems", Occurrence::Always, Fault::error(400, 1009));
    let item = || NewQueueItem::from_json(DIGITS);
    orchestrator.add_queue_item("Invoices", item()).await.unwrap_err();
    sent("AddQueueItem", "SpecificContent");
    let bulk = performer::CommitType::AllOrNothing;
    orchestrator.bulk_add_queue_items("Invoices", bulk, vec![item()]).await.unwrap_err();
    sent("BulkAddQueueItems", "SpecificContent");
    let waiting = server.world().add("b", json!({"a": 1}));
    server.fault("PutQueueItem", Occurrence::Always, Fault::error(400, 1009));
    let content = Some(SpecificContent::from_json(DIGITS).unwrap());
    let edit = ItemEdit::default().specific_content(content);
    orchestrator.edit_queue_item(performer::ItemId(waiting), edit).await.unwrap_err();
    sent("PutQueueItem", "SpecificContent");
    assert_eq!(Output::from_json(DIGITS).unwrap().as_json(), DIGITS);
}

/// What cannot be read is not left InProgress, and keeps nobody from the rest of the queue.
#[tokio::test]
async fn an_item_that_cannot_be_read_is_reported_as_failed() {
    for broken in [
        "\"\u{1}\"",
        r#""\x""#,
        "NaN",
        "[1]",
        "{\"a\":1} , \"RetryNumber\":\"x\"",
        "{}, \"Status\":\"Paused\"",
        "{}, \"CreationTime\":\"yesterday\"",
    ] {
        let mut world = World::new();
        let bad = world.add("bad", json!("BROKEN"));
        let good = world.add("good", json!({"do": "succeed"}));
        let server = ScriptedOrchestrator::start(world).await;
        server.replace("\"BROKEN\"", broken);
        let (summary, done) = drain(connected(&server).await, 1).await;
        let summary = summary.unwrap_or_else(|error| panic!("{broken}: {error}"));
        assert_eq!((summary.state, summary.successful), (JobState::Successful, 1), "{broken}");
        assert_eq!(done, [(good, "succeed".to_owned())], "{broken}");
        let world = server.world();
        assert_eq!(world.item(bad)["Status"], "Failed", "{broken}");
        let exception = &world.item(bad)["ProcessingException"];
        assert_eq!(exception["Type"], "BusinessException", "{broken}");
        let reason = exception["Reason"].as_str().unwrap();
        assert!(reason.starts_with("the item cannot be read: "), "{reason}");
        assert_eq!(world.recorded.iter().filter(|recorded| recorded.item == bad).count(), 1, "{broken}");
        assert!(world.handed_out.values().all(|times| *times == 1), "{broken}");
    }
}

/// Where only the answer is broken, the item itself can be read, and is worked on.
#[tokio::test]
async fn an_item_is_read_again_after_an_unreadable_answer() {
    let mut world = World::new();
    let ids = [world.add("a", json!({"do": "succeed"})), world.add("b", json!({"do": "succeed"}))];
    let server = ScriptedOrchestrator::start(world).await;
    for (call, id) in ids.iter().enumerate() {
        let body = format!(r#"{{"Key":NaN,"SpecificContent":{{"Id":7}},"Id":{id},"Status":"#);
        server.fault("StartTransaction", Occurrence::Call(call), Fault::DoneButAnswered(200, body));
    }
    let (summary, mut done) = drain(connected(&server).await, 1).await;
    assert_eq!(summary.unwrap().successful, 2);
    done.sort();
    assert_eq!(done, ids.map(|id| (id, "succeed".to_owned())));
    assert_eq!(server.seen_of("SetTransactionResult").len(), 2);
}

/// A number in an answer that nobody can trust is looked at before anything is reported.
#[tokio::test]
async fn nothing_is_reported_for_an_item_that_was_not_handed_out() {
    let mut world = World::new();
    let other = world.add("a", json!({"do": "succeed"}));
    let server = ScriptedOrchestrator::start(world).await;
    let body = format!(r#"{{"Key":NaN,"Id":{other},"Status":"#);
    server.fault("StartTransaction", Occurrence::Call(0), Fault::Refused(200, Vec::new(), body));
    let orchestrator = Arc::new(client(&server).connect().await.unwrap());
    let (summary, done) = drain(orchestrator, 1).await;
    summary.unwrap();
    assert!(done.len() <= 1);
    assert!(server.world().recorded.iter().all(|recorded| recorded.status == "Successful"));
}
