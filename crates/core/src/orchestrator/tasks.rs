//! What people do with tasks, and the tasks of reports.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Report, Result};
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::result::TransactionResult;
use crate::model::task::{NewTask, Task, TaskActivity, TaskData, TaskId, TaskStatus};

/// Which tasks to list, the newest first. Deleted tasks are in no list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskFilter {
    /// Only tasks of these statuses; empty: all.
    pub status: Vec<TaskStatus>,
    /// How many at most, 1 to [`MAX_TASKS_LISTED`](Self::MAX_TASKS_LISTED). Default: 100.
    pub limit: usize,
}

impl Default for TaskFilter {
    fn default() -> Self {
        Self { status: Vec::new(), limit: 100 }
    }
}

impl TaskFilter {
    /// The most tasks of one list.
    pub const MAX_TASKS_LISTED: usize = 1_000;

    /// Only tasks that nobody has completed.
    #[must_use]
    pub fn open() -> Self {
        Self { status: vec![TaskStatus::Unassigned, TaskStatus::Pending], ..Self::default() }
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// Makes, lists, assigns and completes tasks. A back end that has tasks says so with
/// [`QueueAdministration::tasks`](super::QueueAdministration::tasks).
#[async_trait]
pub trait TaskAdministration: std::fmt::Debug + Send + Sync {
    /// Lists tasks.
    ///
    /// # Errors
    ///
    /// Invalid for a limit of 0 or over 1,000; Unavailable.
    async fn list_tasks(&self, filter: TaskFilter) -> Result<Vec<Task>>;

    /// Reads a task with its data.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_task(&self, id: TaskId) -> Result<(Task, TaskData)>;

    /// What was done with a task, the first act first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn task_activities(&self, id: TaskId) -> Result<Vec<TaskActivity>>;

    /// Makes a task that no item waits for.
    ///
    /// # Errors
    ///
    /// Invalid for what exceeds a limit; NotFound for an unknown catalog.
    async fn create_task(&self, task: NewTask) -> Result<Task>;

    /// Gives a task to a user, by name, from whoever has it.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid with code 1009 for a task that is completed or late; Unsupported for a back end without users.
    async fn assign_task(&self, id: TaskId, user: &str) -> Result<()>;

    /// Takes a task from its user.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid with code 1009 for a task that is not assigned, completed or late.
    async fn unassign_task(&self, id: TaskId) -> Result<()>;

    /// Completes a task. `data` replaces the data of the task; `None` leaves it. If an item waits, it can be claimed at once, by the
    /// same commit.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid with code 1009 for a task that is completed or late, and for an action that it does not name.
    async fn complete_task(&self, id: TaskId, action: Option<&str>, data: Option<TaskData>) -> Result<()>;

    /// Deletes a task. If an item waits, it can be claimed at once.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn delete_task(&self, id: TaskId) -> Result<()>;
}

impl Report {
    /// Sets the task by which a person is asked. Only a Postponed report may have one.
    #[must_use]
    pub fn ask(mut self, task: impl Into<Option<NewTask>>) -> Self {
        self.ask = task.into().map(Arc::new);
        self
    }

    /// Checks the task and the follow-ups without a back end.
    ///
    /// # Errors
    ///
    /// As [`FollowUps::validate`](super::FollowUps::validate); code 1009 for a task with another result than a postponement, or one that exceeds a limit.
    pub fn validate_parts(&self) -> Result<(), Refusal> {
        self.follow_ups.validate(&self.result)?;
        match (&self.ask, &self.result) {
            (None, _) => Ok(()),
            (Some(task), TransactionResult::Postponed { .. }) => task.validate(),
            (Some(_), _) => {
                Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, "a task is made with a postponement only"))
            }
        }
    }
}
