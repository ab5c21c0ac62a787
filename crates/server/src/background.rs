//! Supervision of background tasks: they are restarted after a panic, counted in the metrics, and reported by the health check.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::Inner;
use super::maintenance::CERTIFICATE_INTERVAL;

/// The delay before a task is restarted after a panic: it starts at the first and doubles up to the second value.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// After running this long, a task starts with the first delay again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A background task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Refreshes the directory.
    Directory,
    /// Ends jobs whose lease is over, and abandons their items.
    Sweep,
    /// Removes the items of deleted queues.
    Removal,
    /// Removes items past their retention.
    Retention,
    /// Does the steps of operations on many items.
    Operations,
    /// Sends events to webhooks.
    Webhooks,
    /// Looks for items that miss the SLA of their queue.
    ServiceLevels,
    /// Warns about a certificate that expires.
    Certificate,
    /// Accepts connections.
    Accept,
}

impl Task {
    /// Its name in logs, metrics and the health check.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Sweep => "sweep",
            Self::Removal => "removal",
            Self::Retention => "retention",
            Self::Operations => "operations",
            Self::Webhooks => "webhooks",
            Self::ServiceLevels => "service-levels",
            Self::Certificate => "certificate",
            Self::Accept => "accept",
        }
    }

    /// A task that has not reported for this long counts as failing. Longer than the timeouts of an unreachable store.
    fn max_silence(self) -> Duration {
        match self {
            Self::Directory
            | Self::Sweep
            | Self::Removal
            | Self::Operations
            | Self::Webhooks
            | Self::ServiceLevels
            | Self::Accept => Duration::from_secs(180),
            Self::Retention => Duration::from_secs(1_200),
            Self::Certificate => 2 * CERTIFICATE_INTERVAL,
        }
    }
}

/// The state of the tasks that were started.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Vec<TaskState>>);

struct TaskState {
    task: Task,
    /// When it last reported; `None` between a panic and the restart.
    last_seen: Option<Instant>,
}

impl Tasks {
    /// Records that a task is alive.
    pub(super) fn report_alive(&self, task: Task) {
        self.set(task, Some(Instant::now()));
    }

    fn set(&self, task: Task, last_seen: Option<Instant>) {
        let mut states = self.states();
        match states.iter_mut().find(|state| state.task == task) {
            Some(state) => state.last_seen = last_seen,
            None => states.push(TaskState { task, last_seen }),
        }
    }

    /// The names of tasks that do not run or do not report.
    pub(super) fn failing(&self) -> Vec<&'static str> {
        let works = |state: &&TaskState| {
            state.last_seen.is_some_and(|last_seen| last_seen.elapsed() <= state.task.max_silence())
        };
        self.states().iter().filter(|state| !works(state)).map(|state| state.task.name()).collect()
    }

    fn states(&self) -> MutexGuard<'_, Vec<TaskState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a task forever and restarts it after a panic.
pub(super) async fn supervise<F: Future<Output = ()>>(server: &Inner, task: Task, run: impl Fn() -> F) {
    let mut delay = FIRST_DELAY;
    loop {
        let started = Instant::now();
        server.tasks.report_alive(task);
        let ended = AssertUnwindSafe(async { run().await }).catch_unwind().await;
        server.tasks.set(task, None);
        server.metrics.record_restart(task.name());
        if started.elapsed() >= STABLE_AFTER {
            delay = FIRST_DELAY;
        }
        let why = ended
            .map_or_else(|panic| performer_core::exception::panic_text(&*panic), |()| "it ended".to_owned());
        // The log writer may be what panicked.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let (task, again_in_s) = (task.name(), delay.as_secs());
            tracing::error!(task, why, again_in_s, "a background task panicked and will be restarted");
        }));
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(MAX_DELAY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_task_counts_as_failing() {
        let tasks = Tasks::default();
        tasks.report_alive(Task::Sweep);
        tasks.report_alive(Task::Retention);
        tokio::time::advance(Duration::from_secs(180)).await;
        assert!(tasks.failing().is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(tasks.failing(), ["sweep"]);
        tasks.report_alive(Task::Sweep);
        assert!(tasks.failing().is_empty());
        tasks.set(Task::Retention, None);
        assert_eq!(tasks.failing(), ["retention"], "it panicked");
    }
}
