//! The audit of a store: one record for each change that people make, written in the transaction of the change
//! ([`model::audit`](performer_core::model::audit)).

use std::sync::Arc;

use jiff::Timestamp;

use super::Store;
use super::backend::{Query, expect_answer};
use performer_core::model::audit::{
    Actor, AuditChain, AuditCheck, AuditEntry, AuditFilter, AuditLine, AuditRecord, MAX_RECORDS, digest_of,
};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

impl Store {
    /// This store for one actor: the audit names the actor of each change that is made through it. Default: a program, of which
    /// nothing else is known.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor: Arc::new(actor), ..self.clone() }
    }

    /// A page of the audit, the newest records first. A record that cannot be read, such as one of a newer program, is passed over
    /// and logged.
    ///
    /// # Errors
    ///
    /// Invalid for a page of a wrong size; Unavailable if the store is unavailable.
    pub async fn audit(&self, mut filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        let top = filter.top;
        let mut records = Vec::new();
        loop {
            let asked = Query::Audit(Box::new(filter.clone()));
            let rows = expect_answer!(self.read(asked).await, Audit)?;
            let is_last = rows.len() < filter.top;
            filter.before = rows.last().map_or(filter.before, |row| Some(row.id));
            records.extend(rows.into_iter().filter_map(AuditRow::into_record));
            filter.top = top.saturating_sub(records.len());
            if is_last || filter.top == 0 {
                return Ok(records);
            }
        }
    }

    /// Up to [`MAX_RECORDS`] records of the audit from behind a number on, the oldest first. 0: from the beginning.
    ///
    /// # Errors
    ///
    /// As [`audit`](Self::audit).
    pub async fn audit_from(&self, mut after: u64) -> Result<Vec<AuditRecord>> {
        let mut records = Vec::new();
        loop {
            let rows = expect_answer!(self.read(Query::AuditFrom(after)).await, Audit)?;
            let is_last = rows.len() < MAX_RECORDS;
            after = rows.last().map_or(after, |row| row.id);
            records.extend(rows.into_iter().filter_map(AuditRow::into_record));
            records.truncate(MAX_RECORDS);
            if is_last || records.len() == MAX_RECORDS {
                return Ok(records);
            }
        }
    }

    /// Follows the chain of the audit from its first record to its last one, and says where it is broken. A program that can write to
    /// the database can also compute a whole new chain; only a [head](AuditCheck::head) that was kept elsewhere shows that.
    ///
    /// `head`: one that was kept; the chain has to have it in some record.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn check_audit(&self, head: Option<&str>) -> Result<AuditCheck> {
        let mut chain = AuditChain::new(head);
        loop {
            let rows = expect_answer!(self.read(Query::AuditFrom(chain.last())).await, Audit)?;
            let is_last = rows.len() < MAX_RECORDS;
            for row in rows {
                let wrong = row.wrong_columns();
                if !chain.follow_unless(&row.into_line(), wrong) {
                    return Ok(chain.finish());
                }
            }
            if is_last {
                return Ok(chain.finish());
            }
        }
    }
}

/// A record as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct AuditRow {
    pub(crate) id: u64,
    pub(crate) time: Timestamp,
    pub(crate) act: i64,
    /// Empty: not known.
    pub(crate) user_name: String,
    pub(crate) entry: String,
    pub(crate) digest: String,
}

impl AuditRow {
    /// The record of an entry behind the last one.
    pub(crate) fn behind(last: Option<(u64, &str)>, entry: &AuditEntry) -> Result<Self> {
        let text = serde_json::to_string(entry).map_err(|error| {
            OrchestratorError::new(ErrorKind::Other, "an entry of the audit cannot be written")
                .with_source(error)
        })?;
        let (id, digest) = last.map_or((0, ""), |(id, digest)| (id, digest));
        Ok(Self {
            id: id + 1,
            time: entry.time,
            act: entry.act.number().into(),
            user_name: entry.actor.user_name.clone().unwrap_or_default(),
            digest: digest_of(digest, &text),
            entry: text,
        })
    }

    /// What is wrong with the columns that lists are filtered by.
    fn wrong_columns(&self) -> Option<&'static str> {
        // An entry of a newer program may not be readable here; its digest says that it is as it was written.
        let entry = serde_json::from_str::<AuditEntry>(&self.entry).ok()?;
        let copies =
            (entry.time, i64::from(entry.act.number()), entry.actor.user_name.as_deref().unwrap_or_default());
        let is_same = copies == (self.time, self.act, &*self.user_name);
        (!is_same).then_some("the columns that lists are filtered by are not those of its entry")
    }

    /// The record, unread.
    pub(crate) fn into_line(self) -> AuditLine {
        AuditLine::new(self.id, self.entry, self.digest)
    }

    /// `None`, and a line in the log, if it cannot be read.
    fn into_record(self) -> Option<AuditRecord> {
        let id = self.id;
        let read = self.into_line().into_record().inspect_err(|error| {
            tracing::error!(record = id, %error, "the record of the audit cannot be read; it is passed over");
        });
        read.ok()
    }
}

/// Records of the audit, inside the one transaction that is open.
pub(crate) trait AuditRows {
    /// The number and the digest of the last record. No other transaction appends one until this one ends.
    fn last_audit(&mut self) -> Result<Option<(u64, String)>>;

    fn append_audit(&mut self, row: &AuditRow) -> Result<()>;

    /// Records that match, the newest first.
    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<AuditRow>>;

    /// Records from behind a number on, the oldest first, up to [`MAX_RECORDS`].
    fn audit_from(&mut self, after: u64) -> Result<Vec<AuditRow>>;
}
