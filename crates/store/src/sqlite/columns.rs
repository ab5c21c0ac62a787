//! The columns of an item, to and from values of the model.

use jiff::Timestamp;
use rusqlite::Row as SqlRow;
use rusqlite::types::Type;

use performer_core::model::content::{Analytics, Output, SpecificContent};
use performer_core::model::history::Actors;
use performer_core::model::item::{Priority, QueueItem};
use performer_core::model::key::{Holder, ItemId, ItemKey, JobKey, JobNumber, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::result::Outcome;
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::model::stored_time::StoredTime;

/// The columns of an item's state, in the order in which [`state`] reads them. A macro, so that statements are
/// concatenated at compile time.
macro_rules! state_columns {
    () => {
        "item.id, item.queue_id, item.priority, item.due_date, item.defer_date, item.creation_time, \
         item.holds_reference, status, review_status, outcome, superseded, start_processing, end_processing, \
         reviewer_user_id, holder, token, row_version, retry_number, manual_retry_number, \
         seconds_in_previous_attempts"
    };
}
pub(super) use state_columns;

/// The users who acted on the item: behind the columns of its state, as [`actors`] reads them.
macro_rules! actor_columns {
    () => {
        ", item.created_by, taken_by, ended_by"
    };
}
pub(super) use actor_columns;

/// All columns of an item, in the order in which [`item`] reads them.
macro_rules! item_columns {
    () => {
        concat!(
            $crate::sqlite::columns::state_columns!(),
            ", item.unique_key, chain_key, item.reference, item.risk_sla_date, ancestor_id, manual_ancestor_id, \
             coalesce(item.content, item_content.content), output, progress, robot, robot_id, executor, analytics, \
             operation_id, item.creator_job, item.parent_operation_id, item.group_name"
        )
    };
}
pub(super) use item_columns;

/// The columns of an item that waits and to which nothing has happened yet, in the order in which [`waiting_item`] reads
/// them. Such an item has rows in `item_ready` and `item` only, unless its content is large.
macro_rules! waiting_columns {
    () => {
        "item.id, item.queue_id, item.priority, item.due_date, item.defer_date, item.creation_time, \
         item.holds_reference, touched, item.root_id, item.content, item.unique_key, item.reference, \
         item.risk_sla_date, item.creator_job, item.parent_operation_id, item.group_name"
    };
}
pub(super) use waiting_columns;

/// Joins `item_state` and `item_copy`, which have rows only for some items. Looking up the id NULL finds nothing and
/// costs nothing, so an item that is no copy is not looked up among the copies. `$state`: the id to look up in
/// `item_state`.
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

/// As [`state_joins`], with large content.
macro_rules! item_joins {
    ($state:literal) => {
        concat!(
            $crate::sqlite::columns::state_joins!($state),
            " LEFT JOIN item_content ON item_content.item_id = iif(item.content IS NULL, item.id, NULL)"
        )
    };
}
pub(super) use item_joins;

const STATE_COLUMNS: usize = 20;

type SqlResult<T> = rusqlite::Result<T>;

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(super) fn time(row: &SqlRow<'_>, at: usize) -> SqlResult<Timestamp> {
    timestamp(at, row.get(at)?)
}

pub(super) fn time_or_none(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Timestamp>> {
    let value: Option<i64> = row.get(at)?;
    value.map(|micros| timestamp(at, micros)).transpose()
}

fn timestamp(at: usize, micros: i64) -> SqlResult<Timestamp> {
    let read = StoredTime::from_micros(micros).map(StoredTime::timestamp);
    read.ok_or(rusqlite::Error::IntegralValueOutOfRange(at, micros))
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
        <$type>::from_number($row.get($at)?)
            .map_err(|error| $crate::sqlite::columns::unreadable($at, Type::Integer, error))
    };
}
pub(super) use numbered;

pub(super) fn actors(row: &SqlRow<'_>) -> SqlResult<Actors> {
    let at = |column: usize| row.get(STATE_COLUMNS + column);
    Ok(Actors { created_by: at(0)?, taken_by: at(1)?, ended_by: at(2)? })
}

/// The state of an item to which nothing has happened yet.
fn untouched(row: &SqlRow<'_>) -> SqlResult<ItemState> {
    Ok(ItemState {
        holds_reference: row.get(6)?,
        due_date: time_or_none(row, 3)?,
        defer_date: time_or_none(row, 4)?,
        ..ItemState::untouched(numbered!(row, 2, Priority)?, time(row, 5)?)
    })
}

pub(super) fn state(row: &SqlRow<'_>) -> SqlResult<(ItemId, QueueId, ItemState)> {
    let mut state = untouched(row)?;
    if is_there(row, STATUS)? {
        read_changed_columns(row, &mut state)?;
    }
    if is_there(row, RETRY_NUMBER)? {
        state.retry_number = row.get(RETRY_NUMBER)?;
        state.manual_retry_number = row.get(18)?;
        state.seconds_in_previous_attempts = row.get(19)?;
    }
    Ok((ItemId(row.get(0)?), QueueId(row.get(1)?), state))
}

/// NULL if the item has no row in `item_state`, or in `item_copy`.
const STATUS: usize = 7;
const RETRY_NUMBER: usize = 17;

fn is_there(row: &SqlRow<'_>, at: usize) -> SqlResult<bool> {
    Ok(!matches!(row.get_ref(at)?, rusqlite::types::ValueRef::Null))
}

fn read_changed_columns(row: &SqlRow<'_>, state: &mut ItemState) -> SqlResult<()> {
    let outcome: Option<i64> = row.get(9)?;
    let holder: Option<i64> = row.get(14)?;
    state.status = numbered!(row, STATUS, Status)?;
    state.review_status = numbered!(row, 8, ReviewStatus)?;
    state.outcome =
        outcome.map(Outcome::from_number).transpose().map_err(|error| unreadable(9, Type::Integer, error))?;
    state.start_processing = time_or_none(row, 11)?;
    if outcome.is_some() {
        // Until there is an outcome these two only reserve room for the columns that a result writes.
        state.superseded = row.get::<_, i64>(10)? == 1;
        state.end_processing = time_or_none(row, 12)?;
    }
    state.reviewer_user_id = row.get(13)?;
    state.token = row.get(15)?;
    state.holder = holder.map(|job| Holder { job: JobNumber(job), token: state.token });
    state.row_version = row.get(16)?;
    Ok(())
}

/// The item's public form, without its exception and its job, which are in other tables.
pub(super) fn item(row: &SqlRow<'_>) -> SqlResult<(ItemState, Box<QueueItem>)> {
    let (id, queue_id, state) = state(row)?;
    let at = |column: usize| STATE_COLUMNS + column;
    let unique_key = ItemKey::from_bytes(row.get(at(0))?);
    let chain_key: Option<[u8; 16]> = row.get(at(1))?;
    let copied = chain_key.is_some();
    let ancestor = |column| -> SqlResult<Option<ItemId>> {
        if copied { Ok(row.get::<_, Option<i64>>(at(column))?.map(ItemId)) } else { Ok(None) }
    };
    let content = text(row, at(6))?;
    let touched = is_there(row, STATUS)?;
    let output = if touched { text(row, at(7))? } else { None };
    let held = |column| -> SqlResult<Option<[u8; 16]>> {
        if state.holder.is_some() { row.get(column) } else { Ok(None) }
    };
    let mut item = QueueItem::of_state(id, unique_key, queue_id, &state);
    item.key = chain_key.map_or(unique_key, ItemKey::from_bytes);
    item.reference = row.get(at(2))?;
    item.specific_content = content.map_or_else(SpecificContent::empty, SpecificContent::from_stored);
    item.output = output.map(Output::from_stored);
    item.risk_sla_date = time_or_none(row, at(3))?;
    item.ancestor_id = ancestor(4)?;
    item.manual_ancestor_id = ancestor(5)?;
    item.progress = if touched { row.get(at(8))? } else { None };
    item.executor_job = held(at(11))?.map(JobKey::from_bytes);
    item.robot = if state.holder.is_some() { row.get(at(9))? } else { None };
    item.robot_id = if state.holder.is_some() { row.get(at(10))? } else { None };
    item.creator_job = row.get::<_, Option<[u8; 16]>>(at(14))?.map(JobKey::from_bytes);
    item.analytics = if touched { text(row, at(12))?.map(Analytics::from_stored) } else { None };
    item.operation_id = if touched { row.get(at(13))? } else { None };
    item.parent_operation_id = row.get(at(15))?;
    item.group = row.get(at(16))?;
    Ok((state, Box::new(item)))
}

/// An item that waits, from the `waiting_columns`. `None`: it was claimed before, is a copy or has large content, and
/// has rows in other tables too.
pub(super) fn waiting_item(row: &SqlRow<'_>) -> SqlResult<Option<(ItemState, Box<QueueItem>)>> {
    if row.get(7)? || is_there(row, 8)? {
        return Ok(None);
    }
    let Some(content) = text(row, 9)? else { return Ok(None) };
    let state = untouched(row)?;
    let (id, queue_id) = (ItemId(row.get(0)?), QueueId(row.get(1)?));
    let unique_key = ItemKey::from_bytes(row.get(10)?);
    let mut item = Box::new(QueueItem::of_state(id, unique_key, queue_id, &state));
    item.specific_content = SpecificContent::from_stored(content);
    item.reference = row.get(11)?;
    item.risk_sla_date = time_or_none(row, 12)?;
    item.creator_job = row.get::<_, Option<[u8; 16]>>(13)?.map(JobKey::from_bytes);
    item.parent_operation_id = row.get(14)?;
    item.group = row.get(15)?;
    Ok(Some((state, item)))
}

/// Borrowed text, so that it is copied only once.
fn text<'r>(row: &'r SqlRow<'_>, at: usize) -> SqlResult<Option<&'r str>> {
    row.get_ref(at)?.as_str_or_null().map_err(|error| unreadable(at, Type::Text, error))
}
