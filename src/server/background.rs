//! Tasks that run in the background of a server: supervised, started again after a panic, counted, and seen in its status.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::Inner;

/// How long after its panic a task is started again: at first, and at most when it goes on to panic.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A task that ran for so long begins with the first delay again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A task in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Looks whether the directory was changed elsewhere.
    Directory,
    /// Ends jobs that are gone, and abandons what they held.
    Sweep,
    /// Removes what is left of queues that were deleted.
    Removal,
    /// Removes what is past its retention.
    Retention,
    /// Accepts connections.
    Accept,
}

impl Task {
    /// What it is called in logs, metrics and the status.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Sweep => "sweep",
            Self::Removal => "removal",
            Self::Retention => "retention",
            Self::Accept => "accept",
        }
    }

    /// A task that says nothing for so long does not work. Longer than a store that cannot be reached keeps it.
    fn max_silence(self) -> Duration {
        match self {
            Self::Directory | Self::Sweep | Self::Removal | Self::Accept => Duration::from_secs(180),
            Self::Retention => Duration::from_secs(1_200),
        }
    }
}

/// The tasks of a server that were started, and how they are.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Vec<TaskState>>);

struct TaskState {
    task: Task,
    /// When it was heard last. None: it ended by a panic, and was not started again yet.
    last_seen: Option<Instant>,
}

impl Tasks {
    /// The task works.
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

    /// The names of tasks that do not work.
    pub(super) fn failing(&self) -> Vec<&'static str> {
        let works =
            |state: &&TaskState| state.last_seen.is_some_and(|last_seen| last_seen.elapsed() <= state.task.max_silence());
        self.states().iter().filter(|state| !works(state)).map(|state| state.task.name()).collect()
    }

    fn states(&self) -> MutexGuard<'_, Vec<TaskState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a task for ever: after a panic it is started again.
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
        let why =
            ended.map_or_else(|panic| crate::exception::panic_text(&*panic), |()| "it ended".to_owned());
        // What writes the log may be what panicked.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let (task, again_in_s) = (task.name(), delay.as_secs());
            tracing::error!(task, why, again_in_s, "a background task panicked; it is started again");
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
