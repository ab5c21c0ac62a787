//! What a server does by itself: it looks whether the directory was changed elsewhere, sweeps, and removes what is left of
//! deleted queues and what is past its retention, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::Inner;
use super::access::BETWEEN_LOOKS;
use super::background::{Task, supervised};
use crate::model::job::SWEEP_INTERVAL;
use crate::orchestrator::store::RemovedEnded;
use crate::orchestrator::{Orchestrator, OrchestratorError};

const BETWEEN_CLEARINGS: Duration = Duration::from_secs(1);
const BETWEEN_REMOVALS: Duration = Duration::from_secs(600);

/// How many items are removed in one transaction: others wait no longer than for it.
const REMOVED_AT_ONCE: usize = 200;
/// How long others have the store to themselves in between.
const PAUSE: Duration = Duration::from_millis(20);
/// How many items are removed until it is told how far it is.
const TOLD_EVERY: u64 = 10_000;

/// Starts it; it goes on until it is aborted.
pub(super) fn start(server: &Arc<Inner>) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        let server = &*server;
        let look = supervised(server, Task::Directory, || look(server));
        if !server.config.upkeep {
            return look.await;
        }
        let sweep = supervised(server, Task::Sweep, || sweep(server));
        let clear = supervised(server, Task::Removal, || clear(server));
        let remove = supervised(server, Task::Retention, || remove(server));
        tokio::join!(look, sweep, clear, remove);
    })
}

async fn look(server: &Inner) {
    let mut ticks = ticks(BETWEEN_LOOKS);
    loop {
        ticks.tick().await;
        server.exchanges.sweep(server.elapsed());
        if let Err(failure) = server.access.refresh().await {
            tracing::warn!(cause = failure.cause, "the directory could not be read");
        }
        server.tasks.works(Task::Directory);
    }
}

async fn sweep(server: &Inner) {
    let mut ticks = ticks(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        match server.store.sweep().await {
            Ok(swept) if swept.abandoned > 0 => {
                tracing::warn!(items = swept.abandoned, jobs = swept.jobs.len(), "items were abandoned");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the store could not be swept"),
        }
        server.tasks.works(Task::Sweep);
    }
}

/// Removes what is left of queues that were deleted.
async fn clear(server: &Inner) {
    let mut ticks = ticks(BETWEEN_CLEARINGS);
    loop {
        ticks.tick().await;
        let removed = async {
            let mut is_left = server.store.has_removals().await?;
            while is_left {
                server.tasks.works(Task::Removal);
                is_left = server.store.remove_deleted(1).await?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, OrchestratorError>(())
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, "what is left of deleted queues could not be removed");
        }
        server.tasks.works(Task::Removal);
    }
}

async fn remove(server: &Inner) {
    let mut ticks = ticks(BETWEEN_REMOVALS);
    loop {
        ticks.tick().await;
        let mut untold = 0;
        loop {
            server.tasks.works(Task::Retention);
            let removed = server.store.remove_expired(REMOVED_AT_ONCE).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "retention could not be applied");
                0
            });
            untold += removed;
            if untold >= TOLD_EVERY || removed == 0 && untold > 0 {
                tracing::info!(items = untold, "items past their retention were removed");
                untold = 0;
            }
            if removed == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        match server.store.remove_ended(REMOVED_AT_ONCE, async || tokio::time::sleep(PAUSE).await).await {
            Ok(RemovedEnded { jobs: 0, tokens: 0 }) => {}
            Ok(RemovedEnded { jobs, tokens }) => {
                tracing::info!(jobs, tokens, "what ended long ago was removed");
            }
            Err(error) => tracing::warn!(%error, "what ended long ago could not be removed"),
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
