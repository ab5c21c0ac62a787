//! Rows that do not match the schema, because the file was damaged or edited by another program.
//!
//! Such a row must not stop a queue. Claims, lists, sweeps and retention skip it and report it once; a request for that
//! very item is answered with the error.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::group_commit::catch_panic;
use performer_core::model::key::ItemId;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use performer_core::orchestrator::ErrorKind;
use performer_core::orchestrator::OrchestratorError;

/// The most items that are remembered as reported; after that nothing more is logged.
const MAX_REPORTED: usize = 1_000;

/// Why a row cannot be read; the source of the error that a caller sees.
#[derive(Clone, Debug)]
pub(super) struct UnreadableRow(Arc<dyn Error + Send + Sync>);

impl fmt::Display for UnreadableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for UnreadableRow {}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl UnreadableRow {
    /// The error for a caller. `store` names the file or database.
    pub(super) fn error(
        cause: impl Error + Send + Sync + 'static,
        store: impl fmt::Display,
    ) -> OrchestratorError {
        let message = format!("a row of {store} cannot be read");
        OrchestratorError::new(ErrorKind::Other, message).with_source(Self(Arc::new(cause)))
    }
}

/// Whether an error means that a row cannot be read. The rest of the transaction is not affected.
pub(super) fn is_unreadable(error: &OrchestratorError) -> bool {
    error.source().is_some_and(|source| source.is::<UnreadableRow>())
}

/// Items that were skipped, so that each is reported once a connection.
#[derive(Debug, Default)]
pub(crate) struct SkippedItems(HashSet<ItemId>);

impl SkippedItems {
    pub(super) fn report(&mut self, item: ItemId, error: &OrchestratorError) {
        if self.0.len() < MAX_REPORTED && self.0.insert(item) {
            // Inside a transaction, which a panic of the log's writer would undo.
            let _ = catch_panic(|| {
                // With the cause, which says what is wrong with the row.
                let error = error.with_causes();
                tracing::error!(%item, %error, "the item's row cannot be read; it is passed over");
            });
        }
    }
}
