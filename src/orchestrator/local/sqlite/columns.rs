//! An item's row: from columns to values of the model, and back.

use jiff::Timestamp;
use rusqlite::Row as SqlRow;
use rusqlite::types::Type;

use crate::model::content::{Output, SpecificContent};
use crate::model::item::{Priority, QueueItem};
use crate::model::key::{Holder, ItemId, ItemKey, JobNumber, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::result::Outcome;
use crate::model::status::{ReviewStatus, Status};

/// The columns of an item's state, in the order in which [`state`] reads them. A macro, so that statements are
/// put together when the crate is compiled.
macro_rules! state_columns {
    () => {
        "queue_id, status, review_status, outcome, superseded, holds_reference, retry_number, manual_retry_number, \
         priority, due_date, defer_date, creation_time, start_processing, end_processing, \
         seconds_in_previous_attempts, reviewer_user_id, holder, token, row_version"
    };
}
pub(super) use state_columns;

/// All columns of an item, in the order in which [`item`] reads them.
macro_rules! item_columns {
    () => {
        concat!(
            $crate::orchestrator::local::sqlite::columns::state_columns!(),
            ", id, unique_key, chain_key, reference, risk_sla_date, ancestor_id, manual_ancestor_id, \
             content, output, progress, robot"
        )
    };
}
pub(super) use item_columns;

const STATE_COLUMNS: usize = 19;

type Sql<T> = rusqlite::Result<T>;

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(super) fn time(row: &SqlRow<'_>, at: usize) -> Sql<Timestamp> {
    timestamp(at, row.get(at)?)
}

pub(super) fn time_or_none(row: &SqlRow<'_>, at: usize) -> Sql<Option<Timestamp>> {
    let value: Option<i64> = row.get(at)?;
    value.map(|micros| timestamp(at, micros)).transpose()
}

fn timestamp(at: usize, micros: i64) -> Sql<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| unreadable(at, Type::Integer, error))
}

pub(super) fn unreadable(
    at: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error))
}

/// An enumeration, from its number.
macro_rules! numbered {
    ($row:expr, $at:expr, $type:ty) => {
        <$type>::from_number($row.get($at)?).map_err(|error| {
            $crate::orchestrator::local::sqlite::columns::unreadable($at, Type::Integer, error)
        })
    };
}
pub(super) use numbered;

pub(super) fn state(row: &SqlRow<'_>) -> Sql<(QueueId, ItemState)> {
    let outcome: Option<i64> = row.get(3)?;
    let outcome = outcome.map(Outcome::from_number).transpose();
    let token = row.get(17)?;
    let holder: Option<i64> = row.get(16)?;
    let state = ItemState {
        status: numbered!(row, 1, Status)?,
        review_status: numbered!(row, 2, ReviewStatus)?,
        outcome: outcome.map_err(|error| unreadable(3, Type::Integer, error))?,
        superseded: row.get(4)?,
        holds_reference: row.get(5)?,
        retry_number: row.get(6)?,
        manual_retry_number: row.get(7)?,
        priority: numbered!(row, 8, Priority)?,
        due_date: time_or_none(row, 9)?,
        defer_date: time_or_none(row, 10)?,
        creation_time: time(row, 11)?,
        start_processing: time_or_none(row, 12)?,
        end_processing: time_or_none(row, 13)?,
        seconds_in_previous_attempts: row.get(14)?,
        reviewer_user_id: row.get(15)?,
        holder: holder.map(|job| Holder { job: JobNumber(job), token }),
        token,
        row_version: row.get(18)?,
    };
    Ok((QueueId(row.get(0)?), state))
}

/// The item as people see it, but for its exception, its job and large content: these stand elsewhere.
pub(super) fn item(row: &SqlRow<'_>) -> Sql<(ItemState, Box<QueueItem>)> {
    let (queue_id, state) = state(row)?;
    let at = |column: usize| STATE_COLUMNS + column;
    let unique_key = ItemKey::from_bytes(row.get(at(1))?);
    let chain_key: Option<[u8; 16]> = row.get(at(2))?;
    let id_or_none = |column| row.get::<_, Option<i64>>(at(column)).map(|id| id.map(ItemId));
    let content = text(row, at(7))?;
    let output = text(row, at(8))?;
    let item = QueueItem {
        id: ItemId(row.get(at(0))?),
        unique_key,
        key: chain_key.map_or(unique_key, ItemKey::from_bytes),
        queue_id,
        status: state.status,
        review_status: state.review_status,
        reviewer_user_id: state.reviewer_user_id,
        priority: state.priority,
        reference: row.get(at(3))?,
        specific_content: content.map_or_else(SpecificContent::empty, SpecificContent::from_stored),
        output: output.map(Output::from_stored),
        processing_exception: None,
        outcome: state.outcome,
        due_date: state.due_date,
        defer_date: state.defer_date,
        risk_sla_date: time_or_none(row, at(4))?,
        creation_time: state.creation_time,
        start_processing: state.start_processing,
        end_processing: state.end_processing,
        seconds_in_previous_attempts: state.seconds_in_previous_attempts,
        retry_number: state.retry_number,
        ancestor_id: id_or_none(5)?,
        manual_retry_number: state.manual_retry_number,
        manual_ancestor_id: id_or_none(6)?,
        is_superseded: state.superseded,
        progress: row.get(at(9))?,
        executor_job: None,
        robot: if state.holder.is_some() { row.get(at(10))? } else { None },
        row_version: state.row_version,
    };
    Ok((state, Box::new(item)))
}

/// A text where it stands: it is copied once, into its place.
fn text<'r>(row: &'r SqlRow<'_>, at: usize) -> Sql<Option<&'r str>> {
    row.get_ref(at)?.as_str_or_null().map_err(|error| unreadable(at, Type::Text, error))
}

/// Whether the content of the row stands in its own table.
pub(super) fn content_is_elsewhere(row: &SqlRow<'_>) -> Sql<bool> {
    Ok(matches!(row.get_ref(STATE_COLUMNS + 7)?, rusqlite::types::ValueRef::Null))
}
