//! Every form of a result over HTTP, and the status it leads to (orchestrator-api 9.1 and 13.2), also without a claim on an item
//! that is held. T11 is a transition of `docs/reference/lifecycle.md`.

use std::time::Duration;

use performer::model::Clock as _;
use serde_json::{Value, json};

use crate::Api;

const MINUTE: Duration = Duration::from_secs(60);

async fn item(api: &Api, item: &Value) -> Value {
    api.get(&format!("/odata/QueueItems({})", item["Id"])).await.body
}

/// The vendor's activity postpones with `IsSuccessful: true`; a date that has passed by the clock of the store is ignored.
#[tokio::test]
async fn a_postponed_item_is_not_successful() {
    let api = Api::start().await;
    let (past, future) = ("2026-01-01T00:00:00Z", "<soon>");
    for (number, (result, expected)) in [
        (json!({"IsSuccessful": true, "DeferDate": future}), "New"),
        (json!({"IsSuccessful": false, "DeferDate": future}), "New"),
        (json!({"DeferDate": future}), "New"),
        (json!({"IsSuccessful": true, "DeferDate": future, "ProcessingException": null, "Output": {"a": 1}}), "New"),
        (json!({"IsSuccessful": true, "DeferDate": past}), "Successful"),
        (json!({"IsSuccessful": false, "DeferDate": past}), "New"),
        (json!({"IsSuccessful": true}), "Successful"),
        (json!({"IsSuccessful": false}), "Failed"),
        (json!({}), "Failed"),
        (json!({"ProcessingException": {"Type": "ApplicationException"}, "DeferDate": future}), "Retried"),
    ]
    .into_iter()
    .enumerate()
    {
        let queue = format!("Q{number}");
        api.queue(&json!({"Name": queue, "MaxNumberOfRetries": 1})).await;
        api.add(&queue, "a").await;
        let taken = api.take(&queue).await.unwrap();
        let waits = result["DeferDate"] == future;
        let soon = (api.clock.now() + MINUTE).to_string();
        let mut sent = result.clone();
        if waits {
            sent["DeferDate"] = json!(soon);
        }
        let answer = api.result(&taken, &sent).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{result}");
        let after = item(&api, &taken).await;
        assert_eq!(after["Status"], expected, "{result}");
        if expected != "New" {
            continue;
        }
        assert_eq!((&after["RetryNumber"], &after["StartProcessing"]), (&json!(0), &Value::Null), "{result}");
        assert_eq!(after["DeferDate"], if waits { json!(soon) } else { Value::Null }, "{result}");
        let again = api.take(&queue).await;
        assert_eq!(again.is_none(), waits, "{result}: not before its date");
        api.clock.advance(MINUTE);
        let again = if waits { api.take(&queue).await } else { again };
        assert_eq!(api.result(&again.unwrap(), &json!({"IsSuccessful": true})).await.status, 200);
        assert_eq!(item(&api, &taken).await["Status"], "Successful", "{result}");
    }
}

/// Whoever may edit transactions may end an item that a performer holds. The performer is then told that its claim is lost
/// (choices 13).
#[tokio::test]
async fn a_result_without_a_claim_ends_an_item_that_a_performer_holds() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 1})).await;
    let about = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 60_000});
    let job = api.post("/api/Performer/StartJob", &about).await.body["job"].clone();
    let exchange = async |call: u128, reports: Value, take: Value| {
        let body = json!({"id": uuid::Uuid::from_u128(call), "reports": reports, "take": take});
        let got = api.post("/api/Performer/Exchange", &body).await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.body
    };
    let take = json!({"queue": "Invoices", "job": job, "robot": 1, "count": 1, "reference": null});
    let successful = json!({"successful": {"output": null}});
    let failed =
        json!({"failed": {"exception": {"Type": "BusinessException", "Reason": "no"}, "defer_date": null}});
    let somebody = api
        .application_token("somebody", "OrchestratorApiUserAccess", &["Automation User"], &["Shared"])
        .await;
    for (number, (result, status, report)) in [
        (json!({"IsSuccessful": true}), "Successful", &failed),
        (
            json!({"IsSuccessful": false, "ProcessingException": {"Type": "BusinessException"}}),
            "Failed",
            &successful,
        ),
        (
            json!({"IsSuccessful": false, "ProcessingException": {"Type": "ApplicationException"}}),
            "Retried",
            &successful,
        ),
        (
            json!({"IsSuccessful": true, "DeferDate": (api.clock.now() + MINUTE).to_string()}),
            "New",
            &successful,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let number = 10 * number as u128;
        let added = api.add("Invoices", "held").await;
        let taken = exchange(number, json!([]), take.clone()).await["took"]["items"][0].clone();
        assert_eq!(taken["claim"]["item"], added["Id"], "{result}");
        let path = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", added["Id"]);
        let body = json!({ "transactionResult": result });
        let ended = api.call_as(&somebody, Some("Shared"), "POST", &path, &body).await;
        assert_eq!(ended.status, 200, "{result}: {}", ended.text);
        let after = item(&api, &added).await;
        assert_eq!(after["Status"], status, "{result}");
        // The report of the performer changes nothing, and neither does one that is made again.
        let report = json!({"claim": taken["claim"], "result": report, "progress": null});
        for again in 1..=2 {
            let told = exchange(number + again, json!([report]), Value::Null).await;
            assert_eq!(told["reports"][0]["error"]["kind"], "ClaimLost", "{result}: {told}");
        }
        let progress = json!({"claim": taken["claim"], "progress": "half"});
        let told = api.post("/api/Performer/Progress", &progress).await;
        assert!(told.status == 409 && told.body["claimLost"] == true, "{result}: {}", told.text);
        assert_eq!(item(&api, &added).await, after, "{result}: the result of somebody else stays");
        // The same outcome looks like a repeat, and is Ok (lifecycle T11).
        if status == "Successful" {
            let same = json!({"claim": taken["claim"], "result": successful, "progress": null});
            let told = exchange(number + 3, json!([same]), Value::Null).await;
            assert_eq!(told["reports"][0], json!({"status": "Successful"}), "{told}");
            assert_eq!(item(&api, &added).await, after);
        }
        // What is left to do is not in the way of the next case.
        let left = api.get("/odata/QueueItems?$filter=Status eq 'New'").await.body["value"].clone();
        for left in left.as_array().unwrap() {
            assert_eq!(
                api.call("DELETE", &format!("/odata/QueueItems({})", left["Id"]), &Value::Null).await.status,
                204
            );
        }
    }
}
