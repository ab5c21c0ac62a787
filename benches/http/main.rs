//! The overhead of the client for a real Orchestrator, and the throughput of `performer serve`: each value with its limit,
//! measured in the same run.
//!
//! `cargo bench -p performer-benches --bench http [-- NAME…]` prints lines of `name  ours  limit  ratio`.
//!
//! | name | ours | limit | bar |
//! |---|---|---|---|
//! | `client.latency_bound` | items a second, 64 robots, a stub server with 20 ms of latency | the maximum for that latency with two calls per item: 64 / (2 × a bare call) | ≥ 0.90 |
//! | `client.overhead` | µs for a claim and its result, one after the other, on the same server without latency | the same two requests with bare reqwest | ≤ 1.15 |
//! | `server.add` | AddQueueItem requests a second, 64 connections, on a file with `synchronous=FULL` | an axum route with a constant response, with the same load | ≥ 0.40 |
//! | `server.pair` | alternating StartTransaction and SetTransactionResult requests a second, as above | as above | ≥ 0.35 |
//! | `server.list` | seconds for a page of 100 waiting items in a queue of a million | in a queue of a thousand | ≤ 3.00 |
//! | `server.list.heavy_filters` | seconds for such a page (the 95th of 100), beside searches of twenty other callers that read everything | alone | ≤ 25 |
//! | `server.delete.large_queue` | AddQueueItem requests a second, while a queue with 210,000 items is deleted and removed | before | ≥ 0.30 |
//! | `server.add.waits_elsewhere` | AddQueueItem requests a second, beside 3,000 waits for a queue of another folder | alone | ≥ 0.40 |
//! | `server.login.many` | logins a second after at least 20,000 | after none | ≥ 0.60 |

#![expect(clippy::disallowed_methods, reason = "a bench reads the machine's clock")]

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod neighbours;
mod server;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use performer::model::{NewJob, TransactionResult};
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{ClaimRequest, Observed, Report};
use performer::prelude::*;

use performer_benches::{Bar, Bench, Unit, median, print_heading};

/// The allocator of the command `performer`, also for the limits.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server that hands out items, ignores results, and responds after a configurable latency.
#[derive(Default)]
struct StubServer {
    latency_ms: AtomicU64,
    last_item: AtomicI64,
    /// The number of items before the queue is empty.
    items: AtomicI64,
}

const TOKEN: &str = r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#;
const ONE_QUEUE: &str = r#"{"@odata.context":"c","value":[{"Id":1,"Key":"00000000-0000-4000-8000-000000000001","Name":"Q","MaxNumberOfRetries":1,"AcceptAutomaticallyRetry":true,"EnforceUniqueReference":false}]}"#;
const ROBOT: &str = "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11";

async fn answer(State(server): State<Arc<StubServer>>, request: Request) -> Response {
    let path = request.uri().path();
    let (status, body) = if path.ends_with("StartTransaction") {
        wait(&server).await;
        let id = server.last_item.fetch_add(1, Ordering::Relaxed) + 1;
        if id > server.items.load(Ordering::Relaxed) { (204, String::new()) } else { (200, item(id)) }
    } else if path.ends_with("SetTransactionResult") {
        wait(&server).await;
        (200, String::new())
    } else if path.ends_with("/connect/token") {
        (200, TOKEN.to_owned())
    } else if path.ends_with("QueueDefinitions") {
        (200, ONE_QUEUE.to_owned())
    } else {
        (200, r#"{"value":[]}"#.to_owned())
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response.headers_mut().insert("api-supported-versions", "20.0".parse().unwrap());
    response
}

async fn wait(server: &StubServer) {
    let latency = server.latency_ms.load(Ordering::Relaxed);
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
}

/// An item with all members of a current server.
fn item(id: i64) -> String {
    format!(
        r#"{{"@odata.context":"https://x/odata/$metadata#Queues/$entity","QueueDefinitionId":1,"Encrypted":false,"OutputData":null,"AnalyticsData":null,"Status":"InProgress","ReviewStatus":"None","ReviewerUserId":null,"Key":"00000000-0000-4000-8000-{id:012x}","UniqueKey":"10000000-0000-4000-8000-{id:012x}","Reference":"INV-{id}","ProcessingExceptionType":null,"DueDate":null,"RiskSlaDate":null,"Priority":"Normal","DeferDate":null,"StartProcessing":"2026-08-20T10:00:00.1234567Z","EndProcessing":null,"SecondsInPreviousAttempts":0,"AncestorId":null,"AncestorUniqueKey":null,"RetryNumber":0,"ManualAncestorId":null,"ManualAncestorUniqueKey":null,"ManualRetryNumber":0,"HasVideoRecorded":false,"SpecificData":"{{\"DynamicProperties\":{{\"amount\":10.5,\"customer\":\"ACME\"}}}}","CreationTime":"2026-08-20T09:59:00.13Z","Progress":null,"RowVersion":"AAAAAAAAKZc=","RobotId":17,"CreatorJobKey":null,"ExecutorJobKey":null,"ParentOperationId":null,"OperationId":null,"OrganizationUnitId":1,"OrganizationUnitFullyQualifiedName":null,"Id":{id},"ProcessingException":null,"Error":null,"SpecificContent":{{"amount":10.5,"customer":"ACME"}},"Output":null,"Analytics":null}}"#
    )
}

/// Starts the server on its own thread.
fn serve() -> (String, Arc<StubServer>) {
    let server = Arc::new(StubServer { items: AtomicI64::new(i64::MAX), ..StubServer::default() });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = server.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = axum::Router::new().fallback(answer).with_state(state);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    (url, server)
}

async fn connected(url: &str) -> Arc<dyn Orchestrator> {
    let builder =
        Uipath::builder(url).client_credentials("app", "secret").folder_path("Shared").robot_key(ROBOT);
    Arc::new(Observed::new(builder.connect().await.unwrap()))
}

#[derive(Default)]
struct NoOpTransaction;

#[async_trait]
impl Transaction for NoOpTransaction {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
        Ok(())
    }
}

fn main() {
    let bench = Bench::new(std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect());
    print_heading();
    let (url, server) = serve();
    bench.figure(
        "client.latency_bound",
        Unit::PerSecond,
        Bar::AtLeast(0.90),
        3..=10,
        || latency_bound(&url, &server),
        || performer_rate(&url, &server),
    );
    if bench.wants("client.overhead") {
        server.latency_ms.store(0, Ordering::Relaxed);
        // Both are measured on one runtime, one after the other.
        let runtime = runtime();
        let ours = RefCell::new(runtime.block_on(ClientPairs::new(&url)));
        let limit = ReqwestPairs::new(&url);
        bench.figure(
            "client.overhead",
            Unit::Time,
            Bar::AtMost(1.15),
            31..=60,
            || runtime.block_on(limit.pairs()),
            || runtime.block_on(ours.borrow_mut().pairs()),
        );
    }
    server::run(&bench);
    neighbours::run(&bench);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn bare(client: &reqwest::Client, url: &str, body: &'static str) -> reqwest::RequestBuilder {
    client
        .post(url)
        .header("authorization", "Bearer t")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("x-uipath-folderpath", "Shared")
        .body(body)
}

const TAKE: &str = r#"{"transactionData":{"Name":"Q","RobotIdentifier":"b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11","SpecificContent":null}}"#;
const RESULT: &str = r#"{"transactionResult":{"IsSuccessful":true,"OperationId":"performer/019a0000-0000-7000-8000-000000000000/1234567/1234567"}}"#;

/// A client with the same TLS configuration as ours.
fn bare_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

const ROBOTS: u32 = 64;

/// The items per second of 64 robots with two calls per item, each as long as a bare call.
fn latency_bound(url: &str, server: &StubServer) -> f64 {
    server.latency_ms.store(20, Ordering::Relaxed);
    let mut calls = runtime().block_on(async {
        let (client, path) = (bare_client(), format!("{url}{RESULT_PATH}"));
        let mut calls = Vec::new();
        for _ in 0..50 {
            let began = Instant::now();
            bare(&client, &path, RESULT).send().await.unwrap().bytes().await.unwrap();
            calls.push(began.elapsed().as_secs_f64());
        }
        calls
    });
    f64::from(ROBOTS) / (2.0 * median(&mut calls))
}

/// The items per second of a performer with 64 robots.
fn performer_rate(url: &str, server: &StubServer) -> f64 {
    const ITEMS: i64 = 8_000;
    server.last_item.store(0, Ordering::Relaxed);
    server.items.store(ITEMS, Ordering::Relaxed);
    let summary = runtime().block_on(async {
        let performer = Performer::new("Q", NoOpTransaction::default).robots(ROBOTS).handle_signals(false);
        performer.run_until_empty(connected(url).await).await.unwrap()
    });
    assert_eq!(summary.successful, ITEMS.unsigned_abs());
    server.items.store(i64::MAX, Ordering::Relaxed);
    summary.items_per_second()
}

const PAIRS: u32 = 300;
const START_PATH: &str = "/odata/Queues/UiPathODataSvc.StartTransaction";
const RESULT_PATH: &str = "/odata/Queues(1234567)/UiPathODataSvc.SetTransactionResult";

/// Our client with a job.
struct ClientPairs {
    orchestrator: Arc<dyn Orchestrator>,
    job: performer::JobKey,
}

impl ClientPairs {
    async fn new(url: &str) -> Self {
        let orchestrator = connected(url).await;
        let about =
            NewJob::new("Q").machine("m").process_id(1).version("1").robots(1).lease(Duration::from_secs(30));
        let job = orchestrator.start_job(about).await.unwrap();
        Self { orchestrator, job }
    }

    /// The seconds for a claim and its result.
    async fn pairs(&mut self) -> f64 {
        let began = Instant::now();
        for _ in 0..PAIRS {
            let take = ClaimRequest::new("Q", self.job, 1).robot(1);
            let taken = self.orchestrator.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap();
            let result = TransactionResult::Successful { output: None };
            let report = Report::new(taken.items[0].claim, result);
            self.orchestrator.report_and_claim(vec![report], None).await.reports.remove(0).unwrap();
        }
        began.elapsed().as_secs_f64() / f64::from(PAIRS)
    }
}

/// The limit of a claim and its result: both requests with bare reqwest, whose answers are not read.
struct ReqwestPairs {
    client: reqwest::Client,
    start: String,
    result: String,
}

impl ReqwestPairs {
    fn new(url: &str) -> Self {
        Self {
            client: bare_client(),
            start: format!("{url}{START_PATH}"),
            result: format!("{url}{RESULT_PATH}"),
        }
    }

    async fn pairs(&self) -> f64 {
        let began = Instant::now();
        for _ in 0..PAIRS {
            bare(&self.client, &self.start, TAKE).send().await.unwrap().bytes().await.unwrap();
            bare(&self.client, &self.result, RESULT).send().await.unwrap().bytes().await.unwrap();
        }
        began.elapsed().as_secs_f64() / f64::from(PAIRS)
    }
}
