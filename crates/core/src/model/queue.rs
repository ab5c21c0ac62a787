//! Queues and their policy (orchestrator-api 6).

use std::time::Duration;

use jiff::Timestamp;

use super::code::ErrorCode;
use super::key::{FolderId, QueueId, QueueKey};
use super::limits::QueueLimits;
use super::refusal::Refusal;
use super::retry_delay::RetryDelay;
use super::schema::{SchemaOf, Schemas};

pub use super::queue_notes::{MAX_SLA_IN_MINUTES, MOST_TAGS, QueueNotes, TAG_LIMIT, Tag};

/// The longest name of a queue, in UTF-16 code units.
pub const NAME_LIMIT: usize = 50;
/// The longest description of a queue, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 250;
/// The most automatic retries a queue may be set to.
pub const MAX_RETRIES: u32 = 50;
/// The longest retention period, in days.
pub const MAX_RETENTION_DAYS: u32 = 180;

/// The policy of a queue: the part of its definition that people set.
///
/// ```
/// use performer::QueuePolicy;
///
/// let policy = QueuePolicy::default().max_number_of_retries(3).enforce_unique_reference(true);
/// assert!(policy.accept_automatically_retry);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePolicy {
    /// The master switch of automatic retries. Default: true.
    pub accept_automatically_retry: bool,
    /// How often an item may be retried after an ApplicationException, 0 to 50. Default: 1.
    pub max_number_of_retries: u32,
    /// Whether Abandoned items are retried too; they share the same maximum. Default: false.
    pub retry_abandoned_items: bool,
    /// How long an automatic retry waits. Not in a UiPath Orchestrator, whose client refuses it. Default: not at all.
    pub retry_delay: RetryDelay,
    /// Whether a reference may be in the queue only once. Items that are Deleted or Retried do not count. Cannot be
    /// changed after the queue was created. Default: false.
    pub enforce_unique_reference: bool,
    /// How long an item may be InProgress before it is Abandoned, even if its job is alive. Default: 24 hours.
    pub abandon_after: Duration,
    /// After how many days final items are removed, 1 to 180. Default: 30.
    pub retention_days: u32,
    /// After how many days items that were never finished are removed, 1 to 180. Default: 180.
    pub stale_retention_days: u32,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            accept_automatically_retry: true,
            max_number_of_retries: 1,
            retry_abandoned_items: false,
            retry_delay: RetryDelay::None,
            enforce_unique_reference: false,
            abandon_after: Duration::from_secs(24 * 60 * 60),
            retention_days: 30,
            stale_retention_days: 180,
        }
    }
}

impl QueuePolicy {
    /// Sets the master switch of automatic retries. Default: true.
    #[must_use]
    pub fn accept_automatically_retry(mut self, accept_automatically_retry: bool) -> Self {
        self.accept_automatically_retry = accept_automatically_retry;
        self
    }

    /// Sets how often an item may be retried after an ApplicationException: 0 to [`MAX_RETRIES`]. Default: 1.
    #[must_use]
    pub fn max_number_of_retries(mut self, max_number_of_retries: u32) -> Self {
        self.max_number_of_retries = max_number_of_retries;
        self
    }

    /// Sets whether Abandoned items are retried too. Default: false.
    #[must_use]
    pub fn retry_abandoned_items(mut self, retry_abandoned_items: bool) -> Self {
        self.retry_abandoned_items = retry_abandoned_items;
        self
    }

    /// Sets how long an automatic retry waits, unless its exception says so itself: a [`Duration`], an
    /// [`ExponentialDelay`](super::retry_delay::ExponentialDelay), or a [`RetryDelay`]; at most
    /// [`MAX_RETRY_DELAY`](super::retry_delay::MAX_RETRY_DELAY). A UiPath Orchestrator has no such setting, and its client
    /// refuses it as Unsupported. Default: not at all.
    #[must_use]
    pub fn retry_delay(mut self, retry_delay: impl Into<RetryDelay>) -> Self {
        self.retry_delay = retry_delay.into();
        self
    }

    /// Sets whether a reference may be in the queue only once. Default: false.
    #[must_use]
    pub fn enforce_unique_reference(mut self, enforce_unique_reference: bool) -> Self {
        self.enforce_unique_reference = enforce_unique_reference;
        self
    }

    /// Sets how long an item may be InProgress: 1 second to 180 days. Default: 24 hours.
    #[must_use]
    pub fn abandon_after(mut self, abandon_after: Duration) -> Self {
        self.abandon_after = abandon_after;
        self
    }

    /// Sets after how many days final items are removed: 1 to [`MAX_RETENTION_DAYS`]. Default: 30.
    #[must_use]
    pub fn retention_days(mut self, retention_days: u32) -> Self {
        self.retention_days = retention_days;
        self
    }

    /// Sets after how many days items that were never finished are removed: 1 to [`MAX_RETENTION_DAYS`].
    /// Default: 180.
    #[must_use]
    pub fn stale_retention_days(mut self, stale_retention_days: u32) -> Self {
        self.stale_retention_days = stale_retention_days;
        self
    }
}

/// A queue: its identity and its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueDefinition {
    /// Given when the queue is created; never changes.
    pub id: QueueId,
    /// Given when the queue is created; never changes.
    pub key: QueueKey,
    /// Unique among the queues, ignoring case.
    pub name: String,
    /// What the queue is for.
    pub description: Option<String>,
    /// Its policy.
    pub policy: QueuePolicy,
    /// The JSON schemas of its items.
    pub schemas: Schemas,
    /// Notes of people.
    pub notes: QueueNotes,
    /// Its limits for all performers together. An update of the queue leaves them unchanged; see
    /// [`QueueAdministration::edit_queue_limits`](crate::orchestrator::QueueAdministration::edit_queue_limits).
    pub limits: QueueLimits,
    /// The folders it is in: it is one queue in all of them. The first one is where it was created.
    pub folders: Vec<FolderId>,
    /// When it was created.
    pub creation_time: Timestamp,
}

impl QueueDefinition {
    /// A queue with the default policy and limits, in no folder.
    pub fn new(id: QueueId, key: QueueKey, name: String, creation_time: Timestamp) -> Self {
        Self {
            id,
            key,
            name,
            description: None,
            policy: QueuePolicy::default(),
            schemas: Schemas::default(),
            notes: QueueNotes::default(),
            limits: QueueLimits::default(),
            folders: Vec::new(),
            creation_time,
        }
    }

    /// The settings of the queue: what an update changes.
    pub fn settings(&self) -> NewQueueDefinition {
        NewQueueDefinition {
            name: self.name.clone(),
            description: self.description.clone(),
            policy: self.policy.clone(),
            schemas: self.schemas.clone(),
            notes: self.notes.clone(),
        }
    }

    /// Checks that a caller may change or delete the queue in every folder that it is in: it is one queue in all of
    /// them. `reach`: the folders in which the caller has the right; `None`: everywhere.
    ///
    /// # Errors
    ///
    /// Code 1017.
    pub fn may_be_changed_by(&self, reach: Option<&[FolderId]>) -> Result<(), Refusal> {
        let in_reach = |folder: &FolderId| reach.is_none_or(|reach| reach.contains(folder));
        if self.folders.iter().all(in_reach) {
            return Ok(());
        }
        let message = format!(
            "queue {:?} is also in a folder where the caller has no right to this; it can be taken out of a folder by \
             ShareToFolders",
            self.name
        );
        Err(Refusal::new(ErrorCode::FORBIDDEN_OPERATION, message))
    }
}

/// A queue to create, or the new settings of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewQueueDefinition {
    /// The name, at most 50 code units.
    pub name: String,
    /// What the queue is for, at most 250 code units.
    pub description: Option<String>,
    /// Its policy.
    pub policy: QueuePolicy,
    /// The JSON schemas of its items. Default: none.
    pub schemas: Schemas,
    /// Notes of people.
    pub notes: QueueNotes,
}

impl NewQueueDefinition {
    /// A queue with the default policy.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            policy: QueuePolicy::default(),
            schemas: Schemas::default(),
            notes: QueueNotes::default(),
        }
    }

    /// A queue with the default policy whose items have this type as SpecificContent and that one as Output: their JSON schemas
    /// become those of the queue. `()` has no schema. Needs the feature `schema`.
    ///
    /// The schema of the content is what `C` can be deserialized from, and that of the output what `O` serializes to. A schema
    /// that serde cannot follow (`#[serde(deserialize_with = …)]`) is set with [`schemas`](Self::schemas).
    #[cfg(feature = "schema")]
    pub fn of<C: schemars::JsonSchema, O: schemars::JsonSchema>(name: impl Into<String>) -> Self {
        Self::new(name).schemas(Schemas::of_types::<C, O>())
    }

    /// Sets the policy.
    #[must_use]
    pub fn policy(mut self, policy: QueuePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the JSON schemas of its items. Default: none.
    #[must_use]
    pub fn schemas(mut self, schemas: Schemas) -> Self {
        self.schemas = schemas;
        self
    }

    /// Sets the notes of people. Default: none.
    #[must_use]
    pub fn notes(mut self, notes: QueueNotes) -> Self {
        self.notes = notes;
        self
    }

    /// Checks names and ranges.
    ///
    /// # Errors
    ///
    /// Code 1015 for a value outside its range, 1009 for a name that is empty or has control characters, 1014 for an
    /// SLA without a process, 1858 for a text that is no schema.
    pub fn validate(&self) -> Result<(), Refusal> {
        let argument = |message: String| Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message));
        if self.name.trim().is_empty() {
            return argument("the name of a queue must not be empty".to_owned());
        }
        if let Some(control) = self.name.chars().find(|c| c.is_control()) {
            return argument(format!("the name of a queue must not contain {control:?}"));
        }
        let description_units = self.description.as_deref().map_or(0, |text| text.encode_utf16().count());
        let seconds = self.policy.abandon_after.as_secs();
        for (what, value, range) in [
            ("the length of a queue's name", self.name.encode_utf16().count() as u64, 1..=NAME_LIMIT as u64),
            ("the length of a queue's description", description_units as u64, 0..=DESCRIPTION_LIMIT as u64),
            ("MaxNumberOfRetries", self.policy.max_number_of_retries.into(), 0..=MAX_RETRIES.into()),
            ("the retention of final items in days", self.policy.retention_days.into(), RETENTION_DAYS),
            ("the retention of stale items in days", self.policy.stale_retention_days.into(), RETENTION_DAYS),
            (
                "the seconds after which an item is abandoned",
                seconds,
                1..=u64::from(MAX_RETENTION_DAYS) * 86_400,
            ),
        ] {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                let message = format!("{what} is {value}; it should be between {low} and {high}");
                return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
            }
        }
        self.policy.retry_delay.validate()?;
        self.notes.validate()?;
        self.schemas.validate_definitions()
    }

    /// Lists each setting of `queue` that differs from this definition, in a sentence. The description, each schema and the notes
    /// are compared only if they are set here.
    pub fn differences_from(&self, queue: &QueueDefinition) -> Vec<String> {
        let (wanted, found) = (&self.policy, &queue.policy);
        let seconds = |policy: &QueuePolicy| format!("{} seconds", policy.abandon_after.as_secs());
        let settings = [
            (
                "AcceptAutomaticallyRetry",
                found.accept_automatically_retry.to_string(),
                wanted.accept_automatically_retry.to_string(),
            ),
            (
                "MaxNumberOfRetries",
                found.max_number_of_retries.to_string(),
                wanted.max_number_of_retries.to_string(),
            ),
            (
                "RetryAbandonedItems",
                found.retry_abandoned_items.to_string(),
                wanted.retry_abandoned_items.to_string(),
            ),
            ("the retry delay", found.retry_delay.to_string(), wanted.retry_delay.to_string()),
            (
                "EnforceUniqueReference",
                found.enforce_unique_reference.to_string(),
                wanted.enforce_unique_reference.to_string(),
            ),
            ("the time after which an item is abandoned", seconds(found), seconds(wanted)),
            ("RetentionDays", found.retention_days.to_string(), wanted.retention_days.to_string()),
            (
                "StaleRetentionDays",
                found.stale_retention_days.to_string(),
                wanted.stale_retention_days.to_string(),
            ),
        ];
        let different = settings.into_iter().filter(|(_, found, wanted)| found != wanted);
        let mut differences: Vec<String> = different
            .map(|(what, found, wanted)| format!("{what} is {found} and should be {wanted}"))
            .collect();
        let description = self.description.as_ref().filter(|description| !description.is_empty());
        if description.is_some() && description != queue.description.as_ref() {
            differences.push("the description differs".to_owned());
        }
        for what in SchemaOf::ALL {
            let (wanted, found) = (self.schemas.of(*what), queue.schemas.of(*what));
            if wanted.is_some() && wanted.map(|json| parsed(json)) != found.map(|json| parsed(json)) {
                differences.push(format!("the JSON schema of {what} differs"));
            }
        }
        if self.notes != QueueNotes::default() && self.notes != queue.notes {
            differences.push("the SLA, process or tags differ".to_owned());
        }
        differences
    }

    /// Checks whether a queue may get these settings.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate); code 1855 if a setting would change that cannot.
    pub fn validate_change_of(&self, queue: &QueueDefinition) -> Result<(), Refusal> {
        self.validate()?;
        if self.policy.enforce_unique_reference != queue.policy.enforce_unique_reference {
            return Err(Refusal::new(
                ErrorCode::QUEUE_DEFINITION_PARAMETERS_CANNOT_CHANGE,
                "EnforceUniqueReference cannot be changed after the queue is made",
            ));
        }
        Ok(())
    }
}

/// A schema as a value, because a server may write it in another form.
fn parsed(schema: &str) -> Result<serde_json::Value, &str> {
    serde_json::from_str(schema).map_err(|_| schema)
}

const RETENTION_DAYS: std::ops::RangeInclusive<u64> = 1..=MAX_RETENTION_DAYS as u64;

/// The form of a name that is compared (orchestrator-api 6: unique, case-insensitive).
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut NewQueueDefinition)) -> (ErrorCode, String) {
        let mut queue = NewQueueDefinition::new("Invoices");
        change(&mut queue);
        let refusal = queue.validate().unwrap_err();
        (refusal.code(), refusal.to_string())
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let (code, message) = refused(|queue| queue.policy.max_number_of_retries = 51);
        assert_eq!(code, ErrorCode::PARAMETER_INVALID);
        assert_eq!(message, "MaxNumberOfRetries is 51; it should be between 0 and 50");
        assert_eq!(refused(|queue| queue.name = "x".repeat(51)).0, ErrorCode::PARAMETER_INVALID);
        assert_eq!(refused(|queue| queue.name = " ".to_owned()).0, ErrorCode::INVALID_ARGUMENT);
        assert_eq!(refused(|queue| queue.name = "a\nb".to_owned()).0, ErrorCode::INVALID_ARGUMENT);
        let (code, _) = refused(|queue| queue.description = Some("x".repeat(251)));
        assert_eq!(code, ErrorCode::PARAMETER_INVALID);
        assert_eq!(refused(|queue| queue.policy.retention_days = 0).0, ErrorCode::PARAMETER_INVALID);
        assert_eq!(refused(|queue| queue.policy.stale_retention_days = 181).0, ErrorCode::PARAMETER_INVALID);
        assert_eq!(
            refused(|queue| queue.policy.abandon_after = Duration::ZERO).0,
            ErrorCode::PARAMETER_INVALID
        );
        let (_, message) = refused(|queue| queue.policy.retry_delay = Duration::ZERO.into());
        assert!(message.contains("a retry delay is 0s"), "{message}");
    }

    #[test]
    fn every_setting_is_compared() {
        let mut queue = QueueDefinition::new(
            QueueId(1),
            QueueKey::from_bytes([0; 16]),
            "Q".to_owned(),
            Timestamp::UNIX_EPOCH,
        );
        queue.description = Some("of somebody".to_owned());
        queue.schemas.analytics_data = Some("{}".into());
        queue.notes.risk_sla_in_minutes = 5;
        let differences = |wanted: NewQueueDefinition| wanted.differences_from(&queue);
        let wanted = || NewQueueDefinition::new("Q");
        let policy = |policy: QueuePolicy| wanted().policy(policy);
        let default = QueuePolicy::default;
        assert_eq!(differences(wanted()), [""; 0], "description, schemas and notes are not asked for");
        assert_eq!(differences(wanted().description("")), [""; 0]);
        let spaced = Schemas { analytics_data: Some("{ }".into()), ..Schemas::default() };
        assert_eq!(differences(wanted().schemas(spaced)), [""; 0], "the same JSON");
        let output = Schemas { output_data: Some("{}".into()), ..Schemas::default() };
        for (part, wanted) in [
            ("AcceptAutomaticallyRetry is true", policy(default().accept_automatically_retry(false))),
            ("MaxNumberOfRetries is 1 and should be 3", policy(default().max_number_of_retries(3))),
            ("RetryAbandonedItems is false", policy(default().retry_abandoned_items(true))),
            (
                "the retry delay is none and should be 5s",
                policy(default().retry_delay(Duration::from_secs(5))),
            ),
            ("EnforceUniqueReference is false", policy(default().enforce_unique_reference(true))),
            ("is 86400 seconds and should be 60", policy(default().abandon_after(Duration::from_secs(60)))),
            ("RetentionDays is 30 and should be 7", policy(default().retention_days(7))),
            ("StaleRetentionDays is 180 and should be 7", policy(default().stale_retention_days(7))),
            ("the description differs", wanted().description("ours")),
            ("the JSON schema of OutputData differs", wanted().schemas(output)),
            ("the SLA, process or tags differ", wanted().notes(QueueNotes::default().release_id(3))),
        ] {
            let found = differences(wanted);
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        }
    }

    #[test]
    fn the_rule_about_references_is_frozen() {
        let queue = QueueDefinition {
            id: QueueId(1),
            key: QueueKey::from_bytes([0; 16]),
            name: "Invoices".to_owned(),
            description: None,
            policy: QueuePolicy::default(),
            schemas: Schemas::default(),
            notes: QueueNotes::default(),
            limits: QueueLimits::default(),
            folders: vec![FolderId::SHARED],
            creation_time: Timestamp::UNIX_EPOCH,
        };
        let mut change = NewQueueDefinition::new("Invoices 2");
        assert_eq!(change.validate_change_of(&queue), Ok(()));
        change.policy.enforce_unique_reference = true;
        let refusal = change.validate_change_of(&queue).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::QUEUE_DEFINITION_PARAMETERS_CANNOT_CHANGE);
    }
}
