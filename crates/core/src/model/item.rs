//! Items, and what a new item consists of (orchestrator-api 7 and 12.1).

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::code::ErrorCode;
use super::content::{Analytics, Output, SpecificContent, units_over};
use super::exception::{ExceptionType, ProcessingException};
use super::field_edit::FieldEdit;
use super::key::{Claim, ItemId, ItemKey, JobKey, QueueId};
use super::lifecycle::ItemState;
use super::queue::QueueDefinition;
use super::refusal::Refusal;
use super::result::Outcome;
use super::review::ItemVersion;
use super::schema::SchemaOf;
use super::status::{ReviewStatus, Status};
use super::stored_time::StoredTime;
use crate::enumeration;

pub use super::list::{ItemFilter, ItemPage, PAGE_LIMIT, Page};

/// The longest reference, in UTF-16 code units (orchestrator-api 3).
pub const REFERENCE_LIMIT: usize = 128;
/// The longest progress text, in UTF-16 code units (orchestrator-api 3).
pub const PROGRESS_LIMIT: usize = 104_857;

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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueItem {
    /// This attempt's number; every attempt has its own.
    pub id: ItemId,
    /// This attempt's key.
    pub unique_key: ItemKey,
    /// The key that all attempts of a retry chain share.
    pub key: ItemKey,
    /// The queue it is in.
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
    /// Its data.
    pub specific_content: SpecificContent,
    /// The output of a successful transaction.
    pub output: Option<Output>,
    /// Why it failed.
    pub processing_exception: Option<ProcessingException>,
    /// How the attempt ended: more precise than the Status of Retried and Deleted items.
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
    /// The job that holds it, or held it last.
    pub executor_job: Option<JobKey>,
    /// The robot of that job, counted from 1.
    pub robot: Option<u32>,
    /// The Orchestrator's number of the robot that holds it, or held it last.
    pub robot_id: Option<i64>,
    /// The job that added it.
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
pub struct ClaimedItem {
    /// The item, InProgress.
    pub item: Box<QueueItem>,
    /// The claim that a report on it must present.
    pub claim: Claim,
}

/// An item to be added.
///
/// ```
/// use performer::{NewQueueItem, Priority};
/// use serde_json::json;
///
/// let item = NewQueueItem::new(json!({"amount": 139.12, "customer": "17850"}))
///     .reference("INV-536365")
///     .priority(Priority::High);
/// ```
///
/// Nothing is refused until the item is added; then it is refused as a whole, with the reason.
#[derive(Clone)]
pub struct NewQueueItem {
    content: Result<SpecificContent, Refusal>,
    /// The caller's own name for it, at most 128 code units.
    pub reference: Option<String>,
    /// Its priority.
    pub priority: Priority,
    /// The item should be claimed before this time.
    pub due_date: Option<StoredTime>,
    /// The item is not claimed before this time.
    pub defer_date: Option<StoredTime>,
    /// From this time on it is at risk of missing its due date.
    pub risk_sla_date: Option<StoredTime>,
    /// A first progress text.
    pub progress: Option<String>,
    /// Who adds it.
    pub origin: Origin,
}

/// Where an item came from, if known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The job that adds the item.
    pub creator_job: Option<JobKey>,
    /// The parent operation id that the caller gives.
    pub parent_operation_id: Option<String>,
    /// The kind of program that adds it.
    pub source: Option<Source>,
}

enumeration! {
    /// The kind of program that added an item (orchestrator-api 3). The numbers are ours.
    pub Source {
        /// A person, or a program of theirs.
        Manual = 0,
        /// An app.
        Apps = 1,
        /// The orchestration of processes.
        ProcessOrchestration = 2,
    }
}

impl fmt::Debug for NewQueueItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reference, priority, due_date, defer_date, .. } = self;
        f.debug_struct("NewQueueItem")
            .field("reference", reference)
            .field("priority", priority)
            .field("due_date", due_date)
            .field("defer_date", defer_date)
            .finish_non_exhaustive()
    }
}

impl NewQueueItem {
    /// An item with this SpecificContent: anything that serializes to a flat JSON object.
    pub fn new(content: impl Serialize) -> Self {
        // Here, and not in the store, where it would delay the one writer.
        Self::with_content(SpecificContent::of(&content))
    }

    /// An item whose SpecificContent is this JSON text. Numbers keep all the digits they are written with.
    ///
    /// ```
    /// use performer::NewQueueItem;
    ///
    /// let item = NewQueueItem::from_json(r#"{"iban": 100000000000000000000000000001, "amount": 1234567890123456.78}"#);
    /// ```
    pub fn from_json(content: &str) -> Self {
        Self::with_content(SpecificContent::from_json(content))
    }

    fn with_content(content: Result<SpecificContent, Refusal>) -> Self {
        Self {
            content,
            reference: None,
            priority: Priority::Normal,
            due_date: None,
            defer_date: None,
            risk_sla_date: None,
            progress: None,
            origin: Origin::default(),
        }
    }

    /// The caller's own name for the item, at most 128 code units without control characters. A queue
    /// that enforces unique references takes each one once.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// How urgent the item is. Default: Normal.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The item should be claimed before this time. Items with a due date come before all others.
    #[must_use]
    pub fn due_date(mut self, due_date: Timestamp) -> Self {
        self.due_date = Some(due_date.into());
        self
    }

    /// The item is not claimed before this time. A time in the past defers nothing.
    #[must_use]
    pub fn defer_date(mut self, defer_date: Timestamp) -> Self {
        self.defer_date = Some(defer_date.into());
        self
    }

    /// From this time on the item is at risk of missing its due date. Stored and shown; nothing else follows from it.
    #[must_use]
    pub fn risk_sla_date(mut self, risk_sla_date: Timestamp) -> Self {
        self.risk_sla_date = Some(risk_sla_date.into());
        self
    }

    /// A first progress text.
    #[must_use]
    pub fn progress(mut self, progress: impl Into<String>) -> Self {
        self.progress = Some(progress.into());
        self
    }

    /// Checks the item against a queue and returns its content.
    ///
    /// # Errors
    ///
    /// Codes 1009, 1015 and 1865 for content, reference and progress; 1850 if the queue requires a reference and the
    /// item has none; 1857 if the content does not match the queue's schema.
    pub fn validate(&self, queue: &QueueDefinition) -> Result<&SpecificContent, Refusal> {
        match &self.reference {
            Some(reference) => validate_reference(reference)?,
            None if queue.policy.enforce_unique_reference => {
                let message = format!("queue {:?} takes only items with a reference", queue.name);
                return Err(Refusal::new(ErrorCode::TRANSACTION_REFERENCE_REQUIRED, message));
            }
            None => {}
        }
        if let Some(progress) = &self.progress {
            validate_progress(progress)?;
        }
        if let Some(name) = &self.origin.parent_operation_id {
            validate_operation_id("ParentOperationId", name)?;
        }
        let content = self.content.as_ref().map_err(Refusal::clone)?;
        queue.schemas.validate(SchemaOf::SpecificData, content.as_json())?;
        Ok(content)
    }
}

/// Checks a reference: 1 to 128 code units without control characters, in any script.
///
/// # Errors
///
/// Code 1015 for its length, 1009 for a control character.
pub fn validate_reference(reference: &str) -> Result<(), Refusal> {
    let units = reference.encode_utf16().count();
    if units == 0 || units > REFERENCE_LIMIT {
        let message =
            format!("a reference has {units} code units; it should be between 1 and {REFERENCE_LIMIT}");
        return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
    }
    if let Some(control) = reference.chars().find(|c| c.is_control()) {
        let message = format!("a reference must not contain {control:?}");
        return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message));
    }
    Ok(())
}

/// Checks the name of an operation: at most [`REFERENCE_LIMIT`] code units.
///
/// # Errors
///
/// Code 1015 for its length.
pub fn validate_operation_id(what: &str, name: &str) -> Result<(), Refusal> {
    units_over(name, REFERENCE_LIMIT).map_or(Ok(()), |units| {
        let message = format!("{what} has {units} code units, the limit is {REFERENCE_LIMIT}");
        Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
    })
}

/// Checks a progress text.
///
/// # Errors
///
/// Code 1871 when it is longer than [`PROGRESS_LIMIT`].
pub fn validate_progress(progress: &str) -> Result<(), Refusal> {
    units_over(progress, PROGRESS_LIMIT).map_or(Ok(()), |units| {
        let message = format!("a progress text has {units} code units, the limit is {PROGRESS_LIMIT}");
        Err(Refusal::new(ErrorCode::QUEUE_ITEM_PROGRESS_DATA_SIZE_EXCEEDED, message))
    })
}

/// New values for an item that is New. `None` leaves a value unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    fn the_content_of_an_item_is_in_no_log() {
        let item = NewQueueItem::new(serde_json::json!({ "iban": "DE02120300000000202051" })).reference("a");
        let shown = format!("{item:?}");
        assert!(shown.contains("\"a\"") && shown.contains("Normal") && !shown.contains("DE02"), "{shown}");
    }

    #[test]
    fn references_are_bounded_and_printable() {
        for good in ["INV-1", "Überweisung 17 漢字 🦀", &"x".repeat(128), &"🦀".repeat(64)] {
            assert_eq!(validate_reference(good), Ok(()), "{good}");
        }
        for (bad, code) in [
            ("", ErrorCode::PARAMETER_INVALID),
            (&"x".repeat(129), ErrorCode::PARAMETER_INVALID),
            (&"🦀".repeat(65), ErrorCode::PARAMETER_INVALID),
            ("a\nb", ErrorCode::INVALID_ARGUMENT),
            ("a\0b", ErrorCode::INVALID_ARGUMENT),
            ("\u{7f}", ErrorCode::INVALID_ARGUMENT),
            ("\u{9b}2J", ErrorCode::INVALID_ARGUMENT),
        ] {
            assert_eq!(validate_reference(bad).unwrap_err().code(), code, "{bad:?}");
        }
    }

    #[test]
    fn a_reference_filter_tells_capitals_from_small_letters() {
        let starts = ReferenceFilter::StartsWith("INV-".to_owned());
        assert!(starts.matches(Some("INV-1")) && !starts.matches(Some("inv-1")) && !starts.matches(None));
        let equals = ReferenceFilter::Equals("INV-1".to_owned());
        assert!(equals.matches(Some("INV-1")) && !equals.matches(Some("INV-10")));
    }
}
