//! Performer's own server: it knows jobs, leases and claims, and takes many reports at once. What a performer takes there
//! is held as on a store of its own. A report may be made twice, and a take whose answer was lost is made again under its
//! name and answered as it was. When that cannot be (the server was started anew, or was away for too long), the server is
//! asked what the job holds, and what nobody here knows of is given back.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;
use uuid::Uuid;

use super::super::{
    ErrorKind, OrchestratorError, Report, ReportedAndTaken, Result, Seen, Swept, Take, Taken,
};
use super::Inner;
use super::call::Call;
use crate::model::code::ErrorCode;
use crate::model::item::{ClaimedItem, NewQueueItem, validate_progress};
use crate::model::job::{Job, JobEnd, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, JobKey};
use crate::model::limits::LimitsEdit;
use crate::model::result::TransactionResult;
use crate::model::robot::Robot;
use crate::wire::item::QueueItemDto;
use crate::wire::lease_protocol::{
    AddAndStartRequest, ClaimDto, ClaimRequestDto, ClaimResultDto, ClaimedItemDto, EditLimitsRequest,
    EndJobRequest, ErrorDto, ExchangeRequest, HeldClaimsRequest, HeldClaimsResponse, JobReference,
    JobStateResponse, LeaseStopJobRequest, LimitRequest, ListedJob, ListedRobot, ProgressRequest,
    QueueItemsExchange, ReportDto, ReportResultDto, RetentionResponse, StartJobRequest, SweepResponse,
    WaitRequest, guid, key,
};
use crate::wire::transaction::QueueItemDataDto;

/// The most reports of one call, and about how many bytes they may have.
const MOST_REPORTS: usize = 1_000;
const LARGEST_REPORTS: usize = 8 * 1024 * 1024;
/// The longest wait that is asked for: the server holds a call for 20 seconds at most.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// The most names of lost calls that are kept for a job, the newest: older ones are on their way no more.
const MOST_LOST: usize = 1_000;

/// What this client knows of claims.
#[derive(Default)]
pub(super) struct Leases {
    known: Mutex<Known>,
    /// Shared by whoever takes, so that nothing is on its way while the server is asked what is held.
    taking: RwLock<()>,
}

#[derive(Default)]
struct Known {
    /// Which run of the server answered last.
    run: Option<Uuid>,
    /// What was taken and not reported yet.
    held: HashMap<JobKey, HashSet<Claim>>,
    /// Jobs that may hold what nobody here knows of, and the calls whose answers were lost.
    in_doubt: HashMap<JobKey, Vec<Uuid>>,
    /// Exchanges that were answered; the server may forget them.
    heard: Vec<Uuid>,
}

impl Leases {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_in_doubt(&self, job: JobKey) -> bool {
        self.known().in_doubt.contains_key(&job)
    }
}

impl Known {
    /// A server that was started anew has forgotten what it answered; a call may have been made twice.
    fn answered_by(&mut self, run: Uuid) {
        if self.run.replace(run).is_some_and(|before| before != run) {
            for job in self.held.keys() {
                self.in_doubt.entry(*job).or_default();
            }
        }
    }
}

/// A take that is under way. Whoever goes away before it is answered leaves a doubt.
struct Doubt<'a> {
    leases: &'a Leases,
    job: Option<JobKey>,
    id: Uuid,
}

impl Doubt<'_> {
    fn dispel(mut self) {
        self.job = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            let mut known = self.leases.known();
            let lost = known.in_doubt.entry(job).or_default();
            if lost.len() >= MOST_LOST {
                lost.remove(0);
            }
            lost.push(self.id);
        }
    }
}

/// Whether something may have been done although it failed.
fn leaves_doubt(error: &OrchestratorError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Other)
}

/// About how many bytes a report has on the wire.
fn size_of(report: &Report) -> usize {
    let text = match &report.result {
        TransactionResult::Successful { output } => {
            output.as_ref().map_or(0, |output| output.as_json().len())
        }
        TransactionResult::Failed { exception: Some(exception), .. } => {
            exception.reason.len() + exception.details.as_ref().map_or(0, |details| details.len())
        }
        _ => 0,
    };
    200 + text + report.progress.as_ref().map_or(0, String::len)
}

/// A call of this kind.
fn call(what: &'static str, body: &impl serde::Serialize) -> Call {
    Call::post(what, format!("/api/Performer/{what}"), body)
}

impl Inner {
    /// Whether the server knows leases.
    pub(super) fn is_leased(&self) -> bool {
        self.http.knows_leases()
    }

    pub(super) async fn start_leased_job(&self, job: NewJob) -> Result<JobKey> {
        job.validate()?;
        // A job that nobody hears of ends with its lease.
        let started: JobReference =
            self.http.json(call("StartJob", &StartJobRequest::from(job)).repeatable()).await?;
        Ok(key(started.job))
    }

    pub(super) async fn leased_beat(&self, job: JobKey) -> Result<JobState> {
        let call = call("Beat", &JobReference { job: guid(job) }).repeatable().by_the_heart();
        Ok(self.http.json::<JobStateResponse>(call).await?.state)
    }

    pub(super) async fn end_leased_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        let JobEnd { state, info, figures } = end;
        let call = call("EndJob", &EndJobRequest { job: guid(job), state, info, figures });
        let swept: SweepResponse = self.http.json(call).await?;
        let mut known = self.leases.known();
        known.held.remove(&job);
        known.in_doubt.remove(&job);
        drop(known);
        Ok(swept_of(swept))
    }

    pub(super) async fn leased_sweep(&self) -> Result<Swept> {
        let call = call("Sweep", &serde_json::json!({})).repeatable().by_the_heart();
        let swept: SweepResponse = self.http.json(call).await?;
        Ok(swept_of(swept))
    }

    /// As few calls as there can be for what is reported and taken: one, nearly always.
    pub(super) async fn exchange(&self, mut reports: Vec<Report>, take: Option<Take>) -> ReportedAndTaken {
        // Before, not afterwards: whoever goes away while this is under way has been handed nothing yet.
        if let Some(job) = take.as_ref().map(|take| take.job)
            && self.leases.is_in_doubt(job)
            && let Err(error) = self.give_back_the_unknown(job).await
        {
            tracing::warn!(%job, %error, "the server could not be asked what the job holds");
        }
        let mut reported = Vec::with_capacity(reports.len());
        loop {
            let mut bytes = 0;
            let fits = reports.iter().take(MOST_REPORTS).take_while(|report| {
                bytes += size_of(report);
                bytes <= LARGEST_REPORTS
            });
            let fitting = fits.count().max(1).min(reports.len());
            if fitting == reports.len() {
                break;
            }
            let rest = reports.split_off(fitting);
            reported.extend(self.exchange_once(std::mem::replace(&mut reports, rest), None).await.reports);
        }
        let mut answer = self.exchange_once(reports, take).await;
        reported.append(&mut answer.reports);
        ReportedAndTaken { reports: reported, taken: answer.taken }
    }

    /// It has a name of its own, by which the server knows one that is made again because its answer was lost.
    async fn exchange_once(&self, reports: Vec<Report>, take: Option<Take>) -> ReportedAndTaken {
        let (count, job) = (reports.len(), take.as_ref().map(|take| take.job));
        let robot = take.as_ref().and_then(|take| take.robot);
        let claims: Vec<Claim> = reports.iter().map(|report| report.claim).collect();
        let reports = reports.into_iter().map(|report| ReportDto {
            claim: report.claim.into(),
            result: (&report.result).into(),
            progress: report.progress,
        });
        let id = self.new_name();
        let _taking = self.leases.taking.read().await;
        let heard = std::mem::take(&mut self.leases.known().heard);
        let body = ExchangeRequest { id, heard, reports: reports.collect(), take: take.map(take_dto) };
        let doubt = Doubt { leases: &self.leases, job, id };
        let answer = match self.http.json::<QueueItemsExchange>(call("Exchange", &body).repeatable()).await {
            Ok(answer) => answer,
            Err(failed) => {
                return ReportedAndTaken {
                    reports: (0..count).map(|_| Err(failed.error.clone())).collect(),
                    taken: if job.is_some() { Err(failed.error) } else { Ok(Taken::default()) },
                };
            }
        };
        let mut reports: Vec<_> = answer.reports.into_iter().map(reported).collect();
        let missing =
            || OrchestratorError::new(ErrorKind::Unknown, "the server answered fewer reports than were made");
        reports.resize_with(count, || Err(missing()));
        let withheld = answer.withheld.map(Duration::from_millis);
        let taken = match answer.took {
            ClaimResultDto::Error(error) => Err(error_of(error)),
            ClaimResultDto::Items(items) => {
                let items: Result<Vec<ClaimedItem>> =
                    items.into_iter().map(|taken| claimed(taken, job, robot)).collect();
                items.map(|items| Taken { items, seen: Seen(answer.seen), withheld })
            }
        };
        let mut known = self.leases.known();
        known.answered_by(answer.run);
        for (claim, reported) in claims.iter().zip(&reports) {
            let over = reported.as_ref().map_or_else(|error| !leaves_doubt(error), |_| true);
            if over && let Some(held) = known.held.get_mut(&claim.job()) {
                held.remove(claim);
            }
        }
        if let Some(job) = job {
            known.heard.push(id);
            let held = known.held.entry(job).or_default();
            held.extend(taken.iter().flat_map(|taken| &taken.items).map(|item| item.claim));
        }
        drop(known);
        if taken.is_ok() {
            doubt.dispel();
        }
        ReportedAndTaken { reports, taken }
    }

    fn new_name(&self) -> Uuid {
        Uuid::from_u128(self.random.lock().unwrap_or_else(PoisonError::into_inner).u128(..))
    }

    /// Takes whose answers were lost left items with the job that no robot works on.
    async fn give_back_the_unknown(&self, job: JobKey) -> Result<()> {
        let _nobody_takes = self.leases.taking.write().await;
        let Some(void) = self.leases.known().in_doubt.get(&job).cloned() else {
            return Ok(()); // somebody else was here
        };
        let body = HeldClaimsRequest { job: guid(job), void };
        let held: HeldClaimsResponse = self.http.json(call("Held", &body).repeatable()).await?;
        let unknown: Vec<Claim> = {
            let known = self.leases.known();
            let ours = known.held.get(&job);
            let held = held.claims.into_iter().map(Claim::from);
            held.filter(|claim| ours.is_none_or(|ours| !ours.contains(claim))).collect()
        };
        for claims in unknown.chunks(MOST_REPORTS) {
            let back = |claim: &Claim| ReportDto {
                claim: (*claim).into(),
                result: (&TransactionResult::GivenBack).into(),
                progress: None,
            };
            let reports = claims.iter().map(back).collect();
            let body = ExchangeRequest { id: Uuid::nil(), heard: Vec::new(), reports, take: None };
            self.http.json::<QueueItemsExchange>(call("Exchange", &body).repeatable()).await?;
        }
        if !unknown.is_empty() {
            tracing::warn!(%job, items = unknown.len(), "gave back items that were taken by calls whose answers were lost");
        }
        self.leases.known().in_doubt.remove(&job);
        Ok(())
    }

    pub(super) async fn add_and_start_leased(
        &self,
        take: Take,
        item: &NewQueueItem,
        content: &str,
    ) -> Result<ClaimedItem> {
        let (job, robot) = (take.job, take.robot);
        let id = self.new_name();
        let body =
            AddAndStartRequest { id, item: QueueItemDataDto::new(None, item, content), take: take_dto(take) };
        let _taking = self.leases.taking.read().await;
        let doubt = Doubt { leases: &self.leases, job: Some(job), id };
        let taken =
            self.http.json::<ClaimedItemDto<QueueItemDto>>(call("AddAndStart", &body).repeatable()).await;
        let answered = match taken {
            Ok(taken) => claimed(taken, Some(job), robot),
            // What was refused was not done.
            Err(failed) if !leaves_doubt(&failed.error) => {
                doubt.dispel();
                return Err(failed.error);
            }
            Err(failed) => return Err(failed.error),
        }?;
        self.leases.known().held.entry(job).or_default().insert(answered.claim);
        doubt.dispel();
        Ok(answered)
    }

    pub(super) async fn leased_progress(&self, claim: Claim, progress: String) -> Result<()> {
        validate_progress(&progress)?;
        let body = ProgressRequest { claim: claim.into(), progress };
        Ok(self.http.done(call("Progress", &body).repeatable()).await?)
    }

    /// The server holds the call until there may be something, for at most 20 seconds.
    pub(super) async fn leased_wait(&self, queue: &str, seen: Seen, at_most: Duration) {
        // The server begins to wait when it hears of it.
        let until = tokio::time::Instant::now() + at_most.min(LONGEST_WAIT) + Duration::from_secs(5);
        let at_most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX).max(1);
        let body = WaitRequest { queue: queue.to_owned(), seen: seen.0, at_most };
        let waited = tokio::time::timeout_at(until, self.http.done(call("Wait", &body).repeatable())).await;
        if let Ok(Err(_)) = waited {
            // Nobody knows: no busy loop.
            tokio::time::sleep(Duration::from_millis(at_most).min(Duration::from_secs(1))).await;
        }
    }

    pub(super) async fn leased_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        let jobs: Vec<ListedJob> = self.http.json(call("Jobs", &LimitRequest { limit }).repeatable()).await?;
        Ok(jobs.into_iter().map(Job::from).collect())
    }

    pub(super) async fn leased_robots(&self) -> Result<Vec<Robot>> {
        let robots: Vec<ListedRobot> =
            self.http.json(call("Robots", &serde_json::json!({})).repeatable()).await?;
        Ok(robots.into_iter().map(Robot::from).collect())
    }

    pub(super) async fn edit_leased_limits(&self, queue: &str, edit: LimitsEdit) -> Result<()> {
        let body = EditLimitsRequest { queue: queue.to_owned(), edit };
        Ok(self.http.done(call("EditLimits", &body).repeatable()).await?)
    }

    pub(super) async fn stop_leased_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        let body = LeaseStopJobRequest { job: guid(job), strategy };
        Ok(self.http.done(call("StopJob", &body).repeatable()).await?)
    }

    pub(super) async fn leased_retention(&self, limit: usize) -> Result<u64> {
        let removed: RetentionResponse = self.http.json(call("Retention", &LimitRequest { limit })).await?;
        Ok(removed.removed)
    }
}

fn take_dto(take: Take) -> ClaimRequestDto {
    let Take { queue, job, robot, count, reference } = take;
    ClaimRequestDto {
        queue: queue.to_string(),
        job: guid(job),
        robot,
        count,
        reference: reference.map(Into::into),
    }
}

fn swept_of(swept: SweepResponse) -> Swept {
    Swept { jobs: swept.jobs.into_iter().map(key).collect(), abandoned: swept.abandoned }
}

fn claimed(
    taken: ClaimedItemDto<QueueItemDto>,
    job: Option<JobKey>,
    robot: Option<u32>,
) -> Result<ClaimedItem> {
    let claim: ClaimDto = taken.claim;
    let item = taken.item.into_item();
    let mut item = item.map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))?;
    (item.executor_job, item.robot) = (job, robot);
    Ok(ClaimedItem { item: Box::new(item), claim: claim.into() })
}

fn reported(report: ReportResultDto) -> Result<crate::model::status::Status> {
    match report {
        ReportResultDto::Status(status) => Ok(status),
        ReportResultDto::Error(error) => Err(error_of(error)),
    }
}

/// An error as the server's store said it.
fn error_of(error: ErrorDto) -> OrchestratorError {
    let kind = match error.kind.as_str() {
        "NotFound" => ErrorKind::NotFound,
        "Invalid" => ErrorKind::Invalid,
        "Conflict" => ErrorKind::Conflict,
        "ClaimLost" => ErrorKind::ClaimLost,
        "Unauthorized" => ErrorKind::Unauthorized,
        "Unavailable" => ErrorKind::Unavailable,
        "Unknown" => ErrorKind::Unknown,
        "Unsupported" => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    };
    OrchestratorError::new(kind, error.message).coded(error.code.map(ErrorCode::new))
}
