//! The signals of a server, and of a command that goes on until it is interrupted. A panic in one of its steps, as of a writer of the log, ends neither of the tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};
use tokio_util::sync::CancellationToken;

use super::output::CliError;

/// What the signals of a server ask for: the first SIGINT or SIGTERM stops it, the second ends its wait for open requests.
/// SIGHUP is answered without stopping.
pub(super) struct Signals {
    pub(super) stop: CancellationToken,
    pub(super) force: CancellationToken,
}

impl Signals {
    /// Starts to handle signals. `on_stop` is called once, before the server stops, and `on_hangup` for each SIGHUP.
    ///
    /// # Errors
    ///
    /// If the system refuses a handler: a server that does not answer a signal must not start.
    pub(super) fn handle(
        on_stop: impl FnOnce() + Send + 'static,
        on_hangup: impl FnMut() + Send + 'static,
    ) -> Result<Self, CliError> {
        let (stop, force) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, ended) = (stop.clone(), force.clone());
        // All handlers are there before a task is spawned, so that an early signal is not lost.
        let mut terminations = Terminations::new()?;
        #[cfg(unix)]
        let mut hangups = listen(SignalKind::hangup(), "SIGHUP")?;
        tokio::spawn(async move {
            terminations.next().await;
            contain(on_stop);
            stopped.cancel();
            terminations.next().await;
            ended.cancel();
        });
        #[cfg(unix)]
        tokio::spawn(async move {
            let mut on_hangup = on_hangup;
            while hangups.recv().await.is_some() {
                contain(&mut on_hangup);
            }
        });
        #[cfg(not(unix))]
        drop(on_hangup);
        Ok(Self { stop, force })
    }
}

/// Calls a step. Its panic is reported by the hook of the process, and goes no further.
fn contain(step: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(step));
}

fn not_handled(name: &str, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{name} cannot be handled: {error}"))
}

/// Handles a signal from now on.
#[cfg(unix)]
fn listen(kind: SignalKind, name: &str) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| not_handled(name, &error))
}

/// SIGINT, or Ctrl-C on Windows, of a command that prints a result even then. Later ones do not end the process either.
pub(super) struct Interrupts {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(windows)]
    ctrl_c: CtrlC,
}

impl Interrupts {
    /// Handles the signal from now on.
    ///
    /// # Errors
    ///
    /// If the system refuses a handler.
    pub(super) fn new() -> Result<Self, CliError> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            #[cfg(windows)]
            ctrl_c: ctrl_c().map_err(|error| not_handled("Ctrl-C", &error))?,
        })
    }

    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        self.interrupt.recv().await;
        #[cfg(windows)]
        self.ctrl_c.recv().await;
    }
}

/// SIGINT and SIGTERM, or Ctrl-C on Windows.
struct Terminations {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(windows)]
    ctrl_c: CtrlC,
}

impl Terminations {
    fn new() -> Result<Self, CliError> {
        Ok(Self {
            #[cfg(unix)]
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            #[cfg(unix)]
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            #[cfg(windows)]
            ctrl_c: ctrl_c().map_err(|error| not_handled("Ctrl-C", &error))?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(windows)]
        self.ctrl_c.recv().await;
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Real signals to this process. tokio answers them from then on, so that none of them ends it.
    fn send(signal: &str) {
        let process = std::process::id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    #[tokio::test]
    async fn a_panic_ends_no_signal_task() {
        let (hung_up, mut hangups) = unbounded_channel();
        let mut count = 0;
        let on_hangup = move || {
            count += 1;
            hung_up.send(count).unwrap();
            assert!(count > 2, "the log fails on purpose");
        };
        let signals = Signals::handle(|| panic!("the log fails on purpose"), on_hangup).unwrap();
        let soon = Duration::from_secs(20);
        for expected in 1..=3 {
            send("-HUP");
            assert_eq!(tokio::time::timeout(soon, hangups.recv()).await.unwrap(), Some(expected));
        }
        assert!(!signals.stop.is_cancelled());
        send("-TERM");
        tokio::time::timeout(soon, signals.stop.cancelled()).await.expect("it stops");
        assert!(!signals.force.is_cancelled());
        send("-INT");
        tokio::time::timeout(soon, signals.force.cancelled()).await.expect("it stops at once");
    }

    #[tokio::test]
    async fn a_signal_that_cannot_be_handled_is_an_error() {
        let refused = listen(SignalKind::from_raw(9), "SIGKILL").unwrap_err();
        assert!(refused.to_string().starts_with("SIGKILL cannot be handled: "), "{refused}");
    }
}
