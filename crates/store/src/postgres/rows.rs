//! `Rows` for PostgreSQL. The statements are in the files beside this one.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::backend::{Request, WriterHooks};
use super::super::group_commit::ChangeCallback;
use super::super::jobs::JobFilter;
use super::super::readers::QueryDeadline;
use super::super::rows::{
    ClaimLoad, ClaimedRow, ItemRow, ListRequest, NewRow, NextItems, RetryCopy, Rows, StateUpdate,
};
use super::super::sql::dialect::Dialect as _;
use super::super::sql::list::is_for_review;
use super::super::sql::{self, review};
use super::super::unreadable_rows::SkippedRows;
use super::columns::get;
use super::ready_items::EntryKind;
use super::{
    Postgres, bulk_write, claim_rows, counters, jobs, list, queue_limits, queues, ready_items, write,
};
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
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::model::status::Status;
use performer_core::orchestrator::{OrchestratorError, Result};

/// The next transaction searches late if one claim came later for so many that this one began with. Fewer would not be worth the
/// round trip; a threshold of as many went back and forth.
const SEARCH_LATE_IF: usize = 4;

impl WriterHooks for Postgres {
    fn was_committed(&mut self) -> Result<bool> {
        if self.resolved_commits.is_empty() {
            self.resolve_earlier_commit()?;
        }
        Ok(self.resolved_commits.pop_front().unwrap_or(true))
    }

    fn is_serialized(&self) -> bool {
        self.serialized
    }

    fn has_other_writers(&self) -> bool {
        Postgres::has_other_writers(self)
    }

    fn is_reachable(&mut self) -> bool {
        self.session.connect().is_ok()
    }

    fn on_external_change(&mut self, callback: ChangeCallback) -> bool {
        self.listener.as_ref().map(|(listener, _)| listener.set_callback(callback)).is_some()
    }

    fn has_external_change(&mut self) -> bool {
        false
    }

    fn set_query_deadline(&mut self, deadline: QueryDeadline) {
        self.list_limit = deadline.limit();
    }
}

impl Rows for Postgres {
    const CAN_CONFLICT: bool = true;

    fn wait_after_conflict(&mut self, failed: &OrchestratorError, tries: u32) -> bool {
        self.pause_after_conflict(failed, tries)
    }

    fn begin(&mut self, operations: &[Request], clock: &dyn Clock) -> Result<()> {
        self.begin_for(operations, clock)
    }

    /// As much as needs no other search for items.
    fn may_join(&self, wanted: usize) -> usize {
        match &self.prefetched_items {
            _ if self.session.is_callers() => usize::MAX,
            Some(found) => found.room(wanted),
            None if wanted == usize::MAX => 0,
            None => usize::MAX,
        }
    }

    /// Claims that come while a transaction is begun can join it if it has not searched yet; otherwise they are a transaction of
    /// their own. A search of its own for all of them costs one round trip, and saves a commit if there are enough of them.
    fn note_claim_load(&mut self, load: &ClaimLoad) {
        if let Some(begun_with @ 1..) = load.begun_with {
            self.searches_late = load.came_later().saturating_mul(SEARCH_LATE_IF) >= begun_with;
        }
    }

    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let began = self.began.as_ref().filter(|_| self.keeps_time);
        began.map_or_else(|| clock.now(), |began| began.at)
    }

    fn note_claimable(&mut self, queue: QueueId) {
        self.claimable_queues.add(queue);
    }

    fn note_none_left(&mut self, queue: QueueId) {
        self.claimable_queues.remove(queue);
    }

    fn commit(&mut self) -> Result<()> {
        self.commit_all()
    }

    fn rollback(&mut self) {
        self.undo();
    }

    fn skipped_rows(&mut self) -> &mut SkippedRows {
        &mut self.session.skipped_rows
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
        sql::jobs::kept_time(self)
    }

    fn keep_time(&mut self, believed: Timestamp) -> Result<()> {
        sql::jobs::keep_time(self, believed)
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
        if let Some(queue) = self.loaded.queue_named(folder, name) {
            return Ok(Some(queue));
        }
        self.keep_queues()?;
        let lock = queues::kept_in_caller_transaction(&self.session);
        sql::queues::named(self, folder, name, lock)
    }

    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
        if let Some(queue) = self.loaded.queue(id) {
            return Ok(Some(queue));
        }
        self.keep_queues()?;
        let lock = queues::kept_in_caller_transaction(&self.session);
        sql::queues::one(self, id, lock)
    }

    fn queues(&mut self) -> Result<Vec<QueueDefinition>> {
        self.keep_queues()?;
        sql::queues::all(self)
    }

    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()> {
        sql::queues::write_folders(self, queue.id, &queue.name, folders)
    }

    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId> {
        sql::queues::insert(self, queue)
    }

    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()> {
        sql::queues::update(self, queue)
    }

    fn delete_queue(&mut self, id: QueueId) -> Result<()> {
        sql::queues::delete(self, id)
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

    fn starts(&mut self, queue: QueueId, next: Option<&NextItems<'_>>) -> Result<Starts> {
        if let Some(next) = next.filter(|next| next.reference.is_none()) {
            return self.starts_and_items(queue, next);
        }
        let queries = self.starts_query(queue);
        let answers = self.session.ask(&queries)?;
        self.see_starts(queue, &answers)
    }

    fn recent_starts(&mut self, queue: QueueId) -> Result<Starts> {
        let row = self.session.query_opt(queue_limits::LAST, &[&queue.0])?;
        row.map_or_else(|| Ok(Starts::default()), |row| queue_limits::read_starts(&row))
    }

    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()> {
        queue_limits::write_starts(&mut self.session, queue, starts)
    }

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId> {
        let id = self.next_item()?;
        self.begins_to_wait(id, row.state);
        if let Some(reference) = row.reference.filter(|_| row.state.holds_reference) {
            self.added_references.insert((row.queue, reference.to_owned()));
        }
        let is_ready = self.bulk_insert.push(id, row);
        self.claimable_queues.add(row.queue);
        if row.progress.is_some() {
            let written = StateUpdate { progress: row.progress, ..StateUpdate::state(row.state, row.now) };
            write::write_all(&mut self.session, id, row.queue, row.state, &written)?;
        }
        if !is_ready {
            let entry = if row.progress.is_some() { EntryKind::NewWithState } else { EntryKind::New };
            ready_items::insert_waiting(&mut self.session, row.queue, id, row.state, row.now, entry)?;
        }
        if self.bulk_insert.is_full() {
            self.flush_bulk_insert()?;
        }
        Ok(id)
    }

    fn insert_copy(&mut self, copy: &RetryCopy<'_>) -> Result<ItemId> {
        self.flush_bulk_insert()?;
        let id = self.next_item()?;
        self.begins_to_wait(id, copy.state);
        self.claimable_queues.add(copy.queue);
        self.session.collect(|collected| collected.copy(id, copy))?;
        Ok(id)
    }

    fn row(&mut self, id: ItemId) -> Result<Option<ItemRow>> {
        self.flush_bulk_insert()?;
        self.find_row(id)
    }

    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        self.flush_bulk_insert()?;
        self.find_item(id)
    }

    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        self.flush_bulk_insert()?;
        self.next_to_take(ask)
    }

    fn cached_row(&mut self, id: ItemId) -> Option<ItemRow> {
        self.claim_cache.cached_row(id)
    }

    fn write(&mut self, id: ItemId, before: &ItemRow, written: &StateUpdate<'_>) -> Result<bool> {
        self.flush_bulk_insert()?;
        if before.state.status == Status::New {
            self.prefetched_items = None; // one of them is claimed, or changed
        }
        if bulk_write::is_collected(before.state.status, written.state.status) {
            let item = (id, before.queue);
            return self
                .session
                .collect(|collected| collected.state(item, &before.state, written))
                .map(|()| true);
        }
        if written.state.status == Status::New {
            self.begins_to_wait(id, written.state);
            self.claimable_queues.add(before.queue);
            self.mark()?;
        }
        let numbers = self.numbers();
        let done = write::write(&mut self.session, id, before.queue, &before.state, written, numbers)?;
        if done {
            review::update_row(self, (id, before.queue), before.state.status, written.state.status)?;
        }
        let row = before.after(written);
        match (before.state.status, written.state.status) {
            (Status::InProgress, Status::InProgress) if done => self.claim_cache.changed(id, row),
            (Status::InProgress, _) => self.claim_cache.gone(id, done),
            (_, Status::InProgress) if done => {
                if let Some(holder) = written.state.holder {
                    let claim = self.claim_cache.new_claim_row(holder.job, 1);
                    claim_rows::insert(&mut self.session, holder.job, claim, id)?;
                    self.claim_cache.claimed(id, row, claim);
                }
            }
            _ => {}
        }
        Ok(done)
    }

    fn write_claimed(&mut self, queue: QueueId, claimed: &[ClaimedRow], _now: Timestamp) -> Result<()> {
        if claimed.is_empty() {
            return Ok(());
        }
        let claims =
            write::write_claimed(&mut self.session, queue, claimed, &self.places, &mut self.claim_cache)?;
        for (claimed, claim) in claimed.iter().zip(claims) {
            let actors = Actors { taken_by: claimed.claimant.user, ..Actors::default() };
            self.claim_cache.claimed(claimed.id, ItemRow { queue, state: claimed.after, actors }, claim);
        }
        Ok(())
    }

    fn write_ended(&mut self, ended: &[(ItemId, QueueId, &ItemState, StateUpdate<'_>)]) -> Result<Vec<bool>> {
        write::enqueue_ended(&mut self.session, ended)?;
        // They were in progress, so none of them has a row yet.
        let for_review = ended.iter().filter(|(.., written)| is_for_review(written.state.status));
        let for_review: Vec<i64> = for_review.map(|(id, ..)| id.0).collect();
        if !for_review.is_empty() {
            self.session.enqueue(&review::insertion::<Self>("= ANY ($1)"), &[&for_review])?;
        }
        ended.iter().for_each(|(id, ..)| self.claim_cache.gone(*id, true));
        Ok(vec![true; ended.len()])
    }

    fn set_content(&mut self, id: ItemId, content: &SpecificContent) -> Result<()> {
        self.flush_bulk_insert()?;
        self.session.collect(|collected| collected.content(id, content.as_json()))
    }

    fn record(&mut self, id: ItemId, event: &Recorded) -> Result<()> {
        self.session.collect(|collected| collected.event(id, event))
    }

    fn recorded(&mut self, id: ItemId) -> Result<Vec<Recorded>> {
        sql::items::recorded(self, id)
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
        sql::items::chain(self, id)
    }

    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>> {
        claim_rows::held_items(&mut self.session, job)
    }

    fn held_by(&mut self, job: JobNumber) -> Result<Vec<ItemId>> {
        claim_rows::held_by(&mut self.session, job)
    }

    fn in_progress_since_before(&mut self, before: Timestamp) -> Result<Vec<ItemId>> {
        claim_rows::held_since_before(&mut self.session, before)
    }

    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>> {
        self.flush_bulk_insert()?;
        list::with_key(&mut self.session, key)
    }

    fn list(&mut self, ask: &ListRequest<'_>) -> Result<(Vec<QueueItem>, Option<u64>)> {
        let (ids, count) = sql::list::list(self, ask)?;
        Ok((self.find_items(&ids)?, count))
    }

    fn list_ids(&mut self, ask: &ListRequest<'_>) -> Result<Vec<ItemId>> {
        Ok(sql::list::list(self, ask)?.0)
    }

    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>> {
        list::ended_since(&mut self.session, queue, since)
    }

    fn document(&mut self, known: u64) -> Result<Option<(u64, String)>> {
        if self.writes {
            self.lock_alone("directory")?;
        }
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
        self.flush_bulk_insert()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        list::roots_created_before(&mut self.session, queue, before, after, limit)
    }

    fn remove_item(&mut self, id: ItemId) -> Result<()> {
        self.prefetched_items = None;
        if let Some(row) = self.row(id)? {
            ready_items::remove_waiting(&mut self.session, row.queue, id, &row.state)?;
        }
        review::remove_row(self, id)?;
        sql::items::remove(self, &[id])
    }

    fn insert_job(&mut self, job: &Job, _of_this_process: bool) -> Result<()> {
        self.loaded.forget_jobs();
        sql::jobs::insert(self, job, None)
    }

    fn job(&mut self, key: JobKey) -> Result<Option<Job>> {
        let lock = if self.writes { Self::FOR_UPDATE } else { "" };
        sql::jobs::one(self, key, lock)
    }

    fn claiming_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        if let Some(job) = self.loaded.job(key) {
            return Ok(Some(job));
        }
        self.share(&jobs::lock_of(key))?;
        sql::jobs::one(self, key, "")
    }

    fn ending_job(&mut self, key: JobKey) -> Result<Option<Job>> {
        self.lock_alone(&jobs::lock_of(key))?;
        self.job(key)
    }

    fn write_job(&mut self, job: &Job) -> Result<()> {
        self.loaded.forget_jobs();
        if job.end_time.is_some() {
            self.claim_cache.job_ended(job.key.number());
        }
        sql::jobs::write(self, job)
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

    /// The processes of other machines are not known: the lease decides.
    fn process_is_gone(&mut self, _job: JobKey) -> bool {
        false
    }
}
