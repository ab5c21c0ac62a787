//! Tasks: what people are asked, and what they answer.
//! Over 500 lines, because the types, their limits and what may happen to a task are one set of rules.
//!
//! A task has a title, data, and perhaps one user to whom it is assigned; whoever completes it says which action they took, and may change
//! the data. A transaction can ask by a task: its item is postponed until the task has an end ([`TaskAnswer`]). The data stands beside
//! the task, so that a list of tasks need not read it.

mod catalog;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::catalog::{
    CATALOG_NAME_LIMIT, CatalogId, CatalogSettings, DESCRIPTION_LIMIT, MAX_CATALOGS, TaskCatalog,
};
use super::code::ErrorCode;
use super::key::{FolderId, ItemId, ItemKey, JobKey, TaskKey};
use super::refusal::Refusal;
use super::stored_time::{after, stored};
use crate::enumeration;

/// The longest title, in UTF-16 code units.
pub const TITLE_LIMIT: usize = 512;

/// The longest tag of an external system, in UTF-16 code units.
pub const EXTERNAL_TAG_LIMIT: usize = 512;

/// The longest id of the operation that made a task, in UTF-16 code units.
pub const PARENT_OPERATION_LIMIT: usize = 128;

/// The longest note, in UTF-16 code units.
pub const NOTE_LIMIT: usize = 512;

/// The longest part of a label, in UTF-16 code units.
pub const LABEL_LIMIT: usize = 256;

/// The longest action, in UTF-16 code units. The limit is ours, as the next ones.
pub const ACTION_LIMIT: usize = 256;

/// The largest data, in bytes of its JSON text.
pub const DATA_LIMIT: usize = 1_000_000;

/// The most labels of one task.
pub const MAX_LABELS: usize = 100;

/// The most actions that a task names.
pub const MAX_ACTIONS: usize = 20;

/// The most activities of one task; saving it again and commenting it are refused then.
pub const MAX_ACTIVITIES: usize = 1_000;

/// How long a transaction that asks waits for an answer unless it says how long: a week.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(7 * 86_400);

enumeration! {
    /// How far a task is. The numbers are the places in the vendor's enumeration.
    pub TaskStatus {
        /// Nobody is to do it yet.
        Unassigned = 0,
        /// Somebody is to do it.
        Pending = 1,
        /// It is done.
        Completed = 2,
    }
}

enumeration! {
    /// How urgent a task is. The numbers are the places in the vendor's enumeration.
    pub TaskPriority {
        /// It can wait.
        Low = 0,
        /// As most tasks.
        Medium = 1,
        /// Before most tasks.
        High = 2,
        /// Before all others.
        Critical = 3,
    }
}

enumeration! {
    /// What was done with a task. The numbers are the places in the vendor's enumeration.
    pub TaskAct {
        /// It was made.
        Created = 0,
        /// It was given to a user.
        Assigned = 1,
        /// It was taken from a user and given to another one.
        Reassigned = 2,
        /// It was taken from a user.
        Unassigned = 3,
        /// Its data or its settings were changed.
        Saved = 4,
        /// A user handed it on.
        Forwarded = 5,
        /// It was done.
        Completed = 6,
        /// Somebody wrote a note.
        Commented = 7,
        /// It was deleted.
        Deleted = 8,
    }
}

/// The number of a task. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The data of a task: a JSON object.
pub type TaskData = Map<String, Value>;

/// A label of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskLabel {
    /// Its name.
    pub name: String,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its value for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_value: Option<String>,
}

/// A task to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewTask {
    /// What is asked, in a line.
    pub title: String,
    /// How urgent it is.
    pub priority: TaskPriority,
    /// What people need to know, and may change.
    pub data: TaskData,
    /// What a person can choose from. Empty: anything. Ours.
    pub actions: Vec<String>,
    /// The name of its catalog.
    pub catalog: Option<String>,
    /// Its labels.
    pub labels: Vec<TaskLabel>,
    /// What another system calls it.
    pub external_tag: Option<String>,
    /// The operation that makes it. Of a transaction that asks it is the key of its item.
    pub parent_operation: Option<String>,
    /// How long a transaction that asks waits for an answer. Default: [`ANSWER_WITHIN`]. A task that nobody waits for has no such end.
    pub answer_within: Option<Duration>,
}

impl NewTask {
    /// A task with this title and without data.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            priority: TaskPriority::Medium,
            data: Map::new(),
            actions: Vec::new(),
            catalog: None,
            labels: Vec::new(),
            external_tag: None,
            parent_operation: None,
            answer_within: None,
        }
    }

    /// Sets the data. A value that is no JSON object becomes the member `value` of one.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = match data {
            Value::Object(members) => members,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        self
    }

    /// Sets the priority. Default: Medium.
    #[must_use]
    pub fn priority(mut self, priority: TaskPriority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets what a person can choose from, such as `approve` and `reject`. Default: any action.
    #[must_use]
    pub fn actions<T: Into<String>>(mut self, actions: impl IntoIterator<Item = T>) -> Self {
        self.actions = actions.into_iter().map(Into::into).collect();
        self
    }

    /// Puts the task into a catalog, by its name. Default: none.
    #[must_use]
    pub fn catalog(mut self, name: impl Into<Option<String>>) -> Self {
        self.catalog = name.into();
        self
    }

    /// Sets what another system calls the task. Default: none.
    #[must_use]
    pub fn external_tag(mut self, tag: impl Into<Option<String>>) -> Self {
        self.external_tag = tag.into();
        self
    }

    /// Sets how long a transaction that asks waits for an answer. Default: a week.
    #[must_use]
    pub fn answer_within(mut self, time: Duration) -> Self {
        self.answer_within = Some(time);
        self
    }

    /// When an answer that is asked for at `now` is late.
    pub fn deadline(&self, now: Timestamp) -> Timestamp {
        stored(after(now, self.answer_within.unwrap_or(ANSWER_WITHIN)))
    }

    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// Code 1009 for a text that is empty or too long, too many labels or actions, and data that is too large.
    pub fn validate(&self) -> Result<(), Refusal> {
        check_title(&self.title)?;
        check_labels(&self.labels)?;
        check_data(&self.data)?;
        check_some("the external tag", self.external_tag.as_deref(), EXTERNAL_TAG_LIMIT)?;
        check_some("the parent operation", self.parent_operation.as_deref(), PARENT_OPERATION_LIMIT)?;
        check_some("the name of a catalog", self.catalog.as_deref(), CATALOG_NAME_LIMIT)?;
        if self.actions.len() > MAX_ACTIONS {
            return Err(invalid(format!("a task names at most {MAX_ACTIONS} actions")));
        }
        self.actions.iter().try_for_each(|action| check_action(action))
    }
}

/// Which item waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AskingItem {
    /// The attempt that asked; the same row waits.
    pub item: ItemId,
    /// The key of the item, by which later attempts find the answer.
    pub key: ItemKey,
}

/// A task, without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Its key.
    pub key: TaskKey,
    /// The folder that it is in.
    pub folder: FolderId,
    /// What is asked.
    pub title: String,
    /// How urgent it is.
    pub priority: TaskPriority,
    /// How far it is.
    pub status: TaskStatus,
    /// Its catalog.
    pub catalog: Option<CatalogId>,
    /// Its labels.
    pub labels: Vec<TaskLabel>,
    /// What a person can choose from; empty: anything.
    pub actions: Vec<String>,
    /// The action that was taken.
    pub action: Option<String>,
    /// What another system calls it.
    pub external_tag: Option<String>,
    /// The operation that made it.
    pub parent_operation: Option<String>,
    /// The user who is to do it.
    pub assigned_to: Option<i64>,
    /// When it was assigned last.
    pub last_assigned: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
    /// The user who made it, if there are users.
    pub creator: Option<i64>,
    /// The job that made it.
    pub creator_job: Option<JobKey>,
    /// When it was completed.
    pub completed: Option<Timestamp>,
    /// The user who completed it, if there are users.
    pub completed_by: Option<i64>,
    /// When it was changed last.
    pub modified: Option<Timestamp>,
    /// The user who changed it last, if there are users.
    pub modifier: Option<i64>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
    /// The user who deleted it, if there are users.
    pub deleter: Option<i64>,
    /// The item that waits for it.
    pub asked_by: Option<AskingItem>,
    /// When an answer is late, and the item goes on without one. It has a time if and only if an item waits.
    pub deadline: Option<Timestamp>,
}

/// Something that was done with a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TaskActivity {
    /// Its number.
    pub id: i64,
    /// The task.
    pub task: TaskId,
    /// What was done.
    pub act: TaskAct,
    /// When.
    pub time: Timestamp,
    /// The user who did it, if there are users.
    pub user: Option<i64>,
    /// The user to whom the task was given, or from whom it was taken.
    pub target: Option<i64>,
    /// What was noted.
    pub note: Option<String>,
}

impl TaskActivity {
    /// An act with a task, by a user. Its number follows when it is stored.
    pub fn new(task: TaskId, act: TaskAct, time: Timestamp, user: Option<i64>) -> Self {
        Self { id: 0, task, act, time, user, target: None, note: None }
    }

    /// Names the user to whom the task was given, or from whom it was taken.
    #[must_use]
    pub fn target(mut self, user: Option<i64>) -> Self {
        self.target = user;
        self
    }

    /// Sets a note.
    #[must_use]
    pub fn note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }
}

enumeration! {
    /// How the wait for an answer ended. The numbers are ours.
    pub AnswerOutcome {
        /// A person completed the task.
        Completed = 0,
        /// Nobody did before the deadline.
        Expired = 1,
        /// A person deleted the task.
        Deleted = 2,
    }
}

/// The end of a task that a transaction asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskAnswer {
    /// The task.
    pub task: TaskId,
    /// Its title.
    pub title: String,
    /// How it ended.
    pub outcome: AnswerOutcome,
    /// The action that a person took, if it was completed.
    pub action: Option<String>,
    /// The data, as it was when the task was completed, or else as it was last saved.
    pub data: TaskData,
    /// The user who completed or deleted it, if there are users.
    pub user: Option<i64>,
    /// When it ended.
    pub time: Timestamp,
}

impl TaskAnswer {
    /// The end of a task by its parts, for a back end.
    pub fn new(task: TaskId, title: impl Into<String>, outcome: AnswerOutcome, time: Timestamp) -> Self {
        let title = title.into();
        Self { task, title, outcome, action: None, data: Map::new(), user: None, time }
    }

    /// Whether a person completed the task.
    pub fn is_completed(&self) -> bool {
        self.outcome == AnswerOutcome::Completed
    }

    /// Whether a person completed the task by this action, ignoring case.
    pub fn is(&self, action: &str) -> bool {
        self.action.as_deref().is_some_and(|taken| taken.to_lowercase() == action.to_lowercase())
    }

    /// The data as a value of a type.
    ///
    /// # Errors
    ///
    /// If it does not fit the type.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.data.clone()))
    }
}

/// A change of the settings of a task; `None` leaves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskEdit {
    /// The title.
    pub title: Option<String>,
    /// The priority.
    pub priority: Option<TaskPriority>,
    /// The catalog; the inner `None` takes it out of its catalog.
    pub catalog: Option<Option<CatalogId>>,
    /// All labels.
    pub labels: Option<Vec<TaskLabel>>,
}

impl Task {
    /// A task that was just made.
    pub fn new(key: TaskKey, new: &NewTask, folder: FolderId, now: Timestamp) -> Self {
        Self {
            id: TaskId(0),
            key,
            folder,
            title: new.title.clone(),
            priority: new.priority,
            status: TaskStatus::Unassigned,
            catalog: None,
            labels: new.labels.clone(),
            actions: new.actions.clone(),
            action: None,
            external_tag: new.external_tag.clone(),
            parent_operation: new.parent_operation.clone(),
            assigned_to: None,
            last_assigned: None,
            created: now,
            creator: None,
            creator_job: None,
            completed: None,
            completed_by: None,
            modified: None,
            modifier: None,
            deleted: None,
            deleter: None,
            asked_by: None,
            deadline: None,
        }
    }

    /// Lets an item wait for this task, until a deadline.
    pub fn await_by(&mut self, item: AskingItem, deadline: Timestamp) {
        self.asked_by = Some(item);
        self.deadline = Some(deadline);
        self.parent_operation = Some(item.key.to_string());
    }

    /// Whether the wait for an answer has ended without one.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.status != TaskStatus::Completed && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether somebody can still work on it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.check_open(now).is_ok()
    }

    /// Checks that somebody can still work on it.
    ///
    /// # Errors
    ///
    /// Code 1002 for a task that was deleted; 1009 for one that is completed, or whose deadline has passed.
    pub fn check_open(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.deleted.is_some() {
            return Err(no_task(self.id));
        }
        if self.status == TaskStatus::Completed {
            return Err(invalid(format!("task {} is completed already", self.id)));
        }
        match self.deadline {
            Some(deadline) if deadline <= now => Err(invalid(format!(
                "task {} had to be completed before {deadline}: its item went on without it",
                self.id
            ))),
            _ => Ok(()),
        }
    }

    /// Gives the task to a user. `again`: takes it from another one for that.
    ///
    /// # Errors
    ///
    /// As [`check_open`](Self::check_open); code 1009 for a task that is assigned, or, `again`, that is not.
    pub fn assign(&mut self, user: i64, again: bool, now: Timestamp) -> Result<(), Refusal> {
        self.check_open(now)?;
        match (self.assigned_to, again) {
            (Some(_), false) => {
                return Err(invalid(format!("task {} is assigned already: reassign it", self.id)));
            }
            (None, true) => return Err(invalid(format!("task {} is not assigned yet: assign it", self.id))),
            _ => {}
        }
        self.assigned_to = Some(user);
        self.last_assigned = Some(now);
        self.status = TaskStatus::Pending;
        Ok(())
    }

    /// Takes the task from its user.
    ///
    /// # Errors
    ///
    /// As [`check_open`](Self::check_open); code 1009 for a task that is not assigned.
    pub fn unassign(&mut self, now: Timestamp) -> Result<(), Refusal> {
        self.check_open(now)?;
        if self.assigned_to.take().is_none() {
            return Err(invalid(format!("task {} is not assigned", self.id)));
        }
        self.status = TaskStatus::Unassigned;
        Ok(())
    }

    /// Completes the task by an action. One of [`actions`](Self::actions) is meant in any case of its letters.
    ///
    /// # Errors
    ///
    /// As [`check_open`](Self::check_open); code 1009 for an action that the task does not name.
    pub fn complete(
        &mut self,
        action: Option<&str>,
        user: Option<i64>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_open(now)?;
        let action = action.filter(|action| !action.is_empty());
        action.map_or(Ok(()), check_action)?;
        let lower = action.map(str::to_lowercase);
        let named = self.actions.iter().find(|named| Some(named.to_lowercase()) == lower).cloned();
        if named.is_none() && !self.actions.is_empty() {
            let message =
                format!("task {} is completed by one of these actions: {}", self.id, self.actions.join(", "));
            return Err(invalid(message));
        }
        self.action = named.or_else(|| action.map(str::to_owned));
        self.status = TaskStatus::Completed;
        self.completed = Some(now);
        self.completed_by = user;
        Ok(())
    }

    /// Deletes the task, whatever its status.
    ///
    /// # Errors
    ///
    /// Code 1002 for a task that was deleted.
    pub fn delete(&mut self, user: Option<i64>, now: Timestamp) -> Result<(), Refusal> {
        if self.deleted.is_some() {
            return Err(no_task(self.id));
        }
        (self.deleted, self.deleter) = (Some(now), user);
        Ok(())
    }

    /// Changes its settings.
    ///
    /// # Errors
    ///
    /// As [`check_open`](Self::check_open); code 1009 for a text that is empty or too long, and too many labels.
    pub fn edit(&mut self, edit: &TaskEdit, now: Timestamp) -> Result<(), Refusal> {
        self.check_open(now)?;
        if let Some(title) = &edit.title {
            check_title(title)?;
            self.title.clone_from(title);
        }
        if let Some(labels) = &edit.labels {
            check_labels(labels)?;
            self.labels.clone_from(labels);
        }
        self.priority = edit.priority.unwrap_or(self.priority);
        self.catalog = edit.catalog.unwrap_or(self.catalog);
        Ok(())
    }

    /// The end of the task for the transaction that asked for it; `None`: it has none yet.
    pub fn answer(&self, data: TaskData, now: Timestamp) -> Option<TaskAnswer> {
        let (outcome, user, time) = match (self.status, self.completed, self.deleted, self.deadline) {
            (TaskStatus::Completed, Some(at), ..) => (AnswerOutcome::Completed, self.completed_by, at),
            (_, _, Some(at), _) => (AnswerOutcome::Deleted, self.deleter, at),
            (_, _, _, Some(deadline)) if deadline <= now => (AnswerOutcome::Expired, None, deadline),
            _ => return None,
        };
        let action = self.action.clone();
        Some(TaskAnswer { task: self.id, title: self.title.clone(), outcome, action, data, user, time })
    }
}

/// There is no such task for the caller.
pub fn no_task(id: TaskId) -> Refusal {
    Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("task {id} does not exist"))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
}

fn check_length(what: &str, text: &str, least: usize, most: usize) -> Result<(), Refusal> {
    let units = text.encode_utf16().count();
    if units < least {
        return Err(invalid(format!("{what} is empty")));
    }
    if units > most {
        return Err(invalid(format!("{what} has {units} code units, the limit is {most}")));
    }
    Ok(())
}

fn check_some(what: &str, text: Option<&str>, most: usize) -> Result<(), Refusal> {
    text.map_or(Ok(()), |text| check_length(what, text, 0, most))
}

fn check_title(title: &str) -> Result<(), Refusal> {
    check_length("the title of a task", title.trim(), 1, TITLE_LIMIT)?;
    check_length("the title of a task", title, 1, TITLE_LIMIT)
}

fn check_action(action: &str) -> Result<(), Refusal> {
    check_length("an action", action, 1, ACTION_LIMIT)
}

/// Checks a note.
///
/// # Errors
///
/// Code 1009 for a text that is empty or too long.
pub fn check_note(note: &str) -> Result<(), Refusal> {
    check_length("a note", note, 1, NOTE_LIMIT)
}

fn check_labels(labels: &[TaskLabel]) -> Result<(), Refusal> {
    if labels.len() > MAX_LABELS {
        return Err(invalid(format!("a task has at most {MAX_LABELS} tags")));
    }
    labels.iter().try_for_each(|label| {
        check_length("the name of a tag", &label.name, 1, LABEL_LIMIT)?;
        let rest = [&label.display_name, &label.value, &label.display_value];
        rest.into_iter().try_for_each(|text| check_some("a tag", text.as_deref(), LABEL_LIMIT))
    })
}

/// Checks the size of data.
///
/// # Errors
///
/// Code 1009 for data over [`DATA_LIMIT`].
pub fn check_data(data: &TaskData) -> Result<(), Refusal> {
    let bytes = serde_json::to_string(data).map_or(usize::MAX, |text| text.len());
    if bytes > DATA_LIMIT {
        return Err(invalid(format!("the data of a task has {bytes} bytes, the limit is {DATA_LIMIT}")));
    }
    Ok(())
}
