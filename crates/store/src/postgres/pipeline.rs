//! Several statements in one round trip.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_postgres::types::ToSql;

use super::caller_transaction::{EncodedValue, Executor};
use super::pooler::Prepared;
use super::session::{SqlResult, Values};

/// A statement whose result nobody needs. It is sent with the next one.
pub(super) struct QueuedStatement {
    statement: Prepared,
    values: Vec<EncodedValue>,
}

impl QueuedStatement {
    pub(super) fn new(statement: Prepared, values: Values<'_>) -> Self {
        let values = EncodedValue::all(statement.types(), values);
        Self { statement, values }
    }

    fn bound(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
    }
}

/// Runs something after queued statements. If one of them fails, its error is returned.
pub(super) async fn after_queued<T>(
    client: &Executor,
    queued: Vec<QueuedStatement>,
    act: impl Future<Output = SqlResult<T>>,
) -> SqlResult<T> {
    if queued.is_empty() {
        return act.await;
    }
    let bound: Vec<_> = queued.iter().map(QueuedStatement::bound).collect();
    let executing =
        queued.iter().zip(&bound).map(|(queued, values)| client.execute(&queued.statement, values));
    let (executed, answer) = tokio::join!(all(executing), act); // started in this order
    executed?;
    answer
}

/// Runs queries in this order.
pub(super) async fn queries(
    client: &Executor,
    statements: &[(Prepared, Values<'_>)],
) -> SqlResult<Vec<Vec<tokio_postgres::Row>>> {
    all(statements.iter().map(|(statement, values)| client.query(statement, values))).await
}

/// Runs statements that write, in this order. Returns how many rows each has written.
pub(super) async fn writes(client: &Executor, statements: &[(Prepared, Values<'_>)]) -> SqlResult<Vec<u64>> {
    all(statements.iter().map(|(statement, values)| client.execute(statement, values))).await
}

/// Runs queries with encoded values.
pub(super) async fn answers(
    client: &Executor,
    statements: &[QueuedStatement],
) -> SqlResult<Vec<Vec<tokio_postgres::Row>>> {
    let bound: Vec<_> = statements.iter().map(QueuedStatement::bound).collect();
    all(statements.iter().zip(&bound).map(|(asked, values)| client.query(&asked.statement, values))).await
}

/// A future that has been started, and need not be awaited at once.
pub(super) struct InFlight<T>(Slot<dyn Future<Output = SqlResult<T>> + Send, T>);

impl<T> InFlight<T> {
    pub(super) fn new(future: impl Future<Output = SqlResult<T>> + Send + 'static) -> Self {
        Self(Slot::Running(Box::pin(future)))
    }

    /// Waits for it, and keeps the result.
    pub(super) async fn wait(&mut self) {
        std::future::poll_fn(|context| if self.0.poll(context) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    pub(super) async fn end(self) -> SqlResult<T> {
        match self.0 {
            Slot::Running(future) => future.await,
            Slot::Done(answer) => answer,
        }
    }
}

/// Runs `act`, and starts `next` right after it, without waiting for its end.
pub(super) async fn then_start<T, N>(act: impl Future<Output = T>, next: &mut InFlight<N>) -> T {
    let mut act = std::pin::pin!(act);
    std::future::poll_fn(|context| {
        let acted = act.as_mut().poll(context);
        next.0.poll(context);
        acted
    })
    .await
}

/// Waits for all of them. They are started in order, and the first error is returned.
fn all<T>(
    futures: impl Iterator<Item = impl Future<Output = SqlResult<T>>>,
) -> impl Future<Output = SqlResult<Vec<T>>> {
    let mut each: Vec<Slot<_, T>> = futures.map(|future| Slot::Running(Box::pin(future))).collect();
    std::future::poll_fn(move |context| {
        let mut are_done = true;
        for one in &mut each {
            are_done &= one.poll(context);
        }
        if !are_done {
            return Poll::Pending;
        }
        let done = std::mem::take(&mut each).into_iter().filter_map(|one| match one {
            Slot::Done(answer) => Some(answer),
            Slot::Running(_) => None,
        });
        Poll::Ready(done.collect())
    })
}

enum Slot<F: ?Sized, T> {
    Running(Pin<Box<F>>),
    Done(SqlResult<T>),
}

impl<F: Future<Output = SqlResult<T>> + ?Sized, T> Slot<F, T> {
    /// Whether it is done.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Running(future) = self
            && let Poll::Ready(answer) = future.as_mut().poll(context)
        {
            *self = Self::Done(answer);
        }
        matches!(self, Self::Done(_))
    }
}
