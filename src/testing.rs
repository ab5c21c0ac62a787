//! Runs one transaction without a back end, for unit tests.
//!
//! The transaction runs in the real runtime over a queue in memory, so invalid content, panics and postponements have the same
//! outcomes as in production.
//!
//! ```
//! use performer::prelude::*;
//! use performer::testing;
//!
//! struct Check;
//!
//! #[async_trait]
//! impl Transaction for Check {
//!     type Content = i64;
//!     type Output = ();
//!     # async fn process(&mut self, _: i64, _: &TransactionItem) -> Result<(), Exception> { Ok(()) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let tested = testing::perform(|| Check, NewQueueItem::new(serde_json::json!({"text": "no number"}))).await;
//! assert_eq!(tested.status(), Status::Failed);
//! assert!(tested.reason().unwrap().starts_with("the content does not fit"));
//! # }
//! ```

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::model::{ItemFilter, NewQueueDefinition, NewQueueItem, Page, QueueItem, QueuePolicy, Status};
use crate::orchestrator::store::Store;
use crate::orchestrator::{BoxFuture, ItemAdministration as _, Orchestrator, QueueAdministration as _};
use crate::runtime::{JobSummary, Performer, PerformerError, Transaction};

/// The result of a tested transaction.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tested {
    /// All attempts, oldest first; more than one if the item was retried.
    pub attempts: Vec<QueueItem>,
    /// The summary of the performer's run.
    pub summary: JobSummary,
}

/// Adds an item to a queue with the default policy but without retries, and processes it with one robot.
///
/// # Panics
///
/// If the item cannot be added, or the performer does not start.
pub async fn perform<T: Transaction>(
    make: impl Fn() -> T + Send + Sync + 'static,
    item: NewQueueItem,
) -> Tested {
    perform_with(QueuePolicy::default().max_number_of_retries(0), make, item).await
}

/// Adds an item to a queue with this policy, and processes it with one robot; for instance to test a retry.
///
/// # Panics
///
/// If the policy is invalid, the item cannot be added, or the performer does not start.
pub async fn perform_with<T: Transaction>(
    policy: QueuePolicy,
    make: impl Fn() -> T + Send + Sync + 'static,
    item: NewQueueItem,
) -> Tested {
    process(policy, Performer::new(QUEUE, make), item).await
}

const QUEUE: &str = "Test";

#[inline(never)]
fn process(policy: QueuePolicy, performer: Performer, item: NewQueueItem) -> BoxFuture<'static, Tested> {
    Box::pin(process_one(policy, performer, item))
}

async fn process_one(policy: QueuePolicy, performer: Performer, item: NewQueueItem) -> Tested {
    let orchestrator = Arc::new(Store::memory());
    let queue = NewQueueDefinition::new(QUEUE).policy(policy);
    orchestrator.create_queue(queue).await.expect("the policy is valid");
    orchestrator.add_queue_item(QUEUE, item).await.expect("the item can be added");
    let summary = match performer.handle_signals(false).run_until_empty(orchestrator.clone()).await {
        Ok(summary) => summary,
        Err(PerformerError::Faulted(summary)) => *summary,
        Err(error) => panic!("{error}"),
    };
    let page = orchestrator.list_queue_items(ItemFilter::default(), Page::default()).await;
    Tested { attempts: page.expect("a queue in memory can be read").items, summary }
}

impl Tested {
    /// The last attempt.
    ///
    /// # Panics
    ///
    /// Never: the item was added.
    pub fn item(&self) -> &QueueItem {
        self.attempts.last().expect("the item was added")
    }

    /// The status of the last attempt: Successful, Failed, or New if it was postponed.
    pub fn status(&self) -> Status {
        self.item().status
    }

    /// Why the last attempt failed.
    pub fn reason(&self) -> Option<&str> {
        self.item().processing_exception.as_ref().map(|exception| exception.reason.as_str())
    }

    /// The output of the last attempt.
    ///
    /// # Panics
    ///
    /// If there is none, or it cannot be deserialized into the type.
    pub fn output<O: DeserializeOwned>(&self) -> O {
        let output = self.item().output.as_ref().expect("the item has an output");
        output.parse().expect("the output fits the type")
    }

    /// The last progress text of the last attempt.
    pub fn progress(&self) -> Option<&str> {
        self.item().progress.as_deref()
    }
}
