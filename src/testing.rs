//! For users' unit tests: run one transaction without a back end.
//!
//! The real runtime and the real rules run around it, over a queue in memory: content that does not fit, a
//! panic or a postponement end as they would anywhere.
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

use crate::model::item::{ItemFilter, NewQueueItem, Page, QueueItem};
use crate::model::queue::{NewQueueDefinition, QueuePolicy};
use crate::model::status::Status;
use crate::orchestrator::store::Store;
use crate::orchestrator::{Administration, Orchestrator};
use crate::performer::{JobSummary, Performer, PerformerError, Transaction};

/// What became of the item.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tested {
    /// All attempts, the first one first: more than one when the item was retried.
    pub attempts: Vec<QueueItem>,
    /// What the performer says of its run.
    pub summary: JobSummary,
}

/// Adds the item to a queue with the default policy but without retries, and processes it with one robot.
///
/// # Panics
///
/// When the item cannot be added, or the performer does not start.
pub async fn perform<T: Transaction>(
    make: impl Fn() -> T + Send + Sync + 'static,
    item: NewQueueItem,
) -> Tested {
    perform_with(QueuePolicy { max_number_of_retries: 0, ..QueuePolicy::default() }, make, item).await
}

/// The same in a queue with this policy, for instance to see a retry.
///
/// # Panics
///
/// When the policy is not valid, the item cannot be added, or the performer does not start.
pub async fn perform_with<T: Transaction>(
    policy: QueuePolicy,
    make: impl Fn() -> T + Send + Sync + 'static,
    item: NewQueueItem,
) -> Tested {
    const QUEUE: &str = "Test";
    let orchestrator = Arc::new(Store::memory());
    let queue = NewQueueDefinition::new(QUEUE).policy(policy);
    orchestrator.create_queue(queue).await.expect("the policy is valid");
    orchestrator.add_queue_item(QUEUE, item).await.expect("the item can be added");
    let performer = Performer::new(QUEUE, make).answer_signals(false);
    let summary = match performer.run_until_empty(orchestrator.clone()).await {
        Ok(summary) => summary,
        Err(PerformerError::Faulted(summary)) => *summary,
        Err(error @ PerformerError::NotStarted(_)) => panic!("{error}"),
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

    /// The Status of the last attempt: Successful, Failed, or New when it was postponed.
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
    /// When there is none, or it does not fit the type.
    pub fn output<O: DeserializeOwned>(&self) -> O {
        let output = self.item().output.as_ref().expect("the item has an output");
        output.parse().expect("the output fits the type")
    }

    /// The last progress text.
    pub fn progress(&self) -> Option<&str> {
        self.item().progress.as_deref()
    }
}
