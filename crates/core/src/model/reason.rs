//! Failures grouped by their reason: which reasons are the same but for what differs from item to item.

use jiff::Timestamp;
use serde::Serialize;

use super::code::ErrorCode;
use super::exception::ExceptionType;
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
        Self { id, queue, exception_type, fingerprint, sample, first_seen, last_seen, total: 0, open: 0 }
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
    fn a_sample_is_bounded() {
        assert_eq!(sample(&"Ü".repeat(5_000)).chars().count(), SAMPLE_LIMIT);
    }
}
