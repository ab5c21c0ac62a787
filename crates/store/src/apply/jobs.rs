//! Jobs: beats, lost jobs, and their abandoned items (lifecycle T13, T14, T15).

use std::time::Duration;

use serde_json::Value;

use super::super::backend::Answer;
use super::super::rows::Rows;
use super::{Applied, Apply};
use performer_core::crash_point;
use performer_core::model::alert::NewAlert;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::clock::Clock as _;
use performer_core::model::job::{Job, JobEnd, JobOwner, JobState, NewJob, StopStrategy};
use performer_core::model::kept_for::KeptFor;
use performer_core::model::key::{ItemId, JobKey, JobNumber};
use performer_core::model::lifecycle::{self, Event};
use performer_core::model::sweep::Suspect;
use performer_core::orchestrator::Swept;

impl<R: Rows> Apply<'_, R> {
    pub(super) fn start_job(&mut self, job: NewJob) -> Applied {
        self.queue(&job.queue)?;
        job.validate()?;
        let key = self.rows.keys().job(self.now);
        let owner = JobOwner::of(self.scope.user);
        let job = Job::started(key, (self.scope.folder, owner), job, self.now);
        self.rows.insert_job(&job, self.scope.user.is_none())?;
        self.tell_job(&job);
        Ok(Answer::Job(key))
    }

    pub(super) fn beat(&mut self, key: JobKey) -> Applied {
        let job = self.rows.job(key)?;
        let mut job = self.own_job(key, job)?;
        let state = job.beat(self.now)?;
        self.rows.write_job(&job)?;
        Ok(Answer::JobState(state))
    }

    pub(super) fn end_job(&mut self, key: JobKey, end: JobEnd) -> Applied {
        let job = self.rows.ending_job(key)?;
        let mut job = self.own_job(key, job)?;
        job.alive()?;
        end.validate()?;
        job.end(end, self.now);
        let abandoned = self.close(vec![job])?;
        self.figures_at_once = true; // this process may end now
        Ok(Answer::Swept(Swept::new(Vec::new(), abandoned)))
    }

    pub(super) fn stop_job(&mut self, key: JobKey, strategy: StopStrategy) -> Applied {
        let job = self.rows.job(key)?;
        let mut job = self.known_job(key, job)?;
        job.request_stop(strategy, self.now)?;
        self.rows.write_job(&job)?;
        self.tell_job(&job);
        let how = FieldChange::new("Strategy", None, Value::from(strategy.name()));
        self.note_act(Act::JobStopped, format!("job {key}"), Vec::new(), vec![how]);
        Ok(Answer::Done)
    }

    /// Ends jobs that have stopped. Each suspicion is checked again here, where nobody else can beat.
    pub(super) fn sweep(&mut self, suspects: Vec<Suspect>, overdue: bool, planned: Duration) -> Applied {
        let mut gone = Vec::new();
        let waited = self.clock.elapsed().saturating_sub(planned);
        for suspect in suspects {
            let Some(mut job) = self.rows.ending_job(suspect.job)?.filter(|job| !job.state.is_final()) else {
                continue;
            };
            // If this sweep had to wait for the store, missing beats prove nothing: the others could not beat either.
            let silent = job.held_until == suspect.held_until && waited < job.about.lease / 3;
            let info = if self.rows.process_is_gone(job.key) {
                "its process is gone"
            } else if silent && job.is_lost(self.now) {
                "it did not beat within its lease"
            } else {
                continue;
            };
            job.end(JobEnd::new(JobState::Faulted).info(info), self.now);
            self.raise(NewAlert::robots_gone(&job))?;
            gone.push(job);
        }
        let scope = self.scope;
        let may_know = |job: &&Job| scope.user.is_none() || job.folder == scope.folder;
        let jobs = gone.iter().filter(may_know).map(|job| job.key).collect();
        let mut swept = Swept::new(jobs, self.close(gone)?);
        if overdue {
            swept.abandoned += self.abandon_overdue()?;
        }
        Ok(Answer::Swept(swept))
    }

    /// Writes the end of jobs and abandons what they still hold, the oldest first.
    pub(super) fn close(&mut self, jobs: Vec<Job>) -> Applied<u64> {
        let mut held = Vec::new();
        for job in jobs {
            self.rows.write_job(&job)?;
            self.tell_job(&job);
            self.alert_of_job(&job)?;
            crash_point!(within "after_job");
            let number = job.key.number();
            held.extend(self.rows.held_by(number)?.into_iter().map(|id| (id, number)));
        }
        held.sort_unstable();
        let mut abandoned = 0;
        for (id, job) in held {
            let ended = self.abandon_of(id, job);
            abandoned += u64::from(self.unless_unreadable(id, ended)? == Some(true));
            crash_point!(within "between_items");
        }
        Ok(abandoned)
    }

    /// Abandons an item that a job held. False: its queue was deleted, and it will be removed.
    fn abandon_of(&mut self, id: ItemId, job: JobNumber) -> Applied<bool> {
        let row = self.row(id)?;
        if self.queue_by_id(row.queue)?.is_none() {
            return Ok(false);
        }
        self.apply_event_to(id, &row, Event::JobLost { job })?;
        Ok(true)
    }

    /// Abandons an item as if its holder's job were lost.
    pub(super) fn abandon(&mut self, id: ItemId) -> Applied {
        let row = self.row_here(id)?;
        let job = lifecycle::whoever_holds(&row.state)?.job;
        self.apply_event(id, Event::JobLost { job })?;
        self.note_item(Act::ItemAbandoned, id, Vec::new());
        Ok(Answer::Done)
    }

    /// Removes those of these jobs that ended long ago, by a time that can be believed. The caller has found that no
    /// item names them, and that stays so: a job that has ended claims no more items.
    pub(super) fn remove_jobs(&mut self, keys: &[JobKey]) -> Applied {
        let Some(now) = self.judge_clock()?.believed() else { return Ok(Answer::Removed(0)) };
        let mut old = Vec::with_capacity(keys.len());
        for key in keys {
            let ended = self.rows.job(*key)?.and_then(|job| job.end_time);
            old.extend(ended.filter(|ended| KeptFor::ENDED_JOB.is_over(*ended, now)).map(|_| *key));
        }
        Ok(Answer::Removed(self.rows.remove_jobs(&old)?))
    }
}
