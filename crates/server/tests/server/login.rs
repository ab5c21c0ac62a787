//! Tokens and their lifetime, logins by password, and failed logins.

use std::time::Duration;

use performer::model::UserType;
use performer::server::Roles;
use serde_json::{Value, json};

use crate::Api;
use performer_proofs::test_server::{CLIENT, SECRET};

#[tokio::test]
async fn a_token_has_only_registered_scopes() {
    let api = Api::start().await;
    let roles = Roles { roles: vec!["Viewer".to_owned()], folders: Vec::new() };
    let (id, secret) =
        api.served.access_admin.add_client("reader", "OR.Queues.Read OR.Folders", &roles).await.unwrap();
    for scope in [None, Some("OR.Queues.Read"), Some("OR.Folders.Read OR.Queues.Read")] {
        assert!(api.login(&id, &secret, scope).await.is_ok(), "{scope:?}");
    }
    for scope in ["OR.Queues", "OR.Queues.Write", "OR.Jobs", "OR.Cats", "OrchestratorApiUserAccess"] {
        let refused = api.login(&id, &secret, Some(scope)).await.unwrap_err();
        assert_eq!(refused["error"], "invalid_scope", "{scope}");
    }
    for (id, secret) in [(id.as_str(), "wrong"), ("nobody", secret.as_str()), (id.as_str(), "")] {
        assert_eq!(api.login(id, secret, None).await.unwrap_err()["error"], "invalid_client");
    }
    for path in
        ["/identity/connect/token", "/acme/identity_/connect/token", "/acme/Prod/identity_/connect/token"]
    {
        let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let form = |body: String| {
            let request =
                api.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
            api.send(request.body(body))
        };
        let got = form(body).await;
        assert_eq!(
            (got.status, &got.body["token_type"], &got.body["expires_in"]),
            (200, &json!("Bearer"), &json!(3600))
        );
        assert_eq!(form("grant_type=password".to_owned()).await.body["error"], "unsupported_grant_type");
        assert_eq!(form("grant_type=client_credentials".to_owned()).await.body["error"], "invalid_request");
        assert_eq!(form(String::new()).await.body["error"], "invalid_request");
        assert_eq!(api.send(api.request("GET", path)).await.status, 405);
    }
    let basic = api.request("POST", "/identity_/connect/token").basic_auth(&id, Some(&secret));
    let basic = basic
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials");
    assert_eq!(api.send(basic).await.status, 200);
}

#[tokio::test]
async fn a_token_ends_with_its_lifetime_user_or_application() {
    let api = Api::start().await;
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let (id, secret) = api.served.access_admin.add_client("app", "OR.Queues", &roles).await.unwrap();
    let token = api.login(&id, &secret, None).await.unwrap();
    let is_good = async |token: &str| {
        api.call_as(token, None, "GET", "/odata/QueueDefinitions", &Value::Null).await.status == 200
    };
    assert!(is_good(&token).await);
    api.clock.advance(Duration::from_secs(3_599));
    assert!(is_good(&token).await);
    api.clock.advance(Duration::from_secs(1));
    assert!(!is_good(&token).await);
    let token = api.login(&id, &secret, None).await.unwrap();
    assert!(is_good(&token).await);
    api.served.access_admin.remove_client(&id).await.unwrap();
    // The change was made by another handle: the server sees it within a second, or later on a busy machine.
    let refused = async {
        while is_good(&token).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the application is gone");
    assert_eq!(api.login(&id, &secret, None).await.unwrap_err()["error"], "invalid_client");
}

#[tokio::test]
async fn a_user_logs_in_with_a_password() {
    let api = Api::start().await;
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    api.served
        .access_admin
        .add_user("Ann", UserType::User, Some("correct horse".to_owned()), &roles)
        .await
        .unwrap();
    api.served.access_admin.add_user("robot", UserType::Robot, None, &roles).await.unwrap();
    let login = async |name: &str, password: &str| {
        let body = json!({"tenancyName": "Default", "usernameOrEmailAddress": name, "password": password});
        let request =
            api.request("POST", "/api/Account/Authenticate").header("content-type", "application/json");
        api.send(request.body(body.to_string())).await
    };
    let got = login("ann", "correct horse").await;
    assert_eq!((got.status, &got.body["success"], &got.body["__abp"]), (200, &json!(true), &json!(true)));
    let token = got.body["result"].as_str().unwrap().to_owned();
    let me =
        api.call_as(&token, None, "GET", "/odata/Users/UiPathODataSvc.GetCurrentUser", &Value::Null).await;
    assert_eq!((me.status, &me.body["UserName"]), (200, &json!("Ann")));
    for (name, password) in
        [("ann", "wrong horse"), ("nobody", "correct horse"), ("robot", ""), ("ann", &"x".repeat(1_000))]
    {
        let got = login(name, password).await;
        assert_eq!((got.status, got.code()), (400, 1000), "{name}");
        assert_eq!(got.body["message"], "Invalid credentials, failed to login.");
    }
    // Large bodies of unauthenticated callers are refused.
    assert_eq!(login("ann", &"x".repeat(100_000)).await.status, 413);
}

#[tokio::test]
async fn repeated_failures_block_a_login() {
    let api = Api::start().await;
    let attempt = async |secret: &str| {
        let body = format!("grant_type=client_credentials&client_id={CLIENT}&client_secret={secret}");
        let request = api
            .request("POST", "/identity_/connect/token")
            .header("content-type", "application/x-www-form-urlencoded");
        api.send(request.body(body)).await
    };
    for _ in 0..10 {
        assert_eq!(attempt("wrong").await.status, 400);
    }
    let got = attempt(SECRET).await;
    assert_eq!(got.status, 429, "{}", got.text);
    let wait: u64 = got.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((290..=300).contains(&wait), "{wait}");
    assert_eq!(api.get("/odata/QueueDefinitions").await.status, 200, "issued tokens stay valid");
    api.clock.advance(Duration::from_secs(301));
    assert_eq!(attempt(SECRET).await.status, 200);
    assert_eq!(attempt("wrong").await.status, 400, "the count was reset");
}

#[tokio::test]
async fn no_secret_is_stored_in_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.db");
    let clock = std::sync::Arc::new(performer::model::ManualClock::new(crate::start_of_time()));
    let store = performer::orchestrator::store::Store::sqlite_with_clock(&path, clock.clone()).await.unwrap();
    let api = Api::over(store, clock, |server| server).await;
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let (_, secret) = api.served.access_admin.add_client("app", "OR.Queues", &roles).await.unwrap();
    api.served
        .access_admin
        .add_user("ann", UserType::User, Some("canary-password".to_owned()), &roles)
        .await
        .unwrap();
    let token =
        api.served.access_admin.add_token("ann", "t", "OR.Queues", Duration::from_secs(60)).await.unwrap();
    let secrets = [SECRET.to_owned(), secret, token, api.token.clone(), "canary-password".to_owned()];
    let debug = format!("{:?} {:?}", api.served.access_admin, api.served.store);
    drop(api);
    let mut looked = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            for secret in &secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found && !debug.contains(secret), "{}", path.display());
            }
            looked += bytes.len();
        }
    }
    assert!(looked > 10_000);
}

/// Generated secrets have 256 random bits, so failures do not block them; an unknown id costs no more.
#[tokio::test]
async fn failures_do_not_block_generated_secrets() {
    let api = Api::start().await;
    let roles = Roles { roles: vec!["Viewer".to_owned()], folders: Vec::new() };
    let (id, secret) = api.served.access_admin.add_client("reader", "OR.Queues.Read", &roles).await.unwrap();
    // More failures than the limits of a name and of an address.
    for n in 0..150 {
        let refused = api.login(&id, "wrong", None).await.unwrap_err();
        assert_eq!(refused["error"], "invalid_client", "{n}");
        let refused = api.login(&format!("unknown-{n}"), &secret, None).await.unwrap_err();
        assert_eq!(refused["error"], "invalid_client", "{n}");
        let refused = api.login("unknown", &secret, None).await.unwrap_err();
        assert_eq!(refused["error"], "invalid_client", "{n}");
    }
    assert!(api.login(&id, &secret, None).await.is_ok());
    assert!(api.login(CLIENT, SECRET, None).await.is_ok(), "nor a chosen secret");
}

/// Password guesses from two hundred addresses block neither generated secrets nor networks with a recent login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_does_not_block_known_clients() {
    let api = std::sync::Arc::new(Api::start_as(|server| server.behind_proxy(true)).await);
    let roles = Roles { roles: vec!["Viewer".to_owned()], folders: Vec::new() };
    let (id, secret) = api.served.access_admin.add_client("reader", "OR.Queues.Read", &roles).await.unwrap();
    let attempt = |api: std::sync::Arc<Api>, from: String, id: String, secret: String| async move {
        let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let request = api.request("POST", "/identity_/connect/token").header("x-forwarded-for", from);
        api.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await.status
    };
    assert_eq!(
        attempt(api.clone(), "198.51.100.7".to_owned(), CLIENT.to_owned(), SECRET.to_owned()).await,
        200
    );
    let flood: Vec<_> = (0..200)
        .map(|network| format!("10.0.{network}.1"))
        .map(|from| tokio::spawn(attempt(api.clone(), from, CLIENT.to_owned(), "wrong".to_owned())))
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let right = async |from: &str, id: &str, secret: &str| {
        attempt(api.clone(), from.to_owned(), id.to_owned(), secret.to_owned()).await
    };
    // A generated secret from anywhere; a chosen one from the network of the first login.
    assert_eq!(right("203.0.113.9", &id, &secret).await, 200);
    assert_eq!(right("198.51.100.99", CLIENT, SECRET).await, 200);
    for attempt in flood {
        attempt.abort(); // it would take a while until all of them are answered
        if let Ok(status) = attempt.await {
            assert!(matches!(status, 400 | 503), "{status}");
        }
    }
}

/// `X-Forwarded-…` headers are trusted from configured proxies only.
#[tokio::test]
async fn forwarded_headers_are_trusted_from_proxies_only() {
    // Eleven failures, each with another address in the header.
    let tried = async |api: &Api| {
        let mut last = 0;
        for n in 0..11 {
            let body = format!("grant_type=client_credentials&client_id={CLIENT}&client_secret=wrong");
            let request = api.request("POST", "/identity_/connect/token");
            let request = request.header("x-forwarded-for", format!("203.0.113.{n}"));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            last = api.send(request.body(body)).await.status;
        }
        last
    };
    let link = async |api: &Api| {
        let request = api.request("GET", "/odata/Folders").bearer_auth(&api.token);
        let request =
            request.header("x-forwarded-host", "robots.example").header("x-forwarded-proto", "https");
        let context = api.send(request).await.body["@odata.context"].clone();
        context.as_str().unwrap().starts_with("https://robots.example/")
    };
    let elsewhere = || "10.0.0.0/8".parse().unwrap();
    for (api, believed) in [
        (Api::start().await, false),
        (Api::start_as(|server| server.trusted_proxy(elsewhere())).await, false),
        (Api::start_as(|server| server.behind_proxy(true).trusted_proxy(elsewhere())).await, false),
        (Api::start_as(|server| server.behind_proxy(true)).await, true),
        (Api::start_as(|server| server.trusted_proxy("127.0.0.1".parse().unwrap())).await, true),
    ] {
        assert_eq!(link(&api).await, believed);
        assert_eq!(tried(&api).await, if believed { 400 } else { 429 });
    }
}
