//! Failures grouped by their reason: which reasons are the same but for what differs from item to item.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::exception::ExceptionType;
use super::field_edit::FieldEdit;
use super::key::QueueId;
use super::lifecycle::ItemState;
use super::refusal::Refusal;
use super::status::{ReviewStatus, Status};

/// The longest sample of a reason, in characters.
pub const SAMPLE_LIMIT: usize = 500;

/// The most groups of one queue. Further failures are in the group with an empty fingerprint: a queue whose reasons have no common
/// form does not fill the store with groups.
pub const MAX_REASONS: u64 = 2_000;

/// The most groups that a page may have.
pub const REASON_PAGE_LIMIT: usize = 100;

/// The failures of one queue with the same type and fingerprint, from the first one on.
///
/// Attempts that are retried are failures too. A failure without an exception record has no reason, and is in no group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Reason {
    /// Its number, for [`ItemFilter::reason`](super::list::ItemFilter::reason).
    pub id: i64,
    /// The queue.
    #[serde(rename = "QueueDefinitionId")]
    pub queue: QueueId,
    /// The kind of exception.
    #[serde(rename = "Type")]
    pub exception_type: ExceptionType,
    /// What the reasons have in common: see [`fingerprint`](super::fingerprint::fingerprint). Empty for the failures beyond [`MAX_REASONS`] groups.
    pub fingerprint: String,
    /// The reason of the first of them, at most [`SAMPLE_LIMIT`] characters.
    pub sample: String,
    /// When the first of them failed.
    pub first_seen: Timestamp,
    /// When the last of them failed.
    pub last_seen: Timestamp,
    /// How many attempts failed so, removed ones included.
    pub total: i64,
    /// How many items have to be reviewed: see [`is_open`].
    pub open: i64,
    /// What people know about it, such as a known cause.
    pub note: Option<String>,
    /// The user of a server who sees to it.
    #[serde(rename = "OwnerUserId")]
    pub owner: Option<i64>,
}

impl Reason {
    /// A group of which nothing is known but how it is recognised.
    pub fn new(
        id: i64,
        queue: QueueId,
        exception_type: ExceptionType,
        fingerprint: String,
        seen: Timestamp,
    ) -> Self {
        let (first_seen, last_seen) = (seen, seen);
        let sample = String::new();
        let (total, open, note, owner) = (0, 0, None, None);
        Self {
            id,
            queue,
            exception_type,
            fingerprint,
            sample,
            first_seen,
            last_seen,
            total,
            open,
            note,
            owner,
        }
    }

    /// Changes what people write about the group.
    pub fn edit(&mut self, edit: ReasonEdit) {
        self.note = edit.note.applied_to(self.note.take());
        self.owner = edit.owner.applied_to(self.owner);
    }
}

/// The longest note on a group, in UTF-16 code units, as for a comment on an item.
pub const NOTE_LIMIT: usize = 512;

/// A change of what people write about a group. By default nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct ReasonEdit {
    /// What is known about it, up to [`NOTE_LIMIT`] code units.
    #[serde(skip_serializing_if = "FieldEdit::is_keep")]
    pub note: FieldEdit<String>,
    /// The user of a server who sees to it.
    #[serde(skip_serializing_if = "FieldEdit::is_keep")]
    pub owner: FieldEdit<i64>,
}

impl ReasonEdit {
    /// Sets the note; [`FieldEdit::Clear`] removes it.
    #[must_use]
    pub fn note(mut self, note: impl Into<FieldEdit<String>>) -> Self {
        self.note = note.into();
        self
    }

    /// Sets the owner; [`FieldEdit::Clear`] removes it.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<FieldEdit<i64>>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Checks the note and the owner.
    ///
    /// # Errors
    ///
    /// Code 1015 for a note that is empty or too long, and for an owner that is no number of a user.
    pub fn validate(&self) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        if let FieldEdit::Set(note) = &self.note {
            let units = note.encode_utf16().count();
            if note.trim().is_empty() || units > NOTE_LIMIT {
                return invalid(format!(
                    "a note has {units} code units; it should have between 1 and {NOTE_LIMIT}"
                ));
            }
        }
        match self.owner {
            FieldEdit::Set(owner) if owner < 1 => invalid(format!("{owner} is not the number of a user")),
            _ => Ok(()),
        }
    }
}

/// Whether an item counts as open in the group of its reason: it is Failed, and was neither verified nor retried (its review
/// status is None or InReview). The only place that says so: an item that is retried, verified, deleted or removed leaves the
/// count.
pub fn is_open(item: &ItemState) -> bool {
    item.status == Status::Failed && OPEN_REVIEWS.contains(&item.review_status)
}

/// The review statuses of what was neither verified nor retried.
pub const OPEN_REVIEWS: [ReviewStatus; 2] = [ReviewStatus::None, ReviewStatus::InReview];

/// What groups are sorted by; ids decide between equal ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReasonOrder {
    /// The most open items first.
    #[default]
    MostOpen,
    /// The last seen first.
    LastSeen,
}

/// The position behind one group of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCursor {
    /// Its open items, or the microsecond in which it was last seen, by the order of the list.
    pub key: i64,
    /// Its number.
    pub id: i64,
}

impl ReasonCursor {
    /// The position behind a group.
    pub fn behind(reason: &Reason, order: ReasonOrder) -> Self {
        let key = match order {
            ReasonOrder::MostOpen => reason.open,
            ReasonOrder::LastSeen => reason.last_seen.as_microsecond(),
        };
        Self { key, id: reason.id }
    }

    /// Whether a group comes later in a list.
    pub fn is_before(&self, reason: &Reason, order: ReasonOrder) -> bool {
        let other = Self::behind(reason, order);
        (other.key, other.id) < (self.key, self.id)
    }
}

/// Which groups to list. By default the first hundred of all queues, those with the most open items first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReasonFilter {
    /// Only of these queues, by name; empty for all.
    pub queues: Vec<String>,
    /// Only the group with this number.
    pub id: Option<i64>,
    /// What they are sorted by.
    pub order: ReasonOrder,
    /// Only what comes behind this position.
    pub after: Option<ReasonCursor>,
    /// Only groups with open items.
    pub open_only: bool,
    /// Only groups whose first failure was at this time or later.
    pub first_seen_from: Option<Timestamp>,
    /// At most so many, up to [`REASON_PAGE_LIMIT`].
    pub top: usize,
}

impl Default for ReasonFilter {
    fn default() -> Self {
        let order = ReasonOrder::default();
        Self {
            queues: Vec::new(),
            id: None,
            order,
            after: None,
            open_only: false,
            first_seen_from: None,
            top: REASON_PAGE_LIMIT,
        }
    }
}

impl ReasonFilter {
    /// Only of these queues. Default: all.
    #[must_use]
    pub fn queues<T: Into<String>>(mut self, queues: impl IntoIterator<Item = T>) -> Self {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// Only the group with this number. Default: all.
    #[must_use]
    pub fn id(mut self, id: impl Into<Option<i64>>) -> Self {
        self.id = id.into();
        self
    }

    /// What they are sorted by. Default: the most open items first.
    #[must_use]
    pub fn order(mut self, order: ReasonOrder) -> Self {
        self.order = order;
        self
    }

    /// Only what comes behind this position. Default: from the beginning.
    #[must_use]
    pub fn after(mut self, after: impl Into<Option<ReasonCursor>>) -> Self {
        self.after = after.into();
        self
    }

    /// Only groups with open items. Default: all.
    #[must_use]
    pub fn open_only(mut self, open_only: bool) -> Self {
        self.open_only = open_only;
        self
    }

    /// Only groups whose first failure was at this time or later. Default: all.
    #[must_use]
    pub fn first_seen_from(mut self, from: impl Into<Option<Timestamp>>) -> Self {
        self.first_seen_from = from.into();
        self
    }

    /// At most so many. Default: [`REASON_PAGE_LIMIT`].
    #[must_use]
    pub fn top(mut self, top: usize) -> Self {
        self.top = top;
        self
    }

    /// Checks how many are asked for.
    ///
    /// # Errors
    ///
    /// Code 1000 if there are more than [`REASON_PAGE_LIMIT`].
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.top > REASON_PAGE_LIMIT {
            let message = format!("{} reasons were asked for, the limit is {REASON_PAGE_LIMIT}", self.top);
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        Ok(())
    }
}

/// The beginning of a reason that is kept of a group, at most [`SAMPLE_LIMIT`] characters.
pub fn sample(reason: &str) -> String {
    reason.chars().take(SAMPLE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_bounded_and_can_be_removed() {
        for bad in ["", " ", &"x".repeat(NOTE_LIMIT + 1)] {
            let edit = ReasonEdit::default().note(bad.to_owned());
            assert_eq!(edit.validate().unwrap_err().code(), ErrorCode::PARAMETER_INVALID);
        }
        assert!(ReasonEdit::default().owner(0).validate().is_err());
        let edit = ReasonEdit::default().note("SAP is down on Sundays".to_owned()).owner(7);
        assert_eq!(edit.validate(), Ok(()));
        let text = serde_json::to_string(&edit).unwrap();
        assert_eq!(serde_json::from_str::<ReasonEdit>(&text).unwrap(), edit);
        let mut reason = Reason::new(
            1,
            QueueId(1),
            ExceptionType::BusinessException,
            String::new(),
            Timestamp::UNIX_EPOCH,
        );
        reason.edit(edit);
        reason.edit(ReasonEdit::default().note(FieldEdit::Clear));
        assert_eq!((reason.note, reason.owner), (None, Some(7)));
    }

    #[test]
    fn a_sample_is_bounded() {
        assert_eq!(sample(&"Ü".repeat(5_000)).chars().count(), SAMPLE_LIMIT);
    }
}
