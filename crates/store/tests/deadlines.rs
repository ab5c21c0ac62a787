//! Items that are ready and have a DueDate are read in the order in which they are handed out.

use std::sync::Arc;
use std::time::Duration;

use performer::jiff::{SignedDuration, Timestamp};
use performer::model::deadlines::DueItems;
use performer::model::{Clock as _, ManualClock};
use performer::orchestrator::store::{QueueSelector, Store};
use performer::orchestrator::{Orchestrator as _, QueueAdministration as _};
use performer::{LimitsEdit, NewQueueDefinition, Priority};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, named, new_job, start_of_time, take};

async fn check(store: &Store, clock: &ManualClock) {
    let at = |minutes: i64| clock.now().checked_add(SignedDuration::from_mins(minutes)).unwrap();
    let due = async |name: &str| {
        let work = store.due_work(QueueSelector::Name(name.to_owned())).await.unwrap();
        (work.items, work.robots)
    };
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    assert_eq!(due(QUEUE).await, (vec![], 0));
    store.add_queue_item(QUEUE, named("without a date")).await.unwrap();
    let (soon, later) = (at(10), at(60));
    for (name, priority, due) in [
        ("a", Priority::Normal, later),
        ("b", Priority::Normal, soon),
        ("c", Priority::Normal, later),
        ("d", Priority::High, later),
    ] {
        store.add_queue_item(QUEUE, named(name).priority(priority).due_date(due)).await.unwrap();
    }
    store.add_queue_item(QUEUE, named("e").due_date(soon).defer_date(at(5))).await.unwrap();
    let group = |due: Timestamp, count: u64| DueItems { due, count };
    assert_eq!(due(QUEUE).await, (vec![group(later, 1), group(soon, 1), group(later, 2)], 0));

    let job = store.start_job(new_job().robots(3)).await.unwrap();
    let claimed = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    assert_eq!(claimed[0].item.reference.as_deref(), Some("d"));
    assert_eq!(
        due(QUEUE).await,
        (vec![group(soon, 1), group(later, 2)], 3),
        "three robots, and one item less"
    );
    clock.advance(Duration::from_secs(6 * 60));
    assert_eq!(due(QUEUE).await.1, 1, "its lease is over; one item is InProgress still");

    // Where groups take turns, the due dates are those of the items all the same.
    store.create_queue(NewQueueDefinition::new("Fair")).await.unwrap();
    store.edit_queue_limits("Fair", LimitsEdit::default().fair(true)).await.unwrap();
    for (name, group, due) in [("a", "one", later), ("b", "one", soon), ("c", "two", later)] {
        store.add_queue_item("Fair", named(name).group(group).due_date(due)).await.unwrap();
    }
    let (fair, _) = due("Fair").await;
    let of =
        |date: Timestamp| fair.iter().filter(|items| items.due == date).map(|items| items.count).sum::<u64>();
    assert_eq!((of(soon), of(later)), (1, 2), "{fair:?}");
    let unknown = store.due_work(QueueSelector::Name("none".to_owned())).await.unwrap_err();
    assert!(unknown.is_not_found());
}

fn new_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_of_time()))
}

#[tokio::test]
async fn in_memory() {
    let clock = new_clock();
    check(&Store::memory_with_clock(clock.clone()), &clock).await;
}

#[tokio::test]
async fn in_a_file() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), new_clock());
    let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap();
    check(&store, &clock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let (schema, clock) = (Schema::new(), new_clock());
    check(&Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap(), &clock).await;
}
