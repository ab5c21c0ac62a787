//! What depends on age: T23 of `docs/reference/lifecycle.md`, and T15 for items that are InProgress for too long. The
//! age is judged by a time that the [clock guard](performer_core::model::clock_guard) believes.

use std::time::Duration;

use jiff::Timestamp;

use super::super::backend::Answer;
use super::super::group_commit::catch_panic;
use super::super::removal::RetentionProgress;
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use performer_core::crash_point;
use performer_core::model::alert::AlertKind;
use performer_core::model::clock_guard::Judgement;
use performer_core::model::figures::{Resolution, minute_of};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::{self, Event, Transition};
use performer_core::model::queue::{QueueDefinition, QueuePolicy};
use performer_core::model::reason::is_open;

/// The most chains that one transaction scans.
const MAX_CHAINS_SCANNED: usize = 1_000;

/// The most overdue items that one sweep abandons.
pub(crate) const MAX_OVERDUE_PER_SWEEP: u64 = 1_000;

impl<R: Rows> Apply<'_, R> {
    /// Judges the time of the transaction, before anything is removed because of its age.
    pub(super) fn judge_clock(&mut self) -> Applied<Judgement> {
        let kept = self.rows.kept_time()?;
        let judgement = self.clock.judge(self.now, kept);
        if let Some(time) = judgement.keep {
            self.rows.keep_time(time)?;
        }
        Ok(judgement)
    }

    /// Reports, once for each jump of the clock, that something is held back because of it.
    fn report_held_back(&self, what: &'static str, judgement: &Judgement) {
        if let Some(wait) = judgement.wait.filter(|_| !self.clock.was_reported()) {
            let (now, believed) = (self.now, judgement.believed().map(tracing::field::display));
            // Inside a transaction, which a panic of the log's writer would undo.
            let _ = catch_panic(|| {
                tracing::warn!(%now, believed, wait_s = wait.as_secs(), "held back, because the clock may be ahead: {what}");
            });
        }
    }

    /// Scans at most [`MAX_CHAINS_SCANNED`] chains, because others wait for it: most of the old ones may have to be
    /// kept.
    pub(super) fn apply_retention(&mut self, limit: usize, from: Option<(QueueId, ItemId)>) -> Applied {
        let judgement = self.judge_clock()?;
        let (mut removed, mut scanned) = (0, 0);
        let queues = self.rows.queues()?;
        // By name; from the beginning if the last queue was deleted meanwhile.
        let first = from.and_then(|(last, _)| queues.iter().position(|queue| queue.id == last));
        for queue in queues.into_iter().skip(first.unwrap_or(0)) {
            if !self.may_reach(Some(&queue)) {
                continue;
            }
            let policy = &queue.policy;
            if judgement.wait.is_some() && self.has_roots(&queue, self.now)? {
                self.report_held_back("the removal of items past their retention", &judgement);
            }
            let Some(by) = judgement.believed() else { continue };
            let Some(before) = created_before(policy, by) else { continue };
            let mut after = from.filter(|(last, _)| *last == queue.id).map_or(ItemId(0), |(_, item)| item);
            loop {
                let room = limit.saturating_sub(removed).min(MAX_CHAINS_SCANNED - scanned);
                if room == 0 {
                    return Ok(Answer::RetentionProgress(RetentionProgress {
                        removed,
                        next: Some((queue.id, after)),
                    }));
                }
                let roots = self.rows.roots_created_before(queue.id, before, after, room)?;
                if roots.is_empty() {
                    break;
                }
                scanned += roots.len();
                for root in roots {
                    if removed < limit {
                        removed += self.remove_chain(root, policy, by)?;
                        after = root;
                    }
                }
            }
        }
        if let Some(by) = judgement.believed() {
            self.remove_old_figures(by)?;
        }
        Ok(Answer::RetentionProgress(RetentionProgress { removed, next: None }))
    }

    /// Removes the figures that are too old by a time that can be believed, a limited number at a time.
    fn remove_old_figures(&mut self, by: Timestamp) -> Applied<()> {
        for queue in self.rows.queues()? {
            for resolution in Resolution::ALL {
                let before = minute_of(by).saturating_sub(resolution.kept_for());
                self.rows.remove_figures(queue.id, resolution, before)?;
            }
        }
        Ok(())
    }

    /// Whether retention would scan any chain at this time.
    fn has_roots(&mut self, queue: &QueueDefinition, now: Timestamp) -> Applied<bool> {
        let Some(before) = created_before(&queue.policy, now) else { return Ok(false) };
        Ok(!self.rows.roots_created_before(queue.id, before, ItemId(0), 1)?.is_empty())
    }

    /// T23: removes a chain as a whole or not at all. `by`: the time by which its age is judged.
    fn remove_chain(&mut self, root: ItemId, policy: &QueuePolicy, by: Timestamp) -> Applied<usize> {
        let mut rows = Vec::new();
        for id in self.rows.chain(root)? {
            let row = self.row(id);
            let Some(row) = self.unless_unreadable(id, row)? else { return Ok(0) };
            rows.push((id, row));
        }
        let whole_chain_expired = rows.iter().all(|(_, row)| lifecycle::is_expired(&row.state, policy, by));
        if !whole_chain_expired {
            return Ok(0);
        }
        for (id, row) in &rows {
            let event = Event::Expire { whole_chain_expired };
            let transition = lifecycle::transition(*id, &row.state, event, policy, by)?;
            assert_eq!(transition, Transition::Remove, "an expired chain is removed");
            if is_open(&row.state) {
                self.rows.count_open(*id, -1)?;
            }
            self.note_removed(row.queue, *id, &row.state)?;
            self.rows.remove_item(*id)?;
            crash_point!(within "between_items");
            self.statistics.entry(row.queue).or_default().count(&row.state, -1);
        }
        Ok(rows.len())
    }

    /// T15: abandons items that are InProgress for longer than their queue allows.
    pub(super) fn abandon_overdue(&mut self) -> Applied<u64> {
        let judgement = self.judge_clock()?;
        let shortest = self.rows.queues()?.iter().map(|queue| queue.policy.abandon_after).min();
        let Some(before) = shortest.and_then(|limit| self.now.checked_sub(limit).ok()) else { return Ok(0) };
        let mut abandoned = 0;
        let mut held = self.rows.in_progress_since_before(before)?;
        held.sort_unstable();
        for id in held {
            if abandoned >= MAX_OVERDUE_PER_SWEEP {
                break; // the next sweep continues; others wait for these only
            }
            let checked = self.abandon_if_overdue(id, &judgement);
            match self.unless_unreadable(id, checked) {
                Ok(is_overdue) => abandoned += u64::from(is_overdue == Some(true)),
                Err(ApplyError::Refused(_)) => {} // its queue was deleted
                Err(failed) => return Err(failed),
            }
        }
        Ok(abandoned)
    }

    fn abandon_if_overdue(&mut self, id: ItemId, judgement: &Judgement) -> Applied<bool> {
        let row = self.row(id)?;
        let policy = self.policy(row.queue)?;
        if !lifecycle::is_overdue(&row.state, &policy, self.now) {
            return Ok(false); // its queue allows more time
        }
        let started = row.state.start_processing.unwrap_or(Timestamp::MAX);
        let by = judgement.believed_for(started);
        if !by.is_some_and(|by| lifecycle::is_overdue(&row.state, &policy, by)) {
            self.report_held_back("the end of items that are InProgress for too long", judgement);
            return Ok(false);
        }
        self.apply_event(id, Event::Overdue)?;
        self.alert_of_item(AlertKind::RobotUnresponsive, row.queue, id);
        Ok(true)
    }
}

/// Items created after this time are within a queue's retention.
fn created_before(policy: &QueuePolicy, now: Timestamp) -> Option<Timestamp> {
    let days = policy.retention_days.min(policy.stale_retention_days);
    now.checked_sub(Duration::from_secs(u64::from(days) * 86_400)).ok()
}
