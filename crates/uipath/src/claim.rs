//! Claiming items, and checking that this caller is handed any (orchestrator-api 8).

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Inner;
use super::address::invalid;
use super::call::{Call, CallError};
use super::queue::{Queue, QueueInfo};
use super::request::Answer;
use super::unreadable::{ItemAnswer, UnreadableOutcome};
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ClaimedItem, NewQueueItem, Priority};
use performer_core::model::key::{JobKey, QueueId};
use performer_core::model::queue::{QueueDefinition, folded};
use performer_core::model::selection::SelectionKey;
use performer_core::model::status::Status;
use performer_core::orchestrator::{ClaimRequest, ClaimedItems, ErrorKind, OrchestratorError, Result, Seen};
use performer_wire::item::QueueItemDto;
use performer_wire::queue::{QueueDefinitionDto, QueueProcessingStatusDto};
use performer_wire::transaction::{StartTransactionRequest, TransactionDataDto};
use performer_wire::{Collection, filter, json};

/// The maximum number of concurrent requests for the items of one call.
const CONCURRENT_CLAIMS: usize = 32;

/// What to do if the Orchestrator hands out nothing.
pub(super) const ROBOT_TRAP: &str = "the Orchestrator hands items only to robots, and answers everybody else as if the queue \
    were empty: start the performer as a job on a robot, or set that robot's key (UIPATH_ROBOT_KEY, or robot_key() of \
    the builder) together with its access token";

const START: &str = "StartTransaction";
const START_PATH: &str = "/odata/Queues/UiPathODataSvc.StartTransaction";

/// The maximum number of unreadable items that one claim skips.
const MAX_UNREADABLE: usize = 100;

/// The answer of StartTransaction.
enum StartResult {
    Item(Box<QueueItemDto>),
    Empty,
    /// An item that cannot be read, for which a failure was reported.
    Unreadable(i64),
}

/// A claim in flight. If it is dropped before it is answered, it is recorded as unanswered.
struct PendingClaim {
    queue: Option<Arc<Queue>>,
    since: Instant,
}

impl PendingClaim {
    fn answered(mut self) {
        self.queue = None;
    }
}

impl Drop for PendingClaim {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.state().record_unanswered(self.since);
        }
    }
}

/// Asks for the processing status of queues.
pub(super) fn processing_status() -> Call {
    Call::get(
        "RetrieveQueuesProcessingStatus",
        "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveQueuesProcessingStatus",
    )
}

impl Inner {
    /// Claims up to `take.count` items.
    pub(super) async fn claim(self: &Arc<Self>, take: &ClaimRequest) -> Result<ClaimedItems> {
        let queue = self.queue_of(take.job, &take.queue)?;
        let seen = Seen(queue.state().changes);
        // One item first, so that an empty queue costs one request.
        let mut items: Vec<ClaimedItem> = self.claim_one(&queue, take, true).await?.into_iter().collect();
        let mut is_there_more = !items.is_empty();
        while is_there_more && items.len() < take.count {
            let mut round = JoinSet::new();
            for _ in 0..(take.count - items.len()).min(CONCURRENT_CLAIMS) {
                let (inner, queue, take) = (self.clone(), queue.clone(), take.clone());
                round.spawn(async move { inner.claim_one(&queue, &take, false).await });
            }
            while let Some(taken) = round.join_next().await {
                match taken {
                    Ok(Ok(Some(item))) => items.push(item),
                    Ok(Ok(None)) | Err(_) => is_there_more = false,
                    Ok(Err(error)) => {
                        tracing::debug!(queue = %queue.name, %error, "an item could not be taken");
                        is_there_more = false;
                    }
                }
            }
        }
        // Answers may arrive out of order. StartProcessing has the order in which the server handed the items out; items of
        // the same instant were handed out in the documented order.
        items.sort_by_key(|ClaimedItem { item, .. }| {
            (item.start_processing, SelectionKey::new(item.priority, item.due_date, item.id))
        });
        let mut claimed = ClaimedItems::new(items);
        claimed.seen = seen;
        Ok(claimed)
    }

    /// Claims one item. `counts`: whether an empty answer counts as one more in a row.
    async fn claim_one(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
        take: &ClaimRequest,
        counts: bool,
    ) -> Result<Option<ClaimedItem>> {
        let found = || self.claim_recovered(queue, take);
        if let Some(item) = found()? {
            return Ok(Some(item));
        }
        if queue.state().is_recovery_due(&self.http.timing) {
            self.recover_lost_items(queue).await;
            if let Some(item) = found()? {
                return Ok(Some(item));
            }
        }
        let robot = self.robot_key.as_deref();
        let data = TransactionDataDto::next_item(&queue.name, robot, take.reference.as_ref());
        for _ in 0..MAX_UNREADABLE {
            return match self.start(queue, data.clone()).await {
                Ok(StartResult::Item(item)) => {
                    queue.state().reset_polling();
                    queue.changed.notify_waiters();
                    self.hand_out(*item, queue, take.job).map(Some)
                }
                Ok(StartResult::Empty) => self.handle_empty_answer(queue, counts).await.map(|()| None),
                Ok(StartResult::Unreadable(_)) => continue,
                Err(CallError { error, maybe_executed: true }) => {
                    self.recover_lost_items(queue).await;
                    match found()? {
                        Some(item) => Ok(Some(item)),
                        None => Err(error),
                    }
                }
                Err(CallError { error, .. }) => Err(with_robot_hint(error)),
            };
        }
        let message = format!("{MAX_UNREADABLE} items in a row were handed out that cannot be read");
        Err(OrchestratorError::new(ErrorKind::Other, message))
    }

    /// Adds an item and starts it.
    pub(super) async fn create_and_start(
        self: &Arc<Self>,
        take: &ClaimRequest,
        item: &NewQueueItem,
        definition: &QueueDefinition,
    ) -> Result<ClaimedItem> {
        let queue = self.queue_of(take.job, &take.queue)?;
        let content = item.validate(definition)?;
        for (is_set, what) in [
            (item.priority != Priority::Normal, "priority"),
            (item.risk_sla_date.is_some(), "RiskSlaDate"),
            (item.progress.is_some(), "progress"),
        ] {
            if is_set {
                let message = format!(
                    "StartTransaction cannot set the {what} of a new item; add the item first, then claim it"
                );
                return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
            }
        }
        if content.as_json() == "{}" {
            return Err(invalid("an item without content cannot be added and started in one call: to the Orchestrator that is a request for an existing item".to_owned()));
        }
        let data =
            TransactionDataDto::new_item(&queue.name, self.robot_key.as_deref(), item, content.as_json());
        let started = match self.start(&queue, data.clone()).await {
            Ok(started) => started,
            Err(CallError { error, maybe_executed: true }) => {
                // If it is recovered only later, a robot of this job gets it like any other item.
                self.recover_lost_items(&queue).await;
                let mut state = queue.state();
                let ours = state.recovered.iter().position(|item| {
                    item.reference == data.reference && item.specific_content == data.specific_content
                });
                let found = ours.and_then(|at| state.recovered.remove(at));
                StartResult::Item(Box::new(found.ok_or(error)?))
            }
            Err(CallError { error, .. }) => return Err(with_robot_hint(error)),
        };
        match started {
            StartResult::Item(item) => self.hand_out(*item, &queue, take.job),
            StartResult::Unreadable(id) => Err(OrchestratorError::new(
                ErrorKind::Other,
                format!("item {id} was added and started, and cannot be read"),
            )),
            StartResult::Empty => Err(OrchestratorError::new(
                ErrorKind::Unauthorized,
                format!("the item was not started: {ROBOT_TRAP}"),
            )),
        }
    }

    /// Calls StartTransaction. A lost answer is recorded as an unanswered claim.
    async fn start(&self, queue: &Arc<Queue>, data: TransactionDataDto) -> Result<StartResult, CallError> {
        let _no_recovery = queue.claiming.read().await;
        let sent = Instant::now();
        let pending = PendingClaim { queue: Some(queue.clone()), since: sent };
        let body = StartTransactionRequest { transaction_data: data };
        let answer = self.http.call(Call::post(START, START_PATH, &body), |answer: &Answer| {
            if answer.status == reqwest::StatusCode::NO_CONTENT {
                Some(None)
            } else {
                ItemAnswer::of(answer).map(Some)
            }
        });
        let started = match answer.await {
            Ok(None) => Ok(StartResult::Empty),
            Ok(Some(ItemAnswer::Complete(item))) => Ok(StartResult::Item(item)),
            Ok(Some(ItemAnswer::IdOnly(id, why))) => match self.resolve_unreadable(queue, id, &why).await {
                Ok(UnreadableOutcome::Item(item)) => Ok(StartResult::Item(item)),
                Ok(UnreadableOutcome::Failed) => Ok(StartResult::Unreadable(id)),
                Err(failed) => Err(failed),
            },
            Err(failed) => Err(failed),
        };
        if !matches!(started, Err(CallError { maybe_executed: true, .. })) {
            pending.answered();
        }
        if let Ok(StartResult::Item(item)) = &started {
            // While the lock is held, so that a recovery knows the item.
            self.registry().expect(item.id);
            self.learn_identity(item, sent);
        }
        started
    }

    /// Registers the claim on an item that the server handed out.
    fn hand_out(&self, item: QueueItemDto, queue: &Arc<Queue>, job: JobKey) -> Result<ClaimedItem> {
        let id = item.id;
        let item = item.into_item().map_err(|error| {
            tracing::error!(item = id, %error, "an item was handed out that cannot be read; it stays InProgress");
            OrchestratorError::new(ErrorKind::Other, error.to_string())
        })?;
        let claim = self.registry().hold(&item, job, queue.clone());
        Ok(ClaimedItem::new(Box::new(item), claim))
    }

    /// Claims a recovered item that matches the request, if there is one.
    fn claim_recovered(&self, queue: &Arc<Queue>, take: &ClaimRequest) -> Result<Option<ClaimedItem>> {
        let found = {
            let mut state = queue.state();
            let wanted = |item: &QueueItemDto| {
                take.reference.as_ref().is_none_or(|reference| reference.matches(item.reference.as_deref()))
            };
            let at = state.recovered.iter().position(wanted);
            at.and_then(|at| state.recovered.remove(at))
        };
        found.map(|item| self.hand_out(item, queue, take.job)).transpose()
    }

    /// Handles an empty answer: warns if items are waiting, and fails while the answer to an earlier claim is lost.
    async fn handle_empty_answer(&self, queue: &Arc<Queue>, counts: bool) -> Result<()> {
        let (in_a_row, trap_warned, in_doubt) = {
            let mut state = queue.state();
            if counts {
                state.record_empty();
            }
            (state.consecutive_empty, state.trap_warned, !state.unanswered_claims.is_empty())
        };
        if in_doubt {
            let message = "the answer to a claim was lost, and the item that it may have handed out is being searched for";
            return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
        }
        let worth_asking = in_a_row == 3 || in_a_row.is_multiple_of(20);
        if counts
            && worth_asking
            && !trap_warned
            && let Ok(Some(waiting)) = self.waiting_items(queue).await
        {
            queue.state().trap_warned = true;
            tracing::warn!(queue = %queue.name, waiting, "items are waiting, but none is handed out: {ROBOT_TRAP}");
        }
        Ok(())
    }

    /// The number of waiting items, if any of them is eligible now. The request outside the rate limits is made first.
    async fn waiting_items(&self, queue: &Queue) -> Result<Option<i64>> {
        let info = self.queue_info(queue).await?;
        let waiting = self.items_to_process(info.id).await?;
        if waiting == 0 || self.find_waiting_item(info.id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(waiting))
    }

    /// Finds an item that is eligible now.
    async fn find_waiting_item(&self, queue: QueueId) -> Result<Option<QueueItemDto>> {
        // Eligible for at least a minute, because clocks differ until the server has told its time.
        let (earliest, _) = self.server_time();
        let due = earliest.checked_sub(std::time::Duration::from_secs(60)).unwrap_or(jiff::Timestamp::MIN);
        let due = performer_wire::ApiTime(due);
        let wanted = format!(
            "QueueDefinitionId eq {queue} and Status eq 'New' and (DeferDate eq null or DeferDate le {due})"
        );
        let call =
            Call::get("GetQueueItems", "/odata/QueueItems").query("$filter", wanted).query("$top", "1");
        let rows = self.http.call(call, |answer| json::rows(&answer.body)).await?;
        Ok(rows.iter().find_map(|row| json::response(row.as_bytes()).ok()))
    }

    /// Checks whether this caller is handed items at all: an eligible item that is unchanged before and after a claim with an
    /// empty answer was withheld. If no item is eligible, it warns callers without a robot key and a job.
    ///
    /// # Errors
    ///
    /// Unauthorized, with a remedy in the message.
    pub(super) async fn check_items_are_handed_out(self: &Arc<Self>, queue: &Arc<Queue>) -> Result<()> {
        let info = self.queue_info(queue).await?;
        let Some(waiting) = self.find_waiting_item(info.id).await? else {
            if self.robot_key.is_none() && self.job_key.is_none() {
                tracing::warn!(queue = %queue.name, "this caller may not be a robot; {ROBOT_TRAP}");
            }
            return Ok(());
        };
        for _ in 0..2 {
            let data = TransactionDataDto::next_item(&queue.name, self.robot_key.as_deref(), None);
            match self.start(queue, data).await {
                Ok(StartResult::Empty) => {}
                Ok(StartResult::Item(item)) => {
                    queue.state().recovered.push_back(*item);
                    return Ok(());
                }
                Ok(StartResult::Unreadable(_)) => return Ok(()),
                // The robots will meet the same error.
                Err(CallError { error, maybe_executed }) if maybe_executed || error.is_temporary() => {
                    return Ok(());
                }
                Err(CallError { error, .. }) => return Err(with_robot_hint(error)),
            }
            // Another caller may have claimed it meanwhile, and perhaps given it back.
            match self.http.json::<QueueItemDto>(get_item(waiting.id)).await {
                Ok(still) if still.status.known() != Some(Status::New) => return Ok(()),
                Ok(still) if still.row_version != waiting.row_version => return Ok(()),
                Ok(_) => {}
                Err(CallError { error, .. }) if error.is_confirmed_not_found() => return Ok(()),
                Err(failed) => return Err(failed.error),
            }
        }
        let message = format!(
            "item {} is waiting in queue {:?} and is not handed out: {ROBOT_TRAP}",
            waiting.id, queue.name
        );
        Err(OrchestratorError::new(ErrorKind::Unauthorized, message))
    }

    /// The number of waiting items, from figures that may be stale but are outside the rate limits (orchestrator-api 11).
    pub(super) async fn items_to_process(&self, queue: QueueId) -> Result<i64> {
        let call = processing_status().query("$filter", format!("QueueDefinitionId eq {queue}"));
        let page: Collection<QueueProcessingStatusDto> = self.http.json(call).await?;
        let of_this = page.value.iter().filter(|status| status.queue_definition_id == Some(queue.0));
        Ok(of_this.filter_map(|status| status.items_to_process).sum())
    }

    /// The cached id and settings of a queue.
    pub(super) async fn queue_info(&self, queue: &Queue) -> Result<QueueInfo> {
        if let Some(info) = queue.state().info {
            return Ok(info);
        }
        let definition = self.queue_dto(&queue.name).await?;
        let info = QueueInfo {
            id: QueueId(definition.id.unwrap_or_default()),
            enforce_unique_reference: definition.enforce_unique_reference.unwrap_or(false),
        };
        queue.state().info = Some(info);
        Ok(info)
    }

    /// Reads a queue by its name, ignoring case.
    pub(super) async fn queue_dto(&self, name: &str) -> Result<QueueDefinitionDto> {
        let call = Call::get("GetQueueDefinitions", "/odata/QueueDefinitions")
            .query("$filter", format!("Name eq {}", filter::quoted(name)))
            .query("$top", "10");
        let rows = self.http.call(call, |answer| json::rows(&answer.body)).await?;
        let wanted = folded(name);
        let mut unreadable = None;
        for row in rows {
            match json::response::<QueueDefinitionDto>(row.as_bytes()) {
                Ok(queue) if folded(&queue.name) == wanted => return Ok(queue),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        Err(match unreadable {
            Some(error) => {
                OrchestratorError::new(ErrorKind::Other, format!("queue {name:?} cannot be read: {error}"))
            }
            None => OrchestratorError::no_queue(name),
        })
    }
}

/// The call that reads one item.
pub(super) fn get_item(id: i64) -> Call {
    Call::get("GetQueueItem", format!("/odata/QueueItems({id})"))
}

/// Adds a remedy to the error for a caller without a robot.
fn with_robot_hint(error: OrchestratorError) -> OrchestratorError {
    if error.code() == Some(ErrorCode::UNAVAILABLE_RESOURCES) {
        return error.reworded(ErrorKind::Unauthorized, |message| format!("{message}; {ROBOT_TRAP}"));
    }
    error
}
