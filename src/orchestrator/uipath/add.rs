//! Adding items (orchestrator-api 7). AddQueueItem is not idempotent; in a queue that takes each reference once it
//! can be made so, by looking for the reference. Elsewhere a lost answer is an error that says so.

use super::super::{BulkAdded, CommitType, ErrorKind, FailedItem, OrchestratorError, Result};
use super::Inner;
use super::call::{Call, encoded};
use super::queue::{About, Queue};
use super::request::Failed;
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::item::{ItemFilter, NewQueueItem, QueueItem, ReferenceFilter};
use crate::model::key::QueueKey;
use crate::model::queue::{QueueDefinition, QueueNotes, QueuePolicy};
use crate::model::schema::Schemas;
use crate::model::status::Status;
use crate::wire::item::QueueItemDto;
use crate::wire::transaction::{
    AddQueueItemRequest, BulkAddQueueItemsRequest, BulkAddResponse, CommitTypeName, FailedQueueItemDto,
    QueueItemDataDto,
};
use crate::wire::{ContentMap, filter};

/// How many items one call may add, where they need not be added together.
const MOST_AT_ONCE: usize = 1_000;

/// How many references one filter may name; the API takes 100 expressions (orchestrator-api 4.1).
const MOST_REFERENCES: usize = 50;

/// The longest filter of references, as it stands in the URL: some servers take 2 KB in all.
const LONGEST_FILTER: usize = 1_500;

/// The most pages of items that have one of those references.
const MOST_PAGES: usize = 20;

/// How often a call whose answer was lost is looked into and made again.
const MOST_ATTEMPTS: usize = 4;

impl Inner {
    pub(super) async fn add(&self, queue: &Queue, item: NewQueueItem) -> Result<QueueItem> {
        let about = self.about(queue).await?;
        let content = item.validate(&as_definition(queue, about))?;
        let data = self.data(Some(&queue.name), &item, content.as_json());
        let call = Call::post(
            "AddQueueItem",
            "/odata/Queues/UiPathODataSvc.AddQueueItem",
            &AddQueueItemRequest { item_data: data },
        );
        let mut doubt: Option<OrchestratorError> = None;
        let mut delays = self.http.delays();
        for _ in 0..MOST_ATTEMPTS {
            if let Some(doubt) = &doubt {
                tokio::time::sleep(delays.next()).await;
                self.is_still_unique(queue, doubt).await?;
            }
            match (self.http.json::<QueueItemDto>(call.clone()).await, &doubt) {
                (Ok(added), _) => {
                    queue.something_came();
                    return readable(added);
                }
                (Err(Failed { error, doubtful: true }), _) => {
                    if !about.enforce_unique_reference {
                        return Err(error);
                    }
                    doubt = Some(error);
                }
                (Err(Failed { error, .. }), None) => return Err(error),
                // The second of two may be refused because of the first.
                (Err(Failed { error, .. }), Some(doubt)) => {
                    let is_duplicate = error.code() == Some(ErrorCode::DUPLICATE_REFERENCE);
                    let Some(reference) = item.reference.as_deref().filter(|_| is_duplicate) else {
                        return Err(doubt.clone());
                    };
                    let there = self.with_references(about, &[reference]).await.map_err(|_| doubt.clone())?;
                    let Some(holder) = there.into_iter().next() else { return Err(doubt.clone()) };
                    return if is_the_same(&holder, &item, content.as_json()) {
                        readable(holder)
                    } else {
                        Err(error)
                    };
                }
            }
        }
        Err(doubt.unwrap_or_else(|| {
            OrchestratorError::new(ErrorKind::Unknown, "whether the item was added is not known")
        }))
    }

    /// A repetition is safe while the queue takes each reference once; it may have been made anew in the meantime.
    async fn is_still_unique(&self, queue: &Queue, doubt: &OrchestratorError) -> Result<()> {
        queue.state().about = None;
        match self.about(queue).await {
            Ok(about) if about.enforce_unique_reference => Ok(()),
            _ => Err(doubt.clone()),
        }
    }

    pub(super) async fn add_many(
        &self,
        queue: &Queue,
        commit_type: CommitType,
        items: &[NewQueueItem],
    ) -> Result<BulkAdded> {
        let about = self.about(queue).await?;
        let mut all = BulkAdded::default();
        let size = if commit_type == CommitType::AllOrNothing { items.len().max(1) } else { MOST_AT_ONCE };
        for (chunk, before) in items.chunks(size).zip((0..).step_by(size)) {
            let added = match self.add_chunk(queue, about, commit_type, chunk).await {
                Ok(added) => added,
                Err(error) if all.added == 0 => return Err(error),
                Err(error) if error.kind() == ErrorKind::Unknown => {
                    queue.something_came();
                    let added = all.added;
                    return Err(error.in_words(ErrorKind::Unknown, |said| {
                        format!("{added} items were added, and then: {said}")
                    }));
                }
                // Nothing of the rest was added; what was added before stays.
                Err(error) => {
                    let code = error.code().unwrap_or(ErrorCode::SERVICE_UNAVAILABLE);
                    all.failed.extend((before..items.len()).map(|at| FailedItem {
                        ordinal: at + 1,
                        refusal: Refusal::new(code, format!("not added: {error}")),
                    }));
                    break;
                }
            };
            all.added += added.added;
            let stopped = commit_type == CommitType::StopOnFirstFailure && !added.failed.is_empty();
            all.failed.extend(added.failed.into_iter().map(|failed| FailedItem {
                ordinal: if failed.ordinal == 0 { 0 } else { failed.ordinal + before },
                ..failed
            }));
            if stopped {
                break;
            }
        }
        if all.added > 0 {
            queue.something_came();
        }
        Ok(all)
    }

    /// One call, and what has to be done when its answer is lost.
    async fn add_chunk(
        &self,
        queue: &Queue,
        about: About,
        commit_type: CommitType,
        items: &[NewQueueItem],
    ) -> Result<BulkAdded> {
        // Of all or nothing the server tells all that is wrong; what it would have to say is not taken from it.
        let checks_references = about.enforce_unique_reference && commit_type != CommitType::AllOrNothing;
        let definition = as_definition(queue, About { enforce_unique_reference: checks_references, ..about });
        let mut checked = Vec::with_capacity(items.len());
        let mut refused = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match item.validate(&definition) {
                Ok(content) => checked.push((at, item, content.as_json())),
                Err(refusal) => {
                    refused.push(FailedItem { ordinal: at + 1, refusal });
                    if commit_type == CommitType::StopOnFirstFailure {
                        break;
                    }
                }
            }
        }
        if commit_type == CommitType::AllOrNothing && !refused.is_empty() {
            return Ok(BulkAdded { added: 0, failed: refused });
        }
        let mut done = 0;
        let mut to_add = checked;
        let mut doubt: Option<OrchestratorError> = None;
        let mut delays = self.http.delays();
        for _ in 0..MOST_ATTEMPTS {
            if to_add.is_empty() {
                return Ok(BulkAdded { added: done, failed: refused });
            }
            if let Some(doubt) = &doubt {
                tokio::time::sleep(delays.next()).await;
                self.is_still_unique(queue, doubt).await?;
            }
            match self.bulk(queue, commit_type, &to_add).await {
                Ok(answer) => {
                    let told = failures(answer, commit_type, &to_add);
                    let mut failed = told.map_err(|error| doubt.clone().unwrap_or(error))?;
                    if let Some(doubt) = &doubt {
                        let stopped_at = failed.iter().map(|failed| failed.ordinal).min();
                        failed = self.not_ours(about, failed, items).await.map_err(|_| doubt.clone())?;
                        // It stopped at one that the lost call had added: what comes behind it is still to be added.
                        if commit_type == CommitType::StopOnFirstFailure
                            && failed.is_empty()
                            && let Some(stopped_at) = stopped_at
                        {
                            let before = to_add.len();
                            to_add.retain(|(at, ..)| at + 1 > stopped_at);
                            done += (before - to_add.len()) as u64;
                            continue;
                        }
                    }
                    let first = failed.iter().map(|failed| failed.ordinal).min();
                    done += match (commit_type, first) {
                        (_, None) => to_add.len(),
                        (CommitType::AllOrNothing, Some(_)) => 0,
                        (CommitType::StopOnFirstFailure, Some(first)) => {
                            to_add.iter().filter(|(at, ..)| at + 1 < first).count()
                        }
                        (CommitType::ProcessAllIndependently, Some(_)) => {
                            to_add.len().saturating_sub(failed.len())
                        }
                    } as u64;
                    if commit_type == CommitType::StopOnFirstFailure
                        && let Some(first) = first
                    {
                        refused.retain(|refused| refused.ordinal < first); // nobody came to look at those
                    }
                    refused.extend(failed);
                    refused.sort_by_key(|failed| failed.ordinal);
                    return Ok(BulkAdded { added: done, failed: refused });
                }
                Err(Failed { error, doubtful: true }) => {
                    if !about.enforce_unique_reference {
                        return Err(error);
                    }
                    let references: Vec<&str> =
                        to_add.iter().filter_map(|(_, item, _)| item.reference.as_deref()).collect();
                    let there = self.with_references(about, &references).await.map_err(|_| error.clone())?;
                    doubt = Some(error);
                    let before = to_add.len();
                    to_add.retain(|(_, item, content)| {
                        !there.iter().any(|there| is_the_same(there, item, content))
                    });
                    done += (before - to_add.len()) as u64;
                }
                Err(failed) => return Err(doubt.unwrap_or(failed.error)),
            }
        }
        Err(doubt.unwrap_or_else(|| {
            OrchestratorError::new(ErrorKind::Unknown, "whether all items were added is not known")
        }))
    }

    /// Of the items that were refused, those that were not refused because of themselves: the call before this one added
    /// them, and its answer was lost.
    async fn not_ours(
        &self,
        about: About,
        failed: Vec<FailedItem>,
        items: &[NewQueueItem],
    ) -> Result<Vec<FailedItem>> {
        let item = |failed: &FailedItem| items.get(failed.ordinal.checked_sub(1)?);
        let is_duplicate = |failed: &&FailedItem| failed.refusal.code() == ErrorCode::DUPLICATE_REFERENCE;
        let references: Vec<&str> = failed
            .iter()
            .filter(is_duplicate)
            .filter_map(|failed| item(failed)?.reference.as_deref())
            .collect();
        let there = self.with_references(about, &references).await?;
        let is_ours = |failed: &FailedItem| {
            let item = item(failed).filter(|_| is_duplicate(&failed));
            let content = item
                .and_then(|item| item.validate(&as_definition(&Queue::new(""), about)).ok().zip(Some(item)));
            content.is_some_and(|(content, item)| {
                there.iter().any(|there| is_the_same(there, item, content.as_json()))
            })
        };
        Ok(failed.into_iter().filter(|failed| !is_ours(failed)).collect())
    }

    async fn bulk(
        &self,
        queue: &Queue,
        commit_type: CommitType,
        items: &[(usize, &NewQueueItem, &str)],
    ) -> Result<BulkAddResponse, Failed> {
        let commit_type = match commit_type {
            CommitType::AllOrNothing => CommitTypeName::AllOrNothing,
            CommitType::StopOnFirstFailure => CommitTypeName::StopOnFirstFailure,
            CommitType::ProcessAllIndependently => CommitTypeName::ProcessAllIndependently,
        };
        let body = BulkAddQueueItemsRequest {
            queue_name: queue.name.clone(),
            commit_type: commit_type.into(),
            queue_items: items.iter().map(|(_, item, content)| self.data(None, item, content)).collect(),
        };
        self.http
            .json(Call::post("BulkAddQueueItems", "/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &body))
            .await
    }

    /// An item as this server takes it.
    fn data(&self, queue: Option<&str>, item: &NewQueueItem, content: &str) -> QueueItemDataDto {
        let mut data = QueueItemDataDto::new(queue, item, content);
        data.parent_operation_id = data.parent_operation_id.filter(|_| self.http.knows_operations());
        data
    }

    /// The items that hold these references.
    async fn with_references(&self, about: About, references: &[&str]) -> Result<Vec<QueueItemDto>> {
        let mut found = Vec::new();
        let mut rest = references;
        while !rest.is_empty() {
            // As many as fit into a URL that every server takes.
            let mut length = 0;
            let fitting = rest.iter().take(MOST_REFERENCES).take_while(|reference| {
                length += encoded(reference).len() + "Reference%20eq%20%27%27%20or%20".len();
                length <= LONGEST_FILTER
            });
            let (some, others) = rest.split_at(fitting.count().max(1));
            rest = others;
            let each: Vec<String> =
                some.iter().map(|reference| format!("Reference eq {}", filter::quoted(reference))).collect();
            let wanted = format!("QueueDefinitionId eq {} and ({})", about.id, each.join(" or "));
            let call = Call::get("GetQueueItems", "/odata/QueueItems")
                .query("$filter", &wanted)
                .query("$orderby", "Id desc");
            found.extend(self.http.rows::<QueueItemDto>(call, MOST_PAGES).await?);
        }
        found.retain(|item| item.status.known().is_none_or(Status::counts_for_reference));
        Ok(found)
    }

    /// Which `$filter` a list of items needs.
    pub(super) async fn filter(&self, wanted: &ItemFilter) -> Result<Option<String>> {
        let queue = match &wanted.queue {
            Some(name) => Some(self.about(&self.queue(name)).await?.id),
            None => None,
        };
        Ok(filter::of_items(wanted, queue))
    }
}

/// Whether an item that is there is the one that was to be added.
fn is_the_same(there: &QueueItemDto, item: &NewQueueItem, content: &str) -> bool {
    let same_reference = ReferenceFilter::Equals(item.reference.clone().unwrap_or_default())
        .matches(there.reference.as_deref());
    let theirs =
        there.specific_content.clone().unwrap_or_default().with_texts_of(there.specific_data.as_deref());
    same_reference
        && ContentMap::of_json(&theirs) == ContentMap::of_json(content)
        && there.priority.as_ref().and_then(crate::wire::EnumValue::known) == Some(item.priority)
}

/// The items that failed, in the places of the caller. An item is named by its place, or not at all.
fn failures(
    answer: BulkAddResponse,
    commit_type: CommitType,
    items: &[(usize, &NewQueueItem, &str)],
) -> Result<Vec<FailedItem>> {
    let said = answer.message.unwrap_or_default();
    let named = answer.failed_items.unwrap_or_default();
    if named.is_empty() && answer.success == Some(false) {
        return Err(OrchestratorError::new(ErrorKind::Invalid, format!("no item was added: {said}")));
    }
    let place = |failed: &FailedQueueItemDto| {
        let at = failed.ordinal.and_then(|ordinal| items.get(ordinal.checked_sub(1)?));
        at.map_or(0, |(at, ..)| at + 1)
    };
    let failed: Vec<FailedItem> = named
        .iter()
        .map(|failed| {
            let code = failed
                .error_code
                .as_deref()
                .and_then(ErrorCode::of_name)
                .unwrap_or(ErrorCode::INVALID_REQUEST);
            let name = failed.error_code.clone().unwrap_or_default();
            let message = failed.error_message.clone().filter(|text| !text.is_empty()).unwrap_or(name);
            FailedItem { ordinal: place(failed), refusal: Refusal::new(code, message) }
        })
        .collect();
    if commit_type == CommitType::StopOnFirstFailure && failed.iter().any(|failed| failed.ordinal == 0) {
        let message =
            format!("some items were added and others not, and the Orchestrator does not say which: {said}");
        return Err(OrchestratorError::new(ErrorKind::Unknown, message));
    }
    Ok(failed)
}

/// What the rules about a new item look at.
pub(super) fn as_definition(queue: &Queue, about: About) -> QueueDefinition {
    let policy =
        QueuePolicy { enforce_unique_reference: about.enforce_unique_reference, ..QueuePolicy::default() };
    QueueDefinition {
        schemas: Schemas::default(),
        notes: QueueNotes::default(),
        limits: crate::model::limits::QueueLimits::default(),
        folders: Vec::new(),
        id: about.id,
        key: QueueKey::from_bytes([0; 16]),
        name: queue.name.clone(),
        description: None,
        policy,
        creation_time: jiff::Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn readable(item: QueueItemDto) -> Result<QueueItem> {
    item.into_item().map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))
}
