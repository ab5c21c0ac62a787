//! Adding and reporting inside the caller's own transaction: atomically with what the caller writes.
//!
//! A back end is synchronous and uses its own runtime; the transaction belongs to the caller's. So the back end works
//! on a thread of its own, with a session that sends each statement to the caller's task, which runs it. It applies the
//! same rules with the same statements as always. In place of begin and commit it uses a savepoint.

use std::error::Error;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row, Statement, Transaction};

use super::super::arrivals::NoArrivals;
use super::super::backend::{Answer, Backend as _, CommitEffects, Operation};
use super::super::{Store, expect_answer};
use super::pooler::{Prepared, TypedStatement};
use super::session::{SqlResult, Values};
use super::{Database, Postgres};
use performer_core::model::content::Output;
use performer_core::model::item::{NewQueueItem, QueueItem};
use performer_core::model::key::Claim;
use performer_core::model::result::TransactionResult;
use performer_core::model::status::Status;
use performer_core::orchestrator::{BoxFuture, ErrorKind, OrchestratorError, Report, Result};
use performer_core::trace_context;

impl Store {
    /// Adds an item in a transaction of the caller's, on the database of this store: the item exists if and only if the
    /// transaction is committed. Waiting performers are notified by the commit.
    ///
    /// With the feature `otel` of the crate `performer` the item keeps the span in which it is added.
    ///
    /// Keep the transaction short, and READ COMMITTED, which is the default. Until it ends, nobody else can add to a
    /// queue that enforces unique references. If this future was dropped before its end, do not continue with the
    /// transaction.
    ///
    /// ```no_run
    /// # use performer::{NewQueueItem, orchestrator::store::Store, tokio_postgres::Client};
    /// # async fn order(queues: Store, client: &mut Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let transaction = client.transaction().await?;
    /// transaction.execute("INSERT INTO purchase (id, amount) VALUES (17, 250)", &[]).await?;
    /// let invoice = NewQueueItem::new(serde_json::json!({"purchase": 17})).reference("INV-17");
    /// queues.add_queue_item_in(&transaction, "Invoices", invoice).await?;
    /// transaction.commit().await?; // both, or none
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_queue_item`](performer_core::orchestrator::Orchestrator::add_queue_item); after a refusal the transaction is as it was before.
    /// Unsupported on a store that is not in a database; Other if the transaction is on another database.
    pub async fn add_queue_item_in(
        &self,
        transaction: &Transaction<'_>,
        queue: &str,
        mut item: NewQueueItem,
    ) -> Result<QueueItem> {
        trace_context::keep(&mut item);
        let operation = Operation::Add { queue: queue.to_owned(), item };
        expect_answer!(self.one_in(transaction, operation).await, Item).map(|item: Box<QueueItem>| *item)
    }

    /// Reports success in a transaction of the caller's, together with what the handler of the item writes: if the data
    /// is in the same database, the outcome is recorded exactly once.
    ///
    /// The handler then returns the same output; the performer's own report finds the result recorded and changes
    /// nothing. If the process dies before that, the item is Successful all the same. If the commit itself fails,
    /// return that error: if it was made after all, the item is Successful and stays so.
    ///
    /// # Errors
    ///
    /// ClaimLost if the item was abandoned in the meantime: roll the transaction back, because another robot may be
    /// working on the item. Otherwise as [`add_queue_item_in`](Self::add_queue_item_in).
    pub async fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        claim: Claim,
        output: Option<Output>,
    ) -> Result<Status> {
        let result = TransactionResult::Successful { output };
        self.report_in(transaction, Report::new(claim, result)).await
    }

    /// As [`complete_in`](Self::complete_in), for any result.
    ///
    /// # Errors
    ///
    /// As [`complete_in`](Self::complete_in).
    pub async fn report_in(&self, transaction: &Transaction<'_>, report: Report) -> Result<Status> {
        expect_answer!(self.one_in(transaction, Operation::Report(report)).await, Status)
    }

    #[inline(never)]
    fn one_in<'a>(
        &'a self,
        transaction: &'a Transaction<'_>,
        operation: Operation,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(self.apply_in(transaction, operation))
    }

    async fn apply_in(&self, transaction: &Transaction<'_>, operation: Operation) -> Result<Answer> {
        let Some(database) = self.database.clone() else {
            let message = "only a store in a PostgreSQL database takes part in a transaction of it";
            return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        };
        let (requests, mut asked) = mpsc::unbounded_channel();
        let (answer, answered) = oneshot::channel();
        let (operation, clock) = (self.request(operation), self.clock.clone());
        let work = move || {
            let mut answers = match database.in_caller_transaction(CallerTransaction(requests)) {
                Ok(mut store) => {
                    store.commit(vec![operation], &mut NoArrivals, &clock, &mut CommitEffects::default())
                }
                Err(error) => vec![Err(error)],
            };
            drop(answer.send(answers.pop())); // the caller may have gone away
        };
        let thread = std::thread::Builder::new().name("performer-lent".to_owned()).spawn(work);
        thread.map_err(|error| {
            OrchestratorError::new(ErrorKind::Unavailable, "cannot start a thread").with_source(error)
        })?;
        while let Some(request) = asked.recv().await {
            request.run_on(transaction).await;
        }
        let ended = || OrchestratorError::new(ErrorKind::Other, "an invariant of the store is violated");
        answered.await.ok().flatten().unwrap_or_else(|| Err(ended()))
    }
}

impl Database {
    fn in_caller_transaction(&self, caller: CallerTransaction) -> Result<Postgres> {
        Postgres::in_caller_transaction(self, caller)
    }
}

/// Runs the statements of a session.
#[derive(Clone)]
pub(super) enum Executor {
    /// On a connection of its own. `pooled`: a pooler may give each transaction another one.
    Own { client: Arc<Client>, pooled: bool },
    /// In the transaction of the caller.
    Caller(CallerTransaction),
}

/// Sends statements to the task that owns the transaction.
#[derive(Clone)]
pub(super) struct CallerTransaction(mpsc::UnboundedSender<StatementCall>);

/// A statement, and where its reply goes.
struct StatementCall {
    kind: CallKind,
    reply: oneshot::Sender<SqlResult<Reply>>,
}

enum CallKind {
    Prepare(String),
    Query(Statement, Vec<EncodedValue>),
    Execute(Statement, Vec<EncodedValue>),
    GroupCommit(String),
}

enum Reply {
    Statement(Statement),
    Rows(Vec<Row>),
    Count(u64),
    Done,
}

impl StatementCall {
    async fn run_on(self, transaction: &Transaction<'_>) {
        fn bound(values: &[EncodedValue]) -> Vec<&(dyn ToSql + Sync)> {
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
        }
        let reply = match &self.kind {
            CallKind::Prepare(sql) => transaction.prepare(sql).await.map(Reply::Statement),
            CallKind::Query(statement, values) => {
                transaction.query(statement, &bound(values)).await.map(Reply::Rows)
            }
            CallKind::Execute(statement, values) => {
                transaction.execute(statement, &bound(values)).await.map(Reply::Count)
            }
            CallKind::GroupCommit(sql) => transaction.batch_execute(sql).await.map(|()| Reply::Done),
        };
        drop(self.reply.send(reply)); // the store waits for it
    }
}

/// An encoded value: unlike the borrowed value itself it can be sent to another thread.
#[derive(Debug)]
pub(super) struct EncodedValue(std::result::Result<Option<BytesMut>, String>);

impl EncodedValue {
    fn new(value: &(dyn ToSql + Sync), of: &Type) -> Self {
        let mut bytes = BytesMut::new();
        Self(match value.to_sql_checked(of, &mut bytes) {
            Ok(IsNull::No) => Ok(Some(bytes)),
            Ok(IsNull::Yes) => Ok(None),
            Err(error) => Err(error.to_string()),
        })
    }

    pub(super) fn all(types: &[Type], values: Values<'_>) -> Vec<Self> {
        values.iter().zip(types).map(|(value, of)| Self::new(*value, of)).collect()
    }
}

impl ToSql for EncodedValue {
    fn to_sql(
        &self,
        _of: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Ok(Some(bytes)) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Ok(None) => Ok(IsNull::Yes),
            Err(error) => Err(error.clone().into()),
        }
    }

    fn accepts(_of: &Type) -> bool {
        true // it was encoded for this type
    }

    to_sql_checked!();
}

impl CallerTransaction {
    /// Never returns after the caller has gone away: see [`Executor::gone`].
    async fn ask(&self, kind: CallKind) -> SqlResult<Reply> {
        let (reply, replied) = oneshot::channel();
        if self.0.send(StatementCall { kind, reply }).is_ok()
            && let Ok(reply) = replied.await
        {
            return reply;
        }
        std::future::pending().await
    }
}

/// The one kind of reply that a statement has.
macro_rules! expect_reply {
    ($reply:expr, $variant:pat => $value:expr) => {
        match $reply {
            Ok($variant) => Ok($value),
            Ok(_) => unreachable!("each request has one kind of reply"),
            Err(error) => Err(error),
        }
    };
}

impl Executor {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Own { client, .. } => client.is_closed(),
            Self::Caller(CallerTransaction(requests)) => requests.is_closed(),
        }
    }

    pub(super) fn is_pooled(&self) -> bool {
        matches!(self, Self::Own { pooled: true, .. })
    }

    /// Completes when the caller has gone away.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let caller = match self {
            Self::Own { .. } => None,
            Self::Caller(caller) => Some(caller.clone()),
        };
        async move {
            match caller {
                Some(CallerTransaction(requests)) => requests.closed().await,
                None => std::future::pending().await,
            }
        }
    }

    pub(super) async fn prepare(&self, sql: &str) -> SqlResult<Prepared> {
        match self {
            Self::Own { client, pooled: false } => client.prepare(sql).await.map(Prepared::Kept),
            Self::Own { client, pooled: true } => {
                TypedStatement::learn(client, sql).await.map(Prepared::Typed)
            }
            Self::Caller(caller) => {
                let reply = caller.ask(CallKind::Prepare(sql.to_owned())).await;
                expect_reply!(reply, Reply::Statement(statement) => Prepared::Kept(statement))
            }
        }
    }

    pub(super) async fn query(&self, statement: &Prepared, values: Values<'_>) -> SqlResult<Vec<Row>> {
        match (self, statement) {
            (Self::Own { client, .. }, Prepared::Kept(statement)) => client.query(statement, values).await,
            (Self::Own { client, .. }, Prepared::Typed(typed)) => {
                client.query_typed(typed.sql(), &typed.bound(values)).await
            }
            (Self::Caller(_), Prepared::Typed(_)) => unreachable!("a lent transaction keeps its statements"),
            (Self::Caller(caller), Prepared::Kept(statement)) => {
                let values = EncodedValue::all(statement.params(), values);
                expect_reply!(caller.ask(CallKind::Query(statement.clone(), values)).await, Reply::Rows(rows) => rows)
            }
        }
    }

    pub(super) async fn query_once(&self, sql: &str, values: Values<'_>) -> SqlResult<Vec<Row>> {
        match self {
            // In one message: outside a transaction a pooler allows no other way.
            Self::Own { client, .. } if values.is_empty() => client.query_typed(sql, &[]).await,
            // Its rows keep the prepared statement open; a pooler would have given the connection away before it is
            // closed.
            Self::Own { client, pooled: false } => client.query(sql, values).await,
            Self::Own { .. } | Self::Caller(_) => self.query(&self.prepare(sql).await?, values).await,
        }
    }

    pub(super) async fn execute(&self, statement: &Prepared, values: Values<'_>) -> SqlResult<u64> {
        match (self, statement) {
            (Self::Own { client, .. }, Prepared::Kept(statement)) => client.execute(statement, values).await,
            (Self::Own { client, .. }, Prepared::Typed(typed)) => {
                client.execute_typed(typed.sql(), &typed.bound(values)).await
            }
            (Self::Caller(_), Prepared::Typed(_)) => unreachable!("a lent transaction keeps its statements"),
            (Self::Caller(caller), Prepared::Kept(statement)) => {
                let values = EncodedValue::all(statement.params(), values);
                expect_reply!(caller.ask(CallKind::Execute(statement.clone(), values)).await, Reply::Count(count) => count)
            }
        }
    }

    /// Whether COPY can be used: on a connection of our own.
    pub(super) fn copies(&self) -> bool {
        matches!(self, Self::Own { pooled: false, .. })
    }

    pub(super) async fn copy<'r, const N: usize>(
        &self,
        statement: &Prepared,
        types: &[Type; N],
        rows: impl Iterator<Item = [&'r (dyn ToSql + Sync); N]>,
    ) -> SqlResult<()> {
        let (Self::Own { client, .. }, Prepared::Kept(statement)) = (self, statement) else {
            unreachable!("rows are copied on a connection of our own")
        };
        let sink = client.copy_in(statement).await?;
        let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, types));
        for row in rows {
            writer.as_mut().write(&row).await?;
        }
        writer.finish().await.map(drop)
    }

    pub(super) async fn batch_execute(&self, sql: &str) -> SqlResult<()> {
        match self {
            Self::Own { client, .. } => client.batch_execute(sql).await,
            Self::Caller(caller) => {
                expect_reply!(caller.ask(CallKind::GroupCommit(sql.to_owned())).await, Reply::Done => ())
            }
        }
    }
}
