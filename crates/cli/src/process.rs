//! `performer process` and `performer machine`: command lines that machines are told to run, and the machines.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use performer_core::model::job::Job;
use performer_core::model::machine::{ListedSession, Machine, MachineSettings};
use performer_core::model::process::{
    MAX_JOBS_STARTED, Process, ProcessSelector, ProcessSettings, StartJobs, environment_text,
    read_environment,
};
use performer_core::orchestrator::{Administration, ProcessAdministration};
use serde_json::{Value, json};

use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::{GlobalArgs, up_to};

/// List, define, delete and start processes: command lines that machines are told to run
#[derive(Subcommand)]
pub(super) enum Processes {
    List(List),
    Show(Show),
    Create(Create),
    Delete(Delete),
    Start(Start),
    Restart(Restart),
}

/// List the processes
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer process list\n  \
performer process list --json")]
pub(super) struct List {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show a process with its command, variables and arguments
#[derive(Args)]
pub(super) struct Show {
    /// The name of the process
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Define a process; with --replace one that exists gets this definition
#[derive(Args)]
#[command(after_help = "\
The command is given behind two dashes. It is not given to a shell, and runs where `performer robot` runs, as its user.\n\n\
Examples:\n  \
performer process create Invoices -- invoices --robots 4\n  \
performer process create Nightly --env RUST_LOG=info --input '{\"limit\":100}' -- /opt/robots/nightly")]
pub(super) struct Create {
    /// The name of the process
    name: String,
    /// What the process is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A variable of the environment of the program; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The input arguments of jobs that are started without any: a JSON object
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// Replace the definition of a process that exists
    #[arg(long)]
    replace: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete a process whose jobs have all ended
#[derive(Args)]
pub(super) struct Delete {
    /// The name of the process
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Start jobs of a process: they wait until the agent of a machine takes them
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer process start Invoices\n  \
performer process start Invoices --count 3 --machine finance-1\n  \
performer process start Nightly --input '{\"limit\":5}' --json")]
pub(super) struct Start {
    /// The name of the process
    name: String,
    /// How many jobs
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = up_to(MAX_JOBS_STARTED))]
    count: usize,
    /// The input arguments instead of those of the process: a JSON object
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// A variable of the environment besides those of the process; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Something that the jobs are found by
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// The name of the machine that has to run them
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Start a job again that has ended, with the same arguments
#[derive(Args)]
pub(super) struct Restart {
    /// The key of the job
    key: performer_core::model::key::JobKey,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Processes {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Create(create) => create.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Start(start) => start.run().await,
            Self::Restart(restart) => restart.run().await,
        }
    }
}

/// The processes of the back end.
pub(super) fn processes(queues: &Arc<dyn Administration>) -> Result<&dyn ProcessAdministration, CliError> {
    queues.processes().ok_or_else(|| CliError::failed("the Orchestrator has no processes"))
}

fn variables(lines: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    read_environment(&lines.join("\n")).map_err(|refusal| CliError::usage(refusal.to_string()))
}

const PROCESS_COLUMNS: [Column; 4] =
    [Column::plain("ID"), Column::text("NAME"), Column::text("COMMAND"), Column::text("DESCRIPTION")];

fn process_row(process: &Process) -> Vec<String> {
    let settings = &process.settings;
    vec![
        process.id.to_string(),
        settings.name.clone(),
        settings.command.join(" "),
        settings.description.clone().unwrap_or_default(),
    ]
}

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let queues = self.global.connect().await?;
        format.print(&processes(&queues)?.list_processes().await?, &PROCESS_COLUMNS, process_row)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let queues = self.global.connect().await?;
        let process = processes(&queues)?.get_process(&self.name).await?;
        if output::is_json() {
            output::json(&process)?;
            return Ok(ExitCode::SUCCESS);
        }
        let settings = &process.settings;
        output::list(&[
            ("Process", settings.name.clone()),
            ("Key", process.key.to_string()),
            ("Description", settings.description.clone().unwrap_or_default()),
            ("Command", format!("{:?}", settings.command)),
            ("Environment", environment_text(&settings.environment).replace('\n', ", ")),
            ("Arguments", settings.input_arguments.clone().unwrap_or_default()),
            ("Changed", process.changed.to_string()),
        ])?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self) -> CommandResult {
        let mut settings = ProcessSettings::new(self.name, self.command);
        settings.description = self.description.filter(|text| !text.is_empty());
        settings.environment = variables(&self.env)?;
        settings.input_arguments = self.input;
        let queues = self.global.connect().await?;
        let processes = processes(&queues)?;
        let made = match processes.create_process(settings.clone()).await {
            Err(error) if self.replace && error.is_name_taken() => {
                let name = settings.name.clone();
                processes.update_process(&name, settings).await?
            }
            made => made?,
        };
        if output::is_json() {
            output::json(&made)?;
        } else {
            output::line(format!("process {:?} runs {:?}", made.settings.name, made.settings.command))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self) -> CommandResult {
        let queues = self.global.connect().await?;
        processes(&queues)?.delete_process(&self.name).await?;
        output::remark(format!("process {:?} was deleted", self.name));
        Ok(ExitCode::SUCCESS)
    }
}

impl Start {
    async fn run(self) -> CommandResult {
        let mut start = StartJobs::new(ProcessSelector::Name(self.name))
            .count(self.count)
            .input_arguments(self.input.filter(|text| !text.is_empty()));
        start.environment = variables(&self.env)?;
        (start.reference, start.machine) = (self.reference, self.machine);
        let queues = self.global.connect().await?;
        print_started(&processes(&queues)?.start_jobs(start).await?)
    }
}

impl Restart {
    async fn run(self) -> CommandResult {
        let queues = self.global.connect().await?;
        print_started(&[processes(&queues)?.restart_job(self.key).await?])
    }
}

fn print_started(jobs: &[Job]) -> CommandResult {
    if output::is_json() {
        output::json(&jobs)?;
    } else {
        for job in jobs {
            output::line(job.key.to_string())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// List, define and delete machines, under whose names agents run jobs; and the agents that are connected
#[derive(Subcommand)]
pub(super) enum Machines {
    List(ListMachines),
    Sessions(ListSessions),
    Create(CreateMachine),
    Delete(DeleteMachine),
}

/// List the machines
#[derive(Args)]
pub(super) struct ListMachines {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// List the sessions of agents, and whether they are connected
#[derive(Args)]
pub(super) struct ListSessions {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Define a machine
#[derive(Args)]
#[command(after_help = "\
An agent that may do so defines its machine by itself.\n\n\
Examples:\n  \
performer machine create finance-1 --description 'in the basement'")]
pub(super) struct CreateMachine {
    /// The name of the machine
    name: String,
    /// What the machine is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete a machine of which no agent is connected
#[derive(Args)]
pub(super) struct DeleteMachine {
    /// The name of the machine
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Machines {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Sessions(list) => list.run().await,
            Self::Create(create) => create.run().await,
            Self::Delete(delete) => delete.run().await,
        }
    }
}

impl ListMachines {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let queues = self.global.connect().await?;
        let machines = processes(&queues)?.list_machines().await?;
        let columns = [Column::plain("ID"), Column::text("NAME"), Column::text("DESCRIPTION")];
        format.print(&machines, &columns, |machine: &Machine| {
            let settings = &machine.settings;
            vec![
                machine.id.to_string(),
                settings.name.clone(),
                settings.description.clone().unwrap_or_default(),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ListSessions {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let queues = self.global.connect().await?;
        let sessions = processes(&queues)?.list_sessions().await?;
        if !format.has_columns() {
            format.print(&sessions.iter().map(session_json).collect::<Vec<_>>(), &[], |_| Vec::new())?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |listed: &ListedSession| {
            let session = &listed.session;
            vec![
                session.id.to_string(),
                listed.machine_name.clone(),
                session.agent.host.clone(),
                listed.state.to_string(),
                format!("{} of {}", listed.running, session.agent.runtimes),
                output::time(session.reported),
            ]
        };
        let columns = [
            Column::plain("ID"),
            Column::text("MACHINE"),
            Column::text("HOST"),
            Column::status("STATE"),
            Column::plain("JOBS"),
            Column::plain("LAST BEAT"),
        ];
        format.print_columns(&columns, &sessions.iter().map(row).collect::<Vec<_>>())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A session without its key, by which its agent is known.
fn session_json(listed: &ListedSession) -> Value {
    let session = &listed.session;
    json!({
        "Id": session.id, "MachineName": listed.machine_name, "HostMachineName": session.agent.host, "State": listed.state,
        "IsUnresponsive": listed.is_unresponsive, "Runtimes": session.agent.runtimes, "UsedRuntimes": listed.running,
        "Version": session.agent.version, "ReportingTime": session.reported.to_string(),
    })
}

impl CreateMachine {
    async fn run(self) -> CommandResult {
        let mut settings = MachineSettings::new(self.name);
        settings.description = self.description.filter(|text| !text.is_empty());
        let queues = self.global.connect().await?;
        let made = processes(&queues)?.create_machine(settings).await?;
        if output::is_json() {
            output::json(&made)?;
        } else {
            output::remark(format!("machine {:?} was created", made.settings.name));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl DeleteMachine {
    async fn run(self) -> CommandResult {
        let queues = self.global.connect().await?;
        processes(&queues)?.delete_machine(&self.name).await?;
        output::remark(format!("machine {:?} was deleted", self.name));
        Ok(ExitCode::SUCCESS)
    }
}
