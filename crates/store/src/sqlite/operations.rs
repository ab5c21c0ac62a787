//! The statements on operations that differ from those of the other database.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::super::operations::{ListOperationItems, OperationRows, Standing};
use super::super::rows::ItemRow;
use super::super::sql::operations;
use super::super::unreadable_rows::is_unreadable;
use super::columns::{self, actor_columns, state_columns, state_joins};
use super::{Sqlite, prepared};
use performer_core::model::key::ItemId;
use performer_core::model::operation::{ItemOperation, OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

impl OperationRows for Sqlite {
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
        const SQL: &str =
            "INSERT INTO operation_item (operation_id, place, item_id, row_version) VALUES (?1, ?2, ?3, ?4)";
        self.run(|c| {
            let mut insert = prepared(c, SQL)?;
            for (place, item) in (from..).zip(items) {
                insert.execute(params![id.0, place, item.id.0, item.row_version])?;
            }
            Ok(())
        })
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
            state_joins!("item.id"),
            " LEFT JOIN item_exception ON item_exception.item_id = item.id WHERE item.id = ?1"
        );
        let read = |row: &SqlRow<'_>| {
            let (id, queue, state) = columns::state(row)?;
            let row_of = ItemRow { queue, state, actors: columns::actors(row)? };
            Ok(Standing { id, row: row_of, reason: row.get("reason_id")? })
        };
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            match self.run(|c| prepared(c, SQL)?.query_row([id.0], read).optional()) {
                Ok(standing) => found.extend(standing),
                Err(error) if is_unreadable(&error) => self.skipped_items.report(*id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
