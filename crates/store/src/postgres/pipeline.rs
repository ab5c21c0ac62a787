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
