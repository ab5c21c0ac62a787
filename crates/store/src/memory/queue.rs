//! A queue in memory: its definition, its waiting items and its counters.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::Memory;
use super::groups::Groups;
use super::item::StoredItem;
use performer_core::model::key::ItemId;
use performer_core::model::limits::Starts;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::selection::SelectionKey;
use performer_core::model::statistics::QueueStatistics;

pub(super) struct StoredQueue {
    pub(super) definition: Arc<QueueDefinition>,
    pub(super) deleted: bool,
    pub(super) ready: BTreeSet<SelectionKey>,
    pub(super) deferred: BTreeSet<(Timestamp, ItemId)>,
    pub(super) groups: Groups,
    pub(super) statistics: QueueStatistics,
    pub(super) starts: Starts,
}

impl StoredQueue {
    /// A queue without items.
    pub(super) fn new(definition: QueueDefinition) -> Self {
        Self {
            definition: Arc::new(definition),
            deleted: false,
            ready: BTreeSet::new(),
            deferred: BTreeSet::new(),
            groups: Groups::default(),
            statistics: QueueStatistics::default(),
            starts: Starts::default(),
        }
    }
}

impl Memory {
    /// Whether the queue of an item is not deleted.
    pub(super) fn is_visible(&self, item: &StoredItem) -> bool {
        self.queues.get(&item.queue).is_some_and(|queue| !queue.deleted)
    }
}
