//! Which jobs seem to be gone.
//!
//! A lease is written in the time of day, and that is not enough to judge by: somebody may set it, two processes
//! may have started before and after, everybody may have been frozen together, or the store may have been out of
//! reach for all. So a sweeper believes that a job is silent only when it has itself looked regularly, for a whole
//! lease by its own monotone clock, and seen no beat. Then the transaction that ends the job looks again.
//!
//! A sweeper that has just started therefore waits a lease before it judges; on one host the lock files tell it
//! at once who is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::super::Result;
use super::backend::Suspect;
use crate::model::job::Job;
use crate::model::key::JobKey;

/// How often a sweeper looks for items that are InProgress for too long (choices 6: at least
/// each minute).
const OVERDUE_INTERVAL: Duration = Duration::from_secs(60);

/// What a sweeper looks at.
#[derive(Debug)]
pub(crate) struct LiveJobs {
    /// The jobs that have not ended, and whether the process of each is known to be gone.
    pub(crate) jobs: Vec<(Job, bool)>,
    /// Something is left of queues that were deleted.
    pub(crate) has_removals: bool,
}

/// What the sweeps of this process have seen.
#[derive(Debug, Default)]
pub(super) struct SweepHistory {
    last_beats: BTreeMap<JobKey, LastBeat>,
    last_plan: Duration,
    overdue_from: Duration,
}

/// The last beat of a job, and since when it has been the last one.
#[derive(Clone, Copy, Debug)]
struct LastBeat {
    held_until: Timestamp,
    since: Duration,
}

/// What a sweep has to do.
#[derive(Debug)]
pub(super) struct SweepPlan {
    pub(super) suspects: Vec<Suspect>,
    pub(super) overdue: bool,
}

impl SweepHistory {
    /// Looks at the jobs that live. `elapsed` is the monotone time of the look.
    pub(super) fn plan(&mut self, jobs: Result<Vec<(Job, bool)>>, elapsed: Duration) -> Result<SweepPlan> {
        let jobs = jobs.inspect_err(|_| self.last_beats.clear())?;
        let since_last_plan = elapsed.saturating_sub(std::mem::replace(&mut self.last_plan, elapsed));
        let before = std::mem::take(&mut self.last_beats);
        let mut suspects = Vec::new();
        for (job, gone) in jobs {
            let (held_until, lease) = (job.held_until, job.about.lease);
            // Not looked at for a while: this process was away, and so may others have been.
            let is_regular = since_last_plan <= lease / 3;
            let since = match before.get(&job.key) {
                Some(beat) if beat.held_until == held_until && is_regular => beat.since,
                _ => elapsed,
            };
            self.last_beats.insert(job.key, LastBeat { held_until, since });
            if gone || elapsed.saturating_sub(since) > lease {
                suspects.push(Suspect { job: job.key, held_until });
            }
        }
        Ok(SweepPlan { suspects, overdue: elapsed >= self.overdue_from })
    }

    /// What became of the sweep: after one that failed every job has a whole lease again.
    pub(super) fn record(&mut self, done: bool, overdue: bool, elapsed: Duration) {
        if !done {
            self.last_beats.clear();
        } else if overdue {
            self.overdue_from = elapsed + OVERDUE_INTERVAL;
        }
    }
}
