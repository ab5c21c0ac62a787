//! What a sweep reads. Which jobs have probably stopped is decided by [`performer_core::model::sweep`].

use performer_core::model::job::Job;

/// What a sweep looks at.
#[derive(Debug)]
pub(crate) struct LiveJobs {
    /// The jobs that have not ended, and whether the process of each is known to have ended.
    pub(crate) jobs: Vec<(Job, bool)>,
    /// Rows of deleted queues are left.
    pub(crate) has_removals: bool,
}
