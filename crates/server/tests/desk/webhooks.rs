//! Webhooks on the desk: added, tested, changed and deleted; dead letters sent again; a secret is written and never shown.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use performer::model::webhook::{DeliveryId, DeliveryState, WebhookId};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Desk;

/// A receiver that refuses everything. Returns its URL, and what says that it was asked.
fn refusing() -> (String, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, asked) = unbounded_channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).unwrap_or(0) > 0 && told.send(()).is_err() {
                return;
            }
            drop(stream.write_all(b"HTTP/1.1 400 <b>\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
        }
    });
    (url, asked)
}

/// Waits until the webhook has a dead letter, and nothing else.
async fn dead_letter(desk: &Desk, id: WebhookId) -> DeliveryId {
    loop {
        let found = desk.served.store.webhook_deliveries(id, None, DeliveryId(0), 10).await.unwrap();
        match &found[..] {
            [one] if one.state == DeliveryState::Dead => return one.id,
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_webhook_is_added_tested_changed_and_deleted() {
    let desk = Desk::start_as(|server| server.webhooks_allow_private(true)).await;
    let (cookie, (url, mut asked)) = (desk.sign_in().await, refusing());
    desk.get(&cookie, "/desk/webhooks").await.assert_has(&["There is no webhook."]);
    let form = [
        ("name", "Alerts <b>"),
        ("url", &*url),
        ("enabled", "on"),
        ("insecure", "on"),
        ("event", "job.faulted"),
        ("event", "custom"),
        ("secret", "hunter2"),
    ];
    let made = desk.post(&cookie, "/desk/webhooks", &form).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let path = made.location().to_owned();
    let page = desk.get(&format!("{cookie}; {}", made.cookie()), &path).await;
    page.assert_has(&[
        "Done: the webhook was added.",
        "Alerts &#60;b&#62;",
        &*url,
        "job.faulted, custom",
        "<dt>Signed</dt><dd>yes</dd>",
        "Nothing waits.",
    ]);
    let id = WebhookId(path.rsplit('/').next().unwrap().parse().unwrap());

    assert_eq!(desk.post(&cookie, &format!("{path}/ping"), &[]).await.status, 303);
    asked.recv().await.expect("the test was sent");
    let dead = dead_letter(&desk, id).await.to_string();
    for shown in [&path, &format!("{path}?dead=1")] {
        let page = desk.get(&cookie, shown).await;
        page.assert_has(&["<code>ping</code>", ">Dead<", "Send all dead letters again", "Send again"]);
    }
    let retry = format!("{path}/retry");
    for form in [&[("delivery", &*dead)][..], &[]] {
        assert_eq!(desk.post(&cookie, &retry, form).await.status, 303);
        asked.recv().await.expect("it was sent again");
        assert_eq!(dead_letter(&desk, id).await.to_string(), dead);
    }
    for (delivery, status) in [("999", 404), ("x", 400)] {
        let refused = desk.post(&cookie, &retry, &[("delivery", delivery)]).await;
        assert_eq!(refused.status, status, "{}", refused.text);
    }

    let change = [("name", "Renamed"), ("url", &*url), ("insecure", "on"), ("all", "on"), ("unsigned", "on")];
    assert_eq!(desk.post(&cookie, &path, &change).await.status, 303);
    let page = desk.get(&cookie, &path).await;
    page.assert_has(&["Renamed", "Disabled", "<dt>Events</dt><dd>all</dd>", "<dt>Signed</dt><dd>no</dd>"]);
    let ping = desk.post(&cookie, &format!("{path}/ping"), &[]).await;
    assert_eq!(ping.status, 400, "{}", ping.text);
    ping.assert_has(&["is disabled"]);
    for (form, status, text) in [
        (&[("name", ""), ("url", &*url), ("insecure", "on")][..], 400, "name of a webhook"),
        (&[("name", "x"), ("url", "http://hooks.example.com")], 400, "AllowInsecureSsl"),
        (
            &[("name", "x"), ("url", &*url), ("insecure", "on"), ("event", "no.such")],
            400,
            "is not a type of events",
        ),
        (&[("name", "renamed"), ("url", &*url), ("insecure", "on")], 409, "already used"),
    ] {
        let refused = desk.post(&cookie, "/desk/webhooks", form).await;
        assert_eq!(refused.status, status, "{form:?}: {}", refused.text);
        refused.assert_has(&[text]);
    }
    for shown in [&*path, "/desk/webhooks", "/desk/audit"] {
        assert!(!desk.get(&cookie, shown).await.text.contains("hunter2"), "{shown}");
    }
    let deleted = desk.post(&cookie, &format!("{path}/delete"), &[]).await;
    assert_eq!((deleted.status, deleted.location()), (303, "/desk/webhooks"));
    assert_eq!(desk.get(&cookie, &path).await.status, 404);
}
