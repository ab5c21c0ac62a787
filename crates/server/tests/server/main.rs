//! The server, over real HTTP.

mod administration;
mod alerts;
mod assets;
mod background_tasks;
mod bad_requests;
mod body_fidelity;
mod buckets;
mod client_testing;
mod error_codes;
mod event_authors;
mod extreme_numbers;
mod extreme_times;
mod filters;
mod follow_ups;
mod hostile_clients;
mod jobs;
mod last_administrator;
mod lease_protocol;
mod lists;
mod login;
mod logs;
mod operations;
mod permission_scope;
mod permissions;
mod processes;
mod queue_depths;
mod raw_clients;
mod responses;
mod server_facts;
mod shadow;
mod shared_queues;
mod store_load;
mod tasks;
mod trace_context;
mod transaction_results;
mod transport;
mod webhooks;

use std::sync::Arc;

use performer::model::ManualClock;
use performer::orchestrator::store::Store;
use performer::server::{Roles, ServerBuilder};
use performer_proofs::start_of_time;
use performer_proofs::test_server::{CLIENT, SECRET, TestServer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A server, and a token with all permissions.
pub(crate) struct Api {
    pub(crate) served: TestServer,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

/// A response with its parsed body.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl ApiResponse {
    pub(crate) fn code(&self) -> i64 {
        self.body["errorCode"].as_i64().unwrap_or(-1)
    }

    /// Whether the response is an error in the format of the API.
    pub(crate) fn is_api_error(&self) -> bool {
        let members = self.body.as_object();
        members.is_some_and(|members| {
            members["message"].as_str().is_some_and(|message| !message.is_empty())
                && members["errorCode"].is_i64()
                && members["traceId"].as_str().is_some_and(|trace| trace.starts_with("00-"))
                && members["resourceIds"].is_null()
                && members.len() == 4
        })
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_as(|server| server).await
    }

    pub(crate) async fn start_as(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        Self::over(Store::memory_with_clock(clock.clone()), clock, configure).await
    }

    pub(crate) async fn over(
        store: Store,
        clock: Arc<ManualClock>,
        configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let served = TestServer::start_as(store, configure).await;
        Self { clock, ..Self::on(served).await }
    }

    /// On a server whose clock nobody moves.
    pub(crate) async fn on(served: TestServer) -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        // Fails if another test has installed it already.
        _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut api = Self { served, clock, http, token: String::new() };
        api.token = api.login(CLIENT, SECRET, None).await.unwrap();
        api
    }

    pub(crate) async fn login(&self, id: &str, secret: &str, scope: Option<&str>) -> Result<String, Value> {
        let mut form =
            vec![("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        form.extend(scope.map(|scope| ("scope", scope)));
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(format!("{}/identity_/connect/token", self.served.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.unwrap();
        let (ok, text) = (answer.status().is_success(), answer.text().await.unwrap());
        let answer: Value = serde_json::from_str(&text).unwrap();
        if ok { Ok(answer["access_token"].as_str().unwrap().to_owned()) } else { Err(answer) }
    }

    /// Creates an application with these scopes and roles, and returns its token.
    pub(crate) async fn application_token(
        &self,
        name: &str,
        scopes: &str,
        roles: &[&str],
        folders: &[&str],
    ) -> String {
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let roles = Roles { roles: text(roles), folders: text(folders) };
        let (id, secret) = self.served.access_admin.add_client(name, scopes, &roles).await.unwrap();
        self.login(&id, &secret, None).await.unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.http.request(method, format!("{}{path}", self.served.url))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> ApiResponse {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        ApiResponse { status, headers, body, text }
    }

    /// A call with a token, in a folder or without one.
    pub(crate) async fn call_as(
        &self,
        token: &str,
        folder: Option<&str>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> ApiResponse {
        let mut request = self.request(method, path).bearer_auth(token);
        if let Some(folder) = folder {
            request = request.header("X-UIPATH-FolderPath", folder);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.send(request).await
    }

    /// A call of the first application in the folder Shared.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> ApiResponse {
        self.call_as(&self.token, Some("Shared"), method, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> ApiResponse {
        self.call("GET", path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> ApiResponse {
        self.call("POST", path, body).await
    }

    pub(crate) async fn queue(&self, queue: &Value) -> i64 {
        let made = self.post("/odata/QueueDefinitions", queue).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.body["Id"].as_i64().unwrap()
    }

    pub(crate) async fn add(&self, queue: &str, reference: &str) -> Value {
        let item = json!({"itemData": {"Name": queue, "Reference": reference, "SpecificContent": {"a": 1}}});
        let added = self.post("/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
        assert_eq!(added.status, 201, "{}", added.text);
        added.body
    }

    pub(crate) async fn take(&self, queue: &str) -> Option<Value> {
        let body = json!({"transactionData": {"Name": queue}});
        let taken = self.post("/odata/Queues/UiPathODataSvc.StartTransaction", &body).await;
        match taken.status {
            200 => Some(taken.body),
            204 => None,
            _ => panic!("{}", taken.text),
        }
    }

    pub(crate) async fn result(&self, item: &Value, result: &Value) -> ApiResponse {
        let path = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", item["Id"]);
        self.post(&path, &json!({ "transactionResult": result })).await
    }
}

#[tokio::test]
async fn an_item_is_processed_over_http() {
    let api = Api::start().await;
    let health = api.send(api.request("GET", "/api/Status/Get")).await;
    assert_eq!(health.status, 200);
    api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 1})).await;
    let added = api.add("invoices", "INV-1").await;
    assert_eq!(added["Priority"], "Normal");
    assert_eq!(api.take("Invoices").await.unwrap()["Id"], added["Id"]);
    let progress = format!("/odata/QueueItems({})/UiPathODataSvc.SetTransactionProgress", added["Id"]);
    assert_eq!(api.post(&progress, &json!({"progress": "half"})).await.status, 200);
    let failed = json!({"IsSuccessful": false, "ProcessingException": {"Reason": "down", "Type": "ApplicationException"}});
    let answer = api.result(&added, &failed).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK.as_u16(), ""));
    let copy = api.take("Invoices").await.unwrap();
    assert_eq!(
        (&copy["RetryNumber"], &copy["Key"], &copy["AncestorId"]),
        (&json!(1), &added["Key"], &added["Id"])
    );
    let done = json!({"IsSuccessful": true, "Output": {"document": 7}, "Analytics": {"cost": 1.5}, "OperationId": "op"});
    assert_eq!(api.result(&copy, &done).await.status, 200);
    assert!(api.take("Invoices").await.is_none());
    let item = api.get(&format!("/odata/QueueItems({})", copy["Id"])).await.body;
    assert_eq!((&item["Status"], &item["Output"]["document"]), (&json!("Successful"), &json!(7)));
    assert_eq!((&item["Analytics"]["cost"], &item["OperationId"]), (&json!(1.5), &json!("op")));
    assert_eq!(item["AncestorUniqueKey"], added["UniqueKey"]);
    assert_eq!(item["OutputData"], r#"{"DynamicProperties":{"document":7}}"#);
    let again = api.result(&copy, &done).await;
    assert_eq!((again.status, again.code()), (409, 1866));
    api.served.stop().await;
}
