//! The program that is killed: a performer as a user would write it, which records in a ledger what it does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use performer::model::{ClaimedItem, NewJob, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Report};
use performer::prelude::*;
use performer::{
    CommitType, ErrorKind, ItemFilter, ItemVersion, JobKey, JobState, LimitsEdit, Page, PerformerEvent,
    QueueItem, ReviewStatus,
};
use serde::{Deserialize, Serialize};

use performer_proofs::observers::ledger::{CallOutcome, Ledger, Record, RunEnd};

pub const QUEUE: &str = "Kill";
/// The queue of the follow-ups. Nobody processes them.
pub const NEXT: &str = "Next";
/// What a handler with follow-ups is told, and how many it gives.
pub const WITH_FOLLOW_UPS: &str = "follow up";
pub const FOLLOW_UPS: usize = 2;
/// How often each operation runs in the program "everything".
pub const TIMES: usize = 12;

/// Makes both queues.
pub async fn create_queues(store: &dyn Administration) {
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy())).await.unwrap();
    store.create_queue(NewQueueDefinition::new(NEXT)).await.unwrap();
}

pub fn policy() -> QueuePolicy {
    QueuePolicy::default().max_number_of_retries(2).retry_abandoned_items(true)
}

/// What a handler does with an item.
#[derive(Serialize, Deserialize)]
pub struct Content {
    pub what: String,
    pub milliseconds: u64,
}

pub fn item(reference: &str, what: &str, milliseconds: u64) -> NewQueueItem {
    NewQueueItem::new(Content { what: what.to_owned(), milliseconds }).reference(reference)
}

/// What the handlers of one process share.
#[derive(Clone)]
pub struct Work {
    pub ledger: Ledger,
    pub process: Arc<str>,
    lease: Duration,
    runs: Arc<AtomicU64>,
}

impl Work {
    pub fn new(ledger: Ledger, process: &str, lease: Duration) -> Self {
        Self { ledger, process: process.into(), lease, runs: Arc::default() }
    }

    /// One run of a handler, open in the ledger until it is dropped.
    fn run(&self, item: &QueueItem) -> Run {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        self.ledger.started(&self.process, run, item);
        Run { work: self.clone(), run, end: RunEnd::Interrupted }
    }

    /// An add is in the ledger before it is made (it may happen) and when it is acknowledged (it did).
    async fn add(&self, store: &dyn Administration, reference: &str, item: NewQueueItem) {
        self.asks(reference);
        store.add_queue_item(QUEUE, item).await.unwrap();
        self.ledger.write(Record::Added { reference: reference.to_owned(), told: CallOutcome::Yes });
    }

    pub fn asks(&self, reference: &str) {
        self.ledger.write(Record::Added { reference: reference.to_owned(), told: CallOutcome::Unknown });
    }

    async fn bulk_add(
        &self,
        store: &dyn Administration,
        references: &[String],
        what: &str,
        commit_type: CommitType,
    ) {
        references.iter().for_each(|reference| self.asks(reference));
        let items = references.iter().map(|reference| item(reference, what, 1)).collect();
        let bulk = store.bulk_add_queue_items(QUEUE, commit_type, items).await.unwrap();
        assert_eq!(bulk.added, references.len() as u64);
        for reference in references {
            self.ledger.write(Record::Added { reference: reference.clone(), told: CallOutcome::Yes });
        }
    }

    /// A performer that processes the queue.
    pub fn performer(&self, robots: u32, ahead: usize) -> Performer {
        let (work, told) = (self.clone(), self.clone());
        let on_event = move |event: &PerformerEvent| {
            if let PerformerEvent::TransactionEnded { item, outcome, .. } = event {
                told.ledger.reported(&told.process, *item, *outcome);
            }
        };
        Performer::new(QUEUE, move || work.clone())
            .robots(robots)
            .claim_ahead(ahead)
            .lease(self.lease)
            .handle_signals(false)
            .on_event(on_event)
    }

    /// Performs until no item waits or is deferred, and nothing runs.
    pub async fn drain(&self, store: &Arc<dyn Administration>, robots: u32, ahead: usize) {
        loop {
            self.performer(robots, ahead).run_until_empty(store.clone()).await.unwrap();
            let left = store.queue_statistics(QUEUE).await.unwrap();
            if left.new == 0 && left.in_progress == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Run {
    work: Work,
    run: u64,
    end: RunEnd,
}

impl Drop for Run {
    fn drop(&mut self) {
        let (process, run, end) = (self.work.process.to_string(), self.run, self.end);
        self.work.ledger.write(Record::Ended { process, run, end });
    }
}

#[async_trait]
impl Transaction for Work {
    type Content = Content;
    type Output = ();

    async fn process(&mut self, content: Content, item: &TransactionItem) -> Result<(), Exception> {
        crash_point("process.first_poll");
        let mut run = self.run(item.queue_item());
        let duration = Duration::from_millis(content.milliseconds);
        tokio::task::yield_now().await;
        crash_point("process.middle");
        let first = item.retry_number() == 0 && item.manual_retry_number() == 0;
        match content.what.as_str() {
            "business" if first => {
                run.end = RunEnd::BusinessException;
                return Err(BusinessException::new("the data is wrong").into());
            }
            "application once" if item.retry_number() == 0 => {
                run.end = RunEnd::ApplicationException;
                Err(std::io::Error::other("the world is wrong"))?;
            }
            "postpone once" if item.queue_item().row_version == 2 => {
                run.end = RunEnd::Postponed;
                return Err(Exception::postpone_for(duration));
            }
            "progress" => {
                item.progress("half");
                tokio::time::sleep(duration).await;
            }
            "sleep" => tokio::time::sleep(duration).await,
            "block" => std::thread::sleep(duration),
            WITH_FOLLOW_UPS => {
                let reference = item.reference().unwrap_or_default();
                (0..FOLLOW_UPS).for_each(|_| item.also_add(NEXT, self::item(reference, "ok", 0)));
            }
            "burn" => {
                let until = std::time::Instant::now() + duration;
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            _ => {}
        }
        run.end = RunEnd::Successful;
        Ok(())
    }
}

/// As in the library, for crash points in the user's code.
fn crash_point(place: &str) {
    static HITS: AtomicU64 = AtomicU64::new(0);
    let asked = std::env::var("PERFORMER_CRASH_POINT").unwrap_or_default();
    if let Some((point, hit)) = asked.split_once('=')
        && point == place
        && HITS.fetch_add(1, Ordering::SeqCst) + 1 == hit.parse::<u64>().unwrap()
    {
        std::process::abort();
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub async fn open(store: &str) -> performer::orchestrator::Result<Arc<dyn Administration>> {
    Ok(Arc::new(open_store(store).await?))
}

pub async fn open_store(store: &str) -> performer::orchestrator::Result<Store> {
    if store.starts_with("postgres:") {
        return Store::postgres(store).await;
    }
    let store = Store::sqlite(store).await?;
    store.trust_clock(); // retention is to remove what is old at once
    Ok(store)
}

/// The victim's main: `victim PROGRAM PROCESS STORE NUMBER LEASE LEDGER`.
pub fn main(arguments: &[String]) {
    let [program, process, store, number, lease, ledger] = arguments else { panic!("{arguments:?}") };
    let lease = Duration::from_millis(lease.parse().unwrap());
    let work = Work::new(Ledger::file(Path::new(ledger)), process, lease);
    work.ledger.write(Record::Born { process: process.clone() });
    let number: usize = number.parse().unwrap();
    runtime().block_on(async {
        if program == "operate" {
            return super::operations::operate(&open_store(store).await.unwrap()).await;
        }
        if program == "webhooks" {
            return super::webhooks::serve(&open_store(store).await.unwrap(), process).await;
        }
        if program == "rotate" {
            return super::key_rotation::rotate(&open_store(store).await.unwrap()).await;
        }
        let store = open(store).await.unwrap();
        match program.as_str() {
            "everything" => everything(&work, &store).await,
            "groups" => groups(&work, &store).await,
            "die with jobs" => die_with_jobs(&store).await,
            "work" => work_for_a_while(&work, &store, number).await,
            // Until a signal stops it; the number is its grace period in milliseconds.
            "serve" => {
                let performer = work.performer(4, 0).handle_signals(true);
                let grace_period = Duration::from_millis(number as u64);
                let summary = performer.grace_period(grace_period).run(store).await.unwrap();
                assert_eq!(summary.state, JobState::Stopped);
            }
            // Until it is killed.
            "perform" => drop(work.performer(4, 0).run(store).await.unwrap()),
            "withstand" => super::database_outage::withstand(&work, &store, Path::new(ledger)).await,
            other => panic!("{other:?}"),
        }
    });
}

pub fn new_job() -> NewJob {
    NewJob::new(QUEUE)
        .machine("test")
        .process_id(std::process::id())
        .version("0")
        .robots(1)
        .lease(Duration::from_secs(30))
}

pub fn take(job: JobKey, count: usize) -> ClaimRequest {
    ClaimRequest::new(QUEUE, job, count).robot(1)
}

/// Leaves jobs behind that hold items, as a process does that is killed.
async fn die_with_jobs(store: &Arc<dyn Administration>) {
    for _ in 0..TIMES {
        let job = store.start_job(new_job()).await.unwrap();
        let taken = store.report_and_claim(Vec::new(), Some(take(job, 2))).await.claimed.unwrap();
        assert_eq!(taken.items.len(), 2);
    }
    std::process::abort();
}

/// Every operation a dozen times, one after the other.
async fn everything(work: &Work, store: &Arc<dyn Administration>) {
    store.sweep().await.unwrap(); // finds the dead jobs of the template
    for queue in [NewQueueDefinition::new(QUEUE).policy(policy()), NewQueueDefinition::new(NEXT)] {
        match store.create_queue(queue).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            made => drop(made.unwrap()),
        }
    }
    for number in 0..TIMES {
        store.create_queue(NewQueueDefinition::new(format!("Other {number}"))).await.unwrap();
    }
    for number in 0..TIMES {
        one_by_hand(work, store, number).await;
    }
    for number in 0..TIMES {
        let what = ["business", "application once", "postpone once", "progress"][number % 4];
        let reference = format!("a-{number}");
        work.add(&**store, &reference, item(&reference, what, 3)).await;
        let reference = format!("f-{number}");
        work.add(&**store, &reference, item(&reference, WITH_FOLLOW_UPS, 0)).await;
        let references = ["first", "second"].map(|which| format!("b-{number}-{which}"));
        let commit_type = [CommitType::AllOrNothing, CommitType::ProcessAllIndependently][number % 2];
        work.bulk_add(&**store, &references, ["business", "application once"][number % 2], commit_type).await;
    }
    work.drain(store, 3, 0).await;
    for failed in failed_items(&**store).await.into_iter().filter(|item| item.manual_retry_number == 0) {
        let version = ItemVersion { id: failed.id, row_version: failed.row_version };
        let refused = store.set_review_status(ReviewStatus::Retried, vec![version]).await.unwrap();
        assert!(refused.0.is_empty(), "{refused:?}");
    }
    work.drain(store, 3, 8).await;
    for _ in 0..TIMES {
        store.apply_retention(1).await.unwrap();
    }
}

/// Items of a few groups, of each one at a time.
async fn groups(work: &Work, store: &Arc<dyn Administration>) {
    store.sweep().await.unwrap(); // finds the job of the process that was killed
    match store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy())).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        made => drop(made.unwrap()),
    }
    let edit = LimitsEdit::default().max_in_progress_per_group(1).fair(true);
    store.edit_queue_limits(QUEUE, edit).await.unwrap();
    for number in 0..2 * TIMES {
        let what = ["ok", "application once", "business", "postpone once"][number % 4];
        let reference = format!("{}-g-{number}", work.process);
        let item = item(&reference, what, 3).group(["a", "b", "c"][number % 3]);
        work.add(&**store, &reference, item).await;
    }
    work.drain(store, 4, 0).await;
}

async fn failed_items(store: &dyn Administration) -> Vec<QueueItem> {
    let filter =
        ItemFilter::default().queue(QUEUE).status([Status::Failed]).review_status([ReviewStatus::None]);
    store.list_queue_items(filter, Page::default()).await.unwrap().items
}

/// A job of its own: an item is added and claimed in one call, and reported on in several ways.
async fn one_by_hand(work: &Work, store: &Arc<dyn Administration>, number: usize) {
    let job = store.start_job(new_job()).await.unwrap();
    for (way, what) in ["report", "give back", "postpone"].into_iter().enumerate() {
        let reference = format!("s-{number}-{way}");
        work.asks(&reference);
        let ClaimedItem { item: added, claim, .. } =
            store.add_and_start_transaction(take(job, 1), item(&reference, "ok", 0)).await.unwrap();
        work.ledger.write(Record::Added { reference, told: CallOutcome::Yes });
        let mut run = work.run(&added);
        store.beat(job).await.unwrap();
        store.set_transaction_progress(claim, "half".to_owned()).await.unwrap();
        let later = added.creation_time + Duration::from_millis(150);
        let (result, end) = match what {
            "report" => (TransactionResult::Successful { output: None }, RunEnd::Successful),
            "give back" => (TransactionResult::GivenBack, RunEnd::Interrupted),
            _ => (TransactionResult::Postponed { defer_date: later, due_date: None }, RunEnd::Postponed),
        };
        run.end = end;
        drop(run);
        let report = Report::new(claim, result);
        store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    }
    store.end_job(job, JobState::Successful.into()).await.unwrap();
}

/// Adds and performs at the same time, until both are done.
async fn work_for_a_while(work: &Work, store: &Arc<dyn Administration>, items: usize) {
    let adding = async {
        for number in 0..items {
            let all =
                ["ok", "application once", "progress", "postpone once", "sleep", "business", WITH_FOLLOW_UPS];
            let what = all[number % all.len()];
            let reference = format!("{}-{number}", work.process);
            if number % 10 == 9 {
                let references = [0, 1, 2].map(|which| format!("{reference}-{which}"));
                work.bulk_add(&**store, &references, what, CommitType::AllOrNothing).await;
            } else {
                work.add(&**store, &reference, item(&reference, what, 2)).await;
            }
        }
    };
    let ahead = if work.process.ends_with(['0', '2', '4']) { 16 } else { 0 };
    tokio::join!(adding, work.drain(store, 4, ahead));
    work.drain(store, 4, ahead).await;
}
