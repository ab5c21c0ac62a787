//! Applies operations to rows: asks the rules what an event does, and writes the result.
//!
//! Everything but claims is applied in the order of arrival; then the claims, those of one queue together. All
//! operations of a batch were in progress at the same time, so this order is as good as any, and the retry copy of a
//! report can be claimed in the same commit.
//!
//! | file | what is in it |
//! |---|---|
//! | `apply/commit.rs` | the transaction of a batch: retries, and what to do if one operation cannot be applied |
//! | `apply/change.rs` | asking the rules about an event, and writing the change with everything that belongs to it |
//! | `apply/audit.rs` | what people change, as records of the audit |
//! | `apply/add.rs` | adding items |
//! | `apply/claim.rs` | claiming items |
//! | `apply/groups.rs` | groups of items, settled after the changes and before the claims |
//! | `apply/parked.rs` | serving claims that wait for an item |
//! | `apply/report.rs` | results and progress |
//! | `apply/jobs.rs` | jobs |
//! | `apply/administration.rs` | what people change: queues, items, reviews, comments |
//! | `apply/assets.rs`, `apply/alerts.rs`, `apply/tasks.rs` | assets, alerts, tasks |
//! | `apply/buckets.rs` | storage buckets |
//! | `apply/fleet.rs` | processes, machines, the sessions of agents, and their jobs |
//! | `apply/webhooks.rs` | webhooks, and what is to be delivered to them |
//! | `apply/operation.rs`, `apply/selection.rs` | acts on many items at once; which items they are |
//! | `apply/personal.rs` | personal fields: masked in what is read, and revealed |
//! | `apply/retention.rs` | what depends on age: retention, overdue items |
//! | `apply/logs.rs` | robot logs |
//! | `apply/document.rs` | the document of a server, and access tokens |
//! | `apply/views.rs` | saved views |
//! | `apply/query.rs` | queries |

mod add;
mod administration;
mod alerts;
mod assets;
mod audit;
mod buckets;
mod change;
mod claim;
mod commit;
mod document;
mod fleet;
mod groups;
mod jobs;
mod logs;
mod operation;
mod parked;
mod personal;
mod query;
mod report;
mod retention;
mod selection;
mod tasks;
mod views;
mod webhooks;

pub(super) use retention::MAX_OVERDUE_PER_SWEEP;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use self::alerts::PendingAlerts;
use self::audit::PendingAudit;
use self::claim::wanted;
use self::groups::PendingGroups;
use self::report::{AssumedEnd, AttemptReport};
use self::webhooks::PendingEvents;
use super::arrivals::Arrivals;
use super::backend::{Answer, Operation, Request, Scope};
use super::clock::StoreClock;
use super::figures::UnwrittenFigures;
use super::notifier::WakeSet;
use super::rows::{ClaimLoad, ItemRow, Rows};
use super::scoped_queues::QueueSelector;
use super::tokens::TokensOf;
use super::unreadable_rows::is_unreadable;
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::audit::Actor;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::QueueItem;
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, ItemId, JobKey, QueueId};
use performer_core::model::queue::{QueueDefinition, QueuePolicy};
use performer_core::model::statistics::QueueStatistics;
use performer_core::orchestrator::{OrchestratorError, Result};

/// Why an operation was not applied.
enum ApplyError {
    /// The rules refused it: it changed nothing, and the others go on.
    Refused(OrchestratorError),
    /// The back end failed: nothing of the batch is kept.
    Failed(OrchestratorError),
}

impl From<Refusal> for ApplyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

/// An error of the rows is a failure of the back end; refusals are made where the rules are asked.
impl From<OrchestratorError> for ApplyError {
    fn from(error: OrchestratorError) -> Self {
        Self::Failed(error)
    }
}

type Applied<T = Answer> = std::result::Result<T, ApplyError>;

struct Apply<'a, R> {
    rows: &'a mut R,
    clock: &'a StoreClock,
    now: Timestamp,
    /// The scope of the operation that is being applied.
    scope: Scope,
    statistics: BTreeMap<QueueId, QueueStatistics>,
    /// The queues of which items may have become claimable.
    wakes: WakeSet,
    /// The queues in which the claims that were applied last found all they wanted, or left nothing.
    more_left: WakeSet,
    none_left: WakeSet,
    /// The queues with limits that this transaction has locked, to claim from them or to settle their groups.
    locked_limits: BTreeSet<QueueId>,
    /// Queues were changed: whoever waits for one is told.
    queues_changed: bool,
    /// What this batch has looked up.
    lookups: LookupCache,
    /// What happened in queues with rules about groups since they were settled.
    group_changes: PendingGroups,
    /// Whom the audit names for the operation that is being applied, and what it records of this batch.
    actor: Option<Arc<Actor>>,
    audit: PendingAudit,
    /// What this batch tells webhooks.
    events: PendingEvents,
    /// What happened to items in this batch that somebody should look at.
    alerts: PendingAlerts,
    /// Ends of attempts, computed from cached rows and not written yet.
    assumed: Vec<AssumedEnd>,
    /// What has ended, for the figures.
    figures: UnwrittenFigures,
    /// Whether figures are written with this transaction even if they are not due.
    figures_at_once: bool,
}

/// What a batch answers and leaves to do.
struct AppliedBatch {
    answers: Vec<Result<Answer>>,
    wakes: WakeSet,
    figures: UnwrittenFigures,
    figures_at_once: bool,
    webhooks_changed: bool,
}

/// Queues and live jobs that a batch has looked up, and rows of items that an operation will change. No other transaction changes them
/// while its own is open.
#[derive(Default)]
struct LookupCache {
    /// Each is taken out when it is used, because it changes then.
    rows: HashMap<ItemId, ItemRow>,
    queues: SmallVec<[(FolderId, Arc<QueueDefinition>); 2]>,
    jobs_alive: SmallVec<[(JobKey, Scope); 1]>,
}

impl<R: Rows> Apply<'_, R> {
    /// Applies operations, and those that arrive meanwhile. Claims wait until everything else is applied, so that the
    /// ready items of a queue are read once for all of them.
    fn apply_all(
        mut self,
        mut operations: Vec<Request>,
        arrivals: &mut dyn Arrivals,
    ) -> Result<AppliedBatch> {
        // Often as many as a performer has robots; growing step by step would copy everything each time.
        let room =
            if R::ONE_CALL_FOR_GOOD { operations.len() } else { operations.len().next_multiple_of(128) };
        let (mut answers, mut claims) = (Vec::with_capacity(room), Vec::with_capacity(room.div_ceil(2)));
        let mut load = ClaimLoad::default();
        loop {
            for Request { scope, actor, operation } in operations {
                crash_point!(begins operation.name());
                self.scope = scope;
                if let Operation::Claim(claim) = operation {
                    claims.push((answers.len(), scope, claim));
                    answers.push(Ok(Answer::Done)); // until it is claimed
                    continue;
                }
                let operation = match operation {
                    Operation::Report(report) => {
                        self.end_or_assume(AttemptReport::Report(report), &mut answers)?;
                        continue;
                    }
                    Operation::ReportUnclaimed(unclaimed) => {
                        let report = AttemptReport::unclaimed(unclaimed, self.now);
                        self.end_or_assume(report, &mut answers)?;
                        continue;
                    }
                    other => other,
                };
                self.write_assumed(&mut answers)?;
                self.actor = actor;
                let lookups_stay = matches!(
                    operation,
                    Operation::Add { .. } | Operation::Progress { .. } | Operation::ProgressOf { .. }
                );
                answers.push(answer_of(self.apply_one(operation))?);
                self.audit.end_operation();
                crash_point!(within "after_write");
                if !lookups_stay {
                    self.lookups = LookupCache::default();
                }
            }
            load.begun_with.get_or_insert_with(|| wanted(&claims));
            operations = arrivals.more(self.rows.may_join(wanted(&claims)));
            if operations.is_empty() {
                self.write_assumed(&mut answers)?;
            }
            if operations.is_empty() {
                self.lock_groups(&claims)?;
                self.settle_groups()?;
            }
            if operations.is_empty() && !claims.is_empty() {
                load.wanted += wanted(&claims);
                self.claim_items(std::mem::take(&mut claims), &mut answers)?;
                operations = arrivals.more(self.rows.may_join(usize::MAX));
            }
            if operations.is_empty() {
                load.left = arrivals.waiting();
                self.rows.note_claim_load(&load);
                self.wake_where_there_is_room()?;
                self.serve_parked(arrivals, &mut answers)?;
                self.write_statistics()?;
                self.write_alerts()?;
                self.write_events()?;
                self.write_audit()?;
                return Ok(AppliedBatch {
                    answers,
                    wakes: self.wakes,
                    figures: self.figures,
                    figures_at_once: self.figures_at_once,
                    webhooks_changed: self.events.webhooks_changed,
                });
            }
        }
    }

    fn apply_one(&mut self, operation: Operation) -> Applied {
        if operation.changes_queues() {
            self.queues_changed = true;
            self.rows.lock_queues()?;
        }
        match operation {
            Operation::StartJob(job) => self.start_job(job),
            Operation::Beat(job) => self.beat(job),
            Operation::EndJob { job, end } => self.end_job(job, end),
            Operation::Sweep { suspects, overdue, planned } => self.sweep(suspects, overdue, planned),
            Operation::Add { queue, item } => self.add(&queue, &item),
            Operation::BulkAdd { queue, commit_type, items } => self.bulk_add(&queue, commit_type, &items),
            Operation::AddAndStart { claim, item } => self.add_and_start(&claim, &item),
            Operation::Report(_) | Operation::ReportUnclaimed(_) | Operation::Claim(_) => {
                unreachable!("these are applied together")
            }
            Operation::Progress { claim, progress } => self.progress(claim, &progress),
            Operation::ProgressOf { id, progress } => self.progress_of(id, &progress),
            Operation::CreateQueue(queue) => self.create_queue(*queue),
            Operation::UpdateQueue { which, queue, reach } => {
                self.update_queue(&which, *queue, reach.as_deref())
            }
            Operation::DeleteQueue { which, reach } => self.delete_queue(&which, reach.as_deref()),
            Operation::EditLimits { which, edit, reach } => self.edit_limits(&which, &edit, reach.as_deref()),
            Operation::ShareQueues { queues, add, remove } => self.share_queues(&queues, &add, &remove),
            Operation::PutDocument(change) => self.put_document(&change),
            Operation::Edit { id, edit } => self.edit(id, &edit),
            Operation::DeleteOne(id) => self.delete_one(id),
            Operation::Abandon(id) => self.abandon(id),
            Operation::Delete(items) => self.each(items, |this, item| this.delete(item)),
            Operation::Review { to, items, comment } => self.review(to, items, comment.as_deref()),
            Operation::SetReviewer { reviewer, items } => {
                self.each(items, |this, item| this.set_reviewer(reviewer, item))
            }
            Operation::EditReason { id, edit } => self.edit_reason(id, edit),
            Operation::AddComment { id, author, text } => self.add_comment(id, &author, &text),
            Operation::EditComment { comment, author, text } => {
                self.edit_comment(comment, &author, text.as_deref())
            }
            Operation::Purge { id, row_version } => self.purge(id, row_version),
            Operation::Correct { item, edit } => self.correct(item, &edit),
            Operation::Reveal { id, reason } => self.reveal(id, &reason),
            Operation::ApplyRetention { limit, after } => self.apply_retention(limit, after),
            Operation::RemoveDeleted { limit } => Ok(Answer::MoreIsLeft(self.rows.remove_chunk(limit)?)),
            Operation::RemoveJobs(jobs) => self.remove_jobs(&jobs),
            Operation::AddToken { digest, token } => self.add_token(&digest, &token),
            Operation::RemoveToken(digest) => {
                Ok(Answer::Removed(self.rows.remove_tokens(&TokensOf::Digest(digest))?))
            }
            Operation::RemoveEndedTokens { limit } => self.remove_ended_tokens(limit),
            Operation::StopJob { job, strategy } => self.stop_job(job, strategy),
            Operation::WriteFigures => Ok(Answer::Done),
            Operation::PrepareActs { operation, items } => self.create_operation(&operation, &items),
            Operation::KeepItems { id, from, items } => self.keep_items(id, from, &items),
            Operation::SteerActs { id, reach, steering } => {
                self.steer_operation(id, reach.as_deref(), &steering)
            }
            Operation::StepActs { id, version } => self.step_operation(id, version),
            Operation::View(change) => self.change_view(*change),
            Operation::RemoveActs { limit } => self.remove_operation(limit),
            Operation::Log(operation) => self.log(operation),
            Operation::Assets(operation) => self.change_assets(*operation),
            Operation::Buckets(operation) => self.change_buckets(*operation),
            Operation::Webhooks(operation) => self.change_webhooks(*operation),
            Operation::Alerts(operation) => self.change_alerts(operation),
            Operation::Fleet(operation) => self.change_fleet(*operation),
            Operation::Tasks(operation) => self.change_tasks(*operation),
        }
    }

    // Used by all operations

    /// In a queue with a limit, items that were withheld may be claimable now.
    fn wake_where_there_is_room(&mut self) -> Result<()> {
        let ended = self.statistics.iter().filter(|(_, delta)| delta.in_progress < 0);
        for queue in ended.map(|(queue, _)| *queue).collect::<SmallVec<[QueueId; 2]>>() {
            if self.has_room_again(queue)? {
                self.wake_waiters(queue);
            }
        }
        Ok(())
    }

    fn write_statistics(&mut self) -> Result<()> {
        for (queue, delta) in std::mem::take(&mut self.statistics) {
            if delta != QueueStatistics::default() {
                self.rows.add_statistics(queue, &delta)?;
                self.figures.changed(queue);
            }
        }
        Ok(())
    }

    fn has_room_again(&mut self, queue: QueueId) -> Result<bool> {
        match self.queue_by_id(queue) {
            Ok(queue) => Ok(queue.is_some_and(|queue| queue.limits.max_in_progress.is_some())),
            Err(ApplyError::Refused(_)) => Ok(false),
            Err(ApplyError::Failed(error)) => Err(error),
        }
    }

    /// Items of a queue may be claimable although none was added.
    fn wake_waiters(&mut self, queue: QueueId) {
        self.wakes.add(queue);
        self.rows.note_claimable(queue);
    }

    /// The queue of this name in the folder.
    fn queue(&mut self, name: &str) -> Applied<Arc<QueueDefinition>> {
        self.queue_in(self.scope.folder, name)
    }

    fn queue_in(&mut self, folder: FolderId, name: &str) -> Applied<Arc<QueueDefinition>> {
        let known = self.lookups.queues.iter().filter(|(known, _)| *known == folder);
        if let Some((_, queue)) = known.clone().find(|(_, queue)| queue.name == name) {
            return Ok(queue.clone());
        }
        let queue = self.rows.queue_named(folder, name)?;
        let queue = queue.ok_or_else(|| ApplyError::Refused(OrchestratorError::no_queue(name)))?;
        // A caller may write the name in other letters.
        if !known.into_iter().any(|(_, known)| known.id == queue.id) {
            self.lookups.queues.push((folder, queue.clone()));
        }
        Ok(queue)
    }

    /// A queue of the folder, to be changed in all its folders; `reach` are the folders in which the caller may do so.
    fn queue_to_change(
        &mut self,
        which: &QueueSelector,
        reach: Option<&[FolderId]>,
    ) -> Applied<Arc<QueueDefinition>> {
        let queue = self.which_queue(which)?;
        queue.may_be_changed_by(reach)?;
        Ok(queue)
    }

    /// A queue of the folder.
    fn which_queue(&mut self, which: &QueueSelector) -> Applied<Arc<QueueDefinition>> {
        query::which(self.rows, self.scope.folder, which)?.map_err(ApplyError::Refused)
    }

    fn queue_by_id(&mut self, id: QueueId) -> Applied<Option<Arc<QueueDefinition>>> {
        if let Some((.., queue)) = self.lookups.queues.iter().find(|(.., queue)| queue.id == id) {
            return Ok(Some(queue.clone()));
        }
        let queue = self.rows.queue(id)?;
        if let Some(queue) = &queue
            && let Some(folder) = queue.folders.first()
        {
            self.lookups.queues.push((*folder, queue.clone()));
        }
        Ok(queue)
    }

    /// Checks that a job may claim items.
    fn check_alive(&mut self, key: JobKey) -> Applied<()> {
        let alive = (key, self.scope);
        if key != JobKey::CALLER && !self.lookups.jobs_alive.contains(&alive) {
            let scope = self.scope;
            self.rows.ask_claiming_job(key, |job| {
                let own = job.filter(|job| job.owner.admits(scope.user) && is_seen(job, scope));
                own.ok_or_else(|| no_job(key))?.alive().map_err(ApplyError::from)
            })??;
            self.lookups.jobs_alive.push(alive);
        }
        Ok(())
    }

    /// The policy of an item's queue. A deleted queue is not found.
    fn policy(&mut self, queue: QueueId) -> Applied<QueuePolicy> {
        let queue = self.queue_by_id(queue)?;
        let gone = || ApplyError::Refused(OrchestratorError::not_found("the queue of the item was deleted"));
        Ok(queue.ok_or_else(gone)?.policy.clone())
    }

    /// The result for one item among many. A row that cannot be read is reported and skipped, and the others go on.
    fn unless_unreadable<T>(&mut self, id: ItemId, applied: Applied<T>) -> Applied<Option<T>> {
        match applied {
            Err(ApplyError::Failed(error)) if is_unreadable(&error) => {
                self.rows.skipped_rows().report(id, &error);
                Ok(None)
            }
            applied => applied.map(Some),
        }
    }

    /// Reads the rows of items that the operation will change, so that they need not be read one by one.
    fn read_rows(&mut self, ids: impl Iterator<Item = ItemId>) -> Result<()> {
        self.lookups.rows = self.rows.rows_to_change(&ids.collect::<Vec<_>>())?;
        Ok(())
    }

    fn row(&mut self, id: ItemId) -> Applied<ItemRow> {
        if let Some(row) = self.lookups.rows.remove(&id) {
            return Ok(row);
        }
        let row = self.rows.row(id)?;
        row.ok_or_else(|| ApplyError::Refused(OrchestratorError::no_item(id)))
    }

    /// The row of an item of the folder. An item of another folder does not exist.
    fn row_here(&mut self, id: ItemId) -> Applied<ItemRow> {
        let row = self.row(id)?;
        let queue = self.queue_by_id(row.queue)?;
        let is_here = queue.is_some_and(|queue| queue.folders.contains(&self.scope.folder));
        if is_here { Ok(row) } else { Err(ApplyError::Refused(OrchestratorError::no_item(id))) }
    }

    fn item(&mut self, id: ItemId) -> Applied<QueueItem> {
        let item = self.rows.item(id)?;
        item.ok_or_else(|| ApplyError::Refused(OrchestratorError::no_item(id)))
    }

    /// A job that the caller may use because it started it.
    fn own_job(&self, key: JobKey, job: Option<Job>) -> Applied<Job> {
        self.known_job(key, job.filter(|job| job.owner.admits(self.scope.user)))
    }

    /// A job that the caller may see because it was started in the caller's folder.
    fn known_job(&self, key: JobKey, job: Option<Job>) -> Applied<Job> {
        job.filter(|job| is_seen(job, self.scope)).ok_or_else(|| no_job(key))
    }

    /// Whether the caller may see the items of a queue. A caller that opened the store itself may see all.
    fn may_reach(&self, queue: Option<&QueueDefinition>) -> bool {
        let here = |queue: &QueueDefinition| queue.folders.contains(&self.scope.folder);
        self.scope.user.is_none() || queue.is_some_and(here)
    }
}

/// Whether a job may be seen in a scope.
fn is_seen(job: &Job, scope: Scope) -> bool {
    scope.user.is_none() || job.folder == scope.folder
}

fn no_job(key: JobKey) -> ApplyError {
    ApplyError::Refused(OrchestratorError::not_found(format!("job {key} does not exist")))
}

/// A refusal is an answer; a failure ends the batch.
fn answer_of(applied: Applied) -> Result<Result<Answer>> {
    match applied {
        Ok(answer) => Ok(Ok(answer)),
        Err(ApplyError::Refused(error)) => Ok(Err(error)),
        Err(ApplyError::Failed(error)) => Err(error),
    }
}

fn refusal_of(error: &OrchestratorError) -> Refusal {
    Refusal::new(error.code().unwrap_or(ErrorCode::INVALID_REQUEST), error.to_string())
}
