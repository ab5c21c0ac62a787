//! What is done with one item.

use performer::prelude::*;

use crate::erp::Erp;
use crate::invoice::{Invoice, Posted};

/// Posts invoices. Each robot has a value of its own.
#[derive(Default)]
pub struct PostInvoices {
    erp: Option<Erp>,
}

#[async_trait]
impl Transaction for PostInvoices {
    type Content = Invoice;
    type Output = Posted;

    async fn open_applications(&mut self) -> Result<(), Exception> {
        self.erp = Some(Erp::connect().await?);
        Ok(())
    }

    async fn process(
        &mut self,
        invoice: Invoice,
        item: &TransactionItem,
    ) -> Result<Posted, Exception> {
        if invoice.cents <= 0 {
            // The data is wrong: a retry would not help.
            return Err(BusinessException::new("the amount is not positive").into());
        }
        let erp = self.erp.as_mut();
        let erp = erp.ok_or_else(|| ApplicationException::new("the ERP is not connected"))?;
        item.progress("posting");
        // An error is an ApplicationException: the item is retried.
        let document = erp.post(&item.key().to_string(), &invoice).await?;
        Ok(Posted { document })
    }

    async fn close_applications(&mut self) -> Result<(), Exception> {
        self.erp = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use performer::testing::{self, Tested};

    use super::*;

    async fn post(cents: i64) -> Tested {
        let (number, customer) = ("INV-1".to_owned(), "ACME".to_owned());
        let invoice = Invoice {
            number,
            customer,
            cents,
        };
        testing::perform(PostInvoices::default, NewQueueItem::new(invoice)).await
    }

    #[tokio::test]
    async fn an_invoice_is_posted() {
        let tested = post(12_500).await;
        assert_eq!(tested.status(), Status::Successful, "{:?}", tested.reason());
        assert_eq!(
            tested.output::<Posted>(),
            Posted {
                document: "DOC-INV-1".to_owned()
            }
        );
        assert_eq!(tested.progress(), Some("posting"));
    }

    #[tokio::test]
    async fn an_amount_that_is_not_positive_is_a_business_exception() {
        for cents in [0, -1] {
            let tested = post(cents).await;
            assert_eq!(tested.status(), Status::Failed);
            assert_eq!(tested.reason(), Some("the amount is not positive"));
        }
    }
}
