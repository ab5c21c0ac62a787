//! The statements on many items at once, which differ from those of the other database.

use std::collections::HashMap;

use tokio_postgres::types::{ToSql, Type};

use super::super::operations::{BulkRows, Standing};
use super::super::rows::ItemRow;
use super::super::sql::operations::StoredResult;
use super::super::unreadable_rows::is_unreadable;
use super::Postgres;
use super::bulk_insert::COPY_THRESHOLD;
use super::columns::{self, get, ruled_columns, signed, state_columns};
use performer_core::model::key::ItemId;
use performer_core::model::operation::{OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::orchestrator::Result;

/// Of so many items it pays to tell the planner how they are read.
const MANY: usize = 1_000;

impl BulkRows for Postgres {
    fn insert_operation_items(&mut self, id: OperationId, from: u64, items: &[ItemVersion]) -> Result<()> {
        const SQL: &str = "INSERT INTO operation_item (operation_id, place, item_id, row_version) \
             SELECT $1, $2 + number - 1, item_id, row_version \
             FROM unnest($3::bigint[], $4::bigint[]) WITH ORDINALITY AS kept (item_id, row_version, number)";
        const COPY: &str =
            "COPY operation_item (operation_id, place, item_id, row_version) FROM STDIN BINARY";
        let ids: Vec<i64> = items.iter().map(|item| item.id.0).collect();
        let versions: Vec<i64> = items.iter().map(|item| signed(item.row_version)).collect();
        if items.len() < COPY_THRESHOLD || !self.session.copies() {
            return self.session.enqueue(SQL, &[&id.0, &signed(from), &ids, &versions]);
        }
        let places: Vec<i64> = (signed(from)..).take(items.len()).collect();
        let rows = places.iter().zip(&ids).zip(&versions);
        let rows = rows
            .map(|((place, item), version)| -> [&(dyn ToSql + Sync); 4] { [&id.0, place, item, version] });
        self.session.copy(COPY, &[Type::INT8, Type::INT8, Type::INT8, Type::INT8], rows)
    }

    fn write_operation_items(&mut self, id: OperationId, items: &[OperationItem]) -> Result<()> {
        const SQL: &str = "UPDATE operation_item SET result = written.result, code = written.code, message = written.message, \
             copy_id = written.copy_id FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[]) \
             AS written (place, result, code, message, copy_id) \
             WHERE operation_item.operation_id = $1 AND operation_item.place = written.place";
        let places: Vec<i64> = items.iter().map(|item| signed(item.place)).collect();
        let results: Vec<StoredResult> =
            items.iter().map(|item| StoredResult::of::<Self>(&item.result)).collect();
        let numbers = |number: fn(&StoredResult) -> i64| results.iter().map(number).collect::<Vec<i64>>();
        let messages: Vec<&str> = results.iter().map(|result| &*result.message).collect();
        let [all, codes, copies] =
            [numbers(|result| result.result), numbers(|result| result.code), numbers(|result| result.copy)];
        self.session.enqueue(SQL, &[&id.0, &places, &all, &codes, &messages, &copies])
    }

    /// Each table is looked up by the ids, whatever the planner thinks of so many: it would read the whole of a large one. It is asked for
    /// the columns that are needed, and not to remember what it found (from PostgreSQL 14 on): no id comes twice, and to remember the
    /// rows costs as much as to look three of them up.
    fn standings(&mut self, ids: &[ItemId]) -> Result<Vec<Standing>> {
        const FORGET: &str =
            "SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'enable_memoize'";
        const SQL: &str = concat!(
            "SELECT ",
            state_columns!(),
            ", item_exception.reason_id FROM unnest($1::bigint[]) AS wanted (id) \
             CROSS JOIN LATERAL (SELECT ",
            ruled_columns!(),
            ", item.root_id FROM item WHERE item.id = wanted.id OFFSET 0) AS item \
             LEFT JOIN LATERAL (SELECT status, review_status, outcome, superseded, start_processing, end_processing, \
             reviewer_user_id, holder, token, row_version FROM item_state WHERE item_state.item_id = item.id OFFSET 0) \
             AS item_state ON true \
             LEFT JOIN LATERAL (SELECT retry_number, manual_retry_number, seconds_in_previous_attempts FROM item_copy \
             WHERE item_copy.item_id = item.id AND item.root_id IS NOT NULL OFFSET 0) AS item_copy ON true \
             LEFT JOIN LATERAL (SELECT reason_id FROM item_exception WHERE item_exception.item_id = item.id OFFSET 0) \
             AS item_exception ON true"
        );
        if ids.len() >= MANY {
            self.session.query_once(FORGET, &[])?;
        }
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let mut found = Vec::with_capacity(ids.len());
        for row in self.session.query_once(SQL, &[&ids])? {
            let read = columns::state(&row).and_then(|(id, queue, state)| {
                Ok(Standing { id, queue, state, reason: get(&row, row.len() - 1)? })
            });
            match read {
                Ok(standing) => found.push(standing),
                Err(error) if is_unreadable(&error) => {
                    self.session.skipped_rows.report(ItemId(get(&row, 0)?), &error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn rows_to_change(&mut self, ids: &[ItemId]) -> Result<HashMap<ItemId, ItemRow>> {
        self.flush_bulk_insert()?;
        self.find_rows_to_change(ids)
    }
}
