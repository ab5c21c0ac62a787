//! Robot logs (orchestrator-api 16): a layer for `tracing` that sends the logs of a program to the Orchestrator.
//!
//! Logging never waits: a line goes into a bounded buffer, or is dropped and counted. One task sends the buffer in batches.
//! Lines logged by that task itself are left out, because they would cause further calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::call::Call;
use super::{Inner, Uipath};
use performer_core::model::clock::{Clock, SystemClock};
use performer_core::model::log::LogLevel;
use performer_wire::ApiTime;
use performer_wire::log::{LogEntry, RESERVED, level_name};

/// The maximum number of buffered lines.
const BUFFER: usize = 10_000;
/// The maximum number of lines in one call.
const BATCH: usize = 200;
/// How long the first line of a batch waits for others.
const INTERVAL: Duration = Duration::from_secs(1);
/// The maximum length of a line, in bytes; longer ones are truncated.
const MAX_LINE: usize = 10_000;

tokio::task_local! {
    /// Set in the sending task, whose own lines are not sent.
    static SHIPPING: ();
}

/// A layer that sends logs to the Orchestrator. Made by [`Uipath::robot_logs`].
pub struct RobotLogs {
    lines: mpsc::Sender<String>,
    dropped: Arc<AtomicU64>,
    underway: Arc<AtomicU64>,
    min_level: LogLevel,
    process: String,
    machine: String,
    job: Option<String>,
    clock: SystemClock,
}

impl fmt::Debug for RobotLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RobotLogs")
            .field("process", &self.process)
            .field("min_level", &self.min_level)
            .finish_non_exhaustive()
    }
}

/// The task that sends the logs. Call [`finish`](Self::finish) before the program ends.
#[derive(Debug)]
pub struct LogShipping {
    finish: tokio_util::sync::CancellationToken,
    task: JoinHandle<()>,
    dropped: Arc<AtomicU64>,
    /// The number of lines that are buffered or being sent.
    underway: Arc<AtomicU64>,
}

impl LogShipping {
    /// The number of dropped lines: the buffer was full, or the Orchestrator did not accept them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends the remaining lines, for at most ten seconds. Returns the total number of dropped lines.
    pub async fn finish(self) -> u64 {
        self.finish.cancel();
        let stop = self.task.abort_handle();
        let in_time = tokio::time::timeout(Duration::from_secs(10), self.task).await;
        stop.abort();
        let left = if in_time.is_err() { self.underway.load(Ordering::Relaxed) } else { 0 };
        self.dropped.load(Ordering::Relaxed) + left
    }
}

impl Uipath {
    /// Returns a layer for `tracing_subscriber` that sends this program's logs as robot logs (scope `OR.Monitoring`, permission
    /// Logs.Create), and a handle of the sending task. Must be called within a tokio runtime.
    ///
    /// Lines at INFO and above are sent, with the fields of the event and of the spans around it, such as the transaction's
    /// item, reference and robot. An ERROR with a field `fatal = true` is sent as Critical.
    pub fn robot_logs(&self, process: impl Into<String>) -> (RobotLogs, LogShipping) {
        let (lines, waiting) = mpsc::channel(BUFFER);
        let (dropped, underway) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let finish = tokio_util::sync::CancellationToken::new();
        let layer = RobotLogs {
            lines,
            dropped: dropped.clone(),
            underway: underway.clone(),
            min_level: LogLevel::Info,
            process: process.into(),
            machine: gethostname::gethostname().to_string_lossy().into_owned(),
            job: self.inner.job_key.map(|key| key.to_string()),
            clock: SystemClock::default(),
        };
        let shipping = ship(self.inner.clone(), waiting, dropped.clone(), underway.clone(), finish.clone());
        let task = tokio::spawn(SHIPPING.scope((), shipping));
        (layer, LogShipping { finish, task, dropped, underway })
    }
}

impl RobotLogs {
    /// The lowest level that is sent. Default: Info.
    #[must_use]
    pub fn lowest_level(mut self, level: LogLevel) -> Self {
        self.min_level = level;
        self
    }

    fn line(&self, message: &str, level: LogLevel, fields: &Map<String, Value>) -> String {
        let entry = LogEntry {
            message,
            level: level_name(level),
            time_stamp: ApiTime(self.clock.now()),
            process_name: &self.process,
            log_type: "Default",
            machine_name: &self.machine,
            job_id: self.job.as_deref(),
            fields,
        };
        serde_json::to_string(&entry).unwrap_or_default()
    }
}

/// Whether a line was logged by sending lines: by the task itself, or by a library that drives its connections.
fn is_from_shipping(target: &str) -> bool {
    let crate_name = target.split("::").next().unwrap_or_default();
    SHIPPING.try_with(|()| ()).is_ok()
        || matches!(
            crate_name,
            "hyper" | "hyper_util" | "h2" | "reqwest" | "rustls" | "rustls_platform_verifier" | "mio"
        )
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for RobotLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_from_shipping(event.metadata().target()) || level_of(*event.metadata().level()) < self.min_level
        {
            return;
        }
        let mut fields = Fields::default();
        for span in
            context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.others.extend(of_span.others.clone());
            }
        }
        event.record(&mut fields);
        let is_fatal = fields.others.get("fatal") == Some(&Value::Bool(true));
        let level = if is_fatal { LogLevel::Fatal } else { level_of(*event.metadata().level()) };
        let message = if fields.message.is_empty() { event.metadata().name() } else { &fields.message };
        self.underway.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(self.line(message, level, &fields.others)).is_err() {
            self.underway.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            name if RESERVED.contains(&name) => drop(self.others.insert(format!("{name}_"), value)),
            name => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = format!("{value:?}");
        if text.len() > MAX_LINE {
            let end = (0..=MAX_LINE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            text.truncate(end);
            text.push('…');
        }
        self.set(field, Value::String(text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

/// Sends lines until the layer is dropped or the task is told to finish.
async fn ship(
    inner: Arc<Inner>,
    mut waiting: mpsc::Receiver<String>,
    dropped: Arc<AtomicU64>,
    underway: Arc<AtomicU64>,
    finish: tokio_util::sync::CancellationToken,
) {
    let mut lines = Vec::new();
    let interval = INTERVAL / inner.http.timing.speedup;
    loop {
        let is_last = tokio::select! {
            biased;
            received = waiting.recv_many(&mut lines, BATCH) => received == 0,
            () = finish.cancelled() => true,
        };
        if !is_last && lines.len() < BATCH {
            // Waits for more lines to fill the batch.
            let more =
                async { while lines.len() < BATCH && waiting.recv_many(&mut lines, BATCH).await > 0 {} };
            tokio::select! {
                biased;
                _ = tokio::time::timeout(interval, more) => {}
                () = finish.cancelled() => {}
            }
        }
        if !lines.is_empty() {
            let batch = std::mem::take(&mut lines);
            // A duplicate line is better than a lost one.
            let call = Call::post("SubmitLogs", "/api/Logs/SubmitLogs", &batch).repeatable();
            let shipped = inner.http.done(call).await;
            underway.fetch_sub(batch.len() as u64, Ordering::Relaxed);
            if let Err(failed) = shipped {
                let before = dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if before == 0 {
                    tracing::warn!(error = %failed.error, lines = batch.len(), "robot logs were not accepted; lines are dropped and counted");
                }
            }
        }
        if is_last && waiting.is_empty() {
            return;
        }
    }
}
