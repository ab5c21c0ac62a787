//! Which item is next (orchestrator-api 13.4).
//!
//! 1. Items with a DueDate come before items without.
//! 2. Among the first: by Priority, then the earliest DueDate, then first in, first out.
//! 3. Among the others: by Priority, then first in, first out.
//!
//! An overdue item can still be claimed. A postponed item keeps its place; a retry copy is a new item and comes after
//! everything that waits. In a queue whose [groups](super::groups) take turns the turn takes the place of the DueDate. Every
//! store follows [`SelectionKey`], and none has an order of its own.

use jiff::Timestamp;

use super::code::ErrorCode;
use super::item::Priority;
use super::key::ItemId;
use super::lifecycle::ItemState;
use super::query::{Comparison, Condition, Field, Value};
use super::refusal::Refusal;
use super::status::Status;

/// The most items of one claim.
pub const MAX_TAKE: usize = 100_000;

/// Checks how many items a caller wants to claim.
///
/// # Errors
///
/// Code 1015 for more than [`MAX_TAKE`].
pub fn validate_count(count: usize) -> Result<(), Refusal> {
    if count <= MAX_TAKE {
        return Ok(());
    }
    let message = format!("the count of a take is {count}; it should be at most {MAX_TAKE}");
    Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
}

/// The condition that an item that is New is not postponed beyond a time: it can be claimed, unless the queue says otherwise.
pub fn is_due_by(now: Timestamp) -> Condition {
    let compare = |comparison, value| Condition::Compare(Field::DeferDate, comparison, value);
    Condition::Any(vec![
        compare(Comparison::Equal, Value::Null),
        compare(Comparison::LessOrEqual, Value::Time(now)),
    ])
}

/// Sorts the waiting items of a queue: the smallest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectionKey {
    rank: u8,
    turn: i64,
    due_date: Option<Timestamp>,
    id: ItemId,
}

impl SelectionKey {
    /// The key of an item.
    pub fn new(priority: Priority, due_date: Option<Timestamp>, id: ItemId) -> Self {
        Self::of_rank(rank(priority, due_date), due_date, id)
    }

    /// The key of an item whose [`rank`] is known.
    pub fn of_rank(rank: u8, due_date: Option<Timestamp>, id: ItemId) -> Self {
        Self { rank, turn: 0, due_date, id }
    }

    /// The key of an item in a queue whose groups take turns ([`groups::turn`](super::groups::turn)).
    pub fn in_turn(rank: u8, turn: i64, id: ItemId) -> Self {
        Self { rank, turn, due_date: None, id }
    }

    /// The turn; 0 in a queue without turns.
    pub fn turn(&self) -> i64 {
        self.turn
    }

    /// The first two criteria: see [`rank`].
    pub fn rank(&self) -> u8 {
        self.rank
    }

    /// The item.
    pub fn id(&self) -> ItemId {
        self.id
    }
}

/// The first two criteria as one small number, for the index of a store: 0 to 2 for items with a DueDate by priority, 3
/// to 5 for items without.
pub fn rank(priority: Priority, due_date: Option<Timestamp>) -> u8 {
    let without_due_date = if due_date.is_some() { 0 } else { 3 };
    without_due_date + priority.number()
}

/// Whether the item may be claimed now: New, and its DeferDate is absent or past.
pub fn is_eligible(item: &ItemState, now: Timestamp) -> bool {
    item.status == Status::New && !is_deferred(item, now)
}

/// Whether the item waits for its DeferDate.
pub fn is_deferred(item: &ItemState, now: Timestamp) -> bool {
    item.status == Status::New && item.defer_date.is_some_and(|defer_date| defer_date > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_date_then_priority_then_date_then_first_in() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let expected = [
            SelectionKey::new(Priority::High, at(5), ItemId(9)),
            SelectionKey::new(Priority::High, at(6), ItemId(8)),
            SelectionKey::new(Priority::Normal, at(1), ItemId(6)),
            SelectionKey::new(Priority::Normal, at(1), ItemId(7)),
            SelectionKey::new(Priority::Low, at(0), ItemId(5)),
            SelectionKey::new(Priority::High, None, ItemId(4)),
            SelectionKey::new(Priority::Normal, None, ItemId(2)),
            SelectionKey::new(Priority::Normal, None, ItemId(3)),
            SelectionKey::new(Priority::Low, None, ItemId(1)),
        ];
        let mut sorted = expected;
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted, expected);
    }
}
