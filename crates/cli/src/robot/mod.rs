//! `performer robot`: the agent of a machine. It takes jobs that wait, runs their programs, and says how they end.
//!
//! | file | what it contains |
//! |---|---|
//! | `mod.rs` | the command, and the loop of beats |
//! | `program.rs` | one job: its program, from its start to its recorded end |
//! | `guard.rs` | the parent of a program, which ends it when the agent is gone |
//! | `output_lines.rs` | what a program writes, as robot logs |
//!
//! The loop decides nothing about jobs: the store says with every beat which jobs the agent has, and what is wanted of them. A job whose
//! lease was lost is absent in the answer, and its program is killed: the store has ended it.

mod guard;
mod output_lines;
mod program;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use performer::Administration;
use performer_core::model::job::{Job, JobState};
use performer_core::model::key::{JobKey, SessionKey};
use performer_core::model::machine::{MAX_RUNTIMES, NewSession, SessionBeat, SessionOrders};
use performer_core::orchestrator::OrchestratorError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use self::guard::RobotGuard;
use self::program::{Context, run_job};
use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use super::process::processes;
use super::queue::duration;
use super::signals::Signals;

/// How often the agent asks for jobs, unless its lease is short.
const BEAT: Duration = Duration::from_secs(1);
/// How often it beats within its lease at least: others that look less often than three times a lease judge nobody.
const BEATS_OF_LEASE: u32 = 10;
/// The longest wait after calls that failed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Run the jobs of processes on this machine, until it is stopped
#[derive(Args)]
#[command(after_help = "\
The agent registers its machine, takes jobs that wait (performer process start), and runs their programs as its own user, with its own\n\
environment and UIPATH_JOB_KEY and others besides. A program is asked to stop by SIGTERM, and killed by SIGKILL with all that it started.\n\
What a program writes becomes robot logs. The first SIGINT or SIGTERM to the agent lets the programs stop, the second one kills them.\n\
Without its store or server the agent lets programs run for the rest of their lease, and goes on when it is there again.\n\n\
Examples:\n  \
performer robot --url sqlite:invoices.db\n  \
performer robot --url http://127.0.0.1:8095 --machine finance-1 --jobs 4")]
pub(super) struct Robot {
    /// The name of the machine [default: the name of the host]
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// How many jobs are run at the same time
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RUNTIMES)))]
    jobs: u32,
    /// How long jobs are held without a beat of the agent, in whole seconds
    #[arg(long, default_value = "30s", value_name = "TIME")]
    lease: String,
    /// How long a program may go on after it was asked to stop because the agent stops
    #[arg(long, default_value = "60s", value_name = "TIME")]
    grace: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// The jobs that run here.
#[derive(Default)]
struct Running {
    /// What is wanted of each job.
    jobs: BTreeMap<JobKey, watch::Sender<JobState>>,
}

impl Running {
    fn keys(&self) -> Vec<JobKey> {
        self.jobs.keys().copied().collect()
    }

    /// Wants every job to be in this state, or further.
    fn want_all(&self, state: JobState) {
        for wanted in self.jobs.values() {
            want(wanted, state);
        }
    }
}

/// A job that is being killed is not asked to stop.
fn want(wanted: &watch::Sender<JobState>, state: JobState) {
    wanted.send_if_modified(|known| {
        let rank = |state: JobState| match state {
            JobState::Terminating => 2,
            JobState::Stopping => 1,
            _ => 0,
        };
        let is_more = rank(state) > rank(*known);
        if is_more {
            *known = state;
        }
        is_more
    });
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

impl Robot {
    pub(super) async fn run(self) -> CommandResult {
        let (lease, grace) = (duration(&self.lease)?, duration(&self.grace)?);
        let host = host_name();
        let agent = NewSession::new(self.machine.clone().unwrap_or_else(|| host.clone()), host)
            .version(env!("CARGO_PKG_VERSION"))
            .runtimes(self.jobs)
            .lease(lease);
        agent.validate().map_err(|refusal| CliError::usage(refusal.to_string()))?;
        let signals = Signals::handle(|| output::remark("stopping: programs are asked to stop"), || {})?;
        let queues = self.global.connect().await?;
        let url = self.global.target()?.url().to_owned();
        let context = Arc::new(Context::new(queues.clone(), url, lease));
        let mut robot = Agent {
            queues,
            agent,
            session: None,
            context,
            running: Running::default(),
            room: self.jobs,
            failures: 0,
            heard: Instant::now(),
            lease,
            sweeps: !self.global.is_http()?,
        };
        robot.work(&signals, grace).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The agent at work.
struct Agent {
    queues: Arc<dyn Administration>,
    agent: NewSession,
    session: Option<SessionKey>,
    context: Arc<Context>,
    running: Running,
    room: u32,
    /// How many beats have failed in a row.
    failures: u32,
    /// When the store or server answered last.
    heard: Instant,
    lease: Duration,
    /// Whether it ends the jobs of others that are gone: a server does so by itself.
    sweeps: bool,
}

impl Agent {
    /// Beats until a stop is asked for and all programs have ended.
    async fn work(&mut self, signals: &Signals, grace: Duration) -> Result<(), CliError> {
        let (ended, mut ends) = mpsc::unbounded_channel();
        let (mut next, mut kill_at) = (Instant::now(), None);
        self.open().await?; // what is wrong from the start is told at once
        loop {
            let is_stopping = signals.stop.is_cancelled();
            if is_stopping {
                kill_at = kill_at.or_else(|| Instant::now().checked_add(grace));
                let is_over = kill_at.is_some_and(|at| Instant::now() >= at) || signals.force.is_cancelled();
                self.running.want_all(if is_over { JobState::Terminating } else { JobState::Stopping });
                if self.running.jobs.is_empty() {
                    break;
                }
            }
            if Instant::now() >= next {
                self.beat(is_stopping, &ended).await?;
                next = Instant::now() + self.wait();
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                Some(job) = ends.recv() => {
                    self.running.jobs.remove(&job);
                    next = Instant::now(); // there may be another one to run
                }
                () = signals.stop.cancelled(), if !is_stopping => {}
                () = signals.force.cancelled(), if is_stopping && !signals.force.is_cancelled() => {}
            }
        }
        if let (Some(session), Ok(processes)) = (self.session.take(), processes(&self.queues)) {
            // It is Disconnected when its lease is over in any case.
            let _ = tokio::time::timeout(Duration::from_secs(5), processes.close_session(session)).await;
        }
        Ok(())
    }

    /// The wait until the next beat: longer after failures, with a random part so that agents do not come together.
    fn wait(&self) -> Duration {
        let beat = BEAT.min(self.lease / BEATS_OF_LEASE);
        if self.failures == 0 {
            return beat;
        }
        let wait = beat.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT).min(self.lease / 3);
        wait.mul_f64(0.5 + fraction() / 2.0)
    }

    async fn open(&mut self) -> Result<(), CliError> {
        let session = processes(&self.queues)?.open_session(self.agent.clone()).await?;
        output::line(format!("machine {} runs jobs in session {}", self.agent.machine, session.id))?;
        self.session = Some(session.key);
        Ok(())
    }

    async fn beat(
        &mut self,
        is_stopping: bool,
        ended: &mpsc::UnboundedSender<JobKey>,
    ) -> Result<(), CliError> {
        let running = self.running.keys();
        let free = self.room.saturating_sub(u32::try_from(running.len()).unwrap_or(u32::MAX));
        let room = if is_stopping { 0 } else { free };
        if self.sweeps {
            // A store has nobody else who ends the jobs of agents that are gone; a failure shows in the beat as well.
            let _ = self.queues.sweep().await;
        }
        let told = match self.session {
            Some(session) => {
                processes(&self.queues)?.beat_session(session, SessionBeat::new(running.clone(), room)).await
            }
            None => processes(&self.queues)?.open_session(self.agent.clone()).await.map(|session| {
                self.session = Some(session.key);
                SessionOrders::new(running.iter().map(|job| (*job, JobState::Running)).collect(), Vec::new())
            }),
        };
        match told {
            Ok(orders) => {
                if self.failures > 0 {
                    output::remark("the queues can be reached again");
                }
                (self.failures, self.heard) = (0, Instant::now());
                self.obey(&running, orders, ended);
            }
            Err(error) => self.note_failure(&error),
        }
        Ok(())
    }

    /// The programs go on until the lease of their jobs is over: then others have ended the jobs.
    fn note_failure(&mut self, error: &OrchestratorError) {
        if self.failures == 0 {
            output::warning(format!("the queues cannot be reached: {error}"));
        }
        self.failures = self.failures.saturating_add(1);
        if error.is_not_found() || error.is_claim_lost() {
            self.session = None; // another one is opened with the next beat
        }
        if self.heard.elapsed() > self.lease {
            self.running.want_all(JobState::Terminating);
        }
    }

    fn obey(&mut self, asked: &[JobKey], orders: SessionOrders, ended: &mpsc::UnboundedSender<JobKey>) {
        for job in asked {
            let state = orders.states.iter().find(|(known, _)| known == job).map(|(_, state)| *state);
            if let Some(wanted) = self.running.jobs.get(job) {
                // What is absent has ended for the store: nobody waits for its program.
                want(wanted, state.unwrap_or(JobState::Terminating));
            }
        }
        for job in orders.taken {
            self.start(job, ended.clone());
        }
    }

    fn start(&mut self, job: Job, ended: mpsc::UnboundedSender<JobKey>) {
        let key = job.key;
        if self.running.jobs.contains_key(&key) {
            return;
        }
        let (wanted, orders) = watch::channel(JobState::Running);
        self.running.jobs.insert(key, wanted);
        let context = self.context.clone();
        tokio::spawn(async move {
            run_job(&context, job, orders).await;
            let _ = ended.send(key); // the agent may have ended
        });
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
