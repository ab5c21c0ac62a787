//! T18 to T22 of `docs/reference/lifecycle.md`: review statuses, manual retries and reviewers.

use performer::model::{
    ErrorCode, ItemEdit, ItemId, ItemVersion, LimitsEdit, NewQueueDefinition, Priority, ReviewStatus,
    SpecificContent, Status,
};
use performer::orchestrator::ErrorKind;

use crate::{Fixture, QUEUE, application, business, named, ok, retrying, unique};

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

pub(crate) async fn t21_t16_a_retry_has_corrected_values(f: Fixture) {
    const SCHEMA: &str = r#"{"type":"object","properties":{"name":{"type":"string"}}}"#;
    let mut queue = NewQueueDefinition::new(QUEUE).policy(unique());
    queue.schemas.specific_data = Some(SCHEMA.into());
    f.orchestrator.create_queue(queue).await.unwrap();
    let job = f.job().await;
    f.add_named("a").await;
    let failed = f.perform(job, business("the customer is unknown")).await;
    let content = |json: &str| SpecificContent::from_json(json).unwrap();
    let correct = async |item, json: &str| {
        let edit = ItemEdit::default().priority(Priority::High).specific_content(content(json));
        f.orchestrator.correct_and_retry(item, edit).await
    };
    // Content that does not match the schema changes nothing.
    let invalid = correct(failed.version(), r#"{"name":17}"#).await.unwrap_err();
    assert_eq!(invalid.kind(), ErrorKind::Invalid, "{invalid}");
    assert_eq!(f.item(failed.id).await, failed);
    assert!(f.try_take(job).await.is_none(), "there is no copy");

    let corrected = r#"{"name":"b","total":12345678901234567890.10}"#;
    let copy = correct(failed.version(), corrected).await.unwrap();
    assert_eq!((copy.status, copy.priority, copy.key), (Status::New, Priority::High, failed.key));
    assert_eq!((copy.specific_content.as_json(), copy.manual_ancestor_id), (corrected, Some(failed.id)));
    assert_eq!(copy.reference.as_deref(), Some("a"));
    let original = f.item(failed.id).await;
    assert_eq!(original.specific_content, failed.specific_content, "it stays as it was");
    assert_eq!((original.status, original.review_status), (Status::Failed, ReviewStatus::Retried));
    let again = correct(failed.version(), corrected).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::OPTIMISTIC_CONCURRENCY), "a double click");
    let claimed = f.take(job).await;
    assert_eq!((claimed.item.id, claimed.item.specific_content.as_json()), (copy.id, corrected));
    let running = correct(f.version(copy.id).await, corrected).await.unwrap_err();
    assert_eq!(running.code(), Some(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY));
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
    let missing = correct(ItemVersion { id: ItemId(999_999), row_version: 1 }, corrected).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    // In a queue whose groups have one item in progress each, and with a time at which the copy is due.
    let limit = LimitsEdit::default().max_in_progress_per_group(1);
    f.orchestrator.edit_queue_limits(QUEUE, limit).await.unwrap();
    f.add(named("g1").group("g")).await;
    f.add(named("g2").group("g")).await;
    let failed = f.perform(job, business("no")).await;
    let later = ItemEdit::default().defer_date(f.after(100)).specific_content(content(r#"{"name":"later"}"#));
    f.orchestrator.correct_and_retry(failed.version(), later).await.unwrap();
    assert_eq!(f.take_all(job).await, ["g2"], "the copy is postponed");
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
