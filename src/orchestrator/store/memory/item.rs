//! An item in memory: its parts, its public form, and which filters it matches.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::content::{Analytics, Output, SpecificContent};
use crate::model::exception::ProcessingException;
use crate::model::history::{Actors, Recorded};
use crate::model::item::{ItemFilter, Origin, QueueItem};
use crate::model::key::{ItemId, ItemKey, JobKey, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::robot::Held;

/// An item and everything stored with it.
pub(super) struct StoredItem {
    pub(super) queue: QueueId,
    pub(super) unique_key: ItemKey,
    pub(super) key: ItemKey,
    pub(super) root: ItemId,
    pub(super) copies: Vec<ItemId>, // of a root: the other attempts of its chain
    pub(super) state: ItemState,
    pub(super) reference: Option<Arc<str>>,
    pub(super) content: SpecificContent,
    pub(super) risk_sla_date: Option<Timestamp>,
    pub(super) ancestor: Option<ItemId>,
    pub(super) manual_ancestor: Option<ItemId>,
    pub(super) output: Option<Output>,
    pub(super) exception: Option<ProcessingException>,
    pub(super) progress: Option<String>,
    pub(super) robot: Option<u32>,
    pub(super) executor: Option<JobKey>,
    pub(super) robot_id: Option<i64>,
    pub(super) origin: Origin,
    pub(super) actors: Actors,
    pub(super) analytics: Option<Analytics>,
    pub(super) operation_id: Option<String>,
    pub(super) recorded: Vec<Recorded>,
}

impl StoredItem {
    /// The item as a job's holding.
    pub(super) fn held(&self, id: ItemId) -> Held {
        let reference = self.reference.as_deref().map(str::to_owned);
        Held { item: id, reference, robot: self.robot, since: self.state.start_processing }
    }
}

/// The item's public form.
pub(super) fn to_queue_item(id: ItemId, item: &StoredItem) -> QueueItem {
    let state = &item.state;
    QueueItem {
        id,
        unique_key: item.unique_key,
        key: item.key,
        queue_id: item.queue,
        status: state.status,
        review_status: state.review_status,
        reviewer_user_id: state.reviewer_user_id,
        priority: state.priority,
        reference: item.reference.as_deref().map(str::to_owned),
        specific_content: item.content.clone(),
        output: item.output.clone(),
        processing_exception: item.exception.clone(),
        outcome: state.outcome,
        due_date: state.due_date,
        defer_date: state.defer_date,
        risk_sla_date: item.risk_sla_date,
        creation_time: state.creation_time,
        start_processing: state.start_processing,
        end_processing: state.end_processing,
        seconds_in_previous_attempts: state.seconds_in_previous_attempts,
        retry_number: state.retry_number,
        ancestor_id: item.ancestor,
        manual_retry_number: state.manual_retry_number,
        manual_ancestor_id: item.manual_ancestor,
        is_superseded: state.superseded,
        progress: item.progress.clone(),
        executor_job: state.holder.and(item.executor),
        robot: state.holder.and(item.robot),
        robot_id: state.holder.and(item.robot_id),
        creator_job: item.origin.creator_job,
        analytics: item.analytics.clone(),
        operation_id: item.operation_id.clone(),
        parent_operation_id: item.origin.parent_operation_id.clone(),
        row_version: state.row_version,
    }
}

/// Whether an item matches a filter.
pub(super) fn passes(id: ItemId, item: &StoredItem, filter: &ItemFilter) -> bool {
    let state = &item.state;
    (filter.status.is_empty() || filter.status.contains(&state.status))
        && (filter.review_status.is_empty() || filter.review_status.contains(&state.review_status))
        && filter.priority.is_none_or(|priority| priority == state.priority)
        && filter.reference.as_ref().is_none_or(|reference| reference.matches(item.reference.as_deref()))
        && filter.exception_type.is_none_or(|wanted| to_queue_item(id, item).exception_type() == Some(wanted))
        && filter.key.is_none_or(|key| key == item.key)
        && filter.created_from.is_none_or(|from| state.creation_time >= from)
        && filter.created_before.is_none_or(|before| state.creation_time < before)
        && filter.condition.as_ref().is_none_or(|condition| condition.holds(&to_queue_item(id, item)))
}
