//! Tasks over HTTP: their life, who may do what, what is refused, and the items that wait for an answer.

use std::time::Duration;

use performer::model::{ManualClock, NewTask, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Orchestrator as _, Report};
use performer::{QueueAdministration as _, Status};
use serde_json::{Value, json};

use crate::{Api, ApiResponse};

const TASKS: &str = "/odata/Tasks/UiPath.Server.Configuration.OData.";
const CATALOGS: &str = "/odata/TaskCatalogs/UiPath.Server.Configuration.OData.";
const GENERIC: &str = "/tasks/GenericTasks/";

async fn create(api: &Api, body: &Value) -> i64 {
    let made = api.post(&format!("{GENERIC}CreateTask"), body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body["id"].as_i64().unwrap()
}

async fn data(api: &Api, id: i64) -> Value {
    let got = api.get(&format!("{GENERIC}GetTaskDataById?taskId={id}")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.body
}

async fn complete(api: &Api, body: &Value) -> ApiResponse {
    api.post(&format!("{GENERIC}CompleteTask"), body).await
}

async fn me(api: &Api) -> (i64, String) {
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body;
    (me["Id"].as_i64().unwrap(), me["UserName"].as_str().unwrap().to_owned())
}

/// The errors of a call about many tasks: the task, and the code.
async fn left(api: &Api, action: &str, body: &Value) -> Vec<(i64, i64)> {
    let got = api.post(&format!("{TASKS}{action}"), body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let errors = got.body["value"].as_array().unwrap();
    errors.iter().map(|one| (one["TaskId"].as_i64().unwrap(), one["ErrorCode"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn a_task_is_made_assigned_saved_and_completed() {
    let api = Api::start().await;
    let (user, name) = me(&api).await;
    let new = json!({"type": "ExternalTask", "title": "Approve", "priority": "Critical", "data": {"amount": 7, "When": null}});
    let id = create(&api, &new).await;
    let made = data(&api, id).await;
    assert_eq!(
        (&made["status"], &made["title"], &made["priority"]),
        (&json!("Unassigned"), &json!("Approve"), &json!("Critical"))
    );
    assert_eq!(made["data"], json!({"amount": 7, "When": null}), "names of members are kept as they are");
    let by_key =
        api.get(&format!("{GENERIC}GetTaskDataByKey?taskKey={}", made["key"].as_str().unwrap())).await;
    assert_eq!(by_key.body["id"], id);

    let to = |task: i64| json!({"taskAssignments": [{"taskId": task, "userId": user}, {"taskId": 99, "userId": user}]});
    assert_eq!(left(&api, "ReassignTasks", &to(id)).await, [(id, 1009), (99, 1002)]);
    assert_eq!(left(&api, "AssignTasks", &to(id)).await, [(99, 1002)]);
    assert_eq!(left(&api, "AssignTasks", &to(id)).await, [(id, 1009), (99, 1002)], "it is assigned already");
    let named = json!({"taskAssignments": [{"TaskId": id, "UserNameOrEmail": name.to_uppercase()}]});
    assert_eq!(left(&api, "ReassignTasks", &named).await, []);
    let nobody = json!({"taskAssignments": [{"TaskId": id, "UserNameOrEmail": "nobody"}, {"TaskId": id, "UserId": 999},
        {"TaskId": id}, {"TaskId": id, "UserId": user, "AssignmentCriteria": "AllUsers"}]});
    assert_eq!(left(&api, "ReassignTasks", &nobody).await, [(id, 1002), (id, 1002), (id, 1009), (id, 1009)]);
    let assigned = api.get(&format!("/odata/Tasks({id})")).await.body;
    assert_eq!(
        (&assigned["Status"], &assigned["AssignedToUser"]["userName"]),
        (&json!("Pending"), &json!(name))
    );

    let saved = api
        .call_as(
            &api.token,
            Some("Shared"),
            "PUT",
            &format!("{GENERIC}SaveTaskData"),
            &json!({"taskId": id, "data": {"amount": 8}}),
        )
        .await;
    assert_eq!(saved.status, 204, "{}", saved.text);
    assert_eq!(left(&api, "UnassignTasks", &json!({"taskIds": [id]})).await, []);
    let again =
        json!({"SaveData": true, "Data": {"amount": 9}, "NoteText": "yours", "TaskId": id, "UserId": user});
    assert_eq!(api.post(&format!("{GENERIC}SaveAndReassignTask"), &again).await.status, 204);
    assert_eq!(complete(&api, &json!({"taskId": id, "action": "approve"})).await.status, 204);
    let done = data(&api, id).await;
    assert_eq!(
        (&done["status"], &done["action"], &done["data"]),
        (&json!("Completed"), &json!("approve"), &json!({"amount": 9}))
    );
    assert_eq!(done["completedByUser"]["userName"], json!(name));

    for (path, body) in [
        ("CompleteTask", json!({"taskId": id, "action": "reject"})),
        ("SaveAndReassignTask", again.clone()),
        ("CreateTask", json!({"title": ""})),
        ("CreateTask", json!({"title": "a", "type": "FormTask"})),
        ("CreateTask", json!({"title": "a", "priority": "Whenever"})),
        ("CreateTask", json!({"title": "a", "data": [1]})),
    ] {
        let got = api.post(&format!("{GENERIC}{path}"), &body).await;
        assert_eq!((got.status, got.code()), (400, 1009), "{path} {body}: {}", got.text);
    }
    assert_eq!(data(&api, id).await, done, "what is refused changes nothing");
    let unknown = complete(&api, &json!({"taskId": 99})).await;
    assert_eq!((unknown.status, unknown.code()), (404, 1002));
    let activities = api
        .get(&format!("/odata/TaskActivities/UiPath.Server.Configuration.OData.GetByTaskId(taskId={id})"))
        .await
        .body;
    let acts: Vec<&str> = activities["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["ActivityType"].as_str().unwrap())
        .collect();
    assert_eq!(acts, ["Created", "Assigned", "Reassigned", "Saved", "Unassigned", "Assigned", "Completed"]);
    let notes = api
        .get(&format!("/odata/TaskNotes/UiPath.Server.Configuration.OData.GetByTaskId(taskId={id})"))
        .await
        .body;
    assert_eq!(notes["value"][0]["Text"], "yours");
    assert_eq!(left(&api, "DeleteTasks", &json!({"taskIds": [id, id]})).await, [(id, 1002)]);
    assert_eq!(api.get("/odata/Tasks").await.body["value"], json!([]));
}

#[tokio::test]
async fn tasks_of_another_folder_do_not_exist_and_rights_are_asked_for() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    let id = create(&api, &json!({"title": "a"})).await;
    let catalog = api.post(&format!("{CATALOGS}CreateTaskCatalog"), &json!({"Name": "Approvals"})).await;
    assert_eq!(catalog.status, 201, "{}", catalog.text);
    let finance =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let viewer = api.application_token("viewer", "OrchestratorApiUserAccess", &["Viewer"], &[]).await;
    let robot = api.application_token("robot", "OrchestratorApiUserAccess", &["Automation User"], &[]).await;
    let catalog_id = catalog.body["Id"].as_i64().unwrap();
    for (method, path, body) in [
        ("GET", format!("/odata/Tasks({id})"), Value::Null),
        ("GET", format!("{GENERIC}GetTaskDataById?taskId={id}"), Value::Null),
        ("POST", format!("{GENERIC}CompleteTask"), json!({"taskId": id})),
        (
            "GET",
            format!("/odata/TaskNotes/UiPath.Server.Configuration.OData.GetByTaskId(taskId={id})"),
            Value::Null,
        ),
        ("GET", format!("/odata/TaskCatalogs({catalog_id})"), Value::Null),
        ("DELETE", format!("/odata/TaskCatalogs({catalog_id})"), Value::Null),
    ] {
        let got = api.call_as(&finance, Some("Finance"), method, &path, &body).await;
        assert_eq!((got.status, got.code()), (404, 1002), "{method} {path}: {}", got.text);
    }
    let across =
        api.call_as(&finance, None, "GET", &format!("{TASKS}GetTasksAcrossFolders"), &Value::Null).await;
    assert_eq!(across.body["value"], json!([]), "{}", across.text);
    // Nobody without the right to edit completes, assigns or deletes; a robot may ask, and does not answer itself.
    for token in [&viewer, &robot] {
        assert_eq!(
            api.call_as(token, Some("Shared"), "GET", &format!("/odata/Tasks({id})"), &Value::Null)
                .await
                .status,
            200
        );
        for (path, body) in [
            (format!("{GENERIC}CompleteTask"), json!({"taskId": id})),
            (format!("{TASKS}AssignTasks"), json!({"taskAssignments": []})),
            (format!("{TASKS}UnassignTasks"), json!({"taskIds": [id]})),
            (format!("{TASKS}DeleteTasks"), json!({"taskIds": [id]})),
            (format!("{TASKS}EditTaskMetadata"), json!({"TaskId": id, "Title": "t"})),
        ] {
            let got = api.call_as(token, Some("Shared"), "POST", &path, &body).await;
            assert_eq!((got.status, got.code()), (403, 0), "{path}: {}", got.text);
        }
    }
    let made = api
        .call_as(&robot, Some("Shared"), "POST", &format!("{GENERIC}CreateTask"), &json!({"title": "b"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    // A user who could not do the task is not given it.
    let users = api.get(&format!("{TASKS}GetTaskUsers(organizationUnitId=1)")).await.body;
    let names: Vec<&str> =
        users["value"].as_array().unwrap().iter().map(|user| user["userName"].as_str().unwrap()).collect();
    assert!(!names.contains(&"viewer") && !names.contains(&"robot"), "{names:?}");
    assert_eq!(api.get("/odata/Folders").await.body["value"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_answer_over_http_lets_the_item_go_on() {
    let clock = std::sync::Arc::new(ManualClock::new(crate::start_of_time()));
    let store = Store::memory_with_clock(clock.clone());
    let api = Api::over(store.clone(), clock, |server| server).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "a").await;
    let request = || ClaimRequest::new("Invoices", performer::model::JobKey::CALLER, 1);
    let item = store.report_and_claim(Vec::new(), Some(request())).await.claimed.unwrap().items.remove(0);
    let task = NewTask::new("Approve")
        .data(json!({"n": 1}))
        .actions(["approve", "reject"])
        .answer_within(Duration::from_secs(600));
    let defer_date = task.deadline(crate::start_of_time());
    let result = TransactionResult::Postponed { defer_date, due_date: None };
    let report = Report::new(item.claim, result).ask(task);
    assert_eq!(store.report_and_claim(vec![report], None).await.reports.remove(0).unwrap(), Status::New);

    let listed =
        api.get(&format!("/odata/Tasks?$filter=ParentOperationId eq '{}'", item.item.key)).await.body;
    let id = listed["value"][0]["Id"].as_i64().unwrap();
    assert_eq!(listed["value"][0]["PerformerActions"], json!(["approve", "reject"]));
    let ask = json!({"item": item.item.key.to_string()});
    assert_eq!(api.post("/api/Performer/Answer", &ask).await.body, json!({"answer": null}));
    let wrong = complete(&api, &json!({"taskId": id, "action": "perhaps"})).await;
    assert_eq!((wrong.status, wrong.code()), (400, 1009), "{}", wrong.text);
    assert_eq!(
        complete(&api, &json!({"taskId": id, "action": "approve", "data": {"n": 2}})).await.status,
        204
    );
    let answer = api.post("/api/Performer/Answer", &ask).await.body;
    assert_eq!(
        (&answer["answer"]["outcome"], &answer["answer"]["data"]),
        (&json!("Completed"), &json!({"n": 2}))
    );
    assert_eq!(store.queue_statistics("Invoices").await.unwrap().new, 1);
    let again = store.report_and_claim(Vec::new(), Some(request())).await.claimed.unwrap().items;
    assert_eq!(again.len(), 1, "it can be claimed at once");
}

#[tokio::test]
async fn a_folder_with_open_tasks_is_not_deleted() {
    let api = Api::start().await;
    let folder =
        api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await.body["Id"].as_i64().unwrap();
    let made = api
        .call_as(&api.token, Some("Finance"), "POST", &format!("{GENERIC}CreateTask"), &json!({"title": "a"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let delete = async || {
        api.call_as(&api.token, None, "DELETE", &format!("/odata/Folders({folder})"), &Value::Null).await
    };
    let refused = delete().await;
    assert_eq!((refused.status, refused.code()), (409, 1012), "{}", refused.text);
    let done = json!({"taskId": made.body["id"]});
    let completed =
        api.call_as(&api.token, Some("Finance"), "POST", &format!("{GENERIC}CompleteTask"), &done).await;
    assert_eq!(completed.status, 204, "{}", completed.text);
    assert_eq!(delete().await.status, 204);
}
