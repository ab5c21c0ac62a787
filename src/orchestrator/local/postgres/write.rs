//! The statements that write items.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::super::Result;
use super::super::rows::{Copy, TakenRow, Written};
use super::super::store::Taker;
use super::columns::{date, get, signed, text, uuid};
use super::order::{self, Place};
use super::session::{Session, Values};
use crate::model::content::{Analytics, Output};
use crate::model::exception::ProcessingException;
use crate::model::key::{ItemId, JobKey, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::status::Status;

pub(super) fn insert_copy(session: &mut Session, id: ItemId, copy: &Copy<'_>) -> Result<()> {
    const ITEM: &str = "INSERT INTO item (id, queue_id, root_id, priority, due_date, defer_date, risk_sla_date, \
         creation_time, holds_reference, unique_key, reference, content, creator_job, parent_operation_id, source) \
         SELECT $2, queue_id, coalesce(root_id, id), $3, $4, $5, risk_sla_date, $6, $7, $8, reference, content, \
         creator_job, parent_operation_id, source FROM item WHERE id = $1";
    const COPY: &str = "INSERT INTO item_copy (item_id, chain_key, ancestor_id, manual_ancestor_id, retry_number, \
         manual_retry_number, seconds_in_previous_attempts) \
         SELECT $2, coalesce(chain_key, unique_key), CASE WHEN $3 THEN NULL ELSE id END, \
         CASE WHEN $3 THEN id ELSE manual_ancestor_id END, $4, $5, $6 \
         FROM item LEFT JOIN item_copy ON item_copy.item_id = item.id WHERE id = $1";
    let (state, original) = (copy.state, copy.original.0);
    let priority = i16::from(state.priority.number());
    session.later(
        ITEM,
        &[
            &original,
            &id.0,
            &priority,
            &state.due_date.map(date),
            &state.defer_date.map(date),
            &state.creation_time,
            &state.holds_reference,
            &uuid(copy.unique_key.to_bytes()),
        ],
    )?;
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    session.later(
        COPY,
        &[
            &original,
            &id.0,
            &copy.by_hand,
            &number(state.retry_number),
            &number(state.manual_retry_number),
            &i64::from(state.seconds_in_previous_attempts),
        ],
    )?;
    order::place(session, copy.queue, id, state, copy.now, false)
}

/// Writes what changed of an item's state, if its row is still at the version of `before`.
pub(super) fn write(
    session: &mut Session,
    id: ItemId,
    queue: QueueId,
    before: &ItemState,
    written: &Written<'_>,
) -> Result<bool> {
    let state = written.state;
    let done = match (before.status, state.status) {
        (Status::New, Status::InProgress) => take(session, queue, id, (before, state), written.taken_by)?,
        (Status::InProgress, Status::Successful | Status::Failed | Status::Retried | Status::Abandoned) => {
            let (ended, _) = write_ended(session, &[(id, queue, before, *written)], &[])?;
            let ended = ended == [true];
            if let Some(exception) = written.exception.filter(|_| ended) {
                write_exception(session, id, exception)?;
            }
            ended
        }
        _ => write_all(session, id, queue, before, written)?,
    };
    if !done {
        return Ok(false);
    }
    order::displace(session, queue, id, before)?;
    order::place(session, queue, id, state, written.now, true)?;
    let dates_stay = (state.priority, state.due_date, state.defer_date)
        == (before.priority, before.due_date, before.defer_date);
    if !dates_stay || state.holds_reference != before.holds_reference {
        write_item(session, id, state)?;
    }
    Ok(true)
}

/// A take: of an item to which nothing ever happened, the row is made.
fn take(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    (before, after): (&ItemState, &ItemState),
    taker: Option<Taker>,
) -> Result<bool> {
    const SQL: &str = "INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, start_processing, \
         holder, robot, token, row_version, robot_id, executor) \
         VALUES ($1, $2, 1, 0, false, $3, $4, $5, $6, $7, $9, $10) ON CONFLICT (item_id) DO UPDATE SET status = 1, \
         start_processing = $3, holder = $4, robot = $5, token = $6, row_version = $7, robot_id = $9, executor = $10 \
         WHERE item_state.row_version = $8";
    let rows = session.execute(
        SQL,
        &[
            &id.0,
            &queue.0,
            &after.start_processing,
            &after.holder.map(|holder| holder.job.0),
            &taker.and_then(robot),
            &signed(after.token),
            &signed(after.row_version),
            &signed(before.row_version),
            &taker.and_then(|taker| taker.robot_id),
            &taker.and_then(executor),
        ],
    )?;
    Ok(rows > 0)
}

fn robot(taker: Taker) -> Option<i64> {
    taker.robot.map(i64::from)
}

fn executor(taker: Taker) -> Option<Uuid> {
    taker.executor.map(JobKey::to_bytes).map(uuid)
}

/// Many takes: what waited waits no longer, and is held. Their places are locked, so nobody has changed them: nothing is
/// asked, and the statements travel with the next one.
pub(super) fn write_taken(
    session: &mut Session,
    queue: QueueId,
    taken: &[TakenRow],
    places: &[Place],
) -> Result<()> {
    macro_rules! taken {
        ($conflict:literal) => {
            concat!(
                "WITH gone AS (DELETE FROM item_ready WHERE ctid = ANY ($2::tid[])) \
                 INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, start_processing, \
                 holder, robot, token, row_version, robot_id, executor) \
                 SELECT item_id, $1::bigint, 1, 0, false, started, holder, robot, token, row_version, robot_id, executor \
                 FROM unnest($3::bigint[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], \
                 $9::bigint[], $10::uuid[]) \
                 AS t (item_id, started, holder, robot, token, row_version, robot_id, executor)",
                $conflict
            )
        };
    }
    const NEW: &str = taken!("");
    const TOUCHED: &str = taken!(
        " ON CONFLICT (item_id) DO UPDATE SET status = 1, start_processing = excluded.start_processing, \
         holder = excluded.holder, robot = excluded.robot, token = excluded.token, row_version = excluded.row_version, \
         robot_id = excluded.robot_id, executor = excluded.executor"
    );
    let (mut new, mut touched) = (Vec::with_capacity(taken.len()), Vec::new());
    let mut places = places.iter();
    for row in taken {
        // Both are in the order in which the items were offered.
        let place = places.find(|place| place.id == row.id);
        let place = place.unwrap_or_else(|| unreachable!("item {} was offered in this transaction", row.id));
        if place.touched { &mut touched } else { &mut new }.push((place.row, row));
    }
    for (sql, rows) in [(NEW, new), (TOUCHED, touched)] {
        if rows.is_empty() {
            continue;
        }
        let each = || rows.iter().map(|(_, row)| row);
        session.later(
            sql,
            &[
                &queue.0,
                &rows.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
                &each().map(|row| row.id.0).collect::<Vec<_>>(),
                &each().map(|row| row.after.start_processing).collect::<Vec<Option<Timestamp>>>(),
                &each().map(|row| row.after.holder.map(|holder| holder.job.0)).collect::<Vec<_>>(),
                &each().map(|row| robot(row.taker)).collect::<Vec<_>>(),
                &each().map(|row| signed(row.after.token)).collect::<Vec<_>>(),
                &each().map(|row| signed(row.after.row_version)).collect::<Vec<_>>(),
                &each().map(|row| row.taker.robot_id).collect::<Vec<_>>(),
                &each().map(|row| executor(row.taker)).collect::<Vec<_>>(),
            ],
        )?;
    }
    Ok(())
}

/// Ends of attempts of which nothing but the row changes. Answers which were written: those whose rows are still as they
/// are believed to be; and the rows of the last query `behind` it, which travels with it. (`status + 0`: each row is looked up,
/// and nobody walks along the index of all that is held.)
pub(super) fn write_ended(
    session: &mut Session,
    ended: &[(ItemId, QueueId, &ItemState, Written<'_>)],
    behind: &[(&str, Values<'_>)],
) -> Result<(Vec<bool>, Vec<Row>)> {
    const SQL: &str = "UPDATE item_state SET status = ended.status, outcome = ended.outcome, \
         superseded = ended.superseded, end_processing = ended.at, row_version = ended.row_version, \
         output = ended.output, progress = coalesce(ended.progress, item_state.progress), \
         analytics = ended.analytics, operation_id = ended.operation_id \
         FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::boolean[], $6::timestamptz[], \
         $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[]) AS ended (item_id, before, status, outcome, \
         superseded, at, row_version, output, progress, analytics, operation_id) \
         WHERE item_state.item_id = ended.item_id AND item_state.row_version = ended.before \
         AND item_state.status + 0 = 1 RETURNING item_state.item_id";
    let state = || ended.iter().map(|(.., written)| written.state);
    let each = || ended.iter().map(|(.., written)| written);
    let ids: Vec<i64> = ended.iter().map(|(id, ..)| id.0).collect();
    let values: Values<'_> = &[
        &ids,
        &ended.iter().map(|(_, _, before, _)| signed(before.row_version)).collect::<Vec<_>>(),
        &state().map(|state| i16::from(state.status.number())).collect::<Vec<_>>(),
        &state().map(|state| state.outcome.map(|outcome| i16::from(outcome.number()))).collect::<Vec<_>>(),
        &state().map(|state| state.superseded).collect::<Vec<_>>(),
        &state().map(|state| state.end_processing).collect::<Vec<_>>(),
        &state().map(|state| signed(state.row_version)).collect::<Vec<_>>(),
        &each().map(|written| written.output.map(Output::as_json)).collect::<Vec<_>>(),
        &each().map(|written| written.progress.map(text)).map(owned).collect::<Vec<_>>(),
        &each().map(|written| written.analytics.map(Analytics::as_json)).collect::<Vec<_>>(),
        &each().map(|written| written.operation_id.map(text)).map(owned).collect::<Vec<_>>(),
    ];
    let mut answers = session.together(&[&[(SQL, values)][..], behind].concat())?.into_iter();
    let (rows, behind) = (answers.next().unwrap_or_default(), answers.next_back().unwrap_or_default());
    if rows.len() == ended.len() {
        return Ok((vec![true; ended.len()], behind));
    }
    let written: Result<Vec<i64>> = rows.iter().map(|row| get(row, 0)).collect();
    let written = written?;
    Ok((ids.iter().map(|id| written.contains(id)).collect(), behind))
}

fn owned(text: Option<std::borrow::Cow<'_, str>>) -> Option<String> {
    text.map(std::borrow::Cow::into_owned)
}

/// Everything of an item's state. An item to which nothing ever happened has no row yet.
pub(super) fn write_all(
    session: &mut Session,
    id: ItemId,
    queue: QueueId,
    before: &ItemState,
    written: &Written<'_>,
) -> Result<bool> {
    const INSERT: &str = "INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, token, \
                          row_version) VALUES ($1, $2, 0, 0, false, 0, 1) ON CONFLICT (item_id) DO NOTHING";
    const ALL: &str = "UPDATE item_state SET status = $2, review_status = $3, superseded = $4, start_processing = $5, \
         reviewer_user_id = $6, holder = $7, token = $8, row_version = $9, progress = coalesce($10, progress) \
         WHERE item_id = $1 AND row_version = $11 AND status = $12";
    let state = written.state;
    if before.status == Status::New {
        session.execute(INSERT, &[&id.0, &queue.0])?;
    }
    let rows = session.execute(
        ALL,
        &[
            &id.0,
            &i16::from(state.status.number()),
            &i16::from(state.review_status.number()),
            &state.superseded,
            &state.start_processing,
            &state.reviewer_user_id,
            &state.holder.map(|holder| holder.job.0),
            &signed(state.token),
            &signed(state.row_version),
            &owned(written.progress.map(text)),
            &signed(before.row_version),
            &i16::from(before.status.number()),
        ],
    )?;
    Ok(rows > 0)
}

fn write_item(session: &mut Session, id: ItemId, state: &ItemState) -> Result<()> {
    const SQL: &str =
        "UPDATE item SET priority = $2, due_date = $3, defer_date = $4, holds_reference = $5 WHERE id = $1";
    let priority = i16::from(state.priority.number());
    let (due, defer) = (state.due_date.map(date), state.defer_date.map(date));
    session.later(SQL, &[&id.0, &priority, &due, &defer, &state.holds_reference])
}

fn write_exception(session: &mut Session, id: ItemId, exception: &ProcessingException) -> Result<()> {
    const SQL: &str = "INSERT INTO item_exception (item_id, exception_type, reason, details, image_path, creation_time) \
                       VALUES ($1, $2, $3, $4, $5, $6)";
    session.later(
        SQL,
        &[
            &id.0,
            &i16::from(exception.exception_type.number()),
            &text(&exception.reason),
            &owned(exception.details.as_deref().map(text)),
            &owned(exception.associated_image_file_path.as_deref().map(text)),
            &date(exception.creation_time),
        ],
    )
}
