//! The chain of the audit: each record has a digest over itself and the digest of the record before.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{AuditCheck, AuditEntry, AuditRecord, BrokenChain};

/// A record of the audit as it is stored, whether or not its entry can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditLine {
    /// Consecutive, from 1.
    pub id: u64,
    /// The text of the entry: JSON, over which the digest goes.
    pub text: Arc<str>,
    /// The digest over the digest of the record before and the text, in hexadecimal digits.
    pub digest: String,
}

impl AuditLine {
    /// A line that was read.
    pub fn new(id: u64, text: impl Into<Arc<str>>, digest: impl Into<String>) -> Self {
        Self { id, text: text.into(), digest: digest.into() }
    }

    /// The record.
    ///
    /// # Errors
    ///
    /// If the entry cannot be read: a newer program wrote it, or it was damaged.
    pub fn into_record(self) -> Result<AuditRecord, serde_json::Error> {
        let entry: AuditEntry = serde_json::from_str(&self.text)?;
        Ok(AuditRecord::new(self.id, entry, self.text, self.digest))
    }
}

/// The digest of a record: SHA-256 over the digest of the record before, a line break, and the text of the entry.
pub fn digest_of(before: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update(before).chain_update("\n").chain_update(text).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Follows the chain record by record, from the first one on.
#[derive(Clone, Debug)]
pub struct AuditChain {
    check: AuditCheck,
    /// A head that was kept, until it is found.
    wanted: Option<String>,
}

impl AuditChain {
    /// A chain of which nothing was read. `head`: a digest that was kept; the chain has to have it in some record.
    pub fn new(head: Option<&str>) -> Self {
        Self { check: AuditCheck::new(), wanted: head.map(str::to_owned) }
    }

    /// The number of the last record that was followed; 0 for none.
    pub fn last(&self) -> u64 {
        self.check.records
    }

    /// Follows one more record. Returns whether the chain is whole so far; behind a break nothing can be said.
    pub fn follow(&mut self, line: &AuditLine) -> bool {
        self.follow_unless(line, None)
    }

    /// As [`follow`](Self::follow). `wrong`: what is wrong with the record otherwise, which breaks the chain too.
    pub fn follow_unless(&mut self, line: &AuditLine, wrong: Option<&str>) -> bool {
        let before = self.check.head.as_deref().unwrap_or_default();
        let reason = if line.id != self.check.records + 1 {
            format!("record {} is missing", self.check.records + 1)
        } else if line.digest != digest_of(before, &line.text) {
            "its digest does not match its entry and the record before".to_owned()
        } else if let Some(wrong) = wrong {
            wrong.to_owned()
        } else {
            self.check.records = line.id;
            if self.wanted.as_deref() == Some(&line.digest) {
                self.wanted = None;
            }
            self.check.head = Some(line.digest.clone());
            return true;
        };
        self.break_at(line.id, reason);
        false
    }

    fn break_at(&mut self, id: u64, reason: impl Into<String>) {
        self.check.broken.get_or_insert(BrokenChain::new(id, reason));
    }

    /// What was found, once all records were followed or one is broken.
    pub fn finish(mut self) -> AuditCheck {
        if self.wanted.is_some() {
            let reason = "no record has the digest that was kept: records were removed or rewritten";
            self.break_at(self.check.records, reason);
        }
        self.check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of so many records.
    fn lines(count: u64) -> Vec<AuditLine> {
        let mut digest = String::new();
        let mut line = |id| {
            let text = format!("{{\"n\":{id}}}");
            digest = digest_of(&digest, &text);
            AuditLine::new(id, text, digest.clone())
        };
        (1..=count).map(&mut line).collect()
    }

    fn check(lines: &[AuditLine], head: Option<&str>) -> AuditCheck {
        let mut chain = AuditChain::new(head);
        let _ = lines.iter().all(|line| chain.follow(line));
        chain.finish()
    }

    #[test]
    fn a_whole_chain_has_a_head_that_is_found_again() {
        let four = lines(4);
        let found = check(&four, None);
        assert_eq!((found.records, found.head.as_deref(), found.broken), (4, Some(&*four[3].digest), None));
        assert_eq!(check(&four, Some(&four[1].digest)).broken, None);
        assert_eq!(check(&[], None), AuditCheck::new());
    }

    #[test]
    fn what_was_changed_removed_or_rewritten_is_found() {
        let four = lines(4);
        let mut changed = four.clone();
        changed[2].text = "{\"n\":9}".into();
        assert_eq!(check(&changed, None).broken.map(|broken| broken.id), Some(3));
        let removed = [&four[..1], &four[2..]].concat();
        let broken = check(&removed, None).broken.unwrap();
        assert_eq!((broken.id, &*broken.reason), (3, "record 2 is missing"));
        // The end of a chain that was cut off, or written anew, shows only with a head that was kept.
        assert_eq!(check(&four[..3], None).broken, None);
        assert!(check(&four[..3], Some(&four[3].digest)).broken.is_some());
        assert!(check(&[], Some("f00")).broken.is_some());
    }
}
