//! Removes the items of deleted queues, in chunks; and ended jobs.

use std::collections::HashSet;
use std::ops::Bound;

use jiff::Timestamp;

use super::super::removal::{MAX_IDS_SCANNED, Removal};
use super::super::rows::Rows;
use super::Memory;
use performer_core::model::job::Job;
use performer_core::model::key::{ItemId, JobKey, JobNumber, QueueId};
use performer_core::orchestrator::Result;

impl Removal for Memory {
    fn schedule_removal(&mut self, queue: QueueId) -> Result<()> {
        self.removals.insert(queue, ItemId(0));
        Ok(())
    }

    fn has_removals(&mut self) -> Result<bool> {
        Ok(!self.removals.is_empty())
    }

    fn remove_chunk(&mut self, limit: usize) -> Result<bool> {
        let Some((&queue, &after)) = self.removals.first_key_value() else { return Ok(false) };
        let (mut last, mut found) = (None, Vec::new());
        let max_scanned = usize::try_from(MAX_IDS_SCANNED).unwrap_or(usize::MAX);
        for (id, item) in self.items.range((Bound::Excluded(after), Bound::Unbounded)).take(max_scanned) {
            last = Some(*id);
            if item.queue == queue {
                found.push(*id);
                if found.len() == limit {
                    break;
                }
            }
        }
        for id in found {
            self.remove_item(id)?;
        }
        match last {
            Some(last) => self.removals.insert(queue, last),
            None => {
                self.reasons.retain(|_, reason| reason.queue != queue);
                self.figures.remove_queue(queue);
                self.removals.remove(&queue)
            }
        };
        Ok(!self.removals.is_empty())
    }

    fn ended_jobs(
        &mut self,
        before: Timestamp,
        after: JobNumber,
        limit: usize,
    ) -> Result<Vec<(JobKey, bool)>> {
        let has_ended = |job: &&Job| job.end_time.is_some_and(|end| end < before);
        let mut jobs: Vec<JobKey> = self.jobs.values().filter(has_ended).map(|job| job.key).collect();
        jobs.retain(|job| job.number() > after);
        jobs.sort_unstable_by_key(|job| job.number());
        jobs.truncate(limit);
        let named: HashSet<JobNumber> =
            self.items.values().filter_map(|item| item.state.holder).map(|holder| holder.job).collect();
        Ok(jobs.into_iter().map(|job| (job, named.contains(&job.number()))).collect())
    }

    fn remove_jobs(&mut self, jobs: &[JobKey]) -> Result<u64> {
        Ok(jobs.iter().filter(|job| self.jobs.remove(job).is_some()).count() as u64)
    }
}
