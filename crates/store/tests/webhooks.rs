//! Webhooks in every store: what is kept to be delivered, in which order, and who may send it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use performer_core::model::audit::AuditFilter;
use performer_core::model::clock::{Clock as _, ManualClock};
use performer_core::model::code::ErrorCode;
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::job::{JobEnd, JobState, NewJob};
use performer_core::model::key::FolderId;
use performer_core::model::queue::NewQueueDefinition;
use performer_core::model::result::TransactionResult;
use performer_core::model::review::ItemVersion;
use performer_core::model::webhook::{
    DeliveryId, DeliveryState, EventType, MAX_AGE, MAX_TRIES, MAX_WEBHOOKS, Verdict, Webhook, WebhookId,
    WebhookSecret, WebhookSettings,
};
use performer_core::orchestrator::{
    ClaimRequest, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report, Result,
};
use performer_proofs::named;
use performer_proofs::postgres::Schema;
use performer_store::{EncryptionKeys, FailedDelivery, Store, WebhookSelector, WebhookTurn};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

const URL: &str = "https://example.com/hook";
const TURN: Duration = Duration::from_secs(15);

/// Memory, a file and a database, with one clock.
async fn stores(folder: &Path, schema: &Schema, clock: &Arc<ManualClock>) -> Vec<Store> {
    vec![
        Store::memory_with_clock(clock.clone()),
        Store::sqlite_with_clock(folder.join("a.db"), clock.clone()).await.unwrap(),
        Store::postgres_with_clock(&schema.url, clock.clone())
            .await
            .unwrap()
            .with_encryption_keys(EncryptionKeys::random()),
    ]
}

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

fn settings(name: &str) -> WebhookSettings {
    WebhookSettings::new(name, URL)
}

fn to(name: &str, kinds: &[EventType]) -> WebhookSettings {
    let mut settings = settings(name);
    settings.subscribe_to_all_events = false;
    settings.events = kinds.iter().copied().collect();
    settings
}

async fn turn(store: &Store, id: WebhookId) -> Option<WebhookTurn> {
    let version = store.webhook(WebhookSelector::Id(id)).await.unwrap().progress.version;
    store.take_webhook_turn(id, version, TURN).await.unwrap()
}

/// Takes and settles turns until nothing waits: the events as they would be delivered.
async fn delivered(store: &Store, webhook: &Webhook) -> Vec<(String, Map<String, Value>)> {
    let mut all = Vec::new();
    while let Some(taken) = turn(store, webhook.id).await {
        let ids = taken.deliveries.iter().map(|(delivery, _)| delivery.id).collect();
        store.settle_webhook_turn(webhook.id, taken.webhook.progress.version, ids, None).await.unwrap();
        all.extend(taken.deliveries.into_iter().map(|(_, event)| (event.kind.to_string(), event.about)));
    }
    all
}

async fn names(store: &Store, webhook: &Webhook) -> Vec<String> {
    delivered(store, webhook).await.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn what_happens_to_items_queues_and_jobs_is_kept_in_its_order() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    for store in stores(folder.path(), &schema, &clock).await {
        let all = store.create_webhook(settings("All"), None).await.unwrap();
        let some = store.create_webhook(to("Some", &[EventType::ItemCompleted]), None).await.unwrap();
        let mut off = settings("Off");
        off.enabled = false;
        let off = store.create_webhook(off, None).await.unwrap();

        store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
        let job = store.start_job(NewJob::new("Invoices")).await.unwrap();
        for reference in ["a", "b", "c", "d"] {
            store.add_queue_item("Invoices", named(reference)).await.unwrap();
        }
        let ask = ClaimRequest::new("Invoices", job, 4);
        let claimed = store.report_and_claim(Vec::new(), Some(ask)).await.claimed.unwrap().items;
        let mut claims = claimed.into_iter().map(|claimed| claimed.claim);
        let fault = ProcessingException::new(ExceptionType::ApplicationException, "no answer", clock.now());
        let wrong = ProcessingException::new(ExceptionType::BusinessException, "no amount", clock.now());
        let ends = [
            TransactionResult::Successful { output: None },
            TransactionResult::Failed { exception: Some(wrong), defer_date: None },
            TransactionResult::Failed { exception: Some(fault), defer_date: None },
        ];
        for (claim, end) in claims.by_ref().zip(ends) {
            store.report_and_claim(vec![Report::new(claim, end)], None).await.reports.remove(0).unwrap();
        }
        store.end_job(job, JobEnd::new(JobState::Successful)).await.unwrap(); // d is abandoned

        let found = delivered(&store, &all).await;
        let mut kinds: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        // How many items one event of `added` has depends on how the adds fell into transactions.
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "queue.created",
                "job.started",
                "queueItem.added",
                "queueItem.transactionStarted",
                "queueItem.transactionCompleted",
                "queueItem.transactionFailed",
                "queueItem.retried",
                "job.completed",
                "queueItem.transactionAbandoned",
            ]
        );
        let added: Vec<&Value> = found
            .iter()
            .filter(|(name, _)| name == "queueItem.added")
            .flat_map(|(_, about)| about["QueueItems"].as_array().unwrap())
            .map(|item| &item["Reference"])
            .collect();
        assert_eq!(added, ["a", "b", "c", "d"]);
        let of = |wanted: &str| -> Vec<Value> {
            found
                .iter()
                .filter(|(name, _)| name == wanted)
                .map(|(_, about)| about["QueueItem"].clone())
                .collect()
        };
        let started = of("queueItem.transactionStarted");
        assert_eq!(started.len(), 4);
        assert!(started.iter().all(|item| item["Status"] == "InProgress"), "{started:?}");
        let done = of("queueItem.transactionCompleted");
        assert_eq!(
            (done.len(), &done[0]["Status"], &done[0]["Reference"]),
            (1, &json!("Successful"), &json!("a"))
        );
        let failed = of("queueItem.transactionFailed");
        let reasons: Vec<&Value> = failed.iter().map(|item| &item["ProcessingException"]["Reason"]).collect();
        assert_eq!(reasons, ["no amount", "no answer"]);

        assert_eq!(names(&store, &some).await, ["queueItem.transactionCompleted"]);
        assert_eq!(names(&store, &off).await, [""; 0]);
        let after = store.webhook(WebhookSelector::Name("ALL".to_owned())).await.unwrap();
        assert_eq!(after.progress.delivered, found.len() as u64);
    }
}

#[tokio::test]
async fn edits_reviews_and_deletions_are_told_too_and_refusals_are_not() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    for store in stores(folder.path(), &schema, &clock).await {
        store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
        let added = store.add_queue_item("Invoices", named("a")).await.unwrap();
        let webhook = store.create_webhook(settings("All"), None).await.unwrap();
        assert_eq!(code(store.add_queue_item("Nowhere", named("a")).await), 1002);
        assert_eq!(
            names(&store, &webhook).await,
            [""; 0],
            "a refusal changes nothing, and what was before is not told"
        );
        let version = ItemVersion { id: added.id, row_version: added.row_version };
        assert!(store.delete_queue_items(vec![version]).await.unwrap().is_empty());
        store.update_queue("Invoices", NewQueueDefinition::new("Bills")).await.unwrap();
        store.delete_queue("Bills").await.unwrap();
        let found = delivered(&store, &webhook).await;
        let kinds: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(kinds, ["queueItem.deleted", "queue.updated", "queue.deleted"]);
        assert_eq!(found[2].1["Queues"][0]["Name"], "Bills");
        assert_eq!(found[2].1["Folders"], json!([FolderId::SHARED.0]));
    }
}

#[tokio::test]
async fn one_server_at_a_time_has_the_turn_of_a_webhook() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    for store in stores(folder.path(), &schema, &clock).await {
        let webhook = store.create_webhook(settings("All"), Some("s3cret".to_owned().into())).await.unwrap();
        assert!(webhook.has_secret);
        assert!(store.due_webhooks().await.unwrap().is_empty(), "there is nothing to send");
        let ping = store.ping_webhook(webhook.id).await.unwrap();
        store.trigger_webhooks(json!({"Invoice": 7}).as_object().unwrap().clone()).await.unwrap();
        assert_eq!(store.due_webhooks().await.unwrap().len(), 1);

        let taken = turn(&store, webhook.id).await.unwrap();
        assert_eq!(taken.secret.as_ref().unwrap().expose_secret(), "s3cret");
        assert_eq!(taken.deliveries.len(), 2);
        assert_eq!(taken.deliveries[0].1, ping);
        assert!(store.due_webhooks().await.unwrap().is_empty());
        assert!(turn(&store, webhook.id).await.is_none(), "another server has it");
        let stale = store.take_webhook_turn(webhook.id, webhook.progress.version, TURN).await.unwrap();
        assert!(stale.is_none(), "it has another version now");

        // That server is gone: another one sends the same again.
        clock.advance(TURN);
        let again = turn(&store, webhook.id).await.unwrap();
        let ids = |taken: &WebhookTurn| -> Vec<DeliveryId> {
            taken.deliveries.iter().map(|(delivery, _)| delivery.id).collect()
        };
        assert_eq!(ids(&again), ids(&taken));
        // The first one was only slow: what it has delivered is not sent a third time, and the turn stays the other one's.
        let version = taken.webhook.progress.version;
        store.settle_webhook_turn(webhook.id, version, ids(&taken)[..1].to_vec(), None).await.unwrap();
        assert!(turn(&store, webhook.id).await.is_none());
        let left = store.webhook_deliveries(webhook.id, None, DeliveryId(0), 10).await.unwrap();
        assert_eq!(left.iter().map(|delivery| delivery.event_type).collect::<Vec<_>>(), [EventType::Custom]);
    }
}

async fn fail(store: &Store, id: WebhookId, verdict: Verdict) {
    let taken = turn(store, id).await.expect("a turn");
    let failed = FailedDelivery {
        delivery: taken.deliveries[0].0.id,
        verdict,
        error: "the receiver answered 503".to_owned(),
    };
    store.settle_webhook_turn(id, taken.webhook.progress.version, Vec::new(), Some(failed)).await.unwrap();
}

#[tokio::test]
async fn failures_are_tried_again_later_and_are_dead_letters_in_the_end() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    for store in stores(folder.path(), &schema, &clock).await {
        let webhook = store.create_webhook(settings("All"), None).await.unwrap();
        let id = webhook.id;
        for _ in 0..2 {
            store.ping_webhook(id).await.unwrap();
        }
        for tries in 1..=MAX_TRIES {
            fail(&store, id, Verdict::Again).await;
            assert!(turn(&store, id).await.is_none(), "it waits after try {tries}");
            clock.advance(Duration::from_secs(600));
        }
        let list = async |state| store.webhook_deliveries(id, Some(state), DeliveryId(0), 10).await.unwrap();
        let dead = list(DeliveryState::Dead).await;
        assert_eq!((dead.len(), dead[0].tries), (1, MAX_TRIES));
        assert_eq!(dead[0].error.as_deref(), Some("the receiver answered 503"));
        let next = list(DeliveryState::Waiting).await;
        assert_eq!((next.len(), next[0].tries), (1, 0), "the next one has its own tries");
        // A body that the receiver does not take keeps nobody waiting.
        fail(&store, id, Verdict::Refused).await;
        assert_eq!(list(DeliveryState::Dead).await.len(), 2);

        assert_eq!(code(store.retry_webhook_deliveries(id, Some(vec![DeliveryId(999)])).await), 1002);
        assert_eq!(store.retry_webhook_deliveries(id, Some(vec![dead[0].id])).await.unwrap(), 1);
        assert_eq!(names(&store, &webhook).await, ["ping"]);
        assert_eq!(store.retry_webhook_deliveries(id, None).await.unwrap(), 1);
        assert_eq!(names(&store, &webhook).await, ["ping"]);
        assert_eq!(store.retry_webhook_deliveries(id, None).await.unwrap(), 0);

        // What is too old is not sent any more, even if it was never tried.
        store.ping_webhook(id).await.unwrap();
        clock.advance(MAX_AGE);
        assert!(turn(&store, id).await.is_none());
        assert_eq!(list(DeliveryState::Dead).await.len(), 1);
        store.trust_clock();
        assert_eq!(store.remove_old_deliveries(async || ()).await.unwrap(), 0);
        clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
        store.trust_clock();
        assert_eq!(store.remove_old_deliveries(async || ()).await.unwrap(), 1);
        assert!(list(DeliveryState::Dead).await.is_empty());
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_no_more() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    for store in stores(folder.path(), &schema, &clock).await {
        let webhook = store.create_webhook(settings("All"), None).await.unwrap();
        store.ping_webhook(webhook.id).await.unwrap();
        fail(&store, webhook.id, Verdict::Gone).await;
        let off = store.webhook(WebhookSelector::Id(webhook.id)).await.unwrap();
        assert!(!off.settings.enabled);
        assert_eq!(code(store.ping_webhook(webhook.id).await), 1009);
        store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
        clock.advance(Duration::from_secs(3_600));
        assert!(store.due_webhooks().await.unwrap().is_empty());
        let mut settings = off.settings;
        settings.enabled = true;
        store.replace_webhook(webhook.id, settings, WebhookSecret::Keep).await.unwrap();
        assert_eq!(
            names(&store, &webhook).await,
            ["ping"],
            "what waited is sent, and what happened meanwhile is not"
        );
        let acts: Vec<String> = store
            .audit(AuditFilter::default())
            .await
            .unwrap()
            .into_iter()
            .map(|record| record.entry.act.to_string())
            .filter(|act| act.starts_with("Webhook"))
            .collect();
        assert_eq!(acts, ["WebhookEdited", "WebhookEdited", "WebhookCreated"]);
    }
}

#[tokio::test]
async fn settings_are_checked_and_secrets_are_nowhere_in_clear() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    for store in stores(folder.path(), &schema, &clock).await {
        let secret = || Some("hunter2-hunter2".to_owned().into());
        let webhook = store.create_webhook(settings("One"), secret()).await.unwrap();
        assert_eq!(code(store.create_webhook(settings("ONE"), None).await), 1001);
        assert_eq!(code(store.create_webhook(WebhookSettings::new("x", "ftp://x"), None).await), 1009);
        assert_eq!(code(store.create_webhook(settings("x"), Some("s".repeat(101).into())).await), 1009);
        assert_eq!(code(store.webhook(WebhookSelector::Id(WebhookId(999))).await), 1002);
        assert_eq!(code(store.delete_webhook(WebhookId(999)).await), 1002);
        let missing = store.replace_webhook(WebhookId(999), settings("x"), WebhookSecret::Keep).await;
        assert_eq!(code(missing), 1002);
        assert_eq!(code(store.webhook_deliveries(WebhookId(999), None, DeliveryId(0), 1).await), 1002);
        let big = json!({"x": "x".repeat(1_000_000)}).as_object().unwrap().clone();
        assert_eq!(code(store.trigger_webhooks(big).await), 1009);

        let secret_of = async || {
            store.ping_webhook(webhook.id).await.unwrap();
            clock.advance(TURN);
            turn(&store, webhook.id).await.unwrap().secret.map(|secret| secret.expose_secret().to_owned())
        };
        let replace =
            async |secret| store.replace_webhook(webhook.id, settings("One"), secret).await.unwrap();
        assert_eq!(secret_of().await.as_deref(), Some("hunter2-hunter2"));
        assert!(replace(WebhookSecret::Keep).await.has_secret);
        assert_eq!(secret_of().await.as_deref(), Some("hunter2-hunter2"));
        replace(WebhookSecret::Set("another".to_owned().into())).await;
        assert_eq!(secret_of().await.as_deref(), Some("another"));
        assert!(!replace(WebhookSecret::Remove).await.has_secret);
        assert_eq!(secret_of().await, None);

        for number in 1..MAX_WEBHOOKS {
            store.create_webhook(settings(&format!("W{number}")), None).await.unwrap();
        }
        assert_eq!(code(store.create_webhook(settings("One more"), None).await), 1009);
        store.delete_webhook(webhook.id).await.unwrap();
        assert_eq!(store.webhooks().await.unwrap().len(), MAX_WEBHOOKS - 1);
        let audit = format!("{:?}", store.audit(AuditFilter::default()).await.unwrap());
        assert!(audit.contains("Secret") && !audit.contains("hunter2") && !audit.contains("another"));
    }
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"hunter2"), "the secret is in a file in clear");
    }
}

#[tokio::test]
async fn secrets_of_webhooks_are_encrypted_anew_with_another_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let store = Store::sqlite(&file).await.unwrap();
    let webhook = store.create_webhook(settings("One"), Some("s3cret".to_owned().into())).await.unwrap();
    let rotation = store.rotate_encryption_key().await.unwrap();
    assert_eq!((rotation.encrypted, rotation.left.len()), (1, 0));
    assert!(rotation.cleaned.is_some(), "the key before is not needed any more");
    let again = Store::sqlite(&file).await.unwrap();
    again.ping_webhook(webhook.id).await.unwrap();
    assert_eq!(turn(&again, webhook.id).await.unwrap().secret.unwrap().expose_secret(), "s3cret");
}

/// Two processes, as far as a store can tell.
#[tokio::test]
async fn another_process_tells_a_new_webhook_within_a_second() {
    let (folder, schema, clock) = (
        tempfile::tempdir().unwrap(),
        Schema::new(),
        Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap())),
    );
    let file = folder.path().join("a.db");
    let pairs = [
        (
            Store::sqlite_with_clock(&file, clock.clone()).await.unwrap(),
            Store::sqlite_with_clock(&file, clock.clone()).await.unwrap(),
        ),
        (
            Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(),
            Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(),
        ),
    ];
    for (one, other) in pairs {
        other.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap(); // it knows that there are none
        let webhook = one.create_webhook(to("Added", &[EventType::ItemAdded]), None).await.unwrap();
        clock.advance(Duration::from_secs(1));
        other.add_queue_item("Invoices", named("a")).await.unwrap();
        assert_eq!(names(&one, &webhook).await, ["queueItem.added"]);
        one.add_queue_item("Invoices", named("b")).await.unwrap();
        assert_eq!(
            names(&other, &webhook).await,
            ["queueItem.added"],
            "the one that made it knows it at once"
        );
    }
}
