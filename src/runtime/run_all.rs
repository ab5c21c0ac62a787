//! Several performers in one process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::catch_panic::log;
use super::performer::{Performer, PerformerError};
use super::stop::StopHandle;
use super::summary::{JobSummary, SOME_FAILED};
use super::supervisor;
use crate::orchestrator::{BoxFuture, Orchestrator};

/// Runs several performers in this process until they are stopped: by a signal, unless they do not
/// [handle signals](Performer::handle_signals), or each by its own [`stop_handle`](Performer::stop_handle). If one of them cannot start
/// or ends Faulted, the others are stopped too, so that the supervisor of the process can start all of them again.
///
/// Do not drop the future to stop them, for the reason that [`Performer::run`] gives.
///
/// ```no_run
/// use performer::prelude::*;
/// # async fn example() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
/// # let post = |_: serde_json::Value, _| async { Ok(()) };
/// # let pay = post;
///
/// let orchestrator = connect("sqlite:office.db").await?;
/// let invoices = Performer::from_fn("Invoices", post).robots(8);
/// let payments = Performer::from_fn("Payments", pay).robots(2);
/// let summary = performer::run_all([invoices, payments], orchestrator).await;
/// println!("{summary}");
/// Ok(summary.exit_code())
/// # }
/// ```
pub async fn run_all(
    performers: impl IntoIterator<Item = Performer>,
    orchestrator: Arc<dyn Orchestrator>,
) -> RunSummary {
    run_together(performers.into_iter().collect(), orchestrator).await
}

/// Runs several performers in this process until each of them has found its queue empty, as
/// [`run_until_empty`](Performer::run_until_empty) does. Otherwise it is [`run_all`].
///
/// A performer that has ended does not start again when another one adds items to its queue: run queues that feed each other one
/// after the other, or use [`run_all`].
pub async fn run_all_until_empty(
    performers: impl IntoIterator<Item = Performer>,
    orchestrator: Arc<dyn Orchestrator>,
) -> RunSummary {
    let until_empty = |mut performer: Performer| {
        performer.settings.until_empty = true;
        performer
    };
    run_together(performers.into_iter().map(until_empty).collect(), orchestrator).await
}

/// The future is boxed, so that it is compiled in this crate.
#[inline(never)]
fn run_together(
    performers: Vec<Performer>,
    orchestrator: Arc<dyn Orchestrator>,
) -> BoxFuture<'static, RunSummary> {
    Box::pin(run_each(performers, orchestrator))
}

async fn run_each(performers: Vec<Performer>, orchestrator: Arc<dyn Orchestrator>) -> RunSummary {
    let stop_handles: Vec<_> = performers.iter().map(Performer::stop_handle).collect();
    let mut tasks = JoinSet::new();
    let mut queues = HashMap::new();
    for (position, performer) in performers.into_iter().enumerate() {
        let queue = performer.queue.clone();
        let task = tasks.spawn(supervisor::run(performer, orchestrator.clone()));
        queues.insert(task.id(), (position, queue));
    }
    let mut runs = BTreeMap::new();
    while let Some(ended) = tasks.join_next_with_id().await {
        let (task, result) = match ended {
            Ok((task, result)) => (task, result),
            Err(panic) => (panic.id(), Err(PerformerError::Panicked(panic.to_string()))),
        };
        if result.is_err() && !tasks.is_empty() {
            log!(warn, "a performer could not go on; the others of this process are stopped");
            stop_handles.iter().for_each(StopHandle::stop);
        }
        if let Some((position, queue)) = queues.remove(&task) {
            runs.insert(position, QueueRun { queue, result });
        }
    }
    RunSummary { runs: runs.into_values().collect() }
}

/// The summaries of several performers that ran in one process.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a performer may not have started, or may have ended Faulted"]
pub struct RunSummary {
    /// The performers, in the order in which they were given.
    pub runs: Vec<QueueRun>,
}

/// The run of one of several performers.
#[derive(Debug)]
#[non_exhaustive]
pub struct QueueRun {
    /// The name of its queue.
    pub queue: String,
    /// Its summary, or why it did not start or could not go on.
    pub result: Result<JobSummary, PerformerError>,
}

impl RunSummary {
    /// Whether a performer could not start or go on, or has [failures](JobSummary::has_failures).
    pub fn has_failures(&self) -> bool {
        self.runs.iter().any(|run| run.result.as_ref().map_or(true, JobSummary::has_failures))
    }

    /// The exit code for all of them: 1 if one could not start or go on, otherwise 3 if one
    /// [has failures](JobSummary::has_failures), otherwise 0.
    pub fn exit_code(&self) -> ExitCode {
        if self.runs.iter().any(|run| run.result.is_err()) {
            ExitCode::FAILURE
        } else if self.has_failures() {
            ExitCode::from(SOME_FAILED)
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// One line for each performer, without a line break at the end.
impl fmt::Display for RunSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, QueueRun { queue, result }) in self.runs.iter().enumerate() {
            let line_break = if at == 0 { "" } else { "\n" };
            match result {
                Ok(summary) => write!(f, "{line_break}{queue}: {summary}")?,
                Err(PerformerError::Faulted(summary)) => write!(f, "{line_break}{queue}: {summary}")?,
                Err(error) => write!(f, "{line_break}{queue}: {error}")?,
            }
        }
        Ok(())
    }
}
