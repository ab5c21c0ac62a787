//! How a job ends, and what it did.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::code::ErrorCode;
use super::job::{JobState, in_seconds};
use super::refusal::Refusal;

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobEnd {
    /// Successful, Stopped or Faulted.
    pub state: JobState,
    /// Why, in a sentence.
    pub info: Option<String>,
    /// What it did.
    pub figures: Option<JobFigures>,
}

impl JobEnd {
    /// Ends a job in this state: Successful, Stopped or Faulted.
    pub fn new(state: JobState) -> Self {
        Self { state, info: None, figures: None }
    }

    /// Says why it ends, in a sentence.
    #[must_use]
    pub fn info(mut self, info: impl Into<String>) -> Self {
        self.info = Some(info.into());
        self
    }

    /// Says what it did.
    #[must_use]
    pub fn figures(mut self, figures: impl Into<Option<JobFigures>>) -> Self {
        self.figures = figures.into();
        self
    }

    /// Checks that the state is one in which a job can end.
    ///
    /// # Errors
    ///
    /// Code 1009 for any other state.
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.state.is_final() {
            return Ok(());
        }
        let message = format!("a job ends as Successful, Stopped or Faulted, not as {}", self.state);
        Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message))
    }
}

impl From<JobState> for JobEnd {
    fn from(state: JobState) -> Self {
        Self::new(state)
    }
}

/// The figures of a job: the part of a performer's summary that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct JobFigures {
    /// Items that are Successful.
    pub successful: u64,
    /// Items that Failed with a BusinessException.
    pub business_exceptions: u64,
    /// Items that Failed with an ApplicationException and without a retry left.
    pub application_exceptions: u64,
    /// Items that failed and were copied for a retry.
    pub retried: u64,
    /// Items put back for a later time.
    pub postponed: u64,
    /// Items put back because the performer stopped.
    pub given_back: u64,
    /// Items whose claim was lost.
    pub claims_lost: u64,
    /// Items whose result could not be recorded.
    pub not_recorded: u64,
    /// Items that its sweeps abandoned, of lost jobs.
    pub abandoned_of_others: u64,
    /// The total processing time of its robots.
    pub busy: Duration,
}

/// Serializes the figures of a job with names in the form of the API's; their own form is that of stores.
pub(super) fn with_api_names<S: Serializer>(
    figures: &Option<JobFigures>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Figures {
        successful: u64,
        business_exceptions: u64,
        application_exceptions: u64,
        retried: u64,
        postponed: u64,
        given_back: u64,
        claims_lost: u64,
        not_recorded: u64,
        abandoned_of_others: u64,
        #[serde(rename = "BusyInSeconds", serialize_with = "in_seconds")]
        busy: Duration,
    }
    let figures = figures.as_ref().map(|figures| Figures {
        successful: figures.successful,
        business_exceptions: figures.business_exceptions,
        application_exceptions: figures.application_exceptions,
        retried: figures.retried,
        postponed: figures.postponed,
        given_back: figures.given_back,
        claims_lost: figures.claims_lost,
        not_recorded: figures.not_recorded,
        abandoned_of_others: figures.abandoned_of_others,
        busy: figures.busy,
    });
    figures.serialize(serializer)
}
