//! Every operation under every fault, at the first call and at a later one: nothing is lost or done twice, and every run ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use performer::model::{NewQueueItem, Page};
use performer::orchestrator::{CommitType, ErrorKind};
use performer::prelude::*;
use performer::{ItemFilter, ItemId, PerformerError};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{client, drain};
use performer_proofs::scripted_orchestrator::world::{Recorded, World};
use performer_proofs::scripted_orchestrator::{Fault, Occurrence, ScriptedOrchestrator};

/// Codes that a 409 may come with.
const CONFLICTS: [u16; 13] = [1001, 1004, 1010, 1016, 1020, 1300, 1301, 1302, 1851, 1852, 1855, 1866, 1867];

pub(crate) fn faults() -> Vec<(String, Fault)> {
    let refused = |status: u16, headers: Vec<(&'static str, String)>, body: &str| {
        Fault::Refused(status, headers, body.to_owned())
    };
    let page = "<html><head><title>502 Bad Gateway</title></head></html>";
    let mut faults = vec![
        ("401".to_owned(), Fault::error(401, 0)),
        ("403".to_owned(), refused(403, vec![], "")),
        ("404 with 1002".to_owned(), Fault::error(404, 1002)),
        ("400 with 1101".to_owned(), Fault::error(400, 1101)),
        (
            "400 of ABP".to_owned(),
            refused(400, vec![], r#"{"error":{"code":0,"message":"no"},"success":false}"#),
        ),
        ("429 in seconds".to_owned(), refused(429, vec![("retry-after", "2".to_owned())], "")),
        (
            "429 until a date".to_owned(),
            refused(
                429,
                vec![
                    ("retry-after", "Fri, 06 Nov 2026 08:49:39 GMT".to_owned()),
                    ("date", "Fri, 06 Nov 2026 08:49:37 GMT".to_owned()),
                ],
                "",
            ),
        ),
        ("429 in the body".to_owned(), refused(429, vec![], r#"{"retry_after": 1}"#)),
        ("500".to_owned(), Fault::error(500, 0)),
        ("500 but done".to_owned(), Fault::DoneButAnswered(500, String::new())),
        ("502".to_owned(), refused(502, vec![], page)),
        ("502 but done".to_owned(), Fault::DoneButAnswered(502, page.to_owned())),
        ("503".to_owned(), refused(503, vec![("retry-after", "1".to_owned())], "")),
        ("503 but done".to_owned(), Fault::DoneButAnswered(503, String::new())),
        ("504 but done".to_owned(), Fault::DoneButAnswered(504, String::new())),
        ("408".to_owned(), refused(408, vec![], "")),
        ("a time-out before".to_owned(), Fault::Hangs { done: false }),
        ("a time-out after".to_owned(), Fault::Hangs { done: true }),
        ("a reset before".to_owned(), Fault::BreaksOff { done: false }),
        ("a reset after".to_owned(), Fault::BreaksOff { done: true }),
        ("truncated, not done".to_owned(), Fault::Truncated { done: false }),
        ("truncated, done".to_owned(), Fault::Truncated { done: true }),
        ("a sign-in page, not done".to_owned(), Fault::SignInPage { done: false }),
        ("a sign-in page, done".to_owned(), Fault::SignInPage { done: true }),
        ("slow".to_owned(), Fault::Slow),
        (
            "a redirect".to_owned(),
            refused(302, vec![("location", "https://elsewhere.example.com/login".to_owned())], ""),
        ),
        ("a huge body, not done".to_owned(), Fault::Huge { done: false }),
        ("a huge body, done".to_owned(), Fault::Huge { done: true }),
    ];
    faults.extend(CONFLICTS.iter().map(|code| (format!("409 with {code}"), Fault::error(409, *code))));
    faults
}

/// The operations of a performer's life, and of people who add and look.
const OPERATIONS: [&str; 10] = [
    "Token",
    "GetQueueDefinitions",
    "GetQueueItems",
    "GetQueueItem",
    "StartTransaction",
    "SetTransactionResult",
    "SetTransactionProgress",
    "RetrieveQueuesProcessingStatus",
    "AddQueueItem",
    "BulkAddQueueItems",
];

/// What became of one run.
struct Run {
    name: String,
    complaints: Vec<String>,
    /// Whether the fault was met at all.
    fired: bool,
}

/// A whole day of work with one fault in it.
async fn run(operation: &'static str, name: String, at: Occurrence, fault: Fault) -> Run {
    let name = format!("{operation}: {name}, {at:?}");
    match tokio::time::timeout(Duration::from_secs(60), work(operation, at, fault)).await {
        Ok((complaints, fired)) => Run { name, complaints, fired },
        Err(_) => Run { name, complaints: vec!["it does not end".to_owned()], fired: true },
    }
}

async fn work(operation: &'static str, at: Occurrence, fault: Fault) -> (Vec<String>, bool) {
    let mut world = World::new();
    // Tokens live for so short a time that there is a second one.
    world.token_lives_for = json!(if operation == "Token" { 60 } else { 3600 });
    world.queues[0].insert("EnforceUniqueReference".to_owned(), json!(true));
    for (reference, told) in
        [("a", "succeed"), ("b", "refuse"), ("c", "fail"), ("d", "postpone"), ("e", "succeed")]
    {
        world.add(reference, json!({"do": told}));
    }
    let server = ScriptedOrchestrator::start(world).await;
    let passes_by_itself = passes_by_itself(operation, at, &fault);
    server.fault(operation, at, fault);
    let mut complaints = Vec::new();

    // With the robot's job, whose key tells from the first call on which items are ours.
    let builder = client(&server).job_key(performer_proofs::scripted_orchestrator::world::JOB_KEY);
    let orchestrator = match builder.connect().await {
        Ok(orchestrator) => Arc::new(orchestrator),
        Err(error) if said_well(&error.to_string()) && !passes_by_itself => return (complaints, true),
        Err(error) => return (vec![format!("it does not connect: {error}")], true),
    };

    // People add: what is acknowledged is there once, what is refused is not there, what is unknown at most once.
    for number in 0..3 {
        let reference = format!("one-{number}");
        let item = NewQueueItem::new(json!({"do": "succeed"})).reference(&reference);
        let added = orchestrator.add_queue_item("Invoices", item).await;
        check_added(
            &server,
            &reference,
            added.as_ref().map(|_| ()).map_err(|error| error.kind()),
            &mut complaints,
        );
    }
    for number in 0..2 {
        let references: Vec<String> = (0..3).map(|each| format!("many-{number}-{each}")).collect();
        let items = references
            .iter()
            .map(|reference| NewQueueItem::new(json!({"do": "succeed"})).reference(reference))
            .collect();
        let added =
            orchestrator.bulk_add_queue_items("Invoices", CommitType::ProcessAllIndependently, items).await;
        if let Ok(added) = &added
            && added.added != 3
        {
            complaints.push(format!("{} of 3 were added: {:?}", added.added, added.failed));
        }
        for reference in &references {
            check_added(
                &server,
                reference,
                added.as_ref().map(|_| ()).map_err(|error| error.kind()),
                &mut complaints,
            );
        }
    }
    let _ = orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await;
    let _ = orchestrator.get_queue_item(ItemId(1_001)).await;

    // The performer works until there is nothing left; what it was given for later is waited for.
    let mut done = Vec::new();
    let (mut faulted, mut named_as_left) = (None, 0);
    for _ in 0..3 {
        let (summary, did) = drain(orchestrator.clone(), 2).await;
        done.extend(did);
        match summary {
            Ok(summary) if summary.claims_lost > 0 => complaints.push(format!("claims were lost: {summary}")),
            Ok(_) => {}
            Err(error) => {
                if let PerformerError::Faulted(summary) = &error {
                    named_as_left = summary.abandoned;
                }
                faulted = Some(error.to_string());
                break;
            }
        }
        tokio::time::sleep(until_postponed_items_are_due(&server)).await;
    }
    if let Some(reason) = &faulted
        && passes_by_itself
    {
        complaints.push(format!("it gave up although this would have passed: {reason}"));
    }
    complaints.extend(check(&server, &done, faulted.as_deref()));
    let in_progress =
        server.world().items.iter().filter(|item| item["Status"] == "InProgress").count() as u64;
    if in_progress > named_as_left {
        complaints.push(format!("{in_progress} items are left behind, and {named_as_left} were named"));
    }
    (complaints, server.fired() > 0)
}

/// How long until what waits is due, by the server's clock.
fn until_postponed_items_are_due(server: &ScriptedOrchestrator) -> Duration {
    let world = server.world();
    let waiting = world.items.iter().filter(|item| item["Status"] == "New");
    let dates = waiting.filter_map(|item| item["DeferDate"].as_str()?.parse::<jiff::Timestamp>().ok());
    let now = performer_proofs::scripted_orchestrator::world::now();
    dates.max().map_or(Duration::ZERO, |due| due.duration_since(now).try_into().unwrap_or_default())
}

/// Faults that no performer ends for: the same call would have succeeded a moment later.
pub(crate) fn passes_by_itself(operation: &str, at: Occurrence, fault: &Fault) -> bool {
    // An identity server that says 401 means the credentials, and not their token.
    let temporary =
        |status: u16| matches!(status, 408 | 429 | 500..=599) || status == 401 && operation != "Token";
    at != Occurrence::Always
        && match fault {
            Fault::Refused(status, _, body) => temporary(*status) || body.contains(":1010,"),
            Fault::DoneButAnswered(status, _) => temporary(*status),
            _ => true,
        }
}

fn check_added(
    server: &ScriptedOrchestrator,
    reference: &str,
    answer: Result<(), ErrorKind>,
    complaints: &mut Vec<String>,
) {
    let there = server.world().items.iter().filter(|item| item["Reference"] == reference).count();
    let right = match answer {
        Ok(()) => there == 1,
        Err(ErrorKind::Unknown) => there <= 1,
        Err(_) => there == 0,
    };
    if !right {
        complaints.push(format!("{reference} is there {there} times after {answer:?}"));
    }
}

pub(crate) fn said_well(message: &str) -> bool {
    !message.is_empty() && !message.contains("canary") && !message.contains('\n') && !message.ends_with('.')
}

/// What the server handed out and recorded, against what the transactions did.
fn check(server: &ScriptedOrchestrator, done: &[(i64, String)], faulted: Option<&str>) -> Vec<String> {
    let world = server.world();
    let mut complaints = Vec::new();
    let mut processed: HashMap<i64, u32> = HashMap::new();
    for (item, _) in done {
        *processed.entry(*item).or_default() += 1;
    }
    for (item, times) in &processed {
        let handed_out = world.handed_out.get(item).copied().unwrap_or_default();
        if *times > handed_out {
            complaints
                .push(format!("item {item} was handed out {handed_out} times and processed {times} times"));
        }
    }
    let mut in_progress = Vec::new();
    for item in &world.items {
        let (id, status) = (item["Id"].as_i64().unwrap(), item["Status"].as_str().unwrap());
        let last = done.iter().rev().find(|(done, _)| *done == id).map(|(_, told)| told.as_str());
        let results: Vec<&Recorded> = world
            .recorded
            .iter()
            .filter(|recorded| recorded.item == id && recorded.status != "New")
            .collect();
        if results.len() > 1 {
            complaints.push(format!("item {id} has {} results", results.len()));
        }
        let right = match status {
            "New" => true,
            "InProgress" => {
                in_progress.push(id);
                true
            }
            "Successful" => matches!(last, Some("succeed" | "postpone")),
            "Failed" => matches!(last, Some("refuse" | "fail")),
            "Retried" => last == Some("fail"),
            _ => false,
        };
        if !right {
            complaints.push(format!("item {id} is {status} although {last:?} was done"));
        }
        if let Some(recorded) = results.first()
            && !recorded.operation_id.as_deref().is_some_and(|name| name.starts_with("performer/"))
        {
            complaints.push(format!("the result of item {id} does not carry its claim"));
        }
    }
    match faulted {
        // It could not go on, and said why. What it held it named as left behind.
        Some(reason) => {
            if !said_well(reason) {
                complaints.push(format!("it says badly why it ended: {reason}"));
            }
        }
        None => {
            if !in_progress.is_empty() {
                complaints.push(format!("items are lost: {in_progress:?}"));
            }
            let waiting = world.items.iter().filter(|item| item["Status"] == "New").count();
            if waiting > 0 {
                complaints.push(format!("{waiting} items still wait"));
            }
        }
    }
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_under_every_fault() {
    let mut cases = Vec::new();
    for operation in OPERATIONS {
        for (name, fault) in faults() {
            for at in [Occurrence::Call(0), Occurrence::Call(2)] {
                cases.push((operation, name.clone(), at, fault.clone()));
            }
        }
        cases.push((operation, "401 always".to_owned(), Occurrence::Always, Fault::error(401, 0)));
        cases.push((operation, "403 always".to_owned(), Occurrence::Always, Fault::error(403, 0)));
    }
    let count = cases.len();
    assert!(count >= 300, "{count}");
    let only = std::env::var("PERFORMER_FAULT").ok();
    let mut waiting = cases.into_iter().filter(|(operation, name, at, _)| {
        only.as_ref().is_none_or(|only| format!("{operation}: {name}, {at:?}").contains(only))
    });
    let mut running = JoinSet::new();
    let (mut wrong, mut not_met) = (Vec::new(), Vec::new());
    loop {
        while running.len() < 16
            && let Some((operation, name, at, fault)) = waiting.next()
        {
            running.spawn(run(operation, name, at, fault));
        }
        match running.join_next().await {
            Some(run) => {
                let run = run.unwrap();
                if !run.fired {
                    not_met.push(run.name.clone());
                }
                if !run.complaints.is_empty() {
                    wrong.push(format!("{}\n    {}", run.name, run.complaints.join("\n    ")));
                }
            }
            None => break,
        }
    }
    wrong.sort();
    println!("{} of {count} faults were met", count - not_met.len());
    let never: Vec<&String> = not_met.iter().filter(|name| !name.ends_with("Call(2)")).collect();
    assert!(never.is_empty(), "a first call that nobody makes: {never:?}");
    assert!(
        only.is_some() || count - not_met.len() >= 600,
        "too few faults were met, not these: {not_met:?}"
    );
    assert!(
        wrong.is_empty(),
        "{} of {count} cases went wrong (one again: PERFORMER_FAULT='…' cargo test -p performer-uipath --test uipath faults):\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The checker sees what it is there to see.
#[tokio::test]
async fn the_check_detects_a_lost_and_a_doubled_item() {
    let mut world = World::new();
    let id = world.add("a", json!({"do": "succeed"}));
    world.handed_out.insert(id, 1);
    world.items[0].insert("Status".to_owned(), json!("InProgress"));
    let server = ScriptedOrchestrator::start(world).await;
    let done = |times: usize| vec![(id, "succeed".to_owned()); times];
    assert_eq!(check(&server, &done(1), None), [format!("items are lost: [{id}]")]);
    assert!(check(&server, &done(2), Some("reason"))[0].contains("handed out 1 times and processed 2 times"));
    server.world().items[0].insert("Status".to_owned(), json!("Failed"));
    assert!(check(&server, &done(1), None)[0].contains("is Failed although"));
    let name = Some("performer/x".to_owned());
    let recorded = Recorded { item: id, status: "Failed".to_owned(), operation_id: name };
    server.world().recorded = vec![recorded.clone(), recorded];
    assert!(check(&server, &done(1), None).iter().any(|complaint| complaint.contains("has 2 results")));
    let mut complaints = Vec::new();
    check_added(&server, "a", Err(ErrorKind::Conflict), &mut complaints);
    check_added(&server, "b", Ok(()), &mut complaints);
    assert_eq!(complaints.len(), 2);
}
