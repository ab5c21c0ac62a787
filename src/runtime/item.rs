//! The claimed item, as a transaction sees it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::assets::{self, AssetCache};
use super::follow_ups::GivenFollowUps;
use super::item_source::ReceivedItem;
use super::job::RunningJob;
use super::progress::Progress;
use super::stop::StopHandle;
use crate::model::{
    Claim, ClaimedItem, Credential, ItemId, ItemKey, NewQueueItem, Priority, QueueItem, SpecificContent,
    TaskAnswer, TransactionResult,
};
use crate::orchestrator::{FollowUp, Result};

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
    follow_ups: GivenFollowUps,
    assets: Arc<AssetCache>,
    stop: StopHandle,
}

impl TransactionItem {
    pub(super) fn new(job: &RunningJob, received: ReceivedItem, robot: u32) -> Self {
        let (queue, assets, stop) = (job.queue.clone(), job.assets.clone(), job.stop.clone());
        let ClaimedItem { item, claim, .. } = received.claimed;
        let (received_at, started_at) = (received.received_at, Instant::now());
        let (progress, follow_ups) = (Progress::default(), GivenFollowUps::default());
        Self(Arc::new(ItemInProgress {
            queue,
            item,
            claim,
            received_at,
            started_at,
            robot,
            progress,
            follow_ups,
            assets,
            stop,
        }))
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

    /// Adds an item to a queue together with the success of this one: the item exists if and only if the success is recorded, in
    /// the same commit. If the transaction ends in any other way (an exception, a postponement, a panic, its time limit, a kill), or
    /// its claim was lost, nothing is added.
    ///
    /// ```
    /// use performer::prelude::*;
    ///
    /// # #[derive(serde::Deserialize)] struct Invoice { amount: f64 }
    /// # struct PostInvoices;
    /// # #[async_trait]
    /// # impl Transaction for PostInvoices {
    /// # type Content = Invoice;
    /// # type Output = ();
    /// async fn process(&mut self, invoice: Invoice, item: &TransactionItem) -> Result<(), Exception> {
    ///     // … post the invoice …
    ///     item.also_add("Payments", NewQueueItem::new(serde_json::json!({"amount": invoice.amount})));
    ///     item.also_add("Archive", NewQueueItem::new(serde_json::json!({})).reference(item.key().to_string()));
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let orchestrator = connect("memory:").await?;
    /// # for queue in ["Invoices", "Payments", "Archive"] {
    /// #     orchestrator.create_queue(NewQueueDefinition::new(queue)).await?;
    /// # }
    /// # orchestrator.add_queue_item("Invoices", NewQueueItem::new(serde_json::json!({"amount": 7.5}))).await?;
    /// # Performer::new("Invoices", || PostInvoices).run_until_empty(orchestrator.clone()).await?;
    /// # assert_eq!(orchestrator.queue_statistics("Payments").await?.new, 1);
    /// # assert_eq!(orchestrator.queue_statistics("Archive").await?.new, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// Nothing is checked by this call, and nothing fails here. At the report all items are added in the order in which they were
    /// given, or none: if one of them cannot be added (its queue does not exist, its content is too long or does not match the
    /// schema, its reference is there already in a queue that enforces unique references), the success is not recorded either. The
    /// item is then reported with an ApplicationException that names what was refused, and the queue's policy says whether it is
    /// retried. The same happens if there are more than [`MAX_FOLLOW_UPS`](crate::orchestrator::MAX_FOLLOW_UPS) items, with more than
    /// [`FOLLOW_UPS_SIZE_LIMIT`](crate::orchestrator::FOLLOW_UPS_SIZE_LIMIT) bytes of text, or on a back end that does not
    /// [support](crate::orchestrator::Orchestrator::supports_follow_ups) them.
    ///
    /// The queues are in the folder of the performer. The job is the creator of the items, and with the feature `otel` the current
    /// span their parent. What is given after `process` has returned is dropped. A transaction that records its own success in a
    /// transaction of the database ([`Store::complete_in`](crate::orchestrator::store::Store::complete_in)) adds items there too, with
    /// `add_queue_item_in`: a success that is already recorded adds nothing.
    ///
    /// **A UiPath Orchestrator** has no call that does both. There the items are added first, each under a reference that is made
    /// from [`key`](Self::key) and its content if it has none, and then the success is reported. They may be there although the
    /// success is not: see the guide, [outcomes](crate::guide::outcomes#items-that-follow).
    pub fn also_add(&self, queue: impl Into<String>, item: NewQueueItem) {
        self.0.follow_ups.give(queue.into(), item);
    }

    /// The value of an asset: a text, a number, true or false, or a list of pairs as a map or a struct of texts. A text is also read as
    /// the JSON of the type, so that `0.25` is an `f64`.
    ///
    /// ```
    /// use performer::prelude::*;
    ///
    /// # struct PostInvoices;
    /// # #[async_trait]
    /// # impl Transaction for PostInvoices {
    /// # type Content = serde_json::Value;
    /// # type Output = ();
    /// async fn process(&mut self, _: serde_json::Value, item: &TransactionItem) -> Result<(), Exception> {
    ///     let threshold: i32 = item.asset("Threshold").await?;
    ///     let sap = item.credential("SAP").await?;
    ///     // … log in as sap.user_name, and post what is over the threshold …
    ///     # assert_eq!(threshold, 5);
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use performer::model::{AssetValue, NewAsset, NewValue, ValueOf};
    /// # let run = performer::testing::TestRun::new(Performer::new("Invoices", || PostInvoices))
    /// #     .asset(NewAsset::global("Threshold", NewValue::plain(ValueOf::Everybody, AssetValue::Integer(5))))
    /// #     .asset(NewAsset::global("SAP", NewValue::credential(ValueOf::Everybody, "ann", Some("x".into()))));
    /// # let tested = run.run(NewQueueItem::new(serde_json::json!({}))).await;
    /// # assert_eq!(tested.status(), Status::Successful, "{:?}", tested.reason());
    /// # Ok(()) }
    /// ```
    ///
    /// The value is the one that is meant for the robot (see the guide, [assets](crate::guide::assets)). It is used for a minute, by all
    /// robots of the job, before it is read again.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504 for an unknown asset, and with code 1503 if it has no value for this robot; Invalid if the value is no
    /// `T`, without the value in the message; otherwise the errors of the back end, Unsupported for one without assets. Through `?` an
    /// error is an ApplicationException.
    pub async fn asset<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        assets::parse(&self.0.assets.read(name).await?)
    }

    /// The user name and the password of an asset. As [`asset`](Self::asset), for its type Credential.
    ///
    /// The password is shown by no `Debug`, and overwritten in memory when it is dropped;
    /// [`ExposeSecret`](secrecy::ExposeSecret) has its text.
    ///
    /// # Errors
    ///
    /// As [`asset`](Self::asset); Other with code 1021 or 1800 for a password that cannot be decrypted.
    pub async fn credential(&self, name: &str) -> Result<Credential> {
        assets::credential(&self.0.assets.read(name).await?)
    }

    /// A secret. As [`credential`](Self::credential), for the type Secret.
    ///
    /// # Errors
    ///
    /// As [`credential`](Self::credential).
    pub async fn secret(&self, name: &str) -> Result<SecretString> {
        assets::secret(&self.0.assets.read(name).await?)
    }

    /// The answer to the last task by which this item [asked](crate::Exception::ask) a person, in this attempt's predecessors: who
    /// completed it, by which action and with which data; or that it expired or was deleted. `None`: the item asked for nothing, or
    /// nobody has answered yet.
    ///
    /// Each call asks the back end. A retry of the item, also one by hand, has the same answer.
    ///
    /// # Errors
    ///
    /// Those of the back end; Unsupported for one without tasks. Through `?` an error is an ApplicationException.
    pub async fn answer(&self) -> Result<Option<TaskAnswer>> {
        self.0.assets.orchestrator().read_answer(self.key()).await
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

    /// Takes the items that are to be added with this result.
    pub(super) fn follow_ups_of(&self, result: &TransactionResult) -> Vec<FollowUp> {
        let given = self.0.follow_ups.take();
        if matches!(result, TransactionResult::Successful { .. }) { given } else { Vec::new() }
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
