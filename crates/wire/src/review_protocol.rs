//! What performer's own server has for people besides the vendor's API: groups of failures, a retry with corrected values, and
//! reveals of personal fields.

use serde::{Deserialize, Serialize};

use super::ApiTime;
use performer_core::model::FieldEdit;
use performer_core::model::Refusal;
use performer_core::model::content::SpecificContent;
use performer_core::model::exception::ExceptionType;
use performer_core::model::item::{ItemEdit, Priority};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::reason::{Reason, ReasonCursor, ReasonEdit, ReasonFilter, ReasonOrder};
use performer_core::model::review::ItemVersion;

/// The query option of a list of items with the number of a group of failures.
pub const REASON_OPTION: &str = "performerReason";

/// Lists groups of failures.
#[derive(Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReasonsRequest {
    pub queues: Vec<String>,
    pub id: Option<i64>,
    pub last_seen_first: bool,
    /// The key and the id of the last group that was seen.
    pub after: Option<(i64, i64)>,
    pub open_only: bool,
    pub first_seen_from: Option<ApiTime>,
    pub top: usize,
}

impl Default for ReasonsRequest {
    fn default() -> Self {
        ReasonFilter::default().into()
    }
}

impl From<ReasonFilter> for ReasonsRequest {
    fn from(filter: ReasonFilter) -> Self {
        let ReasonFilter { queues, id, order, after, open_only, first_seen_from, top, .. } = filter;
        let after = after.map(|ReasonCursor { key, id }| (key, id));
        let (last_seen_first, first_seen_from) =
            (order == ReasonOrder::LastSeen, first_seen_from.map(ApiTime));
        Self { queues, id, last_seen_first, after, open_only, first_seen_from, top }
    }
}

impl From<ReasonsRequest> for ReasonFilter {
    fn from(request: ReasonsRequest) -> Self {
        let order = if request.last_seen_first { ReasonOrder::LastSeen } else { ReasonOrder::MostOpen };
        let mut filter = Self::default()
            .queues(request.queues)
            .id(request.id)
            .order(order)
            .after(request.after.map(|(key, id)| ReasonCursor { key, id }))
            .open_only(request.open_only)
            .top(request.top);
        filter.first_seen_from = request.first_seen_from.map(|at| at.0);
        filter
    }
}

/// A group of failures.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReasonDto {
    id: i64,
    queue: i64,
    exception_type: ExceptionType,
    fingerprint: String,
    sample: String,
    first_seen: ApiTime,
    last_seen: ApiTime,
    total: i64,
    open: i64,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    owner: Option<i64>,
}

impl From<Reason> for ReasonDto {
    fn from(reason: Reason) -> Self {
        Self {
            id: reason.id,
            queue: reason.queue.0,
            exception_type: reason.exception_type,
            fingerprint: reason.fingerprint,
            sample: reason.sample,
            first_seen: ApiTime(reason.first_seen),
            last_seen: ApiTime(reason.last_seen),
            total: reason.total,
            open: reason.open,
            note: reason.note,
            owner: reason.owner,
        }
    }
}

impl From<ReasonDto> for Reason {
    fn from(dto: ReasonDto) -> Self {
        let queue = QueueId(dto.queue);
        let mut reason = Self::new(dto.id, queue, dto.exception_type, dto.fingerprint, dto.first_seen.0);
        (reason.sample, reason.last_seen) = (dto.sample, dto.last_seen.0);
        (reason.total, reason.open) = (dto.total, dto.open);
        (reason.note, reason.owner) = (dto.note, dto.owner);
        reason
    }
}

/// Changes the note or the owner of a group.
#[derive(Serialize, Deserialize)]
pub struct EditReasonRequest {
    pub id: i64,
    #[serde(default)]
    pub edit: ReasonEdit,
}

/// Retries an item, with other values of its copy.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorrectRequest {
    id: i64,
    row_version: u64,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "FieldEdit::is_keep")]
    due_date: FieldEdit<ApiTime>,
    #[serde(default, skip_serializing_if = "FieldEdit::is_keep")]
    defer_date: FieldEdit<ApiTime>,
    #[serde(default)]
    progress: Option<String>,
    /// The content as JSON text, so that its numbers keep their digits.
    #[serde(default)]
    content: Option<String>,
}

impl CorrectRequest {
    pub fn new(item: ItemVersion, edit: ItemEdit) -> Self {
        let date = |edit: FieldEdit<jiff::Timestamp>| match edit {
            FieldEdit::Keep => FieldEdit::Keep,
            FieldEdit::Clear => FieldEdit::Clear,
            FieldEdit::Set(at) => FieldEdit::Set(ApiTime(at)),
        };
        Self {
            id: item.id.0,
            row_version: item.row_version,
            priority: edit.priority,
            due_date: date(edit.due_date),
            defer_date: date(edit.defer_date),
            progress: edit.progress,
            content: edit.specific_content.map(|content| content.as_json().to_owned()),
        }
    }

    /// The item, and its changes.
    ///
    /// # Errors
    ///
    /// The refusal of content that is not valid.
    pub fn into_parts(self) -> Result<(ItemVersion, ItemEdit), Refusal> {
        let date = |edit: FieldEdit<ApiTime>| match edit {
            FieldEdit::Keep => FieldEdit::Keep,
            FieldEdit::Clear => FieldEdit::Clear,
            FieldEdit::Set(at) => FieldEdit::Set(at.0),
        };
        let content = self.content.as_deref().map(SpecificContent::from_json).transpose()?;
        let mut edit = ItemEdit::default()
            .priority(self.priority)
            .due_date(date(self.due_date))
            .defer_date(date(self.defer_date))
            .specific_content(content);
        edit.progress = self.progress;
        Ok((ItemVersion { id: ItemId(self.id), row_version: self.row_version }, edit))
    }
}

/// Records that somebody sees the personal fields of an item.
#[derive(Serialize, Deserialize)]
pub struct RevealRequest {
    pub id: i64,
    #[serde(default)]
    pub reason: String,
}

/// The copy of an item.
#[derive(Serialize, Deserialize)]
pub struct CorrectResponse {
    pub id: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_read_as_it_was_written() {
        let edit = ItemEdit::default()
            .priority(Priority::High)
            .due_date(FieldEdit::Clear)
            .defer_date("2026-03-01T08:00:00.123456Z".parse::<jiff::Timestamp>().unwrap())
            .specific_content(
                SpecificContent::from_json(r#"{"n":12345678901234567890123,"x":1.50}"#).unwrap(),
            );
        let item = ItemVersion { id: ItemId(17), row_version: 3 };
        let text = serde_json::to_string(&CorrectRequest::new(item, edit.clone())).unwrap();
        let read: CorrectRequest = serde_json::from_str(&text).unwrap();
        assert_eq!(read.into_parts(), Ok((item, edit)), "{text}");
    }

    #[test]
    fn a_filter_and_a_group_are_read_as_they_were_written() {
        let filter = ReasonFilter::default()
            .queues(["Invoices"])
            .order(ReasonOrder::LastSeen)
            .after(ReasonCursor { key: 7, id: 3 })
            .open_only(true)
            .top(5);
        let text = serde_json::to_string(&ReasonsRequest::from(filter.clone())).unwrap();
        assert_eq!(ReasonFilter::from(serde_json::from_str::<ReasonsRequest>(&text).unwrap()), filter);
        let at = "2026-03-01T08:00:00Z".parse().unwrap();
        let mut reason = Reason::new(9, QueueId(1), ExceptionType::BusinessException, "a # b".to_owned(), at);
        (reason.note, reason.owner, reason.open) = (Some("known".to_owned()), Some(5), 12);
        let text = serde_json::to_string(&ReasonDto::from(reason.clone())).unwrap();
        assert_eq!(Reason::from(serde_json::from_str::<ReasonDto>(&text).unwrap()), reason);
    }
}
