//! Sessions: who can sign in, and when a session ends.

use std::time::Duration;

use performer::model::UserType;
use performer::server::Roles;
use performer_proofs::test_server::{CLIENT, SECRET};

use crate::Desk;

const MINUTE: Duration = Duration::from_secs(60);

async fn is_signed_in(desk: &Desk, cookie: &str) -> bool {
    let answer = desk.get(cookie, "/desk/queues").await;
    match answer.status {
        200 => true,
        303 => {
            assert_eq!(answer.location(), "/desk/login?next=%2Fdesk%2Fqueues");
            false
        }
        other => panic!("{other}: {}", answer.text),
    }
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it() {
    let desk = Desk::start().await;
    let (used, unused) = (desk.sign_in().await, desk.sign_in().await);
    for cookie in [&used, &unused] {
        assert!(is_signed_in(&desk, cookie).await);
    }
    for _ in 0..2 {
        desk.clock.advance(29 * MINUTE);
        assert!(is_signed_in(&desk, &used).await, "each request begins the half hour anew");
    }
    assert!(!is_signed_in(&desk, &unused).await);
    assert!(!is_signed_in(&desk, &unused).await, "it is over for good");
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    for _ in 0..28 {
        desk.clock.advance(25 * MINUTE);
        assert!(is_signed_in(&desk, &cookie).await);
    }
    desk.clock.advance(25 * MINUTE);
    assert!(!is_signed_in(&desk, &cookie).await, "12 h 5 min");
}

#[tokio::test]
async fn a_session_ends_at_sign_out_and_no_other_does() {
    let desk = Desk::start().await;
    let (mine, other) = (desk.sign_in().await, desk.sign_in().await);
    let answer = desk.post(&mine, "/desk/logout", &[]).await;
    assert_eq!((answer.status, answer.location(), answer.cookie().as_str()), (303, "/desk/login", "desk="));
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    // The cookie is worth nothing, whatever the browser does with it.
    assert!(!is_signed_in(&desk, &mine).await);
    assert!(is_signed_in(&desk, &other).await);
    let late = desk.post(&mine, "/desk/queues/1/pause", &[]).await;
    assert_eq!(late.status, 401);
    late.assert_has(&["Your session has ended", "href=\"/desk/login\""]);
}

#[tokio::test]
async fn a_user_signs_in_with_a_password_and_goes_where_she_wanted() {
    let desk = Desk::start().await;
    let roles = Roles { roles: vec!["Viewer".to_owned()], folders: Vec::new() };
    let password = "correct horse battery".to_owned();
    desk.served.access_admin.add_user("ann", UserType::User, Some(password.clone()), &roles).await.unwrap();
    let form = [("user", "ann"), ("password", &*password), ("next", "/desk/items?status=Failed")];
    let answer = desk.post("", "/desk/login", &form).await;
    assert_eq!((answer.status, answer.location()), (303, "/desk/items?status=Failed"), "{}", answer.text);
    let cookie = answer.header("set-cookie");
    for part in ["desk=pf_", "Path=/desk", "HttpOnly", "SameSite=Lax", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    desk.get(&answer.cookie(), "/desk").await.assert_has(&["<bdi>ann</bdi>", "Sign out"]);
    // The page leads to no other site.
    for elsewhere in ["https://evil.test/", "//evil.test/", "/desk//evil.test", "/odata/Users"] {
        let form = [("user", "ann"), ("password", &*password), ("next", elsewhere)];
        assert_eq!(desk.post("", "/desk/login", &form).await.location(), "/desk", "{elsewhere}");
    }
}

#[tokio::test]
async fn who_is_not_known_is_not_signed_in() {
    let desk = Desk::start().await;
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let (narrow, secret) = desk.served.access_admin.add_client("narrow", "OR.Queues", &roles).await.unwrap();
    for (user, password) in
        [(CLIENT, "wrong"), ("nobody", "wrong"), ("\"><script>", "x"), (&*narrow, &*secret)]
    {
        let answer = desk.post("", "/desk/login", &[("user", user), ("password", password)]).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{user}");
        answer.assert_has(&["role=\"alert\""]);
        assert!(!answer.text.contains("<script>"), "{}", answer.text);
    }
    for cookie in
        ["", "desk=", "desk=pf_x", "desk=a b", &format!("desk={SECRET}"), &format!("desk={}", desk.token)]
    {
        assert!(!is_signed_in(&desk, cookie).await, "{cookie}");
    }
}

/// The cookie of a session opens pages alone, and the token of a program opens none (see the test before).
#[tokio::test]
async fn a_session_is_no_token_of_the_api() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    let token = cookie.strip_prefix("desk=").unwrap();
    let request = desk.http.get(format!("{}/odata/QueueDefinitions", desk.served.url));
    let answer = desk.send(request.bearer_auth(token).header("X-UIPATH-FolderPath", "Shared")).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert!(is_signed_in(&desk, &cookie).await);
}

#[tokio::test]
async fn a_session_ends_with_its_user() {
    let desk = Desk::start().await;
    let roles = Roles { roles: vec!["Viewer".to_owned()], folders: Vec::new() };
    let all = "OrchestratorApiUserAccess";
    let (id, secret) = desk.served.access_admin.add_client("leaver", all, &roles).await.unwrap();
    let cookie = desk.sign_in_as(&id, &secret).await;
    assert!(is_signed_in(&desk, &cookie).await);
    desk.served.access_admin.remove_client(&id).await.unwrap();
    // Another process removed it: this one looks again after a while.
    desk.clock.advance(MINUTE);
    assert!(!is_signed_in(&desk, &cookie).await);
}
