//! Documents that this program cannot read, because a newer one has written them: every list shows the others, and claims, sweeps and
//! removals go on. What is changed is every JSON text in every table, member by member.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use performer::model::audit::AuditFilter;
use performer::model::log::{LogFilter, LogLevel, LogLine};
use performer::model::operation::{Act, Plan};
use performer::model::view::ViewContent;
use performer::model::webhook::{DeliveryId, EventType, WebhookSettings};
use performer::model::{
    AssetValue, ExponentialDelay, FolderId, JobFigures, LimitsEdit, MaxStarts, NewAsset, NewValue, Person,
    QueueNotes, ReasonFilter, RetryDelay, ValueOf,
};
use performer::orchestrator::store::{DocumentChange, OperationItems, Store};
use performer::orchestrator::{
    FleetAdministration as _, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
    ReviewAdministration as _,
};
use performer::{ItemFilter, JobEnd, JobState, NewQueueDefinition, NewQueueItem, Page, QueuePolicy, Schemas};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, add_token, business, named, new_job, take};
use serde_json::{Value, json};

const TURN: Duration = Duration::from_secs(15);
/// The queue that nobody damages.
const OTHER: &str = "Other";

/// Where there are documents, and which lists may leave rows out because of them. What no list reads is named with an empty list: the
/// server reads its directory, and what is of one item or one queue is read with it.
const DOCUMENTS: [(&str, &[&str]); 16] = [
    ("asset.document", &["assets"]),
    ("audit.entry", &["audit", "audit from the beginning"]),
    ("directory.text", &[]),
    ("item.content", &[]),
    ("item_state.output", &[]),
    ("job.figures", &["jobs"]),
    ("log.entry", &[]),
    ("operation.document", &[]),
    ("queue.limits", &["queues"]),
    ("queue.notes", &["queues"]),
    ("queue.retry_delay", &["queues"]),
    ("queue.specific_data_schema", &[]),
    ("queue_starts.starts", &[]),
    ("saved_view.query", &["views"]),
    ("token.scopes", &["tokens"]),
    ("webhook.document", &["webhooks", "due webhooks"]),
];

/// A delivery has a document too, which is read when it is sent.
const DELIVERY: (&str, &[&str]) = ("webhook_delivery.document", &["sent"]);

/// Two or more rows with a document each in every table.
async fn filled(store: &Store) -> Store {
    let store = store.in_scope(FolderId::SHARED, Some(7));
    let delay =
        RetryDelay::Exponential(ExponentialDelay::new(Duration::from_secs(1), Duration::from_secs(60)));
    let policy = QueuePolicy::default().max_number_of_retries(0).retry_delay(delay);
    let schemas = Schemas { specific_data: Some(r#"{"type": "object"}"#.into()), ..Schemas::default() };
    let queue = NewQueueDefinition::new(QUEUE).policy(policy).schemas(schemas);
    store.create_queue(queue.notes(QueueNotes::default().sla_in_minutes(9).release_id(1))).await.unwrap();
    let per_minute = MaxStarts { count: 50, per: Duration::from_secs(60) };
    store.edit_queue_limits(QUEUE, LimitsEdit::default().max_starts(per_minute)).await.unwrap();
    store.create_queue(NewQueueDefinition::new(OTHER)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    for number in 0..3 {
        let item = NewQueueItem::new(json!({ "Number": number })).reference(format!("{number}"));
        store.add_queue_item(QUEUE, item).await.unwrap();
    }
    let claimed = store.report_and_claim(Vec::new(), Some(take(job, 3))).await.claimed.unwrap().items;
    let mut done = performer_proofs::ok_with(&json!({ "Total": 7 }));
    let reports = claimed.iter().map(|claimed| {
        let result = std::mem::replace(&mut done, business("the total is wrong"));
        Report::new(claimed.claim, result)
    });
    let answer = store.report_and_claim(reports.collect(), None).await;
    assert!(answer.reports.iter().all(Result::is_ok), "{answer:?}");
    store.end_job(job, JobEnd::new(JobState::Successful).figures(JobFigures::default())).await.unwrap();
    store.start_job(new_job()).await.unwrap();
    for number in 0..2 {
        let named = |kind: &str| format!("{kind} {number}");
        let value = NewValue::plain(ValueOf::Everybody, AssetValue::Integer(number));
        performer::orchestrator::AssetAdministration::create_asset(
            &store,
            NewAsset::global(named("asset"), value),
        )
        .await
        .unwrap();
        let query = vec![("ref".to_owned(), named("reference"))];
        store.add_view(ViewContent { name: named("view"), query, folder: None }).await.unwrap();
        let mut settings = WebhookSettings::new(named("webhook"), "https://example.com/hook");
        settings.subscribe_to_all_events = false;
        settings.events = [EventType::QueueDeleted].into();
        let webhook = store.create_webhook(settings, None).await.unwrap();
        store.ping_webhook(webhook.id).await.unwrap();
        let now = store.clock().now();
        let expires = now + Duration::from_secs(9_999);
        add_token(&store, &named("digest"), Some(&named("token")), expires).await;
        let entry = json!({ "message": named("line") }).to_string();
        store.add_log_lines(vec![LogLine::new(now, LogLevel::Info, entry)]).await.unwrap();
        let by = Person { user_id: Some(number.into()), user_name: Some(named("user")) };
        let failed = ItemFilter::default().queue(QUEUE).status([performer::Status::Failed]);
        let which = OperationItems::Matching(Box::new(failed));
        let folders = Arc::new([FolderId::SHARED]);
        store.preview_operation(folders, (Plan::new(Act::Retry), by), which, None).await.unwrap();
    }
    let text = json!({ "Users": [] }).to_string();
    store.put_document(DocumentChange { text, ..DocumentChange::default() }).await.unwrap();
    store
}

/// How many rows each list has; and that what is no list goes on.
async fn lists(store: &Store) -> BTreeMap<&'static str, usize> {
    let here: Arc<[FolderId]> = Arc::new([FolderId::SHARED]);
    store.sweep().await.unwrap();
    store.step_due_operations().await.unwrap();
    store.remove_operations(async || {}).await.unwrap();
    store.apply_retention(10).await.unwrap();
    store.remove_ended(10, async || {}).await.unwrap();
    store.list_robots().await.unwrap();
    let operations = store.list_operations(None, None, 10).await.unwrap();
    assert_eq!(operations.len(), 2, "what cannot be read is named: {operations:?}");
    let job = store.start_job(performer::model::NewJob::new(OTHER)).await.unwrap();
    store.add_queue_item(OTHER, named("other")).await.unwrap();
    let ask = performer::orchestrator::ClaimRequest::new(OTHER, job, 1);
    let claimed = store.report_and_claim(Vec::new(), Some(ask)).await.claimed.unwrap().items;
    assert_eq!(claimed.len(), 1, "another queue goes on");
    let page = Page::first(100).descending(true);
    let items = store.list_queue_items(ItemFilter::default().queue(OTHER), page).await.unwrap().items;
    assert!(items.iter().any(|item| item.id == claimed[0].item.id));
    store.report_and_claim(vec![Report::new(claimed[0].claim, performer_proofs::ok())], None).await.reports
        [0]
    .as_ref()
    .unwrap();
    store.end_job(job, JobState::Stopped.into()).await.unwrap();
    let due = store.due_webhooks().await.unwrap();
    let mut sent = 0;
    for webhook in &due {
        let Some(turn) = store.take_webhook_turn(webhook.id, webhook.progress.version, TURN).await.unwrap()
        else {
            continue;
        };
        sent += turn.deliveries.len();
        let version = turn.webhook.progress.version;
        store.settle_webhook_turn(webhook.id, version, Vec::new(), None).await.unwrap();
    }
    let mut deliveries = 0;
    for webhook in store.webhooks().await.unwrap() {
        deliveries += store.webhook_deliveries(webhook.id, None, DeliveryId(0), 10).await.unwrap().len();
    }
    let ended = store.list_jobs(10_000).await.unwrap().into_iter().filter(|job| job.about.queue == QUEUE);
    BTreeMap::from([
        ("queues", store.list_queues().await.unwrap().len()),
        ("jobs", ended.count()),
        ("views", store.views(here.clone()).await.unwrap().len()),
        ("assets", store.assets_in_folders(here).await.unwrap().len()),
        ("webhooks", store.webhooks().await.unwrap().len()),
        ("due webhooks", due.len()),
        ("deliveries", deliveries),
        ("sent", sent),
        ("tokens", store.named_tokens().await.unwrap().len()),
        ("audit", store.audit(AuditFilter::default()).await.unwrap().len()),
        ("audit from the beginning", store.audit_from(0).await.unwrap().len()),
        ("log", store.log_lines(LogFilter::default()).await.unwrap().len()),
        ("reasons", store.list_reasons(ReasonFilter::default()).await.unwrap().len()),
    ])
}

/// A document with one member changed, or left out, or with one more: all such documents, and some that are no JSON.
fn changed(document: &Value) -> Vec<String> {
    fn walk(part: &mut Value, whole: &dyn Fn(&Value) -> Value, out: &mut Vec<String>) {
        let was = part.take();
        for other in [json!("Teleport"), json!(-7), json!({ "New": 1 }), json!([{ "New": 1 }]), Value::Null] {
            out.push(whole(&other).to_string());
        }
        *part = was;
        match part {
            Value::Object(members) => {
                let members = members.clone();
                let mut more = members.clone();
                more.insert("New".to_owned(), json!(1));
                out.push(whole(&Value::Object(more)).to_string());
                for (name, mut member) in members.clone() {
                    let mut without = members.clone();
                    without.remove(&name);
                    out.push(whole(&Value::Object(without)).to_string());
                    let with = |part: &Value| {
                        let mut all = members.clone();
                        all.insert(name.clone(), part.clone());
                        whole(&Value::Object(all))
                    };
                    walk(&mut member, &with, out);
                }
            }
            Value::Array(all) => {
                let all = all.clone();
                for (at, mut member) in all.clone().into_iter().enumerate() {
                    let with = |part: &Value| {
                        let mut changed = all.clone();
                        changed[at] = part.clone();
                        whole(&Value::Array(changed))
                    };
                    walk(&mut member, &with, out);
                }
            }
            _ => {}
        }
    }
    let mut out = vec![String::new(), "{".to_owned()];
    walk(&mut document.clone(), &Value::clone, &mut out);
    out
}

/// Another program's connection. A query answers with the texts in the first column.
type Run<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// The columns with JSON, as they are: a new one has to be named above.
fn columns_with_json(columns: Vec<String>, run: Run<'_>) -> BTreeSet<String> {
    let has_json = |column: &String| {
        let (table, name) = column.split_once('.').unwrap();
        let text = format!("CAST({name} AS text)");
        let sql =
            format!("SELECT {text} FROM {{schema}}.{table} WHERE {text} LIKE '{{%' OR {text} LIKE '[%'");
        run(&sql).iter().any(|text| serde_json::from_str::<Value>(text).is_ok())
    };
    columns.into_iter().filter(has_json).collect()
}

async fn each_document_is_passed_over(store: &Store, columns: Vec<String>, run: Run<'_>, step: usize) {
    let documents: BTreeMap<&str, &[&str]> = DOCUMENTS.into_iter().chain([DELIVERY]).collect();
    let found = columns_with_json(columns, run);
    let known: BTreeSet<String> = documents.keys().map(|column| (*column).to_owned()).collect();
    assert_eq!(found, known, "what cannot be read in a column is passed over by every list");
    let whole = lists(store).await;
    assert!(whole.values().all(|count| *count > 0), "{whole:?}");
    let (mut tried, mut unreadable) = (0, BTreeSet::new());
    for (column, named) in &documents {
        let (table, name) = column.split_once('.').unwrap();
        let of_first = "ORDER BY 1 LIMIT 1";
        let first = format!("SELECT {name} FROM {{schema}}.{table} WHERE {name} IS NOT NULL {of_first}");
        let document = run(&first).pop().unwrap();
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let changes = changed(&serde_json::from_str(&document).unwrap());
        for change in changes.iter().step_by(step) {
            let put = |before: &str, after: &str| {
                let [before, after] = [before, after].map(quoted);
                run(&format!("UPDATE {{schema}}.{table} SET {name} = {after} WHERE {name} = {before}"))
            };
            put(&document, change);
            let same = format!("SELECT {name} FROM {{schema}}.{table} WHERE {name} = {}", quoted(change));
            let same = run(&same).len();
            let now = lists(store).await;
            for (list, count) in &now {
                let least = if named.contains(list) { whole[list] - same } else { whole[list] };
                // What hangs on a webhook or a queue that is left out is left out with it.
                let hangs = table == "webhook" || table == "queue" && *list == "reasons";
                let least = if hangs { least.saturating_sub(1) } else { least };
                assert!((least..=whole[list]).contains(count), "{column} = {change}: {list} has {count}");
                if *count < whole[list] {
                    unreadable.insert(*list);
                }
            }
            put(change, &document);
            tried += 1;
        }
        assert_eq!(lists(store).await, whole, "{column} is as it was");
    }
    assert!(tried > 300 / step, "{tried} documents");
    let all: BTreeSet<&str> = documents.values().flat_map(|lists| lists.iter().copied()).collect();
    assert!(all.is_subset(&unreadable), "only {unreadable:?} were left with less");
}

fn run(path: &Path, sql: &str) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    let mut statement = connection.prepare(&sql.replace("{schema}.", "")).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = filled(&Store::sqlite(path.clone()).await.unwrap()).await;
    let run = |sql: &str| run(&path, sql);
    let columns = run("SELECT sqlite_schema.name || '.' || column.name FROM sqlite_schema \
         JOIN pragma_table_info(sqlite_schema.name) AS column WHERE sqlite_schema.type = 'table' \
         AND upper(column.type) IN ('TEXT', 'BLOB', '')");
    each_document_is_passed_over(&store, columns, &run, 1).await;
}

/// Fewer of them: a statement takes longer there.
#[tokio::test]
async fn in_a_database() {
    let schema = Schema::new();
    let store = Store::postgres(&schema.url).await.unwrap();
    let keys = performer::orchestrator::store::EncryptionKeys::random();
    let store = filled(&store.with_encryption_keys(keys)).await;
    let run = |sql: &str| schema.run(sql).into_iter().filter_map(|row| row.into_iter().next()?).collect();
    let columns = run("SELECT table_name || '.' || column_name FROM information_schema.columns \
         WHERE table_schema = '{schema}' AND data_type = 'text'");
    each_document_is_passed_over(&store, columns, &run, 5).await;
}
