//! Tasks, their catalogs and notes: the bodies that change them, and what reads return.
//! Over 500 lines, because what a client writes and what a server reads and answers are kept beside each other.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ApiTime, EnumValue};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{FolderId, ItemKey, TaskKey};
use performer_core::model::task::{
    AnswerOutcome, CatalogSettings, NewTask, Task, TaskAct, TaskActivity, TaskAnswer, TaskCatalog, TaskData,
    TaskId, TaskLabel, TaskPriority, TaskStatus,
};

/// The type of tasks that this API makes; the others need forms of the vendor's.
pub const TASK_TYPE: &str = "ExternalTask";

/// The number of that type.
const TASK_TYPE_NUMBER: i64 = 1;

/// A label.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LabelDto {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_value: Option<String>,
}

impl From<LabelDto> for TaskLabel {
    fn from(dto: LabelDto) -> Self {
        let LabelDto { name, display_name, value, display_value } = dto;
        Self { name, display_name, value, display_value }
    }
}

fn labels(dtos: Option<Vec<LabelDto>>) -> Vec<TaskLabel> {
    dtos.unwrap_or_default().into_iter().map(Into::into).collect()
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
}

fn priority(dto: Option<&EnumValue<TaskPriority>>) -> Result<Option<TaskPriority>, Refusal> {
    dto.map(|value| {
        let shown: String = value.to_string().chars().take(60).collect();
        value.known().ok_or_else(|| invalid(format!("invalid argument 'priority': it cannot be {shown:?}")))
    })
    .transpose()
}

/// The data of a task: an object, or nothing.
fn data(value: Option<Value>) -> Result<Option<TaskData>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(invalid("invalid argument 'data': it is a JSON object")),
    }
}

/// The body of CreateTask.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTaskRequest {
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Value>,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<EnumValue<TaskPriority>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_catalog_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<LabelDto>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_operation_id: Option<String>,
}

impl CreateTaskRequest {
    /// The body for a task.
    pub fn of(task: &NewTask) -> Self {
        Self {
            task_type: Some(TASK_TYPE.into()),
            title: task.title.clone(),
            priority: Some(task.priority.into()),
            data: Some(Value::Object(task.data.clone())),
            task_catalog_name: task.catalog.clone(),
            external_tag: task.external_tag.clone(),
            tags: None,
            parent_operation_id: task.parent_operation.clone(),
        }
    }

    /// The task.
    ///
    /// # Errors
    ///
    /// Code 1009 for another type than [`TASK_TYPE`], an unknown priority, and data that is no object.
    pub fn into_task(self) -> Result<NewTask, Refusal> {
        let is_known = match &self.task_type {
            None | Some(Value::Null) => true,
            Some(Value::String(name)) => {
                name.eq_ignore_ascii_case(TASK_TYPE) || name.parse() == Ok(TASK_TYPE_NUMBER)
            }
            Some(other) => other.as_i64() == Some(TASK_TYPE_NUMBER),
        };
        if !is_known {
            return Err(invalid(format!("invalid argument 'type': tasks are of the type {TASK_TYPE} here")));
        }
        let mut task = NewTask::new(self.title)
            .priority(priority(self.priority.as_ref())?.unwrap_or(TaskPriority::Medium))
            .catalog(self.task_catalog_name.filter(|name| !name.is_empty()))
            .external_tag(self.external_tag);
        task.data = data(self.data)?.unwrap_or_default();
        task.labels = labels(self.tags);
        task.parent_operation = self.parent_operation_id;
        Ok(task)
    }
}

/// The body of CompleteTask and SaveTaskData.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDataRequest {
    pub task_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl TaskDataRequest {
    /// The data, if there is some.
    ///
    /// # Errors
    ///
    /// Code 1009 for data that is no object.
    pub fn take_data(&mut self) -> Result<Option<TaskData>, Refusal> {
        data(self.data.take())
    }
}

/// The body of SaveTaskTags.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SaveTaskTagsRequest {
    pub task_id: i64,
    #[serde(default)]
    pub tags: Option<Vec<LabelDto>>,
}

impl SaveTaskTagsRequest {
    /// The labels.
    pub fn labels(self) -> Vec<TaskLabel> {
        labels(self.tags)
    }
}

/// To whom a task is to be given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskAssignmentDto {
    pub task_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name_or_email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment_criteria: Option<String>,
    #[serde(default, skip_serializing)]
    pub assignee_names_or_emails: Option<Vec<String>>,
    #[serde(default, skip_serializing)]
    pub assignee_user_ids: Option<Vec<i64>>,
}

impl TaskAssignmentDto {
    /// Refuses what assigns a task to several users.
    ///
    /// # Errors
    ///
    /// Code 1009.
    pub fn check_criteria(&self) -> Result<(), Refusal> {
        let is_single = |name: &String| name.eq_ignore_ascii_case("SingleUser") || name == "0";
        let has_several = self.assignee_names_or_emails.as_ref().is_some_and(|all| !all.is_empty())
            || self.assignee_user_ids.as_ref().is_some_and(|all| !all.is_empty());
        if has_several || !self.assignment_criteria.as_ref().is_none_or(is_single) {
            return Err(invalid(
                "invalid argument 'AssignmentCriteria': a task is assigned to a single user",
            ));
        }
        Ok(())
    }
}

/// The body of AssignTasks and ReassignTasks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignTasksRequest {
    pub task_assignments: Vec<TaskAssignmentDto>,
}

/// The body of UnassignTasks and DeleteTasks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskIdsRequest {
    pub task_ids: Vec<i64>,
}

/// The body of SaveAndReassignTask.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SaveAndReassignRequest {
    #[serde(default)]
    pub save_data: Option<bool>,
    #[serde(default)]
    pub data: Option<Value>,
    #[serde(default)]
    pub note_text: Option<String>,
    pub task_id: i64,
    #[serde(default)]
    pub user_id: Option<i64>,
    #[serde(default)]
    pub user_name_or_email: Option<String>,
    #[serde(default)]
    pub assignment_criteria: Option<String>,
    #[serde(default)]
    pub assignee_names_or_emails: Option<Vec<String>>,
    #[serde(default)]
    pub assignee_user_ids: Option<Vec<i64>>,
}

impl SaveAndReassignRequest {
    /// To whom, and the data if it is to be saved.
    ///
    /// # Errors
    ///
    /// Code 1009 for data that is no object.
    pub fn into_parts(self) -> Result<(TaskAssignmentDto, Option<TaskData>, Option<String>), Refusal> {
        let saved = data(self.data)?.filter(|_| self.save_data == Some(true));
        let to = TaskAssignmentDto {
            task_id: self.task_id,
            user_id: self.user_id,
            user_name_or_email: self.user_name_or_email,
            assignment_criteria: self.assignment_criteria,
            assignee_names_or_emails: self.assignee_names_or_emails,
            assignee_user_ids: self.assignee_user_ids,
        };
        Ok((to, saved, self.note_text.filter(|note| !note.is_empty())))
    }
}

/// The body of EditTaskMetadata.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EditTaskRequest {
    pub task_id: i64,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub task_catalog_id: Option<i64>,
    #[serde(default)]
    pub unset_task_catalog: Option<bool>,
    #[serde(default)]
    pub priority: Option<EnumValue<TaskPriority>>,
    #[serde(default)]
    pub note_text: Option<String>,
}

impl EditTaskRequest {
    /// The new priority, if there is one.
    ///
    /// # Errors
    ///
    /// Code 1009 for an unknown one.
    pub fn priority(&self) -> Result<Option<TaskPriority>, Refusal> {
        priority(self.priority.as_ref())
    }
}

/// The body of CreateTaskNote.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskNoteRequest {
    pub task_id: i64,
    pub text: String,
}

/// The body of a new or changed catalog.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskCatalogRequest {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub encrypted: Option<bool>,
    #[serde(default)]
    pub tags: Option<Vec<LabelDto>>,
}

impl TaskCatalogRequest {
    /// The settings.
    ///
    /// # Errors
    ///
    /// Code 1009 for a catalog whose tasks are to be encrypted.
    pub fn into_settings(self) -> Result<CatalogSettings, Refusal> {
        if self.encrypted == Some(true) {
            return Err(invalid("invalid argument 'Encrypted': the data of tasks is not encrypted here"));
        }
        let Self { name, description, tags, .. } = self;
        Ok(CatalogSettings { name, description, labels: labels(tags) })
    }
}

/// The body of ShareToFolders.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShareCatalogsRequest {
    pub task_catalog_ids: Vec<i64>,
    #[serde(default)]
    pub to_add_folder_ids: Option<Vec<i64>>,
    #[serde(default)]
    pub to_remove_folder_ids: Option<Vec<i64>>,
}

/// The task by which a person is asked, in a report of performer's own protocol.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskDto {
    pub title: String,
    pub priority: TaskPriority,
    pub data: Value,
    #[serde(default)]
    pub actions: Vec<String>,
    #[serde(default)]
    pub catalog: Option<String>,
    #[serde(default)]
    pub external_tag: Option<String>,
}

impl From<&NewTask> for AskDto {
    fn from(task: &NewTask) -> Self {
        Self {
            title: task.title.clone(),
            priority: task.priority,
            data: Value::Object(task.data.clone()),
            actions: task.actions.clone(),
            catalog: task.catalog.clone(),
            external_tag: task.external_tag.clone(),
        }
    }
}

impl From<AskDto> for NewTask {
    fn from(ask: AskDto) -> Self {
        NewTask::new(ask.title)
            .data(ask.data)
            .priority(ask.priority)
            .actions(ask.actions)
            .catalog(ask.catalog)
            .external_tag(ask.external_tag)
    }
}

// What reads return

/// A user as tasks show it.
#[derive(Clone, Debug, Default)]
pub struct TaskUser<'a> {
    pub id: i64,
    pub user_name: &'a str,
    pub name: Option<&'a str>,
    pub surname: Option<&'a str>,
    pub email_address: Option<&'a str>,
}

/// The response for a user.
pub fn task_user(user: &TaskUser<'_>) -> Value {
    object([
        ("name", json!(user.name)),
        ("surname", json!(user.surname)),
        ("userName", json!(user.user_name)),
        ("emailAddress", json!(user.email_address)),
        ("displayName", json!(user.user_name)),
        ("id", json!(user.id)),
    ])
}

/// What a server knows around a task.
pub struct TaskContext<'a> {
    pub users: &'a dyn Fn(i64) -> Option<Value>,
    pub catalogs: &'a [TaskCatalog],
    pub folder_name: &'a dyn Fn(FolderId) -> Option<String>,
}

impl TaskContext<'_> {
    fn catalog(&self, task: &Task) -> Option<&str> {
        let found = self.catalogs.iter().find(|catalog| Some(catalog.id) == task.catalog);
        found.map(|catalog| catalog.settings.name.as_str())
    }

    fn user(&self, id: Option<i64>) -> Value {
        id.and_then(self.users).unwrap_or_default()
    }
}

/// An object without the members that have no value.
fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let some = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(some.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn time(at: Option<jiff::Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(ApiTime(at)))
}

/// The members that a task has in every response, by their names in lists.
fn members(task: &Task) -> Vec<(&'static str, Value)> {
    vec![
        ("Title", json!(task.title)),
        ("Type", json!(TASK_TYPE)),
        ("Priority", json!(task.priority.name())),
        ("Status", json!(task.status.name())),
        ("AssignedToUserId", json!(task.assigned_to)),
        ("OrganizationUnitId", json!(task.folder)),
        ("ExternalTag", json!(task.external_tag)),
        ("CreatorJobKey", json!(task.creator_job)),
        ("LastAssignedTime", time(task.last_assigned)),
        ("CompletionTime", time(task.completed)),
        ("ParentOperationId", json!(task.parent_operation)),
        ("Key", json!(task.key)),
        ("IsDeleted", json!(task.deleted.is_some())),
        ("DeleterUserId", json!(task.deleter)),
        ("DeletionTime", time(task.deleted)),
        ("LastModificationTime", time(task.modified)),
        ("LastModifierUserId", json!(task.modifier)),
        ("CreationTime", time(Some(task.created))),
        ("CreatorUserId", json!(task.creator)),
        ("Id", json!(task.id)),
        ("Tags", json!(task.labels)),
        ("Action", json!(task.action)),
        ("TaskAssignmentCriteria", json!("SingleUser")),
    ]
}

/// A task in lists.
pub fn task_response(task: &Task, context: &TaskContext<'_>) -> Value {
    let mut members = members(task);
    let assignee = context.user(task.assigned_to);
    let name = assignee.get("userName").cloned().unwrap_or_default();
    members.extend([
        ("TaskCatalogName", json!(context.catalog(task))),
        ("IsCompleted", json!(task.status == TaskStatus::Completed)),
        ("Encrypted", json!(false)),
        ("TaskAssigneeName", name),
        ("AssignedToUser", assignee),
        ("CreatorUser", context.user(task.creator)),
        ("LastModifierUser", context.user(task.modifier)),
        ("PerformerItemKey", json!(task.asked_by.map(|by| by.key.to_string()))),
        ("PerformerDeadline", time(task.deadline)),
        ("PerformerActions", if task.actions.is_empty() { Value::Null } else { json!(task.actions) }),
    ]);
    object(members)
}

/// A task with its data.
pub fn task_data_response(task: &Task, data: &TaskData, context: &TaskContext<'_>) -> Value {
    let assignee = context.user(task.assigned_to);
    let assignees: Vec<Value> = Some(assignee.clone()).filter(|user| !user.is_null()).into_iter().collect();
    let extra = [
        ("Data", Value::Object(data.clone())),
        ("OrganizationUnitFullyQualifiedName", json!((context.folder_name)(task.folder))),
        ("AssignedToUser", assignee),
        ("TaskAssignees", Value::Array(assignees)),
        ("CompletedByUser", context.user(task.completed_by)),
        ("PerformerActions", if task.actions.is_empty() { Value::Null } else { json!(task.actions) }),
        ("PerformerDeadline", time(task.deadline)),
    ];
    let camel = |name: &str| {
        let mut letters = name.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let all = members(task).into_iter().chain(extra).filter(|(_, value)| !value.is_null());
    Value::Object(all.map(|(name, value)| (camel(name), value)).collect::<Map<_, _>>())
}

/// A catalog.
pub fn catalog_response(catalog: &TaskCatalog) -> Value {
    object([
        ("Key", json!(catalog.key)),
        ("Name", json!(catalog.settings.name)),
        ("Description", json!(catalog.settings.description)),
        ("CreationTime", time(Some(catalog.created))),
        ("LastModificationTime", time(catalog.modified)),
        ("FoldersCount", json!(catalog.folders.len())),
        ("Encrypted", json!(false)),
        ("Tags", json!(catalog.settings.labels)),
        ("RetentionAction", json!("None")),
        ("Id", json!(catalog.id)),
    ])
}

/// A note.
pub fn note_response(note: &TaskActivity, task: &Task, context: &TaskContext<'_>) -> Value {
    object([
        ("Text", json!(note.note)),
        ("TaskId", json!(note.task)),
        ("TenantId", json!(1)),
        ("OrganizationUnitId", json!(task.folder)),
        ("CreatorUserId", json!(note.user)),
        ("CreatorUser", context.user(note.user)),
        ("CreationTime", time(Some(note.time))),
        ("Id", json!(note.id)),
    ])
}

/// Something that was done with a task.
pub fn activity_response(activity: &TaskActivity, task: &Task, context: &TaskContext<'_>) -> Value {
    let note = activity.note.as_ref().map(|_| note_response(activity, task, context));
    object([
        ("TaskId", json!(activity.task)),
        ("TaskKey", json!(task.key)),
        ("TenantId", json!(1)),
        ("OrganizationUnitId", json!(task.folder)),
        ("ActivityType", json!(activity.act.name())),
        ("CreatorUserId", json!(activity.user)),
        ("CreatorUser", context.user(activity.user)),
        ("TargetUserId", json!(activity.target)),
        ("TargetUser", context.user(activity.target)),
        ("TaskNoteId", json!(note.as_ref().map(|_| activity.id))),
        ("TaskNote", json!(note)),
        ("CreationTime", time(Some(activity.time))),
        ("Id", json!(activity.id)),
    ])
}

/// Why a task of a call about many was left as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskErrorDto {
    pub task_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    pub error_code: i32,
    pub error_message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name_or_email: Option<String>,
}

// What the client reads

/// A task in lists and by its number, or with its data: the names are read in any case of their first letter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskDto {
    #[serde(alias = "id")]
    pub id: i64,
    #[serde(default, alias = "key")]
    pub key: Option<uuid::Uuid>,
    #[serde(default, alias = "title")]
    pub title: Option<String>,
    #[serde(default, alias = "status")]
    pub status: Option<EnumValue<TaskStatus>>,
    #[serde(default, alias = "priority")]
    pub priority: Option<EnumValue<TaskPriority>>,
    #[serde(default, alias = "organizationUnitId")]
    pub organization_unit_id: Option<i64>,
    #[serde(default, alias = "externalTag")]
    pub external_tag: Option<String>,
    #[serde(default, alias = "parentOperationId")]
    pub parent_operation_id: Option<String>,
    #[serde(default, alias = "assignedToUserId")]
    pub assigned_to_user_id: Option<i64>,
    #[serde(default, alias = "action")]
    pub action: Option<String>,
    #[serde(default, alias = "creationTime")]
    pub creation_time: Option<ApiTime>,
    #[serde(default, alias = "completionTime")]
    pub completion_time: Option<ApiTime>,
    #[serde(default, alias = "creatorUserId")]
    pub creator_user_id: Option<i64>,
    #[serde(default, alias = "isDeleted")]
    pub is_deleted: Option<bool>,
    #[serde(default, alias = "performerDeadline")]
    pub performer_deadline: Option<ApiTime>,
    #[serde(default, alias = "performerActions")]
    pub performer_actions: Option<Vec<String>>,
    #[serde(default, alias = "data")]
    pub data: Option<Value>,
}

impl TaskDto {
    /// The task, with its data.
    pub fn into_task(self) -> (Task, TaskData) {
        let key = TaskKey::from_bytes(self.key.unwrap_or_default().into_bytes());
        let new = NewTask::new(self.title.unwrap_or_default())
            .priority(self.priority.and_then(|value| value.known()).unwrap_or(TaskPriority::Medium))
            .external_tag(self.external_tag)
            .actions(self.performer_actions.unwrap_or_default());
        let created = self.creation_time.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
        let folder = self.organization_unit_id.map_or(FolderId::SHARED, FolderId);
        let mut task = Task::new(key, &new, folder, created);
        task.id = TaskId(self.id);
        task.status = self.status.and_then(|value| value.known()).unwrap_or(TaskStatus::Unassigned);
        task.parent_operation = self.parent_operation_id;
        task.assigned_to = self.assigned_to_user_id;
        task.action = self.action;
        task.completed = self.completion_time.map(|at| at.0);
        task.creator = self.creator_user_id;
        task.deadline = self.performer_deadline.map(|at| at.0);
        let data = match self.data {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        (task, data)
    }
}

/// The request of performer's own protocol for the answer to what an item asked.
#[derive(Serialize, Deserialize)]
pub struct AnswerRequest {
    pub item: uuid::Uuid,
}

impl AnswerRequest {
    /// The request for an item.
    pub fn new(item: ItemKey) -> Self {
        Self { item: uuid::Uuid::from_bytes(item.to_bytes()) }
    }

    /// The item.
    pub fn item(&self) -> ItemKey {
        ItemKey::from_bytes(self.item.into_bytes())
    }
}

/// The answer in performer's own protocol.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerDto {
    pub task: i64,
    pub title: String,
    pub outcome: AnswerOutcome,
    #[serde(default)]
    pub action: Option<String>,
    #[serde(default)]
    pub data: TaskData,
    #[serde(default)]
    pub user: Option<i64>,
    pub time: ApiTime,
}

/// The response of performer's own protocol.
#[derive(Serialize, Deserialize)]
pub struct AnswerResponse {
    pub answer: Option<AnswerDto>,
}

impl From<TaskAnswer> for AnswerDto {
    fn from(answer: TaskAnswer) -> Self {
        let TaskAnswer { task, title, outcome, action, data, user, time, .. } = answer;
        Self { task: task.0, title, outcome, action, data, user, time: ApiTime(time) }
    }
}

impl From<AnswerDto> for TaskAnswer {
    fn from(dto: AnswerDto) -> Self {
        let mut answer = Self::new(TaskId(dto.task), dto.title, dto.outcome, dto.time.0);
        (answer.action, answer.data, answer.user) = (dto.action, dto.data, dto.user);
        answer
    }
}

/// An activity.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ActivityDto {
    pub id: i64,
    #[serde(default)]
    pub activity_type: Option<EnumValue<TaskAct>>,
    #[serde(default)]
    pub creator_user_id: Option<i64>,
    #[serde(default)]
    pub target_user_id: Option<i64>,
    #[serde(default)]
    pub creation_time: Option<ApiTime>,
    #[serde(default)]
    pub task_note: Option<NoteDto>,
}

/// A note.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoteDto {
    #[serde(default)]
    pub text: Option<String>,
}

impl ActivityDto {
    /// The activity of a task; `None` if it is of a type that is not known here, or has no time.
    pub fn into_activity(self, task: TaskId) -> Option<TaskActivity> {
        let act = self.activity_type?.known()?;
        let mut activity = TaskActivity::new(task, act, self.creation_time?.0, self.creator_user_id)
            .target(self.target_user_id)
            .note(self.task_note.and_then(|note| note.text));
        activity.id = self.id;
        Some(activity)
    }
}
