//! The statements on alerts.

use jiff::Timestamp;

use super::super::alerts::{AlertRow, AlertRows};
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Dialect, Engine, Values};
use performer_core::model::alert::{Alert, AlertFilter, AlertKind, AlertSeverity};
use performer_core::model::key::{AlertKey, FolderId, QueueId};
use performer_core::orchestrator::{OrchestratorError, Result};

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> OrchestratorError {
    UnreadableRow::error(error, "the store")
}

fn in_folders<D: Dialect>(folders: Option<&[FolderId]>, values: &mut Values) -> String {
    folders.map_or_else(String::new, |folders| {
        let folders: Vec<i64> = folders.iter().map(|folder| folder.0).collect();
        format!(" AND {}", D::among("alert.folder_id", &values.bind::<D>(folders)))
    })
}

/// The condition that a user has read an alert.
fn is_read<D: Dialect>(user: i64, values: &mut Values) -> String {
    let user = values.bind::<D>(user);
    format!("EXISTS (SELECT 1 FROM alert_read WHERE alert_id = alert.id AND user_id = {user})")
}

impl<E: Engine> AlertRows for E {
    fn insert_alert(&mut self, alert: &AlertRow) -> Result<()> {
        let mut values = Values::default();
        let document = serde_json::to_string(&alert.content)
            .map_err(|error| OrchestratorError::invalid(error.to_string()))?;
        let [key, document] = [&alert.key.to_string(), &document].map(|text| values.bind_text::<E>(text));
        let folder = values.bind::<E>(alert.folder.0);
        let queue = values.bind_or_null::<E>(alert.queue.map(|queue| queue.0));
        let time = values.bind::<E>(Bound::Time(alert.time));
        let (kind, severity) = (alert.kind.number(), alert.severity.number());
        let sql = format!(
            "INSERT INTO alert (key, folder_id, queue_id, kind, severity, time, document) \
             VALUES ({key}, {folder}, {queue}, {kind}, {severity}, {time}, {document})"
        );
        self.execute(&sql, &values)
    }

    fn alerts(&mut self, user: i64, filter: &AlertFilter) -> Result<Vec<Alert>> {
        let mut values = Values::default();
        let is_read = is_read::<E>(user, &mut values);
        let folders = in_folders::<E>(filter.folders.as_deref(), &mut values);
        let unread = if filter.unread { format!(" AND NOT {is_read}") } else { String::new() };
        let sql = format!(
            "SELECT key, folder_id, severity, time, document, CASE WHEN {is_read} THEN 1 ELSE 0 END FROM alert \
             WHERE true{folders}{unread} ORDER BY id DESC LIMIT {}",
            filter.limit
        );
        self.read(&sql, &values, |row| {
            let key: AlertKey = row.text(0)?.parse().map_err(unreadable)?;
            let severity = AlertSeverity::from_number(row.number(2)?).map_err(unreadable)?;
            let content = serde_json::from_str(&row.text(4)?).map_err(unreadable)?;
            let mut alert = Alert::new(key, row.time(3)?, severity, content);
            alert.folder = Some(FolderId(row.number(1)?));
            alert.is_read = row.number(5)? == 1;
            Ok(alert)
        })
    }

    fn count_unread(&mut self, user: i64, folders: Option<&[FolderId]>) -> Result<u64> {
        let mut values = Values::default();
        let is_read = is_read::<E>(user, &mut values);
        let folders = in_folders::<E>(folders, &mut values);
        let sql = format!("SELECT count(*) FROM alert WHERE NOT {is_read}{folders}");
        Ok(self.read_number(&sql, &values)?.unwrap_or(0).unsigned_abs())
    }

    fn mark_read(&mut self, user: i64, keys: &[AlertKey], folders: Option<&[FolderId]>) -> Result<()> {
        // Few at once: a statement has a limited number of values.
        for keys in keys.chunks(100) {
            let mut values = Values::default();
            let user = values.bind::<E>(user);
            let keys: Vec<String> = keys.iter().map(|key| values.bind_text::<E>(&key.to_string())).collect();
            let folders = in_folders::<E>(folders, &mut values);
            let sql = format!(
                "INSERT INTO alert_read (alert_id, user_id) SELECT alert.id, {user} FROM alert \
                 WHERE alert.key IN ({}){folders} ON CONFLICT DO NOTHING",
                keys.join(", ")
            );
            self.execute(&sql, &values)?;
        }
        Ok(())
    }

    fn last_alert(&mut self, queue: QueueId, kind: AlertKind) -> Result<Option<Timestamp>> {
        let mut values = Values::default();
        let queue = values.bind::<E>(queue.0);
        let sql = format!(
            "SELECT time FROM alert WHERE queue_id = {queue} AND kind = {} ORDER BY time DESC LIMIT 1",
            kind.number()
        );
        Ok(self.read(&sql, &values, |row| row.time(0))?.pop())
    }

    fn lock_service_levels(&mut self) -> Result<()> {
        self.lock_until_end("service levels")
    }

    fn remove_alerts(&mut self, before: Timestamp, most: u64, limit: usize) -> Result<u64> {
        let mut values = Values::default();
        let before = values.bind::<E>(Bound::Time(before));
        let sql = format!(
            "SELECT id FROM alert WHERE time < {before} \
             OR id < (SELECT id FROM alert ORDER BY id DESC LIMIT 1 OFFSET {}) ORDER BY id LIMIT {limit}",
            most.saturating_sub(1)
        );
        let ids: Vec<i64> = self.read(&sql, &values, |row| row.number(0))?;
        let removed = ids.len() as u64;
        if removed > 0 {
            for (table, column) in [("alert_read", "alert_id"), ("alert", "id")] {
                let mut values = Values::default();
                let ids = values.bind::<E>(ids.clone());
                self.execute(&format!("DELETE FROM {table} WHERE {}", E::among(column, &ids)), &values)?;
            }
        }
        Ok(removed)
    }
}
