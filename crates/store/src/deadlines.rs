//! Items that are ready and have a DueDate, in the order in which they will be handed out.

use super::Store;
use super::backend::{Query, expect_answer};
use super::scoped_queues::QueueSelector;
use performer_core::model::clock::Clock as _;
use performer_core::model::deadlines::{DueItems, DueWork};
use performer_core::model::key::QueueId;
use performer_core::orchestrator::Result;

impl Store {
    /// The items of a queue that are ready and have a DueDate, up to
    /// [`MAX_FORECAST`](performer_core::model::deadlines::MAX_FORECAST), and the robots that work on the queue: for
    /// [`forecast`](performer_core::model::deadlines::forecast).
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn due_work(&self, queue: QueueSelector) -> Result<DueWork> {
        expect_answer!(self.read(Query::DueWork { queue, now: self.clock.now() }).await, DueWork)
    }
}

/// Ready items with a DueDate, inside the one transaction that is open.
pub(crate) trait DueRows {
    /// In the order in which they will be handed out. `in_turn`: the groups of the queue take turns, so it is not that of their
    /// due dates.
    fn ready_by_due_date(&mut self, queue: QueueId, in_turn: bool) -> Result<Vec<DueItems>>;
}

/// Joins items with the same DueDate that follow each other.
pub(crate) fn joined(dates: impl IntoIterator<Item = jiff::Timestamp>) -> Vec<DueItems> {
    let mut all: Vec<DueItems> = Vec::new();
    for due in dates {
        match all.last_mut().filter(|last| last.due == due) {
            Some(last) => last.count += 1,
            None => all.push(DueItems { due, count: 1 }),
        }
    }
    all
}
