//! The store behind a real PgBouncer, which gives each transaction another connection.

#![cfg(all(unix, feature = "postgres"))]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use performer::orchestrator::store::Store;
use performer::orchestrator::{ItemAdministration as _, QueueAdministration as _};
use performer::orchestrator::{Orchestrator, Report};
use performer::tokio_postgres::{self, Client, NoTls};
use performer::{ErrorKind, ItemFilter, NewQueueDefinition, Page, QueuePolicy, Status};
use performer_proofs::cutting_proxy::Proxy;
use performer_proofs::pgbouncer::{PgBouncer, SERVERS};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, application, named, new_job, ok, take};

/// Where the test tells a process of its own what to work on.
const WORK: &str = "PERFORMER_TEST_POOLED";

const ITEMS: usize = 200;

/// A schema, and a pool of this mode before its database.
async fn pooled(mode: &str) -> (Schema, PgBouncer) {
    let schema = Schema::new();
    let pool = PgBouncer::start(&schema.url, mode).await;
    (schema, pool)
}

async fn client(pool: &PgBouncer) -> Client {
    let (client, connection) = tokio_postgres::connect(&pool.plain_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What every connection to the database answers to this, each while the others are held.
async fn everywhere(pool: &PgBouncer, sql: &str) -> Vec<String> {
    let mut held = Vec::new();
    for _ in 0..SERVERS {
        let client = client(pool).await;
        client.batch_execute("BEGIN").await.unwrap();
        held.push(client);
    }
    let mut answers = Vec::new();
    for client in &held {
        let row = client.query_typed_one(sql, &[]).await.unwrap();
        answers.push(row.get(0));
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    answers
}

/// Takes and reports, one by one, until nothing is there. Every tenth fails once.
async fn work(store: &Store) -> usize {
    let job = store.start_job(new_job()).await.unwrap();
    let mut done = 0;
    loop {
        let items = store.report_and_claim(Vec::new(), Some(take(job, 2))).await.claimed.unwrap().items;
        if items.is_empty() {
            return done;
        }
        for claimed in items {
            let reference = claimed.item.reference.as_deref().unwrap_or_default();
            let fails = reference.ends_with('0') && claimed.item.retry_number == 0;
            let result = if fails { application("the world is wrong") } else { ok() };
            let report = Report::new(claimed.claim, result).progress("almost");
            store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
            done += usize::from(!fails);
        }
    }
}

/// Not a test: another process, whose statements have the names that the statements of this one have.
#[test]
#[ignore = "a part of the tests below"]
fn another_process() {
    let Ok(url) = std::env::var(WORK) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::postgres(&url).await.unwrap();
        for n in 0..ITEMS / 4 {
            store.add_queue_item(QUEUE, named(&format!("{}-{n:03}", std::process::id()))).await.unwrap();
        }
        work(&store).await;
    });
}

/// Three connections for four stores in three processes: each transaction is on another one, and each connection has seen
/// the statements of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_connections_do_not_interfere() {
    let (schema, pool) = pooled("transaction").await;
    let url = pool.url(schema.name());
    let first = Store::postgres(&url).await.unwrap();
    let policy = QueuePolicy::default().max_number_of_retries(1).enforce_unique_reference(true);
    first.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "another_process", "--ignored", "--nocapture"]).env(WORK, &url);
        others.push(other.stdout(Stdio::null()).spawn().unwrap());
    }
    let second = Store::postgres(&url).await.unwrap();
    for n in 0..ITEMS / 4 {
        first.add_queue_item(QUEUE, named(&format!("a-{n:03}"))).await.unwrap();
        second.add_queue_item(QUEUE, named(&format!("b-{n:03}"))).await.unwrap();
    }
    tokio::join!(work(&first), work(&second));
    for other in &mut others {
        assert!(tokio::task::block_in_place(|| other.wait()).unwrap().success(), "{}", pool.log());
    }
    work(&first).await;
    let counted = second.queue_statistics(QUEUE).await.unwrap();
    let all = i64::try_from(ITEMS).unwrap();
    assert_eq!((counted.new, counted.in_progress, counted.successful), (0, 0, all));
    assert_eq!(counted.retried, all / 10);
    let page = Page::default();
    let listed = first.list_queue_items(ItemFilter::default().status([Status::Successful]), page);
    assert_eq!(listed.await.unwrap().count, ITEMS as u64);
    // Nothing is left of anybody on the connections.
    let statements = everywhere(&pool, "SELECT count(*)::text FROM pg_prepared_statements").await;
    assert_eq!(statements, vec!["0"; SERVERS]);
    let channels = everywhere(&pool, "SELECT count(*)::text FROM pg_listening_channels()").await;
    assert_eq!(channels, vec!["0"; SERVERS]);
    assert!(!pool.log().contains("not linked"), "{}", pool.log());
}

/// Another program, which knows nothing of pools, left statements on every connection. They have the names that ours would have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_of_others_are_not_reused() {
    let (schema, pool) = pooled("transaction").await;
    let left: String = (0..300).map(|n| format!("PREPARE s{n} AS SELECT 'wrong';")).collect();
    let mut held = Vec::new();
    for _ in 0..SERVERS {
        let client = client(&pool).await;
        client.batch_execute(&format!("BEGIN; {left}")).await.unwrap();
        held.push(client);
    }
    for client in &held {
        client.batch_execute("COMMIT").await.unwrap();
    }
    let store = Store::postgres(&pool.url(schema.name())).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for n in 0..20 {
        store.add_queue_item(QUEUE, named(&format!("{n:02}"))).await.unwrap();
    }
    work(&store).await;
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().successful, 20);
    assert_eq!(store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().count, 22);
    let statements = everywhere(&pool, "SELECT count(*)::text FROM pg_prepared_statements").await;
    assert_eq!(statements, vec!["300"; SERVERS]);
}

/// Without a proxy, and through one that passes bytes on, others are listened to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_connection_is_recognised() {
    let schema = Schema::new();
    for url in [schema.url.clone(), Proxy::start(&schema.url).url()] {
        let _store = Store::postgres(&url).await.unwrap();
        let listens = "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN \"performer_{schema}\"'";
        let looking = async {
            while schema.run(listens).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), looking).await.expect("it listens");
    }
}

/// Nothing is heard of others there; they are looked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_performer_behind_a_pool_polls() {
    let (schema, pool) = pooled("transaction").await;
    let here = Store::postgres(&pool.url(schema.name())).await.unwrap();
    let there = Store::postgres(&schema.url).await.unwrap();
    here.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = here.start_job(new_job()).await.unwrap();
    let mut taken = here.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    there.add_queue_item(QUEUE, named("x")).await.unwrap();
    let waiting = async {
        while taken.items.is_empty() {
            here.wait_for_items(QUEUE, taken.seen, Duration::from_secs(60)).await;
            taken = here.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it is looked for");
}

/// The connections of the pool are ended by an administrator: whoever asks next gets others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_the_pool_that_are_ended_are_replaced() {
    let (schema, pool) = pooled("transaction").await;
    let store = Store::postgres(&pool.url(schema.name())).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for n in 0..3 {
        for process in everywhere(&pool, "SELECT pg_backend_pid()::text").await {
            schema.run(&format!("SELECT pg_terminate_backend({process})"));
        }
        let mut tries = 0;
        while let Err(error) = store.add_queue_item(QUEUE, named(&format!("{n}"))).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            tries += 1;
            assert!(tries < 20, "{error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, 3);
}

/// The user's own connection is one of the pool's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_added_and_completed_in_a_transaction_of_a_pooled_connection() {
    let (schema, pool) = pooled("transaction").await;
    let store = Store::postgres(&pool.url(schema.name())).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let mut users = client(&pool).await;
    for commits in [false, true] {
        let transaction = users.transaction().await.unwrap();
        store.add_queue_item_in(&transaction, QUEUE, named("a")).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        }
        assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, i64::from(commits));
    }
    let job = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    let transaction = users.transaction().await.unwrap();
    store.complete_in(&transaction, taken[0].claim, None).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().successful, 1);
    let statements = everywhere(&pool, "SELECT count(*)::text FROM pg_prepared_statements").await;
    assert_eq!(statements, vec!["0"; SERVERS]);
}

/// A pool that keeps a connection for each client is a proxy too: the same is done, and does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_pool_is_accepted() {
    let (schema, pool) = pooled("session").await;
    let store = Arc::new(Store::postgres(&pool.url(schema.name())).await.unwrap());
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for n in 0..20 {
        store.add_queue_item(QUEUE, named(&format!("{n:02}"))).await.unwrap();
    }
    work(&store).await;
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().successful, 20);
}

/// What cannot do says so at the start, and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsuitable_pool_is_refused() {
    for (mode, options, reason) in [
        ("statement", "", "takes no transactions; let it pool transactions or sessions"),
        ("transaction", "&options=-c%20geqo%3Doff", "startup parameter: options; take it out of the address"),
    ] {
        let (schema, pool) = pooled(mode).await;
        let refused = Store::postgres(&format!("{}{options}", pool.url(schema.name()))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused:?}");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
}
