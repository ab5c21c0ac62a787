//! The indexes of a store in memory: ready and deferred items, held items, references. Updated with every change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Memory;
use super::item::StoredItem;
use super::queue::StoredQueue;
use performer_core::model::key::{Holder, ItemId, JobNumber, QueueId};
use performer_core::model::selection::{SelectionKey, is_deferred};
use performer_core::model::status::Status;

impl Memory {
    /// Inserts an item and indexes it.
    pub(super) fn insert(&mut self, item: StoredItem, now: Timestamp) -> ItemId {
        self.last_item += 1;
        let id = ItemId(self.last_item);
        let root = if item.root == ItemId(0) { id } else { item.root };
        self.items.insert(id, StoredItem { root, ..item });
        if root != id
            && let Some(root) = self.items.get_mut(&root)
        {
            root.copies.push(id);
        }
        self.index(id, now);
        id
    }

    pub(super) fn index(&mut self, id: ItemId, now: Timestamp) {
        let Some(item) = self.items.get(&id) else { return };
        Indexes::of(&mut self.queues, &mut self.held, &mut self.references, item.queue).insert(id, item, now);
    }

    pub(super) fn unindex(&mut self, id: ItemId) {
        let Some(item) = self.items.get(&id) else { return };
        Indexes::of(&mut self.queues, &mut self.held, &mut self.references, item.queue).remove(id, item);
    }

    /// Moves items whose DeferDate has come to the ready ones.
    pub(super) fn promote(&mut self, queue: QueueId, now: Timestamp) {
        let Some(queue) = self.queues.get_mut(&queue) else { return };
        while let Some((defer_date, id)) = queue.deferred.first().copied()
            && defer_date <= now
        {
            queue.deferred.pop_first();
            if let Some(item) = self.items.get(&id) {
                queue.ready.insert(SelectionKey::new(item.state.priority, item.state.due_date, id));
            }
        }
    }
}

/// What an item of a queue is found by.
pub(super) struct Indexes<'a> {
    /// `None`: its rows are removed.
    queue: Option<&'a mut StoredQueue>,
    held: &'a mut BTreeSet<(JobNumber, ItemId)>,
    references: &'a mut BTreeMap<(QueueId, Arc<str>), ItemId>,
}

impl<'a> Indexes<'a> {
    /// The indexes for the items of a queue.
    pub(super) fn of(
        queues: &'a mut BTreeMap<QueueId, StoredQueue>,
        held: &'a mut BTreeSet<(JobNumber, ItemId)>,
        references: &'a mut BTreeMap<(QueueId, Arc<str>), ItemId>,
        queue: QueueId,
    ) -> Self {
        Self { queue: queues.get_mut(&queue), held, references }
    }

    pub(super) fn insert(&mut self, id: ItemId, item: &StoredItem, now: Timestamp) {
        let state = &item.state;
        let Some(queue) = &mut self.queue else { return };
        match state.status {
            Status::New => match state.defer_date {
                Some(defer_date) if is_deferred(state, now) => {
                    queue.deferred.insert((defer_date, id));
                }
                _ => {
                    queue.ready.insert(SelectionKey::new(state.priority, state.due_date, id));
                }
            },
            Status::InProgress => {
                if let Some(Holder { job, .. }) = state.holder {
                    self.held.insert((job, id));
                }
            }
            _ => {}
        }
        if state.holds_reference
            && let Some(reference) = &item.reference
        {
            self.references.insert((item.queue, reference.clone()), id);
        }
    }

    pub(super) fn remove(&mut self, id: ItemId, item: &StoredItem) {
        let state = &item.state;
        let Some(queue) = &mut self.queue else { return };
        match state.status {
            Status::New => {
                let was_ready = queue.ready.remove(&SelectionKey::new(state.priority, state.due_date, id));
                if !was_ready && let Some(key) = queue.groups.turn_of(id) {
                    queue.ready.remove(&key);
                }
                if let Some(defer_date) = state.defer_date.filter(|_| !was_ready) {
                    queue.deferred.remove(&(defer_date, id));
                }
            }
            Status::InProgress => {
                if let Some(Holder { job, .. }) = state.holder {
                    self.held.remove(&(job, id));
                }
            }
            _ => {}
        }
        if state.holds_reference
            && let Some(reference) = &item.reference
        {
            self.references.remove(&(item.queue, reference.clone()));
        }
    }
}
