//! Groups of items, for queues with rules about them ([`performer_core::model::groups`]): the trait of a back end that has them,
//! and how the slots of a group are settled.
//!
//! An item of a queue with rules has a row of its own, by which its group is found: it waits behind others, or holds a slot of its
//! group, being ready (where claims find it, among the ready items of the queue) or InProgress. A claim does not touch that row.
//! What else happens to an item is noted by [`apply`](super::apply), and its group is settled in the same transaction, before
//! anything is claimed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use performer_core::model::groups::{GroupRules, Move, PlaceInGroup, next_move};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// What happened in a queue with rules about groups since its groups were settled.
#[derive(Debug, Default)]
pub(crate) struct GroupChanges {
    /// Items whose rows were written, but for claims; and their states.
    pub(crate) items: BTreeMap<ItemId, ItemState>,
    /// Groups in which items were added.
    pub(crate) groups: BTreeSet<String>,
}

/// What a back end does about groups, inside the one transaction that is open.
pub(crate) trait GroupRows {
    /// Keeps others from settling groups of these queues, or claiming their items, until the transaction ends. A back end with
    /// one transaction at a time has no need of it.
    fn lock_groups(&mut self, _queues: &[QueueId]) -> Result<()> {
        Ok(())
    }

    /// Gives the slots of the groups of changed items to the first items of each group. Returns whether any became ready.
    fn settle_groups(
        &mut self,
        queue: QueueId,
        rules: GroupRules,
        changes: GroupChanges,
        now: Timestamp,
    ) -> Result<bool>;

    /// Takes items whose DeferDate has come from the deferred ones, and returns what there is to settle.
    fn due_items(&mut self, queue: QueueId, rules: GroupRules, now: Timestamp) -> Result<GroupChanges>;

    /// Keeps others from using the rules of a queue until the transaction ends. Fails if a transaction uses them and does not end
    /// soon. A back end with one transaction at a time has no need of it.
    fn lock_group_rules(&mut self, _queue: QueueId) -> Result<()> {
        Ok(())
    }

    /// Applies other rules to all items of a queue, whose rules are locked.
    fn change_group_rules(&mut self, queue: QueueId, rules: Option<GroupRules>, now: Timestamp)
    -> Result<()>;

    /// Whether items wait behind others of their group.
    fn has_items_behind(&mut self, queue: QueueId) -> Result<bool>;

    /// How many items of a group are InProgress.
    fn in_progress_of(&mut self, queue: QueueId, group: &str) -> Result<usize>;
}

/// The last turns that a group had, by rank, of items that have left their slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastTurns(BTreeMap<u8, i64>);

impl LastTurns {
    pub(crate) fn of_rank(&self, rank: u8) -> Option<i64> {
        self.0.get(&rank).copied()
    }

    /// The last turn of a rank: one of these, or one that an item has which holds a slot.
    pub(crate) fn or_held(&self, rank: u8, held: Option<i64>) -> Option<i64> {
        held.max(self.of_rank(rank))
    }

    /// Remembers the turn of an item that was claimed.
    pub(crate) fn remember(&mut self, rank: u8, turn: i64) {
        let known = self.0.entry(rank).or_insert(turn);
        *known = turn.max(*known);
    }

    /// Remembers the turn of an item that leaves its slot with this state, or without being claimed.
    pub(crate) fn remember_left(&mut self, rank: u8, turn: i64, status: Status) {
        // Another item of the group gets a turn that was not used.
        self.remember(rank, if status == Status::New { turn - 1 } else { turn });
    }

    pub(crate) fn extend(&mut self, others: Self) {
        others.0.into_iter().for_each(|(rank, turn)| self.remember(rank, turn));
    }
}

/// One group of a queue, as a back end keeps it.
pub(crate) trait Group {
    type Item;
    type Error;

    /// How many slots are held.
    fn held(&mut self) -> std::result::Result<usize, Self::Error>;
    fn first_waiting(&mut self) -> std::result::Result<Option<(PlaceInGroup, Self::Item)>, Self::Error>;
    /// The last one of those that hold a slot and are not InProgress.
    fn last_ready(&mut self) -> std::result::Result<Option<(PlaceInGroup, Self::Item)>, Self::Error>;
    fn enter(&mut self, item: Self::Item) -> std::result::Result<(), Self::Error>;
    fn leave(&mut self, item: Self::Item) -> std::result::Result<(), Self::Error>;
}

impl GroupChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.groups.is_empty()
    }

    /// Whether more slots of a group may be held than there are: an item was started that did not hold one.
    pub(crate) fn may_exceed(&self) -> bool {
        self.items.values().any(|state| state.status == Status::InProgress)
    }
}

/// Gives the slots of a group to its first items. `may_exceed`: see [`GroupChanges::may_exceed`]. Returns whether any became ready.
pub(crate) fn settle<G: Group>(
    group: &mut G,
    slots: usize,
    may_exceed: bool,
) -> std::result::Result<bool, G::Error> {
    let mut entered = false;
    loop {
        let waiting = group.first_waiting()?;
        if waiting.is_none() && !may_exceed {
            return Ok(entered);
        }
        let held = if slots == usize::MAX { 0 } else { group.held()? };
        match next_move(slots, held, waiting, || group.last_ready())? {
            Some(Move::Enter(item)) => {
                group.enter(item)?;
                entered = true;
            }
            Some(Move::Leave(item)) => group.leave(item)?,
            None => return Ok(entered),
        }
    }
}
