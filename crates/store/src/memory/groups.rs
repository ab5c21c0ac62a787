//! The groups of a queue in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::groups::{Group, GroupChanges, GroupRows, LastTurns, settle};
use super::Memory;
use super::item::StoredItem;
use performer_core::model::groups::{GroupRules, PlaceInGroup, turn};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::{SelectionKey, is_deferred, rank};
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// The items of groups, of a queue with rules about them.
#[derive(Default)]
pub(super) struct Groups {
    items: BTreeMap<ItemId, Grouped>,
    waiting: BTreeMap<Arc<str>, BTreeSet<PlaceInGroup>>,
    held: BTreeMap<Arc<str>, Held>,
}

/// The items of a group that hold its slots, in the order of the group and in that of their turns.
#[derive(Default)]
struct Held {
    places: BTreeSet<PlaceInGroup>,
    keys: BTreeSet<SelectionKey>,
}

struct Grouped {
    group: Arc<str>,
    place: PlaceInGroup,
    due_date: Option<Timestamp>,
    /// Its key among the ready items, if it holds a slot. It stays when the item is claimed.
    slot: Option<SelectionKey>,
}

impl Groups {
    /// The key of an item that holds a slot.
    pub(super) fn turn_of(&self, id: ItemId) -> Option<SelectionKey> {
        self.items.get(&id)?.slot
    }

    /// Inserts an item; without a slot it waits.
    fn insert(&mut self, item: Grouped) {
        let Grouped { group, place, slot, .. } = &item;
        if let Some(key) = slot {
            let held = self.held.entry(group.clone()).or_default();
            held.places.insert(*place);
            held.keys.insert(*key);
        } else {
            self.waiting.entry(group.clone()).or_default().insert(*place);
        }
        self.items.insert(place.id, item);
    }

    fn remove(&mut self, id: ItemId) -> Option<Grouped> {
        let removed = self.items.remove(&id)?;
        if let Some(key) = removed.slot {
            if let Some(held) = self.held.get_mut(&removed.group) {
                held.places.remove(&removed.place);
                held.keys.remove(&key);
                if held.places.is_empty() {
                    self.held.remove(&removed.group);
                }
            }
        } else if let Some(places) = self.waiting.get_mut(&removed.group) {
            places.remove(&removed.place);
            if places.is_empty() {
                self.waiting.remove(&removed.group);
            }
        }
        Some(removed)
    }
}

/// One group, while it is settled.
struct OneGroup<'a> {
    groups: &'a mut Groups,
    ready: &'a mut BTreeSet<SelectionKey>,
    name: Arc<str>,
    fair: bool,
    last_turns: LastTurns,
}

impl Group for OneGroup<'_> {
    type Item = ItemId;
    type Error = Infallible;

    fn held(&mut self) -> std::result::Result<usize, Infallible> {
        Ok(self.groups.held.get(&self.name).map_or(0, |held| held.places.len()))
    }

    fn first_waiting(&mut self) -> std::result::Result<Option<(PlaceInGroup, ItemId)>, Infallible> {
        let first = self.groups.waiting.get(&self.name).and_then(|places| places.first());
        Ok(first.map(|place| (*place, place.id)))
    }

    fn last_ready(&mut self) -> std::result::Result<Option<(PlaceInGroup, ItemId)>, Infallible> {
        let is_ready = |place: &&PlaceInGroup| {
            self.groups.turn_of(place.id).is_some_and(|key| self.ready.contains(&key))
        };
        let held = self.groups.held.get(&self.name);
        Ok(held.and_then(|held| held.places.iter().rev().find(is_ready)).map(|place| (*place, place.id)))
    }

    fn enter(&mut self, id: ItemId) -> std::result::Result<(), Infallible> {
        let Some(Grouped { group, place, due_date, .. }) = self.groups.remove(id) else { return Ok(()) };
        let key = if self.fair {
            let first =
                self.ready.range(SelectionKey::in_turn(place.rank, i64::MIN, ItemId(i64::MIN))..).next();
            let first = first.filter(|key| key.rank() == place.rank).map(SelectionKey::turn);
            let up_to = SelectionKey::in_turn(place.rank, i64::MAX, ItemId(i64::MAX));
            let held = self.groups.held.get(&self.name);
            let last = held.and_then(|held| held.keys.range(..=up_to).next_back());
            let last = last.filter(|key| key.rank() == place.rank).map(SelectionKey::turn);
            SelectionKey::in_turn(place.rank, turn(first, self.last_turns.or_held(place.rank, last)), id)
        } else {
            SelectionKey::of_rank(place.rank, due_date, id)
        };
        self.ready.insert(key);
        self.groups.insert(Grouped { group, place, due_date, slot: Some(key) });
        Ok(())
    }

    fn leave(&mut self, id: ItemId) -> std::result::Result<(), Infallible> {
        let Some(item) = self.groups.remove(id) else { return Ok(()) };
        if let Some(key) = item.slot {
            self.ready.remove(&key);
            self.last_turns.remember_left(key.rank(), key.turn(), Status::New);
        }
        self.groups.insert(Grouped { slot: None, ..item });
        Ok(())
    }
}

impl Memory {
    /// Lets a new item wait until its group is settled, unless it is deferred.
    pub(super) fn put_behind(&mut self, id: ItemId, group: &str, now: Timestamp) {
        let Some(item) = self.items.get(&id) else { return };
        let (place, state) = (place_of(id, item, &item.state), &item.state);
        if is_deferred(state, now) {
            return;
        }
        if let Some(queue) = self.queues.get_mut(&item.queue) {
            queue.ready.remove(&SelectionKey::new(state.priority, state.due_date, id));
            let grouped = Grouped { group: group.into(), place, due_date: state.due_date, slot: None };
            queue.groups.insert(grouped);
        }
    }

    /// Removes an item from its group, and inserts it again as its present state says. It waits then, unless it is InProgress.
    fn regroup(
        &mut self,
        queue: QueueId,
        rules: GroupRules,
        id: ItemId,
        state: &ItemState,
        now: Timestamp,
    ) -> Option<(Arc<str>, LastTurns)> {
        let item = self.items.get(&id);
        let queue = self.queues.get_mut(&queue)?;
        let (mut turns, mut group) = (LastTurns::default(), None);
        if let Some(removed) = queue.groups.remove(id) {
            if let Some(key) = removed.slot {
                turns.remember_left(key.rank(), key.turn(), state.status);
            }
            group = Some(removed.group);
        }
        if let Some(item) = item
            && let Some(name) = rules.group_of(item.group.as_deref())
        {
            let name: Arc<str> = group.unwrap_or_else(|| name.into());
            let (place, due_date) = (place_of(id, item, state), state.due_date);
            if state.status == Status::New && !is_deferred(state, now) {
                queue.ready.remove(&SelectionKey::new(state.priority, state.due_date, id));
                queue.groups.insert(Grouped { group: name.clone(), place, due_date, slot: None });
            } else if state.status == Status::InProgress {
                let key = if rules.fair {
                    SelectionKey::in_turn(place.rank, turns.of_rank(place.rank).unwrap_or(0), id)
                } else {
                    SelectionKey::of_rank(place.rank, due_date, id)
                };
                queue.groups.insert(Grouped { group: name.clone(), place, due_date, slot: Some(key) });
            }
            group = Some(name);
        }
        group.map(|group| (group, turns))
    }
}

fn place_of(id: ItemId, item: &StoredItem, state: &ItemState) -> PlaceInGroup {
    PlaceInGroup {
        rank: rank(state.priority, state.due_date),
        due_date: state.due_date.map_or(0, Timestamp::as_microsecond),
        first: item.root,
        id,
    }
}

impl GroupRows for Memory {
    fn settle_groups(
        &mut self,
        queue: QueueId,
        rules: GroupRules,
        changes: GroupChanges,
        now: Timestamp,
    ) -> Result<bool> {
        let may_exceed = changes.may_exceed();
        let mut groups: BTreeMap<Arc<str>, LastTurns> =
            changes.groups.into_iter().map(|group| (group.into(), LastTurns::default())).collect();
        for (id, state) in &changes.items {
            if let Some((group, turns)) = self.regroup(queue, rules, *id, state, now) {
                groups.entry(group).or_default().extend(turns);
            }
        }
        let Some(queue) = self.queues.get_mut(&queue) else { return Ok(false) };
        let mut entered = false;
        for (name, last_turns) in groups {
            let slots = rules.slots(&name);
            let (groups, ready) = (&mut queue.groups, &mut queue.ready);
            let mut group = OneGroup { groups, ready, name, fair: rules.fair, last_turns };
            let Ok(any) = settle(&mut group, slots, may_exceed);
            entered |= any;
        }
        Ok(entered)
    }

    fn due_items(&mut self, queue: QueueId, _rules: GroupRules, now: Timestamp) -> Result<GroupChanges> {
        let due = self.queues.get(&queue).into_iter().flat_map(|queue| &queue.deferred);
        let due: Vec<_> = due.take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        self.promote(queue, now);
        let items = due.into_iter().filter_map(|id| Some((id, self.items.get(&id)?.state))).collect();
        Ok(GroupChanges { items, ..GroupChanges::default() })
    }

    fn change_group_rules(
        &mut self,
        queue: QueueId,
        rules: Option<GroupRules>,
        now: Timestamp,
    ) -> Result<()> {
        let is_live = |item: &StoredItem| matches!(item.state.status, Status::New | Status::InProgress);
        let live = self.items.iter().filter(|(_, item)| item.queue == queue && is_live(item));
        let live: BTreeMap<ItemId, ItemState> = live.map(|(id, item)| (*id, item.state)).collect();
        for id in live.keys() {
            self.unindex(*id);
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.groups.remove(*id);
            }
            self.index(*id, now);
        }
        let Some(rules) = rules else { return Ok(()) };
        let changes = GroupChanges { items: live, groups: BTreeSet::new() };
        self.settle_groups(queue, rules, changes, now).map(drop)
    }

    fn has_items_behind(&mut self, queue: QueueId) -> Result<bool> {
        Ok(self.queues.get(&queue).is_some_and(|queue| !queue.groups.waiting.is_empty()))
    }

    fn in_progress_of(&mut self, queue: QueueId, group: &str) -> Result<usize> {
        let held = self.queues.get(&queue).and_then(|queue| queue.groups.held.get(group));
        let is_running = |place: &&PlaceInGroup| {
            self.items.get(&place.id).is_some_and(|item| item.state.status == Status::InProgress)
        };
        Ok(held.map_or(0, |held| held.places.iter().filter(is_running).count()))
    }
}
