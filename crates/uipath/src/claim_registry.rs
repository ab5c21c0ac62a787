//! The claims that this process holds, and the results recorded with earlier ones.
//!
//! The Orchestrator has robots but no claims, so the fence is here: a claim that is not in the registry cannot report. Each
//! report carries the name of its claim as `OperationId`, by which a result whose answer was lost is recognised.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::queue::Queue;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{Claim, ItemId, ItemKey, JobKey};
use performer_core::model::result::TransactionResult;
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::ApiTime;
use performer_wire::item::ItemOwner;

/// A claim on an item, held by a robot of this process.
#[derive(Clone, Debug)]
pub(super) struct HeldClaim {
    pub(super) claim: Claim,
    /// The key of the item's work, the same for all attempts.
    pub(super) key: ItemKey,
    pub(super) queue: Arc<Queue>,
    /// By the server's clock.
    pub(super) start_processing: Option<ApiTime>,
    pub(super) due_date: Option<Timestamp>,
    /// A report may have been recorded although its answer was lost: the item must be read before the next report.
    pub(super) in_doubt: bool,
    /// How often the server refused a report although the claim still holds.
    pub(super) refusals: u32,
}

impl HeldClaim {
    /// The name of this claim on the wire: at most 87 characters; the API allows 128.
    pub(super) fn operation_id(&self) -> String {
        format!("performer/{}/{}/{}", self.claim.job(), self.claim.item(), self.claim.token())
    }
}

/// The result recorded with a claim, to answer the same report when it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RecordedResult {
    result: ResultKind,
    status: Status,
    start_processing: Option<ApiTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResultKind {
    Ended(performer_core::model::result::Outcome),
    Postponed(Timestamp),
    GivenBack,
}

impl ResultKind {
    fn of(result: &TransactionResult) -> Self {
        match (result, result.outcome()) {
            (_, Some(outcome)) => Self::Ended(outcome),
            (TransactionResult::Postponed { defer_date, .. }, None) => Self::Postponed(*defer_date),
            (_, None) => Self::GivenBack,
        }
    }
}

/// The maximum number of recorded results that are kept.
const MAX_RECORDED_RESULTS: usize = 10_000;

/// The claims of one robot in one folder.
#[derive(Debug, Default)]
pub(super) struct ClaimRegistry {
    jobs: HashMap<JobKey, Arc<Queue>>,
    /// The jobs that have ended.
    ended: HashSet<JobKey>,
    held: HashMap<i64, HeldClaim>,
    /// By item: the token of its last claim that reported, and the result.
    recorded: HashMap<i64, (u64, RecordedResult)>,
    order: VecDeque<(i64, u64)>,
    /// Items of jobs that have ended, which the server still has InProgress.
    left_behind: HashSet<i64>,
    /// Items that were handed out to this process and have no claim yet.
    expected: HashSet<i64>,
    last_token: u64,
}

impl ClaimRegistry {
    pub(super) fn start_job(&mut self, job: JobKey, queue: Arc<Queue>) {
        self.jobs.insert(job, queue);
    }

    pub(super) fn job(&self, job: JobKey) -> Result<Arc<Queue>> {
        self.jobs.get(&job).cloned().ok_or_else(|| {
            if self.ended.contains(&job) {
                claim_lost(format!("job {job} has ended"))
            } else {
                OrchestratorError::not_found(format!("job {job} was not started by this client"))
            }
        })
    }

    /// Ends a job. Returns the items that it leaves InProgress, and whether it was the last job of its queue.
    pub(super) fn end_job(&mut self, job: JobKey) -> (Vec<ItemId>, bool) {
        let queue = self.jobs.remove(&job);
        self.ended.insert(job);
        let left_behind: Vec<i64> =
            self.held.iter().filter(|(_, held)| held.claim.job() == job).map(|(item, _)| *item).collect();
        for item in &left_behind {
            self.held.remove(item);
        }
        self.left_behind.extend(&left_behind);
        let is_last = queue.is_some_and(|queue| !self.jobs.values().any(|other| Arc::ptr_eq(other, &queue)));
        (left_behind.into_iter().map(ItemId).collect(), is_last)
    }

    /// Registers a claim on an item. Earlier claims on the same item become invalid.
    pub(super) fn hold(
        &mut self,
        item: &performer_core::model::item::QueueItem,
        job: JobKey,
        queue: Arc<Queue>,
    ) -> Claim {
        self.last_token += 1;
        let claim = Claim { item: item.id, job, token: self.last_token };
        self.left_behind.remove(&item.id.0);
        self.expected.remove(&item.id.0);
        let held = HeldClaim {
            claim,
            key: item.key,
            queue,
            start_processing: item.start_processing.map(ApiTime),
            due_date: item.due_date,
            in_doubt: false,
            refusals: 0,
        };
        self.held.insert(item.id.0, held);
        claim
    }

    /// Notes that an item was handed out, until its claim is registered.
    pub(super) fn expect(&mut self, item: i64) {
        self.expected.insert(item);
    }

    /// Whether this process has received this attempt. Lists may still show an attempt as InProgress after its report.
    pub(super) fn knows(&self, item: &ItemOwner) -> bool {
        let of_recorded = self.recorded.get(&item.id).is_some_and(|(_, recorded)| {
            let starts = recorded.start_processing.zip(item.start_processing);
            starts.is_none_or(|(then, now)| then.is_close_to(now))
        });
        self.held.contains_key(&item.id)
            || self.left_behind.contains(&item.id)
            || self.expected.contains(&item.id)
            || of_recorded
    }

    pub(super) fn held(&self, claim: Claim) -> Option<&HeldClaim> {
        self.held.get(&claim.item().0).filter(|held| held.claim == claim)
    }

    pub(super) fn held_mut(&mut self, claim: Claim) -> Option<&mut HeldClaim> {
        self.held.get_mut(&claim.item().0).filter(|held| held.claim == claim)
    }

    /// Whether this process has claimed the item again after this claim.
    pub(super) fn was_handed_out_again(&self, claim: Claim) -> bool {
        let item = claim.item().0;
        let held = self.held.get(&item).map(|held| held.claim.token());
        let recorded = self.recorded.get(&item).map(|(token, _)| *token);
        held.max(recorded).is_some_and(|token| token > claim.token())
    }

    /// Records the result reported with a claim, which ends the claim.
    pub(super) fn record_result(&mut self, claim: Claim, result: &TransactionResult, status: Status) {
        let start_processing = self.held(claim).and_then(|held| held.start_processing);
        self.release(claim);
        let (item, token) = (claim.item().0, claim.token());
        if self.recorded.get(&item).is_some_and(|(newer, _)| *newer > token) {
            return;
        }
        self.recorded.insert(
            item,
            (token, RecordedResult { result: ResultKind::of(result), status, start_processing }),
        );
        self.order.push_back((item, token));
        if self.order.len() > MAX_RECORDED_RESULTS
            && let Some((oldest, of_token)) = self.order.pop_front()
            && self.recorded.get(&oldest).is_some_and(|(token, _)| *token == of_token)
        {
            self.recorded.remove(&oldest);
        }
    }

    /// Drops a claim that is no longer valid.
    pub(super) fn release(&mut self, claim: Claim) {
        if self.held(claim).is_some() {
            self.held.remove(&claim.item().0);
        }
    }

    /// The answer to a report with a claim that is no longer held.
    pub(super) fn repeat_answer(&self, claim: Claim, result: &TransactionResult) -> Result<Status> {
        let of_claim = self.recorded.get(&claim.item().0).filter(|(token, _)| *token == claim.token());
        match of_claim {
            Some((_, recorded)) if recorded.result == ResultKind::of(result) => Ok(recorded.status),
            Some((_, recorded)) if recorded.status.is_final() => {
                Err(not_held(claim)
                    .with_code(Some(ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS)))
            }
            _ => Err(not_held(claim)),
        }
    }
}

pub(super) fn not_held(claim: Claim) -> OrchestratorError {
    claim_lost(format!("item {} is not held by this claim any more", claim.item()))
}

pub(super) fn claim_lost(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::ClaimLost, message)
}
