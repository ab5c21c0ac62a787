//! Follow-up items over HTTP: they are added with the success that the lease protocol reports, once, whatever happens to answers.

use std::sync::Arc;

use performer::model::{ManualClock, NewJob, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, FollowUp, Report};
use performer::{NewQueueItem, Orchestrator as _};
use serde_json::{Value, json};

use crate::{Api, start_of_time};

fn job(queue: &str) -> NewJob {
    NewJob::new(queue).machine("m").process_id(1).version("1").robots(1)
}

/// A server with both queues, and the claim of a new item.
async fn with_claim(api: &Api) -> (Value, Value) {
    for queue in ["Invoices", "Payments"] {
        api.queue(&json!({ "Name": queue })).await;
    }
    api.add("Invoices", "a").await;
    let body = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
    let started = api.post("/api/Performer/StartJob", &body).await.body;
    assert_eq!(started["followUps"], true, "clients learn that the server adds them");
    let exchange = json!({"id": uuid::Uuid::from_u128(1), "reports": [],
        "take": {"queue": "Invoices", "job": started["job"], "robot": 1, "count": 1, "reference": null}});
    let answer = api.post("/api/Performer/Exchange", &exchange).await.body;
    (started["job"].clone(), answer["took"]["items"][0]["claim"].clone())
}

fn success(claim: &Value, follow_ups: &Value) -> Value {
    json!({"claim": claim, "result": {"successful": {"output": null}}, "progress": null, "followUps": follow_ups})
}

async fn payments(api: &Api) -> Vec<Value> {
    let items = api.get("/odata/QueueItems?$filter=Reference%20ne%20'a'&$orderby=Id").await.body;
    items["value"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_repeated_call_adds_once() {
    let api = Api::start().await;
    let (job, claim) = with_claim(&api).await;
    let follow_up = json!({"Name": "Payments", "Reference": "p", "SpecificContent": {"amount": 7}, "Priority": "High",
        "ParentOperationId": "of the caller"});
    let report = success(&claim, &json!([follow_up]));
    let with_take = json!({"id": uuid::Uuid::from_u128(2), "reports": [report],
        "take": {"queue": "Invoices", "job": job, "robot": 1, "count": 1, "reference": null}});
    let without = json!({"id": uuid::Uuid::from_u128(3), "reports": [report], "take": null});
    for body in [&with_take, &with_take, &without, &without] {
        let answer = api.post("/api/Performer/Exchange", body).await;
        assert_eq!(answer.body["reports"], json!([{"status": "Successful"}]), "{}", answer.text);
    }
    let added = payments(&api).await;
    assert_eq!(added.len(), 1);
    let follow_up = &added[0];
    assert_eq!((&follow_up["Reference"], &follow_up["Priority"]), (&json!("p"), &json!("High")));
    assert_eq!(follow_up["SpecificContent"], json!({"amount": 7}));
    assert_eq!(
        (&follow_up["CreatorJobKey"], &follow_up["ParentOperationId"]),
        (&job, &json!("of the caller"))
    );
}

#[tokio::test]
async fn a_follow_up_that_cannot_be_read_refuses_its_report_alone() {
    let api = Api::start().await;
    let (_, claim) = with_claim(&api).await;
    let data =
        |name: Value, priority: &str| json!({"Name": name, "Priority": priority, "SpecificContent": {}});
    for (follow_ups, expected) in [
        (
            json!([data(json!("Payments"), "Normal"), data(json!("Payments"), "Highest")]),
            "follow-up 2 for queue \"Payments\"",
        ),
        (json!([data(Value::Null, "Normal")]), "follow-up 1 for queue \"\": queue \"\" does not exist"),
        (
            json!([data(json!("None"), "Normal")]),
            "follow-up 1 for queue \"None\": queue \"None\" does not exist",
        ),
        (
            json!([{"Name": "Payments", "SpecificContent": {"lines": [1]}}]),
            "the value of \"lines\" is an array",
        ),
    ] {
        let mut gone = claim.clone();
        gone["item"] = json!(999_999);
        let reports = [success(&gone, &json!([])), success(&claim, &follow_ups)];
        let body = json!({"id": uuid::Uuid::from_u128(2), "reports": reports, "take": null});
        let answer = api.post("/api/Performer/Exchange", &body).await;
        assert_eq!(answer.body["reports"][0]["error"]["kind"], "ClaimLost", "{}", answer.text);
        let error = &answer.body["reports"][1]["error"];
        assert_eq!(error["kind"], "Invalid", "{}", answer.text);
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
    assert_eq!(payments(&api).await, [Value::Null; 0]);
    // A member that nobody knows is a mistake, or a newer client relies on it.
    let unknown = success(&claim, &json!([{"Name": "Payments", "SpecificContent": {}, "Colour": "red"}]));
    let body = json!({"id": uuid::Uuid::from_u128(2), "reports": [unknown], "take": null});
    assert_eq!(api.post("/api/Performer/Exchange", &body).await.status, 400);
    let body =
        json!({"id": uuid::Uuid::from_u128(2), "reports": [success(&claim, &json!([]))], "take": null});
    let answer = api.post("/api/Performer/Exchange", &body).await;
    assert_eq!(answer.body["reports"], json!([{"status": "Successful"}]), "the claim still holds");
}

/// The queues are those of the caller's folder, also where another folder has one of that name.
#[tokio::test]
async fn follow_ups_stay_in_the_folder_of_the_caller() {
    let api = Api::start().await;
    let (_, claim) = with_claim(&api).await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    let finance =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let other = json!({"Name": "Elsewhere"});
    let made = api.call_as(&finance, Some("Finance"), "POST", "/odata/QueueDefinitions", &other).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let report = success(&claim, &json!([{"Name": "Elsewhere", "SpecificContent": {}}]));
    let body = json!({"id": uuid::Uuid::from_u128(2), "reports": [report], "take": null});
    let answer = api.post("/api/Performer/Exchange", &body).await;
    assert_eq!(
        answer.body["reports"][0]["error"]["message"],
        "follow-up 1 for queue \"Elsewhere\": queue \"Elsewhere\" does not exist"
    );
    // Nor does a foreign caller with the claim add anything.
    let report = success(&claim, &json!([{"Name": "Elsewhere", "SpecificContent": {}}]));
    let body = json!({"id": uuid::Uuid::from_u128(2), "reports": [report], "take": null});
    let path = "/api/Performer/Exchange";
    let answer = api.call_as(&finance, Some("Finance"), "POST", path, &body).await;
    assert_eq!(answer.body["reports"][0]["error"]["kind"], "ClaimLost", "{}", answer.text);
    let path = "/odata/QueueItems";
    let items = api.call_as(&finance, Some("Finance"), "GET", path, &Value::Null).await;
    assert_eq!(items.body["value"], json!([]), "{}", items.text);
}

/// Answers are lost all the time: each success has its follow-up once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_ups_are_added_once_when_responses_are_lost() {
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::memory_with_clock(clock.clone());
    let api = Api::over(store, clock, |server| server.fault("Exchange=lost@40%".parse().unwrap())).await;
    for queue in ["Invoices", "Payments"] {
        api.queue(&json!({ "Name": queue })).await;
    }
    for number in 0..20 {
        api.add("Invoices", &number.to_string()).await;
    }
    let client = api.served.client().sped_up(100).connect().await.unwrap();
    assert!(client.supports_follow_ups());
    let job = client.start_job(job("Invoices")).await.unwrap();
    let (mut done, mut reports) = (0, Vec::new());
    for round in 0.. {
        if done == 20 {
            break;
        }
        assert!(round < 1_000, "{} items are left behind", 20 - done);
        let take = ClaimRequest::new("Invoices", job, 2).robot(1);
        let answer = client.report_and_claim(reports.clone(), Some(take)).await;
        let mut unanswered = Vec::new();
        for (report, answered) in reports.drain(..).zip(answer.reports) {
            match answered {
                Ok(_) => done += 1,
                Err(_) => unanswered.push(report),
            }
        }
        reports = unanswered;
        reports.extend(answer.claimed.into_iter().flat_map(|claimed| claimed.items).map(|claimed| {
            let reference = claimed.item.reference.clone().unwrap();
            let payment = NewQueueItem::new(json!({})).reference(format!("of {reference}"));
            let success = TransactionResult::Successful { output: None };
            Report::new(claimed.claim, success).follow_ups(vec![FollowUp::new("Payments", payment)])
        }));
    }
    let items = api.get("/odata/QueueItems?$filter=startswith(Reference,'of%20')&$top=100").await.body;
    let mut references: Vec<&str> =
        items["value"].as_array().unwrap().iter().map(|item| item["Reference"].as_str().unwrap()).collect();
    references.sort_unstable();
    let mut expected: Vec<String> = (0..20).map(|number| format!("of {number}")).collect();
    expected.sort();
    assert_eq!(references, expected);
}
