//! The statements of the busy path, and the way to those of the quiet one (`people.rs`).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::super::{OrchestratorError, Result};
use super::super::batch::Changed;
use super::super::changes::Wakes;
use super::super::readers::Patience;
use super::super::rows::{Copy, List, ListComments, NewRow, NextItems, Row, Rows, TakenRow, Written};
use super::super::store::{Asked, Upkeep};
use super::super::unreadable::{PassedOver, is_unreadable};
use super::columns::{get, signed, text};
use super::limits::WillAsk;
use super::order::{Ask, Comes};
use super::transaction::KEPT;
use super::{Postgres, claims, counters, fleet, limits, list, order, people, write};
use crate::model::clock::Clock;
use crate::model::content::SpecificContent;
use crate::model::history::{Actors, Recorded};
use crate::model::item::QueueItem;
use crate::model::job::Job;
use crate::model::key::{FolderId, ItemId, ItemKey, JobKey, JobNumber, KeyMaker, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::limits::Starts;
use crate::model::queue::QueueDefinition;
use crate::model::review::{Comment, Person};
use crate::model::robot::Held;
use crate::model::statistics::{Ended, QueueStatistics};
use crate::model::status::Status;

impl Upkeep for Postgres {
    fn was_made(&mut self) -> Result<bool> {
        if self.settled.is_empty() {
            self.settle_late()?;
        }
        Ok(self.settled.pop_front().unwrap_or(true))
    }

    fn has_let_go(&mut self) -> Wakes {
        std::mem::take(&mut self.has_let_go)
    }

    fn is_one_at_a_time(&self) -> bool {
        self.one_at_a_time
    }

    fn is_among_others(&self) -> bool {
        Postgres::is_among_others(self)
    }

    fn is_reachable(&mut self) -> bool {
        self.session.connect().is_ok()
    }

    fn get_ready(&mut self) {
        self.session.let_begin();
    }

    fn kept(&self) -> Option<Duration> {
        self.session.has_begun().then_some(KEPT)
    }

    fn rest(&mut self) -> Wakes {
        self.give_up()
    }

    fn tell(&mut self, changed: Changed) -> bool {
        self.listener.as_ref().map(|(listener, _)| listener.tell(changed)).is_some()
    }

    fn changed_elsewhere(&mut self) -> bool {
        false
    }

    fn look_until(&mut self, patience: Patience) {
        self.list_limit = patience.limit();
    }
}

impl Rows for Postgres {
    const MEETS_OTHERS: bool = true;

    fn waits_for_others(&mut self, failed: &OrchestratorError, tries: u32) -> bool {
        self.pause_for_others(failed, tries)
    }

    fn begin(&mut self, operations: &[Asked], clock: &dyn Clock) -> Result<()> {
        self.begin_for(operations, clock)
    }

    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let began = self.began.as_ref().filter(|_| self.keeps_time);
        began.map_or_else(|| clock.now(), |began| began.at)
    }

    fn leave_work(&mut self, queue: QueueId) {
        self.leaves_work.add(queue);
    }

    fn commit(&mut self) -> Result<()> {
        self.commit_all()
    }

    fn rollback(&mut self) {
        self.undo();
    }

    fn passed_over(&mut self) -> &mut PassedOver {
        &mut self.session.passed_over
    }

    fn begin_reading(&mut self) -> Result<()> {
        self.begin_to_read()
    }

    fn reading_at(&mut self, now: Timestamp) -> Result<Timestamp> {
        if !self.keeps_time {
            return Ok(now);
        }
        let row = self.session.query_opt("SELECT clock_timestamp()", &[])?;
        row.map_or(Ok(now), |row| get(&row, 0))
    }

    fn kept_time(&mut self) -> Result<Option<Timestamp>> {
        fleet::kept_time(&mut self.session)
    }

    fn keep_time(&mut self, believed: Timestamp) -> Result<()> {
        fleet::keep_time(&mut self.session, believed)
    }

    fn keys(&mut self) -> &mut KeyMaker {
        &mut self.keys
    }

    fn next_item_key(&mut self, now: Timestamp) -> Result<ItemKey> {
        Ok(self.keys.item(now))
    }

    fn lock_queues(&mut self) -> Result<()> {
        self.take_queues()
    }

    fn queue_named(&mut self, folder: FolderId, name: &str) -> Result<Option<Arc<QueueDefinition>>> {
        if let Some(queue) = self.foreseen.queue_named(folder, name) {
            return Ok(Some(queue));
        }
        self.keep_queues()?;
        people::queue_named(&mut self.session, folder, name)
    }

    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
        if let Some(queue) = self.foreseen.queue(id) {
            return Ok(Some(queue));
        }
        self.keep_queues()?;
        people::queue(&mut self.session, id)
    }

    fn queues(&mut self) -> Result<Vec<QueueDefinition>> {
        self.keep_queues()?;
        people::queues(&mut self.session)
    }

    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()> {
        people::write_folders(&mut self.session, queue, folders)
    }

    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId> {
        people::insert_queue(&mut self.session, queue)
    }

    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()> {
        people::update_queue(&mut self.session, queue)
    }

    fn delete_queue(&mut self, id: QueueId) -> Result<()> {
        self.session.execute("UPDATE queue SET deleted = true WHERE id = $1", &[&id.0])?;
        self.session.execute("DELETE FROM queue_folder WHERE queue_id = $1", &[&id.0]).map(drop)
    }

    fn statistics(&mut self, queue: QueueId) -> Result<QueueStatistics> {
        match self.counted.take() {
            Some((of, counted)) if of == queue => Ok(counted),
            _ => counters::statistics(&mut self.session, queue),
        }
    }

    fn add_statistics(&mut self, queue: QueueId, delta: &QueueStatistics) -> Result<()> {
        self.counted = None;
        counters::add_statistics(&mut self.session, queue, delta)
    }

    fn starts(&mut self, queue: QueueId) -> Result<Starts> {
        if let Some((_, starts)) = self.started.take_if(|(of, _)| *of == queue) {
            return Ok(starts);
        }
        let questions = self.ask_starts(queue);
        let answers = self.session.ask(&questions)?;
        self.see_starts(queue, &answers)
    }

    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()> {
        limits::write_starts(&mut self.session, queue, starts)
    }

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId> {
        self.offered = None;
        let id = self.next_item()?;
        if let Some(reference) = row.reference.filter(|_| row.state.holds_reference) {
            self.added_references.insert((row.queue, reference.to_owned()));
        }
        let is_ready = self.added.push(id, row);
        self.leaves_work.add(row.queue);
        if row.progress.is_some() {
            let written = Written { progress: row.progress, ..Written::state(row.state, row.now) };
            write::write_all(&mut self.session, id, row.queue, row.state, &written)?;
        }
        if !is_ready {
            let comes = if row.progress.is_some() { Comes::NewWithState } else { Comes::New };
            order::place(&mut self.session, row.queue, id, row.state, row.now, comes)?;
        }
        if self.added.is_full() {
            self.insert_added()?;
        }
        Ok(id)
    }

    fn insert_copy(&mut self, copy: &Copy<'_>) -> Result<ItemId> {
        self.offered = None;
        self.insert_added()?;
        let id = self.next_item()?;
        write::insert_copy(&mut self.session, id, copy)?;
        self.leaves_work.add(copy.queue);
        Ok(id)
    }

    fn row(&mut self, id: ItemId) -> Result<Option<Row>> {
        self.insert_added()?;
        self.find_row(id)
    }

    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        self.insert_added()?;
        self.find_item(id)
    }

    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        self.insert_added()?;
        self.next_to_take(ask)
    }

    fn believed_row(&mut self, id: ItemId) -> Option<Row> {
        self.taken.believed_row(id)
    }

    fn write(&mut self, id: ItemId, before: &Row, written: &Written<'_>) -> Result<bool> {
        self.insert_added()?;
        self.offered = None;
        if written.state.status == Status::New {
            self.leaves_work.add(before.queue);
            self.mark()?;
        }
        let numbers = self.numbers();
        let done = write::write(&mut self.session, id, before.queue, &before.state, written, numbers)?;
        let row = before.after(written);
        match (before.state.status, written.state.status) {
            (Status::InProgress, Status::InProgress) if done => self.taken.changed(id, row),
            (Status::InProgress, _) => self.taken.gone(id, done),
            (_, Status::InProgress) if done => {
                if let Some(holder) = written.state.holder {
                    let claim = self.taken.name(holder.job, 1);
                    claims::name(&mut self.session, holder.job, claim, id)?;
                    self.taken.took(id, row, claim);
                }
            }
            _ => {}
        }
        Ok(done)
    }

    fn write_taken(&mut self, queue: QueueId, taken: &[TakenRow], _now: Timestamp) -> Result<()> {
        if taken.is_empty() {
            return Ok(());
        }
        let claims = write::write_taken(&mut self.session, queue, taken, &self.places, &mut self.taken)?;
        for (taken, claim) in taken.iter().zip(claims) {
            let actors = Actors { taken_by: taken.taker.user, ..Actors::default() };
            self.taken.took(taken.id, Row { queue, state: taken.after, actors }, claim);
        }
        Ok(())
    }

    fn will_ask(&mut self, next: &NextItems<'_>, limited: bool) {
        self.will_ask = Some(WillAsk { ask: Ask::of(next), now: next.now, limited });
    }

    fn write_ended(&mut self, ended: &[(ItemId, QueueId, &ItemState, Written<'_>)]) -> Result<Vec<bool>> {
        self.insert_added()?;
        let written = match self.will_ask.take() {
            None => write::write_ended(&mut self.session, ended, &[])?.0,
            Some(will_ask) => self.write_ended_and_ask(ended, will_ask)?,
        };
        for ((id, ..), written) in ended.iter().zip(&written) {
            self.taken.gone(*id, *written);
        }
        Ok(written)
    }

    fn set_content(&mut self, id: ItemId, content: &SpecificContent) -> Result<()> {
        self.insert_added()?;
        self.session.later("UPDATE item SET content = $2 WHERE id = $1", &[&id.0, &content.as_json()])
    }

    fn record(&mut self, id: ItemId, event: &Recorded) -> Result<()> {
        self.record_event(id, event)
    }

    fn recorded(&mut self, id: ItemId) -> Result<Vec<Recorded>> {
        self.recorded_events(id)
    }

    fn holds_reference(&mut self, queue: QueueId, reference: &str) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM item WHERE queue_id = $1 AND reference = $2 AND holds_reference";
        if self.added_references.contains(&(queue, reference.to_owned())) {
            return Ok(true);
        }
        if !self.references.contains(&queue) {
            self.lock_alone(&format!("references/{}", queue.0))?;
            self.references.push(queue);
        }
        Ok(self.session.query_opt(SQL, &[&queue.0, &reference])?.is_some())
    }

    fn chain(&mut self, id: ItemId) -> Result<Vec<ItemId>> {
        const SQL: &str = "WITH first AS (SELECT coalesce(root_id, id) AS id FROM item WHERE id = $1) \
                           SELECT id FROM first UNION ALL \
                           SELECT item.id FROM item JOIN first ON item.root_id = first.id ORDER BY 1";
        self.insert_added()?;
        self.ids(SQL, id.0)
    }

    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>> {
        claims::held_items(&mut self.session, job)
    }

    fn held_by(&mut self, job: JobNumber) -> Result<Vec<ItemId>> {
        claims::held_by(&mut self.session, job)
    }

    fn in_progress_since_before(&mut self, before: Timestamp) -> Result<Vec<ItemId>> {
        claims::held_since_before(&mut self.session, before)
    }

    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>> {
        self.insert_added()?;
        list::with_key(&mut self.session, key)
    }

    fn list(&mut self, ask: &List<'_>) -> Result<(Vec<QueueItem>, Option<u64>)> {
        let (ids, count) = list::list(&mut self.session, ask)?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            match self.find_item(id) {
                Ok(found) => items.extend(found),
                Err(error) if is_unreadable(&error) => self.session.passed_over.report(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok((items, count))
    }

    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>> {
        list::ended_since(&mut self.session, queue, since)
    }

    fn directory(&mut self, known: u64) -> Result<Option<(u64, String)>> {
        if self.writes {
            self.lock_alone("directory")?;
        }
        const SQL: &str = "SELECT version, text FROM directory WHERE version <> $1";
        let row = self.session.query_opt(SQL, &[&signed(known)])?;
        row.map(|row| Ok((get::<i64>(&row, 0)?.unsigned_abs(), get(&row, 1)?))).transpose()
    }

    fn write_directory(&mut self, version: u64, directory: &str) -> Result<()> {
        const SQL: &str = "INSERT INTO directory (id, version, text) VALUES (1, $1, $2) \
                           ON CONFLICT (id) DO UPDATE SET version = $1, text = $2";
        self.session.execute(SQL, &[&signed(version), &text(directory)]).map(drop)
    }

    fn roots_created_before(
        &mut self,
        queue: QueueId,
        before: Timestamp,
        after: ItemId,
        limit: usize,
    ) -> Result<Vec<ItemId>> {
        self.insert_added()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        list::roots_created_before(&mut self.session, queue, before, after, limit)
    }

    fn remove_item(&mut self, id: ItemId) -> Result<()> {
        self.offered = None;
        if let Some(row) = self.row(id)? {
            order::displace(&mut self.session, row.queue, id, &row.state)?;
        }
        people::remove_item(&mut self.session, id)
    }

    fn insert_comment(
        &mut self,
        id: ItemId,
        author: &Person,
        comment: &str,
        now: Timestamp,
    ) -> Result<Comment> {
        people::insert_comment(&mut self.session, id, author, comment, now)
    }

    fn comment(&mut self, comment: i64) -> Result<Option<Comment>> {
        people::comment(&mut self.session, comment)
    }

    fn write_comment(&mut self, comment: i64, new: Option<&str>) -> Result<()> {
        people::write_comment(&mut self.session, comment, new)
    }

    fn list_comments(&mut self, ask: &ListComments<'_>) -> Result<Vec<Comment>> {
        people::list_comments(&mut self.session, ask)
    }

    fn insert_job(&mut self, job: &Job, _of_this_process: bool) -> Result<()> {
        self.foreseen.forget_jobs();
        fleet::insert_job(&mut self.session, job)
    }

    fn job(&mut self, key: JobKey) -> Result<Option<Job>> {
        fleet::job(&mut self.session, key, self.writes)
    }

    fn taking_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        if let Some(job) = self.foreseen.job(key) {
            return Ok(Some(job));
        }
        self.share(&fleet::lock_of(key))?;
        fleet::job(&mut self.session, key, false)
    }

    fn ending_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.lock_alone(&fleet::lock_of(key))?;
        self.job(key)
    }

    fn write_job(&mut self, job: &Job) -> Result<()> {
        self.foreseen.forget_jobs();
        if job.end_time.is_some() {
            self.taken.job_ended(job.key.number());
        }
        fleet::write_job(&mut self.session, job)
    }

    fn live_jobs(&mut self) -> Result<Vec<Job>> {
        fleet::live_jobs(&mut self.session)
    }

    fn jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
        fleet::jobs(&mut self.session, folder, i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// Nobody knows of the processes of other machines: the lease tells.
    fn process_is_gone(&mut self, _job: JobKey) -> bool {
        false
    }
}
