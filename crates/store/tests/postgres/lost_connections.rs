//! Every operation over a connection that is cut: each answer is true, and a change that was not made has left nothing.

use std::sync::Arc;
use std::time::Duration;

use performer::model::{ClaimedItem, LimitsEdit, ManualClock, StopStrategy, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{CommitType, Orchestrator, Report, Result};
use performer::orchestrator::{
    FleetAdministration as _, ItemAdministration as _, QueueAdministration as _, ReviewAdministration as _,
};
use performer::{
    ErrorKind, FailedItems, ItemEdit, ItemId, JobKey, JobState, NewQueueDefinition, NewQueueItem, Person,
    Priority, QueueItem, QueuePolicy, ReviewStatus, Status,
};

use super::{given_back, unique};
use performer_proofs::cutting_proxy::{Direction, Proxy};
use performer_proofs::postgres::Schema;
use performer_proofs::{
    QUEUE, application, business, named, new_job, ok_with, postponed, start_of_time, sweep_for, take,
};

/// After so many cuts a new database is used: all of it is read twice for each cut.
const CUTS_PER_STORE: usize = 200;

/// A second queue, with unique references.
const UNIQUE: &str = "Orders";

fn stride() -> usize {
    super::stride(83)
}

/// A database, opened directly and through a proxy that cuts the connection.
struct TestStores {
    schema: Schema,
    proxy: Proxy,
    clock: Arc<ManualClock>,
    direct: Store,
    cut: Store,
    tables: String,
    cuts: usize,
    yes: usize,
    no: usize,
    settled: usize,
}

impl TestStores {
    async fn new() -> Self {
        let schema = Schema::new();
        let proxy = Proxy::start(&schema.url);
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let open = async |url: &str| Store::postgres_with_clock(url, clock.clone()).await.unwrap();
        let (direct, cut) = (open(&schema.url).await, open(&proxy.url()).await);
        let policy = QueuePolicy::default().max_number_of_retries(1);
        direct.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
        let policy = QueuePolicy::default().enforce_unique_reference(true);
        direct.create_queue(NewQueueDefinition::new(UNIQUE).policy(policy)).await.unwrap();
        // Everything except the counters of connections.
        let names = schema.run(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' \
             AND table_name NOT IN ('connection', 'schema_version') ORDER BY 1",
        );
        let rows: Vec<String> = names
            .into_iter()
            .map(|row| format!("SELECT it::text AS row FROM {{schema}}.{} AS it", row[0].as_ref().unwrap()))
            .collect();
        let tables = format!(
            "SELECT md5(string_agg(row, chr(10) ORDER BY row)) FROM ({}) AS rows",
            rows.join(" UNION ALL ")
        );
        Self { schema, proxy, clock, direct, cut, tables, cuts: 0, yes: 0, no: 0, settled: 0 }
    }

    /// Another case, with a new database after too many cuts.
    async fn next(&mut self) {
        if self.cuts == CUTS_PER_STORE {
            let Self { yes, no, settled, .. } = *self;
            *self = Self { yes, no, settled, ..Self::new().await };
        }
        self.cuts += 1;
    }

    /// All tables, as one text.
    fn contents(&self) -> Option<String> {
        self.schema.run(&self.tables).remove(0).remove(0)
    }

    /// Cuts an operation at each byte. It must change something each time.
    async fn case<T>(
        &mut self,
        name: &str,
        prepare: impl AsyncFn(&Self) -> T,
        act: impl AsyncFn(&Store, &T) -> Result<()>,
    ) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            // At different bytes each time.
            let mut at = name.len() * 11 % stride();
            loop {
                self.next().await;
                // The statements are prepared and the connection is open: only the call itself is cut.
                let warm = prepare(self).await;
                act(&self.cut, &warm).await.unwrap_or_else(|error| panic!("{name}: {error}"));
                let what = prepare(self).await;
                let before = self.contents();
                self.proxy.cut_after(direction, at);
                let answer = act(&self.cut, &what).await;
                let was_cut = self.proxy.restore();
                let done = self.contents() != before;
                match &answer {
                    Ok(()) => {
                        assert!(done, "{name}: answered as done, cut at byte {at} {direction:?}");
                        self.yes += 1;
                        self.settled += usize::from(was_cut);
                    }
                    Err(error) => {
                        assert_eq!(
                            error.kind(),
                            ErrorKind::Unavailable,
                            "{name}: {error:?} at {at} {direction:?}"
                        );
                        assert!(!done, "{name}: {error}, and done, cut at byte {at} {direction:?}");
                        self.no += 1;
                    }
                }
                if !was_cut {
                    break; // longer than the call
                }
                at += stride();
            }
            println!("{name}: cut up to byte {at} {direction:?}");
        }
    }

    fn ends(self, what: &str) {
        let Self { yes, no, settled, .. } = self;
        println!("{what}: {yes} done ({settled} of them settled by asking), {no} not done");
        assert!(no > 20 && settled > 0, "{what}: connections were cut in the middle");
    }

    async fn job(&self) -> JobKey {
        self.direct.start_job(new_job()).await.unwrap()
    }

    async fn add(&self) -> QueueItem {
        self.direct.add_queue_item(QUEUE, named(&unique())).await.unwrap()
    }

    /// A job that holds an item.
    async fn claimed(&self) -> (JobKey, ClaimedItem) {
        let job = self.job().await;
        let claimed = self.direct.add_and_start_transaction(take(job, 1), named(&unique())).await.unwrap();
        (job, claimed)
    }

    /// An item that failed.
    async fn failed(&self) -> QueueItem {
        let (_, claimed) = self.claimed().await;
        report(&self.direct, &claimed, business("the data is wrong")).await.unwrap();
        self.direct.get_queue_item(claimed.item.id).await.unwrap()
    }

    async fn comment(&self) -> i64 {
        let id = self.add().await.id;
        self.direct.add_comment(id, person(), "look".to_owned()).await.unwrap().id
    }
}

async fn report(store: &Store, claimed: &ClaimedItem, result: TransactionResult) -> Result<()> {
    let report = Report::new(claimed.claim, result).progress("almost");
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap().map(drop)
}

fn person() -> Person {
    Person { user_id: None, user_name: Some("Ada".to_owned()) }
}

fn none_failed(FailedItems(failed): FailedItems) {
    assert!(failed.is_empty(), "{failed:?}");
}

fn items(count: usize) -> Vec<NewQueueItem> {
    (0..count).map(|_| named(&unique())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adds_and_claims_over_cut_connections_have_a_known_outcome() {
    let mut stores = TestStores::new().await;
    stores
        .case(
            "add to a queue with unique references",
            async |_| unique(),
            async |store, reference| store.add_queue_item(UNIQUE, named(reference)).await.map(drop),
        )
        .await;
    for commit_type in [CommitType::AllOrNothing, CommitType::ProcessAllIndependently] {
        stores
            .case(
                "bulk add",
                async |_| (),
                async |store, ()| {
                    let added = store.bulk_add_queue_items(QUEUE, commit_type, items(5)).await?;
                    assert_eq!(added.added, 5);
                    Ok(())
                },
            )
            .await;
    }
    stores
        .case(
            "add and start",
            async |stores| stores.job().await,
            async |store, job| {
                store.add_and_start_transaction(take(*job, 1), named(&unique())).await.map(drop)
            },
        )
        .await;
    let take_some = async |store: &Store, job: &JobKey| {
        let taken = store.report_and_claim(Vec::new(), Some(take(*job, 2))).await.claimed?;
        assert_eq!(taken.items.len(), 2);
        Ok(())
    };
    let filled = async |stores: &TestStores| {
        for _ in 0..4 {
            stores.add().await;
        }
        stores.job().await
    };
    stores.case("take", filled, take_some).await;
    let limited = async |stores: &TestStores| {
        let limits = LimitsEdit::default().max_in_progress(1_000_000);
        stores.direct.edit_queue_limits(QUEUE, limits).await.unwrap();
        filled(stores).await
    };
    stores.case("take from a limited queue", limited, take_some).await;
    stores.ends("adds and takes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_over_cut_connections_have_a_known_outcome() {
    let mut stores = TestStores::new().await;
    let later = start_of_time() + Duration::from_secs(3_600);
    let results = [
        ("successful", ok_with(&serde_json::json!({"total": 17}))),
        ("business exception", business("the data is wrong")),
        ("application exception", application("the world is wrong")),
        ("postponed", postponed(later)),
        ("given back", given_back()),
    ];
    for (name, result) in results {
        stores
            .case(
                name,
                async |stores| stores.claimed().await.1,
                async |store, claimed| report(store, claimed, result.clone()).await,
            )
            .await;
    }
    stores
        .case(
            "progress",
            async |stores| stores.claimed().await.1.claim,
            async |store, claim| store.set_transaction_progress(*claim, unique()).await,
        )
        .await;
    stores.ends("reports");
}

/// Each of these begins the next transaction together with its own commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successive_reports_over_cut_connections_have_a_known_outcome() {
    const IN_A_ROW: usize = 6;
    let mut stores = TestStores::new().await;
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut at = 0;
        loop {
            let job = stores.job().await;
            let more = items(IN_A_ROW + 1);
            let added =
                stores.direct.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, more).await.unwrap();
            assert_eq!(added.added, IN_A_ROW as u64 + 1);
            let (mut reports, mut ended) = (Vec::new(), Vec::new());
            stores.proxy.cut_after(direction, at);
            while ended.len() < IN_A_ROW {
                let answer = stores.cut.report_and_claim(reports.clone(), Some(take(job, 1))).await;
                let mut taken = match answer.claimed {
                    Ok(taken) => taken.items,
                    Err(error) => {
                        // Neither outcome is left behind: the same call succeeds then.
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?} at {at} {direction:?}");
                        for report in &reports {
                            let item = stores.direct.get_queue_item(report.claim.item()).await.unwrap();
                            assert_eq!(item.status, Status::InProgress, "cut at byte {at} {direction:?}");
                        }
                        stores.no += 1;
                        continue;
                    }
                };
                for report in answer.reports {
                    assert_eq!(report.unwrap(), Status::Successful);
                }
                ended.extend(reports.drain(..).map(|report: Report| report.claim.item()));
                let claim = taken.pop().expect("more than are taken").claim;
                let result = ok_with(&serde_json::json!({"total": 17}));
                reports.push(Report::new(claim, result));
                stores.yes += 1;
            }
            let was_cut = stores.proxy.restore();
            for id in ended {
                let item = stores.direct.get_queue_item(id).await.unwrap();
                assert_eq!(item.status, Status::Successful, "cut at byte {at} {direction:?}");
            }
            let swept = stores.direct.end_job(job, JobState::Stopped.into()).await.unwrap();
            assert_eq!(swept.abandoned, 1, "what is in hand, cut at byte {at} {direction:?}");
            if !was_cut {
                break;
            }
            at += 2 * stride();
        }
    }
    println!("{} answered, {} not", stores.yes, stores.no);
    assert!(stores.no > 20, "connections were cut in the middle");
}

/// The transaction that was begun for the next report is given up if none comes: it keeps queues unchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_store_blocks_nobody() {
    let stores = TestStores::new().await;
    let job = stores.job().await;
    let mut reports = Vec::new();
    for round in 0..10 {
        assert_eq!(
            stores
                .direct
                .bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items(4))
                .await
                .unwrap()
                .added,
            4
        );
        for _ in 0..4 {
            let taken =
                stores.cut.report_and_claim(std::mem::take(&mut reports), Some(take(job, 1))).await.claimed;
            let claim = taken.unwrap().items.pop().unwrap().claim;
            reports.push(Report::new(claim, business("the data is wrong")));
        }
        let began = tokio::time::Instant::now();
        let limits = LimitsEdit::default().max_in_progress(1_000 + round);
        stores.direct.edit_queue_limits(QUEUE, limits).await.unwrap();
        // The server itself would end it after ten seconds.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_and_retention_operations_over_cut_connections_have_a_known_outcome() {
    let mut stores = TestStores::new().await;
    stores
        .case("start of a job", async |_| (), async |store, ()| store.start_job(new_job()).await.map(drop))
        .await;
    stores
        .case(
            "beat",
            async |stores| {
                let job = stores.job().await;
                stores.clock.advance(Duration::from_secs(1));
                job
            },
            async |store, job| store.beat(*job).await.map(drop),
        )
        .await;
    stores
        .case(
            "end of a job that holds items",
            async |stores| stores.claimed().await.0,
            async |store, job| {
                let swept = store.end_job(*job, JobState::Stopped.into()).await?;
                assert_eq!(swept.abandoned, 1);
                Ok(())
            },
        )
        .await;
    stores
        .case(
            "stop of a job",
            async |stores| stores.job().await,
            async |store, job| store.stop_job(*job, StopStrategy::SoftStop).await,
        )
        .await;
    stores
        .case(
            "sweep",
            async |stores| {
                stores.claimed().await;
                // Before the next second, which would be too late for the job and the observer.
                sweep_for(&stores.cut, &stores.clock, 30).await;
                stores.clock.advance(Duration::from_secs(1));
            },
            async |store, ()| store.sweep().await.map(drop),
        )
        .await;
    stores
        .case(
            "retention",
            async |stores| {
                stores.failed().await;
                // A store that was opened just now has not seen yet that the clock can be believed.
                stores.cut.sweep().await.unwrap();
                stores.clock.advance(Duration::from_secs(60 * 86_400));
            },
            async |store, ()| store.apply_retention(10).await.map(|removed| assert!(removed > 0)),
        )
        .await;
    stores.ends("jobs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_over_cut_connections_has_a_known_outcome() {
    let mut stores = TestStores::new().await;
    let id = async |stores: &TestStores| stores.add().await.id;
    stores
        .case("edit of an item", id, async |store, id: &ItemId| {
            let edit = ItemEdit::default().priority(Priority::High);
            store.edit_queue_item(*id, edit).await.map(drop)
        })
        .await;
    stores
        .case(
            "deletion of items",
            async |stores| [stores.add().await.version(), stores.failed().await.version()],
            async |store, versions| store.delete_queue_items(versions.to_vec()).await.map(none_failed),
        )
        .await;
    for to in [ReviewStatus::Verified, ReviewStatus::Retried] {
        stores
            .case(
                "review",
                async |stores| stores.failed().await.version(),
                async |store, version| store.set_review_status(to, vec![*version]).await.map(none_failed),
            )
            .await;
    }
    stores
        .case(
            "reviewer",
            async |stores| stores.failed().await.version(),
            async |store, version| store.set_reviewer(Some(7), vec![*version]).await.map(none_failed),
        )
        .await;
    stores
        .case("comment", id, async |store, id: &ItemId| {
            store.add_comment(*id, person(), "look".to_owned()).await.map(drop)
        })
        .await;
    for text in [Some("look again".to_owned()), None] {
        stores
            .case(
                "edit of a comment",
                async |stores| stores.comment().await,
                async |store, comment| store.edit_comment(*comment, person(), text.clone()).await,
            )
            .await;
    }
    stores
        .case(
            "purge",
            async |stores| {
                let (_, claimed) = stores.claimed().await;
                report(&stores.direct, &claimed, ok_with(&serde_json::json!({"total": 17}))).await.unwrap();
                claimed.item.id
            },
            async |store, id| store.purge_content(*id).await,
        )
        .await;
    stores.ends("people");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_changes_over_cut_connections_have_a_known_outcome() {
    let mut stores = TestStores::new().await;
    stores
        .case(
            "new queue",
            async |_| unique(),
            async |store, name| store.create_queue(NewQueueDefinition::new(name)).await.map(drop),
        )
        .await;
    let named = async |stores: &TestStores| {
        let name = unique();
        stores.direct.create_queue(NewQueueDefinition::new(&name)).await.unwrap();
        name
    };
    stores
        .case("change of a queue", named, async |store, name| {
            let policy = QueuePolicy::default().max_number_of_retries(7);
            store.update_queue(name, NewQueueDefinition::new(name).policy(policy)).await.map(drop)
        })
        .await;
    stores
        .case("limits", named, async |store, name| {
            let edit = LimitsEdit::default().paused(true);
            store.edit_queue_limits(name, edit).await.map(drop)
        })
        .await;
    stores.case("deletion of a queue", named, async |store, name| store.delete_queue(name).await).await;
    stores.ends("queues");
}
