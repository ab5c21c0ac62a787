//! What the tests of all crates share: back ends with a manual clock, PostgreSQL clusters and proxies that cut their connections,
//! a scripted UiPath Orchestrator, observers of what a store answered, and short functions for frequent calls.
//!
//! Private: tests of this workspace alone use it. The proofs themselves are in `tests/`.

#![expect(
    missing_docs,
    missing_debug_implementations,
    reason = "a private crate of tests: what a name does not say is at its module"
)]

pub mod captured_log;
#[cfg(unix)]
pub mod cluster;
pub mod cutting_proxy;
pub mod observers;
#[cfg(feature = "http")]
pub mod openapi;
#[cfg(unix)]
pub mod pgbouncer;
pub mod postgres;
#[cfg(feature = "http")]
pub mod scripted_orchestrator;
pub mod tables;
#[cfg(feature = "http")]
pub mod test_server;

use std::sync::Arc;
use std::time::Duration;

use performer::model::{Clock as _, JobState, ManualClock};
use performer::orchestrator::store::{EncryptionKeys, RemovedEnded, Store, Token};
#[cfg(feature = "http")]
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{
    FleetAdministration as _, ItemAdministration as _, Orchestrator, QueueAdministration as _, Report,
};
use performer::{NewQueueDefinition, QueuePolicy};
use tempfile::TempDir;

use crate::postgres::Schema;
use crate::tables::{Checked, damage_of_file, damage_of_schema};
pub use performer_conformance::{
    Fixture, QUEUE, application, business, failed, named, new_job, ok, ok_with, postponed, start_of_time,
    sweep_for, take,
};

/// The clock of a new fixture.
fn new_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_of_time()))
}

/// The memory store.
pub async fn memory() -> Fixture {
    let clock = new_clock();
    Fixture::new(Arc::new(Store::memory_with_clock(clock.clone())), clock)
}

/// The SQLite store, over a new file.
pub async fn sqlite() -> Fixture {
    let clock = new_clock();
    let (store, folder) = sqlite_store(clock.clone()).await;
    Fixture::new(Arc::new(store), clock).keeping(folder)
}

async fn sqlite_store(clock: Arc<ManualClock>) -> (Store, Checked<TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock).await.unwrap();
    (store, Checked::new(folder, |folder| damage_of_file(&folder.path().join("queue.db"))))
}

/// The PostgreSQL store, over a new schema.
pub async fn postgres() -> Fixture {
    let clock = new_clock();
    let schema = Schema::new();
    // Calls are written side by side however few there are.
    let url = format!("{}&batch=1", schema.url);
    let store = Store::postgres_with_clock(&url, clock.clone()).await.unwrap();
    until_listening(&schema).await;
    // A database has no file beside it, in which a key could be made.
    let store = store.with_encryption_keys(EncryptionKeys::parse(&"01".repeat(32)).unwrap());
    Fixture::new(Arc::new(store), clock).keeping(Checked::new(schema, damage_of_schema))
}

/// Waits until the store hears of other processes. When it begins to, it wakes every caller that waits for items.
async fn until_listening(schema: &Schema) {
    let listens =
        "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN \"performer_{schema}\"' AND state = 'idle'";
    schema.until_found(listens, 1).await;
}

/// The HTTP client with performer's own server over a SQLite file.
#[cfg(feature = "http")]
pub async fn http() -> Fixture {
    let clock = new_clock();
    let (store, folder) = sqlite_store(clock.clone()).await;
    let served = test_server::TestServer::start(store).await;
    test_server::reviewers(&served, 7).await;
    let client = served.client().connect().await.unwrap();
    let steps = StepsOfOperations::of(served.store.clone());
    Fixture::new(Arc::new(client), clock).keeping(steps).keeping(folder).keeping(served)
}

/// Does the steps of operations until it is dropped: the servers of tests do no maintenance.
#[cfg(feature = "http")]
struct StepsOfOperations(tokio::task::JoinHandle<()>);

#[cfg(feature = "http")]
impl StepsOfOperations {
    fn of(store: Store) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                store.step_due_operations().await.unwrap();
            }
        }))
    }
}

#[cfg(feature = "http")]
impl Drop for StepsOfOperations {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The HTTP client, as a robot, with a server that behaves like a UiPath Orchestrator: in strict mode it does not announce the
/// lease protocol.
#[cfg(feature = "http")]
pub async fn http_without_leases() -> Fixture {
    let clock = new_clock();
    let (store, folder) = sqlite_store(clock.clone()).await;
    // Users are added before the server under test starts, so that it knows them at once.
    let first = test_server::TestServer::start(store.clone()).await;
    test_server::reviewers(&first, 7).await;
    let robot = test_server::robot(&first).await;
    first.stop().await;
    let served = test_server::TestServer::start_as(store, |server| server.strict(true)).await;
    let client = Uipath::builder(&served.url)
        .access_token(robot.token)
        .robot_key(robot.key)
        .folder_path("Shared")
        .connect()
        .await
        .unwrap();
    Fixture::new(Arc::new(client), clock).keeping(folder).keeping(served)
}

/// Checks, for any store, that ended jobs are removed after 30 days unless an item refers to them. Removes all of them.
pub async fn jobs_that_ended_are_removed(store: &Store, clock: &ManualClock) {
    const DAY: u64 = 86_400;
    let days = |days: u64| clock.advance(Duration::from_secs(days * DAY));
    let (removed, limit) = (async |limit| store.remove_ended(limit, async || {}).await.unwrap().jobs, 2);
    let listed = async || {
        let jobs = store.list_jobs(100).await.unwrap();
        jobs.into_iter().map(|job| job.key).collect::<Vec<_>>()
    };
    let policy = QueuePolicy::default().retention_days(100);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
    let item = store.add_queue_item(QUEUE, named("a")).await.unwrap();
    let took = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(took, 1))).await.claimed.unwrap().items;
    let report = Report::new(taken[0].claim, ok());
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    let mut unused = Vec::new();
    for _ in 0..5 {
        unused.push(store.start_job(new_job()).await.unwrap());
    }
    let lives = store.start_job(new_job()).await.unwrap();
    for job in unused.iter().chain([&took]) {
        store.end_job(*job, JobState::Successful.into()).await.unwrap();
    }
    days(29);
    assert_eq!(removed(limit).await, 0, "not before 30 days");
    days(2);
    store.beat(lives).await.unwrap();
    let late = store.start_job(new_job()).await.unwrap();
    store.end_job(late, JobState::Successful.into()).await.unwrap();
    assert_eq!(removed(limit).await, 5);
    let left = listed().await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!([took, lives, late].iter().all(|job| left.contains(job)), "{left:?}");
    let shown = store.get_queue_item(item.id).await.unwrap();
    assert_eq!(shown.executor_job, Some(took), "an item names it");
    days(100);
    assert_eq!(store.apply_retention(10).await.unwrap(), 1);
    assert_eq!(removed(limit).await, 2, "and when the item is gone, the job goes");
    assert_eq!(listed().await, [lives]);
}

/// Checks, for any store, that neither jobs nor tokens that have ended are removed by a clock that is ahead and put right
/// later; and that they are when their time has passed.
pub async fn a_clock_that_is_ahead_removes_no_job_and_no_token(store: &Store, clock: &ManualClock) {
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);
    let removed = async || store.remove_ended(10, async || {}).await.unwrap();
    let nothing = RemovedEnded::default();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    store.end_job(job, JobState::Successful.into()).await.unwrap();
    add_token(store, "login", None, clock.now() + HOUR).await;
    add_token(store, "named", Some("a token"), clock.now() + HOUR).await;
    clock.advance(2 * HOUR);
    assert_eq!(removed().await, nothing, "they ended only now; and this time is believed");
    // The clock is set, and set right again.
    let right = clock.now();
    clock.set(right + 200 * DAY);
    assert_eq!(removed().await, nothing);
    clock.advance(50 * MINUTE);
    assert_eq!(removed().await, nothing, "not within the hour");
    clock.set(right + 50 * MINUTE);
    assert_eq!(removed().await, nothing);
    clock.advance(3 * HOUR);
    assert_eq!(removed().await, nothing, "nor when it is right again");
    assert_eq!(store.list_jobs(10).await.unwrap().into_iter().map(|job| job.key).collect::<Vec<_>>(), [job]);
    for token in ["login", "named"] {
        assert!(store.token(token).await.unwrap().is_some(), "{token}");
    }
    // Their time passes.
    clock.advance(2 * DAY);
    assert_eq!(removed().await, RemovedEnded { jobs: 0, tokens: 2 });
    clock.advance(30 * DAY);
    assert_eq!(removed().await, RemovedEnded { jobs: 1, tokens: 0 });
}

/// Adds a token of user 7.
pub async fn add_token(store: &Store, digest: &str, name: Option<&str>, expires: jiff::Timestamp) {
    let name = name.map(str::to_owned);
    let token = Token { user: 7, client: None, name, scopes: std::collections::BTreeSet::new(), expires };
    store.add_token(digest.to_owned(), token).await.unwrap();
}
