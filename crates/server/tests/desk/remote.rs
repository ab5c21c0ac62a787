//! A desk over an Orchestrator elsewhere: a server in strict mode, which is like the cloud.

use std::sync::Arc;

use performer::model::audit::{ActSource, Actor};
use performer::model::{ManualClock, NewJob, ReviewStatus, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{
    ClaimRequest, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
    ReviewAdministration as _,
};
use performer::server::Server;
use performer::{ExceptionType, ItemId, NewQueueDefinition, NewQueueItem, ProcessingException, QueuePolicy};
use performer_proofs::start_of_time;
use performer_proofs::test_server::{TestServer, memory};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::{Answer, with_form};

/// A desk of ann, over the queues of another server.
struct Remote {
    tenant: TestServer,
    url: String,
    cookie: String,
    http: reqwest::Client,
    _stop: oneshot::Sender<()>,
}

impl Remote {
    async fn start() -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let store = memory(Arc::new(ManualClock::new(start_of_time())));
        let tenant = TestServer::start_as(store, |server| server.strict(true)).await;
        let orchestrator = Arc::new(tenant.client().connect().await.unwrap());
        let actor = Actor::new(ActSource::Command).user_name("ann");
        let server = Server::builder(Store::memory()).own_desk_of(orchestrator, actor).open().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let link = server.desk_link().await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await.unwrap() });
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirect).build().unwrap();
        let mut desk = Self { tenant, url, cookie: String::new(), http, _stop: stop };
        desk.cookie = desk.get(&link).await.cookie();
        desk
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.header("cookie", &self.cookie).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url));
        self.send(with_form(request.header("sec-fetch-site", "same-origin"), form)).await
    }

    /// Adds an item to a queue of the tenant, and has it fail.
    async fn failure(&self, queue: &str, total: i64) -> ItemId {
        let store = &self.tenant.store;
        let item = store.add_queue_item(queue, NewQueueItem::new(json!({ "Total": total }))).await.unwrap();
        let job = store.start_job(NewJob::new(queue)).await.unwrap();
        let taken = store.report_and_claim(Vec::new(), Some(ClaimRequest::new(queue, job, 1))).await;
        let reason = ProcessingException::new(ExceptionType::BusinessException, "no total", start_of_time());
        let failed = TransactionResult::Failed { exception: Some(reason), defer_date: None };
        let report = Report::new(taken.claimed.unwrap().items[0].claim, failed);
        store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
        item.id
    }

    /// An item and its version, as a form names them.
    async fn version(&self, id: ItemId) -> String {
        let item = self.tenant.store.get_queue_item(id).await.unwrap();
        format!("{id}:{}", item.row_version)
    }

    async fn queue(&self) {
        let policy = QueuePolicy::default().max_number_of_retries(0);
        self.tenant.store.create_queue(NewQueueDefinition::new("Invoices").policy(policy)).await.unwrap();
    }
}

#[tokio::test]
async fn the_failures_of_an_orchestrator_are_found_and_settled() {
    let desk = Remote::start().await;
    desk.queue().await;
    let (verified, retried, left) = (
        desk.failure("Invoices", 1).await,
        desk.failure("Invoices", 2).await,
        desk.failure("Invoices", 3).await,
    );
    desk.tenant.store.add_queue_item("Invoices", NewQueueItem::new(json!({"Total": 4}))).await.unwrap();

    assert_eq!(desk.get("/desk").await.location(), "/desk/queues");
    let queues = desk.get("/desk/queues").await;
    queues.assert_has(&["Invoices", "ann", ">1</a>"]);
    desk.get("/desk/items?queue=Invoices&status=Failed")
        .await
        .assert_has(&["no total", "Items that match: <b>3</b>"]);
    let page = desk.get(&format!("/desk/items/{verified}")).await;
    page.assert_has(&["no total", "What happened", "Verified", "Retry"]);
    for absent in
        ["Correct and retry", "Remove the content", "Assign", "Save this as a view", "data-events=\"/"]
    {
        assert!(!page.text.contains(absent), "{absent}");
    }

    let form = [
        ("item", &*desk.version(verified).await),
        ("to", "verified"),
        ("comment", "as agreed"),
        ("back", "/desk/review"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = desk.post("/desk/items/review", &form).await;
    assert_eq!((done.status, done.location()), (303, "/desk/review"), "{}", done.text);
    let item = desk.tenant.store.get_queue_item(verified).await.unwrap();
    assert_eq!(item.review_status, ReviewStatus::Verified);
    assert_eq!(desk.tenant.store.comments(verified).await.unwrap()[0].text, "as agreed");

    let version = desk.version(retried).await;
    let done = desk.post("/desk/items/review", &[("item", &version), ("to", "retried")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(desk.tenant.store.processing_history(retried).await.unwrap().len(), 2, "a copy is New");
    // What the reader saw is not so any more.
    let again = desk.post("/desk/items/review", &[("item", &version), ("to", "verified")]).await;
    assert_eq!(again.status, 409, "{}", again.text);
    // The numbers of queues are read again after an act of this desk.
    desk.get("/desk/queues").await.assert_has(&[">2</a>"]);

    desk.get("/desk/review")
        .await
        .assert_has(&["Items to be settled here: <b>1</b>", &format!("Item {left}")]);
    let comment =
        desk.post(&format!("/desk/items/{left}/comments"), &[("comment", "ask the supplier")]).await;
    assert_eq!(comment.status, 303, "{}", comment.text);
    desk.get(&format!("/desk/items/{left}")).await.assert_has(&["ask the supplier"]);
    desk.get("/desk/jobs").await.assert_has(&["Jobs"]);
}

#[tokio::test]
async fn what_an_orchestrator_does_not_have_is_not_there() {
    let desk = Remote::start().await;
    desk.queue().await;
    let id = desk.failure("Invoices", 1).await;
    for path in [
        "/desk/reasons",
        "/desk/operations",
        "/desk/audit",
        "/desk/deadlines",
        "/desk/access",
        "/desk/health",
        "/desk/items.csv",
        "/desk/events",
        "/odata/QueueDefinitions",
    ] {
        assert_eq!(desk.get(path).await.status, 404, "{path}");
    }
    for act in ["purge", "reveal", "correct"] {
        let path = format!("/desk/items/{id}/{act}");
        assert_eq!(desk.post(&path, &[("item", &desk.version(id).await)]).await.status, 404, "{path}");
    }
    let queues = desk.tenant.store.list_queues().await.unwrap();
    let page = desk.get(&format!("/desk/queues/{}", queues[0].id)).await;
    page.assert_has(&["Invoices", "Settings"]);
    assert!(
        !page.text.contains("Why is nothing handed out?") && !page.text.contains("Pause"),
        "{}",
        page.text
    );
    for missing in ["/desk/queues/4711", "/desk/items/4711"] {
        assert_eq!(desk.get(missing).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn pages_ask_an_orchestrator_for_its_queues_once_a_minute() {
    let desk = Remote::start().await;
    desk.queue().await;
    desk.get("/desk/queues").await.assert_has(&["Invoices"]);
    desk.tenant.store.create_queue(NewQueueDefinition::new("Orders")).await.unwrap();
    let page = desk.get("/desk/queues").await;
    assert!(!page.text.contains("Orders"), "{}", page.text);
    // An Orchestrator that is gone is said to be.
    desk.tenant.end().await;
    desk.get("/desk/queues").await.assert_has(&["Invoices"]);
    assert_eq!(desk.get("/desk/items").await.status, 503);
}
