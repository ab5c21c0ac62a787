//! Where searches begin in a queue whose groups take turns.
//!
//! There the key of a ready item has the turn of its group, and items of all ranks have one. An item becomes ready when its group is
//! settled or the rules are changed, under the lock of the queue that its claims need too. So nothing is entered while a transaction
//! with that lock looks, and no marks are needed: what is entered later has the last number that was drawn then, or a higher one.

use tokio_postgres::Row;

use super::super::columns::{get, new_item_columns};
use super::super::ready_items::ClaimQuery;
use super::super::session::{BoundQuery, OwnedValue};
use performer_core::orchestrator::Result;

/// How many ranks there are, of [`rank`](performer_core::model::selection::rank).
pub(in super::super) const RANKS: usize = 6;

/// A key after all others of its rank.
const NO_TURN: (i64, i64) = (i64::MAX, i64::MAX);

/// After so many searches the first turns are read again, if no group was settled meanwhile.
const WALKS: u32 = 8;

/// Where each rank begins: at the first turn that is known, or before it at an item that was entered since.
macro_rules! beginnings {
    () => {
        "WITH earlier AS MATERIALIZED (SELECT rank, min(ARRAY[due_date, item_id]) AS first FROM item_ready \
         WHERE queue_id + 0 = $1 AND entered >= $2 \
         AND (due_date, item_id) < (($3::bigint[])[rank + 1], ($4::bigint[])[rank + 1]) GROUP BY rank), \
         beginnings AS MATERIALIZED (SELECT known.rank, coalesce(earlier.first[1], known.due_date) AS due_date, \
         coalesce(earlier.first[2], known.item_id) AS item_id \
         FROM unnest('{0,1,2,3,4,5}'::smallint[], $3::bigint[], $4::bigint[]) AS known (rank, due_date, item_id) \
         LEFT JOIN earlier ON earlier.rank = known.rank) "
    };
}

/// The first ready item of each rank, and the last number drawn.
const FIRSTS: &str = concat!(
    beginnings!(),
    "SELECT beginnings.rank, first.due_date, first.item_id, (SELECT last_value FROM item_id) \
     FROM beginnings LEFT JOIN LATERAL (SELECT due_date, item_id FROM item_ready WHERE queue_id = $1 \
     AND rank = beginnings.rank AND (due_date, item_id) >= (beginnings.due_date, beginnings.item_id) \
     ORDER BY due_date, item_id LIMIT 1) AS first ON true"
);

/// Walks the ready items of one rank after the other, until there are enough.
const WALK: &str = concat!(
    beginnings!(),
    ", next AS MATERIALIZED (SELECT ready.* FROM (SELECT * FROM beginnings ORDER BY rank OFFSET 0) AS ranks \
     CROSS JOIN LATERAL (SELECT ctid AS place, rank, due_date, item_id, touched FROM item_ready WHERE queue_id = $1 \
     AND rank = ranks.rank AND (due_date, item_id) >= (ranks.due_date, ranks.item_id) \
     ORDER BY due_date, item_id LIMIT $5 FOR UPDATE SKIP LOCKED) AS ready LIMIT $5) SELECT ",
    of_next!(),
    " ORDER BY next.rank, next.due_date, next.item_id"
);

/// What is known about the ready items of a queue whose groups take turns.
#[derive(Debug)]
pub(in super::super) struct TurnCursor {
    /// By rank: turn and item before which none is ready, but for those that were entered with this number or a later one.
    firsts: [(i64, i64); RANKS],
    since: i64,
    /// How many searches began here.
    walks: u32,
}

/// Nothing is known: searches begin at the beginning.
impl Default for TurnCursor {
    fn default() -> Self {
        Self { firsts: [(i64::MIN, i64::MIN); RANKS], since: i64::MAX, walks: WALKS }
    }
}

impl TurnCursor {
    pub(super) fn needs_update(&self) -> bool {
        self.walks >= WALKS
    }

    /// The query for the first ready items. The transaction has the lock of the queue.
    pub(in super::super) fn update_query(&self, queue: i64) -> BoundQuery {
        BoundQuery { sql: FIRSTS.into(), values: self.values(queue) }
    }

    /// Uses its result. Returns the first turn of each rank.
    pub(in super::super) fn update(&mut self, rows: &[Row]) -> Result<[Option<i64>; RANKS]> {
        let mut firsts = [None; RANKS];
        for row in rows {
            let (rank, turn, item): (i16, Option<i64>, Option<i64>) =
                (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            if let Some(at) = usize::try_from(rank).ok().filter(|rank| *rank < RANKS) {
                self.firsts[at] = turn.zip(item).unwrap_or(NO_TURN);
                firsts[at] = turn;
            }
            (self.since, self.walks) = (get(row, 3)?, 0);
        }
        Ok(firsts)
    }

    /// The search.
    pub(super) fn walk(&mut self, ClaimQuery { queue, count, .. }: ClaimQuery) -> BoundQuery {
        self.walks += 1;
        let mut values = self.values(queue);
        values.push(Box::new(count));
        BoundQuery { sql: WALK.into(), values }
    }

    fn values(&self, queue: i64) -> Vec<OwnedValue> {
        let (turns, items): (Vec<i64>, Vec<i64>) = self.firsts.iter().copied().unzip();
        vec![Box::new(queue), Box::new(self.since), Box::new(turns), Box::new(items)]
    }
}
