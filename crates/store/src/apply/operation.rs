//! Acts on many items at once: a step of an operation acts on some of its items, and is one commit with them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::super::backend::{Answer, Scope};
use super::super::operations::{ListOperationItems, ListedOperation, OperationRemoval, Steering};
use super::super::rows::Rows;
use super::super::unreadable_rows::is_unreadable;
use super::{Applied, Apply, ApplyError, refusal_of};
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::audit::{self, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::content::SpecificContent;
use performer_core::model::key::{FolderId, ItemId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::operation::{
    Act, CHUNK, CopyEnd, ItemOperation, ItemResult, MAX_PREVIEWS, NextStep, OperationId, OperationState,
    PREVIEW_KEPT,
};
use performer_core::model::review::ItemVersion;
use performer_core::model::status::ReviewStatus;
use performer_core::model::stored_time;
use performer_core::orchestrator::OrchestratorError;

/// Of so many items at least the rows are read together, and so many operations.
const READ_TOGETHER: usize = 20;

impl<R: Rows> Apply<'_, R> {
    pub(super) fn create_operation(&mut self, new: &ItemOperation, items: &[ItemVersion]) -> Applied {
        let mut operation = new.clone();
        operation.created = self.now;
        match operation.plan.act {
            Act::TakeBack { of } => {
                let original = self.operation(of)?;
                original.check_kept(self.now)?;
                original.may_be_taken_back()?;
            }
            _ => self.check_previews(&operation)?,
        }
        operation.id = self.rows.insert_operation(&operation)?;
        self.keep(operation, items)
    }

    fn check_previews(&mut self, new: &ItemOperation) -> Applied<()> {
        let now = self.now;
        // Others that count at the same time would not see this one.
        self.rows.lock_operations()?;
        let waits = |known: &ItemOperation| {
            matches!(known.state, OperationState::Preparing | OperationState::Preview)
                && known.user_id == new.user_id
                && known.kept_until().is_some_and(|until| until >= now)
        };
        let is_recent = |known: &ItemOperation| stored_time::after(known.created, PREVIEW_KEPT) >= now;
        let (mut waiting, mut before) = (0, None);
        loop {
            let page = self.rows.operations(before, READ_TOGETHER)?;
            let mut readable = page.iter().filter_map(|listed| match listed {
                ListedOperation::Read(operation) => Some(&**operation),
                ListedOperation::Unreadable(_) => None,
            });
            waiting += readable.clone().filter(|known| waits(known)).count();
            // What was made before is no preview any more, or too old.
            before = page.last().map(ListedOperation::id);
            if page.len() < READ_TOGETHER || !readable.next_back().is_none_or(is_recent) {
                break;
            }
        }
        if waiting >= MAX_PREVIEWS {
            let message = format!(
                "{waiting} previews wait to be started; start one of them, or wait until they are ten minutes old"
            );
            return Err(Refusal::new(ErrorCode::UNAVAILABLE_RESOURCES, message).into());
        }
        Ok(())
    }

    /// Keeps more items of an operation that is being prepared.
    pub(super) fn keep_items(&mut self, id: OperationId, from: u64, items: &[ItemVersion]) -> Applied {
        let operation = self.operation_to_change(id)?;
        if operation.kept != from {
            // Refuses it, with the reason.
            operation.clone().keep(from, items.len() as u64)?;
        }
        self.keep(operation, items)
    }

    fn keep(&mut self, mut operation: ItemOperation, items: &[ItemVersion]) -> Applied {
        let from = operation.kept;
        operation.keep(from, items.len() as u64)?;
        self.rows.insert_operation_items(operation.id, from, items)?;
        self.rows.write_operation(&operation)?;
        Ok(Answer::Operation(Box::new(operation)))
    }

    /// Starts, stops or resumes an operation.
    pub(super) fn steer_operation(
        &mut self,
        id: OperationId,
        reach: Option<&[FolderId]>,
        steering: &Steering,
    ) -> Applied {
        let mut operation = self.operation_to_change(id)?;
        if !operation.is_within(reach) {
            let message =
                format!("operation {id} has items in a folder where the caller has no right to this");
            return Err(Refusal::new(ErrorCode::FORBIDDEN_OPERATION, message).into());
        }
        let act = match steering {
            Steering::Start => audit::Act::OperationStarted,
            Steering::Stop(_) => audit::Act::OperationStopped,
            Steering::Resume => audit::Act::OperationResumed,
        };
        match steering {
            Steering::Start => {
                operation.start(self.now)?;
                operation.started_by(self.scope.user, self.actor.as_deref());
                if let Act::TakeBack { of } = operation.plan.act {
                    let mut original = self.operation_to_change(of)?;
                    original.take_back(id)?;
                    self.rows.write_operation(&original)?;
                }
            }
            Steering::Stop(by) => operation.stop(by, self.now)?,
            Steering::Resume => operation.resume(self.now)?,
        }
        self.rows.write_operation(&operation)?;
        let mut fields = vec![
            FieldChange::new("Act", None, Value::from(operation.plan.act.to_string())),
            FieldChange::new("Items", None, Value::from(operation.total)),
        ];
        if let (Some(filter), Steering::Start) = (&operation.filter, steering) {
            fields.push(FieldChange::new("Filter", None, Value::from(filter.as_str())));
        }
        self.note_act(act, format!("operation {id}"), Vec::new(), fields);
        Ok(Answer::Operation(Box::new(operation)))
    }

    /// Does the next step of an operation, unless another process was faster or it is not due. Answers with the operation.
    pub(super) fn step_operation(&mut self, id: OperationId, version: u64) -> Applied {
        let mut operation = self.operation_to_change(id)?;
        if operation.version != version {
            return Ok(Answer::Operation(Box::new(operation)));
        }
        match operation.next_step(self.now) {
            NextStep::Nothing => {}
            NextStep::Canary => {
                let ends = self.ends_of_copies(id)?;
                if operation.decide_canary(&ends, self.now) {
                    self.rows.write_operation(&operation)?;
                }
            }
            NextStep::Chunk { acts } => {
                self.actor = operation.actor.clone().map(Arc::new);
                let (done, refused) = self.act_on_next(&operation, acts)?;
                operation.record_chunk(done, refused, self.now);
                self.rows.write_operation(&operation)?;
            }
        }
        Ok(Answer::Operation(Box::new(operation)))
    }

    /// Acts on the next items of an operation. Returns how many were acted on, and how many refused.
    fn act_on_next(&mut self, operation: &ItemOperation, acts: usize) -> Applied<(u64, u64)> {
        let ask = ListOperationItems {
            operation: operation.id,
            from: operation.next_place(),
            refused_only: false,
            limit: CHUNK,
        };
        let mut items = self.rows.operation_items(&ask)?;
        let (mut at, mut done) = (0, Vec::with_capacity(acts));
        while at < items.len() && done.len() < acts {
            // Some of them may be refused, and others take their turns.
            let next = items.len().min(at + (acts - done.len()).max(READ_TOGETHER));
            self.read_rows(items[at..next].iter().map(|item| item.item.id))?;
            for item in &mut items[at..next] {
                if done.len() == acts {
                    break;
                }
                item.result = match self.act_on(operation, item.item) {
                    Ok(copy) => {
                        done.push((self.scope.folder, item.item.id));
                        ItemResult::Done { copy }
                    }
                    Err(ApplyError::Refused(error)) => ItemResult::Refused(refusal_of(&error)),
                    Err(ApplyError::Failed(error)) if is_unreadable(&error) => {
                        ItemResult::Refused(refusal_of(&error))
                    }
                    Err(failed) => return Err(failed),
                };
                at += 1;
                crash_point!(within "between_items");
            }
        }
        self.rows.write_operation_items(operation.id, &items[..at])?;
        if let Some(comment) = &operation.plan.comment {
            done.sort_by_key(|(folder, _)| *folder);
            for in_folder in done.chunk_by(|(one, _), (other, _)| one == other) {
                self.scope.folder = in_folder[0].0;
                let items: Vec<ItemId> = in_folder.iter().map(|(_, item)| *item).collect();
                self.comment_on(&items, &operation.by(), comment)?;
            }
        }
        let done = done.len() as u64;
        Ok((done, at as u64 - done))
    }

    /// Acts on one item in the name of the user who made the operation. Returns the copy that was made of it.
    fn act_on(&mut self, operation: &ItemOperation, item: ItemVersion) -> Applied<Option<ItemId>> {
        let (id, plan) = (item.id, &operation.plan);
        let row = self.row(id)?;
        let queue = self.queue_by_id(row.queue)?;
        let is_within = |folder: &&FolderId| operation.folders.contains(*folder);
        let folder = queue.as_ref().and_then(|queue| queue.folders.iter().find(is_within).copied());
        let folder = folder.ok_or_else(|| ApplyError::Refused(OrchestratorError::no_item(id)))?;
        self.scope = Scope { folder, user: operation.user_id, is_masked: false };
        plan.act.check(&row.state, item.row_version)?;
        let copy = match plan.act.event(item.row_version, folder) {
            Some(event) => self.change_row(id, &row, event)?.1,
            None => None,
        };
        if plan.act == Act::Purge {
            self.rows.set_content(id, &SpecificContent::empty())?;
        }
        self.note_act_of_operation(id, &row.state, &plan.act);
        Ok(copy)
    }

    /// Records what was done with an item, as if it had been done alone.
    fn note_act_of_operation(&mut self, id: ItemId, before: &ItemState, act: &Act) {
        match act {
            Act::Retry => self.note_review(id, before.review_status, ReviewStatus::Retried),
            Act::Verify => self.note_review(id, before.review_status, ReviewStatus::Verified),
            Act::PutInReview => self.note_review(id, before.review_status, ReviewStatus::InReview),
            Act::Assign { reviewer, .. } => self.note_reviewer(id, before.reviewer_user_id, *reviewer),
            Act::Delete | Act::TakeBack { .. } => self.note_item(audit::Act::ItemsDeleted, id, Vec::new()),
            Act::Purge => self.note_item(audit::Act::ContentPurged, id, Vec::new()),
            Act::Comment => {}
        }
    }

    /// How the last attempts of the copies ended that an operation has made.
    fn ends_of_copies(&mut self, id: OperationId) -> Applied<Vec<CopyEnd>> {
        let last = self.rows.last_attempts_of_copies(id)?;
        let standings = self.rows.standings(&last)?;
        let status_of = |id: &ItemId| {
            standings.iter().find(|standing| standing.id == *id).map(|standing| standing.state.status)
        };
        Ok(last.iter().map(|id| CopyEnd::of(status_of(id))).collect())
    }

    /// Removes a part of an operation that need not be kept any more; one that was started by a time that can be believed.
    pub(super) fn remove_operation(&mut self, limit: usize) -> Applied {
        let Some((id, kept_until)) = self.rows.superfluous_operation(self.now)? else {
            return Ok(Answer::OperationRemoval(OperationRemoval::None));
        };
        // A preview is made again in a moment; what became of items is not.
        let was_started = match self.operation_to_change(id) {
            Ok(operation) => operation.started.is_some(),
            Err(ApplyError::Failed(error)) if is_unreadable(&error) => true,
            Err(failed) => return Err(failed),
        };
        let is_over = |by: Timestamp| kept_until < by;
        if was_started && !self.judge_clock()?.believed().is_some_and(is_over) {
            return Ok(Answer::OperationRemoval(OperationRemoval::None));
        }
        let is_gone = self.rows.remove_operation(id, limit)?;
        let removal = if is_gone { OperationRemoval::Whole } else { OperationRemoval::Part };
        Ok(Answer::OperationRemoval(removal))
    }

    fn operation(&mut self, id: OperationId) -> Applied<ItemOperation> {
        let found = self.rows.operation(id)?;
        found.ok_or_else(|| ApplyError::Refused(no_operation(id)))
    }

    fn operation_to_change(&mut self, id: OperationId) -> Applied<ItemOperation> {
        let found = self.rows.operation_to_change(id)?;
        found.ok_or_else(|| ApplyError::Refused(no_operation(id)))
    }
}

/// There is no operation with this number.
pub(super) fn no_operation(id: OperationId) -> OrchestratorError {
    OrchestratorError::not_found(format!("operation {id} does not exist"))
}
