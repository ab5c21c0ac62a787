//! The lease protocol for performers over HTTP: jobs with heartbeats, claims, and calls with many reports and claims
//! (`wire/lease_protocol.rs`). Items that are claimed this way are held by the lease of a job, as with a local store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, ResponseBody};
use super::idempotency_cache::EVICTED;
use super::queues;
use super::shared_resources::reach;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::ClaimedItem;
use performer_core::model::job::{JobEnd, JobOwner};
use performer_core::model::key::{Claim, FolderId, JobKey};
use performer_core::model::result::TransactionResult;
use performer_core::orchestrator::{
    ClaimRequest, ErrorKind, FleetAdministration as _, FollowUp, Orchestrator, OrchestratorError,
    QueueAdministration as _, Report, Seen, Swept,
};
use performer_store::{QueueSelector, Store};
use performer_wire::lease_protocol::{
    AddAndStartRequest, ClaimRequestDto, ClaimResultDto, ClaimedItemDto, EditLimitsRequest, EmptyRequest,
    EndJobRequest, ErrorDto, ExchangeRequest, ExchangeResponse, HeldClaimsRequest, HeldClaimsResponse,
    JobReference, JobStateResponse, LeaseStopJobRequest, LimitRequest, ListedJob, ListedRobot,
    ProgressRequest, ReportDto, ReportResultDto, RetentionResponse, StartJobRequest, StartJobResponse,
    StartLimitRequest, StartLimitResponse, SweepResponse, WaitRequest, guid, key,
};
use performer_wire::responses::{ItemContext, ItemResponse};
use performer_wire::transaction::QueueItemDataDto;

type HandlerResult = Result<ApiResponse, ApiError>;

/// The maximum number of reports, acknowledgements and items in one call.
const MAX_AT_ONCE: usize = 10_000;

/// The maximum duration of a wait: shorter than the timeouts of proxies.
const MAX_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn start_job(call: &Call) -> HandlerResult {
    let body: StartJobRequest = call.own_body()?;
    let job = call.store()?.start_job(body.into()).await?;
    ApiResponse::ok(&StartJobResponse { job: guid(job), follow_ups: true, asks: true })
}

pub(super) async fn beat(call: &Call) -> HandlerResult {
    let body: JobReference = call.own_body()?;
    let state = call.store()?.beat(key(body.job)).await?;
    ApiResponse::ok(&JobStateResponse { state })
}

pub(super) async fn end_job(call: &Call) -> HandlerResult {
    let body: EndJobRequest = call.own_body()?;
    let mut end = JobEnd::new(body.state).figures(body.figures);
    end.info = body.info;
    let swept = call.store()?.end_job(key(body.job), end).await?;
    ApiResponse::ok(&sweep_dto(&swept))
}

pub(super) async fn sweep(call: &Call) -> HandlerResult {
    let EmptyRequest {} = call.own_body_or_default()?;
    let swept = call.store()?.sweep().await?;
    ApiResponse::ok(&sweep_dto(&swept))
}

fn sweep_dto(swept: &Swept) -> SweepResponse {
    SweepResponse { jobs: swept.jobs.iter().map(|job| guid(*job)).collect(), abandoned: swept.abandoned }
}

fn claim_request(take: ClaimRequestDto) -> Result<ClaimRequest, ApiError> {
    let reference = take.reference.map(Into::into);
    let mut take = ClaimRequest::new(take.queue, key(take.job), take.count)
        .robot(take.robot)
        .reference(reference)
        .validated()?;
    take.count = take.count.min(MAX_AT_ONCE);
    Ok(take)
}

/// Refuses a claim without a job: callers without heartbeats use StartTransaction.
fn require_job(job: JobKey) -> Result<(), ApiError> {
    if job == JobKey::CALLER { Err(ApiError::not_found("The job does not exist.")) } else { Ok(()) }
}

/// A cache of the owners of jobs. Every report needs the owner of its job, which never changes.
#[derive(Default)]
pub(super) struct JobOwnerCache(Mutex<HashMap<JobKey, JobOwner>>);

/// The maximum number of jobs in the reports of one call: each may have to be looked up.
const MAX_REPORTED_JOBS: usize = 100;
/// The maximum number of cached owners.
const MAX_CACHED_OWNERS: usize = 10_000;

impl JobOwnerCache {
    fn known(&self) -> MutexGuard<'_, HashMap<JobKey, JobOwner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those jobs of the reports that belong to other users.
    async fn jobs_of_others(&self, call: &Call, reports: &[ReportDto]) -> Result<Vec<JobKey>, ApiError> {
        let jobs: BTreeSet<JobKey> = reports.iter().map(|report| key(report.claim.job)).collect();
        Call::check_length("jobs of reports", jobs.len(), MAX_REPORTED_JOBS)?;
        let mut others = Vec::new();
        for job in jobs {
            if self.is_owned_by_other(call, job).await? {
                others.push(job);
            }
        }
        Ok(others)
    }

    /// Whether another user than the caller started a job. `false` for a job that does not exist.
    async fn is_owned_by_other(&self, call: &Call, job: JobKey) -> Result<bool, ApiError> {
        let user = call.caller()?.user.id;
        let known = self.known().get(&job).copied();
        let owner = match known {
            Some(owner) => Some(owner),
            None => call.store()?.owner_of_job(job).await?,
        };
        let Some(owner) = owner else { return Ok(false) };
        if known.is_none() {
            let mut known = self.known();
            if known.len() >= MAX_CACHED_OWNERS {
                known.clear();
            }
            known.insert(job, owner);
        }
        Ok(!owner.admits(Some(user)))
    }
}

/// Reports results and claims items. A repeated call waits for the first one.
pub(super) async fn exchange(call: &Call) -> HandlerResult {
    let body: ExchangeRequest = call.own_body()?;
    Call::check_length("reports", body.reports.len(), MAX_AT_ONCE)?;
    Call::check_length("heard", body.heard.len(), MAX_AT_ONCE)?;
    let others = call.server.job_owners.jobs_of_others(call, &body.reports).await?;
    let (folder, run) = (call.folder()?, call.server.run_id);
    let (store, now) = (call.store()?, call.server.now());
    if body.take.is_none() {
        return run_exchange(&store, folder, run, now, body, &others).await; // reports are idempotent
    }
    let (id, heard) = (body.id, body.heard.clone());
    let items = body.take.as_ref().map_or(0, |take| take.count.min(MAX_AT_ONCE));
    let max = MAX_CONTENT_BYTES.min(call.server.memory.max_expected());
    let expected = items.saturating_mul(EXPECTED_ITEM_BYTES).min(max);
    run_once(call, id, &heard, expected, async move {
        run_exchange(&store, folder, run, now, body, &others).await
    })
    .await
}

/// Executes a call once per id. It is completed even if the caller disconnects: the caller gets the response when it repeats
/// the call. Memory for the expected size of the response is reserved first.
async fn run_once(
    call: &Call,
    id: Uuid,
    heard: &[Uuid],
    expected: usize,
    execute: impl Future<Output = HandlerResult> + Send + 'static,
) -> HandlerResult {
    let user = call.caller()?.user.id;
    let response = call.server.idempotency.entry(user, call.folder()?, id, heard, call.server.elapsed());
    let reservation = call.reserve_memory(if response.initialized() { 0 } else { expected })?;
    let task = tokio::spawn(async move {
        let body = response.get_or_try_init(|| async {
            let body = execute.await?.body;
            Ok::<_, ApiError>(body.map_or_else(Bytes::new, |body| body.tracked(reservation)))
        });
        body.await.cloned()
    });
    let body = task.await.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(ApiResponse { body: Some(ResponseBody::Tracked(body)), ..ApiResponse::empty(StatusCode::OK) })
}

/// The maximum content of items in one response, in bytes: further items are left for the next call.
const MAX_CONTENT_BYTES: usize = 16 * 1024 * 1024;
/// The expected content of one item, in bytes, for the reservation.
const EXPECTED_ITEM_BYTES: usize = 64 * 1024;

/// Reports results and claims items in one commit, and builds the response.
async fn run_exchange(
    store: &Store,
    folder: FolderId,
    run: Uuid,
    now: Timestamp,
    body: ExchangeRequest,
    others: &[JobKey],
) -> HandlerResult {
    let mut reports = Vec::with_capacity(body.reports.len());
    let mut refused = Vec::new();
    for (at, report) in body.reports.into_iter().enumerate() {
        let claim = Claim::from(report.claim);
        if others.contains(&claim.job()) {
            // The same error as for an item in another folder.
            let message = format!("item {} does not exist", claim.item);
            let refusal = Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, message);
            refused.push((at, ReportResultDto::Error(error_dto(&refusal.into()))));
            continue;
        }
        let result = report.result.into_result(now)?;
        let mut converted = Report::new(claim, result);
        converted.progress = report.progress;
        converted = converted.ask(report.ask.map(Into::into));
        match follow_ups(report.follow_ups, claim.job()) {
            Ok(follow_ups) => reports.push(converted.follow_ups(follow_ups)),
            Err(error) => refused.push((at, ReportResultDto::Error(error_dto(&error)))),
        }
    }
    for report in &reports {
        require_job(report.claim.job())?;
    }
    let take = body.take.map(claim_request).transpose()?;
    if let Some(take) = &take {
        require_job(take.job)?;
    }
    let answered = store.report_and_claim(reports, take).await;
    let reports = answered.reports.into_iter().map(|report| match report {
        Ok(status) => ReportResultDto::Status(status),
        Err(error) => ReportResultDto::Error(error_dto(&error)),
    });
    let mut reports: Vec<ReportResultDto> = reports.collect();
    for (at, result) in refused {
        reports.insert(at, result); // results are in the order of the reports
    }
    let folder = Some(folder);
    match answered.claimed {
        Err(error) => {
            let took: ClaimResultDto<()> = ClaimResultDto::Error(error_dto(&error));
            ApiResponse::ok(&ExchangeResponse { reports, took, seen: 0, withheld: None, run })
        }
        Ok(mut taken) => {
            let fitting = count_fitting(&taken.items);
            give_back(store, taken.items.drain(fitting..).map(|claimed| claimed.claim)).await;
            let items = taken.items.iter().map(|claimed| ClaimedItemDto {
                item: ItemResponse::new(&claimed.item, ItemContext { folder, ..ItemContext::default() }),
                claim: claimed.claim.into(),
            });
            let took = ClaimResultDto::Items(items.collect());
            let withheld = taken.withheld.map(|time| u64::try_from(time.as_millis() + 1).unwrap_or(u64::MAX));
            ApiResponse::ok(&ExchangeResponse { reports, took, seen: taken.seen.0, withheld, run })
        }
    }
}

/// The follow-ups of a report. What is wrong with their content is told when they are added.
fn follow_ups(items: Vec<QueueItemDataDto>, job: JobKey) -> Result<Vec<FollowUp>, OrchestratorError> {
    let one = |(at, mut data): (usize, QueueItemDataDto)| {
        let queue = data.name.take().unwrap_or_default();
        let item = data.into_item(Some(job)).map_err(|refusal| {
            let error = OrchestratorError::from(refusal);
            error.reworded(ErrorKind::Invalid, |said| {
                format!("follow-up {} for queue {queue:?}: {said}", at + 1)
            })
        })?;
        Ok(FollowUp::new(queue, item))
    };
    items.into_iter().enumerate().map(one).collect()
}

/// How many of the items fit into one response; at least one.
fn count_fitting(items: &[ClaimedItem]) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take_while(|claimed| {
        let before = bytes;
        bytes += claimed.item.specific_content.as_json().len();
        before == 0 || bytes <= MAX_CONTENT_BYTES
    });
    fits.count()
}

/// Gives claims back as if the items had not been claimed.
async fn give_back(store: &Store, claims: impl Iterator<Item = Claim>) {
    let back = |claim| Report::new(claim, TransactionResult::GivenBack);
    let reports: Vec<Report> = claims.map(back).collect();
    if !reports.is_empty() {
        store.report_and_claim(reports, None).await;
    }
}

/// The claims that a job holds, for a client that lost responses.
pub(super) async fn held_claims(call: &Call) -> HandlerResult {
    let body: HeldClaimsRequest = call.own_body()?;
    Call::check_length("void", body.void.len(), MAX_AT_ONCE)?;
    let (user, folder) = (call.caller()?.user.id, call.folder()?);
    for id in body.void {
        // Waits for a call that is being executed. A call that arrives later finds this response and is not executed.
        let response = call.server.idempotency.entry(user, folder, id, &[], call.server.elapsed());
        response.get_or_init(async || Bytes::from_static(EVICTED)).await;
    }
    let claims = call.store()?.claims_of_job(key(body.job)).await?;
    ApiResponse::ok(&HeldClaimsResponse { claims: claims.into_iter().map(Into::into).collect() })
}

/// An error of the store for the client. Internal messages are not shown.
fn error_dto(error: &OrchestratorError) -> ErrorDto {
    let message = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Other => {
            "an internal error occurred in the server".to_owned()
        }
        _ => error.to_string(),
    };
    ErrorDto { kind: format!("{:?}", error.kind()), code: error.code().map(|code| code.number()), message }
}

pub(super) async fn add_and_start(call: &Call) -> HandlerResult {
    let body: AddAndStartRequest = call.own_body()?;
    let mut take = claim_request(body.take)?;
    require_job(take.job)?;
    take.count = 1;
    take.reference = None;
    let item = call.new_item(body.item)?;
    let (store, item_context) =
        (call.store()?, ItemContext { folder: Some(call.folder()?), ..ItemContext::default() });
    let execute = async move {
        let claimed = store.add_and_start_transaction(take, item).await?;
        ApiResponse::ok(&ClaimedItemDto {
            item: ItemResponse::new(&claimed.item, item_context),
            claim: claimed.claim.into(),
        })
    };
    run_once(call, body.id, &[], EXPECTED_ITEM_BYTES, execute).await
}

pub(super) async fn progress(call: &Call) -> HandlerResult {
    let body: ProgressRequest = call.own_body()?;
    let job = key(body.claim.job);
    require_job(job)?;
    if call.server.job_owners.is_owned_by_other(call, job).await? {
        return Err(ApiError::not_found(format!("Job {job} does not exist.")));
    }
    call.store()?.set_transaction_progress(body.claim.into(), body.progress).await?;
    ApiResponse::ok(&json!({}))
}

pub(super) async fn wait(call: &Call) -> HandlerResult {
    let body: WaitRequest = call.own_body()?;
    let longest = MAX_WAIT.min(call.server.config.request_limit / 2);
    let at_most = Duration::from_millis(body.at_most).min(longest);
    let store = call.store()?;
    let mut stopping = call.server.stopping.subscribe();
    tokio::select! {
        () = store.wait_for_items(&body.queue, Seen(body.seen), at_most) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    ApiResponse::ok(&json!({}))
}

/// The jobs of the folder.
pub(super) async fn jobs(call: &Call) -> HandlerResult {
    let body: LimitRequest = call.own_body()?;
    let jobs = call.store()?.list_jobs(body.limit).await?;
    ApiResponse::ok(&jobs.into_iter().map(ListedJob::from).collect::<Vec<_>>())
}

/// The robots of the jobs that have not ended.
pub(super) async fn robots(call: &Call) -> HandlerResult {
    let EmptyRequest {} = call.own_body_or_default()?;
    let robots = call.store()?.list_robots().await?;
    ApiResponse::ok(&robots.into_iter().map(ListedRobot::from).collect::<Vec<_>>())
}

pub(super) async fn edit_limits(call: &Call) -> HandlerResult {
    let body: EditLimitsRequest = call.own_body()?;
    let (which, reach) = (QueueSelector::Name(body.queue), reach(call, queues::EDIT)?);
    call.store()?.edit_queue_limits_within(which, body.edit, reach).await?;
    ApiResponse::ok(&json!({}))
}

pub(super) async fn start_limit(call: &Call) -> HandlerResult {
    let body: StartLimitRequest = call.own_body()?;
    let until = call.store()?.start_limit_until(&body.queue).await?;
    ApiResponse::ok(&StartLimitResponse { until })
}

pub(super) async fn stop_job(call: &Call) -> HandlerResult {
    let body: LeaseStopJobRequest = call.own_body()?;
    call.store()?.stop_job(key(body.job), body.strategy).await?;
    ApiResponse::ok(&json!({}))
}

pub(super) async fn retention(call: &Call) -> HandlerResult {
    let body: LimitRequest = call.own_body()?;
    let removed = call.store()?.apply_retention(body.limit.min(MAX_AT_ONCE)).await?;
    ApiResponse::ok(&RetentionResponse { removed })
}
