//! The limits of the machine: plain rusqlite on a plain table, and a plain channel.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

/// A table for a queue and nothing else.
const SCHEMA: &str = "
    CREATE TABLE item (
        id INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        status INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        content TEXT NOT NULL,
        started INTEGER,
        ended INTEGER,
        owner INTEGER
    );
    CREATE INDEX item_next ON item (queue, priority) WHERE status = 0;";

pub struct Raw {
    connection: Connection,
}

impl Raw {
    pub fn new(folder: &Path) -> Self {
        let connection = Connection::open(folder.join("raw.db")).expect("a file");
        connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
        connection.pragma_update(None, "synchronous", "FULL").expect("FULL");
        connection.execute_batch(SCHEMA).expect("a schema");
        Self { connection }
    }

    /// All items in one multi-row insert after the other, in one transaction.
    pub fn add_bulk(&mut self, content: &str, count: usize) -> Duration {
        const ROWS: usize = 100;
        let values = vec!["(1, 0, 1, ?1)"; ROWS].join(", ");
        let started = Instant::now();
        let transaction = self.connection.transaction().expect("a transaction");
        let sql = format!("INSERT INTO item (queue, status, priority, content) VALUES {values}");
        for _ in 0..count / ROWS {
            transaction
                .prepare_cached(&sql)
                .and_then(|mut insert| insert.execute([content]))
                .expect("an insert");
        }
        transaction.commit().expect("a commit");
        started.elapsed()
    }

    /// One row in a transaction of its own.
    pub fn add_one(&mut self, content: &str) -> Duration {
        let started = Instant::now();
        let insert = "INSERT INTO item (queue, status, priority, content) VALUES (1, 0, 1, ?1)";
        self.connection
            .prepare_cached(insert)
            .and_then(|mut insert| insert.execute([content]))
            .expect("an insert");
        started.elapsed()
    }

    /// Drains the table: claims and results of a batch in one commit.
    pub fn drain(&mut self, batch: usize) -> Duration {
        const CLAIM: &str = "UPDATE item SET status = 1, started = ?2, owner = 7 WHERE id IN \
             (SELECT id FROM item WHERE queue = 1 AND status = 0 ORDER BY priority, id LIMIT ?1) RETURNING id, content";
        const RESULT: &str =
            "UPDATE item SET status = 3, ended = ?2 WHERE id = ?1 AND status = 1 AND owner = 7";
        let started = Instant::now();
        let mut held: Vec<i64> = Vec::new();
        loop {
            let transaction = self.connection.transaction().expect("a transaction");
            {
                let mut result = transaction.prepare_cached(RESULT).expect("a statement");
                for id in held.drain(..) {
                    result.execute(params![id, 2_i64]).expect("a result");
                }
                let mut claim = transaction.prepare_cached(CLAIM).expect("a statement");
                let mut rows = claim.query(params![batch, 1_i64]).expect("claims");
                while let Some(row) = rows.next().expect("a row") {
                    std::hint::black_box(row.get::<_, String>(1).expect("content"));
                    held.push(row.get(0).expect("an id"));
                }
            }
            transaction.commit().expect("a commit");
            if held.is_empty() {
                return started.elapsed();
            }
        }
    }
}

/// A channel whose receiver parses each content in a task of its own.
pub async fn channel(content: &'static str, count: usize, in_flight: usize) -> Duration {
    let (send, mut receive) = tokio::sync::mpsc::channel::<String>(in_flight);
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            send.send(content.to_owned()).await.expect("somebody receives");
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    while let Some(text) = receive.recv().await {
        tasks.spawn(async move { serde_json::from_str::<super::figures::Content>(&text).expect("content") });
        while tasks.len() >= in_flight {
            tasks.join_next().await;
        }
    }
    while tasks.join_next().await.is_some() {}
    sending.await.expect("sent");
    started.elapsed()
}
