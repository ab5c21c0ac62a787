//! The heart of a job: beats, sweeps, and an eye on the robots.
//!
//! On a thread of its own, so that a transaction that blocks every thread of the runtime cannot stop it: while
//! the process lives, it beats.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::guard::log;
use super::job::RunningJob;
use crate::model::job::{JobState, NewJob, SWEEP_INTERVAL};
use crate::orchestrator::OrchestratorError;

pub(super) struct Heart {
    pub(super) job: Arc<RunningJob>,
    pub(super) about: NewJob,
    pub(super) ended: CancellationToken,
    /// Dropped with the heart: whoever waits on its other end knows that the store is let go.
    pub(super) stopped: oneshot::Sender<()>,
}

impl Heart {
    /// Starts beating. On the caller's runtime where the settings say so, for tests that control time.
    pub(super) fn start(self) -> std::io::Result<()> {
        if self.job.settings.single_threaded {
            tokio::spawn(self.beat_until_ended());
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("performer-heart".to_owned());
        thread.spawn(move || runtime.block_on(self.beat_until_ended())).map(drop)
    }

    async fn beat_until_ended(self) {
        self.ended.run_until_cancelled(self.beat_for_ever()).await;
        let Self { job, stopped, .. } = self;
        drop((job, stopped)); // in this order: the store is let go before anybody hears of it
    }

    async fn beat_for_ever(&self) {
        let between_beats = self.about.lease / 3;
        let tick = between_beats.min(SWEEP_INTERVAL);
        let mut last_beat = Instant::now();
        let mut beat_now = false;
        let (mut beating, mut sweeping) = (Trouble::default(), Trouble::default());
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(tick) => {}
                () = self.job.lease_lost.notified() => beat_now = true,
            }
            self.look_at_the_robots();
            // The beat first: a process that was suspended, or could not reach the store, asks whether it is still
            // alive before it judges others. Until a beat has succeeded it judges nobody.
            if beat_now || last_beat.elapsed() >= between_beats {
                let beaten = self.beat().await;
                beat_now = beaten.is_err();
                if let Err(error) = beaten {
                    beating.goes_on(&error, "the job cannot beat now");
                    continue;
                }
                last_beat = Instant::now();
                if beating.ends() {
                    self.job.answers_again();
                }
            }
            match self.job.orchestrator.sweep().await {
                Ok(swept) => {
                    self.job.swept(&swept);
                    if sweeping.ends() {
                        self.job.answers_again();
                    }
                }
                // An outage, perhaps: the beats are to tell when it is over.
                Err(error) => beat_now = sweeping.goes_on(&error, "nothing can be swept now"),
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
                log!(warn, %error, "the job lost its lease; its items are gone, and it registers again");
                job.renew(job.orchestrator.start_job(self.about.clone()).await?);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn look_at_the_robots(&self) {
        for (robot, watch) in (1..).zip(&self.job.watches) {
            if let Some(item) = watch.tick() {
                log!(warn, %item,
                    robot,
                    "the transaction has been blocking its thread for a while; use spawn_blocking for work that does not await"
                );
            }
        }
    }
}

/// A time in which the store does not answer.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    /// Says so when it begins, and answers whether it does.
    fn goes_on(&mut self, error: &OrchestratorError, what: &'static str) -> bool {
        let begins = !std::mem::replace(&mut self.0, true);
        if begins {
            log!(warn, %error, what, "will try again");
        }
        begins
    }

    /// Whether there was any.
    fn ends(&mut self) -> bool {
        std::mem::take(&mut self.0)
    }
}
