//! Follow-up items of T4 of `docs/reference/lifecycle.md`: they are added in the commit that records the success, and at no other time.

use std::time::Duration;

use super::look;
use crate::{
    Fixture, QUEUE, application, business, named, new_job, ok, ok_with, postponed, retrying, take, unique,
};
use performer::model::{ClaimedItem, ItemFilter, JobKey, NewQueueDefinition, NewQueueItem, Schemas, Status};
use performer::orchestrator::{ClaimRequest, ErrorKind, FollowUp, MAX_FOLLOW_UPS, Report, Result};
use performer::{ErrorCode, QueueItem, QueuePolicy};
use serde_json::json;

/// The queue of the follow-ups.
const NEXT: &str = "Payments";

fn next(reference: &str) -> FollowUp {
    FollowUp::new(NEXT, named(reference))
}

/// A fixture with both queues; the other one has this policy.
async fn with_both(f: Fixture, policy: QueuePolicy) -> Fixture {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new(NEXT).policy(policy)).await.unwrap();
    f
}

async fn report(f: &Fixture, report: Report) -> Result<Status> {
    f.orchestrator.report_and_claim(vec![report], None).await.reports.pop().unwrap()
}

async fn claimed(f: &Fixture, job: JobKey, reference: &str) -> ClaimedItem {
    f.add_named(reference).await;
    f.take(job).await
}

/// The items of the other queue.
async fn added(f: &Fixture) -> Vec<QueueItem> {
    f.list(ItemFilter::default().queue(NEXT)).await
}

async fn references(f: &Fixture) -> Vec<String> {
    added(f).await.into_iter().map(|item| item.reference.unwrap_or_default()).collect()
}

pub(crate) async fn t4_follow_ups_are_added_with_the_success_in_their_order(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    f.advance(3);
    let complete = NewQueueItem::from_json(r#"{"amount": 12345678901234567890.50}"#)
        .reference("p-1")
        .due_date(f.after(60))
        .defer_date(f.after(30))
        .progress("from a");
    let follow_ups = vec![FollowUp::new(NEXT, complete), next("p-2"), FollowUp::new(QUEUE, named("own"))];
    let success = Report::new(item.claim, ok_with(&json!({"n": 1}))).progress("done").follow_ups(follow_ups);
    // The claim of the same call finds what was added.
    let answer = f.orchestrator.report_and_claim(vec![success], Some(take(job, 5))).await;
    assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Successful);
    let taken = answer.claimed.unwrap().items;
    let [own] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(own.item.reference.as_deref(), Some("own"));
    let successful = f.item(item.item.id).await;
    assert_eq!((successful.status, successful.progress.as_deref()), (Status::Successful, Some("done")));
    assert_eq!(successful.output.unwrap().to_value(), json!({"n": 1}));
    let added = added(&f).await;
    let [first, second] = &added[..] else { panic!("{added:?}") };
    assert_eq!((first.reference.as_deref(), second.reference.as_deref()), (Some("p-1"), Some("p-2")));
    assert!(first.id < second.id && second.id < own.item.id && first.status == Status::New);
    assert_eq!(first.specific_content.as_json(), r#"{"amount":12345678901234567890.50}"#);
    assert_eq!(
        (first.due_date, first.defer_date, first.creation_time),
        (Some(f.after(60)), Some(f.after(30)), f.now())
    );
    assert_eq!((first.progress.as_deref(), second.progress.as_deref()), (Some("from a"), None));
    f.check_statistics().await;
    assert_eq!(f.orchestrator.queue_statistics(NEXT).await.unwrap().new, 2);
}

pub(crate) async fn t4_the_job_that_reports_is_the_creator_of_its_follow_ups(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    let mut traced = named("p-1");
    traced.origin.parent_operation_id =
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let parent = traced.origin.parent_operation_id.clone();
    report(&f, Report::new(item.claim, ok()).follow_ups(vec![FollowUp::new(NEXT, traced)])).await.unwrap();
    let added = added(&f).await;
    assert_eq!((added[0].creator_job, &added[0].parent_operation_id), (Some(job), &parent));
}

pub(crate) async fn t4_only_a_success_has_follow_ups(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    for result in [business("no"), application("down"), postponed(f.after(60))] {
        let error =
            report(&f, Report::new(item.claim, result).follow_ups(vec![next("p")])).await.unwrap_err();
        assert!(error.is_invalid(), "{error:?}");
    }
    assert_eq!(f.item(item.item.id).await.status, Status::InProgress);
    assert_eq!(f.report(item.claim, application("down")).await.unwrap(), Status::Retried);
    assert_eq!(references(&f).await, [""; 0]);
}

pub(crate) async fn t11_a_repeated_report_adds_nothing_again(f: Fixture) {
    let f = with_both(f, unique()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    let success = Report::new(item.claim, ok()).follow_ups(vec![next("p-1"), next("p-2")]);
    for _ in 0..3 {
        assert_eq!(report(&f, success.clone()).await.unwrap(), Status::Successful);
    }
    // Nor does one with others, nor two in one call.
    let others = Report::new(item.claim, ok()).follow_ups(vec![next("p-3")]);
    assert_eq!(report(&f, others).await.unwrap(), Status::Successful);
    assert_eq!(references(&f).await, ["p-1", "p-2"]);
    let item = claimed(&f, job, "b").await;
    let success = Report::new(item.claim, ok()).follow_ups(vec![next("p-4")]);
    let answer = f.orchestrator.report_and_claim(vec![success.clone(), success], None).await;
    assert!(answer.reports.iter().all(|answered| *answered.as_ref().unwrap() == Status::Successful));
    assert_eq!(references(&f).await, ["p-1", "p-2", "p-4"]);
}

pub(crate) async fn t12_a_lost_claim_adds_nothing(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    let deleted = f.orchestrator.delete_queue_items(vec![f.version(item.item.id).await]).await.unwrap();
    assert!(deleted.is_empty());
    let success =
        |claim| Report::new(claim, ok()).follow_ups(vec![next("p"), FollowUp::new("None", named("q"))]);
    assert!(report(&f, success(item.claim)).await.unwrap_err().is_claim_lost());
    let item = claimed(&f, job, "b").await;
    f.report(item.claim, business("no")).await.unwrap();
    assert!(report(&f, success(item.claim)).await.unwrap_err().is_claim_lost());
    assert_eq!(references(&f).await, [""; 0]);
}

pub(crate) async fn t12_a_job_whose_lease_has_expired_adds_nothing(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    f.sweep_for(40).await;
    let success = Report::new(item.claim, ok()).follow_ups(vec![next("p")]);
    assert!(report(&f, success).await.unwrap_err().is_claim_lost());
    assert_eq!(references(&f).await, [""; 0]);
}

pub(crate) async fn t4_a_refused_follow_up_refuses_all(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let short = r#"{"properties": {"name": {"maxLength": 3}}}"#;
    let schemas = Schemas { specific_data: Some(short.into()), ..Schemas::default() };
    let strict = NewQueueDefinition::new("Strict").schemas(schemas);
    f.orchestrator.create_queue(strict).await.unwrap();
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    let nested = FollowUp::new(NEXT, NewQueueItem::new(json!({"lines": [1]})));
    let large = FollowUp::new(NEXT, NewQueueItem::new(json!({"text": "x".repeat(300_000)})));
    for (bad, code, words) in [
        (FollowUp::new("None", named("p")), ErrorCode::ITEM_NOT_FOUND, "follow-up 2 for queue \"None\""),
        (nested, ErrorCode::INVALID_ARGUMENT, "follow-up 2 for queue \"Payments\""),
        (large, ErrorCode::QUEUE_ITEM_CONTENT_SIZE_EXCEEDED, "limit"),
        (next(&"x".repeat(129)), ErrorCode::PARAMETER_INVALID, "129"),
        (FollowUp::new("Strict", named("four")), ErrorCode::QUEUE_ITEM_SCHEMA_VIOLATION, "Strict"),
    ] {
        let success = Report::new(item.claim, ok()).follow_ups(vec![next("p-1"), bad, next("p-3")]);
        let error = report(&f, success).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(code)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(f.item(item.item.id).await.status, Status::InProgress);
        assert_eq!(references(&f).await, [""; 0]);
    }
    // The claim holds, and other reports of the same call are recorded.
    let other = claimed(&f, job, "b").await;
    let bad = Report::new(item.claim, ok()).follow_ups(vec![FollowUp::new("None", named("p"))]);
    let good = Report::new(other.claim, ok()).follow_ups(vec![next("p-1")]);
    let answer = f.orchestrator.report_and_claim(vec![bad, good], None).await;
    assert!(answer.reports[0].as_ref().unwrap_err().is_invalid());
    assert_eq!(*answer.reports[1].as_ref().unwrap(), Status::Successful);
    let good = Report::new(item.claim, ok()).follow_ups(vec![next("p-2")]);
    assert_eq!(report(&f, good).await.unwrap(), Status::Successful);
    assert_eq!(references(&f).await, ["p-1", "p-2"]);
}

pub(crate) async fn t4_a_reference_of_a_follow_up_that_is_there_refuses_the_success(f: Fixture) {
    let f = with_both(f, unique()).await;
    let job = f.job().await;
    f.orchestrator.add_queue_item(NEXT, named("there")).await.unwrap();
    let item = claimed(&f, job, "a").await;
    let without = FollowUp::new(NEXT, NewQueueItem::new(json!({})));
    for (follow_ups, code) in [
        (vec![next("p-1"), next("there")], ErrorCode::DUPLICATE_REFERENCE),
        (vec![next("twice"), next("twice")], ErrorCode::DUPLICATE_REFERENCE),
        (vec![next("p-1"), without], ErrorCode::TRANSACTION_REFERENCE_REQUIRED),
    ] {
        let error = report(&f, Report::new(item.claim, ok()).follow_ups(follow_ups)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(code)), "{error:?}");
        assert!(error.to_string().starts_with("follow-up 2 "), "{error}");
    }
    let success = Report::new(item.claim, ok()).follow_ups(vec![next("p-1"), next("p-2")]);
    assert_eq!(report(&f, success).await.unwrap(), Status::Successful);
    assert_eq!(references(&f).await, ["there", "p-1", "p-2"]);
    // Of two successes in one call only the first adds the reference.
    let (first, second) = (claimed(&f, job, "b").await, claimed(&f, job, "c").await);
    let success = |item: &ClaimedItem| Report::new(item.claim, ok()).follow_ups(vec![next("p-3")]);
    let answer = f.orchestrator.report_and_claim(vec![success(&first), success(&second)], None).await;
    assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Successful);
    assert!(answer.reports[1].as_ref().unwrap_err().is_duplicate_reference());
    assert_eq!(f.item(second.item.id).await.status, Status::InProgress);
}

pub(crate) async fn t4_many_follow_ups_are_added_at_once(f: Fixture) {
    let f = with_both(f, unique()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    let many = |count: usize| (0..count).map(|number| next(&format!("p-{number:04}"))).collect::<Vec<_>>();
    let too_many = Report::new(item.claim, ok()).follow_ups(many(MAX_FOLLOW_UPS + 1));
    assert!(report(&f, too_many).await.unwrap_err().is_invalid());
    let success = Report::new(item.claim, ok()).follow_ups(many(MAX_FOLLOW_UPS));
    assert_eq!(report(&f, success).await.unwrap(), Status::Successful);
    assert_eq!(f.orchestrator.queue_statistics(NEXT).await.unwrap().new, 1_000);
    let expected: Vec<String> = (0..MAX_FOLLOW_UPS).map(|number| format!("p-{number:04}")).collect();
    assert_eq!(references(&f).await, expected);
}

pub(crate) async fn a_follow_up_wakes_those_who_wait_for_its_queue(f: Fixture) {
    let f = with_both(f, QueuePolicy::default()).await;
    let job = f.job().await;
    let item = claimed(&f, job, "a").await;
    let mut about = new_job();
    about.queue = NEXT.to_owned();
    let other = f.orchestrator.start_job(about).await.unwrap();
    let claim = ClaimRequest::new(NEXT, other, 1).robot(1);
    let seen = look(&f, claim.clone()).await.seen;
    let waiting = f.orchestrator.clone();
    let wait = tokio::spawn(async move {
        waiting.wait_for_items(NEXT, seen, Duration::from_secs(600)).await;
    });
    report(&f, Report::new(item.claim, ok()).follow_ups(vec![next("p")])).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the wait ends").unwrap();
    assert_eq!(look(&f, claim).await.items.len(), 1);
}
