//! What is named as holding claims back holds them back, and nothing else does.

use std::time::Duration;

use performer::model::claim_blockers::ClaimBlocker;
use performer::model::{JobKey, LimitsEdit, MaxStarts, TransactionResult};
use performer::orchestrator::read_claim_blockers;

use crate::{Fixture, QUEUE, named, ok, retrying};

/// The names of what holds claims back for certain. A claim is made, and gets an item exactly if there is none; it is given back.
async fn blockers(f: &Fixture, job: JobKey) -> Vec<&'static str> {
    let queue = f.orchestrator.get_queue(QUEUE).await.unwrap();
    let statistics = f.orchestrator.queue_statistics(QUEUE).await.unwrap();
    let jobs = f.orchestrator.list_jobs(100).await.unwrap();
    let found =
        read_claim_blockers(&*f.orchestrator, &queue, &statistics, Some(&jobs), f.now()).await.unwrap();
    let certain: Vec<_> =
        found.iter().filter(|blocker| blocker.is_certain()).map(ClaimBlocker::name).collect();
    let claimed = f.try_take(job).await;
    assert_eq!(claimed.is_none(), !certain.is_empty(), "{found:?}, and a claim got {claimed:?}");
    if let Some(claimed) = claimed {
        f.report(claimed.claim, TransactionResult::GivenBack).await.unwrap();
    }
    certain
}

async fn limit(f: &Fixture, edit: LimitsEdit) {
    f.orchestrator.edit_queue_limits(QUEUE, edit).await.unwrap();
}

const NOTHING: [&str; 0] = [];

pub(crate) async fn claims_are_held_back_by_what_is_named(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    assert_eq!(blockers(&f, job).await, ["NoNewItems"]);

    f.add(named("later").defer_date(f.after(100))).await;
    assert_eq!(blockers(&f, job).await, ["AllPostponed"]);
    f.add_named("a").await;
    assert_eq!(blockers(&f, job).await, NOTHING, "one of two is not postponed");

    limit(&f, LimitsEdit::default().paused(true)).await;
    assert_eq!(blockers(&f, job).await, ["Paused"]);
    limit(&f, LimitsEdit::default().paused(false).max_in_progress(2)).await;
    f.add_named("b").await;
    f.add_named("c").await;
    let running = f.take_many(job, 2).await;
    assert_eq!(blockers(&f, job).await, ["InProgressLimit"]);
    f.report(running[0].claim, ok()).await.unwrap();
    assert_eq!(blockers(&f, job).await, NOTHING);
    f.report(running[1].claim, ok()).await.unwrap();
    f.advance(100);
    assert_eq!(blockers(&f, f.job().await).await, NOTHING, "the DeferDate has come");
}

pub(crate) async fn a_limit_on_starts_holds_claims_back_until_the_time_that_is_named(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let starts = MaxStarts { count: 3, per: Duration::from_secs(60) };
    limit(&f, LimitsEdit::default().max_starts(starts)).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        f.add_named(name).await;
    }
    let (mut job, mut held, mut free) = (f.job().await, 0, 0);
    for second in 0..150 {
        let queue = f.orchestrator.get_queue(QUEUE).await.unwrap();
        let statistics = f.orchestrator.queue_statistics(QUEUE).await.unwrap();
        let found = read_claim_blockers(&*f.orchestrator, &queue, &statistics, None, f.now()).await.unwrap();
        match f.try_take(job).await {
            Some(claimed) => {
                assert_eq!(found, [], "second {second}");
                f.report(claimed.claim, ok()).await.unwrap();
                free += 1;
            }
            None if statistics.new == 0 => assert_eq!(found[0].name(), "NoNewItems"),
            None => {
                assert!(
                    matches!(found[..], [ClaimBlocker::StartLimit { until, .. }] if until > f.now()),
                    "{found:?}"
                );
                held += 1;
            }
        }
        f.advance(1);
        if f.orchestrator.beat(job).await.is_err() {
            job = f.job().await;
        }
    }
    assert!(free == 6 && held > 50, "{free} {held}");
}

pub(crate) async fn full_groups_hold_claims_back(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    limit(&f, LimitsEdit::default().max_in_progress_per_group(1)).await;
    f.add(named("a1").group("a")).await;
    f.add(named("a2").group("a")).await;
    let first = f.take(job).await;
    assert_eq!(blockers(&f, job).await, ["GroupLimit"]);
    f.add(named("b1").group("b")).await;
    assert_eq!(blockers(&f, job).await, NOTHING, "another group");
    let second = f.take(job).await;
    assert_eq!(second.item.reference.as_deref(), Some("b1"));
    assert_eq!(blockers(&f, job).await, ["GroupLimit"]);
    f.add_named("alone").await;
    assert_eq!(blockers(&f, job).await, NOTHING, "an item without a group");
    let third = f.take(job).await;
    f.report(first.claim, ok()).await.unwrap();
    assert_eq!(blockers(&f, job).await, NOTHING, "its group is free again");
    f.report(second.claim, ok()).await.unwrap();
    f.report(third.claim, ok()).await.unwrap();
}
