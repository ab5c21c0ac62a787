//! Processes, which the API calls releases, and the jobs that are started of them (orchestrator-api 15).

use axum::http::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::jobs;
use super::strict;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::JobState;
use performer_core::model::key::{JobKey, ProcessKey};
use performer_core::model::machine::{ListedSession, SessionState};
use performer_core::model::process::{Process, ProcessId, ProcessSelector, StartJobs};
use performer_wire::odata::entity_set;
use performer_wire::process::{
    ReleaseDto, RestartJobRequest, ResumeJobRequest, StartInfoDto, StartJobsRequest, StartStrategy,
    release_response, validation_response,
};
use performer_wire::responses;
use performer_wire::transaction::known_value;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Releases";

/// The most robots, sessions or machines that one call names.
const MAX_TARGETS: usize = 1_000;

fn id(call: &Call) -> Result<ProcessId, ApiError> {
    Ok(ProcessId(call.id()?))
}

fn shown(call: &Call, process: &Process) -> Result<Value, ApiError> {
    let directory = call.directory()?;
    let key = directory.folder(process.folder).map(|folder| folder.key.to_string());
    Ok(release_response(process, &directory.full_name(process.folder), key.as_deref()))
}

/// A process of the folder; 404 with code 1002, as for other entities that are read by their numbers.
async fn by_id(call: &Call) -> Result<Process, ApiError> {
    let id = id(call)?;
    let missing = |_| ApiError::not_found(format!("Release {id} does not exist."));
    call.store()?.process(ProcessSelector::Id(id)).await.map_err(missing)
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let processes = call.store_for_caller().processes_in_folders(call.all_folders()).await?;
    let rows = processes.iter().map(|process| shown(call, process)).collect::<Result<_, _>>()?;
    call.page(&entity_set::RELEASES, rows)
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let process = by_id(call).await?;
    call.entity(ENTITY, shown(call, &process)?)
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let settings = call.body::<ReleaseDto>(&strict::RELEASE)?.settings()?;
    let process = call.store()?.save_process(None, settings).await?;
    call.created(ENTITY, process.id.0, shown(call, &process)?)
}

/// Changes the members that the body has. A body of PUT has all that can be changed; of what a client may not know, the command, nothing
/// is lost.
pub(super) async fn update(call: &Call) -> HandlerResult {
    let body = call.body::<ReleaseDto>(&strict::RELEASE)?;
    let process = by_id(call).await?;
    let settings = body.changed(process.settings)?;
    call.store()?.save_process(Some(process.id), settings).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    let process = by_id(call).await?;
    call.store()?.remove_process(ProcessSelector::Id(process.id)).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn delete_by_key(call: &Call) -> HandlerResult {
    let key: Uuid = call.argument_as("key")?;
    let which = ProcessSelector::Key(ProcessKey::from_bytes(key.into_bytes()));
    call.store()?.remove_process(which).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

// Jobs

/// What is to be started, a value for each place where it has to run.
async fn starts(call: &Call, info: &StartInfoDto) -> Result<Vec<StartJobs>, ApiError> {
    let start = info.start()?;
    if let Some(kind) = &info.runtime_type
        && !entity_set::is_robot_type(kind)
    {
        return Err(ApiError::invalid_argument(format!("Invalid argument 'RuntimeType': {kind:.60}.")));
    }
    let strategy = info.strategy.as_ref().map(|strategy| known_value("Strategy", strategy)).transpose()?;
    let sessions = call.store()?.sessions().await?;
    let folder = call.folder()?;
    let here: Vec<&ListedSession> = sessions
        .iter()
        .filter(|listed| listed.session.folder == folder && listed.state != SessionState::Disconnected)
        .collect();
    let names = match strategy {
        Some(StartStrategy::All) => {
            let names: Vec<String> = here.iter().map(|listed| listed.machine_name.clone()).collect();
            if names.is_empty() {
                let message = "no agent of a machine is connected in this folder";
                return Err(Refusal::new(ErrorCode::NO_ROBOTS_AVAILABLE, message).into());
            }
            names
        }
        Some(StartStrategy::Specific) => of_robots(call, info, &here)?,
        _ => machines(call, info, &here).await?,
    };
    if names.is_empty() {
        return Ok(vec![start]);
    }
    let bound = |name| {
        let mut start = start.clone();
        start.machine = Some(name);
        if matches!(strategy, Some(StartStrategy::All | StartStrategy::Specific)) {
            start.count = 1;
        }
        start
    };
    Ok(names.into_iter().map(bound).collect())
}

/// The machines on which the agents of robots are signed in.
fn of_robots(call: &Call, info: &StartInfoDto, here: &[&ListedSession]) -> Result<Vec<String>, ApiError> {
    let ids = info.robot_ids.as_deref().unwrap_or_default();
    Call::check_length("RobotIds", ids.len(), MAX_TARGETS)?;
    let directory = call.directory()?;
    let machine = |id: &i64| {
        let user = directory.robot(*id).map(|robot| robot.user)?;
        let found = here.iter().find(|listed| listed.session.user == Some(user))?;
        Some(found.machine_name.clone())
    };
    let names: Option<Vec<String>> = ids.iter().map(machine).collect();
    names.filter(|names| !names.is_empty()).ok_or_else(|| {
        let message = "the specified robot(s) id(s) are invalid";
        Refusal::new(ErrorCode::INVALID_START_JOB_ROBOT_IDS, message).into()
    })
}

/// The machines that are named.
async fn machines(
    call: &Call,
    info: &StartInfoDto,
    here: &[&ListedSession],
) -> Result<Vec<String>, ApiError> {
    let sessions = info.machine_session_ids.as_deref().unwrap_or_default();
    let targets = info.machine_robots.as_deref().unwrap_or_default();
    Call::check_length("MachineSessionIds and MachineRobots", sessions.len() + targets.len(), MAX_TARGETS)?;
    let mut names = Vec::with_capacity(sessions.len() + targets.len());
    for id in sessions {
        let found = here.iter().find(|listed| listed.session.id.0 == *id);
        let missing = || ApiError::not_found(format!("Session {id} does not exist."));
        names.push(found.ok_or_else(missing)?.machine_name.clone());
    }
    if !targets.is_empty() {
        let known = call.store()?.machines().await?;
        for target in targets {
            // A target may name a user alone: then any machine is meant.
            let found = match (target.machine_id.filter(|id| *id != 0), &target.machine_name) {
                (Some(id), _) => known.iter().find(|machine| machine.id.0 == id),
                (None, Some(name)) => known.iter().find(|machine| machine.settings.name == *name),
                (None, None) => continue,
            };
            let missing = || ApiError::not_found("The machine does not exist.");
            names.push(found.ok_or_else(missing)?.settings.name.clone());
        }
    }
    Ok(names)
}

pub(super) async fn start(call: &Call) -> HandlerResult {
    let body = call.body::<StartJobsRequest>(&strict::START_JOBS)?;
    let store = call.store()?;
    let mut started = Vec::new();
    for start in starts(call, &body.start_info).await? {
        started.extend(store.start_process_jobs(start).await?);
    }
    let rows: Vec<Value> =
        started.iter().map(|job| jobs::entity_alone(call, job, true)).collect::<Result<_, _>>()?;
    let ids: Vec<String> = started.iter().map(|job| job.id.to_string()).collect();
    let body = responses::CollectionResponse { context: call.context("Jobs"), count: None, value: rows };
    let mut response = ApiResponse::json(StatusCode::CREATED, &body)?;
    response.location = Some(format!("{}/odata/Jobs?$filter=Id%20in%20({})", call.base, ids.join(",")));
    Ok(response)
}

/// Whether jobs could be started. Nothing is.
pub(super) async fn validate(call: &Call) -> HandlerResult {
    let body = call.body::<StartJobsRequest>(&strict::START_JOBS)?;
    let refusal = match starts(call, &body.start_info).await {
        Ok(starts) => match call.store()?.process(starts[0].process.clone()).await {
            Ok(_) => None,
            Err(error) => Some(ApiError::from(error)),
        },
        Err(refusal) => Some(refusal),
    };
    validation(call, refusal)
}

/// Whether the process of a job is still there, so that it could be started again.
pub(super) async fn validate_job(call: &Call) -> HandlerResult {
    let job = jobs::by_id(call).await?;
    let refusal = match &job.run {
        Some(run) => {
            let process = call.store()?.process(ProcessSelector::Id(run.process)).await;
            process.err().map(ApiError::from)
        }
        None => None,
    };
    validation(call, refusal)
}

fn validation(call: &Call, refusal: Option<ApiError>) -> HandlerResult {
    // What is no refusal, as of a store that cannot be reached, is no answer to the question.
    let refusal = match refusal {
        Some(failure) if !failure.status.is_client_error() => return Err(failure),
        Some(failure) => Some((ErrorCode::new(failure.code).name(), failure.message)),
        None => None,
    };
    let context = call.context("UiPath.Server.Configuration.OData.ValidationResultDto");
    ApiResponse::ok(&responses::with_context(
        &context,
        &validation_response(refusal.as_ref().map(|(code, text)| (*code, text.as_str()))),
    ))
}

pub(super) async fn restart(call: &Call) -> HandlerResult {
    let body: RestartJobRequest = call.body(&strict::RESTART_JOB)?;
    let job = jobs::with_id(call, body.job_id).await?;
    let started = call.store()?.restart_process_job(job.key).await?;
    call.entity("Jobs", jobs::entity_alone(call, &started, true)?)
}

/// No job here can be suspended, so none is resumed.
pub(super) async fn resume(call: &Call) -> HandlerResult {
    let body: ResumeJobRequest = call.body(&strict::RESUME_JOB)?;
    let key: JobKey =
        body.job_key.parse().map_err(|_| ApiError::invalid_argument("Invalid argument 'jobKey'."))?;
    let job = call.store()?.job(key).await?;
    debug_assert!(job.state != JobState::Suspended, "nothing suspends a job");
    let message =
        format!("cannot resume a job with status {}. This can only be applied to Suspended jobs", job.state);
    Err(Refusal::new(ErrorCode::SERVER_CONFLICT, message).into())
}
