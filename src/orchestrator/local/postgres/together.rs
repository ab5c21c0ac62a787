//! Statements that travel together: each by itself is a way to the database and back.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

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
}

/// Runs something behind such statements. Where one of them fails, that is why what is behind it does.
pub(super) async fn behind<T>(client: &Way, later: Vec<Later>, act: impl Future<Output = Sql<T>>) -> Sql<T> {
    if later.is_empty() {
        return act.await;
    }
    let bound: Vec<Vec<_>> = later
        .iter()
        .map(|later| later.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect())
        .collect();
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

/// Waits for all of them. They are begun in their order, and the first error is the one that counts.
fn all<T>(futures: impl Iterator<Item = impl Future<Output = Sql<T>>>) -> impl Future<Output = Sql<Vec<T>>> {
    let mut each: Vec<Each<_, T>> = futures.map(|future| Each::Running(Box::pin(future))).collect();
    std::future::poll_fn(move |context| {
        let mut are_done = true;
        for one in &mut each {
            if let Each::Running(future) = one {
                match future.as_mut().poll(context) {
                    Poll::Ready(answer) => *one = Each::Done(answer),
                    Poll::Pending => are_done = false,
                }
            }
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

enum Each<F, T> {
    Running(Pin<Box<F>>),
    Done(Sql<T>),
}
