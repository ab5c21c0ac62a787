//! Machines, the sessions of agents (orchestrator-api 19), and the protocol of agents, which is ours (`wire/machine.rs`).

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::strict;
use crate::permission::{Action, Area, Permission};
use performer_core::model::job::{MAX_JOBS_LISTED, StopStrategy};
use performer_core::model::key::FolderId;
use performer_core::model::machine::{ListedSession, Machine, MachineId, SessionId};
use performer_core::orchestrator::FleetAdministration as _;
use performer_wire::machine::{
    BeatSessionRequest, DeleteMachinesRequest, DeleteSessionsRequest, ListedSessionDto, MachineDto,
    MaintenanceRequest, OpenSessionRequest, OrdersResponse, SessionReference, machine_response,
    machine_runtimes_response, machine_session_runtime_response, session_response,
};
use performer_wire::odata::entity_set;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Machines";

/// The most machines or sessions that one call deletes.
const MAX_DELETED: usize = 1_000;

fn id(call: &Call) -> Result<MachineId, ApiError> {
    Ok(MachineId(call.id()?))
}

async fn by_id(call: &Call) -> Result<Machine, ApiError> {
    Ok(call.store_for_caller().machine(id(call)?).await?)
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let machines = call.store_for_caller().machines().await?;
    call.page(&entity_set::MACHINES, machines.iter().map(machine_response).collect())
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    call.entity(ENTITY, machine_response(&by_id(call).await?))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let settings = call.body::<MachineDto>(&strict::MACHINE)?.settings()?;
    let machine = call.store_for_caller().save_machine(None, settings).await?;
    call.created(ENTITY, machine.id.0, machine_response(&machine))
}

pub(super) async fn update(call: &Call) -> HandlerResult {
    let body = call.body::<MachineDto>(&strict::MACHINE)?;
    let machine = by_id(call).await?;
    let settings = body.changed(machine.settings);
    call.store_for_caller().save_machine(Some(machine.id), settings).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    call.store_for_caller().delete_machines(vec![id(call)?]).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn delete_several(call: &Call) -> HandlerResult {
    let body: DeleteMachinesRequest = call.body(&strict::DELETE_MACHINES)?;
    Call::check_length("machineIds", body.machine_ids.len(), MAX_DELETED)?;
    let ids: BTreeSet<MachineId> = body.machine_ids.into_iter().map(MachineId).collect();
    call.store_for_caller().delete_machines(ids.into_iter().collect()).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// The folder that an argument names, for callers who see machines or may start jobs there.
fn folder_of_argument(call: &Call) -> Result<FolderId, ApiError> {
    let folder = FolderId(call.argument_as("folderId")?);
    if call.directory()?.folder(folder).is_none() {
        return Err(ApiError::no_such_folder());
    }
    let sees_machines = call.caller()?.may(None, Permission(Area::Machines, Action::View));
    if !sees_machines {
        call.require(Some(folder), Permission(Area::Jobs, Action::Create))?;
    }
    Ok(folder)
}

async fn sessions_in(call: &Call, folders: &[FolderId]) -> Result<Vec<ListedSession>, ApiError> {
    let mut sessions = call.store_for_caller().sessions().await?;
    sessions.retain(|listed| folders.contains(&listed.session.folder));
    Ok(sessions)
}

/// Every machine may run the jobs of every folder.
pub(super) async fn assigned(call: &Call) -> HandlerResult {
    folder_of_argument(call)?;
    list(call).await
}

pub(super) async fn runtimes_for_folder(call: &Call) -> HandlerResult {
    let sessions = sessions_in(call, &[folder_of_argument(call)?]).await?;
    call.page(&entity_set::MACHINE_RUNTIMES, vec![machine_runtimes_response(&sessions)])
}

fn session_rows(call: &Call, sessions: &[ListedSession]) -> Result<Vec<Value>, ApiError> {
    let directory = call.directory()?;
    let row = |listed: &ListedSession| session_response(listed, &directory.full_name(listed.session.folder));
    Ok(sessions.iter().map(row).collect())
}

pub(super) async fn sessions(call: &Call) -> HandlerResult {
    let sessions = sessions_in(call, &call.all_folders()).await?;
    call.page(&entity_set::SESSIONS, session_rows(call, &sessions)?)
}

pub(super) async fn global_sessions(call: &Call) -> HandlerResult {
    let sessions = call.store_for_caller().sessions().await?;
    call.page(&entity_set::SESSIONS, session_rows(call, &sessions)?)
}

pub(super) async fn sessions_of_machine(call: &Call) -> HandlerResult {
    let machine = MachineId(call.argument_as("key")?);
    call.store_for_caller().machine(machine).await?;
    let mut sessions = call.store_for_caller().sessions().await?;
    sessions.retain(|listed| listed.session.machine == machine);
    let mut rows = session_rows(call, &sessions)?;
    rows.iter_mut().for_each(|row| row["ServiceUserName"] = Value::Null);
    call.page(&entity_set::MACHINE_SESSIONS, rows)
}

pub(super) async fn session_runtimes(call: &Call) -> HandlerResult {
    let sessions = call.store_for_caller().sessions().await?;
    let rows = sessions.iter().map(machine_session_runtime_response).collect();
    call.page(&entity_set::MACHINE_SESSION_RUNTIMES, rows)
}

pub(super) async fn session_runtimes_of_folder(call: &Call) -> HandlerResult {
    let sessions = sessions_in(call, &[folder_of_argument(call)?]).await?;
    let rows = sessions.iter().map(machine_session_runtime_response).collect();
    call.page(&entity_set::MACHINE_SESSION_RUNTIMES, rows)
}

pub(super) async fn set_maintenance(call: &Call) -> HandlerResult {
    let body: MaintenanceRequest = call.body(&strict::MAINTENANCE)?;
    let on = match body.maintenance_mode.to_ascii_lowercase().as_str() {
        "enabled" => true,
        "default" => false,
        _ => return Err(ApiError::invalid_argument("Invalid argument 'maintenanceMode'.")),
    };
    let strategy: Option<StopStrategy> = body
        .stop_jobs_strategy
        .filter(|strategy| !strategy.is_empty())
        .map(|strategy| strategy.parse())
        .transpose()
        .map_err(|_| ApiError::invalid_argument("Invalid argument 'stopJobsStrategy'."))?;
    let id = SessionId(body.session_id);
    let store = call.store_for_caller();
    store.set_session_maintenance(id, on).await?;
    let found = store.sessions().await?.into_iter().find(|listed| listed.session.id == id);
    if let (true, Some(strategy), Some(found)) = (on, strategy, found) {
        let store = call.store_in(found.session.folder);
        for job in store.list_jobs(MAX_JOBS_LISTED).await? {
            let is_its = job.run.as_ref().is_some_and(|run| run.session == Some(id));
            if is_its && job.clone().request_stop(strategy, call.server.now()).is_ok() {
                store.stop_job(job.key, strategy).await?;
            }
        }
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn delete_inactive(call: &Call) -> HandlerResult {
    let body: DeleteSessionsRequest = call.body(&strict::DELETE_SESSIONS)?;
    Call::check_length("sessionIds", body.session_ids.len(), MAX_DELETED)?;
    let ids: BTreeSet<SessionId> = body.session_ids.into_iter().map(SessionId).collect();
    call.store_for_caller().delete_inactive_sessions(ids.into_iter().collect()).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

// The protocol of agents

/// A machine that does not exist is made for a caller who may make one.
pub(super) async fn open_session(call: &Call) -> HandlerResult {
    let body: OpenSessionRequest = call.own_body()?;
    let may_create = call.caller()?.may(None, Permission(Area::Machines, Action::Create));
    ApiResponse::ok(&call.store()?.open_agent_session(body.agent, may_create).await?)
}

pub(super) async fn beat_session(call: &Call) -> HandlerResult {
    let body: BeatSessionRequest = call.own_body()?;
    let orders = call.store()?.beat_agent_session(body.session, body.beat).await?;
    ApiResponse::ok(&OrdersResponse::from(orders))
}

pub(super) async fn close_session(call: &Call) -> HandlerResult {
    let body: SessionReference = call.own_body()?;
    call.store()?.close_agent_session(body.session).await?;
    ApiResponse::ok(&json!({}))
}

/// The sessions of the folder. Their keys are known to their own users alone.
pub(super) async fn listed_sessions(call: &Call) -> HandlerResult {
    let performer_wire::lease_protocol::EmptyRequest {} = call.own_body_or_default()?;
    let sessions = sessions_in(call, &[call.folder()?]).await?;
    ApiResponse::ok(&sessions.into_iter().map(ListedSessionDto::from).collect::<Vec<_>>())
}
