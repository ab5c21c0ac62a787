//! The store in PostgreSQL, where it differs from the others: several processes at once, and connections that are cut
//! at every byte.

#![cfg(feature = "postgres")]

mod claim_cursor;
mod claim_order;
mod claim_rows;
mod lost_connections;

use std::sync::Arc;

use performer::model::{ClaimedItem, ManualClock, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{Administration, Orchestrator, Report};
use performer::prelude::*;
use performer::tokio_postgres;
use performer::{
    ErrorKind, ItemFilter, JobKey, NewQueueDefinition, Page, QueuePolicy, ReferenceFilter, Status,
};
use performer_proofs::cutting_proxy::{Direction, Proxy};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, application, named, new_job, ok, start_of_time, take};

/// A transaction that succeeds.
struct Nothing;

#[async_trait]
impl Transaction for Nothing {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: Self::Content, _: &TransactionItem) -> Result<(), Exception> {
        Ok(())
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_of_time()))
}

async fn open(url: &str) -> Store {
    Store::postgres_with_clock(url, clock()).await.unwrap()
}

/// The outcome of a call, and the state after the connection is back.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    NotDone,
}

/// The default distance between cuts, in bytes. `PERFORMER_CUTS=1` cuts at every byte, which takes nearly an hour.
fn stride(by_default: usize) -> usize {
    std::env::var("PERFORMER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(by_default)
}

/// Cuts the connection after each number of bytes, in both directions, during `act`. `is_done` says whether the change
/// was made. The answer must be true: a call that succeeds was made, one that fails was not; and no outcome is unknown,
/// because the database knows it.
async fn cut_everywhere<T>(
    name: &str,
    prepare: impl AsyncFn(&Store) -> T,
    act: impl AsyncFn(&Store, &T) -> performer::orchestrator::Result<()>,
    is_done: impl AsyncFn(&Store, &T) -> bool,
) {
    let schema = Schema::new();
    let proxy = Proxy::start(&schema.url);
    let direct = open(&schema.url).await;
    let cut = open(&proxy.url()).await;
    direct
        .create_queue(NewQueueDefinition::new(QUEUE).policy(QueuePolicy::default().max_number_of_retries(1)))
        .await
        .unwrap();
    let (mut answered_yes, mut answered_no, mut done_unheard) = (0, 0, 0);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut at = 0;
        loop {
            let what = prepare(&direct).await;
            // The statements are prepared and the connection is open: only the call itself is cut.
            let before = prepare(&direct).await;
            act(&cut, &before).await.unwrap();
            proxy.cut_after(direction, at);
            let answer = act(&cut, &what).await;
            let was_cut = proxy.restore();
            let there = if is_done(&direct, &what).await { Outcome::Done } else { Outcome::NotDone };
            match &answer {
                Ok(()) => {
                    assert_eq!(there, Outcome::Done, "{name}: cut at byte {at} {direction:?}");
                    answered_yes += 1;
                    done_unheard += u32::from(was_cut && direction == Direction::ToClient);
                }
                Err(error) => {
                    assert_eq!(
                        error.kind(),
                        ErrorKind::Unavailable,
                        "{name}: {error} at byte {at} {direction:?}"
                    );
                    assert_eq!(there, Outcome::NotDone, "{name}: {error}, cut at byte {at} {direction:?}");
                    answered_no += 1;
                }
            }
            if !was_cut {
                break; // longer than the call
            }
            at += stride(13);
        }
        assert!(at > 50, "{name}: {at} bytes {direction:?}");
    }
    eprintln!(
        "{name}: {answered_yes} done ({done_unheard} of them settled by asking), {answered_no} not done"
    );
    assert!(answered_no > 20 && done_unheard > 0, "{name}: the connection was cut in the middle");
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("r{:06}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn given_back() -> TransactionResult {
    TransactionResult::GivenBack
}

async fn with_reference(store: &Store, reference: &str) -> Vec<performer::QueueItem> {
    let reference = Some(ReferenceFilter::Equals(reference.to_owned()));
    store.list_queue_items(ItemFilter::default().reference(reference), Page::default()).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_add_is_made_at_most_once_wherever_the_connection_is_cut() {
    cut_everywhere(
        "add",
        async |_| unique(),
        async |store, reference| store.add_queue_item(QUEUE, named(reference)).await.map(drop),
        async |store, reference| match with_reference(store, reference).await.len() {
            0 => false,
            1 => true,
            more => panic!("{more} items were added by one call"),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_a_report_is_known_wherever_the_connection_is_cut() {
    cut_everywhere(
        "report",
        async |store| {
            let job = store.start_job(new_job()).await.unwrap();
            let reference = unique();
            store.add_queue_item(QUEUE, named(&reference)).await.unwrap();
            let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
            taken.into_iter().next().unwrap()
        },
        async |store, claimed: &ClaimedItem| {
            let claim = claimed.claim;
            let mut answers = store.report_and_claim(vec![Report::new(claim, ok())], None).await.reports;
            answers.pop().unwrap().map(drop)
        },
        async |store, claimed| {
            let item = store.get_queue_item(claimed.item.id).await.unwrap();
            item.status == Status::Successful
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_a_report_with_a_claim_is_known_wherever_the_connection_is_cut() {
    cut_everywhere(
        "report and take",
        async |store| {
            let job = store.start_job(new_job()).await.unwrap();
            let reference = unique();
            store.add_queue_item(QUEUE, named(&reference)).await.unwrap();
            store.add_queue_item(QUEUE, named(&unique())).await.unwrap();
            // Not a retry copy, which would not be retried.
            let this = take(job, 1).reference(ReferenceFilter::Equals(reference));
            let taken = store.report_and_claim(Vec::new(), Some(this)).await.claimed.unwrap().items;
            (job, taken.into_iter().next().unwrap())
        },
        async |store, (job, claimed): &(JobKey, ClaimedItem)| {
            let result = application("the world is wrong");
            let report = Report::new(claimed.claim, result).progress("almost");
            let mut answer = store.report_and_claim(vec![report], Some(take(*job, 1))).await;
            let taken = answer.claimed.map(drop);
            answer.reports.pop().unwrap().map(drop).and(taken)
        },
        async |store, (_, claimed)| {
            let item = store.get_queue_item(claimed.item.id).await.unwrap();
            let chain = store.processing_history(item.id).await.unwrap();
            match item.status {
                Status::Retried => {
                    assert_eq!(chain.len(), 2, "with its copy");
                    true
                }
                Status::InProgress => {
                    assert_eq!(chain.len(), 1, "no copy without the report");
                    false
                }
                other => panic!("{other}"),
            }
        },
    )
    .await;
}

/// The network fails during a commit: the server keeps the transaction and its locks until it is told to end it. Each
/// answer is true, and the next caller does not have to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_process_that_does_not_notice_a_lost_connection_is_ended() {
    let schema = Schema::new();
    let proxy = Proxy::start(&schema.url);
    let (direct, cut) = (open(&schema.url).await, open(&proxy.url()).await);
    direct.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let (mut undone, mut at) = (0, 0);
    loop {
        cut.add_queue_item(QUEUE, named(&unique())).await.unwrap();
        let reference = unique();
        proxy.cut_silently_after(Direction::ToServer, at);
        let answer = cut.add_queue_item(QUEUE, named(&reference)).await;
        let was_cut = proxy.restore();
        let there = with_reference(&direct, &reference).await.len();
        assert_eq!(there, usize::from(answer.is_ok()), "{answer:?} at byte {at}");
        undone += usize::from(answer.is_err());
        if !was_cut {
            break;
        }
        at += 260;
    }
    assert!(undone > 2, "{undone}");
    // Nothing is left of them, not even locks: this call waits for everybody who uses the queue.
    direct.delete_queue(QUEUE).await.unwrap();
    let in_transaction =
        "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%{schema}%'";
    assert_eq!(schema.run(in_transaction), Vec::<Vec<Option<String>>>::new());
}

/// Nobody sees half a schema, and it is created once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_created_once_by_concurrent_openers() {
    let schema = Schema::new();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let url = schema.url.clone();
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().list_queues().await.unwrap();
    }
    let versions = schema.run("SELECT version FROM {schema}.schema_version");
    assert_eq!(versions.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_a_newer_version_is_left_alone() {
    let schema = Schema::new();
    open(&schema.url).await;
    schema.run("UPDATE {schema}.schema_version SET version = 1000, oldest = 1000");
    let error = Store::postgres(&schema.url).await.unwrap_err();
    assert!(error.to_string().contains("upgrade this program"), "{error}");
}

/// The schema is migrated while a performer runs: one that does not know the required version stops and changes
/// nothing; another continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_program_that_is_too_old_for_the_schema_stops() {
    let schema = Schema::new();
    let store = open(&schema.url).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    schema.run("UPDATE {schema}.schema_version SET version = 1000");
    store.add_queue_item(QUEUE, named("a")).await.expect("what is newer may be good enough");
    open(&schema.url).await;
    schema.run("UPDATE {schema}.schema_version SET oldest = 1000");
    let error = store.add_queue_item(QUEUE, named("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("upgrade this program"), "{error}");
    let performed = Performer::new(QUEUE, || Nothing).run_until_empty(Arc::new(store.clone())).await;
    let fault = performed.unwrap_err().to_string();
    assert!(fault.contains("upgrade this program"), "a performer ends Faulted, and says why: {fault}");
    schema.run("UPDATE {schema}.schema_version SET oldest = 1");
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, 1);
}

/// If a robot waits, added items are locked for it with the commit; if it does not come, another process is notified
/// and claims them, long before its next poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_locked_for_a_robot_that_does_not_come_are_announced_to_others() {
    let schema = Schema::new();
    let (here, there) = (open(&schema.url).await, open(&schema.url).await);
    here.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let (looks, works) =
        (here.start_job(new_job()).await.unwrap(), there.start_job(new_job()).await.unwrap());
    for n in 0..40 {
        let nothing = here.report_and_claim(Vec::new(), Some(take(looks, 1))).await.claimed.unwrap();
        assert_eq!(nothing.items.len(), 0, "it has looked, and goes away");
        let mut nothing = there.report_and_claim(Vec::new(), Some(take(works, 1))).await.claimed.unwrap();
        here.add_queue_item(QUEUE, named(&n.to_string())).await.unwrap();
        if n % 2 == 1 {
            here.beat(looks).await.unwrap(); // somebody else comes, in the robot's stead
        }
        let taken = async {
            loop {
                there.wait_for_items(QUEUE, nothing.seen, std::time::Duration::from_secs(60)).await;
                nothing = there.report_and_claim(Vec::new(), Some(take(works, 1))).await.claimed.unwrap();
                if let Some(item) = nothing.items.pop() {
                    break item;
                }
            }
        };
        let item =
            tokio::time::timeout(std::time::Duration::from_secs(20), taken).await.expect("it hears of it");
        assert_eq!(item.item.reference, Some(n.to_string()));
    }
}

/// Adds of others are notified, not polled: the wait ends long before its time limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_added_by_another_process_wakes_waiters() {
    let schema = Schema::new();
    let (here, there) = (open(&schema.url).await, open(&schema.url).await);
    here.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = here.start_job(new_job()).await.unwrap();
    loop {
        let taken = here.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
        if !taken.items.is_empty() {
            break;
        }
        let waiting = here.wait_for_items(QUEUE, taken.seen, std::time::Duration::from_secs(60));
        let adding = there.add_queue_item(QUEUE, named("x"));
        let ((), added) = tokio::join!(waiting, adding);
        added.unwrap();
    }
}

/// The server was restarted, or an administrator ended the connection: the next call opens another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_is_reopened() {
    let schema = Schema::new();
    let store = open(&format!("{}&application_name={}", schema.url, schema.name())).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let end_all = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema.name()
    );
    for n in 0..3 {
        assert!(!schema.run(&end_all).is_empty(), "connections were ended");
        // At most one call notices it.
        let added = match store.add_queue_item(QUEUE, named(&format!("{n}"))).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                store.add_queue_item(QUEUE, named(&format!("{n}"))).await
            }
            added => added,
        };
        added.unwrap();
    }
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, 3);
}

/// Two servers on one database: what one issues, such as a token, is valid at the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_act_as_one_orchestrator() {
    use performer_proofs::test_server::TestServer;
    let schema = Schema::new();
    let first = TestServer::start(open(&schema.url).await).await;
    let second = TestServer::start(open(&schema.url).await).await;
    let here = first.client().connect().await.unwrap();
    let there = second.client().connect().await.unwrap();
    here.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for n in 0..20 {
        let client: &dyn Administration = if n % 2 == 0 { &here } else { &there };
        client.add_queue_item(QUEUE, named(&format!("{n:02}"))).await.unwrap();
    }
    let (a, b) = (here.start_job(new_job()).await.unwrap(), there.start_job(new_job()).await.unwrap());
    let mut taken = Vec::new();
    for _ in 0..10 {
        for (client, job) in [(&here, a), (&there, b)] {
            let items = client.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
            let claimed = items.into_iter().next().expect("there are as many as are taken");
            // Each is reported at the other server: a claim belongs to the job, and the job to the database.
            let other = if job == a { &there } else { &here };
            let report = Report::new(claimed.claim, ok());
            other.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
            taken.push(claimed.item.reference.unwrap());
        }
    }
    assert!(taken.is_sorted() && taken.len() == 20, "{taken:?}");
    assert_eq!(there.queue_statistics(QUEUE).await.unwrap().successful, 20);
}
