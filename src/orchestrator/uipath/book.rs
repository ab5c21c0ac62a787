//! What this process holds: the claims it was given, and what became of them.
//!
//! The Orchestrator knows robots and not claims. So the fence is here: a claim that is not in the book can report
//! nothing, and everything that is reported carries the claim's name as its `OperationId`, by which a result whose
//! answer was lost is recognised.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::super::{ErrorKind, OrchestratorError, Result};
use super::queue::Queue;
use crate::model::key::{Claim, ItemId, JobKey};
use crate::model::result::TransactionResult;
use crate::model::status::Status;
use crate::wire;
use crate::wire::item::ItemOwner;

/// An item that was handed to a robot here.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) claim: Claim,
    pub(super) queue: Arc<Queue>,
    /// By the server's clock.
    pub(super) start_processing: Option<wire::ApiTime>,
    pub(super) due_date: Option<Timestamp>,
    /// A report may have been recorded although its answer was lost: look before reporting again.
    pub(super) doubtful: bool,
    /// How often the server refused a report although the item is ours.
    pub(super) refusals: u32,
}

impl Held {
    /// The name of this claim on the wire: at most 87 of the 128 characters that there are.
    pub(super) fn operation_id(&self) -> String {
        format!("performer/{}/{}/{}", self.claim.job(), self.claim.item(), self.claim.token())
    }
}

/// What a claim was used for; the same report once more is answered from here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    result: Kind,
    status: Status,
    start_processing: Option<wire::ApiTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ended(crate::model::result::Outcome),
    Postponed(Timestamp),
    GivenBack,
}

impl Kind {
    fn of(result: &TransactionResult) -> Self {
        match (result, result.outcome()) {
            (_, Some(outcome)) => Self::Ended(outcome),
            (TransactionResult::Postponed { defer_date, .. }, None) => Self::Postponed(*defer_date),
            (_, None) => Self::GivenBack,
        }
    }
}

/// How many settled claims are remembered.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Book {
    jobs: HashMap<JobKey, Arc<Queue>>,
    held: HashMap<i64, Held>,
    /// By item: what its last claim was used for.
    settled: HashMap<i64, (u64, Settled)>,
    order: VecDeque<(i64, u64)>,
    /// Items of jobs that have ended: the server still has them InProgress.
    left: HashSet<i64>,
    /// Items whose answer is here, on their way to a claim.
    expected: HashSet<i64>,
    last_token: u64,
}

impl Book {
    pub(super) fn start_job(&mut self, job: JobKey, queue: Arc<Queue>) {
        self.jobs.insert(job, queue);
    }

    pub(super) fn job(&self, job: JobKey) -> Result<Arc<Queue>> {
        self.jobs.get(&job).cloned().ok_or_else(|| lost(format!("job {job} has ended")))
    }

    /// Ends a job; answers which items it leaves behind, and whether it was the last one of its queue.
    pub(super) fn end_job(&mut self, job: JobKey) -> (Vec<ItemId>, bool) {
        let queue = self.jobs.remove(&job);
        let left: Vec<i64> =
            self.held.iter().filter(|(_, held)| held.claim.job() == job).map(|(item, _)| *item).collect();
        for item in &left {
            self.held.remove(item);
        }
        self.left.extend(&left);
        let is_last = queue.is_some_and(|queue| !self.jobs.values().any(|other| Arc::ptr_eq(other, &queue)));
        (left.into_iter().map(ItemId).collect(), is_last)
    }

    /// Takes an item into the book. A claim on the same item from before is worth nothing from then on.
    pub(super) fn hold(
        &mut self,
        item: &crate::model::item::QueueItem,
        job: JobKey,
        queue: Arc<Queue>,
    ) -> Claim {
        self.last_token += 1;
        let claim = Claim { item: item.id, job, token: self.last_token };
        self.left.remove(&item.id.0);
        self.expected.remove(&item.id.0);
        let held = Held {
            claim,
            queue,
            start_processing: item.start_processing.map(wire::ApiTime),
            due_date: item.due_date,
            doubtful: false,
            refusals: 0,
        };
        self.held.insert(item.id.0, held);
        claim
    }

    /// An item was handed out and gets its claim in a moment.
    pub(super) fn expect(&mut self, item: i64) {
        self.expected.insert(item);
    }

    /// Whether this process was told of this attempt. What it has reported on may still be listed as InProgress.
    pub(super) fn knows(&self, item: &ItemOwner) -> bool {
        let of_settled = self.settled.get(&item.id).is_some_and(|(_, settled)| {
            let starts = settled.start_processing.zip(item.start_processing);
            starts.is_none_or(|(then, now)| then.is_close_to(now))
        });
        self.held.contains_key(&item.id)
            || self.left.contains(&item.id)
            || self.expected.contains(&item.id)
            || of_settled
    }

    pub(super) fn held(&self, claim: Claim) -> Option<&Held> {
        self.held.get(&claim.item().0).filter(|held| held.claim == claim)
    }

    pub(super) fn held_mut(&mut self, claim: Claim) -> Option<&mut Held> {
        self.held.get_mut(&claim.item().0).filter(|held| held.claim == claim)
    }

    /// Whether this process was given the item once more after this claim.
    pub(super) fn was_handed_out_again(&self, claim: Claim) -> bool {
        let item = claim.item().0;
        let held = self.held.get(&item).map(|held| held.claim.token());
        let settled = self.settled.get(&item).map(|(token, _)| *token);
        held.max(settled).is_some_and(|token| token > claim.token())
    }

    /// The claim was used up.
    pub(super) fn settle(&mut self, claim: Claim, result: &TransactionResult, status: Status) {
        let start_processing = self.held(claim).and_then(|held| held.start_processing);
        self.forget(claim);
        let (item, token) = (claim.item().0, claim.token());
        if self.settled.get(&item).is_some_and(|(newer, _)| *newer > token) {
            return;
        }
        self.settled.insert(item, (token, Settled { result: Kind::of(result), status, start_processing }));
        self.order.push_back((item, token));
        if self.order.len() > REMEMBERED
            && let Some((oldest, of_token)) = self.order.pop_front()
            && self.settled.get(&oldest).is_some_and(|(token, _)| *token == of_token)
        {
            self.settled.remove(&oldest);
        }
    }

    /// The claim is worth nothing any more.
    pub(super) fn forget(&mut self, claim: Claim) {
        if self.held(claim).is_some() {
            self.held.remove(&claim.item().0);
        }
    }

    /// What a report with a claim that is not held any more is answered.
    pub(super) fn answer_again(&self, claim: Claim, result: &TransactionResult) -> Result<Status> {
        match self.settled.get(&claim.item().0) {
            Some((token, settled)) if *token == claim.token() && settled.result == Kind::of(result) => {
                Ok(settled.status)
            }
            _ => Err(lost(format!("item {} is not held by this claim any more", claim.item()))),
        }
    }
}

pub(super) fn lost(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::ClaimLost, message)
}
