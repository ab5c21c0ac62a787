//! Which items a job holds: the rows of `item_claim`.
//!
//! There is no such index on `item_state`, because each result would have to update it. Instead each claim inserts a
//! row that names its items, in the same transaction. The process that claimed them counts their ends and removes the
//! row with the last of them. What it cannot count (another process wrote the end, a commit failed) is compacted from
//! time to time, and when the job ends: then the database is asked which of the named items are still held.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::columns::{get, small};
use super::session::Session;
use performer_core::model::key::{ItemId, JobKey, JobNumber};
use performer_core::model::robot::Held;
use performer_core::orchestrator::Result;

/// How many rows are removed together.
const REMOVE_BATCH: usize = 32;

/// Rows are compacted if they name so many items: nearly always more than are held at once. Costs about a microsecond
/// an item.
const MAX_NAMED: usize = 16_384;

/// Replaces all rows of a job by one or none. Does not see rows that other transactions insert at the same time.
const COMPACT: &str = "WITH gone AS (DELETE FROM item_claim WHERE job = $1 RETURNING items), \
     held AS (SELECT DISTINCT item_state.item_id FROM gone, unnest(gone.items) AS named (item_id) \
     JOIN item_state ON item_state.item_id = named.item_id \
     WHERE item_state.status = 1 AND item_state.holder = $1) \
     INSERT INTO item_claim (job, number, items) SELECT $1, $2::bigint, array_agg(item_id) FROM held HAVING count(*) > 0";

/// The held items among all that are named.
macro_rules! held {
    () => {
        "FROM item_claim CROSS JOIN unnest(item_claim.items) AS named (item_id) \
         JOIN item_state ON item_state.item_id = named.item_id \
         WHERE item_state.status = 1 AND item_state.holder = item_claim.job"
    };
}

/// The claim rows of this process, as far as it counts them.
pub(super) struct ClaimRows {
    /// The number of the next row. Starts at random: several processes claim for the same job if they serve callers
    /// over HTTP.
    next: i64,
    open: HashMap<i64, OpenClaimRow>,
    /// How many items the open rows name.
    named: usize,
    /// Rows whose items have all ended.
    ended: Vec<(JobNumber, i64)>,
}

struct OpenClaimRow {
    job: JobNumber,
    named: usize,
    /// How many have not ended.
    left: usize,
}

impl Default for ClaimRows {
    fn default() -> Self {
        Self { next: fastrand::i64(0..), open: HashMap::new(), named: 0, ended: Vec::new() }
    }
}

impl ClaimRows {
    /// Makes the number of a new row.
    pub(super) fn number(&mut self) -> i64 {
        let number = self.next;
        self.next = number.checked_add(1).unwrap_or(0);
        number
    }

    /// Counts a row that names `named` items.
    pub(super) fn open(&mut self, number: i64, job: JobNumber, named: usize) {
        self.named += named;
        self.open.insert(number, OpenClaimRow { job, named, left: named });
    }

    /// One of the items of a row is not held any more.
    pub(super) fn ended(&mut self, number: i64) {
        let Some(open) = self.open.get_mut(&number) else { return };
        open.left = open.left.saturating_sub(1);
        if open.left == 0
            && let Some(OpenClaimRow { job, named, .. }) = self.open.remove(&number)
        {
            self.named = self.named.saturating_sub(named);
            self.ended.push((job, number));
        }
    }

    /// The rows whose items have all ended.
    #[cfg(test)]
    pub(super) fn ended_rows(&self) -> Vec<i64> {
        self.ended.iter().map(|(_, number)| *number).collect()
    }

    /// Rows to remove, if there are enough of them.
    pub(super) fn take_ended(&mut self) -> Vec<(JobNumber, i64)> {
        if self.ended.len() >= REMOVE_BATCH { std::mem::take(&mut self.ended) } else { Vec::new() }
    }

    /// Rows that were not removed after all.
    pub(super) fn remove_later(&mut self, rows: impl Iterator<Item = (JobNumber, i64)>) {
        self.ended.extend(rows);
    }

    /// Jobs whose rows are to be compacted, if they name too many items: they are not counted any more.
    pub(super) fn jobs_to_compact(&mut self) -> Vec<JobNumber> {
        if self.named <= MAX_NAMED {
            return Vec::new();
        }
        self.named = 0;
        self.open.drain().map(|(_, open)| open.job).collect()
    }
}

/// Removes rows all of whose items have ended.
pub(super) fn remove(session: &mut Session, rows: &[(JobNumber, i64)]) -> Result<()> {
    const SQL: &str = "DELETE FROM item_claim USING unnest($1::bigint[], $2::bigint[]) AS ended (job, number) \
                       WHERE item_claim.job = ended.job AND item_claim.number = ended.number";
    if rows.is_empty() {
        return Ok(());
    }
    let (jobs, numbers): (Vec<_>, Vec<_>) = rows.iter().map(|(job, number)| (job.0, *number)).unzip();
    session.enqueue(SQL, &[&jobs, &numbers])
}

/// Compacts the rows of a job into at most one, with this number.
pub(super) fn compact(session: &mut Session, job: JobNumber, number: i64) -> Result<()> {
    session.enqueue(COMPACT, &[&job.0, &number])
}

/// Inserts the row of one claimed item.
pub(super) fn insert(session: &mut Session, job: JobNumber, number: i64, id: ItemId) -> Result<()> {
    const SQL: &str = "INSERT INTO item_claim (job, number, items) VALUES ($1, $2, ARRAY[$3::bigint])";
    session.enqueue(SQL, &[&job.0, &number, &id.0])
}

/// Compacts the rows of callers over HTTP, whose job never ends: nobody counts those of servers that have stopped.
pub(super) fn compact_callers(session: &mut Session) -> Result<()> {
    let path = format!("SET LOCAL search_path TO {}", session.address().quoted_schema());
    session.batch(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {path}"))?;
    let number = ClaimRows::default().number();
    let done = session
        .query_once(COMPACT, &[&JobKey::CALLER.number().0, &number])
        .and_then(|_| session.batch("COMMIT"));
    if done.is_err() {
        let _ = session.batch("ROLLBACK"); // it has failed already
    }
    done
}

// Held items

pub(super) fn held_by(session: &mut Session, job: JobNumber) -> Result<Vec<ItemId>> {
    const SQL: &str =
        concat!("SELECT DISTINCT item_state.item_id ", held!(), " AND item_claim.job = $1 ORDER BY 1");
    ids(&session.query(SQL, &[&job.0])?)
}

/// With what people want to see, the oldest first.
pub(super) fn held_items(session: &mut Session, job: JobNumber) -> Result<Vec<Held>> {
    const SQL: &str = concat!(
        "SELECT item.id, item.reference, held.robot, held.start_processing FROM \
         (SELECT DISTINCT item_state.item_id, item_state.robot, item_state.start_processing ",
        held!(),
        " AND item_claim.job = $1) AS held JOIN item ON item.id = held.item_id \
         JOIN queue ON queue.id = item.queue_id AND NOT queue.deleted ORDER BY item.id"
    );
    let read = |row: &Row| {
        Ok(Held {
            item: ItemId(get(row, 0)?),
            reference: get(row, 1)?,
            robot: get::<Option<i64>>(row, 2)?.map(small),
            since: get(row, 3)?,
        })
    };
    session.query(SQL, &[&job.0])?.iter().map(read).collect()
}

pub(super) fn held_since_before(session: &mut Session, before: Timestamp) -> Result<Vec<ItemId>> {
    const SQL: &str =
        concat!("SELECT DISTINCT item_state.item_id ", held!(), " AND item_state.start_processing < $1");
    ids(&session.query(SQL, &[&before])?)
}

/// The states of all held items, as a table.
pub(super) const HELD_STATES: &str = concat!(
    "(SELECT DISTINCT item_state.item_id ",
    held!(),
    ") AS held JOIN item_state ON item_state.item_id = held.item_id"
);

fn ids(rows: &[Row]) -> Result<Vec<ItemId>> {
    rows.iter().map(|row| get(row, 0).map(ItemId)).collect()
}
