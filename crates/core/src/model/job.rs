//! Jobs: one run of a performer, its lease and its end (orchestrator-api 12.2 and 15.2; T13 and T14 of
//! `docs/reference/lifecycle.md`).
//! Over 500 lines, because the life of a job is to be read in one place, with its tests.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::code::ErrorCode;
use super::key::{FolderId, JobId, JobKey};
use super::machine::Session;
use super::process::JobRun;
use super::refusal::Refusal;
use super::stored_time::{after, stored};
use crate::enumeration;

use super::job_end::with_api_names;
pub use super::job_end::{JobEnd, JobFigures};

enumeration! {
    /// The state of a job.
    pub JobState {
        /// Waiting for a robot.
        Pending = 0,
        /// Running.
        Running = 1,
        /// Asked to stop as soon as it is safe.
        Stopping = 2,
        /// Asked to stop at once.
        Terminating = 3,
        /// Ended by an error, or its robot disappeared.
        Faulted = 4,
        /// Ended well.
        Successful = 5,
        /// Ended before its work was done, because somebody asked for it.
        Stopped = 6,
        /// Waiting for a person or for another process.
        Suspended = 7,
        /// Going on after having been suspended.
        Resumed = 8,
    }
}

enumeration! {
    /// Who started a job.
    pub JobSource {
        /// A person.
        Manual = 0,
        /// A trigger.
        Trigger = 1,
    }
}

enumeration! {
    /// How to stop a job (orchestrator-api 15.2). The numbers are ours.
    pub StopStrategy {
        /// Finish what runs, claim nothing more.
        SoftStop = 0,
        /// Interrupt what runs, and give it back.
        Kill = 1,
    }
}

impl JobState {
    /// Whether a job in this state has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Faulted | Self::Successful | Self::Stopped)
    }
}

/// How long a job holds its items without a beat, unless it says otherwise.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// A job to be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct NewJob {
    /// The queue it works on.
    #[serde(rename = "QueueDefinitionName")]
    pub queue: String,
    /// The machine it runs on.
    #[serde(rename = "HostMachineName")]
    pub machine: String,
    /// The number of its process on that machine.
    pub process_id: u32,
    /// The version of the program.
    pub version: String,
    /// How many robots it has, 1 to [`MAX_ROBOTS`].
    #[serde(rename = "RobotCount")]
    pub robots: u32,
    /// How long it holds its items without a beat, 1 second to 24 hours. Default of a performer: 30 seconds.
    #[serde(rename = "LeaseInSeconds", serialize_with = "in_seconds")]
    pub lease: Duration,
}

/// Serializes a duration as seconds.
pub(super) fn in_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The shortest lease: a job beats three times as often, and a disk may need a moment for each beat.
pub const MIN_LEASE: Duration = Duration::from_secs(1);
/// How often a performer or a server looks for jobs whose lease is over. An item of such a job is abandoned within
/// twice this time after its lease.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

// A sweeper judges by leases only if it checks at least three times a lease (`sweep.rs`).
const _: () = assert!(SWEEP_INTERVAL.as_millis() * 3 < MIN_LEASE.as_millis());

/// The longest lease: the limit of an item's time InProgress, by default.
pub const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// The most robots of one job: a list of robots has a row for each of them.
pub const MAX_ROBOTS: u32 = 10_000;
/// The most jobs of one list.
pub const MAX_JOBS_LISTED: usize = 10_000;

/// The longest name of a machine or a version, in characters.
const MAX_NAME_LENGTH: usize = 256;
/// How much is kept of why a job ended, in characters.
const MAX_INFO_LENGTH: usize = 4_000;

impl NewJob {
    /// A job on this queue, with one robot and a lease of [`DEFAULT_LEASE`]. The name of the machine and the version are empty
    /// and the number of the process is 0 unless they are set.
    pub fn new(queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            machine: String::new(),
            process_id: 0,
            version: String::new(),
            robots: 1,
            lease: DEFAULT_LEASE,
        }
    }

    /// Sets the name of the machine it runs on, at most 256 characters.
    #[must_use]
    pub fn machine(mut self, machine: impl Into<String>) -> Self {
        self.machine = machine.into();
        self
    }

    /// Sets the number of its process on that machine.
    #[must_use]
    pub fn process_id(mut self, process_id: u32) -> Self {
        self.process_id = process_id;
        self
    }

    /// Sets the version of the program, at most 256 characters.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets how many robots it has, 1 to [`MAX_ROBOTS`]. Default: 1.
    #[must_use]
    pub fn robots(mut self, robots: u32) -> Self {
        self.robots = robots;
        self
    }

    /// Sets how long it holds its items without a beat: 1 second to 24 hours. Default: [`DEFAULT_LEASE`].
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Checks the lease, the number of robots, and that names are names.
    ///
    /// # Errors
    ///
    /// Code 1015 when the lease is shorter than [`MIN_LEASE`] or longer than [`MAX_LEASE`], when there is no robot or more
    /// than [`MAX_ROBOTS`], or when the name of the machine or the version is longer than 256 characters.
    pub fn validate(&self) -> Result<(), Refusal> {
        if !(1..=MAX_ROBOTS).contains(&self.robots) {
            let message =
                format!("the robots of a job are {}; it should be between 1 and {MAX_ROBOTS}", self.robots);
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        if self.lease < MIN_LEASE || self.lease > MAX_LEASE {
            let message = format!(
                "the lease of a job is {:?}; it should be between {MIN_LEASE:?} and {MAX_LEASE:?}",
                self.lease
            );
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        for (what, name) in [("machine", &self.machine), ("version", &self.version)] {
            if name.chars().nth(MAX_NAME_LENGTH).is_some() {
                let message = format!("the {what} of a job is longer than {MAX_NAME_LENGTH} characters");
                return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
            }
        }
        Ok(())
    }
}

/// Checks how many jobs a caller asks for.
///
/// # Errors
///
/// Code 1015 for more than [`MAX_JOBS_LISTED`].
pub fn validate_job_limit(limit: usize) -> Result<(), Refusal> {
    if limit <= MAX_JOBS_LISTED {
        return Ok(());
    }
    let message = format!("the limit of a list of jobs is {limit}; it should be at most {MAX_JOBS_LISTED}");
    Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
}

/// The owner of a job: the caller that started it. Over HTTP only the owner can beat for it, end it, claim items in its
/// name, or report with its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOwner {
    /// A process that has opened the store itself.
    Store,
    /// A user of a server.
    User(i64),
    /// A program that was too old to store it. Only its folder is known: all users of that folder may use the job.
    Unknown,
}

impl JobOwner {
    /// The owner for a caller: the user of a server, or a process that has opened the store.
    pub fn of(user: Option<i64>) -> Self {
        user.map_or(Self::Store, Self::User)
    }

    /// The stored form: NULL, 0, or the number of a user, which is never 0.
    pub fn stored(self) -> Option<i64> {
        match self {
            Self::Store => Some(0),
            Self::User(user) => Some(user),
            Self::Unknown => None,
        }
    }

    /// Reads the stored form.
    pub fn read(stored: Option<i64>) -> Self {
        match stored {
            Some(0) => Self::Store,
            Some(user) => Self::User(user),
            None => Self::Unknown,
        }
    }

    /// Whether a caller may use the job. A process that has opened the store may use every job in it.
    pub fn admits(self, user: Option<i64>) -> bool {
        user.is_none() || self == Self::of(user) || self == Self::Unknown
    }
}

/// One run of a performer or of a process, as the store knows it.
///
/// It serializes with the names of the Orchestrator's API, and with our own where the API has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Job {
    /// Its number, which the store gives it when it starts.
    pub id: JobId,
    /// Its identity, random at every start.
    pub key: JobKey,
    /// What it said about itself.
    #[serde(flatten)]
    pub about: NewJob,
    /// The folder it was started in. Users of other folders cannot see it.
    #[serde(rename = "OrganizationUnitId")]
    pub folder: FolderId,
    /// Who started it.
    #[serde(skip)]
    pub owner: JobOwner,
    /// Running, Stopping, Terminating, or how it ended.
    pub state: JobState,
    /// When it started.
    pub start_time: Timestamp,
    /// The end of its lease; each beat moves it.
    pub held_until: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Why it ended, in a sentence.
    pub info: Option<String>,
    /// What it did, if it said so when it ended.
    #[serde(serialize_with = "with_api_names")]
    pub figures: Option<JobFigures>,
    /// What it runs, if it is a job of a [process](super::process): then it works on no queue itself, and waits for a machine first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<JobRun>>,
}

impl Job {
    /// A job that has just started, and holds its lease from then on.
    pub fn new(key: JobKey, about: NewJob, start_time: Timestamp) -> Self {
        let held_until = stored(after(start_time, about.lease));
        Self {
            id: JobId::default(),
            key,
            about,
            folder: FolderId::SHARED,
            owner: JobOwner::Unknown,
            state: JobState::Running,
            start_time,
            held_until,
            end_time: None,
            info: None,
            figures: None,
            run: None,
        }
    }

    /// A job of a process, which waits for a machine.
    pub fn pending(key: JobKey, folder: FolderId, run: JobRun, now: Timestamp) -> Self {
        let mut job = Self::new(key, NewJob::new("").robots(0), now);
        (job.folder, job.state, job.run) = (folder, JobState::Pending, Some(Box::new(run)));
        job
    }

    /// Gives a job that is Pending to an agent: it runs from now on.
    pub fn take(&mut self, session: &Session, now: Timestamp) {
        self.owner = JobOwner::of(session.user);
        self.about.machine.clone_from(&session.agent.host);
        self.about.version.clone_from(&session.agent.version);
        self.about.lease = session.lease();
        (self.state, self.start_time) = (JobState::Running, now.max(self.start_time));
        self.held_until = stored(after(now, session.lease()));
        if let Some(run) = &mut self.run {
            run.session = Some(session.id);
        }
    }
}

impl Job {
    /// A job that starts in a folder. `user`: who starts it.
    pub fn started(
        key: JobKey,
        (folder, owner): (FolderId, JobOwner),
        about: NewJob,
        now: Timestamp,
    ) -> Self {
        Self { folder, owner, ..Self::new(key, about, now) }
    }

    /// T13, beat: moves the end of the lease.
    ///
    /// # Errors
    ///
    /// A lost claim if the job has ended, by itself or because it did not beat.
    pub fn beat(&mut self, now: Timestamp) -> Result<JobState, Refusal> {
        self.alive()?;
        self.held_until = self.held_until.max(stored(after(now, self.about.lease)));
        Ok(self.state)
    }

    /// Checks that the job may claim items and report.
    ///
    /// # Errors
    ///
    /// A lost claim if the job has ended.
    pub fn alive(&self) -> Result<(), Refusal> {
        if !self.state.is_final() {
            return Ok(());
        }
        let info = self.info.as_deref().unwrap_or("it ended by itself");
        let message = format!("job {} is {}: {info}", self.key, self.state);
        Err(Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, message))
    }

    /// T14, job lost: whether the lease is over. Checked again inside the transaction that ends the job.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        !self.state.is_final() && self.state != JobState::Pending && now > self.held_until
    }

    /// Ends the job. Its items that are still InProgress are abandoned in the same transaction.
    pub fn end(&mut self, end: JobEnd, now: Timestamp) {
        let JobEnd { state, info, figures } = end;
        assert!(state.is_final(), "a job ends in a final state, not in {state}");
        (self.state, self.figures) = (state, figures);
        self.info = info.map(|info| info.chars().take(MAX_INFO_LENGTH).collect());
        self.end_time = Some(now.max(self.start_time));
    }

    /// Requests the job to stop. The request does not end it: the answer to the next beat carries it. Only a job that is Pending, which
    /// no agent has, is Stopped at once; `now` is its end.
    ///
    /// # Errors
    ///
    /// Code 1658 for a soft stop of a job that has ended or is Terminating, 1659 for a kill of one that has ended; with
    /// the published text (orchestrator-api 15.2).
    pub fn request_stop(&mut self, strategy: StopStrategy, now: Timestamp) -> Result<(), Refusal> {
        let state = self.state;
        let (code, wish, verb, is_refused) = match strategy {
            StopStrategy::SoftStop => (
                ErrorCode::JOB_CANNOT_BE_CANCELLED,
                JobState::Stopping,
                "cancel",
                state.is_final() || state == JobState::Terminating,
            ),
            StopStrategy::Kill => {
                (ErrorCode::JOB_CANNOT_BE_TERMINATED, JobState::Terminating, "terminate", state.is_final())
            }
        };
        if is_refused {
            let message = format!(
                "cannot {verb} a job with status {state}. This can only be applied to Running, Pending or Stopping jobs"
            );
            return Err(Refusal::new(code, message));
        }
        if state == JobState::Pending {
            self.end(JobEnd::new(JobState::Stopped).info("it was stopped before it ran"), now);
        } else {
            self.state = wish;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::KeyMaker;

    fn job() -> Job {
        let about = NewJob {
            queue: "Invoices".to_owned(),
            machine: "m".to_owned(),
            process_id: 1,
            version: "1".to_owned(),
            robots: 1,
            lease: DEFAULT_LEASE,
        };
        let now = Timestamp::UNIX_EPOCH;
        Job::started(KeyMaker::with_seed(1).job(now), (FolderId::SHARED, JobOwner::Store), about, now)
    }

    #[test]
    fn a_job_ends_in_a_final_state() {
        for state in JobState::ALL {
            let judged = JobEnd::from(*state).validate();
            let expected = if state.is_final() { Ok(()) } else { Err(ErrorCode::INVALID_ARGUMENT) };
            assert_eq!(judged.map_err(|refusal| refusal.code()), expected, "{state}");
        }
    }

    #[test]
    fn a_job_can_be_used_only_by_its_owner() {
        let [ann, bob] = [Some(5), Some(6)];
        for (owner, admitted) in [
            (JobOwner::of(ann), [true, false, true]),
            (JobOwner::of(None), [false, false, true]),
            (JobOwner::Unknown, [true, true, true]),
        ] {
            assert_eq!([ann, bob, None].map(|user| owner.admits(user)), admitted, "{owner:?}");
            assert_eq!(JobOwner::read(owner.stored()), owner);
        }
    }

    #[test]
    fn a_job_has_a_number_of_robots_that_can_be_listed() {
        let with = |robots| NewJob { robots, ..job().about };
        for robots in [1, 8, MAX_ROBOTS] {
            assert_eq!(with(robots).validate(), Ok(()), "{robots}");
        }
        for robots in [0, MAX_ROBOTS + 1, u32::MAX] {
            let refusal = with(robots).validate().unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::PARAMETER_INVALID);
            assert!(refusal.to_string().contains("robots"), "{refusal}");
        }
        assert!(validate_job_limit(MAX_JOBS_LISTED).is_ok() && validate_job_limit(usize::MAX).is_err());
    }

    #[test]
    fn a_beat_moves_the_lease_and_never_back() {
        let mut job = job();
        let later = Timestamp::UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(job.beat(later), Ok(JobState::Running));
        assert_eq!(job.held_until.as_second(), 40);
        assert_eq!(job.beat(Timestamp::UNIX_EPOCH), Ok(JobState::Running));
        assert_eq!(job.held_until.as_second(), 40);
        assert!(!job.is_lost(job.held_until), "the last instant of the lease belongs to the job");
        assert!(job.is_lost(job.held_until + Duration::from_micros(1)));
    }

    #[test]
    fn an_ended_job_neither_beats_nor_is_lost_again() {
        let mut job = job();
        let info = Some("it did not beat".to_owned());
        job.end(JobEnd { info, ..JobState::Faulted.into() }, Timestamp::UNIX_EPOCH);
        let refusal = job.beat(Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(refusal.is_claim_lost() && refusal.to_string().contains("Faulted: it did not beat"));
        assert!(!job.is_lost(Timestamp::MAX));
        let stop = job.request_stop(StopStrategy::SoftStop, Timestamp::UNIX_EPOCH).unwrap_err();
        let kill = job.request_stop(StopStrategy::Kill, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!((stop.code().number(), kill.code().number()), (1658, 1659));
        assert_eq!(
            stop.to_string(),
            "cannot cancel a job with status Faulted. This can only be applied to Running, Pending or Stopping jobs"
        );
        assert!(kill.to_string().starts_with("cannot terminate a job with status Faulted. "), "{kill}");
    }

    #[test]
    fn a_kill_is_not_softened() {
        let mut job = job();
        job.request_stop(StopStrategy::SoftStop, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(job.beat(Timestamp::UNIX_EPOCH), Ok(JobState::Stopping));
        job.request_stop(StopStrategy::SoftStop, Timestamp::UNIX_EPOCH).unwrap();
        job.request_stop(StopStrategy::Kill, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            job.request_stop(StopStrategy::SoftStop, Timestamp::UNIX_EPOCH).unwrap_err().code().number(),
            1658
        );
        job.request_stop(StopStrategy::Kill, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(job.state, JobState::Terminating);
    }

    #[test]
    #[should_panic(expected = "final state")]
    fn a_job_does_not_end_running() {
        job().end(JobState::Running.into(), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_job_of_a_process_waits_until_an_agent_takes_it() {
        use crate::model::key::KeyMaker;
        use crate::model::machine::{MachineId, NewSession, SessionId};
        use crate::model::process::{Process, ProcessSelector, ProcessSettings, StartJobs};

        let at = |second| Timestamp::from_second(second).unwrap();
        let mut keys = KeyMaker::with_seed(1);
        let settings = ProcessSettings::new("P", vec!["true".to_owned()]);
        let process = Process::new(keys.process(at(0)), FolderId(7), settings, at(0));
        let run = process.run(&StartJobs::new(ProcessSelector::Key(process.key)), at(0)).unwrap();
        let job = Job::pending(keys.job(at(0)), FolderId(7), run, at(0));
        assert_eq!((job.state, job.folder), (JobState::Pending, FolderId(7)));
        assert!(!job.is_lost(at(1_000_000)), "nobody has to beat for it");

        let agent = NewSession::new("m", "host-1").version("9").lease(Duration::from_secs(60));
        let mut session =
            Session::new(keys.session(at(0)), (MachineId(1), FolderId(7), Some(5)), agent, at(0));
        session.id = SessionId(3);
        let mut taken = job.clone();
        taken.take(&session, at(100));
        assert_eq!(
            (taken.state, taken.owner, taken.start_time),
            (JobState::Running, JobOwner::User(5), at(100))
        );
        assert_eq!((taken.held_until, taken.about.machine.as_str()), (at(160), "host-1"));
        assert_eq!(taken.run.as_ref().unwrap().session, Some(SessionId(3)));
        assert!(taken.is_lost(at(161)));
        taken.request_stop(StopStrategy::SoftStop, at(101)).unwrap();
        assert_eq!((taken.state, taken.end_time), (JobState::Stopping, None));

        for strategy in [StopStrategy::SoftStop, StopStrategy::Kill] {
            let mut waiting = job.clone();
            waiting.request_stop(strategy, at(5)).unwrap();
            assert_eq!((waiting.state, waiting.end_time), (JobState::Stopped, Some(at(5))), "nobody runs it");
        }
    }
}
