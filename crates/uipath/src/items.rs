//! Administration of items: lists, statistics, edits, histories, comments and reviews (orchestrator-api 10 and 11).

use std::collections::HashMap;

use super::Inner;
use super::add::readable;
use super::call::{Call, CallError};
use super::claim::get_item;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::history::ItemEvent;
use performer_core::model::item::{ItemEdit, ItemFilter, ItemPage, Page, QueueItem, validate_progress};
use performer_core::model::key::ItemId;
use performer_core::model::lifecycle;
use performer_core::model::review::{Comment, FailedItems, ItemVersion, Person, validate_comment};
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::filter::{and, condition, order};
use performer_wire::insight_protocol::REFUSED_OPTION;
use performer_wire::item::QueueItemDto;
use performer_wire::review::{BulkItemsRequest, BulkItemsResponse, QueueItemCommentDto, QueueItemEventDto};
use performer_wire::review_protocol::REASON_OPTION;
use performer_wire::transaction::QueueItemDataDto;
use performer_wire::{ApiTime, Collection, ContentMap};

/// The maximum number of items in one bulk call.
const MAX_ITEMS_PER_CALL: usize = 1_000;

const DELETE: &str = "DeleteBulk";

/// The maximum number of pages of a history.
const MAX_PAGES: usize = 100;

/// A bulk operation, and a check whether it was executed on an item.
struct BulkOperation<'a> {
    operation: &'static str,
    path: &'static str,
    status: Option<ReviewStatus>,
    user_id: Option<i64>,
    refusal: ErrorCode,
    is_done: &'a (dyn Fn(&QueueItemDto) -> bool + Sync),
}

/// Only items that failed with a reason, or that an operation refused: options of performer's own server.
fn with_own_options(mut call: Call, wanted: &ItemFilter) -> Call {
    if let Some(reason) = wanted.reason {
        call = call.query(REASON_OPTION, reason.to_string());
    }
    if let Some(operation) = wanted.refused_by {
        call = call.query(REFUSED_OPTION, operation.to_string());
    }
    call
}

impl Inner {
    pub(super) async fn item(&self, id: ItemId) -> Result<QueueItem> {
        readable(self.http.json(get_item(id.0)).await.map_err(|failed| no_item(failed, id))?)
    }

    pub(super) async fn items(&self, wanted: &ItemFilter, page: Page) -> Result<ItemPage> {
        page.validate()?;
        if wanted.reason.is_some() && !self.supports_leases() {
            let message = "the Orchestrator does not group failures by reason";
            return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        }
        if wanted.refused_by.is_some() && !self.supports_leases() {
            let message = "the Orchestrator has no operations on many items";
            return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        }
        let (filter, counts) = (self.filter(wanted).await?, page.count_limit > 0);
        // What the Orchestrator counts is what the whole filter matches: with a cursor in it, the rest of the list.
        let (behind, all) = match &page.after {
            Some(cursor) => {
                let behind = condition(&cursor.condition(&wanted.order, page.descending)?);
                let all = if counts { Some(self.counted(filter.clone(), wanted).await?) } else { None };
                (Some(behind), all)
            }
            None => (None, None),
        };
        let mut call = Call::get("GetQueueItems", "/odata/QueueItems");
        if let Some(filter) = and(filter, behind) {
            call = call.query("$filter", filter);
        }
        let mut call = with_own_options(call, wanted)
            .query("$orderby", order(&wanted.order, page.descending))
            .query("$top", page.top.max(1).to_string())
            .query("$skip", page.skip.to_string());
        if counts && all.is_none() {
            call = call.query("$count", "true");
        }
        let answer: Collection<QueueItemDto> = self.http.json(call).await?;
        let count = all.or(answer.count).unwrap_or((page.skip + answer.value.len()) as u64);
        let items: Result<Vec<QueueItem>> = answer.value.into_iter().take(page.top).map(readable).collect();
        Ok(if counts { ItemPage::new(items?, count) } else { ItemPage::counted_to(items?, 0) })
    }

    /// How many items a filter matches.
    async fn counted(&self, filter: Option<String>, wanted: &ItemFilter) -> Result<u64> {
        let mut call = Call::get("GetQueueItems", "/odata/QueueItems");
        if let Some(filter) = filter {
            call = call.query("$filter", filter);
        }
        let call = with_own_options(call, wanted);
        let page: Collection<QueueItemDto> =
            self.http.json(call.query("$top", "1").query("$count", "true")).await?;
        page.count.ok_or_else(|| {
            OrchestratorError::new(ErrorKind::Unsupported, "the Orchestrator's answer has no count")
        })
    }

    /// Counts the items by status with one call each, because the figures outside the rate limits are stale and incomplete.
    pub(super) async fn statistics(&self, queue: &str) -> Result<QueueStatistics> {
        let id = self.queue_info(&self.queue(queue)).await?.id;
        let count = async |condition: &str| {
            let wanted = format!("QueueDefinitionId eq {id} and {condition}");
            let count = self.counted(Some(wanted), &ItemFilter::default()).await?;
            Ok::<i64, OrchestratorError>(i64::try_from(count).unwrap_or(i64::MAX))
        };
        let (new, in_progress, successful, failed) = tokio::try_join!(
            count("Status eq 'New'"),
            count("Status eq 'InProgress'"),
            count("Status eq 'Successful'"),
            count("Status eq 'Failed'"),
        )?;
        let (business_exceptions, retried, abandoned, deleted) = tokio::try_join!(
            count("Status eq 'Failed' and ProcessingExceptionType eq 'BusinessException'"),
            count("Status eq 'Retried'"),
            count("Status eq 'Abandoned'"),
            count("Status eq 'Deleted'"),
        )?;
        let mut statistics = QueueStatistics::default();
        statistics.new = new;
        statistics.in_progress = in_progress;
        statistics.successful = successful;
        statistics.business_exceptions = business_exceptions;
        statistics.application_exceptions = (failed - business_exceptions).max(0);
        statistics.retried = retried;
        statistics.abandoned = abandoned;
        statistics.deleted = deleted;
        Ok(statistics)
    }

    /// The API replaces all values at once, so the unchanged ones are read first and written back.
    pub(super) async fn edit(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem> {
        if let Some(progress) = &edit.progress {
            validate_progress(progress)?;
        }
        let item = self.item(id).await?;
        if !item.status.is_editable() {
            return Err(lifecycle::not_editable(item.status).into());
        }
        let content = edit.specific_content.as_ref().unwrap_or(&item.specific_content);
        let data = QueueItemDataDto {
            name: None,
            priority: Some(edit.priority.unwrap_or(item.priority).into()),
            specific_content: Some(ContentMap::of_json(content.as_json())),
            defer_date: edit.defer_date.applied_to(item.defer_date).map(ApiTime),
            due_date: edit.due_date.applied_to(item.due_date).map(ApiTime),
            risk_sla_date: item.risk_sla_date.map(ApiTime),
            reference: item.reference.clone(),
            progress: edit.progress.or_else(|| item.progress.clone()),
            source: None,
            parent_operation_id: None,
            group: None,
        };
        self.put_item(id, &data).await?;
        self.item(id).await
    }

    pub(super) async fn purge(&self, id: ItemId) -> Result<()> {
        let item = self.item(id).await?;
        if !item.status.is_purgeable() {
            return Err(lifecycle::not_purgeable(item.status).into());
        }
        let data = QueueItemDataDto {
            name: None,
            priority: Some(item.priority.into()),
            specific_content: Some(ContentMap::default()),
            defer_date: item.defer_date.map(ApiTime),
            due_date: item.due_date.map(ApiTime),
            risk_sla_date: item.risk_sla_date.map(ApiTime),
            reference: item.reference,
            progress: item.progress,
            source: None,
            parent_operation_id: None,
            group: None,
        };
        self.put_item(id, &data).await
    }

    async fn put_item(&self, id: ItemId, data: &QueueItemDataDto) -> Result<()> {
        let call = Call::put("PutQueueItem", format!("/odata/QueueItems({id})"), data);
        self.http.done(call).await.map_err(|failed| no_item(failed, id))
    }

    pub(super) async fn history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        let path = format!("/odata/QueueItems({id})/UiPathODataSvc.GetItemProcessingHistory");
        let attempts: Vec<QueueItemDto> = self.all_pages("GetItemProcessingHistory", &path, id).await?;
        let attempts: Result<Vec<QueueItem>> = attempts.into_iter().map(readable).collect();
        let mut attempts = attempts?;
        attempts.sort_by_key(|attempt| attempt.id);
        Ok(attempts)
    }

    pub(super) async fn events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        let path = format!(
            "/odata/QueueItemEvents/UiPath.Server.Configuration.OData.GetQueueItemEventsHistory(queueItemId={id})"
        );
        let events: Vec<QueueItemEventDto> = self.all_pages("GetQueueItemEventsHistory", &path, id).await?;
        let mut events: Vec<_> = events.into_iter().map(|event| (event.id, event)).collect();
        events.sort_by_key(|(number, event)| (event.queue_item_id, event.timestamp, *number));
        Ok(events.into_iter().filter_map(|(_, event)| event.into_event()).collect())
    }

    pub(super) async fn comments_on(&self, id: ItemId) -> Result<Vec<Comment>> {
        let path = format!(
            "/odata/QueueItemComments/UiPath.Server.Configuration.OData.GetQueueItemCommentsHistory(queueItemId={id})"
        );
        let comments: Vec<QueueItemCommentDto> =
            self.all_pages("GetQueueItemCommentsHistory", &path, id).await?;
        let mut comments: Vec<Comment> =
            comments.into_iter().map(QueueItemCommentDto::into_comment).collect();
        comments.sort_by_key(|comment| (comment.creation_time, comment.id));
        Ok(comments)
    }

    /// Reads a whole list that belongs to an item.
    async fn all_pages<T: serde::de::DeserializeOwned + Send>(
        &self,
        operation: &'static str,
        path: &str,
        id: ItemId,
    ) -> Result<Vec<T>> {
        self.http.rows(Call::get(operation, path), MAX_PAGES).await.map_err(|failed| no_item(failed, id))
    }

    /// The Orchestrator always uses the caller as the author of a comment; performer's own server lets administrators name one.
    fn check_author(&self, author: &Person) -> Result<()> {
        if *author == Person::default() || self.supports_leases() {
            return Ok(());
        }
        let message = "the Orchestrator uses the caller as the author of a comment; leave the author empty";
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    /// Adds a comment.
    pub(super) async fn comment(&self, id: ItemId, author: &Person, text: String) -> Result<Comment> {
        validate_comment(&text)?;
        self.check_author(author)?;
        let body = QueueItemCommentDto::new(id, text.clone());
        match self
            .http
            .json::<QueueItemCommentDto>(
                Call::post("PostQueueItemComment", "/odata/QueueItemComments", &body).on_behalf_of(author),
            )
            .await
        {
            Ok(comment) => Ok(comment.into_comment()),
            Err(CallError { error, maybe_executed: true }) => {
                // Whether the call was executed or not: an equal comment on the item is a success.
                let there = self.comments_on(id).await.map_err(|_| error.clone())?;
                let same =
                    there.into_iter().rev().find(|comment| comment.item_id == id && comment.text == text);
                same.ok_or(error)
            }
            Err(failed) => Err(no_item(failed, id)),
        }
    }

    pub(super) async fn change_comment(
        &self,
        comment: i64,
        author: &Person,
        text: Option<String>,
    ) -> Result<()> {
        self.check_author(author)?;
        let path = format!("/odata/QueueItemComments({comment})");
        let missing = |error: OrchestratorError| {
            if error.is_not_found() {
                OrchestratorError::not_found(format!("comment {comment} does not exist"))
            } else {
                error
            }
        };
        let Some(text) = text else {
            return match self
                .http
                .done(Call::delete("DeleteQueueItemComment", path).on_behalf_of(author))
                .await
            {
                Err(CallError { error, maybe_executed: true }) if error.is_not_found() => Ok(()),
                other => other.map_err(|failed| missing(failed.error)),
            };
        };
        validate_comment(&text)?;
        let there: QueueItemCommentDto = self
            .http
            .json(Call::get("GetQueueItemComment", &path))
            .await
            .map_err(|failed| missing(failed.error))?;
        let body = QueueItemCommentDto { text, ..there };
        self.http
            .done(Call::put("PutQueueItemComment", path, &body).on_behalf_of(author))
            .await
            .map_err(|failed| missing(failed.error))
    }

    pub(super) async fn delete_items(&self, items: &[ItemVersion]) -> Result<FailedItems> {
        let bulk = BulkOperation {
            operation: DELETE,
            path: "/odata/QueueItems/UiPathODataSvc.DeleteBulk",
            status: None,
            user_id: None,
            refusal: ErrorCode::INVALID_REQUEST,
            is_done: &|item| item.status.known() == Some(Status::Deleted),
        };
        self.bulk_operation(&bulk, items).await
    }

    pub(super) async fn review(&self, to: ReviewStatus, items: &[ItemVersion]) -> Result<FailedItems> {
        let bulk = BulkOperation {
            operation: "SetItemReviewStatus",
            path: "/odata/QueueItems/UiPathODataSvc.SetItemReviewStatus",
            status: Some(to),
            user_id: None,
            refusal: ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY,
            is_done: &|item| {
                item.review_status.as_ref().and_then(performer_wire::EnumValue::known) == Some(to)
            },
        };
        let failed = self.bulk_operation(&bulk, items).await?;
        if to == ReviewStatus::Retried {
            self.notify_all_queues();
        }
        Ok(failed)
    }

    pub(super) async fn reviewer(&self, reviewer: Option<i64>, items: &[ItemVersion]) -> Result<FailedItems> {
        let (operation, path) = match reviewer {
            Some(_) => ("SetItemReviewer", "/odata/QueueItems/UiPathODataSvc.SetItemReviewer"),
            None => ("UnsetItemReviewer", "/odata/QueueItems/UiPathODataSvc.UnsetItemReviewer"),
        };
        let is_done = |item: &QueueItemDto| item.reviewer_user_id == reviewer;
        let refusal = ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY;
        self.bulk_operation(
            &BulkOperation { operation, path, status: None, user_id: reviewer, refusal, is_done: &is_done },
            items,
        )
        .await
    }

    async fn bulk_operation(&self, bulk: &BulkOperation<'_>, items: &[ItemVersion]) -> Result<FailedItems> {
        let mut failed = Vec::new();
        for chunk in items.chunks(MAX_ITEMS_PER_CALL) {
            let versions: HashMap<i64, ItemVersion> = chunk.iter().map(|item| (item.id.0, *item)).collect();
            let body = BulkItemsRequest {
                status: bulk.status.map(Into::into),
                user_id: bulk.user_id,
                queue_items: chunk.iter().map(Into::into).collect(),
            };
            let (refused, said, in_doubt) =
                match self.http.json::<BulkItemsResponse>(Call::post(bulk.operation, bulk.path, &body)).await
                {
                    Ok(answer) => {
                        let refused = answer.failed_items.unwrap_or_default();
                        if refused.is_empty() && answer.success == Some(false) {
                            let said = answer.message.unwrap_or_default();
                            return Err(OrchestratorError::new(
                                ErrorKind::Invalid,
                                format!("{}: {said}", bulk.operation),
                            ));
                        }
                        (refused, answer.message.unwrap_or_default(), None)
                    }
                    // Each item shows whether the operation was executed on it.
                    Err(CallError { error, maybe_executed: true }) => {
                        (versions.keys().copied().collect(), String::new(), Some(error))
                    }
                    Err(failed) => return Err(failed.error),
                };
            for id in refused {
                let Some(version) = versions.get(&id) else { continue };
                let why = self.why_refused(bulk, version, &said, in_doubt.as_ref()).await?;
                failed.extend(why.map(|refusal| (version.id, refusal)));
            }
        }
        failed.sort_by_key(|(id, _)| *id);
        Ok(FailedItems(failed))
    }

    /// Finds out why a bulk operation refused an item, which the answer does not contain. `None`: it was executed after all.
    async fn why_refused(
        &self,
        bulk: &BulkOperation<'_>,
        version: &ItemVersion,
        said: &str,
        in_doubt: Option<&OrchestratorError>,
    ) -> Result<Option<Refusal>> {
        let id = version.id;
        let item: QueueItemDto = match self.http.json(get_item(id.0)).await {
            Ok(item) => item,
            Err(CallError { error, .. }) if error.is_confirmed_not_found() => {
                if in_doubt.is_some() && bulk.operation == DELETE {
                    return Ok(None);
                }
                return Ok(Some(Refusal::new(
                    ErrorCode::ITEM_NOT_FOUND,
                    format!("item {id} does not exist"),
                )));
            }
            Err(failed) => return Err(in_doubt.cloned().unwrap_or(failed.error)),
        };
        let is_unchanged = item.row_version.unwrap_or_default().0 == version.row_version;
        match in_doubt {
            Some(_) if (bulk.is_done)(&item) && !is_unchanged => return Ok(None),
            // It was not executed on this item. The caller may safely retry it with the same version.
            Some(error) if is_unchanged => return Err(error.clone()),
            _ => {}
        }
        Ok(Some(
            if is_unchanged && bulk.operation == DELETE && item.status.known() == Some(Status::Deleted) {
                Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("item {id} is deleted"))
            } else if is_unchanged {
                let why = if said.is_empty() { String::new() } else { format!(": {said}") };
                let message =
                    format!("{} is refused for an item that is {}{why}", bulk.operation, item.status);
                Refusal::new(bulk.refusal, message)
            } else {
                Refusal::new(
                    ErrorCode::OPTIMISTIC_CONCURRENCY,
                    format!("item {id} has changed since it was read"),
                )
            },
        ))
    }
}

fn no_item(failed: CallError, id: ItemId) -> OrchestratorError {
    if failed.error.is_not_found() { OrchestratorError::no_item(id) } else { failed.error }
}
