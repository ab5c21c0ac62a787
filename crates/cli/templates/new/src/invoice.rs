//! What an item holds, and what its transaction leaves behind.

use serde::{Deserialize, Serialize};

/// The content of an item, and a row of the file that is dispatched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    pub number: String,
    pub customer: String,
    /// The amount in cents.
    pub cents: i64,
}

/// The output of a transaction, which is stored with the item.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The document that the ERP made.
    pub document: String,
}
