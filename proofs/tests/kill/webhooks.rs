//! A server ends between the commit of a change and its delivery to a webhook, and between the delivery and its record: no event is lost,
//! the receiver sees them for the first time in the order of the commits, and one that is sent again has the same key.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::model::webhook::{DeliveryId, EventType, WebhookSettings};
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{ItemFilter, Page};
use performer_proofs::test_server::{CLIENT, SECRET};
use performer_server::Server;
use serde_json::Value;

use super::victim::{QUEUE, runtime};
use super::world::World;

/// How many items each process adds.
const ITEMS: usize = 4;

/// Where it ends, at which passes, and whether a delivery may have been made and not recorded there.
const POINTS: [(&str, &[u64], bool); 6] = [
    // The event is written, and not committed.
    ("webhooks.after_write", &[1, 3], false),
    // The change is committed with its event, and its caller does not know it.
    ("add.after_commit", &[1, 3], false),
    // A server has its turn, and has sent nothing.
    ("webhooks.after_turn", &[1, 2], false),
    ("webhooks.before_send", &[1, 3], false),
    // The receiver has answered, and the store does not know it.
    ("webhooks.after_send", &[1, 3], true),
    ("webhooks.before_settle", &[1, 2], true),
];

const ABORTED: Option<i32> = Some(6);

/// The key of each event that was received, and the reference of its item.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// Receives events on loopback, and takes each.
fn receiver() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let received = Received::default();
    let shared = received.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = shared.clone();
            std::thread::spawn(move || while take_event(stream.as_ref().unwrap(), &shared).is_some() {});
        }
    });
    (url, received)
}

/// Takes one event of a connection. `None`: it has ended.
fn take_event(stream: &TcpStream, received: &Received) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = body["QueueItems"].as_array().unwrap();
    let mut seen = received.lock().unwrap();
    seen.extend(items.iter().map(|item| (text(&body["EventId"]), text(&item["Reference"]))));
    drop(seen);
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

/// The program that is killed: a server that adds items, until everything is delivered.
pub async fn serve(store: &Store, process: &str) {
    let server = Server::builder(store.clone()).first_client(CLIENT, SECRET);
    let server = server.webhooks_allow_private(true).open().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await });
    for number in 0..ITEMS {
        let item = NewQueueItem::new(serde_json::json!({ "Number": number }))
            .reference(format!("{process}-{number}"));
        store.add_queue_item(QUEUE, item).await.unwrap();
        // So that there are several turns.
        while number % 2 == 1 && !waiting(store).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(stop);
    served.await.unwrap().unwrap();
}

/// The keys of the events that wait.
async fn waiting(store: &Store) -> Vec<String> {
    let webhook = store.webhooks().await.unwrap().pop().unwrap();
    let waiting = store.webhook_deliveries(webhook.id, None, DeliveryId(0), 1_000).await.unwrap();
    waiting.into_iter().map(|delivery| delivery.event_id).collect()
}

/// The references of all items, in the order in which they were added.
async fn added(store: &Store) -> Vec<String> {
    let filter = ItemFilter::default().queue(QUEUE);
    let page = store.list_queue_items(filter, Page::first(100)).await.unwrap();
    page.items.into_iter().map(|item| item.reference.unwrap()).collect()
}

/// The references of events in the order in which they came for the first time. An event that came again had the same key.
fn first_received(received: &Received, case: &str) -> Vec<String> {
    let (mut order, mut keys) = (Vec::new(), BTreeMap::new());
    for (event, reference) in received.lock().unwrap().iter() {
        let key = keys.entry(reference.clone()).or_insert_with(|| {
            order.push(reference.clone());
            event.clone()
        });
        assert_eq!(key, event, "{case}: {reference} was sent again with another key");
    }
    order
}

pub fn at_every_crash_point() {
    let cases: Vec<(String, bool)> = POINTS
        .iter()
        .flat_map(|(point, hits, is_sent)| hits.iter().map(move |hit| (format!("{point}={hit}"), *is_sent)))
        .collect();
    // At the same time: each waits until the turn of the process that was killed is over.
    std::thread::scope(|scope| {
        for (case, is_sent) in &cases {
            scope.spawn(|| at_crash_point(case, *is_sent));
        }
    });
    println!("{} processes ended while they sent to a webhook, no event is lost", cases.len());
}

fn at_crash_point(case: &str, is_sent: bool) {
    let runtime = runtime();
    let (url, received) = receiver();
    let mut world = World::new();
    let store = runtime.block_on(async {
        let store = Store::sqlite(world.file()).await.unwrap();
        store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
        let mut settings = WebhookSettings::new("All", url);
        (settings.allow_insecure_ssl, settings.subscribe_to_all_events) = (true, false);
        settings.events.insert(EventType::ItemAdded);
        store.create_webhook(settings, None).await.unwrap();
        store
    });
    let process = world.spawn("webhooks", 0, Some(case));
    let status = world.wait_for_end(process);
    assert_eq!(status.signal(), ABORTED, "{case}: {status}");
    // Each item was delivered, or its event waits; in between it is both.
    let (items, left) = runtime.block_on(async { (added(&store).await, waiting(&store).await) });
    let delivered = first_received(&received, case);
    let both = (delivered.len() + left.len()).checked_sub(items.len());
    let both = both.unwrap_or_else(|| panic!("{case}: of {items:?} {delivered:?} were sent, {left:?} wait"));
    assert_eq!(both > 0, is_sent, "{case}: {both} were sent, and wait");
    let process = world.spawn("webhooks", 0, None);
    assert!(world.wait_for_end(process).success(), "{case}");
    let items = runtime.block_on(added(&store));
    assert!(items.len() >= ITEMS, "{case}: {items:?}");
    assert_eq!(first_received(&received, case), items, "{case}");
}
