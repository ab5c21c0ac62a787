//! Machines and the sessions of their agents (orchestrator-api 19), and the protocol of agents, which is ours.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ApiTime, Unreadable};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::{Job, JobState, NewJob};
use performer_core::model::key::{FolderId, JobKey, MachineKey, SessionKey};
use performer_core::model::machine::{
    ListedSession, Machine, MachineId, MachineSettings, NewSession, Session, SessionBeat, SessionOrders,
    SessionState,
};
use performer_core::model::process::JobRun;

/// A machine as a body has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performer_creation_time: Option<ApiTime>,
}

impl MachineDto {
    /// The body that makes these settings.
    pub fn of(settings: &MachineSettings) -> Self {
        let (name, description) = (Some(settings.name.clone()), settings.description.clone());
        Self { name, description, ..Self::default() }
    }

    /// The settings of a new machine.
    ///
    /// # Errors
    ///
    /// Code 1204 without a name.
    pub fn settings(&self) -> Result<MachineSettings, Refusal> {
        let Some(name) = &self.name else {
            return Err(Refusal::new(ErrorCode::MACHINE_NAME_REQUIRED, "Name is required"));
        };
        Ok(self.changed(MachineSettings::new(name)))
    }

    /// The settings of a machine with the members that this body has.
    pub fn changed(&self, mut settings: MachineSettings) -> MachineSettings {
        if let Some(name) = &self.name {
            settings.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            settings.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        settings
    }

    /// The machine in an answer.
    ///
    /// # Errors
    ///
    /// If it lacks its number, key or name.
    pub fn into_machine(self) -> Result<Machine, Unreadable> {
        let lacks = |what: &str| Unreadable(format!("a machine has no {what}"));
        let settings = self.settings().map_err(|refusal| Unreadable(refusal.to_string()))?;
        let key = MachineKey::from_bytes(self.key.ok_or_else(|| lacks("Key"))?.into_bytes());
        let created = self.performer_creation_time.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
        let mut machine = Machine::new(key, settings, created);
        machine.id = MachineId(self.id.ok_or_else(|| lacks("Id"))?);
        Ok(machine)
    }
}

/// A machine as reads show it. It has no key of a licence and no client secret: agents sign in as users do.
pub fn machine_response(machine: &Machine) -> Value {
    json!({
        "LicenseKey": null, "Name": machine.settings.name, "Description": machine.settings.description,
        "Type": "Template", "Scope": "Default", "NonProductionSlots": 0, "UnattendedSlots": 0, "HeadlessSlots": 0,
        "TestAutomationSlots": 0, "HostingSlots": 0, "AppTestSlots": 0, "PerformanceTestSlots": 0, "AutomationCloudSlots": 0,
        "AutomationCloudTestAutomationSlots": 0, "Key": machine.key, "EndpointDetectionStatus": "NotAvailable",
        "RobotVersions": [], "RobotUsers": [], "AutomationType": "Any", "TargetFramework": "Any", "UpdatePolicy": null,
        "ClientSecret": null, "Tags": [], "MaintenanceWindow": null, "VpnSettings": null, "Id": machine.id,
        "PerformerCreationTime": ApiTime(machine.created),
    })
}

fn platform(agent: &NewSession) -> &'static str {
    match agent.platform.as_str() {
        "linux" => "Linux",
        "windows" => "Windows",
        "macos" => "OSX",
        _ => "Unknown",
    }
}

/// A session as reads show it.
pub fn session_response(listed: &ListedSession, folder_name: &str) -> Value {
    let session = &listed.session;
    json!({
        "Robot": null, "HostMachineName": session.agent.host, "MachineId": session.machine, "MachineName": listed.machine_name,
        "State": listed.state.name(), "Job": null, "ReportingTime": ApiTime(session.reported), "Info": null,
        "IsUnresponsive": listed.is_unresponsive, "LicenseErrorCode": null, "OrganizationUnitId": session.folder.0,
        "FolderName": folder_name, "RobotSessionType": "LongLived", "Version": session.agent.version, "Source": null,
        "DebugModeExpirationDate": null, "UpdateInfo": null, "InstallationId": null, "Platform": platform(&session.agent),
        "EndpointDetection": "Unknown", "Id": session.id,
    })
}

/// A session with the jobs that it runs.
pub fn machine_session_runtime_response(listed: &ListedSession) -> Value {
    let session = &listed.session;
    json!({
        "SessionId": session.id, "MachineId": session.machine, "MachineName": listed.machine_name,
        "MaintenanceMode": if session.in_maintenance { "Enabled" } else { "Default" },
        "HostMachineName": session.agent.host, "RuntimeType": "Unattended", "MachineType": "Template", "MachineScope": "Default",
        "Status": listed.state.name(), "IsUnresponsive": listed.is_unresponsive, "Runtimes": session.agent.runtimes,
        "UsedRuntimes": listed.running, "ServiceUserName": null, "ReportingTime": ApiTime(session.reported),
        "Version": session.agent.version, "DebugModeExpirationDate": null, "Platform": platform(&session.agent),
        "EndpointDetection": "Unknown", "TriggersCount": 0,
    })
}

/// How many jobs the agents of a folder can run at the same time.
pub fn machine_runtimes_response(sessions: &[ListedSession]) -> Value {
    let connected = sessions.iter().filter(|listed| listed.state != SessionState::Disconnected);
    let total: u64 = sessions.iter().map(|listed| u64::from(listed.session.agent.runtimes)).sum();
    let (mut there, mut free) = (0, 0);
    for listed in connected {
        let runtimes = u64::from(listed.session.agent.runtimes);
        there += runtimes;
        free += runtimes.saturating_sub(listed.running as u64);
    }
    json!({"Type": "Unattended", "Total": total, "Connected": there, "Available": free})
}

/// The body of DeleteBulk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteMachinesRequest {
    pub machine_ids: Vec<i64>,
}

/// The body of SetMaintenanceMode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceRequest {
    pub session_id: i64,
    pub maintenance_mode: String,
    #[serde(default)]
    pub stop_jobs_strategy: Option<String>,
}

/// The body of DeleteInactiveUnattendedSessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteSessionsRequest {
    pub session_ids: Vec<i64>,
}

// The protocol of agents

/// Opens a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenSessionRequest {
    pub agent: NewSession,
}

/// Names a session.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SessionReference {
    pub session: SessionKey,
}

/// A beat of an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BeatSessionRequest {
    pub session: SessionKey,
    pub beat: SessionBeat,
}

/// A job that an agent has to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenJobDto {
    pub id: i64,
    pub key: JobKey,
    pub folder: i64,
    pub start_time: ApiTime,
    pub run: JobRun,
}

/// What an agent is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrdersResponse {
    pub states: Vec<(JobKey, JobState)>,
    pub taken: Vec<TakenJobDto>,
}

impl From<SessionOrders> for OrdersResponse {
    fn from(orders: SessionOrders) -> Self {
        let taken = orders.taken.into_iter().filter_map(|job| {
            let (id, folder, start_time) = (job.id.0, job.folder.0, ApiTime(job.start_time));
            Some(TakenJobDto { id, key: job.key, folder, start_time, run: *job.run? })
        });
        Self { states: orders.states, taken: taken.collect() }
    }
}

impl From<OrdersResponse> for SessionOrders {
    fn from(dto: OrdersResponse) -> Self {
        let taken = dto.taken.into_iter().map(|dto| {
            let mut job = Job::new(dto.key, NewJob::new("").robots(0), dto.start_time.0);
            job.id.0 = dto.id;
            (job.folder, job.run) = (FolderId(dto.folder), Some(Box::new(dto.run)));
            job
        });
        Self::new(dto.states, taken.collect())
    }
}

/// A session in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSessionDto {
    pub session: Session,
    pub machine_name: String,
    pub running: usize,
    pub state: SessionState,
    pub is_unresponsive: bool,
}

impl From<ListedSession> for ListedSessionDto {
    fn from(listed: ListedSession) -> Self {
        let ListedSession { session, machine_name, running, state, is_unresponsive, .. } = listed;
        Self { session, machine_name, running, state, is_unresponsive }
    }
}

impl From<ListedSessionDto> for ListedSession {
    fn from(dto: ListedSessionDto) -> Self {
        let reported = dto.session.reported;
        let mut listed = Self::new(dto.session, dto.machine_name, dto.running, reported);
        (listed.state, listed.is_unresponsive) = (dto.state, dto.is_unresponsive);
        listed
    }
}
