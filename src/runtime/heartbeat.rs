//! The heartbeat of a job: renews its lease, sweeps, and checks the watchdogs of the robots.
//!
//! It runs on its own thread, so that a transaction that blocks every thread of the runtime cannot stop it.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::catch_panic::log;
use super::job::RunningJob;
use crate::model::{JobState, NewJob, SWEEP_INTERVAL};
use crate::orchestrator::OrchestratorError;

/// The heartbeat task.
pub(super) struct Heartbeat {
    pub(super) job: Arc<RunningJob>,
    pub(super) about: NewJob,
    pub(super) ended: CancellationToken,
    /// Dropped when the task has ended and has released the store; the supervisor waits on the other end.
    pub(super) stopped: oneshot::Sender<()>,
}

impl Heartbeat {
    /// Starts the task on its own thread, or on the caller's runtime if the settings say so (for tests that control time).
    pub(super) fn start(self) -> std::io::Result<()> {
        if self.job.settings.single_threaded {
            tokio::spawn(self.run_until_ended());
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("performer-heartbeat".to_owned());
        thread.spawn(move || runtime.block_on(self.run_until_ended())).map(drop)
    }

    async fn run_until_ended(self) {
        self.ended.run_until_cancelled(self.run()).await;
        let Self { job, stopped, .. } = self;
        drop((job, stopped)); // in this order: the store is released before the supervisor is notified
    }

    async fn run(&self) {
        let beat_interval = self.about.lease / 3;
        let tick = beat_interval.min(SWEEP_INTERVAL);
        let mut last_beat = Instant::now();
        let mut beat_now = false;
        let (mut beat_outage, mut sweep_outage) = (Outage::default(), Outage::default());
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(tick) => {}
                () = self.job.lease_lost.notified() => beat_now = true,
            }
            self.check_watchdogs();
            // The beat comes first: a process that was suspended, or could not reach the store, must renew its own lease
            // before it sweeps the jobs of others. It does not sweep until a beat has succeeded.
            if beat_now || last_beat.elapsed() >= beat_interval {
                let beaten = self.beat().await;
                beat_now = beaten.is_err();
                if let Err(error) = beaten {
                    beat_outage.record_failure(&error, "the heartbeat failed");
                    continue;
                }
                last_beat = Instant::now();
                if beat_outage.clear() {
                    self.job.notify_recovered();
                }
            }
            match self.job.orchestrator.sweep().await {
                Ok(swept) => {
                    self.job.record_sweep(&swept);
                    if sweep_outage.clear() {
                        self.job.notify_recovered();
                    }
                }
                // Perhaps the store is down: beat at once, so that its recovery is noticed.
                Err(error) => beat_now = sweep_outage.record_failure(&error, "the sweep failed"),
            }
        }
    }

    async fn beat(&self) -> Result<(), OrchestratorError> {
        let job = &self.job;
        match job.orchestrator.beat(job.key()).await {
            Ok(JobState::Stopping) => job.stop.stop(),
            Ok(JobState::Terminating) => job.stop.kill(),
            Ok(_) => {}
            Err(error) if error.is_claim_lost() => {
                log!(warn, %error, "the job lost its lease and its items; it registers again");
                let lost = job.key();
                job.replace_key(job.orchestrator.start_job(self.about.clone()).await?);
                job.orchestrator.give_up_claims(lost); // they wait for the new registration instead
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn check_watchdogs(&self) {
        for (robot, watchdog) in (1..).zip(&self.job.watchdogs) {
            if let Some(item) = watchdog.tick() {
                log!(warn, %item,
                    robot,
                    "the transaction blocks its thread; use spawn_blocking for work that does not await"
                );
            }
        }
    }
}

/// Whether the store currently fails to answer, so that each outage is logged once.
#[derive(Default)]
struct Outage(bool);

impl Outage {
    /// Records a failed call. Logs it and returns true if it is the first of this outage.
    fn record_failure(&mut self, error: &OrchestratorError, what: &'static str) -> bool {
        let begins = !std::mem::replace(&mut self.0, true);
        if begins {
            log!(warn, %error, "{what}; retrying");
        }
        begins
    }

    /// Records a successful call. Returns true if it ends an outage.
    fn clear(&mut self) -> bool {
        std::mem::take(&mut self.0)
    }
}
