//! Jobs: the runs of performers and of processes (orchestrator-api 15). The former start by the lease protocol, the latter in
//! `processes.rs`; here people see and stop them.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, MAX_ROWS};
use super::strict;
use performer_core::model::job::{Job, JobOwner, StopStrategy};
use performer_core::model::key::{FolderId, JobId, JobKey};
use performer_core::orchestrator::FleetAdministration as _;
use performer_store::JobFilter;
use performer_wire::job::{StopJobRequest, StopJobsRequest};
use performer_wire::odata::{Expression, Literal, Paging, entity_set};
use performer_wire::responses::{self, JobView};
use performer_wire::transaction::known_value;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Jobs";
const EXPANDABLE: [&str; 3] = ["Robot", "Release", "Machine"];

/// How many jobs are read from the store at once.
const AT_ONCE: usize = 1_000;
/// About how many bytes a job is.
const JOB_BYTES: usize = 4 * 1024;
/// The most jobs that one call stops.
const MAX_STOPPED: usize = 1_000;

pub(super) async fn list(call: &Call) -> HandlerResult {
    let options = call.options()?;
    let mut paging = Paging::new(&options, &entity_set::JOBS, MAX_ROWS)?;
    let mut filter = JobFilter::in_folders(call.all_folders());
    filter.limit = AT_ONCE;
    if let Some(expression) = paging.filter() {
        filter.ids = ids(expression);
        filter.keys = keys(expression);
    }
    let store = call.store_for_caller();
    let mut memory = call.reserve_memory(AT_ONCE * JOB_BYTES)?;
    while !paging.is_complete() {
        let jobs = store.jobs_in_folders(filter.clone()).await?;
        jobs.iter().try_for_each(|job| paging.add(entity(call, job, false)?).map_err(ApiError::from))?;
        let held = (AT_ONCE + paging.kept()) * JOB_BYTES;
        if !memory.grow(held.saturating_sub(memory.bytes())) {
            return Err(ApiError::unavailable());
        }
        match jobs.last() {
            Some(last) if jobs.len() == AT_ONCE => filter.after = last.id,
            _ => break,
        }
    }
    let (mut rows, count) = paging.finish()?;
    if !options.expands("Robot") {
        rows.iter_mut().for_each(remove_robot);
    }
    call.collection(ENTITY, rows, count)
}

/// Gives every job of folders to a function, in the order of their numbers.
pub(super) async fn each_job(
    call: &Call,
    folders: Arc<[FolderId]>,
    mut each: impl FnMut(&Job),
) -> Result<(), ApiError> {
    let mut filter = JobFilter::in_folders(folders);
    filter.limit = AT_ONCE;
    let _memory = call.reserve_memory(AT_ONCE * JOB_BYTES)?;
    loop {
        let jobs = call.store_for_caller().jobs_in_folders(filter.clone()).await?;
        jobs.iter().for_each(&mut each);
        match jobs.last() {
            Some(last) if jobs.len() == AT_ONCE => filter.after = last.id,
            _ => return Ok(()),
        }
    }
}

/// The numbers of jobs of which a filter asks for one. `None`: it has to be asked of all jobs.
fn ids(expression: &Expression) -> Option<Vec<JobId>> {
    let number = |literal: &Literal| match literal {
        Literal::Number(number) => Some(JobId(*number)),
        _ => None,
    };
    expression.one_of("Id")?.iter().map(number).collect()
}

/// The keys of jobs of which a filter asks for one.
fn keys(expression: &Expression) -> Option<Vec<JobKey>> {
    let key = |literal: &Literal| match literal {
        Literal::Guid(guid) => Some(JobKey::from_bytes(guid.into_bytes())),
        _ => None,
    };
    expression.one_of("Key")?.iter().map(key).collect()
}

/// A job as an entity, with its robot.
fn entity(call: &Call, job: &Job, with_output: bool) -> Result<Value, ApiError> {
    let directory = call.directory()?;
    let user = match job.owner {
        JobOwner::User(user) => directory.user(user),
        JobOwner::Store | JobOwner::Unknown => None,
    };
    let robot = user.and_then(|user| directory.robots().find(|robot| robot.user == user.id));
    Ok(responses::job(&JobView {
        job,
        folder_name: directory.full_name(job.folder),
        user_name: user.map(|user| user.user_name.as_str()),
        robot: robot.map(|robot| responses::robot(&directory.robot_view(robot))),
        with_output,
    }))
}

/// A job as an entity, without what `$expand` would add.
pub(super) fn entity_alone(call: &Call, job: &Job, with_output: bool) -> Result<Value, ApiError> {
    let mut entity = entity(call, job, with_output)?;
    remove_robot(&mut entity);
    Ok(entity)
}

/// The robot is a part of an entity only where `$expand` names it.
fn remove_robot(entity: &mut Value) {
    if let Value::Object(members) = entity {
        members.remove("Robot");
    }
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let job = by_id(call).await?;
    one(call, &job)
}

/// The job in the path.
pub(super) async fn by_id(call: &Call) -> Result<Job, ApiError> {
    with_id(call, call.id()?).await
}

/// A job of the folder.
///
/// # Errors
///
/// 404 for a job that does not exist there.
pub(super) async fn with_id(call: &Call, id: i64) -> Result<Job, ApiError> {
    Ok(with_ids(call, &[JobId(id)]).await?.remove(0))
}

pub(super) async fn get_by_key(call: &Call) -> HandlerResult {
    let job = call.store()?.job(call.argument_as("identifier")?).await?;
    one(call, &job)
}

fn one(call: &Call, job: &Job) -> HandlerResult {
    let options = call.options()?;
    options.expands_only(&EXPANDABLE)?;
    let mut entity = entity(call, job, true)?;
    if !options.expands("Robot") {
        remove_robot(&mut entity);
    }
    call.entity(ENTITY, entity)
}

/// Jobs of the folder.
///
/// # Errors
///
/// 404 for a job that does not exist there.
async fn with_ids(call: &Call, ids: &[JobId]) -> Result<Vec<Job>, ApiError> {
    let folder: FolderId = call.folder()?;
    let mut filter = JobFilter::in_folders([folder].into());
    filter.ids = Some(ids.to_vec());
    let jobs = call.store()?.jobs_in_folders(filter).await?;
    match ids.iter().find(|id| jobs.iter().all(|job| job.id != **id)) {
        Some(missing) => Err(ApiError::not_found(format!("Job {missing} does not exist."))),
        None => Ok(jobs),
    }
}

pub(super) async fn stop_one(call: &Call) -> HandlerResult {
    let (id, body) = (JobId(call.id()?), call.body::<StopJobRequest>(&strict::STOP_JOB)?);
    stop(call, &[id], known_value("strategy", &body.strategy)?).await
}

pub(super) async fn stop_several(call: &Call) -> HandlerResult {
    let body: StopJobsRequest = call.body(&strict::STOP_JOBS)?;
    Call::check_length("jobIds", body.job_ids.len(), MAX_STOPPED)?;
    let ids: Vec<JobId> = body.job_ids.into_iter().map(JobId).collect();
    stop(call, &ids, known_value("strategy", &body.strategy)?).await
}

/// Asks jobs to stop. Where one of them cannot be stopped none is asked, unless it ends at this moment.
async fn stop(call: &Call, ids: &[JobId], strategy: StopStrategy) -> HandlerResult {
    let jobs = with_ids(call, ids).await?;
    let now = call.server.now();
    for job in &jobs {
        job.clone().request_stop(strategy, now)?;
    }
    let store = call.store()?;
    for job in &jobs {
        store.stop_job(job.key, strategy).await?;
    }
    Ok(ApiResponse::empty(StatusCode::OK))
}
