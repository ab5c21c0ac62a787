//! Operations that the server asked not to be called for some time (orchestrator-api 3: rate limits are counted per operation).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request::unavailable;
use performer_core::orchestrator::Result;

/// Until when each operation must not be called.
#[derive(Debug, Default)]
pub(super) struct RateLimits(Mutex<HashMap<String, Instant>>);

impl RateLimits {
    /// Blocks an operation for as long as the server has asked for.
    pub(super) fn block(&self, operation: &str, wait: Option<Duration>) {
        let now = Instant::now();
        let until = now + wait.unwrap_or_default();
        let mut blocked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers may name any operation, so what is over is forgotten.
        blocked.retain(|_, until| *until > now);
        let entry = blocked.entry(operation.to_owned()).or_insert(until);
        *entry = until.max(*entry);
    }

    /// Waits until an operation may be called.
    ///
    /// # Errors
    ///
    /// Unavailable if that is not before the deadline; it says after which time to try again.
    pub(super) async fn wait(&self, operation: &str, host: &str, deadline: Instant) -> Result<()> {
        loop {
            let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(operation).copied();
            let Some(until) = until.filter(|until| *until > Instant::now()) else { return Ok(()) };
            if until >= deadline {
                let wait = until.duration_since(Instant::now());
                let message = format!("{operation}: {host} asks not to be called for {wait:.0?}");
                return Err(unavailable(message).with_retry_after(Some(wait)));
            }
            tokio::time::sleep_until(until).await;
        }
    }
}
