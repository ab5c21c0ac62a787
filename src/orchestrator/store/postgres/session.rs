//! One connection to the database, called in place: a store's thread has nothing else to do while it waits.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::super::unreadable_rows::SkippedItems;
use super::address::Address;
use super::columns::get;
use super::caller_transaction::{CallerTransaction, Executor};
use super::connection::{TransactionStart, OpenConnection, ServerProcess};
use super::pooler;
use super::pipeline::{self, QueuedStatement};
use super::{error, commit_outcome};
use crate::backoff::{BackoffPolicy, Delays};

/// How long a statement may take, the wait for locks included.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// How long each step of a change of the schema may take: it may write a table anew that is as large as it likes.
const MIGRATION_LIMIT: Duration = Duration::from_secs(6 * 3_600);

/// What a server does about a transaction of ours when it hears nothing more of us: a machine that vanished, or a process that
/// is stopped in the middle, must not keep others waiting for its locks.
const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '10s'; SET tcp_keepalives_idle = 10; \
                        SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// What the connection that writes says besides. Its statements are planned once, perhaps when the tables are nearly empty: that
/// must not be a plan that reads a whole table, which would become slower with each item.
const ALWAYS_BY_INDEX: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                               SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// How long a server that has let us in may take to say who it is.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

pub(super) type SqlResult<T> = std::result::Result<T, tokio_postgres::Error>;

/// What is bound to a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection, and the statements that it knows.
pub(super) struct Session {
    address: Address,
    runtime: Runtime,
    pub(super) open: Option<OpenConnection>,
    /// Inside somebody else's transaction: where that one looks for its tables.
    pub(super) caller: Option<String>,
    /// It is the one that writes.
    writes: bool,
    /// How long a statement may take.
    limit: Duration,
    refused: Option<ConnectBackoff>,
    /// So many connections were made.
    connections: u64,
    /// What was lost with a transaction in it. The server may not have noticed, and keep everybody waiting for its locks.
    pub(super) left: Option<ServerProcess>,
    pub(super) skipped_items: SkippedItems,
    /// Rows were passed over since the last claim: more items may wait behind them than were found.
    pub(super) found_fewer: bool,
}

/// The database could not be connected to; until a growing while is over it is not asked again. Whoever calls meanwhile
/// is answered at once, and need not know of it.
struct ConnectBackoff {
    why: OrchestratorError,
    again_at: Instant,
    delays: Delays,
}

/// A transaction, and what was answered when it began.
pub(super) type BegunTransaction = (TransactionStart, Result<Vec<Vec<Row>>>);

/// A value that is kept until it is bound.
pub(super) type OwnedValue = Box<dyn ToSql + Sync + Send>;

/// What a transaction is asked when it begins.
pub(super) struct BoundQuery {
    pub(super) sql: Cow<'static, str>,
    pub(super) values: Vec<OwnedValue>,
}

impl Session {
    pub(super) fn new(address: Address) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            OrchestratorError::new(ErrorKind::Unavailable, "cannot start a connection's runtime")
                .because(error)
        })?;
        Ok(Self {
            address,
            runtime,
            open: None,
            caller: None,
            writes: false,
            limit: STATEMENT_LIMIT,
            refused: None,
            connections: 0,
            left: None,
            skipped_items: SkippedItems::default(),
            found_fewer: false,
        })
    }

    /// A session inside somebody else's transaction.
    pub(super) fn in_caller_transaction(address: Address, caller: CallerTransaction) -> Result<Self> {
        let open = OpenConnection::new(Executor::Caller(caller), 0, Uuid::nil(), Timestamp::UNIX_EPOCH);
        Ok(Self { open: Some(open), caller: Some(String::new()), ..Self::new(address)? })
    }

    /// A session whose statements write, most of them.
    pub(super) fn writing(address: Address) -> Result<Self> {
        Ok(Self { writes: true, ..Self::new(address)? })
    }

    pub(super) fn is_callers(&self) -> bool {
        self.caller.is_some()
    }

    /// Connects, unless it is connected.
    pub(super) fn connect(&mut self) -> Result<()> {
        match &self.open {
            Some(open) if !open.client.is_closed() => return Ok(()),
            Some(open) if open.next.is_some() => self.lose(),
            _ => self.open = None,
        }
        if self.is_callers() {
            let message = "whoever began the transaction has gone away";
            return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
        }
        if let Some(ConnectBackoff { why, again_at, .. }) = &self.refused
            && Instant::now() < *again_at
        {
            return Err(why.clone());
        }
        match self.connect_now() {
            Ok(open) => {
                (self.open, self.refused) = (Some(open), None);
                self.connections += 1;
                if let Some(server_process) = self.left.take() {
                    let _ = commit_outcome::end(self, &server_process); // a server that we cannot tell so notices by itself, in the end
                }
                Ok(())
            }
            Err(why) => {
                let delays = self.refused.take().map(|refused| refused.delays);
                let mut delays =
                    delays.unwrap_or_else(|| Delays::new(BackoffPolicy::CONNECTION, fastrand::Rng::new()));
                let again_at = Instant::now() + delays.next();
                self.refused = Some(ConnectBackoff { why: why.clone(), again_at, delays });
                Err(why)
            }
        }
    }

    fn connect_now(&self) -> Result<OpenConnection> {
        const ABOUT: &str = "SELECT pg_is_in_recovery(), pg_backend_pid(), gen_random_uuid(), backend_start \
                             FROM pg_stat_get_activity(pg_backend_pid())";
        let address = &self.address;
        let client = self.runtime.block_on(address.connect())?;
        let asking = async {
            let failed = |error| error::explain(error, address);
            let row = client.query_typed_one(ABOUT, &[]).await.map_err(failed)?;
            let process = get(&row, 1)?;
            let pooled = pooler::is_pooled(&client, process).await.map_err(failed)?;
            if get(&row, 0)? {
                let message = format!("{address} is a standby, which can be read and not written");
                return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
            }
            // A proxy's connections are not ours to change.
            if !pooled {
                let path = format!("{SETTINGS}; SET search_path TO {}", address.quoted_schema());
                client.batch_execute(&path).await.map_err(failed)?;
                if self.writes {
                    client.batch_execute(ALWAYS_BY_INDEX).await.map_err(failed)?;
                }
            }
            let connected = get::<Option<Timestamp>>(&row, 3)?.unwrap_or(Timestamp::UNIX_EPOCH);
            Ok(OpenConnection::new(Executor::Own { client: Arc::new(client), pooled }, process, get(&row, 2)?, connected))
        };
        let open = self.runtime.block_on(async { tokio::time::timeout(CONNECT_LIMIT, asking).await });
        open.map_err(|_| error::too_slow(address, "to connect"))?
    }

    /// Runs something whose statements may take long, and whatever waits for it.
    pub(super) fn without_haste<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        self.limit = MIGRATION_LIMIT;
        let done = act(self);
        self.limit = STATEMENT_LIMIT;
        done
    }

    /// Gives the connection up: what it was doing is undone, unless it was done.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How many connections were made until now.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    pub(super) fn process(&self) -> i32 {
        self.open.as_ref().map_or(0, |open| open.server_process.process)
    }

    /// Runs something on the open connection. An error after which the connection is of no use closes it.
    pub(super) fn on<T>(&mut self, act: impl AsyncFnOnce(&mut OpenConnection) -> SqlResult<T>) -> Result<T> {
        let Some(open) = &mut self.open else {
            let message = format!("the connection to {} was lost", self.address);
            return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
        };
        let (gone, limit) = (open.client.gone(), self.limit);
        let ran = self.runtime.block_on(async {
            tokio::select! {
                ran = tokio::time::timeout(limit, act(&mut *open)) => ran.map(|ran| ran.map(Some)),
                () = gone => Ok(Ok(None)),
            }
        });
        match ran {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => {
                self.open = None;
                self.connect().and_then(|()| Err(error::too_slow(&self.address, "to answer")))
            }
            Ok(Err(error)) => {
                if error::breaks_the_connection(&error) || open.client.is_closed() {
                    self.lose();
                }
                Err(error::explain(error, &self.address))
            }
            Err(_) => {
                self.lose();
                Err(error::too_slow(&self.address, "for a statement"))
            }
        }
    }

    pub(super) fn lose(&mut self) {
        self.left = self.open.take().map(|open| open.server_process);
    }

    /// A statement whose answer nobody needs. It travels with the next one, which fails where this one does.
    pub(super) fn enqueue(&mut self, sql: &str, values: Values<'_>) -> Result<()> {
        self.on(async |open| {
            let statement = open.statement(sql).await?;
            open.queued.push(QueuedStatement::new(statement, values));
            Ok(())
        })
    }

    /// Gives up what has not travelled yet.
    pub(super) fn forget(&mut self) {
        if let Some(open) = &mut self.open {
            open.queued.clear();
        }
    }

    /// Statements without values and answers.
    pub(super) fn batch(&mut self, sql: &str) -> Result<()> {
        self.on(async |open| open.after_queued(async |client| client.batch_execute(sql).await).await)
    }

    pub(super) fn query(&mut self, sql: &str, values: Values<'_>) -> Result<Vec<Row>> {
        self.on(async |open| {
            let statement = open.statement(sql).await?;
            open.after_queued(async |client| client.query(&statement, values).await).await
        })
    }

    pub(super) fn query_opt(&mut self, sql: &str, values: Values<'_>) -> Result<Option<Row>> {
        self.query(sql, values).map(|rows| rows.into_iter().next())
    }

    pub(super) fn execute(&mut self, sql: &str, values: Values<'_>) -> Result<u64> {
        self.on(async |open| {
            let statement = open.statement(sql).await?;
            open.after_queued(async |client| client.execute(&statement, values).await).await
        })
    }

    /// Whether rows can be copied here.
    pub(super) fn copies(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.client.copies())
    }

    /// Copies rows into a table.
    pub(super) fn copy<'r, const N: usize>(
        &mut self,
        sql: &str,
        types: &[Type; N],
        rows: impl Iterator<Item = [&'r (dyn ToSql + Sync); N]>,
    ) -> Result<()> {
        self.on(async |open| {
            let statement = open.statement(sql).await?;
            open.after_queued(async |client| client.copy(&statement, types, rows).await).await
        })
    }

    /// A query that is made once and not kept.
    pub(super) fn query_once(&mut self, sql: &str, values: Values<'_>) -> Result<Vec<Row>> {
        self.on(async |open| {
            open.after_queued(async |_| Ok(())).await?; // it may have to be prepared first
            open.client.query_once(sql, values).await
        })
    }

    /// Asks questions that travel together. Answers each.
    pub(super) fn ask(&mut self, queries: &[BoundQuery]) -> Result<Vec<Vec<Row>>> {
        let bound: Vec<_> = queries.iter().map(BoundQuery::bound).collect();
        let queries: Vec<(&str, Values<'_>)> =
            queries.iter().zip(&bound).map(|(query, values)| (&*query.sql, &**values)).collect();
        self.pipelined(&queries)
    }

    /// Writes, and asks questions behind that; all of it travels together. Answers how many rows were written by each, and
    /// what was answered.
    pub(super) fn write_and_ask(
        &mut self,
        writes: &[(&str, Values<'_>)],
        queries: &[BoundQuery],
    ) -> Result<(Vec<u64>, Vec<Vec<Row>>)> {
        let bound: Vec<_> = queries.iter().map(BoundQuery::bound).collect();
        self.on(async |open| {
            let (mut writing, mut asking) = (Vec::new(), Vec::new());
            for (sql, values) in writes {
                writing.push((open.statement(sql).await?, *values));
            }
            for (query, values) in queries.iter().zip(&bound) {
                asking.push((open.statement(&query.sql).await?, &**values));
            }
            let both = async |client: &Executor| {
                let (written, answers) =
                    tokio::join!(pipeline::writes(client, &writing), pipeline::queries(client, &asking));
                Ok((written?, answers?))
            };
            open.after_queued(both).await
        })
    }

    /// Runs queries, one behind the other; all of them travel together. Answers the rows of each.
    pub(super) fn pipelined(&mut self, queries: &[(&str, Values<'_>)]) -> Result<Vec<Vec<Row>>> {
        self.on(async |open| {
            let mut statements = Vec::with_capacity(queries.len());
            for (sql, values) in queries {
                statements.push((open.statement(sql).await?, *values));
            }
            open.after_queued(async |client| pipeline::queries(client, &statements).await).await
        })
    }

    /// Waits: the server is to notice that a connection is gone, or to come back.
    pub(super) fn pause(&self, delay: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(delay).await });
    }
}

impl BoundQuery {
    pub(super) fn bound(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| -> &(dyn ToSql + Sync) { &**value }).collect()
    }
}
