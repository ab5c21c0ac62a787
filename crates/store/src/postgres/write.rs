//! The statements that write items.

use std::borrow::Cow;

use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::backend::Claimant;
use super::super::rows::{ClaimedRow, StateUpdate};
use super::claim_cache::ClaimCache;
use super::columns::{RowLocation, signed, text, uuid};
use super::ready_items::{self, EntryKind, EntryNumbers, LockedRow};
use super::session::Session;
use performer_core::model::content::{Analytics, Output};
use performer_core::model::exception::ProcessingException;
use performer_core::model::key::{ItemId, JobKey, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// Writes the new state of an item if its row is still at the version of `before`.
pub(super) fn write(
    session: &mut Session,
    id: ItemId,
    queue: QueueId,
    before: &ItemState,
    written: &StateUpdate<'_>,
    numbers: EntryNumbers,
) -> Result<bool> {
    let state = written.state;
    let done = match (before.status, state.status) {
        (Status::New, Status::InProgress) => claim(session, queue, id, (before, state), written.taken_by)?,
        (Status::InProgress, Status::Successful | Status::Failed | Status::Retried | Status::Abandoned) => {
            write_end(session, &(id, queue, before, *written))?
        }
        _ => write_all(session, id, queue, before, written)?,
    };
    if !done {
        return Ok(false);
    }
    ready_items::remove_waiting(session, queue, id, before)?;
    ready_items::insert_waiting(session, queue, id, state, written.now, EntryKind::Again(numbers))?;
    let dates_stay = (state.priority, state.due_date, state.defer_date)
        == (before.priority, before.due_date, before.defer_date);
    if !dates_stay || state.holds_reference != before.holds_reference {
        write_item(session, id, state)?;
    }
    Ok(true)
}

/// Writes one claim. Inserts the row in `item_state` of an item that was never touched.
fn claim(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    (before, after): (&ItemState, &ItemState),
    claimant: Option<Claimant>,
) -> Result<bool> {
    const SQL: &str = "INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, start_processing, \
         holder, robot, token, row_version, robot_id, executor, taken_by) \
         VALUES ($1, $2, 1, 0, false, $3, $4, $5, $6, $7, $9, $10, $11) ON CONFLICT (item_id) DO UPDATE SET status = 1, \
         start_processing = $3, holder = $4, robot = $5, token = $6, row_version = $7, robot_id = $9, executor = $10, \
         taken_by = $11 \
         WHERE item_state.row_version = $8";
    let rows = session.execute(
        SQL,
        &[
            &id.0,
            &queue.0,
            &after.start_processing,
            &after.holder.map(|holder| holder.job.0),
            &claimant.and_then(robot),
            &signed(after.token),
            &signed(after.row_version),
            &signed(before.row_version),
            &claimant.and_then(|claimant| claimant.robot_id),
            &claimant.and_then(executor),
            &claimant.and_then(|claimant| claimant.user),
        ],
    )?;
    Ok(rows > 0)
}

fn robot(claimant: Claimant) -> Option<i64> {
    claimant.robot.map(i64::from)
}

fn executor(claimant: Claimant) -> Option<Uuid> {
    claimant.executor.map(JobKey::to_bytes).map(uuid)
}

/// Writes many claims. Their rows in `item_ready` are locked, so nobody has changed them: nothing is read, and the
/// statements are sent with the next one. Returns the claim rows.
pub(super) fn write_claimed(
    session: &mut Session,
    queue: QueueId,
    claimed: &[ClaimedRow],
    places: &[LockedRow],
    cache: &mut ClaimCache,
) -> Result<Vec<i64>> {
    macro_rules! claim_items {
        ($conflict:literal) => {
            concat!(
                "WITH gone AS (DELETE FROM item_ready WHERE ctid = ANY ($10::tid[])), \
                 named AS (INSERT INTO item_claim (job, number, items) VALUES ($4, $11, $8)) \
                 INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, start_processing, \
                 holder, robot, token, row_version, robot_id, executor, taken_by) \
                 SELECT item_id, $1::bigint, 1, 0, false, $2::timestamptz, $4::bigint, robot, $5::bigint, $6::bigint, \
                 $3::bigint, $7::uuid, $12::bigint FROM unnest($8::bigint[], $9::bigint[]) AS t (item_id, robot)",
                $conflict
            )
        };
    }
    const NEW: &str = claim_items!("");
    const TOUCHED: &str = claim_items!(
        " ON CONFLICT (item_id) DO UPDATE SET status = 1, start_processing = excluded.start_processing, \
         holder = excluded.holder, robot = excluded.robot, token = excluded.token, row_version = excluded.row_version, \
         robot_id = excluded.robot_id, executor = excluded.executor, taken_by = excluded.taken_by"
    );
    let mut groups: Vec<ClaimGroup<'_>> = Vec::new();
    let mut group_of = Vec::with_capacity(claimed.len());
    let mut places = places.iter();
    for row in claimed {
        // Both are in the order in which the items were found.
        let place = places.find(|place| place.id == row.id);
        let place = place.unwrap_or_else(|| unreachable!("item {} was offered in this transaction", row.id));
        let at =
            groups.iter().rposition(|group| group.touched == place.touched && are_alike(group.first, row));
        let at = at.unwrap_or_else(|| {
            groups.push(ClaimGroup {
                first: row,
                touched: place.touched,
                rows: Vec::with_capacity(claimed.len()),
            });
            groups.len() - 1
        });
        groups[at].rows.push((place.row, row));
        group_of.push(at);
    }
    let mut numbers = Vec::with_capacity(groups.len());
    for ClaimGroup { first: ClaimedRow { after, claimant, .. }, touched, rows } in groups {
        let job = after.holder.map_or(claimant.job.number(), |holder| holder.job);
        let number = cache.new_claim_row(job, rows.len());
        numbers.push(number);
        session.enqueue(
            if touched { TOUCHED } else { NEW },
            &[
                &queue.0,
                &after.start_processing,
                &claimant.robot_id,
                &job.0,
                &signed(after.token),
                &signed(after.row_version),
                &executor(*claimant),
                &rows.iter().map(|(_, row)| row.id.0).collect::<Vec<_>>(),
                &rows.iter().map(|(_, row)| robot(row.claimant)).collect::<Vec<_>>(),
                &rows.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
                &number,
                &claimant.user,
            ],
        )?;
    }
    Ok(group_of.into_iter().map(|at| numbers[at]).collect())
}

/// Claims that differ only in item and robot: nearly always all of one commit. Their common values are sent once.
struct ClaimGroup<'a> {
    first: &'a ClaimedRow,
    touched: bool,
    rows: Vec<(RowLocation, &'a ClaimedRow)>,
}

fn are_alike(one: &ClaimedRow, other: &ClaimedRow) -> bool {
    let differing = |row: &ClaimedRow| {
        let ClaimedRow { after, claimant, .. } = row;
        let of_taker = (claimant.job, claimant.robot_id, claimant.executor, claimant.user);
        (after.holder, after.start_processing, after.row_version, of_taker)
    };
    differing(one) == differing(other)
}

/// The end of an attempt: item, queue, state before, and what is written.
type EndedAttempt<'a> = (ItemId, QueueId, &'a ItemState, StateUpdate<'a>);

/// Writes ends that differ only in item and output.
macro_rules! alike {
    () => {
        "UPDATE item_state SET status = $3, outcome = $4, superseded = $5, end_processing = $6, row_version = $7, \
         output = ended.output, analytics = NULL, operation_id = NULL, ended_by = $9 \
         FROM unnest($1::bigint[], $2::text[]) AS ended (item_id, output) \
         WHERE item_state.item_id = ended.item_id AND item_state.row_version = $8 AND item_state.status = 1"
    };
}

/// Writes ends of any kind.
macro_rules! each {
    () => {
        "UPDATE item_state SET status = ended.status, outcome = ended.outcome, \
         superseded = ended.superseded, end_processing = ended.at, row_version = ended.row_version, \
         output = ended.output, progress = coalesce(ended.progress, item_state.progress), \
         analytics = ended.analytics, operation_id = ended.operation_id, ended_by = ended.ended_by \
         FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::boolean[], $6::timestamptz[], \
         $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[]) AS ended (item_id, before, status, \
         outcome, superseded, at, row_version, output, progress, analytics, operation_id, ended_by) \
         WHERE item_state.item_id = ended.item_id AND item_state.row_version = ended.before \
         AND item_state.status = 1"
    };
}

/// Fails the transaction unless as many rows were written as are expected.
macro_rules! expect_rows {
    ($expected:literal) => {
        concat!("SELECT expect_rows((SELECT count(*) FROM written), ", $expected, ")")
    };
}
pub(super) use expect_rows;

/// Writes ends of attempts with their exceptions, for which the rows were not read: the statements are sent with the next
/// one, and fail the transaction if a row is not at the version that is expected.
pub(super) fn enqueue_ended(session: &mut Session, ended: &[EndedAttempt<'_>]) -> Result<()> {
    const ALIKE: &str = concat!("WITH written AS (", alike!(), " RETURNING 1) ", expect_rows!("$10"));
    const EACH: &str = concat!("WITH written AS (", each!(), " RETURNING 1) ", expect_rows!("$13"));
    let first = ended.iter().find(|ended| has_output_only(ended));
    let is_alike = |other: &&EndedAttempt<'_>| {
        first.is_some_and(|first| has_output_only(other) && in_common(first) == in_common(other))
    };
    let (alike, each): (Vec<&EndedAttempt<'_>>, Vec<&EndedAttempt<'_>>) = ended.iter().partition(is_alike);
    let number = |rows: &[&EndedAttempt<'_>]| i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let (alike_rows, each_rows) = (number(&alike), number(&each));
    if let Some(first) = first {
        let columns = EndColumns::of(&alike);
        let (before, status, outcome, superseded, at, row_version, by) = &in_common(first);
        session.enqueue(
            ALIKE,
            &[
                &columns.ids,
                &columns.outputs,
                status,
                outcome,
                superseded,
                at,
                row_version,
                before,
                by,
                &alike_rows,
            ],
        )?;
    }
    if each_rows > 0 {
        let columns = EndColumns::of(&each);
        let mut values: Vec<&(dyn ToSql + Sync)> = columns.values();
        values.push(&each_rows);
        session.enqueue(EACH, &values)?;
    }
    for (id, .., written) in ended {
        if let Some(exception) = written.exception {
            write_exception(session, *id, exception)?;
        }
    }
    Ok(())
}

/// Writes the end of one attempt, with its exception. False: the row is not at the version that is expected, and nothing
/// was written.
fn write_end(session: &mut Session, ended: &EndedAttempt<'_>) -> Result<bool> {
    let columns = EndColumns::of(&[ended]);
    if session.execute(each!(), &columns.values())? == 0 {
        return Ok(false);
    }
    let (id, .., written) = ended;
    if let Some(exception) = written.exception {
        write_exception(session, *id, exception)?;
    }
    Ok(true)
}

/// Whether nothing but an output was reported besides the result.
fn has_output_only((.., written): &EndedAttempt<'_>) -> bool {
    written.progress.is_none() && written.analytics.is_none() && written.operation_id.is_none()
}

/// Version before, status, outcome, superseded, end, version after, user.
type CommonEnd = (i64, i16, Option<i16>, bool, Option<Timestamp>, i64, Option<i64>);

/// What nearly all ends of one commit have in common.
fn in_common((_, _, before, written): &EndedAttempt<'_>) -> CommonEnd {
    let state = written.state;
    (
        signed(before.row_version),
        i16::from(state.status.number()),
        state.outcome.map(|outcome| i16::from(outcome.number())),
        state.superseded,
        state.end_processing,
        signed(state.row_version),
        written.ended_by,
    )
}

/// Ends, column by column.
#[derive(Default)]
struct EndColumns<'a> {
    ids: Vec<i64>,
    before: Vec<i64>,
    status: Vec<i16>,
    outcome: Vec<Option<i16>>,
    superseded: Vec<bool>,
    at: Vec<Option<Timestamp>>,
    row_version: Vec<i64>,
    outputs: Vec<Option<&'a str>>,
    progress: Vec<Option<Cow<'a, str>>>,
    analytics: Vec<Option<&'a str>>,
    operation_id: Vec<Option<Cow<'a, str>>>,
    ended_by: Vec<Option<i64>>,
}

impl<'a> EndColumns<'a> {
    /// The values of `each!`.
    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.ids,
            &self.before,
            &self.status,
            &self.outcome,
            &self.superseded,
            &self.at,
            &self.row_version,
            &self.outputs,
            &self.progress,
            &self.analytics,
            &self.operation_id,
            &self.ended_by,
        ]
    }

    fn of(ended: &[&'a EndedAttempt<'a>]) -> Self {
        let mut columns = Self::default();
        for one in ended {
            let (before, status, outcome, superseded, at, row_version, ended_by) = in_common(one);
            let (id, .., written) = one;
            columns.ids.push(id.0);
            columns.before.push(before);
            columns.status.push(status);
            columns.outcome.push(outcome);
            columns.superseded.push(superseded);
            columns.at.push(at);
            columns.row_version.push(row_version);
            columns.outputs.push(written.output.map(Output::as_json));
            columns.progress.push(written.progress.map(text));
            columns.analytics.push(written.analytics.map(Analytics::as_json));
            columns.operation_id.push(written.operation_id.map(text));
            columns.ended_by.push(ended_by);
        }
        columns
    }
}

fn owned(text: Option<Cow<'_, str>>) -> Option<String> {
    text.map(Cow::into_owned)
}

/// Writes the whole state of an item. An item that was never touched has no row yet.
pub(super) fn write_all(
    session: &mut Session,
    id: ItemId,
    queue: QueueId,
    before: &ItemState,
    written: &StateUpdate<'_>,
) -> Result<bool> {
    const INSERT: &str = "INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, token, \
                          row_version) VALUES ($1, $2, 0, 0, false, 0, 1) ON CONFLICT (item_id) DO NOTHING";
    const ALL: &str = "UPDATE item_state SET status = $2, review_status = $3, superseded = $4, start_processing = $5, \
         reviewer_user_id = $6, holder = $7, token = $8, row_version = $9, progress = coalesce($10, progress), \
         taken_by = CASE WHEN $2::smallint = 0 THEN NULL ELSE taken_by END \
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
    let (due, defer) = (state.due_date, state.defer_date);
    session.enqueue(SQL, &[&id.0, &priority, &due, &defer, &state.holds_reference])
}

fn write_exception(session: &mut Session, id: ItemId, exception: &ProcessingException) -> Result<()> {
    const SQL: &str = "INSERT INTO item_exception (item_id, exception_type, reason, details, image_path, creation_time) \
                       VALUES ($1, $2, $3, $4, $5, $6)";
    session.enqueue(
        SQL,
        &[
            &id.0,
            &i16::from(exception.exception_type.number()),
            &text(&exception.reason),
            &owned(exception.details.as_deref().map(text)),
            &owned(exception.associated_image_file_path.as_deref().map(text)),
            &exception.creation_time,
        ],
    )
}
