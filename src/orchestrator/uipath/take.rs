//! Taking items, and finding those whose answer was lost (contract section 8).
//!
//! A StartTransaction that broke off may have been executed: the Orchestrator then has an item InProgress that no
//! robot knows of, and would keep it so for a day. So the queue is looked through for items InProgress that are ours
//! and that nobody here was told of, several times within a minute, and what is found is handed to the next robot.
//! Ours is what carries the key of the job we run in, or the number of our robot. No take is under way while a look
//! is, so that an item on its way to its robot is not taken for a lost one.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::{ErrorKind, OrchestratorError, Result, Seen, Take, Taken};
use super::Inner;
use super::address::invalid;
use super::queue::{About, Queue};
use super::request::{Answer, Call, Failed};
use crate::model::code::ErrorCode;
use crate::model::item::{ClaimedItem, NewQueueItem, Priority};
use crate::model::key::{JobKey, QueueId};
use crate::model::queue::{QueueDefinition, folded};
use crate::model::status::Status;
use crate::wire::item::QueueItemDto;
use crate::wire::queue::{QueueDefinitionDto, QueueProcessingStatusDto};
use crate::wire::transaction::{StartTransactionRequest, TransactionDataDto};
use crate::wire::{Collection, filter};

/// How many takes of one call are under way at once.
const AT_ONCE: usize = 32;

/// What to do about an Orchestrator that hands nothing out.
pub(super) const TRAP: &str = "the Orchestrator hands items only to robots, and answers everybody else as if the queue \
    were empty: start the performer as a job on a robot, or set that robot's key (UIPATH_ROBOT_KEY, or robot_key() of \
    the builder) together with its access token";

const START: &str = "StartTransaction";
const START_PATH: &str = "/odata/Queues/UiPathODataSvc.StartTransaction";

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
        let mut items = Vec::new();
        if take.count == 1 {
            items.extend(self.take_one(&queue, take).await?);
            return Ok(Taken { items, seen });
        }
        let mut is_there_more = true;
        let mut error = None;
        while is_there_more && items.len() < take.count {
            let mut round = JoinSet::new();
            for _ in 0..(take.count - items.len()).min(AT_ONCE) {
                let (inner, queue, take) = (self.clone(), queue.clone(), take.clone());
                round.spawn(async move { inner.take_one(&queue, &take).await });
            }
            while let Some(taken) = round.join_next().await {
                match taken {
                    Ok(Ok(Some(item))) => items.push(item),
                    Ok(Ok(None)) => is_there_more = false,
                    Ok(Err(failed)) => {
                        is_there_more = false;
                        error = Some(failed);
                    }
                    Err(_) => is_there_more = false,
                }
            }
        }
        // Answers overtake each other; the order in which the server handed the items out is in what it wrote.
        items.sort_by_key(|item| item.item.start_processing);
        match error {
            Some(error) if items.is_empty() => Err(error),
            _ => Ok(Taken { items, seen }),
        }
    }

    async fn take_one(self: &Arc<Self>, queue: &Arc<Queue>, take: &Take) -> Result<Option<ClaimedItem>> {
        if take.reference.is_none()
            && let Some(item) = self.found(queue, take.job)?
        {
            return Ok(Some(item));
        }
        if queue.state().is_look_due(&self.http.pace) {
            self.look_for_lost_items(queue).await?;
            if let Some(item) = self.found(queue, take.job)? {
                return Ok(Some(item));
            }
        }
        let robot = self.robot_key.as_deref();
        let data = TransactionDataDto::take(&queue.name, robot, take.reference.as_ref());
        match self.start(queue, data).await {
            Ok(Some(item)) => {
                queue.state().is_not_empty();
                self.hand_out(item, queue, take.job).map(Some)
            }
            Ok(None) => self.had_nothing(queue).await.map(|()| None),
            Err(Failed { error, doubtful: true }) => {
                self.look_for_lost_items(queue).await?;
                match self.found(queue, take.job)? {
                    Some(item) => Ok(Some(item)),
                    None => Err(error),
                }
            }
            Err(Failed { error, .. }) if error.code() == Some(ErrorCode::UNAVAILABLE_RESOURCES) => {
                Err(error.in_words(ErrorKind::Unauthorized, |message| format!("{message}; {TRAP}")))
            }
            Err(Failed { error, .. }) => Err(error),
        }
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
            TransactionDataDto::create(&queue.name, self.robot_key.as_deref(), item, content.as_json());
        match self.start(&queue, data).await.map_err(|failed| failed.error)? {
            Some(item) => self.hand_out(item, &queue, take.job),
            None => Err(OrchestratorError::new(
                ErrorKind::Unauthorized,
                format!("the item was not started: {TRAP}"),
            )),
        }
    }

    /// StartTransaction. A lost answer leaves a suspicion.
    async fn start(
        &self,
        queue: &Arc<Queue>,
        data: TransactionDataDto,
    ) -> Result<Option<QueueItemDto>, Failed> {
        let _nobody_looks = self.taking.read().await;
        let is_take = data.specific_content.is_none();
        let under_way = UnderWay { queue: is_take.then(|| queue.clone()), since: Instant::now() };
        let body = StartTransactionRequest { transaction_data: data };
        let answer = self.http.call(Call::post(START, START_PATH, &body), |answer: &Answer| {
            if answer.status == reqwest::StatusCode::NO_CONTENT {
                Some(None)
            } else {
                answer.json::<QueueItemDto>().map(Some)
            }
        });
        let answer = answer.await;
        if !matches!(answer, Err(Failed { doubtful: true, .. })) {
            under_way.answered();
        }
        if let Ok(Some(item)) = &answer {
            // While nobody looks: from here on it is known.
            self.book().expect(item.id);
            self.learn_from(item);
        }
        answer
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

    /// An item that was found, if there is one.
    fn found(&self, queue: &Arc<Queue>, job: JobKey) -> Result<Option<ClaimedItem>> {
        let found = queue.state().found.pop_front();
        found.map(|item| self.hand_out(item, queue, job)).transpose()
    }

    /// The queue had nothing to hand out; or so the server says.
    async fn had_nothing(&self, queue: &Arc<Queue>) -> Result<()> {
        let (in_a_row, warned, in_doubt) = {
            let mut state = queue.state();
            state.is_empty_again();
            (state.empty_in_a_row, state.warned, !state.suspicions.is_empty())
        };
        if in_doubt {
            let message =
                "the answer to a take was lost, and what it may have handed out is being looked for";
            return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
        }
        let worth_asking = in_a_row == 3 || in_a_row.is_multiple_of(20);
        if worth_asking
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
        let wanted = format!("QueueDefinitionId eq {queue} and Status eq 'New' and DeferDate eq null");
        let call =
            Call::get("GetQueueItems", "/odata/QueueItems").query("$filter", wanted).query("$top", "1");
        let page: Collection<QueueItemDto> = self.http.json(call).await?;
        Ok(page.value.into_iter().next())
    }

    /// Whether this caller is handed items at all. Whoever has a robot's key, or runs in a job, is taken at its word;
    /// anybody else proves it on an item that waits. Where none waits, a warning must do.
    ///
    /// # Errors
    ///
    /// Unauthorized, with what to do, when an item waited before and after a take that answered that there is none.
    pub(super) async fn find_out_whether_items_are_handed_out(&self, queue: &Arc<Queue>) -> Result<()> {
        if self.robot_key.is_some() || self.job_key.is_some() {
            return Ok(());
        }
        let about = self.about(queue).await?;
        let Some(waiting) = self.a_waiting_item(about.id).await? else {
            tracing::warn!(queue = %queue.name, "this caller may be no robot; {TRAP}");
            return Ok(());
        };
        if let Some(item) = self.start(queue, TransactionDataDto::take(&queue.name, None, None)).await? {
            queue.state().found.push_back(item);
            return Ok(());
        }
        let still: QueueItemDto = self.http.json(get_item(waiting.id)).await?;
        if still.status.known() != Some(Status::New) {
            return Ok(()); // somebody else took it in between
        }
        let message =
            format!("item {} waits in queue {:?} and is not handed out: {TRAP}", waiting.id, queue.name);
        Err(OrchestratorError::new(ErrorKind::Unauthorized, message))
    }

    /// What is InProgress for this robot when a job starts is none of its items.
    pub(super) async fn note_what_others_hold(&self, queue: &Arc<Queue>) -> Result<()> {
        let _nobody_takes = self.taking.write().await;
        let items = self.unknown_items(queue).await?;
        let ours: Vec<i64> = items.iter().map(|item| item.id).collect();
        if !ours.is_empty() {
            tracing::warn!(
                queue = %queue.name,
                items = ?ours,
                "items are InProgress for this robot and not known here: a run that died left them, or another process \
                 uses the same robot key. Give every process a robot of its own"
            );
        }
        queue.state().leave_to_others(&items);
        Ok(())
    }

    /// Looks for items whose answer was lost, if it is time to.
    pub(super) async fn look_for_lost_items(&self, queue: &Arc<Queue>) -> Result<()> {
        let _nobody_takes = self.taking.write().await;
        if !queue.state().is_look_due(&self.http.pace) {
            return Ok(()); // somebody else has looked in the meantime
        }
        self.look_now(queue).await
    }

    /// Looks for the last time, whether it is time to or not: nobody will look later.
    pub(super) async fn look_for_the_last_time(&self, queue: &Arc<Queue>) -> Result<()> {
        let _nobody_takes = self.taking.write().await;
        if queue.state().suspicions.is_empty() {
            return Ok(());
        }
        self.look_now(queue).await
    }

    async fn look_now(&self, queue: &Arc<Queue>) -> Result<()> {
        let earliest = queue.state().earliest_suspicion().and_then(|since| self.server_time_at(since));
        let mut candidates = Vec::new();
        for item in self.unknown_items(queue).await? {
            // Lists lag behind; the item itself does not.
            let item: QueueItemDto = match self.http.json(get_item(item.id)).await {
                Ok(item) => item,
                Err(Failed { error, .. }) if error.is_not_found() => continue,
                Err(failed) => return Err(failed.error),
            };
            // What was started before the first lost take was sent is somebody else's.
            let is_late_enough =
                earliest.zip(item.start_processing).is_none_or(|(earliest, start)| start.0 >= earliest);
            if item.status.known() == Some(Status::InProgress) && self.is_ours(&item) && is_late_enough {
                candidates.push(item);
            }
        }
        let mut state = queue.state();
        let suspected = state.suspicions.len();
        let ids: Vec<i64> = candidates.iter().map(|item| item.id).collect();
        if candidates.len() > suspected {
            tracing::error!(
                queue = %queue.name,
                items = ?ids,
                suspected,
                "more items are InProgress for this robot than can have got lost: another process uses the same robot \
                 key. None is taken up; give every process a robot of its own"
            );
            state.leave_to_others(&candidates);
            state.suspicions.clear();
            return Ok(());
        }
        if !candidates.is_empty() {
            tracing::warn!(queue = %queue.name, items = ?ids, "the answers that handed these items out were lost; they are taken up");
        }
        let mut book = self.book();
        for item in candidates {
            book.expect(item.id);
            state.suspicions.remove(0);
            state.found.push_back(item);
        }
        drop(book);
        let dropped = state.looked(&self.http.pace);
        if dropped > 0 && !self.knows_its_robot() {
            tracing::error!(
                queue = %queue.name,
                "the answer to a take was lost, and which items are this robot's is not known: should one have been handed \
                 out, it stays InProgress until the Orchestrator abandons it"
            );
        }
        Ok(())
    }

    /// Items InProgress that are ours and that nobody here was told of.
    async fn unknown_items(&self, queue: &Queue) -> Result<Vec<QueueItemDto>> {
        if !self.knows_its_robot() {
            return Ok(Vec::new());
        }
        let about = self.about(queue).await?;
        let wanted = format!("QueueDefinitionId eq {} and Status eq 'InProgress'", about.id);
        let mut unknown = Vec::new();
        for page in 0..MOST_PAGES {
            let call = Call::get("GetQueueItems", "/odata/QueueItems")
                .query("$filter", &wanted)
                .query("$orderby", "Id desc")
                .query("$top", "100")
                .query("$skip", (page * 100).to_string());
            let items: Collection<QueueItemDto> = self.http.json(call).await?;
            let is_last = items.value.len() < 100;
            let (state, book) = (queue.state(), self.book());
            unknown.extend(
                items
                    .value
                    .into_iter()
                    .filter(|item| !book.knows(item) && !state.knows(item) && self.is_ours(item)),
            );
            if is_last {
                break;
            }
        }
        unknown.dedup_by_key(|item| item.id);
        Ok(unknown)
    }

    /// How many items wait, by figures that are some time old: asking costs nothing of the limits (contract section 11).
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
        let page: Collection<QueueDefinitionDto> = self.http.json(call).await?;
        let wanted = folded(name);
        let found = page.value.into_iter().find(|queue| folded(&queue.name) == wanted);
        found.ok_or_else(|| OrchestratorError::no_queue(name))
    }
}

/// The call for one item.
pub(super) fn get_item(id: i64) -> Call {
    Call::get("GetQueueItem", format!("/odata/QueueItems({id})"))
}

/// The most pages of items InProgress that are looked through.
const MOST_PAGES: usize = 10;
