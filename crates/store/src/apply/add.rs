//! Adding items (lifecycle T1, T2), alone or with a success (lifecycle T4).

use std::collections::HashSet;
use std::sync::Arc;

use super::super::backend::{Answer, ClaimOperation};
use super::super::rows::{NewRow, Rows};
use super::{Applied, Apply, ApplyError, refusal_of};
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::content::SpecificContent;
use performer_core::model::item::{ClaimedItem, NewQueueItem, QueueItem};
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::lifecycle::{self, ItemState};
use performer_core::model::limits::Starts;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::stored_time::StoredTime;
use performer_core::model::webhook::EventType;
use performer_core::orchestrator::{BulkAdded, CommitType, FailedItem, FollowUp, FollowUps};

/// An item that can be added to its queue, and its content.
type CheckedItem<'i> = (Arc<QueueDefinition>, &'i NewQueueItem, &'i SpecificContent);

impl<R: Rows> Apply<'_, R> {
    pub(super) fn add(&mut self, queue: &str, item: &NewQueueItem) -> Applied {
        let queue = self.queue(queue)?;
        let content = self.check_new(&queue, item)?;
        let (id, unique_key, state) = self.insert(&queue, item, content)?;
        let added = QueueItem::added(id, unique_key, queue.id, &state, item, content);
        Ok(Answer::Item(Box::new(added)))
    }

    pub(super) fn bulk_add(
        &mut self,
        queue: &str,
        commit_type: CommitType,
        items: &[NewQueueItem],
    ) -> Applied {
        let queue = self.queue(queue)?;
        let mut bulk = BulkAdded::default();
        if commit_type == CommitType::AllOrNothing {
            // Checked as a whole before anything is written: nobody else writes in this transaction.
            let mut references = HashSet::new();
            let mut contents = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                let duplicate = item.reference.as_deref().filter(|_| queue.policy.enforce_unique_reference);
                let twice = duplicate.is_some_and(|reference| !references.insert(reference));
                match self.check_new(&queue, item) {
                    Ok(_) if twice => bulk.failed.push(FailedItem::new(
                        at + 1,
                        lifecycle::duplicate_reference(duplicate.unwrap_or_default(), &queue.name),
                    )),
                    Ok(content) => contents.push(content),
                    Err(stop) => bulk.failed.push(failed_item(at, stop)?),
                }
            }
            if bulk.failed.is_empty() {
                for (item, content) in items.iter().zip(&contents) {
                    self.insert(&queue, item, content)?;
                    crash_point!(within "between_items");
                }
                bulk.added = items.len() as u64;
            }
            return Ok(Answer::BulkAdded(bulk));
        }
        for (at, item) in items.iter().enumerate() {
            let added = self.check_new(&queue, item).and_then(|content| self.insert(&queue, item, content));
            match added {
                Ok(_) => {
                    bulk.added += 1;
                    crash_point!(within "between_items");
                }
                Err(stop) => bulk.failed.push(failed_item(at, stop)?),
            }
            if commit_type == CommitType::StopOnFirstFailure && !bulk.failed.is_empty() {
                break;
            }
        }
        Ok(Answer::BulkAdded(bulk))
    }

    /// Checks the follow-ups of a report as a whole, before anything is written: nobody else writes in this transaction.
    pub(super) fn checked_follow_ups<'i>(&mut self, all: &'i FollowUps) -> Applied<Vec<CheckedItem<'i>>> {
        let mut checked = Vec::with_capacity(all.len());
        let mut references = HashSet::new();
        for (at, follow_up) in all.iter().enumerate() {
            match self.checked_follow_up(follow_up, &mut references) {
                Ok(item) => checked.push(item),
                Err(ApplyError::Refused(error)) => return Err(ApplyError::Refused(all.refused(at, error))),
                Err(failed) => return Err(failed),
            }
        }
        Ok(checked)
    }

    /// `references`: those of earlier follow-ups of the same report, in queues where they are unique.
    fn checked_follow_up<'i>(
        &mut self,
        follow_up: &'i FollowUp,
        references: &mut HashSet<(QueueId, &'i str)>,
    ) -> Applied<CheckedItem<'i>> {
        let queue = self.queue(&follow_up.queue)?;
        let item = &follow_up.item;
        let content = self.check_new(&queue, item)?;
        if let Some(reference) = item.reference.as_deref().filter(|_| queue.policy.enforce_unique_reference)
            && !references.insert((queue.id, reference))
        {
            return Err(lifecycle::duplicate_reference(reference, &queue.name).into());
        }
        Ok((queue, item, content))
    }

    pub(super) fn insert_follow_ups(&mut self, checked: Vec<CheckedItem<'_>>) -> Applied<()> {
        for (queue, item, content) in checked {
            self.insert(&queue, item, content)?;
            crash_point!(within "between_follow_ups");
        }
        Ok(())
    }

    pub(super) fn add_and_start(&mut self, claim: &ClaimOperation, item: &NewQueueItem) -> Applied {
        let queue = self.queue(&claim.queue)?;
        self.check_alive(claim.claimant.job)?;
        // Claimed at once, whatever its DeferDate: that date would only defer a retry.
        let mut item = item.clone();
        item.defer_date = None;
        let content = self.check_new(&queue, &item)?;
        let starts = if queue.limits.is_none() { None } else { Some(self.may_start(&queue, &item)?) };
        let (id, _, state) = self.insert(&queue, &item, content)?;
        let claim = self.claim_one(id, &state, &queue, claim.claimant)?;
        if let Some(starts) = starts {
            self.count_starts(&queue, starts, 1)?;
        }
        let item = Box::new(self.item(id)?);
        Ok(Answer::Claimed(ClaimedItem::new(item, claim)))
    }

    /// A caller that adds and claims is not made to wait: if nothing may be started now, nothing is added.
    fn may_start(&mut self, queue: &QueueDefinition, item: &NewQueueItem) -> Applied<Starts> {
        let (allowance, starts) = self.allowance(queue, None)?;
        let group_has_room = self.group_has_room(queue, item)?;
        if allowance.count > 0 && group_has_room {
            return Ok(starts);
        }
        let why = match (queue.limits.paused, group_has_room) {
            (true, _) => "it is paused",
            (false, true) => "its limit is reached",
            (false, false) => "the limit of the item's group is reached",
        };
        let message = format!("nothing of queue {:?} can be started now: {why}", queue.name);
        Err(Refusal::new(ErrorCode::UNAVAILABLE_RESOURCES, message).into())
    }

    fn check_new<'i>(
        &mut self,
        queue: &QueueDefinition,
        item: &'i NewQueueItem,
    ) -> Applied<&'i SpecificContent> {
        let content = item.validate(queue)?;
        if let Some(reference) = item.reference.as_deref().filter(|_| queue.policy.enforce_unique_reference)
            && self.rows.holds_reference(queue.id, reference)?
        {
            return Err(lifecycle::duplicate_reference(reference, &queue.name).into());
        }
        Ok(content)
    }

    fn insert(
        &mut self,
        queue: &QueueDefinition,
        item: &NewQueueItem,
        content: &SpecificContent,
    ) -> Applied<(ItemId, ItemKey, ItemState)> {
        let state = lifecycle::added(item, &queue.policy, self.now);
        let unique_key = self.rows.next_item_key(self.now)?;
        let rules = queue.limits.group_rules();
        let behind = rules.and_then(|rules| rules.group_of(item.group.as_deref()));
        let id = self.rows.insert_item(&NewRow {
            queue: queue.id,
            unique_key,
            state: &state,
            reference: item.reference.as_deref(),
            group: item.group.as_deref(),
            behind,
            content,
            risk_sla_date: item.risk_sla_date.map(StoredTime::timestamp),
            progress: item.progress.as_deref(),
            origin: &item.origin,
            created_by: self.scope.user,
            now: self.now,
        })?;
        if self.is_told(EventType::ItemAdded) {
            let added = QueueItem::added(id, unique_key, queue.id, &state, item, content);
            self.tell_item_now(EventType::ItemAdded, &added);
        }
        self.note_added(queue, behind);
        self.statistics.entry(queue.id).or_default().count(&state, 1);
        self.wakes.add(queue.id);
        Ok((id, unique_key, state))
    }
}

fn failed_item(at: usize, stop: ApplyError) -> Applied<FailedItem> {
    match stop {
        ApplyError::Refused(error) => Ok(FailedItem::new(at + 1, refusal_of(&error))),
        ApplyError::Failed(_) => Err(stop),
    }
}
