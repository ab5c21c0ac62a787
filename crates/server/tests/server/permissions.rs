//! Access is denied by default: every route with every kind of caller without access.

use std::collections::BTreeSet;

use performer::model::UserType;
use performer::server::{Roles, Server};
use serde_json::{Value, json};

use performer_proofs::openapi;
use performer_proofs::test_server::{CLIENT, SECRET};

use crate::Api;

/// A body that every route accepts far enough to check access.
fn body(method: &str) -> Value {
    if method == "GET" { Value::Null } else { json!({}) }
}

#[tokio::test]
async fn every_route_refuses_callers_without_access() {
    let mut api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let access_admin = &api.served.access_admin;
    let administrator = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    access_admin.add_user("ann", UserType::User, None, &administrator).await.unwrap();
    let expired = access_admin.add_token("ann", "expired", "OrchestratorApiUserAccess", day).await.unwrap();
    api.clock.advance(day + day);
    api.token = api.login(CLIENT, SECRET, None).await.unwrap();
    let access_admin = &api.served.access_admin;
    let revoked = access_admin.add_token("ann", "revoked", "OrchestratorApiUserAccess", day).await.unwrap();
    let good = access_admin.add_token("ann", "good", "OrchestratorApiUserAccess", day).await.unwrap();
    access_admin.revoke_tokens("ann", Some("revoked")).await.unwrap();
    access_admin.add_user("gone", UserType::User, None, &administrator).await.unwrap();
    let of_nobody = access_admin.add_token("gone", "t", "OrchestratorApiUserAccess", day).await.unwrap();
    access_admin.remove_user("gone").await.unwrap();
    let of_machines = api.application_token("machines", "OR.Machines", &["Administrator"], &[]).await;
    let of_license = api.application_token("license", "OR.License", &["Administrator"], &[]).await;
    let no_roles = api.application_token("nothing", "OrchestratorApiUserAccess", &[], &[]).await;
    let elsewhere =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let mut other_prefix = good.clone();
    other_prefix.replace_range(..3, "xx_");
    let malformed = [
        "",
        "x",
        "Bearer",
        "Bearer ",
        "Basic Zm9vOmJhcg==",
        "Bearer pf_",
        "Bearer null",
        "Bearer a b",
        "UiRobot x",
    ];

    let (mut walked, mut cases) = (BTreeSet::new(), 0);
    for (name, method, path, needs) in Server::routes() {
        let body = body(&method);
        let call =
            async |token: &str, folder: Option<&str>| api.call_as(token, folder, &method, &path, &body).await;
        walked.insert(name.clone());
        if needs == "public" {
            assert!(["Status", "Authenticate"].contains(&name.as_str()), "{name} is public: is that meant?");
            continue;
        }
        // No token
        for header in malformed {
            let mut request = api.request(&method, &path).header("X-UIPATH-FolderPath", "Shared");
            if !header.is_empty() {
                request = request.header("authorization", header);
            }
            let got = api.send(request).await;
            assert!(
                got.status == 401 && got.code() == 0 && got.is_api_error(),
                "{name} {header:?}: {}",
                got.text
            );
            assert_eq!(got.headers["www-authenticate"], "Bearer");
            cases += 1;
        }
        for token in [&expired, &revoked, &of_nobody, &other_prefix] {
            let got = call(token, Some("Shared")).await;
            assert_eq!((got.status, got.code()), (401, 0), "{name}: {}", got.text);
            cases += 1;
        }
        // A valid token without the scope or permission
        if !needs.starts_with("OR.Default") {
            let wrong_scope = if needs.starts_with("OR.Machines") { &of_license } else { &of_machines };
            let got = call(wrong_scope, Some("Shared")).await;
            assert!(
                got.status == 403 && got.code() == 0 && got.is_api_error(),
                "{name} wrong scope: {}",
                got.text
            );
            let other_way = if needs.contains(".Write ") {
                needs.replace(".Write", ".Read")
            } else {
                needs.replace(".Read", ".Write")
            };
            let scope = other_way.split(' ').next().unwrap();
            let other_way = access_admin.add_token("ann", "half", scope, day).await.unwrap();
            let got = call(&other_way, Some("Shared")).await;
            assert_eq!(got.status, 403, "{name} with {scope}: {}", got.text);
            cases += 2;
        }
        let in_folder = needs.contains(" Folder ") || needs.contains(" AnyFolder ");
        if in_folder {
            for (token, folder) in
                [(&elsewhere, "Shared"), (&no_roles, "Shared"), (&good, "Nowhere"), (&good, "Shared/")]
            {
                let got = call(token, Some(folder)).await;
                assert_eq!((got.status, got.code()), (403, 1100), "{name} in {folder}: {}", got.text);
                cases += 1;
            }
        }
        if needs.contains(" Folder ") {
            let got = call(&good, None).await;
            assert_eq!((got.status, got.code()), (400, 1101), "{name} without a folder: {}", got.text);
            cases += 1;
        }
        let permissions = needs.rsplit(' ').next().unwrap_or_default();
        if !permissions.is_empty() {
            let got = call(&no_roles, None).await;
            assert!(matches!(got.status, 400 | 403), "{name} without a role: {}", got.text);
            // Each permission is required.
            for missing in permissions.split(',') {
                let all: Vec<Value> = performer_server::permission::Permission::all()
                    .map(|permission| permission.to_string())
                    .filter(|permission| permission != missing)
                    .map(|permission| json!({"Name": permission, "IsGranted": true}))
                    .collect();
                let role = format!("all but {missing} for {name}");
                let made = api.post("/odata/Roles", &json!({"Name": role, "Permissions": all})).await;
                assert_eq!(made.status, 201, "{}", made.text);
                let lacking = api.application_token(&role, "OrchestratorApiUserAccess", &[&role], &[]).await;
                let got = call(&lacking, Some("Shared")).await;
                assert_eq!((got.status, got.code()), (403, 0), "{name} without {missing}: {}", got.text);
                cases += 1;
            }
        }
        // With access the call is not refused for lack of it.
        let got = call(&good, Some("Shared")).await;
        assert!(!matches!(got.status, 401 | 403 | 405 | 415 | 500), "{name}: {} {}", got.status, got.text);
        cases += 1;
    }
    assert!(walked.len() >= 80 && cases > 1_300, "{} routes, {cases} cases", walked.len());
    let metrics = api.send(api.request("GET", "/metrics")).await;
    assert_eq!(metrics.status, 401);
}

/// The scopes and permissions of the routes are those of the vendor's document.
#[test]
fn routes_need_the_documented_access() {
    let Some(document) = openapi::document() else {
        println!(
            "the vendor's OpenAPI document is not here (ORCHESTRATOR_OPENAPI): rights are not compared with it"
        );
        return;
    };
    let mut compared = 0;
    for (name, method, path, needs) in Server::routes() {
        let others = path.replace("UiPathODataSvc.", "UiPath.Server.Configuration.OData.");
        let paths = document["paths"].as_object().unwrap();
        let same = |known: &str| {
            let known: String = known.split('(').next().unwrap().to_owned()
                + known.split_once(')').map_or("", |(_, rest)| rest.split('(').next().unwrap());
            let of = |path: &str| path.replace("(1)", "").to_lowercase();
            known.to_lowercase() == of(&path) || known.to_lowercase() == of(&others)
        };
        let keyed = path.contains("(1)");
        let found = paths.iter().find(|(known, _)| {
            let first_bracket = known.find('(').is_some_and(|at| !known[..at].contains("UiPath"));
            same(known) && first_bracket == keyed
        });
        let Some((_, operations)) = found else { continue };
        let operation = &operations[method.to_lowercase()];
        let text = format!(
            "{} {}",
            operation["summary"].as_str().unwrap_or(""),
            operation["description"].as_str().unwrap_or("")
        );
        let Some((_, scopes)) = text.split_once("OAuth required scopes: ") else { continue };
        let scope = needs.split(' ').next().unwrap();
        assert!(scopes.starts_with(scope.rsplit_once('.').unwrap().0), "{name}: {needs} and {scopes}");
        assert!(scopes.contains(scope), "{name}: {needs} and {scopes}");
        let permissions = needs.rsplit(' ').next().unwrap_or_default();
        for permission in permissions.split(',').filter(|permission| !permission.is_empty()) {
            assert!(scopes.contains(permission), "{name}: {permission} is not in {scopes}");
        }
        if let Some((_, required)) = scopes.split_once("Required permissions: ") {
            let required = required.split('.').take(8).collect::<Vec<_>>().join(".");
            let mut required = required;
            for end in ["Note", "DEPRECATED", "Only ", "Example", "and (RemoteControl.Create - "] {
                required = required.split(end).next().unwrap().to_owned();
            }
            // All permissions that are joined by "and"; alternatives are not compared.
            if !required.contains(" or ") {
                for word in required
                    .split(|c: char| c.is_whitespace() || "()".contains(c))
                    .map(|word| word.trim_end_matches('.'))
                    .filter(|word| word.contains('.') && word.len() < 30)
                {
                    assert!(permissions.contains(word), "{name}: {word} is missing in {needs}");
                }
            }
        }
        compared += 1;
    }
    assert!(compared >= 50, "{compared} routes were compared");
}

/// Items, queues, comments and jobs of another folder are answered like ones that do not exist.
#[tokio::test]
async fn entities_of_another_folder_are_not_found() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    let queue = api.queue(&json!({"Name": "Invoices"})).await;
    let item = api.add("Invoices", "a").await;
    let comment = api
        .post("/odata/QueueItemComments", &json!({"Text": "secret", "QueueItemId": item["Id"]}))
        .await
        .body;
    let job = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
    assert_eq!(api.post("/api/Performer/StartJob", &job).await.status, 200);
    let finance =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let versioned = json!({"queueItems": [{"Id": item["Id"], "RowVersion": item["RowVersion"]}]});
    let (id, comment) = (item["Id"].as_i64().unwrap(), comment["Id"].as_i64().unwrap());
    let before = api.get(&format!("/odata/QueueItems({id})")).await.body;
    let result = json!({"transactionResult": {"IsSuccessful": true}});
    let mut cases = 0;
    // The same responses for entities of another folder and for unknown ones.
    for offset in [0, 1_000_000] {
        let (queue, id, comment, event) =
            (queue + offset, id + offset, comment + offset, id * 1_000 + offset);
        let mut bulk = versioned.clone();
        bulk["queueItems"][0]["Id"] = id.into();
        let mut review = bulk.clone();
        review["status"] = "Retried".into();
        for (method, path, body) in [
            ("GET", format!("/odata/QueueDefinitions({queue})"), Value::Null),
            ("PUT", format!("/odata/QueueDefinitions({queue})"), json!({"Name": "mine"})),
            ("DELETE", format!("/odata/QueueDefinitions({queue})"), Value::Null),
            (
                "GET",
                format!(
                    "/odata/QueueDefinitions({queue})/UiPathODataSvc.GetJsonSchemaDefinition(jsonSchemaType='SpecificData')"
                ),
                Value::Null,
            ),
            ("GET", format!("/odata/QueueDefinitions/UiPathODataSvc.GetQueue(id={queue})"), Value::Null),
            (
                "POST",
                "/odata/QueueDefinitions/UiPathODataSvc.EditQueue".to_owned(),
                json!({"Id": queue, "Name": "mine"}),
            ),
            (
                "GET",
                format!("/odata/QueueDefinitions/UiPathODataSvc.GetFoldersForQueue(id={queue})"),
                Value::Null,
            ),
            (
                "POST",
                "/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders".to_owned(),
                json!({"QueueIds": [queue], "ToAddFolderIds": [], "ToRemoveFolderIds": []}),
            ),
            ("GET", format!("/odata/QueueItems({id})"), Value::Null),
            ("PUT", format!("/odata/QueueItems({id})"), json!({"Priority": "Low"})),
            ("DELETE", format!("/odata/QueueItems({id})"), Value::Null),
            ("GET", format!("/odata/QueueItems({id})/UiPathODataSvc.GetItemLastRetry"), Value::Null),
            ("GET", format!("/odata/QueueItems({id})/UiPathODataSvc.GetItemProcessingHistory"), Value::Null),
            (
                "POST",
                format!("/odata/QueueItems({id})/UiPathODataSvc.SetTransactionProgress"),
                json!({"progress": "x"}),
            ),
            ("POST", format!("/odata/Queues({id})/UiPathODataSvc.SetTransactionResult"), result.clone()),
            ("POST", "/odata/QueueItemComments".to_owned(), json!({"Text": "x", "QueueItemId": id})),
            ("GET", format!("/odata/QueueItemComments({comment})"), Value::Null),
            ("PUT", format!("/odata/QueueItemComments({comment})"), json!({"Text": "x"})),
            ("DELETE", format!("/odata/QueueItemComments({comment})"), Value::Null),
            (
                "GET",
                format!(
                    "/odata/QueueItemComments/UiPathODataSvc.GetQueueItemCommentsHistory(queueItemId={id})"
                ),
                Value::Null,
            ),
            ("GET", format!("/odata/QueueItemEvents({event})"), Value::Null),
            (
                "GET",
                format!("/odata/QueueItemEvents/UiPathODataSvc.GetQueueItemEventsHistory(queueItemId={id})"),
                Value::Null,
            ),
            ("GET", format!("/odata/QueueRetention({queue})"), Value::Null),
            ("PUT", format!("/odata/QueueRetention({queue})"), json!({"Action": "Delete", "Period": 1})),
            ("DELETE", format!("/odata/QueueRetention({queue})"), Value::Null),
            (
                "GET",
                format!(
                    "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveLastDaysProcessingRecords(daysNo=0,queueDefinitionId={queue})"
                ),
                Value::Null,
            ),
            (
                "POST",
                "/odata/Queues/UiPathODataSvc.AddQueueItem".to_owned(),
                json!({"itemData": {"Name": "Invoices", "SpecificContent": {}}}),
            ),
            (
                "POST",
                "/odata/Queues/UiPathODataSvc.StartTransaction".to_owned(),
                json!({"transactionData": {"Name": "Invoices"}}),
            ),
            (
                "POST",
                "/odata/Queues/UiPathODataSvc.BulkAddQueueItems".to_owned(),
                json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": []}),
            ),
        ] {
            let got = api.call_as(&finance, Some("Finance"), method, &path, &body).await;
            assert_eq!((got.status, got.code()), (404, 1002), "{method} {path}: {}", got.text);
            cases += 1;
        }
        for (action, body) in
            [("DeleteBulk", &bulk), ("SetItemReviewStatus", &review), ("SetItemReviewer", &bulk)]
        {
            let path = format!("/odata/QueueItems/UiPathODataSvc.{action}");
            let got = api.call_as(&finance, Some("Finance"), "POST", &path, body).await;
            assert_eq!((got.status, &got.body["FailedItems"]), (200, &json!([id])), "{action}: {}", got.text);
            cases += 1;
        }
    }
    for path in [
        "/odata/QueueDefinitions",
        "/odata/QueueItems",
        "/odata/QueueItemComments",
        "/odata/QueueItemEvents",
        "/odata/QueueRetention",
        "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveQueuesProcessingStatus",
        "/odata/QueueDefinitions/UiPathODataSvc.GetQueuesAcrossFolders",
    ] {
        for folder in [Some("Finance"), None] {
            let got = api.call_as(&finance, folder, "GET", path, &Value::Null).await;
            assert_eq!((got.status, &got.body["value"]), (200, &json!([])), "{path}: {}", got.text);
            cases += 1;
        }
    }
    let jobs =
        api.call_as(&finance, Some("Finance"), "POST", "/api/Performer/Jobs", &json!({"limit": 10})).await;
    assert_eq!(jobs.text, "[]");
    assert_eq!(api.get(&format!("/odata/QueueItems({id})")).await.body, before, "nothing was changed");
    assert!(cases > 70, "{cases}");
    for key in [
        "-1",
        "0",
        "9223372036854775807",
        "9223372036854775808",
        "x",
        "''",
        "1,2",
        "6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11",
    ] {
        let got = api.get(&format!("/odata/QueueItems({key})")).await;
        assert!(matches!((got.status, got.code()), (404, 1002) | (400, 1000)), "{key}: {}", got.text);
    }
}

/// Callers can neither grant nor revoke more than they have.
#[tokio::test]
async fn callers_cannot_grant_more_than_they_have() {
    let api = Api::start().await;
    let clerk: Vec<Value> = [
        "Users.View",
        "Users.Create",
        "Users.Edit",
        "Users.Delete",
        "Roles.View",
        "Roles.Create",
        "Roles.Edit",
        "Units.View",
        "Units.Edit",
    ]
    .iter()
    .map(|name| json!({"Name": name, "IsGranted": true}))
    .collect();
    assert_eq!(api.post("/odata/Roles", &json!({"Name": "Clerk", "Permissions": clerk})).await.status, 201);
    let token = api.application_token("clerk", "OrchestratorApiUserAccess", &["Clerk"], &[]).await;
    let call = async |method: &str, path: &str, body: Value| {
        api.call_as(&token, None, method, path, &body).await.status
    };
    let me = api
        .call_as(&token, None, "GET", "/odata/Users/UiPathODataSvc.GetCurrentUser", &Value::Null)
        .await
        .body["Id"]
        .clone();
    let roles = api.get("/odata/Roles").await.body;
    let id_of = |name: &str| {
        roles["value"].as_array().unwrap().iter().find(|role| role["Name"] == name).unwrap()["Id"].clone()
    };
    let (administrator, clerk) = (id_of("Administrator"), id_of("Clerk"));
    let assign = format!("/odata/Users({me})/UiPathODataSvc.AssignRoles");
    assert_eq!(call("POST", &assign, json!({"roleIds": [administrator]})).await, 403);
    assert_eq!(
        call("POST", "/odata/Users", json!({"UserName": "boss", "RolesList": ["Administrator"]})).await,
        403
    );
    assert_eq!(
        call("POST", "/odata/Users", json!({"UserName": "colleague", "RolesList": ["Clerk"]})).await,
        201
    );
    let more = json!({"Name": "More", "Permissions": [{"Name": "Queues.Delete"}]});
    assert_eq!(call("POST", "/odata/Roles", more.clone()).await, 403);
    assert_eq!(call("PUT", &format!("/odata/Roles({clerk})"), more).await, 403);
    let folder = json!({"assignments": {"UserIds": [me], "RolesPerFolder": [{"FolderId": 1, "RoleIds": [administrator]}]}});
    assert_eq!(call("POST", "/odata/Folders/UiPathODataSvc.AssignUsers", folder).await, 403);
    let users = api.get("/odata/Users").await.body;
    let boss = users["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|user| user["UserName"] == "first-application")
        .unwrap()["Id"]
        .clone();
    assert_eq!(call("PUT", &format!("/odata/Users({boss})"), json!({"Password": "taken over 1"})).await, 403);
    assert_eq!(call("DELETE", &format!("/odata/Users({boss})"), Value::Null).await, 403);

    // Users and roles with more permissions in any folder cannot be changed.
    let in_shared = Roles { roles: vec!["Administrator".to_owned()], folders: vec!["Shared".to_owned()] };
    let victim = api.served.access_admin.add_user("victim", UserType::User, None, &in_shared).await.unwrap();
    let someone =
        api.served.access_admin.add_user("someone", UserType::User, None, &Roles::default()).await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    for (method, path, body) in [
        ("PUT", format!("/odata/Users({victim})"), json!({"Password": "taken over 1"})),
        ("PUT", format!("/odata/Users({victim})"), json!({"IsActive": false})),
        ("DELETE", format!("/odata/Users({victim})"), Value::Null),
        ("POST", format!("/odata/Users({victim})/UiPathODataSvc.AssignRoles"), json!({"roleIds": []})),
        (
            "POST",
            "/odata/Folders(1)/UiPathODataSvc.RemoveUserFromFolder".to_owned(),
            json!({"userId": victim}),
        ),
        (
            "POST",
            "/odata/Folders/UiPathODataSvc.AssignUsers".to_owned(),
            json!({"assignments": {"UserIds": [victim], "RolesPerFolder": [{"FolderId": 1, "RoleIds": []}]}}),
        ),
        (
            "PUT",
            format!("/odata/Roles({administrator})"),
            json!({"Name": "Administrator", "Permissions": []}),
        ),
        ("DELETE", format!("/odata/Roles({administrator})"), Value::Null),
    ] {
        assert_eq!(call(method, &path, body.clone()).await, 403, "{method} {path} {body}");
    }
    // Unknown roles cannot be assigned.
    assert_eq!(call("POST", &assign, json!({"roleIds": [999_999]})).await, 404);
    // An application has no password, and a token with some scopes cannot set a password, which would grant all.
    let body = json!({"Password": "a way around 1"});
    let to_itself = format!("/odata/Users({me})");
    assert_eq!(call("PUT", &to_itself, body.clone()).await, 400);
    let narrow = api.application_token("narrow", "OR.Users.Write", &["Administrator"], &[]).await;
    let path = format!("/odata/Users({someone})");
    assert_eq!(api.call_as(&narrow, None, "PUT", &path, &body).await.status, 403);
    assert_eq!(api.call_as(&token, None, "PUT", &path, &body).await.status, 200);
}
