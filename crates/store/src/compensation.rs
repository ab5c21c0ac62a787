//! What to undo because its caller never received the answer, or because the outcome of its commit is unknown.

use super::backend::{Answer, Operation, Request, Scope};
use performer_core::model::job::{JobEnd, JobState};
use performer_core::model::key::{Claim, JobKey};
use performer_core::model::result::TransactionResult;
use performer_core::orchestrator::Report;

/// One change to undo.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compensation {
    GiveBack(Claim),
    EndJob(JobKey),
}

/// The compensations for an answer that was not delivered: claimed items are given back, a started job ends.
pub(super) fn compensations_for(unheard: Answer) -> Vec<Compensation> {
    match unheard {
        Answer::Job(job) => vec![Compensation::EndJob(job)],
        Answer::ClaimedBatch(took) => {
            took.items.into_iter().map(|item| Compensation::GiveBack(item.claim)).collect()
        }
        Answer::Claimed(item) => vec![Compensation::GiveBack(item.claim)],
        _ => Vec::new(),
    }
}

impl Compensation {
    pub(super) fn request(self) -> Request {
        let operation = match self {
            Self::GiveBack(claim) => Operation::Report(Report::new(claim, TransactionResult::GivenBack)),
            Self::EndJob(job) => {
                let end = JobEnd::new(JobState::Stopped).info("whoever started it went away");
                Operation::EndJob { job, end }
            }
        };
        Request { scope: Scope::SHARED, actor: None, operation }
    }
}
