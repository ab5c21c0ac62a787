//! The summary of a run.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::event::TransactionOutcome;
use crate::model::{JobFigures, JobKey, JobState};

/// The exit code for some items that failed, although the program did what it should.
pub(crate) const SOME_FAILED: u8 = 3;

/// The summary of one run of a performer: how its job ended, and the outcomes of its items.
///
/// It serializes with names in the form of the Orchestrator's API, and its durations as seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct JobSummary {
    /// The job. If it lost its lease and registered again, the last registration.
    #[serde(rename = "JobKey")]
    pub job: JobKey,
    /// Successful, Stopped or Faulted.
    pub state: JobState,
    /// Why it was Faulted.
    pub fault: Option<String>,
    /// Items that are Successful.
    pub successful: u64,
    /// Items that are Failed because their data was wrong.
    pub business_exceptions: u64,
    /// Items that are Failed because an application or the environment failed and no retry was left.
    pub application_exceptions: u64,
    /// Items that failed and of which a copy was added for the retry.
    pub retried: u64,
    /// Items deferred to a later time.
    pub postponed: u64,
    /// Items given back because the performer stopped, including those in the buffer of `claim_ahead`.
    pub given_back: u64,
    /// Items whose claim was lost while they were processed or waited in the buffer; the reports on them changed nothing.
    pub claims_lost: u64,
    /// Items whose result could not be recorded.
    pub not_recorded: u64,
    /// Items that this job abandoned: those of transactions that ignored the kill, and those whose results could not be
    /// recorded. They are retried only if the queue has `RetryAbandonedItems`.
    pub abandoned: u64,
    /// Items that this performer's sweeps abandoned: those of disconnected jobs, and those InProgress for too long.
    pub abandoned_of_others: u64,
    /// How long the job ran.
    #[serde(rename = "DurationInSeconds", serialize_with = "in_seconds")]
    pub duration: Duration,
    /// The total processing time of all its robots.
    #[serde(rename = "BusyInSeconds", serialize_with = "in_seconds")]
    pub busy: Duration,
}

/// Serializes a duration as seconds.
fn in_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl JobSummary {
    pub(super) fn new(job: JobKey) -> Self {
        Self {
            job,
            state: JobState::Running,
            fault: None,
            successful: 0,
            business_exceptions: 0,
            application_exceptions: 0,
            retried: 0,
            postponed: 0,
            given_back: 0,
            claims_lost: 0,
            not_recorded: 0,
            abandoned: 0,
            abandoned_of_others: 0,
            duration: Duration::ZERO,
            busy: Duration::ZERO,
        }
    }

    /// The number of items that were claimed.
    pub fn transactions(&self) -> u64 {
        self.successful
            + self.business_exceptions
            + self.application_exceptions
            + self.retried
            + self.postponed
            + self.given_back
            + self.claims_lost
            + self.not_recorded
    }

    /// Whether items failed, were abandoned, or have results that could not be recorded: somebody should look at them. Items that
    /// were copied for a retry are not counted.
    pub fn has_failures(&self) -> bool {
        self.business_exceptions + self.application_exceptions + self.not_recorded + self.abandoned > 0
    }

    /// The exit code of a program that ran this performer: 3 if it [has failures](Self::has_failures), otherwise 0. A run that
    /// does not start or ends Faulted returns an error; `main` then exits with 1 where it uses `?`. (The summary in
    /// [`PerformerError::Faulted`](super::PerformerError::Faulted) has the exit code 1.)
    pub fn exit_code(&self) -> ExitCode {
        match self.state {
            JobState::Faulted => ExitCode::FAILURE,
            _ if self.has_failures() => ExitCode::from(SOME_FAILED),
            _ => ExitCode::SUCCESS,
        }
    }

    /// Transactions per second, over the whole job.
    pub fn items_per_second(&self) -> f64 {
        let seconds = self.duration.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        if seconds > 0.0 { self.transactions() as f64 / seconds } else { 0.0 }
    }

    /// The figures that the store keeps.
    pub(super) fn figures(&self) -> JobFigures {
        let mut figures = JobFigures::default();
        figures.successful = self.successful;
        figures.business_exceptions = self.business_exceptions;
        figures.application_exceptions = self.application_exceptions;
        figures.retried = self.retried;
        figures.postponed = self.postponed;
        figures.given_back = self.given_back;
        figures.claims_lost = self.claims_lost;
        figures.not_recorded = self.not_recorded;
        figures.abandoned_of_others = self.abandoned_of_others;
        figures.busy = self.busy;
        figures
    }

    pub(super) fn count(&mut self, outcome: TransactionOutcome, busy: Duration) {
        *match outcome {
            TransactionOutcome::Successful => &mut self.successful,
            TransactionOutcome::BusinessException => &mut self.business_exceptions,
            TransactionOutcome::ApplicationException => &mut self.application_exceptions,
            TransactionOutcome::Retried => &mut self.retried,
            TransactionOutcome::Postponed => &mut self.postponed,
            TransactionOutcome::GivenBack => &mut self.given_back,
            TransactionOutcome::ClaimLost => &mut self.claims_lost,
            TransactionOutcome::NotRecorded => &mut self.not_recorded,
        } += 1;
        self.busy += busy;
    }
}

/// One line for a log. It says what to do with abandoned items, because they are not processed until they are retried.
impl fmt::Display for JobSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state, successful, business_exceptions, application_exceptions, retried, postponed, ..
        } = self;
        write!(
            f,
            "{state}: {successful} successful, {business_exceptions} business exceptions, \
             {application_exceptions} application exceptions, {retried} retried, {postponed} postponed"
        )?;
        for (count, what) in [
            (self.given_back, "given back"),
            (self.claims_lost, "claims lost"),
            (self.not_recorded, "not recorded"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        let abandoned = self.abandoned + self.abandoned_of_others;
        if abandoned > 0 {
            write!(
                f,
                "; {abandoned} ABANDONED: no robot processes them; unless the queue has RetryAbandonedItems, \
                 review them and retry them by hand (review status Retried)"
            )?;
        }
        if let Some(fault) = &self.fault {
            write!(f, "; {fault}")?;
        }
        Ok(())
    }
}
