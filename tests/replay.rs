//! `testing::replay` and `Performer::shadow`: transactions on copies of recorded items, which nobody else notices.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::model::{Clock as _, ManualClock, TransactionResult};
use performer::orchestrator::Report;
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::testing::{self, DifferenceKind, ReplayError, Shadow, TestRun};
use performer::{ItemFilter, ItemId, JobKey, JobState, Page, QueueItem, ReferenceFilter};
use performer_conformance::{QUEUE, application, business, new_job, ok_with, start_of_time, take};
use serde_json::{Value, json};

/// A queue with a past: a robot that ends items as told, one a minute.
struct Past {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    job: JobKey,
}

impl Past {
    async fn new(retries: u32) -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let store = Arc::new(Store::memory_with_clock(clock.clone()));
        let policy = QueuePolicy::default().max_number_of_retries(retries);
        store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
        let job = store.start_job(new_job().lease(Duration::from_secs(86_400))).await.unwrap();
        Self { store, clock, job }
    }

    /// Adds an item with this reference, and ends it a minute later.
    async fn ended(&self, reference: &str, content: Value, result: TransactionResult) -> ItemId {
        self.store.add_queue_item(QUEUE, NewQueueItem::new(content).reference(reference)).await.unwrap();
        self.end(result).await
    }

    /// Claims an item, and ends it a minute later.
    async fn end(&self, result: TransactionResult) -> ItemId {
        let answer = self.store.report_and_claim(Vec::new(), Some(take(self.job, 1))).await;
        let claimed = answer.claimed.unwrap().items.remove(0);
        self.clock.advance(Duration::from_secs(60));
        let reports = vec![Report::new(claimed.claim, result)];
        let answer = self.store.report_and_claim(reports, None).await;
        answer.reports.into_iter().next().unwrap().unwrap();
        claimed.item.id
    }

    /// What there is to see of the queue.
    async fn visible(&self) -> (Vec<QueueItem>, String, String) {
        let items = self.store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items;
        let jobs = format!("{:?}", self.store.list_jobs(100).await.unwrap());
        let mut events = String::new();
        for item in &items {
            events += &format!("{:?}", self.store.item_events(item.id).await.unwrap());
        }
        (items, jobs, events)
    }
}

/// A performer of a function, and the items that it saw.
fn watched<R>(
    process: impl Fn(Value, TransactionItem) -> R + Clone + Send + Sync + 'static,
) -> (Performer, Arc<Mutex<Vec<QueueItem>>>)
where
    R: Future<Output = Result<Value, Exception>> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let saw = seen.clone();
    let performer = Performer::from_fn(QUEUE, move |content: Value, item: TransactionItem| {
        saw.lock().unwrap().push(item.queue_item().clone());
        process(content, item)
    });
    (performer.handle_signals(false), seen)
}

/// Puts the content through.
async fn echo(content: Value, _: TransactionItem) -> Result<Value, Exception> {
    Ok(content)
}

struct Echo;

#[async_trait]
impl Transaction for Echo {
    type Content = Value;
    type Output = Value;

    async fn process(&mut self, content: Value, _: &TransactionItem) -> Result<Value, Exception> {
        Ok(content)
    }
}

#[tokio::test]
async fn a_replay_sees_the_item_as_it_was_and_changes_nothing() {
    let past = Past::new(1).await;
    let now = start_of_time();
    let new = NewQueueItem::from_json(r#"{"amount":100.50,"number":"7"}"#)
        .reference("INV-7")
        .priority(Priority::High)
        .due_date(now + Duration::from_secs(600))
        .defer_date(now - Duration::from_secs(600));
    past.store.add_queue_item(QUEUE, new).await.unwrap();
    let original = past.end(application("the printer is off")).await;
    let retry = past.end(ok_with(&json!({"number": "7"}))).await;
    assert_ne!(original, retry);
    let before = past.visible().await;

    let (performer, seen) = watched(|_, item| async move {
        item.progress("printing");
        Ok(json!({ "queue": item.queue(), "retry": item.retry_number(), "reference": item.reference() }))
    });
    let replayed = TestRun::new(performer).replay(&*past.store, retry).await.unwrap();
    assert_eq!(past.visible().await, before);

    let recorded = past.store.get_queue_item(retry).await.unwrap();
    let saw = seen.lock().unwrap().remove(0);
    assert_eq!((saw.id, saw.key, saw.unique_key), (recorded.id, recorded.key, recorded.unique_key));
    assert_eq!((saw.specific_content, saw.priority), (recorded.specific_content.clone(), Priority::High));
    assert_eq!((saw.due_date, saw.defer_date), (recorded.due_date, recorded.defer_date));
    assert_eq!((saw.retry_number, saw.ancestor_id, saw.status), (1, Some(original), Status::InProgress));
    let output: Value = replayed.here.output();
    assert_eq!(output, json!({"queue": QUEUE, "retry": 1, "reference": "INV-7"}));
    assert_eq!((replayed.here.progress(), replayed.here.item().id), (Some("printing"), retry));
    assert_eq!((&replayed.recorded, replayed.here.summary.state), (&recorded, JobState::Successful));
}

#[tokio::test]
async fn an_item_that_is_deferred_or_failed_runs_at_once() {
    let past = Past::new(1).await;
    let far = start_of_time() + Duration::from_secs(100 * 365 * 86_400);
    let later = past.store.add_queue_item(QUEUE, NewQueueItem::new(json!({"a": 1})).defer_date(far));
    let later = later.await.unwrap().id;
    let (performer, seen) = watched(echo);
    let replayed = TestRun::new(performer).replay(&*past.store, later).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].defer_date, Some(far), "it is shown");
    let difference = replayed.differences().remove(0);
    assert_eq!(difference.kind, DifferenceKind::Outcome);
    assert_eq!(
        (difference.recorded.as_deref(), difference.here.as_deref()),
        (Some("New"), Some("Successful"))
    );

    // An attempt that was retried failed as this one does, which is not retried.
    let retried = past.ended("a", json!({"a": 2}), application("no paper")).await;
    let (performer, seen) = watched(|_, _| async { Err(ApplicationException::new("no paper").into()) });
    let replayed = TestRun::new(performer).replay(&*past.store, retried).await.unwrap();
    assert_eq!(replayed.recorded.status, Status::Retried);
    assert_eq!((seen.lock().unwrap().len(), replayed.differences()), (1, vec![]));
}

#[tokio::test]
async fn an_item_that_is_missing_is_an_error() {
    let past = Past::new(0).await;
    match testing::replay(&*past.store, ItemId(404), || Echo).await.unwrap_err() {
        ReplayError::NotRead(error) => assert!(error.is_not_found(), "{error}"),
        other => panic!("{other}"),
    }
    let performer = Performer::new("Elsewhere", || Echo);
    let error = performer.shadow(&*past.store, Shadow::last(1)).await.unwrap_err();
    assert!(error.to_string().contains("queue \"Elsewhere\" does not exist"), "{error}");
    let id = past.ended("a", json!({"a": 2}), business("no")).await;
    let performer = Performer::new(QUEUE, || Echo).robots(0);
    let error = TestRun::new(performer).replay(&*past.store, id).await.unwrap_err();
    assert!(error.to_string().contains("needs at least one robot"), "{error}");
}

#[tokio::test]
async fn differences_are_found_field_by_field() {
    let past = Past::new(0).await;
    let recorded = r#"{"same":1.50,"text":"ä","changed":1,"gone":true,"null":null}"#;
    let recorded = performer::Output::from_json(recorded).unwrap();
    let successful = TransactionResult::Successful { output: Some(recorded) };
    let (success, failure) = (
        past.ended("s", json!({}), successful).await,
        past.ended("f", json!({}), business("the customer is unknown")).await,
    );
    for (id, here, expected) in [
        (success, Ok(json!({"same": 1.5, "text": "ä", "changed": 1, "gone": true, "null": null})), vec![]),
        (
            success,
            Ok(json!({"same": 1.5, "text": "ae", "changed": 2, "new": 7})),
            vec![
                ("output missing", Some("gone"), Some("true"), None),
                ("output missing", Some("null"), Some("null"), None),
                ("output added", Some("new"), None, Some("7")),
                ("output changed", Some("changed"), Some("1"), Some("2")),
                ("output changed", Some("text"), Some("\"ä\""), Some("\"ae\"")),
            ],
        ),
        (
            success,
            Err(BusinessException::new("no").into()),
            vec![("outcome", None, Some("Successful"), Some("Failed, BusinessException: no"))],
        ),
        (
            success,
            Err(Exception::postpone_for(Duration::from_secs(60))),
            vec![("outcome", None, Some("Successful"), Some("Postponed"))],
        ),
        (failure, Err(BusinessException::new("the customer is unknown").into()), vec![]),
        (
            failure,
            Err(BusinessException::new("no customer").into()),
            vec![("reason", None, Some("the customer is unknown"), Some("no customer"))],
        ),
        (
            failure,
            Err(ApplicationException::new("down").into()),
            vec![(
                "outcome",
                None,
                Some("Failed, BusinessException: the customer is unknown"),
                Some("Failed, ApplicationException: down"),
            )],
        ),
    ] {
        let here = Arc::new(Mutex::new(Some(here)));
        let (performer, _) = watched(move |_, _| std::future::ready(here.lock().unwrap().take().unwrap()));
        let replayed = TestRun::new(performer).replay(&*past.store, id).await.unwrap();
        let differences = replayed.differences();
        let found: Vec<_> = differences
            .iter()
            .map(|d| (d.kind.to_string(), d.field.as_deref(), d.recorded.as_deref(), d.here.as_deref()))
            .collect();
        let expected: Vec<_> = expected.into_iter().map(|(k, f, r, h)| (k.to_owned(), f, r, h)).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_replay_is_shown_as_a_table_without_surprises() {
    let past = Past::new(0).await;
    let output = json!({"id": 7, "note": "a\nb\u{1b}[2J", "total": 10, "old": 1});
    let id = past.ended("INV-1", json!({"n": 1}), ok_with(&output)).await;
    let (performer, _) =
        watched(|_, _| async { Ok(json!({"id": 7, "note": "a\nb\u{1b}[2J", "total": 12.5, "new": 2})) });
    let shown = TestRun::new(performer).replay(&*past.store, id).await.unwrap().to_string();
    let first = format!("item {id}, reference INV-1, queue Invoices");
    let expected = [
        first.as_str(),
        "         recorded         here",
        "outcome  Successful       Successful",
        "new      -                2                output added",
        "old      1                -                output missing",
        "total    10               12.5             output changed",
        "id       7                7",
        "note     \"a\\nb\\u001b[2J\"  \"a\\nb\\u001b[2J\"",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "{shown}");

    let large: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("field {n} {}", "ü".repeat(50)), json!("x\ny"))).collect();
    let id = past.ended("large", json!({"n": 1}), ok_with(&Value::from(large))).await;
    let (performer, _) = watched(|_, _| async { Ok(json!("z".repeat(50_000))) });
    let replayed = TestRun::new(performer).replay(&*past.store, id).await.unwrap();
    assert_eq!(replayed.differences().len(), 501);
    let shown = replayed.to_string();
    assert!(shown.lines().count() < 50, "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    assert!(shown.ends_with("… and 461 more fields of the output"), "{shown}");
}

// Shadow runs

/// The references of the items that a shadow run takes.
async fn sampled(past: &Past, shadow: Shadow) -> Vec<String> {
    let (performer, seen) = watched(echo);
    let report = performer.shadow(&*past.store, shadow).await.unwrap();
    let seen = seen.lock().unwrap().iter().map(|item| item.reference.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(report.compared, seen.len() as u64);
    seen
}

#[tokio::test]
async fn a_sample_is_of_the_first_attempts_that_ended_last() {
    let past = Past::new(1).await;
    let content = |name: &str| json!({ "name": name });
    let ok = |name: &str| ok_with(&content(name));
    let since = past.clock.now();
    past.ended("INV-1", content("INV-1"), ok("INV-1")).await;
    past.ended("PAY-2", content("PAY-2"), business("no")).await;
    let removed = past.ended("INV-3", content("INV-3"), ok("INV-3")).await;
    let version = past.store.get_queue_item(removed).await.unwrap().version();
    let refused = past.store.delete_queue_items(vec![version]).await.unwrap();
    assert!(refused.is_empty());
    let middle = past.clock.now();
    // The first attempt is Retried, and the second one is no first attempt.
    past.ended("INV-4", content("INV-4"), application("down")).await;
    past.end(ok("INV-4")).await;
    // So is the copy that a person makes; the failure before it stays one.
    let failed = past.ended("INV-5", content("INV-5"), business("no")).await;
    let version = past.store.get_queue_item(failed).await.unwrap().version();
    let refused = past.store.set_review_status(performer::ReviewStatus::Retried, vec![version]);
    assert!(refused.await.unwrap().is_empty());
    past.end(ok("INV-5")).await;
    past.ended("INV-6", content("INV-6"), ok("INV-6")).await;
    past.store.add_queue_item(QUEUE, NewQueueItem::new(content("New")).reference("New")).await.unwrap();

    assert_eq!(sampled(&past, Shadow::last(100)).await, ["INV-1", "PAY-2", "INV-5", "INV-6"]);
    assert_eq!(sampled(&past, Shadow::last(2)).await, ["INV-5", "INV-6"]);
    assert_eq!(sampled(&past, Shadow::last(100).status([Status::Failed])).await, ["PAY-2", "INV-5"]);
    assert_eq!(sampled(&past, Shadow::last(100).ended_from(middle)).await, ["INV-5", "INV-6"]);
    assert_eq!(sampled(&past, Shadow::last(100).ended_before(middle)).await, ["INV-1", "PAY-2"]);
    assert_eq!(sampled(&past, Shadow::last(1).ended_from(since).ended_before(middle)).await, ["PAY-2"]);
    let invoices = ReferenceFilter::StartsWith("INV-".to_owned());
    assert_eq!(sampled(&past, Shadow::last(100).reference(invoices)).await, ["INV-1", "INV-5", "INV-6"]);

    let retried =
        Performer::new(QUEUE, || Echo).shadow(&*past.store, Shadow::last(1).status([Status::Retried]));
    let error = retried.await.unwrap_err();
    assert!(error.to_string().contains("Successful or Failed"), "{error}");
}

#[tokio::test]
async fn a_sample_is_read_in_pages() {
    let past = Past::new(0).await;
    for n in 0..250 {
        past.ended(&format!("INV-{n}"), json!({ "n": n }), ok_with(&json!({ "n": n }))).await;
    }
    let (performer, seen) = watched(echo);
    let report = performer.robots(8).shadow(&*past.store, Shadow::last(230)).await.unwrap();
    assert_eq!((report.compared, report.equal, report.different), (230, 230, 0));
    assert_eq!(report.exit_code(), ExitCode::SUCCESS);
    assert_eq!(report.to_string(), "queue Invoices: 230 compared, 230 equal, 0 different");
    let mut seen: Vec<_> = seen.lock().unwrap().iter().map(|item| item.id.0).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 230);
}

#[tokio::test]
async fn a_shadow_run_compares_and_changes_nothing() {
    let past = Past::new(0).await;
    past.ended("equal", json!({"amount": 1}), ok_with(&json!({"amount": 1.0, "at": "10:00"}))).await;
    let changed =
        past.ended("changed", json!({"amount": 2}), ok_with(&json!({"amount": 3, "at": "11:00"}))).await;
    past.ended("worded", json!({"amount": -1}), business("the amount is negative")).await;
    past.ended("fails", json!({"amount": 0}), ok_with(&json!({"amount": 0, "at": "12:00"}))).await;
    let before = past.visible().await;
    let new_rule = |content: Value, _: TransactionItem| async move {
        match content["amount"].as_i64().unwrap() {
            ..0 => Err(BusinessException::new("negative").into()),
            0 => Err(ApplicationException::new("cannot divide").into()),
            amount => Ok(json!({"amount": amount, "at": "now"})),
        }
    };
    let (performer, _) = watched(new_rule);
    let shadow = Shadow::last(10).ignore_output("at");
    let report = performer.robots(2).shadow(&*past.store, shadow.clone()).await.unwrap();
    assert_eq!(past.visible().await, before);

    assert_eq!((report.compared, report.equal, report.different), (4, 1, 3));
    let kinds: Vec<_> = report.by_kind.iter().map(|(kind, items)| (*kind, *items)).collect();
    let expected =
        [(DifferenceKind::Outcome, 1), (DifferenceKind::Reason, 1), (DifferenceKind::OutputChanged, 1)];
    assert_eq!(kinds, expected);
    let listed: Vec<_> = report.items.iter().map(|item| item.reference.as_deref().unwrap()).collect();
    assert_eq!((listed, report.items[0].id), (vec!["changed", "worded", "fails"], changed));
    assert_eq!((report.has_differences(), report.exit_code()), (true, ExitCode::from(3)));
    let shown = report.to_string();
    let first = "queue Invoices: 4 compared, 1 equal, 3 different (1 outcome, 1 reason, 1 output changed)";
    assert_eq!(shown.lines().next(), Some(first), "{shown}");
    assert_eq!(shown.lines().count(), 5, "{shown}");
    assert!(shown.contains("output changed: amount"), "{shown}");

    let written = serde_json::to_value(&report).unwrap();
    assert_eq!((&written["Different"], &written["ByKind"]["OutputChanged"]), (&json!(3), &json!(1)));
    let difference = json!({"Kind": "OutputChanged", "Field": "amount", "Recorded": "3", "Here": "2"});
    assert_eq!(written["Items"][0]["Differences"], json!([difference]));
    assert_eq!(written["Summary"]["Successful"], 2);

    let (performer, _) = watched(new_rule);
    let report = performer.shadow(&*past.store, shadow.ignore_reasons()).await.unwrap();
    assert_eq!((report.equal, report.by_kind.contains_key(&DifferenceKind::Reason)), (2, false));
}

#[tokio::test]
async fn a_report_is_bounded() {
    let past = Past::new(0).await;
    let fields: serde_json::Map<String, Value> = (0..30).map(|n| (format!("f{n}"), json!(n))).collect();
    let long = "x".repeat(40_000);
    for n in 0..4 {
        past.ended(&format!("INV-{n}"), json!({"n": n}), ok_with(&Value::from(fields.clone()))).await;
    }
    past.ended("long", json!({"n": 0}), ok_with(&json!({ "text": long }))).await;
    let (performer, _) = watched(|_, _| async { Ok(json!({"text": "y".repeat(40_000)})) });
    let report = performer.shadow(&*past.store, Shadow::last(10)).await.unwrap();
    let first = &report.items[0];
    assert_eq!((first.differences.len(), first.more_differences), (20, 11));
    let written = serde_json::to_string(&report).unwrap();
    assert!(written.len() < 20_000, "{}", written.len());
    let shown = report.to_string();
    assert!(shown.lines().count() < 60 && shown.lines().all(|line| line.chars().count() < 250), "{shown}");
    assert!(shown.ends_with("… and 75 more differences"), "{shown}");
}

/// The performer is what runs: its applications stay open over items, and its time limit and circuit breaker apply.
#[tokio::test(start_paused = true)]
async fn a_shadow_run_has_the_settings_of_the_performer() {
    let past = Past::new(0).await;
    for (reference, seconds) in [("quick", 1), ("slow", 100), ("also quick", 2)] {
        let output = json!({ "seconds": seconds });
        past.ended(reference, output.clone(), ok_with(&output)).await;
    }
    let slow = |content: Value, _: TransactionItem| async move {
        tokio::time::sleep(Duration::from_secs(content["seconds"].as_u64().unwrap())).await;
        Ok(content)
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let happened = events.clone();
    let (performer, seen) = watched(slow);
    let performer = performer
        .time_limit(Duration::from_secs(50))
        .on_event(move |event| happened.lock().unwrap().push(format!("{event:?}")));
    let report = performer.shadow(&*past.store, Shadow::last(10)).await.unwrap();
    assert_eq!((report.equal, report.different), (2, 1));
    assert_eq!(report.items[0].reference.as_deref(), Some("slow"));
    let here = report.items[0].differences[0].here.clone().unwrap();
    assert!(here.contains("time limit of 50s"), "{here}");
    // Once at the start and once after the failure, and not once an item.
    let count = |what: &str| events.lock().unwrap().iter().filter(|event| event.starts_with(what)).count();
    assert_eq!((count("ApplicationsOpened"), count("TransactionStarted")), (2, 3));
    // Events and logs name the recorded items.
    let first = seen.lock().unwrap()[0].id;
    let named = format!("item: {first:?}, outcome: Successful");
    assert!(events.lock().unwrap().iter().any(|event| event.contains(&named)), "{named}");

    let (performer, _) = watched(|_, _| async { Err(ApplicationException::new("no network").into()) });
    let report =
        performer.max_consecutive_exceptions(2).shadow(&*past.store, Shadow::last(10)).await.unwrap();
    assert_eq!((report.compared, report.not_compared.len()), (2, 1));
    assert_eq!((report.summary.state, report.exit_code()), (JobState::Faulted, ExitCode::FAILURE));
    let reason = &report.not_compared[0].reason;
    assert!(reason.contains("2 application exceptions in a row"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_shadow_run_that_is_stopped_says_what_it_did_not_compare() {
    let past = Past::new(0).await;
    for reference in ["a", "b", "c"] {
        past.ended(reference, json!({"n": 1}), ok_with(&json!({"n": 1}))).await;
    }
    let (performer, _) = watched(|content, item| async move {
        if item.reference() == Some("b") {
            std::future::pending::<()>().await;
        }
        Ok(content)
    });
    let stop = performer.stop_handle();
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stop.kill();
    };
    let (report, ()) = tokio::join!(performer.shadow(&*past.store, Shadow::last(10)), stopping);
    let report = report.unwrap();
    assert_eq!((report.compared, report.equal, report.not_compared.len()), (1, 1, 2));
    assert_eq!((report.summary.state, report.exit_code()), (JobState::Stopped, ExitCode::from(3)));
    assert!(report.to_string().contains("1 compared, 1 equal, 0 different, 2 not compared"), "{report}");
}

#[tokio::test]
async fn a_sample_without_items_is_equal() {
    let past = Past::new(0).await;
    let report = Performer::new(QUEUE, || Echo).handle_signals(false).shadow(&*past.store, Shadow::last(10));
    let report = report.await.unwrap();
    assert_eq!((report.compared, report.exit_code()), (0, ExitCode::SUCCESS));
}
