//! What a new item consists of, and what is checked before it is added (T1 of `docs/reference/lifecycle.md`; orchestrator-api 3
//! and 7).

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::code::ErrorCode;
use super::content::{SpecificContent, units_over};
use super::groups::validate_group;
use super::item::Priority;
use super::key::JobKey;
use super::queue::QueueDefinition;
use super::refusal::Refusal;
use super::schema::SchemaOf;
use super::stored_time::StoredTime;
use crate::enumeration;

/// The longest reference, in UTF-16 code units (orchestrator-api 3).
pub const REFERENCE_LIMIT: usize = 128;
/// The longest progress text, in UTF-16 code units (orchestrator-api 3).
pub const PROGRESS_LIMIT: usize = 104_857;

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
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewQueueItem {
    content: Result<SpecificContent, Refusal>,
    /// The caller's own name for it, at most 128 code units.
    pub reference: Option<String>,
    /// The group it belongs to, at most 128 code units ([`groups`](super::groups)).
    pub group: Option<String>,
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
#[non_exhaustive]
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
        let Self { reference, group, priority, due_date, defer_date, .. } = self;
        f.debug_struct("NewQueueItem")
            .field("reference", reference)
            .field("group", group)
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
            group: None,
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

    /// The group that the item belongs to, such as a customer: at most 128 code units without control characters. A queue may
    /// limit how many items of one group are in progress, and let the groups take turns
    /// ([`QueueLimits`](super::limits::QueueLimits)); a real Orchestrator has no groups. Default: none.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
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

    /// The content, if it is flat JSON within the limits.
    ///
    /// # Errors
    ///
    /// Codes 1009 and 1865, as [`validate`](Self::validate).
    pub fn content(&self) -> Result<&SpecificContent, Refusal> {
        self.content.as_ref().map_err(Refusal::clone)
    }

    /// Checks the item against a queue and returns its content.
    ///
    /// # Errors
    ///
    /// Codes 1009, 1015 and 1865 for content, reference, group and progress; 1850 if the queue requires a reference and the
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
        if let Some(group) = &self.group {
            validate_group(group)?;
        }
        if let Some(progress) = &self.progress {
            validate_progress(progress)?;
        }
        if let Some(name) = &self.origin.parent_operation_id {
            validate_operation_id("ParentOperationId", name)?;
        }
        let content = self.content()?;
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
    validate_name("a reference", reference)
}

/// Checks a name that a caller gave: 1 to [`REFERENCE_LIMIT`] code units without control characters.
pub(super) fn validate_name(what: &str, name: &str) -> Result<(), Refusal> {
    let units = name.encode_utf16().count();
    if units == 0 || units > REFERENCE_LIMIT {
        let message = format!("{what} has {units} code units; it should be between 1 and {REFERENCE_LIMIT}");
        return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
    }
    if let Some(control) = name.chars().find(|c| c.is_control()) {
        let message = format!("{what} must not contain {control:?}");
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
}
