//! Claim cursors: searches begin where no item waits before, and miss no item, whatever other processes do meanwhile.

use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::{Clock as _, LimitsEdit, selection::SelectionKey};
use performer::{ItemEdit, Priority, QueueItem};
use tokio_postgres::{Client, NoTls};

use super::*;

/// Two stores on one database: each sees the other's changes only there.
struct TwoStores {
    schema: Schema,
    claims: Store,
    others: Store,
    job: JobKey,
    clock: Arc<ManualClock>,
}

impl TwoStores {
    /// Many items have been claimed already, so that searches begin far from the beginning.
    async fn new() -> Self {
        let (schema, clock) = (Schema::new(), clock());
        let open = async || Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
        let (claims, others) = (open().await, open().await);
        claims.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
        let job = claims.start_job(new_job()).await.unwrap();
        let stores = Self { schema, claims, others, job, clock };
        for at in 0..1_000 {
            if at % 100 == 0 {
                stores.add_many(100).await;
            }
            assert_eq!(stores.take(1).await.len(), 1);
        }
        stores
    }

    async fn add_many(&self, count: usize) {
        let items = (0..count).map(|at| named(&format!("early {at}"))).collect();
        let added = self.others.bulk_add_queue_items(QUEUE, performer::CommitType::AllOrNothing, items).await;
        assert!(added.unwrap().failed.is_empty());
    }

    async fn add(&self, item: NewQueueItem) -> QueueItem {
        self.others.add_queue_item(QUEUE, item).await.unwrap()
    }

    async fn take(&self, count: usize) -> Vec<ClaimedItem> {
        let taken = self.claims.report_and_claim(Vec::new(), Some(take(self.job, count))).await;
        taken.claimed.unwrap().items
    }

    /// The references of the next claimed items, in order.
    async fn next(&self, count: usize) -> Vec<String> {
        self.take(count).await.into_iter().map(|claimed| claimed.item.reference.unwrap()).collect()
    }

    /// Adds and claims many items, so that searches begin after everything that was there.
    async fn claim_many(&self) {
        for at in 0..600 {
            self.add(named(&format!("{at}"))).await;
            assert_eq!(self.next(1).await, [format!("{at}")]);
        }
    }

    async fn client(&self) -> Client {
        let (server, _) = self.schema.url.split_once(['?', '&']).unwrap();
        let (client, connection) = tokio_postgres::connect(server, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

#[tokio::test]
async fn an_id_drawn_long_before_its_commit_is_not_skipped() {
    let stores = TwoStores::new().await;
    let mut client = stores.client().await;
    let transaction = client.transaction().await.unwrap();
    stores.others.add_queue_item_in(&transaction, QUEUE, named("drawn first")).await.unwrap();
    // Meanwhile many later items are claimed, and searches begin after them.
    stores.claim_many().await;
    stores.add(named("last")).await;
    transaction.commit().await.unwrap();
    assert_eq!(stores.next(5).await, ["drawn first", "last"]);
}

#[tokio::test]
async fn an_item_given_back_comes_before_newer_ones() {
    let stores = TwoStores::new().await;
    stores.add(named("first")).await;
    let first = stores.take(1).await.pop().unwrap();
    stores.claim_many().await;
    stores.add(named("second")).await;
    assert_eq!(first.item.reference.as_deref(), Some("first"));
    let give_back = Report::new(first.claim, given_back());
    let reported = stores.others.report_and_claim(vec![give_back], None).await;
    assert!(reported.reports[0].is_ok());
    assert_eq!(stores.next(5).await, ["first", "second"]);
}

#[tokio::test]
async fn more_urgent_items_come_first_wherever_searches_begin() {
    let stores = TwoStores::new().await;
    stores.add(named("normal")).await;
    stores.add(named("low").priority(Priority::Low)).await;
    stores.add(named("high").priority(Priority::High)).await;
    stores.add(named("due").due_date(stores.clock.now() + Duration::from_secs(3_600))).await;
    let edited = stores.add(named("edited").priority(Priority::Low)).await;
    assert_eq!(stores.next(1).await, ["due"]);
    let edit = ItemEdit::default().priority(Priority::High);
    stores.others.edit_queue_item(edited.id, edit).await.unwrap();
    assert_eq!(stores.next(9).await, ["high", "edited", "normal", "low"]);
}

#[tokio::test]
async fn a_deferred_item_that_comes_due_keeps_its_place() {
    let stores = TwoStores::new().await;
    stores.add(named("deferred").defer_date(stores.clock.now() + Duration::from_secs(60))).await;
    stores.claim_many().await;
    stores.add(named("new")).await;
    stores.clock.advance(Duration::from_secs(61));
    assert_eq!(stores.next(9).await, ["deferred", "new"]);
}

/// In every state of the cursor's updates.
#[tokio::test]
async fn an_item_that_came_due_before_its_commit_is_not_skipped() {
    let stores = TwoStores::new().await;
    let mut client = stores.client().await;
    for takes in 16..32 {
        let transaction = client.transaction().await.unwrap();
        let late = named("late").defer_date(stores.clock.now() + Duration::from_secs(5));
        stores.others.add_queue_item_in(&transaction, QUEUE, late).await.unwrap();
        stores.clock.advance(Duration::from_secs(10));
        for _ in 0..takes {
            stores.add(named("meanwhile")).await;
            assert_eq!(stores.next(1).await, ["meanwhile"]);
        }
        transaction.commit().await.unwrap();
        stores.add(named("last")).await;
        assert_eq!(stores.next(2).await, ["late", "last"]);
    }
}

impl TwoStores {
    /// Adds many items with DueDates in random order. Returns the DueDates, the earliest first; items are named by
    /// them.
    async fn burst(&self, count: usize) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut dues: Vec<u64> = (0..count).map(|_| random.u64(1_000_000..2_000_000)).collect();
        let due = |seconds: &u64| {
            let at = self.clock.now() + Duration::from_secs(*seconds);
            named(&seconds.to_string()).due_date(at)
        };
        for items in dues.chunks(10_000) {
            let (items, all) = (items.iter().map(due).collect(), performer::CommitType::AllOrNothing);
            let added = self.others.bulk_add_queue_items(QUEUE, all, items).await.unwrap();
            assert!(added.failed.is_empty());
        }
        dues.sort_unstable();
        dues.iter().map(u64::to_string).collect()
    }

    /// As [`burst`], and claims 500 of them, so that the others are in the backlog.
    async fn stores_with_backlog(&self, count: usize) -> Vec<String> {
        let mut expected = self.burst(count).await;
        for _ in 0..10 {
            assert_eq!(self.next(50).await, expected.drain(..50).collect::<Vec<_>>());
        }
        expected
    }
}

#[tokio::test]
async fn of_more_items_than_the_backlog_holds_the_first_come_first() {
    let stores = TwoStores::new().await;
    let mut expected = stores.stores_with_backlog(1_000).await;
    // With those that are in the backlog by now.
    expected.extend(stores.burst(60_000).await);
    expected.sort_unstable();
    for _ in 0..20 {
        assert_eq!(stores.next(50).await, expected.drain(..50).collect::<Vec<_>>());
    }
    stores.add(named("first of all").due_date(stores.clock.now())).await;
    assert_eq!(stores.next(1).await, ["first of all"]);
}

/// Others have claimed some of the backlog items given to a search; another search was given more.
#[tokio::test]
async fn a_search_continues_until_it_has_found_enough_backlog_items() {
    let stores = TwoStores::new().await;
    let other = Store::postgres_with_clock(&stores.schema.url, stores.clock.clone()).await.unwrap();
    let job = other.start_job(new_job()).await.unwrap();
    for others in [17, 60, 120] {
        let mut expected = stores.stores_with_backlog(700).await;
        for count in [80, 1, 40, 1] {
            assert_eq!(
                stores.next(count).await,
                expected.drain(..count.min(expected.len())).collect::<Vec<_>>()
            );
            let taken =
                other.report_and_claim(Vec::new(), Some(take(job, others))).await.claimed.unwrap().items;
            assert_eq!(taken.len(), others.min(expected.len()));
            expected.drain(..taken.len());
        }
        stores.add(named("behind")).await;
        expected.push("behind".to_owned());
        assert_eq!(stores.next(100).await, expected);
    }
}

#[tokio::test]
async fn backlog_items_are_found_after_their_rows_were_moved() {
    let stores = TwoStores::new().await;
    let expected = stores.stores_with_backlog(1_000).await;
    let (_, schema) = stores.schema.url.split_once("schema=").unwrap();
    stores.client().await.batch_execute(&format!("VACUUM FULL {schema}.item_ready")).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 500 {
        let next = stores.next(50).await;
        assert!(!next.is_empty());
        taken.extend(next);
    }
    assert_eq!(taken, expected);
}

/// In a queue with limits more items are searched than may be claimed: the rest comes next, also in the backlog.
#[tokio::test]
async fn items_withheld_by_a_limit_come_next() {
    let stores = TwoStores::new().await;
    let mut expected = stores.stores_with_backlog(1_500).await;
    let mut held: Vec<ClaimedItem> = Vec::new();
    for most in [7, 40, 3, 12].into_iter().cycle() {
        let in_progress = 1_500 + held.len() as u32; // what Fleet took is in progress still
        let limits = LimitsEdit::default().max_in_progress(in_progress + most);
        stores.claims.edit_queue_limits(QUEUE, limits).await.unwrap();
        for wanted in [1, 60, 5, 60] {
            let ended = held.drain(..held.len().div_ceil(2));
            let reports = ended.map(|item| Report::new(item.claim, ok())).collect();
            let room = (in_progress + most) as usize - 1_500 - held.len();
            let answer = stores.claims.report_and_claim(reports, Some(take(stores.job, wanted))).await;
            assert!(answer.reports.iter().all(Result::is_ok));
            let taken = answer.claimed.unwrap().items;
            let references: Vec<_> = taken.iter().map(|item| item.item.reference.clone().unwrap()).collect();
            let allowed = wanted.min(room).min(expected.len());
            assert_eq!(references, expected.drain(..allowed).collect::<Vec<_>>(), "{room} of {wanted}");
            held.extend(taken);
        }
        if expected.is_empty() {
            break;
        }
    }
}

/// Each of four has a backlog of many items, and the others claim most of them.
#[tokio::test]
async fn items_in_several_backlogs_are_claimed_once_and_in_order() {
    const COUNT: usize = 4_000;
    let stores = TwoStores::new().await;
    let expected = stores.burst(COUNT).await;
    let mut claiming = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = Store::postgres_with_clock(&stores.schema.url, stores.clock.clone()).await.unwrap();
        claiming.spawn(async move {
            let job = store.start_job(new_job()).await.unwrap();
            let mut claimed: Vec<String> = Vec::new();
            loop {
                let taken =
                    store.report_and_claim(Vec::new(), Some(take(job, 7))).await.claimed.unwrap().items;
                if taken.is_empty() {
                    return claimed;
                }
                claimed.extend(taken.into_iter().map(|item| item.item.reference.unwrap()));
            }
        });
    }
    let mut claimed = Vec::new();
    for of_one in claiming.join_all().await {
        assert!(of_one.is_sorted());
        claimed.extend(of_one);
    }
    claimed.sort_unstable();
    assert_eq!(claimed, expected);
}

/// The waiting items, as known to an observer that sees everything.
#[derive(Default)]
struct Waiting(Vec<QueueItem>);

impl Waiting {
    /// Removes and returns the first ready items, in their order.
    fn take(&mut self, count: usize, now: Timestamp) -> Vec<performer::ItemId> {
        let key = |item: &QueueItem| SelectionKey::new(item.priority, item.due_date, item.id);
        let is_ready = |item: &QueueItem| item.defer_date.is_none_or(|until| until <= now);
        let mut ready: Vec<_> = self.0.iter().filter(|item| is_ready(item)).map(key).collect();
        ready.sort();
        ready.truncate(count);
        let taken: Vec<_> = ready.iter().map(SelectionKey::id).collect();
        self.0.retain(|item| !taken.contains(&item.id));
        taken
    }
}

/// A random item.
fn any_item(random: &mut fastrand::Rng, now: Timestamp) -> NewQueueItem {
    let priorities = [Priority::High, Priority::Normal, Priority::Low];
    let mut soon = |most: u64| now + Duration::from_secs(random.u64(1..most));
    let (due, deferred) = (soon(10_000), soon(100));
    let mut item = named("any").priority(priorities[random.usize(..3)]);
    if random.u8(..3) == 0 {
        item = item.due_date(due);
    }
    if random.u8(..4) == 0 {
        item = item.defer_date(deferred);
    }
    item
}

/// Some add, others claim, give back, edit and wait; some of the adding transactions are committed long after they
/// began.
async fn random_change(stores: &TwoStores, seed: u64) {
    const STEPS: usize = 250;
    let (mut random, mut waiting, mut held) =
        (fastrand::Rng::with_seed(seed), Waiting::default(), Vec::new());
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(stores.client().await);
    }
    let (mut clients, mut open) = (clients.iter_mut(), Vec::new());
    for step in 0..STEPS {
        let now = stores.clock.now();
        match random.u8(..16) {
            0..5 => waiting.0.push(stores.add(any_item(&mut random, now)).await),
            5 => {
                if let Some(client) = clients.next() {
                    open.push((client.transaction().await.unwrap(), Vec::new()));
                }
            }
            6 if !open.is_empty() => {
                let at = random.usize(..open.len());
                let (transaction, added) = &mut open[at];
                let item = any_item(&mut random, now);
                added.push(stores.others.add_queue_item_in(transaction, QUEUE, item).await.unwrap());
            }
            7 if !open.is_empty() => {
                let (transaction, added) = open.swap_remove(random.usize(..open.len()));
                transaction.commit().await.unwrap();
                waiting.0.extend(added);
            }
            8 if !held.is_empty() => {
                let claimed: ClaimedItem = held.swap_remove(random.usize(..held.len()));
                let report = Report::new(claimed.claim, given_back());
                let reported = stores.others.report_and_claim(vec![report], None).await;
                assert!(reported.reports[0].is_ok());
                waiting.0.push(*claimed.item);
            }
            9 if !waiting.0.is_empty() => {
                let at = random.usize(..waiting.0.len());
                let edit = ItemEdit::default().priority(Priority::High);
                stores.others.edit_queue_item(waiting.0[at].id, edit).await.unwrap();
                waiting.0[at].priority = Priority::High;
            }
            10 => stores.clock.advance(Duration::from_secs(random.u64(1..30))),
            11 if random.u8(..8) == 0 => {
                // More than are searched one by one.
                let mut adding = tokio::task::JoinSet::new();
                for _ in 0..2_500 {
                    let due = now + Duration::from_secs(random.u64(1..10_000));
                    let (others, item) = (stores.others.clone(), named("burst").due_date(due));
                    adding.spawn(async move { others.add_queue_item(QUEUE, item).await.unwrap() });
                }
                waiting.0.extend(adding.join_all().await);
            }
            _ => {
                let count = random.usize(1..6);
                let taken = stores.take(count).await;
                let ids: Vec<_> = taken.iter().map(|claimed| claimed.item.id).collect();
                assert_eq!(ids, waiting.take(count, now), "seed {seed}, step {step}");
                held.extend(taken);
            }
        }
    }
    stores.clock.advance(Duration::from_secs(200));
    loop {
        let expected = waiting.take(100, stores.clock.now());
        let taken: Vec<_> = stores.take(100).await.iter().map(|claimed| claimed.item.id).collect();
        assert_eq!(taken, expected, "seed {seed}, in the end");
        if expected.is_empty() {
            break;
        }
    }
}

#[tokio::test]
async fn after_any_changes_the_first_visible_item_is_claimed_first() {
    let stores = TwoStores::new().await;
    for seed in 0..8 {
        random_change(&stores, seed).await;
    }
}

/// A table that was empty when it was vacuumed counts as empty for a while: claims still use the same index, and do not
/// read all waiting items.
#[tokio::test]
async fn claims_read_little_of_a_table_that_the_planner_takes_for_empty() {
    const WAITING: usize = 4_000;
    let stores = TwoStores::new().await;
    let number =
        |schema: &Schema, sql: &str| -> i64 { schema.run(sql)[0][0].as_ref().unwrap().parse().unwrap() };
    stores.schema.run("VACUUM ANALYZE {schema}.item_ready, {schema}.item_deferred");
    let believed = "SELECT reltuples::bigint FROM pg_class WHERE oid = '{schema}.item_ready'::regclass";
    assert_eq!(number(&stores.schema, believed), 0);
    let mut expected = stores.stores_with_backlog(WAITING).await;
    for _ in 0..100 {
        assert_eq!(stores.next(1).await, [expected.remove(0)]);
    }
    let taken = 1_000 + i64::try_from(WAITING - expected.len()).unwrap();
    let TwoStores { schema, claims, .. } = stores;
    drop(claims); // a connection tells what it has done when it ends, if not before
    let deleted = "SELECT pg_stat_get_tuples_deleted('{schema}.item_ready'::regclass)";
    assert!((0..1_000).any(|_| number(&schema, deleted) == taken), "{} taken", number(&schema, deleted));
    let read = "SELECT pg_stat_get_tuples_returned(it) + pg_stat_get_tuples_fetched(it) \
                FROM (SELECT '{schema}.item_ready'::regclass::oid AS it) AS about";
    assert!(number(&schema, read) < 10 * taken, "{} read, {taken} taken", number(&schema, read));
}
