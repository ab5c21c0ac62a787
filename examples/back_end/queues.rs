//! Queues, their statistics and their retention (T23 of `docs/reference/lifecycle.md`).

use std::time::Duration;

use performer::model::lifecycle::{Event, is_expired};
use performer::model::selection::is_deferred;
use performer::model::{
    ErrorCode, FolderId, ItemId, NewQueueDefinition, QueueDefinition, QueueId, QueueStatistics, Refusal,
};
use tokio::sync::watch;

use super::state::{Answer, State};

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) definition: QueueDefinition,
    /// The last change after which items of the queue may be claimable that were not before.
    pub(super) changes: watch::Sender<u64>,
}

impl State {
    pub(super) fn queue(&self, id: QueueId) -> Answer<&Queue> {
        let missing = || Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("queue {id} does not exist"));
        self.queues.get(&id).ok_or_else(missing)
    }

    /// The queue of this name, whatever its case.
    pub(super) fn queue_named(&self, name: &str) -> Answer<QueueId> {
        let missing = || Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("queue {name:?} does not exist"));
        self.find_queue(name).ok_or_else(missing)
    }

    fn find_queue(&self, name: &str) -> Option<QueueId> {
        let folded = name.to_lowercase();
        let mut queues = self.queues.iter();
        queues.find(|(_, queue)| queue.definition.name.to_lowercase() == folded).map(|(id, _)| *id)
    }

    pub(super) fn definition(&self, name: &str) -> Answer<QueueDefinition> {
        Ok(self.queue(self.queue_named(name)?)?.definition.clone())
    }

    /// All queues, in the order of their names.
    pub(super) fn definitions(&self) -> Vec<QueueDefinition> {
        let mut all: Vec<_> = self.queues.values().map(|queue| queue.definition.clone()).collect();
        all.sort_by_key(|definition| definition.name.to_lowercase());
        all
    }

    pub(super) fn create_queue(&mut self, new: NewQueueDefinition) -> Answer<QueueDefinition> {
        new.validate()?;
        self.check_name_is_free(&new.name, None)?;
        self.last_queue += 1;
        let (id, key) = (QueueId(self.last_queue), self.keys.queue(self.now));
        let mut definition = QueueDefinition::new(id, key, new.name.clone(), self.now);
        definition.folders = vec![FolderId::SHARED];
        set_settings(&mut definition, new);
        let (changes, _) = watch::channel(0);
        self.queues.insert(id, Queue { definition: definition.clone(), changes });
        self.wake(id);
        Ok(definition)
    }

    pub(super) fn update_queue(&mut self, name: &str, new: NewQueueDefinition) -> Answer<QueueDefinition> {
        let id = self.queue_named(name)?;
        new.validate_change_of(&self.queue(id)?.definition)?;
        self.check_name_is_free(&new.name, Some(id))?;
        if let Some(queue) = self.queues.get_mut(&id) {
            set_settings(&mut queue.definition, new);
        }
        self.wake(id); // callers wait for a queue by its name
        Ok(self.queue(id)?.definition.clone())
    }

    fn check_name_is_free(&self, name: &str, except: Option<QueueId>) -> Answer<()> {
        let taken = self.find_queue(name).filter(|taken| Some(*taken) != except);
        taken.map_or(Ok(()), |_| {
            Err(Refusal::new(ErrorCode::NAME_ALREADY_USED, format!("the name {name:?} is already used")))
        })
    }

    /// Deletes a queue, its items, and their comments. Callers that wait for its items are woken, because its channel ends.
    pub(super) fn delete_queue(&mut self, name: &str) -> Answer<()> {
        let id = self.queue_named(name)?;
        self.queues.remove(&id);
        self.items.retain(|_, item| item.queue != id);
        self.remove_comments_without_item();
        Ok(())
    }

    pub(super) fn statistics(&self, name: &str) -> Answer<QueueStatistics> {
        let queue = self.queue_named(name)?;
        let mut statistics = QueueStatistics::default();
        for item in self.items.values().filter(|item| item.queue == queue) {
            statistics.count(&item.state, 1);
        }
        Ok(statistics)
    }

    /// T23: removes chains whose attempts are all past the retention of their queue, the oldest first.
    pub(super) fn apply_retention(&mut self, limit: usize) -> Answer<u64> {
        let judgement = self.guard.judge(self.now, self.elapsed, None);
        let is_old = |state: &State, id: &ItemId| {
            let item = state.item(*id)?;
            let policy = &state.queue(item.queue)?.definition.policy;
            let by = judgement.believed_for(item.state.creation_time);
            Answer::Ok(by.is_some_and(|by| is_expired(&item.state, policy, by)))
        };
        let mut removed = 0;
        let first_attempts = self.items.iter().filter(|(_, item)| item.unique_key == item.key);
        for first in first_attempts.map(|(id, _)| *id).collect::<Vec<_>>() {
            if removed >= limit {
                break;
            }
            if !is_old(self, &first)? {
                continue; // and its chain need not be searched
            }
            let chain = self.chain(first)?;
            let ages = chain.iter().map(|id| is_old(self, id)).collect::<Answer<Vec<bool>>>()?;
            if ages.contains(&false) {
                continue;
            }
            for id in &chain {
                self.apply(*id, Event::Expire { whole_chain_expired: true })?;
            }
            removed += chain.len();
        }
        self.remove_comments_without_item();
        Ok(removed as u64)
    }

    /// The changes of a queue, and the time until an item of it is no longer deferred, if one is.
    pub(super) fn changes_of(&self, name: &str) -> Answer<(watch::Receiver<u64>, Option<Duration>)> {
        let id = self.queue_named(name)?;
        let deferred = |state| is_deferred(state, self.now);
        let of_queue = self.items.values().filter(|item| item.queue == id && deferred(&item.state));
        let next = of_queue.filter_map(|item| item.state.defer_date).min();
        let wait = next.and_then(|next| Duration::try_from(next.duration_since(self.now)).ok());
        Ok((self.queue(id)?.changes.subscribe(), wait))
    }
}

/// Sets what people set of a queue.
fn set_settings(definition: &mut QueueDefinition, new: NewQueueDefinition) {
    definition.name = new.name;
    definition.description = new.description;
    definition.policy = new.policy;
    definition.schemas = new.schemas;
    definition.notes = new.notes;
}
