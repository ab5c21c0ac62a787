//! Hostile clients: slow, oversized, concurrent, disconnected. F61 to F67 are faults of `docs/reference/checks.md`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Api;
use crate::raw_clients::{
    END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, TIMEOUT, WINDOW_UPDATE, frame, headers, preface,
    read_frame,
};
use crate::transport::small_server;

async fn raw(api: &Api, request: &[u8]) -> String {
    let address = api.served.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// F64: concurrent adds of one reference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_adds_of_one_reference_succeed_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(performer::model::ManualClock::new(crate::start_of_time()));
    let store =
        performer::orchestrator::store::Store::sqlite_with_clock(folder.path().join("q.db"), clock.clone())
            .await
            .unwrap();
    let api = Arc::new(Api::over(store, clock, |server| server).await);
    api.queue(&json!({"Name": "Unique", "EnforceUniqueReference": true})).await;
    for round in 0..40 {
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let api = api.clone();
                tokio::spawn(async move {
                    let item = json!({"itemData": {"Name": "Unique", "Reference": format!("r-{round}"), "SpecificContent": {}}});
                    let got = api.post("/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
                    (got.status, got.code())
                })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                (201, _) => made += 1,
                (409, 1016) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(made, 1, "round {round}");
    }
}

/// F65: many more claims than items.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_claims_get_different_items() {
    let api = Arc::new(Api::start().await);
    api.queue(&json!({"Name": "Invoices"})).await;
    let items: Vec<Value> = (0..500).map(|n| json!({"Reference": n.to_string()})).collect();
    api.post(
        "/odata/Queues/UiPathODataSvc.BulkAddQueueItems",
        &json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": items}),
    )
    .await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for _ in 0..40 {
                    taken.extend(api.take("Invoices").await.map(|item| item["Id"].as_i64().unwrap()));
                }
                taken
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!((all.len(), count), (500, 500));
}

/// F62: oversized requests.
#[tokio::test]
async fn oversized_requests_are_refused() {
    let api = Api::start_as(|server| server.largest_body(1024 * 1024)).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let add = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    let item =
        |units: usize| json!({"itemData": {"Name": "Invoices", "SpecificContent": {"a": "x".repeat(units)}}});
    assert_eq!(api.post(add, &item(60_000)).await.status, 201);
    let got = api.post(add, &item(70_000)).await;
    assert!(got.status == 413 && got.is_api_error(), "{}", got.text);
    let bulk = |units: usize| json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": [{"SpecificContent": {"a": "x".repeat(units)}}]});
    assert_eq!(
        api.post("/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &bulk(200_000)).await.body["Success"],
        true
    );
    assert_eq!(
        api.post("/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &bulk(1_100_000)).await.status,
        413
    );
    let many: Vec<Value> = (0..15_001).map(|_| json!({})).collect();
    let got = api
        .post(
            "/odata/Queues/UiPathODataSvc.BulkAddQueueItems",
            &json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": many}),
        )
        .await;
    assert_eq!((got.status, got.code()), (400, 1009));
    let long = api.get(&format!("/odata/QueueItems?$filter=Reference eq '{}'", "x".repeat(20_000))).await;
    assert_eq!(long.status, 414);
    let long = api.get(&format!("/odata/QueueItems?$filter=Reference eq '{}'", "x".repeat(9_000))).await;
    assert_eq!((long.status, long.code()), (400, 1000));
    let head = format!("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let answer = raw(&api, head.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:.80}");
    assert_eq!(api.get("/odata/QueueDefinitions").await.status, 200);
}

/// F66: ambiguous requests.
#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let api = Api::start().await;
    let ok = |answer: &str| answer.starts_with("HTTP/1.1 200");
    let close = "Connection: close\r\n\r\n";
    assert!(ok(&raw(&api, format!("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\n{close}").as_bytes()).await));
    let absolute =
        raw(&api, format!("GET http://x/api/Status/Get HTTP/1.1\r\nHost: x\r\n{close}").as_bytes()).await;
    assert!(ok(&absolute), "{absolute}");
    let two = raw(&api, format!("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\n\r\nGET /api/Status/Get HTTP/1.1\r\nHost: x\r\n{close}").as_bytes()).await;
    assert_eq!(two.matches("HTTP/1.1 200").count(), 2, "pipelined");
    for (what, request) in [
        (
            "two lengths",
            "POST /api/Account/Authenticate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        ),
        ("folded header", "GET /api/Status/Get HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"),
        ("NUL", "GET /api/Status\0/Get HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("no version", "GET /api/Status/Get\r\n\r\n"),
        ("space before the colon", "GET /api/Status/Get HTTP/1.1\r\nHost : x\r\n\r\n"),
        ("a bad length", "POST /api/Account/Authenticate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
        ("garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
    ] {
        let answer = raw(&api, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{what}: {answer:.80}");
    }
    // Both Content-Length and chunks: the rest must not be treated as another request.
    let both = "POST /api/Account/Authenticate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/Status/Get HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = raw(&api, both.as_bytes()).await;
    assert!(!ok(&answer), "{answer:.80}");
}

/// F61: silent connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_block_others() {
    let api = Api::start().await;
    let address = api.served.url.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"POST /odata/QueueDefinitions HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        }
        idle.push(stream);
    }
    let answered = tokio::time::timeout(TIMEOUT, api.send(api.request("GET", "/api/Status/Get"))).await;
    assert_eq!(answered.expect("nobody waits for silent connections").status, 200);
}

/// A body that does not arrive ends with the time limit of the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_answered_408() {
    let api = Api::start_as(|server| server.request_limit(Duration::from_secs(1))).await;
    let slow = format!(
        "POST /odata/QueueDefinitions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nX-UIPATH-FolderPath: Shared\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"Name\":",
        api.token
    );
    let answer = raw(&api, slow.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer:.80}");
}

/// F67: a shutdown during a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_finishes_active_requests() {
    let api = Arc::new(Api::start_as(|server| server.fault("AddQueueItem=2s".parse().unwrap())).await);
    api.queue(&json!({"Name": "Invoices"})).await;
    let item = json!({"itemData": {"Name": "Invoices", "SpecificContent": {}}});
    let request = api.request("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem").bearer_auth(&api.token);
    let request = request
        .header("X-UIPATH-FolderPath", "Shared")
        .header("content-type", "application/json")
        .body(item.to_string());
    let under_way = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(500)).await; // a quarter of the time that the request takes
    let api = Arc::into_inner(api).unwrap();
    let (url, store) = (api.served.url.clone(), api.served.store.clone());
    api.served.stop().await;
    assert_eq!(under_way.await.unwrap().unwrap().status(), 201);
    assert!(
        TcpStream::connect(url.strip_prefix("http://").unwrap()).await.is_err(),
        "no new connections are accepted"
    );
    use performer::{ItemAdministration as _, ItemFilter, Page};
    assert_eq!(store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().count, 1);
}

/// A busy connection and a call that waits for items do not delay the shutdown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_does_not_wait_for_busy_or_waiting_clients() {
    let api = Arc::new(Api::start().await);
    api.queue(&json!({"Name": "Invoices"})).await;
    let (answered, mut told) = tokio::sync::watch::channel(0);
    let busy = tokio::spawn({
        let request = api.request("GET", "/api/Status/Get");
        async move {
            while request.try_clone().unwrap().send().await.is_ok() {
                answered.send_modify(|answered| *answered += 1);
            }
        }
    });
    let waiting = tokio::spawn({
        let api = api.clone();
        let body = json!({"queue": "Invoices", "seen": 0, "atMost": 15_000});
        async move { api.post("/api/Performer/Wait", &body).await.status }
    });
    told.wait_for(|answered| *answered > 10).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = tokio::time::Instant::now();
    api.served.end().await;
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "the wait takes 15 s, this took {:?}",
        began.elapsed()
    );
    busy.await.unwrap();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn requests_over_the_limit_are_answered_503() {
    let api = Arc::new(
        Api::start_as(|server| server.most_requests(2).fault("GetQueueItems=2s".parse().unwrap())).await,
    );
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move { api.get("/odata/QueueItems").await })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        let got = task.await.unwrap();
        if got.status == 503 {
            assert!(got.is_api_error() && got.headers["retry-after"] == "1");
        }
        statuses.push(got.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
}

/// A request over HTTP/2 without a token, on this stream.
fn without_token(stream: u32, path: &str) -> Vec<u8> {
    let head =
        headers(&[(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)
}

/// A hostile client of HTTP/2: the window that it grants its streams, how many it opens at first and then again and again,
/// whether it resets them at once, and whether it reads its socket.
struct StreamFlood {
    name: &'static str,
    window: u32,
    first: u32,
    further: u32,
    resets: bool,
    reads: bool,
}

/// HTTP/2 without a token: many streams are opened, and no response is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_whose_responses_are_not_read_are_bounded() {
    const MOST_STREAMS: u32 = 256;
    let (api, certificate, other, figures) = small_server().await;
    let executed = async || -> u32 {
        let (_, text) = api.secure(&figures, "GET", "/metrics", &Value::Null).await;
        let of = "performer_requests_total{operation=\"GetQueueDefinitions\",status=\"401\"} ";
        text.lines().find_map(|line| line.strip_prefix(of)).map_or(0, |count| count.parse().unwrap())
    };
    let within =
        |name, reads| StreamFlood { name, window: 0, first: MOST_STREAMS, further: 0, resets: false, reads };
    let many = |name, window, resets| StreamFlood {
        name,
        window,
        first: 1_000,
        further: 1_000,
        resets,
        reads: false,
    };
    for flood in [
        within("as many as are allowed", true),
        within("as many as are allowed, and the socket is not read", false),
        many("more than are allowed", 0, false),
        StreamFlood { first: 100, further: 100, ..many("a hundred after the other", u32::MAX >> 1, false) },
        many("streams that are reset", 65_535, true),
    ] {
        let name = flood.name;
        let before = executed().await;
        let mut stream = certificate.connect(&api.served.url).await;
        stream.write_all(&preface(flood.window)).await.unwrap();
        stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await.unwrap();
        let (mut incoming, mut outgoing) = tokio::io::split(stream);
        let (sender, mut batches) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
        // Ends when the server has closed the connection.
        let writer = tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                if outgoing.write_all(&batch).await.is_err() || outgoing.flush().await.is_err() {
                    return;
                }
            }
        });
        let reader = flood.reads.then(|| {
            tokio::spawn(async move {
                let mut answered = 0;
                while let Some(frame) = read_frame(&mut incoming).await {
                    answered += u32::from(frame.kind == HEADERS);
                }
                answered
            })
        });
        let (mut next, mut most) = (1, 0);
        let mut open = |count: u32| {
            let mut batch = frame(PING, 0, 0, &[0; 8]);
            for id in (next..next + 2 * count).step_by(2) {
                batch.extend(without_token(id, "/odata/QueueDefinitions"));
                if flood.resets {
                    batch.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
                }
            }
            next += 2 * count;
            batch
        };
        let _ = sender.send(open(flood.first));
        let ended = async {
            let mut turn = 0;
            while !writer.is_finished() {
                turn += 1;
                let asked = tokio::time::Instant::now();
                let (status, _) = api.secure(&other, "GET", "/odata/QueueItems?$top=1", &Value::Null).await;
                assert_eq!(status, 200, "{name}: another caller");
                assert!(asked.elapsed() < Duration::from_secs(10), "{name}: {:?}", asked.elapsed());
                most = most.max(api.memory(&figures).await);
                // A ping now and then shows whether the connection is still open.
                if flood.further > 0 || turn % 50 == 0 {
                    let _ = sender.send(open(flood.further));
                }
            }
        };
        let in_time = tokio::time::timeout(2 * TIMEOUT, ended).await;
        assert!(in_time.is_ok(), "{name}: it holds its connection");
        writer.await.unwrap();
        let after = executed().await - before;
        if flood.further == 0 {
            // Each response that is not read holds its stream.
            assert_eq!(after, MOST_STREAMS, "{name}");
        }
        if let Some(reader) = reader {
            let answered = tokio::time::timeout(TIMEOUT, reader).await.unwrap().unwrap();
            assert_eq!(answered, MOST_STREAMS, "{name}");
        }
        // An eighth of four MiB is for callers without a token.
        assert!(most <= 512 * 1024 + 100_000, "{name}: {most} bytes were held");
        println!("{name}: {after} executed, {most} bytes");
    }
    let freed = async { while api.memory(&figures).await > 0 {} };
    assert!(tokio::time::timeout(TIMEOUT, freed).await.is_ok());
}
