//! Claims that wait for an item. A back end may answer such a claim at once (`ClaimedItems::waited` says so); then nothing more is
//! asked of it.

use std::time::Duration;

use performer::FieldEdit;
use performer::model::{ClaimedItem, JobKey, LimitsEdit, Status, TransactionResult};
use performer::orchestrator::{ClaimRequest, ClaimedItems, CommitType, Result};
use tokio::task::JoinHandle;

use super::look;
use crate::{Fixture, QUEUE, application, named, ok, retrying, take};

pub(crate) async fn a_claim_that_waits_gets_what_a_commit_leaves_for_it(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    if !waits(&f, job).await {
        return;
    }
    let waiting = claim(&f, long(job));
    let added = f.add_named("a").await;
    let first = item_of(waiting).await;
    assert_eq!((first.item.id, first.item.status, first.claim.job()), (added.id, Status::InProgress, job));
    // A retry copy.
    let waiting = claim(&f, long(job));
    f.report(first.claim, application("the site was down")).await.unwrap();
    let copy = item_of(waiting).await;
    assert_eq!((copy.item.ancestor_id, copy.item.retry_number), (Some(added.id), 1));
    // An item that is given back.
    let waiting = claim(&f, long(job));
    f.report(copy.claim, TransactionResult::GivenBack).await.unwrap();
    let again = item_of(waiting).await;
    assert_eq!(again.item.id, copy.item.id);
    // One that is postponed, when its DeferDate has come.
    let waiting = claim(&f, long(job).look_every(Duration::from_millis(1)));
    let postponed = TransactionResult::Postponed { defer_date: f.after(60), due_date: None };
    f.report(again.claim, postponed).await.unwrap();
    assert_eq!(f.item(again.item.id).await.status, Status::New, "not before");
    f.advance(60);
    assert_eq!(item_of(waiting).await.item.id, again.item.id);
    f.check_statistics().await;
}

pub(crate) async fn claims_that_wait_share_what_is_added_and_are_given_up(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let (job, other) = (f.job().await, f.job().await);
    if !waits(&f, job).await {
        return;
    }
    let mut waiting: Vec<_> = (0..3).map(|_| claim(&f, long(job))).collect();
    let items = vec![named("a"), named("b")];
    let added = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(added.added, 2);
    let mut claimed = Vec::new();
    while claimed.len() < 2 {
        tokio::task::yield_now().await;
        for done in waiting.extract_if(.., |claim| claim.is_finished()).collect::<Vec<_>>() {
            claimed.push(item_of(done).await.item.reference.unwrap_or_default());
        }
    }
    claimed.sort();
    assert_eq!(claimed, ["a", "b"]);
    let last = waiting.pop().unwrap();
    while !last.is_finished() {
        f.orchestrator.give_up_claims(job); // it may not have arrived yet
        tokio::task::yield_now().await;
    }
    let nothing = last.await.unwrap().unwrap();
    assert!(nothing.items.is_empty() && nothing.waited);
    f.add_named("c").await;
    assert_eq!(f.take(other).await.item.reference.as_deref(), Some("c"), "nobody waits");
}

pub(crate) async fn claims_that_wait_keep_limits_and_pauses(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    if !waits(&f, job).await {
        return;
    }
    let edit = async |edit| drop(f.orchestrator.edit_queue_limits(QUEUE, edit).await.unwrap());
    edit(LimitsEdit::default().paused(true)).await;
    let waiting = claim(&f, long(job));
    let first = f.add_named("a").await;
    assert_eq!(f.item(first.id).await.status, Status::New, "the queue is paused");
    edit(LimitsEdit::default().paused(false).max_in_progress(FieldEdit::to(Some(1)))).await;
    let first = item_of(waiting).await;
    let waiting = claim(&f, long(job));
    let second = f.add_named("b").await;
    assert_eq!(f.item(second.id).await.status, Status::New, "the limit is reached");
    f.report(first.claim, ok()).await.unwrap();
    assert_eq!(item_of(waiting).await.item.id, second.id);
    f.check_statistics().await;
}

pub(crate) async fn a_claim_that_waits_for_a_job_that_has_ended_gets_nothing(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let (job, other) = (f.job().await, f.job().await);
    if !waits(&f, job).await {
        return;
    }
    let waiting = claim(&f, long(job));
    f.orchestrator.end_job(job, performer::JobEnd::new(performer::JobState::Stopped)).await.unwrap();
    let added = f.add_named("a").await;
    assert!(waiting.await.unwrap().unwrap_err().is_claim_lost());
    assert_eq!(f.item(added.id).await.status, Status::New);
    assert_eq!(f.take(other).await.item.id, added.id);
}

pub(crate) async fn a_claim_that_is_dropped_while_it_waits_keeps_nothing(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let (job, other) = (f.job().await, f.job().await);
    if !waits(&f, job).await {
        return;
    }
    for n in 0..20 {
        let waiting = claim(&f, long(job));
        if n % 2 == 0 {
            tokio::task::yield_now().await; // it has been sent
        }
        let added = f.add_named(&n.to_string()).await;
        waiting.abort();
        if let Ok(Ok(claimed)) = waiting.await {
            assert_eq!(claimed.items[0].item.id, added.id); // it was answered before
            f.report(claimed.items[0].claim, ok()).await.unwrap();
            continue;
        }
        // It may have been given the item, which is given back.
        let taken = loop {
            if let Some(taken) = f.try_take(other).await {
                break taken;
            }
        };
        assert_eq!(taken.item.id, added.id);
        f.report(taken.claim, ok()).await.unwrap();
    }
    f.check_statistics().await;
}

/// A claim that waits and looks for nothing by itself.
fn long(job: JobKey) -> ClaimRequest {
    let long = Duration::from_secs(3_600);
    take(job, 1).wait(long).look_every(long)
}

/// Whether claims of the back end wait.
async fn waits(f: &Fixture, job: JobKey) -> bool {
    let nothing = look(f, take(job, 1).wait(Duration::from_millis(1))).await;
    assert!(nothing.items.is_empty());
    nothing.waited
}

fn claim(f: &Fixture, request: ClaimRequest) -> JoinHandle<Result<ClaimedItems>> {
    let orchestrator = f.orchestrator.clone();
    tokio::spawn(async move { orchestrator.report_and_claim(Vec::new(), Some(request)).await.claimed })
}

async fn item_of(claim: JoinHandle<Result<ClaimedItems>>) -> ClaimedItem {
    let mut claimed = claim.await.unwrap().unwrap();
    assert!(claimed.waited);
    claimed.items.pop().expect("an item")
}
