//! The trait that users implement.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::item::TransactionItem;
use crate::exception::Exception;

/// How to process one item of a queue.
///
/// A performer makes one value for each of its robots and calls it in REFramework's order:
/// [`open_applications`](Self::open_applications) once, [`process`](Self::process) for each item, one after
/// the other, [`close_applications`](Self::close_applications) at the end. After an ApplicationException the
/// applications are closed and opened again before the robot takes its next item.
///
/// ```
/// use performer::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Invoice {
///     amount: f64,
/// }
///
/// struct PostInvoices;
///
/// #[async_trait]
/// impl Transaction for PostInvoices {
///     type Content = Invoice;
///     type Output = ();
///
///     async fn process(&mut self, invoice: Invoice, item: &TransactionItem) -> Result<(), Exception> {
///         if invoice.amount < 0.0 {
///             return Err(BusinessException::new("the amount is negative").into());
///         }
///         item.progress("posting");
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Transaction: Send + 'static {
    /// The type of the item's SpecificContent. Content that cannot be deserialized into it is a BusinessException, because a
    /// retry cannot repair it. [`serde_json::Value`] accepts everything except numbers with more digits than 64 bits hold;
    /// `serde_json::value::RawValue` and 128-bit integers accept those too. A float is rounded to the nearest value. See
    /// [`SpecificContent::parse`](crate::SpecificContent::parse).
    type Content: DeserializeOwned + Send;

    /// The type of the output stored with a successful item; `()` for none. See
    /// [`Output::of`](crate::model::Output::of) for values that are not flat objects.
    type Output: Serialize + Send;

    /// Processes one item.
    ///
    /// It may run more than once for one item: when its robot or machine fails after the work was done and before the
    /// result was recorded. [`TransactionItem::key`] is the same for all attempts: use it as the idempotency key in the
    /// systems you call.
    ///
    /// When the performer is killed, or the time limit is exceeded, the future is dropped at its next await point.
    ///
    /// # Errors
    ///
    /// A [`BusinessException`](crate::BusinessException) when the data is wrong; an
    /// [`ApplicationException`](crate::ApplicationException), or any error through `?`, when an application or the
    /// environment fails; [`Exception::postpone_for`] when it is too early. A panic is an ApplicationException.
    async fn process(
        &mut self,
        content: Self::Content,
        item: &TransactionItem,
    ) -> Result<Self::Output, Exception>;

    /// Opens the applications that the robot works with. Called once before the first item, and again after each
    /// ApplicationException.
    ///
    /// # Errors
    ///
    /// An error ends the job as Faulted.
    async fn open_applications(&mut self) -> Result<(), Exception> {
        Ok(())
    }

    /// Closes the applications that the robot works with. Called at the end, and after each ApplicationException.
    ///
    /// # Errors
    ///
    /// An error is logged, and the robot continues.
    async fn close_applications(&mut self) -> Result<(), Exception> {
        Ok(())
    }
}
