//! `performer job`: lists, shows and stops performers.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::GlobalArgs;
use super::log_lines;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::queue::duration;
use super::up_to;
use performer_core::model::job::{Job, JobFigures, MAX_JOBS_LISTED, StopStrategy};
use performer_core::model::key::JobKey;
use performer_core::model::robot::{Robot, RobotState};
use performer_core::orchestrator::Administration;

/// List, show and stop performers, and show what they logged
#[derive(Subcommand)]
pub(super) enum Jobs {
    List(List),
    Show(Show),
    Logs(Logs),
    Stop(Stop),
    Kill(Kill),
}

/// List the jobs; a job is one run of a performer
#[derive(Args)]
pub(super) struct List {
    /// Include jobs that have ended
    #[arg(long)]
    all: bool,
    /// List only the jobs of this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// The maximum number of jobs, newest first
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = up_to(MAX_JOBS_LISTED))]
    limit: usize,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show a job, with its robots and their items, or its results
#[derive(Args)]
pub(super) struct Show {
    /// The key of the job, or a prefix or suffix of it
    key: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show what a job logged, the newest lines
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer job logs 7c1e\n  \
performer job logs 7c1e --top 1000 --output jsonl")]
pub(super) struct Logs {
    /// The key of the job, or a prefix or suffix of it
    key: String,
    #[command(flatten)]
    shown: log_lines::Shown,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Logs {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        // A whole key is looked for among the lines: the job may have ended long ago.
        let key = match self.key.parse() {
            Ok(key) => key,
            Err(_) => find_job(&*orchestrator, &self.key).await?.key,
        };
        log_lines::of_job(&*orchestrator, key, &self.shown).await
    }
}

/// Request jobs to stop; running transactions are finished, and no more items are claimed
#[derive(Args)]
pub(super) struct Stop {
    #[command(flatten)]
    selection: Selection,
}

/// Request jobs to end at once; running transactions are interrupted, and their items given back without using a retry
#[derive(Args)]
pub(super) struct Kill {
    #[command(flatten)]
    selection: Selection,
}

/// The jobs to stop, and how long to wait for them.
#[derive(Args)]
struct Selection {
    /// The keys of the jobs, or prefixes or suffixes of them
    #[arg(required_unless_present = "queue", value_name = "KEY")]
    keys: Vec<String>,
    /// Select all running jobs of this queue
    #[arg(long, value_name = "NAME", conflicts_with = "keys")]
    queue: Option<String>,
    /// Wait until the jobs have ended, at most this long, such as 60s
    #[arg(long, value_name = "TIME")]
    wait: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Jobs {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Logs(logs) => logs.run().await,
            Self::Stop(Stop { selection }) => selection.request_stop(StopStrategy::SoftStop).await,
            Self::Kill(Kill { selection }) => selection.request_stop(StopStrategy::Kill).await,
        }
    }
}

/// The number of newest jobs among which a job is searched by a part of its key.
const MAX_SEARCHED: usize = MAX_JOBS_LISTED;

/// The interval for checks whether a job has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let wanted = |job: &Job| {
            (self.all || !job.state.is_final())
                && self
                    .queue
                    .as_ref()
                    .is_none_or(|queue| queue.to_lowercase() == job.about.queue.to_lowercase())
        };
        let jobs = orchestrator.list_jobs(MAX_SEARCHED).await?;
        let jobs: Vec<Job> = jobs.into_iter().filter(wanted).take(self.limit).collect();
        let robots = orchestrator.list_robots().await?;
        if !format.has_columns() {
            let values: Vec<Value> = jobs.iter().map(|job| to_json(job, &robots)).collect();
            format.print(&values, &[], |_| Vec::new())?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |job: &Job| {
            vec![
                job.key.to_string(),
                work_of(job),
                state_of(job, &robots),
                job.about.machine.clone(),
                job.about.process_id.to_string(),
                job.about.version.clone(),
                robots_of(job, &robots),
                output::time(job.start_time),
                remarks(job),
            ]
        };
        let columns = [
            Column::plain("JOB"),
            Column::text("QUEUE"),
            Column::status("STATE"),
            Column::text("MACHINE"),
            Column::plain("PROCESS"),
            Column::text("VERSION"),
            Column::plain("ROBOTS"),
            Column::plain("STARTED"),
            Column::text("RESULTS"),
        ];
        format.print_columns(&columns, &jobs.iter().map(row).collect::<Vec<_>>())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let job = find_job(&*orchestrator, &self.key).await?;
        let robots = orchestrator.list_robots().await?;
        let of_job = |robot: &&Robot| robot.job == job.key;
        if output::is_json() {
            output::json(&to_json(&job, &robots))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut about = vec![
            ("Job", job.key.to_string()),
            ("Queue", work_of(&job)),
            ("State", state_of(&job, &robots)),
            ("Machine", job.about.machine.clone()),
            ("Process", job.about.process_id.to_string()),
            ("Version", job.about.version.clone()),
            ("Robots", job.about.robots.to_string()),
            ("Lease", format!("{:#}, until {}", signed(job.about.lease), whole_seconds(job.held_until))),
            ("Started", job.start_time.to_string()),
        ];
        about.extend(job.end_time.map(|at| ("Ended", at.to_string())));
        about.extend(job.info.clone().map(|info| ("Reason", info)));
        about.extend(job.figures.as_ref().map(|figures| ("Results", describe_figures(figures))));
        output::list(&about)?;
        let rows: Vec<_> = robots.iter().filter(of_job).map(robot_row).collect();
        if !rows.is_empty() {
            output::line("")?;
            let columns = [
                Column::plain("ROBOT"),
                Column::status("STATE"),
                Column::plain("ITEM"),
                Column::text("REFERENCE"),
                Column::plain("SINCE"),
            ];
            output::table(&columns, &rows)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Selection {
    /// Requests the stop, and waits if asked to.
    async fn request_stop(self, strategy: StopStrategy) -> CommandResult {
        let wait = self.wait.as_deref().map(duration).transpose()?;
        let orchestrator = self.global.connect().await?;
        let jobs = match &self.queue {
            Some(queue) => {
                let name = orchestrator.get_queue(queue).await?.name.to_lowercase();
                let mut jobs = orchestrator.list_jobs(MAX_SEARCHED).await?;
                jobs.retain(|job| !job.state.is_final() && job.about.queue.to_lowercase() == name);
                jobs
            }
            None => {
                let mut jobs = Vec::new();
                for key in &self.keys {
                    jobs.push(find_job(&*orchestrator, key).await?);
                }
                jobs
            }
        };
        for job in &jobs {
            orchestrator.stop_job(job.key, strategy).await?;
        }
        let running = match wait {
            Some(wait) => still_running(&*orchestrator, &jobs, wait).await?,
            None => Vec::new(),
        };
        if output::is_json() {
            let asked: Vec<_> = jobs.iter().map(|job| job.key).collect();
            output::json(&json!({ "Asked": asked, "StillRunning": running }))?;
        } else {
            for job in &jobs {
                output::line(match wait {
                    None => format!(
                        "job {} will receive the request within {:#}",
                        job.key,
                        signed(job.about.lease / 3)
                    ),
                    Some(_) if running.contains(&job.key) => format!("job {} is still running", job.key),
                    Some(_) => format!("job {} has ended", job.key),
                })?;
            }
            if jobs.is_empty() {
                output::remark("no job of this queue is running");
            }
        }
        Ok(if running.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Waits for jobs to end, and returns those still running when the time is over.
async fn still_running(
    orchestrator: &dyn Administration,
    jobs: &[Job],
    wait: Duration,
) -> Result<Vec<JobKey>, CliError> {
    // `None` if the duration is too long for an instant: then there is no limit.
    let until = tokio::time::Instant::now().checked_add(wait);
    loop {
        let known = orchestrator.list_jobs(MAX_SEARCHED).await?;
        let runs = |key: &JobKey| known.iter().any(|job| job.key == *key && !job.state.is_final());
        let running: Vec<_> = jobs.iter().map(|job| job.key).filter(runs).collect();
        if running.is_empty() || until.is_some_and(|until| tokio::time::Instant::now() >= until) {
            return Ok(running);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Finds the one job whose key has this prefix or suffix.
async fn find_job(orchestrator: &dyn Administration, part: &str) -> Result<Job, CliError> {
    let part = part.to_lowercase();
    let mut jobs = orchestrator.list_jobs(MAX_SEARCHED).await?;
    jobs.retain(|job| {
        let key = job.key.to_string();
        key.starts_with(&part) || key.ends_with(&part)
    });
    match (jobs.len(), jobs.pop()) {
        (1, Some(job)) => Ok(job),
        (_, None) => Err(CliError::failed(format!("no job has the key {part:?}"))),
        (count, _) => {
            Err(CliError::usage(format!("{count} jobs have a key like {part:?}; give a longer part of it")))
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Truncates a time to whole seconds.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// What a job works on: a queue, or a process.
fn work_of(job: &Job) -> String {
    job.run.as_ref().map_or_else(|| job.about.queue.clone(), |run| format!("process {}", run.process_name))
}

/// The state of a job. If its heartbeat is missing, the stored state is outdated: the next sweep abandons its items.
fn state_of(job: &Job, robots: &[Robot]) -> String {
    let mut of_job = robots.iter().filter(|robot| robot.job == job.key);
    if of_job.any(|robot| robot.state == RobotState::Disconnected) {
        return format!(
            "{}, no heartbeat since {}",
            job.state,
            whole_seconds(job.held_until - job.about.lease)
        );
    }
    job.state.to_string()
}

/// The number of busy robots of a job.
fn robots_of(job: &Job, robots: &[Robot]) -> String {
    let all = job.about.robots;
    if job.state.is_final() {
        return all.to_string();
    }
    let of_job = robots.iter().filter(|robot| robot.job == job.key);
    let busy = of_job.clone().filter(|robot| robot.state == RobotState::Busy).count();
    if of_job.clone().any(|robot| robot.state == RobotState::Unknown) {
        return format!("{all}, claiming ahead");
    }
    format!("{busy} of {all} busy")
}

/// The results of a job, and why it ended.
fn remarks(job: &Job) -> String {
    let parts = [job.figures.as_ref().map(describe_figures), job.info.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn describe_figures(figures: &JobFigures) -> String {
    let parts = [
        (figures.successful, "successful"),
        (figures.business_exceptions, "business exceptions"),
        (figures.application_exceptions, "application exceptions"),
        (figures.retried, "retried"),
        (figures.postponed, "postponed"),
        (figures.given_back, "given back"),
        (figures.claims_lost, "claims lost"),
        (figures.not_recorded, "not recorded"),
        (figures.abandoned_of_others, "abandoned of others"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn robot_row(robot: &Robot) -> Vec<String> {
    vec![
        robot.number.to_string(),
        robot.state.to_string(),
        robot.item.map(|item| item.to_string()).unwrap_or_default(),
        robot.reference.clone().unwrap_or_default(),
        output::time(robot.since),
    ]
}

/// A job with its robots.
fn to_json(job: &Job, robots: &[Robot]) -> Value {
    let of_job: Vec<_> = robots.iter().filter(|robot| robot.job == job.key).collect();
    let mut value = json!(job);
    value["BusyRobotCount"] = of_job.iter().filter(|robot| robot.state == RobotState::Busy).count().into();
    value["Robots"] = json!(of_job);
    value
}
