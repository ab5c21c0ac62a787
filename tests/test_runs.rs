//! `testing::TestRun`: what a user's test can see of a transaction. Time is tokio's and paused, so nothing here waits.

use std::time::Duration;

use performer::prelude::*;
use performer::testing::{self, TestRun};
use performer::{ExceptionType, JobState, PerformerEvent, TransactionOutcome};
use serde_json::json;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Does what the content says.
#[derive(Default)]
struct Obedient {
    opened: usize,
}

#[derive(serde::Deserialize)]
struct Order {
    what: String,
}

#[async_trait]
impl Transaction for Obedient {
    type Content = Order;
    type Output = ();

    async fn open_applications(&mut self) -> Result<(), Exception> {
        self.opened += 1;
        Ok(())
    }

    async fn process(&mut self, order: Order, item: &TransactionItem) -> Result<(), Exception> {
        match order.what.as_str() {
            "fail" => Err(ApplicationException::new("the printer is off"))?,
            "fail once" if item.retry_number() == 0 => Err(ApplicationException::new("the printer is off"))?,
            "refuse" => Err(BusinessException::new("no such customer"))?,
            "panic" => panic!("out of paper"),
            "postpone" => return Err(Exception::postpone_for(HOUR)),
            "work for two hours" => tokio::time::sleep(2 * HOUR).await,
            "work until a stop" => {
                item.stop_requested().await;
                item.progress("stopped in the middle");
                tokio::time::sleep(SECOND).await; // to finish the page
            }
            _ => {}
        }
        Ok(())
    }

    async fn close_applications(&mut self) -> Result<(), Exception> {
        Ok(())
    }
}

fn item(what: &str) -> NewQueueItem {
    NewQueueItem::new(json!({ "what": what }))
}

fn performer() -> Performer {
    Performer::new("Orders", Obedient::default)
}

#[tokio::test(start_paused = true)]
async fn it_shows_how_often_applications_were_opened_and_closed() {
    for (what, status, opened) in [
        ("work", Status::Successful, 1),
        ("refuse", Status::Failed, 1),
        ("fail", Status::Failed, 2),
        ("panic", Status::Failed, 2),
    ] {
        let tested = testing::perform(Obedient::default, item(what)).await;
        assert_eq!((tested.status(), tested.opened(), tested.closed()), (status, opened, opened), "{what}");
    }
    let once = QueuePolicy::default().max_number_of_retries(1);
    let tested = testing::perform_with(once, Obedient::default, item("fail once")).await;
    assert_eq!((tested.attempts.len(), tested.status()), (2, Status::Successful));
    assert_eq!((tested.opened(), tested.closed()), (2, 2));
    let kinds: Vec<_> = tested.events.iter().map(|event| format!("{event:?}")).collect();
    let order = ["Opened", "Started", "Ended", "Closed", "Opened", "Started", "Ended", "Closed"];
    let seen: Vec<_> = kinds.iter().filter(|kind| !kind.starts_with("Job")).collect();
    assert_eq!(seen.len(), order.len(), "{seen:#?}");
    for (seen, expected) in seen.iter().zip(order) {
        assert!(seen.split(' ').next().unwrap().ends_with(expected), "{expected}: {seen}");
    }
}

/// Its applications cannot be opened, or cannot be closed.
struct Stuck {
    opens: bool,
}

#[async_trait]
impl Transaction for Stuck {
    type Content = serde_json::Value;
    type Output = ();

    async fn open_applications(&mut self) -> Result<(), Exception> {
        if self.opens { Ok(()) } else { Err(ApplicationException::new("the licence has expired").into()) }
    }

    async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
        Ok(())
    }

    async fn close_applications(&mut self) -> Result<(), Exception> {
        Err(ApplicationException::new("a dialog is open").into())
    }
}

#[tokio::test(start_paused = true)]
async fn it_shows_applications_that_cannot_be_opened_or_closed() {
    let tested = testing::perform(|| Stuck { opens: false }, item("work")).await;
    assert_eq!((tested.status(), tested.outcome()), (Status::New, None));
    assert_eq!((tested.opened(), tested.summary.state), (0, JobState::Faulted));
    let fault = tested.summary.fault.unwrap();
    assert!(fault.contains("the licence has expired"), "{fault}");

    let tested = testing::perform(|| Stuck { opens: true }, item("work")).await;
    assert_eq!((tested.status(), tested.opened(), tested.closed()), (Status::Successful, 1, 1));
    let error = Some("a dialog is open".to_owned());
    assert!(tested.events.contains(&PerformerEvent::ApplicationsClosed { robot: 1, error }));
}

#[tokio::test(start_paused = true)]
async fn it_shows_a_postponement_and_its_time() {
    let tested = TestRun::new(performer()).run(item("postpone")).await;
    assert_eq!((tested.status(), tested.outcome()), (Status::New, Some(TransactionOutcome::Postponed)));
    let until = tested.postponed_until().unwrap();
    let after = until.duration_since(tested.item().creation_time);
    assert!(after >= jiff_duration(HOUR) && after < jiff_duration(HOUR + 60 * SECOND), "{after}");
    // An item that only waits was not postponed.
    let tested = TestRun::new(performer()).run(item("work").defer_date(until)).await;
    assert_eq!((tested.status(), tested.outcome()), (Status::New, None));
    assert_eq!((tested.item().defer_date, tested.postponed_until()), (Some(until), None));
}

fn jiff_duration(time: Duration) -> jiff::SignedDuration {
    time.try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_of_an_hour_takes_an_hour_of_paused_time() {
    let began = Instant::now();
    let tested = TestRun::new(performer().time_limit(HOUR)).run(item("work for two hours")).await;
    assert_eq!(tested.reason(), Some("did not end within its time limit of 3600s"));
    assert_eq!(tested.exception_type(), Some(ExceptionType::ApplicationException));
    assert_eq!(tested.outcome(), Some(TransactionOutcome::ApplicationException));
    assert!(began.elapsed() >= HOUR && began.elapsed() < HOUR + 60 * SECOND, "{:?}", began.elapsed());
    // The limit is one of each attempt, and the applications are opened anew after it.
    assert_eq!((tested.opened(), tested.closed()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_application_exception_with_its_text() {
    let tested = TestRun::new(performer()).run(item("panic")).await;
    assert_eq!(tested.reason(), Some("panicked: out of paper"));
    assert_eq!(tested.exception_type(), Some(ExceptionType::ApplicationException));
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_is_seen_by_the_transaction() {
    let began = Instant::now();
    let tested = TestRun::new(performer()).stop_after(10 * SECOND).run(item("work until a stop")).await;
    assert_eq!((tested.status(), tested.progress()), (Status::Successful, Some("stopped in the middle")));
    assert_eq!(tested.summary.state, JobState::Stopped);
    assert!(tested.events.contains(&PerformerEvent::StopRequested));
    assert!(began.elapsed() >= 10 * SECOND && began.elapsed() < 20 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_ignores_a_stop_is_given_back_after_the_grace_period() {
    let began = Instant::now();
    let performer = performer().grace_period(100 * SECOND);
    let tested = TestRun::new(performer).stop_after(10 * SECOND).run(item("work for two hours")).await;
    assert_eq!((tested.status(), tested.outcome()), (Status::New, Some(TransactionOutcome::GivenBack)));
    assert_eq!((tested.postponed_until(), tested.item().retry_number), (None, 0));
    assert!(began.elapsed() >= 110 * SECOND && began.elapsed() < 120 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_kill_in_the_middle_gives_the_item_back_at_once() {
    let began = Instant::now();
    let tested = TestRun::new(performer()).kill_after(10 * SECOND).run(item("work for two hours")).await;
    assert_eq!((tested.status(), tested.outcome()), (Status::New, Some(TransactionOutcome::GivenBack)));
    assert_eq!((tested.opened(), tested.closed()), (1, 1));
    assert!(began.elapsed() >= 10 * SECOND && began.elapsed() < 20 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_performers_own_events_and_queue_are_kept() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(0));
    let count = seen.clone();
    let queue = Performer::from_fn("Orders", async |_: serde_json::Value, item: TransactionItem| {
        Ok(json!({ "queue": item.queue() }))
    });
    let performer = queue.on_event(move |_| *count.lock().unwrap() += 1);
    let tested = TestRun::new(performer).run(item("work")).await;
    assert_eq!(tested.output::<serde_json::Value>(), json!({"queue": "Orders"}));
    assert_eq!(*seen.lock().unwrap(), tested.events.len());
}
