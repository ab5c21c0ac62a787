//! Failures grouped by their reason.

use performer::FieldEdit;
use performer::model::{
    ErrorCode, ExceptionType, ItemFilter, MAX_REASONS, NOTE_LIMIT, NewQueueDefinition, Page, QueueItem,
    Reason, ReasonCursor, ReasonEdit, ReasonFilter, ReasonOrder, ReviewStatus, Status,
};
use performer::orchestrator::ErrorKind;

use super::DAY;
use crate::{Fixture, QUEUE, application, business, ok, retrying};

async fn reasons(f: &Fixture, filter: ReasonFilter) -> Vec<Reason> {
    f.orchestrator.list_reasons(filter).await.unwrap()
}

/// The only group, with its open items recounted.
async fn the_group(f: &Fixture) -> Reason {
    let mut found = reasons(f, ReasonFilter::default()).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let group = found.remove(0);
    let open = ItemFilter::default().status([Status::Failed]).reason(group.id);
    let open = f.list(open.review_status([ReviewStatus::None, ReviewStatus::InReview])).await;
    assert_eq!(group.open, i64::try_from(open.len()).unwrap(), "{group:?}");
    group
}

pub(crate) async fn people_write_on_a_reason(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    f.add_named("a").await;
    f.add_named("b").await;
    let job = f.job().await;
    f.perform(job, business("Invoice 17 has no total")).await;
    let group = the_group(&f).await;
    assert_eq!((group.note, group.owner), (None, None));
    let edit = |edit| f.orchestrator.edit_reason(group.id, edit);
    let known = "known: SAP is down on Sundays \u{1f4a4}";
    let changed = edit(ReasonEdit::default().note(known.to_owned()).owner(7)).await.unwrap();
    assert_eq!((changed.note.as_deref(), changed.owner, changed.open), (Some(known), Some(7), 1));
    assert_eq!(edit(ReasonEdit::default()).await.unwrap(), changed, "nothing was to be changed");
    // Another failure leaves it as it is.
    f.perform(job, business("Invoice 18 has no total")).await;
    let group = the_group(&f).await;
    assert_eq!((group.note.as_deref(), group.owner, group.total), (Some(known), Some(7), 2));
    let cleared = edit(ReasonEdit::default().note(FieldEdit::Clear)).await.unwrap();
    assert_eq!((cleared.note, cleared.owner), (None, Some(7)));
    edit(ReasonEdit::default().owner(FieldEdit::Clear)).await.unwrap();
    assert_eq!(the_group(&f).await.owner, None);
    let long = edit(ReasonEdit::default().note("x".repeat(NOTE_LIMIT + 1))).await.unwrap_err();
    assert_eq!((long.kind(), long.code()), (ErrorKind::Invalid, Some(ErrorCode::PARAMETER_INVALID)));
    let missing = f.orchestrator.edit_reason(group.id + 1_000, ReasonEdit::default().owner(7)).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

pub(crate) async fn failures_are_grouped_by_their_reason(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    assert_eq!(reasons(&f, ReasonFilter::default()).await, []);
    for name in ["a", "b", "c", "d", "e", "f"] {
        f.add_named(name).await;
    }
    let job = f.job().await;
    let began = f.now();
    f.perform(job, business("Invoice 17 has no total")).await; // a
    f.advance(60);
    f.perform(job, business("Invoice 4711 has no total")).await; // b
    f.perform(job, business("the vendor \"Acme\" is unknown")).await; // c
    f.perform(job, ok()).await; // d
    f.advance(60);
    let first = f.perform(job, application("Invoice 5 has no total")).await; // e, which is retried
    f.perform(job, application("the host 10.0.0.1 is down")).await; // f, which is retried
    f.perform(job, application("Invoice 5 has no total")).await; // e again
    assert_eq!(first.status, Status::Retried);

    let found = reasons(&f, ReasonFilter::default()).await;
    let shown: Vec<_> = found
        .iter()
        .map(|reason| (reason.exception_type, reason.fingerprint.as_str(), reason.total, reason.open))
        .collect();
    let (invoice, vendor) = ("Invoice # has no total", "the vendor \"…\" is unknown");
    let host = "the host # is down";
    let (business, application) = (ExceptionType::BusinessException, ExceptionType::ApplicationException);
    // Of those with as many open items the last made comes first.
    assert_eq!(
        shown,
        [
            (business, invoice, 2, 2),
            (application, invoice, 2, 1),
            (business, vendor, 1, 1),
            (application, host, 1, 0)
        ]
    );
    let of_business = &found[0];
    assert_eq!(
        (of_business.first_seen, of_business.last_seen),
        (began, f.after(0) - std::time::Duration::from_secs(60))
    );
    assert_eq!(of_business.sample, "Invoice 17 has no total");
    let queue = f.orchestrator.get_queue(QUEUE).await.unwrap().id;
    assert!(found.iter().all(|reason| reason.queue == queue));
    let ids =
        |items: Vec<QueueItem>| items.into_iter().map(|item| item.reference.unwrap()).collect::<Vec<_>>();
    let of = |at: usize| ItemFilter::default().reason(found[at].id);
    assert_eq!(ids(f.list(of(0)).await), ["a", "b"]);
    assert_eq!(ids(f.list(of(1)).await), ["e", "e"], "the attempt that was retried too");
    assert_eq!(ids(f.list(of(1).status([Status::Failed]).queue(QUEUE)).await), ["e"]);
    assert_eq!(ids(f.list(of(1).queue("Other")).await), [""; 0]);
    assert_eq!(ids(f.list(ItemFilter::default().reason(99_999)).await), [""; 0]);
    let newest = f.orchestrator.list_queue_items(of(0), Page::first(1).descending(true)).await.unwrap();
    assert_eq!(newest.count, 2);
    let behind = Page::first(1).descending(true).after(newest.next(&of(0)));
    assert_eq!(ids(newest.items), ["b"]);
    assert_eq!(ids(f.orchestrator.list_queue_items(of(0), behind).await.unwrap().items), ["a"]);

    // By number, with all other conditions.
    for reason in &found {
        assert_eq!(reasons(&f, ReasonFilter::default().id(reason.id)).await, std::slice::from_ref(reason));
    }
    assert_eq!(reasons(&f, ReasonFilter::default().id(99_999)).await, []);
    assert_eq!(reasons(&f, ReasonFilter::default().id(found[3].id).open_only(true)).await, []);
    assert_eq!(reasons(&f, ReasonFilter::default().id(found[0].id).queues(["Other"])).await, []);
    let behind = ReasonCursor::behind(&found[0], ReasonOrder::MostOpen);
    assert_eq!(reasons(&f, ReasonFilter::default().id(found[0].id).after(Some(behind))).await, []);

    // By queue, in pages, in both orders.
    assert_eq!(reasons(&f, ReasonFilter::default().queues(["Other"])).await, []);
    assert_eq!(reasons(&f, ReasonFilter::default().queues(["other", QUEUE])).await, found);
    assert_eq!(reasons(&f, ReasonFilter::default().open_only(true)).await, found[..3]);
    for from in [began, of_business.last_seen, f.after(0), f.after(1)] {
        let expected: Vec<Reason> =
            found.iter().filter(|reason| reason.first_seen >= from).cloned().collect();
        assert_eq!(reasons(&f, ReasonFilter::default().first_seen_from(from)).await, expected, "{from}");
    }
    for order in [ReasonOrder::MostOpen, ReasonOrder::LastSeen] {
        let mut expected = found.clone();
        expected.sort_by_key(|reason| {
            let place = ReasonCursor::behind(reason, order);
            std::cmp::Reverse((place.key, place.id))
        });
        let (mut read, mut after): (Vec<Reason>, _) = (Vec::new(), None);
        loop {
            let page = reasons(&f, ReasonFilter::default().order(order).top(1).after(after)).await;
            let Some(last) = page.last() else { break };
            after = Some(ReasonCursor::behind(last, order));
            read.extend(page);
        }
        assert_eq!(read, expected, "{order:?}");
    }
    let unknown = f.orchestrator.list_reasons(ReasonFilter::default().queues(["Nowhere"])).await;
    assert!(unknown.unwrap_err().is_not_found());
    let error = f.orchestrator.list_reasons(ReasonFilter::default().top(101)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::INVALID_REQUEST)));
}

/// An item leaves the count when it is verified, retried, deleted or removed.
pub(crate) async fn the_open_items_of_a_reason_follow_reviews_and_removals(f: Fixture) {
    let f = f.with_queue(retrying(0).retention_days(1).stale_retention_days(1)).await;
    let job = f.job().await;
    for number in 0..5 {
        f.add_named(&number.to_string()).await;
    }
    let mut failed = Vec::new();
    for number in 0..5 {
        let kind = business(&format!("no. {number} is wrong"));
        failed.push(f.perform(job, kind).await.id);
    }
    assert_eq!((the_group(&f).await.open, the_group(&f).await.total), (5, 5));
    let review = async |id, to| {
        let version = f.version(id).await;
        assert!(f.orchestrator.set_review_status(to, vec![version]).await.unwrap().is_empty());
    };
    review(failed[0], ReviewStatus::InReview).await;
    assert_eq!(the_group(&f).await.open, 5, "somebody looks at it");
    review(failed[0], ReviewStatus::None).await;
    assert_eq!(the_group(&f).await.open, 5);
    review(failed[0], ReviewStatus::Verified).await;
    assert_eq!(the_group(&f).await.open, 4);
    review(failed[1], ReviewStatus::Retried).await;
    assert_eq!(the_group(&f).await.open, 3);
    let version = f.version(failed[2]).await;
    let refused = f.orchestrator.delete_queue_items(vec![version]).await.unwrap();
    assert_eq!(the_group(&f).await.open, if refused.is_empty() { 2 } else { 3 });
    // The copy fails too.
    f.perform(job, business("no. 1 is wrong")).await;
    assert_eq!(the_group(&f).await.total, 6);
    // A refused call changes nothing.
    let mut stale = f.version(failed[3]).await;
    stale.row_version -= 1;
    let before = the_group(&f).await;
    assert_eq!(f.orchestrator.set_review_status(ReviewStatus::Verified, vec![stale]).await.unwrap().len(), 1);
    assert_eq!(the_group(&f).await, before);
    f.advance(3 * DAY);
    f.orchestrator.apply_retention(1_000).await.unwrap();
    assert_eq!(f.list(ItemFilter::default()).await, []);
    let after = the_group(&f).await;
    assert_eq!((after.open, after.total), (0, 6));
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    assert_eq!(reasons(&f, ReasonFilter::default()).await, []);
}

/// A queue whose reasons have nothing in common does not fill the store with groups.
pub(crate) async fn a_queue_has_a_limited_number_of_reasons(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    // Letters stay: each of these is a reason of its own.
    let letters = |mut number: u64| {
        let mut word = String::new();
        for _ in 0..3 {
            word.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
            number /= 26;
        }
        word
    };
    let all = usize::try_from(MAX_REASONS).unwrap() + 3;
    let items = (0..all).map(|number| crate::named(&number.to_string())).collect();
    let commit = performer::orchestrator::CommitType::AllOrNothing;
    let added = f.orchestrator.bulk_add_queue_items(QUEUE, commit, items).await.unwrap();
    assert!(added.failed.is_empty());
    let mut number = 0;
    loop {
        let claimed = f.take_many(job, 500).await;
        if claimed.is_empty() {
            break;
        }
        let reports = claimed.into_iter().map(|claimed| {
            number += 1;
            performer::orchestrator::Report::new(claimed.claim, business(&letters(number)))
        });
        let reports = f.orchestrator.report_and_claim(reports.collect(), None).await.reports;
        assert!(reports.iter().all(Result::is_ok));
    }
    let others = reasons(&f, ReasonFilter::default().top(1)).await.remove(0);
    assert_eq!((others.fingerprint.as_str(), others.open, others.total), ("", 3, 3));
    assert_eq!(f.list(ItemFilter::default().reason(others.id)).await.len(), 3);
}
