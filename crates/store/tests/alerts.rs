//! Alerts in every store: what raises them, who has read them, and how long they are kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use performer_core::model::alert::{Alert, AlertFilter, AlertSeverity, MAX_ALERTS, NewAlert};
use performer_core::model::clock::ManualClock;
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::item::NewQueueItem;
use performer_core::model::job::{JobEnd, JobState, NewJob};
use performer_core::model::key::{AlertKey, Claim, FolderId, JobKey};
use performer_core::model::queue::{NewQueueDefinition, QueueNotes, QueuePolicy};
use performer_core::model::result::TransactionResult;
use performer_core::orchestrator::{
    ClaimRequest, ErrorKind, Insight as _, Orchestrator as _, QueueAdministration as _, Report,
};
use performer_proofs::postgres::Schema;
use performer_store::Store;
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Memory, a file and a database, with one clock.
async fn stores(folder: &Path, schema: &Schema, clock: &Arc<ManualClock>) -> Vec<Store> {
    let stores = vec![
        Store::memory_with_clock(clock.clone()),
        Store::sqlite_with_clock(folder.join("a.db"), clock.clone()).await.unwrap(),
        Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(),
    ];
    for store in &stores {
        store.trust_clock();
    }
    stores
}

/// The alerts as code, component and message, the oldest first.
async fn told(store: &Store) -> Vec<(u64, String, String)> {
    let all = store.alerts(AlertFilter::default()).await.unwrap();
    let of = |alert: &Alert| {
        let code = alert.content.data.get("Code").and_then(Value::as_u64).unwrap_or_default();
        (code, alert.content.component.clone(), alert.message().to_owned())
    };
    all.iter().rev().map(of).collect()
}

async fn codes(store: &Store) -> Vec<u64> {
    told(store).await.into_iter().map(|(code, ..)| code).collect()
}

async fn job(store: &Store, queue: &str) -> JobKey {
    let new = NewJob::new(queue).machine("m1").lease(6 * SECOND);
    store.start_job(new).await.unwrap()
}

async fn claim(store: &Store, job: JobKey, queue: &str) -> Claim {
    let answer = store.report_and_claim(Vec::new(), Some(ClaimRequest::new(queue, job, 1))).await;
    answer.claimed.unwrap().items.swap_remove(0).claim
}

async fn report(store: &Store, claim: Claim, kind: ExceptionType) {
    let exception = ProcessingException::new(kind, "the password of ann is wrong", Timestamp::UNIX_EPOCH);
    let end = TransactionResult::Failed { exception: Some(exception), defer_date: None };
    store.report_and_claim(vec![Report::new(claim, end)], None).await.reports.swap_remove(0).unwrap();
}

/// Claims the next item and lets it fail.
async fn fail(store: &Store, job: JobKey, queue: &str, kind: ExceptionType) {
    let claim = claim(store, job, queue).await;
    report(store, claim, kind).await;
}

fn item() -> NewQueueItem {
    NewQueueItem::new(serde_json::json!({}))
}

#[tokio::test]
async fn what_somebody_should_look_at_is_raised_in_its_commit() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = Arc::new(ManualClock::new(performer_proofs::start_of_time()));
    for store in stores(folder.path(), &schema, &clock).await {
        let policy = QueuePolicy::default().max_number_of_retries(1);
        store.create_queue(NewQueueDefinition::new("Q").policy(policy)).await.unwrap();
        for _ in 0..2 {
            store.add_queue_item("Q", item()).await.unwrap();
        }
        let key = job(&store, "Q").await;
        // A retry follows, then none; the rules of a business exception need nobody.
        fail(&store, key, "Q", ExceptionType::BusinessException).await;
        fail(&store, key, "Q", ExceptionType::ApplicationException).await;
        assert_eq!(codes(&store).await, [0; 0]);
        fail(&store, key, "Q", ExceptionType::ApplicationException).await;
        let alerts = told(&store).await;
        assert_eq!((alerts.len(), alerts[0].0, &*alerts[0].1), (1, 1856, "Transactions"), "{alerts:?}");
        assert!(!alerts[0].2.contains("password"), "a reason may quote what is personal: {alerts:?}");

        store.end_job(key, JobEnd::new(JobState::Faulted).info("out of memory")).await.unwrap();
        let successful = job(&store, "Q").await;
        store.end_job(successful, JobEnd::new(JobState::Successful)).await.unwrap();
        assert_eq!(codes(&store).await, [1856, 1680]);
        assert!(told(&store).await[1].2.contains("out of memory"));

        let silent = job(&store, "Q").await;
        // It is suspected for a whole lease first.
        let mut swept = Vec::new();
        for _ in 0..15 {
            clock.advance(SECOND);
            swept.extend(store.sweep().await.unwrap().jobs);
        }
        assert_eq!(swept, [silent]);
        assert_eq!(codes(&store).await, [1856, 1680, 1222, 1680]);
        let alert = store.alerts(AlertFilter::default()).await.unwrap().swap_remove(0);
        assert_eq!(alert.content.data["JobKey"], silent.to_string());
        assert_eq!((alert.severity, alert.folder), (AlertSeverity::Error, Some(FolderId::SHARED)));
    }
}

#[tokio::test]
async fn a_repeated_report_raises_nothing() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = Arc::new(ManualClock::new(performer_proofs::start_of_time()));
    for store in stores(folder.path(), &schema, &clock).await {
        store
            .create_queue(
                NewQueueDefinition::new("Q").policy(QueuePolicy::default().max_number_of_retries(0)),
            )
            .await
            .unwrap();
        store.add_queue_item("Q", item()).await.unwrap();
        let key = job(&store, "Q").await;
        let claim = claim(&store, key, "Q").await;
        for _ in 0..2 {
            // The second one is a repeat.
            report(&store, claim, ExceptionType::ApplicationException).await;
        }
        let alerts = store.alerts(AlertFilter::default()).await.unwrap();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(
            (&alerts[0].content.data["Count"], &alerts[0].content.data["QueueName"]),
            (&1.into(), &"Q".into())
        );
    }
}

#[tokio::test]
async fn a_robot_that_does_not_report_is_told() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = Arc::new(ManualClock::new(performer_proofs::start_of_time()));
    for store in stores(folder.path(), &schema, &clock).await {
        store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        store.add_queue_item("Q", item()).await.unwrap();
        let key = store.start_job(NewJob::new("Q").lease(DAY)).await.unwrap();
        let claimed = claim(&store, key, "Q").await;
        for _ in 0..3 {
            clock.advance(DAY / 2);
            store.beat(key).await.unwrap();
        }
        store.sweep().await.unwrap();
        let alerts = store.alerts(AlertFilter::default()).await.unwrap();
        let [alert] = &alerts[..] else { panic!("{alerts:?}") };
        assert_eq!(
            (&alert.content.data["Code"], &alert.content.data["ItemIds"]),
            (&1223.into(), &serde_json::json!([claimed.item.0]))
        );
    }
}

#[tokio::test]
async fn items_that_miss_the_sla_of_their_queue_are_told_once_an_hour() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = Arc::new(ManualClock::new(performer_proofs::start_of_time()));
    for store in stores(folder.path(), &schema, &clock).await {
        let notes = QueueNotes::default().sla_in_minutes(60).risk_sla_in_minutes(40).release_id(1);
        store.create_queue(NewQueueDefinition::new("Q").notes(notes)).await.unwrap();
        store.create_queue(NewQueueDefinition::new("Without")).await.unwrap();
        let due = performer_core::model::clock::Clock::now(&*clock) + Duration::from_secs(3_600);
        for queue in ["Q", "Without"] {
            let item = item().due_date(due);
            store.add_queue_item(queue, item).await.unwrap();
        }
        let minutes = |minutes: u64| clock.advance(Duration::from_secs(minutes * 60));
        assert_eq!(store.check_service_levels().await.unwrap(), 0);
        minutes(41);
        assert_eq!(store.check_service_levels().await.unwrap(), 1);
        minutes(1);
        assert_eq!(store.check_service_levels().await.unwrap(), 0, "it was raised a minute ago");
        minutes(20);
        assert_eq!(store.check_service_levels().await.unwrap(), 1);
        assert_eq!(codes(&store).await, [1863, 1864]);
        minutes(59);
        assert_eq!(store.check_service_levels().await.unwrap(), 0);
        minutes(1);
        assert_eq!(store.check_service_levels().await.unwrap(), 1, "it still waits");
        let key = job(&store, "Q").await;
        claim(&store, key, "Q").await;
        minutes(120);
        assert_eq!(store.check_service_levels().await.unwrap(), 0, "nothing waits");
    }
}

fn raised(folder: i64, message: &str) -> NewAlert {
    NewAlert::of_process(AlertSeverity::Fatal, FolderId(folder), ("P", "R"), message).unwrap()
}

#[tokio::test]
async fn each_user_reads_alerts_of_own_folders() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = Arc::new(ManualClock::new(performer_proofs::start_of_time()));
    for store in stores(folder.path(), &schema, &clock).await {
        let all = Some(vec![FolderId(1), FolderId(2)]);
        let user = |user: i64, folder: i64| store.in_scope(FolderId(folder), Some(user));
        for (folder, message) in [(1, "a"), (2, "b"), (1, "c")] {
            store.raise_alert(raised(folder, message)).await.unwrap();
            clock.advance(SECOND);
        }
        let unread = AlertFilter::default;
        let messages = |alerts: Vec<Alert>| -> Vec<String> {
            alerts.iter().map(|alert| alert.message().to_owned()).collect()
        };
        assert_eq!(messages(store.alerts(unread()).await.unwrap()), ["c", "b", "a"]);
        let own = user(7, 1).list_alerts(unread()).await.unwrap();
        assert!(own.iter().all(|alert| !alert.is_read));
        let keys: Vec<AlertKey> = own.iter().map(|alert| alert.key).collect();
        assert_eq!(messages(own), ["c", "a"]);
        let other = store.alerts(unread()).await.unwrap()[1].key;
        // What is in another folder, or nowhere, is passed over.
        let nowhere: AlertKey = "0b4d3c1e-0000-4000-8000-000000000000".parse().unwrap();
        assert_eq!(user(7, 1).mark_alerts_read(vec![keys[0], other, nowhere]).await.unwrap(), 1);
        assert_eq!(user(7, 1).mark_alerts_read(vec![keys[0]]).await.unwrap(), 1, "a repeat changes nothing");
        let mut filter = unread();
        filter.unread = true;
        assert_eq!(messages(user(7, 1).list_alerts(filter.clone()).await.unwrap()), ["a"]);
        assert_eq!(store.in_scope(FolderId(1), Some(7)).unread_alerts(all.clone()).await.unwrap(), 2);
        assert_eq!(user(8, 1).unread_alerts(all).await.unwrap(), 3, "another user has read none");
        assert_eq!(store.unread_alerts(None).await.unwrap(), 3);
        assert_eq!(store.mark_alerts_read(keys).await.unwrap(), 1);
        filter.limit = 10_001;
        assert_eq!(store.alerts(filter).await.unwrap_err().kind(), ErrorKind::Invalid);
        let many = vec![nowhere; 1_001];
        assert_eq!(store.mark_alerts_read(many).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn old_alerts_are_removed_and_so_are_too_many() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    let clock = Arc::new(ManualClock::new(performer_proofs::start_of_time()));
    for store in stores(folder.path(), &schema, &clock).await {
        store.raise_alert(raised(1, "old")).await.unwrap();
        let key = store.alerts(AlertFilter::default()).await.unwrap()[0].key;
        store.read_alerts(vec![key], None).await.unwrap();
        clock.advance(30 * DAY);
        assert_eq!(store.remove_alerts(30, 100).await.unwrap(), 0);
        clock.advance(SECOND);
        store.raise_alert(raised(1, "new")).await.unwrap();
        assert_eq!(store.remove_alerts(30, 100).await.unwrap(), 1);
        let left = store.alerts(AlertFilter::default()).await.unwrap();
        assert_eq!(left.iter().map(|alert| alert.message()).collect::<Vec<_>>(), ["new"]);
    }
    // In memory, where so many are made quickly.
    let store = Store::memory_with_clock(clock);
    for number in 0..MAX_ALERTS + 3 {
        store.raise_alert(raised(1, &number.to_string())).await.unwrap();
    }
    assert_eq!(store.remove_alerts(30, 2).await.unwrap(), 2);
    assert_eq!(store.remove_alerts(30, 2).await.unwrap(), 1);
    let left = store.unread_alerts(None).await.unwrap();
    assert_eq!(left, MAX_ALERTS);
}
