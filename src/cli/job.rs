//! `performer job`: the fleet.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Place;
use super::output::{self, Done, Problem};
use super::queue::duration;
use super::up_to;
use crate::model::job::{Job, JobFigures, MAX_JOBS_LISTED, StopStrategy};
use crate::model::key::JobKey;
use crate::model::robot::{Robot, RobotState};
use crate::orchestrator::Administration;

/// Shows the performers that run, and stops them
#[derive(Subcommand)]
pub(super) enum Jobs {
    List(List),
    Show(Show),
    Stop(Stop),
    Kill(Kill),
}

/// Lists jobs: one is one run of a performer
#[derive(Args)]
pub(super) struct List {
    /// Those that have ended too
    #[arg(long)]
    all: bool,
    /// Only those of this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// At most so many, the newest first
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = up_to(MAX_JOBS_LISTED))]
    limit: usize,
    #[command(flatten)]
    place: Place,
}

/// Shows a job: its robots and what they process, or what it did
#[derive(Args)]
pub(super) struct Show {
    /// Its key, or the beginning or the end of it
    key: String,
    #[command(flatten)]
    place: Place,
}

/// Asks jobs to stop: what runs is finished, nothing more is taken
#[derive(Args)]
pub(super) struct Stop {
    #[command(flatten)]
    which: Which,
}

/// Asks jobs to end at once: what runs is interrupted, and given back without using a retry
#[derive(Args)]
pub(super) struct Kill {
    #[command(flatten)]
    which: Which,
}

/// Which jobs, and how long to wait for them.
#[derive(Args)]
struct Which {
    /// Their keys, or the beginnings or ends of them
    #[arg(required_unless_present = "queue", value_name = "KEY")]
    keys: Vec<String>,
    /// All jobs that work on this queue
    #[arg(long, value_name = "NAME", conflicts_with = "keys")]
    queue: Option<String>,
    /// Waits until they have ended, at most so long, as in 60s
    #[arg(long, value_name = "TIME")]
    wait: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl Jobs {
    pub(super) async fn run(self) -> Done {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Stop(Stop { which }) => which.ask(StopStrategy::SoftStop).await,
            Self::Kill(Kill { which }) => which.ask(StopStrategy::Kill).await,
        }
    }
}

/// Among so many of the newest jobs one is looked for by a part of its key.
const LOOKED_AT: usize = MAX_JOBS_LISTED;

/// How often it is looked whether a job has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl List {
    async fn run(self) -> Done {
        let orchestrator = self.place.connect().await?;
        let wanted = |job: &Job| {
            (self.all || !job.state.is_final())
                && self
                    .queue
                    .as_ref()
                    .is_none_or(|queue| queue.to_lowercase() == job.about.queue.to_lowercase())
        };
        let jobs = orchestrator.list_jobs(LOOKED_AT).await?;
        let jobs: Vec<Job> = jobs.into_iter().filter(wanted).take(self.limit).collect();
        let robots = orchestrator.list_robots().await?;
        if self.place.json {
            let all = jobs.iter().map(|job| shown(job, &robots)).collect();
            output::json(&Value::Array(all))?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |job: &Job| {
            vec![
                job.key.to_string(),
                job.about.queue.clone(),
                state_of(job, &robots),
                job.about.machine.clone(),
                job.about.process_id.to_string(),
                job.about.version.clone(),
                robots_of(job, &robots),
                seconds(job.start_time).to_string(),
                remark_on(job),
            ]
        };
        let heads = ["JOB", "QUEUE", "STATE", "MACHINE", "PROCESS", "VERSION", "ROBOTS", "STARTED", ""];
        output::table(&heads, &jobs.iter().map(row).collect::<Vec<_>>())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> Done {
        let orchestrator = self.place.connect().await?;
        let job = found(&*orchestrator, &self.key).await?;
        let robots = orchestrator.list_robots().await?;
        let of_job = |robot: &&Robot| robot.job == job.key;
        if self.place.json {
            let mut value = shown(&job, &robots);
            value["robots"] = robots.iter().filter(of_job).map(robot_shown).collect();
            output::json(&value)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut about = vec![
            ("Job", job.key.to_string()),
            ("Queue", job.about.queue.clone()),
            ("State", state_of(&job, &robots)),
            ("Machine", job.about.machine.clone()),
            ("Process", job.about.process_id.to_string()),
            ("Version", job.about.version.clone()),
            ("Robots", job.about.robots.to_string()),
            ("Lease", format!("{:#}, until {}", length(job.about.lease), seconds(job.held_until))),
            ("Started", job.start_time.to_string()),
        ];
        about.extend(job.end_time.map(|at| ("Ended", at.to_string())));
        about.extend(job.info.clone().map(|info| ("Because", info)));
        about.extend(job.figures.as_ref().map(|figures| ("Did", told(figures))));
        output::list(&about)?;
        let rows: Vec<_> = robots.iter().filter(of_job).map(robot_row).collect();
        if !rows.is_empty() {
            output::line("")?;
            output::table(&["ROBOT", "STATE", "ITEM", "REFERENCE", "SINCE"], &rows)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Which {
    /// Asks, and waits where that is wanted.
    async fn ask(self, strategy: StopStrategy) -> Done {
        let wait = self.wait.as_deref().map(duration).transpose()?;
        let orchestrator = self.place.connect().await?;
        let jobs = match &self.queue {
            Some(queue) => {
                let name = orchestrator.get_queue(queue).await?.name.to_lowercase();
                let mut jobs = orchestrator.list_jobs(LOOKED_AT).await?;
                jobs.retain(|job| !job.state.is_final() && job.about.queue.to_lowercase() == name);
                jobs
            }
            None => {
                let mut jobs = Vec::new();
                for key in &self.keys {
                    jobs.push(found(&*orchestrator, key).await?);
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
        if self.place.json {
            let asked: Vec<_> = jobs.iter().map(|job| job.key.to_string()).collect();
            let left: Vec<_> = running.iter().map(ToString::to_string).collect();
            output::json(&json!({ "asked": asked, "stillRunning": left }))?;
        } else {
            for job in &jobs {
                output::line(match wait {
                    None => format!(
                        "job {} was asked; it hears of it within {:#}",
                        job.key,
                        length(job.about.lease / 3)
                    ),
                    Some(_) if running.contains(&job.key) => format!("job {} is still running", job.key),
                    Some(_) => format!("job {} has ended", job.key),
                })?;
            }
            if jobs.is_empty() {
                output::remark("no job is running there");
            }
        }
        Ok(if running.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Those that have not ended when the time is over.
async fn still_running(
    orchestrator: &dyn Administration,
    jobs: &[Job],
    wait: Duration,
) -> Result<Vec<JobKey>, Problem> {
    // None: a time so long has no end.
    let until = tokio::time::Instant::now().checked_add(wait);
    loop {
        let known = orchestrator.list_jobs(LOOKED_AT).await?;
        let runs = |key: &JobKey| known.iter().any(|job| job.key == *key && !job.state.is_final());
        let running: Vec<_> = jobs.iter().map(|job| job.key).filter(runs).collect();
        if running.is_empty() || until.is_some_and(|until| tokio::time::Instant::now() >= until) {
            return Ok(running);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The one job whose key is this, or begins or ends so.
async fn found(orchestrator: &dyn Administration, part: &str) -> Result<Job, Problem> {
    let part = part.to_lowercase();
    let mut jobs = orchestrator.list_jobs(LOOKED_AT).await?;
    jobs.retain(|job| {
        let key = job.key.to_string();
        key.starts_with(&part) || key.ends_with(&part)
    });
    match (jobs.len(), jobs.pop()) {
        (1, Some(job)) => Ok(job),
        (_, None) => Err(Problem::failed(format!("no job has the key {part:?}"))),
        (count, _) => Err(Problem::usage(format!("{count} jobs have a key like {part:?}; say more of it"))),
    }
}

fn length(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// A time without its fractions.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A job that does not beat is not what it says of itself: whoever sweeps next abandons its items.
fn state_of(job: &Job, robots: &[Robot]) -> String {
    let mut of_job = robots.iter().filter(|robot| robot.job == job.key);
    if of_job.any(|robot| robot.state == RobotState::Disconnected) {
        return format!("{}, but silent since {}", job.state, seconds(job.held_until - job.about.lease));
    }
    job.state.to_string()
}

/// How many of its robots are busy.
fn robots_of(job: &Job, robots: &[Robot]) -> String {
    let all = job.about.robots;
    if job.state.is_final() {
        return all.to_string();
    }
    let of_job = robots.iter().filter(|robot| robot.job == job.key);
    let busy = of_job.clone().filter(|robot| robot.state == RobotState::Busy).count();
    if of_job.clone().any(|robot| robot.state == RobotState::Unknown) {
        return format!("{all}, taking ahead");
    }
    format!("{busy} of {all} busy")
}

/// What it did, and why it ended.
fn remark_on(job: &Job) -> String {
    let parts = [job.figures.as_ref().map(told), job.info.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn told(figures: &JobFigures) -> String {
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
        seconds(robot.since).to_string(),
    ]
}

fn robot_shown(robot: &Robot) -> Value {
    json!({
        "number": robot.number, "state": robot.state.to_string(), "item": robot.item.map(|item| item.0),
        "reference": robot.reference, "since": robot.since.to_string(),
    })
}

fn shown(job: &Job, robots: &[Robot]) -> Value {
    let busy = robots.iter().filter(|robot| robot.job == job.key && robot.state == RobotState::Busy).count();
    json!({
        "key": job.key.to_string(), "queue": job.about.queue, "state": job.state.to_string(),
        "machine": job.about.machine, "processId": job.about.process_id, "version": job.about.version,
        "robotCount": job.about.robots, "busyRobots": busy, "leaseSeconds": job.about.lease.as_secs_f64(),
        "startTime": job.start_time.to_string(), "heldUntil": job.held_until.to_string(),
        "endTime": job.end_time.map(|at| at.to_string()), "info": job.info, "figures": job.figures,
    })
}
