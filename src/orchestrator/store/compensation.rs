//! What is to be undone, because nobody heard of it, or knows that it was done.

use super::super::Report;
use super::backend::{Answer, Request, Operation, Scope};
use crate::model::job::{JobEnd, JobState};
use crate::model::key::{Claim, JobKey};
use crate::model::result::TransactionResult;

/// What is to be undone, because nobody knows that it was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compensation {
    GiveBack(Claim),
    EndJob(JobKey),
}

/// Items taken for a caller who went away in the meantime go back into the queue, and a job that nobody
/// knows of ends.
pub(super) fn compensations_for(unheard: Answer) -> Vec<Compensation> {
    match unheard {
        Answer::Job(job) => vec![Compensation::EndJob(job)],
        Answer::ClaimedBatch(took) => took.items.into_iter().map(|item| Compensation::GiveBack(item.claim)).collect(),
        Answer::Claimed(item) => vec![Compensation::GiveBack(item.claim)],
        _ => Vec::new(),
    }
}

impl Compensation {
    pub(super) fn request(self) -> Request {
        let operation = match self {
            Self::GiveBack(claim) => {
                Operation::Report(Report { claim, result: TransactionResult::GivenBack, progress: None })
            }
            Self::EndJob(job) => {
                let info = Some("whoever started it went away".to_owned());
                Operation::EndJob { job, end: JobEnd { info, ..JobState::Stopped.into() } }
            }
        };
        Request { scope: Scope::SHARED, operation }
    }
}
