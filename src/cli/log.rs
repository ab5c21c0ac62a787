//! The log of the server. A thread of its own writes it, so that no request waits for a full pipe, and no error of the
//! disk or the pipe ends a task. What cannot be written is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes that wait to be written. What comes then is dropped.
const MOST_WAITING: usize = 8 * 1024 * 1024;

/// How long the end of the program waits for what is not written yet.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where the log is written. Never fails and never waits.
#[derive(Clone)]
pub(super) struct Log {
    lines: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    remark: fn(&str) -> String,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before this is written, or dropped.
    End(SyncSender<()>),
}

impl Log {
    /// Starts the thread. `remark` makes a line of a text, in the format of the log.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub(super) fn start(out: impl Write + Send + 'static, remark: fn(&str) -> String) -> io::Result<Self> {
        let (lines, messages) = channel();
        let log = Self { lines, waiting: Arc::default(), dropped: Arc::default(), remark };
        let (waiting, dropped) = (log.waiting.clone(), log.dropped.clone());
        let writer = Writer { out, waiting, dropped, told: 0, is_broken: false, remark };
        let thread = std::thread::Builder::new().name("performer-log".to_owned());
        thread.spawn(move || writer.run(&messages))?;
        Ok(log)
    }

    /// How many lines were dropped so far.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// Writes a text that no subscriber formats.
    pub(super) fn remark(&self, text: &str) {
        self.push((self.remark)(text).into_bytes());
    }

    /// Waits until everything is written, but not for long.
    pub(super) fn finish(&self) {
        let (ended, end) = sync_channel(1);
        if self.lines.send(Message::End(ended)).is_ok() {
            let _ = end.recv_timeout(LAST_LINES); // the pipe may be full, and nobody may read it
        }
    }

    fn push(&self, line: Vec<u8>) {
        let (length, waiting) = (line.len(), self.waiting.load(Ordering::Relaxed));
        if waiting.saturating_add(length) > MOST_WAITING {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(length, Ordering::Relaxed);
        if self.lines.send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Log {
    /// The formatter writes each line at once.
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
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    /// Of how many dropped lines the log tells.
    told: u64,
    /// The last line was not written, or only its beginning.
    is_broken: bool,
    remark: fn(&str) -> String,
}

impl<W: Write> Writer<W> {
    fn run(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                    self.tell_of_the_dropped();
                    self.line(&line);
                }
                Message::End(ended) => drop(ended.send(())),
            }
        }
    }

    fn tell_of_the_dropped(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            let text = format!("{} lines of the log were dropped", dropped - self.told);
            let remark = (self.remark)(&text);
            if self.write(remark.as_bytes()).is_ok() {
                self.told = dropped;
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        if self.write(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let begun = if self.is_broken { self.out.write_all(b"\n") } else { Ok(()) };
        let written = begun.and_then(|()| self.out.write_all(line)).and_then(|()| self.out.flush());
        self.is_broken = written.is_err();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A disk that is full, or not.
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
    fn a_full_disk_costs_the_lines_that_did_not_fit_and_is_told_of() {
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

    /// A pipe that nobody reads.
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
    fn nobody_waits_for_a_pipe_that_is_not_read() {
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
