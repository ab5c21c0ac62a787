//! An item's rows: from columns to values of the model, and back.

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
        "item.id, item.queue_id, item.priority, item.due_date, item.defer_date, item.creation_time, \
         item.holds_reference, status, review_status, outcome, superseded, start_processing, end_processing, \
         reviewer_user_id, holder, token, row_version, retry_number, manual_retry_number, \
         seconds_in_previous_attempts"
    };
}
pub(super) use state_columns;

/// All columns of an item, in the order in which [`item`] reads them.
macro_rules! item_columns {
    () => {
        concat!(
            $crate::orchestrator::local::sqlite::columns::state_columns!(),
            ", item.unique_key, chain_key, item.reference, item.risk_sla_date, ancestor_id, manual_ancestor_id, \
             coalesce(item.content, item_content.content), output, progress, robot"
        )
    };
}
pub(super) use item_columns;

/// What belongs to the rows of `item`, where it is there. A look for the id NULL finds nothing and costs nothing: so
/// an item that is no copy is not looked for among the copies. `$state` is the id to look for in `item_state`.
macro_rules! state_joins {
    ($state:literal) => {
        concat!(
            " LEFT JOIN item_state ON item_state.item_id = ",
            $state,
            " LEFT JOIN item_copy ON item_copy.item_id = iif(item.root_id IS NULL, NULL, item.id)"
        )
    };
}
pub(super) use state_joins;

/// The same, with large content.
macro_rules! item_joins {
    ($state:literal) => {
        concat!(
            $crate::orchestrator::local::sqlite::columns::state_joins!($state),
            " LEFT JOIN item_content ON item_content.item_id = iif(item.content IS NULL, item.id, NULL)"
        )
    };
}
pub(super) use item_joins;

const STATE_COLUMNS: usize = 20;

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

/// An enumeration of which an item without a row in `item_state` has none.
macro_rules! numbered_or_none {
    ($row:expr, $at:expr, $type:ty) => {{
        let number: Option<i64> = $row.get($at)?;
        number.map(<$type>::from_number).transpose().map_err(|error| unreadable($at, Type::Integer, error))
    }};
}

pub(super) fn state(row: &SqlRow<'_>) -> Sql<(ItemId, QueueId, ItemState)> {
    let token = row.get::<_, Option<u64>>(15)?.unwrap_or(0);
    let holder: Option<i64> = row.get(14)?;
    let state = ItemState {
        status: numbered_or_none!(row, 7, Status)?.unwrap_or(Status::New),
        review_status: numbered_or_none!(row, 8, ReviewStatus)?.unwrap_or(ReviewStatus::None),
        outcome: numbered_or_none!(row, 9, Outcome)?,
        superseded: row.get::<_, Option<bool>>(10)?.unwrap_or(false),
        holds_reference: row.get(6)?,
        retry_number: row.get::<_, Option<u32>>(17)?.unwrap_or(0),
        manual_retry_number: row.get::<_, Option<u32>>(18)?.unwrap_or(0),
        priority: numbered!(row, 2, Priority)?,
        due_date: time_or_none(row, 3)?,
        defer_date: time_or_none(row, 4)?,
        creation_time: time(row, 5)?,
        start_processing: time_or_none(row, 11)?,
        end_processing: time_or_none(row, 12)?,
        seconds_in_previous_attempts: row.get::<_, Option<u32>>(19)?.unwrap_or(0),
        reviewer_user_id: row.get(13)?,
        holder: holder.map(|job| Holder { job: JobNumber(job), token }),
        token,
        row_version: row.get::<_, Option<u64>>(16)?.unwrap_or(1),
    };
    Ok((ItemId(row.get(0)?), QueueId(row.get(1)?), state))
}

/// The item as people see it, but for its exception and its job: these stand elsewhere.
pub(super) fn item(row: &SqlRow<'_>) -> Sql<(ItemState, Box<QueueItem>)> {
    let (id, queue_id, state) = state(row)?;
    let at = |column: usize| STATE_COLUMNS + column;
    let unique_key = ItemKey::from_bytes(row.get(at(0))?);
    let chain_key: Option<[u8; 16]> = row.get(at(1))?;
    let id_or_none = |column| row.get::<_, Option<i64>>(at(column)).map(|id| id.map(ItemId));
    let content = text(row, at(6))?;
    let output = text(row, at(7))?;
    let item = QueueItem {
        id,
        unique_key,
        key: chain_key.map_or(unique_key, ItemKey::from_bytes),
        queue_id,
        status: state.status,
        review_status: state.review_status,
        reviewer_user_id: state.reviewer_user_id,
        priority: state.priority,
        reference: row.get(at(2))?,
        specific_content: content.map_or_else(SpecificContent::empty, SpecificContent::from_stored),
        output: output.map(Output::from_stored),
        processing_exception: None,
        outcome: state.outcome,
        due_date: state.due_date,
        defer_date: state.defer_date,
        risk_sla_date: time_or_none(row, at(3))?,
        creation_time: state.creation_time,
        start_processing: state.start_processing,
        end_processing: state.end_processing,
        seconds_in_previous_attempts: state.seconds_in_previous_attempts,
        retry_number: state.retry_number,
        ancestor_id: id_or_none(4)?,
        manual_retry_number: state.manual_retry_number,
        manual_ancestor_id: id_or_none(5)?,
        is_superseded: state.superseded,
        progress: row.get(at(8))?,
        executor_job: None,
        robot: if state.holder.is_some() { row.get(at(9))? } else { None },
        row_version: state.row_version,
    };
    Ok((state, Box::new(item)))
}

/// A text where it stands: it is copied once, into its place.
fn text<'r>(row: &'r SqlRow<'_>, at: usize) -> Sql<Option<&'r str>> {
    row.get_ref(at)?.as_str_or_null().map_err(|error| unreadable(at, Type::Text, error))
}
