//! One world: processes that start and crash on one store, a program that adds items, and an administrator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use performer::jiff::Timestamp;
use performer::model::{Clock, SteadyTime};
use performer::orchestrator::store::Store;
use performer::{
    Administration, BusinessException, ErrorKind, Exception, ItemFilter, ItemVersion, NewQueueDefinition,
    NewQueueItem, Orchestrator, Page, Performer, PerformerEvent, Priority, QueuePolicy, ReviewStatus, Status,
    Transaction, TransactionItem,
};
use tokio::time::Instant;

use super::fault_injection::{FaultInjector, SharedFaults, StoreBug};
use performer_proofs::observers::checker::{Evidence, StoreState, check};
use performer_proofs::observers::follow_ups;
use performer_proofs::observers::ledger::{CallOutcome, Ledger, Memory, Record, RunEnd};
use performer_proofs::observers::recorder::Recorder;
use performer_proofs::tables::damage_of_file;

pub const QUEUE: &str = "World";
/// The queue of the follow-ups: each transaction gives one. Nobody processes them.
const NEXT: &str = "Next";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Sqlite,
}

/// The result of a world.
pub struct Outcome {
    pub violations: Vec<String>,
    /// Everything that happened, in order.
    pub trace: Vec<String>,
    pub count: Count,
}

/// How much happened.
#[derive(Clone, Debug, Default)]
pub struct Count {
    pub items: u64,
    pub runs: u64,
    pub crashes: u64,
    pub freezes: u64,
    pub jumps: u64,
    pub lost_answers: u64,
    pub claims_lost: u64,
    pub seconds: u64,
}

impl Count {
    pub fn add(&mut self, other: &Self) {
        self.items += other.items;
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.freezes += other.freezes;
        self.jumps += other.jumps;
        self.lost_answers += other.lost_answers;
        self.claims_lost += other.claims_lost;
        self.seconds += other.seconds;
    }
}

/// A clock in virtual time that is set now and then; its time is steadied as the machine's is.
#[derive(Debug)]
struct SimulatedClock {
    began: Instant,
    state: Mutex<ClockReading>,
}

#[derive(Debug)]
struct ClockReading {
    ahead_by: i64,
    time: SteadyTime,
}

fn start() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().unwrap()
}

impl SimulatedClock {
    fn new(began: Instant) -> Arc<Self> {
        let time = SteadyTime::new(start(), Duration::ZERO);
        Arc::new(Self { began, state: Mutex::new(ClockReading { ahead_by: 0, time }) })
    }

    /// Sets the time of day.
    fn jump(&self, seconds: i64) {
        self.state.lock().unwrap().ahead_by += seconds;
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let mut state = self.state.lock().unwrap();
        let elapsed = self.began.elapsed();
        let micros = i64::try_from(elapsed.as_micros()).unwrap();
        let read = start().as_microsecond() + micros + state.ahead_by * 1_000_000;
        let told = state.time.tell(Timestamp::from_microsecond(read).unwrap(), elapsed);
        Timestamp::from_microsecond(told.as_microsecond()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// What a seed determines for a whole world.
#[derive(Clone, Debug)]
struct Plan {
    processes: usize,
    robots: u32,
    ahead: usize,
    lease: Duration,
    items: usize,
    slowest: u64,
    policy: QueuePolicy,
    duration: Duration,
    /// In how many of a hundred runs a process crashes, or is suspended.
    crashes: u32,
    freezes: u32,
    jumps: bool,
    side_by_side: usize,
}

struct World {
    plan: Plan,
    kind: Kind,
    wrong: Option<StoreBug>,
    faults: Arc<Mutex<SharedFaults>>,
    ledger: Ledger,
    clock: Arc<SimulatedClock>,
    shared: Option<Arc<Store>>,
    folder: Option<tempfile::TempDir>,
    opened: AtomicU64,
    seed: u64,
    count: Mutex<Count>,
}

/// A handler: works for a while, and fails now and then.
struct Work {
    world: Arc<World>,
    process: Arc<str>,
}

struct Run<'a> {
    work: &'a Work,
    run: u64,
    end: RunEnd,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let record = Record::Ended { process: self.work.process.to_string(), run: self.run, end: self.end };
        self.work.world.ledger.write(record);
    }
}

#[async_trait]
impl Transaction for Work {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: serde_json::Value, item: &TransactionItem) -> Result<(), Exception> {
        let run = {
            let mut count = self.world.count.lock().unwrap();
            count.runs += 1;
            count.runs
        };
        self.world.ledger.started(&self.process, run, item.queue_item());
        let follow_up =
            NewQueueItem::new(serde_json::json!({})).reference(item.reference().unwrap_or_default());
        item.also_add(NEXT, follow_up);
        let mut run = Run { work: self, run, end: RunEnd::Interrupted };
        let (milliseconds, dice) = {
            let mut faults = self.world.faults.lock().unwrap();
            (faults.random.u64(0..=self.world.plan.slowest), faults.random.u32(0..100))
        };
        if dice % 7 == 0 {
            item.progress("begun");
        }
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        match dice {
            0..15 => {
                run.end = RunEnd::ApplicationException;
                Err(std::io::Error::other("the world is wrong"))?;
            }
            15..22 => {
                run.end = RunEnd::BusinessException;
                return Err(BusinessException::new("the data is wrong").into());
            }
            22..28 => {
                run.end = RunEnd::Postponed;
                return Err(Exception::postpone_for(Duration::from_millis(500 + 10 * milliseconds)));
            }
            _ => {}
        }
        run.end = RunEnd::Successful;
        Ok(())
    }
}

impl World {
    fn random<T>(&self, pick: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        pick(&mut self.faults.lock().unwrap().random)
    }

    /// The store, as one process opens it: a file is opened again, with the process's own clock.
    fn open(&self) -> (Arc<dyn Administration>, Arc<SimulatedClock>) {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        match (&self.shared, &self.folder) {
            (Some(memory), _) => (memory.clone(), self.clock.clone()),
            (None, Some(folder)) => {
                let clock = SimulatedClock::new(self.clock.began);
                let store = open_file(folder, clock.clone(), self.seed ^ (number << 32));
                (store, clock)
            }
            (None, None) => unreachable!("a world has a store"),
        }
    }

    /// A process's connection to the store.
    fn faulty_store(&self, store: Arc<dyn Administration>, clock: Arc<SimulatedClock>) -> Arc<FaultInjector> {
        let inner = Arc::new(Recorder { store, ledger: self.ledger.clone(), clock });
        Arc::new(FaultInjector {
            inner,
            faults: self.faults.clone(),
            frozen_until: Mutex::new(Instant::now()),
            wrong: self.wrong,
            handed_out: Mutex::default(),
            side_by_side: self.plan.side_by_side,
        })
    }

    fn performer(self: &Arc<Self>, process: &Arc<str>, seed: u64) -> Performer {
        let (world, name) = (self.clone(), process.clone());
        let (told, teller) = (self.clone(), process.clone());
        Performer::new(QUEUE, move || Work { world: world.clone(), process: name.clone() })
            .single_threaded()
            .handle_signals(false)
            .seed(seed)
            .robots(self.plan.robots)
            .claim_ahead(self.plan.ahead)
            .lease(self.plan.lease)
            .grace_period(Duration::from_secs(2))
            .on_event(move |event| {
                if let PerformerEvent::TransactionEnded { item, outcome, .. } = event {
                    told.ledger.reported(&teller, *item, *outcome);
                    told.count.lock().unwrap().claims_lost +=
                        u64::from(*outcome == performer::TransactionOutcome::ClaimLost);
                }
            })
    }
}

/// Opens a file, called directly.
fn open_file(folder: &tempfile::TempDir, clock: Arc<SimulatedClock>, seed: u64) -> Arc<dyn Administration> {
    Arc::new(Store::simulated_sqlite(&folder.path().join("queue.db"), clock, seed).unwrap())
}

/// A slot of a machine in which one process runs after the other, until the world ends.
async fn place(world: Arc<World>, number: usize, over: Instant) {
    for life in 0.. {
        if Instant::now() >= over {
            return;
        }
        let process: Arc<str> = format!("p{number}-{life}").into();
        world.ledger.write(Record::Born { process: process.to_string() });
        let (crashes, freezes) = (world.plan.crashes, world.plan.freezes);
        let (lives, ends, freezes_after, seed) = world.random(|random| {
            let lives = Duration::from_millis(random.u64(50..20_000));
            let freezes_after =
                (random.u32(0..100) < freezes).then(|| Duration::from_millis(random.u64(10..5_000)));
            (lives, random.u32(0..100) >= crashes, freezes_after, random.u64(..))
        });
        let (store, clock) = world.open();
        let faulty_store = world.faulty_store(store, clock.clone());
        let performer = world.performer(&process, seed);
        let stop = performer.stop_handle();
        let running = performer.run(faulty_store.clone());
        let fate = async {
            let dies = Instant::now() + lives;
            if let Some(after) = freezes_after {
                tokio::time::sleep(after.min(lives)).await;
                let how_long = world.plan.lease.mul_f64(world.random(|random| random.f64() * 3.0));
                *faulty_store.frozen_until.lock().unwrap() = Instant::now() + how_long;
                world.count.lock().unwrap().freezes += 1;
            }
            if world.plan.jumps && world.random(|random| random.u8(0..4)) == 0 {
                clock.jump(world.random(|random| random.i64(-300..300)));
                world.count.lock().unwrap().jumps += 1;
            }
            tokio::time::sleep_until(dies.min(over)).await;
            if ends {
                stop.stop();
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            ended = running => drop(ended), // Stopped; or Faulted, as when its last report could not be made
            () = fate => world.count.lock().unwrap().crashes += 1,
        }
        world.ledger.write(Record::Died { process: process.to_string() });
        let pause = world.random(|random| Duration::from_millis(random.u64(0..3_000)));
        tokio::time::sleep(pause).await;
    }
}

async fn add_items(world: Arc<World>) {
    let (store, clock) = world.open();
    let faulty_store = world.faulty_store(store, clock.clone());
    for number in 0..world.plan.items {
        let reference = format!("r{number}");
        let pause = world.random(|random| Duration::from_millis(random.u64(0..1_500)));
        tokio::time::sleep(pause).await;
        let now = clock.now();
        let item = world.random(|random| {
            let mut item = NewQueueItem::new(serde_json::json!({ "number": number })).reference(&reference);
            item = item.priority([Priority::Low, Priority::Normal, Priority::High][random.usize(0..3)]);
            if random.u8(0..4) == 0 {
                item = item.due_date(now + Duration::from_secs(random.u64(1..100)));
            }
            if random.u8(0..4) == 0 {
                item = item.defer_date(now + Duration::from_millis(random.u64(1..10_000)));
            }
            item
        });
        let told = match faulty_store.add_queue_item(QUEUE, item).await {
            Ok(_) => CallOutcome::Yes,
            Err(error) if error.kind() == ErrorKind::Unknown => CallOutcome::Unknown,
            Err(_) => CallOutcome::No,
        };
        world.ledger.write(Record::Added { reference, told });
    }
}

/// Retries failed items by hand, once.
async fn administrate(world: Arc<World>, over: Instant) {
    let (store, _) = world.open();
    while Instant::now() < over {
        tokio::time::sleep(Duration::from_secs(7)).await;
        let filter = ItemFilter::default()
            .queue(QUEUE)
            .status([Status::Failed, Status::Abandoned])
            .review_status([ReviewStatus::None]);
        let found = store.list_queue_items(filter, Page::default()).await.unwrap().items;
        let once = found.iter().filter(|item| item.manual_retry_number == 0);
        let versions = once.map(|item| ItemVersion { id: item.id, row_version: item.row_version }).collect();
        let refused = store.set_review_status(ReviewStatus::Retried, versions).await.unwrap();
        assert!(refused.0.is_empty(), "nobody comes between a look and a call in place");
    }
}

fn plan(random: &mut fastrand::Rng) -> Plan {
    Plan {
        processes: random.usize(1..=3),
        robots: random.u32(1..=4),
        ahead: if random.bool() { random.usize(1..=8) } else { 0 },
        lease: Duration::from_secs(random.u64(1..=8)),
        items: random.usize(5..=40),
        slowest: [5, 300, 4_000][random.usize(0..3)],
        policy: QueuePolicy::default()
            .max_number_of_retries(random.u32(0..=3))
            .retry_abandoned_items(random.bool()),
        duration: Duration::from_secs(random.u64(20..=60)),
        crashes: [0, 50, 90][random.usize(0..3)],
        freezes: [0, 30, 70][random.usize(0..3)],
        jumps: random.bool(),
        side_by_side: random.usize(1..=3),
    }
}

/// Runs a world.
pub fn run(seed: u64, kind: Kind, wrong: Option<StoreBug>) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(happen(seed, kind, wrong))
}

async fn happen(seed: u64, kind: Kind, wrong: Option<StoreBug>) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = plan(&mut random);
    let faults = Arc::new(Mutex::new(SharedFaults {
        failures: [0, 20, 100][random.usize(0..3)],
        lost: [0, 20, 100][random.usize(0..3)],
        longest_delay: Duration::from_millis([1, 40, 400][random.usize(0..3)]),
        random,
        calm: false,
        lost_answers: 0,
    }));
    let (ledger, memory) = Ledger::memory();
    let clock = SimulatedClock::new(Instant::now());
    let world = Arc::new(World {
        shared: (kind == Kind::Memory).then(|| Arc::new(Store::simulated_memory(clock.clone(), seed))),
        folder: (kind == Kind::Sqlite).then(quick_folder),
        plan,
        kind,
        wrong,
        faults,
        ledger,
        clock,
        opened: AtomicU64::new(0),
        seed,
        count: Mutex::default(),
    });
    let (store, _) = world.open();
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(world.plan.policy.clone())).await.unwrap();
    for queue in ["Elsewhere", NEXT] {
        store.create_queue(NewQueueDefinition::new(queue)).await.unwrap();
    }

    let over = Instant::now() + world.plan.duration;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..world.plan.processes {
        tasks.spawn(place(world.clone(), number, over));
    }
    tasks.spawn(add_items(world.clone()));
    tasks.spawn(administrate(world.clone(), over));
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    world.faults.lock().unwrap().calm = true;
    let drained = drain(&world).await;
    finish(&world, &memory, &*store, drained).await
}

/// The last process, without faults, until the queue is empty. Lost jobs are found within their lease.
async fn drain(world: &Arc<World>) -> bool {
    let process: Arc<str> = "last".into();
    let (store, clock) = world.open();
    let faulty_store = world.faulty_store(store.clone(), clock);
    for _ in 0..1_000 {
        let performer = world.performer(&process, 1);
        let _ = performer.run_until_empty(faulty_store.clone()).await;
        let left = store.queue_statistics(QUEUE).await.unwrap();
        if left.new == 0 && left.in_progress == 0 {
            return true;
        }
        for _ in 0..4 {
            // A sweeper must run meanwhile, or lost jobs are never found.
            tokio::time::sleep(Duration::from_millis(250)).await;
            faulty_store.sweep().await.unwrap();
        }
    }
    false
}

async fn finish(world: &World, memory: &Memory, store: &dyn Administration, drained: bool) -> Outcome {
    let records = memory.lock().unwrap().clone();
    let story = StoreState::of(store, QUEUE).await;
    let mut trace: Vec<String> = vec![format!("{:?} {:?}", world.kind, world.plan)];
    trace.extend(records.iter().map(ToString::to_string));
    trace.extend(story.items.iter().map(|item| format!("{item:?}")));
    let mut count = world.count.lock().unwrap().clone();
    count.items = story.items.len() as u64;
    count.lost_answers = world.faults.lock().unwrap().lost_answers;
    count.seconds = world.clock.elapsed().as_secs();
    let noise = if drained { Vec::new() } else { vec!["the queue could not be drained".to_owned()] };
    let evidence =
        Evidence { records, store: story, drained: true, manual_retries: 1, recoveries: Vec::new(), noise };
    let mut violations = check(&evidence);
    violations.extend(follow_ups::violations(store, QUEUE, NEXT, |_| 1).await);
    if let Some(folder) = &world.folder {
        violations.extend(damage_of_file(&folder.path().join("queue.db")));
    }
    Outcome { violations, trace, count }
}

fn quick_folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
