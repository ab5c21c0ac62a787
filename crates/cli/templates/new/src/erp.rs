//! The system that invoices are posted to. It is a stand-in: replace it with a client of yours.

use std::io;
use std::time::Duration;

use crate::invoice::Invoice;

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(20);

/// An open connection.
pub struct Erp;

impl Erp {
    pub async fn connect() -> io::Result<Self> {
        Ok(Self)
    }

    /// Posts an invoice, and returns the number of its document.
    ///
    /// The key is the same for all attempts at an item. A system that has seen it already answers with
    /// the document that it made then, so that nothing is posted twice.
    pub async fn post(&mut self, _key: &str, invoice: &Invoice) -> io::Result<String> {
        tokio::time::sleep(LATENCY).await;
        Ok(format!("DOC-{}", invoice.number))
    }
}
