//! Where searches for waiting items begin.
//!
//! A search from the very beginning would have to skip all rows that were claimed since the table was vacuumed last,
//! which beside a transaction with an old snapshot is all rows ever claimed: each claim would be slower than the one
//! before. So a store remembers for each queue its *watermarks*: keys before which no item waits. There is one for
//! items with a DueDate, one for each priority of items without, and one for deferred items. And it remembers an entry
//! number: an item that was entered with a lower number is not before a watermark; one that was entered since may be,
//! and is found by its entry number (`entered`). New items without a DueDate have none: their ids are their keys, and a
//! watermark among them is not above what is entered later.
//!
//! Three rules make that safe, whatever others do at the same time.
//!
//! * A transaction that draws numbers holds a mark, from before the first is drawn until its end: a shared lock, which
//!   blocks nobody, and is named by the numbers drawn so far. So a number below the last one drawn, and below all marks
//!   that are seen afterwards, belongs to a transaction that is over, and its changes are visible from then on. Only
//!   then is the first waiting item searched.
//! * An item that begins to wait with an old id (its DeferDate came, it was given back or edited) gets a newly drawn
//!   entry number.
//! * What was read in a transaction that was undone is forgotten; and everything, after a restart of the server, on
//!   another server or another connection: numbers that were drawn and not on disk may be drawn again after a crash.

/// The columns of items that a search has locked. They are nearly always in the right order, and sorted here if not:
/// the database would sort them each time. Most waiting items were never touched, and have no other rows; the others
/// are read afterwards.
macro_rules! of_next {
    () => {
        concat!(
            new_item_columns!(),
            ", next.place, next.touched, item.root_id IS NOT NULL FROM next JOIN item ON item.id = next.item_id"
        )
    };
}

mod backlog;
mod turns;
mod watermarks;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_postgres::Row;

pub(super) use self::turns::RANKS;
use self::turns::TurnCursor;
use self::watermarks::Watermarks;
use super::super::rows::NextItems;
use super::columns::get;
use super::ready_items::{self, ClaimQuery, EntryNumbers, ItemOrder, Items};
use super::session::{BoundQuery, OwnedValue, Session};
use super::{Postgres, QUEUES};
use performer_core::model::item::QueueItem;
use performer_core::model::key::ItemId;
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::{SelectionKey, is_deferred};
use performer_core::orchestrator::Result;

/// The watermarks are updated after so many searches, or so many claimed items.
const WALKS: u32 = 8;
const ITEMS: usize = 512;

/// The same, if the search also covers items before the watermarks.
const BACKLOG_ITEMS: usize = 128;

/// How often to search from the beginning when nothing is found in a queue with only items without a DueDate. Nothing
/// is found only by that, unless somebody else writes into the tables.
const FULL_WALK_INTERVAL: Duration = Duration::from_secs(60);

/// Name of the marks of a schema.
const MARK_NAME: &str = "new";

/// Taken before a number is drawn.
const MARK: &str = concat!("SELECT ", ready_items::mark!("$1"), " FROM item_id");

/// The last number; and the file of the table, because VACUUM FULL and the like move all rows.
const LAST: &str = "SELECT last_value, pg_relation_filenode('item_ready')::bigint FROM item_id";

/// The lowest mark; and, from the same view, how many transactions of other processes share the lock of the queues, as
/// all do that write items.
const MARKS: &str = "SELECT min(objid::bigint) FILTER (WHERE objsubid = 2 AND classid = hashtext($1)::oid), \
     count(*) FILTER (WHERE objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = hashtextextended($2, 0) \
     AND pid <> ALL ($3::integer[])) FROM pg_locks WHERE locktype = 'advisory' \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// How long other writers count as active after they were seen.
const OTHERS_MEMORY: Duration = Duration::from_secs(1);

/// What is known about the waiting items of a queue.
#[derive(Debug, Default)]
pub(super) struct ClaimCursor {
    watermarks: Watermarks,
    /// Of a queue whose groups take turns.
    pub(super) turns: TurnCursor,
    /// Only items without a DueDate were seen: only those are searched.
    is_plain: bool,
    /// The file of `item_ready` at the last update.
    file: i64,
    is_known: bool,
    walks: u32,
    items: usize,
    last_full_walk: Option<Instant>,
    /// How many items the queue's limits allowed the last time.
    pub(super) allowed: Option<i64>,
}

/// The queries of a claim, sent in one round trip: due items, watermarks, search.
pub(super) struct ClaimPlan {
    pub(super) ask: ClaimQuery,
    /// Only if the database's clock does not decide.
    pub(super) now: Option<Timestamp>,
    /// How many queries there are.
    pub(super) queries: usize,
    /// How many of them, before the last, update the watermarks.
    updates: usize,
    /// If nothing is found, there may be something elsewhere.
    is_plain: bool,
}

impl Postgres {
    /// `now`: only if the database's clock does not decide.
    pub(super) fn claim(&mut self, ask: ClaimQuery, now: Option<Timestamp>) -> (ClaimPlan, Vec<BoundQuery>) {
        if ask.take_turns() {
            let cursor = &mut self.cursors.entry(ask.queue).or_default().turns;
            let update = cursor.needs_update().then(|| cursor.update_query(ask.queue));
            let queries: Vec<_> = update.into_iter().chain([cursor.walk(ask)]).collect();
            let updates = queries.len() - 1;
            return (ClaimPlan { ask, now, queries: queries.len(), updates, is_plain: false }, queries);
        }
        let updates = self.cursors.entry(ask.queue).or_default().needs_update();
        let locks = updates.then(|| self.locks_query());
        let is_plain = self.cursors.entry(ask.queue).or_default().is_plain;
        let promote = (!is_plain && ask.groups.is_none()).then(|| self.promoting(ask, now));
        let cursor = self.cursors.entry(ask.queue).or_default();
        let look = locks.map_or_else(Vec::new, |locks| cursor.update_queries(ask.queue, locks, now));
        let updates = look.len();
        let walk = cursor.walk(ask, now);
        let queries: Vec<_> = promote.into_iter().chain(look).chain([walk]).collect();
        (ClaimPlan { ask, now, queries: queries.len(), updates, is_plain }, queries)
    }

    /// Uses the results of these queries.
    pub(super) fn claimed(&mut self, plan: &ClaimPlan, mut answers: Vec<Vec<Row>>) -> Result<Items> {
        let ClaimPlan { ask, now, updates, is_plain, .. } = *plan;
        let cursor = self.cursors.entry(ask.queue).or_default();
        let mut rows = answers.pop().unwrap_or_default();
        if ask.take_turns() {
            if let Some(firsts) = answers.last() {
                cursor.turns.update(firsts)?;
            }
            return ready_items::prefetched_items(&mut self.session, &rows, ItemOrder::Turns);
        }
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
            let promote = ask.groups.is_none().then(|| self.promoting(ask, now));
            let cursor = self.cursors.entry(ask.queue).or_default();
            let everywhere: Vec<_> = promote.into_iter().chain([cursor.thorough_walk(ask)]).collect();
            rows = self.session.ask(&everywhere)?.pop().unwrap_or_default();
            extended = !rows.is_empty();
        }
        let cursor = self.cursors.entry(ask.queue).or_default();
        while rows.len() < asked && cursor.watermarks.extend_walk() {
            rows = self.session.ask(&[cursor.watermarks.ordered_walk(ask)])?.pop().unwrap_or_default();
            extended = true;
        }
        // A search that found too few passed everything after the watermarks: they may be higher by now.
        extended |= !is_plain && rows.len() < asked;
        cursor.walked(rows.len(), extended);
        ready_items::prefetched_items(&mut self.session, &rows, ItemOrder::Keys)
    }

    /// The first items that may be claimed. Items that came due while the clock was ahead are deferred again.
    pub(super) fn next_to_take(&mut self, next: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        self.record_allowed(next);
        if next.groups.is_some() {
            return self.next_of_groups(next);
        }
        loop {
            let (items, places) = self.first_that_wait(next)?;
            let is_early = |(state, _): &(ItemState, Box<QueueItem>)| is_deferred(state, next.now);
            let early: Vec<ItemId> =
                items.iter().filter(|item| is_early(item)).map(|(_, item)| item.id).collect();
            // Rows that cannot be read were skipped: more items may wait after them.
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

    /// As [`next_to_take`](Self::next_to_take), of a queue with rules about groups: an item that came due while the clock was ahead
    /// keeps its slot, and is passed over.
    fn next_of_groups(&mut self, next: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        let mut count = next.count;
        loop {
            let (mut items, places) = self.first_that_wait(&NextItems { count, ..*next })?;
            let found = items.len();
            let found_fewer = std::mem::take(&mut self.session.found_fewer);
            items.retain(|(state, _)| !is_deferred(state, next.now));
            if items.len() >= next.count || found < count && !found_fewer {
                items.truncate(next.count);
                self.places = places;
                return Ok(items);
            }
            count = next.count.saturating_add(found - items.len());
        }
    }

    fn first_that_wait(&mut self, next: &NextItems<'_>) -> Result<Items> {
        let prefetched_items =
            self.prefetched_items.take().filter(|prefetched_items| prefetched_items.is_answer_to(next));
        match (prefetched_items, next.reference) {
            (Some(prefetched_items), _) => Ok(prefetched_items.up_to(next.count)),
            (None, Some(filter)) => {
                if next.groups.is_none() {
                    self.promote(ClaimQuery::of(next), next.now)?;
                }
                ready_items::next_with_references(&mut self.session, next, filter)
            }
            (None, None) => {
                let (plan, queries) = self.claim(ClaimQuery::of(next), Some(next.now));
                let answers = self.session.ask(&queries)?;
                self.claimed(&plan, answers)
            }
        }
    }

    /// An item begins to wait: what was found before is not the first any more, unless the item comes after it.
    pub(super) fn begins_to_wait(&mut self, id: ItemId, state: &ItemState) {
        let key = SelectionKey::new(state.priority, state.due_date, id);
        self.prefetched_items.take_if(|found| !found.are_before(key));
    }

    /// Moves items whose DeferDate has come to the ready ones.
    pub(super) fn promote(&mut self, ask: ClaimQuery, now: Timestamp) -> Result<()> {
        let query = self.promoting(ask, Some(now));
        self.session.enqueue(&query.sql, &query.bound())
    }

    fn promoting(&mut self, ask: ClaimQuery, now: Option<Timestamp>) -> BoundQuery {
        let (marked, numbers) = (self.mark_name(), self.numbers());
        self.cursors.entry(ask.queue).or_default().watermarks.promote(ask.queue, now, marked, numbers)
    }

    /// Which entry numbers are given to items that are entered again.
    pub(super) fn numbers(&self) -> EntryNumbers {
        if self.max_ids > 1 { EntryNumbers::Drawn } else { EntryNumbers::Last }
    }

    fn locks_query(&self) -> BoundQuery {
        let own = self.listener.as_ref().map(|(listener, _)| listener.processes()).unwrap_or_default();
        let values: Vec<OwnedValue> =
            vec![Box::new(self.mark_name()), Box::new(self.lock_name(QUEUES)), Box::new(own)];
        BoundQuery { sql: MARKS.into(), values }
    }

    /// Whether other processes write at the same time.
    pub(super) fn has_other_writers(&self) -> bool {
        self.others_seen.is_some_and(|seen| seen.elapsed() < OTHERS_MEMORY)
    }

    /// Takes the mark before numbers are drawn.
    pub(super) fn mark(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.marked, true) {
            let marking = self.marking();
            self.session.enqueue(&marking.sql, &marking.bound())?;
        }
        Ok(())
    }

    pub(super) fn marking(&self) -> BoundQuery {
        BoundQuery { sql: MARK.into(), values: vec![Box::new(self.mark_name())] }
    }

    /// The name of the marks.
    pub(super) fn mark_name(&self) -> String {
        self.lock_name(MARK_NAME)
    }
}

impl ClaimCursor {
    /// The search that nearly always finds enough. If it finds nothing, [`thorough_walk`](Self::thorough_walk) is
    /// tried.
    fn walk(&mut self, ask: ClaimQuery, now: Option<Timestamp>) -> BoundQuery {
        if !self.is_known {
            watermarks::full_walk(ask)
        } else if self.is_plain {
            self.watermarks.plain_walk(ask, now)
        } else {
            self.watermarks.ordered_walk(ask)
        }
    }

    /// The search that finds items wherever they are.
    fn thorough_walk(&mut self, ask: ClaimQuery) -> BoundQuery {
        let now = Instant::now();
        let whole = now - *self.last_full_walk.get_or_insert(now) >= FULL_WALK_INTERVAL;
        if whole {
            self.last_full_walk = Some(now);
            return watermarks::full_walk(ask);
        }
        self.watermarks.ordered_walk(ask)
    }

    /// Records a search. `extended`: it needed more than one attempt.
    fn walked(&mut self, items: usize, extended: bool) {
        self.walks = if extended { WALKS } else { self.walks + 1 };
        self.items += items;
        self.watermarks.found(items);
    }

    fn needs_update(&self) -> bool {
        let items = if self.is_plain { ITEMS } else { BACKLOG_ITEMS };
        !self.is_known || self.walks >= WALKS || self.items >= items
    }

    /// The queries that update the watermarks, in this order, each in a statement of its own.
    fn update_queries(&mut self, queue: i64, locks: BoundQuery, now: Option<Timestamp>) -> Vec<BoundQuery> {
        let last = BoundQuery { sql: LAST.into(), values: Vec::new() };
        [last, locks].into_iter().chain(self.watermarks.update_queries(queue, now)).collect()
    }

    /// Uses the results of these queries. Returns whether other writers were seen.
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
