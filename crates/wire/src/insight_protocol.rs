//! What performer's own server keeps for people besides the vendor's API: acts on many items, the audit, what is due, and figures.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ApiTime, Unreadable};
use performer_core::model::Refusal;
use performer_core::model::audit::{Act as AuditAct, AuditFilter, AuditLine, AuditRecord};
use performer_core::model::code::ErrorCode;
use performer_core::model::deadlines::{DueItems, DueWork};
use performer_core::model::figures::{BUCKETS, Durations, Figure, Figures, FiguresFilter, Level, Resolution};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::operation::{
    Act, Canary, ItemOperation, ItemResult, OperationId, OperationItem, Plan,
};
use performer_core::model::result::Outcome;
use performer_core::model::review::ItemVersion;

/// The query option of a list of items with the number of an operation that refused them.
pub const REFUSED_OPTION: &str = "performerRefused";

/// What an operation does with each item. Copies are taken back by a route of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActDto {
    Retry,
    Verified,
    InReview,
    Assign,
    Comment,
    Delete,
    Purge,
}

/// A few items that are retried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryDto {
    pub first: u64,
    pub within_seconds: u64,
}

/// Makes an operation on items, as a preview.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareOperationRequest {
    pub act: ActDto,
    /// For Assign; `None` removes the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<i64>,
    /// Items a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The ids and row versions of the items.
    pub items: Vec<(i64, u64)>,
    /// How people write what selected the items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

impl PrepareOperationRequest {
    /// The request for a plan.
    ///
    /// # Errors
    ///
    /// The refusal of an act that is not asked for this way.
    pub fn new(plan: Plan, items: &[ItemVersion], filter: Option<String>) -> Result<Self, Refusal> {
        let (act, reviewer) = match plan.act {
            Act::Retry => (ActDto::Retry, None),
            Act::Verify => (ActDto::Verified, None),
            Act::PutInReview => (ActDto::InReview, None),
            Act::Assign { reviewer, .. } => (ActDto::Assign, reviewer),
            Act::Comment => (ActDto::Comment, None),
            Act::Delete => (ActDto::Delete, None),
            Act::Purge => (ActDto::Purge, None),
            Act::TakeBack { of } => {
                let message = format!("the copies of operation {of} are taken back as a whole");
                return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
            }
        };
        let canary =
            plan.canary.map(|Canary { first, within_seconds, .. }| CanaryDto { first, within_seconds });
        let items = items.iter().map(|item| (item.id.0, item.row_version)).collect();
        Ok(Self { act, reviewer, pace: plan.pace, canary, comment: plan.comment, items, filter })
    }

    /// The plan, the items, and what selected them.
    pub fn into_parts(self) -> (Plan, Vec<ItemVersion>, Option<String>) {
        let act = match self.act {
            ActDto::Retry => Act::Retry,
            ActDto::Verified => Act::Verify,
            ActDto::InReview => Act::PutInReview,
            ActDto::Assign => Act::Assign { reviewer: self.reviewer, not_in: Vec::new() },
            ActDto::Comment => Act::Comment,
            ActDto::Delete => Act::Delete,
            ActDto::Purge => Act::Purge,
        };
        let canary =
            self.canary.map(|canary| Canary::new(canary.first, Duration::from_secs(canary.within_seconds)));
        let items =
            self.items.into_iter().map(|(id, row_version)| ItemVersion { id: ItemId(id), row_version });
        (Plan::new(act).pace(self.pace).canary(canary).comment(self.comment), items.collect(), self.filter)
    }
}

/// Names an operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct OperationReference {
    pub operation: OperationId,
}

/// Lists operations, the newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct OperationsRequest {
    #[serde(default)]
    pub before: Option<OperationId>,
    pub top: usize,
}

/// An operation as a response shows it: what the audit alone tells, from where somebody acted, is left out.
pub fn operation_response(mut operation: ItemOperation) -> ItemOperation {
    operation.actor = None;
    operation
}

/// Lists items of an operation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationItemsRequest {
    pub operation: OperationId,
    #[serde(default)]
    pub refused_only: bool,
    /// The first place.
    #[serde(default)]
    pub from: u64,
    pub top: usize,
}

/// An item of an operation. With a code it was refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationItemDto {
    pub place: u64,
    pub id: i64,
    pub row_version: u64,
    pub is_done: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl From<OperationItem> for OperationItemDto {
    fn from(item: OperationItem) -> Self {
        let (is_done, copy, refusal) = match item.result {
            ItemResult::Pending => (false, None, None),
            ItemResult::Done { copy } => (true, copy, None),
            ItemResult::Refused(refusal) => (false, None, Some(refusal)),
        };
        Self {
            place: item.place,
            id: item.item.id.0,
            row_version: item.item.row_version,
            is_done,
            copy: copy.map(|copy| copy.0),
            code: refusal.as_ref().map(|refusal| refusal.code().number()),
            message: refusal.map(|refusal| refusal.to_string()),
        }
    }
}

impl From<OperationItemDto> for OperationItem {
    fn from(dto: OperationItemDto) -> Self {
        let item = ItemVersion { id: ItemId(dto.id), row_version: dto.row_version };
        let result = match (dto.is_done, dto.code) {
            (true, _) => ItemResult::Done { copy: dto.copy.map(ItemId) },
            (false, Some(code)) => {
                ItemResult::Refused(Refusal::new(ErrorCode::new(code), dto.message.unwrap_or_default()))
            }
            (false, None) => ItemResult::Pending,
        };
        Self::new(dto.place, item, result)
    }
}

/// Lists records of the audit, the newest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AuditRequest {
    pub acts: Vec<AuditAct>,
    pub user_name: Option<String>,
    pub from: Option<ApiTime>,
    pub to: Option<ApiTime>,
    pub before: Option<u64>,
    pub top: usize,
}

impl Default for AuditRequest {
    fn default() -> Self {
        AuditFilter::default().into()
    }
}

impl From<AuditFilter> for AuditRequest {
    fn from(filter: AuditFilter) -> Self {
        let AuditFilter { acts, user_name, from, to, before, top, .. } = filter;
        Self { acts, user_name, from: from.map(ApiTime), to: to.map(ApiTime), before, top }
    }
}

impl From<AuditRequest> for AuditFilter {
    fn from(request: AuditRequest) -> Self {
        let mut filter = Self::default();
        (filter.acts, filter.user_name) = (request.acts, request.user_name);
        (filter.from, filter.to) = (request.from.map(|at| at.0), request.to.map(|at| at.0));
        (filter.before, filter.top) = (request.before, request.top);
        filter
    }
}

/// Reads records of the audit from behind a number on, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditLinesRequest {
    pub after: u64,
}

/// A record of the audit, its entry as the text over which the digest goes.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditLineDto {
    pub id: u64,
    pub entry: String,
    pub digest: String,
}

impl From<AuditLine> for AuditLineDto {
    fn from(line: AuditLine) -> Self {
        Self { id: line.id, entry: line.text.as_ref().to_owned(), digest: line.digest }
    }
}

impl From<AuditRecord> for AuditLineDto {
    fn from(record: AuditRecord) -> Self {
        Self { id: record.id, entry: record.text.as_ref().to_owned(), digest: record.digest }
    }
}

impl From<AuditLineDto> for AuditLine {
    fn from(dto: AuditLineDto) -> Self {
        Self::new(dto.id, dto.entry, dto.digest)
    }
}

/// Names a queue.
#[derive(Debug, Serialize, Deserialize)]
pub struct DueWorkRequest {
    pub queue: String,
}

/// The items of a queue that are ready and have a due date.
#[derive(Debug, Serialize, Deserialize)]
pub struct DueWorkResponse {
    pub queue: i64,
    /// Due dates in the order in which the items will be handed out, and how many items have each.
    pub items: Vec<(ApiTime, u64)>,
    pub robots: u32,
}

impl From<DueWork> for DueWorkResponse {
    fn from(work: DueWork) -> Self {
        let items = work.items.into_iter().map(|items| (ApiTime(items.due), items.count)).collect();
        Self { queue: work.queue.0, items, robots: work.robots }
    }
}

impl From<DueWorkResponse> for DueWork {
    fn from(dto: DueWorkResponse) -> Self {
        let items = dto.items.into_iter().map(|(due, count)| DueItems { due: due.0, count }).collect();
        Self::new(QueueId(dto.queue), items, dto.robots)
    }
}

/// Reads figures of queues.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FiguresRequest {
    #[serde(default)]
    pub queues: Vec<String>,
    pub since: ApiTime,
    pub until: ApiTime,
    #[serde(default)]
    pub by_hour: bool,
}

impl From<FiguresFilter> for FiguresRequest {
    fn from(filter: FiguresFilter) -> Self {
        let FiguresFilter { queues, since, until, resolution, .. } = filter;
        let by_hour = resolution == Resolution::Hour;
        Self { queues, since: ApiTime(since), until: ApiTime(until), by_hour }
    }
}

impl From<FiguresRequest> for FiguresFilter {
    fn from(request: FiguresRequest) -> Self {
        let resolution = if request.by_hour { Resolution::Hour } else { Resolution::Minute };
        Self::new(request.since.0, request.until.0).queues(request.queues).resolution(resolution)
    }
}

/// Attempts of one queue that ended in one way within one minute or hour.
#[derive(Debug, Serialize, Deserialize)]
pub struct FigureDto {
    pub queue: i64,
    pub at: ApiTime,
    pub outcome: Outcome,
    pub count: i64,
    /// The processing time in all, in microseconds.
    pub took: u64,
    /// The numbers of the buckets that are not empty, and how many attempts are in each.
    pub durations: Vec<(usize, u64)>,
}

/// What waited in one queue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelDto {
    pub queue: i64,
    pub at: ApiTime,
    pub new: i64,
    pub in_progress: i64,
    #[serde(default)]
    pub oldest: Option<ApiTime>,
}

/// Figures of queues.
#[derive(Debug, Serialize, Deserialize)]
pub struct FiguresResponse {
    pub ended: Vec<FigureDto>,
    pub levels: Vec<LevelDto>,
}

impl From<Figures> for FiguresResponse {
    fn from(figures: Figures) -> Self {
        let ended = figures.ended.into_iter().map(|figure| {
            let buckets = figure.durations.counts().iter().copied().enumerate();
            FigureDto {
                queue: figure.queue.0,
                at: ApiTime(figure.at),
                outcome: figure.outcome,
                count: figure.count,
                took: u64::try_from(figure.took.as_micros()).unwrap_or(u64::MAX),
                durations: buckets.filter(|(_, count)| *count > 0).collect(),
            }
        });
        let levels = figures.levels.into_iter().map(|level| LevelDto {
            queue: level.queue.0,
            at: ApiTime(level.at),
            new: level.new,
            in_progress: level.in_progress,
            oldest: level.oldest.map(ApiTime),
        });
        Self { ended: ended.collect(), levels: levels.collect() }
    }
}

impl TryFrom<FiguresResponse> for Figures {
    type Error = Unreadable;

    fn try_from(dto: FiguresResponse) -> Result<Self, Unreadable> {
        let mut figures = Self::default();
        for dto in dto.ended {
            let mut figure = Figure::new(QueueId(dto.queue), dto.at.0, dto.outcome);
            (figure.count, figure.took) = (dto.count, Duration::from_micros(dto.took));
            let mut durations = Durations::default();
            for (bucket, count) in dto.durations {
                if bucket >= BUCKETS {
                    return Err(Unreadable(format!("a figure has a bucket {bucket} of durations")));
                }
                durations.add(bucket, count);
            }
            figure.durations = durations;
            figures.ended.push(figure);
        }
        figures.levels = dto
            .levels
            .into_iter()
            .map(|dto| {
                let waiting = (dto.new, dto.in_progress);
                Level::new(QueueId(dto.queue), dto.at.0, waiting, dto.oldest.map(|at| at.0))
            })
            .collect();
        Ok(figures)
    }
}

/// Asks for a link to the desk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DeskLinkRequest {}

/// A link that signs the caller in to the desk, once.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeskLinkResponse {
    /// Its path and query.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: i64, row_version: u64) -> ItemVersion {
        ItemVersion { id: ItemId(id), row_version }
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let acts = [
            Act::Retry,
            Act::Verify,
            Act::PutInReview,
            Act::Assign { reviewer: Some(5), not_in: Vec::new() },
            Act::Assign { reviewer: None, not_in: Vec::new() },
            Act::Comment,
            Act::Delete,
            Act::Purge,
        ];
        for act in acts {
            let plan = Plan::new(act).pace(60).canary(Canary::FIVE).comment("seen".to_owned());
            let (items, filter) = ([item(3, 7), item(4, 1)], Some("status=Failed".to_owned()));
            let request = PrepareOperationRequest::new(plan.clone(), &items, filter.clone()).unwrap();
            let text = serde_json::to_string(&request).unwrap();
            let read: PrepareOperationRequest = serde_json::from_str(&text).unwrap();
            assert_eq!(read.into_parts(), (plan, items.to_vec(), filter), "{text}");
        }
        let back = Plan::new(Act::TakeBack { of: OperationId(1) });
        assert!(PrepareOperationRequest::new(back, &[item(1, 1)], None).is_err());
    }

    #[test]
    fn what_became_of_an_item_is_read_as_it_was_written() {
        for result in [
            ItemResult::Pending,
            ItemResult::Done { copy: None },
            ItemResult::Done { copy: Some(ItemId(9)) },
            ItemResult::Refused(Refusal::new(ErrorCode::OPTIMISTIC_CONCURRENCY, "it has changed")),
        ] {
            let item = OperationItem::new(2, item(3, 7), result);
            let text = serde_json::to_string(&OperationItemDto::from(item.clone())).unwrap();
            let read: OperationItemDto = serde_json::from_str(&text).unwrap();
            assert_eq!(OperationItem::from(read), item, "{text}");
        }
    }

    #[test]
    fn filters_figures_and_due_dates_are_read_as_they_were_written() {
        let at = |second: i64| jiff::Timestamp::from_second(second).unwrap();
        let mut filter = AuditFilter::default();
        (filter.acts, filter.user_name) = (vec![AuditAct::QueueEdited], Some("ann".to_owned()));
        (filter.from, filter.before, filter.top) = (Some(at(60)), Some(7), 5);
        let text = serde_json::to_string(&AuditRequest::from(filter.clone())).unwrap();
        assert_eq!(AuditFilter::from(serde_json::from_str::<AuditRequest>(&text).unwrap()), filter);

        let filter = FiguresFilter::new(at(0), at(600)).queues(["Invoices"]).resolution(Resolution::Hour);
        let text = serde_json::to_string(&FiguresRequest::from(filter.clone())).unwrap();
        assert_eq!(FiguresFilter::from(serde_json::from_str::<FiguresRequest>(&text).unwrap()), filter);

        let work = DueWork::new(QueueId(3), vec![DueItems { due: at(60), count: 2 }], 4);
        let text = serde_json::to_string(&DueWorkResponse::from(work.clone())).unwrap();
        assert_eq!(DueWork::from(serde_json::from_str::<DueWorkResponse>(&text).unwrap()), work);

        let mut figures = Figures::default();
        let mut figure = Figure::new(QueueId(3), at(60), Outcome::Successful);
        (figure.count, figure.took) = (2, Duration::from_micros(1_234));
        figure.durations.add(0, 1);
        figure.durations.add(BUCKETS - 1, 1);
        figures.ended.push(figure);
        figures.levels.push(Level::new(QueueId(3), at(60), (5, 1), Some(at(30))));
        let text = serde_json::to_string(&FiguresResponse::from(figures.clone())).unwrap();
        let read: FiguresResponse = serde_json::from_str(&text).unwrap();
        assert_eq!(Figures::try_from(read), Ok(figures));
        let wrong = text.replacen("[0,1]", "[56,1]", 1);
        assert!(Figures::try_from(serde_json::from_str::<FiguresResponse>(&wrong).unwrap()).is_err());
    }
}
