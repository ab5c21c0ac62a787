//! Alerts: raised in the transaction of what happened, read, and removed.
//!
//! What happens to items is collected while a batch is applied, and is one alert for each queue at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::alerts::{AlertAnswer, AlertOperation, AlertQuery, AlertRow};
use super::super::backend::{Answer, Scope};
use super::super::rows::Rows;
use super::{Applied, Apply};
use performer_core::model::alert::{
    AlertKind, MAX_ALERTS, MAX_ITEMS_NAMED, NewAlert, RAISED_AGAIN, at_risk_before_due,
};
use performer_core::model::job::{Job, JobState};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::Change;
use performer_core::model::result::Outcome;
use performer_core::model::status::Status;
use performer_core::model::stored_time::{StoredTime, stored};
use performer_core::orchestrator::Result;

const DAY: Duration = Duration::from_secs(86_400);

/// What a batch raises at its end: for each kind and queue the first items, and how many there are.
#[derive(Debug, Default)]
pub(super) struct PendingAlerts(BTreeMap<(QueueId, AlertKind), (Vec<ItemId>, u64)>);

fn reader(scope: Scope) -> i64 {
    scope.user.unwrap_or_default()
}

impl<R: Rows> Apply<'_, R> {
    /// A job has faulted, if it has.
    pub(super) fn alert_of_job(&mut self, job: &Job) -> Result<()> {
        if job.state == JobState::Faulted { self.raise(NewAlert::job_faulted(job)) } else { Ok(()) }
    }

    /// Something happened to an item.
    pub(super) fn alert_of_item(&mut self, kind: AlertKind, queue: QueueId, id: ItemId) {
        let (items, count) = self.alerts.0.entry((queue, kind)).or_default();
        *count += 1;
        if items.len() < MAX_ITEMS_NAMED {
            items.push(id);
        }
    }

    /// An attempt has ended with this change.
    pub(super) fn alert_of_end(&mut self, queue: QueueId, id: ItemId, before: Status, change: &Change) {
        let is_exhausted = before == Status::InProgress
            && change.after.status == Status::Failed
            && change.after.outcome == Some(Outcome::ApplicationException)
            && change.copy.is_none();
        if is_exhausted {
            self.alert_of_item(AlertKind::RetriesExhausted, queue, id);
        }
    }

    /// Writes what happened to items in this batch.
    pub(super) fn write_alerts(&mut self) -> Result<()> {
        for ((queue, kind), (items, count)) in std::mem::take(&mut self.alerts).0 {
            // Nobody is told of the items of a queue that was deleted meanwhile.
            if let Some(queue) = self.rows.queue(queue)? {
                self.raise(NewAlert::of_items(kind, &queue, &items, count))?;
            }
        }
        Ok(())
    }

    pub(super) fn raise(&mut self, alert: NewAlert) -> Result<()> {
        let now = self.now;
        let row = AlertRow {
            key: self.rows.keys().alert(now),
            folder: alert.folder,
            queue: alert.queue,
            kind: alert.kind,
            severity: alert.severity,
            time: stored(now),
            content: alert.into(),
        };
        self.rows.insert_alert(&row)
    }

    pub(super) fn change_alerts(&mut self, operation: AlertOperation) -> Applied {
        let count = match operation {
            AlertOperation::Raise(alert) => {
                self.raise(*alert)?;
                return Ok(Answer::Done);
            }
            AlertOperation::MarkRead { keys, folders } => {
                let user = reader(self.scope);
                self.rows.mark_read(user, &keys, folders.as_deref())?;
                self.rows.count_unread(user, folders.as_deref())?
            }
            AlertOperation::CheckServiceLevels => self.check_service_levels()?,
            // By a time that can be believed: a clock that is wrong for a while destroys none.
            AlertOperation::Remove { days, limit } => {
                let first = StoredTime::FIRST.timestamp();
                let believed = self.judge_clock()?.believed();
                let before = believed.map_or(first, |now| now.checked_sub(DAY * days).unwrap_or(first));
                self.rows.remove_alerts(before, MAX_ALERTS, limit)?
            }
        };
        Ok(AlertAnswer::Count(count).into())
    }

    /// Items that wait and are late, or may be, of each queue with an SLA. Several servers may look; the lock lets one of them raise.
    fn check_service_levels(&mut self) -> Applied<u64> {
        let (now, mut raised) = (stored(self.now), 0);
        let mut queues = self.rows.queues()?;
        queues.retain(|queue| queue.notes.sla_in_minutes > 0);
        if queues.is_empty() {
            return Ok(0);
        }
        self.rows.lock_service_levels()?;
        for queue in queues {
            let ahead = at_risk_before_due(&queue).unwrap_or_default();
            let risk_until = now.checked_add(ahead).unwrap_or(now);
            let mut late = self.rows.ready_by_due_date(queue.id, queue.limits.fair)?;
            late.retain(|items| items.due <= risk_until);
            let (late, at_risk): (Vec<_>, Vec<_>) = late.into_iter().partition(|items| items.due <= now);
            for (kind, items) in [(AlertKind::SlaMissed, late), (AlertKind::SlaAtRisk, at_risk)] {
                let Some(first) = items.iter().map(|items| items.due).min() else { continue };
                let last = self.rows.last_alert(queue.id, kind)?;
                if last.is_some_and(|last| now < last.checked_add(RAISED_AGAIN).unwrap_or(last)) {
                    continue;
                }
                let count = items.iter().map(|items| items.count).sum();
                self.raise(NewAlert::of_sla(kind, &queue, count, first))?;
                raised += 1;
            }
        }
        Ok(raised)
    }
}

pub(super) fn answer<R: Rows>(rows: &mut R, scope: Scope, query: AlertQuery) -> Result<Answer> {
    let user = reader(scope);
    Ok(match query {
        AlertQuery::List(filter) => AlertAnswer::Alerts(rows.alerts(user, &filter)?),
        AlertQuery::CountUnread(folders) => AlertAnswer::Count(rows.count_unread(user, folders.as_deref())?),
    }
    .into())
}
