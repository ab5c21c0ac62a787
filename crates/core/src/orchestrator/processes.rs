//! Processes and machines, and what an agent asks for.

use async_trait::async_trait;

use super::Result;
use crate::model::job::Job;
use crate::model::key::{JobKey, SessionKey};
use crate::model::machine::{
    ListedSession, Machine, MachineSettings, NewSession, Session, SessionBeat, SessionOrders,
};
use crate::model::process::{Process, ProcessSettings, StartJobs};

/// Defines [processes](crate::model::process), starts jobs of them, and gives the jobs to the agents of [machines](crate::model::machine).
///
/// A back end that has processes says so with [`FleetAdministration::processes`](super::FleetAdministration::processes).
#[async_trait]
pub trait ProcessAdministration: std::fmt::Debug + Send + Sync {
    /// Lists the processes, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_processes(&self) -> Result<Vec<Process>>;

    /// Finds a process by its name, which is case-insensitive.
    ///
    /// # Errors
    ///
    /// NotFound with code 1674.
    async fn get_process(&self, name: &str) -> Result<Process>;

    /// Creates a process.
    ///
    /// # Errors
    ///
    /// Invalid for what [`ProcessSettings::validate`] refuses; Conflict with code 1001 if the name is used.
    async fn create_process(&self, settings: ProcessSettings) -> Result<Process>;

    /// Replaces the settings of a process. Jobs that were started before keep theirs.
    ///
    /// # Errors
    ///
    /// As [`create_process`](Self::create_process); NotFound with code 1674.
    async fn update_process(&self, name: &str, settings: ProcessSettings) -> Result<Process>;

    /// Deletes a process.
    ///
    /// # Errors
    ///
    /// NotFound with code 1674; Conflict with code 1666 if jobs of it have not ended.
    async fn delete_process(&self, name: &str) -> Result<()>;

    /// Starts jobs of a process: they are Pending until the agent of a machine takes them.
    ///
    /// # Errors
    ///
    /// NotFound with code 1674; Invalid for what [`StartJobs::validate`] refuses; Conflict with code 1670 if too many jobs wait.
    async fn start_jobs(&self, start: StartJobs) -> Result<Vec<Job>>;

    /// Starts a job as one was started that has ended.
    ///
    /// # Errors
    ///
    /// NotFound, with code 1661 if the process is gone; Conflict with code 1300 if the job has not ended, or is no job of a process.
    async fn restart_job(&self, job: JobKey) -> Result<Job>;

    /// Lists the machines, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_machines(&self) -> Result<Vec<Machine>>;

    /// Creates a machine.
    ///
    /// # Errors
    ///
    /// Invalid for what [`MachineSettings::validate`] refuses; Conflict with code 1001 if the name is used.
    async fn create_machine(&self, settings: MachineSettings) -> Result<Machine>;

    /// Deletes a machine.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1206 if an agent of it is connected.
    async fn delete_machine(&self, name: &str) -> Result<()>;

    /// Lists the sessions of agents, by number.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_sessions(&self) -> Result<Vec<ListedSession>>;

    /// Opens the session of an agent. A machine that does not exist is made, if the caller may.
    ///
    /// # Errors
    ///
    /// Invalid for what [`NewSession::validate`] refuses; NotFound for the machine; Conflict with code 1302 for too many sessions.
    async fn open_session(&self, agent: NewSession) -> Result<Session>;

    /// A beat of an agent: moves the leases of its session and its jobs, and gives it jobs that are Pending.
    ///
    /// # Errors
    ///
    /// NotFound for a session that is not the caller's; ClaimLost for one that was closed.
    async fn beat_session(&self, key: SessionKey, beat: SessionBeat) -> Result<SessionOrders>;

    /// Ends the session of an agent.
    ///
    /// # Errors
    ///
    /// As [`beat_session`](Self::beat_session).
    async fn close_session(&self, key: SessionKey) -> Result<()>;
}
