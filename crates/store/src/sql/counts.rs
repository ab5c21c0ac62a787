//! Numbers of rows of a store.

use super::dialect::{Engine, Values};
use crate::inspection::Counts;
use performer_core::orchestrator::Result;

pub(crate) fn read(engine: &mut impl Engine) -> Result<Counts> {
    let mut count = |of: &str| -> Result<u64> {
        let counted = engine.read_number(&format!("SELECT count(*) FROM {of}"), &Values::default())?;
        Ok(u64::try_from(counted.unwrap_or(0)).unwrap_or(0))
    };
    Ok(Counts {
        queues: count("queue WHERE NOT deleted")?,
        items: count("item")?,
        ready: count("item_ready")?,
        deferred: count("item_deferred")?,
        live_jobs: count("job WHERE end_time IS NULL")?,
        jobs: count("job")?,
        reasons: count("reason")?,
        tokens: count("token")?,
        removals: count("queue_removal")?,
    })
}
