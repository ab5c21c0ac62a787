//! T13 to T15 of `docs/reference/lifecycle.md`: leases, abandoned items, and the jobs and robots that hold items.

use std::time::Duration;

use performer::model::{
    ErrorCode, JobEnd, JobFigures, JobState, NewQueueDefinition, Outcome, RobotState, Status, StopStrategy,
    TransactionResult,
};
use performer::orchestrator::{ClaimRequest, ErrorKind};

use super::{look, some_job};
use crate::{Fixture, application, named, new_job, ok, retrying, take};

pub(crate) async fn t13_a_job_that_beats_keeps_its_items(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    for _ in 0..20 {
        assert_eq!(f.sweep_for(29).await.abandoned, 0);
        assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Running);
    }
    assert_eq!(f.sweep_for(30).await.jobs.len(), 0, "the last instant of the lease belongs to the job");
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
}

pub(crate) async fn t14_t15_a_job_that_does_not_beat_loses_its_items_and_its_reports_change_nothing(
    f: Fixture,
) {
    let f = f.with_queue(retrying(3)).await;
    let (lost, other) = (f.job().await, f.job().await);
    let a = f.add_named("a").await;
    let b = f.add_named("b").await;
    let zombie = f.take(lost).await;
    let held = f.take(other).await;
    assert_eq!(f.sweep_for(20).await.abandoned, 0);
    f.orchestrator.beat(other).await.unwrap();
    let swept = f.sweep_for(11).await;
    assert_eq!((swept.jobs, swept.abandoned), (vec![lost], 1), "within the lease and a second");

    let item = f.item(a.id).await;
    assert_eq!((item.status, item.outcome), (Status::Abandoned, Some(Outcome::Abandoned)));
    assert_eq!((item.end_processing, item.executor_job), (Some(f.now()), Some(lost)));
    assert!(f.try_take(other).await.is_none(), "this queue does not retry abandoned items");
    for result in [ok(), application("x"), TransactionResult::GivenBack] {
        assert!(f.report(zombie.claim, result).await.unwrap_err().is_claim_lost());
    }
    let late = f.orchestrator.set_transaction_progress(zombie.claim, "x".to_owned()).await.unwrap_err();
    assert!(late.is_claim_lost());
    assert!(f.orchestrator.beat(lost).await.unwrap_err().is_claim_lost());
    let answer = f.orchestrator.report_and_claim(Vec::new(), Some(take(lost, 1))).await;
    assert!(answer.claimed.is_ok(), "there is nothing to take, so nobody asks who wants it");
    assert_eq!(f.item(a.id).await, item);

    assert_eq!(f.item(b.id).await.status, Status::InProgress);
    assert_eq!(f.report(held.claim, ok()).await.unwrap(), Status::Successful);
    assert_eq!(f.sweep_for(1).await.abandoned, 0, "once");
    f.check_statistics().await;
}

pub(crate) async fn t14_the_end_of_a_job_abandons_what_it_still_holds(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    let broken = JobEnd::new(JobState::Faulted).info("broken");
    let swept = f.orchestrator.end_job(job, broken.clone()).await.unwrap();
    assert_eq!(swept.abandoned, 1);
    assert!(f.report(claimed.claim, ok()).await.unwrap_err().is_claim_lost());
    assert!(f.orchestrator.end_job(job, JobState::Successful.into()).await.unwrap_err().is_claim_lost());
    let alive = f.job().await;
    let no_end = f.orchestrator.end_job(alive, JobState::Running.into()).await.unwrap_err();
    assert_eq!(no_end.kind(), ErrorKind::Invalid);
    f.orchestrator.end_job(alive, JobState::Stopped.into()).await.unwrap();
    f.advance(1);
    let last = f.job().await;
    f.orchestrator.end_job(last, broken).await.unwrap();
    let jobs = f.orchestrator.list_jobs(10).await.unwrap();
    assert_eq!(
        (jobs[0].state, jobs[0].info.as_deref(), jobs[0].end_time),
        (JobState::Faulted, Some("broken"), Some(f.now()))
    );
}

pub(crate) async fn t15_abandoned_items_are_retried_where_the_queue_says_so(f: Fixture) {
    let f = f.with_queue(retrying(1).retry_abandoned_items(true)).await;
    let first = f.add_named("a").await;
    for attempt in 0..2 {
        let job = f.job().await;
        let zombie = f.take(job).await;
        assert_eq!((zombie.item.retry_number, zombie.item.key), (attempt, first.key));
        assert_eq!(f.sweep_for(31).await.abandoned, 1);
        assert!(f.report(zombie.claim, ok()).await.unwrap_err().is_claim_lost());
    }
    let chain = f.orchestrator.processing_history(first.id).await.unwrap();
    let statuses: Vec<_> = chain.iter().map(|item| (item.status, item.outcome)).collect();
    let abandoned = Some(Outcome::Abandoned);
    assert_eq!(statuses, [(Status::Retried, abandoned), (Status::Abandoned, abandoned)]);
    assert!(f.try_take(f.job().await).await.is_none(), "the maximum is shared with automatic retries");
    f.check_statistics().await;
}

/// An item that takes its robots down does not take down the next one at once.
pub(crate) async fn t15_the_copy_of_an_abandoned_item_waits_for_the_retry_delay_too(f: Fixture) {
    let policy = retrying(2).retry_abandoned_items(true).retry_delay(Duration::from_secs(60));
    let f = f.with_queue(policy).await;
    f.add_named("a").await;
    let job = f.job().await;
    f.take(job).await;
    f.orchestrator.end_job(job, JobState::Faulted.into()).await.unwrap();
    f.advance(59);
    let next = f.job().await;
    assert!(f.try_take(next).await.is_none());
    f.advance(1);
    assert_eq!(f.take(next).await.item.retry_number, 1);
}

pub(crate) async fn t15_an_item_in_progress_for_too_long_is_abandoned_even_if_its_job_is_alive(f: Fixture) {
    let limit = Duration::from_secs(3_600);
    let f = f.with_queue(retrying(1).abandon_after(limit)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Patient")).await.unwrap();
    f.orchestrator.add_queue_item("Patient", named("p")).await.unwrap();
    let job = f.job().await;
    f.add_named("a").await;
    let overdue = f.take(job).await;
    let patient = ClaimRequest::new("Patient", job, 1).robot(1);
    let patient =
        f.orchestrator.report_and_claim(Vec::new(), Some(patient)).await.claimed.unwrap().items.remove(0);
    let mut abandoned = 0;
    for _ in 0..145 {
        f.advance(25);
        f.orchestrator.beat(job).await.unwrap();
        abandoned += f.orchestrator.sweep().await.unwrap().abandoned;
    }
    assert_eq!(abandoned, 1);
    assert!(f.report(overdue.claim, ok()).await.unwrap_err().is_claim_lost());
    assert_eq!(f.report(patient.claim, ok()).await.unwrap(), Status::Successful);
}

pub(crate) async fn stop_requests_are_delivered_with_the_beat(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.orchestrator.stop_job(job, StopStrategy::SoftStop).await.unwrap();
    assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Stopping);
    f.orchestrator.stop_job(job, StopStrategy::Kill).await.unwrap();
    assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Terminating);
    f.orchestrator.end_job(job, JobState::Stopped.into()).await.unwrap();
    let ended = f.orchestrator.stop_job(job, StopStrategy::SoftStop).await.unwrap_err();
    assert_eq!((ended.kind(), ended.code()), (ErrorKind::Conflict, Some(ErrorCode::new(1658))));
    assert!(f.orchestrator.stop_job(some_job(), StopStrategy::Kill).await.unwrap_err().is_not_found());
}

pub(crate) async fn a_job_needs_a_queue_and_a_lease(f: Fixture) {
    assert!(f.orchestrator.start_job(new_job()).await.unwrap_err().is_not_found());
    let f = f.with_queue(retrying(1)).await;
    let zero = new_job().lease(Duration::ZERO);
    assert_eq!(f.orchestrator.start_job(zero).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(f.orchestrator.beat(some_job()).await.unwrap_err().is_not_found());
    let longest = new_job().lease(Duration::MAX);
    assert_eq!(f.orchestrator.start_job(longest).await.unwrap_err().kind(), ErrorKind::Invalid);
}

pub(crate) async fn robots_are_listed_with_their_items(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let two = new_job().robots(2).machine("mill");
    let job = f.orchestrator.start_job(two).await.unwrap();
    f.add_named("a").await;
    f.advance(5);
    let claimed = look(&f, take(job, 1).robot(2)).await.items.remove(0);
    let robots = f.orchestrator.list_robots().await.unwrap();
    let shown: Vec<_> =
        robots.iter().map(|r| (r.number, r.state, r.item, r.reference.as_deref(), r.since)).collect();
    let started = f.orchestrator.list_jobs(1).await.unwrap()[0].start_time;
    let busy = (2, RobotState::Busy, Some(claimed.item.id), Some("a"), f.now());
    assert_eq!(shown, [(1, RobotState::Available, None, None, started), busy]);

    f.advance(31);
    let states: Vec<_> = f.orchestrator.list_robots().await.unwrap().iter().map(|r| r.state).collect();
    assert_eq!(states, [RobotState::Disconnected; 2], "nobody has heard of them for their lease");
    assert_eq!(f.orchestrator.beat(job).await.unwrap(), JobState::Running);
    f.report(claimed.claim, ok()).await.unwrap();

    let mut figures = JobFigures::default();
    figures.successful = 1;
    figures.busy = Duration::from_millis(1_500);
    let end = JobEnd::new(JobState::Successful).figures(figures.clone());
    f.orchestrator.end_job(job, end).await.unwrap();
    let ended = f.orchestrator.list_jobs(1).await.unwrap().remove(0);
    assert_eq!((ended.about.machine.as_str(), ended.figures), ("mill", Some(figures)));
    assert!(f.orchestrator.list_robots().await.unwrap().is_empty());
}
