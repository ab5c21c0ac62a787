//! Operations in memory.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use jiff::Timestamp;

use super::super::operations::{BulkRows, ListOperationItems, ListedOperation, OperationRows, Standing};
use super::super::rows::Rows;
use super::Memory;
use performer_core::model::key::ItemId;
use performer_core::model::operation::{ItemOperation, ItemResult, OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// All operations, and their items.
#[derive(Default)]
pub(super) struct StoredOperations {
    all: BTreeMap<OperationId, ItemOperation>,
    items: BTreeMap<(OperationId, u64), OperationItem>,
    last: i64,
}

impl StoredOperations {
    fn items_of(&self, id: OperationId, from: u64) -> impl Iterator<Item = &OperationItem> {
        let range = (Bound::Included((id, from)), Bound::Included((id, u64::MAX)));
        self.items.range(range).map(|(_, item)| item)
    }

    /// The items that an operation refused.
    pub(super) fn refused_by(&self, operation: i64) -> HashSet<ItemId> {
        let refused = |item: &&OperationItem| matches!(item.result, ItemResult::Refused(_));
        self.items_of(OperationId(operation), 0).filter(refused).map(|item| item.item.id).collect()
    }
}

impl OperationRows for Memory {
    fn insert_operation(&mut self, operation: &ItemOperation) -> Result<OperationId> {
        self.operations.last += 1;
        let id = OperationId(self.operations.last);
        let mut operation = operation.clone();
        operation.id = id;
        self.operations.all.insert(id, operation);
        Ok(id)
    }

    fn operation(&mut self, id: OperationId) -> Result<Option<ItemOperation>> {
        Ok(self.operations.all.get(&id).cloned())
    }

    fn operation_to_change(&mut self, id: OperationId) -> Result<Option<ItemOperation>> {
        self.operation(id)
    }

    fn write_operation(&mut self, operation: &ItemOperation) -> Result<()> {
        self.operations.all.insert(operation.id, operation.clone());
        Ok(())
    }

    fn operations(&mut self, before: Option<OperationId>, limit: usize) -> Result<Vec<ListedOperation>> {
        let before = before.map_or(Bound::Unbounded, Bound::Excluded);
        let earlier = self.operations.all.range((Bound::Unbounded, before)).rev();
        let listed = earlier.map(|(_, operation)| ListedOperation::Read(Box::new(operation.clone())));
        Ok(listed.take(limit).collect())
    }

    fn due_operations(&mut self, now: Timestamp) -> Result<Vec<(OperationId, u64)>> {
        let is_due = |operation: &&ItemOperation| operation.due.is_some_and(|due| due <= now);
        Ok(self.operations.all.values().filter(is_due).map(|found| (found.id, found.version)).collect())
    }

    fn superfluous_operation(&mut self, now: Timestamp) -> Result<Option<(OperationId, Timestamp)>> {
        let kept = self.operations.all.values().filter_map(|known| Some((known.id, known.kept_until()?)));
        let mut over = kept.filter(|(_, until)| *until < now);
        Ok(over.next())
    }

    fn remove_operation(&mut self, id: OperationId, limit: usize) -> Result<bool> {
        let places: Vec<u64> = self.operations.items_of(id, 0).take(limit).map(|item| item.place).collect();
        for place in places {
            self.operations.items.remove(&(id, place));
        }
        let is_gone = self.operations.items_of(id, 0).next().is_none();
        if is_gone {
            self.operations.all.remove(&id);
        }
        Ok(is_gone)
    }

    fn operation_items(&mut self, ask: &ListOperationItems) -> Result<Vec<OperationItem>> {
        let is_wanted =
            |item: &&OperationItem| !ask.refused_only || matches!(item.result, ItemResult::Refused(_));
        let items = self.operations.items_of(ask.operation, ask.from).filter(is_wanted);
        Ok(items.take(ask.limit).cloned().collect())
    }

    fn operation_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>> {
        let copy = |item: &OperationItem| match item.result {
            ItemResult::Done { copy } => copy,
            _ => None,
        };
        Ok(self.operations.items_of(id, 0).filter_map(copy).collect())
    }

    fn last_attempts_of_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>> {
        let mut last = Vec::new();
        for copy in self.operation_copies(id)? {
            last.push(self.chain(copy)?.last().copied().unwrap_or(copy));
        }
        Ok(last)
    }

    fn count_copies(&mut self, id: OperationId) -> Result<Vec<(Status, u64)>> {
        let mut counts = BTreeMap::new();
        for copy in self.operation_copies(id)? {
            if let Some(item) = self.items.get(&copy) {
                let status = item.state.status;
                let (_, count) = counts.entry(status.number()).or_insert((status, 0));
                *count += 1;
            }
        }
        Ok(counts.into_values().collect())
    }
}

impl BulkRows for Memory {
    fn insert_operation_items(&mut self, id: OperationId, from: u64, items: &[ItemVersion]) -> Result<()> {
        let kept = (from..)
            .zip(items)
            .map(|(place, item)| ((id, place), OperationItem::new(place, *item, ItemResult::Pending)));
        self.operations.items.extend(kept);
        Ok(())
    }

    fn write_operation_items(&mut self, id: OperationId, items: &[OperationItem]) -> Result<()> {
        self.operations.items.extend(items.iter().map(|item| ((id, item.place), item.clone())));
        Ok(())
    }

    fn standings(&mut self, ids: &[ItemId]) -> Result<Vec<Standing>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let reason = self.items.get(id).and_then(|item| item.reason);
            let row = self.row(*id)?;
            found.extend(row.map(|row| Standing { id: *id, queue: row.queue, state: row.state, reason }));
        }
        Ok(found)
    }
}
