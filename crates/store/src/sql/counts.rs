//! Numbers of rows of a store.

use super::dialect::{Engine, Values};
use crate::inspection::Counts;
use performer_core::orchestrator::Result;

/// The schemas of a database that brought tables which the first one did not have.
pub(crate) struct SchemasOfTables {
    pub(crate) reason: usize,
    /// `token` and `queue_removal`.
    pub(crate) token: usize,
}

/// Tables of later schemas are not counted where they are not there yet.
pub(crate) fn read(engine: &mut impl Engine, schema: usize, since: &SchemasOfTables) -> Result<Counts> {
    let mut count = |since: usize, of: &str| -> Result<u64> {
        if schema < since {
            return Ok(0);
        }
        let counted = engine.read_number(&format!("SELECT count(*) FROM {of}"), &Values::default())?;
        Ok(u64::try_from(counted.unwrap_or(0)).unwrap_or(0))
    };
    Ok(Counts {
        queues: count(1, "queue WHERE NOT deleted")?,
        items: count(1, "item")?,
        ready: count(1, "item_ready")?,
        deferred: count(1, "item_deferred")?,
        live_jobs: count(1, "job WHERE end_time IS NULL")?,
        jobs: count(1, "job")?,
        reasons: count(since.reason, "reason")?,
        tokens: count(since.token, "token")?,
        removals: count(since.token, "queue_removal")?,
    })
}
