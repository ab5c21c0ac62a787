//! Waiting for items.

use std::time::Duration;

use performer::model::{NewQueueDefinition, TransactionResult};
use performer::orchestrator::ClaimRequest;

use super::look;
use crate::{Fixture, QUEUE, named, retrying, take};

pub(crate) async fn a_wait_ends_when_an_item_is_added_or_given_back(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let seen =
        async || f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    let long = Duration::from_secs(600);

    let empty = seen().await;
    f.add_named("a").await; // before the wait begins: the wait still sees it
    f.orchestrator.wait_for_items(QUEUE, empty.seen, long).await;
    let claim = seen().await.items[0].claim;

    let empty = seen().await;
    let orchestrator = f.orchestrator.clone();
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    f.report(claim, TransactionResult::GivenBack).await.unwrap();
    waiting.await.unwrap();
    assert!(f.try_take(job).await.is_some());

    // Without any change it ends at its time limit.
    let empty = seen().await;
    f.orchestrator.wait_for_items(QUEUE, empty.seen, Duration::from_millis(1)).await;
}

pub(crate) async fn an_add_wakes_only_those_who_wait_for_its_queue(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let job = f.job().await;
    let wait = |queue: &'static str, seen| {
        let orchestrator = f.orchestrator.clone();
        tokio::spawn(async move { orchestrator.wait_for_items(queue, seen, Duration::from_secs(600)).await })
    };
    let here = wait(QUEUE, look(&f, take(job, 1)).await.seen);
    for n in 0..10 {
        let seen = look(&f, ClaimRequest::new("Other", job, 1).robot(1)).await.seen;
        let other = wait("Other", seen);
        f.orchestrator.add_queue_item("Other", named(&n.to_string())).await.unwrap();
        other.await.unwrap();
    }
    assert!(!here.is_finished(), "nothing was added to its queue");
    f.add_named("a").await;
    here.await.unwrap();
    // Changes of the queue end it too: of its name, of its limits, its deletion.
    let seen = look(&f, take(job, 5)).await.seen;
    let waiting = wait(QUEUE, seen);
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    waiting.await.unwrap();
}
