//! Times of day that jump, and machines that are suspended.

use std::time::Duration;

use performer::model::{ItemFilter, Priority, Status};

use super::DAY;
use crate::{Fixture, named, ok, retrying};

pub(crate) async fn leases_survive_a_change_of_the_time_of_day(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.sweep_for(5).await;
    f.clock.set(f.after(3_600)); // the clock is set an hour forward
    assert_eq!(f.sweep_for(24).await.jobs.len(), 0);
    f.orchestrator.beat(job).await.unwrap();
    f.clock.set(f.now() - Duration::from_secs(7_200)); // and back again, and more
    assert_eq!(f.sweep_for(29).await.jobs.len(), 0);
    f.orchestrator.beat(job).await.unwrap();
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
}

pub(crate) async fn no_job_is_lost_after_all_processes_were_suspended(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.sweep_for(5).await;
    f.advance(300); // the machine was suspended
    assert_eq!(f.sweep_for(29).await.jobs.len(), 0);
    f.orchestrator.beat(job).await.unwrap();
    assert_eq!(f.report(claimed.claim, ok()).await.unwrap(), Status::Successful);
    assert_eq!(f.sweep_for(31).await.jobs, [job], "and a job that is really gone is found all the same");
}

/// As above, for items that are InProgress: a jump does not end their attempts.
pub(crate) async fn t15_nothing_is_overdue_by_a_clock_that_is_ahead(f: Fixture) {
    let limit = Duration::from_secs(6 * 3_600);
    let f = f.with_queue(retrying(1).abandon_after(limit)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let held = f.take(job).await;
    let sweep = async || {
        f.orchestrator.beat(job).await.unwrap();
        f.orchestrator.sweep().await.unwrap().abandoned
    };
    let pass = async |minutes: u64| {
        let mut abandoned = 0;
        for _ in 0..minutes * 3 {
            f.advance(20);
            abandoned += sweep().await;
        }
        abandoned
    };
    assert_eq!(pass(70).await, 0);
    f.clock.set(f.after(DAY));
    assert_eq!(pass(30).await, 0);
    f.clock.set(f.now() - Duration::from_secs(DAY));
    assert_eq!(pass(10).await, 0);
    assert_eq!(f.item(held.item.id).await.status, Status::InProgress);
    assert_eq!(pass(4 * 60 + 15).await, 1, "six hours after it was taken");
}

/// A clock that is ahead makes everything old, but nothing is removed.
pub(crate) async fn t23_nothing_is_removed_by_a_clock_that_is_ahead(f: Fixture) {
    let f = f.with_queue(retrying(0).retention_days(2).stale_retention_days(5)).await;
    let job = f.job().await;
    f.add_named("done").await;
    f.perform(job, ok()).await;
    f.add_named("waiting").await;
    let removed = async || f.orchestrator.apply_retention(100).await.unwrap();
    f.advance(2 * 3_600);
    assert_eq!(removed().await, 0, "nothing is old");
    // The clock is set, and set right again.
    let right = f.now();
    f.clock.set(f.after(200 * DAY));
    assert_eq!(removed().await, 0);
    f.advance(50 * 60);
    assert_eq!(removed().await, 0, "not within the hour");
    f.clock.set(right + Duration::from_secs(50 * 60));
    f.advance(3 * 3_600);
    assert_eq!(removed().await, 0, "nor when it is right again");
    // Two days pass while the clock is ahead: the age is that of the monotone clock.
    f.clock.set(f.after(200 * DAY));
    assert_eq!(removed().await, 0);
    f.clock.set(f.now() - Duration::from_secs(200 * DAY));
    f.advance(2 * DAY);
    assert_eq!(removed().await, 1, "what was done two days ago, and a bit");
    // A jump that lasts is believed.
    f.clock.set(f.after(200 * DAY));
    assert_eq!(removed().await, 0);
    f.advance(3_600);
    assert_eq!(removed().await, 1);
    assert!(f.list(ItemFilter::default()).await.is_empty());
}

/// A clock that was ahead has made deferred items ready; when it is right again they wait, and do not block others.
pub(crate) async fn items_that_came_due_while_the_clock_was_ahead_are_deferred_again(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    for name in ["first", "second", "third"] {
        f.add(named(name).priority(Priority::High).defer_date(f.after(3_600))).await;
    }
    let right = f.now();
    f.clock.set(f.after(7_200));
    assert_eq!(f.take(job).await.item.reference.as_deref(), Some("first"));
    f.clock.set(right);
    f.add_named("now").await;
    assert_eq!(f.take_all(job).await, ["now"], "and not what is deferred");
    f.advance(3_601);
    let job = f.job().await;
    assert_eq!(f.take_all(job).await, ["second", "third"]);
    f.check_statistics().await;
}
