//! Which jobs have probably stopped.
//!
//! A lease ends at a time of day, and that alone proves nothing: the clock may have been set, two processes may
//! have started before and after that, all may have been suspended together, or the store may have been out of reach
//! for all. So a sweeper suspects a job only after it has checked regularly, for a whole lease by its own monotone
//! clock, and seen no beat. The transaction that ends the job checks again.
//!
//! A sweeper that has just started therefore waits for one lease before it suspects a job; on one host the lock files
//! show at once which processes have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::job::Job;
use super::key::JobKey;

/// How often a sweep looks for items that are InProgress for too long (choices 6: at least each minute).
const OVERDUE_INTERVAL: Duration = Duration::from_secs(60);

/// A job that has probably stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The job.
    pub job: JobKey,
    /// The end of its lease when it was suspected. A beat since then clears the suspicion.
    pub held_until: Timestamp,
}

/// What the sweeps of this process have seen.
#[derive(Debug, Default)]
pub struct SweepHistory {
    last_beats: BTreeMap<JobKey, LastBeat>,
    last_plan: Duration,
    overdue_from: Duration,
}

/// The last beat of a job, and the monotone time since when it is the last one.
#[derive(Clone, Copy, Debug)]
struct LastBeat {
    held_until: Timestamp,
    since: Duration,
}

/// What a sweep has to do.
#[derive(Debug)]
pub struct SweepPlan {
    /// The jobs to end, unless they have beaten since.
    pub suspects: Vec<Suspect>,
    /// Whether to look for items that are InProgress for too long.
    pub overdue: bool,
}

impl SweepHistory {
    /// Plans a sweep over the jobs that have not ended; `true` beside one says that its process is known to have ended.
    /// `elapsed`: the monotone time.
    ///
    /// # Errors
    ///
    /// That with which the jobs could not be read. Then every job has a whole lease again.
    pub fn plan<E>(&mut self, jobs: Result<Vec<(Job, bool)>, E>, elapsed: Duration) -> Result<SweepPlan, E> {
        let jobs = jobs.inspect_err(|_| self.last_beats.clear())?;
        let since_last_plan = elapsed.saturating_sub(std::mem::replace(&mut self.last_plan, elapsed));
        let before = std::mem::take(&mut self.last_beats);
        let mut suspects = Vec::new();
        for (job, gone) in jobs {
            let (held_until, lease) = (job.held_until, job.about.lease);
            // After a pause this process was suspended, and others may have been too.
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

    /// Records the result of a sweep. After one that failed, every job has a whole lease again.
    pub fn record(&mut self, done: bool, overdue: bool, elapsed: Duration) {
        if !done {
            self.last_beats.clear();
        } else if overdue {
            self.overdue_from = elapsed + OVERDUE_INTERVAL;
        }
    }
}
