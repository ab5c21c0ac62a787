//! A transaction without its type: the runtime works on [`AnyTransaction`], so that it is compiled once, in the library.
//!
//! What is generic over the user's type is here and nowhere else in the runtime, because the user's crate compiles it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use performer_core::outcome::WrittenOutput;
use serde::Serialize;

use super::catch_panic::{self, UserFuture};
use super::item::TransactionItem;
use super::transaction::Transaction;
use crate::exception::Exception;
use crate::model::Output;

/// Makes the transaction of a robot.
pub(super) type Factory = Arc<dyn Fn() -> Box<dyn AnyTransaction> + Send + Sync>;

/// A [`Transaction`] of any type.
pub(super) trait AnyTransaction: Send {
    /// Parses the content of the item, and begins to process it. The future writes the output when it is ready.
    ///
    /// # Errors
    ///
    /// Why the content does not fit the transaction's type.
    fn begin<'a>(
        &'a mut self,
        item: &'a TransactionItem,
    ) -> Result<UserFuture<'a, Result<WrittenOutput, Exception>>, String>;

    /// [`Transaction::open_applications`].
    fn open(&mut self) -> UserFuture<'_, Result<(), Exception>>;

    /// [`Transaction::close_applications`].
    fn close(&mut self) -> UserFuture<'_, Result<(), Exception>>;
}

impl<T: Transaction> AnyTransaction for T {
    fn begin<'a>(
        &'a mut self,
        item: &'a TransactionItem,
    ) -> Result<UserFuture<'a, Result<WrittenOutput, Exception>>, String> {
        let content = item.specific_content().parse().map_err(|error| error.to_string())?;
        Ok(Box::pin(Processing(self.process(content, item))))
    }

    fn open(&mut self) -> UserFuture<'_, Result<(), Exception>> {
        self.open_applications()
    }

    fn close(&mut self) -> UserFuture<'_, Result<(), Exception>> {
        self.close_applications()
    }
}

/// Processes an item and then writes the output. It keeps the user's future until it is dropped itself, so that a panic of
/// the destructor does not change the result. It is no async block, because that would be more to compile.
struct Processing<'a, O>(UserFuture<'a, Result<O, Exception>>);

impl<O: Serialize> Future for Processing<'_, O> {
    type Output = Result<WrittenOutput, Exception>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map(|returned| returned.map(written))
    }
}

/// Writing the output runs user code, which may panic. The work is done by then, so the item is Successful.
fn written<O: Serialize>(output: O) -> WrittenOutput {
    catch_panic::call(move || Output::of(&output)).unwrap_or_else(|panic| omitted(&panic))
}

#[inline(never)]
fn omitted(panic: &str) -> WrittenOutput {
    Output::of(&serde_json::json!({ "OutputOmitted": format!("writing the output panicked: {panic}") }))
}
