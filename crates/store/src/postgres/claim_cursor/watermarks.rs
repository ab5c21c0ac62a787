//! Keys before which no item of a queue waits, and the searches from there on.
//!
//! `claim_cursor/mod.rs` says why they are valid.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::columns::{get, new_item_columns};
use super::super::ready_items::{self, ClaimQuery, EntryNumbers};
use super::super::session::{BoundQuery, OwnedValue, Session};
use super::backlog::{self, Backlog};
use performer_core::orchestrator::Result;

/// Ranks of items without a DueDate, by priority (model::selection).
const FIRST_RANK: i16 = 3;
const RANKS: usize = 3;

/// If more items than this are before the watermarks, or the oldest is so old, they are kept in the backlog: otherwise
/// each claim would sort them.
const MAX_BEFORE: i64 = 500;
const MAX_AGE: i64 = 5_000;

/// Items that were entered since and are before the watermark of their rank.
macro_rules! before_watermarks {
    ($entered:literal, $high:literal, $normal:literal, $low:literal, $due:literal) => {
        concat!(
            "FROM item_ready WHERE queue_id + 0 = $1 AND entered >= ",
            $entered,
            " AND CASE rank WHEN 3 THEN item_id < ",
            $high,
            " WHEN 4 THEN item_id < ",
            $normal,
            " WHEN 5 THEN item_id < ",
            $low,
            " ELSE (rank, due_date, item_id) < ",
            $due,
            " END"
        )
    };
}

/// The first waiting item of each rank, from its watermark on; items that were entered since and are before that; and
/// the same for deferred items whose DeferDate has come.
const FIRSTS: &str = concat!(
    "SELECT \
     (SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = 3 AND due_date = 0 AND item_id >= $2 \
     ORDER BY item_id LIMIT 1), \
     (SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = 4 AND due_date = 0 AND item_id >= $3 \
     ORDER BY item_id LIMIT 1), \
     (SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = 5 AND due_date = 0 AND item_id >= $4 \
     ORDER BY item_id LIMIT 1), \
     due.rank, due.due_date, due.item_id, \
     before.many, before.entered, before.rank, before.due_date, before.high, before.normal, before.low, \
     coalesce((SELECT defer_date FROM item_deferred WHERE queue_id = $1 AND defer_date >= coalesce($9::timestamptz, '-infinity') \
     AND defer_date <= coalesce($10, transaction_timestamp()) ORDER BY defer_date LIMIT 1), $10, transaction_timestamp()), \
     (SELECT min(entered) FROM item_deferred WHERE queue_id + 0 = $1 AND entered >= $11 \
     AND defer_date < coalesce($9::timestamptz, '-infinity')) \
     FROM (SELECT count(*) AS many, min(entered) AS entered, min(rank) AS rank, min(due_date) FILTER (WHERE rank < 3) AS due_date, \
     min(item_id) FILTER (WHERE rank = 3) AS high, min(item_id) FILTER (WHERE rank = 4) AS normal, \
     min(item_id) FILTER (WHERE rank = 5) AS low ",
    before_watermarks!("$8", "$2", "$3", "$4", "($5::smallint, $6::bigint, $7::bigint)"),
    ") AS before LEFT JOIN (SELECT rank, due_date, item_id FROM item_ready WHERE queue_id = $1 AND rank < 3 \
     AND (rank, due_date, item_id) >= ($5::smallint, $6::bigint, $7::bigint) \
     ORDER BY rank, due_date, item_id LIMIT 1) AS due ON true"
);

/// The columns of `item_ready` that a search needs.
macro_rules! waiting {
    () => {
        "SELECT ctid AS place, rank, due_date, item_id, touched FROM item_ready WHERE queue_id = $1"
    };
}

/// Searches `item_ready` from the beginning. The index is sorted as the model sorts items, so nothing is sorted and the
/// search ends when enough rows are locked, whatever else the queue holds. Rows that another transaction is claiming
/// are skipped. Only the locked rows are joined.
const FULL_WALK: &str = concat!(
    "WITH next AS MATERIALIZED (",
    waiting!(),
    " ORDER BY rank, due_date, item_id LIMIT $2 FOR UPDATE SKIP LOCKED) SELECT ",
    of_next!()
);

/// The items of one rank without a DueDate, from its watermark on.
macro_rules! plain {
    ($rank:literal, $floor:literal) => {
        concat!(waiting!(), " AND rank = ", $rank, " AND due_date = 0 AND item_id >= ", $floor)
    };
}

/// Searches only items without a DueDate, each rank from its watermark on. Finds nothing if any item comes before them,
/// or may: one with an entry number was entered since, or a DeferDate has come.
const PLAIN_WALK: &str = concat!(
    "WITH clear AS MATERIALIZED (SELECT CASE WHEN EXISTS (SELECT 1 FROM item_ready WHERE queue_id + 0 = $1 AND entered >= $10) \
     OR EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank < 3 \
     AND (rank, due_date, item_id) >= ($7::smallint, $8::bigint, $9::bigint)) \
     OR EXISTS (SELECT 1 FROM item_deferred WHERE queue_id = $1 \
     AND defer_date >= $11 AND defer_date <= coalesce($6, transaction_timestamp())) \
     OR EXISTS (SELECT 1 FROM item_deferred WHERE queue_id + 0 = $1 AND entered >= $12 AND defer_date < $11) \
     THEN 0 ELSE $2::bigint END AS many), \
     high AS MATERIALIZED (",
    plain!(3, "$3"),
    " ORDER BY item_id LIMIT (SELECT many FROM clear) FOR UPDATE SKIP LOCKED), \
     normal AS MATERIALIZED (",
    plain!(4, "$4"),
    " ORDER BY item_id LIMIT (SELECT many FROM clear) - (SELECT count(*) FROM high) FOR UPDATE SKIP LOCKED), \
     low AS MATERIALIZED (",
    plain!(5, "$5"),
    " ORDER BY item_id LIMIT (SELECT many FROM clear) - (SELECT count(*) FROM high) - (SELECT count(*) FROM normal) \
     FOR UPDATE SKIP LOCKED), \
     next AS (SELECT * FROM high UNION ALL SELECT * FROM normal UNION ALL SELECT * FROM low) SELECT ",
    of_next!()
);

/// Items that were entered since, up to a number, and are before the watermarks.
const MANY: &str = concat!(
    "SELECT ctid, rank, due_date, item_id, entered ",
    before_watermarks!("$2", "$3", "$4", "$5", "($6::smallint, $7::bigint, $8::bigint)"),
    " AND entered < $9 ORDER BY rank + 0, due_date, item_id LIMIT $10"
);

/// Items before the watermarks, of some ranks: each is looked up at its location, and locked, until there are enough.
/// This kind of join keeps the planner from beginning with `item_ready`, which it may take for empty.
macro_rules! locked_before {
    ($compared:literal, $rank:literal) => {
        concat!(
            "SELECT standing.* FROM (SELECT place, item_id, entered FROM before WHERE rank ",
            $compared,
            $rank,
            " ORDER BY rank, due_date, item_id OFFSET 0) AS known CROSS JOIN LATERAL \
             (SELECT ctid AS place, rank, due_date, item_id, touched FROM item_ready WHERE ctid = known.place \
             AND item_id = known.item_id AND entered + 0 = known.entered FOR UPDATE SKIP LOCKED) AS standing"
        )
    };
}

/// The key at which a search ends.
macro_rules! up_to {
    () => {
        " AND (rank, due_date, item_id) <= ($15::smallint, $16::bigint, $17::bigint)"
    };
}

/// The items of one rank without a DueDate, as many as are left to find: those before its watermark, then from there
/// on; and how many are left after them.
macro_rules! of_rank {
    ($name:literal, $rank:literal, $floor:literal, $left:literal) => {
        concat!(
            $name,
            "_before AS MATERIALIZED (",
            locked_before!("= ", $rank),
            " LIMIT (SELECT many FROM ",
            $left,
            ")), ",
            $name,
            " AS MATERIALIZED (",
            plain!($rank, $floor),
            up_to!(),
            " ORDER BY item_id LIMIT (SELECT many FROM ",
            $left,
            ") - (SELECT count(*) FROM ",
            $name,
            "_before) FOR UPDATE SKIP LOCKED), after_",
            $name,
            " AS MATERIALIZED (SELECT many - (SELECT count(*) FROM ",
            $name,
            "_before) - (SELECT count(*) FROM ",
            $name,
            ") AS many FROM ",
            $left,
            "), "
        )
    };
}

/// Searches one rank after the other, each from its watermark on, up to a key; and in each rank first the items before
/// that: those that were entered since, and the backlog.
const ORDERED_WALK: &str = concat!(
    "WITH before AS MATERIALIZED (SELECT ctid AS place, rank, due_date, item_id, entered ",
    before_watermarks!("$9", "$3", "$4", "$5", "($6::smallint, $7::bigint, $8::bigint)"),
    up_to!(),
    " UNION ALL SELECT * FROM unnest($10::tid[], $11::smallint[], $12::bigint[], $13::bigint[], $14::bigint[]) AS run), \
     due_before AS MATERIALIZED (",
    locked_before!("< ", 3),
    " LIMIT $2), due AS MATERIALIZED (",
    waiting!(),
    " AND rank < 3 AND (rank, due_date, item_id) >= ($6::smallint, $7::bigint, $8::bigint)",
    up_to!(),
    " ORDER BY rank, due_date, item_id LIMIT $2 - (SELECT count(*) FROM due_before) FOR UPDATE SKIP LOCKED), \
     after_due AS MATERIALIZED (SELECT $2 - (SELECT count(*) FROM due_before) - (SELECT count(*) FROM due) AS many), ",
    of_rank!("high", 3, "$3", "after_due"),
    of_rank!("normal", 4, "$4", "after_high"),
    of_rank!("low", 5, "$5", "after_normal"),
    "next AS (SELECT * FROM due_before UNION ALL SELECT * FROM due UNION ALL SELECT * FROM high_before \
     UNION ALL SELECT * FROM high UNION ALL SELECT * FROM normal_before UNION ALL SELECT * FROM normal \
     UNION ALL SELECT * FROM low_before UNION ALL SELECT * FROM low) SELECT ",
    of_next!()
);

/// A key before all others, and one after all items with a DueDate.
const FIRST_KEY: Key = (0, i64::MIN, i64::MIN);
const BEHIND_DUE: Key = (FIRST_RANK, 0, 0);

/// Rank, DueDate, id: as in `item_ready`.
pub(super) type Key = (i16, i64, i64);

/// What is known about the waiting items of a queue.
#[derive(Debug)]
pub(super) struct Watermarks {
    /// No item that was entered with a lower number is before the watermarks.
    since: i64,
    /// By priority, without a DueDate.
    plain: [i64; RANKS],
    /// With a DueDate.
    due: Key,
    /// The DeferDate of deferred items, except those that were entered since this number. `None`: unknown.
    deferred: Option<Timestamp>,
    deferred_since: i64,
    /// Except these, which are before the watermarks.
    backlog: Backlog,
}

/// Nothing is known.
impl Default for Watermarks {
    fn default() -> Self {
        Self {
            since: 0,
            deferred_since: 0,
            plain: [0; RANKS],
            due: FIRST_KEY,
            deferred: None,
            backlog: Backlog::default(),
        }
    }
}

/// The search that finds items wherever they are.
pub(super) fn full_walk(ClaimQuery { queue, count, .. }: ClaimQuery) -> BoundQuery {
    BoundQuery { sql: FULL_WALK.into(), values: vec![Box::new(queue), Box::new(count)] }
}

impl Watermarks {
    /// The search among items without a DueDate. Finds nothing if any item may come before them.
    pub(super) fn plain_walk(
        &self,
        ClaimQuery { queue, count, .. }: ClaimQuery,
        now: Option<Timestamp>,
    ) -> BoundQuery {
        let [high, normal, low] = self.plain;
        let values: Vec<OwnedValue> = vec![
            Box::new(queue),
            Box::new(count),
            Box::new(high),
            Box::new(normal),
            Box::new(low),
            Box::new(now),
            Box::new(self.due.0),
            Box::new(self.due.1),
            Box::new(self.due.2),
            Box::new(self.since),
            Box::new(self.deferred),
            Box::new(self.deferred_since),
        ];
        BoundQuery { sql: PLAIN_WALK.into(), values }
    }

    /// The search that skips no item.
    pub(super) fn ordered_walk(&mut self, ClaimQuery { queue, count, .. }: ClaimQuery) -> BoundQuery {
        let [high, normal, low] = self.plain;
        let (backlog, (last_rank, last_due_date, last)) = self.backlog.known_items(count);
        let mut values: Vec<OwnedValue> = vec![
            Box::new(queue),
            Box::new(count),
            Box::new(high),
            Box::new(normal),
            Box::new(low),
            Box::new(self.due.0),
            Box::new(self.due.1),
            Box::new(self.due.2),
            Box::new(self.since),
        ];
        values.extend(backlog);
        values.extend([Box::new(last_rank) as OwnedValue, Box::new(last_due_date), Box::new(last)]);
        BoundQuery { sql: ORDERED_WALK.into(), values }
    }

    /// That search did not find enough. Returns whether there is a longer one.
    pub(super) fn extend_walk(&mut self) -> bool {
        self.backlog.widen();
        self.backlog.has_more()
    }

    /// Searches have found so many.
    pub(super) fn found(&mut self, items: usize) {
        self.backlog.found(items);
    }

    /// Moves items whose DeferDate has come to the ready ones. `marked`: the name of the marks.
    pub(super) fn promote(
        &self,
        queue: i64,
        now: Option<Timestamp>,
        marked: String,
        numbers: EntryNumbers,
    ) -> BoundQuery {
        let values: Vec<OwnedValue> = vec![
            Box::new(queue),
            Box::new(now),
            Box::new(self.deferred),
            Box::new(self.deferred_since),
            Box::new(marked),
            Box::new(numbers == EntryNumbers::Drawn),
        ];
        BoundQuery { sql: ready_items::PROMOTE.into(), values }
    }

    /// Whether numbers above `last`, the last one drawn, are known: then a server that crashed has forgotten them.
    pub(super) fn belong_to_another_server(&self, last: i64) -> bool {
        last < self.since.max(self.deferred_since)
    }

    /// The queries that update the watermarks.
    pub(super) fn update_queries(
        &mut self,
        queue: i64,
        now: Option<Timestamp>,
    ) -> impl Iterator<Item = BoundQuery> {
        let [high, normal, low] = self.plain;
        let values: Vec<OwnedValue> = vec![
            Box::new(queue),
            Box::new(high),
            Box::new(normal),
            Box::new(low),
            Box::new(self.due.0),
            Box::new(self.due.1),
            Box::new(self.due.2),
            Box::new(self.since),
            Box::new(self.deferred),
            Box::new(now),
            Box::new(self.deferred_since),
        ];
        [BoundQuery { sql: FIRSTS.into(), values }].into_iter().chain(self.backlog.update_queries())
    }

    /// Uses their results. `safe`: before they were sent, everything with a lower number was visible, or never will be.
    /// Returns whether only items without a DueDate wait, and none before the watermarks.
    pub(super) fn update(
        &mut self,
        answers: &[Vec<Row>],
        queue: i64,
        safe: i64,
        session: &mut Session,
    ) -> Result<bool> {
        let Some(firsts) = answers.first().and_then(|rows| rows.first()) else { return Ok(false) };
        if let Some(still_there) = answers.get(1) {
            self.backlog.update(still_there)?;
        }
        // A transaction that draws numbers now may have a lower mark: it is named by the first of several numbers.
        let safe = safe.max(self.since);
        for at in 0..RANKS {
            let waits: Option<i64> = get(firsts, at)?;
            self.plain[at] = self.plain[at].max(waits.map_or(safe, |waiting| waiting.min(safe)));
        }
        let due: Option<i16> = get(firsts, 3)?;
        self.due = match due {
            Some(rank) => (rank, get(firsts, 4)?, get(firsts, 5)?),
            None => BEHIND_DUE,
        };
        self.deferred = self.deferred.max(Some(get(firsts, 13)?));
        let (before, oldest): (i64, Option<i64>) = (get(firsts, 6)?, get(firsts, 7)?);
        let oldest = oldest.unwrap_or(safe).min(safe);
        self.since = if before > MAX_BEFORE || safe - oldest > MAX_AGE {
            self.remember(queue, safe, firsts, session)?;
            safe
        } else {
            oldest.max(self.since)
        };
        let deferred: Option<i64> = get(firsts, 14)?;
        self.deferred_since = deferred.map_or(safe, |oldest| oldest.min(safe)).max(self.deferred_since);
        Ok(due.is_none() && before == 0 && self.backlog.is_empty())
    }

    /// Moves items before the watermarks to the backlog. If they are too many, or cannot be moved yet because a
    /// transaction that adds is open, the watermarks are moved back.
    fn remember(&mut self, queue: i64, safe: i64, firsts: &Row, session: &mut Session) -> Result<()> {
        let before: i64 = get(firsts, 6)?;
        let most = backlog::MAX_ITEMS.saturating_sub(self.backlog.len());
        let [high, normal, low] = self.plain;
        let (rank, due_date, id) = self.due;
        let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        let rows = session.query(
            MANY,
            &[&queue, &self.since, &high, &normal, &low, &rank, &due_date, &id, &safe, &limit],
        )?;
        let left = before - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if rows.len() <= most && left <= MAX_BEFORE {
            return self.backlog.add(&rows);
        }
        for key in self.backlog.forget() {
            match usize::try_from(key.0 - FIRST_RANK) {
                Ok(at) => self.plain[at] = self.plain[at].min(key.2),
                Err(_) => self.due = self.due.min(key),
            }
        }
        let (rank, due_date): (Option<i16>, Option<i64>) = (get(firsts, 8)?, get(firsts, 9)?);
        if let (Some(rank), Some(due_date)) = (rank, due_date) {
            self.due = self.due.min((rank, due_date, i64::MIN));
        }
        for (at, floor) in self.plain.iter_mut().enumerate() {
            *floor = get::<Option<i64>>(firsts, 10 + at)?.map_or(*floor, |first| first.min(*floor));
        }
        Ok(())
    }
}
