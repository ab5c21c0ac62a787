//! The figures of performer in memory and on SQLite.

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use performer::model::{LimitsEdit, MaxStarts, NewJob, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Report};
use performer::prelude::*;
use performer::{CommitType, JobKey, PerformerEvent};
use serde::{Deserialize, Serialize};

use super::limits::{self, Raw};
use performer_benches::{Bar, Bench, Unit, median, print_line, rate};

pub const QUEUE: &str = "Bench";
/// The fewest and the most rounds of a figure.
pub const ROUNDS: RangeInclusive<usize> = 5..=60;

/// About 200 bytes of it.
#[derive(Serialize, Deserialize)]
pub struct Content {
    invoice: String,
    customer: u32,
    amount: f64,
    text: String,
}

pub fn content() -> Content {
    Content { invoice: "INV-536365".to_owned(), customer: 17_850, amount: 139.12, text: "x".repeat(130) }
}

pub fn content_text() -> &'static str {
    Box::leak(serde_json::to_string(&content()).expect("content").into_boxed_str())
}

pub struct Nothing;

#[async_trait]
impl Transaction for Nothing {
    type Content = Content;
    type Output = ();

    async fn process(&mut self, content: Content, _: &TransactionItem) -> Result<(), Exception> {
        std::hint::black_box(content);
        Ok(())
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub async fn sqlite(folder: &Path) -> Arc<dyn Administration> {
    let store = Store::sqlite(folder.join("ours.db")).await.expect("a file");
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.expect("a queue");
    Arc::new(store)
}

pub async fn fill(orchestrator: &Arc<dyn Administration>, count: usize) -> Duration {
    fill_with(orchestrator, (0..count).map(|_| NewQueueItem::new(content())).collect()).await
}

pub async fn fill_with(orchestrator: &Arc<dyn Administration>, items: Vec<NewQueueItem>) -> Duration {
    let count = items.len();
    let started = Instant::now();
    let added =
        orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.expect("added");
    assert_eq!(added.added, count as u64);
    started.elapsed()
}

/// 64 robots that do nothing.
pub fn drainer(ahead: usize) -> Performer {
    Performer::new(QUEUE, || Nothing).robots(64).claim_ahead(ahead).handle_signals(false)
}

pub async fn drain(orchestrator: Arc<dyn Administration>, count: usize, ahead: usize) -> Duration {
    let started = Instant::now();
    let summary = drainer(ahead).run_until_empty(orchestrator).await.expect("a summary");
    assert_eq!(summary.successful, count as u64);
    started.elapsed()
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

pub fn drains(bench: &Bench) {
    const COUNT: usize = 20_000;
    let runtime = runtime();
    for (name, bar, batch, ahead) in
        [("sqlite.drain", 0.75, 64, 0), ("sqlite.drain.ahead", 0.65, 1_000, 1_000)]
    {
        let limit = || {
            let folder = folder();
            let mut raw = Raw::new(folder.path());
            raw.add_bulk(content_text(), COUNT);
            rate(COUNT, raw.drain(batch))
        };
        let ours = || {
            runtime.block_on(async {
                let folder = folder();
                let store = sqlite(folder.path()).await;
                fill(&store, COUNT).await;
                rate(COUNT, drain(store, COUNT, ahead).await)
            })
        };
        bench.figure(name, Unit::PerSecond, Bar::AtLeast(bar), ROUNDS, limit, ours);
    }
    bench.figure(
        "memory.drain",
        Unit::PerSecond,
        Bar::AtLeast(0.4),
        ROUNDS,
        || rate(COUNT, runtime.block_on(limits::channel(content_text(), COUNT, 64))),
        || {
            runtime.block_on(async {
                let store: Arc<dyn Administration> = Arc::new(Store::memory());
                store.create_queue(NewQueueDefinition::new(QUEUE)).await.expect("a queue");
                fill(&store, COUNT).await;
                rate(COUNT, drain(store, COUNT, 0).await)
            })
        },
    );
}

/// The cost of limits that are never reached: the same queue, with and without them.
pub fn limited(bench: &Bench) {
    const COUNT: usize = 20_000;
    let runtime = runtime();
    let round = |limited| {
        runtime.block_on(async {
            let folder = folder();
            let store = sqlite(folder.path()).await;
            if limited {
                limit(&*store).await;
            }
            fill(&store, COUNT).await;
            rate(COUNT, drain(store, COUNT, 0).await)
        })
    };
    let bar = Bar::AtLeast(0.8);
    bench.figure("sqlite.drain.limited", Unit::PerSecond, bar, ROUNDS, || round(false), || round(true));
}

/// The cost of groups: 100,000 of them, of which half have two items, one in progress at a time and in turn; and the same items
/// without groups.
pub fn groups(bench: &Bench) {
    let runtime = runtime();
    let round = |grouped| {
        runtime.block_on(async {
            let folder = folder();
            drain_in_groups(sqlite(folder.path()).await, grouped).await
        })
    };
    let bar = Bar::AtLeast(0.5);
    bench.figure("sqlite.drain.groups", Unit::PerSecond, bar, 3..=10, || round(false), || round(true));
}

/// Fills a queue and drains it, with groups or without. Returns the rate.
pub async fn drain_in_groups(store: Arc<dyn Administration>, grouped: bool) -> f64 {
    const GROUPS: usize = 100_000;
    const COUNT: usize = 150_000;
    let item = |number: usize| {
        let item = NewQueueItem::new(content());
        if grouped { item.group(format!("customer-{}", number % GROUPS)) } else { item }
    };
    if grouped {
        let edit = LimitsEdit::default().max_in_progress_per_group(1).fair(true);
        store.edit_queue_limits(QUEUE, edit).await.expect("a queue");
    }
    fill_with(&store, (0..COUNT).map(item).collect()).await;
    rate(COUNT, drain(store, COUNT, 0).await)
}

/// Sets both limits so high that they hold nothing back.
pub async fn limit(store: &dyn Administration) {
    let edit = LimitsEdit::default()
        .max_in_progress(1_000_000)
        .max_starts(MaxStarts { count: 100_000_000, per: Duration::from_secs(60) });
    store.edit_queue_limits(QUEUE, edit).await.expect("limits");
}

pub fn job() -> NewJob {
    NewJob::new(QUEUE).machine("bench").process_id(1).version("0").robots(1).lease(Duration::from_secs(3_600))
}

pub fn take(job: JobKey, count: usize) -> ClaimRequest {
    ClaimRequest::new(QUEUE, job, count).robot(1)
}

pub fn successful(claim: performer::model::Claim) -> Report {
    Report::new(claim, TransactionResult::Successful { output: None })
}

/// The median of `count` calls.
pub fn each(count: usize, mut call: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<f64> = (0..count).map(|_| call().as_secs_f64()).collect();
    median(&mut times)
}

pub fn single_calls(bench: &Bench) {
    const CALLS: usize = 300;
    let runtime = runtime();
    let (raw_folder, our_folder) = (folder(), folder());
    let mut raw = Raw::new(raw_folder.path());
    let mut limit = || each(CALLS, || raw.add_one(content_text()));
    let store = runtime.block_on(sqlite(our_folder.path()));
    bench.figure("sqlite.add.one", Unit::Time, Bar::AtMost(2.0), ROUNDS, &mut limit, || {
        each(CALLS, || {
            let item = NewQueueItem::new(content());
            runtime.block_on(async {
                let started = Instant::now();
                store.add_queue_item(QUEUE, item).await.expect("added");
                started.elapsed()
            })
        })
    });
    let job = runtime.block_on(store.start_job(job())).expect("a job");
    bench.figure("sqlite.result.one", Unit::Time, Bar::AtMost(2.0), ROUNDS, &mut limit, || {
        runtime.block_on(async {
            fill(&store, CALLS).await;
        });
        let answer = runtime.block_on(store.report_and_claim(Vec::new(), Some(take(job, CALLS))));
        let mut claims = answer.claimed.expect("taken").items.into_iter();
        each(CALLS, || {
            let claim = claims.next().expect("a claim").claim;
            runtime.block_on(async {
                let started = Instant::now();
                let answer = store.report_and_claim(vec![successful(claim)], None).await;
                answer.reports[0].as_ref().expect("recorded");
                started.elapsed()
            })
        })
    });
}

pub fn adds(bench: &Bench) {
    const COUNT: usize = 100_000;
    let runtime = runtime();
    let limit = || rate(COUNT, Raw::new(folder().path()).add_bulk(content_text(), COUNT));
    bench.figure("sqlite.add.bulk", Unit::PerSecond, Bar::AtLeast(0.5), ROUNDS, limit, || {
        runtime.block_on(async {
            let folder = folder();
            let store = sqlite(folder.path()).await;
            rate(COUNT, fill(&store, COUNT).await)
        })
    });
    // Both serialize the content; the dispatcher does it while the store is at work, and commits a hundred times.
    let at_once = || {
        runtime.block_on(async {
            let folder = folder();
            let store = sqlite(folder.path()).await;
            let started = Instant::now();
            fill(&store, COUNT).await;
            rate(COUNT, started.elapsed())
        })
    };
    bench.figure("sqlite.add.dispatcher", Unit::PerSecond, Bar::AtLeast(0.5), ROUNDS, at_once, || {
        runtime.block_on(async {
            let folder = folder();
            let store = sqlite(folder.path()).await;
            let started = Instant::now();
            let dispatcher = Dispatcher::new(QUEUE);
            let summary = dispatcher.dispatch(&*store, (0..COUNT).map(|_| content())).await.expect("added");
            assert_eq!(summary.added, COUNT as u64);
            rate(COUNT, started.elapsed())
        })
    });
}

/// The median time from the answer to an add until its transaction starts, on an idle performer.
pub async fn latency(
    performing: Arc<dyn Administration>,
    mut add: impl AsyncFnMut() -> Instant,
    count: usize,
) -> f64 {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let performer = Performer::new(QUEUE, || Nothing).robots(4).handle_signals(false).on_event(
        move |event| match event {
            PerformerEvent::TransactionStarted { .. } => started.send(Instant::now()).expect("a listener"),
            PerformerEvent::TransactionEnded { .. } => ended.send(()).expect("a listener"),
            _ => {}
        },
    );
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(performing));
    let mut times = Vec::new();
    for _ in 0..count {
        let added = add().await;
        let start = starts.recv().await.expect("a start");
        times.push(start.saturating_duration_since(added).as_secs_f64());
        ends.recv().await.expect("an end");
        // Until the robots are idle again.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.stop();
    running.await.expect("a task").expect("a summary");
    median(&mut times)
}

pub fn latencies(bench: &Bench) {
    const ITEMS: usize = 200;
    let runtime = runtime();
    let raw_folder = folder();
    let mut raw = Raw::new(raw_folder.path());
    bench.figure(
        "latency.same_process",
        Unit::Time,
        Bar::AtMost(0.5),
        ROUNDS,
        || each(ITEMS, || raw.add_one(content_text())),
        || {
            runtime.block_on(async {
                let folder = folder();
                let store = sqlite(folder.path()).await;
                let adding = store.clone();
                let add = async || {
                    adding.add_queue_item(QUEUE, NewQueueItem::new(content())).await.expect("added");
                    Instant::now()
                };
                latency(store, add, ITEMS).await
            })
        },
    );
    other_process(bench, &runtime);
}

/// Adds come from another process on the same file; also the cost for the performer when there are none.
fn other_process(bench: &Bench, runtime: &tokio::runtime::Runtime) {
    if !bench.wants("latency.other_process") {
        return;
    }
    const ITEMS: usize = 60;
    let folder = folder();
    let store = runtime.block_on(sqlite(folder.path()));
    let url = format!("sqlite:{}", folder.path().join("ours.db").display());
    let p50 = latency_from_another_process(runtime, store.clone(), &url, ITEMS);
    print_line("latency.other_process", Unit::Time, Bar::AtMost(1.0), p50, 0.060);

    // An idle performer for three seconds: its processor time.
    let idle = Duration::from_secs(3);
    let used = runtime.block_on(async {
        let performer = Performer::new(QUEUE, || Nothing).robots(64).handle_signals(false);
        let stop = performer.stop_handle();
        let running = tokio::spawn(performer.run(store));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = processor_time();
        tokio::time::sleep(idle).await;
        let used = processor_time() - before;
        stop.stop();
        running.await.expect("a task").expect("a summary");
        used
    });
    print_line(
        "idle.processor",
        Unit::Time,
        Bar::AtMost(1.0),
        used.as_secs_f64(),
        idle.as_secs_f64() / 100.0,
    );
}

/// As above, while another process adds to the store at `url`.
pub fn latency_from_another_process(
    runtime: &tokio::runtime::Runtime,
    performing: Arc<dyn Administration>,
    url: &str,
    count: usize,
) -> f64 {
    use std::io::{BufRead, BufReader, Write};
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["adding-process", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    let mut orders = child.stdin.take().expect("its input");
    let mut answers = BufReader::new(child.stdout.take().expect("its output")).lines();
    let p50 = runtime.block_on(async {
        let add = async || {
            orders.write_all(b"add\n").expect("an order");
            answers.next().expect("an answer").expect("a line");
            Instant::now()
        };
        latency(performing, add, count).await
    });
    drop(orders);
    child.wait().expect("its end");
    p50
}

/// In the other process: adds an item for each line it reads.
pub fn add_from_another_process(arguments: &[String]) {
    let runtime = runtime();
    let store = runtime.block_on(Store::open(&arguments[0])).expect("the store");
    for line in std::io::stdin().lines() {
        line.expect("an order");
        runtime.block_on(store.add_queue_item(QUEUE, NewQueueItem::new(content()))).expect("added");
        println!("added");
    }
}

/// The processor time of all threads of this process.
fn processor_time() -> Duration {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        let statistics = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += statistics.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanoseconds)
}

/// A value of /proc/self/status, in bytes.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kilobytes * 1024.0
}

/// In a process of its own, without memory that other figures left in the allocator.
pub fn memory(bench: &Bench) {
    if !bench.wants("memory.rss") {
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let said = Command::new(program).arg("resident-memory-process").output().expect("another process");
    let said = String::from_utf8(said.stdout).expect("text");
    let resident: f64 = said.trim().parse().expect("a number");
    print_line("memory.rss", Unit::Bytes, Bar::AtMost(1.0), resident, 100e6);
}

/// In that process: the resident memory of a performer with a million waiting items.
pub fn resident() {
    const WAITING: usize = 1_000_000;
    const PARTS: usize = 100;
    let runtime = runtime();
    let folder = folder();
    runtime.block_on(async {
        let store = sqlite(folder.path()).await;
        for _ in 0..PARTS {
            fill(&store, WAITING / PARTS).await;
        }
        let performer = Performer::new(QUEUE, || Nothing).robots(64).handle_signals(false);
        let stop = performer.stop_handle();
        let performer = performer.on_event({
            let done = std::sync::atomic::AtomicUsize::new(0);
            let stop = stop.clone();
            move |event| {
                let ended = matches!(event, PerformerEvent::TransactionEnded { .. });
                if ended && done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 20_000 {
                    stop.stop();
                }
            }
        });
        performer.run(store).await.expect("a summary");
    });
    println!("{}", status("VmRSS"));
}

struct Raw200;

#[async_trait]
impl Transaction for Raw200 {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, content: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
        std::hint::black_box(content);
        Ok(())
    }
}

pub fn big_content(bench: &Bench) {
    const ITEMS: usize = 100;
    if !bench.wants("sqlite.big_content") {
        return;
    }
    let runtime = runtime();
    let folder = folder();
    let written = runtime.block_on(async {
        let store = sqlite(folder.path()).await;
        for _ in 0..ITEMS {
            let item = NewQueueItem::new(serde_json::json!({ "t": "x".repeat(200_000) }));
            store.add_queue_item(QUEUE, item).await.expect("added");
        }
        // Closed and opened again, so that the log is checkpointed.
        drop(store);
        let store = Store::sqlite(folder.path().join("ours.db")).await.expect("the file");
        let before = bytes_written();
        // One robot: only a result and the next claim share a commit.
        let performer = Performer::new(QUEUE, || Raw200).handle_signals(false);
        let summary = performer.run_until_empty(Arc::new(store)).await.expect("a summary");
        assert_eq!(summary.successful, ITEMS as u64);
        bytes_written() - before
    });
    print_line("sqlite.big_content", Unit::Bytes, Bar::AtMost(1.0), written / ITEMS as f64, 20e3);
}

/// The bytes that this process wrote to files.
fn bytes_written() -> f64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("io");
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("a line");
    line.parse().expect("a number")
}

/// A file with a million waiting, a million deferred and a million finished items, against one that is nearly empty.
pub fn full_files(bench: &Bench) {
    if !bench.wants("sqlite.claim.full") && !bench.wants("sqlite.open.full") {
        return;
    }
    const MILLION: usize = 1_000_000;
    const PARTS: usize = 50;
    const CLAIMS: usize = 200;
    let runtime = runtime();
    let (full, small) = (folder(), folder());
    runtime.block_on(async {
        let store = sqlite(full.path()).await;
        for _ in 0..PARTS {
            fill(&store, MILLION / PARTS).await;
        }
        drain(store.clone(), MILLION, 1_000).await;
        let later =
            store.get_queue(QUEUE).await.expect("the queue").creation_time + Duration::from_secs(864_000);
        for _ in 0..PARTS {
            let items =
                (0..MILLION / PARTS).map(|_| NewQueueItem::new(content()).defer_date(later)).collect();
            let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await;
            assert!(added.expect("added").failed.is_empty());
            fill(&store, MILLION / PARTS).await;
        }
        fill(&sqlite(small.path()).await, CLAIMS * (*ROUNDS.end() + 1)).await;
    });
    let claims = |store: &Arc<dyn Administration>, job: JobKey| {
        each(CLAIMS, || {
            runtime.block_on(async {
                let started = Instant::now();
                let taken =
                    store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.expect("taken");
                let time = started.elapsed();
                assert_eq!(taken.items.len(), 1);
                time
            })
        })
    };
    let mut open_times = Vec::new();
    let mut open = |folder: &Path| {
        let started = Instant::now();
        let store = runtime.block_on(Store::sqlite(folder.join("ours.db"))).expect("the file");
        open_times.push(started.elapsed().as_secs_f64());
        let store: Arc<dyn Administration> = Arc::new(store);
        let job = runtime.block_on(store.start_job(job())).expect("a job");
        (store, job)
    };
    drop(open(full.path()));
    drop(open(full.path()));
    let (full_store, full_job) = open(full.path());
    let opening = median(&mut open_times);
    let (small_store, small_job) = {
        let store: Arc<dyn Administration> =
            Arc::new(runtime.block_on(Store::sqlite(small.path().join("ours.db"))).expect("the file"));
        let job = runtime.block_on(store.start_job(job())).expect("a job");
        (store, job)
    };
    bench.figure(
        "sqlite.claim.full",
        Unit::Time,
        Bar::AtMost(1.5),
        ROUNDS,
        || claims(&small_store, small_job),
        || claims(&full_store, full_job),
    );
    print_line("sqlite.open.full", Unit::Time, Bar::AtMost(1.0), opening, 0.100);
}
