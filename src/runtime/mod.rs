//! The runtime: claims items, hands them to a [`Transaction`] and reports the outcome of each.

// | file | what it contains |
// |---|---|
// | `performer.rs` | [`Performer`]: the settings of a run, and its start |
// | `supervisor.rs` | one run: starts the robots, waits for them, enforces the grace period, ends the job |
// | `transaction.rs` | the trait that users implement |
// | `erased.rs` | the same without the user's type, which is all that the rest of the runtime knows |
// | `from_fn.rs` | a transaction that is an async function |
// | `item.rs`, `progress.rs`, `follow_ups.rs` | the item as a transaction sees it, its progress texts, and what is added with its success |
// | `assets.rs` | the assets that transactions have read |
// | `robot.rs` | the loop of one robot: open, claim, process, report, reopen, close |
// | `catch_panic.rs` | runs user code and turns its panics into errors |
// | `outcome.rs` | turns what a transaction returned into the result that is reported |
// | `transaction_span.rs`, `otel.rs` | the span of a transaction, and what OpenTelemetry learns of it |
// | `item_source.rs`, `prefetch.rs` | how a robot claims and reports: with calls of its own, or through a shared buffer |
// | `parked_claim.rs` | the claim that waits until there are items for the buffer |
// | `job.rs` | what the robots of a job share: the circuit breaker, the summary, the handling of errors |
// | `heartbeat.rs`, `watchdog.rs` | the heartbeat task, which also sweeps; detection of transactions that block a thread |
// | `stop.rs` | stop and kill, by a handle or by signals |
// | `run_all.rs` | several performers in one process |
// | `event.rs`, `summary.rs` | events during a run, and the summary after it |
// | `metrics.rs`, `schema_check.rs` | what the features `metrics` and `schema` add |

mod assets;
mod catch_panic;
mod erased;
mod event;
mod follow_ups;
mod from_fn;
mod heartbeat;
mod item;
mod item_source;
mod job;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod parked_claim;
mod performer;
mod prefetch;
mod progress;
mod robot;
mod run_all;
#[cfg(feature = "schema")]
mod schema_check;
mod stop;
mod summary;
mod supervisor;
mod transaction;
mod transaction_span;
mod watchdog;

pub use event::{PerformerEvent, TransactionOutcome};
pub use item::TransactionItem;
pub use performer::{Performer, PerformerError};
pub use run_all::{QueueRun, RunSummary, run_all, run_all_until_empty};
pub use stop::StopHandle;
pub use summary::JobSummary;
pub(crate) use summary::SOME_FAILED;
pub use transaction::Transaction;
