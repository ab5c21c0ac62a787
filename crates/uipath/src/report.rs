//! Reporting results and progress, and finding out whether a report whose answer was lost was recorded (orchestrator-api 9).
//!
//! SetTransactionResult is not idempotent. After one that may have been executed the item is read: if it is final and has the
//! `OperationId` of the claim, the report was recorded; if it is InProgress in the same attempt, it was not; otherwise the
//! claim is lost. The item is also read when the server refuses a report, because it may be the repetition of a recorded one.

use tokio::time::Instant as Moment;

use super::Inner;
use super::call::{Call, CallError};
use super::claim::get_item;
use super::claim_registry::{HeldClaim, claim_lost, not_held};
use performer_core::model::code::ErrorCode;
use performer_core::model::item::validate_progress;
use performer_core::model::key::Claim;
use performer_core::model::lifecycle::validate_postponement;
use performer_core::model::result::{Outcome, TransactionResult};
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Report, Result};
use performer_wire::item::QueueItemDto;
use performer_wire::transaction::{
    SetTransactionProgressRequest, SetTransactionResultRequest, TransactionResultDto,
};

/// The number of refusals after which a report is given up although the claim still holds.
const MAX_REFUSALS: u32 = 15;

/// What became of a report, according to the item.
enum ReportState {
    /// The report was recorded; the item has this status.
    Recorded(Status),
    /// The report was not recorded, and the claim still holds.
    StillHeld,
    /// The item was to go back into the queue, but the server has ended the attempt with this status instead.
    EndedInstead(Status),
    /// The claim is no longer valid, and why.
    ClaimLost(String),
}

impl Inner {
    pub(super) async fn report(&self, report: &Report) -> Result<Status> {
        let (claim, result) = (report.claim, &report.result);
        let held = self.registry().held(claim).cloned();
        let Some(held) = held else { return self.registry().repeat_answer(claim, result) };
        if held.in_doubt {
            match self.check_report(&held, result).await? {
                ReportState::StillHeld => {}
                found => return self.finish_report(&held, result, found),
            }
        }
        if !report.follow_ups.is_empty() {
            report.follow_ups.validate(result)?;
            self.add_follow_ups(&held, &report.follow_ups).await?;
        }
        let asked;
        let (report, result) = match &report.ask {
            Some(task) => {
                asked = self.ask_first(held.key, report, task).await?;
                (&asked, &asked.result)
            }
            None => (report, result),
        };
        let (earliest, latest) = self.server_time();
        if let TransactionResult::Postponed { defer_date, .. } = result {
            validate_postponement(*defer_date, earliest)?;
        }
        let put_back_until = latest.checked_add(self.http.timing.postpone_margin).unwrap_or(latest);
        let mut dto =
            TransactionResultDto::new(result, report.progress.as_deref(), held.due_date, put_back_until);
        // A postponement must be read before its date: after it, the server would make the item Successful.
        let until = dto.defer_date.filter(|_| result.outcome().is_none());
        let until =
            until.and_then(|date| Moment::now().checked_add(date.0.duration_since(latest).unsigned_abs()));
        if self.http.supports_operation_ids() {
            dto.operation_id = Some(held.operation_id());
        }
        let path = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", claim.item());
        let body = SetTransactionResultRequest { transaction_result: dto };
        match self.http.done(Call::post("SetTransactionResult", path, &body).until(until)).await {
            Ok(()) => {
                let status = self.status_after(&held, result).await?;
                self.finish_report(&held, result, ReportState::Recorded(status))
            }
            Err(CallError { error, maybe_executed: true }) => {
                if let Some(held) = self.registry().held_mut(claim) {
                    held.in_doubt = true;
                }
                match self.check_report(&held, result).await? {
                    ReportState::StillHeld => Err(error),
                    found => self.finish_report(&held, result, found),
                }
            }
            Err(CallError { error, .. })
                if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Invalid) =>
            {
                self.resolve_refusal(&held, result, error).await
            }
            Err(CallError { error, .. }) => Err(error),
        }
    }

    /// Handles a refused report: the claim is lost, the report was recorded before, or the server has another reason.
    async fn resolve_refusal(
        &self,
        held: &HeldClaim,
        result: &TransactionResult,
        error: OrchestratorError,
    ) -> Result<Status> {
        match self.check_report(held, result).await? {
            ReportState::StillHeld if error.kind() == ErrorKind::Invalid => Err(error),
            ReportState::StillHeld => {
                if self.is_refused_for_good(held) {
                    return Err(error);
                }
                let why =
                    |message: &str| format!("{message}; the claim still holds, so the report is retried");
                Err(error.reworded(ErrorKind::Unavailable, why))
            }
            found => self.finish_report(held, result, found),
        }
    }

    /// Counts a refusal. Returns true once the report has been refused too often, which takes at least half a minute.
    fn is_refused_for_good(&self, held: &HeldClaim) -> bool {
        self.registry().held_mut(held.claim).is_some_and(|held| {
            held.refusals += 1;
            held.refusals >= MAX_REFUSALS
        })
    }

    fn finish_report(
        &self,
        held: &HeldClaim,
        result: &TransactionResult,
        found: ReportState,
    ) -> Result<Status> {
        let claim = held.claim;
        match found {
            ReportState::Recorded(status) => {
                self.registry().record_result(claim, result, status);
                if matches!(status, Status::New | Status::Retried) {
                    held.queue.items_added();
                }
                Ok(status)
            }
            ReportState::EndedInstead(status) => {
                self.registry().record_result(claim, result, status);
                let message = format!(
                    "item {} was to go back into the queue, and this Orchestrator recorded it as {status} instead: it \
                     cannot be postponed from here",
                    claim.item()
                );
                Err(OrchestratorError::new(ErrorKind::Unsupported, message))
            }
            ReportState::ClaimLost(reason) => {
                self.registry().release(claim);
                Err(claim_lost(reason))
            }
            ReportState::StillHeld => {
                Err(OrchestratorError::new(ErrorKind::Unknown, "the report was not recorded yet"))
            }
        }
    }

    /// The status of an item after a recorded report. The answer does not contain it; where the report does not determine it
    /// either, the item is read.
    async fn status_after(&self, held: &HeldClaim, result: &TransactionResult) -> Result<Status> {
        match result {
            TransactionResult::Successful { .. } => Ok(Status::Successful),
            TransactionResult::Failed { .. } if result.outcome() != Some(Outcome::ApplicationException) => {
                Ok(Status::Failed)
            }
            // The policy of the queue decides whether there is a retry.
            TransactionResult::Failed { .. } => {
                match self.http.json::<QueueItemDto>(get_item(held.claim.item().0)).await {
                    Ok(item) => {
                        Ok(item.status.known().filter(|status| status.is_final()).unwrap_or(Status::Failed))
                    }
                    Err(_) => Ok(Status::Failed),
                }
            }
            TransactionResult::Postponed { .. } | TransactionResult::GivenBack => {
                self.check_given_back(held, result).await
            }
        }
    }

    /// Checks that an item really went back into the queue. That a result with a DeferDate and no exception postpones an item is
    /// documented only for the vendor's activity (orchestrator-api 13.2), so the first one of a process is verified, and a
    /// server that ends the attempt instead faults the job.
    async fn check_given_back(&self, held: &HeldClaim, result: &TransactionResult) -> Result<Status> {
        if self.postponing_works() {
            return Ok(Status::New);
        }
        let item: QueueItemDto = match self.http.json(get_item(held.claim.item().0)).await {
            Ok(item) => item,
            Err(_) => return Ok(Status::New), // the next one will be verified
        };
        match item.status.known() {
            Some(status @ (Status::Successful | Status::Failed | Status::Retried))
                if item
                    .operation_id
                    .as_ref()
                    .map_or(is_same_attempt(&item, held), |id| *id == held.operation_id()) =>
            {
                self.finish_report(held, result, ReportState::EndedInstead(status))
            }
            // Unless this process has claimed it again meanwhile.
            Some(Status::InProgress)
                if is_same_attempt(&item, held) && !self.registry().was_handed_out_again(held.claim) =>
            {
                if let Some(held) = self.registry().held_mut(held.claim) {
                    held.in_doubt = true;
                }
                let message = format!(
                    "item {} did not go back into the queue, for an unknown reason",
                    held.claim.item()
                );
                let kind = if self.is_refused_for_good(held) { ErrorKind::Other } else { ErrorKind::Unknown };
                Err(OrchestratorError::new(kind, message))
            }
            Some(Status::New | Status::InProgress) => {
                self.confirm_postponing();
                Ok(Status::New)
            }
            // Another change was faster, or the status is inconclusive: the next one will be verified.
            _ => Ok(Status::New),
        }
    }

    /// Reads the item to find out what became of a report.
    async fn check_report(&self, held: &HeldClaim, result: &TransactionResult) -> Result<ReportState> {
        let item: QueueItemDto = match self.http.json(get_item(held.claim.item().0)).await {
            Ok(item) => item,
            Err(CallError { error, .. }) if error.is_confirmed_not_found() => {
                return Ok(ReportState::ClaimLost(format!("item {} is gone", held.claim.item())));
            }
            // A 404 may come from a proxy: it is retried, and decides only if it persists.
            Err(CallError { error, .. }) if error.is_not_found() && self.is_refused_for_good(held) => {
                return Err(error
                    .reworded(ErrorKind::Other, |said| format!("the item can no longer be read: {said}")));
            }
            Err(CallError { error, .. }) if error.is_temporary() || error.is_not_found() => {
                let why = |message: &str| format!("whether the report was recorded is not known: {message}");
                return Err(error.reworded(ErrorKind::Unknown, why));
            }
            Err(failed) => return Err(failed.error),
        };
        let status =
            item.status().map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))?;
        if self.registry().was_handed_out_again(held.claim) {
            // So it went back into the queue, and its current state belongs to the later claim.
            return Ok(match result.outcome() {
                None => ReportState::Recorded(Status::New),
                Some(_) => ReportState::ClaimLost(format!("item {} was handed out again", held.claim.item())),
            });
        }
        Ok(report_state(&item, status, held, result))
    }

    /// Sets the progress text of an item. It is not retried after a lost answer, because the next text replaces it.
    pub(super) async fn progress(&self, claim: Claim, progress: String) -> Result<()> {
        validate_progress(&progress)?;
        if self.registry().held(claim).is_none() {
            return Err(not_held(claim).with_code(Some(ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS)));
        }
        let path = format!("/odata/QueueItems({})/UiPathODataSvc.SetTransactionProgress", claim.item());
        let call = Call::post("SetTransactionProgress", path, &SetTransactionProgressRequest { progress });
        match self.http.done(call).await {
            Ok(()) => Ok(()),
            Err(CallError { error, .. })
                if error.kind() == ErrorKind::Conflict || error.is_confirmed_not_found() =>
            {
                Err(error.reworded(ErrorKind::ClaimLost, |message| {
                    format!("the item is not in progress: {message}")
                }))
            }
            Err(failed) => Err(failed.error),
        }
    }
}

/// Determines from an item what became of a report that may have been executed.
fn report_state(
    item: &QueueItemDto,
    status: Status,
    held: &HeldClaim,
    result: &TransactionResult,
) -> ReportState {
    let ours = item.operation_id.as_ref().map(|id| *id == held.operation_id());
    let same_attempt = is_same_attempt(item, held);
    match (status, result.outcome()) {
        (Status::InProgress, _) if same_attempt => ReportState::StillHeld,
        (Status::InProgress, _) => {
            ReportState::ClaimLost(format!("item {} was taken by another robot", item.id))
        }
        (Status::New, None) if is_postponed_as(item, result) => ReportState::Recorded(Status::New),
        (Status::Abandoned, _) => ReportState::ClaimLost(format!("item {} was abandoned", item.id)),
        (Status::Successful | Status::Failed | Status::Retried, None) if ours == Some(true) => {
            ReportState::EndedInstead(status)
        }
        (_, Some(_)) if ours == Some(true) => ReportState::Recorded(status),
        // Servers that do not store the OperationId: the same result of the same attempt counts as this report.
        (Status::Successful | Status::Failed | Status::Retried, Some(outcome))
            if ours.is_none() && same_attempt && is_same_end(item, status, outcome, result) =>
        {
            ReportState::Recorded(status)
        }
        _ => ReportState::ClaimLost(format!("item {} is {status} and not by this claim", item.id)),
    }
}

/// Whether an item is still in the attempt that this process has claimed.
fn is_same_attempt(item: &QueueItemDto, held: &HeldClaim) -> bool {
    item.start_processing.zip(held.start_processing).is_none_or(|(now, then)| now.is_close_to(then))
}

fn is_postponed_as(item: &QueueItemDto, result: &TransactionResult) -> bool {
    match result {
        // Not earlier; later if the date was too close to be sent.
        TransactionResult::Postponed { defer_date, .. } => item
            .defer_date
            .is_some_and(|at| at.0.duration_since(*defer_date) >= jiff::SignedDuration::from_secs(-1)),
        // It went back, and only the holder of the claim can do that.
        _ => true,
    }
}

fn is_same_end(item: &QueueItemDto, status: Status, outcome: Outcome, result: &TransactionResult) -> bool {
    let TransactionResult::Failed { exception, .. } = result else {
        return (status, outcome) == (Status::Successful, Outcome::Successful);
    };
    let reason = item.processing_exception.as_ref().and_then(|exception| exception.reason.as_deref());
    status != Status::Successful
        && reason.unwrap_or_default() == exception.as_ref().map_or("", |it| it.reason.as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::claim_registry::ClaimRegistry;
    use crate::queue::Queue;
    use performer_core::model::exception::{ExceptionType, ProcessingException};
    use performer_wire::ApiTime;

    fn held_item() -> (QueueItemDto, HeldClaim) {
        const ITEM: &str = r#"{"Id":1234,"Status":"InProgress","Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11",
            "StartProcessing":"2026-08-20T10:00:00.1234567Z","RowVersion":"AAAAAAAAKZc="}"#;
        let item: QueueItemDto = serde_json::from_str(ITEM).unwrap();
        let mut registry = ClaimRegistry::default();
        let job = performer_core::model::key::JobKey::from_bytes([7; 16]);
        let claim = registry.hold(&item.clone().into_item().unwrap(), job, Arc::new(Queue::new("Q")));
        (item, registry.held(claim).unwrap().clone())
    }

    fn judged(change: impl FnOnce(&mut QueueItemDto, &HeldClaim), result: &TransactionResult) -> String {
        let (mut item, held) = held_item();
        change(&mut item, &held);
        match report_state(&item, item.status().unwrap(), &held, result) {
            ReportState::Recorded(status) => format!("recorded {status}"),
            ReportState::StillHeld => "still ours".to_owned(),
            ReportState::EndedInstead(status) => format!("ended {status}"),
            ReportState::ClaimLost(_) => "lost".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_state_of_a_report_is_determined_from_the_item() {
        let success = TransactionResult::Successful { output: None };
        let exception =
            ProcessingException::new(ExceptionType::ApplicationException, "down", Timestamp::UNIX_EPOCH);
        let failure = TransactionResult::Failed { exception: Some(exception), defer_date: None };
        let later = Timestamp::from_second(1_900_000_000).unwrap();
        let postponed = TransactionResult::Postponed { defer_date: later, due_date: None };

        assert_eq!(judged(|_, _| {}, &success), "still ours");
        let taken_again =
            |item: &mut QueueItemDto, _: &HeldClaim| item.start_processing = Some(ApiTime(later));
        assert_eq!(judged(taken_again, &success), "lost");

        let ended = |status: Status, operation: Option<bool>, reason: &'static str| {
            move |item: &mut QueueItemDto, held: &HeldClaim| {
                item.status = status.into();
                item.operation_id =
                    operation.map(|ours| if ours { held.operation_id() } else { "other".to_owned() });
                item.processing_exception =
                    serde_json::from_value(serde_json::json!({ "Reason": reason })).ok();
            }
        };
        assert_eq!(judged(ended(Status::Successful, Some(true), ""), &success), "recorded Successful");
        assert_eq!(judged(ended(Status::Retried, Some(true), "x"), &failure), "recorded Retried");
        assert_eq!(judged(ended(Status::Deleted, Some(true), ""), &success), "recorded Deleted");
        assert_eq!(judged(ended(Status::Successful, Some(false), ""), &success), "lost");
        assert_eq!(judged(ended(Status::Successful, None, ""), &success), "recorded Successful");
        assert_eq!(judged(ended(Status::Failed, None, "down"), &failure), "recorded Failed");
        assert_eq!(judged(ended(Status::Failed, None, "other"), &failure), "lost");
        assert_eq!(judged(ended(Status::Failed, None, "down"), &success), "lost");
        assert_eq!(judged(ended(Status::Abandoned, Some(true), ""), &success), "lost");
        assert_eq!(judged(ended(Status::Deleted, None, ""), &success), "lost");

        let back = |at: Timestamp| {
            move |item: &mut QueueItemDto, _: &HeldClaim| {
                item.status = Status::New.into();
                item.defer_date = Some(ApiTime(at));
            }
        };
        assert_eq!(judged(back(later), &postponed), "recorded New");
        assert_eq!(judged(back(Timestamp::UNIX_EPOCH), &postponed), "lost");
        assert_eq!(judged(back(Timestamp::UNIX_EPOCH), &TransactionResult::GivenBack), "recorded New");
        let even_later = Timestamp::from_second(1_900_000_010).unwrap();
        assert_eq!(
            judged(back(even_later), &postponed),
            "recorded New",
            "its own date was too near to be sent"
        );
        assert_eq!(judged(ended(Status::Successful, Some(true), ""), &postponed), "ended Successful");
        assert_eq!(
            judged(ended(Status::Failed, Some(true), ""), &TransactionResult::GivenBack),
            "ended Failed"
        );
        assert_eq!(judged(ended(Status::Successful, Some(false), ""), &postponed), "lost");
        assert_eq!(
            judged(ended(Status::Successful, None, ""), &postponed),
            "lost",
            "another caller may have done it"
        );
        assert_eq!(judged(back(later), &success), "lost");
    }

    #[tokio::test]
    async fn operation_ids_fit_the_api() {
        let (_, held) = held_item();
        assert!(
            held.operation_id().starts_with("performer/07070707-")
                && held.operation_id().ends_with("/1234/1")
        );
        assert!(held.operation_id().len() <= 87);
    }
}
