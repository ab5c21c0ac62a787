//! Items that were handed out by an answer that cannot be read.
//!
//! The Orchestrator has such an item InProgress and keeps it for a day. Its id can nearly always be found in the text of the
//! answer, so the item is read again on its own. If that cannot be read either, a BusinessException is reported for it,
//! because a retry would be unreadable too.

use super::Inner;
use super::call::{Call, CallError};
use super::claim::get_item;
use super::queue::Queue;
use super::request::Answer;
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::result::TransactionResult;
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};
use performer_wire::item::{ItemOwner, QueueItemDto};
use performer_wire::json;
use performer_wire::transaction::{SetTransactionResultRequest, TransactionResultDto};

/// An answer with an item, as far as it can be read.
pub(super) enum ItemAnswer {
    Complete(Box<QueueItemDto>),
    /// Only the id, and why the rest cannot be read.
    IdOnly(i64, String),
}

impl ItemAnswer {
    /// `None` for an answer without an item.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let why = match json::response::<QueueItemDto>(&answer.body) {
            Ok(item) => match item.status() {
                Ok(_) => return Some(Self::Complete(Box::new(item))),
                Err(error) => return Some(Self::IdOnly(item.id, error.to_string())),
            },
            // Only the position: the content of an item must not be logged.
            Err(error) => {
                let what = if error.is_data() { "a value has the wrong type" } else { "it is not JSON" };
                format!("{what}, at line {} column {}", error.line(), error.column())
            }
        };
        Some(Self::IdOnly(json::id_in(&answer.body)?, why))
    }
}

/// The outcome for an item that was handed out by an unreadable answer.
pub(super) enum UnreadableOutcome {
    /// It can be read on its own, and belongs to this process.
    Item(Box<QueueItemDto>),
    /// It cannot be read, and a failure was reported.
    Failed,
}

/// The maximum number of attempts to report the failure.
const MAX_ATTEMPTS: usize = 3;

impl Inner {
    /// Reads the item on its own, or reports a failure for it. The caller holds `queue.claiming`.
    ///
    /// # Errors
    ///
    /// `maybe_executed` if the id may belong to another item: then the item that was handed out is lost and must be recovered.
    pub(super) async fn resolve_unreadable(
        &self,
        queue: &Queue,
        id: i64,
        why: &str,
    ) -> Result<UnreadableOutcome, CallError> {
        let maybe_executed = |error: OrchestratorError| CallError { error, maybe_executed: true };
        match self
            .http
            .call(get_item(id), ItemAnswer::of)
            .await
            .map_err(|failed| maybe_executed(failed.error))?
        {
            ItemAnswer::Complete(item) => {
                let row = ItemOwner::from(&*item);
                let is_known = queue.state().knows(&row) || self.registry().knows(&row);
                if is_known || item.status.known() != Some(Status::InProgress) {
                    let message =
                        format!("StartTransaction: the answer, which names item {id}, cannot be read");
                    return Err(maybe_executed(OrchestratorError::new(ErrorKind::Unknown, message)));
                }
                tracing::warn!(
                    item = id,
                    why,
                    "the answer that handed an item out cannot be read; the item itself can"
                );
                Ok(UnreadableOutcome::Item(item))
            }
            ItemAnswer::IdOnly(..) => {
                self.registry().expect(id); // so that a recovery does not take it for a lost item
                match self.report_unreadable(id, why).await {
                    Ok(()) => {
                        tracing::error!(
                            item = id,
                            why,
                            "an item was handed out that cannot be read; a failure was reported for it"
                        );
                    }
                    Err(error) => {
                        tracing::error!(
                            item = id, why, %error,
                            "an item was handed out that cannot be read, and no failure could be reported; it stays InProgress"
                        );
                    }
                }
                Ok(UnreadableOutcome::Failed)
            }
        }
    }

    async fn report_unreadable(&self, id: i64, why: &str) -> Result<(), OrchestratorError> {
        let reason = format!("the item cannot be read: {why}");
        let now = self.now();
        let exception = ProcessingException::new(ExceptionType::BusinessException, reason, now);
        let result = TransactionResult::Failed { exception: Some(exception), defer_date: None };
        let body = SetTransactionResultRequest {
            transaction_result: TransactionResultDto::new(&result, None, None, now),
        };
        let path = format!("/odata/Queues({id})/UiPathODataSvc.SetTransactionResult");
        let call = Call::post("SetTransactionResult", path, &body);
        let (mut delays, mut unknown_outcome) = (self.http.delays(), None);
        for _ in 0..MAX_ATTEMPTS {
            match self.http.done(call.clone()).await {
                Ok(()) => return Ok(()),
                Err(CallError { error, maybe_executed: true }) => unknown_outcome = Some(error),
                // A repeated report is refused because the first one was recorded.
                Err(failed) => return if unknown_outcome.is_some() { Ok(()) } else { Err(failed.error) },
            }
            tokio::time::sleep(delays.next_delay()).await;
        }
        unknown_outcome.map_or(Ok(()), Err)
    }
}
