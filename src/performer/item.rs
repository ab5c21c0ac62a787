//! The claimed item, as a transaction sees it, and its live handle.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::progress::Progress;
use super::stop::StopHandle;
use super::supply::Received;
use crate::model::content::SpecificContent;
use crate::model::item::{ClaimedItem, Priority, QueueItem};
use crate::model::key::{Claim, ItemId, ItemKey};

/// The item a robot is working on.
#[derive(Debug)]
pub struct TransactionItem {
    queue: Arc<str>,
    item: Box<QueueItem>,
    claim: Claim,
    taken: Instant,
    begun: Instant,
    robot: u32,
    progress: Progress,
    stop: StopHandle,
}

impl TransactionItem {
    pub(super) fn new(queue: Arc<str>, received: Received, robot: u32, stop: StopHandle) -> Self {
        let ClaimedItem { item, claim } = received.claimed;
        let (taken, begun) = (received.at, Instant::now());
        Self { queue, item, claim, taken, begun, robot, progress: Progress::default(), stop }
    }

    /// The number of this attempt.
    pub fn id(&self) -> ItemId {
        self.item.id
    }

    /// The key of the piece of work: the same for all attempts of a retry chain, manual retries included. The
    /// idempotency key for the systems you touch: with it they can tell that this work was done before.
    pub fn key(&self) -> ItemKey {
        self.item.key
    }

    /// The key of this attempt alone. An attempt whose robot died is followed by another one, with another key:
    /// for idempotency use [`key`](Self::key).
    pub fn unique_key(&self) -> ItemKey {
        self.item.unique_key
    }

    /// The right to report on this attempt, for those who do so themselves: in a transaction of their own
    /// ([`Store::complete_in`](crate::orchestrator::store::Store::complete_in)).
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// The caller's own name for the item.
    pub fn reference(&self) -> Option<&str> {
        self.item.reference.as_deref()
    }

    /// How many automatic retries led to this attempt; 0 at first.
    pub fn retry_number(&self) -> u32 {
        self.item.retry_number
    }

    /// How many manual retries led to this attempt; 0 at first.
    pub fn manual_retry_number(&self) -> u32 {
        self.item.manual_retry_number
    }

    /// How urgent the item is.
    pub fn priority(&self) -> Priority {
        self.item.priority
    }

    /// Until when the item should have been handed out.
    pub fn due_date(&self) -> Option<Timestamp> {
        self.item.due_date
    }

    /// The SpecificContent as it is stored, for what its type does not show.
    pub fn specific_content(&self) -> &SpecificContent {
        &self.item.specific_content
    }

    /// Everything the Orchestrator said about the item when it handed it out.
    pub fn queue_item(&self) -> &QueueItem {
        &self.item
    }

    /// The queue it is from.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Which of the performer's robots works on it, counted from 1.
    pub fn robot(&self) -> u32 {
        self.robot
    }

    /// Shows people how far the transaction is. Never fails and never waits: the latest text wins, and the
    /// last one is recorded with the result. At most 104,857 code units are kept.
    pub fn progress(&self, text: impl Into<String>) {
        self.progress.set(text.into());
    }

    /// Whether somebody asked the performer to stop. A long transaction may end early then, for instance
    /// by postponing itself; one that does not is waited for until the grace period is over.
    pub fn is_stop_requested(&self) -> bool {
        self.stop.is_stop_requested()
    }

    /// Waits until somebody asks the performer to stop.
    pub async fn stop_requested(&self) {
        self.stop.stop_requested().await;
    }

    pub(super) fn unsent_progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn duration(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The time by the store's clock, which handed the item out; this machine's time of day decides
    /// nothing.
    pub(super) fn store_time(&self) -> Timestamp {
        let started = self.item.start_processing.unwrap_or(self.item.creation_time);
        started.checked_add(self.taken.elapsed()).unwrap_or(started)
    }
}
