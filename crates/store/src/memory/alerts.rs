//! Alerts in memory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::alerts::{AlertRow, AlertRows};
use super::Memory;
use performer_core::model::alert::{Alert, AlertFilter, AlertKind};
use performer_core::model::key::{AlertKey, FolderId, QueueId};
use performer_core::orchestrator::Result;

/// Alerts by number, and who has read which.
#[derive(Default)]
pub(super) struct StoredAlerts {
    all: BTreeMap<i64, AlertRow>,
    read: BTreeSet<(i64, i64)>,
    last: i64,
}

impl StoredAlerts {
    fn is_read(&self, id: i64, user: i64) -> bool {
        self.read.contains(&(id, user))
    }
}

fn is_in(alert: &AlertRow, folders: Option<&[FolderId]>) -> bool {
    folders.is_none_or(|folders| folders.contains(&alert.folder))
}

impl AlertRows for Memory {
    fn insert_alert(&mut self, alert: &AlertRow) -> Result<()> {
        self.alerts.last += 1;
        self.alerts.all.insert(self.alerts.last, alert.clone());
        Ok(())
    }

    fn alerts(&mut self, user: i64, filter: &AlertFilter) -> Result<Vec<Alert>> {
        let alerts = &self.alerts;
        let found = alerts.all.iter().rev().filter_map(|(id, row)| {
            let mut alert = Alert::new(row.key, row.time, row.severity, row.content.clone());
            (alert.is_read, alert.folder) = (alerts.is_read(*id, user), Some(row.folder));
            (is_in(row, filter.folders.as_deref()) && !(filter.unread && alert.is_read)).then_some(alert)
        });
        Ok(found.take(filter.limit).collect())
    }

    fn count_unread(&mut self, user: i64, folders: Option<&[FolderId]>) -> Result<u64> {
        let is_unread =
            |(id, row): &(&i64, &AlertRow)| is_in(row, folders) && !self.alerts.is_read(**id, user);
        Ok(self.alerts.all.iter().filter(is_unread).count() as u64)
    }

    fn mark_read(&mut self, user: i64, keys: &[AlertKey], folders: Option<&[FolderId]>) -> Result<()> {
        let named = |(_, row): &(&i64, &AlertRow)| keys.contains(&row.key) && is_in(row, folders);
        let read: Vec<(i64, i64)> = self.alerts.all.iter().filter(named).map(|(id, _)| (*id, user)).collect();
        self.alerts.read.extend(read);
        Ok(())
    }

    fn last_alert(&mut self, queue: QueueId, kind: AlertKind) -> Result<Option<Timestamp>> {
        let of_queue = self.alerts.all.values().filter(|row| row.queue == Some(queue) && row.kind == kind);
        Ok(of_queue.map(|row| row.time).max())
    }

    fn lock_service_levels(&mut self) -> Result<()> {
        Ok(())
    }

    fn remove_alerts(&mut self, before: Timestamp, most: u64, limit: usize) -> Result<u64> {
        let over = (self.alerts.all.len() as u64).saturating_sub(most);
        let old = self.alerts.all.iter().zip(0u64..).filter(|((_, row), at)| row.time < before || *at < over);
        let ids: Vec<i64> = old.map(|((id, _), _)| *id).take(limit).collect();
        self.alerts.all.retain(|id, _| !ids.contains(id));
        self.alerts.read.retain(|(id, _)| !ids.contains(id));
        Ok(ids.len() as u64)
    }
}
