//! Every operation of administration under every fault: a call that succeeded was executed once, one that failed was not, and
//! one with an unknown outcome at most once.

use std::time::Duration;

use performer::model::ItemVersion;
use performer::orchestrator::ErrorKind;
use performer::orchestrator::uipath::Uipath;
use performer::prelude::*;
use performer::{ItemEdit, OrchestratorError, Person, ReviewStatus, StopStrategy};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client;
use crate::faults::faults;
use performer_proofs::scripted_orchestrator::world::{JOB_KEY, World};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

/// Operations of people, and whether they change anything.
const OPERATIONS: [(&str, bool); 19] = [
    ("PutQueueItem", true),
    ("SetItemReviewStatus", true),
    ("SetItemReviewer", true),
    ("UnsetItemReviewer", true),
    ("DeleteBulk", true),
    ("PostQueueItemComment", true),
    ("PutQueueItemComment", true),
    ("DeleteQueueItemComment", true),
    ("PostQueueDefinition", true),
    ("PutQueueDefinition", true),
    ("PutQueueRetention", true),
    ("DeleteQueueDefinition", true),
    ("StopJob", true),
    ("GetItemProcessingHistory", false),
    ("GetQueueItemEventsHistory", false),
    ("GetQueueItemCommentsHistory", false),
    ("GetQueueRetention", false),
    ("ListQueueRetention", false),
    ("GetJobs", false),
];

/// A failed item with a comment, and a waiting one.
struct Scene {
    failed: ItemVersion,
    waiting: ItemVersion,
    comment: i64,
}

async fn scene(server: &ScriptedOrchestrator, orchestrator: &Uipath) -> Scene {
    let (failed, waiting) = {
        let mut world = server.world();
        let (failed, waiting) = (world.add("failed", json!({"a": 1})), world.add("waiting", json!({"a": 1})));
        world.items[0].extend(json!({"Status": "Failed", "ReviewerUserId": 3}).as_object().unwrap().clone());
        world.comments.push(
            json!({"Id": 1, "Text": "first", "QueueItemId": failed, "CreationTime": "2026-01-01T00:00:00Z"})
                .as_object()
                .unwrap()
                .clone(),
        );
        (failed, waiting)
    };
    let version = async |id| orchestrator.get_queue_item(performer::ItemId(id)).await.unwrap().version();
    Scene { failed: version(failed).await, waiting: version(waiting).await, comment: 1 }
}

async fn act(operation: &str, orchestrator: &Uipath, scene: &Scene) -> Result<(), OrchestratorError> {
    let nobody = Person::default;
    let refused = |failed: performer::FailedItems| match failed.first() {
        None => Ok(()),
        Some((_, refusal)) => Err(OrchestratorError::from(refusal.clone())),
    };
    let policy = QueuePolicy::default().max_number_of_retries(7);
    match operation {
        "PutQueueItem" => {
            let edit = ItemEdit::default().priority(Priority::Low);
            orchestrator.edit_queue_item(scene.waiting.id, edit).await.map(drop)
        }
        "SetItemReviewStatus" => {
            refused(orchestrator.set_review_status(ReviewStatus::Retried, vec![scene.failed]).await?)
        }
        "SetItemReviewer" => refused(orchestrator.set_reviewer(Some(7), vec![scene.failed]).await?),
        "UnsetItemReviewer" => refused(orchestrator.set_reviewer(None, vec![scene.failed]).await?),
        "DeleteBulk" => refused(orchestrator.delete_queue_items(vec![scene.waiting]).await?),
        "PostQueueItemComment" => {
            orchestrator.add_comment(scene.failed.id, nobody(), "second".to_owned()).await.map(drop)
        }
        "PutQueueItemComment" => {
            orchestrator.edit_comment(scene.comment, nobody(), Some("changed".to_owned())).await
        }
        "DeleteQueueItemComment" => orchestrator.edit_comment(scene.comment, nobody(), None).await,
        "PostQueueDefinition" => {
            orchestrator.create_queue(NewQueueDefinition::new("Payments")).await.map(drop)
        }
        "PutQueueDefinition" => orchestrator
            .update_queue("Invoices", NewQueueDefinition::new("Invoices").policy(policy))
            .await
            .map(drop),
        "PutQueueRetention" => {
            let kept = QueuePolicy::default().retention_days(77);
            orchestrator
                .update_queue("Invoices", NewQueueDefinition::new("Invoices").policy(kept))
                .await
                .map(drop)
        }
        "DeleteQueueDefinition" => orchestrator.delete_queue("Invoices").await,
        "StopJob" | "GetJobs" => {
            orchestrator.stop_job(JOB_KEY.parse().unwrap(), StopStrategy::SoftStop).await
        }
        "GetItemProcessingHistory" => orchestrator.processing_history(scene.failed.id).await.map(drop),
        "GetQueueItemEventsHistory" => orchestrator.item_events(scene.failed.id).await.map(drop),
        "GetQueueItemCommentsHistory" => orchestrator.comments(scene.failed.id).await.map(drop),
        "GetQueueRetention" => orchestrator.get_queue("Invoices").await.map(drop),
        "ListQueueRetention" => orchestrator.list_queues().await.map(drop),
        other => panic!("{other}?"),
    }
}

/// How often the world shows what was asked for.
fn effects(operation: &str, world: &World) -> usize {
    let items = |wanted: &dyn Fn(&serde_json::Map<String, serde_json::Value>) -> bool| {
        world.items.iter().filter(|item| wanted(item)).count()
    };
    let comments = |text: &str| world.comments.iter().filter(|comment| comment["Text"] == text).count();
    match operation {
        "PutQueueItem" => items(&|item| item["Priority"] == "Low"),
        "SetItemReviewStatus" => items(&|item| item["ManualRetryNumber"] == 1),
        "SetItemReviewer" => items(&|item| item["ReviewerUserId"] == 7),
        "UnsetItemReviewer" => 1 - items(&|item| item["ReviewerUserId"] == 3),
        "DeleteBulk" => items(&|item| item["Status"] == "Deleted"),
        "PostQueueItemComment" => comments("second"),
        "PutQueueItemComment" => comments("changed"),
        "DeleteQueueItemComment" => 1 - comments("first"),
        "PostQueueDefinition" => world.queues.len() - 1,
        "PutQueueDefinition" => world.queues.iter().filter(|queue| queue["MaxNumberOfRetries"] == 7).count(),
        "PutQueueRetention" => world.retention.values().filter(|retention| retention["Period"] == 77).count(),
        "DeleteQueueDefinition" => 1 - world.queues.len(),
        "StopJob" => usize::from(world.job_state == "Stopping"),
        _ => panic!("{operation} changes nothing"),
    }
}

async fn run(operation: &'static str, changes: bool, name: String, fault: Fault) -> Option<String> {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = client(&server).connect().await.unwrap();
    let scene = scene(&server, &orchestrator).await;
    let passes = crate::faults::passes_by_itself(operation, Occurrence::Call(0), &fault);
    server.fault(operation, Occurrence::Call(0), fault);
    let Ok(answer) =
        tokio::time::timeout(Duration::from_secs(30), act(operation, &orchestrator, &scene)).await
    else {
        return Some(format!("{operation}: {name}: it does not end"));
    };
    let kind = answer.as_ref().map_err(OrchestratorError::kind).map(drop);
    let complaint = if changes {
        let effects = effects(operation, &server.world());
        let right = match kind {
            Ok(()) => effects == 1,
            Err(ErrorKind::Unknown) => effects <= 1,
            Err(_) => effects == 0,
        };
        (!right).then(|| format!("it is done {effects} times after {answer:?}"))
    } else {
        (passes && kind.is_err()).then(|| format!("a read was not repeated: {answer:?}"))
    };
    let complaint = complaint.or_else(|| {
        let message = answer.as_ref().err()?.to_string();
        (!crate::faults::said_well(&message)).then(|| format!("it says badly: {message}"))
    });
    complaint.map(|complaint| format!("{operation}: {name}: {complaint}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_is_executed_at_most_once_under_every_fault() {
    let mut cases = OPERATIONS.into_iter().flat_map(|(operation, changes)| {
        faults().into_iter().map(move |(name, fault)| (operation, changes, name, fault))
    });
    let (mut running, mut wrong, mut count) = (JoinSet::new(), Vec::new(), 0);
    loop {
        while running.len() < 16
            && let Some((operation, changes, name, fault)) = cases.next()
        {
            count += 1;
            running.spawn(run(operation, changes, name, fault));
        }
        match running.join_next().await {
            Some(complaint) => wrong.extend(complaint.unwrap()),
            None => break,
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {count} cases went wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 700, "{count}");
}

/// A server that shows what is not set as null: the queue that was made is recognised when the answer is lost.
#[tokio::test]
async fn a_queue_whose_answer_was_lost_is_recognised_by_what_it_says() {
    let with_nulls = json!({"Name": "Payments", "MaxNumberOfRetries": 1, "AcceptAutomaticallyRetry": true, "Description": "",
        "SlaInMinutes": null, "RiskSlaInMinutes": null, "ReleaseId": null, "Tags": null, "OutputDataJsonSchema": null});
    for (is_ours, more, is_recognised) in [
        (false, json!({}), true),
        (false, json!({"SlaInMinutes": 60}), false),
        (false, json!({"Tags": [{"Name": "a"}]}), false),
        (true, json!({}), true),
        (true, json!({"PerformerRetryDelay": {"kind": "fixed", "milliseconds": 1}}), false),
    ] {
        let server = ScriptedOrchestrator::start(World::new()).await;
        if is_ours {
            server.announce_leases();
        }
        let orchestrator = client(&server).connect().await.unwrap();
        let mut there = with_nulls.clone();
        there.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.world().add_queue(there);
        server.fault("PostQueueDefinition", Occurrence::Call(0), Fault::BreaksOff { done: false });
        let made = orchestrator.create_queue(NewQueueDefinition::new("Payments")).await;
        assert_eq!(made.is_ok(), is_recognised, "{more}: {made:?}");
    }
}
