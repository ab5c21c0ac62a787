//! Queues that are paused, and limits on the items in progress and on starts.

use performer::FieldEdit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use performer::model::{ErrorCode, LimitsEdit, MaxStarts, NewQueueDefinition, QueueLimits};
use performer::orchestrator::{ErrorKind, Report};

use super::look;
use crate::{Fixture, QUEUE, business, named, ok, retrying, take};

pub(crate) async fn nothing_is_claimed_from_a_paused_queue_until_it_is_resumed(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let running = f.take(job).await;
    f.add_named("b").await;
    let pause = |paused| LimitsEdit::default().paused(paused);
    assert!(limit(&f, pause(true)).await.paused);

    let held_back = look(&f, take(job, 5)).await;
    assert!(
        held_back.items.is_empty() && held_back.withheld.is_some(),
        "there is something, and it is known"
    );
    let added = f.orchestrator.add_and_start_transaction(take(job, 1), named("c")).await.unwrap_err();
    assert_eq!((added.kind(), added.code()), (ErrorKind::Conflict, Some(ErrorCode::UNAVAILABLE_RESOURCES)));
    // Running attempts continue, and added items wait.
    f.report(running.claim, ok()).await.unwrap();
    f.add_named("d").await;
    assert!(f.try_take(job).await.is_none());

    // Waiting callers are woken.
    let empty = look(&f, take(job, 1)).await;
    let (orchestrator, long) = (f.orchestrator.clone(), Duration::from_secs(3_600));
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    assert!(limit(&f, pause(false)).await.is_none());
    waiting.await.unwrap();
    assert_eq!(f.take_all(job).await, ["b", "d"]);
    let really_empty = look(&f, take(job, 1)).await;
    assert!(really_empty.withheld.is_none());
    limit(&f, pause(true)).await;
    assert!(look(&f, take(job, 1)).await.withheld.is_none(), "nothing is held back where nothing is");
    f.check_statistics().await;
}

pub(crate) async fn no_more_items_are_in_progress_than_the_limit_allows(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let (one, other) = (f.job().await, f.job().await);
    for name in ["a", "b", "c", "d", "e"] {
        f.add_named(name).await;
    }
    let most = |most| LimitsEdit::default().max_in_progress(FieldEdit::to(most));
    assert_eq!(limit(&f, most(Some(3))).await.max_in_progress, Some(3));
    let first = f.take_many(one, 2).await;
    let second = look(&f, take(other, 5)).await;
    assert_eq!((first.len(), second.items.len()), (2, 1), "whoever takes them, and however many");
    assert!(second.withheld.is_some());
    assert!(f.try_take(one).await.is_none());

    // A result frees a place for a claim in the same call; so does an item that is given back.
    let report = Report::new(first[0].claim, ok());
    let next = f.orchestrator.report_and_claim(vec![report], Some(take(one, 5))).await.claimed.unwrap();
    let references: Vec<_> = next.items.iter().map(|claimed| claimed.item.reference.as_deref()).collect();
    assert_eq!(references, [Some("d")]);
    let empty = look(&f, take(other, 1)).await;
    let (orchestrator, long) = (f.orchestrator.clone(), Duration::from_secs(3_600));
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    f.report(first[1].claim, business("no")).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(f.take(other).await.item.reference.as_deref(), Some("e"));

    // A lowered limit ends no attempt; a lifted one blocks nothing.
    limit(&f, most(Some(1))).await;
    f.add_named("f").await;
    f.report(next.items[0].claim, ok()).await.unwrap();
    assert!(f.try_take(one).await.is_none(), "two are left of one");
    let refused = f.orchestrator.edit_queue_limits(QUEUE, most(Some(0))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(limit(&f, most(None)).await.is_none());
    assert_eq!(f.take(one).await.item.reference.as_deref(), Some("f"));
    f.check_statistics().await;
}

pub(crate) async fn concurrent_claims_do_not_exceed_the_limit(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    for name in 0..60 {
        f.add_named(&name.to_string()).await;
    }
    limit(&f, LimitsEdit::default().max_in_progress(3)).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut robots = Vec::new();
    for _ in 0..8 {
        let (orchestrator, running, most) = (f.orchestrator.clone(), running.clone(), most.clone());
        let job = f.job().await;
        robots.push(tokio::spawn(async move {
            let mut done = 0;
            loop {
                let answer = orchestrator.report_and_claim(Vec::new(), Some(take(job, 2))).await;
                let taken = answer.claimed.unwrap();
                if taken.items.is_empty() && taken.withheld.is_none() {
                    return done;
                }
                let now = running.fetch_add(taken.items.len(), Ordering::SeqCst) + taken.items.len();
                most.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                for claimed in taken.items {
                    running.fetch_sub(1, Ordering::SeqCst);
                    let report = Report::new(claimed.claim, ok());
                    orchestrator.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
                    done += 1;
                }
            }
        }));
    }
    let mut done = 0;
    for robot in robots {
        done += robot.await.unwrap();
    }
    assert_eq!(done, 60);
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?} were in progress");
    f.check_statistics().await;
}

/// A call that ends items and claims the next ones gets as many as the limit allows then, the first ones, however many
/// were wanted and allowed before.
pub(crate) async fn reports_and_claims_together_keep_the_limit_and_the_order(f: Fixture) {
    const ITEMS: usize = 60;
    let f = f.with_queue(retrying(1)).await;
    for name in 0..ITEMS {
        f.add_named(&name.to_string()).await;
    }
    let (job, mut held, mut next) = (f.job().await, Vec::new(), 0);
    for (round, most) in [1, 3, 3, 3, 3, 12, 12, 2, 2, 2, 9, 9, 100, 100].into_iter().enumerate() {
        limit(&f, LimitsEdit::default().max_in_progress(most)).await;
        let most = usize::try_from(most).unwrap();
        for wanted in [1, 2, 20] {
            let ended = held.drain(..held.len().div_ceil(2));
            let reports = ended.map(|claim| Report::new(claim, ok())).collect();
            let answer = f.orchestrator.report_and_claim(reports, Some(take(job, wanted))).await;
            assert!(answer.reports.iter().all(Result::is_ok));
            let taken = answer.claimed.unwrap();
            let allowed = most.saturating_sub(held.len()).min(wanted).min(ITEMS - next);
            let references: Vec<_> =
                taken.items.iter().map(|claimed| claimed.item.reference.clone()).collect();
            let expected: Vec<_> = (next..next + allowed).map(|name| Some(name.to_string())).collect();
            assert_eq!(references, expected, "round {round}, {wanted} wanted, {} held", held.len());
            next += allowed;
            assert_eq!(taken.withheld.is_some(), allowed < wanted && next < ITEMS, "round {round}");
            held.extend(taken.items.iter().map(|claimed| claimed.claim));
        }
    }
    assert_eq!(next, ITEMS);
    f.check_statistics().await;
}

pub(crate) async fn no_more_items_are_started_in_a_window_than_the_limit_allows(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        f.add_named(name).await;
    }
    let most = MaxStarts { count: 3, per: Duration::from_secs(60) };
    let edit = LimitsEdit::default().max_starts(most);
    assert_eq!(limit(&f, edit).await.max_starts, Some(most));
    let first = f.take_many(job, 2).await;
    for claimed in first {
        f.report(claimed.claim, ok()).await.unwrap();
    }
    f.advance(30);
    assert_eq!(f.take_all(job).await, ["c"], "what has ended was started all the same");
    let held_back = look(&f, take(job, 1)).await;
    let wait = held_back.withheld.unwrap();
    assert!(wait > Duration::from_secs(29) && wait < Duration::from_secs(32), "{wait:?}");
    f.advance(32);
    assert_eq!(f.take_all(job).await, ["d", "e"]);
    f.advance(30);
    // An item that is added and claimed at once counts too.
    let started = f.orchestrator.add_and_start_transaction(take(job, 1), named("x")).await.unwrap();
    f.report(started.claim, ok()).await.unwrap();
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

pub(crate) async fn limits_are_kept_when_a_queue_is_updated(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let most = MaxStarts { count: 5, per: Duration::from_secs(90) };
    let edit = LimitsEdit::default().paused(true).max_in_progress(7).max_starts(most);
    let limits = limit(&f, edit).await;
    let changed = NewQueueDefinition::new(QUEUE).policy(retrying(3));
    assert_eq!(f.orchestrator.update_queue(QUEUE, changed).await.unwrap().limits, limits);
    let queue = f.orchestrator.get_queue(QUEUE).await.unwrap();
    assert_eq!((queue.policy.max_number_of_retries, &queue.limits), (3, &limits));
    assert_eq!(f.orchestrator.list_queues().await.unwrap()[0].limits, limits);
    let resume = LimitsEdit::default().paused(false);
    let mut resumed = limits;
    resumed.paused = false;
    assert_eq!(limit(&f, resume).await, resumed);
    let missing = f.orchestrator.edit_queue_limits("Nowhere", LimitsEdit::default()).await.unwrap_err();
    assert!(missing.is_not_found());
}

async fn limit(f: &Fixture, edit: LimitsEdit) -> QueueLimits {
    f.orchestrator.edit_queue_limits(QUEUE, edit).await.unwrap().limits
}
