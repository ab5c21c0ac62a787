//! Runs transactions without a back end, for unit tests, and on the content of real items.
//!
//! A transaction runs in the real runtime over a queue in memory, so invalid content, panics, postponements, time limits and stops
//! have the same outcomes as in production.
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
//!
//! | to run | use |
//! |---|---|
//! | one item of a test | [`perform`], [`perform_with`] |
//! | the same with the settings of a performer, or with a stop in the middle | [`TestRun`] |
//! | one transaction on a real item, whose queue does not notice | [`replay`], [`TestRun::replay`] |
//! | a sample of the items that another robot has ended | [`Performer::shadow`] |

// | file | what it contains |
// |---|---|
// | `test_run.rs` | a transaction on a queue in memory, and what can be seen of it |
// | `copies.rs` | a queue in memory that hands out copies of recorded items |
// | `follow_ups.rs` | collects the items that would be added with a success |
// | `difference.rs` | compares an item that ran here with the recorded one |
// | `replay.rs` | one recorded item |
// | `shadow.rs`, `shadow_report.rs` | a sample of recorded items, and in what they ended differently |
// | `table.rs` | tables for people |

mod copies;
mod difference;
mod follow_ups;
mod replay;
mod shadow;
mod shadow_report;
mod table;
mod test_run;

pub use difference::{Difference, DifferenceKind};
pub use replay::{ReplayError, Replayed, replay};
pub use shadow::Shadow;
pub use shadow_report::{NotCompared, ShadowReport, ShadowedItem};
pub use test_run::{TestRun, Tested};

use crate::model::{NewQueueItem, QueuePolicy};
use crate::runtime::{Performer, Transaction};

const QUEUE: &str = "Test";

/// Adds an item to a queue with the default policy but without retries, and processes it with one robot.
///
/// # Panics
///
/// If the item cannot be added, or the performer does not start.
pub async fn perform<T: Transaction>(
    make: impl Fn() -> T + Send + Sync + 'static,
    item: NewQueueItem,
) -> Tested {
    TestRun::new(Performer::new(QUEUE, make)).run(item).await
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
    TestRun::new(Performer::new(QUEUE, make)).policy(policy).run(item).await
}
