//! One job: its program, from its start to its recorded end.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use performer::Administration;
use performer_core::model::job::{Job, JobEnd, JobState};
use performer_core::model::key::JobKey;
use performer_core::model::log::LogLevel;
use performer_core::model::process::JobRun;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::guard::{KILL, NOT_STARTED, STOP};
use super::output_lines::Lines;
use super::{LONGEST_WAIT, host_name, output};

/// How long the last lines of a program may take to be sent.
const LAST_LINES: Duration = Duration::from_secs(20);
/// How long the outputs of a program that has ended are read.
const LAST_OUTPUT: Duration = Duration::from_secs(5);
/// The exit code of a program that SIGTERM ended.
const TERMINATED: i32 = 128 + 15;

/// What all jobs of an agent have.
pub(super) struct Context {
    queues: Arc<dyn Administration>,
    url: String,
    lease: Duration,
    host: String,
}

impl Context {
    pub(super) fn new(queues: Arc<dyn Administration>, url: String, lease: Duration) -> Self {
        Self { queues, url, lease, host: host_name() }
    }

    /// The variables that a program gets besides those of the agent and of its process.
    fn variables(&self, job: &Job, run: &JobRun) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("UIPATH_JOB_KEY", job.key.to_string()),
            ("UIPATH_JOB_ID", job.id.to_string()),
            ("UIPATH_PROCESS_KEY", run.process_name.clone()),
            ("UIPATH_PROCESS_UUID", run.process_key.to_string()),
            ("PERFORMER_INPUT_ARGUMENTS", run.input_arguments.clone().unwrap_or_else(|| "{}".to_owned())),
        ];
        if self.url.starts_with("http:") || self.url.starts_with("https:") {
            variables.push(("UIPATH_URL", self.url.clone()));
        }
        // Else both would be set, and contradict each other.
        if std::env::var_os("PERFORMER_PROFILE").is_none() {
            variables.push(("PERFORMER_URL", self.url.clone()));
        }
        variables
    }
}

/// Runs a job: starts its program, passes on what is wanted, and records its end.
pub(super) async fn run_job(context: &Context, job: Job, orders: watch::Receiver<JobState>) {
    let Some(run) = job.run.as_deref() else { return };
    let (lines, sending) =
        Lines::new(context.queues.clone(), job.key, run.process_name.clone(), context.host.clone());
    let end = match start(context, &job, run) {
        Ok(child) => follow(child, lines, orders).await,
        Err(error) => {
            drop(lines);
            JobEnd::new(JobState::Faulted).info(format!("the program cannot be started: {error}"))
        }
    };
    let _ = tokio::time::timeout(LAST_LINES.min(context.lease), sending).await; // what is left is lost
    record(context, job.key, end).await;
}

fn start(context: &Context, job: &Job, run: &JobRun) -> std::io::Result<Child> {
    let this: PathBuf = std::env::current_exe()?;
    Command::new(this)
        .arg("robot-guard")
        .arg("--")
        .args(&run.command)
        .envs(&run.environment)
        .envs(context.variables(job, run))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Waits for the end of a program, and passes on what is wanted of it.
async fn follow(mut child: Child, lines: Lines, mut orders: watch::Receiver<JobState>) -> JobEnd {
    let out = child.stdout.take().map(|out| tokio::spawn(lines.clone().read(out, LogLevel::Info)));
    let err = child.stderr.take().map(|err| tokio::spawn(lines.read(err, LogLevel::Warn)));
    let mut asks = child.stdin.take();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            changed = orders.changed() => {
                let letter = match *orders.borrow_and_update() {
                    JobState::Stopping => STOP,
                    _ => KILL,
                };
                if changed.is_err() {
                    asks = None; // nobody wants it any more: the guard kills it
                } else if let Some(asks) = &mut asks {
                    let _ = asks.write_all(&[letter]).await; // it may have ended
                }
                if changed.is_err() {
                    break child.wait().await;
                }
            }
        }
    };
    let wanted = *orders.borrow();
    let (_, last) = tokio::join!(last_line(out), last_line(err));
    match status {
        Ok(status) => end_of(status.code(), wanted, &last),
        Err(error) => JobEnd::new(JobState::Faulted).info(format!("its end cannot be known: {error}")),
    }
}

/// The last line of an output. What left the group of the program may hold it open: it is not waited for.
async fn last_line(reading: Option<JoinHandle<String>>) -> String {
    let Some(mut reading) = reading else { return String::new() };
    if let Ok(read) = tokio::time::timeout(LAST_OUTPUT, &mut reading).await {
        return read.unwrap_or_default();
    }
    reading.abort();
    String::new()
}

/// The end of a job from the exit code of its program; `None`: the guard was killed.
fn end_of(code: Option<i32>, wanted: JobState, last_line: &str) -> JobEnd {
    match (code, wanted) {
        (_, JobState::Terminating) => JobEnd::new(JobState::Stopped).info("its program was killed"),
        (Some(0 | TERMINATED), JobState::Stopping) => {
            JobEnd::new(JobState::Stopped).info("its program was asked to stop")
        }
        (Some(0), _) => JobEnd::new(JobState::Successful),
        (Some(code), _) => {
            let why = if code == i32::from(NOT_STARTED) {
                "the program could not be started".to_owned()
            } else {
                format!("the program ended with exit code {code}")
            };
            let why = if last_line.is_empty() { why } else { format!("{why}: {last_line}") };
            JobEnd::new(JobState::Faulted).info(why)
        }
        (None, _) => JobEnd::new(JobState::Faulted).info("the program was killed from outside"),
    }
}

/// Records the end. When the lease is over, others have.
async fn record(context: &Context, job: JobKey, end: JobEnd) {
    let (since, mut wait) = (Instant::now(), Duration::from_millis(200));
    loop {
        match context.queues.end_job(job, end.clone()).await {
            Ok(_) => return,
            Err(error) if error.is_claim_lost() || error.is_not_found() => return,
            Err(error) if error.is_unauthorized() || since.elapsed() > context.lease * 2 => {
                output::warning(format!("the end of job {job} was not recorded: {error}"));
                return;
            }
            Err(_) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_job_is_that_of_its_program() {
        let end = |code, wanted| {
            let end = end_of(code, wanted, "disk full");
            (end.state, end.info.unwrap_or_default())
        };
        let faulted = (JobState::Faulted, "the program ended with exit code 3: disk full".to_owned());
        assert_eq!(end(Some(0), JobState::Running).0, JobState::Successful);
        assert_eq!(end(Some(3), JobState::Running), faulted);
        assert_eq!(end(Some(3), JobState::Stopping), faulted, "an error while it stops is one");
        assert_eq!(end(Some(0), JobState::Stopping).0, JobState::Stopped);
        assert_eq!(end(Some(143), JobState::Stopping).0, JobState::Stopped);
        assert_eq!(end(Some(143), JobState::Running).0, JobState::Faulted);
        assert_eq!(end(Some(137), JobState::Terminating).0, JobState::Stopped);
        assert_eq!(end(None, JobState::Running).0, JobState::Faulted);
        assert!(end(Some(127), JobState::Running).1.contains("could not be started"));
    }
}
