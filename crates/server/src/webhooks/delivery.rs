//! Sends what is kept for webhooks: of one webhook in its order, of several at the same time.
//!
//! A server takes the turn of a webhook for some seconds, sends until they are over, and then says what was delivered. If it ends in
//! the middle, what it did not say is sent again, by whoever takes the next turn: each event is delivered at least once.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior};

use super::Names;
use super::receiver::{REQUEST_LIMIT, Receivers};
use crate::Inner;
use crate::background::Task;
use performer_core::crash_point;
use performer_core::model::webhook::{Verdict, Webhook, WebhookId, verdict_of};
use performer_core::orchestrator::OrchestratorError;
use performer_store::{FailedDelivery, WebhookTurn};
use performer_wire::webhook::event_body;

/// How often it is looked whether something is to be sent.
const INTERVAL: Duration = Duration::from_secs(1);
/// No request of a turn is begun after this time.
const SENDING: Duration = Duration::from_secs(3);
/// How long a turn is: the last request ends before it does.
const TURN: Duration = SENDING.saturating_add(REQUEST_LIMIT).saturating_add(Duration::from_secs(2));
/// To how many webhooks is sent at the same time.
const MOST_AT_ONCE: usize = 16;

/// Sends to all webhooks for which something is kept. Other servers over the store may do the same.
pub(in super::super) async fn run(server: &Inner) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut busy: HashSet<WebhookId> = HashSet::new();
    let mut sending = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = server.webhooks_changed.notified() => {}
            Some(id) = sending.next(), if !sending.is_empty() => {
                busy.remove(&id);
            }
        }
        server.tasks.report_alive(Task::Webhooks);
        if sending.len() >= MOST_AT_ONCE {
            continue;
        }
        match server.store.due_webhooks().await {
            Ok(due) => {
                let free = due.into_iter().filter(|webhook| busy.insert(webhook.id));
                for webhook in free.take(MOST_AT_ONCE - sending.len()).collect::<Vec<_>>() {
                    sending.push(send_all(server, webhook));
                }
            }
            Err(error) => tracing::warn!(%error, "failed to look for webhooks"),
        }
    }
}

/// Sends to one webhook until nothing is left, or something fails.
async fn send_all(server: &Inner, webhook: Webhook) -> WebhookId {
    let mut version = webhook.progress.version;
    loop {
        match take_turn(server, webhook.id, version).await {
            Ok(Some(next)) => version = next,
            Ok(None) => return webhook.id,
            Err(error) => {
                let webhook_id = webhook.id;
                tracing::warn!(webhook = %webhook_id, %error, "failed to send to a webhook");
                return webhook.id;
            }
        }
    }
}

/// One turn. Returns the version of the webhook after it, if another turn may follow at once.
async fn take_turn(server: &Inner, id: WebhookId, version: u64) -> Result<Option<u64>, OrchestratorError> {
    let Some(turn) = server.store.take_webhook_turn(id, version, TURN).await? else { return Ok(None) };
    crash_point!("webhooks.after_turn");
    let WebhookTurn { webhook, secret, deliveries } = turn;
    let receivers: &Receivers = &server.receivers;
    let (began, mut delivered, mut failed) = (Instant::now(), Vec::new(), None);
    for (delivery, event) in deliveries {
        if began.elapsed() >= SENDING {
            break;
        }
        let body = {
            let directory = server.access.directory();
            event_body(&event, &Names(&directory)).to_string().into_bytes()
        };
        crash_point!("webhooks.before_send");
        let answer = receivers.send(&webhook.settings, secret.as_ref(), body).await;
        crash_point!("webhooks.after_send");
        let (verdict, error) = match answer {
            Ok(status) => (verdict_of(Some(status)), format!("the receiver answered {status}")),
            Err(error) => (verdict_of(None), error),
        };
        if verdict == Verdict::Delivered {
            delivered.push(delivery.id);
            continue;
        }
        tracing::warn!(webhook = %id, event = delivery.event_id, error, "an event could not be delivered");
        failed = Some(FailedDelivery { delivery: delivery.id, verdict, error });
        break;
    }
    crash_point!("webhooks.before_settle");
    let goes_on = failed.is_none();
    let version = webhook.progress.version;
    server.store.settle_webhook_turn(id, version, delivered, failed).await?;
    Ok(goes_on.then_some(version + 1))
}
