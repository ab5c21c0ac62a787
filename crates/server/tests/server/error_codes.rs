//! Codes of the Orchestrator where their situations exist (orchestrator-api 5.3).

use performer::ErrorCode;
use performer::model::UserType;
use performer::server::Roles;
use serde_json::{Value, json};

use performer_proofs::openapi;

use crate::Api;

#[tokio::test]
async fn built_in_roles_are_neither_deleted_nor_edited() {
    let api = Api::start().await;
    let roles = api.get("/odata/Roles").await.body;
    let fixed: Vec<&Value> =
        roles["value"].as_array().unwrap().iter().filter(|role| role["IsStatic"] == true).collect();
    assert!(!fixed.is_empty());
    for role in fixed {
        let path = format!("/odata/Roles({})", role["Id"]);
        let deleted = api.call("DELETE", &path, &Value::Null).await;
        assert_eq!((deleted.status, deleted.code()), (409, 1406), "{}", deleted.text);
        // Also when nothing would change.
        for body in
            [json!({"Name": role["Name"], "Permissions": role["Permissions"]}), json!({"Name": "Chief"})]
        {
            let edited = api.call("PUT", &path, &body).await;
            assert_eq!((edited.status, edited.code()), (409, 1412), "{}", edited.text);
        }
        assert_eq!(api.get(&path).await.body["Permissions"], role["Permissions"]);
    }
}

#[tokio::test]
async fn the_name_and_type_of_a_user_cannot_be_changed() {
    let api = Api::start().await;
    let ann = json!({"UserName": "ann", "Name": "Ann", "Password": "correct horse"});
    let made = api.post("/odata/Users", &ann).await.body;
    let path = format!("/odata/Users({})", made["Id"]);
    let renamed = api.call("PUT", &path, &json!({"UserName": "anna", "Name": "Anna"})).await;
    assert_eq!((renamed.status, renamed.code()), (400, 1414), "{}", renamed.text);
    assert_eq!(renamed.body["message"], "Cannot update the username!");
    let retyped = api.call("PUT", &path, &json!({"Type": "Robot", "Name": "Anna"})).await;
    assert_eq!((retyped.status, retyped.code()), (400, 1024), "{}", retyped.text);
    for password in ["short".to_owned(), "x".repeat(257)] {
        let edited = api.call("PUT", &path, &json!({"Password": password, "Name": "Anna"})).await;
        assert_eq!((edited.status, edited.code()), (400, 1405), "{}", edited.text);
        let body = json!({"UserName": "bob", "Password": password});
        let made = api.post("/odata/Users", &body).await;
        assert_eq!((made.status, made.code()), (400, 1405), "{}", made.text);
    }
    assert_eq!(api.get(&path).await.body["Name"], "Ann", "nothing of what was refused was done");
    // What was read may be written back; and what is said of the roles is done.
    let mut whole = api.get(&path).await.body;
    (whole["Surname"], whole["RolesList"]) = (json!("Lee"), json!(["Administrator"]));
    let edited = api.call("PUT", &path, &whole).await;
    assert_eq!(edited.status, 200, "{}", edited.text);
    let after = api.get(&path).await.body;
    assert_eq!((&after["Surname"], &after["RolesList"]), (&json!("Lee"), &json!(["Administrator"])));
    let unknown = api.call("PUT", &path, &json!({"RolesList": ["Nobody"]})).await;
    assert_eq!((unknown.status, unknown.code()), (404, 1002));
}

#[tokio::test]
async fn a_user_with_more_permissions_is_not_editable() {
    let api = Api::start().await;
    let administrator = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let boss = api.served.access_admin.add_user("boss", UserType::User, None, &administrator).await.unwrap();
    let in_shared = Roles { roles: vec!["Administrator".to_owned()], folders: vec!["Shared".to_owned()] };
    let deputy = api.served.access_admin.add_user("deputy", UserType::User, None, &in_shared).await.unwrap();
    let granted: Vec<Value> = ["Users.View", "Users.Edit", "Users.Delete", "Units.View", "Units.Edit"]
        .iter()
        .map(|name| json!({"Name": name}))
        .collect();
    let clerk = api.post("/odata/Roles", &json!({"Name": "Clerk", "Permissions": granted})).await;
    assert_eq!(clerk.status, 201, "{}", clerk.text);
    let token = api.application_token("clerk", "OrchestratorApiUserAccess", &["Clerk"], &[]).await;
    for user in [boss, deputy] {
        for (method, path, body) in [
            ("PUT", format!("/odata/Users({user})"), json!({"Name": "Mine"})),
            ("DELETE", format!("/odata/Users({user})"), Value::Null),
            ("POST", format!("/odata/Users({user})/UiPathODataSvc.AssignRoles"), json!({"roleIds": []})),
        ] {
            let got = api.call_as(&token, None, method, &path, &body).await;
            assert_eq!((got.status, got.code()), (403, 1407), "{method} {path}: {}", got.text);
        }
    }
    let remove = json!({"userId": deputy});
    let path = "/odata/Folders(1)/UiPathODataSvc.RemoveUserFromFolder";
    let got = api.call_as(&token, None, "POST", path, &remove).await;
    assert_eq!((got.status, got.code()), (403, 1407), "{}", got.text);
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_stopped() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let about = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 60_000});
    let started = api.post("/api/Performer/StartJob", &about).await;
    assert_eq!(started.status, 200, "{}", started.text);
    let job = started.body["job"].clone();
    let stop = async |strategy: &str| {
        let got = api.post("/api/Performer/StopJob", &json!({"job": job, "strategy": strategy})).await;
        (got.status, got.code(), got.body["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(stop("SoftStop").await.0, 200);
    assert_eq!(stop("Kill").await.0, 200);
    let only = "This can only be applied to Running, Pending or Stopping jobs.";
    let cancel = |state: &str| (409, 1658, format!("Cannot cancel a job with status {state}. {only}"));
    assert_eq!(stop("SoftStop").await, cancel("Terminating"));
    assert_eq!(stop("Kill").await.0, 200);
    let end = json!({"job": job, "state": "Stopped", "info": null});
    let ended = api.post("/api/Performer/EndJob", &end).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(stop("SoftStop").await, cancel("Stopped"));
    assert_eq!(
        stop("Kill").await,
        (409, 1659, format!("Cannot terminate a job with status Stopped. {only}"))
    );
}

#[tokio::test]
async fn a_folder_is_not_moved_by_editing_it() {
    let api = Api::start().await;
    let made = api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await.body;
    let path = format!("/odata/Folders({})", made["Id"]);
    let moved = api.call("PUT", &path, &json!({"DisplayName": "Money", "ParentId": 1})).await;
    assert_eq!((moved.status, moved.code()), (400, 1024), "{}", moved.text);
    let edited = api.call("PUT", &path, &json!({"DisplayName": "Money", "ParentId": null})).await;
    assert_eq!(edited.status, 200, "{}", edited.text);
}

/// The names of the vendor's enumeration of error codes (`FailedQueueItemDto.ErrorCode`), in its order.
const NAMES: &str = include_str!("error_code_names.txt");

/// The enumeration has no numbers, but it has the order of the numbers: a wrong name would be out of place.
#[test]
fn code_names_are_in_the_order_of_the_vendors_enumeration() {
    let names: Vec<&str> = NAMES.lines().collect();
    assert_eq!(names.len(), 632);
    let place = |code: ErrorCode| names.iter().position(|name| *name == code.name());
    let places: Vec<(u16, Option<usize>)> =
        ErrorCode::known().map(|code| (code.number(), place(code))).collect();
    assert!(places.len() > 130, "{}", places.len());
    for pair in places.windows(2) {
        assert!(pair[0].1.is_some() && pair[0].1 < pair[1].1, "{pair:?} are not in this order");
    }
}

#[test]
fn code_names_match_the_document() {
    let Some(document) = openapi::document() else {
        println!("left out: there is no OpenAPI document");
        return;
    };
    let names = &document["components"]["schemas"]["FailedQueueItemDto"]["properties"]["ErrorCode"]["enum"];
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, NAMES.lines().collect::<Vec<_>>());
}
