//! Where a robot gets its items, and where its reports go: to the Orchestrator directly, or through a buffer
//! that was taken ahead (`ahead.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ahead::Ahead;
use super::event::Ending;
use super::guard::log;
use super::job::{Finished, RunningJob, Verdict};
use crate::model::item::ClaimedItem;
use crate::orchestrator::{Result, Seen, Taken};

/// An item, and when this process heard that it has it: the store's time counts from there.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) claimed: ClaimedItem,
    pub(super) at: Instant,
}

impl Received {
    pub(super) fn now(claimed: ClaimedItem) -> Self {
        Self { claimed, at: Instant::now() }
    }
}

/// One robot's way to its items.
pub(super) enum Supply {
    Direct(Direct),
    Ahead(Ahead),
}

impl Supply {
    /// The next item, waited for. `None`: there is nothing more to do.
    pub(super) async fn take(&mut self) -> Option<Received> {
        match self {
            Self::Direct(direct) => direct.take().await.map(Received::now),
            Self::Ahead(ahead) => ahead.take().await,
        }
    }

    /// Reports.
    pub(super) async fn report(&mut self, finished: Finished) {
        match self {
            Self::Direct(direct) => direct.report(finished).await,
            Self::Ahead(ahead) => ahead.report(finished).await,
        }
    }

    /// Reports, and takes the next item if there is one at once.
    pub(super) async fn report_and_take(&mut self, finished: Finished) -> Option<Received> {
        match self {
            Self::Direct(direct) => direct.report_and_take(finished).await.map(Received::now),
            Self::Ahead(ahead) => {
                ahead.report(finished).await;
                None
            }
        }
    }
}

/// A robot that takes an item when it is free: REFramework's way, and the default.
pub(super) struct Direct {
    job: Arc<RunningJob>,
    robot: u32,
    /// The door at which idle robots wait: one of them looks, and the others stand behind it.
    door: Arc<Mutex<()>>,
    active: bool,
}

impl Direct {
    pub(super) fn new(job: Arc<RunningJob>, robot: u32, door: Arc<Mutex<()>>) -> Self {
        Self { job, robot, door, active: false }
    }

    async fn take(&mut self) -> Option<ClaimedItem> {
        if self.is_over() {
            return None;
        }
        self.set_active(true);
        if let Ok(Taken { items, .. }) = self.try_take().await
            && let Some(item) = items.into_iter().next()
        {
            return Some(item);
        }
        self.set_active(false);
        let door = self.door.clone();
        let _first = tokio::select! {
            biased;
            () = self.job.stop.stop_requested() => return None,
            () = self.job.drained.cancelled() => return None,
            first = door.lock() => first,
        };
        self.wait_at_the_door().await
    }

    /// Looks for an item until there is one; only one robot at a time.
    async fn wait_at_the_door(&mut self) -> Option<ClaimedItem> {
        let mut pauses = self.job.pauses();
        let mut told = false;
        loop {
            if self.is_over() {
                return None;
            }
            // Interest is registered before the look: a robot that ends between the two is not missed.
            let job = self.job.clone();
            let became_idle = job.became_idle.notified();
            let activations = job.activations.load(Ordering::SeqCst);
            let nobody_is_active = || job.active.load(Ordering::SeqCst) == 0;
            let nobody_was_active = nobody_is_active();
            let (seen, withheld) = match self.try_take().await {
                Ok(Taken { items, seen, withheld }) => {
                    if let Some(item) = items.into_iter().next() {
                        self.set_active(true);
                        return Some(item);
                    }
                    // Nobody was active before the look, nor became so during it: nobody made a copy unseen.
                    let all_idle = nobody_was_active
                        && nobody_is_active()
                        && job.activations.load(Ordering::SeqCst) == activations;
                    if all_idle && job.settings.until_empty && withheld.is_none() {
                        job.drained.cancel();
                        return None;
                    }
                    if told {
                        log!(info, queue = %job.queue, "the Orchestrator answers again");
                        told = false;
                    }
                    pauses.start_anew(&job);
                    (seen, withheld)
                }
                Err(error) => {
                    if let Verdict::Fault = job.take_failed(&error) {
                        return None;
                    }
                    if !std::mem::replace(&mut told, true) {
                        log!(warn, queue = %job.queue, %error, "nothing can be taken now; asking again");
                    }
                    tokio::select! {
                        biased;
                        () = job.stop.stop_requested() => return None,
                        () = pauses.pause(&job) => continue,
                    }
                }
            };
            self.wait_for_a_change(seen, withheld, became_idle).await;
        }
    }

    async fn wait_for_a_change(
        &self,
        seen: Seen,
        withheld: Option<Duration>,
        became_idle: impl Future<Output = ()>,
    ) {
        let job = &self.job;
        let at_most =
            withheld.map_or(job.settings.poll_interval, |time| time.min(job.settings.poll_interval));
        tokio::select! {
            biased;
            () = job.stop.stop_requested() => {}
            () = became_idle, if job.settings.until_empty => {}
            () = job.orchestrator.wait_for_items(&job.queue, seen, at_most) => {}
        }
    }

    async fn try_take(&self) -> Result<Taken> {
        self.job
            .orchestrator
            .report_and_take(Vec::new(), Some(self.job.take(Some(self.robot), 1)))
            .await
            .taken
    }

    async fn report(&mut self, finished: Finished) {
        self.record(finished).await;
        self.set_active(false);
    }

    async fn report_and_take(&mut self, mut finished: Finished) -> Option<ClaimedItem> {
        if self.is_over() {
            self.report(finished).await;
            return None;
        }
        let take = self.job.take(Some(self.robot), 1);
        let mut answer =
            self.job.orchestrator.report_and_take(vec![finished.report.clone()], Some(take)).await;
        match answer.reports.pop().and_then(|answer| self.job.settle(&mut finished, answer)) {
            Some(ending) => self.job.ended(&finished, ending),
            None => self.record(finished).await,
        }
        let item = answer.taken.ok().and_then(|taken| taken.items.into_iter().next());
        if item.is_none() {
            self.set_active(false); // and what went wrong, if anything did, shows at the next take
        }
        item
    }

    /// Reports until it is recorded, or known that it cannot be.
    async fn record(&self, mut finished: Finished) {
        let job = &self.job;
        let mut pauses = self.job.pauses();
        loop {
            let last_try = job.stop.is_kill_requested();
            let mut answer = job.orchestrator.report_and_take(vec![finished.report.clone()], None).await;
            let replaced = finished.instead.is_some();
            let ending = answer.reports.pop().and_then(|answer| job.settle(&mut finished, answer));
            let replaced = replaced && finished.instead.is_none(); // and not yet reported as that
            if let Some(ending) = ending.or((last_try && !replaced).then_some(Ending::NotRecorded)) {
                return job.ended(&finished, ending);
            }
            tokio::select! {
                biased;
                () = job.stop.kill_requested() => {}
                () = pauses.pause(job) => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.job.stop.is_stop_requested() || self.job.drained.is_cancelled()
    }

    fn set_active(&mut self, active: bool) {
        if std::mem::replace(&mut self.active, active) == active {
            return;
        }
        if active {
            self.job.activations.fetch_add(1, Ordering::SeqCst);
            self.job.active.fetch_add(1, Ordering::SeqCst);
        } else {
            self.job.active.fetch_sub(1, Ordering::SeqCst);
            self.job.became_idle.notify_waiters();
        }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.set_active(false);
    }
}
