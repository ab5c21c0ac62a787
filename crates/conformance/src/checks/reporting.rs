//! T4 to T7 of `docs/reference/lifecycle.md`: successes, business exceptions and application exceptions, with their retries.

use performer::model::{ExceptionType, NewQueueDefinition, Outcome, Priority, Status, TransactionResult};
use performer::orchestrator::Report;
use serde_json::json;

use crate::{Fixture, QUEUE, application, business, named, ok_with, retrying};

pub(crate) async fn t4_a_success_is_recorded_with_its_output_and_last_progress(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.advance(7);
    let result = ok_with(&json!({"document": "D-1"}));
    let report = Report::new(claimed.claim, result).progress("done");
    let answer = f.orchestrator.report_and_claim(vec![report], None).await;
    assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Successful);
    assert!(answer.claimed.unwrap().items.is_empty());
    let item = f.item(claimed.item.id).await;
    assert_eq!((item.status, item.outcome), (Status::Successful, Some(Outcome::Successful)));
    assert_eq!(item.output.unwrap().to_value(), json!({"document": "D-1"}));
    assert_eq!(item.progress.as_deref(), Some("done"));
    let took = item.end_processing.unwrap().duration_since(item.start_processing.unwrap());
    assert_eq!(took.as_secs(), 7);
    assert_eq!(item.executor_job, Some(job));
    f.check_statistics().await;
}

pub(crate) async fn t5_a_business_exception_is_never_retried(f: Fixture) {
    let f = f.with_queue(retrying(3)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let item = f.perform(job, business("no such customer")).await;
    assert_eq!(
        (item.status, item.exception_type()),
        (Status::Failed, Some(ExceptionType::BusinessException))
    );
    assert_eq!(item.processing_exception.unwrap().reason, "no such customer");
    assert!(f.try_take(job).await.is_none());
    assert_eq!(f.orchestrator.queue_statistics(QUEUE).await.unwrap().business_exceptions, 1);
    f.check_statistics().await;
}

pub(crate) async fn t6_an_application_exception_is_retried_behind_everything_that_waits(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let first = f.add(named("first").due_date(f.after(900)).priority(Priority::High)).await;
    f.add(named("second").due_date(f.after(900)).priority(Priority::High)).await;
    let claimed = f.take(job).await;
    f.advance(3);
    assert_eq!(f.report(claimed.claim, application("the ERP is down")).await.unwrap(), Status::Retried);
    let original = f.item(first.id).await;
    assert!(original.is_superseded);
    assert_eq!(original.exception_type(), Some(ExceptionType::ApplicationException));

    assert_eq!(f.take(job).await.item.reference.as_deref(), Some("second"));
    let copy = f.take(job).await;
    let item = &copy.item;
    assert_eq!((item.reference.as_deref(), item.retry_number, item.key), (Some("first"), 1, first.key));
    assert_eq!((item.ancestor_id, item.manual_ancestor_id), (Some(first.id), None));
    assert_eq!(item.specific_content, first.specific_content);
    assert_eq!((item.due_date, item.priority), (first.due_date, first.priority));
    assert_eq!((item.seconds_in_previous_attempts, item.creation_time), (3, f.now()));
    assert!(item.unique_key != first.unique_key && item.id > first.id);
    assert_eq!(
        (item.output.clone(), item.processing_exception.clone(), item.progress.clone()),
        (None, None, None)
    );

    // T7: no retry left.
    assert_eq!(f.report(copy.claim, application("still down")).await.unwrap(), Status::Failed);
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

pub(crate) async fn t6_a_retry_may_be_deferred(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let TransactionResult::Failed { exception, .. } = application("later") else { unreachable!() };
    f.perform(job, TransactionResult::Failed { exception, defer_date: Some(f.after(60)) }).await;
    assert!(f.try_take(job).await.is_none());
    f.advance(60);
    assert_eq!(f.take(job).await.item.retry_number, 1);
}

pub(crate) async fn t7_without_retries_or_without_an_exception_the_item_fails(f: Fixture) {
    let off = retrying(5).accept_automatically_retry(false);
    let f = f.with_queue(off).await;
    let job = f.job().await;
    f.add_named("a").await;
    f.add_named("b").await;
    assert_eq!(f.perform(job, application("down")).await.status, Status::Failed);
    let unspecified = TransactionResult::Failed { exception: None, defer_date: None };
    let item = f.perform(job, unspecified).await;
    assert_eq!((item.status, item.exception_type()), (Status::Failed, None));
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

pub(crate) async fn t6_a_changed_policy_applies_from_then_on(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.orchestrator.update_queue(QUEUE, NewQueueDefinition::new(QUEUE).policy(retrying(1))).await.unwrap();
    assert_eq!(f.report(claimed.claim, application("down")).await.unwrap(), Status::Retried);
}
