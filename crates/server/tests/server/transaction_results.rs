//! Every form of a result over HTTP, and the status it leads to (orchestrator-api 9.1 and 13.2).

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
