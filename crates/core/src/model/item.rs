//! Items, and how they are edited (orchestrator-api 12.1).

use jiff::Timestamp;
use serde::Serialize;

use super::content::{Analytics, Output, SpecificContent};
use super::exception::{ExceptionType, ProcessingException};
use super::field_edit::FieldEdit;
use super::key::{Claim, ItemId, ItemKey, JobKey, QueueId};
use super::lifecycle::ItemState;
use super::result::Outcome;
use super::review::ItemVersion;
use super::status::{ReviewStatus, Status};
use super::stored_time::StoredTime;
use crate::enumeration;

pub use super::cursor::PageCursor;
pub use super::list::{ItemFilter, ItemPage, PAGE_LIMIT, Page};
pub use super::new_item::{
    NewQueueItem, Origin, PROGRESS_LIMIT, REFERENCE_LIMIT, Source, validate_operation_id, validate_progress,
    validate_reference,
};

enumeration! {
    /// The priority of an item. (The numbers are those of items; those of jobs have the opposite order.)
    pub Priority {
        /// First.
        High = 0,
        /// The default.
        Normal = 1,
        /// Last.
        Low = 2,
    }
}

/// One unit of work, as of the time it was read.
///
/// It serializes with the names of the Orchestrator's API, and its content with the digits it was written with (as JSON text;
/// a `serde_json::Value` rounds them).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct QueueItem {
    /// This attempt's number; every attempt has its own.
    pub id: ItemId,
    /// This attempt's key.
    pub unique_key: ItemKey,
    /// The key that all attempts of a retry chain share.
    pub key: ItemKey,
    /// The queue it is in.
    #[serde(rename = "QueueDefinitionId")]
    pub queue_id: QueueId,
    /// Its processing state.
    pub status: Status,
    /// Its review status after it failed.
    pub review_status: ReviewStatus,
    /// Who reviews it.
    pub reviewer_user_id: Option<i64>,
    /// Its priority.
    pub priority: Priority,
    /// The caller's own name for it, at most 128 code units.
    pub reference: Option<String>,
    /// The group it belongs to.
    #[serde(rename = "PerformerGroup", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its data.
    pub specific_content: SpecificContent,
    /// The output of a successful transaction.
    pub output: Option<Output>,
    /// Why it failed.
    pub processing_exception: Option<ProcessingException>,
    /// How the attempt ended: more precise than the Status of Retried and Deleted items.
    #[serde(skip)]
    pub outcome: Option<Outcome>,
    /// The item should be claimed before this time; items with a due date come first.
    pub due_date: Option<Timestamp>,
    /// The item is not claimed before this time.
    pub defer_date: Option<Timestamp>,
    /// From this time on it is at risk of missing its due date.
    pub risk_sla_date: Option<Timestamp>,
    /// When it was added, by the store's clock.
    pub creation_time: Timestamp,
    /// When it was claimed; cleared if it goes back into the queue.
    pub start_processing: Option<Timestamp>,
    /// When the attempt ended.
    pub end_processing: Option<Timestamp>,
    /// How long the attempt before this one took.
    pub seconds_in_previous_attempts: u32,
    /// How many automatic retries led here; 0 at first.
    pub retry_number: u32,
    /// The attempt that an automatic retry copied.
    pub ancestor_id: Option<ItemId>,
    /// How many manual retries led here; 0 at first.
    pub manual_retry_number: u32,
    /// The attempt that a manual retry copied.
    pub manual_ancestor_id: Option<ItemId>,
    /// Whether a retry copy replaces it.
    pub is_superseded: bool,
    /// The latest progress text of its robot.
    pub progress: Option<String>,
    /// The job that holds it, or whose report or loss ended the attempt. Empty again when the item has gone back into the queue.
    #[serde(rename = "ExecutorJobKey")]
    pub executor_job: Option<JobKey>,
    /// The robot of that job, counted from 1.
    #[serde(rename = "RobotNumber")]
    pub robot: Option<u32>,
    /// The Orchestrator's number of the robot that holds it, or held it last.
    pub robot_id: Option<i64>,
    /// The job that added it.
    #[serde(rename = "CreatorJobKey")]
    pub creator_job: Option<JobKey>,
    /// The analytics that its transaction stored.
    pub analytics: Option<Analytics>,
    /// The operation id that the caller who ended it gave.
    pub operation_id: Option<String>,
    /// The parent operation id that the caller who added it gave.
    pub parent_operation_id: Option<String>,
    /// Rises with every change.
    pub row_version: u64,
}

impl QueueItem {
    /// Whether its review status may be set to this one (lifecycle T18 to T21). The rules decide when it is set; this is for what is
    /// offered to people.
    pub fn may_be_reviewed_as(&self, to: ReviewStatus) -> bool {
        self.status.is_reviewable() && !self.is_superseded && self.review_status.may_become(to)
    }

    /// An item that is New, with normal priority and no reference. `key` is the key of the attempt and of its chain.
    pub fn new(
        id: ItemId,
        key: ItemKey,
        queue: QueueId,
        content: SpecificContent,
        creation_time: Timestamp,
    ) -> Self {
        let mut item = Self::of_state(id, key, queue, &ItemState::untouched(Priority::Normal, creation_time));
        item.specific_content = content;
        item
    }

    /// An item in a state, with empty content. `key` is the key of the attempt and of its chain.
    pub fn of_state(id: ItemId, key: ItemKey, queue: QueueId, state: &ItemState) -> Self {
        Self {
            id,
            unique_key: key,
            key,
            queue_id: queue,
            status: state.status,
            review_status: state.review_status,
            reviewer_user_id: state.reviewer_user_id,
            priority: state.priority,
            reference: None,
            group: None,
            specific_content: SpecificContent::empty(),
            output: None,
            processing_exception: None,
            outcome: state.outcome,
            due_date: state.due_date,
            defer_date: state.defer_date,
            risk_sla_date: None,
            creation_time: state.creation_time,
            start_processing: state.start_processing,
            end_processing: state.end_processing,
            seconds_in_previous_attempts: state.seconds_in_previous_attempts,
            retry_number: state.retry_number,
            ancestor_id: None,
            manual_retry_number: state.manual_retry_number,
            manual_ancestor_id: None,
            is_superseded: state.superseded,
            progress: None,
            executor_job: None,
            robot: None,
            robot_id: None,
            creator_job: None,
            analytics: None,
            operation_id: None,
            parent_operation_id: None,
            row_version: state.row_version,
        }
    }

    /// An item as it is when it has just been added.
    pub fn added(
        id: ItemId,
        unique_key: ItemKey,
        queue: QueueId,
        state: &ItemState,
        new: &NewQueueItem,
        content: &SpecificContent,
    ) -> Self {
        let mut item = Self::of_state(id, unique_key, queue, state);
        item.reference.clone_from(&new.reference);
        item.group.clone_from(&new.group);
        item.specific_content = content.clone();
        item.risk_sla_date = new.risk_sla_date.map(StoredTime::timestamp);
        item.progress.clone_from(&new.progress);
        item.creator_job = new.origin.creator_job;
        item.parent_operation_id.clone_from(&new.origin.parent_operation_id);
        item
    }

    /// The item's id and version, for calls that must not overwrite a change made since it was read: reviews,
    /// deletions.
    pub fn version(&self) -> ItemVersion {
        ItemVersion { id: self.id, row_version: self.row_version }
    }

    /// The exception type of a failed item.
    pub fn exception_type(&self) -> Option<ExceptionType> {
        match self.outcome {
            Some(Outcome::BusinessException) => Some(ExceptionType::BusinessException),
            Some(Outcome::ApplicationException) => Some(ExceptionType::ApplicationException),
            _ => None,
        }
    }
}

/// A claimed item, with the right to report on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimedItem {
    /// The item, InProgress.
    pub item: Box<QueueItem>,
    /// The claim that a report on it must present.
    pub claim: Claim,
}

impl ClaimedItem {
    /// An item that is InProgress, with the claim on it.
    pub fn new(item: Box<QueueItem>, claim: Claim) -> Self {
        Self { item, claim }
    }
}

/// New values for an item that is New. By default nothing changes.
///
/// ```
/// use performer::{FieldEdit, ItemEdit, Priority};
///
/// let edit = ItemEdit::default().priority(Priority::High).defer_date(FieldEdit::Clear);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemEdit {
    /// The new priority.
    pub priority: Option<Priority>,
    /// The new due date.
    pub due_date: FieldEdit<Timestamp>,
    /// The new defer date.
    pub defer_date: FieldEdit<Timestamp>,
    /// The new progress text.
    pub progress: Option<String>,
    /// The new content.
    pub specific_content: Option<SpecificContent>,
    /// The row version that the caller has seen: the edit is refused with code 1020 if the item has another one. Default: none, and the item
    /// is changed whatever its version. Unsupported by an Orchestrator over HTTP.
    pub row_version: Option<u64>,
}

impl ItemEdit {
    /// Changes the item only if it has this row version.
    #[must_use]
    pub fn row_version(mut self, row_version: impl Into<Option<u64>>) -> Self {
        self.row_version = row_version.into();
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn priority(mut self, priority: impl Into<Option<Priority>>) -> Self {
        self.priority = priority.into();
        self
    }

    /// Sets the due date, or clears it with [`FieldEdit::Clear`].
    #[must_use]
    pub fn due_date(mut self, due_date: impl Into<FieldEdit<Timestamp>>) -> Self {
        self.due_date = due_date.into();
        self
    }

    /// Sets the defer date, or clears it with [`FieldEdit::Clear`].
    #[must_use]
    pub fn defer_date(mut self, defer_date: impl Into<FieldEdit<Timestamp>>) -> Self {
        self.defer_date = defer_date.into();
        self
    }

    /// Sets the progress text.
    #[must_use]
    pub fn progress(mut self, progress: impl Into<String>) -> Self {
        self.progress = Some(progress.into());
        self
    }

    /// Replaces the content.
    #[must_use]
    pub fn specific_content(mut self, specific_content: impl Into<Option<SpecificContent>>) -> Self {
        self.specific_content = specific_content.into();
        self
    }
}

/// How a reference is compared (orchestrator-api 8). Case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceFilter {
    /// It is this text.
    Equals(String),
    /// It starts with this text.
    StartsWith(String),
}

impl ReferenceFilter {
    /// Whether a reference matches. An item without one never does.
    pub fn matches(&self, reference: Option<&str>) -> bool {
        reference.is_some_and(|reference| match self {
            Self::Equals(text) => reference == text,
            Self::StartsWith(text) => reference.starts_with(text.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_filter_tells_capitals_from_small_letters() {
        let starts = ReferenceFilter::StartsWith("INV-".to_owned());
        assert!(starts.matches(Some("INV-1")) && !starts.matches(Some("inv-1")) && !starts.matches(None));
        let equals = ReferenceFilter::Equals("INV-1".to_owned());
        assert!(equals.matches(Some("INV-1")) && !equals.matches(Some("INV-10")));
    }
}
