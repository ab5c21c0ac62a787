//! Reporting: T4 to T12.

use super::super::super::{Report, Result};
use super::super::rows::{Row, Rows, Written};
use super::super::store::{Answer, Settlement, Within};
use super::{Applied, Apply, Stop, settled};
use crate::crash_point::crash_point;
use crate::model::Refusal;
use crate::model::clock::whole_microseconds;
use crate::model::code::ErrorCode;
use crate::model::content::{Analytics, Output};
use crate::model::exception::ProcessingException;
use crate::model::item::{validate_operation_id, validate_progress};
use crate::model::key::{Holder, ItemId};
use crate::model::lifecycle::{self, Event, ItemState, Transition};
use crate::model::queue::{QueueDefinition, QueuePolicy};
use crate::model::result::{Outcome, TransactionResult};
use crate::model::schema::SchemaOf;
use crate::model::status::Status;

/// Of an item that is not there, or not for this caller.
fn no_claim(id: ItemId) -> Stop {
    Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, format!("item {id} does not exist")).into()
}

/// A success whose row is believed to be as this process left it when it took the item.
pub(super) struct Believed {
    /// The place of its answer.
    at: usize,
    report: Report,
    row: Row,
    after: ItemState,
    /// Who reports, and where.
    within: Within,
}

impl<R: Rows> Apply<'_, R> {
    /// Reports; successes whose rows need not be read are kept to be written together, which they nearly always all are.
    pub(super) fn report_or_believe(
        &mut self,
        report: Report,
        answers: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        if matches!(report.result, TransactionResult::Successful { .. })
            && report.progress.as_deref().is_none_or(|progress| validate_progress(progress).is_ok())
            && let Some(row) = self.rows.believed_row(report.claim.item)
            && let Some(after) = self.success(&report, &row)?
        {
            if self.believed.is_empty() {
                self.believed.reserve(64);
            }
            self.believed.push(Believed { at: answers.len(), report, row, after, within: self.within });
            answers.push(Ok(Answer::Done)); // until it is written
            return Ok(());
        }
        self.write_believed(answers)?;
        answers.push(settled(self.report(&report))?);
        crash_point!(within "after_write");
        Ok(())
    }

    /// The state after a success that writes nothing but the row.
    fn success(&mut self, report: &Report, row: &Row) -> Result<Option<ItemState>> {
        let queue = match self.queue_by_id(row.queue) {
            Ok(Some(queue)) => queue,
            Ok(None) | Err(Stop::Refused(_)) => return Ok(None),
            Err(Stop::Failed(error)) => return Err(error),
        };
        if queue.schemas.output_data.is_some() || !self.may_reach(Some(&queue)) {
            return Ok(None);
        }
        let event = event_of(&report.result, report.claim.holder());
        match lifecycle::transition(&row.state, event, &queue.policy, self.now) {
            Ok(Transition::Change(change)) if change.copy.is_none() && change.recorded.is_empty() => {
                Ok(Some(change.after))
            }
            _ => Ok(None),
        }
    }

    /// Writes what was believed; a row that somebody else has changed is read, and reported on as it is.
    pub(super) fn write_believed(&mut self, answers: &mut [Result<Answer>]) -> Result<()> {
        if self.believed.is_empty() {
            return Ok(());
        }
        let believed = std::mem::take(&mut self.believed);
        let rows = believed.iter().map(|Believed { report, row, after, .. }| {
            let output = match &report.result {
                TransactionResult::Successful { output } => output.as_ref(),
                _ => None,
            };
            let progress = report.progress.as_deref();
            let written = Written { output, progress, ..Written::state(after, self.now) };
            (report.claim.item, row.queue, &row.state, written)
        });
        let rows: Vec<_> = rows.collect();
        let written = self.rows.write_ended(&rows)?;
        drop(rows);
        crash_point!("report.after_write");
        for (Believed { at, report, row, after, within }, written) in believed.iter().zip(written) {
            answers[*at] = if written {
                self.statistics.entry(row.queue).or_default().moved(&row.state, after);
                Ok(Answer::Status(after.status))
            } else {
                let here = std::mem::replace(&mut self.within, *within);
                let reported = self.report(report);
                self.within = here;
                settled(reported)?
            };
        }
        Ok(())
    }

    /// The result of a caller over HTTP: for whoever holds the item.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> Applied {
        let Settlement { item: id, result, output, analytics, progress, operation_id } = settlement;
        if let Some(progress) = progress {
            validate_progress(progress)?;
        }
        if let Some(name) = operation_id {
            validate_operation_id("OperationId", name)?;
        }
        let row = self.row_here(*id)?;
        let holder = lifecycle::whoever_holds(&row.state)?;
        let queue = self.queue_by_id(row.queue)?;
        let policy = match &queue {
            Some(queue) => {
                check_schemas(queue, output.as_ref(), analytics.as_ref())?;
                queue.policy.clone()
            }
            None => QueuePolicy::default(),
        };
        let event = event_of(result, holder);
        let Transition::Change(change) = lifecycle::transition(&row.state, event, &policy, self.now)? else {
            return Ok(Answer::Status(row.state.status));
        };
        let bounded = match result {
            TransactionResult::Failed { exception, .. } => {
                exception.clone().map(ProcessingException::within_limits)
            }
            _ => None,
        };
        let ended = change.after.status.is_final();
        let written = Written {
            output: output.as_ref(),
            analytics: analytics.as_ref(),
            operation_id: operation_id.as_deref().filter(|_| ended),
            exception: bounded.as_ref(),
            progress: progress.as_deref(),
            ..Written::state(&change.after, self.now)
        };
        self.apply(*id, row.queue, &row.state, &change, &written)?;
        Ok(Answer::Status(change.after.status))
    }

    pub(super) fn report(&mut self, report: &Report) -> Applied {
        let id = report.claim.item;
        if let Some(progress) = &report.progress {
            validate_progress(progress)?;
        }
        // Nearly always the row is as this process left it, and need not be read; the guarded write finds out.
        if let Some(row) = self.rows.believed_row(id) {
            match self.report_on(report, &row) {
                Ok(Some(status)) => return Ok(Answer::Status(status)),
                Ok(None) | Err(Stop::Refused(_)) => {} // somebody may have been at it: read it
                Err(failed) => return Err(failed),
            }
        }
        // An item that is not there any more (retention took its chain) is a claim that is lost.
        let row = self.rows.row(id)?.ok_or_else(|| no_claim(id))?;
        let status = self.report_on(report, &row)?;
        status.map(Answer::Status).ok_or_else(|| unreachable!("item {id} was read in this transaction"))
    }

    /// Reports on an item whose row is this, or was. `None`: it is not any more, and nothing was written.
    fn report_on(&mut self, report: &Report, row: &Row) -> Applied<Option<Status>> {
        let id = report.claim.item;
        let event = event_of(&report.result, report.claim.holder());
        // The items of a deleted queue are Deleted: whatever the policy, the rules answer that the claim is lost.
        let queue = self.queue_by_id(row.queue)?;
        if !self.may_reach(queue.as_deref()) {
            return Err(no_claim(id));
        }
        if let (Some(queue), TransactionResult::Successful { output }) = (&queue, &report.result)
            && row.state.holder == Some(report.claim.holder())
        {
            check_schemas(queue, output.as_ref(), None)?;
        }
        let policy = queue.map(|queue| queue.policy.clone()).unwrap_or_default();
        let Transition::Change(change) = lifecycle::transition(&row.state, event, &policy, self.now)? else {
            return Ok(Some(row.state.status));
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
        if !self.rows.write(id, row.queue, &row.state, &written)? {
            return Ok(None);
        }
        self.written(id, row.queue, &row.state, &change)?;
        Ok(Some(change.after.status))
    }
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
            let (defer_date, due_date) = (whole_microseconds(*defer_date), due_date.map(whole_microseconds));
            Event::Postpone { claim, defer_date, due_date }
        }
        TransactionResult::GivenBack => Event::GiveBack { claim },
        TransactionResult::Successful { .. } | TransactionResult::Failed { .. } => {
            let defer_date = match result {
                TransactionResult::Failed { defer_date, .. } => defer_date.map(whole_microseconds),
                _ => None,
            };
            let outcome = result.outcome().unwrap_or(Outcome::Unspecified);
            Event::Report { claim, outcome, defer_date }
        }
    }
}
