//! Rows that cannot be read, because the file was damaged or edited by another program, or because a newer program has written them.
//!
//! Such a row must stop neither a queue nor a list. Claims, lists, sweeps and retention pass over it and report it once; a request
//! for that very item, asset, … is answered with the error.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::group_commit::catch_panic;
use performer_core::model::key::ItemId;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use performer_core::orchestrator::ErrorKind;
use performer_core::orchestrator::OrchestratorError;

/// The most rows that are remembered as reported; after that nothing more is logged.
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

/// Rows that were passed over, by table and number, so that each is reported once a connection.
#[derive(Debug, Default)]
pub(crate) struct SkippedRows(HashSet<(&'static str, i64)>);

impl SkippedRows {
    pub(super) fn report(&mut self, item: ItemId, error: &OrchestratorError) {
        self.report_once("item", item.0, || {
            // With the cause, which says what is wrong with the row.
            let error = error.with_causes();
            tracing::error!(%item, %error, "the item's row cannot be read; it is passed over");
        });
    }

    /// Reports a row of another table.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn report_row(&mut self, table: &'static str, number: i64, error: &OrchestratorError) {
        self.report_once(table, number, || {
            let error = error.with_causes();
            tracing::error!(
                table,
                number,
                %error,
                "a row cannot be read; it is passed over. A newer program may have written it"
            );
        });
    }

    fn report_once(&mut self, table: &'static str, number: i64, report: impl FnOnce()) {
        if self.0.len() < MAX_REPORTED && self.0.insert((table, number)) {
            // Inside a transaction, which a panic of the log's writer would undo.
            let _ = catch_panic(report);
        }
    }
}
