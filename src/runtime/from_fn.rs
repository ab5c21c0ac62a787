//! A transaction that is an async function.

use std::marker::PhantomData;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::item::TransactionItem;
use super::performer::Performer;
use super::transaction::Transaction;
use crate::exception::Exception;

/// Calls a function for each item. It opens no applications.
struct FnTransaction<C, F> {
    process: F,
    content: PhantomData<fn(C)>,
}

#[async_trait]
impl<C, O, F, R> Transaction for FnTransaction<C, F>
where
    C: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(C, TransactionItem) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Exception>> + Send + 'static,
{
    type Content = C;
    type Output = O;

    async fn process(&mut self, content: C, item: &TransactionItem) -> Result<O, Exception> {
        (self.process)(content, item.clone()).await
    }
}

impl Performer {
    /// Creates a performer that calls an async function for each item, for work that needs no applications. What all robots
    /// share is captured by the function; what each robot keeps for itself needs a [`Transaction`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use performer::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Invoice {
    ///     pence: u64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let orchestrator = connect("memory:").await?;
    /// # orchestrator.create_queue(NewQueueDefinition::new("Invoices")).await?;
    /// # orchestrator.add_queue_item("Invoices", NewQueueItem::new(serde_json::json!({"pence": 1200}))).await?;
    /// let posted = Arc::new(AtomicU64::new(0));
    /// let total = posted.clone();
    /// let performer = Performer::from_fn("Invoices", move |invoice: Invoice, item| {
    ///     let total = total.clone();
    ///     async move {
    ///         if invoice.pence == 0 {
    ///             return Err(BusinessException::new("the amount is zero").into());
    ///         }
    ///         item.progress("posting");
    ///         Ok(total.fetch_add(invoice.pence, Ordering::Relaxed))
    ///     }
    /// });
    /// let summary = performer.robots(8).run_until_empty(orchestrator).await?;
    /// assert_eq!((summary.successful, posted.load(Ordering::Relaxed)), (1, 1200));
    /// # Ok(()) }
    /// ```
    pub fn from_fn<C, O, F, R>(queue: impl Into<String>, process: F) -> Self
    where
        C: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(C, TransactionItem) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<O, Exception>> + Send + 'static,
    {
        Self::new(queue, move || FnTransaction { process: process.clone(), content: PhantomData })
    }
}
