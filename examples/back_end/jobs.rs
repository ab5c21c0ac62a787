//! Jobs, leases and robots (T13 to T15 of `docs/reference/lifecycle.md`).

use performer::model::lifecycle::{Event, is_overdue};
use performer::model::sweep::Suspect;
use performer::model::{
    ErrorCode, Held, ItemId, Job, JobEnd, JobKey, JobState, MAX_ROBOTS_LISTED, NewJob, Refusal, Robot,
    Status, StopStrategy, validate_job_limit,
};
use performer::orchestrator::Swept;

use super::items::Item;
use super::state::{Answer, State};

impl State {
    pub(super) fn start_job(&mut self, job: NewJob) -> Answer<JobKey> {
        self.queue_named(&job.queue)?;
        job.validate()?;
        let key = self.keys.job(self.now);
        self.jobs.push(Job::new(key, job, self.now));
        Ok(key)
    }

    pub(super) fn job(&self, key: JobKey) -> Answer<&Job> {
        self.jobs.iter().find(|job| job.key == key).ok_or_else(|| no_job(key))
    }

    fn job_mut(&mut self, key: JobKey) -> Answer<&mut Job> {
        self.jobs.iter_mut().find(|job| job.key == key).ok_or_else(|| no_job(key))
    }

    /// T13.
    pub(super) fn beat(&mut self, key: JobKey) -> Answer<JobState> {
        let now = self.now;
        self.job_mut(key)?.beat(now)
    }

    pub(super) fn stop_job(&mut self, key: JobKey, strategy: StopStrategy) -> Answer<()> {
        let now = self.now;
        self.job_mut(key)?.request_stop(strategy, now)
    }

    /// Ends a job, and abandons what it holds.
    pub(super) fn end_job(&mut self, key: JobKey, end: JobEnd) -> Answer<Swept> {
        let now = self.now;
        let job = self.job_mut(key)?;
        job.alive()?;
        end.validate()?;
        job.end(end, now);
        Ok(Swept::new(Vec::new(), self.abandon_items_of(key)?))
    }

    /// T14 and T15.
    pub(super) fn sweep(&mut self) -> Answer<Swept> {
        // The job's process may be anywhere, so none is known to have ended.
        let running = self.jobs.iter().filter(|job| !job.state.is_final()).map(|job| (job.clone(), false));
        let plan = self.sweeps.plan(Answer::Ok(running.collect()), self.elapsed)?;
        let mut swept = Swept::default();
        for suspect in plan.suspects {
            if self.end_lost_job(suspect)? {
                swept.abandoned += self.abandon_items_of(suspect.job)?;
                swept.jobs.push(suspect.job);
            }
        }
        if plan.overdue {
            swept.abandoned += self.abandon_overdue_items()?;
        }
        self.sweeps.record(true, plan.overdue, self.elapsed);
        Ok(swept)
    }

    /// Ends a suspected job whose lease is over by the time of day, too. It could not beat since it was suspected: the lock is
    /// held.
    fn end_lost_job(&mut self, suspect: Suspect) -> Answer<bool> {
        let now = self.now;
        let job = self.job_mut(suspect.job)?;
        if !job.is_lost(now) {
            return Ok(false);
        }
        job.end(JobEnd::new(JobState::Faulted).info("it did not beat within its lease"), now);
        Ok(true)
    }

    /// T15: abandons what a job that has ended still holds. Returns the number of items.
    fn abandon_items_of(&mut self, key: JobKey) -> Answer<u64> {
        let held: Vec<ItemId> = self.held_by(key).map(|(id, _)| id).collect();
        for id in &held {
            self.apply(*id, Event::JobLost { job: key.number() })?;
        }
        Ok(held.len() as u64)
    }

    /// T15: abandons items that are InProgress for longer than their queue allows. Returns the number of items.
    fn abandon_overdue_items(&mut self) -> Answer<u64> {
        let judgement = self.guard.judge(self.now, self.elapsed, None);
        let mut overdue = Vec::new();
        for (id, item) in &self.items {
            let policy = &self.queue(item.queue)?.definition.policy;
            let by = item.state.start_processing.and_then(|started| judgement.believed_for(started));
            if by.is_some_and(|by| is_overdue(&item.state, policy, by)) {
                overdue.push(*id);
            }
        }
        for id in &overdue {
            self.apply(*id, Event::Overdue)?;
        }
        Ok(overdue.len() as u64)
    }

    /// The items that a job holds, the oldest first.
    fn held_by(&self, key: JobKey) -> impl Iterator<Item = (ItemId, &Item)> {
        let is_held = move |item: &Item| {
            item.state.status == Status::InProgress
                && item.state.holder.is_some_and(|holder| holder.job == key.number())
        };
        self.items.iter().filter(move |(_, item)| is_held(item)).map(|(id, item)| (*id, item))
    }

    /// The jobs, the newest first.
    pub(super) fn list_jobs(&self, limit: usize) -> Answer<Vec<Job>> {
        validate_job_limit(limit)?;
        Ok(self.jobs.iter().rev().take(limit).cloned().collect())
    }

    /// The robots of all jobs that have not ended.
    pub(super) fn list_robots(&self) -> Vec<Robot> {
        let mut robots = Vec::new();
        for job in self.jobs.iter().filter(|job| !job.state.is_final()) {
            let held: Vec<Held> = self.held_by(job.key).map(|(id, item)| item.held(id)).collect();
            robots.extend(Robot::all_of(job, &held, MAX_ROBOTS_LISTED - robots.len(), self.now));
        }
        robots
    }
}

fn no_job(key: JobKey) -> Refusal {
    Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("job {key} does not exist"))
}
