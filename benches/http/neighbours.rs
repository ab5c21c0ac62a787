//! What one caller costs the others: the server with a load beside it, compared with the same server without.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use performer::NewQueueDefinition;
use performer::orchestrator::QueueAdministration as _;
use performer::server::{AccessAdmin, Roles};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::server::{ADD, FORM, LOGIN, PerformerServer, answer, load, log_in, login_form, response};
use performer_benches::{Bar, Bench, Unit};

const HEAVY_FILTERS: usize = 20;
const DELETED_ITEMS: usize = 210_000;
const WAITS: usize = 3_000;
const LOGINS: usize = 20_000;

pub(crate) fn run(bench: &Bench) {
    if bench.wants("server.list.heavy_filters") {
        heavy_filters(bench);
    }
    if bench.wants("server.delete.large_queue") {
        large_queue(bench);
    }
    if bench.wants("server.add.waits_elsewhere") {
        waits_elsewhere(bench);
    }
    if bench.wants("server.login.many") {
        many_logins(bench);
    }
}

/// An application with all permissions besides the one that measures.
async fn other_application(server: &PerformerServer, name: &str) -> (String, String) {
    let roles = Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    let admin = AccessAdmin::open(&server.store).await.unwrap();
    admin.add_client(name, "OrchestratorApiUserAccess", &roles).await.unwrap()
}

/// The value that 95 of 100 do not exceed.
fn percentile_95(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() * 95 / 100]
}

fn heavy_filters(bench: &Bench) {
    const NAME: &str = "server.list.heavy_filters";
    let server = PerformerServer::start(300_000);
    let pages = || percentile_95((0..10).flat_map(|_| server.pages()).collect());
    let alone = pages();
    let stop = Arc::new(AtomicBool::new(false));
    // Searches that read all items, and those that were given up at the server's limit of time.
    let (found, given_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut searches = Vec::new();
    for number in 0..HEAVY_FILTERS {
        let token = server.runtime.block_on(async {
            let (id, secret) = other_application(&server, &format!("other-{number}")).await;
            log_in(&server.address, &id, &secret).await
        });
        // No item has such a reference, so all of them are read.
        let request = format!(
            "GET /odata/QueueItems?$filter=contains(Reference,'nothing')&$count=true HTTP/1.1\r\nhost: bench\r\n\
             authorization: Bearer {token}\r\nx-uipath-folderpath: Shared\r\n\r\n"
        );
        let (address, stop) = (server.address.clone(), stop.clone());
        let (found, given_up) = (found.clone(), given_up.clone());
        searches.push(server.runtime.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut buffer = vec![0; 16 * 1024];
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(request.as_bytes()).await.unwrap();
                let (head, body) = response(&mut stream, &mut buffer).await;
                let body = String::from_utf8_lossy(&body);
                let ended = if head.starts_with("HTTP/1.1 200") {
                    assert!(body.contains("\"@odata.count\":0"), "{body}");
                    &found
                } else {
                    // Another refusal would be no load.
                    assert!(body.contains("the list was not found within"), "{head}\n{body}");
                    &given_up
                };
                ended.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let began = Instant::now();
    let ended = || [&found, &given_up].map(|count| count.load(Ordering::Relaxed));
    let before = ended();
    bench.figure(NAME, Unit::Time, Bar::AtMost(25.0), 3..=10, || alone, pages);
    let (after, took) = (ended(), began.elapsed());
    let [found, given_up] = [after[0] - before[0], after[1] - before[1]];
    eprintln!("{NAME}: {found} searches ended in {took:.1?}, {given_up} were given up");
    stop.store(true, Ordering::Relaxed);
    let searches = server.runtime.block_on(futures_util::future::join_all(searches));
    searches.into_iter().for_each(|search| search.expect("no search fails"));
    assert!(found > 0, "there was no load");
}

/// Adds of one item to a queue.
fn adds(server: &PerformerServer, queue: &str, name: &str) -> f64 {
    let body = format!(r#"{{"itemData":{{"Name":"{queue}","SpecificContent":{{"amount":10.5}}}}}}"#);
    server.load(|_, _| (ADD.to_owned(), body.clone())).print(name)
}

fn large_queue(bench: &Bench) {
    const NAME: &str = "server.delete.large_queue";
    let server = PerformerServer::start(DELETED_ITEMS);
    server.runtime.block_on(async {
        server.store.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    });
    let delete = || {
        let request = format!(
            "DELETE /odata/QueueDefinitions(1) HTTP/1.1\r\nhost: bench\r\n{}content-length: 0\r\n\r\n",
            server.head()
        );
        server.runtime.block_on(async {
            let mut stream = TcpStream::connect(&server.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            answer(&mut stream, &mut vec![0; 16 * 1024], "HTTP/1.1 204").await;
        });
    };
    let is_left = || server.runtime.block_on(server.store.has_removals()).unwrap();
    let limit = || adds(&server, "Other", NAME);
    let ours = || {
        delete();
        let rate = adds(&server, "Other", NAME);
        assert!(is_left(), "the items were removed before the time was over");
        rate
    };
    bench.figure(NAME, Unit::PerSecond, Bar::AtLeast(0.30), 1..=1, limit, ours);
}

fn waits_elsewhere(bench: &Bench) {
    const NAME: &str = "server.add.waits_elsewhere";
    let server = PerformerServer::start(0);
    let stop = Arc::new(AtomicBool::new(false));
    let post = |path: &str, folder: &str, body: &str| {
        let (token, length) = (&server.token, body.len());
        format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
             x-uipath-folderpath: {folder}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    };
    let folder = post("/odata/Folders", "Shared", r#"{"DisplayName":"Elsewhere"}"#);
    let queue = post("/odata/QueueDefinitions", "Elsewhere", r#"{"Name":"Elsewhere"}"#);
    let job = r#"{"queue":"Elsewhere","machine":"m","processId":1,"version":"1","robots":1,"lease":60000}"#;
    let job = post("/api/Performer/StartJob", "Elsewhere", job);
    let (open, seen) = server.runtime.block_on(async {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let mut ask = async |request: String| -> serde_json::Value {
            stream.write_all(request.as_bytes()).await.unwrap();
            let body = answer(&mut stream, &mut vec![0; 16 * 1024], "HTTP/1.1 20").await;
            serde_json::from_slice(&body).unwrap()
        };
        ask(folder).await;
        ask(queue).await;
        let job = ask(job).await["job"].clone();
        // The queue is empty, and the answer says up to which change that is known.
        let take = serde_json::json!({"id": job, "reports": [],
            "take": {"queue": "Elsewhere", "job": job, "robot": 1, "count": 1, "reference": null}});
        let answer = ask(post("/api/Performer/Exchange", "Elsewhere", &take.to_string())).await;
        let mut open = Vec::new();
        for _ in 0..WAITS {
            open.push(TcpStream::connect(&server.address).await.unwrap());
        }
        (open, answer["seen"].as_u64().unwrap())
    });
    let body = format!(r#"{{"queue":"Elsewhere","seen":{seen},"atMost":10000}}"#);
    let wait = Arc::new(post("/api/Performer/Wait", "Elsewhere", &body));
    let ended = Arc::new(AtomicUsize::new(0));
    let alone = Cell::new(Some(adds(&server, "Q", NAME)));
    let waits: Vec<_> = open
        .into_iter()
        .map(|mut stream| {
            let (wait, stop, ended) = (wait.clone(), stop.clone(), ended.clone());
            server.runtime.spawn(async move {
                let mut buffer = vec![0; 1024];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(wait.as_bytes()).await.unwrap();
                    answer(&mut stream, &mut buffer, "HTTP/1.1 200").await;
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let limit = || alone.take().unwrap();
    bench.figure(NAME, Unit::PerSecond, Bar::AtLeast(0.40), 1..=1, limit, || adds(&server, "Q", NAME));
    assert!(waits.iter().all(|wait| !wait.is_finished()), "all of them wait");
    assert_eq!(ended.load(Ordering::Relaxed), 0, "no wait ended while adds were measured");
    stop.store(true, Ordering::Relaxed);
}

fn many_logins(bench: &Bench) {
    const NAME: &str = "server.login.many";
    let server = PerformerServer::start(0);
    let (id, secret) = server.runtime.block_on(other_application(&server, "other"));
    let form = login_form(&id, &secret);
    let logins = AtomicUsize::new(0);
    let log_in = || {
        let next = |_: usize, _: &[u8]| {
            logins.fetch_add(1, Ordering::Relaxed);
            (LOGIN.to_owned(), form.clone())
        };
        load(&server.address, FORM, next, "HTTP/1.1 200").print(NAME)
    };
    let ours = || {
        while logins.load(Ordering::Relaxed) < LOGINS {
            log_in();
        }
        log_in()
    };
    bench.figure(NAME, Unit::PerSecond, Bar::AtLeast(0.60), 1..=1, log_in, ours);
    eprintln!("{NAME}: {} logins", logins.load(Ordering::Relaxed));
}
