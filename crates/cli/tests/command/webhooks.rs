//! Webhooks by the command, and `kill -9` of the server that sends: no event is lost, and the receiver sees them in their order.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use super::{Server, command, done, json, text};

/// What a receiver got: the body and the signature.
type Got = (Value, Option<String>);

/// Receives events on loopback, and answers each with the status.
fn receiver(status: u16) -> (String, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, got) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let told = told.clone();
            std::thread::spawn(move || answer(stream.unwrap(), status, &told));
        }
    });
    (url, got)
}

/// Answers the requests of one connection until it ends.
fn answer(stream: TcpStream, status: u16, told: &Sender<Got>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut signature, mut line) = (0, None, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "x-uipath-signature" => signature = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if told.send((serde_json::from_slice(&body).unwrap(), signature)).is_err() {
            return;
        }
        if write!(writer, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(90);
const STORE: &str = "sqlite:orchestrator.db";

fn add_items(folder: &std::path::Path, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let reference = format!("r{number}");
        let arguments = ["item", "add", "Invoices", "--url", STORE, "--reference", &reference];
        done(command(folder, &arguments));
    }
}

#[test]
fn a_killed_server_loses_no_event_and_keeps_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (url, got) = receiver(200);
    done(command(folder, &["queue", "create", "Invoices", "--url", STORE]));
    let arguments = [
        "webhook",
        "add",
        "All",
        "--to",
        &url,
        "--allow-insecure-ssl",
        "true",
        "--event",
        "queueItem.added",
        "--url",
        STORE,
    ];
    done(command(folder, &arguments));
    add_items(folder, 0..5);
    let serve = || Server::known(folder, &["--listen", "127.0.0.1:0", "--webhooks-allow-private"]);
    let mut seen: Vec<String> = Vec::new();
    let mut events = BTreeSet::new();
    let mut take = |got: &Receiver<Got>| {
        let (body, signature) = got.recv_timeout(PATIENCE).expect("an event");
        assert_eq!((&body["Type"], &signature), (&Value::from("queueItem.added"), &None));
        events.insert(body["EventId"].as_str().unwrap().to_owned());
        for item in body["QueueItems"].as_array().unwrap() {
            let reference = item["Reference"].as_str().unwrap().to_owned();
            if !seen.contains(&reference) {
                seen.push(reference);
            }
        }
        seen.len()
    };
    // Each server ends as after a power failure, when it has just sent something.
    let mut next = 5;
    for _ in 0..3 {
        let server = serve();
        take(&got);
        server.kill();
        add_items(folder, next..next + 3);
        next += 3;
    }
    let _server = serve();
    while take(&got) < next {}
    let expected: Vec<String> = (0..next).map(|number| format!("r{number}")).collect();
    assert_eq!(seen, expected, "each was delivered, for the first time in this order");
    assert_eq!(events.len(), next, "an event that is sent again has the same key");
}

#[test]
fn addresses_of_the_machine_are_refused_unless_they_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (url, got) = receiver(200);
    done(command(folder, &["queue", "create", "Invoices", "--url", STORE]));
    let arguments = ["webhook", "add", "Own", "--to", &url, "--allow-insecure-ssl", "true", "--url", STORE];
    done(command(folder, &arguments));
    done(command(folder, &["webhook", "ping", "Own", "--url", STORE]));
    let list = || json(command(folder, &["webhook", "list", "--url", STORE, "--json"]));
    let server = Server::known(folder, &["--listen", "127.0.0.1:0"]);
    while list()[0]["Failures"] == 0 {}
    let error = list()[0]["LastError"].as_str().unwrap().to_owned();
    assert!(error.contains("--webhooks-allow-private"), "{error}");
    assert!(got.try_recv().is_err(), "nothing was sent");
    server.kill();
    let _server = Server::known(folder, &["--listen", "127.0.0.1:0", "--webhooks-allow-private"]);
    let (body, _) = got.recv_timeout(PATIENCE).expect("the test is sent when it is allowed");
    assert_eq!(body["Type"], "ping");
}

/// The life of a webhook, wherever it is. `with` makes the command.
fn lives(folder: &std::path::Path, with: &dyn Fn(&[&str]) -> Command) {
    std::fs::write(folder.join("secret.txt"), "hunter2\n").unwrap();
    let refused = |arguments: &[&str], code: i32, why: &str| {
        let output = with(arguments).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(why), "{arguments:?}: {told}");
    };
    let added = json(with(&[
        "webhook",
        "add",
        "Alerts",
        "--to",
        "https://127.0.0.1:9/x",
        "--event",
        "queueitem.transactionfailed",
        "--secret",
        "--from",
        "secret.txt",
        "--json",
    ]));
    assert_eq!(added["IsSigned"], true);
    assert_eq!(added["Events"][0]["EventType"], "queueItem.transactionFailed");
    assert!(!added.to_string().contains("hunter2"));
    let to = ["--to", "http://hooks.example.com"];
    refused(&[&["webhook", "add", "Plain"][..], &to].concat(), 1, "AllowInsecureSsl");
    refused(&["webhook", "add", "x", "--to", "https://x.example.com", "--event", "no.such"], 2, "no.such");
    refused(&["webhook", "edit", "Nobody", "--enabled", "false"], 5, "does not exist");
    done(with(&["webhook", "edit", "alerts", "--all-events", "--enabled", "false"]));
    refused(&["webhook", "ping", "Alerts"], 1, "disabled");
    done(with(&["webhook", "edit", "Alerts", "--enabled", "true", "--no-secret"]));
    let listed = json(with(&["webhook", "list", "--url", STORE, "--json"]));
    assert_eq!((&listed[0]["IsSigned"], &listed[0]["SubscribeToAllEvents"]), (&false.into(), &true.into()));
    done(with(&["webhook", "ping", "Alerts"]));
    let waiting = json(with(&["webhook", "deliveries", "Alerts", "--url", STORE, "--json"]));
    assert_eq!((&waiting[0]["EventType"], &waiting[0]["State"]), (&"ping".into(), &"Waiting".into()));
    let retried = json(with(&["webhook", "retry", "Alerts", "--url", STORE, "--json"]));
    assert_eq!(retried["Count"], 0);
    refused(&["webhook", "retry", "Alerts", "--delivery", "1"], 5, "no dead letter");
    done(with(&["webhook", "delete", "Alerts"]));
    refused(&["webhook", "deliveries", "Alerts"], 5, "does not exist");
}

#[test]
fn webhooks_have_a_life_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    done(command(folder.path(), &["queue", "create", "Invoices", "--url", STORE]));
    lives(folder.path(), &|arguments| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", STORE);
        command
    });
}

#[test]
fn webhooks_have_a_life_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    lives(folder.path(), &|arguments| {
        let mut command = server.command(folder.path(), arguments);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Webhooks");
        command
    });
    let mut command = server.command(folder.path(), &["webhook", "list"]);
    command.env("UIPATH_SCOPE", "OR.Queues");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}
