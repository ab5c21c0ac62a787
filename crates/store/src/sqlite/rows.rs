//! `Rows` for SQLite: the statements on items. Those on queues and jobs are in files of their own.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::backend::{Request, WriterHooks};
use super::super::jobs::JobFilter;
use super::super::readers::QueryDeadline;
use super::super::rows::{ClaimedRow, ItemRow, ListRequest, NewRow, NextItems, RetryCopy, Rows, StateUpdate};
use super::super::sql::{self, review};
use super::super::unreadable_rows::{SkippedRows, is_unreadable};
use super::columns::{self, actor_columns, micros, state_columns, state_joins};
use super::write::{in_row, insert_copy, insert_item, write, write_large_content};
use super::write_many::{write_claimed, write_ended};
use super::{Sqlite, counters, error, groups, item, jobs, list, prepared, ready_items, row_count};
use performer_core::crash_point;
use performer_core::model::clock::Clock;
use performer_core::model::content::SpecificContent;
use performer_core::model::history::{Actors, Recorded};
use performer_core::model::item::QueueItem;
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, ItemId, ItemKey, JobKey, JobNumber, KeyMaker, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::limits::Starts;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::robot::Held;
use performer_core::model::selection::is_deferred;
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// How many steps SQLite makes between checks whether somebody still waits for the answer: a millisecond or less.
const STEPS_BETWEEN_CHECKS: i32 = 20_000;

impl WriterHooks for Sqlite {
    fn set_query_deadline(&mut self, deadline: QueryDeadline) {
        // Without it a query runs to its end, which is no error.
        let asked = self.connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(move || deadline.is_over()));
        if let Err(error) = asked {
            tracing::debug!(%error, "a query cannot be given up");
        }
    }

    fn has_external_change(&mut self) -> bool {
        let version = self.run(|c| prepared(c, "PRAGMA data_version")?.query_row([], |row| row.get(0)));
        let version = version.unwrap_or(self.data_version);
        std::mem::replace(&mut self.data_version, version) != version
    }
}

impl Rows for Sqlite {
    const HAS_OWN_CLOCK: bool = false;

    fn begin(&mut self, _operations: &[Request], _clock: &dyn Clock) -> Result<()> {
        self.reopen_if_broken()?;
        if !self.connection.is_autocommit() {
            self.rollback(); // a transaction that ended in a panic
        }
        if std::mem::replace(&mut self.uncommitted, true) {
            self.claimed_rows.clear(); // the transaction was undone, so its rows were never there
        }
        (self.last_written, self.last_item, self.pending_ready, self.found_first) = (None, None, None, None);
        (self.new_jobs, self.ended_jobs) = (Vec::new(), Vec::new());
        // IMMEDIATE: a transaction that begins by reading could fail when it begins to write.
        self.begin_with("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> Result<()> {
        self.insert_pending_ready()?;
        if let Some((last, true)) = self.last_item {
            let key = self.keys.last_item().to_bytes();
            let sql = "UPDATE last_item SET id = ?1, key = ?2";
            self.run(|c| prepared(c, sql)?.execute(params![last, key]).map(drop))?;
        }
        let committed = prepared(&self.connection, "COMMIT").and_then(|mut commit| commit.execute([]));
        let Err(error) = committed else {
            // Lock files are removed now, not before: if the process were killed in between, nobody could tell that a
            // job has stopped.
            self.committed();
            return Ok(());
        };
        if !error::breaks_the_connection(&error) {
            return Err(error::explain(error, &self.path));
        }
        // The disk failed during the commit. Only the file itself shows the outcome: opened again, it has the last row
        // that was written, or not.
        self.broken = true;
        let Some((id, written)) = self.last_written else {
            return Err(error::explain_commit(error, &self.path));
        };
        match self.reopen_if_broken().and_then(|()| self.row(id)) {
            Ok(Some(row)) if row.state == written => {
                self.committed();
                Ok(())
            }
            Ok(Some(row)) if row.state.row_version < written.row_version => {
                Err(error::explain(error, &self.path))
            }
            // A new item that is missing, or a row that another process has changed since: the outcome is unknown.
            _ => Err(error::explain_commit(error, &self.path)),
        }
    }

    fn rollback(&mut self) {
        for job in std::mem::take(&mut self.new_jobs) {
            self.locks.release(job);
        }
        let undone = self.connection.is_autocommit()
            || prepared(&self.connection, "ROLLBACK").and_then(|mut rollback| rollback.execute([])).is_ok();
        self.broken |= !undone;
    }

    fn skipped_rows(&mut self) -> &mut SkippedRows {
        &mut self.skipped_rows
    }

    fn begin_reading(&mut self) -> Result<()> {
        self.reopen_if_broken()?;
        if !self.connection.is_autocommit() {
            self.rollback(); // a query that ended in a panic
        }
        self.begin_with("BEGIN DEFERRED")
    }

    fn kept_time(&mut self) -> Result<Option<Timestamp>> {
        sql::jobs::kept_time(self)
    }

    fn keep_time(&mut self, believed: Timestamp) -> Result<()> {
        sql::jobs::keep_time(self, believed)
    }

    fn keys(&mut self) -> &mut KeyMaker {
        &mut self.keys
    }

    fn next_item_key(&mut self, now: Timestamp) -> Result<ItemKey> {
        self.last_item()?;
        Ok(self.keys.item(now))
    }

    fn queue_named(&mut self, folder: FolderId, name: &str) -> Result<Option<Arc<QueueDefinition>>> {
        sql::queues::named(self, folder, name, "")
    }

    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
        sql::queues::one(self, id, "")
    }

    fn queues(&mut self) -> Result<Vec<QueueDefinition>> {
        sql::queues::all(self)
    }

    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId> {
        let id = sql::queues::insert(self, queue)?;
        self.run(|c| counters::insert_statistics(c, id)).map(|()| id)
    }

    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()> {
        sql::queues::update(self, queue)
    }

    fn delete_queue(&mut self, id: QueueId) -> Result<()> {
        sql::queues::delete(self, id)
    }

    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()> {
        sql::queues::write_folders(self, queue.id, &queue.name, folders)
    }

    fn statistics(&mut self, queue: QueueId) -> Result<QueueStatistics> {
        self.run(|c| counters::statistics(c, queue))
    }

    fn add_statistics(&mut self, queue: QueueId, delta: &QueueStatistics) -> Result<()> {
        self.run(|c| counters::add_statistics(c, queue, delta))
    }

    fn starts(&mut self, queue: QueueId, _next: Option<&NextItems<'_>>) -> Result<Starts> {
        self.recent_starts(queue)
    }

    fn recent_starts(&mut self, queue: QueueId) -> Result<Starts> {
        self.read_recent_starts(queue)
    }

    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()> {
        self.write_recent_starts(queue, starts)
    }

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId> {
        let id = self.next_item()?;
        self.run(|c| insert_item(c, id, row))?;
        self.last_written = Some((id, *row.state));
        let touched = row.progress.is_some();
        if let Some(group) = row.behind.filter(|_| !is_deferred(row.state, row.now)) {
            self.run(|c| groups::insert_new(c, (row.queue, group), id, row.state, touched))?;
            return Ok(id);
        }
        if touched || is_deferred(row.state, row.now) {
            return self
                .run(|c| ready_items::insert_waiting(c, row.queue, id, row.state, row.now, touched))
                .map(|()| id);
        }
        let next = ready_items::PendingReady::new(row.queue, id, row.state);
        if !self.pending_ready.as_mut().is_some_and(|pending| pending.extend(&next)) {
            self.insert_pending_ready()?;
            self.pending_ready = Some(next);
        }
        Ok(id)
    }

    fn insert_copy(&mut self, copy: &RetryCopy<'_>) -> Result<ItemId> {
        let id = self.next_item()?;
        self.run(|c| insert_copy(c, id, copy))?;
        Ok(id)
    }

    fn row(&mut self, id: ItemId) -> Result<Option<ItemRow>> {
        const SQL: &str = concat!(
            "SELECT ",
            state_columns!(),
            actor_columns!(),
            " FROM item",
            state_joins!("item.id"),
            " WHERE item.id = ?1"
        );
        self.run(|c| {
            let read = |row: &rusqlite::Row<'_>| {
                let (_, queue, state) = columns::state(row)?;
                Ok(ItemRow { queue, state, actors: columns::actors(row)? })
            };
            prepared(c, SQL)?.query_row([id.0], read).optional()
        })
    }

    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        self.run(|c| item::item(c, id))
    }

    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        self.insert_pending_ready()?;
        let found = self.run(|c| ready_items::next_items(c, ask))?;
        let fair = ask.groups.is_some_and(|rules| rules.fair);
        self.found_first = found.first.then_some((found.items.len(), fair));
        for (id, error) in found.unreadable {
            self.skipped_rows.report(id, &error::explain(error, &self.path));
        }
        Ok(found.items)
    }

    fn cached_row(&mut self, id: ItemId) -> Option<ItemRow> {
        self.claimed_rows.remove(&id)
    }

    fn write(&mut self, id: ItemId, before: &ItemRow, written: &StateUpdate<'_>) -> Result<bool> {
        self.last_written = Some((id, *written.state));
        if before.state.status == Status::New {
            self.insert_pending_ready()?;
        }
        if written.state.status == Status::InProgress {
            self.cache_row(id, before.after(written));
        }
        let done = self.run(|c| write(c, id, before.queue, &before.state, written))?;
        if done {
            review::update_row(self, (id, before.queue), before.state.status, written.state.status)?;
        }
        Ok(done)
    }

    fn write_claimed(&mut self, queue: QueueId, claimed: &[ClaimedRow], _now: Timestamp) -> Result<()> {
        let Some(last) = claimed.last() else { return Ok(()) };
        let written = self.run(|c| write_claimed(c, queue, claimed))?;
        assert_eq!(written, claimed.len(), "the items were read in this transaction");
        crash_point!("claim.after_update");
        let first = self.found_first.take();
        if let Some((_, fair)) = first.filter(|(found, _)| *found == claimed.len()) {
            let removed =
                self.run(|c| ready_items::remove_first_waiting(c, queue, last.id, &last.before, fair))?;
            assert_eq!(removed, claimed.len(), "the first of the queue were taken, and no other");
        } else {
            for row in claimed {
                self.run(|c| ready_items::remove_waiting(c, queue, row.id, &row.before))?;
            }
        }
        self.last_written = Some((last.id, last.after));
        for row in claimed {
            let actors = Actors { taken_by: row.claimant.user, ..Actors::default() };
            self.cache_row(row.id, ItemRow { queue, state: row.after, actors });
        }
        Ok(())
    }

    fn write_ended(&mut self, ended: &[(ItemId, QueueId, &ItemState, StateUpdate<'_>)]) -> Result<Vec<bool>> {
        if let Some((id, _, _, written)) = ended.last() {
            self.last_written = Some((*id, *written.state));
        }
        let done = self.run(|c| write_ended(c, ended))?;
        for ((id, queue, before, written), _) in ended.iter().zip(&done).filter(|(_, done)| **done) {
            review::update_row(self, (*id, *queue), before.status, written.state.status)?;
        }
        Ok(done)
    }

    fn set_content(&mut self, id: ItemId, content: &SpecificContent) -> Result<()> {
        self.run(|c| {
            prepared(c, "DELETE FROM item_content WHERE item_id = ?1")?.execute([id.0])?;
            let in_row = in_row(content.as_json());
            prepared(c, "UPDATE item SET content = ?2 WHERE id = ?1")?.execute(params![id.0, in_row])?;
            write_large_content(c, id, content.as_json())
        })
    }

    fn record(&mut self, id: ItemId, event: &Recorded) -> Result<()> {
        sql::items::record(self, id, event)
    }

    fn recorded(&mut self, id: ItemId) -> Result<Vec<Recorded>> {
        sql::items::recorded(self, id)
    }

    fn holds_reference(&mut self, queue: QueueId, reference: &str) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM item WHERE queue_id = ?1 AND reference = ?2 AND holds_reference = 1";
        self.run(|c| prepared(c, SQL)?.exists(params![queue.0, reference]))
    }

    fn chain(&mut self, id: ItemId) -> Result<Vec<ItemId>> {
        sql::items::chain(self, id)
    }

    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>> {
        self.run(|c| jobs::held_items(c, job))
    }

    fn held_by(&mut self, job: JobNumber) -> Result<Vec<ItemId>> {
        self.run(|c| {
            ids(
                c,
                "SELECT item_id FROM item_state WHERE holder = ?1 AND status = 1 ORDER BY item_id",
                [job.0],
            )
        })
    }

    fn in_progress_since_before(&mut self, before: Timestamp) -> Result<Vec<ItemId>> {
        // Only the held items, however large the table: without a hint SQLite scans the table because of the order.
        const SQL: &str =
            "SELECT item_id FROM item_state INDEXED BY item_held WHERE status = 1 AND start_processing < ?1";
        self.run(|c| ids(c, SQL, [micros(before)]))
    }

    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>> {
        self.run(|c| list::with_key(c, key))
    }

    fn list(&mut self, ask: &ListRequest<'_>) -> Result<(Vec<QueueItem>, Option<u64>)> {
        let (ids, count) = sql::list::list(self, ask)?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            match self.item(id) {
                Ok(found) => items.extend(found),
                Err(error) if is_unreadable(&error) => self.skipped_rows.report(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok((items, count))
    }

    fn list_ids(&mut self, ask: &ListRequest<'_>) -> Result<Vec<ItemId>> {
        Ok(sql::list::list(self, ask)?.0)
    }

    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>> {
        self.run(|c| list::ended_since(c, queue, since))
    }

    fn document(&mut self, known: u64) -> Result<Option<(u64, String)>> {
        sql::document::read(self, known)
    }

    fn write_document(&mut self, version: u64, text: &str) -> Result<()> {
        sql::document::write(self, version, text)
    }

    fn roots_created_before(
        &mut self,
        queue: QueueId,
        before: Timestamp,
        after: ItemId,
        limit: usize,
    ) -> Result<Vec<ItemId>> {
        self.run(|c| list::roots_created_before(c, queue, before, after, row_count(limit)))
    }

    fn remove_item(&mut self, id: ItemId) -> Result<()> {
        self.insert_pending_ready()?;
        if let Some(row) = self.row(id)? {
            self.run(|c| ready_items::remove_waiting(c, row.queue, id, &row.state))?;
        }
        review::remove_row(self, id)?;
        sql::items::remove(self, &[id])
    }

    fn insert_job(&mut self, job: &Job, of_this_process: bool) -> Result<()> {
        if of_this_process {
            self.locks.hold(job.key);
            self.new_jobs.push(job.key);
        }
        let id = self.next_job_id()?;
        sql::jobs::insert(self, job, Some(id))
    }

    fn job(&mut self, key: JobKey) -> Result<Option<Job>> {
        sql::jobs::one(self, key, "")
    }

    fn write_job(&mut self, job: &Job) -> Result<()> {
        sql::jobs::write(self, job)?;
        if job.state.is_final() {
            self.ended_jobs.push(job.key);
        }
        Ok(())
    }

    fn live_jobs(&mut self) -> Result<Vec<Job>> {
        sql::jobs::live(self)
    }

    fn jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
        sql::jobs::list(self, folder, limit)
    }

    fn listed_jobs(&mut self, filter: &JobFilter) -> Result<Vec<Job>> {
        sql::jobs::listed(self, filter)
    }

    fn process_is_gone(&mut self, job: JobKey) -> bool {
        self.locks.is_gone(job)
    }
}

type SqlResult<T> = rusqlite::Result<T>;

fn ids(connection: &Connection, sql: &str, values: [i64; 1]) -> SqlResult<Vec<ItemId>> {
    prepared(connection, sql)?.query_map(values, |row| row.get(0).map(ItemId))?.collect()
}
