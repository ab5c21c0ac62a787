//! Others are in the way on a PostgreSQL: what was undone through no fault of its own is tried again.

#![cfg(feature = "postgres")]

mod support;

use std::time::Duration;

use performer::orchestrator::local::Local;
use performer::orchestrator::{Administration, Orchestrator, Report};
use performer::tokio_postgres::{self, NoTls};
use performer::{ErrorKind, NewQueueDefinition, Status};
use support::postgres::Schema;
use support::{QUEUE, named, new_job, ok, take};

async fn store(schema: &Schema) -> Local {
    let store = Local::postgres(&schema.url).await.unwrap();
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
async fn what_others_were_in_the_way_of_is_tried_again() {
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
async fn others_who_are_always_in_the_way_are_told_of() {
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
async fn a_report_in_a_deadlock_is_recorded_behind_the_other() {
    let schema = Schema::new();
    let store = store(&schema).await;
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_take(Vec::new(), Some(take(job, 1))).await.taken.unwrap().items;
    let (plain, name) = schema.url.split_once("?schema=").unwrap();
    let (mut users, connection) = tokio_postgres::connect(plain, NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = users.transaction().await.unwrap();
    transaction.batch_execute(&format!("SELECT FROM {name}.queue_statistics FOR UPDATE")).await.unwrap();
    let claim = taken[0].claim;
    let reporting = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .report_and_take(vec![Report { claim, result: ok(), progress: None }], None)
                .await
                .reports
                .pop()
        }
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
async fn the_level_of_isolation_is_the_stores() {
    let schema = Schema::new();
    let url = format!("{}&options=-c%20default_transaction_isolation%3Dserializable", schema.url);
    let store = Local::postgres(&url).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    schema.run(
        "CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         ASSERT current_setting('transaction_isolation') = 'read committed'; RETURN NULL; END $$; \
         CREATE TRIGGER fail AFTER INSERT ON {schema}.item EXECUTE FUNCTION {schema}.fail()",
    );
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
}
