//! What people change, as records of the audit. The records of a batch are written at its end, so that their lock is held only for the
//! commit. Only the rows of figures are locked after it.

use serde_json::Value;

use super::super::audit::AuditRow;
use super::super::rows::Rows;
use super::Apply;
use performer_core::model::audit::{Act, AuditEntry, FieldChange, queue_changes};
use performer_core::model::item::ItemEdit;
use performer_core::model::key::ItemId;
use performer_core::model::lifecycle::ItemState;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::reason::Reason;
use performer_core::model::stored_time::stored;
use performer_core::model::webhook::EventType;
use performer_core::orchestrator::Result;

/// What the audit records of a batch.
#[derive(Debug, Default)]
pub(super) struct PendingAudit {
    entries: Vec<AuditEntry>,
    /// Where the entries of the operation that is being applied begin.
    of_operation: usize,
}

impl PendingAudit {
    /// What comes now belongs to another operation.
    pub(super) fn end_operation(&mut self) {
        self.of_operation = self.entries.len();
    }
}

impl<R: Rows> Apply<'_, R> {
    /// Records an act, if the operation is one of people.
    pub(super) fn note_act(
        &mut self,
        act: Act,
        subject: impl Into<String>,
        items: Vec<ItemId>,
        changes: Vec<FieldChange>,
    ) {
        let Some(actor) = self.actor.as_deref() else { return };
        let mut actor = actor.clone();
        // As it is stored.
        actor.user_name = actor.user_name.map(|name| name.replace('\0', ""));
        actor.user_id = actor.user_id.or(self.scope.user);
        let mut entry = AuditEntry::new(stored(self.now), actor, act, self.scope.folder, subject);
        entry.items = items;
        entry.changes = changes;
        self.audit.entries.push(entry);
    }

    /// Records an act on an item. Items to which one operation did the same are in one record.
    pub(super) fn note_item(&mut self, act: Act, id: ItemId, changes: Vec<FieldChange>) {
        let folder = self.scope.folder;
        let alike =
            |entry: &&mut AuditEntry| entry.act == act && entry.folder == folder && entry.changes == changes;
        match self.audit.entries[self.audit.of_operation..].iter_mut().find(alike) {
            Some(entry) => entry.items.push(id),
            None => self.note_act(act, "items", vec![id], changes),
        }
    }

    /// Records an act on a queue, if it changes something.
    pub(super) fn note_queue(
        &mut self,
        act: Act,
        before: Option<&QueueDefinition>,
        after: Option<&QueueDefinition>,
    ) {
        let changes = queue_changes(before, after);
        if let Some(queue) = before.or(after)
            && !changes.is_empty()
        {
            self.note_act(act, format!("queue {}", queue.name), Vec::new(), changes);
            let kind = match act {
                Act::QueueCreated => EventType::QueueCreated,
                Act::QueueDeleted => EventType::QueueDeleted,
                _ => EventType::QueueUpdated,
            };
            self.tell_queue(kind, after.unwrap_or(queue));
        }
    }

    /// Records an edit of the note or the owner of a group of failures. The note is said to have changed and is not kept.
    pub(super) fn note_reason(&mut self, before: &Reason, after: &Reason) {
        let mut changes = Vec::new();
        if before.note != after.note {
            changes.push(FieldChange::without_values("Note"));
        }
        if before.owner != after.owner {
            let [before, after] = [before, after].map(|reason| reason.owner.map(Value::from));
            changes.push(FieldChange::new("Owner", before, after));
        }
        if !changes.is_empty() {
            self.note_act(Act::ReasonEdited, format!("reason {}", after.id), Vec::new(), changes);
        }
    }

    /// Records an edit of an item: contents are said to have changed and are not kept.
    pub(super) fn note_edit(&mut self, id: ItemId, before: &ItemState, after: &ItemState, edit: &ItemEdit) {
        let time = |at: Option<jiff::Timestamp>| at.map(|at| Value::from(at.to_string()));
        let mut changes = Vec::new();
        let mut changed = |field: &str, before: Option<Value>, after: Option<Value>| {
            if before != after {
                changes.push(FieldChange::new(field, before, after));
            }
        };
        changed("Priority", Some(before.priority.name().into()), Some(after.priority.name().into()));
        changed("DueDate", time(before.due_date), time(after.due_date));
        changed("DeferDate", time(before.defer_date), time(after.defer_date));
        if edit.specific_content.is_some() {
            changes.push(FieldChange::without_values("SpecificContent"));
        }
        if edit.progress.is_some() {
            changes.push(FieldChange::without_values("Progress"));
        }
        if !changes.is_empty() {
            self.note_item(Act::ItemEdited, id, changes);
        }
    }

    /// Writes the records of this batch.
    pub(super) fn write_audit(&mut self) -> Result<()> {
        if self.audit.entries.is_empty() {
            return Ok(());
        }
        let mut last = self.rows.last_audit()?;
        for entry in std::mem::take(&mut self.audit).entries {
            let row = AuditRow::behind(last.as_ref().map(|(id, digest)| (*id, &**digest)), &entry)?;
            self.rows.append_audit(&row)?;
            last = Some((row.id, row.digest));
        }
        Ok(())
    }
}
