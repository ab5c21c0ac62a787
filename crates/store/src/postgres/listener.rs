//! Notifications of what other processes add. A notification is a hint: waiting callers also poll now and then. Without
//! notifications, behind a pooler, they poll every second.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::group_commit::ChangeCallback;
use super::super::notifier::WakeSet;
use super::address::Address;
use performer_core::backoff::{BackoffPolicy, Delays};
use performer_core::model::key::QueueId;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// How often callers poll if there are no notifications.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A thread with a connection that listens, until this is dropped.
pub(super) struct Listener {
    callback: Arc<OnceLock<ChangeCallback>>,
    /// The server processes of our own writers, whose notifications are ignored.
    own: Arc<[AtomicI32]>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(address: Address) -> Result<Self> {
        let callback = Arc::<OnceLock<ChangeCallback>>::default();
        let own: Arc<[_]> = (0..address.writers()).map(|_| AtomicI32::default()).collect();
        let stop = CancellationToken::new();
        let failed = |error: std::io::Error| {
            OrchestratorError::new(ErrorKind::Unavailable, "cannot start the thread that listens")
                .with_source(error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (callback_set, writing, stopped) = (callback.clone(), own.clone(), stop.clone());
        let listening = async move {
            let new_delays = || Delays::new(BackoffPolicy::CONNECTION, fastrand::Rng::new());
            let mut delays = new_delays();
            let changed = |wakes| {
                if let Some(changed) = callback_set.get() {
                    changed(wakes);
                }
            };
            loop {
                // Also called when it begins to listen: a later loss of the connection starts with short delays again.
                let listened = AtomicBool::new(false);
                let heard = |said: Option<(i32, &str)>| {
                    listened.store(true, Ordering::Relaxed);
                    let is = |own: &AtomicI32| {
                        said.is_some_and(|(process, _)| process == own.load(Ordering::Relaxed))
                    };
                    if !writing.iter().any(is) {
                        // Older versions do not name the queue.
                        let queue = said.and_then(|(_, queue)| queue.parse().ok()).map(QueueId);
                        changed(queue.map_or_else(WakeSet::any, WakeSet::of));
                    }
                };
                tokio::select! {
                    () = stopped.cancelled() => return,
                    ended = address.listen(heard) => match ended {
                        Err(error) if error.kind() == ErrorKind::Unsupported => {
                            tracing::info!(%error, "what other processes add is looked for every second");
                            break;
                        }
                        Err(error) => {
                            tracing::debug!(%error, "nothing is heard of other processes for a while");
                        }
                        Ok(()) => {}
                    }
                }
                if listened.into_inner() {
                    delays = new_delays();
                }
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(delays.next_delay()) => {}
                }
            }
            while stopped.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                changed(WakeSet::any());
            }
        };
        let thread = std::thread::Builder::new().name("performer-listener".to_owned());
        let thread = thread.spawn(move || runtime.block_on(listening)).map_err(failed)?;
        Ok(Self { callback, own, stop, thread: Some(thread) })
    }

    /// Sets the function to call for each notification.
    pub(super) fn set_callback(&self, callback: ChangeCallback) {
        let _ = self.callback.set(callback); // it is set only once
    }

    /// The server processes of our own writers.
    pub(super) fn processes(&self) -> Vec<i32> {
        self.own.iter().map(|own| own.load(Ordering::Relaxed)).collect()
    }

    /// Sets the server process of a writer.
    pub(super) fn set_own_process(&self, writer: usize, process: i32) {
        if let Some(own) = self.own.get(writer) {
            own.store(process, Ordering::Relaxed);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it does not panic
        }
    }
}
