//! What the server counts, as Prometheus reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Background {
    task: &'static str,
}

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    durations: Family<Operation, Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    restarts: Family<Background, Counter>,
    dropped: Counter,
    /// Where lines of the log that were dropped are counted.
    counted_elsewhere: OnceLock<Arc<AtomicU64>>,
    refused: Counter,
    memory: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("performer");
        let requests = Family::<Outcome, Counter>::default();
        registry.register("requests", "Requests by operation and status", requests.clone());
        // 0.1 ms to 13 s.
        let durations = Family::<Operation, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
        });
        let help = "How long requests took, by operation";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        registry.register("requests_in_flight", "Requests that are being answered", in_flight.clone());
        registry.register("connections", "Open connections", connections.clone());
        let restarts = Family::<Background, Counter>::default();
        let help = "Background tasks that panicked and were started again";
        registry.register("background_restarts", help, restarts.clone());
        let dropped = Counter::default();
        registry.register("log_lines_dropped", "Lines of the log that could not be written", dropped.clone());
        let counted_elsewhere = OnceLock::new();
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
            counted_elsewhere,
            refused,
            memory,
        }
    }

    pub(super) fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Outcome { operation, status }).inc();
        self.durations.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    /// A background task panicked, and is started again.
    pub(super) fn restarted(&self, task: &'static str) {
        self.restarts.get_or_create(&Background { task }).inc();
    }

    /// One more request, until this is dropped.
    pub(super) fn in_flight(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// One more connection, until this is dropped.
    pub(super) fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// Lines of the log that were dropped are counted here.
    pub(super) fn count_dropped_lines(&self, counted: Arc<AtomicU64>) {
        let _ = self.counted_elsewhere.set(counted); // it is set once, when the server is made
    }

    /// A connection was not taken like others.
    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    /// What shows the memory that is held.
    pub(super) fn memory(&self) -> Gauge {
        self.memory.clone()
    }

    pub(super) fn text(&self) -> String {
        if let Some(counted) = self.counted_elsewhere.get() {
            self.dropped.inner().store(counted.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry); // a String takes everything
        text
    }
}

pub(super) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::new();
        metrics.answered("AddQueueItem", 201, Duration::from_millis(3));
        let _one = metrics.in_flight();
        let text = metrics.text();
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
