//! Queues in several folders, in calls without a folder (orchestrator-api 6).

use serde_json::{Value, json};

use crate::Api;

const SHARE: &str = "/odata/QueueDefinitions/UiPath.Server.Configuration.OData.ShareToFolders";

async fn folder(api: &Api, name: &str) -> i64 {
    let made = api.post("/odata/Folders", &json!({"DisplayName": name})).await;
    made.body["Id"].as_i64().unwrap()
}

async fn folders_of(api: &Api, queue: i64) -> (u16, Vec<i64>) {
    let path =
        format!("/odata/QueueDefinitions/UiPath.Server.Configuration.OData.GetFoldersForQueue(id={queue})");
    let got = api.call_as(&api.token, None, "GET", &path, &Value::Null).await;
    let folders = got.body["AccessibleFolders"].as_array().cloned().unwrap_or_default();
    (got.status, folders.iter().map(|folder| folder["Id"].as_i64().unwrap()).collect())
}

#[tokio::test]
async fn a_queue_is_found_in_any_folder() {
    let api = Api::start().await;
    let (finance, people) = (folder(&api, "Finance").await, folder(&api, "People").await);
    let mut queues = Vec::new();
    for name in ["Shared", "Finance", "People"] {
        let queue = json!({"Name": format!("In {name}")});
        let made = api.call_as(&api.token, Some(name), "POST", "/odata/QueueDefinitions", &queue).await;
        queues.push(made.body["Id"].as_i64().unwrap());
    }
    for (queue, own) in queues.iter().zip([1, finance, people]) {
        assert_eq!(folders_of(&api, *queue).await, (200, vec![own]));
    }
    let share = |queues: &[i64], add: &[i64]| json!({"QueueIds": queues, "ToAddFolderIds": add});
    let answer = api.call_as(&api.token, None, "POST", SHARE, &share(&queues, &[people])).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(folders_of(&api, queues[0]).await, (200, vec![1, people]));
    assert_eq!(folders_of(&api, queues[1]).await, (200, vec![finance, people]));
    assert_eq!(folders_of(&api, queues[2]).await, (200, vec![people]));
    // An unknown queue is not found, and then no other queue of the call is shared.
    assert_eq!(folders_of(&api, 999).await, (404, Vec::new()));
    let answer = api.call_as(&api.token, None, "POST", SHARE, &share(&[queues[1], 999], &[1])).await;
    assert_eq!((answer.status, answer.code()), (404, 1002));
    assert_eq!(folders_of(&api, queues[1]).await, (200, vec![finance, people]));
}
