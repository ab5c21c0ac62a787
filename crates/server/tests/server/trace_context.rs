//! The header `traceparent` of a request becomes the ParentOperationId of the items that it adds.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::*;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Posts a body with these headers `traceparent`.
async fn post(api: &Api, path: &str, traceparents: &[&str], body: &Value) -> ApiResponse {
    let request = api.request("POST", path).bearer_auth(&api.token).header("X-UIPATH-FolderPath", "Shared");
    let request = request.header("content-type", "application/json").body(body.to_string());
    let with = |request: RequestBuilder, value: &&str| request.header("traceparent", *value);
    let answer = api.send(traceparents.iter().fold(request, with)).await;
    assert!(answer.status < 300, "{}", answer.text);
    answer
}

async fn add(api: &Api, traceparents: &[&str], parent: Option<&str>) -> Value {
    let mut item = json!({"Name": "Q", "SpecificContent": {"a": 1}});
    if let Some(parent) = parent {
        item["ParentOperationId"] = parent.into();
    }
    let path = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    post(api, path, traceparents, &json!({ "itemData": item })).await.body["ParentOperationId"].clone()
}

#[tokio::test]
async fn every_route_that_adds_keeps_the_header() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Q"})).await;
    assert_eq!(add(&api, &[TRACEPARENT], None).await, TRACEPARENT);

    let item = json!({"SpecificContent": {"a": 1}});
    let given = json!({"SpecificContent": {"a": 1}, "ParentOperationId": "of the caller"});
    let many = json!({"queueName": "Q", "commitType": "AllOrNothing", "queueItems": [item, given]});
    post(&api, "/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &[TRACEPARENT], &many).await;
    let listed = api.get("/odata/QueueItems?$orderby=Id").await.body;
    let kept: Vec<&Value> =
        listed["value"].as_array().unwrap().iter().map(|item| &item["ParentOperationId"]).collect();
    assert_eq!(kept, [TRACEPARENT, TRACEPARENT, "of the caller"]);

    let start = json!({"transactionData": {"Name": "Q", "SpecificContent": {"a": 1}}});
    let path = "/odata/Queues/UiPathODataSvc.StartTransaction";
    let started = post(&api, path, &[TRACEPARENT], &start).await.body;
    assert_eq!(started["ParentOperationId"], TRACEPARENT);

    let job =
        json!({"queue": "Q", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
    let job = api.post("/api/Performer/StartJob", &job).await.body["job"].clone();
    let take = json!({"queue": "Q", "job": job, "robot": 1, "count": 1, "reference": null});
    let start = json!({"id": uuid::Uuid::from_u128(1), "take": take, "item": item});
    let started = post(&api, "/api/Performer/AddAndStart", &[TRACEPARENT], &start).await.body;
    assert_eq!(started["item"]["ParentOperationId"], TRACEPARENT);
    api.served.stop().await;
}

#[tokio::test]
async fn the_body_and_the_form_decide() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Q"})).await;
    assert_eq!(add(&api, &[], None).await, Value::Null);
    assert_eq!(add(&api, &[TRACEPARENT], Some("of the caller")).await, "of the caller");
    let later = format!("cc-{}-what-is-new", &TRACEPARENT[3..]);
    assert_eq!(add(&api, &[&later], None).await, TRACEPARENT, "what is known of a later version");
    let upper = TRACEPARENT.to_uppercase();
    let other = TRACEPARENT.replace("b7", "b8");
    let no_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
    for malformed in [
        vec![""],
        vec!["00-1-2-01"],
        vec![&TRACEPARENT[1..]],
        vec![&upper],
        vec![&no_trace],
        vec![TRACEPARENT, &other],
        vec![TRACEPARENT, TRACEPARENT],
    ] {
        assert_eq!(add(&api, &malformed, None).await, Value::Null, "{malformed:?}");
    }
    api.served.stop().await;
}

#[tokio::test]
async fn strict_mode_does_not_read_the_header() {
    let api = Api::start_as(|server| server.strict(true)).await;
    api.queue(&json!({"Name": "Q"})).await;
    assert_eq!(add(&api, &[TRACEPARENT], None).await, Value::Null);
    api.served.stop().await;
}
