//! The metrics of a performer, as a recorder of the `metrics` facade sees them.
#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::metrics::{
    self, Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use performer::prelude::*;
use serde_json::{Value, json};

/// A recorder that keeps every value: counters and gauges as sums, histograms as their values.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

struct Cell {
    name: String,
    recorded: Recorded,
}

impl Cell {
    fn add(&self, value: f64) {
        let mut all = self.recorded.0.lock().unwrap();
        let sum = all.entry(self.name.clone()).or_insert_with(|| vec![0.0]);
        sum[0] += value;
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("counters are incremented");
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        unreachable!("several performers of one queue share the gauge");
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.recorded.0.lock().unwrap().entry(self.name.clone()).or_default().push(value);
    }
}

impl Recorded {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Cell { name: format!("{}{{{}}}", key.name(), labels.join(",")), recorded: self.clone() })
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    fn sum(&self, name: &str) -> f64 {
        self.values(name).iter().sum()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

/// Adds items, performs them, and returns what was recorded. The recorder is that of this thread, so that tests do not see each
/// other's values.
fn perform(items: &[Value], performer: impl FnOnce(Performer) -> Performer) -> Recorded {
    let recorded = Recorded::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorded, || {
        runtime.block_on(async {
            let orchestrator = connect("memory:").await.unwrap();
            let policy = QueuePolicy::default().max_number_of_retries(1);
            orchestrator.create_queue(NewQueueDefinition::new("Q").policy(policy)).await.unwrap();
            for item in items {
                orchestrator.add_queue_item("Q", NewQueueItem::new(item)).await.unwrap();
            }
            let process = |content: Value, item: TransactionItem| async move {
                match content["does"].as_str().unwrap_or_default() {
                    "refuse" => Err(BusinessException::new("it is wrong"))?,
                    "fail" => Err(ApplicationException::new("the ERP is down"))?,
                    "fail once" if item.retry_number() == 0 => Err(ApplicationException::new("busy"))?,
                    "postpone" => Err(Exception::postpone_for(Duration::from_secs(3_600)))?,
                    _ => {}
                }
                Ok(())
            };
            let made = performer(Performer::from_fn("Q", process).handle_signals(false).single_threaded());
            made.run_until_empty(orchestrator).await.unwrap();
        });
    });
    recorded
}

fn ended(recorded: &Recorded, outcome: &str) -> (f64, usize) {
    let of = |name: &str| format!("performer_{name}{{queue=Q,outcome={outcome}}}");
    (
        recorded.sum(&of("transactions_ended_total")),
        recorded.values(&of("transaction_duration_seconds")).len(),
    )
}

#[test]
fn outcomes_durations_and_store_calls_are_recorded() {
    let does = ["succeed", "succeed", "refuse", "fail", "fail once", "postpone"];
    let items: Vec<Value> = does.iter().map(|does| json!({ "does": does })).collect();
    for ahead in [0, 10] {
        let recorded = perform(&items, |performer| performer.claim_ahead(ahead).robots(2));
        let outcomes = ["successful", "business_exception", "application_exception", "retried", "postponed"];
        let counts = outcomes.map(|outcome| ended(&recorded, outcome));
        assert_eq!(counts, [(3.0, 3), (1.0, 1), (1.0, 1), (2.0, 2), (1.0, 1)], "claim_ahead({ahead})");
        assert_eq!(ended(&recorded, "claim_lost"), (0.0, 0));
        assert_eq!(recorded.sum("performer_transactions_started_total{queue=Q}"), 8.0);
        assert_eq!(recorded.sum("performer_items_held{queue=Q}"), 0.0, "nothing is held at the end");
        let waited = recorded.values("performer_item_waiting_seconds{queue=Q}");
        assert_eq!(waited.len(), 8);
        assert!(waited.iter().all(|seconds| (0.0..60.0).contains(seconds)), "{waited:?}");
        for operation in ["start_job", "report_and_claim", "sweep", "end_job"] {
            let name = format!("performer_call_duration_seconds{{operation={operation},result=ok}}");
            assert!(!recorded.values(&name).is_empty(), "{operation}");
        }
    }
}

#[test]
fn nothing_is_recorded_without_a_recorder() {
    // The facade answers with handles that do nothing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let summary = runtime.block_on(async {
        let orchestrator = connect("memory:").await.unwrap();
        orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        orchestrator.add_queue_item("Q", NewQueueItem::new(json!({}))).await.unwrap();
        let process = |_: Value, _| async { Ok(()) };
        Performer::from_fn("Q", process).handle_signals(false).run_until_empty(orchestrator).await.unwrap()
    });
    assert_eq!(summary.successful, 1);
}

/// Every metric that the Grafana dashboard names is one of a performer or of the server.
#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/performer.json")).unwrap();
    let (of_performers, of_server) = (read("src/runtime/metrics.rs"), read("crates/server/src/metrics.rs"));
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(expressions.len() >= 10);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for expression in expressions {
        let opened = expression.matches(['(', '{', '[']).count();
        assert_eq!(opened, expression.matches([')', '}', ']']).count(), "{expression}");
        let named: Vec<&str> =
            expression.split(|c| !is_word(c)).filter(|word| word.starts_with("performer_")).collect();
        assert!(!named.is_empty(), "{expression}");
        for metric in named {
            let base = metric.trim_end_matches("_bucket").trim_end_matches("_count");
            let registered = base.trim_start_matches("performer_").trim_end_matches("_total");
            let is_known = of_performers.contains(&format!("\"{base}\""))
                || of_server.contains(&format!("\"{registered}\""));
            assert!(is_known, "{metric} in {expression}");
        }
    }
}
