//! One suite for every back end: a back end is complete if it passes.
//!
//! Each test is a function over a [`Fixture`]; the list at the end runs all of them against each back end. Rows T1 to
//! T24 are those of `docs/reference/lifecycle.md`.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use performer::model::content::Output;
use performer::model::history::EventAction;
use performer::model::item::{PAGE_LIMIT, ReferenceFilter};
use performer::model::query::{self, Case, Comparison, Condition, Field, Order, TextMatch, Value};
use performer::model::result::{Outcome, TransactionResult};
use performer::model::review::{ItemVersion, Person};
use performer::orchestrator::{ClaimRequest, ClaimedItems, Report};
use performer::{
    CommitType, ErrorCode, ErrorKind, ExceptionType, ItemEdit, ItemFilter, ItemId, JobEnd, JobFigures,
    JobState, LimitsEdit, MaxStarts, NewQueueDefinition, NewQueueItem, Page, Priority, ProcessingException,
    QueueItem, QueueLimits, QueuePolicy, ReviewStatus, RobotState, SpecificContent, Status, StopStrategy,
};
use serde_json::json;
use support::*;

fn retrying(max_number_of_retries: u32) -> QueuePolicy {
    QueuePolicy { max_number_of_retries, ..QueuePolicy::default() }
}

fn unique() -> QueuePolicy {
    QueuePolicy { enforce_unique_reference: true, ..QueuePolicy::default() }
}

// Queues

async fn queues_are_created_changed_and_deleted(f: Fixture) {
    let o = &f.orchestrator;
    let made = o.create_queue(NewQueueDefinition::new("Payroll").description("monthly")).await.unwrap();
    assert_eq!(o.get_queue("PAYROLL").await.unwrap(), made, "names are compared without their case");
    let taken = o.create_queue(NewQueueDefinition::new("payroll")).await.unwrap_err();
    assert_eq!((taken.kind(), taken.code()), (ErrorKind::Conflict, Some(ErrorCode::NAME_ALREADY_USED)));

    o.create_queue(NewQueueDefinition::new("Ärger")).await.unwrap();
    assert!(o.create_queue(NewQueueDefinition::new("ÄRGER")).await.is_err());
    let names: Vec<_> = o.list_queues().await.unwrap().into_iter().map(|queue| queue.name).collect();
    assert_eq!(names, ["Payroll", "Ärger"]);

    let change = NewQueueDefinition::new("Payroll 2").policy(retrying(5));
    let changed = o.update_queue("payroll", change).await.unwrap();
    assert_eq!((changed.id, changed.key, changed.policy.max_number_of_retries), (made.id, made.key, 5));
    assert_eq!(o.get_queue("Payroll 2").await.unwrap(), changed);
    assert!(o.get_queue("Payroll").await.unwrap_err().is_not_found());

    let onto_another = o.update_queue("Payroll 2", NewQueueDefinition::new("Ärger")).await.unwrap_err();
    assert_eq!(onto_another.code(), Some(ErrorCode::NAME_ALREADY_USED));
    let frozen =
        o.update_queue("Payroll 2", NewQueueDefinition::new("Payroll 2").policy(unique())).await.unwrap_err();
    assert_eq!(frozen.code(), Some(ErrorCode::QUEUE_DEFINITION_PARAMETERS_CANNOT_CHANGE));
    let invalid = o.create_queue(NewQueueDefinition::new("x").policy(retrying(51))).await.unwrap_err();
    assert_eq!(invalid.kind(), ErrorKind::Invalid);

    o.delete_queue("Payroll 2").await.unwrap();
    assert!(o.delete_queue("Payroll 2").await.unwrap_err().is_not_found());
    o.create_queue(NewQueueDefinition::new("Payroll 2")).await.expect("the name is free again");
}

async fn items_of_a_deleted_queue_are_neither_claimed_nor_found(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let running = f.add_named("running").await;
    let waiting = f.add_named("waiting").await;
    let claimed = f.take(job).await;
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    let late = f.report(claimed.claim, ok()).await.unwrap_err();
    assert!(late.is_claim_lost(), "{late}");
    for id in [running.id, waiting.id] {
        assert!(f.orchestrator.get_queue_item(id).await.unwrap_err().is_not_found());
    }
    assert!(f.list(ItemFilter::default()).await.is_empty());
    let answer = f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await;
    assert!(answer.claimed.unwrap_err().is_not_found());
    assert!(f.orchestrator.add_queue_item(QUEUE, named("x")).await.unwrap_err().is_not_found());
}

/// Sweeps remove the items of the deleted queue in chunks, and nothing else.
async fn a_deleted_queue_is_hidden_at_once_and_emptied_by_sweeps(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let other = f.orchestrator.add_queue_item("Other", named("other")).await.unwrap();
    let job = f.job().await;
    let mut items = Vec::new();
    for n in 0..30 {
        items.push(f.add_named(&n.to_string()).await.id);
    }
    let claimed = f.take_many(job, 3).await;
    f.report(claimed[0].claim, application("x")).await.unwrap(); // a retry copy waits
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    // A new queue of the same name has none of its items.
    f.orchestrator.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    assert_eq!(f.orchestrator.queue_statistics(QUEUE).await.unwrap().total(), 0);
    assert!(f.try_take(job).await.is_none());
    let anew = f.add_named("anew").await;
    for _ in 0..5 {
        let swept = f.orchestrator.sweep().await.unwrap();
        assert_eq!((swept.jobs.len(), swept.abandoned), (0, 0));
        assert!(f.report(claimed[1].claim, ok()).await.unwrap_err().is_claim_lost());
        assert!(f.report(claimed[0].claim, application("x")).await.unwrap_err().is_claim_lost());
        for id in &items {
            assert!(f.orchestrator.get_queue_item(*id).await.unwrap_err().is_not_found());
        }
    }
    assert_eq!(f.orchestrator.get_queue_item(other.id).await.unwrap().status, Status::New);
    assert_eq!(f.orchestrator.end_job(job, JobState::Stopped.into()).await.unwrap().abandoned, 0);
    let listed: Vec<_> = f.list(ItemFilter::default()).await.iter().map(|item| item.id).collect();
    assert_eq!(listed, [other.id, anew.id]);
    f.check_statistics().await;
}

/// Many items are processed in chunks, and each gets its own answer.
async fn many_items_are_deleted_in_chunks(f: Fixture) {
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

/// While the items of a deleted queue are removed in chunks, they exist but do not wait anywhere.
async fn items_of_a_deleted_queue_cannot_be_changed(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let o = &f.orchestrator;
    o.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let first = f.add_named("first").await;
    let items = (0..3_000).map(|n| named(&n.to_string())).collect();
    let bulk = o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(bulk.added, 3_000);
    let last = f.add_named("last").await;
    o.delete_queue(QUEUE).await.unwrap();
    o.sweep().await.unwrap();
    for id in [first.id, last.id] {
        assert!(o.get_queue_item(id).await.unwrap_err().is_not_found());
        let edited =
            o.edit_queue_item(id, ItemEdit { priority: Some(Priority::High), ..ItemEdit::default() }).await;
        assert!(edited.unwrap_err().is_not_found());
        let deleted = o.delete_queue_items(vec![ItemVersion { id, row_version: 1 }]).await.unwrap();
        assert_eq!(deleted.0.len(), 1, "{deleted:?}");
        o.add_queue_item("Other", named("other")).await.expect("nothing else is disturbed");
    }
}

// T1, T2: add

async fn t1_an_item_is_stored_as_it_was_added(f: Fixture) {
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

/// Times at the limits of what callers, calendars and stores can write.
fn times() -> Vec<Timestamp> {
    let second = |second, nanosecond| Timestamp::new(second, nanosecond).unwrap();
    vec![
        Timestamp::MAX,
        second(253_402_207_200, 999_999_500),
        second(253_402_207_200, 999_999_000),
        second(253_402_207_200, 0),
        second(253_402_207_199, 999_999_999),
        second(4_294_967_296, 1),
        Timestamp::UNIX_EPOCH,
        second(0, -1),
        second(-62_135_596_800, 0),
        second(-62_135_596_801, -1),
        second(-210_866_803_201, 0), // before PostgreSQL's first
        Timestamp::MIN,
    ]
}

/// Every query that reads an item succeeds, with the same result.
async fn every_query_can_read(f: &Fixture, item: &QueueItem) {
    let o = &f.orchestrator;
    assert_eq!(f.item(item.id).await, *item);
    let filters = [
        ItemFilter::default(),
        ItemFilter { queue: Some(QUEUE.to_owned()), status: vec![item.status], ..ItemFilter::default() },
        ItemFilter {
            condition: item
                .due_date
                .map(|due| Condition::Compare(Field::DueDate, Comparison::Equal, Value::Time(due))),
            ..ItemFilter::default()
        },
        ItemFilter {
            order: vec![Order { field: Field::DueDate, descending: true }],
            ..ItemFilter::default()
        },
        ItemFilter {
            created_from: Some(Timestamp::MIN),
            created_before: Some(Timestamp::MAX),
            ..ItemFilter::default()
        },
    ];
    for filter in filters {
        let found = f.list(filter.clone()).await;
        assert!(found.contains(item), "{filter:?} does not find {item:?}");
    }
    o.processing_history(item.id).await.unwrap();
    o.item_events(item.id).await.unwrap();
    o.queue_statistics(QUEUE).await.unwrap();
    o.list_robots().await.unwrap();
}

async fn any_accepted_time_can_be_read_and_its_item_claimed(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let o = &f.orchestrator;
    let job = f.job().await;
    for at in times() {
        // Added with it, edited to it, and deleted.
        let added = f.add(named("added").due_date(at).defer_date(at).risk_sla_date(at)).await;
        every_query_can_read(&f, &added).await;
        let edit = ItemEdit { due_date: Some(Some(at)), defer_date: Some(Some(at)), ..ItemEdit::default() };
        let edited = o.edit_queue_item(added.id, edit).await.unwrap();
        assert_eq!((edited.due_date, edited.defer_date), (added.due_date, added.defer_date), "{at}");
        every_query_can_read(&f, &edited).await;
        assert!(o.delete_queue_items(vec![edited.version()]).await.unwrap().is_empty(), "{at}");
        every_query_can_read(&f, &f.item(added.id).await).await;

        // As a DueDate, of the first item in its queue.
        let urgent = f.add(named("urgent").priority(Priority::High).due_date(at)).await;
        let claimed = f.take(job).await;
        assert_eq!((claimed.item.id, claimed.item.due_date), (urgent.id, urgent.due_date), "{at}");
        every_query_can_read(&f, &f.item(urgent.id).await).await;

        // As the time of a postponement, with a DueDate; or the refusal of a time that has passed.
        let result = TransactionResult::Postponed { defer_date: at, due_date: Some(at) };
        let claim = match f.report(claimed.claim, result).await {
            Ok(status) => {
                assert_eq!(status, Status::New, "{at}");
                every_query_can_read(&f, &f.item(urgent.id).await).await;
                assert!(f.try_take(job).await.is_none(), "{at}");
                let edit = ItemEdit { defer_date: Some(None), ..ItemEdit::default() };
                o.edit_queue_item(urgent.id, edit).await.unwrap();
                f.take(job).await.claim
            }
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.code()),
                    (ErrorKind::Invalid, Some(ErrorCode::PARAMETER_INVALID))
                );
                claimed.claim
            }
        };

        // As the time of an exception and of its retry.
        let exception = ProcessingException::new(ExceptionType::ApplicationException, "down", at);
        let result = TransactionResult::Failed { exception: Some(exception), defer_date: Some(at) };
        assert_eq!(f.report(claim, result).await.unwrap(), Status::Retried, "{at}");
        for attempt in o.processing_history(urgent.id).await.unwrap() {
            every_query_can_read(&f, &f.item(attempt.id).await).await;
            if attempt.status == Status::New {
                assert!(o.delete_queue_items(vec![attempt.version()]).await.unwrap().is_empty(), "{at}");
            }
        }
    }
    f.check_statistics().await;
    o.delete_queue(QUEUE).await.unwrap();
}

/// Numbers with more digits than 64 bits hold, and texts that were truncated within a character.
async fn numbers_keep_all_their_digits(f: Fixture) {
    const JSON: &str = r#"{"amount":1234567890123456.78,"e":1E5,"huge":1e400,"iban":100000000000000000000000000001,"x":1.50,"z":-0}"#;
    let f = f.with_queue(retrying(1)).await;
    let o = &f.orchestrator;
    let job = f.job().await;
    let added = f.add(NewQueueItem::from_json(JSON)).await;
    assert_eq!(added.specific_content.as_json(), JSON);
    assert_eq!(f.item(added.id).await, added);
    assert_eq!(f.list(ItemFilter::default()).await, std::slice::from_ref(&added));
    let claimed = f.take(job).await;
    assert_eq!(claimed.item.specific_content.as_json(), JSON);
    let lossy = claimed.item.specific_content.parse::<serde_json::Value>().unwrap_err();
    assert!(lossy.to_string().starts_with("\"amount\": a number with more digits"), "{lossy}");
    let output = Output::from_json(JSON).unwrap();
    f.report(claimed.claim, TransactionResult::Successful { output: Some(output) }).await.unwrap();
    assert_eq!(f.item(added.id).await.output.unwrap().as_json(), JSON);

    let cut = r#"{"cut \ud83d":"\ude00","n":1e-400}"#;
    let kept = "{\"cut \u{fffd}\":\"\u{fffd}\",\"n\":1e-400}";
    let bulk =
        o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, vec![NewQueueItem::from_json(cut)]).await;
    assert_eq!(bulk.unwrap().added, 1);
    let claimed = f.take(job).await;
    assert_eq!(claimed.item.specific_content.as_json(), kept);
    f.report(claimed.claim, application("down")).await.unwrap();
    let retry = f.take(job).await;
    assert_eq!((retry.item.specific_content.as_json(), retry.item.retry_number), (kept, 1));

    let started = o.add_and_start_transaction(take(job, 1), NewQueueItem::from_json(JSON)).await.unwrap();
    assert_eq!(started.item.specific_content.as_json(), JSON);
    let waiting = f.add_named("waiting").await;
    let edit =
        ItemEdit { specific_content: Some(SpecificContent::from_json(JSON).unwrap()), ..ItemEdit::default() };
    let edited = o.edit_queue_item(waiting.id, edit).await.unwrap();
    assert_eq!((edited.specific_content.as_json(), &f.item(waiting.id).await), (JSON, &edited));
    for (bad, part) in [(r#"{"a":1,"a":2}"#, "\"a\""), (r#"{"a":NaN}"#, "near \"a\""), ("[]", "an array")] {
        let refused = o.add_queue_item(QUEUE, NewQueueItem::from_json(bad)).await.unwrap_err();
        assert!(
            refused.code() == Some(ErrorCode::INVALID_ARGUMENT) && refused.to_string().contains(part),
            "{refused}"
        );
    }
    let nan = NewQueueItem::new(std::collections::BTreeMap::from([("rate", f64::NAN)]));
    let refused = o.add_queue_item(QUEUE, nan).await.unwrap_err();
    assert!(refused.to_string().contains("the value of \"rate\" is NaN"), "{refused}");
}

async fn t1_invalid_items_are_refused_and_change_nothing(f: Fixture) {
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

async fn t1_a_unique_reference_is_accepted_once(f: Fixture) {
    let f = f.with_queue(QueuePolicy { max_number_of_retries: 1, ..unique() }).await;
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
    let failed = f.list(ItemFilter { status: vec![Status::New], ..ItemFilter::default() }).await;
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

async fn t1_of_concurrent_adds_of_one_reference_exactly_one_succeeds(f: Fixture) {
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

async fn t1_bulk_adds_follow_their_commit_type(f: Fixture) {
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
    let failed = |bulk: &performer::orchestrator::BulkAdded| {
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

async fn t2_an_item_is_added_and_claimed_at_once(f: Fixture) {
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

// T3: take, and the order

async fn t3_items_are_claimed_in_the_documented_order(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let due = |seconds| f.after(seconds);
    for item in [
        named("low 1").priority(Priority::Low),
        named("normal 1"),
        named("high 1").priority(Priority::High),
        named("due low").priority(Priority::Low).due_date(due(1)),
        named("due late").due_date(due(500)),
        named("due early").due_date(due(100)),
        named("due high").priority(Priority::High).due_date(due(900)),
        named("due early too").due_date(due(100)),
        named("normal 2"),
        named("high 2").priority(Priority::High),
        named("deferred high").priority(Priority::High).defer_date(due(10)),
    ] {
        f.add(item).await;
    }
    let expected = [
        "due high",
        "due early",
        "due early too",
        "due late",
        "due low",
        "high 1",
        "high 2",
        "normal 1",
        "normal 2",
        "low 1",
    ];
    assert_eq!(f.take_all(job).await, expected);
    f.advance(10);
    assert_eq!(f.take_all(job).await, ["deferred high"]);
    f.check_statistics().await;
}

async fn t3_many_items_are_claimed_in_the_same_order_as_one_by_one(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for n in 0..30_u64 {
        let priority = Priority::ALL[(n % 3) as usize];
        let item = named(&format!("{n}")).priority(priority);
        f.add(if n % 4 == 0 { item.due_date(f.after(n * 7 % 11)) } else { item }).await;
    }
    let many = f.take_many(job, 100).await;
    let claims: Vec<_> = many.iter().map(|claimed| claimed.claim).collect();
    let order: Vec<_> = many.iter().map(|claimed| claimed.item.reference.clone().unwrap()).collect();
    assert_eq!(order.len(), 30);
    for claim in claims {
        f.report(claim, TransactionResult::GivenBack).await.unwrap();
    }
    assert_eq!(f.take_all(job).await, order);
}

async fn t3_a_deferred_item_keeps_its_place_in_the_order(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add(named("deferred").defer_date(f.after(5))).await;
    f.add_named("waiting").await;
    f.add(named("past").defer_date(f.now() - Duration::from_secs(5))).await;
    f.advance(4);
    assert_eq!(f.take(job).await.item.reference.as_deref(), Some("waiting"));
    f.advance(1);
    assert_eq!(f.take_all(job).await, ["deferred", "past"], "first in, first out, by the time of the add");
}

async fn t3_a_reference_filter_claims_only_matching_items(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for reference in ["A-1", "B-1", "a-2", "A-2", "A%", "A_"] {
        f.add_named(reference).await;
    }
    f.add(NewQueueItem::new(json!({}))).await;
    let filtered = async |filter: ReferenceFilter| {
        let ask = ClaimRequest { reference: Some(filter), ..take(job, 10) };
        let taken = f.orchestrator.report_and_claim(Vec::new(), Some(ask)).await.claimed.unwrap();
        taken.items.iter().map(|claimed| claimed.item.reference.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(filtered(ReferenceFilter::Equals("B-1".to_owned())).await, ["B-1"]);
    assert_eq!(filtered(ReferenceFilter::Equals("B-1".to_owned())).await, [""; 0]);
    assert_eq!(filtered(ReferenceFilter::StartsWith("A%".to_owned())).await, ["A%"]);
    assert_eq!(filtered(ReferenceFilter::StartsWith("A".to_owned())).await, ["A-1", "A-2", "A_"]);
}

async fn t3_two_robots_never_get_the_same_item(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let items = (0..200).map(|n| named(&n.to_string())).collect();
    assert_eq!(
        f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed,
        []
    );
    let (one, two) = (f.job().await, f.job().await);
    let robots: Vec<_> = (0..8)
        .map(|robot| {
            let orchestrator = f.orchestrator.clone();
            let job = if robot % 2 == 0 { one } else { two };
            tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let answer =
                        orchestrator.report_and_claim(Vec::new(), Some(take(job, 1 + robot % 3))).await;
                    let items = answer.claimed.unwrap().items;
                    if items.is_empty() {
                        return taken;
                    }
                    taken.extend(items.into_iter().map(|claimed| claimed.item.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for robot in robots {
        all.extend(robot.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (200, 200));
    f.check_statistics().await;
}

async fn t3_a_job_that_has_ended_claims_nothing(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.add_named("a").await;
    let job = f.job().await;
    f.orchestrator.end_job(job, JobState::Successful.into()).await.unwrap();
    let answer = f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await;
    assert!(answer.claimed.unwrap_err().is_claim_lost());
    let unknown = f.orchestrator.report_and_claim(Vec::new(), Some(take(some_job(), 1))).await;
    assert!(unknown.claimed.unwrap_err().is_not_found());
    assert_eq!(f.take_all(f.job().await).await, ["a"]);
}

fn some_job() -> performer::JobKey {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

// T4 to T7: results

async fn t4_a_success_is_recorded_with_its_output_and_last_progress(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.advance(7);
    let result = ok_with(&json!({"document": "D-1"}));
    let report = Report { claim: claimed.claim, result, progress: Some("done".to_owned()) };
    let answer = f.orchestrator.report_and_claim(vec![report], None).await;
    assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Successful);
    assert!(answer.claimed.unwrap().items.is_empty());
    let item = f.item(claimed.item.id).await;
    assert_eq!((item.status, item.outcome), (Status::Successful, Some(Outcome::Successful)));
    assert_eq!(item.output.unwrap().to_value(), json!({"document": "D-1"}));
    assert_eq!(item.progress.as_deref(), Some("done"));
    let took = item.end_processing.unwrap().duration_since(item.start_processing.unwrap());
    assert_eq!(took.as_secs(), 7);
    assert_eq!(item.executor_job, Some(job));
    f.check_statistics().await;
}

async fn t5_a_business_exception_is_never_retried(f: Fixture) {
    let f = f.with_queue(retrying(3)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let item = f.perform(job, business("no such customer")).await;
    assert_eq!(
        (item.status, item.exception_type()),
        (Status::Failed, Some(ExceptionType::BusinessException))
    );
    assert_eq!(item.processing_exception.unwrap().reason, "no such customer");
    assert!(f.try_take(job).await.is_none());
    assert_eq!(f.orchestrator.queue_statistics(QUEUE).await.unwrap().business_exceptions, 1);
    f.check_statistics().await;
}

async fn t6_an_application_exception_is_retried_behind_everything_that_waits(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let first = f.add(named("first").due_date(f.after(900)).priority(Priority::High)).await;
    f.add(named("second").due_date(f.after(900)).priority(Priority::High)).await;
    let claimed = f.take(job).await;
    f.advance(3);
    assert_eq!(f.report(claimed.claim, application("the ERP is down")).await.unwrap(), Status::Retried);
    let original = f.item(first.id).await;
    assert!(original.is_superseded);
    assert_eq!(original.exception_type(), Some(ExceptionType::ApplicationException));

    assert_eq!(f.take(job).await.item.reference.as_deref(), Some("second"));
    let copy = f.take(job).await;
    let item = &copy.item;
    assert_eq!((item.reference.as_deref(), item.retry_number, item.key), (Some("first"), 1, first.key));
    assert_eq!((item.ancestor_id, item.manual_ancestor_id), (Some(first.id), None));
    assert_eq!(item.specific_content, first.specific_content);
    assert_eq!((item.due_date, item.priority), (first.due_date, first.priority));
    assert_eq!((item.seconds_in_previous_attempts, item.creation_time), (3, f.now()));
    assert!(item.unique_key != first.unique_key && item.id > first.id);
    assert_eq!(
        (item.output.clone(), item.processing_exception.clone(), item.progress.clone()),
        (None, None, None)
    );

    // T7: no retry left.
    assert_eq!(f.report(copy.claim, application("still down")).await.unwrap(), Status::Failed);
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

async fn t6_a_retry_may_be_deferred(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let TransactionResult::Failed { exception, .. } = application("later") else { unreachable!() };
    f.perform(job, TransactionResult::Failed { exception, defer_date: Some(f.after(60)) }).await;
    assert!(f.try_take(job).await.is_none());
    f.advance(60);
    assert_eq!(f.take(job).await.item.retry_number, 1);
}

async fn t7_without_retries_or_without_an_exception_the_item_fails(f: Fixture) {
    let off = QueuePolicy { accept_automatically_retry: false, ..retrying(5) };
    let f = f.with_queue(off).await;
    let job = f.job().await;
    f.add_named("a").await;
    f.add_named("b").await;
    assert_eq!(f.perform(job, application("down")).await.status, Status::Failed);
    let unspecified = TransactionResult::Failed { exception: None, defer_date: None };
    let item = f.perform(job, unspecified).await;
    assert_eq!((item.status, item.exception_type()), (Status::Failed, None));
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

async fn t6_a_changed_policy_applies_from_then_on(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.orchestrator.update_queue(QUEUE, NewQueueDefinition::new(QUEUE).policy(retrying(1))).await.unwrap();
    assert_eq!(f.report(claimed.claim, application("down")).await.unwrap(), Status::Retried);
}

// T8, T9: back into the queue

async fn t8_a_postponed_item_comes_back_at_its_time_and_uses_no_retry(f: Fixture) {
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

async fn t8_a_defer_date_in_the_past_is_refused_and_the_claim_holds(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    let error = f.report(claimed.claim, postponed(f.now())).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::PARAMETER_INVALID)));
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
}

async fn t9_an_item_that_is_given_back_is_as_if_never_claimed(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    f.add_named("a").await;
    f.add_named("b").await;
    let claimed = f.take(job).await;
    assert_eq!(f.report(claimed.claim, TransactionResult::GivenBack).await.unwrap(), Status::New);
    assert_eq!(f.take_all(job).await, ["a", "b"], "it keeps its place");
    f.check_statistics().await;
}

// T10 to T12: progress, repeats, zombies

async fn t10_progress_is_recorded_while_the_claim_holds(f: Fixture) {
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

async fn t11_a_repeated_report_is_accepted_and_changes_nothing(f: Fixture) {
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

async fn t12_any_other_report_is_a_lost_claim_and_changes_nothing(f: Fixture) {
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

async fn t12_one_refused_report_affects_neither_the_others_nor_the_claim(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for reference in ["a", "b", "c"] {
        f.add_named(reference).await;
    }
    let (a, b) = (f.take(job).await, f.take(job).await);
    f.report(a.claim, ok()).await.unwrap();
    let reports = vec![
        Report { claim: a.claim, result: business("late"), progress: None },
        Report { claim: b.claim, result: ok(), progress: None },
    ];
    let answer = f.orchestrator.report_and_claim(reports, Some(take(job, 5))).await;
    assert!(answer.reports[0].as_ref().unwrap_err().is_claim_lost());
    assert_eq!(*answer.reports[1].as_ref().unwrap(), Status::Successful);
    assert_eq!(answer.claimed.unwrap().items.len(), 1);
}

// T13 to T15: leases

async fn t13_a_job_that_beats_keeps_its_items(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    for _ in 0..20 {
        assert_eq!(f.sweep_for(29).await.abandoned, 0);
        assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Running);
    }
    assert_eq!(f.sweep_for(30).await.jobs.len(), 0, "the last instant of the lease belongs to the job");
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
}

async fn t14_t15_a_job_that_does_not_beat_loses_its_items_and_its_reports_change_nothing(f: Fixture) {
    let f = f.with_queue(retrying(3)).await;
    let (lost, other) = (f.job().await, f.job().await);
    let a = f.add_named("a").await;
    let b = f.add_named("b").await;
    let zombie = f.take(lost).await;
    let held = f.take(other).await;
    assert_eq!(f.sweep_for(20).await.abandoned, 0);
    f.orchestrator.beat(other).await.unwrap();
    let swept = f.sweep_for(11).await;
    assert_eq!((swept.jobs, swept.abandoned), (vec![lost], 1), "within the lease and a second");

    let item = f.item(a.id).await;
    assert_eq!((item.status, item.outcome), (Status::Abandoned, Some(Outcome::Abandoned)));
    assert_eq!((item.end_processing, item.executor_job), (Some(f.now()), Some(lost)));
    assert!(f.try_take(other).await.is_none(), "this queue does not retry abandoned items");
    for result in [ok(), application("x"), TransactionResult::GivenBack] {
        assert!(f.report(zombie.claim, result).await.unwrap_err().is_claim_lost());
    }
    let late = f.orchestrator.set_transaction_progress(zombie.claim, "x".to_owned()).await.unwrap_err();
    assert!(late.is_claim_lost());
    assert!(f.orchestrator.beat(lost).await.unwrap_err().is_claim_lost());
    let answer = f.orchestrator.report_and_claim(Vec::new(), Some(take(lost, 1))).await;
    assert!(answer.claimed.is_ok(), "there is nothing to take, so nobody asks who wants it");
    assert_eq!(f.item(a.id).await, item);

    assert_eq!(f.item(b.id).await.status, Status::InProgress);
    assert_eq!(f.report(held.claim, ok()).await.unwrap(), Status::Successful);
    assert_eq!(f.sweep_for(1).await.abandoned, 0, "once");
    f.check_statistics().await;
}

async fn t15_abandoned_items_are_retried_where_the_queue_says_so(f: Fixture) {
    let f = f.with_queue(QueuePolicy { retry_abandoned_items: true, ..retrying(1) }).await;
    let first = f.add_named("a").await;
    for attempt in 0..2 {
        let job = f.job().await;
        let zombie = f.take(job).await;
        assert_eq!((zombie.item.retry_number, zombie.item.key), (attempt, first.key));
        assert_eq!(f.sweep_for(31).await.abandoned, 1);
        assert!(f.report(zombie.claim, ok()).await.unwrap_err().is_claim_lost());
    }
    let chain = f.orchestrator.processing_history(first.id).await.unwrap();
    let statuses: Vec<_> = chain.iter().map(|item| (item.status, item.outcome)).collect();
    let abandoned = Some(Outcome::Abandoned);
    assert_eq!(statuses, [(Status::Retried, abandoned), (Status::Abandoned, abandoned)]);
    assert!(f.try_take(f.job().await).await.is_none(), "the maximum is shared with automatic retries");
    f.check_statistics().await;
}

async fn t14_the_end_of_a_job_abandons_what_it_still_holds(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    let broken = JobEnd { info: Some("broken".to_owned()), ..JobState::Faulted.into() };
    let swept = f.orchestrator.end_job(job, broken.clone()).await.unwrap();
    assert_eq!(swept.abandoned, 1);
    assert!(f.report(claimed.claim, ok()).await.unwrap_err().is_claim_lost());
    assert!(f.orchestrator.end_job(job, JobState::Successful.into()).await.unwrap_err().is_claim_lost());
    let alive = f.job().await;
    let no_end = f.orchestrator.end_job(alive, JobState::Running.into()).await.unwrap_err();
    assert_eq!(no_end.kind(), ErrorKind::Invalid);
    f.orchestrator.end_job(alive, JobState::Stopped.into()).await.unwrap();
    f.advance(1);
    let last = f.job().await;
    f.orchestrator.end_job(last, broken).await.unwrap();
    let jobs = f.orchestrator.list_jobs(10).await.unwrap();
    assert_eq!(
        (jobs[0].state, jobs[0].info.as_deref(), jobs[0].end_time),
        (JobState::Faulted, Some("broken"), Some(f.now()))
    );
}

async fn t15_an_item_in_progress_for_too_long_is_abandoned_even_if_its_job_is_alive(f: Fixture) {
    let limit = Duration::from_secs(3_600);
    let f = f.with_queue(QueuePolicy { abandon_after: limit, ..retrying(1) }).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Patient")).await.unwrap();
    f.orchestrator.add_queue_item("Patient", named("p")).await.unwrap();
    let job = f.job().await;
    f.add_named("a").await;
    let overdue = f.take(job).await;
    let patient = ClaimRequest { queue: "Patient".into(), ..take(job, 1) };
    let patient =
        f.orchestrator.report_and_claim(Vec::new(), Some(patient)).await.claimed.unwrap().items.remove(0);
    let mut abandoned = 0;
    for _ in 0..145 {
        f.advance(25);
        f.orchestrator.beat(job).await.unwrap();
        abandoned += f.orchestrator.sweep().await.unwrap().abandoned;
    }
    assert_eq!(abandoned, 1);
    assert!(f.report(overdue.claim, ok()).await.unwrap_err().is_claim_lost());
    assert_eq!(f.report(patient.claim, ok()).await.unwrap(), Status::Successful);
}

async fn leases_survive_a_change_of_the_time_of_day(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.sweep_for(5).await;
    f.clock.set(f.after(3_600)); // somebody sets the clock an hour forward
    assert_eq!(f.sweep_for(24).await.jobs.len(), 0);
    f.orchestrator.beat(job).await.unwrap();
    f.clock.set(f.now() - Duration::from_secs(7_200)); // and back again, and more
    assert_eq!(f.sweep_for(29).await.jobs.len(), 0);
    f.orchestrator.beat(job).await.unwrap();
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
}

async fn no_job_is_lost_after_all_processes_were_suspended(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.sweep_for(5).await;
    f.advance(300); // the machine was suspended
    assert_eq!(f.sweep_for(29).await.jobs.len(), 0);
    f.orchestrator.beat(job).await.unwrap();
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
    assert_eq!(f.sweep_for(31).await.jobs, [job], "and a job that is really gone is found all the same");
}

async fn stop_requests_are_delivered_with_the_beat(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.orchestrator.stop_job(job, StopStrategy::SoftStop).await.unwrap();
    assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Stopping);
    f.orchestrator.stop_job(job, StopStrategy::Kill).await.unwrap();
    assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Terminating);
    f.orchestrator.end_job(job, JobState::Stopped.into()).await.unwrap();
    let ended = f.orchestrator.stop_job(job, StopStrategy::SoftStop).await.unwrap_err();
    assert_eq!((ended.kind(), ended.code()), (ErrorKind::Conflict, Some(ErrorCode::new(1658))));
    assert!(f.orchestrator.stop_job(some_job(), StopStrategy::Kill).await.unwrap_err().is_not_found());
}

async fn a_job_needs_a_queue_and_a_lease(f: Fixture) {
    assert!(f.orchestrator.start_job(new_job()).await.unwrap_err().is_not_found());
    let f = f.with_queue(retrying(1)).await;
    let zero = performer::model::job::NewJob { lease: Duration::ZERO, ..new_job() };
    assert_eq!(f.orchestrator.start_job(zero).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(f.orchestrator.beat(some_job()).await.unwrap_err().is_not_found());
    let longest = performer::model::job::NewJob { lease: Duration::MAX, ..new_job() };
    assert_eq!(f.orchestrator.start_job(longest).await.unwrap_err().kind(), ErrorKind::Invalid);
}

// T16, T17: edit and delete

async fn t16_a_new_item_can_be_edited(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let a = f.add(named("a").due_date(f.after(5))).await;
    f.add_named("b").await;
    let content = SpecificContent::new(&json!({"name": "new", "text": "x".repeat(2_000)})).unwrap();
    let edit = ItemEdit {
        priority: Some(Priority::Low),
        due_date: Some(None),
        defer_date: Some(Some(f.after(10))),
        progress: Some("edited".to_owned()),
        specific_content: Some(content.clone()),
    };
    let edited = f.orchestrator.edit_queue_item(a.id, edit).await.unwrap();
    assert_eq!(edited, f.item(a.id).await);
    assert_eq!(
        (edited.priority, edited.due_date, edited.defer_date),
        (Priority::Low, None, Some(f.after(10)))
    );
    assert_eq!((edited.progress.as_deref(), &edited.specific_content), (Some("edited"), &content));
    assert!(edited.row_version > a.row_version);
    assert_eq!(f.take_all(job).await, ["b"]);
    let undefer = ItemEdit { defer_date: Some(None), ..ItemEdit::default() };
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

async fn t17_deleted_items_stay_readable_and_their_claims_are_void(f: Fixture) {
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

// T18 to T22: reviews

async fn t18_to_t20_reviews_move_as_documented(f: Fixture) {
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

async fn t21_a_manual_retry_makes_one_copy(f: Fixture) {
    let f = f.with_queue(QueuePolicy { max_number_of_retries: 1, ..unique() }).await;
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

async fn t22_a_reviewer_is_set_and_cleared(f: Fixture) {
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

// T23, T24: retention and purge

const DAY: u64 = 86_400;

async fn t23_a_chain_is_removed_as_a_whole_when_all_of_it_is_old(f: Fixture) {
    let policy = QueuePolicy { retention_days: 2, stale_retention_days: 5, ..retrying(1) };
    let f = f.with_queue(policy).await;
    let job = f.job().await;
    let done = f.add_named("done").await;
    let retried = f.add_named("retried").await;
    f.perform(job, ok()).await;
    f.perform(job, application("down")).await; // its copy waits
    f.orchestrator.add_comment(done.id, Person::default(), "soon gone".to_owned()).await.unwrap();
    f.add_named("waiting").await;
    f.advance(2 * DAY);
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 0);
    f.advance(1);
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 1, "the finished chain alone");
    assert!(f.orchestrator.get_queue_item(done.id).await.unwrap_err().is_not_found());
    assert_eq!(f.orchestrator.processing_history(retried.id).await.unwrap().len(), 2);
    f.check_statistics().await;
    f.advance(3 * DAY);
    assert_eq!(
        f.orchestrator.apply_retention(1).await.unwrap(),
        2,
        "a chain is not torn, whatever the limit"
    );
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 1);
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 0);
    assert!(f.list(ItemFilter::default()).await.is_empty());
    f.check_statistics().await;
    let next = f.add_named("next").await;
    assert!(next.id > retried.id, "a number is never given again");
}

/// Many old items that have to be kept are before the one to remove: it is found, chunk by chunk.
async fn t23_retention_scans_kept_items_in_chunks(f: Fixture) {
    let policy = QueuePolicy { retention_days: 2, stale_retention_days: 5, ..retrying(1) };
    let f = f.with_queue(policy).await;
    let job = f.job().await;
    let items = (0..2_100).map(|n| named(&n.to_string())).collect();
    let added = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(added.added, 2_100);
    let done = f.add_named("done").await;
    let reference = Some(ReferenceFilter::Equals("done".to_owned()));
    let claimed = look(&f, ClaimRequest { reference, ..take(job, 1) }).await.items.remove(0);
    f.report(claimed.claim, ok()).await.unwrap();
    f.advance(3 * DAY);
    assert_eq!(f.orchestrator.apply_retention(10).await.unwrap(), 1);
    assert!(f.orchestrator.get_queue_item(done.id).await.unwrap_err().is_not_found());
    assert_eq!(f.orchestrator.apply_retention(10).await.unwrap(), 0);
    assert_eq!(f.orchestrator.queue_statistics(QUEUE).await.unwrap().new, 2_100);
    f.advance(3 * DAY);
    assert_eq!(f.orchestrator.apply_retention(30).await.unwrap(), 30, "and no more than were asked for");
}

/// A clock that is ahead makes everything old, but nothing is removed.
async fn t23_nothing_is_removed_by_a_clock_that_is_ahead(f: Fixture) {
    let f = f.with_queue(QueuePolicy { retention_days: 2, stale_retention_days: 5, ..retrying(0) }).await;
    let job = f.job().await;
    f.add_named("done").await;
    f.perform(job, ok()).await;
    f.add_named("waiting").await;
    let removed = async || f.orchestrator.apply_retention(100).await.unwrap();
    f.advance(2 * 3_600);
    assert_eq!(removed().await, 0, "nothing is old");
    // The clock is set, and set right again.
    let right = f.now();
    f.clock.set(f.after(200 * DAY));
    assert_eq!(removed().await, 0);
    f.advance(50 * 60);
    assert_eq!(removed().await, 0, "not within the hour");
    f.clock.set(right + Duration::from_secs(50 * 60));
    f.advance(3 * 3_600);
    assert_eq!(removed().await, 0, "nor when it is right again");
    // Two days pass while the clock is ahead: the age is that of the monotone clock.
    f.clock.set(f.after(200 * DAY));
    assert_eq!(removed().await, 0);
    f.clock.set(f.now() - Duration::from_secs(200 * DAY));
    f.advance(2 * DAY);
    assert_eq!(removed().await, 1, "what was done two days ago, and a bit");
    // A jump that lasts is believed.
    f.clock.set(f.after(200 * DAY));
    assert_eq!(removed().await, 0);
    f.advance(3_600);
    assert_eq!(removed().await, 1);
    assert!(f.list(ItemFilter::default()).await.is_empty());
}

/// As above, for items that are InProgress: a jump does not end their attempts.
async fn t15_nothing_is_overdue_by_a_clock_that_is_ahead(f: Fixture) {
    let limit = Duration::from_secs(6 * 3_600);
    let f = f.with_queue(QueuePolicy { abandon_after: limit, ..retrying(1) }).await;
    let job = f.job().await;
    f.add_named("a").await;
    let held = f.take(job).await;
    let sweep = async || {
        f.orchestrator.beat(job).await.unwrap();
        f.orchestrator.sweep().await.unwrap().abandoned
    };
    let pass = async |minutes: u64| {
        let mut abandoned = 0;
        for _ in 0..minutes * 3 {
            f.advance(20);
            abandoned += sweep().await;
        }
        abandoned
    };
    assert_eq!(pass(70).await, 0);
    f.clock.set(f.after(DAY));
    assert_eq!(pass(30).await, 0);
    f.clock.set(f.now() - Duration::from_secs(DAY));
    assert_eq!(pass(10).await, 0);
    assert_eq!(f.item(held.item.id).await.status, Status::InProgress);
    assert_eq!(pass(4 * 60 + 15).await, 1, "six hours after it was taken");
}

/// A clock that was ahead has made deferred items ready; when it is right again they wait, and do not block others.
async fn items_that_came_due_while_the_clock_was_ahead_are_deferred_again(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    for name in ["first", "second", "third"] {
        f.add(named(name).priority(Priority::High).defer_date(f.after(3_600))).await;
    }
    let right = f.now();
    f.clock.set(f.after(7_200));
    assert_eq!(f.take(job).await.item.reference.as_deref(), Some("first"));
    f.clock.set(right);
    f.add_named("now").await;
    assert_eq!(f.take_all(job).await, ["now"], "and not what is deferred");
    f.advance(3_601);
    let job = f.job().await;
    assert_eq!(f.take_all(job).await, ["second", "third"]);
    f.check_statistics().await;
}

async fn t23_a_report_on_a_removed_item_is_a_lost_claim(f: Fixture) {
    let f = f.with_queue(QueuePolicy { retention_days: 1, ..retrying(0) }).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.orchestrator.end_job(job, JobState::Faulted.into()).await.unwrap();
    f.advance(DAY + 1);
    assert_eq!(f.orchestrator.apply_retention(10).await.unwrap(), 1);
    assert!(f.report(claimed.claim, ok()).await.unwrap_err().is_claim_lost());
}

async fn t24_content_of_finished_items_can_be_blanked(f: Fixture) {
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

// Reading

async fn large_content_survives_every_transition(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let content = json!({"t": "ü".repeat(100_000)});
    let added = f.add(NewQueueItem::new(&content)).await;
    let claimed = f.take(job).await;
    assert_eq!(claimed.item.specific_content.to_value(), content);
    f.report(claimed.claim, application("down")).await.unwrap();
    let copy = f.take(job).await;
    assert_eq!(copy.item.specific_content, added.specific_content);
    f.report(copy.claim, ok()).await.unwrap();
    assert_eq!(f.item(copy.item.id).await.specific_content, added.specific_content);
}

async fn lists_are_filtered(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    f.orchestrator.add_queue_item("Other", named("other")).await.unwrap();
    let job = f.job().await;
    for reference in ["ok", "business", "application", "last"] {
        f.add_named(reference).await;
    }
    f.perform(job, ok()).await;
    f.perform(job, business("wrong")).await;
    let application = f.perform(job, application("down")).await;
    f.advance(60);
    let late = f.add(named("late").priority(Priority::High)).await;
    let review = vec![ItemVersion { id: ItemId(3), row_version: f.item(ItemId(3)).await.row_version }];
    assert!(f.orchestrator.set_review_status(ReviewStatus::InReview, review).await.unwrap().is_empty());

    let found = async |filter: ItemFilter| {
        let items = f.list(filter).await;
        items.iter().map(|item| item.reference.clone().unwrap()).collect::<Vec<_>>()
    };
    let all = ItemFilter::default;
    let of_queue = ItemFilter { queue: Some("invoices".to_owned()), ..all() };
    assert_eq!(found(all()).await.len(), 7);
    assert_eq!(found(of_queue.clone()).await.len(), 6);
    assert_eq!(
        found(ItemFilter { status: vec![Status::Successful, Status::Failed], ..all() }).await,
        ["ok", "business"]
    );
    assert_eq!(
        found(ItemFilter { status: vec![Status::New], ..of_queue.clone() }).await,
        ["last", "application", "late"]
    );
    assert_eq!(
        found(ItemFilter { review_status: vec![ReviewStatus::InReview], ..all() }).await,
        ["business"]
    );
    assert_eq!(found(ItemFilter { priority: Some(Priority::High), ..all() }).await, ["late"]);
    assert_eq!(
        found(ItemFilter { key: Some(application.key), ..all() }).await,
        ["application", "application"]
    );
    let by_type = |kind| ItemFilter { exception_type: Some(kind), ..all() };
    assert_eq!(found(by_type(ExceptionType::BusinessException)).await, ["business"]);
    assert_eq!(found(by_type(ExceptionType::ApplicationException)).await, ["application"]);
    let named = |filter| ItemFilter { reference: Some(filter), ..all() };
    assert_eq!(found(named(ReferenceFilter::StartsWith("la".to_owned()))).await, ["last", "late"]);
    assert_eq!(found(named(ReferenceFilter::Equals("la".to_owned()))).await, [""; 0]);
    assert_eq!(found(ItemFilter { created_from: Some(late.creation_time), ..all() }).await, ["late"]);
    assert_eq!(found(ItemFilter { created_before: Some(late.creation_time), ..of_queue }).await.len(), 5);
    let unknown = ItemFilter { queue: Some("Nowhere".to_owned()), ..all() };
    assert!(f.orchestrator.list_queue_items(unknown, Page::default()).await.unwrap_err().is_not_found());
}

/// For any condition and order, a store gives the same list as the condition evaluated item by item.
async fn lists_answer_any_condition_as_the_model_does(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    for number in 0..12_u8 {
        let mut item = NewQueueItem::new(json!({ "n": number }));
        if number % 3 > 0 {
            let name = ["INV", "Überw", "ØRSTED", "İßΣς"][usize::from(number % 4)];
            item = item.reference(format!("{name}-{}", number % 5));
        }
        if number % 4 == 0 {
            item = item.due_date(f.after(60 * u64::from(number)));
        }
        f.add(item.priority(Priority::ALL[usize::from(number % 3)])).await;
        f.advance(7);
    }
    let job = f.job().await;
    for (number, taken) in f.take_many(job, 8).await.into_iter().enumerate() {
        let result = [ok(), business("no"), application("down"), postponed(f.after(99))][number % 4].clone();
        if number < 7 {
            f.report(taken.claim, result).await.unwrap();
        } else {
            f.orchestrator.set_transaction_progress(taken.claim, "INV: half-1".to_owned()).await.unwrap();
        }
        f.advance(7);
    }
    let all = f.list(ItemFilter::default()).await;
    assert!(all.len() > 12, "there are retries among them");
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..400 {
        let condition = any_condition(&mut random, &all, 3);
        let order: Vec<Order> = (0..random.usize(..3))
            .map(|_| Order { field: *random.choice(Field::ALL).unwrap(), descending: random.bool() })
            .collect();
        let mut expected: Vec<_> = all.iter().filter(|item| condition.holds(item)).cloned().collect();
        expected.sort_by(|a, b| query::compare(&order, a, b));
        let filter =
            ItemFilter { condition: Some(condition.clone()), order: order.clone(), ..ItemFilter::default() };
        let page = f.orchestrator.list_queue_items(filter, Page::default()).await.unwrap();
        let ids = |items: &[QueueItem]| items.iter().map(|item| item.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&page.items), ids(&expected), "{condition:?} by {order:?}");
        assert_eq!(page.count, expected.len() as u64);
    }
}

/// A condition on values that the items have, or nearly have.
fn any_condition(random: &mut fastrand::Rng, items: &[QueueItem], depth: u32) -> Condition {
    let inner = |random: &mut fastrand::Rng| -> Vec<Condition> {
        (0..random.usize(..4)).map(|_| any_condition(random, items, depth - 1)).collect()
    };
    match random.u32(..if depth == 0 { 6 } else { 10 }) {
        6 => Condition::Not(Box::new(any_condition(random, items, depth - 1))),
        7 | 8 => Condition::All(inner(random)),
        9 => Condition::Any(inner(random)),
        5 => {
            let texts = [
                "",
                "INV",
                "-1",
                "Überw-",
                "Ü",
                "x'; DROP TABLE item; --",
                "%",
                "inv",
                "ørsted-",
                "ßσ",
                "İ",
                "i",
                "Σ",
                "SS",
            ];
            let matching = [TextMatch::Contains, TextMatch::StartsWith, TextMatch::EndsWith];
            let field = if random.bool() { Field::Reference } else { Field::Progress };
            let text = (*random.choice(&texts).unwrap()).to_owned();
            let matching = *random.choice(&matching).unwrap();
            match random.u32(..4) {
                0 => {
                    let case = *random.choice(&[Case::Lower, Case::Upper]).unwrap();
                    Condition::CaseText(field, case, matching, case.of(&text))
                }
                1 => {
                    let case = *random.choice(&[Case::Lower, Case::Upper]).unwrap();
                    let comparison =
                        *random.choice(&[Comparison::Equal, Comparison::GreaterOrEqual]).unwrap();
                    let text = if random.bool() { case.of(&text) } else { text };
                    Condition::CaseCompare(field, case, comparison, text)
                }
                _ => Condition::Text(field, matching, text),
            }
        }
        _ => {
            let field = *random.choice(Field::ALL).unwrap();
            let of_some = field.of(random.choice(items).unwrap());
            let value = if random.u32(..5) == 0 { Value::Null } else { of_some };
            let comparisons = [
                Comparison::Equal,
                Comparison::NotEqual,
                Comparison::Less,
                Comparison::LessOrEqual,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
            ];
            Condition::Compare(field, *random.choice(&comparisons).unwrap(), value)
        }
    }
}

async fn lists_come_in_pages(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let items = (0..250).map(|n| named(&n.to_string())).collect();
    assert_eq!(
        f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed,
        []
    );
    let page = async |page: Page| f.orchestrator.list_queue_items(ItemFilter::default(), page).await.unwrap();
    let mut read = Vec::new();
    loop {
        let found = page(Page { skip: read.len(), ..Page::default() }).await;
        assert_eq!(found.count, 250);
        if found.items.is_empty() {
            break;
        }
        assert!(found.items.len() <= PAGE_LIMIT);
        read.extend(found.items.into_iter().map(|item| item.id));
    }
    assert_eq!(read.len(), 250);
    assert!(read.is_sorted());
    let newest = page(Page { top: 2, descending: true, ..Page::default() }).await;
    assert_eq!(newest.items.iter().map(|item| item.id).collect::<Vec<_>>(), [read[249], read[248]]);
    assert_eq!(page(Page { top: 0, ..Page::default() }).await.items.len(), 0);
    let large = Page { top: PAGE_LIMIT + 1, ..Page::default() };
    let error = f.orchestrator.list_queue_items(ItemFilter::default(), large).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::INVALID_REQUEST)));
}

async fn every_transition_has_one_event(f: Fixture) {
    use EventAction::{Create, Delete, Edit, Retry, Status as Moved};
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let a = f.add_named("a").await;
    f.advance(1);
    f.orchestrator
        .edit_queue_item(a.id, ItemEdit { priority: Some(Priority::High), ..ItemEdit::default() })
        .await
        .unwrap();
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

async fn comments_belong_to_their_authors(f: Fixture) {
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
async fn many_comments_are_all_there_once(f: Fixture) {
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

async fn a_wait_ends_when_an_item_is_added_or_given_back(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let seen =
        async || f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    let long = Duration::from_secs(600);

    let empty = seen().await;
    f.add_named("a").await; // before the wait begins: the wait still sees it
    f.orchestrator.wait_for_items(QUEUE, empty.seen, long).await;
    let claim = seen().await.items[0].claim;

    let empty = seen().await;
    let orchestrator = f.orchestrator.clone();
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    f.report(claim, TransactionResult::GivenBack).await.unwrap();
    waiting.await.unwrap();
    assert!(f.try_take(job).await.is_some());

    // Without any change it ends at its time limit.
    let empty = seen().await;
    f.orchestrator.wait_for_items(QUEUE, empty.seen, Duration::from_millis(1)).await;
}

async fn an_add_wakes_only_those_who_wait_for_its_queue(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let job = f.job().await;
    let wait = |queue: &'static str, seen| {
        let orchestrator = f.orchestrator.clone();
        tokio::spawn(async move { orchestrator.wait_for_items(queue, seen, Duration::from_secs(600)).await })
    };
    let here = wait(QUEUE, look(&f, take(job, 1)).await.seen);
    for n in 0..10 {
        let seen = look(&f, ClaimRequest { queue: "Other".into(), ..take(job, 1) }).await.seen;
        let other = wait("Other", seen);
        f.orchestrator.add_queue_item("Other", named(&n.to_string())).await.unwrap();
        other.await.unwrap();
    }
    assert!(!here.is_finished(), "nothing was added to its queue");
    f.add_named("a").await;
    here.await.unwrap();
    // Changes of the queue end it too: of its name, of its limits, its deletion.
    let seen = look(&f, take(job, 5)).await.seen;
    let waiting = wait(QUEUE, seen);
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    waiting.await.unwrap();
}

// Limits, and robots

/// The whole answer of a claim.
async fn look(f: &Fixture, take: ClaimRequest) -> ClaimedItems {
    f.orchestrator.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap()
}

async fn limit(f: &Fixture, edit: LimitsEdit) -> QueueLimits {
    f.orchestrator.edit_queue_limits(QUEUE, edit).await.unwrap().limits
}

async fn nothing_is_claimed_from_a_paused_queue_until_it_is_resumed(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let running = f.take(job).await;
    f.add_named("b").await;
    let pause = |paused| LimitsEdit { paused: Some(paused), ..LimitsEdit::default() };
    assert!(limit(&f, pause(true)).await.paused);

    let held_back = look(&f, take(job, 5)).await;
    assert!(
        held_back.items.is_empty() && held_back.withheld.is_some(),
        "there is something, and it is known"
    );
    let added = f.orchestrator.add_and_start_transaction(take(job, 1), named("c")).await.unwrap_err();
    assert_eq!((added.kind(), added.code()), (ErrorKind::Conflict, Some(ErrorCode::UNAVAILABLE_RESOURCES)));
    // Running attempts continue, and added items wait.
    f.report(running.claim, ok()).await.unwrap();
    f.add_named("d").await;
    assert!(f.try_take(job).await.is_none());

    // Waiting callers are woken.
    let empty = look(&f, take(job, 1)).await;
    let (orchestrator, long) = (f.orchestrator.clone(), Duration::from_secs(3_600));
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    assert!(limit(&f, pause(false)).await.is_none());
    waiting.await.unwrap();
    assert_eq!(f.take_all(job).await, ["b", "d"]);
    let really_empty = look(&f, take(job, 1)).await;
    assert!(really_empty.withheld.is_none());
    limit(&f, pause(true)).await;
    assert!(look(&f, take(job, 1)).await.withheld.is_none(), "nothing is held back where nothing is");
    f.check_statistics().await;
}

async fn no_more_items_are_in_progress_than_the_limit_allows(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let (one, other) = (f.job().await, f.job().await);
    for name in ["a", "b", "c", "d", "e"] {
        f.add_named(name).await;
    }
    let most = |most| LimitsEdit { max_in_progress: Some(most), ..LimitsEdit::default() };
    assert_eq!(limit(&f, most(Some(3))).await.max_in_progress, Some(3));
    let first = f.take_many(one, 2).await;
    let second = look(&f, take(other, 5)).await;
    assert_eq!((first.len(), second.items.len()), (2, 1), "whoever takes them, and however many");
    assert!(second.withheld.is_some());
    assert!(f.try_take(one).await.is_none());

    // A result frees a place for a claim in the same call; so does an item that is given back.
    let report = Report { claim: first[0].claim, result: ok(), progress: None };
    let next = f.orchestrator.report_and_claim(vec![report], Some(take(one, 5))).await.claimed.unwrap();
    let references: Vec<_> = next.items.iter().map(|claimed| claimed.item.reference.as_deref()).collect();
    assert_eq!(references, [Some("d")]);
    let empty = look(&f, take(other, 1)).await;
    let (orchestrator, long) = (f.orchestrator.clone(), Duration::from_secs(3_600));
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    f.report(first[1].claim, business("no")).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(f.take(other).await.item.reference.as_deref(), Some("e"));

    // A lowered limit ends no attempt; a lifted one blocks nothing.
    limit(&f, most(Some(1))).await;
    f.add_named("f").await;
    f.report(next.items[0].claim, ok()).await.unwrap();
    assert!(f.try_take(one).await.is_none(), "two are left of one");
    let refused = f.orchestrator.edit_queue_limits(QUEUE, most(Some(0))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(limit(&f, most(None)).await.is_none());
    assert_eq!(f.take(one).await.item.reference.as_deref(), Some("f"));
    f.check_statistics().await;
}

/// A call that ends items and claims the next ones gets as many as the limit allows then, the first ones, however many
/// were wanted and allowed before.
async fn reports_and_claims_together_keep_the_limit_and_the_order(f: Fixture) {
    const ITEMS: usize = 60;
    let f = f.with_queue(retrying(1)).await;
    for name in 0..ITEMS {
        f.add_named(&name.to_string()).await;
    }
    let (job, mut held, mut next) = (f.job().await, Vec::new(), 0);
    for (round, most) in [1, 3, 3, 3, 3, 12, 12, 2, 2, 2, 9, 9, 100, 100].into_iter().enumerate() {
        limit(&f, LimitsEdit { max_in_progress: Some(Some(most)), ..LimitsEdit::default() }).await;
        let most = usize::try_from(most).unwrap();
        for wanted in [1, 2, 20] {
            let ended = held.drain(..held.len().div_ceil(2));
            let reports = ended.map(|claim| Report { claim, result: ok(), progress: None }).collect();
            let answer = f.orchestrator.report_and_claim(reports, Some(take(job, wanted))).await;
            assert!(answer.reports.iter().all(Result::is_ok));
            let taken = answer.claimed.unwrap();
            let allowed = most.saturating_sub(held.len()).min(wanted).min(ITEMS - next);
            let references: Vec<_> =
                taken.items.iter().map(|claimed| claimed.item.reference.clone()).collect();
            let expected: Vec<_> = (next..next + allowed).map(|name| Some(name.to_string())).collect();
            assert_eq!(references, expected, "round {round}, {wanted} wanted, {} held", held.len());
            next += allowed;
            assert_eq!(taken.withheld.is_some(), allowed < wanted && next < ITEMS, "round {round}");
            held.extend(taken.items.iter().map(|claimed| claimed.claim));
        }
    }
    assert_eq!(next, ITEMS);
    f.check_statistics().await;
}

async fn concurrent_claims_do_not_exceed_the_limit(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    for name in 0..60 {
        f.add_named(&name.to_string()).await;
    }
    limit(&f, LimitsEdit { max_in_progress: Some(Some(3)), ..LimitsEdit::default() }).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut robots = Vec::new();
    for _ in 0..8 {
        let (orchestrator, running, most) = (f.orchestrator.clone(), running.clone(), most.clone());
        let job = f.job().await;
        robots.push(tokio::spawn(async move {
            let mut done = 0;
            loop {
                let answer = orchestrator.report_and_claim(Vec::new(), Some(take(job, 2))).await;
                let taken = answer.claimed.unwrap();
                if taken.items.is_empty() && taken.withheld.is_none() {
                    return done;
                }
                let now = running.fetch_add(taken.items.len(), Ordering::SeqCst) + taken.items.len();
                most.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                for claimed in taken.items {
                    running.fetch_sub(1, Ordering::SeqCst);
                    let report = Report { claim: claimed.claim, result: ok(), progress: None };
                    orchestrator.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
                    done += 1;
                }
            }
        }));
    }
    let mut done = 0;
    for robot in robots {
        done += robot.await.unwrap();
    }
    assert_eq!(done, 60);
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?} were in progress");
    f.check_statistics().await;
}

async fn no_more_items_are_started_in_a_window_than_the_limit_allows(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        f.add_named(name).await;
    }
    let most = MaxStarts { count: 3, per: Duration::from_secs(60) };
    let edit = LimitsEdit { max_starts: Some(Some(most)), ..LimitsEdit::default() };
    assert_eq!(limit(&f, edit).await.max_starts, Some(most));
    let first = f.take_many(job, 2).await;
    for claimed in first {
        f.report(claimed.claim, ok()).await.unwrap();
    }
    f.advance(30);
    assert_eq!(f.take_all(job).await, ["c"], "what has ended was started all the same");
    let held_back = look(&f, take(job, 1)).await;
    let wait = held_back.withheld.unwrap();
    assert!(wait > Duration::from_secs(29) && wait < Duration::from_secs(32), "{wait:?}");
    f.advance(32);
    assert_eq!(f.take_all(job).await, ["d", "e"]);
    f.advance(30);
    // An item that is added and claimed at once counts too.
    let started = f.orchestrator.add_and_start_transaction(take(job, 1), named("x")).await.unwrap();
    f.report(started.claim, ok()).await.unwrap();
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

async fn limits_are_kept_when_a_queue_is_updated(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let most = MaxStarts { count: 5, per: Duration::from_secs(90) };
    let edit =
        LimitsEdit { paused: Some(true), max_in_progress: Some(Some(7)), max_starts: Some(Some(most)) };
    let limits = limit(&f, edit).await;
    let changed = NewQueueDefinition::new(QUEUE).policy(retrying(3));
    assert_eq!(f.orchestrator.update_queue(QUEUE, changed).await.unwrap().limits, limits);
    let queue = f.orchestrator.get_queue(QUEUE).await.unwrap();
    assert_eq!((queue.policy.max_number_of_retries, &queue.limits), (3, &limits));
    assert_eq!(f.orchestrator.list_queues().await.unwrap()[0].limits, limits);
    let resume = LimitsEdit { paused: Some(false), ..LimitsEdit::default() };
    assert_eq!(limit(&f, resume).await, QueueLimits { paused: false, ..limits });
    let missing = f.orchestrator.edit_queue_limits("Nowhere", LimitsEdit::default()).await.unwrap_err();
    assert!(missing.is_not_found());
}

async fn robots_are_listed_with_their_items(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let two = performer::model::job::NewJob { robots: 2, machine: "mill".to_owned(), ..new_job() };
    let job = f.orchestrator.start_job(two).await.unwrap();
    f.add_named("a").await;
    f.advance(5);
    let claimed = look(&f, ClaimRequest { robot: Some(2), ..take(job, 1) }).await.items.remove(0);
    let robots = f.orchestrator.list_robots().await.unwrap();
    let shown: Vec<_> =
        robots.iter().map(|r| (r.number, r.state, r.item, r.reference.as_deref(), r.since)).collect();
    let started = f.orchestrator.list_jobs(1).await.unwrap()[0].start_time;
    let busy = (2, RobotState::Busy, Some(claimed.item.id), Some("a"), f.now());
    assert_eq!(shown, [(1, RobotState::Available, None, None, started), busy]);

    f.advance(31);
    let states: Vec<_> = f.orchestrator.list_robots().await.unwrap().iter().map(|r| r.state).collect();
    assert_eq!(states, [RobotState::Disconnected; 2], "nobody has heard of them for their lease");
    assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Running);
    f.report(claimed.claim, ok()).await.unwrap();

    let figures = JobFigures { successful: 1, busy: Duration::from_millis(1_500), ..JobFigures::default() };
    let end = JobEnd { figures: Some(figures.clone()), ..JobState::Successful.into() };
    f.orchestrator.end_job(job, end).await.unwrap();
    let ended = f.orchestrator.list_jobs(1).await.unwrap().remove(0);
    assert_eq!((ended.about.machine.as_str(), ended.figures), ("mill", Some(figures)));
    assert!(f.orchestrator.list_robots().await.unwrap().is_empty());
}

/// Runs every test of the suite against one back end.
macro_rules! suite {
    ($backend:ident: $($test:ident),+ $(,)?) => {
        mod $backend {
            use super::support::Fixture;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(Fixture::$backend().await).await;
                }
            )+
        }
    };
}

macro_rules! every_backend {
    ($($test:ident),+ $(,)?) => {
        suite!(memory: $($test),+);
        #[cfg(feature = "sqlite")]
        suite!(sqlite: $($test),+);
        #[cfg(feature = "postgres")]
        suite!(postgres: $($test),+);
        #[cfg(feature = "server")]
        suite!(http: $($test),+);
    };
}

every_backend!(
    queues_are_created_changed_and_deleted,
    items_of_a_deleted_queue_are_neither_claimed_nor_found,
    items_of_a_deleted_queue_cannot_be_changed,
    a_deleted_queue_is_hidden_at_once_and_emptied_by_sweeps,
    many_items_are_deleted_in_chunks,
    t1_an_item_is_stored_as_it_was_added,
    any_accepted_time_can_be_read_and_its_item_claimed,
    numbers_keep_all_their_digits,
    t1_invalid_items_are_refused_and_change_nothing,
    t1_a_unique_reference_is_accepted_once,
    t1_of_concurrent_adds_of_one_reference_exactly_one_succeeds,
    t1_bulk_adds_follow_their_commit_type,
    t2_an_item_is_added_and_claimed_at_once,
    t3_items_are_claimed_in_the_documented_order,
    t3_many_items_are_claimed_in_the_same_order_as_one_by_one,
    t3_a_deferred_item_keeps_its_place_in_the_order,
    t3_a_reference_filter_claims_only_matching_items,
    t3_two_robots_never_get_the_same_item,
    t3_a_job_that_has_ended_claims_nothing,
    t4_a_success_is_recorded_with_its_output_and_last_progress,
    t5_a_business_exception_is_never_retried,
    t6_an_application_exception_is_retried_behind_everything_that_waits,
    t6_a_retry_may_be_deferred,
    t6_a_changed_policy_applies_from_then_on,
    t7_without_retries_or_without_an_exception_the_item_fails,
    t8_a_postponed_item_comes_back_at_its_time_and_uses_no_retry,
    t8_a_defer_date_in_the_past_is_refused_and_the_claim_holds,
    t9_an_item_that_is_given_back_is_as_if_never_claimed,
    t10_progress_is_recorded_while_the_claim_holds,
    t11_a_repeated_report_is_accepted_and_changes_nothing,
    t12_any_other_report_is_a_lost_claim_and_changes_nothing,
    t12_one_refused_report_affects_neither_the_others_nor_the_claim,
    t13_a_job_that_beats_keeps_its_items,
    t14_t15_a_job_that_does_not_beat_loses_its_items_and_its_reports_change_nothing,
    t14_the_end_of_a_job_abandons_what_it_still_holds,
    t15_abandoned_items_are_retried_where_the_queue_says_so,
    t15_an_item_in_progress_for_too_long_is_abandoned_even_if_its_job_is_alive,
    leases_survive_a_change_of_the_time_of_day,
    no_job_is_lost_after_all_processes_were_suspended,
    stop_requests_are_delivered_with_the_beat,
    a_job_needs_a_queue_and_a_lease,
    t16_a_new_item_can_be_edited,
    t17_deleted_items_stay_readable_and_their_claims_are_void,
    t18_to_t20_reviews_move_as_documented,
    t21_a_manual_retry_makes_one_copy,
    t22_a_reviewer_is_set_and_cleared,
    t23_a_chain_is_removed_as_a_whole_when_all_of_it_is_old,
    t23_retention_scans_kept_items_in_chunks,
    t23_nothing_is_removed_by_a_clock_that_is_ahead,
    t15_nothing_is_overdue_by_a_clock_that_is_ahead,
    items_that_came_due_while_the_clock_was_ahead_are_deferred_again,
    t23_a_report_on_a_removed_item_is_a_lost_claim,
    t24_content_of_finished_items_can_be_blanked,
    large_content_survives_every_transition,
    lists_are_filtered,
    lists_answer_any_condition_as_the_model_does,
    lists_come_in_pages,
    every_transition_has_one_event,
    comments_belong_to_their_authors,
    many_comments_are_all_there_once,
    a_wait_ends_when_an_item_is_added_or_given_back,
    an_add_wakes_only_those_who_wait_for_its_queue,
    nothing_is_claimed_from_a_paused_queue_until_it_is_resumed,
    no_more_items_are_in_progress_than_the_limit_allows,
    concurrent_claims_do_not_exceed_the_limit,
    reports_and_claims_together_keep_the_limit_and_the_order,
    no_more_items_are_started_in_a_window_than_the_limit_allows,
    limits_are_kept_when_a_queue_is_updated,
    robots_are_listed_with_their_items,
);
