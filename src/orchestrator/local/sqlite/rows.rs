//! The statements of the busy path, and the way to those of the quiet one (`people.rs`).

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::super::Result;
use super::super::readers::Patience;
use super::super::rows::{Copy, List, ListComments, NewRow, NextItems, Row, Rows, TakenRow, Written};
use super::super::store::{Asked, Upkeep};
use super::super::unreadable::{PassedOver, is_unreadable};
use super::columns::{
    self, actor_columns, item_columns, item_joins, micros, numbered, state_columns, state_joins, time,
};
use super::write::{in_row, insert_copy, insert_item, write, write_ended, write_large_content, write_taken};
use super::{Sqlite, error, fleet, list, order, people, prepared, row_count};
use crate::crash_point::crash_point;
use crate::model::clock::Clock;
use crate::model::content::SpecificContent;
use crate::model::exception::{ExceptionType, ProcessingException};
use crate::model::history::{Actors, EventAction, Recorded};
use crate::model::item::QueueItem;
use crate::model::job::Job;
use crate::model::key::{FolderId, ItemId, ItemKey, JobKey, JobNumber, KeyMaker, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::limits::Starts;
use crate::model::queue::QueueDefinition;
use crate::model::review::{Comment, Person};
use crate::model::robot::Held;
use crate::model::selection::is_deferred;
use crate::model::statistics::{Ended, QueueStatistics};
use crate::model::status::{ReviewStatus, Status};
use rusqlite::types::Type;

/// How many steps SQLite makes before it looks again whether somebody still waits for the answer: a millisecond or less.
const STEPS_BETWEEN_LOOKS: i32 = 20_000;

impl Upkeep for Sqlite {
    fn look_until(&mut self, patience: Patience) {
        // Without it a list is made to its end, which is no error.
        let asked = self.connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || patience.is_over()));
        if let Err(error) = asked {
            tracing::debug!(%error, "a query cannot be given up");
        }
    }

    fn changed_elsewhere(&mut self) -> bool {
        let version = self.run(|c| prepared(c, "PRAGMA data_version")?.query_row([], |row| row.get(0)));
        let version = version.unwrap_or(self.data_version);
        std::mem::replace(&mut self.data_version, version) != version
    }
}

impl Rows for Sqlite {
    fn begin(&mut self, _operations: &[Asked], _clock: &dyn Clock) -> Result<()> {
        self.reopen_if_broken()?;
        if !self.connection.is_autocommit() {
            self.rollback(); // a transaction that ended in a panic
        }
        if std::mem::replace(&mut self.uncommitted, true) {
            self.taken.clear(); // what is remembered of a transaction that was undone never was
        }
        (self.last_written, self.last_item, self.run, self.found_first) = (None, None, None, None);
        (self.new_jobs, self.ended_jobs) = (Vec::new(), Vec::new());
        // IMMEDIATE: a transaction that begins by reading could fail when it comes to write.
        self.run(|c| prepared(c, "BEGIN IMMEDIATE")?.execute([]).map(drop))
    }

    fn commit(&mut self) -> Result<()> {
        self.enter_added()?;
        if let Some((last, true)) = self.last_item {
            let key = self.keys.last_item().to_bytes();
            let sql = "UPDATE last_item SET id = ?1, key = ?2";
            self.run(|c| prepared(c, sql)?.execute(params![last, key]).map(drop))?;
        }
        let committed = prepared(&self.connection, "COMMIT").and_then(|mut commit| commit.execute([]));
        let Err(error) = committed else {
            // Lock files go now, not before: were the process killed in between, nobody could tell that a job is gone.
            self.committed();
            return Ok(());
        };
        if !error::breaks_the_connection(&error) {
            return Err(error::explain(error, &self.path));
        }
        // The disk failed while the commit was under way. Nobody knows what of it is there but the file itself:
        // opened again, it has the last row that was written, or has not.
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
            // A new item that is not there, or somebody has been at the row since then: who knows.
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

    fn passed_over(&mut self) -> &mut PassedOver {
        &mut self.passed_over
    }

    fn begin_reading(&mut self) -> Result<()> {
        self.reopen_if_broken()?;
        if !self.connection.is_autocommit() {
            self.rollback(); // a query that ended in a panic
        }
        self.run(|c| prepared(c, "BEGIN DEFERRED")?.execute([]).map(drop))
    }

    fn kept_time(&mut self) -> Result<Option<Timestamp>> {
        self.run(fleet::kept_time)
    }

    fn keep_time(&mut self, believed: Timestamp) -> Result<()> {
        self.run(|c| fleet::keep_time(c, believed))
    }

    fn keys(&mut self) -> &mut KeyMaker {
        &mut self.keys
    }

    fn next_item_key(&mut self, now: Timestamp) -> Result<ItemKey> {
        self.last_item()?;
        Ok(self.keys.item(now))
    }

    fn queue_named(&mut self, folder: FolderId, name: &str) -> Result<Option<Arc<QueueDefinition>>> {
        self.run(|c| people::queue_named(c, folder, name))
    }

    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
        self.run(|c| people::queue(c, id))
    }

    fn queues(&mut self) -> Result<Vec<QueueDefinition>> {
        self.run(people::queues)
    }

    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId> {
        self.run(|c| people::insert_queue(c, queue))
    }

    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()> {
        self.run(|c| people::update_queue(c, queue))
    }

    fn delete_queue(&mut self, id: QueueId) -> Result<()> {
        self.run(|c| {
            prepared(c, "UPDATE queue SET deleted = 1 WHERE id = ?1")?.execute([id.0])?;
            prepared(c, "DELETE FROM queue_folder WHERE queue_id = ?1")?.execute([id.0]).map(drop)
        })
    }

    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()> {
        self.run(|c| people::write_folders(c, queue, folders))
    }

    fn statistics(&mut self, queue: QueueId) -> Result<QueueStatistics> {
        self.run(|c| people::statistics(c, queue))
    }

    fn add_statistics(&mut self, queue: QueueId, delta: &QueueStatistics) -> Result<()> {
        self.run(|c| people::add_statistics(c, queue, delta))
    }

    fn starts(&mut self, queue: QueueId) -> Result<Starts> {
        self.run(|c| fleet::starts(c, queue))
    }

    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()> {
        self.run(|c| fleet::write_starts(c, queue, starts))
    }

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId> {
        let id = self.next_item()?;
        self.run(|c| insert_item(c, id, row))?;
        self.last_written = Some((id, *row.state));
        let touched = row.progress.is_some();
        if touched || is_deferred(row.state, row.now) {
            return self.run(|c| order::place(c, row.queue, id, row.state, row.now, touched)).map(|()| id);
        }
        let next = order::Run::new(row.queue, id, row.state);
        if !self.run.as_mut().is_some_and(|run| run.extend(&next)) {
            self.enter_added()?;
            self.run = Some(next);
        }
        Ok(id)
    }

    fn insert_copy(&mut self, copy: &Copy<'_>) -> Result<ItemId> {
        let id = self.next_item()?;
        self.run(|c| insert_copy(c, id, copy))?;
        Ok(id)
    }

    fn row(&mut self, id: ItemId) -> Result<Option<Row>> {
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
                Ok(Row { queue, state, actors: columns::actors(row)? })
            };
            prepared(c, SQL)?.query_row([id.0], read).optional()
        })
    }

    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        self.run(|c| item(c, id))
    }

    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        self.enter_added()?;
        let found = self.run(|c| order::next_items(c, ask))?;
        self.found_first = found.first.then_some(found.items.len());
        for (id, error) in found.unreadable {
            self.passed_over.report(id, &error);
        }
        Ok(found.items)
    }

    fn believed_row(&mut self, id: ItemId) -> Option<Row> {
        self.taken.remove(&id)
    }

    fn write(&mut self, id: ItemId, before: &Row, written: &Written<'_>) -> Result<bool> {
        self.last_written = Some((id, *written.state));
        if before.state.status == Status::New {
            self.enter_added()?;
        }
        if written.state.status == Status::InProgress {
            self.remember(id, before.after(written));
        }
        self.run(|c| write(c, id, before.queue, &before.state, written))
    }

    fn write_taken(&mut self, queue: QueueId, taken: &[TakenRow], _now: Timestamp) -> Result<()> {
        let Some(last) = taken.last() else { return Ok(()) };
        let written = self.run(|c| write_taken(c, queue, taken))?;
        assert_eq!(written, taken.len(), "the items were read in this transaction");
        crash_point!("claim.after_update");
        if self.found_first.take() == Some(taken.len()) {
            let displaced = self.run(|c| order::displace_first(c, queue, last.id, &last.before))?;
            assert_eq!(displaced, taken.len(), "the first of the queue were taken, and no other");
        } else {
            for row in taken {
                self.run(|c| order::displace(c, queue, row.id, &row.before))?;
            }
        }
        self.last_written = Some((last.id, last.after));
        for row in taken {
            let actors = Actors { taken_by: row.taker.user, ..Actors::default() };
            self.remember(row.id, Row { queue, state: row.after, actors });
        }
        Ok(())
    }

    fn write_ended(&mut self, ended: &[(ItemId, QueueId, &ItemState, Written<'_>)]) -> Result<Vec<bool>> {
        if let Some((id, _, _, written)) = ended.last() {
            self.last_written = Some((*id, *written.state));
        }
        self.run(|c| write_ended(c, ended))
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
        const SQL: &str = "INSERT INTO item_event (item_id, version, at, action, status, review_status, user_id) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let Recorded { version, at, action, status, review_status, user_id } = event;
        let numbers = (action.number(), status.number(), review_status.number());
        self.run(|c| {
            let values = params![id.0, version, micros(*at), numbers.0, numbers.1, numbers.2, user_id];
            prepared(c, SQL)?.execute(values).map(drop)
        })
    }

    fn recorded(&mut self, id: ItemId) -> Result<Vec<Recorded>> {
        const SQL: &str = "SELECT version, at, action, status, review_status, user_id FROM item_event \
                           WHERE item_id = ?1 ORDER BY version";
        self.run(|c| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Recorded {
                    version: row.get(0)?,
                    at: time(row, 1)?,
                    action: numbered!(row, 2, EventAction)?,
                    status: numbered!(row, 3, Status)?,
                    review_status: numbered!(row, 4, ReviewStatus)?,
                    user_id: row.get(5)?,
                })
            };
            prepared(c, SQL)?.query_map([id.0], read)?.collect()
        })
    }

    fn holds_reference(&mut self, queue: QueueId, reference: &str) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM item WHERE queue_id = ?1 AND reference = ?2 AND holds_reference = 1";
        self.run(|c| prepared(c, SQL)?.exists(params![queue.0, reference]))
    }

    fn chain(&mut self, id: ItemId) -> Result<Vec<ItemId>> {
        const SQL: &str = "WITH first AS (SELECT coalesce(root_id, id) AS id FROM item WHERE id = ?1) \
                           SELECT id FROM first UNION ALL \
                           SELECT item.id FROM item JOIN first ON item.root_id = first.id ORDER BY 1";
        self.run(|c| ids(c, SQL, [id.0]))
    }

    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>> {
        self.run(|c| fleet::held_items(c, job))
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
        // Over what is held, however large the table: without a hint SQLite walks the table for the sake of the order.
        const SQL: &str =
            "SELECT item_id FROM item_state INDEXED BY item_held WHERE status = 1 AND start_processing < ?1";
        self.run(|c| ids(c, SQL, [micros(before)]))
    }

    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>> {
        self.run(|c| list::with_key(c, key))
    }

    fn list(&mut self, ask: &List<'_>) -> Result<(Vec<QueueItem>, Option<u64>)> {
        let (ids, count) = self.run(|c| list::list(c, ask))?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            match self.item(id) {
                Ok(found) => items.extend(found),
                Err(error) if is_unreadable(&error) => self.passed_over.report(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok((items, count))
    }

    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>> {
        self.run(|c| list::ended_since(c, queue, since))
    }

    fn directory(&mut self, known: u64) -> Result<Option<(u64, String)>> {
        const SQL: &str = "SELECT version, text FROM directory WHERE version <> ?1";
        self.run(|c| prepared(c, SQL)?.query_row([known], |row| Ok((row.get(0)?, row.get(1)?))).optional())
    }

    fn write_directory(&mut self, version: u64, text: &str) -> Result<()> {
        const SQL: &str = "INSERT INTO directory (id, version, text) VALUES (1, ?1, ?2) \
                           ON CONFLICT (id) DO UPDATE SET version = ?1, text = ?2";
        self.run(|c| prepared(c, SQL)?.execute(params![version, text]).map(drop))
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
        self.enter_added()?;
        if let Some(row) = self.row(id)? {
            self.run(|c| order::displace(c, row.queue, id, &row.state))?;
        }
        self.run(|c| people::remove_item(c, id))
    }

    fn insert_comment(&mut self, id: ItemId, author: &Person, text: &str, now: Timestamp) -> Result<Comment> {
        self.run(|c| people::insert_comment(c, id, author, text, now))
    }

    fn comment(&mut self, comment: i64) -> Result<Option<Comment>> {
        self.run(|c| people::comment(c, comment))
    }

    fn write_comment(&mut self, comment: i64, text: Option<&str>) -> Result<()> {
        self.run(|c| people::write_comment(c, comment, text))
    }

    fn list_comments(&mut self, ask: &ListComments<'_>) -> Result<Vec<Comment>> {
        self.run(|c| people::list_comments(c, ask))
    }

    fn insert_job(&mut self, job: &Job, of_this_process: bool) -> Result<()> {
        if of_this_process {
            self.locks.hold(job.key);
            self.new_jobs.push(job.key);
        }
        self.run(|c| fleet::insert_job(c, job))
    }

    fn job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.run(|c| fleet::job(c, key))
    }

    fn write_job(&mut self, job: &Job) -> Result<()> {
        self.run(|c| fleet::write_job(c, job))?;
        if job.state.is_final() {
            self.ended_jobs.push(job.key);
        }
        Ok(())
    }

    fn live_jobs(&mut self) -> Result<Vec<Job>> {
        self.run(fleet::live_jobs)
    }

    fn jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
        self.run(|c| fleet::jobs(c, folder, row_count(limit)))
    }

    fn process_is_gone(&mut self, job: JobKey) -> bool {
        self.locks.is_gone(job)
    }
}

type Sql<T> = rusqlite::Result<T>;

fn ids(connection: &Connection, sql: &str, values: [i64; 1]) -> Sql<Vec<ItemId>> {
    prepared(connection, sql)?.query_map(values, |row| row.get(0).map(ItemId))?.collect()
}

fn item(connection: &Connection, id: ItemId) -> Sql<Option<QueueItem>> {
    const SQL: &str = concat!(
        "SELECT ",
        item_columns!(),
        " FROM item",
        item_joins!("item.id"),
        " WHERE item.id = ?1 AND EXISTS (SELECT 1 FROM queue WHERE queue.id = item.queue_id AND queue.deleted = 0)"
    );
    let found = prepared(connection, SQL)?.query_row([id.0], columns::item).optional()?;
    let Some((state, mut item)) = found else { return Ok(None) };
    if state.outcome.is_some() {
        item.processing_exception = exception(connection, id)?;
    }
    if let Some(holder) = state.holder.filter(|holder| holder.job != JobKey::CALLER.number()) {
        let job = prepared(connection, "SELECT key FROM job WHERE number = ?1")?
            .query_row([holder.job.0], |row| row.get(0).map(JobKey::from_bytes));
        item.executor_job = job.optional()?;
    }
    Ok(Some(*item))
}

fn exception(connection: &Connection, id: ItemId) -> Sql<Option<ProcessingException>> {
    const SQL: &str = "SELECT exception_type, reason, details, image_path, creation_time FROM item_exception WHERE item_id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let kind = numbered!(row, 0, ExceptionType)?;
        let record = ProcessingException::new(kind, row.get::<_, String>(1)?, time(row, 4)?);
        Ok(record.details(row.get(2)?).image(row.get(3)?))
    };
    prepared(connection, SQL)?.query_row([id.0], read).optional()
}
