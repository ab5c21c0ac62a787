//! Changes items and the user's own rows in one database transaction: a purchase and its invoice are added atomically, and an
//! invoice is Successful if and only if it is booked, however often a handler or a process fails.
//!
//! ```sh
//! cargo run --features postgres --example ledger -- postgres://user@host/database
//! scripts/postgres cargo run --features postgres --example ledger      # beside a PostgreSQL of its own
//! ```

use std::sync::{Arc, Mutex};

use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::tokio_postgres::{self, Client, NoTls};
use performer::{NewQueueDefinition, NewQueueItem, QueuePolicy};
use serde::Deserialize;

/// The user's tables: purchases and bookings.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS purchase (id bigint PRIMARY KEY, amount bigint NOT NULL); \
                      CREATE TABLE IF NOT EXISTS booking (purchase_id bigint NOT NULL, amount bigint NOT NULL)";

#[derive(Deserialize)]
struct Invoice {
    purchase: i64,
    amount: i64,
}

/// Books invoices. Each robot has its own connection.
struct BookInvoices {
    queues: Store,
    database: Client,
    turns: u64,
}

#[async_trait]
impl Transaction for BookInvoices {
    type Content = Invoice;
    type Output = ();

    async fn process(&mut self, invoice: Invoice, item: &TransactionItem) -> Result<(), Exception> {
        let transaction = self.database.transaction().await?;
        let sql = "INSERT INTO booking (purchase_id, amount) VALUES ($1, $2)";
        transaction.execute(sql, &[&invoice.purchase, &invoice.amount]).await?;
        self.queues.complete_in(&transaction, item.claim(), None).await?;
        self.turns += 1;
        // Some handlers fail before their commit, and some after it.
        if self.turns.is_multiple_of(7) {
            return Err(std::io::Error::other("failed before the commit").into());
        }
        transaction.commit().await?;
        if self.turns.is_multiple_of(5) {
            return Err(std::io::Error::other("failed after the commit").into());
        }
        Ok(())
    }
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("PERFORMER_TEST_POSTGRES").ok());
    let url = url.ok_or("say where the database is: postgres://user@host/database")?;
    let queues = Store::postgres(&url).await?;
    let policy = QueuePolicy::default().max_number_of_retries(10);
    queues.ensure_queue(NewQueueDefinition::new("Ledger").policy(policy)).await?;
    let mut client = connect(&url).await?;
    client.batch_execute(TABLES).await?;

    let first: i64 = client.query_one("SELECT coalesce(max(id), 0) + 1 FROM purchase", &[]).await?.get(0);
    for id in first..first + 100 {
        let transaction = client.transaction().await?;
        let amount = id * 10;
        transaction.execute("INSERT INTO purchase (id, amount) VALUES ($1, $2)", &[&id, &amount]).await?;
        let invoice = NewQueueItem::new(serde_json::json!({ "purchase": id, "amount": amount }));
        queues.add_queue_item_in(&transaction, "Ledger", invoice.reference(format!("INV-{id}"))).await?;
        transaction.commit().await?;
    }

    let connections = Mutex::new(vec![connect(&url).await?, connect(&url).await?]);
    let books = queues.clone();
    let robot = move || BookInvoices {
        queues: books.clone(),
        database: connections.lock().ok().and_then(|mut all| all.pop()).expect("a connection a robot"),
        turns: 0,
    };
    let summary = Performer::new("Ledger", robot).robots(2).run_until_empty(Arc::new(queues.clone())).await?;
    println!("{summary}");

    let sql = "SELECT (SELECT count(*) FROM purchase), count(*), count(DISTINCT purchase_id) FROM booking";
    let row = client.query_one(sql, &[]).await?;
    let (bought, booked, distinct): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    println!("{bought} bought, {booked} booked, {distinct} of them different");
    let figures = queues.queue_statistics("Ledger").await?;
    println!("{} Successful in the queue", figures.successful);
    Ok(())
}
