//! Lists of jobs for people, by number.

use std::sync::Arc;

use super::Store;
use super::backend::{Query, expect_answer};
use performer_core::model::job::{Job, MAX_JOBS_LISTED, validate_job_limit};
use performer_core::model::key::{FolderId, JobId, JobKey};
use performer_core::orchestrator::Result;

/// Which jobs to list, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct JobFilter {
    /// Jobs of these folders.
    pub folders: Arc<[FolderId]>,
    /// Only jobs with these numbers.
    pub ids: Option<Vec<JobId>>,
    /// Only jobs with these keys.
    pub keys: Option<Vec<JobKey>>,
    /// Jobs with greater numbers than this one.
    pub after: JobId,
    /// The most jobs of the list, at most 10,000.
    pub limit: usize,
}

impl JobFilter {
    /// The first jobs of these folders.
    pub fn in_folders(folders: Arc<[FolderId]>) -> Self {
        Self { folders, ids: None, keys: None, after: JobId(0), limit: MAX_JOBS_LISTED }
    }

    /// Whether a job is meant.
    pub(crate) fn matches(&self, job: &Job) -> bool {
        self.folders.contains(&job.folder)
            && job.id > self.after
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&job.id))
            && self.keys.as_ref().is_none_or(|keys| keys.contains(&job.key))
    }
}

impl Store {
    /// Jobs that match, in the order of their numbers, whatever the folder of this store.
    ///
    /// # Errors
    ///
    /// Invalid for a limit over 10,000; Unavailable if the store is unavailable.
    pub async fn jobs_in_folders(&self, filter: JobFilter) -> Result<Vec<Job>> {
        validate_job_limit(filter.limit)?;
        expect_answer!(self.read(Query::JobsOf(Box::new(filter))).await, Jobs)
    }
}
