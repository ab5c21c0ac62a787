//! The audit of a store: one record for each change that people make, written in the transaction of the change
//! ([`model::audit`](performer_core::model::audit)).

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Store;
use super::backend::{Query, expect_answer};
use performer_core::model::audit::{
    Actor, AuditCheck, AuditEntry, AuditFilter, AuditRecord, BrokenChain, MAX_RECORDS,
};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

impl Store {
    /// This store for one actor: the audit names the actor of each change that is made through it. Default: a program, of which
    /// nothing else is known.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor: Arc::new(actor), ..self.clone() }
    }

    /// A page of the audit, the newest records first.
    ///
    /// # Errors
    ///
    /// Invalid for a page of a wrong size; Other if a record cannot be read, which [`check_audit`](Self::check_audit) explains;
    /// Unavailable if the store is unavailable.
    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        let rows = expect_answer!(self.read(Query::Audit(Box::new(filter))).await, Audit)?;
        rows.into_iter().map(AuditRow::into_record).collect()
    }

    /// Up to [`MAX_RECORDS`] records of the audit from behind a number on, the oldest first. 0: from the beginning.
    ///
    /// # Errors
    ///
    /// As [`audit`](Self::audit).
    pub async fn audit_from(&self, after: u64) -> Result<Vec<AuditRecord>> {
        let rows = expect_answer!(self.read(Query::AuditFrom(after)).await, Audit)?;
        rows.into_iter().map(AuditRow::into_record).collect()
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
        let mut check = AuditCheck::new();
        let mut head_is_there = head.is_none();
        loop {
            let rows = expect_answer!(self.read(Query::AuditFrom(check.records)).await, Audit)?;
            let is_last = rows.len() < MAX_RECORDS;
            for row in rows {
                if let Err(reason) = row.follows(check.records, check.head.as_deref()) {
                    check.broken = Some(BrokenChain::new(row.id, reason));
                    return Ok(check);
                }
                head_is_there |= head == Some(&*row.digest);
                check.records = row.id;
                check.head = Some(row.digest);
            }
            if is_last {
                break;
            }
        }
        if !head_is_there {
            let reason = "no record has the digest that was kept: records were removed or rewritten";
            check.broken = Some(BrokenChain::new(check.records, reason));
        }
        Ok(check)
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

    /// Whether the record is intact and follows the one with a number and a digest.
    fn follows(&self, id: u64, digest: Option<&str>) -> std::result::Result<(), String> {
        if self.id != id + 1 {
            return Err(format!("record {} is missing", id + 1));
        }
        if self.digest != digest_of(digest.unwrap_or_default(), &self.entry) {
            return Err("its digest does not match its entry and the record before".to_owned());
        }
        // An entry of a newer program may not be readable here; its digest says that it is as it was written.
        let Ok(entry) = serde_json::from_str::<AuditEntry>(&self.entry) else { return Ok(()) };
        let copies =
            (entry.time, i64::from(entry.act.number()), entry.actor.user_name.as_deref().unwrap_or_default());
        if copies != (self.time, self.act, &*self.user_name) {
            return Err("the columns that lists are filtered by are not those of its entry".to_owned());
        }
        Ok(())
    }

    fn into_record(self) -> Result<AuditRecord> {
        let entry = serde_json::from_str(&self.entry).map_err(|error| {
            let message = format!("record {} of the audit cannot be read", self.id);
            OrchestratorError::new(ErrorKind::Other, message).with_source(error)
        })?;
        Ok(AuditRecord::new(self.id, entry, self.entry.into(), self.digest))
    }
}

/// The digest of a record: SHA-256 over the digest of the record before, a line break, and the text of the entry.
fn digest_of(before: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update(before).chain_update("\n").chain_update(text).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
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
