//! Claims that wait for an item, on each of our stores: the commit that leaves an item for one serves it
//! (docs/reference/lifecycle.md, T1, T3 and T9 to T11).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use performer::model::{ClaimedItem, Clock, ManualClock, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{
    ClaimRequest, ClaimedItems, ItemAdministration as _, Orchestrator, QueueAdministration as _, Report,
    Result,
};
use performer::{
    CommitType, ItemFilter, JobKey, LimitsEdit, NewQueueDefinition, Page, Priority, QueuePolicy, Status,
};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, application, named, new_job, ok, start_of_time, take};
use tokio::task::JoinHandle;

/// A store with a queue and a job, and what has to outlive it.
struct Opened {
    store: Store,
    job: JobKey,
    clock: Arc<ManualClock>,
    _kept: Box<dyn std::any::Any>,
}

impl Opened {
    async fn new(store: Store, clock: Arc<ManualClock>, kept: impl std::any::Any) -> Self {
        let policy = QueuePolicy::default().max_number_of_retries(1);
        store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
        let job = store.start_job(new_job()).await.unwrap();
        Self { store, job, clock, _kept: Box::new(kept) }
    }

    /// A claim that waits. Returns when it is parked.
    async fn parked(&self, request: ClaimRequest) -> JoinHandle<Result<ClaimedItems>> {
        let (store, before) = (self.store.clone(), self.store.parked_claims());
        let claim =
            tokio::spawn(async move { store.report_and_claim(Vec::new(), Some(request)).await.claimed });
        self.until_parked(before + 1).await;
        claim
    }

    async fn until_parked(&self, count: usize) {
        while self.store.parked_claims() != count {
            tokio::task::yield_now().await;
        }
    }

    /// A claim that looks for nothing by itself.
    fn waiting(&self) -> ClaimRequest {
        let long = Duration::from_secs(3_600);
        take(self.job, 1).wait(long).look_every(long)
    }

    async fn statistics(&self) -> (i64, i64) {
        let counted = self.store.queue_statistics(QUEUE).await.unwrap();
        (counted.new, counted.in_progress)
    }

    async fn report(&self, claimed: &ClaimedItem, result: TransactionResult) {
        let report = Report::new(claimed.claim, result);
        self.store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    }

    async fn edit_limits(&self, edit: LimitsEdit) {
        self.store.edit_queue_limits(QUEUE, edit).await.unwrap();
    }
}

async fn item_of(claim: JoinHandle<Result<ClaimedItems>>) -> ClaimedItem {
    let mut claimed = claim.await.unwrap().unwrap();
    assert!(claimed.waited);
    claimed.items.pop().expect("an item")
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_of_time()))
}

async fn memory() -> Opened {
    let clock = clock();
    Opened::new(Store::memory_with_clock(clock.clone()), clock, ()).await
}

#[cfg(feature = "sqlite")]
async fn sqlite() -> Opened {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap();
    Opened::new(store, clock, folder).await
}

#[cfg(feature = "postgres")]
async fn postgres() -> Opened {
    let (schema, clock) = (Schema::new(), clock());
    let store = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    Opened::new(store, clock, schema).await
}

/// Each check on each store.
macro_rules! on_each_store {
    ($($check:ident),* $(,)?) => {
        on_each_store!(memory: $($check),*);
        #[cfg(feature = "sqlite")]
        on_each_store!(sqlite: $($check),*);
        #[cfg(feature = "postgres")]
        on_each_store!(postgres: $($check),*);
    };
    ($store:ident: $($check:ident),*) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    let checked = super::$check(super::$store().await);
                    tokio::time::timeout(std::time::Duration::from_secs(60), checked).await.expect("it hangs");
                }
            )*
        }
    };
}

on_each_store!(
    an_item_is_in_progress_in_the_commit_that_adds_it,
    items_are_handed_out_in_the_order_of_the_queue,
    many_claims_share_few_items,
    retry_copies_and_items_given_back_serve_claims,
    an_end_that_frees_a_limit_serves_a_claim,
    a_paused_queue_serves_no_claim,
    one_look_serves_all_whose_items_are_due,
    a_dropped_claim_leaves_nothing,
    a_claim_is_given_up,
    a_claim_ends_at_its_time_limit,
    nothing_is_handed_out_twice_or_forgotten,
);

async fn an_item_is_in_progress_in_the_commit_that_adds_it(o: Opened) {
    for n in 0..5 {
        let claim = o.parked(o.waiting()).await;
        let added = o.store.add_queue_item(QUEUE, named(&n.to_string())).await.unwrap();
        assert_eq!(o.store.parked_claims(), 0);
        let item = o.store.get_queue_item(added.id).await.unwrap();
        assert_eq!((item.status, item.row_version), (Status::InProgress, 2), "when the add is answered");
        assert_eq!(item.start_processing, Some(item.creation_time));
        let claimed = item_of(claim).await;
        assert_eq!((claimed.item.id, claimed.item.status), (added.id, Status::InProgress));
        o.report(&claimed, ok()).await;
        o.clock.advance(Duration::from_secs(1));
    }
}

async fn items_are_handed_out_in_the_order_of_the_queue(o: Opened) {
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(o.parked(o.waiting()).await);
    }
    let items = vec![
        named("low").priority(Priority::Low),
        named("normal"),
        named("high").priority(Priority::High),
        named("last").priority(Priority::Low),
    ];
    let added = o.store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!((added.added, o.statistics().await), (4, (1, 3)), "in one commit");
    for (claim, expected) in claims.into_iter().zip(["high", "normal", "low"]) {
        assert_eq!(item_of(claim).await.item.reference.as_deref(), Some(expected));
    }
}

async fn many_claims_share_few_items(o: Opened) {
    let mut claims = Vec::new();
    for _ in 0..150 {
        claims.push(o.parked(o.waiting()).await);
    }
    let bulk = async |count: usize| {
        let items = (0..count).map(|n| named(&n.to_string())).collect();
        let added = o.store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
        assert_eq!(added.added, count as u64);
    };
    bulk(2).await;
    assert_eq!((o.store.parked_claims(), o.statistics().await), (148, (0, 2)));
    for claim in claims.drain(..2) {
        item_of(claim).await; // the first two
    }
    bulk(200).await;
    assert_eq!((o.store.parked_claims(), o.statistics().await), (0, (52, 150)));
    for claim in claims {
        item_of(claim).await;
    }
}

async fn retry_copies_and_items_given_back_serve_claims(o: Opened) {
    o.store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let first = o.store.report_and_claim(Vec::new(), Some(take(o.job, 1))).await.claimed.unwrap().items;
    let claim = o.parked(o.waiting()).await;
    o.report(&first[0], application("the site was down")).await;
    let copy = item_of(claim).await;
    assert_eq!((copy.item.retry_number, copy.item.start_processing), (1, Some(copy.item.creation_time)));
    let claim = o.parked(o.waiting()).await;
    o.report(&copy, TransactionResult::GivenBack).await;
    assert_eq!(o.statistics().await, (0, 1), "in one commit");
    assert_eq!(item_of(claim).await.item.id, copy.item.id);
}

async fn an_end_that_frees_a_limit_serves_a_claim(o: Opened) {
    o.edit_limits(LimitsEdit::default().max_in_progress(1)).await;
    let first = o.parked(o.waiting()).await;
    let second = o.parked(o.waiting()).await;
    for name in ["a", "b", "c"] {
        o.store.add_queue_item(QUEUE, named(name)).await.unwrap();
    }
    assert_eq!((o.store.parked_claims(), o.statistics().await), (1, (2, 1)));
    let claimed = item_of(first).await;
    o.report(&claimed, ok()).await;
    assert_eq!(o.statistics().await, (1, 1), "in the commit of the result");
    assert_eq!(item_of(second).await.item.reference.as_deref(), Some("b"));
}

async fn a_paused_queue_serves_no_claim(o: Opened) {
    o.edit_limits(LimitsEdit::default().paused(true)).await;
    let claim = o.parked(o.waiting()).await;
    let added = o.store.add_queue_item(QUEUE, named("a")).await.unwrap();
    o.until_parked(1).await; // it may have asked once more, and found the queue paused
    assert_eq!(o.statistics().await, (1, 0));
    o.edit_limits(LimitsEdit::default().paused(false)).await;
    assert_eq!(o.statistics().await, (0, 1), "in the commit that resumes it");
    assert_eq!(item_of(claim).await.item.id, added.id);
}

async fn one_look_serves_all_whose_items_are_due(o: Opened) {
    let (mut claims, at) = (Vec::new(), o.clock.now() + Duration::from_secs(60));
    for n in 0..3 {
        let look_every = Duration::from_millis(if n == 1 { 1 } else { 3_600_000 });
        claims.push(o.parked(o.waiting().look_every(look_every)).await);
        o.store.add_queue_item(QUEUE, named(&n.to_string()).defer_date(at)).await.unwrap();
    }
    assert_eq!(o.statistics().await, (3, 0));
    o.clock.advance(Duration::from_secs(60));
    for claim in claims {
        item_of(claim).await;
    }
}

async fn a_dropped_claim_leaves_nothing(o: Opened) {
    let (first, second) = (o.parked(o.waiting()).await, o.parked(o.waiting()).await);
    first.abort();
    o.until_parked(1).await;
    o.store.add_queue_item(QUEUE, named("a")).await.unwrap();
    assert_eq!(item_of(second).await.item.reference.as_deref(), Some("a"), "the other one waits still");
    o.store.add_queue_item(QUEUE, named("b")).await.unwrap();
    assert_eq!(o.statistics().await, (1, 1));
}

async fn a_claim_is_given_up(o: Opened) {
    let other = o.store.start_job(new_job()).await.unwrap();
    let long = Duration::from_secs(3_600);
    let (ours, theirs) =
        (o.parked(o.waiting()).await, o.parked(take(other, 1).wait(long).look_every(long)).await);
    o.store.give_up_claims(o.job);
    let nothing = ours.await.unwrap().unwrap();
    assert!(nothing.items.is_empty() && nothing.waited);
    assert_eq!(o.store.parked_claims(), 1, "that of the other job");
    o.store.add_queue_item(QUEUE, named("a")).await.unwrap();
    assert_eq!(item_of(theirs).await.claim.job, other);
}

async fn a_claim_ends_at_its_time_limit(o: Opened) {
    let nothing =
        o.store.report_and_claim(Vec::new(), Some(take(o.job, 1).wait(Duration::from_millis(1)))).await;
    let nothing = nothing.claimed.unwrap();
    assert!(nothing.items.is_empty() && nothing.waited);
    assert_eq!(o.store.parked_claims(), 0);
    // Its result is answered at once.
    o.store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let claimed = o.store.report_and_claim(Vec::new(), Some(o.waiting())).await.claimed.unwrap().items;
    let report = Report::new(claimed[0].claim, ok());
    let answer = o.store.report_and_claim(vec![report], Some(o.waiting())).await;
    assert!(answer.reports[0].is_ok() && !answer.claimed.unwrap().waited);
}

/// Claims that look for nothing by themselves, beside adds: a change that is lost would leave an item behind.
async fn nothing_is_handed_out_twice_or_forgotten(o: Opened) {
    const ROBOTS: usize = 12;
    const ITEMS: usize = 400;
    let ended = Arc::<AtomicUsize>::default();
    let robots: Vec<_> = (0..ROBOTS)
        .map(|n| {
            let (store, job, request, ended) = (o.store.clone(), o.job, o.waiting(), ended.clone());
            tokio::spawn(async move {
                let mut report = None;
                loop {
                    // Every other robot reports and claims in one call, and then waits with another one.
                    let with_report = n % 2 == 0 && report.is_some();
                    if let Some(ended_by) = report.take() {
                        let claim = with_report.then(|| take(job, 1));
                        let mut answer = store.report_and_claim(vec![ended_by], claim).await;
                        answer.reports.pop().unwrap().unwrap();
                        if ended.fetch_add(1, Ordering::SeqCst) + 1 == ITEMS {
                            store.give_up_claims(job);
                        }
                        report = next(&answer.claimed.unwrap());
                        if report.is_some() {
                            continue;
                        }
                    }
                    if ended.load(Ordering::SeqCst) == ITEMS {
                        return;
                    }
                    let claimed = store.report_and_claim(Vec::new(), Some(request.clone())).await.claimed;
                    report = next(&claimed.unwrap());
                }
            })
        })
        .collect();
    for n in 0..ITEMS {
        o.store.add_queue_item(QUEUE, named(&n.to_string())).await.unwrap();
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while ended.load(Ordering::SeqCst) < ITEMS {
        tokio::task::yield_now().await;
    }
    for robot in robots {
        while !robot.is_finished() {
            o.store.give_up_claims(o.job); // one may have begun to wait when the others were given up
            tokio::task::yield_now().await;
        }
        robot.await.unwrap();
    }
    let successful = ItemFilter::default().queue(QUEUE).status([Status::Successful]);
    assert_eq!(o.store.list_queue_items(successful, Page::first(1)).await.unwrap().count, ITEMS as u64);
}

/// The result of an item that was claimed.
fn next(claimed: &ClaimedItems) -> Option<Report> {
    claimed.items.first().map(|item| Report::new(item.claim, ok()))
}

/// What another process adds wakes the claims of a queue, which ask once.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_on_a_file_gets_what_another_process_adds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let open = async |path: &Path| Store::sqlite_with_clock(path, clock()).await.unwrap();
    let here = Opened::new(open(&path).await, clock(), ()).await;
    two_processes(here, open(&path).await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_postgres_gets_what_another_process_adds() {
    let schema = Schema::new();
    let open = async || Store::postgres_with_clock(&schema.url, clock()).await.unwrap();
    let here = Opened::new(open().await, clock(), ()).await;
    two_processes(here, open().await).await;
}

async fn two_processes(here: Opened, there: Store) {
    let mut claims = Vec::new();
    for _ in 0..6 {
        claims.push(here.parked(here.waiting()).await);
    }
    for n in 0..6 {
        there.add_queue_item(QUEUE, named(&n.to_string())).await.unwrap();
    }
    let all = async {
        for claim in claims {
            item_of(claim).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("they hear of it");
    assert_eq!(here.statistics().await, (0, 6));
}
