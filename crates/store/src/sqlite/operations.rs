//! The statements on many items at once, which differ from those of the other database.

use rusqlite::{Row as SqlRow, params};

use super::super::operations::{BulkRows, Standing};
use super::super::sql::dialect::Bound;
use super::super::sql::operations::StoredResult;
use super::super::unreadable_rows::is_unreadable;
use super::columns::{self, state_columns, state_joins};
use super::{Sqlite, prepared};
use performer_core::model::key::ItemId;
use performer_core::model::operation::{OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::orchestrator::Result;

impl BulkRows for Sqlite {
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

    fn write_operation_items(&mut self, id: OperationId, items: &[OperationItem]) -> Result<()> {
        const SQL: &str = "UPDATE operation_item SET result = ?3, code = ?4, message = ?5, copy_id = ?6 \
                           WHERE operation_id = ?1 AND place = ?2";
        self.run(|c| {
            let mut update = prepared(c, SQL)?;
            for item in items {
                let StoredResult { result, code, message, copy } = StoredResult::of::<Self>(&item.result);
                update.execute(params![id.0, item.place, result, code, message, copy])?;
            }
            Ok(())
        })
    }

    fn standings(&mut self, ids: &[ItemId]) -> Result<Vec<Standing>> {
        const SQL: &str = concat!(
            "SELECT ",
            state_columns!(),
            ", item_exception.reason_id FROM json_each(?1) AS wanted CROSS JOIN item ON item.id = wanted.value",
            state_joins!("item.id"),
            " LEFT JOIN item_exception ON item_exception.item_id = item.id"
        );
        let read = |row: &SqlRow<'_>| {
            let (id, queue, state) = columns::state(row)?;
            Ok(Standing { id, queue, state, reason: row.get("reason_id")? })
        };
        let wanted = Bound::from(ids.iter().map(|id| id.0).collect::<Vec<i64>>());
        let rows = self.run(|c| {
            let mut statement = prepared(c, SQL)?;
            let mut rows = statement.query([&wanted])?;
            let mut found = Vec::with_capacity(ids.len());
            while let Some(row) = rows.next()? {
                found.push((ItemId(row.get(0)?), read(row)));
            }
            Ok(found)
        })?;
        let mut found = Vec::with_capacity(rows.len());
        for (id, read) in rows {
            match self.run(|_| read) {
                Ok(standing) => found.push(standing),
                Err(error) if is_unreadable(&error) => self.skipped_rows.report(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
