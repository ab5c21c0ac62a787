//! An item: how it is stored and shown.

use performer::jiff::Timestamp;
use performer::model::history::Recorded;
use performer::model::lifecycle::ItemState;
use performer::model::{
    Held, ItemFilter, ItemId, ItemKey, JobKey, NewQueueItem, Origin, Output, ProcessingException, QueueId,
    QueueItem, SpecificContent, StoredTime, TransactionResult,
};
use performer::orchestrator::Report;

/// An item, and everything stored with it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) queue: QueueId,
    /// The part that the rules decide by, and change.
    pub(super) state: ItemState,
    /// The events that the state does not show.
    pub(super) recorded: Vec<Recorded>,
    pub(super) unique_key: ItemKey,
    /// The key of its retry chain.
    pub(super) key: ItemKey,
    pub(super) reference: Option<String>,
    pub(super) content: SpecificContent,
    pub(super) progress: Option<String>,
    /// The robot of the job that claimed it.
    pub(super) robot: Option<u32>,
    executor: Option<JobKey>,
    risk_sla_date: Option<Timestamp>,
    output: Option<Output>,
    exception: Option<ProcessingException>,
    ancestor: Option<ItemId>,
    manual_ancestor: Option<ItemId>,
    origin: Origin,
}

impl Item {
    /// An item that is added, in the state that the rules give it. `content`: that of `new`, checked.
    pub(super) fn added(
        queue: QueueId,
        key: ItemKey,
        state: ItemState,
        new: &NewQueueItem,
        content: &SpecificContent,
    ) -> Self {
        Self {
            queue,
            state,
            recorded: Vec::new(),
            unique_key: key,
            key,
            reference: new.reference.clone(),
            content: content.clone(),
            progress: new.progress.clone(),
            robot: None,
            executor: None,
            risk_sla_date: new.risk_sla_date.map(StoredTime::timestamp),
            output: None,
            exception: None,
            ancestor: None,
            manual_ancestor: None,
            origin: new.origin.clone(),
        }
    }

    /// A copy of this item for a retry, in the state that the rules give it. `id`: that of this item.
    pub(super) fn retry_copy(&self, id: ItemId, unique_key: ItemKey, state: ItemState) -> Self {
        let by_hand = state.manual_retry_number > self.state.manual_retry_number;
        Self {
            state,
            recorded: Vec::new(),
            unique_key,
            progress: None,
            robot: None,
            executor: None,
            output: None,
            exception: None,
            ancestor: (!by_hand).then_some(id),
            manual_ancestor: if by_hand { Some(id) } else { self.manual_ancestor },
            ..self.clone()
        }
    }

    /// The item as callers see it.
    pub(super) fn shown(&self, id: ItemId) -> QueueItem {
        // A job that gave the item back does not hold it any more.
        let holder = self.state.holder;
        let mut shown = QueueItem::of_state(id, self.unique_key, self.queue, &self.state);
        shown.key = self.key;
        shown.reference.clone_from(&self.reference);
        shown.specific_content = self.content.clone();
        shown.progress.clone_from(&self.progress);
        shown.robot = holder.and(self.robot);
        shown.executor_job = holder.and(self.executor);
        shown.risk_sla_date = self.risk_sla_date;
        shown.output.clone_from(&self.output);
        shown.processing_exception.clone_from(&self.exception);
        shown.ancestor_id = self.ancestor;
        shown.manual_ancestor_id = self.manual_ancestor;
        shown.creator_job = self.origin.creator_job;
        shown.parent_operation_id.clone_from(&self.origin.parent_operation_id);
        shown
    }

    /// The item as something that a job holds.
    pub(super) fn held(&self, item: ItemId) -> Held {
        let (reference, since) = (self.reference.clone(), self.state.start_processing);
        Held { item, reference, robot: self.robot, since }
    }

    /// Stores who has claimed it.
    pub(super) fn set_claimant(&mut self, job: JobKey, robot: Option<u32>) {
        (self.executor, self.robot) = (Some(job), robot);
    }

    /// Stores what a report says beside its result. The rules have accepted the result.
    pub(super) fn set_reported(&mut self, report: &Report) {
        if let Some(progress) = &report.progress {
            self.progress = Some(progress.clone());
        }
        match &report.result {
            TransactionResult::Successful { output } => self.output.clone_from(output),
            TransactionResult::Failed { exception, .. } => {
                self.exception = exception.clone().map(ProcessingException::within_limits);
            }
            TransactionResult::Postponed { .. } | TransactionResult::GivenBack => {}
        }
    }
}

/// Whether an item matches a filter. Its queue is checked by the caller, who finds it by its name.
pub(super) fn matches(item: &QueueItem, filter: &ItemFilter) -> bool {
    (filter.status.is_empty() || filter.status.contains(&item.status))
        && (filter.review_status.is_empty() || filter.review_status.contains(&item.review_status))
        && filter.priority.is_none_or(|priority| item.priority == priority)
        && filter.reference.as_ref().is_none_or(|reference| reference.matches(item.reference.as_deref()))
        && filter.exception_type.is_none_or(|kind| item.exception_type() == Some(kind))
        && filter.key.is_none_or(|key| item.key == key)
        && filter.created_from.is_none_or(|from| item.creation_time >= from)
        && filter.created_before.is_none_or(|before| item.creation_time < before)
        && filter.condition.as_ref().is_none_or(|condition| condition.holds(item))
}
