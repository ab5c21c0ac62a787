//! T4 to T7 of `docs/reference/lifecycle.md`: successes, business exceptions and application exceptions, with their retries.

use std::time::Duration;

use jiff::SignedDuration;
use performer::model::{
    ExceptionType, ExponentialDelay, ItemFilter, NewQueueDefinition, Outcome, Priority, RetryDelay, Status,
    TransactionResult,
};
use performer::orchestrator::Report;
use serde_json::json;

use crate::{Fixture, QUEUE, application, business, named, ok_with, retrying, take};

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

pub(crate) async fn t6_the_copy_of_a_failed_item_waits_for_the_retry_delay_of_its_queue(f: Fixture) {
    let delayed = retrying(9).retry_delay(Duration::from_secs(30));
    let f = f.with_queue(delayed.clone()).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.advance(5);
    // In one call with a claim: the claim does not get the copy.
    let report = Report::new(claimed.claim, application("down"));
    let answer = f.orchestrator.report_and_claim(vec![report], Some(take(job, 5))).await;
    assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Retried);
    assert!(answer.claimed.unwrap().items.is_empty());
    f.advance(29);
    f.add_named("b").await;
    assert_eq!(f.take_all(job).await, ["b"], "others do not wait behind it");
    f.advance(1);
    let copy = f.take(job).await;
    let until = copy.item.creation_time + Duration::from_secs(30);
    assert_eq!(
        (copy.item.retry_number, copy.item.defer_date),
        (1, Some(until)),
        "from the end of the attempt"
    );

    // A time that the exception asks for wins, whether it is later or earlier.
    for seconds in [60, 10] {
        let claimed = match f.try_take(job).await {
            Some(claimed) => claimed,
            None => copy.clone(),
        };
        let TransactionResult::Failed { exception, .. } = application("later") else { unreachable!() };
        let result = TransactionResult::Failed { exception, defer_date: Some(f.after(seconds)) };
        f.report(claimed.claim, result).await.unwrap();
        f.advance(seconds - 1);
        assert!(f.try_take(job).await.is_none(), "{seconds}");
        f.advance(1);
    }

    // Only an application exception is retried, and a policy applies from when it is set.
    let claimed = f.take(job).await;
    let update = NewQueueDefinition::new(QUEUE).policy(delayed.retry_delay(RetryDelay::None));
    f.orchestrator.update_queue(QUEUE, update).await.unwrap();
    f.report(claimed.claim, application("down")).await.unwrap();
    assert_eq!(f.take(job).await.item.defer_date, None);
    f.check_statistics().await;
}

/// The delays double; their jitter depends on the item and the retry alone, so every back end has the same.
pub(crate) async fn t6_retries_that_grow_apart_wait_equally_long_for_the_same_item(f: Fixture) {
    const ITEMS: usize = 40;
    let delay = ExponentialDelay::new(Duration::from_secs(10), Duration::from_secs(25)).jitter_percent(50);
    let f = f.with_queue(retrying(3).retry_delay(delay)).await;
    let job = f.job().await;
    for name in 0..ITEMS {
        f.add_named(&name.to_string()).await;
    }
    for (retry, full) in [(1, 10_u32), (2, 20), (3, 25)] {
        let claimed = f.take_many(job, 2 * ITEMS).await;
        assert_eq!(claimed.len(), ITEMS);
        let now = f.now();
        let delays = claimed
            .iter()
            .map(|claimed| RetryDelay::from(delay).before_retry(claimed.item.id, retry).unwrap());
        let mut expected: Vec<_> = delays.map(|delay| now + delay).collect();
        let reports = claimed.iter().map(|claimed| Report::new(claimed.claim, application("down"))).collect();
        let answer = f.orchestrator.report_and_claim(reports, Some(take(job, 1))).await;
        assert!(answer.reports.iter().all(Result::is_ok) && answer.claimed.unwrap().items.is_empty());
        let chains = f.list(ItemFilter::default().queue(QUEUE).status([Status::New])).await;
        let mut found: Vec<_> = chains.iter().map(|item| item.defer_date.unwrap()).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        let full = Duration::from_secs(full.into());
        assert!(found.iter().all(|time| (now + full / 2..=now + full).contains(time)), "{found:?}");
        assert!(
            found[ITEMS - 1].duration_since(found[0]) > SignedDuration::from_secs(3),
            "spread: {found:?}"
        );
        f.advance(full.as_secs());
    }
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
