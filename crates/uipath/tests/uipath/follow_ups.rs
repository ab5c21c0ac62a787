//! Follow-up items on an Orchestrator that cannot add them with the result: they are added first, and a repeat is harmless.

use std::sync::Arc;
use std::time::Duration;

use performer::model::{ClaimedItem, NewJob, TransactionResult};
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{ClaimRequest, ErrorKind, FollowUp, Report};
use performer::prelude::*;
use performer::{ErrorCode, JobKey, OrchestratorError};
use serde_json::{Value, json};

use crate::connected;
use performer_proofs::scripted_orchestrator::world::World;
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

const NEXT: &str = "Payments";

/// A server with an item, and a queue for what follows.
async fn served(unique: bool) -> ScriptedOrchestrator {
    let mut world = World::new();
    world.add_queue(json!({"Name": NEXT, "EnforceUniqueReference": unique}));
    world.add("a", json!({"do": "succeed"}));
    ScriptedOrchestrator::start(world).await
}

async fn claimed(orchestrator: &Uipath) -> (JobKey, ClaimedItem) {
    let about = NewJob::new("Invoices").machine("m").process_id(1).version("1").robots(1);
    let job = orchestrator.start_job(about.lease(Duration::from_secs(30))).await.unwrap();
    let take = ClaimRequest::new("Invoices", job, 1).robot(1);
    let taken = orchestrator.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap().items;
    (job, taken.into_iter().next().unwrap())
}

async fn report(
    orchestrator: &Uipath,
    item: &ClaimedItem,
    follow_ups: Vec<FollowUp>,
) -> Result<Status, OrchestratorError> {
    let success = TransactionResult::Successful { output: None };
    let report = Report::new(item.claim, success).follow_ups(follow_ups);
    orchestrator.report_and_claim(vec![report], None).await.reports.remove(0)
}

fn payment(amount: u32) -> FollowUp {
    FollowUp::new(NEXT, NewQueueItem::new(json!({ "amount": amount })))
}

/// The amounts in the queue of the follow-ups.
fn amounts(server: &ScriptedOrchestrator) -> Vec<i64> {
    let world = server.world();
    let next = world.queues.iter().find(|queue| queue["Name"] == NEXT).unwrap()["Id"].clone();
    let there = world.items.iter().filter(|item| item["QueueDefinitionId"] == next);
    there.map(|item| item["SpecificContent"]["amount"].as_i64().unwrap()).collect()
}

fn operations(server: &ScriptedOrchestrator) -> Vec<&'static str> {
    let changes = ["AddQueueItem", "BulkAddQueueItems", "SetTransactionResult"];
    let seen = server.seen().into_iter().map(|seen| seen.operation);
    seen.filter(|operation| changes.contains(operation)).collect()
}

#[tokio::test]
async fn follow_ups_are_added_before_the_result_is_reported() {
    let server = served(false).await;
    server.world().add_queue(json!({"Name": "Archive"}));
    let orchestrator = connected(&server).await;
    assert!(orchestrator.supports_follow_ups());
    let (_, item) = claimed(&orchestrator).await;
    let archived = FollowUp::new("Archive", NewQueueItem::new(json!({})).reference("mine"));
    let follow_ups = vec![payment(1), archived, payment(2), payment(1)];
    assert_eq!(report(&orchestrator, &item, follow_ups.clone()).await.unwrap(), Status::Successful);
    assert_eq!(operations(&server), ["BulkAddQueueItems", "BulkAddQueueItems", "SetTransactionResult"]);
    assert_eq!(amounts(&server), [1, 2, 1]);
    // The result has no member that the API does not know.
    let result = server.seen_of("SetTransactionResult").remove(0).json();
    assert!(!result.to_string().contains("ollow"), "{result}");
    let references: Vec<Value> = server.seen_of("BulkAddQueueItems")[0].json()["queueItems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["Reference"].clone())
        .collect();
    let of_item = format!("performer/{}/", item.item.key);
    assert!(
        references.iter().all(|reference| reference.as_str().unwrap().starts_with(&of_item)),
        "{references:?}"
    );
    assert!(
        references[0] != references[1] && references[2] == format!("{}/2", references[0].as_str().unwrap())
    );
    assert_eq!(server.world().items.last().unwrap()["Reference"], "mine");
    // Who asks once more is told the same, and nothing is sent.
    assert_eq!(report(&orchestrator, &item, follow_ups).await.unwrap(), Status::Successful);
    assert_eq!(operations(&server).len(), 3);
}

/// The process dies after it has added the follow-ups. The next attempt gives the same ones, perhaps in another order.
#[tokio::test]
async fn a_crash_before_the_report_adds_nothing_twice() {
    for unique in [false, true] {
        let server = served(unique).await;
        server.fault("SetTransactionResult", Occurrence::Call(0), Fault::Hangs { done: false });
        let orchestrator = connected(&server).await;
        let (_, item) = claimed(&orchestrator).await;
        let error = report(&orchestrator, &item, vec![payment(1), payment(2), payment(1)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
        assert_eq!(amounts(&server), [1, 2, 1], "they are there, and the success is not recorded");
        drop(orchestrator);

        let at = server.world().items.iter().position(|there| there["Id"] == item.item.id.0).unwrap();
        server.world().items[at].insert("Status".to_owned(), json!("New")); // abandoned, and retried
        server.world().items[at].insert("RetryNumber".to_owned(), json!(1));
        let orchestrator = connected(&server).await;
        let (_, again) = claimed(&orchestrator).await;
        assert_eq!(again.item.key, item.item.key);
        let follow_ups = vec![payment(2), payment(1), payment(3), payment(1)];
        assert_eq!(report(&orchestrator, &again, follow_ups).await.unwrap(), Status::Successful);
        assert_eq!(amounts(&server), [1, 2, 1, 3], "unique: {unique}");
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_follow_ups_adds_nothing_twice() {
    for unique in [false, true] {
        for fault in [Fault::DoneButAnswered(502, String::new()), Fault::BreaksOff { done: true }] {
            let server = served(unique).await;
            server.fault("BulkAddQueueItems", Occurrence::Call(0), fault);
            let orchestrator = connected(&server).await;
            let (_, item) = claimed(&orchestrator).await;
            let mut reported = report(&orchestrator, &item, vec![payment(1), payment(2)]).await;
            if let Err(error) = &reported {
                assert_eq!((error.kind(), unique), (ErrorKind::Unknown, false), "{error:?}");
                assert_eq!(server.seen_of("SetTransactionResult").len(), 0);
                reported = report(&orchestrator, &item, vec![payment(1), payment(2)]).await;
            }
            assert_eq!(reported.unwrap(), Status::Successful);
            assert_eq!(amounts(&server), [1, 2], "unique: {unique}");
        }
    }
}

#[tokio::test]
async fn an_own_reference_that_is_there_counts_as_added() {
    let server = served(true).await;
    let orchestrator = connected(&server).await;
    let (_, item) = claimed(&orchestrator).await;
    let mine = |amount: u32| {
        let item = NewQueueItem::new(json!({ "amount": amount })).reference(format!("INV-{amount}"));
        FollowUp::new(NEXT, item)
    };
    orchestrator.add_queue_item(NEXT, mine(1).item).await.unwrap();
    assert_eq!(report(&orchestrator, &item, vec![mine(1), mine(2)]).await.unwrap(), Status::Successful);
    assert_eq!(amounts(&server), [1, 2]);
}

#[tokio::test]
async fn what_cannot_be_added_refuses_the_report() {
    let server = served(true).await;
    let orchestrator = connected(&server).await;
    let (_, item) = claimed(&orchestrator).await;
    let unknown = FollowUp::new("None", NewQueueItem::new(json!({})));
    let nested = FollowUp::new(NEXT, NewQueueItem::new(json!({"lines": [1]})));
    for (bad, code) in [(unknown, ErrorCode::ITEM_NOT_FOUND), (nested.clone(), ErrorCode::INVALID_ARGUMENT)] {
        let error = report(&orchestrator, &item, vec![payment(1), bad]).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(code)), "{error:?}");
        assert!(error.to_string().starts_with("follow-up 2 for queue "), "{error}");
    }
    assert_eq!(operations(&server), [""; 0], "what the client can know is refused before anything is added");
    // What only the server knows.
    let body = json!({"Success": false, "Message": "no", "FailedItems":
        [{"Ordinal": 2, "ErrorCode": "QueueItemSchemaViolation", "ErrorMessage": "amount is too large"}]});
    let refused =
        Fault::Refused(200, vec![("content-type", "application/json".to_owned())], body.to_string());
    server.fault("BulkAddQueueItems", Occurrence::Call(0), refused);
    let error = report(&orchestrator, &item, vec![payment(1), payment(2)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "follow-up 2 for queue \"Payments\": amount is too large");
    assert_eq!(server.seen_of("SetTransactionResult").len(), 0);
    // The claim holds.
    assert_eq!(report(&orchestrator, &item, vec![payment(1)]).await.unwrap(), Status::Successful);
}

#[tokio::test]
async fn a_claim_that_this_process_does_not_hold_adds_nothing() {
    let server = served(false).await;
    let orchestrator = connected(&server).await;
    let (job, item) = claimed(&orchestrator).await;
    orchestrator.end_job(job, performer::JobState::Stopped.into()).await.unwrap();
    assert!(report(&orchestrator, &item, vec![payment(1)]).await.unwrap_err().is_claim_lost());
    assert_eq!(operations(&server), [""; 0]);
}

#[tokio::test]
async fn a_performer_adds_them_and_fails_with_what_is_refused() {
    let server = served(false).await;
    server.world().add("b", json!({"do": "refer"}));
    let orchestrator: Arc<dyn Orchestrator> = connected(&server).await;
    let performer = Performer::from_fn("Invoices", async |content: Value, item: TransactionItem| {
        item.also_add(NEXT, NewQueueItem::new(json!({"amount": item.id().0})));
        if content["do"] == "refer" {
            item.also_add("None", NewQueueItem::new(json!({})));
        }
        Ok(())
    });
    let poll_interval = Duration::from_millis(20);
    let performer = performer.poll_interval(poll_interval).handle_signals(false);
    let summary = performer.run_until_empty(orchestrator).await.unwrap();
    assert_eq!((summary.successful, summary.retried, summary.application_exceptions), (1, 1, 1));
    assert_eq!(amounts(&server).len(), 1);
    let world = server.world();
    let failed = world.items.iter().find(|item| item["Status"] == "Failed").unwrap();
    let reason = failed["ProcessingException"]["Reason"].as_str().unwrap();
    let beginning = "the success could not be recorded: follow-up 2 for queue \"None\": ";
    assert!(reason.starts_with(beginning), "{reason}");
}
