//! A queue that drains while programs log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use performer::model::log::{LogLevel, LogLine};
use performer::model::{Clock as _, SystemClock};
use performer::prelude::*;

use super::figures::{self, ROUNDS};
use performer_benches::{Bar, Bench, Unit, print_line, rate};

/// How many lines a second are logged beside the queue.
const LINES_PER_SECOND: usize = 20_000;
/// How many lines a program sends at once.
const BATCH: usize = 200;
const ITEMS: usize = 40_000;

/// Lines of about 250 bytes, as the layer for `tracing` makes them.
fn lines(now: jiff::Timestamp, count: usize) -> Vec<LogLine> {
    let line = |at: usize| {
        let entry = format!(
            "{{\"message\":\"a transaction ended\",\"level\":\"Information\",\"timeStamp\":\"{now}\",\"processName\":\"Bench\",\
             \"logType\":\"Default\",\"machineName\":\"machine\",\"item\":\"{at}\",\"reference\":\"INV-{at}\",\"robot\":3,\"outcome\":\"Successful\"}}"
        );
        let mut line = LogLine::new(now, LogLevel::Info, entry);
        line.item = Some(performer::ItemId(1 + at as i64));
        line.process = "Bench".to_owned();
        line
    };
    (0..count).map(line).collect()
}

/// Adds lines at their pace until it is told to stop. Returns how many a second there were.
async fn log(store: Arc<dyn Administration>, stop: Arc<AtomicBool>) -> f64 {
    let clock = SystemClock::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) * BATCH as u32 / LINES_PER_SECOND as u32);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let (started, mut count) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        store.submit_logs(lines(clock.now(), BATCH)).await.expect("lines");
        count += BATCH;
    }
    rate(count, started.elapsed())
}

pub fn all(bench: &Bench) {
    let runtime = figures::runtime();
    let drain = |with_logs: bool| {
        runtime.block_on(async {
            let folder = figures::folder();
            let store = figures::sqlite(folder.path()).await;
            figures::fill(&store, ITEMS).await;
            let stop = Arc::new(AtomicBool::new(false));
            let logging = with_logs.then(|| tokio::spawn(log(store.clone(), stop.clone())));
            let took = figures::drain(store, ITEMS, 0).await;
            stop.store(true, Ordering::Relaxed);
            if let Some(logging) = logging {
                let logged = logging.await.expect("lines were logged");
                assert!(
                    logged >= LINES_PER_SECOND as f64 * 0.95,
                    "only {logged:.0} lines a second were logged"
                );
            }
            rate(ITEMS, took)
        })
    };
    let (limit, ours) = (|| drain(false), || drain(true));
    bench.figure("sqlite.drain.logs", Unit::PerSecond, Bar::AtLeast(0.9), ROUNDS, limit, ours);
    if bench.wants("sqlite.logs") {
        let alone = runtime.block_on(async {
            let folder = figures::folder();
            let store = figures::sqlite(folder.path()).await;
            let clock = SystemClock::default();
            let started = Instant::now();
            for _ in 0..500 {
                store.submit_logs(lines(clock.now(), BATCH)).await.expect("lines");
            }
            rate(500 * BATCH, started.elapsed())
        });
        print_line("sqlite.logs", Unit::PerSecond, Bar::AtLeast(1.0), alone, LINES_PER_SECOND as f64);
    }
}
