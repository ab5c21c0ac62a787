//! The audit in memory.

use super::super::audit::{AuditRow, AuditRows};
use super::Memory;
use performer_core::model::audit::{AuditFilter, MAX_RECORDS};
use performer_core::orchestrator::Result;

impl AuditRows for Memory {
    fn last_audit(&mut self) -> Result<Option<(u64, String)>> {
        Ok(self.audit.last().map(|last| (last.id, last.digest.clone())))
    }

    fn append_audit(&mut self, row: &AuditRow) -> Result<()> {
        self.audit.push(row.clone());
        Ok(())
    }

    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
        let is_meant = |row: &&AuditRow| {
            (filter.acts.is_empty() || filter.acts.iter().any(|act| i64::from(act.number()) == row.act))
                && filter.user_name.as_ref().is_none_or(|name| !name.is_empty() && *name == row.user_name)
                && filter.from.is_none_or(|from| row.time >= from)
                && filter.to.is_none_or(|to| row.time < to)
                && filter.before.is_none_or(|before| row.id < before)
        };
        Ok(self.audit.iter().rev().filter(is_meant).take(filter.top).cloned().collect())
    }

    fn audit_from(&mut self, after: u64) -> Result<Vec<AuditRow>> {
        let from = self.audit.partition_point(|row| row.id <= after);
        Ok(self.audit[from..].iter().take(MAX_RECORDS).cloned().collect())
    }
}
