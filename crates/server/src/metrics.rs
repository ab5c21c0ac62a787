//! The metrics of the server, in the format of Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Inner;
use performer_core::model::statistics::QueueStatistics;
use performer_core::orchestrator::Result;
use performer_store::QueueSelector;

const PREFIX: &str = "performer";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TaskLabel {
    task: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    /// The folder in which the queue was created.
    folder: String,
    queue: String,
    state: &'static str,
}

/// How many items of a queue wait and are in progress, by which instances of a performer are started and stopped.
pub(super) struct QueueDepth {
    folder: String,
    queue: String,
    statistics: QueueStatistics,
}

/// The depths of all queues.
pub(super) async fn queue_depths(server: &Inner) -> Result<Vec<QueueDepth>> {
    let directory = server.access.directory();
    let folders = directory.folders().map(|folder| folder.id).collect();
    let mut depths = Vec::new();
    for queue in server.store.queues_in_folders(folders).await? {
        let Some(home) = queue.folders.first() else { continue };
        let store = server.store.in_scope(*home, None);
        // A queue may be deleted in between.
        let Ok(statistics) = store.statistics_of(QueueSelector::Id(queue.id)).await else { continue };
        depths.push(QueueDepth { folder: directory.full_name(*home), queue: queue.name, statistics });
    }
    Ok(depths)
}

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabel, Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    restarts: Family<TaskLabel, Counter>,
    dropped: Counter,
    /// The counter of dropped log lines, which the program owns.
    dropped_elsewhere: OnceLock<Arc<AtomicU64>>,
    refused: Counter,
    memory: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests by operation and status", requests.clone());
        // 0.1 ms to 13 s.
        let durations = Family::<OperationLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
        });
        let help = "How long requests took, by operation";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        registry.register("requests_in_flight", "Requests that are being answered", in_flight.clone());
        registry.register("connections", "Open connections", connections.clone());
        let restarts = Family::<TaskLabel, Counter>::default();
        let help = "Background tasks that panicked and were started again";
        registry.register("background_restarts", help, restarts.clone());
        let dropped = Counter::default();
        registry.register("log_lines_dropped", "Lines of the log that could not be written", dropped.clone());
        let dropped_elsewhere = OnceLock::new();
        let refused = Counter::default();
        let help = "Connections that were closed or answered once, because there were too many";
        registry.register("connections_refused", help, refused.clone());
        let memory = Gauge::default();
        let help = "Bytes of bodies, answers and large heads that are held";
        registry.register_with_unit("memory", help, Unit::Bytes, memory.clone());
        Self {
            registry,
            requests,
            durations,
            in_flight,
            connections,
            restarts,
            dropped,
            dropped_elsewhere,
            refused,
            memory,
        }
    }

    pub(super) fn record_request(&self, operation: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, status }).inc();
        self.durations.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    /// Counts the restart of a background task.
    pub(super) fn record_restart(&self, task: &'static str) {
        self.restarts.get_or_create(&TaskLabel { task }).inc();
    }

    /// Counts an active request until the guard is dropped.
    pub(super) fn in_flight(&self) -> GaugeGuard {
        GaugeGuard::new(&self.in_flight)
    }

    /// Counts an open connection until the guard is dropped.
    pub(super) fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.connections)
    }

    /// Sets the counter of dropped log lines.
    pub(super) fn set_dropped_lines(&self, counted: Arc<AtomicU64>) {
        let _ = self.dropped_elsewhere.set(counted); // set once, when the server is opened
    }

    /// Counts a connection over the limit.
    pub(super) fn record_refused_connection(&self) {
        self.refused.inc();
    }

    /// The gauge of reserved memory.
    pub(super) fn memory(&self) -> Gauge {
        self.memory.clone()
    }

    /// All metrics, with those of queues as they are given.
    pub(super) fn text(&self, depths: &[QueueDepth]) -> String {
        if let Some(counted) = self.dropped_elsewhere.get() {
            self.dropped.inner().store(counted.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let mut text = String::new();
        // A registry of its own: a queue that is deleted leaves nothing behind.
        let mut queues = Registry::with_prefix(PREFIX);
        let items = Family::<QueueLabels, Gauge>::default();
        queues.register(
            "queue_items",
            "Items that wait, postponed ones included, and that are in progress",
            items.clone(),
        );
        for QueueDepth { folder, queue, statistics } in depths {
            for (state, count) in [("new", statistics.new), ("in_progress", statistics.in_progress)] {
                let labels = QueueLabels { folder: folder.clone(), queue: queue.clone(), state };
                items.get_or_create(&labels).set(count);
            }
        }
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &queues);
        let _ = encode_eof(&mut text);
        text
    }
}

pub(super) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_prometheus_format() {
        let metrics = Metrics::new();
        metrics.record_request("AddQueueItem", 201, Duration::from_millis(3));
        let _one = metrics.in_flight();
        let text = metrics.text(&[]);
        assert!(
            text.contains("performer_requests_total{operation=\"AddQueueItem\",status=\"201\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("performer_request_duration_seconds_count{operation=\"AddQueueItem\"} 1"),
            "{text}"
        );
        assert!(text.contains("performer_requests_in_flight 1") && text.ends_with("# EOF\n"), "{text}");
    }
}
