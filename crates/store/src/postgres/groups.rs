//! Groups of items, which this back end does not have: it refuses items with a group, and rules about groups.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::groups::{GroupChanges, GroupRows};
use super::Postgres;
use performer_core::model::groups::GroupRules;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::orchestrator::Result;

impl GroupRows for Postgres {
    const HAS_GROUPS: bool = false;

    fn settle_groups(
        &mut self,
        _queue: QueueId,
        _rules: GroupRules,
        _changes: GroupChanges,
        _now: Timestamp,
    ) -> Result<bool> {
        Ok(false)
    }

    fn due_items(&mut self, _queue: QueueId, _now: Timestamp) -> Result<BTreeMap<ItemId, ItemState>> {
        Ok(BTreeMap::new())
    }

    fn change_group_rules(
        &mut self,
        _queue: QueueId,
        _rules: Option<GroupRules>,
        _now: Timestamp,
    ) -> Result<()> {
        Ok(())
    }

    fn has_items_behind(&mut self, _queue: QueueId) -> Result<bool> {
        Ok(false)
    }

    fn in_progress_of(&mut self, _queue: QueueId, _group: &str) -> Result<usize> {
        Ok(0)
    }
}
