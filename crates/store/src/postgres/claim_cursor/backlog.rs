//! Items of a queue before its watermarks, in their order, as they were read once.
//!
//! Sorting them with each claim would take long, and so would searching among as many others that were claimed already.
//! So the locations of their rows are remembered. A claimed item is gone from its location; one that begins to wait
//! again has another entry number.

use std::collections::VecDeque;

use tokio_postgres::Row;

use super::super::columns::{RowLocation, get};
use super::super::session::{BoundQuery, OwnedValue};
use super::watermarks::Key;
use performer_core::orchestrator::Result;

/// The most items that are remembered.
pub(super) const MAX_ITEMS: usize = 50_000;

/// A key after all others.
const LAST_KEY: Key = (i16::MAX, i64::MAX, i64::MAX);

/// A search is given so many more items than it wants, and than were found since the last check: others may have
/// claimed some of them.
const SPARE: usize = 16;

/// Which of the items that were given to searches still wait.
const STILL_THERE: &str = "SELECT told.number FROM unnest($1::tid[], $2::bigint[], $3::bigint[]) \
     WITH ORDINALITY AS told (place, item_id, entered, number) CROSS JOIN LATERAL (SELECT 1 FROM item_ready WHERE ctid = told.place \
     AND item_id = told.item_id AND entered + 0 = told.entered OFFSET 0) AS there";

/// An item: the location of its row, and its identity.
#[derive(Clone, Copy, Debug)]
struct BacklogItem {
    key: Key,
    place: RowLocation,
    entered: i64,
}

/// Items in the order of their keys.
#[derive(Debug)]
pub(super) struct Backlog {
    items: VecDeque<BacklogItem>,
    /// How many of the first items were given to searches since the last check.
    sent: usize,
    /// The last search was not given all items.
    has_more: bool,
    /// How many items the check in progress is about.
    asked: usize,
    /// How many items searches have found since the last check.
    found: usize,
    /// Multiplies the spare items.
    times: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { items: VecDeque::new(), sent: 0, has_more: false, asked: 0, found: 0, times: 1 }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether a search was not given all items.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Gives more items to the next search.
    pub(super) fn widen(&mut self) {
        self.times = self.times.saturating_mul(2);
    }

    /// A search has found so many.
    pub(super) fn found(&mut self, items: usize) {
        self.found += items;
    }

    /// The values for a search for `count` items: locations, keys and entry numbers; and the last key up to which it
    /// searches.
    pub(super) fn known_items(&mut self, count: i64) -> (Vec<OwnedValue>, Key) {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let spare = (wanted / 2).saturating_add(SPARE).saturating_mul(self.times);
        let sent = self.found.saturating_add(wanted).saturating_add(spare).min(self.items.len());
        self.sent = self.sent.max(sent);
        self.has_more = sent < self.items.len();
        let sent = || self.items.range(..sent);
        let values: Vec<OwnedValue> = vec![
            Box::new(sent().map(|item| item.place).collect::<Vec<_>>()),
            Box::new(sent().map(|item| item.key.0).collect::<Vec<_>>()),
            Box::new(sent().map(|item| item.key.1).collect::<Vec<_>>()),
            Box::new(sent().map(|item| item.key.2).collect::<Vec<_>>()),
            Box::new(sent().map(|item| item.entered).collect::<Vec<_>>()),
        ];
        let last = sent().next_back().filter(|_| self.has_more);
        (values, last.map_or(LAST_KEY, |item| item.key))
    }

    /// The query which items still wait, if any were given to searches.
    pub(super) fn update_queries(&mut self) -> Option<BoundQuery> {
        self.asked = self.sent;
        let sent = || self.items.range(..self.sent);
        let values: Vec<OwnedValue> = vec![
            Box::new(sent().map(|item| item.place).collect::<Vec<_>>()),
            Box::new(sent().map(|item| item.key.2).collect::<Vec<_>>()),
            Box::new(sent().map(|item| item.entered).collect::<Vec<_>>()),
        ];
        (self.sent > 0).then(|| BoundQuery { sql: STILL_THERE.into(), values })
    }

    /// Uses its result: the others are gone for good, as long as nobody moves the rows of the table.
    pub(super) fn update(&mut self, rows: &[Row]) -> Result<()> {
        let mut there = Vec::with_capacity(rows.len());
        for row in rows {
            let number: i64 = get(row, 0)?;
            let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            there.extend(at.and_then(|at| self.items.get(at)).copied());
        }
        there.sort_by_key(|item| item.key);
        self.items.drain(..self.asked);
        there.into_iter().rev().for_each(|item| self.items.push_front(item));
        (self.sent, self.asked, self.found, self.times) = (0, 0, 0, 1);
        Ok(())
    }

    /// Adds items: location, key, entry number.
    pub(super) fn add(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let key = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
            self.items.push_back(BacklogItem { key, place: get(row, 0)?, entered: get(row, 4)? });
        }
        self.items.make_contiguous().sort_by_key(|item| item.key);
        (self.sent, self.asked, self.found) = (0, 0, 0);
        Ok(())
    }

    /// Forgets all items. Returns their keys.
    pub(super) fn forget(&mut self) -> impl Iterator<Item = Key> {
        std::mem::take(self).items.into_iter().map(|item| item.key)
    }
}
