//! The statements on groups of failures.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::super::reasons::{Failure, Reasons};
use super::columns::{micros, numbered, time};
use super::list::in_queues;
use super::{Sqlite, prepared, row_count};
use performer_core::model::exception::ExceptionType;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::reason::{MAX_REASONS, Reason, ReasonFilter, ReasonOrder};
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

    /// All groups of the queues are sorted: there are at most some thousands, and an index in the order of a count would change
    /// with each failure.
    fn reasons(&mut self, queues: &[QueueId], filter: &ReasonFilter) -> Result<Vec<Reason>> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = Vec::new();
        let queues = in_queues("reason.queue_id", queues, &mut values);
        let key = match filter.order {
            ReasonOrder::MostOpen => "open",
            ReasonOrder::LastSeen => "last_seen",
        };
        let mut sql = format!(
            "SELECT id, queue_id, exception_type, fingerprint, first_seen, sample, last_seen, total, open FROM reason \
             WHERE {queues}"
        );
        if filter.open_only {
            sql.push_str(" AND open > 0");
        }
        if let Some(id) = filter.id {
            sql.push_str(&format!(" AND id = {id}"));
        }
        if let Some(after) = filter.after {
            sql.push_str(&format!(" AND ({key}, id) < ({}, {})", after.key, after.id));
        }
        sql.push_str(&format!(" ORDER BY {key} DESC, id DESC LIMIT {}", row_count(filter.top)));
        let read = |row: &SqlRow<'_>| {
            let kind = numbered!(row, 2, ExceptionType)?;
            let mut reason = Reason::new(row.get(0)?, QueueId(row.get(1)?), kind, row.get(3)?, time(row, 4)?);
            reason.sample = row.get(5)?;
            reason.last_seen = time(row, 6)?;
            reason.total = row.get(7)?;
            reason.open = row.get(8)?;
            Ok(reason)
        };
        self.run(|c| prepared(c, &sql)?.query_map(params_from_iter(&values), read)?.collect())
    }
}
