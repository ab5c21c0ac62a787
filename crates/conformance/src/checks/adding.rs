//! T1 and T2 of `docs/reference/lifecycle.md`: items are added, one by one, many at once, or with a claim.

use performer::model::{
    ErrorCode, ItemFilter, NewQueueDefinition, NewQueueItem, Priority, ReviewStatus, Status,
};
use performer::orchestrator::{BulkAdded, CommitType, ErrorKind};
use serde_json::json;

use crate::{Fixture, QUEUE, application, named, ok, retrying, take, unique};

pub(crate) async fn t1_an_item_is_stored_as_it_was_added(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let content =
        json!({"amount": 10.5, "name": "Grüße 漢字 🦀", "paid": true, "none": null, "count": i64::MIN});
    let item = NewQueueItem::new(&content)
        .reference("Überweisung 漢字 🦀")
        .priority(Priority::Low)
        .due_date(f.after(60))
        .defer_date(f.after(30))
        .risk_sla_date(f.after(45))
        .progress("added");
    let added = f.add(item).await;
    assert_eq!(f.item(added.id).await, added, "what was answered is what is there");
    assert_eq!(added.specific_content.to_value(), content);
    assert_eq!(added.reference.as_deref(), Some("Überweisung 漢字 🦀"));
    assert_eq!(
        (added.status, added.review_status, added.priority),
        (Status::New, ReviewStatus::None, Priority::Low)
    );
    assert_eq!((added.due_date, added.defer_date), (Some(f.after(60)), Some(f.after(30))));
    assert_eq!((added.risk_sla_date, added.progress.as_deref()), (Some(f.after(45)), Some("added")));
    assert_eq!((added.creation_time, added.retry_number, added.key), (f.now(), 0, added.unique_key));
    assert_ne!(f.add_named("other").await.key, added.key);
    f.check_statistics().await;
}

pub(crate) async fn t1_invalid_items_are_refused_and_change_nothing(f: Fixture) {
    let f = f.with_queue(unique()).await;
    let text = |units: usize| json!({"t": "x".repeat(units - r#"{"t":""}"#.len())});
    for (item, code) in [
        (NewQueueItem::new(json!({})), ErrorCode::TRANSACTION_REFERENCE_REQUIRED),
        (NewQueueItem::new(json!([])).reference("a"), ErrorCode::INVALID_ARGUMENT),
        (NewQueueItem::new(json!({"a": {}})).reference("a"), ErrorCode::INVALID_ARGUMENT),
        (NewQueueItem::new(text(256_001)).reference("a"), ErrorCode::QUEUE_ITEM_CONTENT_SIZE_EXCEEDED),
        (named(&"x".repeat(129)), ErrorCode::PARAMETER_INVALID),
        (named(""), ErrorCode::PARAMETER_INVALID),
        (named("a\u{0}b"), ErrorCode::INVALID_ARGUMENT),
        (named("a").progress("x".repeat(104_858)), ErrorCode::QUEUE_ITEM_PROGRESS_DATA_SIZE_EXCEEDED),
    ] {
        let error = f.orchestrator.add_queue_item(QUEUE, item.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(code)), "{item:?}: {error}");
    }
    assert!(f.orchestrator.add_queue_item("Nowhere", named("a")).await.unwrap_err().is_not_found());
    assert!(f.list(ItemFilter::default()).await.is_empty());
    let largest = f.add(NewQueueItem::new(text(256_000)).reference("a")).await;
    assert_eq!(f.item(largest.id).await.specific_content.as_json().len(), 256_000);
    f.check_statistics().await;
}

pub(crate) async fn t1_a_unique_reference_is_accepted_once(f: Fixture) {
    let f = f.with_queue(unique().max_number_of_retries(1)).await;
    let job = f.job().await;
    let first = f.add_named("INV-1").await;
    let add = async |reference: &str| f.orchestrator.add_queue_item(QUEUE, named(reference)).await;
    let error = add("INV-1").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, Some(ErrorCode::DUPLICATE_REFERENCE)));
    add("inv-1").await.expect("capital and small letters differ");

    // A retry: the copy takes the reference over without a conflict.
    f.perform(job, application("down")).await;
    assert_eq!(add("INV-1").await.unwrap_err().code(), Some(ErrorCode::DUPLICATE_REFERENCE));
    // A failed item still holds its reference; a deleted one does not.
    let failed = f.list(ItemFilter::default().status([Status::New])).await;
    let copy = failed.iter().find(|item| item.key == first.key).unwrap();
    assert!(f.orchestrator.delete_queue_items(vec![f.version(copy.id).await]).await.unwrap().is_empty());
    add("INV-1").await.expect("Deleted and Retried items do not count");

    // References are per queue, and are free in a queue that does not enforce them.
    f.orchestrator.create_queue(NewQueueDefinition::new("Other").policy(unique())).await.unwrap();
    f.orchestrator.add_queue_item("Other", named("INV-1")).await.unwrap();
    f.orchestrator.create_queue(NewQueueDefinition::new("Free")).await.unwrap();
    for _ in 0..2 {
        f.orchestrator.add_queue_item("Free", named("INV-1")).await.unwrap();
    }
}

pub(crate) async fn t1_of_concurrent_adds_of_one_reference_exactly_one_succeeds(f: Fixture) {
    let f = f.with_queue(unique()).await;
    for round in 0..20 {
        let reference = format!("INV-{round}");
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (orchestrator, item) = (f.orchestrator.clone(), named(&reference));
                tokio::spawn(async move { orchestrator.add_queue_item(QUEUE, item).await })
            })
            .collect();
        let mut added = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => added += 1,
                Err(error) => assert_eq!(error.code(), Some(ErrorCode::DUPLICATE_REFERENCE)),
            }
        }
        assert_eq!(added, 1);
    }
    f.check_statistics().await;
}

pub(crate) async fn t1_bulk_adds_follow_their_commit_type(f: Fixture) {
    let f = f.with_queue(unique()).await;
    f.add_named("there").await;
    let items = || vec![named("a"), named("there"), named("b"), named("a"), NewQueueItem::new(json!({}))];
    let add =
        async |commit_type| f.orchestrator.bulk_add_queue_items(QUEUE, commit_type, items()).await.unwrap();
    let references = async || {
        let items = f.list(ItemFilter::default()).await;
        items.into_iter().filter_map(|item| item.reference).collect::<Vec<_>>()
    };

    let all = add(CommitType::AllOrNothing).await;
    let failed = |bulk: &BulkAdded| {
        bulk.failed.iter().map(|item| (item.ordinal, item.refusal.code())).collect::<Vec<_>>()
    };
    let (duplicate, required) = (ErrorCode::DUPLICATE_REFERENCE, ErrorCode::TRANSACTION_REFERENCE_REQUIRED);
    assert_eq!((all.added, failed(&all)), (0, vec![(2, duplicate), (4, duplicate), (5, required)]));
    assert_eq!(references().await, ["there"]);

    let stop = add(CommitType::StopOnFirstFailure).await;
    assert_eq!((stop.added, failed(&stop)), (1, vec![(2, duplicate)]));
    assert_eq!(references().await, ["there", "a"]);

    let each = add(CommitType::ProcessAllIndependently).await;
    assert_eq!(
        (each.added, failed(&each)),
        (1, vec![(1, duplicate), (2, duplicate), (4, duplicate), (5, required)])
    );
    assert_eq!(references().await, ["there", "a", "b"]);

    let fine = vec![named("c"), named("d")];
    let all = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, fine).await.unwrap();
    assert_eq!((all.added, all.failed.len()), (2, 0));
    let unknown = f.orchestrator.bulk_add_queue_items("Nowhere", CommitType::AllOrNothing, items()).await;
    assert!(unknown.unwrap_err().is_not_found());
    f.check_statistics().await;
}

pub(crate) async fn t2_an_item_is_added_and_claimed_at_once(f: Fixture) {
    let f = f.with_queue(unique()).await;
    let job = f.job().await;
    let item = named("INV-1").defer_date(f.after(60));
    let claimed = f.orchestrator.add_and_start_transaction(take(job, 1), item).await.unwrap();
    assert_eq!((claimed.item.status, claimed.item.start_processing), (Status::InProgress, Some(f.now())));
    assert_eq!((claimed.item.executor_job, claimed.item.robot), (Some(job), Some(1)));
    let again = f.orchestrator.add_and_start_transaction(take(job, 1), named("INV-1")).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::DUPLICATE_REFERENCE));
    assert!(f.try_take(job).await.is_none());
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
    f.check_statistics().await;
}
