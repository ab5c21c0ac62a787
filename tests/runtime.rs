//! The runtime: REFramework's order, failures, stop and kill, leases, and what is told about it.
//!
//! Time is tokio's and paused, and the store's clock goes with it: nothing here waits for real. The few tests
//! that block threads on purpose run on a real runtime and wait for events.

mod support;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::model::{NewJob, Outcome};
use performer::orchestrator::ClaimRequest;
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{
    CommitType, ErrorKind, ExceptionType, ItemFilter, JobState, JobSummary, LimitsEdit, MaxStarts,
    PerformerError, PerformerEvent, StopStrategy, TransactionOutcome,
};
use serde_json::json;
use support::scripted::*;
use support::*;
use tokio::time::Instant;

async fn paused(policy: QueuePolicy) -> Arc<dyn Administration> {
    let orchestrator = Arc::new(Store::memory_with_clock(Arc::new(TokioClock::new())));
    orchestrator.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    orchestrator
}

fn retries(max_number_of_retries: u32) -> QueuePolicy {
    QueuePolicy::default().max_number_of_retries(max_number_of_retries)
}

fn performer(transaction: &ScriptedTransaction) -> Performer {
    let transaction = transaction.clone();
    Performer::new(QUEUE, move || transaction.clone()).single_threaded().handle_signals(false)
}

async fn add_all(orchestrator: &Arc<dyn Administration>, items: &[(&str, &str)]) {
    for (reference, what) in items {
        orchestrator.add_queue_item(QUEUE, script(reference, what)).await.unwrap();
    }
}

/// The newest attempt with this reference.
async fn item(orchestrator: &Arc<dyn Administration>, reference: &str) -> performer::QueueItem {
    let named = Some(performer::ReferenceFilter::Equals(reference.to_owned()));
    let page =
        orchestrator.list_queue_items(ItemFilter::default().reference(named), performer::Page::default());
    page.await.unwrap().items.pop().unwrap()
}

fn faulted(ended: Result<JobSummary, PerformerError>) -> JobSummary {
    match ended {
        Err(PerformerError::Faulted(summary)) => *summary,
        other => panic!("Faulted was expected, not {other:?}"),
    }
}

// Limits of a queue

/// Six items, two a ten seconds: a queue that holds items back is not empty, and nobody looks at it all the time.
#[tokio::test(start_paused = true)]
async fn a_performer_waits_for_items_withheld_by_a_limit() {
    for ahead in [0, 10] {
        let o = paused(retries(0)).await;
        let most = MaxStarts { count: 2, per: Duration::from_secs(10) };
        let edit = LimitsEdit::default().max_starts(most);
        o.edit_queue_limits(QUEUE, edit).await.unwrap();
        add_all(&o, &[("a", "ok"), ("b", "ok"), ("c", "ok"), ("d", "ok"), ("e", "ok"), ("f", "ok")]).await;
        let (transaction, began) = (ScriptedTransaction::default(), Instant::now());
        let performer = performer(&transaction).robots(3).claim_ahead(ahead);
        let summary = performer.run_until_empty(o.clone()).await.unwrap();
        assert_eq!((summary.state, summary.successful), (JobState::Successful, 6));
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(22), "{took:?}, ahead {ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_performer_waits_for_a_paused_queue_to_be_resumed() {
    for ahead in [0, 10] {
        let o = paused(retries(0)).await;
        let pause = |paused| LimitsEdit::default().paused(paused);
        o.edit_queue_limits(QUEUE, pause(true)).await.unwrap();
        add_all(&o, &[("a", "ok"), ("b", "ok")]).await;
        let (transaction, began) = (ScriptedTransaction::default(), Instant::now());
        let running = performer(&transaction).robots(2).claim_ahead(ahead).run_until_empty(o.clone());
        let resuming = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert!(transaction.journal.lines().iter().all(|line| line == "open"));
            o.edit_queue_limits(QUEUE, pause(false)).await.unwrap();
        };
        let (summary, ()) = tokio::join!(running, resuming);
        assert_eq!(summary.unwrap().successful, 2);
        assert!(began.elapsed() < Duration::from_secs(602), "it hears of it");
        // What it did is kept with its job.
        let job = o.list_jobs(1).await.unwrap().remove(0);
        assert_eq!(job.figures.map(|figures| figures.successful), Some(2));
    }
}

// The order

#[tokio::test(start_paused = true)]
async fn applications_are_opened_once_and_reopened_after_an_application_exception() {
    let o = paused(retries(1)).await;
    add_all(&o, &[("a", "ok"), ("b", "business"), ("c", "application once"), ("d", "ok")]).await;
    let transaction = ScriptedTransaction::default();
    let summary = performer(&transaction).run_until_empty(o.clone()).await.unwrap();
    let expected = ["open", "a#0", "b#0", "c#0", "close", "open", "d#0", "c#1", "close"];
    assert_eq!(transaction.journal.lines(), expected);
    assert_eq!(summary.state, JobState::Successful);
    assert_eq!((summary.successful, summary.business_exceptions, summary.retried), (3, 1, 1));
    assert_eq!((summary.application_exceptions, summary.transactions()), (0, 5));
    assert_eq!(item(&o, "a").await.output.unwrap().to_value(), json!({"did": "ok"}));
    assert_eq!(o.list_jobs(1).await.unwrap()[0].state, JobState::Successful);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_deferred_as_the_exception_says() {
    struct RetryLater;
    #[async_trait]
    impl Transaction for RetryLater {
        type Content = serde_json::Value;
        type Output = ();
        async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
            Err(ApplicationException::new("down")
                .retry_after(Duration::from_secs(90))
                .image("shot.png")
                .into())
        }
    }
    let o = paused(retries(1)).await;
    add_all(&o, &[("a", "-")]).await;
    let performer = Performer::new(QUEUE, || RetryLater).single_threaded().handle_signals(false);
    assert_eq!(performer.run_until_empty(o.clone()).await.unwrap().retried, 1);
    let copy = item(&o, "a").await;
    assert_eq!(copy.defer_date.unwrap().duration_since(copy.creation_time).as_secs(), 90);
    let original = o.get_queue_item(copy.ancestor_id.unwrap()).await.unwrap();
    let record = original.processing_exception.unwrap();
    assert_eq!(
        (record.reason.as_str(), record.associated_image_file_path.as_deref()),
        ("down", Some("shot.png"))
    );
}

#[tokio::test(start_paused = true)]
async fn every_robot_has_its_own_applications_and_every_item_runs_once() {
    let o = paused(retries(1)).await;
    let items = (0..500).map(|n| script(&n.to_string(), "ok")).collect();
    assert_eq!(o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed, []);
    for ahead in [0, 16] {
        let transaction = ScriptedTransaction::default();
        let summary =
            performer(&transaction).robots(8).claim_ahead(ahead).run_until_empty(o.clone()).await.unwrap();
        let lines = transaction.journal.lines();
        assert_eq!(lines.iter().filter(|line| *line == "open").count(), 8);
        assert_eq!(lines.iter().filter(|line| *line == "close").count(), 8);
        let runs: Vec<_> = lines.iter().filter(|line| line.ends_with("#0")).collect();
        assert_eq!(runs.len(), runs.iter().collect::<HashSet<_>>().len());
        if ahead == 0 {
            assert_eq!((runs.len(), summary.successful), (500, 500));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_robot_waits_for_the_retry_copy_of_a_busy_one() {
    for ahead in [0, 4] {
        let o = paused(retries(1)).await;
        o.add_queue_item(QUEUE, script_for("slow", "sleep, then fail", 100)).await.unwrap();
        let summary = performer(&ScriptedTransaction::default())
            .robots(3)
            .claim_ahead(ahead)
            .run_until_empty(o.clone())
            .await
            .unwrap();
        assert_eq!((summary.retried, summary.application_exceptions), (1, 1), "claim_ahead({ahead})");
    }
}

/// Where several calls are under way, what one of them finds says little of what another one is about to leave.
#[tokio::test(start_paused = true)]
async fn concurrent_calls_process_all_items_and_respect_claim_ahead() {
    const ROBOTS: u32 = 3;
    let mut most = 0;
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (count, ahead, side_by_side) = (random.u64(1..30), random.usize(2..=12), random.usize(1..=3));
        let o = paused(retries(2)).await;
        let items = (0..count).map(|n| script(&n.to_string(), "application")).collect();
        assert_eq!(o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed, []);
        let faults = if random.bool() { vec![] } else { vec![CallFault::Unavailable, CallFault::AnswerLost] };
        let faulty = FaultyOrchestrator::overlapping(o.clone(), &faults, side_by_side, seed);
        let performer = performer(&ScriptedTransaction::default()).robots(ROBOTS).claim_ahead(ahead);
        let running = performer.run_until_empty(faulty.clone());
        tokio::pin!(running);
        let summary = loop {
            tokio::select! {
                biased;
                summary = &mut running => break summary.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            // In the buffer or on their way to it; with a robot; reported, and not recorded yet.
            let taken = o.queue_statistics(QUEUE).await.unwrap().in_progress;
            assert!(taken <= 2 * ahead as i64 + i64::from(ROBOTS), "seed {seed}: {taken} at once");
            most = most.max(faulty.under_way.load(Ordering::SeqCst));
        };
        let ended = (summary.retried, summary.application_exceptions);
        assert_eq!(ended, (2 * count, count), "seed {seed}");
    }
    assert_eq!(most, 3, "as many as the Orchestrator works on");
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_empty_only_after_the_last_retry() {
    for ahead in [0, 3] {
        for robots in [1, 2, 5] {
            let o = paused(retries(4)).await;
            let items = (0..40).map(|n| script(&n.to_string(), "application")).collect();
            assert_eq!(
                o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed,
                []
            );
            let performer = performer(&ScriptedTransaction::default()).robots(robots).claim_ahead(ahead);
            let started = Instant::now();
            let summary = performer.run_until_empty(o.clone()).await.unwrap();
            assert_eq!(
                (summary.retried, summary.application_exceptions),
                (160, 40),
                "{robots} robots, {ahead} ahead"
            );
            assert_eq!(started.elapsed(), Duration::ZERO, "and nobody waits for a poll to see it");
        }
    }
}

// Failures

#[tokio::test(start_paused = true)]
async fn invalid_content_is_a_business_exception() {
    let o = paused(retries(3)).await;
    o.add_queue_item(QUEUE, NewQueueItem::new(json!({"do": 7})).reference("a")).await.unwrap();
    let transaction = ScriptedTransaction::default();
    let summary = performer(&transaction).run_until_empty(o.clone()).await.unwrap();
    assert_eq!(summary.business_exceptions, 1);
    let reason = item(&o, "a").await.processing_exception.unwrap().reason;
    assert!(reason.starts_with("the content does not fit: invalid type"), "{reason}");
    assert_eq!(transaction.journal.lines(), ["open", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_application_exception_and_replaces_the_transaction() {
    let o = paused(retries(0)).await;
    add_all(&o, &[("a", "panic"), ("b", "panic strangely"), ("c", "ok")]).await;
    let transaction =
        ScriptedTransaction { fuse: Fuse { armed: true, lit: false }, ..ScriptedTransaction::default() };
    let summary = performer(&transaction).run_until_empty(o.clone()).await.unwrap();
    assert_eq!((summary.application_exceptions, summary.successful), (2, 1));
    let reason = async |reference| item(&o, reference).await.processing_exception.unwrap().reason;
    assert_eq!(reason("a").await, "panicked: at the disco");
    assert_eq!(reason("b").await, "panicked: a panic without a text");
    assert_eq!(
        transaction.journal.lines(),
        ["open", "a#0", "close", "open", "b#0", "close", "open", "c#0", "close"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_robot_that_cannot_open_its_applications_ends_the_job_as_faulted() {
    for (how, reason) in [("fail", "open failed"), ("panic", "panicked: open panicked")] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "application"), ("b", "ok")]).await;
        let transaction = ScriptedTransaction { opens: vec!["fine", how], ..ScriptedTransaction::default() };
        let summary = faulted(performer(&transaction).run_until_empty(o.clone()).await);
        assert_eq!(summary.fault.unwrap(), format!("robot 1 could not open its applications: {reason}"));
        assert_eq!(item(&o, "b").await.status, Status::New, "nothing is taken that cannot be processed");
        let job = o.list_jobs(1).await.unwrap().remove(0);
        assert_eq!((job.state, job.info.unwrap().contains(reason)), (JobState::Faulted, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_robot_continues_after_a_failure_to_close_applications() {
    for how in ["fail", "panic"] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "application"), ("b", "ok")]).await;
        let transaction = ScriptedTransaction { closes: vec![how, how], ..ScriptedTransaction::default() };
        let summary = performer(&transaction).run_until_empty(o.clone()).await.unwrap();
        assert_eq!((summary.application_exceptions, summary.successful), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_cannot_be_created_faults_the_job() {
    let o = paused(retries(0)).await;
    let make = || -> ScriptedTransaction { panic!("no licence") };
    let performer = Performer::new(QUEUE, make).single_threaded().handle_signals(false);
    let summary = faulted(performer.run_until_empty(o).await);
    assert_eq!(summary.fault.unwrap(), "robot 1 could not be created: panicked: no licence");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_over_its_time_limit_is_an_application_exception() {
    let o = paused(retries(0)).await;
    o.add_queue_item(QUEUE, script_for("slow", "sleep", 61)).await.unwrap();
    add_all(&o, &[("never", "wait for ever")]).await;
    o.add_queue_item(QUEUE, script_for("quick", "sleep", 59)).await.unwrap();
    let started = Instant::now();
    let performer = performer(&ScriptedTransaction::default()).time_limit(Duration::from_secs(60));
    let summary = performer.run_until_empty(o.clone()).await.unwrap();
    assert_eq!((summary.application_exceptions, summary.successful), (2, 1));
    assert_eq!(started.elapsed().as_secs(), 60 + 60 + 59);
    assert_eq!(
        item(&o, "never").await.processing_exception.unwrap().reason,
        "did not end within its time limit of 60s"
    );
}

#[tokio::test(start_paused = true)]
async fn application_exceptions_in_a_row_stop_the_performer() {
    let o = paused(retries(0)).await;
    let exceptions = [("a", "application"), ("b", "application"), ("c", "business"), ("d", "application")];
    add_all(&o, &exceptions).await;
    add_all(&o, &[("e", "panic"), ("f", "application"), ("g", "ok")]).await;
    let performer = performer(&ScriptedTransaction::default()).max_consecutive_exceptions(3);
    let summary = faulted(performer.run_until_empty(o.clone()).await);
    assert_eq!(summary.fault.as_deref(), Some("3 application exceptions in a row"));
    assert_eq!((summary.application_exceptions, summary.business_exceptions), (5, 1));
    assert_eq!(item(&o, "g").await.status, Status::New);
}

#[tokio::test(start_paused = true)]
async fn a_missing_queue_is_never_a_success() {
    let o = paused(retries(0)).await;
    let elsewhere =
        Performer::new("Nowhere", ScriptedTransaction::default).single_threaded().handle_signals(false);
    let error = elsewhere.run_until_empty(o.clone()).await.unwrap_err();
    let PerformerError::NotStarted(cause) = &error else { panic!("{error}") };
    assert!(cause.is_not_found());
    assert_eq!(error.to_string(), "the performer did not start: queue \"Nowhere\" does not exist");

    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        let running = tokio::spawn(
            performer(&ScriptedTransaction::default()).robots(2).claim_ahead(ahead).run(o.clone()),
        );
        tokio::task::yield_now().await;
        o.delete_queue(QUEUE).await.unwrap();
        let summary = faulted(running.await.unwrap());
        assert!(summary.fault.unwrap().starts_with("queue \"Invoices\" cannot be read"));
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_settings_are_refused() {
    let o = paused(retries(0)).await;
    let scripted = ScriptedTransaction::default();
    for performer in [
        performer(&scripted).robots(0),
        performer(&scripted).robots(10_001),
        performer(&scripted).robots(u32::MAX),
        performer(&scripted).lease(Duration::ZERO),
        performer(&scripted).lease(Duration::MAX),
        performer(&scripted).poll_interval(Duration::ZERO),
        performer(&scripted).time_limit(Duration::ZERO),
        performer(&scripted).claim_ahead(usize::MAX),
    ] {
        let PerformerError::NotStarted(error) = performer.run_until_empty(o.clone()).await.unwrap_err()
        else {
            panic!("not started")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let patient = performer(&scripted)
        .grace_period(Duration::MAX)
        .poll_interval(Duration::MAX)
        .time_limit(Duration::MAX);
    add_all(&o, &[("a", "ok")]).await;
    assert_eq!(patient.run_until_empty(o).await.unwrap().successful, 1);
}

#[tokio::test(start_paused = true)]
async fn an_item_is_successful_even_if_its_output_cannot_be_stored() {
    let o = paused(retries(3)).await;
    add_all(&o, &[("a", "large output")]).await;
    let summary = performer(&ScriptedTransaction::default()).run_until_empty(o.clone()).await.unwrap();
    assert_eq!(summary.successful, 1);
    let output = item(&o, "a").await.output.unwrap().to_value();
    assert!(output["OutputOmitted"].as_str().unwrap().contains("the limit is 51200"), "{output}");
}

/// A type that would lose digits is handed nothing; a number that JSON does not have is left out of an output, and told.
#[tokio::test(start_paused = true)]
async fn numbers_keep_all_digits_between_queue_and_transaction() {
    struct Rates;
    #[async_trait]
    impl Transaction for Rates {
        type Content = serde_json::Value;
        type Output = std::collections::BTreeMap<&'static str, f64>;
        async fn process(
            &mut self,
            content: serde_json::Value,
            _: &TransactionItem,
        ) -> Result<Self::Output, Exception> {
            Ok([("rate", f64::NAN), ("amount", content["amount"].as_f64().unwrap())].into())
        }
    }
    let o = paused(retries(3)).await;
    for (reference, json) in
        [("long", r#"{"amount":1,"iban":100000000000000000000000000001}"#), ("short", r#"{"amount":20.40}"#)]
    {
        o.add_queue_item(QUEUE, NewQueueItem::from_json(json).reference(reference)).await.unwrap();
    }
    let summary =
        Performer::new(QUEUE, || Rates).handle_signals(false).run_until_empty(o.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.business_exceptions), (1, 1));
    let refused = item(&o, "long").await.processing_exception.unwrap();
    assert!(
        refused.reason.contains("\"iban\": a number with more digits than this type holds"),
        "{}",
        refused.reason
    );
    let output = item(&o, "short").await.output.unwrap().to_value();
    assert_eq!((&output["amount"], output.get("rate")), (&json!(20.4), None));
    assert!(output["OutputOmitted"].as_str().unwrap().contains("the value of \"rate\" is NaN"), "{output}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_on_event_is_contained() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "ok"), ("b", "ok")]).await;
        let performer = performer(&ScriptedTransaction::default())
            .claim_ahead(ahead)
            .on_event(|_| panic!("in the user's code"));
        assert_eq!(performer.run_until_empty(o).await.unwrap().successful, 2);
    }
}

// Postpone and progress

#[tokio::test(start_paused = true)]
async fn the_time_in_the_buffer_counts_for_postponements() {
    let o = paused(retries(0)).await;
    o.add_queue_item(QUEUE, script_for("first", "sleep", 300)).await.unwrap();
    o.add_queue_item(QUEUE, script_for("second", "postpone", 60)).await.unwrap();
    let summary =
        performer(&ScriptedTransaction::default()).claim_ahead(4).run_until_empty(o.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.postponed, summary.given_back), (1, 1, 0));
    let second = item(&o, "second").await;
    assert_eq!(second.defer_date.unwrap().duration_since(second.creation_time).as_secs(), 360);
}

#[tokio::test(start_paused = true)]
async fn a_postponed_item_comes_back_when_its_time_has_come() {
    let o = paused(retries(0)).await;
    o.add_queue_item(QUEUE, script_for("a", "postpone once", 3_600)).await.unwrap();
    let transaction = ScriptedTransaction::default();
    let summary = performer(&transaction).run_until_empty(o.clone()).await.unwrap();
    assert_eq!(
        (summary.postponed, summary.successful),
        (1, 0),
        "what waits for a later time is left where it is"
    );
    let postponed = item(&o, "a").await;
    assert_eq!(postponed.defer_date.unwrap().duration_since(postponed.creation_time).as_secs(), 3_600);

    let performer = performer(&transaction);
    let stop = performer.stop_handle();
    let performer = performer.on_event(move |event| {
        if matches!(event, PerformerEvent::TransactionEnded { .. }) {
            stop.stop();
        }
    });
    let started = Instant::now();
    let summary = performer.run(o.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.state), (1, JobState::Stopped));
    assert!((3_600..3_602).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(item(&o, "a").await.retry_number, 0);
}

#[tokio::test(start_paused = true)]
async fn a_postponement_to_the_past_is_an_application_exception() {
    let o = paused(retries(0)).await;
    add_all(&o, &[("a", "postpone to the past")]).await;
    for (reference, seconds) in [("b", 0)] {
        o.add_queue_item(QUEUE, script_for(reference, "postpone", seconds)).await.unwrap();
    }
    let summary = performer(&ScriptedTransaction::default()).run_until_empty(o.clone()).await.unwrap();
    assert_eq!(summary.application_exceptions, 2);
    let reason = item(&o, "a").await.processing_exception.unwrap().reason;
    assert!(reason.contains("which is not in the future"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn the_latest_progress_is_recorded_with_the_result() {
    let o = paused(retries(0)).await;
    add_all(&o, &[("a", "progress"), ("b", "progress, then wait")]).await;
    let transaction = ScriptedTransaction::default();
    let running = tokio::spawn(performer(&transaction).run_until_empty(o.clone()));
    transaction.begun.notified().await;
    while item(&o, "b").await.progress.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(item(&o, "b").await.progress.as_deref(), Some("half"), "people see it while it runs");
    assert_eq!(item(&o, "a").await.progress.as_deref(), Some("step 99"));
    transaction.go_on.notify_one();
    running.await.unwrap().unwrap();
    assert_eq!(item(&o, "b").await.progress.as_deref(), Some("nearly"));
}

// Stop and kill

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_running_transactions_and_claims_no_more() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "wait"), ("b", "ok"), ("c", "ok")]).await;
        let transaction = ScriptedTransaction::default();
        let performer = performer(&transaction).claim_ahead(ahead);
        let stop = performer.stop_handle();
        let running = tokio::spawn(performer.run(o.clone()));
        transaction.begun.notified().await;
        stop.stop();
        stop.stop();
        tokio::task::yield_now().await;
        transaction.go_on.notify_one();
        let summary = running.await.unwrap().unwrap();
        assert_eq!((summary.state, summary.successful), (JobState::Stopped, 1));
        for reference in ["b", "c"] {
            let left = item(&o, reference).await;
            assert_eq!((left.status, left.retry_number, left.start_processing), (Status::New, 0, None));
        }
        assert_eq!(summary.given_back, if ahead == 0 { 0 } else { 2 });
        assert_eq!(transaction.journal.lines(), ["open", "a#0", "close"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_performer_stops_at_once() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        let performer = performer(&ScriptedTransaction::default()).robots(4).claim_ahead(ahead);
        let stop = performer.stop_handle();
        let running = tokio::spawn(performer.run(o));
        tokio::time::sleep(Duration::from_millis(12_345)).await;
        let asked = Instant::now();
        stop.stop();
        assert_eq!(running.await.unwrap().unwrap().state, JobState::Stopped);
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
}

/// A robot that asks for the stop itself ends before anybody else is told of it.
#[tokio::test(start_paused = true)]
async fn a_stop_that_ends_all_robots_at_once_is_an_event_too() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "ok")]).await;
        let performer = performer(&ScriptedTransaction::default()).claim_ahead(ahead);
        let stop = performer.stop_handle();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let performer = performer.on_event(move |event| {
            seen.lock().unwrap().push(event.clone());
            if matches!(event, PerformerEvent::TransactionEnded { .. }) {
                stop.stop();
            }
        });
        assert_eq!(performer.run(o).await.unwrap().state, JobState::Stopped);
        let events = events.lock().unwrap();
        let told = events.iter().filter(|event| **event == PerformerEvent::StopRequested).count();
        assert_eq!(told, 1, "{ahead}: {events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_over_the_grace_period_are_interrupted_and_given_back() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "wait for ever")]).await;
        let transaction = ScriptedTransaction::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let performer = performer(&transaction)
            .claim_ahead(ahead)
            .grace_period(Duration::from_secs(20))
            .on_event(move |event| seen.lock().unwrap().push(event.clone()));
        let stop = performer.stop_handle();
        let running = tokio::spawn(performer.run(o.clone()));
        transaction.begun.notified().await;
        let asked = Instant::now();
        stop.stop();
        let summary = running.await.unwrap().unwrap();
        assert_eq!(asked.elapsed().as_secs(), 20);
        assert_eq!((summary.state, summary.given_back, summary.abandoned), (JobState::Stopped, 1, 0));
        let left = item(&o, "a").await;
        assert_eq!((left.status, left.retry_number), (Status::New, 0), "no retry is used");
        let events = events.lock().unwrap();
        assert!(
            events.iter().any(|event| matches!(event, PerformerEvent::TransactionStuck { robot: 1, .. }))
        );
        assert!(events.contains(&PerformerEvent::StopRequested));
        assert!(events.contains(&PerformerEvent::JobEnded { state: JobState::Stopped }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_interrupts_at_once_even_while_applications_open() {
    let o = paused(retries(0)).await;
    add_all(&o, &[("a", "wait for ever")]).await;
    let transaction = ScriptedTransaction::default();
    let performer = performer(&transaction);
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(o.clone()));
    transaction.begun.notified().await;
    let asked = Instant::now();
    stop.kill();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((asked.elapsed(), summary.given_back), (Duration::ZERO, 1));

    struct NeverOpens;
    #[async_trait]
    impl Transaction for NeverOpens {
        type Content = serde_json::Value;
        type Output = ();
        async fn open_applications(&mut self) -> Result<(), Exception> {
            std::future::pending().await
        }
        async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
            Ok(())
        }
    }
    let performer = Performer::new(QUEUE, || NeverOpens).single_threaded().handle_signals(false);
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(o.clone()));
    tokio::task::yield_now().await;
    stop.kill();
    assert_eq!(running.await.unwrap().unwrap().state, JobState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_long_transaction_may_end_early_when_a_stop_is_requested() {
    let o = paused(retries(0)).await;
    add_all(&o, &[("a", "wait for a stop")]).await;
    let transaction = ScriptedTransaction::default();
    let running = tokio::spawn(performer(&transaction).run(o.clone()));
    transaction.begun.notified().await;
    let job = o.list_jobs(1).await.unwrap().remove(0).key;
    o.stop_job(job, StopStrategy::SoftStop).await.unwrap();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.state, summary.successful), (JobState::Stopped, 1), "the wish came with a beat");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_killed_by_a_request_in_the_heartbeat() {
    let o = paused(retries(0)).await;
    add_all(&o, &[("a", "wait for ever")]).await;
    let transaction = ScriptedTransaction::default();
    let running = tokio::spawn(performer(&transaction).run(o.clone()));
    transaction.begun.notified().await;
    let job = o.list_jobs(1).await.unwrap().remove(0).key;
    o.stop_job(job, StopStrategy::Kill).await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().given_back, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_transaction_that_ignores_the_kill_is_stuck_and_its_item_is_abandoned() {
    #[derive(Clone)]
    struct Blocks(Arc<Mutex<std::sync::mpsc::Receiver<()>>>, Arc<tokio::sync::Notify>);
    #[async_trait]
    impl Transaction for Blocks {
        type Content = serde_json::Value;
        type Output = ();
        async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
            self.1.notify_one();
            let _ = self.0.lock().unwrap().recv();
            Ok(())
        }
    }
    let o: Arc<dyn Administration> = Arc::new(Store::memory());
    o.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    add_all(&o, &[("a", "-")]).await;
    let (release, blocked) = std::sync::mpsc::channel();
    let transaction = Blocks(Arc::new(Mutex::new(blocked)), Arc::default());
    let begun = transaction.1.clone();
    let performer = Performer::new(QUEUE, move || transaction.clone()).handle_signals(false);
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(o.clone()));
    begun.notified().await;
    stop.kill();
    let summary = faulted(running.await.unwrap());
    assert_eq!(summary.fault.as_deref(), Some("1 robots ignored the kill"));
    assert_eq!(summary.abandoned, 1, "its code still runs: nobody else may begin with the item unasked");
    assert!(summary.to_string().contains("1 ABANDONED"), "{summary}");
    assert_eq!(item(&o, "a").await.status, Status::Abandoned);
    drop(release);
}

// Leases

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_blocks_its_thread_does_not_stop_the_heartbeat() {
    struct Blocks(Arc<FaultyOrchestrator>);
    #[async_trait]
    impl Transaction for Blocks {
        type Content = serde_json::Value;
        type Output = ();
        async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
            // Holds its thread until the job has beaten for longer than its lease.
            let beats = self.0.beats.load(Ordering::SeqCst);
            while self.0.beats.load(Ordering::SeqCst) < beats + 5 {
                std::thread::yield_now();
            }
            Ok(())
        }
    }
    let inner: Arc<dyn Administration> = Arc::new(Store::memory());
    inner.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    add_all(&inner, &[("a", "-"), ("b", "-"), ("c", "-")]).await;
    let faulty = FaultyOrchestrator::new(inner.clone(), &[]);
    let make = faulty.clone();
    // More robots than threads: every thread of the runtime is blocked.
    let performer =
        Performer::new(QUEUE, move || Blocks(make.clone())).robots(3).lease(Duration::from_secs(1));
    let summary = performer.handle_signals(false).run_until_empty(faulty).await.unwrap();
    assert_eq!((summary.successful, summary.claims_lost, summary.abandoned_of_others), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_lost_its_lease_registers_again_and_continues() {
    let clock = Arc::new(performer::model::ManualClock::new(start_of_time()));
    let o: Arc<dyn Administration> = Arc::new(Store::memory_with_clock(clock.clone()));
    o.create_queue(NewQueueDefinition::new(QUEUE).policy(retries(1).retry_abandoned_items(true)))
        .await
        .unwrap();
    add_all(&o, &[("a", "wait")]).await;
    let transaction = ScriptedTransaction::default();
    let running = tokio::spawn(performer(&transaction).run_until_empty(o.clone()));
    transaction.begun.notified().await;
    let first = o.list_jobs(1).await.unwrap().remove(0).key;
    // As if the process had been suspended: its lease is over before its heart beats again.
    assert_eq!(sweep_for(&*o, &clock, 31).await.jobs, [first]);
    transaction.go_on.notify_one();
    transaction.begun.notified().await; // the copy, under the new job
    transaction.go_on.notify_one();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.claims_lost, summary.successful), (1, 1));
    assert_ne!(summary.job, first);
    let copy = item(&o, "a").await;
    let original = o.get_queue_item(copy.ancestor_id.unwrap()).await.unwrap();
    assert_eq!((original.status, original.outcome), (Status::Retried, Some(Outcome::Abandoned)));
    assert_eq!((copy.status, copy.retry_number), (Status::Successful, 1));
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_dead_job_are_recovered_by_the_next() {
    let o = paused(retries(1).retry_abandoned_items(true)).await;
    add_all(&o, &[("a", "ok")]).await;
    let dead = o.start_job(new_job()).await.unwrap();
    o.report_and_claim(Vec::new(), Some(take(dead, 1))).await.claimed.unwrap();
    let performer = performer(&ScriptedTransaction::default());
    let stop = performer.stop_handle();
    let performer = performer.on_event(move |event| {
        if matches!(event, PerformerEvent::TransactionEnded { .. }) {
            stop.stop();
        }
    });
    let started = Instant::now();
    let summary = performer.run(o.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.abandoned_of_others), (1, 1));
    assert!(started.elapsed() <= Duration::from_secs(31), "{:?}: the lease and a sweep", started.elapsed());
    assert!(summary.to_string().contains("ABANDONED"), "{summary}");
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_deleted_while_it_runs_is_a_lost_claim() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        add_all(&o, &[("a", "wait"), ("b", "ok")]).await;
        let transaction = ScriptedTransaction::default();
        let running = tokio::spawn(performer(&transaction).claim_ahead(ahead).run_until_empty(o.clone()));
        transaction.begun.notified().await;
        let running_item = item(&o, "a").await;
        let version =
            performer::model::ItemVersion { id: running_item.id, row_version: running_item.row_version };
        assert!(o.delete_queue_items(vec![version]).await.unwrap().is_empty());
        transaction.go_on.notify_one();
        let summary = running.await.unwrap().unwrap();
        assert_eq!((summary.claims_lost, summary.successful), (1, 1));
        assert_eq!(item(&o, "a").await.status, Status::Deleted);
    }
}

// A store that fails

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_loses_nothing() {
    use CallFault::{AnswerLost, Unavailable};
    for ahead in [0, 2] {
        for faults in [
            vec![Unavailable; 5],
            vec![AnswerLost; 5],
            vec![Unavailable, AnswerLost, Unavailable, AnswerLost, AnswerLost, Unavailable],
        ] {
            let o = paused(retries(1)).await;
            add_all(&o, &[("a", "ok"), ("b", "business"), ("c", "application once"), ("d", "ok")]).await;
            let transaction = ScriptedTransaction::default();
            let faulty = FaultyOrchestrator::new(o.clone(), &faults);
            // The faults begin with the first report: the first take is let through.
            let first = faulty.faults.lock().unwrap().split_off(0);
            let armed = faulty.clone();
            let performer = performer(&transaction).claim_ahead(ahead).on_event(move |event| {
                if matches!(event, PerformerEvent::TransactionStarted { .. }) {
                    armed.faults.lock().unwrap().extend(first.iter().take(2));
                }
            });
            let summary = performer.run_until_empty(faulty).await.unwrap();
            assert_eq!(
                (summary.successful, summary.business_exceptions, summary.retried),
                (3, 1, 1),
                "{faults:?}"
            );
            assert_eq!((summary.claims_lost, summary.not_recorded, summary.abandoned), (0, 0, 0));
            let runs = transaction.journal.lines().iter().filter(|line| line.contains('#')).count();
            assert_eq!(runs, 5, "nothing runs twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_performer_can_be_stopped_during_an_outage() {
    for ahead in [0, 4] {
        let o = paused(retries(1)).await;
        add_all(&o, &[("a", "wait")]).await;
        let transaction = ScriptedTransaction::default();
        let faulty = FaultyOrchestrator::new(o.clone(), &[]);
        let performer = performer(&transaction).claim_ahead(ahead).grace_period(Duration::from_secs(5));
        let stop = performer.stop_handle();
        let running = tokio::spawn(performer.run(faulty.clone()));
        transaction.begun.notified().await;
        faulty.faults.lock().unwrap().extend([CallFault::Unavailable; 10_000]);
        transaction.go_on.notify_one();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = Instant::now();
        stop.stop();
        let summary = running.await.unwrap().unwrap();
        assert!(asked.elapsed() <= Duration::from_secs(6), "{:?}", asked.elapsed());
        assert_eq!((summary.not_recorded, summary.abandoned), (1, 1), "claim_ahead({ahead})");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_ends_faulted_if_its_heartbeat_stops() {
    for ahead in [0, 4] {
        let o = paused(retries(1)).await;
        add_all(&o, &[("a", "wait for ever")]).await;
        let faulty = FaultyOrchestrator::new(o.clone(), &[]);
        faulty.beats_panic.store(true, Ordering::SeqCst);
        let performer = performer(&ScriptedTransaction::default())
            .claim_ahead(ahead)
            .grace_period(Duration::from_secs(5));
        let summary = faulted(performer.run(faulty).await);
        assert_eq!(summary.fault.as_deref(), Some("the heartbeat stopped"));
        assert_eq!(summary.given_back, 1, "what did not end within the grace period");
    }
}

// Work that arrives

#[tokio::test(start_paused = true)]
async fn an_idle_performer_is_woken_by_new_items() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        let performer = performer(&ScriptedTransaction::default())
            .robots(4)
            .claim_ahead(ahead)
            .poll_interval(Duration::from_secs(3_600));
        let stop = performer.stop_handle();
        let (ended, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let performer = performer.on_event(move |event| {
            if let PerformerEvent::TransactionEnded { outcome, .. } = event {
                ended.send(*outcome).unwrap();
            }
        });
        let running = tokio::spawn(performer.run(o.clone()));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let started = Instant::now();
        for round in 0..20 {
            o.add_queue_item(QUEUE, script(&round.to_string(), "ok")).await.unwrap();
            assert_eq!(heard.recv().await, Some(TransactionOutcome::Successful));
        }
        assert_eq!(started.elapsed(), Duration::ZERO, "nobody waited for the poll");
        stop.stop();
        assert_eq!(running.await.unwrap().unwrap().successful, 20);
    }
}

/// An idle performer whose claims look for nothing by themselves.
async fn idle(o: &Arc<dyn Administration>, ahead: usize) -> (performer::StopHandle, RunningPerformer) {
    let performer = performer(&ScriptedTransaction::default())
        .robots(4)
        .claim_ahead(ahead)
        .poll_interval(Duration::from_secs(100_000));
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(o.clone()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    (stop, running)
}

type RunningPerformer = tokio::task::JoinHandle<Result<JobSummary, PerformerError>>;

#[tokio::test(start_paused = true)]
async fn idle_robots_are_given_their_items_in_the_commit_that_adds_them() {
    // Who claims ahead asks for a half of the buffer.
    for (ahead, in_progress) in [(0, 4), (4, 2)] {
        let o = paused(retries(0)).await;
        let (stop, running) = idle(&o, ahead).await;
        let items = (0..4).map(|n| script(&n.to_string(), "ok")).collect();
        let added = o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
        assert_eq!(added.added, 4);
        assert_eq!(o.queue_statistics(QUEUE).await.unwrap().in_progress, in_progress);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(o.queue_statistics(QUEUE).await.unwrap().successful, 4);
        stop.stop();
        assert_eq!(running.await.unwrap().unwrap().successful, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_performer_stops_at_once_and_its_claims_are_gone() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        let (stop, running) = idle(&o, ahead).await;
        let asked = Instant::now();
        stop.stop();
        running.await.unwrap().unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO);
        o.add_queue_item(QUEUE, script("a", "ok")).await.unwrap();
        assert_eq!(o.queue_statistics(QUEUE).await.unwrap().new, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_performer_that_has_lost_its_lease_waits_with_its_new_job() {
    for ahead in [0, 4] {
        let o = paused(retries(0)).await;
        let (stop, running) = idle(&o, ahead).await;
        let lost = o.list_jobs(1).await.unwrap()[0].key;
        o.end_job(lost, performer::JobEnd::new(JobState::Stopped)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await; // it beats, and registers again
        o.add_queue_item(QUEUE, script("a", "ok")).await.unwrap();
        assert_eq!(o.queue_statistics(QUEUE).await.unwrap().in_progress, 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.stop();
        assert_eq!(running.await.unwrap().unwrap().successful, 1);
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_performer_sees_what_another_process_adds_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let other = Store::sqlite(&path).await.unwrap();
    other.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let performer = Performer::new(QUEUE, ScriptedTransaction::default)
        .handle_signals(false)
        .poll_interval(Duration::from_secs(3_600));
    let stop = performer.stop_handle();
    let (ended, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let performer = performer.on_event(move |event| match event {
        PerformerEvent::TransactionEnded { .. } | PerformerEvent::JobStarted { .. } => {
            ended.send(()).unwrap();
        }
        _ => {}
    });
    let running = tokio::spawn(performer.run(Arc::new(Store::sqlite(&path).await.unwrap())));
    heard.recv().await;
    for round in 0..5 {
        other.add_queue_item(QUEUE, script(&round.to_string(), "ok")).await.unwrap();
        heard.recv().await;
    }
    stop.stop();
    assert_eq!(running.await.unwrap().unwrap().successful, 5);
}

#[tokio::test(start_paused = true)]
async fn items_claimed_ahead_are_processed_in_the_order_of_the_queue() {
    let o = paused(retries(0)).await;
    for n in 0..40_u64 {
        let item = script(&n.to_string(), "ok").priority(Priority::ALL[(n % 3) as usize]);
        o.add_queue_item(QUEUE, item).await.unwrap();
    }
    let direct = ScriptedTransaction::default();
    let key = |line: &String| line.trim_end_matches("#0").parse::<u64>().unwrap();
    performer(&direct).claim_ahead(7).run_until_empty(o).await.unwrap();
    let lines = direct.journal.lines();
    let ran: Vec<u64> = lines[1..lines.len() - 1].iter().map(key).collect();
    let mut expected: Vec<u64> = (0..40).collect();
    expected.sort_by_key(|n| (n % 3, *n));
    assert_eq!(ran, expected);
}

// What is told

#[tokio::test(start_paused = true)]
async fn a_unit_test_of_one_transaction_needs_no_back_end() {
    use performer::testing;
    let tested = testing::perform(ScriptedTransaction::default, script("a", "ok")).await;
    assert_eq!((tested.status(), tested.reason()), (Status::Successful, None));
    assert_eq!(tested.output::<serde_json::Value>(), json!({"did": "ok"}));
    let tested = testing::perform(ScriptedTransaction::default, script("a", "business")).await;
    assert_eq!((tested.status(), tested.reason()), (Status::Failed, Some("the data is wrong")));
    assert_eq!(tested.item().exception_type(), Some(ExceptionType::BusinessException));
    let tested =
        testing::perform_with(retries(1), ScriptedTransaction::default, script("a", "application once"))
            .await;
    assert_eq!((tested.attempts.len(), tested.status()), (2, Status::Successful));
    let tested = testing::perform(ScriptedTransaction::default, script_for("a", "postpone", 60)).await;
    assert_eq!((tested.status(), tested.summary.postponed), (Status::New, 1));
    let tested = testing::perform(ScriptedTransaction::default, script("a", "progress")).await;
    assert_eq!(tested.progress(), Some("step 99"));
}

/// A decorator that changes nothing.
#[derive(Debug)]
struct Unchanged(Arc<dyn Orchestrator>);

impl performer::orchestrator::Decorator for Unchanged {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.0
    }
}

/// A method with a default, too.
#[tokio::test(start_paused = true)]
async fn a_decorator_forwards_what_it_does_not_change() {
    let inner = FaultyOrchestrator::overlapping(paused(QueuePolicy::default()).await, &[], 4, 1);
    let unchanged: Arc<dyn Orchestrator> = Arc::new(Unchanged(inner.clone()));
    assert_eq!(unchanged.max_concurrent_calls(), 4);
    let job = unchanged.start_job(NewJob::new(QUEUE)).await.unwrap();
    let waiting = ClaimRequest::new(QUEUE, job, 1).wait(Duration::from_secs(3_600));
    let (claiming, began) = (unchanged.clone(), Instant::now());
    let claim = tokio::spawn(async move { claiming.report_and_claim(Vec::new(), Some(waiting)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    unchanged.give_up_claims(job);
    assert!(claim.await.unwrap().claimed.unwrap().waited);
    assert!(began.elapsed() < Duration::from_secs(2));
    let job = unchanged.start_job(new_job()).await.unwrap();
    unchanged.beat(job).await.unwrap();
    assert_eq!(inner.beats.load(Ordering::SeqCst), 1);
    assert!(unchanged.add_queue_item("None", NewQueueItem::new(json!({}))).await.unwrap_err().is_not_found());
}
