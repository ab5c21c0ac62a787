//! Reporting, and the progress until then: T4 to T12 of `docs/reference/lifecycle.md`.

use jiff::Timestamp;

use super::super::super::{OrchestratorError, Report, Result};
use super::super::rows::{ItemRow, Rows, StateUpdate};
use super::super::backend::{Answer, UnclaimedReport, Scope};
use super::{Applied, Apply, ApplyError, answer_of};
use crate::crash_point::crash_point;
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::content::{Analytics, Output};
use crate::model::exception::ProcessingException;
use crate::model::item::{Priority, validate_operation_id, validate_progress};
use crate::model::key::{Claim, Holder, ItemId};
use crate::model::lifecycle::{self, Change, Event, ItemState, Transition};
use crate::model::queue::QueueDefinition;
use crate::model::result::{Outcome, TransactionResult};
use crate::model::schema::SchemaOf;
use crate::model::status::Status;

/// The end of an attempt as somebody tells it.
pub(super) enum AttemptReport {
    /// By a performer, who shows a claim.
    Report(Report),
    /// By a caller over HTTP, who has none: for whoever holds the item (orchestrator-api 9.1). With what was stated,
    /// judged by the time of the transaction.
    Unclaimed(Box<UnclaimedReport>, TransactionResult),
}

/// The same, whoever tells it.
struct AttemptEnd<'a> {
    item: ItemId,
    /// `None`: for whoever holds it.
    claim: Option<Holder>,
    result: &'a TransactionResult,
    output: Option<&'a Output>,
    analytics: Option<&'a Analytics>,
    progress: Option<&'a str>,
    operation_id: Option<&'a str>,
}

impl AttemptReport {
    pub(super) fn unclaimed(unclaimed: Box<UnclaimedReport>, now: Timestamp) -> Self {
        let result = unclaimed.stated.result_at(now);
        Self::Unclaimed(unclaimed, result)
    }

    fn end(&self) -> AttemptEnd<'_> {
        match self {
            Self::Report(Report { claim, result, progress }) => AttemptEnd {
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
            },
            Self::Unclaimed(unclaimed, result) => AttemptEnd {
                item: unclaimed.item,
                claim: None,
                result,
                output: unclaimed.output.as_ref(),
                analytics: unclaimed.analytics.as_ref(),
                progress: unclaimed.progress.as_deref(),
                operation_id: unclaimed.operation_id.as_deref(),
            },
        }
    }
}

impl<'a> AttemptEnd<'a> {
    fn validate(&self) -> std::result::Result<(), Refusal> {
        self.progress.map_or(Ok(()), validate_progress)?;
        self.operation_id.map_or(Ok(()), |name| validate_operation_id("OperationId", name))
    }

    /// What is written with a state that this leads to.
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

    /// The exception that it is told with, as it is kept.
    fn exception(&self) -> Option<ProcessingException> {
        match self.result {
            TransactionResult::Failed { exception, .. } => {
                exception.clone().map(ProcessingException::within_limits)
            }
            _ => None,
        }
    }

    /// Of an item that is not there, or not for this caller.
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

/// The end of an attempt of an item whose row is believed to be as this process left it when it took the item.
pub(super) struct AssumedEnd {
    /// The place of its answer.
    at: usize,
    report: AttemptReport,
    row: ItemRow,
    change: Change,
    exception: Option<ProcessingException>,
    /// Who reports, and where.
    scope: Scope,
}

impl<R: Rows> Apply<'_, R> {
    /// Ends an attempt. Where the row need not be read, which is nearly always so, it is kept to be written together with others.
    pub(super) fn end_or_assume(&mut self, report: AttemptReport, answers: &mut Vec<Result<Answer>>) -> Result<()> {
        let end = report.end();
        if matches!(end.result, TransactionResult::Successful { .. } | TransactionResult::Failed { .. })
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

    /// What an end comes to, if nobody has changed the row. None: it is to be looked at more closely.
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
        match lifecycle::transition(&row.state, event_of(end.result, holder), &queue.policy, self.now) {
            // What was asked for is not written with an end.
            Ok(Transition::Change(change)) if requested_values(&change.after) == requested_values(&row.state) => {
                Ok(Some(change))
            }
            _ => Ok(None),
        }
    }

    /// Writes what was believed; a row that somebody else has changed is read, and reported on as it is.
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
        for (AssumedEnd { at, report, row, change, scope, .. }, written) in assumed.iter().zip(written) {
            let here = std::mem::replace(&mut self.scope, *scope);
            let end = report.end();
            crash_point!(resumes "report");
            let ended = if written {
                self.record_change(end.item, row, change).map(|()| Answer::Status(change.after.status))
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
        // Nearly always the row is as this process left it, and need not be read; the guarded write finds out.
        if let Some(row) = self.rows.cached_row(id) {
            match self.end_at(end, &row) {
                Ok(Some(status)) => return Ok(Answer::Status(status)),
                Ok(None) | Err(ApplyError::Refused(_)) => {} // somebody may have been at it: read it
                Err(failed) => return Err(failed),
            }
        }
        // An item that is not there any more (retention took its chain) is a claim that is lost.
        let row = self.rows.row(id)?.ok_or_else(|| end.not_there())?;
        let status = self.end_at(end, &row)?;
        status.map(Answer::Status).ok_or_else(|| unreachable!("item {id} was read in this transaction"))
    }

    /// Ends the attempt of an item whose row is this, or was. `None`: it is not any more, and nothing was written.
    fn end_at(&mut self, end: &AttemptEnd<'_>, row: &ItemRow) -> Applied<Option<Status>> {
        let id = end.item;
        // With a queue that was deleted its items are gone, although their rows may still have to be removed.
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
        let transition = lifecycle::transition(&row.state, event, &queue.policy, self.now)?;
        let Transition::Change(change) = transition else {
            return Ok(Some(row.state.status));
        };
        let exception = end.exception();
        let by = self.scope.user;
        let written =
            StateUpdate { exception: exception.as_ref(), ..end.written(&change.after, self.now, by) };
        if !self.rows.write(id, row, &written)? {
            return Ok(None);
        }
        self.record_change(id, row, &change)?;
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
        if let Transition::Change(change) = lifecycle::transition(&row.state, event, &policy, self.now)? {
            let written = StateUpdate { progress: Some(progress), ..StateUpdate::state(&change.after, self.now) };
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
        if let Transition::Change(change) = lifecycle::transition(&row.state, event, &policy, self.now)? {
            let written = StateUpdate { progress: Some(progress), ..StateUpdate::state(&change.after, self.now) };
            self.write_change(id, &row, &change, &written)?;
        }
        Ok(Answer::Done)
    }

    /// Whether whoever ends an attempt may know of it. Without a claim it is looked for in the folder.
    fn reaches(&self, end: &AttemptEnd<'_>, queue: &QueueDefinition) -> bool {
        match end.claim {
            Some(_) => self.may_reach(Some(queue)),
            None => queue.folders.contains(&self.scope.folder),
        }
    }
}

/// What of a state stands with what was asked for, and not with what became of it.
fn requested_values(state: &ItemState) -> (Priority, Option<Timestamp>, Option<Timestamp>, bool) {
    (state.priority, state.due_date, state.defer_date, state.holds_reference)
}

/// What a transaction leaves has to look as the queue says.
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
