//! An item's rows: from columns to values of the model, and back.

use std::borrow::Cow;
use std::error::Error;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::super::super::Result;
pub(super) use super::error::unreadable;
use crate::model::content::{Analytics, Output, SpecificContent};
use crate::model::item::{Priority, QueueItem};
use crate::model::key::{Holder, ItemId, ItemKey, JobKey, JobNumber, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::result::Outcome;
use crate::model::status::{ReviewStatus, Status};

/// The columns of an item's state, in the order in which [`state`] reads them. A macro, so that statements are
/// put together when the crate is compiled.
macro_rules! state_columns {
    () => {
        "item.id, item.queue_id, item.priority, item.due_date, item.defer_date, item.creation_time, \
         item.holds_reference, item_state.status, item_state.review_status, outcome, superseded, start_processing, \
         end_processing, reviewer_user_id, holder, token, row_version, retry_number, manual_retry_number, \
         seconds_in_previous_attempts"
    };
}
pub(super) use state_columns;

/// All columns of an item, in the order in which [`item`] reads them.
macro_rules! item_columns {
    () => {
        concat!(
            $crate::orchestrator::local::postgres::columns::state_columns!(),
            ", item.unique_key, chain_key, item.reference, item.risk_sla_date, ancestor_id, manual_ancestor_id, \
             item.content, output, progress, robot, robot_id, executor, analytics, operation_id, item.creator_job, \
             item.parent_operation_id"
        )
    };
}
pub(super) use item_columns;

/// What belongs to the rows of `item`, where it is there. Most items are no copies, and are not looked for among them.
macro_rules! state_joins {
    () => {
        " LEFT JOIN item_state ON item_state.item_id = item.id \
         LEFT JOIN item_copy ON item_copy.item_id = item.id AND item.root_id IS NOT NULL"
    };
}
pub(super) use state_joins;

const STATE_COLUMNS: usize = 20;

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(unreadable)
}

/// An enumeration, from its number.
macro_rules! numbered {
    ($row:expr, $at:expr, $type:ty) => {
        $crate::orchestrator::local::postgres::columns::get::<i16>($row, $at).and_then(|number| {
            <$type>::from_number(number.into())
                .map_err($crate::orchestrator::local::postgres::columns::unreadable)
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

/// Where a row stands in its table, as the database says it (`ctid`). It stays there for as long as it is locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowPlace([u8; 6]);

impl<'r> FromSql<'r> for RowPlace {
    fn from_sql(_: &Type, raw: &'r [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TID
    }
}

impl ToSql for RowPlace {
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

/// A free text as PostgreSQL can keep it: it has no character NUL.
pub(super) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') { Cow::Owned(value.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(value) }
}

/// A date of a caller's as PostgreSQL can keep it: its times begin in 4713 BC.
pub(super) fn date(at: Timestamp) -> Timestamp {
    const FIRST: Timestamp = Timestamp::constant(-210_000_000_000, 0);
    at.max(FIRST)
}

/// A number that only rises, as the database keeps it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The same, back.
fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn state(row: &Row) -> Result<(ItemId, QueueId, ItemState)> {
    let mut state = ItemState {
        holds_reference: get(row, 6)?,
        due_date: get(row, 3)?,
        defer_date: get(row, 4)?,
        ..ItemState::untouched(numbered!(row, 2, Priority)?, get(row, 5)?)
    };
    if get::<Option<i16>>(row, 7)?.is_some() {
        what_became_of(row, &mut state)?;
    }
    if let Some(retry_number) = get::<Option<i32>>(row, 17)? {
        state.retry_number = small(retry_number.into());
        state.manual_retry_number = small(get::<i32>(row, 18)?.into());
        state.seconds_in_previous_attempts = small(get(row, 19)?);
    }
    Ok((ItemId(get(row, 0)?), QueueId(get(row, 1)?), state))
}

fn what_became_of(row: &Row, state: &mut ItemState) -> Result<()> {
    let outcome: Option<i16> = get(row, 9)?;
    let holder: Option<i64> = get(row, 14)?;
    state.status = numbered!(row, 7, Status)?;
    state.review_status = numbered!(row, 8, ReviewStatus)?;
    state.outcome =
        outcome.map(|outcome| Outcome::from_number(outcome.into())).transpose().map_err(unreadable)?;
    state.superseded = get(row, 10)?;
    state.start_processing = get(row, 11)?;
    state.end_processing = get(row, 12)?;
    state.reviewer_user_id = get(row, 13)?;
    state.token = unsigned(get(row, 15)?);
    state.holder = holder.map(|job| Holder { job: JobNumber(job), token: state.token });
    state.row_version = unsigned(get(row, 16)?);
    Ok(())
}

/// The item as people see it, but for its exception and its job: these stand elsewhere.
pub(super) fn item(row: &Row) -> Result<(ItemState, Box<QueueItem>)> {
    let (id, queue_id, state) = state(row)?;
    let at = |column: usize| STATE_COLUMNS + column;
    let key = |uuid: Uuid| ItemKey::from_bytes(bytes(uuid));
    let job = |uuid: Uuid| JobKey::from_bytes(bytes(uuid));
    let unique_key = key(get(row, at(0))?);
    let held = state.holder.is_some();
    let robot: Option<i64> = get(row, at(9))?;
    let robot_id: Option<i64> = get(row, at(10))?;
    let executor: Option<Uuid> = get(row, at(11))?;
    let item = QueueItem {
        id,
        unique_key,
        key: get::<Option<Uuid>>(row, at(1))?.map_or(unique_key, key),
        queue_id,
        status: state.status,
        review_status: state.review_status,
        reviewer_user_id: state.reviewer_user_id,
        priority: state.priority,
        reference: get(row, at(2))?,
        specific_content: SpecificContent::from_stored(get::<&str>(row, at(6))?),
        output: get::<Option<&str>>(row, at(7))?.map(Output::from_stored),
        processing_exception: None,
        outcome: state.outcome,
        due_date: state.due_date,
        defer_date: state.defer_date,
        risk_sla_date: get(row, at(3))?,
        creation_time: state.creation_time,
        start_processing: state.start_processing,
        end_processing: state.end_processing,
        seconds_in_previous_attempts: state.seconds_in_previous_attempts,
        retry_number: state.retry_number,
        ancestor_id: get::<Option<i64>>(row, at(4))?.map(ItemId),
        manual_retry_number: state.manual_retry_number,
        manual_ancestor_id: get::<Option<i64>>(row, at(5))?.map(ItemId),
        is_superseded: state.superseded,
        progress: get(row, at(8))?,
        executor_job: executor.filter(|_| held).map(job),
        robot: robot.filter(|_| held).map(small),
        robot_id: robot_id.filter(|_| held),
        creator_job: get::<Option<Uuid>>(row, at(14))?.map(job),
        analytics: get::<Option<&str>>(row, at(12))?.map(Analytics::from_stored),
        operation_id: get(row, at(13))?,
        parent_operation_id: get(row, at(15))?,
        row_version: state.row_version,
    };
    Ok((state, Box::new(item)))
}
