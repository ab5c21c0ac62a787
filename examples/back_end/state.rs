//! All that the back end stores, and how an event changes an item.

use std::collections::BTreeMap;
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::clock_guard::ClockGuard;
use performer::model::lifecycle::{self, Event, Transition};
use performer::model::sweep::SweepHistory;
use performer::model::{Comment, ErrorCode, ItemId, Job, KeyMaker, QueueId, Refusal, Status};

use super::items::Item;
use super::queues::Queue;

/// The answer of a decision. The trait methods make an `OrchestratorError` of a refusal, with the kind that its code stands for.
pub(super) type Answer<T> = Result<T, Refusal>;

/// Everything that is stored. Ids are numbered upwards and never given twice.
#[derive(Debug)]
pub(super) struct State {
    /// The time of the current call, and the time of the clock that cannot be set.
    pub(super) now: Timestamp,
    pub(super) elapsed: Duration,
    /// Judges whether the time of day may be ahead, which would make everything old.
    pub(super) guard: ClockGuard,
    pub(super) keys: KeyMaker,
    pub(super) queues: BTreeMap<QueueId, Queue>,
    pub(super) last_queue: i64,
    /// The items of all queues. Those of a deleted queue are removed with it.
    pub(super) items: BTreeMap<ItemId, Item>,
    pub(super) last_item: i64,
    pub(super) comments: BTreeMap<i64, Comment>,
    pub(super) last_comment: i64,
    /// In the order of their starts.
    pub(super) jobs: Vec<Job>,
    pub(super) sweeps: SweepHistory,
    /// The number of changes after which items may be claimable that were not before.
    changes: u64,
}

impl State {
    pub(super) fn new(now: Timestamp, elapsed: Duration) -> Self {
        Self {
            now,
            elapsed,
            guard: ClockGuard::new(now, elapsed),
            keys: KeyMaker::new(),
            queues: BTreeMap::new(),
            last_queue: 0,
            items: BTreeMap::new(),
            last_item: 0,
            comments: BTreeMap::new(),
            last_comment: 0,
            jobs: Vec::new(),
            sweeps: SweepHistory::default(),
            changes: 0,
        }
    }

    /// Sets the time of the current call.
    pub(super) fn set_time(&mut self, now: Timestamp, elapsed: Duration) {
        (self.now, self.elapsed) = (now, elapsed);
        self.guard.observe(now, elapsed);
    }

    pub(super) fn item(&self, id: ItemId) -> Answer<&Item> {
        self.items.get(&id).ok_or_else(|| no_item(id))
    }

    pub(super) fn item_mut(&mut self, id: ItemId) -> Answer<&mut Item> {
        self.items.get_mut(&id).ok_or_else(|| no_item(id))
    }

    /// Applies an event to an item: asks the rules, and stores what they answer. Returns whether anything changed. A refused
    /// event changes nothing.
    pub(super) fn apply(&mut self, id: ItemId, event: Event) -> Answer<bool> {
        let item = self.items.get_mut(&id).ok_or_else(|| no_item(id))?;
        let queue = self.queues.get(&item.queue).ok_or_else(|| no_item(id))?;
        let change = match lifecycle::transition(id, &item.state, event, &queue.definition.policy, self.now)?
        {
            Transition::Unchanged => return Ok(false),
            Transition::Remove => {
                self.items.remove(&id);
                return Ok(true);
            }
            Transition::Change(change) => change,
        };
        let (queue, copy) =
            (item.queue, change.copy.map(|state| item.retry_copy(id, self.keys.item(self.now), state)));
        item.state = change.after;
        item.recorded.extend(change.recorded); // `change.alert` is for back ends that send alerts
        if item.state.status == Status::New {
            self.wake(queue);
        }
        if let Some(copy) = copy {
            self.insert(copy);
        }
        Ok(true)
    }

    /// Stores an item that is New, behind everything that waits.
    pub(super) fn insert(&mut self, item: Item) -> ItemId {
        self.last_item += 1;
        let (id, queue) = (ItemId(self.last_item), item.queue);
        self.items.insert(id, item);
        self.wake(queue);
        id
    }

    /// Wakes the callers that wait for items of a queue. They go on when the current call has ended.
    pub(super) fn wake(&mut self, queue: QueueId) {
        self.changes += 1;
        if let Some(queue) = self.queues.get(&queue) {
            // Not counted for each queue: a queue that was deleted and created again has changes that no caller has seen.
            queue.changes.send_replace(self.changes);
        }
    }

    /// All attempts of the retry chain of an item, the oldest first.
    pub(super) fn chain(&self, id: ItemId) -> Answer<Vec<ItemId>> {
        let key = self.item(id)?.key;
        Ok(self.items.iter().filter(|(_, item)| item.key == key).map(|(id, _)| *id).collect())
    }
}

/// There is no item with this id.
fn no_item(id: ItemId) -> Refusal {
    Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("item {id} does not exist"))
}
