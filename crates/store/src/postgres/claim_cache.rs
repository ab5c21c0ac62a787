//! The rows of items that this process claimed, as it wrote them: its reports need not read them again.
//!
//! Shared by all writers of a store, because an item may be claimed by one and reported on by another. The changes of a
//! transaction become visible to the others when it is committed, and before callers are answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::rows::ItemRow;
use super::claim_rows::{self, ClaimRows};
use super::session::Session;
use performer_core::model::key::{ItemId, JobNumber};
use performer_core::orchestrator::Result;

/// The most items whose rows are cached; the others are read when they are reported on.
const MAX_CACHED_ITEMS: usize = 100_000;

/// The cache, as one writer sees it.
#[derive(Default)]
pub(super) struct ClaimCache {
    shared: Arc<Mutex<SharedCache>>,
    /// What the open transaction changes, in this order.
    done: Vec<CacheChange>,
    /// The claim rows of the items that the open transaction changes; `None`: it is not held any more.
    claims: HashMap<ItemId, Option<i64>>,
    /// Jobs that the open transaction ends.
    jobs_ended: Vec<JobNumber>,
    /// Claim rows that the open transaction removes.
    removed: Vec<(JobNumber, i64)>,
    /// The open transaction is the one that compacts claim rows.
    tidies: bool,
}

#[derive(Default)]
struct SharedCache {
    items: HashMap<ItemId, CachedItem>,
    claims: ClaimRows,
    /// Some transaction compacts claim rows: two would block each other.
    is_tidying: bool,
}

/// A claimed item.
struct CachedItem {
    /// Its row, until it is reported on. Another process may have changed it since.
    row: Option<ItemRow>,
    /// The row of `item_claim` that names it.
    claim: i64,
}

enum CacheChange {
    /// A row of `item_claim` names items.
    Named {
        number: i64,
        job: JobNumber,
        items: usize,
    },
    Claimed {
        id: ItemId,
        row: ItemRow,
        claim: i64,
    },
    /// It is still held, with another row.
    ChangeCallback {
        id: ItemId,
        row: ItemRow,
    },
    /// It is not as it was when this row named it. `ended`: and is not held any more.
    Gone {
        id: ItemId,
        claim: i64,
        ended: bool,
    },
}

impl ClaimCache {
    /// A cache for another writer, which shares what is committed.
    pub(super) fn for_another_writer(&self) -> Self {
        let mut another = Self::default();
        another.shared = self.shared.clone();
        another
    }

    /// The cached row of an item. Removed from the cache: a second report has to read what is there by then.
    pub(super) fn cached_row(&self, id: ItemId) -> Option<ItemRow> {
        self.shared().items.get_mut(&id)?.row.take()
    }

    /// Makes the number of a new row of `item_claim` that names `items` items of a job.
    pub(super) fn new_claim_row(&mut self, job: JobNumber, items: usize) -> i64 {
        let number = self.shared().claims.number();
        self.done.push(CacheChange::Named { number, job, items });
        number
    }

    pub(super) fn claimed(&mut self, id: ItemId, row: ItemRow, claim: i64) {
        self.claims.insert(id, Some(claim));
        self.done.push(CacheChange::Claimed { id, row, claim });
    }

    pub(super) fn changed(&mut self, id: ItemId, row: ItemRow) {
        self.cached_row(id);
        self.done.push(CacheChange::ChangeCallback { id, row });
    }

    pub(super) fn gone(&mut self, id: ItemId, ended: bool) {
        self.cached_row(id); // a later report in this transaction reads the row
        // As soon as this transaction is committed, another one may claim the item, and become visible before this one.
        let known = || self.shared().items.get(&id).map(|item| item.claim);
        let claim = self.claims.get(&id).copied().unwrap_or_else(known);
        if ended {
            self.claims.insert(id, None);
        }
        if let Some(claim) = claim {
            self.done.push(CacheChange::Gone { id, claim, ended });
        }
    }

    /// A job ends with the open transaction, and holds nothing afterwards.
    pub(super) fn job_ended(&mut self, job: JobNumber) {
        self.jobs_ended.push(job);
    }

    /// Removes and compacts claim rows, before a commit.
    pub(super) fn tidy_up(&mut self, session: &mut Session) -> Result<()> {
        let mut jobs_to_compact = std::mem::take(&mut self.jobs_ended);
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !shared.is_tidying {
            self.removed = shared.claims.take_ended();
            jobs_to_compact.extend(shared.claims.jobs_to_compact());
            self.tidies = !self.removed.is_empty() || !jobs_to_compact.is_empty();
            shared.is_tidying = self.tidies;
        }
        jobs_to_compact.sort_unstable_by_key(|job| job.0); // one order for everybody, to avoid deadlocks
        jobs_to_compact.dedup();
        let numbered: Vec<_> = jobs_to_compact.into_iter().map(|job| (job, shared.claims.number())).collect();
        drop(shared);
        claim_rows::remove(session, &self.removed)?;
        numbered.into_iter().try_for_each(|(job, number)| claim_rows::compact(session, job, number))
    }

    /// The open transaction is committed.
    pub(super) fn committed(&mut self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for done in self.done.drain(..) {
            shared.apply(&done);
        }
        self.claims.clear();
        self.removed.clear();
        if std::mem::take(&mut self.tidies) {
            shared.is_tidying = false;
        }
    }

    /// The open transaction is not committed, as far as is known.
    pub(super) fn undone(&mut self) {
        self.done.clear();
        self.claims.clear();
        self.jobs_ended.clear();
        if std::mem::take(&mut self.tidies) {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.is_tidying = false;
            shared.claims.remove_later(self.removed.drain(..));
        }
    }

    fn shared(&self) -> MutexGuard<'_, SharedCache> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer that goes away compacts nothing.
impl Drop for ClaimCache {
    fn drop(&mut self) {
        self.undone();
    }
}

impl SharedCache {
    fn apply(&mut self, done: &CacheChange) {
        match *done {
            CacheChange::Named { number, job, items } => self.claims.open(number, job, items),
            CacheChange::Claimed { id, row, claim } => {
                if self.items.len() >= MAX_CACHED_ITEMS {
                    self.items.clear(); // items that were claimed and never reported on
                }
                self.items.insert(id, CachedItem { row: Some(row), claim });
            }
            CacheChange::ChangeCallback { id, row } => {
                if let Some(item) = self.items.get_mut(&id) {
                    item.row = Some(row);
                }
            }
            CacheChange::Gone { id, claim, ended } => {
                if self.items.get(&id).is_some_and(|item| item.claim == claim) {
                    self.items.remove(&id);
                }
                if ended {
                    self.claims.ended(claim);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use performer_core::model::history::Actors;
    use performer_core::model::item::Priority;
    use performer_core::model::key::QueueId;
    use performer_core::model::lifecycle::ItemState;

    const JOB: JobNumber = JobNumber(1);

    fn row() -> ItemRow {
        let state = ItemState::untouched(Priority::Normal, Timestamp::UNIX_EPOCH);
        ItemRow { queue: QueueId(1), state, actors: Actors::default() }
    }

    /// Claims items in a transaction of its own. Returns the claim row.
    fn take(taken: &mut ClaimCache, items: &[i64]) -> i64 {
        let claim = taken.new_claim_row(JOB, items.len());
        items.iter().for_each(|id| taken.claimed(ItemId(*id), row(), claim));
        taken.committed();
        claim
    }

    fn end(taken: &mut ClaimCache, items: &[i64]) {
        items.iter().for_each(|id| taken.gone(ItemId(*id), true));
        taken.committed();
    }

    fn ended(taken: &ClaimCache) -> Vec<i64> {
        taken.shared().claims.ended_rows()
    }

    #[test]
    fn a_claim_row_ends_with_the_last_of_its_items() {
        let mut one = ClaimCache::default();
        let mut other = one.for_another_writer();
        let claim = take(&mut one, &[1, 2]);
        end(&mut other, &[1]);
        assert!(ended(&one).is_empty());
        assert!(other.cached_row(ItemId(2)).is_some() && one.cached_row(ItemId(2)).is_none(), "once");
        end(&mut one, &[2]);
        assert_eq!(ended(&one), [claim]);
    }

    /// One gives an item back, the other claims it again and commits first: what it holds does not count as ended.
    #[test]
    fn an_item_claimed_again_is_not_ended_by_its_former_claim() {
        let mut one = ClaimCache::default();
        let mut other = one.for_another_writer();
        let first = take(&mut one, &[1]);
        one.gone(ItemId(1), true);
        let second = take(&mut other, &[1, 2]);
        one.committed();
        assert_eq!(ended(&one), [first]);
        assert!(one.cached_row(ItemId(1)).is_some(), "as the other one left it");
        end(&mut other, &[2]);
        assert_eq!(ended(&one), [first], "1 is held still");
        end(&mut one, &[1]);
        assert_eq!(ended(&one), [first, second]);
    }

    #[test]
    fn an_item_given_back_and_claimed_in_one_transaction_has_the_new_row() {
        let mut taken = ClaimCache::default();
        let first = take(&mut taken, &[1]);
        taken.gone(ItemId(1), true);
        let second = take(&mut taken, &[1, 2]);
        assert_eq!(ended(&taken), [first]);
        end(&mut taken, &[1, 2]);
        assert_eq!(ended(&taken), [first, second]);
    }

    #[test]
    fn changes_of_an_undone_transaction_are_discarded() {
        let mut one = ClaimCache::default();
        let other = one.for_another_writer();
        let claim = one.new_claim_row(JOB, 1);
        one.claimed(ItemId(1), row(), claim);
        one.undone();
        assert!(other.cached_row(ItemId(1)).is_none());
        end(&mut one, &[1]);
        assert!(ended(&one).is_empty());
    }
}
