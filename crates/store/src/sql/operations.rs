//! The statements on operations, and on their items.
//!
//! An operation is a document, which the model reads and writes as a whole, with the columns by which it is found: when its next step
//! is due, and until when it is kept. Both are microseconds, and the greatest number stands for never.

use jiff::Timestamp;

use super::super::operations::{ListOperationItems, ListedOperation, OperationRows};
use super::super::unreadable_rows::{UnreadableRow, is_unreadable};
use super::dialect::{Dialect, Engine, Row, Values};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::ItemId;
use performer_core::model::operation::{ItemOperation, ItemResult, OperationId, OperationItem};
use performer_core::model::review::ItemVersion;
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

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

/// Version, due, kept_until and document.
fn columns<D: Dialect>(operation: &ItemOperation, values: &mut Values) -> Result<[String; 4]> {
    let numbers =
        [number(operation.version), micros_or_never(operation.due), micros_or_never(operation.kept_until())];
    let [version, due, kept_until] = numbers.map(|value| values.bind::<D>(value));
    Ok([version, due, kept_until, values.bind_text::<D>(&document(operation)?)])
}

impl<E: Engine> OperationRows for E {
    fn insert_operation(&mut self, operation: &ItemOperation) -> Result<OperationId> {
        let mut values = Values::default();
        let columns = columns::<E>(operation, &mut values)?;
        let sql = format!(
            "INSERT INTO operation (version, due, kept_until, document) VALUES ({}) RETURNING id",
            columns.join(", ")
        );
        let missing = || OrchestratorError::new(ErrorKind::Other, "a new operation got no number");
        self.read_number(&sql, &values)?.map(OperationId).ok_or_else(missing)
    }

    fn operation(&mut self, id: OperationId) -> Result<Option<ItemOperation>> {
        one(self, id, "")
    }

    fn operation_to_change(&mut self, id: OperationId) -> Result<Option<ItemOperation>> {
        one(self, id, E::FOR_UPDATE)
    }

    fn write_operation(&mut self, operation: &ItemOperation) -> Result<()> {
        let mut values = Values::default();
        let [version, due, kept_until, document] = columns::<E>(operation, &mut values)?;
        let id = values.bind::<E>(operation.id.0);
        let sql = format!(
            "UPDATE operation SET version = {version}, due = {due}, kept_until = {kept_until}, document = {document} \
             WHERE id = {id}"
        );
        self.execute(&sql, &values)
    }

    fn lock_operations(&mut self) -> Result<()> {
        self.lock_until_end("operations")
    }

    fn operations(&mut self, before: Option<OperationId>, limit: usize) -> Result<Vec<ListedOperation>> {
        let mut values = Values::default();
        let before = values.bind::<E>(before.map_or(i64::MAX, |before| before.0));
        let sql =
            format!("SELECT id, document FROM operation WHERE id < {before} ORDER BY id DESC LIMIT {limit}");
        self.read(&sql, &values, |row| match read_operation(row) {
            Ok(operation) => Ok(ListedOperation::Read(Box::new(operation))),
            Err(error) if is_unreadable(&error) => {
                Ok(ListedOperation::Unreadable(OperationId(row.number(0)?)))
            }
            Err(failed) => Err(failed),
        })
    }

    fn due_operations(&mut self, now: Timestamp) -> Result<Vec<(OperationId, u64)>> {
        let mut values = Values::default();
        let now = values.bind::<E>(now.as_microsecond());
        let sql = format!("SELECT id, version FROM operation WHERE due <= {now} ORDER BY due, id");
        self.read(&sql, &values, |row| Ok((OperationId(row.number(0)?), row.number(1)?.unsigned_abs())))
    }

    fn superfluous_operation(&mut self, now: Timestamp) -> Result<Option<(OperationId, Timestamp)>> {
        let mut values = Values::default();
        let now = values.bind::<E>(now.as_microsecond());
        let sql = format!(
            "SELECT id, kept_until FROM operation WHERE kept_until < {now} ORDER BY kept_until LIMIT 1"
        );
        let found = self.read(&sql, &values, |row| {
            let until = Timestamp::from_microsecond(row.number(1)?);
            Ok((
                OperationId(row.number(0)?),
                until.map_err(|error| UnreadableRow::error(error, "the store"))?,
            ))
        })?;
        Ok(found.into_iter().next())
    }

    /// The last items first.
    fn remove_operation(&mut self, id: OperationId, limit: usize) -> Result<bool> {
        let mut values = Values::default();
        let of = values.bind::<E>(id.0);
        let last = format!("SELECT max(place) + 1 FROM operation_item WHERE operation_id = {of}");
        let left = self.read_number(&format!("SELECT coalesce(({last}), 0)"), &values)?.unwrap_or(0);
        let from = left - i64::try_from(limit).unwrap_or(i64::MAX).min(left);
        let mut values = Values::default();
        let (of, place) = (values.bind::<E>(id.0), values.bind::<E>(from));
        let sql = format!("DELETE FROM operation_item WHERE operation_id = {of} AND place >= {place}");
        self.execute(&sql, &values)?;
        if from == 0 {
            let mut values = Values::default();
            let sql = format!("DELETE FROM operation WHERE id = {}", values.bind::<E>(id.0));
            self.execute(&sql, &values)?;
        }
        Ok(from == 0)
    }

    fn operation_items(&mut self, ask: &ListOperationItems) -> Result<Vec<OperationItem>> {
        let mut values = Values::default();
        let (of, from) = (values.bind::<E>(ask.operation.0), values.bind::<E>(number(ask.from)));
        let refused = if ask.refused_only { format!(" AND result = {REFUSED}") } else { String::new() };
        let sql = format!(
            "SELECT place, item_id, row_version, result, code, message, copy_id FROM operation_item \
             WHERE operation_id = {of} AND place >= {from}{refused} ORDER BY place LIMIT {}",
            ask.limit
        );
        self.read(&sql, &values, read_item)
    }

    fn operation_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>> {
        let mut values = Values::default();
        let of = values.bind::<E>(id.0);
        let sql = format!(
            "SELECT copy_id FROM operation_item WHERE operation_id = {of} AND copy_id > 0 ORDER BY place"
        );
        self.read(&sql, &values, |row| row.number(0).map(ItemId))
    }

    /// A copy has the root of its chain.
    fn last_attempts_of_copies(&mut self, id: OperationId) -> Result<Vec<ItemId>> {
        let mut values = Values::default();
        let of = values.bind::<E>(id.0);
        let sql = format!(
            "SELECT coalesce((SELECT max(attempt.id) FROM item AS attempt WHERE attempt.root_id = item.root_id), copy_id) \
             FROM operation_item LEFT JOIN item ON item.id = copy_id \
             WHERE operation_id = {of} AND copy_id > 0 ORDER BY place"
        );
        self.read(&sql, &values, |row| row.number(0).map(ItemId))
    }

    /// One that was never touched has no row in `item_state`, and one that was removed none at all.
    fn count_copies(&mut self, id: OperationId) -> Result<Vec<(Status, u64)>> {
        let mut values = Values::default();
        let of = values.bind::<E>(id.0);
        let sql = format!(
            "SELECT coalesce(item_state.status, 0) AS status, count(*) FROM operation_item {} item ON item.id = operation_item.copy_id \
             LEFT JOIN item_state ON item_state.item_id = item.id \
             WHERE operation_item.operation_id = {of} AND operation_item.copy_id > 0 GROUP BY 1 ORDER BY 1",
            E::THEN_JOIN
        );
        self.read(&sql, &values, |row| {
            let status = Status::from_number(row.number(0)?)
                .map_err(|error| UnreadableRow::error(error, "the store"))?;
            Ok((status, row.number(1)?.unsigned_abs()))
        })
    }
}

/// `lock`: behind the query.
fn one<E: Engine>(engine: &mut E, id: OperationId, lock: &str) -> Result<Option<ItemOperation>> {
    let mut values = Values::default();
    let id = values.bind::<E>(id.0);
    let sql = format!("SELECT id, document FROM operation WHERE id = {id}{lock}");
    Ok(engine.read(&sql, &values, read_operation)?.pop())
}

fn read_item(row: &dyn Row) -> Result<OperationItem> {
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
}

/// What became of an item, as it is stored.
pub(crate) struct StoredResult {
    pub(crate) result: i64,
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) copy: i64,
}

impl StoredResult {
    pub(crate) fn of<D: Dialect>(result: &ItemResult) -> Self {
        let nothing = Self { result: 0, code: 0, message: String::new(), copy: 0 };
        match result {
            ItemResult::Pending => nothing,
            ItemResult::Done { copy } => {
                Self { result: DONE, copy: copy.map_or(0, |copy| copy.0), ..nothing }
            }
            ItemResult::Refused(refusal) => Self {
                result: REFUSED,
                code: refusal.code().number().into(),
                message: D::storable(&refusal.to_string()).into_owned(),
                ..nothing
            },
        }
    }
}

/// The condition that an operation refused an item.
pub(super) fn refused_by<D: Dialect>(operation: i64, values: &mut Values) -> String {
    let of = values.bind::<D>(operation);
    format!(
        "item.id IN (SELECT refused.item_id FROM operation_item AS refused WHERE refused.operation_id = {of} \
         AND refused.result = {REFUSED})"
    )
}
