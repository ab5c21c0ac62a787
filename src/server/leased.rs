//! For performers over HTTP: jobs that beat, claims, many reports and takes in one call (`wire/leased.rs`). What a
//! performer takes this way is held by a lease, as on a store of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::call::{Answer, Call, Content};
use super::exchanges::FORGOTTEN;
use super::failure::Failure;
use super::queues;
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::job::{JobEnd, JobOwner};
use crate::model::key::{Claim, FolderId, JobKey};
use crate::model::result::TransactionResult;
use crate::orchestrator::store::backend::{ClaimOperation, Claimant, Operation, Query, QueueSelector};
use crate::orchestrator::store::{Store, expect_answer};
use crate::orchestrator::{
    Administration, ErrorKind, Orchestrator, OrchestratorError, Report, Seen, Swept, Take,
};
use crate::wire::leased::{
    AddAndStart, EditLimits, EndJob, ErrorDto, ExchangeAnswer, ExchangeRequest, HeldDto, HeldRequest,
    LimitDto, ListedJob, Nothing, OfJob, ProgressDto, RemovedDto, ReportDto, ReportedDto, RobotDto, StartJob,
    StateOfJob, StopJob, SweptDto, TakeDto, TakenDto, TookDto, WaitDto, guid, key,
};
use crate::wire::served::{Around, ServedItem};

type Reply = Result<Answer, Failure>;

/// The most reports and names of calls of one call. Of items no more are handed out.
const MOST_AT_ONCE: usize = 10_000;

/// How long a wait may be held open: shorter than proxies wait.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn start_job(call: &Call) -> Reply {
    let body: StartJob = call.own_body()?;
    let job = call.store()?.start_job(body.into()).await?;
    Answer::ok(&OfJob { job: guid(job) })
}

pub(super) async fn beat(call: &Call) -> Reply {
    let body: OfJob = call.own_body()?;
    let state = call.store()?.beat(key(body.job)).await?;
    Answer::ok(&StateOfJob { state })
}

pub(super) async fn end_job(call: &Call) -> Reply {
    let body: EndJob = call.own_body()?;
    let end = JobEnd { state: body.state, info: body.info, figures: body.figures };
    let swept = call.store()?.end_job(key(body.job), end).await?;
    Answer::ok(&told(&swept))
}

pub(super) async fn sweep(call: &Call) -> Reply {
    let Nothing {} = call.own_body_if_any()?;
    let swept = call.store()?.sweep().await?;
    Answer::ok(&told(&swept))
}

fn told(swept: &Swept) -> SweptDto {
    SweptDto { jobs: swept.jobs.iter().map(|job| guid(*job)).collect(), abandoned: swept.abandoned }
}

fn take_of(take: TakeDto) -> Result<Take, Failure> {
    let reference = take.reference.map(Into::into);
    let (job, queue) = (key(take.job), take.queue.into());
    let mut take = Take { queue, job, robot: take.robot, count: take.count, reference }.checked()?;
    take.count = take.count.min(MOST_AT_ONCE);
    Ok(take)
}

/// Nobody takes without a job here: what nobody beats for is taken by StartTransaction.
fn has_a_job(job: JobKey) -> Result<(), Failure> {
    if job == JobKey::CALLER { Err(Failure::not_found("The job does not exist.")) } else { Ok(()) }
}

/// Who started which job. That never changes, so it is read once: every report asks for it.
#[derive(Default)]
pub(super) struct JobOwners(Mutex<HashMap<JobKey, JobOwner>>);

/// The most jobs for which one call reports: each may have to be looked up.
const MOST_JOBS: usize = 100;
/// The most jobs whose owners are remembered.
const MOST_OWNERS: usize = 10_000;

impl JobOwners {
    fn known(&self) -> MutexGuard<'_, HashMap<JobKey, JobOwner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs of other users that are reported for.
    async fn others_of(&self, call: &Call, reports: &[ReportDto]) -> Result<Vec<JobKey>, Failure> {
        let jobs: BTreeSet<JobKey> = reports.iter().map(|report| key(report.claim.job)).collect();
        Call::at_most("jobs of reports", jobs.len(), MOST_JOBS)?;
        let mut others = Vec::new();
        for job in jobs {
            if self.is_of_others(call, job).await? {
                others.push(job);
            }
        }
        Ok(others)
    }

    /// Whether a job was started by somebody else than the caller. One that is not there was not.
    async fn is_of_others(&self, call: &Call, job: JobKey) -> Result<bool, Failure> {
        let user = call.caller()?.user.id;
        let known = self.known().get(&job).copied();
        let owner = match known {
            Some(owner) => Some(owner),
            None => expect_answer!(call.store()?.read(Query::OwnerOf(job)).await, Owner)?,
        };
        let Some(owner) = owner else { return Ok(false) };
        if known.is_none() {
            let mut known = self.known();
            if known.len() >= MOST_OWNERS {
                known.clear();
            }
            known.insert(job, owner);
        }
        Ok(!owner.admits(Some(user)))
    }
}

/// Reports and takes. One that is made again while the first is under way waits for it.
pub(super) async fn exchange(call: &Call) -> Reply {
    let body: ExchangeRequest = call.own_body()?;
    Call::at_most("reports", body.reports.len(), MOST_AT_ONCE)?;
    Call::at_most("heard", body.heard.len(), MOST_AT_ONCE)?;
    let others = call.server.owners.others_of(call, &body.reports).await?;
    let (folder, run) = (call.folder()?, call.server.run);
    let (store, now) = (call.store()?, call.server.now());
    if body.take.is_none() {
        return exchanged(&store, folder, run, now, body, &others).await; // reports may be made twice
    }
    let (id, heard) = (body.id, body.heard.clone());
    let items = body.take.as_ref().map_or(0, |take| take.count.min(MOST_AT_ONCE));
    let most = LARGEST_CONTENT.min(call.server.room.largest_expected());
    let expected = items.saturating_mul(EXPECTED_CONTENT).min(most);
    once(call, id, &heard, expected, async move { exchanged(&store, folder, run, now, body, &others).await })
        .await
}

/// Does something once for all calls of this name. It is finished although the caller may go away: what was taken is
/// answered when it comes back. Memory for the expected bytes of the answer is there before anything is done.
async fn once(
    call: &Call,
    id: Uuid,
    heard: &[Uuid],
    expected: usize,
    make: impl Future<Output = Reply> + Send + 'static,
) -> Reply {
    let user = call.caller()?.user.id;
    let kept = call.server.exchanges.of(user, call.folder()?, id, heard, call.server.elapsed());
    let held = call.room(if kept.initialized() { 0 } else { expected })?;
    let making = tokio::spawn(async move {
        let answer = kept.get_or_try_init(|| async {
            let made = make.await?.body;
            Ok::<_, Failure>(made.map_or_else(Bytes::new, |made| made.counted(held)))
        });
        answer.await.cloned()
    });
    let body = making.await.map_err(|error| Failure::internal(error.to_string()))??;
    Ok(Answer { body: Some(Content::Counted(body)), ..Answer::empty(StatusCode::OK) })
}

/// The most bytes of content in one answer: more is left for the next one.
const LARGEST_CONTENT: usize = 16 * 1024 * 1024;
/// How many bytes of it an item is expected to have, before it is known.
const EXPECTED_CONTENT: usize = 64 * 1024;

async fn exchanged(
    store: &Store,
    folder: FolderId,
    run: Uuid,
    now: Timestamp,
    body: ExchangeRequest,
    others: &[JobKey],
) -> Reply {
    let mut reports = Vec::with_capacity(body.reports.len());
    let mut foreign = Vec::new();
    for (at, report) in body.reports.into_iter().enumerate() {
        let claim = Claim::from(report.claim);
        if others.contains(&claim.job()) {
            // As for what is in another folder.
            let message = format!("item {} does not exist", claim.item);
            let refusal = Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, message);
            foreign.push((at, ReportedDto::Error(described(&refusal.into()))));
            continue;
        }
        let result = report.result.into_result(now)?;
        reports.push(Report { claim: report.claim.into(), result, progress: report.progress });
    }
    for report in &reports {
        has_a_job(report.claim.job())?;
    }
    let take = body.take.map(take_of).transpose()?;
    if let Some(take) = &take {
        has_a_job(take.job)?;
    }
    let answered = store.report_and_take(reports, take).await;
    let reports = answered.reports.into_iter().map(|report| match report {
        Ok(status) => ReportedDto::Status(status),
        Err(error) => ReportedDto::Error(described(&error)),
    });
    let mut reports: Vec<ReportedDto> = reports.collect();
    for (at, refused) in foreign {
        reports.insert(at, refused); // in the order of the reports
    }
    let folder = Some(folder);
    match answered.taken {
        Err(error) => {
            let took: TookDto<()> = TookDto::Error(described(&error));
            Answer::ok(&ExchangeAnswer { reports, took, seen: 0, withheld: None, run })
        }
        Ok(mut taken) => {
            let mut bytes = 0;
            let fits = taken.items.iter().take_while(|claimed| {
                let before = bytes;
                bytes += claimed.item.specific_content.as_json().len();
                before == 0 || bytes <= LARGEST_CONTENT
            });
            let fitting = fits.count();
            give_back(store, taken.items.drain(fitting..).map(|claimed| claimed.claim)).await;
            let items = taken.items.iter().map(|claimed| TakenDto {
                item: ServedItem::new(&claimed.item, Around { folder, ..Around::default() }),
                claim: claimed.claim.into(),
            });
            let took = TookDto::Items(items.collect());
            let withheld = taken.withheld.map(|time| u64::try_from(time.as_millis() + 1).unwrap_or(u64::MAX));
            Answer::ok(&ExchangeAnswer { reports, took, seen: taken.seen.0, withheld, run })
        }
    }
}

/// As if they had not been taken.
async fn give_back(store: &Store, claims: impl Iterator<Item = Claim>) {
    let back = |claim| Report { claim, result: TransactionResult::GivenBack, progress: None };
    let reports: Vec<Report> = claims.map(back).collect();
    if !reports.is_empty() {
        store.report_and_take(reports, None).await;
    }
}

/// What a job holds, for one that does not know because answers were lost.
pub(super) async fn held(call: &Call) -> Reply {
    let body: HeldRequest = call.own_body()?;
    Call::at_most("void", body.void.len(), MOST_AT_ONCE)?;
    let (user, folder) = (call.caller()?.user.id, call.folder()?);
    for id in body.void {
        // One that is under way is waited for; one that is still to come finds an answer that is of no use to anybody.
        let kept = call.server.exchanges.of(user, folder, id, &[], call.server.elapsed());
        kept.get_or_init(async || Bytes::from_static(FORGOTTEN)).await;
    }
    let claims = expect_answer!(call.store()?.read(Query::Held(key(body.job))).await, Claims)?;
    Answer::ok(&HeldDto { claims: claims.into_iter().map(Into::into).collect() })
}

/// An error in the words of the trait. What only operators may see is not told.
fn described(error: &OrchestratorError) -> ErrorDto {
    let message = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Other => {
            "the server could not do this".to_owned()
        }
        _ => error.to_string(),
    };
    ErrorDto { kind: format!("{:?}", error.kind()), code: error.code().map(|code| code.number()), message }
}

pub(super) async fn add_and_start(call: &Call) -> Reply {
    let body: AddAndStart = call.own_body()?;
    let take = take_of(body.take)?;
    has_a_job(take.job)?;
    let claimant = Claimant { job: take.job, user: None, robot: take.robot, robot_id: None, executor: None };
    let take = ClaimOperation { queue: take.queue, count: 1, reference: None, claimant };
    let item = Box::new(body.item.into_item(call.job_key())?);
    let (store, around) = (call.store()?, Around { folder: Some(call.folder()?), ..Around::default() });
    let make = async move {
        let claimed = expect_answer!(store.one(Operation::AddAndStart { claim: take, item }).await, Claimed)?;
        Answer::ok(&TakenDto { item: ServedItem::new(&claimed.item, around), claim: claimed.claim.into() })
    };
    once(call, body.id, &[], EXPECTED_CONTENT, make).await
}

pub(super) async fn progress(call: &Call) -> Reply {
    let body: ProgressDto = call.own_body()?;
    let job = key(body.claim.job);
    has_a_job(job)?;
    if call.server.owners.is_of_others(call, job).await? {
        return Err(Failure::not_found(format!("Job {job} does not exist.")));
    }
    call.store()?.set_transaction_progress(body.claim.into(), body.progress).await?;
    Answer::ok(&json!({}))
}

pub(super) async fn wait(call: &Call) -> Reply {
    let body: WaitDto = call.own_body()?;
    let longest = LONGEST_WAIT.min(call.server.config.request_limit / 2);
    let at_most = Duration::from_millis(body.at_most).min(longest);
    let store = call.store()?;
    let mut stopping = call.server.stopping.subscribe();
    tokio::select! {
        () = store.wait_for_items(&body.queue, Seen(body.seen), at_most) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    Answer::ok(&json!({}))
}

/// The jobs that were started in the folder.
pub(super) async fn jobs(call: &Call) -> Reply {
    let body: LimitDto = call.own_body()?;
    let jobs = call.store()?.list_jobs(body.limit).await?;
    Answer::ok(&jobs.into_iter().map(ListedJob::from).collect::<Vec<_>>())
}

/// The robots of those that have not ended.
pub(super) async fn robots(call: &Call) -> Reply {
    let Nothing {} = call.own_body_if_any()?;
    let robots = call.store()?.list_robots().await?;
    Answer::ok(&robots.into_iter().map(RobotDto::from).collect::<Vec<_>>())
}

pub(super) async fn edit_limits(call: &Call) -> Reply {
    let body: EditLimits = call.own_body()?;
    let (which, reach) = (QueueSelector::Name(body.queue), queues::reach(call, queues::EDIT)?);
    call.store()?.one(Operation::EditLimits { which, edit: body.edit, reach }).await?;
    Answer::ok(&json!({}))
}

pub(super) async fn stop_job(call: &Call) -> Reply {
    let body: StopJob = call.own_body()?;
    call.store()?.stop_job(key(body.job), body.strategy).await?;
    Answer::ok(&json!({}))
}

pub(super) async fn retention(call: &Call) -> Reply {
    let body: LimitDto = call.own_body()?;
    let removed = call.store()?.apply_retention(body.limit.min(MOST_AT_ONCE)).await?;
    Answer::ok(&RemovedDto { removed })
}
