//! The robot trap (callers without a robot see an empty queue), polling, and jobs stopped from the Orchestrator.

use std::sync::Arc;
use std::time::Duration;

use performer::PerformerError;
use performer::orchestrator::uipath::Uipath;
use performer::prelude::*;
use serde_json::json;

use crate::{AsTold, client, connected, drain};
use performer_proofs::captured_log::CapturedLog;
use performer_proofs::scripted_orchestrator::ScriptedOrchestrator;
use performer_proofs::scripted_orchestrator::world::{CLIENT_SECRET, FOLDER, JOB_KEY, World};

async fn without_robot(server: &ScriptedOrchestrator) -> Arc<Uipath> {
    let builder = Uipath::builder(&server.url).client_credentials("app", CLIENT_SECRET).folder_path(FOLDER);
    Arc::new(builder.sped_up(100).connect().await.unwrap())
}

#[tokio::test]
async fn a_caller_that_is_not_a_robot_is_refused_at_the_start() {
    let mut world = World::new();
    let waiting = world.add("a", json!({"do": "succeed"}));
    let server = ScriptedOrchestrator::start(world).await;
    let (summary, done) = drain(without_robot(&server).await, 1).await;
    let Err(PerformerError::NotStarted(error)) = summary else { panic!("{summary:?}") };
    assert_eq!(error.kind(), performer::ErrorKind::Unauthorized);
    let said = error.to_string();
    assert!(
        said.contains(&format!("item {waiting} is waiting")) && said.contains("UIPATH_ROBOT_KEY"),
        "{said}"
    );
    assert!(done.is_empty());
    assert_eq!(server.world().items[0]["Status"], "New");
}

/// Also one that shows a robot's key: what counts is what it is handed.
#[tokio::test]
async fn an_unknown_robot_key_is_refused_at_the_start() {
    let mut world = World::new();
    world.robots.clear();
    world.add("a", json!({"do": "succeed"}));
    let server = ScriptedOrchestrator::start(world).await;
    let (summary, _) = drain(connected(&server).await, 1).await;
    assert!(summary.unwrap_err().to_string().contains("is not handed out"));
}

#[tokio::test]
async fn a_caller_without_a_robot_is_warned_if_the_queue_is_empty() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let log = CapturedLog::start(tracing::Level::WARN);
    let (summary, _) = drain(without_robot(&server).await, 1).await;
    assert_eq!(summary.unwrap().transactions(), 0);
    assert_eq!(log.count("this caller may not be a robot"), 1);
}

#[tokio::test]
async fn the_check_at_the_start_loses_no_item() {
    let mut world = World::new();
    world.anybody = true;
    for reference in ["a", "b"] {
        world.add(reference, json!({"do": "succeed"}));
    }
    let server = ScriptedOrchestrator::start(world).await;
    let (summary, done) = drain(without_robot(&server).await, 1).await;
    assert_eq!(summary.unwrap().successful, 2);
    assert_eq!(done.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [1_001, 1_002], "in their order");
    assert!(server.world().handed_out.values().all(|times| *times == 1));
}

/// A key that the Orchestrator does not take for a robot's: items wait, and every answer is 204.
#[tokio::test]
async fn an_empty_answer_while_items_wait_is_explained_once() {
    let mut world = World::new();
    world.robots.clear();
    let server = ScriptedOrchestrator::start(world).await;
    let log = CapturedLog::start(tracing::Level::WARN);
    let performer = Performer::new("Invoices", || AsTold { done: Arc::default() })
        .robots(3)
        .poll_interval(Duration::from_millis(1))
        .handle_signals(false);
    let stop = performer.stop_handle();
    let running = performer
        .run(Arc::new(client(&server).longest_poll(Duration::from_millis(2)).connect().await.unwrap()));
    let looked_often = async {
        while server.seen_of("StartTransaction").is_empty() {
            tokio::task::yield_now().await;
        }
        server.world().add("a", json!({"do": "succeed"}));
        while server.seen_of("StartTransaction").len() < 60 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.stop();
    };
    let (summary, ()) = tokio::join!(running, looked_often);
    assert_eq!(summary.unwrap().transactions(), 0);
    assert_eq!(log.count("items are waiting, but none is handed out"), 1);
    assert_eq!(log.count("UIPATH_ROBOT_KEY"), 1);
    // Once while nothing waited, perhaps, and once when something did.
    assert!(server.seen_of("RetrieveQueuesProcessingStatus").len() <= 2);
}

/// Items that are deferred wait too, and nobody is to blame.
#[tokio::test]
async fn deferred_items_cause_no_warning() {
    let mut world = World::new();
    world.add("a", json!({"do": "succeed"}));
    world.items[0].insert("DeferDate".to_owned(), json!("2099-01-01T00:00:00Z"));
    let server = ScriptedOrchestrator::start(world).await;
    let log = CapturedLog::start(tracing::Level::WARN);
    for _ in 0..4 {
        let (summary, _) = drain(connected(&server).await, 3).await;
        assert_eq!(summary.unwrap().transactions(), 0);
    }
    assert_eq!(log.count("items are waiting"), 0);
}

/// One of all robots looks, ever more rarely; also when two performers of a process work on the queue.
#[tokio::test]
async fn an_empty_queue_is_polled_rarely_by_one_robot() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    let performer = || {
        Performer::new("Invoices", || AsTold { done: Arc::default() })
            .robots(8)
            .poll_interval(Duration::from_millis(10))
            .handle_signals(false)
    };
    let (first, second) = (performer(), performer());
    let stops = [first.stop_handle(), second.stop_handle()];
    let both = async { tokio::join!(first.run(orchestrator.clone()), second.run(orchestrator.clone())) };
    let a_while = async {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let looks = server.seen_of("StartTransaction").len();
        while server.seen_of("StartTransaction").len() < 18 {
            tokio::time::sleep(Duration::from_millis(10)).await; // a busy machine looks later, but it looks again
        }
        stops.iter().for_each(performer::StopHandle::stop);
        looks
    };
    let ((first, second), looks) = tokio::join!(both, a_while);
    first.and(second).unwrap();
    // Each of the 16 robots looks once by itself. Then 10, 20, 40, 80, 160, 300, 300 ms lie between two looks.
    assert!(looks <= 34, "{looks} looks");
}

/// Whoever adds to the queue in this process wakes the robots of this process.
#[tokio::test]
async fn an_item_added_by_this_process_is_claimed_at_once() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    // In no hurry: the next look would be half a minute away.
    let builder = Uipath::builder(&server.url).client_credentials("app", CLIENT_SECRET).folder_path(FOLDER);
    let orchestrator = Arc::new(
        builder.robot_key(performer_proofs::scripted_orchestrator::world::ROBOT_KEY).connect().await.unwrap(),
    );
    let done: Arc<std::sync::Mutex<Vec<(i64, String)>>> = Arc::default();
    let of_robots = done.clone();
    let performer = Performer::new("Invoices", move || AsTold { done: of_robots.clone() })
        .poll_interval(Duration::from_secs(30))
        .handle_signals(false);
    let stop = performer.stop_handle();
    let running = performer.run(orchestrator.clone());
    let adding = async {
        while server.seen_of("StartTransaction").len() < 2 {
            tokio::task::yield_now().await; // until it has found nothing, twice
        }
        orchestrator.add_queue_item("Invoices", NewQueueItem::new(json!({"do": "succeed"}))).await.unwrap();
        while done.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.stop();
    };
    let (summary, ()) =
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(running, adding) }).await.unwrap();
    assert_eq!(summary.unwrap().successful, 1);
}

#[tokio::test]
async fn a_job_that_is_stopped_from_the_orchestrator_stops_the_performer() {
    for (state, ended) in [("Stopping", "Stopped"), ("Terminating", "Stopped"), ("Stopped", "Stopped")] {
        let server = ScriptedOrchestrator::start(World::new()).await;
        let orchestrator = Arc::new(client(&server).job_key(JOB_KEY).connect().await.unwrap());
        let performer = Performer::new("Invoices", || AsTold { done: Arc::default() })
            .lease(Duration::from_secs(1))
            .handle_signals(false);
        let running = performer.run(orchestrator.clone());
        let stopping = async {
            while server.seen_of("StartTransaction").is_empty() {
                tokio::task::yield_now().await;
            }
            server.world().job_state = state;
        };
        let (summary, ()) = tokio::join!(running, stopping);
        assert_eq!(summary.unwrap().state.name(), ended);
        assert_eq!(
            server.seen_of("GetJobs").len(),
            1,
            "after that it is asked by its number, which no limit counts"
        );
        assert!(!server.seen_of("GetJob").is_empty());
    }
}

/// Without a right to read jobs a performer works all the same.
#[tokio::test]
async fn an_unreadable_job_does_not_stop_the_performer() {
    let mut world = World::new();
    world.add("a", json!({"do": "succeed"}));
    let server = ScriptedOrchestrator::start(world).await;
    server.fault(
        "GetJobs",
        performer_proofs::scripted_orchestrator::Occurrence::Always,
        performer_proofs::scripted_orchestrator::Fault::error(403, 0),
    );
    let log = CapturedLog::start(tracing::Level::WARN);
    let orchestrator = Arc::new(client(&server).job_key(JOB_KEY).connect().await.unwrap());
    for expected in [1, 0, 0, 0] {
        let (summary, _) = drain(orchestrator.clone(), 1).await;
        assert_eq!(summary.unwrap().successful, expected);
    }
    assert_eq!(
        (log.count("the Orchestrator cannot stop this performer"), server.seen_of("GetJobs").len()),
        (1, 3)
    );
}

#[tokio::test]
async fn a_missing_queue_prevents_the_start() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = connected(&server).await;
    server.world().queues.clear();
    let (summary, _) = drain(orchestrator, 1).await;
    assert_eq!(
        summary.unwrap_err().to_string(),
        "the performer did not start: queue \"Invoices\" does not exist"
    );
}
