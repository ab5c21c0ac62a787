//! Commits whose outcome is unknown.

use std::collections::VecDeque;
use std::sync::Mutex;

use jiff::Timestamp;

use super::super::backend::{ClaimedBatch, Operation, WriterHooks};
use super::super::memory::Memory;
use super::super::readers::LANES;
use super::super::{Orchestrator, Store};
use super::*;
use performer_core::model::clock::ManualClock;
use performer_core::model::item::{ClaimedItem, NewQueueItem};
use performer_core::model::job::NewJob;
use performer_core::model::key::{Claim, ItemId, JobKey, QueueId};
use performer_core::model::queue::NewQueueDefinition;
use performer_core::model::result::TransactionResult;
use performer_core::model::status::Status;
use performer_core::orchestrator::{
    ClaimRequest, FleetAdministration as _, QueueAdministration as _, Report,
};

/// What happens to a commit.
#[derive(Clone, Copy, Debug)]
enum CommitFault {
    /// It is made, and its answer is lost.
    Unknown,
    /// It is not made, which becomes known only later.
    Undone,
    /// It fails, and is not made.
    Unavailable,
}

type WereCommitted = Arc<Mutex<Option<VecDeque<bool>>>>;

/// A store in memory whose commits fail as the test says.
struct FaultyBackend {
    store: Memory,
    faults: Arc<Mutex<VecDeque<CommitFault>>>,
    /// Whether the commits with unknown outcome were made, in their order; those that are not listed were. `None`: not
    /// known yet.
    were_committed: WereCommitted,
}

impl FaultyBackend {
    /// The answer that a claim of the first item would have had. The same job gets the same answer when it claims that
    /// item later.
    fn would_claim(&mut self, asked: &Request) -> Option<Answer> {
        let Operation::Claim(claim) = &asked.operation else { return None };
        let read = Backend::read(&mut self.store, asked.scope, Query::Item(ItemId(1))).unwrap();
        let Answer::Item(item) = read else { unreachable!("an item was asked for") };
        let claim = Claim { item: item.id, job: claim.claimant.job, token: item.row_version + 1 };
        Some(Answer::ClaimedBatch(ClaimedBatch {
            items: smallvec![ClaimedItem::new(item, claim)],
            queue: None,
            withheld: None,
        }))
    }
}

impl WriterHooks for FaultyBackend {
    fn was_committed(&mut self) -> Result<bool> {
        match &mut *self.were_committed.lock().unwrap() {
            Some(were_committed) => Ok(were_committed.pop_front().unwrap_or(true)),
            None => Err(OrchestratorError::new(ErrorKind::Unavailable, "nobody knows yet")),
        }
    }

    fn has_external_change(&mut self) -> bool {
        false
    }
}

impl Backend for FaultyBackend {
    fn commit(
        &mut self,
        operations: Vec<Request>,
        arrivals: &mut dyn Arrivals,
        clock: &StoreClock,
        effects: &mut CommitEffects,
    ) -> Vec<Result<Answer>> {
        let fault = self.faults.lock().unwrap().pop_front();
        let lost = |kind, count| (0..count).map(|_| Err(OrchestratorError::new(kind, "a storm"))).collect();
        match fault {
            None => self.store.commit(operations, arrivals, clock, effects),
            Some(CommitFault::Unavailable) => lost(ErrorKind::Unavailable, operations.len()),
            Some(CommitFault::Unknown) => {
                let answers = self.store.commit(operations, arrivals, clock, effects);
                let count = answers.len();
                effects.in_doubt.push(answers.into_iter().filter_map(Result::ok).collect());
                lost(ErrorKind::Unknown, count)
            }
            Some(CommitFault::Undone) => {
                effects
                    .in_doubt
                    .push(operations.iter().filter_map(|asked| self.would_claim(asked)).collect());
                let count = operations.len();
                lost(ErrorKind::Unknown, count)
            }
        }
    }

    fn abort(&mut self) {}

    fn read(&mut self, scope: Scope, query: Query) -> Result<Answer> {
        Backend::read(&mut self.store, scope, query)
    }
}

/// A queue with one item, a job, and a function that sets the faults to come.
async fn prepared(on_threads: bool) -> (Store, JobKey, impl Fn(&[CommitFault])) {
    let (store, job, faults, _) = prepared_with_outcomes(on_threads).await;
    (store, job, faults)
}

/// As [`prepared`], with the outcomes of commits: each was made unless the test says otherwise.
async fn prepared_with_outcomes(on_threads: bool) -> (Store, JobKey, impl Fn(&[CommitFault]), WereCommitted) {
    let clock = Arc::new(StoreClock::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))));
    let faults = Arc::new(Mutex::new(VecDeque::new()));
    let were_committed = Arc::new(Mutex::new(Some(VecDeque::new())));
    let store = Box::new(FaultyBackend {
        store: Memory::new(),
        faults: faults.clone(),
        were_committed: were_committed.clone(),
    });
    let group_commit = if on_threads {
        let readers = LANES.iter().map(|_| -> Box<dyn Backend> { Box::new(Memory::new()) }).collect();
        GroupCommit::on_threads(vec![store], readers, &clock, 1).unwrap()
    } else {
        GroupCommit::in_place(store, clock.clone())
    };
    let store = Store::new(group_commit, clock);
    store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    (store, job, move |fault: &[CommitFault]| faults.lock().unwrap().extend(fault), were_committed)
}

fn new_job() -> NewJob {
    NewJob::new("Q").machine("test").process_id(1).version("0").robots(1).lease(Duration::from_secs(30))
}

/// How many items a job claims, of at most two.
async fn claim(store: &Store, job: JobKey) -> Result<usize> {
    let take = ClaimRequest::new("Q", job, 2).robot(1);
    store.report_and_claim(Vec::new(), Some(take)).await.claimed.map(|taken| taken.items.len())
}

#[tokio::test]
async fn items_claimed_in_doubt_are_given_back_before_the_next_claim() {
    for on_threads in [false, true] {
        let (store, job, faults) = prepared(on_threads).await;
        faults(&[CommitFault::Unknown]);
        assert_eq!(claim(&store, job).await.unwrap_err().kind(), ErrorKind::Unknown);
        // The item is free for the same job, and is not held twice.
        assert_eq!(claim(&store, job).await.unwrap(), 1);
        assert_eq!(claim(&store, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn compensations_are_repeated_until_a_commit_succeeds() {
    for on_threads in [false, true] {
        let (store, job, faults) = prepared(on_threads).await;
        // Claimed; not given back; given back and claimed again, with unknown outcome; and once more.
        faults(&[CommitFault::Unknown, CommitFault::Unavailable, CommitFault::Unknown, CommitFault::Unknown]);
        let mut failed = 0;
        let taken = loop {
            match claim(&store, job).await {
                Ok(taken) => break taken,
                Err(_) => failed += 1,
            }
        };
        // A store on a thread may have met one of these faults by itself before this test continued.
        assert!(failed == 4 || on_threads && failed < 4, "{failed} calls failed");
        assert_eq!(taken, 1);
        assert_eq!(claim(&store, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_later_claim_is_not_compensated() {
    for on_threads in [false, true] {
        let (store, job, faults) = prepared(on_threads).await;
        faults(&[CommitFault::Unknown]);
        assert!(claim(&store, job).await.is_err());
        assert_eq!(claim(&store, job).await.unwrap(), 1);
        // No compensation is left: the job keeps its present claim.
        for _ in 0..3 {
            store.beat(job).await.unwrap();
        }
        assert_eq!(claim(&store, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_idle_store_compensates_commits_in_doubt() {
    let (store, job, faults) = prepared(true).await;
    let seen = store.group_commit.seen();
    faults(&[CommitFault::Unknown, CommitFault::Unavailable]);
    assert!(claim(&store, job).await.is_err());
    // Without any request the item is given back, and waiting callers are woken.
    store.group_commit.wait(QueueId(1), seen, Duration::from_secs(60)).await;
    assert_ne!(store.group_commit.seen().0, seen.0);
    assert_eq!(claim(&store, job).await.unwrap(), 1);
}

#[tokio::test]
async fn a_job_whose_start_was_not_answered_ends() {
    let (store, job, faults) = prepared(false).await;
    faults(&[CommitFault::Unknown]);
    assert_eq!(store.start_job(new_job()).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(claim(&store, job).await.unwrap(), 1);
    let robots = store.list_robots().await.unwrap();
    assert_eq!(robots.iter().map(|robot| robot.job).collect::<Vec<_>>(), [job]);
}

/// A claim that waits. Returns when it is parked.
async fn parked(store: &Store, job: JobKey) -> tokio::task::JoinHandle<Result<usize>> {
    let (claiming, before) = (store.clone(), store.parked_claims());
    let request = ClaimRequest::new("Q", job, 1).robot(1).wait(Duration::from_secs(3_600));
    let claim = tokio::spawn(async move {
        let answer = claiming.report_and_claim(Vec::new(), Some(request)).await;
        answer.claimed.map(|claimed| claimed.items.len())
    });
    while store.parked_claims() == before {
        tokio::task::yield_now().await;
    }
    claim
}

fn item() -> NewQueueItem {
    NewQueueItem::new(serde_json::json!({}))
}

#[tokio::test]
async fn a_claim_that_waits_is_not_answered_by_a_commit_in_doubt_and_its_item_is_given_back() {
    for on_threads in [false, true] {
        let (store, job, faults) = prepared(on_threads).await;
        assert_eq!(claim(&store, job).await.unwrap(), 1);
        let waiting = parked(&store, job).await;
        faults(&[CommitFault::Unknown]);
        assert_eq!(store.add_queue_item("Q", item()).await.unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(
            claim(&store, job).await.unwrap(),
            1,
            "it was added and given to the claim, and is free again"
        );
        assert_eq!(claim(&store, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_claim_that_waits_is_not_told_of_a_commit_that_fails() {
    for on_threads in [false, true] {
        let (store, job, faults) = prepared(on_threads).await;
        assert_eq!(claim(&store, job).await.unwrap(), 1);
        let waiting = parked(&store, job).await;
        faults(&[CommitFault::Unavailable]);
        assert_eq!(store.add_queue_item("Q", item()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.parked_claims(), 1);
        store.add_queue_item("Q", item()).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(store.parked_claims(), 0);
    }
}

/// Another writer may give the same item to the same job before the outcome of a commit is known. A commit that was not
/// made is not compensated then: the two claims could not be told apart.
#[tokio::test]
async fn a_commit_that_was_not_made_is_not_compensated() {
    for on_threads in [false, true] {
        let (store, job, faults, were_committed) = prepared_with_outcomes(on_threads).await;
        *were_committed.lock().unwrap() = None;
        faults(&[CommitFault::Undone]);
        assert_eq!(claim(&store, job).await.unwrap_err().kind(), ErrorKind::Unknown);
        let taking = ClaimRequest::new("Q", job, 2).robot(1);
        let taken = store.report_and_claim(Vec::new(), Some(taking)).await.claimed.unwrap().items;
        assert_eq!(
            (taken[0].claim.item, taken[0].claim.token),
            (ItemId(1), 2),
            "the claim that was in doubt"
        );
        *were_committed.lock().unwrap() = Some([false].into());
        for _ in 0..3 {
            store.beat(job).await.unwrap();
        }
        assert_eq!(claim(&store, job).await.unwrap(), 0, "it has its item still");
        let result = TransactionResult::Successful { output: None };
        let report = Report::new(taken[0].claim, result);
        let recorded = store.report_and_claim(vec![report], None).await.reports.pop().unwrap();
        assert_eq!(recorded.unwrap(), Status::Successful);
    }
}

/// The outcome of one commit may become known before that of the next.
#[tokio::test]
async fn commits_in_doubt_are_resolved_separately() {
    for on_threads in [false, true] {
        for (fault, outcomes) in [
            ([CommitFault::Unknown, CommitFault::Undone], [true, false]),
            ([CommitFault::Undone, CommitFault::Unknown], [false, true]),
        ] {
            let (store, job, faults, were_committed) = prepared_with_outcomes(on_threads).await;
            *were_committed.lock().unwrap() = None;
            faults(&fault);
            for _ in fault {
                assert_eq!(claim(&store, job).await.unwrap_err().kind(), ErrorKind::Unknown);
            }
            assert_eq!(claim(&store, job).await.unwrap(), 0, "it is held, by whom nobody knows");
            *were_committed.lock().unwrap() = Some(outcomes.into());
            store.beat(job).await.unwrap();
            assert_eq!(claim(&store, job).await.unwrap(), 1, "{outcomes:?}: what was taken was given back");
        }
    }
}
