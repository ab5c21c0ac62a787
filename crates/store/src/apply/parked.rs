//! Serves claims that wait for an item, in the transaction that leaves something for them.
//!
//! They come last, so they get what the claims of the batch have left, by the same rules.

use super::super::arrivals::Arrivals;
use super::super::backend::{Answer, Operation};
use super::super::rows::Rows;
use super::{Apply, ApplyError};
use performer_core::model::key::QueueId;
use performer_core::orchestrator::Result;

impl<R: Rows> Apply<'_, R> {
    /// Serves the claims that wait for items of the queues in which there may be some.
    pub(super) fn serve_parked(
        &mut self,
        arrivals: &mut dyn Arrivals,
        answers: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        let mut queues = self.wakes.clone();
        queues.extend(std::mem::take(&mut self.more_left));
        for queue in queues.queues().iter().copied() {
            if arrivals.has_parked(queue) && self.may_serve(queue)? {
                self.serve_parked_at(queue, arrivals, answers)?;
            }
        }
        Ok(())
    }

    fn serve_parked_at(
        &mut self,
        queue: QueueId,
        arrivals: &mut dyn Arrivals,
        answers: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        loop {
            let parked = arrivals.parked(queue);
            if parked.is_empty() {
                return Ok(());
            }
            let mut claims = Vec::with_capacity(parked.len());
            for asked in parked {
                let Operation::Claim(claim) = asked.operation else { unreachable!("only claims wait") };
                claims.push((answers.len(), asked.scope, claim));
                answers.push(Ok(Answer::Done)); // until it is claimed
            }
            (self.more_left, self.none_left) = Default::default();
            self.claim_items(claims, answers)?;
            if self.none_left.queues().contains(&queue) {
                if !self.queues_changed {
                    // Nobody else needs to look for what this transaction has added.
                    self.wakes.remove(queue);
                    self.rows.note_none_left(queue);
                }
                return Ok(());
            }
            if !self.more_left.queues().contains(&queue) {
                return Ok(());
            }
        }
    }

    /// Whether claims on a queue may be applied now. Transactions lock queues with limits in one order, so that two do not wait for
    /// each other: where others are locked already, and this one is not, waiting claims are left to a transaction of their own.
    fn may_serve(&mut self, queue: QueueId) -> Result<bool> {
        if !R::CAN_CONFLICT || self.locked_limits.is_empty() || self.locked_limits.contains(&queue) {
            return Ok(true);
        }
        let asked = match self.queue_by_id(queue) {
            Ok(asked) => asked,
            Err(ApplyError::Refused(_)) => None,
            Err(ApplyError::Failed(error)) => return Err(error),
        };
        Ok(asked.is_some_and(|asked| asked.limits.is_none()))
    }
}
