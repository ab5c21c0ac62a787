//! A queue in memory: its definition, its waiting items and its counters.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::key::ItemId;
use crate::model::limits::Starts;
use crate::model::queue::QueueDefinition;
use crate::model::selection::SelectionKey;
use crate::model::statistics::QueueStatistics;

pub(super) struct StoredQueue {
    pub(super) definition: Arc<QueueDefinition>,
    pub(super) deleted: bool,
    pub(super) ready: BTreeSet<SelectionKey>,
    pub(super) deferred: BTreeSet<(Timestamp, ItemId)>,
    pub(super) statistics: QueueStatistics,
    pub(super) starts: Starts,
}
