//! Stop and kill: by a handle, by signals, by a wish that came with a beat.

use tokio_util::sync::CancellationToken;

use super::guard::log;

/// Stops a performer from elsewhere in the program.
///
/// *Stop*: the robots finish what they do and take nothing more. *Kill*: what they do is interrupted, and
/// the items are given back without using a retry. A performer does the first at SIGINT or SIGTERM, the
/// second at a second signal or when the grace period is over.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    stop: CancellationToken,
    kill: CancellationToken,
}

impl StopHandle {
    /// Asks the performer to finish what it does and take nothing more. Asking twice is fine.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Interrupts what the performer does; the items are given back without using a retry.
    pub fn kill(&self) {
        self.stop.cancel();
        self.kill.cancel();
    }

    /// Whether somebody asked to stop.
    pub fn is_stop_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until somebody asks to stop.
    pub async fn stop_requested(&self) {
        self.stop.cancelled().await;
    }

    /// Whether somebody asked to interrupt.
    pub fn is_kill_requested(&self) -> bool {
        self.kill.is_cancelled()
    }

    /// Waits until somebody asks to interrupt.
    pub async fn kill_requested(&self) {
        self.kill.cancelled().await;
    }
}

/// The first signal stops, the second kills. Never returns.
pub(super) async fn answer_signals(handle: &StopHandle) {
    let mut signals = Signals::new();
    signals.next().await;
    log!(info, "stopping: what runs is finished, nothing more is taken (a second signal interrupts)");
    handle.stop();
    signals.next().await;
    log!(warn, "interrupting what runs; the items are given back");
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
