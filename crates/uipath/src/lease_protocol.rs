//! The protocol of performer's own server, which has jobs, leases and claims, and accepts many reports in one call.
//!
//! The guarantees are those of a store. Reports are idempotent, and a claim whose answer was lost is repeated under its id and
//! gets the same answer. Where that is not possible (the server was restarted, or was unreachable for too long), the client
//! asks the server for the claims of the job and gives back those that it does not know.

use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;
use uuid::Uuid;

use super::Inner;
use super::call::Call;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ClaimedItem, NewQueueItem, validate_progress};
use performer_core::model::job::{Job, JobEnd, JobState, NewJob, StopStrategy};
use performer_core::model::key::{Claim, JobKey};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::result::TransactionResult;
use performer_core::model::robot::Robot;
use performer_core::orchestrator::{
    ClaimRequest, ClaimedItems, ErrorKind, OrchestratorError, Report, ReportAndClaimAnswer, Result, Seen,
    Swept,
};
use performer_wire::item::QueueItemDto;
use performer_wire::lease_protocol::{
    AddAndStartRequest, ClaimDto, ClaimRequestDto, ClaimResultDto, ClaimedItemDto, EditLimitsRequest,
    EndJobRequest, ErrorDto, ExchangeRequest, HeldClaimsRequest, HeldClaimsResponse, JobReference,
    JobStateResponse, LeaseStopJobRequest, LimitRequest, ListedJob, ListedRobot, ProgressRequest,
    QueueItemsExchange, ReportDto, ReportResultDto, RetentionResponse, StartJobRequest, StartJobResponse,
    StartLimitRequest, StartLimitResponse, SweepResponse, WaitRequest, guid, key,
};
use performer_wire::transaction::QueueItemDataDto;

/// The maximum number of reports in one call, and their approximate maximum size in bytes.
const MAX_REPORTS: usize = 1_000;
const MAX_REPORT_BYTES: usize = 8 * 1024 * 1024;
/// The longest wait for items in one call; the server itself holds a call for at most 20 seconds.
const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// The maximum number of ids of unanswered calls that are kept per job, the newest ones: older calls are no longer in flight.
const MAX_LOST: usize = 1_000;

/// The claims of this client, under the lease protocol.
#[derive(Default)]
pub(super) struct LeaseTracker {
    tracked: Mutex<TrackedClaims>,
    /// Held for reading by claims in flight, for writing while the server is asked for the claims of a job.
    claiming: RwLock<()>,
    /// Whether the server does not know follow-ups.
    lacks_follow_ups: AtomicBool,
    /// The server has said that it makes no tasks with postponements.
    lacks_asking: AtomicBool,
}

#[derive(Default)]
struct TrackedClaims {
    /// The run of the server that answered last.
    run: Option<Uuid>,
    /// The claims that are not reported yet.
    held: HashMap<JobKey, HashSet<Claim>>,
    /// Jobs that may hold claims unknown to this client, with the ids of the calls whose answers were lost.
    in_doubt: HashMap<JobKey, Vec<Uuid>>,
    /// The ids of answered exchanges, which the server may forget.
    heard: Vec<Uuid>,
}

impl LeaseTracker {
    fn tracked(&self) -> MutexGuard<'_, TrackedClaims> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_in_doubt(&self, job: JobKey) -> bool {
        self.tracked().in_doubt.contains_key(&job)
    }
}

impl TrackedClaims {
    /// Notes the run of the server. A restarted server has forgotten its answers, so a repeated call may have been executed
    /// twice, and all jobs are in doubt.
    fn answered_by(&mut self, run: Uuid) {
        if self.run.replace(run).is_some_and(|before| before != run) {
            for job in self.held.keys() {
                self.in_doubt.entry(*job).or_default();
            }
        }
    }
}

/// A claim in flight. If it is dropped before it is confirmed, its job is in doubt.
struct UnconfirmedClaim<'a> {
    leases: &'a LeaseTracker,
    job: Option<JobKey>,
    id: Uuid,
}

impl UnconfirmedClaim<'_> {
    fn confirm(mut self) {
        self.job = None;
    }
}

impl Drop for UnconfirmedClaim<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            let mut tracked = self.leases.tracked();
            let lost = tracked.in_doubt.entry(job).or_default();
            if lost.len() >= MAX_LOST {
                lost.remove(0);
            }
            lost.push(self.id);
        }
    }
}

/// Whether a failed call may have been executed.
fn may_have_executed(error: &OrchestratorError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Other)
}

/// The approximate size of a report on the wire, in bytes.
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
    let follow_ups: usize = report.follow_ups.iter().map(|follow_up| 300 + follow_up.size()).sum();
    let ask = report
        .ask
        .as_ref()
        .map_or(0, |task| task.title.len() + serde_json::to_string(&task.data).map_or(0, |text| text.len()));
    200 + text + report.progress.as_ref().map_or(0, String::len) + follow_ups + ask
}

/// The report as it is sent.
///
/// # Errors
///
/// Invalid for follow-ups that cannot be sent.
fn report_dto(report: Report) -> Result<ReportDto> {
    report.validate_parts()?;
    let Report { claim, result, progress, follow_ups, ask, .. } = report;
    let mut dto = ReportDto::new(claim, &result, progress);
    dto.ask = ask.as_deref().map(Into::into);
    for (at, follow_up) in follow_ups.iter().enumerate() {
        let content = follow_up.item.content().map_err(|refusal| follow_ups.refused(at, refusal.into()))?;
        let data = QueueItemDataDto::new(Some(&follow_up.queue), &follow_up.item, content.as_json());
        dto.follow_ups.push(data);
    }
    Ok(dto)
}

/// A call of the lease protocol.
fn call(operation: &'static str, body: &impl serde::Serialize) -> Call {
    Call::post(operation, format!("/api/Performer/{operation}"), body)
}

impl Inner {
    /// Whether the server has the lease protocol.
    pub(super) fn supports_leases(&self) -> bool {
        self.http.supports_leases()
    }

    /// Whether the server knows follow-ups. A server that has not said it yet probably does.
    pub(super) fn leases_have_follow_ups(&self) -> bool {
        !self.leases.lacks_follow_ups.load(Ordering::Relaxed)
    }

    /// Whether the server makes tasks with postponements. A server that has not said it yet probably does.
    pub(super) fn leases_have_asking(&self) -> bool {
        !self.leases.lacks_asking.load(Ordering::Relaxed)
    }

    pub(super) async fn start_leased_job(&self, job: NewJob) -> Result<JobKey> {
        job.validate()?;
        // If the answer is lost, the job that it registered ends when its lease expires.
        let started: StartJobResponse =
            self.http.json(call("StartJob", &StartJobRequest::from(job)).repeatable()).await?;
        self.leases.lacks_follow_ups.store(!started.follow_ups, Ordering::Relaxed);
        self.leases.lacks_asking.store(!started.asks, Ordering::Relaxed);
        Ok(key(started.job))
    }

    pub(super) async fn leased_beat(&self, job: JobKey) -> Result<JobState> {
        let call = call("Beat", &JobReference { job: guid(job) }).repeatable().on_heartbeat_thread();
        Ok(self.http.json::<JobStateResponse>(call).await?.state)
    }

    pub(super) async fn end_leased_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        let JobEnd { state, info, figures, .. } = end;
        let call = call("EndJob", &EndJobRequest { job: guid(job), state, info, figures });
        let swept: SweepResponse = self.http.json(call).await?;
        let mut tracked = self.leases.tracked();
        tracked.held.remove(&job);
        tracked.in_doubt.remove(&job);
        drop(tracked);
        Ok(swept_of(swept))
    }

    pub(super) async fn leased_sweep(&self) -> Result<Swept> {
        let call = call("Sweep", &serde_json::json!({})).repeatable().on_heartbeat_thread();
        let swept: SweepResponse = self.http.json(call).await?;
        Ok(swept_of(swept))
    }

    /// Reports and claims in as few calls as possible, which is nearly always one.
    pub(super) async fn exchange(
        &self,
        mut reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        // Before the claim: if the caller is dropped during this, it has claimed nothing yet.
        if let Some(job) = take.as_ref().map(|take| take.job)
            && self.leases.is_in_doubt(job)
            && let Err(error) = self.give_back_unknown_claims(job).await
        {
            tracing::warn!(%job, %error, "the claims of the job could not be read from the server");
        }
        let mut reported = Vec::with_capacity(reports.len());
        loop {
            let mut bytes = 0;
            let fits = reports.iter().take(MAX_REPORTS).take_while(|report| {
                bytes += size_of(report);
                bytes <= MAX_REPORT_BYTES
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
        ReportAndClaimAnswer::new(reported, answer.claimed)
    }

    /// The report as it is sent.
    ///
    /// # Errors
    ///
    /// Unsupported for follow-ups if the server does not know them: it would refuse the whole call. Invalid for those that
    /// cannot be sent.
    fn report_dto(&self, report: Report) -> Result<ReportDto> {
        if !report.follow_ups.is_empty() && !self.leases_have_follow_ups() {
            let message = "the server is of a version that does not add follow-up items";
            return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        }
        if report.ask.is_some() && !self.leases_have_asking() {
            let message = "the server is of a version that makes no tasks";
            return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        }
        report_dto(report)
    }

    /// One exchange. Its id lets the server recognise it when it is repeated after a lost answer.
    async fn exchange_once(&self, reports: Vec<Report>, take: Option<ClaimRequest>) -> ReportAndClaimAnswer {
        let (count, job) = (reports.len(), take.as_ref().map(|take| take.job));
        let robot = take.as_ref().and_then(|take| take.robot);
        let claims: Vec<Claim> = reports.iter().map(|report| report.claim).collect();
        let (mut sent, mut refused) = (Vec::with_capacity(count), Vec::new());
        for (at, report) in reports.into_iter().enumerate() {
            match self.report_dto(report) {
                Ok(dto) => sent.push(dto),
                Err(error) => refused.push((at, error)),
            }
        }
        let expected = sent.len();
        let id = self.new_name();
        let _taking = self.leases.claiming.read().await;
        let heard = std::mem::take(&mut self.leases.tracked().heard);
        let body = ExchangeRequest { id, heard, reports: sent, take: take.map(take_dto) };
        let unconfirmed = UnconfirmedClaim { leases: &self.leases, job, id };
        let answer = match self.http.json::<QueueItemsExchange>(call("Exchange", &body).repeatable()).await {
            Ok(answer) => answer,
            Err(failed) => {
                return ReportAndClaimAnswer::new(
                    (0..count).map(|_| Err(failed.error.clone())).collect(),
                    if job.is_some() { Err(failed.error) } else { Ok(ClaimedItems::default()) },
                );
            }
        };
        let mut reports: Vec<_> = answer.reports.into_iter().map(reported).collect();
        let missing =
            || OrchestratorError::new(ErrorKind::Unknown, "the server answered fewer reports than were made");
        reports.resize_with(expected, || Err(missing()));
        for (at, error) in refused {
            reports.insert(at, Err(error)); // answers are in the order of the reports
        }
        let withheld = answer.withheld.map(Duration::from_millis);
        let taken = match answer.took {
            ClaimResultDto::Error(error) => Err(error_of(error)),
            ClaimResultDto::Items(items) => {
                let items: Result<Vec<ClaimedItem>> =
                    items.into_iter().map(|taken| claimed(taken, job, robot)).collect();
                items.map(|items| {
                    let mut claimed = ClaimedItems::new(items);
                    claimed.seen = Seen(answer.seen);
                    claimed.withheld = withheld;
                    claimed
                })
            }
        };
        let mut tracked = self.leases.tracked();
        tracked.answered_by(answer.run);
        for (claim, reported) in claims.iter().zip(&reports) {
            let over = reported.as_ref().map_or_else(|error| !may_have_executed(error), |_| true);
            if over && let Some(held) = tracked.held.get_mut(&claim.job()) {
                held.remove(claim);
            }
        }
        if let Some(job) = job {
            tracked.heard.push(id);
            let held = tracked.held.entry(job).or_default();
            held.extend(taken.iter().flat_map(|taken| &taken.items).map(|item| item.claim));
        }
        drop(tracked);
        if taken.is_ok() {
            unconfirmed.confirm();
        }
        ReportAndClaimAnswer::new(reports, taken)
    }

    fn new_name(&self) -> Uuid {
        Uuid::from_u128(self.random.lock().unwrap_or_else(PoisonError::into_inner).u128(..))
    }

    /// Gives back the claims of a job that this client does not know: those of calls whose answers were lost.
    async fn give_back_unknown_claims(&self, job: JobKey) -> Result<()> {
        let _no_claims = self.leases.claiming.write().await;
        let Some(void) = self.leases.tracked().in_doubt.get(&job).cloned() else {
            return Ok(()); // a concurrent call has done it
        };
        let body = HeldClaimsRequest { job: guid(job), void };
        let held: HeldClaimsResponse = self.http.json(call("Held", &body).repeatable()).await?;
        let unknown: Vec<Claim> = {
            let tracked = self.leases.tracked();
            let ours = tracked.held.get(&job);
            let held = held.claims.into_iter().map(Claim::from);
            held.filter(|claim| ours.is_none_or(|ours| !ours.contains(claim))).collect()
        };
        for claims in unknown.chunks(MAX_REPORTS) {
            let back = |claim: &Claim| ReportDto::new(*claim, &TransactionResult::GivenBack, None);
            let reports = claims.iter().map(back).collect();
            let body = ExchangeRequest { id: Uuid::nil(), heard: Vec::new(), reports, take: None };
            self.http.json::<QueueItemsExchange>(call("Exchange", &body).repeatable()).await?;
        }
        if !unknown.is_empty() {
            tracing::warn!(%job, items = unknown.len(), "gave back items claimed by calls whose answers were lost");
        }
        self.leases.tracked().in_doubt.remove(&job);
        Ok(())
    }

    pub(super) async fn add_and_start_leased(
        &self,
        take: ClaimRequest,
        item: &NewQueueItem,
        content: &str,
    ) -> Result<ClaimedItem> {
        let (job, robot) = (take.job, take.robot);
        let id = self.new_name();
        let body =
            AddAndStartRequest { id, item: QueueItemDataDto::new(None, item, content), take: take_dto(take) };
        let _taking = self.leases.claiming.read().await;
        let unconfirmed = UnconfirmedClaim { leases: &self.leases, job: Some(job), id };
        let taken =
            self.http.json::<ClaimedItemDto<QueueItemDto>>(call("AddAndStart", &body).repeatable()).await;
        let answered = match taken {
            Ok(taken) => claimed(taken, Some(job), robot),
            // A refused call was not executed.
            Err(failed) if !may_have_executed(&failed.error) => {
                unconfirmed.confirm();
                return Err(failed.error);
            }
            Err(failed) => return Err(failed.error),
        }?;
        self.leases.tracked().held.entry(job).or_default().insert(answered.claim);
        unconfirmed.confirm();
        Ok(answered)
    }

    pub(super) async fn leased_progress(&self, claim: Claim, progress: String) -> Result<()> {
        validate_progress(&progress)?;
        let body = ProgressRequest { claim: claim.into(), progress };
        Ok(self.http.done(call("Progress", &body).repeatable()).await?)
    }

    /// Waits until there may be an item; the server holds the call for at most 20 seconds.
    pub(super) async fn leased_wait(&self, queue: &str, seen: Seen, at_most: Duration) {
        // The server's wait starts when it receives the call.
        let until = tokio::time::Instant::now() + at_most.min(MAX_WAIT) + Duration::from_secs(5);
        let at_most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX).max(1);
        let body = WaitRequest { queue: queue.to_owned(), seen: seen.0, at_most };
        let waited = tokio::time::timeout_at(until, self.http.done(call("Wait", &body).repeatable())).await;
        if let Ok(Err(_)) = waited {
            // Avoids a busy loop while the server does not answer.
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

    pub(super) async fn leased_start_limit(&self, queue: &str) -> Result<Option<Timestamp>> {
        let body = StartLimitRequest { queue: queue.to_owned() };
        let answer: StartLimitResponse = self.http.json(call("StartLimit", &body).repeatable()).await?;
        Ok(answer.until)
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

fn take_dto(take: ClaimRequest) -> ClaimRequestDto {
    let ClaimRequest { queue, job, robot, count, reference, .. } = take;
    ClaimRequestDto {
        queue: queue.to_string(),
        job: guid(job),
        robot,
        count,
        reference: reference.map(Into::into),
    }
}

fn swept_of(swept: SweepResponse) -> Swept {
    Swept::new(swept.jobs.into_iter().map(key).collect(), swept.abandoned)
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
    Ok(ClaimedItem::new(Box::new(item), claim.into()))
}

fn reported(report: ReportResultDto) -> Result<performer_core::model::status::Status> {
    match report {
        ReportResultDto::Status(status) => Ok(status),
        ReportResultDto::Error(error) => Err(error_of(error)),
    }
}

/// The error of the server's store.
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
    OrchestratorError::new(kind, error.message).with_code(error.code.map(ErrorCode::new))
}
