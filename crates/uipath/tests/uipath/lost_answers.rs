//! Lost answers: the recovery of claimed items, and the check of reports and other calls with an unknown outcome.

use std::sync::Arc;
use std::time::Duration;

use performer::model::{ClaimedItem, NewJob, TransactionResult};
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{ClaimRequest, ErrorKind, Report};
use performer::prelude::*;
use performer::{ExceptionType, JobKey, JobState, ProcessingException};
use serde_json::{Value, json};

use crate::{client, connected, drain};
use performer_proofs::scripted_orchestrator::world::{ROBOT_ID, World, row_version};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

async fn started(orchestrator: &Uipath) -> JobKey {
    let about = NewJob::new("Invoices")
        .machine("m")
        .process_id(1)
        .version("1")
        .robots(1)
        .lease(Duration::from_secs(30));
    orchestrator.start_job(about).await.unwrap()
}

async fn take(
    orchestrator: &Uipath,
    job: JobKey,
) -> Result<Option<ClaimedItem>, performer::OrchestratorError> {
    let take = ClaimRequest::new("Invoices", job, 1).robot(1);
    Ok(orchestrator.report_and_claim(Vec::new(), Some(take)).await.claimed?.items.into_iter().next())
}

async fn report(
    orchestrator: &Uipath,
    item: &ClaimedItem,
    result: TransactionResult,
) -> Result<Status, performer::OrchestratorError> {
    let report = Report::new(item.claim, result);
    orchestrator.report_and_claim(vec![report], None).await.reports.remove(0)
}

fn success() -> TransactionResult {
    TransactionResult::Successful { output: None }
}

fn failure() -> TransactionResult {
    let exception =
        ProcessingException::new(ExceptionType::ApplicationException, "down", jiff::Timestamp::UNIX_EPOCH);
    TransactionResult::Failed { exception: Some(exception), defer_date: None }
}

/// A server with items, and a client with a job on it.
async fn at_work(items: usize) -> (ScriptedOrchestrator, Arc<Uipath>, JobKey) {
    let mut world = World::new();
    for number in 0..items {
        world.add(&format!("r{number}"), json!({"do": "succeed"}));
    }
    let server = ScriptedOrchestrator::start(world).await;
    let orchestrator = connected(&server).await;
    let job = started(&orchestrator).await;
    (server, orchestrator, job)
}

#[tokio::test]
async fn a_result_whose_answer_was_lost_is_not_sent_again() {
    let (server, orchestrator, job) = at_work(2).await;
    for (call, fault) in
        [(0, Fault::DoneButAnswered(502, String::new())), (1, Fault::BreaksOff { done: true })]
    {
        server.fault("SetTransactionResult", Occurrence::Call(call), fault);
        let item = take(&orchestrator, job).await.unwrap().unwrap();
        assert_eq!(report(&orchestrator, &item, failure()).await.unwrap(), Status::Retried);
        assert_eq!(server.seen_of("SetTransactionResult").len(), call + 1);
        // Who asks once more is told the same, and nothing is sent.
        assert_eq!(report(&orchestrator, &item, failure()).await.unwrap(), Status::Retried);
        assert!(report(&orchestrator, &item, success()).await.unwrap_err().is_claim_lost());
        assert_eq!(server.seen_of("SetTransactionResult").len(), call + 1);
    }
}

#[tokio::test]
async fn a_result_that_was_not_recorded_is_unknown_once_and_then_sent_again() {
    let (server, orchestrator, job) = at_work(1).await;
    server.fault("SetTransactionResult", Occurrence::Call(0), Fault::Hangs { done: false });
    let item = take(&orchestrator, job).await.unwrap().unwrap();
    assert_eq!(report(&orchestrator, &item, success()).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(report(&orchestrator, &item, success()).await.unwrap(), Status::Successful);
    assert_eq!(server.world().recorded.len(), 1);
}

#[tokio::test]
async fn a_claim_that_is_lost_changes_nothing() {
    let (server, orchestrator, job) = at_work(3).await;
    for status in ["Abandoned", "Deleted", "Failed"] {
        let item = take(&orchestrator, job).await.unwrap().unwrap();
        let at = server.world().items.iter().position(|there| there["Id"] == item.item.id.0).unwrap();
        server.world().items[at].insert("Status".to_owned(), json!(status));
        let error = report(&orchestrator, &item, success()).await.unwrap_err();
        assert!(error.is_claim_lost(), "{status}: {error:?}");
        let progress = orchestrator.set_transaction_progress(item.claim, "x".to_owned()).await.unwrap_err();
        assert!(progress.is_claim_lost(), "{progress:?}");
        assert_eq!(server.world().items[at]["Status"], status);
    }
    let gone = server.world().add("gone", json!({}));
    let item = take(&orchestrator, job).await.unwrap().unwrap();
    server.world().items.retain(|item| item["Id"] != gone);
    assert!(report(&orchestrator, &item, success()).await.unwrap_err().is_claim_lost());
}

/// Where the answer is lost, the item is found by the robot's number, which earlier items told.
#[tokio::test]
async fn an_item_whose_answer_was_lost_is_recovered() {
    let (server, orchestrator, job) = at_work(4).await;
    let first = take(&orchestrator, job).await.unwrap().unwrap();
    for fault in [
        Fault::Hangs { done: true },
        Fault::Truncated { done: true },
        Fault::DoneButAnswered(503, String::new()),
    ] {
        server.fault("StartTransaction", Occurrence::Call(server.seen_of("StartTransaction").len()), fault);
        let item = take(&orchestrator, job).await.unwrap().expect("the item whose answer was lost");
        assert_ne!(item.item.id, first.item.id);
        assert_eq!(report(&orchestrator, &item, success()).await.unwrap(), Status::Successful);
    }
    assert_eq!(server.seen_of("StartTransaction").len(), 4);
    assert!(server.world().handed_out.values().all(|times| *times == 1));
}

/// A server may do what it was asked for long after nobody waits for the answer any more.
#[tokio::test]
async fn an_item_handed_out_after_the_time_out_is_recovered_later() {
    let mut world = World::new();
    world.add("first", json!({"do": "succeed"}));
    let server = ScriptedOrchestrator::start(world).await;
    let orchestrator = connected(&server).await;
    let (summary, _) = drain(orchestrator.clone(), 1).await; // it knows its robot now
    assert_eq!(summary.unwrap().successful, 1);
    let late = server.world().add("late", json!({"do": "succeed"}));
    server.world().items[1].insert("Status".to_owned(), json!("Elsewhere"));
    server.fault(
        "StartTransaction",
        Occurrence::Call(server.seen_of("StartTransaction").len()),
        Fault::Hangs { done: false },
    );
    let performer = tokio::spawn(drain(orchestrator.clone(), 1));
    while server.seen_of("GetQueueItems").iter().filter(|call| call.raw_query.contains("InProgress")).count()
        < 3
    {
        tokio::task::yield_now().await; // until it has looked in vain
    }
    let now = server.world().items[0]["EndProcessing"].clone();
    let handed_out = json!({"Status": "InProgress", "RobotId": ROBOT_ID, "StartProcessing": now, "RowVersion": row_version(9)});
    server.world().items[1].extend(handed_out.as_object().unwrap().clone());
    server.world().handed_out.insert(late, 1);
    let (summary, done) = performer.await.unwrap();
    assert_eq!((summary.unwrap().successful, done), (1, vec![(late, "succeed".to_owned())]));
}

#[tokio::test]
async fn a_dropped_claim_is_recovered() {
    let (server, orchestrator, job) = at_work(3).await;
    let first = take(&orchestrator, job).await.unwrap().unwrap();
    server.fault("StartTransaction", Occurrence::Call(1), Fault::Hangs { done: true });
    server.fault("StartTransaction", Occurrence::Call(2), Fault::Hangs { done: true });
    for call in [2, 3] {
        tokio::select! {
            biased;
            _ = take(&orchestrator, job) => panic!("the server hangs"),
            () = async { while server.world().handed_out.len() < call { tokio::task::yield_now().await } } => {}
        }
        if call == 2 {
            let second = take(&orchestrator, job).await.unwrap().expect("what was handed out to nobody");
            assert_eq!(report(&orchestrator, &second, success()).await.unwrap(), Status::Successful);
        }
    }
    // The last one is given back when the job ends; what a robot still holds is named.
    let left = orchestrator.end_job(job, JobState::Stopped.into()).await.unwrap();
    assert_eq!(left.abandoned, 1);
    let statuses: Vec<Value> = server.world().items.iter().map(|item| item["Status"].clone()).collect();
    assert_eq!(statuses, [json!("InProgress"), json!("Successful"), json!("New")]);
    assert!(report(&orchestrator, &first, success()).await.unwrap_err().is_claim_lost(), "the job has ended");
}

/// Two processes with one robot key cannot tell their items apart: then nothing is taken up.
#[tokio::test]
async fn a_shared_robot_key_is_detected() {
    let (server, orchestrator, job) = at_work(4).await;
    take(&orchestrator, job).await.unwrap().unwrap();
    let other = client(&server).in_process(2).connect().await.unwrap();
    let of_other = started(&other).await;
    take(&other, of_other).await.unwrap().unwrap();
    server.fault("StartTransaction", Occurrence::Call(2), Fault::Hangs { done: true });
    let error = take(&orchestrator, job).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    let next = take(&orchestrator, job).await.unwrap().unwrap();
    assert_eq!(server.world().handed_out[&next.item.id.0], 1, "it is nobody else's");
}

/// Where it is known that others use the robot, nothing is taken up by its number at all; where it shows, from then on.
#[tokio::test]
async fn items_of_a_shared_robot_are_never_recovered() {
    for (is_told, first_shows_it) in [(true, false), (false, true)] {
        let (server, orchestrator, job) = at_work(5).await;
        let orchestrator = if is_told {
            Arc::new(client(&server).robot_is_shared().in_process(7).connect().await.unwrap())
        } else {
            orchestrator
        };
        let job = if is_told { started(&orchestrator).await } else { job };
        take(&orchestrator, job).await.unwrap().unwrap();
        let other = client(&server).in_process(8).connect().await.unwrap();
        let of_other = started(&other).await;
        if first_shows_it {
            take(&other, of_other).await.unwrap().unwrap();
            server.fault(
                "StartTransaction",
                Occurrence::Call(server.seen_of("StartTransaction").len()),
                Fault::Hangs { done: true },
            );
            take(&orchestrator, job).await.unwrap_err();
        }
        // Ours was not executed, and the other process took one: one is missing and one is there, and they are not the same.
        let lost = server.seen_of("StartTransaction").len();
        server.fault("StartTransaction", Occurrence::Call(lost), Fault::Hangs { done: false });
        let (ours, theirs) = tokio::join!(take(&orchestrator, job), async {
            while server.seen_of("StartTransaction").len() == lost {
                tokio::task::yield_now().await;
            }
            take(&other, of_other).await.unwrap().unwrap()
        });
        assert_eq!(ours.unwrap_err().kind(), ErrorKind::Unknown);
        let next = take(&orchestrator, job).await;
        assert!(
            next.as_ref()
                .map_or(true, |next| next.as_ref().is_none_or(|next| next.item.id != theirs.item.id)),
            "{next:?}"
        );
    }
}

/// Somebody in between says that nothing is there, twice: what was done is not thrown away for that.
#[tokio::test]
async fn a_404_of_a_proxy_does_not_lose_the_claim() {
    let (server, orchestrator, job) = at_work(1).await;
    let item = take(&orchestrator, job).await.unwrap().unwrap();
    let page = || Fault::Refused(404, vec![], "404 page not found".to_owned());
    server.fault("SetTransactionResult", Occurrence::Call(0), page());
    server.fault("GetQueueItem", Occurrence::Call(server.seen_of("GetQueueItem").len()), page());
    let error = report(&orchestrator, &item, success()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert_eq!(report(&orchestrator, &item, success()).await.unwrap(), Status::Successful);
    assert_eq!(server.world().recorded.len(), 1);
}

/// The server is gone for a while right after it has handed an item out: the item is found when it is back, and the robot
/// is not taken for one that others use.
#[tokio::test]
async fn an_outage_right_after_a_claim_loses_nothing() {
    let (server, orchestrator, job) = at_work(3).await;
    take(&orchestrator, job).await.unwrap().unwrap();
    let calls = server.seen_of("StartTransaction").len();
    server.fault("StartTransaction", Occurrence::Call(calls), Fault::DoneButAnswered(502, String::new()));
    let lists = server.seen_of("GetQueueItems").len();
    for number in 0..40 {
        server.fault("StartTransaction", Occurrence::Call(calls + 1 + number), Fault::error(503, 0));
        server.fault("GetQueueItems", Occurrence::Call(lists + number), Fault::error(503, 0));
    }
    let mut references = Vec::new();
    while references.len() < 2 {
        if let Ok(Some(item)) = take(&orchestrator, job).await {
            references.push(item.item.reference.clone().unwrap());
        }
    }
    references.sort();
    assert_eq!(references, ["r1", "r2"]);
    assert!(server.world().handed_out.values().all(|times| *times == 1));
}

/// Two performers of one process that stop together: what got lost goes back into the queue.
#[tokio::test]
async fn the_last_job_of_a_queue_gives_back_recovered_items() {
    let (server, orchestrator, first) = at_work(4).await;
    let second = started(&orchestrator).await;
    take(&orchestrator, first).await.unwrap().unwrap();
    take(&orchestrator, second).await.unwrap().unwrap();
    let calls = server.seen_of("StartTransaction").len();
    server.fault("StartTransaction", Occurrence::Call(calls), Fault::Hangs { done: true });
    tokio::select! {
        biased;
        _ = take(&orchestrator, second) => panic!("the server hangs"),
        () = async { while server.world().handed_out.len() < 3 { tokio::task::yield_now().await } } => {}
    }
    let (first, second) = tokio::join!(
        orchestrator.end_job(first, JobState::Stopped.into()),
        orchestrator.end_job(second, JobState::Stopped.into())
    );
    assert_eq!(first.unwrap().abandoned + second.unwrap().abandoned, 2, "what the robots held");
    let waiting = server.world().items.iter().filter(|item| item["Status"] == "New").count();
    let in_progress = server.world().items.iter().filter(|item| item["Status"] == "InProgress").count();
    assert_eq!((waiting, in_progress), (2, 2));
}

/// One odd item in the list of a queue keeps nobody from the others.
#[tokio::test]
async fn an_unreadable_item_does_not_stop_the_queue() {
    let (server, orchestrator, job) = at_work(4).await;
    take(&orchestrator, job).await.unwrap().unwrap();
    let odd = json!({"Status": "InProgress", "RobotId": ROBOT_ID, "DueDate": "9999-12-31T23:59:59.9999999Z", "RowVersion": 7, "RetryNumber": "x"});
    let at = server.world().items.iter().position(|item| item["Status"] == "New").unwrap();
    server.world().items[at].extend(odd.as_object().unwrap().clone());
    server.fault(
        "StartTransaction",
        Occurrence::Call(server.seen_of("StartTransaction").len()),
        Fault::Hangs { done: true },
    );
    let lost = take(&orchestrator, job).await.unwrap().expect("the lost one is found beside the odd one");
    assert_eq!(report(&orchestrator, &lost, success()).await.unwrap(), Status::Successful);
    assert!(take(&orchestrator, job).await.unwrap().is_some());
    let again = client(&server).in_process(3).connect().await.unwrap();
    started(&again).await;
}

/// What a bulk add has added stays added, and is told, when a later part cannot be sent.
#[tokio::test]
async fn a_failed_bulk_add_reports_what_was_added() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    // A body of a thousand items takes a while on a busy machine.
    let orchestrator = client(&server).request_timeout(Duration::from_secs(30)).connect().await.unwrap();
    let items =
        |count: usize| (0..count).map(|number| NewQueueItem::new(json!({"n": number}))).collect::<Vec<_>>();
    server.fault("BulkAddQueueItems", Occurrence::Call(1), Fault::error(403, 0));
    let all = performer::CommitType::ProcessAllIndependently;
    let added = orchestrator.bulk_add_queue_items("Invoices", all, items(2_500)).await.unwrap();
    assert_eq!((added.added, added.failed.len(), server.world().items.len()), (1_000, 1_500, 1_000));
    assert_eq!((added.failed[0].ordinal, added.failed[1_499].ordinal), (1_001, 2_500));
    server.fault("BulkAddQueueItems", Occurrence::Call(3), Fault::BreaksOff { done: true });
    let error = orchestrator.bulk_add_queue_items("Invoices", all, items(1_500)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert!(error.to_string().starts_with("1000 items were added, and then"), "{error}");
}

/// The second of two bulk adds is told that everything is there already, and the list is behind.
#[tokio::test]
async fn a_repeated_bulk_add_recognises_its_own_items() {
    let mut world = World::new();
    world.queues[0].insert("EnforceUniqueReference".to_owned(), json!(true));
    let server = ScriptedOrchestrator::start(world).await;
    let orchestrator = connected(&server).await;
    let items = |from: u32| {
        (from..from + 3)
            .map(|number| NewQueueItem::new(json!({"n": number})).reference(format!("r{number}")))
            .collect::<Vec<_>>()
    };
    server.fault("BulkAddQueueItems", Occurrence::Call(0), Fault::Hangs { done: true });
    server.fault(
        "GetQueueItems",
        Occurrence::Call(0),
        Fault::Refused(200, vec![], r#"{"value":[]}"#.to_owned()),
    );
    let all = performer::CommitType::ProcessAllIndependently;
    let added = orchestrator.bulk_add_queue_items("Invoices", all, items(0)).await.unwrap();
    assert_eq!((added.added, added.failed.len(), server.world().items.len()), (3, 0, 3));
    let added = orchestrator.bulk_add_queue_items("Invoices", all, items(2)).await.unwrap();
    assert_eq!((added.added, added.failed.len(), server.world().items.len()), (2, 1, 5));

    // A call that broke off in the middle had added the first of three, and the list does not show it yet.
    orchestrator.add_queue_item("Invoices", items(20).swap_remove(0)).await.unwrap();
    let calls = (server.seen_of("BulkAddQueueItems").len(), server.seen_of("GetQueueItems").len());
    server.fault("BulkAddQueueItems", Occurrence::Call(calls.0), Fault::Hangs { done: false });
    server.fault(
        "GetQueueItems",
        Occurrence::Call(calls.1),
        Fault::Refused(200, vec![], r#"{"value":[]}"#.to_owned()),
    );
    let stop = performer::CommitType::StopOnFirstFailure;
    let added = orchestrator.bulk_add_queue_items("Invoices", stop, items(20)).await.unwrap();
    assert_eq!((added.added, added.failed.len(), server.world().items.len()), (3, 0, 8));
}

/// A server that confirms and does nothing.
#[tokio::test]
async fn an_item_that_does_not_go_back_is_reported_again() {
    let (server, orchestrator, job) = at_work(1).await;
    let item = take(&orchestrator, job).await.unwrap().unwrap();
    server.fault("SetTransactionResult", Occurrence::Call(0), Fault::Refused(200, vec![], String::new()));
    let error = report(&orchestrator, &item, TransactionResult::GivenBack).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert_eq!(report(&orchestrator, &item, TransactionResult::GivenBack).await.unwrap(), Status::New);
    assert_eq!(server.world().items[0]["Status"], "New");
}

/// The item is handed out here again before it is known that it went back.
#[tokio::test]
async fn an_item_claimed_twice_has_two_claims() {
    let (server, orchestrator, job) = at_work(1).await;
    let first = take(&orchestrator, job).await.unwrap().unwrap();
    let asked = server.seen_of("GetQueueItem").len();
    // Two minutes are 1.2 s in a hurry; what is given back is due in one.
    let later = Fault::Refused(503, vec![("retry-after", "120".to_owned())], String::new());
    server.fault("GetQueueItem", Occurrence::Call(asked), later);
    let (status, second) = tokio::join!(report(&orchestrator, &first, TransactionResult::GivenBack), async {
        while server.seen_of("GetQueueItem").len() == asked {
            tokio::task::yield_now().await;
        }
        loop {
            if let Some(item) = take(&orchestrator, job).await.unwrap() {
                return item;
            }
        }
    });
    assert_eq!(status.unwrap(), Status::New);
    assert_eq!((second.item.id, second.claim == first.claim), (first.item.id, false));
    assert_eq!(report(&orchestrator, &second, success()).await.unwrap(), Status::Successful);
    assert_eq!(report(&orchestrator, &second, success()).await.unwrap(), Status::Successful);
}

/// Archived items stay archived, whatever else changes.
#[tokio::test]
async fn changing_a_retention_keeps_archiving() {
    let (server, orchestrator, _) = at_work(0).await;
    let archive =
        json!({"QueueDefinitionId": 100, "Action": "Archive", "Period": 20, "BucketId": 5, "Type": "Final"});
    server.world().retention.insert((100, "Final".to_owned()), archive);
    let there = orchestrator.get_queue("Invoices").await.unwrap();
    assert_eq!(there.policy.retention_days, 20);
    let policy = there.policy.max_number_of_retries(2).retention_days(25);
    orchestrator.update_queue("Invoices", NewQueueDefinition::new("Invoices").policy(policy)).await.unwrap();
    let sent = server.seen_of("PutQueueRetention");
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0].json()["Action"], &sent[0].json()["BucketId"]), (&json!("Archive"), &json!(5)));
}

/// What another process took before our take was sent is not what got lost.
#[tokio::test]
async fn items_started_before_the_claim_are_not_recovered() {
    let (server, orchestrator, job) = at_work(3).await;
    take(&orchestrator, job).await.unwrap().unwrap();
    let minute_ago = json!("2026-01-01T00:00:00Z");
    let of_other = json!({"Status": "InProgress", "RobotId": ROBOT_ID, "StartProcessing": minute_ago});
    server.world().items[1].extend(of_other.as_object().unwrap().clone());
    server.fault("StartTransaction", Occurrence::Call(1), Fault::Hangs { done: false });
    let error = take(&orchestrator, job).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert_eq!(take(&orchestrator, job).await.unwrap().unwrap().item.reference.as_deref(), Some("r2"));
}

/// What a run that died left behind is not taken for an item whose answer was lost.
#[tokio::test]
async fn items_in_progress_at_the_start_of_a_job_are_not_recovered() {
    let (server, first, job) = at_work(3).await;
    take(&first, job).await.unwrap().unwrap();
    let second = client(&server).in_process(2).connect().await.unwrap();
    let job = started(&second).await;
    take(&second, job).await.unwrap().unwrap(); // now it knows its robot, and starts once more
    second.end_job(job, JobState::Successful.into()).await.unwrap();
    let job = started(&second).await;
    server.fault("StartTransaction", Occurrence::Call(2), Fault::Hangs { done: true });
    let item = take(&second, job).await.unwrap().unwrap();
    assert_eq!(item.item.reference.as_deref(), Some("r2"));
}

#[tokio::test]
async fn an_item_without_a_unique_reference_is_not_added_twice() {
    let (server, orchestrator, _) = at_work(0).await;
    server.fault("AddQueueItem", Occurrence::Call(0), Fault::DoneButAnswered(503, String::new()));
    let error =
        orchestrator.add_queue_item("Invoices", NewQueueItem::new(json!({"a": 1}))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert!(error.to_string().ends_with("whether it was executed is not known"), "{error}");
    assert_eq!((server.seen_of("AddQueueItem").len(), server.world().items.len()), (1, 1));
}

#[tokio::test]
async fn a_duplicate_of_an_earlier_item_is_refused() {
    let mut world = World::new();
    world.queues[0].insert("EnforceUniqueReference".to_owned(), json!(true));
    let server = ScriptedOrchestrator::start(world).await;
    let orchestrator = connected(&server).await;
    let item = |content: Value| NewQueueItem::new(content).reference("O'Neil");
    orchestrator.add_queue_item("Invoices", item(json!({"a": 1}))).await.unwrap();
    let error = orchestrator.add_queue_item("Invoices", item(json!({"a": 1}))).await.unwrap_err();
    assert_eq!(error.code(), Some(performer::ErrorCode::DUPLICATE_REFERENCE));
    // Also when the answer to the first of two was lost, and another item has the reference.
    server.fault("AddQueueItem", Occurrence::Call(2), Fault::Hangs { done: true });
    let error = orchestrator.add_queue_item("Invoices", item(json!({"a": 2}))).await.unwrap_err();
    assert_eq!(error.code(), Some(performer::ErrorCode::DUPLICATE_REFERENCE));
    assert_eq!(server.world().items.len(), 1);
}

/// How a postponement looks on the wire is documented for the vendor's activity only: a server that takes it for the end of
/// the attempt is found out at once.
#[tokio::test]
async fn a_server_that_does_not_postpone_is_detected_with_the_first_item() {
    for status in ["Failed", "Retried", "Successful"] {
        let (server, orchestrator, job) = at_work(2).await;
        let item = take(&orchestrator, job).await.unwrap().unwrap();
        let id = item.item.id.0;
        server.fault("SetTransactionResult", Occurrence::Call(0), Fault::Refused(200, vec![], String::new()));
        server.world().items[0].insert("Status".to_owned(), json!(status));
        let error = report(&orchestrator, &item, TransactionResult::GivenBack).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let said =
            format!("item {id} was to go back into the queue, and this Orchestrator recorded it as {status}");
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}

/// Nobody works on for a server on which postponed work is Successful.
#[tokio::test]
async fn a_job_ends_faulted_when_its_postponement_made_the_item_successful() {
    let mut world = World::new();
    let id = world.add("a", json!({"do": "postpone"}));
    world.add("b", json!({"do": "succeed"}));
    let server = ScriptedOrchestrator::start(world).await;
    server.fault("SetTransactionResult", Occurrence::Call(0), Fault::Refused(200, vec![], String::new()));
    let orchestrator = connected(&server).await;
    let spoil = async {
        while server.seen_of("SetTransactionResult").is_empty() {
            tokio::task::yield_now().await;
        }
        server.world().items[0].insert("Status".to_owned(), json!("Successful"));
    };
    // The item is read when its status is already wrong.
    let looks = server.seen_of("GetQueueItem").len();
    let later = Fault::Refused(503, vec![("retry-after", "20".to_owned())], String::new());
    for look in looks..looks + 3 {
        server.fault("GetQueueItem", Occurrence::Call(look), later.clone());
    }
    let ((summary, _), ()) = tokio::join!(drain(orchestrator, 1), spoil);
    let error = summary.unwrap_err().to_string();
    assert!(error.contains(&format!("item {id} was to go back")), "{error}");
    assert!(error.contains("recorded it as Successful instead"), "{error}");
}

/// Postponing says IsSuccessful and a date that lies ahead of the server's clock, however far that is from ours, and also
/// for an item that was found long after it was handed out.
#[tokio::test]
async fn items_given_back_have_a_date_after_the_servers_clock() {
    let (server, orchestrator, job) = at_work(3).await;
    server.fault("StartTransaction", Occurrence::Call(1), Fault::Hangs { done: true });
    // The second is found, because its answer was lost; the third is postponed to a time that a call may not reach.
    for number in 0..3 {
        let item = take(&orchestrator, job).await.unwrap().unwrap();
        let reported = performer_proofs::scripted_orchestrator::world::now();
        let soon = reported + Duration::from_millis(50);
        let postponed = TransactionResult::Postponed { defer_date: soon, due_date: None };
        let result = if number == 2 { postponed } else { TransactionResult::GivenBack };
        assert_eq!(report(&orchestrator, &item, result.clone()).await.unwrap(), Status::New, "{result:?}");
        let sent = server.seen_of("SetTransactionResult").pop().unwrap().json();
        let sent = &sent["transactionResult"];
        assert_eq!(sent["IsSuccessful"], true, "{result:?}");
        let date: jiff::Timestamp = sent["DeferDate"].as_str().unwrap().parse().unwrap();
        // That it was ahead when the server read it, too, its answer says: New.
        let ahead = date.duration_since(reported);
        assert!(ahead.is_positive() && ahead.as_secs() < 10, "{result:?}: {ahead:?}");
    }
    assert!(server.world().items.iter().all(|item| item["Status"] == "New"));
}

#[tokio::test]
async fn reviews_whose_answers_were_lost_are_verified() {
    let (server, orchestrator, job) = at_work(1).await;
    let item = take(&orchestrator, job).await.unwrap().unwrap();
    let refused =
        ProcessingException::new(ExceptionType::BusinessException, "no", jiff::Timestamp::UNIX_EPOCH);
    let failed = TransactionResult::Failed { exception: Some(refused), defer_date: None };
    report(&orchestrator, &item, failed).await.unwrap();
    let failed = orchestrator.get_queue_item(item.item.id).await.unwrap();
    server.fault("SetItemReviewStatus", Occurrence::Call(0), Fault::Hangs { done: false });
    let retried = performer::ReviewStatus::Retried;
    let error = orchestrator.set_review_status(retried, vec![failed.version()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    server.fault("SetItemReviewStatus", Occurrence::Call(1), Fault::Hangs { done: true });
    assert!(orchestrator.set_review_status(retried, vec![failed.version()]).await.unwrap().is_empty());
    assert_eq!(server.world().items.len(), 2, "one copy");
    server.fault("PostQueueItemComment", Occurrence::Call(0), Fault::DoneButAnswered(500, String::new()));
    let comment =
        orchestrator.add_comment(failed.id, performer::Person::default(), "seen".to_owned()).await.unwrap();
    assert_eq!((comment.text.as_str(), server.world().comments.len()), ("seen", 1));
    server.fault("DeleteQueueDefinition", Occurrence::Call(0), Fault::DoneButAnswered(504, String::new()));
    orchestrator.delete_queue("Invoices").await.unwrap();
    server.fault("PostQueueDefinition", Occurrence::Call(0), Fault::BreaksOff { done: true });
    let made = orchestrator.create_queue(NewQueueDefinition::new("Payments")).await.unwrap();
    assert_eq!((made.name.as_str(), server.world().queues.len()), ("Payments", 1));
}

/// Eight robots, a buffer, and answers that are lost all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_robots_lose_nothing_under_random_faults() {
    for ahead in [0, 5] {
        let mut world = World::new();
        for (number, told) in (0..60).zip(["succeed", "fail", "refuse"].into_iter().cycle()) {
            world.add(&format!("r{number}"), json!({"do": told}));
        }
        let server = ScriptedOrchestrator::start(world).await;
        for call in (1..70).step_by(5) {
            server.fault(
                "StartTransaction",
                Occurrence::Call(call),
                Fault::DoneButAnswered(502, String::new()),
            );
            server.fault("SetTransactionResult", Occurrence::Call(call + 1), Fault::BreaksOff { done: true });
            server.fault(
                "SetTransactionResult",
                Occurrence::Call(call + 3),
                Fault::DoneButAnswered(500, String::new()),
            );
        }
        let done = Arc::new(std::sync::Mutex::new(Vec::new()));
        let of_robots = done.clone();
        let summary = Performer::new("Invoices", move || crate::AsTold { done: of_robots.clone() })
            .robots(8)
            .claim_ahead(ahead)
            .poll_interval(Duration::from_millis(20))
            .handle_signals(false)
            .run_until_empty(Arc::new(client(&server).connect().await.unwrap()))
            .await
            .unwrap();
        assert_eq!(
            (summary.successful, summary.business_exceptions, summary.retried),
            (20, 20, 20),
            "{summary}"
        );
        assert_eq!((summary.application_exceptions, summary.claims_lost), (20, 0), "{summary}");
        let world = server.world();
        assert_eq!((done.lock().unwrap().len(), world.items.len(), world.recorded.len()), (80, 80, 80));
        assert!(world.handed_out.values().all(|times| *times == 1));
    }
}
