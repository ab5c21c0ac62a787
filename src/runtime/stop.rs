//! Stop and kill: requested by a handle, by signals, or in the answer to a heartbeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::catch_panic::log;

/// Stops a performer from elsewhere in the program.
///
/// *Stop*: the robots finish their transactions and claim no more items. *Kill*: running transactions are interrupted,
/// and their items are given back without using a retry. A performer stops at SIGINT or SIGTERM, and kills at a second
/// signal or when the grace period is over.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    stop: Cancellation,
    kill: Cancellation,
}

impl StopHandle {
    /// Requests a stop: the performer finishes running transactions and claims no more items. May be called repeatedly.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Requests a kill: the performer interrupts running transactions and gives their items back without using a retry.
    pub fn kill(&self) {
        self.0.stop.cancel();
        self.0.kill.cancel();
    }

    /// Whether a stop was requested.
    pub fn is_stop_requested(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Waits until a stop is requested.
    pub async fn stop_requested(&self) {
        self.0.stop.cancelled().await;
    }

    /// Whether a kill was requested.
    pub fn is_kill_requested(&self) -> bool {
        self.0.kill.is_cancelled()
    }

    /// Waits until a kill is requested.
    pub async fn kill_requested(&self) {
        self.0.kill.cancelled().await;
    }
}

/// A `CancellationToken` that robots ask several times for each item: its own answer takes a lock that all of them
/// share.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    is_cancelled: AtomicBool,
    token: CancellationToken,
}

impl Cancellation {
    pub(super) fn cancel(&self) {
        // First: whoever is woken finds it cancelled.
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.token.cancel();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

/// The first signal stops, the second kills. Never returns.
pub(super) async fn handle_signals(handle: &StopHandle) {
    let mut signals = Signals::new();
    signals.next().await;
    log!(info, "stopping after the running transactions; a second signal interrupts them");
    handle.stop();
    signals.next().await;
    log!(warn, "interrupting the running transactions; their items are given back");
    handle.kill();
    std::future::pending::<()>().await;
}

#[cfg(unix)]
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind: SignalKind| {
            signal(kind).inspect_err(|error| log!(warn, %error, "cannot listen for signals")).ok()
        };
        Self { interrupt: listen(SignalKind::interrupt()), terminate: listen(SignalKind::terminate()) }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {}
            () = received(&mut self.terminate) => {}
        }
    }
}

#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
