//! Changes of tasks, and questions about them.

use jiff::Timestamp;
use serde_json::Value;

use super::super::backend::{Answer, Scope};
use super::super::rows::Rows;
use super::super::tasks::{Assign, TaskOperation, TaskQuery, TaskReply, no_catalog};
use super::{Applied, Apply, ApplyError};
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{FolderId, ItemId, TaskKey};
use performer_core::model::lifecycle::Event;
use performer_core::model::queue::folded;
use performer_core::model::stored_time::stored;
use performer_core::model::task::{
    AskingItem, CatalogId, CatalogSettings, MAX_ACTIVITIES, MAX_CATALOGS, NewTask, Task, TaskAct,
    TaskActivity, TaskCatalog, TaskData, TaskEdit, TaskId, no_task,
};
use performer_core::model::webhook::{EventType, task_event};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// How many tasks of an item are looked at for its answer: an item has one that is open, and asks again rarely.
const TASKS_OF_ITEM: usize = 100;

/// A new task whose catalog was found.
pub(super) struct CheckedTask<'n> {
    task: &'n NewTask,
    catalog: Option<CatalogId>,
}

/// What was done to a task.
struct Done<'a> {
    act: TaskAct,
    audited: Act,
    told: EventType,
    data: Option<&'a TaskData>,
    note: Option<String>,
    changes: Vec<FieldChange>,
}

impl<'a> Done<'a> {
    fn new(act: TaskAct, audited: Act, told: EventType) -> Self {
        Self { act, audited, told, data: None, note: None, changes: Vec::new() }
    }

    /// The data was replaced, too. The audit says so, and keeps none.
    fn data(mut self, data: Option<&'a TaskData>) -> Self {
        self.data = data;
        self.changes.extend(data.map(|_| FieldChange::without_values("Data")));
        self
    }

    fn change(mut self, name: &str, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        let (before, after): (Value, Value) = (before.into(), after.into());
        if before != after {
            let some = |value: Value| Some(value).filter(|value| !value.is_null());
            self.changes.push(FieldChange::new(name, some(before), some(after)));
        }
        self
    }
}

impl<R: Rows> Apply<'_, R> {
    pub(super) fn change_tasks(&mut self, operation: TaskOperation) -> Applied {
        let reply = match operation {
            TaskOperation::Create { key, new } => self.create_task(key, &new)?,
            TaskOperation::Assign { id, user, how, data, note } => {
                self.assign_task(id, user, how, data.as_ref(), note)?
            }
            TaskOperation::Unassign(id) => self.unassign_task(id)?,
            TaskOperation::Save { id, data } => self.save_task(id, &data)?,
            TaskOperation::Edit { id, edit, note } => self.edit_task(id, &edit, note)?,
            TaskOperation::Complete { id, action, data } => {
                self.complete_task(id, action.as_deref(), data.as_ref())?
            }
            TaskOperation::Delete(id) => self.delete_task(id)?,
            TaskOperation::Note { id, text } => self.note_on_task(id, text)?,
            TaskOperation::CreateCatalog(settings) => self.create_catalog(settings)?,
            TaskOperation::UpdateCatalog { id, settings, reach } => {
                self.update_catalog(id, settings, reach.as_deref())?
            }
            TaskOperation::DeleteCatalog { id, reach } => self.delete_catalog(id, reach.as_deref())?,
            TaskOperation::ShareCatalog { id, add, remove } => self.share_catalog(id, &add, &remove)?,
        };
        Ok(reply.into())
    }

    fn create_task(&mut self, key: TaskKey, new: &NewTask) -> Applied<TaskReply> {
        let new = self.checked_ask(new)?;
        let task = Task::new(key, new.task, self.scope.folder, stored(self.now));
        let task = self.insert_task(task, &new)?;
        let change = FieldChange::new("Title", None, Some(task.title.as_str().into()));
        self.note_act(Act::TaskCreated, format!("task {}", task.id), Vec::new(), vec![change]);
        Ok(TaskReply::One(Box::new((task, TaskData::new()))))
    }

    /// Finds the catalog of a new task, before anything is written.
    pub(super) fn checked_ask<'n>(&mut self, task: &'n NewTask) -> Applied<CheckedTask<'n>> {
        let Some(name) = &task.catalog else { return Ok(CheckedTask { task, catalog: None }) };
        let folder = self.scope.folder;
        let found = self.rows.catalogs()?.into_iter().find(|one| one.is_named(name, &[folder]));
        let missing =
            || Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("task catalog {name:?} does not exist"));
        Ok(CheckedTask { task, catalog: Some(found.ok_or_else(missing)?.id) })
    }

    /// Cannot be refused.
    fn insert_task(&mut self, mut task: Task, new: &CheckedTask<'_>) -> Result<Task> {
        (task.catalog, task.creator) = (new.catalog, self.scope.user);
        task.id = self.rows.insert_task(&task, &new.task.data)?;
        let activity = TaskActivity::new(task.id, TaskAct::Created, task.created, task.creator);
        self.rows.insert_activity(&activity)?;
        self.tell_task(EventType::TaskCreated, &task, None)?;
        Ok(task)
    }

    /// Makes the task by which an item asks, which was just postponed to `deadline`. A task that is open is the one that it waits for on.
    ///
    /// Nothing is refused here: the postponement is written.
    pub(super) fn ask(&mut self, id: ItemId, new: &CheckedTask<'_>, deadline: Timestamp) -> Result<()> {
        let unwritten =
            || OrchestratorError::new(ErrorKind::Other, format!("item {id} was postponed and is gone"));
        let key = self.rows.item(id)?.ok_or_else(unwritten)?.key;
        let (asking, deadline) = (AskingItem { item: id, key }, stored(deadline));
        let open = self.rows.tasks_of_operation(&key.to_string(), TASKS_OF_ITEM)?;
        let open = open.into_iter().find(|task| task.asked_by.is_some() && task.is_open(self.now));
        if let Some(open) = open {
            let mut task = self.rows.task_to_change(open.id)?.unwrap_or(open);
            task.await_by(asking, deadline);
            return self.rows.write_task(&task, None);
        }
        let now = stored(self.now);
        let task_key = self.rows.keys().task(now);
        let mut task = Task::new(task_key, new.task, self.scope.folder, now);
        task.await_by(asking, deadline);
        self.insert_task(task, new)?;
        crash_point!("ask.after_task");
        Ok(())
    }

    fn assign_task(
        &mut self,
        id: TaskId,
        user: i64,
        how: Assign,
        data: Option<&TaskData>,
        note: Option<String>,
    ) -> Applied<TaskReply> {
        let before = self.task_to_change(id)?;
        let mut task = before.clone();
        let again = match how {
            Assign::First => false,
            Assign::Again => true,
            Assign::Anyway => before.assigned_to.is_some(),
        };
        task.assign(user, again, self.now)?;
        task.last_assigned = task.last_assigned.map(stored);
        let act = if again { TaskAct::Reassigned } else { TaskAct::Assigned };
        let done = Done::new(act, Act::TaskAssigned, EventType::TaskAssignmentChanged).data(data);
        let done = Done { note, ..done.change("AssignedToUserId", before.assigned_to, task.assigned_to) };
        self.write_changed_task(&before, task, done)
    }

    fn unassign_task(&mut self, id: TaskId) -> Applied<TaskReply> {
        let before = self.task_to_change(id)?;
        let mut task = before.clone();
        task.unassign(self.now)?;
        let done = Done::new(TaskAct::Unassigned, Act::TaskAssigned, EventType::TaskAssignmentChanged)
            .change("AssignedToUserId", before.assigned_to, Value::Null);
        self.write_changed_task(&before, task, done)
    }

    fn save_task(&mut self, id: TaskId, data: &TaskData) -> Applied<TaskReply> {
        let task = self.task_to_change(id)?;
        task.check_open(self.now)?;
        self.check_activities(id)?;
        let done = Done::new(TaskAct::Saved, Act::TaskEdited, EventType::TaskSaved).data(Some(data));
        self.write_changed_task(&task.clone(), task, done)
    }

    fn edit_task(&mut self, id: TaskId, edit: &TaskEdit, note: Option<String>) -> Applied<TaskReply> {
        let before = self.task_to_change(id)?;
        if let Some(Some(catalog)) = edit.catalog {
            self.catalog_here(catalog)?;
        }
        let mut task = before.clone();
        task.edit(edit, self.now)?;
        self.check_activities(id)?;
        let labels = |task: &Task| serde_json::to_value(&task.labels).unwrap_or_default();
        let done = Done::new(TaskAct::Saved, Act::TaskEdited, EventType::TaskUpdated)
            .change("Title", before.title.as_str(), task.title.as_str())
            .change("Priority", before.priority.name(), task.priority.name())
            .change("TaskCatalogId", before.catalog.map(|id| id.0), task.catalog.map(|id| id.0))
            .change("Tags", labels(&before), labels(&task));
        self.write_changed_task(&before, task, Done { note, ..done })
    }

    fn complete_task(
        &mut self,
        id: TaskId,
        action: Option<&str>,
        data: Option<&TaskData>,
    ) -> Applied<TaskReply> {
        let before = self.task_to_change(id)?;
        let mut task = before.clone();
        task.complete(action, self.scope.user, self.now)?;
        task.completed = task.completed.map(stored);
        let done = Done::new(TaskAct::Completed, Act::TaskCompleted, EventType::TaskCompleted)
            .change("Status", before.status.name(), task.status.name())
            .change("Action", Value::Null, task.action.as_deref())
            .data(data);
        let reply = self.write_changed_task(&before, task.clone(), done)?;
        self.let_item_go_on(&task)?;
        Ok(reply)
    }

    fn delete_task(&mut self, id: TaskId) -> Applied<TaskReply> {
        let before = self.task_to_change(id)?;
        let mut task = before.clone();
        task.delete(self.scope.user, stored(self.now))?;
        let done = Done::new(TaskAct::Deleted, Act::TaskDeleted, EventType::TaskDeleted);
        let reply = self.write_changed_task(&before, task.clone(), done)?;
        self.let_item_go_on(&task)?;
        Ok(reply)
    }

    fn note_on_task(&mut self, id: TaskId, text: String) -> Applied<TaskReply> {
        self.task_to_change(id)?;
        self.note_act(
            Act::TaskEdited,
            format!("task {id}"),
            Vec::new(),
            vec![FieldChange::without_values("Note")],
        );
        let mut activity =
            TaskActivity::new(id, TaskAct::Commented, stored(self.now), self.scope.user).note(Some(text));
        activity.id = self.rows.insert_activity(&activity)?;
        Ok(TaskReply::Activity(Box::new(activity)))
    }

    /// Writes a task with everything that belongs to its change.
    fn write_changed_task(&mut self, before: &Task, mut task: Task, done: Done<'_>) -> Applied<TaskReply> {
        (task.modified, task.modifier) = (Some(stored(self.now)), self.scope.user);
        self.rows.write_task(&task, done.data)?;
        let target = match done.act {
            TaskAct::Unassigned => before.assigned_to,
            TaskAct::Assigned | TaskAct::Reassigned => task.assigned_to,
            _ => None,
        };
        let activity = TaskActivity::new(task.id, done.act, stored(self.now), self.scope.user)
            .target(target)
            .note(done.note);
        self.rows.insert_activity(&activity)?;
        self.tell_task(done.told, &task, before.assigned_to)?;
        let items = task.asked_by.map(|asking| asking.item).into_iter().collect();
        self.note_act(done.audited, format!("task {}", task.id), items, done.changes);
        crash_point!("tasks.after_write");
        Ok(TaskReply::One(Box::new((task, TaskData::new()))))
    }

    /// Refuses an act that can be repeated for ever, before anything is written. What ends a task, or gives it to somebody, is never
    /// refused because of their number.
    fn check_activities(&mut self, id: TaskId) -> Applied<()> {
        if self.rows.count_activities(id)? >= MAX_ACTIVITIES as u64 {
            let message = format!("task {id} has {MAX_ACTIVITIES} activities already");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        Ok(())
    }

    /// By lifecycle T25, the item that waits for a task that has an end now can be claimed. One that was taken, deleted or removed
    /// meanwhile waits no more.
    fn let_item_go_on(&mut self, task: &Task) -> Applied<()> {
        let (Some(asking), Some(deadline)) = (task.asked_by, task.deadline) else { return Ok(()) };
        let read = self.rows.row(asking.item).map_err(ApplyError::Failed);
        let Some(Some(row)) = self.unless_unreadable(asking.item, read)? else { return Ok(()) };
        if self.queue_by_id(row.queue)?.is_some() {
            self.apply_event_to(asking.item, &row, Event::Answer { deadline })?;
            crash_point!("answer.after_item");
        }
        Ok(())
    }

    fn tell_task(&mut self, kind: EventType, task: &Task, before: Option<i64>) -> Result<()> {
        if self.is_told(kind) {
            let catalog = match task.catalog {
                Some(id) => self.rows.catalogs()?.into_iter().find(|catalog| catalog.id == id),
                None => None,
            };
            let name = catalog.as_ref().map(|catalog| catalog.settings.name.as_str());
            let event = task_event(kind, self.event_id(), stored(self.now), task, name, before);
            self.tell_made(event.by(task.folder, self.scope.user));
        }
        Ok(())
    }

    /// A task of the folder, to be changed.
    fn task_to_change(&mut self, id: TaskId) -> Applied<Task> {
        let task = self.rows.task_to_change(id)?;
        let here = task.filter(|task| task.folder == self.scope.folder && task.deleted.is_none());
        here.ok_or_else(|| no_task(id).into())
    }

    // Catalogs

    fn create_catalog(&mut self, settings: CatalogSettings) -> Applied<TaskReply> {
        self.rows.lock_catalogs()?;
        if self.rows.catalogs()?.len() >= MAX_CATALOGS {
            let message = format!("the store has {MAX_CATALOGS} task catalogs already");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let now = stored(self.now);
        let key = self.rows.keys().catalog(now);
        let mut catalog = TaskCatalog::new(key, settings, self.scope.folder, now);
        self.check_catalog_name(&catalog, ErrorCode::NAME_ALREADY_USED)?;
        catalog.id = self.rows.insert_catalog(&catalog)?;
        self.note_catalog(None, Some(&catalog));
        Ok(TaskReply::Catalog(Box::new(catalog)))
    }

    fn update_catalog(
        &mut self,
        id: CatalogId,
        settings: CatalogSettings,
        reach: Option<&[FolderId]>,
    ) -> Applied<TaskReply> {
        self.rows.lock_catalogs()?;
        let before = self.catalog_here(id)?;
        before.may_be_changed_by(reach)?;
        let mut catalog = before.clone();
        (catalog.settings, catalog.modified) = (settings, Some(stored(self.now)));
        self.check_catalog_name(&catalog, ErrorCode::NAME_ALREADY_USED)?;
        self.rows.write_catalog(&catalog)?;
        self.note_catalog(Some(&before), Some(&catalog));
        Ok(TaskReply::Done)
    }

    fn delete_catalog(&mut self, id: CatalogId, reach: Option<&[FolderId]>) -> Applied<TaskReply> {
        self.rows.lock_catalogs()?;
        let catalog = self.catalog_here(id)?;
        catalog.may_be_changed_by(reach)?;
        if self.rows.count_tasks_of(id, true)? > 0 {
            let message =
                format!("task catalog {:?} has tasks that nobody has completed", catalog.settings.name);
            return Err(Refusal::new(ErrorCode::new(1012), message).into());
        }
        self.rows.delete_catalog(id)?;
        self.note_catalog(Some(&catalog), None);
        Ok(TaskReply::Done)
    }

    fn share_catalog(&mut self, id: CatalogId, add: &[FolderId], remove: &[FolderId]) -> Applied<TaskReply> {
        self.rows.lock_catalogs()?;
        let before = self.catalog_here(id)?;
        let mut catalog = before.clone();
        catalog.share(add, remove)?;
        self.check_catalog_name(&catalog, ErrorCode::ITEM_ALREADY_EXISTS)?;
        self.rows.write_catalog(&catalog)?;
        self.note_catalog(Some(&before), Some(&catalog));
        Ok(TaskReply::Done)
    }

    fn catalog_here(&mut self, id: CatalogId) -> Applied<TaskCatalog> {
        let folder = self.scope.folder;
        let found = self.rows.catalogs()?.into_iter().find(|catalog| catalog.id == id);
        Ok(found.filter(|catalog| catalog.folders.contains(&folder)).ok_or_else(|| no_catalog(id))?)
    }

    fn check_catalog_name(&mut self, catalog: &TaskCatalog, code: ErrorCode) -> Applied<()> {
        let name = &catalog.settings.name;
        let others = self.rows.catalogs()?;
        if others.iter().any(|other| other.id != catalog.id && other.is_named(name, &catalog.folders)) {
            return Err(Refusal::new(code, format!("the name {name:?} is already used")).into());
        }
        Ok(())
    }

    fn note_catalog(&mut self, before: Option<&TaskCatalog>, after: Option<&TaskCatalog>) {
        let Some(either) = before.or(after) else { return };
        let fields = |catalog: Option<&TaskCatalog>| {
            let value = |read: fn(&TaskCatalog) -> Value| catalog.map_or(Value::Null, read);
            [
                ("Name", value(|catalog| catalog.settings.name.as_str().into())),
                ("Description", value(|catalog| catalog.settings.description.clone().into())),
                ("Folders", value(|catalog| catalog.folders.iter().map(|folder| folder.0).collect())),
            ]
        };
        let mut changes = Vec::new();
        for ((name, before), (_, after)) in fields(before).into_iter().zip(fields(after)) {
            if before != after {
                let some = |value: Value| Some(value).filter(|value| !value.is_null());
                changes.push(FieldChange::new(name, some(before), some(after)));
            }
        }
        let subject = format!("task catalog {}", either.settings.name);
        self.note_act(Act::CatalogEdited, subject, Vec::new(), changes);
    }
}

pub(super) fn answer<R: Rows>(rows: &mut R, scope: Scope, query: TaskQuery) -> Result<Answer> {
    let reply = match query {
        TaskQuery::One(id) => {
            let found = rows.task(id)?;
            whole(rows, scope, found, || no_task(id).into())?
        }
        TaskQuery::Keyed(key) => {
            let found = rows.task_keyed(key)?;
            whole(rows, scope, found, || OrchestratorError::not_found(format!("task {key} does not exist")))?
        }
        TaskQuery::List(filter) => TaskReply::Many(rows.listed_tasks(&filter)?),
        TaskQuery::Activities(id) => {
            here(scope, rows.task(id)?).ok_or_else(|| OrchestratorError::from(no_task(id)))?;
            TaskReply::Activities(rows.activities(id)?)
        }
        TaskQuery::Answer { item, now } => {
            let now = rows.reading_at(now)?;
            let last = rows.tasks_of_operation(&item.to_string(), TASKS_OF_ITEM)?;
            let last = last.into_iter().find(|task| task.asked_by.is_some());
            let last = last.filter(|task| scope.user.is_none() || task.folder == scope.folder);
            let answer = match last {
                Some(task) => task.answer(rows.task_data(task.id)?, now),
                None => None,
            };
            TaskReply::Answer(answer.map(Box::new))
        }
        TaskQuery::Catalogs(folders) => {
            let mut catalogs = rows.catalogs()?;
            catalogs.retain(|catalog| catalog.folders.iter().any(|folder| folders.contains(folder)));
            catalogs.sort_by_cached_key(|catalog| (folded(&catalog.settings.name), catalog.id));
            TaskReply::Catalogs(catalogs)
        }
        TaskQuery::CatalogSize(id) => TaskReply::Size(rows.count_tasks_of(id, false)?),
    };
    Ok(reply.into())
}

fn here(scope: Scope, task: Option<Task>) -> Option<Task> {
    task.filter(|task| task.folder == scope.folder && task.deleted.is_none())
}

fn whole<R: Rows>(
    rows: &mut R,
    scope: Scope,
    task: Option<Task>,
    missing: impl FnOnce() -> OrchestratorError,
) -> Result<TaskReply> {
    let task = here(scope, task).ok_or_else(missing)?;
    let data = rows.task_data(task.id)?;
    Ok(TaskReply::One(Box::new((task, data))))
}
