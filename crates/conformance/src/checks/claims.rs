//! T8 to T12 of `docs/reference/lifecycle.md`: items that go back into the queue, progress, repeated reports, and reports with
//! a lost claim.

use performer::model::{ErrorCode, ItemFilter, Status, TransactionResult};
use performer::orchestrator::{ErrorKind, Report};

use crate::{Fixture, application, business, ok, postponed, retrying, take};

pub(crate) async fn t8_a_postponed_item_comes_back_at_its_time_and_uses_no_retry(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    let added = f.add_named("a").await;
    let claimed = f.take(job).await;
    let result = TransactionResult::Postponed { defer_date: f.after(60), due_date: Some(f.after(90)) };
    assert_eq!(f.report(claimed.claim, result).await.unwrap(), Status::New);
    let item = f.item(added.id).await;
    assert_eq!((item.id, item.retry_number, item.start_processing), (added.id, 0, None));
    assert_eq!((item.defer_date, item.due_date), (Some(f.after(60)), Some(f.after(90))));
    assert_eq!((item.executor_job, item.robot), (None, None));
    assert!(f.try_take(job).await.is_none());
    f.advance(60);
    let again = f.take(job).await;
    assert!(again.claim.token() > claimed.claim.token());
    // The first claim is void, although its job and its item are the same.
    for result in [ok(), TransactionResult::GivenBack, postponed(f.after(9))] {
        assert!(f.report(claimed.claim, result).await.unwrap_err().is_claim_lost());
    }
    assert_eq!(f.report(again.claim, ok()).await.unwrap(), Status::Successful);
    f.check_statistics().await;
}

pub(crate) async fn t8_a_defer_date_in_the_past_is_refused_and_the_claim_holds(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    let error = f.report(claimed.claim, postponed(f.now())).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::PARAMETER_INVALID)));
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
}

pub(crate) async fn t9_an_item_that_is_given_back_is_as_if_never_claimed(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    f.add_named("a").await;
    f.add_named("b").await;
    let claimed = f.take(job).await;
    assert_eq!(f.report(claimed.claim, TransactionResult::GivenBack).await.unwrap(), Status::New);
    assert_eq!(f.take_all(job).await, ["a", "b"], "it keeps its place");
    f.check_statistics().await;
}

pub(crate) async fn t10_progress_is_recorded_while_the_claim_holds(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let added = f.add_named("a").await;
    let claimed = f.take(job).await;
    f.orchestrator.set_transaction_progress(claimed.claim, "half".to_owned()).await.unwrap();
    let item = f.item(added.id).await;
    assert_eq!((item.progress.as_deref(), item.status), (Some("half"), Status::InProgress));
    let long = f.orchestrator.set_transaction_progress(claimed.claim, "x".repeat(104_858)).await.unwrap_err();
    assert_eq!(long.kind(), ErrorKind::Invalid);
    assert_eq!(
        f.report(claimed.claim, ok()).await.unwrap(),
        Status::Successful,
        "progress does not touch the claim"
    );
    let late = f.orchestrator.set_transaction_progress(claimed.claim, "late".to_owned()).await.unwrap_err();
    assert_eq!(
        (late.kind(), late.code()),
        (ErrorKind::ClaimLost, Some(ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS))
    );
    assert_eq!(f.item(added.id).await.progress.as_deref(), Some("half"));
}

pub(crate) async fn t11_a_repeated_report_is_accepted_and_changes_nothing(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for result in [ok(), business("wrong"), application("down")] {
        f.add_named("x").await;
        let claimed = f.take(job).await;
        let status = f.report(claimed.claim, result.clone()).await.unwrap();
        let before = f.list(ItemFilter::default()).await;
        f.advance(1);
        assert_eq!(f.report(claimed.claim, result).await.unwrap(), status);
        assert_eq!(f.list(ItemFilter::default()).await, before);
        // Ends the retry copy, so that the next round begins with its own item.
        if status == Status::Retried {
            f.perform(job, ok()).await;
        }
    }
    f.check_statistics().await;
}

pub(crate) async fn t12_any_other_report_is_a_lost_claim_and_changes_nothing(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let added = f.add_named("a").await;
    let claimed = f.take(job).await;
    f.report(claimed.claim, ok()).await.unwrap();
    let before = f.item(added.id).await;
    for result in [business("no"), application("no"), TransactionResult::GivenBack, postponed(f.after(9))] {
        let error = f.report(claimed.claim, result).await.unwrap_err();
        let final_status = ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS;
        assert_eq!((error.kind(), error.code()), (ErrorKind::ClaimLost, Some(final_status)));
    }
    assert_eq!(f.item(added.id).await, before);
    f.check_statistics().await;
}

pub(crate) async fn t12_one_refused_report_affects_neither_the_others_nor_the_claim(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for reference in ["a", "b", "c"] {
        f.add_named(reference).await;
    }
    let (a, b) = (f.take(job).await, f.take(job).await);
    f.report(a.claim, ok()).await.unwrap();
    let reports = vec![Report::new(a.claim, business("late")), Report::new(b.claim, ok())];
    let answer = f.orchestrator.report_and_claim(reports, Some(take(job, 5))).await;
    assert!(answer.reports[0].as_ref().unwrap_err().is_claim_lost());
    assert_eq!(*answer.reports[1].as_ref().unwrap(), Status::Successful);
    assert_eq!(answer.claimed.unwrap().items.len(), 1);
}
