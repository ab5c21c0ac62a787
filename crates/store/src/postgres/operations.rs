//! The statements on operations that differ from those of the other database.

use jiff::Timestamp;

use super::super::operations::{ListOperationItems, OperationRows, Standing};
use super::super::rows::ItemRow;
use super::super::sql::operations;
use super::super::unreadable_rows::is_unreadable;
use super::Postgres;
use super::columns::{self, actor_columns, get, signed, state_columns, state_joins};
use performer_core::model::key::ItemId;
use performer_core::model::operation::{ItemOperation, OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

impl OperationRows for Postgres {
    fn insert_operation(&mut self, operation: &ItemOperation) -> Result<OperationId> {
        operations::insert(self, operation)
    }

    fn operation(&mut self, id: OperationId) -> Result<Option<ItemOperation>> {
        operations::one(self, id, false)
    }

    fn operation_to_change(&mut self, id: OperationId) -> Result<Option<ItemOperation>> {
        operations::one(self, id, true)
    }

    fn write_operation(&mut self, operation: &ItemOperation) -> Result<()> {
        operations::write(self, operation)
    }

    fn operations(&mut self, before: Option<OperationId>, limit: usize) -> Result<Vec<ItemOperation>> {
        operations::list(self, before, limit)
    }

    fn due_operations(&mut self, now: Timestamp) -> Result<Vec<(OperationId, u64)>> {
        operations::due(self, now)
    }

    fn superfluous_operation(&mut self, now: Timestamp) -> Result<Option<OperationId>> {
        operations::superfluous(self, now)
    }

    fn remove_operation(&mut self, id: OperationId, limit: usize) -> Result<bool> {
        operations::remove(self, id, limit)
    }

    fn insert_operation_items(&mut self, id: OperationId, from: u64, items: &[ItemVersion]) -> Result<()> {
        const SQL: &str = "INSERT INTO operation_item (operation_id, place, item_id, row_version) \
             SELECT $1, $2 + number - 1, item_id, row_version \
             FROM unnest($3::bigint[], $4::bigint[]) WITH ORDINALITY AS kept (item_id, row_version, number)";
        let ids: Vec<i64> = items.iter().map(|item| item.id.0).collect();
        let versions: Vec<i64> = items.iter().map(|item| signed(item.row_version)).collect();
        self.session.enqueue(SQL, &[&id.0, &signed(from), &ids, &versions])
    }

    fn operation_items(&mut self, ask: &ListOperationItems) -> Result<Vec<OperationItem>> {
        operations::items(self, ask)
    }

    fn write_operation_item(&mut self, id: OperationId, item: &OperationItem) -> Result<()> {
        operations::write_item(self, id, item)
    }

    fn operation_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>> {
        operations::copies(self, id)
    }

    fn count_copies(&mut self, id: OperationId) -> Result<Vec<(Status, u64)>> {
        operations::count_copies(self, id)
    }

    fn standings(&mut self, ids: &[ItemId]) -> Result<Vec<Standing>> {
        const SQL: &str = concat!(
            "SELECT ",
            state_columns!(),
            actor_columns!(),
            ", item_exception.reason_id FROM item",
            state_joins!(),
            " LEFT JOIN item_exception ON item_exception.item_id = item.id WHERE item.id = ANY ($1::bigint[])"
        );
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let mut found = Vec::with_capacity(ids.len());
        for row in self.session.query_once(SQL, &[&ids])? {
            let read = columns::state(&row).and_then(|(id, queue, state)| {
                let of_row = ItemRow { queue, state, actors: columns::actors(&row)? };
                Ok(Standing { id, row: of_row, reason: get(&row, row.len() - 1)? })
            });
            match read {
                Ok(standing) => found.push(standing),
                Err(error) if is_unreadable(&error) => {
                    self.session.skipped_items.report(ItemId(get(&row, 0)?), &error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
