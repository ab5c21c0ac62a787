//! Processes, machines, sessions of agents, triggers and calendars: what a store keeps of them, and the jobs that they start. What they
//! are says the model: [`process`](performer_core::model::process), [`machine`](performer_core::model::machine).
//!
//! There are few of them, and each is a document that the model reads and writes as a whole. One lock makes the changes of them wait for
//! each other; who gets a job that is Pending is decided under it, by one guarded write (`apply/fleet.rs`).

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use super::backend::{Answer, Operation, Query, expect_answer};
use performer_core::enumeration;
use performer_core::model::clock::Clock as _;
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, JobKey, SessionKey};
use performer_core::model::machine::{
    ListedSession, Machine, MachineId, MachineSettings, NewSession, Session, SessionBeat, SessionId,
    SessionOrders,
};
use performer_core::model::process::{Process, ProcessId, ProcessSelector, ProcessSettings, StartJobs};
use performer_core::model::queue::folded;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, ProcessAdministration, Result};

enumeration! {
    /// What a document is.
    pub(crate) FleetKind {
        /// [`Process`]
        Process = 0,
        /// [`Machine`]
        Machine = 1,
        /// [`Session`]
        Session = 2,
    }
}

/// What is kept as a document.
pub(crate) trait FleetDocument: Serialize + DeserializeOwned {
    const KIND: FleetKind;
    fn id(&self) -> i64;
    /// The number beside the document counts.
    fn set_id(&mut self, id: i64);
    /// The name, of which there is one in a [folder](Self::folder).
    fn name(&self) -> &str;
    fn folder(&self) -> Option<FolderId>;

    fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| OrchestratorError::invalid(error.to_string()))
    }

    fn of_text(id: i64, text: &str) -> Result<Self> {
        let mut document: Self = serde_json::from_str(text).map_err(|error| {
            let message = format!("document {id} of {} cannot be read", Self::KIND);
            OrchestratorError::new(ErrorKind::Other, message).with_source(error)
        })?;
        document.set_id(id);
        Ok(document)
    }
}

macro_rules! fleet_document {
    ($type:ident, $id:ident, $name:expr, $folder:expr) => {
        impl FleetDocument for $type {
            const KIND: FleetKind = FleetKind::$type;
            fn id(&self) -> i64 {
                self.id.0
            }
            fn set_id(&mut self, id: i64) {
                self.id = $id(id);
            }
            fn name(&self) -> &str {
                let name: fn(&Self) -> &str = $name;
                name(self)
            }
            fn folder(&self) -> Option<FolderId> {
                let folder: fn(&Self) -> Option<FolderId> = $folder;
                folder(self)
            }
        }
    };
}

fleet_document!(Process, ProcessId, |this| &this.settings.name, |this| Some(this.folder));
fleet_document!(Machine, MachineId, |this| &this.settings.name, |_| None);
fleet_document!(Session, SessionId, |this| &this.agent.host, |this| Some(this.folder));

/// A change.
#[derive(Clone, Debug)]
pub(crate) enum FleetOperation {
    /// Creates a process, or replaces the settings of one.
    SaveProcess {
        id: Option<ProcessId>,
        settings: ProcessSettings,
    },
    DeleteProcess(ProcessSelector),
    /// Creates a machine, or replaces the settings of one.
    SaveMachine {
        id: Option<MachineId>,
        settings: MachineSettings,
    },
    DeleteMachines(Vec<MachineId>),
    StartJobs(StartJobs),
    RestartJob(JobKey),
    /// `may_create_machine`: a machine that does not exist is made.
    OpenSession {
        agent: NewSession,
        may_create_machine: bool,
    },
    BeatSession {
        key: SessionKey,
        beat: SessionBeat,
    },
    CloseSession(SessionKey),
    SetMaintenance {
        id: SessionId,
        on: bool,
    },
    DeleteSessions(Vec<SessionId>),
}

impl FleetOperation {
    /// Whether it is a change that people make.
    pub(crate) fn is_audited(&self) -> bool {
        matches!(
            self,
            Self::SaveProcess { .. }
                | Self::DeleteProcess(_)
                | Self::SaveMachine { .. }
                | Self::DeleteMachines(_)
                | Self::StartJobs(_)
                | Self::RestartJob(_)
        )
    }
}

/// A question.
#[derive(Debug)]
pub(crate) enum FleetQuery {
    Documents(FleetKind),
    Sessions(jiff::Timestamp),
}

/// The answer to either.
#[derive(Debug)]
pub(crate) enum FleetAnswer {
    Document(i64, String),
    Documents(Vec<(i64, String)>),
    Sessions(Vec<ListedSession>),
    Jobs(Vec<Job>),
    Orders(SessionOrders),
    Done,
}

impl FleetAnswer {
    pub(crate) fn of(document: &impl FleetDocument) -> Result<Self> {
        Ok(Self::Document(document.id(), document.to_text()?))
    }
}

impl From<FleetAnswer> for Answer {
    fn from(answer: FleetAnswer) -> Self {
        Self::Fleet(answer)
    }
}

/// What a back end does about it, inside the one transaction that is open.
pub(crate) trait FleetRows {
    /// Other changes of documents, and of jobs that are Pending, wait until the transaction ends.
    fn lock_fleet(&mut self) -> Result<()>;
    fn insert_fleet(&mut self, kind: FleetKind, document: &str) -> Result<i64>;
    fn write_fleet(&mut self, id: i64, document: &str) -> Result<()>;
    fn delete_fleet(&mut self, id: i64) -> Result<()>;
    /// All of one kind, by number.
    fn fleet(&mut self, kind: FleetKind) -> Result<Vec<(i64, String)>>;
    /// One, which nobody else changes until the transaction ends.
    fn fleet_one(&mut self, kind: FleetKind, id: i64) -> Result<Option<String>>;
    /// The jobs of a folder, or of all, that wait for a machine, the oldest first; nobody else changes them until the transaction ends.
    fn pending_jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>>;
}

/// Every document of a kind that can be read.
pub(crate) fn documents<T: FleetDocument>(rows: &mut (impl FleetRows + ?Sized)) -> Result<Vec<T>> {
    let all = rows.fleet(T::KIND)?;
    Ok(all.into_iter().filter_map(|(id, text)| T::of_text(id, &text).ok()).collect())
}

/// Each question has one kind of answer; another one is a bug of this crate.
fn unexpected<T>(answer: &FleetAnswer) -> Result<T> {
    let message = format!("the store answered {answer:?} to a question about processes and machines");
    Err(OrchestratorError::new(ErrorKind::Other, message))
}

fn one<T: FleetDocument>(answer: FleetAnswer) -> Result<T> {
    match answer {
        FleetAnswer::Document(id, text) => T::of_text(id, &text),
        other => unexpected(&other),
    }
}

fn jobs(answer: FleetAnswer) -> Result<Vec<Job>> {
    match answer {
        FleetAnswer::Jobs(jobs) => Ok(jobs),
        other => unexpected(&other),
    }
}

fn no_machine(which: impl std::fmt::Display) -> OrchestratorError {
    OrchestratorError::not_found(format!("machine {which} does not exist"))
}

impl Store {
    async fn all_of<T: FleetDocument>(&self) -> Result<Vec<T>> {
        let query = Query::Fleet(FleetQuery::Documents(T::KIND));
        match expect_answer!(self.read(query).await, Fleet)? {
            FleetAnswer::Documents(all) => {
                Ok(all.into_iter().filter_map(|(id, text)| T::of_text(id, &text).ok()).collect())
            }
            other => unexpected(&other),
        }
    }

    async fn change_fleet(&self, operation: FleetOperation) -> Result<FleetAnswer> {
        expect_answer!(self.one(Operation::Fleet(Box::new(operation))).await, Fleet)
    }

    /// The processes of folders, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn processes_in_folders(&self, folders: Arc<[FolderId]>) -> Result<Vec<Process>> {
        let mut all: Vec<Process> = self.all_of().await?;
        all.retain(|process| folders.contains(&process.folder));
        all.sort_by_cached_key(|process| (folded(&process.settings.name), process.id));
        Ok(all)
    }

    /// A process of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1674.
    pub async fn process(&self, which: ProcessSelector) -> Result<Process> {
        let mut all = self.all_of::<Process>().await?.into_iter();
        all.find(|process| process.folder == self.scope.folder && is_meant(process, &which))
            .ok_or_else(|| no_process(&which))
    }

    /// Creates a process in the folder, or replaces the settings of one of its processes.
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 for settings that are not allowed; Conflict with code 1001 if the name is used; NotFound with code 1674.
    pub async fn save_process(&self, id: Option<ProcessId>, settings: ProcessSettings) -> Result<Process> {
        settings.validate()?;
        one(self.change_fleet(FleetOperation::SaveProcess { id, settings }).await?)
    }

    /// Deletes a process of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1674; Conflict with code 1666 if jobs of it have not ended.
    pub async fn remove_process(&self, which: ProcessSelector) -> Result<()> {
        self.change_fleet(FleetOperation::DeleteProcess(which)).await.map(drop)
    }

    /// Starts jobs of a process of the folder: they are Pending until an agent takes them.
    ///
    /// # Errors
    ///
    /// NotFound with code 1674; Invalid; Conflict with code 1670 if too many jobs wait.
    pub async fn start_process_jobs(&self, start: StartJobs) -> Result<Vec<Job>> {
        start.validate()?;
        jobs(self.change_fleet(FleetOperation::StartJobs(start)).await?)
    }

    /// Starts a job as another one was started, with what its process is now.
    ///
    /// # Errors
    ///
    /// NotFound, with code 1661 if its process is gone; Conflict with code 1300 if it has not ended, or is no job of a process.
    pub async fn restart_process_job(&self, job: JobKey) -> Result<Job> {
        let mut started = jobs(self.change_fleet(FleetOperation::RestartJob(job)).await?)?;
        started.pop().ok_or_else(|| OrchestratorError::new(ErrorKind::Other, "no job was started"))
    }

    /// All machines, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn machines(&self) -> Result<Vec<Machine>> {
        let mut all: Vec<Machine> = self.all_of().await?;
        all.sort_by_cached_key(|machine| (folded(&machine.settings.name), machine.id));
        Ok(all)
    }

    /// A machine.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn machine(&self, id: MachineId) -> Result<Machine> {
        let mut all = self.all_of::<Machine>().await?.into_iter();
        all.find(|machine| machine.id == id).ok_or_else(|| no_machine(id))
    }

    /// The machine with a name, ignoring case.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn machine_named(&self, name: &str) -> Result<Machine> {
        let mut all = self.all_of::<Machine>().await?.into_iter();
        all.find(|machine| folded(&machine.settings.name) == folded(name))
            .ok_or_else(|| no_machine(format_args!("{name:?}")))
    }

    /// Creates a machine, or replaces the settings of one.
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 or 1204; Conflict with code 1001 if the name is used; NotFound.
    pub async fn save_machine(&self, id: Option<MachineId>, settings: MachineSettings) -> Result<Machine> {
        settings.validate()?;
        one(self.change_fleet(FleetOperation::SaveMachine { id, settings }).await?)
    }

    /// Deletes machines: all of them or none.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1206 if an agent of one is connected.
    pub async fn delete_machines(&self, ids: Vec<MachineId>) -> Result<()> {
        self.change_fleet(FleetOperation::DeleteMachines(ids)).await.map(drop)
    }

    /// All sessions of agents, by number.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn sessions(&self) -> Result<Vec<ListedSession>> {
        let query = Query::Fleet(FleetQuery::Sessions(self.clock.now()));
        match expect_answer!(self.read(query).await, Fleet)? {
            FleetAnswer::Sessions(sessions) => Ok(sessions),
            other => unexpected(&other),
        }
    }

    /// Opens the session of an agent. `may_create_machine`: a machine that does not exist is made.
    ///
    /// # Errors
    ///
    /// Invalid; NotFound for the machine; Conflict with code 1302 for too many sessions.
    pub async fn open_agent_session(&self, agent: NewSession, may_create_machine: bool) -> Result<Session> {
        agent.validate()?;
        one(self.change_fleet(FleetOperation::OpenSession { agent, may_create_machine }).await?)
    }

    /// A beat of an agent: moves the leases of its session and its jobs, and gives it jobs that are Pending in the folder.
    ///
    /// # Errors
    ///
    /// NotFound for a session that does not exist or belongs to another user; ClaimLost for one that was closed.
    pub async fn beat_agent_session(&self, key: SessionKey, beat: SessionBeat) -> Result<SessionOrders> {
        beat.validate()?;
        match self.change_fleet(FleetOperation::BeatSession { key, beat }).await? {
            FleetAnswer::Orders(orders) => Ok(orders),
            other => unexpected(&other),
        }
    }

    /// Ends the session of an agent. Its jobs are left to their leases.
    ///
    /// # Errors
    ///
    /// NotFound for a session that does not exist or belongs to another user.
    pub async fn close_agent_session(&self, key: SessionKey) -> Result<()> {
        self.change_fleet(FleetOperation::CloseSession(key)).await.map(drop)
    }

    /// Says whether an agent is given no more jobs.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn set_session_maintenance(&self, id: SessionId, on: bool) -> Result<()> {
        self.change_fleet(FleetOperation::SetMaintenance { id, on }).await.map(drop)
    }

    /// Removes sessions whose agents are not connected; others stay.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn delete_inactive_sessions(&self, ids: Vec<SessionId>) -> Result<()> {
        self.change_fleet(FleetOperation::DeleteSessions(ids)).await.map(drop)
    }
}

pub(crate) fn is_meant(process: &Process, which: &ProcessSelector) -> bool {
    match which {
        ProcessSelector::Id(id) => process.id == *id,
        ProcessSelector::Key(key) => process.key == *key,
        ProcessSelector::Name(name) => folded(&process.settings.name) == folded(name),
    }
}

/// The refusal for a process that is not there.
pub(crate) fn no_process(which: &ProcessSelector) -> OrchestratorError {
    let which = match which {
        ProcessSelector::Id(id) => id.to_string(),
        ProcessSelector::Key(key) => key.to_string(),
        ProcessSelector::Name(name) => format!("{name:?}"),
    };
    let code = performer_core::model::code::ErrorCode::INVALID_RELEASE_KEY;
    performer_core::model::Refusal::new(code, format!("process {which} does not exist")).into()
}

fn named(name: &str) -> ProcessSelector {
    ProcessSelector::Name(name.to_owned())
}

#[async_trait]
impl ProcessAdministration for Store {
    async fn list_processes(&self) -> Result<Vec<Process>> {
        self.processes_in_folders([self.scope.folder].into()).await
    }

    async fn get_process(&self, name: &str) -> Result<Process> {
        self.process(named(name)).await
    }

    async fn create_process(&self, settings: ProcessSettings) -> Result<Process> {
        self.save_process(None, settings).await
    }

    async fn update_process(&self, name: &str, settings: ProcessSettings) -> Result<Process> {
        let id = self.process(named(name)).await?.id;
        self.save_process(Some(id), settings).await
    }

    async fn delete_process(&self, name: &str) -> Result<()> {
        self.remove_process(named(name)).await
    }

    async fn start_jobs(&self, start: StartJobs) -> Result<Vec<Job>> {
        self.start_process_jobs(start).await
    }

    async fn restart_job(&self, job: JobKey) -> Result<Job> {
        self.restart_process_job(job).await
    }

    async fn list_machines(&self) -> Result<Vec<Machine>> {
        self.machines().await
    }

    async fn create_machine(&self, settings: MachineSettings) -> Result<Machine> {
        self.save_machine(None, settings).await
    }

    async fn delete_machine(&self, name: &str) -> Result<()> {
        let id = self.machine_named(name).await?.id;
        self.delete_machines(vec![id]).await
    }

    async fn list_sessions(&self) -> Result<Vec<ListedSession>> {
        self.sessions().await
    }

    async fn open_session(&self, agent: NewSession) -> Result<Session> {
        self.open_agent_session(agent, true).await
    }

    async fn beat_session(&self, key: SessionKey, beat: SessionBeat) -> Result<SessionOrders> {
        self.beat_agent_session(key, beat).await
    }

    async fn close_session(&self, key: SessionKey) -> Result<()> {
        self.close_agent_session(key).await
    }
}
