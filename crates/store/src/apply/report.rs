//! Results and progress: T4 to T12 of `docs/reference/lifecycle.md`.

use jiff::Timestamp;

use super::super::backend::{Answer, Scope};
use super::super::rows::{ItemRow, Rows, StateUpdate};
use super::super::scoped_items::UnclaimedReport;
use super::{Applied, Apply, ApplyError, answer_of};
use performer_core::crash_point;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::content::{Analytics, Output};
use performer_core::model::exception::ProcessingException;
use performer_core::model::item::{Priority, validate_operation_id, validate_progress};
use performer_core::model::key::{Claim, Holder, ItemId};
use performer_core::model::lifecycle::{self, Change, Event, ItemState, Transition};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::result::{Outcome, TransactionResult};
use performer_core::model::schema::SchemaOf;
use performer_core::model::status::Status;
use performer_core::model::task::NewTask;
use performer_core::orchestrator::{ErrorKind, FollowUps, OrchestratorError, Report, Result};

/// A report of the end of an attempt.
pub(super) enum AttemptReport {
    /// By a performer, with its claim.
    Report(Report),
    /// By a caller over HTTP, without a claim: for whoever holds the item (orchestrator-api 9.1). With the result that
    /// follows from what was stated, at the time of the transaction.
    Unclaimed(Box<UnclaimedReport>, TransactionResult),
}

/// The parts of a report, of either kind.
struct AttemptEnd<'a> {
    item: ItemId,
    /// `None`: whoever holds the item.
    claim: Option<Holder>,
    result: &'a TransactionResult,
    output: Option<&'a Output>,
    analytics: Option<&'a Analytics>,
    progress: Option<&'a str>,
    operation_id: Option<&'a str>,
    /// What is added with a success. `None`: nothing.
    follow_ups: Option<&'a FollowUps>,
    /// By what a person is asked with a postponement.
    ask: Option<&'a NewTask>,
}

impl AttemptReport {
    pub(super) fn unclaimed(unclaimed: Box<UnclaimedReport>, now: Timestamp) -> Self {
        let result = unclaimed.stated.result_at(now);
        Self::Unclaimed(unclaimed, result)
    }

    fn end(&self) -> AttemptEnd<'_> {
        match self {
            Self::Report(Report { claim, result, progress, follow_ups, ask, .. }) => AttemptEnd {
                item: claim.item,
                claim: Some(claim.holder()),
                result,
                output: match result {
                    TransactionResult::Successful { output } => output.as_ref(),
                    _ => None,
                },
                analytics: None,
                progress: progress.as_deref(),
                operation_id: None,
                follow_ups: Some(follow_ups).filter(|follow_ups| !follow_ups.is_empty()),
                ask: ask.as_deref(),
            },
            Self::Unclaimed(unclaimed, result) => AttemptEnd {
                item: unclaimed.item,
                claim: None,
                result,
                output: unclaimed.output.as_ref(),
                analytics: unclaimed.analytics.as_ref(),
                progress: unclaimed.progress.as_deref(),
                operation_id: unclaimed.operation_id.as_deref(),
                follow_ups: None,
                ask: None,
            },
        }
    }
}

impl<'a> AttemptEnd<'a> {
    fn validate(&self) -> std::result::Result<(), Refusal> {
        self.progress.map_or(Ok(()), validate_progress)?;
        self.follow_ups.map_or(Ok(()), |follow_ups| follow_ups.validate(self.result))?;
        match (self.ask, self.result) {
            (None, _) => {}
            (Some(task), TransactionResult::Postponed { .. }) => task.validate()?,
            (Some(_), _) => {
                let message = "a task is made with a postponement only";
                return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message));
            }
        }
        self.operation_id.map_or(Ok(()), |name| validate_operation_id("OperationId", name))
    }

    /// The update that writes this end with the state `after`.
    fn written(&self, after: &'a ItemState, now: Timestamp, by: Option<i64>) -> StateUpdate<'a> {
        StateUpdate {
            ended_by: by,
            output: self.output,
            analytics: self.analytics,
            operation_id: self.operation_id.filter(|_| after.status.is_final()),
            progress: self.progress,
            ..StateUpdate::state(after, now)
        }
    }

    /// The exception to store.
    fn exception(&self) -> Option<ProcessingException> {
        match self.result {
            TransactionResult::Failed { exception, .. } => {
                exception.clone().map(ProcessingException::within_limits)
            }
            _ => None,
        }
    }

    /// The refusal if the item does not exist, or not for this caller.
    fn not_there(&self) -> ApplyError {
        let id = self.item;
        match self.claim {
            Some(_) => {
                Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, format!("item {id} does not exist")).into()
            }
            None => ApplyError::Refused(OrchestratorError::no_item(id)),
        }
    }
}

/// The end of an attempt, computed from the cached row of its item.
pub(super) struct AssumedEnd {
    /// Index of its answer.
    at: usize,
    report: AttemptReport,
    row: ItemRow,
    change: Change,
    exception: Option<ProcessingException>,
    /// The scope of the report.
    scope: Scope,
}

impl<R: Rows> Apply<'_, R> {
    /// Ends an attempt. In nearly all cases the row need not be read, and the end is kept to be written together with
    /// others. An end with follow-ups is written at once: whether they can be added has to be known before.
    pub(super) fn end_or_assume(
        &mut self,
        report: AttemptReport,
        answers: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        let end = report.end();
        if matches!(end.result, TransactionResult::Successful { .. } | TransactionResult::Failed { .. })
            && end.follow_ups.is_none()
            && end.validate().is_ok()
            && let Some(row) = self.rows.cached_row(end.item)
            && let Some(change) = self.assume(&end, &row)?
        {
            if self.assumed.is_empty() {
                self.assumed.reserve(64);
            }
            let (at, exception) = (answers.len(), end.exception());
            self.assumed.push(AssumedEnd { at, report, row, change, exception, scope: self.scope });
            answers.push(Ok(Answer::Done)); // until it is written
            return Ok(());
        }
        self.write_assumed(answers)?;
        answers.push(answer_of(self.end(&end))?);
        crash_point!(within "after_write");
        Ok(())
    }

    /// The change that the end makes if nobody has changed the row. `None`: the row has to be read.
    fn assume(&mut self, end: &AttemptEnd<'_>, row: &ItemRow) -> Result<Option<Change>> {
        let queue = match self.queue_by_id(row.queue) {
            Ok(Some(queue)) => queue,
            Ok(None) | Err(ApplyError::Refused(_)) => return Ok(None),
            Err(ApplyError::Failed(error)) => return Err(error),
        };
        let is_checked = queue.schemas.output_data.is_some() || queue.schemas.analytics_data.is_some();
        if is_checked || !self.reaches(end, &queue) {
            return Ok(None);
        }
        let Some(holder) = end.claim.or(row.state.holder) else { return Ok(None) };
        match lifecycle::transition(
            end.item,
            &row.state,
            event_of(end.result, holder),
            &queue.policy,
            self.now,
        ) {
            // An end is written without these columns, so they must not change.
            Ok(Transition::Change(change))
                if requested_values(&change.after) == requested_values(&row.state) =>
            {
                Ok(Some(change))
            }
            _ => Ok(None),
        }
    }

    /// Writes the assumed ends. If another process has changed a row, it is read and the report applied to it.
    pub(super) fn write_assumed(&mut self, answers: &mut [Result<Answer>]) -> Result<()> {
        if self.assumed.is_empty() {
            return Ok(());
        }
        let assumed = std::mem::take(&mut self.assumed);
        let rows = assumed.iter().map(|AssumedEnd { report, row, change, exception, scope, .. }| {
            let end = report.end();
            let written = StateUpdate {
                exception: exception.as_ref(),
                ..end.written(&change.after, self.now, scope.user)
            };
            (end.item, row.queue, &row.state, written)
        });
        let rows: Vec<_> = rows.collect();
        let written = self.rows.write_ended(&rows)?;
        drop(rows);
        crash_point!("report.after_write");
        for (AssumedEnd { at, report, row, change, scope, exception }, written) in assumed.iter().zip(written)
        {
            let here = std::mem::replace(&mut self.scope, *scope);
            let end = report.end();
            crash_point!(resumes "report");
            let ended = if written {
                self.record_change(end.item, row, change)
                    .and_then(|_| self.count_failure(end.item, row.queue, change, exception.as_ref()))
                    .map(|()| Answer::Status(change.after.status))
            } else {
                self.end(&end)
            };
            self.scope = here;
            answers[*at] = answer_of(ended)?;
        }
        Ok(())
    }

    fn end(&mut self, end: &AttemptEnd<'_>) -> Applied {
        end.validate()?;
        let id = end.item;
        // In nearly all cases the row is as this process wrote it and need not be read; the guarded write detects the
        // others.
        if let Some(row) = self.rows.cached_row(id) {
            match self.end_at(end, &row) {
                Ok(Some(status)) => return Ok(Answer::Status(status)),
                Ok(None) | Err(ApplyError::Refused(_)) => {} // another process may have changed it: read it
                Err(failed) => return Err(failed),
            }
        }
        // A claim on an item that does not exist any more (retention removed its chain) is lost.
        let row = self.rows.row(id)?.ok_or_else(|| end.not_there())?;
        let status = self.end_at(end, &row)?;
        status.map(Answer::Status).ok_or_else(|| unreachable!("item {id} was read in this transaction"))
    }

    /// Ends the attempt of an item whose row is, or was, `row`. `None`: it has changed, and nothing was written.
    fn end_at(&mut self, end: &AttemptEnd<'_>, row: &ItemRow) -> Applied<Option<Status>> {
        let id = end.item;
        // The items of a deleted queue do not exist, although their rows may not be removed yet.
        let queue = self.queue_by_id(row.queue)?.filter(|queue| self.reaches(end, queue));
        let queue = queue.ok_or_else(|| end.not_there())?;
        let holder = match end.claim {
            Some(claim) => claim,
            None => lifecycle::whoever_holds(&row.state)?,
        };
        if row.state.holder == Some(holder) {
            check_schemas(&queue, end.output, end.analytics)?;
        }
        let event = event_of(end.result, holder);
        let transition = lifecycle::transition(id, &row.state, event, &queue.policy, self.now)?;
        let Transition::Change(change) = transition else {
            return Ok(Some(row.state.status));
        };
        // Only a success has some, and only here does it become one: a repeat is unchanged, and a lost claim refused.
        let follow_ups = end.follow_ups.map(|all| self.checked_follow_ups(all)).transpose()?;
        let ask = end.ask.map(|task| self.checked_ask(task)).transpose().map_err(|error| match error {
            // A performer reports another result then.
            ApplyError::Refused(error) => {
                ApplyError::Refused(error.reworded(ErrorKind::Invalid, str::to_owned))
            }
            failed @ ApplyError::Failed(_) => failed,
        })?;
        let exception = end.exception();
        let by = self.scope.user;
        let written =
            StateUpdate { exception: exception.as_ref(), ..end.written(&change.after, self.now, by) };
        if !self.rows.write(id, row, &written)? {
            return Ok(None);
        }
        self.record_change(id, row, &change)?;
        self.count_failure(id, row.queue, &change, exception.as_ref())?;
        self.insert_follow_ups(follow_ups.unwrap_or_default())?;
        if let (Some(ask), TransactionResult::Postponed { defer_date, .. }) = (ask, end.result) {
            self.ask(id, &ask, *defer_date)?;
        }
        Ok(Some(change.after.status))
    }

    pub(super) fn progress(&mut self, claim: Claim, progress: &str) -> Applied {
        validate_progress(progress)?;
        let row = self.row(claim.item)?;
        let queue = self.queue_by_id(row.queue)?;
        if !self.may_reach(queue.as_deref()) {
            return Err(ApplyError::Refused(OrchestratorError::no_item(claim.item)));
        }
        let policy = self.policy(row.queue)?;
        let event = Event::Progress { claim: Some(claim.holder()) };
        if let Transition::Change(change) =
            lifecycle::transition(claim.item, &row.state, event, &policy, self.now)?
        {
            let written =
                StateUpdate { progress: Some(progress), ..StateUpdate::state(&change.after, self.now) };
            self.write_change(claim.item, &row, &change, &written)?;
        }
        Ok(Answer::Done)
    }

    /// T10, by a caller over HTTP.
    pub(super) fn progress_of(&mut self, id: ItemId, progress: &str) -> Applied {
        validate_progress(progress)?;
        let row = self.row_here(id)?;
        let policy = self.policy(row.queue)?;
        let event = Event::Progress { claim: None };
        if let Transition::Change(change) = lifecycle::transition(id, &row.state, event, &policy, self.now)? {
            let written =
                StateUpdate { progress: Some(progress), ..StateUpdate::state(&change.after, self.now) };
            self.write_change(id, &row, &change, &written)?;
        }
        Ok(Answer::Done)
    }

    /// Whether the caller may see the item. Without a claim it has to be in the folder.
    fn reaches(&self, end: &AttemptEnd<'_>, queue: &QueueDefinition) -> bool {
        match end.claim {
            Some(_) => self.may_reach(Some(queue)),
            None => queue.folders.contains(&self.scope.folder),
        }
    }
}

/// The columns that were set when the item was requested, and not by its attempts.
fn requested_values(state: &ItemState) -> (Priority, Option<Timestamp>, Option<Timestamp>, bool) {
    (state.priority, state.due_date, state.defer_date, state.holds_reference)
}

/// Checks output and analytics against the schemas of the queue.
fn check_schemas(
    queue: &QueueDefinition,
    output: Option<&Output>,
    analytics: Option<&Analytics>,
) -> std::result::Result<(), Refusal> {
    if let Some(output) = output {
        queue.schemas.validate(SchemaOf::OutputData, output.as_json())?;
    }
    if let Some(analytics) = analytics {
        queue.schemas.validate(SchemaOf::AnalyticsData, analytics.as_json())?;
    }
    Ok(())
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
            let outcome = result.outcome().unwrap_or(Outcome::Unspecified);
            Event::Report { claim, outcome, defer_date }
        }
    }
}
