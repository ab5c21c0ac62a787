//! Adding items (orchestrator-api 7). AddQueueItem is not idempotent. In a queue with unique references a lost answer is
//! resolved by searching for the reference; in other queues it is an error of the kind Unknown.

use super::Inner;
use super::call::{Call, CallError, encoded};
use super::queue::{Queue, QueueInfo};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ItemFilter, NewQueueItem, QueueItem, ReferenceFilter};
use performer_core::model::key::QueueKey;
use performer_core::model::queue::{QueueDefinition, QueuePolicy};
use performer_core::model::status::Status;
use performer_core::orchestrator::{BulkAdded, CommitType, ErrorKind, FailedItem, OrchestratorError, Result};
use performer_wire::item::QueueItemDto;
use performer_wire::transaction::{
    AddQueueItemRequest, BulkAddQueueItemsRequest, BulkAddResponse, CommitTypeName, FailedQueueItemDto,
    QueueItemDataDto,
};
use performer_wire::{ContentMap, filter};

/// The maximum number of items in one call, if they need not be added together.
const MAX_ITEMS_PER_CALL: usize = 1_000;

/// The maximum number of references in one filter; the API allows 100 expressions (orchestrator-api 4.1).
const MAX_REFERENCES: usize = 50;

/// The maximum length of the references of one filter in the URL; some servers accept URLs of 2 KB.
const MAX_FILTER_LENGTH: usize = 1_500;

/// The maximum number of pages of items with those references.
const MAX_PAGES: usize = 20;

/// The maximum number of attempts for a call whose answers are lost.
const MAX_ATTEMPTS: usize = 4;

/// An item to add: its index in the caller's list, the item, and its content as JSON.
type ToAdd<'a> = (usize, &'a NewQueueItem, &'a str);

impl Inner {
    pub(super) async fn add(&self, queue: &Queue, item: NewQueueItem) -> Result<QueueItem> {
        let info = self.queue_info(queue).await?;
        let content = item.validate(&as_definition(queue, info))?;
        self.check_groups(std::slice::from_ref(&item))?;
        let data = self.item_data(Some(&queue.name), &item, content.as_json());
        let call = Call::post(
            "AddQueueItem",
            "/odata/Queues/UiPathODataSvc.AddQueueItem",
            &AddQueueItemRequest { item_data: data },
        );
        let mut unknown_outcome: Option<OrchestratorError> = None;
        let mut delays = self.http.delays();
        for _ in 0..MAX_ATTEMPTS {
            if let Some(unknown_outcome) = &unknown_outcome {
                tokio::time::sleep(delays.next_delay()).await;
                self.check_still_unique(queue, unknown_outcome).await?;
            }
            match (self.http.json::<QueueItemDto>(call.clone()).await, &unknown_outcome) {
                (Ok(added), _) => {
                    queue.items_added();
                    return readable(added);
                }
                (Err(CallError { error, maybe_executed: true }), _) => {
                    if !info.enforce_unique_reference {
                        return Err(error);
                    }
                    unknown_outcome = Some(error);
                }
                (Err(CallError { error, .. }), None) => return Err(error),
                // A repeated call may be refused because the first one was executed.
                (Err(CallError { error, .. }), Some(unknown_outcome)) => {
                    let is_duplicate = error.code() == Some(ErrorCode::DUPLICATE_REFERENCE);
                    let Some(reference) = item.reference.as_deref().filter(|_| is_duplicate) else {
                        return Err(unknown_outcome.clone());
                    };
                    let there = self
                        .find_by_references(info, &[reference])
                        .await
                        .map_err(|_| unknown_outcome.clone())?;
                    let Some(holder) = there.into_iter().next() else { return Err(unknown_outcome.clone()) };
                    return if is_same_item(&holder, &item, content.as_json()) {
                        readable(holder)
                    } else {
                        Err(error)
                    };
                }
            }
        }
        Err(unknown_outcome.unwrap_or_else(|| {
            OrchestratorError::new(ErrorKind::Unknown, "whether the item was added is not known")
        }))
    }

    /// Checks that the queue still has unique references, which makes a retry safe; it may have been replaced meanwhile.
    async fn check_still_unique(&self, queue: &Queue, unknown_outcome: &OrchestratorError) -> Result<()> {
        queue.state().info = None;
        match self.queue_info(queue).await {
            Ok(info) if info.enforce_unique_reference => Ok(()),
            _ => Err(unknown_outcome.clone()),
        }
    }

    pub(super) async fn add_many(
        &self,
        queue: &Queue,
        commit_type: CommitType,
        items: &[NewQueueItem],
    ) -> Result<BulkAdded> {
        let info = self.queue_info(queue).await?;
        self.check_groups(items)?;
        let mut all = BulkAdded::default();
        let size =
            if commit_type == CommitType::AllOrNothing { items.len().max(1) } else { MAX_ITEMS_PER_CALL };
        for (chunk, before) in items.chunks(size).zip((0..).step_by(size)) {
            let added = match self.add_chunk(queue, info, commit_type, chunk).await {
                Ok(added) => added,
                Err(error) if all.added == 0 => return Err(error),
                Err(error) if error.kind() == ErrorKind::Unknown => {
                    queue.items_added();
                    let added = all.added;
                    return Err(error.reworded(ErrorKind::Unknown, |said| {
                        format!("{added} items were added, and then: {said}")
                    }));
                }
                // Nothing of this chunk was added; the earlier chunks stay.
                Err(error) => {
                    let code = error.code().unwrap_or(ErrorCode::SERVICE_UNAVAILABLE);
                    all.failed.extend((before..items.len()).map(|at| {
                        FailedItem::new(at + 1, Refusal::new(code, format!("not added: {error}")))
                    }));
                    break;
                }
            };
            all.added += added.added;
            let stopped = commit_type == CommitType::StopOnFirstFailure && !added.failed.is_empty();
            all.failed.extend(added.failed.into_iter().map(|mut failed| {
                if failed.ordinal > 0 {
                    failed.ordinal += before;
                }
                failed
            }));
            if stopped {
                break;
            }
        }
        if all.added > 0 {
            queue.items_added();
        }
        Ok(all)
    }

    /// One call, and what has to be done when its answer is lost.
    async fn add_chunk(
        &self,
        queue: &Queue,
        info: QueueInfo,
        commit_type: CommitType,
        items: &[NewQueueItem],
    ) -> Result<BulkAdded> {
        // With AllOrNothing the server reports all errors, so duplicate references are left to it.
        let enforce_unique_reference =
            info.enforce_unique_reference && commit_type != CommitType::AllOrNothing;
        let definition = as_definition(queue, QueueInfo { enforce_unique_reference, ..info });
        let (mut to_add, refused) = validate_all(items, &definition, commit_type);
        if commit_type == CommitType::AllOrNothing && !refused.is_empty() {
            return Ok(BulkAdded::new(0, refused));
        }
        let mut done = 0;
        let mut unknown_outcome: Option<OrchestratorError> = None;
        let mut delays = self.http.delays();
        for _ in 0..MAX_ATTEMPTS {
            if to_add.is_empty() {
                return Ok(BulkAdded::new(done, refused));
            }
            if let Some(unknown_outcome) = &unknown_outcome {
                tokio::time::sleep(delays.next_delay()).await;
                self.check_still_unique(queue, unknown_outcome).await?;
            }
            match self.bulk(queue, commit_type, &to_add).await {
                Ok(answer) => {
                    let told = failed_items(answer, commit_type, &to_add);
                    let mut failed = told.map_err(|error| unknown_outcome.clone().unwrap_or(error))?;
                    if let Some(unknown_outcome) = &unknown_outcome {
                        let stopped_at = first_failed(commit_type, &failed);
                        failed = self
                            .without_own_duplicates(info, failed, items)
                            .await
                            .map_err(|_| unknown_outcome.clone())?;
                        // It stopped at an item that the lost call had added: the items after it are still to be added.
                        if let Some(stopped_at) = stopped_at.filter(|_| failed.is_empty()) {
                            let before = to_add.len();
                            to_add.retain(|(at, ..)| at + 1 > stopped_at);
                            done += (before - to_add.len()) as u64;
                            continue;
                        }
                    }
                    done += count_added(commit_type, &to_add, &failed);
                    return Ok(BulkAdded::new(done, merged(commit_type, refused, failed)));
                }
                Err(CallError { error, maybe_executed: true }) => {
                    if !info.enforce_unique_reference {
                        return Err(error);
                    }
                    done += self.remove_added(info, &mut to_add).await.map_err(|_| error.clone())?;
                    unknown_outcome = Some(error);
                }
                Err(failed) => return Err(unknown_outcome.unwrap_or(failed.error)),
            }
        }
        Err(unknown_outcome.unwrap_or_else(|| {
            OrchestratorError::new(ErrorKind::Unknown, "whether all items were added is not known")
        }))
    }

    /// Removes from a list the items that a call with an unknown outcome has added, and returns their number.
    async fn remove_added(&self, info: QueueInfo, to_add: &mut Vec<ToAdd<'_>>) -> Result<u64> {
        let references: Vec<&str> =
            to_add.iter().filter_map(|(_, item, _)| item.reference.as_deref()).collect();
        let there = self.find_by_references(info, &references).await?;
        let before = to_add.len();
        to_add.retain(|(_, item, content)| !there.iter().any(|there| is_same_item(there, item, content)));
        Ok((before - to_add.len()) as u64)
    }

    /// Removes the refused items that an earlier attempt of this call added: they were refused as duplicates of themselves.
    async fn without_own_duplicates(
        &self,
        info: QueueInfo,
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
        let there = self.find_by_references(info, &references).await?;
        let is_own = |failed: &FailedItem| {
            let item = item(failed).filter(|_| is_duplicate(&failed));
            let content = item
                .and_then(|item| item.validate(&as_definition(&Queue::new(""), info)).ok().zip(Some(item)));
            content.is_some_and(|(content, item)| {
                there.iter().any(|there| is_same_item(there, item, content.as_json()))
            })
        };
        Ok(failed.into_iter().filter(|failed| !is_own(failed)).collect())
    }

    async fn bulk(
        &self,
        queue: &Queue,
        commit_type: CommitType,
        items: &[ToAdd<'_>],
    ) -> Result<BulkAddResponse, CallError> {
        let commit_type = match commit_type {
            CommitType::AllOrNothing => CommitTypeName::AllOrNothing,
            CommitType::StopOnFirstFailure => CommitTypeName::StopOnFirstFailure,
            CommitType::ProcessAllIndependently => CommitTypeName::ProcessAllIndependently,
        };
        let body = BulkAddQueueItemsRequest {
            queue_name: queue.name.clone(),
            commit_type: commit_type.into(),
            queue_items: items.iter().map(|(_, item, content)| self.item_data(None, item, content)).collect(),
        };
        self.http
            .json(Call::post("BulkAddQueueItems", "/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &body))
            .await
    }

    /// Refuses items with a group on a server that is not ours: it would ignore the group, and the queue would not keep to it.
    pub(super) fn check_groups(&self, items: &[NewQueueItem]) -> Result<()> {
        if self.supports_leases() || items.iter().all(|item| item.group.is_none()) {
            return Ok(());
        }
        let message = "the Orchestrator has no groups of items; performer's own server and stores have them";
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    /// The DTO of a new item, with the members that this server supports.
    fn item_data(&self, queue: Option<&str>, item: &NewQueueItem, content: &str) -> QueueItemDataDto {
        let mut data = QueueItemDataDto::new(queue, item, content);
        data.parent_operation_id = data.parent_operation_id.filter(|_| self.http.supports_operation_ids());
        data
    }

    /// Finds the items with these references.
    pub(super) async fn find_by_references(
        &self,
        info: QueueInfo,
        references: &[&str],
    ) -> Result<Vec<QueueItemDto>> {
        let mut found = Vec::new();
        let mut rest = references;
        while !rest.is_empty() {
            // As many as fit into a URL that every server accepts.
            let mut length = 0;
            let fitting = rest.iter().take(MAX_REFERENCES).take_while(|reference| {
                length += encoded(reference).len() + "Reference%20eq%20%27%27%20or%20".len();
                length <= MAX_FILTER_LENGTH
            });
            let (some, others) = rest.split_at(fitting.count().max(1));
            rest = others;
            let each: Vec<String> =
                some.iter().map(|reference| format!("Reference eq {}", filter::quoted(reference))).collect();
            let wanted = format!("QueueDefinitionId eq {} and ({})", info.id, each.join(" or "));
            let call = Call::get("GetQueueItems", "/odata/QueueItems")
                .query("$filter", &wanted)
                .query("$orderby", "Id desc");
            found.extend(self.http.rows::<QueueItemDto>(call, MAX_PAGES).await?);
        }
        found.retain(|item| item.status.known().is_none_or(Status::counts_for_reference));
        Ok(found)
    }

    /// The `$filter` for a list of items.
    pub(super) async fn filter(&self, wanted: &ItemFilter) -> Result<Option<String>> {
        let queue = match &wanted.queue {
            Some(name) => Some(self.queue_info(&self.queue(name)).await?.id),
            None => None,
        };
        Ok(filter::of_items(wanted, queue))
    }
}

/// Validates items before a call. Returns those to add, and those that are refused.
fn validate_all<'a>(
    items: &'a [NewQueueItem],
    definition: &QueueDefinition,
    commit_type: CommitType,
) -> (Vec<ToAdd<'a>>, Vec<FailedItem>) {
    let mut valid = Vec::with_capacity(items.len());
    let mut refused = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.validate(definition) {
            Ok(content) => valid.push((at, item, content.as_json())),
            Err(refusal) => {
                refused.push(FailedItem::new(at + 1, refusal));
                if commit_type == CommitType::StopOnFirstFailure {
                    break;
                }
            }
        }
    }
    (valid, refused)
}

/// The number of items that a call has added, given those that failed.
fn count_added(commit_type: CommitType, items: &[ToAdd<'_>], failed: &[FailedItem]) -> u64 {
    let first = failed.iter().map(|failed| failed.ordinal).min();
    let added = match (commit_type, first) {
        (_, None) => items.len(),
        (CommitType::AllOrNothing, Some(_)) => 0,
        (CommitType::StopOnFirstFailure, Some(first)) => {
            items.iter().filter(|(at, ..)| at + 1 < first).count()
        }
        (CommitType::ProcessAllIndependently, Some(_)) => items.len().saturating_sub(failed.len()),
    };
    added as u64
}

/// The ordinal of the item at which a call with StopOnFirstFailure has stopped.
fn first_failed(commit_type: CommitType, failed: &[FailedItem]) -> Option<usize> {
    let first = failed.iter().map(|failed| failed.ordinal).min();
    first.filter(|_| commit_type == CommitType::StopOnFirstFailure)
}

/// The items refused by the client and those that failed in the server, in their order.
fn merged(commit_type: CommitType, mut refused: Vec<FailedItem>, failed: Vec<FailedItem>) -> Vec<FailedItem> {
    if let Some(first) = first_failed(commit_type, &failed) {
        refused.retain(|refused| refused.ordinal < first); // the server stopped before those
    }
    refused.extend(failed);
    refused.sort_by_key(|failed| failed.ordinal);
    refused
}

/// Whether an existing item is the one that was to be added.
fn is_same_item(there: &QueueItemDto, item: &NewQueueItem, content: &str) -> bool {
    let same_reference = ReferenceFilter::Equals(item.reference.clone().unwrap_or_default())
        .matches(there.reference.as_deref());
    let theirs =
        there.specific_content.clone().unwrap_or_default().with_texts_of(there.specific_data.as_deref());
    same_reference
        && ContentMap::of_json(&theirs) == ContentMap::of_json(content)
        && there.priority.as_ref().and_then(performer_wire::EnumValue::known) == Some(item.priority)
}

/// The items that failed, with their ordinals in the caller's list; 0 where the server does not name the item.
fn failed_items(
    answer: BulkAddResponse,
    commit_type: CommitType,
    items: &[ToAdd<'_>],
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
            FailedItem::new(place(failed), Refusal::new(code, message))
        })
        .collect();
    if commit_type == CommitType::StopOnFirstFailure && failed.iter().any(|failed| failed.ordinal == 0) {
        let message = format!(
            "some items were added and others were not, and the Orchestrator does not say which: {said}"
        );
        return Err(OrchestratorError::new(ErrorKind::Unknown, message));
    }
    Ok(failed)
}

/// A definition with the properties that the rules for new items use.
pub(super) fn as_definition(queue: &Queue, info: QueueInfo) -> QueueDefinition {
    let policy = QueuePolicy::default().enforce_unique_reference(info.enforce_unique_reference);
    let mut definition = QueueDefinition::new(
        info.id,
        QueueKey::from_bytes([0; 16]),
        queue.name.clone(),
        jiff::Timestamp::UNIX_EPOCH,
    );
    definition.policy = policy;
    definition
}

pub(super) fn readable(item: QueueItemDto) -> Result<QueueItem> {
    item.into_item().map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))
}
