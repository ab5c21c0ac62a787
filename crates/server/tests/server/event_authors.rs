//! The events of an item name the user or application that caused them, on every store (orchestrator-api 11).

use std::sync::Arc;
use std::time::Duration;

use performer::model::{Clock as _, ManualClock, NewJob, TransactionResult};
use performer::orchestrator::ItemAdministration as _;
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Report};
use performer::server::Roles;
use performer::{ItemId, JobKey, Orchestrator as _};
use serde_json::{Value, json};

use crate::{Api, ApiResponse};
use performer_proofs::start_of_time;
use performer_proofs::test_server::CLIENT;

/// A user or application with its own token, as events name it.
struct Actor {
    token: String,
    id: i64,
    name: &'static str,
    client: Option<String>,
}

async fn application(api: &Api, name: &'static str) -> Actor {
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let (client, secret) =
        api.served.access_admin.add_client(name, "OR.Default OR.Queues", &roles).await.unwrap();
    let token = api.login(&client, &secret, None).await.unwrap();
    let id = api.served.access_admin.directory().client(&client).unwrap().user;
    Actor { token, id, name, client: Some(client) }
}

/// A user who logs in with a password.
async fn user(api: &Api, name: &'static str) -> Actor {
    let body = json!({"UserName": name, "Password": "correct horse", "RolesList": ["Administrator"]});
    let made = api.post("/odata/Users", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let login =
        json!({"tenancyName": "Default", "usernameOrEmailAddress": name, "password": "correct horse"});
    let answer = api.call_as("", None, "POST", "/api/Account/Authenticate", &login).await;
    let token = answer.body["result"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
    Actor { token, id: made.body["Id"].as_i64().unwrap(), name, client: None }
}

impl Actor {
    async fn call(&self, api: &Api, method: &str, path: &str, body: &Value) -> ApiResponse {
        let got = api.call_as(&self.token, Some("Shared"), method, path, body).await;
        assert!(got.status < 300, "{method} {path} by {}: {} {}", self.name, got.status, got.text);
        got
    }

    async fn add(&self, api: &Api) -> i64 {
        let item = json!({"itemData": {"Name": "Q", "SpecificContent": {"a": 1}}});
        let added = self.call(api, "POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
        added.body["Id"].as_i64().unwrap()
    }

    async fn take(&self, api: &Api) -> i64 {
        let body = json!({"transactionData": {"Name": "Q"}});
        let taken = self.call(api, "POST", "/odata/Queues/UiPathODataSvc.StartTransaction", &body).await;
        taken.body["Id"].as_i64().unwrap()
    }

    async fn progress(&self, api: &Api, id: i64, text: &str) {
        let path = format!("/odata/QueueItems({id})/UiPathODataSvc.SetTransactionProgress");
        self.call(api, "POST", &path, &json!({"progress": text})).await;
    }

    async fn result(&self, api: &Api, id: i64, result: &Value) {
        let path = format!("/odata/Queues({id})/UiPathODataSvc.SetTransactionResult");
        self.call(api, "POST", &path, &json!({"transactionResult": result})).await;
    }
}

/// The events of an item as action, status and author. The members with the author must agree.
async fn events_of(api: &Api, id: i64, actors: &[&Actor]) -> Vec<(String, String, Option<&'static str>)> {
    let path = format!("/odata/QueueItemEvents?$filter=QueueItemId eq {id}");
    let events = api.get(&path).await.body["value"].as_array().unwrap().clone();
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let of = |event: &Value| {
        let by = actors.iter().find(|actor| event["UserId"] == actor.id);
        let expected = match by {
            Some(by) => json!([by.id, by.name, by.client]),
            None => json!([null, null, null]),
        };
        assert_eq!(
            json!([event["UserId"], event["UserName"], event["ExternalClientId"]]),
            expected,
            "{event}"
        );
        (text(event, "Action"), text(event, "Status"), by.map(|by| by.name))
    };
    let told = events.iter().map(of).collect();
    assert!(
        events.windows(2).all(|pair| text(&pair[0], "Timestamp") <= text(&pair[1], "Timestamp")),
        "{told:?}"
    );
    told
}

fn expected_events(
    events: &[(&str, &str, Option<&'static str>)],
) -> Vec<(String, String, Option<&'static str>)> {
    events.iter().map(|(action, status, by)| ((*action).to_owned(), (*status).to_owned(), *by)).collect()
}

async fn events_name_users_and_applications(api: &Api) {
    api.queue(&json!({"Name": "Q", "MaxNumberOfRetries": 1, "RetryAbandonedItems": true})).await;
    let ann = user(api, "ann").await;
    let (loader, robot) = (application(api, "loader").await, application(api, "robot").await);
    let actors = [&ann, &loader, &robot];
    let tick = || api.clock.advance(Duration::from_secs(1));
    let failed = json!({"IsSuccessful": false, "ProcessingException": {"Reason": "down", "Type": "ApplicationException"}});

    // The actions on one item by several actors, with progress before its end and a review after it.
    let id = loader.add(api).await;
    tick();
    assert_eq!(robot.take(api).await, id);
    for text in ["a third", "two thirds"] {
        tick();
        robot.progress(api, id, text).await;
    }
    tick();
    ann.result(api, id, &failed).await;
    let mut expected = vec![
        ("Create", "New", Some("loader")),
        ("Status", "InProgress", Some("robot")),
        ("Edit", "InProgress", Some("robot")),
        ("Edit", "InProgress", Some("robot")),
        ("Retry", "Retried", Some("ann")),
    ];
    assert_eq!(events_of(api, id, &actors).await, expected_events(&expected));
    // Events that the row no longer shows are stored. The copy was created by the actor who ended the attempt.
    tick();
    loader.call(api, "DELETE", &format!("/odata/QueueItems({id})"), &Value::Null).await;
    expected.push(("Delete", "Deleted", Some("loader")));
    assert_eq!(events_of(api, id, &actors).await, expected_events(&expected));

    // Its copy: started, postponed, started by another actor, failed, and reviewed.
    let copy = robot.take(api).await;
    tick();
    let soon = (api.clock.now() + Duration::from_secs(60)).to_string();
    ann.result(api, copy, &json!({"IsSuccessful": false, "DeferDate": soon})).await;
    api.clock.advance(Duration::from_secs(61));
    assert_eq!(ann.take(api).await, copy);
    tick();
    robot.progress(api, copy, "half").await;
    tick();
    robot.result(api, copy, &failed).await;
    tick();
    let version = api.get(&format!("/odata/QueueItems({copy})")).await.body["RowVersion"].clone();
    let review = json!({"status": "Verified", "queueItems": [{"Id": copy, "RowVersion": version}]});
    ann.call(api, "POST", "/odata/QueueItems/UiPathODataSvc.SetItemReviewStatus", &review).await;
    assert_eq!(
        events_of(api, copy, &actors).await,
        expected_events(&[
            ("Create", "New", Some("ann")),
            ("Status", "InProgress", Some("robot")),
            ("Status", "New", Some("ann")),
            ("Status", "InProgress", Some("ann")),
            ("Edit", "InProgress", Some("robot")),
            ("Status", "Failed", Some("robot")),
            ("Status", "Failed", Some("ann")),
        ])
    );
}

/// Performers with a lease are named like other callers. Events without an actor name nobody.
async fn events_name_performers_but_not_the_server(api: &Api) {
    let client = api.served.client().connect().await.unwrap();
    let directory = api.served.access_admin.directory();
    let id = directory.client(CLIENT).unwrap().user;
    let client_id = Some(CLIENT.to_owned());
    let performer = Actor { token: String::new(), id, name: "first-application", client: client_id };
    let actors = [&performer];
    let new = |reference: &str| performer::NewQueueItem::new(json!({"a": 1})).reference(reference);
    let take = |job: JobKey| ClaimRequest::new("P", job, 1).robot(0);

    api.queue(&json!({"Name": "P", "RetryAbandonedItems": true, "MaxNumberOfRetries": 1})).await;
    let job = client.start_job(NewJob::new("P")).await.unwrap();
    let added = client.add_queue_item("P", new("a")).await.unwrap();
    let taken =
        client.report_and_claim(Vec::new(), Some(take(job))).await.claimed.unwrap().items.pop().unwrap();
    client.set_transaction_progress(taken.claim, "half".to_owned()).await.unwrap();
    let result = TransactionResult::Successful { output: None };
    let report = Report::new(taken.claim, result);
    client.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    let by = Some("first-application");
    assert_eq!(
        events_of(api, added.id.0, &actors).await,
        expected_events(&[
            ("Create", "New", by),
            ("Status", "InProgress", by),
            ("Edit", "InProgress", by),
            ("Status", "Successful", by),
        ])
    );

    // The items of a lost performer are ended by the server, which is not a user.
    let lost = client.add_queue_item("P", new("b")).await.unwrap();
    client.report_and_claim(Vec::new(), Some(take(job))).await.claimed.unwrap().items.pop().unwrap();
    let mut abandoned = 0;
    for _ in 0..120 {
        api.clock.advance(Duration::from_secs(1));
        abandoned += api.served.store.sweep().await.unwrap().abandoned;
    }
    assert_eq!(abandoned, 1);
    let nobody = None;
    assert_eq!(
        events_of(api, lost.id.0, &actors).await,
        expected_events(&[("Create", "New", by), ("Status", "InProgress", by), ("Retry", "Retried", nobody)])
    );
    let copy = client.processing_history(lost.id).await.unwrap().pop().unwrap().id;
    assert_ne!(copy, lost.id);
    assert_eq!(events_of(api, copy.0, &actors).await, expected_events(&[("Create", "New", nobody)]));

    // Items that are added directly to the store have no author.
    let own = api.served.store.add_queue_item("P", new("c")).await.unwrap();
    assert_eq!(events_of(api, own.id.0, &actors).await, expected_events(&[("Create", "New", nobody)]));
}

/// Progress adds events up to a limit, and the end is the last event.
async fn progress_events_are_bounded(api: &Api) {
    const TIMES: u64 = 130;
    api.queue(&json!({"Name": "Long"})).await;
    let body = json!({"transactionData": {"Name": "Long", "SpecificContent": {"a": 1}}});
    let item = api.post("/odata/Queues/UiPathODataSvc.StartTransaction", &body).await.body;
    let id = ItemId(item["Id"].as_i64().unwrap());
    for n in 0..TIMES {
        let path = format!("/odata/QueueItems({id})/UiPathODataSvc.SetTransactionProgress");
        assert_eq!(api.post(&path, &json!({"progress": n.to_string()})).await.status, 200);
    }
    assert_eq!(api.result(&item, &json!({"IsSuccessful": true})).await.status, 200);
    let events = api.served.store.item_events(id).await.unwrap();
    let statuses: Vec<_> = events.iter().map(|event| event.status.to_string()).collect();
    assert_eq!(statuses.len(), 103, "created, started, 100 of progress, ended");
    assert_eq!(statuses.last().unwrap(), "Successful");
    assert!(statuses[1..102].iter().all(|status| status == "InProgress"));
    let item = api.get(&format!("/odata/QueueItems({id})")).await.body;
    assert_eq!(item["Progress"], (TIMES - 1).to_string(), "the last progress is kept");
}

async fn all(store: Store, clock: Arc<ManualClock>) {
    let api = Api::over(store, clock, |server| server).await;
    events_name_users_and_applications(&api).await;
    events_name_performers_but_not_the_server(&api).await;
    progress_events_are_bounded(&api).await;
    api.served.stop().await;
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_of_time()))
}

#[tokio::test]
async fn events_name_their_author_in_memory() {
    let clock = clock();
    all(Store::memory_with_clock(clock.clone()), clock).await;
}

#[tokio::test]
async fn events_name_their_author_in_sqlite() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let path = folder.path().join("queue.db");
    all(Store::sqlite_with_clock(path, clock.clone()).await.unwrap(), clock).await;
}

#[tokio::test]
async fn events_name_their_author_in_postgres() {
    let (clock, schema) = (clock(), performer_proofs::postgres::Schema::new());
    all(Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(), clock).await;
}
