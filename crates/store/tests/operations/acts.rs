//! What each act does with the items of an operation, and what is refused.

use std::time::Duration;

use performer::model::audit::{self, ActSource, Actor};
use performer::model::operation::{Act, OperationState, Plan};
use performer::model::{FolderId, LimitsEdit, ReviewStatus};
use performer::orchestrator::store::OperationItems;
use performer::orchestrator::{
    ItemAdministration as _, Orchestrator as _, QueueAdministration as _, ReviewAdministration as _,
};
use performer::{ItemFilter, ItemVersion, Page, QueueItem, Status};
use performer_proofs::{QUEUE, named, new_job, start_of_time};

use crate::{World, on_every_store, retry};

on_every_store!(
    a_retry_makes_a_copy_of_each,
    reviews_and_comments_are_those_of_the_user,
    a_reviewer_is_set_where_that_is_permitted,
    items_are_deleted_and_purged,
    an_item_that_changed_is_refused,
    what_will_be_refused_is_known_before,
    refused_items_are_a_filter,
    items_of_other_folders_do_not_exist,
    the_audit_says_what_was_done_with_which_items,
    an_item_that_is_named_twice_is_acted_on_once,
    items_that_wait_are_deleted_from_wherever_they_wait,
);

async fn an_item_that_is_named_twice_is_acted_on_once(world: World) {
    let failed = world.fail(3).await;
    let mut versions = Vec::new();
    for id in &failed {
        versions.push(world.item(*id).await.version());
    }
    let named = vec![versions[0], versions[1], versions[0]];
    let refused = world.store.set_review_status(ReviewStatus::InReview, named).await.unwrap();
    let codes: Vec<_> = refused.0.iter().map(|(id, refusal)| (*id, refusal.code().number())).collect();
    assert_eq!(codes, [(failed[0], 1020)]);
    let refused = world.store.delete_queue_items(vec![versions[2]; 2]).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(world.item(failed[0]).await.review_status, ReviewStatus::InReview);
    assert_eq!(world.item(failed[2]).await.status, Status::Deleted);
}

/// Ready, postponed, in the turn of a group, behind others of a group, and failed: all in one call.
async fn items_that_wait_are_deleted_from_wherever_they_wait(world: World) {
    let limits = LimitsEdit::default().max_in_progress_per_group(1).fair(true);
    world.store.edit_queue_limits(QUEUE, limits).await.unwrap();
    let later = start_of_time() + Duration::from_secs(3_600);
    world.fail(2).await;
    for item in [
        named("ready"),
        named("due").due_date(later),
        named("later").defer_date(later),
        named("first").group("a"),
        named("second").group("a"),
        named("third").group("a").defer_date(later),
    ] {
        world.store.add_queue_item(QUEUE, item).await.unwrap();
    }
    let all = world.store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items;
    assert_eq!((all.len(), world.waiting().await), (8, 6));
    let versions = all.iter().map(QueueItem::version).collect();
    assert!(world.store.delete_queue_items(versions).await.unwrap().is_empty());
    let ids: Vec<_> = all.iter().map(|item| item.id).collect();
    assert_eq!((world.statuses(&ids).await, world.waiting().await), (vec![Status::Deleted; 8], 0));
    world.advance(7_200);
    let job = world.store.start_job(new_job()).await.unwrap();
    assert_eq!(world.claim(job, 10).await.len(), 0, "nothing is left anywhere");
}

async fn the_audit_says_what_was_done_with_which_items(world: World) {
    let failed = world.fail(3).await;
    let ann = Actor::new(ActSource::Desk).user_name("ann");
    let preview = world.preview(Plan::new(Act::Verify)).await;
    world.store.acting_as(ann.clone()).start_operation(preview.id, None).await.unwrap();
    world.run().await;
    let entries = world.store.audit_from(0).await.unwrap();
    let of = |act| entries.iter().map(|record| &record.entry).filter(move |entry| entry.act == act);
    let started: Vec<_> = of(audit::Act::OperationStarted).collect();
    assert_eq!((started.len(), &*started[0].subject), (1, &*format!("operation {}", preview.id)));
    let reviewed: Vec<_> = of(audit::Act::ItemsReviewed).collect();
    assert_eq!(reviewed.len(), 1, "one record for the items of a chunk");
    assert_eq!((&reviewed[0].items, &reviewed[0].actor), (&failed, &ann.user_id(7)));
    assert_eq!(world.store.check_audit(None).await.unwrap().broken, None);
}

async fn a_retry_makes_a_copy_of_each(world: World) {
    let failed = world.fail(3).await;
    let started = world.begin(retry().comment("as agreed".to_owned())).await;
    assert_eq!((started.state, started.total), (OperationState::Running, 3));
    assert_eq!(world.run().await, 1);
    let done = world.operation(started.id).await;
    assert_eq!((done.state, done.done, done.refused, done.left()), (OperationState::Done, 3, 0, 0));
    let copies = world.copies(started.id).await;
    assert_eq!(copies.len(), 3);
    for (original, copy) in failed.iter().zip(&copies) {
        assert_eq!(world.item(*original).await.review_status, ReviewStatus::Retried);
        let copy = world.item(*copy).await;
        assert_eq!((copy.status, copy.manual_ancestor_id), (Status::New, Some(*original)));
        let comments = world.store.comments(*original).await.unwrap();
        assert_eq!(
            (comments.len(), &*comments[0].text, &comments[0].author),
            (1, "as agreed", &crate::ann())
        );
        let events = world.store.item_events(*original).await.unwrap();
        assert!(events.iter().any(|event| event.user_id == Some(7)), "{events:?}");
    }
    assert_eq!(world.run().await, 0);
}

async fn reviews_and_comments_are_those_of_the_user(world: World) {
    let failed = world.fail(2).await;
    for (plan, review, comments) in [
        (Plan::new(Act::PutInReview), ReviewStatus::InReview, 0),
        (Plan::new(Act::Comment).comment("seen".to_owned()), ReviewStatus::InReview, 1),
        (Plan::new(Act::Verify), ReviewStatus::Verified, 1),
    ] {
        let started = world.begin(plan).await;
        world.run().await;
        assert_eq!(world.operation(started.id).await.done, 2);
        for id in &failed {
            assert_eq!(world.item(*id).await.review_status, review);
            assert_eq!(world.store.comments(*id).await.unwrap().len(), comments);
        }
        assert_eq!(world.copies(started.id).await, []);
    }
}

async fn a_reviewer_is_set_where_that_is_permitted(world: World) {
    let failed = world.fail(2).await;
    let assign = |reviewer, not_in| Plan::new(Act::Assign { reviewer, not_in });
    let started = world.begin(assign(Some(7), Vec::new())).await;
    world.run().await;
    assert_eq!(world.operation(started.id).await.done, 2);
    assert_eq!(world.item(failed[0]).await.reviewer_user_id, Some(7));
    let preview = world.preview(assign(Some(8), vec![FolderId::SHARED])).await;
    assert_eq!(preview.preview.refused[0].code, 1853);
    world.start(preview.id).await;
    world.run().await;
    assert_eq!(world.codes(preview.id).await, [(failed[0], 1853), (failed[1], 1853)]);
    world.begin(assign(None, Vec::new())).await;
    world.run().await;
    assert_eq!(world.item(failed[1]).await.reviewer_user_id, None);
}

async fn items_are_deleted_and_purged(world: World) {
    let failed = world.fail(2).await;
    world.add(3).await;
    let successful = world.succeed(2).await;
    let purge = Plan::new(Act::Purge);
    let all = world.preview_of(purge, ItemFilter::default()).await;
    assert_eq!((all.total, all.preview.refused_count), (5, 3), "what failed and what is New");
    world.start(all.id).await;
    world.run().await;
    assert_eq!((world.operation(all.id).await.done, world.codes(all.id).await.len()), (2, 3));
    assert_eq!(world.item(successful[0]).await.specific_content.as_json(), "{}");
    let started = world.begin(Plan::new(Act::Delete)).await;
    world.run().await;
    assert_eq!(world.operation(started.id).await.done, 2);
    assert_eq!(world.statuses(&failed).await, [Status::Deleted; 2]);
    assert_eq!(world.waiting().await, 1);
}

async fn an_item_that_changed_is_refused(world: World) {
    let failed = world.fail(4).await;
    for act in [Act::Retry, Act::Comment, Act::Purge] {
        let plan = Plan::new(act.clone()).comment("seen".to_owned());
        let preview = world.preview(plan).await;
        // A person is faster.
        let version = world.item(failed[1]).await.version();
        let refused = world.store.set_reviewer(Some(7), vec![version]).await.unwrap();
        assert!(refused.is_empty());
        let copies = world.waiting().await;
        world.start(preview.id).await;
        world.run().await;
        let codes = world.codes(preview.id).await;
        assert!(codes.contains(&(failed[1], 1020)), "{act}: {codes:?}");
        assert_eq!(world.item(failed[1]).await.review_status, ReviewStatus::None);
        assert_eq!(world.store.comments(failed[1]).await.unwrap(), [], "nothing was done with it");
        if act == Act::Retry {
            assert_eq!((codes.len(), world.waiting().await), (1, copies + 3));
        }
    }
}

async fn what_will_be_refused_is_known_before(world: World) {
    let failed = world.fail(3).await;
    world.add(1).await;
    let verified = world.item(failed[0]).await.version();
    _ = world.store.set_review_status(ReviewStatus::Verified, vec![verified]).await.unwrap();
    let retried = world.item(failed[1]).await.version();
    _ = world.store.set_review_status(ReviewStatus::Retried, vec![retried]).await.unwrap();
    let mut these = Vec::new();
    for id in [failed[0], failed[1], failed[2], failed[2]] {
        these.push(world.item(id).await.version());
    }
    these.push(ItemVersion { id: failed[2], row_version: 1 }); // named twice: the first counts
    these.push(ItemVersion { id: performer::ItemId(999_999), row_version: 1 });
    let preview = world.previewed(retry(), OperationItems::These(these)).await.unwrap();
    assert_eq!((preview.total, preview.preview.refused_count), (4, 3));
    let refused: Vec<_> =
        preview.preview.refused.iter().map(|refused| (refused.code, refused.count)).collect();
    assert!(refused.contains(&(1002, 1)) && refused.contains(&(1867, 1)), "{refused:?}");
    let group = &preview.preview.groups[0];
    assert!(group.reason.is_some() && group.queue_definition_id.is_some() && group.count == 3, "{group:?}");
    assert_eq!(preview.preview.samples.len(), 4);
    world.start(preview.id).await;
    world.run().await;
    let done = world.operation(preview.id).await;
    assert_eq!((done.done, done.refused), (1, 3));
}

async fn refused_items_are_a_filter(world: World) {
    let failed = world.fail(3).await;
    let preview = world.preview(Plan::new(Act::Verify)).await;
    let changed = world.item(failed[2]).await.version();
    _ = world.store.set_review_status(ReviewStatus::InReview, vec![changed]).await.unwrap();
    world.start(preview.id).await;
    world.run().await;
    for filter in [
        ItemFilter::default(),
        ItemFilter::default().status([Status::Failed]),
        ItemFilter::default().queue(QUEUE).status([Status::Failed, Status::New]),
    ] {
        let filter = filter.refused_by(preview.id.0);
        let page = world.store.list_queue_items(filter, Page::default()).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|item| item.id).collect();
        assert_eq!((ids, page.count), (vec![failed[2]], 1));
    }
    let again =
        world.preview_of(Plan::new(Act::Verify), ItemFilter::default().refused_by(preview.id.0)).await;
    world.start(again.id).await;
    world.run().await;
    assert_eq!(world.item(failed[2]).await.review_status, ReviewStatus::Verified);
}

async fn items_of_other_folders_do_not_exist(world: World) {
    let failed = world.fail(2).await;
    let elsewhere = std::sync::Arc::new([FolderId(9)]);
    let (plan, by) = (retry(), crate::ann());
    let which = OperationItems::Matching(Box::default());
    let found = world.store.preview_operation(elsewhere.clone(), (plan.clone(), by.clone()), which, None);
    let error = found.await.unwrap_err();
    assert_eq!((error.to_string(), error.is_invalid()), ("no item matches".to_owned(), true));
    let which = OperationItems::These(vec![world.item(failed[0]).await.version()]);
    let hidden = world.store.preview_operation(elsewhere, (plan, by), which, None).await.unwrap();
    assert_eq!((hidden.preview.refused[0].code, &*hidden.folders), (1002, &[][..]));
    world.start(hidden.id).await;
    world.run().await;
    assert_eq!(world.codes(hidden.id).await, [(failed[0], 1002)]);

    let seen = world.preview(retry()).await;
    let reach = |folder| Some(std::sync::Arc::from([FolderId(folder)]));
    assert_eq!(world.store.operation(seen.id, reach(1)).await.unwrap().id, seen.id);
    assert!(world.store.operation(seen.id, reach(9)).await.unwrap_err().is_not_found());
    let listed = world.store.list_operations(reach(9), None, 10).await.unwrap();
    assert_eq!(listed.operations.iter().map(|found| found.id).collect::<Vec<_>>(), [hidden.id]);
    let refused = world.store.start_operation(seen.id, reach(9)).await.unwrap_err();
    assert_eq!(refused.code().unwrap().number(), 1017);
    // A queue that is deleted meanwhile.
    world.store.sweep().await.unwrap();
    world.start(seen.id).await;
    performer::orchestrator::QueueAdministration::delete_queue(&world.store, QUEUE).await.unwrap();
    world.run().await;
    assert_eq!(world.codes(seen.id).await, [(failed[0], 1002), (failed[1], 1002)]);
}
