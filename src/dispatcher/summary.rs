//! What became of the values of a dispatcher.

use std::error::Error;
use std::fmt;

use crate::model::{ErrorCode, Refusal};
use crate::orchestrator::{BulkAdded, FailedItem, OrchestratorError};

/// How far a dispatcher is: what became of the values so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DispatchProgress {
    /// The number of items added.
    pub added: u64,
    /// The number of values whose reference was in the queue already. If the answer to a batch was lost and the batch was repeated, what
    /// it had added is counted here.
    pub already_there: u64,
    /// The number of values that the queue refused for another reason.
    pub refused: u64,
}

impl DispatchProgress {
    /// The number of values that were handled.
    pub fn total(&self) -> u64 {
        self.added + self.already_there + self.refused
    }
}

/// Such as `180 added, 20 were there already, 0 refused`.
impl fmt::Display for DispatchProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, already_there, refused } = self;
        write!(f, "{added} added, {already_there} were there already, {refused} refused")
    }
}

/// What became of the values that a dispatcher has handled.
#[non_exhaustive]
#[must_use = "values may have been refused"]
pub struct DispatchSummary<T> {
    /// The number of items added.
    pub added: u64,
    /// The number of values whose reference was in the queue already: from an earlier run, from a value before it, or from a batch of
    /// this run whose answer was lost.
    pub already_there: u64,
    /// The values that the queue refused for another reason, in their order.
    pub refused: Vec<RefusedValue<T>>,
}

/// A value that a queue refused.
#[non_exhaustive]
pub struct RefusedValue<T> {
    /// The value; `None` if the Orchestrator does not say which item of a batch it refused.
    pub value: Option<T>,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// Without the values, which may be secret.
impl<T> fmt::Debug for DispatchSummary<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, already_there, refused } = self;
        f.debug_struct("DispatchSummary")
            .field("added", added)
            .field("already_there", already_there)
            .field("refused", refused)
            .finish()
    }
}

/// Without the value, which may be secret.
impl<T> fmt::Debug for RefusedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedValue").field("refusal", &self.refusal).finish_non_exhaustive()
    }
}

impl<T> Default for DispatchSummary<T> {
    fn default() -> Self {
        Self { added: 0, already_there: 0, refused: Vec::new() }
    }
}

impl<T> DispatchSummary<T> {
    /// The numbers alone.
    pub fn progress(&self) -> DispatchProgress {
        let refused = self.refused.len() as u64;
        DispatchProgress { added: self.added, already_there: self.already_there, refused }
    }

    pub(super) fn count(&mut self, values: Vec<T>, added: BulkAdded) {
        self.added += added.added;
        let mut values: Vec<Option<T>> = values.into_iter().map(Some).collect();
        for FailedItem { ordinal, refusal, .. } in added.failed {
            if refusal.code() == ErrorCode::DUPLICATE_REFERENCE {
                self.already_there += 1;
                continue;
            }
            let value = ordinal.checked_sub(1).and_then(|at| values.get_mut(at)?.take());
            self.refused.push(RefusedValue { value, refusal });
        }
    }
}

/// Such as `180 added, 20 were there already, 0 refused`.
impl<T> fmt::Display for DispatchSummary<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.progress().fmt(f)
    }
}

/// A dispatcher could not go on. Batches before the one that failed are in the queue.
#[non_exhaustive]
pub struct DispatchError<T> {
    /// The error of the call that failed.
    pub source: OrchestratorError,
    /// What became of the values before.
    pub summary: DispatchSummary<T>,
    /// The values that were read and are not counted in the summary, in their order: those of the batch that failed, and what was
    /// read of the next one. After an error of the kind [`Unknown`](crate::ErrorKind::Unknown) those of the first may be in the queue.
    pub remaining: Vec<T>,
}

/// Without the values, which may be secret.
impl<T> fmt::Debug for DispatchError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatchError")
            .field("source", &self.source)
            .field("progress", &self.summary.progress())
            .field("remaining", &self.remaining.len())
            .finish()
    }
}

/// With the causes of the error.
impl<T> fmt::Display for DispatchError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (handled, error) = (self.summary.progress().total(), self.source.with_causes());
        write!(f, "the dispatcher could not go on after {handled} values: {error}")
    }
}

impl<T> Error for DispatchError<T> {}
