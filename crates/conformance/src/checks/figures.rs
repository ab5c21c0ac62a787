//! Figures by minute and hour.

use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::{
    ErrorCode, Figures, FiguresFilter, ItemFilter, JobEnd, JobState, NewQueueDefinition, Outcome, Resolution,
};
use performer::orchestrator::ErrorKind;

use super::DAY;
use crate::{Fixture, QUEUE, application, business, ok, retrying};

/// When, how, how many, and for how many seconds in all.
fn ended(figures: &Figures) -> Vec<(Timestamp, Outcome, i64, u64)> {
    let each = figures.ended.iter();
    each.map(|figure| (figure.at, figure.outcome, figure.count, figure.took.as_secs())).collect()
}

/// When, and how many were New and InProgress.
fn levels(figures: &Figures) -> Vec<(Timestamp, i64, i64)> {
    figures.levels.iter().map(|level| (level.at, level.new, level.in_progress)).collect()
}

pub(crate) async fn figures_say_what_ended_and_what_waited(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let began = f.now();
    let since_then =
        |resolution| FiguresFilter::new(began, f.after(1)).queues([QUEUE]).resolution(resolution);
    let read = async |filter: FiguresFilter| f.orchestrator.queue_figures(filter).await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        f.add_named(name).await;
    }
    let job = f.job().await;
    let mut claimed = f.take_many(job, 3).await.into_iter();
    f.advance(2);
    f.report(claimed.next().unwrap().claim, ok()).await.unwrap();
    f.report(claimed.next().unwrap().claim, business("no")).await.unwrap();
    f.advance(6);
    f.report(claimed.next().unwrap().claim, application("down")).await.unwrap(); // which is retried
    f.advance(60);
    f.orchestrator.beat(job).await.unwrap();
    f.perform(job, ok()).await; // d
    f.advance(2);
    f.orchestrator.sweep().await.unwrap(); // no commit comes, so it writes what is due

    let minute = |number: u64| began + Duration::from_secs(60 * number);
    let (well, wrong, broken) =
        (Outcome::Successful, Outcome::BusinessException, Outcome::ApplicationException);
    let found = read(since_then(Resolution::Minute)).await;
    let first = [(minute(0), well, 1, 2), (minute(0), wrong, 1, 2), (minute(0), broken, 1, 8)];
    assert_eq!(ended(&found), [&first[..], &[(minute(1), well, 1, 0)]].concat());
    assert_eq!(levels(&found), [(minute(0), 3, 0), (minute(1), 2, 0)]);
    assert!(found.levels.iter().all(|level| level.oldest == Some(began)), "{found:?}");
    let queue = f.orchestrator.get_queue(QUEUE).await.unwrap().id;
    assert!(found.ended.iter().all(|figure| figure.queue == queue));
    let median = found.ended[2].durations.percentile(0.5).unwrap().as_secs_f64();
    assert!((8.0 / 1.19..=8.0 * 1.19).contains(&median), "{median}");
    assert_eq!(found.ended[2].durations.count(), 1);

    let by_hour = read(since_then(Resolution::Hour)).await;
    let hour = [(minute(0), well, 2, 2), (minute(0), wrong, 1, 2), (minute(0), broken, 1, 8)];
    assert_eq!((ended(&by_hour), levels(&by_hour)), (hour.to_vec(), vec![(minute(0), 2, 0)]));
    assert_eq!(by_hour.ended[0].durations.count(), 2);
    assert_eq!(
        read(FiguresFilter::new(began, f.after(1))).await,
        found,
        "nothing happened in the other queue"
    );
    assert_eq!(read(FiguresFilter::new(began, f.now()).queues(["other"])).await, Figures::default());
    assert_eq!(ended(&read(FiguresFilter::new(minute(1), f.after(1))).await), [(minute(1), well, 1, 0)]);
    assert_eq!(ended(&read(FiguresFilter::new(began, minute(1))).await), first);

    // What a job leaves behind is written with its end.
    f.take(job).await; // e
    f.orchestrator.end_job(job, JobEnd::new(JobState::Stopped)).await.unwrap();
    let found = read(since_then(Resolution::Minute)).await;
    assert_eq!(ended(&found)[4..], [(minute(1), Outcome::Abandoned, 1, 0)]);
    let statistics = f.orchestrator.queue_statistics(QUEUE).await.unwrap();
    assert_eq!(levels(&found)[1], (minute(1), statistics.new, statistics.in_progress));

    let unknown = FiguresFilter::new(began, f.now()).queues(["Nowhere"]);
    assert!(f.orchestrator.queue_figures(unknown).await.unwrap_err().is_not_found());
    let long = FiguresFilter::new(began, f.after(2 * DAY));
    let error = f.orchestrator.queue_figures(long).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::INVALID_REQUEST)));
}

/// Figures are kept for a time, those by hour for longer, and go with their queue.
pub(crate) async fn figures_are_removed_when_they_are_old(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let (job, began) = (f.job().await, f.now());
    f.add_named("a").await;
    f.perform(job, ok()).await;
    f.advance(2);
    f.orchestrator.sweep().await.unwrap();
    let read = async |resolution| {
        let filter = FiguresFilter::new(began, began + Duration::from_secs(3_600)).resolution(resolution);
        f.orchestrator.queue_figures(filter).await.unwrap()
    };
    let (by_minute, by_hour) = (read(Resolution::Minute).await, read(Resolution::Hour).await);
    assert_eq!((by_minute.ended.len(), by_hour.ended.len()), (1, 1));
    f.advance(29 * DAY);
    f.orchestrator.apply_retention(100).await.unwrap();
    assert_eq!(read(Resolution::Minute).await, by_minute);
    f.advance(2 * DAY);
    f.orchestrator.apply_retention(100).await.unwrap();
    assert_eq!(read(Resolution::Minute).await, Figures::default());
    assert_eq!(read(Resolution::Hour).await, by_hour);
    f.advance(370 * DAY);
    f.orchestrator.apply_retention(100).await.unwrap();
    assert_eq!(read(Resolution::Hour).await, Figures::default());
    f.add_named("b").await;
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    f.sweep_for(2).await;
    assert_eq!(read(Resolution::Hour).await, Figures::default());
    assert_eq!(f.list(ItemFilter::default()).await, []);
}
