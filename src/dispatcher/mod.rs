//! Adding many items to a queue: the dispatcher of a REFramework project.

use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use jiff::Timestamp;
use performer_core::backoff::{BackoffPolicy, Delays};
use serde::Serialize;
use tokio::time::Instant;

use crate::model::{NewQueueItem, Priority};
use crate::orchestrator::{
    BulkAdded, CommitType, ErrorKind, Orchestrator, OrchestratorError, QueueAdministration,
};

mod summary;

pub use summary::{DispatchError, DispatchProgress, DispatchSummary, RefusedValue};

/// The default and largest number of items in a batch: what the client of a UiPath Orchestrator sends in one call. A batch of several
/// calls could fail in part.
const MAX_BATCH_SIZE: usize = 1_000;
/// The default time after which a batch is sent although it is not full.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// The default time for which a batch is repeated while the Orchestrator is not available.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Adds the values of an iterator or a stream to a queue, in batches and in order.
///
/// ```
/// use performer::prelude::*;
///
/// #[derive(serde::Serialize)]
/// struct Invoice {
///     number: String,
///     pence: u64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let orchestrator = connect("memory:").await?;
/// let policy = QueuePolicy::default().enforce_unique_reference(true);
/// orchestrator.ensure_queue(NewQueueDefinition::new("Invoices").policy(policy)).await?;
///
/// let invoices = (1..=2_500).map(|n| Invoice { number: format!("INV-{n}"), pence: n * 100 });
/// let dispatcher = Dispatcher::new("Invoices")
///     .reference(|invoice: &Invoice| invoice.number.clone())
///     .priority(|invoice| if invoice.pence > 200_000 { Priority::High } else { Priority::Normal });
/// let summary = dispatcher.dispatch(&*orchestrator, invoices).await?;
/// assert_eq!(summary.to_string(), "2500 added, 0 were there already, 0 refused");
/// # Ok(()) }
/// ```
///
/// # What it promises
///
/// * A batch is added in one call, with [`ProcessAllIndependently`](CommitType::ProcessAllIndependently): an item that is refused
///   does not hold back the others. It is handed back with the reason ([`DispatchSummary::refused`]).
/// * While one batch is added the next one is read, and no more: a source that is faster than the queue waits.
/// * In a queue that enforces unique references an item whose reference is there already is skipped and counted. So a dispatcher
///   that was interrupted is simply run again with the same values. In other queues a second run adds all of them again.
/// * While the Orchestrator is not available a batch is repeated for [`retry_for`](Self::retry_for). A batch whose outcome is not
///   known ([`ErrorKind::Unknown`]) is repeated only where that is harmless: if the queue enforces unique references.
/// * If it cannot go on, the error has what was added and every value that was read and not added
///   ([`DispatchError::remaining`]), so that a source that cannot be read twice loses nothing.
#[must_use = "nothing is added until `dispatch` is called"]
pub struct Dispatcher<T> {
    queue: String,
    steps: Vec<Step<T>>,
    batch_size: usize,
    batch_delay: Duration,
    retry_for: Duration,
    on_progress: Option<OnProgress>,
}

/// Sets a field of a new item from the value that becomes its content.
type Step<T> = Box<dyn Fn(&T, NewQueueItem) -> NewQueueItem + Send + Sync>;

type OnProgress = Box<dyn Fn(&DispatchProgress) + Send + Sync>;

impl<T> fmt::Debug for Dispatcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, batch_size, batch_delay, retry_for, .. } = self;
        f.debug_struct("Dispatcher")
            .field("queue", queue)
            .field("batch_size", batch_size)
            .field("batch_delay", batch_delay)
            .field("retry_for", retry_for)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize> Dispatcher<T> {
    /// Creates a dispatcher for this queue. Each value becomes the SpecificContent of one item, so it has to serialize to a flat
    /// JSON object.
    pub fn new(queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            steps: Vec::new(),
            batch_size: MAX_BATCH_SIZE,
            batch_delay: BATCH_DELAY,
            retry_for: RETRY_FOR,
            on_progress: None,
        }
    }

    /// The reference of each item. Default: none. A queue that enforces unique references requires one.
    pub fn reference<R>(self, reference: impl Fn(&T) -> R + Send + Sync + 'static) -> Self
    where
        R: Into<String>,
    {
        self.edit(move |value, item| item.reference(reference(value)))
    }

    /// The priority of each item. Default: Normal.
    pub fn priority(self, priority: impl Fn(&T) -> Priority + Send + Sync + 'static) -> Self {
        self.edit(move |value, item| item.priority(priority(value)))
    }

    /// The due date of each item: a time, or an option of one. Default: none.
    pub fn due<R>(self, due: impl Fn(&T) -> R + Send + Sync + 'static) -> Self
    where
        R: Into<Option<Timestamp>>,
    {
        self.edit(move |value, item| match due(value).into() {
            Some(due) => item.due_date(due),
            None => item,
        })
    }

    /// The time before which each item is not claimed: a time, or an option of one. Default: none.
    pub fn defer<R>(self, defer: impl Fn(&T) -> R + Send + Sync + 'static) -> Self
    where
        R: Into<Option<Timestamp>>,
    {
        self.edit(move |value, item| match defer(value).into() {
            Some(defer) => item.defer_date(defer),
            None => item,
        })
    }

    /// Sets any other field of each item, such as its first progress text.
    pub fn edit(mut self, edit: impl Fn(&T, NewQueueItem) -> NewQueueItem + Send + Sync + 'static) -> Self {
        self.steps.push(Box::new(edit));
        self
    }

    /// The number of items in a batch, 1 to 1,000; what is outside counts as the nearest. Default: 1,000.
    pub fn batch_size(mut self, items: usize) -> Self {
        self.batch_size = items.clamp(1, MAX_BATCH_SIZE);
        self
    }

    /// How long an item of a stream waits for its batch to be full, before the batch is sent as it is. Default: 1 second.
    pub fn batch_delay(mut self, delay: Duration) -> Self {
        self.batch_delay = delay;
        self
    }

    /// How long a call is repeated, with growing delays, while the Orchestrator is not available. Default: 1 minute; zero repeats
    /// nothing.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    /// Calls a function after each batch.
    pub fn on_progress(mut self, on_progress: impl Fn(&DispatchProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Adds all values of an iterator, and returns how many were added and which were refused.
    ///
    /// If the future is dropped, the batch that is being added may or may not be in the queue. `&mut iterator` keeps what was not
    /// read.
    ///
    /// # Errors
    ///
    /// The queue does not exist, or the Orchestrator refuses the call or is not available: see [`DispatchError`].
    pub async fn dispatch<O: Orchestrator + QueueAdministration + ?Sized>(
        &self,
        orchestrator: &O,
        values: impl IntoIterator<Item = T>,
    ) -> Result<DispatchSummary<T>, DispatchError<T>> {
        let values = Iter(Box::new(values.into_iter()));
        self.dispatch_stream(orchestrator, values).await
    }

    /// Adds all values of a stream, as [`dispatch`](Self::dispatch) does those of an iterator, until it ends.
    ///
    /// # Errors
    ///
    /// As [`dispatch`](Self::dispatch).
    pub async fn dispatch_stream<O: Orchestrator + QueueAdministration + ?Sized>(
        &self,
        orchestrator: &O,
        values: impl Stream<Item = T>,
    ) -> Result<DispatchSummary<T>, DispatchError<T>> {
        let mut values = Values { stream: pin!(values), ended: false };
        let mut summary = DispatchSummary::default();
        let repeatable = match self.is_repeatable(orchestrator).await {
            Ok(repeatable) => repeatable,
            Err(source) => return Err(DispatchError { source, summary, remaining: Vec::new() }),
        };
        let mut batch = Batch::default();
        self.fill(&mut batch, &mut values).await;
        while !batch.values.is_empty() {
            let Batch { values: sent, items, .. } = batch;
            let mut next = Batch::default();
            let added = {
                let mut adding = pin!(self.add(orchestrator, items, repeatable));
                let mut reading = pin!(self.fill(&mut next, &mut values));
                // The call is polled first, so that the next batch is read while the store is at work.
                tokio::select! {
                    biased;
                    added = &mut adding => added,
                    () = &mut reading => adding.await,
                }
            };
            match added {
                Ok(added) => summary.count(sent, added),
                Err(source) => {
                    let remaining = sent.into_iter().chain(next.values).collect();
                    return Err(DispatchError { source, summary, remaining });
                }
            }
            if let Some(on_progress) = &self.on_progress {
                on_progress(&summary.progress());
            }
            self.fill(&mut next, &mut values).await;
            batch = next;
        }
        Ok(summary)
    }

    /// Reads values until the batch is full, its time is over, or there are no more. If the future is dropped, the batch has every
    /// value that was read.
    async fn fill(&self, batch: &mut Batch<T>, values: &mut Values<'_, impl Stream<Item = T>>) {
        if batch.values.is_empty() {
            let Some(first) = values.next().await else { return };
            self.push(batch, first);
        }
        while batch.values.len() < self.batch_size {
            let left = self.batch_delay.saturating_sub(batch.started.elapsed());
            let Ok(Some(value)) = tokio::time::timeout(left, values.next()).await else { return };
            self.push(batch, value);
        }
    }

    fn push(&self, batch: &mut Batch<T>, value: T) {
        if batch.values.is_empty() {
            batch.started = Instant::now();
        }
        let item = self.steps.iter().fold(NewQueueItem::new(&value), |item, step| step(&value, item));
        batch.values.push(value);
        batch.items.push(item);
    }

    /// Adds one batch, and repeats that while the Orchestrator is not available.
    async fn add(
        &self,
        orchestrator: &(impl Orchestrator + ?Sized),
        items: Vec<NewQueueItem>,
        repeatable: bool,
    ) -> Result<BulkAdded, OrchestratorError> {
        let mut retry = Retry::new(self);
        loop {
            let independently = CommitType::ProcessAllIndependently;
            let added = orchestrator.bulk_add_queue_items(&self.queue, independently, items.clone()).await;
            let Err(error) = added else { return added };
            retry.wait_after(error, repeatable).await?;
        }
    }

    /// Whether the queue enforces unique references, so that a batch may be repeated although its outcome is not known.
    async fn is_repeatable(
        &self,
        orchestrator: &(impl QueueAdministration + ?Sized),
    ) -> Result<bool, OrchestratorError> {
        let mut retry = Retry::new(self);
        loop {
            match orchestrator.get_queue(&self.queue).await {
                Ok(queue) => return Ok(queue.policy.enforce_unique_reference),
                Err(error) => retry.wait_after(error, true).await?,
            }
        }
    }
}

/// The repetitions of one call.
struct Retry<'a> {
    queue: &'a str,
    delays: Delays,
    /// `None`: never.
    give_up_at: Option<Instant>,
}

impl<'a> Retry<'a> {
    fn new<T>(dispatcher: &'a Dispatcher<T>) -> Self {
        Self {
            queue: &dispatcher.queue,
            delays: Delays::new(BackoffPolicy::STORE, fastrand::Rng::new()),
            give_up_at: Instant::now().checked_add(dispatcher.retry_for),
        }
    }

    /// Waits before the call is repeated, or returns the error if that does not help or the time is over.
    async fn wait_after(
        &mut self,
        error: OrchestratorError,
        repeatable: bool,
    ) -> Result<(), OrchestratorError> {
        let may_pass = match error.kind() {
            ErrorKind::Unavailable => true,
            ErrorKind::Unknown => repeatable,
            _ => false,
        };
        let delay = self.delays.next_delay().max(error.retry_after().unwrap_or_default());
        let next = Instant::now().checked_add(delay);
        let is_too_late = self.give_up_at.is_some_and(|end| next.is_none_or(|next| next > end));
        if !may_pass || is_too_late {
            return Err(error);
        }
        let cause = error.with_causes();
        tracing::warn!(queue = %self.queue, error = %cause, "the queue could not be reached; the call is repeated");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// The values of a batch, and the items that are made of them.
struct Batch<T> {
    values: Vec<T>,
    items: Vec<NewQueueItem>,
    /// When its first value was read.
    started: Instant,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { values: Vec::new(), items: Vec::new(), started: Instant::now() }
    }
}

/// A stream that is not polled again after its end.
struct Values<'a, S> {
    stream: Pin<&'a mut S>,
    ended: bool,
}

impl<S: Stream> Values<'_, S> {
    async fn next(&mut self) -> Option<S::Item> {
        if self.ended {
            return None;
        }
        let next = std::future::poll_fn(|context| self.stream.as_mut().poll_next(context)).await;
        self.ended = next.is_none();
        next
    }
}

/// An iterator as a stream that is always ready.
struct Iter<I>(I);

impl<I: Iterator + Unpin> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}
