//! A store is looked at from outside: what it is, what a check finds when another program has changed rows, and a copy.
#![cfg(feature = "sqlite")]

use std::path::Path;

use performer::jiff::Timestamp;
use performer::model::{
    AssetValue, LimitsEdit, NewAsset, NewValue, ReviewStatus, TransactionResult, ValueOf,
};
use performer::orchestrator::store::Store;
use performer::orchestrator::store::inspection::{CheckReport, Engine, StoreInspector};
use performer::orchestrator::{
    AssetAdministration as _, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
    ReviewAdministration as _,
};
use performer::{ErrorKind, ItemId, JobKey, NewQueueDefinition, QueuePolicy};
use performer_proofs::*;

async fn report(store: &Store, job: JobKey, result: TransactionResult) -> ItemId {
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    let claimed = taken.items.into_iter().next().unwrap();
    let answers = store.report_and_claim(vec![Report::new(claimed.claim, result)], None).await;
    answers.reports.into_iter().next().unwrap().unwrap();
    claimed.item.id
}

fn later() -> Timestamp {
    "2126-01-01T00:00:00Z".parse().unwrap()
}

/// Items in every state, some of groups and some postponed, and a queue that was deleted.
async fn filled(store: &Store) {
    let policy = QueuePolicy::default().max_number_of_retries(1).enforce_unique_reference(true);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    for n in 0..20 {
        store.add_queue_item(QUEUE, named(&format!("item {n}"))).await.unwrap();
    }
    for n in 0..3 {
        let item = named(&format!("later {n}")).due_date(later()).defer_date(later());
        store.add_queue_item(QUEUE, item).await.unwrap();
    }
    let job = store.start_job(new_job()).await.unwrap();
    report(store, job, ok()).await;
    let failed = report(store, job, business("the customer is unknown")).await;
    report(store, job, business("the customer is unknown")).await;
    report(store, job, application("the ledger did not answer")).await;
    report(store, job, TransactionResult::GivenBack).await;
    report(store, job, postponed(later())).await;
    let reviewed = store.get_queue_item(failed).await.unwrap().version();
    assert!(store.set_review_status(ReviewStatus::Retried, vec![reviewed]).await.unwrap().0.is_empty());
    let deleted = store.get_queue_item(ItemId(18)).await.unwrap().version();
    assert!(store.delete_queue_items(vec![deleted]).await.unwrap().0.is_empty());
    store.report_and_claim(Vec::new(), Some(take(job, 2))).await.claimed.unwrap();

    store.create_queue(NewQueueDefinition::new("Groups")).await.unwrap();
    let one_each = LimitsEdit::default().max_in_progress_per_group(1).fair(true);
    store.edit_queue_limits("Groups", one_each).await.unwrap();
    for n in 0..12 {
        let item = named(&format!("grouped {n}")).group(format!("group {}", n % 3));
        store.add_queue_item("Groups", item).await.unwrap();
    }
    store.create_queue(NewQueueDefinition::new("Deleted")).await.unwrap();
    store.add_queue_item("Deleted", named("gone")).await.unwrap();
    store.delete_queue("Deleted").await.unwrap();
    let value = NewValue::plain(ValueOf::Everybody, AssetValue::Bool(true));
    store.create_asset(NewAsset::global("Enabled", value)).await.unwrap();
}

/// What another program may do, and the name of what does not hold afterwards. Each is undone.
const DAMAGES: [(&str, &str, &str); 16] = [
    (
        "DELETE FROM {schema}.item_deferred WHERE item_id = 21",
        "INSERT INTO {schema}.item_deferred SELECT * FROM {schema}.kept_row",
        "new-items-wait-once",
    ),
    (
        "UPDATE {schema}.item_state SET status = 3 WHERE item_id = 5",
        "UPDATE {schema}.item_state SET status = 0 WHERE item_id = 5",
        "only-new-items-wait",
    ),
    (
        "UPDATE {schema}.item_deferred SET rank = 5 WHERE item_id = 21",
        "UPDATE {schema}.item_deferred SET rank = 1 WHERE item_id = 21",
        "waiting-items-have-their-place",
    ),
    (
        "UPDATE {schema}.item_review SET review_status = 2 WHERE item_id = 3",
        "UPDATE {schema}.item_review SET review_status = 0 WHERE item_id = 3",
        "items-to-review-are-listed",
    ),
    (
        "UPDATE {schema}.item_review SET status = 4 WHERE item_id = 3",
        "UPDATE {schema}.item_review SET status = 2 WHERE item_id = 3",
        "only-items-to-review-are-listed",
    ),
    (
        "UPDATE {schema}.queue_statistics SET successful = successful + 1 WHERE queue_id = 1",
        "UPDATE {schema}.queue_statistics SET successful = successful - 1 WHERE queue_id = 1",
        "statistics-count-the-items",
    ),
    (
        "UPDATE {schema}.{reasons} SET open = open + 1",
        "UPDATE {schema}.{reasons} SET open = open - 1",
        "reasons-count-their-open-items",
    ),
    (
        "UPDATE {schema}.job SET end_time = start_time",
        "UPDATE {schema}.job SET end_time = NULL",
        "ended-jobs-hold-nothing",
    ),
    (
        "UPDATE {schema}.item SET reference = 'item 11' WHERE id = 11",
        "UPDATE {schema}.item SET reference = 'item 10' WHERE id = 11",
        "references-are-unique",
    ),
    (
        "UPDATE {schema}.item_exception SET item_id = 9999 WHERE item_id = 3",
        "UPDATE {schema}.item_exception SET item_id = 3 WHERE item_id = 9999",
        "rows-belong-to-items",
    ),
    (
        "UPDATE {schema}.asset_folder SET asset_id = 9999 WHERE asset_id = 1",
        "UPDATE {schema}.asset_folder SET asset_id = 1 WHERE asset_id = 9999",
        "assets-are-in-folders",
    ),
    (
        "UPDATE {schema}.item_review SET reference = 'another' WHERE item_id = 3",
        "UPDATE {schema}.item_review SET reference = 'item 2' WHERE item_id = 3",
        "only-items-to-review-are-listed",
    ),
    (
        "UPDATE {schema}.item_grouped SET place = 0 WHERE item_id = (SELECT min(item_id) FROM {schema}.item_grouped WHERE place IS NULL)",
        "UPDATE {schema}.item_grouped SET place = NULL WHERE item_id = \
         (SELECT min(item_id) FROM {schema}.item_grouped AS grouped WHERE place IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM {schema}.item_ready WHERE item_ready.item_id = grouped.item_id))",
        "groups-keep-their-limit",
    ),
    (
        "UPDATE {schema}.queue SET limits = replace(limits, '\"maxInProgressPerGroup\":1', '\"maxInProgressPerGroup\":2')",
        "UPDATE {schema}.queue SET limits = replace(limits, '\"maxInProgressPerGroup\":2', '\"maxInProgressPerGroup\":1')",
        "groups-use-their-slots",
    ),
    (
        "UPDATE {schema}.item_grouped SET place = place + 1000 WHERE place IS NOT NULL",
        "UPDATE {schema}.item_grouped SET place = place - 1000 WHERE place IS NOT NULL",
        "slots-are-held-by-ready-items",
    ),
    ("SELECT 1", "SELECT 1", ""),
];

fn names(report: &CheckReport) -> Vec<&str> {
    report.violations.iter().map(|violation| &*violation.name).collect()
}

/// The check finds what each damage breaks, and nothing before and after it. `reasons`: the table that counts open items. `own`: what only
/// this database can have.
async fn each_damage_is_found(url: &str, reasons: &str, own: (&str, &str, &str), execute: impl Fn(&str)) {
    filled(&Store::open(url).await.unwrap()).await;
    let inspector = StoreInspector::new(url).unwrap();
    let sound = inspector.check().await.unwrap();
    assert_eq!(names(&sound), [""; 0], "{sound:?}");
    assert!(sound.checked.len() >= 10, "{sound:?}");
    execute("CREATE TABLE {schema}.kept_row AS SELECT * FROM {schema}.item_deferred WHERE item_id = 21");
    for (damage, repair, name) in DAMAGES.into_iter().chain([own]) {
        execute(&damage.replace("{reasons}", reasons));
        let found = inspector.check().await.unwrap();
        if name.is_empty() {
            assert_eq!(names(&found), [""; 0], "{found:?}");
        } else {
            assert!(names(&found).contains(&name), "{damage}: {found:?}");
            let violation = found.violations.iter().find(|violation| violation.name == name).unwrap();
            assert!(violation.count >= 1 && !violation.ids.is_empty(), "{violation:?}");
        }
        execute(&repair.replace("{reasons}", reasons));
    }
}

fn run(path: &Path, sql: &str) {
    let connection =
        rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.execute_batch(&sql.replace("{schema}.", "")).unwrap();
}

#[tokio::test]
async fn each_damage_of_a_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let url = format!("sqlite:{}", path.display());
    let own = (
        "UPDATE item SET unique_key = zeroblob(16) WHERE id = (SELECT max(id) FROM item)",
        "UPDATE item SET unique_key = (SELECT key FROM last_item) WHERE id = (SELECT max(id) FROM item)",
        "keys-rise",
    );
    each_damage_is_found(&url, "reason", own, |sql| run(&path, sql)).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn each_damage_of_a_database_is_found() {
    let schema = postgres::Schema::new();
    let own = (
        "UPDATE {schema}.item_claim SET job = -job",
        "UPDATE {schema}.item_claim SET job = -job",
        "claims-name-what-is-held",
    );
    each_damage_is_found(&schema.url, "reason_count", own, |sql| drop(schema.run(sql))).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_says_what_it_is() {
    let schema = postgres::Schema::new();
    let inspector = StoreInspector::new(&schema.url).unwrap();
    let missing = inspector.info().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "nothing is created: {missing}");
    filled(&Store::open(&schema.url).await.unwrap()).await;
    let info = inspector.info().await.unwrap();
    assert_eq!((info.engine, info.schema_version), (Engine::Postgres, info.newest_schema_version));
    assert_eq!((info.counts.queues, info.counts.items), (2, 38));
    assert!(info.bytes > 100_000 && info.time.is_some() && !info.is_pooled, "{info:?}");
    let names: Vec<_> = info.settings.iter().map(|setting| setting.name).collect();
    assert_eq!(names, ["fsync", "synchronous_commit", "full_page_writes"]);
    let refused = inspector.back_up(Path::new("copy.dump")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("pg_dump --format=custom"), "{refused}");
}

#[tokio::test]
async fn a_file_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let url = format!("sqlite:{}", path.display());
    let missing = StoreInspector::new(&url).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let store = Store::open(&url).await.unwrap();
    filled(&store).await;
    let info = StoreInspector::new(&url).unwrap().info().await.unwrap();
    assert_eq!((info.engine, info.schema_version), (Engine::Sqlite, info.newest_schema_version));
    assert_eq!((info.counts.queues, info.counts.items, info.counts.live_jobs), (2, 38, 1), "{info:?}");
    assert!(info.bytes > 10_000 && info.log_bytes > Some(0), "{info:?}");
    let settings: Vec<_> = info.settings.iter().map(|setting| (setting.name, &*setting.value)).collect();
    assert_eq!(settings, [("journal_mode", "wal"), ("synchronous", "full")]);
    assert!(info.settings.iter().all(|setting| setting.is_durable));
}

#[tokio::test]
async fn a_file_that_is_damaged_or_of_another_version_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let url = format!("sqlite:{}", path.display());
    filled(&Store::open(&url).await.unwrap()).await;
    let inspector = StoreInspector::new(&url).unwrap();
    // An index that does not have what its table has.
    run(
        &path,
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'item_root'; PRAGMA writable_schema = RESET;",
    );
    let found = inspector.check().await.unwrap();
    assert_eq!(names(&found).first(), Some(&"integrity"), "{found:?}");
    run(&path, "PRAGMA user_version = 0");
    let older = inspector.check().await.unwrap_err().to_string();
    assert!(older.contains("migrate it first"), "{older}");
    run(&path, "PRAGMA user_version = 999");
    let newer = inspector.check().await.unwrap_err().to_string();
    assert!(newer.contains("use a newer program"), "{newer}");
    assert_eq!(inspector.info().await.unwrap().schema_version, 999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_whole_though_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let url = format!("sqlite:{}", path.display());
    let store = Store::open(&url).await.unwrap();
    filled(&store).await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..2_000 {
                store.add_queue_item(QUEUE, named(&format!("more {n}"))).await.unwrap();
            }
        })
    };
    let inspector = StoreInspector::new(&url).unwrap();
    for n in 0..3 {
        let to = folder.path().join(format!("copy {n}.db"));
        let backup = inspector.back_up(&to).await.unwrap();
        assert!(backup.items >= 38 && backup.bytes > 10_000, "{backup:?}");
        let copy = StoreInspector::new(&format!("sqlite:{}", to.display())).unwrap();
        assert_eq!(copy.check().await.unwrap().violations, []);
        assert_eq!(copy.info().await.unwrap().counts.items, backup.items);
        let refused = inspector.back_up(&to).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    }
    writing.await.unwrap();
    // What is damaged is not copied.
    run(&path, "DELETE FROM item_ready");
    let refused = inspector.back_up(&folder.path().join("damaged.db")).await.unwrap_err().to_string();
    assert!(refused.contains("the copy is not sound (new-items-wait-once"), "{refused}");
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| {
        name.to_string_lossy().contains("damaged") || name.to_string_lossy().contains(".new-")
    });
    assert_eq!(left, [""; 0], "nothing is left");
}
