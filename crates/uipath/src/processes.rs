//! Processes and machines (orchestrator-api 15 and 19): by the API of the Orchestrator, where it is one of performer's own servers with
//! the sessions of agents.

use async_trait::async_trait;
use performer_wire::machine::{
    BeatSessionRequest, ListedSessionDto, MachineDto, OpenSessionRequest, OrdersResponse, SessionReference,
};
use performer_wire::process::{ReleaseDto, RestartJobRequest, StartInfoDto, StartJobsRequest};
use serde::Serialize;

use super::administration::unsupported;
use super::call::Call;
use super::{Inner, Uipath};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::Job;
use performer_core::model::key::{JobKey, SessionKey};
use performer_core::model::machine::{
    ListedSession, Machine, MachineSettings, NewSession, Session, SessionBeat, SessionOrders,
};
use performer_core::model::process::{Process, ProcessSelector, ProcessSettings, StartJobs};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, ProcessAdministration, Result};
use performer_wire::Collection;
use performer_wire::filter::quoted;
use performer_wire::job::JobDto;

const RELEASES: &str = "/odata/Releases";
const MACHINES: &str = "/odata/Machines";
const JOBS: &str = "/odata/Jobs/UiPath.Server.Configuration.OData";

/// The maximum number of pages of a list.
const MAX_PAGES: usize = 100;

const NO_AGENTS: &str = "the agents of a UiPath Orchestrator are its own robots";
const NO_COMMANDS: &str =
    "a process of a UiPath Orchestrator is made of a package, which is no command line: make it there";

fn own(operation: &'static str, body: &impl Serialize) -> Call {
    Call::post(operation, format!("/api/Performer/{operation}"), body)
}

fn unreadable(what: impl std::fmt::Display) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Other, format!("the Orchestrator's answer cannot be read: {what}"))
}

fn job_of(dto: JobDto) -> Result<Job> {
    let id = dto.id;
    dto.into_job().ok_or_else(|| unreadable(format_args!("job {id} has no key, state or time")))
}

impl Inner {
    fn require_agents(&self, why: &str) -> Result<()> {
        if self.supports_leases() { Ok(()) } else { unsupported(why) }
    }

    async fn process(&self, name: &str) -> Result<Process> {
        let filter = format!("Name eq {}", quoted(name));
        let call = Call::get("GetReleases", RELEASES).query("$filter", filter).query("$top", "1");
        let found: Collection<ReleaseDto> = self.http.json(call).await?;
        let found = found.value.into_iter().next().ok_or_else(|| {
            OrchestratorError::from(Refusal::new(
                ErrorCode::INVALID_RELEASE_KEY,
                format!("process {name:?} does not exist"),
            ))
        })?;
        found.into_process().map_err(unreadable)
    }

    async fn machine(&self, name: &str) -> Result<Machine> {
        let filter = format!("Name eq {}", quoted(name));
        let call = Call::get("GetMachines", MACHINES).query("$filter", filter).query("$top", "1");
        let found: Collection<MachineDto> = self.http.json(call).await?;
        let missing = || OrchestratorError::not_found(format!("machine {name:?} does not exist"));
        found.value.into_iter().next().ok_or_else(missing)?.into_machine().map_err(unreadable)
    }
}

#[async_trait]
impl ProcessAdministration for Uipath {
    async fn list_processes(&self) -> Result<Vec<Process>> {
        let call = Call::get("GetReleases", RELEASES).query("$orderby", "Name");
        let rows: Vec<ReleaseDto> = self.inner.http.rows(call, MAX_PAGES).await?;
        rows.into_iter().map(|row| row.into_process().map_err(unreadable)).collect()
    }

    async fn get_process(&self, name: &str) -> Result<Process> {
        self.inner.process(name).await
    }

    async fn create_process(&self, settings: ProcessSettings) -> Result<Process> {
        self.inner.require_agents(NO_COMMANDS)?;
        settings.validate()?;
        let made: ReleaseDto =
            self.inner.http.json(Call::post("PostRelease", RELEASES, &ReleaseDto::of(&settings))).await?;
        made.into_process().map_err(unreadable)
    }

    async fn update_process(&self, name: &str, settings: ProcessSettings) -> Result<Process> {
        self.inner.require_agents(NO_COMMANDS)?;
        settings.validate()?;
        let id = self.inner.process(name).await?.id;
        let path = format!("{RELEASES}({id})");
        self.inner.http.done(Call::put("PutRelease", path, &ReleaseDto::of(&settings)).repeatable()).await?;
        self.inner.process(&settings.name).await
    }

    async fn delete_process(&self, name: &str) -> Result<()> {
        let id = self.inner.process(name).await?.id;
        Ok(self.inner.http.done(Call::delete("DeleteRelease", format!("{RELEASES}({id})"))).await?)
    }

    /// A second call would start more jobs: a call whose answer is lost is not repeated.
    async fn start_jobs(&self, mut start: StartJobs) -> Result<Vec<Job>> {
        start.validate()?;
        if let ProcessSelector::Name(name) = &start.process {
            start.process = ProcessSelector::Key(self.inner.process(name).await?.key);
        }
        let body = StartJobsRequest { start_info: StartInfoDto::of(&start) };
        let call = Call::post("StartJobs", format!("{JOBS}.StartJobs"), &body);
        let started: Collection<JobDto> = self.inner.http.json(call).await?;
        started.value.into_iter().map(job_of).collect()
    }

    async fn restart_job(&self, job: JobKey) -> Result<Job> {
        let call =
            Call::get("GetJobs", "/odata/Jobs").query("$filter", format!("Key eq {job}")).query("$top", "1");
        let page: Collection<JobDto> = self.inner.http.json(call).await?;
        let found = page
            .value
            .first()
            .ok_or_else(|| OrchestratorError::not_found(format!("job {job} does not exist")))?;
        let body = RestartJobRequest { job_id: found.id };
        job_of(self.inner.http.json(Call::post("RestartJob", format!("{JOBS}.RestartJob"), &body)).await?)
    }

    async fn list_machines(&self) -> Result<Vec<Machine>> {
        let call = Call::get("GetMachines", MACHINES).query("$orderby", "Name");
        let rows: Vec<MachineDto> = self.inner.http.rows(call, MAX_PAGES).await?;
        rows.into_iter().map(|row| row.into_machine().map_err(unreadable)).collect()
    }

    async fn create_machine(&self, settings: MachineSettings) -> Result<Machine> {
        settings.validate()?;
        let call = Call::post("PostMachine", MACHINES, &MachineDto::of(&settings));
        let made: MachineDto = self.inner.http.json(call).await?;
        made.into_machine().map_err(unreadable)
    }

    async fn delete_machine(&self, name: &str) -> Result<()> {
        let id = self.inner.machine(name).await?.id;
        Ok(self.inner.http.done(Call::delete("DeleteMachine", format!("{MACHINES}({id})"))).await?)
    }

    async fn list_sessions(&self) -> Result<Vec<ListedSession>> {
        self.inner.require_agents(NO_AGENTS)?;
        let call = own("Sessions", &serde_json::json!({})).repeatable();
        let rows: Vec<ListedSessionDto> = self.inner.http.json(call).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    async fn open_session(&self, agent: NewSession) -> Result<Session> {
        self.inner.require_agents(NO_AGENTS)?;
        agent.validate()?;
        Ok(self.inner.http.json(own("OpenSession", &OpenSessionRequest { agent })).await?)
    }

    /// A call whose answer is lost may have given the agent jobs: the next one gives it those that it does not name.
    async fn beat_session(&self, key: SessionKey, beat: SessionBeat) -> Result<SessionOrders> {
        self.inner.require_agents(NO_AGENTS)?;
        beat.validate()?;
        let orders: OrdersResponse =
            self.inner.http.json(own("BeatSession", &BeatSessionRequest { session: key, beat })).await?;
        Ok(orders.into())
    }

    async fn close_session(&self, key: SessionKey) -> Result<()> {
        self.inner.require_agents(NO_AGENTS)?;
        let call = own("CloseSession", &SessionReference { session: key }).repeatable();
        Ok(self.inner.http.done(call).await?)
    }
}
