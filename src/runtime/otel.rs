//! What OpenTelemetry learns of a transaction: whose span its span is a child of, which spans it is linked to, what it is about,
//! and how it ended. The names are those of the semantic conventions for messaging; why so is in
//! `docs/decisions/0077-the-creator-of-an-item-is-the-parent-of-its-transactions.md`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use performer_core::trace_context::TraceParent;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::event::TransactionOutcome;
use super::item::TransactionItem;
use super::job::RunningJob;
use crate::model::{ItemId, ItemKey, TransactionResult};

/// What a link leads to: `creation` is the span in which the item was added, `previous_attempt` the attempt before this one.
const LINK: &str = "messaging.performer.link";

/// Sets parent, links and attributes of a span that has not started yet.
pub(super) fn describe(span: &Span, job: &RunningJob, item: &TransactionItem) {
    let shown = item.queue_item();
    let creation = shown.parent_operation_id.as_deref().and_then(creation_context);
    let mut parent = Context::current();
    if let Some(creation) = &creation {
        parent = parent.with_remote_span_context(creation.clone());
    }
    if span.set_parent(parent).is_err() {
        return; // nobody looks at it with OpenTelemetry
    }
    span.set_attribute("messaging.system", "performer");
    span.set_attribute("messaging.operation.name", "process");
    span.set_attribute("messaging.operation.type", "process");
    span.set_attribute("messaging.destination.name", job.queue.clone());
    span.set_attribute("messaging.client.id", job.key().to_string());
    span.set_attribute("messaging.message.id", item.unique_key().to_string());
    span.set_attribute("messaging.message.conversation_id", item.key().to_string());
    if let Some(creation) = creation {
        span.add_link_with_attributes(creation, vec![KeyValue::new(LINK, "creation")]);
    }
    if let Some(ancestor) = shown.ancestor_id.or(shown.manual_ancestor_id) {
        span.set_attribute("messaging.performer.ancestor_id", ancestor.0);
        if let Some(previous) = attempts().take((item.key(), ancestor)) {
            span.add_link_with_attributes(previous, vec![KeyValue::new(LINK, "previous_attempt")]);
        }
    }
}

/// The span in which an item was added. `None` for a ParentOperationId of another kind.
fn creation_context(parent_operation_id: &str) -> Option<SpanContext> {
    let parent = TraceParent::parse(parent_operation_id)?;
    let (trace, span) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
    Some(SpanContext::new(trace, span, TraceFlags::new(parent.flags), true, TraceState::default()))
}

/// Remembers an attempt that has failed, for the link of its retry. That may start as soon as this one is reported, so this comes
/// before the report.
pub(super) fn remember_failed(span: &Span, item: &TransactionItem, result: &TransactionResult) {
    if let TransactionResult::Failed { .. } = result {
        let context = span.context().span().span_context().clone();
        if context.is_valid() {
            attempts().insert((item.key(), item.id()), context);
        }
    }
}

/// Sets the status of a span by the outcome, and records the exception.
pub(super) fn set_outcome(span: &Span, result: &TransactionResult, outcome: TransactionOutcome) {
    let error = match outcome {
        TransactionOutcome::Successful | TransactionOutcome::Postponed | TransactionOutcome::GivenBack => {
            None
        }
        TransactionOutcome::BusinessException => Some("BusinessException"),
        TransactionOutcome::ApplicationException | TransactionOutcome::Retried => {
            Some("ApplicationException")
        }
        TransactionOutcome::ClaimLost => Some("ClaimLost"),
        TransactionOutcome::NotRecorded => Some("NotRecorded"),
    };
    let exception = match result {
        TransactionResult::Failed { exception, .. } => exception.as_ref(),
        _ => None,
    };
    if let Some(exception) = exception {
        let mut attributes = vec![
            KeyValue::new("exception.type", exception.exception_type.to_string()),
            KeyValue::new("exception.message", exception.reason.clone()),
        ];
        let details = exception.details.clone();
        attributes.extend(details.map(|details| KeyValue::new("exception.stacktrace", details)));
        span.add_event("exception", attributes);
    }
    span.set_attribute("messaging.performer.outcome", format!("{outcome:?}"));
    // The conventions leave the status of what went well unset.
    if let Some(error) = error {
        span.set_attribute("error.type", error);
        span.set_status(Status::error(exception.map_or(error, |exception| &exception.reason).to_owned()));
    }
}

/// The latest attempts of this process that failed. Of all its performers: a retry may be taken by another one, or by a later run.
fn attempts() -> std::sync::MutexGuard<'static, Attempts> {
    static ATTEMPTS: LazyLock<Mutex<Attempts>> = LazyLock::new(Mutex::default);
    ATTEMPTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An attempt: the key of its retry chain, which no other store has, and its id there.
type Attempt = (ItemKey, ItemId);

/// The number of attempts in one generation.
const GENERATION: usize = 4_096;

/// Two generations of attempts: when the newer one is full, the older one is forgotten. So the latest 4,096 are kept, and never more
/// than twice as many.
#[derive(Default)]
struct Attempts {
    newer: HashMap<Attempt, SpanContext>,
    older: HashMap<Attempt, SpanContext>,
}

impl Attempts {
    fn insert(&mut self, attempt: Attempt, context: SpanContext) {
        if self.newer.len() >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(attempt, context);
    }

    fn take(&mut self, attempt: Attempt) -> Option<SpanContext> {
        self.newer.remove(&attempt).or_else(|| self.older.remove(&attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: usize) -> (Attempt, SpanContext) {
        let text = format!("00-{:032x}-{:016x}-01", number + 1, number + 1);
        let key = format!("00000000-0000-4000-8000-{number:012x}").parse().unwrap();
        ((key, ItemId(7)), creation_context(&text).unwrap())
    }

    #[test]
    fn the_latest_attempts_are_remembered_and_not_more() {
        let mut attempts = Attempts::default();
        let all = 3 * GENERATION + 7;
        for number in 0..all {
            let (attempt, context) = numbered(number);
            attempts.insert(attempt, context);
            assert!(attempts.newer.len() + attempts.older.len() <= 2 * GENERATION);
        }
        assert_eq!(attempts.take(numbered(0).0), None);
        for number in all - GENERATION..all {
            let ((key, id), context) = numbered(number);
            assert_eq!(attempts.take((key, ItemId(8))), None, "another attempt of the chain");
            assert_eq!(attempts.take((key, id)), Some(context));
            assert_eq!(attempts.take((key, id)), None, "it is taken once");
        }
    }
}
