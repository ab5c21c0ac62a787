//! What the code under test logs on the thread of one test.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// The lines that this thread logs while the value lives.
pub struct CapturedLog {
    written: Written,
    _default: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    /// Captures what is logged at `level` and above.
    pub fn start(level: Level) -> CapturedLog {
        enable_every_callsite();
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        CapturedLog { written, _default: tracing::subscriber::set_default(subscriber) }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }

    pub fn count(&self, part: &str) -> usize {
        self.text().matches(part).count()
    }
}

/// Sets a subscriber for the whole process that wants every event.
///
/// `tracing` remembers for all threads whether a subscriber wants the events of a line. A test on another thread, without a
/// subscriber, may be the first to reach that line; then its events would be lost to the test that captures them.
fn enable_every_callsite() {
    // An error says that an earlier test of this process has set it.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
}
