//! `kill -9` of the server under load loses nothing that was acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use performer::model::{JobState, NewJob, TransactionResult};
use performer::orchestrator::QueueAdministration as _;
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{ClaimRequest, Orchestrator as _, Report};
use performer::{ItemFilter, NewQueueDefinition, NewQueueItem, Page, QueuePolicy, Status, connect};

use super::{CLIENT, SECRET, Server};

const ROUNDS: usize = 6;
const ADDERS: usize = 3;
const ROBOTS: u32 = 3;

/// What clients were told.
#[derive(Default)]
struct Told {
    added: Mutex<BTreeSet<String>>,
    done: Mutex<BTreeSet<i64>>,
}

async fn client(url: &str) -> Uipath {
    let client = Uipath::builder(url).client_credentials(CLIENT, SECRET).scope("OrchestratorApiUserAccess");
    client.folder_path("Shared").sped_up(20).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_a_kill_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let url = server.url.clone();
    let listen = url.strip_prefix("http://").unwrap().to_owned();
    let robots = Arc::new(client(&url).await);
    let policy = QueuePolicy::default().enforce_unique_reference(true);
    robots.create_queue(NewQueueDefinition::new("Invoices").policy(policy)).await.unwrap();
    let job = NewJob::new("Invoices")
        .machine("m")
        .process_id(1)
        .version("1")
        .robots(ROBOTS)
        .lease(Duration::from_secs(60));
    let job = robots.start_job(job).await.unwrap();
    let (told, stop) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));

    let mut adding = Vec::new();
    for adder in 0..ADDERS {
        let (client, told, stop) = (client(&url).await, told.clone(), stop.clone());
        adding.push(tokio::spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let reference = format!("{adder}-{n}");
                let item = NewQueueItem::new(serde_json::json!({ "n": n })).reference(reference.clone());
                if client.add_queue_item("Invoices", item).await.is_ok() {
                    told.added.lock().unwrap().insert(reference);
                }
            }
        }));
    }
    let mut working = Vec::new();
    for robot in 1..=ROBOTS {
        let (robots, told, stop) = (robots.clone(), told.clone(), stop.clone());
        working.push(tokio::spawn(async move {
            let mut report: Option<Report> = None;
            let mut idle = 0;
            // When nothing is added any more they go on until nothing is left.
            while !stop.load(Ordering::Relaxed) || report.is_some() || idle < 3 {
                let id = report.as_ref().map(|report| report.claim.item());
                let take = ClaimRequest::new("Invoices", job, 1).robot(robot);
                let answered = robots.report_and_claim(report.iter().cloned().collect(), Some(take)).await;
                match (answered.reports.first(), id) {
                    (Some(Ok(status)), Some(id)) => {
                        assert_eq!(*status, Status::Successful);
                        assert!(told.done.lock().unwrap().insert(id.0), "{id} was done twice");
                        report = None;
                    }
                    (Some(Err(error)), Some(id)) => {
                        assert!(!error.is_claim_lost(), "nobody took {id} away: {error}");
                    }
                    _ => {}
                }
                match answered.claimed {
                    Ok(taken) => {
                        idle = if taken.items.is_empty() { idle + 1 } else { 0 };
                        for claimed in taken.items {
                            assert!(report.is_none(), "a robot has one item at a time");
                            let result = TransactionResult::Successful { output: None };
                            report = Some(Report::new(claimed.claim, result));
                        }
                    }
                    Err(_) => idle = 0,
                }
            }
        }));
    }
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(400 + 130 * round as u64)).await;
        server.kill();
        server = Server::known(folder.path(), &["--listen", &listen]);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    for task in adding.into_iter().chain(working) {
        tokio::time::timeout(Duration::from_secs(60), task)
            .await
            .expect("everybody comes to an end")
            .unwrap();
    }
    let held = robots.end_job(job, JobState::Successful.into()).await.unwrap();
    assert_eq!(held.abandoned, 0, "nothing was left with the job");
    assert_eq!(server.stop(), 0);

    let store =
        connect(&format!("sqlite:{}", folder.path().join("orchestrator.db").display())).await.unwrap();
    let mut items = Vec::new();
    loop {
        let page = Page::default().skip(items.len());
        let found = store.list_queue_items(ItemFilter::default(), page).await.unwrap().items;
        if found.is_empty() {
            break;
        }
        items.extend(found);
    }
    let (added, done) = (told.added.lock().unwrap().clone(), told.done.lock().unwrap().clone());
    assert!(added.len() > 50 && done.len() > 50, "{} added, {} done", added.len(), done.len());
    let references: BTreeSet<String> = items.iter().filter_map(|item| item.reference.clone()).collect();
    assert_eq!(references.len(), items.len(), "no item is there twice");
    assert!(added.is_subset(&references), "lost: {:?}", added.difference(&references).collect::<Vec<_>>());
    for item in &items {
        assert_eq!((item.status, item.retry_number), (Status::Successful, 0), "{item:?}");
        assert!(done.contains(&item.id.0), "{} was not told to anybody", item.id);
    }
}
