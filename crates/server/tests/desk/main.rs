//! The desk, over real HTTP and a real SQLite file.

mod access;
mod acts;
mod alerts;
mod assets;
mod audit;
mod crawl;
mod live;
mod operations;
mod own;
mod pages;
mod personal;
mod remote;
mod roles;
mod sessions;
mod tasks;
mod views;
mod webhooks;

use std::sync::Arc;

use performer::ItemId;
use performer::model::operation::{Act, Plan};
use performer::model::{FolderId, ManualClock, Person};
use performer::orchestrator::ItemAdministration as _;
use performer::orchestrator::store::{OperationItems, Store};
use performer::server::{Roles, ServerBuilder};
use performer_proofs::start_of_time;
use performer_proofs::test_server::{CLIENT, SECRET, TestServer};
use reqwest::Method;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

/// A personal value of each item, which no page may show but the one that reveals it.
pub(crate) const PERSONAL: &str = "DE89370400440532013000";

/// Fails if a page that is none of a reveal shows the personal value.
fn assert_masked(path: &str, answer: &Answer) {
    assert!(path.ends_with("/reveal") || !answer.text.contains(PERSONAL), "{path} shows it: {}", answer.text);
}

/// A server with its clock, and the token of an application with all permissions.
pub(crate) struct Desk {
    pub(crate) served: TestServer,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
    _folder: tempfile::TempDir,
}

/// An answer of the desk.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    /// The cookie that the answer sets, as requests send it.
    pub(crate) fn cookie(&self) -> String {
        self.header(SET_COOKIE.as_str()).split(';').next().unwrap_or_default().to_owned()
    }

    /// Fails unless the page has all these texts.
    pub(crate) fn assert_has(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "{text} is missing: {}", self.text);
        }
    }
}

/// What the pages are about: an item that was retried and then succeeded, one that failed, one that is New, and a job.
pub(crate) struct Work {
    pub(crate) queue: i64,
    pub(crate) retried: i64,
    pub(crate) successful: i64,
    pub(crate) failed: i64,
    pub(crate) new: i64,
    pub(crate) job: String,
    /// An operation that refused an item.
    pub(crate) operation: i64,
    /// A user that nobody is signed in as.
    pub(crate) user: i64,
    /// A credential.
    pub(crate) asset: i64,
    /// A webhook with a secret, to which a test waits to be sent.
    pub(crate) webhook: i64,
    /// A task that nobody has.
    pub(crate) task: i64,
}

impl Desk {
    pub(crate) async fn start() -> Self {
        Self::start_as(|server| server).await
    }

    pub(crate) async fn start_as(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let store = Store::sqlite_with_clock(folder.path().join("desk.db"), clock.clone()).await.unwrap();
        let served = TestServer::start_as(store, configure).await;
        // Fails if another test has installed it already.
        _ = rustls::crypto::ring::default_provider().install_default();
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirect).build().unwrap();
        let mut desk = Self { served, clock, http, token: String::new(), _folder: folder };
        let form = [("grant_type", "client_credentials"), ("client_id", CLIENT), ("client_secret", SECRET)];
        let request = desk.http.post(format!("{}/identity_/connect/token", desk.served.url));
        let answer = desk.send(with_form(request, &form)).await;
        let answer: Value = serde_json::from_str(&answer.text).unwrap();
        desk.token = answer["access_token"].as_str().unwrap().to_owned();
        desk
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    /// A call of the API.
    pub(crate) async fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.served.url));
        let request = request.bearer_auth(&self.token).header("X-UIPATH-FolderPath", "Shared");
        let request = request.header("content-type", "application/json");
        let answer = self.send(if body.is_null() { request } else { request.body(body.to_string()) }).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text);
        serde_json::from_str(&answer.text).unwrap_or(Value::Null)
    }

    pub(crate) async fn add(&self, reference: &str, content: &Value) -> i64 {
        let item =
            json!({"itemData": {"Name": "Invoices", "Reference": reference, "SpecificContent": content}});
        let added = self.api("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
        added["Id"].as_i64().unwrap()
    }

    /// Takes the next item and ends it. Returns its id.
    pub(crate) async fn process(&self, result: &Value) -> i64 {
        let take = json!({"transactionData": {"Name": "Invoices"}});
        let taken = self.api("POST", "/odata/Queues/UiPathODataSvc.StartTransaction", &take).await;
        let path = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", taken["Id"]);
        self.api("POST", &path, &json!({ "transactionResult": result })).await;
        taken["Id"].as_i64().unwrap()
    }

    /// Adds an item and lets it fail. Returns its id.
    pub(crate) async fn fail(&self, reference: &str, reason: &str) -> i64 {
        self.add(reference, &json!({"Total": 1})).await;
        self.process(&failed("BusinessException", reason)).await
    }

    /// Adds a queue and its items.
    pub(crate) async fn work(&self) -> Work {
        let personal = r#"{"properties":{"Iban":{"x-personal":true}}}"#;
        let queue = json!({"Name": "Invoices", "MaxNumberOfRetries": 1, "SpecificDataJsonSchema": personal,
            "OutputDataJsonSchema": personal, "AnalyticsDataJsonSchema": personal});
        let queue = self.api("POST", "/odata/QueueDefinitions", &queue).await["Id"].as_i64().unwrap();
        let retried = self.add("INV-1", &json!({"Total": 17.50, "Customer": "Ada", "Iban": PERSONAL})).await;
        self.process(&failed("ApplicationException", "server 17 is down")).await;
        let successful = self.process(&json!({"IsSuccessful": true, "Output": {"Document": 4711, "Iban": PERSONAL}, "Analytics": {"Iban": PERSONAL}})).await;
        self.add("INV-2", &json!({"Total": 1, "Iban": PERSONAL})).await;
        let failed = self.process(&failed("BusinessException", "the total 99 is wrong")).await;
        let new = self.add("INV-3", &json!({"Total": 3, "Iban": PERSONAL})).await;
        let job = json!({"queue": "Invoices", "machine": "host-of-robots", "processId": 4242, "version": "1.2.3", "robots": 2,
            "lease": 30_000});
        let job = self.api("POST", "/api/Performer/StartJob", &job).await;
        let job = job["job"].as_str().unwrap().to_owned();
        let operation = self.operation(&[new, failed]).await;
        let user = json!({"UserName": "absent", "RolesList": ["Viewer"]});
        let user = self.api("POST", "/odata/Users", &user).await["Id"].as_i64().unwrap();
        let asset = json!({"Name": "SAP", "ValueScope": "PerRobot", "ValueType": "Credential", "HasDefaultValue": true,
            "CredentialUsername": "ann@sap", "CredentialPassword": "hunter2"});
        let asset = self.api("POST", "/odata/Assets", &asset).await["Id"].as_i64().unwrap();
        let webhook = json!({"Name": "Hook", "Url": "https://hooks.example.com/x", "Enabled": true, "SubscribeToAllEvents": false,
            "AllowInsecureSsl": false, "Secret": "hunter2", "Events": [{"EventType": "custom"}]});
        let webhook = self.api("POST", "/odata/Webhooks", &webhook).await["Id"].as_i64().unwrap();
        let task = json!({"title": "check the total", "data": {"total": 99}});
        let task = self.api("POST", "/tasks/GenericTasks/CreateTask", &task).await["id"].as_i64().unwrap();
        Work { queue, retried, successful, failed, new, job, operation, user, asset, webhook, task }
    }

    /// An operation that clears reviewers, which the rules refuse for an item that is New.
    async fn operation(&self, items: &[i64]) -> i64 {
        let store = &self.served.store;
        let mut versions = Vec::new();
        for id in items {
            versions.push(store.get_queue_item(ItemId(*id)).await.unwrap().version());
        }
        let plan = Plan::new(Act::Assign { reviewer: None, not_in: Vec::new() });
        let which = OperationItems::These(versions);
        let by = (plan, Person::default());
        let made = store.preview_operation(Arc::new([FolderId::SHARED]), by, which, None).await.unwrap();
        store.start_operation(made.id, None).await.unwrap();
        self.run_operations().await;
        made.id.0
    }

    /// Does the steps that are due, as the maintenance of a server does.
    pub(crate) async fn run_operations(&self) {
        while self.served.store.step_due_operations().await.unwrap() > 0 {}
    }

    pub(crate) async fn get(&self, cookie: &str, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.served.url));
        let answer = self.send(request.header("cookie", cookie)).await;
        assert_masked(path, &answer);
        answer
    }

    /// Sends a form as a browser does from a page of this server.
    pub(crate) async fn post(&self, cookie: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_from("same-origin", cookie, path, form).await
    }

    /// Sends a form as a browser does from a page of another site, or of this one.
    pub(crate) async fn post_from(
        &self,
        site: &str,
        cookie: &str,
        path: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        let request = self.http.request(Method::POST, format!("{}{path}", self.served.url));
        let request = request.header("cookie", cookie).header("sec-fetch-site", site);
        let answer = self.send(with_form(request, form)).await;
        assert_masked(path, &answer);
        answer
    }

    /// Signs in. Returns the cookie.
    pub(crate) async fn sign_in_as(&self, user: &str, password: &str) -> String {
        let answer = self.post("", "/desk/login", &[("user", user), ("password", password)]).await;
        assert_eq!((answer.status, answer.location()), (303, "/desk"), "{}", answer.text);
        answer.cookie()
    }

    /// Signs in as somebody with all permissions.
    pub(crate) async fn sign_in(&self) -> String {
        self.sign_in_as(CLIENT, SECRET).await
    }

    /// Signs in as somebody with these roles, in these folders or in the tenant.
    pub(crate) async fn sign_in_with(&self, name: &str, roles: &[&str], folders: &[&str]) -> String {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let roles = Roles { roles: texts(roles), folders: texts(folders) };
        let all = "OrchestratorApiUserAccess";
        let (id, secret) = self.served.access_admin.add_client(name, all, &roles).await.unwrap();
        self.sign_in_as(&id, &secret).await
    }

    /// An item, as the API shows it.
    pub(crate) async fn item(&self, id: i64) -> Value {
        self.api("GET", &format!("/odata/QueueItems({id})"), &Value::Null).await
    }
}

fn with_form(request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

pub(crate) fn failed(kind: &str, reason: &str) -> Value {
    json!({"IsSuccessful": false, "ProcessingException": {"Reason": reason, "Type": kind}})
}
