//! Tasks in every store: what may happen to them, who sees them, and the items that wait for an answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use performer_core::model::FieldEdit;
use performer_core::model::audit::{Act, ActSource, Actor, AuditFilter};
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ClaimedItem, ItemEdit, NewQueueItem};
use performer_core::model::key::{FolderId, JobKey};
use performer_core::model::queue::NewQueueDefinition;
use performer_core::model::result::TransactionResult;
use performer_core::model::status::Status;
use performer_core::model::task::{
    AnswerOutcome, CatalogSettings, NewTask, TaskAct, TaskData, TaskEdit, TaskId, TaskPriority, TaskStatus,
};
use performer_core::orchestrator::{
    ClaimRequest, ErrorKind, Insight as _, ItemAdministration as _, Orchestrator as _,
    QueueAdministration as _, Report, Result, TaskAdministration as _, TaskFilter,
};
use performer_proofs::postgres::Schema;
use performer_store::{Assign, Store, TaskQueryFilter};
use serde_json::json;

const QUEUE: &str = "Invoices";
const FINANCE: FolderId = FolderId(7);

/// Memory, a file and a database.
async fn stores(folder: &Path, schema: &Schema) -> Vec<Store> {
    vec![
        Store::memory(),
        Store::sqlite(folder.join("a.db")).await.unwrap(),
        Store::postgres(&schema.url).await.unwrap(),
    ]
}

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

fn data(value: &serde_json::Value) -> TaskData {
    value.as_object().unwrap().clone()
}

async fn take(store: &Store, count: usize) -> Vec<ClaimedItem> {
    let request = ClaimRequest::new(QUEUE, JobKey::CALLER, count);
    store.report_and_claim(Vec::new(), Some(request)).await.claimed.unwrap().items
}

async fn now(store: &Store) -> jiff::Timestamp {
    let probe = store.create_task(NewTask::new("what time is it")).await.unwrap();
    store.delete_task(probe.id).await.unwrap();
    probe.created
}

async fn ask(store: &Store, item: &ClaimedItem, task: NewTask) -> Result<Status> {
    let defer_date = task.deadline(now(store).await);
    let report = Report::new(item.claim, TransactionResult::Postponed { defer_date, due_date: None });
    store.report_and_claim(vec![report.ask(task)], None).await.reports.remove(0)
}

/// A queue with one item, which is claimed.
async fn claimed(store: &Store) -> ClaimedItem {
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    store.add_queue_item(QUEUE, NewQueueItem::new(json!({"n": 1}))).await.unwrap();
    take(store, 1).await.remove(0)
}

async fn open(store: &Store) -> Vec<TaskId> {
    store.list_tasks(TaskFilter::open()).await.unwrap().into_iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn tasks_have_a_life_in_every_store() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let new = NewTask::new("Approve 'Ünï \u{1f916}'")
            .priority(TaskPriority::High)
            .data(json!({"a": [1, {"b": null}]}));
        let made = store.create_task(new.clone().external_tag("sap/1".to_owned())).await.unwrap();
        assert_eq!(
            (made.status, made.folder, made.deadline),
            (TaskStatus::Unassigned, FolderId::SHARED, None)
        );
        let (read, read_data) = store.find_task_keyed(made.key).await.unwrap();
        assert_eq!((&read, &read_data), (&made, &data(&json!({"a": [1, {"b": null}]}))));
        let second = store.create_task(NewTask::new("second")).await.unwrap();
        assert_eq!(open(&store).await, [second.id, made.id], "the newest first");

        assert_eq!(store.assign_task(made.id, "ann").await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(code(store.unassign_task(made.id).await), 1009);
        assert_eq!(code(store.assign_task_to(made.id, 3, Assign::Again, None, None).await), 1009);
        let assigned = store.assign_task_to(made.id, 3, Assign::First, None, None).await.unwrap();
        assert_eq!((assigned.status, assigned.assigned_to), (TaskStatus::Pending, Some(3)));
        assert_eq!(code(store.assign_task_to(made.id, 4, Assign::First, None, None).await), 1009);
        let saved = Some(data(&json!({"a": 2})));
        store.assign_task_to(made.id, 4, Assign::Again, saved, Some("yours".to_owned())).await.unwrap();
        store.save_task_data(made.id, data(&json!({"a": 3}))).await.unwrap();
        let edit = TaskEdit { title: Some("New".to_owned()), ..TaskEdit::default() };
        store.edit_task(made.id, edit, None).await.unwrap();
        store.note_on_task(made.id, "looked at".to_owned()).await.unwrap();
        assert_eq!(code(store.note_on_task(made.id, String::new()).await), 1009);
        store.complete_task(made.id, Some("approve"), None).await.unwrap();
        let (done, kept) = store.get_task(made.id).await.unwrap();
        assert_eq!(
            (done.status, done.action.as_deref(), done.title.as_str()),
            (TaskStatus::Completed, Some("approve"), "New")
        );
        assert_eq!(kept, data(&json!({"a": 3})));
        for refused in [
            store.complete_task(made.id, Some("reject"), None).await,
            store.save_task_data(made.id, TaskData::new()).await.map(drop),
            store.assign_task_to(made.id, 3, Assign::Anyway, None, None).await.map(drop),
        ] {
            assert_eq!(code(refused), 1009);
        }
        assert_eq!(store.get_task(made.id).await.unwrap(), (done, kept), "what is refused changes nothing");
        let acts: Vec<TaskAct> =
            store.task_activities(made.id).await.unwrap().into_iter().map(|one| one.act).collect();
        use TaskAct::{Assigned, Commented, Completed, Created, Reassigned, Saved};
        assert_eq!(acts, [Created, Assigned, Reassigned, Saved, Saved, Commented, Completed]);

        assert_eq!(open(&store).await, [second.id]);
        store.delete_task(second.id).await.unwrap();
        for gone in [
            store.delete_task(second.id).await,
            store.get_task(second.id).await.map(drop),
            store.complete_task(second.id, None, None).await,
            store.task_activities(second.id).await.map(drop),
            store.get_task(TaskId(99)).await.map(drop),
        ] {
            assert_eq!(code(gone), 1002);
        }
        assert_eq!(store.list_tasks(TaskFilter::default()).await.unwrap().len(), 1);
        assert!(store.list_tasks(TaskFilter::default().limit(0)).await.unwrap_err().is_invalid());
        let mut filter = TaskQueryFilter::in_folders(Arc::new([FolderId::SHARED]), 10);
        filter.before = Some(made.id);
        assert_eq!(store.tasks_in_folders(filter).await.unwrap(), []);
    }
}

#[tokio::test]
async fn tasks_and_catalogs_are_of_a_folder() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let finance = store.in_scope(FINANCE, None);
        let settings =
            |name: &str| CatalogSettings { name: name.to_owned(), description: None, labels: Vec::new() };
        let catalog = store.create_task_catalog(settings("Approvals")).await.unwrap();
        assert_eq!(code(store.create_task_catalog(settings("APPROVALS")).await), 1001);
        assert_eq!(code(store.create_task_catalog(settings(" ")).await), 1009);
        let theirs = finance.create_task_catalog(settings("approvals")).await.unwrap();
        let new = |catalog: &str| NewTask::new("a").catalog(catalog.to_owned());
        let task = store.create_task(new("approvals")).await.unwrap();
        assert_eq!(task.catalog, Some(catalog.id));
        assert_eq!(code(store.create_task(new("Other")).await), 1002);
        assert_eq!(code(finance.get_task(task.id).await), 1002, "of another folder");
        assert_eq!(code(finance.complete_task(task.id, None, None).await), 1002);
        assert_eq!(code(finance.task_catalog(catalog.id).await), 1002);

        assert_eq!(code(store.share_task_catalog(catalog.id, vec![FINANCE], Vec::new()).await), 1004);
        finance.update_task_catalog(theirs.id, settings("Theirs"), None).await.unwrap();
        store.share_task_catalog(catalog.id, vec![FINANCE], Vec::new()).await.unwrap();
        let reach = Some([FolderId::SHARED].into());
        assert_eq!(code(store.update_task_catalog(catalog.id, settings("B"), reach.clone()).await), 1017);
        assert_eq!(code(store.delete_task_catalog(catalog.id, reach).await), 1017);
        assert_eq!(code(store.delete_task_catalog(catalog.id, None).await), 1012, "it has an open task");
        assert_eq!(store.task_catalog_size(catalog.id).await.unwrap(), 1);
        let shared = vec![FolderId::SHARED, FINANCE];
        assert_eq!(code(store.share_task_catalog(catalog.id, Vec::new(), shared).await), 1009);
        let edit = TaskEdit { catalog: Some(Some(theirs.id)), ..TaskEdit::default() };
        assert_eq!(code(store.edit_task(task.id, edit, None).await), 1002, "a catalog of another folder");
        store.complete_task(task.id, None, None).await.unwrap();
        store.delete_task_catalog(catalog.id, None).await.unwrap();
        assert_eq!(store.task_catalogs(Arc::new([FolderId::SHARED, FINANCE])).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_item_waits_for_the_answer_and_uses_no_retry() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let item = claimed(&store).await;
        let key = item.item.key;
        assert_eq!(store.read_answer(key).await.unwrap(), None);
        let task = NewTask::new("Approve").data(json!({"amount": 7})).actions(["approve", "reject"]);
        assert_eq!(ask(&store, &item, task).await.unwrap(), Status::New);
        assert_eq!(take(&store, 1).await.len(), 0, "it waits");
        let (asked, _) = store.get_task(open(&store).await[0]).await.unwrap();
        assert_eq!(asked.asked_by.map(|by| (by.item, by.key)), Some((item.item.id, key)));
        assert_eq!(asked.deadline, store.get_queue_item(item.item.id).await.unwrap().defer_date);
        assert_eq!(store.read_answer(key).await.unwrap(), None, "nobody has answered");

        assert_eq!(code(store.complete_task(asked.id, Some("perhaps"), None).await), 1009);
        assert_eq!(take(&store, 1).await.len(), 0);
        store.complete_task(asked.id, Some("Approve"), Some(data(&json!({"amount": 8})))).await.unwrap();
        let again = take(&store, 1).await.remove(0);
        assert_eq!((again.item.id, again.item.key, again.item.retry_number), (item.item.id, key, 0));
        let answer = store.read_answer(key).await.unwrap().unwrap();
        assert!(answer.is("approve") && answer.is_completed());
        assert_eq!((answer.task, answer.data), (asked.id, data(&json!({"amount": 8}))));
        // The first claim is void, as after any postponement.
        let late = Report::new(item.claim, TransactionResult::Successful { output: None });
        assert!(
            store.report_and_claim(vec![late], None).await.reports.remove(0).unwrap_err().is_claim_lost()
        );
        // It may ask once more.
        ask(&store, &again, NewTask::new("Really")).await.unwrap();
        assert_eq!(store.read_answer(key).await.unwrap(), None);
        let second = open(&store).await;
        store.delete_task(second[0]).await.unwrap();
        assert_eq!(take(&store, 1).await.len(), 1, "nobody will answer any more");
        assert_eq!(store.read_answer(key).await.unwrap().unwrap().outcome, AnswerOutcome::Deleted);
    }
}

#[tokio::test]
async fn an_item_that_went_on_is_not_moved_by_a_late_answer() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let item = claimed(&store).await;
        ask(&store, &item, NewTask::new("Approve")).await.unwrap();
        let first = open(&store).await;
        // Somebody lets it go on without an answer; it asks again, and waits for the same task.
        let edit = ItemEdit::default().defer_date(FieldEdit::Clear);
        store.edit_queue_item(item.item.id, edit).await.unwrap();
        let again = take(&store, 1).await.remove(0);
        let longer = NewTask::new("Approve").answer_within(Duration::from_secs(1_000_000));
        ask(&store, &again, longer).await.unwrap();
        assert_eq!(open(&store).await, first);
        // Somebody postpones it further: the answer does not undo that.
        let later = now(&store).await + Duration::from_secs(5_000_000);
        let later = performer_core::model::stored_time::stored(later);
        let edit = ItemEdit::default().defer_date(FieldEdit::Set(later));
        store.edit_queue_item(item.item.id, edit).await.unwrap();
        store.complete_task(first[0], None, None).await.unwrap();
        assert_eq!(store.get_queue_item(item.item.id).await.unwrap().defer_date, Some(later));
        assert!(store.read_answer(item.item.key).await.unwrap().unwrap().is_completed());
        // An item that is gone stops nobody from answering.
        store.add_queue_item(QUEUE, NewQueueItem::new(json!({}))).await.unwrap();
        let other = take(&store, 1).await.remove(0);
        ask(&store, &other, NewTask::new("b")).await.unwrap();
        store.delete_queue(QUEUE).await.unwrap();
        store.complete_task(open(&store).await[0], None, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_question_that_is_refused_postpones_nothing() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let item = claimed(&store).await;
        assert_eq!(code(ask(&store, &item, NewTask::new(" ")).await), 1009);
        assert_eq!(code(ask(&store, &item, NewTask::new("a").catalog("None".to_owned())).await), 1002);
        let success = Report::new(item.claim, TransactionResult::Successful { output: None });
        let with_task = success.clone().ask(NewTask::new("a"));
        let refused = store.report_and_claim(vec![with_task], None).await.reports.remove(0);
        assert_eq!(code(refused), 1009);
        assert_eq!(open(&store).await, []);
        assert_eq!(store.get_queue_item(item.item.id).await.unwrap().status, Status::InProgress);
        let recorded = store.report_and_claim(vec![success], None).await.reports.remove(0);
        assert_eq!(recorded.unwrap(), Status::Successful, "the claim still holds");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_wait() {
    let clock =
        Arc::new(performer_core::model::clock::ManualClock::new("2026-03-01T08:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    for store in [
        Store::memory_with_clock(clock.clone()),
        Store::sqlite_with_clock(folder.path().join("a.db"), clock.clone()).await.unwrap(),
    ] {
        let item = claimed(&store).await;
        ask(&store, &item, NewTask::new("Approve").answer_within(Duration::from_secs(60))).await.unwrap();
        clock.advance(Duration::from_secs(59));
        assert_eq!(take(&store, 1).await.len(), 0);
        clock.advance(Duration::from_secs(1));
        let task = open(&store).await[0];
        let late = store.complete_task(task, Some("approve"), None).await.unwrap_err();
        assert!(late.to_string().contains("its item went on without it"), "{late}");
        let again = take(&store, 1).await.remove(0);
        let answer = store.read_answer(again.item.key).await.unwrap().unwrap();
        assert_eq!((answer.outcome, answer.action), (AnswerOutcome::Expired, None));
        // A new question is a new task.
        ask(&store, &again, NewTask::new("Approve")).await.unwrap();
        assert_eq!(open(&store).await.len(), 2);
    }
}

#[tokio::test]
async fn an_answer_serves_a_claim_that_waits_in_its_own_commit() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let item = claimed(&store).await;
        ask(&store, &item, NewTask::new("Approve")).await.unwrap();
        let task = open(&store).await[0];
        let request = ClaimRequest::new(QUEUE, JobKey::CALLER, 1)
            .wait(Duration::from_secs(600))
            .look_every(Duration::from_secs(600));
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.report_and_claim(Vec::new(), Some(request)).await.claimed.unwrap() }
        });
        while store.parked_claims() == 0 {
            tokio::task::yield_now().await;
        }
        store.complete_task(task, Some("approve"), None).await.unwrap();
        // It was claimed by the commit of the answer: nobody can see it New.
        assert_eq!(store.get_queue_item(item.item.id).await.unwrap().status, Status::InProgress);
        assert_eq!(waiting.await.unwrap().items[0].item.id, item.item.id);
    }
}

#[tokio::test]
async fn what_people_do_with_tasks_is_in_the_audit() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let item = claimed(&store).await;
        ask(&store, &item, NewTask::new("Approve")).await.unwrap();
        let task = open(&store).await[0];
        let ann = store.acting_as(Actor::new(ActSource::Api).user_name("ann"));
        ann.assign_task_to(task, 3, Assign::First, None, None).await.unwrap();
        ann.complete_task(task, Some("approve"), Some(data(&json!({"secret": "x"})))).await.unwrap();
        let records = store.list_audit(AuditFilter::default()).await.unwrap();
        let entries: Vec<_> = records
            .iter()
            .map(|record| &record.entry)
            .filter(|entry| entry.subject.starts_with("task"))
            .collect();
        let named: Vec<_> =
            entries.iter().filter(|entry| entry.actor.user_name.as_deref() == Some("ann")).collect();
        assert_eq!(
            named.iter().map(|entry| entry.act).collect::<Vec<_>>(),
            [Act::TaskCompleted, Act::TaskAssigned]
        );
        assert_eq!(named[0].items, [item.item.id]);
        assert!(!named[0].changes.is_empty() && !format!("{:?}", named[0]).contains("secret"));
    }
}
