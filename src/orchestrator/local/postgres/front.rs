//! Where a walk along what waits begins.
//!
//! At the very beginning it would pass all that was taken since the table was cleaned up last, which beside a transaction that
//! keeps an old snapshot is all that was taken since: each claim would be slower than the one before. So a store remembers for
//! each queue numbers below which nothing waits and nothing will, its floors: one for each priority of items without a DueDate.
//! The others, sorted by dates that may be any, are walked from the beginning.
//!
//! Three rules make a floor safe, whatever others do at the same time.
//!
//! * Whoever draws numbers for new items holds a mark, from before the first is drawn until the transaction ends: a shared
//!   lock, which keeps nobody waiting, named by how far the numbers had come. So a number below the last one that was drawn,
//!   and below all marks that are seen after that, belongs to a transaction that is over, and what it left is seen from then on.
//!   Only then is it looked which is the first that waits.
//! * An item that begins to wait with an old number (its DeferDate came, it was given back or edited) is entered as returned.
//!   While one is there, the walk begins at the beginning.
//! * What a transaction saw that was undone is forgotten; and everything, when the server was started anew or is another one:
//!   numbers that were drawn and not on disk may be drawn again there.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::super::super::Result;
use super::columns::{get, new_item_columns};
use super::order::{self, Ask, Items};
use super::session::{Question, Value};
use super::{Postgres, QUEUES};

/// Ranks of items without a DueDate, by priority (model::selection).
const FIRST_RANK: i16 = 3;
const RANKS: usize = 3;

/// It is looked where the front is after so many walks, or so many items.
const WALKS: u32 = 8;
const ITEMS: usize = 512;

/// How often it is looked from the beginning on when nothing is found. There is nothing that only this would find, unless
/// somebody else writes into the tables.
const FROM_THE_BEGINNING_AFTER: Duration = Duration::from_secs(60);

/// So many questions tell where the front is.
const LOOK: usize = 3;

/// So many numbers share a mark.
const MARK_SHIFT: u32 = 8;

/// What the marks of a schema are called.
const MARKED: &str = "new";

/// Taken before a number is drawn.
const MARK: &str = "SELECT pg_advisory_xact_lock_shared(hashtext($1), \
                               ((last_value >> 8) & 2147483647)::integer) FROM item_id";

const LAST: &str = "SELECT last_value FROM item_id";

/// The first mark; and, from the same list, how many transactions of other processes keep the queues as they are: all that
/// write items do.
const MARKS: &str = "SELECT min(objid::bigint) FILTER (WHERE objsubid = 2 AND classid = hashtext($1)::oid), \
     count(*) FILTER (WHERE objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = hashtextextended($2, 0) \
     AND pid <> ALL ($3::integer[])) FROM pg_locks WHERE locktype = 'advisory' \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// For so long others are taken to be at work that were seen to be.
const OTHERS_SEEN: Duration = Duration::from_secs(1);

/// The first that waits without a DueDate, by priority; and whether any waits with one.
const FIRSTS: &str = "SELECT \
     (SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = 3 AND due_date = 0 AND item_id >= $2 \
     ORDER BY item_id LIMIT 1), \
     (SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = 4 AND due_date = 0 AND item_id >= $3 \
     ORDER BY item_id LIMIT 1), \
     (SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = 5 AND due_date = 0 AND item_id >= $4 \
     ORDER BY item_id LIMIT 1), \
     EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank < 3)";

/// What is read of the items that a walk has locked. They are found in the right order, nearly always, and sorted here where
/// they are not: the database would do that each time. Nothing ever happened to most of what waits, and nothing is read of
/// that: of the others, all is read afterwards.
macro_rules! of_next {
    () => {
        concat!(
            new_item_columns!(),
            ", next.place, next.touched, item.root_id IS NOT NULL FROM next JOIN item ON item.id = next.item_id"
        )
    };
}

/// The columns of `item_ready` that a walk is about.
macro_rules! waiting {
    () => {
        "SELECT ctid AS place, rank, due_date, item_id, touched FROM item_ready WHERE queue_id = $1"
    };
}

/// One walk along `item_ready`. The index is sorted as the model sorts items, so nothing is sorted and the walk ends when
/// enough is locked, whatever else the queue holds. What another transaction is taking is passed over. The walk and the locks
/// come first; only what was locked is looked up.
const FROM_THE_BEGINNING: &str = concat!(
    "WITH next AS MATERIALIZED (",
    waiting!(),
    " ORDER BY rank, due_date, item_id LIMIT $2 FOR UPDATE SKIP LOCKED) SELECT ",
    of_next!()
);

/// The same from the floor of a rank on. Nothing, if anything comes before that, or is about to: its DeferDate has come.
const FROM_A_FLOOR: &str = concat!(
    "WITH next AS MATERIALIZED (",
    waiting!(),
    " AND (rank, due_date, item_id) >= ($3::smallint, 0::bigint, $4::bigint) \
     AND NOT EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND returned) \
     AND NOT EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank < 3) \
     AND NOT EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = 3 AND due_date = 0 AND item_id >= $5) \
     AND NOT EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = 4 AND due_date = 0 AND item_id >= $6) \
     AND NOT EXISTS (SELECT 1 FROM item_deferred WHERE queue_id = $1 \
     AND defer_date <= coalesce($7, transaction_timestamp())) \
     ORDER BY rank, due_date, item_id LIMIT $2 FOR UPDATE SKIP LOCKED) SELECT ",
    of_next!()
);

/// The same along one rank after the other, each from its floor on; from the beginning, if any has returned.
const FROM_ALL_FLOORS: &str = concat!(
    "WITH back AS MATERIALIZED (SELECT CASE WHEN EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND returned) \
     THEN $2::bigint ELSE 0 END AS many), \
     whole AS MATERIALIZED (",
    waiting!(),
    " ORDER BY rank, due_date, item_id LIMIT (SELECT many FROM back) FOR UPDATE SKIP LOCKED), \
     due AS MATERIALIZED (",
    waiting!(),
    " AND rank < 3 ORDER BY rank, due_date, item_id LIMIT $2 - (SELECT many FROM back) FOR UPDATE SKIP LOCKED), \
     high AS MATERIALIZED (",
    waiting!(),
    " AND rank = 3 AND due_date = 0 AND item_id >= $3 ORDER BY item_id \
     LIMIT $2 - (SELECT many FROM back) - (SELECT count(*) FROM due) FOR UPDATE SKIP LOCKED), \
     normal AS MATERIALIZED (",
    waiting!(),
    " AND rank = 4 AND due_date = 0 AND item_id >= $4 ORDER BY item_id \
     LIMIT $2 - (SELECT many FROM back) - (SELECT count(*) FROM due) - (SELECT count(*) FROM high) \
     FOR UPDATE SKIP LOCKED), \
     low AS MATERIALIZED (",
    waiting!(),
    " AND rank = 5 AND due_date = 0 AND item_id >= $5 ORDER BY item_id \
     LIMIT $2 - (SELECT many FROM back) - (SELECT count(*) FROM due) - (SELECT count(*) FROM high) \
     - (SELECT count(*) FROM normal) FOR UPDATE SKIP LOCKED), \
     next AS (SELECT * FROM whole UNION ALL SELECT * FROM due UNION ALL SELECT * FROM high \
     UNION ALL SELECT * FROM normal UNION ALL SELECT * FROM low) SELECT ",
    of_next!()
);

/// What is known of a queue's front.
#[derive(Debug, Default)]
pub(super) struct Front {
    /// Below these numbers nothing waits: by priority, without a DueDate.
    floors: [i64; RANKS],
    /// The first priority of which any was seen to wait. None: walks begin at the beginning.
    first: Option<usize>,
    looked: bool,
    walks: u32,
    items: usize,
    began_at_the_beginning: Option<Instant>,
}

/// The questions of a claim, which travel together: what has come of age, where the front is, the walk.
pub(super) struct Claiming {
    pub(super) ask: Ask,
    /// Where the database's clock does not decide.
    pub(super) now: Option<Timestamp>,
    /// How many they are.
    pub(super) questions: usize,
    looks: bool,
    /// Where nothing is found, there may be something before the floor.
    from_a_floor: bool,
}

impl Postgres {
    /// `now`: where the database's clock does not decide.
    pub(super) fn claim(&mut self, ask: Ask, now: Option<Timestamp>) -> (Claiming, Vec<Question>) {
        let looks = self.fronts.entry(ask.queue).or_default().is_time_to_look();
        let locks = looks.then(|| self.ask_locks());
        let front = self.fronts.entry(ask.queue).or_default();
        let from_a_floor = front.first.is_some();
        let promote = (!from_a_floor).then(|| promote(ask, now));
        let look = locks.map(|locks| front.look(ask.queue, locks));
        let walk = front.walk(ask, now);
        let questions: Vec<_> = promote.into_iter().chain(look.into_iter().flatten()).chain([walk]).collect();
        (Claiming { ask, now, questions: questions.len(), looks, from_a_floor }, questions)
    }

    /// What was answered to these questions.
    pub(super) fn claimed(&mut self, claiming: &Claiming, mut answers: Vec<Vec<Row>>) -> Result<Items> {
        let Claiming { ask, now, looks, from_a_floor, .. } = claiming;
        let front = self.fronts.entry(ask.queue).or_default();
        let mut rows = answers.pop().unwrap_or_default();
        if *looks && front.see(&answers[answers.len().saturating_sub(LOOK)..])? {
            self.others_seen = Some(Instant::now());
        }
        if rows.is_empty() && *from_a_floor {
            let everywhere = [promote(*ask, *now), front.walk_everywhere(*ask)];
            rows = self.session.ask(&everywhere)?.pop().unwrap_or_default();
        }
        front.walked(rows.len());
        order::offered(&mut self.session, &rows)
    }

    fn ask_locks(&self) -> Question {
        let own = self.listener.as_ref().map(|(listener, _)| listener.processes()).unwrap_or_default();
        let values: Vec<Value> =
            vec![Box::new(self.lock_name(MARKED)), Box::new(self.lock_name(QUEUES)), Box::new(own)];
        Question { sql: MARKS.into(), values }
    }

    /// Whether other processes write at the same time.
    pub(super) fn is_among_others(&self) -> bool {
        self.others_seen.is_some_and(|seen| seen.elapsed() < OTHERS_SEEN)
    }

    /// Whoever draws numbers for new items says so before.
    pub(super) fn mark(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.marked, true) {
            let marking = self.marking();
            self.session.later(&marking.sql, &marking.bound())?;
        }
        Ok(())
    }

    pub(super) fn marking(&self) -> Question {
        Question { sql: MARK.into(), values: vec![Box::new(self.lock_name(MARKED))] }
    }
}

/// What has come of age is ready.
fn promote(ask: Ask, now: Option<Timestamp>) -> Question {
    Question { sql: order::PROMOTE.into(), values: vec![Box::new(ask.queue), Box::new(now)] }
}

impl Front {
    /// The walk that is nearly always the right one. Where it finds nothing, [`walk_everywhere`](Self::walk_everywhere) does.
    fn walk(&self, Ask { queue, count }: Ask, now: Option<Timestamp>) -> Question {
        let Some(first) = self.first else {
            return Question {
                sql: FROM_THE_BEGINNING.into(),
                values: vec![Box::new(queue), Box::new(count)],
            };
        };
        let rank = FIRST_RANK + i16::try_from(first).unwrap_or(0);
        // Of the ranks from this one on, the walk itself tells.
        let before = |at: usize| if at < first { self.floors[at] } else { i64::MAX };
        let (high, normal) = (before(0), before(1));
        let values: Vec<Value> = vec![
            Box::new(queue),
            Box::new(count),
            Box::new(rank),
            Box::new(self.floors[first]),
            Box::new(high),
            Box::new(normal),
            Box::new(now),
        ];
        Question { sql: FROM_A_FLOOR.into(), values }
    }

    /// The walk that finds something wherever it is.
    fn walk_everywhere(&mut self, Ask { queue, count }: Ask) -> Question {
        let now = Instant::now();
        let whole = now - *self.began_at_the_beginning.get_or_insert(now) >= FROM_THE_BEGINNING_AFTER;
        if whole {
            self.began_at_the_beginning = Some(now);
            return Question {
                sql: FROM_THE_BEGINNING.into(),
                values: vec![Box::new(queue), Box::new(count)],
            };
        }
        let [high, normal, low] = self.floors;
        let values: Vec<Value> =
            vec![Box::new(queue), Box::new(count), Box::new(high), Box::new(normal), Box::new(low)];
        Question { sql: FROM_ALL_FLOORS.into(), values }
    }

    /// So many items were found by a walk.
    fn walked(&mut self, items: usize) {
        (self.walks, self.items) = (self.walks + 1, self.items + items);
    }

    fn is_time_to_look(&self) -> bool {
        !self.looked || self.walks >= WALKS || self.items >= ITEMS
    }

    /// The questions that tell where the front is now. In this order, each by itself.
    fn look(&self, queue: i64, locks: Question) -> [Question; LOOK] {
        let [high, normal, low] = self.floors;
        [
            Question { sql: LAST.into(), values: Vec::new() },
            locks,
            Question {
                sql: FIRSTS.into(),
                values: vec![Box::new(queue), Box::new(high), Box::new(normal), Box::new(low)],
            },
        ]
    }

    /// What was answered to these questions. Answers whether others were seen at work.
    fn see(&mut self, answers: &[Vec<Row>]) -> Result<bool> {
        let [Some(last), Some(mark), Some(firsts)] =
            [0, 1, 2].map(|at| answers.get(at).and_then(|rows| rows.first()))
        else {
            return Ok(false);
        };
        let (last, (mark, others)): (i64, (Option<i64>, i64)) =
            (get(last, 0)?, (get(mark, 0)?, get(mark, 1)?));
        let safe = mark.map_or(last, |mark| last.min(mark << MARK_SHIFT));
        let mut first = None;
        for at in (0..RANKS).rev() {
            let waits: Option<i64> = get(firsts, at)?;
            self.floors[at] = self.floors[at].max(waits.map_or(safe, |waiting| waiting.min(safe)));
            first = waits.map(|_| at).or(first);
        }
        let with_a_due_date: bool = get(firsts, RANKS)?;
        // Where nothing waits, the next one has the priority of the last, or none in particular.
        self.first = if with_a_due_date { None } else { first.or(self.first).or(Some(1)) };
        (self.looked, self.walks, self.items) = (true, 0, 0);
        Ok(others > 0)
    }
}
