//! Webhooks over HTTP: what reads show, what is refused, and what a receiver gets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use performer::orchestrator::store::Store;
use performer::server::Server;
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Api;
use performer_proofs::test_server::{CLIENT, SECRET as CLIENT_SECRET, TestServer};

const ODATA: &str = "UiPath.Server.Configuration.OData";
const SECRET: &str = "hunter2-hunter2";

fn webhook(name: &str, url: &str) -> Value {
    json!({
        "Name": name, "Url": url, "Enabled": true, "SubscribeToAllEvents": false, "AllowInsecureSsl": true,
        "Secret": SECRET, "Description": "d", "Events": [{"EventType": "custom"}, {"EventType": "QUEUEITEM.ADDED"}],
    })
}

async fn create(api: &Api, body: &Value) -> i64 {
    let made = api.post("/odata/Webhooks", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(!made.text.contains("hunter2"), "{}", made.text);
    made.body["Id"].as_i64().unwrap()
}

async fn call(api: &Api, method: &str, path: &str, body: &Value) -> crate::ApiResponse {
    api.call_as(&api.token, None, method, path, body).await
}

#[tokio::test]
async fn webhooks_have_a_life_over_http_and_their_secrets_are_never_shown() {
    let api = Api::start().await;
    let id = create(&api, &webhook("One", "https://example.com/hook")).await;
    let path = format!("/odata/Webhooks({id})");
    let got = call(&api, "GET", &path, &Value::Null).await;
    assert_eq!(
        got.body["Events"],
        json!([{"EventType": "queueItem.added"}, {"EventType": "custom"}]),
        "{}",
        got.text
    );
    // What is not in the body of a change stays as it is.
    let patched = call(&api, "PATCH", &path, &json!({"Enabled": false})).await;
    assert_eq!((patched.status, &patched.body["Enabled"]), (200, &json!(false)), "{}", patched.text);
    assert_eq!(patched.body["Events"], got.body["Events"]);
    let refused = call(&api, "POST", &format!("{path}/{ODATA}.Ping"), &Value::Null).await;
    assert_eq!((refused.status, refused.code()), (400, 1009), "it is disabled: {}", refused.text);
    let mut whole = webhook("Renamed", "https://example.com/other");
    whole.as_object_mut().unwrap().remove("Secret");
    let put = call(&api, "PUT", &path, &whole).await;
    assert_eq!((put.status, &put.body["Name"]), (200, &json!("Renamed")), "{}", put.text);
    let ping = call(&api, "POST", &format!("{path}/{ODATA}.Ping"), &Value::Null).await;
    assert_eq!((ping.status, &ping.body["Type"]), (202, &json!("ping")), "{}", ping.text);
    let custom =
        call(&api, "POST", &format!("/odata/Webhooks/{ODATA}.TriggerCustom"), &json!({"Invoice": 7})).await;
    assert_eq!((custom.status, &custom.body["EventData"]), (202, &json!({"Invoice": 7})), "{}", custom.text);
    let kinds = call(&api, "GET", &format!("/odata/Webhooks/{ODATA}.GetEventTypes"), &Value::Null).await;
    let kinds = kinds.body["value"].as_array().unwrap().clone();
    assert!(
        kinds.contains(&json!({"Name": "queueItem.transactionFailed", "Group": "queueItem"})),
        "{kinds:?}"
    );

    let deliveries = call(&api, "POST", "/api/Performer/WebhookDeliveries", &json!({ "webhook": id })).await;
    let found = deliveries.body["deliveries"].as_array().unwrap();
    assert_eq!(found.iter().map(|one| &one["EventType"]).collect::<Vec<_>>(), ["ping", "custom"]);
    let retried = call(&api, "POST", "/api/Performer/RetryWebhook", &json!({ "webhook": id })).await;
    assert_eq!(retried.body["count"], 0, "{}", retried.text);

    for (change, code) in [
        (json!({"Name": "n".repeat(129)}), 1009),
        (json!({"Url": "ftp://example.com"}), 1009),
        (json!({"Url": "https://user:pass@example.com"}), 1009),
        (json!({"AllowInsecureSsl": false, "Url": "http://example.com"}), 1009),
        (json!({"Events": [{"EventType": "no.such"}]}), 1009),
        (json!({"Events": [{}]}), 1009),
        (json!({"Secret": "s".repeat(101)}), 1009),
        (json!({"Description": "d".repeat(257)}), 1009),
    ] {
        let refused = call(&api, "PATCH", &path, &change).await;
        assert_eq!((refused.status, refused.code()), (400, code), "{change}: {}", refused.text);
    }
    let double = api.post("/odata/Webhooks", &webhook("RENAMED", "https://example.com")).await;
    assert_eq!((double.status, double.code()), (409, 1001), "{}", double.text);
    let incomplete = api.post("/odata/Webhooks", &json!({"Name": "x", "Url": "https://example.com"})).await;
    assert_eq!((incomplete.status, incomplete.code()), (400, 1009), "{}", incomplete.text);

    assert_eq!(call(&api, "DELETE", &path, &Value::Null).await.status, 204);
    let gone = call(&api, "GET", &path, &Value::Null).await;
    assert_eq!((gone.status, gone.code()), (404, 1002), "{}", gone.text);
    for place in ["/odata/Webhooks", &path] {
        assert!(!call(&api, "GET", place, &Value::Null).await.text.contains("hunter2"));
    }
}

/// What a receiver got: the body as it came, and the signature.
type Got = (Vec<u8>, String);

/// Receives events on loopback, one connection each, and answers with the statuses in turn; the last one goes on.
fn receiver(statuses: &'static [u16]) -> (String, UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, got) = unbounded_channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut signature) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    if line.trim_end().is_empty() {
                        break;
                    }
                    continue;
                };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "x-uipath-signature" => signature = value.to_owned(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = statuses[number.min(statuses.len() - 1)];
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            .unwrap();
            if told.send((body, signature)).is_err() {
                return;
            }
        }
    });
    (url, got)
}

async fn serving(allow_private: bool) -> Api {
    let store = Store::memory();
    let configure = |_| {
        Server::builder(store.clone())
            .first_client(CLIENT, CLIENT_SECRET)
            .webhooks_allow_private(allow_private)
    };
    Api::on(TestServer::start_as(store.clone(), configure).await).await
}

async fn next(got: &mut UnboundedReceiver<Got>) -> Got {
    tokio::time::timeout(Duration::from_secs(60), got.recv()).await.expect("an event comes").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_gets_signed_events_again_after_a_failure_and_none_when_it_is_gone() {
    let api = serving(true).await;
    let (url, mut got) = receiver(&[503, 302, 200, 410]);
    let id = create(&api, &webhook("One", &url)).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "r1").await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let (body, signed) = next(&mut got).await;
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, &body, &STANDARD.decode(signed).unwrap()).expect("the signature is right");
        bodies.push(body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "a body is the same with every try");
    let event: Value = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!(event["Type"], "queueItem.added");
    assert_eq!((&event["OrganizationUnitId"], &event["Queue"]["Name"]), (&json!(1), &json!("Invoices")));
    assert_eq!(
        (&event["QueueItems"][0]["Reference"], &event["QueueItems"][0]["Status"]),
        (&json!("r1"), &json!("New"))
    );
    assert!(event["OrganizationUnitKey"].is_string() && event["EventId"].is_string());

    api.add("Invoices", "r2").await;
    next(&mut got).await; // 410
    let is_on = async || {
        call(&api, "GET", &format!("/odata/Webhooks({id})"), &Value::Null).await.body["Enabled"] == true
    };
    let off = async { while is_on().await {} };
    tokio::time::timeout(Duration::from_secs(30), off).await.expect("the webhook is disabled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_an_address_of_the_machine_unless_that_is_allowed() {
    let api = serving(false).await;
    let (url, mut got) = receiver(&[200]);
    let by_name = url.replace("127.0.0.1", "localhost");
    for (name, url) in [("Address", &url), ("Name", &by_name)] {
        let id = create(&api, &webhook(name, url)).await;
        call(&api, "POST", &format!("/odata/Webhooks({id})/{ODATA}.Ping"), &Value::Null).await;
        let tried = async {
            loop {
                let found =
                    call(&api, "POST", "/api/Performer/WebhookDeliveries", &json!({ "webhook": id })).await;
                let error = found.body["deliveries"][0]["Error"].clone();
                if let Some(error) = error.as_str() {
                    return error.to_owned();
                }
            }
        };
        let error = tokio::time::timeout(Duration::from_secs(30), tried).await.expect("it is tried");
        assert!(error.contains("--webhooks-allow-private"), "{error}");
    }
    assert!(got.try_recv().is_err(), "nothing came");
}
