//! A failed item is retried with corrected values, in one commit; and edits that name a row version.

use performer::model::{ItemVersion, Schemas};
use performer::orchestrator::store::Store;
use performer::orchestrator::{
    ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report, ReviewAdministration as _,
};
use performer::{
    ItemEdit, ItemFilter, NewQueueDefinition, Page, Priority, QueueItem, ReviewStatus, SpecificContent,
    Status,
};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, business, named, new_job, ok, take};
use serde_json::json;

fn seen(item: &QueueItem) -> ItemVersion {
    ItemVersion { id: item.id, row_version: item.row_version }
}

fn content(amount: &serde_json::Value) -> SpecificContent {
    SpecificContent::new(&json!({ "amount": amount })).unwrap()
}

/// Adds an item and lets it fail.
async fn fail(store: &Store, reference: &str) -> QueueItem {
    let job = store.start_job(new_job()).await.unwrap();
    let item = named(reference).due_date("2027-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap());
    store.add_queue_item(QUEUE, item).await.unwrap();
    let claimed = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    let report = Report::new(claimed[0].claim, business("the amount is missing"));
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    store.get_queue_item(claimed[0].item.id).await.unwrap()
}

async fn all(store: &Store) -> Vec<QueueItem> {
    store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items
}

async fn check(store: &Store) {
    let schema = r#"{"type":"object","properties":{"amount":{"type":"number"}}}"#;
    let schemas = Schemas { specific_data: Some(schema.into()), ..Schemas::default() };
    store.create_queue(NewQueueDefinition::new(QUEUE).schemas(schemas)).await.unwrap();
    let failed = fail(store, "a").await;
    let edit = ItemEdit::default().specific_content(content(&json!(12.50))).priority(Priority::High);

    let stale = ItemVersion { row_version: failed.row_version - 1, ..seen(&failed) };
    let refused = store.correct_and_retry(stale, edit.clone()).await.unwrap_err();
    assert_eq!(refused.code().unwrap().number(), 1020);
    let wrong = ItemEdit::default().specific_content(content(&json!("much")));
    let refused = store.correct_and_retry(seen(&failed), wrong).await.unwrap_err();
    assert!(refused.is_invalid(), "{refused}");
    assert_eq!(
        all(store).await,
        std::slice::from_ref(&failed),
        "what was refused has changed nothing, and made no copy"
    );

    let copy = store.correct_and_retry(seen(&failed), edit.clone()).await.unwrap();
    assert_eq!((copy.status, copy.priority), (Status::New, Priority::High));
    assert_eq!(copy.specific_content, content(&json!(12.50)));
    assert_eq!(
        (copy.reference.as_deref(), copy.due_date),
        (Some("a"), failed.due_date),
        "the rest is copied"
    );
    assert_eq!(copy.manual_ancestor_id, Some(failed.id));
    let before = store.get_queue_item(failed.id).await.unwrap();
    assert_eq!((before.status, before.review_status), (Status::Failed, ReviewStatus::Retried));
    assert_eq!(before.specific_content, failed.specific_content, "the original stays");
    let again = store.correct_and_retry(seen(&before), edit).await.unwrap_err();
    assert_eq!(again.code().unwrap().number(), 1867);

    let job = store.start_job(new_job()).await.unwrap();
    let claimed = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    assert_eq!(claimed[0].item.specific_content, content(&json!(12.50)), "a robot gets what was corrected");
    let report = Report::new(claimed[0].claim, ok());
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();

    let new = store.add_queue_item(QUEUE, named("b")).await.unwrap();
    let urgent = ItemEdit::default().priority(Priority::High).row_version(new.row_version);
    let edited = store.edit_queue_item(new.id, urgent.clone()).await.unwrap();
    let refused = store.edit_queue_item(new.id, urgent).await.unwrap_err();
    assert_eq!(refused.code().unwrap().number(), 1020, "another one has edited it");
    store.delete_queue_item(new.id).await.unwrap();
    let refused = store.purge_content_of(seen(&edited)).await.unwrap_err();
    assert_eq!(refused.code().unwrap().number(), 1020);
    let deleted = store.get_queue_item(new.id).await.unwrap();
    store.purge_content_of(seen(&deleted)).await.unwrap();
    assert_eq!(store.get_queue_item(new.id).await.unwrap().specific_content, SpecificContent::empty());
}

#[tokio::test]
async fn in_memory() {
    check(&Store::memory()).await;
}

#[tokio::test]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    check(&Store::sqlite(folder.path().join("queue.db")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let schema = Schema::new();
    check(&Store::postgres(&schema.url).await.unwrap()).await;
}
