//! A session with the database, called synchronously: its thread has nothing else to do while it waits. Connects again
//! after the connection was lost.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::unreadable_rows::SkippedRows;
use super::address::Address;
use super::bulk_write::BulkWrite;
use super::caller_transaction::{CallerTransaction, Executor};
use super::columns::get;
use super::connection::{OpenConnection, ServerProcess, TransactionStart};
use super::pipeline;
use super::pooler;
use super::{commit_outcome, error};
use performer_core::backoff::{BackoffPolicy, Delays};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// Time limit of a statement, including waits for locks.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// Time limit of each step of a migration, which may rewrite a table of any size.
const MIGRATION_LIMIT: Duration = Duration::from_secs(6 * 3_600);

/// What the server does if it hears nothing more from us during a transaction: a machine that vanished, or a process
/// that was stopped, must not keep its locks.
const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '10s'; SET tcp_keepalives_idle = 10; \
                        SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Settings of connections that write. Their statements are planned once, perhaps when the tables are nearly empty, and
/// must not get a plan that scans a whole table, which would become slower with each item.
const ALWAYS_BY_INDEX: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                               SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// Time limit of the first queries on a new connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

pub(super) type SqlResult<T> = std::result::Result<T, tokio_postgres::Error>;

/// Values to bind.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A session: its address, and its connection if one is open.
pub(super) struct Session {
    address: Address,
    runtime: Runtime,
    pub(super) open: Option<OpenConnection>,
    /// In the caller's transaction: the search path to restore.
    pub(super) caller: Option<String>,
    /// It is for a writer.
    writes: bool,
    /// Time limit of a statement.
    limit: Duration,
    refused: Option<ConnectBackoff>,
    /// How many connections were made.
    connections: u64,
    /// The server process of a lost connection with an open transaction. The server may not have noticed, and keep its
    /// locks.
    pub(super) left: Option<ServerProcess>,
    pub(super) skipped_rows: SkippedRows,
    /// Rows were skipped in the last search: there may be more items than it found.
    pub(super) found_fewer: bool,
}

/// The database could not be connected to; it is not tried again until a growing delay is over. Calls meanwhile fail at
/// once.
struct ConnectBackoff {
    why: OrchestratorError,
    again_at: Instant,
    delays: Delays,
}

/// The start of a transaction, and the results of the queries sent with it.
pub(super) type BegunTransaction = (TransactionStart, Result<Vec<Vec<Row>>>);

/// An owned value.
pub(super) type OwnedValue = Box<dyn ToSql + Sync + Send>;

/// A query with its values.
pub(super) struct BoundQuery {
    pub(super) sql: Cow<'static, str>,
    pub(super) values: Vec<OwnedValue>,
}

impl Session {
    pub(super) fn new(address: Address) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            OrchestratorError::new(ErrorKind::Unavailable, "cannot start a connection's runtime")
                .with_source(error)
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
            skipped_rows: SkippedRows::default(),
            found_fewer: false,
        })
    }

    /// A session in the caller's transaction.
    pub(super) fn in_caller_transaction(address: Address, caller: CallerTransaction) -> Result<Self> {
        let open = OpenConnection::new(Executor::Caller(caller), 0, Uuid::nil(), Timestamp::UNIX_EPOCH);
        Ok(Self { open: Some(open), caller: Some(String::new()), ..Self::new(address)? })
    }

    /// A session for a writer.
    pub(super) fn writing(address: Address) -> Result<Self> {
        Ok(Self { writes: true, ..Self::new(address)? })
    }

    pub(super) fn is_callers(&self) -> bool {
        self.caller.is_some()
    }

    /// Connects unless it is connected.
    pub(super) fn connect(&mut self) -> Result<()> {
        match &self.open {
            Some(open) if !open.client.is_closed() => return Ok(()),
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
                    let _ = commit_outcome::end(self, &server_process); // a server that cannot be told notices by itself in the end
                }
                Ok(())
            }
            Err(why) => {
                let delays = self.refused.take().map(|refused| refused.delays);
                let mut delays =
                    delays.unwrap_or_else(|| Delays::new(BackoffPolicy::CONNECTION, fastrand::Rng::new()));
                let again_at = Instant::now() + delays.next_delay();
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
            // The settings of a pooler's connections are not ours to change.
            if !pooled {
                let path = format!("{SETTINGS}; SET search_path TO {}", address.quoted_schema());
                client.batch_execute(&path).await.map_err(failed)?;
                if self.writes {
                    client.batch_execute(ALWAYS_BY_INDEX).await.map_err(failed)?;
                }
            }
            let connected = get::<Option<Timestamp>>(&row, 3)?.unwrap_or(Timestamp::UNIX_EPOCH);
            Ok(OpenConnection::new(
                Executor::Own { client: Arc::new(client), pooled },
                process,
                get(&row, 2)?,
                connected,
            ))
        };
        let open = self.runtime.block_on(async { tokio::time::timeout(CONNECT_LIMIT, asking).await });
        open.map_err(|_| error::too_slow(address, "to connect"))?
    }

    /// From now on statements may take as long as those of a migration.
    pub(super) fn allow_long_statements(&mut self) {
        self.limit = MIGRATION_LIMIT;
    }

    /// Runs statements that may take long, including what waits for them.
    pub(super) fn without_haste<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        self.limit = MIGRATION_LIMIT;
        let done = act(self);
        self.limit = STATEMENT_LIMIT;
        done
    }

    /// Closes the connection: what it was doing is undone, unless it was done.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a pooler is between this process and the database.
    pub(super) fn is_pooled(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.client.is_pooled())
    }

    /// How many connections were made until now.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    pub(super) fn process(&self) -> i32 {
        self.open.as_ref().map_or(0, |open| open.server_process.process)
    }

    /// Runs something on the open connection. An error after which the connection cannot be used closes it.
    pub(super) fn on<T>(&mut self, act: impl AsyncFnOnce(&mut OpenConnection) -> SqlResult<T>) -> Result<T> {
        let Some(open) = &mut self.open else { return Err(self.is_lost()) };
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

    fn is_lost(&self) -> OrchestratorError {
        let message = format!("the connection to {} was lost", self.address);
        OrchestratorError::new(ErrorKind::Unavailable, message)
    }

    pub(super) fn lose(&mut self) {
        self.left = self.open.take().map(|open| open.server_process);
    }

    /// Queues a statement whose result nobody needs. It is sent with the next one, which fails if this one does.
    pub(super) fn enqueue(&mut self, sql: &str, values: Values<'_>) -> Result<()> {
        self.on(async |open| open.enqueue(sql, values).await)
    }

    /// Collects a change of an item, which is sent before the next statement, together with others.
    pub(super) fn collect(&mut self, collect: impl FnOnce(&mut BulkWrite)) -> Result<()> {
        match &mut self.open {
            Some(open) => {
                collect(&mut open.collected);
                Ok(())
            }
            None => Err(self.is_lost()),
        }
    }

    /// Drops what is collected and queued.
    pub(super) fn forget(&mut self) {
        if let Some(open) = &mut self.open {
            open.forget();
        }
    }

    /// Runs statements without values and results.
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

    /// Whether COPY can be used.
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

    /// Runs a query without keeping its prepared statement.
    pub(super) fn query_once(&mut self, sql: &str, values: Values<'_>) -> Result<Vec<Row>> {
        self.on(async |open| {
            open.after_queued(async |_| Ok(())).await?; // the query may have to be prepared first
            open.client.query_once(sql, values).await
        })
    }

    /// Runs queries in one round trip.
    pub(super) fn ask(&mut self, queries: &[BoundQuery]) -> Result<Vec<Vec<Row>>> {
        let bound: Vec<_> = queries.iter().map(BoundQuery::bound).collect();
        let queries: Vec<(&str, Values<'_>)> =
            queries.iter().zip(&bound).map(|(query, values)| (&*query.sql, &**values)).collect();
        self.pipelined(&queries)
    }

    /// Runs queries in order, in one round trip.
    pub(super) fn pipelined(&mut self, queries: &[(&str, Values<'_>)]) -> Result<Vec<Vec<Row>>> {
        self.on(async |open| {
            let mut statements = Vec::with_capacity(queries.len());
            for (sql, values) in queries {
                statements.push((open.statement(sql).await?, *values));
            }
            open.after_queued(async |client| pipeline::queries(client, &statements).await).await
        })
    }

    /// Waits, for example for the server to notice that a connection was lost.
    pub(super) fn pause(&self, delay: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(delay).await });
    }
}

impl BoundQuery {
    pub(super) fn bound(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| -> &(dyn ToSql + Sync) { &**value }).collect()
    }
}
