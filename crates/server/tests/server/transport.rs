//! Connections, bodies and memory: refused requests leave a usable connection, and no caller can block others.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use performer::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Api;
use crate::raw_clients::{
    ACK, Certificate, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, KeepAliveClient, PING, RST_STREAM,
    SETTINGS, TIMEOUT, connect_from, frame, has_status, headers, preface, read_frame, read_response,
};

const MIB: usize = 1024 * 1024;
const ADD: &str = "/odata/Queues/UiPathODataSvc.AddQueueItem";
const BULK: &str = "/odata/Queues/UiPathODataSvc.BulkAddQueueItems";

/// The value of one metric.
async fn metric(api: &Api, token: &str, name: &str) -> f64 {
    let text = api.send(api.request("GET", "/metrics").bearer_auth(token)).await.text;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{name}: {text}")).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Reads a metric until it has the expected value, or fails after a time limit.
async fn wait_until(api: &Api, token: &str, name: &str, is_right: impl Fn(f64) -> bool) {
    let asked = async {
        while !is_right(metric(api, token, name).await) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(TIMEOUT, asked).await;
    assert!(in_time.is_ok(), "{name} is {}", metric(api, token, name).await);
}

fn head(api: &Api, method: &str, path: &str, more: &str, length: usize) -> String {
    let token = &api.token;
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-UIPATH-FolderPath: Shared\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
    )
}

/// A keep-alive client sends 200 refused requests, each followed by a valid one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_leaves_the_connection_usable() {
    let api = Api::start_as(|server| server.largest_body(MIB)).await;
    let body = json!({"Name": "x".repeat(300)}).to_string();
    let bare = |method: &str, path: &str, more: &str, length: usize| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    let token = format!("Authorization: Bearer {}\r\n", api.token);
    let long = "x".repeat(200_000);
    for (what, status, head, body) in [
        ("no token", 401, bare("POST", ADD, "", body.len()), &body),
        ("no folder", 400, bare("POST", ADD, &token, body.len()), &body),
        (
            "another folder",
            403,
            bare("POST", ADD, &format!("{token}X-UIPATH-FolderPath: No\r\n"), body.len()),
            &body,
        ),
        ("no route", 404, head(&api, "POST", "/odata/Nothing", "", body.len()), &body),
        ("another method", 405, head(&api, "PUT", ADD, "", body.len()), &body),
        ("a login by PUT", 405, bare("PUT", "/identity_/connect/token", "", body.len()), &body),
        ("too large", 413, head(&api, "POST", ADD, "", long.len()), &long),
        ("gzip", 415, head(&api, "POST", ADD, "Content-Encoding: gzip\r\n", body.len()), &body),
        ("a header twice", 400, head(&api, "POST", ADD, "X-UIPATH-FolderPath: Other\r\n", body.len()), &body),
        ("metrics with a body", 200, bare("GET", "/metrics", &token, body.len()), &body),
    ] {
        let mut client = KeepAliveClient::new(&api.served.url);
        for round in 0..200 {
            let refused = client.request(&head, body.as_bytes()).await;
            let refused = refused.unwrap_or_else(|why| panic!("{what}, round {round}: {why}"));
            assert_eq!(refused.status, status, "{what}: {}", refused.body);
            let good = client.request("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\n\r\n", b"").await;
            let good = good.unwrap_or_else(|why| panic!("after {what}, round {round}: {why}"));
            assert_eq!(good.status, 200, "after {what}");
        }
        assert_eq!(client.connections, 1, "{what}: the rest of the body was discarded");
    }
}

/// A body that is too large to discard: the response says so, and arrives although the client still sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_large_body_closes_the_connection_after_the_response() {
    let api = Api::start().await;
    let mut client = KeepAliveClient::new(&api.served.url);
    let body = vec![b'x'; 6 * MIB];
    let chunk = format!("{:x}\r\n{}\r\n", 300_000, "x".repeat(300_000));
    let chunked = format!("{}0\r\n\r\n", chunk.repeat(10));
    let chunks = "POST /odata/QueueDefinitions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, body) in [
        (
            format!(
                "POST /odata/QueueDefinitions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ),
            &body[..],
        ),
        (chunks.to_owned(), chunked.as_bytes()),
        (head(&api, "POST", ADD, "", body.len()), &body[..]),
    ] {
        for _ in 0..10 {
            let refused = client.request(&head, body).await.unwrap();
            assert!(matches!(refused.status, 401 | 413), "{refused:?}");
            assert_eq!(refused.headers.get("connection").map(String::as_str), Some("close"));
            let good = client.request("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\n\r\n", b"").await.unwrap();
            assert_eq!(good.status, 200);
        }
    }
    // A client that waits for "100 Continue" is not told to send a body that is not read.
    let expecting = "POST /odata/QueueDefinitions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    let refused = client.request(expecting, b"").await.unwrap();
    assert_eq!((refused.status, refused.headers["connection"].as_str()), (401, "close"));
}

/// Connections without a request, and with a slow one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_and_slow_connections_are_closed() {
    let certificate = Certificate::new();
    let file = |name: &str| certificate.folder.path().join(name);
    let short = Duration::from_millis(300);
    let api = Api::start_as(|server| server.client_timeouts(short, Duration::from_secs(600), short)).await;
    let slow = async |asks_first: bool, begin: &[u8]| {
        let mut stream = TcpStream::connect(api.served.url.strip_prefix("http://").unwrap()).await.unwrap();
        if asks_first {
            stream.write_all(b"GET /api/Status/Get HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            assert_eq!(read_response(&mut stream, false).await.unwrap().status, 200);
        }
        stream.write_all(begin).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{begin:?} holds its connection");
    };
    slow(false, b"GET /api/Status/Get HTTP/1.1\r\nHost:").await;
    slow(false, b"G").await;
    slow(true, b"GET ").await;

    let clock = api.clock.clone();
    let tls = performer::orchestrator::store::Store::memory_with_clock(clock);
    let served = performer_proofs::test_server::TestServer::start_as(tls, |server| {
        server.tls(file("cert.pem"), file("key.pem")).client_timeouts(
            short,
            Duration::from_millis(600),
            short,
        )
    })
    .await;
    for begin in [Vec::new(), b"PRI * HTTP/2.0\r\n".to_vec(), preface(65_535)] {
        let mut stream = certificate.connect(&served.url).await;
        stream.write_all(&begin).await.unwrap();
        stream.flush().await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{begin:?} holds its connection");
    }
    // After a request, an idle connection is shut down gracefully.
    let mut stream = certificate.connect(&served.url).await;
    stream.write_all(&preface(65_535)).await.unwrap();
    let health = headers(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/api/Status/Get"),
    ]);
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &health)).await.unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = tokio::time::timeout(TIMEOUT, read_frame(&mut stream)).await.unwrap() {
        match frame.kind {
            HEADERS => assert!(has_status(&frame, 200), "{frame:?}"),
            PING if frame.flags & ACK == 0 => {
                let pong = crate::raw_clients::frame(PING, ACK, 0, &frame.payload);
                stream.write_all(&pong).await.unwrap();
            }
            SETTINGS if frame.flags & ACK == 0 => {
                stream.write_all(&crate::raw_clients::frame(SETTINGS, ACK, 0, &[])).await.unwrap();
            }
            _ => {}
        }
        seen.push(frame.kind);
    }
    let position = |kind| seen.iter().position(|seen| *seen == kind);
    assert!(position(HEADERS) < position(GOAWAY) && position(GOAWAY).is_some(), "{seen:?}");
}

/// The client sends 20,000 requests and reads no response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_no_response_is_closed() {
    let stalled = Duration::from_millis(400);
    let api = Api::start_as(|server| {
        server.client_timeouts(Duration::from_secs(600), Duration::from_secs(600), stalled)
    })
    .await;
    let mut stream = TcpStream::connect(api.served.url.strip_prefix("http://").unwrap()).await.unwrap();
    let requests = "GET /odata/QueueDefinitions HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20_000);
    let written = async {
        // Writing fails once the server has closed the connection.
        while stream.write_all(requests.as_bytes()).await.is_ok() {}
    };
    assert!(tokio::time::timeout(TIMEOUT, written).await.is_ok(), "it holds its connection");
    assert_eq!(api.get("/odata/QueueDefinitions").await.status, 200);
}

/// One address cannot use all connections, and health checks always work.
#[cfg(target_os = "linux")] // elsewhere 127.0.0.2 is not there
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_use_all_connections() {
    let api = Api::start_as(|server| server.most_connections(64)).await;
    let ask = async |stream: &mut TcpStream, path: &str| {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        tokio::time::timeout(TIMEOUT, read_response(stream, false)).await.unwrap()
    };
    let mut idle = Vec::new();
    let mut refused = 0;
    for _ in 0..64 {
        let mut stream = connect_from("127.0.0.1", &api.served.url).await.unwrap();
        // Either a regular connection, or one over the limit with a single response.
        let answer = ask(&mut stream, "/odata/QueueDefinitions").await.unwrap();
        match answer.status {
            401 => idle.push(stream),
            503 => {
                assert_eq!(answer.headers["connection"], "close");
                assert_eq!(answer.headers["retry-after"], "1");
                refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert!((25..=32).contains(&idle.len()) && refused > 0, "{} kept", idle.len());
    let mut same = connect_from("127.0.0.1", &api.served.url).await.unwrap();
    let health = ask(&mut same, "/api/Status/Get").await.unwrap();
    assert_eq!((health.status, health.headers["connection"].as_str()), (200, "close"));
    for n in 2..20 {
        let mut other =
            connect_from(&Ipv4Addr::new(127, 0, 0, n).to_string(), &api.served.url).await.unwrap();
        assert_eq!(ask(&mut other, "/odata/QueueDefinitions").await.unwrap().status, 401, "127.0.0.{n}");
        idle.push(other);
    }
    // Slots are freed.
    drop(idle);
    let mut again = false;
    for _ in 0..1_000 {
        let mut stream = connect_from("127.0.0.1", &api.served.url).await.unwrap();
        again = ask(&mut stream, "/odata/QueueDefinitions").await.is_some_and(|answer| answer.status == 401);
        if again {
            break;
        }
    }
    assert!(again);
    wait_until(&api, &api.token, "performer_connections_refused_total", |refused| refused > 0.0).await;
}

/// Stalled uploads reserve no memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_uploads_do_not_block_others() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let mut uploads = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(api.served.url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "POST {BULK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nX-UIPATH-FolderPath: Shared\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
            api.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        uploads.push(stream);
    }
    wait_until(&api, &api.token, "performer_memory_bytes", |bytes| bytes >= 64.0).await;
    assert!(metric(&api, &api.token, "performer_memory_bytes").await < 1e6);
    let items: Vec<Value> =
        (0..200).map(|n| json!({"SpecificContent": {"a": n, "b": "x".repeat(10_000)}})).collect();
    let bulk = json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": items});
    let got = api.post(BULK, &bulk).await;
    assert_eq!((got.status, &got.body["Success"]), (200, &json!(true)), "{}", got.text);
    drop(uploads);
    wait_until(&api, &api.token, "performer_memory_bytes", |bytes| bytes == 0.0).await;
}

/// A server with TLS and little memory, two callers, a token for the metrics, and a queue with 400 KB of items.
pub(crate) async fn small_server() -> (Api, Certificate, String, String) {
    let certificate = Certificate::new();
    let file = |name: &str| certificate.folder.path().join(name);
    let clock = Arc::new(performer::model::ManualClock::new(crate::start_of_time()));
    let store = performer::orchestrator::store::Store::memory_with_clock(clock.clone());
    let stalled = Duration::from_secs(3);
    let plain = Api::over(store.clone(), clock, |server| server).await;
    plain.queue(&json!({"Name": "Invoices"})).await;
    for n in 0..10 {
        let item = json!({"itemData": {"Name": "Invoices", "Reference": n.to_string(), "SpecificContent": {"a": "x".repeat(40_000)}}});
        assert_eq!(plain.post(ADD, &item).await.status, 201);
    }
    let other = plain
        .application_token("other", "OR.Queues OR.Folders OR.Users", &["Administrator"], &["Shared"])
        .await;
    let figures = plain.application_token("figures", "OR.Monitoring.Read", &["Viewer"], &[]).await;
    let token = plain.token.clone();
    drop(plain);
    let served = performer_proofs::test_server::TestServer::start_as(store, |server| {
        let server = server.tls(file("cert.pem"), file("key.pem")).largest_body(MIB).memory(4 * MIB);
        server.client_timeouts(Duration::from_secs(600), Duration::from_secs(600), stalled)
    })
    .await;
    let pem = std::fs::read(file("cert.pem")).unwrap();
    let authority = reqwest::Certificate::from_pem(&pem).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    let clock = Arc::new(performer::model::ManualClock::new(crate::start_of_time()));
    let api = Api { served, clock, http, token };
    (api, certificate, other, figures)
}

impl Api {
    /// A call over HTTPS.
    pub(crate) async fn secure(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, String) {
        let url = self.served.url.replace("http://127.0.0.1", "https://localhost");
        let request = self.http.request(method.parse().unwrap(), format!("{url}{path}")).bearer_auth(token);
        let mut request = request.header("X-UIPATH-FolderPath", "Shared");
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn memory(&self, token: &str) -> usize {
        let (_, text) = self.secure(token, "GET", "/metrics", &Value::Null).await;
        let line = text.lines().find_map(|line| line.strip_prefix("performer_memory_bytes "));
        line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }
}

fn call(token: &str, method: &str, path: &str) -> Vec<u8> {
    headers(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", &format!("Bearer {token}")),
        ("x-uipath-folderpath", "Shared"),
        ("content-type", "application/json"),
    ])
}

/// HTTP/2 bodies without a length and unread responses are limited by the caller's share, and freed with the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_cannot_use_more_memory_than_its_share() {
    let (api, certificate, other, figures) = small_server().await;
    let hostile = api.token.clone();
    // Bodies without a length and without an end.
    let mut stream = certificate.connect(&api.served.url).await;
    stream.write_all(&preface(65_535)).await.unwrap();
    let piece = [b' '; 16_384];
    let (mut refused, mut window) = (0, 65_535);
    let sent = async {
        for n in 0..200 {
            let id = 1 + 2 * n;
            let begin = frame(HEADERS, END_HEADERS, id, &call(&hostile, "POST", BULK));
            stream.write_all(&begin).await.unwrap();
            for _ in 0..3 {
                while window < piece.len() {
                    let frame = read_frame(&mut stream).await.expect("the connection is kept");
                    window += frame.more_window();
                    refused += usize::from(frame.kind == HEADERS && has_status(&frame, 503));
                }
                window -= piece.len();
                stream.write_all(&frame(DATA, 0, id, &piece)).await.unwrap();
            }
        }
        while refused < 100 {
            let frame = read_frame(&mut stream).await.expect("the connection is kept");
            refused += usize::from(frame.kind == HEADERS && has_status(&frame, 503));
        }
    };
    let in_time = tokio::time::timeout(2 * TIMEOUT, sent).await.is_ok();
    assert!(in_time, "{refused} refused, a window of {window}");
    let held = api.memory(&figures).await;
    assert!((MIB..=2 * MIB + 100_000).contains(&held), "{held} bytes are held");
    let items: Vec<Value> =
        (0..20).map(|n| json!({"SpecificContent": {"a": n, "b": "x".repeat(10_000)}})).collect();
    let bulk = json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": items});
    let (status, text) = api.secure(&other, "POST", BULK, &bulk).await;
    assert_eq!(status, 200, "another caller has a share of its own: {text}");
    drop(stream);
    let freed = async { while api.memory(&figures).await > 0 {} };
    assert!(tokio::time::timeout(TIMEOUT, freed).await.is_ok());

    // Unread responses: the client grants no window.
    let mut stream = certificate.connect(&api.served.url).await;
    stream.write_all(&preface(0)).await.unwrap();
    for n in 0..40 {
        let id = 1 + 2 * n;
        let list = call(&hostile, "GET", "/odata/QueueItems?$top=10&$orderby=Id");
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &list)).await.unwrap();
    }
    let mut most = 0;
    let grown = async {
        while most < MIB {
            most = most.max(api.memory(&figures).await);
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, grown).await.is_ok());
    let (status, _) = api.secure(&other, "GET", "/odata/QueueItems?$top=1", &Value::Null).await;
    assert_eq!(status, 200, "another caller has a share of its own");
    // The stalled client is closed.
    let (mut answered, mut refused) = (0, 0);
    let ended = async {
        while let Some(frame) = read_frame(&mut stream).await {
            match frame.kind {
                HEADERS if has_status(&frame, 200) => answered += 1,
                HEADERS => refused += 1,
                RST_STREAM => panic!("{frame:?}"),
                _ => {}
            }
            most = most.max(api.memory(&figures).await);
        }
    };
    assert!(tokio::time::timeout(2 * TIMEOUT, ended).await.is_ok(), "it holds its connection");
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    assert!(most <= 2 * MIB + 600_000, "{most} bytes were held");
    let freed = async { while api.memory(&figures).await > 0 {} };
    assert!(tokio::time::timeout(TIMEOUT, freed).await.is_ok());
}

/// Incomplete heads of 60 KB from callers without a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incomplete_heads_use_a_small_part_of_the_memory() {
    let api = Api::start_as(|server| server.largest_body(MIB).memory(8 * MIB)).await;
    let half = format!("GET /api/Status/Get HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(60_000));
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(api.served.url.strip_prefix("http://").unwrap()).await.unwrap();
        let _ = stream.write_all(half.as_bytes()).await;
        open.push(stream);
    }
    wait_until(&api, &api.token, "performer_memory_bytes", |bytes| bytes > 100_000.0).await;
    wait_until(&api, &api.token, "performer_connections", |open| open < 50.0).await;
    assert!(metric(&api, &api.token, "performer_memory_bytes").await <= 1_048_576.0);
    assert_eq!(api.get("/odata/QueueDefinitions").await.status, 200, "heads of a usual size need none of it");
    drop(open);
    wait_until(&api, &api.token, "performer_memory_bytes", |bytes| bytes == 0.0).await;
    let long = api.request("GET", "/api/Status/Get").header("x-long", "x".repeat(30_000));
    assert_eq!(api.send(long).await.status, 200);
}

/// Responses that are kept for repeated calls are counted as memory, and expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_responses_are_counted_and_expire() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    for n in 0..20 {
        let item = json!({"itemData": {"Name": "Invoices", "Reference": n.to_string(), "SpecificContent": {"a": "x".repeat(20_000)}}});
        assert_eq!(api.post(ADD, &item).await.status, 201);
    }
    let about = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 600_000});
    let job = api.post("/api/Performer/StartJob", &about).await.body["job"].clone();
    let name = "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11";
    let take = json!({"id": name, "reports": [], "take":
        {"queue": "Invoices", "job": job, "robot": 1, "count": 20, "reference": null}});
    let first = api.post("/api/Performer/Exchange", &take).await;
    assert_eq!(first.body["took"]["items"].as_array().map(Vec::len), Some(20), "{}", first.text);
    assert!(metric(&api, &api.token, "performer_memory_bytes").await >= 400_000.0);
    assert_eq!(api.post("/api/Performer/Exchange", &take).await.text, first.text, "it is not executed twice");
    api.clock.advance(Duration::from_secs(130));
    wait_until(&api, &api.token, "performer_memory_bytes", |bytes| bytes == 0.0).await;
}

/// HEAD is supported wherever GET is, with the same headers.
#[tokio::test]
async fn head_requests_match_get_requests() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "r").await;
    let mut paths: Vec<String> = Server::routes()
        .into_iter()
        .filter(|(_, method, ..)| method == "GET")
        .map(|(_, _, path, _)| path)
        .collect();
    paths.extend(["/metrics", "/odata/Nothing", "/odata/QueueItems?$filter=x"].map(str::to_owned));
    assert!(paths.len() > 30);
    for path in paths {
        let (get, head) = (api.get(&path).await, api.call("HEAD", &path, &Value::Null).await);
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        let names = |got: &crate::ApiResponse| {
            let mut all: Vec<(String, String)> = (got.headers.iter())
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .filter(|(name, _)| name != "date" && name != "x-correlation-id")
                .collect();
            all.sort();
            all
        };
        // The values of /metrics change in between.
        if path != "/metrics" {
            assert_eq!(names(&head), names(&get), "{path}");
        }
        let length = head.headers.get("content-length").and_then(|length| length.to_str().ok());
        assert_eq!(length.is_none_or(|length| length == "0"), get.text.is_empty(), "{path}");
    }
    let refused = api.call("PATCH", "/odata/QueueItems", &Value::Null).await;
    assert_eq!((refused.status, refused.headers["allow"].to_str().unwrap()), (405, "GET, HEAD, OPTIONS"));
    // What a path supports can be asked without a token.
    let asked = api.send(api.request("OPTIONS", "/odata/QueueDefinitions(1)")).await;
    assert_eq!((asked.status, asked.text.as_str()), (204, ""));
    assert_eq!(asked.headers["allow"], "GET, PUT, DELETE, HEAD, OPTIONS");
    assert_eq!(api.send(api.request("OPTIONS", "/odata/Nothing")).await.status, 404);
    for path in ["/odata/QueueItems", "/api/Status/Get"] {
        let prefixed = api.get(&format!("/acme/Prod{path}")).await.status;
        assert_eq!(prefixed, if path.starts_with("/api") { 200 } else { 404 }, "{path}");
    }
    let unknown = api.send(api.request("HEAD", "/odata/QueueItems")).await;
    assert_eq!(unknown.status, 401);
}

/// C7: `--cors-origin`.
#[tokio::test]
async fn pages_of_an_allowed_origin_may_call() {
    let origin = "https://app.example.com";
    let api = Api::start_as(|server| server.cors_origin(origin.parse().unwrap())).await;
    let preflight = |origin: &str| {
        let request = api.request("OPTIONS", ADD).header("origin", origin);
        request.header("access-control-request-method", "POST").header(
            "access-control-request-headers",
            "authorization,content-type,x-uipath-folderpath,x-other",
        )
    };
    let yes = api.send(preflight(origin)).await;
    assert_eq!((yes.status, yes.text.as_str()), (204, ""));
    assert_eq!(yes.headers["access-control-allow-origin"], origin);
    assert_eq!(
        yes.headers["access-control-allow-headers"],
        "authorization, content-type, x-uipath-folderpath"
    );
    assert!(yes.headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    let no = api.send(preflight("https://evil.example.com")).await;
    assert_eq!(no.status, 204);
    assert!(!no.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{:?}", no.headers);
    let patch = api.send(preflight(origin).header("access-control-request-method", "PATCH")).await;
    assert_eq!(patch.status, 400, "a repeated header is refused");
    assert!(yes.headers["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
    assert_eq!(yes.headers["access-control-allow-credentials"], "true");
    // Errors have the headers too.
    for (token, status) in [(api.token.as_str(), 200), ("wrong", 401)] {
        let request =
            api.request("GET", "/odata/QueueDefinitions").bearer_auth(token).header("origin", origin);
        let got = api.send(request).await;
        assert_eq!(got.status, status);
        assert_eq!(got.headers["access-control-allow-origin"], origin);
        assert!(got.headers["access-control-expose-headers"].to_str().unwrap().contains("X-Correlation-Id"));
        assert!(got.headers["vary"].to_str().unwrap().contains("Origin"));
    }
    let login = api.request("POST", "/identity_/connect/token").header("origin", origin).body("");
    assert_eq!(api.send(login).await.headers["access-control-allow-origin"], origin);
    let none = Api::start().await;
    let got = none
        .send(
            none.request("OPTIONS", ADD)
                .header("origin", origin)
                .header("access-control-request-method", "POST"),
        )
        .await;
    assert_eq!(got.status, 204);
    assert!(!got.headers.keys().any(|name| name.as_str().starts_with("access-control") || name == "vary"));
}

/// Ambiguous heads and bodies with unknown fields.
#[tokio::test]
async fn repeated_headers_and_unknown_fields_are_refused_with_their_name() {
    let api = Api::start().await;
    let mut client = KeepAliveClient::new(&api.served.url);
    let token = format!("Authorization: Bearer {}\r\n", api.token);
    for (more, name) in [
        (
            format!("{token}Host: x\r\nX-UIPATH-OrganizationUnitId: 1\r\nX-UIPATH-OrganizationUnitId: 2\r\n"),
            "x-uipath-organizationunitid",
        ),
        (
            format!("{token}Host: x\r\nX-UIPATH-FolderPath: Shared\r\nX-UIPATH-FolderPath: Shared\r\n"),
            "x-uipath-folderpath",
        ),
        (format!("{token}{token}Host: x\r\n"), "authorization"),
        (format!("{token}Host: x\r\nHost: x\r\n"), "host"),
        (format!("{token}Host: a, b\r\n"), "host"),
        (token.clone(), "host"),
    ] {
        let head = format!("GET /odata/QueueDefinitions HTTP/1.1\r\n{more}\r\n");
        let got = client.request(&head, b"").await.unwrap();
        assert!(got.status == 400 && got.body.contains(name), "{more}: {got:?}");
    }
    api.queue(&json!({"Name": "Invoices"})).await;
    let job = "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11";
    let take =
        json!({"queue": "Invoices", "job": job, "robot": 1, "count": 1, "reference": null, "cuont": 2});
    for (route, body, path) in [
        (
            "StartJob",
            json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000, "robotz": 2}),
            "robotz",
        ),
        ("Beat", json!({"job": job, "state": "Running"}), "state"),
        ("Sweep", json!({"jobs": []}), "jobs"),
        ("Robots", json!({"limit": 1}), "limit"),
        ("Jobs", json!({"limit": 1, "skip": 1}), "skip"),
        ("Exchange", json!({"id": job, "reports": [], "take": take}), "take.cuont"),
        ("EditLimits", json!({"queue": "Invoices", "edit": {"no": 1}}), "edit.no"),
        ("Reasons", json!({"top": 5, "bottom": 1}), "bottom"),
        ("EditReason", json!({"id": 1, "edit": {"colour": "red"}}), "edit.colour"),
    ] {
        let got = api.post(&format!("/api/Performer/{route}"), &body).await;
        assert!(got.status == 400 && got.is_api_error(), "{route}: {}", got.text);
        assert!(got.body["message"].as_str().unwrap().contains(path), "{route}: {}", got.text);
    }
    assert_eq!(api.post("/api/Performer/Sweep", &Value::Null).await.status, 200);
    assert_eq!(api.post("/api/Performer/Sweep", &json!({})).await.status, 200);
}
