//! The signals of a server. A panic in one of its steps, as of a writer of the log, ends neither of the tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals of a server ask for: the first SIGINT or SIGTERM stops it, the second ends its wait for open requests.
/// SIGHUP is answered without stopping.
pub(super) struct Signals {
    pub(super) stop: CancellationToken,
    pub(super) force: CancellationToken,
}

impl Signals {
    /// Starts to handle signals. `on_stop` is called once, before the server stops, and `on_hangup` for each SIGHUP.
    pub(super) fn handle(
        on_stop: impl FnOnce() + Send + 'static,
        mut on_hangup: impl FnMut() + Send + 'static,
    ) -> Self {
        let (stop, force) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, ended) = (stop.clone(), force.clone());
        // Before the task is spawned, so that an early signal is not lost.
        let mut terminations = Terminations::new();
        tokio::spawn(async move {
            terminations.next().await;
            contain(on_stop);
            stopped.cancel();
            terminations.next().await;
            ended.cancel();
        });
        #[cfg(unix)]
        if let Ok(mut hangups) = signal(SignalKind::hangup()) {
            tokio::spawn(async move {
                while hangups.recv().await.is_some() {
                    contain(&mut on_hangup);
                }
            });
        }
        #[cfg(not(unix))]
        drop(on_hangup);
        Self { stop, force }
    }
}

/// Calls a step. Its panic is reported by the hook of the process, and goes no further.
fn contain(step: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(step));
}

/// SIGINT and SIGTERM, or Ctrl-C on other systems than Unix.
struct Terminations {
    #[cfg(unix)]
    terminate: Option<Signal>,
    #[cfg(unix)]
    interrupt: Option<Signal>,
}

#[cfg(unix)]
impl Terminations {
    fn new() -> Self {
        Self {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
        }
    }

    async fn next(&mut self) {
        async fn of(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = of(&mut self.terminate) => {}
            () = of(&mut self.interrupt) => {}
        }
    }
}

#[cfg(not(unix))]
impl Terminations {
    fn new() -> Self {
        Self {}
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
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
        let signals = Signals::handle(|| panic!("the log fails on purpose"), on_hangup);
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
}
