//! The audit: who changed what, and from where.
//!
//! Every change that people make of queues, items, reviews, jobs and access is one entry, which a store writes in the transaction of
//! the change. Entries have consecutive numbers, and each record carries a digest over its entry and the digest of the one before: a record that is
//! changed, removed or inserted afterwards breaks the chain.

mod act;
mod chain;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::act::Act;
pub use self::chain::{AuditChain, AuditLine, digest_of};
use super::asset::{Asset, OwnedValue, ValueOf};
use super::bucket::Bucket;
use super::code::ErrorCode;
use super::key::{FolderId, ItemId};
use super::queue::QueueDefinition;
use super::refusal::Refusal;
use crate::enumeration;

enumeration! {
    /// Where an act came from. The numbers are ours.
    pub ActSource {
        /// A program that opened the store itself.
        Program = 0,
        /// The command `performer`.
        Command = 1,
        /// The server's API.
        Api = 2,
        /// The server's pages.
        Desk = 3,
    }
}

/// Who acts, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Actor {
    /// From where.
    pub source: ActSource,
    /// The number of the user, if there are users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    /// The name of the user: that of a server, or that of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The network address of the caller, for a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Actor {
    /// An actor of which only the source is known.
    pub const fn new(source: ActSource) -> Self {
        Self { source, user_id: None, user_name: None, address: None }
    }

    /// Sets the name of the user.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(user_name.into());
        self
    }

    /// Sets the number of the user.
    #[must_use]
    pub fn user_id(mut self, user_id: i64) -> Self {
        self.user_id = Some(user_id);
        self
    }

    /// Sets the network address.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }
}

/// A value before and after an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct FieldChange {
    /// The field, by the name that the API has for it where there is one.
    pub field: String,
    /// The value before; `None` if there was none, or if it is not kept (content, and what is longer than [`LONGEST_VALUE`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after it, as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Values whose JSON is longer, in bytes, are recorded as changed, without the value.
pub const LONGEST_VALUE: usize = 1_000;

impl FieldChange {
    /// A change of a field.
    pub fn new(field: &str, before: impl Into<Option<Value>>, after: impl Into<Option<Value>>) -> Self {
        let short = |value: &Value| value.to_string().len() <= LONGEST_VALUE;
        Self {
            field: field.to_owned(),
            before: before.into().filter(short),
            after: after.into().filter(short),
        }
    }

    /// A change of a field whose values the audit does not keep.
    pub fn without_values(field: &str) -> Self {
        Self { field: field.to_owned(), before: None, after: None }
    }
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AuditEntry {
    /// When, by the store's clock.
    pub time: Timestamp,
    /// Who, and from where.
    pub actor: Actor,
    /// What was done.
    pub act: Act,
    /// The folder in which it was done.
    pub folder: FolderId,
    /// What it was done to, for people: `queue Invoices`, `items`, `user ann`.
    pub subject: String,
    /// The items it was done to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemId>,
    /// What changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
}

impl AuditEntry {
    /// An entry without items and changes.
    pub fn new(
        time: Timestamp,
        actor: Actor,
        act: Act,
        folder: FolderId,
        subject: impl Into<String>,
    ) -> Self {
        Self { time, actor, act, folder, subject: subject.into(), items: Vec::new(), changes: Vec::new() }
    }
}

/// An entry in its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AuditRecord {
    /// Consecutive, from 1.
    pub id: u64,
    /// The entry.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The text of the entry as it is stored: JSON, over which the digest goes.
    #[serde(skip)]
    pub text: Arc<str>,
    /// The digest over the digest of the record before and the text, in hexadecimal digits.
    pub digest: String,
}

impl AuditRecord {
    /// A record that was read.
    pub fn new(id: u64, entry: AuditEntry, text: Arc<str>, digest: String) -> Self {
        Self { id, entry, text, digest }
    }
}

/// Which records to list, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFilter {
    /// Only these acts; empty: all.
    pub acts: Vec<Act>,
    /// Only acts of the user with this name.
    pub user_name: Option<String>,
    /// Only acts at or after this time.
    pub from: Option<Timestamp>,
    /// Only acts before this time.
    pub to: Option<Timestamp>,
    /// Only records with a smaller number: the last one of the page before.
    pub before: Option<u64>,
    /// How many at most, 1 to [`MAX_RECORDS`]. Default: 100.
    pub top: usize,
}

/// The most records of a page.
pub const MAX_RECORDS: usize = 1_000;

impl Default for AuditFilter {
    fn default() -> Self {
        Self { acts: Vec::new(), user_name: None, from: None, to: None, before: None, top: 100 }
    }
}

impl AuditFilter {
    /// Checks the size of the page.
    ///
    /// # Errors
    ///
    /// Code 1009 for a page without records, or with more than [`MAX_RECORDS`].
    pub fn validate(&self) -> Result<(), Refusal> {
        if (1..=MAX_RECORDS).contains(&self.top) {
            return Ok(());
        }
        let message =
            format!("a page has {} records of the audit; it should be 1 to {MAX_RECORDS}", self.top);
        Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message))
    }
}

/// What a look at the whole chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AuditCheck {
    /// How many records there are.
    pub records: u64,
    /// The digest of the last record. Kept elsewhere, it shows later that no record before it was rewritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The first place where the chain is broken, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenChain>,
}

impl AuditCheck {
    /// A check of a chain in which nothing was found yet.
    pub const fn new() -> Self {
        Self { records: 0, head: None, broken: None }
    }
}

impl Default for AuditCheck {
    fn default() -> Self {
        Self::new()
    }
}

/// A place where the chain of the audit is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct BrokenChain {
    /// The number of the record.
    pub id: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl BrokenChain {
    /// A record, and what is wrong with it.
    pub fn new(id: u64, reason: impl Into<String>) -> Self {
        Self { id, reason: reason.into() }
    }
}

/// What differs between two states of a queue.
pub fn queue_changes(before: Option<&QueueDefinition>, after: Option<&QueueDefinition>) -> Vec<FieldChange> {
    field_changes(before.map(queue_fields).as_ref(), after.map(queue_fields).as_ref())
}

/// What differs between two states of an asset. Its values, and the secrets that were replaced, are said to have changed and are not kept.
pub fn asset_changes(
    before: Option<&Asset>,
    after: Option<&Asset>,
    new_secrets: &[ValueOf],
) -> Vec<FieldChange> {
    let mut changes = field_changes(before.map(asset_fields).as_ref(), after.map(asset_fields).as_ref());
    let values = |asset: Option<&Asset>| asset.map(|asset| asset.values.clone()).unwrap_or_default();
    let (before, after) = (values(before), values(after));
    let mut owners: Vec<ValueOf> = new_secrets.to_vec();
    let differs = |one: &[OwnedValue], other: &[OwnedValue]| {
        let changed = one.iter().filter(|value| !other.contains(value)).map(|value| value.of);
        changed.collect::<Vec<_>>()
    };
    owners.extend(differs(&before, &after));
    owners.extend(differs(&after, &before));
    owners.sort_unstable();
    owners.dedup();
    changes.extend(owners.iter().map(|of| FieldChange::without_values(&format!("Value of {of}"))));
    changes
}

/// What differs between two states of a storage bucket.
pub fn bucket_changes(before: Option<&Bucket>, after: Option<&Bucket>) -> Vec<FieldChange> {
    field_changes(before.map(bucket_fields).as_ref(), after.map(bucket_fields).as_ref())
}

/// The fields of a storage bucket that can change, by the API's names.
fn bucket_fields(bucket: &Bucket) -> Fields {
    vec![
        ("Name", Value::from(bucket.name.as_str())),
        ("Description", Value::from(bucket.description.clone())),
        ("Options", Value::from(bucket.options.name())),
        ("Folders", bucket.folders.iter().map(|folder| folder.0).collect()),
    ]
}

/// The fields of an asset that can change, by the API's names, but for its values.
fn asset_fields(asset: &Asset) -> Vec<(&'static str, Value)> {
    vec![
        ("Name", Value::from(asset.name.as_str())),
        ("Description", Value::from(asset.description.clone())),
        ("ValueType", Value::from(asset.value_type.name())),
        ("ValueScope", Value::from(asset.scope.name())),
        ("Folders", asset.folders.iter().map(|folder| folder.0).collect()),
    ]
}

/// Fields with their values.
type Fields = Vec<(&'static str, Value)>;

fn field_changes(before: Option<&Fields>, after: Option<&Fields>) -> Vec<FieldChange> {
    let fields = before.or(after).into_iter().flatten().map(|(field, _)| *field);
    let value = |of: Option<&Fields>, at: usize| {
        of.map(|fields| fields[at].1.clone()).filter(|value| !value.is_null())
    };
    let both = fields.enumerate().map(|(at, field)| (field, value(before, at), value(after, at)));
    both.filter(|(_, before, after)| before != after)
        .map(|(field, before, after)| FieldChange::new(field, before, after))
        .collect()
}

/// The fields of a queue that can change, by the API's names where there are some.
fn queue_fields(queue: &QueueDefinition) -> Fields {
    let QueueDefinition { name, description, policy, schemas, notes, limits, folders, .. } = queue;
    let json = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
    vec![
        ("Name", Value::from(name.as_str())),
        ("Description", Value::from(description.clone())),
        ("AcceptAutomaticallyRetry", policy.accept_automatically_retry.into()),
        ("MaxNumberOfRetries", policy.max_number_of_retries.into()),
        ("RetryAbandonedItems", policy.retry_abandoned_items.into()),
        ("RetryDelay", Value::from(policy.retry_delay.to_string())),
        ("EnforceUniqueReference", policy.enforce_unique_reference.into()),
        ("AbandonAfterSeconds", policy.abandon_after.as_secs().into()),
        ("RetentionPeriod", policy.retention_days.into()),
        ("StaleRetentionPeriod", policy.stale_retention_days.into()),
        ("SpecificDataJsonSchema", Value::from(schemas.specific_data.as_deref())),
        ("OutputDataJsonSchema", Value::from(schemas.output_data.as_deref())),
        ("AnalyticsDataJsonSchema", Value::from(schemas.analytics_data.as_deref())),
        ("Notes", json(serde_json::to_value(notes))),
        ("Limits", json(serde_json::to_value(limits))),
        ("Folders", folders.iter().map(|folder| folder.0).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::{QueueId, QueueKey};
    use serde_json::json;

    fn queue() -> QueueDefinition {
        QueueDefinition::new(
            QueueId(7),
            QueueKey::from_bytes([0; 16]),
            "Invoices".into(),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn changes_of_a_queue_name_what_differs() {
        let (before, mut after) = (queue(), queue());
        after.policy.max_number_of_retries = 3;
        after.limits.paused = true;
        let changes = queue_changes(Some(&before), Some(&after));
        assert_eq!(
            changes.iter().map(|change| &*change.field).collect::<Vec<_>>(),
            ["MaxNumberOfRetries", "Limits"]
        );
        assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (Some(json!(1)), Some(json!(3))));
        assert!(queue_changes(Some(&before), Some(&before)).is_empty());
    }

    #[test]
    fn a_queue_that_is_created_or_deleted_changes_from_or_to_nothing() {
        let created = queue_changes(None, Some(&queue()));
        assert!(created.iter().all(|change| change.before.is_none() && change.after.is_some()));
        let deleted = queue_changes(Some(&queue()), None);
        assert_eq!(created.len(), deleted.len());
        assert!(deleted.iter().all(|change| change.before.is_some() && change.after.is_none()));
    }

    #[test]
    fn long_values_are_not_kept() {
        let long = "x".repeat(LONGEST_VALUE);
        let change = FieldChange::new("SpecificDataJsonSchema", json!("short"), json!(long));
        assert_eq!((change.before, change.after), (Some(json!("short")), None));
    }

    #[test]
    fn an_entry_is_read_as_it_is_written() {
        let actor = Actor::new(ActSource::Desk).user_id(5).user_name("ann").address("10.0.0.7");
        let mut entry =
            AuditEntry::new(Timestamp::UNIX_EPOCH, actor, Act::ItemsReviewed, FolderId::SHARED, "items");
        entry.items = vec![ItemId(3), ItemId(4)];
        entry.changes = vec![FieldChange::new("ReviewStatus", json!("None"), json!("Verified"))];
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<AuditEntry>(&text).unwrap(), entry);
    }
}
