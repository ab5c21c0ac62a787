//! Claiming items (lifecycle T3).

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::super::backend::{Answer, ClaimOperation, Claimant, ClaimedBatch, Scope};
use super::super::rows::{ClaimedRow, ItemRow, NextItems, Rows, StateUpdate};
use super::{Applied, Apply, ApplyError, answer_of};
use performer_core::crash_point;
use performer_core::model::history::Actors;
use performer_core::model::item::{ClaimedItem, QueueItem, ReferenceFilter};
use performer_core::model::key::{Claim, FolderId, ItemId, JobKey};
use performer_core::model::lifecycle::{self, Event, ItemState, Transition};
use performer_core::model::limits::{Allowance, Starts};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::webhook::EventType;
use performer_core::orchestrator::Result;

/// The items of a queue that may be claimed now.
struct AvailableItems {
    queue: Arc<QueueDefinition>,
    items: Vec<(ItemState, Box<QueueItem>)>,
    /// The recent starts, of a queue with limits.
    starts: Option<Starts>,
    /// More items wait, and a limit withholds them.
    withheld: Option<Duration>,
}

/// When to try again for withheld items: others end their attempts, or somebody resumes the queue.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A claim that is applied after everything else: the index of its answer, and its scope.
pub(super) type WaitingClaim = (usize, Scope, ClaimOperation);

/// How many items claims want.
pub(super) fn wanted(claims: &[WaitingClaim]) -> usize {
    claims.iter().map(|(.., claim)| claim.count).fold(0, usize::saturating_add)
}

impl<R: Rows> Apply<'_, R> {
    /// Applies all claims of a batch; those with one queue and filter together, so that the ready items are read once.
    /// Every process takes the queues in the same order, so that two that claim from two queues with limits do not wait
    /// for each other.
    pub(super) fn claim_items(
        &mut self,
        claims: Vec<WaitingClaim>,
        answers: &mut [Result<Answer>],
    ) -> Result<()> {
        let mut waiting = claims;
        waiting.sort_by(|(_, a, one), (_, b, other)| (a.folder, &one.queue).cmp(&(b.folder, &other.queue)));
        while let Some((_, scope, first)) = waiting.first() {
            let (folder, queue, reference) = (scope.folder, first.queue.clone(), first.reference.clone());
            let other = |(_, of, claim): &mut WaitingClaim| {
                of.folder != folder || claim.queue != queue || claim.reference != reference
            };
            let others = waiting.extract_if(.., other).collect();
            let group = std::mem::replace(&mut waiting, others);
            let wanted = wanted(&group);
            let AvailableItems { queue, items, starts, withheld } =
                match self.available_items(folder, &queue, reference.as_ref(), wanted) {
                    Ok(found) => found,
                    Err(ApplyError::Refused(error)) => {
                        for (at, ..) in group {
                            answers[at] = Err(error.clone());
                        }
                        continue;
                    }
                    Err(ApplyError::Failed(error)) => return Err(error),
                };
            let found_all = items.len() >= wanted;
            let mut written = Vec::with_capacity(items.len());
            let mut items = items.into_iter();
            for (at, scope, claim) in group {
                self.scope = scope;
                let claimed = self.claim_for(&queue, &claim, &mut items, &mut written);
                let claimed_batch = |items: SmallVec<[ClaimedItem; 1]>| {
                    let withheld = withheld.filter(|_| items.len() < claim.count);
                    Answer::ClaimedBatch(ClaimedBatch { items, queue: Some(queue.id), withheld })
                };
                answers[at] = answer_of(claimed.map(claimed_batch))?;
            }
            match (found_all || items.len() > 0, reference.is_none() && withheld.is_none()) {
                (true, _) => self.more_left.add(queue.id),
                (false, true) => self.none_left.add(queue.id),
                (false, false) => {} // the others do not match, or may not be claimed
            }
            self.rows.write_claimed(queue.id, &written, self.now)?;
            if let Some(starts) = starts {
                self.count_starts(&queue, starts, written.len())?;
            }
        }
        crash_point!("claim.after_write");
        Ok(())
    }

    /// The items of a queue that may be claimed now.
    fn available_items(
        &mut self,
        folder: FolderId,
        queue: &str,
        reference: Option<&ReferenceFilter>,
        count: usize,
    ) -> Applied<AvailableItems> {
        let queue = self.queue_in(folder, queue)?;
        let groups = queue.limits.group_rules();
        let ask = NextItems { queue: queue.id, reference, count, now: self.now, groups };
        if let Some(rules) = groups {
            self.settle_due(queue.id, rules)?;
        }
        if !queue.limits.are_over_all() {
            let items = self.rows.next_items(&ask)?;
            let withheld = self.withheld_by_groups(&ask, items.len())?;
            return Ok(AvailableItems { queue, items, starts: None, withheld });
        }
        let (allowance, starts) = self.allowance(&queue, Some(&ask))?;
        // One more than is given out, to know whether a limit withholds any.
        let count = count.min(allowance.count.saturating_add(1));
        let mut items = self.rows.next_items(&NextItems { count, ..ask })?;
        let withheld = match (items.len() > allowance.count).then(|| allowance.again.unwrap_or(LOOK_AGAIN)) {
            None => self.withheld_by_groups(&ask, items.len())?,
            withheld => withheld,
        };
        items.truncate(allowance.count);
        Ok(AvailableItems { queue, items, starts: Some(starts), withheld })
    }

    /// When to try again if fewer items than wanted were found, because others wait behind items of their groups.
    fn withheld_by_groups(&mut self, ask: &NextItems<'_>, found: usize) -> Result<Option<Duration>> {
        let may_wait = ask.groups.is_some() && found < ask.count;
        Ok((may_wait && self.rows.has_items_behind(ask.queue)?).then_some(LOOK_AGAIN))
    }

    /// How many items of a queue with limits may be started now. Nobody else starts any until the transaction ends.
    /// `next`: what is searched afterwards.
    pub(super) fn allowance(
        &mut self,
        queue: &QueueDefinition,
        next: Option<&NextItems<'_>>,
    ) -> Applied<(Allowance, Starts)> {
        self.locked_limits.insert(queue.id);
        let starts = self.rows.starts(queue.id, next)?;
        let pending = self.statistics.get(&queue.id).map_or(0, |delta| delta.in_progress);
        let in_progress = self.rows.statistics(queue.id)?.in_progress + pending;
        Ok((queue.limits.allowance(in_progress, &starts, self.now), starts))
    }

    pub(super) fn count_starts(
        &mut self,
        queue: &QueueDefinition,
        mut starts: Starts,
        count: usize,
    ) -> Result<()> {
        match queue.limits.max_starts {
            Some(most) if count > 0 => {
                starts.count(count, most, self.now);
                self.rows.write_starts(queue.id, &starts)
            }
            _ => Ok(()),
        }
    }

    /// Claims as many items as a caller wants. The rows are collected, to be written for all callers of the batch
    /// together.
    fn claim_for(
        &mut self,
        queue: &QueueDefinition,
        claim: &ClaimOperation,
        items: &mut std::vec::IntoIter<(ItemState, Box<QueueItem>)>,
        written: &mut Vec<ClaimedRow>,
    ) -> Applied<SmallVec<[ClaimedItem; 1]>> {
        if items.len() == 0 {
            return Ok(SmallVec::new());
        }
        let claimant = Claimant { user: self.scope.user, ..claim.claimant };
        self.check_alive(claimant.job)?;
        let mut claimed = SmallVec::with_capacity(claim.count.min(items.len()));
        while claimed.len() < claim.count {
            let Some((before, mut item)) = items.next() else { break };
            let event = Event::Take { job: claimant.job.number() };
            let after = match lifecycle::transition(item.id, &before, event, &queue.policy, self.now) {
                Ok(Transition::Change(change)) => change.after,
                Ok(other) => unreachable!("a take changes the item, it is not {other:?}"),
                Err(_) => continue, // the rules decide, not the index
            };
            self.statistics.entry(queue.id).or_default().moved(&before, &after);
            item.status = after.status;
            item.start_processing = after.start_processing;
            item.row_version = after.row_version;
            item.executor_job = claimant.executor.or(Some(claimant.job).filter(|job| *job != JobKey::CALLER));
            (item.robot, item.robot_id) = (claimant.robot, claimant.robot_id);
            self.tell_item_now(EventType::ItemStarted, &item);
            let claim = Claim { item: item.id, job: claimant.job, token: after.token };
            written.push(ClaimedRow { id: item.id, before, after, claimant });
            claimed.push(ClaimedItem::new(item, claim));
        }
        Ok(claimed)
    }

    /// Claims one item.
    pub(super) fn claim_one(
        &mut self,
        id: ItemId,
        state: &ItemState,
        queue: &QueueDefinition,
        claimant: Claimant,
    ) -> Applied<Claim> {
        let event = Event::Take { job: claimant.job.number() };
        let Transition::Change(change) = lifecycle::transition(id, state, event, &queue.policy, self.now)?
        else {
            unreachable!("a take changes the item");
        };
        let claimant = Claimant { user: self.scope.user, ..claimant };
        let before = ItemRow { queue: queue.id, state: *state, actors: Actors::default() };
        let written = StateUpdate { taken_by: Some(claimant), ..StateUpdate::state(&change.after, self.now) };
        self.write_change(id, &before, &change, &written)?;
        Ok(Claim { item: id, job: claimant.job, token: change.after.token })
    }
}
