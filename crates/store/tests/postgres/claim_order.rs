//! Order under concurrency (checks K6): eight claimers on one database get what a single robot would have, except for
//! items that are locked at that moment.
//!
//! If an item waited untouched during a whole claim, then that claim must not return anything that comes after the
//! item: nobody can have locked the item.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use performer::model::selection::SelectionKey;
use performer::orchestrator::{ItemAdministration as _, QueueAdministration as _};
use performer::orchestrator::{Orchestrator, Report};
use performer::{ItemId, NewQueueDefinition, Priority, QueueItem, QueuePolicy, Status};

use super::{given_back, open};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, application, named, new_job, ok, start_of_time, take};

const CLAIMERS: usize = 8;
const ITEMS: usize = 600;

/// A moment: earlier ones are smaller.
type Moment = u64;

fn now() -> Moment {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(1, Ordering::SeqCst)
}

/// A call, from its beginning to its answer.
#[derive(Clone, Copy, Debug)]
struct Call {
    began: Moment,
    ended: Moment,
}

/// What a call did to an item.
#[derive(Clone, Debug)]
struct Event {
    call: Call,
    key: SelectionKey,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// It waits since then: it was added, copied or given back.
    Waits,
    Taken,
}

type History = Arc<Mutex<Vec<Event>>>;

fn key(item: &QueueItem) -> SelectionKey {
    SelectionKey::new(item.priority, item.due_date, item.id)
}

/// Claimed items that passed others which waited untouched during the whole claim.
fn overtaken(history: &[Event]) -> Vec<(ItemId, ItemId)> {
    // The times in which each item waited untouched: from the end of the call that put it there to the beginning of the
    // call that claimed it, which is the next one for this item.
    let of = |what| {
        let mut events: Vec<_> = history.iter().filter(|event| event.what == what).collect();
        events.sort_by_key(|event| (event.key.id(), event.call.began));
        events
    };
    let mut taken = of(What::Taken).into_iter().peekable();
    let mut waits: Vec<(SelectionKey, Moment, Option<Moment>)> = Vec::new();
    for event in of(What::Waits) {
        let until = taken.next_if(|taken| taken.key == event.key).map(|taken| taken.call.began);
        waits.push((event.key, event.call.ended, until));
    }
    assert!(taken.next().is_none(), "nothing was taken that did not wait");
    let mut found = Vec::new();
    for taken in history.iter().filter(|event| event.what == What::Taken) {
        let ahead = waits.iter().filter(|(key, since, until)| {
            *key < taken.key
                && *since < taken.call.began
                && until.is_none_or(|until| until > taken.call.ended)
        });
        found.extend(ahead.map(|(key, ..)| (taken.key.id(), key.id())));
    }
    found
}

async fn timed<T>(call: impl Future<Output = T>) -> (Call, T) {
    let began = now();
    let answer = call.await;
    (Call { began, ended: now() }, answer)
}

/// A claimer: claims a few items at a time, and gives some back or fails them.
async fn claim(url: String, seed: u64, history: History) {
    let mut random = fastrand::Rng::with_seed(seed);
    let store = open(&url).await;
    let job = store.start_job(new_job()).await.unwrap();
    let mut empty = 0;
    while empty < 3 {
        let count = random.usize(1..=4);
        let (call, answer) = timed(store.report_and_claim(Vec::new(), Some(take(job, count)))).await;
        let items = answer.claimed.unwrap().items;
        empty = if items.is_empty() { empty + 1 } else { 0 };
        let taken =
            items.iter().map(|claimed| Event { call, key: key(&claimed.item), what: What::Taken }).collect();
        note(&history, taken);
        for claimed in items {
            let result = match random.u8(0..10) {
                0 if claimed.item.row_version < 4 => given_back(),
                1 => application("the world is wrong"),
                _ => ok(),
            };
            let report = Report::new(claimed.claim, result);
            let (call, mut answer) = timed(store.report_and_claim(vec![report], None)).await;
            // The claim that this call left; others may have changed the item since.
            let waits = match answer.reports.pop().unwrap().unwrap() {
                Status::New => vec![*claimed.item],
                Status::Retried => {
                    let mut chain = store.processing_history(claimed.item.id).await.unwrap();
                    chain.retain(|item| item.ancestor_id == Some(claimed.item.id));
                    chain
                }
                _ => Vec::new(),
            };
            note(
                &history,
                waits.iter().map(|item| Event { call, key: key(item), what: What::Waits }).collect(),
            );
        }
    }
}

fn note(history: &History, events: Vec<Event>) {
    history.lock().unwrap().extend(events);
}

/// Adds items of every rank while others claim.
async fn fill(url: String, seed: u64, items: usize, history: History) {
    let mut random = fastrand::Rng::with_seed(seed);
    let store = open(&url).await;
    for number in 0..items {
        let priority = [Priority::Low, Priority::Normal, Priority::High][random.usize(0..3)];
        let mut item = named(&format!("{seed}-{number}")).priority(priority);
        if random.bool() {
            item = item.due_date(start_of_time() + std::time::Duration::from_secs(random.u64(0..5)));
        }
        let (call, item) = timed(store.add_queue_item(QUEUE, item)).await;
        note(&history, vec![Event { call, key: key(&item.unwrap()), what: What::Waits }]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_claimers_keep_the_order_of_one_except_for_locked_items() {
    let (schema, history) = (Schema::new(), History::default());
    let store = open(&schema.url).await;
    let policy = QueuePolicy::default().max_number_of_retries(1);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    fill(schema.url.clone(), 1, ITEMS / 2, history.clone()).await;
    let filling = tokio::spawn(fill(schema.url.clone(), 2, ITEMS / 2, history.clone()));
    let claiming: Vec<_> = (0..CLAIMERS as u64)
        .map(|seed| tokio::spawn(claim(schema.url.clone(), seed, history.clone())))
        .collect();
    filling.await.unwrap();
    for claiming in claiming {
        claiming.await.unwrap();
    }
    claim(schema.url.clone(), 99, history.clone()).await;
    let history = history.lock().unwrap().clone();
    let taken = history.iter().filter(|event| event.what == What::Taken).count();
    assert!(taken > ITEMS, "{taken}: all, and some of them again");
    assert_eq!(store.queue_statistics(QUEUE).await.unwrap().new, 0);
    assert_eq!(overtaken(&history), []);

    // The negative control: exchanges two items that were claimed far apart.
    let mut changed = history.clone();
    let mut by_time: Vec<usize> =
        (0..changed.len()).filter(|at| changed[*at].what == What::Taken && is_first(&changed, *at)).collect();
    by_time.sort_by_key(|at| changed[*at].call.began);
    let (early, late) = (by_time[5], *by_time.iter().rfind(|at| waited_long(&changed, **at)).unwrap());
    let (one, other) = (changed[early].key, changed[late].key);
    (changed[early].key, changed[late].key) = (other, one);
    assert_ne!(overtaken(&changed), [], "{one:?} and {other:?} changed places");
}

/// Whether an item is claimed here for the first and only time.
fn is_first(history: &[Event], at: usize) -> bool {
    let of = |event: &&Event| event.key.id() == history[at].key.id() && event.what == What::Taken;
    history.iter().filter(of).count() == 1
}

/// Whether the item existed before anything was claimed.
fn waited_long(history: &[Event], at: usize) -> bool {
    let first = history.iter().filter(|event| event.what == What::Taken).map(|event| event.call.began).min();
    let added = history.iter().find(|event| event.key == history[at].key && event.what == What::Waits);
    added.is_some_and(|added| Some(added.call.ended) < first)
}
