//! T3 of `docs/reference/lifecycle.md`: items are claimed, in the documented order, by one robot each.

use std::collections::HashSet;
use std::time::Duration;

use performer::model::{JobState, NewQueueItem, Priority, ReferenceFilter, TransactionResult};
use performer::orchestrator::CommitType;
use serde_json::json;

use super::some_job;
use crate::{Fixture, QUEUE, named, retrying, take};

pub(crate) async fn t3_items_are_claimed_in_the_documented_order(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let due = |seconds| f.after(seconds);
    for item in [
        named("low 1").priority(Priority::Low),
        named("normal 1"),
        named("high 1").priority(Priority::High),
        named("due low").priority(Priority::Low).due_date(due(1)),
        named("due late").due_date(due(500)),
        named("due early").due_date(due(100)),
        named("due high").priority(Priority::High).due_date(due(900)),
        named("due early too").due_date(due(100)),
        named("normal 2"),
        named("high 2").priority(Priority::High),
        named("deferred high").priority(Priority::High).defer_date(due(10)),
    ] {
        f.add(item).await;
    }
    let expected = [
        "due high",
        "due early",
        "due early too",
        "due late",
        "due low",
        "high 1",
        "high 2",
        "normal 1",
        "normal 2",
        "low 1",
    ];
    assert_eq!(f.take_all(job).await, expected);
    f.advance(10);
    assert_eq!(f.take_all(job).await, ["deferred high"]);
    f.check_statistics().await;
}

pub(crate) async fn t3_many_items_are_claimed_in_the_same_order_as_one_by_one(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for n in 0..30_u64 {
        let priority = Priority::ALL[(n % 3) as usize];
        let item = named(&format!("{n}")).priority(priority);
        f.add(if n % 4 == 0 { item.due_date(f.after(n * 7 % 11)) } else { item }).await;
    }
    let many = f.take_many(job, 100).await;
    let claims: Vec<_> = many.iter().map(|claimed| claimed.claim).collect();
    let order: Vec<_> = many.iter().map(|claimed| claimed.item.reference.clone().unwrap()).collect();
    assert_eq!(order.len(), 30);
    for claim in claims {
        f.report(claim, TransactionResult::GivenBack).await.unwrap();
    }
    assert_eq!(f.take_all(job).await, order);
}

pub(crate) async fn t3_a_deferred_item_keeps_its_place_in_the_order(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    f.add(named("deferred").defer_date(f.after(5))).await;
    f.add_named("waiting").await;
    f.add(named("past").defer_date(f.now() - Duration::from_secs(5))).await;
    f.advance(4);
    assert_eq!(f.take(job).await.item.reference.as_deref(), Some("waiting"));
    f.advance(1);
    assert_eq!(f.take_all(job).await, ["deferred", "past"], "first in, first out, by the time of the add");
}

pub(crate) async fn t3_a_reference_filter_claims_only_matching_items(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    for reference in ["A-1", "B-1", "a-2", "A-2", "A%", "A_"] {
        f.add_named(reference).await;
    }
    f.add(NewQueueItem::new(json!({}))).await;
    let filtered = async |filter: ReferenceFilter| {
        let ask = take(job, 10).reference(filter);
        let taken = f.orchestrator.report_and_claim(Vec::new(), Some(ask)).await.claimed.unwrap();
        taken.items.iter().map(|claimed| claimed.item.reference.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(filtered(ReferenceFilter::Equals("B-1".to_owned())).await, ["B-1"]);
    assert_eq!(filtered(ReferenceFilter::Equals("B-1".to_owned())).await, [""; 0]);
    assert_eq!(filtered(ReferenceFilter::StartsWith("A%".to_owned())).await, ["A%"]);
    assert_eq!(filtered(ReferenceFilter::StartsWith("A".to_owned())).await, ["A-1", "A-2", "A_"]);
}

pub(crate) async fn t3_two_robots_never_get_the_same_item(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let items = (0..200).map(|n| named(&n.to_string())).collect();
    assert_eq!(
        f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed,
        []
    );
    let (one, two) = (f.job().await, f.job().await);
    let robots: Vec<_> = (0..8)
        .map(|robot| {
            let orchestrator = f.orchestrator.clone();
            let job = if robot % 2 == 0 { one } else { two };
            tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let answer =
                        orchestrator.report_and_claim(Vec::new(), Some(take(job, 1 + robot % 3))).await;
                    let items = answer.claimed.unwrap().items;
                    if items.is_empty() {
                        return taken;
                    }
                    taken.extend(items.into_iter().map(|claimed| claimed.item.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for robot in robots {
        all.extend(robot.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (200, 200));
    f.check_statistics().await;
}

pub(crate) async fn t3_a_job_that_has_ended_claims_nothing(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.add_named("a").await;
    let job = f.job().await;
    f.orchestrator.end_job(job, JobState::Successful.into()).await.unwrap();
    let answer = f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await;
    assert!(answer.claimed.unwrap_err().is_claim_lost());
    let unknown = f.orchestrator.report_and_claim(Vec::new(), Some(take(some_job(), 1))).await;
    assert!(unknown.claimed.unwrap_err().is_not_found());
    assert_eq!(f.take_all(f.job().await).await, ["a"]);
}
