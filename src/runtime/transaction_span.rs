//! The span of a transaction: what is logged in it belongs to its item. With the feature `otel` it is one of OpenTelemetry too.

use tracing::Span;

use super::event::TransactionOutcome;
use super::item::TransactionItem;
use super::job::{FinishedTransaction, RunningJob};
#[cfg(feature = "otel")]
use super::{catch_panic, otel};
use crate::model::TransactionResult;

/// The span, with more fields behind its own.
macro_rules! span {
    ($job:expr, $item:expr, $robot:expr, $($more:tt)*) => {
        tracing::info_span!(
            "transaction",
            queue = %$job.queue,
            job = %$job.key(),
            item = %$item.id(),
            key = %$item.key(),
            reference = $item.reference(),
            retry_number = $item.retry_number(),
            robot = $robot,
            $($more)*
        )
    };
}

/// The span of a transaction that starts.
#[cfg(not(feature = "otel"))]
pub(super) fn of(job: &RunningJob, item: &TransactionItem, robot: u32) -> Span {
    span!(job, item, robot,)
}

/// The span of a transaction that starts.
#[cfg(feature = "otel")]
pub(super) fn of(job: &RunningJob, item: &TransactionItem, robot: u32) -> Span {
    // Only fields can say the name and the kind.
    let name = format_args!("process {}", job.queue);
    let span = span!(job, item, robot, otel.name = name, otel.kind = "consumer");
    quietly(|| otel::describe(&span, job, item));
    span
}

/// The transaction has ended, and its result is not reported yet.
pub(super) fn ended(span: &Span, item: &TransactionItem, result: &TransactionResult) {
    #[cfg(feature = "otel")]
    quietly(|| otel::remember_failed(span, item, result));
    #[cfg(not(feature = "otel"))]
    let _ = (span, item, result);
}

/// The outcome of the transaction is known.
pub(super) fn outcome_known(finished: &FinishedTransaction, outcome: TransactionOutcome) {
    #[cfg(feature = "otel")]
    quietly(|| otel::set_outcome(&finished.span, &finished.report.result, outcome));
    #[cfg(not(feature = "otel"))]
    let _ = (finished, outcome);
}

/// The user's subscriber may panic: then the span lacks something, but the robot continues.
#[cfg(feature = "otel")]
fn quietly(act: impl FnOnce()) {
    drop(catch_panic::call(act));
}
