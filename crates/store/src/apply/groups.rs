//! Groups of items: what happened to them, and when it is settled.

use std::collections::BTreeMap;

use super::super::groups::GroupChanges;
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use performer_core::crash_point;
use performer_core::model::groups::GroupRules;
use performer_core::model::item::NewQueueItem;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

impl<R: Rows> Apply<'_, R> {
    /// The rules of a queue about groups. None of a deleted queue.
    fn group_rules(&mut self, queue: QueueId) -> Result<Option<GroupRules>> {
        if !R::HAS_GROUPS {
            return Ok(None);
        }
        match self.queue_by_id(queue) {
            Ok(queue) => Ok(queue.and_then(|queue| queue.limits.group_rules())),
            Err(ApplyError::Refused(_)) => Ok(None),
            Err(ApplyError::Failed(error)) => Err(error),
        }
    }

    /// Whether the back end has what an item asks for.
    pub(super) fn check_group(item: &NewQueueItem) -> Applied<()> {
        if R::HAS_GROUPS || item.group.is_none() { Ok(()) } else { Err(ApplyError::Refused(no_groups())) }
    }

    /// Notes an item that was added.
    pub(super) fn note_added(&mut self, queue: &QueueDefinition, group: Option<&str>) {
        if let Some(group) = group {
            let changes = self.group_changes.entry(queue.id).or_default();
            if !changes.groups.contains(group) {
                changes.groups.insert(group.to_owned());
            }
        }
    }

    /// Notes what became of an item in another way than by a claim, or that there is a retry copy.
    pub(super) fn note_changed(&mut self, queue: QueueId, id: ItemId, state: &ItemState) -> Result<()> {
        if self.group_rules(queue)?.is_some() {
            self.group_changes.entry(queue).or_default().items.insert(id, *state);
        }
        Ok(())
    }

    /// Notes an item that is removed.
    pub(super) fn note_removed(&mut self, queue: QueueId, id: ItemId, state: &ItemState) -> Result<()> {
        if state.status != Status::New {
            return Ok(());
        }
        self.note_changed(queue, id, &ItemState { status: Status::Deleted, ..*state })
    }

    /// Settles the groups of all items that were changed.
    pub(super) fn settle_groups(&mut self) -> Result<()> {
        for (queue, changes) in std::mem::take(&mut self.group_changes) {
            let Some(rules) = self.group_rules(queue)? else { continue };
            crash_point!("groups.before_settle");
            if self.rows.settle_groups(queue, rules, changes, self.now)? {
                self.wake_waiters(queue);
            }
            crash_point!("groups.after_settle");
        }
        Ok(())
    }

    /// Settles the groups of items whose DeferDate has come, before a claim.
    pub(super) fn settle_due(&mut self, queue: QueueId) -> Result<()> {
        let items = self.rows.due_items(queue, self.now)?;
        if !items.is_empty() {
            self.group_changes.entry(queue).or_default().items.extend(items);
            self.settle_groups()?;
        }
        Ok(())
    }

    /// Applies the rules of the queue's new limits to all its items.
    pub(super) fn change_group_rules(
        &mut self,
        before: &QueueDefinition,
        after: &QueueDefinition,
    ) -> Applied<()> {
        let rules = after.limits.group_rules();
        if rules == before.limits.group_rules() {
            return Ok(());
        }
        if !R::HAS_GROUPS {
            return Err(ApplyError::Refused(no_groups()));
        }
        self.settle_groups()?; // by the rules so far
        self.rows.change_group_rules(after.id, rules, self.now)?;
        Ok(())
    }

    /// Whether one more item of a group may be in progress.
    pub(super) fn group_has_room(&mut self, queue: &QueueDefinition, item: &NewQueueItem) -> Result<bool> {
        let Some(rules) = queue.limits.group_rules() else { return Ok(true) };
        let Some(group) = rules.group_of(item.group.as_deref()) else { return Ok(true) };
        let slots = rules.slots(group);
        self.settle_groups()?;
        Ok(slots == usize::MAX || self.rows.in_progress_of(queue.id, group)? < slots)
    }
}

/// What happened in queues with rules about groups and is not settled yet.
pub(super) type PendingGroups = BTreeMap<QueueId, GroupChanges>;

fn no_groups() -> OrchestratorError {
    let message = "this store has no groups of items: they are kept in memory and in SQLite";
    OrchestratorError::new(ErrorKind::Unsupported, message)
}
