//! Performer's own server: it knows jobs, leases and claims, and takes many reports at once. What a performer takes there
//! is held as on a store of its own; nothing has to be looked for when an answer is lost, because a report may be made
//! twice, and what was taken and never heard of goes with the lease.

use std::sync::PoisonError;
use std::time::Duration;

use super::super::{
    ErrorKind, OrchestratorError, Report, ReportedAndTaken, Result, Seen, Swept, Take, Taken,
};
use super::Inner;
use super::call::Call;
use crate::model::code::ErrorCode;
use crate::model::item::{ClaimedItem, NewQueueItem, validate_progress};
use crate::model::job::{Job, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, JobKey};
use crate::wire::item::QueueItemDto;
use crate::wire::leased::{
    AddAndStart, ClaimDto, EndJob, ErrorDto, ExchangeRequest, Exchanged, LimitDto, ListedJob, OfJob,
    ProgressDto, RemovedDto, ReportDto, ReportedDto, StartJob, StateOfJob, StopJob, SweptDto, TakeDto,
    TakenDto, TookDto, WaitDto, guid, key,
};
use crate::wire::transaction::QueueItemDataDto;

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
        let started: OfJob = self.http.json(call("StartJob", &StartJob::from(job)).repeatable()).await?;
        Ok(key(started.job))
    }

    pub(super) async fn leased_beat(&self, job: JobKey) -> Result<JobState> {
        let call = call("Beat", &OfJob { job: guid(job) }).repeatable().by_the_heart();
        Ok(self.http.json::<StateOfJob>(call).await?.state)
    }

    pub(super) async fn end_leased_job(
        &self,
        job: JobKey,
        state: JobState,
        info: Option<String>,
    ) -> Result<Swept> {
        let call = call("EndJob", &EndJob { job: guid(job), state, info });
        let swept: SweptDto = self.http.json(call).await?;
        Ok(swept_of(swept))
    }

    pub(super) async fn leased_sweep(&self) -> Result<Swept> {
        let swept: SweptDto = self.http.json(call("Sweep", &serde_json::json!({})).repeatable()).await?;
        Ok(swept_of(swept))
    }

    /// One call, whatever is reported and taken. It has a name of its own, by which the server knows one that is made
    /// again because its answer was lost.
    pub(super) async fn exchange(&self, reports: Vec<Report>, take: Option<Take>) -> ReportedAndTaken {
        let count = reports.len();
        let taking = take.is_some();
        let robot = take.as_ref().and_then(|take| take.robot);
        let job = take.as_ref().map(|take| take.job);
        let reports = reports.into_iter().map(|report| ReportDto {
            claim: report.claim.into(),
            result: (&report.result).into(),
            progress: report.progress,
        });
        let id = uuid::Uuid::from_u128(self.random.lock().unwrap_or_else(PoisonError::into_inner).u128(..));
        let body = ExchangeRequest { id, reports: reports.collect(), take: take.map(take_dto) };
        match self.http.json::<Exchanged>(call("Exchange", &body).repeatable()).await {
            Ok(answer) => {
                let mut reports: Vec<_> = answer.reports.into_iter().map(reported).collect();
                let missing = || {
                    OrchestratorError::new(
                        ErrorKind::Unknown,
                        "the server answered fewer reports than were made",
                    )
                };
                reports.resize_with(count, || Err(missing()));
                let taken = match answer.took {
                    TookDto::Error(error) => Err(error_of(error)),
                    TookDto::Items(items) => {
                        let items: Result<Vec<ClaimedItem>> =
                            items.into_iter().map(|taken| claimed(taken, job, robot)).collect();
                        items.map(|items| Taken { items, seen: Seen(answer.seen) })
                    }
                };
                ReportedAndTaken { reports, taken }
            }
            Err(failed) => ReportedAndTaken {
                reports: (0..count).map(|_| Err(failed.error.clone())).collect(),
                taken: if taking { Err(failed.error) } else { Ok(Taken::default()) },
            },
        }
    }

    pub(super) async fn add_and_start_leased(
        &self,
        take: Take,
        item: &NewQueueItem,
        content: &str,
    ) -> Result<ClaimedItem> {
        let (job, robot) = (Some(take.job), take.robot);
        let body = AddAndStart { item: QueueItemDataDto::new(None, item, content), take: take_dto(take) };
        let taken: TakenDto<QueueItemDto> = self.http.json(call("AddAndStart", &body)).await?;
        claimed(taken, job, robot)
    }

    pub(super) async fn leased_progress(&self, claim: Claim, progress: String) -> Result<()> {
        validate_progress(&progress)?;
        let body = ProgressDto { claim: claim.into(), progress };
        Ok(self.http.done(call("Progress", &body).repeatable()).await?)
    }

    /// The server holds the call until there may be something, for at most 20 seconds.
    pub(super) async fn leased_wait(&self, queue: &str, seen: Seen, at_most: Duration) {
        let until = tokio::time::Instant::now() + at_most;
        let at_most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX).max(1);
        let body = WaitDto { queue: queue.to_owned(), seen: seen.0, at_most };
        let waited = tokio::time::timeout_at(until, self.http.done(call("Wait", &body).repeatable())).await;
        if let Ok(Err(_)) = waited {
            // Nobody knows: as long as was asked for, but no busy loop.
            tokio::time::sleep_until(until.min(tokio::time::Instant::now() + Duration::from_secs(1))).await;
        }
    }

    pub(super) async fn leased_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        let jobs: Vec<ListedJob> = self.http.json(call("Jobs", &LimitDto { limit }).repeatable()).await?;
        Ok(jobs.into_iter().map(Job::from).collect())
    }

    pub(super) async fn stop_leased_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        let body = StopJob { job: guid(job), strategy };
        Ok(self.http.done(call("StopJob", &body).repeatable()).await?)
    }

    pub(super) async fn leased_retention(&self, limit: usize) -> Result<u64> {
        let removed: RemovedDto = self.http.json(call("Retention", &LimitDto { limit })).await?;
        Ok(removed.removed)
    }
}

fn take_dto(take: Take) -> TakeDto {
    let Take { queue, job, robot, count, reference } = take;
    TakeDto { queue: queue.to_string(), job: guid(job), robot, count, reference: reference.map(Into::into) }
}

fn swept_of(swept: SweptDto) -> Swept {
    Swept { jobs: swept.jobs.into_iter().map(key).collect(), abandoned: swept.abandoned }
}

fn claimed(taken: TakenDto<QueueItemDto>, job: Option<JobKey>, robot: Option<u32>) -> Result<ClaimedItem> {
    let claim: ClaimDto = taken.claim;
    let item = taken.item.into_item();
    let mut item = item.map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))?;
    (item.executor_job, item.robot) = (job, robot);
    Ok(ClaimedItem { item: Box::new(item), claim: claim.into() })
}

fn reported(report: ReportedDto) -> Result<crate::model::status::Status> {
    match report {
        ReportedDto::Status(status) => Ok(status),
        ReportedDto::Error(error) => Err(error_of(error)),
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
