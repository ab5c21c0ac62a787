//! An item in memory: its parts, its public form, and which filters it matches.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::rows::{NewRow, RetryCopy};
use performer_core::model::content::{Analytics, Output, SpecificContent};
use performer_core::model::exception::ProcessingException;
use performer_core::model::history::{Actors, Recorded};
use performer_core::model::item::{ItemFilter, Origin, QueueItem};
use performer_core::model::key::{ItemId, ItemKey, JobKey, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::robot::Held;

/// An item and everything stored with it.
pub(super) struct StoredItem {
    pub(super) queue: QueueId,
    pub(super) unique_key: ItemKey,
    pub(super) key: ItemKey,
    pub(super) root: ItemId,
    pub(super) copies: Vec<ItemId>, // of a root: the other attempts of its chain
    pub(super) state: ItemState,
    pub(super) reference: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) content: SpecificContent,
    pub(super) risk_sla_date: Option<Timestamp>,
    pub(super) ancestor: Option<ItemId>,
    pub(super) manual_ancestor: Option<ItemId>,
    pub(super) output: Option<Output>,
    pub(super) exception: Option<ProcessingException>,
    pub(super) reason: Option<i64>,
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
    /// A new item. It is its own root, which its id is not known for yet.
    pub(super) fn of_new(row: &NewRow<'_>) -> Self {
        Self {
            queue: row.queue,
            unique_key: row.unique_key,
            key: row.unique_key,
            root: ItemId(0),
            copies: Vec::new(),
            state: *row.state,
            reference: row.reference.map(Arc::from),
            group: row.group.map(Arc::from),
            content: row.content.clone(),
            risk_sla_date: row.risk_sla_date,
            ancestor: None,
            manual_ancestor: None,
            output: None,
            exception: None,
            reason: None,
            progress: row.progress.map(str::to_owned),
            robot: None,
            executor: None,
            origin: row.origin.clone(),
            actors: Actors { created_by: row.created_by, ..Actors::default() },
            robot_id: None,
            analytics: None,
            operation_id: None,
            recorded: Vec::new(),
        }
    }

    /// A retry copy of this item.
    pub(super) fn copied(&self, copy: &RetryCopy<'_>) -> Self {
        let ancestor = Some(copy.original);
        Self {
            queue: copy.queue,
            unique_key: copy.unique_key,
            key: self.key,
            root: self.root,
            copies: Vec::new(),
            state: *copy.state,
            reference: self.reference.clone(),
            group: self.group.clone(),
            content: self.content.clone(),
            risk_sla_date: self.risk_sla_date,
            ancestor: if copy.by_hand { None } else { ancestor },
            manual_ancestor: if copy.by_hand { ancestor } else { self.manual_ancestor },
            output: None,
            exception: None,
            reason: None,
            progress: None,
            robot: None,
            executor: None,
            origin: self.origin.clone(),
            actors: Actors { created_by: copy.created_by, ..Actors::default() },
            robot_id: None,
            analytics: None,
            operation_id: None,
            recorded: Vec::new(),
        }
    }

    /// The item as a job's holding.
    pub(super) fn held(&self, id: ItemId) -> Held {
        let reference = self.reference.as_deref().map(str::to_owned);
        Held { item: id, reference, robot: self.robot, since: self.state.start_processing }
    }
}

/// The item's public form.
pub(super) fn to_queue_item(id: ItemId, item: &StoredItem) -> QueueItem {
    let state = &item.state;
    let mut view = QueueItem::of_state(id, item.unique_key, item.queue, state);
    view.key = item.key;
    view.reference = item.reference.as_deref().map(str::to_owned);
    view.group = item.group.as_deref().map(str::to_owned);
    view.specific_content = item.content.clone();
    view.output = item.output.clone();
    view.processing_exception = item.exception.clone();
    view.risk_sla_date = item.risk_sla_date;
    view.ancestor_id = item.ancestor;
    view.manual_ancestor_id = item.manual_ancestor;
    view.progress = item.progress.clone();
    view.executor_job = state.holder.and(item.executor);
    view.robot = state.holder.and(item.robot);
    view.robot_id = state.holder.and(item.robot_id);
    view.creator_job = item.origin.creator_job;
    view.analytics = item.analytics.clone();
    view.operation_id = item.operation_id.clone();
    view.parent_operation_id = item.origin.parent_operation_id.clone();
    view
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
        && filter.reason.is_none_or(|reason| item.reason == Some(reason))
        && filter.created_from.is_none_or(|from| state.creation_time >= from)
        && filter.created_before.is_none_or(|before| state.creation_time < before)
        && filter.condition.as_ref().is_none_or(|condition| condition.holds(&to_queue_item(id, item)))
}
