//! The administration of users, roles and folders: what is changed, what is refused, and what the audit says of it.

use serde_json::{Value, json};

use performer::model::UserType;
use performer::server::Roles;
use performer_proofs::test_server::{CLIENT, SECRET};

use crate::{Api, ApiResponse};

fn odata(action: &str) -> String {
    format!("UiPath.Server.Configuration.OData.{action}")
}

/// The numbers of the built-in roles.
const ADMINISTRATOR: i64 = 2;
const VIEWER: i64 = 4;

impl Api {
    async fn patch(&self, path: &str, body: Value) -> ApiResponse {
        self.call("PATCH", path, &body).await
    }

    /// Creates a person, and returns its number.
    async fn person(&self, name: &str, roles: &[&str]) -> i64 {
        let made =
            self.post("/odata/Users", &json!({"UserName": name, "Name": name, "RolesList": roles})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.body["Id"].as_i64().unwrap()
    }

    /// Creates a folder, and returns it.
    async fn folder(&self, name: &str, parent: Option<i64>) -> Value {
        let made = self.post("/odata/Folders", &json!({"DisplayName": name, "ParentId": parent})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.body
    }

    /// What the audit says last.
    async fn last_act(&self) -> Value {
        let lines = self.post("/api/Performer/Audit", &json!({"top": 1})).await.body;
        let entry = lines[0]["entry"].as_str().unwrap_or_else(|| panic!("{lines}"));
        serde_json::from_str(entry).unwrap()
    }

    /// Who has a role in the tenant.
    async fn users_with(&self, role: i64) -> Vec<i64> {
        let path = format!("/odata/Roles/{}", odata(&format!("GetUserIdsForRole(key={role})")));
        let got = self.get(&path).await;
        got.body["value"]
            .as_array()
            .unwrap_or_else(|| panic!("{}", got.text))
            .iter()
            .map(|id| id.as_i64().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn a_patch_changes_only_what_it_names() {
    let api = Api::start().await;
    let ann = api.person("ann", &["Viewer"]).await;
    let path = format!("/odata/Users({ann})");
    let body = json!({"Surname": "Ågren", "EmailAddress": "ann@example.com"});
    assert_eq!(api.patch(&path, body).await.status, 200);
    assert_eq!(api.patch(&path, json!({"Surname": null, "IsActive": false})).await.status, 200);
    let user = api.get(&path).await.body;
    assert_eq!(
        (&user["Name"], &user["Surname"], &user["EmailAddress"], &user["IsActive"], &user["RolesList"]),
        (&json!("ann"), &Value::Null, &json!("ann@example.com"), &json!(false), &json!(["Viewer"]))
    );
    let act = api.last_act().await;
    assert_eq!(
        act["Changes"],
        json!([{"Field": "Surname", "Before": "Ågren"}, {"Field": "IsActive", "Before": true, "After": false}]),
        "{act}"
    );
    // A user as it was read can be sent back; what cannot be changed here is refused.
    let mut whole = user.clone();
    whole["Name"] = "Anna".into();
    whole["Password"] = Value::Null;
    assert_eq!(api.patch(&path, whole).await.status, 200);
    for (body, code) in [
        (json!({"UserName": "bob"}), 1414),
        (json!({"Type": "Robot"}), 1024),
        (json!({"RolesList": ["Administrator"]}), 1024),
        (json!({"RolesList": []}), 1024),
        (json!({"UserRoles": [{"RoleId": ADMINISTRATOR}]}), 1024),
        (json!({"Name": "x".repeat(257)}), 1015),
    ] {
        let got = api.patch(&path, body.clone()).await;
        assert_eq!((got.status, got.code()), (400, code), "{body}: {}", got.text);
    }
    assert_eq!(api.patch("/odata/Users(99)", json!({"Name": "x"})).await.status, 404);
    assert_eq!(api.get(&path).await.body["Name"], "Anna");
}

#[tokio::test]
async fn callers_without_the_permission_change_their_own_names_alone() {
    let api = Api::start().await;
    let ann = api.person("ann", &[]).await;
    let token = api.application_token("app", "OrchestratorApiUserAccess", &["Viewer"], &[]).await;
    let me = format!("/odata/Users/{}", odata("GetCurrentUserExtended?$expand=PersonalWorkspace"));
    let me = api.call_as(&token, None, "GET", &me, &Value::Null).await;
    assert_eq!((me.status, &me.body["PersonalWorkspace"]), (200, &Value::Null), "{}", me.text);
    assert!(me.body.as_object().unwrap().contains_key("PersonalWorkspace"));
    let own = format!("/odata/Users({})", me.body["Id"]);
    let other = format!("/odata/Users({ann})");
    for (path, body, status) in [
        (&own, json!({"Name": "App", "EmailAddress": "app@example.com"}), 200),
        (&own, json!({"IsActive": false}), 403),
        (&own, json!({"Password": "a new one 1"}), 403),
        (&other, json!({"Name": "x"}), 403),
    ] {
        let got = api.call_as(&token, None, "PATCH", path, &body).await;
        assert_eq!(got.status, status, "{path} {body}: {}", got.text);
    }
    assert_eq!(api.get(&own).await.body["Name"], "App");
}

#[tokio::test]
async fn roles_are_given_and_taken_one_by_one() {
    let api = Api::start().await;
    let (ann, bob) = (api.person("ann", &["Viewer"]).await, api.person("bob", &[]).await);
    let toggle = format!("/odata/Users({bob})/{}", odata("ToggleRole"));
    assert_eq!(api.post(&toggle, &json!({"role": "viewer", "toggle": true})).await.status, 200);
    assert_eq!(api.users_with(VIEWER).await, [ann, bob]);
    let act = api.last_act().await;
    assert_eq!(
        (&act["Subject"], &act["Changes"]),
        (&json!("user bob"), &json!([{"Field": "Roles", "Before": [], "After": ["Viewer"]}])),
        "{act}"
    );
    assert_eq!(api.post(&toggle, &json!({"role": "viewer", "toggle": true})).await.status, 200, "twice");
    assert_eq!(api.post(&toggle, &json!({"role": "Nobody", "toggle": true})).await.status, 404);
    let set = format!("/odata/Roles({VIEWER})/{}", odata("SetUsers"));
    let got = api.post(&set, &json!({"addedUserIds": [], "removedUserIds": [ann, bob]})).await;
    assert_eq!((got.status, got.text.as_str()), (204, ""));
    assert_eq!(api.users_with(VIEWER).await, [] as [i64; 0]);
    // All or none of them.
    let got = api.post(&set, &json!({"addedUserIds": [ann, 999], "removedUserIds": []})).await;
    assert_eq!(got.status, 404, "{}", got.text);
    assert_eq!(api.users_with(VIEWER).await, [] as [i64; 0]);
    assert_eq!(api.post(&set, &json!({"addedUserIds": [bob], "removedUserIds": []})).await.status, 204);
    // Users with the role come first.
    let all = format!("/odata/Roles/{}", odata(&format!("GetUsersForRole(key={VIEWER})")));
    let names = |got: &ApiResponse| {
        let rows = got.body["value"].as_array().unwrap().iter();
        rows.map(|user| user["UserName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&api.get(&all).await), ["bob", "first-application", "ann"]);
    assert_eq!(
        names(&api.get(&format!("{all}?$orderby=UserName&$filter=Type eq 'User'")).await),
        ["ann", "bob"]
    );
    let ids = format!("/odata/Roles/{}", odata(&format!("GetUserIdsForRole(key={VIEWER})")));
    assert_eq!(api.get(&format!("{ids}/$count")).await.text, "1");
    assert_eq!(api.get(&format!("{ids}?$filter=Id eq 1")).await.code(), 1000);
    assert_eq!(api.get(&ids.replace(&VIEWER.to_string(), "99")).await.status, 404);
    // The last administrator who can log in stays one, by either way.
    let me = api.users_with(ADMINISTRATOR).await[0];
    let take = json!({"role": "Administrator", "toggle": false});
    let got = api.post(&format!("/odata/Users({me})/{}", odata("ToggleRole")), &take).await;
    assert_eq!((got.status, got.code()), (409, 1013), "{}", got.text);
    let set = format!("/odata/Roles({ADMINISTRATOR})/{}", odata("SetUsers"));
    let got = api.post(&set, &json!({"addedUserIds": [ann], "removedUserIds": [me]})).await;
    assert_eq!((got.status, got.code()), (409, 1013), "ann cannot log in: {}", got.text);
    assert_eq!(api.users_with(ADMINISTRATOR).await, [me]);
}

#[tokio::test]
async fn nobody_gives_or_takes_more_than_they_have() {
    let api = Api::start().await;
    let permissions = [
        "Users.View",
        "Users.Edit",
        "Roles.View",
        "Roles.Edit",
        "Units.View",
        "Units.Edit",
        "Units.Delete",
        "Units.Create",
    ];
    let permissions: Vec<Value> = permissions.iter().map(|name| json!({ "Name": name })).collect();
    api.post("/odata/Roles", &json!({"Name": "Clerk", "Permissions": permissions})).await;
    let token = api.application_token("clerk", "OrchestratorApiUserAccess", &["Clerk"], &[]).await;
    let boss = api.users_with(ADMINISTRATOR).await[0];
    let ann = api.person("ann", &[]).await;
    // A folder into which others would be moved, where somebody may do more than the clerk.
    let (wide, narrow) = (api.folder("Wide", None).await, api.folder("Narrow", None).await);
    let in_wide = Roles { roles: vec!["Administrator".to_owned()], folders: vec!["Wide".to_owned()] };
    api.served.access_admin.add_user("owner", UserType::User, None, &in_wide).await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    let moved = format!("/odata/Folders({})/{}", narrow["Id"], odata("MoveFolder"));
    for (method, path, body, status) in [
        ("PATCH", format!("/odata/Users({boss})"), json!({"IsActive": false}), 403),
        ("PATCH", format!("/odata/Users({boss})"), json!({"Name": "x"}), 403),
        ("PATCH", format!("/odata/Users({ann})"), json!({"Name": "x"}), 200),
        (
            "POST",
            format!("/odata/Users({ann})/{}", odata("ToggleRole")),
            json!({"role": "Viewer", "toggle": true}),
            403,
        ),
        (
            "POST",
            format!("/odata/Users({ann})/{}", odata("ToggleRole")),
            json!({"role": "Clerk", "toggle": true}),
            200,
        ),
        (
            "POST",
            format!("/odata/Roles({VIEWER})/{}", odata("SetUsers")),
            json!({"addedUserIds": [ann], "removedUserIds": []}),
            403,
        ),
        (
            "POST",
            format!("/odata/Roles({ADMINISTRATOR})/{}", odata("SetUsers")),
            json!({"addedUserIds": [], "removedUserIds": [boss]}),
            403,
        ),
        ("PUT", format!("{moved}?targetParentId={}", wide["Id"]), Value::Null, 403),
        ("PUT", format!("{moved}?targetParentId=1"), Value::Null, 204),
        ("PUT", moved.clone(), Value::Null, 204),
    ] {
        let got = api.call_as(&token, None, method, &path, &body).await;
        assert_eq!(got.status, status, "{method} {path} {body}: {}", got.text);
    }
}

#[tokio::test]
async fn folders_are_moved_with_what_is_in_them() {
    let api = Api::start().await;
    let (finance, archive) = (api.folder("Finance", None).await, api.folder("Archive", None).await);
    let (finance_id, archive_id) = (finance["Id"].as_i64().unwrap(), archive["Id"].as_i64().unwrap());
    let payroll = api.folder("Payroll", Some(finance_id)).await;
    let queue = json!({"Name": "Invoices"});
    let made =
        api.call_as(&api.token, Some("Finance/Payroll"), "POST", "/odata/QueueDefinitions", &queue).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let move_to = async |folder: &Value, parent: Option<i64>| {
        let target = parent.map(|parent| format!("?targetParentId={parent}")).unwrap_or_default();
        api.call("PUT", &format!("/odata/Folders({folder})/{}{target}", odata("MoveFolder")), &Value::Null)
            .await
    };
    assert_eq!(move_to(&finance["Id"], Some(archive_id)).await.status, 204);
    let act = api.last_act().await;
    assert_eq!(
        (&act["Subject"], &act["Changes"]),
        (&json!("folder Finance"), &json!([{"Field": "ParentName", "After": "Archive"}])),
        "{act}"
    );
    let queues = api
        .call_as(&api.token, Some("Archive/Finance/Payroll"), "GET", "/odata/QueueDefinitions", &Value::Null)
        .await;
    assert_eq!(queues.body["value"][0]["Name"], "Invoices", "{}", queues.text);
    let old = api
        .call_as(&api.token, Some("Finance/Payroll"), "GET", "/odata/QueueDefinitions", &Value::Null)
        .await;
    assert_eq!((old.status, old.code()), (403, 1100));
    api.folder("Finance", None).await;
    for (folder, parent, status, code) in [
        (&finance["Id"], None, 409, 1001),
        (&archive["Id"], payroll["Id"].as_i64(), 400, 1009),
        (&archive["Id"], Some(archive_id), 400, 1009),
        (&json!(1), Some(archive_id), 409, 1013),
        (&json!(99), Some(1), 404, 1002),
        (&archive["Id"], Some(99), 404, 1002),
    ] {
        let got = move_to(folder, parent).await;
        assert_eq!((got.status, got.code()), (status, code), "{folder} to {parent:?}: {}", got.text);
    }
    // As deep as folders may be: three are moved below the fourth, and not below the fifth.
    let (mut deep, mut at) = (Vec::new(), None);
    for level in 0..5 {
        at = api.folder(&format!("level {level}"), at).await["Id"].as_i64();
        deep.push(at);
    }
    assert_eq!(move_to(&archive["Id"], deep[4]).await.code(), 1009);
    assert_eq!(move_to(&archive["Id"], deep[3]).await.status, 204);
    assert_eq!(move_to(&archive["Id"], None).await.status, 204, "to the top again");
}

#[tokio::test]
async fn folders_are_edited_and_deleted_by_key() {
    let api = Api::start().await;
    let folder = api.folder("Finance", Some(1)).await;
    let key = folder["Key"].as_str().unwrap();
    let path = format!("/api/Folders/PatchNameDescription?key={key}");
    assert_eq!(api.patch(&path, json!({"description": "money"})).await.status, 200);
    assert_eq!(api.patch(&path, json!({"name": "Money"})).await.status, 200);
    let one = format!("/odata/Folders({})", folder["Id"]);
    let now = api.get(&one).await.body;
    assert_eq!((&now["FullyQualifiedName"], &now["Description"]), (&json!("Shared/Money"), &json!("money")));
    assert_eq!(
        api.last_act().await["Changes"],
        json!([{"Field": "DisplayName", "Before": "Finance", "After": "Money"}])
    );
    assert_eq!(api.patch(&path, json!({"description": null})).await.status, 200);
    assert_eq!(api.get(&one).await.body["Description"], Value::Null);
    for (query, body, status, code) in [
        ("", json!({"name": "x"}), 400, 1014),
        ("?key=x", json!({"name": "x"}), 400, 1009),
        (&*format!("?key={}", uuid::Uuid::nil()), json!({"name": "x"}), 404, 1002),
        (&*format!("?key={key}"), json!({"name": "a/b"}), 400, 1009),
        (&*format!("?key={key}"), json!({"name": ""}), 400, 1015),
    ] {
        let got = api.patch(&format!("/api/Folders/PatchNameDescription{query}"), body.clone()).await;
        assert_eq!((got.status, got.code()), (status, code), "{query} {body}: {}", got.text);
    }
    let ann = api.post("/odata/Users", &json!({"UserName": "ann"})).await.body;
    let assign = json!({"assignments": {"UserIds": [ann["Id"]], "RolesPerFolder": [{"FolderId": folder["Id"], "RoleIds": [VIEWER]}]}});
    assert_eq!(api.post(&format!("/odata/Folders/{}", odata("AssignUsers")), &assign).await.status, 204);
    let remove = format!("/odata/Folders({})/{}", folder["Id"], odata("RemoveUserFromFolderByKey"));
    assert_eq!(api.post(&remove, &json!({"userKey": uuid::Uuid::nil()})).await.status, 404);
    assert_eq!(api.post(&remove, &json!({"userKey": ann["Key"]})).await.status, 204);
    assert_eq!(
        api.last_act().await["Changes"],
        json!([{"Field": "Roles in Shared/Money", "Before": ["Viewer"], "After": []}])
    );
    let delete = |key: &str| format!("/api/Folders/DeleteByKey?key={key}");
    let queue = json!({"Name": "Invoices"});
    let made = api.call_as(&api.token, Some("Shared/Money"), "POST", "/odata/QueueDefinitions", &queue).await;
    let refused = api.call("DELETE", &delete(key), &Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, 1012), "{}", refused.text);
    let one_queue = format!("/odata/QueueDefinitions({})", made.body["Id"]);
    assert_eq!(
        api.call_as(&api.token, Some("Shared/Money"), "DELETE", &one_queue, &Value::Null).await.status,
        204
    );
    assert_eq!(api.call("DELETE", &delete(key), &Value::Null).await.status, 204);
    assert_eq!(api.call("DELETE", &delete(key), &Value::Null).await.status, 404);
}

/// Somebody with a role in one folder deep inside sees the way to it, and the roles there.
#[tokio::test]
async fn a_tree_shows_the_way_to_the_folders_of_the_caller() {
    let api = Api::start().await;
    let finance = api.folder("Finance", None).await["Id"].as_i64().unwrap();
    let payroll = api.folder("Payroll", Some(finance)).await["Id"].as_i64().unwrap();
    let north = api.folder("North", Some(payroll)).await["Id"].as_i64().unwrap();
    api.folder("Secret", Some(finance)).await;
    let token =
        api.application_token("clerk", "OrchestratorApiUserAccess", &["Viewer"], &["Finance/Payroll"]).await;
    let get = async |path: &str| api.call_as(&token, None, "GET", path, &Value::Null).await;
    let tree = get("/api/FoldersNavigation/GetAllFoldersForCurrentUser").await.body;
    let brief = |folder: &Value| {
        json!([folder["DisplayName"], folder["IsSelectable"], folder["HasChildren"], folder["Level"]])
    };
    let rows: Vec<Value> = tree.as_array().unwrap().iter().map(brief).collect();
    assert_eq!(
        json!(rows),
        json!([["Finance", false, true, 1], ["Payroll", true, true, 2], ["North", true, false, 3]])
    );
    let context = "/api/FoldersNavigation/GetFolderNavigationContextForCurrentUser";
    let top = get(context).await.body;
    assert_eq!((&top["Id"], &top["ChildrenCount"], &top["Ancestors"]), (&Value::Null, &json!(1), &json!([])));
    let inside = get(&format!("{context}?folderId={payroll}")).await.body;
    assert_eq!((&inside["DisplayName"], &inside["IsSelectable"]), (&json!("Payroll"), &json!(true)));
    assert_eq!(
        inside["Ancestors"],
        json!([{"DisplayName": "Finance", "FullyQualifiedName": "Finance", "Id": finance}])
    );
    assert_eq!((&inside["ChildrenPage"][0]["Id"], &inside["ChildrenCount"]), (&json!(north), &json!(1)));
    let skipped = get(&format!("{context}?folderId={payroll}&skip=1")).await.body;
    assert_eq!((&skipped["ChildrenPage"], &skipped["ChildrenCount"]), (&json!([]), &json!(1)));
    assert_eq!(get(&format!("{context}?folderId=1")).await.status, 404, "Shared is none of its folders");
    assert_eq!(get(&format!("{context}?folderId=x")).await.code(), 1009);

    let roles = api
        .get(&format!("/odata/Folders/{}", odata("GetAllRolesForUser(username='CLERK',skip=0,take=10)")))
        .await
        .body;
    assert_eq!((&roles["Count"], &roles["TenantRoles"]), (&json!(1), &json!([])), "{roles}");
    assert_eq!(roles["PageItems"][0]["Folder"]["FullyQualifiedName"], "Finance/Payroll");
    assert_eq!(roles["PageItems"][0]["Roles"][0]["Name"], "Viewer");
    assert_eq!(roles["PageItems"][0]["Roles"][0]["Users"][0]["UserName"], "clerk");
    let of = "/api/FoldersNavigation/GetAllRolesForUser?username=first-application";
    assert_eq!(api.get(of).await.body["TenantRoles"][0]["Name"], "Administrator");
    assert_eq!(get(of).await.body["TenantRoles"], json!([]), "who sees one folder is told of that one");
    let none =
        api.get("/api/FoldersNavigation/GetAllRolesForUser?username=clerk&searchText=north").await.body;
    assert_eq!(none["Count"], 0);
    assert_eq!(api.get("/api/FoldersNavigation/GetAllRolesForUser?username=nobody").await.status, 404);
    let nothing = api.application_token("nothing", "OrchestratorApiUserAccess", &[], &[]).await;
    assert_eq!(api.call_as(&nothing, None, "GET", of, &Value::Null).await.status, 403);
}

#[tokio::test]
async fn users_are_busy_while_their_jobs_run() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let (me, ann) = (api.users_with(ADMINISTRATOR).await[0], api.person("ann", &[]).await);
    let validate = format!("/odata/Users/{}", odata(&format!("Validate(userIds=[{me},{ann}])")));
    let busy = async || {
        let got = api.get(&validate).await;
        (got.body["value"][me.to_string()].clone(), got.body["value"][ann.to_string()].clone())
    };
    assert_eq!(busy().await, (json!(false), json!(false)));
    let job = crate::bad_requests::start_job(&api, "Invoices").await;
    assert_eq!(busy().await, (json!(true), json!(false)));
    let end = json!({"job": job, "state": "Successful", "info": null, "figures": {"successful": 1}});
    assert_eq!(api.post("/api/Performer/EndJob", &end).await.status, 200);
    assert_eq!(busy().await, (json!(false), json!(false)));
    for (ids, status) in [("[x]", 400), ("[99]", 404), ("[]", 200), ("[1,2", 404)] {
        let got = api.get(&format!("/odata/Users/{}", odata(&format!("Validate(userIds={ids})")))).await;
        assert_eq!(got.status, status, "{ids}: {}", got.text);
    }
}

#[tokio::test]
async fn permissions_are_listed_with_numbers_of_their_own() {
    let api = Api::start().await;
    let all = api.get("/odata/Permissions").await.body["value"].as_array().unwrap().clone();
    let numbers: std::collections::BTreeSet<i64> =
        all.iter().map(|one| one["Id"].as_i64().unwrap()).collect();
    assert_eq!(
        (numbers.len(), all.len()),
        (all.len(), performer_server::permission::Permission::all().count())
    );
    let names: Vec<Value> = all.iter().map(|one| json!({"Name": one["Name"]})).collect();
    let made = api.post("/odata/Roles", &json!({"Name": "All", "Permissions": names})).await;
    assert_eq!((made.status, made.body["Permissions"].as_array().unwrap().len()), (201, all.len()));
}
