//! Tasks: what a store keeps of them. What a task is says [`performer_core::model::task`].
//!
//! A task is a document, which the model reads and writes as a whole; its data stands beside it, and each act with it is a row. Whoever
//! ends a task for which an item waits lets the item be claimed in the same transaction.

use std::sync::Arc;

use async_trait::async_trait;

use super::Store;
use super::backend::{Answer, Operation, Query, expect_answer};
use super::scoped_queues::Reach;
use performer_core::model::Refusal;
use performer_core::model::clock::Clock as _;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{FolderId, ItemKey, KeyMaker, TaskKey};
use performer_core::model::task::{
    CatalogId, CatalogSettings, NewTask, Task, TaskActivity, TaskAnswer, TaskCatalog, TaskData, TaskEdit,
    TaskId, TaskStatus, check_data, check_note,
};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result, TaskAdministration, TaskFilter};

/// How a task is given to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assign {
    /// It has none yet.
    First,
    /// It is taken from the one who has it.
    Again,
    /// From whoever may have it.
    Anyway,
}

/// Which tasks to list, the newest first.
#[derive(Clone, Debug)]
pub struct TaskQueryFilter {
    /// Tasks of these folders.
    pub folders: Arc<[FolderId]>,
    /// Only tasks with these numbers.
    pub ids: Option<Vec<TaskId>>,
    /// Only tasks of these statuses; empty: all.
    pub status: Vec<TaskStatus>,
    /// Only tasks of this operation.
    pub operation: Option<String>,
    /// Tasks with smaller numbers than this one: the last one of the page before.
    pub before: Option<TaskId>,
    /// The most tasks of the list.
    pub limit: usize,
}

impl TaskQueryFilter {
    /// The newest tasks of these folders.
    pub fn in_folders(folders: Arc<[FolderId]>, limit: usize) -> Self {
        Self { folders, ids: None, status: Vec::new(), operation: None, before: None, limit }
    }

    /// Whether a task is meant.
    pub(crate) fn matches(&self, task: &Task) -> bool {
        task.deleted.is_none()
            && self.folders.contains(&task.folder)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&task.id))
            && (self.status.is_empty() || self.status.contains(&task.status))
            && self.operation.as_ref().is_none_or(|one| task.parent_operation.as_ref() == Some(one))
            && self.before.is_none_or(|before| task.id < before)
    }
}

/// A change of tasks or catalogs.
#[derive(Clone, Debug)]
pub(crate) enum TaskOperation {
    Create { key: TaskKey, new: Box<NewTask> },
    Assign { id: TaskId, user: i64, how: Assign, data: Option<TaskData>, note: Option<String> },
    Unassign(TaskId),
    Save { id: TaskId, data: TaskData },
    Edit { id: TaskId, edit: Box<TaskEdit>, note: Option<String> },
    Complete { id: TaskId, action: Option<String>, data: Option<TaskData> },
    Delete(TaskId),
    Note { id: TaskId, text: String },
    CreateCatalog(CatalogSettings),
    UpdateCatalog { id: CatalogId, settings: CatalogSettings, reach: Reach },
    DeleteCatalog { id: CatalogId, reach: Reach },
    ShareCatalog { id: CatalogId, add: Vec<FolderId>, remove: Vec<FolderId> },
}

/// A question about tasks.
#[derive(Debug)]
pub(crate) enum TaskQuery {
    One(TaskId),
    Keyed(TaskKey),
    List(Box<TaskQueryFilter>),
    Activities(TaskId),
    /// The end of the last task by which an item asked.
    Answer {
        item: ItemKey,
        now: jiff::Timestamp,
    },
    /// The catalogs in any of these folders, by name.
    Catalogs(Arc<[FolderId]>),
    /// How many tasks a catalog has.
    CatalogSize(CatalogId),
}

/// The answer to either.
#[derive(Debug)]
pub(crate) enum TaskReply {
    One(Box<(Task, TaskData)>),
    Many(Vec<Task>),
    Activities(Vec<TaskActivity>),
    Answer(Option<Box<TaskAnswer>>),
    Catalog(Box<TaskCatalog>),
    Catalogs(Vec<TaskCatalog>),
    Size(u64),
    Activity(Box<TaskActivity>),
    Done,
}

/// What a back end does about tasks, inside the one transaction that is open.
pub(crate) trait TaskRows {
    /// Keeps other transactions from changing catalogs until this one ends, if several can write.
    fn lock_catalogs(&mut self) -> Result<()>;
    /// Returns its number.
    fn insert_task(&mut self, task: &Task, data: &TaskData) -> Result<TaskId>;
    /// `data`: what replaces its data.
    fn write_task(&mut self, task: &Task, data: Option<&TaskData>) -> Result<()>;
    /// A task that nobody else changes until this transaction ends.
    fn task_to_change(&mut self, id: TaskId) -> Result<Option<Task>>;
    fn task(&mut self, id: TaskId) -> Result<Option<Task>>;
    fn task_keyed(&mut self, key: TaskKey) -> Result<Option<Task>>;
    fn task_data(&mut self, id: TaskId) -> Result<TaskData>;
    fn listed_tasks(&mut self, filter: &TaskQueryFilter) -> Result<Vec<Task>>;
    /// The tasks of an operation, deleted ones too, the newest first.
    fn tasks_of_operation(&mut self, operation: &str, limit: usize) -> Result<Vec<Task>>;
    /// Whether a folder has tasks that nobody has completed.
    fn has_open_tasks(&mut self, folders: &[FolderId]) -> Result<bool>;
    /// Returns its number.
    fn insert_activity(&mut self, activity: &TaskActivity) -> Result<i64>;
    /// In the order in which they happened.
    fn activities(&mut self, task: TaskId) -> Result<Vec<TaskActivity>>;
    fn count_activities(&mut self, task: TaskId) -> Result<u64>;
    /// All of them, by number.
    fn catalogs(&mut self) -> Result<Vec<TaskCatalog>>;
    /// Returns its number.
    fn insert_catalog(&mut self, catalog: &TaskCatalog) -> Result<CatalogId>;
    fn write_catalog(&mut self, catalog: &TaskCatalog) -> Result<()>;
    fn delete_catalog(&mut self, id: CatalogId) -> Result<()>;
    /// How many tasks it has that are not deleted; `open`: and not completed.
    fn count_tasks_of(&mut self, catalog: CatalogId, open: bool) -> Result<u64>;
}

impl Store {
    /// A task of the folder, with its data.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn find_task(&self, id: TaskId) -> Result<(Task, TaskData)> {
        self.one_task(TaskQuery::One(id)).await
    }

    /// As [`find_task`](Self::find_task), by its key.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn find_task_keyed(&self, key: TaskKey) -> Result<(Task, TaskData)> {
        self.one_task(TaskQuery::Keyed(key)).await
    }

    async fn one_task(&self, query: TaskQuery) -> Result<(Task, TaskData)> {
        match self.ask_tasks(query).await? {
            TaskReply::One(found) => Ok(*found),
            other => Err(unexpected(&other)),
        }
    }

    /// Tasks that match, the newest first, whatever the folder of this store.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn tasks_in_folders(&self, filter: TaskQueryFilter) -> Result<Vec<Task>> {
        match self.ask_tasks(TaskQuery::List(Box::new(filter))).await? {
            TaskReply::Many(tasks) => Ok(tasks),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives a task of the folder to a user; the caller has to see to it that the user exists. `data` replaces its data first.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Invalid with code 1009 for a task that has ended, or that is assigned already, or not yet.
    pub async fn assign_task_to(
        &self,
        id: TaskId,
        user: i64,
        how: Assign,
        data: Option<TaskData>,
        note: Option<String>,
    ) -> Result<Task> {
        data.as_ref().map_or(Ok(()), check_data)?;
        note.as_deref().map_or(Ok(()), check_note)?;
        self.change_task(TaskOperation::Assign { id, user, how, data, note }).await
    }

    /// Replaces the data of a task of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Invalid with code 1009 for a task that has ended, and data that is too large.
    pub async fn save_task_data(&self, id: TaskId, data: TaskData) -> Result<Task> {
        check_data(&data)?;
        self.change_task(TaskOperation::Save { id, data }).await
    }

    /// Changes the settings of a task of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002, also for its new catalog; Invalid with code 1009 for a task that has ended, or a setting that is wrong.
    pub async fn edit_task(&self, id: TaskId, edit: TaskEdit, note: Option<String>) -> Result<Task> {
        note.as_deref().map_or(Ok(()), check_note)?;
        self.change_task(TaskOperation::Edit { id, edit: Box::new(edit), note }).await
    }

    /// Writes a note about a task of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Invalid with code 1009 for a text that is empty or too long, or too many notes.
    pub async fn note_on_task(&self, id: TaskId, text: String) -> Result<TaskActivity> {
        check_note(&text)?;
        match self.do_to_tasks(TaskOperation::Note { id, text }).await? {
            TaskReply::Activity(activity) => Ok(*activity),
            other => Err(unexpected(&other)),
        }
    }

    /// The catalogs in any of these folders, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn task_catalogs(&self, folders: Arc<[FolderId]>) -> Result<Vec<TaskCatalog>> {
        match self.ask_tasks(TaskQuery::Catalogs(folders)).await? {
            TaskReply::Catalogs(catalogs) => Ok(catalogs),
            other => Err(unexpected(&other)),
        }
    }

    /// A catalog of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn task_catalog(&self, id: CatalogId) -> Result<TaskCatalog> {
        let here = self.task_catalogs(Arc::new([self.scope.folder])).await?;
        here.into_iter().find(|catalog| catalog.id == id).ok_or_else(|| no_catalog(id).into())
    }

    /// How many tasks a catalog has that are not deleted.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn task_catalog_size(&self, id: CatalogId) -> Result<u64> {
        match self.ask_tasks(TaskQuery::CatalogSize(id)).await? {
            TaskReply::Size(size) => Ok(size),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a catalog in the folder.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 if the name is used; Invalid with code 1009.
    pub async fn create_task_catalog(&self, settings: CatalogSettings) -> Result<TaskCatalog> {
        settings.validate()?;
        match self.do_to_tasks(TaskOperation::CreateCatalog(settings)).await? {
            TaskReply::Catalog(catalog) => Ok(*catalog),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes a catalog of the folder, which is one catalog in all its folders.
    ///
    /// # Errors
    ///
    /// As [`create_task_catalog`](Self::create_task_catalog); NotFound with code 1002; Unauthorized with code 1017 if it is in a folder
    /// out of reach.
    pub async fn update_task_catalog(
        &self,
        id: CatalogId,
        settings: CatalogSettings,
        reach: Reach,
    ) -> Result<()> {
        settings.validate()?;
        self.do_to_tasks(TaskOperation::UpdateCatalog { id, settings, reach }).await.map(drop)
    }

    /// Deletes a catalog of the folder, in all its folders.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Conflict with code 1012 if it has tasks that nobody has completed; Unauthorized with code 1017.
    pub async fn delete_task_catalog(&self, id: CatalogId, reach: Reach) -> Result<()> {
        self.do_to_tasks(TaskOperation::DeleteCatalog { id, reach }).await.map(drop)
    }

    /// Adds a catalog of the folder to other folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Conflict with code 1004 if a folder has a catalog of this name; Invalid if it would be in no folder.
    pub async fn share_task_catalog(
        &self,
        id: CatalogId,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    ) -> Result<()> {
        self.do_to_tasks(TaskOperation::ShareCatalog { id, add, remove }).await.map(drop)
    }

    /// The end of the last task by which an item asked.
    pub(super) async fn answer_for(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        match self.ask_tasks(TaskQuery::Answer { item, now: self.clock.now() }).await? {
            TaskReply::Answer(answer) => Ok(answer.map(|answer| *answer)),
            other => Err(unexpected(&other)),
        }
    }

    async fn change_task(&self, operation: TaskOperation) -> Result<Task> {
        match self.do_to_tasks(operation).await? {
            TaskReply::One(changed) => Ok(changed.0),
            other => Err(unexpected(&other)),
        }
    }

    async fn do_to_tasks(&self, operation: TaskOperation) -> Result<TaskReply> {
        expect_answer!(self.one(Operation::Tasks(Box::new(operation))).await, Task)
    }

    async fn ask_tasks(&self, query: TaskQuery) -> Result<TaskReply> {
        expect_answer!(self.read(Query::Tasks(query)).await, Task)
    }
}

/// There is no such catalog for the caller.
pub(crate) fn no_catalog(id: CatalogId) -> Refusal {
    Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("task catalog {id} does not exist"))
}

/// Each question has one kind of answer; another one is a bug of this crate.
fn unexpected(answer: &TaskReply) -> OrchestratorError {
    OrchestratorError::new(
        ErrorKind::Other,
        format!("the store answered {answer:?} to a question about tasks"),
    )
}

impl From<TaskReply> for Answer {
    fn from(answer: TaskReply) -> Self {
        Self::Task(answer)
    }
}

#[async_trait]
impl TaskAdministration for Store {
    async fn list_tasks(&self, filter: TaskFilter) -> Result<Vec<Task>> {
        if !(1..=TaskFilter::MAX_TASKS_LISTED).contains(&filter.limit) {
            let message = format!("a list has 1 to {} tasks", TaskFilter::MAX_TASKS_LISTED);
            return Err(OrchestratorError::invalid(message));
        }
        let mut query = TaskQueryFilter::in_folders(Arc::new([self.scope.folder]), filter.limit);
        query.status = filter.status;
        self.tasks_in_folders(query).await
    }

    async fn get_task(&self, id: TaskId) -> Result<(Task, TaskData)> {
        self.find_task(id).await
    }

    async fn task_activities(&self, id: TaskId) -> Result<Vec<TaskActivity>> {
        match self.ask_tasks(TaskQuery::Activities(id)).await? {
            TaskReply::Activities(activities) => Ok(activities),
            other => Err(unexpected(&other)),
        }
    }

    async fn create_task(&self, task: NewTask) -> Result<Task> {
        task.validate()?;
        let key = KeyMaker::new().task(self.clock.now());
        self.change_task(TaskOperation::Create { key, new: Box::new(task) }).await
    }

    async fn assign_task(&self, id: TaskId, user: &str) -> Result<()> {
        let message = format!("this store has no users: ask the server to assign task {id} to {user:?}");
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    async fn unassign_task(&self, id: TaskId) -> Result<()> {
        self.change_task(TaskOperation::Unassign(id)).await.map(drop)
    }

    async fn complete_task(&self, id: TaskId, action: Option<&str>, data: Option<TaskData>) -> Result<()> {
        data.as_ref().map_or(Ok(()), check_data)?;
        let action = action.map(str::to_owned);
        self.change_task(TaskOperation::Complete { id, action, data }).await.map(drop)
    }

    async fn delete_task(&self, id: TaskId) -> Result<()> {
        self.change_task(TaskOperation::Delete(id)).await.map(drop)
    }
}
