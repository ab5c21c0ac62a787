//! Statements that travel together: each by itself is a way to the database and back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_postgres::types::ToSql;

use super::lent::{Encoded, Way};
use super::pooled::Prepared;
use super::session::{Sql, Values};

/// A statement whose answer nobody needs. It travels before the next one.
pub(super) struct Later {
    statement: Prepared,
    values: Vec<Encoded>,
}

impl Later {
    pub(super) fn new(statement: Prepared, values: Values<'_>) -> Self {
        let values = Encoded::all(statement.types(), values);
        Self { statement, values }
    }

    fn bound(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
    }
}

/// Runs something behind such statements. Where one of them fails, that is why what is behind it does.
pub(super) async fn behind<T>(client: &Way, later: Vec<Later>, act: impl Future<Output = Sql<T>>) -> Sql<T> {
    if later.is_empty() {
        return act.await;
    }
    let bound: Vec<_> = later.iter().map(Later::bound).collect();
    let executing = later.iter().zip(&bound).map(|(later, values)| client.execute(&later.statement, values));
    let (executed, answer) = tokio::join!(all(executing), act); // begun in this order
    executed?;
    answer
}

/// Runs queries, one behind the other.
pub(super) async fn queries(
    client: &Way,
    statements: &[(Prepared, Values<'_>)],
) -> Sql<Vec<Vec<tokio_postgres::Row>>> {
    all(statements.iter().map(|(statement, values)| client.query(statement, values))).await
}

/// Runs statements that write, one behind the other. Answers how many rows each has written.
pub(super) async fn writes(client: &Way, statements: &[(Prepared, Values<'_>)]) -> Sql<Vec<u64>> {
    all(statements.iter().map(|(statement, values)| client.execute(statement, values))).await
}

/// Runs queries that keep their values.
pub(super) async fn answers(client: &Way, statements: &[Later]) -> Sql<Vec<Vec<tokio_postgres::Row>>> {
    let bound: Vec<_> = statements.iter().map(Later::bound).collect();
    all(statements.iter().zip(&bound).map(|(asked, values)| client.query(&asked.statement, values))).await
}

/// Something that is on its way, and need not be waited for.
pub(super) struct UnderWay<T>(Each<dyn Future<Output = Sql<T>> + Send, T>);

impl<T> UnderWay<T> {
    pub(super) fn new(future: impl Future<Output = Sql<T>> + Send + 'static) -> Self {
        Self(Each::Running(Box::pin(future)))
    }

    /// Waits for it, and keeps the answer.
    pub(super) async fn arrives(&mut self) {
        std::future::poll_fn(|context| if self.0.poll(context) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    pub(super) async fn end(self) -> Sql<T> {
        match self.0 {
            Each::Running(future) => future.await,
            Each::Done(answer) => answer,
        }
    }
}

/// Runs something, and begins behind it what goes on when it has ended.
pub(super) async fn ahead_of<T, N>(act: impl Future<Output = T>, next: &mut UnderWay<N>) -> T {
    let mut act = std::pin::pin!(act);
    std::future::poll_fn(|context| {
        let acted = act.as_mut().poll(context);
        next.0.poll(context);
        acted
    })
    .await
}

/// Waits for all of them. They are begun in their order, and the first error is the one that counts.
fn all<T>(futures: impl Iterator<Item = impl Future<Output = Sql<T>>>) -> impl Future<Output = Sql<Vec<T>>> {
    let mut each: Vec<Each<_, T>> = futures.map(|future| Each::Running(Box::pin(future))).collect();
    std::future::poll_fn(move |context| {
        let mut are_done = true;
        for one in &mut each {
            are_done &= one.poll(context);
        }
        if !are_done {
            return Poll::Pending;
        }
        let done = std::mem::take(&mut each).into_iter().filter_map(|one| match one {
            Each::Done(answer) => Some(answer),
            Each::Running(_) => None,
        });
        Poll::Ready(done.collect())
    })
}

enum Each<F: ?Sized, T> {
    Running(Pin<Box<F>>),
    Done(Sql<T>),
}

impl<F: Future<Output = Sql<T>> + ?Sized, T> Each<F, T> {
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
