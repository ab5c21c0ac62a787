//! The statements on tasks, their activities and their catalogs: documents, which the model reads and writes as a whole.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::tasks::{TaskQueryFilter, TaskRows};
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Engine, Row, Values, one_of};
use performer_core::model::key::{FolderId, TaskKey};
use performer_core::model::task::{CatalogId, Task, TaskActivity, TaskCatalog, TaskData, TaskId, TaskStatus};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

fn written(document: &impl Serialize) -> Result<String> {
    serde_json::to_string(document).map_err(|error| OrchestratorError::invalid(error.to_string()))
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| UnreadableRow::error(error, "the store"))
}

fn read_task(row: &dyn Row) -> Result<Task> {
    let mut task: Task = parsed(&row.text(1)?)?;
    task.id = TaskId(row.number(0)?);
    Ok(task)
}

fn numbers(all: impl Iterator<Item = i64>) -> Bound {
    all.collect::<Vec<_>>().into()
}

fn inserted<E: Engine>(engine: &mut E, sql: &str, values: &Values) -> Result<i64> {
    let missing = || OrchestratorError::new(ErrorKind::Other, "a new row got no number");
    engine.read_number(sql, values)?.ok_or_else(missing)
}

fn one<E: Engine>(engine: &mut E, which: &str, values: &Values) -> Result<Option<Task>> {
    Ok(engine.read(&format!("SELECT id, document FROM task WHERE {which}"), values, read_task)?.pop())
}

fn count<E: Engine>(engine: &mut E, sql: &str, values: &Values) -> Result<u64> {
    let number = engine.read_number(sql, values)?.unwrap_or_default();
    Ok(u64::try_from(number).unwrap_or_default())
}

impl<E: Engine> TaskRows for E {
    fn lock_catalogs(&mut self) -> Result<()> {
        self.lock_until_end("task catalogs")
    }

    fn insert_task(&mut self, task: &Task, data: &TaskData) -> Result<TaskId> {
        let mut values = Values::default();
        let key = values.bind_text::<E>(&task.key.to_string());
        let folder = values.bind::<E>(task.folder.0);
        let status = values.bind::<E>(i64::from(task.status.number()));
        let catalog = values.bind_or_null::<E>(task.catalog.map(|id| id.0));
        let operation = match &task.parent_operation {
            Some(operation) => values.bind_text::<E>(operation),
            None => "NULL".to_owned(),
        };
        let [document, data] = [written(task)?, written(data)?].map(|text| values.bind_text::<E>(&text));
        let sql = format!(
            "INSERT INTO task (key, folder_id, status, is_deleted, catalog_id, operation, document, data) \
             VALUES ({key}, {folder}, {status}, 0, {catalog}, {operation}, {document}, {data}) RETURNING id"
        );
        inserted(self, &sql, &values).map(TaskId)
    }

    fn write_task(&mut self, task: &Task, data: Option<&TaskData>) -> Result<()> {
        let mut values = Values::default();
        let status = values.bind::<E>(i64::from(task.status.number()));
        let deleted = values.bind::<E>(i64::from(task.deleted.is_some()));
        let catalog = values.bind_or_null::<E>(task.catalog.map(|id| id.0));
        let document = values.bind_text::<E>(&written(task)?);
        let data = match data {
            Some(data) => format!(", data = {}", values.bind_text::<E>(&written(data)?)),
            None => String::new(),
        };
        let id = values.bind::<E>(task.id.0);
        let sql = format!(
            "UPDATE task SET status = {status}, is_deleted = {deleted}, catalog_id = {catalog}, document = {document}{data} \
             WHERE id = {id}"
        );
        self.execute(&sql, &values)
    }

    fn task_to_change(&mut self, id: TaskId) -> Result<Option<Task>> {
        let mut values = Values::default();
        let which = format!("id = {}{}", values.bind::<E>(id.0), E::FOR_UPDATE);
        one(self, &which, &values)
    }

    fn task(&mut self, id: TaskId) -> Result<Option<Task>> {
        let mut values = Values::default();
        let which = format!("id = {}", values.bind::<E>(id.0));
        one(self, &which, &values)
    }

    fn task_keyed(&mut self, key: TaskKey) -> Result<Option<Task>> {
        let mut values = Values::default();
        let which = format!("key = {}", values.bind_text::<E>(&key.to_string()));
        one(self, &which, &values)
    }

    fn task_data(&mut self, id: TaskId) -> Result<TaskData> {
        let mut values = Values::default();
        let sql = format!("SELECT data FROM task WHERE id = {}", values.bind::<E>(id.0));
        let found = self.read(&sql, &values, |row| parsed(&row.text(0)?))?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn listed_tasks(&mut self, filter: &TaskQueryFilter) -> Result<Vec<Task>> {
        let mut values = Values::default();
        let folders = values.bind::<E>(numbers(filter.folders.iter().map(|folder| folder.0)));
        let mut conditions = vec!["is_deleted = 0".to_owned(), E::among("folder_id", &folders)];
        if let Some(ids) = &filter.ids {
            let ids = values.bind::<E>(numbers(ids.iter().map(|id| id.0)));
            conditions.push(E::among("id", &ids));
        }
        if !filter.status.is_empty() {
            if filter.status.iter().all(|status| *status != TaskStatus::Completed) {
                conditions.push("status < 2".to_owned()); // as an index has it
            }
            conditions.push(one_of("status", filter.status.iter().map(|status| status.number())));
        }
        if let Some(operation) = &filter.operation {
            conditions.push(format!("operation = {}", values.bind_text::<E>(operation)));
        }
        if let Some(before) = filter.before {
            conditions.push(format!("id < {}", values.bind::<E>(before.0)));
        }
        let sql = format!(
            "SELECT id, document FROM task WHERE {} ORDER BY id DESC LIMIT {}",
            conditions.join(" AND "),
            filter.limit
        );
        self.read(&sql, &values, read_task)
    }

    fn tasks_of_operation(&mut self, operation: &str, limit: usize) -> Result<Vec<Task>> {
        let mut values = Values::default();
        let operation = values.bind_text::<E>(operation);
        let sql = format!(
            "SELECT id, document FROM task WHERE operation = {operation} ORDER BY id DESC LIMIT {limit}"
        );
        self.read(&sql, &values, read_task)
    }

    fn has_open_tasks(&mut self, folders: &[FolderId]) -> Result<bool> {
        let mut values = Values::default();
        let folders = values.bind::<E>(numbers(folders.iter().map(|folder| folder.0)));
        let here = E::among("folder_id", &folders);
        let sql = format!("SELECT id FROM task WHERE is_deleted = 0 AND status < 2 AND {here} LIMIT 1");
        Ok(self.read_number(&sql, &values)?.is_some())
    }

    fn insert_activity(&mut self, activity: &TaskActivity) -> Result<i64> {
        let mut values = Values::default();
        let task = values.bind::<E>(activity.task.0);
        let document = values.bind_text::<E>(&written(activity)?);
        let sql =
            format!("INSERT INTO task_activity (task_id, document) VALUES ({task}, {document}) RETURNING id");
        inserted(self, &sql, &values)
    }

    fn activities(&mut self, task: TaskId) -> Result<Vec<TaskActivity>> {
        let mut values = Values::default();
        let task = values.bind::<E>(task.0);
        let sql = format!("SELECT id, document FROM task_activity WHERE task_id = {task} ORDER BY id");
        self.read(&sql, &values, |row| {
            let mut activity: TaskActivity = parsed(&row.text(1)?)?;
            activity.id = row.number(0)?;
            Ok(activity)
        })
    }

    fn count_activities(&mut self, task: TaskId) -> Result<u64> {
        let mut values = Values::default();
        let task = values.bind::<E>(task.0);
        count(self, &format!("SELECT count(*) FROM task_activity WHERE task_id = {task}"), &values)
    }

    fn catalogs(&mut self) -> Result<Vec<TaskCatalog>> {
        let sql = "SELECT id, document FROM task_catalog ORDER BY id";
        self.read(sql, &Values::default(), |row| {
            let mut catalog: TaskCatalog = parsed(&row.text(1)?)?;
            catalog.id = CatalogId(row.number(0)?);
            Ok(catalog)
        })
    }

    fn insert_catalog(&mut self, catalog: &TaskCatalog) -> Result<CatalogId> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&written(catalog)?);
        let sql = format!("INSERT INTO task_catalog (document) VALUES ({document}) RETURNING id");
        inserted(self, &sql, &values).map(CatalogId)
    }

    fn write_catalog(&mut self, catalog: &TaskCatalog) -> Result<()> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&written(catalog)?);
        let id = values.bind::<E>(catalog.id.0);
        self.execute(&format!("UPDATE task_catalog SET document = {document} WHERE id = {id}"), &values)
    }

    fn delete_catalog(&mut self, id: CatalogId) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(id.0);
        self.execute(&format!("DELETE FROM task_catalog WHERE id = {id}"), &values)
    }

    fn count_tasks_of(&mut self, catalog: CatalogId, open: bool) -> Result<u64> {
        let mut values = Values::default();
        let catalog = values.bind::<E>(catalog.0);
        let open = if open { " AND status < 2" } else { "" };
        let sql = format!("SELECT count(*) FROM task WHERE catalog_id = {catalog} AND is_deleted = 0{open}");
        count(self, &sql, &values)
    }
}
