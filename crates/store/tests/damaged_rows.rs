//! Damaged rows in a store, and statements that it refuses: one of them must stop neither its queue nor the calls in the same
//! batch.
#![cfg(feature = "sqlite")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use performer::jiff::Timestamp;
use performer::model::{ClaimedItem, ManualClock, NewJob, ReferenceFilter};
use performer::orchestrator::store::Store;
use performer::orchestrator::{
    ClaimRequest, ItemAdministration as _, Orchestrator as _, QueueAdministration as _, Report,
};
use performer::{
    Administration, ErrorKind, ItemFilter, ItemId, JobKey, NewQueueDefinition, OrchestratorError, Page,
    QueueItem, QueuePolicy, Status,
};
use performer_proofs::captured_log::CapturedLog;
use performer_proofs::*;

/// A store that a test damages with another program's connection.
struct Damaged {
    store: Arc<dyn Administration>,
    /// Opens the store as another process does, which took none of its items and so has to read their rows.
    url: String,
    execute: Box<dyn Fn(&str)>,
}

impl Damaged {
    async fn sqlite(folder: &Path) -> Self {
        let path = folder.join("queue.db");
        let store = Arc::new(Store::sqlite(&path).await.unwrap());
        let url = format!("sqlite:{}", path.display());
        let execute = move |sql: &str| execute(&path, sql);
        Self { store, url, execute: Box::new(execute) }
    }

    #[cfg(feature = "postgres")]
    async fn postgres(schema: Arc<postgres::Schema>) -> Self {
        let store = Arc::new(Store::postgres(&schema.url).await.unwrap());
        Self { store, url: schema.url.clone(), execute: Box::new(move |sql| drop(schema.run(sql))) }
    }

    async fn add(&self, reference: &str) -> ItemId {
        self.store.add_queue_item(QUEUE, named(reference)).await.unwrap().id
    }
}

/// Another program's connection.
fn raw(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

fn execute(path: &Path, sql: &str) {
    raw(path).execute_batch(&sql.replace("{schema}.", "")).unwrap();
}

/// What another program may have written into a row of the table `item`.
const OF_ANY_STORE: &[&str] = &["priority = 99"];
const OF_SQLITE: &[&str] = &[
    "priority = -1",
    "creation_time = 9223372036854775807",
    "risk_sla_date = -9223372036854775808",
    "unique_key = x'00'",
    "reference = CAST(x'ff' AS TEXT)",
    "content = CAST(x'7b22ff227d' AS TEXT)",
];

async fn a_damaged_row_stops_nobody(damaged: &Damaged, damages: &[&str]) {
    let store = &damaged.store;
    let policy = QueuePolicy::default().retry_abandoned_items(true);
    for damage in damages {
        store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy.clone())).await.unwrap();
        let job = store.start_job(new_job()).await.unwrap();

        // It waits before others, and a claim for one item passes over it, again and again.
        let bad = damaged.add("bad").await;
        let good = [damaged.add("b").await, damaged.add("c").await, damaged.add("d").await];
        let held = damaged.add("held").await;
        let only = |name: &str| Some(ReferenceFilter::Equals(name.to_owned()));
        let taken = take(job, 1).reference(only("held"));
        let taken = store.report_and_claim(Vec::new(), Some(taken)).await.claimed.unwrap().items;
        let held_claim = taken[0].claim;
        (damaged.execute)(&format!("UPDATE {{schema}}.item SET {damage} WHERE id = {bad}"));
        let mut claims = Vec::new();
        for expected in good {
            let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
            assert_eq!(taken.iter().map(|item| item.item.id).collect::<Vec<_>>(), [expected], "{damage}");
            claims.push(taken[0].claim);
        }
        let taken = store.report_and_claim(Vec::new(), Some(take(job, 9))).await.claimed.unwrap();
        assert!(taken.items.is_empty(), "{damage}");
        let prefixed = take(job, 9).reference(ReferenceFilter::StartsWith("b".to_owned()));
        let taken = store.report_and_claim(Vec::new(), Some(prefixed)).await.claimed.unwrap();
        assert!(taken.items.is_empty(), "{damage}");

        // Lists pass over it; who asks for it is told.
        let listed = store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items;
        let listed: Vec<ItemId> = listed.iter().map(|item| item.id).collect();
        assert!(good.iter().all(|id| listed.contains(id)) && !listed.contains(&bad), "{damage}: {listed:?}");
        let error = store.get_queue_item(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.to_string().contains("cannot be read"), "{error}");

        // One call: a report on an item whose row cannot be read, one on another item, and a claim.
        (damaged.execute)(&format!("UPDATE {{schema}}.item SET {damage} WHERE id = {held}"));
        damaged.add("e").await;
        let report = |claim| Report::new(claim, ok());
        let reports = vec![report(claims[0]), report(held_claim), report(claims[1])];
        let elsewhere = performer::connect(&damaged.url).await.unwrap();
        let answer = elsewhere.report_and_claim(reports, Some(take(job, 1))).await;
        let statuses: Vec<_> =
            answer.reports.into_iter().map(|report| report.map_err(|e| e.kind())).collect();
        let ended = Ok(Status::Successful);
        // A report reads the state of an item, and not its content.
        let of_state = ["priority", "creation_time"].iter().any(|column| damage.starts_with(column));
        let on_damaged = if of_state { Err(ErrorKind::Other) } else { ended };
        assert_eq!(statuses, [ended, on_damaged, ended], "{damage}");
        assert_eq!(answer.claimed.unwrap().items.len(), 1, "{damage}");

        // The end of the job abandons what it can, and the queue can be deleted.
        store.end_job(job, performer::JobState::Faulted.into()).await.unwrap();
        assert_ne!(store.get_queue_item(good[2]).await.unwrap().status, Status::InProgress, "{damage}");
        store.delete_queue(QUEUE).await.unwrap();
        assert!(store.list_queues().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn sqlite_skips_a_damaged_row() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = Damaged::sqlite(folder.path()).await;
    a_damaged_row_stops_nobody(&damaged, &[OF_ANY_STORE, OF_SQLITE].concat()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_skips_a_damaged_row() {
    let damaged = Damaged::postgres(Arc::new(postgres::Schema::new())).await;
    a_damaged_row_stops_nobody(&damaged, OF_ANY_STORE).await;
}

/// The rest of the queue is handed out, and the log names each damaged row once and what is wrong with it, however often it is
/// passed over.
async fn a_damaged_row_is_reported_once(store: &Store, listed_first: bool, execute: impl Fn(&str)) {
    let log = CapturedLog::start(tracing::Level::INFO);
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let (mut damaged, mut good) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let id = store.add_queue_item(QUEUE, named(&number.to_string())).await.unwrap().id;
        if number % 3 == 0 { damaged.push(id) } else { good.push(id) }
    }
    for id in &damaged {
        execute(&format!("UPDATE {{schema}}.item SET priority = 99 WHERE id = {id}"));
    }
    let list = async || store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items;
    if listed_first {
        assert_eq!(list().await.len(), 4);
    }
    for expected in good {
        let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
        assert_eq!(taken.iter().map(|item| item.item.id).collect::<Vec<_>>(), [expected]);
    }
    for _ in 0..5 {
        let taken = store.report_and_claim(Vec::new(), Some(take(job, 5))).await.claimed.unwrap();
        assert!(taken.items.is_empty());
        assert_eq!(list().await.len(), 4);
    }
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("it is passed over")).collect();
    assert_eq!(lines.len(), damaged.len(), "{text}");
    for id in damaged {
        let of_item = lines.iter().find(|line| line.contains(&format!("item={id} ")));
        let line = of_item.unwrap_or_else(|| panic!("{id}: {text}"));
        assert!(line.contains("ERROR") && line.contains("\"99\" is not a Priority"), "{line}");
    }
}

/// A store that is called directly, on the thread whose log is captured, has no reason to wait.
fn without_waiting(test: impl Future<Output = ()>) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::pin!(test).poll(&mut context).is_ready());
}

#[test]
fn sqlite_reports_a_damaged_row_once() {
    for listed_first in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let store = Store::simulated_sqlite(&path, clock, 1).unwrap();
        without_waiting(a_damaged_row_is_reported_once(&store, listed_first, |sql| execute(&path, sql)));
    }
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_reports_a_damaged_row_once() {
    for listed_first in [false, true] {
        let schema = postgres::Schema::new();
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let store = Store::simulated_postgres(&schema.url, clock, 1).unwrap();
        without_waiting(a_damaged_row_is_reported_once(&store, listed_first, |sql| drop(schema.run(sql))));
    }
}

/// Two queues, each with a job that holds an item and with an item that waits.
struct TwoQueues {
    store: Store,
    path: PathBuf,
    sides: Vec<Side>,
}

struct Side {
    queue: &'static str,
    job: JobKey,
    held: Vec<ClaimedItem>,
    waiting: ItemId,
}

/// The answers to the calls of one batch.
struct Answers {
    claimed: [Result<Vec<ClaimedItem>, OrchestratorError>; 2],
    added: [Result<QueueItem, OrchestratorError>; 2],
    reported: Result<Status, OrchestratorError>,
}

impl TwoQueues {
    async fn new(folder: &Path) -> Self {
        let path = folder.join("queue.db");
        let store = Store::sqlite(&path).await.unwrap();
        let mut sides = Vec::new();
        for queue in [QUEUE, "Orders"] {
            store.create_queue(NewQueueDefinition::new(queue)).await.unwrap();
            let job = NewJob::new(queue).machine("test").process_id(1).version("0").robots(1);
            let job = store.start_job(job.lease(std::time::Duration::from_secs(30))).await.unwrap();
            store.add_queue_item(queue, named("held")).await.unwrap();
            let take = ClaimRequest::new(queue, job, 1).robot(1);
            let held = store.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap().items;
            let waiting = store.add_queue_item(queue, named("waiting")).await.unwrap().id;
            sides.push(Side { queue, job, held, waiting });
        }
        Self { store, path, sides }
    }

    /// Calls of both queues in one batch: they come while another connection holds the file.
    async fn one_batch(&self, references: [&str; 2]) -> Answers {
        let claim = |side: &Side| {
            let take = ClaimRequest::new(side.queue, side.job, 1).robot(1);
            async move {
                self.store.report_and_claim(Vec::new(), Some(take)).await.claimed.map(|taken| taken.items)
            }
        };
        let add = |side: &Side, reference: &str| {
            let (queue, item) = (side.queue, named(reference));
            async move { self.store.add_queue_item(queue, item).await }
        };
        let report = async {
            let report = Report::new(self.sides[0].held[0].claim, ok());
            self.store.report_and_claim(vec![report], None).await.reports.remove(0)
        };
        let busy = raw(&self.path);
        busy.execute_batch("BEGIN IMMEDIATE").unwrap();
        let [good, bad] = [&self.sides[0], &self.sides[1]];
        let (good_claim, bad_add, bad_claim, reported, good_add, ()) = tokio::join!(
            claim(good),
            add(bad, references[1]),
            claim(bad),
            report,
            add(good, references[0]),
            async { busy.execute_batch("COMMIT").unwrap() }, // after each of the others was sent
        );
        Answers { claimed: [good_claim, bad_claim], added: [good_add, bad_add], reported }
    }
}

/// All calls of a transaction have the same time. So without a failure the calls of the test below are in one.
#[tokio::test]
async fn calls_that_come_while_the_file_is_busy_are_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let queues = TwoQueues::new(folder.path()).await;
    let Answers { claimed, added, reported } = queues.one_batch(["a", "b"]).await;
    assert_eq!(reported.unwrap(), Status::Successful);
    let ended = queues.store.get_queue_item(queues.sides[0].held[0].item.id).await.unwrap().end_processing;
    let started = claimed.into_iter().map(|taken| taken.unwrap()[0].item.start_processing);
    let created = added.into_iter().map(|item| Some(item.unwrap().creation_time));
    let times: Vec<Option<Timestamp>> = started.chain(created).chain([ended]).collect();
    assert!(times[0].is_some() && times.iter().all(|time| *time == times[0]), "{times:?}");
}

/// One add and one claim that the file refuses, in one batch with calls of another queue: those two fail, and what the others
/// did is recorded once.
#[tokio::test]
async fn an_operation_that_fails_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let queues = TwoQueues::new(folder.path()).await;
    let TwoQueues { store, path, sides } = &queues;
    let before = store.get_queue_item(sides[1].waiting).await.unwrap();
    execute(
        path,
        &format!(
            "CREATE TRIGGER no_item BEFORE INSERT ON item WHEN NEW.reference = 'refused' \
             BEGIN SELECT RAISE(ABORT, 'the test says no item'); END; \
             CREATE TRIGGER no_claim BEFORE INSERT ON item_state WHEN NEW.item_id = {} \
             BEGIN SELECT RAISE(ABORT, 'the test says no claim'); END;",
            sides[1].waiting
        ),
    );
    let Answers { claimed: [good_claim, bad_claim], added: [good_add, bad_add], reported } =
        queues.one_batch(["accepted", "refused"]).await;
    for (error, reason) in [(bad_add.unwrap_err(), "no item"), (bad_claim.unwrap_err(), "no claim")] {
        let text = error.with_causes().to_string();
        assert!(text.contains(&format!("the test says {reason}")), "{text}");
    }
    assert_eq!(reported.unwrap(), Status::Successful);
    let taken = good_claim.unwrap();
    assert_eq!(taken.iter().map(|item| item.item.id).collect::<Vec<_>>(), [sides[0].waiting]);
    let added = good_add.unwrap();

    // Once each: the events and the counts, which are written with the items.
    for (id, events) in [(sides[0].held[0].item.id, 3), (sides[0].waiting, 2), (added.id, 1)] {
        assert_eq!(store.item_events(id).await.unwrap().len(), events, "{id}");
    }
    let counted = store.queue_statistics(sides[0].queue).await.unwrap();
    assert_eq!((counted.new, counted.in_progress, counted.successful, counted.total()), (1, 1, 1, 3));
    let counted = store.queue_statistics(sides[1].queue).await.unwrap();
    assert_eq!((counted.new, counted.in_progress, counted.total()), (1, 1, 2));
    let accepted = ItemFilter::default().reference(ReferenceFilter::Equals("accepted".to_owned()));
    assert_eq!(store.list_queue_items(accepted, Page::default()).await.unwrap().count, 1);

    // Nothing is left of what failed, and it succeeds when nothing refuses it any more.
    assert_eq!(store.get_queue_item(sides[1].waiting).await.unwrap(), before);
    execute(path, "DROP TRIGGER no_item; DROP TRIGGER no_claim");
    store.add_queue_item(sides[1].queue, named("refused")).await.unwrap();
    let take = ClaimRequest::new(sides[1].queue, sides[1].job, 1).robot(1);
    let taken = store.report_and_claim(Vec::new(), Some(take)).await.claimed.unwrap().items;
    assert_eq!(taken[0].item.id, sides[1].waiting);
}
