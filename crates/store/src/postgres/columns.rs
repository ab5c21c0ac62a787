//! The columns of an item, to and from values of the model.

use std::borrow::Cow;
use std::error::Error;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

pub(super) use super::error::unreadable;
use performer_core::model::content::{Analytics, Output, SpecificContent};
use performer_core::model::history::Actors;
use performer_core::model::item::{Priority, QueueItem};
use performer_core::model::key::{Holder, ItemId, ItemKey, JobKey, JobNumber, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::result::Outcome;
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::orchestrator::Result;

/// The columns of an item's state, in the order in which [`state`] reads them. A macro, so that statements are
/// concatenated at compile time.
macro_rules! state_columns {
    () => {
        concat!(
            $crate::postgres::columns::ruled_columns!(),
            ", ",
            $crate::postgres::columns::happened_columns!()
        )
    };
}
pub(super) use state_columns;

/// Those in the table `item`.
macro_rules! ruled_columns {
    () => {
        "item.id, item.queue_id, item.priority, item.due_date, item.defer_date, item.creation_time, \
         item.holds_reference"
    };
}
pub(super) use ruled_columns;

/// Those in the other tables.
macro_rules! happened_columns {
    () => {
        "item_state.status, item_state.review_status, outcome, superseded, start_processing, end_processing, \
         reviewer_user_id, holder, token, row_version, retry_number, manual_retry_number, seconds_in_previous_attempts"
    };
}
pub(super) use happened_columns;

/// The users who acted on the item: behind the columns of its state, as [`actors`] reads them.
macro_rules! actor_columns {
    () => {
        ", item.created_by, taken_by, ended_by"
    };
}
pub(super) use actor_columns;

/// All columns of an item that was never touched, in the order in which [`new_item`] reads them.
macro_rules! new_item_columns {
    () => {
        concat!(
            $crate::postgres::columns::ruled_columns!(),
            ", item.unique_key, item.reference, item.risk_sla_date, item.content, item.creator_job, \
             item.parent_operation_id, item.group_name"
        )
    };
}
pub(super) use new_item_columns;

/// All columns of an item, in the order in which [`item`] reads them.
macro_rules! item_columns {
    () => {
        concat!(
            $crate::postgres::columns::new_item_columns!(),
            ", ",
            $crate::postgres::columns::happened_columns!(),
            ", chain_key, ancestor_id, manual_ancestor_id, output, progress, robot, robot_id, executor, analytics, \
             operation_id"
        )
    };
}
pub(super) use item_columns;

/// Joins `item_state` and `item_copy`, which have rows only for some items. Only copies are looked up in `item_copy`.
macro_rules! state_joins {
    () => {
        " LEFT JOIN item_state ON item_state.item_id = item.id \
         LEFT JOIN item_copy ON item_copy.item_id = item.id AND item.root_id IS NOT NULL"
    };
}
pub(super) use state_joins;

/// How many columns each of these has.
const RULED: usize = 7;
const OF_NEW_ITEM: usize = 14;
const HAPPENED: usize = 13;

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(unreadable)
}

/// An enumeration, from its number.
macro_rules! numbered {
    ($row:expr, $at:expr, $type:ty) => {
        $crate::postgres::columns::get::<i16>($row, $at).and_then(|number| {
            <$type>::from_number(number.into()).map_err($crate::postgres::columns::unreadable)
        })
    };
}
pub(super) use numbered;

pub(super) fn uuid(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

pub(super) fn bytes(uuid: Uuid) -> [u8; 16] {
    uuid.into_bytes()
}

/// The location of a row in its table (`ctid`), which does not change while the row is locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowLocation([u8; 6]);

impl<'r> FromSql<'r> for RowLocation {
    fn from_sql(_: &Type, raw: &'r [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TID
    }
}

impl ToSql for RowLocation {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TID
    }

    to_sql_checked!();
}

/// A text as PostgreSQL can store it: without NUL characters.
pub(super) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') { Cow::Owned(value.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(value) }
}

/// A time for comparisons, as PostgreSQL can represent it: its times begin in 4713 BC.
pub(super) fn date(at: Timestamp) -> Timestamp {
    const FIRST: Timestamp = Timestamp::constant(-210_000_000_000, 0);
    at.max(FIRST)
}

/// A number that only rises, as the database stores it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The inverse of [`signed`].
fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}

pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn state(row: &Row) -> Result<(ItemId, QueueId, ItemState)> {
    let mut state = new_state(row)?;
    happened(row, RULED, &mut state)?;
    Ok((ItemId(get(row, 0)?), QueueId(get(row, 1)?), state))
}

pub(super) fn actors(row: &Row) -> Result<Actors> {
    let at = |column: usize| get(row, RULED + HAPPENED + column);
    Ok(Actors { created_by: at(0)?, taken_by: at(1)?, ended_by: at(2)? })
}

fn new_state(row: &Row) -> Result<ItemState> {
    Ok(ItemState {
        holds_reference: get(row, 6)?,
        due_date: get(row, 3)?,
        defer_date: get(row, 4)?,
        ..ItemState::untouched(numbered!(row, 2, Priority)?, get(row, 5)?)
    })
}

/// Reads the columns of the other tables, which begin at `first`.
fn happened(row: &Row, first: usize, state: &mut ItemState) -> Result<()> {
    let at = |column: usize| first + column;
    if get::<Option<i16>>(row, at(0))?.is_some() {
        let outcome: Option<i16> = get(row, at(2))?;
        let holder: Option<i64> = get(row, at(7))?;
        state.status = numbered!(row, at(0), Status)?;
        state.review_status = numbered!(row, at(1), ReviewStatus)?;
        state.outcome =
            outcome.map(|outcome| Outcome::from_number(outcome.into())).transpose().map_err(unreadable)?;
        state.superseded = get(row, at(3))?;
        state.start_processing = get(row, at(4))?;
        state.end_processing = get(row, at(5))?;
        state.reviewer_user_id = get(row, at(6))?;
        state.token = unsigned(get(row, at(8))?);
        state.holder = holder.map(|job| Holder { job: JobNumber(job), token: state.token });
        state.row_version = unsigned(get(row, at(9))?);
    }
    if let Some(retry_number) = get::<Option<i32>>(row, at(10))? {
        state.retry_number = small(retry_number.into());
        state.manual_retry_number = small(get::<i32>(row, at(11))?.into());
        state.seconds_in_previous_attempts = small(get(row, at(12))?);
    }
    Ok(())
}

/// An item that was never touched.
pub(super) fn new_item(row: &Row) -> Result<(ItemState, Box<QueueItem>)> {
    let state = new_state(row)?;
    Ok((state, view(row, &state)?))
}

/// The item's public form, without its exception and its job, which are in other tables.
pub(super) fn item(row: &Row) -> Result<(ItemState, Box<QueueItem>)> {
    let mut state = new_state(row)?;
    happened(row, OF_NEW_ITEM, &mut state)?;
    let mut item = view(row, &state)?;
    let at = |column: usize| OF_NEW_ITEM + HAPPENED + column;
    if let Some(chain_key) = get::<Option<Uuid>>(row, at(0))? {
        item.key = ItemKey::from_bytes(bytes(chain_key));
    }
    item.ancestor_id = get::<Option<i64>>(row, at(1))?.map(ItemId);
    item.manual_ancestor_id = get::<Option<i64>>(row, at(2))?.map(ItemId);
    item.output = get::<Option<&str>>(row, at(3))?.map(Output::from_stored);
    item.progress = get(row, at(4))?;
    if state.holder.is_some() {
        item.robot = get::<Option<i64>>(row, at(5))?.map(small);
        item.robot_id = get(row, at(6))?;
        item.executor_job = get::<Option<Uuid>>(row, at(7))?.map(bytes).map(JobKey::from_bytes);
    }
    item.analytics = get::<Option<&str>>(row, at(8))?.map(Analytics::from_stored);
    item.operation_id = get(row, at(9))?;
    Ok((state, item))
}

/// The item's public form, from the table `item` and its state.
fn view(row: &Row, state: &ItemState) -> Result<Box<QueueItem>> {
    let at = |column: usize| RULED + column;
    let unique_key = ItemKey::from_bytes(bytes(get(row, at(0))?));
    let mut item = QueueItem::of_state(ItemId(get(row, 0)?), unique_key, QueueId(get(row, 1)?), state);
    item.reference = get(row, at(1))?;
    item.specific_content = SpecificContent::from_stored(get::<&str>(row, at(3))?);
    item.risk_sla_date = get(row, at(2))?;
    item.creator_job = get::<Option<Uuid>>(row, at(4))?.map(bytes).map(JobKey::from_bytes);
    item.parent_operation_id = get(row, at(5))?;
    item.group = get(row, at(6))?;
    Ok(Box::new(item))
}
