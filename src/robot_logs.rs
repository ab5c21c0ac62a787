//! A layer for `tracing` that sends what a program logs to the robot logs of its Orchestrator (feature `robot-logs`): rows of a store
//! of our own, or SubmitLogs of a UiPath Orchestrator.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tracing_subscriber::prelude::*;
//!
//! let orchestrator = performer::connect("memory:").await?;
//! let (layer, shipping) = performer::robot_logs::robot_logs(orchestrator, "PostInvoices");
//! tracing_subscriber::registry().with(layer).init();
//! // … run performers …
//! shipping.finish().await;
//! # Ok(()) }
//! ```
//!
//! Logging never waits: a line goes into a bounded buffer, or is dropped and counted. One task sends the buffer in batches. Lines
//! logged by that task itself are left out, because they would cause further ones.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::model::log::{LogLevel, LogLine};
use crate::model::{Clock as _, ItemId, SystemClock};
use crate::orchestrator::Administration;

/// The maximum number of buffered lines.
const BUFFER: usize = 10_000;
/// The maximum number of lines in one call.
const BATCH: usize = 200;
/// How long the first line of a batch waits for others.
const INTERVAL: Duration = Duration::from_secs(1);
/// The maximum length of a field, in bytes; longer ones are cut.
const MAX_FIELD: usize = 10_000;
/// How long the remaining lines may take when a program ends.
const LAST_LINES: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// Set in the sending task, whose own lines are not sent.
    static SHIPPING: ();
}

/// A layer that sends logs to an Orchestrator. Made by [`robot_logs`].
pub struct RobotLogs {
    lines: mpsc::Sender<LogLine>,
    dropped: Arc<AtomicU64>,
    underway: Arc<AtomicU64>,
    min_level: LogLevel,
    process: String,
    machine: String,
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
    finish: CancellationToken,
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
        let in_time = tokio::time::timeout(LAST_LINES, self.task).await;
        stop.abort();
        let left = if in_time.is_err() { self.underway.load(Ordering::Relaxed) } else { 0 };
        self.dropped.load(Ordering::Relaxed) + left
    }
}

/// Returns a layer for `tracing_subscriber` that sends this program's logs to the robot logs of an Orchestrator, and a handle of the
/// sending task. Must be called within a tokio runtime. A UiPath Orchestrator needs the scope `OR.Monitoring` and the permission
/// Logs.Create.
///
/// Lines at INFO and above are sent, with the fields of the event and of the spans around it, such as the transaction's job, item,
/// reference and robot. An ERROR with a field `fatal = true` is sent as Fatal.
pub fn robot_logs(
    orchestrator: Arc<dyn Administration>,
    process: impl Into<String>,
) -> (RobotLogs, LogShipping) {
    let (lines, waiting) = mpsc::channel(BUFFER);
    let (dropped, underway) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let finish = CancellationToken::new();
    let layer = RobotLogs {
        lines,
        dropped: dropped.clone(),
        underway: underway.clone(),
        min_level: LogLevel::Info,
        process: process.into(),
        machine: gethostname::gethostname().to_string_lossy().into_owned(),
        clock: SystemClock::default(),
    };
    let shipping = Shipping {
        orchestrator,
        dropped: dropped.clone(),
        underway: underway.clone(),
        finish: finish.clone(),
    };
    let task = tokio::spawn(SHIPPING.scope((), shipping.run(waiting)));
    (layer, LogShipping { finish, task, dropped, underway })
}

impl RobotLogs {
    /// The lowest level that is sent. Default: Info.
    #[must_use]
    pub fn lowest_level(mut self, level: LogLevel) -> Self {
        self.min_level = level;
        self
    }

    fn line(&self, level: LogLevel, message: &str, fields: Map<String, Value>) -> LogLine {
        let now = self.clock.now();
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let job = text("job").and_then(|key| key.parse().ok());
        let item = match fields.get("item") {
            Some(Value::String(id)) => id.parse().ok(),
            Some(id) => id.as_i64(),
            None => None,
        };
        let own = [
            ("message", message),
            ("level", level.name_in_entries()),
            ("timeStamp", &now.to_string()),
            ("processName", &self.process),
            ("logType", "Default"),
            ("machineName", &self.machine),
        ];
        let own = own.map(|(name, text)| (name.to_owned(), Value::from(text)));
        let entry: Map<String, Value> = own.into_iter().chain(fields).collect();
        let mut line = LogLine::new(now, level, Value::Object(entry).to_string());
        (line.job, line.item) = (job, item.map(ItemId));
        line.process.clone_from(&self.process);
        line
    }
}

/// The names of members of an entry, which fields of the program must not use.
const RESERVED: [&str; 7] =
    ["message", "level", "timeStamp", "processName", "logType", "machineName", "jobId"];

/// Whether a line was logged by sending lines: by the task itself, or by a library that drives its connections.
fn is_from_shipping(target: &str) -> bool {
    let crate_name = target.split("::").next().unwrap_or_default();
    SHIPPING.try_with(|()| ()).is_ok()
        || matches!(
            crate_name,
            "hyper"
                | "hyper_util"
                | "h2"
                | "reqwest"
                | "rustls"
                | "rustls_platform_verifier"
                | "mio"
                | "tokio_postgres"
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
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.others.extend(of_span.others.clone());
            }
        }
        event.record(&mut fields);
        let is_fatal = fields.others.get("fatal") == Some(&Value::Bool(true));
        let level = if is_fatal { LogLevel::Fatal } else { level_of(*event.metadata().level()) };
        let message = if fields.message.is_empty() { event.metadata().name() } else { &fields.message };
        self.underway.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(self.line(level, message, fields.others)).is_err() {
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
        if text.len() > MAX_FIELD {
            let end = (0..=MAX_FIELD).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
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

/// Sends lines.
struct Shipping {
    orchestrator: Arc<dyn Administration>,
    dropped: Arc<AtomicU64>,
    underway: Arc<AtomicU64>,
    finish: CancellationToken,
}

impl Shipping {
    /// Sends lines until the layer is dropped or the task is told to finish.
    async fn run(self, mut waiting: mpsc::Receiver<LogLine>) {
        let mut lines = Vec::new();
        loop {
            let is_last = tokio::select! {
                biased;
                received = waiting.recv_many(&mut lines, BATCH) => received == 0,
                () = self.finish.cancelled() => true,
            };
            if !is_last && lines.len() < BATCH {
                // Waits for more lines to fill the batch.
                let more =
                    async { while lines.len() < BATCH && waiting.recv_many(&mut lines, BATCH).await > 0 {} };
                tokio::select! {
                    biased;
                    _ = tokio::time::timeout(INTERVAL, more) => {}
                    () = self.finish.cancelled() => {}
                }
            }
            if !lines.is_empty() {
                self.send(std::mem::take(&mut lines)).await;
            }
            if is_last && waiting.is_empty() {
                return;
            }
        }
    }

    async fn send(&self, lines: Vec<LogLine>) {
        let count = lines.len() as u64;
        let sent = self.orchestrator.submit_logs(lines).await;
        self.underway.fetch_sub(count, Ordering::Relaxed);
        if let Err(error) = sent {
            let before = self.dropped.fetch_add(count, Ordering::Relaxed);
            if before == 0 {
                tracing::warn!(%error, lines = count, "robot logs were not accepted; lines are dropped and counted");
            }
        }
    }
}
