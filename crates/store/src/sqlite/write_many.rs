//! The statements that write many items of a batch: claims, and the ends of attempts.
//!
//! Executing a statement costs more than the row it writes, and so does binding a dozen parameters. The rows of a batch
//! are alike: claimed at one time and with one result, they differ in their ids and robots. So several of them are
//! written by one statement, and what they have in common is bound once.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use rusqlite::{Connection, Statement, params};

use super::super::backend::Claimant;
use super::super::rows::{ClaimedRow, StateUpdate};
use super::columns::micros;
use super::prepared;
use super::write::{END, end, write_exception};
use performer_core::model::key::{ItemId, JobKey, QueueId};
use performer_core::model::lifecycle::ItemState;

type SqlResult<T> = rusqlite::Result<T>;

/// How many claims are written by one statement, if there are so many.
const CLAIMS: usize = 16;

static CLAIM: LazyLock<String> = LazyLock::new(|| claim_sql(1));
static CLAIM_MANY: LazyLock<String> = LazyLock::new(|| claim_sql(CLAIMS));

/// Parameters 1 to 9 are those of all rows, then follow the id and the robot of each.
const FIRST_ROW: usize = 10;

/// Claims of items that have the same state before and after. For an item without a row in `item_state`, inserts one,
/// with room for what a result writes (the time of the end, and a byte in `superseded`), so that a row in a full page
/// does not grow.
fn claim_sql(rows: usize) -> String {
    let row = |at| {
        let id = FIRST_ROW + 2 * at;
        format!("(?{id}, ?1, 1, 0, 2, ?2, ?2, ?3, ?{}, ?4, ?5, ?7, ?8, ?9)", id + 1)
    };
    let rows = (0..rows).map(row).collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, start_processing, end_processing, \
         holder, robot, token, row_version, robot_id, executor, taken_by) VALUES {rows} \
         ON CONFLICT (item_id) DO UPDATE SET status = 1, start_processing = ?2, holder = ?3, robot = excluded.robot, \
         token = ?4, row_version = ?5, robot_id = ?7, executor = ?8, taken_by = ?9 WHERE row_version = ?6"
    )
}

fn bind_claimed(
    statement: &mut Statement<'_>,
    queue: QueueId,
    (before, after): (&ItemState, &ItemState),
    claimant: Option<Claimant>,
) -> SqlResult<()> {
    statement.raw_bind_parameter(1, queue.0)?;
    statement.raw_bind_parameter(2, after.start_processing.map(micros))?;
    statement.raw_bind_parameter(3, after.holder.map(|holder| holder.job.0))?;
    statement.raw_bind_parameter(4, after.token)?;
    statement.raw_bind_parameter(5, after.row_version)?;
    statement.raw_bind_parameter(6, before.row_version)?;
    statement.raw_bind_parameter(7, claimant.and_then(|claimant| claimant.robot_id))?;
    statement.raw_bind_parameter(8, claimant.and_then(|claimant| claimant.executor).map(JobKey::to_bytes))?;
    statement.raw_bind_parameter(9, claimant.and_then(|claimant| claimant.user))
}

fn bind_row(statement: &mut Statement<'_>, at: usize, id: ItemId, robot: Option<u32>) -> SqlResult<()> {
    statement.raw_bind_parameter(FIRST_ROW + 2 * at, id.0)?;
    statement.raw_bind_parameter(FIRST_ROW + 2 * at + 1, robot)
}

/// Writes one claim. Returns how many rows were written.
pub(super) fn write_claim(
    connection: &Connection,
    queue: QueueId,
    id: ItemId,
    states: (&ItemState, &ItemState),
    claimant: Option<Claimant>,
) -> SqlResult<usize> {
    let mut statement = prepared(connection, &CLAIM)?;
    bind_claimed(&mut statement, queue, states, claimant)?;
    bind_row(&mut statement, 0, id, claimant.and_then(|claimant| claimant.robot))?;
    statement.raw_execute()
}

/// Writes many claims; each item has been read in this transaction. Returns how many were written.
pub(super) fn write_claimed(
    connection: &Connection,
    queue: QueueId,
    claimed: &[ClaimedRow],
) -> SqlResult<usize> {
    let mut written = 0;
    for alike in claimed.chunk_by(are_claimed_alike) {
        let (many, rest) = alike.as_chunks::<CLAIMS>();
        written += write_claims(connection, &CLAIM_MANY, queue, many)?;
        let (ones, _) = rest.as_chunks::<1>();
        written += write_claims(connection, &CLAIM, queue, ones)?;
    }
    Ok(written)
}

/// Writes claims that are alike, `N` by each statement.
fn write_claims<const N: usize>(
    connection: &Connection,
    sql: &str,
    queue: QueueId,
    claimed: &[[ClaimedRow; N]],
) -> SqlResult<usize> {
    let Some([first, ..]) = claimed.first().map(<[_; N]>::as_slice) else { return Ok(0) };
    let mut statement = prepared(connection, sql)?;
    bind_claimed(&mut statement, queue, (&first.before, &first.after), Some(first.claimant))?;
    let mut written = 0;
    for rows in claimed {
        for (at, row) in rows.iter().enumerate() {
            bind_row(&mut statement, at, row.id, row.claimant.robot)?;
        }
        written += statement.raw_execute()?;
    }
    Ok(written)
}

/// Whether two claims differ in nothing that is written but their ids and robots.
fn are_claimed_alike(one: &ClaimedRow, other: &ClaimedRow) -> bool {
    let written = |row: &ClaimedRow| {
        let ItemState { start_processing, holder, token, row_version, .. } = row.after;
        let claimant = Claimant { robot: None, ..row.claimant };
        (row.before.row_version, start_processing, holder, token, row_version, claimant)
    };
    written(one) == written(other)
}

/// An end of an attempt: its item, the queue of that, its state before, and what is written.
type Ended<'a> = (ItemId, QueueId, &'a ItemState, StateUpdate<'a>);

/// Fewer ends than this are written one by one.
const WORTH_A_RANGE: usize = 4;

/// Writes ends of attempts that change nothing but the row. Returns which were written.
pub(super) fn write_ended(connection: &Connection, ended: &[Ended<'_>]) -> SqlResult<Vec<bool>> {
    let mut one = prepared(connection, END)?;
    let mut written = vec![false; ended.len()];
    // Items that were claimed together end together, but in any order.
    let mut sorted: Vec<usize> = (0..ended.len()).collect();
    sorted.sort_unstable_by_key(|at| ended[*at].0);
    for run in sorted.chunk_by(|one, next| are_ended_alike(&ended[*one], &ended[*next])) {
        let (first, last) = (&ended[run[0]], &ended[run[run.len() - 1]]);
        if run.len() >= WORTH_A_RANGE && write_range(connection, first, last, run.len())? {
            run.iter().for_each(|at| written[*at] = true);
            continue;
        }
        for at in run {
            let (id, _, before, update) = &ended[*at];
            written[*at] = end(&mut one, *id, before, update)? > 0;
            if let Some(exception) = update.exception.filter(|_| written[*at]) {
                write_exception(connection, *id, exception)?;
            }
        }
    }
    Ok(written)
}

/// Whether the second end is that of the next item, and nothing else about them differs.
fn are_ended_alike(
    (id, _, before, update): &Ended<'_>,
    (next, _, next_before, next_update): &Ended<'_>,
) -> bool {
    let ends = |update: &StateUpdate<'_>| {
        let ItemState { status, outcome, superseded, end_processing, row_version, .. } = *update.state;
        (status, outcome, superseded, end_processing, row_version, update.ended_by)
    };
    next.0 == id.0 + 1
        && before.row_version == next_before.row_version
        && ends(update) == ends(next_update)
        && [update, next_update].into_iter().all(has_only_a_state)
}

fn has_only_a_state(update: &StateUpdate<'_>) -> bool {
    let StateUpdate { output, analytics, operation_id, exception, progress, .. } = update;
    output.is_none()
        && analytics.is_none()
        && operation_id.is_none()
        && exception.is_none()
        && progress.is_none()
}

/// Writes `count` ends of items with consecutive ids, from `first` to `last`, that differ in nothing else. False: some
/// of the rows have changed, and none is written.
fn write_range(
    connection: &Connection,
    first: &Ended<'_>,
    last: &Ended<'_>,
    count: usize,
) -> SqlResult<bool> {
    // NOT INDEXED: by the ids, whatever the planner thinks of the index of held items.
    const UNCHANGED: &str = "SELECT count(*) FROM item_state NOT INDEXED \
                             WHERE item_id BETWEEN ?1 AND ?2 AND row_version = ?3 AND status = 1";
    const END_RANGE: &str = "UPDATE item_state NOT INDEXED SET status = ?3, outcome = ?4, superseded = ?5, \
         end_processing = ?6, row_version = ?7, output = NULL, analytics = NULL, operation_id = NULL, ended_by = ?8 \
         WHERE item_id BETWEEN ?1 AND ?2";
    let (&(from, _, before, ref update), &(to, ..)) = (first, last);
    let unchanged: usize = prepared(connection, UNCHANGED)?
        .query_row(params![from.0, to.0, before.row_version], |row| row.get(0))?;
    if unchanged != count {
        return Ok(false);
    }
    let state = update.state;
    let written = prepared(connection, END_RANGE)?.execute(params![
        from.0,
        to.0,
        state.status.number(),
        state.outcome.map(|outcome| outcome.number()),
        state.superseded,
        state.end_processing.map(micros),
        state.row_version,
        update.ended_by,
    ])?;
    assert_eq!(written, count, "the rows were read in this transaction");
    Ok(true)
}
