//! Loads what a transaction will need when it begins, to save round trips.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::backend::{Operation, Request};
use super::super::sql;
use super::claim_cursor::ClaimPlan;
use super::columns::get;
use super::ready_items::{ClaimQuery, PrefetchedItems};
use super::session::BoundQuery;
use super::{Postgres, QUEUES, QueuesLock, jobs, queues};
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, JobKey, QueueId};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::result::Outcome;
use performer_core::orchestrator::Result;

pub(super) const IDS: &str = "SELECT nextval('item_id') FROM generate_series(1, $1::bigint)";

/// The most queues and jobs that are loaded; the others are looked up when they are needed.
const MAX_LOOKUPS: usize = 4;

/// The most names of queues that are remembered.
const MAX_NAMES: usize = 1_000;

/// Which rows operations need.
#[derive(Default)]
pub(super) struct Needs {
    queues: Vec<(FolderId, String)>,
    jobs: Vec<JobKey>,
    ids: i64,
    /// The search for the items of the claims, if all are on one queue, which had no limits when it was looked up last, and none asks
    /// for a reference; and if the search is not to be late.
    claim_plan: Option<ClaimPlan>,
    walk: Vec<BoundQuery>,
}

/// The rows that were loaded.
#[derive(Default)]
pub(super) struct LoadedRows {
    /// Nobody else changes them until the transaction ends.
    queues: Vec<(FolderId, String, Arc<QueueDefinition>)>,
    /// Nobody else ends them until the transaction ends.
    jobs: Vec<Job>,
}

impl Needs {
    /// Nothing, if queues are changed, because that needs their exclusive lock; nor in the caller's transaction, which
    /// must not block others.
    pub(super) fn of(operations: &[Request], store: &mut Postgres, now: Option<Timestamp>) -> Self {
        let mut needs = Self::default();
        if store.session.is_callers() || !Self::suits(operations) {
            return needs;
        }
        if !store.searches_late
            && let Some((folder, name, count)) = claims_of_one_queue(operations)
            && let Some(queue) = store.names.get(&(folder, name.to_owned())).copied()
        {
            let (claim_plan, walk) = store.claim(ClaimQuery { queue: queue.0, count, groups: None }, now);
            (needs.claim_plan, needs.walk) = (Some(claim_plan), walk);
            needs.queue(folder, name); // before others, of which only some are looked up
        }
        needs.look_up(operations);
        // If there must be no gaps, each id is drawn when it is needed.
        needs.ids = if store.max_ids > 1 { needs.ids.min(store.max_ids) } else { 0 };
        needs
    }

    /// Whether these calls suit a transaction that keeps queues unchanged.
    fn suits(operations: &[Request]) -> bool {
        !operations.iter().any(|asked| asked.operation.changes_queues())
    }

    /// What the operations will look up.
    fn look_up(&mut self, operations: &[Request]) {
        for Request { scope, operation, .. } in operations {
            match operation {
                Operation::Claim(claim) => {
                    self.queue(scope.folder, &claim.queue);
                    let job = claim.claimant.job;
                    if job != JobKey::CALLER && !self.jobs.contains(&job) {
                        self.jobs.push(job);
                    }
                }
                Operation::Add { queue, .. } => {
                    self.queue(scope.folder, queue);
                    self.ids += 1;
                }
                Operation::BulkAdd { queue, .. } => self.queue(scope.folder, queue),
                // Perhaps of a retry copy.
                Operation::Report(report)
                    if report.result.outcome() == Some(Outcome::ApplicationException) =>
                {
                    self.ids += 1;
                }
                _ => {}
            }
        }
        self.jobs.truncate(MAX_LOOKUPS);
        self.jobs.sort_by_key(|job| job.number().0); // everybody locks in this order
    }

    fn queue(&mut self, folder: FolderId, name: &str) {
        let is_known = self.queues.iter().any(|(known, queue)| *known == folder && queue == name);
        if !is_known && self.queues.len() < MAX_LOOKUPS {
            self.queues.push((folder, name.to_owned()));
        }
    }

    /// The locks to share from the beginning: queues stay unchanged, and jobs do not end.
    pub(super) fn locks(&self, store: &Postgres) -> Vec<String> {
        let queues = (!self.queues.is_empty()).then(|| store.lock_name(QUEUES)).into_iter();
        queues.chain(self.jobs.iter().map(|job| store.lock_name(&jobs::lock_of(*job)))).collect()
    }

    /// The queries after the locks.
    pub(super) fn queries(&mut self, store: &Postgres) -> Vec<BoundQuery> {
        let both = self.one_of_each().map(|(folder, name, job)| jobs::queue_and_job_query(folder, name, job));
        let (queues, jobs) = if both.is_some() { (&[][..], &[][..]) } else { (&*self.queues, &*self.jobs) };
        let queues = queues.iter().map(|(folder, name)| queues::queue_named_query(*folder, name));
        let jobs = jobs.iter().map(|job| jobs::job_query(*job));
        let ids = (self.ids > 0).then(|| BoundQuery { sql: IDS.into(), values: vec![Box::new(self.ids)] });
        let ids = ids.into_iter().flat_map(|ids| [store.marking(), ids]);
        let looked_up: Vec<_> = both.into_iter().chain(queues).chain(jobs).collect();
        looked_up.into_iter().chain(std::mem::take(&mut self.walk)).chain(ids).collect()
    }

    /// A queue and a job, if that is all to look up, as in nearly all cases.
    fn one_of_each(&self) -> Option<(FolderId, &str, JobKey)> {
        match (&*self.queues, &*self.jobs) {
            ([(folder, name)], [job]) => Some((*folder, name, *job)),
            _ => None,
        }
    }
}

/// Queue and number of items, if all claims are on one queue without a filter.
fn claims_of_one_queue(operations: &[Request]) -> Option<(FolderId, &str, i64)> {
    let mut wanted: Option<(FolderId, &str, usize)> = None;
    for Request { scope, operation, .. } in operations {
        let Operation::Claim(claim) = operation else { continue };
        let (folder, queue, count) = wanted.unwrap_or((scope.folder, &claim.queue, 0));
        if claim.reference.is_some() || (scope.folder, &*claim.queue) != (folder, queue) {
            return None;
        }
        wanted = Some((folder, queue, count.saturating_add(claim.count)));
    }
    wanted.map(|(folder, queue, count)| (folder, queue, i64::try_from(count).unwrap_or(i64::MAX)))
}

impl Postgres {
    /// Uses the results of the queries. What was not found is looked up again, and refused, when it is needed. False: items were
    /// searched as in a queue without limits, and it was another one; the transaction has to be undone.
    pub(super) fn use_answers(&mut self, needs: Needs, answers: Vec<Vec<Row>>) -> Result<bool> {
        let mut answers = answers.into_iter();
        if !needs.queues.is_empty() {
            self.queues = QueuesLock::Shared;
        }
        let is_joined = needs.one_of_each().is_some();
        for (folder, name) in needs.queues {
            let row = answers.next().and_then(|rows| rows.into_iter().next());
            if let Some(row) = row.as_ref().filter(|_| is_joined) {
                self.loaded.jobs.extend(jobs::job_behind_queue(row)?);
            }
            match row.map(|row| sql::queues::read(&row)).transpose()?.map(Arc::new) {
                Some(queue) => {
                    self.name(folder, &name, &queue);
                    self.loaded.queues.push((folder, name, queue));
                }
                None => drop(self.names.remove(&(folder, name))),
            }
        }
        for _ in needs.jobs.iter().filter(|_| !is_joined) {
            for row in answers.next().iter().flatten() {
                self.loaded.jobs.push(sql::jobs::read(row)?);
            }
        }
        if let Some(claim_plan) = needs.claim_plan {
            let asked = answers.by_ref().take(claim_plan.queries).collect();
            // The queue may have another name by now, or another queue this name, or there are limits.
            let is_so =
                |queue: &QueueDefinition| queue.id.0 == claim_plan.ask.queue && queue.limits.is_none();
            if !self.loaded.queues.iter().any(|(.., queue)| is_so(queue)) {
                return Ok(false); // the search may have made items ready, and has locked some
            }
            let items = self.claimed(&claim_plan, asked)?;
            self.prefetched_items = Some(PrefetchedItems { ask: claim_plan.ask, limited: false, items });
        }
        self.marked = needs.ids > 0;
        for row in answers.nth(1).iter().flatten() {
            self.ids.push_back(get(row, 0)?);
        }
        Ok(true)
    }

    /// Remembers the id of a queue without limits, so that its items can be searched before it is looked up again.
    fn name(&mut self, folder: FolderId, name: &str, queue: &QueueDefinition) {
        if queue.limits.is_none() {
            if self.names.len() >= MAX_NAMES {
                self.names.clear();
            }
            self.names.insert((folder, name.to_owned()), queue.id);
        } else {
            self.names.remove(&(folder, name.to_owned()));
        }
    }
}

impl LoadedRows {
    pub(super) fn queue_named(&self, folder: FolderId, name: &str) -> Option<Arc<QueueDefinition>> {
        let named = self.queues.iter().find(|(known, queue, _)| *known == folder && queue == name);
        named.map(|(.., queue)| queue.clone())
    }

    pub(super) fn queue(&self, id: QueueId) -> Option<Arc<QueueDefinition>> {
        self.queues.iter().map(|(.., queue)| queue).find(|queue| queue.id == id).cloned()
    }

    pub(super) fn job(&self, key: JobKey) -> Option<Job> {
        self.jobs.iter().find(|job| job.key == key).cloned()
    }

    /// Queues are about to be changed.
    pub(super) fn forget_queues(&mut self) {
        self.queues.clear();
    }

    /// A job is changed.
    pub(super) fn forget_jobs(&mut self) {
        self.jobs.clear();
    }
}
