//! What makes a program short: a transaction that is a function, several performers in one process, and exit codes.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use performer::model::{JobKey, JobState, NewJob, SystemClock};
use performer::orchestrator::Decorator;
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{PerformerError, run_all, run_all_until_empty};
use serde_json::json;

fn memory() -> Arc<dyn Administration> {
    Arc::new(Store::memory_with_clock(Arc::new(SystemClock::new())))
}

async fn queue(orchestrator: &Arc<dyn Administration>, name: &str, amounts: &[u64]) {
    let policy = QueuePolicy::default().max_number_of_retries(1);
    orchestrator.ensure_queue(NewQueueDefinition::new(name).policy(policy)).await.unwrap();
    for amount in amounts {
        orchestrator.add_queue_item(name, NewQueueItem::new(json!({ "amount": amount }))).await.unwrap();
    }
}

#[derive(serde::Deserialize)]
struct Payment {
    amount: u64,
}

/// Pays, and counts what was paid. Refuses nothing; the bank is busy the first time for large amounts.
fn paying(queue: &str, paid: &Arc<AtomicU64>) -> Performer {
    let paid = paid.clone();
    let performer = Performer::from_fn(queue, move |payment: Payment, item| {
        let paid = paid.clone();
        async move {
            match payment.amount {
                0 => Err(BusinessException::new("there is nothing to pay"))?,
                1_000.. if item.retry_number() == 0 => Err(ApplicationException::new("the bank is busy"))?,
                _ => {}
            }
            Ok(json!({ "total": paid.fetch_add(payment.amount, Ordering::Relaxed) + payment.amount }))
        }
    });
    performer.handle_signals(false)
}

#[tokio::test]
async fn a_function_processes_items_and_shares_its_state_among_robots() {
    let (o, paid) = (memory(), Arc::new(AtomicU64::new(0)));
    queue(&o, "Payments", &[1, 20, 0, 3_000]).await;
    let summary = paying("Payments", &paid).robots(3).run_until_empty(o.clone()).await.unwrap();
    assert_eq!((summary.successful, summary.business_exceptions, summary.retried), (3, 1, 1));
    assert_eq!(paid.load(Ordering::Relaxed), 3_021);
    assert_eq!(summary.exit_code(), ExitCode::from(3), "one item failed");
}

#[tokio::test]
async fn content_that_does_not_fit_the_function_is_a_business_exception() {
    let (o, paid) = (memory(), Arc::new(AtomicU64::new(0)));
    queue(&o, "Payments", &[]).await;
    o.add_queue_item("Payments", NewQueueItem::new(json!({ "amount": "much" }))).await.unwrap();
    let summary = paying("Payments", &paid).run_until_empty(o).await.unwrap();
    assert_eq!((summary.business_exceptions, summary.successful), (1, 0));
}

#[tokio::test]
async fn several_performers_have_one_summary_and_one_exit_code() {
    let (o, paid) = (memory(), Arc::new(AtomicU64::new(0)));
    queue(&o, "Payments", &[1, 2]).await;
    queue(&o, "Refunds", &[5]).await;
    let both = || [paying("Payments", &paid), paying("Refunds", &paid)];
    let summary = run_all_until_empty(both(), o.clone()).await;
    assert_eq!(paid.load(Ordering::Relaxed), 8);
    assert_eq!(summary.exit_code(), ExitCode::SUCCESS);
    let shown = summary.to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("Payments: Successful: 2 successful"), "{shown}");
    assert!(lines[1].starts_with("Refunds: Successful: 1 successful"), "{shown}");

    queue(&o, "Refunds", &[0]).await;
    assert_eq!(run_all_until_empty(both(), o).await.exit_code(), ExitCode::from(3));
}

#[tokio::test]
async fn a_performer_that_cannot_go_on_stops_the_others() {
    let (o, paid) = (memory(), Arc::new(AtomicU64::new(0)));
    queue(&o, "Payments", &[1]).await;
    let missing = paying("Nowhere", &paid);
    let run = run_all([paying("Payments", &paid), missing], o.clone());
    let summary = tokio::time::timeout(Duration::from_secs(30), run).await.expect("the other one is stopped");
    assert_eq!(summary.exit_code(), ExitCode::FAILURE);
    let [payments, nowhere] = &summary.runs[..] else { panic!("{summary}") };
    assert_eq!((payments.queue.as_str(), nowhere.queue.as_str()), ("Payments", "Nowhere"));
    assert_eq!(payments.result.as_ref().unwrap().state, JobState::Stopped);
    assert!(matches!(nowhere.result, Err(PerformerError::NotStarted(_))));
    assert!(summary.to_string().contains("Nowhere: the performer did not start"), "{summary}");
}

#[tokio::test]
async fn several_performers_run_until_each_is_stopped() {
    let (o, paid) = (memory(), Arc::new(AtomicU64::new(0)));
    queue(&o, "Payments", &[1]).await;
    queue(&o, "Refunds", &[2]).await;
    let performers = [paying("Payments", &paid), paying("Refunds", &paid)];
    let stops: Vec<_> = performers.iter().map(Performer::stop_handle).collect();
    let running = tokio::spawn(run_all(performers, o.clone()));
    let both_are_paid = async {
        while paid.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), both_are_paid).await.unwrap();
    stops.iter().for_each(performer::StopHandle::stop);
    let summary = running.await.unwrap();
    assert!(summary.runs.iter().all(|run| run.result.as_ref().unwrap().state == JobState::Stopped));
    assert_eq!(summary.exit_code(), ExitCode::SUCCESS);
}

/// A back end with a fault.
#[derive(Debug)]
struct Panics(Arc<dyn Administration>);

#[async_trait]
impl Decorator for Panics {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.0
    }

    async fn start_job(&self, job: NewJob) -> performer::orchestrator::Result<JobKey> {
        assert!(job.queue != "Refunds", "a fault of the back end");
        self.0.start_job(job).await
    }
}

#[tokio::test]
async fn a_performer_that_panics_is_named_and_stops_the_others() {
    let (o, paid) = (memory(), Arc::new(AtomicU64::new(0)));
    queue(&o, "Payments", &[1]).await;
    queue(&o, "Refunds", &[2]).await;
    let run = run_all([paying("Refunds", &paid), paying("Payments", &paid)], Arc::new(Panics(o.clone())));
    let summary = tokio::time::timeout(Duration::from_secs(30), run).await.expect("the other one is stopped");
    assert_eq!((summary.runs.len(), summary.exit_code()), (2, ExitCode::FAILURE));
    let shown = summary.to_string();
    assert!(
        shown.contains("Refunds: the performer panicked") && shown.contains("a fault of the back end"),
        "{shown}"
    );
    assert!(shown.contains("Payments: Stopped"), "{shown}");
}

#[test]
fn no_performers_are_done_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let summary = runtime.block_on(run_all([], memory()));
    assert_eq!((summary.runs.len(), summary.exit_code()), (0, ExitCode::SUCCESS));
}
