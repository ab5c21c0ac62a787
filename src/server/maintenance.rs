//! What a server does by itself: it looks whether the directory was changed elsewhere, sweeps, and removes what is left of
//! deleted queues and what is past its retention, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::Inner;
use super::access::REFRESH_INTERVAL;
use super::background::{Task, supervise};
use crate::model::job::SWEEP_INTERVAL;
use crate::orchestrator::local::Ended;
use crate::orchestrator::{Orchestrator, OrchestratorError};

const DELETED_QUEUES_INTERVAL: Duration = Duration::from_secs(1);
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);

/// How many items are removed in one transaction: others wait no longer than for it.
const REMOVAL_BATCH: usize = 200;
/// How long others have the store to themselves in between.
const PAUSE: Duration = Duration::from_millis(20);
/// How many items are removed until it is told how far it is.
const LOG_EVERY: u64 = 10_000;

/// Starts it; it goes on until it is aborted.
pub(super) fn start(server: &Arc<Inner>) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        let server = &*server;
        let directory = supervise(server, Task::Directory, || refresh_directory(server));
        if !server.config.maintenance {
            return directory.await;
        }
        let sweep = supervise(server, Task::Sweep, || sweep_jobs(server));
        let deleted_queues = supervise(server, Task::Removal, || remove_deleted_queues(server));
        let retention = supervise(server, Task::Retention, || apply_retention(server));
        tokio::join!(directory, sweep, deleted_queues, retention);
    })
}

async fn refresh_directory(server: &Inner) {
    let mut ticks = ticks(REFRESH_INTERVAL);
    loop {
        ticks.tick().await;
        server.idempotency.sweep(server.elapsed());
        if let Err(failure) = server.access.refresh().await {
            tracing::warn!(cause = failure.cause, "the directory could not be read");
        }
        server.tasks.report_alive(Task::Directory);
    }
}

async fn sweep_jobs(server: &Inner) {
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
        server.tasks.report_alive(Task::Sweep);
    }
}

/// Removes what is left of queues that were deleted.
async fn remove_deleted_queues(server: &Inner) {
    let mut ticks = ticks(DELETED_QUEUES_INTERVAL);
    loop {
        ticks.tick().await;
        let removed = async {
            let mut is_left = server.store.has_removals().await?;
            while is_left {
                server.tasks.report_alive(Task::Removal);
                is_left = server.store.remove_deleted(1).await?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, OrchestratorError>(())
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, "what is left of deleted queues could not be removed");
        }
        server.tasks.report_alive(Task::Removal);
    }
}

async fn apply_retention(server: &Inner) {
    let mut ticks = ticks(RETENTION_INTERVAL);
    loop {
        ticks.tick().await;
        let mut unlogged = 0;
        loop {
            server.tasks.report_alive(Task::Retention);
            let removed = server.store.remove_expired(REMOVAL_BATCH).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "retention could not be applied");
                0
            });
            unlogged += removed;
            if unlogged >= LOG_EVERY || removed == 0 && unlogged > 0 {
                tracing::info!(items = unlogged, "items past their retention were removed");
                unlogged = 0;
            }
            if removed == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        match server.store.remove_ended(REMOVAL_BATCH, async || tokio::time::sleep(PAUSE).await).await {
            Ok(Ended { jobs: 0, tokens: 0 }) => {}
            Ok(Ended { jobs, tokens }) => tracing::info!(jobs, tokens, "what ended long ago was removed"),
            Err(error) => tracing::warn!(%error, "what ended long ago could not be removed"),
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
