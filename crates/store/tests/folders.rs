//! What the server asks of a store in one call: things of several folders, a review with its comment, one job, one token.

use std::collections::BTreeSet;
use std::sync::Arc;

use performer::jiff::Timestamp;
use performer::model::{FolderId, ItemVersion, JobState, Person, QueueItem, ReviewStatus, Status};
use performer::orchestrator::store::{Store, Token};
use performer::orchestrator::{
    FleetAdministration as _, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
    ReviewAdministration as _,
};
use performer::{NewQueueDefinition, NewQueueItem};
use performer_proofs::{QUEUE, business, new_job, take};
use serde_json::json;

const ELSEWHERE: FolderId = FolderId(4_711);

fn folders(all: &[FolderId]) -> Arc<[FolderId]> {
    all.into()
}

fn version(item: &QueueItem) -> ItemVersion {
    ItemVersion { id: item.id, row_version: item.row_version }
}

/// An item that failed.
async fn failure(store: &Store, reference: &str) -> QueueItem {
    store.add_queue_item(QUEUE, NewQueueItem::new(json!({})).reference(reference)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    let answer = store.report_and_claim(vec![Report::new(taken[0].claim, business("wrong"))], None).await;
    assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Failed);
    store.get_queue_item(taken[0].item.id).await.unwrap()
}

async fn things_of_several_folders_are_found(store: &Store) {
    let other = store.in_scope(ELSEWHERE, Some(7));
    other.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let there = other.add_queue_item("Other", NewQueueItem::new(json!({}))).await.unwrap();
    let here = failure(store, "a").await;
    let ids = vec![there.id, here.id, performer::ItemId(999_999)];
    for (among, found) in [
        (&[FolderId::SHARED, ELSEWHERE][..], vec![(ELSEWHERE, there.id), (FolderId::SHARED, here.id)]),
        (&[FolderId::SHARED], vec![(FolderId::SHARED, here.id)]),
        (&[], vec![]),
    ] {
        let items = store.items_with_ids(folders(among), ids.clone()).await.unwrap();
        let items: Vec<_> = items.into_iter().map(|(folder, item)| (folder, item.id)).collect();
        assert_eq!(items, found, "{among:?}");
    }
    let numbers = store.statistics_in_folders(folders(&[ELSEWHERE, FolderId::SHARED])).await.unwrap();
    let numbers: Vec<_> = numbers
        .iter()
        .map(|(queue, numbers)| (queue.name.as_str(), numbers.new, numbers.with_status(Status::Failed)))
        .collect();
    assert_eq!(numbers, [(QUEUE, 0, 1), ("Other", 1, 0)], "by name");
    assert_eq!(store.statistics_in_folders(folders(&[])).await.unwrap(), []);
}

async fn a_comment_is_added_to_what_is_reviewed(store: &Store) {
    let (first, second) = (failure(store, "b").await, failure(store, "c").await);
    let stale = ItemVersion { row_version: second.row_version + 1, ..version(&second) };
    let author = Person { user_id: Some(7), user_name: Some("ann".to_owned()) };
    let comment = Some((author, "known".to_owned()));
    let refused = store
        .review_items(ReviewStatus::Verified, vec![version(&first), stale], comment.clone())
        .await
        .unwrap();
    assert_eq!(refused.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [second.id]);
    let texts = async |item: &QueueItem| {
        let comments = store.comments(item.id).await.unwrap();
        comments.into_iter().map(|comment| comment.text).collect::<Vec<_>>()
    };
    assert_eq!((texts(&first).await, texts(&second).await), (vec!["known".to_owned()], vec![]));
    let long = Some((Person::default(), "x".repeat(513)));
    let refused = store.review_items(ReviewStatus::InReview, vec![version(&second)], long).await.unwrap();
    assert_eq!(refused.len(), 1, "a comment that is too long");
    let second = store.get_queue_item(second.id).await.unwrap();
    assert_eq!(second.review_status, ReviewStatus::None);
    assert!(
        store.review_items(ReviewStatus::InReview, vec![version(&second)], None).await.unwrap().is_empty()
    );
    assert_eq!(texts(&second).await, [""; 0]);
}

async fn a_job_is_found_by_its_key(store: &Store) {
    let job = store.start_job(new_job()).await.unwrap();
    store.end_job(job, JobState::Successful.into()).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().state, JobState::Successful);
    assert_eq!(store.in_scope(FolderId::SHARED, Some(7)).job(job).await.unwrap().key, job);
    let error = store.in_scope(ELSEWHERE, Some(7)).job(job).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(store.job(performer::JobKey::CALLER).await.unwrap_err().is_not_found());
    assert!(store.list_jobs(100).await.unwrap().iter().any(|known| known.key == job));
}

async fn one_token_is_removed(store: &Store) {
    let expires = Timestamp::from_second(4_000_000_000).unwrap();
    let token = Token { user: 7, client: None, name: None, scopes: BTreeSet::new(), expires };
    for digest in ["one", "other"] {
        store.add_token(digest.to_owned(), token.clone()).await.unwrap();
    }
    assert!(store.remove_token("one").await.unwrap());
    assert!(!store.remove_token("one").await.unwrap(), "it is gone");
    assert_eq!((store.token("one").await.unwrap(), store.token("other").await.unwrap()), (None, Some(token)));
}

async fn check(store: &Store) {
    let mut queue = NewQueueDefinition::new(QUEUE);
    queue.policy.max_number_of_retries = 0;
    store.create_queue(queue).await.unwrap();
    things_of_several_folders_are_found(store).await;
    a_comment_is_added_to_what_is_reviewed(store).await;
    a_job_is_found_by_its_key(store).await;
    one_token_is_removed(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    check(&Store::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    check(&Store::sqlite(folder.path().join("queue.db")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let schema = performer_proofs::postgres::Schema::new();
    check(&Store::postgres(&schema.url).await.unwrap()).await;
}
