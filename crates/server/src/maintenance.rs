//! Background maintenance: refreshes the directory, sweeps lost jobs, removes the items of deleted queues and items past
//! their retention, old logs and alerts in small batches, does the steps of operations on many items, sends to webhooks, looks for items
//! that miss the SLA of their queue, and warns about a certificate that expires.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::Inner;
use super::access::REFRESH_INTERVAL;
use super::background::{Task, supervise};
use super::tls::Tls;
use super::webhooks;
use performer_core::model::job::SWEEP_INTERVAL;
use performer_core::orchestrator::{ErrorKind, Orchestrator, OrchestratorError};
use performer_store::RemovedEnded;

const DELETED_QUEUES_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether the step of an operation is due that another process started.
const OPERATIONS_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether items miss the SLA of their queue.
const SERVICE_LEVEL_INTERVAL: Duration = Duration::from_secs(60);
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);
/// How often the validity of the certificate is checked.
pub(super) const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(86_400);

/// How many items are removed in one transaction. Small, because other writers wait for it.
const REMOVAL_BATCH: usize = 200;
/// How many lines of robot logs are removed in one transaction: their rows are narrow.
const LOG_LINES: usize = 2_000;
/// The pause between batches, for other writers.
const PAUSE: Duration = Duration::from_millis(20);
/// How many removed items are reported by one line of the log.
const LOG_EVERY: u64 = 10_000;

/// Starts the maintenance tasks; they run until aborted.
pub(super) fn start(server: &Arc<Inner>) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        let server = &*server;
        let directory = supervise(server, Task::Directory, || refresh_directory(server));
        let certificate = async {
            if let Some(tls) = &server.tls {
                supervise(server, Task::Certificate, || check_certificate(server, tls)).await;
            }
        };
        let always = async { tokio::join!(directory, certificate) };
        if !server.config.maintenance {
            always.await;
            return;
        }
        if server.operator.is_some() {
            // Somebody looks: what they begin goes on, and nothing else is done to the store.
            tokio::join!(always, supervise(server, Task::Operations, || run_operations(server)));
            return;
        }
        let sweep = supervise(server, Task::Sweep, || sweep_jobs(server));
        let deleted_queues = supervise(server, Task::Removal, || remove_deleted_queues(server));
        let retention = supervise(server, Task::Retention, || apply_retention(server));
        let operations = supervise(server, Task::Operations, || run_operations(server));
        let webhooks = supervise(server, Task::Webhooks, || webhooks::delivery::run(server));
        let service_levels = supervise(server, Task::ServiceLevels, || check_service_levels(server));
        tokio::join!(always, sweep, deleted_queues, retention, operations, webhooks, service_levels);
    })
}

async fn refresh_directory(server: &Inner) {
    let mut ticks = ticks(REFRESH_INTERVAL);
    loop {
        ticks.tick().await;
        server.idempotency.sweep(server.elapsed());
        if let Err(failure) = server.access.refresh().await {
            tracing::warn!(cause = failure.cause, "failed to read the directory");
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
                tracing::warn!(
                    items = swept.abandoned,
                    jobs = swept.jobs.len(),
                    "abandoned the items of lost jobs"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to sweep the store"),
        }
        server.tasks.report_alive(Task::Sweep);
    }
}

/// Warns every day about a certificate that expires soon or has expired. Loading it has warned already.
async fn check_certificate(server: &Inner, tls: &Tls) {
    let mut ticks = ticks(CERTIFICATE_INTERVAL);
    ticks.tick().await; // the first one comes at once
    loop {
        ticks.tick().await;
        tls.warn_about_expiry(server.now());
        server.tasks.report_alive(Task::Certificate);
    }
}

/// Removes the items of deleted queues.
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
            tracing::warn!(%error, "failed to remove the items of deleted queues");
        }
        server.tasks.report_alive(Task::Removal);
    }
}

/// Does the steps of operations that are due. Other servers over the store may do the same.
async fn run_operations(server: &Inner) {
    let mut ticks = ticks(OPERATIONS_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = server.operations_changed.notified() => {}
        }
        loop {
            server.tasks.report_alive(Task::Operations);
            match server.store.step_due_operations().await {
                Ok(0) => break,
                Ok(_) => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "failed to look for operations");
                    break;
                }
            }
        }
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
                tracing::warn!(%error, "failed to apply the retention");
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
            Ok(RemovedEnded { jobs: 0, tokens: 0 }) => {}
            Ok(RemovedEnded { jobs, tokens }) => {
                tracing::info!(jobs, tokens, "removed old jobs and expired tokens");
            }
            Err(error) => tracing::warn!(%error, "failed to remove old jobs and expired tokens"),
        }
        if let Err(error) = server.store.remove_operations(async || tokio::time::sleep(PAUSE).await).await {
            tracing::warn!(%error, "failed to remove old operations");
        }
        if let Err(error) = server.store.remove_old_deliveries(async || tokio::time::sleep(PAUSE).await).await
        {
            tracing::warn!(%error, "failed to remove old dead letters of webhooks");
        }
        // Without a storage of its own a store has no files.
        match server.store.remove_files().await {
            Err(error) if error.kind() != ErrorKind::Unsupported => {
                tracing::warn!(%error, "failed to remove files that nothing leads to any more");
            }
            _ => {}
        }
        remove_logs(server).await;
        remove_alerts(server).await;
    }
}

/// Removes old alerts.
async fn remove_alerts(server: &Inner) {
    loop {
        server.tasks.report_alive(Task::Retention);
        match server.store.remove_alerts(server.config.alert_days, REMOVAL_BATCH).await {
            Ok(0) => return,
            Ok(_) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                tracing::warn!(%error, "failed to remove old alerts");
                return;
            }
        }
    }
}

/// Raises alerts about items that wait, of queues with an SLA.
async fn check_service_levels(server: &Inner) {
    let mut ticks = ticks(SERVICE_LEVEL_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = server.store.check_service_levels().await {
            tracing::warn!(%error, "failed to look for items that miss the SLA of their queue");
        }
        server.tasks.report_alive(Task::ServiceLevels);
    }
}

/// Removes old lines of robot logs.
async fn remove_logs(server: &Inner) {
    let mut removed = 0;
    loop {
        server.tasks.report_alive(Task::Retention);
        match server.store.remove_log_lines(server.config.log_retention, LOG_LINES).await {
            Ok(lines) => {
                removed += lines;
                if lines < LOG_LINES as u64 {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "failed to remove old lines of robot logs");
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if removed > 0 {
        tracing::info!(lines = removed, "removed old lines of robot logs");
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
