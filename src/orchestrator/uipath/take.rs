//! Taking items, and finding out whether this caller is handed any (orchestrator-api 8).

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::{ErrorKind, OrchestratorError, Result, Seen, Take, Taken};
use super::Inner;
use super::address::invalid;
use super::call::Call;
use super::queue::{About, Queue};
use super::request::{Answer, Failed};
use super::unreadable::{Read, Settled};
use crate::model::code::ErrorCode;
use crate::model::item::{ClaimedItem, NewQueueItem, Priority};
use crate::model::key::{JobKey, QueueId};
use crate::model::queue::{QueueDefinition, folded};
use crate::model::status::Status;
use crate::wire::item::QueueItemDto;
use crate::wire::queue::{QueueDefinitionDto, QueueProcessingStatusDto};
use crate::wire::transaction::{StartTransactionRequest, TransactionDataDto};
use crate::wire::{Collection, filter, json};

/// How many takes of one call are under way at once.
const AT_ONCE: usize = 32;

/// What to do about an Orchestrator that hands nothing out.
pub(super) const TRAP: &str = "the Orchestrator hands items only to robots, and answers everybody else as if the queue \
    were empty: start the performer as a job on a robot, or set that robot's key (UIPATH_ROBOT_KEY, or robot_key() of \
    the builder) together with its access token";

const START: &str = "StartTransaction";
const START_PATH: &str = "/odata/Queues/UiPathODataSvc.StartTransaction";

/// The most items of one take that are passed over because they cannot be read.
const MOST_UNREADABLE: usize = 100;

/// What StartTransaction brought.
enum Started {
    Item(Box<QueueItemDto>),
    Nothing,
    /// An item that cannot be read, for which a failure was reported.
    Unreadable(i64),
}

/// A take that is under way. Whoever drops it before its answer is here leaves a suspicion behind.
struct UnderWay {
    queue: Option<Arc<Queue>>,
    since: Instant,
}

impl UnderWay {
    fn answered(mut self) {
        self.queue = None;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.state().suspect(self.since);
        }
    }
}

impl Inner {
    /// Takes up to `take.count` items.
    pub(super) async fn take(self: &Arc<Self>, take: &Take) -> Result<Taken> {
        let queue = self.queue_of(take.job, &take.queue)?;
        let seen = Seen(queue.state().changes);
        // One first: an empty queue is asked once.
        let mut items: Vec<ClaimedItem> = self.take_one(&queue, take, true).await?.into_iter().collect();
        let mut is_there_more = !items.is_empty();
        while is_there_more && items.len() < take.count {
            let mut round = JoinSet::new();
            for _ in 0..(take.count - items.len()).min(AT_ONCE) {
                let (inner, queue, take) = (self.clone(), queue.clone(), take.clone());
                round.spawn(async move { inner.take_one(&queue, &take, false).await });
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
        // Answers overtake each other; the order in which the server handed the items out is in what it wrote.
        items.sort_by_key(|item| item.item.start_processing);
        Ok(Taken { items, seen, withheld: None })
    }

    /// One item. `counts` for one of a row of empty answers.
    async fn take_one(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
        take: &Take,
        counts: bool,
    ) -> Result<Option<ClaimedItem>> {
        let found = || self.found(queue, take);
        if let Some(item) = found()? {
            return Ok(Some(item));
        }
        if queue.state().is_look_due(&self.http.pace) {
            self.look_for_lost_items(queue).await;
            if let Some(item) = found()? {
                return Ok(Some(item));
            }
        }
        let robot = self.robot_key.as_deref();
        let data = TransactionDataDto::next_item(&queue.name, robot, take.reference.as_ref());
        for _ in 0..MOST_UNREADABLE {
            return match self.start(queue, data.clone()).await {
                Ok(Started::Item(item)) => {
                    queue.state().is_not_empty();
                    queue.changed.notify_waiters();
                    self.hand_out(*item, queue, take.job).map(Some)
                }
                Ok(Started::Nothing) => self.had_nothing(queue, counts).await.map(|()| None),
                Ok(Started::Unreadable(_)) => continue,
                Err(Failed { error, doubtful: true }) => {
                    self.look_for_lost_items(queue).await;
                    match found()? {
                        Some(item) => Ok(Some(item)),
                        None => Err(error),
                    }
                }
                Err(Failed { error, .. }) => Err(explained(error)),
            };
        }
        let message = format!("{MOST_UNREADABLE} items in a row were handed out that cannot be read");
        Err(OrchestratorError::new(ErrorKind::Other, message))
    }

    /// Adds an item and starts it.
    pub(super) async fn create_and_start(
        self: &Arc<Self>,
        take: &Take,
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
                    "StartTransaction cannot give a new item a {what}; add the item first, and take it"
                );
                return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
            }
        }
        if content.as_json() == "{}" {
            return Err(invalid("an item without content cannot be added and started in one call: the Orchestrator takes that for a take".to_owned()));
        }
        let data =
            TransactionDataDto::new_item(&queue.name, self.robot_key.as_deref(), item, content.as_json());
        let started = match self.start(&queue, data.clone()).await {
            Ok(started) => started,
            Err(Failed { error, doubtful: true }) => {
                // Should it be found only later, some robot of this job gets it as an item like any other.
                self.look_for_lost_items(&queue).await;
                let mut state = queue.state();
                let ours = state.found.iter().position(|item| {
                    item.reference == data.reference && item.specific_content == data.specific_content
                });
                let found = ours.and_then(|at| state.found.remove(at));
                Started::Item(Box::new(found.ok_or(error)?))
            }
            Err(Failed { error, .. }) => return Err(explained(error)),
        };
        match started {
            Started::Item(item) => self.hand_out(*item, &queue, take.job),
            Started::Unreadable(id) => Err(OrchestratorError::new(
                ErrorKind::Other,
                format!("item {id} was added and started, and cannot be read"),
            )),
            Started::Nothing => Err(OrchestratorError::new(
                ErrorKind::Unauthorized,
                format!("the item was not started: {TRAP}"),
            )),
        }
    }

    /// StartTransaction. A lost answer leaves a suspicion.
    async fn start(&self, queue: &Arc<Queue>, data: TransactionDataDto) -> Result<Started, Failed> {
        let _nobody_looks = queue.taking.read().await;
        let sent = Instant::now();
        let under_way = UnderWay { queue: Some(queue.clone()), since: sent };
        let body = StartTransactionRequest { transaction_data: data };
        let answer = self.http.call(Call::post(START, START_PATH, &body), |answer: &Answer| {
            if answer.status == reqwest::StatusCode::NO_CONTENT {
                Some(None)
            } else {
                Read::of(answer).map(Some)
            }
        });
        let started = match answer.await {
            Ok(None) => Ok(Started::Nothing),
            Ok(Some(Read::Whole(item))) => Ok(Started::Item(item)),
            Ok(Some(Read::NumberAlone(id, why))) => match self.settle_unreadable(queue, id, &why).await {
                Ok(Settled::Item(item)) => Ok(Started::Item(item)),
                Ok(Settled::Failed) => Ok(Started::Unreadable(id)),
                Err(failed) => Err(failed),
            },
            Err(failed) => Err(failed),
        };
        if !matches!(started, Err(Failed { doubtful: true, .. })) {
            under_way.answered();
        }
        if let Ok(Started::Item(item)) = &started {
            // While nobody looks: from here on it is known.
            self.book().expect(item.id);
            self.learn_from(item, sent);
        }
        started
    }

    /// Gives an item that the server handed out a claim.
    fn hand_out(&self, item: QueueItemDto, queue: &Arc<Queue>, job: JobKey) -> Result<ClaimedItem> {
        let id = item.id;
        let item = item.into_item().map_err(|error| {
            tracing::error!(item = id, %error, "an item was handed out that cannot be read; it stays InProgress");
            OrchestratorError::new(ErrorKind::Other, error.to_string())
        })?;
        let claim = self.book().hold(&item, job, queue.clone());
        Ok(ClaimedItem { item: Box::new(item), claim })
    }

    /// An item that was found and that the take asks for, if there is one.
    fn found(&self, queue: &Arc<Queue>, take: &Take) -> Result<Option<ClaimedItem>> {
        let found = {
            let mut state = queue.state();
            let wanted = |item: &QueueItemDto| {
                take.reference.as_ref().is_none_or(|reference| reference.matches(item.reference.as_deref()))
            };
            let at = state.found.iter().position(wanted);
            at.and_then(|at| state.found.remove(at))
        };
        found.map(|item| self.hand_out(item, queue, take.job)).transpose()
    }

    /// The queue had nothing to hand out; or so the server says.
    async fn had_nothing(&self, queue: &Arc<Queue>, counts: bool) -> Result<()> {
        let (in_a_row, warned, in_doubt) = {
            let mut state = queue.state();
            if counts {
                state.is_empty_again();
            }
            (state.empty_in_a_row, state.warned, !state.suspicions.is_empty())
        };
        if in_doubt {
            let message =
                "the answer to a take was lost, and what it may have handed out is being looked for";
            return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
        }
        let worth_asking = in_a_row == 3 || in_a_row.is_multiple_of(20);
        if counts
            && worth_asking
            && !warned
            && let Ok(Some(waiting)) = self.waiting_items(queue).await
        {
            queue.state().warned = true;
            tracing::warn!(queue = %queue.name, waiting, "items wait, and none is handed out: {TRAP}");
        }
        Ok(())
    }

    /// How many items wait, if any does that could be handed out now. First what costs nothing of the limits.
    async fn waiting_items(&self, queue: &Queue) -> Result<Option<i64>> {
        let about = self.about(queue).await?;
        let waiting = self.items_to_process(about.id).await?;
        if waiting == 0 || self.a_waiting_item(about.id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(waiting))
    }

    /// An item that waits for nothing but a robot.
    async fn a_waiting_item(&self, queue: QueueId) -> Result<Option<QueueItemDto>> {
        // A minute ago, because clocks differ.
        let due = self.now().checked_sub(std::time::Duration::from_secs(60)).unwrap_or(jiff::Timestamp::MIN);
        let due = crate::wire::ApiTime(due);
        let wanted = format!(
            "QueueDefinitionId eq {queue} and Status eq 'New' and (DeferDate eq null or DeferDate le {due})"
        );
        let call =
            Call::get("GetQueueItems", "/odata/QueueItems").query("$filter", wanted).query("$top", "1");
        let rows = self.http.call(call, |answer| json::rows(&answer.body)).await?;
        Ok(rows.iter().find_map(|row| json::response(row.as_bytes()).ok()))
    }

    /// Whether this caller is handed items at all. It is proved on an item that waits: what is New before and after a
    /// take that answered that there is nothing was not handed out. Where none waits, whoever shows neither a robot's
    /// key nor a job is warned.
    ///
    /// # Errors
    ///
    /// Unauthorized, with what to do.
    pub(super) async fn find_out_whether_items_are_handed_out(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
    ) -> Result<()> {
        let about = self.about(queue).await?;
        let Some(waiting) = self.a_waiting_item(about.id).await? else {
            if self.robot_key.is_none() && self.job_key.is_none() {
                tracing::warn!(queue = %queue.name, "this caller may be no robot; {TRAP}");
            }
            return Ok(());
        };
        for _ in 0..2 {
            let data = TransactionDataDto::next_item(&queue.name, self.robot_key.as_deref(), None);
            match self.start(queue, data).await {
                Ok(Started::Nothing) => {}
                Ok(Started::Item(item)) => {
                    queue.state().found.push_back(*item);
                    return Ok(());
                }
                Ok(Started::Unreadable(_)) => return Ok(()),
                // The robots will see.
                Err(Failed { error, doubtful }) if doubtful || error.is_temporary() => return Ok(()),
                Err(Failed { error, .. }) => return Err(explained(error)),
            }
            // Somebody else took it in between, and perhaps put it back?
            match self.http.json::<QueueItemDto>(get_item(waiting.id)).await {
                Ok(still) if still.status.known() != Some(Status::New) => return Ok(()),
                Ok(still) if still.row_version != waiting.row_version => return Ok(()),
                Ok(_) => {}
                Err(Failed { error, .. }) if error.is_surely_gone() => return Ok(()),
                Err(failed) => return Err(failed.error),
            }
        }
        let message =
            format!("item {} waits in queue {:?} and is not handed out: {TRAP}", waiting.id, queue.name);
        Err(OrchestratorError::new(ErrorKind::Unauthorized, message))
    }

    /// How many items wait, by figures that are some time old: asking costs nothing of the limits (orchestrator-api 11).
    pub(super) async fn items_to_process(&self, queue: QueueId) -> Result<i64> {
        let call = Call::get(
            "RetrieveQueuesProcessingStatus",
            "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveQueuesProcessingStatus",
        );
        let call = call.query("$filter", format!("QueueDefinitionId eq {queue}"));
        let page: Collection<QueueProcessingStatusDto> = self.http.json(call).await?;
        let of_this = page.value.iter().filter(|status| status.queue_definition_id == Some(queue.0));
        Ok(of_this.filter_map(|status| status.items_to_process).sum())
    }

    /// The queue's number and the one setting that is asked for often; read once.
    pub(super) async fn about(&self, queue: &Queue) -> Result<About> {
        if let Some(about) = queue.state().about {
            return Ok(about);
        }
        let definition = self.queue_dto(&queue.name).await?;
        let about = About {
            id: QueueId(definition.id.unwrap_or_default()),
            enforce_unique_reference: definition.enforce_unique_reference.unwrap_or(false),
        };
        queue.state().about = Some(about);
        Ok(about)
    }

    /// A queue by its name, whatever the case of its letters.
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

/// The call for one item.
pub(super) fn get_item(id: i64) -> Call {
    Call::get("GetQueueItem", format!("/odata/QueueItems({id})"))
}

/// An error that says what a caller without a robot has to do.
fn explained(error: OrchestratorError) -> OrchestratorError {
    if error.code() == Some(ErrorCode::UNAVAILABLE_RESOURCES) {
        return error.in_words(ErrorKind::Unauthorized, |message| format!("{message}; {TRAP}"));
    }
    error
}
