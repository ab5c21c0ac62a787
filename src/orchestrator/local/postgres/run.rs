//! Many that stand before the floors of a queue, in their order, as they were read once.
//!
//! To sort them with each claim would take long, and so would a walk among them where as many others have been taken already.
//! So their places are remembered. Whoever is taken is gone from its place; whoever begins to wait again has another number.

use std::collections::VecDeque;

use tokio_postgres::Row;

use super::super::super::Result;
use super::columns::{RowPlace, get};
use super::floors::Key;
use super::session::{Question, Value};

/// More are not remembered.
pub(super) const MOST: usize = 50_000;

/// The part of a key behind everything.
const LAST_KEY: Key = (i16::MAX, i64::MAX, i64::MAX);

/// A walk is told of so many more than it wants, and than were found since it was asked which are there still: others may have
/// taken some of them.
const SPARE: usize = 16;

/// Which of those that walks were told of are there still.
const STILL_THERE: &str = "SELECT told.number FROM unnest($1::tid[], $2::bigint[], $3::bigint[]) \
     WITH ORDINALITY AS told (place, item_id, entered, number) CROSS JOIN LATERAL (SELECT 1 FROM item_ready WHERE ctid = told.place \
     AND item_id = told.item_id AND entered + 0 = told.entered OFFSET 0) AS there";

/// One of them: where its row is, and which one that is.
#[derive(Clone, Copy, Debug)]
struct Standing {
    key: Key,
    place: RowPlace,
    entered: i64,
}

/// In the order of their keys.
#[derive(Debug)]
pub(super) struct Run {
    items: VecDeque<Standing>,
    /// Walks were told of so many of the first, since it was asked last which are there still.
    told: usize,
    /// The last walk was not told of all.
    goes_on: bool,
    /// It was asked of so many whether they are there still.
    asked: usize,
    /// So many were found by walks since it was asked last.
    found: usize,
    /// So many times as many spare ones as at first.
    times: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self { items: VecDeque::new(), told: 0, goes_on: false, asked: 0, found: 0, times: 1 }
    }
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether a walk has not been told of all.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The next walk is told of more.
    pub(super) fn tell_more(&mut self) {
        self.times = self.times.saturating_mul(2);
    }

    /// A walk has found so many.
    pub(super) fn found(&mut self, items: usize) {
        self.found += items;
    }

    /// What a walk for so many items is told: places, keys and numbers; and the last key up to which it goes.
    pub(super) fn tell(&mut self, count: i64) -> (Vec<Value>, Key) {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let spare = (wanted / 2).saturating_add(SPARE).saturating_mul(self.times);
        let told = self.found.saturating_add(wanted).saturating_add(spare).min(self.items.len());
        self.told = self.told.max(told);
        self.goes_on = told < self.items.len();
        let told = || self.items.range(..told);
        let values: Vec<Value> = vec![
            Box::new(told().map(|standing| standing.place).collect::<Vec<_>>()),
            Box::new(told().map(|standing| standing.key.0).collect::<Vec<_>>()),
            Box::new(told().map(|standing| standing.key.1).collect::<Vec<_>>()),
            Box::new(told().map(|standing| standing.key.2).collect::<Vec<_>>()),
            Box::new(told().map(|standing| standing.entered).collect::<Vec<_>>()),
        ];
        let last = told().next_back().filter(|_| self.goes_on);
        (values, last.map_or(LAST_KEY, |standing| standing.key))
    }

    /// The question which are there still, if walks were told of any.
    pub(super) fn look(&mut self) -> Option<Question> {
        self.asked = self.told;
        let told = || self.items.range(..self.told);
        let values: Vec<Value> = vec![
            Box::new(told().map(|standing| standing.place).collect::<Vec<_>>()),
            Box::new(told().map(|standing| standing.key.2).collect::<Vec<_>>()),
            Box::new(told().map(|standing| standing.entered).collect::<Vec<_>>()),
        ];
        (self.told > 0).then(|| Question { sql: STILL_THERE.into(), values })
    }

    /// What was answered to that: the others are gone for good, as long as nobody moves the rows of the table.
    pub(super) fn see(&mut self, rows: &[Row]) -> Result<()> {
        let mut there = Vec::with_capacity(rows.len());
        for row in rows {
            let number: i64 = get(row, 0)?;
            let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            there.extend(at.and_then(|at| self.items.get(at)).copied());
        }
        there.sort_by_key(|standing| standing.key);
        self.items.drain(..self.asked);
        there.into_iter().rev().for_each(|standing| self.items.push_front(standing));
        (self.told, self.asked, self.found, self.times) = (0, 0, 0, 1);
        Ok(())
    }

    /// More of them: place, key, number.
    pub(super) fn add(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let key = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
            self.items.push_back(Standing { key, place: get(row, 0)?, entered: get(row, 4)? });
        }
        self.items.make_contiguous().sort_by_key(|standing| standing.key);
        (self.told, self.asked, self.found) = (0, 0, 0);
        Ok(())
    }

    /// None is remembered any more. Answers which they were.
    pub(super) fn forget(&mut self) -> impl Iterator<Item = Key> {
        std::mem::take(self).items.into_iter().map(|standing| standing.key)
    }
}
