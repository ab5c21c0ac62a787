//! Where a walk along what waits begins.
//!
//! At the very beginning it would pass all that was taken since the table was cleaned up last, which beside a transaction that
//! keeps an old snapshot is all that was taken since: each claim would be slower than the one before. So a store remembers for
//! each queue keys before which nothing waits, its floors: one for items with a DueDate, one for each priority of items
//! without, and one for those that are deferred. And it remembers a number: what was entered below that one is not before a
//! floor; what was entered since may be, and is looked up by its number (`entered`). New items without a DueDate have none: their
//! own numbers are their keys, and a floor among them is no higher than what is entered since.
//!
//! Three rules make that safe, whatever others do at the same time.
//!
//! * Whoever draws numbers holds a mark, from before the first is drawn until the transaction ends: a shared
//!   lock, which keeps nobody waiting, named by how far the numbers had come. So a number below the last one that was drawn,
//!   and below all marks that are seen after that, belongs to a transaction that is over, and what it left is seen from then on.
//!   Only then is it looked which is the first that waits.
//! * An item that begins to wait with an old number (its DeferDate came, it was given back or edited) has another one drawn
//!   for it, which is its entry.
//! * What a transaction saw that was undone is forgotten; and everything, when the server was started anew or is another one, or
//!   the connection is another one: numbers that were drawn and not on disk may be drawn again after a crash.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::super::super::Result;
use super::super::rows::NextItems;
use super::columns::get;
use super::watermarks::{self, Watermarks};
use super::ready_items::{self, ClaimQuery, Items, EntryNumbers};
use super::session::{BoundQuery, OwnedValue, Session};
use super::{Postgres, QUEUES};
use crate::model::item::QueueItem;
use crate::model::key::ItemId;
use crate::model::lifecycle::ItemState;
use crate::model::selection::is_deferred;

/// It is looked where the front is after so many walks, or so many items.
const WALKS: u32 = 8;
const ITEMS: usize = 512;

/// And so many where they stand between others that were taken before.
const BACKLOG_ITEMS: usize = 128;

/// How often it is looked from the beginning on when nothing is found where only items without a DueDate wait. There is nothing that only this would find, unless
/// somebody else writes into the tables.
const FULL_WALK_INTERVAL: Duration = Duration::from_secs(60);

/// What the marks of a schema are called.
const MARK_NAME: &str = "new";

/// Taken before a number is drawn.
const MARK: &str = concat!("SELECT ", ready_items::mark!("$1"), " FROM item_id");

/// And where the rows of the table are: VACUUM FULL and the like move them all.
const LAST: &str = "SELECT last_value, pg_relation_filenode('item_ready')::bigint FROM item_id";

/// The first mark; and, from the same list, how many transactions of other processes keep the queues as they are: all that
/// write items do.
const MARKS: &str = "SELECT min(objid::bigint) FILTER (WHERE objsubid = 2 AND classid = hashtext($1)::oid), \
     count(*) FILTER (WHERE objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = hashtextextended($2, 0) \
     AND pid <> ALL ($3::integer[])) FROM pg_locks WHERE locktype = 'advisory' \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// For so long others are taken to be at work that were seen to be.
const OTHERS_MEMORY: Duration = Duration::from_secs(1);

/// What is known of a queue's front.
#[derive(Debug, Default)]
pub(super) struct ClaimCursor {
    watermarks: Watermarks,
    /// Only items without a DueDate were seen to wait: walks are along those.
    is_plain: bool,
    /// Where the rows of `item_ready` were when it was looked last.
    file: i64,
    is_known: bool,
    walks: u32,
    items: usize,
    last_full_walk: Option<Instant>,
    /// The queue's limits allowed so few, when it was asked last.
    pub(super) allowed: Option<i64>,
}

/// The questions of a claim, which travel together: what has come of age, where the front is, the walk.
pub(super) struct ClaimPlan {
    pub(super) ask: ClaimQuery,
    /// Where the database's clock does not decide.
    pub(super) now: Option<Timestamp>,
    /// How many they are.
    pub(super) queries: usize,
    /// So many before the last tell where the front is.
    updates: usize,
    /// Where nothing is found, there may be something elsewhere.
    is_plain: bool,
}

impl Postgres {
    /// `now`: where the database's clock does not decide.
    pub(super) fn claim(&mut self, ask: ClaimQuery, now: Option<Timestamp>) -> (ClaimPlan, Vec<BoundQuery>) {
        let updates = self.cursors.entry(ask.queue).or_default().needs_update();
        let locks = updates.then(|| self.locks_query());
        let is_plain = self.cursors.entry(ask.queue).or_default().is_plain;
        let promote = (!is_plain).then(|| self.promoting(ask, now));
        let cursor = self.cursors.entry(ask.queue).or_default();
        let look = locks.map_or_else(Vec::new, |locks| cursor.update_queries(ask.queue, locks, now));
        let updates = look.len();
        let walk = cursor.walk(ask, now);
        let queries: Vec<_> = promote.into_iter().chain(look).chain([walk]).collect();
        (ClaimPlan { ask, now, queries: queries.len(), updates, is_plain }, queries)
    }

    /// What was answered to these questions.
    pub(super) fn claimed(&mut self, plan: &ClaimPlan, mut answers: Vec<Vec<Row>>) -> Result<Items> {
        let ClaimPlan { ask, now, updates, is_plain, .. } = *plan;
        let cursor = self.cursors.entry(ask.queue).or_default();
        let mut rows = answers.pop().unwrap_or_default();
        if updates > 0 {
            let look = &answers[answers.len().saturating_sub(updates)..];
            if cursor.update(look, ask.queue, &mut self.session)? {
                self.others_seen = Some(Instant::now());
            }
        }
        if updates > 0 && !cursor.is_known {
            rows = self.session.ask(&[watermarks::full_walk(ask)])?.pop().unwrap_or_default();
        }
        let asked = usize::try_from(ask.count).unwrap_or(usize::MAX);
        let mut extended = rows.is_empty() && is_plain;
        if extended {
            let promoting = self.promoting(ask, now);
            let cursor = self.cursors.entry(ask.queue).or_default();
            let everywhere = [promoting, cursor.thorough_walk(ask)];
            rows = self.session.ask(&everywhere)?.pop().unwrap_or_default();
            extended = !rows.is_empty();
        }
        let cursor = self.cursors.entry(ask.queue).or_default();
        while rows.len() < asked && cursor.watermarks.extend_walk() {
            rows = self.session.ask(&[cursor.watermarks.ordered_walk(ask)])?.pop().unwrap_or_default();
            extended = true;
        }
        // Or it passed everything behind the floors: they may be higher by now.
        extended |= !is_plain && rows.len() < asked;
        cursor.walked(rows.len(), extended);
        ready_items::prefetched_items(&mut self.session, &rows)
    }

    /// The first items that may be handed out. What came of age while the clock was ahead is deferred again.
    pub(super) fn next_to_take(&mut self, next: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        loop {
            let (items, places) = self.first_that_wait(next)?;
            let is_early = |(state, _): &(ItemState, Box<QueueItem>)| is_deferred(state, next.now);
            let early: Vec<ItemId> =
                items.iter().filter(|item| is_early(item)).map(|(_, item)| item.id).collect();
            // Rows that cannot be read were passed over: more may wait behind them.
            let found_fewer = std::mem::take(&mut self.session.found_fewer);
            if early.is_empty() && found_fewer && items.len() < next.count {
                continue;
            }
            if early.is_empty() {
                self.places = places;
                return Ok(items);
            }
            let rows: Vec<_> =
                places.iter().filter(|place| early.contains(&place.id)).map(|place| place.row).collect();
            self.mark()?;
            let numbers = self.numbers();
            ready_items::defer_again(&mut self.session, next.queue.0, &rows, numbers)?;
        }
    }

    fn first_that_wait(&mut self, next: &NextItems<'_>) -> Result<Items> {
        self.record_allowed(next);
        self.announce_claim = None;
        let prefetched_items = self.prefetched_items.take().filter(|prefetched_items| prefetched_items.is_answer_to(next));
        match (prefetched_items, next.reference) {
            (Some(prefetched_items), _) => Ok(prefetched_items.up_to(next.count)),
            (None, Some(filter)) => {
                self.promote(ClaimQuery::of(next), next.now)?;
                ready_items::next_with_references(&mut self.session, next, filter)
            }
            (None, None) => {
                let (plan, queries) = self.claim(ClaimQuery::of(next), Some(next.now));
                let answers = self.session.ask(&queries)?;
                self.claimed(&plan, answers)
            }
        }
    }

    /// What has come of age is ready.
    pub(super) fn promote(&mut self, ask: ClaimQuery, now: Timestamp) -> Result<()> {
        let query = self.promoting(ask, Some(now));
        self.session.enqueue(&query.sql, &query.bound())
    }

    fn promoting(&mut self, ask: ClaimQuery, now: Option<Timestamp>) -> BoundQuery {
        let (marked, numbers) = (self.lock_name(MARK_NAME), self.numbers());
        self.cursors.entry(ask.queue).or_default().watermarks.promote(ask.queue, now, marked, numbers)
    }

    /// Which numbers are given to what is entered again.
    pub(super) fn numbers(&self) -> EntryNumbers {
        if self.max_ids > 1 { EntryNumbers::Drawn } else { EntryNumbers::Last }
    }

    fn locks_query(&self) -> BoundQuery {
        let own = self.listener.as_ref().map(|(listener, _)| listener.processes()).unwrap_or_default();
        let values: Vec<OwnedValue> =
            vec![Box::new(self.lock_name(MARK_NAME)), Box::new(self.lock_name(QUEUES)), Box::new(own)];
        BoundQuery { sql: MARKS.into(), values }
    }

    /// Whether other processes write at the same time.
    pub(super) fn has_other_writers(&self) -> bool {
        self.others_seen.is_some_and(|seen| seen.elapsed() < OTHERS_MEMORY)
    }

    /// Whoever draws numbers says so before.
    pub(super) fn mark(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.marked, true) {
            let marking = self.marking();
            self.session.enqueue(&marking.sql, &marking.bound())?;
        }
        Ok(())
    }

    pub(super) fn marking(&self) -> BoundQuery {
        BoundQuery { sql: MARK.into(), values: vec![Box::new(self.lock_name(MARK_NAME))] }
    }
}

impl ClaimCursor {
    /// The walk that is nearly always the right one. Where it finds nothing, [`thorough_walk`](Self::thorough_walk) does.
    fn walk(&mut self, ask: ClaimQuery, now: Option<Timestamp>) -> BoundQuery {
        if !self.is_known {
            watermarks::full_walk(ask)
        } else if self.is_plain {
            self.watermarks.plain_walk(ask, now)
        } else {
            self.watermarks.ordered_walk(ask)
        }
    }

    /// The walk that finds something wherever it is.
    fn thorough_walk(&mut self, ask: ClaimQuery) -> BoundQuery {
        let now = Instant::now();
        let whole = now - *self.last_full_walk.get_or_insert(now) >= FULL_WALK_INTERVAL;
        if whole {
            self.last_full_walk = Some(now);
            return watermarks::full_walk(ask);
        }
        self.watermarks.ordered_walk(ask)
    }

    /// So many items were found by a walk. `surprised`: it was not a short one.
    fn walked(&mut self, items: usize, extended: bool) {
        self.walks = if extended { WALKS } else { self.walks + 1 };
        self.items += items;
        self.watermarks.found(items);
    }

    fn needs_update(&self) -> bool {
        let items = if self.is_plain { ITEMS } else { BACKLOG_ITEMS };
        !self.is_known || self.walks >= WALKS || self.items >= items
    }

    /// The questions that tell where the front is now. In this order, each by itself.
    fn update_queries(&mut self, queue: i64, locks: BoundQuery, now: Option<Timestamp>) -> Vec<BoundQuery> {
        let last = BoundQuery { sql: LAST.into(), values: Vec::new() };
        [last, locks].into_iter().chain(self.watermarks.update_queries(queue, now)).collect()
    }

    /// What was answered to these questions. Answers whether others were seen at work.
    fn update(&mut self, answers: &[Vec<Row>], queue: i64, session: &mut Session) -> Result<bool> {
        let [Some(last), Some(mark)] = [0, 1].map(|at| answers.get(at).and_then(|rows| rows.first())) else {
            return Ok(false);
        };
        let (last, file): (i64, i64) = (get(last, 0)?, get(last, 1)?);
        let (mark, others): (Option<i64>, i64) = (get(mark, 0)?, get(mark, 1)?);
        if self.is_known && (self.file != file || self.watermarks.belong_to_another_server(last)) {
            *self = Self::default(); // nothing is known any more
            return Ok(others > 0);
        }
        let safe = mark.map_or(last, |mark| last.min(mark << ready_items::MARK_SHIFT));
        self.is_plain = self.watermarks.update(&answers[2..], queue, safe, session)?;
        self.file = file;
        (self.is_known, self.walks, self.items) = (true, 0, 0);
        Ok(others > 0)
    }
}
