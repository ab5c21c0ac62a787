//! The events of an item, and the comments on it.

use performer::model::{ErrorCode, EventAction, ItemEdit, ItemId, Person, Priority, ReviewStatus, Status};
use performer::orchestrator::ErrorKind;

use crate::{Fixture, application, postponed, retrying};

pub(crate) async fn every_transition_has_one_event(f: Fixture) {
    use EventAction::{Create, Delete, Edit, Retry, Status as Moved};
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let a = f.add_named("a").await;
    f.advance(1);
    f.orchestrator.edit_queue_item(a.id, ItemEdit::default().priority(Priority::High)).await.unwrap();
    f.advance(1);
    let claimed = f.take(job).await;
    f.orchestrator.set_transaction_progress(claimed.claim, "half".to_owned()).await.unwrap();
    f.advance(1);
    f.report(claimed.claim, postponed(f.after(1))).await.unwrap();
    f.advance(1);
    f.perform(job, application("down")).await;
    f.advance(1);
    let copy = f.perform(job, application("down")).await;
    f.advance(1);
    assert!(f.orchestrator.set_reviewer(Some(7), vec![f.version(copy.id).await]).await.unwrap().is_empty());
    assert!(
        f.orchestrator
            .set_review_status(ReviewStatus::Retried, vec![f.version(copy.id).await])
            .await
            .unwrap()
            .is_empty()
    );
    f.advance(1);
    assert!(f.orchestrator.delete_queue_items(vec![f.version(copy.id).await]).await.unwrap().is_empty());

    let events = f.orchestrator.item_events(copy.id).await.unwrap();
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].item_id != pair[1].item_id || pair[0].timestamp <= pair[1].timestamp)
    );
    let of = |id: ItemId| -> Vec<_> {
        events.iter().filter(|event| event.item_id == id).map(|event| (event.action, event.status)).collect()
    };
    assert_eq!(
        of(a.id),
        [
            (Create, Status::New),
            (Edit, Status::New),
            (Moved, Status::InProgress),
            (Edit, Status::InProgress),
            (Moved, Status::New),
            (Moved, Status::InProgress),
            (Retry, Status::Retried),
        ]
    );
    assert_eq!(
        of(copy.id),
        [
            (Create, Status::New),
            (Moved, Status::InProgress),
            (Moved, Status::Failed),
            (Edit, Status::Failed),
            (Retry, Status::Failed),
            (Delete, Status::Deleted),
        ]
    );
    let last = events.iter().rfind(|event| event.item_id == copy.id).unwrap();
    assert_eq!((last.review_status, last.timestamp), (ReviewStatus::Retried, f.now()));
    assert_eq!(f.orchestrator.item_events(a.id).await.unwrap(), events, "the history is the chain's");
    assert!(f.orchestrator.item_events(ItemId(999)).await.unwrap_err().is_not_found());
}

pub(crate) async fn comments_belong_to_their_authors(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let a = f.add_named("a").await;
    f.perform(job, application("down")).await;
    let copy = f.take(job).await.item;
    let ada = Person { user_id: Some(1), user_name: Some("Ada".to_owned()) };
    let bob = Person { user_id: Some(2), user_name: Some("Bob".to_owned()) };
    let o = &f.orchestrator;
    let first = o.add_comment(a.id, ada.clone(), "look at this".to_owned()).await.unwrap();
    let second = o.add_comment(copy.id, bob.clone(), "I did".to_owned()).await.unwrap();
    assert_eq!((first.creation_time, &first.author), (f.now(), &ada));
    assert_eq!(o.comments(copy.id).await.unwrap(), [first.clone(), second.clone()]);
    let foreign = o.edit_comment(first.id, bob.clone(), Some("no".to_owned())).await.unwrap_err();
    assert_eq!(foreign.code(), Some(ErrorCode::ERROR_UPDATING));
    o.edit_comment(first.id, ada.clone(), Some("looked".to_owned())).await.unwrap();
    o.edit_comment(second.id, bob, None).await.unwrap();
    let left: Vec<_> = o.comments(a.id).await.unwrap().into_iter().map(|comment| comment.text).collect();
    assert_eq!(left, ["looked"]);
    for text in ["", " ", &"x".repeat(513)] {
        let error = o.add_comment(a.id, ada.clone(), text.to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert!(o.add_comment(ItemId(999), ada.clone(), "x".to_owned()).await.unwrap_err().is_not_found());
    assert!(o.edit_comment(999, ada, None).await.unwrap_err().is_not_found());
}

/// More comments than any call answers together, on two attempts of one item.
pub(crate) async fn many_comments_are_all_there_once(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let (a, other) = (f.add_named("a").await, f.add_named("b").await);
    f.perform(job, application("down")).await;
    let o = &f.orchestrator;
    let chain = o.processing_history(a.id).await.unwrap();
    let mut written = Vec::new();
    for n in 0..21 {
        let adding = (0..50).map(|m| {
            let id = if m == 7 { other.id } else { chain[m % 2].id };
            o.add_comment(id, Person::default(), format!("{n}-{m}"))
        });
        let added = futures_util::future::try_join_all(adding).await.unwrap();
        written.extend(added.into_iter().filter(|comment| comment.item_id != other.id));
    }
    written.sort_by_key(|comment| comment.id);
    let found = o.comments(chain[1].id).await.unwrap();
    assert_eq!((found.len(), found == written), (21 * 49, true));
    assert_eq!(o.comments(other.id).await.unwrap().len(), 21);
}
