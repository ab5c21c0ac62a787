//! Items that are added and completed in the user's own transaction, on a real PostgreSQL.

#![cfg(feature = "postgres")]

use std::sync::Arc;

use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::tokio_postgres::{self, Client, NoTls};
use performer::{ErrorCode, ErrorKind, LimitsEdit, NewQueueDefinition, Output, QueuePolicy, Status};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, application, named, new_job, ok, take};

/// A store, and a connection of the user's to its database.
async fn both() -> (Schema, Store, Client) {
    let schema = Schema::new();
    let store = Store::postgres(&schema.url).await.unwrap();
    let policy = QueuePolicy::default().enforce_unique_reference(true);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    let client = connected(&schema.url).await;
    schema.run("CREATE TABLE {schema}.ledger (reference text NOT NULL)");
    (schema, store, client)
}

/// Whoever connects says where its own tables are.
async fn connected(url: &str) -> Client {
    let (plain, schema) = url.split_once("?schema=").unwrap();
    let (client, connection) = tokio_postgres::connect(plain, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path TO public, \"{schema}\"")).await.unwrap();
    client
}

async fn booked(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM ledger", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn an_item_is_added_atomically_with_the_users_rows() {
    let (_schema, store, mut client) = both().await;
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        let path = |row: tokio_postgres::Row| row.get::<_, String>(0);
        let before = path(transaction.query_one("SHOW search_path", &[]).await.unwrap());
        transaction.execute("INSERT INTO ledger VALUES ('INV-1')", &[]).await.unwrap();
        let added = store.add_queue_item_in(&transaction, QUEUE, named("INV-1")).await.unwrap();
        assert!(store.get_queue_item(added.id).await.unwrap_err().is_not_found(), "nobody sees it yet");
        assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, 0);
        // A refusal leaves the transaction as it was.
        let twice = store.add_queue_item_in(&transaction, QUEUE, named("INV-1")).await.unwrap_err();
        assert_eq!(twice.code(), Some(ErrorCode::DUPLICATE_REFERENCE));
        let nowhere = store.add_queue_item_in(&transaction, "Nowhere", named("x")).await.unwrap_err();
        assert!(nowhere.is_not_found());
        // What others do meanwhile is not kept waiting: queues are changed, other items are added.
        let edit = LimitsEdit::default().max_in_progress(9);
        store.edit_queue_limits(QUEUE, edit).await.unwrap();
        assert_eq!(before, path(transaction.query_one("SHOW search_path", &[]).await.unwrap()));
        if commits {
            transaction.commit().await.unwrap();
            assert_eq!(store.get_queue_item(added.id).await.unwrap().reference.as_deref(), Some("INV-1"));
        } else {
            transaction.rollback().await.unwrap();
        }
        let waiting = store.queue_statistics(QUEUE).await.unwrap().new;
        assert_eq!((booked(&client).await, waiting), if commits { (1, 1) } else { (0, 0) });
    }
}

#[tokio::test]
async fn an_item_is_completed_atomically_with_the_users_rows() {
    let (_schema, store, mut client) = both().await;
    store.add_queue_item(QUEUE, named("INV-1")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let claimed =
        store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items.remove(0);
    let (id, claim) = (claimed.item.id, claimed.claim);
    let output = Output::new(&serde_json::json!({"booked": true})).unwrap();

    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO ledger VALUES ('INV-1')", &[]).await.unwrap();
    let status = store.complete_in(&transaction, claim, Some(output.clone())).await.unwrap();
    assert_eq!(status, Status::Successful);
    transaction.rollback().await.unwrap();
    assert_eq!(store.get_queue_item(id).await.unwrap().status, Status::InProgress);

    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO ledger VALUES ('INV-1')", &[]).await.unwrap();
    store.complete_in(&transaction, claim, Some(output)).await.unwrap();
    transaction.commit().await.unwrap();
    let item = store.get_queue_item(id).await.unwrap();
    assert_eq!((item.status, item.output.is_some(), booked(&client).await), (Status::Successful, true, 1));

    // What the performer reports afterwards is known already; a failure comes too late.
    let again = performer::orchestrator::Report::new(claim, ok());
    let late = performer::orchestrator::Report::new(claim, application("too late"));
    let mut answers = store.report_and_claim(vec![again, late.clone()], None).await.reports;
    assert!(answers.pop().unwrap().unwrap_err().is_claim_lost());
    assert_eq!(answers.pop().unwrap().unwrap(), Status::Successful);
    let transaction = client.transaction().await.unwrap();
    assert!(store.report_in(&transaction, late).await.unwrap_err().is_claim_lost());
    transaction.execute("INSERT INTO ledger VALUES ('still of use')", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    let figures = store.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((figures.successful, figures.in_progress, figures.total()), (1, 0, 1));
}

/// Books each item in the database that the queue is in.
struct Book {
    store: Store,
    client: Client,
    /// Fails after the commit, every other time: as if the answer to it had been lost.
    fails: bool,
}

#[async_trait]
impl Transaction for Book {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: Self::Content, item: &TransactionItem) -> Result<(), Exception> {
        let transaction = self.client.transaction().await?;
        transaction.execute("INSERT INTO ledger VALUES ($1)", &[&item.reference()]).await?;
        self.store.complete_in(&transaction, item.claim(), None).await?;
        transaction.commit().await?;
        self.fails = !self.fails;
        if self.fails { Err(std::io::Error::other("the answer was lost").into()) } else { Ok(()) }
    }
}

/// Handlers that fail after their commit do no work twice, although the queue retries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_recorded_exactly_once() {
    let (schema, store, client) = both().await;
    for number in 0..40 {
        store.add_queue_item(QUEUE, named(&format!("INV-{number}"))).await.unwrap();
    }
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(connected(&schema.url).await);
    }
    let clients = Arc::new(std::sync::Mutex::new(clients));
    let books = store.clone();
    let robot =
        move || Book { store: books.clone(), client: clients.lock().unwrap().pop().unwrap(), fails: false };
    let performer = Performer::new(QUEUE, robot).robots(4).handle_signals(false);
    performer.run_until_empty(Arc::new(store.clone())).await.unwrap();
    let figures = store.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((figures.successful, figures.total()), (40, 40), "nothing was retried");
    let distinct = "SELECT count(*), count(DISTINCT reference) FROM ledger";
    let row = client.query_one(distinct, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (40, 40));
}

#[tokio::test]
async fn a_transaction_of_another_database_is_refused() {
    let (_schema, store, mut client) = both().await;
    let memory = Store::memory();
    let transaction = client.transaction().await.unwrap();
    let refused = memory.add_queue_item_in(&transaction, QUEUE, named("x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    drop(store);
}

#[tokio::test]
async fn an_item_keeps_the_span_in_which_it_is_added_in_the_users_transaction() {
    use opentelemetry::trace::{FutureExt as _, SpanContext, TraceContextExt as _, TraceFlags, TraceState};
    let (_schema, store, mut client) = both().await;
    let span = SpanContext::new(17.into(), 4.into(), TraceFlags::SAMPLED, false, TraceState::default());
    let context = opentelemetry::Context::new().with_remote_span_context(span);
    let transaction = client.transaction().await.unwrap();
    let add = store.add_queue_item_in(&transaction, QUEUE, named("INV-1"));
    let added = add.with_context(context).await.unwrap();
    let expected = format!("00-{:032x}-{:016x}-01", 17, 4);
    assert_eq!(added.parent_operation_id, Some(expected.clone()));
    transaction.commit().await.unwrap();
    assert_eq!(store.get_queue_item(added.id).await.unwrap().parent_operation_id, Some(expected));
}
