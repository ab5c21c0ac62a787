//! Groups: items of a queue that belong together, such as all items of one customer.
//!
//! A queue may limit how many items of one group are in progress, and let the groups take turns. Both are
//! [limits](super::limits) of the queue. Every store follows the rules here, and none has rules of its own.
//!
//! * Each group has as many *slots* as its limit. An item holds a slot while it is *ready*, which means that a claim may take it,
//!   and while it is InProgress; the others of its group wait behind. So claims read only ready items, and a claim changes nothing
//!   about its group.
//! * The slots go to the first items of the group, in the order of [`PlaceInGroup`]. An item that comes before a ready one takes its
//!   slot. Deferred items are not considered until their DeferDate has come.
//! * In a fair queue the ready items of one [rank](super::selection::rank) are claimed by their [`turn`]. Each item that becomes
//!   ready gets the turn after the last one of its group, but none before the first that is ready: so groups take turns, and a
//!   group that was absent saves up nothing. Items without a group are one group without a limit.

use super::key::ItemId;
use super::limits::QueueLimits;
use super::new_item::validate_name;
use super::refusal::Refusal;

/// Checks the name of a group: 1 to 128 code units without control characters, in any script. Capitals and small letters differ.
///
/// # Errors
///
/// Code 1015 for its length, 1009 for a control character.
pub fn validate_group(group: &str) -> Result<(), Refusal> {
    validate_name("a group", group)
}

/// What a queue demands of its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// The most items of one group InProgress at once. `None`: no limit.
    pub limit: Option<u32>,
    /// Whether groups take turns.
    pub fair: bool,
}

impl QueueLimits {
    /// The rules about groups. `None`: there are none, and groups are only stored.
    pub fn group_rules(&self) -> Option<GroupRules> {
        let rules = GroupRules { limit: self.max_in_progress_per_group, fair: self.fair };
        (rules.limit.is_some() || rules.fair).then_some(rules)
    }
}

impl GroupRules {
    /// The group that an item counts in. `None`: the rules do not concern it. The empty name is the group of all items without one.
    pub fn group_of<'a>(&self, group: Option<&'a str>) -> Option<&'a str> {
        if self.fair { Some(group.unwrap_or_default()) } else { group }
    }

    /// How many items of a group may be ready or InProgress.
    pub fn slots(&self, group: &str) -> usize {
        let limit = self.limit.filter(|_| !group.is_empty());
        limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// Sorts the items of one group: the smallest is next. As [`SelectionKey`](super::selection::SelectionKey), but a retry stands
/// where the first attempt of its chain stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceInGroup {
    /// [`rank`](super::selection::rank).
    pub rank: u8,
    /// The DueDate in microseconds since 1970. Without one 0, and a rank of its own.
    pub due_date: i64,
    /// The first attempt of the item's chain.
    pub first: ItemId,
    /// The item.
    pub id: ItemId,
}

/// A change of who holds the slots of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move<T> {
    /// The first item that waits gets a slot.
    Enter(T),
    /// The last ready item gives its slot back and waits.
    Leave(T),
}

/// The next change of a group, until there is none. `held`: how many slots are held. `waiting`: the first item that waits.
/// `last_ready`: reads the last ready item in the order of the group.
///
/// # Errors
///
/// Those of `last_ready`.
pub fn next_move<T, E>(
    slots: usize,
    held: usize,
    waiting: Option<(PlaceInGroup, T)>,
    last_ready: impl FnOnce() -> Result<Option<(PlaceInGroup, T)>, E>,
) -> Result<Option<Move<T>>, E> {
    if held > slots {
        return Ok(last_ready()?.map(|(_, item)| Move::Leave(item)));
    }
    let Some((first, item)) = waiting else { return Ok(None) };
    if held < slots {
        return Ok(Some(Move::Enter(item)));
    }
    Ok(last_ready()?.filter(|(last, _)| *last > first).map(|(_, item)| Move::Leave(item)))
}

/// The turn of an item that becomes ready in a fair queue: smaller is earlier. `first_ready`: the first turn among the ready items
/// of its rank. `last_of_group`: the last turn that its group had in this rank, as far as its items hold or just held slots.
pub fn turn(first_ready: Option<i64>, last_of_group: Option<i64>) -> i64 {
    let after_its_last = last_of_group.map_or(0, |last| last.saturating_add(1));
    first_ready.unwrap_or(0).max(after_its_last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    fn place(rank: u8, id: i64) -> PlaceInGroup {
        PlaceInGroup { rank, due_date: 0, first: ItemId(id), id: ItemId(id) }
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(validate_group("customer-17850"), Ok(()));
        for bad in ["", "a\0b", "a\nb", &"x".repeat(129)] {
            assert!(validate_group(bad).unwrap_err().to_string().contains("a group"), "{bad:?}");
        }
    }

    #[test]
    fn items_without_a_group_are_unlimited_and_one_group_of_a_fair_queue() {
        let limited = GroupRules { limit: Some(2), fair: false };
        assert_eq!((limited.group_of(None), limited.group_of(Some("a"))), (None, Some("a")));
        let fair = GroupRules { limit: Some(2), fair: true };
        assert_eq!((fair.group_of(None), fair.slots(""), fair.slots("a")), (Some(""), usize::MAX, 2));
    }

    #[test]
    fn the_first_items_hold_the_slots_whatever_the_order_in_which_they_come() {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..500 {
            let slots = random.usize(1..4);
            let (mut waiting, mut ready, mut running) = (BTreeSet::new(), BTreeSet::new(), 0);
            for id in 0..30 {
                match random.u8(0..6) {
                    0..=2 => {
                        waiting.insert(place(random.u8(0..6), id));
                    }
                    3 => running += usize::from(ready.pop_first().is_some()),
                    4 => running = running.saturating_sub(1),
                    _ if ready.pop_last().is_some() => {}
                    _ => {
                        waiting.pop_last();
                    }
                }
                let both = |place: &PlaceInGroup| (*place, *place);
                while let Ok(Some(change)) =
                    next_move(slots, running + ready.len(), waiting.first().map(both), || {
                        Ok::<_, Infallible>(ready.last().map(both))
                    })
                {
                    let (from, to, item) = match change {
                        Move::Enter(item) => (&mut waiting, &mut ready, item),
                        Move::Leave(item) => (&mut ready, &mut waiting, item),
                    };
                    assert!(from.remove(&item) && to.insert(item));
                }
                assert!(running + ready.len() <= slots, "round {round}");
                assert!(
                    waiting.is_empty() || running + ready.len() == slots,
                    "round {round}: a slot is free"
                );
                assert!(ready.last().is_none_or(|last| waiting.first().is_none_or(|first| last < first)));
            }
        }
    }

    #[test]
    fn groups_take_turns_whatever_their_sizes() {
        // Ready items by turn and id; each group has its items in progress one at a time.
        let mut left = BTreeMap::from([("large", 1_000), ("small", 5), ("tiny", 1)]);
        let mut ready: BTreeSet<(i64, usize, &str)> = BTreeSet::new();
        for (id, group) in ["large", "small", "tiny"].into_iter().enumerate() {
            ready.insert((turn(ready.first().map(|(turn, ..)| *turn), None), id, group));
        }
        let mut claimed = Vec::new();
        let mut id = 3;
        while let Some((at, _, group)) = ready.pop_first() {
            claimed.push(group);
            let left = left.get_mut(group).unwrap();
            *left -= 1;
            if *left > 0 {
                ready.insert((turn(ready.first().map(|(turn, ..)| *turn), Some(at)), id, group));
                id += 1;
            }
        }
        assert_eq!(claimed[..7], ["large", "small", "tiny", "large", "small", "large", "small"]);
        assert_eq!(claimed.len(), 1_006);
    }

    #[test]
    fn a_group_that_was_absent_saves_up_nothing() {
        assert_eq!((turn(None, None), turn(Some(500), None), turn(Some(500), Some(7))), (0, 500, 500));
        assert_eq!(turn(Some(500), Some(500)), 501);
    }
}
