//! Tasks: what people are asked. The form of a task has a field for each member of its data, and a button for each action that it names.

use askama::Template;
use serde_json::{Map, Value};

use super::call::DeskCall;
use super::frame::{Frame, note_cookie};
use super::html::{self, Html};
use super::items::Choice;
use super::reply::Reply;
use super::routes::{DO_TASKS, REMOVE_TASKS, SEE_TASKS};
use crate::api_error::ApiError;
use crate::tasks::may_do_tasks;
use performer_core::model::key::FolderId;
use performer_core::model::task::{Task, TaskActivity, TaskData, TaskId, TaskStatus};
use performer_core::orchestrator::TaskAdministration as _;
use performer_store::{Assign, TaskQueryFilter};

/// The most tasks of the page.
const ROWS: usize = 200;

/// What stands before the name of a member in the name of its field.
const FIELD: &str = "data.";

/// A task as a row.
struct TaskRow {
    href: String,
    title: String,
    status: &'static str,
    priority: &'static str,
    assignee: String,
    created: Html,
    deadline: Html,
    folder: String,
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    frame: Frame,
    rows: Vec<TaskRow>,
    has_more: bool,
    shows_all: bool,
}

/// A field of the form.
struct DataField {
    name: String,
    label: String,
    text: String,
    /// `checkbox`, `number`, `text`, or `json` for what has parts.
    kind: &'static str,
    is_checked: bool,
}

struct ActRow {
    time: Html,
    act: &'static str,
    user: String,
    note: String,
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    frame: Frame,
    id: i64,
    title: String,
    status: &'static str,
    priority: &'static str,
    assignee: String,
    action: String,
    created: Html,
    completed: Html,
    deadline: Html,
    /// The item that waits for it.
    item: String,
    fields: Vec<DataField>,
    actions: Vec<String>,
    acts: Vec<ActRow>,
    users: Vec<Choice>,
    is_open: bool,
    may_delete: bool,
}

fn user_name(call: &DeskCall, user: Option<i64>) -> String {
    let found = user.and_then(|id| call.directory().ok()?.user(id));
    found.map(|user| html::line(&user.user_name, 60)).unwrap_or_default()
}

fn folder_name(call: &DeskCall, folder: FolderId) -> String {
    call.directory().map(|directory| html::line(&directory.full_name(folder), 80)).unwrap_or_default()
}

pub(super) async fn list(call: &DeskCall) -> Result<Reply, ApiError> {
    let shows_all = call.query_value("all") == "1";
    let mut filter = TaskQueryFilter::in_folders(call.folders.clone(), ROWS + 1);
    if !shows_all {
        filter.status = vec![TaskStatus::Unassigned, TaskStatus::Pending];
    }
    let tasks = call.store_of_tenant().tasks_in_folders(filter).await?;
    let row = |task: &Task| TaskRow {
        href: format!("/desk/tasks/{}", task.id),
        title: html::line(&task.title, 120),
        status: task.status.name(),
        priority: task.priority.name(),
        assignee: user_name(call, task.assigned_to),
        created: html::time(task.created),
        deadline: html::optional_time(task.deadline),
        folder: folder_name(call, task.folder),
    };
    Reply::page(&TasksPage {
        frame: call.frame("/desk/tasks"),
        rows: tasks.iter().take(ROWS).map(row).collect(),
        has_more: tasks.len() > ROWS,
        shows_all,
    })
}

/// The task of the path, if the caller may do what the route does in its folder.
///
/// # Errors
///
/// 404, or 403 if the caller may see it but not do what the route does.
async fn find(call: &DeskCall) -> Result<(Task, TaskData), ApiError> {
    let id = TaskId(call.number(0)?);
    let find = async |folder: FolderId| match call.store(folder).find_task(id).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(ApiError::from(error)),
    };
    for folder in call.folders.iter() {
        if let Some(found) = find(*folder).await? {
            return Ok(found);
        }
    }
    for folder in call.folders_with(SEE_TASKS)?.iter() {
        if find(*folder).await?.is_some() {
            return Err(call.forbidden_in(Some(*folder)));
        }
    }
    Err(ApiError::not_found(format!("There is no task with the number {id}.")))
}

fn field(name: &str, value: &Value) -> DataField {
    let (kind, text) = match value {
        Value::Bool(_) => ("checkbox", "true".to_owned()),
        Value::Number(number) => ("number", number.to_string()),
        Value::String(text) => ("text", text.clone()),
        Value::Null => ("text", String::new()),
        parts => ("json", serde_json::to_string_pretty(parts).unwrap_or_default()),
    };
    DataField {
        name: format!("{FIELD}{name}"),
        label: html::line(name, 100),
        text,
        kind,
        is_checked: *value == Value::Bool(true),
    }
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (task, data) = find(call).await?;
    let store = call.store(task.folder);
    let activities = store.task_activities(task.id).await?;
    let now = call.now();
    let is_open = call.may(task.folder, DO_TASKS) && task.is_open(now);
    let directory = call.directory()?;
    let able = directory.users().filter(|user| is_open && may_do_tasks(directory, user, task.folder));
    let users = able.map(|user| Choice {
        value: user.id.to_string(),
        text: html::line(&user.user_name, 60),
        is_chosen: task.assigned_to == Some(user.id),
    });
    let act = |one: &TaskActivity| ActRow {
        time: html::time(one.time),
        act: one.act.name(),
        user: user_name(call, one.user),
        note: one.note.as_deref().map(html::visible).unwrap_or_default(),
    };
    Reply::page(&TaskPage {
        frame: call.frame("/desk/tasks"),
        id: task.id.0,
        title: html::visible(&task.title),
        status: task.status.name(),
        priority: task.priority.name(),
        assignee: user_name(call, task.assigned_to),
        action: task.action.as_deref().map(html::visible).unwrap_or_default(),
        created: html::time(task.created),
        completed: html::optional_time(task.completed),
        deadline: html::optional_time(task.deadline),
        item: task.asked_by.map(|by| by.item.to_string()).unwrap_or_default(),
        fields: data.iter().map(|(name, value)| field(name, value)).collect(),
        actions: task.actions.clone(),
        acts: activities.iter().rev().take(100).map(act).collect(),
        users: users.collect(),
        is_open,
        may_delete: call.may(task.folder, REMOVE_TASKS),
    })
}

/// The data with what the form says of each member; the type of a member stays.
fn changed(call: &DeskCall, data: &TaskData) -> Result<TaskData, ApiError> {
    let one = |(name, value): (&String, &Value)| {
        let text = call.field(&format!("{FIELD}{name}"));
        let wrong = |what: &str| ApiError::invalid(format!("The field {name:?} {what}."));
        let value = match value {
            Value::Bool(_) => Value::Bool(text == "true"),
            Value::Number(_) => {
                let read: Option<Value> = serde_json::from_str(text.trim()).ok();
                read.filter(Value::is_number).ok_or_else(|| wrong("is no number"))?
            }
            Value::Null if text.is_empty() => Value::Null,
            Value::String(_) | Value::Null => text.replace("\r\n", "\n").into(),
            Value::Array(_) | Value::Object(_) => {
                serde_json::from_str(text).map_err(|error| wrong(&format!("is no JSON: {error}")))?
            }
        };
        Ok((name.clone(), value))
    };
    data.iter().map(one).collect::<Result<Map<_, _>, ApiError>>()
}

fn to_page(task: &Task, note: &'static str) -> Reply {
    Reply::see_other(&format!("/desk/tasks/{}", task.id)).cookie(&note_cookie(note, 0))
}

pub(super) async fn save(call: &DeskCall) -> Result<Reply, ApiError> {
    let (task, data) = find(call).await?;
    call.store(task.folder).save_task_data(task.id, changed(call, &data)?).await?;
    Ok(to_page(&task, "task-saved"))
}

pub(super) async fn complete(call: &DeskCall) -> Result<Reply, ApiError> {
    let (task, data) = find(call).await?;
    let data = changed(call, &data)?;
    let action = call.field("action").trim();
    call.store(task.folder).complete_task(task.id, Some(action), Some(data)).await?;
    Ok(Reply::see_other("/desk/tasks").cookie(&note_cookie("task-completed", 0)))
}

/// Gives the task to a user; an empty one takes it away.
pub(super) async fn assign(call: &DeskCall) -> Result<Reply, ApiError> {
    let (task, _) = find(call).await?;
    let store = call.store(task.folder);
    match call.field("user") {
        "" => store.unassign_task(task.id).await?,
        text => {
            let directory = call.directory()?;
            let user = text.parse().ok().and_then(|id| directory.user(id));
            let user = user.filter(|user| may_do_tasks(directory, user, task.folder)).ok_or_else(|| {
                ApiError::not_found("The user does not exist, or may not do tasks in this folder.")
            })?;
            store.assign_task_to(task.id, user.id, Assign::Anyway, None, None).await?;
        }
    }
    Ok(to_page(&task, "task-assigned"))
}

pub(super) async fn delete(call: &DeskCall) -> Result<Reply, ApiError> {
    let (task, _) = find(call).await?;
    call.store(task.folder).delete_task(task.id).await?;
    Ok(Reply::see_other("/desk/tasks").cookie(&note_cookie("task-deleted", 0)))
}
