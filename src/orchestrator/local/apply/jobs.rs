//! Jobs: T13 beat, T14 lost, T15 abandon.

use std::time::Duration;

use jiff::Timestamp;

use super::super::super::Swept;
use super::super::rows::Rows;
use super::super::store::Answer;
use super::{Applied, Apply, Stop};
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::job::{Job, JobState, NewJob, StopStrategy};
use crate::model::key::JobKey;
use crate::model::lifecycle::Event;

/// A transaction that had to wait this long says that the store is slow for everybody.
const SLOW_STORE: Duration = Duration::from_secs(2);

impl<R: Rows> Apply<'_, R> {
    pub(super) fn start_job(&mut self, job: NewJob) -> Applied {
        self.queue(&job.queue)?;
        job.validate()?;
        self.live_jobs()?;
        let key = self.rows.keys().job(self.now);
        self.rows.insert_job(&Job::started(key, job, self.now))?;
        Ok(Answer::Job(key))
    }

    pub(super) fn beat(&mut self, key: JobKey) -> Applied {
        let mut job = self.job(key)?;
        let state = job.beat(self.now)?;
        self.rows.write_job(&job)?;
        Ok(Answer::JobState(state))
    }

    pub(super) fn end_job(&mut self, key: JobKey, state: JobState, info: Option<String>) -> Applied {
        let mut job = self.job(key)?;
        job.alive()?;
        if !state.is_final() {
            let message = format!("a job ends as Successful, Stopped or Faulted, not as {state}");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        job.end(state, info, self.now);
        let abandoned = self.close(&job)?;
        Ok(Answer::Swept(Swept { jobs: Vec::new(), abandoned }, Duration::ZERO))
    }

    pub(super) fn stop_job(&mut self, key: JobKey, strategy: StopStrategy) -> Applied {
        let mut job = self.job(key)?;
        job.request_stop(strategy)?;
        self.rows.write_job(&job)?;
        Ok(Answer::Done)
    }

    pub(super) fn sweep(&mut self, leases: bool, overdue: bool, planned: Timestamp) -> Applied {
        let mut swept = Swept::default();
        let mut longest_lease = Duration::ZERO;
        let jobs = self.live_jobs()?;
        // Whoever had to wait for the store judges nobody: the others could not beat either.
        let waited = Duration::try_from(self.now.duration_since(planned)).unwrap_or_default();
        let leases = leases && waited < SLOW_STORE;
        for mut job in jobs {
            longest_lease = longest_lease.max(job.about.lease);
            let info = if self.rows.process_is_gone(job.key) {
                "its process is gone"
            } else if leases && job.is_lost(self.now) {
                "it did not beat within its lease"
            } else {
                continue;
            };
            job.end(JobState::Faulted, Some(info.to_owned()), self.now);
            swept.abandoned += self.close(&job)?;
            swept.jobs.push(job.key);
        }
        if overdue {
            swept.abandoned += self.abandon_overdue()?;
        }
        Ok(Answer::Swept(swept, longest_lease))
    }

    /// The jobs that live. When one of them was heard of at a later time than it is here, somebody moved the
    /// time of day between the starts of two processes, and this one's clock follows.
    pub(super) fn live_jobs(&mut self) -> Applied<Vec<Job>> {
        let jobs = self.rows.live_jobs()?;
        if let Some(heard) = jobs.iter().map(Job::last_heard).max().filter(|heard| *heard > self.now) {
            self.clock.catch_up(heard);
            self.now = self.clock.now();
        }
        Ok(jobs)
    }

    /// Writes the end of a job and abandons what it still holds.
    pub(super) fn close(&mut self, job: &Job) -> Applied<u64> {
        self.rows.write_job(job)?;
        let number = job.key.number();
        let held = self.rows.held_by(number)?;
        for id in &held {
            self.happen(*id, Event::JobLost { job: number })?;
        }
        Ok(held.len() as u64)
    }

    pub(super) fn abandon_overdue(&mut self) -> Applied<u64> {
        let shortest = self.rows.queues()?.iter().map(|queue| queue.policy.abandon_after).min();
        let Some(before) = shortest.and_then(|limit| self.now.checked_sub(limit).ok()) else { return Ok(0) };
        let mut abandoned = 0;
        for id in self.rows.in_progress_since_before(before)? {
            match self.happen(id, Event::Overdue) {
                Ok(_) => abandoned += 1,
                Err(Stop::Refused(_)) => {} // its queue is more patient
                Err(failed) => return Err(failed),
            }
        }
        Ok(abandoned)
    }
}
