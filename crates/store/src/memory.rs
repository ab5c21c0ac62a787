//! Queues in memory: for tests, for simulations, and for work that may be lost.

mod alerts;
mod assets;
mod audit;
mod buckets;
mod comments;
mod deadlines;
mod figures;
mod fleet;
mod groups;
mod item;
mod list;
mod logs;
mod operations;
mod queue;
mod ready_items;
mod reasons;
mod removal;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;
mod views;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;

use self::item::{StoredItem, to_queue_item};
use self::queue::StoredQueue;
use self::ready_items::Indexes;
use super::audit::AuditRow;
use super::backend::{Request, WriterHooks};
use super::jobs::JobFilter;
use super::rows::{ItemRow, ListRequest, NewRow, NextItems, RetryCopy, Rows, StateUpdate};
use super::tokens::Token;
use super::unreadable_rows::SkippedRows;
use performer_core::model::clock::Clock;
use performer_core::model::content::SpecificContent;
use performer_core::model::history::Recorded;
use performer_core::model::item::QueueItem;
use performer_core::model::job::{Job, JobState};
use performer_core::model::key::{FolderId, ItemId, ItemKey, JobId, JobKey, JobNumber, KeyMaker, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::limits::Starts;
use performer_core::model::queue::{QueueDefinition, folded};
use performer_core::model::reason::Reason;
use performer_core::model::review::Comment;
use performer_core::model::robot::Held;
use performer_core::model::selection::is_eligible;
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// All state in sorted maps, so that the same calls give the same answers in the same order.
pub(crate) struct Memory {
    keys: KeyMaker,
    queues: BTreeMap<QueueId, StoredQueue>,
    items: BTreeMap<ItemId, StoredItem>,
    held: BTreeSet<(JobNumber, ItemId)>,
    references: BTreeMap<(QueueId, Arc<str>), ItemId>,
    comments: BTreeMap<i64, Comment>,
    jobs: BTreeMap<JobKey, Job>,
    /// Deleted queues whose items are to be removed, and the last item that was scanned.
    removals: BTreeMap<QueueId, ItemId>,
    tokens: BTreeMap<String, Token>,
    reasons: BTreeMap<i64, Reason>,
    /// By number.
    audit: Vec<AuditRow>,
    figures: figures::StoredFigures,
    operations: operations::StoredOperations,
    views: views::StoredViews,
    assets: assets::StoredAssets,
    webhooks: webhooks::StoredWebhooks,
    alerts: alerts::StoredAlerts,
    buckets: buckets::StoredBuckets,
    fleet: fleet::StoredFleet,
    tasks: tasks::StoredTasks,
    document: Option<(u64, String)>,
    last_queue: i64,
    last_item: i64,
    last_comment: i64,
    last_job: i64,
    log: logs::StoredLines,
    in_transaction: bool,
    damaged: bool,
    skipped_rows: SkippedRows,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self::with_keys(KeyMaker::new())
    }

    pub(super) fn with_keys(keys: KeyMaker) -> Self {
        Self {
            keys,
            queues: BTreeMap::new(),
            items: BTreeMap::new(),
            held: BTreeSet::new(),
            references: BTreeMap::new(),
            comments: BTreeMap::new(),
            jobs: BTreeMap::new(),
            removals: BTreeMap::new(),
            tokens: BTreeMap::new(),
            reasons: BTreeMap::new(),
            audit: Vec::new(),
            figures: figures::StoredFigures::default(),
            operations: operations::StoredOperations::default(),
            views: views::StoredViews::default(),
            assets: assets::StoredAssets::default(),
            webhooks: webhooks::StoredWebhooks::default(),
            alerts: alerts::StoredAlerts::default(),
            buckets: buckets::StoredBuckets::default(),
            fleet: fleet::StoredFleet::default(),
            tasks: tasks::StoredTasks::default(),
            document: None,
            last_queue: 0,
            last_item: 0,
            last_comment: 0,
            last_job: 0,
            log: logs::StoredLines::default(),
            in_transaction: false,
            damaged: false,
            skipped_rows: SkippedRows::default(),
        }
    }

    fn check(&self) -> Result<()> {
        let message = "the store in memory was damaged by a violated invariant";
        if self.damaged { Err(OrchestratorError::new(ErrorKind::Other, message)) } else { Ok(()) }
    }
}

impl WriterHooks for Memory {
    fn has_external_change(&mut self) -> bool {
        false
    }
}

impl Rows for Memory {
    const HAS_OWN_CLOCK: bool = false;
    const ONE_CALL_FOR_GOOD: bool = true;

    fn begin(&mut self, _operations: &[Request], _clock: &dyn Clock) -> Result<()> {
        self.check()?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) {
        self.in_transaction = false;
    }

    fn skipped_rows(&mut self) -> &mut SkippedRows {
        &mut self.skipped_rows
    }

    fn abort(&mut self) {
        self.damaged |= self.in_transaction; // some of its changes were made, and nothing undoes them here
    }

    fn begin_reading(&mut self) -> Result<()> {
        self.check()
    }

    fn keys(&mut self) -> &mut KeyMaker {
        &mut self.keys
    }

    fn next_item_key(&mut self, now: Timestamp) -> Result<ItemKey> {
        Ok(self.keys.item(now))
    }

    fn queue_named(&mut self, folder: FolderId, name: &str) -> Result<Option<Arc<QueueDefinition>>> {
        let is_here = |queue: &&StoredQueue| !queue.deleted && queue.definition.folders.contains(&folder);
        let mut live = self.queues.values().filter(is_here);
        if let Some(queue) = live.clone().find(|queue| queue.definition.name == name) {
            return Ok(Some(queue.definition.clone()));
        }
        let name = folded(name);
        Ok(live.find(|queue| folded(&queue.definition.name) == name).map(|queue| queue.definition.clone()))
    }

    fn queue(&mut self, id: QueueId) -> Result<Option<Arc<QueueDefinition>>> {
        Ok(self.queues.get(&id).filter(|queue| !queue.deleted).map(|queue| queue.definition.clone()))
    }

    fn queues(&mut self) -> Result<Vec<QueueDefinition>> {
        let live = self.queues.values().filter(|queue| !queue.deleted);
        let mut queues: Vec<_> = live.map(|queue| (*queue.definition).clone()).collect();
        queues.sort_by_key(|queue| folded(&queue.name));
        Ok(queues)
    }

    fn write_folders(&mut self, queue: &QueueDefinition, folders: &[FolderId]) -> Result<()> {
        let mut queue = queue.clone();
        queue.folders = folders.to_vec();
        self.update_queue(&queue)
    }

    fn insert_queue(&mut self, queue: &QueueDefinition) -> Result<QueueId> {
        self.last_queue += 1;
        let id = QueueId(self.last_queue);
        let mut definition = queue.clone();
        definition.id = id;
        self.queues.insert(id, StoredQueue::new(definition));
        Ok(id)
    }

    fn update_queue(&mut self, queue: &QueueDefinition) -> Result<()> {
        if let Some(stored) = self.queues.get_mut(&queue.id) {
            stored.definition = Arc::new(queue.clone());
        }
        Ok(())
    }

    fn delete_queue(&mut self, id: QueueId) -> Result<()> {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.deleted = true;
        }
        Ok(())
    }

    fn statistics(&mut self, queue: QueueId) -> Result<QueueStatistics> {
        Ok(self.queues.get(&queue).map(|queue| queue.statistics).unwrap_or_default())
    }

    fn add_statistics(&mut self, queue: QueueId, delta: &QueueStatistics) -> Result<()> {
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.statistics.add(delta);
        }
        Ok(())
    }

    fn starts(&mut self, queue: QueueId, _next: Option<&NextItems<'_>>) -> Result<Starts> {
        Ok(self.queues.get(&queue).map(|queue| queue.starts.clone()).unwrap_or_default())
    }

    fn recent_starts(&mut self, queue: QueueId) -> Result<Starts> {
        self.starts(queue, None)
    }

    fn write_starts(&mut self, queue: QueueId, starts: &Starts) -> Result<()> {
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.starts.clone_from(starts);
        }
        Ok(())
    }

    fn insert_item(&mut self, row: &NewRow<'_>) -> Result<ItemId> {
        let id = self.insert(StoredItem::of_new(row), row.now);
        if let Some(group) = row.behind {
            self.put_behind(id, group, row.now);
        }
        Ok(id)
    }

    fn insert_copy(&mut self, copy: &RetryCopy<'_>) -> Result<ItemId> {
        let Some(original) = self.items.get(&copy.original) else {
            return Err(OrchestratorError::no_item(copy.original));
        };
        let item = original.copied(copy);
        Ok(self.insert(item, copy.now))
    }

    fn row(&mut self, id: ItemId) -> Result<Option<ItemRow>> {
        let row = |item: &StoredItem| ItemRow { queue: item.queue, state: item.state, actors: item.actors };
        Ok(self.items.get(&id).map(row))
    }

    fn item(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        Ok(self.items.get(&id).filter(|item| self.is_visible(item)).map(|item| to_queue_item(id, item)))
    }

    fn next_items(&mut self, ask: &NextItems<'_>) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
        self.promote(ask.queue, ask.now);
        let Some(queue) = self.queues.get(&ask.queue) else { return Ok(Vec::new()) };
        let ready = queue.ready.iter().filter_map(|key| self.items.get_key_value(&key.id()));
        // One that came due while the clock was ahead waits again.
        let matching = ready
            .filter(|(_, item)| is_eligible(&item.state, ask.now))
            .filter(|(_, item)| ask.reference.is_none_or(|filter| filter.matches(item.reference.as_deref())));
        Ok(matching
            .take(ask.count)
            .map(|(id, item)| (item.state, Box::new(to_queue_item(*id, item))))
            .collect())
    }

    fn cached_row(&mut self, _id: ItemId) -> Option<ItemRow> {
        None // reading the row costs nothing here
    }

    fn write(&mut self, id: ItemId, before: &ItemRow, written: &StateUpdate<'_>) -> Result<bool> {
        let Some(item) = self.items.get_mut(&id) else { return Ok(false) };
        if item.state.row_version != before.state.row_version {
            return Ok(false);
        }
        let mut indexes = Indexes::of(&mut self.queues, &mut self.held, &mut self.references, item.queue);
        indexes.remove(id, item);
        item.state = *written.state;
        if before.state.status == Status::InProgress && item.state.status.is_final() {
            item.actors.ended_by = written.ended_by;
        }
        if let Some(output) = written.output {
            item.output = Some(output.clone());
        }
        if let Some(exception) = written.exception {
            item.exception = Some(exception.clone());
        }
        if let Some(progress) = written.progress {
            item.progress = Some(progress.to_owned());
        }
        if let Some(analytics) = written.analytics {
            item.analytics = Some(analytics.clone());
        }
        if let Some(operation_id) = written.operation_id {
            item.operation_id = Some(operation_id.to_owned());
        }
        if let Some(claimant) = written.taken_by {
            item.executor = claimant.executor.or(Some(claimant.job).filter(|job| *job != JobKey::CALLER));
            (item.robot, item.robot_id) = (claimant.robot, claimant.robot_id);
            item.actors.taken_by = claimant.user;
        }
        indexes.insert(id, item, written.now);
        Ok(true)
    }

    fn set_content(&mut self, id: ItemId, content: &SpecificContent) -> Result<()> {
        if let Some(item) = self.items.get_mut(&id) {
            item.content = content.clone();
        }
        Ok(())
    }

    fn record(&mut self, id: ItemId, event: &Recorded) -> Result<()> {
        if let Some(item) = self.items.get_mut(&id) {
            item.recorded.push(*event);
        }
        Ok(())
    }

    fn recorded(&mut self, id: ItemId) -> Result<Vec<Recorded>> {
        Ok(self.items.get(&id).map(|item| item.recorded.clone()).unwrap_or_default())
    }

    fn holds_reference(&mut self, queue: QueueId, reference: &str) -> Result<bool> {
        Ok(self.references.contains_key(&(queue, Arc::from(reference))))
    }

    fn chain(&mut self, id: ItemId) -> Result<Vec<ItemId>> {
        let root = self.items.get(&id).map_or(id, |item| item.root);
        let mut chain = vec![root];
        chain.extend(self.items.get(&root).into_iter().flat_map(|item| item.copies.iter().copied()));
        Ok(chain)
    }

    fn held_by(&mut self, job: JobNumber) -> Result<Vec<ItemId>> {
        let of_job = (Bound::Included((job, ItemId(0))), Bound::Included((job, ItemId(i64::MAX))));
        Ok(self.held.range(of_job).map(|(_, id)| *id).collect())
    }

    fn held_items(&mut self, job: JobNumber) -> Result<Vec<Held>> {
        let ids = self.held_by(job)?;
        let seen = ids.into_iter().filter_map(|id| Some((id, self.items.get(&id)?)));
        Ok(seen.filter(|(_, item)| self.is_visible(item)).map(|(id, item)| item.held(id)).collect())
    }

    fn in_progress_since_before(&mut self, before: Timestamp) -> Result<Vec<ItemId>> {
        let started = |id: &ItemId| self.items.get(id).and_then(|item| item.state.start_processing);
        let held = self.held.iter().map(|(_, id)| *id);
        Ok(held.filter(|id| started(id).is_some_and(|at| at < before)).collect())
    }

    fn item_keyed(&mut self, key: ItemKey) -> Result<Option<ItemId>> {
        Ok(self.items.iter().find(|(_, item)| item.unique_key == key).map(|(id, _)| *id))
    }

    fn list(&mut self, ask: &ListRequest<'_>) -> Result<(Vec<QueueItem>, Option<u64>)> {
        Ok(list::list(&self.items, &self.operations, ask))
    }

    fn ended_since(&mut self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>> {
        Ok(list::ended_since(&self.items, queue, since))
    }

    fn document(&mut self, known: u64) -> Result<Option<(u64, String)>> {
        Ok(self.document.clone().filter(|(version, _)| *version != known))
    }

    fn write_document(&mut self, version: u64, text: &str) -> Result<()> {
        self.document = Some((version, text.to_owned()));
        Ok(())
    }

    fn roots_created_before(
        &mut self,
        queue: QueueId,
        before: Timestamp,
        after: ItemId,
        limit: usize,
    ) -> Result<Vec<ItemId>> {
        let later = self.items.range((Bound::Excluded(after), Bound::Unbounded));
        let roots = later.filter(|(id, item)| {
            item.queue == queue && item.root == **id && item.state.creation_time < before
        });
        Ok(roots.take(limit).map(|(id, _)| *id).collect())
    }

    fn remove_item(&mut self, id: ItemId) -> Result<()> {
        self.unindex(id);
        self.items.remove(&id);
        self.comments.retain(|_, comment| comment.item_id != id);
        Ok(())
    }

    fn insert_job(&mut self, job: &Job, _of_this_process: bool) -> Result<()> {
        self.last_job += 1;
        let mut job = job.clone();
        job.id = JobId(self.last_job);
        self.write_job(&job)
    }

    fn job(&mut self, key: JobKey) -> Result<Option<Job>> {
        Ok(self.jobs.get(&key).cloned())
    }

    fn ask_claiming_job<T>(&mut self, key: JobKey, ask: impl FnOnce(Option<&Job>) -> T) -> Result<T> {
        Ok(ask(self.jobs.get(&key)))
    }

    fn write_job(&mut self, job: &Job) -> Result<()> {
        self.jobs.insert(job.key, job.clone());
        Ok(())
    }

    fn live_jobs(&mut self) -> Result<Vec<Job>> {
        let is_live = |job: &&Job| !job.state.is_final() && job.state != JobState::Pending;
        Ok(self.jobs.values().filter(is_live).cloned().collect())
    }

    fn jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
        let is_here = |job: &&Job| folder.is_none_or(|folder| job.folder == folder);
        let mut jobs: Vec<_> = self.jobs.values().filter(is_here).cloned().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse((job.start_time, job.key)));
        jobs.truncate(limit);
        Ok(jobs)
    }

    fn listed_jobs(&mut self, filter: &JobFilter) -> Result<Vec<Job>> {
        let mut jobs: Vec<_> = self.jobs.values().filter(|job| filter.matches(job)).cloned().collect();
        jobs.sort_by_key(|job| job.id);
        jobs.truncate(filter.limit);
        Ok(jobs)
    }

    fn process_is_gone(&mut self, _job: JobKey) -> bool {
        false // a job in memory belongs to this process
    }
}
