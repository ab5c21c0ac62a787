//! For performers over HTTP: jobs that beat, claims, many reports and takes in one call (`wire/lease_protocol.rs`). What a
//! performer takes this way is held by a lease, as on a store of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::call::{ApiResponse, Call, ResponseBody};
use super::idempotency_cache::EVICTED;
use super::api_error::ApiError;
use super::queues;
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::job::{JobEnd, JobOwner};
use crate::model::key::{Claim, FolderId, JobKey};
use crate::model::result::TransactionResult;
use crate::orchestrator::local::store::{Operation, Query, Taker, Taking, WhichQueue};
use crate::orchestrator::local::{Local, expect_answer};
use crate::orchestrator::{
    Administration, ErrorKind, Orchestrator, OrchestratorError, Report, Seen, Swept, Take,
};
use crate::wire::lease_protocol::{
    AddAndStartRequest, EditLimitsRequest, EndJobRequest, ErrorDto, ExchangeResponse, ExchangeRequest, HeldClaimsResponse, HeldClaimsRequest,
    LimitRequest, ListedJob, EmptyRequest, JobReference, ProgressRequest, RetentionResponse, ReportDto, ReportResultDto, ListedRobot, StartJobRequest,
    JobStateResponse, LeaseStopJobRequest, SweepResponse, ClaimRequestDto, ClaimedItemDto, ClaimResultDto, WaitRequest, guid, key,
};
use crate::wire::responses::{ItemContext, ItemResponse};

type HandlerResult = Result<ApiResponse, ApiError>;

/// The most reports and names of calls of one call. Of items no more are handed out.
const MAX_AT_ONCE: usize = 10_000;

/// How long a wait may be held open: shorter than proxies wait.
const MAX_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn start_job(call: &Call) -> HandlerResult {
    let body: StartJobRequest = call.own_body()?;
    let job = call.store()?.start_job(body.into()).await?;
    ApiResponse::ok(&JobReference { job: guid(job) })
}

pub(super) async fn beat(call: &Call) -> HandlerResult {
    let body: JobReference = call.own_body()?;
    let state = call.store()?.beat(key(body.job)).await?;
    ApiResponse::ok(&JobStateResponse { state })
}

pub(super) async fn end_job(call: &Call) -> HandlerResult {
    let body: EndJobRequest = call.own_body()?;
    let end = JobEnd { state: body.state, info: body.info, figures: body.figures };
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

fn claim_request(take: ClaimRequestDto) -> Result<Take, ApiError> {
    let reference = take.reference.map(Into::into);
    let (job, queue) = (key(take.job), take.queue.into());
    let mut take = Take { queue, job, robot: take.robot, count: take.count, reference }.checked()?;
    take.count = take.count.min(MAX_AT_ONCE);
    Ok(take)
}

/// Nobody takes without a job here: what nobody beats for is taken by StartTransaction.
fn require_job(job: JobKey) -> Result<(), ApiError> {
    if job == JobKey::CALLER { Err(ApiError::not_found("The job does not exist.")) } else { Ok(()) }
}

/// Who started which job. That never changes, so it is read once: every report asks for it.
#[derive(Default)]
pub(super) struct JobOwnerCache(Mutex<HashMap<JobKey, JobOwner>>);

/// The most jobs for which one call reports: each may have to be looked up.
const MAX_REPORTED_JOBS: usize = 100;
/// The most jobs whose owners are remembered.
const MAX_CACHED_OWNERS: usize = 10_000;

impl JobOwnerCache {
    fn known(&self) -> MutexGuard<'_, HashMap<JobKey, JobOwner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs of other users that are reported for.
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

    /// Whether a job was started by somebody else than the caller. One that is not there was not.
    async fn is_owned_by_other(&self, call: &Call, job: JobKey) -> Result<bool, ApiError> {
        let user = call.caller()?.user.id;
        let known = self.known().get(&job).copied();
        let owner = match known {
            Some(owner) => Some(owner),
            None => expect_answer!(call.store()?.read(Query::OwnerOf(job)).await, Owner)?,
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

/// Reports and takes. One that is made again while the first is under way waits for it.
pub(super) async fn exchange(call: &Call) -> HandlerResult {
    let body: ExchangeRequest = call.own_body()?;
    Call::check_length("reports", body.reports.len(), MAX_AT_ONCE)?;
    Call::check_length("heard", body.heard.len(), MAX_AT_ONCE)?;
    let others = call.server.job_owners.jobs_of_others(call, &body.reports).await?;
    let (folder, run) = (call.folder()?, call.server.run_id);
    let (store, now) = (call.store()?, call.server.now());
    if body.take.is_none() {
        return run_exchange(&store, folder, run, now, body, &others).await; // reports may be made twice
    }
    let (id, heard) = (body.id, body.heard.clone());
    let items = body.take.as_ref().map_or(0, |take| take.count.min(MAX_AT_ONCE));
    let most = MAX_CONTENT_BYTES.min(call.server.memory.max_expected());
    let expected = items.saturating_mul(EXPECTED_ITEM_BYTES).min(most);
    run_once(call, id, &heard, expected, async move { run_exchange(&store, folder, run, now, body, &others).await })
        .await
}

/// Does something once for all calls of this name. It is finished although the caller may go away: what was taken is
/// answered when it comes back. Memory for the expected bytes of the answer is there before anything is done.
async fn run_once(
    call: &Call,
    id: Uuid,
    heard: &[Uuid],
    expected: usize,
    make: impl Future<Output = HandlerResult> + Send + 'static,
) -> HandlerResult {
    let user = call.caller()?.user.id;
    let kept = call.server.idempotency.entry(user, call.folder()?, id, heard, call.server.elapsed());
    let reservation = call.reserve_memory(if kept.initialized() { 0 } else { expected })?;
    let making = tokio::spawn(async move {
        let answer = kept.get_or_try_init(|| async {
            let made = make.await?.body;
            Ok::<_, ApiError>(made.map_or_else(Bytes::new, |made| made.tracked(reservation)))
        });
        answer.await.cloned()
    });
    let body = making.await.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(ApiResponse { body: Some(ResponseBody::Tracked(body)), ..ApiResponse::empty(StatusCode::OK) })
}

/// The most bytes of content in one answer: more is left for the next one.
const MAX_CONTENT_BYTES: usize = 16 * 1024 * 1024;
/// How many bytes of it an item is expected to have, before it is known.
const EXPECTED_ITEM_BYTES: usize = 64 * 1024;

async fn run_exchange(
    store: &Local,
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
            // As for what is in another folder.
            let message = format!("item {} does not exist", claim.item);
            let refusal = Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, message);
            refused.push((at, ReportResultDto::Error(error_dto(&refusal.into()))));
            continue;
        }
        let result = report.result.into_result(now)?;
        reports.push(Report { claim: report.claim.into(), result, progress: report.progress });
    }
    for report in &reports {
        require_job(report.claim.job())?;
    }
    let take = body.take.map(claim_request).transpose()?;
    if let Some(take) = &take {
        require_job(take.job)?;
    }
    let answered = store.report_and_take(reports, take).await;
    let reports = answered.reports.into_iter().map(|report| match report {
        Ok(status) => ReportResultDto::Status(status),
        Err(error) => ReportResultDto::Error(error_dto(&error)),
    });
    let mut reports: Vec<ReportResultDto> = reports.collect();
    for (at, result) in refused {
        reports.insert(at, result); // in the order of the reports
    }
    let folder = Some(folder);
    match answered.taken {
        Err(error) => {
            let took: ClaimResultDto<()> = ClaimResultDto::Error(error_dto(&error));
            ApiResponse::ok(&ExchangeResponse { reports, took, seen: 0, withheld: None, run })
        }
        Ok(mut taken) => {
            let mut bytes = 0;
            let fits = taken.items.iter().take_while(|claimed| {
                let before = bytes;
                bytes += claimed.item.specific_content.as_json().len();
                before == 0 || bytes <= MAX_CONTENT_BYTES
            });
            let fitting = fits.count();
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

/// As if they had not been taken.
async fn give_back(store: &Local, claims: impl Iterator<Item = Claim>) {
    let back = |claim| Report { claim, result: TransactionResult::GivenBack, progress: None };
    let reports: Vec<Report> = claims.map(back).collect();
    if !reports.is_empty() {
        store.report_and_take(reports, None).await;
    }
}

/// What a job holds, for one that does not know because answers were lost.
pub(super) async fn held_claims(call: &Call) -> HandlerResult {
    let body: HeldClaimsRequest = call.own_body()?;
    Call::check_length("void", body.void.len(), MAX_AT_ONCE)?;
    let (user, folder) = (call.caller()?.user.id, call.folder()?);
    for id in body.void {
        // One that is under way is waited for; one that is still to come finds an answer that is of no use to anybody.
        let kept = call.server.idempotency.entry(user, folder, id, &[], call.server.elapsed());
        kept.get_or_init(async || Bytes::from_static(EVICTED)).await;
    }
    let claims = expect_answer!(call.store()?.read(Query::Held(key(body.job))).await, Claims)?;
    ApiResponse::ok(&HeldClaimsResponse { claims: claims.into_iter().map(Into::into).collect() })
}

/// An error in the words of the trait. What only operators may see is not told.
fn error_dto(error: &OrchestratorError) -> ErrorDto {
    let message = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Other => {
            "the server could not do this".to_owned()
        }
        _ => error.to_string(),
    };
    ErrorDto { kind: format!("{:?}", error.kind()), code: error.code().map(|code| code.number()), message }
}

pub(super) async fn add_and_start(call: &Call) -> HandlerResult {
    let body: AddAndStartRequest = call.own_body()?;
    let take = claim_request(body.take)?;
    require_job(take.job)?;
    let taker = Taker { job: take.job, user: None, robot: take.robot, robot_id: None, executor: None };
    let take = Taking { queue: take.queue, count: 1, reference: None, taker };
    let item = Box::new(body.item.into_item(call.job_key())?);
    let (store, around) = (call.store()?, ItemContext { folder: Some(call.folder()?), ..ItemContext::default() });
    let make = async move {
        let claimed = expect_answer!(store.one(Operation::AddAndStart { take, item }).await, Claimed)?;
        ApiResponse::ok(&ClaimedItemDto { item: ItemResponse::new(&claimed.item, around), claim: claimed.claim.into() })
    };
    run_once(call, body.id, &[], EXPECTED_ITEM_BYTES, make).await
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

/// The jobs that were started in the folder.
pub(super) async fn jobs(call: &Call) -> HandlerResult {
    let body: LimitRequest = call.own_body()?;
    let jobs = call.store()?.list_jobs(body.limit).await?;
    ApiResponse::ok(&jobs.into_iter().map(ListedJob::from).collect::<Vec<_>>())
}

/// The robots of those that have not ended.
pub(super) async fn robots(call: &Call) -> HandlerResult {
    let EmptyRequest {} = call.own_body_or_default()?;
    let robots = call.store()?.list_robots().await?;
    ApiResponse::ok(&robots.into_iter().map(ListedRobot::from).collect::<Vec<_>>())
}

pub(super) async fn edit_limits(call: &Call) -> HandlerResult {
    let body: EditLimitsRequest = call.own_body()?;
    let (which, reach) = (WhichQueue::Named(body.queue), queues::reach(call, queues::EDIT)?);
    call.store()?.one(Operation::EditLimits { which, edit: body.edit, reach }).await?;
    ApiResponse::ok(&json!({}))
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
