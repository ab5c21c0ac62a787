//! Applies operations to rows: asks the rules what an event does, and writes the answer.
//!
//! Reports, adds and everything else come first, in the order in which they arrived; then the takes, those
//! of one queue together. All operations of a batch were under way at the same time, so this order is as
//! good as any, and a report's retry copy can be taken in the same commit.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::super::{BulkAdded, CommitType, FailedItem, OrchestratorError, Report, Result, Swept, Take};
use super::rows::{Copy, NewRow, NextItems, Row, Rows, Written};
use super::store::{Answer, Operation, Query, Store};
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::content::SpecificContent;
use crate::model::history::events;
use crate::model::item::{ClaimedItem, ItemEdit, NewQueueItem, QueueItem, validate_progress};
use crate::model::job::{Job, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, Holder, ItemId, JobKey, QueueId};
use crate::model::lifecycle::{self, Change, Event, ItemState, Transition};
use crate::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use crate::model::result::TransactionResult;
use crate::model::review::{FailedItems, ItemVersion, Person, validate_comment, validate_comment_author};
use crate::model::statistics::QueueStatistics;
use crate::model::status::{ReviewStatus, Status};

impl<R: Rows> Store for R {
    fn commit(&mut self, operations: Vec<Operation>, now: Timestamp, wake: &mut bool) -> Vec<Result<Answer>> {
        let count = operations.len();
        let all = |error: &OrchestratorError| (0..count).map(|_| Err(error.clone())).collect();
        if let Err(error) = self.begin() {
            return all(&error);
        }
        let mut apply = Apply { rows: self, now, statistics: BTreeMap::new(), wake: false };
        let answers = apply.all(operations).and_then(|answers| {
            apply.write_statistics()?;
            Ok((answers, apply.wake))
        });
        let committed = answers.and_then(|answered| self.commit_rows().map(|()| answered));
        match committed {
            Ok((answers, woken)) => {
                *wake |= woken;
                answers
            }
            Err(error) => {
                self.rollback();
                all(&error)
            }
        }
    }

    fn read(&mut self, query: Query) -> Result<Answer> {
        self.begin_reading()?;
        let answer = answer(self, query);
        self.rollback();
        answer
    }

    fn changed_elsewhere(&mut self) -> bool {
        Rows::changed_elsewhere(self)
    }
}

/// Two traits have a `commit`; this names the one of the rows.
trait CommitRows {
    fn commit_rows(&mut self) -> Result<()>;
}

impl<R: Rows> CommitRows for R {
    fn commit_rows(&mut self) -> Result<()> {
        Rows::commit(self)
    }
}

/// Why an operation did not happen.
enum Stop {
    /// The rules said no: this operation changed nothing, the others go on.
    Refused(OrchestratorError),
    /// The store failed: nothing of the whole batch is kept.
    Failed(OrchestratorError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

/// An error of the rows is a failure of the store; refusals are made where the rules are asked.
impl From<OrchestratorError> for Stop {
    fn from(error: OrchestratorError) -> Self {
        Self::Failed(error)
    }
}

type Applied<T = Answer> = std::result::Result<T, Stop>;

struct Apply<'a, R> {
    rows: &'a mut R,
    now: Timestamp,
    statistics: BTreeMap<QueueId, QueueStatistics>,
    wake: bool,
}

impl<R: Rows> Apply<'_, R> {
    fn all(&mut self, operations: Vec<Operation>) -> Result<Vec<Result<Answer>>> {
        let mut answers: Vec<Option<Result<Answer>>> = Vec::with_capacity(operations.len());
        let mut takes = Vec::new();
        for (at, operation) in operations.into_iter().enumerate() {
            if let Operation::Take(take) = operation {
                takes.push((at, take));
                answers.push(None);
                continue;
            }
            answers.push(Some(settled(self.one(operation))?));
        }
        self.takes(takes, &mut answers)?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn one(&mut self, operation: Operation) -> Applied {
        match operation {
            Operation::StartJob(job) => self.start_job(job),
            Operation::Beat(job) => self.beat(job),
            Operation::EndJob { job, state, info } => self.end_job(job, state, info),
            Operation::Sweep { leases, overdue } => self.sweep(leases, overdue),
            Operation::Add { queue, item } => self.add(&queue, &item),
            Operation::BulkAdd { queue, commit_type, items } => self.bulk_add(&queue, commit_type, &items),
            Operation::AddAndStart { take, item } => self.add_and_start(&take, &item),
            Operation::Report(report) => self.report(&report),
            Operation::Take(take) => self.take_some(&take),
            Operation::Progress { claim, progress } => self.progress(claim, &progress),
            Operation::CreateQueue(queue) => self.create_queue(queue),
            Operation::UpdateQueue { name, queue } => self.update_queue(&name, queue),
            Operation::DeleteQueue(name) => self.delete_queue(&name),
            Operation::Edit { id, edit } => self.edit(id, &edit),
            Operation::Delete(items) => self.each(items, |this, item| this.delete(item)),
            Operation::Review { to, items } => self.each(items, |this, item| this.review(to, item)),
            Operation::SetReviewer { reviewer, items } => {
                // An embedded store knows no users, and takes any reviewer.
                let event = |row_version| Event::SetReviewer { reviewer, permitted: true, row_version };
                self.each(items, |this, item| this.happen(item.id, event(item.row_version)).map(drop))
            }
            Operation::AddComment { id, author, text } => self.add_comment(id, &author, &text),
            Operation::EditComment { comment, author, text } => {
                self.edit_comment(comment, &author, text.as_deref())
            }
            Operation::Purge(id) => self.purge(id),
            Operation::ApplyRetention { limit } => self.apply_retention(limit),
            Operation::StopJob { job, strategy } => self.stop_job(job, strategy),
        }
    }

    // Jobs: T13, T14, T15

    fn start_job(&mut self, job: NewJob) -> Applied {
        self.queue(&job.queue)?;
        job.validate()?;
        let key = self.rows.keys().job(self.now);
        self.rows.insert_job(&Job::started(key, job, self.now))?;
        Ok(Answer::Job(key))
    }

    fn beat(&mut self, key: JobKey) -> Applied {
        let mut job = self.job(key)?;
        let state = job.beat(self.now)?;
        self.rows.write_job(&job)?;
        Ok(Answer::JobState(state))
    }

    fn end_job(&mut self, key: JobKey, state: JobState, info: Option<String>) -> Applied {
        let mut job = self.job(key)?;
        job.alive()?;
        job.end(state, info, self.now);
        let abandoned = self.close(&job)?;
        Ok(Answer::Swept(Swept { jobs: Vec::new(), abandoned }))
    }

    fn stop_job(&mut self, key: JobKey, strategy: StopStrategy) -> Applied {
        let mut job = self.job(key)?;
        job.request_stop(strategy)?;
        self.rows.write_job(&job)?;
        Ok(Answer::Done)
    }

    fn sweep(&mut self, leases: bool, overdue: bool) -> Applied {
        let mut swept = Swept::default();
        for mut job in self.rows.live_jobs()? {
            let info = if self.rows.process_is_gone(job.key) {
                "its process is gone"
            } else if leases && job.is_lost(self.now) {
                "it did not beat within its lease"
            } else {
                continue;
            };
            job.end(JobState::Faulted, Some(info.to_owned()), self.now);
            swept.abandoned += self.close(&job)?;
            swept.jobs.push(job.key);
        }
        if overdue {
            swept.abandoned += self.abandon_overdue()?;
        }
        Ok(Answer::Swept(swept))
    }

    /// Writes the end of a job and abandons what it still holds.
    fn close(&mut self, job: &Job) -> Applied<u64> {
        self.rows.write_job(job)?;
        let number = job.key.number();
        let held = self.rows.held_by(number)?;
        for id in &held {
            self.happen(*id, Event::JobLost { job: number })?;
        }
        Ok(held.len() as u64)
    }

    fn abandon_overdue(&mut self) -> Applied<u64> {
        let shortest = self.rows.queues()?.iter().map(|queue| queue.policy.abandon_after).min();
        let Some(before) = shortest.and_then(|limit| self.now.checked_sub(limit).ok()) else { return Ok(0) };
        let mut abandoned = 0;
        for id in self.rows.in_progress_since_before(before)? {
            match self.happen(id, Event::Overdue) {
                Ok(_) => abandoned += 1,
                Err(Stop::Refused(_)) => {} // its queue is more patient
                Err(failed) => return Err(failed),
            }
        }
        Ok(abandoned)
    }

    // Adding: T1, T2

    fn add(&mut self, queue: &str, item: &NewQueueItem) -> Applied {
        let queue = self.queue(queue)?;
        let content = self.check_new(&queue, item)?;
        let id = self.insert(&queue, item, &content)?;
        Ok(Answer::Item(Box::new(self.item(id)?)))
    }

    fn bulk_add(&mut self, queue: &str, commit_type: CommitType, items: &[NewQueueItem]) -> Applied {
        let queue = self.queue(queue)?;
        let mut bulk = BulkAdded::default();
        if commit_type == CommitType::AllOrNothing {
            // Checked as a whole before anything is written: nobody else writes in this transaction.
            let mut references = HashSet::new();
            let mut contents = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                let duplicate = item.reference.as_deref().filter(|_| queue.policy.enforce_unique_reference);
                let twice = duplicate.is_some_and(|reference| !references.insert(reference));
                match self.check_new(&queue, item) {
                    Ok(_) if twice => bulk.failed.push(FailedItem {
                        ordinal: at + 1,
                        refusal: lifecycle::duplicate_reference(duplicate.unwrap_or_default(), &queue.name),
                    }),
                    Ok(content) => contents.push(content),
                    Err(stop) => bulk.failed.push(failed_item(at, stop)?),
                }
            }
            if bulk.failed.is_empty() {
                for (item, content) in items.iter().zip(&contents) {
                    self.insert(&queue, item, content)?;
                }
                bulk.added = items.len() as u64;
            }
            return Ok(Answer::BulkAdded(bulk));
        }
        for (at, item) in items.iter().enumerate() {
            let added = self.check_new(&queue, item).and_then(|content| self.insert(&queue, item, &content));
            match added {
                Ok(_) => bulk.added += 1,
                Err(stop) => bulk.failed.push(failed_item(at, stop)?),
            }
            if commit_type == CommitType::StopOnFirstFailure && !bulk.failed.is_empty() {
                break;
            }
        }
        Ok(Answer::BulkAdded(bulk))
    }

    fn add_and_start(&mut self, take: &Take, item: &NewQueueItem) -> Applied {
        let queue = self.queue(&take.queue)?;
        self.job(take.job)?.alive()?;
        // Started at once, whatever its DeferDate says: that date is for a retry or for nobody.
        let mut item = item.clone();
        item.defer_date = None;
        let content = self.check_new(&queue, &item)?;
        let id = self.insert(&queue, &item, &content)?;
        let row = self.row(id)?;
        let claim = self.start(id, &row.state, &queue, take)?;
        let item = Box::new(self.item(id)?);
        Ok(Answer::Claimed(ClaimedItem { item, claim }))
    }

    fn check_new(&mut self, queue: &QueueDefinition, item: &NewQueueItem) -> Applied<SpecificContent> {
        let content = item.validate(queue)?;
        if let Some(reference) = item.reference.as_deref().filter(|_| queue.policy.enforce_unique_reference)
            && self.rows.holds_reference(queue.id, reference)?
        {
            return Err(lifecycle::duplicate_reference(reference, &queue.name).into());
        }
        Ok(content)
    }

    fn insert(
        &mut self,
        queue: &QueueDefinition,
        item: &NewQueueItem,
        content: &SpecificContent,
    ) -> Applied<ItemId> {
        let state = lifecycle::added(item, queue, self.now);
        let unique_key = self.rows.keys().item(self.now);
        let id = self.rows.insert_item(&NewRow {
            queue: queue.id,
            unique_key,
            state: &state,
            reference: item.reference.as_deref(),
            content,
            risk_sla_date: item.risk_sla_date,
            progress: item.progress.as_deref(),
            now: self.now,
        })?;
        self.statistics.entry(queue.id).or_default().count(&state, 1);
        self.wake = true;
        Ok(id)
    }

    // Taking: T3

    /// All takes of a batch; those of one queue and filter together, so that the order is walked once.
    fn takes(&mut self, takes: Vec<(usize, Take)>, answers: &mut [Option<Result<Answer>>]) -> Result<()> {
        let mut waiting = takes;
        while let Some((_, first)) = waiting.first() {
            let (queue, reference) = (first.queue.clone(), first.reference.clone());
            let same = |take: &Take| take.queue == queue && take.reference == reference;
            let (group, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, take)| same(take));
            waiting = rest;
            let wanted = group.iter().map(|(_, take)| take.count).fold(0, usize::saturating_add);
            let mut found = match self.next_items(&queue, reference.as_ref(), wanted) {
                Ok((queue, items)) => (queue, items.into_iter()),
                Err(Stop::Refused(error)) => {
                    for (at, _) in group {
                        answers[at] = Some(Err(error.clone()));
                    }
                    continue;
                }
                Err(Stop::Failed(error)) => return Err(error),
            };
            for (at, take) in group {
                let taken = self.hand_out(&found.0, &take, &mut found.1);
                answers[at] = Some(settled(taken.map(Answer::Taken))?);
            }
        }
        Ok(())
    }

    fn take_some(&mut self, take: &Take) -> Applied {
        let (queue, items) = self.next_items(&take.queue, take.reference.as_ref(), take.count)?;
        self.hand_out(&queue, take, &mut items.into_iter()).map(Answer::Taken)
    }

    #[expect(clippy::type_complexity, reason = "a pair used in two places of this file")]
    fn next_items(
        &mut self,
        queue: &str,
        reference: Option<&crate::model::item::ReferenceFilter>,
        count: usize,
    ) -> Applied<(Arc<QueueDefinition>, Vec<(ItemState, Box<QueueItem>)>)> {
        let queue = self.queue(queue)?;
        let items = self.rows.next_items(&NextItems { queue: queue.id, reference, count, now: self.now })?;
        Ok((queue, items))
    }

    fn hand_out(
        &mut self,
        queue: &QueueDefinition,
        take: &Take,
        items: &mut std::vec::IntoIter<(ItemState, Box<QueueItem>)>,
    ) -> Applied<Vec<ClaimedItem>> {
        if items.len() == 0 {
            return Ok(Vec::new());
        }
        self.job(take.job)?.alive()?;
        let mut taken = Vec::with_capacity(take.count.min(items.len()));
        while taken.len() < take.count {
            let Some((state, mut item)) = items.next() else { break };
            let claim = self.start(item.id, &state, queue, take)?;
            item.status = Status::InProgress;
            item.start_processing = Some(self.now.max(item.creation_time));
            item.row_version = claim.token;
            item.executor_job = Some(take.job);
            item.robot = Some(take.robot);
            taken.push(ClaimedItem { item, claim });
        }
        Ok(taken)
    }

    /// Takes one item.
    fn start(
        &mut self,
        id: ItemId,
        state: &ItemState,
        queue: &QueueDefinition,
        take: &Take,
    ) -> Applied<Claim> {
        let event = Event::Take { job: take.job.number() };
        let Transition::Change(change) = lifecycle::transition(state, event, &queue.policy, self.now)? else {
            unreachable!("a take changes the item");
        };
        let written =
            Written { taken_by: Some((take.job, take.robot)), ..Written::state(&change.after, self.now) };
        self.apply(id, queue.id, state, &change, &written)?;
        Ok(Claim { item: id, job: take.job, token: change.after.token })
    }

    // Reporting: T4 to T12

    fn report(&mut self, report: &Report) -> Applied {
        let id = report.claim.item;
        // An item that is not there any more (retention took its chain) is a claim that is lost.
        let Some(row) = self.rows.row(id)? else {
            return Err(
                Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, format!("item {id} does not exist")).into()
            );
        };
        let event = event_of(&report.result, report.claim.holder());
        // The items of a deleted queue are Deleted: whatever the policy, the rules answer that the claim is lost.
        let policy = self.rows.queue(row.queue)?.map(|queue| queue.policy.clone()).unwrap_or_default();
        let transition = lifecycle::transition(&row.state, event, &policy, self.now)?;
        if let Some(progress) = &report.progress {
            validate_progress(progress)?;
        }
        let Transition::Change(change) = transition else {
            return Ok(Answer::Status(row.state.status));
        };
        let mut written =
            Written { progress: report.progress.as_deref(), ..Written::state(&change.after, self.now) };
        let bounded;
        match &report.result {
            TransactionResult::Successful { output } => written.output = output.as_ref(),
            TransactionResult::Failed { exception: Some(exception), .. } => {
                bounded = exception.clone().within_limits();
                written.exception = Some(&bounded);
            }
            _ => {}
        }
        self.apply(id, row.queue, &row.state, &change, &written)?;
        Ok(Answer::Status(change.after.status))
    }

    fn progress(&mut self, claim: Claim, progress: &str) -> Applied {
        validate_progress(progress)?;
        let row = self.row(claim.item)?;
        let policy = self.policy(row.queue)?;
        let event = Event::Progress { claim: Some(claim.holder()) };
        if let Transition::Change(change) = lifecycle::transition(&row.state, event, &policy, self.now)? {
            let written = Written { progress: Some(progress), ..Written::state(&change.after, self.now) };
            self.apply(claim.item, row.queue, &row.state, &change, &written)?;
        }
        Ok(Answer::Done)
    }

    // People: queues, T16 to T24, comments

    fn create_queue(&mut self, new: NewQueueDefinition) -> Applied {
        new.validate()?;
        self.check_name_is_free(&new.name, None)?;
        let mut queue = QueueDefinition {
            id: QueueId(0),
            key: self.rows.keys().queue(self.now),
            name: new.name,
            description: new.description,
            policy: new.policy,
            creation_time: self.now,
        };
        queue.id = self.rows.insert_queue(&queue)?;
        Ok(Answer::Queue(queue))
    }

    fn update_queue(&mut self, name: &str, new: NewQueueDefinition) -> Applied {
        let queue = self.queue(name)?;
        new.validate_change_of(&queue)?;
        self.check_name_is_free(&new.name, Some(queue.id))?;
        let NewQueueDefinition { name, description, policy } = new;
        let queue = QueueDefinition { name, description, policy, ..(*queue).clone() };
        self.rows.update_queue(&queue)?;
        Ok(Answer::Queue(queue))
    }

    fn check_name_is_free(&mut self, name: &str, except: Option<QueueId>) -> Applied<()> {
        match self.rows.queue_named(name)? {
            Some(taken) if Some(taken.id) != except => {
                let message = format!("the name {:?} is already used", taken.name);
                Err(Refusal::new(ErrorCode::NAME_ALREADY_USED, message).into())
            }
            _ => Ok(()),
        }
    }

    fn delete_queue(&mut self, name: &str) -> Applied {
        let queue = self.queue(name)?;
        for id in self.rows.unfinished(queue.id)? {
            self.happen(id, Event::Delete)?;
        }
        self.rows.delete_queue(queue.id)?;
        Ok(Answer::Done)
    }

    fn edit(&mut self, id: ItemId, edit: &ItemEdit) -> Applied {
        let row = self.row(id)?;
        if let Some(progress) = &edit.progress {
            validate_progress(progress)?;
        }
        let event = Event::Edit {
            priority: edit.priority.unwrap_or(row.state.priority),
            due_date: edit.due_date.unwrap_or(row.state.due_date),
            defer_date: edit.defer_date.unwrap_or(row.state.defer_date),
        };
        let policy = self.policy(row.queue)?;
        if let Transition::Change(change) = lifecycle::transition(&row.state, event, &policy, self.now)? {
            let written =
                Written { progress: edit.progress.as_deref(), ..Written::state(&change.after, self.now) };
            self.apply(id, row.queue, &row.state, &change, &written)?;
            if let Some(content) = &edit.specific_content {
                self.rows.set_content(id, content)?;
            }
        }
        Ok(Answer::Item(Box::new(self.item(id)?)))
    }

    fn delete(&mut self, item: ItemVersion) -> Applied<()> {
        let row = self.row(item.id)?;
        if row.state.row_version != item.row_version {
            let message = format!("the item changed: it is at version {}", row.state.row_version);
            return Err(Refusal::new(ErrorCode::OPTIMISTIC_CONCURRENCY, message).into());
        }
        self.happen(item.id, Event::Delete).map(drop)
    }

    fn review(&mut self, to: ReviewStatus, item: ItemVersion) -> Applied<()> {
        self.happen(item.id, Event::Review { to, row_version: item.row_version }).map(drop)
    }

    /// Does something to each item; collects those that are refused.
    fn each(
        &mut self,
        items: Vec<ItemVersion>,
        mut act: impl FnMut(&mut Self, ItemVersion) -> Applied<()>,
    ) -> Applied {
        let mut failed = FailedItems::new();
        for item in items {
            match act(self, item) {
                Ok(()) => {}
                Err(Stop::Refused(error)) => failed.push((item.id, refusal_of(&error))),
                Err(stop) => return Err(stop),
            }
        }
        Ok(Answer::Failed(failed))
    }

    fn add_comment(&mut self, id: ItemId, author: &Person, text: &str) -> Applied {
        self.row(id)?;
        validate_comment(text)?;
        Ok(Answer::Comment(self.rows.insert_comment(id, author, text, self.now)?))
    }

    fn edit_comment(&mut self, id: i64, person: &Person, text: Option<&str>) -> Applied {
        let Some(comment) = self.rows.comment(id)? else {
            return Err(Stop::Refused(OrchestratorError::not_found(format!("comment {id} does not exist"))));
        };
        validate_comment_author(&comment, person)?;
        text.map_or(Ok(()), validate_comment)?;
        self.rows.write_comment(id, text)?;
        Ok(Answer::Done)
    }

    fn purge(&mut self, id: ItemId) -> Applied {
        self.happen(id, Event::Purge)?;
        self.rows.set_content(id, &SpecificContent::empty())?;
        Ok(Answer::Done)
    }

    fn apply_retention(&mut self, limit: usize) -> Applied {
        let mut removed = 0;
        for queue in self.rows.queues()? {
            let policy = &queue.policy;
            let days = policy.retention_days.min(policy.stale_retention_days);
            let age = std::time::Duration::from_secs(u64::from(days) * 86_400);
            let Ok(before) = self.now.checked_sub(age) else { continue };
            let mut after = ItemId(0);
            while removed < limit {
                let roots = self.rows.roots_created_before(queue.id, before, after, limit - removed)?;
                let Some(last) = roots.last() else { break };
                after = *last;
                for root in roots {
                    removed += self.remove_chain(root, policy)?;
                }
            }
        }
        Ok(Answer::Removed(removed as u64))
    }

    /// T23: a chain goes as a whole or not at all.
    fn remove_chain(&mut self, root: ItemId, policy: &QueuePolicy) -> Applied<usize> {
        let mut rows = Vec::new();
        for id in self.rows.chain(root)? {
            rows.push((id, self.row(id)?));
        }
        let whole_chain_expired =
            rows.iter().all(|(_, row)| lifecycle::is_expired(&row.state, policy, self.now));
        if !whole_chain_expired {
            return Ok(0);
        }
        for (id, row) in &rows {
            let event = Event::Expire { whole_chain_expired };
            let transition = lifecycle::transition(&row.state, event, policy, self.now)?;
            assert_eq!(transition, Transition::Remove, "an expired chain is removed");
            self.rows.remove_item(*id)?;
            self.statistics.entry(row.queue).or_default().count(&row.state, -1);
        }
        Ok(rows.len())
    }

    // What all of them share

    /// Asks the rules what an event does to an item, and writes it.
    fn happen(&mut self, id: ItemId, event: Event) -> Applied<Status> {
        let row = self.row(id)?;
        let policy = self.policy(row.queue)?;
        match lifecycle::transition(&row.state, event, &policy, self.now)? {
            Transition::Unchanged | Transition::Remove => Ok(row.state.status),
            Transition::Change(change) => {
                self.apply(id, row.queue, &row.state, &change, &Written::state(&change.after, self.now))?;
                Ok(change.after.status)
            }
        }
    }

    /// Writes a change with everything that belongs to it.
    fn apply(
        &mut self,
        id: ItemId,
        queue: QueueId,
        before: &ItemState,
        change: &Change,
        written: &Written<'_>,
    ) -> Applied<()> {
        self.rows.write(id, before, written)?;
        for event in &change.recorded {
            self.rows.record(id, event)?;
        }
        let counted = self.statistics.entry(queue).or_default();
        counted.moved(before, &change.after);
        if let Some(copy) = &change.copy {
            counted.count(copy, 1);
            let unique_key = self.rows.keys().item(self.now);
            let by_hand = copy.manual_retry_number > before.manual_retry_number;
            self.rows.insert_copy(&Copy { original: id, unique_key, state: copy, by_hand, now: self.now })?;
        }
        self.wake |= change.copy.is_some() || change.after.status == Status::New;
        Ok(())
    }

    fn write_statistics(&mut self) -> Result<()> {
        for (queue, delta) in std::mem::take(&mut self.statistics) {
            if delta != QueueStatistics::default() {
                self.rows.add_statistics(queue, &delta)?;
            }
        }
        Ok(())
    }

    fn queue(&mut self, name: &str) -> Applied<Arc<QueueDefinition>> {
        let queue = self.rows.queue_named(name)?;
        queue.ok_or_else(|| Stop::Refused(OrchestratorError::no_queue(name)))
    }

    /// The policy of an item's queue. Of a deleted queue nothing is found.
    fn policy(&mut self, queue: QueueId) -> Applied<QueuePolicy> {
        let queue = self.rows.queue(queue)?;
        let gone = || Stop::Refused(OrchestratorError::not_found("the queue of the item was deleted"));
        Ok(queue.ok_or_else(gone)?.policy.clone())
    }

    fn row(&mut self, id: ItemId) -> Applied<Row> {
        let row = self.rows.row(id)?;
        row.ok_or_else(|| Stop::Refused(OrchestratorError::no_item(id)))
    }

    fn item(&mut self, id: ItemId) -> Applied<QueueItem> {
        let item = self.rows.item(id)?;
        item.ok_or_else(|| Stop::Refused(OrchestratorError::no_item(id)))
    }

    fn job(&mut self, key: JobKey) -> Applied<Job> {
        let job = self.rows.job(key)?;
        job.ok_or_else(|| Stop::Refused(OrchestratorError::not_found(format!("job {key} does not exist"))))
    }
}

fn event_of(result: &TransactionResult, claim: Holder) -> Event {
    match result {
        TransactionResult::Postponed { defer_date, due_date } => {
            Event::Postpone { claim, defer_date: *defer_date, due_date: *due_date }
        }
        TransactionResult::GivenBack => Event::GiveBack { claim },
        TransactionResult::Successful { .. } | TransactionResult::Failed { .. } => {
            let defer_date = match result {
                TransactionResult::Failed { defer_date, .. } => *defer_date,
                _ => None,
            };
            let outcome = result.outcome().unwrap_or(crate::model::result::Outcome::Unspecified);
            Event::Report { claim, outcome, defer_date }
        }
    }
}

/// A refusal is an answer; a failure ends the batch.
fn settled(applied: Applied) -> Result<Result<Answer>> {
    match applied {
        Ok(answer) => Ok(Ok(answer)),
        Err(Stop::Refused(error)) => Ok(Err(error)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn failed_item(at: usize, stop: Stop) -> Applied<FailedItem> {
    match stop {
        Stop::Refused(error) => Ok(FailedItem { ordinal: at + 1, refusal: refusal_of(&error) }),
        Stop::Failed(_) => Err(stop),
    }
}

fn refusal_of(error: &OrchestratorError) -> Refusal {
    Refusal::new(error.code().unwrap_or(ErrorCode::INVALID_REQUEST), error.to_string())
}

fn answer<R: Rows>(rows: &mut R, query: Query) -> Result<Answer> {
    match query {
        Query::Queue(name) => Ok(Answer::Queue((*named(rows, &name)?).clone())),
        Query::Queues => Ok(Answer::Queues(rows.queues()?)),
        Query::Statistics(name) => {
            let queue = named(rows, &name)?;
            Ok(Answer::Statistics(rows.statistics(queue.id)?))
        }
        Query::Item(id) => Ok(Answer::Item(Box::new(existing(rows, id)?))),
        Query::Items(filter, page) => {
            page.validate()?;
            let queue = filter.queue.as_deref().map(|name| named(rows, name)).transpose()?;
            Ok(Answer::Items(rows.list(queue.map(|queue| queue.id), &filter, page)?))
        }
        Query::History(id) => {
            let chain = chain(rows, id)?;
            let items: Result<Vec<_>> = chain.into_iter().map(|id| existing(rows, id)).collect();
            Ok(Answer::History(items?))
        }
        Query::Events(id) => {
            let mut all = Vec::new();
            for id in chain(rows, id)? {
                if let Some(row) = rows.row(id)? {
                    all.extend(events(id, &row.state, &rows.recorded(id)?));
                }
            }
            Ok(Answer::Events(all))
        }
        Query::Comments(id) => {
            let mut all = Vec::new();
            for id in chain(rows, id)? {
                all.extend(rows.comments_on(id)?);
            }
            all.sort_by_key(|comment| comment.id);
            Ok(Answer::Comments(all))
        }
        Query::Jobs { limit } => Ok(Answer::Jobs(rows.jobs(limit)?)),
    }
}

fn chain<R: Rows>(rows: &mut R, id: ItemId) -> Result<Vec<ItemId>> {
    existing(rows, id)?;
    rows.chain(id)
}

fn named<R: Rows>(rows: &mut R, name: &str) -> Result<Arc<QueueDefinition>> {
    rows.queue_named(name)?.ok_or_else(|| OrchestratorError::no_queue(name))
}

fn existing<R: Rows>(rows: &mut R, id: ItemId) -> Result<QueueItem> {
    rows.item(id)?.ok_or_else(|| OrchestratorError::no_item(id))
}
