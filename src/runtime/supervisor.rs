//! One run of a performer: registers the job, starts the robots, waits for them, and ends the job.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::catch_panic::log;
use super::erased::Factory;
use super::event::PerformerEvent;
use super::heartbeat::Heartbeat;
use super::item_source::{DirectSource, ItemSource};
use super::job::RunningJob;
use super::performer::{Performer, PerformerError};
use super::robot::Robot;
use super::summary::JobSummary;
use super::{prefetch, stop};
use crate::model::{JobEnd, JobState, NewJob};
use crate::orchestrator::{BoxFuture, Orchestrator};

/// How long robots may take to end after a kill before they count as stuck.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the final reports may take when the store is slow. A store waits up to half of this for another process, and
/// two calls may have to wait: the one in flight and the final one.
const FINAL_REPORTS_TIMEOUT: Duration = Duration::from_secs(25);

/// Runs a performer to its end. The future is boxed, so that it is compiled in this crate.
#[inline(never)]
pub(super) fn run(
    performer: Performer,
    orchestrator: Arc<dyn Orchestrator>,
) -> BoxFuture<'static, Result<JobSummary, PerformerError>> {
    Box::pin(run_to_its_end(performer, orchestrator))
}

async fn run_to_its_end(
    performer: Performer,
    orchestrator: Arc<dyn Orchestrator>,
) -> Result<JobSummary, PerformerError> {
    let started = tokio::time::Instant::now();
    performer.settings.validate().map_err(PerformerError::NotStarted)?;
    #[cfg(feature = "schema")]
    if let Some(check) = &performer.settings.schema_check {
        check.run(&*orchestrator, &performer.queue).await.map_err(PerformerError::NotStarted)?;
    }
    #[cfg(feature = "metrics")]
    let orchestrator: Arc<dyn Orchestrator> =
        Arc::new(super::metrics::Measured::new(orchestrator, &performer.queue));
    let about = NewJob::new(performer.queue.clone())
        .machine(gethostname::gethostname().to_string_lossy().into_owned())
        .process_id(std::process::id())
        .version(env!("CARGO_PKG_VERSION").to_owned())
        .robots(performer.settings.robots)
        .lease(performer.settings.lease);
    let key = orchestrator.start_job(about.clone()).await.map_err(PerformerError::NotStarted)?;
    let Performer { queue, make, settings, stop, on_event } = performer;
    let job = Arc::new(RunningJob::new(orchestrator, queue.into(), settings, stop, key, on_event));
    log!(info, queue = %job.queue, job = %key, robots = job.settings.robots, "the job started");
    job.emit(&PerformerEvent::JobStarted { job: key });

    let ended = CancellationToken::new();
    let stop_heartbeat = ended.clone().drop_guard();
    let (stopped, heartbeat_stopped) = oneshot::channel();
    let mut heartbeat_stopped = Some(heartbeat_stopped);
    let heartbeat = Heartbeat { job: job.clone(), about, ended, stopped };
    if let Err(error) = heartbeat.start() {
        job.fault(format!("the heartbeat could not be started: {error}"));
    } else {
        // Recovers the items of a process that was killed just before this one started.
        match job.orchestrator.sweep().await {
            Ok(swept) => job.record_sweep(&swept),
            Err(error) => log!(warn, %error, "the sweep failed"),
        }
        supervise(&job, start_robots(&job, &make), &mut heartbeat_stopped).await;
    }
    drop(stop_heartbeat);
    // The heartbeat task drops its reference to the store before this returns, or shortly after if the store blocks it.
    if let Some(stopped) = heartbeat_stopped {
        let _ = tokio::time::timeout(KILL_TIMEOUT, stopped).await;
    }
    end(&job, started.elapsed()).await
}

/// Starts a task for each robot of the job, and one for the prefetcher where items are claimed ahead.
fn start_robots(job: &Arc<RunningJob>, make: &Factory) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let claim_ahead = job.settings.claim_ahead;
    let prefetch = (claim_ahead > 0).then(|| prefetch::buffer(job.clone(), claim_ahead));
    let (buffer, prefetcher) = prefetch.unzip();
    let poll_lock = Arc::new(Mutex::new(()));
    for number in 1..=job.settings.robots {
        let item_source = match &buffer {
            Some(buffer) => ItemSource::Prefetched(buffer.clone()),
            None => ItemSource::Direct(DirectSource::new(job.clone(), number, poll_lock.clone())),
        };
        match Robot::new(job.clone(), number, make.clone(), item_source) {
            Ok(robot) => drop(tasks.spawn(robot.run())),
            Err(panic) => job.fault(format!("robot {number} could not be created: panicked: {panic}")),
        }
    }
    if let Some(prefetcher) = prefetcher {
        tasks.spawn(prefetcher.run());
    }
    tasks
}

/// Waits until all robots have ended. After a stop it waits no longer than the grace period and the kill timeout, and then
/// only for the final reports.
async fn supervise(
    job: &RunningJob,
    mut robot_tasks: JoinSet<()>,
    heartbeat_stopped: &mut Option<oneshot::Receiver<()>>,
) {
    let signals = async {
        if job.settings.handle_signals {
            stop::handle_signals(&job.stop).await;
        }
        std::future::pending::<()>().await;
    };
    let heartbeat_lost = async {
        // `None` afterwards, so that it is not waited for again.
        if let Some(stopped) = heartbeat_stopped.as_mut() {
            let _ = stopped.await;
            *heartbeat_stopped = None;
            job.fault("the heartbeat stopped".to_owned());
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        // Before the end of the robots: idle robots end at the moment of the stop, which is an event even then.
        () = run_out_of_time(job) => {}
        () = join_all(job, &mut robot_tasks) => return,
        () = signals => {}
        () = heartbeat_lost => {}
    }
    warn_stuck(job, "the transaction ignores the kill; its item will be abandoned");
    // Stuck robots are not waited for; the reports of the others are.
    let _ = tokio::time::timeout(FINAL_REPORTS_TIMEOUT, async {
        while robot_tasks.len() > stuck_robots(job) {
            tokio::select! {
                biased;
                _ = robot_tasks.join_next() => {}
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    })
    .await;
    match stuck_robots(job) {
        0 if robot_tasks.is_empty() => {}
        0 => job.fault("the final results could not be recorded in time".to_owned()),
        stuck => job.fault(format!("{stuck} robots ignored the kill")),
    }
    robot_tasks.abort_all();
}

async fn join_all(job: &RunningJob, robot_tasks: &mut JoinSet<()>) {
    while let Some(ended) = robot_tasks.join_next().await {
        if let Err(error) = ended {
            job.fault(format!("a robot ended by a panic outside the transaction: {error}"));
        }
    }
}

/// The number of robots whose user code is still running.
fn stuck_robots(job: &RunningJob) -> usize {
    job.watchdogs.iter().filter(|watchdog| watchdog.is_running_user_code()).count()
}

/// Waits for a stop, then for the end of the grace period (and kills the robots), then for the kill timeout.
async fn run_out_of_time(job: &RunningJob) {
    job.stop.stop_requested().await;
    job.emit(&PerformerEvent::StopRequested);
    let grace_period_is_over = tokio::select! {
        biased;
        () = job.stop.kill_requested() => false,
        () = tokio::time::sleep(job.settings.grace_period) => true,
    };
    if grace_period_is_over {
        warn_stuck(job, "the transaction did not end within the grace period; it is interrupted");
        job.stop.kill();
    }
    tokio::time::sleep(KILL_TIMEOUT).await;
}

/// Logs each transaction that is still running, and emits an event for it.
fn warn_stuck(job: &RunningJob, what: &'static str) {
    for (robot, watchdog) in (1..).zip(&job.watchdogs) {
        if let Some(item) = watchdog.item() {
            log!(error, %item, robot, "{what}");
            job.emit(&PerformerEvent::TransactionStuck { item, robot });
        }
    }
}

/// Ends the job in the store and completes the summary.
async fn end(job: &RunningJob, duration: Duration) -> Result<JobSummary, PerformerError> {
    let state = if job.fault_reason().is_some() {
        JobState::Faulted
    } else if job.stop.is_stop_requested() {
        JobState::Stopped
    } else {
        JobState::Successful
    };
    let info = job.fault_reason().map(str::to_owned);
    let mut end = JobEnd::new(state).figures(job.summary().figures());
    end.info.clone_from(&info);
    match job.orchestrator.end_job(job.key(), end).await {
        Ok(swept) => job.summary().abandoned += swept.abandoned,
        Err(error) => log!(warn, %error, "the end of the job could not be recorded; its lease will expire"),
    }
    let summary = {
        let mut summary = job.summary();
        summary.state = state;
        summary.fault = info;
        summary.duration = duration;
        summary.clone()
    };
    log!(info, queue = %job.queue, job = %summary.job, %summary, "the job ended");
    job.emit(&PerformerEvent::JobEnded { state });
    if state == JobState::Faulted { Err(PerformerError::Faulted(Box::new(summary))) } else { Ok(summary) }
}
