//! The log of the server. It is written by its own thread, so that no request waits for a full pipe and no task fails on an
//! error of the disk or the pipe. Lines that cannot be written are dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The maximum number of buffered bytes; further lines are dropped.
const MAX_BUFFERED: usize = 8 * 1024 * 1024;

/// How long the end of the program waits for buffered lines.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// A writer of the log that never fails and never waits.
#[derive(Clone)]
pub(super) struct Log {
    lines: Sender<Message>,
    buffered: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    remark: fn(&str) -> String,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when all earlier lines are written or dropped.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the thread. `remark` formats a text as a line of the log.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(super) fn start(out: impl Write + Send + 'static, remark: fn(&str) -> String) -> io::Result<Self> {
        let (lines, messages) = channel();
        let log = Self { lines, buffered: Arc::default(), dropped: Arc::default(), remark };
        let (buffered, dropped) = (log.buffered.clone(), log.dropped.clone());
        let writer = Writer { out, buffered, dropped, reported_drops: 0, line_is_incomplete: false, remark };
        let thread = std::thread::Builder::new().name("performer-log".to_owned());
        thread.spawn(move || writer.run(&messages))?;
        Ok(log)
    }

    /// The number of lines dropped so far.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// Writes a text that does not come from the subscriber.
    pub(super) fn remark(&self, text: &str) {
        self.push((self.remark)(text).into_bytes());
    }

    /// Waits until all lines are written, for at most [`FINISH_TIMEOUT`].
    pub(super) fn finish(&self) {
        let (ended, end) = sync_channel(1);
        if self.lines.send(Message::Flush(ended)).is_ok() {
            let _ = end.recv_timeout(FINISH_TIMEOUT); // the pipe may be full and without a reader
        }
    }

    fn push(&self, line: Vec<u8>) {
        let (length, buffered) = (line.len(), self.buffered.load(Ordering::Relaxed));
        if buffered.saturating_add(length) > MAX_BUFFERED {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.buffered.fetch_add(length, Ordering::Relaxed);
        if self.lines.send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Log {
    /// Receives a whole line, because the formatter writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

struct Writer<W> {
    out: W,
    buffered: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    /// The number of dropped lines that the log has reported.
    reported_drops: u64,
    /// The last line was not written completely.
    line_is_incomplete: bool,
    remark: fn(&str) -> String,
}

impl<W: Write> Writer<W> {
    fn run(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    self.buffered.fetch_sub(line.len(), Ordering::Relaxed);
                    self.report_drops();
                    self.line(&line);
                }
                Message::Flush(ended) => drop(ended.send(())),
            }
        }
    }

    fn report_drops(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.reported_drops {
            let text = format!("{} lines of the log were dropped", dropped - self.reported_drops);
            let remark = (self.remark)(&text);
            if self.write(remark.as_bytes()).is_ok() {
                self.reported_drops = dropped;
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        if self.write(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let begun = if self.line_is_incomplete { self.out.write_all(b"\n") } else { Ok(()) };
        let written = begun.and_then(|()| self.out.write_all(line)).and_then(|()| self.out.flush());
        self.line_is_incomplete = written.is_err();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A disk that can be full.
    #[derive(Clone, Default)]
    struct Disk {
        written: Arc<Mutex<Vec<u8>>>,
        is_full: Arc<Mutex<bool>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if *self.is_full.lock().unwrap() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(text: &str) -> String {
        format!("{text}\n")
    }

    #[test]
    fn lines_dropped_on_a_full_disk_are_reported() {
        let disk = Disk::default();
        let mut log = Log::start(disk.clone(), line).unwrap();
        log.write_all(b"one\n").unwrap();
        log.finish();
        *disk.is_full.lock().unwrap() = true;
        log.write_all(b"two\n").unwrap();
        log.remark("three");
        log.finish();
        assert_eq!(log.dropped().load(Ordering::Relaxed), 2);
        *disk.is_full.lock().unwrap() = false;
        log.write_all(b"four\n").unwrap();
        log.finish();
        let written = String::from_utf8(disk.written.lock().unwrap().clone()).unwrap();
        assert_eq!(written, "one\n\n2 lines of the log were dropped\nfour\n");
    }

    /// A pipe without a reader.
    struct Pipe(Receiver<()>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv(); // until the test ends
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn logging_does_not_wait_for_a_pipe_without_a_reader() {
        let (_open, blocked) = channel();
        let mut log = Log::start(Pipe(blocked), line).unwrap();
        let large = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            log.write_all(&large).unwrap();
        }
        let dropped = log.dropped().load(Ordering::Relaxed);
        assert!((11..=12).contains(&dropped), "8 MiB wait, and a line is being written: {dropped}");
    }
}
