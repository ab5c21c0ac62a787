//! An open connection, and what the server knows about it.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::bulk_write::BulkWrite;
use super::caller_transaction::Executor;
use super::pipeline::{self, QueuedStatement};
use super::pooler::Prepared;
use super::session::{SqlResult, Values};

/// How often a row is updated before a new one replaces it: beside a transaction with an old snapshot all versions are
/// kept, and each update has to skip them.
const MAX_VERSIONS: i64 = 256;

/// An open connection and its state.
pub(super) struct OpenConnection {
    pub(super) client: Executor,
    /// Its key in the table `connection`.
    pub(super) key: Uuid,
    /// Its key before, if a row with that key still exists.
    pub(super) before: Option<Uuid>,
    /// How many transactions it has committed, or tried to, under this key.
    pub(super) commits: i64,
    /// The open transaction has counted its commit.
    pub(super) is_counted: bool,
    /// The numbers of its rows of counters, by queue, and how often each was updated.
    shards: HashMap<i64, (i64, i64)>,
    /// Since when it is connected.
    pub(super) connected: Timestamp,
    /// The server process of the transaction that was begun last.
    pub(super) server_process: ServerProcess,
    pub(super) statements: HashMap<String, Prepared>,
    /// Changes of items that are sent before the next statement.
    pub(super) collected: BulkWrite,
    /// Statements that are sent with the next one.
    queued: Vec<QueuedStatement>,
}

/// The answer to a begin: the start of the transaction, and the results of the queries sent with it.
pub(super) type BeginAnswer<T> = (T, SqlResult<Vec<Vec<Row>>>);

/// A transaction or connection in the server: the number of a process and a start time, which together are unique.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerProcess {
    pub(super) process: i32,
    pub(super) began: StartTime,
}

/// When a process of the server started.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartTime {
    /// When its transaction started.
    Transaction(Timestamp),
    /// When its connection started: the start of its transaction is not known yet.
    Connection(Timestamp),
}

/// Identifies a commit of a connection.
#[derive(Clone, Debug)]
pub(super) struct CommitId {
    pub(super) server_process: ServerProcess,
    pub(super) key: Uuid,
    pub(super) number: i64,
}

/// The start of a transaction.
#[derive(Clone, Debug)]
pub(super) struct TransactionStart {
    /// The database's time.
    pub(super) at: Timestamp,
    /// The oldest schema version that a program has to know.
    pub(super) oldest: i32,
    /// Since when the server runs: differs for every server and every restart. (After a crash of one process all but
    /// the first are restarted.)
    pub(super) server: Timestamp,
}

impl OpenConnection {
    pub(super) fn new(client: Executor, process: i32, key: Uuid, connected: Timestamp) -> Self {
        let server_process = ServerProcess { process, began: StartTime::Connection(connected) };
        let (shards, statements) = (HashMap::new(), HashMap::new());
        Self {
            client,
            key,
            before: None,
            commits: 0,
            is_counted: false,
            shards,
            connected,
            server_process,
            statements,
            collected: BulkWrite::default(),
            queued: Vec::new(),
        }
    }

    /// The number of its row of counters of a queue, and the number of the row that this one replaces now, if any.
    pub(super) fn shard(&mut self, queue: i64) -> (Option<i64>, i64) {
        let (shard, changes) = self.shards.entry(queue).or_insert_with(|| (fastrand::i64(0..), 0));
        *changes += 1;
        if *changes < MAX_VERSIONS {
            return (None, *shard);
        }
        let before = std::mem::replace(shard, fastrand::i64(0..));
        *changes = 0;
        (Some(before), *shard)
    }

    /// Prepares another transaction. After many commits the connection gets a new key, so that the row that counts them
    /// has few versions.
    pub(super) fn renew(&mut self) {
        self.is_counted = false;
        if self.commits >= MAX_VERSIONS {
            let next = Uuid::from_u128(self.key.as_u128().wrapping_add(1)); // no other connection has a key near it
            (self.before, self.commits) = (Some(std::mem::replace(&mut self.key, next)), 0);
        }
    }

    /// Records the start of a transaction.
    pub(super) fn began(&mut self, rows: Vec<Row>) -> SqlResult<Option<TransactionStart>> {
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        self.server_process =
            ServerProcess { process: row.try_get(2)?, began: StartTime::Transaction(row.try_get(3)?) };
        Ok(Some(TransactionStart { at: row.try_get(0)?, oldest: row.try_get(1)?, server: row.try_get(4)? }))
    }

    /// A statement, prepared once a connection.
    pub(super) async fn statement(&mut self, sql: &str) -> SqlResult<Prepared> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Queues a statement whose result nobody needs, behind the changes that were collected.
    pub(super) async fn enqueue(&mut self, sql: &str, values: Values<'_>) -> SqlResult<()> {
        self.queue_collected().await?;
        let statement = self.statement(sql).await?;
        self.queued.push(QueuedStatement::new(statement, values));
        Ok(())
    }

    async fn queue_collected(&mut self) -> SqlResult<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        for write in std::mem::take(&mut self.collected).statements() {
            let statement = self.statement(&write.sql).await?;
            self.queued.push(QueuedStatement::new(statement, &write.bound()));
        }
        Ok(())
    }

    /// Drops what is collected and queued.
    pub(super) fn forget(&mut self) {
        self.collected = BulkWrite::default();
        self.queued.clear();
    }

    /// Runs something after what is collected and queued.
    pub(super) async fn after_queued<T>(
        &mut self,
        act: impl AsyncFnOnce(&Executor) -> SqlResult<T>,
    ) -> SqlResult<T> {
        self.queue_collected().await?;
        let queued = std::mem::take(&mut self.queued);
        pipeline::after_queued(&self.client, queued, act(&self.client)).await
    }
}
