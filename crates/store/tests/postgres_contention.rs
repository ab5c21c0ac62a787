//! Contention in PostgreSQL: transactions that were aborted by conflicts with others are retried.

#![cfg(feature = "postgres")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::query::{Condition, Field, TextMatch};
use performer::model::{Claim, Clock, ManualClock, SystemClock};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Orchestrator, Report};
use performer::orchestrator::{ItemAdministration as _, QueueAdministration as _};
use performer::tokio_postgres::{self, NoTls};
use performer::{CommitType, ErrorKind, ItemFilter, JobKey, JobState, NewQueueDefinition, Page, Status};
use performer_proofs::postgres::Schema;
use performer_proofs::{
    QUEUE, a_clock_that_is_ahead_removes_no_job_and_no_token, jobs_that_ended_are_removed, named, new_job,
    ok, start_of_time, take,
};

async fn store(schema: &Schema) -> Store {
    let store = Store::postgres(&schema.url).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    store
}

/// So many inserts fail like this, and then no more.
fn fail(schema: &Schema, times: u32, code: &str) {
    schema.run(&format!(
        "CREATE SEQUENCE IF NOT EXISTS {{schema}}.failed; ALTER SEQUENCE {{schema}}.failed RESTART; \
         CREATE OR REPLACE FUNCTION {{schema}}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('{{schema}}.failed') <= {times} THEN RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}'; END IF; \
         RETURN NULL; END $$; \
         DROP TRIGGER IF EXISTS fail ON {{schema}}.item; CREATE TRIGGER fail AFTER INSERT ON {{schema}}.item EXECUTE FUNCTION {{schema}}.fail()"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_aborted_by_conflicts_are_retried() {
    let schema = Schema::new();
    let store = store(&schema).await;
    let mut added = 0;
    for code in ["40001", "40P01", "55P03"] {
        for times in [1, 3] {
            fail(&schema, times, code);
            // Many callers, some of whom join the transaction when it has begun.
            let adding: Vec<_> = (0..40)
                .map(|n| {
                    let (store, name) = (store.clone(), format!("{code}-{times}-{n}"));
                    tokio::spawn(async move { store.add_queue_item(QUEUE, named(&name)).await })
                })
                .collect();
            for adding in adding {
                adding.await.unwrap().unwrap();
                added += 1;
            }
            assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, added, "{code}: each once");
        }
    }
    let rows = schema.run("SELECT count(*), count(DISTINCT reference) FROM {schema}.item");
    assert_eq!(rows, [[Some(added.to_string()), Some(added.to_string())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_conflict_is_reported() {
    let schema = Schema::new();
    let store = store(&schema).await;
    fail(&schema, 1_000_000, "40P01");
    let refused = store.add_queue_item(QUEUE, named("a")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("others were in the way"), "{refused}");
    let tries = schema.run("SELECT last_value FROM {schema}.failed");
    assert_eq!(tries, [[Some("7".to_owned())]], "and not for ever");
    // What is wrong for another reason is not tried again.
    fail(&schema, 1, "23514");
    store.add_queue_item(QUEUE, named("a")).await.unwrap_err();
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, 0);
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
}

/// The user's transaction and ours wait for each other; PostgreSQL undoes ours, because it waited first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_in_a_deadlock_is_recorded_after_the_other() {
    let schema = Schema::new();
    // With one writer: a second one would count in a row of its own, which the transaction below does not lock.
    let store = Store::postgres(&format!("{}&writers=1", schema.url)).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    let (plain, name) = schema.url.split_once("?schema=").unwrap();
    let (mut users, connection) = tokio_postgres::connect(plain, NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = users.transaction().await.unwrap();
    transaction.batch_execute(&format!("SELECT FROM {name}.queue_statistics FOR UPDATE")).await.unwrap();
    let claim = taken[0].claim;
    let reporting = tokio::spawn({
        let store = store.clone();
        async move { store.report_and_claim(vec![Report::new(claim, ok())], None).await.reports.pop() }
    });
    let waits = format!(
        "SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks WHERE relation = \
         '{name}.queue_statistics'::regclass)"
    );
    while schema.run(&waits).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let not_held = "SELECT 1 FROM {schema}.item_state FOR UPDATE SKIP LOCKED";
    assert!(schema.run(not_held).is_empty(), "so each waits for the other");
    let row = format!("SELECT FROM {name}.item_state FOR UPDATE");
    transaction.batch_execute(&row).await.expect("the other one was undone");
    transaction.commit().await.unwrap();
    assert_eq!(reporting.await.unwrap().unwrap().unwrap(), Status::Successful);
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().successful, 1);
}

/// A database may begin its transactions in another way; the store says what it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_sets_its_isolation_level() {
    let schema = Schema::new();
    let url = format!("{}&options=-c%20default_transaction_isolation%3Dserializable", schema.url);
    let store = Store::postgres(&url).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    schema.run(
        "CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         ASSERT current_setting('transaction_isolation') = 'read committed'; RETURN NULL; END $$; \
         CREATE TRIGGER fail AFTER INSERT ON {schema}.item EXECUTE FUNCTION {schema}.fail()",
    );
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
}

/// A connection of somebody's, beside the store.
async fn somebody(schema: &Schema) -> tokio_postgres::Client {
    let (plain, _) = schema.url.split_once("?schema=").unwrap();
    let (client, connection) = tokio_postgres::connect(plain, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A job, and so many items that it has taken.
async fn taken(store: &Store, count: usize) -> (JobKey, Vec<Claim>) {
    for n in 0..count {
        store.add_queue_item(QUEUE, named(&format!("taken {n}"))).await.unwrap();
    }
    let job = store.start_job(new_job()).await.unwrap();
    let items = store.report_and_claim(Vec::new(), Some(take(job, count))).await.claimed.unwrap().items;
    (job, items.into_iter().map(|item| item.claim).collect())
}

/// So many calls at the same time; each succeeds.
async fn add_at_once(store: &Store, count: u32) {
    let adding: Vec<_> = (0..count)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.add_queue_item(QUEUE, named(&n.to_string())).await })
        })
        .collect();
    for adding in adding {
        adding.await.unwrap().expect("an item that is added");
    }
}

async fn report(store: Store, claim: Claim) -> performer::orchestrator::Result<Status> {
    let report = Report::new(claim, ok());
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap()
}

/// Somebody's transaction that keeps the row of an item.
async fn keeps<'a>(
    schema: &Schema,
    users: &'a mut tokio_postgres::Client,
    claim: Claim,
) -> tokio_postgres::Transaction<'a> {
    let transaction = users.transaction().await.unwrap();
    let row = format!("SELECT FROM {}.item_state WHERE item_id = {} FOR UPDATE", schema.name(), claim.item());
    transaction.batch_execute(&row).await.unwrap();
    transaction
}

/// Several transactions of one store write at the same time: one that has to wait for somebody does not keep the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_call_does_not_block_others() {
    let schema = Schema::new();
    let store = store(&schema).await;
    let (job, claims) = taken(&store, 2).await;
    let report = |at: usize| report(store.clone(), claims[at]);
    let mut users = somebody(&schema).await;
    let transaction = keeps(&schema, &mut users, claims[0]).await;
    let kept = tokio::spawn(report(0));
    schema.until_waiting(1).await;
    // The other connection takes all that comes, one call after the other and many at once.
    assert_eq!(report(1).await.unwrap(), Status::Successful);
    add_at_once(&store, 50).await;
    assert_eq!(store.beat(job).await.unwrap(), JobState::Running);
    assert!(!kept.is_finished());
    transaction.commit().await.unwrap();
    assert_eq!(kept.await.unwrap().unwrap(), Status::Successful);
    let statistics = store.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((statistics.successful, statistics.new, statistics.in_progress), (2, 50, 0));
}

/// What one operation of a transaction changes, the next one knows: a report behind a progress of the same item is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_recorded_after_a_progress_in_the_same_transaction() {
    let schema = Schema::new();
    let store = Store::postgres(&format!("{}&writers=1", schema.url)).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let (_, claims) = taken(&store, 3).await;
    let report = |at: usize| report(store.clone(), claims[at]);
    let mut users = somebody(&schema).await;
    let transaction = keeps(&schema, &mut users, claims[0]).await;
    let kept = tokio::spawn(report(0));
    schema.until_waiting(1).await;
    // All of them are there when the writer looks again.
    let progress = store.set_transaction_progress(claims[1], "half".to_owned());
    let (progress, first, second, released, kept) =
        tokio::join!(biased; progress, report(1), report(2), transaction.commit(), kept);
    released.unwrap();
    progress.unwrap();
    for status in [first, second, kept.unwrap()] {
        assert_eq!(status.unwrap(), Status::Successful);
    }
    let statistics = store.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((statistics.successful, statistics.in_progress), (3, 0));
    for claim in claims {
        assert_eq!(store.get_queue_item(claim.item()).await.unwrap().status, Status::Successful);
    }
}

/// A job ends while items are taken for it: whoever ends it waits for them, and abandons them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ends_while_it_takes_leaves_nothing_in_progress() {
    let schema = Schema::new();
    let store = store(&schema).await;
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let mut users = somebody(&schema).await;
    let transaction = users.transaction().await.unwrap();
    // The take has found the job alive, and cannot say yet what it takes.
    transaction
        .batch_execute(&format!("LOCK TABLE {}.item_claim IN SHARE MODE", schema.name()))
        .await
        .unwrap();
    let taking = tokio::spawn({
        let store = store.clone();
        async move { store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed }
    });
    schema.until_waiting(1).await;
    let ending = tokio::spawn({
        let store = store.clone();
        async move { store.end_job(job, JobState::Stopped.into()).await }
    });
    schema.until_waiting(2).await;
    transaction.commit().await.unwrap();
    assert_eq!(taking.await.unwrap().unwrap().items.len(), 1);
    assert_eq!(ending.await.unwrap().unwrap().abandoned, 1);
    let statistics = store.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((statistics.abandoned, statistics.in_progress), (1, 0));
    let refused = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed;
    assert_eq!(refused.map(|taken| taken.items.len()).unwrap_or_default(), 0, "and takes no more");
}

/// The server lets in no more than one connection that writes: that one does everything, and nobody hears of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writing_connection_is_sufficient() {
    let schema = Schema::new();
    let role = format!("{}_few", schema.name());
    schema.run(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT 2; \
         DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$"
    ));
    let url = schema.url.replacen(&user_of(&schema.url), &format!("{role}:x"), 1);
    // One that writes, and one that listens.
    let store = Store::postgres(&url).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let heard = format!("SELECT 1 FROM pg_stat_activity WHERE usename = '{role}'");
    while schema.run(&heard).len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    add_at_once(&store, 200).await;
    assert_eq!(schema.run("SELECT count(*) FROM {schema}.item"), [[Some("200".to_owned())]]);
    drop(store);
    while !schema.run(&heard).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    schema.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

/// The user, and the password if there is one, of a URL.
fn user_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split_once('@').unwrap().0.to_owned()
}

/// Somebody has the lock of the queues alone between two transactions, the second of which was begun behind the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_is_current_after_waiting_for_a_lock() {
    const HELD: Duration = Duration::from_millis(300);
    let schema = Schema::new();
    let store = store(&schema).await;
    let job = store.start_job(new_job()).await.unwrap();
    add_at_once(&store, 5_000).await;
    let (locks, looks) = (somebody(&schema).await, somebody(&schema).await);
    let name = schema.url.split_once("?schema=").unwrap().1;
    let lock = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('performer/{name}/queues', 0)); \
         SELECT pg_sleep({}); COMMIT",
        HELD.as_secs_f32()
    );
    let mut waited = 0;
    for _ in 0..5 {
        let (is_held, under_way) = (AtomicBool::new(true), tokio::sync::Notify::new());
        let holding = async {
            under_way.notified().await;
            locks.batch_execute(&lock).await.unwrap();
            is_held.store(false, Ordering::Relaxed);
        };
        let working = async {
            let mut reports = Vec::new();
            for call in 0.. {
                if call == 50 {
                    under_way.notify_one();
                }
                if !is_held.load(Ordering::Relaxed) {
                    break;
                }
                let began = tokio::time::Instant::now();
                let taken =
                    store.report_and_claim(std::mem::take(&mut reports), Some(take(job, 1))).await.claimed;
                let Some(claimed) = taken.unwrap().items.pop() else {
                    store.add_queue_item(QUEUE, named("a")).await.unwrap();
                    continue;
                };
                if began.elapsed() > HELD / 2 {
                    let now: Timestamp =
                        looks.query_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
                    let started = claimed.item.start_processing.unwrap();
                    assert!(started <= now, "{started}, and it is {now}");
                    waited += 1;
                }
                reports.push(Report::new(claimed.claim, ok()));
            }
        };
        tokio::join!(holding, working);
    }
    assert!(waited > 0, "nobody waited for the lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_jobs_without_items_are_removed() {
    let schema = Schema::new();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    jobs_that_ended_are_removed(&store, &clock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_and_tokens_outlive_a_clock_that_is_ahead() {
    let schema = Schema::new();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    a_clock_that_is_ahead_removes_no_job_and_no_token(&store, &clock).await;
}

/// The deletion itself removes nothing, and each sweep a little; another process goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_items_of_a_deleted_queue_are_removed_in_batches() {
    let schema = Schema::new();
    let store = store(&schema).await;
    store.create_queue(NewQueueDefinition::new("Kept")).await.unwrap();
    let later = SystemClock::new().now() + Duration::from_secs(3_600);
    for name in [QUEUE, "Kept"] {
        let items = (0..3_000).map(|n| {
            let item = named(&n.to_string());
            if n % 10 == 0 { item.defer_date(later) } else { item }
        });
        let added =
            store.bulk_add_queue_items(name, CommitType::AllOrNothing, items.collect()).await.unwrap();
        assert_eq!(added.added, 3_000);
    }
    let (job, _) = taken(&store, 5).await;
    store.delete_queue(QUEUE).await.unwrap();
    let rows = "WITH gone AS (SELECT id FROM {schema}.queue WHERE deleted) SELECT \
         (SELECT count(*) FROM {schema}.item_ready JOIN gone ON queue_id = gone.id) \
         + (SELECT count(*) FROM {schema}.item_deferred JOIN gone ON queue_id = gone.id) \
         + (SELECT count(*) FROM {schema}.item JOIN gone ON queue_id = gone.id) \
         + (SELECT count(*) FROM {schema}.item_state JOIN gone ON queue_id = gone.id)";
    let count = || schema.run(rows)[0][0].as_deref().unwrap().parse::<i64>().unwrap();
    let mut left = count();
    assert_eq!(left, 3_005 + 3_000 + 5, "items, their places, and what was taken");
    assert_eq!(store.end_job(job, JobState::Stopped.into()).await.unwrap().abandoned, 0);
    let another = Store::postgres(&schema.url).await.unwrap();
    let mut sweeps = 0;
    while left > 0 {
        if sweeps % 2 == 0 { &store } else { &another }.sweep().await.unwrap();
        let now_left = count();
        assert!(left - now_left <= 4 * (500 + 5), "{left} rows were left, and {now_left} are");
        (left, sweeps) = (now_left, sweeps + 1);
        assert!(sweeps < 50, "it goes on until nothing is left");
    }
    assert!(sweeps > 2, "not at once, but in {sweeps} sweeps");
    while !schema.run("SELECT 1 FROM {schema}.queue_removal").is_empty() {
        store.sweep().await.unwrap();
    }
    assert_eq!(schema.run("SELECT count(*) FROM {schema}.item"), [[Some("3000".to_owned())]]);
    assert_eq!(store.queue_statistics("Kept").await.unwrap().new, 3_000);
}

/// Each notification says of which queue it is: whoever waits for another one sleeps on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_items_wake_only_those_who_wait_for_their_queue() {
    let schema = Schema::new();
    let (here, there) = (store(&schema).await, Store::postgres(&schema.url).await.unwrap());
    here.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let job = here.start_job(new_job()).await.unwrap();
    let look = async |queue: &str| {
        let take = ClaimRequest::new(queue, job, 1).robot(1);
        here.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap()
    };
    let wait = |queue: &'static str, seen| {
        let here = here.clone();
        tokio::spawn(async move { here.wait_for_items(queue, seen, Duration::from_secs(600)).await })
    };
    // When it begins to listen it tells of everything once.
    loop {
        let seen = look("Other").await.seen;
        let waiting = wait("Other", seen);
        there.add_queue_item("Other", named("a")).await.unwrap();
        waiting.await.unwrap();
        if look("Other").await.items.len() == 1 {
            break;
        }
    }
    let waiting = wait(QUEUE, look(QUEUE).await.seen);
    for n in 0..5 {
        let seen = look("Other").await.seen;
        let other = wait("Other", seen);
        there.add_queue_item("Other", named(&n.to_string())).await.unwrap();
        other.await.unwrap();
    }
    assert!(!waiting.is_finished(), "nothing was added to its queue");
    there.add_queue_item(QUEUE, named("b")).await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_takes_too_long_is_refused() {
    let schema = Schema::new();
    let store = store(&schema).await;
    let items = (0..20_000).map(|n| named(&n.to_string())).collect();
    let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(added.added, 20_000);
    let served = performer_proofs::test_server::TestServer::start_as(store, |server| {
        server.list_limit(Duration::from_millis(1))
    })
    .await;
    let client = served.client().connect().await.unwrap();
    // No index finds what is somewhere in a reference.
    let somewhere = Condition::Text(Field::Reference, TextMatch::Contains, "none is called so".to_owned());
    let filter = ItemFilter::default().condition(somewhere);
    let refused = client.list_queue_items(filter, Page::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused:?}");
    assert!(refused.to_string().contains("within 1ms"), "{refused}");
    assert_eq!(client.get_queue(QUEUE).await.unwrap().name, QUEUE, "the connection is as good as before");
}
