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
use super::floors::{self, Floors};
use super::order::{self, Ask, Items, Numbers};
use super::session::{Question, Session, Value};
use super::{Postgres, QUEUES};
use crate::model::item::QueueItem;
use crate::model::key::ItemId;
use crate::model::lifecycle::ItemState;
use crate::model::selection::is_deferred;

/// It is looked where the front is after so many walks, or so many items.
const WALKS: u32 = 8;
const ITEMS: usize = 512;

/// And so many where they stand between others that were taken before.
const ITEMS_ANYWHERE: usize = 128;

/// How often it is looked from the beginning on when nothing is found where only items without a DueDate wait. There is nothing that only this would find, unless
/// somebody else writes into the tables.
const FROM_THE_BEGINNING_AFTER: Duration = Duration::from_secs(60);

/// What the marks of a schema are called.
const MARKED: &str = "new";

/// Taken before a number is drawn.
const MARK: &str = concat!("SELECT ", order::mark!("$1"), " FROM item_id");

/// And where the rows of the table are: VACUUM FULL and the like move them all.
const LAST: &str = "SELECT last_value, pg_relation_filenode('item_ready')::bigint FROM item_id";

/// The first mark; and, from the same list, how many transactions of other processes keep the queues as they are: all that
/// write items do.
const MARKS: &str = "SELECT min(objid::bigint) FILTER (WHERE objsubid = 2 AND classid = hashtext($1)::oid), \
     count(*) FILTER (WHERE objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = hashtextextended($2, 0) \
     AND pid <> ALL ($3::integer[])) FROM pg_locks WHERE locktype = 'advisory' \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// For so long others are taken to be at work that were seen to be.
const OTHERS_SEEN: Duration = Duration::from_secs(1);

/// What is known of a queue's front.
#[derive(Debug, Default)]
pub(super) struct Front {
    floors: Floors,
    /// Only items without a DueDate were seen to wait: walks are along those.
    is_plain: bool,
    /// Where the rows of `item_ready` were when it was looked last.
    file: i64,
    looked: bool,
    walks: u32,
    items: usize,
    began_at_the_beginning: Option<Instant>,
    /// The queue's limits allowed so few, when it was asked last.
    pub(super) allowed: Option<i64>,
}

/// The questions of a claim, which travel together: what has come of age, where the front is, the walk.
pub(super) struct Claiming {
    pub(super) ask: Ask,
    /// Where the database's clock does not decide.
    pub(super) now: Option<Timestamp>,
    /// How many they are.
    pub(super) questions: usize,
    /// So many before the last tell where the front is.
    looks: usize,
    /// Where nothing is found, there may be something elsewhere.
    is_plain: bool,
}

impl Postgres {
    /// `now`: where the database's clock does not decide.
    pub(super) fn claim(&mut self, ask: Ask, now: Option<Timestamp>) -> (Claiming, Vec<Question>) {
        let looks = self.fronts.entry(ask.queue).or_default().is_time_to_look();
        let locks = looks.then(|| self.ask_locks());
        let is_plain = self.fronts.entry(ask.queue).or_default().is_plain;
        let promote = (!is_plain).then(|| self.promoting(ask, now));
        let front = self.fronts.entry(ask.queue).or_default();
        let look = locks.map_or_else(Vec::new, |locks| front.look(ask.queue, locks, now));
        let looks = look.len();
        let walk = front.walk(ask, now);
        let questions: Vec<_> = promote.into_iter().chain(look).chain([walk]).collect();
        (Claiming { ask, now, questions: questions.len(), looks, is_plain }, questions)
    }

    /// What was answered to these questions.
    pub(super) fn claimed(&mut self, claiming: &Claiming, mut answers: Vec<Vec<Row>>) -> Result<Items> {
        let Claiming { ask, now, looks, is_plain, .. } = *claiming;
        let front = self.fronts.entry(ask.queue).or_default();
        let mut rows = answers.pop().unwrap_or_default();
        if looks > 0 {
            let look = &answers[answers.len().saturating_sub(looks)..];
            if front.see(look, ask.queue, &mut self.session)? {
                self.others_seen = Some(Instant::now());
            }
        }
        if looks > 0 && !front.looked {
            rows = self.session.ask(&[floors::from_the_beginning(ask)])?.pop().unwrap_or_default();
        }
        let asked = usize::try_from(ask.count).unwrap_or(usize::MAX);
        let mut surprised = rows.is_empty() && is_plain;
        if surprised {
            let promoting = self.promoting(ask, now);
            let front = self.fronts.entry(ask.queue).or_default();
            let everywhere = [promoting, front.walk_everywhere(ask)];
            rows = self.session.ask(&everywhere)?.pop().unwrap_or_default();
            surprised = !rows.is_empty();
        }
        let front = self.fronts.entry(ask.queue).or_default();
        while rows.len() < asked && front.floors.go_further() {
            rows = self.session.ask(&[front.floors.along_all(ask)])?.pop().unwrap_or_default();
            surprised = true;
        }
        // Or it passed everything behind the floors: they may be higher by now.
        surprised |= !is_plain && rows.len() < asked;
        front.walked(rows.len(), surprised);
        order::offered(&mut self.session, &rows)
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
            order::defer_again(&mut self.session, next.queue.0, &rows, numbers)?;
        }
    }

    fn first_that_wait(&mut self, next: &NextItems<'_>) -> Result<Items> {
        self.remember_allowed(next);
        self.will_ask = None;
        let offered = self.offered.take().filter(|offered| offered.is_answer_to(next));
        match (offered, next.reference) {
            (Some(offered), _) => Ok(offered.up_to(next.count)),
            (None, Some(filter)) => {
                self.promote(Ask::of(next), next.now)?;
                order::next_with_references(&mut self.session, next, filter)
            }
            (None, None) => {
                let (claiming, questions) = self.claim(Ask::of(next), Some(next.now));
                let answers = self.session.ask(&questions)?;
                self.claimed(&claiming, answers)
            }
        }
    }

    /// What has come of age is ready.
    pub(super) fn promote(&mut self, ask: Ask, now: Timestamp) -> Result<()> {
        let question = self.promoting(ask, Some(now));
        self.session.later(&question.sql, &question.bound())
    }

    fn promoting(&mut self, ask: Ask, now: Option<Timestamp>) -> Question {
        let (marked, numbers) = (self.lock_name(MARKED), self.numbers());
        self.fronts.entry(ask.queue).or_default().floors.promote(ask.queue, now, marked, numbers)
    }

    /// Which numbers are given to what is entered again.
    pub(super) fn numbers(&self) -> Numbers {
        if self.most_ids > 1 { Numbers::Drawn } else { Numbers::Last }
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

    /// Whoever draws numbers says so before.
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

impl Front {
    /// The walk that is nearly always the right one. Where it finds nothing, [`walk_everywhere`](Self::walk_everywhere) does.
    fn walk(&mut self, ask: Ask, now: Option<Timestamp>) -> Question {
        if !self.looked {
            floors::from_the_beginning(ask)
        } else if self.is_plain {
            self.floors.along_plain(ask, now)
        } else {
            self.floors.along_all(ask)
        }
    }

    /// The walk that finds something wherever it is.
    fn walk_everywhere(&mut self, ask: Ask) -> Question {
        let now = Instant::now();
        let whole = now - *self.began_at_the_beginning.get_or_insert(now) >= FROM_THE_BEGINNING_AFTER;
        if whole {
            self.began_at_the_beginning = Some(now);
            return floors::from_the_beginning(ask);
        }
        self.floors.along_all(ask)
    }

    /// So many items were found by a walk. `surprised`: it was not a short one.
    fn walked(&mut self, items: usize, surprised: bool) {
        self.walks = if surprised { WALKS } else { self.walks + 1 };
        self.items += items;
        self.floors.found(items);
    }

    fn is_time_to_look(&self) -> bool {
        let items = if self.is_plain { ITEMS } else { ITEMS_ANYWHERE };
        !self.looked || self.walks >= WALKS || self.items >= items
    }

    /// The questions that tell where the front is now. In this order, each by itself.
    fn look(&mut self, queue: i64, locks: Question, now: Option<Timestamp>) -> Vec<Question> {
        let last = Question { sql: LAST.into(), values: Vec::new() };
        [last, locks].into_iter().chain(self.floors.look(queue, now)).collect()
    }

    /// What was answered to these questions. Answers whether others were seen at work.
    fn see(&mut self, answers: &[Vec<Row>], queue: i64, session: &mut Session) -> Result<bool> {
        let [Some(last), Some(mark)] = [0, 1].map(|at| answers.get(at).and_then(|rows| rows.first())) else {
            return Ok(false);
        };
        let (last, file): (i64, i64) = (get(last, 0)?, get(last, 1)?);
        let (mark, others): (Option<i64>, i64) = (get(mark, 0)?, get(mark, 1)?);
        if self.looked && (self.file != file || self.floors.are_of_another_server(last)) {
            *self = Self::default(); // nothing is known any more
            return Ok(others > 0);
        }
        let safe = mark.map_or(last, |mark| last.min(mark << order::MARK_SHIFT));
        self.is_plain = self.floors.see(&answers[2..], queue, safe, session)?;
        self.file = file;
        (self.looked, self.walks, self.items) = (true, 0, 0);
        Ok(others > 0)
    }
}
