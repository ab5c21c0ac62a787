//! Groups of items in PostgreSQL, where several stores write at the same time: I22 of `docs/reference/lifecycle.md`, whoever does what.

#![cfg(feature = "postgres")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::{ClaimedItem, Clock, ManualClock, SystemClock, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{
    ClaimRequest, ItemAdministration as _, Orchestrator, QueueAdministration as _, Report,
};
use performer::tokio_postgres::{self, Client, NoTls};
use performer::{
    CommitType, ErrorKind, FieldEdit, ItemEdit, ItemFilter, JobKey, LimitsEdit, NewQueueDefinition,
    NewQueueItem, Page, Priority, QueuePolicy, Status,
};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, application, business, named, new_job, ok, start_of_time, take};

const GROUPS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn one_at_a_time() -> LimitsEdit {
    LimitsEdit::default().max_in_progress_per_group(1)
}

async fn store(schema: &Schema, edit: LimitsEdit) -> Store {
    let store = Store::postgres(&schema.url).await.unwrap();
    let policy = QueuePolicy::default().max_number_of_retries(1);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    store.edit_queue_limits(QUEUE, edit).await.unwrap();
    store
}

async fn claim(store: &Store, job: JobKey, count: usize) -> Vec<ClaimedItem> {
    store.report_and_claim(Vec::new(), Some(take(job, count))).await.claimed.unwrap().items
}

async fn report(store: &Store, claimed: &ClaimedItem, result: TransactionResult) {
    let answers = store.report_and_claim(vec![Report::new(claimed.claim, result)], None).await.reports;
    answers.into_iter().next().unwrap().unwrap();
}

fn names(claimed: &[ClaimedItem]) -> Vec<&str> {
    claimed.iter().filter_map(|claimed| claimed.item.reference.as_deref()).collect()
}

async fn connected(schema: &Schema) -> Client {
    let (plain, name) = schema.url.split_once("?schema=").unwrap();
    let (client, connection) = tokio_postgres::connect(plain, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path TO {name}")).await.unwrap();
    client
}

/// What the tables say is wrong with a queue whose limit is 1.
fn damage(schema: &Schema) -> Vec<Vec<Option<String>>> {
    schema.run(
        "SELECT 'holds', group_name FROM {schema}.item_grouped WHERE group_name <> '' \
         GROUP BY group_name HAVING count(place) > 1 UNION ALL \
         SELECT 'stuck', group_name FROM {schema}.item_grouped GROUP BY group_name HAVING count(place) = 0 UNION ALL \
         SELECT 'nowhere', item.id::text FROM {schema}.item LEFT JOIN {schema}.item_state ON item_id = id \
         WHERE coalesce(status, 0) = 0 AND id NOT IN (SELECT item_id FROM {schema}.item_ready UNION ALL \
         SELECT item_id FROM {schema}.item_deferred UNION ALL SELECT item_id FROM {schema}.item_grouped WHERE place IS NULL)",
    )
}

/// How many items of each group are held, over all stores.
#[derive(Default)]
struct Held {
    groups: Mutex<HashMap<String, usize>>,
    done: AtomicUsize,
}

impl Held {
    fn add(&self, group: &str, more: bool) {
        let mut groups = self.groups.lock().unwrap();
        let held = groups.entry(group.to_owned()).or_default();
        *held = if more { *held + 1 } else { *held - 1 };
        assert!(*held <= 1, "{held} items of {group} are in progress");
    }
}

/// The database's clock decides, and is this machine's.
fn soon() -> Timestamp {
    SystemClock::new().now() + Duration::from_secs(2)
}

/// A robot: it claims, and ends what it has claimed in any way, until everything is done.
async fn work(store: Store, held: Arc<Held>, seed: u64, all: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let job = store.start_job(new_job()).await.unwrap();
    while held.done.load(Ordering::SeqCst) < all {
        let claimed = claim(&store, job, random.usize(1..4)).await;
        for claimed in &claimed {
            held.add(claimed.item.group.as_deref().unwrap(), true);
        }
        if claimed.is_empty() {
            tokio::task::yield_now().await;
        }
        for claimed in claimed {
            let (result, ends) = match random.u8(..8) {
                0 => (TransactionResult::GivenBack, 0),
                1 => (TransactionResult::Postponed { defer_date: soon(), due_date: None }, 0),
                2 if claimed.item.retry_number == 0 => (application("again"), 0),
                _ => (ok(), 1),
            };
            held.add(claimed.item.group.as_deref().unwrap(), false);
            report(&store, &claimed, result).await;
            held.done.fetch_add(ends, Ordering::SeqCst);
        }
    }
}

/// Somebody who adds items, and edits those that wait.
async fn add_and_edit(store: Store, items: usize) {
    let mut random = fastrand::Rng::with_seed(5);
    for number in 0..items {
        let item = named(&number.to_string()).group(GROUPS[random.usize(..GROUPS.len())]);
        let added = store.add_queue_item(QUEUE, item).await.unwrap();
        let edit = ItemEdit::default()
            .priority([Priority::High, Priority::Normal, Priority::Low][random.usize(..3)]);
        if random.bool()
            && let Err(refused) = store.edit_queue_item(added.id, edit).await
        {
            assert_ne!(refused.kind(), ErrorKind::Unavailable, "{refused}"); // it may be in progress by now
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_stores_never_exceed_the_limit_of_a_group_and_none_is_stuck() {
    const ADDED: usize = 120;
    for fair in [false, true] {
        let schema = Schema::new();
        let first = store(&schema, one_at_a_time().fair(fair)).await;
        let item = |n: usize| named(&format!("bulk {n}")).group(GROUPS[n % GROUPS.len()]);
        let items = (0..ADDED).map(item).collect();
        let _ = first.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
        // Several transactions of a store at a time, and two stores.
        let second = Store::postgres(&format!("{}&batch=1", schema.url)).await.unwrap();
        let held = Arc::new(Held::default());
        let mut tasks = vec![tokio::spawn(add_and_edit(second.clone(), ADDED))];
        for seed in 0..6 {
            let store = if seed % 2 == 0 { first.clone() } else { second.clone() };
            tasks.push(tokio::spawn(work(store, held.clone(), seed, 2 * ADDED)));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let figures = first.queue_statistics(QUEUE).await.unwrap();
        assert_eq!(
            (figures.successful, figures.new, figures.in_progress),
            (i64::try_from(2 * ADDED).unwrap(), 0, 0),
            "fair: {fair}"
        );
        assert!(damage(&schema).is_empty(), "{:?}", damage(&schema));
        assert_eq!(schema.run("SELECT count(*) FROM {schema}.item_grouped"), [[Some("0".to_owned())]]);
    }
}

/// A store searches a queue without limits before it looks it up. Another one has changed the rules meanwhile, and something is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rules_hold_for_a_store_that_knew_none() {
    let schema = Schema::new();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let one = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    one.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = one.start_job(new_job()).await.unwrap();
    one.add_queue_item(QUEUE, named("free")).await.unwrap();
    assert_eq!(names(&claim(&one, job, 9).await), ["free"]);
    let later = |seconds: u64| -> Timestamp { clock.now() + Duration::from_secs(seconds) };
    for (name, seconds) in [("a1", 1), ("a2", 2), ("a3", 3)] {
        one.add_queue_item(QUEUE, named(name).group("a").defer_date(later(seconds))).await.unwrap();
    }
    let other = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    other.edit_queue_limits(QUEUE, one_at_a_time()).await.unwrap();
    clock.advance(Duration::from_secs(10));
    let first = claim(&one, job, 9).await;
    assert_eq!(names(&first), ["a1"], "they have become due together");
    assert!(claim(&one, job, 9).await.is_empty());
    report(&one, &first[0], ok()).await;
    let second = claim(&one, job, 9).await;
    assert_eq!(names(&second), ["a2"]);
    // And the other way round.
    other
        .edit_queue_limits(QUEUE, LimitsEdit::default().max_in_progress_per_group(FieldEdit::Clear))
        .await
        .unwrap();
    assert_eq!(names(&claim(&one, job, 9).await), ["a3"]);
    assert_eq!(schema.run("SELECT count(*) FROM {schema}.item_grouped"), [[Some("0".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_groups_are_added_and_completed_in_the_users_transaction() {
    let schema = Schema::new();
    let store = store(&schema, one_at_a_time()).await;
    let job = store.start_job(new_job()).await.unwrap();
    let mut client = connected(&schema).await;
    let transaction = client.transaction().await.unwrap();
    for name in ["a1", "a2"] {
        store.add_queue_item_in(&transaction, QUEUE, named(name).group("a")).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let first = claim(&store, job, 9).await;
    assert_eq!(names(&first), ["a1"]);
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        let done = Report::new(first[0].claim, ok());
        assert_eq!(store.report_in(&transaction, done).await.unwrap(), Status::Successful);
        if commits {
            transaction.commit().await.unwrap();
            assert_eq!(names(&claim(&store, job, 9).await), ["a2"]);
        } else {
            transaction.rollback().await.unwrap();
            assert!(claim(&store, job, 9).await.is_empty(), "a1 is still in progress");
        }
    }
    assert!(damage(&schema).is_empty(), "{:?}", damage(&schema));
}

/// Its statements know only the rules that there were when it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_do_not_change_while_the_users_transaction_uses_the_queue() {
    let schema = Schema::new();
    let store = store(&schema, LimitsEdit::default()).await;
    let mut client = connected(&schema).await;
    let transaction = client.transaction().await.unwrap();
    for name in ["a1", "a2"] {
        store.add_queue_item_in(&transaction, QUEUE, named(name).group("a")).await.unwrap();
    }
    let refused = store.edit_queue_limits(QUEUE, one_at_a_time()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    // Nobody else is kept waiting, and everything else can be changed.
    store.edit_queue_limits(QUEUE, LimitsEdit::default().max_in_progress(9)).await.unwrap();
    store.add_queue_item(QUEUE, named("a3").group("a")).await.unwrap();
    transaction.commit().await.unwrap();
    store.edit_queue_limits(QUEUE, one_at_a_time()).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    assert_eq!(names(&claim(&store, job, 9).await), ["a1"]);
    assert!(damage(&schema).is_empty(), "{:?}", damage(&schema));
}

/// A transaction that changes queues keeps all others waiting, and the user's own may keep a group waiting for long: so the first
/// does not wait for the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_queues_and_the_users_transaction_do_not_stop_everybody_else() {
    let schema = Schema::new();
    let one = store(&schema, one_at_a_time()).await;
    one.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    one.add_queue_item(QUEUE, named("a1").group("a")).await.unwrap();
    let job = one.start_job(new_job()).await.unwrap();
    let first = claim(&one, job, 1).await;
    let store = Store::postgres(&format!("{}&writers=1", schema.url)).await.unwrap();
    let mut client = connected(&schema).await;
    let transaction = client.transaction().await.unwrap();
    one.add_queue_item_in(&transaction, QUEUE, named("a2").group("a")).await.unwrap();

    // A report that waits for the user's transaction and a change of queues are one transaction: both are there when the writer,
    // which waits for a change of queues by another program, looks again.
    let mut lock = connected(&schema).await;
    let lock = lock.transaction().await.unwrap();
    lock_alone(&schema, &lock, "queues").await;
    let adding = tokio::spawn({
        let store = store.clone();
        async move { store.add_queue_item("Other", named("o1")).await }
    });
    schema.until_waiting(1).await;
    let reports = store.report_and_claim(vec![Report::new(first[0].claim, ok())], None);
    let others = async {
        lock.rollback().await.unwrap();
        schema.until_waiting(1).await;
        let added = one.add_queue_item("Other", named("o2"));
        tokio::time::timeout(Duration::from_secs(20), added).await.expect("it is kept waiting").unwrap();
        transaction.commit().await.unwrap();
    };
    let (reported, created, (), added) =
        tokio::join!(biased; reports, store.create_queue(NewQueueDefinition::new("New")), others, adding);
    reported.reports.into_iter().next().unwrap().unwrap();
    created.unwrap();
    added.unwrap().unwrap();
    assert!(damage(&schema).is_empty(), "{:?}", damage(&schema));
}

/// Locks by this name are advisory.
async fn lock_alone(schema: &Schema, transaction: &tokio_postgres::Transaction<'_>, what: &str) {
    let name = format!("performer/{}/{what}", schema.name());
    let sql = format!("SELECT pg_advisory_xact_lock(hashtextextended('{name}', 0))");
    transaction.batch_execute(&sql).await.unwrap();
}

/// Queues with limits are locked in one order. So claims that wait for an item of another queue than those that are locked are left
/// to a transaction of their own, whoever has that queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_settles_groups_locks_no_other_queue_for_claims_that_wait() {
    const LIMITED: &str = "Limited";
    let schema = Schema::new();
    let store = store(&schema, one_at_a_time()).await;
    let limited = store.create_queue(NewQueueDefinition::new(LIMITED)).await.unwrap();
    store.edit_queue_limits(LIMITED, LimitsEdit::default().max_in_progress(1)).await.unwrap();
    store.add_queue_item(QUEUE, named("a1").group("a")).await.unwrap();
    for name in ["b1", "b2"] {
        store.add_queue_item(LIMITED, named(name)).await.unwrap();
    }
    let job = store.start_job(new_job()).await.unwrap();
    let a1 = claim(&store, job, 1).await;
    let of_limited = ClaimRequest::new(LIMITED, job, 1).robot(1);
    let b1 = store.report_and_claim(Vec::new(), Some(of_limited.clone())).await.claimed.unwrap().items;
    let hour = Duration::from_secs(3_600);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.report_and_claim(Vec::new(), Some(of_limited.wait(hour).look_every(hour))).await }
    });
    while store.parked_claims() == 0 {
        tokio::task::yield_now().await;
    }
    let mut lock = connected(&schema).await;
    let lock = lock.transaction().await.unwrap();
    lock_alone(&schema, &lock, &format!("starts/{}", limited.id.0)).await;
    let reports = [&a1[0], &b1[0]].map(|claimed| Report::new(claimed.claim, ok()));
    let reported = store.report_and_claim(reports.to_vec(), None);
    let reported =
        tokio::time::timeout(Duration::from_secs(20), reported).await.expect("it waits for the lock");
    assert!(reported.reports.iter().all(Result::is_ok), "{reported:?}");
    lock.rollback().await.unwrap();
    let claimed =
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it is served").unwrap();
    assert_eq!(names(&claimed.claimed.unwrap().items), ["b2"]);
}

/// Many wait behind others, and a list finds them as it finds few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_many_items_are_listed_put_into_new_places_and_removed() {
    const MANY: usize = 3_000;
    let schema = Schema::new();
    let store = store(&schema, one_at_a_time().fair(true)).await;
    let item = |n: usize| -> NewQueueItem { named(&n.to_string()).group(["large", "small"][n / 2_990]) };
    let _ = store
        .bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, (0..MANY).map(item).collect())
        .await
        .unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    assert_eq!(names(&claim(&store, job, 9).await), ["0", "2990"]);
    let new = ItemFilter::default().queue(QUEUE).status([Status::New]);
    let mut listed = store.list_queue_items(new, Page::default()).await.unwrap().items;
    listed.sort_by_key(|item| item.id);
    assert!(listed.len() > 1 && listed.iter().all(|item| item.status == Status::New));
    let places = |condition: &str| {
        let rows = schema.run(&format!("SELECT count(*) FROM {{schema}}.item_grouped WHERE {condition}"));
        rows[0][0].as_deref().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!((places("place IS NOT NULL"), places("place IS NULL")), (2, MANY - 2));
    store
        .edit_queue_limits(QUEUE, LimitsEdit::default().max_in_progress_per_group(5).fair(false))
        .await
        .unwrap();
    assert_eq!((places("place IS NOT NULL"), places("place IS NULL")), (10, MANY - 10));
    let claimed = claim(&store, job, 99).await;
    assert_eq!(names(&claimed), ["1", "2", "3", "4", "2991", "2992", "2993", "2994"]);
    for claimed in &claimed[..2] {
        report(&store, claimed, business("no")).await;
    }
    // One of another state, as an older program would leave it.
    schema.run("UPDATE {schema}.item_review SET status = 5 WHERE item_id = (SELECT min(item_id) FROM {schema}.item_review)");
    store.delete_queue(QUEUE).await.unwrap();
    while !schema.run("SELECT 1 FROM {schema}.queue_removal").is_empty() {
        store.sweep().await.unwrap();
    }
    assert_eq!(places("true"), 0);
    for table in ["item", "item_review"] {
        let rows = schema.run(&format!("SELECT count(*) FROM {{schema}}.{table}"));
        assert_eq!(rows, [[Some("0".to_owned())]], "{table}");
    }
}
