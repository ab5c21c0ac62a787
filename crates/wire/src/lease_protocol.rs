//! The lease protocol between performers and performer's own server: jobs with heartbeats, claims, and calls with many reports
//! and claims. The server announces it by a header; clients that do not know it use the vendor's API (orchestrator-api 15.3,
//! choices 6).

mod fleet;

use jiff::Timestamp;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ApiTime;
use super::content_map::ContentMap;
use super::item::{ProcessingExceptionDto, QueueItemDto};
use super::task::AskDto;
use super::transaction::QueueItemDataDto;
#[cfg(feature = "server")]
use performer_core::model::content::Output;
#[cfg(feature = "server")]
use performer_core::model::exception::ExceptionType;
#[cfg(feature = "server")]
use performer_core::model::exception::ProcessingException;
use performer_core::model::item::ReferenceFilter;
use performer_core::model::job::{JobFigures, JobState, NewJob, StopStrategy};
use performer_core::model::key::{Claim, ItemId, JobKey};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::result::TransactionResult;
use performer_core::model::review::Person;
use performer_core::model::status::Status;

pub use fleet::{ListedJob, ListedRobot};

/// The response header that announces the protocol. Its value is [`VERSION`].
pub const HEADER: &str = "performer-leases";
/// The version of the protocol.
pub const VERSION: &str = "1";
/// The request header for a comment on behalf of another user: the id, a comma, and the name, encoded like a folder path.
pub const AUTHOR_HEADER: &str = "performer-author";
/// The member of a queue with its limits for handing out items, if it has any.
pub const LIMITS: &str = "PerformerLimits";
/// The member of a queue with its retry delay, if it has one.
pub const RETRY_DELAY: &str = "PerformerRetryDelay";
/// The member of an item with its group, if it has one.
pub const GROUP: &str = "PerformerGroup";
/// The member of a queue with the seconds after which an item is abandoned.
pub const ABANDON_AFTER: &str = "PerformerAbandonAfterSeconds";

/// Registers a job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartJobRequest {
    pub queue: String,
    pub machine: String,
    pub process_id: u32,
    pub version: String,
    pub robots: u32,
    /// In milliseconds.
    pub lease: u64,
}

impl From<NewJob> for StartJobRequest {
    fn from(job: NewJob) -> Self {
        let NewJob { queue, machine, process_id, version, robots, lease, .. } = job;
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Self { queue, machine, process_id, version, robots, lease }
    }
}

impl From<StartJobRequest> for NewJob {
    fn from(job: StartJobRequest) -> Self {
        let StartJobRequest { queue, machine, process_id, version, robots, lease } = job;
        Self::new(queue)
            .machine(machine)
            .process_id(process_id)
            .version(version)
            .robots(robots)
            .lease(Duration::from_millis(lease))
    }
}

/// The body of a call without arguments.
#[cfg(feature = "server")]
#[derive(Default, Deserialize)]
pub struct EmptyRequest {}

/// A registered job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartJobResponse {
    pub job: uuid::Uuid,
    /// Whether reports may have follow-ups. Servers before they were introduced do not say it, and refuse such a call.
    #[serde(default)]
    pub follow_ups: bool,
    /// Whether a report may have a task by which a person is asked, and `Answer` is there.
    #[serde(default)]
    pub asks: bool,
}

/// A reference to a job by its key.
#[derive(Serialize, Deserialize)]
pub struct JobReference {
    pub job: uuid::Uuid,
}

/// Ends a job.
#[derive(Serialize, Deserialize)]
pub struct EndJobRequest {
    pub job: uuid::Uuid,
    pub state: JobState,
    pub info: Option<String>,
    #[serde(default)]
    pub figures: Option<JobFigures>,
}

/// Requests that a job stops.
#[derive(Serialize, Deserialize)]
pub struct LeaseStopJobRequest {
    pub job: uuid::Uuid,
    pub strategy: StopStrategy,
}

/// The state of a job.
#[derive(Serialize, Deserialize)]
pub struct JobStateResponse {
    pub state: JobState,
}

/// The result of a sweep.
#[derive(Serialize, Deserialize)]
pub struct SweepResponse {
    pub jobs: Vec<uuid::Uuid>,
    pub abandoned: u64,
}

/// Changes the limits of a queue.
#[derive(Serialize, Deserialize)]
pub struct EditLimitsRequest {
    pub queue: String,
    pub edit: LimitsEdit,
}

/// Asks about the limit on starts of a queue.
#[derive(Serialize, Deserialize)]
pub struct StartLimitRequest {
    pub queue: String,
}

/// Until when no item of a queue is started because of its limit on starts.
#[derive(Serialize, Deserialize)]
pub struct StartLimitResponse {
    pub until: Option<Timestamp>,
}

/// The right to report on one attempt.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct ClaimDto {
    item: i64,
    pub job: uuid::Uuid,
    token: u64,
}

impl From<Claim> for ClaimDto {
    fn from(claim: Claim) -> Self {
        Self { item: claim.item.0, job: guid(claim.job), token: claim.token }
    }
}

impl From<ClaimDto> for Claim {
    fn from(claim: ClaimDto) -> Self {
        Self { item: ItemId(claim.item), job: key(claim.job), token: claim.token }
    }
}

pub fn guid(key: JobKey) -> uuid::Uuid {
    uuid::Uuid::from_bytes(key.to_bytes())
}

pub fn key(guid: uuid::Uuid) -> JobKey {
    JobKey::from_bytes(guid.into_bytes())
}

/// A request to claim items.
#[derive(Serialize, Deserialize)]
pub struct ClaimRequestDto {
    pub queue: String,
    pub job: uuid::Uuid,
    pub robot: Option<u32>,
    pub count: usize,
    pub reference: Option<ReferenceDto>,
}

/// A filter by reference.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReferenceDto {
    Equals(String),
    StartsWith(String),
}

impl From<ReferenceFilter> for ReferenceDto {
    fn from(filter: ReferenceFilter) -> Self {
        match filter {
            ReferenceFilter::Equals(text) => Self::Equals(text),
            ReferenceFilter::StartsWith(text) => Self::StartsWith(text),
        }
    }
}

impl From<ReferenceDto> for ReferenceFilter {
    fn from(filter: ReferenceDto) -> Self {
        match filter {
            ReferenceDto::Equals(text) => Self::Equals(text),
            ReferenceDto::StartsWith(text) => Self::StartsWith(text),
        }
    }
}

/// The result of a transaction.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttemptResultDto {
    Successful { output: Option<ContentMap> },
    Failed { exception: Option<ProcessingExceptionDto>, defer_date: Option<ApiTime> },
    Postponed { defer_date: ApiTime, due_date: Option<ApiTime> },
    GivenBack,
}

impl From<&TransactionResult> for AttemptResultDto {
    fn from(result: &TransactionResult) -> Self {
        match result {
            TransactionResult::Successful { output } => Self::Successful {
                output: output.as_ref().map(|output| ContentMap::of_json(output.as_json())),
            },
            TransactionResult::Failed { exception, defer_date } => Self::Failed {
                exception: exception.as_ref().map(Into::into),
                defer_date: defer_date.map(ApiTime),
            },
            TransactionResult::Postponed { defer_date, due_date } => {
                Self::Postponed { defer_date: ApiTime(*defer_date), due_date: due_date.map(ApiTime) }
            }
            TransactionResult::GivenBack => Self::GivenBack,
        }
    }
}

#[cfg(feature = "server")]
impl AttemptResultDto {
    /// Converts the result. `now` is the time of an exception without one.
    ///
    /// # Errors
    ///
    /// For an invalid output.
    pub fn into_result(self, now: Timestamp) -> Result<TransactionResult, performer_core::model::Refusal> {
        Ok(match self {
            Self::Successful { output } => {
                let output = output.map(|output| Output::from_json(output.as_json()));
                TransactionResult::Successful { output: output.transpose()? }
            }
            Self::Failed { exception, defer_date } => TransactionResult::Failed {
                exception: exception.map(|dto| {
                    let kind = dto.exception_type.as_ref().and_then(super::EnumValue::known);
                    let kind = kind.unwrap_or(ExceptionType::ApplicationException);
                    let at = dto.creation_time.map_or(now, |at| at.0);
                    ProcessingException::new(kind, dto.reason.unwrap_or_default(), at)
                        .details(dto.details)
                        .image(dto.associated_image_file_path)
                }),
                defer_date: defer_date.map(|at| at.0),
            },
            Self::Postponed { defer_date, due_date } => {
                TransactionResult::Postponed { defer_date: defer_date.0, due_date: due_date.map(|at| at.0) }
            }
            Self::GivenBack => TransactionResult::GivenBack,
        })
    }
}

/// A report on one attempt.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportDto {
    pub claim: ClaimDto,
    pub result: AttemptResultDto,
    pub progress: Option<String>,
    /// What is added with a success, in the same commit. Each names its queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<QueueItemDataDto>,
    /// The task by which a person is asked with a postponement. Sent to a server only if it said that it knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<AskDto>,
}

impl ReportDto {
    /// A report without follow-ups.
    pub fn new(claim: Claim, result: &TransactionResult, progress: Option<String>) -> Self {
        Self { claim: claim.into(), result: result.into(), progress, follow_ups: Vec::new(), ask: None }
    }
}

/// Reports results and claims items.
#[derive(Serialize, Deserialize)]
pub struct ExchangeRequest {
    /// Identifies the call. A repetition after a lost response has the same id.
    pub id: uuid::Uuid,
    /// The ids of calls whose responses have arrived: they will not be repeated.
    #[serde(default)]
    pub heard: Vec<uuid::Uuid>,
    pub reports: Vec<ReportDto>,
    pub take: Option<ClaimRequestDto>,
}

/// The error of one part of a call.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDto {
    pub kind: String,
    pub code: Option<u16>,
    pub message: String,
}

/// The result of a report.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportResultDto {
    Status(Status),
    Error(ErrorDto),
}

/// A claimed item.
#[derive(Serialize, Deserialize)]
pub struct ClaimedItemDto<I> {
    pub item: I,
    pub claim: ClaimDto,
}

/// The claimed items, or the error.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimResultDto<I> {
    Items(Vec<ClaimedItemDto<I>>),
    Error(ErrorDto),
}

/// The response to an [`ExchangeRequest`].
#[derive(Serialize, Deserialize)]
pub struct ExchangeResponse<I> {
    pub reports: Vec<ReportResultDto>,
    pub took: ClaimResultDto<I>,
    /// The state of the queue that the claim saw; a wait for items starts from it.
    pub seen: u64,
    /// Further items are withheld by the limits of the queue for this many milliseconds.
    #[serde(default)]
    pub withheld: Option<u64>,
    /// Identifies the run of the server. After a restart the cached responses are lost.
    pub run: uuid::Uuid,
}

/// Requests the claims that a job holds.
#[derive(Serialize, Deserialize)]
pub struct HeldClaimsRequest {
    pub job: uuid::Uuid,
    /// The ids of calls that may still arrive: they are not to be executed any more.
    pub void: Vec<uuid::Uuid>,
}

/// The claims that a job holds.
#[derive(Serialize, Deserialize)]
pub struct HeldClaimsResponse {
    pub claims: Vec<ClaimDto>,
}

/// The response as the client parses it.
pub type QueueItemsExchange = ExchangeResponse<QueueItemDto>;

/// Adds an item and starts it in one call.
#[derive(Serialize, Deserialize)]
pub struct AddAndStartRequest {
    /// Like the id of an [`ExchangeRequest`].
    pub id: uuid::Uuid,
    pub take: ClaimRequestDto,
    pub item: QueueItemDataDto,
}

/// Sets the progress of a claimed item.
#[derive(Serialize, Deserialize)]
pub struct ProgressRequest {
    pub claim: ClaimDto,
    pub progress: String,
}

/// Waits for items of a queue.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitRequest {
    pub queue: String,
    pub seen: u64,
    /// In milliseconds.
    pub at_most: u64,
}

/// The maximum number of rows.
#[derive(Serialize, Deserialize)]
pub struct LimitRequest {
    pub limit: usize,
}

/// The number of removed items.
#[derive(Serialize, Deserialize)]
pub struct RetentionResponse {
    pub removed: u64,
}

/// Encodes the author of a comment for [`AUTHOR_HEADER`].
pub fn encode_author(person: &Person) -> String {
    let id = person.user_id.map(|id| id.to_string()).unwrap_or_default();
    let name = person.user_name.as_deref().map(super::folder_path::encode).unwrap_or_default();
    format!("{id},{name}")
}

/// Decodes the author in [`AUTHOR_HEADER`]; `None` if it is invalid.
#[cfg(feature = "server")]
pub fn decode_author(header: &str) -> Option<Person> {
    let (id, name) = header.split_once(',')?;
    let user_id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
    let user_name = if name.is_empty() { None } else { Some(super::folder_path::decode(name)?) };
    Some(Person { user_id, user_name })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client and a server of different versions understand each other.
    #[test]
    fn follow_ups_are_sent_to_servers_that_have_them_and_to_no_others() {
        let old: StartJobResponse =
            serde_json::from_str(r#"{"job":"00000000-0000-4000-8000-000000000001"}"#).unwrap();
        assert!(!old.follow_ups && !old.asks);
        let claim = Claim { item: ItemId(1), job: JobKey::from_bytes([1; 16]), token: 1 };
        let report = ReportDto::new(claim, &TransactionResult::GivenBack, None);
        let sent = serde_json::to_value(&report).unwrap();
        assert!(sent.get("followUps").is_none() && sent.get("ask").is_none(), "{sent}");
        let received: ReportDto = serde_json::from_value(sent).unwrap();
        assert!(received.follow_ups.is_empty());
    }
}
