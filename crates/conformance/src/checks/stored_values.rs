//! What is stored is read back unchanged: extreme times, numbers of any length, large content.

use std::time::Duration;

use jiff::Timestamp;
use performer::model::{
    ErrorCode, ExceptionType, ItemEdit, ItemFilter, NewQueueItem, Output, Priority, ProcessingException,
    QueueItem, SpecificContent, Status, StoredTime, TransactionResult, query::Comparison, query::Condition,
    query::Field, query::Order, query::Value,
};
use performer::orchestrator::{CommitType, ErrorKind};
use performer::{ApplicationException, Exception, FieldEdit, Performer};
use serde_json::json;

use crate::{Fixture, QUEUE, application, named, ok, retrying, take};

pub(crate) async fn any_accepted_time_can_be_read_and_its_item_claimed(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let o = &f.orchestrator;
    let job = f.job().await;
    for at in times() {
        // Added with it, edited to it, and deleted.
        let added = f.add(named("added").due_date(at).defer_date(at).risk_sla_date(at)).await;
        every_query_can_read(&f, &added).await;
        let edit = ItemEdit::default().due_date(at).defer_date(at);
        let edited = o.edit_queue_item(added.id, edit).await.unwrap();
        assert_eq!((edited.due_date, edited.defer_date), (added.due_date, added.defer_date), "{at}");
        every_query_can_read(&f, &edited).await;
        assert!(o.delete_queue_items(vec![edited.version()]).await.unwrap().is_empty(), "{at}");
        every_query_can_read(&f, &f.item(added.id).await).await;

        // Added with others, and added and claimed at once.
        let with_times = |name: &str| named(name).due_date(at).defer_date(at).risk_sla_date(at);
        let items = vec![with_times("first"), with_times("second")];
        let bulk = o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
        assert_eq!(bulk.added, 2, "{at}");
        let together = f.list(ItemFilter::default().status([Status::New])).await;
        assert_eq!(together.len(), 2, "{at}");
        for item in together {
            every_query_can_read(&f, &item).await;
            assert!(o.delete_queue_items(vec![item.version()]).await.unwrap().is_empty(), "{at}");
        }
        let started = o.add_and_start_transaction(take(job, 1), with_times("started")).await.unwrap();
        assert_eq!(started.item.due_date, added.due_date, "{at}");
        every_query_can_read(&f, &f.item(started.item.id).await).await;
        assert_eq!(f.report(started.claim, ok()).await.unwrap(), Status::Successful, "{at}");

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
                let edit = ItemEdit::default().defer_date(FieldEdit::Clear);
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

    // As a delay, which a performer adds to the time of its back end.
    let delayed = [f.add_named("postponed").await.id, f.add_named("retried").await.id];
    let performer = Performer::from_fn(QUEUE, |content: serde_json::Value, _| async move {
        Err::<(), Exception>(match content["name"].as_str() {
            Some("postponed") => Exception::postpone_for(Duration::MAX),
            _ => ApplicationException::new("down").retry_after(Duration::MAX).into(),
        })
    });
    let summary = performer.handle_signals(false).run_until_empty(o.clone()).await.unwrap();
    assert_eq!((summary.postponed, summary.retried), (1, 1));
    for id in delayed {
        let attempts = o.processing_history(id).await.unwrap();
        for attempt in &attempts {
            every_query_can_read(&f, &f.item(attempt.id).await).await;
        }
        let last = attempts.iter().find(|attempt| attempt.status == Status::New).unwrap();
        assert_eq!(last.defer_date, Some(StoredTime::LAST.timestamp()));
        assert!(o.delete_queue_items(vec![last.version()]).await.unwrap().is_empty());
    }
    o.delete_queue(QUEUE).await.unwrap();
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
        ItemFilter::default().queue(QUEUE).status([item.status]),
        ItemFilter::default().condition(
            item.due_date.map(|due| Condition::Compare(Field::DueDate, Comparison::Equal, Value::Time(due))),
        ),
        ItemFilter::default().order([Order { field: Field::DueDate, descending: true }]),
        ItemFilter::default().created_from(Timestamp::MIN).created_before(Timestamp::MAX),
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

/// Numbers with more digits than 64 bits hold, and texts that were truncated within a character.
pub(crate) async fn numbers_keep_all_their_digits(f: Fixture) {
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
    let edit = ItemEdit::default().specific_content(SpecificContent::from_json(JSON).unwrap());
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

pub(crate) async fn large_content_survives_every_transition(f: Fixture) {
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
