//! Access: who sees what of it, what can be changed there, and that each change is refused or recorded.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Answer, Desk};

const PASSWORD: &str = "correct horse battery";

async fn page(desk: &Desk, cookie: &str) -> Answer {
    let page = desk.get(cookie, "/desk/access").await;
    assert_eq!(page.status, 200, "{}", page.text);
    page
}

/// The number of a role, from the form of a new user.
async fn role(desk: &Desk, name: &str) -> String {
    let roles = desk.api("GET", "/odata/Roles", &Value::Null).await;
    let all = roles["value"].as_array().unwrap();
    all.iter().find(|role| role["Name"] == name).unwrap()["Id"].to_string()
}

/// Adds a user. Returns the path of its page.
async fn add(desk: &Desk, cookie: &str, name: &str, role_name: &str, place: &str) -> String {
    let role = role(desk, role_name).await;
    let form = [("name", name), ("password", PASSWORD), ("place", place), ("role", &*role)];
    let added = desk.post(cookie, "/desk/access/users", &form).await;
    assert_eq!(added.status, 303, "{}", added.text);
    added.location().to_owned()
}

async fn is_signed_in(desk: &Desk, cookie: &str) -> bool {
    desk.get(cookie, "/desk/access").await.status == 200
}

/// What the audit says of the changes of access, the newest first.
async fn audit(desk: &Desk, cookie: &str) -> String {
    desk.get(cookie, "/desk/audit.csv?act=AccessChanged").await.text
}

#[tokio::test]
async fn everybody_sees_what_it_may_do_itself_and_others_by_permission() {
    let desk = Desk::start().await;
    desk.work().await;
    desk.served.access_admin.add_folder("Finance").await.unwrap();
    let administrator = desk.sign_in().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &[]).await;
    let clerk = desk.sign_in_with("clerk", &["Automation User"], &["Finance"]).await;
    let nothing = desk.sign_in_with("nothing", &[], &[]).await;
    for (cookie, has) in [
        (
            &administrator,
            ["<h2>Users</h2>", "<h2>Roles</h2>", "<h2>Applications</h2>", "New user", "New folder"],
        ),
        (&viewer, ["<h2>Users</h2>", "<h2>Roles</h2>", "<h2>Applications</h2>", "Your sessions", "This one"]),
        (&clerk, ["Finance", "Your sessions", "This one", "New token", "Automation User"]),
        (&nothing, ["Your sessions", "This one", "New token", "nothing", "You have no role in a folder."]),
    ] {
        page(&desk, cookie).await.assert_has(&has);
    }
    for (cookie, hidden) in [
        (&viewer, ["New user", "New folder", "New application", "/applications/remove"]),
        (&clerk, ["<h2>Users</h2>", "<h2>Roles</h2>", "<h2>Applications</h2>", ">Shared<"]),
        (&nothing, ["<h2>Users</h2>", "<h2>Roles</h2>", "<h2>Applications</h2>", "Finance"]),
    ] {
        let text = page(&desk, cookie).await.text;
        hidden.iter().for_each(|part| assert!(!text.contains(part), "{part}: {text}"));
    }
}

#[tokio::test]
async fn a_user_is_added_given_roles_disabled_and_removed() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let path = add(&desk, &cookie, "ann", "Viewer", "1").await;
    let ann = desk.sign_in_as("ann", PASSWORD).await;
    assert_eq!(desk.get(&ann, "/desk/items").await.status, 200);
    desk.get(&cookie, &path).await.assert_has(&["ann", "Shared", "Viewer", "Disable"]);
    // Roles in the folder, and in the tenant.
    let automation = role(&desk, "Automation User").await;
    let form = [("user", "ann"), ("role", &*automation)];
    let set = desk.post(&cookie, "/desk/access/folders/1/roles", &form).await;
    assert_eq!((set.status, set.location()), (303, "/desk/access/folders/1"));
    desk.get(&cookie, "/desk/access/folders/1")
        .await
        .assert_has(&["<bdi>ann</bdi>", "<bdi>Automation User</bdi>"]);
    assert_eq!(desk.post(&cookie, "/desk/access/folders/1/roles", &[("user", "ann")]).await.status, 303);
    assert_eq!(desk.get(&ann, "/desk/items").await.status, 403, "she has no role any more");
    let viewer = role(&desk, "Viewer").await;
    assert_eq!(desk.post(&cookie, &format!("{path}/roles"), &[("role", &viewer)]).await.status, 303);
    assert_eq!(desk.get(&ann, "/desk/items").await.status, 200);
    let active = format!("{path}/active");
    assert_eq!(desk.post(&cookie, &active, &[("active", "no")]).await.status, 303);
    desk.clock.advance(Duration::from_secs(1));
    assert!(!is_signed_in(&desk, &ann).await, "who is disabled may do nothing");
    assert_eq!(desk.post(&cookie, &active, &[("active", "yes")]).await.status, 303);
    let changed = desk.post(&cookie, &format!("{path}/password"), &[("password", "another good one")]).await;
    assert_eq!(changed.status, 303);
    let again = desk.sign_in_as("ann", "another good one").await;
    assert!(is_signed_in(&desk, &again).await && !is_signed_in(&desk, &ann).await);
    let remove = format!("{path}/remove");
    assert_eq!(desk.post(&cookie, &remove, &[("name", "bob")]).await.status, 400);
    assert_eq!(desk.post(&cookie, &remove, &[("name", "ann")]).await.status, 303);
    assert_eq!(desk.get(&cookie, &path).await.status, 404);
    let audit = audit(&desk, &cookie).await;
    for act in ["user ann added", "user ann removed", "Password", "IsActive", "Roles in Shared"] {
        assert!(audit.contains(act), "{act}: {audit}");
    }
    assert!(!audit.contains(PASSWORD) && !audit.contains("another good one"), "{audit}");
}

#[tokio::test]
async fn nobody_gives_or_takes_more_than_it_has() {
    let desk = Desk::start().await;
    desk.work().await;
    desk.served.access_admin.add_folder("Finance").await.unwrap();
    let cookie = desk.sign_in().await;
    let permissions = ["Users.View", "Users.Create", "Users.Edit", "Users.Delete", "Queues.View"];
    let permissions: Vec<Value> =
        permissions.iter().map(|name| json!({"Name": name, "IsGranted": true})).collect();
    let clerk = json!({"Name": "Clerk", "Permissions": permissions});
    desk.api("POST", "/odata/Roles", &clerk).await;
    let clerk = desk.sign_in_with("clerk", &["Clerk"], &[]).await;
    let (administrator, own) = (role(&desk, "Administrator").await, role(&desk, "Clerk").await);
    let boss = add(&desk, &cookie, "boss", "Administrator", "").await;
    let attempts = [
        ("/desk/access/users".to_owned(), vec![("name", "eve"), ("role", &*administrator)]),
        (
            "/desk/access/applications".to_owned(),
            vec![("name", "eve"), ("scopes", "OR.Queues"), ("role", &*administrator)],
        ),
        (format!("{boss}/roles"), vec![("role", &*own)]),
        (format!("{boss}/active"), vec![("active", "no")]),
        (format!("{boss}/password"), vec![("password", PASSWORD)]),
        (format!("{boss}/revoke"), vec![("all", "all")]),
        (format!("{boss}/remove"), vec![("name", "boss")]),
    ];
    for (path, form) in attempts {
        let refused = desk.post(&clerk, &path, &form).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text);
        refused.assert_has(&["This needs the permission of each role in question"]);
    }
    assert_eq!(
        desk.post(&clerk, "/desk/access/users", &[("name", "eve"), ("role", &*own)]).await.status,
        303
    );
    // Who administers one folder gives roles there and nowhere else.
    let finance = desk.sign_in_with("finance", &["Administrator"], &["Finance"]).await;
    let folders = desk.api("GET", "/odata/Folders", &Value::Null).await;
    let id = folders["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|folder| folder["DisplayName"] == "Finance")
        .unwrap()["Id"]
        .clone();
    let form = [("user", "boss"), ("role", &*administrator)];
    assert_eq!(desk.post(&finance, &format!("/desk/access/folders/{id}/roles"), &form).await.status, 303);
    assert_eq!(desk.post(&finance, "/desk/access/folders/1/roles", &form).await.status, 404);
    assert_eq!(desk.post(&finance, &format!("{boss}/roles"), &form).await.status, 403);
}

#[tokio::test]
async fn an_administrator_remains_and_nobody_locks_itself_out() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let text = page(&desk, &cookie).await.text;
    let own = text.split("href=\"/desk/access/users/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for (act, form, status) in [
        ("active", vec![("active", "no")], 409),
        ("remove", vec![("name", "x")], 409),
        ("roles", vec![], 409),
        ("active", vec![("active", "perhaps")], 400),
        ("revoke", vec![], 400),
        ("roles", vec![("role", "x")], 400),
    ] {
        let refused = desk.post(&cookie, &format!("/desk/access/users/{own}/{act}"), &form).await;
        assert_eq!(refused.status, status, "{act}: {}", refused.text);
    }
    for path in ["/desk/access/users/99", "/desk/access/folders/99"] {
        assert_eq!(desk.get(&cookie, path).await.status, 404, "{path}");
    }
    let unknown = desk.post(&cookie, "/desk/access/folders/1/roles", &[("user", "nobody")]).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_token_is_shown_once_and_revoked() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let form = [("name", "report"), ("scopes", "OR.Queues.Read"), ("days", "30")];
    let made = desk.post(&cookie, "/desk/access/tokens", &form).await;
    assert_eq!((made.status, made.header("cache-control")), (200, "no-store"));
    let token = made.text.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(token.starts_with("pf_"), "{token}");
    let uses = async || {
        let request = desk.http.get(format!("{}/odata/QueueDefinitions", desk.served.url));
        desk.send(request.bearer_auth(&token).header("X-UIPATH-FolderPath", "Shared")).await.status
    };
    assert_eq!(uses().await, 200);
    let text = page(&desk, &cookie).await.text;
    assert!(text.contains("<bdi>report</bdi>") && !text.contains(&token), "{text}");
    assert_eq!(desk.post(&cookie, "/desk/access/tokens/revoke", &[("token", "report")]).await.status, 303);
    assert_eq!(uses().await, 401);
    for wrong in [
        [("name", ""), ("scopes", "OR.Queues"), ("days", "30")],
        [("name", "x"), ("scopes", "OR.Cats"), ("days", "30")],
        [("name", "x"), ("scopes", "OR.Queues"), ("days", "0")],
        [("name", "x"), ("scopes", "OR.Queues"), ("days", "3651")],
    ] {
        assert_eq!(desk.post(&cookie, "/desk/access/tokens", &wrong).await.status, 400, "{wrong:?}");
    }
    let audit = audit(&desk, &cookie).await;
    assert!(audit.contains("token report of user") && audit.contains("revoked"), "{audit}");
    assert!(!audit.contains(&token));
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let path = add(&desk, &cookie, "ann", "Viewer", "").await;
    let (here, there, third) = (
        desk.sign_in_as("ann", PASSWORD).await,
        desk.sign_in_as("ann", PASSWORD).await,
        desk.sign_in_as("ann", PASSWORD).await,
    );
    let handles = async |cookie: &str| -> Vec<String> {
        let text = page(&desk, cookie).await.text;
        let parts = text.split("name=\"session\" value=\"").skip(1);
        parts
            .map(|part| part.split('"').next().unwrap().to_owned())
            .filter(|handle| handle != "others")
            .collect()
    };
    let others = handles(&here).await;
    assert_eq!(others.len(), 2, "{others:?}");
    assert!(handles(&there).await.iter().all(|handle| handle.len() == 16));
    let end = async |cookie: &str, handle: &str| {
        desk.post(cookie, "/desk/access/sessions/end", &[("session", handle)]).await.status
    };
    // A session of somebody else is not to be ended here.
    assert_eq!(end(&cookie, &others[0]).await, 404);
    assert_eq!(end(&here, &others[0]).await, 303);
    assert_eq!(handles(&here).await.len(), 1);
    assert_eq!(end(&here, "others").await, 303);
    desk.clock.advance(Duration::from_secs(1));
    assert!(is_signed_in(&desk, &here).await);
    assert!(!is_signed_in(&desk, &there).await && !is_signed_in(&desk, &third).await);
    // An administrator ends them all.
    assert_eq!(desk.post(&cookie, &format!("{path}/revoke"), &[("all", "logins")]).await.status, 303);
    desk.clock.advance(Duration::from_secs(1));
    assert!(!is_signed_in(&desk, &here).await && is_signed_in(&desk, &cookie).await);
    assert!(audit(&desk, &cookie).await.contains("sessions of user ann ended"));
}

#[tokio::test]
async fn applications_robots_and_folders_are_added() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let form = [("name", "Reports"), ("place", ""), ("description", "of the board")];
    assert_eq!(desk.post(&cookie, "/desk/access/folders", &form).await.status, 303);
    assert_eq!(desk.post(&cookie, "/desk/access/folders", &form).await.status, 409, "the name is taken");
    let automation = role(&desk, "Automation User").await;
    let form = [
        ("name", "importer"),
        ("scopes", "OrchestratorApiUserAccess"),
        ("place", "1"),
        ("role", &*automation),
    ];
    let made = desk.post(&cookie, "/desk/access/applications", &form).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let codes: Vec<&str> =
        made.text.split("<code>").skip(1).map(|part| part.split('<').next().unwrap()).collect();
    let importer = desk.sign_in_as(codes[0], codes[1]).await;
    assert_eq!(desk.get(&importer, "/desk/items").await.status, 200);
    assert_eq!(
        desk.post(&cookie, "/desk/access/robots", &[("name", "r1"), ("user", "importer")]).await.status,
        303
    );
    let text = page(&desk, &cookie).await.text;
    for part in ["Reports", "of the board", codes[0], "<bdi>r1</bdi>"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(codes[1]), "a secret is shown once");
    let remove = desk.post(&cookie, "/desk/access/applications/remove", &[("id", codes[0])]).await;
    assert_eq!(remove.status, 303);
    desk.clock.advance(Duration::from_secs(1));
    assert!(!is_signed_in(&desk, &importer).await);
    let forged = desk.post_from("cross-site", &cookie, "/desk/access/folders", &[("name", "Forged")]).await;
    assert_eq!(forged.status, 403);
    assert!(!page(&desk, &cookie).await.text.contains("Forged"));
}
