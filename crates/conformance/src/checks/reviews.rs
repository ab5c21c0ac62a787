//! T18 to T22 of `docs/reference/lifecycle.md`: review statuses, manual retries and reviewers.

use performer::model::{ErrorCode, ItemVersion, ReviewStatus, Status};

use crate::{Fixture, application, business, ok, retrying, unique};

pub(crate) async fn t18_to_t20_reviews_move_as_documented(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    let a = f.add_named("a").await;
    let refused = async |id, to| {
        let failed = f.orchestrator.set_review_status(to, vec![f.version(id).await]).await.unwrap();
        failed.first().map(|(_, refusal)| refusal.code())
    };
    let wrong = Some(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY);
    assert_eq!(refused(a.id, ReviewStatus::InReview).await, wrong, "New items are not reviewed");
    f.perform(job, application("down")).await;
    assert_eq!(refused(a.id, ReviewStatus::InReview).await, None);
    assert_eq!(refused(a.id, ReviewStatus::None).await, None);
    assert_eq!(refused(a.id, ReviewStatus::None).await, wrong);
    assert_eq!(refused(a.id, ReviewStatus::Verified).await, None);
    for to in ReviewStatus::ALL {
        assert_eq!(refused(a.id, *to).await, wrong, "Verified is the end");
    }
    let item = f.item(a.id).await;
    assert_eq!((item.review_status, item.status), (ReviewStatus::Verified, Status::Failed));
    let stale = ItemVersion { id: a.id, row_version: item.row_version - 1 };
    let failed = f.orchestrator.set_review_status(ReviewStatus::InReview, vec![stale]).await.unwrap();
    assert_eq!(failed[0].1.code(), ErrorCode::OPTIMISTIC_CONCURRENCY);
}

pub(crate) async fn t21_a_manual_retry_makes_one_copy(f: Fixture) {
    let f = f.with_queue(unique().max_number_of_retries(1)).await;
    let job = f.job().await;
    let a = f.add_named("a").await;
    f.perform(job, application("down")).await;
    let second = f.perform(job, application("down")).await;
    let version = f.version(second.id).await;
    let retry =
        async |item| f.orchestrator.set_review_status(ReviewStatus::Retried, vec![item]).await.unwrap();
    assert!(retry(version).await.is_empty());
    assert_eq!(retry(version).await[0].1.code(), ErrorCode::OPTIMISTIC_CONCURRENCY, "a double click");
    let now = f.version(second.id).await;
    assert_eq!(retry(now).await[0].1.code(), ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY);

    let original = f.item(second.id).await;
    assert_eq!((original.status, original.review_status), (Status::Failed, ReviewStatus::Retried));
    assert!(original.is_superseded);
    let copy = f.take(job).await;
    let item = &copy.item;
    assert_eq!((item.key, item.retry_number, item.manual_retry_number), (a.key, 0, 1));
    assert_eq!((item.manual_ancestor_id, item.ancestor_id), (Some(second.id), None));
    assert_eq!(
        f.report(copy.claim, application("down")).await.unwrap(),
        Status::Retried,
        "its retries start anew"
    );
    let last = f.take(job).await;
    assert_eq!((last.item.manual_retry_number, last.item.retry_number), (1, 1));
    assert_eq!((last.item.manual_ancestor_id, last.item.ancestor_id), (Some(second.id), Some(item.id)));
    assert_eq!(f.report(last.claim, ok()).await.unwrap(), Status::Successful);
    assert_eq!(f.orchestrator.processing_history(last.item.id).await.unwrap().len(), 4);
    f.check_statistics().await;
}

pub(crate) async fn t22_a_reviewer_is_set_and_cleared(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    let a = f.add_named("a").await;
    let version = f.version(a.id).await;
    let refused = f.orchestrator.set_reviewer(Some(7), vec![version]).await.unwrap();
    assert_eq!(refused[0].1.code(), ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY);
    f.perform(job, business("wrong")).await;
    assert!(f.orchestrator.set_reviewer(Some(7), vec![f.version(a.id).await]).await.unwrap().is_empty());
    assert_eq!(f.item(a.id).await.reviewer_user_id, Some(7));
    assert!(f.orchestrator.set_reviewer(None, vec![f.version(a.id).await]).await.unwrap().is_empty());
    assert_eq!(f.item(a.id).await.reviewer_user_id, None);
}
