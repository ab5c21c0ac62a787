//! The claimed item, as a transaction sees it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::item_source::ReceivedItem;
use super::progress::Progress;
use super::stop::StopHandle;
use crate::model::{Claim, ClaimedItem, ItemId, ItemKey, Priority, QueueItem, SpecificContent};

/// The item that a robot is processing.
///
/// Clones share the item. A task that you spawn is not interrupted with the transaction (by a kill or a time limit): await it, or abort it.
/// A progress text that is set after the transaction has ended is dropped.
#[derive(Clone, Debug)]
pub struct TransactionItem(Arc<ItemInProgress>);

#[derive(Debug)]
struct ItemInProgress {
    queue: Arc<str>,
    item: Box<QueueItem>,
    claim: Claim,
    received_at: Instant,
    started_at: Instant,
    robot: u32,
    progress: Progress,
    stop: StopHandle,
}

impl TransactionItem {
    pub(super) fn new(queue: Arc<str>, received: ReceivedItem, robot: u32, stop: StopHandle) -> Self {
        let ClaimedItem { item, claim, .. } = received.claimed;
        let (received_at, started_at) = (received.received_at, Instant::now());
        let progress = Progress::default();
        Self(Arc::new(ItemInProgress { queue, item, claim, received_at, started_at, robot, progress, stop }))
    }

    /// The id of this attempt.
    pub fn id(&self) -> ItemId {
        self.0.item.id
    }

    /// The key of the work: the same for all attempts of a retry chain, including manual retries. Use it as the idempotency
    /// key in the systems you call, so that they recognise work that was done before.
    pub fn key(&self) -> ItemKey {
        self.0.item.key
    }

    /// The key of this attempt. The attempt that follows the failure of a robot has another one: for idempotency use
    /// [`key`](Self::key).
    pub fn unique_key(&self) -> ItemKey {
        self.0.item.unique_key
    }

    /// The right to report on this attempt, for code that reports in its own database transaction
    /// ([`Store::complete_in`](crate::orchestrator::store::Store::complete_in)).
    pub fn claim(&self) -> Claim {
        self.0.claim
    }

    /// The reference that the producer gave to the item.
    pub fn reference(&self) -> Option<&str> {
        self.0.item.reference.as_deref()
    }

    /// The number of automatic retries before this attempt.
    pub fn retry_number(&self) -> u32 {
        self.0.item.retry_number
    }

    /// The number of manual retries before this attempt.
    pub fn manual_retry_number(&self) -> u32 {
        self.0.item.manual_retry_number
    }

    /// The priority of the item.
    pub fn priority(&self) -> Priority {
        self.0.item.priority
    }

    /// The time before which the item should be handed out.
    pub fn due_date(&self) -> Option<Timestamp> {
        self.0.item.due_date
    }

    /// The SpecificContent as it is stored, including members that [`Transaction::Content`](super::Transaction::Content)
    /// does not have.
    pub fn specific_content(&self) -> &SpecificContent {
        &self.0.item.specific_content
    }

    /// The whole item, as the Orchestrator handed it out.
    pub fn queue_item(&self) -> &QueueItem {
        &self.0.item
    }

    /// The name of its queue.
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// The number of the robot that processes it, counted from 1.
    pub fn robot(&self) -> u32 {
        self.0.robot
    }

    /// Sets the progress text of the item. Never fails and never waits: a newer text replaces one that is not sent yet, and
    /// the last one is recorded with the result. At most 104,857 code units are kept.
    pub fn progress(&self, text: impl Into<String>) {
        self.0.progress.set(text.into());
    }

    /// Whether a stop of the performer was requested. A long transaction may then end early, for instance by postponing
    /// its item; otherwise the performer waits for it until the grace period is over.
    pub fn is_stop_requested(&self) -> bool {
        self.0.stop.is_stop_requested()
    }

    /// Waits until a stop of the performer is requested.
    pub async fn stop_requested(&self) {
        self.0.stop.stop_requested().await;
    }

    pub(super) fn unsent_progress(&self) -> &Progress {
        &self.0.progress
    }

    pub(super) fn duration(&self, ended_at: Instant) -> Duration {
        ended_at.saturating_duration_since(self.0.started_at)
    }

    /// A time by the clock of the store that handed the item out. The clock of this machine is not used.
    pub(super) fn store_time(&self, at: Instant) -> Timestamp {
        let started = self.0.item.start_processing.unwrap_or(self.0.item.creation_time);
        started.checked_add(at.saturating_duration_since(self.0.received_at)).unwrap_or(started)
    }
}
