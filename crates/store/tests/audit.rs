//! The audit: what is recorded of which act, and what a check of its chain finds.

use std::path::Path;

use performer::model::audit::{Act, ActSource, Actor, AuditEntry, AuditFilter, AuditRecord};
use performer::model::{FolderId, ItemVersion, Person};
use performer::orchestrator::store::{DocumentChange, Store};
use performer::orchestrator::{
    FleetAdministration as _, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
    ReviewAdministration as _,
};
use performer::{
    ItemEdit, LimitsEdit, NewQueueDefinition, Priority, QueuePolicy, ReviewStatus, StopStrategy,
};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, business, named, new_job, take};
use serde_json::{Value, json};

fn ann() -> Actor {
    Actor::new(ActSource::Desk).user_id(7).user_name("ann").address("192.0.2.7")
}

async fn entries(store: &Store) -> Vec<AuditEntry> {
    let records = store.audit_from(0).await.unwrap();
    records.into_iter().map(|record| record.entry).collect()
}

/// The acts since the last call, as `(act, subject, number of items, changes)`.
struct Recorded<'a> {
    store: &'a Store,
    seen: usize,
}

type Told = (Act, String, usize, Vec<(String, Option<Value>, Option<Value>)>);

impl Recorded<'_> {
    async fn since(&mut self) -> Vec<Told> {
        let new = entries(self.store).await.split_off(self.seen);
        self.seen += new.len();
        for entry in &new {
            assert_eq!(entry.actor, ann());
            assert_eq!(entry.folder, FolderId::SHARED);
        }
        let told = new.into_iter().map(|entry| {
            let changes = entry.changes.into_iter().map(|change| (change.field, change.before, change.after));
            (entry.act, entry.subject, entry.items.len(), changes.collect())
        });
        told.collect()
    }
}

fn changed(
    field: &str,
    before: impl Into<Option<Value>>,
    after: impl Into<Option<Value>>,
) -> (String, Option<Value>, Option<Value>) {
    (field.to_owned(), before.into(), after.into())
}

async fn each_act_is_recorded_with_what_it_changed(opened: &Store) {
    let store = &opened.acting_as(ann());
    let mut recorded = Recorded { store, seen: 0 };
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let [(Act::QueueCreated, subject, 0, changes)] = &recorded.since().await[..] else {
        panic!("not created")
    };
    assert_eq!(*subject, format!("queue {QUEUE}"));
    assert!(changes.contains(&changed("MaxNumberOfRetries", None, json!(1))), "{changes:?}");

    let edited = NewQueueDefinition::new(QUEUE).policy(QueuePolicy::default().max_number_of_retries(0));
    store.update_queue(QUEUE, edited.clone()).await.unwrap();
    store.update_queue(QUEUE, edited).await.unwrap();
    let queue = format!("queue {QUEUE}");
    let edit = (Act::QueueEdited, queue.clone(), 0, vec![changed("MaxNumberOfRetries", json!(1), json!(0))]);
    assert_eq!(recorded.since().await, [edit], "an update that changes nothing is no act");

    store.edit_queue_limits(QUEUE, LimitsEdit::default().paused(true)).await.unwrap();
    store.edit_queue_limits(QUEUE, LimitsEdit::default().paused(false)).await.unwrap();
    let [(Act::LimitsEdited, .., paused), (Act::LimitsEdited, .., resumed)] = &recorded.since().await[..]
    else {
        panic!("not limited")
    };
    assert_eq!((&paused[0].1, &paused[0].2), (&resumed[0].2, &resumed[0].1));

    // What programs do is not audited: items have a history of their own.
    let mut failed_items = Vec::new();
    let job = store.start_job(new_job()).await.unwrap();
    for name in ["a", "b", "c"] {
        store.add_queue_item(QUEUE, named(name)).await.unwrap();
        let claimed = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
        let claim = claimed.items[0].claim;
        let report = Report::new(claim, business("no such customer"));
        store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
        let item = store.get_queue_item(claimed.items[0].item.id).await.unwrap();
        failed_items.push(ItemVersion { id: item.id, row_version: item.row_version });
    }
    assert_eq!(recorded.since().await, []);

    let refused = store.set_review_status(ReviewStatus::InReview, failed_items[..2].to_vec()).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    let reviewed = |count, before: &str, after: &str| {
        (
            Act::ItemsReviewed,
            "items".to_owned(),
            count,
            vec![changed("ReviewStatus", json!(before), json!(after))],
        )
    };
    assert_eq!(recorded.since().await, [reviewed(2, "None", "InReview")]);
    // Two of them are not what the caller saw any more.
    let refused = store.set_review_status(ReviewStatus::Verified, failed_items.clone()).await.unwrap();
    assert_eq!(refused.len(), 2);
    assert_eq!(recorded.since().await, [reviewed(1, "None", "Verified")], "what was refused is no act");

    let now = store.get_queue_item(failed_items[0].id).await.unwrap();
    let version = ItemVersion { id: now.id, row_version: now.row_version };
    assert!(store.set_reviewer(Some(7), vec![version]).await.unwrap().is_empty());
    let given = vec![changed("ReviewerUserId", None, json!(7))];
    assert_eq!(recorded.since().await, [(Act::ReviewerSet, "items".to_owned(), 1, given)]);

    let person = Person { user_id: Some(7), user_name: Some("ann".to_owned()) };
    let comment = store.add_comment(now.id, person.clone(), "a secret remark".to_owned()).await.unwrap();
    store.edit_comment(comment.id, person, None).await.unwrap();
    let about = format!("comment {}", comment.id);
    let acts = [(Act::CommentAdded, about.clone(), 1, vec![]), (Act::CommentEdited, about, 1, vec![])];
    assert_eq!(recorded.since().await, acts);

    let new = store.add_queue_item(QUEUE, named("d")).await.unwrap();
    let content = new.specific_content.clone();
    let edit = ItemEdit::default().priority(Priority::High).specific_content(content);
    store.edit_queue_item(new.id, edit).await.unwrap();
    let fields =
        vec![changed("Priority", json!("Normal"), json!("High")), changed("SpecificContent", None, None)];
    assert_eq!(recorded.since().await, [(Act::ItemEdited, "items".to_owned(), 1, fields)]);
    store.delete_queue_item(new.id).await.unwrap();
    store.purge_content(new.id).await.unwrap();
    let acts = [
        (Act::ItemsDeleted, "items".to_owned(), 1, vec![]),
        (Act::ContentPurged, "items".to_owned(), 1, vec![]),
    ];
    assert_eq!(recorded.since().await, acts);

    store.stop_job(job, StopStrategy::SoftStop).await.unwrap();
    let how = vec![changed("Strategy", None, json!("SoftStop"))];
    assert_eq!(recorded.since().await, [(Act::JobStopped, format!("job {job}"), 0, how)]);

    let acts = vec![("user bob added".to_owned(), Vec::new())];
    let change = DocumentChange { text: "{}".to_owned(), acts, ..DocumentChange::default() };
    store.put_document(change.clone()).await.unwrap();
    store.put_document(change).await.unwrap(); // another process wrote it before
    assert_eq!(recorded.since().await, [(Act::AccessChanged, "user bob added".to_owned(), 0, vec![])]);

    store.delete_queue(QUEUE).await.unwrap();
    assert_eq!(recorded.since().await[0].0, Act::QueueDeleted);
    let texts = store.audit_from(0).await.unwrap();
    assert!(texts.iter().all(|record| !record.text.contains("a secret remark")));

    let check = store.check_audit(None).await.unwrap();
    assert_eq!((check.records, check.broken), (recorded.seen as u64, None));
}

async fn lists_are_filtered_and_paged(opened: &Store) {
    let before = entries(opened).await.len();
    let bob = Actor::new(ActSource::Command).user_name("bob");
    for name in ["one", "two", "three"] {
        opened.acting_as(bob.clone()).create_queue(NewQueueDefinition::new(name)).await.unwrap();
        opened.acting_as(ann()).delete_queue(name).await.unwrap();
    }
    let subjects = async |filter: AuditFilter| {
        let records = opened.audit(filter).await.unwrap();
        records
            .iter()
            .map(|record| (record.id - before as u64, record.entry.subject.clone()))
            .collect::<Vec<_>>()
    };
    let numbers = async |filter| subjects(filter).await.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let mut of_bob = AuditFilter::default();
    of_bob.user_name = Some("bob".to_owned());
    assert_eq!(numbers(of_bob.clone()).await, [5, 3, 1]);
    let mut page = of_bob.clone();
    page.top = 2;
    assert_eq!(subjects(page.clone()).await[0], (5, "queue three".to_owned()));
    page.before = Some(before as u64 + 3);
    assert_eq!(numbers(page).await, [1]);
    let mut deleted = AuditFilter::default();
    deleted.acts = vec![Act::QueueDeleted];
    deleted.top = 3;
    assert_eq!(numbers(deleted).await, [6, 4, 2]);
    let mut nobody = AuditFilter::default();
    nobody.user_name = Some(String::new());
    assert_eq!(numbers(nobody).await, [0_u64; 0]);
    let times: Vec<_> =
        opened.audit_from(before as u64).await.unwrap().iter().map(|record| record.entry.time).collect();
    let mut recent = of_bob;
    recent.from = Some(times[0]);
    recent.to = Some(times[5]);
    assert!(numbers(recent).await.contains(&1));
    let mut future = AuditFilter::default();
    future.from = Some(times[5].checked_add(jiff::SignedDuration::from_secs(60)).unwrap());
    assert_eq!(numbers(future).await, [0_u64; 0]);
    let mut wrong = AuditFilter::default();
    wrong.top = 0;
    assert_eq!(opened.audit(wrong).await.unwrap_err().code().unwrap().number(), 1009);
}

/// Two stores append at the same time, each in its own transactions.
async fn writers_at_the_same_time_make_one_chain(stores: [Store; 2]) {
    let before = stores[0].check_audit(None).await.unwrap().records;
    let writer = |store: Store, name: &'static str| async move {
        for number in 0..20 {
            store.create_queue(NewQueueDefinition::new(format!("{name}{number}"))).await.unwrap();
        }
    };
    let [one, two] = stores.clone();
    let writers = [tokio::spawn(writer(one, "left")), tokio::spawn(writer(two, "right"))];
    for writer in writers {
        writer.await.unwrap();
    }
    let check = stores[0].check_audit(None).await.unwrap();
    assert_eq!((check.records, check.broken), (before + 40, None));
}

/// What another program changes is found at the right record.
async fn damages_are_found(store: &Store, execute: &dyn Fn(&str)) {
    let good = store.check_audit(None).await.unwrap();
    let head = good.head.unwrap();
    assert_eq!(store.check_audit(Some(&head)).await.unwrap().broken, None);
    let broken = async |id: u64, what: &str| {
        let check = store.check_audit(None).await.unwrap();
        let broken = check.broken.unwrap_or_else(|| panic!("{what} was not found"));
        assert_eq!(broken.id, id, "{what}: {}", broken.reason);
        assert_eq!(check.records, id.min(5) - u64::from(what != "a removed record"), "{what}");
    };
    execute("UPDATE {schema}.audit SET entry = replace(entry, 'ann', 'eve') WHERE id = 5");
    broken(5, "a changed entry").await;
    execute("UPDATE {schema}.audit SET entry = replace(entry, 'eve', 'ann') WHERE id = 5");
    assert_eq!(store.check_audit(None).await.unwrap().broken, None);
    execute("UPDATE {schema}.audit SET user_name = 'eve' WHERE id = 5");
    broken(5, "a changed column").await;
    execute("UPDATE {schema}.audit SET user_name = 'ann' WHERE id = 5");
    execute("UPDATE {schema}.audit SET id = -1 WHERE id = 5");
    execute("DELETE FROM {schema}.audit WHERE id = -1");
    let check = store.check_audit(None).await.unwrap();
    assert_eq!(
        (check.records, check.broken.map(|broken| broken.reason)),
        (4, Some("record 5 is missing".to_owned()))
    );
    // A chain that is cut off at its end is whole; only a head that was kept shows it.
    execute("DELETE FROM {schema}.audit WHERE id > 4");
    assert_eq!(store.check_audit(None).await.unwrap().broken, None);
    assert!(store.check_audit(Some(&head)).await.unwrap().broken.is_some());
    // The next act goes on from there.
    store.create_queue(NewQueueDefinition::new("next")).await.unwrap();
    assert_eq!(store.check_audit(None).await.unwrap().records, 5);
    // A record that a newer program has written is passed over. Pages are full all the same: a short one is the last.
    execute("UPDATE {schema}.audit SET entry = replace(entry, '\"Act\":', '\"Deed\":') WHERE id = 4");
    let ids = |records: Vec<AuditRecord>| records.iter().map(|record| record.id).collect::<Vec<_>>();
    assert_eq!(ids(store.audit_from(0).await.unwrap()), [1, 2, 3, 5]);
    let mut page = AuditFilter::default();
    page.top = 2;
    assert_eq!(ids(store.audit(page.clone()).await.unwrap()), [5, 3]);
    page.before = Some(3);
    assert_eq!(ids(store.audit(page).await.unwrap()), [2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    let store = Store::memory();
    each_act_is_recorded_with_what_it_changed(&store).await;
    lists_are_filtered_and_paged(&store).await;
    writers_at_the_same_time_make_one_chain([store.clone(), store]).await;
}

fn execute(path: &Path, sql: &str) {
    let file =
        rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    file.execute_batch(&sql.replace("{schema}.", "")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = Store::sqlite(&path).await.unwrap();
    each_act_is_recorded_with_what_it_changed(&store).await;
    lists_are_filtered_and_paged(&store).await;
    writers_at_the_same_time_make_one_chain([store.clone(), Store::sqlite(&path).await.unwrap()]).await;
    damages_are_found(&store, &|sql| execute(&path, sql)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let schema = Schema::new();
    let store = Store::postgres(&format!("{}&batch=1", schema.url)).await.unwrap();
    each_act_is_recorded_with_what_it_changed(&store).await;
    lists_are_filtered_and_paged(&store).await;
    writers_at_the_same_time_make_one_chain([store.clone(), Store::postgres(&schema.url).await.unwrap()])
        .await;
    damages_are_found(&store, &|sql| drop(schema.run(sql))).await;
}
