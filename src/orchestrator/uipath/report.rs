//! Reporting results and progress, and settling those whose answer was lost (orchestrator-api 9).
//!
//! SetTransactionResult is not idempotent. One that may have been executed is settled by reading the item: final with
//! our `OperationId` means that it was recorded; InProgress since we started it, that it was not; anything else, that
//! the claim is lost. A server that refuses a report is asked in the same way, because it may refuse the second of two.

use tokio::time::Instant as Moment;

use super::super::{ErrorKind, OrchestratorError, Report, Result};
use super::Inner;
use super::book::{Held, lost};
use super::call::Call;
use super::request::Failed;
use super::take::get_item;
use crate::model::item::validate_progress;
use crate::model::key::Claim;
use crate::model::lifecycle::validate_postponement;
use crate::model::result::{Outcome, TransactionResult};
use crate::model::status::Status;
use crate::wire::item::QueueItemDto;
use crate::wire::transaction::{
    SetTransactionProgressRequest, SetTransactionResultRequest, TransactionResultDto,
};

/// How often a report that a server refuses although the item is ours is made again.
const MOST_REFUSALS: u32 = 15;

/// What the item says about a report.
enum Found {
    /// The report was recorded; the item is in this state.
    Recorded(Status),
    /// It was not, and the claim still holds.
    StillOurs,
    /// The item was to go back into the queue, and the server recorded this end of the attempt instead.
    Ended(Status),
    /// The claim holds no more.
    Lost(String),
}

impl Inner {
    pub(super) async fn report(&self, report: &Report) -> Result<Status> {
        let (claim, result) = (report.claim, &report.result);
        let held = self.book().held(claim).cloned();
        let Some(held) = held else { return self.book().answer_again(claim, result) };
        if held.doubtful {
            match self.find_out(&held, result).await? {
                Found::StillOurs => {}
                found => return self.settle(&held, result, found),
            }
        }
        let (earliest, latest) = self.server_time();
        if let TransactionResult::Postponed { defer_date, .. } = result {
            validate_postponement(*defer_date, earliest)?;
        }
        let ahead = latest.checked_add(self.http.pace.ahead).unwrap_or(latest);
        let mut dto = TransactionResultDto::new(result, report.progress.as_deref(), held.due_date, ahead);
        // A postponement is over before its date: read later, it would make the item Successful.
        let until = dto.defer_date.filter(|_| result.outcome().is_none());
        let until =
            until.and_then(|date| Moment::now().checked_add(date.0.duration_since(latest).unsigned_abs()));
        if self.http.knows_operations() {
            dto.operation_id = Some(held.operation_id());
        }
        let path = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", claim.item());
        let body = SetTransactionResultRequest { transaction_result: dto };
        match self.http.done(Call::post("SetTransactionResult", path, &body).until(until)).await {
            Ok(()) => {
                let status = self.status_after(&held, result).await?;
                self.settle(&held, result, Found::Recorded(status))
            }
            Err(Failed { error, doubtful: true }) => {
                if let Some(held) = self.book().held_mut(claim) {
                    held.doubtful = true;
                }
                match self.find_out(&held, result).await? {
                    Found::StillOurs => Err(error),
                    found => self.settle(&held, result, found),
                }
            }
            Err(Failed { error, .. })
                if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Invalid) =>
            {
                self.was_refused(&held, result, error).await
            }
            Err(Failed { error, .. }) => Err(error),
        }
    }

    /// The server said no: because the claim is lost, because it has the report already, or for a reason of its own.
    async fn was_refused(
        &self,
        held: &Held,
        result: &TransactionResult,
        error: OrchestratorError,
    ) -> Result<Status> {
        match self.find_out(held, result).await? {
            Found::StillOurs if error.kind() == ErrorKind::Invalid => Err(error),
            Found::StillOurs => {
                if self.is_refused_for_good(held) {
                    return Err(error);
                }
                let why =
                    |message: &str| format!("{message}; the item is still ours, so it is reported again");
                Err(error.in_words(ErrorKind::Unavailable, why))
            }
            found => self.settle(held, result, found),
        }
    }

    /// Counts one more refusal. What is refused this often, over half a minute and more, will not be taken any more.
    fn is_refused_for_good(&self, held: &Held) -> bool {
        self.book().held_mut(held.claim).is_some_and(|held| {
            held.refusals += 1;
            held.refusals >= MOST_REFUSALS
        })
    }

    fn settle(&self, held: &Held, result: &TransactionResult, found: Found) -> Result<Status> {
        let claim = held.claim;
        match found {
            Found::Recorded(status) => {
                self.book().settle(claim, result, status);
                if matches!(status, Status::New | Status::Retried) {
                    held.queue.something_came();
                }
                Ok(status)
            }
            Found::Ended(status) => {
                self.book().settle(claim, result, status);
                let message = format!(
                    "item {} was to go back into the queue, and this Orchestrator recorded it as {status} instead: it \
                     cannot be postponed from here",
                    claim.item()
                );
                Err(OrchestratorError::new(ErrorKind::Unsupported, message))
            }
            Found::Lost(reason) => {
                self.book().forget(claim);
                Err(lost(reason))
            }
            Found::StillOurs => {
                Err(OrchestratorError::new(ErrorKind::Unknown, "the report was not recorded yet"))
            }
        }
    }

    /// The state an item is in after a report that was recorded. The answer does not tell; where it cannot be told from
    /// the report either, the item is asked.
    async fn status_after(&self, held: &Held, result: &TransactionResult) -> Result<Status> {
        match result {
            TransactionResult::Successful { .. } => Ok(Status::Successful),
            TransactionResult::Failed { .. } if result.outcome() != Some(Outcome::ApplicationException) => {
                Ok(Status::Failed)
            }
            // Whether there is a retry is decided by the queue.
            TransactionResult::Failed { .. } => {
                match self.http.json::<QueueItemDto>(get_item(held.claim.item().0)).await {
                    Ok(item) => {
                        Ok(item.status.known().filter(|status| status.is_final()).unwrap_or(Status::Failed))
                    }
                    Err(_) => Ok(Status::Failed),
                }
            }
            TransactionResult::Postponed { .. } | TransactionResult::GivenBack => {
                self.went_back(held, result).await
            }
        }
    }

    /// That a result with a DeferDate and no exception postpones is documented only for the vendor's activity
    /// (orchestrator-api 13.2): so the first one of a process is looked at, and a server that records an end instead
    /// faults the job.
    async fn went_back(&self, held: &Held, result: &TransactionResult) -> Result<Status> {
        if self.postponing_works() {
            return Ok(Status::New);
        }
        let item: QueueItemDto = match self.http.json(get_item(held.claim.item().0)).await {
            Ok(item) => item,
            Err(_) => return Ok(Status::New), // the next one will be looked at
        };
        match item.status.known() {
            Some(status @ (Status::Successful | Status::Failed | Status::Retried))
                if item
                    .operation_id
                    .as_ref()
                    .map_or(is_same_attempt(&item, held), |id| *id == held.operation_id()) =>
            {
                self.settle(held, result, Found::Ended(status))
            }
            // Unless it was handed out here once more in the meantime.
            Some(Status::InProgress)
                if is_same_attempt(&item, held) && !self.book().was_handed_out_again(held.claim) =>
            {
                if let Some(held) = self.book().held_mut(held.claim) {
                    held.doubtful = true;
                }
                let message =
                    format!("item {} did not go back into the queue, and nobody said why", held.claim.item());
                let kind = if self.is_refused_for_good(held) { ErrorKind::Other } else { ErrorKind::Unknown };
                Err(OrchestratorError::new(kind, message))
            }
            Some(Status::New | Status::InProgress) => {
                self.postponing_has_worked();
                Ok(Status::New)
            }
            // Somebody has been quicker, or it is a state that says nothing: the next one will be looked at.
            _ => Ok(Status::New),
        }
    }

    /// Reads the item to learn what became of a report.
    async fn find_out(&self, held: &Held, result: &TransactionResult) -> Result<Found> {
        let item: QueueItemDto = match self.http.json(get_item(held.claim.item().0)).await {
            Ok(item) => item,
            Err(Failed { error, .. }) if error.is_surely_gone() => {
                return Ok(Found::Lost(format!("item {} is gone", held.claim.item())));
            }
            // A 404 of somebody in between is no reason to give up what was done, unless it stays.
            Err(Failed { error, .. }) if error.is_not_found() && self.is_refused_for_good(held) => {
                return Err(error
                    .in_words(ErrorKind::Other, |said| format!("the item cannot be read any more: {said}")));
            }
            Err(Failed { error, .. }) if error.is_temporary() || error.is_not_found() => {
                let why = |message: &str| format!("what became of the report is not known: {message}");
                return Err(error.in_words(ErrorKind::Unknown, why));
            }
            Err(failed) => return Err(failed.error),
        };
        let status =
            item.status().map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))?;
        if self.book().was_handed_out_again(held.claim) {
            // So it went back, and with it the claim; whatever it is now, it is by the next one.
            return Ok(match result.outcome() {
                None => Found::Recorded(Status::New),
                Some(_) => Found::Lost(format!("item {} was handed out once more", held.claim.item())),
            });
        }
        Ok(judge(&item, status, held, result))
    }

    /// Shows how far a transaction is. What is lost on the way is not sent again: the next one says more.
    pub(super) async fn progress(&self, claim: Claim, progress: String) -> Result<()> {
        validate_progress(&progress)?;
        if self.book().held(claim).is_none() {
            return Err(lost(format!("item {} is not held by this claim any more", claim.item())));
        }
        let path = format!("/odata/QueueItems({})/UiPathODataSvc.SetTransactionProgress", claim.item());
        let call = Call::post("SetTransactionProgress", path, &SetTransactionProgressRequest { progress });
        match self.http.done(call).await {
            Ok(()) => Ok(()),
            Err(Failed { error, .. }) if error.kind() == ErrorKind::Conflict || error.is_surely_gone() => {
                Err(error.in_words(ErrorKind::ClaimLost, |message| {
                    format!("the item is not in progress: {message}")
                }))
            }
            Err(failed) => Err(failed.error),
        }
    }
}

/// What an item says about a report that may have been made.
fn judge(item: &QueueItemDto, status: Status, held: &Held, result: &TransactionResult) -> Found {
    let ours = item.operation_id.as_ref().map(|id| *id == held.operation_id());
    let same_attempt = is_same_attempt(item, held);
    match (status, result.outcome()) {
        (Status::InProgress, _) if same_attempt => Found::StillOurs,
        (Status::InProgress, _) => Found::Lost(format!("item {} was taken by another robot", item.id)),
        (Status::New, None) if is_postponed_as(item, result) => Found::Recorded(Status::New),
        (Status::Abandoned, _) => Found::Lost(format!("item {} was abandoned", item.id)),
        (Status::Successful | Status::Failed | Status::Retried, None) if ours == Some(true) => {
            Found::Ended(status)
        }
        (_, Some(_)) if ours == Some(true) => Found::Recorded(status),
        // Servers that keep no OperationId: the same end of the same attempt is taken for ours.
        (Status::Successful | Status::Failed | Status::Retried, Some(outcome))
            if ours.is_none() && same_attempt && is_same_end(item, status, outcome, result) =>
        {
            Found::Recorded(status)
        }
        _ => Found::Lost(format!("item {} is {status} and not by this claim", item.id)),
    }
}

/// Whether an item is still in the attempt that was handed out here.
fn is_same_attempt(item: &QueueItemDto, held: &Held) -> bool {
    item.start_processing.zip(held.start_processing).is_none_or(|(now, then)| now.is_close_to(then))
}

fn is_postponed_as(item: &QueueItemDto, result: &TransactionResult) -> bool {
    match result {
        // Not earlier; later where the date was too near to be sent.
        TransactionResult::Postponed { defer_date, .. } => item
            .defer_date
            .is_some_and(|at| at.0.duration_since(*defer_date) >= jiff::SignedDuration::from_secs(-1)),
        // It went back, and nobody else could have put it there: only who holds an item can.
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
    use crate::model::exception::{ExceptionType, ProcessingException};
    use crate::orchestrator::uipath::book::Book;
    use crate::orchestrator::uipath::queue::Queue;
    use crate::wire::ApiTime;
    use crate::wire::item::tests::OF_2020;

    fn held_item() -> (QueueItemDto, Held) {
        let item: QueueItemDto = serde_json::from_str(OF_2020).unwrap();
        let mut book = Book::default();
        let job = crate::model::key::JobKey::from_bytes([7; 16]);
        let claim = book.hold(&item.clone().into_item().unwrap(), job, Arc::new(Queue::new("Q")));
        (item, book.held(claim).unwrap().clone())
    }

    fn judged(change: impl FnOnce(&mut QueueItemDto, &Held), result: &TransactionResult) -> String {
        let (mut item, held) = held_item();
        change(&mut item, &held);
        match judge(&item, item.status().unwrap(), &held, result) {
            Found::Recorded(status) => format!("recorded {status}"),
            Found::StillOurs => "still ours".to_owned(),
            Found::Ended(status) => format!("ended {status}"),
            Found::Lost(_) => "lost".to_owned(),
        }
    }

    #[tokio::test]
    async fn an_item_tells_what_became_of_a_report() {
        let success = TransactionResult::Successful { output: None };
        let exception =
            ProcessingException::new(ExceptionType::ApplicationException, "down", Timestamp::UNIX_EPOCH);
        let failure = TransactionResult::Failed { exception: Some(exception), defer_date: None };
        let later = Timestamp::from_second(1_900_000_000).unwrap();
        let postponed = TransactionResult::Postponed { defer_date: later, due_date: None };

        assert_eq!(judged(|_, _| {}, &success), "still ours");
        let taken_again = |item: &mut QueueItemDto, _: &Held| item.start_processing = Some(ApiTime(later));
        assert_eq!(judged(taken_again, &success), "lost");

        let ended = |status: Status, operation: Option<bool>, reason: &'static str| {
            move |item: &mut QueueItemDto, held: &Held| {
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
            move |item: &mut QueueItemDto, _: &Held| {
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
        assert_eq!(judged(ended(Status::Successful, None, ""), &postponed), "lost", "it may be anybody's");
        assert_eq!(judged(back(later), &success), "lost");
    }

    #[tokio::test]
    async fn a_claim_has_a_name_that_fits() {
        let (_, held) = held_item();
        assert!(
            held.operation_id().starts_with("performer/07070707-")
                && held.operation_id().ends_with("/1234/1")
        );
        assert!(held.operation_id().len() <= 87);
    }
}
