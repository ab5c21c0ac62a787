//! The figures of performer on a PostgreSQL database, beside plain statements on the same one.

mod plain_sql;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use performer::orchestrator::store::Store;
use performer::prelude::*;
use tokio::runtime::Runtime;

use self::plain_sql::Plain;
use super::figures::{
    QUEUE, ROUNDS, content, content_text, drain, drain_in_groups, each, fill, fill_with, latency,
    latency_from_another_process, limit, runtime,
};
use performer_benches::{Bar, Bench, Unit, median, print_line, rate};

const VARIABLE: &str = "PERFORMER_TEST_POSTGRES";

/// Items that are drained in one round.
const COUNT: usize = 30_000;

/// A schema of its own, dropped with this value.
struct Schema {
    url: String,
    server: String,
    name: String,
}

impl Schema {
    fn new(server: &str) -> Self {
        static COUNTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench_{}_{}", std::process::id(), COUNTED.fetch_add(1, Ordering::Relaxed));
        let joint = if server.contains('?') { '&' } else { '?' };
        Self { url: format!("{server}{joint}schema={name}"), server: server.to_owned(), name }
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        plain_sql::run_once(&self.server, &sql);
    }
}

async fn open(schema: &Schema) -> Arc<dyn Administration> {
    let store = Store::postgres(&schema.url).await.expect("a database");
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.expect("a queue");
    Arc::new(store)
}

pub fn all(bench: &Bench) {
    if !bench.wants_any("postgres") {
        return;
    }
    let Ok(server) = std::env::var(VARIABLE) else {
        println!(
            "postgres: left out, because {VARIABLE} is not set; \
             scripts/postgres cargo bench -p performer-benches --bench drain -- postgres"
        );
        return;
    };
    let runtime = runtime();
    drains(bench, &runtime, &server);
    fleets(bench, &runtime, &server);
    limited(bench, &runtime, &server);
    groups(bench, &runtime, &server);
    single_calls(bench, &runtime, &server);
    adds(bench, &runtime, &server);
    full(bench, &runtime, &server);
    held_horizons(bench, &runtime, &server);
}

fn drains(bench: &Bench, runtime: &Runtime, server: &str) {
    let ours = |ahead| {
        runtime.block_on(async {
            let schema = Schema::new(server);
            let store = open(&schema).await;
            fill(&store, COUNT).await;
            rate(COUNT, drain(store, COUNT, ahead).await)
        })
    };
    for (name, batch, ahead) in [("postgres.drain", 64, 0), ("postgres.drain.ahead", 1_000, 1_000)] {
        let limit = || {
            let plain = Plain::new(runtime, server);
            plain.add(content_text(), COUNT);
            rate(COUNT, plain.drain(batch, 1))
        };
        bench.figure(name, Unit::PerSecond, Bar::AtLeast(0.8), ROUNDS, limit, || ours(ahead));
    }
    for (name, batch, ahead) in [("postgres.drain.many", 64, 0), ("postgres.drain.many.ahead", 1_000, 1_000)]
    {
        let limit = || {
            let plain = Plain::new(runtime, server);
            plain.add(content_text(), COUNT);
            rate(COUNT, plain.drain(batch, 2))
        };
        bench.figure(name, Unit::PerSecond, Bar::AtLeast(0.0), ROUNDS, limit, || ours(ahead));
    }
    if !bench.wants("postgres.drain.pgbench") {
        return;
    }
    let Some(pgbench) = plain_sql::pgbench() else {
        println!("postgres.drain.pgbench: left out, because pgbench is not found (PG_BIN names its folder)");
        return;
    };
    let limit = || {
        let plain = Plain::new(runtime, server);
        plain.add(content_text(), COUNT);
        plain.pgbench(&pgbench)
    };
    bench.figure("postgres.drain.pgbench", Unit::PerSecond, Bar::AtLeast(0.8), 3..=20, limit, || ours(0));
}

/// A process that drains the queue when it is told to.
struct Worker {
    child: Child,
    answers: std::io::Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(url: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["draining-process", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("another process");
        let answers = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut worker = Self { child, answers };
        worker.line();
        worker
    }

    fn line(&mut self) -> String {
        self.answers.next().expect("an answer").expect("a line")
    }
}

/// In such a process.
pub fn one_of_many(arguments: &[String]) {
    let runtime = runtime();
    let store = runtime.block_on(Store::open(&arguments[0])).expect("the store");
    println!("ready");
    std::io::stdin().lines().next().expect("an order").expect("a line");
    let performer = super::figures::drainer(0);
    let summary = runtime.block_on(performer.run_until_empty(Arc::new(store))).expect("a summary");
    println!("{}", summary.successful);
}

fn fleet(runtime: &Runtime, server: &str, processes: usize) -> f64 {
    let schema = Schema::new(server);
    let store = runtime.block_on(open(&schema));
    runtime.block_on(fill(&store, COUNT));
    let mut workers: Vec<_> = (0..processes).map(|_| Worker::start(&schema.url)).collect();
    let started = Instant::now();
    for worker in &mut workers {
        worker.child.stdin.take().expect("its input").write_all(b"go\n").expect("an order");
    }
    let done: usize =
        workers.iter_mut().map(|worker| worker.line().parse::<usize>().expect("a number")).sum();
    let time = started.elapsed();
    assert_eq!(done, COUNT, "each item is done once");
    for mut worker in workers {
        worker.child.wait().expect("its end");
    }
    rate(COUNT, time)
}

/// Several processes against one.
fn fleets(bench: &Bench, runtime: &Runtime, server: &str) {
    for (name, processes) in [("postgres.drain.2", 2), ("postgres.drain.4", 4)] {
        let one = || fleet(runtime, server, 1);
        let many = || fleet(runtime, server, processes);
        bench.figure(name, Unit::PerSecond, Bar::AtLeast(1.0), ROUNDS, one, many);
    }
}

/// The cost of limits that are never reached.
fn limited(bench: &Bench, runtime: &Runtime, server: &str) {
    let round = |limited| {
        runtime.block_on(async {
            let schema = Schema::new(server);
            let store = open(&schema).await;
            if limited {
                limit(&*store).await;
            }
            fill(&store, COUNT).await;
            rate(COUNT, drain(store, COUNT, 0).await)
        })
    };
    let bar = Bar::AtLeast(0.8);
    bench.figure("postgres.drain.limited", Unit::PerSecond, bar, ROUNDS, || round(false), || round(true));
}

/// The cost of groups, as in `sqlite.drain.groups`.
fn groups(bench: &Bench, runtime: &Runtime, server: &str) {
    let round = |grouped| {
        runtime.block_on(async {
            let schema = Schema::new(server);
            drain_in_groups(open(&schema).await, grouped).await
        })
    };
    let bar = Bar::AtLeast(0.5);
    bench.figure("postgres.drain.groups", Unit::PerSecond, bar, 3..=10, || round(false), || round(true));
}

fn single_calls(bench: &Bench, runtime: &Runtime, server: &str) {
    const ITEMS: usize = 200;
    let plain = Plain::new(runtime, server);
    let limit = || each(ITEMS, || plain.add_one(content_text()));
    bench.figure("postgres.latency", Unit::Time, Bar::AtMost(0.5), ROUNDS, limit, || {
        runtime.block_on(async {
            let schema = Schema::new(server);
            let store = open(&schema).await;
            let adding = store.clone();
            let add = async || {
                adding.add_queue_item(QUEUE, NewQueueItem::new(content())).await.expect("added");
                Instant::now()
            };
            latency(store, add, ITEMS).await
        })
    });
    bench.figure("postgres.latency.other_process", Unit::Time, Bar::AtMost(2.5), ROUNDS, limit, || {
        let schema = Schema::new(server);
        let store = runtime.block_on(open(&schema));
        latency_from_another_process(runtime, store, &schema.url, ITEMS)
    });
    let schema = Schema::new(server);
    let store = runtime.block_on(open(&schema));
    bench.figure("postgres.add.one", Unit::Time, Bar::AtMost(3.0), ROUNDS, limit, || {
        each(ITEMS, || {
            let item = NewQueueItem::new(content());
            runtime.block_on(async {
                let started = Instant::now();
                store.add_queue_item(QUEUE, item).await.expect("added");
                started.elapsed()
            })
        })
    });
}

fn adds(bench: &Bench, runtime: &Runtime, server: &str) {
    const ADDED: usize = 100_000;
    let limit = || {
        // The same columns and indexes.
        let schema = Schema::new(server);
        drop(runtime.block_on(open(&schema)));
        rate(ADDED, plain_sql::copy(runtime, server, &schema.name, content_text(), ADDED))
    };
    bench.figure("postgres.add.bulk", Unit::PerSecond, Bar::AtLeast(0.5), 3..=20, limit, || {
        runtime.block_on(async {
            let schema = Schema::new(server);
            let store = open(&schema).await;
            rate(ADDED, fill(&store, ADDED).await)
        })
    });
}

/// A table with a million finished items, against an empty one.
fn full(bench: &Bench, runtime: &Runtime, server: &str) {
    if !bench.wants("postgres.horizon.full") {
        return;
    }
    const FINISHED: usize = 1_000_000;
    let schema = Schema::new(server);
    let store = runtime.block_on(open(&schema));
    runtime.block_on(async {
        fill(&store, 1_000).await;
        drain(store.clone(), 1_000, 1_000).await;
    });
    plain_sql::multiply(server, &schema.name, FINISHED / 1_000);
    let limit = || {
        runtime.block_on(async {
            let schema = Schema::new(server);
            let store = open(&schema).await;
            fill(&store, COUNT).await;
            rate(COUNT, drain(store, COUNT, 0).await)
        })
    };
    bench.figure("postgres.horizon.full", Unit::PerSecond, Bar::AtLeast(0.8), ROUNDS, limit, || {
        runtime.block_on(async {
            fill(&store, COUNT).await;
            rate(COUNT, drain(store.clone(), COUNT, 0).await)
        })
    });
}

/// Longer than it takes to add the items of one round.
const DEFERRED_BY: Duration = Duration::from_millis(1_500);

/// The waiting items beside an old snapshot.
#[derive(Clone, Copy)]
enum Waiting {
    Plain,
    /// With DueDates in random order.
    Due,
    /// Until its DeferDate.
    Deferred,
    /// In a queue with limits that are never reached.
    Limited,
}

impl Waiting {
    fn item(self) -> NewQueueItem {
        let item = NewQueueItem::new(content());
        let within_days = || Duration::from_secs(fastrand::u64(..200_000));
        match self {
            Self::Plain | Self::Limited => item,
            Self::Due => item.due_date(Timestamp::now() + within_days()),
            Self::Deferred => item.defer_date(Timestamp::now() + DEFERRED_BY),
        }
    }
}

/// Claims beside a session with an old snapshot, so that no deleted row can be vacuumed: their rate in the end, against
/// the beginning.
fn held_horizons(bench: &Bench, runtime: &Runtime, server: &str) {
    held_horizon(bench, runtime, server, "postgres.horizon.held", Waiting::Plain);
    held_horizon(bench, runtime, server, "postgres.horizon.held.due", Waiting::Due);
    held_horizon(bench, runtime, server, "postgres.horizon.held.deferred", Waiting::Deferred);
    held_horizon(bench, runtime, server, "postgres.horizon.held.limited", Waiting::Limited);
}

fn held_horizon(bench: &Bench, runtime: &Runtime, server: &str, name: &str, waiting: Waiting) {
    const LOOKED_AT: usize = 5;
    if !bench.wants(name) {
        return;
    }
    let number = |variable| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(number("PERFORMER_HORIZON_SECONDS").unwrap_or(60));
    let part = number("PERFORMER_HORIZON_PART").map_or(10_000, |part| part as usize);
    let schema = Schema::new(server);
    let store = runtime.block_on(open(&schema));
    if matches!(waiting, Waiting::Limited) {
        runtime.block_on(limit(&*store));
    }
    let _holder = plain_sql::Snapshot::hold(runtime, server);
    let started = Instant::now();
    let mut rates = Vec::new();
    let shows = std::env::var_os("PERFORMER_HORIZON_SHOW").is_some();
    while started.elapsed() < time || rates.len() < 2 * LOOKED_AT {
        runtime.block_on(async {
            let items: Vec<_> = (0..part).map(|_| waiting.item()).collect();
            let added = fill_with(&store, items).await;
            if matches!(waiting, Waiting::Deferred) {
                tokio::time::sleep(DEFERRED_BY).await;
            }
            rates.push(rate(part, drain(store.clone(), part, 0).await));
            if shows {
                let (after, adds) = (started.elapsed().as_secs(), rate(part, added));
                let drains = rates.last().copied().unwrap_or_default();
                println!("  after {after} s: {adds:.0}/s added, {drains:.0}/s drained");
            }
        });
    }
    let last = rates.len() - LOOKED_AT;
    let (first, last) = (median(&mut rates[..LOOKED_AT].to_vec()), median(&mut rates[last..].to_vec()));
    print_line(name, Unit::PerSecond, Bar::AtLeast(0.8), last, first);
}
