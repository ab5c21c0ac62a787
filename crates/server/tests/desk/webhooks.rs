//! Webhooks on the desk: added, tested, changed and deleted; dead letters sent again; a secret is written and never shown.

use std::time::Duration;

use performer::model::webhook::{DeliveryId, DeliveryState, Verdict, WebhookId};
use performer::orchestrator::store::{FailedDelivery, WebhookSelector};

use crate::Desk;

const HOOK: &str = "https://hooks.example.com/x";

/// Has the receiver of a webhook refuse its next delivery, as a server says that sends.
async fn refuse_next(desk: &Desk, id: WebhookId) -> DeliveryId {
    let store = &desk.served.store;
    let version = store.webhook(WebhookSelector::Id(id)).await.unwrap().progress.version;
    let turn = store.take_webhook_turn(id, version, Duration::from_secs(60)).await.unwrap().expect("a turn");
    let delivery = turn.deliveries[0].0.id;
    let failed =
        FailedDelivery { delivery, verdict: Verdict::Refused, error: "the receiver answered <b>".to_owned() };
    let version = turn.webhook.progress.version;
    store.settle_webhook_turn(id, version, Vec::new(), Some(failed)).await.unwrap();
    delivery
}

/// What becomes of what was not delivered.
async fn states(desk: &Desk, id: WebhookId) -> Vec<DeliveryState> {
    let found = desk.served.store.webhook_deliveries(id, None, DeliveryId(0), 10).await.unwrap();
    found.into_iter().map(|delivery| delivery.state).collect()
}

#[tokio::test]
async fn a_webhook_is_added_tested_changed_and_deleted() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    desk.get(&cookie, "/desk/webhooks").await.assert_has(&["There is no webhook."]);
    let form = [
        ("name", "Alerts <b>"),
        ("url", HOOK),
        ("enabled", "on"),
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
        HOOK,
        "job.faulted, custom",
        "<dt>Signed</dt><dd>yes</dd>",
        "Nothing waits.",
    ]);
    let id = WebhookId(path.rsplit('/').next().unwrap().parse().unwrap());

    assert_eq!(desk.post(&cookie, &format!("{path}/ping"), &[]).await.status, 303);
    desk.get(&cookie, &path).await.assert_has(&["<code>ping</code>", ">Waiting<"]);
    let retry = format!("{path}/retry");
    for named in [true, false] {
        let dead = refuse_next(&desk, id).await.to_string();
        assert_eq!(states(&desk, id).await, [DeliveryState::Dead]);
        for shown in [&path, &format!("{path}?dead=1")] {
            let page = desk.get(&cookie, shown).await;
            page.assert_has(&[">Dead<", "answered &#60;b&#62;", "Send all dead letters again", "Send again"]);
        }
        let form = [("delivery", &*dead)];
        let form = if named { &form[..] } else { &[] };
        assert_eq!(desk.post(&cookie, &retry, form).await.status, 303);
        assert_eq!(states(&desk, id).await, [DeliveryState::Waiting]);
    }
    for (delivery, status) in [("999", 404), ("x", 400)] {
        let refused = desk.post(&cookie, &retry, &[("delivery", delivery)]).await;
        assert_eq!(refused.status, status, "{}", refused.text);
    }

    let change = [("name", "Renamed"), ("url", HOOK), ("all", "on"), ("unsigned", "on")];
    assert_eq!(desk.post(&cookie, &path, &change).await.status, 303);
    let page = desk.get(&cookie, &path).await;
    page.assert_has(&["Renamed", "Disabled", "<dt>Events</dt><dd>all</dd>", "<dt>Signed</dt><dd>no</dd>"]);
    let ping = desk.post(&cookie, &format!("{path}/ping"), &[]).await;
    assert_eq!(ping.status, 400, "{}", ping.text);
    ping.assert_has(&["is disabled"]);
    for (form, status, text) in [
        (&[("name", ""), ("url", HOOK)][..], 400, "name of a webhook"),
        (&[("name", "x"), ("url", "http://hooks.example.com")], 400, "AllowInsecureSsl"),
        (&[("name", "x"), ("url", HOOK), ("event", "no.such")], 400, "is not a type of events"),
        (&[("name", "renamed"), ("url", HOOK)], 409, "already used"),
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
