//! Tasks on the desk: listed, saved, assigned and completed by forms, without a script.

use serde_json::{Value, json};

use crate::Desk;

async fn make(desk: &Desk, body: &Value) -> i64 {
    desk.api("POST", "/tasks/GenericTasks/CreateTask", body).await["id"].as_i64().unwrap()
}

async fn read(desk: &Desk, id: i64) -> Value {
    desk.api("GET", &format!("/tasks/GenericTasks/GetTaskDataById?taskId={id}"), &Value::Null).await
}

#[tokio::test]
async fn a_task_is_saved_assigned_and_completed() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    let data =
        json!({"amount": 7.5, "urgent": true, "note": "<b>", "parts": [1, {"a": null}], "nothing": null});
    let id = make(&desk, &json!({"title": "Approve <i>", "data": data})).await;
    desk.get(&cookie, "/desk/tasks").await.assert_has(&["Approve &#60;i&#62;", "Unassigned"]);
    let path = format!("/desk/tasks/{id}");
    let page = desk.get(&cookie, &path).await;
    page.assert_has(&[
        "name=\"data.amount\" value=\"7.5\"",
        "name=\"data.urgent\" value=\"true\" checked",
        "&#60;b&#62;",
        "Created",
    ]);
    let form = |amount: &'static str| {
        [
            ("data.amount", amount),
            ("data.note", "fine"),
            ("data.parts", "[2]"),
            ("data.nothing", ""),
            ("action", "approve"),
        ]
    };
    let refused = desk.post(&cookie, &format!("{path}/complete"), &form("much")).await;
    assert_eq!(refused.status, 400);
    refused.assert_has(&["is no number"]);
    let bad = [("data.amount", "1"), ("data.parts", "[")];
    assert_eq!(desk.post(&cookie, &format!("{path}/save"), &bad).await.status, 400);
    assert_eq!(read(&desk, id).await["data"], data, "what is refused changes nothing");

    let saved = desk.post(&cookie, &format!("{path}/save"), &form("8")).await;
    assert_eq!((saved.status, saved.location()), (303, &*path), "{}", saved.text);
    let expected = json!({"amount": 8, "urgent": false, "note": "fine", "parts": [2], "nothing": null});
    assert_eq!(read(&desk, id).await["data"], expected);
    assert_eq!(desk.post(&cookie, &format!("{path}/assign"), &[("user", "999")]).await.status, 404);
    let completed = desk.post(&cookie, &format!("{path}/complete"), &form("9")).await;
    assert_eq!((completed.status, completed.location()), (303, "/desk/tasks"), "{}", completed.text);
    let done = read(&desk, id).await;
    assert_eq!(
        (&done["status"], &done["action"], &done["data"]["amount"]),
        (&json!("Completed"), &json!("approve"), &json!(9))
    );
    let page = desk.get(&cookie, &path).await;
    assert!(!page.text.contains("/complete"), "nothing more can be done");
    desk.get(&cookie, "/desk/tasks").await.assert_has(&["There is no task."]);
    desk.get(&cookie, "/desk/tasks?all=1").await.assert_has(&["Completed"]);
    assert!(desk.post(&cookie, &format!("{path}/complete"), &form("1")).await.status >= 400);
    let deleted = desk.post(&cookie, &format!("{path}/delete"), &[]).await;
    assert_eq!((deleted.status, deleted.location()), (303, "/desk/tasks"));
    assert_eq!(desk.get(&cookie, &path).await.status, 404);
}

#[tokio::test]
async fn a_viewer_sees_tasks_and_does_none() {
    let desk = Desk::start().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &[]).await;
    let id = make(&desk, &json!({"title": "Approve", "data": {"amount": 7}})).await;
    let path = format!("/desk/tasks/{id}");
    let page = desk.get(&viewer, &path).await;
    page.assert_has(&["Approve", "amount"]);
    assert!(!page.text.contains("action=\"/desk/tasks"), "no form is offered");
    for act in ["save", "complete", "assign", "delete"] {
        assert_eq!(desk.post(&viewer, &format!("{path}/{act}"), &[]).await.status, 403, "{act}");
    }
    assert_eq!(read(&desk, id).await["status"], "Unassigned");
}
