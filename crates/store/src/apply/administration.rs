//! What people change: queues, items, reviews (lifecycle T16 to T22, T24) and comments.

use serde_json::Value;

use super::super::backend::{Answer, NewComment};
use super::super::rows::{ItemRow, Rows, StateUpdate};
use super::super::scoped_queues::QueueSelector;
use super::super::unreadable_rows::is_unreadable;
use super::query::queues_called;
use super::{Applied, Apply, ApplyError, refusal_of};
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::content::SpecificContent;
use performer_core::model::item::{ItemEdit, validate_progress};
use performer_core::model::key::{FolderId, ItemId, QueueId};
use performer_core::model::lifecycle::{self, Event, Transition};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition};
use performer_core::model::reason::{ReasonEdit, ReasonFilter};
use performer_core::model::review::{
    Comment, FailedItems, ItemVersion, Person, validate_comment, validate_comment_author,
};
use performer_core::model::schema::SchemaOf;
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};

impl<R: Rows> Apply<'_, R> {
    pub(super) fn create_queue(&mut self, new: NewQueueDefinition) -> Applied {
        new.validate()?;
        self.check_name_is_free(&new.name, self.scope.folder, None)?;
        let mut queue =
            QueueDefinition::new(QueueId(0), self.rows.keys().queue(self.now), new.name, self.now);
        queue.description = new.description;
        queue.policy = new.policy;
        queue.schemas = new.schemas;
        queue.notes = new.notes;
        queue.folders = vec![self.scope.folder];
        queue.id = self.rows.insert_queue(&queue)?;
        self.note_queue(Act::QueueCreated, None, Some(&queue));
        Ok(Answer::Queue(Box::new(queue)))
    }

    pub(super) fn update_queue(
        &mut self,
        which: &QueueSelector,
        new: NewQueueDefinition,
        reach: Option<&[FolderId]>,
    ) -> Applied {
        let queue = self.queue_to_change(which, reach)?;
        new.validate_change_of(&queue)?;
        for folder in &queue.folders {
            self.check_name_is_free(&new.name, *folder, Some(queue.id))?;
        }
        let NewQueueDefinition { name, description, policy, schemas, notes, .. } = new;
        let before = queue;
        let mut queue = (*before).clone();
        queue.name = name;
        queue.description = description;
        queue.policy = policy;
        queue.schemas = schemas;
        queue.notes = notes;
        self.rows.update_queue(&queue)?;
        self.note_queue(Act::QueueEdited, Some(&before), Some(&queue));
        self.wake_waiters(queue.id); // callers wait for the queue by its name
        Ok(Answer::Queue(Box::new(queue)))
    }

    /// Changes the limits of a queue. Waiting callers try again: more may be claimable now.
    pub(super) fn edit_limits(
        &mut self,
        which: &QueueSelector,
        edit: &LimitsEdit,
        reach: Option<&[FolderId]>,
    ) -> Applied {
        let queue = self.queue_to_change(which, reach)?;
        let before = queue;
        let mut queue = (*before).clone();
        queue.limits = queue.limits.edited(edit)?;
        self.change_group_rules(&before, &queue)?;
        self.rows.update_queue(&queue)?;
        self.note_queue(Act::LimitsEdited, Some(&before), Some(&queue));
        self.wake_waiters(queue.id);
        Ok(Answer::Queue(Box::new(queue)))
    }

    fn check_name_is_free(&mut self, name: &str, folder: FolderId, except: Option<QueueId>) -> Applied<()> {
        match self.rows.queue_named(folder, name)? {
            Some(taken) if Some(taken.id) != except => {
                let message = format!("the name {:?} is already used", taken.name);
                Err(Refusal::new(ErrorCode::NAME_ALREADY_USED, message).into())
            }
            _ => Ok(()),
        }
    }

    /// Adds queues to folders and removes them from others. A queue in no folder could not be found by anybody.
    pub(super) fn share_queues(
        &mut self,
        queues: &[QueueId],
        add: &[FolderId],
        remove: &[FolderId],
    ) -> Applied {
        for queue in queues {
            let queue = self.which_queue(&QueueSelector::Id(*queue))?;
            let mut folders: Vec<FolderId> =
                queue.folders.iter().copied().filter(|folder| !remove.contains(folder)).collect();
            for folder in add {
                if !folders.contains(folder) {
                    self.check_name_is_free(&queue.name, *folder, Some(queue.id))?;
                    folders.push(*folder);
                }
            }
            if folders.is_empty() {
                let message = format!("queue {:?} would be in no folder any more", queue.name);
                return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
            }
            self.rows.write_folders(&queue, &folders)?;
            let mut shared = (*queue).clone();
            shared.folders = folders;
            self.note_queue(Act::QueueShared, Some(&queue), Some(&shared));
            self.wake_waiters(queue.id);
        }
        Ok(Answer::Done)
    }

    /// Takes the same time however many items the queue has. Claims on its items are lost from now on, as if the items
    /// did not exist.
    pub(super) fn delete_queue(&mut self, which: &QueueSelector, reach: Option<&[FolderId]>) -> Applied {
        let queue = self.queue_to_change(which, reach)?;
        self.rows.delete_queue(queue.id)?;
        self.rows.schedule_removal(queue.id)?;
        self.note_queue(Act::QueueDeleted, Some(&queue), None);
        self.wake_waiters(queue.id); // waiting callers learn that it is gone
        Ok(Answer::Done)
    }

    pub(super) fn edit(&mut self, id: ItemId, edit: &ItemEdit) -> Applied {
        let row = self.row_here(id)?;
        if let Some(version) = edit.row_version {
            lifecycle::check_version(&row.state, version)?;
        }
        self.check_edit(row.queue, edit)?;
        self.edit_checked(id, &row, edit)
    }

    /// Checks what an edit says, whatever the state of the item.
    fn check_edit(&mut self, queue: QueueId, edit: &ItemEdit) -> Applied<()> {
        if let Some(content) = &edit.specific_content
            && let Some(queue) = self.queue_by_id(queue)?
        {
            queue.schemas.validate(SchemaOf::SpecificData, content.as_json())?;
        }
        edit.progress.as_deref().map_or(Ok(()), validate_progress)?;
        Ok(())
    }

    /// The review of lifecycle T21, and the edit of lifecycle T16 for the copy. The edit is checked first: what is refused has changed nothing.
    pub(super) fn correct(&mut self, item: ItemVersion, edit: &ItemEdit) -> Applied {
        let row = self.row_here(item.id)?;
        self.check_edit(row.queue, edit)?;
        let to = ReviewStatus::Retried;
        let event = Event::Review { to, row_version: item.row_version };
        let copy = self.change_row(item.id, &row, event)?.1;
        self.note_review(item.id, row.state.review_status, to);
        let copy = copy.ok_or_else(|| OrchestratorError::new(ErrorKind::Other, "the retry made no copy"))?;
        // A copy is New and can be edited; if the rules said otherwise, nothing of the transaction would be kept.
        let copied = self.row(copy)?;
        match self.edit_checked(copy, &copied, edit) {
            Err(ApplyError::Refused(error)) => Err(ApplyError::Failed(error)),
            applied => applied,
        }
    }

    fn edit_checked(&mut self, id: ItemId, row: &ItemRow, edit: &ItemEdit) -> Applied {
        let event = Event::Edit {
            priority: edit.priority.unwrap_or(row.state.priority),
            due_date: edit.due_date.applied_to(row.state.due_date),
            defer_date: edit.defer_date.applied_to(row.state.defer_date),
        };
        let policy = self.policy(row.queue)?;
        if let Transition::Change(change) = lifecycle::transition(id, &row.state, event, &policy, self.now)? {
            let written = StateUpdate {
                progress: edit.progress.as_deref(),
                ..StateUpdate::state(&change.after, self.now)
            };
            self.write_change(id, row, &change, &written)?;
            if let Some(content) = &edit.specific_content {
                self.rows.set_content(id, content)?;
            }
            self.note_edit(id, &row.state, &change.after, edit);
        }
        Ok(Answer::Item(Box::new(self.item(id)?)))
    }

    pub(super) fn delete(&mut self, item: ItemVersion) -> Applied<()> {
        self.apply_event_here(item.id, Event::Delete { row_version: Some(item.row_version) })?;
        self.note_item(Act::ItemsDeleted, item.id, Vec::new());
        Ok(())
    }

    pub(super) fn delete_one(&mut self, id: ItemId) -> Applied {
        self.apply_event_here(id, Event::Delete { row_version: None })?;
        self.note_item(Act::ItemsDeleted, id, Vec::new());
        Ok(Answer::Done)
    }

    /// Sets the review status of items; those that are not refused get the comment.
    pub(super) fn review(
        &mut self,
        to: ReviewStatus,
        items: Vec<ItemVersion>,
        comment: Option<&NewComment>,
    ) -> Applied {
        let mut done = Vec::with_capacity(items.len());
        let answer = self.each(items, |this, item| {
            comment.map_or(Ok(()), |comment| validate_comment(&comment.text))?;
            let event = Event::Review { to, row_version: item.row_version };
            let before = this.apply_event_here(item.id, event)?;
            this.note_review(item.id, before.review_status, to);
            done.push(item.id);
            Ok(())
        })?;
        if let Some(NewComment { author, text }) = comment {
            self.comment_on(&done, author, text)?;
        }
        Ok(answer)
    }

    /// Adds a comment to items that may have it.
    pub(super) fn comment_on(
        &mut self,
        items: &[ItemId],
        author: &Person,
        text: &str,
    ) -> Applied<Vec<Comment>> {
        let comments = match items {
            [] => Vec::new(),
            items => self.rows.insert_comments(items, author, text, self.now)?,
        };
        for comment in &comments {
            let subject = format!("comment {}", comment.id);
            self.note_act(Act::CommentAdded, subject, vec![comment.item_id], Vec::new());
        }
        Ok(comments)
    }

    pub(super) fn note_review(&mut self, id: ItemId, before: ReviewStatus, to: ReviewStatus) {
        if before != to {
            let [before, after] = [before, to].map(|status| Value::from(status.name()));
            self.note_item(Act::ItemsReviewed, id, vec![FieldChange::new("ReviewStatus", before, after)]);
        }
    }

    /// The server has checked whether this user may review.
    pub(super) fn set_reviewer(&mut self, reviewer: Option<i64>, item: ItemVersion) -> Applied<()> {
        let event = Event::SetReviewer { reviewer, permitted: true, row_version: item.row_version };
        let before = self.apply_event_here(item.id, event)?.reviewer_user_id;
        self.note_reviewer(item.id, before, reviewer);
        Ok(())
    }

    pub(super) fn note_reviewer(&mut self, id: ItemId, before: Option<i64>, reviewer: Option<i64>) {
        if before != reviewer {
            let [before, after] = [before, reviewer].map(|user| user.map(Value::from));
            self.note_item(Act::ReviewerSet, id, vec![FieldChange::new("ReviewerUserId", before, after)]);
        }
    }

    /// Calls `act` for each item and collects the refusals.
    pub(super) fn each(
        &mut self,
        items: Vec<ItemVersion>,
        mut act: impl FnMut(&mut Self, ItemVersion) -> Applied<()>,
    ) -> Applied {
        let mut failed = FailedItems::default();
        self.read_rows(items.iter().map(|item| item.id))?;
        for item in items {
            match act(self, item) {
                Ok(()) => {}
                Err(ApplyError::Refused(error)) => failed.0.push((item.id, refusal_of(&error))),
                Err(ApplyError::Failed(error)) if is_unreadable(&error) => {
                    failed.0.push((item.id, refusal_of(&error)));
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(Answer::Failed(failed))
    }

    pub(super) fn add_comment(&mut self, id: ItemId, author: &Person, text: &str) -> Applied {
        self.row_here(id)?;
        validate_comment(text)?;
        let missing = || OrchestratorError::new(ErrorKind::Other, "a new comment got no number");
        let comment = self.comment_on(&[id], author, text)?.pop().ok_or_else(missing)?;
        Ok(Answer::Comment(comment))
    }

    pub(super) fn edit_comment(&mut self, id: i64, person: &Person, text: Option<&str>) -> Applied {
        let Some(comment) = self.rows.comment(id)? else {
            return Err(ApplyError::Refused(OrchestratorError::not_found(format!(
                "comment {id} does not exist"
            ))));
        };
        if self.row_here(comment.item_id).is_err() {
            return Err(ApplyError::Refused(OrchestratorError::not_found(format!(
                "comment {id} does not exist"
            ))));
        }
        validate_comment_author(&comment, person)?;
        text.map_or(Ok(()), validate_comment)?;
        self.rows.write_comment(id, text)?;
        self.note_act(Act::CommentEdited, format!("comment {id}"), vec![comment.item_id], Vec::new());
        Ok(Answer::Done)
    }

    pub(super) fn edit_reason(&mut self, id: i64, edit: ReasonEdit) -> Applied {
        edit.validate()?;
        self.rows.lock_reason(id)?;
        let queues = queues_called(self.rows, self.scope.folder, &[])?;
        let found = self.rows.reasons(&queues, &ReasonFilter::default().id(id).top(1))?.pop();
        let missing =
            || ApplyError::Refused(OrchestratorError::not_found(format!("reason {id} does not exist")));
        let before = found.ok_or_else(missing)?;
        let mut reason = before.clone();
        reason.edit(edit);
        self.rows.write_reason(&reason)?;
        self.note_reason(&before, &reason);
        Ok(Answer::Reasons(vec![reason]))
    }

    pub(super) fn purge(&mut self, id: ItemId, row_version: Option<u64>) -> Applied {
        let row = self.row_here(id)?;
        row_version.map_or(Ok(()), |version| lifecycle::check_version(&row.state, version))?;
        self.apply_event_to(id, &row, Event::Purge)?;
        self.rows.set_content(id, &SpecificContent::empty())?;
        self.note_item(Act::ContentPurged, id, Vec::new());
        Ok(Answer::Done)
    }
}
