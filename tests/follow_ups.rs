//! Follow-up items: what a transaction also adds is added with its success, and at no other time.
//!
//! Time is tokio's and paused, and the store's clock goes with it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use performer::model::ClaimedItem;
use performer::orchestrator::store::Store;
use performer::orchestrator::{Decorator, FollowUp, MAX_FOLLOW_UPS, Report};
use performer::prelude::*;
use performer::testing::{self, Shadow, TestRun};
use performer::{ItemFilter, ItemVersion, JobState, Page, PerformerError, QueueItem, TransactionOutcome};
use serde_json::json;
use support::scripted::{CallFault, FaultyOrchestrator, TokioClock};
use support::{QUEUE, named, new_job, ok, take};

const NEXT: &str = "Payments";
const HOUR: Duration = Duration::from_secs(3_600);

/// Gives two follow-ups, and then does what the content says.
struct AlsoAdd;

#[derive(serde::Deserialize)]
struct Order {
    what: String,
}

#[async_trait]
impl Transaction for AlsoAdd {
    type Content = Order;
    type Output = ();

    async fn process(&mut self, order: Order, item: &TransactionItem) -> Result<(), Exception> {
        let name = |number: u32| format!("{}-{number}", item.reference().unwrap_or("none"));
        item.also_add(NEXT, named(&name(1)));
        item.also_add(NEXT.to_owned(), named(&name(2)));
        match order.what.as_str() {
            "business" => return Err(BusinessException::new("no such customer").into()),
            "application" => return Err(ApplicationException::new("the ERP is down").into()),
            "application once" if item.retry_number() == 0 => {
                return Err(ApplicationException::new("the ERP is down").into());
            }
            "postpone" => return Err(Exception::postpone_for(3 * HOUR)),
            "postpone into the past" => return Err(Exception::postpone_until(jiff::Timestamp::UNIX_EPOCH)),
            "panic" => panic!("out of paper"),
            "hang" => std::future::pending().await,
            "unknown queue" => item.also_add("None", named("p")),
            "unknown queue once" if item.retry_number() == 0 => item.also_add("None", named("p")),
            "nested" => item.also_add(NEXT, NewQueueItem::new(json!({"lines": [1]}))),
            "too many" => (0..MAX_FOLLOW_UPS).for_each(|_| item.also_add(NEXT, named("p"))),
            "own queue" => item.also_add(item.queue(), order_named("own", "ok")),
            _ => {}
        }
        Ok(())
    }
}

fn order_named(reference: &str, what: &str) -> NewQueueItem {
    NewQueueItem::new(json!({ "what": what })).reference(reference)
}

async fn paused(retries: u32) -> Arc<Store> {
    let store = Arc::new(Store::memory_with_clock(Arc::new(TokioClock::new())));
    for (name, retries) in [(QUEUE, retries), (NEXT, 0)] {
        let policy = QueuePolicy::default().max_number_of_retries(retries);
        store.create_queue(NewQueueDefinition::new(name).policy(policy)).await.unwrap();
    }
    store
}

fn performer() -> Performer {
    Performer::new(QUEUE, || AlsoAdd).single_threaded().handle_signals(false).max_consecutive_exceptions(0)
}

async fn items(store: &Store, queue: &str) -> Vec<QueueItem> {
    let page = store.list_queue_items(ItemFilter::default().queue(queue), Page::default()).await;
    page.unwrap().items
}

async fn references(store: &Store) -> Vec<String> {
    items(store, NEXT).await.into_iter().map(|item| item.reference.unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_success_adds_what_was_given_in_its_order() {
    for ahead in [0, 4] {
        let store = paused(1).await;
        for (reference, what) in [("a", "ok"), ("b", "application once"), ("c", "ok")] {
            store.add_queue_item(QUEUE, order_named(reference, what)).await.unwrap();
        }
        let summary = performer().claim_ahead(ahead).run_until_empty(store.clone()).await.unwrap();
        assert_eq!((summary.successful, summary.retried), (3, 1));
        // The first attempt of b adds nothing.
        assert_eq!(references(&store).await, ["a-1", "a-2", "c-1", "c-2", "b-1", "b-2"], "ahead {ahead}");
        assert!(items(&store, NEXT).await.iter().all(|item| item.creator_job == Some(summary.job)));
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_end_adds_nothing() {
    for ahead in [0, 4] {
        let store = paused(0).await;
        for what in ["business", "application", "postpone", "postpone into the past", "panic", "hang"] {
            store.add_queue_item(QUEUE, order_named(what, what)).await.unwrap();
        }
        store.add_queue_item(QUEUE, NewQueueItem::new(json!({"no": "order"}))).await.unwrap();
        let performer = performer().claim_ahead(ahead).time_limit(HOUR);
        let summary = performer.run_until_empty(store.clone()).await.unwrap();
        assert_eq!((summary.successful, summary.postponed, summary.transactions()), (0, 1, 7));
        assert_eq!(references(&store).await, [""; 0], "ahead {ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_adds_nothing() {
    let store = paused(0).await;
    store.add_queue_item(QUEUE, order_named("a", "hang")).await.unwrap();
    let performer = performer();
    let handle = performer.stop_handle();
    let killing = async {
        tokio::time::sleep(HOUR).await;
        handle.kill();
    };
    let (summary, ()) = tokio::join!(performer.run(store.clone()), killing);
    assert_eq!(summary.unwrap().given_back, 1);
    assert_eq!(items(&store, QUEUE).await[0].status, Status::New);
    assert_eq!(references(&store).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_follow_up_is_an_application_exception_that_names_it() {
    for ahead in [0, 4] {
        let store = paused(0).await;
        for (reference, what) in [("a", "unknown queue"), ("b", "nested"), ("c", "too many"), ("d", "ok")] {
            store.add_queue_item(QUEUE, order_named(reference, what)).await.unwrap();
        }
        let summary = performer().claim_ahead(ahead).run_until_empty(store.clone()).await.unwrap();
        assert_eq!((summary.successful, summary.application_exceptions), (1, 3));
        assert_eq!(summary.state, JobState::Successful);
        let reasons: Vec<String> = items(&store, QUEUE)
            .await
            .into_iter()
            .filter_map(|item| Some(item.processing_exception?.reason))
            .collect();
        let beginning = "the success could not be recorded";
        assert_eq!(
            reasons[0],
            format!("{beginning}: follow-up 3 for queue \"None\": queue \"None\" does not exist")
        );
        assert!(
            reasons[1].starts_with(&format!("{beginning}: follow-up 3 for queue \"Payments\": ")),
            "{reasons:?}"
        );
        assert_eq!(reasons[2], format!("{beginning}: there are more than 1000 follow-up items"));
        assert_eq!(references(&store).await, ["d-1", "d-2"], "ahead {ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_success_is_retried_as_the_queue_says_and_counts_as_a_failure() {
    let store = paused(1).await;
    store.add_queue_item(QUEUE, order_named("a", "unknown queue once")).await.unwrap();
    let summary = performer().run_until_empty(store.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.retried), (1, 1));
    assert_eq!(references(&store).await, ["a-1", "a-2"]);

    let store = paused(0).await;
    for _ in 0..9 {
        store.add_queue_item(QUEUE, order_named("a", "unknown queue")).await.unwrap();
    }
    let ended = performer().max_consecutive_exceptions(3).run_until_empty(store.clone()).await;
    let Err(PerformerError::Faulted(summary)) = ended else { panic!("{ended:?}") };
    assert_eq!(summary.fault.as_deref(), Some("3 application exceptions in a row"));
}

/// The claim of the last report finds what it has added.
#[tokio::test(start_paused = true)]
async fn a_follow_up_of_the_own_queue_is_processed_in_the_same_run() {
    for ahead in [0, 4] {
        let store = paused(0).await;
        store.add_queue_item(QUEUE, order_named("a", "own queue")).await.unwrap();
        let summary = performer().claim_ahead(ahead).run_until_empty(store.clone()).await.unwrap();
        assert_eq!(summary.successful, 2);
        assert_eq!(references(&store).await, ["a-1", "a-2", "own-1", "own-2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_answer_was_lost_adds_nothing_twice() {
    for ahead in [0, 4] {
        let store = paused(0).await;
        store.add_queue_item(QUEUE, order_named("a", "ok")).await.unwrap();
        let faulty = FaultyOrchestrator::new(store.clone(), &[]);
        let lossy = Arc::new(Lossy { inner: faulty, was_lost: AtomicBool::new(false) });
        let summary = performer().claim_ahead(ahead).run_until_empty(lossy.clone()).await.unwrap();
        assert_eq!(summary.successful, 1);
        assert!(lossy.was_lost.load(Ordering::SeqCst));
        assert_eq!(references(&store).await, ["a-1", "a-2"], "ahead {ahead}");
    }
}

/// Loses the answer of the first call with a report.
#[derive(Debug)]
struct Lossy {
    inner: Arc<FaultyOrchestrator>,
    was_lost: AtomicBool,
}

#[async_trait]
impl Decorator for Lossy {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.inner
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        request: Option<performer::orchestrator::ClaimRequest>,
    ) -> performer::orchestrator::ReportAndClaimAnswer {
        if !reports.is_empty() && !self.was_lost.swap(true, Ordering::SeqCst) {
            self.inner.faults.lock().unwrap().push(CallFault::AnswerLost);
        }
        Orchestrator::report_and_claim(&*self.inner, reports, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_deleted_while_it_runs_adds_nothing() {
    let store = paused(0).await;
    let there = store.add_queue_item(QUEUE, order_named("a", "ok")).await.unwrap();
    let deleting = store.clone();
    let performer = Performer::from_fn(QUEUE, move |_: serde_json::Value, item: TransactionItem| {
        let store = deleting.clone();
        async move {
            item.also_add(NEXT, named("p"));
            let version = ItemVersion { id: there.id, row_version: item.queue_item().row_version };
            assert!(store.delete_queue_items(vec![version]).await.unwrap().is_empty());
            Ok(())
        }
    });
    let summary = performer.handle_signals(false).run_until_empty(store.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.claims_lost), (0, 1));
    assert_eq!(references(&store).await, [""; 0]);
}

/// As a back end of others before it knows of follow-ups.
#[derive(Debug)]
struct Unaware(Arc<Store>);

#[async_trait]
impl Decorator for Unaware {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.0
    }

    fn supports_follow_ups(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_back_end_without_follow_ups_nothing_is_lost_silently() {
    let store = paused(0).await;
    store.add_queue_item(QUEUE, order_named("a", "ok")).await.unwrap();
    let summary = performer().run_until_empty(Arc::new(Unaware(store.clone()))).await.unwrap();
    assert_eq!(summary.application_exceptions, 1);
    let reason = items(&store, QUEUE).await.remove(0).processing_exception.unwrap().reason;
    assert_eq!(reason, "the success could not be recorded: this back end does not add follow-up items");
    assert_eq!(references(&store).await, [""; 0]);
}

fn shown(follow_ups: &[FollowUp]) -> Vec<(&str, Option<&str>)> {
    follow_ups.iter().map(|it| (it.queue.as_str(), it.item.reference.as_deref())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_test_run_shows_what_would_be_added() {
    let tested = testing::perform(|| AlsoAdd, order_named("a", "ok")).await;
    assert_eq!(shown(&tested.follow_ups), [(NEXT, Some("a-1")), (NEXT, Some("a-2"))]);
    assert_eq!((tested.status(), tested.attempts.len()), (Status::Successful, 1));

    // The queue of the performer gets none either.
    let tested = testing::perform(|| AlsoAdd, order_named("a", "own queue")).await;
    assert_eq!((tested.follow_ups.len(), tested.attempts.len()), (3, 1));

    let retried = QueuePolicy::default().max_number_of_retries(1);
    let tested = testing::perform_with(retried, || AlsoAdd, order_named("a", "application once")).await;
    assert_eq!(shown(&tested.follow_ups), [(NEXT, Some("a-1")), (NEXT, Some("a-2"))]);

    for what in ["business", "application", "postpone", "panic"] {
        assert_eq!(testing::perform(|| AlsoAdd, order_named("a", what)).await.follow_ups, []);
    }
    let killed = TestRun::new(performer()).kill_after(HOUR).run(order_named("a", "hang")).await;
    assert_eq!((killed.outcome(), killed.follow_ups.len()), (Some(TransactionOutcome::GivenBack), 0));

    let tested = testing::perform(|| AlsoAdd, order_named("a", "nested")).await;
    assert!(tested.reason().unwrap().contains("follow-up 3 for queue \"Payments\""), "{:?}", tested.reason());
    assert_eq!((tested.status(), tested.follow_ups.len()), (Status::Failed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_and_a_shadow_run_add_nothing() {
    let store = paused(0).await;
    let recorded = store.add_queue_item(QUEUE, order_named("a", "ok")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let claimed: Vec<ClaimedItem> =
        store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    let reported = store.report_and_claim(vec![Report::new(claimed[0].claim, ok())], None).await.reports;
    assert_eq!(*reported[0].as_ref().unwrap(), Status::Successful);

    let replayed = testing::replay(&*store, recorded.id, || AlsoAdd).await.unwrap();
    assert_eq!(shown(&replayed.here.follow_ups), [(NEXT, Some("a-1")), (NEXT, Some("a-2"))]);
    assert_eq!(replayed.differences(), []);
    let report = performer().shadow(&*store, Shadow::last(10)).await.unwrap();
    assert_eq!((report.compared, report.different), (1, 0));
    assert_eq!(references(&store).await, [""; 0]);
    assert_eq!(items(&store, QUEUE).await.len(), 1);
}
