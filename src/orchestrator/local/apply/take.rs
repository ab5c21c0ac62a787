//! Taking: T3.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::super::Result;
use super::super::rows::{NextItems, Rows, TakenRow, Written};
use super::super::store::{Answer, Taker, Taking, Within};
use super::{Applied, Apply, Stop, settled};
use crate::crash_point::crash_point;
use crate::model::item::{ClaimedItem, QueueItem, ReferenceFilter};
use crate::model::key::{Claim, FolderId, ItemId, JobKey};
use crate::model::lifecycle::{self, Event, ItemState, Transition};
use crate::model::queue::QueueDefinition;

impl<R: Rows> Apply<'_, R> {
    /// All takes of a batch; those of one queue and filter together, so that the order is walked once.
    pub(super) fn takes(
        &mut self,
        takes: Vec<(usize, Within, Taking)>,
        answers: &mut [Result<Answer>],
    ) -> Result<()> {
        let mut waiting = takes;
        while let Some((_, within, first)) = waiting.first() {
            let (folder, queue, reference) = (within.folder, first.queue.clone(), first.reference.clone());
            let other = |(_, of, take): &mut (usize, Within, Taking)| {
                of.folder != folder || take.queue != queue || take.reference != reference
            };
            let others = waiting.extract_if(.., other).collect();
            let group = std::mem::replace(&mut waiting, others);
            let wanted = group.iter().map(|(.., take)| take.count).fold(0, usize::saturating_add);
            let (queue, items) = match self.next_items(folder, &queue, reference.as_ref(), wanted) {
                Ok(found) => found,
                Err(Stop::Refused(error)) => {
                    for (at, ..) in group {
                        answers[at] = Err(error.clone());
                    }
                    continue;
                }
                Err(Stop::Failed(error)) => return Err(error),
            };
            let mut written = Vec::with_capacity(items.len());
            let mut items = items.into_iter();
            for (at, within, take) in group {
                self.within = within;
                let taken = self.hand_out(&queue, &take, &mut items, &mut written);
                answers[at] = settled(taken.map(Answer::Taken))?;
            }
            self.rows.write_taken(queue.id, &written, self.now)?;
        }
        crash_point!("claim.after_write");
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "a pair used once")]
    fn next_items(
        &mut self,
        folder: FolderId,
        queue: &str,
        reference: Option<&ReferenceFilter>,
        count: usize,
    ) -> Applied<(Arc<QueueDefinition>, Vec<(ItemState, Box<QueueItem>)>)> {
        let queue = self.queue_in(folder, queue)?;
        let items = self.rows.next_items(&NextItems { queue: queue.id, reference, count, now: self.now })?;
        Ok((queue, items))
    }

    /// Takes as many items as a caller wants. What is to be written is collected, for all callers of the batch.
    fn hand_out(
        &mut self,
        queue: &QueueDefinition,
        take: &Taking,
        items: &mut std::vec::IntoIter<(ItemState, Box<QueueItem>)>,
        written: &mut Vec<TakenRow>,
    ) -> Applied<SmallVec<[ClaimedItem; 1]>> {
        if items.len() == 0 {
            return Ok(SmallVec::new());
        }
        let taker = take.taker;
        self.check_alive(taker.job)?;
        let mut taken = SmallVec::with_capacity(take.count.min(items.len()));
        while taken.len() < take.count {
            let Some((before, mut item)) = items.next() else { break };
            let event = Event::Take { job: taker.job.number() };
            let after = match lifecycle::transition(&before, event, &queue.policy, self.now) {
                Ok(Transition::Change(change)) => change.after,
                Ok(other) => unreachable!("a take changes the item, it is not {other:?}"),
                Err(_) => continue, // the rules know better than the index
            };
            self.statistics.entry(queue.id).or_default().moved(&before, &after);
            item.status = after.status;
            item.start_processing = after.start_processing;
            item.row_version = after.row_version;
            item.executor_job = taker.executor.or(Some(taker.job).filter(|job| *job != JobKey::CALLER));
            (item.robot, item.robot_id) = (taker.robot, taker.robot_id);
            let claim = Claim { item: item.id, job: taker.job, token: after.token };
            written.push(TakenRow { id: item.id, before, after, taker });
            taken.push(ClaimedItem { item, claim });
        }
        Ok(taken)
    }

    /// Takes one item.
    pub(super) fn start(
        &mut self,
        id: ItemId,
        state: &ItemState,
        queue: &QueueDefinition,
        taker: Taker,
    ) -> Applied<Claim> {
        let event = Event::Take { job: taker.job.number() };
        let Transition::Change(change) = lifecycle::transition(state, event, &queue.policy, self.now)? else {
            unreachable!("a take changes the item");
        };
        let written = Written { taken_by: Some(taker), ..Written::state(&change.after, self.now) };
        self.apply(id, queue.id, state, &change, &written)?;
        Ok(Claim { item: id, job: taker.job, token: change.after.token })
    }
}
