//! Tasks in memory.

use std::collections::BTreeMap;

use super::super::tasks::{TaskQueryFilter, TaskRows};
use super::Memory;
use performer_core::model::key::{FolderId, TaskKey};
use performer_core::model::task::{CatalogId, Task, TaskActivity, TaskCatalog, TaskData, TaskId, TaskStatus};
use performer_core::orchestrator::Result;

/// All tasks with their data, what was done with them, and their catalogs.
#[derive(Default)]
pub(super) struct StoredTasks {
    all: BTreeMap<TaskId, (Task, TaskData)>,
    activities: BTreeMap<(TaskId, i64), TaskActivity>,
    catalogs: BTreeMap<CatalogId, TaskCatalog>,
    last: i64,
    last_activity: i64,
    last_catalog: i64,
}

impl StoredTasks {
    fn newest(&self) -> impl Iterator<Item = &Task> {
        self.all.values().rev().map(|(task, _)| task)
    }
}

fn is_open(task: &Task) -> bool {
    task.deleted.is_none() && task.status != TaskStatus::Completed
}

impl TaskRows for Memory {
    fn lock_catalogs(&mut self) -> Result<()> {
        Ok(())
    }

    fn insert_task(&mut self, task: &Task, data: &TaskData) -> Result<TaskId> {
        self.tasks.last += 1;
        let mut task = task.clone();
        task.id = TaskId(self.tasks.last);
        self.tasks.all.insert(task.id, (task, data.clone()));
        Ok(TaskId(self.tasks.last))
    }

    fn write_task(&mut self, task: &Task, data: Option<&TaskData>) -> Result<()> {
        if let Some((kept, kept_data)) = self.tasks.all.get_mut(&task.id) {
            *kept = task.clone();
            if let Some(data) = data {
                kept_data.clone_from(data);
            }
        }
        Ok(())
    }

    fn task_to_change(&mut self, id: TaskId) -> Result<Option<Task>> {
        self.task(id)
    }

    fn task(&mut self, id: TaskId) -> Result<Option<Task>> {
        Ok(self.tasks.all.get(&id).map(|(task, _)| task.clone()))
    }

    fn task_keyed(&mut self, key: TaskKey) -> Result<Option<Task>> {
        Ok(self.tasks.newest().find(|task| task.key == key).cloned())
    }

    fn task_data(&mut self, id: TaskId) -> Result<TaskData> {
        Ok(self.tasks.all.get(&id).map(|(_, data)| data.clone()).unwrap_or_default())
    }

    fn listed_tasks(&mut self, filter: &TaskQueryFilter) -> Result<Vec<Task>> {
        let matching = self.tasks.newest().filter(|task| filter.matches(task));
        Ok(matching.take(filter.limit).cloned().collect())
    }

    fn tasks_of_operation(&mut self, operation: &str, limit: usize) -> Result<Vec<Task>> {
        let is_of = |task: &&Task| task.parent_operation.as_deref() == Some(operation);
        Ok(self.tasks.newest().filter(is_of).take(limit).cloned().collect())
    }

    fn has_open_tasks(&mut self, folders: &[FolderId]) -> Result<bool> {
        Ok(self.tasks.newest().any(|task| is_open(task) && folders.contains(&task.folder)))
    }

    fn insert_activity(&mut self, activity: &TaskActivity) -> Result<i64> {
        self.tasks.last_activity += 1;
        let id = self.tasks.last_activity;
        let mut activity = activity.clone();
        activity.id = id;
        self.tasks.activities.insert((activity.task, id), activity);
        Ok(id)
    }

    fn activities(&mut self, task: TaskId) -> Result<Vec<TaskActivity>> {
        let of_task = self.tasks.activities.range((task, i64::MIN)..=(task, i64::MAX));
        Ok(of_task.map(|(_, activity)| activity.clone()).collect())
    }

    fn count_activities(&mut self, task: TaskId) -> Result<u64> {
        Ok(self.tasks.activities.range((task, i64::MIN)..=(task, i64::MAX)).count() as u64)
    }

    fn catalogs(&mut self) -> Result<Vec<TaskCatalog>> {
        Ok(self.tasks.catalogs.values().cloned().collect())
    }

    fn insert_catalog(&mut self, catalog: &TaskCatalog) -> Result<CatalogId> {
        self.tasks.last_catalog += 1;
        let mut catalog = catalog.clone();
        catalog.id = CatalogId(self.tasks.last_catalog);
        self.tasks.catalogs.insert(catalog.id, catalog);
        Ok(CatalogId(self.tasks.last_catalog))
    }

    fn write_catalog(&mut self, catalog: &TaskCatalog) -> Result<()> {
        self.tasks.catalogs.insert(catalog.id, catalog.clone());
        Ok(())
    }

    fn delete_catalog(&mut self, id: CatalogId) -> Result<()> {
        self.tasks.catalogs.remove(&id);
        Ok(())
    }

    fn count_tasks_of(&mut self, catalog: CatalogId, open: bool) -> Result<u64> {
        let is_meant = |task: &&Task| {
            task.catalog == Some(catalog) && task.deleted.is_none() && (!open || is_open(task))
        };
        Ok(self.tasks.newest().filter(is_meant).count() as u64)
    }
}
