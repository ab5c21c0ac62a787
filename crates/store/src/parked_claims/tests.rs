//! Claims that wait: races between a claim and a change, failures, and the most that wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::super::arrivals::Arrivals;
use super::super::backend::{Answer, Backend, CommitEffects, Operation, Query, Scope, WriterHooks};
use super::super::clock::StoreClock;
use super::super::delivery::Delivery;
use super::super::group_commit::{ChangeCallback, GroupCommit};
use super::super::memory::Memory;
use super::super::notifier::{Notifier, WakeSet};
use super::super::readers::LANES;
use super::super::{Orchestrator, Store};
use super::*;
use performer_core::model::clock::ManualClock;
use performer_core::model::item::NewQueueItem;
use performer_core::model::job::NewJob;
use performer_core::model::queue::NewQueueDefinition;
use performer_core::orchestrator::{ClaimRequest, QueueAdministration as _, Result};

const ONE: QueueId = QueueId(1);
const OTHER: QueueId = QueueId(2);

fn clock() -> Arc<StoreClock> {
    Arc::new(StoreClock::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))))
}

/// A claim that has found nothing, and what receives its answer.
fn nothing(ticket: Ticket, queue: QueueId) -> (FoundNothing, oneshot::Receiver<Delivery>) {
    let (reply, delivered) = oneshot::channel();
    let request = Request { scope: Scope::SHARED, actor: None, operation: Operation::Beat(JobKey::CALLER) };
    let caller = Caller::waiting(WaitingClaim { ticket, request }, reply);
    (FoundNothing { caller, queue, withheld: None }, delivered)
}

fn tickets(callers: &[Caller]) -> Vec<Ticket> {
    callers.iter().filter_map(|caller| Some(caller.waiting.as_ref()?.ticket)).collect()
}

#[test]
fn a_change_between_a_claim_and_its_parking_is_not_lost() {
    let notifier = Notifier::new(&*clock());
    let (first, second) =
        (notifier.ticket(JobKey::CALLER).unwrap(), notifier.ticket(JobKey::CALLER).unwrap());
    let seen = notifier.seen();
    let ((claim, _first), (other, _second)) = (nothing(first.ticket, ONE), nothing(second.ticket, OTHER));
    assert!(notifier.notify(&WakeSet::of(ONE)).is_empty(), "nobody is parked yet");
    let settled = notifier.settle(&WakeSet::default(), seen, vec![claim, other]);
    assert_eq!(tickets(&settled.ask_again), [first.ticket], "the other one's queue has not changed");
    assert_eq!(tickets(&notifier.notify(&WakeSet::any())), [second.ticket]);
    assert!(notifier.notify(&WakeSet::any()).is_empty(), "it is being asked");
}

#[test]
fn a_transaction_wakes_only_the_claims_that_did_not_take_part_in_it() {
    let notifier = Notifier::new(&*clock());
    let (first, second) =
        (notifier.ticket(JobKey::CALLER).unwrap(), notifier.ticket(JobKey::CALLER).unwrap());
    let ((here, _first), (meanwhile, _second)) = (nothing(first.ticket, ONE), nothing(second.ticket, ONE));
    let seen = notifier.seen();
    assert!(notifier.settle(&WakeSet::default(), seen, vec![meanwhile]).ask_again.is_empty());
    let settled = notifier.settle(&WakeSet::of(ONE), seen, vec![here]);
    assert_eq!(tickets(&settled.ask_again), [second.ticket]);
    assert_eq!(tickets(&notifier.take_parked(ONE, 9)), [first.ticket]);
}

#[test]
fn claims_are_taken_in_the_order_in_which_they_came() {
    let notifier = Notifier::new(&*clock());
    let held: Vec<_> = (0..5).map(|_| notifier.ticket(JobKey::CALLER).unwrap()).collect();
    let mut delivered = Vec::new();
    for at in [3, 0, 4, 1, 2] {
        let (claim, receiver) = nothing(held[at].ticket, ONE);
        delivered.push(receiver);
        assert!(notifier.settle(&WakeSet::default(), notifier.seen(), vec![claim]).ask_again.is_empty());
    }
    delivered.remove(0); // the caller of the fourth has gone away
    let expected: Vec<_> = [0, 1, 2].map(|at| held[at].ticket).into();
    assert_eq!(tickets(&notifier.take_parked(ONE, 3)), expected);
    assert_eq!(tickets(&notifier.take_parked(ONE, 3)), [held[4].ticket]);
}

#[test]
fn a_claim_that_has_expired_while_it_was_asked_is_answered() {
    let notifier = Notifier::new(&*clock());
    let held = notifier.ticket(JobKey::CALLER).unwrap();
    assert!(matches!(notifier.with_parked(|parked| parked.expire(held.ticket)), Expired::Asking));
    let (claim, _delivered) = nothing(held.ticket, ONE);
    let settled = notifier.settle(&WakeSet::default(), notifier.seen(), vec![claim]);
    assert_eq!((settled.expired.len(), notifier.with_parked(|parked| parked.count())), (1, 0));
}

#[test]
fn so_many_claims_wait_and_no_more() {
    let notifier = Notifier::new(&*clock());
    let mut held: Vec<_> = (0..MAX_WAITING).map(|_| notifier.ticket(JobKey::CALLER).unwrap()).collect();
    assert!(notifier.ticket(JobKey::CALLER).is_none());
    held.pop();
    assert!(notifier.ticket(JobKey::CALLER).is_some());
    drop(held);
    assert!(!notifier.has_waiters());
}

/// One claim of a queue looks for all of them.
#[test]
fn the_claims_of_a_queue_look_one_at_a_time() {
    let notifier = Notifier::new(&*clock());
    let held: Vec<_> = (0..3).map(|_| notifier.ticket(JobKey::CALLER).unwrap()).collect();
    let (claims, _delivered): (Vec<_>, Vec<_>) = held.iter().map(|held| nothing(held.ticket, ONE)).unzip();
    let settled = notifier.settle(&WakeSet::default(), notifier.seen(), claims);
    assert!(settled.ask_again.is_empty());
    let (every, began) = (Duration::from_secs(1), Instant::now());
    let look = |at: usize, now: Instant| match notifier
        .with_parked(|parked| parked.look(held[at].ticket, every, now))
    {
        Look::Ask(_) => None,
        Look::Later(next) => Some(next),
    };
    assert_eq!(look(1, began), None, "it asks");
    assert_eq!(look(0, began), Some(began + every));
    assert_eq!(look(2, began + every / 2), Some(began + every));
    assert_eq!(look(2, began + every), None);
    assert_eq!(look(0, began + every), Some(began + 2 * every));
    assert_eq!(look(1, began + every), Some(began + 2 * every), "it is being asked");
}

/// A store in memory which another process changes after each of the first commits, before their callers are answered.
struct Interrupted {
    store: Memory,
    changes: usize,
    callback: Option<ChangeCallback>,
    claims: Arc<AtomicUsize>,
}

impl WriterHooks for Interrupted {
    fn on_external_change(&mut self, callback: ChangeCallback) -> bool {
        self.callback = Some(callback);
        true
    }

    fn has_external_change(&mut self) -> bool {
        false
    }
}

impl Backend for Interrupted {
    fn commit(
        &mut self,
        operations: Vec<Request>,
        arrivals: &mut dyn Arrivals,
        clock: &StoreClock,
        effects: &mut CommitEffects,
    ) -> Vec<Result<Answer>> {
        let claims = operations.iter().any(|asked| matches!(asked.operation, Operation::Claim(_)));
        let answers = self.store.commit(operations, arrivals, clock, effects);
        if claims {
            self.claims.fetch_add(1, Ordering::SeqCst);
            if self.changes > 0
                && let Some(callback) = &self.callback
            {
                self.changes -= 1;
                callback(WakeSet::any());
            }
        }
        answers
    }

    fn abort(&mut self) {}

    fn read(&mut self, scope: Scope, query: Query) -> Result<Answer> {
        Backend::read(&mut self.store, scope, query)
    }
}

fn new_job() -> NewJob {
    NewJob::new("Q").machine("test").process_id(1).version("0").robots(1).lease(Duration::from_secs(30))
}

fn waiting(job: JobKey) -> ClaimRequest {
    ClaimRequest::new("Q", job, 1)
        .robot(1)
        .wait(Duration::from_secs(3_600))
        .look_every(Duration::from_secs(3_600))
}

#[tokio::test]
async fn a_claim_asks_again_until_nothing_has_changed_since_it_was_asked() {
    let (clock, claims) = (clock(), Arc::<AtomicUsize>::default());
    let store = Interrupted { store: Memory::new(), changes: 3, callback: None, claims: claims.clone() };
    let readers = LANES.iter().map(|_| -> Box<dyn Backend> { Box::new(Memory::new()) }).collect();
    let group_commit = GroupCommit::on_threads(vec![Box::new(store)], readers, &clock, 1).unwrap();
    let store = Store::new(group_commit, clock);
    store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let claiming = store.clone();
    let claim = tokio::spawn(async move { claiming.report_and_claim(Vec::new(), Some(waiting(job))).await });
    while store.parked_claims() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(claims.load(Ordering::SeqCst), 4);
    store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
    assert_eq!(claim.await.unwrap().claimed.unwrap().items.len(), 1);
    assert_eq!(claims.load(Ordering::SeqCst), 4, "the add has served it");
}

/// A transaction that fails because of a claim that waits is repeated without it.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_call_does_not_fail_because_of_a_claim_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::simulated_sqlite(&folder.path().join("queue.db"), clock(), 1).unwrap();
    store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let notifier = &store.group_commit.notifier;
    let (bad, good) = (notifier.ticket(job).unwrap(), notifier.ticket(job).unwrap());
    // A request that is no claim violates an invariant where claims are served.
    let (bad, mut failed) = nothing(bad.ticket, ONE);
    let (reply, mut served) = oneshot::channel();
    let request = store.request(Operation::Claim(waiting(job).into()));
    let good = Caller::waiting(WaitingClaim { ticket: good.ticket, request }, reply);
    let good = FoundNothing { caller: good, queue: ONE, withheld: None };
    assert!(notifier.settle(&WakeSet::default(), notifier.seen(), vec![bad, good]).ask_again.is_empty());
    store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
    assert!(failed.try_recv().unwrap().accept()[0].is_err());
    let served = served.try_recv().unwrap().accept().pop().unwrap().unwrap();
    assert!(matches!(served, Answer::ClaimedBatch(batch) if batch.items.len() == 1));
}

/// What a caller did not hear of is given back at once, also where nobody else calls.
#[tokio::test]
async fn a_served_claim_whose_caller_goes_away_gives_its_item_back() {
    let store = Store::memory_with_clock(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)));
    store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let claim = Mutex::new(Some(store.report_and_claim(Vec::new(), Some(waiting(job)))));
    // Polled once, it is parked.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(claim.lock().unwrap().as_mut().unwrap().as_mut().poll(&mut context).is_pending());
    store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
    assert_eq!(store.queue_statistics("Q").await.unwrap().in_progress, 1, "it was served");
    drop(claim.lock().unwrap().take());
    let left = store.queue_statistics("Q").await.unwrap();
    assert_eq!((left.new, left.in_progress), (1, 0));
}
