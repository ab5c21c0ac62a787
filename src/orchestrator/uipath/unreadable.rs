//! Items that were handed out by an answer that cannot be read.
//!
//! The Orchestrator has such an item InProgress, and would keep it so for a day. Its number can nearly always be found in
//! the text of the answer. So the item is read once more by itself; where that cannot be read either, a failure is
//! reported for it. It is a BusinessException: what this program cannot read today it cannot read at a retry.

use super::super::{ErrorKind, OrchestratorError};
use super::Inner;
use super::call::Call;
use super::queue::Queue;
use super::request::{Answer, Failed};
use super::take::get_item;
use crate::model::exception::{ExceptionType, ProcessingException};
use crate::model::result::TransactionResult;
use crate::model::status::Status;
use crate::wire::item::{ItemOwner, QueueItemDto};
use crate::wire::json;
use crate::wire::transaction::{SetTransactionResultRequest, TransactionResultDto};

/// An item that was answered, as far as it can be read.
pub(super) enum Read {
    Whole(Box<QueueItemDto>),
    /// The number alone, and why.
    NumberAlone(i64, String),
}

impl Read {
    /// `None` for an answer that is about no item.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let why = match json::response::<QueueItemDto>(&answer.body) {
            Ok(item) => match item.status() {
                Ok(_) => return Some(Self::Whole(Box::new(item))),
                Err(error) => return Some(Self::NumberAlone(item.id, error.to_string())),
            },
            // Where, and not what: the content of an item is in no log.
            Err(error) => {
                let what = if error.is_data() { "a value is not what it should be" } else { "it is no JSON" };
                format!("{what}, at line {} column {}", error.line(), error.column())
            }
        };
        Some(Self::NumberAlone(json::id_in(&answer.body)?, why))
    }
}

/// What became of an item that was handed out by an answer that cannot be read.
pub(super) enum Settled {
    /// It can be read by itself, and is ours.
    Item(Box<QueueItemDto>),
    /// It cannot, and a failure was reported.
    Failed,
}

/// How often the failure is reported while nobody says whether it was recorded.
const MOST_ATTEMPTS: usize = 3;

impl Inner {
    /// Reads the item by itself, or reports a failure for it. The caller holds `queue.taking`.
    ///
    /// # Errors
    ///
    /// Doubtful where the number may have been another one's: whatever was handed out is lost then, and is looked for.
    pub(super) async fn settle_unreadable(
        &self,
        queue: &Queue,
        id: i64,
        why: &str,
    ) -> Result<Settled, Failed> {
        let doubtful = |error: OrchestratorError| Failed { error, doubtful: true };
        match self.http.call(get_item(id), Read::of).await.map_err(|failed| doubtful(failed.error))? {
            Read::Whole(item) => {
                let row = ItemOwner::from(&*item);
                let is_known = queue.state().knows(&row) || self.book().knows(&row);
                if is_known || item.status.known() != Some(Status::InProgress) {
                    let message =
                        format!("StartTransaction: an answer that names item {id} and cannot be read");
                    return Err(doubtful(OrchestratorError::new(ErrorKind::Unknown, message)));
                }
                tracing::warn!(
                    item = id,
                    why,
                    "the answer that handed an item out cannot be read; the item itself can"
                );
                Ok(Settled::Item(item))
            }
            Read::NumberAlone(..) => {
                self.book().expect(id); // nobody else here takes it for a lost one
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
                Ok(Settled::Failed)
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
        let (mut delays, mut doubt) = (self.http.delays(), None);
        for _ in 0..MOST_ATTEMPTS {
            match self.http.done(call.clone()).await {
                Ok(()) => return Ok(()),
                Err(Failed { error, doubtful: true }) => doubt = Some(error),
                // The second of two is refused because of the first.
                Err(failed) => return if doubt.is_some() { Ok(()) } else { Err(failed.error) },
            }
            tokio::time::sleep(delays.next()).await;
        }
        doubt.map_or(Ok(()), Err)
    }
}
