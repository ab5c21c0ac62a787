//! The statements on operations, and on their items.
//!
//! An operation is a document, which the model reads and writes as a whole, with the columns by which it is found: when its next step
//! is due, and until when it is kept. Both are microseconds, and the greatest number stands for never.

use jiff::Timestamp;

use super::super::operations::ListOperationItems;
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Dialect, Engine, Row, Values};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::ItemId;
use performer_core::model::operation::{ItemOperation, ItemResult, OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::model::status::Status;
use performer_core::orchestrator::{OrchestratorError, Result};

/// What became of an item, in the column `result`.
const DONE: i64 = 1;
const REFUSED: i64 = 2;

fn micros_or_never(at: Option<Timestamp>) -> i64 {
    at.map_or(i64::MAX, Timestamp::as_microsecond)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn document(operation: &ItemOperation) -> Result<String> {
    serde_json::to_string(operation).map_err(|error| OrchestratorError::invalid(error.to_string()))
}

fn read_operation(row: &dyn Row) -> Result<ItemOperation> {
    let read = serde_json::from_str(&row.text(1)?);
    let mut operation: ItemOperation = read.map_err(|error| UnreadableRow::error(error, "the store"))?;
    operation.id = OperationId(row.number(0)?);
    Ok(operation)
}

/// Inserts an operation. Returns its number.
pub(crate) fn insert<E: Engine>(engine: &mut E, operation: &ItemOperation) -> Result<OperationId> {
    let mut values = Values::default();
    let columns = columns::<E>(operation, &mut values)?;
    let sql = format!(
        "INSERT INTO operation (version, due, kept_until, document) VALUES ({}) RETURNING id",
        columns.join(", ")
    );
    Ok(OperationId(engine.read_number(&sql, &values)?.unwrap_or(0)))
}

/// Version, due, kept_until and document.
fn columns<D: Dialect>(operation: &ItemOperation, values: &mut Values) -> Result<[String; 4]> {
    let numbers =
        [number(operation.version), micros_or_never(operation.due), micros_or_never(operation.kept_until())];
    let [version, due, kept_until] = numbers.map(|value| values.bind::<D>(value));
    Ok([version, due, kept_until, values.bind_text::<D>(&document(operation)?)])
}

pub(crate) fn write<E: Engine>(engine: &mut E, operation: &ItemOperation) -> Result<()> {
    let mut values = Values::default();
    let [version, due, kept_until, document] = columns::<E>(operation, &mut values)?;
    let id = values.bind::<E>(operation.id.0);
    let sql = format!(
        "UPDATE operation SET version = {version}, due = {due}, kept_until = {kept_until}, document = {document} \
         WHERE id = {id}"
    );
    engine.execute(&sql, &values)
}

pub(crate) fn one<E: Engine>(
    engine: &mut E,
    id: OperationId,
    to_change: bool,
) -> Result<Option<ItemOperation>> {
    let mut values = Values::default();
    let id = values.bind::<E>(id.0);
    let lock = if to_change { E::FOR_UPDATE } else { "" };
    let sql = format!("SELECT id, document FROM operation WHERE id = {id}{lock}");
    Ok(engine.read(&sql, &values, read_operation)?.pop())
}

/// The newest first.
pub(crate) fn list<E: Engine>(
    engine: &mut E,
    before: Option<OperationId>,
    limit: usize,
) -> Result<Vec<ItemOperation>> {
    let mut values = Values::default();
    let before = values.bind::<E>(before.map_or(i64::MAX, |before| before.0));
    let sql =
        format!("SELECT id, document FROM operation WHERE id < {before} ORDER BY id DESC LIMIT {limit}");
    engine.read(&sql, &values, read_operation)
}

pub(crate) fn due<E: Engine>(engine: &mut E, now: Timestamp) -> Result<Vec<(OperationId, u64)>> {
    let mut values = Values::default();
    let now = values.bind::<E>(now.as_microsecond());
    let sql = format!("SELECT id, version FROM operation WHERE due <= {now} ORDER BY due, id");
    engine.read(&sql, &values, |row| Ok((OperationId(row.number(0)?), row.number(1)?.unsigned_abs())))
}

/// An operation that need not be kept any more.
pub(crate) fn superfluous<E: Engine>(engine: &mut E, now: Timestamp) -> Result<Option<OperationId>> {
    let mut values = Values::default();
    let now = values.bind::<E>(now.as_microsecond());
    let sql = format!("SELECT id FROM operation WHERE kept_until < {now} ORDER BY kept_until LIMIT 1");
    Ok(engine.read_number(&sql, &values)?.map(OperationId))
}

/// Removes about `limit` items of an operation, the last first, and the operation if it has no more. Returns whether it is gone.
pub(crate) fn remove<E: Engine>(engine: &mut E, id: OperationId, limit: usize) -> Result<bool> {
    let mut values = Values::default();
    let of = values.bind::<E>(id.0);
    let last = format!("SELECT max(place) + 1 FROM operation_item WHERE operation_id = {of}");
    let left = engine.read_number(&format!("SELECT coalesce(({last}), 0)"), &values)?.unwrap_or(0);
    let from = left - i64::try_from(limit).unwrap_or(i64::MAX).min(left);
    let mut values = Values::default();
    let (of, place) = (values.bind::<E>(id.0), values.bind::<E>(from));
    let sql = format!("DELETE FROM operation_item WHERE operation_id = {of} AND place >= {place}");
    engine.execute(&sql, &values)?;
    if from == 0 {
        let mut values = Values::default();
        let sql = format!("DELETE FROM operation WHERE id = {}", values.bind::<E>(id.0));
        engine.execute(&sql, &values)?;
    }
    Ok(from == 0)
}

pub(crate) fn items<E: Engine>(engine: &mut E, ask: &ListOperationItems) -> Result<Vec<OperationItem>> {
    let mut values = Values::default();
    let (of, from) = (values.bind::<E>(ask.operation.0), values.bind::<E>(number(ask.from)));
    let refused = if ask.refused_only { format!(" AND result = {REFUSED}") } else { String::new() };
    let sql = format!(
        "SELECT place, item_id, row_version, result, code, message, copy_id FROM operation_item \
         WHERE operation_id = {of} AND place >= {from}{refused} ORDER BY place LIMIT {}",
        ask.limit
    );
    engine.read(&sql, &values, |row| {
        let item = ItemVersion { id: ItemId(row.number(1)?), row_version: row.number(2)?.unsigned_abs() };
        let result = match row.number(3)? {
            DONE => ItemResult::Done { copy: Some(row.number(6)?).filter(|copy| *copy > 0).map(ItemId) },
            REFUSED => {
                let code = u16::try_from(row.number(4)?).unwrap_or_default();
                ItemResult::Refused(Refusal::new(ErrorCode::new(code), row.text(5)?))
            }
            _ => ItemResult::Pending,
        };
        Ok(OperationItem::new(row.number(0)?.unsigned_abs(), item, result))
    })
}

pub(crate) fn write_item<E: Engine>(engine: &mut E, id: OperationId, item: &OperationItem) -> Result<()> {
    let mut values = Values::default();
    let (of, place) = (values.bind::<E>(id.0), values.bind::<E>(number(item.place)));
    let set = match &item.result {
        ItemResult::Pending => return Ok(()),
        ItemResult::Done { copy } => {
            format!("result = {DONE}, copy_id = {}", values.bind::<E>(copy.map_or(0, |copy| copy.0)))
        }
        ItemResult::Refused(refusal) => format!(
            "result = {REFUSED}, code = {}, message = {}",
            values.bind::<E>(i64::from(refusal.code().number())),
            values.bind_text::<E>(&refusal.to_string())
        ),
    };
    let sql = format!("UPDATE operation_item SET {set} WHERE operation_id = {of} AND place = {place}");
    engine.execute(&sql, &values)
}

/// The copies that an operation made, in the order of their originals.
pub(crate) fn copies<E: Engine>(engine: &mut E, id: OperationId) -> Result<Vec<ItemId>> {
    let mut values = Values::default();
    let of = values.bind::<E>(id.0);
    let sql = format!(
        "SELECT copy_id FROM operation_item WHERE operation_id = {of} AND copy_id > 0 ORDER BY place"
    );
    engine.read(&sql, &values, |row| row.number(0).map(ItemId))
}

/// How many of the copies have each status. One that was never touched has no row in `item_state`, and one that was removed none at
/// all.
pub(crate) fn count_copies<E: Engine>(engine: &mut E, id: OperationId) -> Result<Vec<(Status, u64)>> {
    let mut values = Values::default();
    let of = values.bind::<E>(id.0);
    let sql = format!(
        "SELECT coalesce(item_state.status, 0) AS status, count(*) FROM operation_item {} item ON item.id = operation_item.copy_id \
         LEFT JOIN item_state ON item_state.item_id = item.id \
         WHERE operation_item.operation_id = {of} AND operation_item.copy_id > 0 GROUP BY 1 ORDER BY 1",
        E::THEN_JOIN
    );
    engine.read(&sql, &values, |row| {
        let status =
            Status::from_number(row.number(0)?).map_err(|error| UnreadableRow::error(error, "the store"))?;
        Ok((status, row.number(1)?.unsigned_abs()))
    })
}

/// The condition that an operation refused an item.
pub(super) fn refused_by<D: Dialect>(operation: i64, values: &mut Values) -> String {
    let of = values.bind::<D>(operation);
    format!(
        "item.id IN (SELECT refused.item_id FROM operation_item AS refused WHERE refused.operation_id = {of} \
         AND refused.result = {REFUSED})"
    )
}
