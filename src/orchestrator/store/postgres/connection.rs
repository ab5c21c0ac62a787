//! An open connection: what the server has for it, and what it is called there.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::caller_transaction::Executor;
use super::pooler::Prepared;
use super::session::{BoundQuery, SqlResult};
use super::pipeline::{self, QueuedStatement, InFlight};

/// So often a row is changed before there is a new one in its place: beside a transaction that keeps an old snapshot all
/// versions stay, and are passed with each change.
const MAX_VERSIONS: i64 = 256;

/// An open connection, and what it knows.
pub(super) struct OpenConnection {
    pub(super) client: Executor,
    /// What it is called in the table of connections.
    pub(super) key: Uuid,
    /// What it was called before, if a row of that name is still there.
    pub(super) before: Option<Uuid>,
    /// How many transactions it has committed, or tried to, since it is called so.
    pub(super) commits: i64,
    /// The open transaction has counted its commit.
    pub(super) is_counted: bool,
    /// The numbers of its rows of counters, by queue, and how often they were changed.
    shards: HashMap<i64, (i64, i64)>,
    /// Since when.
    pub(super) connected: Timestamp,
    /// Where the transaction is that was begun last.
    pub(super) server_process: ServerProcess,
    pub(super) statements: HashMap<String, Prepared>,
    /// Statements that travel with the next one.
    pub(super) queued: Vec<QueuedStatement>,
    /// The transaction that was begun behind the last commit.
    pub(super) next: Option<NextTransaction>,
}

/// A transaction that was begun behind the commit before it, and is kept for whoever comes next.
pub(super) struct NextTransaction {
    pub(super) answer: InFlight<BeginAnswer<Vec<Row>>>,
    /// When the commit before it was answered: within a moment of the time that it answers.
    pub(super) since: Instant,
}

/// What a transaction answers when it begins: when that was, and what it was asked.
pub(super) type BeginAnswer<T> = (T, SqlResult<Vec<Vec<Row>>>);

/// A transaction or a connection in the server: the number of a process, and since when it has it. No two have both.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerProcess {
    pub(super) process: i32,
    pub(super) began: StartTime,
}

/// When a process of the server began.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartTime {
    /// With the transaction.
    Transaction(Timestamp),
    /// With the connection: its transaction has been begun, and when that was is not known yet.
    Connection(Timestamp),
}

/// A commit of a connection.
#[derive(Clone, Debug)]
pub(super) struct CommitId {
    pub(super) server_process: ServerProcess,
    pub(super) key: Uuid,
    pub(super) number: i64,
    /// Where the next transaction may be that was begun behind it.
    pub(super) behind: Option<ServerProcess>,
}

/// A transaction, as it begins.
#[derive(Clone, Debug)]
pub(super) struct TransactionStart {
    /// The database's time.
    pub(super) at: Timestamp,
    /// The oldest version of the schema whose programs may go on.
    pub(super) oldest: i32,
    /// Since when the server runs: no other one does, nor the same when it was started anew. (One of its processes may have
    /// crashed, and all but the first of them begun anew.)
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
            queued: Vec::new(),
            next: None,
        }
    }

    /// The number of its row of counters of a queue, and the one that the row had before, if it is to have another now.
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

    /// Another transaction. After many commits the connection is called otherwise, so that the row that counts them has few
    /// versions.
    pub(super) fn renew(&mut self) {
        self.is_counted = false;
        if self.commits >= MAX_VERSIONS {
            let next = Uuid::from_u128(self.key.as_u128().wrapping_add(1)); // nobody else has one near
            (self.before, self.commits) = (Some(std::mem::replace(&mut self.key, next)), 0);
        }
    }

    /// A transaction has begun, as the database says.
    pub(super) fn began(&mut self, rows: Vec<Row>) -> SqlResult<Option<TransactionStart>> {
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        self.server_process = ServerProcess { process: row.try_get(2)?, began: StartTime::Transaction(row.try_get(3)?) };
        Ok(Some(TransactionStart { at: row.try_get(0)?, oldest: row.try_get(1)?, server: row.try_get(4)? }))
    }

    /// A transaction, to be begun behind the commit of this one. None, if not all of its statements are known yet: to ask for
    /// them would keep the commit waiting.
    pub(super) fn begins(
        &self,
        begin: String,
        now: &BoundQuery,
        asked: &[BoundQuery],
    ) -> Option<InFlight<BeginAnswer<Vec<Row>>>> {
        if self.client.is_pooled() {
            return None; // it has to be known first where the transaction is
        }
        let queued = |asked: &BoundQuery| {
            let statement = self.statements.get(&*asked.sql)?;
            Some(QueuedStatement::new(statement.clone(), &asked.bound()))
        };
        let now = [queued(now)?];
        let asked: Vec<_> = asked.iter().map(queued).collect::<Option<_>>()?;
        let client = self.client.clone();
        Some(InFlight::new(async move {
            let (begun, now, answers) = tokio::join!(
                client.batch_execute(&begin),
                pipeline::answers(&client, &now),
                pipeline::answers(&client, &asked)
            );
            begun?;
            Ok((now?.pop().unwrap_or_default(), answers))
        }))
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

    /// Runs something, and before it the statements that wait for that.
    pub(super) async fn behind<T>(&mut self, act: impl AsyncFnOnce(&Executor) -> SqlResult<T>) -> SqlResult<T> {
        let queued = std::mem::take(&mut self.queued);
        pipeline::after_queued(&self.client, queued, act(&self.client)).await
    }
}
