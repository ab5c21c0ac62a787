//! The statements on groups of failures.

use rusqlite::{OptionalExtension, params};

use super::super::reasons::{Failure, Reasons};
use super::super::sql;
use super::columns::micros;
use super::{Sqlite, prepared};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::reason::{MAX_REASONS, Reason, ReasonFilter};
use performer_core::orchestrator::Result;

impl Reasons for Sqlite {
    fn count_failure(&mut self, failure: &Failure) -> Result<()> {
        const FIND: &str =
            "SELECT id FROM reason WHERE queue_id = ?1 AND exception_type = ?2 AND fingerprint = ?3";
        const COUNT: &str = "SELECT count(*) FROM reason WHERE queue_id = ?1";
        const MAKE: &str = "INSERT INTO reason (queue_id, exception_type, fingerprint, sample, first_seen, last_seen, \
                            total, open) VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, 0)";
        const SEEN: &str = "UPDATE reason SET last_seen = max(last_seen, ?2), total = total + 1, open = open + ?3 \
                            WHERE id = ?1";
        const OF_ITEM: &str = "UPDATE item_exception SET reason_id = ?2 WHERE item_id = ?1";
        let Failure { queue, exception_type, fingerprint, sample, .. } = failure;
        let (queue, kind, at) = (queue.0, exception_type.number(), micros(failure.at));
        let found = self.run(|c| {
            let found: Option<i64> = prepared(c, FIND)?
                .query_row(params![queue, kind, fingerprint], |row| row.get(0))
                .optional()?;
            if found.is_some() {
                return Ok(found);
            }
            let there: u64 = prepared(c, COUNT)?.query_row([queue], |row| row.get(0))?;
            if there >= MAX_REASONS && !fingerprint.is_empty() {
                return Ok(None);
            }
            prepared(c, MAKE)?.execute(params![queue, kind, fingerprint, sample, at])?;
            Ok(Some(c.last_insert_rowid()))
        })?;
        let Some(id) = found else { return self.count_failure(&failure.among_others()) };
        self.run(|c| {
            prepared(c, SEEN)?.execute(params![id, at, failure.is_open])?;
            prepared(c, OF_ITEM)?.execute([failure.item.0, id]).map(drop)
        })
    }

    fn count_open(&mut self, item: ItemId, by: i64) -> Result<()> {
        const SQL: &str = "UPDATE reason SET open = open + ?2 \
                           WHERE id = (SELECT reason_id FROM item_exception WHERE item_id = ?1)";
        self.run(|c| prepared(c, SQL)?.execute([item.0, by]).map(drop))
    }

    fn write_reason(&mut self, reason: &Reason) -> Result<()> {
        sql::reasons::write(self, reason)
    }

    fn reasons(&mut self, queues: &[QueueId], filter: &ReasonFilter) -> Result<Vec<Reason>> {
        sql::reasons::reasons(self, queues, filter)
    }
}
