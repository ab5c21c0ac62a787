//! Groups of items: what happened to them, and when it is settled.

use std::collections::{BTreeMap, BTreeSet};

use super::super::groups::GroupChanges;
use super::super::rows::Rows;
use super::claim::WaitingClaim;
use super::{Applied, Apply, ApplyError};
use performer_core::crash_point;
use performer_core::model::groups::GroupRules;
use performer_core::model::item::NewQueueItem;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

impl<R: Rows> Apply<'_, R> {
    /// The rules of a queue about groups. None of a deleted queue.
    fn group_rules(&mut self, queue: QueueId) -> Result<Option<GroupRules>> {
        match self.queue_by_id(queue) {
            Ok(queue) => Ok(queue.and_then(|queue| queue.limits.group_rules())),
            Err(ApplyError::Refused(_)) => Ok(None),
            Err(ApplyError::Failed(error)) => Err(error),
        }
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

    /// Locks the queues of which groups are settled next, or items claimed. Together and in one order, so that two transactions
    /// about the same queues do not wait for each other.
    pub(super) fn lock_groups(&mut self, claims: &[WaitingClaim]) -> Result<()> {
        if !R::CAN_CONFLICT {
            return Ok(());
        }
        let mut queues: BTreeSet<QueueId> = BTreeSet::new();
        for queue in self.group_changes.keys().copied().collect::<Vec<_>>() {
            queues.extend(self.group_rules(queue)?.map(|_| queue));
        }
        for (_, scope, claim) in claims {
            match self.queue_in(scope.folder, &claim.queue) {
                Ok(queue) => queues.extend(queue.limits.group_rules().map(|_| queue.id)),
                Err(ApplyError::Refused(_)) => {} // and so will be the claim
                Err(ApplyError::Failed(error)) => return Err(error),
            }
        }
        if queues.is_empty() {
            return Ok(());
        }
        self.locked_limits.extend(&queues);
        self.rows.lock_groups(&Vec::from_iter(queues))
    }

    /// Settles the groups of all items that were changed.
    pub(super) fn settle_groups(&mut self) -> Result<()> {
        for (queue, changes) in std::mem::take(&mut self.group_changes) {
            let Some(rules) = self.group_rules(queue)? else { continue };
            self.locked_limits.insert(queue);
            crash_point!("groups.before_settle");
            if self.rows.settle_groups(queue, rules, changes, self.now)? {
                self.wake_waiters(queue);
            }
            crash_point!("groups.after_settle");
        }
        Ok(())
    }

    /// Settles the groups of items whose DeferDate has come, before a claim.
    pub(super) fn settle_due(&mut self, queue: QueueId, rules: GroupRules) -> Result<()> {
        self.locked_limits.insert(queue);
        let due = self.rows.due_items(queue, rules, self.now)?;
        if !due.is_empty() {
            let changes = self.group_changes.entry(queue).or_default();
            changes.items.extend(due.items);
            changes.groups.extend(due.groups);
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
        self.rows.lock_group_rules(after.id)?; // first, because settling locks more
        self.settle_groups()?; // by the rules so far
        self.rows.change_group_rules(after.id, rules, self.now)?;
        Ok(())
    }

    /// Whether one more item of a group may be in progress.
    pub(super) fn group_has_room(&mut self, queue: &QueueDefinition, item: &NewQueueItem) -> Result<bool> {
        let Some(rules) = queue.limits.group_rules() else { return Ok(true) };
        let Some(group) = rules.group_of(item.group.as_deref()) else { return Ok(true) };
        let slots = rules.slots(group);
        self.locked_limits.insert(queue.id);
        self.settle_groups()?;
        Ok(slots == usize::MAX || self.rows.in_progress_of(queue.id, group)? < slots)
    }
}

/// What happened in queues with rules about groups and is not settled yet.
pub(super) type PendingGroups = BTreeMap<QueueId, GroupChanges>;
