//! Groups of failures in memory.

use super::super::reasons::{Failure, Reasons};
use super::Memory;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::reason::{MAX_REASONS, Reason, ReasonCursor, ReasonFilter};
use performer_core::orchestrator::Result;

impl Reasons for Memory {
    fn count_failure(&mut self, failure: &Failure) -> Result<()> {
        let is_it = |reason: &&mut Reason| {
            (reason.queue, reason.exception_type) == (failure.queue, failure.exception_type)
                && reason.fingerprint == failure.fingerprint
        };
        let id = if let Some(found) = self.reasons.values_mut().find(is_it) {
            found.id
        } else {
            let there = self.reasons.values().filter(|reason| reason.queue == failure.queue).count() as u64;
            if there >= MAX_REASONS && !failure.fingerprint.is_empty() {
                return self.count_failure(&failure.among_others());
            }
            let id = self.reasons.last_key_value().map_or(0, |(id, _)| *id) + 1;
            let fingerprint = failure.fingerprint.clone();
            let mut new = Reason::new(id, failure.queue, failure.exception_type, fingerprint, failure.at);
            new.sample.clone_from(&failure.sample);
            self.reasons.insert(new.id, new);
            id
        };
        if let Some(reason) = self.reasons.get_mut(&id) {
            reason.last_seen = reason.last_seen.max(failure.at);
            reason.total += 1;
            reason.open += i64::from(failure.is_open);
        }
        if let Some(item) = self.items.get_mut(&failure.item) {
            item.reason = Some(id);
        }
        Ok(())
    }

    fn count_open(&mut self, item: ItemId, by: i64) -> Result<()> {
        let reason = self.items.get(&item).and_then(|item| item.reason);
        if let Some(reason) = reason.and_then(|reason| self.reasons.get_mut(&reason)) {
            reason.open += by;
        }
        Ok(())
    }

    fn write_reason(&mut self, reason: &Reason) -> Result<()> {
        if let Some(there) = self.reasons.get_mut(&reason.id) {
            there.note.clone_from(&reason.note);
            there.owner = reason.owner;
        }
        Ok(())
    }

    fn reasons(&mut self, queues: &[QueueId], filter: &ReasonFilter) -> Result<Vec<Reason>> {
        let of_queues = self.reasons.values().filter(|reason| queues.contains(&reason.queue));
        let mut found: Vec<Reason> = of_queues
            .filter(|reason| reason.open > 0 || !filter.open_only)
            .filter(|reason| filter.first_seen_from.is_none_or(|from| reason.first_seen >= from))
            .filter(|reason| filter.id.is_none_or(|id| reason.id == id))
            .filter(|reason| filter.after.is_none_or(|after| after.is_before(reason, filter.order)))
            .cloned()
            .collect();
        let key = |reason: &Reason| {
            let place = ReasonCursor::behind(reason, filter.order);
            std::cmp::Reverse((place.key, place.id))
        };
        found.sort_by_key(key);
        found.truncate(filter.top);
        Ok(found)
    }
}
