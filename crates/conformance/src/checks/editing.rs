//! T16, T17 and T24 of `docs/reference/lifecycle.md`: items are edited, deleted and blanked.

use performer::FieldEdit;
use performer::model::{
    ErrorCode, ItemEdit, ItemFilter, ItemId, ItemVersion, NewQueueItem, Priority, QueueItem, SpecificContent,
    Status,
};
use performer::orchestrator::CommitType;
use serde_json::json;

use crate::{Fixture, QUEUE, business, named, ok, retrying};

pub(crate) async fn t16_a_new_item_can_be_edited(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let a = f.add(named("a").due_date(f.after(5))).await;
    f.add_named("b").await;
    let content = SpecificContent::new(&json!({"name": "new", "text": "x".repeat(2_000)})).unwrap();
    let edit = ItemEdit::default()
        .priority(Priority::Low)
        .due_date(FieldEdit::Clear)
        .defer_date(f.after(10))
        .progress("edited")
        .specific_content(content.clone());
    let edited = f.orchestrator.edit_queue_item(a.id, edit).await.unwrap();
    assert_eq!(edited, f.item(a.id).await);
    assert_eq!(
        (edited.priority, edited.due_date, edited.defer_date),
        (Priority::Low, None, Some(f.after(10)))
    );
    assert_eq!((edited.progress.as_deref(), &edited.specific_content), (Some("edited"), &content));
    assert!(edited.row_version > a.row_version);
    assert_eq!(f.take_all(job).await, ["b"]);
    let undefer = ItemEdit::default().defer_date(FieldEdit::Clear);
    let edited = f.orchestrator.edit_queue_item(a.id, undefer).await.unwrap();
    assert_eq!((edited.priority, &edited.specific_content), (Priority::Low, &content), "the rest stays");
    let claimed = f.take(job).await;
    assert_eq!(claimed.item.specific_content, content);

    let running = f.orchestrator.edit_queue_item(a.id, ItemEdit::default()).await.unwrap_err();
    assert_eq!(running.code(), Some(ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS));
    f.report(claimed.claim, ok()).await.unwrap();
    let done = f.orchestrator.edit_queue_item(a.id, ItemEdit::default()).await.unwrap_err();
    assert_eq!(done.code(), Some(ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS));
    assert!(
        f.orchestrator.edit_queue_item(ItemId(999), ItemEdit::default()).await.unwrap_err().is_not_found()
    );
}

pub(crate) async fn t17_deleted_items_stay_readable_and_their_claims_are_void(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let running = f.add_named("running").await;
    let waiting = f.add_named("waiting").await;
    let claimed = f.take(job).await;
    let versions = vec![
        f.version(running.id).await,
        f.version(waiting.id).await,
        ItemVersion { id: waiting.id, row_version: 999 },
        ItemVersion { id: ItemId(999), row_version: 1 },
    ];
    let failed = f.orchestrator.delete_queue_items(versions).await.unwrap();
    let failed: Vec<_> = failed.iter().map(|(id, refusal)| (*id, refusal.code())).collect();
    assert_eq!(
        failed,
        [(waiting.id, ErrorCode::OPTIMISTIC_CONCURRENCY), (ItemId(999), ErrorCode::ITEM_NOT_FOUND)]
    );
    assert_eq!(f.item(running.id).await.status, Status::Deleted);
    assert!(f.report(claimed.claim, ok()).await.unwrap_err().is_claim_lost());
    assert!(f.try_take(job).await.is_none());
    let again = f.orchestrator.delete_queue_items(vec![f.version(running.id).await]).await.unwrap();
    assert_eq!(again[0].1.code(), ErrorCode::ITEM_NOT_FOUND);
    f.check_statistics().await;
}

/// Many items are processed in chunks, and each gets its own answer.
pub(crate) async fn many_items_are_deleted_in_chunks(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let items = (0..1_200).map(|n| named(&n.to_string())).collect();
    let added = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(added.added, 1_200);
    let mut versions: Vec<_> = f.list(ItemFilter::default()).await.iter().map(QueueItem::version).collect();
    versions.insert(600, versions[0]); // for the second time it is of another version
    let failed = f.orchestrator.delete_queue_items(versions.clone()).await.unwrap();
    assert_eq!(failed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [versions[0].id]);
    let statistics = f.orchestrator.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((statistics.new, statistics.deleted), (0, 1_200));
}

pub(crate) async fn t24_content_of_finished_items_can_be_blanked(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    let small = f.add_named("small").await;
    let large = f.add(NewQueueItem::new(json!({"t": "x".repeat(5_000)}))).await;
    let failed = f.add_named("failed").await;
    let waiting = f.orchestrator.purge_content(small.id).await.unwrap_err();
    assert_eq!(waiting.code(), Some(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY));
    f.perform(job, ok()).await;
    f.perform(job, ok()).await;
    f.perform(job, business("wrong")).await;
    for id in [small.id, large.id] {
        f.orchestrator.purge_content(id).await.unwrap();
        let item = f.item(id).await;
        assert_eq!((item.specific_content.as_json(), item.status), ("{}", Status::Successful));
    }
    assert!(f.orchestrator.purge_content(failed.id).await.is_err(), "it may still be retried by hand");
}
