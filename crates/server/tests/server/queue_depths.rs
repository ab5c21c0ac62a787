//! The depths of queues in `/metrics`, by which instances of a performer are started and stopped.

use serde_json::{Value, json};

use crate::Api;

/// The lines of the metrics about queues, without their common start.
async fn depths(api: &Api) -> Vec<String> {
    let got = api.call_as(&api.token, None, "GET", "/metrics", &Value::Null).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert!(got.text.ends_with("# EOF\n") && got.text.matches("# EOF").count() == 1, "{}", got.text);
    let mut lines: Vec<String> = got
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("performer_queue_items"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn metrics_have_the_depth_of_each_queue_once() {
    let api = Api::start().await;
    assert_eq!(depths(&api).await, Vec::<String>::new());
    let finance = api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await.body["Id"].clone();
    let invoices = api.queue(&json!({"Name": "Invoices"})).await;
    let payments = api
        .call_as(
            &api.token,
            Some("Finance"),
            "POST",
            "/odata/QueueDefinitions",
            &json!({"Name": "Pay \"now\""}),
        )
        .await;
    assert_eq!(payments.status, 201, "{}", payments.text);
    // It is in two folders, and counted in the one where it was created.
    let share = json!({"QueueIds": [invoices], "ToAddFolderIds": [finance]});
    assert_eq!(api.post("/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders", &share).await.status, 204);
    for reference in ["a", "b", "c"] {
        api.add("Invoices", reference).await;
    }
    assert!(api.take("Invoices").await.is_some());
    assert_eq!(
        depths(&api).await,
        [
            r#"{folder="Finance",queue="Pay \"now\"",state="in_progress"} 0"#,
            r#"{folder="Finance",queue="Pay \"now\"",state="new"} 0"#,
            r#"{folder="Shared",queue="Invoices",state="in_progress"} 1"#,
            r#"{folder="Shared",queue="Invoices",state="new"} 2"#,
        ]
    );
    let path = format!("/odata/QueueDefinitions({invoices})");
    let deleted = api.call_as(&api.token, Some("Shared"), "DELETE", &path, &Value::Null).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(depths(&api).await.len(), 2, "a deleted queue is gone");
}
