//! What a store does about commits of which nobody knows whether they were made.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::super::memory::Memory;
use super::super::readers::LANES;
use super::super::store::{Operation, Took, Upkeep};
use super::super::{Local, Orchestrator};
use super::*;
use crate::model::clock::ManualClock;
use crate::model::item::{ClaimedItem, NewQueueItem};
use crate::model::job::NewJob;
use crate::model::key::{Claim, ItemId, JobKey, QueueId};
use crate::model::queue::NewQueueDefinition;
use crate::model::result::TransactionResult;
use crate::model::status::Status;
use crate::orchestrator::{Administration, ClaimRequest, Report};

/// How a commit goes.
#[derive(Clone, Copy, Debug)]
enum Weather {
    /// It is made, and the answer is lost.
    Unknown,
    /// It is not made, and that is known only later.
    Undone,
    /// It is not made.
    Unavailable,
}

type WereMade = Arc<Mutex<Option<VecDeque<bool>>>>;

/// A store in memory whose commits go as it is told.
struct Stormy {
    store: Memory,
    forecast: Arc<Mutex<VecDeque<Weather>>>,
    /// Whether the commits of which nobody knew were made, in their order; those that are not named were. None: nobody knows
    /// yet.
    were_made: WereMade,
}

impl Stormy {
    /// What a take of the first item would have been answered, had it been made: what the same job is answered when it takes
    /// that item later.
    fn would_take(&mut self, asked: &Asked) -> Option<Answer> {
        let Operation::Take(take) = &asked.operation else { return None };
        let read = Store::read(&mut self.store, asked.within, Query::Item(ItemId(1))).unwrap();
        let Answer::Item(item) = read else { unreachable!("an item was asked for") };
        let claim = Claim { item: item.id, job: take.taker.job, token: item.row_version + 1 };
        Some(Answer::Taken(Took { items: smallvec![ClaimedItem { item, claim }], withheld: None }))
    }
}

impl Upkeep for Stormy {
    fn was_made(&mut self) -> Result<bool> {
        match &mut *self.were_made.lock().unwrap() {
            Some(were_made) => Ok(were_made.pop_front().unwrap_or(true)),
            None => Err(OrchestratorError::new(ErrorKind::Unavailable, "nobody knows yet")),
        }
    }

    fn changed_elsewhere(&mut self) -> bool {
        false
    }
}

impl Store for Stormy {
    fn commit(
        &mut self,
        operations: Vec<Asked>,
        more: &mut dyn FnMut() -> Vec<Asked>,
        clock: &StoreClock,
        effects: &mut Effects,
    ) -> Vec<Result<Answer>> {
        let weather = self.forecast.lock().unwrap().pop_front();
        let lost = |kind, count| (0..count).map(|_| Err(OrchestratorError::new(kind, "a storm"))).collect();
        match weather {
            None => self.store.commit(operations, more, clock, effects),
            Some(Weather::Unavailable) => lost(ErrorKind::Unavailable, operations.len()),
            Some(Weather::Unknown) => {
                let answers = self.store.commit(operations, more, clock, effects);
                let count = answers.len();
                effects.in_doubt.push(answers.into_iter().filter_map(Result::ok).collect());
                lost(ErrorKind::Unknown, count)
            }
            Some(Weather::Undone) => {
                effects.in_doubt.push(operations.iter().filter_map(|asked| self.would_take(asked)).collect());
                let count = operations.len();
                lost(ErrorKind::Unknown, count)
            }
        }
    }

    fn abort(&mut self) {}

    fn read(&mut self, within: Within, query: Query) -> Result<Answer> {
        Store::read(&mut self.store, within, query)
    }
}

/// A queue with one item, a job, and the weather to come.
async fn prepared(on_threads: bool) -> (Local, JobKey, impl Fn(&[Weather])) {
    let (local, job, forecast, _) = prepared_and_told(on_threads).await;
    (local, job, forecast)
}

/// The same, and whether the commits of which nobody knew were made: they may have been, unless the test says so.
async fn prepared_and_told(on_threads: bool) -> (Local, JobKey, impl Fn(&[Weather]), WereMade) {
    let clock = Arc::new(StoreClock::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))));
    let forecast = Arc::new(Mutex::new(VecDeque::new()));
    let were_made = Arc::new(Mutex::new(Some(VecDeque::new())));
    let store =
        Box::new(Stormy { store: Memory::new(), forecast: forecast.clone(), were_made: were_made.clone() });
    let batch = if on_threads {
        let readers = LANES.iter().map(|_| -> Box<dyn Store> { Box::new(Memory::new()) }).collect();
        Batch::on_threads(vec![store], readers, &clock, 1).unwrap()
    } else {
        Batch::in_place(store, clock.clone())
    };
    let local = Local::new(batch, clock);
    local.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    local.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
    let job = local.start_job(new_job()).await.unwrap();
    (local, job, move |weather: &[Weather]| forecast.lock().unwrap().extend(weather), were_made)
}

fn new_job() -> NewJob {
    NewJob {
        queue: "Q".to_owned(),
        machine: "test".to_owned(),
        process_id: 1,
        version: "0".to_owned(),
        robots: 1,
        lease: Duration::from_secs(30),
    }
}

/// How many items a job takes, of at most two.
async fn take(local: &Local, job: JobKey) -> Result<usize> {
    let take = ClaimRequest { queue: "Q".into(), job, robot: Some(1), count: 2, reference: None };
    local.report_and_claim(Vec::new(), Some(take)).await.claimed.map(|taken| taken.items.len())
}

#[tokio::test]
async fn what_was_taken_in_doubt_is_given_back_before_the_next_take() {
    for on_threads in [false, true] {
        let (local, job, forecast) = prepared(on_threads).await;
        forecast(&[Weather::Unknown]);
        assert_eq!(take(&local, job).await.unwrap_err().kind(), ErrorKind::Unknown);
        // It is free for the same job, and nobody has it twice.
        assert_eq!(take(&local, job).await.unwrap(), 1);
        assert_eq!(take(&local, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_is_owed_is_tried_until_a_commit_succeeds() {
    for on_threads in [false, true] {
        let (local, job, forecast) = prepared(on_threads).await;
        // Taken; not given back; given back and taken again, of which nobody knows; and once more.
        forecast(&[Weather::Unknown, Weather::Unavailable, Weather::Unknown, Weather::Unknown]);
        let mut failed = 0;
        let taken = loop {
            match take(&local, job).await {
                Ok(taken) => break taken,
                Err(_) => failed += 1,
            }
        };
        // A store on a thread may have met one of these by itself, while this test was not given a turn.
        assert!(failed == 4 || on_threads && failed < 4, "{failed} calls failed");
        assert_eq!(taken, 1);
        assert_eq!(take(&local, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_was_not_taken_after_all_is_not_taken_away_later() {
    for on_threads in [false, true] {
        let (local, job, forecast) = prepared(on_threads).await;
        forecast(&[Weather::Unknown]);
        assert!(take(&local, job).await.is_err());
        assert_eq!(take(&local, job).await.unwrap(), 1);
        // Nothing is owed any longer: the claim that the job has now stays its own.
        for _ in 0..3 {
            local.beat(job).await.unwrap();
        }
        assert_eq!(take(&local, job).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_idle_store_undoes_by_itself_what_is_in_doubt() {
    let (local, job, forecast) = prepared(true).await;
    let seen = local.batch.seen();
    forecast(&[Weather::Unknown, Weather::Unavailable]);
    assert!(take(&local, job).await.is_err());
    // Nobody asks for anything: the item comes back, and whoever waits hears of it.
    local.batch.wait(QueueId(1), seen, Duration::from_secs(60)).await;
    assert_ne!(local.batch.seen().0, seen.0);
    assert_eq!(take(&local, job).await.unwrap(), 1);
}

#[tokio::test]
async fn a_job_that_nobody_knows_of_ends() {
    let (local, job, forecast) = prepared(false).await;
    forecast(&[Weather::Unknown]);
    assert_eq!(local.start_job(new_job()).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(take(&local, job).await.unwrap(), 1);
    let robots = local.list_robots().await.unwrap();
    assert_eq!(robots.iter().map(|robot| robot.job).collect::<Vec<_>>(), [job]);
}

/// Another writer may hand out the same item to the same job before it is known what became of a commit. What was not made
/// is not undone then: nobody could tell the two claims apart.
#[tokio::test]
async fn what_was_not_made_is_not_undone_when_that_is_known() {
    for on_threads in [false, true] {
        let (local, job, forecast, were_made) = prepared_and_told(on_threads).await;
        *were_made.lock().unwrap() = None;
        forecast(&[Weather::Undone]);
        assert_eq!(take(&local, job).await.unwrap_err().kind(), ErrorKind::Unknown);
        let taking = ClaimRequest { queue: "Q".into(), job, robot: Some(1), count: 2, reference: None };
        let taken = local.report_and_claim(Vec::new(), Some(taking)).await.claimed.unwrap().items;
        assert_eq!(
            (taken[0].claim.item, taken[0].claim.token),
            (ItemId(1), 2),
            "the claim that was in doubt"
        );
        *were_made.lock().unwrap() = Some([false].into());
        for _ in 0..3 {
            local.beat(job).await.unwrap();
        }
        assert_eq!(take(&local, job).await.unwrap(), 0, "it has its item still");
        let result = TransactionResult::Successful { output: None };
        let report = Report { claim: taken[0].claim, result, progress: None };
        let recorded = local.report_and_claim(vec![report], None).await.reports.pop().unwrap();
        assert_eq!(recorded.unwrap(), Status::Successful);
    }
}

/// It may become known what became of one commit when nobody knows yet of the next.
#[tokio::test]
async fn each_commit_of_which_nobody_knew_is_told_apart() {
    for on_threads in [false, true] {
        for (weather, fates) in [
            ([Weather::Unknown, Weather::Undone], [true, false]),
            ([Weather::Undone, Weather::Unknown], [false, true]),
        ] {
            let (local, job, forecast, were_made) = prepared_and_told(on_threads).await;
            *were_made.lock().unwrap() = None;
            forecast(&weather);
            for _ in weather {
                assert_eq!(take(&local, job).await.unwrap_err().kind(), ErrorKind::Unknown);
            }
            assert_eq!(take(&local, job).await.unwrap(), 0, "it is held, by whom nobody knows");
            *were_made.lock().unwrap() = Some(fates.into());
            local.beat(job).await.unwrap();
            assert_eq!(take(&local, job).await.unwrap(), 1, "{fates:?}: what was taken was given back");
        }
    }
}
