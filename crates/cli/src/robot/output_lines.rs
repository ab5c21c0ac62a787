//! What a program writes, as robot logs. Lines are sent together. A program is never made to wait: what cannot be sent in time is dropped,
//! and the log says how much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::key::JobKey;
use performer_core::model::log::{LogLevel, LogLine};
use performer_core::orchestrator::{Administration, ErrorKind};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The longest line, in bytes; the rest is a line of its own.
const LONGEST_LINE: usize = 16 * 1024;
/// How many lines wait to be sent.
const WAITING: usize = 5_000;
/// How many are sent at once.
const AT_ONCE: usize = 500;
/// How long lines are collected.
const COLLECTED_FOR: Duration = Duration::from_millis(500);
/// How often lines are sent that could not be.
const TRIES: u32 = 5;

/// The lines of one job.
#[derive(Clone)]
pub(super) struct Lines {
    job: JobKey,
    process: String,
    host: String,
    clock: Arc<SystemClock>,
    sender: mpsc::Sender<LogLine>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Lines that are sent until all copies of this are gone.
    pub(super) fn new(
        queues: Arc<dyn Administration>,
        job: JobKey,
        process: String,
        host: String,
    ) -> (Self, JoinHandle<()>) {
        let (sender, waiting) = mpsc::channel(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let clock = Arc::new(SystemClock::new());
        let lines = Self { job, process, host, clock, sender, dropped: dropped.clone() };
        let template = lines.template();
        let sending = tokio::spawn(send_all(queues, waiting, dropped, template));
        (lines, sending)
    }

    fn template(&self) -> Template {
        Template {
            job: self.job,
            process: self.process.clone(),
            host: self.host.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Reads lines to the end, and returns the last one.
    pub(super) async fn read(self, mut from: impl AsyncRead + Unpin, level: LogLevel) -> String {
        let template = self.template();
        let (mut pending, mut last) = (Vec::new(), String::new());
        let mut chunk = vec![0; 8 * 1024];
        loop {
            let read = from.read(&mut chunk).await.unwrap_or(0);
            pending.extend_from_slice(&chunk[..read]);
            while let Some(length) = line_length(&pending, read == 0) {
                let line: Vec<u8> = pending.drain(..length).collect();
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\n', '\r']);
                if text.is_empty() {
                    continue;
                }
                text.clone_into(&mut last);
                if self.sender.try_send(template.line(level, text)).is_err() {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            if read == 0 {
                return last;
            }
        }
    }
}

/// The length of the first line, with its end. `None`: it is not whole yet.
fn line_length(pending: &[u8], is_end: bool) -> Option<usize> {
    match pending.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') {
        Some(at) => Some(at + 1),
        None if pending.len() >= LONGEST_LINE => Some(LONGEST_LINE),
        None => Some(pending.len()).filter(|length| is_end && *length > 0),
    }
}

/// What all lines of a job have.
struct Template {
    job: JobKey,
    process: String,
    host: String,
    clock: Arc<SystemClock>,
}

impl Template {
    fn line(&self, level: LogLevel, message: &str) -> LogLine {
        let now = self.clock.now();
        let entry = json!({
            "message": message, "level": level.name_in_entries(), "timeStamp": now.to_string(),
            "processName": self.process, "machineName": self.host,
        });
        let mut line = LogLine::new(now, level, entry.to_string());
        (line.job, line.process) = (Some(self.job), self.process.clone());
        line
    }
}

async fn send_all(
    queues: Arc<dyn Administration>,
    mut waiting: mpsc::Receiver<LogLine>,
    dropped: Arc<AtomicU64>,
    template: Template,
) {
    let mut lines = Vec::new();
    while waiting.recv_many(&mut lines, AT_ONCE).await > 0 {
        if lines.len() < AT_ONCE && !waiting.is_closed() {
            tokio::time::sleep(COLLECTED_FOR).await;
            while lines.len() < AT_ONCE {
                let Ok(line) = waiting.try_recv() else { break };
                lines.push(line);
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            lines.push(template.line(LogLevel::Warn, &format!("{lost} lines of the program were dropped")));
        }
        let lost = send(&*queues, std::mem::take(&mut lines)).await;
        dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

/// Sends lines, and returns how many were given up.
async fn send(queues: &dyn Administration, lines: Vec<LogLine>) -> u64 {
    for tried in 0..TRIES {
        match queues.submit_logs(lines.clone()).await {
            Ok(()) => return 0,
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {
                tokio::time::sleep(COLLECTED_FOR * 2_u32.pow(tried)).await;
            }
            Err(_) => break, // it keeps no logs, or the agent may not write them
        }
    }
    lines.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_or_are_too_long() {
        assert_eq!(line_length(b"", true), None);
        assert_eq!(line_length(b"ab", false), None);
        assert_eq!(line_length(b"ab", true), Some(2));
        assert_eq!(line_length(b"ab\ncd", false), Some(3));
        assert_eq!(line_length(&[b'x'; LONGEST_LINE + 5], false), Some(LONGEST_LINE));
    }
}
