//! The lease protocol: claims are confined to their folder, survive a restart of the server, and lost responses lose no items.

use std::sync::Arc;
use std::time::Duration;

use performer::model::{JobKey, JobState, MIN_LEASE, NewJob, Status, SystemClock, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, ReportAndClaimAnswer};
use performer::orchestrator::{FleetAdministration as _, QueueAdministration as _};
use performer::server::Server;
use performer::{NewQueueDefinition, Orchestrator as _};
use serde_json::{Value, json};

use crate::{Api, start_of_time};
use performer_proofs::test_server::TestServer;

fn job(queue: &str) -> NewJob {
    NewJob::new(queue).machine("m").process_id(1).version("1").robots(1).lease(Duration::from_secs(30))
}

fn take(job: JobKey, count: usize) -> Option<ClaimRequest> {
    Some(ClaimRequest::new("Invoices", job, count).robot(1))
}

/// A caller with access to one folder can neither see nor change claims in another, even if it knows their keys.
#[tokio::test]
async fn claims_of_another_folder_cannot_be_used() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    api.queue(&json!({"Name": "Invoices"})).await;
    let held = api.add("Invoices", "held").await;
    let taken = api.add("Invoices", "taken").await;
    let body = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
    let started = api.post("/api/Performer/StartJob", &body).await.body;
    let job = started["job"].as_str().unwrap();
    let exchange = json!({"id": uuid::Uuid::from_u128(1), "reports": [],
        "take": {"queue": "Invoices", "job": job, "robot": 1, "count": 1, "reference": null}});
    let answer = api.post("/api/Performer/Exchange", &exchange).await.body;
    let claim = answer["took"]["items"][0]["claim"].clone();
    assert_eq!(claim["item"], held["Id"]);
    assert_eq!(api.take("Invoices").await.unwrap()["Id"], taken["Id"]);

    let finance =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let elsewhere = async |what: &str, body: Value| {
        api.call_as(&finance, Some("Finance"), "POST", &format!("/api/Performer/{what}"), &body).await
    };
    // A queue of the same name in the other folder makes no difference.
    let same = json!({"Name": "Invoices"});
    assert_eq!(
        api.call_as(&finance, Some("Finance"), "POST", "/odata/QueueDefinitions", &same).await.status,
        201
    );
    let before = api.get("/odata/QueueItems").await.body;
    assert_eq!(elsewhere("Jobs", json!({"limit": 10})).await.text, "[]");
    for (what, body) in [
        ("Beat", json!({ "job": job })),
        ("Held", json!({"job": job, "void": []})),
        ("EndJob", json!({"job": job, "state": "Faulted", "info": null})),
        ("StopJob", json!({"job": job, "strategy": "Kill"})),
        ("Progress", json!({"claim": claim, "progress": "mine"})),
        (
            "Progress",
            json!({"claim": {"item": taken["Id"], "job": uuid::Uuid::nil(), "token": 2}, "progress": "mine"}),
        ),
    ] {
        let got = elsewhere(what, body).await;
        assert_eq!((got.status, got.is_api_error()), (404, true), "{what}: {}", got.text);
    }
    // Reports are answered as for an item that does not exist.
    for item in [claim["item"].as_i64().unwrap(), 999_999] {
        let mut forged = claim.clone();
        forged["item"] = item.into();
        let report = json!({"claim": forged, "result": {"successful": {"output": null}}, "progress": null});
        let got =
            elsewhere("Exchange", json!({"id": uuid::Uuid::from_u128(2), "reports": [report], "take": null}))
                .await;
        let error = &got.body["reports"][0]["error"];
        assert_eq!((got.status, &error["kind"]), (200, &json!("ClaimLost")), "{}", got.text);
        assert_eq!(error["message"], format!("item {item} does not exist"));
    }
    // Items of the other folder cannot be claimed for the job.
    let mut foreign = exchange.clone();
    foreign["id"] = json!(uuid::Uuid::from_u128(3));
    let add = json!({"itemData": {"Name": "Invoices", "SpecificContent": {}}});
    let path = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    assert_eq!(api.call_as(&finance, Some("Finance"), "POST", path, &add).await.status, 201);
    let got = elsewhere("Exchange", foreign).await;
    assert_eq!(got.body["took"]["error"]["kind"], "NotFound", "{}", got.text);
    // The same call id in another folder is another call.
    let got = elsewhere("Exchange", exchange).await;
    assert_eq!(got.body["took"]["error"]["kind"], "NotFound", "{}", got.text);
    assert_eq!(api.get("/odata/QueueItems").await.body, before, "nothing was changed");
    // The owner can use the claim.
    assert_eq!(api.post("/api/Performer/Beat", &json!({ "job": job })).await.status, 200);
    assert_eq!(
        api.post("/api/Performer/Held", &json!({"job": job, "void": []})).await.body["claims"],
        json!([claim])
    );
}

/// After a restart on the same file the server knows the jobs of running performers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_and_claims_survive_a_restart_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.db");
    let url = format!("sqlite:{}", path.display());
    let served = TestServer::start(Store::open(&url).await.unwrap()).await;
    let address = served.url.strip_prefix("http://").unwrap().to_owned();
    let client = served.client().connect().await.unwrap();
    let api = Api::on(served).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    for reference in ["known", "lost", "next"] {
        api.add("Invoices", reference).await;
    }
    let job = client.start_job(job("Invoices")).await.unwrap();
    let first = client.report_and_claim(Vec::new(), take(job, 1)).await.claimed.unwrap().items;
    // Taken in its name, and the answer was lost: nobody at the client knows.
    let exchange = json!({"id": uuid::Uuid::from_u128(1), "reports": [],
        "take": {"queue": "Invoices", "job": uuid::Uuid::from_bytes(job.to_bytes()), "robot": 1, "count": 1, "reference": null}});
    let lost = api.post("/api/Performer/Exchange", &exchange).await.body;
    let lost_id = lost["took"]["items"][0]["item"]["Id"].as_i64().unwrap();
    api.served.stop().await;

    let store = Store::open(&url).await.unwrap();
    for _ in 0..3 {
        let swept = store.sweep().await.unwrap();
        assert!(
            swept.jobs.is_empty() && swept.abandoned == 0,
            "the job of a running performer is not swept: {swept:?}"
        );
    }
    let served = TestServer::start_on(store, &address, |server| server).await;
    client.beat(job).await.unwrap();
    let ReportAndClaimAnswer { reports, claimed: taken, .. } = client
        .report_and_claim(
            vec![performer::orchestrator::Report::new(
                first[0].claim,
                TransactionResult::Successful { output: None },
            )],
            take(job, 1),
        )
        .await;
    assert_eq!(*reports[0].as_ref().unwrap(), Status::Successful);
    let next = taken.unwrap().items;
    assert_eq!(next[0].item.reference.as_deref(), Some("next"));
    // What nobody knew of went back, and is taken now.
    let last = client.report_and_claim(Vec::new(), take(job, 1)).await.claimed.unwrap().items;
    assert_eq!((last[0].item.id.0, last[0].item.reference.as_deref()), (lost_id, Some("lost")));
    assert_eq!(last[0].item.retry_number, 0, "it does not count as an attempt");
    // The known claims are still valid.
    for claimed in [&next[0], &last[0]] {
        client.set_transaction_progress(claimed.claim, "mine".to_owned()).await.unwrap();
    }
    served.stop().await;
}

/// Dropped responses and aborted calls: in the end each item is done once, and none is left in progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_done_once_when_responses_are_lost() {
    let clock = Arc::new(performer::model::ManualClock::new(start_of_time()));
    let store = Store::memory_with_clock(clock.clone());
    let api = Api::over(store, clock, |server| server.fault("Exchange=lost@40%".parse().unwrap())).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    for n in 0..30 {
        api.add("Invoices", &n.to_string()).await;
    }
    let client = api.served.client().sped_up(100).connect().await.unwrap();
    let job = client.start_job(job("Invoices")).await.unwrap();
    let (mut done, mut lost) = (0, 0);
    for round in 0.. {
        if done == 30 {
            break;
        }
        assert!(round < 1_000, "{} items are left behind", 30 - done);
        // Whoever asked went away now and then, after the server had handed out.
        let asked = client.report_and_claim(Vec::new(), take(job, 2));
        let ReportAndClaimAnswer { claimed: taken, .. } = if lost < 5 {
            let Ok(answer) = tokio::time::timeout(Duration::from_millis(3), asked).await else {
                lost += 1;
                continue;
            };
            answer
        } else {
            asked.await
        };
        for claimed in taken.map(|taken| taken.items).unwrap_or_default() {
            let report = performer::orchestrator::Report::new(
                claimed.claim,
                TransactionResult::Successful { output: None },
            );
            let reported = client.report_and_claim(vec![report], None).await.reports;
            if reported[0].is_ok() {
                done += 1;
            }
        }
    }
    let held = api
        .post("/api/Performer/Held", &json!({"job": uuid::Uuid::from_bytes(job.to_bytes()), "void": []}))
        .await;
    assert_eq!(held.body["claims"], json!([]));
    let left = api.get("/odata/QueueItems?$filter=Status%20ne%20'Successful'&$count=true&$top=0").await.body;
    assert_eq!(left["@odata.count"], 0);
}

/// The shortest accepted lease: the server alone ends a job without heartbeats soon after its lease.
#[tokio::test]
async fn the_server_sweeps_the_shortest_lease() {
    let store = Store::memory_with_clock(Arc::new(SystemClock::new()));
    let server = Server::builder(store.clone()).first_client("id", "a long secret").open().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = tokio::spawn(server.serve(listener, std::future::pending()));
    store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
    store.start_job(job("Invoices").lease(MIN_LEASE)).await.unwrap();
    let state = async || store.list_jobs(1).await.unwrap()[0].state;
    let ended = async {
        while state().await != JobState::Faulted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the job is swept");
    serving.abort();
}
