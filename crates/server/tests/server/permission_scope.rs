//! The scope of permissions: shared queues, jobs of other users, metrics, and the last administrator.

use performer::Orchestrator as _;
use performer::model::{ManualClock, NewJob, UserType};
use performer::orchestrator::store::Store;
use performer::server::Roles;
use serde_json::{Value, json};

use crate::{Api, ApiResponse, start_of_time};
use performer_proofs::test_server::CLIENT;

const EVERYTHING: &str = "OrchestratorApiUserAccess";

/// A queue in the folders Shared and Finance, and an application with all permissions in Finance.
async fn shared_queue(api: &Api) -> (i64, i64, String) {
    let finance = api.served.access_admin.add_folder("Finance").await.unwrap().0;
    let queue = api.queue(&json!({"Name": "Invoices"})).await;
    let token = api.application_token("finance", EVERYTHING, &["Administrator"], &["Finance"]).await;
    let share = json!({"QueueIds": [queue], "ToAddFolderIds": [finance]});
    let path = "/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders";
    assert_eq!(api.post(path, &share).await.status, 204);
    (queue, finance, token)
}

#[tokio::test]
async fn changing_a_shared_queue_needs_permission_in_all_its_folders() {
    let api = Api::start().await;
    let (queue, finance, token) = shared_queue(&api).await;
    let item = api.add("Invoices", "a").await;
    let of = async |path: String| api.get(&path).await.body;
    let before = of(format!("/odata/QueueDefinitions({queue})")).await;
    let in_finance = async |method: &str, path: &str, body: &Value| {
        api.call_as(&token, Some("Finance"), method, path, body).await
    };
    for (method, path, body) in [
        ("DELETE", format!("/odata/QueueDefinitions({queue})"), Value::Null),
        (
            "PUT",
            format!("/odata/QueueDefinitions({queue})"),
            json!({"Name": "Mine", "MaxNumberOfRetries": 9}),
        ),
        (
            "POST",
            "/odata/QueueDefinitions/UiPathODataSvc.EditQueue".to_owned(),
            json!({"Id": queue, "Name": "Invoices", "RetentionAction": "Delete", "RetentionPeriod": 1}),
        ),
        ("PUT", format!("/odata/QueueRetention({queue})"), json!({"Action": "Delete", "Period": 1})),
        ("DELETE", format!("/odata/QueueRetention({queue})"), Value::Null),
        (
            "POST",
            "/api/Performer/EditLimits".to_owned(),
            json!({"queue": "Invoices", "edit": {"paused": true}}),
        ),
        // It cannot be removed from a folder without permissions there.
        (
            "POST",
            "/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders".to_owned(),
            json!({"QueueIds": [queue], "ToRemoveFolderIds": [1]}),
        ),
    ] {
        let got = in_finance(method, &path, &body).await;
        assert_eq!((got.status, got.is_api_error()), (403, true), "{method} {path}: {}", got.text);
        assert_eq!(of(format!("/odata/QueueDefinitions({queue})")).await, before, "{method} {path}");
        assert_eq!(
            of(format!("/odata/QueueItems({})", item["Id"])).await["Status"],
            "New",
            "{method} {path}"
        );
    }
    let refused = in_finance("DELETE", &format!("/odata/QueueDefinitions({queue})"), &Value::Null).await;
    assert_eq!(refused.code(), 1017, "{}", refused.text);
    // Its items can be edited from both folders, and it can be removed from the caller's folder.
    let edit = json!({"Priority": "High"});
    let path = format!("/odata/QueueItems({})", item["Id"]);
    assert_eq!(in_finance("PUT", &path, &edit).await.status, 200);
    let out = json!({"QueueIds": [queue], "ToRemoveFolderIds": [finance]});
    let path = "/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders";
    assert_eq!(in_finance("POST", path, &out).await.status, 204);
    assert_eq!(of(format!("/odata/QueueDefinitions({queue})")).await["FoldersCount"], 1);
    // A caller with the permission in each folder can delete it.
    let share = json!({"QueueIds": [queue], "ToAddFolderIds": [finance]});
    assert_eq!(api.post(path, &share).await.status, 204);
    let both = api.application_token("both", EVERYTHING, &["Administrator"], &["Finance", "Shared"]).await;
    let delete = format!("/odata/QueueDefinitions({queue})");
    assert_eq!(api.call_as(&both, Some("Finance"), "DELETE", &delete, &Value::Null).await.status, 204);
    assert_eq!(api.get(&delete).await.status, 404);
}

fn start() -> Value {
    json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 2, "lease": 30_000})
}

fn take(job: &Value, name: u128) -> Value {
    json!({"id": uuid::Uuid::from_u128(name), "reports": [],
        "take": {"queue": "Invoices", "job": job, "robot": 1, "count": 1, "reference": null}})
}

async fn jobs_belong_to_their_owner(store: Store, clock: std::sync::Arc<ManualClock>) {
    let api = Api::over(store, clock, |server| server).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    for reference in ["a", "b", "c"] {
        api.add("Invoices", reference).await;
    }
    let owner = api.application_token("robot", "OR.Queues OR.Jobs", &["Automation User"], &["Shared"]).await;
    let other = api.application_token("neighbour", EVERYTHING, &["Administrator"], &[]).await;
    let by = async |token: &str, what: &str, body: &Value| -> ApiResponse {
        api.call_as(token, Some("Shared"), "POST", &format!("/api/Performer/{what}"), body).await
    };
    let job = by(&owner, "StartJob", &start()).await.body["job"].clone();
    let taken = by(&owner, "Exchange", &take(&job, 1)).await.body;
    let claim = taken["took"]["items"][0]["claim"].clone();
    let item = claim["item"].clone();
    assert!(item.is_i64(), "{taken}");
    let done = json!({"claim": claim, "result": {"successful": {"output": null}}, "progress": null});
    let before = api.get("/odata/QueueItems").await.body;

    // Another administrator, although it knows the job and the claim.
    for (what, body) in [
        ("Beat", json!({ "job": job })),
        ("EndJob", json!({"job": job, "state": "Successful", "info": null})),
        ("Held", json!({"job": job, "void": []})),
        ("Progress", json!({"claim": claim, "progress": "mine"})),
        (
            "AddAndStart",
            json!({"id": uuid::Uuid::from_u128(7), "item": {"SpecificContent": {"a": 1}}, "take": take(&job, 2)["take"]}),
        ),
    ] {
        let got = by(&other, what, &body).await;
        assert_eq!((got.status, got.code()), (404, 1002), "{what}: {}", got.text);
    }
    let got = by(&other, "Exchange", &take(&job, 3)).await;
    assert_eq!(got.body["took"]["error"]["kind"], "NotFound", "{}", got.text);
    assert_eq!(api.get("/odata/QueueItems").await.body, before, "nothing was changed");
    // Reports for jobs of others are refused; the other reports of the call are recorded.
    let own = by(&other, "StartJob", &start()).await.body["job"].clone();
    let own_claim = by(&other, "Exchange", &take(&own, 4)).await.body["took"]["items"][0]["claim"].clone();
    let own_report =
        json!({"claim": own_claim, "result": {"successful": {"output": null}}, "progress": null});
    let reports = json!([done, own_report, done]);
    for attempt in 0..2 {
        let name = uuid::Uuid::from_u128(5 + attempt);
        let got = by(&other, "Exchange", &json!({"id": name, "reports": reports, "take": null})).await;
        for at in [0, 2] {
            assert_eq!(got.body["reports"][at]["error"]["kind"], "ClaimLost", "{}", got.text);
        }
        assert_eq!(got.body["reports"][1]["status"], "Successful", "{}", got.text);
    }
    assert_eq!(api.get(&format!("/odata/QueueItems({item})")).await.body["Status"], "InProgress");

    // The owner can do all of this, and a caller with the permission to stop jobs can stop it.
    let got = by(&owner, "Progress", &json!({"claim": claim, "progress": "mine"})).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(by(&other, "StopJob", &json!({"job": job, "strategy": "SoftStop"})).await.status, 200);
    assert_eq!(by(&owner, "Beat", &json!({ "job": job })).await.body["state"], "Stopping");
    assert_eq!(by(&owner, "Held", &json!({"job": job, "void": []})).await.body["claims"], json!([claim]));
    let got =
        by(&owner, "Exchange", &json!({"id": uuid::Uuid::from_u128(8), "reports": [done], "take": null}))
            .await;
    assert_eq!(got.body["reports"], json!([{"status": "Successful"}]), "{}", got.text);
    let end = json!({"job": job, "state": "Stopped", "info": null});
    assert_eq!(by(&owner, "EndJob", &end).await.status, 200);

    // The job of a performer on the store itself belongs to no user.
    let about = NewJob::new("Invoices")
        .machine("m")
        .process_id(1)
        .version("1")
        .robots(1)
        .lease(std::time::Duration::from_secs(30));
    let local = api.served.store.start_job(about).await.unwrap();
    let key = json!(uuid::Uuid::from_bytes(local.to_bytes()));
    let end = json!({"job": key, "state": "Faulted", "info": null});
    assert_eq!(by(&other, "EndJob", &end).await.status, 404);
    assert_eq!(by(&other, "Beat", &json!({ "job": key })).await.status, 404);
    api.served.store.beat(local).await.unwrap();
    // It is listed.
    let jobs = by(&other, "Jobs", &json!({"limit": 10})).await.body;
    assert_eq!(jobs.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn jobs_belong_to_their_owner_in_memory() {
    let clock = std::sync::Arc::new(ManualClock::new(start_of_time()));
    jobs_belong_to_their_owner(Store::memory_with_clock(clock.clone()), clock).await;
}

#[tokio::test]
async fn jobs_belong_to_their_owner_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.db");
    let clock = std::sync::Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(&path, clock.clone()).await.unwrap();
    jobs_belong_to_their_owner(store, clock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_belong_to_their_owner_in_postgres() {
    let schema = performer_proofs::postgres::Schema::new();
    let clock = std::sync::Arc::new(ManualClock::new(start_of_time()));
    let store = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    jobs_belong_to_their_owner(store, clock).await;
}

#[expect(clippy::disallowed_methods, reason = "the test looks into the file as another program would")]
fn raw(path: &std::path::Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// Jobs of older versions have no owner; their performers continue after an upgrade of the server.
#[tokio::test]
async fn a_job_without_an_owner_continues() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.db");
    let clock = std::sync::Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(&path, clock.clone()).await.unwrap();
    let api = Api::over(store, clock, |server| server).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let job = api.post("/api/Performer/StartJob", &start()).await.body["job"].clone();
    let file = raw(&path);
    let owned = "SELECT count(*) FROM job WHERE owner > 0";
    assert_eq!(file.query_row(owned, [], |row| row.get::<_, i64>(0)).unwrap(), 1, "it is stored");
    file.execute("UPDATE job SET owner = NULL", []).unwrap();
    let robot = api.application_token("robot", "OR.Queues", &["Automation User"], &["Shared"]).await;
    let body = json!({ "job": job });
    let got = api.call_as(&robot, Some("Shared"), "POST", "/api/Performer/Beat", &body).await;
    assert_eq!(got.status, 200, "{}", got.text);
}

#[tokio::test]
async fn metrics_need_the_monitoring_scope_and_permission() {
    let api = Api::start().await;
    let get = async |token: &str| api.call_as(token, None, "GET", "/metrics", &Value::Null).await;
    for (name, scopes, roles, folders, allowed) in [
        ("robot", EVERYTHING, &["Automation User"][..], &[][..], false),
        ("elsewhere", EVERYTHING, &["Administrator"], &["Shared"], false),
        ("wrong scope", "OR.Queues OR.Settings", &["Viewer"], &[], false),
        ("prometheus", "OR.Monitoring.Read", &["Viewer"], &[], true),
        ("administrator", EVERYTHING, &["Administrator"], &[], true),
    ] {
        let token = api.application_token(name, scopes, roles, folders).await;
        let got = get(&token).await;
        assert_eq!(got.status, if allowed { 200 } else { 403 }, "{name}: {}", got.text);
        assert!(!allowed || got.text.contains("performer_requests_total"), "{name}");
    }
    assert_eq!(get("pf_nobody").await.status, 401);
}

/// Neither by a route nor by the command.
#[tokio::test]
async fn the_last_administrator_cannot_be_removed() {
    let api = Api::start().await;
    let access_admin = &api.served.access_admin;
    let everything = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    // A user without a password does not count, although it has a token.
    let day = std::time::Duration::from_secs(86_400);
    access_admin.add_user("helper", UserType::User, None, &everything).await.unwrap();
    let token = access_admin.add_token("helper", "t", EVERYTHING, day).await.unwrap();
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body["Id"].clone();
    let viewer = api.get("/odata/Roles").await.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|role| role["Name"] == "Viewer")
        .unwrap()["Id"]
        .clone();
    for (method, path, body) in [
        ("POST", format!("/odata/Users({me})/UiPathODataSvc.AssignRoles"), json!({"roleIds": []})),
        ("POST", format!("/odata/Users({me})/UiPathODataSvc.AssignRoles"), json!({"roleIds": [viewer]})),
        ("PUT", format!("/odata/Users({me})"), json!({"IsActive": false})),
        ("DELETE", format!("/odata/Users({me})"), Value::Null),
    ] {
        for caller in [&api.token, &token] {
            let got = api.call_as(caller, None, method, &path, &body).await;
            assert_eq!((got.status, got.code()), (409, 1013), "{method} {path}: {}", got.text);
        }
    }
    let refused = access_admin.remove_client(CLIENT).await.unwrap_err();
    assert!(refused.to_string().contains("last administrator"), "{refused}");
    // With another administrator who can log in it can be removed; then the other one is the last.
    let password = Some("correct horse".to_owned());
    let ann = access_admin.add_user("ann", UserType::User, password, &everything).await.unwrap();
    access_admin.remove_client(CLIENT).await.unwrap();
    assert!(access_admin.remove_user("ann").await.is_err());
    assert!(api.login("unknown", "wrong", None).await.is_err()); // refreshes the directory of the server
    let got = api.call_as(&token, None, "DELETE", &format!("/odata/Users({ann})"), &Value::Null).await;
    assert_eq!((got.status, got.code()), (409, 1013), "{}", got.text);
}
