//! Machines, and the sessions of the agents that run jobs on them (orchestrator-api 19).
//!
//! An agent opens a session and beats. A session that has not beaten for its lease is Disconnected; its jobs have leases of their own,
//! which the same beats move.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::job::{DEFAULT_LEASE, Job, JobState, MAX_LEASE, MIN_LEASE};
use super::key::{FolderId, JobKey, MachineKey, SessionKey};
use super::process::{check_length, invalid, validate_name};
use super::refusal::Refusal;
use super::stored_time::{after, stored};
use crate::enumeration;

/// The longest name of a machine, in UTF-16 code units.
pub const NAME_LIMIT: usize = 450;
/// The longest description of a machine, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 500;
/// The most machines of a store. The limit is ours.
pub const MAX_MACHINES: usize = 1_000;
/// The most sessions of a store. The limit is ours.
pub const MAX_SESSIONS: usize = 2_000;
/// The most jobs that an agent runs at the same time.
pub const MAX_RUNTIMES: u32 = 1_000;
/// An agent that has not beaten for so long is unresponsive.
pub const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(120);
/// A session that ended so long ago is removed.
pub const ENDED_SESSION_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The number of a machine. Never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MachineId(pub i64);

/// The number of a session. Never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub i64);

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What people set of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct MachineSettings {
    /// Its name, unique, ignoring case. Agents name it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

impl MachineSettings {
    /// A machine of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: None }
    }

    /// Checks everything but whether the name is free.
    ///
    /// # Errors
    ///
    /// Code 1204 without a name; 1009 for what is too long.
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.name.trim().is_empty() {
            return Err(Refusal::new(ErrorCode::MACHINE_NAME_REQUIRED, "the name of a machine is empty"));
        }
        validate_name("the name of a machine", &self.name, NAME_LIMIT)?;
        let description = self.description.as_deref().unwrap_or_default();
        check_length("the description of a machine", description, DESCRIPTION_LIMIT)
    }
}

/// A machine: the name under which agents run jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Machine {
    /// Its number.
    pub id: MachineId,
    /// Its key.
    pub key: MachineKey,
    /// What people set.
    #[serde(flatten)]
    pub settings: MachineSettings,
    /// When it was made.
    pub created: Timestamp,
}

impl Machine {
    /// A new machine.
    pub fn new(key: MachineKey, settings: MachineSettings, now: Timestamp) -> Self {
        Self { id: MachineId::default(), key, settings, created: now }
    }

    /// The machine with other settings.
    #[must_use]
    pub fn with(mut self, settings: MachineSettings) -> Self {
        self.settings = settings;
        self
    }
}

enumeration! {
    /// What an agent does.
    pub SessionState {
        /// It beats, and runs no job.
        Available = 0,
        /// It beats, and runs jobs.
        Busy = 1,
        /// It has ended, or has not beaten for its lease.
        Disconnected = 2,
        /// It has not beaten lately.
        Unknown = 3,
    }
}

/// What an agent says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct NewSession {
    /// The name of its machine.
    pub machine: String,
    /// The name of the host that it runs on.
    pub host: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The operating system: `linux`, `macos`, `windows` or another.
    #[serde(default)]
    pub platform: String,
    /// How many jobs it runs at the same time, 1 to [`MAX_RUNTIMES`].
    pub runtimes: u32,
    /// How long it holds its jobs without a beat.
    pub lease_seconds: u64,
}

impl NewSession {
    /// An agent that runs one job at a time.
    pub fn new(machine: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            machine: machine.into(),
            host: host.into(),
            version: String::new(),
            platform: std::env::consts::OS.to_owned(),
            runtimes: 1,
            lease_seconds: DEFAULT_LEASE.as_secs(),
        }
    }

    /// Sets its version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets how many jobs it runs at the same time.
    #[must_use]
    pub fn runtimes(mut self, runtimes: u32) -> Self {
        self.runtimes = runtimes;
        self
    }

    /// Sets how long it holds its jobs without a beat, in whole seconds.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease_seconds = lease.as_secs();
        self
    }

    /// Checks it.
    ///
    /// # Errors
    ///
    /// Code 1009 for names that are missing or too long; 1015 for a number that is out of its range.
    pub fn validate(&self) -> Result<(), Refusal> {
        MachineSettings::new(self.machine.as_str()).validate()?;
        validate_name("the name of the host", &self.host, NAME_LIMIT)?;
        check_length("the version of the agent", &self.version, 128)?;
        check_length("the platform of the agent", &self.platform, 128)?;
        if !(1..=MAX_RUNTIMES).contains(&self.runtimes) {
            let message =
                format!("the runtimes are {}; they should be between 1 and {MAX_RUNTIMES}", self.runtimes);
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        let lease = Duration::from_secs(self.lease_seconds);
        if lease < MIN_LEASE || lease > MAX_LEASE {
            let message =
                format!("the lease is {lease:?}; it should be between {MIN_LEASE:?} and {MAX_LEASE:?}");
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        Ok(())
    }
}

/// The session of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Its key, which the agent names when it beats.
    pub key: SessionKey,
    /// The machine.
    pub machine: MachineId,
    /// The folder whose jobs it runs.
    #[serde(rename = "OrganizationUnitId")]
    pub folder: FolderId,
    /// The user of a server that opened it.
    #[serde(default)]
    pub user: Option<i64>,
    /// What the agent said about itself.
    pub agent: NewSession,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it beat last, within a third of its lease.
    pub reported: Timestamp,
    /// When it was closed.
    #[serde(default)]
    pub closed: Option<Timestamp>,
    /// Whether it is given no more jobs.
    #[serde(default)]
    pub in_maintenance: bool,
}

impl Session {
    /// A new session.
    pub fn new(
        key: SessionKey,
        (machine, folder, user): (MachineId, FolderId, Option<i64>),
        agent: NewSession,
        now: Timestamp,
    ) -> Self {
        Self {
            id: SessionId::default(),
            key,
            machine,
            folder,
            user,
            agent,
            opened: now,
            reported: now,
            closed: None,
            in_maintenance: false,
        }
    }

    /// How long its jobs are held without a beat.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.agent.lease_seconds)
    }

    /// A beat at this time; whether it has to be written.
    ///
    /// # Errors
    ///
    /// A lost claim if the session was closed.
    pub fn beat(&mut self, now: Timestamp) -> Result<bool, Refusal> {
        if self.closed.is_some() {
            let message = format!("session {} was closed", self.key);
            return Err(Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, message));
        }
        let is_due = now >= after(self.reported, self.lease() / 3);
        if is_due {
            self.reported = stored(now);
        }
        Ok(is_due)
    }

    /// Whether it can be told to run jobs.
    pub fn is_connected(&self, now: Timestamp) -> bool {
        self.closed.is_none() && now <= after(self.reported, self.lease())
    }

    /// Whether its agent has not beaten for long, and did not say that it ends.
    pub fn is_unresponsive(&self, now: Timestamp) -> bool {
        self.closed.is_none() && now > after(self.reported, UNRESPONSIVE_AFTER)
    }

    /// What its agent does. `running`: how many jobs it runs.
    pub fn state(&self, running: usize, now: Timestamp) -> SessionState {
        match (self.is_connected(now), running) {
            (false, _) => SessionState::Disconnected,
            (true, 0) => SessionState::Available,
            (true, _) => SessionState::Busy,
        }
    }

    /// Whether it ended so long ago that nobody asks for it.
    pub fn is_old(&self, now: Timestamp) -> bool {
        now > after(self.closed.unwrap_or(self.reported), ENDED_SESSION_KEPT)
    }
}

/// A session, and what its agent does now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// The name of its machine now.
    pub machine_name: String,
    /// How many jobs it runs.
    pub running: usize,
    /// What its agent does.
    pub state: SessionState,
    /// Whether its agent has not beaten for long.
    pub is_unresponsive: bool,
}

impl ListedSession {
    /// A session as it is at this time.
    pub fn new(session: Session, machine_name: String, running: usize, now: Timestamp) -> Self {
        let (state, is_unresponsive) = (session.state(running, now), session.is_unresponsive(now));
        Self { session, machine_name, running, state, is_unresponsive }
    }
}

/// What an agent says with a beat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionBeat {
    /// The jobs that it runs, and those whose end was not recorded yet: others that it was given it gets again.
    #[serde(default)]
    pub running: Vec<JobKey>,
    /// How many further jobs it would run.
    #[serde(default)]
    pub room: u32,
}

impl SessionBeat {
    /// A beat.
    pub fn new(running: Vec<JobKey>, room: u32) -> Self {
        Self { running, room }
    }

    /// Checks it.
    ///
    /// # Errors
    ///
    /// Code 1009 for more jobs than an agent may have.
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.running.len() > MAX_RUNTIMES as usize || self.room > MAX_RUNTIMES {
            return Err(invalid(format!("an agent runs at most {MAX_RUNTIMES} jobs")));
        }
        Ok(())
    }
}

/// What an agent is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOrders {
    /// The states of the jobs that it runs. A job that ended, or that is not its own, is absent: its program has to end.
    pub states: Vec<(JobKey, JobState)>,
    /// The jobs that it has to run besides.
    pub taken: Vec<Job>,
}

impl SessionOrders {
    /// The orders.
    pub fn new(states: Vec<(JobKey, JobState)>, taken: Vec<Job>) -> Self {
        Self { states, taken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::KeyMaker;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn session() -> Session {
        let key = KeyMaker::with_seed(1).session(at(0));
        Session::new(key, (MachineId(1), FolderId::SHARED, None), NewSession::new("m", "h"), at(0))
    }

    #[test]
    fn a_session_is_connected_for_its_lease() {
        let mut session = session();
        assert_eq!(session.beat(at(9)), Ok(false), "not written more often than three times a lease");
        assert_eq!(session.state(0, at(30)), SessionState::Available);
        assert_eq!(session.state(2, at(30)), SessionState::Busy);
        assert_eq!(session.state(2, at(31)), SessionState::Disconnected);
        assert!(!session.is_unresponsive(at(120)) && session.is_unresponsive(at(121)));
        assert_eq!(session.beat(at(31)), Ok(true), "it is connected again");
        assert_eq!(session.state(0, at(60)), SessionState::Available);
        session.closed = Some(at(61));
        assert!(session.beat(at(62)).is_err());
        assert_eq!(session.state(0, at(61)), SessionState::Disconnected);
        assert!(!session.is_unresponsive(at(1_000)), "it said that it ends");
        assert!(session.is_old(at(61 + 7 * 86_400 + 1)) && !session.is_old(at(1_000)));
    }

    #[test]
    fn an_agent_has_a_machine_and_limits() {
        let good = NewSession::new("m", "h");
        good.validate().unwrap();
        let code = |agent: NewSession| agent.validate().unwrap_err().code();
        assert_eq!(code(NewSession::new("", "h")), ErrorCode::MACHINE_NAME_REQUIRED);
        assert_eq!(code(NewSession::new("m", "")), ErrorCode::INVALID_ARGUMENT);
        assert_eq!(code(good.clone().runtimes(0)), ErrorCode::PARAMETER_INVALID);
        assert_eq!(code(good.clone().runtimes(MAX_RUNTIMES + 1)), ErrorCode::PARAMETER_INVALID);
        assert_eq!(code(good.lease(Duration::ZERO)), ErrorCode::PARAMETER_INVALID);
        assert!(SessionBeat::new(Vec::new(), MAX_RUNTIMES + 1).validate().is_err());
    }
}
