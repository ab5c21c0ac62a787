//! The database stops under the load of several processes, and restarts, or its standby takes over.
//!
//! No process is killed, and none is without the database for as long as its lease: so no item may be abandoned, lost,
//! processed twice or left behind, whatever was in progress.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use performer::model::Outcome;
use performer::orchestrator::Result;
use performer::{Administration, CommitType, ErrorKind, NewQueueDefinition, NewQueueItem, Performer};

use super::victim::{self, QUEUE, Work, runtime};
use super::world::{Process, World};
use performer_proofs::cluster::Cluster;
use performer_proofs::observers::checker::check;
use performer_proofs::observers::ledger::{self, CallOutcome, Record};

/// The default number of stops of the database.
fn stops() -> usize {
    std::env::var("PERFORMER_STOPS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// How many of the database's own processes are killed.
const CRASHES: usize = 5;

const FAILOVERS: usize = 3;
const PROCESSES: usize = 3;

/// How soon each process records results again after the database is back.
const RESUMED_WITHIN: Duration = Duration::from_secs(5);

/// Longer than any outage here.
const LEASE: Duration = Duration::from_secs(60);

/// The program: adds and performs until a file tells it to stop; then it drains the queue.
pub async fn withstand(work: &Work, store: &Arc<dyn Administration>, ledger: &Path) {
    let enough = ledger.with_file_name("enough");
    let ahead = if work.process.ends_with(['0', '2', '4']) { 16 } else { 0 };
    let performer = work.performer(4, ahead);
    let stop = performer.stop_handle();
    let adding = async {
        for number in 0.. {
            if enough.exists() {
                break;
            }
            add(work, &**store, number).await;
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        stop.stop();
    };
    let ((), ()) = tokio::join!(adding, perform(performer, store));
    while !is_empty(&**store).await {
        perform_what_waits(work.performer(4, ahead), store).await;
    }
}

/// One call and its outcome: an add with unknown outcome is not repeated, because that might add the item twice.
async fn add(work: &Work, store: &dyn Administration, number: usize) {
    let what = ["ok", "application once", "progress", "postpone once", "sleep", "business"][number % 6];
    let reference = format!("{}-{number}", work.process);
    let (references, added): (Vec<String>, Result<()>) = if number % 5 == 4 {
        let references: Vec<String> = (0..3).map(|which| format!("{reference}-{which}")).collect();
        references.iter().for_each(|reference| work.asks(reference));
        let items: Vec<NewQueueItem> =
            references.iter().map(|reference| victim::item(reference, what, 2)).collect();
        let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await;
        (references, added.map(drop))
    } else {
        work.asks(&reference);
        let added = store.add_queue_item(QUEUE, victim::item(&reference, what, 2)).await;
        (vec![reference], added.map(drop))
    };
    let told = match added {
        Ok(()) => CallOutcome::Yes,
        Err(error) if error.kind() == ErrorKind::Unknown => CallOutcome::Unknown,
        Err(error) if error.is_temporary() => CallOutcome::No,
        Err(error) => panic!("{error:?}"),
    };
    for reference in references {
        work.ledger.write(Record::Added { reference, told });
    }
}

async fn perform(performer: Performer, store: &Arc<dyn Administration>) {
    // It started while the database was up. Only its final report can be lost.
    let ended = performer.run(store.clone()).await;
    assert!(ended.as_ref().is_ok_and(|summary| summary.fault.is_none()), "{ended:?}");
}

async fn perform_what_waits(performer: Performer, store: &Arc<dyn Administration>) {
    let ended = performer.run_until_empty(store.clone()).await;
    assert!(ended.is_ok(), "{ended:?}");
}

async fn is_empty(store: &dyn Administration) -> bool {
    let left = store.queue_statistics(QUEUE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    left.new == 0 && left.in_progress == 0
}

/// Stops the server immediately under load, and restarts it; and kills server processes, after which the server
/// recovers by itself.
pub fn immediate_stops() {
    let cluster = Cluster::start(0, &[]);
    let mut random = fastrand::Rng::with_seed(1);
    let mut load = Load::start(&cluster);
    for stop in 1..=stops() {
        load.run_for(Duration::from_millis(random.u64(50..500)));
        cluster.stop_at_once();
        // One outage long enough for all retry delays to be at their maximum.
        let away = if stop == 10 { 7_000 } else { random.u64(0..400) };
        std::thread::sleep(Duration::from_millis(away));
        cluster.run_primary();
        load.resumes();
    }
    for _ in 0..CRASHES {
        load.run_for(Duration::from_millis(random.u64(50..500)));
        cluster.kill_a_process();
        load.resumes();
    }
    load.ends(&format!("{} immediate stops, {CRASHES} crashes", stops()));
}

/// The server stops for good, and its standby takes over; then that one's standby.
pub fn failovers() {
    let mut cluster = Cluster::start(FAILOVERS, &[]);
    let mut random = fastrand::Rng::with_seed(1);
    let mut load = Load::start(&cluster);
    for _ in 0..FAILOVERS {
        cluster.add_standby();
        load.run_for(Duration::from_millis(random.u64(200..1_000)));
        cluster.fail_over();
        load.resumes();
    }
    load.ends(&format!("{FAILOVERS} failovers"));
}

/// Processes that add and perform.
struct Load {
    world: World,
    processes: Vec<Process>,
    slowest: Duration,
}

impl Load {
    fn start(cluster: &Cluster) -> Self {
        let mut world = World::on(&format!("{}?batch=1", cluster.url()), LEASE);
        let runtime = runtime();
        let store = world.connect(&runtime);
        let queue = NewQueueDefinition::new(QUEUE).policy(victim::policy());
        runtime.block_on(store.create_queue(queue)).unwrap();
        let processes = (0..PROCESSES).map(|_| world.spawn("withstand", 0, None)).collect();
        let mut load = Self { world, processes, slowest: Duration::ZERO };
        load.resumes();
        load.slowest = Duration::ZERO;
        load
    }

    fn run_for(&mut self, time: Duration) {
        std::thread::sleep(time);
        self.nobody_ended();
    }

    fn nobody_ended(&mut self) {
        for process in &mut self.processes {
            assert!(!process.has_ended(), "{} ended: {}", process.name, process.stderr_text());
        }
    }

    /// Waits until each process has recorded a new result.
    fn resumes(&mut self) {
        let began = Instant::now();
        let before = self.recorded();
        loop {
            let recorded = self.recorded();
            if recorded.iter().zip(&before).all(|(now, before)| now > before) {
                break;
            }
            self.nobody_ended();
            let waited = began.elapsed();
            assert!(waited < 4 * RESUMED_WITHIN, "no results for {waited:?}: {before:?}, now {recorded:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.slowest = self.slowest.max(began.elapsed());
    }

    /// How many results of each process were acknowledged.
    fn recorded(&self) -> Vec<usize> {
        let records = ledger::read_so_far(&self.world.path().join("ledger"));
        let of = |name: &str| {
            let by = |record: &&Record| matches!(record, Record::Reported { process, .. } if process == name);
            records.iter().filter(by).count()
        };
        self.processes.iter().map(|process| of(&process.name)).collect()
    }

    fn ends(self, what: &str) {
        let Self { mut world, processes, slowest } = self;
        std::fs::write(world.path().join("enough"), "").unwrap();
        for process in processes {
            let name = process.name.clone();
            let status = world.wait_for_end(process);
            assert!(status.success(), "{name}: {status}");
        }
        let evidence = world.evidence(Vec::new());
        assert_eq!(check(&evidence), Vec::<String>::new());
        let abandoned = evidence.store.items.iter().filter(|item| item.outcome == Some(Outcome::Abandoned));
        assert_eq!(abandoned.count(), 0, "nobody was away for as long as its lease");
        assert!(slowest <= RESUMED_WITHIN, "it took {slowest:?} until everybody worked again");
        let of = |told| {
            let so = |record: &&Record| matches!(record, Record::Added { told: it, .. } if *it == told);
            evidence.records.iter().filter(so).count()
        };
        let items = evidence.store.items.len();
        println!(
            "{what} over {items} items, 0 lost, 0 doubled, 0 abandoned; {} adds refused; at work again after at most {slowest:.1?}",
            of(CallOutcome::No)
        );
    }
}
