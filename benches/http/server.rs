//! The throughput of `performer serve` compared with a route with a constant response, with the same load: 64 connections
//! that send the next request after each response. The store is a file with `synchronous=FULL`, so changes are on disk
//! before the response.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use performer::orchestrator::store::Store;
use performer::orchestrator::{ItemAdministration as _, Orchestrator as _, QueueAdministration as _};
use performer::server::Server;
use performer::{CommitType, ItemFilter, NewQueueDefinition, NewQueueItem, Page};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use performer_benches::{Bar, Bench, Unit, median};

const CONNECTIONS: usize = 64;
const MEASURE_TIME: Duration = Duration::from_secs(3);
const WARM_UP_TIME: Duration = Duration::from_millis(500);

const CLIENT: &str = "bench";
const SECRET: &str = "a secret for benches alone";
const JSON: &str = "content-type: application/json\r\n";
pub(crate) const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
pub(crate) const ADD: &str = "/odata/Queues/UiPathODataSvc.AddQueueItem";
pub(crate) const LOGIN: &str = "/identity_/connect/token";
const START: &str = "/odata/Queues/UiPathODataSvc.StartTransaction";
const SUCCESS: &str = r#"{"transactionResult":{"IsSuccessful":true,"Output":{"booked":true}}}"#;

pub(crate) fn run(bench: &Bench) {
    if bench.wants("server.add") {
        let (hello, served) = (ConstantServer::start(), PerformerServer::start(0));
        let content = |n: usize| {
            format!(
                r#"{{"itemData":{{"Name":"Q","Priority":"Normal","Reference":"INV-{n}","SpecificContent":{{"amount":10.5,"customer":"ACME","currency":"EUR"}}}}}}"#
            )
        };
        let n = AtomicUsize::new(0);
        bench.figure(
            "server.add",
            Unit::PerSecond,
            Bar::AtLeast(0.40),
            3..=8,
            || hello.rate(),
            || {
                let load = served.load(|_, _| (ADD.to_owned(), content(n.fetch_add(1, Ordering::Relaxed))));
                load.print("server.add")
            },
        );
    }
    if bench.wants("server.pair") {
        let (hello, served) = (ConstantServer::start(), PerformerServer::start(400_000));
        bench.figure(
            "server.pair",
            Unit::PerSecond,
            Bar::AtLeast(0.35),
            3..=3, // the queue has no items for more
            || hello.rate(),
            || {
                let load = served.load(|turn, last| match turn % 2 {
                    0 => (START.to_owned(), r#"{"transactionData":{"Name":"Q"}}"#.to_owned()),
                    _ => {
                        let id = id_of(last).expect("the queue has enough items");
                        (
                            format!("/odata/Queues({id})/UiPathODataSvc.SetTransactionResult"),
                            SUCCESS.to_owned(),
                        )
                    }
                });
                load.print("server.pair")
            },
        );
    }
    if bench.wants("server.list") {
        let small = PerformerServer::start(1_000);
        let small_page = small.page();
        let large = PerformerServer::start(1_000_000);
        bench.figure("server.list", Unit::Time, Bar::AtMost(3.0), 5..=60, || small_page, || large.page());
    }
}

/// The id of the item in a response: the last member Id, which precedes the long members.
fn id_of(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, behind) = text.rsplit_once("\"Id\":")?;
    behind.split([',', '}']).next()
}

fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The result of a load.
pub(crate) struct LoadResult {
    pub(crate) rate: f64,
    p99: Duration,
}

impl LoadResult {
    pub(crate) fn print(&self, name: &str) -> f64 {
        eprintln!("{name}: p99 {:.1?} with {CONNECTIONS} connections", self.p99);
        self.rate
    }
}

/// Sends requests on all connections until the time is over.
pub(crate) fn load(
    address: &str,
    head: &str,
    next: impl Fn(usize, &[u8]) -> (String, String) + Sync,
    expected: &str,
) -> LoadResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let next = &next;
    runtime.block_on(async {
        let began = Instant::now();
        let asking = (0..CONNECTIONS).map(|_| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut took, mut last, mut buffer) = (Vec::new(), Vec::new(), vec![0; 16 * 1024]);
            let mut turn = 0;
            // A pair is completed.
            while began.elapsed() < WARM_UP_TIME + MEASURE_TIME || turn % 2 == 1 {
                let (path, body) = next(turn, &last);
                let request = format!(
                    "POST {path} HTTP/1.1\r\nhost: bench\r\n{head}content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let asked = Instant::now();
                stream.write_all(request.as_bytes()).await.unwrap();
                last = answer(&mut stream, &mut buffer, expected).await;
                if began.elapsed() > WARM_UP_TIME {
                    took.push(asked.elapsed());
                }
                turn += 1;
            }
            took
        });
        let took = futures_util::future::join_all(asking).await;
        let lasted = began.elapsed() - WARM_UP_TIME;
        let mut all: Vec<Duration> = took.into_iter().flatten().collect();
        all.sort_unstable();
        LoadResult { rate: all.len() as f64 / lasted.as_secs_f64(), p99: all[all.len() * 99 / 100] }
    })
}

/// Reads one response and returns its body.
pub(crate) async fn answer(stream: &mut TcpStream, buffer: &mut [u8], expected: &str) -> Vec<u8> {
    let (head, body) = response(stream, buffer).await;
    assert!(head.starts_with(expected), "{head}\n{}", String::from_utf8_lossy(&body));
    body
}

/// Reads one response: its head and its body.
pub(crate) async fn response(stream: &mut TcpStream, buffer: &mut [u8]) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    loop {
        let count = stream.read(buffer).await.unwrap();
        assert!(count > 0, "the server closed a connection");
        read.extend_from_slice(&buffer[..count]);
        let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&read[..end]).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if read.len() >= end + 4 + length {
            let head = head.to_owned();
            return (head, read.split_off(end + 4));
        }
    }
}

/// A server with a constant response.
struct ConstantServer {
    address: String,
    _runtime: Runtime,
}

impl ConstantServer {
    fn start() -> Self {
        let runtime = two_threads();
        let address = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let hello = || async { ([("content-type", "application/json")], r#"{"message":"hello"}"#) };
            let app = axum::Router::new().fallback(hello);
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            address
        });
        Self { address, _runtime: runtime }
    }

    fn rate(&self) -> f64 {
        load(&self.address, JSON, |_, _| ("/".to_owned(), "{}".to_owned()), "HTTP/1.1 200").rate
    }
}

/// The measured server, over a file.
pub(crate) struct PerformerServer {
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) runtime: Runtime,
    pub(crate) store: Store,
    _folder: tempfile::TempDir,
}

impl PerformerServer {
    /// With so many waiting items in the queue `Q`.
    pub(crate) fn start(items: usize) -> Self {
        let (runtime, folder) = (two_threads(), tempfile::tempdir().unwrap());
        let path = folder.path().join("q.db");
        let (address, token, store) = runtime.block_on(async {
            let store = Store::sqlite(path).await.unwrap();
            fill(&store, items).await;
            let server = Server::builder(store.clone()).first_client(CLIENT, SECRET).open().await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
            let token = log_in(&address, CLIENT, SECRET).await;
            (address, token, store)
        });
        Self { address, token, runtime, store, _folder: folder }
    }

    pub(crate) fn head(&self) -> String {
        format!("authorization: Bearer {}\r\nx-uipath-folderpath: Shared\r\n", self.token)
    }

    pub(crate) fn load(&self, next: impl Fn(usize, &[u8]) -> (String, String) + Sync) -> LoadResult {
        load(&self.address, &format!("{}{JSON}", self.head()), next, "HTTP/1.1 20")
    }

    /// The seconds for each of 50 pages of 100 waiting items of one queue.
    pub(crate) fn pages(&self) -> Vec<f64> {
        self.runtime.block_on(async {
            let mut stream = TcpStream::connect(&self.address).await.unwrap();
            let queue = "QueueDefinitionId%20eq%201%20and%20Status%20eq%20'New'";
            let request = format!(
                "GET /odata/QueueItems?$filter={queue}&$top=100 HTTP/1.1\r\nhost: bench\r\n{}\r\n",
                self.head()
            );
            let (mut took, mut buffer) = (Vec::new(), vec![0; 256 * 1024]);
            for _ in 0..50 {
                let asked = Instant::now();
                stream.write_all(request.as_bytes()).await.unwrap();
                let body = answer(&mut stream, &mut buffer, "HTTP/1.1 200").await;
                took.push(asked.elapsed().as_secs_f64());
                assert!(body.len() > 50_000, "a page of 100 items");
            }
            took
        })
    }

    /// The median of [`pages`](Self::pages).
    fn page(&self) -> f64 {
        median(&mut self.pages())
    }
}

async fn fill(store: &Store, items: usize) {
    store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    let item = |n: usize| {
        let content = serde_json::json!({"amount": 10.5, "customer": "ACME", "currency": "EUR"});
        NewQueueItem::new(content).reference(format!("A-{n}"))
    };
    let mut added = 0;
    while added < items {
        let count = 10_000.min(items - added);
        let batch: Vec<NewQueueItem> = (added..added + count).map(item).collect();
        let bulk = store.bulk_add_queue_items("Q", CommitType::AllOrNothing, batch).await.unwrap();
        added += usize::try_from(bulk.added).unwrap();
    }
    let there = store.list_queue_items(ItemFilter::default(), Page::first(1)).await.unwrap();
    assert_eq!(there.count, items as u64);
}

/// The body of a login of an application.
pub(crate) fn login_form(id: &str, secret: &str) -> String {
    format!("grant_type=client_credentials&client_id={id}&client_secret={}", secret.replace(' ', "+"))
}

pub(crate) async fn log_in(address: &str, id: &str, secret: &str) -> String {
    let form = login_form(id, secret);
    let request =
        format!("POST {LOGIN} HTTP/1.1\r\nhost: bench\r\n{FORM}content-length: {}\r\n\r\n{form}", form.len());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = answer(&mut stream, &mut vec![0; 16 * 1024], "HTTP/1.1 200").await;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}
