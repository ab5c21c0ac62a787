//! Tasks, and the questions of transactions.
//!
//! Our own server makes the task of a question in the commit that postpones the item, and lets the item go on in the commit that ends the
//! task. A UiPath Orchestrator has neither. There the client makes the task first, finds it again by the key of the item, and postpones the
//! item for some minutes at a time: the transaction sees no answer then, asks again, and so waits on.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::call::Call;
use super::{Inner, Uipath};
use performer_core::model::key::ItemKey;
use performer_core::model::result::TransactionResult;
use performer_core::model::stored_time::{after, stored};
use performer_core::model::task::{
    AnswerOutcome, NewTask, Task, TaskActivity, TaskAnswer, TaskData, TaskId, TaskStatus,
};
use performer_core::orchestrator::{
    ErrorKind, OrchestratorError, Report, Result, TaskAdministration, TaskFilter,
};
use performer_wire::filter::quoted;
use performer_wire::task::{
    AnswerRequest, AnswerResponse, AssignTasksRequest, CreateTaskRequest, TaskAssignmentDto, TaskDataRequest,
    TaskDto, TaskErrorDto, TaskIdsRequest,
};
use performer_wire::{Collection, EnumValue};

/// How long an item of a UiPath Orchestrator is postponed at a time while nobody has answered.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// What the tag of a question begins with in a UiPath Orchestrator; its deadline follows.
const TAG: &str = "performer until ";

const PATH: &str = "/odata/Tasks";
const GENERIC: &str = "/tasks/GenericTasks";

fn action(name: &str) -> String {
    format!("{PATH}/UiPath.Server.Configuration.OData.{name}")
}

fn deadline_of(task: &TaskDto) -> Option<Timestamp> {
    task.external_tag.as_deref()?.strip_prefix(TAG)?.parse().ok()
}

fn is_completed(task: &TaskDto) -> bool {
    task.status.as_ref().and_then(EnumValue::known) == Some(TaskStatus::Completed)
}

impl Inner {
    /// The last task by which an item asked.
    async fn task_of_item(&self, item: ItemKey) -> Result<Option<TaskDto>> {
        let filter = format!("ParentOperationId eq {}", quoted(&item.to_string()));
        let call = Call::get("GetTasks", PATH)
            .query("$filter", filter)
            .query("$orderby", "Id desc")
            .query("$top", "1");
        let found: Collection<TaskDto> = self.http.json(call).await?;
        Ok(found.value.into_iter().find(|task| task.is_deleted != Some(true)))
    }

    /// Makes the task of a question unless it is there, for an Orchestrator that cannot do so in the call of the report. Returns the report
    /// that postpones the item until it is looked at again.
    pub(super) async fn ask_first(&self, item: ItemKey, report: &Report, task: &NewTask) -> Result<Report> {
        report.validate_parts()?;
        let TransactionResult::Postponed { defer_date, due_date } = report.result else {
            return Err(OrchestratorError::invalid("a task is made with a postponement only"));
        };
        let (_, now) = self.server_time();
        let open = self
            .task_of_item(item)
            .await?
            .filter(|found| !is_completed(found) && deadline_of(found).is_none_or(|deadline| deadline > now));
        let until = match &open {
            Some(found) => deadline_of(found).unwrap_or(defer_date),
            None => {
                let mut new = task.clone();
                new.parent_operation = Some(item.to_string());
                new.external_tag = Some(format!("{TAG}{defer_date}"));
                let call =
                    Call::post("CreateTask", format!("{GENERIC}/CreateTask"), &CreateTaskRequest::of(&new));
                self.http.json::<TaskDto>(call).await.map_err(|failed| match failed.error.kind() {
                    // Whether it was made is seen when the report is repeated. A catalog that does not exist is the caller's mistake.
                    ErrorKind::NotFound if failed.error.is_confirmed_not_found() => {
                        failed.error.reworded(ErrorKind::Invalid, str::to_owned)
                    }
                    _ => failed.error,
                })?;
                defer_date
            }
        };
        let look = stored(after(now, LOOK_AGAIN_AFTER / self.http.timing.speedup));
        let mut postponed = report.clone();
        postponed.ask = None;
        postponed.result = TransactionResult::Postponed { defer_date: until.min(look), due_date };
        Ok(postponed)
    }

    pub(super) async fn read_answer(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        if self.supports_leases() {
            let call = Call::post("Answer", "/api/Performer/Answer", &AnswerRequest::new(item)).repeatable();
            let response: AnswerResponse = self.http.json(call).await?;
            return Ok(response.answer.map(Into::into));
        }
        let Some(found) = self.task_of_item(item).await? else { return Ok(None) };
        if is_completed(&found) {
            let (task, data) = self.task(TaskId(found.id)).await?;
            let (now, _) = self.server_time();
            return Ok(task.answer(data, now));
        }
        let (now, _) = self.server_time();
        let late = deadline_of(&found).filter(|deadline| *deadline <= now);
        Ok(late.map(|deadline| {
            let title = found.title.clone().unwrap_or_default();
            TaskAnswer::new(TaskId(found.id), title, AnswerOutcome::Expired, deadline)
        }))
    }

    async fn task(&self, id: TaskId) -> Result<(Task, TaskData)> {
        let call = Call::get("GetTaskDataById", format!("{GENERIC}/GetTaskDataById"))
            .query("taskId", id.to_string());
        let found: TaskDto = self.http.json(call).await?;
        let (mut task, data) = found.into_task();
        if task.status == TaskStatus::Completed {
            task.completed.get_or_insert(task.created);
        }
        Ok((task, data))
    }

    /// A call about some tasks, which answers with those that were left.
    async fn about_tasks(&self, operation: &'static str, body: &impl serde::Serialize) -> Result<()> {
        let left: Collection<TaskErrorDto> =
            self.http.json(Call::post(operation, action(operation), body)).await?;
        match left.value.into_iter().next() {
            None => Ok(()),
            Some(left) => {
                let code =
                    u16::try_from(left.error_code).ok().map(performer_core::model::code::ErrorCode::new);
                let kind = if left.error_code == 1002 { ErrorKind::NotFound } else { ErrorKind::Invalid };
                let message = left.error_message.trim_end_matches('.').to_owned();
                Err(OrchestratorError::new(kind, message).with_code(code))
            }
        }
    }
}

#[async_trait]
impl TaskAdministration for Uipath {
    async fn list_tasks(&self, filter: TaskFilter) -> Result<Vec<Task>> {
        if !(1..=TaskFilter::MAX_TASKS_LISTED).contains(&filter.limit) {
            let message = format!("a list has 1 to {} tasks", TaskFilter::MAX_TASKS_LISTED);
            return Err(OrchestratorError::invalid(message));
        }
        let mut call =
            Call::get("GetTasks", PATH).query("$orderby", "Id desc").query("$top", filter.limit.to_string());
        if !filter.status.is_empty() {
            let one = |status: &TaskStatus| format!("Status eq {}", quoted(status.name()));
            call = call.query("$filter", filter.status.iter().map(one).collect::<Vec<_>>().join(" or "));
        }
        let found: Collection<TaskDto> = self.inner.http.json(call).await?;
        Ok(found.value.into_iter().map(|task| task.into_task().0).collect())
    }

    async fn get_task(&self, id: TaskId) -> Result<(Task, TaskData)> {
        self.inner.task(id).await
    }

    async fn task_activities(&self, id: TaskId) -> Result<Vec<TaskActivity>> {
        let path =
            format!("/odata/TaskActivities/UiPath.Server.Configuration.OData.GetByTaskId(taskId={id})");
        let found: Collection<performer_wire::task::ActivityDto> =
            self.inner.http.json(Call::get("GetTaskActivities", path)).await?;
        let mut activities: Vec<TaskActivity> =
            found.value.into_iter().filter_map(|activity| activity.into_activity(id)).collect();
        activities.sort_by_key(|activity| activity.id);
        Ok(activities)
    }

    async fn create_task(&self, task: NewTask) -> Result<Task> {
        task.validate()?;
        let call = Call::post("CreateTask", format!("{GENERIC}/CreateTask"), &CreateTaskRequest::of(&task));
        let made: TaskDto = self.inner.http.json(call).await?;
        Ok(made.into_task().0)
    }

    async fn assign_task(&self, id: TaskId, user: &str) -> Result<()> {
        let (task, _) = self.inner.task(id).await?;
        let operation = if task.assigned_to.is_some() { "ReassignTasks" } else { "AssignTasks" };
        let to = TaskAssignmentDto {
            task_id: id.0,
            user_name_or_email: Some(user.to_owned()),
            ..TaskAssignmentDto::default()
        };
        self.inner.about_tasks(operation, &AssignTasksRequest { task_assignments: vec![to] }).await
    }

    async fn unassign_task(&self, id: TaskId) -> Result<()> {
        self.inner.about_tasks("UnassignTasks", &TaskIdsRequest { task_ids: vec![id.0] }).await
    }

    async fn complete_task(&self, id: TaskId, action: Option<&str>, data: Option<TaskData>) -> Result<()> {
        let body = TaskDataRequest {
            task_id: id.0,
            data: data.map(serde_json::Value::Object),
            action: action.map(str::to_owned),
        };
        let call = Call::post("CompleteTask", format!("{GENERIC}/CompleteTask"), &body);
        Ok(self.inner.http.done(call).await?)
    }

    async fn delete_task(&self, id: TaskId) -> Result<()> {
        self.inner.about_tasks("DeleteTasks", &TaskIdsRequest { task_ids: vec![id.0] }).await
    }
}
