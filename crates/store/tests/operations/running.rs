//! How an operation runs: in chunks, at a pace, behind a canary, in any process.

use std::time::Duration;

use performer::model::operation::{CHUNK, Canary, OperationState};
use performer::orchestrator::store::Store;
use performer::{ReviewStatus, Status};

use crate::{World, ann, on_every_store, retry, run};

on_every_store!(
    chunks_follow_each_other,
    a_pace_is_kept,
    a_canary_that_succeeds_lets_the_rest_go,
    a_canary_that_fails_holds_the_rest,
    a_canary_that_takes_too_long_holds_the_rest,
    an_operation_is_stopped_and_goes_on,
    copies_that_are_still_new_are_taken_back,
    two_processes_do_nothing_twice,
    another_process_goes_on,
);

async fn chunks_follow_each_other(world: World) {
    world.fail(2 * CHUNK + 1).await;
    let started = world.begin(retry()).await;
    let mut version = started.version;
    for (done, state) in [
        (CHUNK, OperationState::Running),
        (2 * CHUNK, OperationState::Running),
        (2 * CHUNK + 1, OperationState::Done),
    ] {
        let after = world.store.step_operation(started.id, version).await.unwrap();
        assert_eq!((after.done, after.state), (done as u64, state));
        assert_eq!(world.waiting().await, i64::try_from(done).unwrap(), "the copies are there");
        // The same step again does nothing.
        let again = world.store.step_operation(started.id, version).await.unwrap();
        assert_eq!(again, after);
        version = after.version;
    }
}

async fn a_pace_is_kept(world: World) {
    world.fail(25).await;
    world.begin(retry().pace(600)).await;
    for (second, copies) in [(0, 10), (1, 20), (2, 25), (3, 25)] {
        assert!(world.run().await <= 1, "in second {second}");
        assert_eq!(world.waiting().await, copies, "in second {second}");
        world.clock.advance(Duration::from_millis(999));
        assert_eq!(world.run().await, 0, "not a millisecond earlier");
        world.clock.advance(Duration::from_millis(1));
    }
}

async fn a_canary_that_succeeds_lets_the_rest_go(world: World) {
    world.fail(20).await;
    let started = world.begin(retry().canary(Canary::FIVE)).await;
    assert_eq!(world.run().await, 1);
    let waiting = world.operation(started.id).await;
    assert_eq!((waiting.state, waiting.done, world.waiting().await), (OperationState::Waiting, 5, 5));
    world.advance(60);
    assert_eq!(world.run().await, 0, "none of them has ended");
    world.succeed(4).await;
    assert_eq!(world.run().await, 2);
    let done = world.operation(started.id).await;
    assert_eq!((done.state, done.done, world.waiting().await), (OperationState::Done, 20, 16));
    assert_eq!(done.why.as_deref(), Some("4 of the first 5 items were Successful"));
}

async fn a_canary_that_fails_holds_the_rest(world: World) {
    world.fail(20).await;
    let started = world.begin(retry().canary(Canary::FIVE)).await;
    world.run().await;
    world.advance(2);
    world.process(2, || performer_proofs::business("still wrong")).await;
    assert_eq!(world.run().await, 1);
    let holding = world.operation(started.id).await;
    assert_eq!((holding.state, holding.done), (OperationState::Holding, 5));
    let why = "2 of the first 5 items were not Successful; 4 of them had to be";
    assert_eq!(holding.why.as_deref(), Some(why));
    world.succeed(3).await;
    world.advance(10_000);
    assert_eq!((world.run().await, world.waiting().await), (0, 0), "it goes on when a person says so");
    world.store.resume_operation(started.id, None).await.unwrap();
    world.run().await;
    assert_eq!((world.operation(started.id).await.done, world.waiting().await), (20, 15));
}

async fn a_canary_that_takes_too_long_holds_the_rest(world: World) {
    world.fail(20).await;
    let started = world.begin(retry().canary(Canary::new(5, Duration::from_secs(600)))).await;
    world.run().await;
    world.succeed(3).await;
    world.advance(599);
    assert_eq!(world.run().await, 0);
    world.advance(1);
    assert_eq!(world.run().await, 1);
    assert_eq!(world.operation(started.id).await.state, OperationState::Holding);
}

async fn an_operation_is_stopped_and_goes_on(world: World) {
    world.fail(CHUNK + 50).await;
    let started = world.begin(retry()).await;
    let after = world.store.step_operation(started.id, started.version).await.unwrap();
    let stopped = world.store.stop_operation(started.id, None, ann()).await.unwrap();
    assert_eq!((stopped.state, &*stopped.why.unwrap()), (OperationState::Stopped, "it was stopped by Ann"));
    world.store.step_operation(started.id, after.version).await.unwrap();
    world.advance(60);
    assert_eq!((world.run().await, world.waiting().await), (0, 200));
    let error = world.store.stop_operation(started.id, None, ann()).await.unwrap_err();
    assert_eq!(error.code().unwrap().number(), 1302);
    world.store.resume_operation(started.id, None).await.unwrap();
    world.run().await;
    assert_eq!(world.waiting().await, 250);
    assert!(world.store.resume_operation(started.id, None).await.unwrap_err().is_conflict());
    assert!(world.store.start_operation(started.id, None).await.unwrap_err().is_conflict());
}

async fn copies_that_are_still_new_are_taken_back(world: World) {
    let failed = world.fail(10).await;
    let started = world.begin(retry()).await;
    assert!(world.store.take_operation_back(started.id, None, ann()).await.unwrap_err().is_conflict());
    world.run().await;
    let successful = world.succeed(3).await;
    let counted = world.store.count_copies(started.id, None).await.unwrap();
    assert_eq!(counted, [(Status::New, 7), (Status::Successful, 3)]);
    let back = world.store.take_operation_back(started.id, None, ann()).await.unwrap();
    assert_eq!((back.state, back.total, back.preview.refused_count), (OperationState::Running, 10, 3));
    assert_eq!(world.operation(started.id).await.taken_back_by, Some(back.id));
    let copies = world.copies(started.id).await;
    let late = copies[9];
    // A robot is faster than the deletion.
    let job = performer::orchestrator::Orchestrator::start_job(&world.store, performer_proofs::new_job());
    let claimed = world.claim(job.await.unwrap(), 7).await;
    assert_eq!(claimed.len(), 7);
    let reports = claimed.iter().filter(|claimed| claimed.item.id != late).map(|claimed| {
        performer::orchestrator::Report::new(claimed.claim, performer::model::TransactionResult::GivenBack)
    });
    let answer =
        performer::orchestrator::Orchestrator::report_and_claim(&world.store, reports.collect(), None).await;
    assert!(answer.reports.iter().all(Result::is_ok));
    world.run().await;
    let done = world.operation(back.id).await;
    assert_eq!((done.state, done.done, done.refused), (OperationState::Done, 0, 10), "all were touched");
    assert!(world.codes(back.id).await.iter().all(|(_, code)| *code == 1020 || *code == 1867));
    assert_eq!(world.statuses(&successful).await, [Status::Successful; 3]);

    // And one of which nothing was claimed.
    world.process(100, || performer_proofs::business("again")).await;
    let again = world.begin(retry()).await;
    world.run().await;
    let made = world.copies(again.id).await;
    assert!(!made.is_empty());
    let back = world.store.take_operation_back(again.id, None, ann()).await.unwrap();
    world.run().await;
    assert_eq!(world.operation(back.id).await.done, made.len() as u64);
    assert!(world.statuses(&made).await.iter().all(|status| *status == Status::Deleted));
    assert_eq!(
        world.item(failed[0]).await.review_status,
        ReviewStatus::Retried,
        "the originals stay retried"
    );
    assert!(world.store.take_operation_back(again.id, None, ann()).await.unwrap_err().is_conflict());
    assert!(world.store.resume_operation(again.id, None).await.unwrap_err().is_conflict());
    assert!(world.store.take_operation_back(back.id, None, ann()).await.unwrap_err().is_conflict());
}

/// Both read the same versions, and one of them does each step.
async fn two_processes_do_nothing_twice(world: World) {
    world.fail(3 * CHUNK).await;
    let (started, other) = (world.begin(retry()).await, world.again().await);
    let both = |store: Store| async move { run(&store).await };
    let (one, two) = tokio::join!(tokio::spawn(both(world.store.clone())), tokio::spawn(both(other)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one + two >= 3, "{one} and {two}: a process counts the steps of the other that it has seen");
    let done = world.operation(started.id).await;
    assert_eq!((done.state, done.done, done.refused), (OperationState::Done, 3 * CHUNK as u64, 0));
    assert_eq!(done.version, started.version + 3, "three steps in all");
    assert_eq!(world.waiting().await, 3 * i64::try_from(CHUNK).unwrap());
}

async fn another_process_goes_on(world: World) {
    world.fail(CHUNK + 30).await;
    let started = world.begin(retry()).await;
    world.store.step_operation(started.id, started.version).await.unwrap();
    let other = world.again().await;
    assert_eq!(run(&other).await, 1);
    assert_eq!(world.operation(started.id).await.state, OperationState::Done);
    assert_eq!(world.waiting().await, 230);
}
