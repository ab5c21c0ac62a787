//! What a server does by itself: it looks whether the directory was changed elsewhere, sweeps, and removes what is past
//! its retention, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::Inner;
use super::access::BETWEEN_LOOKS;
use crate::orchestrator::{Administration, Orchestrator};

const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);
const BETWEEN_REMOVALS: Duration = Duration::from_secs(600);

/// How many items are removed in one transaction: others wait no longer than for it.
const REMOVED_AT_ONCE: usize = 200;
/// How long others have the store to themselves in between.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts it; it goes on until it is aborted.
pub(super) fn start(server: &Arc<Inner>) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        if !server.config.upkeep {
            return look(&server).await;
        }
        tokio::join!(look(&server), sweep(&server), remove(&server));
    })
}

async fn look(server: &Inner) {
    let mut ticks = ticks(BETWEEN_LOOKS);
    loop {
        ticks.tick().await;
        if let Err(failure) = server.access.refresh().await {
            tracing::warn!(cause = failure.cause, "the directory could not be read");
        }
    }
}

async fn sweep(server: &Inner) {
    let mut ticks = ticks(BETWEEN_SWEEPS);
    loop {
        ticks.tick().await;
        match server.store.sweep().await {
            Ok(swept) if swept.abandoned > 0 => {
                tracing::warn!(items = swept.abandoned, jobs = swept.jobs.len(), "items were abandoned");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the store could not be swept"),
        }
    }
}

async fn remove(server: &Inner) {
    let mut ticks = ticks(BETWEEN_REMOVALS);
    loop {
        ticks.tick().await;
        loop {
            match server.store.apply_retention(REMOVED_AT_ONCE).await {
                Ok(0) => break,
                Ok(removed) => tracing::debug!(removed, "items past their retention were removed"),
                Err(error) => {
                    tracing::warn!(%error, "retention could not be applied");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
