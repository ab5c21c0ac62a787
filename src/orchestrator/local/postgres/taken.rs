//! What a process took, as it left it: its reports need not read it again.
//!
//! The connections of a store that write know this together, because an item may be taken by one and reported on by another.
//! What a transaction does about it the others know when it is committed, and before anybody is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::super::Result;
use super::super::rows::Row;
use super::claims::{self, Claims};
use super::session::Session;
use crate::model::key::{ItemId, JobNumber};

/// The most items whose rows are remembered; the others are read when they are reported on.
const MOST_REMEMBERED: usize = 100_000;

/// What is taken, as one connection knows it.
#[derive(Default)]
pub(super) struct Taken {
    shared: Arc<Mutex<Shared>>,
    /// What the open transaction does, in this order.
    done: Vec<Done>,
    /// Jobs that the open transaction ends.
    jobs_ended: Vec<JobNumber>,
    /// Rows of claims that the open transaction removes.
    removed: Vec<(JobNumber, i64)>,
    /// The open transaction is the one that tidies the claims up.
    tidies: bool,
}

#[derive(Default)]
struct Shared {
    items: HashMap<ItemId, Item>,
    claims: Claims,
    /// Some transaction tidies the claims up: two would be in each other's way.
    somebody_tidies: bool,
}

/// An item that was taken.
struct Item {
    /// Its row as it was left, until it is reported on. Somebody else may have changed it since.
    row: Option<Row>,
    /// The row of `item_claim` that names it.
    claim: i64,
}

enum Done {
    /// Items are named by a row.
    Named {
        number: i64,
        job: JobNumber,
        items: usize,
    },
    Took {
        id: ItemId,
        row: Row,
        claim: i64,
    },
    /// It is held still, and its row is another one.
    Changed {
        id: ItemId,
        row: Row,
    },
    /// It is not as it was left. `ended`: it is held no longer.
    Gone {
        id: ItemId,
        ended: bool,
    },
}

impl Taken {
    /// The same, for another connection.
    pub(super) fn of_another(&self) -> Self {
        let mut another = Self::default();
        another.shared = self.shared.clone();
        another
    }

    /// The row of an item as it was left: once, because whoever reports a second time is told what is there by then.
    pub(super) fn believed_row(&self, id: ItemId) -> Option<Row> {
        self.shared().items.get_mut(&id)?.row.take()
    }

    /// The number of a row that names so many items of a job.
    pub(super) fn name(&mut self, job: JobNumber, items: usize) -> i64 {
        let number = self.shared().claims.number();
        self.done.push(Done::Named { number, job, items });
        number
    }

    pub(super) fn took(&mut self, id: ItemId, row: Row, claim: i64) {
        self.done.push(Done::Took { id, row, claim });
    }

    /// Whether the open transaction has taken anything.
    pub(super) fn takes_any(&self) -> bool {
        self.done.iter().any(|done| matches!(done, Done::Took { .. }))
    }

    pub(super) fn changed(&mut self, id: ItemId, row: Row) {
        self.believed_row(id);
        self.done.push(Done::Changed { id, row });
    }

    pub(super) fn gone(&mut self, id: ItemId, ended: bool) {
        self.believed_row(id); // what comes later in this transaction reads it
        self.done.push(Done::Gone { id, ended });
    }

    /// A job ends, and holds nothing when the open transaction is made.
    pub(super) fn job_ended(&mut self, job: JobNumber) {
        self.jobs_ended.push(job);
    }

    /// What is to be done about the rows of claims before a commit.
    pub(super) fn tidy_up(&mut self, session: &mut Session) -> Result<()> {
        let mut in_disorder = std::mem::take(&mut self.jobs_ended);
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !shared.somebody_tidies {
            self.removed = shared.claims.take_ended();
            in_disorder.extend(shared.claims.in_disorder());
            self.tidies = !self.removed.is_empty() || !in_disorder.is_empty();
            shared.somebody_tidies = self.tidies;
        }
        in_disorder.sort_unstable_by_key(|job| job.0); // the same for everybody: nobody waits for one who waits for him
        in_disorder.dedup();
        let numbered: Vec<_> = in_disorder.into_iter().map(|job| (job, shared.claims.number())).collect();
        drop(shared);
        claims::remove(session, &self.removed)?;
        numbered.into_iter().try_for_each(|(job, number)| claims::put_in_order(session, job, number))
    }

    /// The open transaction is committed.
    pub(super) fn committed(&mut self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for done in self.done.drain(..) {
            shared.apply(&done);
        }
        self.removed.clear();
        if std::mem::take(&mut self.tidies) {
            shared.somebody_tidies = false;
        }
    }

    /// The open transaction is not committed, as far as is known.
    pub(super) fn undone(&mut self) {
        self.done.clear();
        self.jobs_ended.clear();
        if std::mem::take(&mut self.tidies) {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.somebody_tidies = false;
            shared.claims.remove_later(self.removed.drain(..));
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever goes away tidies nothing up.
impl Drop for Taken {
    fn drop(&mut self) {
        self.undone();
    }
}

impl Shared {
    fn apply(&mut self, done: &Done) {
        match *done {
            Done::Named { number, job, items } => self.claims.open(number, job, items),
            Done::Took { id, row, claim } => {
                if self.items.len() >= MOST_REMEMBERED {
                    self.items.clear(); // items that were taken and never reported on
                }
                self.items.insert(id, Item { row: Some(row), claim });
            }
            Done::Changed { id, row } => {
                if let Some(item) = self.items.get_mut(&id) {
                    item.row = Some(row);
                }
            }
            Done::Gone { id, ended } => {
                if let Some(item) = self.items.remove(&id)
                    && ended
                {
                    self.claims.ended(item.claim);
                }
            }
        }
    }
}
