//! The last administrator who can log in stays one, whatever the API is asked.

use std::time::Duration;

use performer::model::UserType;
use performer::server::Roles;
use serde_json::{Value, json};

use crate::Api;

const ADMINISTRATOR: &str = "Administrator";

/// The row with this name in a list.
async fn named(api: &Api, list: &str, member: &str, name: &str) -> Value {
    let rows = api.get(list).await.body["value"].clone();
    let row = rows.as_array().unwrap().iter().find(|row| row[member] == name).cloned();
    row.unwrap_or_else(|| panic!("{name} is not in {rows}"))
}

async fn id_of(api: &Api, list: &str, member: &str, name: &str) -> i64 {
    named(api, list, member, name).await["Id"].as_i64().unwrap()
}

/// The requests that could take the role of an administrator away, beside those of `permission_scope.rs`.
fn ways_out(user: i64, role: i64) -> Vec<(&'static str, String, Value, u16, i64)> {
    let (itself, of_role) = (format!("/odata/Users({user})"), format!("/odata/Roles({role})"));
    let in_folder =
        json!({"assignments": {"UserIds": [user], "RolesPerFolder": [{"FolderId": 1, "RoleIds": []}]}});
    vec![
        ("PUT", itself.clone(), json!({"RolesList": []}), 409, 1013),
        ("PUT", itself.clone(), json!({"RolesList": ["Viewer"]}), 409, 1013),
        ("PUT", itself.clone(), json!({"Name": "Ann", "RolesList": [], "IsActive": true}), 409, 1013),
        ("PUT", itself.clone(), json!({"IsActive": false, "RolesList": [ADMINISTRATOR]}), 409, 1013),
        ("PATCH", itself.clone(), json!({"RolesList": []}), 400, 1024),
        ("PATCH", itself, json!({"IsActive": false}), 409, 1013),
        ("PUT", of_role.clone(), json!({"Name": ADMINISTRATOR, "Permissions": []}), 409, 1412),
        ("PUT", of_role.clone(), json!({"Name": "Nobody", "Permissions": []}), 409, 1412),
        ("DELETE", of_role, Value::Null, 409, 1406),
        // Roles in a folder do not touch the role in the tenant.
        ("POST", "/odata/Folders/UiPathODataSvc.AssignUsers".to_owned(), in_folder, 204, -1),
        (
            "POST",
            "/odata/Folders(1)/UiPathODataSvc.RemoveUserFromFolder".to_owned(),
            json!({"userId": user}),
            204,
            -1,
        ),
    ]
}

#[tokio::test]
async fn the_last_administrator_keeps_its_role_whatever_is_asked() {
    let api = Api::start().await;
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body["Id"].as_i64().unwrap();
    let role = id_of(&api, "/odata/Roles", "Name", ADMINISTRATOR).await;
    // A user with all permissions by another role is no administrator, and may not demote the last one either.
    let permissions = named(&api, "/odata/Roles", "Name", ADMINISTRATOR).await["Permissions"].clone();
    let all = api.post("/odata/Roles", &json!({"Name": "Everything", "Permissions": permissions})).await;
    assert_eq!(all.status, 201, "{}", all.text);
    let deputy = api.application_token("deputy", "OrchestratorApiUserAccess", &["Everything"], &[]).await;
    for token in [&api.token, &deputy] {
        for (method, path, body, status, code) in ways_out(me, role) {
            let got = api.call_as(token, None, method, &path, &body).await;
            assert_eq!((got.status, got.code()), (status, code), "{method} {path} {body}: {}", got.text);
            let user = api.get(&format!("/odata/Users({me})")).await.body;
            assert_eq!(
                (&user["RolesList"], &user["IsActive"]),
                (&json!([ADMINISTRATOR]), &json!(true)),
                "{method} {path} {body}"
            );
        }
    }
    // It can still do what only an administrator can.
    let ann = json!({"UserName": "ann", "Password": "correct horse", "RolesList": [ADMINISTRATOR]});
    let made = api.post("/odata/Users", &ann).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // Now there is another one, and the first may go.
    let got = api.call("PUT", &format!("/odata/Users({me})"), &json!({"RolesList": []})).await;
    assert_eq!(got.status, 200, "{}", got.text);
}

/// Two administrators give their roles away at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_administrators_cannot_both_leave() {
    let api = Api::start().await;
    let roles = Roles { roles: vec![ADMINISTRATOR.to_owned()], folders: Vec::new() };
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body["Id"].as_i64().unwrap();
    let mut users = Vec::new();
    for name in ["ann", "bob"] {
        let admin = &api.served.access_admin;
        let password = Some("correct horse".to_owned());
        let id = admin.add_user(name, UserType::User, password, &roles).await.unwrap();
        let day = Duration::from_secs(86_400);
        users.push((id, admin.add_token(name, "test", "OrchestratorApiUserAccess", day).await.unwrap()));
    }
    let list_of = |roles: &[&str]| json!({ "RolesList": roles });
    let got = api.call("PUT", &format!("/odata/Users({me})"), &list_of(&["Viewer"])).await;
    assert_eq!(got.status, 200, "{}", got.text);
    for round in 0..20 {
        let leave = async |(id, token): &(i64, String)| {
            let path = format!("/odata/Users({id})");
            let got = api.call_as(token, None, "PUT", &path, &list_of(&[])).await;
            (got.status, got.text)
        };
        let (first, second) = tokio::join!(leave(&users[0]), leave(&users[1]));
        let mut statuses = [first.0, second.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "round {round}: {} {}", first.1, second.1);
        // The one who stayed makes the other an administrator again.
        let (stayed, left) = if first.0 == 409 { (0, 1) } else { (1, 0) };
        let path = format!("/odata/Users({})", users[left].0);
        let got = api.call_as(&users[stayed].1, None, "PUT", &path, &list_of(&[ADMINISTRATOR])).await;
        assert_eq!(got.status, 200, "round {round}: {}", got.text);
    }
}
