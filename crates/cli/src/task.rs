//! `performer task`: what people are asked, and their answers.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use performer_core::model::task::{DATA_LIMIT, NewTask, Task, TaskData, TaskId, TaskPriority, TaskStatus};
use performer_core::orchestrator::{Administration, TaskAdministration, TaskFilter};
use performer_wire::task::{TaskContext, task_data_response, task_response};
use serde_json::Value;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};

/// List, show, create, assign, complete and delete tasks: what people are asked, and their answers
#[derive(Subcommand)]
pub(super) enum Tasks {
    List(List),
    Show(Show),
    Create(Create),
    Assign(Assign),
    Complete(Complete),
    Delete(Delete),
}

/// List the tasks, the newest first; without --all those that nobody has completed
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer task list\n  \
performer task list --all --limit 20 --json")]
pub(super) struct List {
    /// List completed tasks, too
    #[arg(long)]
    all: bool,
    /// The most tasks of the list, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show a task with its data, and what was done with it
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer task show 5\n  \
performer task show 5 --json")]
pub(super) struct Show {
    /// The number of the task
    id: i64,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Create a task that no item waits for
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer task create 'Check the invoice' --data '{\"amount\": 7.5}'\n  \
performer task create 'Check the invoice' --data-from invoice.json --priority High")]
pub(super) struct Create {
    /// What is asked
    title: String,
    /// The data of the task: a JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "data_from")]
    data: Option<String>,
    /// The file with the data; - for stdin
    #[arg(long, value_name = "FILE")]
    data_from: Option<PathBuf>,
    /// Low, Medium, High or Critical
    #[arg(long, value_name = "PRIORITY", default_value = "Medium")]
    priority: TaskPriority,
    /// The name of a catalog
    #[arg(long, value_name = "NAME")]
    catalog: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Give a task to a user of a server, from whoever has it; --nobody takes it away
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer task assign 5 ann\n  \
performer task assign 5 --nobody")]
pub(super) struct Assign {
    /// The number of the task
    id: i64,
    /// The name or the address of the user
    #[arg(required_unless_present = "nobody")]
    user: Option<String>,
    /// Take the task from its user
    #[arg(long, conflicts_with = "user")]
    nobody: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Complete a task; an item that waits for it goes on at once
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer task complete 5 approve\n  \
performer task complete 5 approve --data '{\"amount\": 8}'")]
pub(super) struct Complete {
    /// The number of the task
    id: i64,
    /// The action that was taken, such as approve; one that the task names, if it names some
    action: Option<String>,
    /// What replaces the data of the task: a JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "data_from")]
    data: Option<String>,
    /// The file with the data; - for stdin
    #[arg(long, value_name = "FILE")]
    data_from: Option<PathBuf>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete a task; an item that waits for it goes on at once, and is told so
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer task delete 5")]
pub(super) struct Delete {
    /// The number of the task
    id: i64,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Tasks {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Create(create) => create.run().await,
            Self::Assign(assign) => assign.run().await,
            Self::Complete(complete) => complete.run().await,
            Self::Delete(delete) => delete.run().await,
        }
    }
}

/// The tasks of a back end, which it has to have.
fn of_back_end(orchestrator: &Arc<dyn Administration>) -> Result<&dyn TaskAdministration, CliError> {
    orchestrator.tasks().ok_or_else(|| CliError::failed("this back end has no tasks"))
}

/// The names of users, catalogs and folders are known to a server alone.
fn context<T>(make: impl FnOnce(&TaskContext<'_>) -> T) -> T {
    make(&TaskContext { users: &|_| None, catalogs: &[], folder_name: &|_| None })
}

fn data(text: Option<String>, from: Option<&Path>) -> Result<Option<TaskData>, CliError> {
    let text = match (text, from) {
        (Some(text), _) => text,
        (None, Some(from)) => read(from)?,
        (None, None) => return Ok(None),
    };
    let invalid = |why: &dyn std::fmt::Display| CliError::usage(format!("the data is no JSON object: {why}"));
    match serde_json::from_str(&text) {
        Ok(Value::Object(members)) => Ok(Some(members)),
        Ok(_) => Err(invalid(&"it is another value")),
        Err(error) => Err(invalid(&error)),
    }
}

fn read(from: &Path) -> Result<String, CliError> {
    let limit = DATA_LIMIT as u64 * 2;
    let mut text = String::new();
    let read = if from == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(from).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| CliError::failed(format!("{}: {error}", from.display())))?;
    Ok(text)
}

const COLUMNS: [Column; 6] = [
    Column::plain("ID"),
    Column::plain("STATUS"),
    Column::plain("PRIORITY"),
    Column::text("TITLE"),
    Column::plain("CREATED"),
    Column::plain("DEADLINE"),
];

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let filter = if self.all { TaskFilter::default() } else { TaskFilter::open() };
        let orchestrator = self.global.connect().await?;
        let tasks = of_back_end(&orchestrator)?.list_tasks(filter.limit(self.limit)).await?;
        if format.has_columns() {
            let row = |task: &Task| {
                vec![
                    task.id.to_string(),
                    task.status.to_string(),
                    task.priority.to_string(),
                    task.title.clone(),
                    output::time(task.created),
                    output::time_or_empty(task.deadline),
                ]
            };
            format.print_columns(&COLUMNS, &tasks.iter().map(row).collect::<Vec<_>>())?;
        } else {
            let rows: Vec<Value> =
                context(|context| tasks.iter().map(|task| task_response(task, context)).collect());
            format.print(&rows, &[], |_| Vec::new())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let (id, orchestrator) = (TaskId(self.id), self.global.connect().await?);
        let tasks = of_back_end(&orchestrator)?;
        let (task, data) = tasks.get_task(id).await?;
        if output::is_json() {
            output::json(&context(|context| task_data_response(&task, &data, context)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let activities = tasks.task_activities(id).await?;
        let text = serde_json::to_string(&data).unwrap_or_default();
        let mut pairs = vec![
            ("Task", task.title.clone()),
            ("Id", task.id.to_string()),
            ("Status", task.status.to_string()),
            ("Priority", task.priority.to_string()),
            ("Actions", task.actions.join(", ")),
            ("Action", task.action.clone().unwrap_or_default()),
            ("Created", output::time(task.created)),
            ("Deadline", output::time_or_empty(task.deadline)),
            ("Item", task.parent_operation.clone().filter(|_| task.deadline.is_some()).unwrap_or_default()),
            ("Data", text),
        ];
        if task.status == TaskStatus::Completed {
            pairs.push(("Completed", output::time_or_empty(task.completed)));
        }
        let acts: Vec<(String, String)> = activities
            .iter()
            .map(|one| {
                let note = one.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
                (output::time(one.time), format!("{}{note}", one.act))
            })
            .collect();
        pairs.extend(acts.iter().map(|(at, act)| (at.as_str(), act.clone())));
        output::list(&pairs)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self) -> CommandResult {
        let mut new = NewTask::new(self.title).priority(self.priority).catalog(self.catalog);
        new.data = data(self.data, self.data_from.as_deref())?.unwrap_or_default();
        let orchestrator = self.global.connect().await?;
        let task = of_back_end(&orchestrator)?.create_task(new).await?;
        if output::is_json() {
            output::json(&context(|context| task_response(&task, context)))?;
        } else {
            output::line(format!("task {} was created", task.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Assign {
    async fn run(self) -> CommandResult {
        let (id, orchestrator) = (TaskId(self.id), self.global.connect().await?);
        let tasks = of_back_end(&orchestrator)?;
        match &self.user {
            Some(user) => tasks.assign_task(id, user).await?,
            None => tasks.unassign_task(id).await?,
        }
        if output::is_json() {
            output::json(&serde_json::json!({ "Task": id, "AssignedTo": self.user }))?;
        } else {
            let to = self.user.map_or_else(|| "nobody".to_owned(), |user| format!("{user:?}"));
            output::line(format!("task {id} was given to {to}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Complete {
    async fn run(self) -> CommandResult {
        let data = data(self.data, self.data_from.as_deref())?;
        let (id, orchestrator) = (TaskId(self.id), self.global.connect().await?);
        of_back_end(&orchestrator)?.complete_task(id, self.action.as_deref(), data).await?;
        if output::is_json() {
            output::json(&serde_json::json!({ "Completed": id, "Action": self.action }))?;
        } else {
            output::line(format!("task {id} was completed"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self) -> CommandResult {
        let (id, orchestrator) = (TaskId(self.id), self.global.connect().await?);
        of_back_end(&orchestrator)?.delete_task(id).await?;
        if output::is_json() {
            output::json(&serde_json::json!({ "Deleted": id }))?;
        } else {
            output::line(format!("task {id} was deleted"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
