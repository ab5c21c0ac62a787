//! The desk over a store with a million items of which 30,000 failed, while robots drain another queue of it: the 95th percentile of each
//! page beside 100 ms, the bytes of a first visit, what acts on many items take, and what fifty viewers take from the robots.
//!
//! `cargo bench -p performer-benches --bench desk [-- NAME…]` prints lines of `name  ours  limit  ratio`; names begin with `sqlite.desk` or
//! `postgres.desk`.

#![expect(clippy::disallowed_methods, reason = "a bench reads the machine's clock and opens its own files")]

mod acts;
#[path = "../queries/store.rs"]
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use performer::ReviewStatus;
use performer::model::{ItemFilter, Page, ReasonFilter, Status};
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::server::Server;
use performer_benches::{Bar, Bench, Unit, print_heading, print_line, rate};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The allocator of the command `performer`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a page may take, 95 times out of 100, and 99 times.
const PAGE: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_millis(250);
/// How often each page is loaded.
const TIMES: usize = 100;
/// The bytes of a first visit, compressed.
const COLD: f64 = 100.0 * 1_024.0;
/// How many people look at pages at the same time, and how often each loads one.
const VIEWERS: usize = 50;
const LOOKS_EVERY: Duration = Duration::from_secs(2);
/// How long the robots are measured.
const DRAIN: Duration = Duration::from_secs(4);

const USER: &str = "bench";
const PASSWORD: &str = "a secret for benches alone";
const BUSY: &str = "Busy";

fn main() {
    // `cargo bench` passes flags of its own; the others are names of figures.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let bench = Bench::new(names);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    _ = rustls::crypto::ring::default_provider().install_default();
    print_heading();
    if bench.wants_any("sqlite") {
        let (store, _folder) = store::sqlite(&runtime);
        figures(&bench, &runtime, "sqlite", &store);
    }
    if bench.wants_any("postgres") {
        match std::env::var("PERFORMER_TEST_POSTGRES") {
            Ok(server) => {
                let (store, _schema) = store::postgres(&runtime, &server);
                figures(&bench, &runtime, "postgres", &store);
            }
            Err(_) => println!(
                "postgres: left out, because PERFORMER_TEST_POSTGRES is not set; \
                 scripts/postgres cargo bench -p performer-benches --bench desk -- postgres"
            ),
        }
    }
}

fn figures(bench: &Bench, runtime: &Runtime, engine: &str, store: &Store) {
    let desk = runtime.block_on(Desk::start(store));
    let robots = Robots::start(runtime, store);
    for (name, path) in runtime.block_on(pages(store)) {
        let name = format!("{engine}.desk.{name}");
        if bench.wants(&name) {
            let (p95, p99) = runtime.block_on(desk.times(&path));
            print_line(&name, Unit::Time, Bar::AtMost(1.0), p95.as_secs_f64(), PAGE.as_secs_f64());
            if p99 > SLOWEST {
                println!(
                    "{name}: one of a hundred takes {p99:.0?}, which is more than {SLOWEST:.0?}  MISSED"
                );
            }
        }
    }
    let name = format!("{engine}.desk.cold");
    if bench.wants(&name) {
        let bytes = runtime.block_on(desk.first_visit("/desk/items"));
        print_line(&name, Unit::Bytes, Bar::AtMost(1.0), bytes, COLD);
    }
    acts::figures(bench, runtime, engine, store);
    let desk = &desk;
    bench.figure(
        &format!("{engine}.desk.viewers"),
        Unit::PerSecond,
        Bar::AtLeast(0.97),
        5..=20,
        || robots.rate(),
        || {
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| runtime.block_on(desk.watched(&is_over)));
                let rate = robots.rate();
                is_over.store(true, Ordering::Relaxed);
                rate
            })
        },
    );
    robots.stop();
}

/// Every page that a person may open, by the name of its figure.
async fn pages(store: &Store) -> Vec<(&'static str, String)> {
    let queue = store.get_queue(store::QUEUE).await.expect("the queue").id;
    let failed = ItemFilter::default().status([Status::Failed]).review_status([ReviewStatus::None]);
    let page = Page::first(1).descending(true).count_limit(0);
    let item = store.list_queue_items(failed, page).await.expect("items").items[0].id;
    let reason = store.list_reasons(ReasonFilter::default().top(1)).await.expect("reasons")[0].id;
    let pages = [
        ("start", "/desk".to_owned()),
        ("queues", "/desk/queues".to_owned()),
        ("queue", format!("/desk/queues/{queue}")),
        ("queue.month", format!("/desk/queues/{queue}?range=30d")),
        ("items", "/desk/items".to_owned()),
        ("items.failed", "/desk/items?queue=Invoices&status=Failed&review=None".to_owned()),
        ("items.by_end", "/desk/items?status=Failed&sort=-ended&ended=24h".to_owned()),
        ("items.prefix", "/desk/items?ref=INV-012*".to_owned()),
        ("items.reason", format!("/desk/items?reason={reason}&status=Failed")),
        ("item", format!("/desk/items/{item}")),
        ("reasons", "/desk/reasons".to_owned()),
        ("reason", format!("/desk/reasons/{reason}")),
        ("review", "/desk/review".to_owned()),
        ("jobs", "/desk/jobs".to_owned()),
        ("deadlines", "/desk/deadlines".to_owned()),
        ("audit", "/desk/audit".to_owned()),
        ("health", "/desk/health".to_owned()),
    ];
    pages.into()
}

/// A server with a signed-in user.
struct Desk {
    url: String,
    cookie: String,
    http: Client,
}

impl Desk {
    async fn start(store: &Store) -> Self {
        let server =
            Server::builder(store.clone()).first_client(USER, PASSWORD).open().await.expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await.expect("it serves") });
        let redirect = reqwest::redirect::Policy::none();
        let http = Client::builder().no_proxy().redirect(redirect).build().expect("a client");
        let form = format!("user={USER}&password={}", PASSWORD.replace(' ', "+"));
        let request = http.post(format!("{url}/desk/login")).header("sec-fetch-site", "same-origin");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.expect("an answer");
        let cookie = answer.headers().get(SET_COOKIE).expect("a cookie").to_str().expect("text");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Self { url, cookie, http }
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let answer = request.header(ACCEPT_ENCODING, "gzip").send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }

    /// The 95th and the 99th percentile of the times in which a page is there.
    async fn times(&self, path: &str) -> (Duration, Duration) {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let began = Instant::now();
            let size = self.get(path).await.bytes().await.expect("a page").len();
            times.push(began.elapsed());
            assert!(size > 500, "{path} is a page");
        }
        times.sort_unstable();
        (times[TIMES * 95 / 100 - 1], times[TIMES * 99 / 100 - 1])
    }

    /// The bytes of a page and of everything it loads, as they are sent.
    async fn first_visit(&self, path: &str) -> f64 {
        let page = self.get(path).await;
        let compressed = page.bytes().await.expect("a page");
        let whole = self.http.get(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let text = whole.send().await.expect("an answer").text().await.expect("a page");
        let mut bytes = compressed.len();
        let mut loaded = 0;
        for part in text.split("\"/desk/static/").skip(1) {
            let asset = part.split('"').next().unwrap_or_default();
            bytes += self.get(&format!("/desk/static/{asset}")).await.bytes().await.expect("an asset").len();
            loaded += 1;
        }
        assert!(loaded >= 3, "a style sheet, a script and an icon");
        bytes as f64
    }

    /// Fifty viewers, until it is over.
    async fn watched(&self, is_over: &AtomicBool) {
        let paths = ["/desk", "/desk/queues", "/desk/items?status=Failed", "/desk/review", "/desk/jobs"];
        let viewer = |number: usize| async move {
            tokio::time::sleep(LOOKS_EVERY * u32::try_from(number).expect("few") / VIEWERS as u32).await;
            let mut at = number;
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                self.get(paths[at % paths.len()]).await.bytes().await.expect("a page");
                at += 1;
                tokio::time::sleep(LOOKS_EVERY.saturating_sub(began.elapsed())).await;
            }
        };
        futures_util::future::join_all((0..VIEWERS).map(viewer)).await;
    }
}

/// Robots that are fed and drain a queue of their own.
struct Robots {
    done: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

/// Counts, and does nothing.
struct Count(Arc<AtomicU64>);

#[async_trait]
impl Transaction for Count {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Robots {
    fn start(runtime: &Runtime, store: &Store) -> Self {
        let (done, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        runtime.block_on(store.create_queue(NewQueueDefinition::new(BUSY))).expect("a queue");
        let (store, counted, ends) = (store.clone(), done.clone(), is_over.clone());
        // On a thread and a runtime of their own, as robots are.
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                while !ends.load(Ordering::Relaxed) {
                    let items =
                        (0..500).map(|number| NewQueueItem::new(serde_json::json!({ "number": number })));
                    let added = store.bulk_add_queue_items(
                        BUSY,
                        performer::CommitType::AllOrNothing,
                        items.collect(),
                    );
                    assert!(added.await.expect("added").failed.is_empty());
                    let counted = counted.clone();
                    let performer = Performer::new(BUSY, move || Count(counted.clone())).robots(16);
                    let summary =
                        performer.handle_signals(false).run_until_empty(Arc::new(store.clone())).await;
                    summary.expect("drained");
                }
            });
        });
        Self { done, is_over, thread }
    }

    /// Items that end in a second.
    fn rate(&self) -> f64 {
        let (before, began) = (self.done.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(DRAIN);
        let count = self.done.load(Ordering::Relaxed) - before;
        rate(usize::try_from(count).expect("fewer"), began.elapsed())
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the robots end");
    }
}
