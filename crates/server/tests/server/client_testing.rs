//! Server options for testing clients: strict mode, rate limit, injected faults.

use std::time::Duration;

use performer::model::UserType;
use performer::server::Roles;
use serde_json::{Value, json};

use crate::Api;

#[tokio::test]
async fn strict_mode_behaves_like_the_cloud() {
    let api = Api::start_as(|server| server.strict(true)).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "a").await;
    assert!(api.take("Invoices").await.is_none(), "only robots get items");
    let create = json!({"transactionData": {"Name": "Invoices", "SpecificContent": {"a": 1}}});
    assert_eq!(api.post("/odata/Queues/UiPathODataSvc.StartTransaction", &create).await.status, 200);
    let roles = Roles { roles: vec!["Automation User".to_owned()], folders: Vec::new() };
    api.served.access_admin.add_user("robot", UserType::Robot, None, &roles).await.unwrap();
    let key = api.served.access_admin.add_robot("R1", "robot").await.unwrap();
    let token = api
        .served
        .access_admin
        .add_token("robot", "t", "OrchestratorApiUserAccess", Duration::from_secs(60))
        .await
        .unwrap();
    let take = json!({"transactionData": {"Name": "Invoices", "RobotIdentifier": key.to_string()}});
    let path = "/odata/Queues/UiPathODataSvc.StartTransaction";
    let taken = async {
        // The server refreshes twice a second, and does not know the robot before.
        loop {
            let taken = api.call_as(&token, Some("Shared"), "POST", path, &take).await;
            if taken.body["Reference"] == "a" {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let taken = tokio::time::timeout(Duration::from_secs(30), taken).await.expect("the robot gets the item");
    assert_eq!((taken.status, &taken.body["Reference"]), (200, &json!("a")));
    let robots = api.get("/odata/Robots").await.body;
    assert_eq!(taken.body["RobotId"], robots["value"][0]["Id"]);
    let found = api.get("/odata/QueueItems?$filter=Robot/Name eq 'R1'&$expand=Robot").await.body;
    assert_eq!(found["value"][0]["Robot"]["Name"], "R1");
    for (path, body, parameter) in [
        ("/odata/QueueDefinitions", json!({"Name": "Q", "Colour": "red"}), "queueDefinitionDto"),
        (
            "/odata/Queues/UiPathODataSvc.AddQueueItem",
            json!({"itemData": {"Name": "Invoices", "Prio": "High"}}),
            "itemData",
        ),
    ] {
        let got = api.post(path, &body).await;
        assert_eq!((got.status, got.code()), (400, 1000));
        assert!(
            got.body["message"].as_str().unwrap().contains(&format!("{parameter} must not be null")),
            "{}",
            got.text
        );
    }
    let mild = Api::start().await;
    assert_eq!(
        mild.post("/odata/QueueDefinitions", &json!({"Name": "Q", "Colour": "red"})).await.status,
        201
    );
}

#[tokio::test]
async fn the_rate_limit_is_reported_like_the_clouds() {
    let api = Api::start_as(|server| server.rate_limit(15)).await;
    let mut left = Vec::new();
    for _ in 0..15 {
        let got = api.get("/odata/QueueItems").await;
        assert_eq!(got.status, 200);
        left.push(got.headers["x-ratelimit-remaining"].to_str().unwrap().parse::<u32>().unwrap());
    }
    assert_eq!((left[0], left[4], left[5], left[14]), (14, 10, 0, 0));
    let got = api.get("/odata/QueueItems").await;
    assert_eq!(
        (got.status, &got.headers["retry-after"]),
        (429, &reqwest::header::HeaderValue::from_static("60"))
    );
    assert_eq!(api.get("/odata/QueueDefinitions").await.status, 200, "other operations have no limit");
    api.clock.advance(Duration::from_secs(60));
    assert_eq!(api.get("/odata/QueueItems").await.status, 200);
}

#[tokio::test]
async fn configured_faults_are_injected() {
    let faults = [
        "AddQueueItem=503@50%",
        "SetTransactionProgress=lost@100%",
        "DeleteQueueItem=done:502@100%",
        "StartTransaction=abandon@100%",
        "GetReviewers=50ms@100%",
    ];
    let api = Api::start_as(|server| {
        faults.iter().fold(server, |server, fault| server.fault(fault.parse().unwrap()))
    })
    .await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let item = json!({"itemData": {"Name": "Invoices", "SpecificContent": {"a": 1}}});
    let (mut added, mut refused) = (0, 0);
    for _ in 0..100 {
        let got = api.post("/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
        match got.status {
            201 => added += 1,
            503 => {
                assert!(got.is_api_error() && got.headers.contains_key("retry-after"));
                refused += 1;
            }
            other => panic!("{other}: {}", got.text),
        }
    }
    assert!(added > 30 && refused > 30, "{added} {refused}");
    let count = api.get("/odata/QueueItems?$count=true&$top=1").await.body["@odata.count"].clone();
    assert_eq!(count, added, "refused calls are not executed");
    let deleted = api.call("DELETE", "/odata/QueueItems(1)", &Value::Null).await;
    assert_eq!(deleted.status, 502);
    assert_eq!(api.get("/odata/QueueItems(1)").await.body["Status"], "Deleted", "the call was executed");
    let taken = api.take("Invoices").await.unwrap();
    assert_eq!(taken["Status"], "InProgress");
    let path = format!("/odata/QueueItems({})", taken["Id"]);
    assert_eq!(api.get(&path).await.body["Status"], "Abandoned");
    let late = api.result(&taken, &json!({"IsSuccessful": true})).await;
    assert_eq!((late.status, late.code()), (409, 1866));
    let create = json!({"itemData": {"Name": "Invoices", "SpecificContent": {"a": 1}}});
    drop(create);
    let lost = api
        .request("POST", "/odata/QueueItems(2)/UiPathODataSvc.SetTransactionProgress")
        .bearer_auth(&api.token);
    let lost = lost
        .header("X-UIPATH-FolderPath", "Shared")
        .header("content-type", "application/json")
        .body("{\"progress\":\"x\"}");
    // Only the response of an executed call is dropped, not an error.
    let failed = lost.send().await.unwrap();
    assert_eq!(failed.status(), 409);
}

#[tokio::test]
async fn a_dropped_response_closes_the_connection() {
    let api = Api::start_as(|server| server.fault("SetTransactionProgress=lost".parse().unwrap())).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "a").await;
    let taken = api.take("Invoices").await.unwrap();
    let path = format!("/odata/QueueItems({})/UiPathODataSvc.SetTransactionProgress", taken["Id"]);
    let request = api.request("POST", &path).bearer_auth(&api.token).header("X-UIPATH-FolderPath", "Shared");
    let answer =
        request.header("content-type", "application/json").body("{\"progress\":\"half\"}").send().await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(api.get(&format!("/odata/QueueItems({})", taken["Id"])).await.body["Progress"], "half");
}
