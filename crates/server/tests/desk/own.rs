//! A desk of one person, and links that sign somebody in.

use std::sync::Arc;
use std::time::Duration;

use performer::model::audit::{ActSource, Actor};
use performer::model::operation::{OperationId, OperationState};
use performer::model::{ManualClock, NewJob, ReviewStatus, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{
    ClaimRequest, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
    ReviewAdministration as _,
};
use performer::server::{AccessAdmin, DeskMode, Server};
use performer::{ExceptionType, ItemId, NewQueueDefinition, NewQueueItem, ProcessingException};
use performer_proofs::start_of_time;
use performer_proofs::test_server::{CLIENT, SECRET};
use reqwest::header::{HOST, SET_COOKIE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::{Answer, Desk, with_form};

/// A desk of ann over a file, beside which no server was ever started.
struct Own {
    store: Store,
    clock: Arc<ManualClock>,
    url: String,
    link: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

impl Own {
    async fn start(mode: DeskMode) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let store = Store::sqlite_with_clock(folder.path().join("own.db"), clock.clone()).await.unwrap();
        Self::over(store, clock, folder, mode).await
    }

    async fn over(store: Store, clock: Arc<ManualClock>, folder: tempfile::TempDir, mode: DeskMode) -> Self {
        let actor = Actor::new(ActSource::Command).user_name("ann");
        let server = Server::builder(store.clone()).own_desk(actor).desk(mode).open().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let link = server.desk_link().await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await.unwrap() });
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirect).build().unwrap();
        Self { store, clock, url, link, http, folder, _stop: stop }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    async fn get(&self, cookie: &str, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.url)).header("cookie", cookie)).await
    }

    async fn post(&self, cookie: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).header("cookie", cookie);
        self.send(with_form(request.header("sec-fetch-site", "same-origin"), form)).await
    }

    /// Signs in by the link. Returns the cookie.
    async fn open(&self) -> String {
        // A program that looks at the link first does not use it up.
        let looked = self.send(self.http.head(format!("{}{}", self.url, self.link))).await;
        assert_eq!((looked.status, looked.header("allow"), looked.cookie()), (405, "GET", String::new()));
        let opened = self.get("", &self.link).await;
        assert_eq!((opened.status, opened.location()), (303, "/desk"), "{}", opened.text);
        opened.cookie()
    }

    /// An item that failed.
    async fn failure(&self) -> ItemId {
        self.store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
        let item =
            self.store.add_queue_item("Invoices", NewQueueItem::new(json!({"Total": 1}))).await.unwrap();
        let job = self.store.start_job(NewJob::new("Invoices")).await.unwrap();
        let taken =
            self.store.report_and_claim(Vec::new(), Some(ClaimRequest::new("Invoices", job, 1))).await;
        let reason = ProcessingException::new(ExceptionType::BusinessException, "no total", start_of_time());
        let failed = TransactionResult::Failed { exception: Some(reason), defer_date: None };
        let report = Report::new(taken.claimed.unwrap().items[0].claim, failed);
        self.store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
        item.id
    }
}

#[tokio::test]
async fn the_link_works_once_and_nobody_else_gets_in() {
    let own = Own::start(DeskMode::On).await;
    let outside = own.get("", "/desk/items").await;
    assert_eq!((outside.status, outside.location()), (303, "/desk/login?next=%2Fdesk%2Fitems"));
    let login = own.get("", "/desk/login").await;
    login.assert_has(&["performer desk", "A link works once"]);
    assert!(!login.text.contains("type=\"password\""), "{}", login.text);
    let form = [("user", CLIENT), ("password", SECRET)];
    assert_eq!(own.post("", "/desk/login", &form).await.status, 404, "there are no passwords");
    for wrong in ["/desk/open", "/desk/open?key=", "/desk/open?key=pf_x", "/desk/open?key=pf_0123456789"] {
        assert_eq!(own.get("", wrong).await.status, 403, "{wrong}");
    }
    // The page of another site cannot use it up, nor sign anybody in.
    let elsewhere = own.http.get(format!("{}{}", own.url, own.link)).header("sec-fetch-site", "cross-site");
    assert_eq!(own.send(elsewhere).await.status, 403);

    let cookie = own.open().await;
    assert!(cookie.starts_with("own-desk-"), "not the cookie of a server on another port: {cookie}");
    let again = own.get("", &own.link).await;
    assert_eq!((again.status, again.header(SET_COOKIE.as_str())), (403, ""));
    again.assert_has(&["This link was used already"]);
    own.get(&cookie, "/desk").await.assert_has(&["ann"]);
    // Whoever started it would have to start it again: a day of work is no reason for that.
    for _ in 0..8 {
        own.clock.advance(Duration::from_secs(80 * 60));
        assert_eq!(own.get(&cookie, "/desk/items").await.status, 200);
    }
    own.post(&cookie, "/desk/logout", &[]).await;
    assert_eq!(own.get(&cookie, "/desk/items").await.status, 303);
}

#[tokio::test]
async fn a_link_that_is_too_old_does_not_work() {
    let own = Own::start(DeskMode::On).await;
    own.clock.advance(Duration::from_secs(301));
    own.get("", &own.link).await.assert_has(&["is older than five minutes"]);
}

#[tokio::test]
async fn there_is_nothing_but_the_desk_and_only_under_the_names_of_this_machine() {
    let own = Own::start(DeskMode::On).await;
    let cookie = own.open().await;
    let key = own.link.split('=').nth(1).unwrap();
    for (method, path) in [
        ("GET", "/odata/QueueDefinitions"),
        ("GET", "/api/Status/Get"),
        ("GET", "/metrics"),
        ("GET", "/desk/access"),
        ("POST", "/desk/access/users"),
        ("POST", "/api/Performer/DeskLink"),
        ("POST", "/identity_/connect/token"),
        ("POST", "/api/Account/Authenticate"),
    ] {
        let request = self_request(&own, method, path).bearer_auth(key).header("cookie", &cookie);
        let got = own.send(request).await;
        assert_eq!(got.status, 404, "{path}: {}", got.text);
    }
    let start = own.get("", "/").await;
    assert_eq!((start.status, start.location()), (303, "/desk"));
    let port = own.url.rsplit(':').next().unwrap();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("127.0.0.1".to_owned(), 303), // of another port, whose cookie is another
        (format!("localhost:{port}"), 200),
        (format!("evil.test:{port}"), 421),
        (format!("127.0.0.1.evil.test:{port}"), 421),
    ] {
        let request = own.http.get(format!("{}/desk/items", own.url)).header("cookie", &cookie);
        let got = own.send(request.header(HOST, &host)).await;
        assert_eq!(got.status, status, "{host}: {}", got.text);
    }
}

fn self_request(own: &Own, method: &str, path: &str) -> reqwest::RequestBuilder {
    own.http.request(method.parse().unwrap(), format!("{}{path}", own.url))
}

/// As somebody who uses the command: the store has no users, and gets none.
#[tokio::test]
async fn what_is_done_is_recorded_and_the_store_gets_no_users() {
    let own = Own::start(DeskMode::On).await;
    let (item, cookie) = (own.failure().await, own.open().await);
    own.get(&cookie, "/desk/items?status=Failed").await.assert_has(&["no total"]);
    let version = own.store.get_queue_item(item).await.unwrap().version();
    let form =
        [("item", &*format!("{item}:{}", version.row_version)), ("to", "verified"), ("comment", "fine")];
    let done = own.post(&cookie, "/desk/items/review", &form).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(own.store.get_queue_item(item).await.unwrap().review_status, ReviewStatus::Verified);
    let record = own.store.audit(Default::default()).await.unwrap().remove(0);
    let actor = &record.entry.actor;
    assert_eq!(
        (actor.source, actor.user_name.as_deref(), actor.user_id),
        (ActSource::Desk, Some("ann"), None)
    );
    let comments = own.store.comments(item).await.unwrap();
    assert_eq!((comments[0].author.user_id, comments[0].author.user_name.as_deref()), (None, Some("ann")));
    let events = own.store.item_events(item).await.unwrap();
    assert!(events.iter().all(|event| event.user_id.is_none()), "{events:?}");
    // Her own comment can be changed, as the page offers.
    let (path, changed) = (
        format!("/desk/items/{item}/comments/{}", comments[0].id),
        [("act", "edit"), ("comment", "very fine")],
    );
    own.get(&cookie, &format!("/desk/items/{item}")).await.assert_has(&[&path]);
    assert_eq!(own.post(&cookie, &path, &changed).await.status, 303);
    assert_eq!(own.store.comments(item).await.unwrap()[0].text, "very fine");
    // She is no reviewer: the number would be that of somebody else later.
    let version = format!("{item}:{}", own.store.get_queue_item(item).await.unwrap().row_version);
    let refused = own.post(&cookie, "/desk/items/assign", &[("item", &*version), ("reviewer", "0")]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(own.store.get_queue_item(item).await.unwrap().reviewer_user_id, None);
    assert!(AccessAdmin::open(&own.store).await.unwrap_err().is_not_found(), "no directory was made");
    for path in [
        "/desk",
        "/desk/queues",
        "/desk/review",
        "/desk/reasons",
        "/desk/operations",
        "/desk/jobs",
        "/desk/deadlines",
        "/desk/audit",
        "/desk/health",
    ] {
        let page = own.get(&cookie, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
    }
}

/// There is no server that would go on with it.
#[tokio::test]
async fn operations_go_on_while_it_runs() {
    let own = Own::start(DeskMode::On).await;
    let (item, cookie) = (own.failure().await, own.open().await);
    let made =
        own.post(&cookie, "/desk/operations", &[("act", "verified"), ("filter", "status=Failed")]).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let path = made.location().to_owned();
    let started = own.post(&cookie, &format!("{path}/start"), &[]).await;
    assert_eq!(started.status, 303, "{}", started.text);
    let id = OperationId(path.rsplit('/').next().unwrap().parse().unwrap());
    while own.store.operation(id, None).await.unwrap().state != OperationState::Done {
        tokio::task::yield_now().await;
    }
    let verified = own.store.get_queue_item(item).await.unwrap();
    assert_eq!(verified.review_status, ReviewStatus::Verified);
    assert_eq!(own.store.operation(id, None).await.unwrap().user_name.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_read_only_desk_changes_nothing() {
    let own = Own::start(DeskMode::ReadOnly).await;
    let (item, cookie) = (own.failure().await, own.open().await);
    let version = own.store.get_queue_item(item).await.unwrap().version();
    let form = [("item", &*format!("{item}:{}", version.row_version)), ("to", "verified")];
    assert_eq!(own.post(&cookie, "/desk/items/review", &form).await.status, 403);
    assert_eq!(own.store.get_queue_item(item).await.unwrap().review_status, ReviewStatus::None);
}

/// Beside a server: its folders and its users are there, as names.
#[tokio::test]
async fn the_folders_of_a_server_over_the_same_store_are_shown() {
    let own = Own::start(DeskMode::On).await;
    let Own { store, clock, folder, .. } = own;
    let server = Server::builder(store.clone()).first_client(CLIENT, SECRET).open().await.unwrap();
    AccessAdmin::open(&store).await.unwrap().add_folder("Finance").await.unwrap();
    store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
    let job = store.start_job(NewJob::new("Invoices")).await.unwrap();
    let before = store.audit(Default::default()).await.unwrap().len();
    let own = Own::over(store, clock, folder, DeskMode::On).await;
    let cookie = own.open().await;
    own.get(&cookie, "/desk/queues").await.assert_has(&["Finance", "Shared"]);
    let jobs = own.get(&cookie, "/desk/jobs").await;
    let links = jobs.text.matches(&format!("href=\"/desk/jobs/{job}\"")).count();
    assert_eq!(links, 1, "a job is in one folder: {}", jobs.text);
    assert_eq!(own.store.audit(Default::default()).await.unwrap().len(), before, "nothing was changed");
    drop((server, own.folder));
}

/// `performer desk` over HTTP: the link of a server signs in the user of the credentials.
#[tokio::test]
async fn a_server_makes_a_link_for_whoever_may_do_everything_their_user_may() {
    let desk = Desk::start().await;
    let link = desk.api("POST", "/api/Performer/DeskLink", &json!({})).await;
    let path = link["path"].as_str().unwrap();
    let opened = desk.get("", path).await;
    assert_eq!((opened.status, opened.location()), (303, "/desk"), "{}", opened.text);
    assert!(opened.cookie().starts_with("desk="));
    desk.get(&opened.cookie(), "/desk").await.assert_has(&["first-application"]);
    assert_eq!(desk.get("", path).await.status, 403, "it works once");
    // Neither the link nor the session is worth anything in the API.
    let second = desk.api("POST", "/api/Performer/DeskLink", &Value::Null).await;
    let key = second["path"].as_str().unwrap().split('=').nth(1).unwrap().to_owned();
    let request = desk.http.get(format!("{}/odata/Folders", desk.served.url)).bearer_auth(&key);
    assert_eq!(desk.send(request).await.status, 401);
    let as_cookie = desk.get(&format!("desk={key}"), "/desk/items").await;
    assert_eq!(as_cookie.status, 303, "a link is no session");
    // A token with fewer scopes than its user has rights would get more by it.
    let roles = performer::server::Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let (id, secret) = desk.served.access_admin.add_client("scoped", "OR.Queues", &roles).await.unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &*secret)];
    let token = desk
        .send(with_form(desk.http.post(format!("{}/identity_/connect/token", desk.served.url)), &form))
        .await;
    let token: Value = serde_json::from_str(&token.text).unwrap();
    let request = desk.http.post(format!("{}/api/Performer/DeskLink", desk.served.url));
    let refused = desk.send(request.bearer_auth(token["access_token"].as_str().unwrap())).await;
    assert_eq!(refused.status, 403, "{}", refused.text);

    let none = Desk::start_as(|server| server.desk(DeskMode::Off)).await;
    let request =
        none.http.post(format!("{}/api/Performer/DeskLink", none.served.url)).bearer_auth(&none.token);
    let missing = none.send(request).await;
    assert!(missing.status == 404 && missing.text.contains("no desk"), "{}", missing.text);
}
